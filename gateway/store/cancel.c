#include "store/cancel.h"

#include "base/log.h"
#include "store/store.h"

#include "base/banned.h"

static const char cancel_sql[] =
    "select pg_cancel_backend(a.pid) from pg_stat_get_activity($1) a "
    "where a.pid = $1 and extract(epoch from a.backend_start)::text = $2";

static void cancel_done(struct pgio_call *call, struct pgio_result *result)
{
    struct store_cancel *cancel = container_of(call, struct store_cancel, call);
    struct pgio *target = cancel->target;

    target->is_held = false;
    if (result->outcome == PGIO_LOST && !cancel->store->is_closing)
        pgio_break(target); /* it may still be done */
    else if (result->outcome == PGIO_ERROR)
        log_error(NULL, "a statement cannot be cancelled", "sqlstate=%s message=\"%s\"",
                  result->sqlstate, result->message);
    loop_kick(cancel->store->loop);
}

static void cancel_send(struct store *store, struct pgio *target)
{
    struct store_cancel *cancel = &store->cancels[target - store->queries.connections];
    struct pgio *io = store_pool_pick(&store->reads);
    struct pgio_statement statement = {.key = store_statement_key(STATEMENT_CANCEL, 0),
                                       .sql = cancel_sql};
    struct pgparams params = {0};

    if (target->is_held || io == NULL || !pgio_is_ready(target))
        return;
    cancel->target = target;
    target->is_held = true;
    pgparams_int4(&params, pgio_backend(target));
    pgparams_text(&params, slice_from_text(target->backend_start));
    if (pgio_send(io, &cancel->call, &statement, &params, cancel_done))
        store->cancels_sent++;
    else
        target->is_held = false;
    pgparams_finish(&params);
}

static bool has_left(const struct op *op)
{
    return !op->is_answered && op_has_left(op);
}

static void look(struct loop_timer *timer)
{
    struct store *store = container_of(timer, struct store, cancel_timer);
    struct list *place, *next;

    for (place = store->query_queue.next; place != &store->query_queue; place = next) {
        struct op *op = list_entry(place, struct op, place);
        next = place->next;
        if (has_left(op))
            op_expire(op);
    }
    for (place = store->query_runs.next; place != &store->query_runs; place = next) {
        struct store_run *run = list_entry(place, struct store_run, place);
        next = place->next;
        if (run->effect == STORE_CHANGES)
            continue;
        if (has_left(run->op))
            op_expire(run->op);
        if (run->op->is_answered)
            cancel_send(store, run->io);
    }
    if (!list_is_empty(&store->query_runs))
        loop_timer_arm(store->loop, timer, CANCEL_LOOK_MS);
}

void store_cancel_begin(struct store *store, struct store_run *run, struct pgio *io)
{
    run->io = io;
    list_append(&store->query_runs, &run->place);
    if (!loop_timer_is_armed(&store->cancel_timer))
        loop_timer_arm(store->loop, &store->cancel_timer, CANCEL_LOOK_MS);
}

void store_cancel_end(struct store_run *run)
{
    list_remove(&run->place);
}

void store_cancel_init(struct store *store)
{
    list_init(&store->query_runs);
    loop_timer_init(&store->cancel_timer, look);
    for (size_t i = 0; i < ARRAY_LEN(store->cancels); i++)
        store->cancels[i].store = store;
}

void store_cancel_finish(struct store *store)
{
    loop_timer_disarm(store->loop, &store->cancel_timer);
}
