import pytest


@pytest.mark.parametrize("mode", ["http", "https"])
def test_javascript(sdk_runs, gateway, mode, scenario):
    sdk_runs.results("javascript", mode, gateway).check(scenario)
