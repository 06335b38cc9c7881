/*
 * ORDER BY RANK: what its scores need to know is gathered from all items before the page is
 * ordered (query/rank.h). Each page gathers anew: nothing is kept between requests.
 */
#include "query/rank.h"
#include "service/items_query.h"

#include "base/banned.h"

static op_step rank_items_seen; /* statistics are complete */
static op_step rank_rows_seen;  /* scores of all rows are known */

static void free_rank(void *object)
{
    struct items_query *self = object;

    rank_destroy(self->rank);
    self->rank = NULL;
}

static bool take_item(struct items_query *self, struct call *call)
{
    (void) call;
    return rank_item(self->rank, &self->eval);
}

static bool take_row(struct items_query *self, struct call *call)
{
    (void) call;
    return rank_row(self->rank, &self->eval);
}

static bool pass_finish(struct items_query *self, struct call *call)
{
    (void) self;
    (void) call;
    return true;
}

static const struct query_mode items_mode = {.take = take_item, .finish = pass_finish};
static const struct query_mode rows_mode = {.take = take_row, .finish = pass_finish};

/* See all items, or the rows of those that the filter lets pass. */
static enum op_next begin_pass(struct op *op, const struct query_mode *mode, op_step *next)
{
    struct items_query *self = op_self(op, struct items_query);

    self->mode = mode;
    self->is_unfiltered = mode == &items_mode;
    self->is_in_item = false;
    if (!query_begin_scan(self, call_of(op), self->scope.first, 0))
        return OP_FAILED;
    self->next = next;
    return query_walk(op);
}

enum op_next query_rank(struct op *op, op_step *next)
{
    struct items_query *self = op_self(op, struct items_query);

    rank_destroy(self->rank);
    self->rank = rank_create(&self->query, &op->fault);
    if (self->rank == NULL)
        return OP_FAILED;
    if (!arena_defer(&op->arena, free_rank, self)) {
        fault_set_oom(&op->fault);
        return OP_FAILED;
    }
    self->eval.rank = self->rank;
    self->ordering = self->mode;
    self->ranked = next;
    if (rank_needs_items(self->rank))
        return begin_pass(op, &items_mode, rank_items_seen);
    return rank_items_seen(op);
}

static enum op_next rank_items_seen(struct op *op)
{
    struct items_query *self = op_self(op, struct items_query);

    if (rank_needs_rows(self->rank))
        return begin_pass(op, &rows_mode, rank_rows_seen);
    return rank_rows_seen(op);
}

static enum op_next rank_rows_seen(struct op *op)
{
    struct items_query *self = op_self(op, struct items_query);

    rank_sort(self->rank);
    self->mode = self->ordering;
    self->is_unfiltered = self->is_in_item = false;
    return op_again(op, self->ranked);
}
