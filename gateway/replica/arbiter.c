#include "replica/arbiter.h"

#include "base/log.h"
#include "base/testpoint.h"
#include "model/complaint.h"
#include "model/json.h"
#include "replica/call.h"
#include "replica/failover.h"
#include "replica/status.h"
#include "store/epochs.h"
#include "store/levels.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>

#include "base/banned.h"

#define ARENA_MAX_BYTES (16u << 20)
#define TICK_TIME_MAX_MS 30000
#define CALL_MIN_MS 300
#define CALL_MAX_MS 2000
#define LOOK_MAX_MS 3000
#define WANTED_LOOK_MS 100 /* between looks while a change waits */
#define WANTED_MS 2000     /* a change that waits says so again within this time */
#define SURVEY_MS 1000
#define SURVEY_BYTES_MAX 65536
#define SURVEY_DEPTH_MAX 16

struct tick {
    struct arbiter *arbiter;
    const struct regions *regions;
    struct arbiter_view view;
    enum arbiter_step step;
    const char *path;
    struct buf body, keepalive;
    op_step *after;     /* of a question to etcd */
    unsigned tries;     /* servers that have not answered it */
    unsigned questions; /* of it: one, or the keep-alive beside it */
    struct buf login;
    bool has_logged_in; /* in this tick */
    int64_t asked_ms;   /* before it left */
    int64_t lease;      /* granted in this tick */
    int64_t granted_s;
    unsigned at; /* region that is surveyed, by index */
    bool is_reached[TOPOLOGY_REGIONS_MAX];
    bool is_planned;
    struct change change;
    struct change_plan plan;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards published */
static struct arbiter_status published;

static op_step tick_begin;
static op_step tick_refreshed; /* PostgreSQL answers: look */
static op_step look_came;
static op_step keep_came; /* the first keep-alive of a claim that was found */
static op_step note_came;
static op_step survey_next, survey_answered; /* before a takeover */
static op_step grant_came, claim_came;
static op_step revoke_came;
static op_step takeover_begin, takeover_alone, takeover_proposed, takeover_begun;

void arbiter_status_read(struct arbiter_status *status)
{
    pthread_mutex_lock(&lock);
    *status = published;
    pthread_mutex_unlock(&lock);
}

/* ---- the timer ---- */

static bool is_wanted(const struct arbiter *arbiter)
{
    return levels_now_ms() < arbiter->wanted_until_ms;
}

static void arm(struct arbiter *arbiter)
{
    int64_t pause_ms = arbiter_look_ms(&arbiter->rules);

    if (pause_ms > LOOK_MAX_MS)
        pause_ms = LOOK_MAX_MS;
    if (is_wanted(arbiter))
        pause_ms = WANTED_LOOK_MS;
    if (!arbiter->is_stopping)
        loop_timer_arm(arbiter->replica->loop, &arbiter->timer, pause_ms);
}

/* Tell when the hub stops, and when it goes on. */
static void note_acting(struct arbiter *arbiter)
{
    bool is_acting = levels_may_act();

    if (is_acting == arbiter->was_acting)
        return;
    arbiter->was_acting = is_acting;
    if (is_acting)
        log_info(NULL, "this region may act as the hub", "%s", "arbiter=etcd");
    else
        log_warn(NULL, "this region may not act as the hub any more", "%s",
                 "arbiter=etcd note=\"it takes no writes until it has the claim again\"");
}

static void tick_answered(struct op *op)
{
    if (op->fault.status != 0)
        log_info(&op->log, "arbiter not asked", "reason=\"%s\"", op->fault.message);
}

static void tick_released(struct op *op)
{
    struct arbiter *arbiter = container_of(op, struct arbiter, op);

    arena_finish(&op->arena);
    arbiter->is_running = false;
    note_acting(arbiter);
    arm(arbiter);
}

static void begin(struct arbiter *arbiter)
{
    loop_timer_disarm(arbiter->replica->loop, &arbiter->timer);
    arbiter->is_running = true;
    arbiter->op = (struct op){0};
    op_init(&arbiter->op, arbiter->replica->loop, ARENA_MAX_BYTES, tick_answered, tick_released);
    arbiter->op.log.route = "arbiter";
    op_start(&arbiter->op, tick_begin, TICK_TIME_MAX_MS);
}

static void due(struct loop_timer *timer)
{
    begin(container_of(timer, struct arbiter, timer));
}

bool arbiter_start(struct arbiter *arbiter, struct replica *replica)
{
    const struct config *config = replica->config;
    struct peer_options options = {.ca_file = config->etcd_ca_file,
                                   .cert_file = config->etcd_cert_file,
                                   .cert_key_file = config->etcd_cert_key_file,
                                   .connect_timeout_ms = CALL_MAX_MS};
    struct slice rest = slice_from_text(config->etcd), url;

    *arbiter = (struct arbiter){.replica = replica,
                                .rules = {.ttl_s = config->etcd_ttl_s, .lease = *levels_rules()},
                                .state = {.started_ms = levels_now_ms()}};
    published =
        (struct arbiter_status){.is_used = config->etcd != NULL, .lost_entries = -1, .lost_ms = -1};
    loop_timer_init(&arbiter->timer, due);
    if (config->etcd == NULL)
        return true;
    while (config_url_next(&rest, &url) && arbiter->url_count < CONFIG_ETCD_MAX) {
        while (url.len > 0 && url.ptr[url.len - 1] == '/')
            url.len--;
        arbiter->urls[arbiter->url_count++] = url;
    }
    loop_timer_arm(replica->loop, &arbiter->timer, 0);
    return peers_init(&arbiter->peers, replica->loop, &options);
}

void arbiter_stop(struct arbiter *arbiter)
{
    if (arbiter->replica == NULL)
        return;
    arbiter->is_stopping = true;
    loop_timer_disarm(arbiter->replica->loop, &arbiter->timer);
    peers_finish(&arbiter->peers);
}

/* ---- what changes of the topology need ---- */

const char *arbiter_lacks(struct arbiter *arbiter, enum arbiter_need need)
{
    int64_t now_ms = levels_now_ms();
    struct arbiter_status status;

    if (arbiter->url_count == 0 || !regions_current()->is_replicating)
        return NULL;
    arbiter_status_read(&status);
    if (need == ARBITER_NEEDS_ANSWER)
        return status.is_answering ? NULL : "etcd does not answer";
    if (arbiter->lease != 0 && now_ms < levels_claimed_until_ms()) {
        if (need == ARBITER_NEEDS_CLAIM || now_ms >= arbiter->free_from_ms)
            return NULL;
        arbiter->wanted_until_ms = now_ms + WANTED_MS;
        return "the claim was taken from a hub that may act by it until it runs out";
    }
    if (!is_wanted(arbiter) && !arbiter->is_running && !arbiter->is_stopping)
        loop_timer_arm(arbiter->replica->loop, &arbiter->timer, 0);
    arbiter->wanted_until_ms = now_ms + WANTED_MS;
    return status.is_answering ? "the claim of the hub is not had from etcd yet"
                               : "etcd does not answer";
}

/* ---- asking etcd ---- */

static void free_tick(void *object)
{
    struct tick *self = object;

    buf_finish(&self->body);
    buf_finish(&self->keepalive);
    buf_finish(&self->login);
}

static int call_ms(const struct arbiter *arbiter)
{
    int64_t ms = arbiter_look_ms(&arbiter->rules);

    if (ms > CALL_MAX_MS)
        return CALL_MAX_MS;
    return ms < CALL_MIN_MS ? CALL_MIN_MS : (int) ms;
}

static op_step etcd_answered, logged_in;

/* Its url is NULL without memory. */
static struct peer_request request_to(struct op *op, const char *path, const struct buf *body,
                                      const char *const *headers)
{
    const struct arbiter *arbiter = op_self(op, struct tick)->arbiter;
    struct slice url = arbiter->urls[arbiter->url];

    return (struct peer_request){
        .url = arena_printf(&op->arena, "%.*s%s", (int) url.len, url.ptr, path),
        .timeout_ms = call_ms(arbiter),
        .body_max_bytes = ARBITER_ANSWER_BYTES_MAX,
        .is_post = true,
        .body = buf_slice(body),
        .headers = headers};
}

/* Where etcd wants to know who asks: a token, for the questions of this tick and of those to come.
 */
static enum op_next log_in(struct op *op)
{
    static const char *const headers[] = {"content-type: application/json", NULL};
    struct tick *self = op_self(op, struct tick);
    const struct config *config = self->arbiter->replica->config;

    self->has_logged_in = true;
    self->login.len = 0;
    arbiter_print_login(&self->login, config->etcd_user, config->etcd_password);
    struct peer_request request = request_to(op, "/v3/auth/authenticate", &self->login, headers);
    if (self->login.has_failed || request.url == NULL) {
        fault_set_oom(&op->fault);
        return OP_FAILED;
    }
    return peer_ask(&self->arbiter->peers, op, &request, logged_in);
}

static enum op_next send(struct op *op)
{
    struct tick *self = op_self(op, struct tick);
    struct arbiter *arbiter = self->arbiter;
    const char *headers[] = {"content-type: application/json", NULL, NULL};
    struct peer_request requests[2];

    if (arbiter->replica->config->etcd_user != NULL && !arbiter->is_logged_in)
        return log_in(op);
    if (arbiter->token[0] != '\0') {
        headers[1] = arena_printf(&op->arena, "authorization: %s", arbiter->token);
        if (headers[1] == NULL) {
            fault_set_oom(&op->fault);
            return OP_FAILED;
        }
    }
    for (unsigned i = 0; i < self->questions; i++) {
        requests[i] = request_to(op, i == 0 ? self->path : "/v3/lease/keepalive",
                                 i == 0 ? &self->body : &self->keepalive, headers);
        if (requests[i].url == NULL) {
            fault_set_oom(&op->fault);
            return OP_FAILED;
        }
    }
    self->asked_ms = levels_now_ms();
    return peer_ask_all(&arbiter->peers, op, requests, self->questions, etcd_answered);
}

/* Ask; the next step runs when a server has answered. Servers are tried in turn; when none answers
 * the tick is over. */
static enum op_next ask(struct op *op, const char *path, op_step *next)
{
    struct tick *self = op_self(op, struct tick);

    if (self->body.has_failed || self->keepalive.has_failed) {
        fault_set_oom(&op->fault);
        return OP_FAILED;
    }
    self->path = path;
    self->after = next;
    self->tries = 0;
    self->questions = 1;
    return send(op);
}

static void complain(struct tick *self, const char *why)
{
    bool was_well;

    pthread_mutex_lock(&lock);
    was_well = published.is_answering || published.complaint[0] == '\0';
    published.is_answering = false;
    snprintf(published.complaint, sizeof(published.complaint), "%.*s",
             (int) sizeof(published.complaint) - 1, why);
    pthread_mutex_unlock(&lock);
    if (was_well)
        log_warn(&self->arbiter->op.log, "etcd does not answer", "reason=\"%s\"", why);
}

static void be_content(struct tick *self)
{
    bool was_ill;

    pthread_mutex_lock(&lock);
    was_ill = published.complaint[0] != '\0';
    published.is_answering = true;
    published.complaint[0] = '\0';
    published.heard_ms = self->asked_ms;
    pthread_mutex_unlock(&lock);
    if (was_ill)
        log_info(&self->arbiter->op.log, "etcd answers again", "%s", "");
}

/* The server that was asked did not do it, for this reason: ask the next one. */
static enum op_next ask_another(struct op *op, const char *reason)
{
    struct tick *self = op_self(op, struct tick);
    struct arbiter *arbiter = self->arbiter;
    struct slice url = arbiter->urls[arbiter->url];
    const char *why = arena_printf(&op->arena, "%.*s: %s", (int) url.len, url.ptr, reason);

    if (arbiter->is_stopping)
        return OP_DONE;
    arbiter->url = (arbiter->url + 1) % arbiter->url_count;
    if (++self->tries < arbiter->url_count)
        return send(op);
    complain(self, why != NULL ? why : "no memory");
    return OP_DONE;
}

static enum op_next refused(struct op *op, const struct peer_answer *answer)
{
    char text[COMPLAINT_BYTES], reason[COMPLAINT_BYTES + 32];

    if (answer->error != NULL)
        return ask_another(op, answer->error);
    (void) complaint_read(answer->body, text, sizeof(text));
    snprintf(reason, sizeof(reason), "status %u: %s", answer->status, text);
    return ask_another(op, reason);
}

/* Authentication may be enabled later, while we run: who logs in before is not refused for it. */
static bool is_nobody_asked_for(const struct peer_answer *answer)
{
    char text[COMPLAINT_BYTES];

    return answer->status != 0 && complaint_read(answer->body, text, sizeof(text)) &&
           strstr(text, "authentication is not enabled") != NULL;
}

static enum op_next logged_in(struct op *op)
{
    struct arbiter *arbiter = op_self(op, struct tick)->arbiter;
    const struct peer_answer *answer = peer_answer(op, 0);
    struct fault fault;

    arbiter->token[0] = '\0';
    if (answer->status != 200 && !is_nobody_asked_for(answer))
        return refused(op, answer);
    if (answer->status == 200 && !arbiter_read_login(answer->body, arbiter->token, &fault)) {
        arbiter->token[0] = '\0';
        return ask_another(op, fault.message);
    }
    arbiter->is_logged_in = true;
    return send(op);
}

/* A token ends when a server has not seen it for long, and when the user is changed: 401. Who has
 * none is told 400, once authentication is enabled. */
static bool is_token_old(const struct tick *self, const struct peer_answer *answer)
{
    return (answer->status == 400 || answer->status == 401) && self->arbiter->is_logged_in &&
           !self->has_logged_in;
}

static enum op_next etcd_answered(struct op *op)
{
    struct tick *self = op_self(op, struct tick);
    const struct peer_answer *answer = peer_answer(op, 0);

    if (answer->status == 200) {
        be_content(self);
        return op_again(op, self->after);
    }
    if (is_token_old(self, answer)) {
        self->arbiter->is_logged_in = false;
        return send(op);
    }
    return refused(op, answer);
}

static void malformed(struct tick *self, const struct op *op)
{
    complain(self, op->fault.message);
}

/* ---- our claim ---- */

/* Etcd has said that the lease lives so long; counted from before it was asked. */
static void extend(const struct tick *self, int64_t granted_s)
{
    int64_t until_ms = self->asked_ms + arbiter_margin_ms(&self->arbiter->rules, granted_s);

    if (until_ms > levels_claimed_until_ms())
        levels_claimed(until_ms);
}

static void lose(struct arbiter *arbiter)
{
    arbiter->lease = 0;
    levels_claimed(0);
}

static enum op_next tick_begin(struct op *op)
{
    struct arbiter *arbiter = container_of(op, struct arbiter, op);
    struct tick *self;

    if (!op_alloc_self(op, sizeof(struct tick)))
        return OP_FAILED;
    self = op_self(op, struct tick);
    self->arbiter = arbiter;
    if (!arena_defer(&op->arena, free_tick, self)) {
        fault_set_oom(&op->fault);
        return OP_FAILED;
    }
    if (!regions_current()->is_replicating)
        return OP_DONE;
    return regions_refresh(arbiter->replica->store, op, tick_refreshed);
}

static enum op_next tick_refreshed(struct op *op)
{
    struct tick *self = op_self(op, struct tick);
    struct arbiter *arbiter = self->arbiter;

    if (!regions_refreshed(op))
        return OP_FAILED;
    self->regions = regions_current();
    arbiter_print_look(&self->body, self->regions->topology.account);
    if (arbiter->lease == 0)
        return ask(op, "/v3/kv/range", look_came);
    arbiter_print_lease(&self->keepalive, arbiter->lease);
    if (self->body.has_failed || self->keepalive.has_failed) {
        fault_set_oom(&op->fault);
        return OP_FAILED;
    }
    self->path = "/v3/kv/range";
    self->after = look_came;
    self->questions = 2;
    return send(op);
}

static enum op_next decide(struct op *op);

/* A claim of our region that this process did not know: of another gateway, or of one before. */
static enum op_next adopt(struct op *op)
{
    struct tick *self = op_self(op, struct tick);
    struct arbiter *arbiter = self->arbiter;

    arbiter->lease = self->view.lease;
    arbiter->free_from_ms = levels_now_ms();
    if (!self->view.was_vacant)
        arbiter->free_from_ms += arbiter_seized_ms(&arbiter->rules, self->view.ttl_s);
    self->body.len = 0;
    arbiter_print_lease(&self->body, arbiter->lease);
    return ask(op, "/v3/lease/keepalive", keep_came);
}

static enum op_next keep_came(struct op *op)
{
    struct tick *self = op_self(op, struct tick);
    int64_t granted_s;

    if (!arbiter_read_keepalive(peer_answer(op, 0)->body, &granted_s, &op->fault)) {
        malformed(self, op);
        return OP_FAILED;
    }
    if (granted_s == 0) {
        lose(self->arbiter);
        return OP_DONE;
    }
    extend(self, granted_s);
    return decide(op);
}

static void note_holder(const struct tick *self)
{
    pthread_mutex_lock(&lock);
    published.holder = self->view.is_held ? self->view.holder : 0;
    pthread_mutex_unlock(&lock);
}

static enum op_next look_came(struct op *op)
{
    struct tick *self = op_self(op, struct tick);
    struct arbiter *arbiter = self->arbiter;
    const struct arbiter_view *view = &self->view;
    int64_t granted_s = 0;

    if (!arbiter_read_look(&self->view, peer_answer(op, 0)->body, self->regions->topology.account,
                           &op->arena, &op->fault)) {
        malformed(self, op);
        return OP_FAILED;
    }
    note_holder(self);
    if (view->is_held)
        arbiter->state.vacant_since_ms = 0;
    else if (arbiter->state.vacant_since_ms == 0)
        arbiter->state.vacant_since_ms = levels_now_ms();
    if (!view->is_held || view->holder != self->regions->self) {
        lose(arbiter);
        return decide(op);
    }
    if (view->lease != arbiter->lease)
        return adopt(op);
    /* What is read is ours by this lease, and the lease lives: nobody else had the claim between.
     */
    const struct peer_answer *kept = peer_answer(op, 1);
    if (kept->status != 200)
        return OP_DONE; /* there is time for another one */
    if (!arbiter_read_keepalive(kept->body, &granted_s, &op->fault)) {
        malformed(self, op);
        return OP_FAILED;
    }
    if (granted_s > 0)
        extend(self, granted_s);
    return decide(op);
}

static enum op_next begin_survey(struct op *op);
static enum op_next ask_for_lease(struct op *op);

static enum op_next decide(struct op *op)
{
    struct tick *self = op_self(op, struct tick);
    struct arbiter *arbiter = self->arbiter;

    arbiter->state.is_wanted = is_wanted(arbiter);
    self->step = arbiter_next(&self->regions->topology, self->regions->self, &self->view,
                              &arbiter->state, &arbiter->rules, levels_now_ms());
    self->body.len = 0;
    switch (self->step) {
    case ARBITER_WAIT:
    case ARBITER_KEEP:
        return OP_DONE;
    case ARBITER_NOTE:
        arbiter_print_note(&self->body, &self->regions->topology, &self->view);
        return ask(op, "/v3/kv/txn", note_came);
    case ARBITER_CLAIM:
    case ARBITER_MOVE:
        return ask_for_lease(op);
    case ARBITER_TAKE_OVER:
    case ARBITER_GO_ON:
        break;
    }
    return begin_survey(op);
}

static enum op_next note_came(struct op *op)
{
    struct tick *self = op_self(op, struct tick);
    bool ignored; /* otherwise the next look sees why */

    if (arbiter_read_transaction(peer_answer(op, 0)->body, &ignored, &op->fault))
        return OP_DONE;
    malformed(self, op);
    return OP_FAILED;
}

/* ---- claiming ---- */

static enum op_next ask_for_lease(struct op *op)
{
    struct tick *self = op_self(op, struct tick);

    self->body.len = 0;
    arbiter_print_grant(&self->body, self->arbiter->rules.ttl_s);
    return ask(op, "/v3/lease/grant", grant_came);
}

static enum op_next grant_came(struct op *op)
{
    struct tick *self = op_self(op, struct tick);

    if (!arbiter_read_grant(peer_answer(op, 0)->body, &self->lease, &self->granted_s, &op->fault)) {
        malformed(self, op);
        return OP_FAILED;
    }
    self->body.len = 0;
    arbiter_print_claim(&self->body, &self->regions->topology, self->regions->self, &self->view,
                        self->arbiter->rules.ttl_s, self->lease);
    return ask(op, "/v3/kv/txn", claim_came);
}

static enum op_next revoke(struct op *op)
{
    struct tick *self = op_self(op, struct tick);

    self->body.len = 0;
    arbiter_print_lease(&self->body, self->lease);
    return ask(op, "/v3/lease/revoke", revoke_came);
}

static enum op_next revoke_came(struct op *op)
{
    (void) op; /* otherwise it runs out */
    return OP_DONE;
}

/* What nobody answers may have been done: the next look finds the claim, and adopts it. The lease
 * is some moments old; the next keep-alive says for how long one may act. */
static enum op_next claim_came(struct op *op)
{
    struct tick *self = op_self(op, struct tick);
    struct arbiter *arbiter = self->arbiter;
    bool is_done;

    if (!arbiter_read_transaction(peer_answer(op, 0)->body, &is_done, &op->fault)) {
        malformed(self, op);
        return OP_FAILED;
    }
    if (!is_done)
        return revoke(op); /* somebody else was quicker */
    log_info(&op->log, "claim taken", "arbiter=etcd vacant=%s epoch=%" PRId64,
             self->view.is_held ? "false" : "true", self->regions->topology.epoch);
    self->view = (struct arbiter_view){.is_held = true,
                                       .holder = self->regions->self,
                                       .lease = self->lease,
                                       .was_vacant = !self->view.is_held,
                                       .ttl_s = self->view.ttl_s};
    note_holder(self);
    arbiter->state.vacant_since_ms = 0;
    arbiter->lease = self->lease;
    arbiter->free_from_ms = levels_now_ms();
    if (!self->view.was_vacant)
        arbiter->free_from_ms += arbiter_seized_ms(&arbiter->rules, self->view.ttl_s);
    testpoint("arbiter-claimed");
    self->body.len = 0;
    arbiter_print_lease(&self->body, self->lease);
    return ask(op, "/v3/lease/keepalive",
               self->step == ARBITER_TAKE_OVER ? takeover_begin : keep_came);
}

/* ---- becoming the hub ---- */

static enum op_next begin_survey(struct op *op)
{
    op_self(op, struct tick)->at = 0;
    return op_again(op, survey_next);
}

static enum op_next plan_takeover(struct op *op);

static enum op_next survey_next(struct op *op)
{
    struct tick *self = op_self(op, struct tick);
    const struct topology *topology = &self->regions->topology;
    unsigned live = topology_live_count(topology);
    int64_t most_ms = self->arbiter->rules.ttl_s * 500 / live;

    for (; self->at < live; self->at++) {
        unsigned ordinal = topology->regions[self->at].ordinal;
        if (ordinal == self->regions->self)
            self->is_reached[self->at] = true;
        else if (!slice_is_absent(self->regions->peer_url[self->at]))
            return replica_call(self->arbiter->replica->peers, op,
                                &(struct replica_request){
                                    .ordinal = ordinal,
                                    .is_get = true,
                                    .path = "/_orrery/topology",
                                    .timeout_ms = most_ms < SURVEY_MS ? (int) most_ms : SURVEY_MS,
                                    .answer_bytes_max = SURVEY_BYTES_MAX},
                                survey_answered);
    }
    return plan_takeover(op);
}

static enum op_next survey_answered(struct op *op)
{
    struct tick *self = op_self(op, struct tick);
    const struct peer_answer *answer = replica_answer(op);
    struct slice document, epoch;
    struct json_text text;
    struct fault ignored;
    int64_t number;

    if (answer->status == 200 && json_validate(answer->body, SURVEY_DEPTH_MAX, &text, &ignored) &&
        json_find(text.root, SLICE_LITERAL("topology"), &document) &&
        json_find(document, SLICE_LITERAL("epoch"), &epoch) &&
        json_integer(epoch, 0, INT64_MAX, &number)) {
        self->is_reached[self->at] = true;
        if (number > self->regions->topology.epoch) {
            failover_kick(); /* there is something to be learnt first */
            return OP_DONE;
        }
    }
    self->at++;
    return op_again(op, survey_next);
}

static bool is_hub_reached(const struct tick *self)
{
    const struct topology *topology = &self->regions->topology;

    for (unsigned i = 0; i < topology_live_count(topology); i++) {
        if (topology->regions[i].ordinal == topology->hub)
            return self->is_reached[i];
    }
    return false;
}

/* It would come to nothing: let others try, and come back behind them. */
static enum op_next step_back(struct op *op)
{
    struct tick *self = op_self(op, struct tick);
    struct arbiter *arbiter = self->arbiter;

    log_warn(&op->log, "no takeover", "reason=\"%s\"", op->fault.message);
    op->fault = (struct fault){0};
    arbiter->state.not_before_ms = levels_now_ms() + topology_live_count(&self->regions->topology) *
                                                         arbiter_stagger_ms(&arbiter->rules);
    if (arbiter->lease == 0)
        return OP_DONE;
    self->lease = arbiter->lease;
    lose(arbiter);
    return revoke(op);
}

static enum op_next plan_takeover(struct op *op)
{
    struct tick *self = op_self(op, struct tick);
    const struct topology *topology = &self->regions->topology;
    const struct topology_region *own = regions_self(self->regions);

    self->is_planned = is_hub_reached(self);
    self->change = (struct change){
        .kind = CHANGE_FAILOVER, .region = own->name, .is_forced = !self->is_planned};
    if (!change_plan(&self->plan, topology, &self->change, self->is_reached, &op->fault))
        return step_back(op);
    return self->step == ARBITER_GO_ON ? op_again(op, takeover_alone) : ask_for_lease(op);
}

/* After the claim: keep it, then look whether another gateway of the region has begun. */
static enum op_next takeover_begin(struct op *op)
{
    struct tick *self = op_self(op, struct tick);
    int64_t granted_s;

    if (!arbiter_read_keepalive(peer_answer(op, 0)->body, &granted_s, &op->fault)) {
        malformed(self, op);
        return OP_FAILED;
    }
    if (granted_s == 0)
        return OP_DONE;
    extend(self, granted_s);
    return op_again(op, takeover_alone);
}

static op_step takeover_looked;

static enum op_next takeover_alone(struct op *op)
{
    return epochs_ask_under_way(op_self(op, struct tick)->arbiter->replica->store, op,
                                takeover_looked);
}

/* A planned one whose old hub is gone meanwhile is followed by a forced one. */
static enum op_next takeover_looked(struct op *op)
{
    struct tick *self = op_self(op, struct tick);
    bool is_fencing;
    int64_t epoch;

    if (!epochs_under_way(op, &epoch, &is_fencing))
        return OP_FAILED;
    if (epoch != 0 && (!is_fencing || self->is_planned)) {
        failover_kick();
        return OP_DONE;
    }
    self->change.is_forced = epoch != 0; /* as far as the other one is concerned */
    return epochs_propose(self->arbiter->replica->store, op, takeover_proposed);
}

static enum op_next takeover_proposed(struct op *op)
{
    struct tick *self = op_self(op, struct tick);

    if (!epochs_proposed(op, &self->plan.next.epoch))
        return OP_FAILED;
    return epochs_begin(self->arbiter->replica->store, op, &self->change, &self->plan,
                        &self->regions->topology, takeover_begun);
}

/* What is known of what the old hub has acknowledged and nobody here has. Rule 5.8. */
static void note_loss(struct tick *self, unsigned hub)
{
    struct replica_status status;
    int64_t entries = -1, silent_ms = -1;

    replica_status_read(&status);
    for (unsigned i = 0; status.is_pulling && i < status.peer_count; i++) {
        if (status.peers[i].ordinal == hub && status.peers[i].has_answered) {
            entries = status.peers[i].lag_entries;
            silent_ms = status.peers[i].silent_ms;
        }
    }
    if (self->is_planned)
        entries = silent_ms = 0;
    pthread_mutex_lock(&lock);
    published.takeovers++;
    published.taken_epoch = self->plan.next.epoch;
    published.was_planned = self->is_planned;
    published.lost_entries = entries;
    published.lost_ms = silent_ms;
    pthread_mutex_unlock(&lock);
    log_warn(&self->arbiter->op.log, "this region takes over",
             "epoch=%" PRId64 " from=%u planned=%s possiblyLostEntries=%" PRId64
             " silentMs=%" PRId64,
             self->plan.next.epoch, hub, self->is_planned ? "true" : "false", entries, silent_ms);
}

static enum op_next takeover_begun(struct op *op)
{
    struct tick *self = op_self(op, struct tick);

    if (!epochs_begun(op)) {
        if (op->fault.status != 409)
            return OP_FAILED;
        op->fault = (struct fault){0}; /* another gateway of the region was quicker */
        return OP_DONE;
    }
    note_loss(self, self->regions->topology.hub);
    failover_kick();
    return OP_DONE;
}
