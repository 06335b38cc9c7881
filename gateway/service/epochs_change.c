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
#include "store/schema.h"

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

static op_step wish_read;          /* with what PostgreSQL knows now: who carries it out */
static op_step wish_forwarded;     /* what that region said is the answer */
static op_step candidate_answered; /* may the region that is to come join? */
static op_step survey;             /* ask the regions, one after the other */
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

/* ---- a region that is to come ---- */

/* Where it is: as the wish says, or the settings. Absent when neither does. */
static struct slice place_of(const struct config *config, const struct change *change)
{
    struct slice rest = slice_from_text(config->peers), name, url;

    if (!slice_is_absent(change->url))
        return change->url;
    while (config_peer_next(&rest, &name, &url)) {
        if (topology_name_equals(name, change->region))
            return url;
    }
    return (struct slice){NULL, 0};
}

static enum op_next ask_candidate(struct op *op)
{
    struct wish *self = op_self(op, struct wish);
    struct slice url = place_of(call_of(op)->service->config, &self->change);

    if (slice_is_absent(url))
        return call_fail(op, 409, SUB_NONE,
                         "it is not known where region \"%.*s\" is reached; --url says it, or "
                         "--peers of the gateways",
                         FAULT_QUOTE(self->change.region));
    while (url.len > 0 && url.ptr[url.len - 1] == '/')
        url.len--;
    return replica_call(&call_of(op)->service->peers, op,
                        &(struct replica_request){.url = url,
                                                  .is_get = true,
                                                  .path = "/_orrery/topology",
                                                  .timeout_ms = ASK_MS,
                                                  .answer_bytes_max = ANSWER_BYTES_MAX},
                        candidate_answered);
}

static struct slice member(struct slice object, const char *name)
{
    struct slice value;

    return json_find(object, slice_from_text(name), &value) ? value : SLICE_LITERAL("null");
}

/* What a region says of itself, before it is of the account. */
static bool check_candidate(struct op *op, struct slice root)
{
    struct wish *self = op_self(op, struct wish);
    struct slice account = member(root, "account"), region = member(root, "region"), name;
    struct fault *fault = &op->fault;
    int64_t schema = 0;

    if (json_type(root) != JSON_OBJECT || json_type(account) != JSON_STRING ||
        json_type(region) != JSON_STRING ||
        !json_integer(member(root, "schema"), 0, INT32_MAX, &schema))
        return fault_set(fault, 409, SUB_NONE, "what answers there is no gateway of Orrery");
    if (!json_string_decode(region, &op->arena, &name, fault))
        return false;
    if (!json_string_equals(account, self->regions->topology.account))
        return fault_set(fault, 409, SUB_NONE,
                         "the gateway that answers there is of account %.*s, not of \"%.*s\"",
                         FAULT_QUOTE(account), FAULT_QUOTE(self->regions->topology.account));
    if (!topology_name_equals(name, self->change.region))
        return fault_set(fault, 409, SUB_NONE,
                         "the gateway that answers there is of region \"%.*s\", not of \"%.*s\"",
                         FAULT_QUOTE(name), FAULT_QUOTE(self->change.region));
    if (schema != schema_migrations_count)
        return fault_set(fault, 409, SUB_NONE,
                         "region \"%.*s\" has schema version %" PRId64 ", this region has %d",
                         FAULT_QUOTE(name), schema, schema_migrations_count);
    return json_type(member(root, "fresh")) == JSON_TRUE ||
           fault_set(fault, 409, SUB_NONE,
                     "the database of region \"%.*s\" is not empty; a region joins with one that "
                     "was just made",
                     FAULT_QUOTE(name));
}

static enum op_next candidate_answered(struct op *op)
{
    struct wish *self = op_self(op, struct wish);
    const struct peer_answer *answer = replica_answer(op);
    struct json_text text;

    if (answer->status != 200)
        return call_fail(op, answer->status == 0 ? 503 : 409, SUB_NONE,
                         "region \"%.*s\" cannot be asked whether it may join: %s",
                         FAULT_QUOTE(self->change.region), replica_complaint(op));
    if (!json_validate(answer->body, ANSWER_DEPTH_MAX, &text, &op->fault) ||
        !check_candidate(op, text.root))
        return OP_FAILED;
    return op_again(op, survey);
}

static enum op_next wish_read(struct op *op)
{
    struct wish *self = op_self(op, struct wish);

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
    if (self->change.kind == CHANGE_ADD)
        return ask_candidate(op);
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
