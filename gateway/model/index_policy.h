/*
 * What an indexing policy says of a path.
 *
 * A policy names patterns. One that ends with a question mark is the value at a path, one that ends
 * with a star is that value and all below it (the root's star: everything), and "[]" stands for the
 * elements of an array. A path obeys the most precise pattern that matches it: the longest, and of
 * two equally long ones that with the question mark. The patterns are kept as a tree, one level per
 * step, so an answer costs one walk along the path.
 *
 * "id" and "_ts" are always indexed while the mode is consistent; the service has it so, too. A
 * computed property is indexed only when an included path names it: a star does not
 * reach it.
 *
 * Vector and full-text indexes are declarations only: there is no such index underneath, and the
 * evaluator answers what they would serve.
 *
 * Source: protocol reference, section 4.6; the service's "indexing policies" page (precedence,
 * composite indexes).
 */
#ifndef ORRERY_MODEL_INDEX_POLICY_H
#define ORRERY_MODEL_INDEX_POLICY_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/fault.h"

#define INDEX_STEPS_MAX 32
/* Source: query reference, section 8. */
#define INDEX_PATTERNS_MAX 1500
#define INDEX_COMPOSITE_PATHS_MAX 8

/* A member by its decoded name, or any element of an array. */
struct index_step {
    struct slice name;
    bool is_element;
};

/* From the root of an item; no steps are the item itself. */
struct index_path {
    size_t count;
    const struct index_step *steps;
};

/* The value at a path when it is null, a boolean, a number or a string; or whatever is there, with
 * everything below. */
enum index_reach { INDEX_VALUE, INDEX_SUBTREE };

/* One key of an order: of ORDER BY, or of a composite index. */
struct index_key {
    struct index_path path;
    bool is_descending;
};

struct index_composite {
    size_t count; /* two or more */
    const struct index_key *keys;
};

struct index_box {
    double x_min, y_min, x_max, y_max;
};

/* Geometries that a spatial index tells apart. */
enum index_geometry {
    INDEX_POINT = 1,
    INDEX_LINE_STRING = 2,
    INDEX_POLYGON = 4,
    INDEX_MULTI_POLYGON = 8,
    INDEX_GEOMETRIES = 15,
};

/* Coordinates of a plane are told apart within these bounds, and within narrower declared ones. */
#define INDEX_BOUND_MAX 1e100

struct index_spatial {
    struct index_path path;
    unsigned types; /* of enum index_geometry */
    struct index_box bounds;
};

/* What is included below a path, relative to what is included above it. */
struct index_rule;

struct index_policy {
    bool is_indexed;               /* the mode is not "none" */
    const struct index_rule *root; /* never NULL */
    size_t composite_count;
    const struct index_composite *composites;
    size_t spatial_count, vector_count, full_text_count;
    const struct index_spatial *spatial;
    bool is_planar; /* geospatialConfig Geometry; set by whoever read that */
    const struct index_path *vector, *full_text;
};

/*
 * Read a policy.
 *
 * text   canonical (container_settings.indexing_policy), or one whose shape was checked
 *        (indexing.c); names are borrowed from it
 * fault  400 naming what cannot be: misplaced wildcards, a path both included and excluded, too
 *        many paths, composite indexes of impossible paths, boundingBox; 503 without memory
 */
bool index_policy_parse(struct index_policy *policy, struct slice text, struct arena *arena,
                        struct fault *fault) MUST_CHECK;

/*
 * Is it indexed? What is indexed may be asked for equality and for ranges and be ordered by.
 *
 * INDEX_VALUE    ORDER BY, =, <, STARTSWITH …: a scalar at the path
 * INDEX_SUBTREE  = with an object or an array: the value and everything below it
 */
bool index_policy_covers(const struct index_policy *policy, const struct index_path *path,
                         enum index_reach reach);

/* Does an included path name this property, as a computed property needs? */
bool index_policy_names(const struct index_policy *policy, struct slice property);

/* Does any path of the policy begin with this property, whatever it says of it? */
bool index_policy_mentions(const struct index_policy *policy, struct slice property);

/*
 * The composite index that can serve an order of two or more keys: the same paths in the same
 * sequence, neither more nor fewer, in the declared directions or all reversed.
 *
 * is_reversed  may be NULL
 * returns      NULL when there is none
 */
const struct index_composite *index_policy_composite(const struct index_policy *policy,
                                                     const struct index_key *keys, size_t count,
                                                     bool *is_reversed);

/* Composite indexes as a list, wherever it comes from: see index_policy_composite. */
const struct index_composite *index_composite_find(const struct index_composite *composites,
                                                   size_t composite_count,
                                                   const struct index_key *keys, size_t count,
                                                   bool *is_reversed);

bool index_path_equals(const struct index_path *a, const struct index_path *b);

/* "/a/\"b c\"/[]", with quotes where a name needs them; "/" for the item itself. */
void index_path_append(struct buf *buf, const struct index_path *path);

/*
 * Read such a path, or a pattern without its last step. Quoted names are copied to the arena,
 * others borrowed. Fault 400 when malformed, 503 without memory.
 */
bool index_path_parse(struct index_path *path, struct slice text, struct arena *arena,
                      struct fault *fault) MUST_CHECK;

/*
 * Rules on their own: what one physical index holds, in a normal form, so that policies that index
 * the same things have equal texts. The members that only the server sets are left out, because
 * stored documents lack them.
 */
void index_rules_append(struct buf *buf, const struct index_policy *policy);

/*
 * When the rules take everything but whole subtrees of members: these.
 *
 * paths  room for max of them; steps in the arena
 * false  when the rules are of another shape, there are more than max, or memory is exhausted
 */
bool index_rules_subtrees(const struct index_policy *policy, struct index_path *paths, size_t max,
                          size_t *count, struct arena *arena) MUST_CHECK;

/* _ts, _etag …: as the first step of a path, members that stored documents lack. */
bool index_step_is_system(const struct index_step *step);

/* Read what index_rules_append wrote, into a policy without composite indexes. Fault 400
 * when it is no JSON, 503 without memory. */
bool index_rules_parse(struct index_policy *policy, struct slice text, struct arena *arena,
                       struct fault *fault) MUST_CHECK;

#endif
