"""What clients did, and when: the history that checkers judge."""

import dataclasses
import json


@dataclasses.dataclass
class Op:
    """One operation of one client. Times are of one monotonic clock, in nanoseconds.

    result: ok; no: it did not take place; unknown: it may have, or may still.
    """

    kind: str  # read, write, delete, swap, batch, snapshot
    region: int
    start: int
    end: int
    result: str
    session: object = None  # None: no session
    key: str = ""
    value: object = None  # what was written
    expected: object = None  # swap: the value that was to be replaced
    is_done: bool = True  # swap: it was that
    found: object = None  # read: the value; snapshot, batch: value by key
    version: tuple = None  # of a write: (origin, lsn)
    status: int = 0
    substatus: int = 0

    def reads(self):
        """Pairs of key and value that it was shown."""
        if self.kind == "read":
            return [(self.key, self.found)]
        return list(self.found.items()) if self.kind == "snapshot" else []

    def writes(self):
        """Pairs of key and value that it made, or would have."""
        if self.kind == "batch":
            return list(self.found.items())
        if self.kind == "swap" and not self.is_done:
            return []
        return [(self.key, self.value)] if self.kind in ("write", "delete", "swap") else []

    def deleted_in(self, log):
        return log.at(self.key, *self.version) if self.version else None

    def tell(self):
        key = f" {self.key}" if self.key else ""
        what = f"={self.value}" if self.kind in ("write", "swap") else ""
        return f"{self.kind}{key}{what} of {self.session} in region {self.region} at {self.start / 1e9:.3f}"


def registers(history):
    """The history as lines for the checker of linearizability."""
    for op in history:
        if op.result == "no":
            continue
        common = {"start": op.start, "end": op.end if op.result == "ok" else None}
        if op.kind == "swap":
            line = {"key": op.key, "kind": "swap", "expected": op.expected, "value": op.value, "done": op.is_done, **common}
            yield json.dumps(line)
        elif op.kind == "delete":
            yield json.dumps({"key": op.key, "kind": "write", "value": None, **common})
        else:
            for kind, pairs in (("read", op.reads() if op.result == "ok" else []), ("write", op.writes())):
                for key, value in pairs:
                    yield json.dumps({"key": key, "kind": kind, "value": value, **common})
