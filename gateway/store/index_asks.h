/*
 * Range indexes that queries would use, or use: noted here, told to PostgreSQL together every now
 * and then (orrery.index_ask), made there by whoever builds indexes. One per loop.
 *
 * What was told is not told again for a while; what does not fit is told when it is asked for
 * again.
 */
#ifndef ORRERY_STORE_INDEX_ASKS_H
#define ORRERY_STORE_INDEX_ASKS_H

#include "query/emit.h"
#include "store/containers.h"
#include "store/store.h"

#define INDEX_ASKS_MAX 64

struct index_ask {
    uint32_t container;
    char *spec; /* of a range index */
};

struct index_asks {
    struct store *store;
    struct loop_timer timer;
    struct op op;
    bool is_running, is_armed, is_stopping;
    unsigned count, sent;
    struct index_ask asks[INDEX_ASKS_MAX];
    struct {
        uint64_t hash;
        int64_t until_ms;
    } recent[256];
};

/* The store outlives it. */
void index_asks_start(struct index_asks *asks, struct store *store);

/* Tell nothing more. What runs ends with the store. Zeroed memory is accepted. */
void index_asks_stop(struct index_asks *asks);

/* After every op has ended. */
void index_asks_finish(struct index_asks *asks);

/* Note what a query of this container used or would have used. */
void index_asks_note(struct index_asks *asks, const struct container *container,
                     const struct emit_use *uses);

#endif
