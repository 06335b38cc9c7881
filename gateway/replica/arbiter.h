/*
 * Talking to the arbiter (regions/arbiter.h): a look at etcd every sixth of the claim's life, with
 * the keep-alive of this region's claim beside it; claiming it; and becoming the hub with it.
 *
 * Every gateway looks for itself, and may act for as long as its own last keep-alive says. Gateways
 * of one region share the claim: whoever finds it held by the region keeps its lease alive. Before
 * each look PostgreSQL is asked, so that a hub that has lost it loses the claim too.
 *
 * A region that takes over asks the others first. When the hub still answers, and only etcd does
 * not hear it, the failover is a planned one, which loses nothing; else it is forced.
 *
 * Nothing runs without --etcd, or while the account has one region.
 */
#ifndef ORRERY_REPLICA_ARBITER_H
#define ORRERY_REPLICA_ARBITER_H

#include "regions/arbiter.h"
#include "replica/replica.h"
#include "store/regions.h"

#define ARBITER_REASON_BYTES 256

struct arbiter {
    struct replica *replica;
    struct arbiter_rules rules;
    struct peers peers; /* etcd has authorities of its own */
    struct loop_timer timer;
    struct op op;
    bool is_running, is_stopping;
    struct slice urls[CONFIG_ETCD_MAX];
    unsigned url_count, url;         /* the one that answered last */
    bool is_logged_in;               /* or etcd asks for nobody's name */
    char token[ARBITER_TOKEN_BYTES]; /* "": none */
    struct arbiter_state state;
    int64_t lease;           /* of this region's claim, as it was seen last; 0: it has none */
    int64_t free_from_ms;    /* nobody acts by a claim that this one replaced */
    int64_t wanted_until_ms; /* a change that is under way waits for the claim */
    bool was_acting;
};

/* False without memory. */
bool arbiter_start(struct arbiter *arbiter, struct replica *replica) MUST_CHECK;

/* Begin nothing new, give up what is in flight. Zeroed memory is accepted. */
void arbiter_stop(struct arbiter *arbiter);

enum arbiter_need {
    ARBITER_NEEDS_ANSWER, /* etcd answers: the claim could be had later */
    ARBITER_NEEDS_CLAIM,  /* the claim is ours; from whoever has it now: it has taken its last write
                           */
    ARBITER_NEEDS_SEIZED  /* the same, from one who may still act: when it has run out */
};

/* What a change of the topology waits for, in words; NULL: nothing. In the arbiter's own loop. */
const char *arbiter_lacks(struct arbiter *arbiter, enum arbiter_need need);

/* ---- for those who look at the process ---- */

struct arbiter_status {
    bool is_used;
    bool is_answering;
    unsigned holder;     /* ordinal, as it was seen last; 0: nobody, or it is not known */
    int64_t heard_ms;    /* when etcd answered last; 0: never; levels_now_ms */
    uint64_t takeovers;  /* that this process began */
    int64_t taken_epoch; /* of the last of them; 0: none */
    bool was_planned;
    int64_t lost_entries;                 /* known to be missing when it began; -1: not known */
    int64_t lost_ms;                      /* since the old hub was heard of last; -1: not known */
    char complaint[ARBITER_REASON_BYTES]; /* "": nothing is wrong */
};

/* Any thread. */
void arbiter_status_read(struct arbiter_status *status);

/* {"kind":"etcd","answers":true,"holder":"West US","marginSeconds":12.1,…}; false, and nothing,
 * where there is no arbiter. */
bool arbiter_print(struct buf *out);

/* Prometheus text; nothing where there is no arbiter. */
void arbiter_print_metrics(struct buf *out);

#endif
