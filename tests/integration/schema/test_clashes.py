"""Rule 7.4: different items with the same value of a unique key, made in several regions at once. The hub, region 1, decides."""

import collections
import json
import random

import pytest
from test_apply import Region, pages
from writer import CREATE, DELETE, REPLACE, UPSERT, Op


class Clashing(Region):
    """Bodies tell the values of two unique keys: '{"u":…,"w":…}', each of which may be missing."""

    def put(self, kind, id, now, rank=None, txn=None, **keys):
        return self.one(self.op(kind, id, rank, txn, **keys), now=now)

    @staticmethod
    def op(kind, id, rank=None, txn=None, **keys):
        body = json.dumps({"id": id, **keys})
        return Op(kind, id, body=body, rank=rank, txn=txn, claims=claims_of(body) if kind < DELETE else [])

    def take(self, entries):
        claims = [(n, key, value) for n, entry in enumerate(entries, 1) if entry.op < 3 for key, value in claims_of(entry.body)]
        return self.apply(entries, claims=claims)

    def resolve(self, now=5000, limit=100):
        return self.connection.execute("select orrery.clashes_resolve(%s, 257, %s, %s)", [self.id, now, limit]).fetchone()[0]

    def shown(self):
        return dict(self.connection.execute(f"select id, body::json from orrery.items_{self.number} where not deleted").fetchall())

    def noted(self):
        return self.connection.execute("select count(*) from orrery.unique_clashes where range_id = %s", [self.id]).fetchone()[0]

    def feed(self):
        """As the conflicts feed joins it."""
        return sorted(self.connection.execute(f"""
            select c.id, c.origin, c.lsn, l.op, (select w.id from orrery.items_{self.number} w where w.rid = c.winner_rid)
            from orrery.conflicts c join orrery.log_{self.number} l on l.range_id = c.range_id and l.seq = c.log_seq
            join orrery.items_{self.number} i on i.range_id = c.range_id and i.pk = c.pk and i.id = c.id
            where c.range_id = %s and (l.origin, l.lsn, l.id) = (c.origin, c.lsn, c.id)""", [self.id]).fetchall())


def claims_of(body):
    found = json.loads(body)
    return [(number, found[name].encode()) for number, name in enumerate("uw") if name in found]


@pytest.fixture
def three(make_range):
    made = [Clashing(make_range(has_unique_keys=True, default_ttl=-1), ordinal) for ordinal in (1, 2, 3)]
    made[0].connection.execute("update orrery.range_epochs set hub = 1 where range_id = any (%s)", [[one.id for one in made]])
    return made


def exchange(*regions):
    for _ in range(3):
        for to in regions:
            for of in regions:
                if to is not of and of.entries():
                    assert to.take(of.entries()).status in ("applied", "waits")


def settle(regions):
    """Exchange and decide until nothing is left; then all regions agree, and no value is held twice."""
    for _ in range(9):
        exchange(*regions)
        if not any([one.resolve() for one in regions]):
            break
    assert len({one.digest() for one in regions}) == 1
    assert [one.noted() for one in regions] == [0] * len(regions)
    for one in regions:
        held = collections.Counter(claim for body in one.shown().values() for claim in claims_of(json.dumps(body)))
        assert all(count == 1 for count in held.values()), held


def test_the_greater_stays_and_the_other_is_in_the_feed(three):
    hub, b, c = three
    hub.put(CREATE, "x", 1000, u="v")
    b.put(CREATE, "y", 1001, u="v")
    c.put(CREATE, "z", 1002, u="v")
    assert hub.resolve() == 0 and hub.feed() == []
    exchange(*three)
    assert [one.noted() for one in three] == [1, 1, 1]
    assert sorted(hub.shown()) == ["x", "y", "z"], "until the hub has decided"
    assert b.put(REPLACE, "y", 1003, u="v").substatus == 3301
    before = hub.vector()
    assert b.resolve() == c.resolve() == 0 and b.noted() == 1, "the hub alone decides"
    assert hub.connection.execute("select orrery.clashes_resolve(%s, 256, 5000, 9)", [hub.id]).fetchone() == (0,)
    assert hub.resolve() == 1 and hub.resolve() == 0
    assert hub.vector() == [before[0] + 1, *before[1:]], "one transaction of the hub"
    settle(three)
    for one in three:
        assert list(one.shown()) == ["z"]
        assert one.feed() == [("x", 1, 1, 1, "z"), ("y", 2, 1, 1, "z")]
        assert one.item("y").body is None and one.item("y").doc is None
    # the value belongs to the winner; when that goes it is free, and what lost stays in the feed
    assert b.put(CREATE, "y", 1004, u="v").substatus == 3301
    assert c.one(Op(DELETE, "z"), now=1005).status == 204
    exchange(*three)
    assert b.put(CREATE, "y", 1006, u="v").status == 201
    settle(three)
    assert [list(one.shown()) for one in three] == [["y"]] * 3
    assert [one.feed() for one in three] == [[("x", 1, 1, 1, "z"), ("y", 2, 1, 1, "z")]] * 3


def test_the_number_at_the_conflict_path_decides_and_replaces_lose_as_such(three):
    hub, b, _ = three
    hub.put(CREATE, "x", 1000, u="a")
    exchange(*three)
    hub.put(REPLACE, "x", 2000, rank=1, u="v")
    b.put(CREATE, "y", 1000, rank=2, u="v")
    exchange(*three)
    hub.resolve()
    settle(three)
    assert [list(one.shown()) for one in three] == [["y"]] * 3
    assert [one.feed() for one in three] == [[("x", 1, 2, 2, "y")]] * 3


@pytest.mark.parametrize("order", ["before", "after"])
def test_a_write_that_did_not_know_the_removal_wins(three, order):
    """y moves away, is deleted, or keeps the value, in a region that has not heard of the removal, or had before it came."""
    hub, b, c = three
    for id in ("moves", "goes", "keeps"):
        hub.put(CREATE, id + " x", 1000, u=id)
        exchange(hub, c)
        b.put(CREATE, id, 900, u=id)
    exchange(hub, b)
    assert hub.resolve() == 3
    # b knows x and y; x goes first, or it could not write y again
    b.put(REPLACE, "moves", 1001, u="elsewhere")
    b.one(Op(DELETE, "goes"), now=1001)
    b.write(Clashing.op(DELETE, "keeps x", txn=1), Clashing.op(REPLACE, "keeps", txn=1, u="keeps"), now=1001)
    if order == "before":
        c.take(b.entries())
        c.take(hub.entries())
    else:
        c.take(hub.entries())
        assert len(c.feed()) == 3
        c.take(b.entries())
    settle(three)
    for one in three:
        assert {id: body["u"] for id, body in one.shown().items()} == {
            "moves": "elsewhere", "moves x": "moves", "goes x": "goes", "keeps": "keeps"}
        assert one.feed() == [], "who wrote them again had read them"


def test_a_later_version_that_keeps_the_value_is_decided_anew(three):
    """b changes y twice before it hears of x; the second one comes after the removal, and ranks above x."""
    hub, b, c = three
    hub.put(CREATE, "x", 1000, u="v")
    b.put(CREATE, "y", 900, u="v")
    hub.take(b.entries())
    assert hub.resolve() == 1 and list(hub.shown()) == ["x"]
    b.put(REPLACE, "y", 1100, u="v")
    c.take(hub.entries()[:1])
    settle(three)
    for one in three:
        assert list(one.shown()) == ["y"] and one.feed() == [("x", 1, 1, 1, "y")]


def test_a_chain_of_two_keys(three):
    """x < y < z; x and y share one key, y and z the other: nobody goes because of one that goes."""
    hub, b, c = three
    hub.put(CREATE, "x", 1000, u="1")
    b.put(CREATE, "y", 1001, u="1", w="2")
    c.put(CREATE, "z", 1002, w="2")
    exchange(*three)
    settle(three)
    assert [sorted(one.shown()) for one in three] == [["x", "z"]] * 3
    assert [one.feed() for one in three] == [[("y", 2, 1, 1, "z")]] * 3


def test_an_expired_item_holds_nothing_until_it_comes_back(three):
    """One region is enough: the value was taken from an item that had expired, which is live again when lifetimes are switched off."""
    hub, b, c = three
    hub.one(Op(CREATE, "x", body='{"u":"v"}', ttl=10, claims=[(0, b"v")]), now=1000)
    assert hub.put(CREATE, "y", 1011, u="v").status == 201
    assert hub.noted() == 1 and hub.resolve(1012) == 0 and hub.noted() == 1
    hub.connection.execute("update orrery.ranges set default_ttl = null where range_id = %s", [hub.id])
    assert sorted(hub.shown()) == ["x", "y"] and hub.resolve(1012) == 1
    assert list(hub.shown()) == ["y"] and hub.feed() == [("x", 1, 1, 1, "y")]
    hub.check()


def test_many_are_decided_in_parts(three):
    hub, b, _ = three
    for n in range(25):
        hub.put(CREATE, f"x{n}", 1000, u=f"{n}")
        b.put(CREATE, f"y{n}", 1001, u=f"{n}")
    hub.take(b.entries())
    assert [hub.resolve(limit=10) for _ in range(3)] == [10, 10, 5]
    settle(three)
    assert len(hub.feed()) == 25


@pytest.mark.parametrize("size", [1, 99])
def test_a_copy_has_what_lost(three, size):
    """A region that joins takes a log that may be trimmed; what is in the feed of its source is in its own."""
    hub, b, copy = three
    hub.put(CREATE, "x", 1000, u="v")
    b.put(CREATE, "y", 900, u="v")
    hub.take(b.entries())
    hub.resolve()
    with copy.connection.transaction(force_rollback=True):
        copy.copy(hub, size, claims_of)
        assert copy.digest() == hub.digest() and copy.feed() == hub.feed() == [("y", 2, 1, 1, "x")]
        assert copy.resolve() == copy.noted() == 0


@pytest.mark.parametrize("seed", range(6))
def test_random_histories(three, seed):
    """Three regions write with few values and are pulled in random pieces, while the hub decides at any moment. Of every version that
    was acknowledged: it is shown, or a write that knew it took its place, or it is in the feed."""
    chooser = random.Random(seed)
    pulled = {(to, of): 0 for to in range(3) for of in range(3) if to != of}
    clock = [1000 + chooser.randint(-20, 20) for _ in three]
    for _ in range(150):
        at = chooser.randrange(3)
        one = three[at]
        if chooser.random() < 0.5:
            clock[at] += chooser.randint(0, 2)
            keys = {name: chooser.choice("12") for name in "uw" if chooser.random() < 0.7}
            one.put(chooser.choice([UPSERT, UPSERT, CREATE, REPLACE, DELETE]), chooser.choice("abcd"), clock[at],
                    rank=chooser.choice([None, 1, 2]), **keys)
        elif chooser.random() < 0.3:
            one.resolve(limit=chooser.choice([1, 100]))
        else:
            of = chooser.choice([other for other in range(3) if other != at])
            for page in list(pages(three[of].entries(pulled[at, of]), chooser))[:chooser.randint(0, 3)]:
                done = one.take(page)
                if done.status == "waits":
                    break
                pulled[at, of] += done.taken
        assert one.connection.execute("select array(select orrery.range_problems(%s))", [one.id]).fetchone() == ([],)
    settle(three)
    for one in three:
        lost = one.connection.execute(f"""
            select l.id, l.origin, l.lsn from orrery.log_{one.number} l
            where l.op < 4 and not exists (select from orrery.items_{one.number} i where (i.id, i.origin, i.lsn) = (l.id, l.origin, l.lsn))
            and not exists (select from orrery.log_{one.number} n where n.id = l.id and n.op < 4
                            and orrery.knows(n.context, n.origin, n.lsn, l.origin, l.lsn))
            and not exists (select from orrery.conflicts c where c.range_id = %s and (c.id, c.origin, c.lsn) = (l.id, l.origin, l.lsn))""",
            [one.id]).fetchall()
        assert lost == []
