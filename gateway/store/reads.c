#include "store/reads.h"

#include "store/sqlstate.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/banned.h"

#define READ_COLUMNS \
    "r.epoch, r.state, r.vector, r.default_ttl, i.etag, i.ts, i.ttl, i.rid, i.lsn, i.body "

static const char read_one_sql[] =
    "select 1::int4, " READ_COLUMNS "from orrery.ranges r left join orrery.items_%" PRIu32 " i "
    "on i.range_id = r.range_id and i.pk = $2 and i.id = $3 and not i.deleted where r.range_id = "
    "$1";

/* The limits keep a young table's plan from scanning a range once per key: schema/README.md. */
static const char read_many_sql[] =
    "select k.n::int4, " READ_COLUMNS
    "from unnest($1::bigint[], $2::bytea[], $3::text[]) with ordinality k(range_id, pk, id, n) "
    "cross join lateral (select * from orrery.ranges g where g.range_id = k.range_id limit 1) r "
    "left join lateral (select * from orrery.items_%" PRIu32 " t where t.range_id = k.range_id "
    "and t.pk = k.pk and t.id = k.id and not t.deleted limit 1) i on true";

/* Keys of one container that wait. Kept only while there are some. */
struct read_queue {
    struct list place; /* among the queues, oldest first */
    uint32_t container;
    struct list ops;
};

struct read_batch {
    struct list spare;
    struct pgio_call call;
    struct store *store;
    unsigned count;
    struct op *ops[STORE_READ_BATCH_MAX];
};

struct store_reads {
    struct list queues;
    struct list spare_queues;
    struct list spare_batches;
    struct pgparams params;
};

struct store_reads *store_reads_create(void)
{
    struct store_reads *reads = calloc(1, sizeof(*reads));

    if (reads == NULL)
        return NULL;
    list_init(&reads->queues);
    list_init(&reads->spare_queues);
    list_init(&reads->spare_batches);
    return reads;
}

static void free_all(struct list *list, size_t offset)
{
    for (struct list *at = list_pop(list); at != NULL; at = list_pop(list))
        free((char *) at - offset);
}

void store_reads_destroy(struct store_reads *reads)
{
    if (reads == NULL)
        return;
    assert(list_is_empty(&reads->queues));
    free_all(&reads->spare_queues, offsetof(struct read_queue, place));
    free_all(&reads->spare_batches, offsetof(struct read_batch, spare));
    pgparams_finish(&reads->params);
    free(reads);
}

/* Few containers have keys waiting within one turn, so a walk is cheaper than a table. */
static struct read_queue *find_queue(struct store_reads *reads, uint32_t container)
{
    list_for_each(at, &reads->queues)
    {
        struct read_queue *queue = list_entry(at, struct read_queue, place);
        if (queue->container == container)
            return queue;
    }
    struct list *spare = list_pop(&reads->spare_queues);
    struct read_queue *queue =
        spare != NULL ? list_entry(spare, struct read_queue, place) : malloc(sizeof(*queue));
    if (queue == NULL)
        return NULL;
    queue->container = container;
    list_init(&queue->ops);
    list_append(&reads->queues, &queue->place);
    return queue;
}

enum op_next store_read(struct store *store, struct op *op, const struct item_key *key,
                        op_step *next)
{
    struct read_queue *queue = find_queue(store->read_queues, key->container);

    if (queue == NULL) {
        fault_set_oom(&op->fault);
        return OP_FAILED;
    }
    op->waiting_for = (void *) key;
    list_append(&queue->ops, &op->place);
    return op_wait(op, OP_WAITS_QUEUED, next);
}

static void batch_done(struct pgio_call *call, struct pgio_result *result)
{
    struct read_batch *batch = container_of(call, struct read_batch, call);
    struct store_reads *reads = batch->store->read_queues;
    struct pgio_result none = {.outcome = PGIO_ROWS};
    struct op *ops[STORE_READ_BATCH_MAX];
    unsigned count = batch->count;

    /* Ops may ask for new reads at once: give the batch back before they run. */
    memcpy(ops, batch->ops, count * sizeof(ops[0]));
    list_append(&reads->spare_batches, &batch->spare);
    if (result->outcome == PGIO_ROWS) {
        for (int row = 0; row < pgio_row_count(result); row++) {
            int n = pgio_int4(result, row, READ_NUMBER) - 1;
            assert(n >= 0 && n < (int) count && ops[n] != NULL);
            struct op *op = ops[n];
            ops[n] = NULL;
            op_resume_with(op, result, row);
        }
        result = &none; /* a key without a row: its range is not there */
    }
    for (unsigned i = 0; i < count; i++) {
        if (ops[i] != NULL)
            op_resume_with(ops[i], result, 0);
    }
}

static struct read_batch *take_batch(struct store *store)
{
    struct list *spare = list_pop(&store->read_queues->spare_batches);
    struct read_batch *batch =
        spare != NULL ? list_entry(spare, struct read_batch, spare) : calloc(1, sizeof(*batch));

    if (batch != NULL) {
        list_init(&batch->spare);
        batch->store = store;
        batch->count = 0;
    }
    return batch;
}

static void put_many(struct pgparams *params, const struct item_key *const *keys, unsigned count)
{
    pgparams_array_begin(params, PG_INT8_ARRAY);
    for (unsigned i = 0; i < count; i++)
        pgparams_add_int8(params, keys[i]->range_id);
    pgparams_array_end(params);
    pgparams_array_begin(params, PG_BYTEA_ARRAY);
    for (unsigned i = 0; i < count; i++)
        pgparams_add_bytes(params, keys[i]->pk);
    pgparams_array_end(params);
    pgparams_array_begin(params, PG_TEXT_ARRAY);
    for (unsigned i = 0; i < count; i++)
        pgparams_add_bytes(params, keys[i]->id);
    pgparams_array_end(params);
}

static void put_keys(struct pgparams *params, const struct read_batch *batch)
{
    const struct item_key *keys[STORE_READ_BATCH_MAX];

    for (unsigned i = 0; i < batch->count; i++)
        keys[i] = batch->ops[i]->waiting_for;
    if (batch->count > 1) {
        put_many(params, keys, batch->count);
        return;
    }
    pgparams_int8(params, keys[0]->range_id);
    pgparams_bytea(params, keys[0]->pk);
    pgparams_text(params, keys[0]->id);
}

enum op_next store_read_many(struct store *store, struct op *op, const struct item_key *const *keys,
                             unsigned count, op_step *next)
{
    char sql[640];
    struct pgparams params = {0};

    assert(count > 0);
    snprintf(sql, sizeof(sql), read_many_sql, keys[0]->container);
    struct pgio_statement statement = {
        .key = store_statement_key(STATEMENT_READ_MANY, keys[0]->container), .sql = sql};
    put_many(&params, keys, count);
    return store_query(store, op, STORE_READS, &statement, &params, next);
}

static void put_back(struct read_queue *queue, struct read_batch *batch)
{
    for (unsigned i = batch->count; i > 0; i--) {
        batch->ops[i - 1]->waits = OP_WAITS_QUEUED;
        list_prepend(&queue->ops, &batch->ops[i - 1]->place);
    }
    list_append(&batch->store->read_queues->spare_batches, &batch->spare);
}

/* Send the oldest keys of a queue. False when that was not possible. */
static bool send_batch(struct store *store, struct pgio *io, struct read_queue *queue)
{
    struct store_reads *reads = store->read_queues;
    struct read_batch *batch = take_batch(store);
    char sql[640];

    if (batch == NULL)
        return false;
    while (batch->count < STORE_READ_BATCH_MAX) {
        struct list *at = list_pop(&queue->ops);
        if (at == NULL)
            break;
        batch->ops[batch->count] = list_entry(at, struct op, place);
        batch->ops[batch->count++]->waits = OP_WAITS_READ;
    }
    bool is_lone = batch->count == 1;
    pgparams_reset(&reads->params);
    put_keys(&reads->params, batch);
    snprintf(sql, sizeof(sql), is_lone ? read_one_sql : read_many_sql, queue->container);
    struct pgio_statement statement = {
        .key = store_statement_key(is_lone ? STATEMENT_READ_ONE : STATEMENT_READ_MANY,
                                   queue->container),
        .sql = sql};
    if (!pgio_send(io, &batch->call, &statement, &reads->params, batch_done)) {
        put_back(queue, batch);
        return false;
    }
    store->read_batches++;
    store->read_keys += batch->count;
    return true;
}

static void release_queue(struct store_reads *reads, struct read_queue *queue)
{
    list_remove(&queue->place);
    list_append(&reads->spare_queues, &queue->place);
}

void store_reads_flush(struct store *store)
{
    struct store_reads *reads = store->read_queues;

    while (!list_is_empty(&reads->queues)) {
        struct read_queue *queue = list_entry(reads->queues.next, struct read_queue, place);
        struct pgio *io = store_pool_idle(&store->reads);
        if (list_is_empty(&queue->ops)) {
            release_queue(reads, queue);
            continue;
        }
        if (io == NULL) {
            if (!store_pool_is_out(store, &store->reads))
                return;
            while (!list_is_empty(&queue->ops))
                store_refuse(list_entry(queue->ops.next, struct op, place));
            continue;
        }
        if (!send_batch(store, io, queue))
            return;
        /* The others get their turn before more of this container. */
        list_remove(&queue->place);
        list_append(&reads->queues, &queue->place);
    }
}

bool store_reads_are_idle(const struct store *store)
{
    list_for_each(at, &store->read_queues->queues)
    {
        if (!list_is_empty(&list_entry(at, struct read_queue, place)->ops))
            return false;
    }
    return true;
}

bool item_has_expired(int64_t ts, bool has_ttl, int32_t ttl, bool has_default, int32_t default_ttl,
                      int64_t now_s)
{
    if (!has_default)
        return false; /* expiry is off for the whole container, whatever its items say */
    int32_t effective = has_ttl ? ttl : default_ttl;
    return effective >= 0 && ts + effective <= now_s;
}

enum store_read_end store_read_check(struct op *op, int64_t now_s, struct item_row *row)
{
    const struct pgio_result *result = op->result;
    int at = op->row;

    if (result->outcome != PGIO_ROWS) {
        if (result->outcome == PGIO_ERROR && sqlstate_class(result->sqlstate) == SQLSTATE_GONE)
            return STORE_READ_GONE;
        sqlstate_fault(result, &op->log, &op->fault);
        return STORE_READ_FAULT;
    }
    if (pgio_row_count(result) == 0 ||
        !slice_equals_text(pgio_value(result, at, READ_STATE), "online"))
        return STORE_READ_GONE;
    *row = (struct item_row){.epoch = pgio_int8(result, at, READ_EPOCH),
                             .vector = pgio_value(result, at, READ_VECTOR)};
    if (pgio_is_null(result, at, READ_ETAG))
        return STORE_READ_ROW;
    bool has_ttl = !pgio_is_null(result, at, READ_TTL);
    bool has_default = !pgio_is_null(result, at, READ_DEFAULT_TTL);
    row->ts = pgio_int8(result, at, READ_TS);
    row->exists = !item_has_expired(
        row->ts, has_ttl, has_ttl ? pgio_int4(result, at, READ_TTL) : 0, has_default,
        has_default ? pgio_int4(result, at, READ_DEFAULT_TTL) : 0, now_s);
    row->etag = pgio_value(result, at, READ_ETAG);
    row->rid = (uint64_t) pgio_int8(result, at, READ_RID);
    row->lsn = pgio_int8(result, at, READ_LSN);
    row->body = pgio_value(result, at, READ_BODY);
    return STORE_READ_ROW;
}
