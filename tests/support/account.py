"""An account of several regions for tests: a private PostgreSQL and gateways for each, and a network of our own between.

    with Account(regions=3, gateways=2, level="Strong") as account:
        account.region(1).client().get("/dbs")
        account.cut(1, 2)                      # neither hears the other
        account.region(2).gateways[0].kill9()
        account.heal()
        account.wait_converged(30)

Whatever happens, nothing is left behind: processes are ended and folders removed. ORRERY_KEEP keeps the folders.
"""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

from . import wire
from .gateway import Gateway, GatewayError, environment, program
from .links import Network
from .postgres import Postgres, free_port
from .threads import run_all

NAMES = ["West US", "East US", "North Europe", "Southeast Asia", "Brazil South"]
CONVERGED_S = 60
POLL_S = 0.1
BUSY = """
    select pid, pg_blocking_pids(pid), state, wait_event_type, wait_event,
           extract(epoch from now() - xact_start)::numeric(9, 3) as transaction_s, left(query, 300)
    from pg_stat_activity
    where backend_type = 'client backend' and state <> 'idle' and pid <> pg_backend_pid()
    order by xact_start"""


class AccountGateway(Gateway):
    """A gateway whose address stays when it is killed and started again."""

    def __init__(self, region, number, args):
        self.number, self.account_region = number, region
        self.port = free_port()
        super().__init__(region.postgres, region.name, region.ordinal, directory=region.directory / f"gateway-{number}",
                         args=["--protocol", "http", "--threads", "1", *args])
        self.points = self.directory / "points"
        self.points.mkdir(parents=True, exist_ok=True)

    def arguments(self):
        return ["--port", str(self.port), *self.args, *self.account_region.arguments()]

    @property
    def http(self):
        return f"http://127.0.0.1:{self.port}"

    @property
    def is_running(self):
        return self.process is not None and self.process.poll() is None

    # Points of gateway/base/testpoint.h

    def environment(self):
        return {**super().environment(), "TESTPOINTS": str(self.points)}

    def arm(self, point, action):
        """The next time it passes the point it kills or stops itself."""
        assert action in ("kill", "stop")
        (self.points / f"{point}.reached").unlink(missing_ok=True)
        beside = self.points / f"{point}.new"
        beside.write_text(action)
        beside.rename(self.points / point)

    def disarm(self):
        for path in self.points.iterdir():
            path.unlink()

    def has_reached(self, point):
        return (self.points / f"{point}.reached").exists()

    def wait_reached(self, point, deadline_s=20):
        wait_for(lambda: None if self.has_reached(point) else f"{self.region} has not passed {point}", deadline_s)

    def break_rule(self, rule, is_broken=True):
        path = self.points / f"break-{rule}"
        path.touch() if is_broken else path.unlink(missing_ok=True)

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def kill9(self):
        if self.process is not None:
            super().kill9()

    def state(self):
        if self.process is None:
            return "not started"
        ended = self.process.poll()
        return "running" if ended is None else f"ended with {ended}"

    def status(self):
        client = self.client()
        try:
            answer = client.get("/status")
            assert answer.status == 200, answer
            return answer.json
        finally:
            client.close()


class Region:
    """One region of the account: its PostgreSQL, its gateways, the links by which it asks the others."""

    def __init__(self, account, ordinal, name, gateways, args):
        self.account, self.ordinal, self.name = account, ordinal, name
        self.directory = account.directory / f"region-{ordinal}"
        self.directory.mkdir()
        self.postgres = Postgres(account.postgres_options, parent=account.disks.get(ordinal))
        self.links = {}  # by the ordinal of the region that is asked
        self.extra_args = []  # of this region alone; a gateway reads them when it starts
        self.is_joiner = False  # came by `orrery account add`
        self.gateways = [AccountGateway(self, number, args) for number in range(gateways)]

    def arguments(self):
        """What its gateways are told of the account."""
        others = [region for region in self.account.regions
                  if region is not self and (region.ordinal in self.links or not self.account.has_links)]
        peers = ",".join(f"{other.name}={self.links[other.ordinal].url if self.links else other.gateways[0].http}" for other in others)
        found = ["--lease-ms", str(self.account.lease_ms)]
        if peers:
            clients = ",".join(f"{region.name}={region.gateways[0].http}" for region in self.account.regions)
            found += ["--peers", peers, "--client-endpoints", clients]
            if not self.is_joiner:
                found += ["--topology", str(self.account.topology_path)]
        else:
            found += ["--consistency", self.account.level]
        return found + self.extra_args

    def addresses(self):
        """Where its gateways are reached by other regions."""
        return [("127.0.0.1", gateway.port) for gateway in self.gateways]

    def start(self):
        for gateway in self.gateways:
            if gateway.process is None:
                gateway.start()

    def kill9(self):
        """The whole region goes, as its building would."""
        for gateway in self.gateways:
            gateway.kill9()
        self.postgres.kill9()

    def restart(self):
        if self.postgres.process is None:
            self.postgres.start()
        self.start()

    def client(self, gateway=0, key=wire.KEY):
        return self.gateways[gateway].client(key=key)

    def sql(self, statement, parameters=None):
        """Rows of a statement of its PostgreSQL."""
        with self.postgres.connect(autocommit=True) as connection:
            cursor = connection.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []

    def busy(self):
        """What its PostgreSQL is doing, and who waits for whom; for those who look for a failure's cause."""
        import psycopg  # figures are measured without it

        try:
            with self.postgres.connect(autocommit=True, connect_timeout=5, options="-c statement_timeout=5s") as connection:
                return "\n".join(map(str, connection.execute(BUSY).fetchall()))
        except psycopg.Error as error:
            return str(error)

    def vectors(self):
        """The vector of every range that is there, without zeros at its end."""
        found = {}
        for range_id, vector in self.sql("select range_id, vector from orrery.ranges where state not in ('gone', 'dropped')"):
            while vector and vector[-1] in (0, None):
                vector.pop()
            found[range_id] = tuple(vector)
        return found

    def digests(self):
        return dict(self.sql("select range_id, orrery.range_digest(range_id) from orrery.ranges"
                             " where state not in ('gone', 'dropped')"))

    def check(self):
        """`orrery account digest`: items are the fold of the log, and its numbers have no gap."""
        done = subprocess.run([program(), "account", "--database", self.postgres.conninfo(), "digest"],
                              env=environment(), capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, f"{self.name}\n{done.stdout}{done.stderr}"


class Account:
    def __init__(self, regions=3, gateways=1, level="Session", mode="single", hub=1, bounded=(100000, 300), args=(),
                 postgres_options=None, names=NAMES, links=True, disks=None, lease_ms=1000):
        """mode: single or multi. bounded: K and T. args: further ones of every gateway. links: without them the first
        gateways of the regions reach each other as they are, and nothing can be cut. disks: folders for the data of regions, by ordinal."""
        assert mode in ("single", "multi") and regions <= len(names)
        self.level, self.mode, self.hub, self.bounded = level, mode, hub, bounded
        self.postgres_options = {"shared_buffers": "32MB", "max_connections": "80", **(postgres_options or {})}
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="orrery-account-"))
        self.network = Network()
        self.topology_path = None
        self.lease_ms = lease_ms
        self.has_links, self.disks = links, disks or {}
        self.regions = [Region(self, n + 1, names[n], gateways, args) for n in range(regions)]

    def __enter__(self):
        try:
            return self.start()
        except BaseException as error:
            error.add_note(self.logs())
            self.remove()
            raise

    def __exit__(self, kind, error, _):
        try:
            if kind is None:
                self.stop()
            elif isinstance(error, Exception):
                error.add_note(self.logs())
        finally:
            self.remove()

    def start(self):
        run_all(*[region.postgres.__enter__ for region in self.regions])
        for region in self.regions:
            for other in self.regions:
                if other is not region and self.has_links:
                    region.links[other.ordinal] = self.network.link(other.addresses)
        self.topology_path = self.directory / "topology.json"
        self.topology_path.write_text(json.dumps(self.document()))
        run_all(*[region.start for region in self.regions])
        return self

    def document(self):
        """The topology of the first epoch."""
        return {
            "account": "orrery", "epoch": 257, "mode": self.mode, "hub": self.hub, "level": self.level,
            "bounded": {"versions": self.bounded[0], "seconds": self.bounded[1]},
            "regions": [{"ordinal": region.ordinal, "name": region.name, "state": "online"} for region in self.regions],
            "retired": [],
        }

    def add_region(self, name, gateways=1, args=()):
        """A region with an empty database, running, that may be added to the account: the others reach it at `url`."""
        region = Region(self, max(r.ordinal for r in self.regions) + 1, name, gateways, args)
        region.is_joiner = True
        region.postgres.__enter__()
        to_it = self.network.link(region.addresses)
        region.url = to_it.url
        for other in self.regions:
            region.links[other.ordinal] = self.network.link(other.addresses)
            other.links[region.ordinal] = to_it
        self.regions.append(region)
        region.start()
        return region

    # Parts

    def region(self, ordinal):
        return self.regions[ordinal - 1]

    @property
    def gateways(self):
        return [gateway for region in self.regions for gateway in region.gateways]

    def link(self, asking, asked):
        return self.region(asking).links[asked]

    # The network

    def cut(self, one, other):
        """Neither hears the other."""
        self.link(one, other).cut()
        self.link(other, one).cut()

    def isolate(self, ordinal):
        for region in self.regions:
            if region.ordinal != ordinal:
                self.cut(ordinal, region.ordinal)

    def delay(self, seconds, jitter_s=0.0):
        for link in self.network.links:
            link.delay(seconds, jitter_s)

    def heal(self):
        self.network.heal()

    # Commands

    def command(self, *words, region=1, timeout_s=60):
        """`orrery account …` at a gateway of a region: the finished process."""
        return subprocess.run([program(), "account", "--endpoint", self.region(region).gateways[0].http, *words],
                              env=environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout_s)

    # Waiting

    def wait_ready(self, deadline_s=CONVERGED_S):
        def ready():
            for gateway in self.gateways:
                client = gateway.client()
                try:
                    if client.get("/ready", sign=False).status != 200:
                        return f"{gateway.region} is not ready"
                except OSError as error:
                    return f"{gateway.region}: {error}"
                finally:
                    client.close()
            return None
        wait_for(ready, deadline_s)

    def wait_converged(self, deadline_s=CONVERGED_S, regions=None):
        """Until all regions hold the same ranges with equal vectors and digests; writes must have stopped."""
        wanted = [self.region(ordinal) for ordinal in regions] if regions else self.regions

        def different():
            for of in (Region.vectors, Region.digests):
                found = [of(region) for region in wanted]
                for region, other in zip(wanted[1:], found[1:]):
                    for range_id in sorted(set(found[0]) | set(other)):
                        first, second = found[0].get(range_id), other.get(range_id)
                        if first != second:
                            return (f"range {range_id} ({of.__name__}): {wanted[0].name} has {first}, "
                                    f"{region.name} has {second}")
            return None
        wait_for(different, deadline_s)

    def check(self):
        """In every region the items are the fold of the log."""
        for region in self.regions:
            region.check()

    # Ending

    def stop(self):
        """Gateways end well, or the first that did not is told; those that were killed are left alone."""
        self.heal()
        errors = []
        for gateway in self.gateways:
            try:
                if gateway.process is not None:
                    gateway.resume()
                gateway.stop()
            except GatewayError as error:
                errors.append(f"{gateway.region}, gateway {gateway.number}: {error}")
        if errors:
            raise GatewayError("\n".join(errors))

    def logs(self, lines=30):
        told = [f"--- {gateway.region}, gateway {gateway.number}, {gateway.state()}\n{gateway.reports() or gateway.log(lines)}"
                for gateway in self.gateways]
        return "\n".join(told + [f"--- {region.name}, PostgreSQL\n{region.busy()}\n{region.postgres.log()}" for region in self.regions])

    def remove(self):
        for gateway in self.gateways:
            gateway.kill9()
        for region in self.regions:
            region.postgres.remove()
        self.network.close()
        if not os.environ.get("ORRERY_KEEP"):
            shutil.rmtree(self.directory, ignore_errors=True)


def wait_for(wrong, deadline_s):
    """Until wrong() tells nothing more; its last words are the failure's."""
    end = time.monotonic() + deadline_s
    while (found := wrong()) is not None:
        if time.monotonic() > end:
            raise AssertionError(f"after {deadline_s} s: {found}")
        time.sleep(POLL_S)
