"""write_<n>: statuses, transactions, numbers, idempotence. Each case runs alone and beside a neighbour, because a
lone operation takes its own path through the function."""

import uuid

import psycopg
import pytest
from writer import CHECK, CREATE, DELETE, EXISTS, REPLACE, UPSERT, Op, Range


@pytest.fixture(params=["alone", "batched"])
def act(request, range_):
    """Run one operation and give its row; batched: between two neighbours that pass."""
    count = iter(range(10**6))

    def run(op, **options):
        if request.param == "alone":
            return range_.one(op, **options)
        before, after = (Op(UPSERT, f"neighbour{next(count)}", txn=txn) for txn in (0, 2))
        op.txn = 1
        rows = range_.write(before, op, after, **options)
        assert [rows[0].status, rows[2].status] == [201, 201]
        return rows[1]

    yield run
    range_.check()


def test_create_then_create_again(act, range_):
    op = Op(CREATE, "x", body='{"id":"x"}')
    row = act(op, now=50)
    assert (row.status, row.substatus, row.ts, row.etag, row.epoch) == (201, 0, 50, op.etag, 257)
    assert row.vector == [row.lsn]
    assert row.rid & 0xFFFFF == 1 and row.rid >> 20 > 0
    item = range_.item("x")
    assert (item.rid, item.lsn, item.body, item.doc, item.deleted) == (row.rid, row.lsn, '{"id":"x"}', {"id": "x"}, False)
    again = act(Op(CREATE, "x"))
    assert (again.status, again.ts, again.rid, again.etag) == (409, None, None, None)
    assert range_.item("x").body == '{"id":"x"}'


def test_replace_and_delete_of_nothing(act):
    assert act(Op(REPLACE, "x")).status == 404
    assert act(Op(DELETE, "x")).status == 404
    assert act(Op(REPLACE, "x", if_match=uuid.uuid4())).status == 404
    assert act(Op(DELETE, "x", if_match=uuid.uuid4())).status == 404


def test_upsert(act, range_):
    created = act(Op(UPSERT, "x", body='{"v":1}'))
    replaced = act(Op(UPSERT, "x", body='{"v":2}'))
    assert (created.status, replaced.status) == (201, 200)
    assert created.rid == replaced.rid and replaced.lsn > created.lsn
    assert range_.item("x").body == '{"v":2}'


def test_an_update_stays_on_its_page(act, range_):
    """Without index and lifetimes no index holds what a write changes (HOT)."""
    act(Op(CREATE, "x", body='{"v":1}'), now=50)
    with range_.connection.transaction():
        assert act(Op(UPSERT, "x", body='{"v":2}', ttl=5), now=60).status == 200
        [hot] = range_.connection.execute("select pg_stat_get_xact_tuples_hot_updated(%s::regclass)", [f"orrery.items_{range_.number}"]).fetchone()
    assert hot == 1


def test_conditions(act, range_):
    first = act(Op(CREATE, "x"))
    for kind in (UPSERT, REPLACE, DELETE):
        assert act(Op(kind, "x", if_match=uuid.uuid4())).status == 412
    second = act(Op(REPLACE, "x", if_match=first.etag))
    assert second.status == 200
    assert act(Op(REPLACE, "x", if_match=first.etag)).status == 412
    third = act(Op(UPSERT, "x", if_match=second.etag))
    assert third.status == 200
    assert act(Op(DELETE, "x", if_match=third.etag)).status == 204
    assert range_.item("x").deleted


def test_upsert_that_must_create(act):
    assert act(Op(UPSERT, "x", flags=1)).status == 201
    assert act(Op(UPSERT, "x", flags=1)).status == 412
    assert act(Op(DELETE, "x")).status == 204
    assert act(Op(UPSERT, "x", flags=1)).status == 201


def test_upsert_with_a_condition_creates_what_is_absent(act):
    assert act(Op(UPSERT, "x", if_match=uuid.uuid4())).status == 201


def test_checks_write_nothing(act, range_):
    made = act(Op(CREATE, "x"))
    entries = [entry for entry in range_.log() if entry[4] == "x"]
    assert act(Op(CHECK, "x", if_match=made.etag)).status == 200
    assert act(Op(CHECK, "x", if_match=uuid.uuid4())).status == 412
    assert act(Op(CHECK, "x")).status == 412
    assert act(Op(CHECK, "y")).status == 200
    assert act(Op(CHECK, "y", if_match=made.etag)).status == 412
    assert act(Op(EXISTS, "x")).status == 200
    assert act(Op(EXISTS, "x", rid=made.rid)).status == 200
    assert act(Op(EXISTS, "x", rid=made.rid + 1)).status == 404
    assert act(Op(EXISTS, "y")).status == 404
    assert [entry for entry in range_.log() if entry[4] == "x"] == entries
    assert range_.item("y") is None


def test_a_lone_check_takes_no_number(range_):
    made = range_.one(Op(CREATE, "x"))
    row = range_.one(Op(EXISTS, "x"))
    assert (row.status, row.lsn, row.rid, row.etag) == (200, made.lsn, None, None)


def test_an_item_made_again_is_another_resource(act):
    first = act(Op(CREATE, "x"))
    act(Op(DELETE, "x"))
    again = act(Op(CREATE, "x"))
    assert again.status == 201 and again.rid != first.rid


def test_the_rid_given_is_used_for_new_items_only(act):
    assert act(Op(CREATE, "x", rid=77)).rid == 77
    assert act(Op(UPSERT, "x", rid=78)).rid == 77


def test_ts_never_goes_back(act):
    assert act(Op(CREATE, "x"), now=2000).ts == 2000
    assert act(Op(REPLACE, "x"), now=1500).ts == 2000
    assert act(Op(DELETE, "x"), now=1400).ts == 2000
    assert act(Op(CREATE, "x"), now=1300).ts == 2000
    assert act(Op(REPLACE, "x"), now=2001).ts == 2001


def test_log_entries_tell_what_happened(act, range_):
    created = act(Op(CREATE, "x", body='{"v":1}'))
    replaced = act(Op(UPSERT, "x", body='{"v":2}'))
    act(Op(DELETE, "x"))
    act(Op(UPSERT, "x", body='{"v":3}'))
    told = [(op, prev, body) for _, _, _, op, id, prev, body in range_.log() if id == "x"]
    assert told == [(1, None, '{"v":1}'), (2, created.lsn, '{"v":2}'), (3, replaced.lsn, None), (1, None, '{"v":3}')]


def test_keys_too_long_for_an_index_page(act, range_):
    assert act(Op(CREATE, "i" * 2600)).status == 400
    # bytes that do not compress, as large as allowed
    noise = b"".join(uuid.uuid4().bytes for _ in range(97))
    assert act(Op(CREATE, "é" * 511, pk=noise)).status == 201
    assert range_.item("é" * 511, pk=noise) is not None


@pytest.mark.parametrize("text", [
    "'", "''; drop table orrery.ranges; --", '"', "\\", "$function$", "{items}", "%I%s", "\u0001\u001f\u007f", "é\u0301",
    "\U0001f52d", "\u2028", "NULL", "{NULL,\"}", " ", "a" * 255])
def test_text_is_only_text(act, range_, text):
    import json
    body = json.dumps({"id": text, text: [text]}, ensure_ascii=False)
    assert act(Op(CREATE, text, body=body, pk=text.encode())).status == 201
    assert range_.item(text, pk=text.encode()).body == body
    assert act(Op(DELETE, text, pk=text.encode())).status == 204


def test_two_megabytes(act, range_):
    body = '{"text":"' + "".join(uuid.uuid4().hex for _ in range(65_000)) + '"}'
    assert len(body) > 2_000_000
    assert act(Op(CREATE, "big", body=body)).status == 201
    assert range_.item("big").body == body


def test_doc_may_differ_from_body(act, range_):
    act(Op(CREATE, "x", body='{"n":1.0e0}', doc='{"n":1}'))
    item = range_.item("x")
    assert (item.body, item.doc) == ('{"n":1.0e0}', {"n": 1})


def test_neighbours_do_not_suffer(range_):
    range_.write(Op(CREATE, "x"), Op(CREATE, "y"))
    rows = range_.write(Op(CREATE, "a"), Op(CREATE, "x"), Op(REPLACE, "none"), Op(CREATE, "b"), Op(DELETE, "y", if_match=uuid.uuid4()))
    assert [row.status for row in rows] == [201, 409, 404, 201, 412]
    assert [row.lsn for row in rows] == [3, 3, 3, 4, 4], "refused operations take no number"
    assert range_.vector() == [4]
    range_.check()


def test_a_transaction_has_one_lsn(range_):
    rows = range_.write(Op(CREATE, "a", txn=1), Op(CREATE, "b", txn=2), Op(CHECK, "z", txn=2), Op(CREATE, "c", txn=2),
                        Op(CREATE, "d", txn=3))
    assert [row.status for row in rows] == [201, 201, 200, 201, 201]
    assert [row.lsn for row in rows] == [1, 2, 2, 2, 3]
    assert [row[:3] for row in range_.log()] == [(1, 1, 0), (2, 2, 0), (3, 2, 1), (4, 3, 0)]
    range_.check()


def test_a_transaction_fails_whole(range_):
    range_.one(Op(CREATE, "x"))
    rows = range_.write(Op(CREATE, "a", txn=1), Op(CREATE, "x", txn=1), Op(CREATE, "b", txn=1), Op(CREATE, "c", txn=2))
    assert [row.status for row in rows] == [424, 409, 424, 201]
    assert [row.rid is None for row in rows] == [True, True, True, False]
    assert [range_.item(id) is None for id in "abc"] == [True, True, False]
    assert range_.vector() == [2]
    range_.check()


def test_a_check_guards_its_transaction(range_):
    made = range_.one(Op(CREATE, "x"))
    assert range_.statuses(Op(CHECK, "x", if_match=uuid.uuid4(), txn=1), Op(CREATE, "a", txn=1)) == [412, 424]
    assert range_.statuses(Op(CHECK, "x", if_match=made.etag, txn=1), Op(CREATE, "a", txn=1)) == [200, 201]


def test_transactions_out_of_order_are_a_bug(range_):
    with pytest.raises(psycopg.errors.RaiseException):
        range_.write(Op(CREATE, "a", txn=2), Op(CREATE, "b", txn=1))


@pytest.mark.parametrize("second", [CREATE, REPLACE, CHECK])
def test_two_operations_on_one_item_are_a_bug(range_, second):
    with pytest.raises(psycopg.errors.RaiseException):
        range_.write(Op(CREATE, "a"), Op(second, "a"))
    assert range_.vector() == [0]


@pytest.mark.parametrize("count", [1, 5])
def test_a_batch_sent_again_does_nothing(range_, count):
    range_.one(Op(CREATE, "id0"))
    ops = [Op(CREATE, f"id{n}") for n in range(count)]
    first = range_.write(*ops, sequence=7)
    assert range_.write(*ops, sequence=7) == first
    assert range_.write(*ops, sequence=7, epoch=999) == first, "also when the epoch has moved"
    assert [row.status for row in first] == [409] + [201] * (count - 1)
    late = range_.write(*[Op(UPSERT, op.id) for op in ops], sequence=6)
    assert {(row.status, row.lsn) for row in late} == {(408, None)}
    assert range_.vector() == [count]
    range_.check()


def test_substatus_is_repeated_too(make_range):
    range_ = make_range(has_unique_keys=True)
    range_.one(Op(CREATE, "a", claims=[(0, b"v")]))
    ops = [Op(CREATE, "b", claims=[(0, b"v")]), Op(CREATE, "c", claims=[(0, b"w")])]
    first = range_.write(*ops, sequence=9)
    assert [(row.status, row.substatus) for row in first] == [(409, 3301), (201, 0)]
    assert range_.write(*ops, sequence=9) == first


def test_writers_do_not_disturb_each_other(connection, range_):
    other = Range(connection, range_.number)
    assert range_.one(Op(CREATE, "a"), sequence=5).status == 201
    assert other.one(Op(CREATE, "a"), sequence=5).status == 409
    assert other.one(Op(CREATE, "b"), sequence=6).status == 201


def test_wrong_epoch_state_or_range(connection, range_):
    def gone(row):
        assert (row.status, row.substatus, row.lsn) == (410, 1002, None)
        return True

    assert all(map(gone, range_.write(Op(CREATE, "a"), Op(CREATE, "b"), epoch=258)))
    assert gone(range_.one(Op(CREATE, "a"), epoch=256, sequence=1))
    assert range_.one(Op(CREATE, "a"), epoch=257, sequence=1).status == 201, "a refused batch is not remembered"
    assert range_.one(Op(CREATE, "b"), epoch=None).status == 201
    assert gone(Range(connection, range_.number, index=9).one(Op(CREATE, "a")))
    connection.execute("update orrery.ranges set state = 'read-only' where range_id = %s", [range_.id])
    row = range_.one(Op(CREATE, "c"))
    assert (row.status, row.substatus, row.lsn) == (403, 3, None)
    connection.execute("update orrery.ranges set state = 'splitting' where range_id = %s", [range_.id])
    assert gone(range_.one(Op(CREATE, "c")))
    range_.check()


def test_an_empty_batch(range_):
    assert range_.write() == []


def test_contexts_name_the_other_origins(connection, range_):
    range_.one(Op(CREATE, "a"))
    assert range_.item("a").context is None
    connection.execute("update orrery.ranges set vector = '{1,5,0}' where range_id = %s", [range_.id])
    row = range_.one(Op(CREATE, "b"))
    assert (row.vector, range_.item("b").context) == ([2, 5, 0], [1, 5, 0])
    rows = range_.write(Op(CREATE, "c"), Op(CREATE, "d"))
    assert [row.vector for row in rows] == [[3, 5, 0], [4, 5, 0]]
    assert [range_.item(id).context for id in "cd"] == [[2, 5, 0], [3, 5, 0]]


def test_writes_find_their_items_by_the_primary_key(connection, range_):
    """On a young table, too, which the planner knows nothing about: any other index would be scanned for each item."""
    for batch in range(5):
        range_.write(*[Op(UPSERT, str(n), pk=b"%d" % n) for n in range(batch * 64, batch * 64 + 64)])
        range_.one(Op(UPSERT, "lone"))
    connection.execute("select pg_stat_force_next_flush()")
    scans = dict(connection.execute("select indexrelname, idx_scan from pg_stat_user_indexes where relname = %s",
                                    [f"items_{range_.number}"]).fetchall())
    assert scans[f"items_{range_.number}_pkey"] > 0 and scans[f"items_{range_.number}_rid"] == 0, scans
