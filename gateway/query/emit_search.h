/*
 * Predicates in their searching form: where they are true, said so that indexes find it. Included
 * by emit*.c only; what emit_scalar.h says of its functions holds here.
 */
#ifndef ORRERY_QUERY_EMIT_SEARCH_H
#define ORRERY_QUERY_EMIT_SEARCH_H

#include "query/emit_query.h"
#include "query/value.h"

/* ---- places: where in an item a value is ---- */

/* Which element of an array is meant: a source's slot, or one of these. */
#define ELEMENT_INDEXED 0x80000000u /* + n: the nth */
#define ELEMENT_ANY 0x40000000u     /* + a number of its own */

struct emit_place {
    size_t count;
    struct index_step steps[INDEX_STEPS_MAX];
    unsigned elements[INDEX_STEPS_MAX]; /* 0 for members */
    bool has_elements;
    bool has_indexed; /* elements by number: containment does not know the number */
};

/* Where an expression's value is, when it is a path of the stored document. */
bool emit_place(struct emitter *emitter, const struct ast *node, struct emit_place *place);

/* The place as a path; borrows from it. */
struct index_path emit_place_path(const struct emit_place *place);

/* Remember for the caller. */
void emit_note_use(struct emitter *emitter, enum emit_use_kind kind,
                   const struct emit_place *place);

/* ---- emit_contain.c: documents that an item must contain ---- */

/* Part of such a document: a member or an element, its value or what is in it. */
struct contained {
    struct contained *next;
    struct slice name;
    unsigned element;
    struct contained *children;
    const cJSON *value;
};

/* Of a condition, what containment says. */
enum contain_result {
    CONTAIN_ALL,     /* exactly the condition, as far as it is in the document now */
    CONTAIN_HINT,    /* something that follows from it */
    CONTAIN_NOTHING, /* nothing was added */
    CONTAIN_NEVER,   /* the same, and the condition is never true */
};

/* Add to a document what follows from a condition being true. */
enum contain_result emit_contain(struct emitter *emitter, struct contained *document,
                                 const struct ast *condition);

/* The same for some row of a query passing its filter; its sources are bound. */
enum contain_result emit_contain_rows(struct emitter *emitter, struct contained *document,
                                      const struct ast_query *query);

/* The same for the equality of two expressions, the second of which is a constant. */
enum contain_result emit_contain_equality(struct emitter *emitter, struct contained *document,
                                          const struct ast *path, const struct ast *other);

/* The document as JSON in the arena; absent without memory. */
struct slice emit_contained_json(struct emitter *emitter, const struct contained *document);

/* Append "i.doc", or what else the GIN index is on. */
void emit_contained_left(struct emitter *emitter);

/* ---- emit_range.c: ranges of (rank, key) ---- */

/*
 * Append a condition that holds exactly where the node is true, when it is a comparison, a prefix
 * or a type check that a btree could answer. False for all others, with nothing appended.
 */
bool emit_range(struct emitter *emitter, const struct ast *node);

/* A value as (rank, key): the JSON of its key. False for a number that is not finite. */
struct emit_key {
    enum value_rank rank;
    struct slice json;
    bool is_cut; /* a string no shorter than a key: the key may be that of others */
};

bool emit_key(struct arena *arena, const cJSON *value, struct emit_key *key);

/* The same for alternatives on one path that together are one interval, as SDKs write when they
 * resume an order: ( c.a >= 5 OR IS_STRING(c.a) OR IS_ARRAY(c.a) OR IS_OBJECT(c.a) ). */
bool emit_interval(struct emitter *emitter, const struct ast *alternatives);

/* ---- emit_spatial.c: boxes around geometries ---- */

/*
 * Append a condition that holds wherever the node is true, and elsewhere: when it is ST_WITHIN,
 * ST_INTERSECTS or a small ST_DISTANCE between a path and a constant, and there is a spatial index.
 * False for all others, with nothing appended.
 */
bool emit_spatial(struct emitter *emitter, const struct ast *node);

/* ---- emit_search.c ---- */

/* Bind what sources of the item stand for, without FROM: for places. */
void emit_bind_places(struct emitter *emitter, const struct ast_query *query);

/* Append what containment says of the rows of joined sources. */
enum contain_result emit_joined_hint(struct emitter *emitter, const struct ast_query *query);

/* Is there a source that gives more or fewer rows than one? */
bool emit_is_joined(const struct ast_query *query);

/*
 * Append a condition for a list of siblings that must all be true. EMIT_NOTHING appends nothing.
 */
enum emit_form emit_search(struct emitter *emitter, const struct ast *first, size_t count);

#endif
