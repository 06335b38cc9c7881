/*
 * Patches: up to ten operations on one item, applied to its text in order, all or none.
 *
 * The text is edited in place, so members that no operation names keep their bytes, order and
 * number text. Operations are add, set, replace, remove, incr and move; paths are JSON pointers
 * (RFC 6901). Source: REST reference "Partial document update"; the SDKs' patch requests.
 */
#ifndef ORRERY_MODEL_PATCH_H
#define ORRERY_MODEL_PATCH_H

#include "base/arena.h"
#include "base/fault.h"
#include "model/item.h"
#include "model/pkey.h"

#define PATCH_OPS_MAX 10

enum patch_kind {
    PATCH_ADD,     /* make a member or overwrite it; insert an element, or append it ("-") */
    PATCH_SET,     /* as add, but an element that exists is overwritten */
    PATCH_REPLACE, /* what exists only */
    PATCH_REMOVE,  /* what exists only */
    PATCH_INCR,    /* add to a number; makes the member when it is missing */
    PATCH_MOVE,    /* remove from one place, add at another */
};

/* A JSON pointer: decoded segments from the root of the item, at least one. */
struct patch_path {
    struct slice text; /* as the client wrote it, decoded from JSON */
    struct slice *names;
    size_t names_count;
};

struct patch_op {
    enum patch_kind kind;
    struct patch_path path;
    struct patch_path from; /* of a move */
    struct slice value;     /* JSON; absent for remove and move */
};

struct patch {
    struct patch_op ops[PATCH_OPS_MAX];
    size_t ops_count;
    struct slice condition; /* decoded query filter "from c where …"; absent when there is none */
};

/*
 * Parse the body of a patch: an array of operations, or an object with "operations" and perhaps
 * "condition".
 *
 * body     borrowed, as the item's body is in item_parse
 * fault    400 for what is no such body, an unknown operation or member, no or more than ten
 * operations, a value or from that is missing, a path that is no pointer, a move into its own
 * child; 413 above ITEM_BYTES_MAX; 503 without memory
 */
bool patch_parse(struct slice body, struct arena *arena, struct patch *patch,
                 struct fault *fault) MUST_CHECK;

/* The same for a value inside a text that json_validate has accepted, such as a batch. */
bool patch_from_value(struct slice value, struct arena *arena, struct patch *patch,
                      struct fault *fault) MUST_CHECK;

/*
 * Refuse operations on the id, on system properties, on partition key paths, on what lies below
 * these or holds them. Needs no item, so it can be asked before the item is read. Fault 400.
 */
bool patch_check(const struct patch *patch, const struct pkey_definition *definition,
                 struct fault *fault) MUST_CHECK;

/*
 * Apply a patch that patch_check allowed.
 *
 * stored   the item's stored text
 * result   parsed as item_parse does, in the arena; result->stored is the new text
 * fault    400 naming the operation when its place or its parent is missing, is no number for incr,
 * or the sum is no finite number; 413 when the item grows above ITEM_BYTES_MAX; 400 when the result
 * is no valid item (ttl, nesting); 503 without memory
 */
bool patch_apply(const struct patch *patch, struct slice stored, struct arena *arena,
                 struct item *result, struct fault *fault) MUST_CHECK;

#endif
