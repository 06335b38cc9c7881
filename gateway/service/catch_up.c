#include "service/catch_up.h"

#include "base/clock.h"
#include "loop/pgvalue.h"
#include "regions/beat.h"
#include "replica/call.h"
#include "store/progress.h"
#include "store/regions.h"
#include "store/schema.h"

#include <pthread.h>

#include "base/banned.h"

#define PATH "/_orrery/beat"
#define METADATA_RANGE 0
/* Who does not let reads wait for their tokens still means that a missing name is said to be so. */
#define WAIT_MS_MIN 1000
/* Kept of the request's time for the last look and the answer. */
#define ANSWER_MS 50
/* Between the beginnings of two questions. */
#define PACE_MS 10
/* Other gateways of the region apply definitions without a word to this one. */
#define LOOK_MS 100
#define OP_BYTES_MAX (1u << 20)
#define ANSWER_BYTES_MAX (64u << 10)

/* ---- the question ---- */

static op_step question_ask;
static op_step question_answered;

/* The process's. The op and what it was told belong to the loop that asks. */
static struct {
    struct op op;
    struct service *service;
    struct beat_answer told;

    pthread_mutex_t lock; /* guards the rest */
    bool is_running;
    int64_t begun_ms;
    uint64_t begun, ended, answered; /* the number of the last one that was so */
    size_t head_len;
    int64_t head[STREAM_VECTOR_MAX]; /* of the last answer */
} question = {.lock = PTHREAD_MUTEX_INITIALIZER};

static int64_t bound_ms(const struct service *service)
{
    int64_t wait_ms = service->config->session_wait_ms;

    return wait_ms > WAIT_MS_MIN ? wait_ms : WAIT_MS_MIN;
}

static void question_told(struct op *op)
{
    if (op->fault.status != 0)
        log_debug(&op->log, "the hub does not say how far its definitions are", "reason=\"%s\"",
                  op->fault.message);
}

static void question_released(struct op *op)
{
    const struct beat_answer *told = &question.told;
    bool is_answered = op->fault.status == 0;

    arena_finish(&op->arena);
    pthread_mutex_lock(&question.lock);
    question.is_running = false;
    question.ended = question.begun;
    if (is_answered) {
        question.answered = question.begun;
        question.head_len = told->definitions_len;
        memcpy(question.head, told->definitions, told->definitions_len * sizeof(*question.head));
    }
    pthread_mutex_unlock(&question.lock);
    progress_note(PROGRESS_DEFINITIONS);
}

/* Whoever set is_running. */
static void question_begin(struct service *service)
{
    question.service = service;
    question.op = (struct op){0};
    op_init(&question.op, service->loop, OP_BYTES_MAX, question_told, question_released);
    question.op.log.route = "definitions";
    op_start(&question.op, question_ask, bound_ms(service) + ANSWER_MS);
}

static enum op_next question_ask(struct op *op)
{
    const struct regions *regions = regions_current();
    struct beat_question asked = {.hello = {.account = regions->topology.account,
                                            .ordinal = regions->self,
                                            .schema = (uint32_t) schema_migrations_count,
                                            .epoch = regions->topology.epoch},
                                  .kind = BEAT_DEFINITIONS};
    struct buf text = {0};

    beat_print_question(&text, &asked);
    const char *kept = text.has_failed ? NULL : arena_copy(&op->arena, text.ptr, text.len);
    struct replica_request request = {.ordinal = regions->topology.hub,
                                      .path = PATH,
                                      .body = slice_make(kept, text.len),
                                      .timeout_ms = (int) bound_ms(question.service),
                                      .answer_bytes_max = ANSWER_BYTES_MAX};
    buf_finish(&text);
    if (kept == NULL) {
        fault_set_oom(&op->fault);
        return OP_FAILED;
    }
    return replica_call(&question.service->peers, op, &request, question_answered);
}

static enum op_next question_answered(struct op *op)
{
    const struct peer_answer *said = replica_answer(op);

    if (said->status == 409)
        regions_refresh_soon(); /* the hub may be another one by now */
    if (said->status != 200)
        return call_fail(op, 503, SUB_NONE, "%s", replica_complaint(op));
    return beat_parse_answer(&question.told, BEAT_DEFINITIONS, said->body, &op->fault) ? OP_DONE
                                                                                       : OP_FAILED;
}

/* ---- a call that waits for it ---- */

struct waiting {
    op_step *again;
    void *self;      /* of the handler */
    uint64_t wanted; /* the first question whose answer counts */
    int64_t until_ms;
    uint64_t mark;
    size_t head_len;
    int64_t head[STREAM_VECTOR_MAX]; /* what must be here */
};

static op_step wait_answer;
static op_step look; /* how far are this region's definitions? */
static op_step looked;

bool catch_up_is_due(const struct call *call)
{
    const struct regions *regions = regions_current();

    return regions->is_replicating && regions->topology.hub != regions->self &&
           !call->has_caught_up;
}

static enum op_next end(struct op *op)
{
    struct waiting *self = op_self(op, struct waiting);

    op->self = self->self;
    call_of(op)->has_caught_up = true;
    return op_again(op, self->again);
}

static enum op_next give_up(struct op *op)
{
    op->self = op_self(op, struct waiting)->self;
    fault_set(&op->fault, 503, SUB_NONE,
              "what is asked for is not known in this region, and whether it is in the hub cannot "
              "be told now");
    op->fault.retry_after_ms = 1000;
    return OP_FAILED;
}

enum op_next catch_up(struct op *op, op_step *again)
{
    const struct service *service = call_of(op)->service;
    struct waiting *self = arena_alloc(&op->arena, sizeof(*self));
    int64_t left_ms = op_time_left_ms(op) - ANSWER_MS, most_ms = bound_ms(service);

    if (self == NULL) {
        fault_set_oom(&op->fault);
        return OP_FAILED;
    }
    *self =
        (struct waiting){.again = again,
                         .self = op->self,
                         .until_ms = op->loop->now_ms + (left_ms < most_ms ? left_ms : most_ms)};
    pthread_mutex_lock(&question.lock);
    self->wanted = question.begun + 1;
    pthread_mutex_unlock(&question.lock);
    op->fault = (struct fault){0};
    op->self = self;
    return op_again(op, wait_answer);
}

static enum op_next wait_answer(struct op *op)
{
    struct waiting *self = op_self(op, struct waiting);
    int64_t left_ms = self->until_ms - op->loop->now_ms;
    uint64_t mark = progress_mark(PROGRESS_DEFINITIONS);
    bool begins = false;

    pthread_mutex_lock(&question.lock);
    bool has_ended = question.ended >= self->wanted;
    bool is_answered = question.answered >= self->wanted;
    int64_t pause_ms = question.begun_ms + PACE_MS - clock_monotonic_ms();
    if (is_answered) {
        self->head_len = question.head_len;
        memcpy(self->head, question.head, question.head_len * sizeof(*self->head));
    } else if (!has_ended && !question.is_running && pause_ms <= 0 && left_ms > 0) {
        begins = question.is_running = true;
        question.begun++;
        question.begun_ms = clock_monotonic_ms();
    }
    bool is_running = question.is_running;
    pthread_mutex_unlock(&question.lock);
    if (is_answered)
        return op_again(op, look);
    if (has_ended || left_ms <= 0)
        return give_up(op);
    if (!is_running)
        return op_sleep(op, pause_ms, wait_answer);
    if (begins)
        question_begin(call_of(op)->service);
    return progress_wait_since(op, PROGRESS_DEFINITIONS, mark, left_ms, wait_answer);
}

static enum op_next look(struct op *op)
{
    struct pgio_statement statement = {.key = store_statement_key(STATEMENT_DEFINITIONS, 0),
                                       .planning = PGIO_PLANS_POINT,
                                       .sql =
                                           "select vector from orrery.ranges where range_id = $1"};
    struct pgparams params = {0};

    op_self(op, struct waiting)->mark = progress_mark(METADATA_RANGE);
    pgparams_int8(&params, METADATA_RANGE);
    return store_query(&call_of(op)->service->store, op, STORE_READS, &statement, &params, looked);
}

static bool has_all(const struct waiting *self, struct slice vector)
{
    int64_t here[STREAM_VECTOR_MAX];
    size_t len = pgvalue_int8_array(vector, here, ARRAY_LEN(here));

    for (size_t i = 0; i < self->head_len; i++) {
        if (self->head[i] > (i < len ? here[i] : 0))
            return false;
    }
    return true;
}

static enum op_next looked(struct op *op)
{
    struct waiting *self = op_self(op, struct waiting);
    int64_t left_ms = self->until_ms - op->loop->now_ms;

    if (!store_check(op, STORE_READS))
        return OP_FAILED;
    if (has_all(self, pgio_value(op->result, 0, 0)))
        return end(op);
    if (left_ms <= 0)
        return give_up(op);
    return progress_wait_since(op, METADATA_RANGE, self->mark,
                               left_ms < LOOK_MS ? left_ms : LOOK_MS, look);
}
