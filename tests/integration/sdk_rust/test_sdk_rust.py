import pytest


@pytest.mark.parametrize("mode", ["http", "https"])
def test_rust(sdk_runs, gateway, mode, scenario):
    if mode == "http":
        pytest.skip("this release of the SDK speaks HTTP/2 to plain HTTP endpoints without asking; Orrery speaks HTTP/1.1")
    sdk_runs.results("rust", mode, gateway).check(scenario)
