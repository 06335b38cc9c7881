/*
 * What a gateway does for its region among the others, besides answering clients: it runs in the
 * loop of the first worker, everything that has a timer there in a file of its own.
 *
 * While the account has one region nothing runs.
 */
#ifndef ORRERY_REPLICA_REPLICA_H
#define ORRERY_REPLICA_REPLICA_H

#include "base/config.h"
#include "loop/peer.h"
#include "store/store.h"

struct arbiter;
struct beats;
struct census;
struct failover;
struct puller;

struct replica {
    const struct config *config;
    struct loop *loop;
    struct store *store;
    struct peers *peers;
    struct puller *puller;     /* takes entries from other regions */
    struct beats *beats;       /* keeps leases */
    struct census *census;     /* counts what the region holds */
    struct failover *failover; /* changes of the topology */
    struct arbiter *arbiter;   /* asks etcd who may be the hub */
};

/* Begin. Everything is borrowed and outlives the replica. False without memory; replica_finish is
 * due either way. */
bool replica_start(struct replica *replica, const struct config *config, struct loop *loop,
                   struct store *store, struct peers *peers) MUST_CHECK;

/* Begin nothing new. Zeroed memory is accepted. */
void replica_stop(struct replica *replica);

/* After the peers and the store are finished: nothing is in flight any more. */
void replica_finish(struct replica *replica);

#endif
