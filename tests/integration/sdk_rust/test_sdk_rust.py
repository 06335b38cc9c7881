import pytest


@pytest.mark.parametrize("mode", ["http", "https"])
def test_rust(sdk_runs, gateway, mode, scenario):
    sdk_runs.results("rust", mode, gateway).check(scenario)
