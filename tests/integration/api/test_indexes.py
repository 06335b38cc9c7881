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


PLACES = [{"path": "/place/*", "types": ["Point", "LineString", "Polygon", "MultiPolygon"]}]
NEAR = 'ST_DISTANCE(c.place, {"type": "Point", "coordinates": [10, 50]}) < 50000'


def fill_places(container, count):
    """Points in a grid of a degree, and some values that are no geometry."""
    for n in range(count):
        place = {"type": "Point", "coordinates": [n % 60 - 30, n // 60 + 45]} if n % 7 else f"nowhere {n}"
        answer = container.client.post(f"{container.path}/docs", {"id": str(n), "pk": "p", "a": n, "place": place, "other": place},
                                       pk=["p"])
        assert answer.status == 201, answer


def scans(sql, container, kind):
    """How often the container's indexes of a kind were scanned; counted a second late."""
    number = container.number(sql)
    return sql.execute("select coalesce(sum(s.idx_scan), 0) from orrery.query_indexes q join pg_stat_user_indexes s"
                       " on s.indexrelid = to_regclass('orrery.' || orrery.index_relation(q.container, q.number))"
                       " where q.container = %s and q.kind = %s", [number, kind]).fetchone()[0]


def test_places_are_found_by_a_spatial_index(client, database, sql):
    container = Container(client, database, {**policy(), "spatialIndexes": PLACES})
    assert container.indexes(sql) == [(1, "ready"), (5, "ready")]
    fill_places(container, 600)
    sql.execute(f"analyze orrery.items_{container.number(sql)}")
    before = scans(sql, container, 5)
    expected = [n for n in range(600) if n % 7 and n % 60 - 30 == 10 and n // 60 + 45 == 50]
    found, metrics = query(client, container, f"SELECT VALUE c.a FROM c WHERE {NEAR}")
    assert found == expected != []
    assert specs(metrics["UtilizedSingleIndexes"]) == ["/place/*"]
    assert specs(metrics["PotentialSingleIndexes"]) == []
    # what is no geometry is found by NOT, which narrows nothing
    found, metrics = query(client, container, f"SELECT VALUE COUNT(1) FROM c WHERE NOT ({NEAR})")
    assert found == [sum(1 for n in range(600) if n % 7) - len(expected)]
    assert specs(metrics["UtilizedSingleIndexes"]) == []
    found, metrics = query(client, container, f"SELECT VALUE c.a FROM c WHERE {NEAR.replace('place', 'other')}", v2=True)
    assert found == expected
    assert specs(metrics["PotentialIndexes"]["SingleIndexes"]) == ["/other/*"]
    wait_until(lambda: scans(sql, container, 5) > before, "PostgreSQL tells of a scan")


def test_a_spatial_index_comes_and_goes_with_the_policy(client, database, sql):
    container = Container(client, database)
    fill_places(container, 600)
    text = f"SELECT VALUE c.a FROM c WHERE {NEAR}"
    expected, metrics = query(client, container, text)
    assert specs(metrics["PotentialSingleIndexes"]) == ["/place/*"]
    with_places = {**policy(), "spatialIndexes": PLACES + [{"path": "/list/[]/*", "types": ["Point"]}]}
    container.replace(with_places)
    wait_until(lambda: container.indexes(sql) == [(1, "ready"), (5, "ready")], "a spatial index, and none on elements of arrays")

    def is_used():
        found, metrics = query(client, container, text)
        assert found == expected
        return specs(metrics["UtilizedSingleIndexes"]) == ["/place/*"]

    wait_until(is_used, "its use, once the gateway knows it")
    # degrees become numbers of a plane: another index, and until it is there none
    definition = {**container.definition, "indexingPolicy": with_places, "geospatialConfig": {"type": "Geometry"}}
    assert client.put(container.path, definition).status == 200
    text = 'SELECT VALUE c.a FROM c WHERE ST_DISTANCE(c.place, {"type": "Point", "coordinates": [10, 50]}) <= 1'
    expected = [n for n in range(600) if n % 7 and abs(n % 60 - 40) + abs(n // 60 - 5) <= 1]
    assert query(client, container, text)[0] == expected
    wait_until(is_used, "the index of the plane")
    number = container.number(sql)
    [definition] = wait_until(lambda: [text for (text,) in sql.execute(
        "select indexdef from pg_indexes where schemaname = 'orrery' and tablename = %s and indexdef like '%% gist %%'",
        [f"items_{number}"])] if container.indexes(sql) == [(1, "ready"), (5, "ready")] else None, "the old one gone")
    assert "plane_box" in definition
    assert client.put(container.path, {**container.definition, "indexingPolicy": policy()}).status == 200
    wait_until(lambda: container.indexes(sql) == [(1, "ready")], "no spatial index")


def test_a_bounding_box_that_is_none_is_refused(client, database):
    definition = {"id": uuid.uuid4().hex[:12], "partitionKey": {"paths": ["/pk"], "kind": "Hash", "version": 2},
                  "geospatialConfig": {"type": "Geometry"},
                  "indexingPolicy": {**policy(), "spatialIndexes": [{**PLACES[0], "boundingBox": {"xmin": 0, "ymin": 0, "xmax": 1}}]}}
    answer = client.post(f"{database}/colls", definition)
    assert answer.status == 400 and "ymax" in answer.json["message"], answer
