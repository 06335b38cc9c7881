/*
 * GROUP BY, aggregates, DISTINCT in SQL: one statement gives the groups of all ranges, each with
 * what its rows add up to, and the page is made of these parts (query/groups.h) as it is of rows.
 *
 * There are at most PARTS_MAX of them, and no more than fit PARTS_BYTES: more are not held in
 * memory, but made of the rows that stream by, as are those of which SQL says that doubles would
 * overflow.
 */
#include "query/emit.h"
#include "query/groups.h"
#include "service/items_query.h"

#include "base/clock.h"
#include "loop/pgvalue.h"

#include "base/banned.h"

#define PARTS_MAX 10000
#define PARTS_BYTES (16u << 20)

/* The first range's row repeats for each part, so that every row tells the state of a range. */
static const char select_end[] =
    " from parts) select null::bigint, null::uuid, null::bigint, null::text, null::bigint, %s, "
    "g.epoch, g.state, g.vector, g.default_ttl, sized.found, sized.* from orrery.ranges g ";
static const char select_one[] = "left join sized on sized.bytes <= %u where g.range_id = $1";
static const char select_several[] =
    "join unnest($1) with ordinality o(range_id, n) on g.range_id = o.range_id "
    "left join sized on o.n = 1 and sized.bytes <= %u";

enum { COLUMN_FOUND = SCAN_MORE, COLUMN_INEXACT, COLUMN_KEYS };
enum { PART_COUNT, PART_SUM, PART_POISONED, PART_BEST, PART_COLUMNS };

static op_step parts_came;

static bool append_parts(struct items_query *self, struct call *call)
{
    struct emit emit = {.arena = &call->op.arena,
                        .container = &self->container,
                        .indexes = &call->container->indexes,
                        .now_us = self->eval.now_us};
    struct buf *text = &self->where.text;
    bool is_one = scan_is_one(&self->scope);

    item_scope_condition(&self->scope, &self->where);
    struct slice scope = sql_take(&self->where);
    char *from = arena_printf(&call->op.arena, "orrery.items_%u i", call->container->number);
    char *where = arena_printf(&call->op.arena, "i.range_id = %s" SCAN_IS_LIVE "%s",
                               is_one ? "$1" : "any($1)", slice_is_absent(scope) ? "" : scope.ptr);
    if (from == NULL || where == NULL)
        return false;
    self->parts.from = slice_from_text(from);
    self->parts.where = slice_from_text(where);
    buf_append_text(text, "with parts as materialized (");
    if (!emit_groups(&emit, &self->query, &self->parts, &self->where))
        return false;
    self->uses = emit.uses;
    buf_printf(text, " limit %d), sized as (select parts.*, count(*) over () as found, sum(0",
               PARTS_MAX + 1);
    for (unsigned i = 1; i <= self->parts.key_count; i++)
        buf_printf(text, " + coalesce(pg_column_size(k%u), 0)", i);
    for (unsigned i = 1; i <= self->parts.aggregate_count; i++)
        buf_printf(text, " + coalesce(pg_column_size(b%u), 0)", i);
    buf_append_text(text, ") over (rows unbounded preceding) as bytes");
    buf_printf(text, select_end, is_one ? "1::bigint" : "o.n");
    buf_printf(text, is_one ? select_one : select_several, PARTS_BYTES);
    return true;
}

bool query_parts_prepare(struct items_query *self, struct call *call)
{
    self->parts_sql = NULL;
    if (self->is_plain || self->is_streamed || self->stage_count > 0 || !self->needs_items)
        return true;
    buf_finish(&self->where.text);
    if (!sql_init(&self->where, &call->op.arena, SCAN_PARAMS))
        return fault_set_oom(&call->op.fault);
    if (append_parts(self, call)) {
        self->parts_sql = sql_take(&self->where).ptr;
        return sql_is_whole(&self->where) || fault_set_oom(&call->op.fault);
    }
    if (!sql_is_whole(&self->where))
        return fault_set_oom(&call->op.fault);
    /* The scan's filter was there; it has parameters of its own. */
    return query_begin_scan(self, call, self->scope.first, 0);
}

enum op_next query_parts(struct op *op)
{
    struct items_query *self = op_self(op, struct items_query);

    return scan_ask_all(&self->scan, call_of(op), self->parts_sql, 0, SCAN_CHUNK_ROWS, parts_came);
}

/* jsonb as a tree in the item's arena; NULL for SQL's NULL, and without memory. */
static const cJSON *json_of(struct items_query *self, int row, int column)
{
    struct slice value = pgio_value(&self->scan.chunk, row, column);

    if (slice_is_absent(value))
        return NULL;
    /* The first byte is the version of the format. */
    const cJSON *tree = json_tree(&self->arena, slice_make(value.ptr + 1, value.len - 1));
    return tree != NULL ? tree : eval_oom(&self->eval);
}

static double float8_of(const struct pgio_result *result, int row, int column)
{
    int64_t bits = pgvalue_int8(pgio_value(result, row, column));
    double number;

    memcpy(&number, &bits, sizeof(number));
    return number;
}

static void read_part(struct items_query *self, int row, int column, struct group_partial *part)
{
    const struct pgio_result *chunk = &self->scan.chunk;

    *part = (struct group_partial){.count = float8_of(chunk, row, column + PART_COUNT),
                                   .sum = float8_of(chunk, row, column + PART_SUM),
                                   .is_poisoned = pgio_bool(chunk, row, column + PART_POISONED),
                                   .best = json_of(self, row, column + PART_BEST)};
}

static bool merge_part(struct items_query *self, int row)
{
    unsigned keys = self->parts.key_count, aggregates = self->parts.aggregate_count;
    const cJSON *object;

    arena_reset(&self->arena);
    eval_item(&self->eval, NULL);
    const cJSON **columns = arena_alloc(&self->arena, (keys + 1) * sizeof(*columns));
    struct group_partial *parts = arena_alloc(&self->arena, (aggregates + 1) * sizeof(*parts));
    if (columns == NULL || parts == NULL)
        return eval_oom(&self->eval) != NULL;
    for (unsigned i = 0; i < keys; i++)
        columns[i] = json_of(self, row, COLUMN_KEYS + (int) i);
    for (unsigned i = 0; i < aggregates; i++)
        read_part(self, row, COLUMN_KEYS + (int) (keys + i * PART_COLUMNS), &parts[i]);
    if (self->eval.has_failed)
        return false;
    const cJSON *const *made = emit_groups_keys(&self->query, &self->eval, columns, &object);
    return made != NULL && groups_merge(self->groups, &self->eval, made, parts);
}

/* Did all parts come, and is each exact? */
static bool are_whole(const struct items_query *self)
{
    const struct pgio_result *chunk = &self->scan.chunk;
    int rows = pgio_row_count(chunk);
    int64_t parts = 0, found = 0;

    for (int row = 0; row < rows; row++) {
        if (pgio_is_null(chunk, row, COLUMN_INEXACT))
            continue;
        if (pgio_bool(chunk, row, COLUMN_INEXACT))
            return false;
        found = pgio_int8(chunk, row, COLUMN_FOUND);
        parts++;
    }
    return parts == found && found <= PARTS_MAX;
}

static enum op_next parts_came(struct op *op)
{
    struct items_query *self = op_self(op, struct items_query);
    struct call *call = call_of(op);
    int64_t since_us = clock_monotonic_us();

    switch (scan_came(&self->scan)) {
    case SCAN_GONE:
        return call_resolve_again(op, self->gone);
    case SCAN_REFUSED:
        return query_without_sql(op);
    case SCAN_FAULT:
        return OP_FAILED;
    case SCAN_CAME:
        break;
    }
    if (!are_whole(self)) {
        self->is_streamed = true;
        return op_again(op, self->begin);
    }
    for (int row = 0; row < pgio_row_count(&self->scan.chunk); row++) {
        if (!pgio_is_null(&self->scan.chunk, row, COLUMN_INEXACT) && !merge_part(self, row))
            return OP_FAILED;
    }
    self->eval_us += clock_monotonic_us() - since_us;
    return self->mode->finish(self, call) ? op_again(op, self->next) : OP_FAILED;
}
