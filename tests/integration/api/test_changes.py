"""The change feed, latest versions and all versions, over HTTP: invariant 1 as a reader sees it."""

import concurrent.futures
import email.utils
import threading
import time
import uuid

import pytest

LATEST, FULL = "Incremental Feed", "Full-Fidelity Feed"


def make_container(client, database, throughput="400", paths=("/pk",), **settings):
    name = uuid.uuid4().hex[:12]
    key = {"paths": list(paths), "kind": "MultiHash" if len(paths) > 1 else "Hash", "version": 2}
    answer = client.post(f"{database}/colls", {"id": name, "partitionKey": key, **settings},
                         headers={"x-ms-offer-throughput": throughput})
    assert answer.status == 201, answer
    return f"{database}/colls/{name}"


@pytest.fixture
def path(client, database):
    return make_container(client, database)


@pytest.fixture
def wide(client, database):
    return make_container(client, database, throughput="50000")


def put(client, path, id, pk="p", **members):
    answer = client.post(f"{path}/docs", {"id": id, "pk": pk, **members}, pk=[pk],
                         headers={"x-ms-documentdb-is-upsert": "true"})
    assert answer.status in (200, 201), answer
    return answer


def ask(client, path, etag=None, mode=LATEST, size=None, pk=None, **headers):
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.get(f"{path}/docs", pk=pk, headers={
        "a-im": mode, "if-none-match": etag, "x-ms-max-item-count": size and str(size), **headers})


def read(client, path, etag=None, **options):
    """All changes up to the first 304: they, and where it stands."""
    found = []
    for _ in range(500):
        answer = ask(client, path, etag, **options)
        etag = answer.header("etag")
        assert etag.startswith('"') and etag.endswith('"')
        if answer.status == 304:
            assert answer.body == b""
            return found, etag
        assert answer.status == 200, answer
        assert answer.json["_count"] == len(answer.json["Documents"]) == int(answer.header("x-ms-item-count"))
        assert answer.header("x-ms-continuation") is None
        found.extend(answer.json["Documents"])
    raise AssertionError("the feed does not end")


def ids(found):
    return [one["id"] for one in found]


@pytest.mark.parametrize("size", [None, 1, 3, -1])
def test_latest_versions_come_in_commit_order_once(client, path, size):
    for n in range(8):
        put(client, path, f"i{n}", n=n)
    put(client, path, "i2", n=20)
    client.delete(f"{path}/docs/i5", pk=["p"])
    found, etag = read(client, path, size=size)
    assert ids(found) == ["i0", "i1", "i3", "i4", "i6", "i7", "i2"]
    assert [one["_lsn"] for one in found] == [1, 2, 4, 5, 7, 8, 9]
    assert found[-1]["n"] == 20 and found[-1]["_rid"] and found[-1]["_etag"]
    assert read(client, path, etag) == ([], etag)
    put(client, path, "i5", n=50)
    assert ids(read(client, path, etag)[0]) == ["i5"]


def test_from_now(client, wide):
    for n in range(20):
        put(client, wide, f"a{n}", pk=str(n))
    answer = ask(client, wide, "*")
    assert answer.status == 304 and answer.header("etag")
    for n in range(10):
        put(client, wide, f"b{n}", pk=str(n))
    found, _ = read(client, wide, answer.header("etag"), size=3)
    assert sorted(ids(found)) == [f"b{n}" for n in range(10)]


def test_from_a_time(client, path):
    put(client, path, "old")
    first = int(put(client, path, "old2").json["_ts"])
    while int(time.time()) <= first + 1:
        time.sleep(0.05)  # _ts counts seconds: the clock itself is what is waited for
    second = int(put(client, path, "new").json["_ts"])
    since = {"if_modified_since": email.utils.formatdate(second, usegmt=True)}
    found, etag = read(client, path, **since)
    assert ids(found) == ["new"]
    put(client, path, "newer")
    assert ids(read(client, path, etag, **since)[0]) == ["newer"]
    future = {"if_modified_since": email.utils.formatdate(second + 3600, usegmt=True)}
    assert read(client, path, etag, **future)[0] == []


@pytest.mark.parametrize("size", [1, 7, None])
def test_all_ranges_without_a_scope(client, wide, size):
    for n in range(60):
        put(client, wide, f"i{n}", pk=str(n % 20))
    found, etag = read(client, wide, size=size)
    assert sorted(ids(found)) == sorted(f"i{n}" for n in range(60))
    assert ask(client, wide, etag).status == 304


def test_a_busy_range_does_not_starve_the_others(client, wide):
    for n in range(20):
        put(client, wide, f"i{n}", pk=str(n))
    etag, seen = None, set()
    for turn in range(100):
        for n in range(3):  # the range of "0" always has something new
            put(client, wide, f"busy{turn}-{n}", pk="0")
        answer = ask(client, wide, etag, size=2)
        etag = answer.header("etag")
        seen.update(ids(answer.json["Documents"]))
        if seen >= {f"i{n}" for n in range(20)}:
            return
    raise AssertionError(f"only {len(seen)} seen")


def test_scopes(client, wide):
    for n in range(40):
        put(client, wide, f"i{n}", pk=str(n % 8))
    assert ids(read(client, wide, pk=["3"])[0]) == ["i3", "i11", "i19", "i27", "i35"]
    ranges = client.get(f"{wide}/pkranges").json["PartitionKeyRanges"]
    assert len(ranges) == 5
    parts = [read(client, wide, size=3, x_ms_documentdb_partitionkeyrangeid=one["id"]) for one in ranges]
    assert sorted(sum((ids(found) for found, _ in parts), [])) == sorted(f"i{n}" for n in range(40))
    # halves of a range by effective keys alone: together the range, nothing twice
    for one, (found, _) in zip(ranges, parts):
        low, high = one["minInclusive"] or "00", one["maxExclusive"]
        middle = f"{(int(low.ljust(32, '0'), 16) + int(high.ljust(32, '0'), 16)) // 2:032X}"
        halves = [read(client, wide, x_ms_start_epk=a, x_ms_end_epk=b)[0]
                  for a, b in ((one["minInclusive"], middle), (middle, high)) if a != b]
        assert sorted(sum(map(ids, halves), [])) == sorted(ids(found))
    etag = parts[0][1]
    answer = ask(client, wide, etag, x_ms_documentdb_partitionkeyrangeid="1")
    assert answer.status == 400 and "no position" in answer.json["message"]
    # a position of the whole container serves each of its ranges
    _, whole = read(client, wide)
    put(client, wide, "late", pk="3")
    late = [ids(read(client, wide, whole, x_ms_documentdb_partitionkeyrangeid=one["id"])[0]) for one in ranges]
    assert sorted(late) == [[], [], [], [], ["late"]]


def test_prefix_of_a_hierarchical_key(client, database):
    path = make_container(client, database, paths=("/a", "/b"))
    for a in "xy":
        for b in "12":
            body = {"id": a + b, "a": a, "b": b}
            assert client.post(f"{path}/docs", body, pk=[a, b]).status == 201
    assert ids(read(client, path, pk=["x"])[0]) == ["x1", "x2"]
    assert ids(read(client, path, pk=["y", "2"])[0]) == ["y2"]
    start = ask(client, path, "*", FULL).header("etag")
    client.delete(f"{path}/docs/x2", pk=["x", "2"])
    [change], _ = read(client, path, start, mode=FULL)
    assert change["metadata"]["partitionKey"] == {"a": "x", "b": "2"}


def test_a_transaction_is_never_cut(client, path):
    """Rule 2.1: page size 1 over batches of 100."""
    for batch in range(3):
        operations = [{"operationType": "Create", "resourceBody": {"id": f"{batch}-{n}", "pk": "p"}}
                      for n in range(100)]
        answer = client.post(f"{path}/docs", operations, pk=["p"], headers={
            "x-ms-cosmos-is-batch-request": "true", "x-ms-cosmos-batch-atomic": "true"})
        assert answer.status == 200, answer
        put(client, path, f"lone{batch}")
    etag, sizes = None, []
    while (answer := ask(client, path, etag, size=1)).status == 200:
        sizes.append(answer.json["_count"])
        assert len({one["_lsn"] for one in answer.json["Documents"]}) == 1
        etag = answer.header("etag")
    assert sizes == [100, 1] * 3


def test_many_replaced_versions(client, path):
    """More of them than a statement looks at: the feed passes over, and still ends."""
    put(client, path, "first")
    for n in range(1300):
        put(client, path, "often", n=n)
    put(client, path, "last")
    found, _ = read(client, path, size=10)
    assert ids(found) == ["first", "often", "last"] and found[1]["n"] == 1299


def test_expired_items_vanish_from_latest(client, database):
    path = make_container(client, database, defaultTtl=-1)
    put(client, path, "stays")
    put(client, path, "goes", ttl=1)
    deadline = time.monotonic() + 30
    while client.get(f"{path}/docs/goes", pk=["p"]).status == 200 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert ids(read(client, path)[0]) == ["stays"]


def test_all_versions_and_deletes(client, path):
    put(client, path, "before")
    answer = ask(client, path, "*", FULL)
    assert answer.status == 304
    start = answer.header("etag")
    first = put(client, path, "a", n=1).json
    second = put(client, path, "a", n=2).json
    assert client.delete(f"{path}/docs/a", pk=["p"]).status == 204
    third = put(client, path, "a", n=3).json
    for size in (None, 1):
        found, _ = read(client, path, start, mode=FULL, size=size)
        assert [one["metadata"]["operationType"] for one in found] == ["create", "replace", "delete", "create"]
        assert [one["metadata"]["lsn"] for one in found] == [2, 3, 4, 5]
        assert [one["metadata"].get("previousImageLSN") for one in found] == [None, 2, 3, None]
        assert found[0]["current"] == first and "previous" not in found[0]
        assert found[1]["current"] == second and found[1]["previous"] == first
        assert found[2]["current"] == {} and found[2]["previous"] == second
        assert found[2]["metadata"]["id"] == "a" and found[2]["metadata"]["partitionKey"] == {"pk": "p"}
        assert "timeToLiveExpired" not in found[2]["metadata"]
        assert found[3]["current"] == third and "previous" not in found[3]
        assert all(isinstance(one["metadata"]["crts"], int) for one in found)


def test_expiry_is_a_delete_of_its_own_kind(client, database):
    path = make_container(client, database, defaultTtl=-1)
    start = ask(client, path, "*", FULL).header("etag")
    put(client, path, "goes", ttl=1)
    deadline, found = time.monotonic() + 90, []
    while len(found) < 2 and time.monotonic() < deadline:  # upkeep expires in its own time
        found, _ = read(client, path, start, mode=FULL)
        time.sleep(0.1)
    assert [one["metadata"]["operationType"] for one in found] == ["create", "delete"]
    assert found[1]["metadata"]["timeToLiveExpired"] is True
    assert found[1]["previous"]["id"] == "goes"


def test_scope_of_all_versions(client, wide):
    start = ask(client, wide, "*", FULL).header("etag")
    for n in range(20):
        put(client, wide, f"i{n}", pk=str(n % 4))
    found, _ = read(client, wide, start, mode=FULL, pk=["2"])
    assert [one["current"]["id"] for one in found] == ["i2", "i6", "i10", "i14", "i18"]


@pytest.mark.parametrize("headers, why", [
    ({"a-im": "Decremental Feed"}, "neither"),
    ({"a-im": LATEST, "if-none-match": '"28"'}, "not an etag of the change feed"),
    ({"a-im": LATEST, "if-none-match": '"1;abc;0;0:1.5"'}, "not an etag of the change feed"),
    ({"a-im": LATEST, "if-none-match": '"1;abc;0;0:1.5:-1"'}, "not an etag of the change feed"),
    ({"a-im": LATEST, "if-none-match": '"1;abc;0;0:1.5:' + "1," * 300 + '1"'}, "not an etag of the change feed"),
    ({"a-im": LATEST, "if-none-match": '"1;abc;0;0:1.5:5"'}, "another container"),
    ({"a-im": LATEST, "if-modified-since": "yesterday"}, "RFC 1123"),
    ({"a-im": FULL}, "begins now"),
    ({"a-im": FULL, "if-modified-since": "Mon, 23 Nov 2026 07:01:14 GMT"}, "begins now"),
])
def test_wrong_input(client, path, headers, why):
    answer = client.get(f"{path}/docs", headers=headers)
    assert answer.status == 400 and why in answer.json["message"], answer


def test_the_strategy_default_stands_beside_a_level(client, path):
    """The Java SDK sends both with every page."""
    level = {"x_ms_consistency_level": "Session"}
    assert ask(client, path, x_ms_cosmos_read_consistency_strategy="Default", **level).status == 304
    answer = ask(client, path, x_ms_cosmos_read_consistency_strategy="Eventual", **level)
    assert answer.status == 400 and "exclude each other" in answer.json["message"]


def test_a_container_made_again_refuses_the_old_etag(client, database, path):
    put(client, path, "a")
    _, etag = read(client, path)
    assert client.delete(path).status == 204
    name = path.rsplit("/", 1)[1]
    assert client.post(f"{database}/colls", {
        "id": name, "partitionKey": {"paths": ["/pk"], "kind": "Hash", "version": 2}}).status == 201
    answer = ask(client, path, etag)
    assert answer.status == 400 and "another container" in answer.json["message"]


def test_readers_see_every_change_in_order_under_writes(gateway, client, wide):
    """Writers on all ranges, a reader in pages of 5: no gap, no reorder within a key, none twice at one LSN."""
    writers, rounds = 4, 60
    done = threading.Event()

    def write(writer):
        mine = gateway.client()
        for n in range(rounds):
            put(mine, wide, f"w{writer}-{n}", pk=str(writer), n=n)
            put(mine, wide, f"hot{writer}", pk=str(writer), n=n)
        mine.close()

    def follow():
        mine, etag, seen = gateway.client(), None, []
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            last = done.is_set()
            answer = ask(mine, wide, etag, size=5)
            etag = answer.header("etag")
            if answer.status == 200:
                seen.extend((one["id"], one["n"]) for one in answer.json["Documents"])
            elif last:
                return seen
        raise AssertionError("the reader did not come to the end")

    with concurrent.futures.ThreadPoolExecutor(writers + 1) as pool:
        reader = pool.submit(follow)
        for future in [pool.submit(write, writer) for writer in range(writers)]:
            future.result(timeout=120)
        done.set()
        seen = reader.result(timeout=120)
    for writer in range(writers):
        assert [n for id, n in seen if id.startswith(f"w{writer}-")] == list(range(rounds))
        hot = [n for id, n in seen if id == f"hot{writer}"]
        assert hot == sorted(set(hot)) and hot[-1] == rounds - 1
