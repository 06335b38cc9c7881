"""Runs the programs that use the official SDKs and turns what they print into test results.

A program gets ORRERY_ENDPOINT, ORRERY_KEY, ORRERY_CA and ORRERY_DATABASE (a name of its own) and prints
one JSON line per scenario: {"scenario": NAME, "ok": true}, or "ok": false with "detail", or
"skipped": REASON where the SDK cannot do such a thing. Every program owes every scenario a line.
"""

import dataclasses
import fcntl
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

import pytest

from . import wire

ROOT = pathlib.Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache"
RUN_S = 300
PREPARE_S = 1200

SCENARIOS = [
    "client_init",
    "database_create_if_not_exists",
    "container_hash_v1",
    "container_hash_v2",
    "container_hierarchical_2",
    "container_hierarchical_3",
    "container_nested_path",
    "key_values",
    "item_crud",
    "if_match",
    "if_none_match",
    "upsert",
    "patch_operations",
    "patch_condition",
    "batch_success",
    "batch_failure",
    "bulk_1000",
    "feed",
    "throughput",
    "ttl",
    "unique_keys",
    "error_400",
    "error_404",
    "error_409",
    "error_412",
    "error_413",
    "special_ids",
    "delete_by_key",
    "session",
    "change_feed",
]

# Of the SDKs that do not ask every case of tests/query: those that always merge ranges themselves, and Go.
QUERIES = [
    "query_filters",
    "query_one_key",
    "query_order",
    "query_order_of_several",
    "query_aggregates",
    "query_groups",
    "query_distinct",
    "query_windows",
    "query_pages",
    "query_ordered_pages",
    "query_key_prefix",
    "query_feed_ranges",
    "query_refused",
]


class Missing(Exception):
    """The language is not here, or too old for its SDK; the text says which."""


def version_of(command, pattern, wanted):
    """Fail with Missing unless the command is there and prints at least that version."""
    if shutil.which(command[0]) is None:
        raise Missing(f"no {command[0]}")
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    found = re.search(pattern, done.stdout + done.stderr)
    if not found:
        raise Missing(f"{' '.join(command)} tells no version")
    version = tuple(int(part) for part in found.groups())
    if version < wanted:
        raise Missing(f"{command[0]} {'.'.join(map(str, version))} is older than {'.'.join(map(str, wanted))}")


@dataclasses.dataclass
class Suite:
    """One SDK: how to make its program and how to run it."""

    name: str
    tools: list  # arguments of version_of
    inputs: list  # files that decide whether to make it again
    make: list  # commands, run in `work`
    run: list
    env: dict = dataclasses.field(default_factory=dict)
    queries: list = ()  # the program that asks the cases of tests/query
    failover: list = ()  # the program that goes on while regions fail over
    ca_env: str = ""  # where the SDK's TLS looks for authorities, unless the program says

    @property
    def source(self):
        return ROOT / "tests" / "integration" / f"sdk_{self.name}"

    @property
    def work(self):
        return CACHE / f"sdk_{self.name}"

    def environment(self):
        return {**os.environ, **self.env}

    def digest(self):
        digest = hashlib.sha256(repr((self.make, sys.version_info[:2])).encode())
        for name in self.inputs:
            digest.update((self.source / name).read_bytes())
        return digest.hexdigest()

    def prepare(self):
        """Copy the sources to the cache folder, fetch what they need, compile; nothing when that was done."""
        for tool in self.tools:
            version_of(*tool)
        self.work.mkdir(parents=True, exist_ok=True)
        with open(CACHE / f"sdk_{self.name}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            stamp = self.work / "made"
            digest = self.digest()
            if stamp.exists() and stamp.read_text() == digest:
                return
            for name in self.inputs:
                target = self.work / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(self.source / name, target)
            for command in self.make:
                self.make_step(command)
            stamp.write_text(digest)

    def make_step(self, command):
        # A registry may be out of sorts for a moment.
        for attempt in (1, 2):
            done = subprocess.run(
                command, cwd=self.work, env=self.environment(), stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=PREPARE_S)
            if done.returncode == 0:
                return
            time.sleep(5 * attempt)
        output = done.stdout.decode(errors="replace")[-4000:]
        raise AssertionError(f"{self.name}: {' '.join(command)} failed\n{output}")

    def results(self, gateway, mode):
        """Run the program once; its lines by scenario."""
        env = self.environment()
        if self.ca_env:
            env[self.ca_env] = gateway.ca_file
        env.update(
            ORRERY_ENDPOINT=gateway.http if mode == "http" else gateway.https,
            ORRERY_KEY=wire.KEY,
            ORRERY_CA=gateway.ca_file,
            ORRERY_DATABASE=f"sdk-{self.name}-{mode}",
        )
        try:
            done = subprocess.run(
                self.run, cwd=self.work, env=env, stdin=subprocess.DEVNULL,
                capture_output=True, timeout=RUN_S)
            stdout, stderr, end = done.stdout, done.stderr, f"ended with {done.returncode}"
        except subprocess.TimeoutExpired as late:
            stdout, stderr, end = late.stdout or b"", late.stderr or b"", f"was stopped after {RUN_S} s"
        lines = {}
        for line in stdout.decode(errors="replace").splitlines():
            if line.startswith("{"):
                found = json.loads(line)
                lines[found["scenario"]] = found
        tail = stderr.decode(errors="replace")[-3000:]
        return Results(lines, f"the program {end}\n{tail}")

    def query_lines(self, gateway, database, cases):
        """Run the program for queries over a file of cases; its lines."""
        self.prepare()
        env = {**self.environment(), "ORRERY_ENDPOINT": gateway.http, "ORRERY_KEY": wire.KEY, "ORRERY_DATABASE": database,
               "ORRERY_CASES": str(cases)}
        done = subprocess.run(self.queries, cwd=self.work, env=env, stdin=subprocess.DEVNULL, capture_output=True, timeout=RUN_S)
        tail = done.stderr.decode(errors="replace")[-3000:]
        assert done.returncode == 0, f"the program ended with {done.returncode}\n{tail}"
        return [json.loads(line) for line in done.stdout.splitlines() if line.startswith(b"{")]


@dataclasses.dataclass
class Results:
    lines: dict
    end: str

    def check(self, scenario):
        line = self.lines.get(scenario)
        assert line is not None, f"no line for {scenario}: {self.end}"
        if "skipped" in line:
            pytest.skip(line["skipped"])
        assert line["ok"], line.get("detail", "no detail")


SUITES = {
    suite.name: suite
    for suite in [
        Suite(
            name="javascript",
            tools=[(["node", "--version"], r"v(\d+)\.(\d+)", (20, 0)), (["npm", "--version"], r"(\d+)\.", (8,))],
            inputs=["package.json", "suite.mjs", "queries.mjs", "failover.mjs"],
            make=[["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts"]],
            run=["node", "suite.mjs"],
            queries=["node", "queries.mjs"],
            failover=["node", "failover.mjs"],
        ),
        Suite(
            name="python",
            tools=[],
            inputs=["requirements.txt", "suite.py", "queries.py", "failover.py"],
            make=[
                [sys.executable, "-m", "venv", "venv"],
                ["venv/bin/pip", "install", "--quiet", "--disable-pip-version-check", "-r", "requirements.txt"],
            ],
            run=["venv/bin/python", "suite.py"],
            queries=["venv/bin/python", "queries.py"],
            failover=["venv/bin/python", "failover.py"],
        ),
        Suite(
            name="go",
            tools=[(["go", "version"], r"go(\d+)\.(\d+)", (1, 25))],
            inputs=["go.mod", "go.sum", "main.go", "queries.go", "query_scenarios.go", "scenarios.go"],
            make=[["go", "build", "-o", "suite", "."]],
            run=["./suite"],
            queries=["./suite", "queries"],
            env={"GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly -buildvcs=false", "GOCACHE": str(CACHE / "go")},
        ),
        Suite(
            name="java",
            tools=[(["mvn", "--version"], r"Maven (\d+)\.(\d+)", (3, 6)), (["javac", "-version"], r"javac (\d+)", (11,))],
            inputs=["pom.xml", "src/main/java/Suite.java", "src/main/java/Scenarios.java", "src/main/java/Queries.java"],
            make=[["mvn", "-q", "-B", "package"]],
            run=["java", "-Xmx512m", "-Dfile.encoding=UTF-8", "-cp", "target/classes:target/lib/*", "Suite"],
        ),
        Suite(
            name="rust",
            tools=[(["cargo", "--version"], r"cargo (\d+)\.(\d+)", (1, 88))],
            inputs=["Cargo.toml", "src/main.rs", "src/queries.rs"],
            make=[["cargo", "build", "--quiet"]],
            run=[str(CACHE / "rust" / "debug" / "orrery-sdk-rust")],
            # Its vendor's settings for servers that take JSON as text and speak HTTP/1.1.
            env={"CARGO_TARGET_DIR": str(CACHE / "rust"), "AZURE_COSMOS_BINARY_ENCODING_ENABLED": "false",
                 "AZURE_COSMOS_CONNECTION_POOL_IS_HTTP2_ALLOWED": "false"},
            ca_env="SSL_CERT_FILE",
        ),
    ]
}


def main():
    """Prepare the named suites, or all; what is missing is said and is no failure here."""
    failed = False
    for name in sys.argv[1:] or SUITES:
        try:
            SUITES[name].prepare()
            print(f"{name}: ready")
        except Missing as missing:
            print(f"{name}: {missing}")
        except (AssertionError, subprocess.TimeoutExpired) as error:
            print(f"{name}: {error}")
            failed = True
    return failed


if __name__ == "__main__":
    sys.exit(main())
