/*
 * The tree of a query.
 *
 * Every node has one shape: a kind, its children in order as a list, and the bytes of the text it
 * came from, so that every later complaint can point. Nodes live in the arena they were parsed into
 * and borrow the text.
 *
 * Left-associative chains of AND and of OR are one node with many children, because clients
 * generate thousands of alternatives; every other nesting is limited (AST_DEPTH_MAX, subqueries
 * included), so that a walk over a tree may recurse.
 *
 * Values have slots. Every source of every FROM has one for the value that it binds, counted over
 * the whole statement so that a subquery finds the values of the queries around it. Slot 0 is
 * always the item, under whatever name.
 */
#ifndef ORRERY_QUERY_AST_H
#define ORRERY_QUERY_AST_H

#include "base/arena.h"
#include "base/compiler.h"
#include "base/slice.h"
#include "query/diagnosis.h"
#include "query/bounds.h"

#include <cjson/cJSON.h>

enum ast_kind {
    AST_UNDEFINED,
    AST_CONSTANT,    /* value: null, boolean, number, string */
    AST_PARAMETER,   /* name with its @; value once bound, NULL while undefined */
    AST_ALIAS,       /* name; slot once resolved */
    AST_MEMBER,      /* children: base; name */
    AST_INDEX,       /* children: base, index expression */
    AST_UNARY,       /* op; one child */
    AST_BINARY,      /* op; two children */
    AST_AND,         /* two or more */
    AST_OR,          /* two or more */
    AST_COALESCE,    /* left, right */
    AST_CONDITIONAL, /* condition, then, else */
    AST_BETWEEN,     /* needle, low, high; is_negated */
    AST_IN,          /* needle, items…; is_negated */
    AST_LIKE,        /* text, pattern; escape; is_negated */
    AST_CALL,        /* arguments; name as spelled, function once found */
    AST_ARRAY,       /* elements */
    AST_OBJECT,      /* members, each with its key */
    AST_SUBQUERY,    /* query: its only row */
    AST_EXISTS,      /* query, as all that follow */
    AST_ARRAY_QUERY, /* ARRAY(…): all rows */
    AST_ALL,         /* no row that the filter refuses */
    AST_FIRST,       /* the first row */
    AST_LAST,        /* the last row */
};

enum ast_operator {
    AST_NO_OPERATOR,
    AST_NOT,
    AST_MINUS,
    AST_PLUS,
    AST_BIT_NOT,
    AST_EQUAL,
    AST_NOT_EQUAL,
    AST_LESS,
    AST_LESS_EQUAL,
    AST_GREATER,
    AST_GREATER_EQUAL,
    AST_ADD,
    AST_SUBTRACT,
    AST_MULTIPLY,
    AST_DIVIDE,
    AST_MODULO,
    AST_BIT_AND,
    AST_BIT_OR,
    AST_BIT_XOR,
    AST_SHIFT_LEFT,
    AST_SHIFT_RIGHT,
    AST_SHIFT_RIGHT_ZERO,
    AST_CONCAT,
};

struct function;
struct ast_query;

struct ast {
    enum ast_kind kind;
    enum ast_operator op;
    bool is_negated;
    bool is_udf;       /* a call written udf.name(…) */
    bool is_bracketed; /* AST_MEMBER written ["name"] */
    bool is_named;     /* an item of a select list whose name was written */
    uint16_t depth;    /* levels of nodes below and including this one */
    uint32_t escape;   /* AST_LIKE: the escape character, 0 for none */
    struct span span;
    struct span name_span;
    struct slice name; /* NUL-terminated where it is a member's */
    struct slice key;  /* NUL-terminated: the member this node is of an object literal */
    struct ast *next;  /* sibling */
    struct ast *children, *last_child;
    size_t child_count;
    struct ast_query *query; /* of the six kinds that have one */
    /* set by check */
    const cJSON *value; /* of constants by the parser */
    const struct function *function;
    unsigned slot;      /* AST_ALIAS */
    unsigned aggregate; /* AST_CALL: number + 1 among query->aggregates; 0 for none */
    unsigned group_key; /* this expression equals the query's nth key; 0 for none */
    const struct ast
        *computed; /* AST_MEMBER of the item: the expression it stands for, over slot 0 */
};

/* A node without children; NULL when memory is exhausted. */
struct ast *ast_create(struct arena *arena, enum ast_kind kind, struct span span);

/*
 * Append a child and widen the span over it. False when the tree becomes deeper than AST_DEPTH_MAX
 * or wider than AST_CHILDREN_MAX.
 */
bool ast_append(struct ast *parent, struct ast *child) MUST_CHECK;

/*
 * Whether two expressions are written alike but for blanks: the same operations on the same names
 * and values. Two subqueries are never equal.
 */
bool ast_equals(const struct ast *a, const struct ast *b);

enum ast_source_kind {
    SOURCE_PATH,  /* path: its value, where it is defined */
    SOURCE_ARRAY, /* alias IN path, alias IN (query): the elements of each value that is an array */
    SOURCE_QUERY, /* query: its rows */
};

/* One source of FROM; the later ones are joined to it. */
struct ast_source {
    enum ast_source_kind kind;
    bool is_aliased; /* the alias was written, not inferred */
    struct ast_source *next;
    struct ast *path;        /* AST_MEMBER and AST_INDEX of constants over an AST_ALIAS, or NULL */
    struct ast_query *query; /* or NULL */
    struct slice alias;      /* written or inferred; empty when there is none */
    struct span alias_span;
    struct span span;
    unsigned slot; /* set by check: where its value goes. A source that is the item itself has 0. */
};

struct ast_order {
    struct ast_order *next;
    struct ast *expression;
    bool is_descending;
    bool has_direction; /* ASC or DESC was written */
};

/* Clauses as places to point at, each from its first word to its end unless said. */
enum ast_clause {
    CLAUSE_DISTINCT,
    CLAUSE_TOP,
    CLAUSE_PROJECTION, /* the first token of what follows them */
    CLAUSE_FROM,       /* the word */
    CLAUSE_JOIN,       /* the word, of the first */
    CLAUSE_GROUP,      /* the words GROUP BY */
    CLAUSE_ORDER,
    CLAUSE_OFFSET, /* with its LIMIT */
    CLAUSES,
};

/*
 * A statement, a subquery, or the condition of a patch ("FROM c WHERE …"), which has no projection.
 */
struct ast_query {
    struct slice text;                 /* of the whole statement; borrowed */
    struct span span;                  /* of this query in it */
    struct span clause_spans[CLAUSES]; /* {0, 0} for what was not written */
    uint16_t depth;                    /* levels of nodes in it */
    struct ast_query *outer;           /* NULL for the statement */
    unsigned udf_calls;                /* in it and its subqueries; on the statement */
    bool is_distinct, is_value, is_star;
    struct ast *top;            /* constant or parameter; NULL without TOP */
    struct ast *projection;     /* VALUE's expression, or an AST_OBJECT of the list; NULL for '*' */
    struct ast_source *sources; /* NULL without FROM */
    unsigned source_count;
    struct ast *where;    /* NULL without WHERE */
    struct ast *group_by; /* AST_ARRAY of the keys; NULL without GROUP BY */
    struct ast_order *order_by;
    unsigned order_count;
    bool order_is_rank;
    struct ast *offset, *limit; /* constant or parameter; NULL without OFFSET LIMIT */
    /* set by check */
    bool is_aggregate;             /* has GROUP BY, or an aggregate in the projection */
    const struct ast **aggregates; /* AST_CALL nodes */
    unsigned aggregate_count;
    unsigned slot_count; /* of the statement and all its subqueries; on the statement */
    bool has_top, has_window;
    uint64_t top_count; /* values of TOP and OFFSET LIMIT, parameters bound */
    uint64_t offset_count, limit_count;
};

#endif
