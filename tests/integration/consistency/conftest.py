"""How long the runs are, and by which seeds: short ones for scripts/test, or a soak.

SOAK_MINUTES is shared by the runs that ask for `runs`; each goes on with seed after seed. CONSISTENCY_SEED repeats one.
"""

import os
import random
import time

import pytest

SHORT_S = 8
LONG_S = 30
SOAK_MINUTES = float(os.environ.get("SOAK_MINUTES", "0"))


class Runs:
    """Seeds, one for each run, as long as there is time for another."""

    def __init__(self, share_s):
        self.end = time.monotonic() + share_s
        self.seconds = LONG_S if SOAK_MINUTES else SHORT_S

    def __iter__(self):
        fixed = os.environ.get("CONSISTENCY_SEED")
        while True:
            yield int(fixed) if fixed else random.randrange(1 << 32)
            if time.monotonic() > self.end:
                return


def pytest_collection_modifyitems(items):
    count = sum("runs" in getattr(item, "fixturenames", ()) for item in items)
    for item in items:
        item.soak_share_s = SOAK_MINUTES * 60 / max(1, count)


@pytest.fixture
def runs(request):
    return Runs(request.node.soak_share_s)
