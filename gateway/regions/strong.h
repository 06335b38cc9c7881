/*
 * The strong set: the regions that must have a write before it is acknowledged, and that may read
 * what is committed.
 *
 *     out ──heard again──▶ joining ──has what there was──▶ in ──silent──▶ leaving ──waited──▶ out
 *                             ▲                                              │
 *                             └────────────────── heard again ───────────────┘
 *
 * Acks of joining, in and leaving regions are needed; only regions that are in are leased reading.
 * A region leaves only after its leases have run out, and comes in only when it has everything that
 * was written before its acks were needed. The set never falls below a majority. It belongs to one
 * epoch: under a new one everybody joins again. Rules 3.5, 3.6 and 4.3 of docs/replication.md.
 *
 * The states are in the hub's PostgreSQL; several gateways decide at once, and each change is made
 * only if the state is still the one of the version that was looked at.
 */
#ifndef ORRERY_REGIONS_STRONG_H
#define ORRERY_REGIONS_STRONG_H

#include "regions/lease.h"

enum strong_state { STRONG_OUT, STRONG_JOINING, STRONG_IN, STRONG_LEAVING };

struct strong_member {
    unsigned ordinal;
    enum strong_state state;
    int64_t version;   /* of the set, when the state began */
    int64_t seen_ms;   /* since when we have seen this state of this version; our clock */
    int64_t silent_ms; /* since it was heard of last; INT64_MAX: never */
    bool has_goal;     /* joining: what it must have is noted */
    bool has_what_was; /* joining: it acked all that was there when it began to join */
};

struct strong_set {
    int64_t epoch;
    unsigned count; /* the regions of the epoch but the hub */
    struct strong_member at[TOPOLOGY_REGIONS_MAX];
};

enum strong_step {
    STRONG_STAY,
    STRONG_JOIN,
    STRONG_SET_GOAL,
    STRONG_ADMIT,
    STRONG_LEAVE,
    STRONG_DROP
};

/* What is to be done about a member now. */
enum strong_step strong_next(const struct strong_set *set, const struct strong_member *member,
                             unsigned majority, const struct lease_rules *rules, int64_t now_ms);

static inline bool strong_needs_ack(enum strong_state state)
{
    return state != STRONG_OUT;
}

static inline bool strong_may_read(enum strong_state state)
{
    return state == STRONG_IN;
}

/* How many regions must have a write, the hub included. */
unsigned strong_size(const struct strong_set *set);

/*
 * The highest LSN of the hub that all who must have it have acked; -1 while the set is smaller than
 * a majority, and nothing can be acknowledged.
 *
 * acked  by position in the set
 */
int64_t strong_committed(const struct strong_set *set, unsigned majority, int64_t hub_lsn,
                         const int64_t *acked);

/* A member by its ordinal, NULL when there is none. */
const struct strong_member *strong_find(const struct strong_set *set, unsigned ordinal);

const char *strong_state_name(enum strong_state state);
bool strong_state_find(struct slice name, enum strong_state *state);

#endif
