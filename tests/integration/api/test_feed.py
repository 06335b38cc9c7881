"""The read feed of items in pages and scopes, and the deletion of a logical partition, over HTTP."""

import uuid

import pytest
from support.gateway import Gateway

RANGE_GONE = 1002
ITEMS = 60


def make_container(client, database, paths=("/pk",), throughput="400"):
    name = uuid.uuid4().hex[:12]
    key = {"paths": list(paths), "kind": "MultiHash" if len(paths) > 1 else "Hash", "version": 2}
    answer = client.post(f"{database}/colls", {"id": name, "partitionKey": key},
                         headers={"x-ms-offer-throughput": throughput})
    assert answer.status == 201, answer
    return f"{database}/colls/{name}"


def fill(client, path):
    for n in range(ITEMS):
        pk = str(n % 20)
        assert client.post(f"{path}/docs", {"id": f"i{n}", "pk": pk, "n": n}, pk=[pk]).status == 201
    return path


@pytest.fixture(scope="module")
def narrow(client, database):
    return fill(client, make_container(client, database))


@pytest.fixture(scope="module")
def wide(client, database):
    return fill(client, make_container(client, database, throughput="50000"))


@pytest.fixture
def path(request, narrow, wide):
    return {"narrow": narrow, "wide": wide}[request.param]


both = pytest.mark.parametrize("path", ["narrow", "wide"], indirect=True)


def pages(client, path, size=None, pk=None, **headers):
    """Every page to the end."""
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    token, found = None, []
    while True:
        answer = client.get(f"{path}/docs", pk=pk, headers={
            **headers, "x-ms-continuation": token, "x-ms-max-item-count": size and str(size)})
        assert answer.status == 200, answer
        body = answer.json
        assert body["_count"] == len(body["Documents"]) == int(answer.header("x-ms-item-count"))
        assert size is None or body["_count"] <= size
        found.append(body["Documents"])
        token = answer.header("x-ms-continuation")
        assert len(found) < 200
        if token is None:
            return found


def flat(found):
    return [one["n"] for page in found for one in page]


def token_of(client, path, pk=None, **headers):
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = client.get(f"{path}/docs", pk=pk, headers={**headers, "x-ms-max-item-count": "1"})
    assert answer.header("x-ms-continuation"), answer
    return answer.header("x-ms-continuation")


def refused(answer, status, substatus=0):
    assert answer.status == status, answer
    assert answer.substatus == substatus, answer
    assert answer.json["message"]


# ---- refused ----

@both
@pytest.mark.parametrize("token", ["x", "=", "====", "AQE=", "AQ==AQ==", "1.1.0.1", "AQEBAAAA", "A" * 24, "A" * 64, "9" * 3000])
def test_continuations_that_are_none(client, path, token):
    refused(client.get(f"{path}/docs", headers={"x-ms-continuation": token}), 400)


@both
def test_a_continuation_that_was_changed(client, path):
    token = token_of(client, path)
    for at in range(len(token)):
        changed = token[:at] + ("1" if token[at] != "1" else "2") + token[at + 1:]
        answer = client.get(f"{path}/docs", headers={"x-ms-continuation": changed})
        refused(answer, 400)
    for cut in (token[:-1], token[1:], token[:-4], token[4:], token + "A", token + "AAAA", token + "="):
        refused(client.get(f"{path}/docs", headers={"x-ms-continuation": cut}), 400)


def test_a_continuation_of_another_feed(client, narrow, wide):
    token = token_of(client, wide)
    refused(client.get(f"{narrow}/docs", headers={"x-ms-continuation": token}), 400)
    refused(client.get(f"{wide}/docs", pk=["1"], headers={"x-ms-continuation": token}), 400)
    of_key = token_of(client, wide, pk=["1"])
    refused(client.get(f"{wide}/docs", headers={"x-ms-continuation": of_key}), 400)
    refused(client.get(f"{wide}/docs", pk=["2"], headers={"x-ms-continuation": of_key}), 400)
    of_range = token_of(client, wide, x_ms_documentdb_partitionkeyrangeid="1")
    for range_id in ("0", "2", None):
        refused(client.get(f"{wide}/docs", headers={
            "x-ms-continuation": of_range, "x-ms-documentdb-partitionkeyrangeid": range_id}), 400)


@both
@pytest.mark.parametrize("range_id", ["5", "4095", "x", "-1", "99999999999999999999"])
def test_a_range_that_is_none(client, path, range_id):
    refused(client.get(f"{path}/docs", headers={"x-ms-documentdb-partitionkeyrangeid": range_id}), 410, RANGE_GONE)


@pytest.mark.parametrize("count", ["0", "-2", "x", "1.5"])
def test_page_sizes_that_are_none(client, narrow, count):
    refused(client.get(f"{narrow}/docs", headers={"x-ms-max-item-count": count}), 400)


@pytest.mark.parametrize("pk", ["", "x", "{}", '["a","b"]', "[" * 50])
def test_keys_that_are_none(client, narrow, pk):
    answer = client.get(f"{narrow}/docs", pk=pk)
    if pk:
        refused(answer, 400)
    else:
        assert answer.status == 200


@pytest.mark.parametrize("start, end", [("zz", "FF"), ("05", "05"), ("FF", "00"), ("0", "1"), ("00" * 500, "FF")])
def test_intervals_that_are_none(client, narrow, start, end):
    answer = client.get(f"{narrow}/docs", headers={"x-ms-start-epk": start, "x-ms-end-epk": end})
    refused(answer, 400)


# ---- pages ----

@both
@pytest.mark.parametrize("size", [1, 7, 100, None])
def test_all_items_in_pages(client, path, size):
    found = pages(client, path, size)
    assert sorted(flat(found)) == list(range(ITEMS))
    assert flat(found) == flat(pages(client, path))
    assert size is None or len(found) >= ITEMS / size
    one = found[0][0]
    assert client.get(f"{path}/docs/{one['id']}", pk=[one["pk"]]).json == one


@both
@pytest.mark.parametrize("size", [1, 7, 100])
def test_one_key(client, path, size):
    for pk in ("0", "7", "nobody"):
        found = flat(pages(client, path, size, pk=[pk]))
        assert found == [n for n in range(ITEMS) if str(n % 20) == pk]


@both
@pytest.mark.parametrize("size", [1, 7, 100])
def test_ranges_divide_the_container(client, path, size):
    ranges = client.get(f"{path}/pkranges").json["PartitionKeyRanges"]
    everything = []
    for one in ranges:
        found = flat(pages(client, path, size, x_ms_documentdb_partitionkeyrangeid=one["id"]))
        headers = {"x_ms_start_epk": one["minInclusive"] or None, "x_ms_end_epk": one["maxExclusive"]}
        assert flat(pages(client, path, size, **headers)) == found
        everything += found
    assert sorted(everything) == list(range(ITEMS))


@both
def test_intervals_divide_the_container(client, path):
    cuts = ["00", "0A", "15555555555555555555555555555555", "2", "3A", "FF"]
    cuts = [cut if len(cut) % 2 == 0 else cut + "0" for cut in cuts]
    everything = []
    for start, end in zip(cuts, cuts[1:]):
        everything += flat(pages(client, path, 7, x_ms_start_epk=start, x_ms_end_epk=end,
                                 x_ms_read_key_type="EffectivePartitionKeyRange"))
    assert sorted(everything) == list(range(ITEMS))


def test_an_interval_outside_of_the_range(client, wide):
    ranges = client.get(f"{wide}/pkranges").json["PartitionKeyRanges"]
    assert len(ranges) == 5
    refused(client.get(f"{wide}/docs", headers={
        "x-ms-documentdb-partitionkeyrangeid": ranges[0]["id"],
        "x-ms-start-epk": ranges[1]["minInclusive"], "x-ms-end-epk": ranges[1]["maxExclusive"]}), 410, RANGE_GONE)


@pytest.mark.parametrize("size", [1, 7, 100])
@pytest.mark.parametrize("throughput", ["400", "50000"])
def test_a_prefix_of_a_hierarchical_key(client, database, size, throughput):
    path = make_container(client, database, ("/a", "/b"), throughput)
    for n in range(24):
        answer = client.post(f"{path}/docs", {"id": f"i{n}", "a": str(n % 3), "b": n % 4, "n": n}, pk=[str(n % 3), n % 4])
        assert answer.status == 201, answer
    for a in range(3):
        assert sorted(flat(pages(client, path, size, pk=[str(a)]))) == [n for n in range(24) if n % 3 == a]
        for b in range(4):
            assert flat(pages(client, path, size, pk=[str(a), b])) == [n for n in range(24) if (n % 3, n % 4) == (a, b)]
    assert flat(pages(client, path, size, pk=["none"])) == []


def test_a_prefix_of_a_key_inside_one_range(client, database):
    path = make_container(client, database, ("/a", "/b"), "50000")
    for n in range(60):
        assert client.post(f"{path}/docs", {"id": f"i{n}", "a": "same", "b": n, "n": n}, pk=["same", n]).status == 201
    found = []
    for one in client.get(f"{path}/pkranges").json["PartitionKeyRanges"]:
        headers = {"x-ms-documentdb-partitionkeyrangeid": one["id"]}
        answer = client.get(f"{path}/docs", pk=["same"], headers=headers)
        if answer.status == 410:  # no key of the prefix falls into it
            refused(answer, 410, RANGE_GONE)
            continue
        found += flat(pages(client, path, 7, pk=["same"], x_ms_documentdb_partitionkeyrangeid=one["id"]))
    assert sorted(found) == list(range(60))


def test_a_key_outside_of_the_range(client, wide):
    answers = [client.get(f"{wide}/docs", pk=["7"], headers={"x-ms-documentdb-partitionkeyrangeid": str(n)}) for n in range(5)]
    assert sorted(answer.status for answer in answers) == [200, 410, 410, 410, 410]
    assert all(answer.substatus == RANGE_GONE for answer in answers if answer.status == 410)
    refused(client.get(f"{wide}/docs", pk=["7"], headers={"x-ms-start-epk": "FE", "x-ms-end-epk": "FF"}), 410, RANGE_GONE)


def test_writes_between_pages(client, database):
    path = fill(client, make_container(client, database))
    answer = client.get(f"{path}/docs", headers={"x-ms-max-item-count": "10"})
    seen = [one["n"] for one in answer.json["Documents"]]
    client.delete(f"{path}/docs/i3", pk=["3"])
    client.delete(f"{path}/docs/i30", pk=["10"])
    client.put(f"{path}/docs/i5", {"id": "i5", "pk": "5", "n": 5}, pk=["5"])
    while answer.header("x-ms-continuation"):
        answer = client.get(f"{path}/docs", headers={
            "x-ms-max-item-count": "10", "x-ms-continuation": answer.header("x-ms-continuation")})
        seen += [one["n"] for one in answer.json["Documents"]]
    assert seen == [n for n in range(ITEMS) if n != 30]


def test_a_page_has_a_largest_size(client, database):
    path = make_container(client, database)
    for n in range(5):
        assert client.post(f"{path}/docs", {"id": f"i{n}", "pk": "p", "n": n, "x": "y" * 1500000}, pk=["p"]).status == 201
    found = pages(client, path, 100)
    assert flat(found) == list(range(5)) and len(found) >= 2


def test_a_continuation_outlives_the_gateway(postgres, client, wide):
    token = token_of(client, wide)
    expected = client.get(f"{wide}/docs", headers={"x-ms-continuation": token}).json
    for _ in range(2):
        with Gateway(postgres) as other:
            second = other.client()
            answer = second.get(f"{wide}/docs", headers={"x-ms-continuation": token})
            second.close()
            assert answer.status == 200 and answer.json == expected


# ---- delete by partition key ----

def test_the_deletion_of_a_partition(client, database):
    path = fill(client, make_container(client, database, throughput="50000"))
    target = f"{path}/operations/partitionkeydelete"
    refused(client.post(target, b""), 400)
    refused(client.post(target, b"", pk=["a", "b"]), 400)
    assert len(flat(pages(client, path))) == ITEMS
    for _ in range(2):
        answer = client.post(target, b"", pk=["7"])
        assert answer.status == 200 and answer.header("x-ms-session-token"), answer
        assert sorted(flat(pages(client, path))) == [n for n in range(ITEMS) if n % 20 != 7]
    refused(client.get(f"{path}/docs/i7", pk=["7"]), 404)
    assert client.post(f"{path}/docs", {"id": "i7", "pk": "7", "n": 7}, pk=["7"]).status == 201
    refused(client.post(f"{database}/colls/none/operations/partitionkeydelete", b"", pk=["7"]), 404, 1003)


def test_the_deletion_of_more_than_one_step_takes(client, database):
    path = make_container(client, database)
    for start in range(0, 1100, 100):
        operations = [{"operationType": "Create", "resourceBody": {"id": f"i{start + n}", "pk": "p", "n": n}} for n in range(100)]
        answer = client.post(f"{path}/docs", operations, pk=["p"], headers={
            "x-ms-cosmos-is-batch-request": "true", "x-ms-cosmos-batch-atomic": "true"})
        assert answer.status == 200, answer
    assert client.post(f"{path}/operations/partitionkeydelete", b"", pk=["p"]).status == 200
    assert flat(pages(client, path)) == []
