"""Faults on demand: the control interface in an account of several regions, and what clients then see."""

import contextlib
import pathlib
import shlex
import subprocess
import time

import pytest
from support import wire
from support.account import Account
from support.gateway import Gateway
from support.postgres import Postgres

FAULTS = "/_orrery/faults"
PAGE = pathlib.Path(__file__).resolve().parents[3] / "docs" / "faults.md"


@pytest.fixture(scope="module")
def account():
    with Account(regions=3, args=["--allow-faults"]) as running:
        client = running.region(1).client()
        assert client.post("/dbs", {"id": "d"}).status == 201
        for name in ("c", "other"):
            assert client.post("/dbs/d/colls", {"id": name, "partitionKey": {"paths": ["/pk"], "kind": "Hash", "version": 2},
                                                "defaultTtl": -1}).status == 201
        assert client.post("/dbs/d/colls/c/docs", {"id": "1", "pk": "p"}, pk=["p"]).status == 201
        client.close()
        yield running


@pytest.fixture
def clients(account):
    opened = [region.client() for region in account.regions]
    yield opened
    assert opened[0].delete(FAULTS).status == 200
    for client in opened:
        client.close()


def order(client, expected=201, /, **members):
    answer = client.post(FAULTS, members)
    assert answer.status == expected, answer
    assert answer.json["unreached"] == []
    return answer.json


def listed(client):
    answer = client.get(FAULTS)
    assert answer.status == 200, answer
    return answer.json["faults"]


def read(client, container="c"):
    return client.get(f"/dbs/d/colls/{container}/docs/1", pk=["p"])


def write(client, id="2", container="c", **members):
    return client.post(f"/dbs/d/colls/{container}/docs", {"id": id, "pk": "p", **members}, pk=["p"],
                       headers={"x-ms-documentdb-is-upsert": "true"})


def query(client, container="c"):
    return client.post(f"/dbs/d/colls/{container}/docs", {"query": "SELECT * FROM c"}, pk=["p"], headers={
        "x-ms-documentdb-isquery": "true", "content-type": "application/query+json"})


def test_one_order_reaches_every_region(clients):
    made = order(clients[1], kind="link", **{"from": "west us"}, to="North Europe", delayMs=30, jitterMs=5, seed=1)["fault"]
    assert made == {"id": made["id"], "kind": "link", "from": "West US", "to": "North Europe", "oneWay": False,
                    "delayMs": 30, "jitterMs": 5}
    paused = order(clients[2], kind="pause", region="East US")["fault"]
    for client in clients:
        assert listed(client) == [made, paused]
    assert order(clients[0], 200, kind="clear", id=made["id"]) == {"cleared": 1, "unreached": []}
    for client in clients:
        assert listed(client) == [paused]
    assert order(clients[0], 200, kind="clear", id=made["id"])["cleared"] == 0
    assert clients[1].delete(FAULTS).json == {"cleared": 1, "unreached": []}
    for client in clients:
        assert listed(client) == []


def test_an_order_under_a_known_id_replaces_it(clients):
    made = order(clients[0], kind="link", delayMs=30)["fault"]
    order(clients[2], **{**made, "delayMs": 60})
    for client in clients:
        assert listed(client) == [{**made, "delayMs": 60}]


def test_who_is_not_reached_is_named(account, clients):
    gateway = account.region(3).gateways[0]
    gateway.kill9()
    try:
        answer = clients[0].post(FAULTS, {"kind": "pause"})
        assert answer.status == 201
        assert [one["region"] for one in answer.json["unreached"]] == ["North Europe"] and answer.json["unreached"][0]["why"]
    finally:
        gateway.start()
    assert listed(clients[2]) == []  # they end with the process
    assert len(listed(clients[1])) == 1


def test_a_cut_link_lets_orders_through(clients):
    order(clients[0], kind="link", cut=True)
    assert order(clients[1], 200, kind="clear")["cleared"] == 1
    for client in clients:
        assert listed(client) == []


@pytest.mark.parametrize("region", [1, 2])
def test_the_next_requests_are_refused(clients, region):
    here, elsewhere = clients[region - 1], clients[2 - region]
    name = ["West US", "East US"][region - 1]
    before = read(here).status
    order(clients[2], kind="refuse", region=name, requests="reads", status=429, substatus=3200, retryAfterMs=20, count=2)
    assert query(here).status in (200, 404)  # a query is no read, and the count is kept for reads
    assert read(elsewhere).status != 429
    for left in (2, 1):
        assert [one["count"] for one in listed(here)] == [left]
        answer = read(here)
        assert (answer.status, answer.substatus, answer.header("x-ms-retry-after-ms")) == (429, 3200, "20")
        assert "fault on demand" in answer.json["message"]
    assert read(here).status == before and listed(here) == []


@pytest.mark.parametrize("status, substatus", [(503, 0), (410, 1002), (449, 0), (403, 3), (404, 1002), (408, 0), (429, 3200)])
def test_statuses(clients, status, substatus):
    order(clients[0], kind="refuse", status=status, substatus=substatus)
    answer = read(clients[0])
    assert answer.status == status and int(answer.substatus or 0) == substatus
    assert read(clients[0]).status == 200


def test_kinds_of_requests(clients):
    client = clients[0]
    calls = {"reads": [read, lambda c: c.get("/dbs/d/colls/c/docs")],
             "writes": [write, lambda c: c.patch("/dbs/d/colls/c/docs/1", {"operations": [{"op": "set", "path": "/a", "value": 1}]}, pk=["p"])],
             "queries": [query],
             "metadata": [lambda c: c.get("/"), lambda c: c.get("/dbs/d/colls/c"), lambda c: c.get("/dbs/d/colls/c/pkranges")]}
    for kind, mine in calls.items():
        order(client, kind="refuse", requests=kind, status=503, count=1000)
        for other, theirs in calls.items():
            for call in theirs:
                assert (call(client).status == 503) == (other == kind), (kind, other)
        assert client.get("/status", sign=False).status == 200
        order(client, 200, kind="clear")
    order(client, kind="refuse", status=503, count=1000)
    for mine in calls.values():
        for call in mine:
            assert call(client).status == 503
    assert len(listed(client)) == 1


def test_one_container_only(clients):
    client = clients[0]
    order(client, kind="refuse", container="d/c", status=503, count=2)
    assert write(client, container="other").status == 201 or write(client, container="other").status == 200
    assert write(client).status == read(client).status == 503
    assert write(client).status in (200, 201)


def test_a_write_may_be_done_and_not_acknowledged(clients):
    client = clients[0]
    order(client, kind="refuse", requests="writes", status=408, after=True)
    answer = write(client, id="after", n=7)
    assert answer.status == 408 and answer.header("x-ms-session-token") is None and answer.header("etag") is None
    assert client.get("/dbs/d/colls/c/docs/after", pk=["p"]).json["n"] == 7
    order(client, kind="refuse", requests="writes", status=503)
    assert write(client, id="before").status == 503
    assert client.get("/dbs/d/colls/c/docs/before", pk=["p"]).status == 404


@pytest.mark.parametrize("hours", [1, -1])
def test_the_clock_of_items_is_set_wrong(clients, hours):
    client = clients[0]
    now = time.time()
    order(clients[1], kind="clock", region=1, skewMs=hours * 3600_000)
    order(clients[1], kind="clock", region=2, skewMs=7)
    wrong = write(client, id=f"clock {hours}").json["_ts"]
    assert abs(wrong - (now + hours * 3600)) < 60
    # lifetimes follow it, signatures do not
    lives = write(client, id=f"short {hours}", ttl=1800)
    assert lives.status in (200, 201)
    order(client, 200, kind="clear")
    path = f"/dbs/d/colls/c/docs/short%20{hours}"
    assert client.get(path, pk=["p"]).status == (200 if hours > 0 else 404)
    # a version never looks older than the one that it replaces
    again = write(client, id=f"clock {hours}").json["_ts"]
    assert again == max(wrong, again) and (hours > 0) == (again == wrong)


WRONG = [({"kind": "storm"}, "kind"), ({"kind": "link"}, "cut"), ({"kind": "link", "cut": True, "to": "Mars"}, "Mars"),
         ({"kind": "refuse", "status": 200}, "status"), ({"kind": "refuse", "status": 429, "substatus": 3}, "substatus"),
         ({"kind": "refuse", "status": 429, "how": "gently"}, "how"), ({"kind": "clock"}, "skewMs"),
         ({"kind": "pause", "region": 9}, "region"), ({"kind": "link", "drop": 1.5}, "drop")]


@pytest.mark.parametrize("body, culprit", WRONG)
def test_wrong_orders_name_the_member(clients, body, culprit):
    answer = clients[1].post(FAULTS, body)
    assert answer.status == 400 and culprit in answer.json["message"], answer
    assert listed(clients[1]) == []


def test_there_is_a_most(clients):
    for _ in range(64):
        assert clients[0].post(FAULTS, {"kind": "pause", "relayed": True}).status == 201
    answer = clients[0].post(FAULTS, {"kind": "pause", "relayed": True})
    assert answer.status == 400 and "64" in answer.json["message"]
    assert clients[0].delete(FAULTS).json["cleared"] == 64


def test_only_the_account_s_keys_open_it(account, clients):
    stranger = wire.Client(account.region(1).gateways[0].http, key="YSBzdHJhbmdlcidzIGtleSwgbG9uZyBlbm91Z2g=")
    with contextlib.closing(stranger):
        for call in (lambda c, **o: c.get(FAULTS, **o), lambda c, **o: c.post(FAULTS, {"kind": "pause"}, **o),
                     lambda c, **o: c.delete(FAULTS, **o)):
            assert call(stranger).status == call(stranger, sign=False).status == 401
    assert clients[0].put(FAULTS, {}).status == 405
    assert listed(clients[0]) == []


def test_read_only_keys_do_not(tmp_path):
    keys = tmp_path / "keys"
    keys.write_text(f"primary={wire.KEY}\nprimary-readonly=cmVhZCBvbmx5IGtleSBvZiB0ZXN0cw==\n")
    with Postgres() as postgres, Gateway(postgres, args=["--allow-faults", "--key-file", str(keys)]) as gateway:
        with contextlib.closing(gateway.client(key="cmVhZCBvbmx5IGtleSBvZiB0ZXN0cw==")) as reader, contextlib.closing(gateway.client()) as owner:
            assert reader.get("/dbs").status == 200
            assert reader.get(FAULTS).status == reader.post(FAULTS, {"kind": "pause"}).status == reader.delete(FAULTS).status == 403
            assert order(owner, kind="refuse", status=503)["fault"]["region"] == gateway.region
            assert owner.get("/dbs").status == 503 and owner.get("/dbs").status == 200


def test_it_is_off_unless_allowed():
    with Postgres() as postgres, Gateway(postgres) as gateway, contextlib.closing(gateway.client()) as client:
        for answer in (client.get(FAULTS), client.post(FAULTS, {"kind": "pause"}), client.delete(FAULTS)):
            assert answer.status == 403 and "--allow-faults" in answer.json["message"]


def test_the_page_s_one_liners():
    lines = [line.strip() for line in PAGE.read_text().splitlines() if line.startswith("    curl ")]
    assert len(lines) > 10
    with Account(regions=3, args=["--allow-faults", "--no-auth"], links=False) as account:
        address = account.region(1).gateways[0].http.removeprefix("http://")
        for line in lines:
            assert "localhost:8181" in line
            words = shlex.split(line.replace("localhost:8181", address))
            done = subprocess.run([*words, "-sS", "-w", "\n%{http_code}"], capture_output=True, text=True, timeout=30)
            body, status = done.stdout.rsplit("\n", 1)
            wanted = {"201"} if "-d" in words and "clear" not in line else {"200"}
            assert done.returncode == 0 and status in wanted, (line, body, status)
            assert "unreached" not in body or '"unreached":[]' in body
        with contextlib.closing(account.region(3).client()) as client:
            assert listed(client) == []


# ---- what links do to replication ----

def eventually(condition, what, timeout_s=20):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"{what} does not come true"
        time.sleep(0.02)


def arrives(clients, id, at, within_s=20):
    """Seconds until an item that is written now at the hub is seen at a satellite."""
    answer = write(clients[0], id=id)
    begun = time.monotonic()
    assert answer.status in (200, 201)
    eventually(lambda: clients[at].get(f"/dbs/d/colls/c/docs/{id}", pk=["p"]).status == 200, f"{id} in region {at + 1}", within_s)
    return time.monotonic() - begun


def stays_away(clients, id, at, for_s=1.5):
    assert write(clients[0], id=id).status in (200, 201)
    deadline = time.monotonic() + for_s
    while time.monotonic() < deadline:
        assert clients[at].get(f"/dbs/d/colls/c/docs/{id}", pk=["p"]).status == 404
        time.sleep(0.1)


def test_a_region_that_rests_falls_behind(clients):
    arrives(clients, "before-rest", 1)
    order(clients[0], kind="pause", region="East US")
    stays_away(clients, "rest", 1)
    eventually(lambda: clients[2].get("/dbs/d/colls/c/docs/rest", pk=["p"]).status == 200, "the other region goes on")
    order(clients[0], 200, kind="clear")
    eventually(lambda: clients[1].get("/dbs/d/colls/c/docs/rest", pk=["p"]).status == 200, "it catches up")


def test_a_cut_link_is_gone_round(clients):
    """West US and East US do not hear each other; North Europe relays."""
    order(clients[0], kind="link", **{"from": 1}, to=2, cut=True)
    arrives(clients, "round", 1)


def test_a_region_that_is_cut_off_gets_nothing_until_it_is_healed(clients):
    order(clients[0], kind="link", **{"from": "East US"}, cut=True)
    stays_away(clients, "cut-off", 1)
    assert arrives(clients, "not-cut-off", 2) < 5
    order(clients[0], 200, kind="clear")
    eventually(lambda: clients[1].get("/dbs/d/colls/c/docs/cut-off", pk=["p"]).status == 200, "it catches up")


@pytest.mark.parametrize("direction", [{"from": 1, "to": 2}, {"from": 2, "to": 1}])
def test_one_way_is_enough_to_stop_a_pull(clients, direction):
    """Without requests nothing is sent, and without answers nothing arrives."""
    order(clients[0], kind="link", **{"from": 3}, to=2, cut=True)
    order(clients[0], kind="link", **direction, oneWay=True, cut=True)
    stays_away(clients, f"one-way-{direction['from']}", 1)


def test_a_delay_is_seen(clients):
    quick = min(arrives(clients, f"quick-{n}", 1) for n in range(3))
    order(clients[0], kind="link", delayMs=400)
    slow = min(arrives(clients, f"slow-{n}", 1) for n in range(3))
    assert quick < 0.3 and slow >= 0.4, (quick, slow)


def test_a_bad_line_loses_nothing(account, clients):
    order(clients[0], kind="link", delayMs=5, jitterMs=20, drop=0.15, duplicate=0.3, reorder=0.3, seed=11)
    for n in range(60):
        assert write(clients[0], id=f"bad-line-{n % 20}", n=n).status in (200, 201)
    account.wait_converged(60)
    order(clients[0], 200, kind="clear")
    account.check()
    for client in clients:
        assert client.get("/dbs/d/colls/c/docs/bad-line-19", pk=["p"]).json["n"] == 59
