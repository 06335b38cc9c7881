import pytest
from support import query_cases


@pytest.fixture(scope="session")
def clients(gateway):
    with query_cases.Clients(gateway) as clients:
        yield clients


@pytest.fixture(scope="session")
def containers(clients):
    """{ranges: {set: path}}, filled with every set of items."""
    sets, _ = query_cases.read_all()
    assert clients.mine().post("/dbs", {"id": "query"}).status == 201
    return {ranges: query_cases.fill(clients, "query", sets, ranges) for ranges in query_cases.THROUGHPUT}
