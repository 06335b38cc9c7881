/*
 * Reading definitions: small JSON objects of which every member is known.
 *
 * A member that is not known is refused by its name, so that a setting which would not act is never
 * taken in silence. A null is the same as an absent member. Faults are 400 and say where they are,
 * in the form "indexingPolicy.includedPaths.path".
 */
#ifndef ORRERY_MODEL_DEFINITION_H
#define ORRERY_MODEL_DEFINITION_H

#include "base/arena.h"
#include "base/fault.h"
#include "model/json.h"
#include "model/pkey.h"

struct definition_reader {
    struct arena *arena;
    struct fault *fault;
};

/* Values by the order of names; absent slices for members that are missing or null. */
bool definition_members(struct definition_reader *reader, struct slice object, const char *where,
                        const char *const *names, size_t count, struct slice *values) MUST_CHECK;

/* The cursor over an array's elements, and how many there are. */
bool definition_array(struct definition_reader *reader, struct slice value, const char *where,
                      struct json_cursor *cursor, size_t *count) MUST_CHECK;

/* These read a value that must be there. */
bool definition_string(struct definition_reader *reader, struct slice value, const char *where,
                       struct slice *text) MUST_CHECK;
bool definition_bool(struct definition_reader *reader, struct slice value, const char *where,
                     bool *truth) MUST_CHECK;
bool definition_integer(struct definition_reader *reader, struct slice value, const char *where,
                        int64_t min, int64_t max, int64_t *integer) MUST_CHECK;

/* One of a few words, in any letter case. */
bool definition_word(struct definition_reader *reader, struct slice value, const char *where,
                     const char *const *words, size_t count, size_t *index) MUST_CHECK;

/* A path to a member of an item; not a system property, no wildcards. */
bool definition_path(struct definition_reader *reader, struct slice value, const char *where,
                     struct pkey_path *path) MUST_CHECK;

#endif
