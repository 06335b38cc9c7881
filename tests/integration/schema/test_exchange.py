"""What regions tell each other, at the hub: what is found for them, and many who tell at once (schema/0010_exchange.sql)."""

import json
import random
import threading
import time

import psycopg
import pytest
from conftest import SESSION, make_container
from support.threads import run_all
from test_apply import Region
from writer import DELETE, UPSERT, Op, Range

NOTE = "select range_id, committed, is_sound from orrery.exchange_note(%s::smallint, %s, %s::bigint[], %s::bigint[], %s::text[], %s::text[])"
FIND = 'select range_id, "from", head, committed from orrery.exchange_find(%s::smallint, %s::bigint[], %s::bigint[], 0, %s, %s::smallint)'
ALL, ENTRIES, COMMITTED = range(3)
REGIONS = (2, 3)


class Hub:
    """Region 1 of three with one container of four ranges; the test speaks as the other regions."""

    def __init__(self, server, name):
        self.server, self.name, self.opened = server, name, []
        self.connection = self.open()
        self.number = make_container(self.connection, ranges=4)
        self.ranges = [self.number << 12 | n for n in range(4)]

    def open(self):
        self.opened.append(self.server.connect(self.name, autocommit=True, options=f"-c plan_cache_mode=force_generic_plan {SESSION}"))
        return self.opened[-1]

    def close(self):
        self.connection.execute("update orrery.ranges set state = 'dropped' where container = %s", [self.number])
        for connection in self.opened:
            connection.close()


@pytest.fixture(scope="module")
def database(server):
    """Of its own, since the others are of one region."""
    name = "hub"
    with server.connect("postgres", autocommit=True) as connection:
        connection.execute(f'create database "{name}" owner plain')
    server.migrate(name)
    document = {"account": "orrery", "epoch": 257, "mode": "single", "hub": 1, "level": "Session",
                "regions": [{"ordinal": n, "name": f"r{n}", "state": "online"} for n in (1, *REGIONS)], "retired": []}
    with server.connect(name) as connection:
        why, = connection.execute("select orrery.topology_begin(%s)", [json.dumps(document)]).fetchone()
    assert why is None
    return name


@pytest.fixture
def hub(server, database):
    made = Hub(server, database)
    yield made
    made.close()


def text(lsn):
    return f"{{{lsn}}}"


def note(connection, region, acked, committed=None, is_first=False):
    """acked: LSN of the hub by range."""
    ranges = list(acked)
    told = [text(acked[one]) for one in ranges]
    known = [text((committed or {}).get(one, 0)) for one in ranges]
    return connection.execute(NOTE, [region, is_first, ranges, [-1] * len(ranges), told, known]).fetchall()


def find(connection, region, what, received=None, limit=100):
    received = received or {}
    return connection.execute(FIND, [region, list(received), list(received.values()), limit, what]).fetchall()


def test_what_is_committed_is_told_with_entries_or_when_it_is_asked_for(hub):
    first, second, *_ = hub.ranges
    writer, other = (Range(hub.connection, hub.number, n) for n in range(2))
    head = writer.one(Op(UPSERT, "x")).lsn
    assert note(hub.connection, 2, {first: 0, second: 0}) == [(None, None, True)]
    assert [row[0] for row in find(hub.connection, 2, ENTRIES)] == [first]
    assert note(hub.connection, 2, {first: head}) == [(None, None, True)], "region 3 has it not"
    assert note(hub.connection, 3, {first: head, second: 0}) == [(first, [head], True)]
    assert note(hub.connection, 3, {first: head, second: 0}) == [(None, None, True)], "told once"
    for what, found in ((ALL, [first]), (ENTRIES, []), (COMMITTED, [first])):
        assert [row[0] for row in find(hub.connection, 2, what)] == found, what
    other.one(Op(UPSERT, "y"))  # a busy range takes along what is committed of one that is quiet
    for what, found in ((ALL, [first, second]), (ENTRIES, [first, second]), (COMMITTED, [first])):
        rows = find(hub.connection, 2, what)
        assert [row[0] for row in rows] == found and rows[0][3] == [head], (what, rows)
    assert [row[0] for row in find(hub.connection, 2, ENTRIES, {second: 1})] == [], "it is on its way"
    note(hub.connection, 2, {first: head}, {first: head})
    assert find(hub.connection, 2, COMMITTED) == []
    never = 2**63 - 1
    note(hub.connection, 3, {second: 1})
    note(hub.connection, 2, {second: 1})
    assert [row[0] for row in find(hub.connection, 2, COMMITTED)] == [second]
    assert find(hub.connection, 2, COMMITTED, {second: never}) == find(hub.connection, 2, ALL, {second: never}) == []


def test_who_says_what_a_region_has_waits_for_another_who_does(hub):
    """Two connections that tell of the same ranges in opposite orders: the second waits from its beginning, and has no lock then."""
    for n in range(4):
        Range(hub.connection, hub.number, n).one(Op(UPSERT, "x"))
    first, second = hub.open(), hub.open()
    first.autocommit = False
    there = {one: 1 for one in hub.ranges}
    note(first, 2, there)
    second.execute("set lock_timeout = '100ms'")
    with pytest.raises(psycopg.errors.LockNotAvailable):
        note(second, 2, dict(reversed(there.items())))
    assert note(second, 3, {}) == [(None, None, True)], "another region's"
    first.commit()
    second.execute("set lock_timeout = 0")
    note(second, 2, dict(reversed(there.items())))
    assert sorted(row[0] for row in note(second, 3, there)) == hub.ranges


def test_many_tell_while_others_write(hub):
    """Acks of two regions, each from two connections and in any order of ranges, looks of gateways, news and writers: nobody waits
    in a circle, and in the end all is committed."""
    heads = dict.fromkeys(hub.ranges, 0)
    is_over = threading.Event()

    def write(seed):
        connection = hub.open()
        ranges = [Range(connection, hub.number, n) for n in range(4)]
        chooser = random.Random(seed)
        try:
            for _ in range(80):
                one = chooser.choice(ranges)
                lsn = one.one(Op(UPSERT, f"i{chooser.randrange(5)}")).lsn
                heads[one.id] = max(heads[one.id], lsn)
        finally:
            is_over.set()

    def tell(region, seed):
        connection, chooser = hub.open(), random.Random(seed)
        while not is_over.is_set():
            told = chooser.sample(hub.ranges, chooser.randint(1, 4))
            note(connection, region, {one: heads[one] for one in told}, is_first=chooser.random() < 0.1)

    def look(statement, *parameters):
        connection = hub.open()
        while not is_over.is_set():
            connection.execute(statement, parameters)

    run_all(lambda: write(1), lambda: write(2),
            *[lambda region=region, seed=seed: tell(region, seed) for region in REGIONS for seed in range(2)],
            lambda: look("select orrery.levels_look(1)"), lambda: look("select orrery.stability_look()"),
            lambda: look("select orrery.exchange_learn(%s::bigint[], %s::text[])", hub.ranges[::-1], ["{1}"] * 4))
    heads = {one: hub.connection.execute("select vector[1] from orrery.ranges where range_id = %s", [one]).fetchone()[0] for one in hub.ranges}
    for region in REGIONS:
        note(hub.connection, region, heads)
    committed = dict(hub.connection.execute("select range_id, committed[1] from orrery.ranges where range_id = any (%s)", [hub.ranges]).fetchall())
    assert committed == heads != dict.fromkeys(hub.ranges, 0)


def test_what_is_read_of_a_log_ends_with_a_transaction(hub):
    """Of several ranges, from anywhere, within limits of entries and bytes that the last transaction may exceed."""
    writers = [Range(hub.connection, hub.number, n) for n in range(2)]
    for n, size in enumerate((1, 3, 1, 2, 5, 1)):
        for writer in writers:
            writer.write(*[Op(UPSERT, f"i{m}", txn=0, body=json.dumps({"n": n, "text": "x" * 100 * m})) for m in range(size)])
    log, head = writers[0].log(), len(writers[0].log())
    begins = [seq for seq, _, index, *_ in log if index == 0]
    fetch = (f"select n, upto, seq from orrery.fetch_{hub.number}(%s::bigint[], %s::bigint[], %s::bigint[], array['{{}}', %s], 2::smallint,"
             " %s, %s) where seq is not null")
    for start in (begin - 1 for begin in begins):
        for limit in (1, 2, 4, 100):
            for most in (1, 300, 700, 1000, 10**6):
                size, last = 0, start
                while last < head and last - start < limit and size < most:
                    size += 160 + len(log[last][-1])
                    last += 1
                upto = min([begin - 1 for begin in begins if begin > last] or [head])
                found = hub.connection.execute(fetch, [hub.ranges[:2], [start, 0], [head, head], "{3}", most, limit]).fetchall()
                first, second = ([row[1:] for row in found if row[0] == n] for n in (1, 2))
                assert first == [(upto, seq) for seq in range(start + 1, upto + 1)], (start, limit, most)
                assert all(seq > 5 for _, seq in second), "it has three transactions"


PARTITION = 2**21  # sequences in a partition of a log
COPY_BASE = 2**62


def partitions(hub):
    return [name.rsplit("_", 1)[1] for name, in hub.connection.execute(
        "select c.relname from pg_inherits h join pg_class c on c.oid = h.inhrelid where h.inhparent = %s::regclass order by h.inhrelid",
        [f"orrery.log_{hub.number}"])]


def trim(hub, one, before):
    while hub.connection.execute("select orrery.range_trim(%s, %s, 3000, 2)", [one, before]).fetchone()[0] == 2:
        pass
    return hub.connection.execute("select seq from orrery.horizons where range_id = %s", [one]).fetchone()[0]


def test_partitions_in_which_nothing_is_left_are_dropped(hub):
    """Retention: old entries that everybody has go, their partition goes with the last of them, and a region that lacks what is gone gets a
    copy (docs/replication.md)."""
    drop = lambda: hub.connection.execute("select orrery.log_drop(%s)", [hub.number]).fetchone()[0]  # noqa: E731
    writers = [Range(hub.connection, hub.number, n) for n in range(4)]

    def write(*ids, now):
        for writer in writers:
            writer.write(*[Op(UPSERT, id, body='{"at":%d}' % now) for id in ids], now=now)

    def tell_all(regions=REGIONS):
        heads = dict(hub.connection.execute("select range_id, vector[1] from orrery.ranges where container = %s", [hub.number]).fetchall())
        for region in regions:
            note(hub.connection, region, heads, heads)
        for _ in range(2):
            hub.connection.execute("select orrery.stability_look()")
        return heads

    write("x", "y", "z", now=1000)
    hub.connection.execute("update orrery.ranges set seq = %s where container = %s", [PARTITION - 2, hub.number])
    assert hub.connection.execute("select orrery.log_extend(%s)", [hub.number]).fetchone()[0]
    assert partitions(hub) == ["rest", "0", str(PARTITION)]
    write("x", "y", "z", now=1001)  # x is in the first partition still
    tell_all([2])
    assert [trim(hub, one, 1001) for one in hub.ranges] == [0] * 4, "region 3 has nothing"
    tell_all()
    assert [trim(hub, one, 999) for one in hub.ranges] == [0] * 4, "it is not old enough"
    assert [trim(hub, one, 1001) for one in hub.ranges] == [PARTITION + 1] * 4
    assert drop() == 0, "x is shown from there"
    write("x", now=1002)
    tell_all()
    assert [trim(hub, one, 1002) for one in hub.ranges[1:]] == [PARTITION + 2] * 3
    assert drop() == 0, "a range has its x there"
    trim(hub, hub.ranges[0], 1002)
    with hub.open() as reading:
        reading.autocommit = False
        reading.execute(f"select count(*) from orrery.log_{hub.number}")
        assert drop() == 0, "somebody reads, whom nobody waits for, or who comes next would wait, too"
        reading.rollback()
        assert drop() == 1
    assert partitions(hub) == ["rest", str(PARTITION)]
    assert drop() == 0
    for writer in writers:
        writer.check()

    heads = tell_all()
    assert find(hub.connection, 2, ENTRIES) == [], "it has all"
    first = hub.ranges[0]
    note(hub.connection, 2, {first: 5}, is_first=True)
    assert find(hub.connection, 2, ENTRIES) == [(first, COPY_BASE, COPY_BASE + PARTITION + 2, [7])], "a copy, up to the horizon"
    copied = hub.connection.execute(f"select id, lsn, body from orrery.log_{hub.number} where range_id = %s order by seq", [first]).fetchall()
    assert copied == [("y", 5, '{"at":1001}'), ("z", 6, '{"at":1001}'), ("x", 7, '{"at":1002}')], "what the items show"
    write("v", now=1003)
    assert [row[:3] for row in find(hub.connection, 2, ENTRIES) if row[0] == first] == [(first, COPY_BASE, COPY_BASE + PARTITION + 2)]
    note(hub.connection, 2, {first: heads[first]})
    assert [row[:3] for row in find(hub.connection, 2, ENTRIES) if row[0] == first] == [(first, 0, PARTITION + 3)], "the log again"
    note(hub.connection, 2, {first: 5})  # was on its way for longer
    assert [row[:3] for row in find(hub.connection, 2, ENTRIES) if row[0] == first] == [(first, 0, PARTITION + 3)], "it has said more"

    # Who joins and has all must have told so with its requests, too: whoever is in the middle of a copy, and does not join, is left behind.
    number = lambda statement, *given: hub.connection.execute(f"select {statement}", given).fetchone()[0]  # noqa: E731
    look = lambda: number("orrery.join_look(2::smallint, orrery.ranges_tell())")  # noqa: E731
    note(hub.connection, 2, {first: 5}, is_first=True)
    assert [look(), look(), number("orrery.region_left_behind(1000)")] == [1, 1, 2]
    with hub.connection.transaction(force_rollback=True):
        hub.connection.execute("update orrery.ranges set state = 'dropped' where range_id = %s", [first])
        assert [look(), number("orrery.region_left_behind(1000)")] == [0, None], "nobody will say more of it"
    note(hub.connection, 2, {first: heads[first]})
    assert [look(), number("orrery.region_left_behind(1000)")] == [0, None]


MOVED = {"account": "orrery", "epoch": 513, "mode": "single", "hub": 2, "level": "Session",
         "regions": [{"ordinal": n, "name": f"r{n}", "state": "online"} for n in (1, *REGIONS)], "retired": []}
MARKER = json.dumps({"epoch": 513, "hub": 2, "live": [1, *REGIONS], "writers": [2], "metadata_writers": [2], "cut": {}, "document": MOVED})
DEFINITIONS = """select status, applied from orrery.exchange_apply_metadata(0, 513, '{2}', '{1}', '{0}', '{513}', '{5}', array[''::bytea], '{""}',
    '{0}', '{1000}', array[null::uuid], array[null::int], array[null::float8], '{NULL}', array[%s], '{NULL}', '{}', '{}', '{}',
    array[%s::bigint], '{1}', array[null::int], '{f}', '{}', '{}', '{}', '{}')"""


@pytest.mark.parametrize("what", ["learn", "learn what a marker opens", "accept", "definitions", "roll back", "open"])
def test_nobody_waits_in_a_circle_while_an_epoch_opens(hub, server, what):
    """One transaction has a range and is about to take a marker, which changes region_self; another one changes several ranges and region_self.
    The second waits for the range, and has neither region_self nor a range behind it then: it takes ranges in ascending order, though
    they lie in the table in the opposite one."""
    statement, parameters = {
        "learn": ("select orrery.epoch_learn(%s)", [json.dumps(MOVED)]),
        "learn what a marker opens": ("select orrery.epoch_learn(%s)", [json.dumps(MOVED)]),
        "accept": ("select why from orrery.epoch_accept(513, %s, 'all')", [json.dumps(MOVED)]),
        "definitions": (DEFINITIONS, [MARKER, hub.number]),
        "roll back": ("select orrery.region_roll_back('a test')", []),
        "open": ("select orrery.change_open(513, 1000, 100)", []),
    }[what]
    with hub.connection.transaction():
        hub.connection.execute("create temp table lying on commit drop as select * from orrery.ranges where container = %s", [hub.number])
        hub.connection.execute("delete from orrery.ranges where container = %s", [hub.number])
        hub.connection.execute("insert into orrery.ranges select * from lying order by range_id desc")
    marking = hub.open()
    changing = server.connect(hub.name)  # with the plans of a connection for all kinds of work, that scan the table
    changing.execute("set local enable_indexscan = off; set local enable_bitmapscan = off")
    if what == "open":
        changing.execute("insert into orrery.changes (epoch, kind, document, needed, stage) values (513, 'failover', %s, 1, 'opening')",
                         [json.dumps(MOVED)])
    first, second, *rest = hub.ranges
    if what == "learn what a marker opens":  # that of an epoch between, after which it would be open under the later one
        marking.execute("update orrery.ranges set state = 'read-only' where range_id = %s", [second])
    marking.execute("begin")
    marking.execute("select orrery.range_lock(%s)", [second])
    thread = threading.Thread(target=changing.execute, args=[statement, parameters])
    thread.start()
    try:
        behind(changing, thread, marking)
        assert thread.is_alive()
        with pytest.raises(psycopg.errors.LockNotAvailable), marking.transaction():
            marking.execute("select from orrery.ranges where range_id = %s for update nowait", [first])
        marking.execute("select from orrery.ranges where range_id = any (%s) for update nowait", [rest])
        marking.execute("select from orrery.region_self for update nowait")
        marking.execute("select orrery.marker_take(%s, %s)", [second, MARKER])
    finally:
        marking.execute("rollback")
        thread.join()
        state = changing.info.transaction_status
        changing.rollback()
        changing.close()
    assert state == psycopg.pq.TransactionStatus.INTRANS, "it is through"


def topology(epoch, mode="multi", **states):
    """Region 2 is the hub; states: of r1 … r3."""
    regions = [{"ordinal": n, "name": f"r{n}", "state": states.get(f"r{n}", "online")} for n in (1, *REGIONS)]
    return json.dumps({**MOVED, "epoch": epoch, "mode": mode, "regions": regions})


def test_what_a_late_marker_opens_a_later_epoch_has_not_closed(hub):
    """A marker, and the definition of a container, of an epoch before the one that a region has heard of already."""
    sql = hub.connection.execute

    def mark(range_id, document):
        of = json.loads(document)
        sql("select orrery.marker_take(%s, json_build_object('epoch', %s::bigint, 'hub', 2, 'live', array[1, 2, 3], 'writers',"
            " orrery.topology_writers(%s, 2::smallint), 'metadata_writers', array[2], 'cut', '{}'::json, 'document', %s::json))",
            [range_id, of["epoch"], document, document])

    def states():
        return [row[0] for row in sql("select state from orrery.ranges where range_id = any (%s) order by range_id", [hub.ranges]).fetchall()]

    def learn(document):
        assert sql("select orrery.epoch_learn(%s)", [document]).fetchone() == (True,)

    for closed in (topology(769, r1="offline"), topology(769, "single")):
        with hub.connection.transaction(force_rollback=True):
            first, second, *_ = hub.ranges
            mark(first, topology(513))
            assert states() == ["online"] * 4, "at 257 region 1 is the hub, at 513 it writes as all do"
            learn(closed)
            assert states() == ["read-only"] * 4
            mark(second, topology(513))
            mark(0, topology(513))
            assert states() == ["read-only"] * 4
            assert sql("select epoch, state from orrery.ranges where range_id = 0").fetchone() == (513, "read-only")
            new = make_container(hub.connection)
            assert sql("select epoch, state from orrery.ranges where container = %s", [new]).fetchone() == (513, "read-only")
            answer = Range(hub.connection, hub.number, 1).one(Op(UPSERT, "x"), epoch=513)
            assert answer.status == 403, "a gateway that has not heard of it, either, writes nothing"
            mark(first, closed)
            assert states() == ["read-only"] * 4
            learn(topology(1025))
            mark(second, closed)
            assert states() == ["read-only"] * 4, "closed by its own"
            mark(first, topology(1025))
            assert states() == ["online"] + ["read-only"] * 3
    with hub.connection.transaction(force_rollback=True):
        sql("update orrery.ranges set state = 'read-only' where container = %s", [hub.number])
        learn(topology(769, r3="offline"))
        mark(second, topology(513))
        assert states() == ["read-only", "online", "read-only", "read-only"], "the later one lets it write, too"


def behind(waiting, thread, holder):
    """Until that connection's statement, which the thread runs, waits for the holder, or is through."""
    while thread.is_alive() and holder.execute(
            "select %s <> all (pg_blocking_pids(%s))", [holder.info.backend_pid, waiting.info.backend_pid]).fetchone()[0]:
        time.sleep(0.01)


def test_a_copy_and_the_trim_of_what_it_replaces_do_not_wait_in_a_circle(make_range, open_connection):
    """A range that joins anew: the trim has its horizon, and then wants entries; the copy that begins waits from there."""
    source, copy = Region(make_range(), 1), Region(make_range(), 2)
    for id in "xyx":
        source.one(Op(UPSERT, id))
    copy.apply(source.entries())
    copy.connection.execute("update orrery.range_epochs set live = '{2}' where range_id = %s", [copy.id])  # nobody else needs the entries
    digest, upto = source.digest(), len(source.entries())
    trimming, failed = open_connection(), []

    def take():
        try:
            copy.copy(source, 2)
        except Exception as error:
            failed.append(error)

    with copy.connection.transaction(force_rollback=True):
        trimming.execute("begin")
        trimming.execute("insert into orrery.horizons (range_id) values (%s)", [copy.id])
        thread = threading.Thread(target=take)
        thread.start()
        try:
            behind(copy.connection, thread, trimming)
            assert thread.is_alive()
            assert trimming.execute("select orrery.range_trim(%s, 1000, 1000, 100)", [copy.id]).fetchone() == (upto,)
        finally:
            trimming.execute("commit")
            thread.join()
        assert failed == []
        assert copy.digest() == digest


def test_a_purge_waits_for_nobody(range_, open_connection):
    """Writers have the range, and then want an item; the purge begins with the items."""
    range_.write(*[Op(UPSERT, id) for id in "xyz"])
    range_.write(*[Op(DELETE, id) for id in "xyz"])
    purging = Range(open_connection(), range_.number)

    def purge():
        return purging.connection.execute("select orrery.range_purge(%s, 2000, 100)", [range_.id]).fetchone()[0]

    purging.connection.execute("set lock_timeout = '10s'")
    with range_.connection.transaction():
        range_.one(Op(UPSERT, "y"))
        assert purge() == 2
        range_.one(Op(UPSERT, "x"))
    assert purging.connection.execute("select purged_ts from orrery.ranges where range_id = %s", [range_.id]).fetchone() == (0,)
    range_.one(Op(DELETE, "y"))
    assert purge() == 1
    assert purging.connection.execute("select purged_ts from orrery.ranges where range_id = %s", [range_.id]).fetchone() == (2000,)
    range_.check()
