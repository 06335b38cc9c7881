"""Clients of an account that write down what they did and what came of it.

Each sends a request once and learns one of three things: it took place, it did not, or nobody knows. A session keeps its
token as SDKs do: of each range the greatest LSN of every region.
"""

import http.client
import itertools
import json
import random
import re
import threading
import time
import urllib.parse

from . import wire
from .history import Op

UPSERT = {"x-ms-documentdb-is-upsert": "True"}
ANSWER_S = 12
NUMBERS = itertools.count(1)  # no two writes of a run write the same


class Line:
    """A connection to one gateway. Requests are never repeated."""

    def __init__(self, gateway, timeout_s=ANSWER_S):
        self.gateway, self.timeout_s = gateway, timeout_s
        self.connection = None

    def request(self, method, path, body=None, headers=None):
        """An Answer; None when nobody knows; False when it was not sent."""
        sent = {**wire.signed(method, path), "content-type": "application/json", **(headers or {})}
        try:
            if self.connection is None:
                url = urllib.parse.urlsplit(self.gateway.http)
                self.connection = http.client.HTTPConnection(url.hostname, url.port, timeout=self.timeout_s)
                self.connection.connect()
        except OSError:
            self.close()
            return False
        try:
            self.connection.request(method, path, body=None if body is None else json.dumps(body), headers=sent)
            reply = self.connection.getresponse()
            data = reply.read()
        except (OSError, http.client.HTTPException):
            self.close()
            return None
        if reply.will_close:
            self.close()
        return wire.Answer(reply.status, {k.lower(): v for k, v in reply.getheaders()}, data)

    def close(self):
        if self.connection is not None:
            self.connection.close()
            self.connection = None


class Token:
    """A session's token, merged from answers: {range: (version, {region: LSN})}."""

    def __init__(self):
        self.ranges = {}

    def take(self, text):
        for part in (text or "").split(","):
            if ":" not in part:
                continue
            name, rest = part.split(":", 1)
            version, _, *regions = rest.split("#")
            new = int(version), {int(o): int(lsn) for o, lsn in (one.split("=") for one in regions)}
            self.ranges[name] = self.merged(self.ranges.get(name), new)

    @staticmethod
    def merged(old, new):
        if old is None:
            return new
        first, last = sorted((old, new), key=lambda one: one[0])  # the later version says which regions there are
        regions = {o: max(lsn, first[1].get(o, 0)) for o, lsn in last[1].items()}
        return last[0], regions

    def text(self):
        return ",".join("#".join([f"{name}:{version}", str(sum(regions.values())),
                                  *[f"{o}={lsn}" for o, lsn in sorted(regions.items())]])
                        for name, (version, regions) in self.ranges.items())


class Client:
    """One client, one operation at a time. regions: where it reads; writes go to `writes_at`, or to where it reads."""

    def __init__(self, account, docs, history, name, regions, keys, writes_at=None, level=None, keeps_session=True, is_session=None,
                 weights=None, seed=0, pause_s=0):
        """keeps_session: its token is sent. is_session: it is judged as a session, whether or not it sends its token.
        pause_s: between two operations."""
        self.account, self.docs, self.history, self.name = account, docs, history, name
        self.regions, self.keys, self.level = list(regions), list(keys), level
        self.writes_at = writes_at
        self.keeps_session, self.pause_s = keeps_session, pause_s
        self.session = name if (keeps_session if is_session is None else is_session) else None
        self.token = Token()
        self.weights = weights or {"read": 5, "write": 4, "delete": 1, "swap": 1, "batch": 1, "snapshot": 1}
        self.chance = random.Random(f"{name}{seed}")
        self.lines = {}
        self.known = {}  # key: (etag, value) as last seen
        self.wrong = []  # answers that nothing excuses

    def line(self, region):
        gateways = self.account.region(region).gateways
        gateway = self.chance.choice(gateways)
        if gateway not in self.lines:
            self.lines[gateway] = Line(gateway)
        return self.lines[gateway]

    def send(self, region, method, path, body=None, headers=None, key=None):
        all_headers = {"x-ms-cosmos-allow-tentative-writes": "true", **(headers or {})}  # as SDKs that know several writers
        if key is not None:
            all_headers["x-ms-documentdb-partitionkey"] = json.dumps(["p"])
        if self.level:
            all_headers["x-ms-consistency-level"] = self.level
        if self.keeps_session and (text := self.token.text()):
            all_headers["x-ms-session-token"] = text
        answer = self.line(region).request(method, path, body, all_headers)
        if answer and answer.status < 500 and answer.status != 408:
            self.token.take(answer.header("x-ms-session-token"))
        return answer

    def step(self):
        kind = self.chance.choices(list(self.weights), list(self.weights.values()))[0]
        key = self.chance.choice(self.keys)
        region = self.chance.choice(self.regions)
        if kind not in ("read", "snapshot"):
            region = self.writes_at() if callable(self.writes_at) else self.writes_at or region
        if kind == "swap" and key not in self.known:
            kind = "write"
        start = time.monotonic_ns()
        op = getattr(self, kind)(region, key, start)
        op.end = time.monotonic_ns()
        self.history.append(op)
        if op.result != "ok":
            time.sleep(0.02)
        return op

    def new(self, kind, region, start, **named):
        return Op(kind, region, start, start, "ok", session=self.session, **named)

    # Reading

    def judge_read(self, op, answer, fine):
        """Sets the result; whether the answer tells a state."""
        op.status, op.substatus = (answer.status, answer.substatus) if answer else (0, 0)
        if answer and answer.status in fine and not (answer.status == 404 and answer.substatus == 1002):
            return True
        op.result = "no"
        if answer and answer.status not in (403, 404, 408, 410, 429, 449, 503):
            self.wrong.append((op.tell(), answer))
        return False

    def read(self, region, key, start):
        op = self.new("read", region, start, key=key)
        answer = self.send(region, "GET", f"{self.docs}/{key}", key=key)
        if self.judge_read(op, answer, (200, 404)):
            op.found = answer.json["v"] if answer.status == 200 else None
            self.known.pop(key, None)
            if answer.status == 200:
                self.known[key] = answer.header("etag"), op.found
        return op

    def snapshot(self, region, _, start):
        """All items at one moment."""
        op = self.new("snapshot", region, start)
        headers = {"x-ms-documentdb-isquery": "True", "content-type": "application/query+json", "x-ms-max-item-count": "1000"}
        answer = self.send(region, "POST", self.docs, {"query": "SELECT c.id, c.v FROM c", "parameters": []}, headers, key="p")
        if self.judge_read(op, answer, (200,)):
            if answer.header("x-ms-continuation"):
                self.wrong.append((op.tell(), "in two pages"))
            op.found = {one["id"]: one["v"] for one in answer.json["Documents"]}
        return op

    # Writing

    def judge_write(self, op, answer, fine):
        op.status, op.substatus = (answer.status, answer.substatus) if answer else (0, 0)
        if answer is None or (answer and answer.status == 408):
            op.result = "unknown"
        elif not answer or answer.status not in fine:
            op.result = "no"
            if answer and answer.status not in (403, 404, 409, 410, 412, 429, 449, 503):
                self.wrong.append((op.tell(), answer))
                op.result = "unknown"
        return op.result == "ok"

    def body(self, key):
        return {"id": key, "pk": "p", "v": next(NUMBERS)}

    def write(self, region, key, start):
        body = self.body(key)
        op = self.new("write", region, start, key=key, value=body["v"])
        answer = self.send(region, "POST", self.docs, body, UPSERT, key)
        if self.judge_write(op, answer, (200, 201)):
            self.known[key] = answer.header("etag"), op.value
        return op

    def swap(self, region, key, start):
        etag, value = self.known.pop(key)
        body = self.body(key)
        op = self.new("swap", region, start, key=key, value=body["v"], expected=value)
        answer = self.send(region, "PUT", f"{self.docs}/{key}", body, {"if-match": etag}, key)
        if answer and (answer.status == 412 or (answer.status == 404 and answer.substatus == 0)):
            op.is_done = False  # it tells that the value was another
        elif self.judge_write(op, answer, (200,)):
            self.known[key] = answer.header("etag"), op.value
        return op

    def delete(self, region, key, start):
        op = self.new("delete", region, start, key=key)
        answer = self.send(region, "DELETE", f"{self.docs}/{key}", key=key)
        if answer and answer.status == 404 and answer.substatus == 0:
            return self.new("read", region, start, key=key)  # it tells that there was none
        if self.judge_write(op, answer, (204,)):
            own = re.search(rf"#{region}=(\d+)", answer.header("x-ms-session-token"))
            op.version = (region, int(own[1]))
        return op

    def batch(self, region, _, start):
        """Two items in one transaction."""
        bodies = [self.body(key) for key in self.chance.sample(self.keys, 2)]
        op = self.new("batch", region, start, found={one["id"]: one["v"] for one in bodies})
        headers = {"x-ms-cosmos-is-batch-request": "True", "x-ms-cosmos-batch-atomic": "True"}
        operations = [{"operationType": "Upsert", "resourceBody": one} for one in bodies]
        answer = self.send(region, "POST", self.docs, operations, headers, "p")
        self.judge_write(op, answer, (200,))
        return op

    def run(self, over):
        while not over.is_set():
            self.step()
            if self.pause_s:
                over.wait(self.pause_s)
        self.close()

    def close(self):
        for line in self.lines.values():
            line.close()


def run_clients(clients, seconds, beside=None):
    """All clients at once, for that long or until `beside` has ended."""
    over = threading.Event()
    errors = []

    def work(client):
        try:
            client.run(over)
        except BaseException as error:  # noqa: BLE001 - told below
            errors.append(error)
            over.set()

    threads = [threading.Thread(target=work, args=[client]) for client in clients]
    for thread in threads:
        thread.start()
    try:
        if beside is None:
            over.wait(seconds)
        else:
            beside(over)
    finally:
        over.set()
        for thread in threads:
            thread.join()
    if errors:
        raise errors[0]
