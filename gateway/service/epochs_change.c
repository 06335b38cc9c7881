/*
 * /_orrery/change: an operator wishes another topology. Any gateway may be asked. The next hub
 * carries it out: a wish that came to another region is handed on.
 *
 * Here it is found out whether it can be at all, with what every region knows now, before anything
 * is closed or written: who answers, whether anybody has heard of a later epoch. What is refused
 * here has changed nothing. Then the change is written down, and the failover of this region's
 * first loop goes on with it (replica/failover.h).
 */
#include "model/json.h"
#include "replica/call.h"
#include "replica/failover.h"
#include "service/call.h"
#include "service/handlers.h"
#include "store/epochs.h"
#include "store/regions.h"

#include <inttypes.h>

#include "base/banned.h"

#define ASK_MS 2000
#define FORWARD_MS 20000
#define ANSWER_BYTES_MAX 65536
#define ANSWER_DEPTH_MAX 16

struct wish {
    struct change change;
    const struct regions *regions;
    struct change_plan plan;
    bool is_reached[TOPOLOGY_REGIONS_MAX];
    unsigned next;      /* region to be asked */
    struct buf forward; /* the wish as it is handed on */
};

static op_step wish_read;      /* with what PostgreSQL knows now: who carries it out */
static op_step wish_forwarded; /* what that region said is the answer */
static op_step survey;         /* ask the regions, one after the other */
static op_step survey_answered;
static op_step wish_proposed; /* a number for the epoch: write the change down */
static op_step wish_begun;    /* answer */

static void free_wish(void *object)
{
    buf_finish(&((struct wish *) object)->forward);
}

enum op_next epochs_change(struct op *op)
{
    struct call *call = call_of(op);

    if (!op_alloc_self(op, sizeof(struct wish)))
        return OP_FAILED;
    struct wish *self = op_self(op, struct wish);
    if (!arena_defer(&op->arena, free_wish, self)) {
        fault_set_oom(&op->fault);
        return OP_FAILED;
    }
    if (!change_parse(&self->change, call->request.body, &op->arena, &op->fault))
        return OP_FAILED;
    return regions_refresh(&call->service->store, op, wish_read);
}

static enum op_next hand_on(struct op *op)
{
    struct wish *self = op_self(op, struct wish);

    self->change.is_forwarded = true;
    change_print(&self->forward, &self->change);
    if (self->forward.has_failed) {
        fault_set_oom(&op->fault);
        return OP_FAILED;
    }
    return replica_call(&call_of(op)->service->peers, op,
                        &(struct replica_request){.ordinal = self->plan.runner,
                                                  .path = "/_orrery/change",
                                                  .body = buf_slice(&self->forward),
                                                  .timeout_ms = FORWARD_MS,
                                                  .answer_bytes_max = ANSWER_BYTES_MAX},
                        wish_forwarded);
}

static enum op_next wish_forwarded(struct op *op)
{
    const struct peer_answer *answer = replica_answer(op);
    struct wish *self = op_self(op, struct wish);
    struct buf body = {0};

    if (answer->status == 0)
        return call_fail(op, 503, SUB_NONE,
                         "region %u, which would carry it out, does not answer: %s",
                         self->plan.runner, answer->error);
    if (answer->status >= 300)
        return call_fail(op, answer->status < 600 ? answer->status : 502, SUB_NONE, "%s",
                         replica_complaint(op));
    buf_append_slice(&body, answer->body);
    return call_reply_json(op, answer->status, &body);
}

/* Is it said in the settings where the region is? Those of regions that come have no ordinal yet.
 */
static bool is_place_known(const struct config *config, struct slice region)
{
    struct slice rest = slice_from_text(config->peers), name, url;

    while (config_peer_next(&rest, &name, &url)) {
        if (topology_name_equals(name, region))
            return true;
    }
    return false;
}

static enum op_next wish_read(struct op *op)
{
    struct wish *self = op_self(op, struct wish);
    struct call *call = call_of(op);

    if (!regions_refreshed(op))
        return OP_FAILED;
    self->regions = regions_current();
    const struct topology_region *own = regions_self(self->regions);
    if (own == NULL || own->state == REGION_RETIRED)
        return call_fail(op, 409, SUB_NONE, "this region is none of the account's any more");
    if (!change_plan(&self->plan, &self->regions->topology, &self->change, NULL, &op->fault))
        return OP_FAILED;
    if (self->plan.runner != self->regions->self && self->change.is_forwarded)
        return call_fail(op, 409, SUB_NONE, "regions do not agree who the hub is; try again");
    if (self->plan.runner != self->regions->self)
        return hand_on(op);
    if (self->change.kind == CHANGE_ADD &&
        !is_place_known(call->service->config, self->change.region))
        return call_fail(op, 409, SUB_NONE,
                         "it is not known where region \"%.*s\" is reached; --peers says it",
                         FAULT_QUOTE(self->change.region));
    return op_again(op, survey);
}

static enum op_next plan_with_survey(struct op *op)
{
    struct wish *self = op_self(op, struct wish);

    if (!change_plan(&self->plan, &self->regions->topology, &self->change, self->is_reached,
                     &op->fault))
        return OP_FAILED;
    if (self->plan.runner != self->regions->self)
        return call_fail(op, 503, SUB_NONE, "the region that would be the hub does not answer");
    return epochs_propose(&call_of(op)->service->store, op, wish_proposed);
}

static enum op_next survey(struct op *op)
{
    struct wish *self = op_self(op, struct wish);
    const struct topology *topology = &self->regions->topology;

    for (; self->next < topology_live_count(topology); self->next++) {
        const struct topology_region *region = &topology->regions[self->next];
        if (region->ordinal == self->regions->self)
            self->is_reached[self->next] = true;
        else if (!slice_is_absent(self->regions->peer_url[self->next]))
            return replica_call(&call_of(op)->service->peers, op,
                                &(struct replica_request){.ordinal = region->ordinal,
                                                          .is_get = true,
                                                          .path = "/_orrery/topology",
                                                          .timeout_ms = ASK_MS,
                                                          .answer_bytes_max = ANSWER_BYTES_MAX},
                                survey_answered);
    }
    return plan_with_survey(op);
}

static enum op_next survey_answered(struct op *op)
{
    struct wish *self = op_self(op, struct wish);
    const struct peer_answer *answer = replica_answer(op);
    const struct topology *topology = &self->regions->topology;
    struct slice document, epoch;
    struct json_text text;
    struct fault ignored;
    int64_t number = 0;

    if (answer->status == 200 && json_validate(answer->body, ANSWER_DEPTH_MAX, &text, &ignored) &&
        json_find(text.root, SLICE_LITERAL("topology"), &document) &&
        json_find(document, SLICE_LITERAL("epoch"), &epoch) &&
        json_integer(epoch, 0, INT64_MAX, &number)) {
        self->is_reached[self->next] = true;
        if (number > topology->epoch) {
            failover_kick(); /* learn it */
            return call_fail(op, 409, SUB_NONE,
                             "region \"%.*s\" knows of epoch %" PRId64 ", this region of %" PRId64
                             " only; try again",
                             FAULT_QUOTE(topology->regions[self->next].name), number,
                             topology->epoch);
        }
    }
    self->next++;
    return op_again(op, survey);
}

static enum op_next wish_proposed(struct op *op)
{
    struct wish *self = op_self(op, struct wish);

    if (!epochs_proposed(op, &self->plan.next.epoch))
        return OP_FAILED;
    return epochs_begin(&call_of(op)->service->store, op, &self->change, &self->plan,
                        &self->regions->topology, wish_begun);
}

static enum op_next wish_begun(struct op *op)
{
    struct wish *self = op_self(op, struct wish);
    struct buf body = {0};

    if (!epochs_begun(op))
        return OP_FAILED;
    log_info(&op->log, "topology is to change", "kind=%s epoch=%" PRId64,
             change_name(self->change.kind), self->plan.next.epoch);
    failover_kick();
    buf_printf(&body, "{\"epoch\":%" PRId64 ",\"region\":%u}", self->plan.next.epoch,
               self->plan.runner);
    return call_reply_json(op, 202, &body);
}
