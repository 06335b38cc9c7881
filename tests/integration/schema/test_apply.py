"""Entries of other regions (rules 2.1 to 2.3, 7.1): several regions, each a container of its own with its own ordinal."""

import collections
import itertools
import random

import pytest
from writer import CREATE, DELETE, REPLACE, UPSERT, Op, Range

COLUMNS = "origin, lsn, index, epoch, op, pk, id, rid, ts, etag, ttl, rank, context::text, body"
Entry = collections.namedtuple("Entry", COLUMNS.replace("::text", ""))
CALL = """select status, applied, taken, vector from orrery.apply(%s, %s, %s::smallint[], %s::bigint[], %s::int[], %s::bigint[],
    %s::smallint[], %s::bytea[], %s::text[], %s::bigint[], %s::bigint[], %s::uuid[], %s::int[], %s::float8[], %s::text[],
    %s::text[], %s::text[], %s::int[], %s::smallint[], %s::bytea[])"""
Applied = collections.namedtuple("Applied", "status applied taken vector")


class Region(Range):
    """A region's copy of the range. Bodies tell their unique key: '{"u":…}'."""

    def __init__(self, made, ordinal):
        super().__init__(made.connection, made.number)
        self.connection.execute(
            "update orrery.ranges set origin = %s, vector = array_fill(0::bigint, array[%s]) where range_id = %s",
            [ordinal, ordinal, self.id])

    def entries(self, after=0):
        """Its log in its own order."""
        return [Entry(*row) for row in self.connection.execute(
            f"select {COLUMNS} from orrery.log_{self.number} where range_id = %s and seq > %s order by seq",
            [self.id, after])]

    def apply(self, entries, epoch=257, claims=()):
        columns = [list(column) for column in zip(*entries)]
        names = dict(zip(Entry._fields, columns))
        order = ("origin", "lsn", "index", "epoch", "op", "pk", "id", "rid", "ts", "etag", "ttl", "rank", "context", "body")
        claim_columns = [list(column) for column in zip(*claims)] or [[], [], []]
        row = self.connection.execute(
            CALL, [self.id, epoch, *(names[name] for name in order), [None] * len(entries), *claim_columns]).fetchone()
        return Applied(*row)

    def copy(self, source, size, claims_of=lambda body: []):
        """Takes the log of region 1, which may be trimmed, as a region that joins does, in pieces of that many entries."""
        log, through = source.entries(), "{%s}" % ",".join(map(str, source.vector()))
        self.connection.execute("create or replace function orrery.is_joining() returns boolean language sql as 'select true'")
        for at in range(0, len(log), size):
            part = log[at:at + size]
            claims = [(n, *claim) for n, entry in enumerate(part, 1) if entry.op < 3 for claim in claims_of(entry.body)]
            columns = dict(zip(Entry._fields, map(list, zip(*part))))
            columns = [columns[name] for name in "origin lsn index epoch op pk id rid ts etag ttl rank context body".split()]
            assert self.connection.execute(
                "select status, applied from orrery.exchange_copy(0::smallint, 0, 1::smallint, %s, %s, %s, %s, %s, 257, %s::smallint[],"
                " %s::bigint[], %s::int[], %s::bigint[], %s::smallint[], %s::bytea[], %s::text[], %s::bigint[], %s::bigint[], %s::uuid[],"
                " %s::int[], %s::float8[], %s::text[], %s::text[], %s::text[], %s::int[], %s::smallint[], %s::bytea[])",
                [at, min(at + size, len(log)), len(log), through, self.id, *columns, [None] * len(part),
                 *([list(column) for column in zip(*claims)] or [[], [], []])]).fetchone() == ("applied", len(part))

    def state(self):
        """Everything that a repeated call must leave alone."""
        return (self.connection.execute("select seq, vector from orrery.ranges where range_id = %s", [self.id]).fetchone(),
                self.connection.execute(f"select * from orrery.items_{self.number} order by pk, id").fetchall(),
                self.connection.execute(f"select count(*) from orrery.log_{self.number}").fetchone())

    def digest(self):
        items, fold, problems = self.connection.execute(
            "select orrery.range_digest(%(r)s), orrery.range_fold_digest(%(r)s),"
            " array(select orrery.range_problems(%(r)s))", {"r": self.id}).fetchone()
        assert items == fold and problems == [], (items, fold, problems)
        return items

    def conflicts(self):
        return self.connection.execute(
            "select id, origin, lsn from orrery.conflicts where range_id = %s order by id, origin, lsn", [self.id]).fetchall()

    def losers(self):
        """Heads that are not shown, expiries apart, computed from the whole log."""
        return self.connection.execute(f"""
            select l.id, l.origin, l.lsn from orrery.log_{self.number} l
            join orrery.items_{self.number} i on i.pk = l.pk and i.id = l.id
            where l.op <> 4 and (l.origin, l.lsn) <> (i.origin, i.lsn) and not exists (
                select from orrery.log_{self.number} n where n.pk = l.pk and n.id = l.id
                and orrery.knows(n.context, n.origin, n.lsn, l.origin, l.lsn))
            order by l.id, l.origin, l.lsn""").fetchall()


@pytest.fixture
def region(make_range):
    return lambda ordinal, **container: Region(make_range(**container), ordinal)


def pages(entries, chooser, most=7):
    """Pieces of a log that end with a transaction."""
    at = 0
    while at < len(entries):
        end = min(at + chooser.randint(1, most), len(entries))
        while end < len(entries) and entries[end].index > 0:
            end += 1
        yield entries[at:end]
        at = end


def random_write(region, chooser, ids, now):
    ops = []
    for id in chooser.sample(ids, chooser.choice([1, 1, 1, 2, 3])):
        kind = chooser.choice([UPSERT, UPSERT, CREATE, REPLACE, DELETE])
        ops.append(Op(kind, id, body=f'{{"n":{chooser.randrange(1000)}}}', txn=0 if chooser.random() < 0.3 else None))
    if any(op.txn == 0 for op in ops):
        for op in ops:
            op.txn = 0
    region.write(*ops, now=now)


@pytest.mark.parametrize("seed", range(4))
def test_a_copy_is_the_same_whatever_pages_bring_it(region, seed):
    """Invariants 4 and 6: repeated and overlapping pages change nothing; bytes, etag, ts and rid are the origin's."""
    chooser = random.Random(seed)
    hub, copy = region(1), region(2)
    for now in range(1000, 1060):
        random_write(hub, chooser, [f"i{n}" for n in range(6)], now)
    log = hub.entries()
    for page in pages(log, chooser):
        start = log.index(page[0])
        overlap = chooser.randint(0, 3)
        while start - overlap > 0 and log[start - overlap].index > 0:
            overlap += 1
        sent = log[max(start - overlap, 0):start] + page
        done = copy.apply(sent)
        assert (done.status, done.applied, done.taken) == ("applied", len(page), len(sent))
        before = copy.state()
        assert copy.apply(sent)[:3] == ("applied", 0, len(sent))
        assert copy.state() == before
    assert copy.digest() == hub.digest()
    assert [entry[:8] for entry in copy.entries()] == [entry[:8] for entry in log]
    assert copy.conflicts() == []


def test_what_is_not_next_waits(region):
    """Rule 2.3: what came before the gap is applied, nothing behind it."""
    hub, copy = region(1), region(2)
    for n in range(5):
        hub.one(Op(CREATE, f"i{n}"))
    log = hub.entries()
    assert copy.apply(log[1:])[:2] == ("waits", 0)
    assert copy.apply(log[:2] + log[3:])[:3] == ("waits", 2, 2)
    assert copy.apply(log[1:])[:2] == ("applied", 3)
    assert copy.digest() == hub.digest()


def test_an_effect_waits_for_its_cause(region):
    """Rule 2.3: B writes after it saw A's entry; C gets B's first."""
    a, b, c = (region(ordinal) for ordinal in (1, 2, 3))
    a.one(Op(CREATE, "x"))
    assert b.apply(a.entries()).applied == 1
    b.one(Op(CREATE, "y"))
    effect = [entry for entry in b.entries() if entry.origin == 2]
    assert effect[0].context == "{1,0}"
    assert c.apply(effect)[:2] == ("waits", 0)
    assert c.apply(b.entries())[:2] == ("applied", 2)  # B relays A's
    assert c.digest() == b.digest()
    assert c.apply(a.entries())[:2] == ("applied", 0)


def test_a_rolled_back_region_is_told(region):
    """Rule 1.3: an entry of its own that it does not have."""
    hub, copy = region(1), region(2)
    hub.one(Op(CREATE, "x"))
    copy.apply(hub.entries())
    lost = region(1)
    assert lost.apply(copy.entries())[:2] == ("own", 0)


def test_an_older_epoch_and_a_closed_range_do_nothing(region):
    hub, copy = region(1), region(2)
    hub.one(Op(CREATE, "x"))
    before = copy.state()
    assert copy.apply(hub.entries(), epoch=256)[:2] == ("epoch", 0)
    copy.connection.execute("update orrery.ranges set state = 'gone' where range_id = %s", [copy.id])
    assert copy.apply(hub.entries())[:2] == ("state", 0)
    assert copy.state() == before


@pytest.mark.parametrize("order", list(itertools.permutations("abc")))
def test_the_triple_in_every_order(region, order):
    """Rule 7.1: a deletes, c creates again after a, b is an update that knows neither and is newer than c."""
    a, b, c = (region(ordinal) for ordinal in (1, 2, 3))
    a.one(Op(CREATE, "x"), now=1000)
    created = a.entries()
    b.apply(created)
    c.apply(created)
    a.one(Op(DELETE, "x"), now=1001)
    c.apply(a.entries())
    c.one(Op(CREATE, "x", body='{"by":"c"}'), now=1002)
    b.one(Op(REPLACE, "x", body='{"by":"b"}'), now=1005)
    one = {"a": a.entries()[1:], "b": b.entries()[1:], "c": c.entries()[2:]}
    reader = region(4)
    reader.apply(created)
    waiting = [one[name] for name in order]
    while waiting:  # c waits for a, whose entry it knows
        waiting = [entries for entries in waiting if reader.apply(entries).status == "waits"]
    assert reader.item("x").body == '{"by":"b"}'
    assert reader.conflicts() == [("x", 3, 1)]
    for to in (a, b, c):
        for of in (a, b, c):
            to.apply(of.entries())
    assert {one.digest() for one in (a, b, c, reader)} == {reader.digest()}
    assert {tuple(one.conflicts()) for one in (a, b, c, reader)} == {(("x", 3, 1),)}


@pytest.mark.parametrize("seed", range(6))
def test_regions_converge(region, seed):
    """Invariant 7: three regions write at once, logs are pulled in random pieces, repeated and relayed."""
    chooser = random.Random(seed)
    regions = [region(ordinal) for ordinal in (1, 2, 3)]
    pulled = {(to, of): 0 for to in range(3) for of in range(3) if to != of}
    clock = [1000 + chooser.randint(-20, 20) for _ in regions]
    for _ in range(120):
        at = chooser.randrange(3)
        if chooser.random() < 0.55:
            clock[at] += chooser.randint(0, 2)
            random_write(regions[at], chooser, ["x", "y", "z"], clock[at])
            continue
        of = chooser.choice([other for other in range(3) if other != at])
        log = regions[of].entries(pulled[at, of])
        for page in list(pages(log, chooser))[:chooser.randint(0, 3)]:
            done = regions[at].apply(page)
            if done.status == "waits" or chooser.random() < 0.2:
                break
            pulled[at, of] += done.taken
        assert regions[at].conflicts() == sorted({*regions[at].conflicts(), *regions[at].losers()})
    for _ in range(3):
        for to, of in pulled:
            regions[to].apply(regions[of].entries())
    assert len({one.digest() for one in regions}) == 1
    assert len({tuple(one.losers()) for one in regions}) == 1
    for one in regions:
        assert set(one.losers()) <= set(one.conflicts())


def test_a_local_write_sees_all_heads(region):
    a, b = region(1), region(2)
    a.one(Op(CREATE, "x", body='{"by":"a"}'), now=1000)
    b.one(Op(CREATE, "x", body='{"by":"b"}'), now=1001)
    a.apply(b.entries())
    assert a.item("x").body == '{"by":"b"}' and a.conflicts() == [("x", 1, 1)]
    a.one(Op(REPLACE, "x", body='{"by":"a again"}'), now=1002)
    b.apply(a.entries())
    assert b.item("x").body == '{"by":"a again"}' and a.digest() == b.digest()
    assert b.losers() == [] and a.losers() == []


def test_an_expiry_loses_against_a_write(region):
    """Rule 7.6: class 0."""
    a, b = region(1, default_ttl=-1), region(2, default_ttl=-1)
    a.one(Op(CREATE, "x", ttl=10), now=1000)
    b.apply(a.entries())
    assert a.connection.execute("select orrery.range_expire(%s, 257, 2000, 10)", [a.id]).fetchone() == (1,)
    b.one(Op(REPLACE, "x", body='{"kept":1}'), now=1005)
    a.apply(b.entries())
    b.apply(a.entries())
    for one in (a, b):
        assert one.item("x").body == '{"kept":1}' and not one.item("x").deleted
        assert one.conflicts() == []
    assert a.digest() == b.digest()


def test_claims_follow_the_version_that_is_shown(region):
    a, b, c = (region(ordinal, has_unique_keys=True) for ordinal in (1, 2, 3))

    def claims(one):
        return one.connection.execute("select id, value from orrery.unique_claims where range_id = %s order by id",
                                      [one.id]).fetchall()

    def claimed(entries, values):
        return [(n, 0, values[entry.body]) for n, entry in enumerate(entries, 1) if entry.body in values]

    values = {'{"u":"a"}': b"\x05a", '{"u":"b"}': b"\x05b", '{"u":"c"}': b"\x05c"}
    a.one(Op(CREATE, "x", body='{"u":"a"}', claims=[(0, b"\x05a")]), now=1000)
    b.one(Op(CREATE, "x", body='{"u":"b"}', claims=[(0, b"\x05b")]), now=1001)
    from_b = b.entries()
    c.apply(from_b, claims=claimed(from_b, values))
    from_a = a.entries()
    c.apply(from_a, claims=claimed(from_a, values))
    assert claims(c) == [("x", b"\x05b")]
    a.apply(from_b, claims=claimed(from_b, values))
    assert claims(a) == [("x", b"\x05b")] and a.conflicts() == [("x", 1, 1)]
    # b's own next version knows b's only, and ranks below a's: the older loser is shown again, with its claim
    b.write(Op(DELETE, "x"), now=1002)
    deleted = b.entries()[1:]
    c.apply(deleted)
    a.apply(deleted)
    assert claims(a) == claims(c) == []
    assert c.item("x").deleted and a.digest() == c.digest()


def test_an_older_loser_is_shown_again(region):
    """The shown head goes because an expiry knows it; the other head, older, is what remains above the expiry."""
    a, b = (region(ordinal, has_unique_keys=True, default_ttl=-1) for ordinal in (1, 2))
    a.one(Op(CREATE, "x", body='{"u":"a"}', claims=[(0, b"\x05a")]), now=1000)
    b.one(Op(CREATE, "x", body='{"u":"b"}', ttl=5, claims=[(0, b"\x05b")]), now=1001)
    first = b.entries()
    a.apply(first, claims=[(1, 0, b"\x05b")])
    assert a.item("x").body == '{"u":"b"}' and a.conflicts() == [("x", 1, 1)]
    assert b.connection.execute("select orrery.range_expire(%s, 257, 2000, 10)", [b.id]).fetchone() == (1,)
    a.apply(b.entries())
    assert a.item("x").body == '{"u":"a"}' and a.item("x").doc == {"u": "a"} and a.conflicts() == []
    assert a.connection.execute("select id, value from orrery.unique_claims where range_id = %s", [a.id]).fetchall() == [
        ("x", b"\x05a")]
    b.apply(a.entries(), claims=[(1, 0, b"\x05a")])
    assert a.digest() == b.digest()




@pytest.mark.parametrize("batch", [False, True])
def test_the_number_at_the_conflict_path_ranks_above_the_clock(region, batch):
    """Rule 7.2: missing or not a number ranks below all numbers; where ranks are equal the clock decides."""
    a, b = region(1), region(2)
    ranks = {"low": (1.5, 7), "none": (None, -1e300), "equal": (2, 2), "neither": (None, None)}
    for one, now, column in ((a, 2000, 0), (b, 1000, 1)):
        ops = [Op(CREATE, id, body=f'{{"by":{column}}}', rank=rank[column]) for id, rank in ranks.items()]
        for some in [ops] if batch else [[op] for op in ops]:
            one.write(*some, now=now)
    first = a.entries()
    a.apply(b.entries())
    b.apply(first)
    for one in (a, b):
        assert {id: one.item(id).body for id in ranks} == {
            "low": '{"by":1}', "none": '{"by":1}', "equal": '{"by":0}', "neither": '{"by":0}'}
    assert a.digest() == b.digest()
    # a delete ranks above every number
    b.one(Op(DELETE, "low"), now=900)
    a.one(Op(REPLACE, "low", rank=1e308), now=3000)
    first = a.entries()
    a.apply(b.entries())
    b.apply(first)
    assert a.item("low").deleted and b.item("low").deleted and a.digest() == b.digest()
