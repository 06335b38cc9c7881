"""A PostgreSQL that tests may kill, and clients that send each request at most once."""

import http.client
import json
import subprocess
import time
import urllib.parse

import pytest
from support.gateway import Gateway, environment, program
from support.postgres import DISK, Postgres
from support.wire import Answer

COLLS = "/dbs/crash/colls"
DOCS = COLLS + "/items/docs"
UPSERT = {"x-ms-documentdb-is-upsert": "True"}
NO_AUTH = ["--no-auth", "--threads", "1", "--request-timeout-ms", "3000"]
ANSWER_S = 20


class Caller:
    """Requests over one kept connection, never repeated: the caller learns what is not known."""

    def __init__(self, gateway):
        self.gateway = gateway
        self.connection = None

    def __call__(self, method, path, body=None, pk=None, headers=None):
        """An Answer; None when it may or may not have been executed; False when it was not sent."""
        sent = {"x-ms-version": "2020-07-15", "content-type": "application/json", **(headers or {})}
        if pk is not None:
            sent["x-ms-documentdb-partitionkey"] = json.dumps([pk])
        try:
            if self.connection is None:
                url = urllib.parse.urlsplit(self.gateway.http)
                connection = http.client.HTTPConnection(url.hostname, url.port, timeout=ANSWER_S)
                connection.connect()
                self.connection = connection
        except OSError:
            return False
        try:
            self.connection.request(method, path, body=None if body is None else json.dumps(body), headers=sent)
            reply = self.connection.getresponse()
            data = reply.read()
        except TimeoutError:
            raise AssertionError(f"{method} {path}: no answer in {ANSWER_S} s") from None
        except (OSError, http.client.HTTPException):
            self.close()
            return None
        if reply.will_close:
            self.close()
        return Answer(reply.status, {k.lower(): v for k, v in reply.getheaders()}, data)

    def close(self):
        if self.connection is not None:
            self.connection.close()
            self.connection = None


def container_make(call, name="items"):
    answer = call("POST", COLLS, {"id": name, "partitionKey": {"paths": ["/pk"], "kind": "Hash", "version": 2}})
    assert answer and answer.status == 201, answer
    return answer.json["_rid"]


def digest_check(server):
    done = subprocess.run([program(), "account", "--database", server.conninfo(), "digest"], env=environment(),
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def wait_until(condition, deadline_s=20):
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, "did not come true in time"
        time.sleep(0.05)


@pytest.fixture
def server():
    with Postgres(parent=DISK) as running:  # a disk, whose caches a commit waits for
        yield running


@pytest.fixture
def opened(server):
    """A gateway without authorization, with an empty container."""
    with Gateway(server, args=NO_AUTH) as running:
        call = Caller(running)
        assert call("POST", "/dbs", {"id": "crash"}).status == 201
        container_make(call)
        call.close()
        yield running
