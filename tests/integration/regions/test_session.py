"""Session tokens as vectors: what they list, what they wait for, where they are refused.

One region is enough: that another region's entries arrived, that a range came into another epoch, that a region was
retired, is written into its tables here, at the moment the test wants it.
"""

import itertools
import threading
import time

import pytest
from support.gateway import Gateway

FIRST, SECOND = 257, 513
NOT_AVAILABLE = 1002
WAIT_MS = 1000
numbers = itertools.count()


@pytest.fixture(scope="module")
def own(postgres):
    with Gateway(postgres, args=["--session-wait-ms", str(WAIT_MS), "--threads", "2"]) as running:
        yield running


@pytest.fixture(scope="module")
def client(own):
    client = own.client()
    assert client.post("/dbs", {"id": "tokens"}).status == 201
    yield client
    client.close()


class Range:
    """A container of one range, and what another region's doings leave in its row."""

    def __init__(self, client, postgres, name):
        self.client, self.postgres = client, postgres
        self.path = f"/dbs/tokens/colls/{name}"
        assert client.post("/dbs/tokens/colls", {
            "id": name, "partitionKey": {"paths": ["/pk"], "kind": "Hash", "version": 2}}).status == 201
        self.id, = self.sql("select max(range_id) from orrery.ranges")

    def sql(self, statement, *parameters):
        with self.postgres.connect(autocommit=True) as connection:
            cursor = connection.execute(statement, parameters)
            return cursor.fetchone() if cursor.description else None

    def create(self, name, **headers):
        return self.client.post(f"{self.path}/docs", {"id": name, "pk": "p"}, pk=["p"], headers=headers)

    def read(self, token=None, level=None, client=None):
        headers = {}
        if token:
            headers["x-ms-session-token"] = token
        if level:
            headers["x-ms-consistency-level"] = level
        return (client or self.client).get(f"{self.path}/docs/i", pk=["p"], headers=headers)

    def arrive(self, *vector):
        self.sql("update orrery.ranges set vector = %s::bigint[] where range_id = %s", list(vector), self.id)

    def enter(self, epoch, live, cut=()):
        self.sql("insert into orrery.range_epochs (range_id, epoch, hub, live, writers, cut)"
                 " values (%s, %s, 1, %s::smallint[], '{1}', %s::bigint[])"
                 " on conflict (range_id, epoch) do update set live = excluded.live, cut = excluded.cut",
                 self.id, epoch, list(live), list(cut))
        self.sql("update orrery.ranges set epoch = %s where range_id = %s", epoch, self.id)


@pytest.fixture
def one(request, client, postgres):
    found = Range(client, postgres, f"c{next(numbers)}")
    found.enter(FIRST, [1, 2])
    assert found.create("i").status == 201
    return found


def refused(answer):
    return answer.status == 404 and answer.header("x-ms-substatus") == str(NOT_AVAILABLE)


def later(seconds, call):
    thread = threading.Timer(seconds, call)
    thread.start()
    return thread


def test_a_token_lists_every_live_region_with_zeros_and_the_sum_of_all(one):
    assert one.read().header("x-ms-session-token") == "0:257#1#1=1#2=0"
    one.arrive(1, 7)
    assert one.read().header("x-ms-session-token") == "0:257#8#1=1#2=7"
    answer = one.create("second")
    assert answer.header("x-ms-session-token") == "0:257#9#1=2#2=7"


def test_a_retired_region_counts_in_the_sum_and_is_not_listed(one):
    one.arrive(1, 7, 5)
    one.enter(SECOND, [1, 3], cut=[None, 4])
    assert one.read().header("x-ms-session-token") == "0:513#13#1=1#3=5"


def test_a_write_meets_a_new_epoch_of_the_range(one):
    one.read()  # the gateway knows the first epoch
    one.enter(SECOND, [1, 2, 3])
    answer = one.create("second")
    assert answer.status == 201 and answer.header("x-ms-session-token") == "0:513#2#1=2#2=0#3=0"


def test_a_read_waits_for_what_its_token_names(one, own):
    begun = time.monotonic()
    thread = later(0.3, lambda: one.arrive(1, 3))
    answer = one.read("0:257#4#1=1#2=3")
    took = time.monotonic() - begun
    thread.join()
    assert answer.status == 200 and answer.header("x-ms-session-token") == "0:257#4#1=1#2=3"
    assert 0.25 < took < 0.3 + WAIT_MS / 1000


def test_a_read_gives_up_after_a_bounded_wait(one):
    begun = time.monotonic()
    answer = one.read("0:257#4#1=1#2=3")
    took = time.monotonic() - begun
    assert refused(answer) and answer.header("x-ms-session-token") is None
    assert WAIT_MS / 1000 <= took < 3 * WAIT_MS / 1000 + 1


def test_a_later_epoch_is_waited_for_too(one):
    thread = later(0.3, lambda: one.enter(SECOND, [1, 2]))
    assert one.read("0:513#1#1=1#2=0").status == 200
    thread.join()
    assert refused(one.read("0:769#1#1=1#2=0"))


def test_other_levels_do_not_wait(one):
    begun = time.monotonic()
    for level in ("Eventual", "ConsistentPrefix"):
        assert one.read("0:257#4#1=1#2=3", level=level).status == 200
    assert time.monotonic() - begun < WAIT_MS / 1000


def ways(one):
    """Every way to read: what is asked, and whether the answer had its items."""
    query = {"content-type": "application/query+json", "x-ms-documentdb-isquery": "True",
             "x-ms-documentdb-query-enablecrosspartition": "True"}
    docs = f"{one.path}/docs"

    def ask(text, **headers):
        return lambda token: one.client.post(docs, {"query": text}, headers={**query, **headers, "x-ms-session-token": token})

    batch = {"x-ms-cosmos-is-batch-request": "True", "x-ms-cosmos-batch-atomic": "True"}
    bulk = {"x-ms-cosmos-is-batch-request": "True", "x-ms-cosmos-batch-atomic": "False",
            "x-ms-cosmos-batch-continue-on-error": "True"}
    reading = [{"operationType": "Read", "id": "i", "partitionKey": '["p"]'}]
    return {
        "point": lambda token: one.read(token),
        "feed": lambda token: one.client.get(docs, headers={"x-ms-session-token": token}),
        "changes": lambda token: one.client.get(docs, headers={"a-im": "Incremental Feed", "x-ms-session-token": token}),
        "batch": lambda token: one.client.post(docs, reading, pk=["p"], headers={**batch, "x-ms-session-token": token}),
        "bulk": lambda token: one.client.post(docs, reading, headers={**bulk, "x-ms-session-token": token}),
        "patch": lambda token: one.client.request(
            "PATCH", f"{docs}/i", {"operations": [{"op": "set", "path": "/a", "value": 1}]}, pk=["p"],
            headers={"x-ms-session-token": token}),
        "rows": ask("SELECT * FROM c"),
        "joined": ask("SELECT VALUE c.id FROM c JOIN (SELECT VALUE 1) x"),
        "ordered": ask("SELECT * FROM c ORDER BY c.id"),
        "groups": ask("SELECT c.pk, COUNT(1) AS n FROM c GROUP BY c.pk"),
        "aggregate": ask("SELECT VALUE COUNT(1) FROM c"),
        "distinct": ask("SELECT DISTINCT c.pk FROM c"),
        "one key": ask("SELECT * FROM c WHERE c.pk = 'p'", **{"x-ms-documentdb-partitionkey": '["p"]'}),
        "nothing": ask("SELECT * FROM c WHERE false"),
    }


@pytest.mark.parametrize("way", ["point", "feed", "changes", "batch", "bulk", "patch", "rows", "joined", "ordered", "groups",
                                 "aggregate", "distinct", "one key", "nothing"])
def test_every_way_to_read_waits(one, way):
    ask = ways(one)[way]
    answer = ask("0:257#1#1=1#2=0")
    assert answer.status == 200, answer
    begun = time.monotonic()
    thread = later(0.3, lambda: one.arrive(2 if way == "patch" else 1, 3))
    answer = ask("0:257#4#1=1#2=3")
    took = time.monotonic() - begun
    thread.join()
    assert answer.status == 200 and took > 0.25, (answer, took)
    answer = ask("0:257#9#1=1#2=8")
    assert refused(answer) or (way == "bulk" and answer.status == 207), answer


@pytest.mark.parametrize("token", ["", "x", "0", "0:", "0:a", "0:257#1#1", "0:257#1#1=", "0:257#1#=1", "0:1#2#3=4;1:5",
                                   "0:257#1#1=99999999999999999999", "a:257#1#1=1"])
def test_a_malformed_token_is_refused_at_once(one, token):
    begun = time.monotonic()
    answer = one.client.get(f"{one.path}/docs/i", pk=["p"], headers={"x-ms-session-token": token or ","})
    assert answer.status == 400 and "session token" in answer.json["message"]
    assert time.monotonic() - begun < WAIT_MS / 1000


def test_a_token_of_another_container_is_refused_at_once(one):
    begun = time.monotonic()
    answer = one.read("0:257#9#1=9#2=0")
    assert answer.status == 404 and answer.substatus == 1002 and "another container" in answer.json["message"]
    assert time.monotonic() - begun < WAIT_MS / 1000


def test_ranges_that_the_container_does_not_have_are_passed_over(one):
    assert one.read("7:257#9#1=9#2=5,0:257#1#1=1#2=0,9:-1#4").status == 200


def test_what_a_forced_failover_cut_away_is_told(one):
    one.arrive(1, 4, 0)
    one.enter(SECOND, [1, 3], cut=[None, 4])
    answer = one.read("0:257#8#1=1#2=7")
    assert answer.status == 200 and answer.header("x-ms-orrery-session-lost") == "0:2#5-7"
    assert one.read("0:257#5#1=1#2=4").header("x-ms-orrery-session-lost") is None


def test_cuts_of_earlier_epochs_still_count(one):
    one.arrive(1, 4, 0)
    one.enter(SECOND, [1, 3], cut=[None, 4])
    one.enter(SECOND + 256, [1, 3])
    assert one.read("0:257#8#1=1#2=7").header("x-ms-orrery-session-lost") == "0:2#5-7"


def test_components_of_living_regions_are_never_clamped(one):
    one.enter(SECOND, [1, 2])
    assert refused(one.read("0:257#8#1=1#2=7"))


def test_another_gateway_of_the_region_may_bring_what_is_waited_for(one, postgres):
    with Gateway(postgres) as other:
        second = other.client()
        one.read()
        thread = later(0.2, lambda: one.arrive(1, 3))
        assert one.read("0:257#4#1=1#2=3", client=second).status == 200
        thread.join()
        second.close()
