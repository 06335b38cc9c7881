"""Gateways and PostgreSQL that die at each step by which a write comes to be and reaches the other regions.

What was acknowledged is in every region, once; digests are equal. The steps are points of gateway/base/testpoint.h.
A gateway dies at its point. PostgreSQL dies while the gateway that uses it stands still there.
"""

import threading

import pytest
from support.account import Account
from support.clients import Client
from support.postgres import DISK
from support.story import DOCS, KEYS, Story, prepare

WRITING = ("write-taken", "write-committed")
SHIPPING = ("ship-asked",)
APPLYING = ("ship-received", "apply-sent", "apply-committed")
REACHED_S = 60


def cells(mode):
    """(region, step): those that the step is passed in."""
    everywhere = [1, 2, 3]
    writers = [1] if mode == "single" else everywhere
    readers = [2, 3] if mode == "single" else everywhere
    return [(region, step) for steps, regions in ((WRITING, writers), (SHIPPING, writers), (APPLYING, readers))
            for step in steps for region in regions]


def kill_gateway(region, step):
    gateway = region.gateways[0]
    gateway.arm(step, "kill")
    gateway.wait_reached(step, REACHED_S)
    gateway.kill9()
    gateway.start()


def kill_postgres(region, step):
    gateway = region.gateways[0]
    gateway.arm(step, "stop")
    gateway.wait_reached(step, REACHED_S)
    region.postgres.kill9()
    region.postgres.start()
    gateway.resume()


@pytest.mark.parametrize("mode", ["single", "multi"])
def test_kill_at_every_step(mode):
    disks = {ordinal: DISK for ordinal in (1, 2, 3)}  # whose caches a commit waits for
    with Account(regions=3, mode=mode, level="Session", args=["--request-timeout-ms", "3000"], disks=disks) as account:
        prepare(account)
        history, over = [], threading.Event()
        weights = {"write": 5, "delete": 1, "swap": 1, "batch": 2, "read": 1}
        clients = [Client(account, DOCS, history, f"c{n}", [1 + n % 3], KEYS, writes_at=account.hub if mode == "single" else None,
                          weights=weights) for n in range(3)]
        threads = [threading.Thread(target=client.run, args=[over]) for client in clients]
        for thread in threads:
            thread.start()
        try:
            for region, step in cells(mode):
                for kill in (kill_gateway, kill_postgres):
                    kill(account.region(region), step)
                    account.wait_ready()
        finally:
            over.set()
            for thread in threads:
                thread.join()
        story = Story(account, history, clients)
        story.check_common()
        print(f"{2 * len(cells(mode))} kills: {story.tell()}")
        assert story.count("ok", "write") > len(cells(mode))
