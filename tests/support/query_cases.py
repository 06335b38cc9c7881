"""The cases of tests/query for everything that asks them over HTTP. tests/query/README.md describes the files."""

import concurrent.futures
import dataclasses
import json
import math
import pathlib
import tempfile
import threading

import pytest

from . import sdk

FOLDER = pathlib.Path(__file__).resolve().parents[1] / "query"
MARKS = {"=": "rows", ":": "ordered", "~": "nearly", "!": "refused"}
SYSTEM = ("_rid", "_self", "_etag", "_ts", "_attachments")
NEAR = 1e-9
# A container of less than 10,000 RU/s has one range, one of 50,000 has five.
THROUGHPUT = {1: "400", 5: "50000"}


@dataclasses.dataclass
class Set:
    name: str  # with its file's name, so unique
    items: list
    settings: dict


@dataclasses.dataclass
class Case:
    name: str  # file and line
    set: Set
    query: str
    parameters: list
    cannot: dict  # who cannot run it, and why
    kind: str = ""
    rows: list = None
    status: int = 200
    code: str = None
    place: tuple = None

    @property
    def body(self):
        return {"query": self.query, "parameters": self.parameters}

    def reason(self, who):
        """Why it is not asked there; None when it is."""
        return self.cannot.get("pending") or self.cannot.get(who)

    def check(self, who, faults):
        """Fail or skip the test that asks; faults() is {case's name: {what is wrong: in which ways}}."""
        if self.reason(who):
            pytest.skip(self.reason(who))
        found = faults()[self.name]
        if found:
            lines = [f"{fault}\n    {', '.join(ways)}" for fault, ways in found.items()]
            pytest.fail("\n".join([self.query, *lines]), pytrace=False)


def read_file(path):
    """The sets and the cases of one file."""
    sets, cases, current, case = {}, [], None, None
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), 1):
        mark, rest = line[:1], line[1:]
        if mark in ("", "#"):
            continue
        if mark == "{":
            current.items.append(json.loads(line))
        elif mark == "?":
            text = rest.removeprefix(" ")
            if case is None:
                case = Case(f"{path.stem}:{number}", current, text, [], {})
            else:
                case.query += "\n" + text
        elif mark == "@":
            name, value = line.split(" ", 1)
            case.parameters.append({"name": name, "value": json.loads(value)})
        elif mark == "-":
            _, who, why = line.split(" ", 2)
            case.cannot[who] = why
        elif mark in MARKS:
            case.kind = MARKS[mark]
            if mark == "!":
                refusal(case, *rest.split())
            else:
                case.rows = json.loads(f"[{rest}]")
            cases.append(case)
            case = None
        else:
            verb, name, *settings = line.split(" ", 2)
            if verb == "items":
                sets[name] = Set(f"{path.stem}-{name}", [], json.loads(settings[0]) if settings else {})
            current = sets[name]
    assert case is None, f"{path}: a query without an answer"
    return list(sets.values()), cases


def refusal(case, status, code=None, place=None):
    case.status, case.code = int(status), code
    case.place = tuple(map(int, place.split(".."))) if place else None


def read_all():
    """All sets and all cases."""
    sets, cases = [], []
    for path in sorted(FOLDER.glob("*.cases")):
        found = read_file(path)
        sets += found[0]
        cases += found[1]
    return sets, cases


# Containers


def fill(clients, database, sets, ranges):
    """A container for each set, with that many partition key ranges; its path by the set's name."""

    def make(one):
        client, path = clients.mine(), f"/dbs/{database}/colls"
        name = f"{one.name}-{ranges}"
        answer = client.post(path, {"id": name, "partitionKey": {"paths": ["/id"], "kind": "Hash", "version": 2},
                                    **one.settings}, headers={"x-ms-offer-throughput": THROUGHPUT[ranges]})
        assert answer.status == 201, f"{name}: {answer.body}"
        for item in one.items:
            made = client.post(f"{path}/{name}/docs", item, pk=[item["id"]])
            assert made.status == 201, f"{name}: {made.body}"
        return one.name, f"{path}/{name}"

    return dict(clients.map(make, sets))


class Clients:
    """One client per thread."""

    def __init__(self, gateway, threads=4):
        self.gateway, self.local, self.made = gateway, threading.local(), []
        self.pool = concurrent.futures.ThreadPoolExecutor(threads)

    def mine(self):
        if not hasattr(self.local, "client"):
            self.local.client = self.gateway.client()
            self.made.append(self.local.client)
        return self.local.client

    def map(self, work, things):
        return list(self.pool.map(work, things))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.pool.shutdown(cancel_futures=True)
        for client in self.made:
            client.close()


# Comparing


def bare(value):
    """Without what the server sets on items, wherever an item stands."""
    if isinstance(value, list):
        return [bare(one) for one in value]
    if isinstance(value, dict):
        is_item = "_self" in value
        return {k: bare(v) for k, v in value.items() if not (is_item and k in SYSTEM)}
    return value


def canonical(value):
    """A text that is the same for equal values: numbers as doubles, objects without order."""
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return json.dumps(value)
    if isinstance(value, (int, float)):
        return repr(float(value) + 0.0)
    if isinstance(value, list):
        return "[" + ",".join(map(canonical, value)) + "]"
    return "{" + ",".join(f"{json.dumps(k)}:{canonical(value[k])}" for k in sorted(value)) + "}"


def near(a, b):
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(near, a, b))
    numbers = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in (a, b))
    return math.isclose(a, b, rel_tol=NEAR, abs_tol=0) if numbers else canonical(a) == canonical(b)


def rows_fault(case, rows):
    """What is wrong with these rows; None when nothing is."""
    rows = bare(rows)
    if case.kind == "nearly":
        right = near(rows, case.rows)
    else:
        found, wanted = [canonical(row) for row in rows], [canonical(row) for row in case.rows]
        right = found == wanted if case.kind == "ordered" else sorted(found) == sorted(wanted)
    return None if right else f"rows {json.dumps(rows, ensure_ascii=False)}"


def errors_of(message):
    """The located errors in an error's message."""
    start = message.find('{"errors"')
    return json.JSONDecoder().raw_decode(message[start:])[0]["errors"] if start >= 0 else []


def refusal_fault(case, status, message):
    """What is wrong with this refusal; None when nothing is."""
    if status != case.status:
        return f"status {status}: {message}"
    errors = errors_of(message)
    if case.code and not any(error["code"] == case.code for error in errors) and f"{case.code}" not in message:
        return f"no {case.code}: {message}"
    if case.place and not any((e["location"]["start"], e["location"]["end"]) == case.place for e in errors):
        return f"not at {case.place}: {message}"
    return None


def answer_fault(case, rows, status, message):
    """What is wrong with an answer: rows, or else how it was refused."""
    if case.kind == "refused":
        return "is not refused" if rows is not None else refusal_fault(case, status, message)
    return f"{status} {message}" if rows is None else rows_fault(case, rows)


# SDKs


def sdk_faults(name, gateway):
    """Run a suite's program for queries over five ranges: {case's name: {what is wrong: in which ways}}.

    What the SDK's own pipeline cannot is still asked of the server directly.
    """
    suite = sdk.SUITES[name]
    sets, cases = read_all()
    cases = {case.name: case for case in cases if "pending" not in case.cannot}
    database = f"query-{name}"
    with Clients(gateway) as clients:
        assert clients.mine().post("/dbs", {"id": database}).status == 201
        paths = fill(clients, database, sets, 5)
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump([{"name": case.name, "container": paths[case.set.name].rsplit("/", 1)[1],
                    "direct": name in case.cannot, **case.body} for case in cases.values()], file)
        file.flush()
        lines = suite.query_lines(gateway, database, file.name)
    found = {case: {} for case in cases}
    ways = {case: set() for case in cases}
    for line in lines:
        case = cases[line["case"]]
        ways[case.name].add(line["way"])
        fault = answer_fault(case, line.get("rows"), line.get("status"), line.get("message"))
        if fault:
            found[case.name].setdefault(fault, []).append(line["way"])
    every = set().union(*ways.values())
    for case, done in ways.items():
        owed = {way for way in every if not (name in cases[case].cannot and way.startswith("planned"))}
        if done != owed:
            found[case].setdefault("no answer", []).extend(owed - done)
    return found
