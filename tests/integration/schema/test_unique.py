"""Unique keys: claims are looked at under the range's lock, and see what the batch has already done."""

import pytest
from writer import CREATE, DELETE, REPLACE, UPSERT, Op


@pytest.fixture
def range_(make_range):
    made = make_range(has_unique_keys=True, default_ttl=-1)
    yield made
    made.check()


def claim(kind, id, value, key=0, **options):
    return Op(kind, id, claims=[(key, value)], **options)


def answers(rows):
    return [(row.status, row.substatus) for row in rows]


def test_a_value_held_is_refused(range_):
    assert range_.one(claim(CREATE, "a", b"v")).status == 201
    assert answers(range_.write(claim(CREATE, "b", b"v"))) == [(409, 3301)]
    assert range_.one(claim(CREATE, "b", b"w")).status == 201
    assert answers(range_.write(claim(REPLACE, "b", b"v"))) == [(409, 3301)]
    assert answers(range_.write(claim(UPSERT, "b", b"v"))) == [(409, 3301)]
    assert range_.one(claim(REPLACE, "a", b"v")).status == 200, "its own value"


def test_another_key_or_partition_is_another_value(range_):
    assert range_.one(claim(CREATE, "a", b"v")).status == 201
    assert range_.one(claim(CREATE, "b", b"v", key=1)).status == 201
    assert range_.one(claim(CREATE, "c", b"v", pk=b"q")).status == 201


def test_a_value_is_free_after_delete_replace_and_expiry(range_):
    range_.one(claim(CREATE, "a", b"v", ttl=10), now=100)
    range_.one(claim(CREATE, "b", b"w"), now=100)
    assert range_.one(claim(CREATE, "c", b"v"), now=109).status == 409
    assert range_.one(claim(CREATE, "c", b"v"), now=110).status == 201
    assert range_.one(Op(DELETE, "b"), now=110).status == 204
    assert range_.one(claim(CREATE, "d", b"w"), now=110).status == 201
    assert range_.one(claim(REPLACE, "d", b"x"), now=110).status == 200
    assert range_.one(claim(CREATE, "e", b"w"), now=110).status == 201


def test_inside_one_batch(range_):
    assert answers(range_.write(claim(CREATE, "a", b"v"), claim(CREATE, "b", b"v"))) == [(201, 0), (409, 3301)]
    # released by an earlier operation, taken by a later one; not the other way round
    assert answers(range_.write(claim(REPLACE, "a", b"w"), claim(CREATE, "b", b"v"))) == [(200, 0), (201, 0)]
    assert answers(range_.write(claim(CREATE, "c", b"v"), Op(DELETE, "b"))) == [(409, 3301), (204, 0)]


def test_a_failed_transaction_claims_and_releases_nothing(range_):
    range_.one(claim(CREATE, "a", b"v"))
    rows = range_.write(claim(CREATE, "b", b"w", txn=1), Op(DELETE, "a", txn=1), Op(REPLACE, "none", txn=1),
                        claim(CREATE, "c", b"w", txn=2), claim(CREATE, "d", b"v", txn=3))
    assert answers(rows) == [(424, 0), (424, 0), (404, 0), (201, 0), (409, 3301)]


def test_a_swap_in_one_transaction(range_):
    range_.write(claim(CREATE, "a", b"v"), claim(CREATE, "b", b"w"))
    rows = range_.write(Op(DELETE, "a", txn=1), claim(REPLACE, "b", b"v", txn=1), claim(CREATE, "c", b"w", txn=1))
    assert answers(rows) == [(204, 0), (200, 0), (201, 0)]


def test_long_values(range_):
    long = bytes(range(256)) * 40
    assert range_.one(claim(CREATE, "a", long)).status == 201
    assert range_.one(claim(CREATE, "b", long)).status == 409
    assert range_.one(claim(CREATE, "b", long + b"!")).status == 201


def test_several_keys(range_):
    assert range_.one(Op(CREATE, "a", claims=[(0, b"v"), (1, b"w")])).status == 201
    assert range_.one(Op(CREATE, "b", claims=[(0, b"x"), (1, b"w")])).status == 409
    assert range_.one(Op(CREATE, "b", claims=[(0, b"w"), (1, b"v")])).status == 201
