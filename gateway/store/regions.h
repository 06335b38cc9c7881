/*
 * The topology as this process knows it: read from the region's PostgreSQL, published to all loops
 * as an immutable snapshot behind one atomic pointer.
 *
 * A snapshot that was replaced stays until the process ends, as keys do. It may be out of date by
 * a moment (the first loop looks every second): what must not be wrong is checked by PostgreSQL
 * under the lock of the range.
 *
 * A database whose topology is {} has one region, and the flags say everything of it. A topology
 * of several regions comes from a file at the first start (--topology), and is stored; later it
 * changes by epochs alone, and flags that contradict it are refused.
 */
#ifndef ORRERY_STORE_REGIONS_H
#define ORRERY_STORE_REGIONS_H

#include "base/config.h"
#include "model/session.h"
#include "regions/topology.h"
#include "store/store.h"

/* Ordinals of the regions of an epoch, ascending: what session tokens of that version list. */
struct regions_live {
    int64_t epoch;
    size_t count;
    uint32_t ordinals[TOPOLOGY_REGIONS_MAX];
};

/* How far the history of retired regions is kept in a range. */
struct regions_cuts {
    int64_t range_id;
    size_t count;
    const struct session_origin *origins;
};

struct regions {
    struct topology topology; /* of the latest open epoch */
    struct slice document;    /* its text; "{}" for a region that is alone */
    unsigned self;            /* our ordinal */
    int64_t accepted_epoch;   /* may be later than the topology's */
    int64_t closed_for;       /* an epoch that is being accepted; 0: none */
    int64_t fenced_for;       /* as the hub before that epoch we took our last write; 0: none */
    int64_t proposed_epoch;   /* the highest that this region ever proposed */
    bool is_replicating;      /* more than one region is live */
    /* Where the regions are reached, by index in topology.regions; absent when unknown. */
    struct slice peer_url[TOPOLOGY_REGIONS_MAX]; /* by gateways, without a slash at the end */
    /* By clients, the second by plain HTTP; absent: derive it from peer_url. */
    struct slice client_url[2][TOPOLOGY_REGIONS_MAX];
    size_t epoch_count, cut_count;
    const struct regions_live *epochs; /* that were open, ascending */
    const struct regions_cuts *cuts;   /* by range_id */
};

/*
 * Begin: settle who this is, take the topology from config->topology_file into a fresh database,
 * check the flags against what is stored, publish. Blocks; before the threads start.
 *
 * config  borrowed for as long as the process runs
 * fault   what contradicts what, or the database's
 */
bool regions_load(const struct config *config, struct fault *fault) MUST_CHECK;

/* At the end, when no thread runs any more. */
void regions_finish(void);

/* Never NULL once regions_load succeeded. Any thread. */
const struct regions *regions_current(void);

/* The region that this process serves; NULL when the topology does not know it any more. */
const struct topology_region *regions_self(const struct regions *regions);

/* Read it again and publish it if it changed; the next step calls regions_refreshed. */
enum op_next regions_refresh(struct store *store, struct op *op, op_step *next);
bool regions_refreshed(struct op *op) MUST_CHECK;

/* The same, soon, by the first loop. Any thread. */
void regions_refresh_soon(void);

/*
 * Live origins and cuts of a range that stands at an epoch, for session tokens. They are the
 * snapshot's: valid until the process ends.
 *
 * returns  false when this process has not heard of the epoch yet (a refresh was asked for)
 */
bool regions_epoch(int64_t epoch, int64_t range_id, struct session_state *state) MUST_CHECK;

/* The first loop's timer that reads it again. */
struct regions_watch {
    struct store *store;
    struct loop_timer timer;
    struct loop_message message;
    struct op op;
    bool is_running, is_stopping, is_asked;
};

void regions_watch_start(struct regions_watch *watch, struct store *store);

/* Begin nothing new. Zeroed memory is accepted. */
void regions_watch_stop(struct regions_watch *watch);

#endif
