/*
 * One request on its way through a handler: the op that waits, what was asked, what is answered.
 *
 * A handler is an op_step that the router starts; its further steps follow it in the file. It
 * answers by filling call->reply and returning OP_DONE, or by a fault in op->fault and OP_FAILED.
 */
#ifndef ORRERY_SERVICE_CALL_H
#define ORRERY_SERVICE_CALL_H

#include "loop/op.h"
#include "request/reply.h"
#include "request/request.h"
#include "service/service.h"

struct call {
    struct op op;
    struct request request;
    struct reply reply;
    struct service *service;
    struct container *container; /* a reference, once call_resolve found it */
    unsigned resolve_attempts;
    bool has_caught_up; /* with the hub's definitions as they were when the call was under way */
    int64_t now_s;      /* clock of items when the request came */
    void *exchange;     /* the server's half */
};

static inline struct call *call_of(struct op *op)
{
    return container_of(op, struct call, op);
}

/*
 * Find the container that the path names, by name or by rid: from the cache, else from PostgreSQL.
 * The next step finds it in call->container.
 *
 * fault  404 SUB_OWNER_RESOURCE_NOT_FOUND when the database or the container is missing
 *        503 when it is not known whether the hub has it (service/catch_up.h)
 *        429 SUB_REQUEST_RATE_TOO_LARGE when throughput is enforced and used up
 *        400 SUB_COLLECTION_RID_MISMATCH when x-ms-cosmos-intended-collection-rid names another one
 */
enum op_next call_resolve(struct op *op, op_step *next);

/*
 * The container turned out to be gone (its ranges are not served): forget it and look again by
 * name. A container that was made anew under the same name is found so. Gives up with 503 after a
 * few attempts.
 */
enum op_next call_resolve_again(struct op *op, op_step *next);

/* Take what the call cost from the container's throughput, when that is enforced; once, when it is
 * answered. */
void call_settle(struct call *call);

/* Drop what the call holds; called by the server when the op is released. */
void call_release(struct call *call);

/* A JSON object printed by the handler becomes the body, with its status. */
enum op_next call_reply_json(struct op *op, unsigned status, struct buf *body);

/* Only headers: 204, 304, or return=minimal. */
enum op_next call_reply_empty(struct op *op, unsigned status);

/* Set the fault and fail, in one line. */
#define call_fail(op, ...) (fault_set(&(op)->fault, __VA_ARGS__) ? OP_DONE : OP_FAILED)

/* Header etag, with the quotes. */
void call_reply_etag(struct call *call, const uint8_t etag[16]);

#endif
