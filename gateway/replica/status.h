/*
 * How replication into this region stands, as the gateway that does it last told; for /status and
 * /metrics. A gateway that leaves it to another one of its region knows nothing of it.
 */
#ifndef ORRERY_REPLICA_STATUS_H
#define ORRERY_REPLICA_STATUS_H

#include "regions/strong.h"

#include <stdbool.h>
#include <stdint.h>

#define REPLICA_PEERS_MAX 15
#define REPLICA_STOPPED_MAX 16 /* ranges that are named */
#define REPLICA_REASON_BYTES 240

struct replica_peer_status {
    unsigned ordinal;
    bool has_answered;   /* ever */
    bool is_heard;       /* lately: what it lags by is known */
    int64_t silent_ms;   /* since it answered last */
    int64_t lag_entries; /* of its logs that are not applied here, when it answered last */
    int64_t lag_ms; /* how long some have been missing, or may have been while it is not heard */
    unsigned answers_waiting; /* to be applied */
    int64_t clock_ahead_s;
    uint64_t answers, bytes, entries;     /* since this gateway took over */
    char complaint[REPLICA_REASON_BYTES]; /* "": nothing is wrong */
};

struct replica_stopped_range {
    int64_t range_id;
    unsigned ordinal; /* of the region whose entry it is that cannot be applied */
    char reason[REPLICA_REASON_BYTES];
};

struct replica_status {
    bool is_pulling;
    unsigned pieces_waiting; /* of answers: for a connection, or for others */
    unsigned peer_count;
    struct replica_peer_status peers[REPLICA_PEERS_MAX];
    unsigned stopped_total, stopped_count; /* all, and those that are named */
    struct replica_stopped_range stopped[REPLICA_STOPPED_MAX];
};

/* Conflicts beyond are not counted. */
#define REPLICA_CONFLICTS_MAX 100000

/* What the region's PostgreSQL holds; every gateway looks. */
struct replica_census {
    int64_t looked_ms;                      /* levels_now_ms; 0: not yet */
    int64_t conflicts;                      /* that nobody has resolved */
    int64_t ranges, log_whole, log_trimmed; /* entries beyond the horizons, and below */
};

/* Of stranded entries, since this process began (rule 5.6). Any thread. */
void replica_status_resolved(bool is_merged, int64_t entries);
int64_t replica_status_resolved_total(bool is_merged);

/* Any thread. */
void replica_census_publish(const struct replica_census *census);
void replica_census_read(struct replica_census *census);
/* The strong set, as the hub's gateways saw it last. */
void replica_set_publish(const struct strong_set *set);
void replica_set_read(struct strong_set *set);
void replica_status_publish(const struct replica_status *status);
void replica_status_read(struct replica_status *status);

#endif
