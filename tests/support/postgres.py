"""A private PostgreSQL for tests: initdb in a temporary directory, Unix socket and a free loopback port.

    with Postgres() as server:
        server.psql("select 1")
        psycopg.connect(server.conninfo())

PostgreSQL refuses to run as root; then it runs as `postgres` if there is such a user, else as `nobody`.
"""

from __future__ import annotations

import fcntl
import os
import pathlib
import pwd
import random
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time

MIGRATIONS = pathlib.Path(__file__).resolve().parents[2] / "schema"
STOP_S = 30
LINE_MAX = 1000  # of its log that is shown


def program(name: str) -> str:
    """Path of a PostgreSQL program: 15's own directory first, then PATH."""
    for place in (f"/usr/lib/postgresql/15/bin/{name}", shutil.which(name)):
        if place and os.path.exists(place):
            return place
    raise FileNotFoundError(f"PostgreSQL program {name!r} is not installed")


# Below the ports that the kernel gives to connections: one that stays free for a server that is started later, and again.
PORTS = range(10240, 20000)
PORTS_TAKEN: list[int] = []  # locks, held until this process ends, so that tests that run beside it take others


def free_port() -> int:
    folder = pathlib.Path(tempfile.gettempdir()) / f"orrery-ports-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    for port in random.sample(PORTS, len(PORTS)):
        lock = os.open(folder / str(port), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", port))
        except OSError:
            os.close(lock)
            continue
        PORTS_TAKEN.append(lock)
        return port
    raise RuntimeError(f"no free port in {PORTS}")


class Postgres:
    """One server; `options` are settings given to the server, such as {"shared_buffers": "256MB"}."""

    def __init__(self, options: dict[str, str] | None = None, database: str = "orrery", parent: str | None = None):
        self.options = {"shared_buffers": "128MB", "max_connections": "60", "fsync": "on", "log_lock_waits": "on",
                        "log_min_duration_statement": "1s", **(options or {})}
        self.database = database
        self.port = free_port()
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="orrery-pg-", dir=parent))  # on the disk that the test gives
        self.data = self.directory / "data"
        self.process: subprocess.Popen | None = None
        self.user = self._unprivileged_user()
        self.role = "orrery"  # who conninfo() connects as; the superuser unless a test makes another

    def __enter__(self) -> "Postgres":
        try:
            self.initialise()
            self.start()
            with self.connect("postgres", autocommit=True) as connection:
                connection.execute(f'create database "{self.database}"')
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    @staticmethod
    def _unprivileged_user() -> pwd.struct_passwd | None:
        if os.geteuid() != 0:
            return None
        for name in ("postgres", "nobody"):
            try:
                return pwd.getpwnam(name)
            except KeyError:
                continue
        raise RuntimeError("no unprivileged user to run PostgreSQL as")

    def _identity(self) -> dict:
        if self.user is None:
            return {}
        return {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []}

    def initialise(self) -> None:
        if self.user is not None:
            os.chown(self.directory, self.user.pw_uid, self.user.pw_gid)
        subprocess.run(
            [program("initdb"), "-D", self.data, "-U", "orrery", "-A", "trust", "-E", "UTF8", "--locale=C",
             "--data-checksums", "--no-sync"],
            check=True, stdout=subprocess.DEVNULL, cwd=self.directory, **self._identity())

    def start(self) -> None:
        assert self.process is None, "already running"
        arguments = [program("postgres"), "-D", str(self.data), "-k", str(self.directory),
                     "-p", str(self.port), "-c", "listen_addresses=127.0.0.1"]
        for name, value in self.options.items():
            arguments += ["-c", f"{name}={value}"]
        log = open(self.log_path, "ab")
        with log:
            self.process = subprocess.Popen(arguments, stdout=log, stderr=log, cwd=self.directory,
                                            start_new_session=True, **self._identity())
        self.wait_ready()

    def wait_ready(self, timeout_s: float = 60) -> None:
        deadline = time.monotonic() + timeout_s
        while True:
            ready = subprocess.run([program("pg_isready"), "-q", "-h", self.directory, "-p", str(self.port)], check=False)
            if ready.returncode == 0:
                return
            if self.process is None or self.process.poll() is not None:
                raise RuntimeError(f"PostgreSQL ended at its start:\n{self.log_path.read_text(errors='replace')[-2000:]}")
            if time.monotonic() > deadline:
                raise TimeoutError("PostgreSQL is not ready")
            time.sleep(0.02)

    @property
    def log_path(self) -> pathlib.Path:
        return self.directory / "server.log"

    def log(self, lines: int = 30) -> str:
        """Its last words: statements that failed, were slow, or waited long for a lock."""
        told = self.log_path.read_text(errors="replace").splitlines() if self.log_path.exists() else []
        return "\n".join(line[:LINE_MAX] for line in told[-lines:])

    def stop(self) -> None:
        """Fast shutdown: connections are ended, data are flushed."""
        if self.process is not None:
            if self.process.poll() is None:
                self.process.send_signal(signal.SIGINT)
                try:
                    self.process.wait(STOP_S)
                except subprocess.TimeoutExpired:
                    self.kill9()
            self.process = None

    def kill9(self) -> None:
        """Crash: postmaster and every backend die at once, as in a power cut without the loss of the page cache."""
        if self.process is None:
            return
        self.process.send_signal(signal.SIGSTOP)  # it makes no more backends, and sees none of them die
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        backends = []
        for pid in self._backends():
            try:
                backends.append(os.pidfd_open(pid))
            except ProcessLookupError:
                pass
        for backend in backends:
            try:
                signal.pidfd_send_signal(backend, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.kill()
        self.process.wait()
        self.process = None
        for backend in backends:  # a server does not start while one of them holds its shared memory
            gone = select.select([backend], [], [], STOP_S)[0]
            os.close(backend)
            assert gone, f"a backend did not die within {STOP_S} s"
        while self._holds_port():
            time.sleep(0.01)

    def _backends(self) -> list[int]:
        assert self.process is not None
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in children.read_text().split()] if children.exists() else []

    def _holds_port(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def restart(self) -> None:
        self.stop()
        self.start()

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def conninfo(self, database: str | None = None, tcp: bool = False) -> str:
        host = "127.0.0.1" if tcp else self.directory
        role = "orrery" if database == "postgres" else self.role
        return f"host={host} port={self.port} user={role} dbname={database or self.database}"

    def connect(self, database: str | None = None, **options):
        import psycopg  # only tests that speak SQL themselves need it

        return psycopg.connect(self.conninfo(database), **options)

    def migrate(self, database: str | None = None) -> None:
        """Apply schema/NNNN_*.sql as `orrery migrate` does, for tests that run without the program."""
        with self.connect(database) as connection:
            connection.execute("create schema if not exists orrery")
            connection.execute("create table if not exists orrery.schema_migrations"
                               " (version int primary key, name text, applied_at timestamptz default now())")
        for path in sorted(MIGRATIONS.glob("[0-9][0-9][0-9][0-9]_*.sql")):
            with self.connect(database) as connection:
                connection.execute(path.read_text())
                connection.execute("insert into orrery.schema_migrations (version, name) values (%s, %s)",
                                   (int(path.name[:4]), path.name))
