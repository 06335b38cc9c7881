/*
 * Items one by one, and the rows of each, in pieces: a query that computes for long lets others
 * have their turn between them.
 */
#include "service/items_query.h"

#include "base/clock.h"
#include "service/item_target.h"

#include "base/banned.h"

static op_step walk_came; /* a chunk of items */
static op_step walk_work; /* rows of them */

static bool is_late(int64_t since_us)
{
    return clock_monotonic_us() - since_us > QUERY_SLICE_US;
}

/* Items to ask for: few more than the page has room for, and more each time they do not fill it. */
static unsigned items_wanted(const struct items_query *self)
{
    if (!self->needs_items)
        return 0;
    if (!self->mode->ends_early || self->stage_count > 0 || self->skip > SCAN_CHUNK_ROWS)
        return SCAN_CHUNK_ROWS;
    unsigned wanted = self->limit - self->count;
    if (self->take < wanted)
        wanted = (unsigned) self->take;
    wanted += (unsigned) self->skip + 1;
    for (unsigned i = 0; i < self->chunks && wanted < SCAN_CHUNK_ROWS; i++)
        wanted *= 4;
    return wanted < SCAN_CHUNK_ROWS ? wanted : SCAN_CHUNK_ROWS;
}

static enum op_next ask(struct items_query *self, struct call *call)
{
    unsigned wanted = items_wanted(self);

    self->chunks++;
    return scan_ask(&self->scan, call, wanted, walk_came);
}

enum op_next query_walk(struct op *op)
{
    return ask(op_self(op, struct items_query), call_of(op));
}

static enum op_next walk_came(struct op *op)
{
    struct items_query *self = op_self(op, struct items_query);

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
    return op_again(op, walk_work);
}

const cJSON *query_item(struct items_query *self, struct call *call)
{
    return item_target_tree(&self->arena, call->container,
                            &(struct item_print){.stored = self->item.body,
                                                 .rid = self->item.rid,
                                                 .etag = self->item.etag,
                                                 .ts = self->item.ts});
}

/* A query that looks at no item has the rows of one that is not there. */
static bool next_item(struct items_query *self)
{
    if (self->needs_items)
        return scan_next(&self->scan, &self->item);
    if (self->scan.after > 0)
        return false;
    self->item = (struct scan_item){.rid = 1};
    self->scan.after = 1;
    return true;
}

/* The next item of the chunk; false at its end, and when the eval failed. */
static bool begin_item(struct items_query *self, struct call *call)
{
    const cJSON *tree = NULL;

    if (!next_item(self))
        return false;
    self->row = 0;
    arena_reset(&self->arena);
    if (self->needs_items && (tree = query_item(self, call)) == NULL)
        return eval_oom(&self->eval) != NULL;
    eval_item(&self->eval, tree);
    self->is_in_item = rows_begin(&self->rows, &self->eval, query_of_rows(self));
    return self->is_in_item;
}

void query_count_matched(struct items_query *self)
{
    self->matched_items++;
    self->matched_bytes += self->item.body.len;
}

/* Rows of the item at hand, until it ends, the page is full or the slice is over. False: a fault.
 */
static bool work_on_item(struct items_query *self, struct call *call, int64_t since_us)
{
    while (!self->is_full && !is_late(since_us)) {
        if (!rows_next(&self->rows)) {
            self->is_in_item = false;
            return !self->eval.has_failed;
        }
        if (!query_take(self, call)) /* the row is the next page's */
            return self->is_full && !self->eval.has_failed;
        if (self->row++ == 0)
            query_count_matched(self);
        if (self->is_full)
            self->is_in_item = false;
    }
    return !self->eval.has_failed;
}

static enum op_next finish(struct op *op, bool has_more)
{
    struct items_query *self = op_self(op, struct items_query);

    if (self->stage_count > 0)
        return query_stages(op);
    self->has_more = has_more;
    if (!self->mode->finish(self, call_of(op)))
        return OP_FAILED;
    return op_again(op, self->next);
}

/* Is there a reason to stop before the end? False with a fault. */
bool query_may_go_on(struct call *call)
{
    struct op *op = &call->op;

    if (op_has_left(op))
        return fault_set(&op->fault, 408, SUB_NONE, "the client has left");
    if (op_time_left_ms(op) >= QUERY_TIME_LEFT_MS)
        return true;
    return fault_set(&op->fault, 503, SUB_NONE,
                     "the query needs more time than a request has: give it a narrower filter");
}

static enum op_next go_on(struct op *op)
{
    struct items_query *self = op_self(op, struct items_query);

    if (!self->needs_items || !scan_forward(&self->scan))
        return finish(op, false);
    if (self->mode->ends_early && self->stage_count == 0 &&
        clock_monotonic_us() > self->page_end_us)
        return finish(op, true);
    if (!query_may_go_on(call_of(op)))
        return OP_FAILED;
    return ask(self, call_of(op));
}

/* Copy items to the page as they are, until the chunk ends, the page is full or the slice is over.
 */
static bool copy_items(struct items_query *self, struct call *call, int64_t since_us)
{
    while (!self->is_full && !is_late(since_us) && next_item(self)) {
        self->row = 0;
        if (!self->mode->take(self, call))
            self->is_in_item = true; /* the next page's */
        else
            query_count_matched(self);
    }
    return !self->eval.has_failed;
}

/* Does the work on an item amount to copying it? */
static bool copies(const struct items_query *self)
{
    return self->is_whole_item && self->is_exact && self->mode == &query_rows_mode;
}

static enum op_next walk_work(struct op *op)
{
    struct items_query *self = op_self(op, struct items_query);
    struct call *call = call_of(op);
    int64_t since_us = clock_monotonic_us();
    bool is_fine = true;

    if (copies(self))
        is_fine = copy_items(self, call, since_us);
    while (is_fine && !copies(self) && !self->is_full && !is_late(since_us)) {
        if (self->is_in_item)
            is_fine = work_on_item(self, call, since_us);
        else if (!begin_item(self, call))
            break;
    }
    self->eval_us += clock_monotonic_us() - since_us;
    if (!is_fine || self->eval.has_failed)
        return OP_FAILED;
    if (self->is_full)
        return finish(op, true);
    if (self->is_in_item || self->scan.row < self->scan.rows)
        return query_may_go_on(call) ? op_yield(op, walk_work) : OP_FAILED;
    return go_on(op);
}
