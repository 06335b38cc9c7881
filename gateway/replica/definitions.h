/*
 * What must be known of containers to apply entries: their unique keys, which never change.
 */
#ifndef ORRERY_REPLICA_DEFINITIONS_H
#define ORRERY_REPLICA_DEFINITIONS_H

#include "base/list.h"
#include "model/container.h"

#define DEFINITIONS_MAX 1000

struct definition {
    struct list age; /* oldest first */
    uint32_t number;
    struct arena arena;
    struct container_settings settings;
};

struct definitions {
    struct list ages;
    unsigned count;
};

void definitions_init(struct definitions *definitions);
void definitions_finish(struct definitions *definitions);

/* NULL when it is not known. Valid until the next one is kept. */
const struct definition *definitions_find(struct definitions *definitions, uint32_t number);

/* Keep a container's definition; NULL and a fault when it is none, or without memory. */
const struct definition *definitions_keep(struct definitions *definitions, uint32_t number,
                                          struct slice body, struct fault *fault) MUST_CHECK;

#endif
