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
 * What a query is ordered by, query/order_sql.h makes.
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
    EMIT_USES_SPATIAL,     /* places near or in something constant, which a GiST index answers */
    EMIT_WANTS_SPATIAL,    /* which one would answer, if there were one */
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
    bool is_planar;                  /* geometries are of a plane: geospatialConfig Geometry */
    struct emit_use *uses;           /* out */
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
