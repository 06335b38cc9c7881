import pytest


@pytest.mark.parametrize("mode", ["http", "https"])
def test_go(sdk_runs, gateway, mode, scenario):
    sdk_runs.results("go", mode, gateway).check(scenario)
