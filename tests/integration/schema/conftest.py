"""The schema alone, without a gateway: one PostgreSQL, one container per test."""

import itertools
import sys
import pathlib

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from support.postgres import Postgres  # noqa: E402
from writer import Range  # noqa: E402

numbers = itertools.count(1000)

# what the gateway's connections for reads and writes set (schema/README.md)
SESSION = " ".join(f"-c {setting}=off" for setting in
                   ("enable_seqscan", "enable_hashjoin", "enable_mergejoin", "enable_bitmapscan", "jit"))


def make_container(connection, ranges=1, default_ttl=None, has_unique_keys=False):
    """Tables and rows as container_create makes them, without the metadata item."""
    number = next(numbers)
    connection.execute("select orrery.container_tables(%s, %s)", [number, default_ttl])
    connection.execute(
        "insert into orrery.ranges (range_id, container, index, epk_min, epk_max, epoch, origin, vector, committed,"
        " default_ttl, has_unique_keys) select %(n)s::bigint << 12 | i, %(n)s, i, '', '\\xff', 257, 1, '{0}', '{0}', %(t)s, %(u)s"
        " from generate_series(0, %(r)s - 1) i", {"n": number, "t": default_ttl, "u": has_unique_keys, "r": ranges})
    connection.execute("select orrery.ranges_enroll(%s)", [number])
    return number


@pytest.fixture(scope="session")
def server():
    with Postgres() as running:
        with running.connect("postgres", autocommit=True) as connection:
            # migrations and all later work by a role without any privilege but its database
            connection.execute("create role plain login")
            connection.execute("alter database orrery owner to plain")
        running.role = "plain"
        running.migrate()
        yield running


@pytest.fixture
def open_connection(server):
    opened = []

    def open_one():
        opened.append(server.connect(autocommit=True,
                                     options=f"-c plan_cache_mode=force_generic_plan {SESSION}"))
        return opened[-1]

    yield open_one
    for connection in opened:
        connection.close()


@pytest.fixture
def connection(open_connection):
    return open_connection()


@pytest.fixture
def make_range(connection):
    def make(**options):
        return Range(connection, make_container(connection, **options))

    return make


@pytest.fixture
def range_(make_range):
    return make_range()
