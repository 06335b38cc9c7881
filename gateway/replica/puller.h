/*
 * Takes entries from all other regions, in the loop of the first worker.
 *
 * One gateway of the region does it for all: it holds a claim in PostgreSQL, taken again every
 * second and free for others after three. From every other region (a source) it asks for what this
 * region lacks, one request at a time, which the source holds until there is something. The next
 * one leaves when an answer has come, before it is applied; a source has at most two answers
 * waiting here, so a slow PostgreSQL costs bounded memory. Under Strong and Bounded staleness two
 * more kinds of requests go to the hub beside it: acks, which leave when something was applied, and
 * a watch, which the hub holds until more is committed.
 *
 * Answers of a source are applied in their order, ranges of one answer side by side (pieces.h).
 * What cannot be applied stops its range alone: nothing more of it is taken from that source until
 * a pause is over, and then from where it stood. Nothing here needs to be remembered: how far a
 * source's log is applied is known at the source, and what this region has is its vectors.
 */
#ifndef ORRERY_REPLICA_PULLER_H
#define ORRERY_REPLICA_PULLER_H

#include "regions/topology.h"
#include "replica/definitions.h"
#include "replica/replica.h"
#include "replica/status.h"
#include "store/exchange.h"

#define PULLER_SOURCES_MAX REPLICA_PEERS_MAX

/* How a range stands with a source. */
struct range_place {
    int64_t held;     /* the source's log is applied through here; STREAM_UNKNOWN */
    int64_t received; /* and has arrived through here; at least held */
    int64_t told_held;
    uint32_t told_version;
    uint32_t refusals;       /* since a piece of it was applied last */
    int64_t paused_until_ms; /* 0: not paused */
    uint64_t not_before;     /* number of the request whose answer may go on after the last pause */
};

struct range {
    struct range *chain;
    int64_t range_id;
    uint32_t version; /* grows with every change of the vectors */
    bool is_listed;   /* of the last look at the database */
    unsigned vector_count, committed_count;
    int64_t *vector;      /* what this region has applied, durably */
    int64_t *committed;   /* what is known here to be globally committed */
    unsigned copied_from; /* ordinal of the region whose copy it gets; 0: none */
    int64_t copied;       /* through here */
    struct range_place places[PULLER_SOURCES_MAX];
};

/* A piece that PostgreSQL refused for what is in it. Its range goes no further with that source. */
struct stopped_range {
    int64_t range_id;
    unsigned slot;
    char reason[REPLICA_REASON_BYTES];
};

struct source;

/* An answer that waits to be applied, or is being. */
struct pulled {
    struct list place;      /* in source->pulled */
    struct pgio_call learn; /* of what is committed */
    struct pgparams learn_params;
    struct source *source;
    struct buf text; /* the payload */
    struct stream_answer head;
    struct stream_part *parts;
    uint64_t asked; /* number of the request */
    unsigned pieces_begun, pieces_running;
    bool only_learns; /* nothing to be applied, or no longer: not in source->pulled */
};

struct source {
    struct puller *puller;
    unsigned slot, ordinal; /* ordinal 0: not in use */
    struct op poll, ack, watch;
    bool is_polling, is_acking, is_watching;
    int64_t watch_after_ms; /* a pause after one that failed */
    bool is_first;          /* the next request begins a session */
    bool tells_all;
    int64_t told_all_ms;
    bool has_more;      /* its last answer ended before its log did */
    int64_t after;      /* range served last */
    struct list pulled; /* answers, the one that is being applied first */
    unsigned pulled_count;
    struct loop_timer retry; /* a pause after a failure */
    bool must_pause;
    unsigned failures;
    int64_t answered_ms; /* when it last answered; 0: not yet */
    int64_t level_ms;    /* when nothing of it was missing here */
    int64_t learned_ms;  /* when what it says to be committed was stored last */
    int64_t lag_entries;
    uint64_t requests, answers, bytes, entries;
    char complaint[REPLICA_REASON_BYTES]; /* what is wrong with it; "" for nothing */
};

struct puller {
    struct replica *replica;
    struct loop *loop;
    int64_t holder; /* who we are in claims */
    bool is_holder, is_stopping, is_loaded;
    int64_t claimed_ms, holds_until_ms; /* monotonic */
    struct loop_timer timer;
    struct op claim;
    bool is_claiming;
    struct op load;
    bool is_loading;
    uint64_t applied, applied_at_load; /* pieces */
    int64_t loaded_ms;
    unsigned stopped_count;
    struct stopped_range stopped[REPLICA_STOPPED_MAX];
    struct source sources[PULLER_SOURCES_MAX];
    struct range **buckets;
    size_t bucket_count, range_count;
    struct store_pool pool; /* connections that apply */
    unsigned step;          /* entries that one statement applies */
    struct list waiting;    /* pieces, for a connection */
    struct list resting;    /* pieces, for others */
    struct loop_hook hook;
    struct definitions definitions;
};

bool puller_start(struct puller *puller, struct replica *replica) MUST_CHECK;
void puller_stop(struct puller *puller);
void puller_finish(struct puller *puller);

/* ---- of puller.c, for pieces.c ---- */

/* Made when it is new; NULL without memory. */
struct range *puller_range(struct puller *puller, int64_t range_id);

/* Take nothing more of it from that source for a while, and then from where it stands. */
void puller_pause(struct source *source, struct range *range, int64_t pause_ms);

/* A piece was applied through a sequence of the source's log; vector as in ranges. */
void puller_applied(struct source *source, struct range *range, int64_t through,
                    struct slice vector);

/* What is copied of it must be copied from the beginning. */
void puller_again(struct source *source, struct range *range);

/* There is nothing to be applied through that sequence. */
void puller_passed(struct source *source, struct range *range, int64_t through);

/* A piece was refused for what is in it; "" when it no longer is. */
void puller_stopped(struct source *source, const struct range *range, const char *reason);

/* All pieces have ended. */
void puller_answer_ended(struct pulled *pulled);

#endif
