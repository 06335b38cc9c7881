"""What queries leave behind in PostgreSQL, and what they know of it."""

import re
import uuid

import pytest
from support.gateway import Gateway
from support.postgres import Postgres

QUERY = {"content-type": "application/query+json", "x-ms-documentdb-isquery": "True",
         "x-ms-documentdb-query-enablecrosspartition": "True"}
KEPT_MAX = 64  # PGIO_MADE_MAX


def make(client, throughput="400", **settings):
    """A container with 20 items; its path."""
    client.post("/dbs", {"id": "statements"})
    name = uuid.uuid4().hex[:12]
    answer = client.post("/dbs/statements/colls", {"id": name, "partitionKey": {"paths": ["/id"], "kind": "Hash", "version": 2}, **settings},
                         headers={"x-ms-offer-throughput": throughput})
    assert answer.status == 201, answer
    for n in range(20):
        answer = client.post(f"/dbs/statements/colls/{name}/docs", {"id": f"{n}", "n": n}, pk=[f"{n}"])
        assert answer.status == 201, answer
    return f"/dbs/statements/colls/{name}"


def ask(client, path, text, size=100):
    answer = client.post(f"{path}/docs", {"query": text}, headers={**QUERY, "x-ms-max-item-count": str(size)})
    assert answer.status == 200, answer
    return answer.json["Documents"]


@pytest.fixture(scope="module")
def client(gateway):
    client = gateway.client()
    yield client
    client.close()


@pytest.mark.parametrize("throughput", ["400", "50000"])
def test_default_time_to_live_is_that_of_the_snapshot(client, postgres, throughput):
    """A gateway knows a container for some seconds; what expired since its definition changed is seen by no query.

    The last case is that of items that expire: these are deleted from then on."""
    path = make(client, throughput)
    name = path.rsplit("/", 1)[1]
    questions = ("SELECT VALUE c.n FROM c", "SELECT VALUE c.n FROM c ORDER BY c.n", "SELECT VALUE COUNT(1) FROM c",
                 "SELECT VALUE c.n FROM c WHERE c.n > 0 AND LENGTH(c.id) > 0", "SELECT c.n % 2 AS odd, SUM(c.n) AS s FROM c GROUP BY c.n % 2")
    before = [sorted(map(str, ask(client, path, text))) for text in questions]
    with postgres.connect(autocommit=True) as sql:
        container = sql.execute("select rid from orrery.items_0 where id = %s and not deleted", [name]).fetchone()[0]
        sql.execute(f"update orrery.items_{container} set ts = ts - 100")
        for seconds, expected in ((-1, before), (500, before), (None, before), (50, [[], [], ["0"], [], []])):
            sql.execute("update orrery.ranges set default_ttl = %s where container = %s", [seconds, container])
            assert [sorted(map(str, ask(client, path, text))) for text in questions] == expected, seconds
            read = client.get(f"{path}/docs").json["Documents"]
            assert len(read) == len(expected[0]), seconds


def test_connection_keeps_the_statements_used_last():
    """A backend does not collect a plan for each text that clients ever sent."""
    with Postgres({"log_statement": "all"}) as server, \
            Gateway(server, args=["--threads", "1", "--query-connections", "1"]) as gateway:
        client = gateway.client()
        path = make(client)
        texts = [f"SELECT VALUE c.n FROM c WHERE c.n = {n} OR LENGTH(c.m{n}) = 1" for n in range(KEPT_MAX + 6)]
        for _ in range(2):
            for n, text in enumerate(texts):
                assert ask(client, path, text) == ([n] if n < 20 else [])
        for _ in range(3):
            assert ask(client, path, texts[-1]) == []
        client.close()
        log = server.log_path.read_text(errors="replace")
        names = re.findall(r"execute (s8[0-9a-f]{15}): select", log)
        assert len(names) == 2 * len(texts) + 3
        assert len(set(names)) == 2 * len(texts), "the texts come round after each was let go"
        assert len(re.findall(r"deallocate s8[0-9a-f]{15}", log)) == len(set(names)) - KEPT_MAX
        assert len(set(names[-4:])) == 1


def test_statement_that_fails_is_prepared_again(client):
    """42P01 and the like come from preparing: what was noted as prepared is not."""
    first, second = make(client), make(client)
    text = "SELECT VALUE c.n FROM c WHERE c.n >= 0 ORDER BY c.n"
    assert ask(client, first, text) == ask(client, second, text) == list(range(20))
    assert client.delete(first).status == 204
    assert client.post(f"{first}/docs", {"query": text}, headers=QUERY).status == 404
    assert ask(client, second, text) == list(range(20))
