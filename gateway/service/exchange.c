/*
 * /_orrery/pull: a gateway of another region tells what its region has applied, and takes what it
 * lacks. A request is held for a second, or until there is something.
 *
 * That more is committed does not end a request for entries before its second is over: the next
 * entry would find none that is held, and wait for a round trip. A watch is a request for that
 * alone.
 *
 * Entries of other regions that the asker hears itself (it declines them) do not end it either:
 * both ways would bring them, and what comes second is for nothing. Only what the asker lacked
 * already when it asked is told at the end, in case that the other way does not bring it after all.
 *
 * An answer has pieces of the logs of many ranges, about as much of each, so that one busy range
 * does not stand in front of the others; range 0, with the definitions that the rest needs, comes
 * first.
 */
#include "base/testpoint.h"
#include "regions/stream.h"
#include "service/call.h"
#include "service/handlers.h"
#include "store/exchange.h"
#include "store/levels.h"
#include "store/progress.h"
#include "store/regions.h"
#include "store/schema.h"

#include <inttypes.h>

#include "base/banned.h"

#define HOLD_MS 1000
/* Other gateways of this region write too, and say nothing here. And what another region wrote may
 * have to come by way of this one: that is found so, too. */
#define LOOK_AGAIN_MS 100
#define ANSWER_RANGES_MAX 256
#define ANSWER_BYTES (3u << 20)
#define RANGE_BYTES_MIN (64u << 10)

struct pull {
    struct stream_request request;
    struct stream_reader wants;
    struct buf unpacked, payload;
    uint64_t mark;
    int64_t until_ms;
    bool has_looked, is_last_look;
    struct exchange_found *found;
    unsigned found_count, next, fetched; /* of found: those before next are in the answer */
    uint32_t parts;
    struct pgio_result missing;      /* why a log was not read */
    struct exchange_found *declined; /* what was lacked and declined at the first look */
    unsigned declined_count;
};

static op_step pull_noted; /* what it has applied is known; look what it lacks */
static op_step pull_look;
static op_step pull_found;   /* read the logs, or wait */
static op_step pull_fetch;   /* of the next container */
static op_step pull_fetched; /* print, go on or answer */
static op_step pull_missed;  /* go on where nothing should have been read */

static void finish_pull(void *object)
{
    struct pull *self = object;

    buf_finish(&self->unpacked);
    buf_finish(&self->payload);
    pgio_result_finish(&self->missing);
}

static struct stream_hello hello_of(const struct regions *regions)
{
    return (struct stream_hello){.account = regions->topology.account,
                                 .ordinal = regions->self,
                                 .schema = (uint32_t) schema_migrations_count,
                                 .epoch = regions->accepted_epoch};
}

static bool check_asker(const struct stream_hello *asker, struct fault *fault)
{
    const struct regions *regions = regions_current();
    struct stream_hello ours = hello_of(regions);

    if (!stream_check_hello(&ours, asker, fault))
        return false;
    const struct topology_region *region = topology_find(&regions->topology, asker->ordinal);
    if (region == NULL || region->state == REGION_RETIRED)
        return fault_set(fault, 409, SUB_NONE,
                         "region %u is none of the account's in epoch %" PRId64
                         ", as region %u knows it",
                         asker->ordinal, regions->topology.epoch, regions->self);
    /* What it says that it has applied must not count for an epoch that it has left. */
    return asker->epoch <= regions->accepted_epoch ||
           fault_set(fault, 409, SUB_NONE,
                     "region %u accepted epoch %" PRId64 ", region %u only epoch %" PRId64,
                     asker->ordinal, asker->epoch, regions->self, regions->accepted_epoch);
}

enum op_next exchange_pull(struct op *op)
{
    struct call *call = call_of(op);
    struct stream_reader payload;
    struct fault *fault = &op->fault;

    if (!op_alloc_self(op, sizeof(struct pull)))
        return OP_FAILED;
    struct pull *self = op_self(op, struct pull);
    if (!arena_defer(&op->arena, finish_pull, self)) {
        fault_set_oom(fault);
        return OP_FAILED;
    }
    if (!stream_open(call->request.body, STREAM_REQUEST, &self->unpacked, &payload, fault) ||
        !stream_get_request(&payload, &self->request, fault) ||
        !check_asker(&self->request.hello, fault))
        return OP_FAILED;
    self->wants = payload;
    self->until_ms = op->loop->now_ms + HOLD_MS;
    if (self->request.count == 0)
        return op_again(op, pull_look);
    /* Where acknowledgements and reads depend on what is committed; acks are sent there alone. */
    bool moves_committed =
        regions_current()->topology.level <= LEVEL_BOUNDED_STALENESS ||
        (self->request.flags & (STREAM_IS_ACK | STREAM_IS_FIRST | STREAM_IS_WATCH)) != 0;
    return exchange_note(&call->service->store, op, &self->request, self->wants, moves_committed,
                         pull_noted);
}

static enum op_next pull_noted(struct op *op)
{
    if (!exchange_noted(op))
        return OP_FAILED;
    /* What the region has may be what somebody waits for. */
    levels_take_committed(op->result);
    return op_again(op, pull_look);
}

static enum op_next answer(struct op *op)
{
    struct pull *self = op_self(op, struct pull);
    struct stream_answer head = {.hello = hello_of(regions_current())};
    struct call *call = call_of(op);
    struct buf message = {0};

    if (self->payload.len == 0)
        stream_put_answer(&self->payload, &head);
    stream_set_part_count(&self->payload, &head, self->parts);
    bool is_whole = !self->payload.has_failed &&
                    stream_seal(&message, STREAM_ANSWER, buf_slice(&self->payload));
    if (!is_whole) {
        buf_finish(&message);
        fault_set_oom(&op->fault);
        return OP_FAILED;
    }
    call->reply.status = 200;
    call->reply.content_type = "application/octet-stream";
    return reply_take_body(&call->reply, &message, &op->fault) ? OP_DONE : OP_FAILED;
}

static int64_t awaited(const struct pull *self)
{
    return (self->request.flags & STREAM_IS_WATCH) != 0 ? PROGRESS_COMMITTED : PROGRESS_WRITTEN;
}

static enum op_next pull_look(struct op *op)
{
    struct pull *self = op_self(op, struct pull);

    if ((self->request.flags & STREAM_IS_ACK) != 0)
        return answer(op);
    enum exchange_what what = (self->request.flags & STREAM_IS_WATCH) != 0 ? EXCHANGE_COMMITTED
                              : self->is_last_look                         ? EXCHANGE_ALL
                              : self->has_looked || self->request.declined.len == 0
                                  ? EXCHANGE_ENTRIES
                                  : EXCHANGE_DECLINED;
    self->mark = progress_mark(awaited(self));
    return exchange_find(&call_of(op)->service->store, op, &self->request, self->wants, what,
                         ANSWER_RANGES_MAX, pull_found);
}

/* What is committed, without entries. */
static enum op_next tell_committed(struct op *op)
{
    struct pull *self = op_self(op, struct pull);

    for (unsigned i = 0; i < self->found_count; i++)
        exchange_put_committed(&self->found[i], &self->payload);
    self->parts = self->found_count;
    return answer(op);
}

/* Rows of the first look have entries, or are all of what is declined: those are kept. */
static void keep_declined(struct pull *self)
{
    bool is_first_look = !self->has_looked;

    self->has_looked = true;
    if (!is_first_look || self->request.declined.len == 0 ||
        (self->request.flags & STREAM_IS_WATCH) != 0)
        return;
    for (unsigned i = 0; i < self->found_count; i++) {
        if (self->found[i].has_entries)
            return;
    }
    self->declined = self->found;
    self->declined_count = self->found_count;
    self->found_count = 0;
}

static struct exchange_found *find_range(struct exchange_found *found, unsigned count,
                                         int64_t range_id)
{
    for (unsigned i = 0; i < count; i++) {
        if (found[i].part.range_id == range_id)
            return &found[i];
    }
    return NULL;
}

/* As the logs were at the first look: what came since may well be on its way to the asker. */
static bool add_declined(struct op *op)
{
    struct pull *self = op_self(op, struct pull);
    unsigned count = self->found_count;
    struct exchange_found *all =
        arena_alloc(&op->arena, (count + self->declined_count) * sizeof(*all));

    if (all == NULL)
        return fault_set_oom(&op->fault);
    if (count > 0)
        memcpy(all, self->found, count * sizeof(*all));
    for (unsigned i = 0; i < self->declined_count; i++) {
        const struct exchange_found *declined = &self->declined[i];
        struct exchange_found *known = find_range(all, self->found_count, declined->part.range_id);
        if (known == NULL)
            known = &all[count++];
        else if (known->has_entries)
            continue;
        *known = *declined;
        known->has_entries = true;
    }
    struct exchange_found *definitions = find_range(all, count, 0);
    if (definitions != NULL) {
        struct exchange_found first = *definitions;
        *definitions = all[0];
        all[0] = first;
    }
    self->found = all;
    self->found_count = count;
    return true;
}

static enum op_next pull_found(struct op *op)
{
    struct pull *self = op_self(op, struct pull);
    int64_t left_ms = self->until_ms - op->loop->now_ms;

    if (!exchange_take_found(op, &self->found, &self->found_count))
        return OP_FAILED;
    keep_declined(self);
    if (self->is_last_look && self->declined_count > 0 && !add_declined(op))
        return OP_FAILED;
    if (self->found_count > 0) {
        struct stream_answer head = {.hello = hello_of(regions_current())};
        stream_put_answer(&self->payload, &head);
        return (self->request.flags & STREAM_IS_WATCH) != 0 ? tell_committed(op)
                                                            : op_again(op, pull_fetch);
    }
    if (self->is_last_look || op_has_left(op))
        return answer(op);
    if (left_ms <= 0) {
        self->is_last_look = true;
        return op_again(op, pull_look);
    }
    return progress_wait_since(op, awaited(self), self->mark,
                               left_ms < LOOK_AGAIN_MS ? left_ms : LOOK_AGAIN_MS, pull_look);
}

static enum op_next go_on(struct op *op, unsigned done)
{
    struct pull *self = op_self(op, struct pull);

    self->next += done;
    if (self->next < self->found_count && self->payload.len < ANSWER_BYTES)
        return op_again(op, pull_fetch);
    testpoint("ship-asked");
    return answer(op);
}

static enum op_next pull_fetch(struct op *op)
{
    struct pull *self = op_self(op, struct pull);
    const struct exchange_found *first = &self->found[self->next];
    unsigned most = self->found_count - self->next;
    size_t bytes = ANSWER_BYTES / self->found_count;

    if (!first->has_entries) {
        exchange_put_committed(first, &self->payload);
        self->parts++;
        return go_on(op, 1);
    }
    bytes = bytes > RANGE_BYTES_MIN ? bytes : RANGE_BYTES_MIN;
    if (exchange_put_recent(op, self->request.hello.ordinal, first, bytes, &self->payload)) {
        self->parts++;
        return go_on(op, 1);
    }
    self->fetched = 1;
    while (self->fetched < most && first[self->fetched].has_entries &&
           first[self->fetched].part.range_id >> 12 == first->part.range_id >> 12 &&
           (first[self->fetched].part.from >= STREAM_COPY) == (first->part.from >= STREAM_COPY))
        self->fetched++;
    return exchange_fetch(&call_of(op)->service->store, op, self->request.hello.ordinal, first,
                          self->fetched, bytes, pull_fetched);
}

static enum op_next pull_fetched(struct op *op)
{
    struct pull *self = op_self(op, struct pull);

    if (exchange_is_gone(op)) {
        pgio_result_finish(&self->missing);
        pgio_take(op->result, &self->missing);
        return exchange_ask_dropped(&call_of(op)->service->store, op, &self->found[self->next],
                                    pull_missed);
    }
    if (!exchange_take_entries(op, &self->found[self->next], self->fetched, &self->payload,
                               &self->parts))
        return OP_FAILED;
    return go_on(op, self->fetched);
}

static enum op_next pull_missed(struct op *op)
{
    struct pull *self = op_self(op, struct pull);

    if (!exchange_check_dropped(op, &self->missing))
        return OP_FAILED;
    return go_on(op, self->fetched);
}
