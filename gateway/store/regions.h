/*
 * The topology as this process knows it: read from the region's PostgreSQL, published to all loops
 * as an immutable snapshot behind one atomic pointer.
 *
 * A snapshot that was replaced stays until the process ends, as keys do. It may be out of date by
 * a moment: what must not be wrong is checked by PostgreSQL under the lock of the range.
 */
#ifndef ORRERY_STORE_REGIONS_H
#define ORRERY_STORE_REGIONS_H

#include "base/config.h"
#include "regions/topology.h"

struct regions {
    struct topology topology;    /* of the latest open epoch */
    unsigned self;               /* our ordinal */
    int64_t accepted_epoch;      /* may be later than the topology's */
    bool is_replicating;         /* more than one region is live */
    /* Where the regions are reached, by index in topology.regions; absent when unknown. */
    struct slice peer_url[TOPOLOGY_REGIONS_MAX];   /* by gateways, without a slash at the end */
    struct slice client_url[TOPOLOGY_REGIONS_MAX]; /* by clients; absent: derive it from theirs */
};

/* Never NULL once regions_load succeeded at the start. Any thread. */
const struct regions *regions_current(void);

#endif
