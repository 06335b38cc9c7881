"""The write function as tests call it: operations as small tuples, results as rows."""

from __future__ import annotations

import collections
import itertools
import uuid

CREATE, UPSERT, REPLACE, DELETE, CHECK, EXISTS = range(6)

# psycopg prepares nothing by itself here; the casts fix every type
CALL = """select * from orrery.{function}({lead}%s::bigint, %s::bigint, %s::bigint, %s::bigint, %s::int[], %s::smallint[],
    %s::bytea[], %s::text[], %s::uuid[], %s::uuid[], %s::smallint[], %s::int[], %s::bigint[], %s::text[], %s::text[]
    {tail})"""
CLAIMS = ", %s::int[], %s::smallint[], %s::bytea[], %s::float8[]"

Row = collections.namedtuple("Row", "n status substatus lsn ts rid etag epoch vector")


class Op:
    """One operation. claims: list of (key number, value)."""

    def __init__(self, kind, id, pk=b"p", body='{"a":1}', etag=None, if_match=None, flags=0, ttl=None, rid=None, doc=None,
                 txn=None, claims=(), rank=None):
        self.kind, self.id, self.pk, self.body, self.flags = kind, id, pk, body, flags
        self.if_match, self.ttl, self.rid, self.doc, self.txn, self.claims = if_match, ttl, rid, doc, txn, claims
        self.rank = None if rank is None else float(rank)
        self.etag = etag or uuid.uuid4()


def arrays(ops: list[Op]) -> list[list]:
    return [
        [op.txn if op.txn is not None else n for n, op in enumerate(ops)],
        [op.kind for op in ops], [op.pk for op in ops], [op.id for op in ops], [op.etag for op in ops],
        [op.if_match for op in ops], [op.flags for op in ops], [op.ttl for op in ops], [op.rid for op in ops],
        [op.body if op.kind < DELETE else None for op in ops], [op.doc for op in ops],
    ]


def claim_arrays(ops: list[Op]) -> list[list]:
    claims = [(n, key, value) for n, op in enumerate(ops, 1) for key, value in op.claims]
    return [list(column) for column in zip(*claims)] or [[], [], []]


class Range:
    """A range seen from one connection, as one writer."""

    writers = itertools.count(1)

    def __init__(self, connection, number: int, index: int = 0):
        self.connection, self.number, self.id = connection, number, number << 12 | index
        self.writer, self.sequence = next(self.writers), 0

    def write(self, *ops: Op, now=1000, epoch=257, sequence=None) -> list[Row]:
        if sequence is None:
            self.sequence += 1
            sequence = self.sequence
        call = CALL.format(function=f"write_{self.number}", lead="%s::bigint, ", tail=CLAIMS)
        rows = self.connection.execute(call, [self.id, epoch, self.writer, sequence, now, *arrays(ops), *claim_arrays(ops),
                                              [op.rank for op in ops]])
        return [Row(*row) for row in rows.fetchall()]

    def statuses(self, *ops: Op, **options) -> list[int]:
        return [row.status for row in self.write(*ops, **options)]

    def one(self, op: Op, **options) -> Row:
        [row] = self.write(op, **options)
        return row

    def item(self, id, pk=b"p"):
        cursor = self.connection.execute(
            f"select rid, lsn, seq, ts, etag, ttl, deleted, body, doc, context from orrery.items_{self.number}"
            " where range_id = %s and pk = %s and id = %s", [self.id, pk, id])
        names = [column.name for column in cursor.description]
        row = cursor.fetchone()
        return row and collections.namedtuple("Item", names)(*row)

    def log(self):
        return self.connection.execute(f"select seq, lsn, index, op, id, prev_lsn, body from orrery.log_{self.number}"
                                       " where range_id = %s order by seq", [self.id]).fetchall()

    def vector(self):
        return self.connection.execute("select vector from orrery.ranges where range_id = %s", [self.id]).fetchone()[0]

    def check(self):
        """Items are the fold of the log, numbers have no gaps."""
        digest, fold, problems = self.connection.execute(
            "select orrery.range_digest(%(r)s), orrery.range_fold_digest(%(r)s), array(select orrery.range_problems(%(r)s))",
            {"r": self.id}).fetchone()
        assert problems == []
        assert digest == fold
        return digest
