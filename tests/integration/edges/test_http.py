"""HTTP itself at its edges: framing that smuggles, clients that are slow, cut off, or in a hurry."""

import json
import socket
import threading
import time

import pytest
from support import wire

from .conftest import ARRIVAL_S, IDLE_S, refused

writes = pytest.mark.writes

DOCS = "/dbs/edges/colls/items/docs"
CANARY = DOCS + "/canary"
KEY = ("x-ms-documentdb-partitionkey", '["p"]')


def get(path="/dbs"):
    return wire.request_bytes("GET", path, [KEY])


def delete_canary():
    return wire.request_bytes("DELETE", CANARY, [KEY])


def item(name="http"):
    return json.dumps({"id": name, "pk": "p"}).encode()


def post(headers, body, path=DOCS, **named):
    return wire.request_bytes("POST", path, [KEY, *headers], body, length=False, **named)


def chunked(*pieces):
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


# Framing


def smuggled():
    """Bodies whose end two readers could see in two places; behind them waits a request to delete."""
    body, hidden = item(), delete_canary()
    length = str(len(body))
    te = ("Transfer-Encoding", "chunked")
    return {
        "length_and_chunked": post([("Content-Length", length), te], chunked(body)),
        "chunked_and_length": post([te, ("Content-Length", length)], chunked(body)),
        "short_length_and_chunked": post([("Content-Length", "4"), te], chunked(body) + hidden),
        "chunked_ends_early": post([te, ("Content-Length", str(5 + len(hidden)))], b"0\r\n\r\n" + hidden),
        "two_lengths": post([("Content-Length", "0"), ("Content-Length", str(len(hidden)))], hidden),
        "two_lengths_swapped": post([("Content-Length", str(len(hidden))), ("Content-Length", "0")], hidden),
        "length_list": post([("Content-Length", f"{length}, {length}")], body),
        "length_plus": post([("Content-Length", "+" + length)], body),
        "length_minus": post([("Content-Length", "-1")], body),
        "length_hex": post([("Content-Length", hex(len(body)))], body),
        "length_space": post([("Content-Length", "1 2")], body),
        "length_empty": post([("Content-Length", "")], hidden),
        "length_huge": post([("Content-Length", "99999999999999999999999")], body),
        "chunked_unknown": post([("Transfer-Encoding", "xchunked")], chunked(body) + hidden),
        "chunked_not_last": post([("Transfer-Encoding", "chunked, identity")], chunked(body) + hidden),
        "chunked_twice": post([te, ("Transfer-Encoding", "identity")], chunked(body) + hidden),
        "chunk_size_not_hex": post([te], b"zz\r\n" + body + b"\r\n0\r\n\r\n"),
        "chunk_size_minus": post([te], b"-5\r\n" + body + b"\r\n0\r\n\r\n"),
        "chunk_size_overflows": post([te], b"fffffffffffffffff\r\n" + body + b"\r\n0\r\n\r\n"),
        "chunk_size_empty": post([te], b"\r\n" + body + b"\r\n0\r\n\r\n"),
        "chunk_without_end": post([te], b"%x\r\n%sXX0\r\n\r\n" % (len(body), body)),
    }


@pytest.mark.parametrize("name", smuggled())
def test_smuggling_is_refused(gateway, name):
    with gateway.raw(10) as raw:
        answer = refused(raw.send(smuggled()[name]).half_close().answer(), 400, 413)
        assert answer.header("connection") == "close"
        assert raw.ended()
    # What waited in the body was not carried out: `unchanged` looks.


def strange_heads():
    """Heads that are no HTTP/1.1, or that readers take differently."""
    lines = get("/dbs").split(b"\r\n")
    return {
        "no_host": b"\r\n".join(line for line in lines if not line.startswith(b"Host:")),
        "two_hosts": get().replace(b"Host:", b"Host: other\r\nHost:", 1),
        "no_version": b"GET /dbs\r\n\r\n",
        "version_2": get().replace(b"HTTP/1.1", b"HTTP/2.0", 1),
        "version_9": get().replace(b"HTTP/1.1", b"HTTP/9.9", 1),
        "version_words": get().replace(b"HTTP/1.1", b"HTTQ/1.1", 1),
        "folded": get().replace(b"\r\nHost:", b"\r\nx-folded: a\r\n b\r\nHost:", 1),
        "space_before_colon": get().replace(b"Host:", b"Host :", 1),
        "no_colon": get().replace(b"\r\nHost:", b"\r\nnonsense\r\nHost:", 1),
        "empty_name": get().replace(b"\r\nHost:", b"\r\n: x\r\nHost:", 1),
        "nul_in_value": get().replace(b"\r\nHost:", b"\r\nx-nul: a\0b\r\nHost:", 1),
        "cr_in_value": get().replace(b"\r\nHost:", b"\r\nx-cr: a\rb\r\nHost:", 1),
        "nul_in_target": get().replace(b"/dbs", b"/db\0s", 1),
        "space_in_target": get().replace(b"/dbs", b"/dbs /x", 1),
        "noise": bytes(range(256)) * 8,
        "http2_preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    }


# What may be taken as it stands, and a line that is no request: it is not answered.
TAKEN = {"folded": 200, "empty_name": 200, "nul_in_value": 200, "cr_in_value": 200, "nul_in_target": 404}
UNANSWERED = {"space_in_target"}


@pytest.mark.parametrize("name", strange_heads())
def test_strange_head(gateway, place, name):
    with gateway.raw(10) as raw:
        raw.send(strange_heads()[name])
        if name in UNANSWERED:
            assert raw.answer() is None
            return
        answer = raw.answer()
        if name in TAKEN:
            assert answer.status == TAKEN[name]
        else:
            refused(answer, 400, 505)
            assert answer.header("connection") != "close" or raw.ended()
    assert place.client.get("/dbs").status == 200


@pytest.mark.parametrize("kib", [56, 80, 512])
def test_oversized_header(gateway, place, kib):
    head = wire.request_bytes("GET", CANARY, [KEY, ("x-large", "x" * kib * 1024)])
    with gateway.raw() as raw:
        try:
            answer = raw.send(head).answer()
        except ConnectionError:
            assert kib > 80  # it was cut while we were still sending
        else:
            refused(answer, 431)
    assert place.client.get("/dbs").status == 200


def test_headers_as_large_as_sdks_send_them(gateway, place):
    """A session token of many ranges may take 32 KiB."""
    with gateway.raw() as raw:
        raw.send(wire.request_bytes("GET", CANARY, [KEY, ("x-large", "x" * 36 * 1024)]))
        assert raw.answer().status == 200


def test_many_headers(gateway, place):
    head = wire.request_bytes("GET", CANARY, [KEY, *((f"x-h{n}", "v") for n in range(5000))])
    with gateway.raw() as raw:
        refused(raw.send(head).answer(), 431)
    assert place.client.get("/dbs").status == 200


def test_oversized_target(gateway, place):
    with gateway.raw() as raw:
        try:
            answer = raw.send(wire.request_bytes("GET", "/dbs/" + "x" * 200000)).answer()
        except ConnectionError:
            pass  # it was cut while we were still sending
        else:
            refused(answer, 414)
    assert place.client.get("/dbs").status == 200


# Bodies in pieces


@writes
@pytest.mark.parametrize("size", [1, 7, 4096])
def test_chunked_body(gateway, place, size):
    body = json.dumps({"id": f"chunked-{size}", "pk": "p", "t": "é" * 200}).encode()
    pieces = [body[at:at + size] for at in range(0, len(body), size)]
    with gateway.raw() as raw:
        answer = raw.send(post([("Transfer-Encoding", "chunked")], chunked(*pieces))).answer()
        assert answer.status == 201, answer.body
        assert raw.send(get(f"{DOCS}/chunked-{size}")).answer().status == 200


@writes
def test_chunk_extensions_and_trailers(gateway):
    body = item("trailers")
    data = b"%x;name=value\r\n%s\r\n0\r\nx-trailer: 1\r\n\r\n" % (len(body), body)
    with gateway.raw() as raw:
        assert raw.send(post([("Transfer-Encoding", "chunked")], data)).answer().status == 201
        assert raw.send(get()).answer().status == 200


def test_chunked_body_beyond_the_limit(gateway):
    with gateway.raw() as raw:
        raw.send(post([("Transfer-Encoding", "chunked")], b""))
        piece = b"%x\r\n%s\r\n" % (65536, b"x" * 65536)
        answer = None
        try:
            for _ in range(80):
                raw.send(piece)
            raw.send(b"0\r\n\r\n")
        except ConnectionError:
            pass  # it may stop reading and close
        try:
            answer = raw.answer()
        except ConnectionError:
            pass
        if answer is not None:
            refused(answer, 413)


@writes
def test_expect_continue(gateway):
    body = item("expected")
    head = post([("Content-Length", str(len(body))), ("Expect", "100-continue")], b"")
    with gateway.raw() as raw:
        raw.send(head)
        while b"\r\n\r\n" not in raw.kept:
            assert raw.more()
        assert raw.kept.startswith(b"HTTP/1.1 100")
        raw.kept = b""
        assert raw.send(body).answer().status == 201


def test_expect_continue_is_refused_before_the_body(gateway):
    head = post([("Content-Length", str(64 * 1024 * 1024)), ("Expect", "100-continue")], b"")
    with gateway.raw() as raw:
        refused(raw.send(head).answer(), 413)


def test_expect_something_else(gateway, place):
    with gateway.raw() as raw:
        answer = raw.send(wire.request_bytes("GET", "/dbs", [("Expect", "a-miracle")])).answer()
        assert answer.status in (200, 417)


# Connections


def test_keep_alive(gateway):
    with gateway.raw() as raw:
        for _ in range(200):
            assert raw.send(get(CANARY)).answer().status == 200


def test_refusals_keep_the_connection(gateway):
    with gateway.raw() as raw:
        for _ in range(20):
            refused(raw.send(get(DOCS + "/none")).answer(), 404)
            refused(raw.send(post([("Content-Length", "1")], b"{")).answer(), 400)
            refused(raw.send(wire.request_bytes("GET", "/dbs", sign=False)).answer(), 401)
        assert raw.send(get(CANARY)).answer().status == 200


def test_pipelined_reads_are_answered_in_order(gateway):
    with gateway.raw() as raw:
        raw.send(b"".join([get("/dbs/edges"), get(DOCS + "/none"), get(CANARY), get("/dbs/edges/colls/items")] * 25))
        for _ in range(25):
            assert raw.answer().json["id"] == "edges"
            refused(raw.answer(), 404)
            assert raw.answer().json["id"] == "canary"
            assert raw.answer().json["id"] == "items"


@writes
def test_pipelined_writes_happen_in_order(gateway):
    with gateway.raw() as raw:
        requests = []
        for n in range(50):
            body = json.dumps({"id": "pipelined", "pk": "p", "n": n}).encode()
            requests.append(post([("Content-Length", str(len(body))), ("x-ms-documentdb-is-upsert", "true")], body))
            requests.append(get(DOCS + "/pipelined"))
        raw.send(b"".join(requests))
        for n in range(50):
            assert raw.answer().status == (201 if n == 0 else 200)
            assert raw.answer().json["n"] == n


@pytest.mark.parametrize("edit", [(b"HTTP/1.1", b"HTTP/1.0"), (b"Host:", b"Connection: close\r\nHost:")])
def test_connection_that_is_to_be_closed(gateway, edit):
    with gateway.raw() as raw:
        assert raw.send(get(CANARY).replace(*edit, 1)).answer().status == 200
        assert raw.ended()


def test_request_sent_byte_by_byte(gateway):
    with gateway.raw() as raw:
        for at in get(CANARY):
            raw.send(bytes([at]))
        assert raw.answer().status == 200


@writes
def test_body_that_drips(gateway):
    body = item("dripped")
    with gateway.raw() as raw:
        raw.send(post([("Content-Length", str(len(body)))], b""))
        for at in body:
            raw.send(bytes([at]))
            time.sleep(0.005)
        assert raw.answer().status == 201


def test_half_closed_after_the_request(gateway):
    with gateway.raw() as raw:
        # libmicrohttpd may take the end of what it reads for a client that has left.
        answer = raw.send(get(CANARY)).half_close().answer()
        assert answer is None or answer.status == 200


@pytest.mark.parametrize("tls", [False, True])
def test_client_that_leaves_inside_a_request(gateway, tls):
    """What stops arriving was once waited for until the connection was idle for too long."""
    body = item("cut")
    whole = post([("Content-Length", str(len(body)))], body)
    head = len(whole) - len(body)
    for cut in (head - 20, head, head + 1, len(whole) - 1):
        with gateway.raw(tls=tls) as raw:
            began = time.monotonic()
            answer = raw.send(whole[:cut]).half_close().answer()
            if answer is not None or not tls:  # a TLS stream without its end is a broken one
                refused(answer, 400)
            assert raw.ended()
            assert time.monotonic() - began < ARRIVAL_S / 2


def test_client_that_stops_inside_a_request(gateway):
    body = item("stopped")
    whole = post([("Content-Length", str(len(body)))], body)
    chunks = post([("Transfer-Encoding", "chunked")], b"5\r\n{")
    parts = [whole[:-len(body) - 20], whole[:-len(body)], whole[:-1], chunks]
    raws = [gateway.raw(tls=tls) for tls in (False, True) for _ in parts]
    began = time.monotonic()
    for raw, part in zip(raws, parts * 2):
        raw.send(part)
    for raw in raws:
        with raw:
            refused(raw.answer(), 408)
            assert raw.ended()
    assert ARRIVAL_S * 0.9 < time.monotonic() - began < ARRIVAL_S + 5


def test_body_that_drips_too_long(gateway):
    """Bytes that keep coming do not keep the request alive."""
    with gateway.raw() as raw:
        raw.send(post([("Content-Length", "1000000")], b'{"id":"'))
        began = time.monotonic()
        with pytest.raises(ConnectionError):
            while time.monotonic() - began < ARRIVAL_S + 5:
                raw.send(b"x")
                time.sleep(0.05)
        assert time.monotonic() - began > ARRIVAL_S * 0.9


def test_connection_without_a_request(gateway):
    """Nothing, not even a whole line, TLS where it is not spoken: closed for idleness, without a word."""
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 64
    raws = [gateway.raw().send(get(CANARY)), gateway.raw(), *(gateway.raw().send(data) for data in (b"GET /d", hello))]
    began = time.monotonic()
    assert raws[0].answer().status == 200
    for raw in raws:
        with raw:
            assert raw.ended()
    assert IDLE_S * 0.9 < time.monotonic() - began < IDLE_S + 5


@writes
def test_client_that_leaves_before_the_answer(gateway, place):
    # Whether it is stored is open; that everything else goes on is not.
    for n in range(50):
        body = item(f"left-{n}")
        with gateway.raw() as raw:
            raw.send(post([("Content-Length", str(len(body)))], body))
            raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    deadline = time.monotonic() + 20
    before, now = None, place.state()
    while now != before and time.monotonic() < deadline:  # let what is under way arrive
        time.sleep(0.5)
        before, now = now, place.state()
    assert place.read("canary").status == 200


def test_slow_clients_hold_up_nobody(gateway, place):
    slow = [gateway.raw() for _ in range(100)]
    try:
        for n, raw in enumerate(slow):
            raw.send(get(CANARY)[:10 + n] if n % 2 else post([("Content-Length", "1000")], b'{"id":'))
        began = time.monotonic()
        for _ in range(50):
            assert place.read("canary").status == 200
        assert time.monotonic() - began < 10
    finally:
        for raw in slow:
            raw.socket.close()


@writes
def test_client_that_never_reads(gateway, place):
    assert place.create({"id": "large", "pk": "large", "t": "x" * 1024 * 1024}, pk=["large"]).status == 201
    request = wire.request_bytes("GET", DOCS + "/large", [("x-ms-documentdb-partitionkey", '["large"]')])
    deaf = [gateway.raw() for _ in range(10)]
    try:
        for raw in deaf:
            raw.send(request * 20)
        for _ in range(50):
            assert place.read("canary").status == 200
        assert deaf[0].answer().status == 200
    finally:
        for raw in deaf:
            raw.socket.close()


def test_many_connections(gateway):
    raws = [gateway.raw() for _ in range(500)]
    try:
        for raw in raws:
            raw.send(get(CANARY))
        for raw in raws:
            assert raw.answer().status == 200
    finally:
        for raw in raws:
            raw.socket.close()


@writes
def test_writers_of_one_item_lose_no_update(gateway, place):
    assert place.create({"id": "counter", "pk": "p", "n": 0}).status == 201
    faults = []

    def count():
        client = gateway.client()
        try:
            for _ in range(25):
                answer = client.patch(DOCS + "/counter", [{"op": "incr", "path": "/n", "value": 1}], pk=["p"])
                while answer.status == 449:
                    answer = client.patch(DOCS + "/counter", [{"op": "incr", "path": "/n", "value": 1}], pk=["p"])
                assert answer.status == 200, answer
        except AssertionError as fault:
            faults.append(fault)
        finally:
            client.close()

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not faults, faults[0]
    assert place.read("counter").json["n"] == 200


def test_plain_http_on_the_tls_port(gateway):
    with wire.Raw(gateway.https, 10) as raw:
        assert raw.send(get()).answer() is None  # cut, as what is no TLS
    assert gateway.client(tls=True).get("/dbs").status == 200
