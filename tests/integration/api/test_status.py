"""GET /status tells of the other regions that the gateway was told of."""

import http.client
import json
import socket
import subprocess
import time

import pytest

from support.gateway import Gateway, environment, program


def status_of(gateway):
    url = gateway.ready["http"].removeprefix("http://").rstrip("/")
    connection = http.client.HTTPConnection(url, timeout=30)
    connection.request("GET", "/status")
    answer = connection.getresponse()
    body = json.loads(answer.read())
    connection.close()
    assert answer.status == 200
    return body


@pytest.fixture(scope="module")
def silent():
    """Ports: one where nobody listens, one that accepts and never answers."""
    with socket.socket() as closed, socket.socket() as hanging:
        closed.bind(("127.0.0.1", 0))
        hanging.bind(("127.0.0.1", 0))
        hanging.listen()
        yield closed.getsockname()[1], hanging.getsockname()[1]


def test_without_peers_nothing_is_said_of_them(gateway):
    assert "peers" not in status_of(gateway)


def test_each_peer_is_ready_or_the_reason_is_told(postgres, gateway, silent):
    closed, hanging = silent
    peers = (f"East US={gateway.ready['http']}, North Europe=http://127.0.0.1:{closed},"
             f"Brazil South=http://127.0.0.1:{hanging}/")
    with Gateway(postgres, args=["--peers", peers]) as asking:
        for _ in range(3):
            begun = time.monotonic()
            east, north, south = status_of(asking)["peers"]
            assert time.monotonic() - begun < 10
            assert east["region"] == "East US" and east["endpoint"] == gateway.ready["http"]
            assert east["ready"] is True and east["status"] == 200 and "error" not in east
            assert 0 < east["milliseconds"] < 5000
            assert north["region"] == "North Europe" and north["ready"] is False and north["error"]
            assert "status" not in north
            assert south["ready"] is False and south["error"] and south["milliseconds"] >= 900


@pytest.mark.parametrize("peers", [
    "", "East US", "=http://localhost:1", "East US=", "East US=ftp://localhost", "East US=http://a/path",
    "East/US=http://localhost", "East US=http://localhost,", ",".join(["A=http://a"] * 17), "A=http://a:0",
])
def test_a_malformed_list_is_refused(peers):
    done = subprocess.run([program(), "serve", "--database", "host=/nowhere", f"--peers={peers}"],
                          env=environment(), capture_output=True, timeout=60)
    assert done.returncode == 2
    assert b"peers" in done.stderr
