"""orrery up: bringing an account up, keeping it up, taking it down, whatever happens."""

import contextlib
import json
import os
import pathlib
import pwd
import re
import signal
import socket
import subprocess
import time
import urllib.request

import psycopg
import pytest
from support import wire
from support.up import Up, eventually, free_ports, is_alive, processes_of

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def store(up, value):
    with up.connect() as connection:
        connection.execute("create table if not exists kept (value integer)")
        connection.execute("insert into kept values (%s)", [value])


def stored(up):
    with up.connect() as connection:
        return [row[0] for row in connection.execute("select value from kept order by 1")]


def test_three_regions_their_ready_line_and_their_account(folder):
    with Up(folder / "data", regions=3) as up:
        ready = up.ready
        assert ready["ready"] is True and ready["replicating"] is True
        assert ready["pid"] == up.process.pid and ready["data"] == str(folder / "data")
        assert [region["name"] for region in ready["regions"]] == ["West US", "East US", "North Europe"]
        for index, region in enumerate(ready["regions"]):
            assert region["https"] == f"https://localhost:{up.port + index}/"
            assert region["http"] == f"http://localhost:{up.port + 100 + index}/"
            assert re.fullmatch(rf"AccountEndpoint={region['https']};AccountKey=[A-Za-z0-9+/]+==;",
                                region["connectionString"])
            for port in (up.port + index, up.port + 100 + index):
                socket.create_connection(("127.0.0.1", port), 5).close()
            with up.connect(index) as connection:
                assert connection.execute("select ordinal from orrery.region_self").fetchone() == (index + 1,)
        with urllib.request.urlopen(f"http://127.0.0.1:{up.port + 100}/status", timeout=10) as answer:
            peers = json.load(answer)["peers"]
        assert [(peer["region"], peer["ready"]) for peer in peers] == [("East US", True), ("North Europe", True)]
        for host in ("127.0.0.1", "localhost"):
            client = wire.Client(f"http://{host}:{up.port + 102}/")
            account = client.get("/").json
            client.close()
            assert account["writableLocations"] == [
                {"name": "West US", "databaseAccountEndpoint": f"http://{host}:{up.port + 100}/"}]
            assert [place["databaseAccountEndpoint"] for place in account["readableLocations"]] == [
                f"http://{host}:{up.port + 100 + index}/" for index in range(3)]
        up.stop()


def test_one_region_replicates_nowhere(folder):
    with Up(folder / "data") as up:
        assert up.ready["replicating"] is False and "replicate" not in up.said()


def test_a_second_on_the_same_data_is_refused_and_the_first_goes_on(folder):
    with Up(folder / "data") as up:
        store(up, 1)
        second = Up(folder / "data")
        assert second.process.wait(30) == 1
        said = second.said()
        second.__exit__()
        assert "in use" in said and str(up.process.pid) in said
        assert stored(up) == [1]


def test_a_restart_keeps_the_data(folder):
    for value in (1, 2, 3):
        with Up(folder / "data") as up:
            store(up, value)
            assert stored(up) == list(range(1, value + 1))
            up.stop(signal.SIGINT if value == 2 else signal.SIGTERM)


def test_ctrl_c_in_a_terminal_stops_in_order(folder):
    """A terminal signals the whole group; PostgreSQL must not go before the gateways have drained."""
    with Up(folder / "data") as up:
        os.killpg(up.process.pid, signal.SIGINT)
        assert up.process.wait(60) == 0
        assert not processes_of(folder / "data")
        assert "region disturbed" not in up.said()


def test_a_gateway_that_dies_is_started_again(folder):
    with Up(folder / "data") as up:
        for _ in range(3):
            before = up.child("gateway")
            os.kill(before, signal.SIGKILL)
            eventually(lambda: up.child("gateway") not in (0, before), "a new gateway")
        eventually(lambda: socket.socket().connect_ex(("127.0.0.1", up.port)) == 0, "its port")
        up.stop()


def test_postgres_that_dies_is_started_again_beneath_its_gateway(folder):
    with Up(folder / "data") as up:
        store(up, 1)
        gateway, before = up.child("gateway"), up.child("postgres")
        os.kill(before, signal.SIGKILL)
        eventually(lambda: up.child("postgres") not in (0, before), "a new server")

        def answers():
            with contextlib.suppress(psycopg.OperationalError):
                return stored(up) == [1]

        eventually(answers, "an answer")
        assert up.child("gateway") == gateway
        up.stop()


def test_both_die_at_once(folder):
    with Up(folder / "data") as up:
        store(up, 1)
        before = up.child("gateway"), up.child("postgres")
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        eventually(lambda: up.child("postgres") not in (0, before[1]), "a new server")
        eventually(lambda: "gateway is back" in up.said(), "the gateway's return")
        assert stored(up) == [1]
        up.stop()


def test_nothing_outlives_a_killed_supervisor_and_the_next_one_goes_on(folder):
    with Up(folder / "data") as up:
        store(up, 1)
        children = up.children()
        assert len(children) == 2
        os.kill(up.process.pid, signal.SIGKILL)
        up.process.wait()
        # At once, while the old server may still write its checkpoint.
        with Up(folder / "data", port=up.port) as again:
            assert not any(map(is_alive, children))
            assert stored(again) == [1]
            again.stop()


def test_all_are_killed_at_once(folder):
    with Up(folder / "data") as up:
        store(up, 1)
        for pid in [up.process.pid, *up.children()]:
            os.kill(pid, signal.SIGKILL)
        up.process.wait()
        with Up(folder / "data", port=up.port) as again:
            assert stored(again) == [1]


def test_a_stale_file_that_names_a_living_process_is_no_obstacle(folder):
    """After a reboot the number in postmaster.pid may be anybody's; PostgreSQL itself would refuse to start."""
    with Up(folder / "data") as up:
        store(up, 1)
        up.stop()
    pg = folder / "data" / "west-us" / "pg"
    sleeper = subprocess.Popen(["sleep", "1000"])
    (pg / "postmaster.pid").write_text(f"{sleeper.pid}\n{pg}\n1\n5432\n")
    with Up(folder / "data") as up:
        assert stored(up) == [1]
    assert sleeper.poll() is None
    sleeper.kill()
    sleeper.wait()


def test_an_initdb_that_was_cut_off_is_begun_anew(folder):
    half = folder / "data" / "west-us" / "pg.new" / "base"
    half.mkdir(parents=True)
    (half / "junk").write_text("junk")
    with Up(folder / "data"):
        assert not half.parent.exists()


def test_stopping_while_it_starts_leaves_nothing_running(folder):
    for delay_s in (0.05, 0.5, 1.0, 1.5):
        up = Up(folder / "data")
        time.sleep(delay_s)
        up.process.terminate()
        # Killed when it had not yet come as far as to listen to signals; then it had started nothing.
        assert up.process.wait(60) in (0, -signal.SIGTERM), up.said()
        up.__exit__()
        assert not processes_of(folder / "data")
    with Up(folder / "data"):
        pass


@pytest.mark.parametrize("offset", [0, 100])
def test_a_port_in_use_is_named(folder, offset):
    base = free_ports()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", base + offset))
        taken.listen()
        said = Up(folder / "data", port=base).failure()
    assert f"port {base + offset}" in said and "West US" in said and "in use" in said


def test_missing_postgres_is_named(folder):
    said = Up(folder / "data", "--postgres-bin", "/nonexistent").failure()
    assert "PostgreSQL" in said and "/nonexistent" in said
    assert not (folder / "data").exists()


def test_data_of_another_postgres_version_are_refused(folder):
    (folder / "data" / "west-us" / "pg").mkdir(parents=True)
    (folder / "data" / "west-us" / "pg" / "PG_VERSION").write_text("9\n")
    said = Up(folder / "data").failure()
    assert "PostgreSQL 9" in said


def test_a_server_that_cannot_start_is_told_with_its_log(folder):
    with Up(folder / "data") as up:
        up.stop()
    (folder / "data" / "west-us" / "pg" / "global" / "pg_control").unlink()
    said = Up(folder / "data").failure()
    assert "PostgreSQL ended" in said and "pg_control" in said


def test_a_directory_that_cannot_be_made_is_named(folder):
    (folder / "file").write_text("")
    said = Up(folder / "file" / "data", env={}).failure()
    assert f'"{folder}/file' in said


def test_a_key_file_that_cannot_be_read_is_named(folder):
    assert "/nonexistent" in Up(folder / "data", "--key-file", "/nonexistent").failure()


@needs_root
def test_a_directory_closed_to_the_servers_user_is_named(folder):
    (folder / "closed").mkdir(mode=0o700)
    said = Up(folder / "closed" / "data").failure()
    assert f'"{folder}/closed"' in said and "may not enter" in said


@needs_root
def test_a_full_disk_at_initdb_is_told(folder):
    disk = folder / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m,mode=755", "tmpfs", str(disk)]).returncode != 0:
        pytest.skip("no mounts here")
    try:
        said = Up(disk / "data").failure()
        assert "No space left" in said and str(disk) in said
        assert not (disk / "data" / "west-us" / "pg").exists()
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@needs_root
def test_an_ordinary_user_brings_it_up(folder):
    nobody = pwd.getpwnam("nobody")
    data = folder / "own" / "data"
    data.parent.mkdir()
    os.chown(data.parent, nobody.pw_uid, nobody.pw_gid)
    identity = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
    with Up(data, cwd=data.parent, env={"HOME": str(data.parent)}, **identity) as up:
        assert pathlib.Path(f"/proc/{up.child('postgres')}").stat().st_uid == nobody.pw_uid
        up.stop()
    said = Up(data, "--postgres-user", "postgres", cwd=data.parent, **identity).failure()
    assert "only root" in said


@needs_root
def test_root_runs_the_server_as_somebody_else(folder):
    with Up(folder / "data") as up:
        assert pathlib.Path(f"/proc/{up.child('postgres')}").stat().st_uid != 0


def test_a_long_path_finds_another_place_for_the_socket(folder):
    data = folder / ("d" * 120) / "data's"
    with Up(data) as up:
        assert len(re.search(r"host='([^']*)'", up.region()["database"])[1]) < 93
        store(up, 1)
        up.stop()
    with Up(data) as up:
        assert stored(up) == [1]


def test_protocols_and_account_reach_the_regions(folder):
    with Up(folder / "data", "--protocol", "http", "--account", "tests") as up:
        region = up.region()
        assert up.ready["account"] == "tests" and "https" not in region
        assert region["http"] == f"http://localhost:{up.port}/"
        assert region["connectionString"].startswith(f"AccountEndpoint=http://localhost:{up.port}/;")


def test_the_port_of_the_emulators_environment_is_the_first_regions(folder, orrery):
    base = free_ports()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", base))
        taken.listen()
        done = orrery("up", "--data", folder / "data", env={"PORT": str(base)})
    assert done.returncode == 1 and f"port {base} " in done.stderr
