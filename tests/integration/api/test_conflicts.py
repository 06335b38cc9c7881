"""The conflicts feed over HTTP. The other region is played by this test: it applies entries that know nothing of this one."""

import json
import time
import uuid

import pytest

LATER = 1000  # seconds that the other region's clock is ahead, so that its versions win


class Other:
    """What region 2 would have brought, for one container."""

    def __init__(self, postgres, container):
        self.connection = postgres.connect(autocommit=True)
        self.number = self.connection.execute(
            "select rid from orrery.items_0 where id = %s and not deleted", [container]).fetchone()[0]

    def close(self):
        self.connection.close()

    def item(self, id):
        return self.connection.execute(
            f"select range_id, pk, rid, ts, body from orrery.items_{self.number} where id = %s", [id]).fetchone()

    def ranks(self):
        return dict(self.connection.execute(f"select id, rank from orrery.log_{self.number} where origin = 1 order by seq").fetchall())

    def writes(self, id, body, ts_shift=LATER, op=2):
        """A version of an existing item, concurrent with what is there."""
        at, pk, rid, ts, _ = self.item(id)
        row = self.connection.execute("""
            select a.status, a.applied from orrery.ranges g cross join lateral orrery.apply(g.range_id, g.epoch, '{2}',
                array[coalesce(g.vector[2], 0) + 1], '{0}', array[g.epoch], array[%(op)s::smallint], array[%(pk)s::bytea],
                array[%(id)s], array[%(rid)s::bigint], array[%(ts)s::bigint], array[%(etag)s::uuid], '{null}', '{null}',
                array[array_fill(0, array[1])::text], array[%(body)s::text], '{null}', '{}', '{}', '{}') a
            where g.range_id = %(range)s""", {
            "op": op, "pk": pk, "id": id, "rid": rid, "ts": ts + ts_shift, "etag": uuid.uuid4(), "range": at,
            "body": body and json.dumps(body)}).fetchone()
        assert row == ("applied", 1)


@pytest.fixture
def make(postgres, client, database):
    opened = []

    def make_container(throughput="400", **settings):
        name = uuid.uuid4().hex[:12]
        answer = client.post(f"{database}/colls", {"id": name, "partitionKey": {"paths": ["/pk"], "kind": "Hash", "version": 2},
                                                   **settings}, headers={"x-ms-offer-throughput": throughput})
        assert answer.status == 201, answer
        opened.append(Other(postgres, name))
        return f"{database}/colls/{name}", opened[-1]

    yield make_container
    for other in opened:
        other.close()


def put(client, path, id, pk="p", **members):
    answer = client.post(f"{path}/docs", {"id": id, "pk": pk, **members}, pk=[pk], headers={"x-ms-documentdb-is-upsert": "true"})
    assert answer.status in (200, 201), answer
    return answer.json


def conflicts(client, path, size=None, pk=None, query=None, **headers):
    found, token = [], None
    for _ in range(300):
        all_headers = {"x-ms-continuation": token, "x-ms-max-item-count": size and str(size), **headers}
        if query is None:
            answer = client.get(f"{path}/conflicts", pk=pk, headers=all_headers)
        else:
            answer = client.post(f"{path}/conflicts", {"query": query, "parameters": []}, pk=pk, headers={
                **all_headers, "x-ms-documentdb-isquery": "True", "content-type": "application/query+json"})
        assert answer.status == 200, answer
        page = answer.json["Conflicts"]
        assert answer.json["_count"] == len(page) == int(answer.header("x-ms-item-count"))
        assert size is None or len(page) <= size
        found += page
        token = answer.header("x-ms-continuation")
        if token is None:
            return found
    raise AssertionError("the feed does not end")


def test_the_version_that_lost_is_shown(client, make):
    path, other = make()
    before = put(client, path, "x", by="here")
    other.writes("x", {"id": "x", "pk": "p", "by": "there"})
    shown = client.get(f"{path}/docs/x", pk=["p"]).json
    assert shown["by"] == "there"
    [one] = conflicts(client, path)
    assert {name: one[name] for name in ("operationType", "resourceType", "resourceId", "conflict_lsn", "_ts", "_etag")} == {
        "operationType": "create", "resourceType": "document", "resourceId": shown["_rid"], "conflict_lsn": 1,
        "_ts": before["_ts"], "_etag": before["_etag"]}
    assert json.loads(one["content"]) == before
    assert one["_self"] == client.get(path).json["_self"] + f"conflicts/{one['_rid']}/"
    read = client.get(f"{path}/conflicts/{one['id']}", pk=["p"])
    assert read.json == one and read.header("etag") == one["_etag"]
    assert client.get(f"{path}/conflicts/{one['id']}", headers={"if-none-match": one["_etag"]}).status == 304
    assert client.get("/" + one["_self"].replace("=", "%3D")).json == one
    # the winner is found by resourceId, as the .NET SDK looks for it
    assert client.get(f"{path}/docs/{one['resourceId'].replace('=', '%3D')}", pk=["p"]).json == shown


def test_what_arrives_may_lose(client, make):
    path, other = make()
    put(client, path, "x", by="here")
    other.writes("x", {"id": "x", "pk": "p", "by": "there"}, ts_shift=-LATER)
    assert client.get(f"{path}/docs/x", pk=["p"]).json["by"] == "here"
    [one] = conflicts(client, path)
    assert one["operationType"] == "replace" and json.loads(one["content"])["by"] == "there"
    # the next write has seen both; the loser stays in the feed
    put(client, path, "x", by="here again")
    assert conflicts(client, path) == [one]


def test_two_deletes_conflict_too(client, make):
    path, other = make()
    put(client, path, "x")
    assert client.delete(f"{path}/docs/x", pk=["p"]).status == 204
    other.writes("x", None, op=3)
    [one] = conflicts(client, path)
    assert one["operationType"] == "delete"
    assert json.loads(one["content"])["id"] == "x"
    put(client, path, "y")
    assert client.post(f"{path}/operations/partitionkeydelete", None, pk=["p"]).status == 200
    other.writes("y", None, op=3)
    assert [two["operationType"] for two in conflicts(client, path)] == ["delete", "delete"]


def test_a_deleted_conflict_is_gone(client, make):
    path, other = make(throughput="50000")
    for n in range(6):
        put(client, path, f"i{n}", pk=f"p{n}")
        other.writes(f"i{n}", {"id": f"i{n}", "pk": f"p{n}", "by": "there"})
    one, *rest = conflicts(client, path)
    key = json.loads(one["content"])["pk"]
    at = f"{path}/conflicts/{one['id']}"
    wrong = client.delete(at, pk=["another"])
    assert wrong.status == 404
    stale = client.delete(at, pk=[key], headers={"if-match": '"00000000-0000-0000-0000-000000000001"'})
    assert stale.status == 412
    assert client.delete(at, pk=[key], headers={"if-match": one["_etag"]}).status == 204
    assert client.delete(at, pk=[key]).status == client.get(at, pk=[key]).status == 404
    assert conflicts(client, path) == rest
    # as the JavaScript SDK does without a key, and by rid, after the item was written again
    put(client, path, json.loads(rest[0]["content"])["id"], pk=json.loads(rest[0]["content"])["pk"])
    assert client.delete(f"{path}/conflicts/{rest[0]['id']}", pk="[{}]").status == 204
    assert client.delete("/" + rest[1]["_self"].replace("=", "%3D")).status == 204
    assert conflicts(client, path) == rest[2:]


@pytest.mark.parametrize("size", [None, 1, 4, -1])
def test_pages(client, make, size):
    path, other = make(throughput="50000")
    for n in range(10):
        put(client, path, f"i{n}", pk=f"p{n % 5}")
        other.writes(f"i{n}", {"id": f"i{n}", "pk": f"p{n % 5}"})
    found = conflicts(client, path, size if size != -1 else None, **({"x-ms-max-item-count": "-1"} if size == -1 else {}))
    assert sorted(json.loads(one["content"])["id"] for one in found) == [f"i{n}" for n in range(10)]
    assert sorted(json.loads(one["content"])["id"] for one in conflicts(client, path, size if size != -1 else None, pk=["p3"])) == [
        "i3", "i8"]
    picked = conflicts(client, path, size if size != -1 else None,
                       query=f"SELECT VALUE c.id FROM c WHERE c.resourceId IN ('{found[2]['resourceId']}', '{found[7]['resourceId']}')")
    assert sorted(picked) == sorted([found[2]["id"], found[7]["id"]])
    assert conflicts(client, path, query="SELECT * FROM c WHERE c.operationType = 'create'") == found
    ranges = client.get(f"{path}/pkranges").json["PartitionKeyRanges"]
    by_range = [conflicts(client, path, **{"x-ms-documentdb-partitionkeyrangeid": one["id"]}) for one in ranges]
    assert len(ranges) > 1 and sum(by_range, []) == found


def test_wrong_requests(client, make):
    path, other = make()
    put(client, path, "x")
    other.writes("x", {"id": "x", "pk": "p"})
    assert client.post(f"{path}/conflicts", {"id": "x"}).status == 400
    for name in ("x", "0" * 15, "f" * 16, "F" * 15, client.get(path).json["_rid"].replace("=", "%3D")):
        assert client.get(f"{path}/conflicts/{name}").status == 404
        assert client.delete(f"{path}/conflicts/{name}").status == 404
    [one] = conflicts(client, path)
    assert client.get(f"{path}/conflicts/{one['id']}", pk="[1").status == 400
    assert client.get(f"{path}/conflicts", headers={"x-ms-continuation": "abc"}).status == 400
    missing = client.get(f"{path}x/conflicts")
    assert missing.status == 404 and missing.substatus == 1003
    assert client.put(f"{path}/conflicts/{one['id']}", {}).status == 405
    assert conflicts(client, path) == [one]


def test_the_conflict_path_ranks_every_kind_of_write(client, make):
    """Rule 7.2: create, replace, patch, batch and bulk carry the number that their body has."""
    path, other = make(conflictResolutionPolicy={"mode": "LastWriterWins", "conflictResolutionPath": "/n/rank"})
    put(client, path, "post", n={"rank": 1.5})
    put(client, path, "none", n={"rank": "2"})
    put(client, path, "put", n={})
    assert client.put(f"{path}/docs/put", {"id": "put", "pk": "p", "n": {"rank": -7}}, pk=["p"]).status == 200
    put(client, path, "patch", n={"rank": 1})
    assert client.patch(f"{path}/docs/patch", {"operations": [{"op": "incr", "path": "/n/rank", "value": 41}]}, pk=["p"]).status == 200
    operations = [{"operationType": "Upsert", "resourceBody": {"id": "batch", "pk": "p", "n": {"rank": 9}}},
                  {"operationType": "Create", "resourceBody": {"id": "batch none", "pk": "p"}},
                  {"operationType": "Patch", "id": "post", "resourceBody": {"operations": [{"op": "set", "path": "/n/rank", "value": 3}]}}]
    assert client.post(f"{path}/docs", operations, pk=["p"], headers={
        "x-ms-cosmos-is-batch-request": "True", "x-ms-cosmos-batch-atomic": "True"}).status == 200
    assert other.ranks() == {"post": 3, "none": None, "put": -7, "patch": 42, "batch": 9, "batch none": None}
    # a number above all of this region's ranks, in a body whose clock is behind; none below all
    other.writes("patch", {"id": "patch", "pk": "p", "n": {"rank": 1}})
    assert client.get(f"{path}/docs/patch", pk=["p"]).json["n"] == {"rank": 42}


def test_the_policy_is_fixed(client, make):
    policy = {"mode": "LastWriterWins", "conflictResolutionPath": "/rank"}
    path, _ = make(conflictResolutionPolicy=policy)
    body = client.get(path).json
    assert client.put(path, {**body, "conflictResolutionPolicy": {**policy, "conflictResolutionPath": "/other"}}).status == 400
    assert client.put(path, {**body, "conflictResolutionPolicy": {"mode": "Custom"}}).status == 400
    assert client.put(path, body).status == 200
    del body["conflictResolutionPolicy"]
    assert client.put(path, body).json["conflictResolutionPolicy"]["conflictResolutionPath"] == "/rank"


def test_a_dropped_container_takes_its_conflicts_along(client, make, postgres):
    path, other = make()
    put(client, path, "x")
    other.writes("x", {"id": "x", "pk": "p"})
    [one] = conflicts(client, path)
    assert client.delete(path).status == 204
    assert client.get(f"{path}/conflicts").status == client.delete(f"{path}/conflicts/{one['id']}").status == 404
    deadline = time.monotonic() + 30
    while other.connection.execute("select count(*) from orrery.conflicts where range_id >> 12 = %s", [other.number]).fetchone() != (0,):
        assert time.monotonic() < deadline
        time.sleep(0.2)
