"""The exchange of entries between regions: what is written in one comes to all, whatever happens on the way."""

import concurrent.futures
import json
import threading
import time

import pytest
from support import stream
from support.account import Account, wait_for
from support.threads import run_all

PK = {"x-ms-documentdb-partitionkey": '["x"]'}


@pytest.fixture
def two():
    with Account(regions=2) as running:
        yield running


@pytest.fixture
def three():
    with Account(regions=3) as running:
        yield running


def make(client, database="d", container="c", **definition):
    assert client.post("/dbs", {"id": database}).status in (201, 409)
    body = {"id": container, "partitionKey": {"paths": ["/pk"], "kind": "Hash", "version": 2}, **definition}
    answer = client.post(f"/dbs/{database}/colls", body)
    assert answer.status == 201, answer
    return answer.json


def put(client, id, container="c", pk="x", **members):
    answer = client.post(f"/dbs/d/colls/{container}/docs", {"id": id, "pk": pk, **members},
                         headers={"x-ms-documentdb-partitionkey": f'["{pk}"]', "x-ms-documentdb-is-upsert": "true"})
    assert answer.status in (200, 201), answer
    return answer


def get(client, id, container="c", pk="x"):
    return client.get(f"/dbs/d/colls/{container}/docs/{id}", headers={"x-ms-documentdb-partitionkey": f'["{pk}"]'})


def until(client, id, status=200, container="c", deadline_s=20):
    def wrong():
        found = get(client, id, container)
        return None if found.status == status else f"{id}: {found.status}, not {status}"
    wait_for(wrong, deadline_s)
    return get(client, id, container)


def status_of(region, gateway=0):
    return region.gateways[gateway].status()


def test_what_is_written_at_the_hub_is_the_same_bytes_elsewhere(three):
    """Invariant 6, with unique keys, a lifetime, numbers that are not canonical, patches and deletes."""
    hub = three.region(1).client()
    make(hub, uniqueKeyPolicy={"uniqueKeys": [{"paths": ["/u"]}]}, defaultTtl=-1)
    for n in range(20):
        put(hub, f"i{n}", u=n, n=1.50)
    put(hub, "ttl", u=-1, ttl=1000)
    assert hub.request("DELETE", "/dbs/d/colls/c/docs/i3", headers=PK).status == 204
    assert hub.request("PATCH", "/dbs/d/colls/c/docs/i4", {"operations": [{"op": "incr", "path": "/n", "value": 1}]},
                       headers=PK).status == 200
    three.wait_converged(20)
    three.check()
    for ordinal in (2, 3):
        client = three.region(ordinal).client()
        assert get(client, "i3").status == 404
        for id in ("i4", "ttl", "i19"):
            assert get(client, id).body == get(hub, id).body
        query = client.request("POST", "/dbs/d/colls/c/docs", {"query": "SELECT VALUE COUNT(1) FROM c WHERE c.n = 1.5"},
                               headers={"x-ms-documentdb-isquery": "true", "content-type": "application/query+json",
                                        "x-ms-documentdb-query-enablecrosspartition": "true"})
        assert query.json["Documents"] == [18], query
        claims = "select pk, key_number, value, id from orrery.unique_claims order by 1, 2, 3, 4"
        assert three.region(ordinal).sql(claims) == three.region(1).sql(claims) != []


def test_definitions_change_and_go(two):
    """Containers come with their ranges, indexes and lifetime; one that was made anew has nothing of the old one."""
    hub, satellite = two.region(1).client(), two.region(2).client()
    policy = {"indexingMode": "consistent", "automatic": True, "includedPaths": [{"path": "/*"}],
              "excludedPaths": [{"path": "/\"_etag\"/?"}],
              "compositeIndexes": [[{"path": "/a", "order": "ascending"}, {"path": "/b", "order": "descending"}]]}
    first = make(hub, indexingPolicy=policy)
    for n in range(10):
        put(hub, f"old{n}")
    until(satellite, "old9")
    ranges = "select range_id, epk_min, epk_max, default_ttl, has_unique_keys from orrery.ranges order by 1"
    indexes = "select container, kind, spec from orrery.query_indexes where is_declared order by 1, 2, 3"
    assert two.region(1).sql(ranges) == two.region(2).sql(ranges)
    assert two.region(1).sql(indexes) == two.region(2).sql(indexes) != []
    answer = hub.request("PUT", "/dbs/d/colls/c", {"id": "c", "partitionKey": first["partitionKey"], "defaultTtl": 77})
    assert answer.status == 200, answer
    wait_for(lambda: None if two.region(2).sql(ranges) == two.region(1).sql(ranges) else "lifetime", 10)
    assert (77,) in two.region(2).sql("select default_ttl from orrery.ranges")

    two.cut(1, 2)
    assert hub.request("DELETE", "/dbs/d/colls/c").status == 204
    make(hub)
    put(hub, "new")
    two.heal()
    until(satellite, "new")
    assert get(satellite, "old3").status == 404
    assert satellite.get("/dbs/d/colls/c").json["_rid"] != first["_rid"]
    assert hub.request("DELETE", "/dbs/d").status == 204
    wait_for(lambda: None if satellite.get("/dbs/d/colls/c").status == 404 else "the database is there", 10)
    two.wait_converged(20)
    numbers = [region.sql("select next_number from orrery.account")[0][0] for region in two.regions]
    assert numbers[1] == numbers[0] >= 4, numbers


def test_a_region_that_was_down_catches_up(two):
    hub = two.region(1).client()
    make(hub)
    put(hub, "first")
    two.wait_converged(20)
    two.region(2).kill9()
    for n in range(300):
        put(hub, f"i{n % 200}", pk=f"p{n % 7}", n=n, text="x" * 500)
    make(hub, container="later")
    put(hub, "one", container="later")
    two.region(2).restart()
    two.wait_converged(40)
    two.check()

    # What is missing of a container that is there is told, and not taken for one that was dropped.
    number = two.region(1).sql("select min(container) from orrery.ranges where container > 0")[0][0]
    source, asker = (region.gateways[0] for region in two.regions)
    for region, name, said in [(two.region(1), f"fetch_{number}", [(asker, 'from=1 reason="status 500'), (source, "sqlstate=42883")]),
                               (two.region(2), f"apply_{number}", [(asker, "an entry cannot be applied")])]:
        arguments, = region.sql("select pg_get_function_identity_arguments(%s::regproc)", [f"orrery.{name}"])[0]
        region.sql(f"alter function orrery.{name}({arguments}) rename to away")
        put(hub, name)
        for gateway, words in said:
            wait_for(lambda gateway=gateway, words=words: None if words in gateway.log() else f"no word of {words}", 60)
        region.sql(f"alter function orrery.away({arguments}) rename to {name}")
        two.wait_converged()


def test_a_region_that_applies_slowly_catches_up():
    """More than it applies in the time of a statement comes in steps; a transaction is applied whole."""
    with Account(regions=2, args=["--request-timeout-ms", "1000"]) as account:
        hub, slow = account.region(1).client(), account.region(2)
        make(hub)
        put(hub, "first")
        account.wait_converged(60)
        text, = slow.sql("select pg_get_functiondef('orrery.apply'::regproc)")[0]
        slow.sql(text.replace("\nbegin\n", "\nbegin\n    perform pg_sleep(0.008 * cardinality(p_lsn));\n", 1))
        account.cut(1, 2)
        for n in range(40):
            bodies = [{"operationType": "Upsert", "resourceBody": {"id": f"i{m}", "pk": "x", "n": n}} for m in range(10)]
            answer = hub.post("/dbs/d/colls/c/docs", bodies, headers={
                **PK, "x-ms-cosmos-is-batch-request": "True", "x-ms-cosmos-batch-atomic": "True"})
            assert answer.status == 200, answer
        account.heal()
        torn = []

        def wrong():
            torn.extend(slow.sql("select count(distinct body::json ->> 'n') from orrery.items_2 where id like 'i%'"
                                 " having count(distinct body::json ->> 'n') > 1"))
            found = get(slow.client(), "i9")
            return None if found.status == 200 and found.json["n"] == 39 else str(found)
        wait_for(wrong, 60)
        account.wait_converged(60)
        account.check()
        assert torn == []


class Asker:
    """Speaks to a region as another one, whose gateway is down; it has everything that there was."""

    def __init__(self, account, ordinal=2, asked=1):
        self.ordinal, self.asked = ordinal, account.region(asked)
        self.schema, = self.asked.sql("select max(version) from orrery.schema_migrations")[0]
        self.take_all()
        assert self.ask(stream.FIRST | stream.ACK)[0] == []
        self.take_all()  # what is committed by that

    def take_all(self):
        rows = self.asked.sql("select range_id, seq, vector, committed from orrery.ranges")
        self.places = {range_id: [seq, seq, vector, committed] for range_id, seq, vector, committed in rows}

    def receive(self, part):
        self.places[part.range_id][1] = part.to

    def apply(self, part):
        self.places[part.range_id][:3] = part.to, part.to, part.vector

    def wants(self):
        return [(range_id, *place) for range_id, place in self.places.items()]

    def ask(self, flags=0, wants=None, declined=()):
        """What is answered: its parts, and how long it took."""
        client, begun = self.asked.client(), time.monotonic()
        answer = client.post("/_orrery/pull", stream.request(self.ordinal, self.schema, wants or self.wants(), flags, declined=declined))
        client.close()
        assert answer.status == 200, answer
        return stream.parts(answer.body), time.monotonic() - begun

    def ask_until_told(self, flags=0):
        """Again and again, as a region does."""
        end = time.monotonic() + 60
        while not (found := self.ask(flags)[0]):
            assert time.monotonic() < end, "nothing is told"
        return found


def test_acks_and_watches_pass_a_request_that_is_held(two):
    """What is committed is told to whoever watches for it, at once, and does not end a request for entries."""
    hub = two.region(1).client()
    make(hub)
    put(hub, "first")
    two.wait_converged()
    two.region(2).gateways[0].kill9()
    asker = Asker(two)
    range_id = max(asker.places)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        asked, watched = pool.submit(asker.ask_until_told), pool.submit(asker.ask_until_told, stream.WATCH)
        vector = two.region(1).sql("select vector from orrery.ranges where range_id = %s", [range_id])[0][0]
        put(hub, "second")
        told, = asked.result()
        assert told[0] == range_id and told.count == 1 and told.vector == [vector[0] + 1], told
        assert not watched.done(), "region 2 does not have it yet"
        asker.receive(told)
        held = pool.submit(asker.ask, 0, asker.wants())
        asker.apply(told)
        acked, _ = asker.ask(stream.ACK)
        assert acked == []
        seen, = watched.result()
        assert seen[0] == range_id and seen.committed == told.vector and seen.count == 0, seen
        found, took = held.result()
        assert [part.range_id for part in found] == [range_id] and took > 0.9, (found, took)
    two.region(2).start()  # it has less than it said
    put(hub, "third")
    two.wait_converged()
    two.check()


@pytest.mark.parametrize("who", [1, 2])
def test_gateways_that_are_killed_lose_nothing(two, who):
    """Invariant 4: neither the region that sends nor the one that applies forgets or repeats anything."""
    hub = two.region(1).client()
    make(hub)
    written = []
    stop = threading.Event()

    def write():
        n = 0
        while not stop.is_set():
            try:
                client = two.region(1).client()
                while not stop.is_set():
                    put(client, f"i{n % 50}", n=n)
                    written.append(n)
                    n += 1
            except (OSError, AssertionError):
                time.sleep(0.05)
    def more(count):
        enough = len(written) + count
        wait_for(lambda: None if len(written) >= enough else f"{len(written)} writes, not {enough}", 60)
    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(3):
            more(34)
            two.region(who).gateways[0].kill9()
            two.region(who).restart()
        more(1)
    finally:
        stop.set()
        writer.join()
    assert len(written) > 100
    two.wait_converged(40)
    two.check()


def test_a_third_region_relays(three):
    """A cut between two regions does not stop what a third can bring."""
    hub = three.region(1).client()
    make(hub)
    three.cut(1, 3)
    for n in range(50):
        put(hub, f"i{n}", n=n)
    until(three.region(3).client(), "i49")
    three.wait_converged(20)
    three.heal()
    put(hub, "last")
    three.wait_converged(20)

    # A region that hears the hub itself is told by the third one only what it goes on lacking.
    three.region(3).gateways[0].kill9()
    relay = three.region(2)
    asker = Asker(three, 3, 2)
    put(hub, "unheard")
    until(relay.client(), "unheard")
    range_id, (end, *_) = max(asker.places.items())

    def of_range(found):
        return [(part.start, part.to, part.count) for part in found if part.range_id == range_id]
    found, took = asker.ask(declined=[1])
    assert of_range(found) == [(end, end + 1, 1)] and took > 0.9, (found, took)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        held = pool.submit(asker.ask, declined=[1])
        put(hub, "later")
        found, took = held.result()
        assert of_range(found) in ([(end, end + 1, 1)], [(end, end + 2, 2)]) and took > 0.9, (found, took)
    until(relay.client(), "later")
    wait_for(lambda: None if asker.ask(declined=[4])[1] < 0.9 else "it is held, though region 1 is not declined", 60)
    three.region(3).start()
    three.wait_converged(60)
    three.check()


def test_two_gateways_of_a_region_take_turns():
    """One of them pulls; the other takes over when it is gone, and while it hangs."""
    with Account(regions=2, gateways=2) as account:
        hub = account.region(1).client()
        make(hub)
        put(hub, "first")
        account.wait_converged(20)
        satellite = account.region(2)
        pulling = []

        def one_pulls():  # the claim is nobody's for a moment when its holder was slow
            pulling[:] = [status_of(satellite, n)["replication"]["pulling"] for n in range(2)]
            return None if sorted(pulling) == [False, True] else f"pulling: {pulling}"
        wait_for(one_pulls, 20)
        holder = satellite.gateways[pulling.index(True)]
        other = satellite.gateways[pulling.index(False)].client()
        holder.pause()
        put(hub, "second")
        until(other, "second", deadline_s=15)
        holder.resume()
        for n in range(50):
            put(hub, f"i{n}")
        account.wait_converged(20)
        account.check()


def writer_of(region):
    """A client that may write in any region."""
    client = region.client()
    request = client.request
    client.request = lambda method, path, body=None, headers=None, **named: request(
        method, path, body, headers={**(headers or {}), "x-ms-cosmos-allow-tentative-writes": "true"}, **named)
    client.post = lambda path, body=None, headers=None: client.request("POST", path, body, headers)
    return client


def test_two_writers_converge():
    """Invariant 7, multi-write: both write the same items while the link is cut."""
    with Account(regions=2, mode="multi", level="Session") as account:
        clients = [writer_of(region) for region in account.regions]
        make(clients[0])
        put(clients[0], "shared", who=1)
        until(clients[1], "shared")
        account.cut(1, 2)
        for n in range(40):
            put(clients[n % 2], f"i{n % 5}", who=n % 2, n=n)
        account.heal()
        account.wait_converged(30)
        account.check()
        assert get(clients[0], "i0").body == get(clients[1], "i0").body

        def miscounted():  # what each region tells of its conflicts, which are a few seconds old
            held = [region.sql("select count(*) from orrery.conflicts where not is_resolved")[0][0] for region in account.regions]
            told = [status_of(region)["replication"].get("conflicts") for region in account.regions]
            return None if told == held and held[0] > 0 else f"{told}, not {held}"
        wait_for(miscounted, 60)


def by_name(client, n):
    """Every way to ask by name for what belongs to a container that is made for it; each with the path that is wanted."""
    at, query = f"/dbs/d/colls/n{n}", {"content-type": "application/query+json", "x-ms-documentdb-isquery": "true",
                                       "x-ms-documentdb-query-enablecrosspartition": "true"}
    return [lambda: client.get(at), lambda: client.get(f"{at}/pkranges"), lambda: client.get(f"{at}/sprocs"),
            lambda: client.get(f"{at}/docs"),
            lambda: client.request("POST", f"{at}/docs", {"query": "SELECT * FROM c"}, headers=query),
            lambda: client.get(f"/dbs/n{n}"), lambda: client.get(f"/dbs/n{n}/colls"), lambda: client.get(f"/dbs/n{n}/users/u")]


def make_named(hub, n):
    make(hub, container=f"n{n}")
    assert hub.post("/dbs", {"id": f"n{n}"}).status == 201
    assert hub.post(f"/dbs/n{n}/users", {"id": "u"}).status == 201


def questions(region):
    """How often this region was asked for how far its definitions are; under Session there are no other beats."""
    counted = 0
    for gateway in region.gateways:
        client = gateway.client()
        counted += sum(int(line.rsplit(" ", 1)[1]) for line in client.get("/metrics").body.decode().splitlines()
                       if line.startswith("orrery_requests_total{route=\"regions.beat\""))
        client.close()
    return counted


def test_a_name_is_not_said_to_be_missing_before_the_hub_was_asked():
    """Rule 9.2. Of the satellite's gateways the second waits as long as it takes; either may be the one that pulls."""
    account = Account(regions=2, gateways=2)
    account.region(2).gateways[1].args += ["--session-wait-ms", "25000"]
    with account as two:
        hub, quick, patient = two.region(1).client(), two.region(2).client(), two.region(2).client(gateway=1)
        make(hub)
        until(patient, "nothing", status=404)

        def all_at_once(n, gateway):
            found = [None] * len(by_name(hub, n))

            def ask(way):
                client = two.region(2).client(gateway=gateway)
                found[way] = by_name(client, n)[way]()
                client.close()
            run_all(*[lambda way=way: ask(way) for way in range(len(found))])
            return found

        # What is nowhere is missing, and the hub says so by itself.
        asked = [questions(region) for region in two.regions]
        for client in (quick, patient):
            assert {way().status for way in by_name(client, 0)} == {404}
            assert client.get("/dbs/d/colls/n0/docs/i", pk=["x"]).substatus == 1003
        assert [questions(region) for region in two.regions] == [asked[0] + 18, asked[1]]
        assert {way().status for way in by_name(hub, 0)} == {404}
        assert get(patient, "nothing").status == 404  # an item's read has its own rules
        assert [questions(region) for region in two.regions] == [asked[0] + 18, asked[1]]

        # A satellite that cannot know says that, and what it has is still read.
        two.isolate(2)
        make_named(hub, 1)
        found = all_at_once(1, gateway=0)
        assert all(answer.status == 503 and answer.header("x-ms-retry-after-ms") for answer in found), found
        assert get(quick, "nothing").status == 404 and quick.get("/dbs/d/colls/c").status == 200

        # Who waits finds it, when the hub has answered and its definitions have come.
        with two.region(2).postgres.connect() as connection:
            connection.execute("select from orrery.ranges where range_id = 0 for update")
            asked = questions(two.region(1))

            def come():
                wait_for(lambda: None if questions(two.region(1)) > asked else "the hub is not asked", 60)
                connection.rollback()
            two.heal()
            run_all(come, lambda: found.__setitem__(slice(None), all_at_once(1, gateway=1)))
        assert [answer.status for answer in found] == [200] * 8, found

        # Many who ask for what is missing do not ask the hub as often.
        two.delay(0.15)
        asked, begun = questions(two.region(1)), time.monotonic()
        for _ in range(2):
            assert {answer.status for answer in all_at_once(2, gateway=1)} == {404}
        assert 2 <= questions(two.region(1)) - asked <= 1 + (time.monotonic() - begun) / 0.3


def lost_in(client):
    """What the conflicts feed says: the item, what it did, who has its value."""
    found = client.get("/dbs/d/colls/c/conflicts").json["Conflicts"]
    return sorted((json.loads(one["content"])["id"], one["operationType"], one["resourceId"]) for one in found)


def test_one_of_those_with_the_same_unique_key_stays():
    """Rule 7.4: three regions take one value at once. The hub dies after it saw the clash, decides when it is back, and all show the same."""
    with Account(regions=3, mode="multi", level="Session") as account:
        hub, second, third = clients = [writer_of(region) for region in account.regions]
        make(hub, uniqueKeyPolicy={"uniqueKeys": [{"paths": ["/u"]}]},
             conflictResolutionPolicy={"mode": "LastWriterWins", "conflictResolutionPath": "/rank"})
        put(hub, "first", u="first")
        for client in (second, third):
            until(client, "first", deadline_s=60)
        for one, other in ((1, 2), (1, 3), (2, 3)):
            account.cut(one, other)
        put(hub, "a", u="v", rank=2)
        put(hub, "m", u="w", rank=5)
        lost = put(second, "b", u="v", rank=1)
        put(second, "moves", u="w", rank=1)
        put(third, "c", u="v", rank=3)

        gateway = account.region(1).gateways[0]
        gateway.arm("apply-committed", "kill")
        account.link(1, 2).heal()
        gateway.wait_reached("apply-committed", 60)
        gateway.kill9()
        account.region(1).check()  # what came is noted
        assert account.region(1).sql("select (select count(*) from orrery.unique_clashes) + (select count(*) from orrery.conflicts)") != [(0,)]
        account.region(1).restart()
        account.wait_ready()
        hub = clients[0] = writer_of(account.region(1))
        assert until(hub, "b", 404, deadline_s=60).status == until(hub, "moves", 404, deadline_s=60).status == 404
        token = get(hub, "b").header("x-ms-session-token")

        # a region that has not heard of it takes the value off one of the losers
        put(second, "moves", u="elsewhere", rank=1)
        account.heal()
        a, c, m = (get(client, id).json["_rid"] for client, id in ((hub, "a"), (third, "c"), (hub, "m")))
        expected = sorted([("a", "create", c), ("b", "create", a)])
        for client in clients:
            wait_for(lambda: None if (found := lost_in(client)) == expected else f"the feed has {found}", 60)
        account.wait_converged()
        account.check()
        for client in clients:
            assert [get(client, id).status for id in ("first", "a", "b", "c", "m", "moves")] == [200, 404, 404, 200, 200, 200]
            assert get(client, "moves").json["u"] == "elsewhere" and get(client, "m").json["_rid"] == m
            [b] = [one for one in client.get("/dbs/d/colls/c/conflicts").json["Conflicts"] if json.loads(one["content"])["id"] == "b"]
            assert json.loads(b["content"]) == lost.json and b["_etag"] == lost.json["_etag"]
            taken = client.post("/dbs/d/colls/c/docs", {"id": "new", "pk": "x", "u": "v"}, headers=PK)
            assert (taken.status, taken.substatus) == (409, 3301)
        answer = third.get("/dbs/d/colls/c/docs/b", headers={**PK, "x-ms-session-token": token})
        assert (answer.status, answer.substatus) == (404, 0), "the removal is a write of the hub as others are"
        for region in account.regions:
            wait_for(lambda: None if region.sql("select from orrery.unique_clashes") == [] else f"{region.name} looks for a clash", 60)
