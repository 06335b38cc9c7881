#include "regions/bounded.h"

#include <string.h>

#include "base/banned.h"

/* Percent of a bound from which on writes are slowed. */
#define SLOW_FROM 80

/*
 * Make room by forgetting every other look, never the last: what a forgotten one saw is then dated
 * by the one before it, so entries look older, and regions less in step, than they are.
 */
static void thin(struct bounded_looks *looks)
{
    unsigned kept = 0;

    for (unsigned i = 0; i < looks->count; i++) {
        if (i % 2 == 0 || i + 1 == looks->count)
            looks->at[kept++] = looks->at[i];
    }
    looks->count = kept;
}

void bounded_look(struct bounded_looks *looks, int64_t lsn, int64_t now_ms)
{
    struct bounded_look *last = looks->count > 0 ? &looks->at[looks->count - 1] : NULL;

    if (last != NULL && lsn < last->lsn)
        return; /* a look that was overtaken */
    if (last != NULL && lsn == last->lsn) {
        if (now_ms > last->at_ms)
            last->at_ms = now_ms;
        return;
    }
    if (looks->count == BOUNDED_LOOKS)
        thin(looks);
    looks->at[looks->count++] = (struct bounded_look){.at_ms = now_ms, .lsn = lsn};
}

int64_t bounded_age_ms(const struct bounded_looks *looks, int64_t lsn, int64_t now_ms)
{
    unsigned i = looks->count;

    if (i == 0)
        return INT64_MAX;
    if (looks->at[i - 1].lsn <= lsn)
        return 0;
    while (i > 0 && looks->at[i - 1].lsn > lsn)
        i--;
    return i > 0 ? now_ms - looks->at[i - 1].at_ms : INT64_MAX;
}

int64_t bounded_synced_ms(const struct bounded_looks *looks, int64_t lsn)
{
    for (unsigned i = looks->count; i > 0; i--) {
        if (looks->at[i - 1].lsn <= lsn)
            return looks->at[i - 1].at_ms;
    }
    return INT64_MIN;
}

/* The delay for one bound. */
static int64_t delay_for(int64_t used, int64_t bound)
{
    if (used >= bound)
        return -1;
    /* In thousandths; bounds are far below what would overflow. */
    int64_t share = used * 1000 / bound - 10 * SLOW_FROM;
    return share <= 0 ? 0 : BOUNDED_DELAY_MAX_MS * share / (1000 - 10 * SLOW_FROM);
}

int64_t bounded_delay_ms(const struct bounded_limits *limits, int64_t lag, int64_t age_ms)
{
    int64_t by_versions = delay_for(lag, limits->versions);
    int64_t by_age = delay_for(age_ms, limits->ms);

    if (by_versions < 0 || by_age < 0)
        return -1;
    return by_versions > by_age ? by_versions : by_age;
}
