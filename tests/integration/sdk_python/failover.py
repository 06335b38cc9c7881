"""A client that goes on writing and reading, with session consistency, while regions fail over.

What it is told and what it prints is described in ../sdk_javascript/failover.mjs.
"""

import json
import os
import queue
import sys
import threading
import time

from azure.cosmos import CosmosClient
from azure.cosmos.exceptions import CosmosResourceNotFoundError

ITEMS = 5  # each client its own
ROUNDS = 10
PAUSE_S = 0.03

preferred = os.environ["ORRERY_PREFERRED"]
client = CosmosClient(
    os.environ["ORRERY_ENDPOINT"], os.environ["ORRERY_KEY"], consistency_level="Session",
    **({"preferred_locations": preferred.split(",")} if preferred else {}))
container = client.get_database_client(os.environ["ORRERY_DATABASE"]).get_container_client(os.environ["ORRERY_CONTAINER"])
last = {}  # when each kind last went well
confirmed = {}  # number last acknowledged, by id


def tell(event, **more):
    print(json.dumps({"event": event, **more}), flush=True)


def id_of(number):
    return f"python-{os.getpid()}-{number % ITEMS}"


def nothing():
    return {"operations": 0, "failures": [], "stale": [], "longest_ms": {"read": 0, "write": 0}}


told = nothing()
good = 0  # rounds in a row


def attempt(kind, id, work):
    global good
    began = time.monotonic()
    told["operations"] += 1
    try:
        found = work()
    except Exception as error:  # noqa: BLE001 - whatever an application would see
        told["failures"].append({
            "kind": kind, "id": id, "code": str(getattr(error, "status_code", None) or type(error).__name__),
            "substatus": getattr(error, "sub_status", None) or 0, "ms": round(1000 * (time.monotonic() - began)),
            "message": str(error)[:200]})
        good = -1
        return None
    ended = time.monotonic()
    told["longest_ms"][kind] = max(told["longest_ms"][kind], 1000 * (ended - last.get(kind, began)))
    last[kind] = ended
    return found


def number_of(id):
    try:
        return container.read_item(id, partition_key=id)["number"]
    except CosmosResourceNotFoundError as error:
        if error.sub_status:
            raise
        return 0


def read(id):
    wanted = confirmed.get(id)
    found = attempt("read", id, lambda: number_of(id)) if wanted is not None else None
    if found is not None and found < wanted:
        told["stale"].append({"id": id, "confirmed": wanted, "found": found})


names = queue.Queue()
over = threading.Event()


def listen():
    for line in sys.stdin:
        names.put(line.strip())
    over.set()


threading.Thread(target=listen, daemon=True).start()
number = 0
phase = None
while not over.is_set():
    number += 1
    # What was written some rounds ago is looked at before it is written again: that would hide its loss.
    read(id_of(number + 2))
    id = id_of(number)
    if attempt("write", id, lambda: container.upsert_item({"id": id, "pk": id, "number": number})) is not None:
        confirmed[id] = number
    read(id)
    if number == 1:
        tell("started")
    if phase is None and not names.empty():
        phase = names.get()
        good = 0
    good += 1
    if good >= ROUNDS and phase is not None:
        tell("phase", phase=phase, **told)
        told, phase, good = nothing(), None, 0
    time.sleep(PAUSE_S)
tell("ended")
os._exit(0)  # its threads need not be waited for
