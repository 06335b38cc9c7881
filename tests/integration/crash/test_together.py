"""Gateways beside each other, many connections, stopping, changing keys."""

import base64
import json
import os
import resource
import signal
import socket
import threading
import time
import urllib.parse

from support import wire
from support.gateway import Gateway
from support.threads import run_all

from .conftest import COLLS, DOCS, NO_AUTH, Caller, container_make, digest_check, wait_until

ROUNDS = 25
CONNECTIONS = 2000


def test_two_gateways_lose_no_update(server, opened):
    with Gateway(server, args=NO_AUTH) as second:
        setup = Caller(opened)
        for id in ("replaced", "patched"):
            assert setup("POST", DOCS, {"id": id, "pk": "p", "n": 0}, "p").status == 201
        created = []

        def work(gateway):
            call = Caller(gateway)
            for number in range(ROUNDS):
                created.append((number, call("POST", DOCS, {"id": f"c{number}", "pk": "p"}, "p").status))
                while True:
                    read = call("GET", f"{DOCS}/replaced", None, "p")
                    answer = call("PUT", f"{DOCS}/replaced", {"id": "replaced", "pk": "p", "n": read.json["n"] + 1},
                                  "p", {"if-match": read.header("etag")})
                    if answer.status == 200:
                        break
                    assert answer.status == 412, answer
                while True:
                    answer = call("PATCH", f"{DOCS}/patched", {"operations": [{"op": "incr", "path": "/n", "value": 1}]}, "p")
                    if answer.status == 200:
                        break
                    assert answer.status == 449, answer
            call.close()

        run_all(*[lambda gateway=gateway: work(gateway) for gateway in (opened, second) * 2])
        for id in ("replaced", "patched"):
            assert setup("GET", f"{DOCS}/{id}", None, "p").json["n"] == 4 * ROUNDS
        for number in range(ROUNDS):
            assert sorted(status for n, status in created if n == number) == [201, 409, 409, 409]
        with server.connect() as connection:
            assert connection.execute("select sum(deadlocks) from pg_stat_database").fetchone()[0] == 0
        digest_check(server)


def test_many_idle_and_slow_connections(opened):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 8192)), hard))
    url = urllib.parse.urlsplit(opened.http)
    pieces = [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: x\r\nX-A: " + b"a" * 500,
              b"POST /dbs HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n{"]
    held = []
    try:
        for number in range(CONNECTIONS):
            one = socket.create_connection((url.hostname, url.port), timeout=10)
            held.append(one)
            one.sendall(pieces[number % len(pieces)])
        call = Caller(opened)
        slowest = 0
        for number in range(50):
            began = time.monotonic()
            assert call("POST", DOCS, {"id": f"i{number}", "pk": "p"}, "p").status == 201
            slowest = max(slowest, time.monotonic() - began)
        assert slowest < 5
    finally:
        for one in held:
            one.close()
    assert call("GET", f"{DOCS}/i0", None, "p").status == 200


def test_requests_in_flight_are_answered_before_the_end(server, opened):
    """The range is locked, so that the writes are surely in flight when SIGTERM comes."""
    callers = [Caller(opened) for _ in range(20)]
    for call in callers:
        assert call("GET", "/alive").status == 200
    statuses = []

    def write(call, number):
        answer = call("POST", DOCS, {"id": f"d{number}", "pk": "p"}, "p")
        statuses.append(answer and answer.status)

    def end():
        with server.connect() as lock:
            lock.execute("select 1 from orrery.ranges for update")
            holding.set()
            time.sleep(1)
            opened.process.send_signal(signal.SIGTERM)
            time.sleep(0.5)

    holding = threading.Event()

    def held_write(call, number):
        assert holding.wait(10)
        write(call, number)

    run_all(end, *[lambda call=call, number=number: held_write(call, number) for number, call in enumerate(callers)])
    assert statuses == [201] * len(callers)
    assert opened.process.wait(20) == 0
    opened.stop()
    digest_check(server)


def test_keys_change_by_signal(server, tmp_path):
    first, second = (base64.b64encode(os.urandom(64)).decode() for _ in range(2))
    path = tmp_path / "keys"
    path.write_text(first + "\n")
    path.chmod(0o600)
    with Gateway(server, args=["--key-file", str(path)]) as gateway:
        old, new = gateway.client(key=first), gateway.client(key=second)
        assert (old.get("/dbs").status, new.get("/dbs").status) == (200, 401)
        path.write_text("not a key\n")
        gateway.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "keys not loaded" in gateway.log())
        assert (old.get("/dbs").status, new.get("/dbs").status) == (200, 401)
        path.write_text(second + "\n")
        gateway.process.send_signal(signal.SIGHUP)
        wait_until(lambda: new.get("/dbs").status == 200)
        assert old.get("/dbs").status == 401
        assert gateway.client(key=wire.KEY).get("/dbs").status == 401
        old.close()
        new.close()


def test_a_container_made_again_under_writers(server, opened):
    """Each answer's _rid names the container that took the item: it was there while the request ran."""
    with Gateway(server, args=NO_AUTH) as second:
        other, over = Caller(second), threading.Event()
        rids = [json.loads(other("GET", COLLS + "/items").body)["_rid"]]
        begun = [0]  # the generation being dropped counts as gone only when the next one is there
        taken = []

        def write(name, is_bound):
            call, number = Caller(opened), 0
            while not over.is_set():
                first = begun[0]
                number += 1
                headers = {"x-ms-cosmos-intended-collection-rid": rids[first]} if is_bound else {}
                answer = call("POST", DOCS, {"id": f"{name}-{number}", "pk": "p"}, "p", headers)
                assert answer, answer
                if answer.status == 201:
                    taken.append((first, answer.json["_rid"], is_bound))
                else:
                    assert answer.status in (400, 404, 410), answer
                    assert answer.status != 400 or (is_bound and answer.substatus == 1024), answer
            call.close()

        def make_again():
            try:
                for _ in range(8):
                    time.sleep(0.15)
                    assert other("DELETE", COLLS + "/items").status == 204
                    rids.append(container_make(other))
                    begun[0] += 1
                time.sleep(0.3)
            finally:
                over.set()

        run_all(make_again, *[lambda n=n: write(f"w{n}", n % 2 == 0) for n in range(4)])
        owners = [base64.b64decode(rid.replace("-", "/")) for rid in rids]
        for first, rid, is_bound in taken:
            owner = owners.index(base64.b64decode(rid.replace("-", "/"))[:len(owners[0])])
            assert owner == first if is_bound else owner >= first, (first, owner, is_bound)
        assert len({first for first, _, _ in taken}) > 3
        items = json.loads(other("GET", DOCS, headers={"x-ms-max-item-count": "-1"}).body)["Documents"]
        assert {base64.b64decode(one["_rid"].replace("-", "/"))[:len(owners[0])] for one in items} <= {owners[-1]}
        digest_check(server)
