"""What a lost hub had not shipped (rule 5.6): it returns, the new hub takes it or puts it into the conflicts feed."""

import json
import threading
from http.client import HTTPException

import pytest
from support.account import Account, wait_for

PK = {"x-ms-documentdb-partitionkey": '["a"]'}
UPSERT = {**PK, "x-ms-documentdb-is-upsert": "True"}
BATCH = {**PK, "x-ms-cosmos-is-batch-request": "True", "x-ms-cosmos-batch-atomic": "True"}
FEED = {"a-im": "Full-Fidelity Feed", "x-ms-documentdb-partitionkeyrangeid": "0"}
DOCS = "/dbs/d/colls/c/docs"


def ask(region, method, path, body=None, headers=PK):
    client = region.client()
    try:
        return client.request(method, path, body, headers=headers)
    finally:
        client.close()


def write(region, item, of, **more):
    answer = ask(region, "POST", DOCS, {"id": item, "p": "a", "of": of, **more}, UPSERT)
    assert answer.status in (200, 201), answer
    return answer.json


def make(account):
    hub = account.region(1)
    assert ask(hub, "POST", "/dbs", {"id": "d"}).status == 201
    assert ask(hub, "POST", "/dbs/d/colls", {"id": "c", "partitionKey": {"paths": ["/p"], "kind": "Hash"}}).status == 201


def lose_hub(account):
    """The other two go on without the hub, which is isolated and then gone."""
    account.region(1).gateways[0].kill9()
    done = account.command("failover", "--force", "--to", "East US", region=2)
    assert done.returncode == 0, done.stderr


def stranded(region):
    answer = ask(region, "GET", "/_orrery/topology")
    if answer.status != 200:  # it has only just begun
        return {"status": answer.status, "said": answer.json}
    found = answer.json["stranded"]
    return {key: value for key, value in found[0].items() if key not in ("ordinal", "left")} if found else {}


def wait_decided(region, **wanted):
    def different():
        told = stranded(region)
        return None if all(told.get(k) == v for k, v in {"waiting": 0, **wanted}.items()) else f"{told}, not {wanted}"
    wait_for(different, 60)


@pytest.mark.parametrize("level", ["Session", "Strong"])
def test_the_acknowledged_write_stays_and_nothing_stranded_is_lost(level):
    with Account(regions=3, level=level, args=["--allow-faults"]) as account:
        old, new, third = account.regions
        make(account)
        for item in ("both", "in-batch", "mine", "gone"):
            write(old, item, "everybody")
        account.wait_converged()
        account.isolate(1)
        assert ask(old, "POST", "/_orrery/faults", {"kind": "clock", "region": old.name, "skewMs": 3600000}).status < 300
        rows = "select distinct on (id) id, etag::text, body from orrery.items_%d where range_id >> 12 = %d order by id"
        number = old.sql("select max(container) from orrery.ranges")[0][0]

        # Durable in the hub's own PostgreSQL; acknowledged under Session, under Strong by nobody.
        strong, answers = level == "Strong", []

        def send(method, path, body, headers):
            try:
                answers.append(ask(old, method, path, body, headers).status)
            except (OSError, HTTPException):
                answers.append(None)  # the hub was killed before it answered

        batch = [{"operationType": "Upsert", "resourceBody": {"id": item, "p": "a", "of": "batch"}}
                 for item in ("in-batch", "beside")]
        senders = [threading.Thread(target=send, args=one) for one in [
            *(("POST", DOCS, {"id": item, "p": "a", "of": "old"}, UPSERT) for item in ("both", "mine", "new")),
            ("DELETE", f"{DOCS}/gone", None, PK), ("POST", DOCS, batch, BATCH)]]
        for sender in senders:
            sender.start()

        def unwritten():
            count = old.sql("select count(*) from orrery.log_%d where lsn > 4 and op < 5" % number)[0][0]
            return None if count == 6 else f"{count} entries"
        wait_for(unwritten, 60)
        if not strong:
            for sender in senders:
                sender.join()
            assert sorted(answers) == [200, 200, 200, 201, 204], answers
        written = {item: (etag, body) for item, etag, body in old.sql(rows % (number, number))}
        lose_hub(account)
        for sender in senders:
            sender.join()
        assert len(answers) == 5 and (not strong or not any(answers)), answers
        acknowledged = {item: write(new, item, "new hub") for item in ("both", "in-batch")}
        begun = ask(new, "GET", DOCS, headers={**FEED, "if-none-match": "*"})
        # kill -9 when a decision is committed and when one is about to be made: done twice is done once
        new.gateways[0].arm("stranded-decided", "kill")
        account.heal()
        old.gateways[0].start()
        new.gateways[0].wait_reached("stranded-decided", 60)
        new.gateways[0].kill9()
        new.gateways[0].start()
        wait_decided(new, merged=3, conflicts=3)
        assert stranded(third) is not None
        account.wait_converged(regions=[2, 3])

        for region in (new, third):
            wait_decided(region, merged=3, conflicts=3)
            for item, version in acknowledged.items():
                assert ask(region, "GET", f"{DOCS}/{item}").json == version
            found = {item: (etag, body) for item, etag, body in region.sql(rows % (number, number))}
            assert found["mine"] == written["mine"] and found["new"] == written["new"]  # same bytes and etag
            assert json.loads(found["new"][1])["of"] == "old"
            assert ask(region, "GET", f"{DOCS}/gone").status == 404
            assert ask(region, "GET", f"{DOCS}/beside").status == 404  # the whole batch is a conflict
            feed = ask(region, "GET", "/dbs/d/colls/c/conflicts").json["Conflicts"]
            losers = {json.loads(one["content"])["id"]: json.loads(one["content"])["of"] for one in feed}
            assert losers == {"both": "old", "in-batch": "batch", "beside": "batch"} and len(feed) == 3
            region.check()
        # The clock of the old hub counts for nothing.
        assert ask(new, "GET", f"{DOCS}/new").json["_ts"] < acknowledged["both"]["_ts"] + 1800
        # The old region serves nobody, and says that it has shipped everything.
        assert (refused := ask(old, "GET", f"{DOCS}/new")).status == 403 and refused.headers["x-ms-substatus"] == "1008"

        def left():
            found = ask(old, "GET", "/_orrery/topology").json["stranded"]
            return None if found and found[0]["left"] == 0 else f"{found}"
        wait_for(left, 60)
        # A region that joins takes all of it from the log, which goes back to before the old hub was given up.
        fourth = account.add_region("Southeast Asia")
        done = account.command("add", fourth.name, "--url", fourth.url, region=2)
        assert done.returncode == 0, done.stderr
        account.wait_converged(regions=[2, 3, 4])
        wait_for(lambda: None if (answer := ask(fourth, "GET", DOCS)).status == 200 else str(answer), 60)  # announced
        assert len(ask(fourth, "GET", DOCS).json["Documents"]) == 4
        assert len(ask(fourth, "GET", "/dbs/d/colls/c/conflicts").json["Conflicts"]) == 3
        told = account.command("status", region=2).stdout
        assert "stranded: 0 to be decided, 3 merged, 3 conflicts" in told, told
        # Feeds of all versions have each stranded write and say so; the decisions are entries of their own.
        full = ask(new, "GET", DOCS, headers={**FEED, "if-none-match": begun.headers["etag"]}).json["Documents"]
        assert len([one for one in full if one["metadata"].get("stranded")]) == 6
        assert [one["current"]["of"] for one in full if one["current"].get("id") == "mine"] == ["old", "old"]
