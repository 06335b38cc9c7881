"""Expiry is by calculation; expire, delete by partition key and purge are background writes."""

import pytest
from writer import CREATE, DELETE, REPLACE, UPSERT, Op


def expire(range_, now, limit=100):
    return range_.connection.execute("select orrery.range_expire(%s, 257, %s, %s)", [range_.id, now, limit]).fetchone()[0]


@pytest.mark.parametrize("default_ttl, ttl, lives", [
    (None, 1, True), (None, None, True), (-1, None, True), (-1, 10, False), (-1, -1, True),
    (10, None, False), (10, -1, True), (10, 100, True), (100, 10, False)])
def test_which_items_expire(make_range, default_ttl, ttl, lives):
    range_ = make_range(default_ttl=default_ttl)
    first = range_.one(Op(CREATE, "x", ttl=ttl), now=1000)
    assert range_.one(Op(CREATE, "x"), now=1009).status == 409
    assert range_.one(Op(REPLACE, "x", ttl=ttl), now=1000).status == 200
    assert expire(range_, now=1010) == (0 if lives else 1)
    again = range_.one(Op(UPSERT, "x"), now=1010)
    assert again.status == (200 if lives else 201)
    assert (again.rid == first.rid) == lives
    range_.check()


def test_expired_is_absent_before_any_purge(make_range):
    range_ = make_range(default_ttl=10)
    first = range_.one(Op(CREATE, "x"), now=1000)
    assert range_.statuses(Op(REPLACE, "x"), Op(DELETE, "y"), now=1010) == [404, 404]
    assert range_.one(Op(DELETE, "x"), now=1010).status == 404
    again = range_.one(Op(CREATE, "x"), now=1010)
    assert again.status == 201 and again.rid != first.rid
    range_.check()


def test_expire_in_portions(make_range):
    range_ = make_range(default_ttl=10)
    range_.write(*[Op(CREATE, f"own{n}", ttl=5) for n in range(7)], *[Op(CREATE, f"default{n}") for n in range(7)], now=1000)
    assert expire(range_, now=1004) == 0
    assert expire(range_, now=1005) == 7
    assert [expire(range_, now=1010, limit=4) for _ in range(3)] == [4, 3, 0]
    assert [row[3] for row in range_.log()[14:]] == [4] * 14
    item = range_.item("own0")
    assert (item.deleted, item.body, item.ts) == (True, None, 1005)
    assert range_.vector() == [14 + 3], "one LSN per call that did something"
    range_.check()


def test_expire_of_a_gone_range_does_nothing(make_range):
    range_ = make_range(default_ttl=10)
    range_.one(Op(CREATE, "x"), now=1000)
    range_.connection.execute("update orrery.ranges set state = 'dropped' where range_id = %s", [range_.id])
    assert expire(range_, now=5000) == 0


def test_expiry_releases_unique_values(make_range):
    range_ = make_range(default_ttl=10, has_unique_keys=True)
    range_.one(Op(CREATE, "x", claims=[(0, b"v")]), now=1000)
    assert expire(range_, now=1010) == 1
    assert range_.connection.execute("select count(*) from orrery.unique_claims where range_id = %s", [range_.id]).fetchone() == (0,)
    range_.check()


def test_delete_by_partition_key(make_range):
    range_ = make_range(default_ttl=-1)
    range_.write(*[Op(CREATE, f"{n:02}", pk=b"p") for n in range(10)], Op(CREATE, "other", pk=b"q"),
                 Op(CREATE, "expired", pk=b"p", ttl=1), now=1000)

    def delete(limit, epoch=257):
        return range_.connection.execute("select status, substatus, count, lsn, epoch, vector from orrery.partition_delete("
                                         "%s, %s, 1005, 'p', %s)", [range_.id, epoch, limit]).fetchone()

    assert delete(4, epoch=1)[:3] == (410, 1002, 0)
    assert delete(4) == (200, 0, 4, 13, 257, [13])
    assert delete(100) == (200, 0, 6, 14, 257, [14])
    assert delete(100) == (200, 0, 0, 14, 257, [14])
    assert not range_.item("other", pk=b"q").deleted
    assert [row[:3] for row in range_.log()[12:16]] == [(13, 13, 0), (14, 13, 1), (15, 13, 2), (16, 13, 3)]
    range_.check()


def test_purge_of_tombstones(range_):
    range_.write(*[Op(CREATE, f"{n}") for n in range(6)], now=1000)
    range_.write(*[Op(DELETE, f"{n}") for n in range(4)], now=1001)
    range_.one(Op(DELETE, "4"), now=2000)

    def purge(before, limit=100):
        return range_.connection.execute("select orrery.range_purge(%s, %s, %s)", [range_.id, before, limit]).fetchone()[0]

    before = range_.check()
    assert purge(1000) == 0
    assert purge(1001, limit=3) == 3
    range_.check()
    assert purge(1001) == 1
    assert range_.item("0") is None and range_.item("4").deleted and not range_.item("5").deleted
    assert range_.check() == before  # tombstones are not part of what regions compare
    made = range_.one(Op(CREATE, "0"), now=1001)
    assert made.status == 201
    range_.check()
