"""Query plans over HTTP, and the queries they lead to: what a client does with them gives what the gateway answers at once."""

import json
import re
import uuid

import pytest

EVERYTHING = ("NonValueAggregate,Aggregate,Distinct,MultipleOrderBy,OffsetAndLimit,OrderBy,Top,CompositeAggregate,GroupBy,"
              "MultipleAggregates,NonStreamingOrderBy,ListAndSetAggregate,CountIf,DCount,HybridSearch")
FILTER = "{documentdb-formattableorderbyquery-filter}"
ITEMS = 60


def container(client, database, paths, throughput):
    name = uuid.uuid4().hex[:12]
    definition = {"id": name, "partitionKey": {"paths": paths, "kind": "MultiHash" if len(paths) > 1 else "Hash", "version": 2}}
    answer = client.post(f"{database}/colls", definition, headers={"x-ms-offer-throughput": throughput})
    assert answer.status == 201, answer
    return f"{database}/colls/{name}"


@pytest.fixture(scope="module")
def path(client, database):
    """Several ranges, with values of every type."""
    path = container(client, database, ["/pk"], "50000")
    odd = [None, True, False, "x", "é", [1], {"a": 1}, 1.5, -3, ""]
    for n in range(ITEMS):
        item = {"id": f"i{n:02}", "pk": f"k{n % 17}", "n": n, "kind": n % 4, "tags": [n % 3, n % 5]}
        if n % 6 != 5:
            item["v"] = odd[n % len(odd)]
        assert client.post(f"{path}/docs", item, pk=[item["pk"]]).status == 201
    return path


def plan(client, path, query, features=EVERYTHING, pk=None, **headers):
    body = query if isinstance(query, dict) else {"query": query}
    return client.post(f"{path}/docs", body, pk=pk, headers={
        "x-ms-cosmos-is-query-plan-request": "True",
        "x-ms-documentdb-isquery": "True",  # the Rust SDK sends both
        "x-ms-cosmos-supported-query-features": features,
        "x-ms-cosmos-query-version": "1.4",
        **{name.replace("_", "-"): value for name, value in headers.items()}})


def rows(client, path, text, **headers):
    found, token = [], None
    while True:
        answer = client.post(f"{path}/docs", {"query": text}, headers={
            "x-ms-documentdb-isquery": "True", "content-type": "application/query+json",
            "x-ms-documentdb-query-enablecrosspartition": "True",
            "x-ms-max-item-count": "7", "x-ms-continuation": token, **headers})
        assert answer.status == 200, (text, answer.body)
        found += answer.json["Documents"]
        token = answer.header("x-ms-continuation")
        if token is None:
            return found


def ranges(client, path):
    return [one["id"] for one in client.get(f"{path}/pkranges").json["PartitionKeyRanges"]]


# What a client does with the rows of all ranges, each a few lines; the unit tests have all of it. ----

def rank(item):
    """Sort values of several ranges: undefined, null, false, true, numbers, strings. Arrays and objects have no order to test."""
    if "item" not in item:
        return (0, 0)
    value = item["item"]
    if value is None:
        return (1, 0)
    if isinstance(value, bool):
        return (2, value)
    if isinstance(value, (int, float)):
        return (3, value)
    if isinstance(value, str):
        return (4, value)
    return (5 if isinstance(value, list) else 6, 0)


def combine(word, partials):
    if word == "Average":
        count = sum(one["item"]["count"] for one in partials)
        return sum(one["item"]["sum"] for one in partials) / count
    if word in ("Min", "Max"):
        found = [one["item2"][word.lower()] for one in partials if word.lower() in one["item2"]]
        return (min if word == "Min" else max)(found, key=lambda value: rank({"item": value}))
    return sum(one["item"] for one in partials)


def fan_out(client, path, query):
    answer = plan(client, path, query)
    assert answer.status == 200, (query, answer.body)
    info = answer.json["queryInfo"]
    text = (info["rewrittenQuery"] or query).replace(FILTER, "true")
    found = [row for one in ranges(client, path)
             for row in rows(client, path, text, **{"x-ms-documentdb-partitionkeyrangeid": one})]
    if info["orderBy"]:
        for row in found:
            assert row["_rid"] and len(row["orderByItems"]) == len(info["orderBy"])
        for at in reversed(range(len(info["orderBy"]))):
            found.sort(key=lambda row: rank(row["orderByItems"][at]), reverse=info["orderBy"][at] == "Descending")
        found = [row["payload"] for row in found]
    elif info["groupByExpressions"]:
        groups = {}
        for row in found:
            group = groups.setdefault(json.dumps(row["groupByItems"], sort_keys=True), [])
            if "payload" in row:  # otherwise VALUE of undefined
                group.append(row["payload"])
        found = [combined(info, group) for group in groups.values() if group]
    elif info["aggregates"]:
        found = [combine(info["aggregates"][0], [row[0] for row in found])]
    elif info["groupByAliases"]:
        found = [combined(info, [row["payload"] for row in found])]
    if info["distinctType"] != "None":
        found = list({json.dumps(row, sort_keys=True): row for row in found}.values())
    if info["limit"] is not None:
        found = found[info["offset"]:][:info["limit"]]
    if info["top"] is not None:
        found = found[:info["top"]]
    return [len(found)] if info["dCountInfo"] else found


def combined(info, group):
    if info["aggregates"]:
        return combine(info["aggregates"][0], [payload[0] for payload in group])
    if not info["groupByAliases"]:
        return group[0]
    return {alias: combine(word, [payload[alias] for payload in group]) if word else group[0][alias]
            for alias, word in info["groupByAliasToAggregateType"].items() if alias in group[0]}


@pytest.mark.parametrize("query", [
    "SELECT VALUE c.n FROM c",
    "SELECT c.n, c.v FROM c WHERE c.n > 10",
    "SELECT DISTINCT c.kind FROM c",
    "SELECT DISTINCT VALUE c.v FROM c",
    "SELECT VALUE COUNT(1) FROM (SELECT DISTINCT VALUE c.v FROM c)",
    "SELECT VALUE COUNT(1) FROM c",
    "SELECT VALUE COUNT(c.v) FROM c WHERE c.n < 0",
    "SELECT VALUE SUM(c.n) FROM c",
    "SELECT VALUE SUM(c.n) FROM c WHERE c.n = 3",
    "SELECT VALUE AVG(c.n) FROM c",
    "SELECT VALUE MIN(c.n) FROM c WHERE c.n > 55",
    "SELECT VALUE MAX(c.n) FROM c",
    "SELECT COUNT(1) AS n, MIN(c.n) AS low, MAX(c.n) AS high, AVG(c.n) AS mean, COUNTIF(c.n > 9) AS big FROM c",
    "SELECT c.kind, COUNT(1) AS n, SUM(t) AS sum, AVG(t) AS mean FROM c JOIN t IN c.tags GROUP BY c.kind",
    "SELECT VALUE c.v FROM c GROUP BY c.v",
    "SELECT VALUE MAX(c.n) FROM c GROUP BY c.kind",
])
def test_any_order(client, path, query):
    def sorted_rows(found):
        return sorted(json.dumps(row, sort_keys=True) for row in found)
    assert sorted_rows(fan_out(client, path, query)) == sorted_rows(rows(client, path, query))


@pytest.mark.parametrize("query", [
    "SELECT VALUE c.n FROM c ORDER BY c.n",
    "SELECT VALUE c.n FROM c ORDER BY c.n DESC",
    "SELECT c.n, t FROM c JOIN t IN c.tags WHERE c.n < 20 ORDER BY c.n",
    "SELECT TOP 7 VALUE c.n FROM c ORDER BY c.n DESC",
    "SELECT c.id FROM c WHERE c.n > 3 ORDER BY c.n OFFSET 5 LIMIT 6",
    "SELECT DISTINCT VALUE c.kind FROM c ORDER BY c.kind DESC",
    "SELECT DISTINCT VALUE c.v FROM c WHERE NOT (IS_ARRAY(c.v) OR IS_OBJECT(c.v)) ORDER BY c.v",
])
def test_in_order(client, path, query):
    assert fan_out(client, path, query) == rows(client, path, query)


@pytest.mark.parametrize("query, count", [
    ("SELECT c.id FROM c OFFSET 5 LIMIT 6", 6),
    ("SELECT TOP 8 c.id FROM c", 8),
    ("SELECT DISTINCT TOP 3 c.kind FROM c", 3),
    ("SELECT DISTINCT VALUE c.kind FROM c OFFSET 1 LIMIT 2", 2),
    ("SELECT TOP 2 c.kind FROM c GROUP BY c.kind", 2),
])
def test_as_many(client, path, query, count):
    assert len(ranges(client, path)) > 1
    assert len(fan_out(client, path, query)) == len(rows(client, path, query)) == count


def test_headers_and_body(client, path):
    answer = plan(client, path, {"query": "SELECT * FROM c WHERE c.pk = @pk", "parameters": [{"name": "@pk", "value": "k1"}]})
    assert answer.status == 200
    assert answer.header("content-type").startswith("application/json")
    assert float(answer.header("x-ms-request-charge")) > 0
    assert answer.header("x-ms-activity-id")
    assert answer.header("x-ms-continuation") is None
    (one,) = answer.json["queryRanges"]
    assert one["min"] == one["max"] != "" and one["isMaxInclusive"]
    assert answer.json["hybridSearchQueryInfo"] is None
    assert answer.json["queryInfo"]["aggregates"] == []


def test_key_of_the_request(client, path):
    """As .NET and Java ask when the caller names a partition key: it is the only one, and OFFSET is the range's."""
    of_filter = plan(client, path, "SELECT * FROM c WHERE c.pk = 'k1'").json["queryRanges"]
    answer = plan(client, path, "SELECT * FROM c OFFSET 1 LIMIT 2", pk=["k1"]).json
    assert answer["queryRanges"] == of_filter
    assert answer["queryInfo"]["limit"] is None and answer["queryInfo"]["rewrittenQuery"] == ""


def test_prefix_of_a_key(client, database):
    path = container(client, database, ["/a", "/b", "/c"], "400")
    by_header = plan(client, path, "SELECT * FROM c", pk=["x", 1]).json["queryRanges"]
    by_filter = plan(client, path, "SELECT * FROM c WHERE c.b = 1 AND c.a = 'x'").json["queryRanges"]
    assert by_header == by_filter
    assert by_header[0]["max"] == by_header[0]["min"] + "FF" and not by_header[0]["isMaxInclusive"]


def test_features(client, path):
    for features in ("", "OrderBy, Top", None):
        answer = plan(client, path, "SELECT c.kind, COUNT(1) FROM c GROUP BY c.kind", features=features)
        assert answer.status == 400
        assert answer.json["code"] == "BadRequest"
        assert "Query contained GroupBy, which the calling client does not support." in answer.json["message"]
    assert plan(client, path, "SELECT * FROM c ORDER BY c.n", features="Top, ORDERBY").status == 200
    assert plan(client, path, "SELECT * FROM c", features=None).status == 200


@pytest.mark.parametrize("body, message", [
    ({"query": "SELECT * FROM c WHERE"}, "SC1002"),
    ({"query": "SELECT * FROM c WHERE d.x = 1"}, "SC2001"),
    ({"query": "SELECT NOSUCH(c.x) FROM c"}, "SC2005"),
    ({"query": "SELECT VALUE 1 + COUNT(1) FROM c"}, "Compositions of aggregates"),
    ({"query": "SELECT * FROM c ORDER BY c.a, c.b"}, "composite index"),
    ({"query": 5}, "query"),
    ({}, "query"),
])
def test_refusals(client, path, body, message):
    answer = plan(client, path, body)
    assert answer.status == 400
    assert message in answer.json["message"], answer.json


def test_pages_of_none(client, path):
    """The Java SDK asks for pages of 0 rows with TOP 0."""
    answer = client.post(f"{path}/docs", {"query": "SELECT TOP 0 * FROM c"}, headers={
        "x-ms-documentdb-isquery": "True", "x-ms-documentdb-query-enablecrosspartition": "True", "x-ms-max-item-count": "0"})
    assert answer.status == 200
    assert answer.json["Documents"] == [] and answer.header("x-ms-continuation") is None


def test_no_container(client, database):
    answer = plan(client, f"{database}/colls/none", "SELECT * FROM c")
    assert answer.status == 404


def resumed(client, path, text, one, resume):
    answer = client.post(f"{path}/docs", {"query": text, "resumeFilter": resume}, headers={
        "x-ms-documentdb-isquery": "True", "content-type": "application/query+json",
        "x-ms-documentdb-partitionkeyrangeid": one, "x-ms-max-item-count": "-1"})
    assert answer.status == 200, (resume, answer.body)
    return answer.json["Documents"]


@pytest.mark.parametrize("direction", ["ASC", "DESC"])
def test_resume(client, path, direction):
    """At each row of a range: from that item on, from its sort values on, behind them."""
    text = (f"SELECT c._rid, [{{\"item\": c.v}}] AS orderByItems, c.n AS payload FROM c WHERE ((c.n < 40) AND (true)) "
            f"ORDER BY c.v {direction}")
    one = ranges(client, path)[0]
    scalar = [row for row in rows(client, path, text, **{"x-ms-documentdb-partitionkeyrangeid": one})]
    assert len(scalar) > 8
    values = [row["orderByItems"][0] for row in scalar]
    for at, row in enumerate(scalar):
        value = values[at].get("item", [])
        if isinstance(value, dict) or (value and isinstance(value, list)):
            continue
        same = [i for i, other in enumerate(values) if json.dumps(other) == json.dumps(values[at])]
        for resume, first in (({"rid": row["_rid"], "exclude": False}, at),
                              ({"exclude": False}, same[0]),
                              ({"rid": None}, same[0]),
                              ({"rid": row["_rid"], "exclude": True}, same[-1] + 1)):
            assert resumed(client, path, text, one, {"value": [value], **resume}) == scalar[first:]


def test_resume_pages(client, path):
    """A continuation goes on behind where the filter began."""
    text = "SELECT c._rid, [{\"item\": c.n}] AS orderByItems, c.n AS payload FROM c WHERE (true) ORDER BY c.n"
    one, found, token = ranges(client, path)[1], [], None
    everything = rows(client, path, text, **{"x-ms-documentdb-partitionkeyrangeid": one})
    resume = {"value": [everything[2]["payload"]], "rid": everything[2]["_rid"], "exclude": False}
    while True:
        answer = client.post(f"{path}/docs", {"query": text, "resumeFilter": resume}, headers={
            "x-ms-documentdb-isquery": "True", "x-ms-documentdb-partitionkeyrangeid": one, "x-ms-max-item-count": "2",
            "x-ms-continuation": token})
        assert answer.status == 200
        found += answer.json["Documents"]
        token = answer.header("x-ms-continuation")
        if token is None:
            break
    assert found == everything[2:]


def retrieved(answer):
    return int(re.search(r"retrievedDocumentCount=(\d+)", answer.header("x-ms-documentdb-query-metrics"))[1])


@pytest.mark.parametrize("direction", ["ASC", "DESC"])
def test_resume_begins_in_the_order(client, path, direction):
    """A page reads what it gives and one item more, in one range and in all; a continuation and a later filter: the later."""
    text = f"SELECT VALUE c.n FROM c ORDER BY c.n {direction}"
    fullest = max(ranges(client, path), key=lambda one: len(rows(client, path, text, **{"x-ms-documentdb-partitionkeyrangeid": one})))
    for one in (fullest, None):
        scope = {"x-ms-documentdb-partitionkeyrangeid": one}
        everything = rows(client, path, text, **scope)
        middle = len(everything) // 3
        assert len(everything) > middle + 6

        def ask(resume, token=None):
            answer = client.post(f"{path}/docs", {"query": text, "resumeFilter": resume}, headers={
                "x-ms-documentdb-isquery": "True", "x-ms-documentdb-query-enablecrosspartition": "True", "x-ms-max-item-count": "2",
                "x-ms-documentdb-populatequerymetrics": "True", "x-ms-continuation": token, **scope})
            assert answer.status == 200, answer.body
            assert retrieved(answer) <= 3
            return answer.json["Documents"], answer.header("x-ms-continuation")

        found, token = ask({"value": [everything[middle]], "exclude": False})
        assert found == everything[middle:middle + 2]
        assert ask({"value": [everything[middle]], "exclude": True})[0] == everything[middle + 1:middle + 3]
        assert ask({"value": [everything[0]]}, token)[0] == everything[middle + 2:middle + 4]
        assert ask({"value": [everything[middle + 1]], "exclude": True}, token)[0] == everything[middle + 2:middle + 4]
        assert ask({"value": [everything[middle + 4]]}, token)[0] == everything[middle + 4:middle + 6]


@pytest.mark.parametrize("resume", [
    5, [], {}, {"value": 5}, {"value": []}, {"value": [1, 2]}, {"value": [1], "rid": 5}, {"value": [1], "rid": "x"},
    {"value": [1], "exclude": "yes"}, {"value": [{"type": "array", "low": 1, "high": 2}]}, {"value": [[1]]},
])
def test_resume_refusals(client, path, resume):
    answer = client.post(f"{path}/docs", {"query": "SELECT * FROM c ORDER BY c.n", "resumeFilter": resume}, headers={
        "x-ms-documentdb-isquery": "True", "x-ms-documentdb-query-enablecrosspartition": "True"})
    assert answer.status == 400
    assert "resumeFilter" in answer.json["message"]


# ORDER BY RANK: statistics, components, fusion ----

HYBRID = EVERYTHING + ",WeightedRankFusion,HybridSearchSkipOrderByRewrite"
PLACE = "{documentdb-formattablehybridsearchquery-"


@pytest.fixture(scope="module")
def texts(client, database):
    """Texts in which the terms are more and more frequent, vectors that go the other way, over several ranges."""
    path = container(client, database, ["/id"], "50000")
    for n in range(30):
        item = {"id": f"t{n:02}", "n": n, "text": "word " * (40 - n) + "swim " * n + ("run " if n % 7 == 3 else ""), "v": [n % 11, n]}
        if n == 29:
            del item["text"]
        assert client.post(f"{path}/docs", item, pk=[item["id"]]).status == 201
    return path


def fused(client, path, query):
    answer = plan(client, path, query, features=HYBRID)
    assert answer.status == 200, answer.body
    assert answer.json["queryInfo"] is None
    info = answer.json["hybridSearchQueryInfo"]
    every = [{"x-ms-documentdb-partitionkeyrangeid": one} for one in ranges(client, path)]
    values = {}
    if info["requiresGlobalStatistics"]:
        found = [row for one in every for row in rows(client, path, info["globalStatisticsQuery"], **one)]
        values[f"{PLACE}totaldocumentcount}}"] = sum(row["documentCount"] for row in found)
        columns = iter(zip(*(row["fullTextStatistics"] for row in found), strict=True))
        for at, component in enumerate(info["componentQueryInfos"]):
            if f"{PLACE}totalwordcount-{at}}}" in component["rewrittenQuery"]:
                column = next(columns)
                values[f"{PLACE}totalwordcount-{at}}}"] = sum(one["totalWordCount"] for one in column)
                values[f"{PLACE}hitcountsarray-{at}}}"] = [sum(hits) for hits in zip(*(one["hitCounts"] for one in column), strict=True)]
    scores, payloads = {}, {}
    for component in info["componentQueryInfos"]:
        text = component["rewrittenQuery"].replace(FILTER, "true")
        for name, value in values.items():
            text = text.replace(name, json.dumps(value))
        for one in every:
            for row in rows(client, path, text, **one):
                scores[row["_rid"]] = row["payload"]["componentScores"]
                payloads[row["_rid"]] = row["payload"]["payload"]
    weights = info["componentWeights"] or [1] * len(info["componentQueryInfos"])
    total = dict.fromkeys(scores, 0)
    for at, component in enumerate(info["componentQueryInfos"]):
        sign = -1 if component["orderBy"] == ["Descending"] else 1
        for rid, score in scores.items():
            place = 1 + len({other[at] for other in scores.values() if sign * other[at] < sign * score[at]})
            total[rid] += weights[at] / (60 + place)
    order = sorted(total, key=lambda rid: -total[rid])
    skip = info["skip"] or 0
    return [payloads[rid] for rid in order][skip:][:info["take"]]


@pytest.mark.parametrize("query", [
    "SELECT TOP 10 VALUE c.n FROM c ORDER BY RANK FullTextScore(c.text, 'swim')",
    "SELECT VALUE c.n FROM c WHERE c.n < 25 ORDER BY RANK FullTextScore(c.text, 'swim', 'run') OFFSET 2 LIMIT 5",
    "SELECT TOP 6 c.id, c.n FROM c ORDER BY RANK RRF(FullTextScore(c.text, 'swim'), VectorDistance(c.v, [1, 0]), [3, 1])",
    "SELECT TOP 6 VALUE c.n FROM c ORDER BY RANK RRF(VectorDistance(c.v, [0, 1], false, {'distanceFunction': 'euclidean'}), "
    "FullTextScore(c.text, 'swim'), [1, 0.1])",
])
def test_rank(client, texts, query):
    assert fused(client, texts, query) == rows(client, texts, query)


def test_distance(client, texts):
    query = "SELECT TOP 8 VALUE c.n FROM c ORDER BY VectorDistance(c.v, [0, 1.5], false, {'distanceFunction': 'euclidean'})"
    assert plan(client, texts, query).json["queryInfo"]["hasNonStreamingOrderBy"]
    assert fan_out(client, texts, query) == rows(client, texts, query) == [1, 0, 2, 3, 4, 5, 6, 7]
