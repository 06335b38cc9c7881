import pytest


@pytest.mark.parametrize("mode", ["http", "https"])
def test_python(sdk_runs, gateway, mode, scenario):
    sdk_runs.results("python", mode, gateway).check(scenario)
