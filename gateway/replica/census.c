#include "replica/census.h"

#include "replica/status.h"
#include "store/levels.h"
#include "store/regions.h"

#include <assert.h>

#include "base/banned.h"

#define LOOK_MS 5000
#define OP_BYTES_MAX (1u << 20)

static op_step census_ask;
static op_step census_came;

static void answered(struct op *op)
{
    if (op->fault.status != 0)
        log_debug(&op->log, "census not taken", "reason=\"%s\"", op->fault.message);
}

static void released(struct op *op)
{
    arena_finish(&op->arena);
    container_of(op, struct census, op)->is_running = false;
}

static void due(struct loop_timer *timer)
{
    struct census *census = container_of(timer, struct census, timer);

    loop_timer_arm(census->replica->loop, &census->timer, LOOK_MS);
    if (!regions_current()->is_replicating || census->is_running)
        return;
    census->is_running = true;
    census->op = (struct op){0};
    op_init(&census->op, census->replica->loop, OP_BYTES_MAX, answered, released);
    census->op.log.route = "census";
    op_start(&census->op, census_ask, LOOK_MS);
}

static enum op_next census_ask(struct op *op)
{
    struct census *census = container_of(op, struct census, op);
    struct pgio_statement statement = {
        .key = store_statement_key(STATEMENT_CENSUS, 0),
        .sql = "select (select count(*) from (select from orrery.conflicts c where not "
               "c.is_resolved limit $1::bigint) x), count(*), coalesce(sum(l.head - l.horizon), "
               "0)::bigint, coalesce(sum(l.horizon), 0)::bigint from orrery.log_state l"};
    struct pgparams params = {0};

    pgparams_int8(&params, REPLICA_CONFLICTS_MAX);
    return store_query(census->replica->store, op, STORE_READS, &statement, &params, census_came);
}

static enum op_next census_came(struct op *op)
{
    if (!store_check(op, STORE_READS))
        return OP_FAILED;
    replica_census_publish(&(struct replica_census){.looked_ms = levels_now_ms(),
                                                    .conflicts = pgio_int8(op->result, 0, 0),
                                                    .ranges = pgio_int8(op->result, 0, 1),
                                                    .log_whole = pgio_int8(op->result, 0, 2),
                                                    .log_trimmed = pgio_int8(op->result, 0, 3)});
    return OP_DONE;
}

void census_start(struct census *census, struct replica *replica)
{
    *census = (struct census){.replica = replica};
    loop_timer_init(&census->timer, due);
    loop_timer_arm(replica->loop, &census->timer, 0);
}

void census_stop(struct census *census)
{
    if (census->replica == NULL || census->is_stopping)
        return;
    census->is_stopping = true;
    loop_timer_disarm(census->replica->loop, &census->timer);
}

void census_finish(struct census *census)
{
    assert(!census->is_running);
}
