/*
 * A tree as text again, in the form of the service's rewritten queries.
 *
 * One spelling for each meaning: every operation in its parentheses, (- 5) for a negative number,
 * strings in double quotes, numbers with 17 significant digits, keywords in capitals, "AS" written
 * where an alias was. Kept as spelled: names of functions, parameters, and whether a member is
 * reached by a dot or by brackets. Each clause begins a line; a subquery stays on one.
 *
 * What is printed parses to a tree that prints alike.
 *
 * source: query reference, section 10, and the plans in the .NET SDK's baselines.
 */
#ifndef ORRERY_QUERY_PRINT_H
#define ORRERY_QUERY_PRINT_H

#include "base/buf.h"
#include "query/ast.h"

/* Words of SELECT to be left out. */
enum print_omission {
    PRINT_ALL = 0,
    PRINT_NO_DISTINCT = 1,
    PRINT_NO_TOP = 2,
};

void print_expression(struct buf *out, const struct ast *node);

/* A string literal in double quotes. */
void print_string(struct buf *out, struct slice text);

/* The shortest plain form of 17 significant digits; NaN and Infinity by name. */
void print_number(struct buf *out, double number);

/*
 * What a row gives, as one expression: the list as an object literal, VALUE's expression, the only
 * source's alias for '*'.
 */
void print_projection(struct buf *out, const struct ast_query *query);

/* "SELECT …" with its list as written; `omitted` is a sum of enum print_omission. */
void print_select(struct buf *out, const struct ast_query *query, unsigned omitted);

/* Each a line break and the clause; nothing when the query has not got it. */
void print_from(struct buf *out, const struct ast_query *query);
void print_where(struct buf *out, const struct ast_query *query);
void print_group_by(struct buf *out, const struct ast_query *query);
void print_order_by(struct buf *out, const struct ast_query *query);
void print_window(struct buf *out, const struct ast_query *query);

/* The whole. */
void print_query(struct buf *out, const struct ast_query *query);

#endif
