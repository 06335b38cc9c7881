/*
 * The rows that FROM and WHERE make of one item.
 *
 * Sources are nested loops in the order they are written; the last one moves fastest. Each source
 * puts its value into its slot of the eval, so that expressions of the row find it. The rows of a
 * source that is a query are made when the source is entered.
 *
 *     struct rows rows;
 *     for (more = rows_begin(&rows, &eval, query); more && rows_next(&rows);)
 *         value = rows_project(&rows);
 *     if (eval.has_failed) …
 *
 * Everything lives in the eval's arena and dies with the item; nothing needs to be finished.
 */
#ifndef ORRERY_QUERY_ROWS_H
#define ORRERY_QUERY_ROWS_H

#include "query/eval.h"

struct row_source;

struct rows {
    struct eval *eval;
    const struct ast_query *query;
    struct row_source *sources; /* one per source, in order */
    bool is_begun, is_over;
    bool has_first;  /* the first source's value was given */
    bool is_negated; /* the rows that the filter refuses, for ALL */
};

/* Start over the item in slot 0 of the eval. False when the eval has failed. */
bool rows_begin(struct rows *rows, struct eval *eval, const struct ast_query *query) MUST_CHECK;

/*
 * The same with the value of the first source given: for a source whose query is not about one item
 * (rows_are_staged).
 */
bool rows_begin_at(struct rows *rows, struct eval *eval, const struct ast_query *query,
                   const cJSON *first) MUST_CHECK;

/* Go to the next row that passes; its values are in the slots. False at the end, and after a
 * failure. */
bool rows_next(struct rows *rows) MUST_CHECK;

/* Take the values out of the slots again; for one who stops before the end. */
void rows_end(struct rows *rows);

/* What the row answers; NULL when that is undefined, which then is no result. */
const cJSON *rows_project(struct rows *rows);

/*
 * Does a statement range over the results of a whole query, SELECT … FROM (SELECT DISTINCT … FROM
 * c)? Then the inner query (its first source's) is to be answered over all items first, as a
 * statement of its own, and the rows of each result follow by rows_begin_at with no item.
 */
bool rows_are_staged(const struct ast_query *query);

/* Does a statement look at items at all? Without FROM, or FROM a query without, it has the rows of
 * no item. */
bool rows_need_items(const struct ast_query *query);

#endif
