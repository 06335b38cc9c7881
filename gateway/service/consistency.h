/*
 * Consistency as a request asks for it: its level, its session token, and the token of the answer.
 *
 * A token is checked against the vector of the snapshot that was read. A region that does not have
 * yet what the token names suspends the request, looks again whenever the range moves, and gives up
 * after --session-wait-ms (404 SUB_READ_SESSION_NOT_AVAILABLE).
 *
 * Strong and Bounded reads need a lease when the snapshot has been taken, and a snapshot that has
 * what the lease was told, or is no older than T; a Strong one is shown when what it shows is
 * committed in all regions of the strong set. Without that the answer is 503 after a lease's time.
 *
 * Every path that reads has the same shape:
 *
 *     ask → look, consistency_check → CONSISTENCY_WAITS: consistency_wait, then ask again
 *                                   → CONSISTENCY_SETTLES: keep what was read, consistency_settle,
 *                                     then show it
 *
 * and every path that writes: consistency_admit → write → consistency_commit → answer.
 */
#ifndef ORRERY_SERVICE_CONSISTENCY_H
#define ORRERY_SERVICE_CONSISTENCY_H

#include "model/session.h"
#include "regions/topology.h"
#include "service/call.h"
#include "store/reads.h"
#include "store/writes.h"

struct consistency {
    enum consistency_level level;
    bool has_token; /* and the level is Session: it must be satisfied */
    struct session_token token;
    void *owner;  /* for steps that consistency_wait resumes: whoever asks in its own way */
    bool settles; /* is shown only when it is committed, although the level is weaker: feeds */
    /* of the waits */
    const struct pkrange *range; /* of the container that the call holds */
    int64_t range_id;
    uint64_t mark;
    int64_t until_ms; /* 0: it has not begun */
    op_step *again;
    int64_t settle_until_ms;
    op_step *settled;
    /* what must be committed before the answer: an entry, or all up to a vector */
    bool is_commit;        /* of a write */
    bool is_change;        /* which changed something */
    unsigned entry_origin; /* 0: the vector */
    int64_t entry_lsn;
    const int64_t *wanted;
    size_t wanted_len;
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
    CONSISTENCY_WAITS,   /* it may be met later: consistency_wait */
    CONSISTENCY_SETTLES, /* it may be shown later: consistency_settle */
    CONSISTENCY_GONE, /* the range is in another epoch than was known: find the container again */
    CONSISTENCY_FAULT /* op->fault is set */
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

/* The same for a snapshot of which the answer shows one item at most. */
enum consistency_end consistency_check_item(struct consistency *consistency, struct call *call,
                                            const struct pkrange *range,
                                            const struct item_row *row) MUST_CHECK;

/*
 * Wait for the range that consistency_check saw last, then run the step, which asks again.
 *
 * fault  404 SUB_READ_SESSION_NOT_AVAILABLE when the time for that is over; 503 for levels that
 *        need a lease
 */
enum op_next consistency_wait(struct consistency *consistency, struct op *op, op_step *again);

/* Wait until what consistency_check saw last is committed, then run the step. Fault 503. */
enum op_next consistency_settle(struct consistency *consistency, struct op *op, op_step *next);

/* The same for a range's vector, which is borrowed until then. */
enum op_next consistency_settle_range(struct consistency *consistency, struct op *op,
                                      const struct pkrange *range, const int64_t *vector,
                                      size_t vector_len, op_step *next);

/*
 * Before a write is sent. Where several regions write, it waits for its session token, because what
 * its writer saw elsewhere would be concurrent to it otherwise; under Bounded staleness it is
 * slowed, or refused, when a region falls behind.
 *
 * range  of call->container
 * gone   runs instead of next when the container has to be found again
 * fault  429; as consistency_check and consistency_wait
 */
enum op_next consistency_admit(struct consistency *consistency, struct op *op,
                               const struct pkrange *range, op_step *next, op_step *gone);

/*
 * After a write that came to an end: under Strong, wait until its range is committed up to it,
 * since every answer tells of that, then run the step.
 *
 * consistency  of the request; zeroed for writes of definitions
 * fault        408 when the time was over and something was written, 503 when nothing was
 */
enum op_next consistency_commit(struct consistency *consistency, struct op *op,
                                const struct write *write, op_step *next);

/* The token of a range as text, for answers about several ranges. */
void consistency_append(struct buf *out, const struct call *call, const struct pkrange *range,
                        int64_t epoch, const int64_t *vector, size_t vector_len);

/* Headers x-ms-session-token and lsn for a range's vector. */
void consistency_reply(struct call *call, const struct pkrange *range, int64_t epoch,
                       const int64_t *vector, size_t vector_len);

#endif
