/*
 * The program while it serves: its loops, and what they share.
 */
#ifndef ORRERY_HTTP_PROCESS_H
#define ORRERY_HTTP_PROCESS_H

#include "http/server.h"
#include "replica/replica.h"
#include "service/throughput.h"
#include "store/index_builder.h"
#include "store/regions.h"
#include "store/upkeep.h"

#include <pthread.h>
#include <stdatomic.h>

/* One loop and its thread. */
struct worker {
    struct process *process;
    pthread_t thread;
    struct loop loop;
    struct service service;
    struct server server;
    struct metrics metrics;
    struct upkeep upkeep;               /* of the first worker */
    struct replica replica;             /* the same */
    struct regions_watch regions_watch; /* the same */
    struct loop_message drain;
    struct loop_timer poll; /* looks whether PostgreSQL is there, later whether all is drained */
    int64_t drain_until_ms;
    int plain_fd, secure_fd;
    _Atomic bool is_ready;
    bool is_draining;
};

struct process {
    const struct config *config;
    struct throughput throughput; /* used only when it is enforced */
    int https_port, http_port;    /* as bound; CONFIG_PORT_NONE when not served */
    int64_t started_s;            /* wall clock */
    struct index_builder index_builder;
    unsigned worker_count;
    struct worker *workers;
    int ready_fd; /* eventfd: a worker became ready, or failed */
};

#endif
