"""An etcd for tests: one server or several, private, in temporary folders.

    with Etcd(members=3) as etcd:
        etcd.urls                          # of all members, for --etcd
        etcd.get("/orrery/orrery/hub")     # the value, None when it is not there
        etcd.kill9(0); etcd.start(0)

    with Etcd(is_secure=True) as etcd:     # https alone, and for those alone who show a certificate; users with passwords
        etcd.settings                      # what a gateway needs, with --etcd
"""

import base64
import http.client
import json
import os
import pathlib
import shutil
import ssl
import subprocess
import tempfile
import time

from .postgres import free_port

START_S = 60
USER, PASSWORD = "orrery", 'say "friend" \\ n\u00e4chste'


class Authority:
    """Certificates for tests: NAME.pem and NAME.key in a folder, and ca.pem for who is to trust them."""

    def __init__(self, folder, name="ca"):
        self.folder, self.name = folder, name
        self.openssl("req", "-x509", "-subj", f"/CN={name}", *self.key(name), "-out", self.file(name), "-days", "30")

    def openssl(self, *words):
        subprocess.run(["openssl", *map(str, words)], check=True, stdin=subprocess.DEVNULL, capture_output=True, timeout=60)

    def key(self, name):
        return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", self.folder / f"{name}.key"]

    def file(self, name, ending="pem"):
        return self.folder / f"{name}.{ending}"

    def issue(self, name, usage, names=None):
        """names: of the one who shows it, such as IP:127.0.0.1. Without a common name, which etcd refuses at its gateway for JSON."""
        extensions = self.file(name, "ext")
        extensions.write_text(f"extendedKeyUsage={usage}\n" + (f"subjectAltName={names}\n" if names else ""))
        self.openssl("req", "-new", "-subj", f"/O={name}", *self.key(name), "-out", self.file(name, "csr"))
        self.openssl("x509", "-req", "-in", self.file(name, "csr"), "-CA", self.file(self.name), "-CAkey", self.file(self.name, "key"),
                     "-CAcreateserial", "-extfile", extensions, "-days", "30", "-out", self.file(name))
        return self.file(name), self.file(name, "key")


def encode(text):
    return base64.b64encode(text.encode()).decode()


class EtcdError(AssertionError):
    pass


class Etcd:
    def __init__(self, members=1, election_ms=1000, is_secure=False):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="orrery-etcd-"))
        self.scheme, self.context = "https" if is_secure else "http", None
        self.has_users, self.token = False, None
        self.extra_args = self.secure() if is_secure else []
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
        client, member = (f"{self.scheme}://127.0.0.1:{port}" for port in self.ports[number])
        cluster = ",".join(f"m{n}={self.scheme}://127.0.0.1:{ports[1]}" for n, ports in enumerate(self.ports))
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ETCD")}
        with open(self.directory / f"m{number}.log", "ab") as log:
            self.processes[number] = subprocess.Popen(
                ["etcd", "--name", f"m{number}", "--data-dir", str(self.directory / f"m{number}"), "--logger", "zap",
                 "--listen-client-urls", client, "--advertise-client-urls", client, "--listen-peer-urls", member,
                 "--initial-advertise-peer-urls", member, "--initial-cluster", cluster, "--unsafe-no-fsync",
                 "--heartbeat-interval", str(self.election_ms // 10), "--election-timeout", str(self.election_ms),
                 *self.extra_args],
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
                self.log_in()
                return self.get("/ready")
            except OSError as error:
                if time.monotonic() > end:
                    log = (self.directory / "m0.log").read_text(errors="replace")[-2000:]
                    raise EtcdError(f"etcd is not ready after {START_S} s: {error}\n{log}") from None
            time.sleep(0.05)

    # Who may ask it

    def secure(self):
        """Flags of a member that speaks TLS alone, verifies who asks, and is one of a cluster that does. Its gateway for JSON
        asks the member itself, with the same certificate, which is a client's too."""
        self.authority = Authority(self.directory)
        self.certificate, self.key = self.authority.issue("client", "clientAuth")
        certificate, key = self.authority.issue("server", "serverAuth,clientAuth", "IP:127.0.0.1")
        self.context = ssl.create_default_context(cafile=self.authority.file("ca"))
        self.context.load_cert_chain(self.certificate, self.key)
        trusted = str(self.authority.file("ca"))
        return ["--cert-file", str(certificate), "--key-file", str(key), "--client-cert-auth", "--trusted-ca-file", trusted,
                "--peer-cert-file", str(certificate), "--peer-key-file", str(key), "--peer-client-cert-auth",
                "--peer-trusted-ca-file", trusted, "--bcrypt-cost", "4"]

    def make_users(self, account="orrery"):
        """Everything for root; and a user who may use the keys of one account and no others."""
        for name in ("root", USER):
            self.ask("/v3/auth/user/add", {"name": name, "password": PASSWORD})
            self.ask("/v3/auth/role/add", {"name": name})
            self.ask("/v3/auth/user/grant", {"user": name, "role": name})
        self.ask("/v3/auth/role/grant", {"name": USER, "perm": {
            "permType": "READWRITE", "key": encode(f"/orrery/{account}/"), "range_end": encode(f"/orrery/{account}0")}})
        self.ask("/v3/auth/enable", {})
        self.has_users = True
        self.log_in()

    def log_in(self):
        """A token ends with the server that gave it."""
        self.token = None
        if self.has_users:
            self.token = self.ask("/v3/auth/authenticate", {"name": "root", "password": PASSWORD})["token"]

    @property
    def settings(self):
        """Of a gateway that may ask a secure one."""
        return ["--etcd-ca-file", str(self.authority.file("ca")), "--etcd-cert-file", str(self.certificate),
                "--etcd-cert-key-file", str(self.key), "--etcd-user", USER, "--etcd-password", PASSWORD]

    # What it is asked

    @property
    def running(self):
        return [number for number, process in enumerate(self.processes) if process is not None]

    @property
    def urls(self):
        return ",".join(f"{self.scheme}://127.0.0.1:{client}" for client, _ in self.ports)

    def addresses(self):
        return [("127.0.0.1", client) for client, _ in self.ports]

    def connection(self, port):
        if self.context is not None:
            return http.client.HTTPSConnection("127.0.0.1", port, timeout=10, context=self.context)
        return http.client.HTTPConnection("127.0.0.1", port, timeout=10)

    def ask(self, path, body, number=None):
        """Its answer; OSError when it has none, or refuses."""
        number = self.running[0] if number is None else number
        connection = self.connection(self.ports[number][0])
        try:
            connection.request("POST", path, json.dumps(body), {"authorization": self.token} if self.token else {})
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
