/*
 * The indexes that PostgreSQL really has for a container, and the SQL that meets them.
 *
 * An index is used when a statement's expression is the index's own. This file prints both, so they
 * cannot differ: definitions for whoever builds an index (store/indexes.c), expressions for whoever
 * compiles a query (emit.c). The alias of the items in queries is "i".
 *
 *   containment  GIN over the document, or over what the policy leaves of it: serves every
 *                equality, IN and ARRAY_CONTAINS on paths that it covers
 *   range        btree over (range_id, value_rank(p), value_key(p), rid): serves ranges and ORDER
 *                BY on one path; made when queries have asked for it. The path /_ts is a column
 *   composite    btree over the ranks and keys of several paths in given directions, then rid in
 *                the direction of the first; as the policy declares. Of more than three paths it
 *                holds the first three (an index row has 2,704 bytes), PostgreSQL sorts the rest
 *                within them
 *   spatial      GiST over the box around the geometry at a path (query/geometry_box.h), as the
 * policy declares; of all ranges, because PostgreSQL has no operators for the range there
 *
 * Nothing here decides what is right: PostgreSQL answers every statement without any index, too. A
 * set that is out of date costs time only.
 */
#ifndef ORRERY_QUERY_INDEX_SET_H
#define ORRERY_QUERY_INDEX_SET_H

#include "model/index_policy.h"

#include <cjson/cJSON.h>

enum index_kind {
    INDEX_CONTAINMENT = 1,
    INDEX_RANGE,
    INDEX_COMPOSITE,
    INDEX_SPATIAL = 5 /* as stored */
};

/* A spatial index; on the globe the bounds are not used. */
struct index_located {
    struct index_spatial spatial;
    bool is_planar;
};

struct index_set {
    bool has_containment;
    struct index_policy contained; /* what the GIN index holds */
    size_t range_count, range_room;
    struct index_path *ranges;
    size_t composite_count, composite_room;
    struct index_composite *composites;
    size_t located_count, located_room;
    struct index_located *located;
};

/*
 * Add one index that is ready.
 *
 * spec    text of index_spec_append
 * fault   500 when a text is none; 503 without memory
 */
bool index_set_add(struct index_set *set, enum index_kind kind, struct slice spec,
                   struct arena *arena, struct fault *fault) MUST_CHECK;

/*
 * May a condition on this path be asked as containment: is every value at it (and, with
 * INDEX_SUBTREE, all below it) in the GIN index?
 */
bool index_set_contains(const struct index_set *set, const struct index_path *path,
                        enum index_reach reach);

/*
 * The left side of @>, such as "i.doc" or "(i.doc #- array['a','b'])". It fits the index while
 * there is one; without one it is "i.doc", which is as right. set may be NULL.
 */
void index_set_append_containment(const struct index_set *set, struct buf *sql);

/* Is there a range index on the path? */
bool index_set_has_range(const struct index_set *set, const struct index_path *path);

/* The spatial index on a path, when it is about what the container's geometries are; else NULL. */
const struct index_located *index_set_located(const struct index_set *set,
                                              const struct index_path *path, bool is_planar);

/* The composite index for an order of several keys; NULL when there is none. */
const struct index_composite *index_set_composite(const struct index_set *set,
                                                  const struct index_key *keys, size_t count,
                                                  bool *is_reversed);

/* "i.doc->'a'->'b'": the value at a path of members as jsonb. alias may be empty. */
void index_append_value(struct buf *sql, const char *alias, const struct index_path *path);

/* "orrery.value_rank(i.doc->'a')" and "orrery.value_key(i.doc->'a')". For /_ts, which is a column,
 * see index_path_is_ts. */
void index_append_rank(struct buf *sql, const char *alias, const struct index_path *path);
void index_append_key(struct buf *sql, const char *alias, const struct index_path *path);

/* "orrery.globe_box(i.doc->'a', 15)", or plane_box: the box around the geometry at a path. */
void index_append_box(struct buf *sql, const char *alias, const struct index_located *located);

/* Ordered and ranged by the column i.ts alone. */
bool index_path_is_ts(const struct index_path *path);

/* Can there be a range index or a spatial one: a path of one or more members, elements of arrays
 * not among them? */
bool index_path_can_range(const struct index_path *path);

/* How many of a composite index's paths the btree holds: the first few; 0: there is none. */
size_t index_composite_held(const struct index_composite *composite);

/* The text by which an index is known: of a path, of a composite index, of what a GIN index
 * holds. */
void index_spec_append_path(struct buf *spec, const struct index_path *path);
void index_spec_append_composite(struct buf *spec, const struct index_composite *composite);
void index_spec_append_located(struct buf *spec, const struct index_located *located);
void index_spec_append_rules(struct buf *spec, const struct index_policy *policy);

/* What follows "on orrery.items_<n> " in CREATE INDEX. */
bool index_append_definition(struct buf *sql, enum index_kind kind, struct slice spec,
                             struct arena *arena, struct fault *fault) MUST_CHECK;

/* An index to be made. */
struct index_wanted {
    enum index_kind kind;
    struct slice spec, definition; /* terminated, in the arena */
};

/* The indexes that a policy declares. Fault 503. */
bool index_set_declared(const struct index_policy *policy, struct index_wanted **list,
                        size_t *count, struct arena *arena, struct fault *fault) MUST_CHECK;

#endif
