/*
 * The control interface of faults on demand: /_orrery/faults.
 *
 * An order that one gateway gets is told to the gateways of the other regions too, on links that no
 * fault disturbs, because both ends of a link have to know. Who is not reached is named in the
 * answer: the order holds where it arrived.
 */
#include "replica/call.h"
#include "replica/faults.h"
#include "service/call.h"
#include "service/handlers.h"
#include "service/resource.h"
#include "store/regions.h"

#include "model/charge.h"

#include <stdio.h>

#include "base/banned.h"

#define RELAY_TIMEOUT_MS 1000
#define RELAY_ANSWER_BYTES 8192

struct faults {
    struct fault_order order;
    const struct regions *regions;
    unsigned region; /* index of the one that is told next */
    unsigned cleared, unreached_count;
    struct buf told, unreached;
};

static op_step relay_next;  /* tell one region, or answer */
static op_step relay_heard; /* note whether it took the order */

/* ---- reading ---- */

static bool check_allowed(struct op *op)
{
    return call_of(op)->service->config->allows_faults ||
           fault_set(&op->fault, 403, SUB_NONE,
                     "faults on demand are off in this gateway; serve --allow-faults lets them in");
}

enum op_next faults_read(struct op *op)
{
    const struct topology *topology = &regions_current()->topology;
    struct fault_rule *rules = arena_alloc(&op->arena, FAULTS_MAX * sizeof(*rules));
    struct buf body = {0};

    if (!check_allowed(op))
        return OP_FAILED;
    if (rules == NULL) {
        fault_set_oom(&op->fault);
        return OP_FAILED;
    }
    unsigned count = faults_list(rules);
    buf_append_text(&body, "{\"faults\":[");
    for (unsigned i = 0; i < count; i++) {
        if (i > 0)
            buf_append_char(&body, ',');
        fault_rule_print(&body, &rules[i], topology);
    }
    buf_append_text(&body, "]}");
    return call_reply_json(op, 200, &body);
}

/* ---- changing ---- */

static struct faults *begin(struct op *op)
{
    if (!check_allowed(op) || !op_alloc_self(op, sizeof(struct faults)))
        return NULL;
    struct faults *self = op_self(op, struct faults);
    self->regions = regions_current();
    return resource_defer_buf(op, &self->told) && resource_defer_buf(op, &self->unreached) ? self
                                                                                           : NULL;
}

static enum op_next carry_out(struct op *op)
{
    struct faults *self = op_self(op, struct faults);
    struct fault_order *order = &self->order;

    if (order->is_clear)
        self->cleared = faults_remove(order->rule.id);
    else if (!faults_add(&order->rule, self->regions->self, &op->fault))
        return OP_FAILED;
    fault_order_print(&self->told, order, &self->regions->topology);
    if (self->told.has_failed) {
        fault_set_oom(&op->fault);
        return OP_FAILED;
    }
    return op_again(op, relay_next);
}

enum op_next faults_order(struct op *op)
{
    struct faults *self = begin(op);

    if (self == NULL ||
        !fault_order_parse(&self->order, call_of(op)->request.body, &self->regions->topology,
                           self->regions->self, &op->arena, &op->fault))
        return OP_FAILED;
    return carry_out(op);
}

enum op_next faults_clear(struct op *op)
{
    struct faults *self = begin(op);

    if (self == NULL)
        return OP_FAILED;
    self->order.is_clear = true;
    return carry_out(op);
}

static enum op_next reply_order(struct op *op)
{
    struct faults *self = op_self(op, struct faults);
    struct buf body = {0};

    if (self->order.is_clear) {
        buf_printf(&body, "{\"cleared\":%u", self->cleared);
    } else {
        buf_append_text(&body, "{\"fault\":");
        fault_rule_print(&body, &self->order.rule, &self->regions->topology);
    }
    buf_append_text(&body, ",\"unreached\":[");
    buf_append_slice(&body, buf_slice(&self->unreached));
    buf_append_text(&body, "]}");
    return call_reply_json(op, self->order.is_clear ? 200 : 201, &body);
}

static void note_unreached(struct faults *self, const char *why)
{
    if (self->unreached_count++ > 0)
        buf_append_char(&self->unreached, ',');
    buf_append_text(&self->unreached, "{\"region\":");
    buf_append_json_string(&self->unreached, self->regions->topology.regions[self->region].name);
    buf_append_text(&self->unreached, ",\"why\":");
    buf_append_json_string(&self->unreached, slice_from_text(why));
    buf_append_char(&self->unreached, '}');
}

static enum op_next relay_next(struct op *op)
{
    struct faults *self = op_self(op, struct faults);
    const struct topology *topology = &self->regions->topology;

    for (; self->region < topology->region_count; self->region++) {
        const struct topology_region *region = &topology->regions[self->region];
        if (self->order.is_relayed || region->ordinal == self->regions->self ||
            region->state == REGION_RETIRED)
            continue;
        if (slice_is_absent(self->regions->peer_url[self->region])) {
            note_unreached(self, "it is not known where the region is reached");
            continue;
        }
        struct replica_request request = {.ordinal = region->ordinal,
                                          .path = "/_orrery/faults",
                                          .body = buf_slice(&self->told),
                                          .timeout_ms = RELAY_TIMEOUT_MS,
                                          .answer_bytes_max = RELAY_ANSWER_BYTES,
                                          .passes_faults = true};
        return replica_call(&call_of(op)->service->peers, op, &request, relay_heard);
    }
    return reply_order(op);
}

static enum op_next relay_heard(struct op *op)
{
    struct faults *self = op_self(op, struct faults);
    unsigned status = replica_answer(op)->status;

    if (status != 200 && status != 201)
        note_unreached(self, replica_complaint(op));
    self->region++;
    return op_again(op, relay_next);
}
