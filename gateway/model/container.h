/*
 * Containers: their definition, checked and completed, and what of it the gateway acts upon.
 *
 * Every member of a definition is known here. One that is not, or that asks for what this server
 * does not do, is refused by its name; members that are kept but act only later are listed in
 * docs/compatibility.md. The result is a canonical text without system properties, with the
 * defaults filled in; reading it again gives the same text.
 *
 * Source: protocol reference, section 4.6.
 */
#ifndef ORRERY_MODEL_CONTAINER_H
#define ORRERY_MODEL_CONTAINER_H

#include "base/arena.h"
#include "base/fault.h"
#include "model/index_policy.h"
#include "model/pkey.h"

#include <stdint.h>

#define CONTAINER_UNIQUE_KEYS_MAX 10
#define CONTAINER_UNIQUE_PATHS_MAX 16
#define CONTAINER_UNIQUE_VALUE_BYTES 32

/* default_ttl_s without a default: items expire only by their own ttl. */
#define CONTAINER_TTL_NO_DEFAULT (-1)

struct container_unique_key {
    size_t path_count;
    struct pkey_path *paths;
};

enum container_conflict_mode { CONTAINER_LAST_WRITER_WINS, CONTAINER_CUSTOM };

/* Slices and paths live in the arena that the definition was read with. */
struct container_settings {
    struct slice id;
    struct pkey_definition partition_key;
    bool has_default_ttl;  /* otherwise no item of the container expires */
    int32_t default_ttl_s; /* seconds, or CONTAINER_TTL_NO_DEFAULT */
    size_t unique_key_count;
    struct container_unique_key *unique_keys;
    struct index_policy indexing;
    enum container_conflict_mode conflict_mode;
    struct slice conflict_path;      /* "/_ts" unless set */
    struct pkey_path conflict_rank;  /* the same; without names where versions rank by _ts */
    struct slice conflict_procedure; /* may be empty */
};

/* What an item holds of a unique key while it is shown. */
struct container_claim {
    int16_t key_number; /* from 0, by the order in the definition */
    uint8_t value[CONTAINER_UNIQUE_VALUE_BYTES];
};

/*
 * Read the body of a create.
 *
 * definition  canonical text in the arena
 * fault       400 naming the member; 503 without memory
 */
bool container_parse(struct container_settings *settings, struct slice *definition,
                     struct slice body, struct arena *arena, struct fault *fault) MUST_CHECK;

/*
 * Read the body of a replace.
 *
 * stored  canonical text of the container as it is. What may not change may be left out:
 * partitionKey, uniqueKeyPolicy, conflictResolutionPolicy; so may a version or kind of partitionKey
 * fault   as above, and 400 when one of these or the id would change
 */
bool container_parse_replacement(struct container_settings *settings, struct slice *definition,
                                 struct slice body, struct slice stored, struct arena *arena,
                                 struct fault *fault) MUST_CHECK;

/* Settings from a stored definition. Fault 500 when the text is none, 503 without memory. */
bool container_load(struct container_settings *settings, struct slice stored, struct arena *arena,
                    struct fault *fault) MUST_CHECK;

/*
 * The claims of an item: one per unique key, SHA-256 of the canonical values at its paths; what is
 * missing counts as null.
 *
 * body    root of a validated text
 * claims  room for settings->unique_key_count
 * fault   503 without memory
 */
bool container_unique_claims(const struct container_settings *settings, struct slice body,
                             struct container_claim *claims, struct arena *arena,
                             struct fault *fault) MUST_CHECK;

/*
 * What an item ranks by among concurrent versions: the number at the conflict resolution path.
 *
 * body     root of a validated text
 * returns  false when versions rank by _ts, or when there is no number: below all that have one
 */
bool container_conflict_rank(const struct container_settings *settings, struct slice body,
                             double *rank);

#endif
