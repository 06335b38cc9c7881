import pytest
from support import sdk


@pytest.mark.parametrize("mode", ["http", "https"])
def test_java(sdk_runs, gateway, mode, scenario):
    sdk_runs.results("java", mode, gateway).check(scenario)


@pytest.mark.parametrize("query", sdk.QUERIES)
def test_java_queries(sdk_runs, gateway, query):
    sdk_runs.results("java", "http", gateway).check(query)
