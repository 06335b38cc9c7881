"""A private PostgreSQL for tests: a directory of its own, Unix socket and a free loopback port.

    with Postgres() as server:
        server.psql("select 1")
        psycopg.connect(server.conninfo())

PostgreSQL refuses to run as root; then it runs as `postgres` if there is such a user, else as `nobody`.

What initdb makes is made once and copied for each server: it costs more processor time than most tests. The servers
have the same system identifier therefore, as those have that were made from one base backup.
"""

from __future__ import annotations

import fcntl
import hashlib
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
TEMPLATES = pathlib.Path(__file__).resolve().parents[2] / ".cache" / "initdb"
INITDB = ["-U", "orrery", "-A", "trust", "-E", "UTF8", "--locale=C", "--data-checksums", "--no-sync"]
DISK = tempfile.gettempdir()
MEMORY = "/dev/shm"
MEMORY_NEEDED = 8 << 30
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


def roomy_memory() -> str | None:
    """The folder of a file system in memory with room for all that run at a time, None where there is none.

    A file system with a journal takes more processor time for making, forcing and removing a server's thousand
    files than its tests take. Nothing is lost to them: fsync stays on, and a killed PostgreSQL finds there what it
    wrote, as in the page cache of a disk; a power cut is what no test here makes. The parts that crash servers, and
    figures, name a disk all the same: there, forcing takes its time.
    """
    try:
        room = os.statvfs(MEMORY)
        with open("/proc/mounts") as mounts:
            is_memory = any(line.split()[1:3] == [MEMORY, "tmpfs"] for line in mounts)
        with open("/proc/meminfo") as lines:
            available = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except OSError:
        return None
    return MEMORY if is_memory and min(room.f_bavail * room.f_frsize, available) >= MEMORY_NEEDED else None


def copy(folder: pathlib.Path, to: pathlib.Path) -> None:
    """With owners and modes; blocks are shared where the file system can."""
    subprocess.run(["cp", "-a", "--reflink=auto", folder, to], check=True)


class Postgres:
    """One server; `options` are settings given to the server, such as {"shared_buffers": "256MB"}. `parent` is the folder
    that its own one comes into, and so says which disk it is on."""

    def __init__(self, options: dict[str, str] | None = None, database: str = "orrery", parent: str | None = None):
        self.options = {"shared_buffers": "128MB", "max_connections": "60", "fsync": "on", "log_lock_waits": "on",
                        "log_min_duration_statement": "1s", **(options or {})}
        self.database = database
        self.port = free_port()
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="orrery-pg-", dir=parent or roomy_memory()))
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
        template = TEMPLATES / self._template_name()
        TEMPLATES.mkdir(parents=True, exist_ok=True)
        with open(TEMPLATES / "lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not template.exists():
                self._make_template(template)
            copy(template, self.data)

    def _template_name(self) -> str:
        """One for each initdb and user; and for each boot, as nothing of it was forced to the disk."""
        version = subprocess.run([program("initdb"), "--version"], check=True, capture_output=True).stdout
        boot = pathlib.Path("/proc/sys/kernel/random/boot_id").read_bytes()
        words = [version, boot, str(self.user and self.user.pw_uid).encode(), " ".join(INITDB).encode()]
        return hashlib.sha256(b"\n".join(words)).hexdigest()[:16]

    def _make_template(self, template: pathlib.Path) -> None:
        for old in TEMPLATES.iterdir():
            if old.is_dir():
                shutil.rmtree(old)
        with tempfile.TemporaryDirectory(prefix="orrery-initdb-") as folder:
            if self.user is not None:
                os.chown(folder, self.user.pw_uid, self.user.pw_gid)
            made, beside = pathlib.Path(folder) / "data", template.with_suffix(".new")
            subprocess.run([program("initdb"), "-D", made, *INITDB], check=True, stdout=subprocess.DEVNULL, cwd=folder,
                           **self._identity())
            copy(made, beside)
        beside.rename(template)

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
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGQUIT)  # at once: nothing has to reach the disk of what goes with the folder
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
