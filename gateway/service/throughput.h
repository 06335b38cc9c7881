/*
 * Throughput that is enforced: what each container, or database that shares its throughput, may
 * still spend. One table for the whole process, shared by all loops; it exists only with
 * --enforce-throughput.
 *
 * A bucket fills with the provisioned request units per second, to one second's worth at most. What
 * a request costs is known when it is answered, so it is taken then, and may leave the bucket below
 * zero: the next requests wait until it is paid. The bound is of one gateway; several of them on
 * one PostgreSQL each count their own.
 */
#ifndef ORRERY_SERVICE_THROUGHPUT_H
#define ORRERY_SERVICE_THROUGHPUT_H

#include "base/compiler.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define THROUGHPUT_CHAINS 1024

struct throughput_bucket;

struct throughput {
    pthread_mutex_t lock; /* held for a look at one chain, never while waiting for anything */
    struct throughput_bucket *chains[THROUGHPUT_CHAINS];
};

bool throughput_init(struct throughput *table) MUST_CHECK;
void throughput_finish(struct throughput *table);

/*
 * How long until a request may start: 0 for now.
 *
 * owner   number of the container or database whose offer it is
 * now_us  monotonic; threads may be a little apart
 */
uint32_t throughput_wait_ms(struct throughput *table, uint32_t owner, int32_t ru_per_s,
                            int64_t now_us);

/*
 * Take what a request cost. Never refuses: the work is done.
 * Without memory for a new bucket the request goes unpaid.
 */
void throughput_charge(struct throughput *table, uint32_t owner, int32_t ru_per_s,
                       int64_t charge_cru, int64_t now_us);

#endif
