"""Starts and stops one region's gateway for tests.

    with Gateway(postgres) as gateway:
        gateway.client().get("/")

The program is `orrery` of the sanitizer build unless ORRERY names another one. Its folder keeps the
certificates and the log; stopping it fails when it did not end well or a sanitizer had something to say.
"""

import json
import os
import pathlib
import re
import selectors
import shutil
import signal
import subprocess
import tempfile
import time

from . import wire

ROOT = pathlib.Path(__file__).resolve().parents[2]
START_S = 60
STOP_S = 60
REPORT = re.compile(rb"runtime error:|ERROR: (Address|Leak|Thread)Sanitizer|WARNING: ThreadSanitizer|Assertion .* failed")


class GatewayError(AssertionError):
    pass


def program():
    return os.environ.get("ORRERY", str(ROOT / "build-asan" / "orrery"))


def conninfo_of(pg):
    """Tests may give a connection string, or an object that has one."""
    if isinstance(pg, str):
        return pg
    return pg.conninfo() if callable(pg.conninfo) else pg.conninfo


def environment():
    found = dict(os.environ)
    found.setdefault("ASAN_OPTIONS", "abort_on_error=0:detect_leaks=1:detect_stack_use_after_return=1")
    found.setdefault("UBSAN_OPTIONS", "print_stacktrace=1:halt_on_error=1")
    for name in list(found):
        if name.startswith(("PG", "ORRERY_")):
            del found[name]  # the caller's own settings are no business of the test
    return found


def migrate(conninfo, *args):
    """Run `orrery migrate`; return the finished process."""
    return subprocess.run(
        [program(), "migrate", "--database", conninfo, *args],
        env=environment(), stdin=subprocess.DEVNULL, capture_output=True, timeout=START_S)


class Gateway:
    def __init__(self, pg, region="West US", ordinal=1, args=(), directory=None):
        self.conninfo = conninfo_of(pg)
        self.region = region
        self.ordinal = ordinal
        self.args = list(args)
        self.own_directory = directory is None
        self.directory = pathlib.Path(directory or tempfile.mkdtemp(prefix="orrery-gateway-"))
        self.log_path = self.directory / f"gateway-{ordinal}.log"
        self.process = None
        self.ready = None

    # Starting

    def start(self):
        done = migrate(self.conninfo, "--ordinal", str(self.ordinal))
        if done.returncode != 0:
            raise GatewayError(f"migrate ended with {done.returncode}: {done.stderr.decode(errors='replace')}")
        command = [
            program(), "serve", "--database", self.conninfo, "--region", self.region,
            "--ordinal", str(self.ordinal), "--cert-dir", str(self.directory), *self.arguments(),
        ]
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                command, env=self.environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log)
        try:
            self.ready = self.ready_line()
        except BaseException:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()
            self.process = None
            raise
        return self

    def arguments(self):
        return ["--port", "0", "--http-port", "0", *self.args]

    def environment(self):
        return environment()

    def ready_line(self):
        deadline = time.monotonic() + START_S
        data = b""
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while b"\n" not in data:
                if not selector.select(max(0, deadline - time.monotonic())):
                    raise GatewayError(f"not ready within {START_S} s\n{self.log()}")
                chunk = os.read(self.process.stdout.fileno(), 65536)
                if not chunk:
                    raise GatewayError(f"ended with {self.process.wait()} before it was ready\n{self.log()}")
                data += chunk
        found = json.loads(data.split(b"\n")[0])
        if found.get("ready") is not True:
            raise GatewayError(f"no ready line: {data!r}")
        return found

    # What it answers on

    @property
    def http(self):
        return self.ready["http"]

    @property
    def https(self):
        return self.ready["https"]

    @property
    def pid(self):
        return self.process.pid

    @property
    def ca_file(self):
        """The authority's certificate, fetched as a user fetches it."""
        path = self.directory / "fetched-ca.pem"
        if not path.exists():
            client = wire.Client(self.http)
            answer = client.get("/_explorer/emulator.pem", sign=False)
            client.close()
            if answer.status != 200:
                raise GatewayError(f"/_explorer/emulator.pem: {answer.status} {answer.body!r}")
            # Clients in other threads may look for it at any time: it is there whole, or not at all.
            with tempfile.NamedTemporaryFile(dir=self.directory, delete=False) as beside:
                beside.write(answer.body)
            os.rename(beside.name, path)
        return str(path)

    def client(self, tls=False, key=wire.KEY):
        return wire.Client(self.https if tls else self.http, self.ca_file if tls else None, key)

    def raw(self, timeout_s=wire.TIMEOUT_S, tls=False):
        return wire.Raw(self.https if tls else self.http, timeout_s, self.ca_file if tls else None)

    # Ending

    def log(self, lines=80):
        if not self.log_path.exists():
            return "(no log)"
        text = self.log_path.read_bytes().decode(errors="replace").splitlines()
        return "\n".join(text[-lines:])

    def reports(self):
        """What sanitizers and asserts wrote, empty when nothing."""
        if not self.log_path.exists():
            return ""
        data = self.log_path.read_bytes()
        found = REPORT.search(data)
        return data[found.start():found.start() + 6000].decode(errors="replace") if found else ""

    def kill9(self):
        """Let it die as a crash would."""
        self.process.kill()
        self.process.wait(STOP_S)
        self.process.stdout.close()
        self.process = None

    def stop(self):
        """SIGTERM; fails when it ends late, with another status than 0, or with a sanitizer's report."""
        if self.process is None:
            return
        process, self.process = self.process, None
        process.send_signal(signal.SIGTERM)
        try:
            status = process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise GatewayError(f"still there {STOP_S} s after SIGTERM\n{self.log()}") from None
        finally:
            process.stdout.close()
        if self.reports():
            raise GatewayError(f"sanitizer report\n{self.reports()}")
        if status != 0:
            raise GatewayError(f"ended with {status}\n{self.log()}")

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        try:
            self.stop()
        finally:
            if self.own_directory and not os.environ.get("ORRERY_KEEP"):
                shutil.rmtree(self.directory, ignore_errors=True)
