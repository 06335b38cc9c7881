"""Clients of the JavaScript and of the Python SDK go on through a planned and a forced failover; the table is in the log."""

import pytest
from support import failover
from support.account import Account


def test_clients_go_on_while_regions_fail_over(capsys):
    suites, missing = failover.suites(["python", "javascript"])
    if not suites:
        pytest.skip("; ".join(missing))
    with Account(regions=3, level="Session") as account:
        parts = failover.story(account, suites, is_answered=True)
    with capsys.disabled():
        print("", failover.table(parts), *missing, sep="\n")
    assert {part.phase for part in parts} >= {failover.QUIET, failover.PLANNED}
    for part in parts:  # who gives up a lost region may lose what it alone had; nobody else loses or fails anything
        if part.phase in (failover.QUIET, failover.PLANNED):
            assert (part.failures, part.stale) == ([], []), part
