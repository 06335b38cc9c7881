"""An etcd for tests: one server or several, private, in temporary folders.

    with Etcd(members=3) as etcd:
        etcd.urls                          # of all members, for --etcd
        etcd.get("/orrery/orrery/hub")     # the value, None when it is not there
        etcd.kill9(0); etcd.start(0)
"""

import base64
import http.client
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import time

from .postgres import free_port

START_S = 60


def encode(text):
    return base64.b64encode(text.encode()).decode()


class EtcdError(AssertionError):
    pass


class Etcd:
    def __init__(self, members=1, election_ms=1000):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="orrery-etcd-"))
        self.election_ms = election_ms
        self.ports = [(free_port(), free_port()) for _ in range(members)]  # of clients, of members
        self.processes = [None] * members

    # Begin and end

    def __enter__(self):
        try:
            for number in range(len(self.ports)):
                self.launch(number)
            self.wait_ready()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for number in range(len(self.ports)):
            self.kill9(number)
        if not os.environ.get("ORRERY_KEEP"):
            shutil.rmtree(self.directory, ignore_errors=True)

    def launch(self, number):
        client, member = (f"http://127.0.0.1:{port}" for port in self.ports[number])
        cluster = ",".join(f"m{n}=http://127.0.0.1:{ports[1]}" for n, ports in enumerate(self.ports))
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ETCD")}
        with open(self.directory / f"m{number}.log", "ab") as log:
            self.processes[number] = subprocess.Popen(
                ["etcd", "--name", f"m{number}", "--data-dir", str(self.directory / f"m{number}"), "--logger", "zap",
                 "--listen-client-urls", client, "--advertise-client-urls", client, "--listen-peer-urls", member,
                 "--initial-advertise-peer-urls", member, "--initial-cluster", cluster, "--unsafe-no-fsync",
                 "--heartbeat-interval", str(self.election_ms // 10), "--election-timeout", str(self.election_ms)],
                env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def start(self, number=0):
        self.launch(number)
        self.wait_ready()

    def kill9(self, number=0):
        process, self.processes[number] = self.processes[number], None
        if process is not None:
            process.kill()
            process.wait()

    def wait_ready(self):
        end = time.monotonic() + START_S
        while True:
            try:
                return self.get("/ready")
            except OSError as error:
                if time.monotonic() > end:
                    log = (self.directory / "m0.log").read_text(errors="replace")[-2000:]
                    raise EtcdError(f"etcd is not ready after {START_S} s: {error}\n{log}") from None
            time.sleep(0.05)

    # What it is asked

    @property
    def running(self):
        return [number for number, process in enumerate(self.processes) if process is not None]

    @property
    def urls(self):
        return ",".join(f"http://127.0.0.1:{client}" for client, _ in self.ports)

    def addresses(self):
        return [("127.0.0.1", client) for client, _ in self.ports]

    def ask(self, path, body, number=None):
        number = self.running[0] if number is None else number
        connection = http.client.HTTPConnection("127.0.0.1", self.ports[number][0], timeout=10)
        try:
            connection.request("POST", path, json.dumps(body))
            answer = connection.getresponse()
            text = answer.read()
            if answer.status != 200:
                raise OSError(f"etcd: {answer.status} {text!r}")
            return json.loads(text)
        except http.client.HTTPException as error:
            raise OSError(f"etcd: {error!r}") from None
        finally:
            connection.close()

    def get(self, key):
        found = self.ask("/v3/kv/range", {"key": encode(key)}).get("kvs")
        return base64.b64decode(found[0]["value"]).decode() if found else None

    def keys(self):
        """All of them."""
        found = self.ask("/v3/kv/range", {"key": encode("\0"), "range_end": encode("\0")}).get("kvs", [])
        return sorted(base64.b64decode(pair["key"]).decode() for pair in found)

    def leader(self):
        """The number of the member that leads, None while there is none."""
        for number in self.running:
            found = self.ask("/v3/maintenance/status", {}, number)
            if found.get("leader") not in (None, "0") and found["leader"] == found["header"]["member_id"]:
                return number
        return None
