"""Gateways and PostgreSQL that die under write load: what was acknowledged is there, once."""

import os
import random
import threading
import time

from support.threads import run_all

from .conftest import DOCS, UPSERT, Caller, digest_check, wait_until

KILLS = int(os.environ.get("CRASH_KILLS", "10"))
WRITERS = 4


class Writer:
    """Writes items of its own, one after the other, and keeps which states each may have.

    After an unknown result an item is left alone: the write may still be on its way.
    """

    def __init__(self, gateway, name):
        self.call, self.name, self.chance = Caller(gateway), name, random.Random(name)
        self.states = {}  # id: set of versions, None for no item
        self.writes = {}  # id: acknowledged, unknown
        self.live = []
        self.refusals = []
        self.made = self.version = 0

    def step(self):
        kind = self.chance.choice(["create", "upsert", "replace", "delete"])
        if kind == "create" or not self.live:
            kind, id = "create", f"{self.name}-{self.made}"
            self.made += 1
            self.states[id], self.writes[id] = {None}, [0, 0]
        else:
            id = self.chance.choice(self.live)
        self.version += 1
        body = None if kind == "delete" else {"id": id, "pk": id, "v": self.version}
        found = {
            "create": lambda: self.call("POST", DOCS, body, id),
            "upsert": lambda: self.call("POST", DOCS, body, id, UPSERT),
            "replace": lambda: self.call("PUT", f"{DOCS}/{id}", body, id),
            "delete": lambda: self.call("DELETE", f"{DOCS}/{id}", None, id),
        }[kind]()
        self.note(kind, id, None if body is None else self.version, found)

    def note(self, kind, id, version, found):
        if found is False or (found is not None and found.status == 503):
            self.refusals.append(found)
            time.sleep(0.02)
            return
        if found is None or found.status == 408:
            self.refusals.append(found)
            self.states[id].add(version)
            self.writes[id][1] += 1
            if id in self.live:
                self.live.remove(id)
            return
        wanted = {"create": 201, "upsert": 200, "replace": 200, "delete": 204}[kind]
        assert found.status == wanted, (kind, id, found)
        self.states[id] = {version}
        self.writes[id][0] += 1
        if kind == "create":
            self.live.append(id)
        if kind == "delete":
            self.live.remove(id)

    def run(self, over):
        while not over.is_set():
            self.step()
        self.call.close()


def writers_check(server, gateway, writers):
    call = Caller(gateway)
    with server.connect() as connection:
        table = connection.execute("select relname from pg_class where relname ~ '^log_[1-9][0-9]*$'").fetchone()[0]
        logged = dict(connection.execute(f"select id, count(*) from orrery.{table} group by id").fetchall())
        gaps = connection.execute(
            f"select range_id from orrery.{table} group by range_id"
            " having min(lsn) <> 1 or max(lsn) <> count(distinct lsn) or count(*) <> count(distinct lsn)").fetchall()
    assert gaps == []
    for writer in writers:
        for id, states in writer.states.items():
            acknowledged, unknown = writer.writes[id]
            assert acknowledged <= logged.get(id, 0) <= acknowledged + unknown, (id, writer.writes[id])
            answer = call("GET", f"{DOCS}/{id}", None, id)
            assert answer and answer.status in (200, 404), (id, answer)
            assert (answer.json["v"] if answer.status == 200 else None) in states, (id, states, answer)
    digest_check(server)
    return sum(a for writer in writers for a, _ in writer.writes.values())


def under_load(gateway, work):
    """Run work beside writers; they go on for a moment after it."""
    writers, over = [Writer(gateway, f"w{i}") for i in range(WRITERS)], threading.Event()

    def worked():
        try:
            work(writers)
        finally:
            over.set()

    run_all(worked, *[lambda writer=writer: writer.run(over) for writer in writers])
    return writers


def test_crashes_under_write_load(server, opened):
    def crash(_):
        chance = random.Random(1)
        for number in range(KILLS):
            time.sleep(chance.uniform(0.1, 0.8))
            if number % 5 < 3:
                opened.kill9()
                opened.start()
            else:
                server.kill9()
                server.start()
        call = Caller(opened)
        wait_until(lambda: (found := call("GET", "/ready")) and found.status == 200)
        time.sleep(0.5)
        call.close()

    writers = under_load(opened, crash)
    acknowledged = writers_check(server, opened, writers)
    assert acknowledged > 10 * KILLS
    print(f"{KILLS} kills, {acknowledged} writes acknowledged,"
          f" {sum(u for w in writers for _, u in w.writes.values())} unknown")


def test_postgres_goes_and_comes_back(server, opened):
    refusals = []

    def go_and_come(writers):
        call = Caller(opened)
        time.sleep(0.5)
        for end in (server.kill9, server.stop):
            end()
            wait_until(lambda: call("GET", "/ready").status == 503)
            assert call("GET", "/alive").status == 200
            refusals.append(call("GET", f"{DOCS}/none", None, "none"))
            refusals.append(call("POST", DOCS, {"id": "away", "pk": "away"}, "away"))
            server.start()
            wait_until(lambda: call("GET", "/ready").status == 200)
            before = [sum(a for a, _ in writer.writes.values()) for writer in writers]
            wait_until(lambda: all(sum(a for a, _ in list(writer.writes.values())) > count
                                   for writer, count in zip(writers, before)))
        call.close()

    writers = under_load(opened, go_and_come)
    refusals += [found for writer in writers for found in writer.refusals]
    assert refusals and all(found for found in refusals), "the gateway never closes a connection without an answer"
    for found in refusals:
        assert found.status in (503, 408), found
        assert found.status == 408 or int(found.header("retry-after")) >= 1, found.headers
    writers_check(server, opened, writers)
