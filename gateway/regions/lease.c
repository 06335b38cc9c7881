#include "regions/lease.h"

#include <assert.h>

#include "base/banned.h"

int64_t lease_asker_ms(const struct lease_rules *rules)
{
    return rules->lease_ms * (1000 - (int64_t) rules->drift_permille) / 1000;
}

int64_t lease_granter_ms(const struct lease_rules *rules)
{
    return (rules->lease_ms * (1000 + (int64_t) rules->drift_permille) + 999) / 1000;
}

/* ---- promises ---- */

void promises_take(struct promises *promises, const struct lease_rules *rules, unsigned ordinal,
                   int64_t epoch, int64_t asked_ms)
{
    int64_t until_ms = asked_ms + lease_asker_ms(rules);
    struct promise *promise = promises->at, *end = promises->at + promises->count;

    while (promise < end && promise->ordinal != ordinal)
        promise++;
    if (promise == end) {
        if (promises->count == TOPOLOGY_REGIONS_MAX)
            return; /* without it the horizon is only nearer */
        promises->count++;
        *promise = (struct promise){.ordinal = ordinal, .epoch = epoch, .until_ms = until_ms};
        return;
    }
    if (epoch < promise->epoch)
        return;
    if (epoch > promise->epoch || until_ms > promise->until_ms)
        *promise = (struct promise){.ordinal = ordinal, .epoch = epoch, .until_ms = until_ms};
}

static bool counts(const struct promise *promise, const struct topology *topology)
{
    const struct topology_region *region = topology_find(topology, promise->ordinal);

    return promise->epoch == topology->epoch && region != NULL && region->state != REGION_RETIRED &&
           region->state != REGION_JOINING;
}

int64_t promises_horizon(const struct promises *promises, const struct topology *topology)
{
    unsigned wanted = topology_majority(topology), count = 0;
    int64_t latest[TOPOLOGY_REGIONS_MAX];

    if (wanted == 1)
        return INT64_MAX;
    for (unsigned i = 0; i < promises->count; i++) {
        if (!counts(&promises->at[i], topology))
            continue;
        unsigned at = count++;
        for (; at > 0 && latest[at - 1] < promises->at[i].until_ms; at--)
            latest[at] = latest[at - 1];
        latest[at] = promises->at[i].until_ms;
    }
    return count >= wanted ? latest[wanted - 1] : INT64_MIN;
}

int64_t promises_until(const struct promises *promises, const struct topology *topology,
                       unsigned ordinal)
{
    for (unsigned i = 0; i < promises->count; i++) {
        if (promises->at[i].ordinal == ordinal && counts(&promises->at[i], topology))
            return promises->at[i].until_ms;
    }
    return INT64_MIN;
}

/* ---- read leases ---- */

int64_t lease_grant_ms(const struct lease_rules *rules, int64_t horizon_ms, int64_t now_ms)
{
    int64_t most_ms = rules->lease_ms;

    if (horizon_ms <= now_ms)
        return 0;
    if (horizon_ms != INT64_MAX && horizon_ms - now_ms < most_ms)
        most_ms = horizon_ms - now_ms;
    return most_ms * (1000 - (int64_t) rules->drift_permille) / 1000;
}

void read_lease_take(struct read_lease *lease, int64_t epoch, int64_t asked_ms, int64_t granted_ms,
                     int64_t set_version)
{
    int64_t until_ms = asked_ms + granted_ms;

    if (granted_ms <= 0 || epoch < lease->epoch)
        return;
    if (epoch > lease->epoch || until_ms > lease->until_ms)
        *lease =
            (struct read_lease){.epoch = epoch, .until_ms = until_ms, .set_version = set_version};
}

bool read_lease_holds(const struct read_lease *lease, int64_t epoch, int64_t now_ms)
{
    return lease->epoch == epoch && now_ms < lease->until_ms;
}
