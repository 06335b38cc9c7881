#include "replica/failover.h"

#include "base/clock.h"
#include "base/crypto.h"
#include "base/log.h"
#include "base/testpoint.h"
#include "model/json.h"
#include "replica/arbiter.h"
#include "replica/call.h"
#include "replica/status.h"
#include "store/regions.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <string.h>

#include "base/banned.h"

#define IDLE_MS 500  /* between looks for a change to carry out */
#define BUSY_MS 40   /* while there is one */
#define NEWS_MS 2000 /* between questions to other regions */
#define KNOWN_MS 60000
#define CALL_MS 2000
#define FENCE_LOST_MS 1000 /* for a hub that is given up */
#define CATCH_UP_MS 30000  /* a change that cannot get so far is given up, or goes on without */
#define TICK_TIME_MAX_MS 120000
#define ANSWER_BYTES_MAX (16u << 20)
#define ARENA_MAX_BYTES (64u << 20)
#define DEPTH_MAX 16

struct tick {
    struct failover *failover;
    struct epochs_change change;
    struct topology next;          /* the change's document */
    const struct regions *regions; /* as they are */
    unsigned at;                   /* region under way, by index */
    enum change_kind kind;         /* of the change that is begun for it */
    struct buf message;
    struct slice answer;
    op_step *after; /* of a message to a region: when it has answered */
    bool is_own;    /* the region under way is this one */
};

static _Atomic(struct failover *) running;
static _Atomic bool is_kick_asked;

static op_step tick_begin;
static op_step tick_taken; /* a change to go on with, or none */
static op_step tick_moved; /* the stage is written: look again */
static op_step catch_up_measured, catch_up_told;
static op_step close_next, close_answered;
static op_step accept_next, accept_answered, accept_noted;
static op_step reach_measured;
static op_step open_some, open_done, open_refreshed;
static op_step tell_next, tell_answered;
static op_step resolve_some, resolve_done; /* stranded transactions */
static op_step news_next, news_answered, news_learnt, news_refreshed;
static op_step behind_asked;
static op_step join_next, join_asked, join_answered, join_measured, join_proposed, join_begun;

/* ---- the timer ---- */

static void arm(struct failover *failover, int64_t pause_ms)
{
    if (!failover->is_stopping)
        loop_timer_arm(failover->replica->loop, &failover->timer, pause_ms);
}

static void tick_answered(struct op *op)
{
    if (op->fault.status != 0)
        log_debug(&op->log, "change of the topology interrupted", "reason=\"%s\"",
                  op->fault.message);
}

static void tick_released(struct op *op)
{
    struct failover *failover = container_of(op, struct failover, op);
    bool has_failed = op->fault.status != 0;

    arena_finish(&op->arena);
    failover->is_running = false;
    if (failover->is_kicked)
        arm(failover, 0);
    else
        arm(failover, failover->epoch != 0 && !has_failed ? BUSY_MS : IDLE_MS);
}

static void begin(struct failover *failover)
{
    loop_timer_disarm(failover->replica->loop, &failover->timer);
    failover->is_running = true;
    failover->is_kicked = false;
    failover->op = (struct op){0};
    op_init(&failover->op, failover->replica->loop, ARENA_MAX_BYTES, tick_answered, tick_released);
    failover->op.log.route = "failover";
    op_start(&failover->op, tick_begin, TICK_TIME_MAX_MS);
}

static void due(struct loop_timer *timer)
{
    begin(container_of(timer, struct failover, timer));
}

static void kicked(struct loop_message *message)
{
    struct failover *failover = container_of(message, struct failover, message);

    atomic_store(&is_kick_asked, false);
    if (failover->is_stopping)
        return;
    failover->is_kicked = true;
    failover->news_due_ms = 0;
    if (!failover->is_running)
        begin(failover);
}

void failover_kick(void)
{
    struct failover *failover = atomic_load(&running);

    if (failover != NULL && !atomic_exchange(&is_kick_asked, true))
        loop_post(failover->replica->loop, &failover->message);
}

void failover_start(struct failover *failover, struct replica *replica)
{
    *failover = (struct failover){.replica = replica, .started_ms = replica->loop->now_ms};
    crypto_random(&failover->holder, sizeof(failover->holder));
    failover->holder &= INT64_MAX;
    loop_timer_init(&failover->timer, due);
    failover->message.run = kicked;
    atomic_store(&running, failover);
    arm(failover, IDLE_MS);
}

void failover_stop(struct failover *failover)
{
    if (failover->replica == NULL)
        return;
    atomic_store(&running, NULL);
    failover->is_stopping = true;
    loop_timer_disarm(failover->replica->loop, &failover->timer);
}

/* ---- helpers of the steps ---- */

static struct store *store_of(const struct tick *self)
{
    return self->failover->replica->store;
}

static bool has_accepted(const struct tick *self, unsigned ordinal)
{
    for (size_t i = 0; i < self->change.accepted_count; i++) {
        if (self->change.accepted[i] == ordinal)
            return true;
    }
    return false;
}

static bool is_fenced(const struct tick *self, unsigned ordinal)
{
    for (size_t i = 0; i < self->change.fence_count; i++) {
        if (self->change.fence[i] == ordinal)
            return true;
    }
    return false;
}

static bool is_in(const struct topology *topology, unsigned ordinal)
{
    const struct topology_region *region = topology_find(topology, ordinal);

    return region != NULL && region->state != REGION_RETIRED;
}

/* Do leases of the epoch before stand in the way? */
static bool has_leases(const struct tick *self)
{
    enum consistency_level level;

    return consistency_level_find(self->change.level, &level) && level <= LEVEL_BOUNDED_STALENESS;
}

static enum op_next move(struct op *op, const char *stage, const char *note)
{
    struct tick *self = op_self(op, struct tick);

    testpoint(arena_printf(&op->arena, "failover-%s", stage));
    log_info(&op->log, "change of the topology", "epoch=%" PRId64 " stage=%s%s%s%s",
             self->change.epoch, stage, note[0] != '\0' ? " note=\"" : "", note,
             note[0] != '\0' ? "\"" : "");
    self->failover->is_kicked = true; /* go on at once */
    return epochs_go(store_of(self), op, self->change.epoch, stage, note, tick_moved);
}

static enum op_next tick_moved(struct op *op)
{
    int64_t ignored;

    return epochs_number(op, &ignored) ? OP_DONE : OP_FAILED;
}

/* Begin a message {"account":…,"epoch":…,"do":… */
static void message_begin(struct tick *self, int64_t epoch, const char *what)
{
    buf_finish(&self->message);
    buf_append_text(&self->message, "{\"account\":");
    buf_append_json_string(&self->message, self->regions->topology.account);
    buf_printf(&self->message, ",\"epoch\":%" PRId64 ",\"do\":\"%s\"", epoch, what);
}

static op_step own_answered;

/* Ask a region, which may be this one; the next step calls answered(). */
static enum op_next ask(struct op *op, unsigned ordinal, int timeout_ms, op_step *next)
{
    struct tick *self = op_self(op, struct tick);

    buf_append_char(&self->message, '}');
    if (self->message.has_failed) {
        fault_set_oom(&op->fault);
        return OP_FAILED;
    }
    self->after = next;
    self->is_own = ordinal == self->regions->self;
    if (self->is_own)
        return epochs_do(store_of(self), op, buf_slice(&self->message), own_answered);
    return replica_call(self->failover->replica->peers, op,
                        &(struct replica_request){.ordinal = ordinal,
                                                  .path = "/_orrery/epoch",
                                                  .body = buf_slice(&self->message),
                                                  .timeout_ms = timeout_ms,
                                                  .answer_bytes_max = ANSWER_BYTES_MAX},
                        next);
}

static enum op_next own_answered(struct op *op)
{
    struct tick *self = op_self(op, struct tick);

    if (!epochs_done(op, &self->answer)) {
        if (op->fault.status != 409)
            return OP_FAILED;
        self->answer = slice_make(NULL, 0);
    }
    return op_again(op, self->after);
}

/* Why a region did not do what it was asked; NULL when it did, and self->answer is what it said. */
static const char *answered(struct op *op)
{
    struct tick *self = op_self(op, struct tick);

    if (self->is_own) {
        if (!slice_is_absent(self->answer))
            return NULL;
        const char *why = arena_printf(&op->arena, "%s", op->fault.message);
        op->fault = (struct fault){0};
        return why != NULL ? why : "refused";
    }
    const struct peer_answer *answer = replica_answer(op);
    if (answer->status != 200)
        return replica_complaint(op);
    self->answer = answer->body;
    return NULL;
}

static bool is_reachable(const struct tick *self, unsigned index)
{
    return self->regions->topology.regions[index].ordinal == self->regions->self ||
           !slice_is_absent(self->regions->peer_url[index]);
}

/* ---- a tick ---- */

static void free_tick(void *object)
{
    buf_finish(&((struct tick *) object)->message);
}

static enum op_next tick_begin(struct op *op)
{
    struct failover *failover = container_of(op, struct failover, op);
    struct tick *self;

    if (!op_alloc_self(op, sizeof(struct tick)))
        return OP_FAILED;
    self = op_self(op, struct tick);
    self->failover = failover;
    self->regions = regions_current();
    if (!arena_defer(&op->arena, free_tick, self)) {
        fault_set_oom(&op->fault);
        return OP_FAILED;
    }
    return epochs_take(store_of(self), op, failover->holder, tick_taken);
}

/* Why the arbiter does not let the change go on yet; NULL: it does. A hub that is given up must
 * have stopped before others accept; one that takes its last write hands over afterwards. Rule 5.7.
 */
static const char *lacks_claim(struct tick *self, bool is_opening)
{
    unsigned hub = self->regions->topology.hub;
    enum arbiter_need need = ARBITER_NEEDS_CLAIM;

    if (self->next.hub != hub && !is_fenced(self, hub))
        need = ARBITER_NEEDS_SEIZED;
    else if (self->next.hub != hub && !is_opening)
        need = ARBITER_NEEDS_ANSWER;
    return arbiter_lacks(self->failover->replica->arbiter, need);
}

static enum op_next wait_for_claim(struct op *op, const char *why, bool is_opening)
{
    struct tick *self = op_self(op, struct tick);
    struct failover *failover = self->failover;
    int64_t most_ms = CATCH_UP_MS + 2000 * (int64_t) failover->replica->config->etcd_ttl_s;

    if (!is_opening && self->change.age_ms > most_ms)
        return move(op, "failed", why);
    if (failover->waits_for == why)
        return OP_DONE;
    failover->waits_for = why;
    return epochs_go(store_of(self), op, self->change.epoch, is_opening ? "opening" : "closing",
                     why, tick_moved);
}

static enum op_next go_on(struct op *op)
{
    struct tick *self = op_self(op, struct tick);
    struct slice stage = self->change.stage;

    self->at = 0;
    if (slice_equals_text(stage, "catching-up"))
        return epochs_ask_catching_up(store_of(self), op, self->change.epoch, catch_up_measured);
    if (slice_equals_text(stage, "accepting"))
        return op_again(op, accept_next);
    if (slice_equals_text(stage, "reaching"))
        return epochs_ask_lacking(store_of(self), op, self->change.epoch, reach_measured);
    bool is_opening = !slice_equals_text(stage, "closing");
    const char *why = lacks_claim(self, is_opening);
    if (why != NULL)
        return wait_for_claim(op, why, is_opening);
    return op_again(op, is_opening ? open_some : close_next);
}

static enum op_next tick_taken(struct op *op)
{
    struct tick *self = op_self(op, struct tick);
    struct failover *failover = self->failover;
    bool is_there;

    if (!epochs_taken(op, &self->change, &is_there))
        return OP_FAILED;
    if (!is_there) {
        failover->epoch = 0;
        return op_again(op, resolve_some);
    }
    if (failover->epoch != self->change.epoch) {
        failover->epoch = self->change.epoch;
        failover->closed_at_ms = 0;
        failover->was_passed = false;
        failover->waits_for = NULL;
        memset(failover->is_closed, 0, sizeof(failover->is_closed));
    }
    if (!topology_parse(&self->next, self->change.document, &op->arena, &op->fault))
        return OP_FAILED;
    return go_on(op);
}

/* ---- catching up ---- */

/* What the old hub had when this began: what came since is as far behind as ever. */
static enum op_next catch_up_measured(struct op *op)
{
    struct tick *self = op_self(op, struct tick);
    int64_t lacking;

    if (!epochs_number(op, &lacking))
        return OP_FAILED;
    if (lacking < 0) {
        message_begin(self, self->change.epoch, "tell");
        return ask(op, (unsigned) self->change.fence[0], CALL_MS, catch_up_told);
    }
    if (lacking == 0 || self->change.age_ms > CATCH_UP_MS)
        return move(op, "closing", "");
    return OP_DONE;
}

static enum op_next catch_up_told(struct op *op)
{
    struct tick *self = op_self(op, struct tick);
    const char *why = answered(op);

    if (why != NULL && self->change.age_ms > CATCH_UP_MS)
        return move(op, "failed", why);
    if (why != NULL)
        return OP_DONE;
    return epochs_accepted(store_of(self), op, self->change.epoch, 0, self->answer, tick_moved);
}

/* ---- closing ---- */

static enum op_next close_next(struct op *op)
{
    struct tick *self = op_self(op, struct tick);
    struct failover *failover = self->failover;
    const struct topology *topology = &self->regions->topology;
    int64_t lease_ms = failover->replica->config->lease_ms;

    if (!has_leases(self))
        return move(op, "accepting", "");
    /* D(1+ρ) on our own clock, from when the last of them had closed (rule 3.1). */
    if (failover->closed_at_ms != 0) {
        if (op->loop->now_ms - failover->closed_at_ms < lease_ms + lease_ms / 50)
            return OP_DONE;
        return move(op, "accepting", "");
    }
    while (self->at < topology_live_count(topology) && !is_reachable(self, self->at))
        self->at++;
    if (self->at == topology_live_count(topology)) {
        failover->closed_at_ms = clock_monotonic_ms();
        return OP_DONE;
    }
    message_begin(self, self->change.epoch, "close");
    return ask(op, topology->regions[self->at].ordinal, CALL_MS, close_answered);
}

static enum op_next close_answered(struct op *op)
{
    struct tick *self = op_self(op, struct tick);

    if (answered(op) == NULL)
        self->failover->is_closed[self->regions->topology.regions[self->at].ordinal] = true;
    self->at++;
    return op_again(op, close_next);
}

/* ---- accepting ---- */

/* Should the region be asked now? Those that take their last write first, then the others. */
static bool is_to_accept(const struct tick *self, const struct topology_region *region, bool first)
{
    return (is_fenced(self, region->ordinal) || !is_in(&self->next, region->ordinal)) == first &&
           region->state != REGION_JOINING && !has_accepted(self, region->ordinal) &&
           (!has_leases(self) || self->failover->is_closed[region->ordinal]);
}

static enum op_next ask_to_accept(struct op *op, const struct topology_region *region)
{
    struct tick *self = op_self(op, struct tick);
    bool is_writer = topology_may_write(&self->next, region->ordinal);
    bool is_given_up = !is_in(&self->next, region->ordinal) && !is_fenced(self, region->ordinal);

    message_begin(self, self->change.epoch, "accept");
    if (is_given_up || (is_fenced(self, region->ordinal) && !is_writer))
        buf_append_text(&self->message, ",\"fence\":\"all\"");
    else if (is_fenced(self, region->ordinal))
        buf_append_text(&self->message, ",\"fence\":\"metadata\"");
    buf_append_text(&self->message, ",\"document\":");
    buf_append_slice(&self->message, self->change.document);
    return ask(op, region->ordinal, is_given_up ? FENCE_LOST_MS : CALL_MS, accept_answered);
}

static bool is_ready_to_reach(const struct tick *self)
{
    for (size_t i = 0; i < self->change.fence_count; i++) {
        if (!has_accepted(self, (unsigned) self->change.fence[i]))
            return false;
    }
    return self->failover->was_passed && has_accepted(self, self->regions->self) &&
           (int64_t) self->change.accepted_count >= self->change.needed;
}

/* at counts to twice the regions: in the first round those that are fenced. */
static enum op_next accept_next(struct op *op)
{
    struct tick *self = op_self(op, struct tick);
    const struct topology *topology = &self->regions->topology;
    unsigned live = topology_live_count(topology);

    if (has_leases(self) && self->failover->closed_at_ms == 0)
        return move(op, "closing", ""); /* another process closed, and may not have waited */
    if (is_ready_to_reach(self))
        return move(op, "reaching", "");
    for (; self->at < 2 * live; self->at++) {
        const struct topology_region *region = &topology->regions[self->at % live];
        if (is_to_accept(self, region, self->at < live) && is_reachable(self, self->at % live))
            return ask_to_accept(op, region);
    }
    self->failover->was_passed = true;
    return OP_DONE;
}

static enum op_next accept_answered(struct op *op)
{
    struct tick *self = op_self(op, struct tick);
    const struct topology *topology = &self->regions->topology;
    unsigned live = topology_live_count(topology);
    unsigned ordinal = topology->regions[self->at % live].ordinal;
    const char *why = answered(op);

    self->at++;
    if (why == NULL && (is_in(&self->next, ordinal) || is_fenced(self, ordinal)))
        return epochs_accepted(store_of(self), op, self->change.epoch, ordinal, self->answer,
                               accept_noted);
    if (why == NULL || !is_fenced(self, ordinal))
        return op_again(op, accept_next);
    /* Without its last write nobody else may begin. */
    if (self->change.accepted_count == 0 && self->change.age_ms > 2 * CATCH_UP_MS)
        return move(op, "failed", why);
    return OP_DONE;
}

static enum op_next accept_noted(struct op *op)
{
    int64_t ignored;

    return epochs_number(op, &ignored) ? op_again(op, accept_next) : OP_FAILED;
}

/* ---- reaching ---- */

static enum op_next reach_measured(struct op *op)
{
    int64_t lacking;

    if (!epochs_number(op, &lacking))
        return OP_FAILED;
    return lacking == 0 ? move(op, "opening", "") : OP_DONE;
}

/* ---- opening ---- */

static enum op_next open_some(struct op *op)
{
    struct tick *self = op_self(op, struct tick);

    return epochs_open(store_of(self), op, self->change.epoch, open_done);
}

static enum op_next open_done(struct op *op)
{
    struct tick *self = op_self(op, struct tick);
    int64_t left;

    if (!epochs_number(op, &left))
        return OP_FAILED;
    if (left < 0)
        return move(op, "superseded", "a later epoch was accepted");
    if (left > 0)
        return op_again(op, open_some);
    return regions_refresh(store_of(self), op, open_refreshed);
}

static enum op_next open_refreshed(struct op *op)
{
    struct tick *self = op_self(op, struct tick);

    if (!regions_refreshed(op))
        return OP_FAILED;
    self->regions = regions_current();
    self->at = 0;
    return op_again(op, tell_next);
}

/* Everybody, those that are given up too: they must stop. */
static enum op_next tell_next(struct op *op)
{
    struct tick *self = op_self(op, struct tick);
    const struct topology *topology = &self->regions->topology;

    while (self->at < topology->region_count &&
           (topology->regions[self->at].ordinal == self->regions->self ||
            slice_is_absent(self->regions->peer_url[self->at])))
        self->at++;
    if (self->at == topology->region_count)
        return move(op, "done", "");
    message_begin(self, self->change.epoch, "learn");
    buf_append_text(&self->message, ",\"document\":");
    buf_append_slice(&self->message, self->change.document);
    return ask(op, topology->regions[self->at].ordinal, FENCE_LOST_MS, tell_answered);
}

static enum op_next tell_answered(struct op *op)
{
    op_self(op, struct tick)->at++;
    return op_again(op, tell_next);
}

/* ---- what is stranded ---- */

static bool has_lost_regions(const struct topology *topology)
{
    for (unsigned i = topology_live_count(topology); i < topology->region_count; i++) {
        if (topology->regions[i].is_lost)
            return true;
    }
    return false;
}

/* Only the hub decides, and only where a region was ever given up there is anything (rule 5.6). */
static enum op_next resolve_some(struct op *op)
{
    struct tick *self = op_self(op, struct tick);
    const struct topology *topology = &self->regions->topology;

    if (topology->hub != self->regions->self || !has_lost_regions(topology))
        return op_again(op, news_next);
    testpoint("stranded-begun");
    return epochs_resolve(store_of(self), op, resolve_done);
}

static enum op_next resolve_done(struct op *op)
{
    struct epochs_resolved resolved;
    int count;

    if (!epochs_resolved_count(op, &count))
        return OP_FAILED;
    if (count > 0)
        testpoint("stranded-decided");
    for (int i = 0; i < count; i++) {
        epochs_resolved_row(op, i, &resolved);
        replica_status_resolved(resolved.is_merged, resolved.entries);
        log_warn(&op->log, "writes of a region that was given up are decided",
                 "region=%u range=%" PRId64 " outcome=%s transactions=%" PRId64 " entries=%" PRId64,
                 resolved.origin, resolved.range_id, resolved.is_merged ? "merged" : "conflict",
                 resolved.transactions, resolved.entries);
    }
    return op_again(op, count > 0 ? resolve_some : news_next);
}

/* ---- news ---- */

static enum op_next news_next(struct op *op)
{
    struct tick *self = op_self(op, struct tick);
    struct failover *failover = self->failover;
    const struct topology *topology = &self->regions->topology;

    if (self->at == 0 && op->loop->now_ms < failover->news_due_ms)
        return OP_DONE;
    for (; self->at < topology_live_count(topology); self->at++) {
        unsigned ordinal = topology->regions[self->at].ordinal;
        if (ordinal == self->regions->self || slice_is_absent(self->regions->peer_url[self->at]))
            continue;
        return replica_call(failover->replica->peers, op,
                            &(struct replica_request){.ordinal = ordinal,
                                                      .is_get = true,
                                                      .path = "/_orrery/topology",
                                                      .timeout_ms = CALL_MS,
                                                      .answer_bytes_max = ANSWER_BYTES_MAX},
                            news_answered);
    }
    failover->news_due_ms = op->loop->now_ms + NEWS_MS;
    self->at = 0;
    if (topology->hub != self->regions->self)
        return OP_DONE;
    int64_t silent_s = failover->replica->config->log_retention_s;
    if (op->loop->now_ms - failover->started_ms < KNOWN_MS &&
        (op->loop->now_ms - failover->started_ms) / 1000 < silent_s)
        return op_again(op, join_next);
    return epochs_ask_left_behind(store_of(self), op, silent_s, behind_asked);
}

/* The document of an answer, when it is later than what is known here. */
static bool has_news(const struct tick *self, struct op *op, struct slice *document)
{
    const struct peer_answer *answer = replica_answer(op);
    struct topology topology;
    struct json_text text;
    struct fault fault = {0};

    return answer->status == 200 && json_validate(answer->body, DEPTH_MAX, &text, &fault) &&
           json_find(text.root, SLICE_LITERAL("topology"), document) &&
           topology_parse(&topology, *document, &op->arena, &fault) &&
           slice_equals(topology.account, self->regions->topology.account) &&
           topology.epoch > self->regions->topology.epoch;
}

static enum op_next news_answered(struct op *op)
{
    struct tick *self = op_self(op, struct tick);
    struct slice document;

    if (!has_news(self, op, &document)) {
        self->at++;
        return op_again(op, news_next);
    }
    message_begin(self, 0, "learn");
    buf_append_text(&self->message, ",\"document\":");
    buf_append_slice(&self->message, document);
    return ask(op, self->regions->self, CALL_MS, news_learnt);
}

static enum op_next news_learnt(struct op *op)
{
    struct tick *self = op_self(op, struct tick);

    if (answered(op) != NULL)
        return OP_DONE;
    return regions_refresh(store_of(self), op, news_refreshed);
}

static enum op_next news_refreshed(struct op *op)
{
    return regions_refreshed(op) ? OP_DONE : OP_FAILED;
}

/* ---- regions that join ---- */

/* One that was away for too long joins anew, so that the others need not keep all for it. */
static enum op_next behind_asked(struct op *op)
{
    struct tick *self = op_self(op, struct tick);
    const struct topology *topology = &self->regions->topology;
    int64_t ordinal;

    if (!epochs_number(op, &ordinal))
        return OP_FAILED;
    if (ordinal == 0)
        return op_again(op, join_next);
    for (unsigned i = 0; i < topology_live_count(topology); i++) {
        if (topology->regions[i].ordinal == ordinal)
            self->at = i;
    }
    log_warn(&op->log, "region is left behind, it joins anew", "region=\"%.*s\"",
             FAULT_QUOTE(topology->regions[self->at].name));
    self->kind = CHANGE_REJOIN;
    return epochs_propose(store_of(self), op, join_proposed);
}

static enum op_next join_next(struct op *op)
{
    struct tick *self = op_self(op, struct tick);
    const struct topology *topology = &self->regions->topology;

    while (self->at < topology_live_count(topology) &&
           (topology->regions[self->at].state != REGION_JOINING || !is_reachable(self, self->at)))
        self->at++;
    if (self->at == topology_live_count(topology))
        return OP_DONE;
    return epochs_ask_first(store_of(self), op, join_asked);
}

static enum op_next join_asked(struct op *op)
{
    struct tick *self = op_self(op, struct tick);
    const struct topology *topology = &self->regions->topology;
    struct slice first;

    if (!epochs_first(op, &first))
        return OP_FAILED;
    message_begin(self, topology->epoch, "join");
    buf_printf(&self->message, ",\"ordinal\":%u,\"first\":", topology->regions[self->at].ordinal);
    buf_append_slice(&self->message, first);
    buf_append_text(&self->message, ",\"document\":");
    buf_append_slice(&self->message, self->regions->document);
    return ask(op, topology->regions[self->at].ordinal, CALL_MS, join_answered);
}

static enum op_next join_answered(struct op *op)
{
    struct tick *self = op_self(op, struct tick);
    const char *why = answered(op);

    if (why == NULL)
        return epochs_ask_joined(store_of(self), op,
                                 self->regions->topology.regions[self->at].ordinal, self->answer,
                                 join_measured);
    log_info(&op->log, "region does not join yet", "region=\"%.*s\" reason=\"%s\"",
             FAULT_QUOTE(self->regions->topology.regions[self->at].name), why);
    self->at++;
    return op_again(op, join_next);
}

/* Has it caught up? Then clients may hear of it: a change of its own. */
static enum op_next join_measured(struct op *op)
{
    struct tick *self = op_self(op, struct tick);
    int64_t lacking;

    if (!epochs_number(op, &lacking))
        return OP_FAILED;
    if (lacking > 0) {
        self->at++;
        return op_again(op, join_next);
    }
    self->kind = CHANGE_ANNOUNCE;
    return epochs_propose(store_of(self), op, join_proposed);
}

static enum op_next join_proposed(struct op *op)
{
    struct tick *self = op_self(op, struct tick);
    const struct topology *topology = &self->regions->topology;
    struct change change = {.kind = self->kind, .region = topology->regions[self->at].name};
    struct change_plan *plan = arena_alloc(&op->arena, sizeof(*plan));

    if (plan == NULL || !change_plan(plan, topology, &change, NULL, &op->fault) ||
        !epochs_proposed(op, &plan->next.epoch))
        return OP_FAILED;
    return epochs_begin(store_of(self), op, &change, plan, topology, join_begun);
}

static enum op_next join_begun(struct op *op)
{
    struct tick *self = op_self(op, struct tick);

    self->failover->is_kicked = true;
    return epochs_begun(op) ? OP_DONE : OP_FAILED;
}
