"""The rows of `scripts/bench regions`: what it costs that an account has several regions.

All regions, their PostgreSQL servers and the clients share the machine, so the rates of three regions are those of a third
of it: where that matters the processor time of the hub alone is given too. Regions ask each other over loopback, without a
relay; the round trip of Strong is made long by relays (tests/support/links.py).
"""

import contextlib
import statistics
import time

from support.account import Account
from support.clients import Line
from support.postgres import DISK
from support.threads import run_all

DATABASE = "bench"
DELAY_S = 0.02  # of a link, each way, for Strong
BACKLOG_S = 8
IDLE_S = 20
SAMPLES = 200
LOOK_S = 0.0005


ROWS = [
    "delay idle, median", "delay idle, p99", "delay at half load, median", "delay at half load, p99",
    "apply of a backlog, 1 range", "apply of a backlog, 8 ranges", "hub of three regions, rate", "hub of three regions, CPU",
    "Strong write", "idle CPU", "idle memory",
]


class Regions:
    """An account with a container, and what is done to it. `bench` is the module scripts/bench."""

    def __init__(self, bench, options, scratch, regions=3, ranges=1, level="Session", links=False,
                 postgres_options={}):
        self.bench, self.options, self.scratch = bench, options, scratch
        self.account = Account(regions=regions, level=level, args=["--default-ranges", str(ranges)], links=links,
                               postgres_options={**bench.SETTINGS, "shared_buffers": "256MB", **postgres_options},
                               disks={ordinal + 1: DISK for ordinal in range(regions)})

    def __enter__(self):
        self.account.__enter__()
        client = self.account.region(1).client()
        assert client.post("/dbs", {"id": DATABASE}).status == 201
        made = client.post(f"/dbs/{DATABASE}/colls", {"id": "items", "partitionKey": {"paths": ["/id"], "kind": "Hash", "version": 2}})
        assert made.status == 201, made
        client.close()
        self.account.wait_converged(30)
        return self

    def __exit__(self, *error):
        self.account.__exit__(*error)

    def backends(self, region):
        """One Bench per region: it counts processor time of the gateway and of PostgreSQL."""
        return self.bench.Bench(self.options, region.postgres, region.gateways[0], self.scratch)

    def load(self, connections, seconds, pause_ms=0):
        """Upserts at the hub by wrk, each connection pausing in between."""
        hub = self.backends(self.account.region(1))
        script = self.bench.upserts_of(["items"], 100_000)
        if pause_ms:
            script += f"\nfunction delay() return {pause_ms} end\n"
        kept, hub.options = hub.options, type(self.options)(**{**vars(self.options), "seconds": seconds})
        try:
            return hub.wrk(script, connections)
        finally:
            hub.options = kept

    def delays_ms(self, count=SAMPLES):
        """From a write's acknowledgement at the hub until a read in another region shows it."""
        hub, far = (Line(self.account.region(n).gateways[0]) for n in (1, 2))
        path = f"/dbs/{DATABASE}/colls/items/docs"
        pk = {"x-ms-documentdb-partitionkey": '["probe"]'}
        found = []
        for number in range(count):
            body = {"id": "probe", "n": number}
            wrote = hub.request("POST", path, body, {**pk, "x-ms-documentdb-is-upsert": "True"})
            began = time.monotonic()
            assert wrote and wrote.status in (200, 201), wrote
            while True:
                read = far.request("GET", f"{path}/probe", headers={**pk, "x-ms-consistency-level": "Eventual"})
                if read and read.status == 200 and read.json["n"] == number:
                    break
                assert time.monotonic() - began < 10, read
                time.sleep(LOOK_S)  # who asks without a pause takes the processor from what is awaited
            found.append(1000 * (time.monotonic() - began))
            time.sleep(0.005)
        hub.close()
        far.close()
        return sorted(found)


def measure_delay(bench, options, scratch):
    with Regions(bench, options, scratch, regions=2) as regions:
        regions.delays_ms(20)
        idle = regions.delays_ms()
        full = regions.load(16, 3)["rate"]
        pause = max(1, round(1000 * 16 / (full / 2) - 1000 * 16 / full))
        loaded = {}
        run_all(lambda: loaded.update(load=regions.load(16, 12, pause)),
                lambda: (time.sleep(1), loaded.update(delays=regions.delays_ms())))
    half = loaded["delays"]
    note = f"{loaded['load']['rate']:.0f} of {full:.0f} writes/s"
    rows = {}
    for name, found in (("idle", idle), ("at half load", half)):
        rows[f"delay {name}, median"] = (f"replication {name}: added delay, median" + (f" ({note})" if found is half else ""),
                                         f"{statistics.median(found):.1f} ms", "≤ 5 ms", statistics.median(found) <= 5)
        rows[f"delay {name}, p99"] = (f"replication {name}: added delay, p99", f"{found[len(found) * 99 // 100]:.1f} ms", "–", None)
    return rows


def measure_backlog(bench, options, scratch):
    rows = {}
    for ranges in (1, 8):
        with Regions(bench, options, scratch, regions=2, ranges=ranges) as regions:
            hub, far = regions.account.regions
            far.gateways[0].kill9()
            run = regions.load(64, BACKLOG_S)
            count = run["requests"]
            far.gateways[0].start()
            began = time.monotonic()
            wanted = hub.vectors()
            while far.vectors() != wanted:
                assert time.monotonic() - began < 120, "the backlog is not applied"
                time.sleep(0.02)
            rate = count / (time.monotonic() - began)
        name = f"apply of a backlog, {ranges} range{'s' if ranges > 1 else ''}"
        rows[name] = (f"{name}: {rate:.0f}/s over the peer's own {run['rate']:.0f} writes/s", f"{rate / run['rate']:.2f}", "≥ 2",
                      rate >= 2 * run["rate"])
    return rows


def measure_hub(bench, options, scratch):
    with contextlib.ExitStack() as stack:
        one = stack.enter_context(Regions(bench, options, scratch, regions=1))
        three = stack.enter_context(Regions(bench, options, scratch))
        found = {1: [], 3: []}
        for _ in range(options.rounds):
            for count, regions in ((1, one), (3, three)):
                found[count].append(regions.load(64, options.seconds))
                regions.account.wait_converged(120)  # what is left over is no other run's load
    rate = {count: statistics.median(run["rate"] for run in runs) for count, runs in found.items()}
    cpu = {count: statistics.median(run["cpu_us"] for run in runs) for count, runs in found.items()}
    return {
        "hub of three regions, rate": (f"hub of three regions on one machine: {rate[3]:.0f} writes/s over {rate[1]:.0f} of a single one",
                                       f"{rate[3] / rate[1]:.2f}", "–", None),
        "hub of three regions, CPU": (f"the same with processors of its own: {cpu[1]:.0f} µs per write over {cpu[3]:.0f} (gateway and PostgreSQL)",
                                      f"{cpu[1] / cpu[3]:.2f}", "≥ 0.8", cpu[1] >= 0.8 * cpu[3]),
    }


def writes_ms(line, count=SAMPLES):
    path = f"/dbs/{DATABASE}/colls/items/docs"
    headers = {"x-ms-documentdb-partitionkey": '["w"]', "x-ms-documentdb-is-upsert": "True"}
    found = []
    for number in range(count):
        began = time.monotonic()
        answer = line.request("POST", path, {"id": "w", "n": number}, headers)
        found.append(1000 * (time.monotonic() - began))
        assert answer and answer.status in (200, 201), answer
    return statistics.median(found)


def trips_ms(url, count=50):
    class At:
        http = url
    line = Line(At)
    found = []
    for _ in range(count + 5):
        began = time.monotonic()
        assert line.request("GET", "/alive").status == 200
        found.append(1000 * (time.monotonic() - began))
    line.close()
    return statistics.median(found[5:])


def measure_strong(bench, options, scratch):
    with Regions(bench, options, scratch, regions=1) as alone:
        local = writes_ms(Line(alone.account.region(1).gateways[0]))
    with Regions(bench, options, scratch, level="Strong", links=True) as regions:
        account = regions.account
        account.delay(DELAY_S)
        trip = trips_ms(account.link(1, 2).url)
        time.sleep(1)
        strong = writes_ms(Line(account.region(1).gateways[0]), 60)
        account.heal()
    return {"Strong write": (f"Strong write {strong:.1f} ms over round trip {trip:.1f} ms + local write {local:.1f} ms",
                             f"{strong / (trip + local):.2f}", "≤ 1.3", strong <= 1.3 * (trip + local))}


def measure_idle(bench, options, scratch):
    with Regions(bench, options, scratch) as regions:
        time.sleep(5)
        gateways = regions.account.gateways
        before = [bench.cpu_s(gateway.pid) for gateway in gateways]
        time.sleep(IDLE_S)
        cpu = max(100 * (bench.cpu_s(gateway.pid) - was) / IDLE_S for gateway, was in zip(gateways, before))
        memory = max(bench.peak_mib(gateway.pid) for gateway in gateways)
    return {
        "idle CPU": ("gateway of an idle account of three regions, processor", f"{cpu:.2f} %", "< 1 %", cpu < 1),
        "idle memory": ("the same, resident memory at its peak", f"{memory:.0f} MiB", "≤ 60 MiB", memory <= 60),
    }


def measurements():
    return [(measure_delay, ROWS[:4]), (measure_backlog, ROWS[4:6]), (measure_hub, ROWS[6:8]), (measure_strong, ROWS[8:9]),
            (measure_idle, ROWS[9:])]
