/*
 * ORDER BY that SQL can make: each page asks for the first items beyond the last one's, of all
 * ranges at once; an index that has the order gives them without looking at others.
 *
 * SQL does not tell arrays, objects and long strings apart (query/order_sql.h). Before the first
 * row of which one is a key the page ends, and the continuation is one of the other mode
 * (items_query_top.c), which makes the whole order; both hold the same position.
 */
#include "query/order_sql.h"
#include "query/sort_state.h"
#include "service/items_query.h"

#include "base/clock.h"

#include "base/banned.h"

static const char select_columns[] = "select i.rid, i.etag, i.ts, i.body";
static const char select_from[] = " from orrery.items_%u i where i.range_id = %s" SCAN_IS_LIVE "%s";
static const char select_several[] =
    "select o.n, i.* from unnest($1) with ordinality o(range_id, n) cross join lateral (";

enum { COLUMN_BLURRED = SCAN_MORE };

/* Items to ask for when it is only to be known whether one of them is a result. */
#define LOOK_ROWS 32

static op_step order_came; /* items in order */
static op_step order_work; /* their rows, in pieces */

/* Behind what a statement begins. */
struct start {
    bool is_there;
    struct sort_value values[TOPK_KEYS_MAX];
    int64_t range; /* which element of the statement's ranges; 0: before all, INT64_MAX: behind */
    int64_t rid;
};

/* Among equal keys: the items behind the last one of its range, all of later ranges. */
static struct slice make_bound(struct sql *sql, const struct start *start, bool is_descending,
                               bool is_one)
{
    if (!is_one)
        buf_append_text(&sql->text, "case when o.n = $2 then ");
    sql_append_int8(sql, start->rid);
    if (!is_one)
        buf_append_text(&sql->text, is_descending
                                        ? " when o.n > $2 then 9223372036854775807 else -1 end"
                                        : " when o.n > $2 then -1 else 9223372036854775807 end");
    return sql_take(sql);
}

/* Append the first items of all ranges. */
static void append_items(struct items_query *self, struct call *call, const struct start *start)
{
    bool is_one = scan_is_one(&self->scope), is_descending = self->order.keys[0].is_descending;
    struct sql *sql = &self->where;
    struct order_page page = {.columns = SLICE_LITERAL(select_columns), .limit = "$4"};

    buf_printf(&sql->text, select_from, call->container->number, is_one ? "$1" : "o.range_id",
               self->condition.ptr);
    page.from = sql_take(sql);
    if (start->is_there) {
        page.values = start->values;
        page.bound = make_bound(sql, start, is_descending, is_one);
    }
    if (!is_one)
        buf_append_text(&sql->text, select_several);
    order_sql_page(&self->order, &page, sql);
    if (is_one)
        return;
    buf_append_text(&sql->text, ") i order by ");
    order_sql_list(&self->order, sql);
    buf_append_text(&sql->text, is_descending ? ", n, rid desc limit $4" : ", n, rid limit $4");
}

/* The statement of a page; NULL with a fault. */
static const char *make_statement(struct items_query *self, struct call *call,
                                  const struct start *start)
{
    struct sql *sql = &self->where;

    sql->param_count = self->where_params;
    sql->text.len = 0;
    order_sql_blurred(&self->order, sql);
    struct slice blurred = sql_take(sql);
    append_items(self, call, start);
    struct slice items = sql_take(sql);
    if (!slice_is_absent(blurred) && !slice_is_absent(items))
        scan_append_page(&sql->text, items, scan_is_one(&self->scope), blurred);
    struct slice statement = sql_take(sql);
    if (slice_is_absent(statement))
        fault_set_oom(&call->op.fault);
    return statement.ptr;
}

/* ---- where it begins ---- */

/* Which element of the statement's ranges the continuation's is. */
static int64_t position_number(const struct items_query *self)
{
    int64_t n = 0;

    for (size_t i = self->scope.first; i <= self->range; i++)
        n += i == self->scope.first || self->scope.visits == NULL || self->scope.visits[i];
    return n;
}

/* Before the first row that the client's filter lets pass (query/resume.h). */
static void start_at_filter(const struct items_query *self, struct start *start)
{
    const struct resume *resume = &self->resume;
    bool is_descending = self->order.keys[0].is_descending;
    bool is_before = is_descending == resume->excludes; /* is the bound the lowest rid? */

    memcpy(start->values, resume->values, self->order.count * sizeof(*start->values));
    start->is_there = true;
    start->range = resume->excludes ? INT64_MAX : 0;
    start->rid = is_before ? -1 : INT64_MAX;
    if (scan_is_one(&self->scope) && resume->has_rid && !resume->excludes)
        start->rid = is_descending ? (int64_t) resume->rid + 1 : (int64_t) resume->rid - 1;
}

/* Behind the last page, or where the client's filter says, whichever is later. */
static bool find_start(const struct items_query *self, struct call *call, struct start *start)
{
    const uint64_t *rid = scan_is_one(&self->scope) ? &self->from.rid : NULL;

    *start = (struct start){0};
    if (self->is_resumed && !sort_state_read(self->from.state, start->values, self->order.count))
        return fault_set(&call->op.fault, 400, SUB_NONE, "the continuation is not complete");
    if (self->is_resumed && resume_passes(&self->resume, start->values, rid)) {
        start->is_there = true;
        start->range = position_number(self);
        start->rid = (int64_t) self->from.rid;
    } else if (self->resume.query != NULL) {
        start_at_filter(self, start);
    }
    return true;
}

bool query_order_can_start(const struct items_query *self)
{
    return self->resume.query == NULL || order_sql_tells(&self->order, self->resume.values);
}

/* ---- pages ---- */

static unsigned items_wanted(const struct items_query *self)
{
    uint64_t wanted = self->limit - self->count;

    if (wanted == 0) /* and what came in addition was none */
        return LOOK_ROWS;
    if (self->take < wanted)
        wanted = self->take;
    wanted += self->skip + 1;
    return wanted < SCAN_CHUNK_ROWS ? (unsigned) wanted : SCAN_CHUNK_ROWS;
}

enum op_next query_order(struct op *op)
{
    struct items_query *self = op_self(op, struct items_query);
    struct call *call = call_of(op);
    struct start start;

    self->last_row = -1;
    if (!find_start(self, call, &start))
        return OP_FAILED;
    const char *statement = make_statement(self, call, &start);
    if (statement == NULL)
        return OP_FAILED;
    return scan_ask_all(&self->scan, call, statement, start.range, items_wanted(self), order_came);
}

static enum op_next order_came(struct op *op)
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
    return op_again(op, order_work);
}

/* The item at hand as a row of the query; false when it gives none, and for a fault. */
static bool begin_row(struct items_query *self, struct call *call)
{
    const cJSON *tree;

    arena_reset(&self->arena);
    if ((tree = query_item(self, call)) == NULL)
        return eval_oom(&self->eval) != NULL;
    eval_item(&self->eval, tree);
    return rows_begin(&self->rows, &self->eval, query_of_rows(self)) && rows_next(&self->rows);
}

/* Behind the last item that was taken the next page begins, or the next statement. */
static bool keep_position(struct items_query *self, struct call *call)
{
    if (self->last_row < 0)
        return true;
    int64_t n = pgio_int8(&self->scan.chunk, self->last_row, SCAN_RANGE);

    self->item = self->last;
    self->range = scan_position(&self->scan, n);
    self->from.range = call->container->ranges[self->range].index;
    self->from.rid = self->item.rid;
    self->from.row = 0;
    self->is_resumed = true;
    self->last_row = -1;
    begin_row(self, call);
    return !self->eval.has_failed && query_order_state(self, call);
}

/* Make the row of an item, and take it. False when the page is full without it, and for a fault. */
static bool take_item(struct items_query *self, struct call *call)
{
    if (!self->is_whole_item && !begin_row(self, call))
        return !self->eval.has_failed;
    if (!query_skips(self) && !query_append_row(self, call))
        return false;
    query_count_matched(self);
    return true;
}

static enum op_next finish(struct op *op, bool has_more)
{
    struct items_query *self = op_self(op, struct items_query);

    self->has_more = has_more;
    if (has_more && !keep_position(self, call_of(op)))
        return OP_FAILED;
    self->to.range = self->from.range;
    self->to.rid = self->from.rid;
    self->to.state = self->from.state;
    return op_again(op, self->next);
}

/* The order is not SQL's from here on. */
static enum op_next leave_order(struct op *op)
{
    struct items_query *self = op_self(op, struct items_query);

    self->mode = &query_top_mode;
    self->to.kind = CONTINUATION_TOP;
    return self->scan.items > 0 ? finish(op, true) : op_again(op, self->begin);
}

static enum op_next order_work(struct op *op)
{
    struct items_query *self = op_self(op, struct items_query);
    struct call *call = call_of(op);
    struct item_scan *scan = &self->scan;
    int64_t since_us = clock_monotonic_us();

    while (!self->is_full && scan->row < scan->rows) {
        int row = scan_row(scan);
        if (clock_monotonic_us() - since_us > QUERY_SLICE_US)
            return query_may_go_on(call) ? op_yield(op, order_work) : OP_FAILED;
        if (pgio_bool(&scan->chunk, row, COLUMN_BLURRED))
            return leave_order(op);
        if (!scan_next(scan, &self->item))
            break;
        if (!take_item(self, call)) {
            if (!self->is_full || self->eval.has_failed)
                return OP_FAILED;
            return finish(op, true);
        }
        self->last = self->item;
        self->last_row = row;
    }
    self->eval_us += clock_monotonic_us() - since_us;
    if (self->is_full || !scan->is_cut)
        return finish(op, self->is_full && self->take > 0);
    if (clock_monotonic_us() > self->page_end_us)
        return finish(op, true);
    return query_may_go_on(call) && keep_position(self, call) ? query_order(op) : OP_FAILED;
}

const struct query_mode query_ordered_mode = {.kind = CONTINUATION_ORDERED};
