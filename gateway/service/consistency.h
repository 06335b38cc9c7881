/*
 * Consistency as a request asks for it: its level, its session token, and the token of the answer.
 *
 * One region holds everything it has acknowledged, so within it every level reads the same; what is
 * checked here is what a client may ask, and that a session token names nothing that this region
 * does not have. Waiting for other regions comes with replication.
 */
#ifndef ORRERY_SERVICE_CONSISTENCY_H
#define ORRERY_SERVICE_CONSISTENCY_H

#include "model/session.h"
#include "service/call.h"

struct consistency {
    bool has_token; /* and the level is Session: it must be satisfied */
    struct session_token token;
};

/*
 * Read level and session token of a request.
 *
 * fault  400: an unknown level, one stronger than the account's, a malformed token, a level
 * together with a read consistency strategy
 */
bool consistency_parse(struct consistency *consistency, struct call *call) MUST_CHECK;

/* vector: bigint[] as PostgreSQL sends it. Fault: 404 SUB_READ_SESSION_NOT_AVAILABLE. */
bool consistency_check(const struct consistency *consistency, struct call *call,
                       uint32_t range_index, int64_t epoch, struct slice vector) MUST_CHECK;

/* The token of a range as text, for answers about several ranges. */
void consistency_append(struct buf *out, const struct call *call, uint32_t range_index,
                        int64_t epoch, const int64_t *vector, size_t vector_len);

/* Headers x-ms-session-token and lsn for a range's vector. */
void consistency_reply(struct call *call, uint32_t range_index, int64_t epoch,
                       const int64_t *vector, size_t vector_len);

#endif
