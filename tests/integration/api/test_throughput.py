"""Throughput that is enforced: 429 when it is used up, with the time to wait; nothing of it without the flag."""

import json
import time
import uuid

import pytest
from support.gateway import Gateway

UPSERT = {"x-ms-documentdb-is-upsert": "True"}
RATE_TOO_LARGE = 3200


@pytest.fixture(scope="module")
def strict(postgres):
    """Two loops share what is left of a container's throughput."""
    with Gateway(postgres, args=["--enforce-throughput", "--threads", "2"]) as running:
        yield running


def make(client, container_headers, database_headers=None):
    name = f"t-{uuid.uuid4().hex[:12]}"
    answer = client.post("/dbs", {"id": name}, headers=database_headers or {})
    assert answer.status == 201, answer
    answer = client.post(
        f"/dbs/{name}/colls", {"id": "c", "partitionKey": {"paths": ["/pk"], "kind": "Hash", "version": 2}},
        headers=container_headers)
    assert answer.status == 201, answer
    return f"/dbs/{name}/colls/c"


def upsert(client, path, pad_bytes=8000):
    return client.post(f"{path}/docs", {"id": "one", "pk": "k", "pad": "x" * pad_bytes},
                       headers={**UPSERT, "x-ms-documentdb-partitionkey": json.dumps(["k"])})


def hammer(clients, path, seconds):
    """Units that were spent, and the refusals."""
    spent, refused = 0.0, []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for client in clients:
            answer = upsert(client, path)
            if answer.status == 429:
                refused.append(answer)
            else:
                assert answer.status in (200, 201), answer
                spent += float(answer.header("x-ms-request-charge"))
    return spent, refused


def assert_refused(answer):
    assert answer.status == 429, answer
    assert answer.substatus == RATE_TOO_LARGE, answer
    assert answer.json["message"], answer
    assert 0 < int(answer.header("x-ms-retry-after-ms")) <= 2000
    assert float(answer.header("x-ms-request-charge")) == 0


def exhaust(client, path):
    for _ in range(2000):
        answer = upsert(client, path)
        if answer.status == 429:
            return answer
        assert answer.status in (200, 201), answer
    raise AssertionError("never refused")


def assert_recovers(client, path, answer):
    time.sleep(int(answer.header("x-ms-retry-after-ms")) / 1000)
    assert upsert(client, path).status in (200, 201)


def test_container_is_held_to_its_throughput(strict):
    clients = [strict.client() for _ in range(4)]
    path = make(clients[0], {"x-ms-offer-throughput": "400"})
    spent, refused = hammer(clients, path, 3)
    assert refused
    for answer in refused:
        assert_refused(answer)
    # One second's worth was saved up, three came; each client may overdraw by one request.
    assert 400 <= spent <= 400 * 4.2 + 4 * 10, spent
    assert_recovers(clients[0], path, exhaust(clients[0], path))
    for client in clients:
        client.close()


def test_every_operation_on_items_is_held(strict):
    client = strict.client()
    path = make(client, {"x-ms-offer-throughput": "400"})
    key = {"x-ms-documentdb-partitionkey": json.dumps(["k"])}
    exhaust(client, path)
    for ask in (lambda: client.get(f"{path}/docs/one", headers=key), lambda: client.get(f"{path}/docs", headers=key)):
        for _ in range(200):
            answer = ask()
            if answer.status == 429:
                break
            assert answer.status == 200, answer
            exhaust(client, path)
        assert_refused(answer)
    assert client.get(path).status == 200  # definitions are not the container's throughput
    client.close()


def test_database_shares_its_throughput(strict):
    client = strict.client()
    path = make(client, {}, {"x-ms-offer-throughput": "400"})
    other = path[: path.rindex("/")] + "/d"
    answer = client.post(path[: path.rindex("/")],
                         {"id": "d", "partitionKey": {"paths": ["/pk"], "kind": "Hash", "version": 2}})
    assert answer.status == 201, answer
    upsert(client, other)
    for _ in range(200):
        exhaust(client, path)
        answer = upsert(client, other)
        if answer.status == 429:
            break
    assert_refused(answer)
    client.close()


def raise_throughput(client, path, ru):
    self_link = client.get(path).json["_self"]
    offer = next(o for o in client.get("/offers", headers={"x-ms-max-item-count": "-1"}).json["Offers"]
                 if o["resource"] == self_link)
    offer["content"]["offerThroughput"] = ru
    answer = client.put(f"/offers/{offer['_rid']}", offer)
    assert answer.status == 200, answer


def assert_lives_on(client, path, ru):
    """A request that costs more than 400 units is paid within half a second and the next may come at once."""
    upsert(client, path, 1_950_000)
    time.sleep(1.1)
    answer = upsert(client, path, 1_950_000)
    assert answer.status == 200, answer
    cost = float(answer.header("x-ms-request-charge"))
    assert cost > 800, cost  # more than the second that 400 units have saved, and one more
    time.sleep(cost / ru)
    assert upsert(client, path, 1_950_000).status == 200


def test_raised_throughput_counts_soon(strict):
    client = strict.client()
    path = make(client, {"x-ms-offer-throughput": "400"})
    exhaust(client, path)
    raise_throughput(client, path, 10000)
    time.sleep(3.5)  # what is known of a container's throughput is at most three seconds old
    assert_lives_on(client, path, 10000)
    client.close()


def test_each_gateway_enforces_by_itself_what_any_gateway_sets(strict, postgres):
    """docs/architecture.md: buckets are not shared, offers are."""
    with Gateway(postgres, args=["--enforce-throughput"]) as other:
        here, there = strict.client(), other.client()
        path = make(here, {"x-ms-offer-throughput": "400"})
        while True:  # a debt that is not paid soon: what is refused here is taken there
            answer = upsert(here, path, 1_950_000)
            if answer.status == 429:
                break
        assert upsert(there, path).status == 200
        assert upsert(here, path).status == 429
        assert_refused(exhaust(there, path))
        raise_throughput(here, path, 10000)
        time.sleep(3.5)
        assert_lives_on(there, path, 10000)
        assert_lives_on(here, path, 10000)
        here.close()
        there.close()


def test_nothing_is_refused_without_the_flag(gateway):
    client = gateway.client()
    path = make(client, {"x-ms-offer-throughput": "400"})
    for _ in range(200):
        assert upsert(client, path).status in (200, 201)
    client.close()
