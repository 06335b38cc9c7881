"""Wrong input in requests that are sound HTTP: refused by JSON, and nothing is changed by it."""

import json
import urllib.parse

import pytest
from support import wire

from .conftest import refused

writes = pytest.mark.writes
MIB = 1024 * 1024


# Authorization


@pytest.mark.parametrize("path", ["/", "/dbs", "/dbs/edges", "/dbs/none", "/dbs/edges/colls/items/docs/canary"])
def test_request_without_authorization(place, path):
    refused(place.client.get(path, sign=False), 401)


def test_request_without_date(place):
    refused(place.client.get("/dbs", headers={"x-ms-date": None}), 401)


@pytest.mark.parametrize("text", [
    "", "x", "type=master", "type%3Dmaster%26ver%3D1.0", "type=master&ver=1.0&sig=", "type=master&ver=1.0&sig=%%%",
    "type=master&ver=9.9&sig=AAAA", "type=other&ver=1.0&sig=AAAA", "type%3dmaster%26ver%3d1.0%26sig%3d%00",
    "type=master&ver=1.0&sig=" + "A" * 4000, "Bearer abc", "Basic dXNlcjpwYXNz", "type=aad&ver=1.0&sig=abc",
    "type=resource&ver=1&sig=x;y;z;", "&&&&====", "type=master&type=master&ver=1.0&sig=AAAA",
])
def test_malformed_authorization(place, text):
    refused(place.client.get("/dbs", headers={"authorization": text}), 401, 403)


@pytest.mark.parametrize("signed_as", [("post", "dbs", ""), ("get", "colls", ""), ("get", "dbs", "dbs/other")])
def test_signature_of_another_request(place, signed_as):
    date = wire.date_text()
    headers = {"x-ms-date": date, "authorization": wire.signature(*signed_as, date)}
    refused(place.client.get("/dbs", headers=headers), 401)


def test_signature_by_another_key(place):
    other = "A" * 86 + "=="
    refused(place.client.get("/dbs", headers=wire.signed("GET", "/dbs", key=other)), 401)


def test_signature_over_another_date(place):
    headers = wire.signed("GET", "/dbs", date=wire.date_text(-60))
    headers["x-ms-date"] = wire.date_text()
    refused(place.client.get("/dbs", headers=headers), 401)


@pytest.mark.parametrize("shift_s", [-3600, 3600, -86400 * 365])
def test_stale_date(place, shift_s):
    headers = wire.signed("GET", "/dbs", date=wire.date_text(shift_s))
    refused(place.client.get("/dbs", headers=headers), 403)


@pytest.mark.parametrize("date", [
    "2026-11-23T07:01:14Z", "Mon, 23 Nov 2026 07:01:14 +0100", "yesterday", "Mon, 99 Nov 2026 07:01:14 GMT", "0",
])
def test_date_in_another_format(place, date):
    refused(place.client.get("/dbs", headers=wire.signed("GET", "/dbs", date=date)), 401)


def test_write_without_authorization_changes_nothing(place):
    refused(place.client.delete(place.canary, pk=["p"], sign=False), 401)
    refused(place.client.post(place.docs, {"id": "x", "pk": "p"}, pk=["p"], sign=False), 401)


# JSON

BROKEN = {
    "empty": b"",
    "space": b"  \r\n",
    "open": b"{",
    "truncated": b'{"id":"x","pk":"p"',
    "truncated_text": b'{"id":"x","pk":"p',
    "truncated_escape": b'{"id":"x","pk":"p\\u00',
    "array": b"[]",
    "array_of_item": b'[{"id":"x","pk":"p"}]',
    "text": b'"x"',
    "null": b"null",
    "comma": b'{"id":"x","pk":"p",}',
    "two_commas": b'{"id":"x",,"pk":"p"}',
    "no_colon": b'{"id" "x","pk":"p"}',
    "trailing": b'{"id":"x","pk":"p"} x',
    "two_values": b'{"id":"x","pk":"p"}{"id":"y","pk":"p"}',
    "quotes": b"{'id':'x','pk':'p'}",
    "bare": b'{id:"x",pk:"p"}',
    "comment": b'{"id":"x","pk":"p"/* */}',
    "nan": b'{"id":"x","pk":"p","n":NaN}',
    "infinity": b'{"id":"x","pk":"p","n":-Infinity}',
    "leading_zero": b'{"id":"x","pk":"p","n":01}',
    "plus": b'{"id":"x","pk":"p","n":+1}',
    "no_fraction": b'{"id":"x","pk":"p","n":1.}',
    "no_exponent": b'{"id":"x","pk":"p","n":1e}',
    "hex": b'{"id":"x","pk":"p","n":0x10}',
    "too_large": b'{"id":"x","pk":"p","n":1e999}',
    "bad_literal": b'{"id":"x","pk":"p","n":tru}',
    "bad_escape": b'{"id":"x","pk":"p","t":"\\x41"}',
    "bad_hex_escape": b'{"id":"x","pk":"p","t":"\\u00zz"}',
    "control": b'{"id":"x","pk":"p","t":"a\nb"}',
    "nul_byte": b'{"id":"x","pk":"p","t":"a\0b"}',
    "nul_after": b'{"id":"x","pk":"p"}\0',
    "nul_escape": b'{"id":"x","pk":"p","t":"a\\u0000b"}',
    "nul_escape_in_name": b'{"id":"x","pk":"p","a\\u0000b":1}',
    "utf8_stray": b'{"id":"x","pk":"p","t":"\x80"}',
    "utf8_ff": b'{"id":"x","pk":"p","t":"\xff"}',
    "utf8_overlong": b'{"id":"x","pk":"p","t":"\xc0\xaf"}',
    "utf8_surrogate": b'{"id":"x","pk":"p","t":"\xed\xa0\x80"}',
    "utf8_truncated": b'{"id":"x","pk":"p","t":"\xe2\x82"}',
    "utf8_beyond": b'{"id":"x","pk":"p","t":"\xf4\x90\x80\x80"}',
    "utf8_in_name": b'{"id":"x","pk":"p","\xff":1}',
    "lone_high": b'{"id":"x","pk":"p","t":"\\ud800"}',
    "lone_low": b'{"id":"x","pk":"p","t":"\\udc00"}',
    "swapped": b'{"id":"x","pk":"p","t":"\\udc00\\ud800"}',
    "high_then_text": b'{"id":"x","pk":"p","t":"\\ud800x"}',
    "utf16": '{"id":"x","pk":"p"}'.encode("utf-16"),
    "binary_json": b"\x80\xea\x01",
    "hybrid_row": b"\x81\x00",
    "duplicate_id": b'{"id":"x","id":"y","pk":"p"}',
    "duplicate_key": b'{"id":"x","pk":"p","pk":"q"}',
    "duplicate_escaped": b'{"id":"x","pk":"p","a":1,"\\u0061":2}',
    "duplicate_nested": b'{"id":"x","pk":"p","o":{"a":1,"a":2}}',
    "nested_129": b'{"id":"x","pk":"p","n":' + b"[" * 128 + b"]" * 128 + b"}",
    "nested_100000": b'{"id":"x","pk":"p","n":' + b"[" * 100000,
    "nested_objects": b'{"id":"x","pk":"p","n":' + b'{"a":' * 50000 + b"1" + b"}" * 50000 + b"}",
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_json_is_refused(place, name):
    refused(place.create(BROKEN[name]), 400)


@pytest.mark.parametrize("name", ["truncated", "utf8_ff", "lone_high", "duplicate_id", "nested_129", "array", "empty"])
@pytest.mark.parametrize("method, path", [
    ("PUT", "/dbs/edges/colls/items/docs/canary"), ("PATCH", "/dbs/edges/colls/items/docs/canary"),
    ("POST", "/dbs"), ("POST", "/dbs/edges/colls"), ("PUT", "/dbs/edges/colls/items"),
])
def test_broken_json_is_refused_everywhere(place, method, path, name):
    refused(place.client.request(method, path, BROKEN[name], pk=["p"]), 400)


@writes
def test_nesting_of_128_is_taken(place):
    body = b'{"id":"deep","pk":"p","n":' + b"[" * 127 + b"]" * 127 + b"}"
    assert place.create(body).status == 201
    assert b"[" * 127 in place.read("deep").body


@writes
def test_body_comes_back_as_it_was_sent(place):
    members = b'"z":1.0,"a":1e2,"big":12345678901234567890,"tiny":-0.0,"t":"\\u00e9\\/\\ud83d\\ude00","o":{"b":1,"a":[ 1 , 2 ]}'
    answer = place.create(b'{"pk":"p",' + members + b',"id":"verbatim"}')
    assert answer.status == 201
    for found in (answer.body, place.read("verbatim").body):
        assert members in found and found.startswith(b'{"pk":"p",')
        assert found.count(b'"_etag"') == 1


@writes
def test_system_properties_of_the_client_are_ignored(place):
    answer = place.create({"id": "system", "pk": "p", "_ts": 1, "_rid": "x", "_etag": "y", "_self": 5, "_attachments": {}})
    assert answer.status == 201
    found = place.read("system").json
    assert found["_ts"] > 1 and found["_rid"] != "x" and found["_self"].startswith("dbs/")
    assert answer.body.count(b'"_etag"') == 1 and found["_attachments"] == "attachments/"


# Ids

BAD_ITEM_IDS = ["", "a/b", "a\\b", "a#b", "x" * 1024, "é" * 512, "a\u0000b", 1, None, True, ["x"], {"x": 1}]
BAD_NAMES = ["", "a/b", "a\\b", "a#b", "a?b", "a ", "x" * 256, "a\u0000b", 1, None, True, ["x"]]


@pytest.mark.parametrize("name", BAD_ITEM_IDS, ids=lambda v: str(v)[:12].encode("unicode_escape").decode())
def test_bad_item_id(place, name):
    refused(place.create({"id": name, "pk": "p"}), 400)


def test_missing_id(place):
    answer = refused(place.create({"pk": "p"}), 400)
    assert "id" in answer.json["message"]
    refused(place.client.post("/dbs", {}), 400)
    refused(place.client.post("/dbs/edges/colls", {"partitionKey": {"paths": ["/pk"]}}), 400)


@pytest.mark.parametrize("name", BAD_NAMES, ids=lambda v: str(v)[:12].encode("unicode_escape").decode())
def test_bad_name(place, name):
    refused(place.client.post("/dbs", {"id": name}), 400)
    refused(place.client.post("/dbs/edges/colls", {"id": name, "partitionKey": {"paths": ["/pk"]}}), 400)


@writes
@pytest.mark.parametrize("name", ["x" * 1023, "é" * 511, "%2F", "a%2Fb", "+", " a", "\u200b", "日本語", "id with \"quotes\"", "~!@$^&*()"])
def test_id_at_the_edge_of_what_is_taken(place, name):
    created = place.create({"id": name, "pk": "ids"}, pk=["ids"])
    assert created.status == 201, created.body
    path = f"{place.docs}/{urllib.parse.quote(name, safe='')}"
    found = place.client.get(path, pk=["ids"])
    assert found.status == 200 and found.json["id"] == name
    assert place.client.delete(path, pk=["ids"]).status == 204


@pytest.mark.parametrize("segment", ["%", "%2", "%zz", "a%", "%00", "a%00b", "%ff", "%c0%af", "%ed%a0%80"])
def test_broken_escape_in_a_path(place, segment):
    for path in (f"/dbs/{segment}", f"{place.docs}/{segment}", f"/dbs/{segment}/colls/items"):
        refused(place.client.get(path, pk=["p"], headers=wire.signed("GET", path)), 400, 404)


@pytest.mark.parametrize("segment", ["a%2Fb", "a%5Cb", "%2e%2e", "..%2f..", "canary%2F", "%2Fcanary", "canary%20", "canary%3Fx"])
def test_escaped_separators_stay_in_the_id(place, segment):
    refused(place.client.get(f"{place.docs}/{segment}", pk=["p"]), 400, 404)
    refused(place.client.delete(f"{place.docs}/{segment}", pk=["p"]), 400, 404)
    refused(place.client.put(f"{place.docs}/{segment}", {"id": urllib.parse.unquote(segment), "pk": "p"}, pk=["p"]), 400, 404)


# Partition keys


@pytest.mark.parametrize("text", [
    "p", '"p"', "[", "[]", '["p"', '["p","q"]', "[[1]]", '[{"a":1}]', '["p"] x', "{}", "null", "[1e999]", '["\\ud800"]', '["\\u0000"]',
    "[nan]", json.dumps(["x" * 2049]), json.dumps(["é" * 1025]), "[" * 1000,
])
def test_malformed_partition_key(place, text):
    refused(place.client.get(place.canary, pk=text), 400)
    refused(place.client.delete(place.canary, pk=text), 400)
    refused(place.client.post(place.docs, {"id": "x", "pk": "p"}, pk=text), 400)


def test_missing_partition_key(place):
    refused(place.client.get(place.canary), 400)
    refused(place.client.delete(place.canary), 400)
    refused(place.client.patch(place.canary, [{"op": "incr", "path": "/n", "value": 1}]), 400)


@pytest.mark.parametrize("body, pk", [
    ({"id": "x", "pk": "p"}, ["q"]), ({"id": "x", "pk": "p"}, [{}]), ({"id": "x"}, ["p"]), ({"id": "x", "pk": 1}, ["1"]),
    ({"id": "x", "pk": None}, [{}]), ({"id": "x", "pk": "é"}, ["e\u0301"]),
])
def test_partition_key_of_header_and_body_differ(place, body, pk):
    assert refused(place.create(body, pk=pk), 400).substatus == 1001


def test_partition_key_of_replace_differs(place):
    answer = place.client.put(place.canary, {"id": "canary", "pk": "q"}, pk=["p"])
    assert refused(answer, 400).substatus == 1001


# Sizes and counts


def test_item_beyond_2_mib(place):
    refused(place.create({"id": "x", "pk": "p", "t": "x" * (2 * MIB)}), 413)
    refused(place.client.put(place.canary, {"id": "canary", "pk": "p", "t": "x" * (2 * MIB)}, pk=["p"]), 413)


def test_body_far_beyond_the_limit(place):
    with place_raw(place) as raw:
        raw.send(wire.request_bytes("POST", place.docs, [("Content-Length", str(10 ** 12))], length=False))
        refused(raw.answer(), 413)


def place_raw(place):
    return wire.Raw(place.client.url.geturl())


@pytest.mark.parametrize("count", ["-2", "abc", "1.5", "0x10", "99999999999999999999", "-99999999999999999999", "1;drop"])
def test_bad_page_size(place, count):
    refused(place.client.get(place.docs, headers={"x-ms-max-item-count": count}), 400)


@pytest.mark.parametrize("count", ["-1", "1", "1000000000", "2147483647"])
def test_odd_page_size_is_taken(place, count):
    answer = place.client.get(place.docs, headers={"x-ms-max-item-count": count})
    assert answer.status == 200 and answer.json["_count"] >= 1


@pytest.mark.parametrize("text", ["x", "null", "{}", "-1", "9" * 30, "AAAA", "'; select 1; --", "\x7f", "A" * 1000])
def test_bad_continuation(place, text):
    refused(place.client.get(place.docs, headers={"x-ms-continuation": text}), 400)


@pytest.mark.parametrize("text", ["x", "0", "0:", ":5", "0:a", "0:1#", "0:1#x", "0:1#5#1", "0:1#5#1=x", "0:-2#-5", "0:1#99999999999999999999999", ",", "0:1#1,,0:1#1"])
def test_bad_session_token(place, text):
    refused(place.client.get(place.canary, pk=["p"], headers={"x-ms-session-token": text}), 400)


@pytest.mark.parametrize("ru", ["-400", "0", "abc", "100", "450.5", "99999999999999999999", "2147483648"])
def test_bad_throughput(place, ru):
    body = {"id": "x", "partitionKey": {"paths": ["/pk"]}}
    refused(place.client.post("/dbs/edges/colls", body, headers={"x-ms-offer-throughput": ru}), 400)
    refused(place.client.post("/dbs", {"id": "x"}, headers={"x-ms-offer-throughput": ru}), 400)


@pytest.mark.parametrize("text", ["", "x", "[]", "{}", '{"maxThroughput":1}', '{"maxThroughput":-1000}', '{"maxThroughput":1e99}', '{"maxThroughput":"4000"}'])
def test_bad_autoscale_settings(place, text):
    if text == "":
        pytest.skip("an empty header is an absent one")
    body = {"id": "x", "partitionKey": {"paths": ["/pk"]}}
    refused(place.client.post("/dbs/edges/colls", body, headers={"x-ms-cosmos-offer-autopilot-settings": text}), 400)


@pytest.mark.parametrize("level", ["Strong", "BoundedStaleness", "strongest", "1", "Session;"])
def test_consistency_beyond_the_account(place, level):
    refused(place.client.get(place.canary, pk=["p"], headers={"x-ms-consistency-level": level}), 400)


@pytest.mark.parametrize("header", ["x-ms-session-token", "x-ms-unknown", "user-agent"])
def test_header_of_24_kib_is_taken(place, header):
    value = "0:1#0," * 4000 + "0:1#0" if header == "x-ms-session-token" else "x" * 24 * 1024
    answer = place.client.get(place.canary, pk=["p"], headers={header: value})
    # A long session token may be refused for what it says, never for its size.
    assert answer.status in ((200, 400, 404) if header == "x-ms-session-token" else (200,)), answer.body


# Methods and paths


@pytest.mark.parametrize("method", ["BREW", "PROPFIND", "TRACE", "get", "LINK", "X" * 200])
def test_unknown_method(place, method):
    for path in ("/", "/dbs", place.canary):
        refused(place.client.request(method, path, pk=["p"]), 405)


@pytest.mark.parametrize("method, path", [
    ("PUT", "/dbs"), ("DELETE", "/dbs"), ("PATCH", "/dbs/edges"), ("POST", "/dbs/edges"), ("POST", "/"), ("DELETE", "/"),
    ("PUT", "/dbs/edges/colls"), ("PATCH", "/dbs/edges/colls/items"), ("POST", "/dbs/edges/colls/items"),
    ("PUT", "/dbs/edges/colls/items/docs"), ("DELETE", "/dbs/edges/colls/items/docs"), ("POST", "/dbs/edges/colls/items/docs/canary"),
    ("POST", "/dbs/edges/colls/items/pkranges"), ("DELETE", "/dbs/edges/colls/items/pkranges"),
    ("GET", "/dbs/edges/colls/items/operations/partitionkeydelete"), ("DELETE", "/offers"),
])
def test_method_that_a_path_does_not_have(place, method, path):
    answer = place.client.request(method, path, {"id": "x"} if method in ("POST", "PUT", "PATCH") else None, pk=["p"])
    refused(answer, 405)


@pytest.mark.parametrize("path", [
    "/x", "/dbs/edges/x", "/dbs/edges/x/y", "/dbs/edges/colls/items/x", "/dbs/edges/colls/items/docs/canary/x",
    "/dbs/edges/colls/items/docs/canary/x/y/z", "/colls", "/docs", "/dbs/edges/docs", "/_orrery", "/..", "/dbs/..", "/dbs/../dbs",
    "/" + "x/" * 500, "/" + "x" * 8000, "/dbs/edges/colls//docs", "/%64%62%73x", "/index.html", "/.git/config",
])
def test_unknown_path(place, path):
    refused(place.client.get(path), 404, 400)


@pytest.mark.parametrize("path", ["/dbs/", "//dbs", "/dbs/edges/", "//dbs/edges//", "/dbs/edges?x=1", "/dbs?"])
def test_path_in_another_shape_is_taken(place, path):
    plain = path.split("?")[0].replace("//", "/").lower()
    assert place.client.get(path, headers=wire.signed("GET", plain)).status == 200


def test_names_in_another_case_are_others(place):
    for path in ("/dbs/Edges", "/dbs/edges/colls/Items", "/dbs/edges/colls/items/docs/Canary"):
        refused(place.client.get(path, pk=["p"]), 404)


# Text that looks like SQL

SQL = ["'; DROP SCHEMA orrery CASCADE; --", "' OR '1'='1", "$1", "$$", "%s %n %x", "E'x'", "pg_sleep(10)", "x'); SELECT 1; --", "{,}", "{\"a\",NULL}",
       "NULL", "(1,2)", "::text", "orrery.account", "\u02bc; --", "1e1000", "true", "items_1"]


@writes
@pytest.mark.parametrize("text", SQL)
def test_sql_looking_text_is_only_text(place, text):
    quoted = urllib.parse.quote(text, safe="")
    database, container = f"/dbs/{quoted}", f"/dbs/{quoted}/colls/{quoted}"
    assert place.client.post("/dbs", {"id": text}).status == 201
    definition = {"id": text, "partitionKey": {"paths": ["/pk"], "kind": "Hash", "version": 2},
                  "uniqueKeyPolicy": {"uniqueKeys": [{"paths": ["/\"" + text.replace('"', "") + "\""]}]}}
    answer = place.client.post(database + "/colls", definition)
    assert answer.status == 201, answer.body
    item = {"id": text, "pk": text, text.replace('"', ""): text, "deep": {text: [text]}}
    assert place.client.post(container + "/docs", item, pk=[text]).status == 201
    found = place.client.get(f"{container}/docs/{quoted}", pk=[text]).json
    assert {name: found[name] for name in item} == item
    refused(place.client.post(container + "/docs", {**item, "id": "other"}, pk=[text]), 409)
    answer = place.client.put(f"{container}/docs/{quoted}", item, pk=[text], headers={"if-match": text.encode("ascii", "replace").decode()})
    refused(answer, 412)
    patch = [{"op": "set", "path": "/patched", "value": text}]
    assert place.client.patch(f"{container}/docs/{quoted}", patch, pk=[text]).status == 200
    assert place.client.delete(f"{container}/docs/{quoted}", pk=[text]).status == 204
    assert place.client.delete(database).status == 204
    refused(place.client.get(container), 404)


# Batches, patches, definitions, queries

BATCH = {"x-ms-cosmos-is-batch-request": "true", "x-ms-cosmos-batch-atomic": "true"}
CREATE = {"operationType": "Create", "resourceBody": {"id": "x", "pk": "p"}}


@pytest.mark.parametrize("body", [
    [], {}, "x", [1], [{}], [{"operationType": "Explode"}], [CREATE, {"operationType": "Explode"}], [{"operationType": "Create"}],
    [{"operationType": "Read"}], [{"operationType": "Replace", "id": "canary"}], [CREATE] * 101,
    [CREATE, {"operationType": "Create", "resourceBody": {"id": "y", "pk": "q"}}],
    [CREATE, {"operationType": "Create", "resourceBody": {"id": "a/b", "pk": "p"}}],
    [CREATE, {"operationType": "Patch", "id": "canary", "resourceBody": {"operations": []}}],
], ids=lambda v: json.dumps(v)[:40])
def test_bad_batch(place, body):
    answer = place.create(body, **BATCH)
    if answer.status == 207:  # what one operation is refused for may be told there
        statuses = [each["statusCode"] for each in answer.json]
        assert 400 in statuses and set(statuses) <= {400, 424}, statuses
    else:
        refused(answer, 400)


def test_failing_batch_changes_nothing(place):
    body = [CREATE, {"operationType": "Delete", "id": "canary"}, {"operationType": "Read", "id": "none"}]
    answer = place.create(body, **BATCH)
    assert answer.status == 207
    assert [each["statusCode"] for each in answer.json] == [424, 424, 404]


INCREMENT = {"op": "incr", "path": "/n", "value": 1}


@pytest.mark.parametrize("body", [
    [], {}, {"operations": []}, {"operations": {}}, [1], [{}], [{"op": "explode", "path": "/a", "value": 1}], [INCREMENT] * 11,
    [{"op": "set", "value": 1}], [{"op": "set", "path": "a", "value": 1}], [{"op": "set", "path": "", "value": 1}],
    [{"op": "set", "path": "/a"}], [{"op": "set", "path": 1, "value": 1}], [{"op": "set", "path": "/id", "value": "x"}],
    [{"op": "set", "path": "/pk", "value": "x"}], [{"op": "remove", "path": "/pk"}], [{"op": "set", "path": "/_etag", "value": "x"}],
    [{"op": "set", "path": "/a/b/c", "value": 1}], [{"op": "remove", "path": "/none"}], [{"op": "incr", "path": "/n", "value": "1"}],
    [{"op": "incr", "path": "/id", "value": 1}], [{"op": "move", "path": "/a"}], [{"op": "move", "from": "/none", "path": "/a"}],
    [INCREMENT, {"op": "remove", "path": "/none"}],
    {"operations": [INCREMENT], "condition": "select"}, {"operations": [INCREMENT], "condition": "from c where"},
    {"operations": [INCREMENT], "condition": 1}, {"operations": [INCREMENT], "condition": "from c where c.n = '; drop table x; --"},
], ids=lambda v: json.dumps(v)[:50])
def test_bad_patch(place, body):
    refused(place.client.patch(place.canary, body, pk=["p"]), 400)


@pytest.mark.parametrize("definition", [
    {}, {"partitionKey": None}, {"partitionKey": {}}, {"partitionKey": {"paths": []}}, {"partitionKey": {"paths": "/pk"}},
    {"partitionKey": {"paths": ["pk"]}}, {"partitionKey": {"paths": [""]}}, {"partitionKey": {"paths": ["/"]}},
    {"partitionKey": {"paths": [1]}}, {"partitionKey": {"paths": ["/a", "/b"]}},
    {"partitionKey": {"paths": ["/a", "/b", "/c", "/d"], "kind": "MultiHash", "version": 2}},
    {"partitionKey": {"paths": ["/a", "/b"], "kind": "MultiHash", "version": 1}},
    {"partitionKey": {"paths": ["/a", "/a"], "kind": "MultiHash", "version": 2}},
    {"partitionKey": {"paths": ["/pk"], "kind": "Range"}}, {"partitionKey": {"paths": ["/pk"], "version": 3}},
    {"partitionKey": {"paths": ["/pk"]}, "defaultTtl": 0}, {"partitionKey": {"paths": ["/pk"]}, "defaultTtl": -2},
    {"partitionKey": {"paths": ["/pk"]}, "defaultTtl": "1"}, {"partitionKey": {"paths": ["/pk"]}, "defaultTtl": 2147483648},
    {"partitionKey": {"paths": ["/pk"]}, "uniqueKeyPolicy": {"uniqueKeys": [{"paths": ["a"]}]}},
    {"partitionKey": {"paths": ["/pk"]}, "uniqueKeyPolicy": {"uniqueKeys": [{"paths": []}]}},
    {"partitionKey": {"paths": ["/pk"]}, "uniqueKeyPolicy": {"uniqueKeys": [{"paths": [f"/{n}"]} for n in range(11)]}},
    {"partitionKey": {"paths": ["/pk"]}, "uniqueKeyPolicy": {"uniqueKeys": [{"paths": [f"/{n}" for n in range(17)]}]}},
    {"partitionKey": {"paths": ["/pk"]}, "indexingPolicy": {"indexingMode": "sometimes"}},
    {"partitionKey": {"paths": ["/pk"]}, "indexingPolicy": 5},
    {"partitionKey": {"paths": ["/pk"]}, "conflictResolutionPolicy": {"mode": "CoinToss"}},
], ids=lambda v: json.dumps(v)[:60])
def test_bad_container_definition(place, definition):
    refused(place.client.post("/dbs/edges/colls", {"id": "x", **definition}), 400)


@pytest.mark.parametrize("change", [
    {"partitionKey": {"paths": ["/other"], "kind": "Hash", "version": 2}}, {"id": "renamed"},
    {"uniqueKeyPolicy": {"uniqueKeys": [{"paths": ["/a"]}]}}, {"defaultTtl": 0},
], ids=lambda v: json.dumps(v)[:40])
def test_container_changes_that_are_refused(place, change):
    definition = place.client.get(place.container).json
    refused(place.client.put(place.container, {**definition, **change}), 400)


@pytest.mark.parametrize("ttl", [0, -2, 1.5, "1", True, 2147483648, [], {}])
def test_bad_ttl_of_an_item(place, ttl):
    refused(place.create({"id": "x", "pk": "p", "ttl": ttl}), 400)


@pytest.mark.parametrize("body", [
    b"", b"SELECT * FROM c", {}, [], {"query": ""}, {"query": 1}, {"query": "SELECT"}, {"query": "SELECT * FROM c WHERE"},
    {"query": "DELETE FROM c"}, {"query": "SELECT * FROM c; DROP TABLE items_0"},
    {"query": "SELECT NOSUCH(c.id) FROM c"}, {"query": "SELECT * FROM c", "parameters": 1}, {"query": "SELECT " + "(" * 5000 + "1"},
])
def test_bad_query(place, body):
    answer = place.client.post(place.docs, body, headers={
        "x-ms-documentdb-isquery": "true", "content-type": "application/query+json",
        "x-ms-documentdb-query-enablecrosspartition": "true"})
    refused(answer, 400)


@pytest.mark.parametrize("etag", ['""', "x", '"x"', "W/\"x\"", "00000000-0000-0000-0000-000000000000", '"' + "f" * 5000 + '"'])
def test_etag_that_never_was(place, etag):
    refused(place.client.put(place.canary, {"id": "canary", "pk": "p"}, pk=["p"], headers={"if-match": etag}), 412)
    refused(place.client.delete(place.canary, pk=["p"], headers={"if-match": etag}), 412)


def test_resources_that_are_not_there(place):
    for path in ("/dbs/none", "/dbs/none/colls", "/dbs/none/colls/none", "/dbs/none/colls/none/docs/x", "/dbs/edges/colls/none",
                 "/dbs/edges/colls/none/docs", "/dbs/edges/colls/none/docs/x", "/dbs/edges/colls/none/pkranges", place.docs + "/none", "/offers/none"):
        refused(place.client.get(path, pk=["p"]), 404)
        if path.endswith(("colls", "docs", "pkranges")):
            continue
        refused(place.client.delete(path, pk=["p"]), 404, 405)


def test_what_is_there_already(place):
    refused(place.client.post("/dbs", {"id": "edges"}), 409)
    refused(place.client.post("/dbs/edges/colls", {"id": "items", "partitionKey": {"paths": ["/x"]}}), 409)
    refused(place.create({"id": "canary", "pk": "p"}), 409)
