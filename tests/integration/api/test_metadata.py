"""Definitions over HTTP: databases, containers, ranges, offers, users, permissions, scripts, keys, the account."""

import base64
import json
import re
import threading
import time
import urllib.parse
import uuid

import pytest
from support.gateway import Gateway

ETAG = re.compile(r'^"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"$')
QUERY = {"x-ms-documentdb-isquery": "True", "content-type": "application/query+json"}
UPSERT = {"x-ms-documentdb-is-upsert": "True"}
OWNER_GONE = 1003


def unique(prefix):
    return f"{prefix}-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def database(client):
    answer = client.post("/dbs", {"id": unique("db")})
    assert answer.status == 201, answer
    found = answer.json
    yield found
    client.delete(f"/dbs/{found['id']}")


def container_body(name, **more):
    return {"id": name, "partitionKey": {"paths": ["/pk"], "kind": "Hash", "version": 2}, **more}


@pytest.fixture
def container(client, database):
    answer = client.post(f"/dbs/{database['id']}/colls", container_body(unique("c")))
    assert answer.status == 201, answer
    return answer.json


def path_of(database, container):
    return f"/dbs/{database['id']}/colls/{container['id']}"


def query(client, path, text, parameters=(), **headers):
    return client.post(path, {"query": text, "parameters": list(parameters)}, headers={**QUERY, **headers})


def refused(answer, status, substatus=0):
    assert answer.status == status, answer
    assert answer.substatus == substatus, answer
    assert answer.json["message"], answer
    assert answer.header("x-ms-activity-id")
    return answer


def shown(answer, status=200):
    """A definition with what every one of them has."""
    assert answer.status == status, answer
    body = answer.json
    assert answer.header("etag") == body["_etag"]
    assert ETAG.match(body["_etag"])
    assert body["_self"].endswith(body["_rid"] + "/")
    assert isinstance(body["_ts"], int)
    assert float(answer.header("x-ms-request-charge")) > 0
    return body


# ---- refused ----

@pytest.mark.parametrize("body", [
    b"", b"{", b"[]", b"null", b"\xff", b'{"id":1}', b"{}", b'{"id":""}', b'{"id":"a/b"}', b'{"id":"a#b"}',
    b'{"id":"a?b"}', b'{"id":"a\\\\b"}', b'{"id":"a "}', b'{"id":"a\\u0000b"}', b'{"id":"\\ud800"}',
    b'{"id":"' + b"x" * 256 + b'"}', b'{"id":"a","id":"b"}', b'{"id":null}', b"[" * 200,
])
def test_databases_refuse_what_is_no_definition(client, body):
    before = client.get("/dbs").json["_count"]
    refused(client.post("/dbs", body), 400)
    assert client.get("/dbs").json["_count"] == before


def test_a_definition_has_a_largest_size(client):
    refused(client.post("/dbs", {"id": "big", "x": "y" * (1 << 20)}), 413)


@pytest.mark.parametrize("name", ["nobody", "AAAAAA==", "%20", "' or '1'='1", "a%2Fb", "AQAAAA==", "%25"])
def test_a_missing_database(client, name):
    path = "/dbs/" + urllib.parse.quote(name, safe="%")
    refused(client.get(path), 404)
    refused(client.delete(path), 404)
    refused(client.get(path + "/colls"), 404, OWNER_GONE)
    refused(client.post(path + "/colls", container_body("c")), 404, OWNER_GONE)
    refused(client.get(path + "/colls/c"), 404, OWNER_GONE)
    refused(client.get(path + "/users"), 404, OWNER_GONE)
    refused(client.post(path + "/users", {"id": "u"}), 404, OWNER_GONE)
    refused(client.get(path + "/colls/c/pkranges"), 404, OWNER_GONE)


def test_a_missing_container(client, database):
    path = f"/dbs/{database['id']}/colls/none"
    refused(client.get(path), 404)
    refused(client.put(path, container_body("none")), 404)
    refused(client.delete(path), 404)
    for feed in ("pkranges", "sprocs", "triggers", "udfs", "conflicts"):
        refused(client.get(f"{path}/{feed}"), 404, OWNER_GONE)
    refused(client.post(path + "/sprocs", {"id": "s", "body": "x"}), 404, OWNER_GONE)


@pytest.mark.parametrize("headers", [
    {"x-ms-offer-throughput": "399"}, {"x-ms-offer-throughput": "450"}, {"x-ms-offer-throughput": "many"},
    {"x-ms-offer-throughput": "-400"}, {"x-ms-cosmos-offer-autopilot-settings": "{}"},
    {"x-ms-cosmos-offer-autopilot-settings": '{"maxThroughput":500}'},
    {"x-ms-offer-throughput": "400", "x-ms-cosmos-offer-autopilot-settings": '{"maxThroughput":4000}'},
])
def test_throughput_that_is_not_allowed(client, database, headers):
    refused(client.post("/dbs", {"id": unique("x")}, headers=headers), 400)
    refused(client.post(f"/dbs/{database['id']}/colls", container_body("c"), headers=headers), 400)
    assert client.get(f"/dbs/{database['id']}/colls").json["_count"] == 0


@pytest.mark.parametrize("body", [
    {"id": "c"}, {"id": "c", "partitionKey": {"paths": []}}, {"id": "c", "partitionKey": {"paths": ["pk"]}},
    {"id": "c", "partitionKey": {"paths": ["/a", "/b"], "kind": "Hash"}},
    {"id": "c", "partitionKey": {"paths": ["/a", "/b", "/c", "/d"], "kind": "MultiHash", "version": 2}},
    container_body("c", defaultTtl=0), container_body("c", defaultTtl="x"), container_body("c", unknownSetting=1),
    container_body("c", indexingPolicy={"indexingMode": "sometimes"}), container_body("a/b"),
])
def test_containers_that_cannot_be(client, database, body):
    refused(client.post(f"/dbs/{database['id']}/colls", body), 400)
    assert client.get(f"/dbs/{database['id']}/colls").json["_count"] == 0


@pytest.mark.parametrize("count", ["0", "-2", "x", "1.5", "99999999999999999999"])
def test_page_sizes_that_are_none(client, count):
    refused(client.get("/dbs", headers={"x-ms-max-item-count": count}), 400)


@pytest.mark.parametrize("token", ["x", "1.", "1.-1", "2.5", "1.99999999999999999999", "1.5.6"])
def test_continuations_that_are_none(client, token):
    refused(client.get("/dbs", headers={"x-ms-continuation": token}), 400)


@pytest.mark.parametrize("text", ["", "SELECT", "SELECT * FROM", "DROP TABLE x", "SELECT * FROM root WHERE"])
def test_queries_that_are_none(client, text):
    refused(query(client, "/dbs", text), 400)
    refused(client.post("/dbs", b"SELECT", headers=QUERY), 400)


# ---- account ----

def test_the_account_names_the_way_the_caller_came(gateway):
    for tls, url in ((False, gateway.http), (True, gateway.https)):
        client = gateway.client(tls=tls)
        found = client.get("/").json
        client.close()
        assert [p["databaseAccountEndpoint"] for p in found["writableLocations"]] == [url.rstrip("/") + "/"]
        assert found["readableLocations"] == found["writableLocations"]
        assert found["userConsistencyPolicy"]["defaultConsistencyLevel"]
        assert json.loads(found["queryEngineConfiguration"])["maxSqlQueryInputLength"] == 524288
        assert found["enableMultipleWriteLocations"] is False
        assert "thinClientWritableLocations" not in found


def test_the_account_behind_a_proxy(client):
    answer = client.get("/", headers={"x-forwarded-host": "db.example.org", "x-forwarded-proto": "https"})
    assert answer.json["writableLocations"][0]["databaseAccountEndpoint"] == "https://db.example.org/"
    answer = client.get("/", headers={"x-forwarded-host": 'evil"/\\<x>', "x-forwarded-proto": "gopher"})
    assert "evil" not in answer.body.decode()


# ---- databases ----

def test_a_database_comes_and_goes(client):
    name = unique("d ä'/"[:4])
    path = "/dbs/" + urllib.parse.quote(name, safe="")
    made = shown(client.post("/dbs", {"id": name, "_rid": "mine", "_ts": 1}), 201)
    assert made["id"] == name and made["_colls"] == "colls/" and made["_users"] == "users/"
    assert len(made["_rid"]) == 8 and made["_self"] == f"dbs/{made['_rid']}/"
    assert shown(client.get(path)) == made
    assert shown(client.get(path + "/")) == made
    assert shown(client.get("/dbs/" + urllib.parse.quote(made["_rid"], safe=""))) == made
    refused(client.post("/dbs", {"id": name}), 409)
    assert client.get(path, headers={"if-none-match": made["_etag"]}).status == 304
    refused(client.delete(path, headers={"if-match": '"00000000-0000-0000-0000-000000000000"'}), 412)
    gone = client.delete(path, headers={"if-match": made["_etag"]})
    assert gone.status == 204 and gone.body == b""
    refused(client.get(path), 404)
    again = shown(client.post("/dbs", {"id": name}), 201)
    assert again["_rid"] != made["_rid"]
    assert client.delete(path).status == 204


def test_a_name_that_looks_like_another_ones_rid_is_a_name(client, database):
    made = shown(client.post("/dbs", {"id": database["_rid"]}), 201)
    path = "/dbs/" + urllib.parse.quote(database["_rid"], safe="")
    assert shown(client.get(path))["_rid"] == made["_rid"]
    assert client.delete(path).status == 204
    assert shown(client.get(path))["_rid"] == database["_rid"]


def test_databases_in_pages(client):
    names = [unique("page") for _ in range(5)]
    for name in names:
        client.post("/dbs", {"id": name})
    found, token, pages = [], None, 0
    while True:
        answer = client.get("/dbs", headers={"x-ms-max-item-count": "2", "x-ms-continuation": token})
        body = answer.json
        assert body["_rid"] == "" and body["_count"] == len(body["Databases"]) <= 2
        assert answer.header("x-ms-item-count") == str(body["_count"])
        found += [one["id"] for one in body["Databases"]]
        token = answer.header("x-ms-continuation")
        pages += 1
        if token is None:
            break
    assert pages >= 3 and [n for n in found if n in names] == names
    everything = client.get("/dbs", headers={"x-ms-max-item-count": "-1"})
    assert [one["id"] for one in everything.json["Databases"]] == found
    for name in names:
        client.delete("/dbs/" + name)


def test_databases_by_query(client, database):
    answer = query(client, "/dbs", "SELECT * FROM root r WHERE r.id = @id",
                   [{"name": "@id", "value": database["id"]}])
    assert answer.status == 200 and answer.json["Databases"] == [database]
    answer = query(client, "/dbs", f"SELECT VALUE r.id FROM r WHERE r._rid = '{database['_rid']}'")
    assert answer.json["Databases"] == [database["id"]]
    answer = query(client, "/dbs", "SELECT * FROM r WHERE r.id = 'no such'")
    assert answer.json["Databases"] == [] and answer.header("x-ms-continuation") is None
    answer = client.post("/dbs", {"query": "SELECT * FROM r WHERE r.id = 'x'"}, headers={"x-ms-documentdb-query": "True"})
    assert answer.json["_count"] == 0


# ---- containers ----

def test_a_container_comes_and_goes(client, database):
    feed = f"/dbs/{database['id']}/colls"
    answer = client.post(feed, container_body("c"))
    made = shown(answer, 201)
    assert answer.header("x-ms-alt-content-path") == f"dbs/{database['id']}"
    assert answer.header("x-ms-content-path") == database["_rid"]
    assert made["_self"] == f"dbs/{database['_rid']}/colls/{made['_rid']}/" and len(made["_rid"]) == 12
    for name in ("docs", "sprocs", "triggers", "udfs", "conflicts"):
        assert made["_" + name] == name + "/"
    assert made["indexingPolicy"]["indexingMode"] == "consistent"
    assert made["partitionKey"]["version"] == 2
    answer = client.get(feed + "/c")
    assert shown(answer) == made
    assert answer.header("x-ms-documentdb-collection-index-transformation-progress") == "100"
    assert answer.header("x-ms-resource-usage") is None
    by_rid = "/" + made["_self"].replace("=", "%3D")
    assert shown(client.get(by_rid)) == made
    refused(client.post(feed, container_body("c")), 409)
    listed = client.get(feed).json
    assert listed["_rid"] == database["_rid"] and listed["DocumentCollections"] == [made]
    assert query(client, feed, "SELECT * FROM c WHERE c.id = 'c'").json["DocumentCollections"] == [made]
    assert client.delete(feed + "/c").status == 204
    refused(client.get(feed + "/c"), 404)
    assert client.get(feed).json["DocumentCollections"] == []


def test_what_a_container_uses(client, database, container):
    answer = client.get(path_of(database, container), headers={"x-ms-documentdb-populatequotainfo": "true"})
    usage = dict(pair.split("=") for pair in answer.header("x-ms-resource-usage").strip(";").split(";"))
    assert int(usage["collectionSize"]) >= 0 and "documentsCount" in usage
    assert "collectionSize" in answer.header("x-ms-resource-quota")


def test_a_container_named_by_another_rid(client, database, container):
    path = path_of(database, container)
    assert client.get(path, headers={"x-ms-cosmos-intended-collection-rid": container["_rid"]}).status == 200
    refused(client.get(path, headers={"x-ms-cosmos-intended-collection-rid": database["_rid"]}), 400, 1024)


def test_a_container_is_replaced(client, database, container):
    path = path_of(database, container)
    body = {**container, "defaultTtl": 60, "indexingPolicy": {**container["indexingPolicy"], "automatic": True}}
    changed = shown(client.put(path, body))
    assert changed["defaultTtl"] == 60 and changed["_rid"] == container["_rid"]
    assert changed["_etag"] != container["_etag"]
    refused(client.put(path, body, headers={"if-match": container["_etag"]}), 412)
    assert client.put(path, body, headers={"if-match": changed["_etag"]}).status == 200
    refused(client.put(path, {**body, "id": "other"}), 400)
    refused(client.put(path, {**body, "partitionKey": {"paths": ["/other"], "kind": "Hash", "version": 2}}), 400)
    without = {k: v for k, v in body.items() if k != "defaultTtl"}
    assert "defaultTtl" not in shown(client.put(path, without))
    item = client.post(path + "/docs", {"id": "i", "pk": "p"}, pk=["p"])
    assert item.status == 201, item


def computed(name, text):
    return {"name": name, "query": text}


@pytest.mark.parametrize("properties, words", [
    ([computed("low", "SELECT VALUE LOWER(c.a FROM c")], "SC1001"),
    ([computed("low", "SELECT VALUE BADFUNC(c.a) FROM c")], "SC2005"),
    ([computed("low", "SELECT c.a FROM c")], "SELECT VALUE"),
    ([computed("low", "SELECT VALUE c.a FROM c WHERE c.a > 1")], "further clauses"),
    ([computed("low", "SELECT VALUE COUNT(1) FROM c")], "aggregate"),
    ([computed("id", "SELECT VALUE c.a FROM c")], "system property"),
    ([computed("a", "SELECT VALUE c.a FROM c"), computed("a", "SELECT VALUE c.b FROM c")], "twice"),
])
def test_computed_properties_that_cannot_be(client, database, properties, words):
    answer = client.post(f"/dbs/{database['id']}/colls", container_body(unique("c"), computedProperties=properties))
    refused(answer, 400)
    assert words in answer.json["message"]


def test_computed_properties_come_and_go(client, database):
    low = computed("low", "SELECT VALUE LOWER(c.a) FROM c")
    indexing = {"includedPaths": [{"path": "/*"}, {"path": "/low/?"}, {"path": "/b/?"}]}
    body = container_body(unique("c"), computedProperties=[low], indexingPolicy=indexing)
    made = shown(client.post(f"/dbs/{database['id']}/colls", body), 201)
    assert made["computedProperties"] == [low]
    path = f"/dbs/{database['id']}/colls/{made['id']}"
    # What was indexed as a stored property cannot become computed.
    refused(client.put(path, {**body, "computedProperties": [low, computed("b", "SELECT VALUE c.x FROM c")]}), 400)
    more = [low, computed("d", "SELECT VALUE c.x FROM c")]
    assert shown(client.put(path, {**body, "computedProperties": more}))["computedProperties"] == more
    assert "computedProperties" not in shown(client.put(path, container_body(made["id"])))


def test_a_container_made_again_is_another_one(client, database, container):
    path = path_of(database, container)
    assert client.post(path + "/docs", {"id": "i", "pk": "p"}, pk=["p"]).status == 201
    client.delete(path)
    assert client.get(path + "/docs/i", pk=["p"]).status == 404
    again = shown(client.post(f"/dbs/{database['id']}/colls", container_body(container["id"])), 201)
    assert again["_rid"] != container["_rid"]
    assert client.get(path + "/docs/i", pk=["p"]).status == 404
    assert client.post(path + "/docs", {"id": "i", "pk": "p"}, pk=["p"]).status == 201


def test_a_dropped_database_takes_all_with_it(client):
    name = unique("drop")
    client.post("/dbs", {"id": name})
    client.post(f"/dbs/{name}/colls", container_body("c"))
    client.post(f"/dbs/{name}/users", {"id": "u"})
    offers = client.get("/offers", headers={"x-ms-max-item-count": "-1"}).json["_count"]
    assert client.delete(f"/dbs/{name}").status == 204
    assert client.get("/offers", headers={"x-ms-max-item-count": "-1"}).json["_count"] == offers - 1
    client.post("/dbs", {"id": name})
    assert client.get(f"/dbs/{name}/colls").json["_count"] == 0
    assert client.get(f"/dbs/{name}/users").json["_count"] == 0
    client.delete(f"/dbs/{name}")


# ---- ranges ----

def test_ranges_tile_the_keys(client, database):
    answer = client.post(f"/dbs/{database['id']}/colls", container_body("wide"),
                         headers={"x-ms-offer-throughput": "25000"})
    made = shown(answer, 201)
    answer = client.get(f"/dbs/{database['id']}/colls/wide/pkranges")
    body = answer.json
    ranges = body["PartitionKeyRanges"]
    assert body["_rid"] == made["_rid"] and body["_count"] == len(ranges) == 3
    assert [one["id"] for one in ranges] == ["0", "1", "2"]
    assert ranges[0]["minInclusive"] == "" and ranges[-1]["maxExclusive"] == "FF"
    for left, right in zip(ranges, ranges[1:]):
        assert left["maxExclusive"] == right["minInclusive"]
    assert all(one["status"] == "online" and one["parents"] == [] for one in ranges)
    assert answer.header("x-ms-continuation") is None and answer.header("x-ms-session-token") is None
    by_rid = "/" + made["_self"].replace("=", "%3D") + "pkranges"
    assert client.get(by_rid).json["PartitionKeyRanges"] == ranges


def test_reading_ranges_ends_with_304(client, database, container):
    path = path_of(database, container)
    headers = {"a-im": "Incremental Feed", "x-ms-max-item-count": "-1"}
    first = client.get(path + "/pkranges", headers=headers)
    assert first.status == 200 and ETAG.match(first.header("etag"))
    client.post(path + "/docs", {"id": "i", "pk": "p"}, pk=["p"])
    second = client.get(path + "/pkranges", headers={**headers, "if-none-match": first.header("etag")})
    assert second.status == 304 and second.body == b"" and second.header("etag") == first.header("etag")
    client.delete(path)
    client.post(f"/dbs/{database['id']}/colls", container_body(container["id"]))
    third = client.get(path + "/pkranges", headers={**headers, "if-none-match": first.header("etag")})
    assert third.status == 200 and third.header("etag") != first.header("etag")


# ---- offers ----

def offer_of(client, resource):
    found = query(client, "/offers", f'SELECT * from root where root.resource = "{resource["_self"]}"').json["Offers"]
    assert len(found) <= 1
    return found[0] if found else None


def test_a_container_has_an_offer(client, database, container):
    offer = offer_of(client, container)
    assert offer["resource"] == container["_self"] and offer["offerResourceId"] == container["_rid"]
    assert offer["offerVersion"] == "V2" and offer["content"]["offerThroughput"] == 400
    assert offer["id"] == offer["_rid"] and offer["_self"] == f"offers/{offer['_rid']}/"
    path = "/offers/" + urllib.parse.quote(offer["_rid"], safe="")
    answer = client.get(path)
    assert shown(answer) == offer
    assert answer.header("x-ms-cosmos-min-throughput") == "400"
    assert answer.header("x-ms-offer-replace-pending") == "false"
    assert offer in client.get("/offers", headers={"x-ms-max-item-count": "-1"}).json["Offers"]
    refused(client.post("/offers", offer), 400)
    refused(client.delete(path), 405)
    refused(client.get("/offers/zzzz"), 404)
    refused(client.get("/offers/none"), 404)
    client.delete(path_of(database, container))
    refused(client.get(path), 404)


def test_an_offer_is_replaced(client, container):
    offer = offer_of(client, container)
    path = "/offers/" + urllib.parse.quote(offer["_rid"], safe="")
    more = {**offer, "content": {**offer["content"], "offerThroughput": 1000}}
    changed = shown(client.put(path, more))
    assert changed["content"]["offerThroughput"] == 1000 and changed["resource"] == offer["resource"]
    refused(client.put(path, more, headers={"if-match": offer["_etag"]}), 412)
    refused(client.put(path, {**more, "content": {"offerThroughput": 401}}), 400)
    refused(client.put(path, {**more, "resource": "dbs/x/"}), 400)
    automatic = {**changed, "content": {"offerThroughput": -1, "offerAutopilotSettings": {"maxThroughput": 4000}}}
    migrated = shown(client.put(path, automatic, headers={"x-ms-cosmos-migrate-offer-to-autopilot": "true"}))
    assert migrated["content"]["offerAutopilotSettings"]["maxThroughput"] == 4000
    back = shown(client.put(path, {**migrated, "content": {"offerThroughput": 800}},
                            headers={"x-ms-cosmos-migrate-offer-to-manual-throughput": "true"}))
    assert "offerAutopilotSettings" not in back["content"]
    assert offer_of(client, container) == back


def test_containers_share_the_throughput_of_their_database(client):
    made = shown(client.post("/dbs", {"id": unique("shared")}, headers={"x-ms-offer-throughput": "800"}), 201)
    assert offer_of(client, made)["content"]["offerThroughput"] == 800
    plain = shown(client.post(f"/dbs/{made['id']}/colls", container_body("plain")), 201)
    own = shown(client.post(f"/dbs/{made['id']}/colls", container_body("own"), headers={
        "x-ms-cosmos-offer-autopilot-settings": '{"maxThroughput":4000}'}), 201)
    assert offer_of(client, plain) is None
    assert offer_of(client, own)["content"]["offerAutopilotSettings"]["maxThroughput"] == 4000
    client.delete(f"/dbs/{made['id']}")
    assert offer_of(client, made) is None and offer_of(client, own) is None


def test_large_definitions_come_in_pages(client, database, container):
    """Twelve of nearly 1 MB each: no answer holds them all, none is left out."""
    feed = path_of(database, container) + "/sprocs"
    names = [f"s{i:02}" for i in range(12)]
    for name in names:
        answer = client.post(feed, {"id": name, "body": "x" * 1_000_000}, headers={"prefer": "return=minimal"})
        assert answer.status == 201 and answer.body == b"" and ETAG.match(answer.header("etag"))
    found, token, pages = [], None, 0
    while True:
        answer = client.get(feed, headers={"x-ms-max-item-count": "-1", "x-ms-continuation": token})
        assert answer.status == 200 and len(answer.body) < 5_000_000
        found += [one["id"] for one in answer.json["StoredProcedures"]]
        token, pages = answer.header("x-ms-continuation"), pages + 1
        if token is None:
            break
    assert found == names and pages >= 3
    answer = query(client, feed, "SELECT VALUE s.id FROM s WHERE s.id IN ('s00', 's11')")
    assert answer.json["StoredProcedures"] == ["s00", "s11"]


# ---- users and permissions ----

def test_a_user_comes_changes_and_goes(client, database):
    feed = f"/dbs/{database['id']}/users"
    made = shown(client.post(feed, {"id": "u"}), 201)
    assert made["_permissions"] == "permissions/" and len(made["_rid"]) == 12
    assert shown(client.get(feed + "/u")) == made
    refused(client.post(feed, {"id": "u"}), 409)
    upserted = client.post(feed, {"id": "u", "note": [1.0, "x"]}, headers=UPSERT)
    assert shown(upserted)["_rid"] == made["_rid"] and upserted.json["note"] == [1.0, "x"]
    assert shown(client.post(feed, {"id": "v"}, headers=UPSERT), 201)["_rid"] != made["_rid"]
    refused(client.put(feed + "/u", {"id": "v"}), 409)
    renamed = shown(client.put(feed + "/u", {"id": "w"}))
    assert renamed["id"] == "w" and renamed["_rid"] == made["_rid"]
    refused(client.get(feed + "/u"), 404)
    assert {one["id"] for one in client.get(feed).json["Users"]} == {"v", "w"}
    assert query(client, feed, "SELECT * FROM u WHERE u.id = 'w'").json["Users"] == [renamed]
    assert client.delete(feed + "/w").status == 204
    refused(client.delete(feed + "/w"), 404)


@pytest.mark.parametrize("change", [
    {"permissionMode": "Write"}, {"permissionMode": None}, {"resource": "dbs"}, {"resource": ""}, {"resource": None},
    {"resource": "dbs//colls/c"}, {"resource": "dbs/d/colls/c/docs"}, {"resource": "dbs/d/users/u"},
    {"resourcePartitionKey": "p"}, {"resourcePartitionKey": ["a", "b"]}, {"resourcePartitionKey": [{"x": 1}]},
])
def test_permissions_that_cannot_be(client, database, container, change):
    client.post(f"/dbs/{database['id']}/users", {"id": "u"})
    feed = f"/dbs/{database['id']}/users/u/permissions"
    body = {"id": "p", "permissionMode": "Read", "resource": path_of(database, container)[1:], **change}
    refused(client.post(feed, body), 400)
    assert client.get(feed).json["Permissions"] == []


def test_a_permission_comes_changes_and_goes(client, database, container):
    client.post(f"/dbs/{database['id']}/users", {"id": "u"})
    feed = f"/dbs/{database['id']}/users/u/permissions"
    link = path_of(database, container)[1:]
    body = {"id": "p", "permissionMode": "Read", "resource": link}
    refused(client.post(feed, {**body, "resource": f"dbs/{database['id']}/colls/none"}), 404)
    refused(client.post(feed, body, headers={"x-ms-documentdb-expiry-seconds": "18001"}), 400)
    made = shown(client.post(feed, body), 201)
    assert made["resource"] == link and made["_token"].startswith("type=resource&ver=1&sig=")
    assert "_scope" not in made
    refused(client.post(feed, body), 409)
    refused(client.post(feed, {**body, "id": "q"}), 409)  # one per resource
    shown(client.post(feed, {**body, "id": "q", "resourcePartitionKey": ["x"]}), 201)
    read = shown(client.get(feed + "/p"))
    assert {k: v for k, v in read.items() if k != "_token"} == {k: v for k, v in made.items() if k != "_token"}
    changed = shown(client.put(feed + "/p", {**made, "permissionMode": "All"}))
    assert changed["permissionMode"] == "All" and changed["_rid"] == made["_rid"]
    refused(client.put(feed + "/p", {**body, "resourcePartitionKey": ["x"]}), 409)
    shown(client.post(feed, body, headers=UPSERT))
    listed = client.get(feed).json["Permissions"]
    assert [one["id"] for one in listed] == ["p", "q"] and all(one["_token"] for one in listed)
    assert client.delete(feed + "/p").status == 204
    shown(client.post(feed, {**body, "id": "again"}), 201)
    client.delete(f"/dbs/{database['id']}/users/u")
    client.post(f"/dbs/{database['id']}/users", {"id": "u"})
    assert client.get(feed).json["Permissions"] == []


def test_a_user_leaves_nothing_behind(client, postgres, database, container):
    feed = f"/dbs/{database['id']}/users"
    made = shown(client.post(feed, {"id": "u"}), 201)
    body = {"id": "p", "permissionMode": "Read", "resource": path_of(database, container)[1:]}
    shown(client.post(feed + "/u/permissions", body), 201)
    number = int.from_bytes(base64.b64decode(made["_rid"].replace("-", "/"))[4:], "big")
    left = (f"select count(*) from orrery.items_0 where not deleted and "
            f"convert_from(pk, 'UTF8') in ('permissions/{number}', 'grants/{number}')")
    with postgres.connect() as connection:
        assert connection.execute(left).fetchone()[0] == 2
        assert client.delete(feed + "/u").status == 204
        assert connection.execute(left).fetchone()[0] == 0


def test_what_a_token_opens(client, gateway, database, container):
    client.post(f"/dbs/{database['id']}/users", {"id": "u"})
    feed, path = f"/dbs/{database['id']}/users/u/permissions", path_of(database, container)
    client.post(path + "/docs", {"id": "i", "pk": "p"}, pk=["p"])

    def opened(body):
        token = shown(client.post(feed, {"resource": path[1:], **body}), 201)["_token"]
        return {"authorization": urllib.parse.quote(token, safe="")}

    def ask(method, at, headers, *rest, **named):
        return client.request(method, at, *rest, headers=headers, sign=False, **named).status

    read = opened({"id": "r", "permissionMode": "Read"})
    assert ask("GET", path, read) == 200
    assert ask("GET", path + "/pkranges", read) == 200
    assert ask("GET", path + "/docs/i", read, pk=["p"]) == 200
    assert ask("POST", path + "/docs", read, {"id": "j", "pk": "p"}, pk=["p"]) == 403
    assert ask("GET", f"/dbs/{database['id']}", read) == 403
    assert ask("DELETE", path, read) == 403
    narrow = opened({"id": "n", "permissionMode": "All", "resourcePartitionKey": ["p"]})
    assert ask("POST", path + "/docs", narrow, {"id": "j", "pk": "p"}, pk=["p"]) == 201
    assert ask("POST", path + "/docs", narrow, {"id": "k", "pk": "q"}, pk=["q"]) == 403
    assert ask("GET", path + "/docs/i", narrow, pk=["p"]) == 200
    other = shown(client.post(f"/dbs/{database['id']}/colls", container_body("other")), 201)
    assert ask("GET", path_of(database, other), read) == 403
    client.delete(path)
    client.post(f"/dbs/{database['id']}/colls", container_body(container["id"]))
    assert ask("GET", path, read) == 403, "a container made again is another one"


# ---- scripts, keys, conflicts ----

SCRIPTS = [
    ("sprocs", "StoredProcedures", {"id": "s", "body": "function () { return 'ü'; }"}),
    ("udfs", "UserDefinedFunctions", {"id": "s", "body": "function (x) { return x; }"}),
    ("triggers", "Triggers", {"id": "s", "body": "x", "triggerType": "Pre", "triggerOperation": "all"}),
]


@pytest.mark.parametrize("word, name, body", SCRIPTS)
def test_a_script_comes_changes_and_goes(client, database, container, word, name, body):
    feed = path_of(database, container) + "/" + word
    for missing in body:
        refused(client.post(feed, {k: v for k, v in body.items() if k != missing}), 400)
    answer = client.post(feed, body)
    made = shown(answer, 201)
    assert {k: made[k] for k in body} == body and len(made["_rid"]) == 24
    assert answer.header("x-ms-alt-content-path") == path_of(database, container)[1:]
    assert answer.header("x-ms-content-path") == container["_rid"]
    assert shown(client.get(feed + "/s")) == made
    assert shown(client.get("/" + made["_self"].replace("=", "%3D"))) == made
    refused(client.post(feed, body), 409)
    changed = shown(client.put(feed + "/s", {**body, "body": "new"}))
    assert changed["body"] == "new" and changed["_rid"] == made["_rid"]
    refused(client.put(feed + "/s", {**body, "id": "t"}), 400)
    listed = client.get(feed).json
    assert listed["_rid"] == container["_rid"] and listed[name] == [changed]
    assert query(client, feed, "SELECT * FROM s WHERE s.body = 'new'").json[name] == [changed]
    refused(client.delete(feed + "/s", headers={"if-match": made["_etag"]}), 412)
    assert client.delete(feed + "/s").status == 204
    refused(client.get(feed + "/s"), 404)


def test_procedures_are_not_executed(client, database, container):
    feed = path_of(database, container) + "/sprocs"
    refused(client.post(feed + "/s", []), 404)
    client.post(feed, SCRIPTS[0][2])
    refused(client.post(feed + "/s", [], pk=["p"]), 400)


def test_a_client_encryption_key(client, database):
    feed = f"/dbs/{database['id']}/clientencryptionkeys"
    body = {"id": "k", "encryptionAlgorithm": "AEAD_AES_256_CBC_HMAC_SHA256", "wrappedDataEncryptionKey": "AAECAw==",
            "keyWrapMetadata": {"type": "custom", "name": "n", "value": "v", "algorithm": "RSA-OAEP"}}
    for missing in body:
        refused(client.post(feed, {k: v for k, v in body.items() if k != missing}), 400)
    made = shown(client.post(feed, body), 201)
    assert {k: made[k] for k in body} == body and len(made["_rid"]) == 24
    assert shown(client.get(feed + "/k")) == made
    changed = shown(client.put(feed + "/k", {**body, "wrappedDataEncryptionKey": "BAUGBw=="}))
    assert client.get(feed).json["ClientEncryptionKeys"] == [changed]
    refused(client.delete(feed + "/k"), 405)


def test_the_conflicts_feed_is_empty(client, database, container):
    feed = path_of(database, container) + "/conflicts"
    body = client.get(feed).json
    assert body["Conflicts"] == [] and body["_count"] == 0 and body["_rid"] == container["_rid"]
    refused(client.get(feed + "/x"), 404)
    refused(client.delete(feed + "/x"), 404)


# ---- two gateways ----

def test_a_replaced_definition_reaches_the_other_gateway(gateway, postgres, client, database, container):
    path = path_of(database, container)
    assert client.post(path + "/docs", {"id": "i", "pk": "p", "a": "ABC"}, pk=["p"]).status == 201
    cross = {"x-ms-documentdb-query-enablecrosspartition": "True"}
    low = computed("low", "SELECT VALUE LOWER(c.a) FROM c")
    with Gateway(postgres) as second:
        other = second.client()

        def rows():
            return query(other, path + "/docs", "SELECT VALUE c.low FROM c", **cross).json["Documents"]

        assert rows() == []
        shown(client.put(path, {**container, "computedProperties": [low]}))
        deadline = time.monotonic() + 15
        while rows() != ["abc"]:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        other.close()


def test_two_gateways_agree(gateway, postgres, client):
    with Gateway(postgres) as second:
        name = unique("two")
        statuses = []

        def create(way):
            one = way.client()
            for body in ({"id": name}, *({"id": f"{name}-{i}"} for i in range(10))):
                statuses.append((body["id"], one.post("/dbs", body).status))
            one.close()

        workers = [threading.Thread(target=create, args=(way,)) for way in (gateway, second) * 2]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        for wanted in {found for found, _ in statuses}:
            assert sorted(status for found, status in statuses if found == wanted) == [201, 409, 409, 409]
        other = second.client()
        path = f"/dbs/{name}/colls/c"
        made = shown(client.post(f"/dbs/{name}/colls", container_body("c")), 201)
        assert shown(other.get(path)) == made
        assert other.post(path + "/docs", {"id": "i", "pk": "p"}, pk=["p"]).status == 201
        client.delete(path)
        assert other.get(path).status == 404
        assert other.get(path + "/docs/i", pk=["p"]).status == 404
        again = shown(client.post(f"/dbs/{name}/colls", container_body("c")), 201)
        assert shown(other.get(path)) == again
        assert other.get(path + "/docs/i", pk=["p"]).status == 404
        assert other.post(path + "/docs", {"id": "i", "pk": "p"}, pk=["p"]).status == 201
        other.close()
        for found in {found for found, _ in statuses}:
            client.delete("/dbs/" + found)


def test_one_change_wins_among_many(gateway, client, database):
    """Conditional replaces from one version: exactly one may pass."""
    feed = f"/dbs/{database['id']}/users"
    made = shown(client.post(feed, {"id": "u"}), 201)
    statuses = []

    def replace(n):
        one = gateway.client()
        statuses.append(one.put(feed + "/u", {"id": "u", "n": n}, headers={"if-match": made["_etag"]}).status)
        statuses.append(one.put(feed + "/u", {"id": "u", "m": n}).status + 1000)
        one.close()

    workers = [threading.Thread(target=replace, args=(n,)) for n in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    conditional = sorted(s for s in statuses if s < 1000)
    assert conditional[1:] == [412] * 5 and conditional[0] in (200, 412)
    assert all(s == 1200 for s in statuses if s > 1000)
