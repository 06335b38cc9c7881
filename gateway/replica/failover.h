/*
 * Carrying out changes of the topology, and hearing of those that other regions carry out.
 *
 * A change is a row of orrery.changes in the region that will be the hub, and goes through stages,
 * each of which may be done again: a gateway that dies is followed by another one, or by itself.
 *
 *   catching-up  wait until this region holds what the old hub has now, while it still takes writes
 *   closing      no region gives promises or grants any more; those that were given run out
 *   accepting    regions accept the epoch and tell what they have; the old hub takes its last write
 *   reaching     wait until this region holds what they told
 *   opening      a marker into every range; then it is told everywhere
 *
 * Source: replication rules 5.1 to 5.5; docs/replication.md.
 */
#ifndef ORRERY_REPLICA_FAILOVER_H
#define ORRERY_REPLICA_FAILOVER_H

#include "replica/replica.h"
#include "store/epochs.h"

struct failover {
    struct replica *replica;
    struct loop_timer timer;
    struct loop_message message;
    struct op op;
    bool is_running, is_stopping, is_kicked;
    int64_t holder;      /* this process, in orrery.changes */
    int64_t news_due_ms; /* monotonic: when the other regions are asked again */
    int64_t started_ms;  /* before a while is over it is not known who is silent */
    /* Of the change under way; lost with the process, and then done again. */
    int64_t epoch;         /* 0: none */
    int64_t closed_at_ms;  /* when all that answered had closed; 0: not yet */
    const char *waits_for; /* what is written of the arbiter */
    bool was_passed;       /* every region was asked to accept once */
    bool is_closed[TOPOLOGY_ORDINAL_MAX + 1];
};

/* Begin, a moment from now. */
void failover_start(struct failover *failover, struct replica *replica);

/* Begin nothing new. Zeroed memory is accepted. */
void failover_stop(struct failover *failover);

/* Look at once. Any thread. */
void failover_kick(void);

#endif
