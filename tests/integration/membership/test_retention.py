"""What the log keeps, and when a tombstone may go (rules 8.1 to 8.3)."""

import time

import pytest
from support.account import Account, wait_for

HEADERS = {"x-ms-documentdb-partitionkey": '["x"]', "x-ms-cosmos-allow-tentative-writes": "true", "x-ms-documentdb-is-upsert": "true"}
DOCS = "/dbs/d/colls/c/docs"


@pytest.fixture(scope="module")
def account():
    with Account(regions=2, mode="multi", args=["--log-retention-s", "2"]) as running:
        client = running.region(1).client()
        assert client.post("/dbs", {"id": "d"}).status == 201
        body = {"id": "c", "partitionKey": {"paths": ["/pk"], "kind": "Hash", "version": 2}}
        assert client.post("/dbs/d/colls", body).status == 201
        running.wait_converged()
        yield running


def put(region, id, **members):
    answer = region.client().post(DOCS, {"id": id, "pk": "x", **members}, headers=HEADERS)
    assert answer.status in (200, 201), answer


def delete(region, id):
    answer = region.client().request("DELETE", f"{DOCS}/{id}", headers=HEADERS)
    assert answer.status == 204, answer


def rows(region, sql):
    return region.sql(sql.replace("%n", str(number(region))))


def number(region):
    return region.sql("select max(container) from orrery.ranges")[0][0]


def feed(region, mode, etag=None):
    """All that it gives, and where it ends."""
    client, found = region.client(), []
    while True:
        headers = {"A-IM": mode, **({"If-None-Match": etag} if etag else {})}
        answer = client.get(DOCS, headers=headers)
        if answer.status not in (200, 304):
            return answer, etag
        etag = answer.headers["etag"]
        if answer.status == 304:
            return found, etag
        found += answer.json["Documents"]


def attempted(region, since):
    """Tombstones of that second were looked at."""
    wait_for(lambda: None if rows(region, "select bool_and(purged_ts >= %d) from orrery.ranges where container = %%n" % since)[0][0]
             else "no purge yet", 60)


def test_a_tombstone_stays_while_a_write_made_before_may_arrive(account):
    one, two = account.regions
    put(one, "x", n=1)
    put(one, "gone", n=1)
    account.wait_converged()
    account.cut(1, 2)
    delete(one, "x")
    put(two, "x", n=2)  # knows nothing of the delete, which wins
    attempted(one, int(time.time()) + 1)
    tombstones = "select id from orrery.items_%n where deleted order by id"
    assert rows(one, tombstones) == [("x",)]
    account.heal()
    account.wait_converged()
    for region in account.regions:
        assert region.client().get(f"{DOCS}/x", headers=HEADERS).status == 404
    delete(two, "gone")
    for region in account.regions:  # of x an entry that lost is in the conflicts feed
        wait_for(lambda region=region: None if rows(region, tombstones) == [("x",)] else f"{rows(region, tombstones)}", 60)
        attempted(region, int(time.time()))
    account.wait_converged()
    account.check()


def test_the_log_is_trimmed_and_feeds_go_on(account):
    one, two = account.regions
    _, now = feed(one, "Full-Fidelity Feed", "*")
    for n in range(120):
        put(one, f"i{n % 10}", n=n)
    delete(one, "i9")
    changes, _ = feed(two, "Full-Fidelity Feed", now)
    account.wait_converged()
    behind = "select max(head - horizon) from orrery.log_state where container = %n"
    for region in account.regions:
        wait_for(lambda region=region: None if rows(region, behind) == [(0,)] else f"{rows(region, behind)} entries are kept", 60)
        # What is shown, a tombstone that may not have gone yet, and the version that lost.
        wait_for(lambda region=region: None if rows(region, "select count(*) from orrery.log_%n")[0][0] <= 12 else "too many", 60)
        answer, _ = feed(region, "Full-Fidelity Feed", now)
        assert not isinstance(answer, list) and answer.status == 400 and b"log-retention-s" in answer.body, answer
        found, etag = feed(region, "Incremental Feed")
        assert sorted(item["id"] for item in found) == [f"i{n}" for n in range(9)]
        other = account.regions[1 - account.regions.index(region)]
        assert feed(other, "Incremental Feed", etag)[0] == []
    account.check()
    put(two, "i3", n="new")
    account.wait_converged()
    account.check()

    # A region that is away keeps the log of the others from being trimmed.
    two.kill9()
    for n in range(50):
        put(one, f"k{n % 5}", n=n)
    attempted(one, int(time.time()) + 1)
    assert rows(one, behind)[0][0] >= 50
    two.restart()
    account.wait_converged()
    account.check()
    wait_for(lambda: None if rows(one, behind) == [(0,)] else f"{rows(one, behind)} entries are kept", 60)
