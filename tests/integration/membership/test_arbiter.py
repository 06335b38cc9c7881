"""Automatic failover: etcd says who may be the hub. Another region takes over by itself, and who was paused or cut off
acknowledges nothing more."""

import contextlib
import json
import subprocess
import threading
import time

import pytest
from support.account import Account, wait_for
from support.etcd import PASSWORD, USER, Authority, Etcd, encode
from support.gateway import environment, program

TTL_S = 6
SOON_S = 60
DOCS = "/dbs/d/colls/c/docs"
HUB, TOPOLOGY = "/orrery/orrery/hub", "/orrery/orrery/topology"


def ask(region, method, path, body=None, gateway=0, **more):
    client = region.client(gateway)
    try:
        return client.request(method, path, body, **more)
    finally:
        client.close()


def put(region, name, gateway=0):
    return ask(region, "POST", DOCS, {"id": str(name), "pk": "p"}, gateway, pk=["p"],
               headers={"x-ms-documentdb-is-upsert": "True"})


def said(answer):
    return answer.status, answer.headers.get("x-ms-substatus")


def writes(region, gateway=0):
    """Nothing when the region takes a write."""
    answer = put(region, "probe", gateway)
    return None if answer.status in (200, 201) else f"{region.name} answers {said(answer)}"


def refuses(region, gateway=0):
    answer = put(region, "probe", gateway)
    return None if said(answer) == (403, "3") else f"{region.name} answers {said(answer)}"


def arbiter(region, gateway=0):
    return region.gateways[gateway].status()["arbiter"]


def epochs(region):
    return region.sql("select max(epoch), count(*) from orrery.topology where state = 'open'")[0]


def prepare(account):
    hub = account.region(1)
    wait_for(lambda: None if ask(hub, "POST", "/dbs", {"id": "d"}).status == 201 else "the hub has no claim", SOON_S)
    made = ask(hub, "POST", "/dbs/d/colls", {"id": "c", "partitionKey": {"paths": ["/pk"], "kind": "Hash", "version": 2}})
    assert made.status == 201, made
    for gateway in range(len(hub.gateways)):
        wait_for(lambda: writes(hub, gateway), SOON_S)


class Writer:
    """Writes one item after the other, and knows which were acknowledged."""

    def __init__(self, region):
        self.region, self.acknowledged, self.is_over = region, [], threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self):
        number = 0
        while not self.is_over.is_set():
            number += 1
            with contextlib.suppress(OSError):
                if put(self.region, f"w{number}").status == 201:
                    self.acknowledged.append(f"w{number}")

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.is_over.set()
        self.thread.join(SOON_S)


def hub_is(account, ordinal, regions):
    """Nothing when the account says so in these regions."""
    wanted = account.region(ordinal).name
    for region in regions:
        found = ask(account.region(region), "GET", "/").json["writableLocations"][0]["name"]
        if found != wanted:
            return f"region {region} says that {found} is the hub"
    return None


def test_what_strong_has_acknowledged_outlives_the_hub():
    """One member of three leads and dies: nothing happens. The hub dies: the next region goes on by itself."""
    with Etcd(members=3) as etcd:
        with Account(regions=3, level="Strong", args=["--etcd", etcd.urls, "--etcd-ttl-s", str(TTL_S)]) as account:
            prepare(account)
            assert etcd.keys() == [HUB, TOPOLOGY]
            assert json.loads(etcd.get(HUB)) == {"ordinal": 1, "region": "West US", "vacant": True, "ttl": TTL_S}
            assert json.loads(etcd.get(TOPOLOGY))["epoch"] == 257
            etcd.kill9(etcd.leader())
            lived_until = time.monotonic() + 2 * TTL_S  # longer than a claim that nobody renews
            while time.monotonic() < lived_until:
                put(account.region(1), "probe")
            wait_for(lambda: writes(account.region(1)), SOON_S)
            assert epochs(account.region(1)) == (257, 1) and json.loads(etcd.get(HUB))["ordinal"] == 1
            told = account.command("status").stdout
            assert "arbiter: etcd, the claim is held by West US, here for " in told, told
            with Writer(account.region(1)) as writer:
                wait_for(lambda: None if len(writer.acknowledged) > 20 else "no writes", SOON_S)
                account.region(1).gateways[0].kill9()
            wait_for(lambda: hub_is(account, 2, (2, 3)), SOON_S)
            wait_for(lambda: writes(account.region(2)), SOON_S)
            for name in writer.acknowledged:
                assert ask(account.region(2), "GET", f"{DOCS}/{name}", pk=["p"]).status == 200, name
            assert json.loads(etcd.get(HUB))["ordinal"] == 2
            found = arbiter(account.region(2))
            assert (found["answers"], found["holder"], found["takeovers"]) == (True, "East US", 1) and found["marginSeconds"] > 0
            assert found["lastTakeover"]["planned"] is False and "possiblyLostEntries" in found["lastTakeover"]
            assert "this region takes over" in account.region(2).gateways[0].log()
            metrics = ask(account.region(2), "GET", "/metrics").body.decode()
            assert "orrery_arbiter_holds 1\n" in metrics and "orrery_arbiter_takeovers_total 1\n" in metrics
            account.wait_converged(regions=(2, 3))


def secure(link):
    return link.url.replace("http://", "https://")


@pytest.fixture(scope="module")
def cluster():
    """Each region has a link of its own to etcd, which speaks TLS, wants to see a certificate, and knows who may do what. Each has
    two gateways. Keys of other accounts are there too."""
    with Etcd(is_secure=True) as etcd:
        for name in ("orrery-2", "orrer", "orrery0"):
            etcd.ask("/v3/kv/put", {"key": encode(f"/orrery/{name}/hub"), "value": encode('{"ordinal":3}')})
        account = Account(regions=3, gateways=2)
        links = {region.ordinal: account.network.link(etcd.addresses) for region in account.regions}
        for region in account.regions:
            region.extra_args = ["--etcd", secure(links[region.ordinal]), "--etcd-ttl-s", str(TTL_S), *etcd.settings]
        with account:
            prepare(account)
            etcd.make_users()
            wait_for(lambda: writes(account.region(1)), SOON_S)
            yield account, etcd, links


def test_etcd_away_stops_writes_until_it_is_back(cluster):
    account, etcd, _ = cluster
    before = epochs(account.region(1))
    etcd.ask("/v3/auth/user/changepw", {"name": USER, "password": PASSWORD})  # who has logged in is nobody from now on
    etcd.kill9()
    for gateway in (0, 1):
        wait_for(lambda: refuses(account.region(1), gateway), SOON_S)
    assert said(ask(account.region(1), "POST", "/dbs", {"id": "e"})) == (403, "3")
    assert ask(account.region(1), "GET", f"{DOCS}/probe", pk=["p"]).status == 200
    found = arbiter(account.region(1))
    assert found["answers"] is False and found["error"] and found["marginSeconds"] == 0
    etcd.start()
    for gateway in (0, 1):
        wait_for(lambda: writes(account.region(1), gateway), SOON_S)
    assert epochs(account.region(1)) == before and hub_is(account, 1, (1, 2, 3)) is None


def with_settings(args, changed):
    """The same with other values; None: without it."""
    pairs = {**dict(zip(args[::2], args[1::2])), **changed}
    return [word for pair in pairs.items() if pair[1] is not None for word in pair]


def test_an_etcd_that_cannot_be_believed_is_not_asked(cluster, tmp_path):
    """Nor does it answer one whom it does not know. Each is told why, and the region's other gateway goes on."""
    account, etcd, links = cluster
    region = account.region(3)
    gateway, right = region.gateways[1], region.extra_args
    stranger = Authority(tmp_path, "stranger")
    certificate, key = stranger.issue("client", "clientAuth")
    for changed, why in [
            ({"--etcd-ca-file": str(stranger.file("stranger"))}, "certificate verification failed"),
            ({"--etcd": secure(links[3]).replace("127.0.0.1", "localhost")}, "does not match target host name 'localhost'"),
            ({"--etcd-cert-file": str(certificate), "--etcd-cert-key-file": str(key)}, "does it want to see a certificate?"),
            ({"--etcd-cert-file": None, "--etcd-cert-key-file": None}, "does it want to see a certificate?"),
            ({"--etcd-password": "guess"}, "authentication failed, invalid user ID or password"),
            ({}, None)]:
        gateway.stop()
        region.extra_args = with_settings(right, changed)
        gateway.start()
        wait_for(lambda: None if arbiter(region, 1)["answers"] or "error" in arbiter(region, 1) else "etcd was not asked", SOON_S)
        found = arbiter(region, 1)
        assert found["answers"] is (why is None) and (why or "") in found.get("error", ""), found
        if why is not None:
            assert found["secondsSinceAnswer"] is None and found["error"] in gateway.log(), gateway.log()
            assert found["error"].startswith(region.extra_args[1]), found
    assert arbiter(region, 0)["answers"] is True


def test_a_hub_that_etcd_does_not_hear_hands_over(cluster):
    """The others reach it: it takes its last write, and nothing is lost."""
    account, etcd, links = cluster
    with Writer(account.region(1)) as writer:
        wait_for(lambda: None if writer.acknowledged else "no writes", SOON_S)
        links[1].cut()
        for gateway in (0, 1):
            wait_for(lambda: refuses(account.region(1), gateway), SOON_S)
    wait_for(lambda: hub_is(account, 2, (1, 2, 3)), SOON_S)
    for gateway in (0, 1):
        wait_for(lambda: writes(account.region(2), gateway), SOON_S)
    assert json.loads(etcd.get(HUB))["ordinal"] == 2
    account.wait_converged()
    for name in writer.acknowledged:
        assert ask(account.region(2), "GET", f"{DOCS}/{name}", pk=["p"]).status == 200, name
    assert not ask(account.region(1), "GET", "/").json["writableLocations"][0]["name"] == "West US"
    links[1].heal()


def test_a_planned_failover_hands_the_claim_over(cluster):
    account, etcd, _ = cluster
    if hub_is(account, 1, (1,)) is None:
        assert account.command("failover", "--to", "East US").returncode == 0
    done = account.command("failover", "--to", "West US", region=3)
    assert done.returncode == 0, done.stderr
    assert json.loads(etcd.get(HUB))["ordinal"] == 1
    for gateway in (0, 1):
        wait_for(lambda: writes(account.region(1), gateway), SOON_S)
    assert said(put(account.region(2), "x")) == (403, "3")
    wait_for(lambda: None if json.loads(etcd.get(TOPOLOGY))["hub"] == 1 else "the topology in etcd is an old one", SOON_S)
    assert account.command("level", "ConsistentPrefix").returncode == 0
    wait_for(lambda: writes(account.region(1)), SOON_S)
    account.wait_converged()


def test_a_gateway_that_was_paused_acknowledges_nothing(cluster):
    """Its write is in the database, and still it does not know whether it is the hub's."""
    account, etcd, _ = cluster
    paused, before = account.region(1).gateways[0], epochs(account.region(1))
    found = []
    paused.arm("hub-answers-write", "stop")
    writer = threading.Thread(target=lambda: found.append(put(account.region(1), "late")))
    writer.start()
    paused.wait_reached("hub-answers-write", SOON_S)
    time.sleep(TTL_S)
    assert writes(account.region(1), gateway=1) is None  # the other gateway has kept the claim
    paused.resume()
    writer.join(SOON_S)
    assert said(found[0])[0] == 408 and "x-ms-session-token" not in found[0].headers, found
    wait_for(lambda: writes(account.region(1)), SOON_S)
    assert epochs(account.region(1)) == before


def test_a_hub_that_was_paused_is_the_hub_no_more(cluster):
    account, etcd, _ = cluster
    hub = account.region(1)
    for gateway in hub.gateways:
        gateway.pause()
    wait_for(lambda: hub_is(account, 2, (2, 3)), SOON_S)
    wait_for(lambda: writes(account.region(2)), SOON_S)
    for gateway in hub.gateways:
        gateway.resume()
    for number in range(40):
        answer = put(hub, f"late{number}", number % 2)
        assert answer.status in (403, 408), answer
    wait_for(lambda: writes(account.region(2)), SOON_S)
    account.wait_converged(regions=(2, 3))


def test_an_operator_takes_the_claim_from_a_hub_that_lives(cluster):
    """The claim is taken, and the old hub stops before anybody accepts the epoch."""
    account, etcd, _ = cluster
    done = account.command("failover", "--force", "--to", "North Europe", region=3)
    assert done.returncode == 0, done.stderr
    assert json.loads(etcd.get(HUB)) == {"ordinal": 3, "region": "North Europe", "vacant": False, "ttl": TTL_S}
    wait_for(lambda: writes(account.region(3)), SOON_S)
    assert put(account.region(2), "x").status == 403


@pytest.mark.parametrize("args, message", [
    (["--etcd", "http://127.0.0.1:1", "--etcd-ttl-s", "14"], "at least three times"),
    (["--etcd", "127.0.0.1:2379"], "etcd"), (["--etcd", "http://a:1,,http://b:1"], "etcd"),
    (["--etcd", "ftp://localhost"], "etcd"), (["--etcd", ""], "etcd"), (["--etcd-ttl-s", "1"], "etcd-ttl-s"),
    (["--etcd", ",".join(["http://h:1"] * 9)], "at most 8"),
    (["--etcd-cert-key-file", "x"], '"etcd-cert-key-file" needs "etcd-cert-file"'), (["--etcd-user", "x"], "need each other"),
])
def test_settings_that_cannot_be(args, message):
    done = subprocess.run([program(), "serve", "--database", "postgresql://nowhere/x", *args], env=environment(),
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0 and message in done.stderr, done
