"""What a gateway does by itself: expired items become tombstones, dropped containers' tables go."""

import time
import uuid

import pytest

WAIT_S = 30
EXPIRE = 4  # op of the log


@pytest.fixture
def sql(postgres):
    with postgres.connect(autocommit=True) as connection:
        yield lambda text, *values: connection.execute(text, values).fetchall()


def make_container(client, sql, database, **more):
    """Its path and number."""
    name = uuid.uuid4().hex[:12]
    answer = client.post(f"{database}/colls", {
        "id": name, "partitionKey": {"paths": ["/pk"], "kind": "Hash", "version": 2}, **more})
    assert answer.status == 201, answer
    return f"{database}/colls/{name}", sql("select max(container) from orrery.ranges")[0][0]


def eventually(holds):
    deadline = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.2)


def sound(sql, number):
    for (range_id,) in sql("select range_id from orrery.ranges where container = %s", number):
        assert sql("select orrery.range_problems(%s)", range_id) == []
        items, log = sql("select orrery.range_digest(%s), orrery.range_fold_digest(%s)", range_id, range_id)[0]
        assert items == log


def test_expired_items_become_tombstones(client, sql, database):
    path, number = make_container(client, sql, database, defaultTtl=-1)
    for name, more in (("short", {"ttl": 1}), ("long", {"ttl": 1000}), ("ever", {})):
        assert client.post(f"{path}/docs", {"id": name, "pk": "p", **more}, pk=["p"]).status == 201
    eventually(lambda: sql(f"select id from orrery.items_{number} where deleted") == [("short",)])
    assert sql(f"select body, ttl, etag from orrery.items_{number} where deleted") == [(None, None, None)]
    assert sql(f"select id from orrery.log_{number} where op = %s", EXPIRE) == [("short",)]
    assert client.get(f"{path}/docs/short", pk=["p"]).status == 404
    assert [one["id"] for one in client.get(f"{path}/docs").json["Documents"]] == ["long", "ever"]
    sound(sql, number)
    assert client.post(f"{path}/docs", {"id": "short", "pk": "p"}, pk=["p"]).status == 201
    sound(sql, number)


def test_a_dropped_containers_tables_go(client, sql, database):
    kept, kept_number = make_container(client, sql, database)
    assert client.post(f"{kept}/docs", {"id": "i", "pk": "p"}, pk=["p"]).status == 201
    path, number = make_container(client, sql, database)
    assert client.post(f"{path}/docs", {"id": "i", "pk": "p"}, pk=["p"]).status == 201

    def left():
        names = [f"items_{number}", f"log_{number}", f"write_{number}"]
        return (sql("select 1 from pg_class where relname = any(%s) or relname like %s", names, f"log\\_{number}\\_%")
                + sql("select 1 from pg_proc where proname = any(%s)", names)
                + sql("select 1 from orrery.ranges where container = %s", number))

    assert left()
    assert client.delete(path).status == 204
    eventually(lambda: not left())
    assert client.get(f"{path}/docs/i", pk=["p"]).status == 404
    assert client.get(f"{kept}/docs/i", pk=["p"]).status == 200
    sound(sql, kept_number)
