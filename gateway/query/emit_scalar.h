/*
 * Expressions of the language as expressions of SQL: the parts of the compiler that emit.h is made
 * of. Included by emit*.c only.
 *
 * Every function here appends to the statement and returns false for what it cannot say exactly
 * (and when memory is exhausted, which the statement remembers); what it had appended by then is
 * the caller's to take back, with emit_mark and emit_back.
 */
#ifndef ORRERY_QUERY_EMIT_SCALAR_H
#define ORRERY_QUERY_EMIT_SCALAR_H

#include "query/emit.h"

/* Text of one statement. BETWEEN and comparisons repeat their operands, so nesting could make it
 * grow without bound; what is larger is left to the evaluator. */
#define EMIT_TEXT_MAX (64 * 1024)

/* Nodes visited for one statement. */
#define EMIT_STEPS_MAX 200000

/* Texts and values joined in one statement: each may be as large as an item (2 MB), and PostgreSQL
 * refuses 256 MB of jsonb and 1 GB of text with an error. */
#define EMIT_JOINS_MAX 64

/* Selects inside the statement. Planning them costs more than in proportion: 60 inside each other
 * took seconds. */
#define EMIT_SELECTS_MAX 24

/* Arrays iterated inside each other. */
#define EMIT_LOOPS_MAX 3

/* Types of SQL's expressions. */
enum emit_kind {
    KIND_JSONB, /* NULL: undefined */
    KIND_BOOL,
    KIND_NUMBER, /* float8: infinities and NaN are values */
    KIND_TEXT,
};

/* What a slot's value is while its source's query is compiled. */
struct emit_slot {
    enum { SLOT_UNBOUND, SLOT_PATH, SLOT_COLUMN } kind;
    const struct ast *path; /* SLOT_PATH: the value at this path. SLOT_COLUMN: s<slot>.v, an element
                               of the array at this path, or NULL for something else */
};

/* A constant expression that was computed. */
struct emit_folded {
    const struct ast *node;
    const cJSON *value;
};

/* A value printed as JSON. */
struct emit_printed {
    const cJSON *value;
    struct slice json;
};

#define EMIT_MEMO 8

struct emitter {
    struct emit *emit;
    struct sql *sql;
    struct emit_slot *slots;          /* of the statement; slot 0, the item, is not among them */
    const struct ast_query *gathered; /* whose aggregates stand in the select list compiled */
    size_t steps_left, joins_left, selects_left;
    unsigned folded_count, printed_count;
    struct emit_folded folded[EMIT_MEMO];
    struct emit_printed printed[EMIT_MEMO];
};

/* False without memory. */
bool emitter_init(struct emitter *emitter, struct emit *emit, const struct ast_query *query,
                  struct sql *sql) MUST_CHECK;

struct emit_mark {
    size_t len;
    unsigned param_count;
    size_t joins_left, selects_left;
};

struct emit_mark emit_mark(const struct emitter *emitter);

/* Take back what was appended since; false, for tail calls. */
bool emit_back(struct emitter *emitter, struct emit_mark mark);

/* Append SQL as it stands. */
void emit_raw(struct emitter *emitter, const char *text);

/* Spend steps; false when the statement has become too large. */
bool emit_spend(struct emitter *emitter);

/* Room for that many operands of a text or value that is put together? */
bool emit_join(struct emitter *emitter, size_t count) MUST_CHECK;

/* Append the beginning of a select; false when there are too many. */
bool emit_select(struct emitter *emitter, const char *text) MUST_CHECK;

/*
 * An expression as SQL of that kind: its value, NULL where it is undefined or of another type. One
 * term, in parentheses where needed.
 */
bool emit_scalar(struct emitter *emitter, const struct ast *node, enum emit_kind kind) MUST_CHECK;

/* The same as it leaves the evaluator, as jsonb: numbers that are not finite are undefined. */
bool emit_output(struct emitter *emitter, const struct ast *node) MUST_CHECK;

/* The kind an expression has by itself; KIND_JSONB when that depends on the data. */
enum emit_kind emit_kind_of(struct emitter *emitter, const struct ast *node);

/* Can a KIND_NUMBER be an infinity or NaN? */
bool emit_may_overflow(const struct emitter *emitter, const struct ast *node);

/* Is it a constant? Then its value, NULL for undefined; the arena's, or the tree's. */
bool emit_constant(struct emitter *emitter, const struct ast *node, const cJSON **value);

/* A value as JSON, in the arena; absent when a number is not finite, or without memory. */
struct slice emit_json(struct emitter *emitter, const cJSON *value);

/* A value as SQL. */
bool emit_value(struct emitter *emitter, const cJSON *value, enum emit_kind kind) MUST_CHECK;

/* The name of the member that a node steps to: c.name, c["name"], c[@name]. */
bool emit_member_name(const struct ast *node, struct slice *name);

/* _ts, _rid, _etag, _self, _attachments of the item: what the document in the table lacks. */
bool emit_is_system(const struct ast *node);
bool emit_is_ts(const struct ast *node);

/* Is it the item itself? */
bool emit_is_item(const struct emitter *emitter, const struct ast *node);

/* A condition, and behind it the two branches. */
bool emit_conditional(struct emitter *emitter, const struct ast *condition,
                      enum emit_kind kind) MUST_CHECK;

/* emit_query.c: queries inside expressions. */
bool emit_query_value(struct emitter *emitter, const struct ast *node,
                      enum emit_kind kind) MUST_CHECK;

/* emit_call.c: functions. */
bool emit_call(struct emitter *emitter, const struct ast *node, enum emit_kind kind) MUST_CHECK;
enum emit_kind emit_call_kind(struct emitter *emitter, const struct ast *node);

/* A conversion around what `append` appends of a node, from one kind to another. */
typedef bool emit_append_fn(struct emitter *emitter, const struct ast *node);
bool emit_converted(struct emitter *emitter, const struct ast *node, enum emit_kind from,
                    enum emit_kind to, emit_append_fn *append) MUST_CHECK;

#endif
