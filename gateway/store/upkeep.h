/*
 * What must be done from time to time in a region: expired items become tombstones, old tombstones
 * and batches go, the hub decides who keeps the value of a unique key, tables of dropped containers
 * are removed, logs get their next partition.
 *
 * One loop per process does it, a statement at a time, and several gateways on one PostgreSQL do
 * not disturb each other: every job locks what it touches, and finds nothing left when another was
 * faster. No answer to a client depends on it: what has expired or was dropped is invisible before.
 */
#ifndef ORRERY_STORE_UPKEEP_H
#define ORRERY_STORE_UPKEEP_H

#include "store/store.h"

struct upkeep {
    struct store *store;
    struct loop_timer timer;
    struct op op;
    bool is_running, is_stopping;
    bool has_more; /* a job had more to do than it may at once */
};

/* Begin, a moment from now. The store outlives it. */
void upkeep_start(struct upkeep *upkeep, struct store *store);

/* Begin nothing new. What runs ends with the store. Zeroed memory is accepted. */
void upkeep_stop(struct upkeep *upkeep);

#endif
