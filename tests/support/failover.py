"""A real SDK's client that works on an account while a test fails regions over."""

import contextlib
import json
import queue
import subprocess
import threading

from . import sdk, wire

START_S = 60
END_S = 150


class Worker:
    """The program of one SDK, running. ended() stops it and gives what it told."""

    def __init__(self, process):
        self.process = process
        self.lines = queue.Queue()
        self.errors = []
        for stream, take in ((process.stdout, self.lines.put), (process.stderr, self.errors.append)):
            threading.Thread(target=self.read, args=(stream, take), daemon=True).start()

    @staticmethod
    def read(stream, take):
        for line in stream:
            take(line)

    def wait(self, event, deadline_s):
        try:
            while True:
                line = self.lines.get(timeout=deadline_s)
                if line.startswith("{") and (found := json.loads(line))["event"] == event:
                    return found
        except queue.Empty:
            raise AssertionError(f"no \"{event}\" in {deadline_s} s\n{''.join(self.errors)[-3000:]}") from None

    def ended(self):
        self.process.stdin.close()
        return self.wait("ended", END_S)


@contextlib.contextmanager
def worker(name, account, database, container, preferred=()):
    """Start it and wait for its first round. Skips where the language is missing."""
    suite = sdk.SUITES[name]
    suite.prepare()
    env = {**suite.environment(), "ORRERY_ENDPOINT": account.region(1).gateways[0].http, "ORRERY_KEY": wire.KEY,
           "ORRERY_DATABASE": database, "ORRERY_CONTAINER": container,
           "ORRERY_PREFERRED": ",".join(preferred or [region.name for region in account.regions])}
    process = subprocess.Popen(suite.failover, cwd=suite.work, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    try:
        running = Worker(process)
        running.wait("started", START_S)
        yield running
    finally:
        process.kill()
        process.wait()
