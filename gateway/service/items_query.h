/*
 * Queries over items: what their files share. docs/query.md tells how they run.
 *
 *     items_query.c          what was asked, where it begins, the answer
 *     items_query_walk.c     items one by one, the rows of each, in pieces
 *     items_query_stages.c   FROM the results of a query that gathers: one after the other
 *     items_query_rows.c     rows as they come
 *     items_query_order.c    ORDER BY in SQL: the first items beyond the last page
 *     items_query_top.c      ORDER BY: the first rows beyond the last page
 *     items_query_parts.c    GROUP BY, aggregates, DISTINCT in SQL, where it can
 *     items_query_groups.c   GROUP BY, aggregates, DISTINCT: the first groups beyond the last page
 */
#ifndef ORRERY_SERVICE_ITEMS_QUERY_H
#define ORRERY_SERVICE_ITEMS_QUERY_H

#include "query/emit.h"
#include "query/eval.h"
#include "query/filter.h"
#include "query/order_sql.h"
#include "query/resume.h"
#include "query/regex.h"
#include "query/rows.h"
#include "service/item_scan.h"

/*
 * A page: how many results, how many bytes of them (a single result may be larger), how long it may
 * be worked on before it ends with a continuation. Source: query reference, section 8.
 */
#define QUERY_PAGE_DEFAULT 100
#define QUERY_PAGE_MAX 1000
#define QUERY_PAGE_BYTES (4u << 20)
#define QUERY_PAGE_MS 5000

/*
 * A page is complete when a result has no room in it, or there is none: so the last one has no
 * continuation, and none is empty because the one before it was full. How long it is looked for
 * such a result, at least; as long again as the page took otherwise.
 */
#define QUERY_LOOK_MS 200

/* How long a query computes before others have their turn. */
#define QUERY_SLICE_US 4000

/* A query that needs more than the request's time ends a little before it. */
#define QUERY_TIME_LEFT_MS 250

/* Memory of one item as a tree and of what is computed from it; of the rows or groups of a page. */
#define QUERY_ITEM_BYTES_MAX (128u << 20)
#define QUERY_GROUPS_BYTES_MAX (32u << 20)

struct items_query;
struct topk;
struct groups;
struct rank;

/*
 * How the results of a query come about. A mode sees rows one after the other, each with its values
 * in the slots of the eval.
 */
struct query_mode {
    enum continuation_kind kind;
    bool ends_early; /* a page may end before all items were seen */
    /* Begin where a continuation (NULL at first) stopped; the scan is set to the first item. False
     * with a fault. */
    bool (*begin)(struct items_query *self, struct call *call, const struct continuation *from);
    /* Take the row at hand. False: the page is full without it, or a fault. */
    bool (*take)(struct items_query *self, struct call *call);
    /* All items were seen, or the page is full: complete the page and self->to. */
    bool (*finish)(struct items_query *self, struct call *call);
};

/*
 * A query inside FROM whose results are gathered (or made of gathered ones) before those of the
 * query around it can be. The statement itself is the first stage, the last is the one over items.
 */
struct query_stage {
    const struct ast_query *query;
    struct groups *groups; /* NULL when its rows pass through, and for the statement */
};

extern const struct query_mode query_rows_mode, query_top_mode, query_groups_mode,
    query_ordered_mode;

struct items_query {
    /* what was asked */
    struct query_spec spec;
    struct ast_query query;
    struct resume resume;
    struct consistency consistency;
    struct item_scope scope;
    uint8_t question[CONTINUATION_QUESTION_BYTES];
    size_t token_bytes_max;
    unsigned limit; /* results of a page */
    const struct query_mode *mode;
    struct sql where;       /* what the scan is narrowed to */
    struct slice condition; /* its text */
    unsigned where_params;
    struct rid container; /* resource id of the container */
    bool is_streamed;     /* parts in SQL would not do */
    struct emit_groups parts;
    const char *parts_sql;  /* NULL: rows are gathered */
    struct emit_use *uses;  /* indexes that the filter used or would have used */
    struct order_sql order; /* when SQL can make it */
    bool has_order;
    bool is_plain;              /* only the scope is SQL's */
    bool is_checked;            /* SQL has looked at the filter for each row */
    bool is_exact;              /* it lets no item pass that gives no row */
    bool is_sure;               /* each item that it lets pass is one result */
    bool is_whole_item;         /* a row is the item: its text is copied */
    bool needs_items;           /* otherwise there is one row of none */
    struct query_stage *stages; /* without any, the statement is over items */
    size_t stage_count;
    size_t stage, stage_at; /* whose results are handed on, and which is next */
    uint64_t stage_after;   /* results that earlier pages have done with */
    struct regex_cache regexes;
    struct ast_query unfiltered; /* the query without its WHERE */
    /* ORDER BY RANK */
    struct rank *rank;
    bool is_unfiltered; /* a pass over all items */
    const struct query_mode *ordering;
    op_step *ranked;              /* after the passes before the order */
    unsigned chunks;              /* asked for so far */
    op_step *gone, *begin, *next; /* start over; begin the page; it is complete */
    /* where it begins */
    bool is_resumed; /* by a continuation */
    struct continuation from;
    size_t range; /* position of the continuation's range, or of the first */
    /* where it is */
    uint64_t skip, take; /* results still to be left out, and to be given */
    struct item_scan scan;
    /* the item at hand */
    struct arena arena; /* its tree, and what is computed from it */
    struct eval eval;
    struct rows rows;
    struct scan_item item;
    bool is_in_item;
    uint64_t row; /* rows of it that were taken */
    /* the last one that was taken, of an order that SQL makes */
    struct scan_item last;
    int last_row; /* its row in the chunk; -1: none */
    struct topk *topk;
    struct groups *groups;
    /* rows that an earlier page took of an item */
    uint64_t resumed_rid, resumed_row;
    /* the page */
    struct buf page;
    size_t page_start; /* where its results begin */
    unsigned count;
    bool is_full; /* a result had no room, or certainly has none; or nothing is wanted any more */
    bool has_more;
    struct continuation to; /* with has_more: where the next page begins */
    int64_t page_end_us;
    /* measured */
    uint64_t matched_items, matched_bytes;
    int64_t begun_us, compile_us, check_us, eval_us, write_us;
};

/* POST …/docs with a header that says it is a query. */
enum op_next items_query(struct op *op);

/* POST …/docs with a header that says that its plan is asked for (items_query_plan.c). */
enum op_next items_query_plan(struct op *op);

/* See all items and their rows, from where the scan stands; self->next is run when mode->finish
 * was. */
enum op_next query_walk(struct op *op);

/* Ask for the items in their order, from self->from on; self->next is run when the page is
 * complete. */
op_step query_order;

/* Can the order begin where the client wants it to? */
bool query_order_can_start(const struct items_query *self);

/* Keep what the row at hand is ordered by in self->from.state; false with a fault. */
bool query_order_state(struct items_query *self, struct call *call) MUST_CHECK;

/* Make the statement of a query whose groups SQL can add up, or leave self->parts_sql NULL. Fault
 * 503. */
bool query_parts_prepare(struct items_query *self, struct call *call) MUST_CHECK;

/* Send it, and make the page of what it gives. */
op_step query_parts;

/* PostgreSQL cannot compute the statement: start over, without compiled conditions. */
op_step query_without_sql;

/* The item at hand gives a row. */
void query_count_matched(struct items_query *self);

/* Set the scan to a place in the scope, narrowed by what SQL can tell of the filter. */
bool query_begin_scan(struct items_query *self, struct call *call, size_t range,
                      uint64_t after) MUST_CHECK;

/* Gather what the scores of ORDER BY RANK need, then go on. */
enum op_next query_rank(struct op *op, op_step *next);

/* The query whose rows are made of items. */
static inline const struct ast_query *query_of_items(const struct items_query *self)
{
    if (self->stage_count > 0)
        return self->stages[self->stage_count - 1].query;
    return self->is_unfiltered ? &self->unfiltered : &self->query;
}

/* The same without a filter that SQL has done with. */
static inline const struct ast_query *query_of_rows(const struct items_query *self)
{
    return self->is_checked ? &self->unfiltered : query_of_items(self);
}

/* Is the client still there, and some of its time? Fault 408, 503. */
bool query_may_go_on(struct call *call) MUST_CHECK;

/* The item at hand as a tree, in the item's arena; NULL without memory. */
const cJSON *query_item(struct items_query *self, struct call *call);

/* The row at hand is the one that self->from names by digest: take its sort values instead. False
 * when it is another one, and without memory. */
bool query_top_matches(struct items_query *self, struct call *call);

/* Take a row of it: a stage's, or the mode's. False as query_mode.take says. */
bool query_take(struct items_query *self, struct call *call);

/* Find the stages of a query. Fault 503. */
bool query_stages_init(struct items_query *self, struct call *call) MUST_CHECK;

/* Start over, before the walk, after mode->begin. Fault 503. */
bool query_stages_begin(struct items_query *self, struct call *call) MUST_CHECK;

/* All items were seen: hand on from stage to stage, then finish the mode and run self->next. */
enum op_next query_stages(struct op *op);

/*
 * Append the row at hand, or any value, to the page. False when the page is full without it, and
 * for a fault of the eval; is_full tells whether the page is complete now. What is undefined is no
 * result.
 */
bool query_append_row(struct items_query *self, struct call *call);
bool query_append(struct items_query *self, const cJSON *value);
bool query_append_text(struct items_query *self, struct slice json);

/* Print the row at hand, or nothing when it is undefined. False for a fault of the eval. */
bool query_print_row(struct items_query *self, struct call *call, struct buf *out);

/* Count a result that OFFSET leaves out. False when none is to be left out any more. */
bool query_skips(struct items_query *self);

#endif
