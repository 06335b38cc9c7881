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

/*
 * Append the condition, over the items, of being beyond a position.
 *
 * values  of the keys; texts are borrowed
 * bound   SQL of a rid: among equal keys, items above it are beyond (below it, when the first key
 * is descending)
 */
void order_sql_beyond(const struct order_sql *order, const struct sort_value *values,
                      struct slice bound, struct sql *sql);

#endif
