/*
 * Consistency as a request asks for it: its level, its session token, and the token of the answer.
 *
 * A token is checked against the vector of the snapshot that was read. A region that does not have
 * yet what the token names suspends the request, looks again whenever the range moves, and gives up
 * after --session-wait-ms (404 SUB_READ_SESSION_NOT_AVAILABLE). Every path that reads has the same
 * shape:
 *
 *     ask → look, consistency_check → CONSISTENCY_WAITS: consistency_wait, then ask again
 */
#ifndef ORRERY_SERVICE_CONSISTENCY_H
#define ORRERY_SERVICE_CONSISTENCY_H

#include "model/session.h"
#include "regions/topology.h"
#include "service/call.h"

struct consistency {
    enum consistency_level level;
    bool has_token; /* and the level is Session: it must be satisfied */
    struct session_token token;
    void *owner; /* for steps that consistency_wait resumes: whoever asks in its own way */
    /* of the wait */
    const struct pkrange *range; /* of the container that the call holds */
    int64_t range_id;
    uint64_t mark;
    int64_t until_ms; /* 0: it has not begun */
    op_step *again, *gone;
};

/*
 * Read level and session token of a request.
 *
 * fault  400: an unknown level, one stronger than the account's, a malformed token, a level
 * together with a read consistency strategy
 */
bool consistency_parse(struct consistency *consistency, struct call *call) MUST_CHECK;

enum consistency_end {
    CONSISTENCY_MET,
    CONSISTENCY_WAITS, /* it may be met later: consistency_wait */
    CONSISTENCY_GONE,  /* the range is in another epoch than was known: find the container again */
    CONSISTENCY_FAULT  /* op->fault is set */
};

/*
 * Does what was read have all that the request must see?
 *
 * range   of call->container
 * vector  bigint[] as PostgreSQL sends it, of the same snapshot, as the epoch is
 * fault   400 for a token of another container
 */
enum consistency_end consistency_check(struct consistency *consistency, struct call *call,
                                       const struct pkrange *range, int64_t epoch,
                                       struct slice vector) MUST_CHECK;

/*
 * Wait for the range that consistency_check saw last, then run the step, which asks again.
 *
 * fault  404 SUB_READ_SESSION_NOT_AVAILABLE when the time for that is over
 */
enum op_next consistency_wait(struct consistency *consistency, struct op *op, op_step *again);

/* Must a write wait for the token before it is sent? Where several regions write, it must: what its
 * writer saw elsewhere would be concurrent to it otherwise. */
bool consistency_guards_writes(const struct consistency *consistency);

/*
 * Wait until the range has what the token names, then run the step.
 *
 * range  of call->container
 * gone   runs instead when the container has to be found again
 * fault  as consistency_check and consistency_wait
 */
enum op_next consistency_reach(struct consistency *consistency, struct op *op,
                               const struct pkrange *range, op_step *next, op_step *gone);

/* The token of a range as text, for answers about several ranges. */
void consistency_append(struct buf *out, const struct call *call, const struct pkrange *range,
                        int64_t epoch, const int64_t *vector, size_t vector_len);

/* Headers x-ms-session-token and lsn for a range's vector. */
void consistency_reply(struct call *call, const struct pkrange *range, int64_t epoch,
                       const int64_t *vector, size_t vector_len);

#endif
