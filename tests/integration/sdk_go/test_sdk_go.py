import pytest
from support import sdk


@pytest.mark.parametrize("mode", ["http", "https"])
def test_go(sdk_runs, gateway, mode, scenario):
    sdk_runs.results("go", mode, gateway).check(scenario)


@pytest.mark.parametrize("query", sdk.QUERIES)
def test_go_queries(sdk_runs, gateway, query):
    sdk_runs.results("go", "http", gateway).check(query)
