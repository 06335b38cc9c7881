"""Rule 5.6: what a region that was given up, here 2, had written beyond its cut. The hub, region 1, decides."""

import pytest
from test_apply import Region
from writer import CREATE, DELETE, REPLACE, Op


@pytest.fixture
def three(make_range):
    return [Region(make_range(), ordinal) for ordinal in (1, 2, 3)]


def give_up(cut, *regions):
    """Region 2 is out, with what it has shipped."""
    for one in regions:
        one.connection.execute("update orrery.range_epochs set hub = 1, cut = array[null, %s::bigint] where range_id = %s", [cut, one.id])


def decide(hub, lsn, now=5000):
    return hub.connection.execute("select outcome, entries from orrery.stranded_decide(%s, 2::smallint, %s, %s)", [hub.id, lsn, now]).fetchone()


def outcomes(region):
    return region.connection.execute(
        "select lsn, index, outcome from orrery.stranded where range_id = %s order by lsn, index", [region.id]).fetchall()


def bodies(region):
    return dict(region.connection.execute(f"select id, body from orrery.items_{region.number} where not deleted").fetchall())


def strand(hub, lost, *others):
    """a and b are everywhere; then 2 changes a, makes c, changes b and deletes d, which nobody hears; b and d change at the hub."""
    for id in "abd":
        lost.one(Op(CREATE, id, body='{"of":"all"}'), now=1000)
    for one in (hub, *others):
        one.apply(lost.entries())
    give_up(3, hub, *others)
    lost.one(Op(REPLACE, "a", body='{"of":"lost a"}'), now=1001)
    lost.one(Op(CREATE, "c", body='{"of":"lost c"}'), now=1002)
    lost.one(Op(REPLACE, "b", body='{"of":"lost b"}'), now=9000)  # its clock is ahead, which counts for nothing
    lost.one(Op(DELETE, "d"), now=9000)
    hub.one(Op(REPLACE, "b", body='{"of":"hub b"}'), now=1003)
    hub.one(Op(REPLACE, "d", body='{"of":"hub d"}'), now=1004)
    assert hub.apply(lost.entries()[3:]).applied == 4
    assert bodies(hub) == {"a": '{"of":"all"}', "b": '{"of":"hub b"}', "d": '{"of":"hub d"}'}, "the log alone has them"
    assert outcomes(hub) == [(4, 0, None), (5, 0, None), (6, 0, None), (7, 0, None)]


def test_the_hub_merges_what_nobody_changed_meanwhile(three):
    hub, lost, third = three
    strand(hub, lost, third)
    assert [decide(hub, lsn) for lsn in (4, 5, 6, 7)] == [("merged", 1), ("merged", 1), ("conflict", 1), ("conflict", 1)]
    third.apply(hub.entries())
    for one in (hub, third):
        assert bodies(one) == {"a": '{"of":"lost a"}', "b": '{"of":"hub b"}', "c": '{"of":"lost c"}', "d": '{"of":"hub d"}'}
        assert one.conflicts() == [("b", 2, 6), ("d", 2, 7)]
        assert outcomes(one) == [(4, 0, "merged"), (5, 0, "merged"), (6, 0, "conflict"), (7, 0, "conflict")]
    assert hub.digest() == third.digest()


def test_what_the_hub_decides_and_a_write_that_it_had_not_seen_are_concurrent(three):
    """Several write regions: what the hub merges, or holds to, is its own entry, and conflicts as any other does. A delete wins, whose
    ever it is; then the later _ts."""
    hub, lost, third = three
    for id in "abde":
        lost.one(Op(CREATE, id, body='{"of":"all"}'), now=1000)
    for one in (hub, third):
        one.apply(lost.entries())
    give_up(4, hub, third)
    lost.one(Op(DELETE, "a"), now=1001)
    lost.one(Op(REPLACE, "b", body='{"of":"lost b"}'), now=1001)
    lost.one(Op(REPLACE, "d", body='{"of":"lost d"}'), now=1001)
    lost.one(Op(DELETE, "e"), now=1001)
    hub.one(Op(REPLACE, "e", body='{"of":"hub e"}'), now=1002)
    third.one(Op(REPLACE, "a", body='{"of":"third a"}'), now=2000)
    third.one(Op(DELETE, "b"), now=1001)
    third.one(Op(REPLACE, "d", body='{"of":"third d"}'), now=2000)
    third.one(Op(REPLACE, "e", body='{"of":"third e"}'), now=2000)
    hub.apply(lost.entries()[4:])
    assert [decide(hub, lsn) for lsn in (5, 6, 7, 8)] == [("merged", 1), ("merged", 1), ("merged", 1), ("conflict", 1)]
    assert bodies(hub) == {"b": '{"of":"lost b"}', "d": '{"of":"lost d"}', "e": '{"of":"hub e"}'}
    written = {entry.id: entry.lsn for entry in hub.entries() if entry.origin == 1 and entry.op != 5}
    before = third.entries()
    third.apply(hub.entries())
    hub.apply(before)
    for one in (hub, third):
        assert bodies(one) == {"d": '{"of":"third d"}', "e": '{"of":"third e"}'}
        lost_twice = [("e", 1, 1)] if one is third else []  # there the hub's version lost before the hub repeated it
        assert one.conflicts() == [("a", 3, 1), ("b", 1, written["b"]), ("d", 1, written["d"]), *lost_twice, ("e", 1, written["e"]), ("e", 2, 8)]
        assert outcomes(one) == [(5, 0, "merged"), (6, 0, "merged"), (7, 0, "merged"), (8, 0, "conflict")]
    assert hub.digest() == third.digest()


@pytest.mark.parametrize("size", [1, 99])
def test_a_copy_has_what_was_decided_and_what_is_to_be(three, size):
    hub, lost, copy = three
    strand(hub, lost)
    give_up(3, copy)
    assert [decide(hub, lsn)[0] for lsn in (4, 6)] == ["merged", "conflict"]
    taken = len(hub.entries())
    with copy.connection.transaction(force_rollback=True):
        copy.copy(hub, size)
        assert bodies(copy) == bodies(hub) and copy.conflicts() == hub.conflicts() and outcomes(copy) == outcomes(hub)
        assert copy.digest() == hub.digest()
        copy.copy(hub, size)  # begun anew
        assert bodies(copy) == bodies(hub) and copy.conflicts() == hub.conflicts() and outcomes(copy) == outcomes(hub)
        assert [decide(hub, lsn)[0] for lsn in (5, 7)] == ["merged", "conflict"]
        assert copy.apply(hub.entries()[taken:]).status == "applied"
        assert bodies(copy) == bodies(hub) and copy.conflicts() == hub.conflicts() and outcomes(copy) == outcomes(hub)
        assert copy.digest() == hub.digest()
