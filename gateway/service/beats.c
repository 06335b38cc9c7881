/*
 * /_orrery/beat: gateways of other regions ask for a promise, when they are of the hub, or for
 * leave to read and how far the hub's definitions are, when they are not. What is answered is
 * looked up in PostgreSQL after the question came: the asker counts from its own stamp, which is
 * older.
 */
#include "loop/pgvalue.h"
#include "regions/beat.h"
#include "service/call.h"
#include "service/handlers.h"
#include "store/levels.h"
#include "store/regions.h"
#include "store/schema.h"

#include "base/banned.h"

struct beat {
    struct beat_question question;
    int64_t since;
    struct buf body;
};

static op_step promise_told;
static op_step grant_noted; /* the region was heard; what must it have? */
static op_step grant_told;
static op_step definitions_told;

static void finish_beat(void *object)
{
    buf_finish(&((struct beat *) object)->body);
}

static bool check_asker(const struct stream_hello *asker, struct fault *fault)
{
    const struct regions *regions = regions_current();
    struct stream_hello ours = {.account = regions->topology.account,
                                .ordinal = regions->self,
                                .schema = (uint32_t) schema_migrations_count,
                                .epoch = regions->topology.epoch};

    if (!stream_check_hello(&ours, asker, fault))
        return false;
    if (asker->epoch > ours.epoch)
        regions_refresh_soon();
    return true;
}

/* Only the hub knows, while it is one. */
static enum op_next tell_definitions(struct op *op)
{
    const struct beat *self = op_self(op, struct beat);
    const struct regions *regions = regions_current();
    const struct topology *topology = &regions->topology;
    struct pgio_statement statement = {.key = store_statement_key(STATEMENT_DEFINITIONS, 0),
                                       .planning = PGIO_PLANS_POINT,
                                       .sql =
                                           "select vector from orrery.ranges where range_id = $1"};
    struct pgparams params = {0};
    bool needs_majority = topology->level <= LEVEL_BOUNDED_STALENESS;

    if (topology->hub != regions->self || self->question.hello.epoch > topology->epoch)
        return call_fail(op, 409, SUB_NONE, "this region is not the hub of that epoch");
    if (!levels_may_act() ||
        (needs_majority && !levels_may_read(topology, regions->self, topology->epoch)))
        return call_fail(op, 503, SUB_NONE, "this region may have been followed as the hub");
    pgparams_int8(&params, 0);
    return store_query(&call_of(op)->service->store, op, STORE_READS, &statement, &params,
                       definitions_told);
}

static enum op_next definitions_told(struct op *op)
{
    struct beat *self = op_self(op, struct beat);
    int64_t vector[STREAM_VECTOR_MAX];

    if (!store_check(op, STORE_READS))
        return OP_FAILED;
    size_t len = pgvalue_int8_array(pgio_value(op->result, 0, 0), vector, ARRAY_LEN(vector));
    beat_answer_definitions(&self->body, vector, len);
    return call_reply_json(op, 200, &self->body);
}

enum op_next levels_beat(struct op *op)
{
    struct call *call = call_of(op);
    struct pgio_statement statement = {.key = store_statement_key(STATEMENT_BEAT, 0),
                                       .planning = PGIO_PLANS_POINT};
    struct pgparams params = {0};

    if (!op_alloc_self(op, sizeof(struct beat)))
        return OP_FAILED;
    struct beat *self = op_self(op, struct beat);
    if (!arena_defer(&op->arena, finish_beat, self)) {
        fault_set_oom(&op->fault);
        return OP_FAILED;
    }
    if (!beat_parse_question(&self->question, call->request.body, &op->arena, &op->fault) ||
        !check_asker(&self->question.hello, &op->fault))
        return OP_FAILED;
    if (self->question.kind == BEAT_DEFINITIONS)
        return tell_definitions(op);
    if (self->question.kind == BEAT_PROMISE) {
        statement.sql = "select promised from orrery.beat_promise($1)";
        pgparams_int8(&params, self->question.hello.epoch);
        return store_query(&call->service->store, op, STORE_READS, &statement, &params,
                           promise_told);
    }
    statement.key = store_statement_key(STATEMENT_BEAT + 1, 0);
    statement.sql = "select since from orrery.beat_grant($1::smallint, $2)";
    pgparams_int4(&params, (int32_t) self->question.hello.ordinal);
    pgparams_int8(&params, self->question.hello.epoch);
    return store_query(&call->service->store, op, STORE_READS, &statement, &params, grant_noted);
}

static enum op_next promise_told(struct op *op)
{
    struct beat *self = op_self(op, struct beat);

    if (!store_check(op, STORE_READS))
        return OP_FAILED;
    beat_answer_promise(&self->body, pgio_bool(op->result, 0, 0));
    return call_reply_json(op, 200, &self->body);
}

static enum op_next grant_noted(struct op *op)
{
    struct beat *self = op_self(op, struct beat);
    struct pgio_statement statement = {.key = store_statement_key(STATEMENT_BEAT_NEEDS, 0),
                                       .planning = PGIO_PLANS_POINT,
                                       .sql =
                                           "select is_in, set_version, range_id, committed, head "
                                           "from orrery.beat_needs($1::smallint, $2, $3)"};
    struct pgparams params = {0};

    if (!store_check(op, STORE_READS))
        return OP_FAILED;
    if (pgio_is_null(op->result, 0, 0)) {
        regions_refresh_soon();
        return call_fail(op, 409, SUB_NONE, "this region is not the hub of that epoch");
    }
    self->since = pgio_int8(op->result, 0, 0);
    pgparams_int4(&params, (int32_t) self->question.hello.ordinal);
    pgparams_int8(&params, self->question.hello.epoch);
    pgparams_int8(&params, self->question.since);
    return store_query(&call_of(op)->service->store, op, STORE_READS, &statement, &params,
                       grant_told);
}

static enum op_next grant_told(struct op *op)
{
    struct beat *self = op_self(op, struct beat);
    const struct topology *topology = &regions_current()->topology;
    const struct pgio_result *result = op->result;
    int64_t lease_ms = 0, set_version = 0;

    if (!store_check(op, STORE_READS))
        return OP_FAILED;
    beat_answer_begin(&self->body);
    for (int row = 0; row < pgio_row_count(result); row++) {
        struct beat_range range;
        set_version = pgio_int8(result, row, 1);
        if (pgio_is_null(result, row, 2))
            continue;
        range.range_id = pgio_int8(result, row, 2);
        range.committed_len = pgvalue_int8_array(pgio_value(result, row, 3), range.committed,
                                                 ARRAY_LEN(range.committed));
        range.head = pgio_is_null(result, row, 4) ? 0 : pgio_int8(result, row, 4);
        beat_answer_range(&self->body, &range);
    }
    /* Nested in our own right to read, which rests on promises of this epoch. */
    if (pgio_row_count(result) > 0 && pgio_bool(result, 0, 0) &&
        topology->epoch == self->question.hello.epoch && topology->hub == regions_current()->self)
        lease_ms = lease_grant_ms(levels_rules(), levels_horizon_ms(topology), levels_now_ms());
    beat_answer_end(&self->body, lease_ms, set_version, self->since);
    return call_reply_json(op, 200, &self->body);
}
