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
                const struct consistency *consistency, struct slice condition,
                const struct sql *where, size_t range, uint64_t after)
{
    struct arena *arena = &call->op.arena;

    pgio_result_finish(&scan->chunk);
    scan->scope = scope;
    scan->consistency = consistency;
    scan->where = where;
    scan->range = range;
    scan->after = after;
    scan->row = scan->rows = 0;
    scan->items = scan->bytes = 0;
    scan->seen = arena_alloc(arena, (scope->end - scope->first) * sizeof(*scan->seen));
    if (scan->seen == NULL)
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

/* What a row says of its range: is it served, and has it seen what the token wants? */
static enum scan_end see_range(struct item_scan *scan, struct call *call, size_t position, int row)
{
    struct scan_seen *seen = &scan->seen[position - scan->scope->first];
    struct slice vector = pgio_value(&scan->chunk, row, SCAN_VECTOR);

    if (!store_range_is_served(pgio_value(&scan->chunk, row, SCAN_STATE)))
        return SCAN_GONE;
    seen->is_read = true;
    seen->epoch = pgio_int8(&scan->chunk, row, SCAN_EPOCH);
    seen->vector_len = pgvalue_int8_array(vector, seen->vector, ARRAY_LEN(seen->vector));
    return consistency_check(scan->consistency, call, call->container->ranges[position].index,
                             seen->epoch, vector)
               ? SCAN_CAME
               : SCAN_FAULT;
}

/* Data exceptions, syntax, limits of a program: compiled conditions mean to cause none of them. */
static bool cannot_compute(const char *sqlstate)
{
    static const char *const classes[] = {"22", "42", "54"};

    for (size_t i = 0; i < ARRAY_LEN(classes); i++) {
        if (strncmp(sqlstate, classes[i], 2) == 0)
            return true;
    }
    return false;
}

static enum scan_end take_chunk(struct item_scan *scan, struct call *call)
{
    struct op *op = &call->op;

    scan->waited_us += clock_monotonic_us() - scan->asked_us;
    pgio_result_finish(&scan->chunk);
    scan->row = scan->rows = 0;
    if (op->result->outcome == PGIO_ERROR && sqlstate_class(op->result->sqlstate) == SQLSTATE_GONE)
        return SCAN_GONE;
    if (op->result->outcome == PGIO_ERROR && cannot_compute(op->result->sqlstate))
        return SCAN_REFUSED;
    if (!store_check(op, STORE_READS))
        return SCAN_FAULT;
    pgio_take(op->result, &scan->chunk);
    return pgio_row_count(&scan->chunk) > 0 ? SCAN_CAME : SCAN_GONE;
}

/* Count the rows that are items. */
static void count_items(struct item_scan *scan)
{
    scan->rows = pgio_row_count(&scan->chunk);
    while (scan->rows > 0 && pgio_is_null(&scan->chunk, scan->rows - 1, SCAN_RID))
        scan->rows--;
    scan->is_cut = scan->rows > 0 && (pgio_int8(&scan->chunk, 0, SCAN_FOUND) > scan->rows ||
                                      (unsigned) scan->rows >= scan->rows_max);
}

enum scan_end scan_came(struct item_scan *scan, struct call *call)
{
    enum scan_end end = take_chunk(scan, call);

    if (end == SCAN_CAME)
        end = see_range(scan, call, scan->range, 0);
    if (end == SCAN_CAME)
        count_items(scan);
    return end;
}

/* ---- several ranges at once ---- */

static bool is_visited(const struct item_scope *scope, size_t position)
{
    return scope->visits == NULL || scope->visits[position];
}

enum op_next scan_ask_all(struct item_scan *scan, struct call *call, const char *statement,
                          int64_t free, unsigned rows_max, op_step *next)
{
    const struct container *container = call->container;
    struct pgparams *params = &scan->run.params;

    scan->rows_max = scan->scope->kind == ITEM_SCOPE_NOTHING ? 0 : rows_max;
    scan->run.statement = (struct pgio_statement){.sql = statement};
    pgparams_reset(params);
    pgparams_array_begin(params, PG_INT8_ARRAY);
    for (size_t i = scan->scope->first; i < scan->scope->end; i++) {
        if (is_visited(scan->scope, i) || i == scan->scope->first)
            pgparams_add_int8(params, pkrange_id(container->number, container->ranges[i].index));
    }
    pgparams_array_end(params);
    pgparams_int8(params, free);
    pgparams_int8(params, call->now_s);
    pgparams_int8(params, scan->rows_max);
    pgparams_int8(params, SCAN_CHUNK_BYTES);
    store_params_sql(params, scan->where);
    scan->asked_us = clock_monotonic_us();
    return store_run_send(&call->service->store, &scan->run, next);
}

size_t scan_position(const struct item_scan *scan, int64_t n)
{
    size_t position = scan->scope->first;

    while (--n > 0) {
        do
            position++;
        while (!is_visited(scan->scope, position));
    }
    return position;
}

/* How many elements $1 has. */
static size_t count_ranges(const struct item_scope *scope)
{
    size_t count = item_scope_visits(scope);

    return count + !is_visited(scope, scope->first);
}

enum scan_end scan_came_all(struct item_scan *scan, struct call *call)
{
    enum scan_end end = take_chunk(scan, call);
    size_t seen = 0, ranges = count_ranges(scan->scope);
    int64_t last = 0;

    /* Rows of one range mostly come together, and each range tells the same in all of them. */
    for (size_t i = scan->scope->first; i < scan->scope->end; i++)
        scan->seen[i - scan->scope->first].is_read = false;
    for (int row = 0; end == SCAN_CAME && row < pgio_row_count(&scan->chunk); row++) {
        int64_t n = pgio_int8(&scan->chunk, row, SCAN_RANGE);
        size_t position = n == last ? 0 : scan_position(scan, n);
        if (n == last || scan->seen[position - scan->scope->first].is_read)
            continue;
        last = n;
        seen++;
        end = see_range(scan, call, position, row);
    }
    if (end == SCAN_CAME && seen < ranges)
        return SCAN_GONE;
    if (end == SCAN_CAME)
        count_items(scan);
    return end;
}

bool scan_next(struct item_scan *scan, struct scan_item *item)
{
    const struct pgio_result *chunk = &scan->chunk;

    if (scan->row >= scan->rows)
        return false;
    *item = (struct scan_item){
        .rid = (uint64_t) pgio_int8(chunk, scan->row, SCAN_RID),
        .etag = (const uint8_t *) pgio_value(chunk, scan->row, SCAN_ETAG).ptr,
        .ts = pgio_int8(chunk, scan->row, SCAN_TS),
        .body = pgio_value(chunk, scan->row, SCAN_BODY),
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
        if (is_visited(scope, *range))
            return true;
    }
    return false;
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
