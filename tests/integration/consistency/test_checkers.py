"""The checkers themselves, on histories made by hand: what is allowed passes, what is not is found."""

import itertools

import pytest
from support import checkers, linearizable, sdk
from support.checkers import Log, Version
from support.history import Op

S = 1_000_000_000
TIMES = itertools.count(1)


def op(kind, key="", value=None, **named):
    start = next(TIMES) * S
    named = {"region": 1, "start": start, "end": start + S // 2, "result": "ok", "session": "s", **named}
    return Op(kind, key=key, value=value, **named)


def write(key, value, **named):
    return op("write", key, value, **named)


def read(key, found, **named):
    return op("read", key, found=found, **named)


def snapshot(found, **named):
    return op("snapshot", found=found, **named)


# x: 1, 3; y: 2, 5 (written with z=6 in one transaction); x is deleted by 4
LOG = Log([
    Version("x", 1, 1, 1), Version("y", 2, 1, 2), Version("x", 3, 1, 3), Version("x", None, 1, 4),
    Version("y", 5, 1, 5), Version("z", 6, 1, 5),
])

# Two regions write: a in region 1; b in region 2, which had seen a=1; a=3 in region 2 beside a=4 in region 1.
MULTI = Log([
    Version("a", 1, 1, 1, (0,)), Version("b", 2, 2, 1, (1, 0)), Version("a", 3, 2, 2, (1, 1)), Version("a", 4, 1, 2, (1,)),
])

# Both regions delete a=1 at once; then region 1 writes c, having seen its own deletion alone, and region 3 writes d, having seen nothing.
DELETED_TWICE = Log([
    Version("a", 1, 1, 1, (0,)), Version("a", None, 2, 1, (1, 0)), Version("a", None, 1, 2, (1,)), Version("c", 7, 1, 3, (2,)),
    Version("d", 8, 3, 1, ()),
])


# Session


@pytest.mark.parametrize("history, log", [
    ([write("x", 1), read("x", 1), read("x", 3), read("x", None)], LOG),
    ([read("x", None), read("x", 1), write("y", 2), read("x", 3)], LOG),
    ([read("z", None), read("x", 3), read("y", 2)], LOG),
    ([write("x", 3), read("x", 1, session="other")], LOG),
    ([write("x", 3), read("x", 1, result="no"), read("x", 1, session=None)], LOG),
    ([read("a", 1), read("b", 2), read("a", 3), read("a", 4)], MULTI),  # neither of the last two knows the other
    ([write("a", 1), read("a", 1), write("a", 4)], MULTI),
    ([read("a", 1), read("a", None), write("c", 7)], DELETED_TWICE),  # which deletion it was nobody can tell
])
def test_sessions_that_are_kept(history, log):
    assert checkers.session(history, log) == []


@pytest.mark.parametrize("history, log, name", [
    ([write("x", 3), read("x", 1)], LOG, "read your writes"),
    ([write("x", 1), read("x", None)], Log([Version("x", 1, 1, 1)]), "read your writes"),
    ([op("delete", "x", version=(1, 4)), read("x", 3)], LOG, "read your writes"),
    ([read("x", 3), read("x", 1)], LOG, "monotonic reads"),
    ([read("x", 1), read("x", None)], Log([Version("x", 1, 1, 1)]), "monotonic reads"),
    ([read("x", 3), read("y", None)], LOG, "monotonic reads"),  # y=2 stood before x=3
    ([read("z", 6), read("y", 2)], LOG, "monotonic reads"),  # half a transaction
    ([snapshot({"z": 6}), read("y", 2)], LOG, "monotonic reads"),
    ([write("x", 3), write("y", 2)], LOG, "monotonic writes"),
    ([read("x", 3), write("y", 2)], LOG, "writes follow reads"),
    ([read("x", 7)], LOG, "never written"),
    ([read("b", 2), read("a", None)], MULTI, "monotonic reads"),  # an effect without its cause
    ([read("a", 3), write("a", 4)], MULTI, "writes follow reads"),
    ([write("b", 2), write("a", 4)], MULTI, "monotonic writes"),
    ([read("a", 1), read("a", None), write("d", 8)], DELETED_TWICE, "writes follow reads"),
])
def test_sessions_that_are_broken(history, log, name):
    found = checkers.session(history, log)
    assert len(found) == 1 and name in found[0]


# Bounded staleness

STALE = Log([Version("x", n, 1, n) for n in range(1, 11)])


def written(count):
    return [write("x", n, start=n * S, end=n * S + 1, session=None) for n in range(1, count + 1)]


@pytest.mark.parametrize("versions, seconds, value, begins_s, words", [
    (3, 100, 7, 11, None),
    (3, 100, 6, 11, "versions behind"),
    (100, 2, 9, 11.5, None),
    (100, 2, 8, 11.5, "s behind"),
    (100, 100, 99, 11, "never written"),
    (100, 100, None, 11, None),
    (10, 100, None, 11, None),
    (9, 100, None, 11, "versions behind"),
    (1, 1, 1, 1.5, None),
])
def test_staleness(versions, seconds, value, begins_s, words):
    history = [*written(10), read("x", value, start=int(begins_s * S), end=int(begins_s * S) + 1)]
    found = checkers.bounded(history, STALE, versions, seconds)
    assert (found == []) if words is None else (len(found) == 1 and words in found[0])


def test_what_was_never_acknowledged_makes_nothing_stale():
    history = [write("x", 1, start=1, end=2), write("x", 2, start=3, end=4, result="unknown"),
               read("x", 1, start=100 * S, end=101 * S)]
    assert checkers.bounded(history, STALE, 1, 1) == []


# Consistent prefix


@pytest.mark.parametrize("found, log", [
    ({}, LOG), ({"x": 1}, LOG), ({"x": 1, "y": 2}, LOG), ({"x": 3, "y": 2}, LOG), ({"y": 2}, LOG), ({"y": 5, "z": 6}, LOG),
    ({"a": 4, "b": 2}, MULTI), ({"a": 3, "b": 2}, MULTI), ({"a": 4}, MULTI),
])
def test_prefixes(found, log):
    assert checkers.prefix([snapshot(found)], log) == []


@pytest.mark.parametrize("found, log", [
    ({"x": 3}, LOG),  # a gap: y=2
    ({"x": 1, "y": 5, "z": 6}, LOG),  # reordered
    ({"y": 5}, LOG), ({"y": 2, "z": 6}, LOG),  # half a transaction
    ({"b": 2}, MULTI), ({"a": 1, "b": 2, "x": 9}, MULTI),
])
def test_no_prefixes(found, log):
    assert checkers.prefix([snapshot(found)], log) != []


# What was acknowledged


def test_durable():
    history = [write("x", 1), write("y", 2, result="unknown"), write("q", 9, result="unknown"), write("q", 10, result="no"),
               op("batch", found={"y": 5, "z": 6}), op("swap", "x", 8, is_done=False), op("delete", "x", version=(1, 4))]
    assert checkers.durable(history, LOG) == []


@pytest.mark.parametrize("one, log, words", [
    (write("q", 9), LOG, "lost"),
    (op("delete", "x", version=(1, 9)), LOG, "lost"),
    (op("batch", found={"y": 5, "z": 7}), LOG, "lost"),
    (write("x", 1, result="no"), LOG, "was refused and took place"),
    (write("x", 1), Log([*LOG.versions, Version("x", 1, 1, 6)]), "2 times"),
    (write("x", 1, result="unknown"), Log([*LOG.versions, Version("x", 1, 2, 1)]), "2 times"),
])
def test_not_durable(one, log, words):
    found = checkers.durable([one], log)
    assert len(found) == 1 and words in found[0]


def test_convergence():
    assert checkers.converged({1: {"x": 1}, 2: {"x": 1}, 3: {"x": 1}}) == []
    assert len(checkers.converged({1: {"x": 1}, 2: {"x": 1}, 3: {"x": 2}})) == 1
    assert len(checkers.converged({1: {"x": 1}, 2: {}})) == 1


# Linearizability


def at(kind, start, end, **named):
    return op(kind, "x", named.pop("value", None), start=start, end=end, **named)


GOOD = {
    "one after the other": [at("write", 1, 2, value=1), at("read", 3, 4, found=1), at("delete", 5, 6), at("read", 7, 8, found=None)],
    "either side of a write": [at("write", 1, 10, value=1), at("read", 2, 3, found=None), at("read", 4, 5, found=1)],
    "unknown and done": [at("write", 1, 2, value=1, result="unknown"), at("read", 50, 51, found=None), at("read", 60, 61, found=1)],
    "unknown and never done": [at("write", 1, 2, value=1, result="unknown"), at("read", 50, 51, found=None)],
    "refused": [at("write", 1, 2, value=1, result="no"), at("read", 3, 4, found=None)],
    "swapped": [at("write", 1, 2, value=1), at("swap", 3, 4, expected=1, value=2), at("read", 5, 6, found=2)],
    "not swapped": [at("write", 1, 2, value=1), at("swap", 3, 4, expected=7, value=2, is_done=False), at("read", 5, 6, found=1)],
    "one of two swaps": [at("write", 1, 2, value=1), at("swap", 3, 9, expected=1, value=2), at("swap", 3, 9, expected=1, value=3,
                                                                                              is_done=False)],
}
BAD = {
    "stale": [at("write", 1, 2, value=1), at("write", 3, 4, value=2), at("read", 5, 6, found=1)],
    "new, then old": [at("write", 1, 20, value=1), at("read", 2, 3, found=1), at("read", 4, 5, found=None)],
    "lost": [at("write", 1, 2, value=1), at("read", 3, 4, found=None)],
    "from nowhere": [at("read", 1, 2, found=5)],
    "refused and done": [at("write", 1, 2, value=1, result="no"), at("read", 3, 4, found=1)],
    "both swaps": [at("write", 1, 2, value=1), at("swap", 3, 9, expected=1, value=2), at("swap", 3, 9, expected=1, value=3)],
    "a lost update": [at("write", 1, 2, value=1), at("swap", 3, 4, expected=1, value=2), at("read", 5, 6, found=1)],
    "a swap that should have been": [at("write", 1, 2, value=1), at("swap", 3, 4, expected=1, value=2, is_done=False)],
    "unknown, seen, unseen": [at("write", 1, 2, value=1, result="unknown"), at("read", 3, 4, found=1), at("read", 5, 6, found=None)],
}


@pytest.fixture(scope="module")
def porcupine():
    try:
        linearizable.program()
    except sdk.Missing as missing:
        pytest.skip(str(missing))


@pytest.mark.parametrize("name", GOOD)
def test_linearizable(porcupine, name):
    assert linearizable.check(GOOD[name]) == []


@pytest.mark.parametrize("name", BAD)
def test_not_linearizable(porcupine, name):
    found = linearizable.check(BAD[name])
    assert len(found) == 1 and found[0].startswith("illegal")


def test_items_are_judged_apart(porcupine):
    other = [op("write", "y", 7, start=100, end=101), op("read", "y", found=None, start=102, end=103)]
    assert linearizable.check([*GOOD["swapped"], *other])[0].startswith("illegal: y")


def test_many_unknown_writes_are_decided(porcupine):
    history = []
    for n in range(1, 400):
        unknown = n % 20 == 0
        history.append(at("write", 10 * n, 10 * n + 5, value=n, result="unknown" if unknown else "ok"))
        if not unknown:
            history.append(at("read", 10 * n + 6, 10 * n + 9, found=n))
    assert linearizable.check(history) == []
    history.append(at("read", 5000, 5001, found=3))
    assert linearizable.check(history)[0].startswith("illegal")
