/*
 * GROUP BY, aggregates, DISTINCT: rows are gathered into groups, of which a page holds the first in
 * the order of their digests. The next page sees all items again, and the groups behind the last
 * digest: the memory is the page's, however many groups there are.
 */
#include "query/groups.h"
#include "service/items_query.h"

#include "base/banned.h"

/* Groups that one pass leaves out at most, for OFFSET. */
#define GROUPS_SKIP_MAX 10000

static void free_groups(void *object)
{
    struct items_query *self = object;

    groups_destroy(self->groups);
    self->groups = NULL;
}

static bool groups_begin_page(struct items_query *self, struct call *call,
                              const struct continuation *from)
{
    struct groups_options options = {.bytes_max = QUERY_GROUPS_BYTES_MAX};
    struct digest after;

    if (from != NULL) {
        if (from->state.len != sizeof(after.bytes))
            return fault_set(&call->op.fault, 400, SUB_NONE, "the continuation is not complete");
        memcpy(after.bytes, from->state.ptr, sizeof(after.bytes));
        options.after = &after;
    }
    options.limit = self->limit - self->count;
    if (self->take < options.limit)
        options.limit = (size_t) self->take;
    options.limit += self->skip < GROUPS_SKIP_MAX ? (size_t) self->skip : GROUPS_SKIP_MAX;
    options.limit++; /* a result that has no room says that there are more pages */
    groups_destroy(self->groups);
    self->groups = groups_create(&self->query, &options, &call->op.fault);
    return self->groups != NULL &&
           (arena_defer(&call->op.arena, free_groups, self) || fault_set_oom(&call->op.fault));
}

static bool groups_take(struct items_query *self, struct call *call)
{
    (void) call;
    return groups_add(self->groups, &self->eval);
}

static bool groups_finish_page(struct items_query *self, struct call *call)
{
    size_t at = 0, count;

    arena_reset(&self->arena);
    eval_item(&self->eval, NULL);
    if (!groups_finish(self->groups, &self->eval))
        return false;
    count = groups_count(self->groups);
    for (; at < count && !self->is_full; at++) {
        arena_reset(&self->arena);
        eval_item(&self->eval, NULL);
        const cJSON *value = groups_project(self->groups, &self->eval, at);
        if (self->eval.has_failed)
            return false;
        if (value != NULL && !query_skips(self) && !query_append(self, value))
            break;
    }
    /* Who adds up does not know of how many items: a result counts as one. */
    self->matched_items = self->count;
    self->matched_bytes = 0;
    self->has_more = at < count || groups_are_cut(self->groups);
    if (at > 0 && self->has_more) {
        struct digest last = groups_digest(self->groups, at - 1);
        self->to.state = slice_make(arena_copy(&call->op.arena, last.bytes, sizeof(last.bytes)),
                                    sizeof(last.bytes));
        if (self->to.state.ptr == NULL)
            return fault_set_oom(&call->op.fault);
    }
    self->to.range = call->container->ranges[self->scope.first].index;
    return true;
}

const struct query_mode query_groups_mode = {
    .kind = CONTINUATION_GROUPS,
    .begin = groups_begin_page,
    .take = groups_take,
    .finish = groups_finish_page,
};
