/*
 * SELECT … FROM (SELECT DISTINCT … FROM c) x: the results of the inner query are gathered over all
 * items first, then the rows of each are made, in the order of their digests. A continuation of the
 * outer query counts those results as if they were items: an inner query gives the same ones again
 * in the same order, as long as nobody writes.
 *
 * The results that are gathered stay in memory, up to QUERY_GROUPS_BYTES_MAX; more are a fault.
 */
#include "query/groups.h"
#include "service/items_query.h"

#include "base/clock.h"

#include "base/banned.h"

static op_step stages_work; /* hand on results of a stage, in pieces */

static bool gathers(const struct ast_query *query)
{
    return query->is_aggregate || query->is_distinct;
}

static void free_stages(void *object)
{
    struct items_query *self = object;

    for (size_t i = 0; i < self->stage_count; i++)
        groups_destroy(self->stages[i].groups);
    self->stage_count = 0;
}

bool query_stages_init(struct items_query *self, struct call *call)
{
    const struct ast_query *query = &self->query;
    size_t count = 1;

    self->stage_count = 0;
    self->needs_items = rows_need_items(query);
    if (!rows_are_staged(query))
        return true;
    for (; rows_are_staged(query); query = query->sources->query)
        count++;
    self->stages = arena_alloc(&call->op.arena, count * sizeof(*self->stages));
    if (self->stages == NULL || !arena_defer(&call->op.arena, free_stages, self))
        return fault_set_oom(&call->op.fault);
    query = &self->query;
    for (; self->stage_count < count; query = query->sources->query)
        self->stages[self->stage_count++].query = query;
    return true;
}

bool query_stages_begin(struct items_query *self, struct call *call)
{
    const struct groups_options options = {.limit = SIZE_MAX, .bytes_max = QUERY_GROUPS_BYTES_MAX};

    if (self->stage_count == 0)
        return true;
    self->stage_after = self->scan.after;
    self->scan.after = 0;
    for (size_t i = 1; i < self->stage_count; i++) {
        struct query_stage *stage = &self->stages[i];
        groups_destroy(stage->groups);
        stage->groups = NULL;
        if (!gathers(stage->query))
            continue;
        stage->groups = groups_create(stage->query, &options, &call->op.fault);
        if (stage->groups == NULL)
            return false;
    }
    return true;
}

bool query_take(struct items_query *self, struct call *call)
{
    if (self->stage_count == 0)
        return self->mode->take(self, call);
    return groups_add(self->stages[self->stage_count - 1].groups, &self->eval);
}

static bool check_whole(struct items_query *self, struct call *call)
{
    if (!groups_are_cut(self->stages[self->stage].groups))
        return true;
    return fault_set(&call->op.fault, 400, SUB_NONE,
                     "the results of the query in FROM need more than %u bytes of memory",
                     QUERY_GROUPS_BYTES_MAX);
}

/* Put in order what a stage has gathered. */
static bool begin_stage(struct items_query *self, struct call *call, size_t stage)
{
    self->stage = stage;
    self->stage_at = 0;
    arena_reset(&self->arena);
    eval_item(&self->eval, NULL);
    return groups_finish(self->stages[stage].groups, &self->eval) && check_whole(self, call);
}

/* A row of the statement itself. False when the page is full, and for a fault. */
static bool take_row(struct items_query *self, struct call *call, const struct rows *rows)
{
    self->rows = *rows;
    if (!self->mode->take(self, call)) {
        self->is_in_item = true;
        return false;
    }
    self->row++;
    return !self->is_full;
}

/*
 * Make the rows of a stage out of one result of the stage behind it. False when the page is full
 * (is_in_item tells whether rows are left), and for a fault.
 */
static bool feed(struct items_query *self, struct call *call, size_t stage, const cJSON *value)
{
    const struct query_stage *to = &self->stages[stage];
    struct rows rows;

    if (!rows_begin_at(&rows, &self->eval, to->query, value))
        return false;
    while (rows_next(&rows)) {
        bool goes_on = true;
        if (stage == 0) {
            goes_on = take_row(self, call, &rows);
        } else if (to->groups != NULL) {
            goes_on = groups_add(to->groups, &self->eval);
        } else {
            const cJSON *result = rows_project(&rows);
            goes_on = result == NULL || feed(self, call, stage - 1, result);
        }
        if (!goes_on)
            return false;
    }
    return !self->eval.has_failed;
}

/* The next stage in front of this one that gathers; 0 for the statement. */
static size_t stage_in_front(const struct items_query *self)
{
    size_t stage = self->stage;

    while (--stage > 0 && self->stages[stage].groups == NULL)
        ;
    return stage;
}

/* Hand on the next result. False when the page is full, and for a fault. */
static bool hand_on(struct items_query *self, struct call *call)
{
    struct groups *groups = self->stages[self->stage].groups;
    size_t at = self->stage_at++;

    if (stage_in_front(self) == 0) {
        if (at < self->stage_after)
            return true;
        self->item = (struct scan_item){.rid = at + 1};
        self->scan.after = at + 1;
        self->row = 0;
        self->is_in_item = false;
    }
    arena_reset(&self->arena);
    eval_item(&self->eval, NULL);
    const cJSON *value = groups_project(groups, &self->eval, at);
    if (value == NULL)
        return !self->eval.has_failed;
    return feed(self, call, self->stage - 1, value);
}

static enum op_next finish(struct op *op, bool has_more)
{
    struct items_query *self = op_self(op, struct items_query);

    self->has_more = has_more;
    return self->mode->finish(self, call_of(op)) ? op_again(op, self->next) : OP_FAILED;
}

enum op_next query_stages(struct op *op)
{
    struct items_query *self = op_self(op, struct items_query);

    self->scan.range = self->scope.first;
    if (!begin_stage(self, call_of(op), self->stage_count - 1))
        return OP_FAILED;
    return op_again(op, stages_work);
}

static enum op_next stages_work(struct op *op)
{
    struct items_query *self = op_self(op, struct items_query);
    struct call *call = call_of(op);
    int64_t since_us = clock_monotonic_us();

    while (clock_monotonic_us() - since_us < QUERY_SLICE_US) {
        if (self->stage_at < groups_count(self->stages[self->stage].groups)) {
            if (hand_on(self, call))
                continue;
            if (self->eval.has_failed || !self->is_full)
                return OP_FAILED;
            return finish(op, true);
        }
        size_t next = stage_in_front(self);
        if (next == 0)
            return finish(op, false);
        if (!begin_stage(self, call, next))
            return OP_FAILED;
    }
    return query_may_go_on(call) ? op_yield(op, stages_work) : OP_FAILED;
}
