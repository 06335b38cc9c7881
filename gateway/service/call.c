#include "service/call.h"

#include "base/clock.h"
#include "model/etag.h"
#include "service/catch_up.h"
#include "service/throughput.h"

#include <stdio.h>

#include "base/banned.h"

/* Containers that keep changing under one name are somebody's mistake; they must not hold a request
 * for ever. */
#define RESOLVE_ATTEMPTS_MAX 4

/* Throughput, indexing policy and computed properties may be changed by any gateway: after this
 * they are read again. */
#define CONTAINER_KNOWN_MS 3000

struct resolve {
    op_step *next;
    void *self; /* of the handler */
};

static op_step resolve_ask;
static op_step resolve_loaded; /* make the container of what PostgreSQL said */

static bool check_intended(struct call *call)
{
    struct slice intended = slice_trim(call->request.headers.at[HEADER_INTENDED_RID]);

    if (slice_is_empty(intended) || slice_equals_text(intended, call->container->rid))
        return true;
    return fault_set(&call->op.fault, 400, SUB_COLLECTION_RID_MISMATCH,
                     "the container has rid \"%s\", not \"%.*s\"", call->container->rid,
                     FAULT_QUOTE(intended));
}

static bool check_throughput(struct call *call)
{
    const struct container *container = call->container;

    if (call->service->throughput == NULL)
        return true;
    uint32_t wait_ms = throughput_wait_ms(call->service->throughput, container->throughput_owner,
                                          container->throughput_ru, clock_monotonic_us());
    if (wait_ms == 0)
        return true;
    fault_set(&call->op.fault, 429, SUB_REQUEST_RATE_TOO_LARGE,
              "the request rate is larger than the %d request units per second that were "
              "provisioned",
              container->throughput_ru);
    call->op.fault.retry_after_ms = wait_ms;
    return false;
}

static bool check_container(struct call *call)
{
    return check_intended(call) && check_throughput(call);
}

/* From the cache, unless it is known for so long that it may have changed. */
static struct container *find_known(struct call *call)
{
    struct container_cache *cache = &call->service->containers;
    const struct resource_path *path = &call->request.path;
    struct container *known = container_cache_find(cache, path->ids[0], path->ids[1]);

    if (known == NULL || call->service->loop->now_ms - known->loaded_ms < CONTAINER_KNOWN_MS)
        return known;
    container_cache_forget(cache, known);
    container_release(known);
    return NULL;
}

enum op_next call_resolve(struct op *op, op_step *next)
{
    struct call *call = call_of(op);

    if (call->container == NULL)
        call->container = find_known(call);
    if (call->container != NULL)
        return check_container(call) ? op_again(op, next) : OP_FAILED;
    struct resolve *resolve = arena_alloc(&op->arena, sizeof(*resolve));
    if (resolve == NULL) {
        fault_set_oom(&op->fault);
        return OP_FAILED;
    }
    *resolve = (struct resolve){.next = next, .self = op->self};
    op->self = resolve;
    return op_again(op, resolve_ask);
}

static enum op_next resolve_ask(struct op *op)
{
    struct call *call = call_of(op);
    const struct resource_path *path = &call->request.path;

    return container_cache_query(&call->service->store, op, path->ids[0], path->ids[1],
                                 resolve_loaded);
}

static enum op_next resolve_loaded(struct op *op)
{
    struct resolve *resolve = op_self(op, struct resolve);
    struct call *call = call_of(op);
    const struct resource_path *path = &call->request.path;

    call->container =
        container_cache_load(&call->service->containers, op, path->ids[0], path->ids[1]);
    if (call->container == NULL && op->fault.status == 404 && catch_up_is_due(call))
        return catch_up(op, resolve_ask);
    op->self = resolve->self;
    if (call->container == NULL)
        return OP_FAILED;
    call->container->loaded_ms = call->service->loop->now_ms;
    if (!check_container(call))
        return OP_FAILED;
    return op_again(op, resolve->next);
}

enum op_next call_resolve_again(struct op *op, op_step *next)
{
    struct call *call = call_of(op);

    if (++call->resolve_attempts >= RESOLVE_ATTEMPTS_MAX) {
        fault_set(&op->fault, 503, SUB_NONE,
                  "the container is being replaced; nothing was changed");
        op->fault.retry_after_ms = 100;
        return OP_FAILED;
    }
    container_cache_forget(&call->service->containers, call->container);
    container_release(call->container);
    call->container = NULL;
    return call_resolve(op, next);
}

void call_settle(struct call *call)
{
    if (call->service->throughput != NULL && call->container != NULL)
        throughput_charge(call->service->throughput, call->container->throughput_owner,
                          call->container->throughput_ru, call->reply.charge_cru,
                          clock_monotonic_us());
}

void call_release(struct call *call)
{
    container_release(call->container);
    call->container = NULL;
    reply_finish(&call->reply);
}

enum op_next call_reply_json(struct op *op, unsigned status, struct buf *body)
{
    struct call *call = call_of(op);

    call->reply.status = status;
    return reply_take_body(&call->reply, body, &op->fault) ? OP_DONE : OP_FAILED;
}

enum op_next call_reply_empty(struct op *op, unsigned status)
{
    call_of(op)->reply.status = status;
    return OP_DONE;
}

void call_reply_etag(struct call *call, const uint8_t etag[16])
{
    struct etag tag;
    char text[ETAG_TEXT_BYTES];

    memcpy(tag.uuid, etag, sizeof(tag.uuid));
    etag_format(&tag, text);
    reply_header(&call->reply, "etag", arena_copy(&call->op.arena, text, ETAG_TEXT_BYTES - 1));
}
