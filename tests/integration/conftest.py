"""What integration tests share: one PostgreSQL and one gateway for the whole run."""

import pathlib
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support import sdk  # noqa: E402
from support.gateway import Gateway  # noqa: E402
from support.postgres import Postgres  # noqa: E402


@pytest.fixture(scope="session")
def postgres():
    with Postgres() as server:
        yield server


@pytest.fixture(scope="session")
def gateway(postgres):
    """A gateway on TLS and plain HTTP that opens for the emulators' key."""
    with Gateway(postgres) as running:
        yield running


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    running = getattr(item, "funcargs", {}).get("gateway")
    if report.failed and isinstance(running, Gateway):
        report.sections.append(("end of the gateway's log", running.reports() or running.log(40)))


def pytest_generate_tests(metafunc):
    if "scenario" in metafunc.fixturenames:
        metafunc.parametrize("scenario", sdk.SCENARIOS)


class SdkRuns:
    """Runs each SDK's program once per way of transport, when its first scenario is asked for."""

    def __init__(self):
        self.found = {}

    def results(self, name, mode, gateway):
        if (name, mode) not in self.found:
            self.found[name, mode] = self.run(name, mode, gateway)
        found = self.found[name, mode]
        if isinstance(found, sdk.Missing):
            pytest.skip(str(found))
        if isinstance(found, Exception):
            raise found
        return found

    @staticmethod
    def run(name, mode, gateway):
        try:
            sdk.SUITES[name].prepare()
            return sdk.SUITES[name].results(gateway, mode)
        except (sdk.Missing, AssertionError, subprocess.TimeoutExpired) as error:
            return error  # every scenario says so, none tries again


@pytest.fixture(scope="session")
def sdk_runs():
    return SdkRuns()
