"""Databases and containers: items of range 0 and what must change with them."""

import itertools
import threading
import uuid

import psycopg
import pytest
from writer import CALL, CREATE, EXISTS, REPLACE, UPSERT, Op, Range, Row, arrays

databases = itertools.count()


@pytest.fixture
def metadata(connection):
    return Range(connection, 0)


def number_take(connection, count=1):
    return connection.execute("select orrery.number_take(%s)", [count]).fetchone()[0]


@pytest.fixture
def database(connection, metadata):
    """Its name and number."""
    name, number = f"database{next(databases)}", number_take(connection)
    assert metadata.one(Op(CREATE, name, pk=b"dbs", rid=number)).status == 201
    return name, number


def create_container(metadata, database, name, ranges=2, default_ttl=None, unique=False, sequence=None, number=None, etag=None):
    number = number or number_take(metadata.connection)
    if sequence is None:
        metadata.sequence += 1
        sequence = metadata.sequence
    metadata.sequence = sequence
    bounds = [bytes([n * 256 // ranges]) if n else b"" for n in range(ranges)] + [b"\xff"]
    ops = [Op(EXISTS, database[0], pk=b"dbs", rid=database[1], txn=0),
           Op(CREATE, name, pk=b"colls/%d" % database[1], rid=number, etag=etag, txn=0, body='{"indexingPolicy":{}}'),
           Op(CREATE, f"offer{number}", pk=b"offers/%d" % number, rid=number + 1_000_000_000, etag=etag, txn=0)]
    call = CALL.format(function="container_create", lead="", tail=", %s::bigint, %s::bytea[], %s::bytea[], %s::int, %s, '{}', '{}', '{}'")
    rows = metadata.connection.execute(call, [257, metadata.writer, sequence, 1000, *arrays(ops), number, bounds[:-1],
                                              bounds[1:], default_ttl, unique]).fetchall()
    return number, [Row(*row) for row in rows]


def drop(metadata, pk, id, if_match=None, sequence=None):
    if sequence is None:
        metadata.sequence += 1
        sequence = metadata.sequence
    metadata.sequence = sequence
    rows = metadata.connection.execute(
        "select * from orrery.resource_drop(257, %s, %s, 1000, %s, %s, %s)",
        [metadata.writer, sequence, pk, id, if_match]).fetchall()
    assert len(rows) == 1
    return Row(*rows[0])


def exists(connection, name):
    return connection.execute("select to_regclass(%s) is not null", [f"orrery.{name}"]).fetchone()[0]


def test_numbers_are_consecutive_and_limited(connection):
    first = number_take(connection, 5)
    assert number_take(connection) == first + 5
    with pytest.raises(psycopg.errors.CheckViolation):
        number_take(connection, 2**31 - 1)


def test_create_container(connection, metadata, database):
    number, rows = create_container(metadata, database, "c", ranges=3, default_ttl=10, unique=True)
    assert [row.status for row in rows] == [200, 201, 201]
    assert rows[1].lsn == rows[2].lsn and rows[1].rid == number
    ranges = connection.execute("select range_id, index, epk_min, epk_max, state, epoch, origin, vector, default_ttl, has_unique_keys"
                                " from orrery.ranges where container = %s order by index", [number]).fetchall()
    assert [row[:2] for row in ranges] == [(number << 12 | n, n) for n in range(3)]
    assert [row[2] for row in ranges] == [b"", b"\x55", b"\xaa"] and ranges[2][3] == b"\xff"
    assert ranges[0][4:] == ("online", 257, 1, [0], 10, True)
    item = Range(connection, number, 2).one(Op(CREATE, "x"))
    assert item.status == 201 and item.rid >> 8 & 0xFFF == 2
    metadata.check()


def test_a_refused_container_leaves_nothing(connection, metadata, database):
    number, rows = create_container(metadata, (database[0], database[1] + 1), "c")
    assert [row.status for row in rows] == [404, 424, 424]
    assert not exists(connection, f"items_{number}")
    create_container(metadata, database, "c")
    number, rows = create_container(metadata, database, "c")
    assert [row.status for row in rows] == [424, 409, 424]
    assert not exists(connection, f"items_{number}")
    assert connection.execute("select count(*) from orrery.ranges where container = %s", [number]).fetchone() == (0,)


def test_create_container_sent_again(connection, metadata, database):
    number, rows = create_container(metadata, database, "c", sequence=10**6, etag=(etag := uuid.uuid4()))
    again = create_container(metadata, database, "c", sequence=10**6, number=number, etag=etag)[1]
    assert [row[:6] for row in again] == [row[:6] for row in rows]


def test_two_create_one_name(open_connection, database):
    answers = []

    def work():
        answers.append(tuple(row.status for row in create_container(Range(open_connection(), 0), database, "c")[1]))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [(200, 201, 201)] + [(424, 409, 424)] * 3


def test_replace_container_changes_the_lifetime(connection, metadata, database):
    number, rows = create_container(metadata, database, "c")
    range_ = Range(connection, number)
    range_.one(Op(CREATE, "x", ttl=5), now=1000)
    assert range_.one(Op(CREATE, "x"), now=2000).status == 409

    def replace(default_ttl, if_match=None):
        op = Op(REPLACE, "c", pk=b"colls/%d" % database[1], if_match=if_match)
        metadata.sequence += 1
        call = CALL.format(function="container_replace", lead="", tail=", %s::bigint, %s::int")
        [row] = connection.execute(call, [257, metadata.writer, metadata.sequence, 1000, *arrays([op]), number, default_ttl]).fetchall()
        return row[1]

    assert replace(1, if_match=uuid.uuid4()) == 412
    assert range_.one(Op(CREATE, "x"), now=2000).status == 409
    assert replace(1, if_match=rows[1].etag) == 200
    assert range_.one(Op(CREATE, "x"), now=2000).status == 201
    assert exists(connection, f"items_{number}_age") and exists(connection, f"items_{number}_expiry")
    assert replace(None) == 200
    assert range_.one(Op(CREATE, "x"), now=3000).status == 409


def test_drop_container(connection, metadata, database):
    number, rows = create_container(metadata, database, "c")
    other, _ = create_container(metadata, database, "other")
    pk = b"colls/%d" % database[1]
    assert metadata.one(Op(CREATE, "procedure", pk=b"sprocs/%d" % number, rid=number_take(connection))).status == 201
    assert drop(metadata, pk, "c", if_match=uuid.uuid4()).status == 412
    assert drop(metadata, pk, "none").status == 404
    range_ = Range(connection, number)
    assert range_.one(Op(CREATE, "x")).status == 201
    row = drop(metadata, pk, "c", if_match=rows[1].etag, sequence=2 * 10**6)
    assert (row.n, row.status) == (1, 204)
    assert drop(metadata, pk, "c", if_match=rows[1].etag, sequence=2 * 10**6)[:6] == row[:6]
    assert metadata.item("procedure", pk=b"sprocs/%d" % number).deleted
    assert metadata.item(f"offer{number}", pk=b"offers/%d" % number).deleted
    assert [row.status for row in range_.write(Op(CREATE, "y"))] == [410]
    assert Range(connection, other).one(Op(CREATE, "x")).status == 201
    connection.execute("select orrery.container_reap(100)")
    assert not exists(connection, f"items_{number}") and not exists(connection, f"log_{number}")
    assert not exists(connection, f"log_{number}_0")
    assert connection.execute("select count(*) from pg_proc where proname = any(%s)",
                              [[f"{kind}_{number}" for kind in ("write", "clash", "apply", "fetch")]]).fetchone() == (0,)
    assert exists(connection, f"items_{other}")
    assert create_container(metadata, database, "c")[1][1].status == 201
    metadata.check()


def test_drop_database_with_all_below(connection, metadata, database):
    name, number = database
    containers = [create_container(metadata, database, f"c{n}")[0] for n in range(3)]
    user = number_take(connection)
    metadata.write(Op(CREATE, "user", pk=b"users/%d" % number, rid=user),
                   Op(CREATE, "key", pk=b"clientencryptionkeys/%d" % number, rid=number_take(connection)),
                   Op(CREATE, "permission", pk=b"permissions/%d" % user, rid=number_take(connection)),
                   Op(CREATE, "udf", pk=b"udfs/%d" % containers[1], rid=number_take(connection)))
    before = metadata.vector()[0]
    row = drop(metadata, b"dbs", name)
    assert (row.status, row.lsn) == (204, before + 1)
    below = [(b"users/%d" % number, "user"), (b"clientencryptionkeys/%d" % number, "key"), (b"permissions/%d" % user, "permission"),
             (b"udfs/%d" % containers[1], "udf")] + [(b"colls/%d" % number, f"c{n}") for n in range(3)]
    assert all(metadata.item(id, pk=pk).deleted for pk, id in below)
    states = connection.execute("select distinct state from orrery.ranges where container = any(%s)", [containers]).fetchall()
    assert states == [("dropped",)]
    assert create_container(metadata, database, "late")[1][0].status == 404
    metadata.check()


def test_drop_while_writing(open_connection, metadata, database):
    number, _ = create_container(metadata, database, "c", ranges=1)
    stop, seen = threading.Event(), []

    def work(seed):
        mine, step = Range(open_connection(), number), 0
        while not stop.is_set():
            step += 1
            try:
                seen.append(mine.one(Op(CREATE, f"{seed}-{step}")).status)
            except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedFunction) as error:
                seen.append(error.sqlstate)

    threads = [threading.Thread(target=work, args=[seed]) for seed in range(3)]
    for thread in threads:
        thread.start()
    while len(seen) < 50:
        stop.wait(0.01)
    assert drop(metadata, b"colls/%d" % database[1], "c").status == 204
    mark = len(seen)
    while len(seen) < mark + 20:
        stop.wait(0.01)
    assert open_connection().execute("select orrery.container_reap(100)").fetchone()[0] >= 1
    mark_reaped = len(seen)
    while len(seen) < mark_reaped + 20:
        stop.wait(0.01)
    stop.set()
    for thread in threads:
        thread.join()
    assert set(seen[:50]) == {201}
    assert set(seen[mark:]) <= {201, 410, "42P01", "42883"}
    # what each thread had under way, however late it tells
    assert seen[mark:].count(201) <= len(threads)
    assert seen[mark_reaped:].count(410) + seen[mark_reaped:].count(201) <= len(threads)


def test_the_log_grows_by_partitions(connection, make_range):
    range_ = make_range()
    step = 1 << 21

    def extend():
        return connection.execute("select orrery.log_extend(%s)", [range_.number]).fetchone()[0]

    def jump(seq):
        connection.execute("update orrery.ranges set seq = %s where range_id = %s", [seq, range_.id])
        assert range_.one(Op(UPSERT, "x")).status in (200, 201)

    assert not extend()
    jump(step // 2 + 1)
    assert extend() and not extend()
    assert exists(connection, f"log_{range_.number}_{step}")
    jump(5 * step)  # ran ahead of the upkeep: into the rest
    assert connection.execute(f"select count(*) from orrery.log_{range_.number}_rest").fetchone() == (1,)
    assert extend() and not extend()
    assert exists(connection, f"log_{range_.number}_{7 * step}")
    jump(7 * step)
    assert connection.execute(f"select count(*) from orrery.log_{range_.number}_rest").fetchone() == (1,)
