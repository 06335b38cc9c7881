"""Indexes follow the policy and the queries, in the background; writes go on meanwhile."""

import base64
import concurrent.futures
import json
import threading
import time
import urllib.parse
import uuid

import pytest
from support.gateway import Gateway

PROGRESS = "x-ms-documentdb-collection-index-transformation-progress"
WAIT_S = 90


@pytest.fixture(scope="module")
def client(gateway):
    client = gateway.client()
    yield client
    client.close()


@pytest.fixture(scope="module")
def database(client):
    name = f"indexes-{uuid.uuid4().hex[:12]}"
    assert client.post("/dbs", {"id": name}).status == 201
    yield f"/dbs/{name}"
    client.delete(f"/dbs/{name}")


@pytest.fixture(scope="module")
def sql(postgres):
    with postgres.connect(autocommit=True) as connection:
        yield connection


class Container:
    def __init__(self, client, database, policy=None):
        self.client, self.definition = client, {
            "id": uuid.uuid4().hex[:12], "partitionKey": {"paths": ["/pk"], "kind": "Hash", "version": 2}}
        if policy is not None:
            self.definition["indexingPolicy"] = policy
        answer = client.post(f"{database}/colls", self.definition)
        assert answer.status == 201, answer
        self.path = f"{database}/colls/{self.definition['id']}"

    def number(self, sql):
        [(number,)] = sql.execute("select rid from orrery.items_0 where id = %s and not deleted",
                                  [self.definition["id"]]).fetchall()
        return number

    def indexes(self, sql):
        """(kind, state) of each, and that PostgreSQL has the ready ones, valid."""
        number = self.number(sql)
        rows = sql.execute("select number, kind, state from orrery.query_indexes where container = %s order by number",
                           [number]).fetchall()
        for index, kind, state in rows:
            valid = sql.execute("select indisvalid from pg_index where indexrelid = to_regclass(%s)",
                                [f"orrery.items_{number}_x{index}"]).fetchone()
            assert state != "ready" or valid == (True,), (index, kind, valid)
        return sorted((kind, state) for _, kind, state in rows)

    def replace(self, policy):
        answer = self.client.put(self.path, {**self.definition, "indexingPolicy": policy})
        assert answer.status == 200, answer

    def progress(self):
        return int(self.client.get(self.path).header(PROGRESS))

    def fill(self, count, first=0):
        for at in range(first, first + count, 100):
            operations = [{"operationType": "Upsert", "partitionKey": '["p"]',
                           "resourceBody": {"id": str(n), "pk": "p", "a": n, "b": n % 10, "secret": n, "text": "x" * 900}}
                          for n in range(at, min(at + 100, first + count))]
            answer = self.client.post(f"{self.path}/docs", operations, headers={
                "x-ms-cosmos-is-batch-request": "true", "x-ms-cosmos-batch-atomic": "false",
                "x-ms-documentdb-partitionkeyrangeid": "0"})
            assert answer.status == 200, answer


def wait_until(done, what):
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        found = done()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError(f"not within {WAIT_S} s: {what}")


def policy(excluded=(), composite=(), mode="consistent"):
    if mode == "none":
        return {"indexingMode": "none", "automatic": False, "includedPaths": [], "excludedPaths": []}
    return {"indexingMode": mode, "includedPaths": [{"path": "/*"}], "excludedPaths": [{"path": path} for path in excluded],
            "compositeIndexes": [[{"path": path, "order": order} for path, order in one] for one in composite]}


AB = [("/a", "ascending"), ("/b", "descending")]


def test_a_new_container_has_what_its_policy_declares(client, database, sql):
    assert Container(client, database).indexes(sql) == [(1, "ready")]
    assert Container(client, database, policy(composite=[AB])).indexes(sql) == [(1, "ready"), (3, "ready")]
    assert Container(client, database, policy(mode="none")).indexes(sql) == []


def test_a_new_policy_is_followed_in_the_background(client, database, sql):
    container = Container(client, database)
    container.fill(500)
    assert container.progress() == 100
    container.replace(policy(excluded=["/secret/*"], composite=[AB]))
    assert container.progress() < 100
    wait_until(lambda: container.indexes(sql) == [(1, "ready"), (3, "ready")], "GIN without /secret, and a composite")
    assert container.progress() == 100
    number = container.number(sql)
    names = [name for (name,) in sql.execute(
        "select indexname from pg_indexes where schemaname = 'orrery' and tablename = %s", [f"items_{number}"])]
    assert len([name for name in names if "_x" in name]) == 2
    [gin] = [text for (text,) in sql.execute(
        "select indexdef from pg_indexes where schemaname = 'orrery' and tablename = %s and indexdef like '%% gin %%'",
        [f"items_{number}"])]
    assert "secret" in gin
    container.replace(policy(mode="none"))
    wait_until(lambda: container.indexes(sql) == [], "no index")
    assert container.progress() == 100


def test_writes_go_on_while_an_index_is_made(gateway, client, database, sql):
    container = Container(client, database)
    container.fill(3000)
    stop, worst = threading.Event(), []

    def write():
        mine, longest = gateway.client(), 0.0
        while not stop.is_set():
            begin = time.monotonic()
            answer = mine.post(f"{container.path}/docs", {"id": "w", "pk": "p", "a": -1, "b": 1}, pk=["p"],
                               headers={"x-ms-documentdb-is-upsert": "true"})
            assert answer.status in (200, 201), answer
            longest = max(longest, time.monotonic() - begin)
        mine.close()
        worst.append(longest)

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        container.replace(policy(composite=[AB]))
        wait_until(lambda: (3, "ready") in container.indexes(sql), "a composite index under writes")
        stop.set()
        writing.result(timeout=60)
    assert worst[0] < 20  # none waited for the end of a build; a busy machine is slow by itself


def ask(sql, container, *specs):
    sql.execute("select orrery.index_ask(array_fill(%s::bigint, array[%s]), array_fill(2::smallint, array[%s]), %s,"
                " extract(epoch from now())::bigint, 64)",
                [container.number(sql), len(specs), len(specs), list(specs)])


def test_what_queries_ask_for_is_made_when_the_table_is_large(client, database, sql):
    small, large = Container(client, database), Container(client, database)
    small.fill(10)
    large.fill(600)
    ask(sql, small, "/a")
    ask(sql, large, "/a", "/b")
    wait_until(lambda: large.indexes(sql) == [(1, "ready"), (2, "ready"), (2, "ready")], "two range indexes")
    assert small.indexes(sql) == [(1, "ready"), (2, "wished")]
    # one on a path that the policy leaves out goes with the next policy
    large.replace(policy(excluded=["/a/?"]))
    wait_until(lambda: large.indexes(sql) == [(1, "ready"), (2, "ready")], "the index on /a is gone")


def test_a_build_that_was_killed_is_finished_by_the_next_builder(postgres, client, database, sql):
    container = Container(client, database)
    container.fill(600)
    number = container.number(sql)
    # what a kill -9 leaves: a build that nobody works on; its index is half made, or was never begun
    with postgres.connect() as blocker:
        blocker.execute(f"update orrery.items_{number} set ts = ts where id = '1'")  # CONCURRENTLY waits for us
        ask(sql, container, "/a")
        wait_until(lambda: (2, "building") in container.indexes(sql), "a build that waits")
        wait_until(lambda: sql.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where query like 'create index concurrently%%'"
            " and pid <> pg_backend_pid()").fetchall(), "its end")
        blocker.rollback()
    wait_until(lambda: container.indexes(sql) == [(1, "ready"), (2, "ready")], "the index, made anew")


def test_two_gateways_build_once_and_stop_in_the_middle(postgres, client, database, sql):
    container = Container(client, database)
    container.fill(600)
    number = container.number(sql)
    with Gateway(postgres) as other:
        with postgres.connect() as blocker:
            blocker.execute(f"update orrery.items_{number} set ts = ts where id = '1'")
            ask(sql, container, "/b")
            wait_until(lambda: (2, "building") in container.indexes(sql), "a build that waits")
            assert wait_until(lambda: sql.execute(
                "select pid from pg_stat_activity where query like 'create index concurrently%%'"
                " and pid <> pg_backend_pid()").fetchall(), "a builder")[1:] == []
            other.stop()  # with or without the build: it must not wait for it
            blocker.rollback()
        wait_until(lambda: container.indexes(sql) == [(1, "ready"), (2, "ready")], "the index")


def test_a_dropped_container_is_forgotten(client, database, sql):
    container = Container(client, database, policy(composite=[AB]))
    number = container.number(sql)
    assert client.delete(container.path).status == 204
    wait_until(lambda: sql.execute("select count(*) from orrery.query_indexes where container = %s", [number]).fetchone()
               == (0,), "no rows of it")


def query(client, container, text, v2=False):
    answer = client.post(f"{container.path}/docs", {"query": text}, headers={
        "x-ms-documentdb-isquery": "true", "content-type": "application/query+json",
        "x-ms-documentdb-query-enablecrosspartition": "true",
        "x-ms-cosmos-populateindexmetrics-V2" if v2 else "x-ms-cosmos-populateindexmetrics": "true"})
    assert answer.status == 200, answer
    text = answer.header("x-ms-cosmos-index-utilization")
    found = json.loads(urllib.parse.unquote(text) if v2 else base64.b64decode(text))
    return answer.json["Documents"], found


def specs(list_of_indexes):
    return [one["IndexSpec"] for one in list_of_indexes]


def test_queries_tell_what_they_used_and_get_what_they_need(client, database, sql):
    container = Container(client, database, policy(excluded=["/secret/*"]))
    container.fill(600)
    found, metrics = query(client, container, "SELECT VALUE c.a FROM c WHERE c.b = 3 AND c.secret = 13")
    assert found == [13]
    assert specs(metrics["UtilizedSingleIndexes"]) == ["/b/?"]
    assert specs(metrics["PotentialSingleIndexes"]) == ["/secret/?"]
    text = "SELECT TOP 3 VALUE c.a FROM c WHERE c.a > 590 ORDER BY c.a"
    found, metrics = query(client, container, text, v2=True)
    assert found == [591, 592, 593]
    assert specs(metrics["PotentialIndexes"]["SingleIndexes"]) == ["/a/?"]
    assert specs(metrics["UtilizedIndexes"]["SingleIndexes"]) == []
    wait_until(lambda: (2, "ready") in container.indexes(sql), "the range index that the query would have used")

    def is_used():
        again, metrics = query(client, container, text, v2=True)
        assert again == found
        return specs(metrics["UtilizedIndexes"]["SingleIndexes"]) == ["/a/?"]

    wait_until(is_used, "its use, once the gateway knows it")


def test_a_composite_index_is_told(client, database):
    container = Container(client, database, policy(composite=[AB]))
    container.fill(100)
    _, metrics = query(client, container, "SELECT VALUE c.a FROM c ORDER BY c.a, c.b DESC")
    assert metrics["UtilizedCompositeIndexes"][0]["IndexSpecs"] == ["/a ASC", "/b DESC"]
