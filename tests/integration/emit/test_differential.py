"""Statements compiled from queries, answered by PostgreSQL, against the evaluator."""

import os
import pathlib
import random
import subprocess

from support.postgres import Postgres

ROOT = pathlib.Path(__file__).resolve().parents[3]
PROGRAM = pathlib.Path(os.environ.get("ORRERY_DIFFERENTIAL", ROOT / "build-asan" / "tests" / "differential" / "differential"))
CHECKS = int(os.environ.get("ORRERY_DIFFERENTIAL_CHECKS", "20000"))


def test_statements_say_what_the_evaluator_says():
    seed = int(os.environ.get("ORRERY_DIFFERENTIAL_SEED", random.SystemRandom().randrange(1, 2**31)))
    with Postgres({"fsync": "off", "autovacuum": "off"}) as server:
        server.migrate()
        done = subprocess.run([PROGRAM, server.conninfo(), str(seed), str(CHECKS)], capture_output=True, text=True,
                              timeout=300, check=False, env={**os.environ, "ASAN_OPTIONS": "detect_leaks=1"})
    print(done.stdout[-8000:], done.stderr[-4000:])
    assert done.returncode == 0, f"seed {seed}\n{done.stdout[-8000:]}\n{done.stderr[-4000:]}"


def test_statements_use_the_indexes():
    """Equality, ranges, pages, groups and joins over 20,000 items have plans with an index in them."""
    program = PROGRAM.with_name("plans")
    with Postgres({"fsync": "off"}) as server:
        server.migrate()
        done = subprocess.run([program, server.conninfo()], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
