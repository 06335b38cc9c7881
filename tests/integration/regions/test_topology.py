"""Topology: the first start of an account of several regions, who may write, what the account says of itself."""

import json
import subprocess

import pytest
from support.account import Account
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
