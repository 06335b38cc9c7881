"""Strong and Bounded staleness over several regions: when a write is acknowledged, which reads are answered, and what
happens when a region is cut off."""

import concurrent.futures
import os
import pty
import subprocess
import threading
import time

import pytest
from support.account import Account, wait_for
from support.gateway import environment, program

LEASE_MS = 1000
FIRST_S = 30  # until all regions have joined the strong set


def members(account, hub=1):
    return dict(account.region(hub).sql("select region, state from orrery.strong_set"))


def wait_joined(account, hub=1):
    def missing():
        found = members(account, hub)
        wanted = {region.ordinal for region in account.regions} - {hub}
        return None if all(found.get(one) == "in" for one in wanted) else f"the strong set is {found}"
    wait_for(missing, FIRST_S)


class Table:
    """A container of the account, seen from each region."""

    def __init__(self, account, name="c"):
        self.account = account
        self.path = f"/dbs/d/colls/{name}"
        self.clients = [region.client() for region in account.regions]
        hub = self.clients[0]
        assert hub.post("/dbs", {"id": "d"}).status in (201, 409)
        answer = hub.post("/dbs/d/colls", {"id": name, "partitionKey": {"paths": ["/pk"], "kind": "Hash", "version": 2}})
        assert answer.status == 201, answer
        self.range_id, = account.region(1).sql("select max(range_id) from orrery.ranges")[0]

    def put(self, name, value, client=None):
        return (client or self.clients[0]).post(f"{self.path}/docs", {"id": name, "pk": "p", "v": value}, pk=["p"],
                                                headers={"x-ms-documentdb-is-upsert": "True"})

    def get(self, region, name, level=None, client=None):
        headers = {"x-ms-consistency-level": level} if level else {}
        return (client or self.clients[region - 1]).get(f"{self.path}/docs/{name}", pk=["p"], headers=headers)

    def close(self):
        for client in self.clients:
            client.close()


@pytest.fixture(scope="module")
def strong():
    with Account(regions=3, level="Strong", lease_ms=LEASE_MS) as account:
        wait_joined(account)
        yield account


@pytest.fixture
def table(strong, request):
    strong.heal()
    wait_joined(strong)
    found = Table(strong, f"c{abs(hash(request.node.name)) % 10**9}")
    yield found
    found.close()
    strong.heal()


def test_a_strong_write_is_everywhere_when_it_is_acknowledged(strong, table):
    for n in range(20):
        answer = table.put("i", n)
        assert answer.status in (200, 201), answer
        for region in strong.regions:
            vector, = region.sql("select vector from orrery.ranges where range_id = %s", [table.range_id])[0]
            assert vector[0] >= n + 1, (region.name, n, vector)
        for region in (1, 2, 3):
            read = table.get(region, "i")
            assert read.status == 200 and read.json["v"] == n, (region, n, read)


def test_reads_of_all_kinds_are_answered_in_every_region(strong, table):
    for n in range(3):
        assert table.put(f"i{n}", n).status == 201
    query = {"content-type": "application/query+json", "x-ms-documentdb-isquery": "True",
             "x-ms-documentdb-query-enablecrosspartition": "True"}
    batch = {"x-ms-cosmos-is-batch-request": "True", "x-ms-cosmos-batch-atomic": "True"}
    for client in table.clients:
        docs = f"{table.path}/docs"
        answer = client.post(docs, {"query": "SELECT VALUE COUNT(1) FROM c"}, headers=query)
        assert answer.status == 200 and answer.json["Documents"] == [3], answer
        answer = client.post(docs, {"query": "SELECT * FROM c ORDER BY c.v"}, headers=query)
        assert answer.status == 200 and [one["v"] for one in answer.json["Documents"]] == [0, 1, 2]
        assert client.get(docs).json["_count"] == 3
        assert client.get(docs, headers={"a-im": "Incremental Feed"}).json["_count"] == 3
        assert client.get(f"{docs}/none", pk=["p"]).status == 404
    reading = [{"operationType": "Read", "id": "i1", "partitionKey": '["p"]'}]  # a batch is a write to the region that takes it
    answer = table.clients[0].post(f"{table.path}/docs", reading, pk=["p"], headers=batch)
    assert answer.status == 200 and answer.json[0]["statusCode"] == 200, answer


def test_a_read_never_goes_back(strong, table):
    """One writer, readers in all regions: what one read saw, no later read anywhere misses."""
    stop, seen, errors = threading.Event(), [0], []
    lock = threading.Lock()

    def read(region):
        client = strong.region(region).client()
        while not stop.is_set():
            with lock:
                floor = seen[0]
            answer = table.get(region, "i", client=client)
            value = answer.json["v"] if answer.status == 200 else -1
            if answer.status in (404, 200) and value < floor - 1:
                errors.append((region, floor, answer))
            with lock:
                seen[0] = max(seen[0], value + 1)
        client.close()

    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        readers = [pool.submit(read, 1 + n % 3) for n in range(6)]
        for n in range(60):
            assert table.put("i", n).status in (200, 201)
            with lock:
                seen[0] = max(seen[0], n + 1)
        stop.set()
        for reader in readers:
            reader.result()
    assert not errors, errors[:3]


def test_a_region_that_is_cut_off_stops_reading_before_writes_go_on_without_it(strong, table):
    assert table.put("i", 0).status == 201
    assert table.get(3, "i").status == 200
    strong.isolate(3)
    begun = time.monotonic()
    answer = table.put("i", 1)  # waits until region 3 has left
    took = time.monotonic() - begun
    assert answer.status == 200 and took > LEASE_MS / 1000, (answer, took)
    assert members(strong)[3] == "out"
    read = table.get(3, "i")
    assert read.status == 503, read  # and never the older version
    assert table.get(3, "i", "Eventual").json["v"] == 0
    assert table.get(2, "i").json["v"] == 1
    strong.heal()
    wait_joined(strong)
    assert table.get(3, "i").json["v"] == 1


def test_a_hub_that_is_cut_off_answers_nothing_strong(strong, table):
    assert table.put("i", 0).status == 201
    strong.isolate(1)
    time.sleep(1.5 * LEASE_MS / 1000)
    client = strong.region(1).client()
    assert table.get(1, "i").status == 503
    assert table.get(1, "i", "Session").json["v"] == 0
    client.close()
    assert table.get(2, "i").status == 503  # no lease without the hub
    strong.heal()
    wait_joined(strong)
    assert table.get(2, "i").status == 200


def test_a_hub_whose_own_region_is_to_follow_another_answers_nothing_strong(strong, table):
    """The other that it hears may go on promising to follow it, since it has not heard of that yet: they are two of three."""
    assert table.put("i", 0).status == 201
    hub = strong.region(1)
    strong.isolate(3)
    client = hub.client()

    def promises():
        return {one["region"]: one["secondsLeft"] > 0 for one in client.get("/status").json["replication"]["promises"]}
    wait_for(lambda: None if promises() == {"East US": True, "North Europe": False} else promises(), FIRST_S)
    assert table.get(1, "i").status == 200
    hub.sql("update orrery.region_self set closed_for = accepted_epoch + 256")
    try:
        wait_for(lambda: None if table.get(1, "i").status == 503 else "it goes on", FIRST_S)
        assert promises()["East US"] and table.get(1, "i", "Session").json["v"] == 0
    finally:
        hub.sql("update orrery.region_self set closed_for = null")
        client.close()
    strong.heal()
    wait_joined(strong)
    assert table.get(1, "i").status == 200


def metrics(region):
    client = region.client()
    lines = client.get("/metrics").body.decode().splitlines()
    client.close()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))}


def watch(account, wanted, deadline_s=60):
    """`orrery account status --watch` in a terminal, until a second screen has all that is wanted."""
    ours, its = pty.openpty()
    process = subprocess.Popen([program(), "account", "--endpoint", account.region(1).gateways[0].http, "status", "--watch"],
                               env=environment(), stdin=its, stdout=its, stderr=its, close_fds=True)
    os.close(its)
    end, seen = time.monotonic() + deadline_s, b""
    try:
        while True:
            seen += os.read(ours, 65536)
            screens = seen.decode(errors="replace").split("\033[H\033[2J")[2:]
            if any(all(words in screen for words in wanted) for screen in screens):
                return
            assert time.monotonic() < end, seen.decode(errors="replace")
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def test_who_looks_sees_how_the_regions_stand(strong, table):
    """/status, /metrics and the table, while all is well and while a region is cut off."""
    assert table.put("i", 0).status == 201
    lag = 'orrery_replication_lag_seconds{source="North Europe",target="West US"}'
    heard = 'orrery_replication_heard{source="North Europe",target="West US"}'

    def unwell():
        found = metrics(strong.region(1))
        set_ = {name: value for name, value in found.items() if name.startswith("orrery_strong_set")}
        promised = [found.get(f'orrery_promise_seconds{{region="{name}"}}', 0) for name in ("East US", "North Europe")]
        is_well = (found.get(heard) == 1 and all(0 < left <= LEASE_MS / 1000 for left in promised) and found[lag] < 3 and found["orrery_lease_seconds"] > 0 and found["orrery_epoch"] == 257
                   and set_ == {f'orrery_strong_set{{region="{name}",state="in"}}': 1 for name in ("East US", "North Europe")})
        return None if is_well else f"{found}"
    wait_for(unwell, 60)
    told = strong.region(2).gateways[0].status()["replication"]
    assert 0 < told["leaseSeconds"] <= LEASE_MS / 1000 and told["strongSet"] == [] and told["epoch"] == 257, told
    assert {peer["region"] for peer in told["peers"]} == {"West US", "North Europe"}, told
    assert told["promises"] == [], "it is not the hub"

    def miscounted():
        whole, trimmed = strong.region(1).sql("select sum(head - horizon)::int, sum(horizon)::int from orrery.log_state")[0]
        found = metrics(strong.region(1))
        counted = found.get("orrery_log_entries"), found.get("orrery_log_trimmed_entries"), found.get("orrery_conflicts")
        return None if counted == (whole, trimmed, 0) and whole > 0 else f"{counted}, not {whole, trimmed}"
    wait_for(miscounted, 60)
    watch(strong, ["North Europe in", "-> West US", "conflicts: 0", "leases: ", "; promised by East US ", "to PostgreSQL: read 0 waiting "])

    strong.isolate(3)
    wait_for(lambda: None if (now := metrics(strong.region(1)))[lag] > 4 and now[heard] == 0 else f"{now[lag]}", 60)
    watch(strong, ["North Europe out", "0? ", ", North Europe 0.000 s"])
    told = {one["region"]: one["secondsLeft"] for one in strong.region(1).gateways[0].status()["replication"]["promises"]}
    assert told.keys() == {"East US", "North Europe"} and told["East US"] > 0 == told["North Europe"], told
    strong.heal()
    wait_joined(strong)
    wait_for(unwell, 60)


def test_requests_may_weaken_and_never_strengthen(strong, table):
    assert table.put("i", 0).status == 201
    for level in ("BoundedStaleness", "Session", "ConsistentPrefix", "Eventual"):
        assert table.get(2, "i", level).status == 200
    for strategy, status in (("GlobalStrong", 200), ("LatestCommitted", 200), ("Session", 200), ("Quantum", 400)):
        answer = table.clients[1].get(f"{table.path}/docs/i", pk=["p"],
                                      headers={"x-ms-cosmos-read-consistency-strategy": strategy})
        assert answer.status == status, (strategy, answer)


def test_two_gateways_of_each_region():
    with Account(regions=3, gateways=2, level="Strong", lease_ms=LEASE_MS) as account:
        wait_joined(account)
        table = Table(account)
        clients = [region.client(gateway=n) for region in account.regions for n in (0, 1)]
        took = []
        for n in range(10):
            begun = time.monotonic()
            assert table.put("i", n, client=clients[n % 2]).status in (200, 201)
            took.append(time.monotonic() - begun)
            for client in clients:
                answer = table.get(0, "i", client=client)
                assert answer.status == 200 and answer.json["v"] == n, answer
        assert sorted(took)[5] < 0.5, took
        for client in clients:
            client.close()
        table.close()


@pytest.fixture(scope="module")
def bounded():
    with Account(regions=3, level="BoundedStaleness", bounded=(10, 5), lease_ms=4000) as account:
        wait_joined(account)
        yield account


def test_bounded_staleness_holds_writes_to_k_versions(bounded):
    table = Table(bounded, "versions")
    for n in range(30):
        assert table.put("i", n).status in (200, 201), n
    wait_for(lambda: None if table.get(3, "i").status == 200 else "no read in region 3", 10)
    bounded.isolate(3)
    answers = [table.put("i", n) for n in range(100, 125)]
    statuses = [answer.status for answer in answers]
    assert 429 in statuses, statuses
    refused = answers[statuses.index(429)]
    assert refused.header("x-ms-retry-after-ms")
    head, = bounded.region(1).sql("select vector[1] from orrery.ranges where range_id = %s", [table.range_id])[0]
    there, = bounded.region(3).sql("select vector[1] from orrery.ranges where range_id = %s", [table.range_id])[0]
    assert head - there <= 10, (head, there)
    # The region leaves the set, and writes go on; it answers no read that might be staler than T.
    wait_for(lambda: None if table.put("i", 1000).status == 200 else "writes are refused", 30)
    assert members(bounded)[3] == "out"
    wait_for(lambda: None if table.get(3, "i").status == 503 else "region 3 answers", 15)
    bounded.heal()
    wait_joined(bounded)
    wait_for(lambda: None if table.get(3, "i").status == 200 else "region 3 does not answer", 15)
    table.close()
