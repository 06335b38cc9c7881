"""`orrery up` for tests: started on free ports, waited for, stopped; and what it left behind."""

import contextlib
import json
import os
import pathlib
import selectors
import signal
import socket
import subprocess
import tempfile
import time

import psycopg

from .gateway import environment, program

START_S = 90


def free_ports():
    """A port P with P…P+2 and P+100…P+102 free."""
    for base in range(20100 + os.getpid() % 500 * 20, 60000, 211):
        with contextlib.ExitStack() as stack:
            try:
                for port in [base + i + j for i in (0, 100) for j in range(3)]:
                    stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
                return base
            except OSError:
                continue
    raise RuntimeError("no ports")


def eventually(condition, what, timeout_s=30):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"{what} does not come true"
        time.sleep(0.05)


def is_alive(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1][0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def processes_of(data):
    """Everything that works on this data directory, or was started from it."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            text = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes() + os.readlink(entry / "cwd").encode()
            if str(data).encode() in text and is_alive(int(entry.name)):
                found.append(int(entry.name))
    return found


class Up:
    def __init__(self, data, *args, regions=1, port=None, env=None, **options):
        self.data = pathlib.Path(data)
        self.port = port or free_ports()
        self.log = tempfile.NamedTemporaryFile("w+", prefix="orrery-up-", suffix=".log")
        self.process = subprocess.Popen(
            [program(), "up", "--data", str(data), "--port", str(self.port), "--regions", str(regions),
             "--shared-buffers", "16MiB", *args],
            env={**environment(), **(env or {})}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.log,
            start_new_session=True, text=True, **options)
        self.ready = None

    def wait_ready(self):
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            assert selector.select(START_S), f"not ready\n{self.said()}"
        line = self.process.stdout.readline()
        assert line, f"ended with {self.process.wait(10)}\n{self.said()}"
        self.ready = json.loads(line)
        return self

    def __enter__(self):
        try:
            return self.wait_ready()
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process.stdout.close()
        self.log.close()

    def said(self):
        self.log.flush()
        return pathlib.Path(self.log.name).read_text()

    def failure(self):
        """What it said when it could not start; checks that it cleaned up."""
        try:
            assert self.process.wait(START_S) == 1, self.said()
            assert self.process.stdout.read() == ""
            assert not processes_of(self.data)
            return self.said()
        finally:
            self.__exit__()

    def stop(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        assert self.process.wait(60) == 0, self.said()
        assert not processes_of(self.data)

    def region(self, index=0):
        return self.ready["regions"][index]

    def connect(self, index=0):
        return psycopg.connect(self.region(index)["database"], autocommit=True)

    def children(self):
        text = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in text.split() if is_alive(pid)]

    def child(self, kind):
        """The gateway's or the postmaster's process id, 0 when there is none."""
        for pid in self.children():
            with contextlib.suppress(OSError):
                words = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
                if (b"serve" in words) == (kind == "gateway"):
                    return pid
        return 0
