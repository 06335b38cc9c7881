"""The scenarios of tests/support/sdk.py with azure-cosmos. One JSON line per scenario on stdout."""

import concurrent.futures
import json
import os
import time
import traceback

from azure.core import MatchConditions
from azure.cosmos import CosmosClient, PartitionKey, ThroughputProperties, exceptions

ENDPOINT = os.environ["ORRERY_ENDPOINT"]
DATABASE = os.environ["ORRERY_DATABASE"]
OPTIONS = {"connection_verify": os.environ["ORRERY_CA"]} if ENDPOINT.startswith("https:") else {}

client = None
database = None
items = None
scenarios = []


def scenario(work):
    scenarios.append(work)
    return work


def same(found, wanted):
    assert found == wanted, f"{found!r}, wanted {wanted!r}"


def fails(status, work, *args, substatus=None, **options):
    try:
        work(*args, **options)
    except exceptions.CosmosHttpResponseError as error:
        same(error.status_code, status)
        assert error.message, "no message"
        if substatus is not None:
            same(error.sub_status, substatus)
        return error
    raise AssertionError(f"was not refused with {status}")


def missing(container, item, key):
    fails(404, container.read_item, item, partition_key=key)


def make_container(name, partition_key, item, key):
    created = database.create_container_if_not_exists(name, partition_key)
    again = database.create_container_if_not_exists(name, partition_key)
    properties = again.read()
    same(properties["id"], name)
    same(properties["partitionKey"]["paths"], partition_key["paths"])
    same(properties["partitionKey"]["kind"], partition_key["kind"])
    same(properties["partitionKey"]["version"], partition_key["version"])
    same(created.read()["_rid"], properties["_rid"])
    created.create_item(item)
    read = created.read_item(item["id"], partition_key=key)
    for property_name, value in item.items():
        same(read[property_name], value)
    fails(409, database.create_container, name, partition_key)


@scenario
def client_init():
    global client
    client = CosmosClient(ENDPOINT, credential=os.environ["ORRERY_KEY"], **OPTIONS)
    account = client.get_database_account()
    same(account.ConsistencyPolicy["defaultConsistencyLevel"], "Session")
    assert account.WritableLocations and account.ReadableLocations


@scenario
def database_create_if_not_exists():
    global database, items
    database = client.create_database_if_not_exists(DATABASE)
    again = client.create_database_if_not_exists(DATABASE)
    same(again.read()["_rid"], database.read()["_rid"])
    items = database.create_container_if_not_exists("items", PartitionKey("/pk"))


@scenario
def container_hash_v1():
    make_container("v1", PartitionKey("/pk", version=1), {"id": "1", "pk": "a"}, "a")


@scenario
def container_hash_v2():
    make_container("v2", PartitionKey("/pk"), {"id": "1", "pk": "a"}, "a")


@scenario
def container_hierarchical_2():
    make_container("h2", PartitionKey(["/a", "/b"], kind="MultiHash"), {"id": "1", "a": "x", "b": 2}, ["x", 2])


@scenario
def container_hierarchical_3():
    make_container("h3", PartitionKey(["/a", "/b", "/c/d"], kind="MultiHash"),
                   {"id": "1", "a": "x", "b": True, "c": {"d": "é"}}, ["x", True, "é"])


@scenario
def container_nested_path():
    make_container("nested", PartitionKey("/address/city"), {"id": "1", "address": {"city": "Zürich"}}, "Zürich")


@scenario
def key_values():
    from azure.cosmos.partition_key import NonePartitionKeyValue, NullPartitionKeyValue
    values = [("text", ""), ("number", 5.5), ("integer", 5), ("true", True), ("false", False), ("large", 1e300)]
    for name, key in values:
        items.create_item({"id": name, "pk": key})
        same(items.read_item(name, partition_key=key)["pk"], key)
    same(items.read_item("integer", partition_key=5.0)["id"], "integer")
    items.create_item({"id": "null", "pk": None})
    same(items.read_item("null", partition_key=NullPartitionKeyValue)["pk"], None)
    items.create_item({"id": "absent"})
    same(items.read_item("absent", partition_key=NonePartitionKeyValue)["id"], "absent")
    missing(items, "absent", NullPartitionKeyValue)


@scenario
def item_crud():
    body = {"id": "crud", "pk": "p", "n": 1, "text": "☃\u2028\"\\\x7f", "deep": {"list": [1, [2], {}]}}
    created = items.create_item(body)
    for name in ("_rid", "_etag", "_ts", "_self", "_attachments"):
        assert name in created, name
    assert float(created.get_response_headers()["x-ms-request-charge"]) > 0
    same(dict(items.read_item("crud", partition_key="p")), dict(created))
    replaced = items.replace_item("crud", {"id": "crud", "pk": "p", "n": 2})
    same(replaced["_rid"], created["_rid"])
    assert replaced["_etag"] != created["_etag"] and "text" not in replaced
    quiet = items.replace_item("crud", {"id": "crud", "pk": "p", "n": 3}, no_response=True)
    assert not dict(quiet), quiet
    same(items.read_item("crud", partition_key="p")["n"], 3)
    items.delete_item("crud", partition_key="p")
    missing(items, "crud", "p")
    generated = items.create_item({"pk": "p"}, enable_automatic_id_generation=True)
    items.delete_item(generated["id"], partition_key="p")


@scenario
def if_match():
    first = items.create_item({"id": "if-match", "pk": "p", "n": 1})
    options = {"etag": first["_etag"], "match_condition": MatchConditions.IfNotModified}
    items.replace_item("if-match", {"id": "if-match", "pk": "p", "n": 2}, **options)
    fails(412, items.replace_item, "if-match", {"id": "if-match", "pk": "p", "n": 3}, **options)
    fails(412, items.delete_item, "if-match", partition_key="p", **options)
    same(items.read_item("if-match", partition_key="p")["n"], 2)


@scenario
def if_none_match():
    first = items.create_item({"id": "if-none-match", "pk": "p"})
    options = {"etag": first["_etag"], "match_condition": MatchConditions.IfModified}
    headers = {}
    try:
        found = items.read_item("if-none-match", partition_key="p", response_hook=lambda h, _: headers.update(h), **options)
        assert not found, found  # a 304 has no body
    except exceptions.CosmosHttpResponseError as error:
        same(error.status_code, 304)
    items.upsert_item({"id": "if-none-match", "pk": "p", "n": 2})
    same(items.read_item("if-none-match", partition_key="p", **options)["n"], 2)


@scenario
def upsert():
    first = items.upsert_item({"id": "upsert", "pk": "p", "n": 1})
    second = items.upsert_item({"id": "upsert", "pk": "p", "n": 2})
    same(second["_rid"], first["_rid"])
    same(items.read_item("upsert", partition_key="p")["n"], 2)


@scenario
def patch_operations():
    items.create_item({"id": "patch", "pk": "p", "n": 1, "list": [1, 3], "gone": 1, "old": "x", "from": 9})
    found = items.patch_item("patch", partition_key="p", patch_operations=[
        {"op": "add", "path": "/list/1", "value": 2},
        {"op": "add", "path": "/list/-", "value": 4},
        {"op": "set", "path": "/new", "value": {"a": []}},
        {"op": "replace", "path": "/old", "value": "y"},
        {"op": "remove", "path": "/gone"},
        {"op": "incr", "path": "/n", "value": 5},
        {"op": "incr", "path": "/counter", "value": 1.5},
        {"op": "move", "from": "/from", "path": "/to"},
    ])
    wanted = {"list": [1, 2, 3, 4], "new": {"a": []}, "old": "y", "n": 6, "counter": 1.5, "to": 9}
    same({name: found.get(name) for name in wanted}, wanted)
    assert "gone" not in found and "from" not in found
    for operation in ({"op": "replace", "path": "/absent", "value": 1}, {"op": "set", "path": "/pk", "value": 1},
                      {"op": "set", "path": "/id", "value": "x"}, {"op": "incr", "path": "/old", "value": 1}):
        fails(400, items.patch_item, "patch", partition_key="p", patch_operations=[operation])
    same(items.read_item("patch", partition_key="p")["_etag"], found["_etag"])


@scenario
def patch_condition():
    items.create_item({"id": "patch-condition", "pk": "p", "n": 1})
    options = {"partition_key": "p", "patch_operations": [{"op": "incr", "path": "/n", "value": 1}],
               "filter_predicate": "from c where c.n = 1"}
    same(items.patch_item("patch-condition", **options)["n"], 2)
    fails(412, items.patch_item, "patch-condition", substatus=1110, **options)


@scenario
def batch_success():
    items.create_item({"id": "b0", "pk": "batch", "n": 0})
    items.create_item({"id": "b9", "pk": "batch"})
    found = items.execute_item_batch([
        ("create", ({"id": "b1", "pk": "batch", "n": 1},)),
        ("upsert", ({"id": "b2", "pk": "batch", "n": 2},)),
        ("read", ("b0",)),
        ("replace", ("b0", {"id": "b0", "pk": "batch", "n": 10})),
        ("patch", ("b1", [{"op": "incr", "path": "/n", "value": 1}])),
        ("delete", ("b9",)),
    ], partition_key="batch")
    same([r["statusCode"] for r in found], [201, 201, 200, 200, 200, 204])
    same(found[4]["resourceBody"]["n"], 2)
    same(items.read_item("b0", partition_key="batch")["n"], 10)
    missing(items, "b9", "batch")


@scenario
def batch_failure():
    items.create_item({"id": "f0", "pk": "fail"})
    try:
        items.execute_item_batch([
            ("create", ({"id": "f1", "pk": "fail"},)),
            ("create", ({"id": "f0", "pk": "fail"},)),
            ("delete", ("f0",)),
        ], partition_key="fail")
        raise AssertionError("was not refused")
    except exceptions.CosmosBatchOperationError as error:
        same(error.status_code, 409)
        same(error.error_index, 1)
        same([r["statusCode"] for r in error.operation_responses], [424, 409, 424])
    missing(items, "f1", "fail")
    items.read_item("f0", partition_key="fail")


@scenario
def bulk_1000():
    container = database.create_container_if_not_exists("bulk", PartitionKey("/pk"), offer_throughput=20000)

    def write(n):
        container.upsert_item({"id": f"i{n}", "pk": f"p{n % 50}", "n": n})

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        list(pool.map(write, range(1000)))
    for n in (0, 499, 999):
        same(container.read_item(f"i{n}", partition_key=f"p{n % 50}")["n"], n)


@scenario
def feed():
    assert DATABASE in [found["id"] for found in client.list_databases()]
    assert "items" in [found["id"] for found in database.list_containers()]
    container = database.create_container_if_not_exists("feed", PartitionKey("/pk"))
    for n in range(25):
        container.create_item({"id": str(n), "pk": f"p{n % 7}"})
    pages = [[found["id"] for found in page] for page in container.read_all_items(max_item_count=10).by_page()]
    same(sorted(name for page in pages for name in page), sorted(str(n) for n in range(25)))
    assert all(len(page) <= 10 for page in pages), pages


@scenario
def throughput():
    container = database.create_container_if_not_exists("throughput", PartitionKey("/pk"), offer_throughput=500)
    same(container.get_throughput().offer_throughput, 500)
    same(container.replace_throughput(700).offer_throughput, 700)
    same(container.get_throughput().offer_throughput, 700)
    autoscale = database.create_container_if_not_exists(
        "autoscale", PartitionKey("/pk"), offer_throughput=ThroughputProperties(auto_scale_max_throughput=4000))
    same(autoscale.get_throughput().auto_scale_max_throughput, 4000)


@scenario
def ttl():
    container = database.create_container_if_not_exists("ttl", PartitionKey("/pk"), default_ttl=1)
    container.create_item({"id": "default", "pk": "p"})
    container.create_item({"id": "long", "pk": "p", "ttl": 3600})
    container.create_item({"id": "forever", "pk": "p", "ttl": -1})
    time.sleep(2.5)
    missing(container, "default", "p")
    container.read_item("long", partition_key="p")
    container.read_item("forever", partition_key="p")
    container.create_item({"id": "default", "pk": "p"})
    fails(400, container.create_item, {"id": "bad", "pk": "p", "ttl": 0})


@scenario
def unique_keys():
    policy = {"uniqueKeys": [{"paths": ["/email"]}, {"paths": ["/a", "/b/c"]}]}
    container = database.create_container_if_not_exists("unique", PartitionKey("/pk"), unique_key_policy=policy)
    container.create_item({"id": "1", "pk": "p", "email": "x", "a": 1, "b": {"c": 1}})
    fails(409, container.create_item, {"id": "2", "pk": "p", "email": "x", "a": 2})
    fails(409, container.create_item, {"id": "2", "pk": "p", "email": "y", "a": 1, "b": {"c": 1}})
    container.create_item({"id": "2", "pk": "q", "email": "x"})
    container.create_item({"id": "3", "pk": "p", "email": "z"})
    fails(409, container.upsert_item, {"id": "3", "pk": "p", "email": "x"})
    container.delete_item("1", partition_key="p")
    container.upsert_item({"id": "3", "pk": "p", "email": "x"})


@scenario
def error_400():
    fails(400, items.create_item, {"id": "", "pk": "p"})
    fails(400, client.create_database, "x" * 256)
    fails(400, items.create_item, {"id": "x" * 1024, "pk": "p"})
    fails(400, database.create_container, "bad", PartitionKey(["/a", "/b", "/c", "/d"], kind="MultiHash"))


@scenario
def error_404():
    fails(404, client.get_database_client("no-such-database").read)
    fails(404, database.get_container_client("no-such-container").read)
    missing(items, "none", "p")
    fails(404, items.replace_item, "none", {"id": "none", "pk": "p"})
    fails(404, items.delete_item, "none", partition_key="p")


@scenario
def error_409():
    items.create_item({"id": "conflict", "pk": "p"})
    fails(409, items.create_item, {"id": "conflict", "pk": "p"})
    fails(409, client.create_database, DATABASE)


@scenario
def error_412():
    items.create_item({"id": "precondition", "pk": "p"})
    options = {"etag": '"00000000-0000-0000-0000-000000000000"', "match_condition": MatchConditions.IfNotModified}
    fails(412, items.upsert_item, {"id": "precondition", "pk": "p"}, **options)


@scenario
def error_413():
    fails(413, items.create_item, {"id": "large", "pk": "p", "text": "x" * (2 * 1024 * 1024)})
    size = 2 * 1024 * 1024 - 100
    items.create_item({"id": "nearly", "pk": "p", "text": "x" * size})
    same(len(items.read_item("nearly", partition_key="p")["text"]), size)


@scenario
def special_ids():
    for name in ("日本語 😀", "a b  c", "a+b", "a%2Fb", "100%", "a&b=c;d,e:@$!*'()", '"quoted"', "é", "e\u0301", "x" * 1000):
        items.create_item({"id": name, "pk": name})
        same(items.read_item(name, partition_key=name)["id"], name)
        items.replace_item(name, {"id": name, "pk": name, "n": 1})
        same(items.patch_item(name, partition_key=name, patch_operations=[{"op": "incr", "path": "/n", "value": 1}])["n"], 2)
        items.delete_item(name, partition_key=name)
        missing(items, name, name)
    other = client.create_database_if_not_exists(f"{DATABASE} ü+%")
    container = other.create_container_if_not_exists("c ö", PartitionKey("/pk"))
    container.create_item({"id": "1", "pk": "p"})
    container.read_item("1", partition_key="p")
    client.delete_database(other)


@scenario
def delete_by_key():
    for name in ("1", "2", "3"):
        items.create_item({"id": name, "pk": "delete-me"})
    items.create_item({"id": "1", "pk": "keep-me"})
    items.delete_all_items_by_partition_key("delete-me")
    missing(items, "1", "delete-me")
    missing(items, "3", "delete-me")
    items.read_item("1", partition_key="keep-me")


@scenario
def session():
    own = CosmosClient(ENDPOINT, credential=os.environ["ORRERY_KEY"], consistency_level="Session", **OPTIONS)
    container = own.get_database_client(DATABASE).get_container_client("items")
    for n in range(20):
        written = container.upsert_item({"id": "session", "pk": "s", "n": n})
        assert ":" in written.get_response_headers()["x-ms-session-token"]
        same(container.read_item("session", partition_key="s")["n"], n)


@scenario
def change_feed():
    container = database.create_container("changes", PartitionKey("/pk"), offer_throughput=25000)

    def follow(**start):
        """What there is, and where it ends."""
        found = list(container.query_items_change_feed(max_item_count=7, **start))
        return found, container.client_connection.last_response_headers["etag"]

    _, now = follow(start_time="Now", mode="AllVersionsAndDeletes")
    for n in range(40):
        container.create_item({"id": str(n), "pk": str(n % 8), "n": n})
    container.upsert_item({"id": "3", "pk": "3", "n": 300})
    container.delete_item("4", partition_key="4")
    found, latest = follow(start_time="Beginning")
    same(sorted(item["n"] for item in found), sorted({*range(40), 300} - {3, 4}))
    found, _ = follow(start_time="Beginning", partition_key="3")
    same([item["n"] for item in found], [11, 19, 27, 35, 300])
    ranges = list(container.read_feed_ranges())
    same(len(ranges), 3)
    parts = [follow(start_time="Beginning", feed_range=one)[0] for one in ranges]
    same(sorted(item["n"] for part in parts for item in part), sorted({*range(40), 300} - {3, 4}))
    found, now = follow(continuation=now)
    same(len(found), 42)
    [deleted] = [one for one in found if one["metadata"]["operationType"] == "delete"]
    same(deleted["previous"]["n"], 4)
    [replaced] = [one for one in found if one["metadata"]["operationType"] == "replace"]
    same((replaced["previous"]["n"], replaced["current"]["n"]), (3, 300))
    container.create_item({"id": "late", "pk": "1", "n": 1000})
    same([item["n"] for item in follow(continuation=latest)[0]], [1000])
    same([one["current"]["n"] for one in follow(continuation=now)[0]], [1000])


for work in scenarios:
    try:
        work()
        line = {"scenario": work.__name__, "ok": True}
    except Exception as error:  # each scenario stands alone
        line = {"scenario": work.__name__, "ok": False, "detail": f"{error!r}\n{traceback.format_exc()}"[-3000:]}
    print(json.dumps(line), flush=True)
