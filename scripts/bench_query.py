"""The rows of `scripts/bench query`: queries over HTTP beside hand-written SQL for the same question.

Both sides ask the same PostgreSQL and the same table: wrk the gateway, pgbench (simple protocol, as psql has it) the
database, with one connection each, in turns. A question comes in several variants, so that no answer is one page of the
cache. Before anything is measured both sides must give the same number of rows, and the plans are compared: which
indexes of the table the statement of the gateway used (auto_explain tells), and which the hand-written one.
"""

import itertools
import json
import pathlib
import random
import re
import statistics
import subprocess
import sys
import time

from support import postgres, wire

DATABASE = "bench"
NAME = "questions"
SCAN_NAME = "scanned"
VARIANTS = 20
KINDS, CITIES, TAGS, SKUS = 10, 100, 6000, 6000
# The gateway's connections tell their plans when auto_explain.log_min_duration is set.
SETTINGS = {"session_preload_libraries": "auto_explain"}
POLICY = {"indexingMode": "consistent", "includedPaths": [{"path": "/*"}], "excludedPaths": [],
          "spatialIndexes": [{"path": "/site/*", "types": ["Point"]}]}
GOAL = 1.3
GOAL_FROM_US = 1000
SLOW_S = 0.1  # wrk counts whole answers only; of slow ones a run might see none
RANGE_PATHS = ("amount", "name")
INDEX_WAIT_S = 60


def site(chooser):
    """A point of the globe's habitable half, to a metre."""
    return {"type": "Point", "coordinates": [round(chooser.uniform(-170, 170), 5), round(chooser.uniform(-58, 58), 5)]}


# The places of WGS-84 in metres from its centre: through the globe a hundred kilometres are a metre less.
CENTRED = """
cross join lateral (select radians({x}) as l, radians({y}) as f) {name}0
cross join lateral (select 6378137 / sqrt(1 - 0.00669437999014 * sin({name}0.f) ^ 2) as n) {name}1
cross join lateral (select {name}1.n * cos({name}0.f) * cos({name}0.l) as x, {name}1.n * cos({name}0.f) * sin({name}0.l) as y,
                           {name}1.n * (1 - 0.00669437999014) * sin({name}0.f) as z) {name}
"""


def document(number):
    """About 1 KB."""
    chooser = random.Random(number)
    found = {
        "id": str(number), "kind": f"kind{chooser.randrange(KINDS)}", "amount": chooser.randrange(10_000_000) / 100,
        "name": f"{chooser.randrange(1_000_000):06}-{number}", "city": f"city{chooser.randrange(CITIES)}",
        "place": {"street": {"code": f"s{number}"}, "at": [59.91, 10.75]}, "site": site(chooser),
        "tags": [f"t{chooser.randrange(TAGS)}" for _ in range(3)],
        "parts": [{"sku": f"p{chooser.randrange(SKUS)}", "count": chooser.randrange(100)} for _ in range(3)],
    }
    rest = 1010 - len(json.dumps(found))
    found["note"] = " ".join(f"{chooser.randrange(10 ** 9)}" for _ in range(rest // 9))[:rest]
    return json.dumps(found)


class Question:
    """One figure: its text, the SQL, and the values of each variant. `size` is the page's, `skipped` how many pages lie before."""

    def __init__(self, row, what, text, sql, values, size=1000, skipped=0):
        self.row, self.what, self.text, self.sql = row, what, text, sql
        self.values, self.size, self.skipped = values, size, skipped


def questions(items, range_id, count):
    """{table} of the SQL is filled in here; {v} is a variant's value, as a number or as text without quotes."""
    live = f"i.range_id = {range_id} and not i.deleted"
    rank_amount, key_amount = "orrery.value_rank(i.doc->'amount')", "orrery.value_key(i.doc->'amount')"
    amount = f"{rank_amount}, {key_amount}"
    number_key = "orrery.value_rank('{v}'::jsonb), orrery.value_key('{v}'::jsonb)"
    chooser = random.Random(2)
    pick = lambda what: [what() for _ in range(VARIANTS)]
    return [
        Question("query-point", "equality on a nested path", "SELECT * FROM c WHERE c.place.street.code = @v",
                 f"select i.body from {items} i where {live} and i.doc @> '{{{{\"place\":{{{{\"street\":{{{{\"code\":\"{{v}}\"}}}}}}}}}}}}'",
                 pick(lambda: f"s{chooser.randrange(count) + 1}")),
        Question("query-range", "range and ORDER BY, first 100", "SELECT * FROM c WHERE c.amount > @v ORDER BY c.amount",
                 f"select i.body from {items} i where {live} and {rank_amount} = orrery.value_rank('0') and "
                 f"{key_amount} > orrery.value_key('{{v}}') order by {amount}, i.rid limit 100",
                 pick(lambda: chooser.randrange(90_000)), size=100),
        Question("query-keyset", "a page of 100 in the middle of ORDER BY", "SELECT * FROM c ORDER BY c.amount",
                 f"select i.body from {items} i where {live} and ({amount}, i.rid) > ({number_key}, {{rid}}) "
                 f"order by {amount}, i.rid limit 100", [None], size=100, skipped=max(1, count // 10_000)),
        Question("query-array", "ARRAY_CONTAINS", "SELECT * FROM c WHERE ARRAY_CONTAINS(c.tags, @v)",
                 f"select i.body from {items} i where {live} and i.doc @> '{{{{\"tags\":[\"{{v}}\"]}}}}'",
                 pick(lambda: f"t{chooser.randrange(TAGS)}")),
        Question("query-like", "LIKE with a prefix", "SELECT * FROM c WHERE c.name LIKE '{v}%'",
                 f"select i.body from {items} i where {live} and orrery.value_rank(i.doc->'name') = orrery.value_rank('\"\"') and "
                 f"orrery.value_key(i.doc->'name') >= orrery.value_key('\"{{v}}\"') and "
                 f"orrery.value_key(i.doc->'name') < orrery.value_key('\"{{v}}~\"')",
                 pick(lambda: f"{chooser.randrange(1000):03}")),
        Question("query-count", "COUNT with a filter that a tenth passes", "SELECT VALUE COUNT(1) FROM c WHERE c.kind = @v",
                 f"select count(*) from {items} i where {live} and i.doc @> '{{{{\"kind\":\"{{v}}\"}}}}'",
                 pick(lambda: f"kind{chooser.randrange(KINDS)}")),
        Question("query-group", "GROUP BY with SUM, all items", "SELECT c.city, SUM(c.amount) AS total FROM c GROUP BY c.city",
                 f"select i.doc->'city', sum((i.doc->'amount')::float8) from {items} i where {live} group by 1", [None]),
        Question("query-join", "JOIN over an array with a filter",
                 "SELECT c.id, p.count FROM c JOIN p IN c.parts WHERE p.sku = @v",
                 f"select i.doc->'id', p->'count' from {items} i cross join jsonb_array_elements(i.doc->'parts') p "
                 f"where {live} and i.doc @> '{{{{\"parts\":[{{{{\"sku\":\"{{v}}\"}}}}]}}}}' and p->>'sku' = '{{v}}'",
                 pick(lambda: f"p{chooser.randrange(SKUS)}")),
        Question("query-near", "places within 100 km", "SELECT * FROM c WHERE ST_DISTANCE(c.site, @v) < 100000",
                 f"select i.body from {items} i "
                 + CENTRED.format(name="a", x="(i.doc->'site'->'coordinates'->0)::float8", y="(i.doc->'site'->'coordinates'->1)::float8")
                 + CENTRED.format(name="b", x="{v[coordinates][0]}", y="{v[coordinates][1]}")
                 + f"where {live} and orrery.globe_box(i.doc->'site', 1) && box("
                 "point({v[coordinates][0]} - 0.91 / cosd(abs({v[coordinates][1]}) + 0.91), {v[coordinates][1]} - 0.91), "
                 "point({v[coordinates][0]} + 0.91 / cosd(abs({v[coordinates][1]}) + 0.91), {v[coordinates][1]} + 0.91)) "
                 "and (a.x - b.x) ^ 2 + (a.y - b.y) ^ 2 + (a.z - b.z) ^ 2 < 99998.98 ^ 2",
                 pick(lambda: site(chooser))),
    ]


def body_of(question, value):
    text = question.text.replace("{v}", str(value))
    parameters = [{"name": "@v", "value": value}] if "@v" in text else []
    return json.dumps({"query": text, "parameters": parameters})


HEADERS = {"content-type": "application/query+json", "x-ms-documentdb-isquery": "True",
           "x-ms-documentdb-query-enablecrosspartition": "True"}


def page(client, name, body, size, token=None):
    headers = {**HEADERS, "x-ms-max-item-count": str(size)}
    if token:
        headers["x-ms-continuation"] = token
    answer = client.post(f"/dbs/{DATABASE}/colls/{name}/docs", body.encode(), headers=headers)
    if answer.status != 200:
        raise SystemExit(f"{answer.status} for {body}: {answer.body[:500]}")
    return answer.json["Documents"], answer.header("x-ms-continuation")


def pages(client, name, body, size, token=None):
    while True:
        rows, token = page(client, name, body, size, token)
        yield rows
        if not token:
            return


class Figures:
    def __init__(self, plan):
        self.plan, self.bench, self.options = plan, plan.bench, plan.options
        self.count = plan.options.query_items
        self.bench.container_create(NAME, indexingPolicy=POLICY)
        self.load()
        table, self.range_id = plan.table(NAME)
        self.items = f"orrery.{table}"
        self.questions = questions(self.items, self.range_id, self.count)

    def load(self):
        """One item through the gateway; the others are rows like its, copied into the table."""
        begin = time.monotonic()
        self.bench.load(NAME, 1, 1, document)
        table = f"orrery.{self.plan.table(NAME)[0]}"
        copied = self.bench.scratch / "items"
        with copied.open("w") as file:
            for number in range(2, self.count + 1):
                file.write(f"{number}\t{document(number)}\n")
        copied.chmod(0o644)
        self.bench.scratch.chmod(0o755)
        columns = columns_of(self.bench, table)
        self.bench.sql(f"""
            create unlogged table public.copied (n bigint, body text);
            copy public.copied from '{copied}';
            insert into {table} ({columns}, rid, pk, id, body, doc)
            select {columns}, i.rid + (n << 20), ('k' || n)::bytea, n::text, c.body, c.body::jsonb
            from (select * from {table}) i, public.copied c;
            drop table public.copied""")
        copied.unlink()
        print(f"# {self.count} items loaded in {time.monotonic() - begin:.0f} s", file=sys.stderr)

    def index(self):
        """The range indexes that the questions want: asked for, and waited for. What is not made for them is made here, for both sides."""
        client = self.bench.client
        for question in self.questions:
            page(client, NAME, body_of(question, question.values[0]), question.size)
        deadline = time.monotonic() + INDEX_WAIT_S
        made_here = []
        for path in RANGE_PATHS:
            while not self.has_index(path) and time.monotonic() < deadline:
                time.sleep(1)
            if not self.has_index(path):
                made_here.append(path)
                self.bench.sql(f"create index on {self.items} (range_id, orrery.value_rank(doc->'{path}'), "
                               f"orrery.value_key(doc->'{path}'), rid) where not deleted")
        if made_here:
            print(f"# no gateway made range indexes on {', '.join(made_here)}: made here", file=sys.stderr)
        self.bench.sql(f"vacuum analyze {self.items}")

    def has_index(self, path):
        found = self.bench.sql("select count(*) from pg_index where indisvalid and indrelid = "
                               f"'{self.items}'::regclass and pg_get_indexdef(indexrelid) like '%value\\_key((doc -> ''{path}''%'")
        return int(found) > 0

    def prepare(self, question):
        """Find the place of a page that is not the first; what the SQL needs to begin there."""
        question.token, place = None, {}
        if question.skipped:
            rows, token = [], None
            for _ in range(question.skipped):
                rows, token = page(self.bench.client, NAME, body_of(question, None), 1000, token)
            question.token = token
            rid = self.bench.sql(f"select rid from {self.items} where range_id = {self.range_id} and id = '{rows[-1]['id']}'")
            place = {"v": rows[-1]["amount"], "rid": rid}
        question.statements = [question.sql.format(**{"v": value, **place}) for value in question.values]

    def check(self, question):
        """The same number of rows on both sides; does wrk ask for them, or are they slow or of several pages?"""
        question.is_whole = True
        for value, statement in itertools.islice(zip(question.values, question.statements), 3):
            body = body_of(question, value)
            if question.size == 100:
                rows, _ = page(self.bench.client, NAME, body, question.size, question.token)
                count = len(rows)
            else:
                begin = time.monotonic()
                answers = list(pages(self.bench.client, NAME, body, question.size))
                question.is_whole &= len(answers) == 1 and time.monotonic() - begin < SLOW_S
                rows, count = answers[0], sum(map(len, answers))
            expected = int(self.bench.sql(f"select count(*) from ({statement}) x"))
            if count != expected:
                raise SystemExit(f"{question.row}: {count} rows from the gateway, {expected} from PostgreSQL: {body}")
            if question.row == "query-count" and rows[0] != int(self.bench.sql(statement)):
                raise SystemExit(f"{question.row}: {rows[0]} from the gateway")

    # Plans

    def ways(self, text):
        """How a plan comes to the items: "items_5_x1", or "seq"."""
        table = self.items.removeprefix("orrery.")
        found = set(re.findall(rf"(?:Index Scan using|Index Only Scan using|Index Scan Backward using|Bitmap Index Scan on) ({table}\w*)", text))
        return found | ({"seq"} if re.search(rf"Seq Scan on (?:orrery\.)?{table}\b", text) else set())

    def compare_plans(self, question):
        theirs = self.ways(self.bench.sql(f"explain {question.statements[0]}"))
        self.bench.sql("alter system set auto_explain.log_min_duration = 0")
        self.bench.sql("select pg_reload_conf()")
        time.sleep(0.3)
        begin = self.plan.server.log_path.stat().st_size
        page(self.bench.client, NAME, body_of(question, question.values[0]), question.size, question.token)
        time.sleep(0.1)
        log = self.plan.server.log_path.read_bytes()[begin:].decode(errors="replace")
        self.bench.sql("alter system reset auto_explain.log_min_duration")
        self.bench.sql("select pg_reload_conf()")
        # without what finds the items again by their rid
        primary = {f"{self.items.removeprefix('orrery.')}_rid"}
        ours = self.ways(log)
        question.plan = "same index" if theirs <= ours and ours - theirs <= primary else \
            f"plan: {', '.join(sorted(ours))}; by hand: {', '.join(sorted(theirs))}"

    # Runs; p50 in µs

    def ask(self, question):
        path = f"/dbs/{DATABASE}/colls/{NAME}/docs"
        if not question.is_whole:
            return self.ask_pages(question)
        pairs = {**wire.signed("POST", path), **HEADERS, "x-ms-max-item-count": str(question.size)}
        if question.token:
            pairs["x-ms-continuation"] = question.token
        table = "{" + ", ".join(f"['{name}']=[==[{value}]==]" for name, value in pairs.items()) + "}"
        bodies = ", ".join(f"[==[{body_of(question, value)}]==]" for value in question.values)
        return {"p50": self.bench.wrk(f"""
local headers, bodies, at = {table}, {{ {bodies} }}, 0
function request() at = at % #bodies + 1; return wrk.format('POST', '{path}', headers, bodies[at]) end
""", 1)["p50"]}

    def ask_pages(self, question):
        """An answer that is slow or of several pages: all of it, asked for from here."""
        times, begin = [], time.monotonic()
        while not times or time.monotonic() - begin < self.options.seconds:
            one = time.monotonic()
            for _ in pages(self.bench.client, NAME, body_of(question, question.values[len(times) % len(question.values)]), question.size):
                pass
            times.append((time.monotonic() - one) * 1e6)
        return {"p50": statistics.median(times)}

    def ask_by_hand(self, question):
        scratch = self.bench.scratch
        arguments = []
        for number, statement in enumerate(question.statements):
            script = scratch / f"hand{number}.sql"
            script.write_text(statement + ";\n")
            arguments += ["-f", script]
        subprocess.run([postgres.program("pgbench"), "-n", "-j1", "-c1", f"-T{self.options.seconds}", *arguments, "-l",
                        f"--log-prefix={scratch / 'hand'}", "-h", self.bench.server.directory, "-p", str(self.bench.server.port),
                        "-U", "orrery", self.bench.server.database], check=True, capture_output=True, text=True)
        times = []
        for log in scratch.glob("hand.*"):
            times += [int(line.split()[2]) for line in log.read_text().splitlines()]
            log.unlink()
        return {"p50": statistics.median(times)}

    def rows(self):
        cases = {}
        for question in self.questions:
            self.prepare(question)
            self.check(question)
            self.compare_plans(question)
            cases[f"{question.row}, gateway"] = lambda q=question: self.ask(q)
            cases[f"{question.row}, by hand"] = lambda q=question: self.ask_by_hand(q)
        found = self.bench.rounds(cases)
        rows = {}
        for question in self.questions:
            ours, theirs = found[f"{question.row}, gateway"]["p50"], found[f"{question.row}, by hand"]["p50"]
            ratio = ours / theirs
            is_met = ratio <= GOAL if theirs >= GOAL_FROM_US else None
            figure = f"{ratio:.2f} ({ours / 1000:.2f} ms : {theirs / 1000:.2f} ms), {question.plan}"
            rows[question.row] = (question.what, figure, f"≤ {GOAL} from 1 ms on", is_met)
        return rows


def measure_questions(plan):
    figures = Figures(plan)
    figures.index()
    return figures.rows()


def columns_of(bench, table):
    """Of items, but those in which they differ."""
    return bench.sql(f"select string_agg(quote_ident(attname), ', ') from pg_attribute where attnum > 0 and not attisdropped and "
                     f"attrelid = '{table}'::regclass and attname not in ('rid', 'pk', 'id', 'body', 'doc')")


# A query over many items, streamed

# The rows of one loaded item, as often as wanted: only their rids, ids and bodies differ.
COPIES = """
insert into {items} ({columns}, rid, pk, id, body, doc)
select {columns}, i.rid + (n::bigint << 20), ('k' || n)::bytea, n::text, x.body, x.body::jsonb
from (select * from {items} limit 1) i, generate_series(1, {count}) n,
     lateral (select jsonb_build_object('id', n::text, 'n', n, 'text', repeat(md5(n::text), 6))::text as body) x
"""


def measure_stream(plan):
    """The gateway's memory, grown by queries that see all items: one that PostgreSQL filters, one that only the evaluator computes."""
    bench, count = plan.open(), plan.options.scan_items
    path = f"/dbs/{DATABASE}/colls"
    answer = bench.client.post(path, {"id": SCAN_NAME, "partitionKey": {"paths": ["/id"], "kind": "Hash", "version": 2},
                                      "indexingPolicy": {"indexingMode": "none", "automatic": False}})
    assert answer.status == 201, answer.body
    assert bench.client.post(f"{path}/{SCAN_NAME}/docs", {"id": "0", "n": 0}, pk=["0"]).status == 201
    table, _ = plan.table(SCAN_NAME)
    columns = columns_of(bench, f"orrery.{table}")
    bench.sql(COPIES.format(items=f"orrery.{table}", columns=columns, count=count - 1))
    bench.sql(f"vacuum analyze orrery.{table}")
    rows = {}
    for row, what, text, size in (
            ("query-stream", "all items, in pages of 1,000", "SELECT * FROM c", 1000),
            ("query-stream-eval", "an aggregate that only the evaluator computes", "SELECT VALUE SUM(c.n % 7) FROM c", 1000)):
        fresh = plan.open()
        page(fresh.client, SCAN_NAME, json.dumps({"query": "SELECT TOP 1 * FROM c"}), 1)
        before = peak_mib(fresh.gateway.pid)
        begin = time.monotonic()
        seen = 0
        for got in pages(fresh.client, SCAN_NAME, json.dumps({"query": text}), size):
            seen += len(got)
        after = peak_mib(fresh.gateway.pid)
        if row == "query-stream" and seen != count:
            raise SystemExit(f"{seen} of {count} items came")
        rows[row] = (f"memory: a query over {count:,} items, {what}",
                     f"{before:.1f} → {after:.1f} MiB, {time.monotonic() - begin:.0f} s", "streams", after - before < 64)
        fresh.client.close()
    return rows


def peak_mib(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", status).group(1)) / 1024


def measure_compile(plan):
    """By a program that calls the compiler as the gateway does."""
    build = pathlib.Path(plan.options.program).parent
    subprocess.run(["ninja", "-C", build, "tests/query/bench_compile"], check=True, stdout=sys.stderr)
    runs = [json.loads(subprocess.run([build / "tests/query/bench_compile"], check=True, capture_output=True, text=True).stdout)
            for _ in range(3 * plan.options.rounds)]
    first, again = (statistics.median(run[name] for run in runs) / 1000 for name in ("first_ns", "again_ns"))
    size = runs[0]["bytes"]
    return {
        "query-compile": (f"compiling a query of {size} bytes, the first of a process", f"{first:.1f} µs", "–", None),
        "query-compile-again": ("the same, processor caches warm (the gateway keeps no compiled queries)", f"{again:.1f} µs",
                                "≤ 50 µs", again <= 50)}


def measurements():
    names = ["point", "range", "keyset", "array", "like", "count", "group", "join", "near"]
    return [
        (measure_compile, ["query-compile", "query-compile-again"]),
        (measure_questions, [f"query-{name}" for name in names]),
        (measure_stream, ["query-stream", "query-stream-eval"]),
    ]
