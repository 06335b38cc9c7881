"""Regions that come and go: `orrery account add` and `remove`."""

import json
import threading
import time

from support.account import Account, wait_for

HOT = {"x-ms-documentdb-partitionkey": '["hot"]'}


def make(client, container, **definition):
    assert client.post("/dbs", {"id": "d"}).status in (201, 409)
    body = {"id": container, "partitionKey": {"paths": ["/pk"], "kind": "Hash", "version": 2}, **definition}
    answer = client.post("/dbs/d/colls", body)
    assert answer.status == 201, answer


def put(client, container, id, pk="hot", **members):
    answer = client.post(f"/dbs/d/colls/{container}/docs", {"id": id, "pk": pk, **members},
                         headers={"x-ms-documentdb-partitionkey": f'["{pk}"]', "x-ms-documentdb-is-upsert": "true"})
    assert answer.status in (200, 201), answer
    return answer


def remove(client, container, id, pk="hot"):
    answer = client.request("DELETE", f"/dbs/d/colls/{container}/docs/{id}", headers={"x-ms-documentdb-partitionkey": f'["{pk}"]'})
    assert answer.status == 204, answer


class Writing:
    """A client that writes and deletes at the hub until it is told to stop."""

    def __init__(self, account):
        self.client, self.count, self.failed = account.region(1).client(), 0, None
        self.is_over = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self):
        try:
            while not self.is_over.is_set():
                n = self.count
                put(self.client, "c", f"w{n % 60}", n=n, u=f"w{n % 60}")
                if n % 7 == 6:
                    remove(self.client, "c", f"w{n % 60}")
                self.count += 1
                time.sleep(0.01)
        except Exception as error:
            self.failed = error

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.is_over.set()
        self.thread.join()
        assert self.failed is None, self.failed


def readable(account, region=1):
    client = account.region(region).client()
    try:
        return [place["name"] for place in client.get("/").json["readableLocations"]]
    finally:
        client.close()


def added(account, name):
    def wrong():
        found = [readable(account, region.ordinal) for region in account.regions]
        return None if all(name in one for one in found) else f"readable: {found}"
    wait_for(wrong, 60)


def fill(client):
    """Items of all kinds, and their history."""
    make(client, "c", uniqueKeyPolicy={"uniqueKeys": [{"paths": ["/u"]}]}, defaultTtl=-1)
    make(client, "other")
    for n in range(120):
        put(client, "c", f"i{n}", pk=f"p{n % 5}", u=n, text="x" * 300, **({"ttl": 1000} if n % 3 == 0 else {}))
    for n in range(0, 120, 4):
        remove(client, "c", f"i{n}", pk=f"p{n % 5}")
    put(client, "other", "one", n=1.50)


def test_a_region_joins_while_clients_write_and_is_removed_again():
    with Account(regions=2) as account:
        hub = account.region(1).client()
        fill(hub)
        third = account.add_region("North Europe")
        stranger = third.client()
        for words, said in [
                (["add", "North Europe"], "--url says it"), (["add", "East US", "--url", third.url], "already"),
                (["add", "Mars", "--url", third.url], "of region \"North Europe\", not of \"Mars\""),
                (["add", "North Europe", "--url", "http://127.0.0.1:1"], "cannot be asked"),
                (["add", "North Europe", "--url", account.link(2, 1).url], "of region \"West US\""),
                (["remove", "North Europe"], "no region"), (["level", "Eventual", "--url", third.url], "--url is for")]:
            done = account.command(*words)
            assert done.returncode != 0 and said in done.stderr, (words, done)
        assert account.region(1).sql("select count(*) from orrery.topology") == [(1,)]

        for region in (1, 2):
            account.link(3, region).delay(0.3)  # it takes a while
        with Writing(account) as writing:
            done = account.command("add", "North Europe", "--url", third.url, region=2)
            assert done.returncode == 0 and "joining" in done.stdout, done
            seen = set()

            def joins():
                answer = stranger.get("/dbs/d/colls/other/docs/one", headers=HOT)
                is_announced = "North Europe" in readable(account)
                # A region is not read before all may hear of it.
                assert answer.status in (503, 401) or (answer.status == 200 and answer.json["n"] == 1.5), answer
                seen.add(answer.status)
                return None if is_announced and answer.status == 200 else f"{answer.status}, announced: {is_announced}"
            wait_for(joins, 60)
            assert seen == {503, 200}
            added(account, "North Europe")
            assert writing.count > 0
            before = writing.count
            wait_for(lambda: None if writing.count > before else "no more writes", 20)
        for link in account.network.links:
            link.heal()
        account.wait_converged()
        account.check()
        token = put(hub, "c", "after", u="after").headers["x-ms-session-token"]
        assert "#3=" in token, token
        answer = stranger.get("/dbs/d/colls/c/docs/after", headers={**HOT, "x-ms-session-token": token})
        assert answer.status == 200, answer
        numbers = "select epoch, live from orrery.range_epochs where range_id > 0 order by 1 desc limit 1"
        assert third.sql(numbers)[0][1] == [1, 2, 3]

        # A gateway that starts again finds its place; the others know it without a setting.
        third.gateways[0].kill9()
        account.region(2).gateways[0].kill9()
        account.region(2).links.pop(3)
        account.region(2).start()
        third.start()
        put(hub, "c", "again", u="again")
        account.wait_converged()

        done = account.command("remove", "North Europe")
        assert done.returncode == 0, done
        wait_for(lambda: None if "North Europe" not in readable(account, 2) else "still there", 20)
        put(hub, "c", "without", u="without")
        wait_for(lambda: None if third.client().get("/dbs/d/colls/c/docs/after", headers=HOT).status == 403 else "served", 20)
        done = account.command("add", "North Europe", "--url", third.url)
        assert done.returncode == 1 and "not empty" in done.stderr, done
        account.wait_converged(regions=[1, 2])


def test_a_stranger_does_not_join():
    """An account with one region grows; a region of another account, or with data of its own, is refused."""
    with Account(regions=1) as account:
        fill(account.region(1).client())
        second = account.add_region("East US")
        done = account.command("add", "East US", "--url", second.url)
        assert done.returncode == 0, done
        added(account, "East US")
        account.wait_converged()
        account.check()
        other = account.add_region("Brazil South")
        other.gateways[0].stop()
        other.gateways[0].args += ["--account", "another"]
        other.start()
        done = account.command("add", "Brazil South", "--url", other.url)
        assert done.returncode == 1 and "of account \"another\"" in done.stderr, done
        other.gateways[0].stop()
        other.gateways[0].args = other.gateways[0].args[:-2]
        other.start()
        make(other.client(), "own")
        done = account.command("add", "Brazil South", "--url", other.url)
        assert done.returncode == 1 and "not empty" in done.stderr, done


def horizon(region):
    return region.sql("select coalesce(sum(horizon), 0), sum(head) from orrery.log_state where container <> 0")[0]


def trimmed(region):
    wait_for(lambda: None if horizon(region)[0] > 0 and horizon(region)[0] == horizon(region)[1] else f"horizon: {horizon(region)}", 60)


GATE = 4711


class Gate:
    """Closed, it holds up every piece of a copy but the first, in a transaction that has done its work. A crash of PostgreSQL opens it."""

    def __init__(self, region):
        self.region, self.connection = region, region.postgres.connect(autocommit=True)
        self.connection.execute("select pg_advisory_lock(%s)", [GATE])

    def wait(self, but=None):
        """Until another backend than that one has come to it: which, and what of the copy was committed before."""
        found = []

        def nobody():
            found[:] = self.region.sql("select pid, x.* from pg_locks, (select range_id, at, upto from orrery.copies where at > 0) x"
                                       " where locktype = 'advisory' and not granted and pid is distinct from %s", [but])
            return None if found else "nobody is in the middle of a copy"
        wait_for(nobody, 60)
        return found[0][0], found[0][1:]


def states(account):
    document = account.region(1).sql("select document from orrery.topology where state = 'open' order by epoch desc limit 1")[0][0]
    document = document if isinstance(document, dict) else json.loads(document)
    return {region["ordinal"]: region["state"] for region in document["regions"]}


def test_what_is_no_longer_in_the_log_is_copied():
    """A region joins an account whose log was trimmed, and one that was away for too long joins anew; gateways die on the way."""
    with Account(regions=2, args=["--log-retention-s", "2"]) as account:
        hub = account.region(1).client()
        fill(hub)
        for region in account.regions:  # no log has it, either
            trimmed(region)
        # More than it copies in the time of a statement comes in steps.
        third = account.add_region("North Europe", args=["--request-timeout-ms", "1000"])
        text, = third.sql("select pg_get_functiondef('orrery.exchange_copy'::regproc)")[0]
        slow = text.replace("\nbegin\n", "\nbegin\n    perform pg_sleep(0.02 * cardinality(p_lsn));\n", 1)
        gated = slow.replace("\n    taken := ", f"\n    if p_from > 0 then perform pg_advisory_xact_lock_shared({GATE}); end if;\n    taken := ", 1)
        assert len({text, slow, gated}) == 3
        third.sql(gated)
        for region in (1, 2):
            account.link(3, region).delay(0.2)
        third.gateways[0].arm("copy-committed", "kill")
        done = account.command("add", "North Europe", "--url", third.url)
        assert done.returncode == 0, done
        wait_for(lambda: None if not third.gateways[0].is_running else "runs", 60)
        third.gateways[0].kill9()
        account.region(1).gateways[0].kill9()
        account.region(1).start()
        hub = account.region(1).client()
        with Writing(account):
            third.start()
            added(account, "North Europe")
        account.network.heal()
        account.wait_converged()
        account.check()
        claims = "select pk, key_number, value, id from orrery.unique_claims order by 1, 2, 3, 4"
        assert third.sql(claims) == account.region(1).sql(claims) != []
        assert third.client().get("/dbs/d/colls/other/docs/one", headers=HOT).json["n"] == 1.5

        third.kill9()
        for n in range(1, 120, 4):
            remove(hub, "c", f"i{n}", pk=f"p{n % 5}")
        put(hub, "c", "meanwhile", u="meanwhile")
        wait_for(lambda: None if states(account).get(3) == "joining" else f"{states(account)}", 60)
        assert "North Europe" not in readable(account)
        tombstones = "select count(*) from orrery.items_%d where deleted" % account.region(1).sql("select min(container) from orrery.ranges where container > 0")[0]
        for region in account.regions[:2]:
            trimmed(region)
        wait_for(lambda: None if account.region(1).sql(tombstones) == [(0,)] else f"{account.region(1).sql(tombstones)} tombstones", 60)
        third.postgres.start()
        gate = Gate(third)
        third.start()
        first, _ = gate.wait()
        third.gateways[0].kill9()
        third.start()
        _, before = gate.wait(but=first)
        third.postgres.kill9()
        third.postgres.start()
        gate = Gate(third)
        _, after = gate.wait()
        assert after == before
        account.region(1).postgres.kill9()
        account.region(1).postgres.start()
        gate.connection.close()
        added(account, "North Europe")
        account.wait_converged()
        account.check()
        assert states(account) == {1: "online", 2: "online", 3: "online"}
        assert third.client().get("/dbs/d/colls/c/docs/meanwhile", headers=HOT).status == 200
        assert third.client().get("/dbs/d/colls/c/docs/i1", headers={"x-ms-documentdb-partitionkey": '["p1"]'}).status == 404
