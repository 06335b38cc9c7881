"""What a history of clients must not show, level by level.

A history is a list of operations (support/history.py). What was really written, and in which order, is told by the log of a
region after all was over: `Log`. A version is known by the number that its writer gave it, which nobody uses twice.

Each checker returns sentences, one for each violation. They rest on one question: does a read show an older version of an
item than what must have been known there? In terms of vectors: a read is wrong when its item has a version that is in the
vector that must be covered, and that knows the version that was read.
"""

import collections
import dataclasses

ABSENT = None  # the value of an item that is not there


@dataclasses.dataclass(frozen=True)
class Version:
    key: str
    value: object  # ABSENT for a delete
    origin: int
    lsn: int
    context: tuple = ()  # by origin, from 1; what its origin had seen of the others

    def saw(self, origin, lsn):
        """Did its writer's region hold that transaction already?"""
        if origin == self.origin:
            return lsn < self.lsn
        return reached(self.context, origin) >= lsn

    def vector(self):
        """Itself, and all it knows."""
        return join(self.context, unit(self.origin, self.lsn))


def reached(vector, origin):
    return vector[origin - 1] if origin <= len(vector) else 0


def unit(origin, lsn):
    return (0,) * (origin - 1) + (lsn,)


def join(one, other):
    if len(one) < len(other):
        one, other = other, one
    return tuple(max(a, b) for a, b in zip(one, other)) + tuple(one[len(other):])


class Log:
    """The versions of every item, in the order in which a region holds them."""

    def __init__(self, versions):
        self.versions = list(versions)
        self.by_key = collections.defaultdict(list)
        self.by_value = {}
        for one in self.versions:
            self.by_key[one.key].append(one)
            if one.value is not ABSENT:
                self.by_value.setdefault((one.key, one.value), one)

    def find(self, key, value):
        return self.by_value.get((key, value))

    def at(self, key, origin, lsn):
        """The version that a write with that number made."""
        return next((one for one in self.by_key[key] if (one.origin, one.lsn) == (origin, lsn)), None)

    def candidates(self, key, value):
        """Versions that a read may have shown; [None] stands for the time before there was any."""
        if value is ABSENT:
            return [None, *[one for one in self.by_key[key] if one.value is ABSENT]]
        found = self.find(key, value)
        return [found] if found else []

    def newer(self, version, key, vector):
        """A version of the item within the vector that knows the one that is given; None when there is none."""
        for one in self.by_key[key]:
            if one.lsn <= reached(vector, one.origin) and (version is None or one.saw(version.origin, version.lsn)):
                return one
        return None


def shown(log, key, value, vector):
    """(versions, None): those that a read may show where the vector is covered, when it shows the value; else ([], why not)."""
    candidates = log.candidates(key, value)
    if not candidates:
        return [], f"{key}={value} was never written"
    versions, why = [], None
    for one in candidates:
        missed = log.newer(one, key, vector)
        if missed is None:
            versions.append(one)
        else:
            why = f"{key}={value} though {missed.value} of {missed.origin}#{missed.lsn} was known"
    return versions, None if versions else why


def known_by(versions):
    """What a reader knows that saw one of them: of several deletions nobody can tell which it was."""
    vectors = [one.vector() if one is not None else () for one in versions]
    return tuple(map(min, zip(*vectors)))


def session(history, log):
    """Read your writes, monotonic reads, monotonic writes, writes follow reads; across the items of a range."""
    found = []
    vectors = collections.defaultdict(tuple)
    owns = collections.defaultdict(set)
    for op in sorted(history, key=lambda op: op.start):
        if op.session is None or op.result != "ok":
            continue
        seen = vectors[op.session]
        for key, value in op.reads():
            versions, why = shown(log, key, value, seen)
            if why is not None:
                kind = "read your writes" if (key, value) not in owns[op.session] and is_own(log, key, value, seen, owns[op.session]) \
                    else "monotonic reads"
                found.append(f"{kind}: {op.tell()} read {why}")
            else:
                vectors[op.session] = join(vectors[op.session], known_by(versions))
        for key, value in op.writes():
            version = log.find(key, value) if value is not ABSENT else op.deleted_in(log)
            if version is None:
                continue  # that it is lost is for `durable`
            before = tuple(version.lsn - 1 if origin == version.origin else reached(version.context, origin)
                           for origin in range(1, max(len(version.context), version.origin, len(seen)) + 1))
            missing = [(o, lsn) for o, lsn in enumerate(seen, 1) if lsn > reached(before, o)]
            if missing:
                own = any(log_owner(log, o, lsn) in owns[op.session] for o, lsn in missing)
                kind = "monotonic writes" if own else "writes follow reads"
                found.append(f"{kind}: {op.tell()} was ordered before {missing} that its session knew")
            vectors[op.session] = join(vectors[op.session], version.vector())
            owns[op.session].add((key, value))
    return found


def is_own(log, key, value, seen, own):
    """Is what was missed the session's own write?"""
    for candidate in log.candidates(key, value):
        missed = log.newer(candidate, key, seen)
        if missed is not None and (key, missed.value) in own:
            return True
    return False


def log_owner(log, origin, lsn):
    return next(((one.key, one.value) for one in log.versions if (one.origin, one.lsn) == (origin, lsn)), None)


def bounded(history, log, versions, seconds):
    """No read is more than that many versions and that many seconds behind what was acknowledged when it began. Single-write."""
    found = []
    acknowledged = []  # (end, lsn)
    ends = {}
    for op in history:
        if op.result == "ok":
            for key, value in op.writes():
                version = log.find(key, value) if value is not ABSENT else op.deleted_in(log)
                if version is not None:
                    acknowledged.append((op.end, version.lsn))
                    ends[version.lsn] = min(op.end, ends.get(version.lsn, op.end))
    acknowledged.sort()
    for op in history:
        if op.result != "ok":
            continue
        newest = max((lsn for end, lsn in acknowledged if end < op.start), default=0)
        for key, value in op.reads():
            if not log.candidates(key, value):
                found.append(f"{op.tell()} read {key}={value}, which was never written")
                continue
            worst = None
            for candidate in log.candidates(key, value):
                missed = next((one for one in log.by_key[key]
                               if one.lsn in ends and (candidate is None or one.saw(candidate.origin, candidate.lsn))), None)
                wrong = missed and late(op, missed, ends[missed.lsn], newest, versions, seconds)
                if not wrong:
                    worst = None
                    break
                worst = wrong
            if worst:
                found.append(f"{op.tell()} read {key}={value}: {worst}")
    return found


def late(op, missed, end, newest, versions, seconds):
    if newest - missed.lsn >= versions:
        return f"{newest - missed.lsn + 1} versions behind"
    if op.start - end > seconds * 1e9:
        return f"{(op.start - end) / 1e9:.3f} s behind"
    return None


def prefix(history, log):
    """A snapshot holds, of every origin, all up to some transaction, whole, and the causes of all that it holds."""
    found = []
    for op in history:
        if op.kind != "snapshot" or op.result != "ok":
            continue
        vector = ()
        for key, value in op.found.items():
            version = log.find(key, value)
            if version is None:
                found.append(f"{op.tell()} read {key}={value}, which was never written")
            else:
                vector = join(vector, version.vector())
        for key in log.by_key:
            _, why = shown(log, key, op.found.get(key, ABSENT), vector)
            if why is not None and "never written" not in why:
                found.append(f"{op.tell()} is no prefix: {why}")
    return found


def durable(history, log):
    """What was acknowledged is there, once; what was refused is not."""
    found = []
    count = collections.Counter((one.key, one.value) for one in log.versions if one.value is not ABSENT)
    for op in history:
        for key, value in op.writes():
            if value is ABSENT:
                if op.result == "ok" and op.version and log.at(key, *op.version) is None:
                    found.append(f"{op.tell()} is lost")
                continue
            times = count[key, value]
            if times > 1:
                found.append(f"{op.tell()} took place {times} times")
            if op.result == "ok" and times == 0:
                found.append(f"{op.tell()} is lost")
            if op.result == "no" and times > 0:
                found.append(f"{op.tell()} was refused and took place")
    return found


def converged(states):
    """states: by region, {key: value}."""
    regions = list(states)
    found = []
    for other in regions[1:]:
        for key in sorted(set(states[regions[0]]) | set(states[other])):
            one, two = states[regions[0]].get(key), states[other].get(key)
            if one != two:
                found.append(f"{key} is {one} in {regions[0]} and {two} in {other}")
    return found
