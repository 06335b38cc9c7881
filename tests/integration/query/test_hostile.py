"""Queries that nobody should send: they are refused, soon, and harm nobody else."""

import json
import statistics
import threading
import time
import uuid

import pytest
from support import query_cases, wire

QUERY = {"content-type": "application/query+json", "x-ms-documentdb-isquery": "True",
         "x-ms-documentdb-query-enablecrosspartition": "True"}
SOON_S = 20  # with sanitizers, on a busy machine


@pytest.fixture(scope="module")
def client(gateway):
    client = gateway.client()
    yield client
    client.close()


@pytest.fixture(scope="module")
def path(client):
    client.post("/dbs", {"id": "hostile"})
    name = uuid.uuid4().hex[:12]
    assert client.post("/dbs/hostile/colls", {"id": name, "partitionKey": {"paths": ["/pk"], "kind": "Hash", "version": 2}},
                       headers={"x-ms-offer-throughput": "50000"}).status == 201
    path = f"/dbs/hostile/colls/{name}"
    for n in range(30):
        item = {"id": f"{n}", "pk": f"{n % 7}", "n": n, "a": [1, 2, 3], "s": "a" * n}
        assert client.post(f"{path}/docs", item, pk=[item["pk"]]).status == 201
    return path


def ask(client, path, text, parameters=None, **headers):
    began = time.monotonic()
    answer = client.post(f"{path}/docs", {"query": text, "parameters": parameters or []}, headers={**QUERY, **headers})
    assert time.monotonic() - began < SOON_S, f"{time.monotonic() - began} s for {text[:80]}"
    assert answer.status in (200, 400), (text[:80], answer)
    if answer.status == 400:
        assert answer.json["code"] == "BadRequest" and len(answer.json["message"]) < 2000, answer
        for word in ("SQLSTATE", "ERROR:", "pg_", "range_id", "jsonb", "items_"):
            assert word not in answer.json["message"], answer
    return answer


NESTED = {
    "parentheses": lambda n: "SELECT VALUE " + "(" * n + "1" + ")" * n,
    "arrays": lambda n: "SELECT VALUE " + "[" * n + "1" + "]" * n,
    "objects": lambda n: "SELECT VALUE " + "{a:" * n + "1" + "}" * n,
    "not": lambda n: "SELECT VALUE " + "NOT " * n + "true",
    "minus": lambda n: "SELECT VALUE " + "- " * n + "1",
    "sum": lambda n: "SELECT VALUE 1" + "+1" * n,
    "and": lambda n: "SELECT VALUE c.n FROM c WHERE c.n=1" + " AND c.n=1" * n,
    "or": lambda n: "SELECT VALUE c.n FROM c WHERE c.n=1" + " OR c.n=2" * n,
    "conditions": lambda n: "SELECT VALUE " + "true?" * n + "1" + ":1" * n,
    "concatenation": lambda n: "SELECT VALUE 'a'" + "||'a'" * n,
    "coalescing": lambda n: "SELECT VALUE 1" + "??1" * n,
    "members": lambda n: "SELECT VALUE c" + ".a" * n + " FROM c",
    "subscripts": lambda n: "SELECT VALUE c" + "[0]" * n + " FROM c",
    "subqueries": lambda n: "SELECT VALUE " + "(SELECT VALUE " * n + "1" + ")" * n,
    "exists": lambda n: "SELECT VALUE " + "EXISTS(SELECT VALUE " * n + "1" + ")" * n,
    "sources": lambda n: "SELECT VALUE 1 FROM " + "(SELECT * FROM " * n + "c" + ") AS c" * n,
    "calls": lambda n: "SELECT VALUE " + "ABS(" * n + "1" + ")" * n,
    "list": lambda n: "SELECT VALUE c.n FROM c WHERE c.n IN (" + ",".join(map(str, range(n))) + ")",
    "items": lambda n: "SELECT " + ",".join(f"c.n AS a{i}" for i in range(n)) + " FROM c",
    "keys": lambda n: "SELECT COUNT(1) FROM c GROUP BY " + ",".join(f"c.k{i}" for i in range(n)),
    "order": lambda n: "SELECT * FROM c ORDER BY " + ",".join(f"c.k{i}" for i in range(n)),
    "arguments": lambda n: "SELECT VALUE CONCAT(" + ",".join(["'a'"] * n) + ")",
    "aggregates": lambda n: "SELECT " + ",".join(f"SUM(c.n + {i})" for i in range(n)) + " FROM c",
    "joins": lambda n: "SELECT VALUE 1 FROM c" + "".join(f" JOIN x{i} IN c.none" for i in range(n)),
    "likes": lambda n: "SELECT VALUE c.n FROM c WHERE c.s LIKE '" + "%a" * n + "b'",
    "comments": lambda n: "SELECT VALUE 1 " + "/**/" * n,
}


@pytest.mark.parametrize("kind", NESTED)
def test_much_of_one_thing(client, path, kind):
    """Few are answered; what is too much is refused where a limit is, whatever the length."""
    assert ask(client, path, NESTED[kind](3)).status == (400 if kind == "order" else 200)
    for count in (20, 127, 1000, 20000):
        ask(client, path, NESTED[kind](count))


def test_length(client, path):
    room = 512 * 1024 - len("SELECT VALUE 1 --")
    assert ask(client, path, "SELECT VALUE 1 --" + "x" * room).status == 200
    assert ask(client, path, "SELECT VALUE 1 --" + "x" * (room + 1)).status == 400
    assert ask(client, path, "SELECT VALUE '" + "x" * 400_000 + "'").status == 200


def test_much_work(client, path):
    for text in (
        "SELECT VALUE COUNT(1) FROM c JOIN a IN c.a JOIN b IN c.a JOIN d IN c.a JOIN e IN c.a JOIN f IN c.a JOIN g IN c.a JOIN h IN c.a JOIN i IN c.a",
        "SELECT VALUE RegexMatch(c.s, '(a*)*b') FROM c",
        f"SELECT VALUE RegexMatch('{'a' * 5000}', '^(a+)+$b') FROM c",
        "SELECT VALUE " + "||".join(["REPLICATE('a', 10000)"] * 100) + " FROM c",
        "SELECT VALUE ARRAY(SELECT VALUE [a,b,d,e,f,g] FROM a IN c.a JOIN b IN c.a JOIN d IN c.a JOIN e IN c.a JOIN f IN c.a JOIN g IN c.a) FROM c",
        "SELECT VALUE c.s LIKE '" + "%a%" * 200 + "b' FROM c",
        "SELECT DISTINCT VALUE [c.n, a, b, d, e] FROM c JOIN a IN c.a JOIN b IN c.a JOIN d IN c.a JOIN e IN c.a",
    ):
        ask(client, path, text)


def test_others_go_on_meanwhile(gateway, client, path):
    """A point read beside queries that compute is not held up by them."""
    heavy = ("SELECT VALUE COUNT(1) FROM c JOIN a IN c.a JOIN b IN c.a JOIN d IN c.a JOIN e IN c.a JOIN f IN c.a JOIN g IN c.a "
             "JOIN h IN c.a JOIN i IN c.a JOIN j IN c.a")
    stop = threading.Event()

    def compute():
        own = gateway.client()
        while not stop.is_set():
            ask(own, path, heavy)
        own.close()

    threads = [threading.Thread(target=compute) for _ in range(2)]
    for thread in threads:
        thread.start()
    times = []
    try:
        time.sleep(0.3)
        for _ in range(30):
            began = time.monotonic()
            assert client.get(f"{path}/docs/3", pk=["3"]).status == 200
            times.append(time.monotonic() - began)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert statistics.median(times) < 0.5 and max(times) < 3, times


@pytest.mark.parametrize("body", [
    b"", b"{}", b"[]", b"null", b'"SELECT 1"', b'{"query":5}', b'{"query":null}', b'{"query":["SELECT 1"]}', b'{"query":"SELECT 1"',
    b'{"query":"SELECT 1","parameters":5}', b'{"query":"SELECT 1","parameters":{"@p":1}}', b'{"query":"SELECT 1","parameters":[5]}',
    b'{"query":"SELECT 1","parameters":[{"value":1}]}', b'{"query":"SELECT 1","parameters":[{"name":"p","value":1}]}',
    b'{"query":"SELECT 1","parameters":[{"name":5,"value":1}]}', b'{"query":"SELECT 1","parameters":[{"name":"@p","value":1},{"name":"@p","value":2}]}',
    b"\xff\xfe", b'{"query":"SELECT \xff"}', b'{"query":"SELECT VALUE \\u0000"}', b'{"query":""}', b'{"query":"   "}', b'{"query":"-- nothing"}',
    b'{"query":"SELECT VALUE @p","parameters":[{"name":"@p","value":"\\ud800"}]}',
    b'{"query":"SELECT VALUE @p","parameters":[{"name":"@p","value":' + b"[" * 5000 + b"]" * 5000 + b"}]}",
])
def test_bodies_that_are_no_query(client, path, body):
    answer = client.request("POST", f"{path}/docs", body, headers=QUERY)
    assert answer.status == 400 and answer.json["code"] == "BadRequest" and answer.json["message"], answer


@pytest.mark.parametrize("name, value", [
    ("x-ms-max-item-count", "-2"), ("x-ms-max-item-count", "many"), ("x-ms-max-item-count", "1.5"),
    ("x-ms-documentdb-partitionkeyrangeid", "99"), ("x-ms-documentdb-partitionkeyrangeid", "x"), ("x-ms-documentdb-partitionkey", "5"),
    ("x-ms-documentdb-partitionkey", "[1,2]"), ("x-ms-documentdb-partitionkey", "[" * 100), ("x-ms-start-epk", "zz"),
    ("x-ms-documentdb-responsecontinuationtokenlimitinkb", "x"),
])
def test_headers_that_make_no_sense(client, path, name, value):
    answer = client.post(f"{path}/docs", {"query": "SELECT * FROM c"}, headers={**QUERY, name: value})
    assert answer.status in (400, 410) and answer.json["message"], answer


def test_parameters_of_every_shape(client, path):
    """What a parameter holds is never taken for a part of the query, or of a statement."""
    for value in ("'; DROP TABLE items_1; --", '"', "\\", "' OR 1=1", "$1", "%s", "{0}", "\u2028", "x" * 100_000, -0.0, 1e308, 5e-324, [], {}, None,
                  {"$ref": 1}, [[[[]]]], {"a\"b'c\\": 1}, True):
        answer = ask(client, path, "SELECT VALUE @p FROM c WHERE c.id = '1'", [{"name": "@p", "value": value}])
        assert [query_cases.canonical(row) for row in answer.json["Documents"]] == [query_cases.canonical(value)]
        assert ask(client, path, "SELECT VALUE c.id FROM c WHERE c.n = @p", [{"name": "@p", "value": value}]).json["Documents"] in ([], ["0"])
        key = value if isinstance(value, str) else "k"
        text = f"SELECT VALUE c[{json.dumps(key, ensure_ascii=False)}] FROM c WHERE c[@k] = @p ORDER BY c.id"
        if len(key) < 1000:
            assert ask(client, path, text, [{"name": "@k", "value": key}, {"name": "@p", "value": value}]).json["Documents"] == []


def test_names_of_every_shape(client, path):
    odd = {"'": 1, '"': 2, "\\": 3, "a.b": 4, "a b": 5, "$": 6, "{x}": 7, "": 8, "é": 9, "😀": 10, "a'||'b": 11, "--": 12, "/*": 13, "0": 14, "%": 15}
    assert client.post(f"{path}/docs", {"id": "odd", "pk": "odd", "o": odd}, pk=["odd"]).status == 201
    for name, value in odd.items():
        quoted = json.dumps(name, ensure_ascii=False)
        for text in (f"SELECT VALUE c.o[{quoted}] FROM c WHERE c.o[{quoted}] = {value}", f"SELECT VALUE c.o[{quoted}] FROM c WHERE c.o[{quoted}] > 0 ORDER BY c.o[{quoted}]",
                     f"SELECT VALUE MAX(c.o[{quoted}]) FROM c", f"SELECT VALUE c.o[{quoted}] FROM c WHERE IS_DEFINED(c.o[{quoted}]) GROUP BY c.o[{quoted}]",
                     f"SELECT DISTINCT VALUE c.o[{quoted}] FROM c"):
            answer = ask(client, path, text)
            assert answer.status == 200 and answer.json["Documents"] == [value], (text, answer)


def test_a_reader_that_is_slow(gateway, client, path):
    """A client that takes its time to read a large page holds up nobody."""
    text = "SELECT VALUE ARRAY(SELECT VALUE [c.s, a, b, d, e] FROM a IN c.a JOIN b IN c.a JOIN d IN c.a JOIN e IN c.a) FROM c"
    body = json.dumps({"query": text}).encode()
    request = wire.request_bytes("POST", f"{path}/docs", [*QUERY.items()], body)
    with gateway.raw() as slow:
        slow.send(request)
        for _ in range(10):
            assert client.get(f"{path}/docs/3", pk=["3"]).status == 200
            time.sleep(0.05)
        answer = slow.answer("POST")
        assert answer.status == 200 and answer.json["_count"] == 31


def test_a_client_that_leaves(gateway, client, path):
    body = json.dumps({"query": "SELECT VALUE COUNT(1) FROM c JOIN a IN c.a JOIN b IN c.a JOIN d IN c.a JOIN e IN c.a JOIN f IN c.a JOIN g IN c.a"}).encode()
    for pause_s in (0, 0.01, 0.1):
        for _ in range(5):
            with gateway.raw() as left:
                left.send(wire.request_bytes("POST", f"{path}/docs", [*QUERY.items()], body))
                time.sleep(pause_s)
    assert ask(client, path, "SELECT VALUE COUNT(1) FROM c").status == 200
