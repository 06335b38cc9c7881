/*
 * Bounded staleness: how far regions may fall behind the hub, and what writes pay for it.
 *
 * Of every region of the strong set: at most K versions of a range, and no version older than T.
 * The hub slows writes from 80 % of either on and refuses them at it; a region answers while it
 * knows that it lags by no more than T. A transaction is one version. Rules 4.1 to 4.3 of
 * docs/replication.md.
 *
 * Nobody stores when an entry was written by a clock that could be trusted. A gateway looks at the
 * heads of ranges from time to time and remembers what it saw: an entry is no older than the last
 * look that did not see it. What a gateway did not see makes it stricter, never laxer.
 *
 * Times as in lease.h.
 */
#ifndef ORRERY_REGIONS_BOUNDED_H
#define ORRERY_REGIONS_BOUNDED_H

#include "base/compiler.h"

#include <stdbool.h>
#include <stdint.h>

#define BOUNDED_LOOKS 16
/* The longest delay of a write, just below the bound. */
#define BOUNDED_DELAY_MAX_MS 1000

struct bounded_limits {
    int64_t versions; /* K */
    int64_t ms;       /* T */
};

struct bounded_look {
    int64_t at_ms;
    int64_t lsn; /* the head that was seen; all looks have different ones, ascending */
};

/* What was seen of one range. Zeroed: nothing yet. */
struct bounded_looks {
    unsigned count;
    struct bounded_look at[BOUNDED_LOOKS];
};

/* A look at the range's head: taken at that time at the latest for what it shows. */
void bounded_look(struct bounded_looks *looks, int64_t lsn, int64_t now_ms);

/*
 * An upper bound of the age of the oldest entry beyond lsn, 0 when the head that was seen last is
 * not beyond it, INT64_MAX when it may be of any age.
 */
int64_t bounded_age_ms(const struct bounded_looks *looks, int64_t lsn, int64_t now_ms);

/*
 * When the heads of the looks are the hub's: the latest time at which everything that was there is
 * covered by lsn; INT64_MIN when there is none.
 */
int64_t bounded_synced_ms(const struct bounded_looks *looks, int64_t lsn);

/*
 * What a write pays.
 *
 * lag     versions that the farthest region would lack with this write
 * age_ms  of the oldest entry that it lacks
 * returns the delay, 0 below 80 %, or -1: refuse it
 */
int64_t bounded_delay_ms(const struct bounded_limits *limits, int64_t lag, int64_t age_ms);

#endif
