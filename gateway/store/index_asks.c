#include "store/index_asks.h"

#include "base/clock.h"
#include "base/log.h"
#include "loop/pgvalue.h"

#include <stdlib.h>
#include <string.h>

#include "base/banned.h"

#define GATHER_MS 500
#define TOLD_FOR_MS 600000
#define TELL_TIME_MAX_MS 30000
#define ARENA_MAX_BYTES (1u << 20)
/* Range indexes that are remembered for a container; more than are made. */
#define REMEMBERED_MAX 64

static op_step tell; /* send what was noted */
static op_step told;

static void arm(struct index_asks *asks)
{
    if (asks->is_stopping || asks->is_running || asks->is_armed || asks->count == 0)
        return;
    asks->is_armed = true;
    loop_timer_arm(asks->store->loop, &asks->timer, GATHER_MS);
}

static void answered(struct op *op)
{
    if (op->fault.status != 0)
        log_debug(&op->log, "index asks not told", "reason=\"%s\"", op->fault.message);
}

/* Those that were sent are done with, whether they arrived or not: they will be asked for again. */
static void released(struct op *op)
{
    struct index_asks *asks = container_of(op, struct index_asks, op);

    arena_finish(&op->arena);
    for (unsigned i = 0; i < asks->sent; i++)
        free(asks->asks[i].spec);
    asks->count -= asks->sent;
    memmove(asks->asks, asks->asks + asks->sent, asks->count * sizeof(asks->asks[0]));
    asks->sent = 0;
    asks->is_running = false;
    arm(asks);
}

static void start(struct loop_timer *timer)
{
    struct index_asks *asks = container_of(timer, struct index_asks, timer);

    asks->is_armed = false;
    if (asks->is_stopping)
        return;
    asks->is_running = true;
    asks->sent = asks->count;
    asks->op = (struct op){0};
    op_init(&asks->op, asks->store->loop, ARENA_MAX_BYTES, answered, released);
    asks->op.log.route = "indexes";
    op_start(&asks->op, tell, TELL_TIME_MAX_MS);
}

static enum op_next tell(struct op *op)
{
    struct index_asks *asks = container_of(op, struct index_asks, op);
    struct pgio_statement statement = {.key = store_statement_key(STATEMENT_INDEX_ASK, 0),
                                       .sql = "select orrery.index_ask($1, $2, $3, $4, $5)"};
    struct pgparams params = {0};

    pgparams_array_begin(&params, PG_INT8_ARRAY);
    for (unsigned i = 0; i < asks->sent; i++)
        pgparams_add_int8(&params, asks->asks[i].container);
    pgparams_array_end(&params);
    pgparams_array_begin(&params, PG_INT2_ARRAY);
    for (unsigned i = 0; i < asks->sent; i++)
        pgparams_add_int2(&params, INDEX_RANGE);
    pgparams_array_end(&params);
    pgparams_array_begin(&params, PG_TEXT_ARRAY);
    for (unsigned i = 0; i < asks->sent; i++)
        pgparams_add_bytes(&params, slice_from_text(asks->asks[i].spec));
    pgparams_array_end(&params);
    pgparams_int8(&params, clock_unix_s());
    pgparams_int4(&params, REMEMBERED_MAX);
    return store_query(asks->store, op, STORE_CHANGES, &statement, &params, told);
}

static enum op_next told(struct op *op)
{
    return store_check(op, STORE_CHANGES) ? OP_DONE : OP_FAILED;
}

void index_asks_start(struct index_asks *asks, struct store *store)
{
    *asks = (struct index_asks){.store = store};
    loop_timer_init(&asks->timer, start);
}

void index_asks_stop(struct index_asks *asks)
{
    if (asks->store == NULL)
        return;
    asks->is_stopping = true;
    loop_timer_disarm(asks->store->loop, &asks->timer);
}

void index_asks_finish(struct index_asks *asks)
{
    for (unsigned i = 0; i < asks->count; i++)
        free(asks->asks[i].spec);
    asks->count = 0;
}

/* FNV-1a of the container and the spec; never 0. */
static uint64_t hash_of(uint32_t container, struct slice spec)
{
    uint64_t hash = 14695981039346656037u ^ container;

    for (size_t i = 0; i < spec.len; i++)
        hash = (hash ^ (uint8_t) spec.ptr[i]) * 1099511628211u;
    return hash | 1;
}

static void note(struct index_asks *asks, uint32_t container, struct slice spec)
{
    uint64_t hash = hash_of(container, spec);
    int64_t now_ms = asks->store->loop->now_ms;
    size_t slot = (size_t) (hash >> 8) % ARRAY_LEN(asks->recent);

    if (asks->count == INDEX_ASKS_MAX ||
        (asks->recent[slot].hash == hash && asks->recent[slot].until_ms > now_ms))
        return;
    char *copy = malloc(spec.len + 1);
    if (copy == NULL)
        return; /* another query will ask */
    memcpy(copy, spec.ptr, spec.len);
    copy[spec.len] = '\0';
    asks->recent[slot].hash = hash;
    asks->recent[slot].until_ms = now_ms + TOLD_FOR_MS;
    asks->asks[asks->count++] = (struct index_ask){container, copy};
    arm(asks);
}

void index_asks_note(struct index_asks *asks, const struct container *container,
                     const struct emit_use *uses)
{
    for (; uses != NULL; uses = uses->next) {
        struct buf spec = {0};
        if ((uses->kind != EMIT_USES_RANGE && uses->kind != EMIT_WANTS_RANGE) ||
            !index_path_can_range(&uses->path) || index_path_is_ts(&uses->path) ||
            !index_policy_covers(&container->settings.indexing, &uses->path, INDEX_VALUE))
            continue;
        index_spec_append_path(&spec, &uses->path);
        if (!spec.has_failed)
            note(asks, container->number, buf_slice(&spec));
        buf_finish(&spec);
    }
}
