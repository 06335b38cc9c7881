/*
 * The arbiter: etcd says which region may be the hub, so that another one can take over by itself.
 *
 * Two keys per account. /orrery/ACCOUNT/hub is there while somebody is the hub, under a lease that
 * the gateways of that region keep alive together; /orrery/ACCOUNT/topology is the document that
 * was in force when the other one was last put. Both are put in one transaction, which fails when
 * somebody else was quicker or knows more.
 *
 * The arbiter gives uniqueness and nothing else: that a majority accepts the epoch, and that what
 * was acknowledged is reached before it opens, is as it is without one (regions/change.h). The hub
 * acts while its lease cannot have run out, by its own clock: each gateway counts from when it sent
 * the keep-alive that was last answered, stops a drift and a second before the lease's end, and
 * needs nobody to tell it. Rule 5.7 of docs/replication.md.
 *
 * Pure: texts for etcd's JSON gateway, what its answers say, and what is to be done.
 * Source: etcd 3.4, Documentation/dev-guide/api_grpc_gateway and api_reference_v3.
 */
#ifndef ORRERY_REGIONS_ARBITER_H
#define ORRERY_REGIONS_ARBITER_H

#include "regions/lease.h"

#define ARBITER_ANSWER_BYTES_MAX (256u << 10)
#define ARBITER_TOKEN_BYTES 4096 /* of a login, its end included */
/* Kept of a lease for what the clocks and the drift do not say. */
#define ARBITER_SPARE_MS 1000

struct arbiter_rules {
    int64_t ttl_s;
    struct lease_rules lease;
};

/* ---- times ---- */

/* For how long the hub may act from when it sent what etcd answered with that many seconds. */
int64_t arbiter_margin_ms(const struct arbiter_rules *rules, int64_t granted_s);

/* After that time nobody acts any more by a claim that was taken from it. */
int64_t arbiter_seized_ms(const struct arbiter_rules *rules, int64_t their_ttl_s);

/* Between two looks; and between the tries of regions that stand behind each other. */
int64_t arbiter_look_ms(const struct arbiter_rules *rules);
int64_t arbiter_stagger_ms(const struct arbiter_rules *rules);

/* ---- what etcd holds of an account ---- */

struct arbiter_view {
    bool is_held;
    unsigned holder;  /* ordinal; 0: it cannot be told */
    bool was_vacant;  /* nobody held it when the holder came */
    int64_t ttl_s;    /* of the holder */
    int64_t lease;    /* 0: none */
    int64_t revision; /* of the claim, as it is now */
    int64_t epoch;    /* of the topology; 0: none */
    int64_t topology_revision;
};

/* Bodies of requests to /v3/kv/range, /v3/lease/grant, /v3/lease/keepalive, /v3/lease/revoke. */
void arbiter_print_look(struct buf *out, struct slice account);
void arbiter_print_grant(struct buf *out, int64_t ttl_s);
void arbiter_print_lease(struct buf *out, int64_t lease);
/* Of requests to /v3/auth/authenticate. */
void arbiter_print_login(struct buf *out, const char *user, const char *password);

/*
 * Of requests to /v3/kv/txn: put both keys, if they are as they were looked at. A claim that was
 * held then is taken from its holder.
 */
void arbiter_print_claim(struct buf *out, const struct topology *topology, unsigned self,
                         const struct arbiter_view *view, int64_t ttl_s, int64_t lease);

/* Put the topology, if the claim and the topology are as they were looked at. */
void arbiter_print_note(struct buf *out, const struct topology *topology,
                        const struct arbiter_view *view);

/*
 * What was answered.
 *
 * fault  502: it is not what etcd answers, or it answered with an error, which is told
 */
bool arbiter_read_look(struct arbiter_view *view, struct slice answer, struct slice account,
                       struct arena *arena, struct fault *fault) MUST_CHECK;
bool arbiter_read_grant(struct slice answer, int64_t *lease, int64_t *granted_s,
                        struct fault *fault) MUST_CHECK;
/* *granted_s is 0 when the lease has run out. */
bool arbiter_read_keepalive(struct slice answer, int64_t *granted_s,
                            struct fault *fault) MUST_CHECK;
bool arbiter_read_transaction(struct slice answer, bool *is_done, struct fault *fault) MUST_CHECK;
/* What requests bear as their header authorization: letters, digits, '.', '-', '_', '='. */
bool arbiter_read_login(struct slice answer, char token[ARBITER_TOKEN_BYTES],
                        struct fault *fault) MUST_CHECK;

/* ---- what is to be done ---- */

struct arbiter_state {
    int64_t started_ms;      /* when this process looked first */
    int64_t vacant_since_ms; /* when nobody was seen to hold it first; 0: somebody does */
    int64_t not_before_ms;   /* after a try that came to nothing */
    bool is_wanted;          /* a change that is under way here needs it */
};

enum arbiter_step {
    ARBITER_WAIT,
    ARBITER_KEEP,      /* it is ours: keep it alive */
    ARBITER_NOTE,      /* it is ours, and the topology there is an old one */
    ARBITER_CLAIM,     /* nobody has it, and we are the hub or are to be */
    ARBITER_MOVE,      /* another region has it, and a change needs it here */
    ARBITER_TAKE_OVER, /* nobody has it, and it is our turn: claim it, become the hub */
    ARBITER_GO_ON      /* it is ours, we are not the hub, and nothing is under way: become it */
};

enum arbiter_step arbiter_next(const struct topology *topology, unsigned self,
                               const struct arbiter_view *view, const struct arbiter_state *state,
                               const struct arbiter_rules *rules, int64_t now_ms);

#endif
