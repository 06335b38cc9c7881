"""Tests of the program around the gateway: its commands, its supervisor."""

import pathlib
import shutil
import subprocess
import sys
import tempfile

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from support.gateway import environment, program  # noqa: E402
from support.postgres import Postgres  # noqa: E402


@pytest.fixture(scope="session")
def orrery():
    """Run a command to its end: orrery("migrate", …) gives returncode, stdout, stderr as text."""

    def run(*args, env=None, timeout=60, **options):
        return subprocess.run([program(), *map(str, args)], env={**environment(), **(env or {})}, text=True,
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout, **options)

    return run


@pytest.fixture(scope="session")
def server():
    with Postgres() as running:
        yield running


@pytest.fixture
def database(server):
    """Connection string of an empty database."""
    name = f"test_{database.count}"
    database.count += 1
    with server.connect("postgres", autocommit=True) as connection:
        connection.execute(f"create database {name}")
    return server.conninfo(name)


database.count = 0


@pytest.fixture
def folder():
    """A folder that other users may enter, as PostgreSQL's must when root runs the tests."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="orrery-up-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)
