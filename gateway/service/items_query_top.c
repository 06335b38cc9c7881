/*
 * ORDER BY where SQL cannot make the order: a page sees all rows and keeps the first beyond the
 * last page's. A continuation holds the position of its last row: sort values, range, rid, row.
 */
#include "query/sort_state.h"
#include "query/topk.h"
#include "service/items_query.h"

#include "base/banned.h"

/* Rows that one pass leaves out at most, for OFFSET. */
#define TOP_SKIP_MAX 10000

static void free_topk(void *object)
{
    struct items_query *self = object;

    topk_destroy(self->topk);
    self->topk = NULL;
}

/* Where the range with that index stands among those asked. */
static bool find_range(const struct items_query *self, struct call *call, uint32_t index,
                       uint32_t *position)
{
    for (size_t i = self->scope.first; i < self->scope.end; i++) {
        if (call->container->ranges[i].index == index) {
            *position = (uint32_t) i;
            return true;
        }
    }
    return fault_set(&call->op.fault, 410, SUB_PARTITION_KEY_RANGE_GONE,
                     "the partition key range is gone");
}

static bool top_begin_page(struct items_query *self, struct call *call,
                           const struct continuation *from)
{
    bool is_descending[TOPK_KEYS_MAX] = {false};
    struct sort_value values[TOPK_KEYS_MAX];
    struct topk_position after = {.values = values};
    struct topk_options options = {.bytes_max = QUERY_PAGE_BYTES,
                                   .is_distinct = self->query.is_distinct,
                                   .is_descending = is_descending};

    for (const struct ast_order *order = self->query.order_by; order != NULL; order = order->next)
        is_descending[options.key_count++] = order->is_descending;
    if (from != NULL) {
        if (!sort_state_read(from->state, values, options.key_count))
            return fault_set(&call->op.fault, 400, SUB_NONE, "the continuation is not complete");
        if (!find_range(self, call, from->range, &after.range))
            return false;
        after.rid = from->rid;
        after.row = from->row;
        options.after = &after;
    }
    options.limit = self->limit - self->count;
    if (self->take < options.limit)
        options.limit = (size_t) self->take;
    options.limit += self->skip < TOP_SKIP_MAX ? (size_t) self->skip : TOP_SKIP_MAX;
    options.limit++; /* a result that has no room says that there are more pages */
    topk_destroy(self->topk);
    self->topk = topk_create(&options, &call->op.fault);
    return self->topk != NULL &&
           (arena_defer(&call->op.arena, free_topk, self) || fault_set_oom(&call->op.fault));
}

/* What the row at hand is ordered by; how many values. */
static unsigned sort_values(struct items_query *self, struct sort_value values[TOPK_KEYS_MAX])
{
    unsigned count = 0;

    for (const struct ast_order *order = self->query.order_by; order != NULL; order = order->next)
        values[count++] = sort_value_of(eval_output(&self->eval, order->expression));
    return count;
}

/* Put sort values into a state of at most so many bytes. */
static bool keep_state(struct call *call, const struct sort_value *values, unsigned count,
                       size_t bytes_max, struct slice *state)
{
    struct buf bytes = {0};

    sort_state_append(&bytes, values, count, bytes_max);
    *state = slice_make(arena_copy(&call->op.arena, bytes.ptr, bytes.len), bytes.len);
    bool is_kept = !bytes.has_failed && state->ptr != NULL;
    buf_finish(&bytes);
    return is_kept || fault_set_oom(&call->op.fault);
}

bool query_order_state(struct items_query *self, struct call *call)
{
    struct sort_value values[TOPK_KEYS_MAX];
    unsigned count = sort_values(self, values);

    return !self->eval.has_failed && keep_state(call, values, count, SIZE_MAX, &self->from.state);
}

bool query_top_matches(struct items_query *self, struct call *call)
{
    struct sort_value values[TOPK_KEYS_MAX];
    unsigned count = sort_values(self, values);

    return !self->eval.has_failed && sort_state_matches(self->from.state, values, count) &&
           keep_state(call, values, count, SIZE_MAX, &self->from.state);
}

/* DISTINCT: equal results are one row, wherever they come from. */
static void distinguish(struct items_query *self, const cJSON *value,
                        struct topk_position *position)
{
    struct digest digest;

    digest_value(value, &digest);
    position->range = (uint32_t) self->scope.first;
    memcpy(&position->rid, digest.bytes, sizeof(position->rid));
    memcpy(&position->row, digest.bytes + sizeof(position->rid), sizeof(position->row));
}

static bool add_row(struct items_query *self, struct call *call,
                    const struct topk_position *position)
{
    struct buf payload = {0};

    bool is_taken = query_print_row(self, call, &payload);
    if (is_taken && payload.has_failed)
        is_taken = fault_set_oom(&call->op.fault);
    else if (is_taken && payload.len > 0)
        is_taken = topk_add(self->topk, position, buf_slice(&payload), &call->op.fault);
    buf_finish(&payload);
    return is_taken;
}

/* Are rows of the same sort values in the order of their items' rids? */
static bool rows_are_in_order(const struct items_query *self)
{
    return !self->query.is_distinct && self->scope.end - self->scope.first == 1;
}

static bool top_take(struct items_query *self, struct call *call)
{
    struct sort_value values[TOPK_KEYS_MAX];
    struct topk_position position = {.values = values,
                                     .range = (uint32_t) self->scan.range,
                                     .rid = self->item.rid,
                                     .row = self->row};

    sort_values(self, values);
    if (self->eval.has_failed)
        return false;
    if (!resume_passes(&self->resume, values, rows_are_in_order(self) ? &self->item.rid : NULL))
        return true;
    if (self->query.is_distinct) {
        const cJSON *value = rows_project(&self->rows);
        if (value == NULL)
            return !self->eval.has_failed;
        distinguish(self, value, &position);
    }
    return !topk_wants(self->topk, &position) || add_row(self, call, &position);
}

static bool keep_position(struct items_query *self, struct call *call,
                          const struct topk_position *position)
{
    self->to.range = call->container->ranges[position->range].index;
    self->to.rid = position->rid;
    self->to.row = position->row;
    return keep_state(call, position->values, self->query.order_count, SIZE_MAX, &self->to.state);
}

static bool top_finish_page(struct items_query *self, struct call *call)
{
    struct topk_position position;
    size_t at = 0, count;

    topk_finish(self->topk);
    count = topk_count(self->topk);
    for (; at < count && !self->is_full; at++) {
        struct slice row = topk_row(self->topk, at, &position);
        if (!query_skips(self) && !query_append_text(self, row))
            break;
    }
    self->has_more = at < count || topk_is_cut(self->topk);
    if (!self->has_more || at == 0)
        return true;
    topk_row(self->topk, at - 1, &position);
    return keep_position(self, call, &position);
}

const struct query_mode query_top_mode = {
    .kind = CONTINUATION_TOP,
    .begin = top_begin_page,
    .take = top_take,
    .finish = top_finish_page,
};
