"""Statements that nobody waits for any more: PostgreSQL is told, and nobody else's statement is hit."""

import contextlib
import json
import random
import re
import threading
import time
import uuid

import pytest
from support import wire
from support.gateway import Gateway

QUERY = {"content-type": "application/query+json", "x-ms-documentdb-isquery": "True"}
SOON_S = 15  # with sanitizers, on a busy machine; the statement would run for the 30 s of a request
HEAVY = "SELECT VALUE COUNT(1) FROM c JOIN a IN c.a JOIN b IN c.a JOIN d IN c.a"


def make(client, elements=0):
    """A container with one item that has an array."""
    client.post("/dbs", {"id": "cancel"})
    name = uuid.uuid4().hex[:12]
    assert client.post("/dbs/cancel/colls", {"id": name, "partitionKey": {"paths": ["/id"], "kind": "Hash", "version": 2}}).status == 201
    path = f"/dbs/cancel/colls/{name}"
    assert client.post(f"{path}/docs", {"id": "1", "a": list(range(elements))}, pk=["1"]).status == 201
    return path


def table(sql, path):
    found = sql.execute("select rid from orrery.items_0 where id = %s and not deleted", [path.rsplit("/", 1)[1]]).fetchone()
    return f"items_{found[0]}"


def running(sql, name):
    return sql.execute("select count(*) from pg_stat_activity where state = 'active' and pid <> pg_backend_pid() and query like %s",
                       [f"%orrery.{name} %"]).fetchone()[0]


@contextlib.contextmanager
def locked(postgres, name):
    """On a connection of its own: inside a transaction, what others do is seen as it was at the first look."""
    with postgres.connect() as connection:
        connection.execute(f"lock table orrery.{name} in access exclusive mode")
        yield


def cancels(client):
    found = re.search(r"^orrery_cancels_total (\d+)$", client.get("/metrics", sign=False).body.decode(), re.MULTILINE)
    return int(found[1])


def wait_for(condition, seconds=SOON_S):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def send(gateway, method, path, body=b"", headers=()):
    raw = gateway.raw()
    return raw.send(wire.request_bytes(method, path, headers, body))


def query(gateway, path, text):
    return send(gateway, "POST", f"{path}/docs", json.dumps({"query": text}).encode(), QUERY.items())


@pytest.fixture(scope="module")
def sql(postgres):
    with postgres.connect(autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="module")
def small(postgres):
    """A gateway with a single connection for queries."""
    with Gateway(postgres, args=["--threads", "1", "--query-connections", "1"]) as gateway:
        yield gateway


def test_client_leaves_while_postgresql_works(small, sql):
    """A thousand million rows: gone soon after the client, and the connection is there for others."""
    client = small.client()
    path = make(client, 1000)
    name = table(sql, path)
    with query(small, path, HEAVY):
        wait_for(lambda: running(sql, name) == 1)
        waits = query(small, path, HEAVY)  # in the queue, behind the first
        time.sleep(0.5)
        assert running(sql, name) == 1
        waits.socket.close()
    wait_for(lambda: running(sql, name) == 0)
    assert cancels(client) >= 1
    began = time.monotonic()
    answer = client.post(f"{path}/docs", {"query": "SELECT VALUE c.id FROM c"}, headers=QUERY)
    assert answer.status == 200 and answer.json["Documents"] == ["1"], answer
    assert time.monotonic() - began < SOON_S, "the one in the queue was not withdrawn"
    assert running(sql, name) == 0
    client.close()


def test_client_that_stays_is_answered(gateway, postgres, sql):
    """Several looks at a statement whose client waits."""
    client = gateway.client()
    path = make(client)
    name = table(sql, path)
    with query(gateway, path, "SELECT VALUE c.id FROM c") as raw:
        raw.answer()
    with locked(postgres, name):
        raw = query(gateway, path, "SELECT VALUE c.id FROM c")
        wait_for(lambda: running(sql, name) == 1)
        time.sleep(1)
    with raw:
        answer = raw.answer()
        assert answer.status == 200 and answer.json["Documents"] == ["1"], answer
    client.close()


def test_change_runs_to_its_end(gateway, postgres, sql):
    """What a client that left has asked to be done is done."""
    client = gateway.client()
    path = make(client)
    name = table(sql, path)
    with locked(postgres, name):
        headers = [("x-ms-documentdb-partitionkey", '["1"]')]
        with send(gateway, "POST", f"{path}/operations/partitionkeydelete", headers=headers):
            wait_for(lambda: sql.execute("select count(*) from pg_stat_activity where query like %s and wait_event_type = 'Lock'",
                                         ["%partition_delete%"]).fetchone()[0] == 1)
        time.sleep(1)
    wait_for(lambda: client.get(f"{path}/docs/1", pk=["1"]).status == 404)
    client.close()


def test_nobody_else_is_hit(postgres):
    """Clients leave when their statements are about to end, while others are answered on the same connections."""
    with Gateway(postgres, args=["--threads", "1", "--query-connections", "2"]) as gateway, contextlib.ExitStack() as stack:
        client = stack.enter_context(contextlib.closing(gateway.client()))
        path = make(client, 60)
        name = path.rsplit("/", 1)[1]
        begin = time.monotonic()
        expected = client.post(f"{path}/docs", {"query": HEAVY}, headers=QUERY).json["Documents"]
        once_s = time.monotonic() - begin
        assert expected == [60 ** 3], name
        stop, answers = threading.Event(), []

        def others():
            with contextlib.closing(gateway.client()) as mine:
                while not stop.is_set():
                    answer = mine.post(f"{path}/docs", {"query": HEAVY}, headers=QUERY)
                    answers.append((answer.status, answer.json.get("Documents")))

        threads = [threading.Thread(target=others) for _ in range(2)]
        for thread in threads:
            thread.start()
        end = time.monotonic() + 10
        while time.monotonic() < end:
            leaving = [query(gateway, path, HEAVY) for _ in range(3)]
            time.sleep(random.uniform(0, 3 * once_s))
            for raw in leaving:
                raw.socket.close()
        stop.set()
        for thread in threads:
            thread.join()
        assert answers and set(map(str, answers)) == {str((200, expected))}, set(map(str, answers))
