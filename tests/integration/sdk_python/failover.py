"""A client that goes on writing and reading, with session consistency, while regions fail over.

ORRERY_ENDPOINT, ORRERY_KEY, ORRERY_DATABASE, ORRERY_CONTAINER; ORRERY_PREFERRED: names of regions, comma between. It
prints {"event":"started"} after its first round, goes on until its input ends, and prints what came of it: counts of
operations, those that failed as the application saw it, and reads that did not show the session's own write.
"""

import json
import os
import sys
import threading
import time

from azure.cosmos import CosmosClient

client = CosmosClient(
    os.environ["ORRERY_ENDPOINT"], os.environ["ORRERY_KEY"], consistency_level="Session",
    preferred_locations=os.environ["ORRERY_PREFERRED"].split(","), connection_timeout=3, read_timeout=5)
container = client.get_database_client(os.environ["ORRERY_DATABASE"]).get_container_client(os.environ["ORRERY_CONTAINER"])
told = {"operations": 0, "failures": [], "stale": [], "longest_ms": {"read": 0, "write": 0}}
last = {}  # when each kind last went well
confirmed = {}  # number last acknowledged, by id


def attempt(kind, id, work):
    began = time.monotonic()
    told["operations"] += 1
    try:
        found = work()
    except Exception as error:  # noqa: BLE001 - whatever an application would see
        told["failures"].append({
            "kind": kind, "id": id, "code": str(getattr(error, "status_code", type(error).__name__)),
            "substatus": getattr(error, "sub_status", None) or 0, "ms": round(1000 * (time.monotonic() - began)),
            "message": str(error)[:200]})
        return None
    ended = time.monotonic()
    told["longest_ms"][kind] = max(told["longest_ms"][kind], 1000 * (ended - last.get(kind, began)))
    last[kind] = ended
    return found


over = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
number = 0
while not over.is_set():
    number += 1
    id = f"item-{number % 5}"
    if attempt("write", id, lambda: container.upsert_item({"id": id, "pk": id, "number": number})) is not None:
        confirmed[id] = number
    read = attempt("read", id, lambda: container.read_item(id, partition_key=id))
    if read is not None and read["number"] < confirmed.get(id, 0):
        told["stale"].append({"id": id, "confirmed": confirmed[id], "found": read["number"]})
    if number == 1:
        print(json.dumps({"event": "started"}), flush=True)
    time.sleep(0.02)
print(json.dumps({"event": "ended", "confirmed": confirmed, **told}), flush=True)
os._exit(0)  # its threads need not be waited for
