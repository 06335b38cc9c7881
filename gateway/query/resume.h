/*
 * Where a client wants ORDER BY to go on: the member "resumeFilter" of a query's body.
 *
 *     {"value": [5, [], "x"], "rid": "<rid of an item>", "exclude": false}
 *
 * One value per key, [] for undefined. Results begin at the first row with these sort values; with
 * a rid, among those rows, at the one of that item; with exclude, behind them. The client that
 * merges several ranges sends each of them the position of the last row it gave, and drops what it
 * has seen itself.
 *
 * source: protocol reference, section 5.7; the Rust SDK, driver/dataflow/order_by.rs
 */
#ifndef ORRERY_QUERY_RESUME_H
#define ORRERY_QUERY_RESUME_H

#include "base/arena.h"
#include "base/fault.h"
#include "query/ast.h"
#include "query/sort.h"

struct resume {
    const struct ast_query *query;   /* NULL: from the beginning */
    const struct sort_value *values; /* one per key of ORDER BY */
    bool has_rid, excludes;
    uint64_t rid; /* number */
};

/*
 * Read the member's value; NULL is from the beginning.
 *
 * filter   borrowed
 * fault    400 for what has not this shape, for other keys than the query's, and for arrays and
 *          objects, whose order is a server's own; 503
 */
bool resume_read(struct resume *resume, struct arena *arena, const cJSON *filter,
                 const struct ast_query *query, struct fault *fault) MUST_CHECK;

/*
 * Is a row at the position or beyond?
 *
 * rid  of its item, when rows of the same sort values are in the order of their items' rids, in the
 *      direction of the first key; NULL otherwise, and then all of them are
 */
bool resume_passes(const struct resume *resume, const struct sort_value *values,
                   const uint64_t *rid);

#endif
