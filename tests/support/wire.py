"""Requests as bytes: signing, a small client, raw sockets.

Nothing here hides what goes over the wire; the SDK suites are for convenience.
"""

import base64
import dataclasses
import email.utils
import hashlib
import hmac
import http.client
import json
import socket
import ssl
import time
import urllib.parse

# The well-known key of emulators.
KEY = "C2y6yDjf5/R+ob0N8A7Cgv30VRDJIWEHLM+4QDU5DE2nQ9nDuVTqobD4b8mGGyPMbIZnqyMsEcaGQy67XIw/Jw=="
VERSION = "2020-07-15"
TIMEOUT_S = 30


def date_text(shift_s=0):
    """An RFC 1123 date, that many seconds from now."""
    return email.utils.formatdate(time.time() + shift_s, usegmt=True)


def link_of(method, path):
    """Type word and resource link that a request on this path signs."""
    segments = [urllib.parse.unquote(s) for s in path.split("?")[0].strip("/").split("/") if s]
    if not segments or segments[0] == "_orrery":
        return "", ""
    if segments[-2:] == ["operations", "partitionkeydelete"]:
        return "colls", "/".join(segments[:-2])
    if len(segments) % 2 == 1:  # a feed: the parent is signed
        return segments[-1].lower(), "/".join(segments[:-1])
    if segments[0] == "offers":
        return "offers", segments[-1].lower()
    return segments[-2].lower(), "/".join(segments)


def signature(method, word, link, date, key=KEY):
    text = f"{method.lower()}\n{word}\n{link}\n{date.lower()}\n\n"
    digest = hmac.new(base64.b64decode(key), text.encode(), hashlib.sha256).digest()
    return urllib.parse.quote(f"type=master&ver=1.0&sig={base64.b64encode(digest).decode()}", safe="")


def signed(method, path, key=KEY, date=None):
    """The headers that let a request in."""
    date = date or date_text()
    word, link = link_of(method, path)
    return {
        "x-ms-date": date,
        "x-ms-version": VERSION,
        "authorization": signature(method, word, link, date, key),
    }


@dataclasses.dataclass
class Answer:
    status: int
    headers: dict  # names in lower case
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)

    def header(self, name):
        return self.headers.get(name.lower())

    @property
    def substatus(self):
        return int(self.header("x-ms-substatus") or 0)


class Client:
    """One kept connection to a gateway."""

    def __init__(self, base_url, ca_file=None, key=KEY):
        self.url = urllib.parse.urlsplit(base_url)
        self.ca_file = ca_file
        self.key = key
        self.connection = None

    def connect(self):
        if self.url.scheme == "https":
            context = ssl.create_default_context(cafile=self.ca_file)
            return http.client.HTTPSConnection(
                self.url.hostname, self.url.port, timeout=TIMEOUT_S, context=context)
        return http.client.HTTPConnection(self.url.hostname, self.url.port, timeout=TIMEOUT_S)

    def close(self):
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def request(self, method, path, body=None, headers=None, pk=None, sign=True):
        """Send one request, return its Answer. A body that is no bytes is sent as JSON; pk is the partition key's list."""
        all_headers = signed(method, path, self.key) if sign else {}
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        if body is not None:
            all_headers["content-type"] = "application/json"
        if pk is not None:
            all_headers["x-ms-documentdb-partitionkey"] = pk if isinstance(pk, str) else json.dumps(pk)
        all_headers.update(headers or {})
        all_headers = {name: value for name, value in all_headers.items() if value is not None}
        for attempt in (1, 2):
            fresh = self.connection is None
            if fresh:
                self.connection = self.connect()
            try:
                self.connection.request(method, path, body=body, headers=all_headers)
                reply = self.connection.getresponse()
                break
            except (http.client.RemoteDisconnected, ConnectionError, BrokenPipeError):
                self.close()
                # An idle connection may have been closed; on a fresh one it is news.
                if fresh or attempt == 2:
                    raise
        data = reply.read()
        answer = Answer(reply.status, {k.lower(): v for k, v in reply.getheaders()}, data)
        if reply.will_close:
            self.close()
        return answer

    def __getattr__(self, name):
        if name in ("get", "post", "put", "patch", "delete"):
            return lambda path, *rest, **named: self.request(name.upper(), path, *rest, **named)
        raise AttributeError(name)


class Raw:
    """A bare connection for requests that no client would send."""

    def __init__(self, base_url, timeout_s=TIMEOUT_S, ca_file=None):
        """ca_file: speak TLS, with a server that this authority vouches for."""
        url = urllib.parse.urlsplit(base_url)
        self.socket = socket.create_connection((url.hostname, url.port), timeout=timeout_s)
        if ca_file is not None:
            context = ssl.create_default_context(cafile=ca_file)
            self.socket = context.wrap_socket(self.socket, server_hostname=url.hostname)
        self.kept = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)
        return self

    def half_close(self):
        socket.socket.shutdown(self.socket, socket.SHUT_WR)  # without a last word of TLS
        return self

    def more(self):
        try:
            data = self.socket.recv(65536)
        except ConnectionResetError:
            data = b""
        self.kept += data
        return bool(data)

    def answer(self, method="GET"):
        """The next response, None when the connection ends before one begins."""
        while True:
            while b"\r\n\r\n" not in self.kept:
                if not self.more():
                    assert not self.kept, f"cut off inside a response: {self.kept!r}"
                    return None
            head, self.kept = self.kept.split(b"\r\n\r\n", 1)
            lines = head.decode("latin-1").split("\r\n")
            status = int(lines[0].split(" ")[1])
            if status >= 200 or status == 101:
                break
            return Answer(status, {}, b"")
        headers = {}
        for line in lines[1:]:
            name, value = line.split(":", 1)
            assert name.lower() not in headers, f"header twice: {name}"
            headers[name.lower()] = value.strip()
        if method == "HEAD" or status in (204, 304):
            return Answer(status, headers, b"")
        assert "content-length" in headers, lines
        length = int(headers["content-length"])
        while len(self.kept) < length:
            assert self.more(), f"cut off inside a body: {self.kept!r}"
        body, self.kept = self.kept[:length], self.kept[length:]
        return Answer(status, headers, body)

    def ended(self):
        """Whether the peer closes without another byte."""
        while self.more():
            pass
        return not self.kept


def request_bytes(method, path, headers=(), body=b"", sign=True, host="127.0.0.1", length=True):
    """A whole request as bytes. Headers are pairs, so that one can come twice."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}"]
    if sign:
        lines += [f"{k}: {v}" for k, v in signed(method, path).items()]
    lines += [f"{k}: {v}" for k, v in headers]
    if length and (body or method in ("POST", "PUT", "PATCH")):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body
