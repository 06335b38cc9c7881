"""What the world does to an account of several regions: disks that are full, entries that are damaged, peers that are not of it."""

import contextlib
import json
import os
import pathlib
import subprocess
import tempfile
import time

import pytest
from support.account import Account, wait_for
from support.clients import Client
from support.story import COLLS, DOCS, KEYS, Story, log_of, prepare

DISK_MB = 160
WAITS = ["--request-timeout-ms", "3000"]


@contextlib.contextmanager
def small_disk():
    """A file system that can be filled; skips where none can be made."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="orrery-disk-"))
    folder.chmod(0o755)  # PostgreSQL runs as another user
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m,mode=777", "tmpfs", folder], capture_output=True, text=True,
                          timeout=20)
    if done.returncode != 0:
        folder.rmdir()
        pytest.skip(f"no file system of our own: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=False, timeout=20)
        folder.rmdir()


def fill(folder):
    ballast = folder / "ballast"
    with open(ballast, "wb", buffering=0) as file:
        with contextlib.suppress(OSError):
            while True:
                file.write(b"\0" * 65536)
        with contextlib.suppress(OSError):
            while True:
                file.write(b"\0")
    return ballast


def writer(account, history, name="w", region=1):
    return Client(account, DOCS, history, name, [region], KEYS, weights={"write": 4, "batch": 1, "delete": 1}, keeps_session=False)


def steps(client, count):
    for _ in range(count):
        client.step()


@pytest.mark.parametrize("full", [2, 1])
def test_a_full_disk_in_one_region_loses_nothing(full):
    with small_disk() as disk:
        options = {"max_wal_size": "32MB", "min_wal_size": "32MB"}
        with Account(regions=2, args=WAITS, disks={full: disk}, postgres_options=options) as account:
            prepare(account)
            history = []
            client = writer(account, history)
            steps(client, 20)
            account.wait_converged()
            ballast = fill(disk)
            line = account.region(1).client()
            refused = 0
            for number in range(300):
                body = {"id": f"big{number}", "pk": "p", "v": 10**9 + number, "text": os.urandom(10_000).hex()}
                answer = line.post(DOCS, body, pk=["p"])
                assert answer.status in (201, 408, 500, 503), answer
                refused += answer.status != 201
                if full == 1 and refused > 3:
                    break
            if full == 1:
                assert refused
            else:
                assert refused == 0, "a full disk elsewhere is none of the hub's business"
                assert account.region(2).gateways[0].is_running
            postgres = account.region(full).postgres
            wait_for(lambda: None if "No space left" in postgres.log_path.read_text(errors="replace") else "the disk is not full", 20)
            ballast.unlink()
            if postgres.process.poll() is not None:  # it gave up: its operator starts it again
                postgres.process = None
                postgres.start()
            account.wait_ready()
            steps(client, 20)
            client.close()
            line.close()
            story = Story(account, history, [client])
            story.check_common()


def test_a_damaged_entry_stops_its_range_alone_and_is_named():
    with Account(regions=2, args=WAITS) as account:
        prepare(account)
        hub, far = account.regions
        client = hub.client()
        assert client.post(COLLS, {"id": "others", "partitionKey": {"paths": ["/pk"], "kind": "Hash", "version": 2}}).status == 201
        account.wait_converged()
        history = []
        one = writer(account, history)
        steps(one, 5)
        account.wait_converged()
        far.gateways[0].kill9()
        answer = client.post(DOCS, {"id": "poison", "pk": "p", "v": 10**9}, pk=["p"])
        assert answer.status == 201
        (table,), = hub.sql("select format('log_%s', range_id >> 12) from orrery.ranges where range_id > 4096 order by range_id limit 1")
        (body,), = hub.sql(f"select body from orrery.{table} where id = 'poison'")
        hub.sql(f"update orrery.{table} set body = '{{damaged' where id = 'poison'")
        steps(one, 5)
        far.gateways[0].start()
        for number in range(5):
            assert client.post(f"{COLLS}/others/docs", {"id": str(number), "pk": "p"}, pk=["p"]).status == 201
        reader = far.client()

        def others_arrive():
            found = reader.get(f"{COLLS}/others/docs/4", pk=["p"])
            return None if found.status == 200 else f"the other container waits too: {found}"
        wait_for(others_arrive, 20)
        assert reader.get(f"{DOCS}/poison", pk=["p"]).status == 404

        def named():
            status = json.dumps(far.gateways[0].status())
            return None if "poison" in status or "cannot apply" in status or "stopped" in status else f"/status tells nothing: {status}"
        wait_for(named, 20)
        hub.sql(f"update orrery.{table} set body = %s where id = 'poison'", [body])
        one.close()
        Story(account, history, [one]).check_common()
        assert reader.get(f"{DOCS}/poison", pk=["p"]).status == 200


def test_a_peer_of_another_account_is_refused():
    """Two accounts whose operators mixed up an address: nothing moves, and both say why."""
    with Account(regions=2, args=WAITS) as first, Account(regions=2, args=WAITS) as second:
        prepare(first)
        history = []
        client = writer(first, history)
        # The second region of the first account is sent to the hub of the other one, whose name is another.
        second.stop()
        stranger = second.region(1)
        document = json.loads(second.topology_path.read_text()) | {"account": "another"}
        second.topology_path.write_text(json.dumps(document))
        fresh(stranger)
        stranger.gateways[0].args += ["--account", "another"]
        stranger.start()
        was = first.link(2, 1).targets
        first.link(2, 1).targets = stranger.addresses
        first.link(2, 1).drop_connections()
        steps(client, 10)
        seen = first.region(2).vectors()

        def told():
            status = json.dumps(first.region(2).gateways[0].status()) + first.region(2).gateways[0].log(50)
            return None if "another" in status and "orrery" in status else f"nothing names both accounts: {status[-2000:]}"
        wait_for(told, 20)
        assert first.region(2).vectors() == seen
        first.link(2, 1).targets = was
        first.link(2, 1).drop_connections()
        client.close()
        Story(first, history, [client]).check_common()


def fresh(region):
    """An empty database in place of the region's."""
    with region.postgres.connect("postgres", autocommit=True) as connection:
        connection.execute("drop database orrery with (force)")
        connection.execute("create database orrery")


def test_a_region_that_was_away_catches_up():
    with Account(regions=3, args=WAITS) as account:
        prepare(account)
        history = []
        client = writer(account, history)
        account.region(3).kill9()
        account.isolate(2)
        for _ in range(300):
            client.step()
        account.region(3).restart()
        account.heal()
        client.close()
        Story(account, history, [client]).check_common()


def test_many_items_and_large_ones_arrive():
    with Account(regions=2, args=WAITS) as account:
        prepare(account)
        account.cut(1, 2)
        client = account.region(1).client()
        for number in range(40):
            body = {"id": f"large{number}", "pk": "p", "v": 10**9 + number, "text": os.urandom(700_000).hex()[:1_300_000]}
            assert client.post(DOCS, body, pk=["p"]).status == 201
        operations = [{"operationType": "Upsert", "resourceBody": {"id": f"b{n}", "pk": "p", "v": 2 * 10**9 + n}} for n in range(100)]
        headers = {"x-ms-cosmos-is-batch-request": "True", "x-ms-cosmos-batch-atomic": "True"}
        assert client.post(DOCS, operations, headers=headers, pk=["p"]).status == 200
        account.heal()
        began = time.monotonic()
        account.wait_converged(60)
        print(f"52 MB in {time.monotonic() - began:.1f} s")
        assert len(log_of(account.region(2)).versions) == 140
        account.check()
