"""Every level does what it promises, while links are cut and slowed and processes are killed and frozen."""

import pytest
from support import checkers, linearizable, sdk
from support.account import Account
from support.clients import Client
from support.story import DOCS, KEYS, play, prepare

WAITS = ["--request-timeout-ms", "3000"]
READING = {"read": 6, "snapshot": 2}
BOUND = (30, 2)  # versions, seconds


def client(account, history, name, regions, **named):
    return Client(account, DOCS, history, name, regions, KEYS, **named)


@pytest.fixture(scope="module")
def porcupine():
    try:
        linearizable.program()
    except sdk.Missing as missing:
        pytest.skip(str(missing))


def test_strong(runs, porcupine):
    for seed in runs:
        with Account(regions=3, gateways=2, level="Strong", args=WAITS) as account:
            prepare(account)
            history = []
            clients = [client(account, history, f"c{n}", [1 + n % 3], writes_at=1, keeps_session=False) for n in range(5)]
            story = play(account, clients, history, runs.seconds, seed)
            story.check_common()
            assert linearizable.check(history) == [], f"seed {seed}"
            assert checkers.prefix(history, story.log) == [], f"seed {seed}"
            assert all(any(op.result == "ok" and op.kind == "read" and op.region == region for op in history) for region in (1, 2, 3))


@pytest.mark.parametrize("mode", ["single", "multi"])
def test_session(runs, mode):
    """Sessions that move from region to region; beside them clients that ask for less."""
    for seed in runs:
        with Account(regions=3, mode=mode, level="Session", args=WAITS) as account:
            prepare(account)
            history = []
            writes_at = 1 if mode == "single" else None
            clients = [client(account, history, f"c{n}", [1, 2, 3], writes_at=writes_at) for n in range(4)]
            clients += [client(account, history, f"e{n}", [n], level=level, weights=READING, keeps_session=False)
                        for n, level in ((2, "ConsistentPrefix"), (3, "Eventual"))]
            story = play(account, clients, history, runs.seconds, seed)
            story.check_common()
            assert checkers.session(history, story.log) == [], f"seed {seed}"
            assert checkers.prefix(history, story.log) == [], f"seed {seed}"
            assert story.count("ok") > 50


def test_bounded_staleness(runs):
    for seed in runs:
        with Account(regions=3, level="BoundedStaleness", bounded=BOUND, args=WAITS) as account:
            prepare(account)
            history = []
            clients = [client(account, history, f"c{n}", [1 + n % 3], writes_at=1, keeps_session=False) for n in range(5)]
            story = play(account, clients, history, runs.seconds, seed, longest_s=4)
            story.check_common()
            assert checkers.bounded(history, story.log, *BOUND) == [], f"seed {seed}"
            assert checkers.prefix(history, story.log) == [], f"seed {seed}"
            assert story.count("ok") > 50
