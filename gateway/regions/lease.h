/*
 * Leases: until when somebody may rely on what somebody else said.
 *
 * There is one kind. The asker sends a stamp of its own clock, the granter looks at a flag after it
 * received the question, and answers; the asker may rely on the answer for D · (1 − ρ) from its own
 * stamp on. A granter that changes its mind sets the flag, waits D · (1 + ρ) on its own clock from
 * then on, and then acts: every asker has stopped by that time, whatever was delayed, as long as no
 * two clocks drift apart by more than ρ. No deadline is ever sent or stored.
 *
 * Regions promise the hub not to follow another one: the hub answers Strong and Bounded reads only
 * before its horizon, until which a majority has promised. The hub leases reading to regions of its
 * strong set, never beyond its horizon, so that a hub and a reader that were cut off together stop
 * before anybody else goes on. Rules 3.1 to 3.4 and 4.2 of docs/replication.md.
 *
 * Times are milliseconds of the caller's own clock, one that goes on while the machine sleeps.
 */
#ifndef ORRERY_REGIONS_LEASE_H
#define ORRERY_REGIONS_LEASE_H

#include "regions/topology.h"

struct lease_rules {
    int64_t lease_ms;        /* D */
    unsigned drift_permille; /* ρ: how far any two clocks drift apart */
};

/* How long an asker may rely on an answer, from the stamp that it sent. Rounded down. */
int64_t lease_asker_ms(const struct lease_rules *rules);

/* How long a granter waits between closing and changing. Rounded up. */
int64_t lease_granter_ms(const struct lease_rules *rules);

/* ---- promises, at the hub ---- */

struct promise {
    unsigned ordinal;
    int64_t epoch;
    int64_t until_ms;
};

struct promises {
    unsigned count;
    struct promise at[TOPOLOGY_REGIONS_MAX];
};

/* A region has promised in that epoch, asked at that time. One that came late counts for less. */
void promises_take(struct promises *promises, const struct lease_rules *rules, unsigned ordinal,
                   int64_t epoch, int64_t asked_ms);

/*
 * Until when a majority of the topology's regions has promised in its epoch. The hub's own promise
 * counts as every other one does, and is asked for as they are: it may have accepted another epoch
 * itself, and be slow to hear that this is open. A region alone needs nobody: INT64_MAX.
 */
int64_t promises_horizon(const struct promises *promises, const struct topology *topology);

/* Until when a region's promise counts there; INT64_MIN: it has given none, or none that counts. */
int64_t promises_until(const struct promises *promises, const struct topology *topology,
                       unsigned ordinal);

/* ---- read leases ---- */

/* For how long the hub may lease reading now; 0: not at all. */
int64_t lease_grant_ms(const struct lease_rules *rules, int64_t horizon_ms, int64_t now_ms);

struct read_lease {
    int64_t epoch;
    int64_t until_ms;
    int64_t set_version;
};

/* The hub leased so long (lease_grant_ms) in answer to what was asked then. Answers may overtake
 * each other; an earlier epoch's counts for nothing. */
void read_lease_take(struct read_lease *lease, int64_t epoch, int64_t asked_ms, int64_t granted_ms,
                     int64_t set_version);

/* Checked after the snapshot was taken: its epoch, and the time then. */
bool read_lease_holds(const struct read_lease *lease, int64_t epoch, int64_t now_ms);

#endif
