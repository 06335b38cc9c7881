/*
 * Partition keys: their definition, their values, and where a value falls.
 *
 * A definition is one path (kind Hash) or up to three (kind MultiHash, "hierarchical"). A value has
 * one component per path: nothing at all (undefined), null, a boolean, a number or a string. It
 * comes from the request header x-ms-documentdb-partitionkey or from the body of an item, and both
 * must agree. From a value follow its effective key, which decides the range, and the canonical
 * bytes of column "pk" (docs/architecture.md, section 3).
 *
 * A container that was made before partition keys existed (systemKey) has a value without
 * components,
 * "[]", whose effective key is empty.
 */
#ifndef ORRERY_MODEL_PKEY_H
#define ORRERY_MODEL_PKEY_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/fault.h"
#include "model/epk.h"

#define PKEY_LEVELS_MAX 3
#define PKEY_PATH_NAMES_MAX 32
/* Canonical bytes of a value that column "pk" holds as they are; longer ones as their digest. */
#define PKEY_CANONICAL_MAX 1024

enum pkey_kind { PKEY_HASH, PKEY_MULTI_HASH };

/* "/a/b" or "/\"a b\"/c": the member names from the root of an item. Borrowed or in an arena. */
struct pkey_path {
    size_t name_count;
    struct slice *names;
    struct slice text; /* as written */
};

struct pkey_definition {
    enum pkey_kind kind;
    unsigned version; /* of the hash: 1 or 2 */
    bool is_system_key;
    size_t path_count;
    struct pkey_path paths[PKEY_LEVELS_MAX];
};

enum pkey_type { PKEY_UNDEFINED, PKEY_NULL, PKEY_FALSE, PKEY_TRUE, PKEY_NUMBER, PKEY_STRING };

struct pkey_component {
    enum pkey_type type;
    double number;     /* finite, never -0 */
    struct slice text; /* valid UTF-8 without NUL */
};

struct pkey {
    size_t count;
    struct pkey_component components[PKEY_LEVELS_MAX];
};

/* What a request may give: all components, or (queries, feeds, delete by key) the first few. */
enum pkey_extent { PKEY_FULL, PKEY_PREFIX };

/*
 * Split a path into its names; a quoted segment may hold slashes, and \" and \\ inside.
 *
 * fault  400 when it does not begin with a slash, has an empty name, or too many
 */
bool pkey_path_parse(struct pkey_path *path, struct slice text, struct arena *arena,
                     struct fault *fault) MUST_CHECK;

/*
 * Read the value of the partition key header, a JSON array; strings without escapes are borrowed.
 *
 * fault   400 when it is no such array, has too few or too many components, or is too long
 *         (2048 bytes; 101 for version 1)
 * source  protocol reference, section 4.3
 */
bool pkey_from_header(struct pkey *pkey, const struct pkey_definition *definition,
                      struct slice header, enum pkey_extent extent, struct arena *arena,
                      struct fault *fault) MUST_CHECK;

/*
 * One component from a value inside a validated text; arrays, objects and the absent slice are
 * undefined. Fault 503 without memory.
 */
bool pkey_component_from_json(struct pkey_component *component, struct slice value,
                              struct arena *arena, struct fault *fault) MUST_CHECK;

/*
 * The value that an item has: a full one, with undefined for what its body lacks.
 *
 * body   root of a validated text; strings without escapes are borrowed from it
 * fault  400 when it is too long
 */
bool pkey_from_body(struct pkey *pkey, const struct pkey_definition *definition, struct slice body,
                    struct arena *arena, struct fault *fault) MUST_CHECK;

/* After components were filled in by hand: apply systemKey, check the length. Fault 400. */
bool pkey_complete(struct pkey *pkey, const struct pkey_definition *definition,
                   struct fault *fault) MUST_CHECK;

bool pkey_equals(const struct pkey *a, const struct pkey *b);

/* 400 SUB_PARTITION_KEY_MISMATCH unless header and body name the same partition. */
bool pkey_check_body(const struct pkey *header, const struct pkey *body,
                     struct fault *fault) MUST_CHECK;

/* Effective key of a full value. */
void pkey_hash(const struct pkey *pkey, const struct pkey_definition *definition, struct epk *epk);

/* The two hashes themselves, over any number of components of values that pkey_complete passed. */
void pkey_hash_v1(const struct pkey_component *components, size_t count, struct epk *epk);
void pkey_hash_v2(const struct pkey_component *components, size_t count, struct epk *epk);

/* The first part of a version 1 key: what ranges of such containers are bounded by. */
void pkey_epk_of_v1_hash(uint32_t hash, struct epk *epk);

/* Effective keys of all values that begin with this one: from min, not including max. */
void pkey_epk_interval(const struct pkey *pkey, const struct pkey_definition *definition,
                       struct epk *min, struct epk *max);

/*
 * The bytes of column "pk": effective key, then canonical components, or FF and their SHA-256 when
 * they are longer than PKEY_CANONICAL_MAX. Fails as buffers do.
 */
void pkey_encode(struct buf *buf, const struct pkey *pkey,
                 const struct pkey_definition *definition);

/* Back to a JSON array, in the form of the header. */
void pkey_append_json(struct buf *buf, const struct pkey *pkey);

#endif
