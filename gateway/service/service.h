/*
 * What handlers work with: one per loop.
 */
#ifndef ORRERY_SERVICE_SERVICE_H
#define ORRERY_SERVICE_SERVICE_H

#include "base/config.h"
#include "loop/loop.h"
#include "loop/peer.h"
#include "store/containers.h"
#include "store/index_asks.h"
#include "store/store.h"

struct process;
struct throughput;

struct service {
    struct process *process; /* the whole program's; see http/process.h */
    struct loop *loop;
    const struct config *config;
    struct store store;
    struct index_asks index_asks;
    struct peers peers; /* gateways of other regions */
    struct container_cache containers;
    struct throughput *throughput; /* the process's; NULL unless it is enforced */
};

#endif
