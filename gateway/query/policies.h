/*
 * What a container's definition says to functions: which coordinates its geometries have, what its
 * vectors are, in which language its texts are written.
 */
#ifndef ORRERY_QUERY_POLICIES_H
#define ORRERY_QUERY_POLICIES_H

#include "base/arena.h"
#include "base/fault.h"
#include "model/pkey.h"
#include "query/ast.h"

/* How near two vectors are. The names in definitions and options: cosine, dotproduct, euclidean. */
enum vector_function {
    VECTOR_COSINE,      /* cosine of the angle */
    VECTOR_DOT_PRODUCT, /* as it says */
    VECTOR_EUCLIDEAN,   /* length of the difference: the smaller the nearer */
};

struct vector_embedding {
    struct pkey_path path;
    unsigned dimensions;
    enum vector_function function;
};

struct text_path {
    struct pkey_path path;
    struct slice language; /* such as "en-US" */
};

/* Borrowed by every eval; lives in an arena. Zeroed: nothing is declared. */
struct query_policies {
    bool is_planar; /* geospatialConfig Geometry */
    const struct vector_embedding *embeddings;
    size_t embedding_count;
    struct slice default_language; /* empty: English */
    const struct text_path *texts;
    size_t text_count;
};

/*
 * Read a container's canonical definition.
 *
 * definition  borrowed where strings have no escapes
 * fault       503; 500 when it is no definition
 */
bool query_policies_load(struct query_policies *policies, struct slice definition,
                         struct arena *arena, struct fault *fault) MUST_CHECK;

/* The name, in any letter case; false when there is no such function. */
bool vector_function_parse(struct slice name, enum vector_function *function);

/* What is declared of the property that an expression names (c.a.b, over the item); NULL for none.
 */
const struct vector_embedding *query_policies_embedding(const struct query_policies *policies,
                                                        const struct ast *path);

/* The language of the text there; the default, and English without one. */
struct slice query_policies_language(const struct query_policies *policies, const struct ast *path);

#endif
