"""Every case of tests/query over HTTP: with pages of 1, 7 and 100 items, with one partition key range and with five."""

import pytest
from support import query_cases

QUERY = {"content-type": "application/query+json", "x-ms-documentdb-isquery": "True",
         "x-ms-documentdb-query-enablecrosspartition": "True"}
PAGES = (100, 7, 1)
PAGES_MAX = 200
SETS, CASES = query_cases.read_all()


def page_fault(answer, size):
    body = answer.json
    count = len(body["Documents"])
    if body["_count"] != count or answer.header("x-ms-item-count") != str(count):
        return f"{count} rows, and says {body['_count']}, {answer.header('x-ms-item-count')}"
    if count > size:
        return f"{count} rows in a page of {size}"
    more = answer.header("x-ms-continuation")
    if more is not None and not (more.isascii() and more.isprintable() and 0 < len(more) <= 2048):
        return f"a continuation of {more!r}"
    return None


def ask(client, path, case, size):
    """All pages; what is wrong with them, None when nothing is."""
    rows, token = [], None
    for _ in range(PAGES_MAX):
        answer = client.post(f"{path}/docs", case.body, headers={
            **QUERY, "x-ms-max-item-count": str(size), "x-ms-continuation": token})
        if answer.status != 200:
            return query_cases.answer_fault(case, None, answer.status, answer.json["message"])
        fault = page_fault(answer, size)
        if fault:
            return fault
        rows += answer.json["Documents"]
        token = answer.header("x-ms-continuation")
        if token is None:
            return query_cases.answer_fault(case, rows, 200, "")
    return f"still not at the end after {PAGES_MAX} pages"


@pytest.fixture(scope="module")
def faults(clients, containers):
    """{case's name: {what is wrong: in which of its ways}}"""

    def work(case):
        found = {}  # fault: where
        for ranges in query_cases.THROUGHPUT:
            for size in PAGES:
                fault = ask(clients.mine(), containers[ranges][case.set.name], case, size)
                if fault:
                    found.setdefault(fault, []).append(f"{ranges} ranges, pages of {size}")
                if case.kind == "refused":
                    break  # before the first page
        return case.name, found

    return dict(clients.map(work, [case for case in CASES if not case.reason("rest")]))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(case, request):
    case.check("rest", lambda: request.getfixturevalue("faults"))


def test_no_statement_was_refused(faults, gateway):
    """What SQL cannot say is computed; it is not found out by a statement that fails."""
    lines = [line for line in gateway.log(10**6).splitlines() if "statement failed" in line or "computed without SQL" in line]
    assert faults and not lines, "\n".join(lines[:20])
