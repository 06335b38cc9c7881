"""Two gateways on one PostgreSQL: whatever dies, every client sees one register per item."""

import pytest
from support import checkers, linearizable, sdk
from support.account import Account
from support.clients import Client
from support.story import DOCS, KEYS, play, prepare


def test_two_gateways_are_one_store(runs):
    for seed in runs:
        one_store(runs.seconds, seed)


def one_store(seconds, seed):
    with Account(regions=1, gateways=2, level="Session", args=["--request-timeout-ms", "3000"]) as account:
        prepare(account)
        history = []
        clients = [Client(account, DOCS, history, f"c{n}", [1], KEYS) for n in range(5)]
        story = play(account, clients, history, seconds, seed, kinds=("kill_gateway", "kill_postgres", "pause"))
        story.check_common()
        assert checkers.session(history, story.log) == []
        assert checkers.prefix(history, story.log) == []
        assert story.count("ok") > 100
        try:
            assert linearizable.check(history) == []
        except sdk.Missing as missing:
            pytest.skip(str(missing))
