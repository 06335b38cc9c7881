#include "service/item_scan.h"

#include "base/clock.h"
#include "loop/pgvalue.h"
#include "service/item_target.h"
#include "store/sqlstate.h"

#include "base/banned.h"

/*
 * Rows up to the byte limit, each with how many there were before it was applied: more of them than
 * are returned means that the range has more, and so may as many as were asked for.
 */
static const char chunk_sql[] =
    "select r.epoch, r.state, r.vector, i.rid, i.etag, i.ts, i.body, i.found from orrery.ranges r "
    "left join lateral (select * from (select x.*, count(*) over () as found, "
    "    sum(octet_length(x.body)) over (order by x.rid) - octet_length(x.body) as before from ("
    "    select i.rid, i.etag, i.ts, i.body from orrery.items_%u i "
    "    where i.range_id = r.range_id and i.rid > $2 "
    "    and orrery.is_live(i.deleted, i.ts, i.ttl, r.default_ttl, $3)%s "
    "    order by i.rid limit $4) x) y where y.before < $5) i on true "
    "where r.range_id = $1 order by i.rid";

enum {
    CHUNK_EPOCH,
    CHUNK_STATE,
    CHUNK_VECTOR,
    CHUNK_RID,
    CHUNK_ETAG,
    CHUNK_TS,
    CHUNK_BODY,
    CHUNK_FOUND
};

static void free_chunk(void *object)
{
    pgio_result_finish(&((struct item_scan *) object)->chunk);
}

bool scan_init(struct item_scan *scan, struct op *op)
{
    if (!arena_defer(&op->arena, free_chunk, scan))
        return fault_set_oom(&op->fault);
    return store_run_init(&scan->run, op, STORE_READS);
}

bool scan_begin(struct item_scan *scan, struct call *call, const struct item_scope *scope,
                const struct consistency *consistency, struct sql *where, size_t range,
                uint64_t after)
{
    struct arena *arena = &call->op.arena;
    struct slice condition = sql_take(where);

    pgio_result_finish(&scan->chunk);
    scan->scope = scope;
    scan->consistency = consistency;
    scan->where = where;
    scan->range = range;
    scan->after = after;
    scan->row = scan->rows = 0;
    scan->items = scan->bytes = 0;
    scan->seen = arena_alloc(arena, (scope->end - scope->first) * sizeof(*scan->seen));
    if (scan->seen == NULL || slice_is_absent(condition))
        return fault_set_oom(&call->op.fault);
    scan->run.statement = (struct pgio_statement){
        .sql = arena_printf(arena, chunk_sql, call->container->number, condition.ptr)};
    return scan->run.statement.sql != NULL || fault_set_oom(&call->op.fault);
}

enum op_next scan_ask(struct item_scan *scan, struct call *call, unsigned rows_max, op_step *next)
{
    const struct container *container = call->container;
    struct pgparams *params = &scan->run.params;

    if (rows_max > SCAN_CHUNK_ROWS)
        rows_max = SCAN_CHUNK_ROWS;
    if (scan->scope->kind == ITEM_SCOPE_NOTHING)
        rows_max = 0;
    scan->rows_max = rows_max;
    pgparams_reset(params);
    pgparams_int8(params, pkrange_id(container->number, container->ranges[scan->range].index));
    pgparams_int8(params, (int64_t) scan->after);
    pgparams_int8(params, call->now_s);
    pgparams_int8(params, rows_max);
    pgparams_int8(params, SCAN_CHUNK_BYTES);
    store_params_sql(params, scan->where);
    scan->asked_us = clock_monotonic_us();
    return store_run_send(&call->service->store, &scan->run, next);
}

static bool check_session(struct item_scan *scan, struct call *call)
{
    struct scan_seen *seen = &scan->seen[scan->range - scan->scope->first];
    struct slice vector = pgio_value(&scan->chunk, 0, CHUNK_VECTOR);

    seen->is_read = true;
    seen->epoch = pgio_int8(&scan->chunk, 0, CHUNK_EPOCH);
    seen->vector_len = pgvalue_int8_array(vector, seen->vector, ARRAY_LEN(seen->vector));
    return consistency_check(scan->consistency, call, call->container->ranges[scan->range].index,
                             seen->epoch, vector);
}

enum scan_end scan_came(struct item_scan *scan, struct call *call)
{
    struct op *op = &call->op;

    scan->waited_us += clock_monotonic_us() - scan->asked_us;
    pgio_result_finish(&scan->chunk);
    if (op->result->outcome == PGIO_ERROR && sqlstate_class(op->result->sqlstate) == SQLSTATE_GONE)
        return SCAN_GONE;
    if (!store_check(op, STORE_READS))
        return SCAN_FAULT;
    pgio_take(op->result, &scan->chunk);
    scan->row = 0;
    scan->rows = pgio_row_count(&scan->chunk);
    if (scan->rows == 0 || !slice_equals_text(pgio_value(&scan->chunk, 0, CHUNK_STATE), "online"))
        return SCAN_GONE;
    if (!check_session(scan, call))
        return SCAN_FAULT;
    /* A range without items still tells its state. */
    if (pgio_is_null(&scan->chunk, 0, CHUNK_RID))
        scan->rows = 0;
    scan->is_cut = scan->rows > 0 && (pgio_int8(&scan->chunk, 0, CHUNK_FOUND) > scan->rows ||
                                      (unsigned) scan->rows >= scan->rows_max);
    return SCAN_CAME;
}

bool scan_next(struct item_scan *scan, struct scan_item *item)
{
    const struct pgio_result *chunk = &scan->chunk;

    if (scan->row >= scan->rows)
        return false;
    *item = (struct scan_item){
        .rid = (uint64_t) pgio_int8(chunk, scan->row, CHUNK_RID),
        .etag = (const uint8_t *) pgio_value(chunk, scan->row, CHUNK_ETAG).ptr,
        .ts = pgio_int8(chunk, scan->row, CHUNK_TS),
        .body = pgio_value(chunk, scan->row, CHUNK_BODY),
    };
    scan->row++;
    scan->after = item->rid;
    scan->items++;
    scan->bytes += item->body.len;
    return true;
}

/* The next range that is visited; false when there is none. */
static bool find_next(const struct item_scan *scan, size_t *range)
{
    const struct item_scope *scope = scan->scope;

    for (*range = scan->range + 1; *range < scope->end; (*range)++) {
        if (scope->visits == NULL || scope->visits[*range])
            return true;
    }
    return false;
}

bool scan_has_more(const struct item_scan *scan)
{
    size_t range;

    return scan->row < scan->rows || scan->is_cut || find_next(scan, &range);
}

bool scan_forward(struct item_scan *scan)
{
    size_t range;

    if (scan->is_cut)
        return true;
    if (!find_next(scan, &range))
        return false;
    scan->range = range;
    scan->after = 0;
    return true;
}

bool scan_reply(const struct item_scan *scan, struct call *call)
{
    const struct container *container = call->container;
    const struct item_scope *scope = scan->scope;
    struct buf tokens = {0};

    if (scope->end - scope->first == 1) {
        const struct scan_seen *seen = &scan->seen[0];
        item_target_reply(call, &container->ranges[scope->first], seen->epoch, seen->vector,
                          seen->vector_len);
        return true;
    }
    for (size_t i = scope->first; i < scope->end; i++) {
        const struct scan_seen *seen = &scan->seen[i - scope->first];
        if (!seen->is_read)
            continue;
        if (tokens.len > 0)
            buf_append_char(&tokens, ',');
        consistency_append(&tokens, call, container->ranges[i].index, seen->epoch, seen->vector,
                           seen->vector_len);
    }
    if (!tokens.has_failed)
        reply_header(&call->reply, "x-ms-session-token",
                     arena_copy(&call->op.arena, tokens.ptr, tokens.len));
    reply_header(&call->reply, "x-ms-alt-content-path", container->alt_path.ptr);
    reply_header(&call->reply, "x-ms-content-path", container->rid);
    bool is_whole = !tokens.has_failed;
    buf_finish(&tokens);
    return is_whole || fault_set_oom(&call->op.fault);
}
