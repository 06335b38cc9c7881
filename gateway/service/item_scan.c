#include "service/item_scan.h"

#include "base/clock.h"
#include "loop/pgvalue.h"
#include "service/item_target.h"
#include "store/sqlstate.h"

#include <assert.h>

#include "base/banned.h"

/* As often as that a container's default time to live may change under a chunk. */
#define ASKED_AGAIN_MAX 3

static op_step chunk_came; /* was it asked for with the right time to live? */

/* ---- the statement ---- */

/* Bodies are sent while those before them are fewer bytes than wanted: a row without one tells that
 * there is more. */
static const char page_begin[] =
    "select y.rid, y.etag, y.ts, case when y.bytes - octet_length(y.body) < $5 then y.body end, "
    "y.at, %s, null::bigint, null::text, null::bigint[], null::integer%s%s from ("
    "select x.*, sum(octet_length(x.body)) over made as bytes, row_number() over made as at from (";
static const char page_end[] =
    ") x window made as (rows unbounded preceding)) y union all "
    "select null, null, null, null, null, %s, g.epoch, g.state, g.vector, g.default_ttl%s from "
    "orrery.ranges g%s";

void scan_append_page(struct buf *text, struct slice items, bool is_one, struct slice more)
{
    bool has_more = !slice_is_absent(more);

    buf_printf(text, page_begin, is_one ? "1::bigint" : "y.n", has_more ? ", " : "",
               has_more ? more.ptr : "");
    buf_append_slice(text, items);
    buf_printf(text, page_end, is_one ? "1" : "o.n", has_more ? ", null" : "",
               is_one ? " where g.range_id = $1"
                      : " join unnest($1) with ordinality o(range_id, n) on "
                        "g.range_id = o.range_id");
}

static const char items_sql[] =
    "select i.rid, i.etag, i.ts, i.body from orrery.items_%u i "
    "where i.range_id = $1 and i.rid > $2" SCAN_IS_LIVE "%s order by i.rid limit $4";

static const char *make_statement(struct call *call, struct slice condition)
{
    struct arena *arena = &call->op.arena;
    char *items = arena_printf(arena, items_sql, call->container->number, condition.ptr);
    struct buf text = {0};

    if (items == NULL)
        return NULL;
    scan_append_page(&text, slice_from_text(items), true, slice_make(NULL, 0));
    const char *made = text.has_failed ? NULL : arena_copy(arena, text.ptr, text.len);
    buf_finish(&text);
    return made;
}

/* ---- asking ---- */

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
                struct consistency *consistency, struct slice condition, const struct sql *where,
                size_t range, uint64_t after)
{
    struct arena *arena = &call->op.arena;

    pgio_result_finish(&scan->chunk);
    scan->scope = scope;
    scan->consistency = consistency;
    consistency->owner = scan;
    scan->where = where;
    scan->range = range;
    scan->after = after;
    scan->row = scan->rows = 0;
    scan->items = scan->bytes = 0;
    scan->seen = arena_alloc(arena, (scope->end - scope->first) * sizeof(*scan->seen));
    if (scan->seen == NULL)
        return fault_set_oom(&call->op.fault);
    scan->has_default_ttl = call->container->settings.has_default_ttl;
    scan->default_ttl = call->container->settings.default_ttl_s;
    scan->statement = make_statement(call, condition);
    return scan->statement != NULL || fault_set_oom(&call->op.fault);
}

static bool is_visited(const struct item_scope *scope, size_t position)
{
    return scope->visits == NULL || scope->visits[position];
}

bool scan_is_one(const struct item_scope *scope)
{
    return scope->end - scope->first == 1;
}

static void append_ranges(struct item_scan *scan, const struct container *container)
{
    struct pgparams *params = &scan->run.params;
    const struct item_scope *scope = scan->scope;

    pgparams_array_begin(params, PG_INT8_ARRAY);
    for (size_t i = scope->first; i < scope->end; i++) {
        if (is_visited(scope, i) || i == scope->first)
            pgparams_add_int8(params, pkrange_id(container->number, container->ranges[i].index));
    }
    pgparams_array_end(params);
}

static enum op_next ask(struct item_scan *scan, struct call *call)
{
    const struct container *container = call->container;
    struct pgparams *params = &scan->run.params;

    pgparams_reset(params);
    if (scan->is_all && !scan_is_one(scan->scope))
        append_ranges(scan, container);
    else
        pgparams_int8(params, pkrange_id(container->number, container->ranges[scan->range].index));
    pgparams_int8(params, scan->is_all ? scan->free : (int64_t) scan->after);
    pgparams_int8(params, call->now_s);
    pgparams_int8(params, scan->rows_max);
    pgparams_int8(params, SCAN_CHUNK_BYTES);
    if (scan->has_default_ttl)
        pgparams_int4(params, scan->default_ttl);
    else
        pgparams_null(params, PG_INT4);
    store_params_sql(params, scan->where);
    return store_run_send(&call->service->store, &scan->run, chunk_came);
}

static enum op_next ask_first(struct item_scan *scan, struct call *call, unsigned rows_max,
                              op_step *next)
{
    scan->rows_max = scan->scope->kind == ITEM_SCOPE_NOTHING ? 0 : rows_max;
    scan->next = next;
    scan->asked_again = 0;
    scan->asked_us = clock_monotonic_us();
    return ask(scan, call);
}

enum op_next scan_ask(struct item_scan *scan, struct call *call, unsigned rows_max, op_step *next)
{
    scan->is_all = false;
    scan->run.statement.sql = scan->statement;
    return ask_first(scan, call, rows_max < SCAN_CHUNK_ROWS ? rows_max : SCAN_CHUNK_ROWS, next);
}

enum op_next scan_ask_all(struct item_scan *scan, struct call *call, const char *statement,
                          int64_t free, unsigned rows_max, op_step *next)
{
    scan->is_all = true;
    scan->free = free;
    scan->run.statement.sql = statement;
    return ask_first(scan, call, rows_max, next);
}

/* Do the ranges have another default time to live than was sent? Then it is that one. */
static bool learn_default_ttl(struct item_scan *scan, const struct pgio_result *result)
{
    for (int row = pgio_row_count(result); row-- > 0;) {
        if (pgio_is_null(result, row, SCAN_STATE))
            continue;
        bool has_default = !pgio_is_null(result, row, SCAN_TTL);
        int32_t seconds = has_default ? pgio_int4(result, row, SCAN_TTL) : scan->default_ttl;
        if (has_default == scan->has_default_ttl && seconds == scan->default_ttl)
            return false;
        scan->has_default_ttl = has_default;
        scan->default_ttl = seconds;
        return true;
    }
    return false;
}

/* ---- what came ---- */

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
    switch (consistency_check(scan->consistency, call, &call->container->ranges[position],
                              seen->epoch, vector)) {
    case CONSISTENCY_MET:
        return SCAN_CAME;
    case CONSISTENCY_GONE:
        return SCAN_GONE;
    case CONSISTENCY_SETTLES:
        scan->settles = true;
        return SCAN_CAME;
    case CONSISTENCY_WAITS:
        scan->is_behind = true;
        break;
    case CONSISTENCY_FAULT:
        break;
    }
    return SCAN_FAULT;
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

/* Find the items among the rows, in their order. */
static void place_items(struct item_scan *scan)
{
    const struct pgio_result *chunk = &scan->chunk;
    int items = 0;

    for (int row = 0; row < pgio_row_count(chunk); row++) {
        if (pgio_is_null(chunk, row, SCAN_RID))
            continue;
        int64_t at = pgio_int8(chunk, row, SCAN_AT);
        assert(at >= 1 && at <= scan->rows_max);
        scan->places[at - 1] = (int16_t) row;
        items++;
    }
    while (scan->rows < items && !pgio_is_null(chunk, scan->places[scan->rows], SCAN_BODY))
        scan->rows++;
    scan->is_cut = items > 0 && (scan->rows < items || (unsigned) items >= scan->rows_max);
}

/* The row that tells of the range, where there is one; -1 when the range is gone. */
static int find_range(const struct pgio_result *chunk)
{
    int row = pgio_row_count(chunk) - 1;

    while (row >= 0 && pgio_is_null(chunk, row, SCAN_STATE))
        row--;
    return row;
}

static enum scan_end see_chunk(struct item_scan *scan, struct call *call)
{
    enum scan_end end = take_chunk(scan, call);
    int row = end == SCAN_CAME ? find_range(&scan->chunk) : -1;

    if (end == SCAN_CAME)
        end = row < 0 ? SCAN_GONE : see_range(scan, call, scan->range, row);
    if (end == SCAN_CAME)
        place_items(scan);
    return end;
}

/* ---- several ranges at once ---- */

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

static enum scan_end see_chunk_all(struct item_scan *scan, struct call *call)
{
    enum scan_end end = take_chunk(scan, call);
    size_t seen = 0, ranges = count_ranges(scan->scope);
    int64_t last = 0;

    /* Rows of one range come together, and each range tells the same in all of them. */
    for (size_t i = scan->scope->first; i < scan->scope->end; i++)
        scan->seen[i - scan->scope->first].is_read = false;
    for (int row = 0; end == SCAN_CAME && row < pgio_row_count(&scan->chunk); row++) {
        if (pgio_is_null(&scan->chunk, row, SCAN_STATE))
            continue;
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
        place_items(scan);
    return end;
}

/* ---- from the statement to who asked ---- */

static op_step range_settled;

/* The range that was waited for moved. */
static enum op_next ask_again(struct op *op)
{
    const struct consistency *consistency = op->waiting_for;

    return ask(consistency->owner, call_of(op));
}

/* Range by range: what came is committed, each as its snapshot had it. */
static enum op_next settle(struct item_scan *scan, struct op *op)
{
    const struct item_scope *scope = scan->scope;

    while (scope->first + scan->settled < scope->end) {
        size_t at = scan->settled++;
        const struct scan_seen *seen = &scan->seen[at];
        if (seen->is_read)
            return consistency_settle_range(scan->consistency, op,
                                            &call_of(op)->container->ranges[scope->first + at],
                                            seen->vector, seen->vector_len, range_settled);
    }
    return op_again(op, scan->next);
}

static enum op_next range_settled(struct op *op)
{
    const struct consistency *consistency = op->waiting_for;

    return settle(consistency->owner, op);
}

static enum op_next chunk_came(struct op *op)
{
    struct item_scan *scan =
        container_of((struct store_run *) op->waiting_for, struct item_scan, run);
    struct call *call = call_of(op);

    if (op->result->outcome == PGIO_ROWS && scan->asked_again < ASKED_AGAIN_MAX &&
        learn_default_ttl(scan, op->result)) {
        scan->asked_again++;
        return ask(scan, call);
    }
    scan->is_behind = scan->settles = false;
    scan->settled = 0;
    scan->came = scan->is_all ? see_chunk_all(scan, call) : see_chunk(scan, call);
    if (scan->is_behind)
        return consistency_wait(scan->consistency, op, ask_again);
    if (scan->came == SCAN_CAME && scan->settles)
        return settle(scan, op);
    /* A statement that was refused is still in op->result. */
    return scan->next(op);
}

enum scan_end scan_came(const struct item_scan *scan)
{
    return scan->came;
}

bool scan_next(struct item_scan *scan, struct scan_item *item)
{
    const struct pgio_result *chunk = &scan->chunk;

    if (scan->row >= scan->rows)
        return false;
    int row = scan_row(scan);
    *item = (struct scan_item){
        .rid = (uint64_t) pgio_int8(chunk, row, SCAN_RID),
        .etag = (const uint8_t *) pgio_value(chunk, row, SCAN_ETAG).ptr,
        .ts = pgio_int8(chunk, row, SCAN_TS),
        .body = pgio_value(chunk, row, SCAN_BODY),
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
        consistency_append(&tokens, call, &container->ranges[i], seen->epoch, seen->vector,
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
