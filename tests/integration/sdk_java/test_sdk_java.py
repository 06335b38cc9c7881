import pytest


@pytest.mark.parametrize("mode", ["http", "https"])
def test_java(sdk_runs, gateway, mode, scenario):
    sdk_runs.results("java", mode, gateway).check(scenario)
