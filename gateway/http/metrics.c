#include "http/metrics.h"

#include "base/banned.h"

const uint32_t metrics_bounds_us[METRICS_BUCKETS - 1] = {
    100, 250, 500, 1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000, 1000000, 5000000};

void metrics_count(struct metrics *metrics, unsigned route, unsigned status, uint64_t took_us)
{
    struct metrics_route *counters = &metrics->routes[route];
    unsigned bucket = 0;

    while (bucket < METRICS_BUCKETS - 1 && took_us > metrics_bounds_us[bucket])
        bucket++;
    metrics_add(&counters->by_status[status == 429 ? 0 : status / 100 % 6], 1);
    metrics_add(&counters->latency[bucket], 1);
    metrics_add(&counters->latency_sum_us, took_us);
}
