"""Topology: the first start of an account of several regions, who may write, what the account says of itself."""

import json
import subprocess

import pytest
from support.account import Account, wait_for
from support.gateway import environment, migrate, program
from support.postgres import Postgres

TENTATIVE = {"x-ms-cosmos-allow-tentative-writes": "true"}
JSON = {"x-ms-documentdb-partitionkey": '["a"]'}


@pytest.fixture(scope="module")
def account():
    with Account(regions=3) as running:
        yield running


@pytest.fixture(scope="module")
def several_writers():
    with Account(regions=2, mode="multi", level="Eventual") as running:
        yield running


def ask(region, method, path, body=None, **headers):
    client = region.client()
    try:
        return client.request(method, path, body, headers={k.replace("_", "-"): v for k, v in headers.items()})
    finally:
        client.close()


def refused(answer, status, substatus):
    assert (answer.status, answer.headers.get("x-ms-substatus")) == (status, str(substatus)), answer


def names(places):
    return [place["name"] for place in places]


def test_the_account_is_the_same_everywhere(account):
    found = [ask(region, "GET", "/").json for region in account.regions]
    for document in found:
        assert names(document["writableLocations"]) == ["West US"]
        assert names(document["readableLocations"]) == ["West US", "East US", "North Europe"]
        assert document["enableMultipleWriteLocations"] is False
        assert document["userConsistencyPolicy"]["defaultConsistencyLevel"] == "Session"
        assert document["userReplicationPolicy"]["maxReplicasetSize"] == 3


def test_a_satellite_takes_no_writes_of_any_kind(account):
    satellite = account.region(2)
    for method, path, body in [
            ("POST", "/dbs", {"id": "d"}), ("DELETE", "/dbs/d", None), ("POST", "/dbs/d/colls", {"id": "c"}),
            ("PUT", "/dbs/d/colls/c", {"id": "c"}), ("POST", "/dbs/d/colls/c/docs", {"id": "1"}),
            ("PUT", "/dbs/d/colls/c/docs/1", {"id": "1"}), ("PATCH", "/dbs/d/colls/c/docs/1", {"operations": []}),
            ("DELETE", "/dbs/d/colls/c/docs/1", None), ("POST", "/dbs/d/colls/c/sprocs", {"id": "s"}),
            ("POST", "/dbs/d/users", {"id": "u"}), ("PUT", "/offers/abc", {}),
            ("POST", "/dbs/d/colls/c/operations/partitionkeydelete", None)]:
        answer = ask(satellite, method, path, body, **JSON)
        refused(answer, 403, 3)
        assert "cannot be performed at this region" in answer.json["message"]
        refused(ask(satellite, method, path, body, **JSON, **TENTATIVE), 403, 3)
    assert ask(satellite, "GET", "/dbs").status == 200
    assert satellite.sql("select seq from orrery.ranges where range_id = 0") == [(0,)]


def test_postgresql_itself_refuses_what_is_not_written_here(account):
    assert account.region(2).sql(
        "select d.status, d.substatus from orrery.resource_drop(257, null, null, 1, 'dbs', 'a', null) d") == [(403, 3)]
    assert account.region(2).sql(
        "select d.status, d.substatus from orrery.partition_delete(0, 257, 1, 'dbs', 10) d") == [(403, 3)]


def test_the_hub_writes_and_its_ranges_know_the_epoch(account):
    hub = account.region(1)
    assert ask(hub, "POST", "/dbs", {"id": "hubs"}).status == 201
    assert ask(hub, "POST", "/dbs/hubs/colls", {"id": "c", "partitionKey": {"paths": ["/p"], "kind": "Hash"}}).status == 201
    assert ask(hub, "POST", "/dbs/hubs/colls/c/docs", {"id": "1", "p": "a"}, **JSON).status == 201
    rows = hub.sql("select distinct g.state, g.epoch, e.hub, e.live, e.writers from orrery.ranges g"
                   " join orrery.range_epochs e using (range_id, epoch)")
    assert rows == [("online", 257, 1, [1, 2, 3], [1])]


def test_with_several_writers_items_are_written_everywhere_and_definitions_at_the_hub(several_writers):
    hub, other = several_writers.regions
    document = ask(other, "GET", "/").json
    assert names(document["writableLocations"]) == ["West US", "East US"]
    assert document["enableMultipleWriteLocations"] is True
    assert document["userConsistencyPolicy"]["defaultConsistencyLevel"] == "Eventual"
    refused(ask(other, "POST", "/dbs", {"id": "d"}, **TENTATIVE), 403, 3)
    # An item's write without the header comes from a client that expects one write region.
    refused(ask(other, "POST", "/dbs/d/colls/c/docs", {"id": "1"}, **JSON), 403, 3)
    refused(ask(other, "POST", "/dbs/nothing/colls/c/docs", {"id": "1"}, **JSON, **TENTATIVE), 404, 1003)
    assert ask(hub, "POST", "/dbs", {"id": "d"}).status == 201


# ---- changes ----


def change(account, *words, region=1):
    done = account.command(*words, region=region)
    assert done.returncode == 0, done.stderr
    return done.stdout


def everywhere(account, of, value):
    """The account document is the same in every region, as soon as all were told."""
    def different():
        found = {region.name: of(ask(region, "GET", "/").json) for region in account.regions}
        return None if all(one == value for one in found.values()) else f"{found}, not {value}"
    wait_for(different, 1)


@pytest.fixture(scope="module")
def changing():
    with Account(regions=3, args=["--lease-ms", "1000"]) as running:
        yield running


def test_every_change_is_an_epoch_known_everywhere(changing):
    change(changing, "level", "BoundedStaleness", "--versions", "50", "--seconds", "7")
    everywhere(changing, lambda d: d["userConsistencyPolicy"], {
        "defaultConsistencyLevel": "BoundedStaleness", "maxStalenessPrefix": 50, "maxIntervalInSeconds": 7})
    change(changing, "level", "Session", region=2)
    everywhere(changing, lambda d: d["userConsistencyPolicy"]["defaultConsistencyLevel"], "Session")
    change(changing, "offline", "northeurope", region=3)
    everywhere(changing, lambda d: names(d["readableLocations"]), ["West US", "East US"])
    answer = ask(changing.region(3), "GET", "/dbs")
    refused(answer, 403, 1008)
    change(changing, "online", "North Europe")
    everywhere(changing, lambda d: names(d["readableLocations"]), ["West US", "East US", "North Europe"])
    assert ask(changing.region(3), "GET", "/dbs").status == 200
    change(changing, "priority", "North Europe,East US,West US")
    everywhere(changing, lambda d: (names(d["writableLocations"]), names(d["readableLocations"])),
               (["West US"], ["West US", "North Europe", "East US"]))
    change(changing, "mode", "multi")
    everywhere(changing, lambda d: (d["enableMultipleWriteLocations"], names(d["writableLocations"])),
               (True, ["West US", "North Europe", "East US"]))
    change(changing, "mode", "single")
    rows = changing.region(1).sql("select count(*), min(epoch % 256), max(epoch / 256) from orrery.topology")
    assert rows == [(8, 1, 8)]
    # Every epoch began with a marker in the log of range 0.
    assert changing.region(1).sql("select op, epoch from orrery.log_0 order by seq") == [
        (5, 256 * n + 1) for n in range(2, 9)]


@pytest.mark.parametrize("words, said", [
    (["failover", "--to", "Mars"], "no region \"Mars\""), (["failover", "--to", "West US"], "the hub already"),
    (["offline", "West US"], "fail over first"), (["online", "East US"], "not offline"), (["remove", "West US"], "is the hub"),
    (["add", "EAST US"], "already"), (["add", "Japan East"], "--peers"), (["level", "Session"], "already"),
    (["mode", "single"], "already"), (["priority", "West US"], "all 3 regions"),
])
def test_what_cannot_be_is_refused_and_changes_nothing(changing, words, said):
    before = [region.sql("select epoch, state from orrery.topology order by 1") for region in changing.regions]
    done = changing.command(*words, region=2)
    assert done.returncode == 1 and said in done.stderr, done
    assert before == [region.sql("select epoch, state from orrery.topology order by 1") for region in changing.regions]


def test_too_few_regions_cannot_change_the_account(changing):
    changing.region(2).gateways[0].kill9()
    changing.region(3).gateways[0].kill9()
    try:
        done = changing.command("level", "Eventual")
        assert done.returncode == 1 and "only 1 of the 2 regions" in done.stderr, done
        assert changing.region(1).sql("select closed_for from orrery.region_self") == [(None,)]
    finally:
        changing.region(2).start()
        changing.region(3).start()


# ---- the start ----


@pytest.fixture(scope="module")
def server():
    with Postgres() as running:
        yield running


def document(**changes):
    found = {"account": "orrery", "epoch": 257, "mode": "single", "hub": 1, "level": "Session",
             "regions": [{"ordinal": 1, "name": "West US"}, {"ordinal": 2, "name": "East US"}]}
    return {**found, **changes}


def start(conninfo, path, text, *args, ordinal=1, region="West US"):
    """Start a gateway, which ends at once or is ended when it is ready: status, and what it said."""
    path.write_text(text if isinstance(text, str) else json.dumps(text))
    process = subprocess.Popen(
        [program(), "serve", "--database", conninfo, "--port", "none", "--http-port", "0", "--ordinal", str(ordinal),
         "--region", region, "--topology", str(path), *args],
        env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    line = process.stdout.readline()
    if line:
        process.terminate()
    _, said = process.communicate(timeout=60)
    return (0, line) if line else (process.returncode, said)


@pytest.fixture
def database(server, request):
    name = f"topology_{abs(hash(request.node.name))}"
    with server.connect(autocommit=True) as connection:
        connection.execute(f"create database {name} template template0 lc_collate 'C'")
    conninfo = server.conninfo(name)
    assert migrate(conninfo).returncode == 0
    return conninfo


def test_what_contradicts_what_is_stored_is_refused(database, tmp_path):
    path = tmp_path / "topology.json"
    status, line = start(database, path, document())
    assert status == 0 and json.loads(line)["replicating"] is True
    assert start(database, path, document())[0] == 0
    for changes, args, said in [
            ({}, {"ordinal": 2, "region": "East US"}, "--ordinal is 2"),
            ({}, {"region": "East US"}, "--region is"),
            ({"account": "another"}, {}, "account \"another\""),
            ({"epoch": 513}, {}, "is older"),
            ({"level": "Eventual"}, {}, "contradict each other"),
            ({"surprise": 1}, {}, "\"surprise\""),
            ({"hub": 3}, {}, "the hub 3"),
            ({"mode": "multi", "level": "Strong"}, {}, "cannot have level Strong")]:
        status, told = start(database, path, document(**changes), **args)
        assert status == 1 and said in told, (changes, told)
    assert start(database, path, document(), "--account", "another")[0] == 1
    status, told = start(database, path, "{")
    assert status == 1 and "topology: " in told
    path.unlink()
    assert start(database, path, document())[0] == 0


def test_a_region_gets_its_ordinal_at_the_first_start(database, tmp_path):
    status, line = start(database, tmp_path / "t", document(), ordinal=2, region="eastus")
    assert status == 0 and json.loads(line)["ordinal"] == 2
    status, told = start(database, tmp_path / "t", document())
    assert status == 1 and "of the region with ordinal 2" in told


def test_a_database_with_data_is_not_made_a_region(server, database, tmp_path):
    import psycopg
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("update orrery.ranges set seq = 1, vector = '{1}'")
    status, told = start(database, tmp_path / "t", document())
    assert status == 1 and "orrery account add" in told
