"""Porcupine, an existing checker of linearizability, as a small Go program: made once, fed with histories."""

import fcntl
import json
import os
import pathlib
import shutil
import subprocess

from . import sdk
from .history import registers

SOURCE = pathlib.Path(__file__).parent / "linearizable_go"
WORK = sdk.CACHE / "linearizable"
MAKE_S = 300
DECIDE_S = 150


def program():
    """The program's path; Missing when there is no Go to make it with."""
    sdk.version_of(["go", "version"], r"go(\d+)\.(\d+)", (1, 25))
    WORK.mkdir(parents=True, exist_ok=True)
    with open(WORK / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for path in SOURCE.iterdir():
            target = WORK / path.name
            if not target.exists() or target.read_bytes() != path.read_bytes():
                shutil.copyfile(path, target)
        env = {**os.environ, "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly -buildvcs=false", "GOCACHE": str(sdk.CACHE / "go")}
        done = subprocess.run(["go", "build", "-o", "linearizable", "."], cwd=WORK, env=env, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=MAKE_S)
        assert done.returncode == 0, done.stderr
    return WORK / "linearizable"


def verdict(history):
    """{"result": "ok", "illegal" or "unknown", …}"""
    done = subprocess.run([program()], input="\n".join(registers(history)), capture_output=True, text=True, timeout=DECIDE_S)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def check(history):
    """Sentences, as the other checkers give."""
    found = verdict(history)
    if found["result"] == "ok":
        return []
    lines = "\n".join(json.dumps(one) for one in found.get("history", []))
    return [f"{found['result']}: {found['key']}\n{lines}"]
