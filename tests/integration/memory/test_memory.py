"""Allocations that fail, one in n, under every kind of request: the gateway stays up, answers 503 at worst, and is whole afterwards."""

import http.client
import json
import mmap
import os
import pathlib
import subprocess
import time

from support import gateway as gateways
from support.postgres import Postgres

ROOT = pathlib.Path(__file__).resolve().parents[3]
PROGRAM = os.environ.get("RELEASE_PROGRAM", str(ROOT / "build" / "orrery"))
PK = {"x-ms-documentdb-partitionkey": '["a"]'}
BATCH = {"x-ms-cosmos-is-batch-request": "true", "x-ms-cosmos-batch-atomic": "true", **PK}
QUERY = {"x-ms-documentdb-isquery": "true"}
CROSS = {"x-ms-documentdb-query-enablecrosspartition": "true"}
DOCS = "/dbs/d/colls/c/docs"
REQUESTS = [
    ("GET", DOCS + "/1", None, PK),
    ("POST", DOCS, {"id": "2", "pk": "a", "n": 1.5, "u": 2}, {"x-ms-documentdb-is-upsert": "true"}),
    ("PATCH", DOCS + "/1", {"condition": "from c where c.n > 0", "operations": [{"op": "incr", "path": "/n", "value": 1}]}, PK),
    ("POST", DOCS, [{"operationType": "Upsert", "resourceBody": {"id": "3", "pk": "a", "u": 3}},
                    {"operationType": "Patch", "id": "3", "resourceBody": [{"op": "set", "path": "/x", "value": 1}]},
                    {"operationType": "Read", "id": "1"}], BATCH),
    ("PUT", DOCS + "/1", {"id": "1", "pk": "a", "n": 2}, PK),
    ("POST", DOCS, [{"operationType": "Upsert", "partitionKey": '["b"]', "resourceBody": {"id": "4", "pk": "b", "u": 4}},
                    {"operationType": "Read", "id": "1", "partitionKey": '["a"]'}],
     {**BATCH, "x-ms-cosmos-batch-atomic": "false", "x-ms-documentdb-partitionkey": "", "x-ms-cosmos-batch-continue-on-error": "true"}),
    ("POST", DOCS, {"query": "SELECT c.id, c.n FROM c WHERE c.n > @n ORDER BY c.n", "parameters": [{"name": "@n", "value": 0}]},
     {**QUERY, **CROSS}),
    ("POST", DOCS, {"query": "SELECT c.pk, COUNT(1) AS n, SUM(c.n) AS s FROM c GROUP BY c.pk"}, {**QUERY, **CROSS}),
    ("POST", DOCS, {"query": "SELECT DISTINCT VALUE UPPER(c.pk) FROM c WHERE EXISTS(SELECT VALUE 1)"}, {**QUERY, **CROSS}),
    ("GET", DOCS, None, {}),
    ("GET", "/dbs/d/colls", None, {}),
    ("GET", "/dbs/d/colls/c", None, {}),
    ("GET", "/dbs/d/colls/c/pkranges", None, {}),
    ("POST", "/offers", {"query": "select * from root r where r.x = 1"}, QUERY),
    ("GET", "/status", None, {}),
    ("GET", "/metrics", None, {}),
    ("GET", "/", None, {}),
    ("DELETE", DOCS + "/2", None, PK),
]
GOOD = (200, 201, 204)
SWEEP = [3, 5, 8, 13, 21, 34, 40, 47, 55, 64, 71, 80, 89, 97, 106, 120, 144, 180, 233, 300, 377]


class Caller:
    def __init__(self, port):
        self.port = port

    def __call__(self, method, path, body=None, headers=None):
        """The status, or None where the connection was closed without an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, path, json.dumps(body) if body is not None else None, headers or {})
            answer = connection.getresponse()
            text = answer.read()
            if answer.status >= 400 and answer.getheader("content-type") != "application/json":
                return None  # the HTTP library gave up by itself
            if answer.status >= 400:
                assert text and json.loads(text)["message"], (method, path, body, answer.status, answer.getheaders(), text)
            return answer.status
        except (http.client.HTTPException, ConnectionError):
            return None
        finally:
            connection.close()


def test_failing_allocations(tmp_path):
    library, control = tmp_path / "failing_malloc.so", tmp_path / "control"
    source = ROOT / "tests" / "support" / "failing_malloc.c"
    subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", library, source], check=True, timeout=60)
    control.write_bytes(b"\0" * 4096)
    with Postgres() as server, open(control, "r+b") as file, mmap.mmap(file.fileno(), 4096) as page:
        conninfo = gateways.conninfo_of(server)
        subprocess.run([PROGRAM, "migrate", "--database", conninfo], check=True, timeout=60,
                       capture_output=True, env=gateways.environment())
        with open(tmp_path / "log", "wb") as log:
            process = subprocess.Popen(
                [PROGRAM, "serve", "--database", conninfo, "--port", "none", "--http-port", "0", "--no-auth",
                 "--request-timeout-ms", "3000"],
                env={**gateways.environment(), "LD_PRELOAD": str(library), "FAILING_MALLOC": str(control)},
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log)
        try:
            ready = json.loads(process.stdout.readline())
            call = Caller(int(ready["http"].rstrip("/").rsplit(":", 1)[1]))
            assert call("POST", "/dbs", {"id": "d"}) == 201
            definition = {"id": "c", "partitionKey": {"paths": ["/pk"], "version": 2}, "uniqueKeyPolicy": {"uniqueKeys": [{"paths": ["/u"]}]}}
            assert call("POST", "/dbs/d/colls", definition) == 201
            assert call("POST", DOCS, {"id": "1", "pk": "a", "n": 1}) == 201
            assert [(request, status) for request in REQUESTS if (status := call(*request)) not in GOOD] == []
            refused = 0
            for n in SWEEP:
                page[0:4] = n.to_bytes(4, "little")
                for request in REQUESTS:
                    status = call(*request)
                    refused += status == 503
                    assert status in (None, 200, 201, 204, 207, 404, 408, 503), (n, request, status)
                page[0:4] = bytes(4)
                assert process.poll() is None, (n, (tmp_path / "log").read_text()[-2000:])
            assert refused > 10  # otherwise nothing was tested
            deadline = time.monotonic() + 30
            while True:  # connections to PostgreSQL are being made again
                bad = [(request, status) for request in REQUESTS if (status := call(*request)) not in GOOD]
                if not bad:
                    break
                assert time.monotonic() < deadline, bad
            digest = subprocess.run([PROGRAM, "account", "digest", "--database", conninfo], capture_output=True, timeout=60,
                                    env=gateways.environment())
            assert digest.returncode == 0, digest.stdout
            process.terminate()
            assert process.wait(30) == 0, (tmp_path / "log").read_text()[-2000:]
        finally:
            process.kill()
            process.wait()
            process.stdout.close()
