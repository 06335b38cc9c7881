"""Point reads that meet travel in one group of statements; what befalls one container's is no matter of the others."""

import contextlib
import re

import pytest
from support import wire
from support.gateway import Gateway

CONTAINERS = ["first", "second", "third"]


@pytest.fixture(scope="module")
def own(postgres):
    """A gateway of our own, whose count of statements nobody else moves."""
    with Gateway(postgres) as running:
        yield running


@pytest.fixture(scope="module")
def tables(own, postgres):
    """Three containers with an item each, and their tables."""
    client = own.client()
    assert client.post("/dbs", {"id": "reads"}).status == 201
    found = {}
    for name in CONTAINERS:
        answer = client.post("/dbs/reads/colls", {
            "id": name, "partitionKey": {"paths": ["/pk"], "kind": "Hash", "version": 2}})
        assert answer.status == 201, answer
        assert client.post(f"/dbs/reads/colls/{name}/docs", {"id": "i", "pk": "p", "of": name}, pk=["p"]).status == 201
        with postgres.connect() as connection:
            found[name], = connection.execute("select 'items_' || max(container) from orrery.ranges").fetchone()
    client.close()
    return found


def path(name, item):
    return f"/dbs/reads/colls/{name}/docs/{item}"


@contextlib.contextmanager
def meeting(own, asked, before):
    """Send reads while both read connections are held up, so that they leave as one group; yields their sockets."""
    with contextlib.ExitStack() as stack:
        def send(name, item):
            raw = stack.enter_context(own.raw())
            raw.send(wire.request_bytes("GET", path(name, item), [("x-ms-documentdb-partitionkey", '["p"]')]))
            return raw

        with before as connection:
            connection.execute("lock table orrery.ranges in access exclusive mode")
            held = []
            for count in (1, 2):
                held.append(send("first", "i"))
                wait_for_locks(connection, count)
            waiting = [send(name, item) for name, item in asked]
            client = own.client()
            assert client.get("/alive", sign=False).status == 200  # so the loop has seen what was sent before
            client.close()
            assert depths(own)["read"] == (len(asked), 2)
        yield waiting
        for raw in held:
            assert raw.answer().status == 200


def wait_for_locks(connection, count):
    for _ in range(10000):
        found, = connection.execute("select count(*) from pg_locks where not granted").fetchone()
        if found >= count:
            return
    raise AssertionError(f"{found} of {count} wait")


def counters(own):
    client = own.client()
    text = client.get("/metrics", sign=False).body.decode()
    client.close()
    return [int(re.search(rf"^orrery_{name}_total(?:{{.*}})? (\d+)", text, re.M)[1]) for name in ("read_batches", "read_keys")]


def depths(own):
    """By pool: calls that wait, statements in flight. /metrics and /status say the same."""
    client = own.client()
    text = client.get("/metrics", sign=False).body.decode()
    told = client.get("/status", sign=False).json["database"]
    client.close()
    found = {name: tuple(int(re.search(rf'^orrery_pool_{what}{{pool="{name}"}} (\d+)$', text, re.M)[1]) for what in ("waiting", "in_flight"))
             for name in ("read", "write", "query")}
    assert {name: (pool["waiting"], pool["inFlight"]) for name, pool in told.items()} == found
    return found


def test_reads_of_many_containers_share_a_group(own, tables, postgres):
    """Keys that are there and keys that are not, of three containers: each answer belongs to its question."""
    asked = [(name, item) for item in ("i", "none", "i") for name in CONTAINERS]
    batches, keys = counters(own)
    with meeting(own, asked, postgres.connect()) as waiting:
        for raw, (name, item) in zip(waiting, asked):
            answer = raw.answer()
            assert answer.status == (200 if item == "i" else 404), answer
            assert item != "i" or answer.json["of"] == name
            assert item != "i" or answer.header("x-ms-session-token")
    assert depths(own)["read"] == (0, 0)
    now_batches, now_keys = counters(own)
    assert now_keys - keys == len(asked) + 2
    assert now_batches - batches <= 2 + len(CONTAINERS) * 2  # the two that were held up, and at most two groups


def test_container_that_fails_harms_no_other(own, tables, postgres):
    table = tables["second"]
    asked = [(name, "i") for name in ("second", "first", "third")] * 3
    spoiling = postgres.connect()
    spoiling.execute(f"alter table orrery.{table} rename column body to spoilt")
    try:
        with meeting(own, asked, spoiling) as waiting:
            for raw, (name, _) in zip(waiting, asked):
                answer = raw.answer()
                assert answer.status == (500 if name == "second" else 200), (name, answer)
                assert name == "second" or answer.json["of"] == name
    finally:
        with postgres.connect() as connection:
            connection.execute(f"alter table orrery.{table} rename column spoilt to body")
    client = own.client()
    assert client.get(path("second", "i"), pk=["p"]).json["of"] == "second"
    client.close()


def test_range_that_went_away_is_sought_again(own, tables, postgres):
    """Its row is gone when the group runs: the reads of the others find theirs, and it is answered, too."""
    with postgres.connect() as connection:
        number = int(tables["third"].removeprefix("items_"))
        spoiling = postgres.connect()
        spoiling.execute("create temporary table kept on commit preserve rows as select * from orrery.ranges where container = %s", [number])
        spoiling.execute("delete from orrery.ranges where container = %s", [number])
        with meeting(own, [("third", "i"), ("first", "i"), ("third", "i")], contextlib.nullcontext(spoiling)) as waiting:
            spoiling.commit()
            third, first, again = (raw.answer() for raw in waiting)
            assert first.status == 200
            assert third.status >= 404 and again.status >= 404
        spoiling.execute("insert into orrery.ranges select * from kept")
        spoiling.commit()
        spoiling.close()
    client = own.client()
    assert client.get(path("third", "i"), pk=["p"]).status == 200
    client.close()
