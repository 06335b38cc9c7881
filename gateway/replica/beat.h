/*
 * Beats of a gateway, while the account is Strong or Bounded: leases are kept alive, the hub's
 * strong set is looked after, and what is committed is learned of where other gateways of the
 * region heard it first.
 *
 * Every D/10, and much faster for a moment while requests wait for something to be committed. Each
 * gateway has leases of its own, so each one beats.
 */
#ifndef ORRERY_REPLICA_BEAT_H
#define ORRERY_REPLICA_BEAT_H

#include "regions/beat.h"
#include "regions/strong.h"
#include "replica/replica.h"

struct beats;

/* One question after the other, to one region. */
struct beat_peer {
    struct beats *beats;
    unsigned ordinal;
    struct op op;
    bool is_running;
    enum beat_kind kind;
    int64_t epoch, asked_ms;
    struct buf question;
};

struct beats {
    struct replica *replica;
    struct loop_timer timer;
    bool is_stopping;
    /* with whom leases are: another hub or epoch begins anew */
    int64_t epoch;
    unsigned hub;
    int64_t since; /* of the hub's last answer */
    struct beat_peer peers[TOPOLOGY_REGIONS_MAX];
    /* this region's own ranges and, at the hub, the set */
    struct op look;
    bool is_looking;
    int64_t looked_ms, look_since, set_looked_ms;
    struct strong_set set; /* as it was seen last */
    unsigned member;       /* of the set, that is being decided about */
    unsigned majority;
};

void beats_start(struct beats *beats, struct replica *replica);
void beats_stop(struct beats *beats);
void beats_finish(struct beats *beats);

#endif
