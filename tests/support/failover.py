"""Clients of real SDKs that go on while regions fail over, and what they saw of it.

    scripts/bench failover      an account of three regions, a planned and a forced failover: the table of docs/performance.md

Of each client and each part of the story: operations, those that failed as the application saw it, the longest time from
one write that went well to the next, the same of reads, and reads that did not show what had been acknowledged.
"""

import contextlib
import dataclasses
import json
import queue
import subprocess
import threading
import time

from . import sdk, wire
from .account import Account, wait_for
from .postgres import DISK

START_S = 60
PHASE_S = 400
DATABASE, CONTAINER = "failover", "items"
QUIET, PLANNED, FORCED, FORCED_ANSWERED = "nothing", "planned", "forced", "forced, then the lost address is answered"


@dataclasses.dataclass
class Part:
    """What one client saw of one part of the story."""

    client: str
    phase: str
    operations: int
    failures: list
    stale: list
    longest_ms: dict

    def row(self):
        kinds = sorted({f"{f['kind']} {f['code']}" + (f"/{f['substatus']}" if f["substatus"] else "") for f in self.failures})
        failed = f"{len(self.failures)}" + (f" ({', '.join(kinds)})" if kinds else "")
        return (self.client, self.phase, f"{self.operations}", failed, f"{self.longest_ms['write'] / 1000:.2f} s",
                f"{self.longest_ms['read'] / 1000:.2f} s", f"{len(self.stale)}")


HEAD = ("client", "what happened", "operations", "failed", "longest without a write", "longest without a read", "acknowledged and not shown")


def table(parts):
    lines = [HEAD, tuple("---" for _ in HEAD), *[part.row() for part in parts]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


class Worker:
    """The program of one SDK, running."""

    def __init__(self, suite, preferred, process):
        self.suite, self.process = suite.name, process
        self.name = f"{suite.name}, {'reads in ' + preferred[0] if preferred else 'no preferred regions'}"
        self.lines = queue.Queue()
        self.errors = []
        for stream, take in ((process.stdout, self.lines.put), (process.stderr, self.errors.append)):
            threading.Thread(target=self.read, args=(stream, take), daemon=True).start()

    def read(self, stream, take):
        for line in stream:
            take(line)
        if stream is self.process.stdout:
            take("")  # it has ended

    def wait(self, event, deadline_s):
        end = time.monotonic() + deadline_s
        while True:
            try:
                line = self.lines.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                line = None
            if not line:
                why = "it has ended" if line == "" else f"not in {deadline_s} s"
                raise AssertionError(f"{self.name}: no \"{event}\": {why}\n{''.join(self.errors)[-3000:]}")
            if line.startswith("{") and (found := json.loads(line))["event"] == event:
                return found

    def say(self, phase):
        self.process.stdin.write(phase + "\n")
        self.process.stdin.flush()

    def part(self):
        """After say(): when the client has gone on well for a while."""
        found = self.wait("phase", PHASE_S)
        return Part(self.name, found["phase"], found["operations"], found["failures"], found["stale"], found["longest_ms"])


@contextlib.contextmanager
def worker(suite, account, preferred):
    """Start it and wait for its first round."""
    env = {**suite.environment(), "ORRERY_ENDPOINT": account.region(1).gateways[0].http, "ORRERY_KEY": wire.KEY,
           "ORRERY_DATABASE": DATABASE, "ORRERY_CONTAINER": CONTAINER, "ORRERY_PREFERRED": ",".join(preferred)}
    process = subprocess.Popen(suite.failover, cwd=suite.work, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    try:
        running = Worker(suite, preferred, process)
        running.wait("started", START_S)
        yield running
    finally:
        process.kill()
        process.wait()


def changed(account, *words, region=1):
    done = account.command(*words, region=region)
    assert done.returncode == 0, done.stderr


def locations(region):
    """Names of the writable and of the readable regions, as a region tells them."""
    client = region.client()
    try:
        document = client.get("/").json
        return [[place["name"] for place in document[kind]] for kind in ("writableLocations", "readableLocations")]
    finally:
        client.close()


def wait_locations(account, ordinals, wanted):
    """Every one of the regions tells that."""
    def different():
        found = {ordinal: locations(account.region(ordinal)) for ordinal in ordinals}
        return None if all(one == wanted for one in found.values()) else f"{found}, not {wanted}"
    wait_for(different, 60)


def suites(names):
    """Those that are here, made; what the others lack is told."""
    found, missing = [], []
    for name in names:
        try:
            sdk.SUITES[name].prepare()
            found.append(sdk.SUITES[name])
        except sdk.Missing as error:
            missing.append(f"{name}: {error}")
    return found, missing


def story(account, chosen, is_answered):
    """West US is the hub, hands over to East US, which is then lost; an operator makes West US the hub again.

    A connection that is refused makes no SDK ask where the hub is now. They ask when they are told 403/3, and every five
    minutes; JavaScript as often as it is configured, 2 s here. is_answered has the address of the lost region lead to the new
    hub for those in Python, once those in JavaScript go on. Without, everybody is waited for.
    """
    client = account.region(1).client()
    assert client.post("/dbs", {"id": DATABASE}).status == 201
    made = client.post(f"/dbs/{DATABASE}/colls", {"id": CONTAINER, "partitionKey": {"paths": ["/pk"], "kind": "Hash", "version": 2}})
    assert made.status == 201, made
    client.close()
    account.wait_converged()
    parts = []

    def ended(phase, those):
        for one in those:
            one.say(phase)
        parts.extend(one.part() for one in those)

    with contextlib.ExitStack() as stack:
        workers = [stack.enter_context(worker(suite, account, preferred)) for suite in chosen
                   for preferred in ([], ["North Europe", "East US", "West US"])]
        patient = [one for one in workers if is_answered and one.suite == "python"]
        ended(QUIET, workers)
        changed(account, "failover", "--to", "East US")
        wait_locations(account, (1, 2, 3), [["East US"], ["East US", "West US", "North Europe"]])
        ended(PLANNED, workers)
        account.region(2).kill9()
        changed(account, "failover", "--force", "--to", "West US")
        wait_locations(account, (1, 3), [["West US"], ["West US", "North Europe"]])
        ended(FORCED, [one for one in workers if one not in patient])
        if patient:
            account.network.link(account.region(1).addresses, account.region(2).gateways[0].port)
            ended(FORCED_ANSWERED, patient)
    return sorted(parts, key=lambda part: part.client)


def measured():
    """For a person who asks: the tables of both ways."""
    found, missing = suites(["javascript", "python"])
    for is_answered in (True, False):
        with Account(regions=3, level="Session", disks={ordinal: DISK for ordinal in (1, 2, 3)}) as account:
            yield table(story(account, found, is_answered))
    yield from missing
