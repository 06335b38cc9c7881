import pytest
from support import sdk


@pytest.mark.parametrize("mode", ["http", "https"])
def test_rust(sdk_runs, gateway, mode, scenario):
    sdk_runs.results("rust", mode, gateway).check(scenario)


@pytest.mark.parametrize("query", sdk.QUERIES)
def test_rust_queries(sdk_runs, gateway, query):
    sdk_runs.results("rust", "http", gateway).check(query)
