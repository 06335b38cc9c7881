#include "store/store.h"

#include "store/reads.h"
#include "store/sqlstate.h"
#include "store/writes.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/banned.h"

/* How much longer than its statement_timeout a server may be silent. */
#define PATIENCE_MORE_MS 2000

/* Without these, PostgreSQL plans every call of a batch anew and prefers scans while tables are
 * small. */
static const char point_settings[] =
    "set plan_cache_mode=force_generic_plan; set enable_seqscan=off; set enable_hashjoin=off; "
    "set enable_mergejoin=off; set enable_bitmapscan=off; set jit=off; set synchronous_commit=on; "
    "set client_min_messages=warning";

/* What travels together is one transaction, and sees one state of the database. */
static const char one_snapshot[] =
    "set default_transaction_isolation='repeatable read'; set default_transaction_read_only=on";

struct pgio *store_pool_pick(struct store_pool *pool)
{
    struct pgio *best = NULL;

    for (unsigned i = 0; i < pool->count; i++) {
        struct pgio *io = &pool->connections[i];
        if (pgio_is_ready(io) && (best == NULL || io->in_flight_count < best->in_flight_count))
            best = io;
    }
    return best;
}

bool store_pool_is_out(struct store *store, struct store_pool *pool)
{
    for (unsigned i = 0; i < pool->count; i++) {
        if (pgio_is_ready(&pool->connections[i])) {
            pool->down_since_ms = 0;
            return false;
        }
    }
    if (pool->down_since_ms == 0)
        pool->down_since_ms = store->loop->now_ms;
    if (store->loop->now_ms - pool->down_since_ms >= STORE_OUTAGE_WAIT_MS)
        return true;
    if (!loop_timer_is_armed(&store->recheck))
        loop_timer_arm(store->loop, &store->recheck, STORE_OUTAGE_WAIT_MS);
    return false;
}

void store_refuse(struct op *op)
{
    struct pgio_result away = {
        .outcome = PGIO_ERROR, .sqlstate = "08001", .message = "no connection"};

    assert(op->waits == OP_WAITS_QUEUED);
    op_dequeue(op);
    op_resume_with(op, &away, 0);
}

bool store_range_is_served(struct slice state)
{
    return slice_equals_text(state, "online") || slice_equals_text(state, "read-only");
}

bool store_fault_behind(struct fault *fault)
{
    fault_set(fault, 429, SUB_REQUEST_RATE_TOO_LARGE,
              "another region is as far behind as bounded staleness allows; nothing was changed");
    fault->retry_after_ms = 500;
    return false;
}

bool store_fault_read_only(struct fault *fault)
{
    return fault_set(fault, 403, SUB_WRITE_FORBIDDEN,
                     "the requested operation cannot be performed at this region");
}

/* ---- the query pool ---- */

static void query_done(struct pgio_call *call, struct pgio_result *result)
{
    struct store_run *run = container_of(call, struct store_run, call);

    store_cancel_end(run);
    op_resume_with(run->op, result, 0);
}

struct pgio *store_pool_idle(struct store_pool *pool)
{
    for (unsigned i = 0; i < pool->count; i++) {
        struct pgio *io = &pool->connections[i];
        if (pgio_is_ready(io) && io->in_flight_count == 0 && !io->is_held)
            return io;
    }
    return NULL;
}

/* Take the op out of the queue first: a connection that breaks while sending resumes it at once. */
static void send_query(struct store *store, struct op *op, struct pgio *io)
{
    struct store_run *run = op->waiting_for;

    op_dequeue(op);
    op->waits = run->effect == STORE_CHANGES ? OP_WAITS_WRITE : OP_WAITS_READ;
    store->queries_sent++;
    store_cancel_begin(store, run, io);
    if (!pgio_send(io, &run->call, &run->statement, &run->params, query_done)) {
        store_cancel_end(run);
        op->waits = OP_WAITS_QUEUED;
        op_enqueue_first(op, &store->query_queue, &store->queries.waiting);
    }
}

static void flush_queries(struct store *store)
{
    struct pgio *io;

    while (!list_is_empty(&store->query_queue) && (io = store_pool_idle(&store->queries)) != NULL)
        send_query(store, list_entry(store->query_queue.next, struct op, place), io);
    if (list_is_empty(&store->query_queue) || !store_pool_is_out(store, &store->queries))
        return;
    while (!list_is_empty(&store->query_queue))
        store_refuse(list_entry(store->query_queue.next, struct op, place));
}

static void free_params(void *object)
{
    pgparams_finish(object);
}

bool store_run_init(struct store_run *run, struct op *op, enum store_effect effect)
{
    run->op = op;
    run->effect = effect;
    return arena_defer(&op->arena, free_params, &run->params) || fault_set_oom(&op->fault);
}

static void params_array(struct pgparams *params, const struct sql_param *param)
{
    bool is_json = param->type == SQL_JSONB_ARRAY;

    pgparams_array_begin(params, is_json ? PG_JSONB_ARRAY : PG_TEXT_ARRAY);
    for (size_t i = 0; i < param->element_count; i++) {
        if (is_json)
            pgparams_add_jsonb(params, param->elements[i]);
        else
            pgparams_add_bytes(params, param->elements[i]);
    }
    pgparams_array_end(params);
}

void store_params_sql(struct pgparams *params, const struct sql *sql)
{
    for (unsigned i = 0; i < sql->param_count; i++) {
        const struct sql_param *param = &sql->params[i];
        switch (param->type) {
        case SQL_TEXT:
            pgparams_text(params, param->text);
            break;
        case SQL_JSONB:
            pgparams_jsonb(params, param->text);
            break;
        case SQL_FLOAT8:
            pgparams_float8(params, param->number);
            break;
        case SQL_INT8:
            pgparams_int8(params, param->integer);
            break;
        case SQL_BYTEA:
            pgparams_bytea(params, param->text);
            break;
        case SQL_JSONB_ARRAY:
        case SQL_TEXT_ARRAY:
            params_array(params, param);
            break;
        }
    }
    if (!sql_is_whole(sql))
        params->bytes.has_failed = true;
}

enum op_next store_run_send(struct store *store, struct store_run *run, op_step *next)
{
    struct op *op = run->op;

    if (run->statement.sql == NULL || run->params.bytes.has_failed) {
        fault_set_oom(&op->fault);
        return OP_FAILED;
    }
    op->waiting_for = run;
    op_enqueue(op, &store->query_queue, &store->queries.waiting);
    return op_wait(op, OP_WAITS_QUEUED, next);
}

enum op_next store_query(struct store *store, struct op *op, enum store_effect effect,
                         const struct pgio_statement *statement, struct pgparams *params,
                         op_step *next)
{
    struct store_run *run = arena_alloc(&op->arena, sizeof(*run));

    if (run == NULL) {
        pgparams_finish(params);
        fault_set_oom(&op->fault);
        return OP_FAILED;
    }
    run->params = *params;
    *params = (struct pgparams){0};
    if (!store_run_init(run, op, effect))
        return OP_FAILED;
    run->statement = *statement;
    run->statement.sql = arena_copy(&op->arena, statement->sql, strlen(statement->sql));
    return store_run_send(store, run, next);
}

bool store_check(struct op *op, enum store_effect effect)
{
    if (op->result->outcome == PGIO_ROWS)
        return true;
    bool is_unknown = op->result->outcome == PGIO_LOST ||
                      (sqlstate_class(op->result->sqlstate) == SQLSTATE_UNKNOWN &&
                       strcmp(op->result->sqlstate, "08001") != 0);
    if (effect == STORE_CHANGES && is_unknown)
        return fault_set(
            &op->fault, 408, SUB_NONE,
            "the connection to the database broke; whether the change was made is not known");
    sqlstate_fault(op->result, &op->log, &op->fault);
    return false;
}

/* ---- the store ---- */

static _Atomic int64_t waiting_total[STORE_POOLS], in_flight_total[STORE_POOLS];

const char *store_pool_name(enum store_pool_name pool)
{
    static const char *const names[] = {"read", "write", "query"};

    return names[pool];
}

struct store_depth store_depth(enum store_pool_name pool)
{
    return (struct store_depth){
        .waiting = atomic_load_explicit(&waiting_total[pool], memory_order_relaxed),
        .in_flight = atomic_load_explicit(&in_flight_total[pool], memory_order_relaxed)};
}

static void publish(struct store_pool *pool, enum store_pool_name name)
{
    struct store_depth now = {.waiting = pool->waiting};

    for (unsigned i = 0; i < pool->count; i++)
        now.in_flight += pool->connections[i].in_flight_count;
    if (now.waiting != pool->published.waiting)
        atomic_fetch_add_explicit(&waiting_total[name], now.waiting - pool->published.waiting,
                                  memory_order_relaxed);
    if (now.in_flight != pool->published.in_flight)
        atomic_fetch_add_explicit(&in_flight_total[name], now.in_flight - pool->published.in_flight,
                                  memory_order_relaxed);
    pool->published = now;
}

static void publish_depths(struct store *store)
{
    publish(&store->reads, STORE_POOL_READ);
    publish(&store->writes, STORE_POOL_WRITE);
    publish(&store->queries, STORE_POOL_QUERY);
}

static int flush(struct loop_hook *hook)
{
    struct store *store = container_of(hook, struct store, hook);

    store_reads_flush(store);
    store_writes_flush(store);
    flush_queries(store);
    publish_depths(store);
    return -1;
}

static void recheck(struct loop_timer *timer)
{
    (void) timer; /* the turn that it caused runs the hook */
}

static void init_pool(struct store *store, struct store_pool *pool, const char *name, int count,
                      const char *setup)
{
    assert(count > 0 && count <= STORE_POOL_MAX);
    pool->count = (unsigned) count;
    for (unsigned i = 0; i < pool->count; i++)
        pgio_init(&pool->connections[i], store->loop, name, store->config->database_url, setup,
                  store->config->request_timeout_ms + PATIENCE_MORE_MS);
}

bool store_init(struct store *store, struct loop *loop, const struct config *config)
{
    *store = (struct store){.loop = loop, .config = config};
    list_init(&store->query_queue);
    loop_timer_init(&store->recheck, recheck);
    store_cancel_init(store);
    store->read_queues = store_reads_create();
    store->write_queues = store_writes_create();
    if (store->read_queues == NULL || store->write_queues == NULL) {
        store_reads_destroy(store->read_queues);
        store_writes_destroy(store->write_queues);
        return false;
    }
    /* PostgreSQL gives up a little before the client is answered, so that nothing runs on for
     * nobody. */
    snprintf(store->write_setup, sizeof(store->write_setup), "%s; set statement_timeout=%d",
             point_settings, config->request_timeout_ms);
    snprintf(store->read_setup, sizeof(store->read_setup), "%s; %s", store->write_setup,
             one_snapshot);
    snprintf(store->query_setup, sizeof(store->query_setup),
             "set jit=off; set client_min_messages=warning; set "
             "statement_timeout=%d; " PGIO_PREPARE_LIMIT "; " PGIO_BACKEND_START,
             config->request_timeout_ms);
    init_pool(store, &store->reads, "read", config->read_connections, store->read_setup);
    init_pool(store, &store->writes, "write", config->write_connections, store->write_setup);
    init_pool(store, &store->queries, "query", config->query_connections, store->query_setup);
    loop_hook_add(loop, &store->hook, flush);
    return true;
}

static void finish_pool(struct store_pool *pool)
{
    for (unsigned i = 0; i < pool->count; i++)
        pgio_finish(&pool->connections[i]);
    pool->count = 0;
}

void store_finish(struct store *store)
{
    if (store->loop == NULL)
        return;
    store->is_closing = true;
    loop_hook_remove(&store->hook);
    loop_timer_disarm(store->loop, &store->recheck);
    store_cancel_finish(store);
    while (!list_is_empty(&store->query_queue)) /* of the upkeep: requests were answered before */
        store_refuse(list_entry(store->query_queue.next, struct op, place));
    finish_pool(&store->reads);
    finish_pool(&store->writes);
    finish_pool(&store->queries);
    publish_depths(store);
    store_reads_destroy(store->read_queues);
    store_writes_destroy(store->write_queues);
    store->loop = NULL;
}

bool store_is_ready(const struct store *store)
{
    return store_pool_pick((struct store_pool *) &store->reads) != NULL &&
           store_pool_pick((struct store_pool *) &store->writes) != NULL &&
           store_pool_pick((struct store_pool *) &store->queries) != NULL;
}

static bool pool_is_idle(const struct store_pool *pool)
{
    for (unsigned i = 0; i < pool->count; i++) {
        if (pool->connections[i].in_flight_count > 0)
            return false;
    }
    return true;
}

bool store_is_idle(const struct store *store)
{
    return list_is_empty(&store->query_queue) && store_reads_are_idle(store) &&
           store_writes_are_idle(store) && pool_is_idle(&store->reads) &&
           pool_is_idle(&store->writes) && pool_is_idle(&store->queries);
}
