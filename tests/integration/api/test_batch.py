"""Transactional batches and bulk requests over HTTP."""

import json
import threading
import uuid

import pytest
from support.gateway import Gateway

DEAD = '"00000000-0000-0000-0000-000000000000"'
RANGE_GONE = 1002


def make_container(client, database, paths=("/pk",), throughput=None, **more):
    name = uuid.uuid4().hex[:12]
    key = {"paths": list(paths), "kind": "MultiHash" if len(paths) > 1 else "Hash", "version": 2}
    headers = {"x-ms-offer-throughput": throughput} if throughput else None
    answer = client.post(f"{database}/colls", {"id": name, "partitionKey": key, **more}, headers=headers)
    assert answer.status == 201, answer
    return f"{database}/colls/{name}"


@pytest.fixture
def docs(client, database):
    return make_container(client, database) + "/docs"


def batch(client, docs, operations, pk=("p",), **headers):
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.post(docs, operations, pk=list(pk), headers={
        "x-ms-cosmos-is-batch-request": "true", "x-ms-cosmos-batch-atomic": "true", **headers})


def bulk(client, docs, operations, range_id="0", **headers):
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.post(docs, operations, headers={
        "x-ms-cosmos-is-batch-request": "true", "x-ms-cosmos-batch-atomic": "false",
        "x-ms-documentdb-partitionkeyrangeid": range_id, **headers})


def create(name, pk="p", **more):
    return {"operationType": "Create", "resourceBody": {"id": name, "pk": pk, **more}}


def upsert(name, pk="p", **more):
    return {**create(name, pk, **more), "operationType": "Upsert"}


def replace(name, pk="p", **more):
    return {"operationType": "Replace", "id": name, "resourceBody": {"id": name, "pk": pk, **more}}


def read(name, **more):
    return {"operationType": "Read", "id": name, **more}


def delete(name, **more):
    return {"operationType": "Delete", "id": name, **more}


def incr(name, by=1, **more):
    operations = [{"op": "incr", "path": "/n", "value": by}]
    return {"operationType": "Patch", "id": name, "resourceBody": {"operations": operations, **more}}


def statuses(answer):
    return [one["statusCode"] for one in answer.json]


def ids(client, docs):
    return sorted(one["id"] for one in client.get(docs).json["Documents"])


def refused(answer, status, substatus=0):
    assert answer.status == status, answer
    assert answer.substatus == substatus, answer
    assert answer.json["message"]


# ---- refused ----

@pytest.mark.parametrize("body", [
    b"", b"{", b"{}", b"null", b"[]", b"[1]", b"[null]", b"[[]]", b"[{}]", b"[" * 100000, b"[{" * 500, b"\xff", b"\x81\x00\x01",
    b'[{"operationType":"Create"}]', b'[{"operationType":"create","resourceBody":{"id":"a","pk":"p"}}]',
    b'[{"operationType":1,"resourceBody":{"id":"a","pk":"p"}}]', b'[{"operationType":"Nothing","id":"a"}]',
    b'[{"operationType":"Read"}]', b'[{"operationType":"Read","id":7}]', b'[{"operationType":"Read","id":"a","ifMatch":{}}]',
    b'[{"operationType":"Patch","id":"a"}]', b'[{"operationType":"Patch","id":"a","resourceBody":[1]}]',
    b'[{"operationType":"Patch","id":"a","resourceBody":{"operations":[{"op":"no","path":"/x"}]}}]',
    b'[{"operationType":"Patch","id":"a","resourceBody":{"condition":"from","operations":[{"op":"incr","path":"/n","value":1}]}}]',
    b'[{"operationType":"Create","resourceBody":{"id":"a/b","pk":"p"}}]', b'[{"operationType":"Create","resourceBody":[]}]',
    b'[{"operationType":"Create","resourceBody":{"id":"a","pk":"p"}}', b'[{"operationType":"Create","resourceBody":"\\ud800"}]',
    b'[{"operationType":"Replace","id":"b","resourceBody":{"id":"a","pk":"p"}}]',
    b'[{"operationType":"Create","resourceBody":{"id":"a","pk":"p","d":' + b"[" * 300 + b"]" * 300 + b"}}]",
])
def test_what_is_no_batch(client, docs, body):
    refused(batch(client, docs, body), 400)
    assert ids(client, docs) == []


def test_hybrid_row_is_named_in_the_refusal(client, docs):
    answer = batch(client, docs, b"\x81" + b"\0" * 40)
    refused(answer, 400)
    assert "HybridRow" in answer.json["message"]


def test_a_batch_has_a_largest_count(client, docs):
    refused(batch(client, docs, [create(f"i{n}") for n in range(101)]), 400)
    assert ids(client, docs) == []
    answer = batch(client, docs, [create(f"i{n}") for n in range(100)])
    assert answer.status == 200 and statuses(answer) == [201] * 100
    assert len(ids(client, docs)) == 100


def test_a_batch_has_one_partition_key(client, docs):
    answer = batch(client, docs, [create("a"), create("b", pk="q")])
    assert answer.status == 400, answer
    refused(client.post(docs, [create("a")], headers={
        "x-ms-cosmos-is-batch-request": "true", "x-ms-cosmos-batch-atomic": "true"}), 400)
    assert ids(client, docs) == []


def test_a_batch_on_a_missing_container(client, database):
    refused(batch(client, f"{database}/colls/none/docs", [create("a")]), 404, 1003)


# ---- transactions ----

def test_a_batch_of_every_kind(client, docs):
    batch(client, docs, [create("r", n=1), create("d"), create("p", n=5), create("x")])
    answer = batch(client, docs, [create("c", v=1), upsert("u"), upsert("x", v=2), replace("r", n=2), read("p"), incr("p", 3), delete("d")])
    assert answer.status == 200, answer
    assert statuses(answer) == [201, 201, 200, 200, 200, 200, 204]
    found = answer.json
    assert found[4]["resourceBody"]["n"] == 5 and found[5]["resourceBody"]["n"] == 8
    assert all(one["requestCharge"] > 0 for one in found)
    assert float(answer.header("x-ms-request-charge")) > 0
    assert answer.header("x-ms-session-token").startswith("0:")
    for one, name in zip(found, "cuxrpp"):
        body = one["resourceBody"]
        assert body["id"] == name and body["_etag"] == one["eTag"] and body["_rid"] and body["_self"]
    for one in found[:4] + found[5:6]:
        stored = client.get(f"{docs}/{one['resourceBody']['id']}", pk=["p"])
        assert stored.json == one["resourceBody"]
    assert ids(client, docs) == ["c", "p", "r", "u", "x"]


@pytest.mark.parametrize("failing, status", [
    (create("old"), 409), (replace("none"), 404), (delete("none"), 404), (read("none"), 404), (incr("none"), 404),
    ({**replace("old"), "ifMatch": DEAD}, 412), (delete("old", ifMatch=DEAD), 412), ({**upsert("old"), "ifMatch": DEAD}, 412),
    ({**incr("old"), "ifMatch": DEAD}, 412), (incr("old", condition="from c where c.n = 99"), 412),
    (incr("text"), 400),
])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_one_that_fails_fails_all(client, docs, failing, status, place):
    batch(client, docs, [create("old", n=1), create("text", n="x"), create("other")])
    before = client.get(docs).json
    operations = [create("new"), replace("other", n=3)]
    operations.insert(place, failing)
    answer = batch(client, docs, operations)
    assert answer.status == 207, answer
    expected = [424, 424]
    expected.insert(place, status)
    assert statuses(answer) == expected
    assert all(one["eTag"] is None and "resourceBody" not in one for one in answer.json)
    assert client.get(docs).json == before


def test_one_item_several_times(client, docs):
    answer = batch(client, docs, [create("i", n=0), incr("i"), incr("i"), read("i"), delete("i"), create("i", n=10), incr("i"), upsert("j"), delete("j")])
    assert answer.status == 200, answer
    assert statuses(answer) == [201, 200, 200, 200, 204, 201, 200, 201, 204]
    assert [one["resourceBody"]["n"] for one in answer.json if "resourceBody" in one and "n" in one["resourceBody"]] == [0, 1, 2, 2, 10, 11]
    assert ids(client, docs) == ["i"]
    stored = client.get(f"{docs}/i", pk=["p"]).json
    assert stored["n"] == 11 and stored["_etag"] == answer.json[6]["eTag"]
    answer = batch(client, docs, [replace("i", n=1), create("i")])
    assert statuses(answer) == [424, 409]
    assert client.get(f"{docs}/i", pk=["p"]).json == stored


def test_conditions_that_hold(client, docs):
    etag = batch(client, docs, [create("i", n=1)]).json[0]["eTag"]
    answer = batch(client, docs, [read("i", ifNoneMatch=etag), {**replace("i", n=2), "ifMatch": etag}])
    assert answer.status == 200 and statuses(answer) == [304, 200]
    assert "resourceBody" not in answer.json[0]
    assert statuses(batch(client, docs, [delete("i", ifMatch=etag)])) == [412]
    assert statuses(batch(client, docs, [incr("i", condition="from c where c.n = 2")])) == [200]
    assert statuses(batch(client, docs, [delete("i", ifMatch="*")])) == [204]


def test_minimal_answers_keep_what_is_read(client, docs):
    answer = batch(client, docs, [create("i", n=1), read("i"), incr("i"), upsert("j")], prefer="return=minimal")
    assert answer.status == 200, answer
    assert ["resourceBody" in one for one in answer.json] == [False, True, False, False]
    assert all(one["eTag"] for one in answer.json)


def test_a_unique_key_fails_a_batch(client, database):
    docs = make_container(client, database, uniqueKeyPolicy={"uniqueKeys": [{"paths": ["/u"]}]}) + "/docs"
    assert batch(client, docs, [create("a", u=1)]).status == 200
    answer = batch(client, docs, [create("b", u=2), create("c", u=1)])
    assert answer.status == 207 and statuses(answer) == [424, 409], answer
    assert ids(client, docs) == ["a"]


def test_hierarchical_keys(client, database):
    docs = make_container(client, database, ("/a", "/b")) + "/docs"
    operation = {"operationType": "Create", "resourceBody": {"id": "i", "a": "x", "b": 1}}
    assert batch(client, docs, [operation], pk=["x"]).status == 400
    assert batch(client, docs, [operation], pk=["x", 1]).status == 200
    assert client.get(f"{docs}/i", pk=["x", 1]).status == 200


# ---- bulk ----

def keyed(operation, pk):
    return {**operation, "partitionKey": pk}


def test_bulk_in_mixed_ways(client, docs):
    assert batch(client, docs, [create("old", n=1)]).status == 200
    answer = bulk(client, docs, [
        keyed(create("a", "p"), '["p"]'), keyed(create("b", "q"), ["q"]), create("c", "r"),
        keyed(create("old"), '["p"]'), keyed(read("none"), '["p"]'), keyed(delete("none"), ["q"]),
        keyed(incr("old"), ["p"]), keyed(read("old"), '["p"]'), keyed(create("x", "p"), '["q"]'), read("old"),
        keyed(read("a"), "nonsense"), {"operationType": "Create", "partitionKey": '["p"]'},
        keyed({**replace("old"), "ifMatch": DEAD}, ["p"]),
    ], x_ms_cosmos_batch_continue_on_error="true")
    assert answer.status == 207, answer
    assert statuses(answer) == [201, 201, 201, 409, 404, 404, 200, 200, 400, 400, 400, 400, 412]
    assert answer.json[7]["resourceBody"]["n"] == 2
    assert ids(client, docs) == ["a", "b", "c", "old"]


def test_bulk_with_duplicates_goes_in_order(client, docs):
    key = '["p"]'
    answer = bulk(client, docs, [keyed(one, key) for one in (
        create("i", n=0), incr("i"), create("i"), incr("i"), read("i"), delete("i"), read("i"), upsert("i", n=7), incr("i"))])
    assert answer.status == 207, answer
    assert statuses(answer) == [201, 200, 409, 200, 200, 204, 404, 201, 200]
    assert answer.json[4]["resourceBody"]["n"] == 2
    assert client.get(f"{docs}/i", pk=["p"]).json["n"] == 8


def test_bulk_that_succeeds_is_200(client, docs):
    answer = bulk(client, docs, [keyed(upsert(f"i{n}", str(n)), [str(n)]) for n in range(100)])
    assert answer.status == 200 and statuses(answer) == [201] * 100, answer
    assert len(ids(client, docs)) == 100
    refused(bulk(client, docs, [keyed(upsert(f"i{n}"), ["p"]) for n in range(101)]), 400)


@pytest.mark.parametrize("range_id", ["1", "4095", "-1", "x", "99999999999999999999"])
def test_bulk_for_a_range_that_is_none(client, docs, range_id):
    refused(bulk(client, docs, [create("a")], range_id=range_id), 410, RANGE_GONE)
    assert ids(client, docs) == []


def test_bulk_for_items_of_other_ranges(client, database):
    docs = make_container(client, database, throughput="50000") + "/docs"
    found = {}
    for range_id in range(5):
        answer = bulk(client, docs, [upsert(f"i{n}", str(n)) for n in range(50)], range_id=str(range_id))
        assert set(statuses(answer)) <= {201, 410}, answer
        for n, one in enumerate(answer.json):
            if one["statusCode"] == 201:
                found.setdefault(n, []).append(range_id)
            else:
                assert one["subStatusCode"] == RANGE_GONE
    assert sorted(found) == list(range(50)) and all(len(ranges) == 1 for ranges in found.values())
    assert len({ranges[0] for ranges in found.values()}) == 5


def test_bulk_that_stops(client, docs):
    for first in (read("none"), replace("none")):
        operations = [keyed(one, ["p"]) for one in (upsert("a"), first, incr("a"))]
        operations += [keyed(read("a"), ["p"])]
        answer = bulk(client, docs, operations, x_ms_cosmos_batch_continue_on_error="False")
        assert answer.status == 207, answer
        assert statuses(answer)[0] in (200, 201)
        assert statuses(answer)[1:] == [404, 424, 424]


# ---- concurrency ----

@pytest.mark.parametrize("atomic", [True, False])
def test_no_change_is_lost(gateway, client, docs, atomic):
    threads, rounds, failures = 4, 50, []
    assert batch(client, docs, [create("counter", n=0)]).status == 200

    def work(number):
        one = gateway.client()
        for turn in range(rounds):
            operations = [keyed(incr("counter"), ["p"]), keyed(create(f"{number}-{turn}"), ["p"])]
            answer = (batch if atomic else bulk)(one, docs, operations)
            while atomic and answer.status == 449:  # overtaken too often, nothing written: send it again
                answer = batch(one, docs, operations)
            while not atomic and answer.json[0]["statusCode"] == 449:  # the other one is written by now
                assert answer.status == 207 and answer.json[1]["statusCode"] in (200, 201), answer
                answer = bulk(one, docs, operations[:1] + [keyed(read(f"{number}-{turn}"), ["p"])])
            if answer.status != 200:
                failures.append(answer)
        one.close()

    workers = [threading.Thread(target=work, args=(n,)) for n in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not failures, failures[0]
    assert client.get(f"{docs}/counter", pk=["p"]).json["n"] == threads * rounds
    found = json.loads(client.get(docs, headers={"x-ms-max-item-count": "1000"}).body)["Documents"]
    assert len(found) == threads * rounds + 1


# ---- a bulk that is cut short ----

@pytest.fixture(scope="module")
def hurried(postgres):
    with Gateway(postgres, args=["--request-timeout-ms", "1500"]) as running:
        yield running


@pytest.fixture
def divided(client, database, postgres):
    """A container of two ranges: its documents, a key in each range, and the number of the second range."""
    docs = make_container(client, database, throughput="20000") + "/docs"
    keys = {}
    for n in range(100):
        answer = client.post(docs, {"id": "probe", "pk": f"k{n}"}, pk=[f"k{n}"])
        assert answer.status == 201, answer
        keys.setdefault(answer.header("x-ms-session-token").split(":")[0], f"k{n}")
    assert sorted(keys) == ["0", "1"]
    with postgres.connect() as connection:
        held, = connection.execute("select max(range_id) from orrery.ranges").fetchone()
    return docs, keys["0"], keys["1"], held


def test_bulk_that_runs_out_of_time_tells_what_was_done(hurried, postgres, divided):
    """It said that nothing was changed, although its first round was written."""
    docs, free, blocked, held = divided
    client = hurried.client()
    operations = [create("a", free), upsert("probe", free, n=1), create("probe", free), create("b", blocked),
                  upsert("b", blocked, n=2)]
    with postgres.connect() as connection:
        connection.execute("select 1 from orrery.ranges where range_id = %s for update", [held])
        answer = client.post(docs, operations, headers={
            "x-ms-cosmos-is-batch-request": "true", "x-ms-cosmos-batch-atomic": "false",
            "x-ms-cosmos-batch-continue-on-error": "true"})
    assert answer.status == 207, answer
    # PostgreSQL itself may end the statement first: then it is known that nothing was done.
    assert statuses(answer) in ([201, 200, 409, 408, 503], [201, 200, 409, 503, 503])
    assert all(one["message"] for one in answer.json[3:])
    assert answer.json[0]["eTag"] == client.get(f"{docs}/a", pk=[free]).header("etag")
    assert client.get(f"{docs}/probe", pk=[free]).json["n"] == 1
    assert int(answer.header("x-ms-item-count")) == 5
    client.close()


def test_bulk_of_which_nothing_was_done_is_refused_as_a_whole(hurried, postgres, divided):
    docs, _, blocked, held = divided
    client = hurried.client()
    with postgres.connect() as connection:
        connection.execute("select 1 from orrery.ranges where range_id = %s for update", [held])
        answer = bulk(client, docs, [create("c", blocked), create("d", blocked)], "1")
    assert answer.status in (408, 503) and answer.json["message"], answer
    assert client.get(f"{docs}/c", pk=[blocked]).status == 404
    client.close()
