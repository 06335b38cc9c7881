/*
 * ORDER BY in SQL: the first items beyond a position.
 *
 * Only paths of the item are ordered so, each by its rank and key (schema/README.md), as the
 * indexes of query/index_set.h are. A key tells no two arrays apart, no two objects, and of a long
 * string only the beginning: a row for which that matters is marked, and whoever reads it goes on
 * with the order that query/topk.h makes. Everything else is that order exactly: by the keys, then
 * the position of the range, then the item, backwards when the first key is descending.
 */
#ifndef ORRERY_QUERY_ORDER_SQL_H
#define ORRERY_QUERY_ORDER_SQL_H

#include "query/ast.h"
#include "query/index_set.h"
#include "query/sort.h"
#include "query/sql.h"
#include "query/topk.h"

struct order_sql {
    unsigned count;
    struct index_key keys[TOPK_KEYS_MAX];
};

/* Prepare the order of a statement; false when it is by something else than paths of the item, and
 * without memory. */
bool order_sql_prepare(struct order_sql *order, const struct ast_query *query, struct arena *arena);

/* Append the columns of a select over the items: ", … as r1, … as k1, …". */
void order_sql_columns(const struct order_sql *order, struct sql *sql);

/* Append "r1, k1, r2 desc, k2 desc" for rows that have these columns. */
void order_sql_list(const struct order_sql *order, struct sql *sql);

/* Append a condition over these columns: the order does not tell this row from others. */
void order_sql_blurred(const struct order_sql *order, struct sql *sql);

/* Can a position have these values of the keys? Not when the order does not tell them from others,
 * and of _ts only whole numbers. */
bool order_sql_tells(const struct order_sql *order, const struct sort_value *values);

/* The first items in the order, or the first beyond a position. */
struct order_page {
    struct slice columns;            /* "select i.rid, …": what is wanted of an item */
    struct slice from;               /* " from … i where …": of which items */
    const struct sort_value *values; /* of the position's keys; texts are borrowed; NULL without */
    struct slice bound; /* SQL of a rid: among equal keys, items above it are beyond (below it, when
                           the first key is descending) */
    const char *limit;  /* SQL of how many at most */
};

/*
 * Append a select of them: columns, then those of order_sql_columns.
 *
 * Beyond a position is one comparison of rows, which an index answers, while the keys have one
 * direction. Otherwise it is one for each prefix of keys that equal the position's, and these are
 * selects of their own, each of which begins in the index where it must: an OR of them would be
 * answered from the beginning of the index on. A piece is asked for no more than those before it
 * leave of the limit.
 */
void order_sql_page(const struct order_sql *order, const struct order_page *page, struct sql *sql);

#endif
