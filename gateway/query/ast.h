/*
 * The tree of a query.
 *
 * Every node has one shape: a kind, its children in order as a list, and the bytes of the text it
 * came from, so that every later complaint can point. Nodes live in the arena they were parsed into
 * and borrow the text.
 *
 * Left-associative chains of AND and of OR are one node with many children, because clients
 * generate thousands of alternatives; every other nesting is limited (AST_DEPTH_MAX), so that a
 * walk over a tree may recurse.
 */
#ifndef ORRERY_QUERY_AST_H
#define ORRERY_QUERY_AST_H

#include "base/arena.h"
#include "base/compiler.h"
#include "base/slice.h"
#include "query/diagnosis.h"

#include <cjson/cJSON.h>

/* Levels of nodes, and of brackets around one; the service does not document its own. */
#define AST_DEPTH_MAX 256

/* Children of one node: items of IN, elements, arguments. The service documents no limit but the
 * text's. */
#define AST_CHILDREN_MAX 65536

enum ast_kind {
    AST_UNDEFINED,
    AST_CONSTANT,    /* value: null, boolean, number, string */
    AST_PARAMETER,   /* name with its @; value once bound, NULL while undefined */
    AST_ALIAS,       /* name */
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

struct ast {
    enum ast_kind kind;
    enum ast_operator op;
    bool is_negated;
    bool is_udf;     /* a call written udf.name(…) */
    uint16_t depth;  /* levels of nodes below and including this one */
    uint32_t escape; /* AST_LIKE: the escape character, 0 for none */
    struct span span;
    struct span name_span;
    struct slice name; /* NUL-terminated where it was written as a string */
    struct slice key;  /* NUL-terminated: the member this node is of an object literal */
    struct ast *next;  /* sibling */
    struct ast *children, *last_child;
    size_t child_count;
    const cJSON *value;
    const struct function *function;
};

/* A node without children; NULL when memory is exhausted. */
struct ast *ast_create(struct arena *arena, enum ast_kind kind, struct span span);

/*
 * Append a child and widen the span over it. False when the tree becomes deeper than AST_DEPTH_MAX
 * or wider than AST_CHILDREN_MAX.
 */
bool ast_append(struct ast *parent, struct ast *child) MUST_CHECK;

/* "WHERE" of FROM: the container under its original name, or its alias when that was given. */
struct ast_source {
    struct slice container,
        alias; /* alias equals container when none was written; empty without FROM */
    struct span span;
};

/*
 * One statement, or the condition of a patch ("FROM c WHERE …"), which has no projection.
 */
struct ast_query {
    struct slice text; /* borrowed */
    struct ast_source source;
    struct ast *projection; /* VALUE's expression, or an object literal of the list; NULL for '*' */
    struct span projection_span;
    struct ast *where; /* NULL without WHERE */
};

#endif
