"""orrery migrate and orrery account digest."""

import subprocess

import psycopg
import pytest
from support.gateway import environment, program


def rows(database, sql):
    with psycopg.connect(database, autocommit=True) as connection:
        cursor = connection.execute(sql)
        return cursor.fetchall() if cursor.description else None


def applied(database):
    return [row[0] for row in rows(database, "select version from orrery.schema_migrations order by version")]


def test_without_a_database_it_is_wrong_usage(orrery):
    done = orrery("migrate")
    assert done.returncode == 2 and "--database" in done.stderr


@pytest.mark.parametrize("url", ["host=/nonexistent user=me password=hush", "postgresql://me:hush@127.0.0.1:1/x",
                                 "nonsense=1", "postgresql://%"])
def test_a_server_that_cannot_be_reached_is_named_without_its_password(orrery, url):
    done = orrery("migrate", "--database", url)
    assert done.returncode == 1 and "PostgreSQL" in done.stderr
    assert "hush" not in done.stderr


def test_a_fresh_database_gets_all_and_a_second_time_nothing(orrery, database):
    first = orrery("migrate", "--database", database)
    assert first.returncode == 0, first.stderr
    versions = applied(database)
    assert versions == list(range(1, len(versions) + 1)) and versions
    before = rows(database, "select * from orrery.schema_migrations order by 1")
    second = orrery("migrate", "--database", database)
    assert second.returncode == 0 and "nothing to do" in second.stdout
    assert rows(database, "select * from orrery.schema_migrations order by 1") == before


def test_several_at_once_end_alike(orrery, database):
    command = [program(), "migrate", "--database", database]
    running = [subprocess.Popen(command, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
               for _ in range(4)]
    assert [process.wait(60) for process in running] == [0] * 4
    versions = applied(database)
    assert versions == list(range(1, len(versions) + 1))


def test_one_waits_for_another_that_holds_the_lock(orrery, database):
    with psycopg.connect(database, autocommit=True) as holder:
        holder.execute("select pg_advisory_lock(x'6f7272657279'::bigint)")
        waiting = subprocess.Popen([program(), "migrate", "--database", database], env=environment(),
                                   stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        assert "waiting" in waiting.stderr.readline()
        assert waiting.poll() is None
        assert rows(database, "select to_regnamespace('orrery')") == [(None,)]
    assert waiting.wait(60) == 0
    waiting.stderr.close()


def test_a_newer_database_is_refused_and_left_alone(orrery, database):
    assert orrery("migrate", "--database", database).returncode == 0
    last = applied(database)[-1]
    rows(database, f"insert into orrery.schema_migrations (version, name, sha256, program)"
                   f" values ({last + 1}, 'from the future', 'x', '99')")
    for command in (["migrate"], ["serve", "--port", "0"], ["account", "digest"]):
        done = orrery(*command, "--database", database)
        assert done.returncode == 1 and "newer than this program" in done.stderr, command


def test_an_edited_migration_is_refused(orrery, database):
    assert orrery("migrate", "--database", database).returncode == 0
    rows(database, "update orrery.schema_migrations set sha256 = 'other' where version = 2")
    done = orrery("migrate", "--database", database)
    assert done.returncode == 1 and "0002_" in done.stderr


def test_serve_wants_the_schema_and_says_what_helps(orrery, database):
    done = orrery("serve", "--database", database, "--port", "0")
    assert done.returncode == 1 and "orrery migrate" in done.stderr
    assert orrery("migrate", "--database", database).returncode == 0
    rows(database, "delete from orrery.schema_migrations where version > 1")
    done = orrery("serve", "--database", database, "--port", "0")
    assert done.returncode == 1 and "schema version 1" in done.stderr


def test_a_failing_migration_leaves_nothing_half_done(orrery, database):
    # A table in the way of the second migration or a later one: whatever is recorded is there, the rest is not.
    rows(database, "create schema orrery")
    rows(database, "create function orrery.range_digest(p_range bigint) returns text language sql as 'select null::text'")
    done = orrery("migrate", "--database", database)
    assert done.returncode == 1 and "range_digest" in done.stderr
    versions = applied(database)
    rows(database, "drop function orrery.range_digest(bigint)")
    assert orrery("migrate", "--database", database).returncode == 0
    assert len(applied(database)) > len(versions)


def test_another_encoding_is_refused(orrery, server):
    with server.connect("postgres", autocommit=True) as connection:
        connection.execute("create database in_ascii encoding 'SQL_ASCII' template template0")
    done = orrery("migrate", "--database", server.conninfo("in_ascii"))
    assert done.returncode == 1 and "UTF8" in done.stderr


def test_another_order_of_text_is_refused(orrery, server):
    with server.connect("postgres", autocommit=True) as connection:
        connection.execute("create database in_english encoding 'UTF8' locale_provider icu icu_locale 'en' template template0")
    done = orrery("migrate", "--database", server.conninfo("in_english"))
    assert done.returncode == 1 and "code points" in done.stderr


def test_the_ordinal_is_set_before_the_first_write_and_then_holds(orrery, database):
    assert orrery("migrate", "--database", database, "--ordinal", 3).returncode == 0
    assert rows(database, "select ordinal from orrery.region_self") == [(3,)]
    assert rows(database, "select origin, vector from orrery.ranges") == [(3, [0, 0, 0])]
    rows(database, "update orrery.ranges set seq = 1")
    done = orrery("migrate", "--database", database, "--ordinal", 2)
    assert done.returncode == 1 and "ordinal 3, not 2" in done.stderr
    assert orrery("migrate", "--database", database).returncode == 0


def test_digests_tell_good_from_bad(orrery, database):
    assert orrery("migrate", "--database", database).returncode == 0
    done = orrery("account", "digest", "--database", database)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("(account)\trange=0\t") and done.stdout.endswith("\tgood\n")
    rows(database, "update orrery.ranges set seq = 5")
    done = orrery("account", "digest", "--database", database)
    assert done.returncode == 1 and "BAD" in done.stdout and "1 of 1" in done.stderr


def test_digest_of_a_container_that_does_not_exist(orrery, database):
    assert orrery("migrate", "--database", database).returncode == 0
    done = orrery("account", "digest", "--database", database, "--container", "no/where")
    assert done.returncode == 1 and "no/where" in done.stderr
