"""Several connections on one range; crashes; drops under writers."""

import random
import threading
import time

import psycopg
import pytest
from support.threads import run_all
from writer import CREATE, DELETE, REPLACE, UPSERT, Op, Range


def random_ops(chance, count):
    ids = chance.sample(range(40), count)
    txn = 0
    ops = []
    for id in ids:
        txn += chance.random() < 0.7
        kind = chance.choice([CREATE, UPSERT, UPSERT, REPLACE, DELETE])
        ops.append(Op(kind, f"i{id}", txn=txn, ttl=chance.choice([None, 1]), body='{"v":%d}' % chance.randrange(10**9),
                      claims=[(0, b"%d" % chance.randrange(60))] if kind < DELETE else []))
    return ops


@pytest.mark.parametrize("has_unique_keys", [False, True])
def test_four_writers_on_one_range(open_connection, make_range, has_unique_keys):
    range_ = make_range(has_unique_keys=has_unique_keys, default_ttl=-1)
    acknowledged = []

    def work(seed):
        mine, chance = Range(open_connection(), range_.number), random.Random(seed)
        for step in range(60):
            ops = random_ops(chance, chance.choice([1, 1, 7]))
            rows = mine.write(*ops, now=1000 + step // 10)
            acknowledged.extend((row.lsn, op.id, op.etag) for row, op in zip(rows, ops) if row.status < 300)

    run_all(*[lambda seed=seed: work(seed) for seed in range(4)])
    range_.check()
    logged = {(lsn, id) for _, lsn, _, _, id, _, _ in range_.log()}
    assert logged == {(lsn, id) for lsn, id, _ in acknowledged}
    assert len(logged) == len(acknowledged), "each acknowledged write once"
    assert range_.vector() == [max(lsn for lsn, _ in logged)]
    if has_unique_keys:
        doubled = range_.connection.execute(
            f"select c.value from orrery.unique_claims c join orrery.items_{range_.number} i on i.range_id = c.range_id"
            " and i.pk = c.pk and i.id = c.id where c.range_id = %s and orrery.is_live(i.deleted, i.ts, i.ttl, -1, 1005)"
            " group by c.value having count(*) > 1", [range_.id]).fetchall()
        assert doubled == []


def test_one_etag_is_replaced_once(open_connection, range_):
    """No lost update: of all that replace the same version, one wins."""
    made = range_.one(Op(CREATE, "x"))
    statuses = []

    def work():
        mine = Range(open_connection(), range_.number)
        statuses.append(mine.one(Op(REPLACE, "x", if_match=made.etag)).status)

    run_all(*[work] * 4)
    assert sorted(statuses) == [200, 412, 412, 412]


def test_a_late_twin_waits_and_does_nothing(open_connection, range_):
    """The first connection hangs in its transaction; the batch sent again on another waits for it."""
    first, second = open_connection(), open_connection()
    first.autocommit = False
    mine = Range(first, range_.number)
    twin = Range(second, range_.number)
    twin.writer = mine.writer
    op = Op(CREATE, "x")
    rows = mine.write(op, sequence=1)
    answers = []
    thread = threading.Thread(target=lambda: answers.extend(twin.write(op, sequence=1)))
    thread.start()
    time.sleep(0.2)
    assert answers == []
    first.commit()
    thread.join()
    assert answers == rows
    range_.check()


def test_expiry_beside_writers(open_connection, make_range):
    range_ = make_range(default_ttl=1)

    def work(seed):
        mine, chance = Range(open_connection(), range_.number), random.Random(seed)
        for step in range(60):
            mine.write(*[Op(UPSERT, f"i{id}") for id in chance.sample(range(20), 3)], now=1000 + step)

    def expire():
        connection = open_connection()
        for step in range(60):
            connection.execute("select orrery.range_expire(%s, 257, %s, 5)", [range_.id, 1000 + step])
            connection.execute("select orrery.partition_delete(%s, 257, %s, 'p', 2)", [range_.id, 1000 + step])

    run_all(lambda: work(1), lambda: work(2), expire)
    range_.check()


def test_a_crash_keeps_what_was_acknowledged(server, range_, open_connection):
    acknowledged, unknown = [], []
    crashed = threading.Event()

    def work(seed):
        mine = Range(server.connect(autocommit=True), range_.number)
        for step in range(100_000):
            ops = [Op(CREATE, f"{seed}-{step}-{n}") for n in range(1 + step % 3)]
            try:
                rows = mine.write(*ops)
            except psycopg.OperationalError:
                unknown.append((mine, ops))
                return
            acknowledged.extend((op.id, row.lsn) for op, row in zip(ops, rows))
            if crashed.is_set():
                return

    def crash():
        time.sleep(1)
        server.kill9()
        crashed.set()

    run_all(lambda: work(0), lambda: work(1), lambda: work(2), crash)
    server.start()
    range_.connection = open_connection()
    assert len(unknown) == 3 and len(acknowledged) > 100
    range_.check()
    logged = [(id, lsn) for _, lsn, _, _, id, _, _ in range_.log()]
    assert set(acknowledged) <= set(logged)
    for mine, ops in unknown:  # in the log or not, sending it again settles it
        mine.connection = range_.connection
        assert {row.status for row in mine.write(*ops, sequence=mine.sequence)} == {201}
    logged = [entry[4] for entry in range_.log()]
    assert len(logged) == len(set(logged)) == len(acknowledged) + sum(len(ops) for _, ops in unknown)
    range_.check()
