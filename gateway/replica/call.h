/*
 * Calls to gateways of other regions. Every one goes through here: it is signed with the account's
 * primary key as any request is, and this is where the link between two regions can be disturbed
 * on demand.
 *
 * The peer's clock may be anywhere. A request that it refuses for its date is answered with a date
 * of its own, which the next one bears: replication goes on, and /status tells how far the clocks
 * are apart.
 */
#ifndef ORRERY_REPLICA_CALL_H
#define ORRERY_REPLICA_CALL_H

#include "loop/peer.h"

struct replica_request {
    unsigned ordinal;  /* of the region that is asked; 0: it has none yet */
    struct slice url;  /* where that one is reached; no disturbance of links is about it */
    bool is_get;       /* otherwise POST */
    const char *path;  /* such as "/_orrery/pull"; static */
    struct slice body; /* of a POST; as long as the op */
    bool is_binary;    /* otherwise JSON */
    int timeout_ms;    /* all of it */
    size_t answer_bytes_max;
    bool passes_faults; /* links that are disturbed on demand let it through */
};

/*
 * Ask a region. The next step finds the answer by replica_answer; a region that does not answer is
 * no fault of the op. Any loop; peers are the loop's.
 *
 * fault  503 without memory, with too many calls in flight, while the gateway stops, or when it is
 *        not known where the region is reached
 */
enum op_next replica_call(struct peers *peers, struct op *op, const struct replica_request *request,
                          op_step *next);

/* What the region said. */
const struct peer_answer *replica_answer(const struct op *op);

/* Its answer, when that is no 200, or its silence, in words: "status 409: …". In the op's arena. */
const char *replica_complaint(struct op *op);

/* How far a region's clock was ahead of ours when it last answered, in seconds. */
int64_t replica_clock_ahead_s(unsigned ordinal);

#endif
