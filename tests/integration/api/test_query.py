"""Queries over HTTP: pages, continuations, scopes, limits, and what happens when something leaves or dies."""

import concurrent.futures
import json
import os
import socket
import time
import uuid

import pytest
from support.gateway import Gateway
from support.postgres import Postgres

RANGE_GONE = 1002
ITEMS = 120


@pytest.fixture(scope="module")
def client(gateway):
    client = gateway.client()
    yield client
    client.close()


@pytest.fixture(scope="module")
def database(client):
    name = f"query-{uuid.uuid4().hex[:12]}"
    assert client.post("/dbs", {"id": name}).status == 201
    yield f"/dbs/{name}"
    client.delete(f"/dbs/{name}")


def make_container(client, database, paths=("/pk",), throughput="400"):
    name = uuid.uuid4().hex[:12]
    key = {"paths": list(paths), "kind": "MultiHash" if len(paths) > 1 else "Hash", "version": 2}
    composite = [{"path": "/tens", "order": "ascending"}, {"path": "/n", "order": "ascending"}]
    answer = client.post(f"{database}/colls", {"id": name, "partitionKey": key,
                                               "indexingPolicy": {"compositeIndexes": [composite]}},
                         headers={"x-ms-offer-throughput": throughput})
    assert answer.status == 201, answer
    return f"{database}/colls/{name}"


def item(n):
    return {"id": f"i{n:03}", "pk": str(n % 20), "n": n, "even": n % 2 == 0, "tens": n // 10,
            "tags": [n % 3, n % 5], "text": f"text {n}"}


def fill(client, path, count=ITEMS):
    for n in range(count):
        one = item(n)
        assert client.post(f"{path}/docs", one, pk=[one["pk"]]).status == 201
    return path


@pytest.fixture(scope="module")
def narrow(client, database):
    return fill(client, make_container(client, database))


@pytest.fixture(scope="module")
def wide(client, database):
    return fill(client, make_container(client, database, throughput="50000"))


@pytest.fixture
def path(request, narrow, wide):
    return {"narrow": narrow, "wide": wide}[request.param]


both = pytest.mark.parametrize("path", ["narrow", "wide"], indirect=True)


def ask(client, path, text, parameters=None, pk=None, size=None, token=None, cross=True, **headers):
    """One page."""
    body = {"query": text}
    if parameters is not None:
        body["parameters"] = [{"name": name, "value": value} for name, value in parameters.items()]
    return client.post(f"{path}/docs", body, pk=pk, headers={
        "x-ms-documentdb-isquery": "True",
        "content-type": "application/query+json",
        "x-ms-documentdb-query-enablecrosspartition": "True" if cross else None,
        "x-ms-max-item-count": size and str(size),
        "x-ms-continuation": token,
        **{name.replace("_", "-"): value for name, value in headers.items()}})


def pages(client, path, text, size=None, **named):
    """Every page to the end."""
    token, found = None, []
    while True:
        answer = ask(client, path, text, size=size, token=token, **named)
        assert answer.status == 200, (answer.status, answer.body)
        body = answer.json
        assert body["_count"] == len(body["Documents"]) == int(answer.header("x-ms-item-count"))
        assert size is None or body["_count"] <= size
        found.append(body["Documents"])
        token = answer.header("x-ms-continuation")
        assert len(found) < 500
        if token is None:
            return found


def rows(client, path, text, size=None, **named):
    return [row for page in pages(client, path, text, size=size, **named) for row in page]


QUERIES = [
    ("SELECT VALUE c.n FROM c", False, range(ITEMS)),
    ("SELECT VALUE c.n FROM c WHERE c.n >= 50 AND c.even", False, range(50, ITEMS, 2)),
    ("SELECT VALUE t FROM c JOIN t IN c.tags WHERE c.n < 9", False, [t for n in range(9) for t in item(n)["tags"]]),
    ("SELECT VALUE c.n FROM c ORDER BY c.n DESC", True, range(ITEMS - 1, -1, -1)),
    ("SELECT VALUE c.n FROM c ORDER BY c.tens, c.n OFFSET 5 LIMIT 30", True, range(5, 35)),
    ("SELECT TOP 9 VALUE c.n FROM c ORDER BY c.n", True, range(9)),
    ("SELECT DISTINCT VALUE c.tens FROM c", False, range(12)),
    ("SELECT DISTINCT VALUE c.tens FROM c ORDER BY c.tens DESC", True, range(11, -1, -1)),
    ("SELECT c.tens, COUNT(1) AS k, SUM(c.n) AS s FROM c GROUP BY c.tens", False,
     [{"tens": t, "k": 10, "s": 100 * t + 45} for t in range(12)]),
    ("SELECT VALUE COUNT(1) FROM c", True, [ITEMS]),
    ("SELECT VALUE COUNT(1) FROM c WHERE c.n > 1000", True, [0]),
    ("SELECT VALUE COUNT(1) FROM (SELECT DISTINCT VALUE c.tens FROM c)", True, [12]),
    ("SELECT VALUE x * 2 FROM (SELECT DISTINCT VALUE c.tens FROM c) x WHERE x > 3", False, range(8, 24, 2)),
    ("SELECT VALUE x FROM x IN (SELECT VALUE [3, 1, 2])", True, [3, 1, 2]),
]


def plain(values):
    return sorted(json.dumps(value, sort_keys=True) for value in values)


@both
@pytest.mark.parametrize("size", [1, 7, 100])
@pytest.mark.parametrize("text, is_ordered, expected", QUERIES)
def test_pages_of_any_size_give_the_same(client, path, size, text, is_ordered, expected):
    found = rows(client, path, text, size=size)
    assert found == list(expected) if is_ordered else plain(found) == plain(expected)
