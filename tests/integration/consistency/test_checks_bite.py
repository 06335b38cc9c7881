"""The suite finds what it is for: at a weaker level the weaker anomaly is seen, and a program that breaks a rule is caught.

Links are slow here, so that what is wrong shows soon. Rules are broken by gateway/base/testpoint.h, or in the functions of
a region's PostgreSQL.
"""

import contextlib
import itertools
import time

import pytest
from support import checkers, linearizable, sdk
from support.account import Account
from support.clients import Client, run_clients
from support.story import DOCS, log_of, prepare

SLOW_S = 0.15
TRIES = 10  # an anomaly needs two things at once; the first one that is seen ends it
PHASE_S = 3
WAITS = ["--request-timeout-ms", "3000"]
SIMPLE = {"read": 6, "write": 4}
PHASES = itertools.count()


@contextlib.contextmanager
def slow_account(**named):
    with Account(regions=3, args=WAITS, **named) as account:
        prepare(account)
        account.delay(SLOW_S)
        yield account
        account.heal()


@contextlib.contextmanager
def broken(account, *rules):
    for gateway in account.gateways:
        for rule in rules:
            gateway.break_rule(rule)
    yield
    for gateway in account.gateways:
        for rule in rules:
            gateway.break_rule(rule, False)


def mixed_clients(account, regions, name, history, count=4, **named):
    keys = [f"{name}-{n}" for n in range(2)]
    return [Client(account, DOCS, history, f"{name}-c{n}", regions[n % len(regions)], keys, weights=SIMPLE, **named)
            for n in range(count)]


def watched_writer(account, name, history, **named):
    """Each write is looked for in every region far more often than the links take to carry it."""
    def client(role, region, **more):
        return Client(account, DOCS, history, f"{name}-{role}{region}", [region], [name], keeps_session=False, **named, **more)
    return [client("w", 1, weights={"write": 1}),
            *[client("r", n, weights={"read": 1}, pause_s=SLOW_S / 15) for n in (1, 2, 3)]]


def history_of(clients_of, *arguments, seconds=PHASE_S, **named):
    """A history of its own, on items of its own."""
    history = []
    run_clients(clients_of(*arguments, name=f"p{next(PHASES)}", history=history, **named), seconds)
    return history


def phase(account, regions, seconds=PHASE_S, **named):
    return history_of(mixed_clients, account, regions, seconds=seconds, **named)


def caught(check, *arguments, **named):
    """Whether a check finds something in one of a few histories; it must when it should, and never when it must not."""
    return any(check(history_of(*arguments, **named)) for _ in range(TRIES))


def quiet(check, *arguments, **named):
    return check(history_of(*arguments, **named)) == []


HOPPING = [[1, 2, 3]]


def test_strong():
    try:
        linearizable.program()
    except sdk.Missing as missing:
        pytest.skip(str(missing))
    with slow_account(level="Strong") as account:
        check = linearizable.check
        assert quiet(check, mixed_clients, account, [[1], [2], [3]], writes_at=1, keeps_session=False)
        assert quiet(check, watched_writer, account)
        assert caught(check, watched_writer, account, level="Eventual")
        with broken(account, "strong-ack"):
            assert caught(check, watched_writer, account)
        with broken(account, "strong-read"):
            account.link(3, 1).delay(2 * SLOW_S)  # what region 2 shows already, region 3 does not have yet
            assert caught(check, watched_writer, account)


@pytest.mark.parametrize("mode", ["single", "multi"])
def test_session(mode):
    with slow_account(level="Session", mode=mode) as account:
        def check(history):
            account.wait_converged()
            return checkers.session(history, log_of(account.region(1)))
        known = {"writes_at": 1 if mode == "single" else None}
        assert quiet(check, mixed_clients, account, HOPPING, **known)
        assert caught(check, mixed_clients, account, HOPPING, keeps_session=False, is_session=True, **known)
        with broken(account, "session-wait"):
            assert caught(check, mixed_clients, account, HOPPING, **known)
        if mode == "multi":
            with broken(account, "write-session-wait"):
                assert any("writes" in one for one in check(phase(account, HOPPING, **known)))


def test_bounded_staleness():
    versions, seconds = 100000, 1
    with slow_account(level="BoundedStaleness", bounded=(versions, seconds)) as account:
        def check(history):
            account.heal()
            account.wait_converged()
            return checkers.bounded(history, log_of(account.region(1)), versions, seconds)

        def behind(**named):
            """A region that hears nothing for a while, and whose gateways are asked all the same."""
            account.isolate(3)
            return check(phase(account, [[1], [3]], seconds=2.5 * seconds, writes_at=1, keeps_session=False, **named))

        assert behind() == []
        assert behind(level="Eventual") != []
        with broken(account, "bounded-read", "bounded-write"):
            assert behind() != []


def test_consistent_prefix():
    """What is put together from several regions is no prefix; what one region shows is."""
    with slow_account(level="ConsistentPrefix") as account:
        history = []
        keys = [f"x{n}" for n in range(4)]
        writer = Client(account, DOCS, history, "w", [1], keys, weights={"write": 3, "batch": 1})
        readers = [Client(account, DOCS, history, f"r{n}", [n], keys, weights={"snapshot": 1}, keeps_session=False) for n in (1, 2, 3)]

        def mixed(over):
            end = time.monotonic() + PHASE_S
            patch = Client(account, DOCS, history, "m", [1, 3], keys, keeps_session=False)
            while time.monotonic() < end and not over.is_set():
                op = patch.new("snapshot", 0, time.monotonic_ns(), found={})
                for n, key in enumerate(keys):
                    one = patch.read(1 if n % 2 else 3, key, op.start)
                    if one.result != "ok":
                        op.result = "no"
                    elif one.found is not None:
                        op.found[key] = one.found
                op.end = time.monotonic_ns()
                history.append(op)
            patch.close()

        run_clients([writer, *readers], PHASE_S, mixed)
        account.heal()
        account.wait_converged()
        log = log_of(account.region(1))
        assert checkers.prefix([op for op in history if op.region != 0], log) == []
        assert checkers.prefix([op for op in history if op.region == 0], log) != []


def test_convergence():
    """A region that ranks versions its own way does not converge, and that is seen."""
    with slow_account(level="Eventual", mode="multi") as account:
        account.region(2).sql("create or replace function orrery.rank_class(op smallint) returns smallint language sql immutable"
                              " parallel safe as $$ select (case op when 3 then 0 when 4 then 1 else 2 end)::smallint $$")
        keys = ["a", "b"]
        for number in range(TRIES):
            history = []
            clients = [Client(account, DOCS, history, f"c{number}-{n}", [n], keys, weights={"write": 1, "delete": 1}, keeps_session=False)
                       for n in (1, 2, 3)]
            run_clients(clients, PHASE_S)
            account.heal()
            try:
                account.wait_converged(15)
            except AssertionError as error:
                assert "digests" in str(error)
                return
        pytest.fail("regions that rank differently had equal digests")
