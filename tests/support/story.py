"""Runs of clients against an account while things go wrong, and the judgement of what they saw."""

import random
import time

from . import checkers
from .checkers import Log, Version
from .clients import Client, run_clients

COLLS = "/dbs/suite/colls"
DOCS = f"{COLLS}/items/docs"
KEYS = [f"k{n}" for n in range(6)]
SEEN_S = 30


def prepare(account):
    """A container that all regions know."""
    client = account.region(account.hub).client()
    for path, body in (("/dbs", {"id": "suite"}),
                       (COLLS, {"id": "items", "partitionKey": {"paths": ["/pk"], "kind": "Hash", "version": 2}})):
        answer = client.post(path, body)
        assert answer.status == 201, answer
    client.close()
    deadline = time.monotonic() + SEEN_S
    for region in account.regions:
        for gateway in region.gateways:
            client = gateway.client()
            while (answer := client.get(f"{COLLS}/items")).status != 200:
                assert time.monotonic() < deadline, f"{region.name} does not know the container: {answer}\n{account.logs()}"
                time.sleep(0.1)
            client.close()


def log_of(region):
    """The log of the container that `prepare` made, as a region holds it."""
    (table,), = region.sql("select format('log_%s', i.rid) from orrery.items_0 i"
                           " where i.id = 'items' and i.pk between 'colls/' and 'colls0' and not i.deleted")
    rows = region.sql(f"select id, op, origin, lsn, context, (body::jsonb)->>'v' from orrery.{table} where op <> 5"
                      " order by range_id, seq")
    return Log(Version(key, None if op >= 3 else int(value), origin, lsn,
                       tuple(one or 0 for one in context) if context else (0,) * (origin - 1) + (lsn - 1,))
               for key, op, origin, lsn, context, value in rows)


def states(account):
    """What clients find in each region when all is over, by a query without a session."""
    found = {}
    for region in account.regions:
        client = Client(account, DOCS, [], "last", [region.ordinal], KEYS, level="Eventual", keeps_session=False)
        op = client.snapshot(region.ordinal, None, 0)
        client.close()
        assert op.result == "ok", (region.name, op)
        found[region.name] = op.found
    return found


class Nemesis:
    """Does one thing after the other to an account, each for a moment, and then undoes it. A seed says which."""

    KINDS = ("cut", "one_way", "isolate", "slow", "kill_gateway", "kill_postgres", "pause")

    def __init__(self, account, seconds, seed, kinds=KINDS, longest_s=1.5):
        self.account, self.seconds, self.kinds, self.longest_s = account, seconds, kinds, longest_s
        self.chance = random.Random(seed)
        self.done = []

    def __call__(self, over):
        end = time.monotonic() + self.seconds
        while time.monotonic() < end and not over.wait(self.chance.uniform(0.1, 0.5)):
            kind = self.chance.choice(self.kinds)
            self.done.append(kind)
            getattr(self, kind)(over, self.chance.uniform(0.2, self.longest_s))
        self.account.heal()
        over.wait(0.5)

    def two(self):
        return self.chance.sample([region.ordinal for region in self.account.regions], 2)

    def region(self):
        return self.chance.choice(self.account.regions)

    def cut(self, over, seconds):
        self.account.cut(*self.two())
        over.wait(seconds)
        self.account.heal()

    def one_way(self, over, seconds):
        self.account.link(*self.two()).cut(self.chance.choice(["there", "back"]))
        over.wait(seconds)
        self.account.heal()

    def isolate(self, over, seconds):
        self.account.isolate(self.region().ordinal)
        over.wait(seconds)
        self.account.heal()

    def slow(self, over, seconds):
        self.account.delay(self.chance.uniform(0.005, 0.1), self.chance.uniform(0, 0.1))
        over.wait(seconds)
        self.account.heal()

    def kill_gateway(self, over, seconds):
        gateway = self.chance.choice(self.region().gateways)
        gateway.kill9()
        over.wait(seconds / 3)
        gateway.start()

    def kill_postgres(self, over, seconds):
        postgres = self.region().postgres
        postgres.kill9()
        over.wait(seconds / 3)
        postgres.start()

    def pause(self, over, seconds):
        gateway = self.chance.choice(self.region().gateways)
        gateway.pause()
        over.wait(seconds)
        gateway.resume()


class Story:
    """A run that is over: what the clients did, and what the log of each region tells."""

    def __init__(self, account, history, clients, converge_s=60):
        self.account, self.history = account, history
        account.wait_ready()
        account.wait_converged(converge_s)
        self.logs = {region.name: log_of(region) for region in account.regions}
        self.log = self.logs[account.region(account.hub).name]
        self.wrong = [one for client in clients for one in client.wrong]

    def count(self, result, *kinds):
        return sum(op.result == result and (not kinds or op.kind in kinds) for op in self.history)

    def check_common(self):
        """What holds at every level."""
        assert self.wrong == []
        found = checkers.converged(states(self.account))
        for name, log in self.logs.items():
            found += [f"{name}: {one}" for one in checkers.durable(self.history, log)]
        assert found == []
        self.account.check()

    def tell(self):
        kinds = ("read", "snapshot", "write", "swap", "delete", "batch")
        return ", ".join(f"{kind} {self.count('ok', kind)}/{self.count('no', kind)}/{self.count('unknown', kind)}" for kind in kinds)


def play(account, clients, history, seconds, seed=None, **named):
    """Clients, and a nemesis beside them unless there is no seed."""
    nemesis = None if seed is None else Nemesis(account, seconds, seed, **named)
    run_clients(clients, seconds, nemesis)
    story = Story(account, history, clients)
    print(f"seed {seed}: {story.tell()}; {nemesis.done if nemesis else 'undisturbed'}")
    return story
