"""`scripts/bench profile-regions`: where the processor time of replication goes.

One account of three regions, one of a single region, each under the same load of upserts. Processor time is told per write, of each
gateway and of PostgreSQL's backends by what the gateway uses them for (application_name); statements, those inside of functions
too, by pg_stat_statements in a run of their own, as counting them costs. Times of statements are elapsed ones: on a machine that is
busy they hold waits for the processor, and for locks.
"""

import re
import subprocess
import time

import bench_regions

STATEMENTS = {"shared_preload_libraries": "pg_stat_statements", "pg_stat_statements.track": "all",
              "pg_stat_statements.track_planning": "on", "pg_stat_statements.max": "2000"}
SHOWN = 16
BACKENDS = "select pid, case when backend_type = 'client backend' then application_name else backend_type end from pg_stat_activity"
TOP = """
    select calls, total_exec_time * 1000, total_plan_time * 1000, wal_bytes, query from pg_stat_statements
    order by total_exec_time + total_plan_time desc"""


def backends_s(bench, region):
    """Processor time so far by what a backend is for."""
    found = {}
    for pid, name in region.sql(BACKENDS):
        found[name] = found.get(name, 0) + bench.cpu_s(pid)
    return found


def answers(region):
    return sum(peer["answers"] for peer in region.gateways[0].status()["replication"]["sources"])


class Watch:
    """What the regions of an account use while a load runs and until all is applied."""

    def __init__(self, bench, regions):
        self.bench, self.regions = bench, regions

    def take(self):
        return [{"gateway": self.bench.cpu_s(region.gateways[0].pid), **backends_s(self.bench, region)}
                for region in self.regions.account.regions]

    def run(self, connections, seconds):
        before = self.take()
        load = self.regions.load(connections, seconds)
        regions = self.regions.account.regions
        while any(region.vectors() != regions[0].vectors() for region in regions):
            time.sleep(0.1)
        after = self.take()
        writes = load["requests"]
        return load, [{name: 1e6 * (now[name] - was.get(name, 0)) / writes for name in now} for was, now in zip(before, after)]


def processor_table(runs):
    """runs: name of a column -> what a region used, by name."""
    names = sorted({name for used in runs.values() for name, us in used.items() if us >= 0.5})
    lines = ["| µs per write | " + " | ".join(runs) + " |", "|---|" + "---|" * len(runs)]
    for name in names:
        lines.append(f"| {name} | " + " | ".join(f"{used.get(name, 0):.0f}" for used in runs.values()) + " |")
    return "\n".join(lines + ["| all | " + " | ".join(f"{sum(used.values()):.0f}" for used in runs.values()) + " |"])


def statements_table(region, writes):
    lines = ["| calls per 1000 writes | µs per write | of it planning | statement |", "|---|---|---|---|"]
    for calls, exec_us, plan_us, _, query in region.sql(TOP)[:SHOWN]:
        text = re.sub(r"\s+", " ", query).replace("|", "\\|")[:110]
        lines.append(f"| {1000 * calls / writes:.0f} | {(exec_us + plan_us) / writes:.0f} | {plan_us / writes:.0f} | {text} |")
    return "\n".join(lines)


def profile(bench, options, scratch):
    runs = {}
    with bench_regions.Regions(bench, options, scratch, regions=1) as one:
        Watch(bench, one).run(64, 2)
        load, (runs["single region"],) = Watch(bench, one).run(64, options.seconds)
        print(f"single region, 64 connections: {load['rate']:.0f} writes/s")
    with bench_regions.Regions(bench, options, scratch) as three:
        Watch(bench, three).run(64, 2)
        load, (runs["hub of three"], runs["second region"], _) = Watch(bench, three).run(64, options.seconds)
        print(f"hub of three regions, 64 connections: {load['rate']:.0f} writes/s\n")
        print(processor_table(runs))
    with bench_regions.Regions(bench, options, scratch, postgres_options=STATEMENTS) as counted:
        hub, second, _ = counted.account.regions
        for region in (hub, second):
            region.sql("create extension pg_stat_statements")
        Watch(bench, counted).run(64, 2)
        for region in (hub, second):
            region.sql("select pg_stat_statements_reset()")
        load, _ = Watch(bench, counted).run(64, options.seconds)
        for name, region in (("hub", hub), ("second region", second)):
            print(f"\nStatements of the {name} ({load['rate']:.0f} writes/s):\n")
            print(statements_table(region, load["requests"]))
