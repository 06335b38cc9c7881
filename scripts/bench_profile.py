"""The tables of `scripts/bench profile`: where the processor time of an operation goes, and what a growth of items or containers adds.

Each case is one run of wrk under `perf record` with call stacks. A sample belongs to the first cause that one of its functions
names, from the innermost outwards: so the time of a write to the log of PostgreSQL is that of the log whoever asked for it, and the
kernel's time is that of the function that called it. A second table says the same by what was being done, whoever did
the work below. Shares become microseconds by the processor time per operation of the same run. Beside them stand the
counters of PostgreSQL and of the gateway for the run, per operation. Columns with a name of their own change one
condition each.

Static functions of PostgreSQL have no names without its debug symbols; those around them do. Needs `perf`, as root or with
kernel.perf_event_paranoid below 0.
"""

import collections
import contextlib
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

HZ = 299
STACK_BYTES = 16384
OTHER = "other"

# Innermost first: the first function of a stack that stands here decides.
CAUSES = {
    "log: fsync and write": "XLogFlush XLogWrite XLogBackgroundFlush issue_xlog_fsync pg_fsync pg_fdatasync",
    "log: page images": "pglz_compress",  # LZ4's, too, below XLogInsert
    "log: records": "XLogInsert XLogInsertRecord XLogRegisterData XLogRegisterBuffer XLogRegisterBufData XLogBeginInsert log_newpage_buffer",
    "pages: read in": "smgrread mdread FileRead PageIsVerifiedExtended smgrprefetch",
    "pages: write out": "FlushBuffer smgrwrite mdwrite FileWrite PageSetChecksumCopy ScheduleBufferTagForWriteback IssuePendingWritebacks"
                        " smgrextend mdextend CheckPointBuffers BufferSync SyncOneBuffer BgBufferSync ProcessSyncRequests smgrwriteback mdwriteback",
    "pages: find and pin": "ReadBuffer ReadBufferExtended ReadBufferWithoutRelcache ReleaseAndReadBuffer StrategyGetBuffer BufTableLookup"
                           " BufTableInsert LockBuffer ReleaseBuffer UnlockReleaseBuffer MarkBufferDirty RelationGetBufferForTuple"
                           " RecordPageWithFreeSpace GetPageWithFreeSpace RecordAndGetPageWithFreeSpace visibilitymap_pin visibilitymap_clear",
    "GIN: keys of a document": "gin_extract_jsonb_path gin_extract_jsonb ginExtractEntries",
    "GIN: pending list": "ginHeapTupleFastCollect ginHeapTupleFastInsert gininsert",
    "GIN: merge of the pending list": "ginInsertCleanup ginEntryInsert ginInsertItemPointers ginInsertBAEntries ginBeginBAScan ginGetBAEntry",
    "B-tree: insert": "btinsert _bt_doinsert _bt_bottomupdel_pass _bt_delitems_delete_check _bt_dedup_pass heap_index_delete_tuples",
    "B-tree: search": "btgettuple _bt_first _bt_search _bt_moveright _bt_compare _bt_next btrescan btbeginscan btendscan index_fetch_heap"
                      " check_exclusion_or_unique_constraint ExecCheckIndexConstraints",
    "rows: write": "heap_insert heap_update heap_multi_insert heap_lock_tuple heap_prepare_insert heap_page_prune heap_page_prune_opt"
                   " heap_fill_tuple heap_form_tuple PageIndexMultiDelete HeapTupleSatisfiesVisibility HeapTupleSatisfiesUpdate heap_hot_search_buffer",
    "rows: compress": "heap_toast_insert_or_update toast_compress_datum lz4_compress_datum LZ4_compress_default",
    "rows: decompress": "detoast_attr lz4_decompress_datum LZ4_decompress_safe pg_detoast_datum toast_decompress_datum detoast_attr_slice",
    "JSON: parse": "jsonb_in pg_parse_json JsonbValueToJsonb pushJsonbValue",
    "catalogue and caches": "RelationIdGetRelation RelationBuildPartitionDesc RelationGetPartitionDesc SearchSysCache1 SearchSysCache2"
                            " SearchSysCache3 SearchSysCache4 SearchCatCache1 SearchCatCache2 SearchCatCache3 SearchCatCache4 SearchCatCache"
                            " SearchCatCacheList systable_beginscan systable_getnext systable_endscan AcceptInvalidationMessages"
                            " RelationGetIndexList RelationGetIndexAttrBitmap RelationGetIndexExpressions RelationGetIndexPredicate"
                            " RelationInitIndexAccessInfo RelationCacheInvalidateEntry lookup_type_cache BuildIndexInfo stringToNode nodeRead"
                            " RelationGetPartitionQual RelationGetPartitionKey",
    "plan and compile": "plpgsql_compile plpgsql_yyparse standard_planner planner pg_plan_query pg_plan_queries parse_analyze_fixedparams"
                        " parse_analyze_varparams parse_analyze_withcb raw_parser pg_analyze_and_rewrite_withcb QueryRewrite SPI_prepare_extended"
                        " SPI_prepare_params BuildCachedPlan CompleteCachedPlan CreateCachedPlan pg_analyze_and_rewrite_varparams"
                        " do_compile inline_set_returning_functions eval_const_expressions",
    "locks": "LockAcquireExtended LockRelease LockReleaseAll LockAcquire LockRelationOid UnlockRelationOid LockTuple XactLockTableWait ProcSleep"
             " SetupLockInTable RemoveLocalLock",
    "transaction: begin and end": "GetSnapshotData CommitTransactionCommand StartTransactionCommand ProcArrayEndTransaction GetNewTransactionId"
                                  " AtEOXact_Snapshot ResourceOwnerRelease AtEOXact_PgStat pgstat_report_stat XactLogCommitRecord"
                                  " TransactionIdCommitTree AtEOXact_RelationCache",
    "executor: set up and end": "standard_ExecutorStart standard_ExecutorEnd ExecInitNode ExecEndNode ExecOpenIndices ExecCloseIndices"
                                " ExecInitExpr ExecInitQual CreateExprContext FreeExecutorState CreateExecutorState ExecutorStart ExecutorEnd"
                                " GetCachedPlan ReleaseCachedPlan ExecInitPartitionInfo ExecFindPartition ExecSetupPartitionTupleRouting",
    "executor and functions: run": "standard_ExecutorRun plpgsql_exec_function plpgsql_call_handler SPI_execute_plan_with_paramlist"
                                   " ExecMakeTableFunctionResult ExecInterpExpr fmgr_sql PortalRun",
    "connection: messages, waits": "PostgresMain secure_read secure_write WaitEventSetWait pq_getbyte pq_getmessage socket_flush internal_flush"
                                   " ReadyForQuery WaitLatch WaitLatchOrSocket exec_bind_message",
    "upkeep processes": "CheckpointerMain BackgroundWriterMain WalWriterMain PgArchiverMain",
}
# By what was being done: a sample counts for each of them that has a function in its stack.
WORK = {
    "whole log (records, images, fsync)": "XLogInsert XLogFlush XLogWrite XLogBackgroundFlush",
    "GIN, all below it": "gininsert ginHeapTupleFastInsert ginInsertCleanup ginHeapTupleFastCollect",
    "B-tree inserts, all below them": "btinsert",
    "lookups by index, all below them": "btgettuple ExecCheckIndexConstraints",
    "rows written, all below them": "heap_insert heap_update heap_multi_insert",
    "planning and compiling, all below": "plpgsql_compile BuildCachedPlan SPI_prepare_extended standard_planner CompleteCachedPlan",
    "executor set up and ended, all below": "standard_ExecutorStart standard_ExecutorEnd",
    "vacuum by the backends (pruning)": "heap_page_prune_opt",
}
# Of the gateway: the file that the innermost function is from.
PLACES = {"[kernel": "kernel", "[guest.kernel": "kernel", "libc.so": "libc", "libmicrohttpd": "libmicrohttpd", "libpq": "libpq", "libnettle": "nettle",
          "libgnutls": "gnutls", "libhogweed": "nettle", "libcjson": "cJSON", "orrery": "its own code"}


def index(table):
    return {name: cause for cause, names in table.items() for name in names.split()}


CAUSE_OF, WORK_OF = index(CAUSES), {}
for _work, _names in WORK.items():
    for _name in _names.split():
        WORK_OF.setdefault(_name, []).append(_work)


def samples(path):
    """(pid, frames innermost first, the file of the innermost) of each sample."""
    script = subprocess.Popen(["perf", "script", "--no-inline", "-i", path, "-F", "pid,ip,sym,dso"], stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, text=True, errors="replace")
    pid, frames, place = None, [], ""
    for line in script.stdout:
        if not line.strip():
            if pid is not None:
                yield pid, frames, place
            pid, frames, place = None, [], ""
        elif pid is None:
            pid = int(line.split()[0])
        else:
            parts = line.split(None, 2)
            if not frames:
                place = line.rsplit("(", 1)[-1]
            frames.append(parts[1].split("+")[0])
    script.wait()


def cause(frames):
    has_log = "XLogInsert" in frames
    for frame in frames:
        if frame.startswith("LZ4_") and "compress" in frame and has_log and "heap_toast_insert_or_update" not in frames:
            return "log: page images"
        found = CAUSE_OF.get(frame)
        if found:
            return found
    return OTHER


class Profiler:
    """Runs a case and says what its operations cost, by cause."""

    def __init__(self, plan, bench=None):
        self.plan, self.bench = plan, bench or plan.bench
        self.bench.sql("create extension if not exists pg_walinspect")

    def processes(self):
        server = self.bench.server.process.pid
        children = pathlib.Path(f"/proc/{server}/task/{server}/children").read_text().split()
        return [int(pid) for pid in children if "autovacuum worker" not in process_title(pid)]

    def counters(self):
        """Of everything since the start; what backends have not told yet they tell after a second, with their next transaction."""
        time.sleep(1.2)
        for _ in range(4):
            for name in self.touched:
                answer = self.bench.client.get(f"/dbs/bench/colls/{name}/docs/1", pk=["1"])
                assert answer.status in (200, 404)
        text = self.bench.sql(
            "select json_build_object('lsn', pg_current_wal_insert_lsn(), 'transactions', d.xact_commit, 'read', d.blks_read, 'hit', d.blks_hit,"
            " 'syncs', w.wal_sync, 'full', w.wal_buffers_full, 'written out', b.buffers_backend, 'checkpointed', b.buffers_checkpoint,"
            " 'cleaned', b.buffers_clean, 'checkpoints', b.checkpoints_timed + b.checkpoints_req,"
            " 'updates', t.updates, 'hot', t.hot, 'vacuums', t.vacuums)"
            " from pg_stat_database d, pg_stat_wal w, pg_stat_bgwriter b,"
            " (select sum(n_tup_upd) as updates, sum(n_tup_hot_upd) as hot, sum(autovacuum_count) as vacuums from pg_stat_user_tables"
            "  where relname ~ '^items_[1-9]') t where d.datname = current_database()")
        found = json.loads(text)
        metrics = self.bench.client.get("/metrics").body.decode()
        for name in ("write_batches_total", "write_operations_total"):
            found[name] = float(re.search(rf"^\S*{name}\S* ([\d.e+]+)$", metrics, re.M).group(1))
        return found

    def log(self, first, last):
        """Records of the log between two positions: count, bytes and bytes of page images by resource manager."""
        if first == last:
            return []
        lines = self.bench.sql(
            'select "resource_manager/record_type", count, record_size, fpi_size from '
            f"pg_get_wal_stats('{first}', '{last}') where count > 0").splitlines()
        return [(name, int(count), int(size), int(images))
                for name, count, size, images in (line.split("|") for line in lines)]

    def record(self, path):
        """perf on all processes of the gateway and of PostgreSQL, but those that come and go."""
        pids = set(self.processes())
        time.sleep(0.5)
        pids = [self.bench.gateway.pid, *pids.intersection(self.processes())]
        perf = subprocess.Popen(
            ["perf", "record", "-F", str(HZ), "--call-graph", f"dwarf,{STACK_BYTES}", "-o", path, "-p",
             ",".join(map(str, pids))], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        time.sleep(0.5)  # until it counts
        return perf

    def run(self, script, connections, names):
        self.touched = names[:8]
        before = self.counters()
        path = str(self.bench.scratch / "perf.data")
        perf = self.record(path)
        first = self.bench.sql("select pg_current_wal_insert_lsn()")
        found = self.bench.wrk(script, connections)
        last = self.bench.sql("select pg_current_wal_insert_lsn()")
        perf.send_signal(signal.SIGINT)
        said = perf.communicate()[1]
        if not os.path.exists(path):
            raise SystemExit(f"perf record: {said}")
        after = self.counters()
        operations = found["requests"]
        result = {"operations": operations, "rate": found["rate"], "gateway_us": found["gateway_us"], "database_us": found["cpu_us"] - found["gateway_us"]}
        result["causes"], result["work"], result["gateway"] = self.shares(path, result)
        result["counters"] = self.per_operation(before, after, first, last, operations)
        os.unlink(path)
        return result

    def shares(self, path, result):
        causes, work, inside, gateway = (collections.Counter() for _ in range(4))
        total = of_gateway = 0
        for pid, frames, place in samples(path):
            where = next((name for part, name in PLACES.items() if part in place), OTHER)
            if pid == self.bench.gateway.pid:
                of_gateway += 1
                gateway[where] += 1
                gateway["clearing memory (in libc)"] += bool(frames) and "memset" in frames[0]
                continue
            is_kernel = where == "kernel"
            total += 1
            found = cause(frames)
            causes[found] += 1
            inside[found] += is_kernel
            for name in {one for frame in frames for one in WORK_OF.get(frame, ())}:
                work[name] += 1
            work["in the kernel, whoever asked"] += is_kernel
        scale = result["database_us"] / max(total, 1)
        result["samples"] = total
        return ({name: (count * scale, inside[name] * scale) for name, count in causes.items()},
                {name: count * scale for name, count in work.items()},
                {name: count / max(of_gateway, 1) * result["gateway_us"] for name, count in gateway.items()})

    def per_operation(self, before, after, first, last, operations):
        grown = {name: after[name] - before[name] for name in before if name != "lsn"}
        records = self.log(first, last)
        by_manager = {name: (count / operations, (size + images) / operations) for name, count, size, images in records}
        found = {
            "operations per batch": grown["write_operations_total"] / max(grown["write_batches_total"], 1),
            "transactions": grown["transactions"] / operations,
            "fsyncs of the log": grown["syncs"] / operations,
            "log: bytes": sum(size + images for _, _, size, images in records) / operations,
            "log: of it page images": sum(images for *_, images in records) / operations,
            "log: records": sum(count for _, count, _, _ in records) / operations,
            "pages: hits": grown["hit"] / operations,
            "pages: read in": grown["read"] / operations,
            "pages: written out by backends": grown["written out"] / operations,
            "pages: written out by others": (grown["checkpointed"] + grown["cleaned"]) / operations,
            "updates on the page (HOT), share": grown["hot"] / max(grown["updates"], 1),
        }
        for name in ("Heap", "Heap2", "Btree", "Gin"):
            found[f"log: records of {name}"] = by_manager.get(name, (0, 0))[0]
        for name in ("checkpoints", "vacuums"):
            found[f"{name} in the run"] = grown[name]
        return found


def process_title(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/cmdline").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def table(cases, what):
    """Cases side by side, first the costs by cause, then by work, then the counters."""
    names = list(cases)
    lines = [f"**{what}**", "", "| µs of processor time per operation | " + " | ".join(names) + " |", "|---|" + "--:|" * len(names)]

    def row(name, values, form):
        lines.append(f"| {name} | " + " | ".join(form.format(value) for value in values) + " |")

    found = cases.values()
    row("gateway", [one["gateway_us"] for one in found], "{:.0f}")
    row("**PostgreSQL**", [one["database_us"] for one in found], "**{:.0f}**")
    for cause_name in [*CAUSES, OTHER]:
        values = [one["causes"].get(cause_name, (0, 0)) for one in found]
        if max(value for value, _ in values) >= 0.5:
            lines.append(f"| {cause_name} | " + " | ".join(
                f"{value:.1f}" + (f" ({kernel:.1f} k)" if kernel >= 0.1 * value and kernel >= 0.5 else "") for value, kernel in values) + " |")
    lines += ["", "| the gateway, by place | " + " | ".join(names) + " |", "|---|" + "--:|" * len(names)]
    for place in [*dict.fromkeys(PLACES.values()), OTHER, "clearing memory (in libc)"]:
        values = [one["gateway"].get(place, 0) for one in found]
        if max(values) >= 0.5:
            row(place, values, "{:.1f}")
    lines += ["", "| by work | " + " | ".join(names) + " |", "|---|" + "--:|" * len(names)]
    for work in [*WORK, "in the kernel, whoever asked"]:
        row(work, [one["work"].get(work, 0) for one in found], "{:.1f}")
    lines += ["", "| counted per operation | " + " | ".join(names) + " |", "|---|" + "--:|" * len(names)]
    for counter in next(iter(found))["counters"]:
        row(counter, [one["counters"][counter] for one in found], "{:.2f}" if "bytes" not in counter and "images" not in counter else "{:.0f}")
    row("operations", [one["operations"] for one in found], "{}")
    row("samples of PostgreSQL", [one["samples"] for one in found], "{}")
    return "\n".join(lines)


# The profiles. Each gives a heading and its cases.


def profile_items(profiler, options, bench):
    """Upserts of random items of a container of 10,000, and of a large one."""
    plan, small, large = profiler.plan, min(10_000, options.items), options.items
    for name, items in (("few", small), ("reads", large)):
        plan.container(name, items)
    cases = {}

    def measure(case, name, items, before=""):
        script = bench.upserts_of([name], items)
        plan.bench.wrk(script, 64)  # what was changed before is not part of it
        if before:
            plan.bench.sql(before)
        cases[case] = profiler.run(script, 64, [name])

    measure(f"{small:,}", "few", small)
    measure(f"{large:,}", "reads", large)
    measure(f"{small:,} after a checkpoint", "few", small, "checkpoint")
    measure(f"{large:,} after a checkpoint", "reads", large, "checkpoint")
    with plan.altered(full_page_writes="off"):
        measure(f"{large:,}, no page images", "reads", large)
    with plan.altered(wal_compression="pglz" if plan.bench.sql("show wal_compression") == "lz4" else "lz4"):
        measure(f"{large:,}, images by {plan.bench.sql('show wal_compression')}", "reads", large, "checkpoint")
    with plan.altered(autovacuum="off"):
        measure(f"{large:,}, no autovacuum", "reads", large)
    with plan.altered(restart=True, shared_buffers="8GB"):
        plan.bench.sql("create extension if not exists pg_prewarm")
        plan.bench.sql(f"select sum(pg_prewarm(c.oid)) from pg_class c where c.relname ~ '^{plan.table('reads')[0]}(_|$)' and c.relkind in ('r', 'i')")
        measure(f"{large:,}, all in shared_buffers", "reads", large)
        with plan.altered(full_page_writes="off"):
            measure(f"{large:,}, all in shared_buffers, no page images", "reads", large)
    items = plan.table("reads")[0]
    plan.bench.sql(f"drop index orrery.{items}_x1")  # nothing is measured on it after this
    measure(f"{large:,}, no GIN", "reads", large)
    few = plan.table("few")[0]
    plan.bench.sql(f"drop index orrery.{few}_x1")
    measure(f"{small:,}, no GIN", "few", small)
    return {f"CPU per upsert, {small:,} → {large:,} items, 64 connections": cases}


def profile_containers(profiler, options, bench):
    """Reads and upserts of one container and of many, with 64 connections and with one."""
    plan, small = profiler.plan, min(10_000, options.items)
    plan.container("few", small)
    names = plan.containers(max(options.containers))
    found = {}
    before, pause_s = plan.bench.backend_cpu_s(), 10
    time.sleep(pause_s)
    idle = (plan.bench.backend_cpu_s() - before) / pause_s
    print(f"# PostgreSQL without requests, {len(names)} containers: {idle * 1000:.1f} ms of processor time a second", file=sys.stderr)
    scripts = {
        "read": (lambda: bench.reads("few", small),
                 lambda: bench.reads_of([(bench.random.choice(names), bench.random.randint(1, 100)) for _ in range(bench.KEYS)])),
        "upsert": (lambda: bench.upserts_of(["few"], small), lambda: bench.upserts_of(names, 100)),
    }
    for work, (one, many) in scripts.items():
        for connections in (64, 1):
            cases = {}
            plan.bench.wrk(one(), connections)
            cases["1"] = profiler.run(one(), connections, ["few"])
            cases[f"{len(names):,}, first run"] = profiler.run(many(), connections, names)
            for _ in range(3):
                plan.bench.wrk(many(), connections)
            cases[f"{len(names):,}"] = profiler.run(many(), connections, names)
            if work == "upsert":
                with plan.altered(full_page_writes="off"):
                    cases[f"{len(names):,}, no page images"] = profiler.run(many(), connections, names)
            if work == "upsert" and connections > 1:
                for width in (1, 8):
                    other = Profiler(plan, plan.open("--write-connections", str(width)))
                    for _ in range(2 * width if width > 1 else 3):
                        other.bench.wrk(many(), connections)
                    cases[f"{len(names):,}, write-connections {width}"] = other.run(many(), connections, names)
            found[f"CPU per {work}, 1 → {len(names):,} containers, {connections} connection" + "s" * (connections > 1)] = cases
    return found


def profile_reads(profiler, options, bench):
    """Point reads of one container with 64 connections."""
    plan, small = profiler.plan, min(10_000, options.items)
    plan.container("few", small)
    plan.bench.wrk(bench.reads("few", small), 64)
    return {"CPU per point read": {f"{connections} connections": profiler.run(bench.reads("few", small), connections, ["few"])
                                   for connections in (64, 16, 1)}}


def profiles():
    return {"read": profile_reads, "containers": profile_containers, "items": profile_items}


def measure(plan, options, bench):
    profiler = Profiler(plan)
    for name, profile in profiles().items():
        if re.search(options.only, name):
            for what, cases in profile(profiler, options, bench).items():
                yield table(cases, what)
