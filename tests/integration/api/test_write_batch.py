"""--write-batch: how many operations may share a transaction."""

import concurrent.futures
import re

import pytest
from support.gateway import Gateway

WRITES = 200


def counters(client):
    text = client.get("/metrics", sign=False).body.decode()
    return [int(re.search(rf"^orrery_{name}_total(?:{{.*}})? (\d+)", text, re.M)[1])
            for name in ("write_batches", "write_operations")]


@pytest.mark.parametrize("most", [1, 3, 256])
def test_no_more_than_that_travel_together(postgres, most):
    with Gateway(postgres, args=["--write-batch", str(most)]) as gateway:
        client = gateway.client()
        client.post("/dbs", {"id": "together"})
        path = f"/dbs/together/colls/most{most}"
        answer = client.post("/dbs/together/colls", {
            "id": f"most{most}", "partitionKey": {"paths": ["/pk"], "kind": "Hash", "version": 2}})
        assert answer.status == 201, answer
        batches, operations = counters(client)

        def write(worker):
            mine = gateway.client()
            for n in range(WRITES // 20):
                assert mine.post(f"{path}/docs", {"id": f"{worker}-{n}", "pk": "p"}, pk=["p"]).status == 201
            mine.close()

        with concurrent.futures.ThreadPoolExecutor(20) as pool:
            list(pool.map(write, range(20)))
        now_batches, now_operations = counters(client)
        assert now_operations - operations == WRITES
        assert now_batches - batches >= WRITES / most
        assert most != 1 or now_batches - batches == WRITES
        assert most == 1 or now_batches - batches < WRITES  # some did meet
        whole = [{"operationType": "Create", "resourceBody": {"id": f"b{n}", "pk": "q"}} for n in range(10)]
        answer = client.post(f"{path}/docs", whole, pk=["q"], headers={
            "x-ms-cosmos-is-batch-request": "true", "x-ms-cosmos-batch-atomic": "true"})
        assert answer.status == 200, answer  # one transaction, whatever its size
        client.close()
