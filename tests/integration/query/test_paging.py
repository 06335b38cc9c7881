"""Continuations of queries: while others write, after a crash, in another gateway, within a client's limits."""

import http.client
import json
import random
import threading
import uuid

import pytest
from support.gateway import Gateway

QUERY = {"content-type": "application/query+json", "x-ms-documentdb-isquery": "True",
         "x-ms-documentdb-query-enablecrosspartition": "True"}
KEYS = [None, True, False, "", "a", "é", "b" * 300, 0, -1.5, 7, 1e300, [1], {"k": [2]}]


def make(client, throughput, **settings):
    """An empty container; its path."""
    client.post("/dbs", {"id": "paging"})
    name = uuid.uuid4().hex[:12]
    answer = client.post("/dbs/paging/colls", {"id": name, "partitionKey": {"paths": ["/pk"], "kind": "Hash", "version": 2}, **settings},
                         headers={"x-ms-offer-throughput": throughput})
    assert answer.status == 201, answer
    return f"/dbs/paging/colls/{name}"


def put(client, path, item, upsert=False):
    headers = {"x-ms-documentdb-is-upsert": "True"} if upsert else {}
    answer = client.post(f"{path}/docs", item, pk=[item["pk"]], headers=headers)
    assert answer.status in (200, 201), answer


def page(client, path, text, token=None, size=3, **headers):
    answer = client.post(f"{path}/docs", {"query": text}, headers={
        **QUERY, "x-ms-max-item-count": str(size), "x-ms-continuation": token, **headers})
    assert answer.status == 200, answer
    return answer.json["Documents"], answer.header("x-ms-continuation")


def pages(client, path, text, size=3, between=None, token=None, **headers):
    """All rows, or those from a continuation on; between(n) runs after each page."""
    rows, token = page(client, path, text, token, size, **headers)
    count = 1
    while token:
        if between:
            between(count)
        more, token = page(client, path, text, token, size, **headers)
        assert len(more) <= size
        rows += more
        count += 1
        assert count < 2000
    return rows


@pytest.fixture(scope="module")
def client(gateway):
    client = gateway.client()
    yield client
    client.close()


def mixed(n):
    """An item of any type of sort key, or none."""
    key = KEYS[n % (len(KEYS) + 1)] if n % (len(KEYS) + 1) < len(KEYS) else ...
    item = {"id": f"kept-{n}", "pk": f"p{n % 11}", "n": n, "list": [n, n + 0.5]}
    return item if key is ... else {**item, "v": key}


QUERIES = {
    "rows": "SELECT c.id, c.n FROM c",
    "filtered": "SELECT c.id, c.n FROM c WHERE c.n >= 0",
    "up": "SELECT c.id, c.n FROM c ORDER BY c.v",
    "down": "SELECT c.id, c.n FROM c ORDER BY c.v DESC",
    "id": "SELECT c.id, c.n FROM c ORDER BY c.id",
    "joined": "SELECT c.id, x AS n FROM c JOIN x IN c.list",
    "groups": "SELECT c.id, c.n FROM c GROUP BY c.id, c.n",
    "distinct": "SELECT DISTINCT c.id, c.n FROM c",
}


@pytest.mark.parametrize("throughput", ["400", "50000"])
@pytest.mark.parametrize("name", QUERIES)
def test_others_write_between_pages(client, name, throughput):
    """Nothing twice, and nothing lost that was there all the time and did not change."""
    path = make(client, throughput)
    kept = [mixed(n) for n in range(84)]
    for item in kept:
        put(client, path, item)
    noise = random.Random(name)

    def write(count):
        item = {**mixed(noise.randrange(84)), "id": f"new-{count}", "pk": f"p{noise.randrange(11)}", "n": -count, "list": [-count]}
        put(client, path, item)
        if count % 2 == 0:
            old = f"new-{count - 1}"
            for key in range(11):
                if client.delete(f"{path}/docs/{old}", pk=[f"p{key}"]).status == 204:
                    break
        # What is written again with the same members stays where it was.
        put(client, path, kept[noise.randrange(84)], upsert=True)

    rows = pages(client, path, QUERIES[name], size=5, between=write)
    found = [(row["id"], row["n"]) for row in rows]
    assert len(found) == len(set(found)), "a row came twice"
    wanted = {(i["id"], n) for i in kept for n in (i["list"] if name == "joined" else [i["n"]])}
    assert wanted <= set(found), "a row that was there all the time is missing"


@pytest.mark.parametrize("name", QUERIES)
def test_many_write_meanwhile(gateway, client, name):
    path = make(client, "50000")
    kept = [mixed(n) for n in range(60)]
    for item in kept:
        put(client, path, item)
    stop = threading.Event()

    def write(who):
        own, count = gateway.client(), 0
        while not stop.is_set():
            count += 1
            put(own, path, {"id": f"new-{who}-{count}", "pk": f"p{count % 11}", "n": -1 - count, "v": KEYS[count % len(KEYS)], "list": [-count]})
            put(own, path, kept[count % 60], upsert=True)
            if count > 2:
                own.delete(f"{path}/docs/new-{who}-{count - 2}", pk=[f"p{(count - 2) % 11}"])
        own.close()

    writers = [threading.Thread(target=write, args=[who]) for who in range(2)]
    for writer in writers:
        writer.start()
    try:
        found = [(row["id"], row["n"]) for row in pages(client, path, QUERIES[name], size=4)]
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    assert len(found) == len(set(found)), "a row came twice"
    assert {(i["id"], n) for i in kept for n in (i["list"] if name == "joined" else [i["n"]])} <= set(found)


def test_the_order_is_kept_over_pages(client):
    """Pages of any size give one and the same sequence, for sort keys of every type."""
    path = make(client, "50000")
    for n in range(60):
        put(client, path, mixed(n))
    for name in ("rows", "up", "down", "id", "joined"):
        whole = pages(client, path, QUERIES[name], size=1000)
        for size in (1, 2, 7, 59):
            assert pages(client, path, QUERIES[name], size=size) == whole, (name, size)


SEARCHED = {"fullTextPolicy": {"defaultLanguage": "en-US", "fullTextPaths": [{"path": "/text", "language": "en-US"}]}}
# Rows: as many items give none as give some, and no item gives one behind the last that does.
COUNTED = {
    "rows": "SELECT c.id FROM c",
    "items": "SELECT * FROM c",
    "values": "SELECT VALUE c.maybe FROM c",
    "filtered": "SELECT c.id FROM c WHERE c.n < 11",
    "filtered values": "SELECT VALUE c.maybe FROM c WHERE c.n >= 0",
    "filtered in memory": "SELECT c.id FROM c WHERE RegexMatch(c.id, '^kept-[1-3].?$', 'x')",
    "joined": "SELECT x FROM c JOIN x IN c.list",
    "joined and filtered": "SELECT x FROM c JOIN x IN c.list WHERE x < 9 AND x > 8",
    "values of joined": "SELECT VALUE x.none ?? c.maybe FROM c JOIN x IN c.list",
    "window": "SELECT c.id FROM c OFFSET 3 LIMIT 12",
    "window beyond the end": "SELECT c.id FROM c OFFSET 28 LIMIT 12",
    "window behind the end": "SELECT c.id FROM c OFFSET 40 LIMIT 12",
    "first": "SELECT TOP 6 c.id FROM c",
    "ordered": "SELECT c.id FROM c ORDER BY c.n DESC",
    "ordered items": "SELECT * FROM c ORDER BY c.n",
    "ordered values": "SELECT VALUE c.maybe FROM c ORDER BY c.n",
    "ordered by any type": "SELECT c.id FROM c ORDER BY c.v DESC",
    "values ordered by any type": "SELECT VALUE c.maybe FROM c ORDER BY c.v",
    "ordered window": "SELECT VALUE c.maybe FROM c ORDER BY c.n OFFSET 2 LIMIT 7",
    "ordered first": "SELECT TOP 8 c.id FROM c ORDER BY c.v",
    "ordered joined": "SELECT x FROM c JOIN x IN c.list ORDER BY x DESC",
    "ordered joined values": "SELECT VALUE c.maybe FROM c JOIN x IN c.list ORDER BY x",
    "ordered distinct": "SELECT DISTINCT VALUE c.maybe FROM c ORDER BY c.maybe",
    "groups": "SELECT c.n % 7 AS k, COUNT(1) AS n FROM c GROUP BY c.n % 7",
    "groups of values": "SELECT VALUE MAX(c.maybe) FROM c GROUP BY c.n",
    "groups of lists": "SELECT MAKELIST(c.n) AS l FROM c GROUP BY c.n % 5",
    "groups window": "SELECT VALUE MAX(c.maybe) FROM c GROUP BY c.n OFFSET 2 LIMIT 6",
    "distinct": "SELECT DISTINCT c.pk FROM c",
    "distinct values": "SELECT DISTINCT VALUE c.maybe FROM c",
    "aggregate": "SELECT COUNT(1) AS n FROM c",
    "aggregate of nothing": "SELECT VALUE MAX(c.nothing) FROM c",
    "of gathered": "SELECT VALUE x.m FROM (SELECT DISTINCT c.maybe AS m, c.n FROM c) x",
    "ordered of gathered": "SELECT VALUE x.m FROM (SELECT DISTINCT c.maybe AS m, c.n FROM c) x ORDER BY x.n",
    "groups of gathered": "SELECT x.k, COUNT(1) AS n FROM (SELECT DISTINCT c.pk AS k FROM c) x GROUP BY x.k",
    "ranked": "SELECT TOP 20 c.id FROM c ORDER BY RANK FullTextScore(c.text, 'swim')",
    "ranked values": "SELECT TOP 11 VALUE c.maybe FROM c ORDER BY RANK FullTextScore(c.text, 'swim')",
    "none": "SELECT c.id FROM c WHERE c.n < 0",
    "without items": "SELECT VALUE 1",
}


@pytest.fixture(scope="module", params=["400", "50000"])
def counted(request, client):
    path = make(client, request.param, **SEARCHED)
    for n in range(30):
        item = {**mixed(n), "text": "swim " * (n + 1)}
        put(client, path, {**item, "maybe": n} if n % 2 == 0 and n < 20 else item)
    return path


@pytest.mark.parametrize("name", COUNTED)
def test_no_page_is_empty_but_the_only_one(client, counted, name):
    """As many pages as the rows fill, and the last one says that it is: clients that resume take an empty page for the end, or wait for more."""
    whole, token = page(client, counted, COUNTED[name], size=1000)
    assert token is None and (whole or name in ("none", "aggregate of nothing", "window behind the end"))
    for size in {1, 2, 5, len(whole) - 1, len(whole), len(whole) + 1} - {-1, 0}:
        rows, token, counts = [], None, []
        while token or not counts:
            more, token = page(client, counted, COUNTED[name], token, size)
            rows += more
            counts.append(len(more))
        assert counts == ([size] * (len(whole) // size) + [len(whole) % size] * (len(whole) % size > 0) or [0]), (size, counts)
        if name not in ("groups of lists",):
            assert sorted(map(json.dumps, rows)) == sorted(map(json.dumps, whole))


def test_descending_is_ascending_backwards(client):
    """Ties included, within one range."""
    path = make(client, "400")
    for n in range(60):
        put(client, path, mixed(n))
    for size in (1000, 7):
        assert pages(client, path, QUERIES["up"], size) == pages(client, path, QUERIES["down"], size)[::-1]


def test_after_a_crash_and_in_another_gateway(postgres):
    with Gateway(postgres, region="West US") as first:
        client = first.client()
        path = make(client, "50000")
        for n in range(40):
            put(client, path, mixed(n))
        begun = {name: page(client, path, text, size=7) for name, text in QUERIES.items()}
        wholes = {name: pages(client, path, text, size=1000) for name, text in QUERIES.items()}
        with Gateway(postgres, region="West US") as second:
            other = second.client()
            for name, (rows, token) in begun.items():
                assert rows + pages(other, path, QUERIES[name], size=1000, token=token) == wholes[name], name
            other.close()
        client.close()
        first.kill9()
        first.start()
        client = first.client()
        for name, (rows, token) in begun.items():
            assert rows + pages(client, path, QUERIES[name], size=1000, token=token) == wholes[name], name
        client.close()


def refused(client, path, text, token, parameters=None, **headers):
    answer = client.post(f"{path}/docs", {"query": text, "parameters": parameters or []}, headers={
        **QUERY, "x-ms-continuation": token, **headers})
    assert answer.status == 400, answer
    assert "continuation" in answer.json["message"], answer


def test_continuations_that_are_none(client):
    path, other = make(client, "50000"), make(client, "50000")
    for n in range(10):
        put(client, path, mixed(n))
    for name, text in QUERIES.items():
        token = page(client, path, text)[1]
        assert token, name
        for at in range(0, len(token), 5):
            refused(client, path, text, token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1:])
        for text_of_another in (text + " ", text.replace("c.id", "c.pk"), "SELECT * FROM c"):
            refused(client, path, text_of_another, token)
        refused(client, path, text, token, [{"name": "@p", "value": 1}])
        refused(client, other, text, token)
        refused(client, path, text, token[:-1])
        refused(client, path, text, token + "A")
        refused(client, path, text, token, **{"x-ms-documentdb-partitionkey": '["p1"]'})
        refused(client, path, text, token, **{"x-ms-documentdb-partitionkeyrangeid": "0"})
    for junk in ("x", "null", "{}", "-1", "A" * 5000, json.dumps({"token": "x", "range": {"min": "", "max": "FF"}}), "%00", "=" * 44):
        refused(client, path, QUERIES["rows"], junk)


def test_one_of_a_feed_is_none_of_a_query(client):
    path = make(client, "400")
    for n in range(10):
        put(client, path, mixed(n))
    feed = client.get(f"{path}/docs", headers={"x-ms-max-item-count": "2"}).header("x-ms-continuation")
    refused(client, path, "SELECT * FROM c", feed)
    token = page(client, path, "SELECT * FROM c")[1]
    assert client.get(f"{path}/docs", headers={"x-ms-continuation": token}).status == 400


def test_tokens_within_the_clients_limit(client):
    """Sort keys as long as an index takes them, and a limit of one KiB."""
    path = make(client, "50000")
    for n in range(12):
        put(client, path, {"id": f"{n}", "pk": f"p{n}", "v": ("ü" * 2000) + f"{n % 3}{n:02}", "w": "x" * 2000})
    limit = {"x-ms-documentdb-responsecontinuationtokenlimitinkb": "1"}
    for text in ("SELECT c.id FROM c ORDER BY c.v", "SELECT c.id FROM c ORDER BY c.v DESC", "SELECT c.id FROM c GROUP BY c.id, c.v"):
        rows, token = page(client, path, text, None, 1, **limit)
        while token:
            assert len(token) <= 1024
            more, token = page(client, path, text, token, 1, **limit)
            rows += more
        assert len(rows) == 12 and len({row["id"] for row in rows}) == 12
        if "ORDER" in text:
            ids = [int(row["id"]) for row in rows]
            wanted = sorted(range(12), key=lambda n: (n % 3, n), reverse="DESC" in text)
            assert ids == wanted, text


@pytest.mark.parametrize("name", QUERIES)
def test_the_item_at_which_a_page_ended_is_there_no_more(client, name):
    """The place in the order is kept, not the item."""
    path = make(client, "50000")
    kept = {item["id"]: item for item in map(mixed, range(30))}
    for item in kept.values():
        put(client, path, item)
    rows, token = page(client, path, QUERIES[name], size=4)
    while token:
        last = kept.pop(rows[-1]["id"], None)
        if last:
            assert client.delete(f"{path}/docs/{last['id']}", pk=[last["pk"]]).status == 204
        more, token = page(client, path, QUERIES[name], token, size=4)
        rows += more
    found = [(row["id"], row["n"]) for row in rows]
    assert len(found) == len(set(found))
    assert {(i["id"], n) for i in kept.values() for n in (i["list"] if name == "joined" else [i["n"]])} <= set(found)


def test_killed_while_it_answers(postgres):
    """Whoever asks the same page again after a crash gets it."""
    running = Gateway(postgres).start()
    try:
        client = running.client()
        path = make(client, "50000")
        for n in range(40):
            put(client, path, mixed(n))
        wholes = {name: pages(client, path, text, size=1000) for name, text in QUERIES.items()}
        for name, text in QUERIES.items():
            killer = threading.Timer(0.05, running.kill9)
            killer.start()
            rows, token, is_first = [], None, True
            while token or is_first:
                try:
                    more, token = page(client, path, text, token, size=1)
                except (OSError, http.client.HTTPException):
                    killer.join()
                    client.close()
                    running.start()
                    client = running.client()
                    continue
                rows, is_first = rows + more, False
            killer.join()
            if running.process is None:
                running.start()
                client = running.client()
            assert rows == wholes[name], name
    finally:
        running.stop()


def test_pages_are_bounded_in_bytes(client):
    path = make(client, "50000")
    for n in range(12):
        put(client, path, {"id": f"{n}", "pk": f"p{n}", "v": n, "text": "t" * 900_000})
    for text in ("SELECT * FROM c", "SELECT * FROM c ORDER BY c.v", "SELECT VALUE c.text FROM c", "SELECT c.v, c.text FROM c GROUP BY c.v, c.text"):
        rows, token, count = 0, None, 0
        while True:
            answer = client.post(f"{path}/docs", {"query": text}, headers={
                **QUERY, "x-ms-max-item-count": "-1", "x-ms-continuation": token})
            assert answer.status == 200, answer
            assert len(answer.body) <= 4 * 1024 * 1024 + 4096, text
            rows, token, count = rows + answer.json["_count"], answer.header("x-ms-continuation"), count + 1
            if not token:
                break
        assert rows == 12 and count >= 3, (text, rows, count)


def test_a_page_without_a_size_has_a_hundred(client):
    path = make(client, "400")
    for n in range(105):
        put(client, path, {"id": f"{n}", "pk": "p", "n": n})
    answer = client.post(f"{path}/docs", {"query": "SELECT c.n FROM c"}, headers=QUERY)
    assert answer.json["_count"] == 100 and answer.header("x-ms-continuation")
    answer = client.post(f"{path}/docs", {"query": "SELECT c.n FROM c"}, headers={**QUERY, "x-ms-max-item-count": "-1"})
    assert answer.json["_count"] == 105 and not answer.header("x-ms-continuation")
