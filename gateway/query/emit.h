/*
 * Checked queries as statements of PostgreSQL.
 *
 * What is compiled here is exact: it gives what the evaluator (eval.h, rows.h, groups.h) gives, for
 * every document. What cannot be said exactly in SQL is refused; for a WHERE a superset may be left
 * then, which the evaluator finishes.
 *
 * How: SQL NULL is undefined and jsonb null is null, so that SQL's three-valued logic is the
 * language's. An expression has one of four kinds: J (jsonb), B (boolean), N (float8), S (text);
 * each conversion gives NULL for a value of another type. A predicate has two forms. Its exact form
 * tells true, false and undefined apart and may stand anywhere. Its searching form only says where
 * the predicate is true, by containment and by ranges of (rank, key), so that indexes serve it; it
 * may stand where nothing else matters: at the top of WHERE, below AND and OR, inside EXISTS.
 *
 * The statements are about one container: a row of its table is called `i`. Helper functions are in
 * schema/0006_query_functions.sql, where the order of values (rank and key) is explained.
 *
 * Rejected: jsonpath, whose lax mode unwraps arrays and whose comparisons have other rules for null
 * and missing; containment alone for equality with an array or object, because it is wider.
 */
#ifndef ORRERY_QUERY_EMIT_H
#define ORRERY_QUERY_EMIT_H

#include "base/arena.h"
#include "model/rid.h"
#include "query/ast.h"
#include "query/index_set.h"
#include "query/sql.h"

enum emit_use_kind {
    EMIT_USES_CONTAINMENT, /* an equality that the GIN index answers */
    EMIT_WANTS_EQUALITY,   /* one that it would answer, if it held the path */
    EMIT_USES_RANGE,       /* a range that a btree answers */
    EMIT_WANTS_RANGE,      /* one that a btree would answer, if there were one */
};

/* An index that a WHERE used or would have used; for metrics, and for making indexes on demand. */
struct emit_use {
    struct emit_use *next;
    enum emit_use_kind kind;
    struct index_path path;
};

/* What is known beside the query, filled in by the caller. */
struct emit {
    struct arena *arena;
    const struct rid *container;     /* for _rid and _self; NULL: these are not compiled */
    const struct index_set *indexes; /* NULL: none */
    int64_t now_us;                  /* clock of the request, for functions of the time */
    bool is_limited;       /* only the first rows of an order are wanted: prefer to walk an order */
    struct emit_use *uses; /* out */
};

enum emit_form {
    EMIT_EXACT,    /* the condition holds for exactly the items that have a row */
    EMIT_SUPERSET, /* and for some others */
    EMIT_NOTHING,  /* "true": the statement cannot narrow anything */
};

/*
 * Append the condition under which an item may give a row: WHERE, and FROM's sources. Evaluated
 * once per item; an expression in parentheses, or "true".
 *
 * memory that ran out is remembered in sql
 */
enum emit_form emit_where(struct emit *emit, const struct ast_query *query, struct sql *sql);

/* ---- ORDER BY ---- */

struct emit_order_key;

/*
 * Paths by which the items are ordered: memory of the arena. Arrays are all equal, as are objects,
 * and strings whose first 200 characters are: those follow by rid.
 */
struct emit_order {
    struct arena *arena;
    unsigned count;
    const struct emit_order_key *keys;
    bool is_descending; /* the first key, and with it the items (rid) inside equal keys */
    bool is_mixed;      /* others go the other way */
};

/* Where a page begins. */
enum emit_beyond {
    EMIT_BEYOND_RID,  /* after the item with that rid, among those of equal keys */
    EMIT_FROM_RID,    /* with that item */
    EMIT_FROM_KEYS,   /* with the first item of these keys */
    EMIT_BEYOND_KEYS, /* after the last item of these keys */
};

struct emit_position {
    enum emit_beyond beyond;
    const cJSON *const *values; /* one per key; NULL is undefined; of an array or object only the
                                   type matters, of a string the first 200 characters */
    struct slice rid;           /* SQL of the rid (bigint), where one is named */
};

/*
 * Prepare the order of a query. False when SQL cannot order so, or by something else than the item.
 * has_index tells whether a btree gives that order.
 */
bool emit_order(struct emit *emit, const struct ast_query *query, struct emit_order *order,
                bool *has_index);

/*
 * Append a select of one page of one range, in parentheses, for a FROM or a LATERAL:
 *
 *     (select <columns>, <keys> from <from> where <where> [and beyond the position]
 *      order by <keys>, i.rid limit <limit>)
 *
 * columns    SQL such as "i.rid, i.body"; one of them is named rid
 * where      SQL; names the range
 * position   NULL for the first page
 * limit      SQL
 *
 * Columns r1, k1, r2, k2, … (smallint, jsonb) are added, the ranks and keys of the row. With mixed
 * directions the select is a union of one select per prefix, each of which an index serves.
 */
void emit_order_page(const struct emit_order *order, struct slice columns, struct slice from,
                     struct slice where, const struct emit_position *position, struct slice limit,
                     struct sql *sql);

/*
 * Append the list for an ORDER BY over such pages, "p.r1, p.k1, p.r2 desc, p.k2 desc" for the alias
 * p. Pages of several ranges are merged by it, then by the range's position, then by rid
 * (descending when the order is_descending).
 */
void emit_order_list(const struct emit_order *order, const char *alias, struct sql *sql);

/* ---- GROUP BY, DISTINCT, aggregates ---- */

struct emit_groups {
    struct slice from;  /* SQL: "orrery.items_5 i" */
    struct slice where; /* SQL: the ranges, and which items are there */
    /* out */
    unsigned key_count; /* columns k1 … */
    unsigned aggregate_count;
};

/*
 * Append a whole select, without parentheses, whose rows are partial results for groups_merge. They
 * come in no order, one for each group; without GROUP BY and DISTINCT there is one row, whatever
 * matches.
 *
 *     is_inexact  boolean, never NULL. true: numbers may overflow, or members of an object have
 * lost their sequence; the evaluator must do all of it k1 …        jsonb, keys of the group, NULL
 * for undefined: GROUP BY's; or DISTINCT's, which are the members of a projection that is an object
 * literal, else the projection (emit_groups_keys) n1 …        double precision, then for each
 * aggregate by its number in query->aggregates the s1 …        parts of struct group_partial:
 * count, sum (double precision), is_poisoned p1 …        (boolean), best (jsonb, NULL for none).
 * The columns stand as n1, s1, p1, b1, n2, b1 …        …, and the others are never NULL
 *
 * TOP and OFFSET LIMIT are left to the caller. False, and nothing appended, when something is not
 * exact.
 */
bool emit_groups(struct emit *emit, const struct ast_query *query, struct emit_groups *groups,
                 struct sql *sql);

struct eval;

/* What groups_merge takes for the columns k1 …: these, or one object that is made of them in
 * `object`. NULL when the eval has failed. */
const cJSON *const *emit_groups_keys(const struct ast_query *query, struct eval *eval,
                                     const cJSON *const *columns, const cJSON **object);

#endif
