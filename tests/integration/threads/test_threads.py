"""Several loops in one process, and what they share, while it changes: keys, certificate, throughput, metrics.

Worth most under the thread sanitizer (part "tsan" of scripts/test); without one it still holds that every request is answered.
"""

import base64
import itertools
import json
import os
import signal
import ssl
import subprocess
import threading
import time

import pytest
from support import wire
from support.gateway import Gateway

THREADS = 4
CLIENTS = 8
DURATION_S = 5
UPSERT = {"x-ms-documentdb-is-upsert": "True"}


def make_certificate(folder):
    certificate, key = folder / "server.crt", folder / "server.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", key,
         "-out", certificate], check=True, capture_output=True, timeout=60)
    return certificate.read_bytes() + key.read_bytes()


def put(path, data):
    beside = path.with_name(path.name + ".new")
    beside.write_bytes(data)
    os.rename(beside, path)


@pytest.fixture
def busy(postgres, tmp_path):
    """A gateway whose key, certificate and throughput are all read again; its primary key and the files."""
    key = base64.b64encode(os.urandom(64)).decode()
    put(tmp_path / "keys", f"primary={key}\n".encode())
    put(tmp_path / "server.pem", make_certificate(tmp_path))
    args = ["--threads", str(THREADS), "--key-file", str(tmp_path / "keys"), "--cert-file", str(tmp_path / "server.pem"),
            "--enforce-throughput", "--drain-timeout-ms", "5000"]
    with Gateway(postgres, args=args) as gateway:
        yield gateway, key, tmp_path


class Worker(threading.Thread):
    """A client that does everything, over a connection that is now and then a new one."""

    def __init__(self, gateway, key, number, over):
        super().__init__()
        self.gateway, self.key, self.number, self.over = gateway, key, number, over
        self.statuses, self.error = {}, None
        self.is_leaving = False

    def steps(self, path):
        name, pk = f"w{self.number}", [f"p{self.number % 3}"]
        docs = f"{path}/docs"
        item = {"id": name, "pk": pk[0], "n": self.number}
        batch = [{"operationType": "Upsert", "resourceBody": {**item, "id": f"{name}b"}}, {"operationType": "Read", "id": name}]
        return itertools.cycle([
            ("POST", docs, item, pk, UPSERT), ("GET", f"{docs}/{name}", None, pk, {}), ("GET", docs, None, None, {}),
            ("POST", docs, batch, pk, {"x-ms-cosmos-is-batch-request": "true", "x-ms-cosmos-batch-atomic": "true"}),
            ("PATCH", f"{docs}/{name}", {"operations": [{"op": "incr", "path": "/n", "value": 1}]}, pk, {}),
            ("GET", "/metrics", None, None, {}), ("GET", "/status", None, None, {}), ("GET", f"{path}/pkranges", None, None, {}),
            ("DELETE", f"{docs}/{name}b", None, pk, {}), ("GET", f"{docs}/none", None, pk, {}),
            ("GET", f"/dbs/threads{self.number}", None, None, {}), ("POST", "/dbs", {"id": f"threads{self.number}"}, None, {}),
            ("DELETE", f"/dbs/threads{self.number}", None, None, {}),
        ])

    def run(self):
        try:
            client = self.gateway.client(tls=self.number % 2 == 0, key=self.key)
            client.ca_file = None if self.number % 2 else client.ca_file
            for count, (method, path, body, pk, headers) in enumerate(self.steps("/dbs/threads/colls/c")):
                if self.over.is_set():
                    break
                if count % 17 == 16:
                    client.close()
                try:
                    answer = client.request(method, path, body, headers, pk)
                except OSError:
                    if not self.is_leaving:
                        raise
                    break
                self.statuses[answer.status] = self.statuses.get(answer.status, 0) + 1
            client.close()
        except Exception as error:  # told by the test
            self.error = error


def make_place(gateway, key):
    client = gateway.client(key=key)
    client.delete("/dbs/threads")
    assert client.post("/dbs", {"id": "threads"}).status == 201
    answer = client.post("/dbs/threads/colls", {"id": "c", "partitionKey": {"paths": ["/pk"], "kind": "Hash", "version": 2}},
                         headers={"x-ms-offer-throughput": "20000"})
    assert answer.status == 201, answer
    client.close()


def test_loops_share_what_changes(busy):
    gateway, key, folder = busy
    make_place(gateway, key)
    over = threading.Event()
    workers = [Worker(gateway, key, number, over) for number in range(CLIENTS)]
    for worker in workers:
        worker.start()
    end, turns = time.monotonic() + DURATION_S, 0
    certificate = (folder / "server.pem").read_bytes()
    while time.monotonic() < end:
        secondary = base64.b64encode(os.urandom(64)).decode()
        put(folder / "keys", f"primary={key}\nsecondary={secondary}\n".encode())
        put(folder / "server.pem", certificate if turns % 3 else b"none")
        gateway.process.send_signal(signal.SIGHUP)
        turns += 1
        time.sleep(0.15)
    client = gateway.client(key=secondary)
    assert client.get("/dbs/threads").status == 200
    client.close()
    for worker in workers:
        worker.is_leaving = True
    gateway.stop()  # while they ask; fails when a sanitizer said something, or the exit status is not 0
    over.set()
    for worker in workers:
        worker.join(60)
        assert not worker.is_alive()
        assert worker.error is None, worker.error
    statuses = {}
    for worker in workers:
        for status, count in worker.statuses.items():
            statuses[status] = statuses.get(status, 0) + count
    assert set(statuses) <= {200, 201, 204, 404, 409, 412, 429, 449, 503}, statuses
    assert statuses[200] > 50 and statuses[201] > 10 and statuses[404] > 10, statuses


def test_the_authority_is_whole_for_every_client(busy):
    """Clients that were the first to ask for its certificate once read the file that another one was still writing."""
    gateway, _, _ = busy
    begin, errors = threading.Barrier(CLIENTS), []

    def trust():
        try:
            begin.wait(30)
            ssl.create_default_context(cafile=gateway.ca_file)
        except Exception as error:  # told by the test
            errors.append(error)

    for _ in range(20):
        (gateway.directory / "fetched-ca.pem").unlink(missing_ok=True)
        threads = [threading.Thread(target=trust) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert not errors, errors


def test_each_loop_takes_connections(busy):
    """The kernel spreads them; requests of one client land on several loops and see one another's writes."""
    gateway, key, _ = busy
    make_place(gateway, key)
    clients = [gateway.client(key=key) for _ in range(32)]
    for number, client in enumerate(clients):
        answer = client.post("/dbs/threads/colls/c/docs", {"id": str(number), "pk": "p"}, pk=["p"])
        assert answer.status == 201, answer
        token = answer.header("x-ms-session-token")
        for other in clients[:: 5]:
            found = other.get(f"/dbs/threads/colls/c/docs/{number}", pk=["p"], headers={"x-ms-session-token": token})
            assert found.status == 200, (number, found)
    text = clients[0].get("/metrics", sign=False).body.decode()
    assert "orrery_" in text and json.loads(clients[0].get("/status", sign=False).body)
    for client in clients:
        client.close()
