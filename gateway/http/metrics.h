/*
 * Counters of one loop, read by any.
 *
 * A loop alone writes its counters, with relaxed stores; whoever answers /metrics adds up those of
 * all loops.
 */
#ifndef ORRERY_HTTP_METRICS_H
#define ORRERY_HTTP_METRICS_H

#include <stdatomic.h>
#include <stdint.h>

#define METRICS_ROUTES_MAX 96
#define METRICS_BUCKETS 14

struct metrics_route {
    _Atomic uint64_t by_status[6];             /* hundreds: 2 is 2xx; 0 counts 429, 1 counts 1xx */
    _Atomic uint64_t latency[METRICS_BUCKETS]; /* not cumulative */
    _Atomic uint64_t latency_sum_us;
};

struct metrics {
    struct metrics_route routes[METRICS_ROUTES_MAX];
    _Atomic uint64_t unrouted;     /* requests that no route took: 404, 405, bad paths */
    _Atomic uint64_t unauthorized; /* 401 and 403 before a handler ran */
    _Atomic uint64_t connections_total;
    _Atomic uint64_t connections, requests_running, body_bytes;
    _Atomic uint64_t read_batches, read_keys, write_batches, write_operations, queries, cancels;
};

/* Upper bounds of the latency buckets in microseconds; the last has none. */
extern const uint32_t metrics_bounds_us[METRICS_BUCKETS - 1];

static inline void metrics_add(_Atomic uint64_t *counter, uint64_t more)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + more,
                          memory_order_relaxed);
}

/* Count one answered request. route: index from routes.h. */
void metrics_count(struct metrics *metrics, unsigned route, unsigned status, uint64_t took_us);

#endif
