/*
 * What this process knows to answer Strong and Bounded reads and to acknowledge Strong writes:
 * its leases, and per range what is globally committed, what a snapshot must have, and when the
 * hub's head was seen. One table for all loops, behind one mutex that is held for a look.
 *
 * Everything here is a lower bound or runs out: a process that knows nothing answers nothing.
 * Rules: docs/replication.md, sections 3 and 4; the decisions are in regions/.
 */
#ifndef ORRERY_STORE_LEVELS_H
#define ORRERY_STORE_LEVELS_H

#include "base/config.h"
#include "loop/pgio.h"
#include "regions/bounded.h"
#include "regions/lease.h"

/* Milliseconds of a clock that goes on while the machine sleeps, and that nobody sets. */
int64_t levels_now_ms(void);

/* Once, before the threads start. */
void levels_init(const struct config *config);
void levels_finish(void);

const struct lease_rules *levels_rules(void);

/* ---- the arbiter, where there is one (regions/arbiter.h) ---- */

/* Until when this process may act as the hub: with an arbiter not before it says so, without one
 * for ever. */
void levels_claimed(int64_t until_ms);
int64_t levels_claimed_until_ms(void);
bool levels_may_act(void);

/* ---- leases ---- */

/* A region promised the hub that asks here; see promises_take. */
void levels_promised(unsigned ordinal, int64_t epoch, int64_t asked_ms);

/* The hub's horizon in the epoch of its topology; it ends with its right to act. */
int64_t levels_horizon_ms(const struct topology *topology);

/* Time left of what a region promised it there; 0: nothing. */
int64_t levels_promise_left_ms(const struct topology *topology, unsigned ordinal);

/* The hub leased reading to this region. */
void levels_leased(int64_t epoch, int64_t asked_ms, int64_t granted_ms, int64_t set_version);

/* May this process answer Strong and Bounded reads, of snapshots of that epoch? As hub before its
 * horizon, else by its lease. */
bool levels_may_read(const struct topology *topology, unsigned self, int64_t epoch);

/* The lease's time left, for those who look at this process; negative: it has run out. */
int64_t levels_lease_left_ms(void);

/* ---- ranges ---- */

/* What is committed of a range, as somebody read it or was told. Notes progress when it grew. */
void levels_committed(int64_t range_id, const int64_t *vector, size_t len);

/* Rows of (range_id bigint, committed bigint[]); one without a range tells nothing. */
void levels_take_committed(const struct pgio_result *result);

/* Is it known that all up to the vector, or to one entry, is committed? */
bool levels_is_committed(int64_t range_id, const int64_t *vector, size_t len);
bool levels_has_entry(int64_t range_id, unsigned origin, int64_t lsn);

/* Something waits for what is to be committed: for a while, whoever looks for what other gateways
 * of the region know looks more often. */
void levels_wait(void);
bool levels_has_waiting(void);

/* ---- in a region that is not the hub: what the hub's answers say ---- */

/* Another hub, or another epoch: leases and what snapshots must have begin anew. */
void levels_forget(void);

/*
 * A snapshot must have that, which is committed, too; the hub's head was this when it was asked at
 * that time. An answer tells it of all its ranges, then levels_needed, then levels_leased. False
 * without memory: then no lease may be taken.
 */
bool levels_need(int64_t range_id, const int64_t *committed, size_t len, int64_t head,
                 int64_t asked_ms) MUST_CHECK;
void levels_needed(int64_t asked_ms);

/* Has a snapshot what it must have? */
bool levels_has_needs(int64_t range_id, const int64_t *vector, size_t len);

/* The latest time at which the snapshot had everything that the hub had; INT64_MIN: none. */
int64_t levels_synced_ms(int64_t range_id, int64_t hub_lsn);

/* ---- at the hub: how far the others are behind ---- */

/*
 * A look at all ranges with entries that are not committed: each of them by levels_behind, then
 * levels_looked. asked_ms: before PostgreSQL was asked.
 */
void levels_behind(int64_t range_id, int64_t head, int64_t committed, int64_t asked_ms);
void levels_looked(int64_t asked_ms);

/* This process wrote that. */
void levels_wrote(int64_t range_id, int64_t lsn);

struct levels_lag {
    int64_t versions; /* that are not committed */
    int64_t age_ms;   /* of the oldest of them, at most */
};

/* Of the range's entries of this region. */
struct levels_lag levels_lag(int64_t range_id, unsigned self);

#endif
