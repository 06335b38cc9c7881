#include "store/writes.h"

#include "base/clock.h"
#include "base/crypto.h"
#include "base/hash.h"
#include "base/testpoint.h"
#include "store/progress.h"
#include "store/sqlstate.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/banned.h"

#define TABLE_SIZE 512 /* power of two, at least twice STORE_WRITE_BATCH_MAX */
#define QUEUE_BUCKETS 1024

static const char write_sql[] =
    "select * from orrery.write_%" PRIu32
    "($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13,$14,$15,$16,$17,$18,$19,$20)";

struct write_batch {
    struct pgio_call call;
    struct store *store;
    struct write_queue *queue;
    struct pgparams params; /* kept for sending again */
    bool is_in_flight;
    unsigned count;
    unsigned operations;
    struct write *writes[STORE_WRITE_BATCH_MAX];
};

/* Writes of one range. Exists while there are some. */
struct write_queue {
    struct write_queue *chain; /* same bucket */
    struct list place;         /* in active, while there is something to send */
    int64_t range_id;
    uint32_t container;
    struct list ops;
    struct write_batch *batch; /* in flight, or to be sent again */
};

struct store_writes {
    struct write_queue *buckets[QUEUE_BUCKETS];
    struct list active;
    unsigned batches;
    int64_t writer;
    int64_t sequence;
    struct write_batch *spare;
};

struct store_writes *store_writes_create(void)
{
    struct store_writes *writes = calloc(1, sizeof(*writes));

    if (writes == NULL)
        return NULL;
    list_init(&writes->active);
    /* Whoever writes needs a number that no other loop of any gateway has. */
    crypto_random(&writes->writer, sizeof(writes->writer));
    writes->writer &= INT64_MAX;
    return writes;
}

static void free_batch(struct write_batch *batch)
{
    if (batch == NULL)
        return;
    pgparams_finish(&batch->params);
    free(batch);
}

void store_writes_destroy(struct store_writes *writes)
{
    if (writes == NULL)
        return;
    for (unsigned i = 0; i < QUEUE_BUCKETS; i++) {
        while (writes->buckets[i] != NULL) {
            struct write_queue *queue = writes->buckets[i];
            writes->buckets[i] = queue->chain;
            assert(list_is_empty(&queue->ops));
            free_batch(queue->batch);
            free(queue);
        }
    }
    free_batch(writes->spare);
    free(writes);
}

/* ---- queues ---- */

static struct write_queue **find_slot(struct store_writes *writes, int64_t range_id)
{
    size_t bucket = ((uint64_t) range_id * 0x9e3779b97f4a7c15ULL) >> 54;
    struct write_queue **slot = &writes->buckets[bucket % QUEUE_BUCKETS];

    while (*slot != NULL && (*slot)->range_id != range_id)
        slot = &(*slot)->chain;
    return slot;
}

static struct write_queue *find_queue(struct store_writes *writes, const struct write *write)
{
    struct write_queue **slot = find_slot(writes, write->range_id);

    if (*slot == NULL) {
        struct write_queue *queue = calloc(1, sizeof(*queue));
        if (queue == NULL)
            return NULL;
        queue->range_id = write->range_id;
        queue->container = write->container;
        list_init(&queue->ops);
        list_init(&queue->place);
        *slot = queue;
    }
    return *slot;
}

static void release_if_idle(struct store_writes *writes, struct write_queue *queue)
{
    if (queue->batch != NULL || !list_is_empty(&queue->ops))
        return;
    struct write_queue **slot = find_slot(writes, queue->range_id);
    *slot = queue->chain;
    list_remove(&queue->place);
    free(queue);
}

static void activate(struct store_writes *writes, struct write_queue *queue)
{
    list_remove(&queue->place);
    list_append(&writes->active, &queue->place);
}

enum op_next store_write(struct store *store, struct op *op, struct write *write, op_step *next)
{
    assert(write->count > 0 && write->count <= STORE_WRITE_BATCH_MAX);
    struct write_queue *queue = find_queue(store->write_queues, write);
    if (queue == NULL) {
        fault_set_oom(&op->fault);
        return OP_FAILED;
    }
    write->op = op;
    op->waiting_for = write;
    op_enqueue(op, &queue->ops, &store->writes.waiting);
    if (queue->batch == NULL)
        activate(store->write_queues, queue);
    return op_wait(op, OP_WAITS_QUEUED, next);
}

/* ---- filling a batch ---- */

/* Items already in the batch, as hashes: a false match only makes a write wait for the next batch.
 */
struct seen_items {
    uint64_t at[TABLE_SIZE];
};

static uint64_t hash_item(const struct write_operation *operation)
{
    uint64_t hash = hash_slice(hash_slice(HASH_START, operation->pk), operation->id);

    return hash != 0 ? hash : 1;
}

static bool is_seen(const struct seen_items *seen, uint64_t hash)
{
    size_t slot = hash % TABLE_SIZE;

    while (seen->at[slot] != 0 && seen->at[slot] != hash)
        slot = (slot + 1) % TABLE_SIZE;
    return seen->at[slot] == hash;
}

static void see(struct seen_items *seen, uint64_t hash)
{
    size_t slot = hash % TABLE_SIZE;

    while (seen->at[slot] != 0 && seen->at[slot] != hash)
        slot = (slot + 1) % TABLE_SIZE;
    seen->at[slot] = hash;
}

static bool meets_seen(const struct seen_items *seen, const struct write *write)
{
    for (unsigned i = 0; i < write->count; i++) {
        if (is_seen(seen, hash_item(&write->operations[i])))
            return true;
    }
    return false;
}

static size_t write_bytes(const struct write *write)
{
    size_t bytes = 0;

    for (unsigned i = 0; i < write->count; i++)
        bytes += write->operations[i].body.len + write->operations[i].doc.len +
                 write->operations[i].id.len + write->operations[i].pk.len;
    return bytes;
}

static void fill_batch(struct write_batch *batch, struct write_queue *queue)
{
    unsigned operations_max = (unsigned) batch->store->config->write_batch;
    struct seen_items seen = {{0}};
    size_t bytes = 0;

    list_for_each_safe(at, &queue->ops)
    {
        struct op *op = list_entry(at, struct op, place);
        struct write *write = op->waiting_for;
        size_t more = write_bytes(write);
        if (batch->count > 0 && (batch->operations + write->count > operations_max ||
                                 bytes + more > STORE_WRITE_BATCH_BYTES || write->travels_alone ||
                                 write->expected_epoch != batch->writes[0]->expected_epoch))
            break;
        if (meets_seen(&seen, write))
            continue;
        for (unsigned i = 0; i < write->count; i++)
            see(&seen, hash_item(&write->operations[i]));
        bytes += more;
        op_dequeue(op);
        batch->writes[batch->count++] = write;
        batch->operations += write->count;
        if (write->travels_alone)
            break;
    }
}

/* ---- parameters ---- */

#define FOR_EACH_OPERATION(writes, count, operation)                             \
    for (unsigned w_ = 0; w_ < (count); w_++)                                    \
        for (const struct write_operation *operation = (writes)[w_]->operations; \
             operation < (writes)[w_]->operations + (writes)[w_]->count; operation++)

static void put_identity(struct pgparams *params, struct write *const *writes, unsigned count)
{
    int32_t transaction = 0;

    pgparams_array_begin(params, PG_INT4_ARRAY);
    FOR_EACH_OPERATION(writes, count, operation)
    {
        if (writes[w_]->is_bulk || operation == writes[w_]->operations)
            transaction++;
        pgparams_add_int4(params, transaction);
    }
    pgparams_array_end(params);
    pgparams_array_begin(params, PG_INT2_ARRAY);
    FOR_EACH_OPERATION(writes, count, operation)
    pgparams_add_int2(params, (int16_t) operation->kind);
    pgparams_array_end(params);
    pgparams_array_begin(params, PG_BYTEA_ARRAY);
    FOR_EACH_OPERATION(writes, count, operation)
    pgparams_add_bytes(params, operation->pk);
    pgparams_array_end(params);
    pgparams_array_begin(params, PG_TEXT_ARRAY);
    FOR_EACH_OPERATION(writes, count, operation)
    pgparams_add_bytes(params, operation->id);
    pgparams_array_end(params);
}

static void put_conditions(struct pgparams *params, struct write *const *writes, unsigned count)
{
    pgparams_array_begin(params, PG_UUID_ARRAY);
    FOR_EACH_OPERATION(writes, count, operation)
    pgparams_add_uuid(params, operation->etag);
    pgparams_array_end(params);
    pgparams_array_begin(params, PG_UUID_ARRAY);
    FOR_EACH_OPERATION(writes, count, operation)
    {
        if (operation->has_if_match)
            pgparams_add_uuid(params, operation->if_match);
        else
            pgparams_add_null(params);
    }
    pgparams_array_end(params);
    pgparams_array_begin(params, PG_INT2_ARRAY);
    FOR_EACH_OPERATION(writes, count, operation)
    pgparams_add_int2(params, operation->is_if_none_match ? 1 : 0);
    pgparams_array_end(params);
}

static void put_numbers(struct pgparams *params, struct write *const *writes, unsigned count)
{
    pgparams_array_begin(params, PG_INT4_ARRAY);
    FOR_EACH_OPERATION(writes, count, operation)
    {
        if (operation->has_ttl)
            pgparams_add_int4(params, operation->ttl);
        else
            pgparams_add_null(params);
    }
    pgparams_array_end(params);
    pgparams_array_begin(params, PG_INT8_ARRAY);
    FOR_EACH_OPERATION(writes, count, operation)
    {
        if (operation->rid != 0)
            pgparams_add_int8(params, (int64_t) operation->rid);
        else
            pgparams_add_null(params);
    }
    pgparams_array_end(params);
}

static void put_text(struct pgparams *params, struct slice text)
{
    if (slice_is_absent(text))
        pgparams_add_null(params);
    else
        pgparams_add_bytes(params, text);
}

static void put_bodies(struct pgparams *params, struct write *const *writes, unsigned count)
{
    pgparams_array_begin(params, PG_TEXT_ARRAY);
    FOR_EACH_OPERATION(writes, count, operation)
    put_text(params, operation->body);
    pgparams_array_end(params);
    pgparams_array_begin(params, PG_TEXT_ARRAY);
    FOR_EACH_OPERATION(writes, count, operation)
    put_text(params, operation->doc);
    pgparams_array_end(params);
}

enum claim_part { CLAIM_OPERATION, CLAIM_KEY, CLAIM_VALUE };

static void put_claims(struct pgparams *params, struct write *const *writes, unsigned count,
                       enum claim_part part)
{
    static const uint32_t types[] = {PG_INT4_ARRAY, PG_INT2_ARRAY, PG_BYTEA_ARRAY};
    int32_t number = 0;

    pgparams_array_begin(params, types[part]);
    FOR_EACH_OPERATION(writes, count, operation)
    {
        number++;
        for (unsigned i = 0; i < operation->claim_count; i++) {
            if (part == CLAIM_OPERATION)
                pgparams_add_int4(params, number);
            else if (part == CLAIM_KEY)
                pgparams_add_int2(params, operation->claims[i].key_number);
            else
                pgparams_add_bytes(params, operation->claims[i].value);
        }
    }
    pgparams_array_end(params);
}

/* NULL, not an array of them, where nothing has a rank: so it is nearly everywhere. */
static void put_ranks(struct pgparams *params, struct write *const *writes, unsigned count)
{
    bool has_rank = false;

    FOR_EACH_OPERATION(writes, count, operation)
    has_rank = has_rank || operation->has_rank;
    if (!has_rank) {
        pgparams_null(params, PG_FLOAT8_ARRAY);
        return;
    }
    pgparams_array_begin(params, PG_FLOAT8_ARRAY);
    FOR_EACH_OPERATION(writes, count, operation)
    {
        if (operation->has_rank)
            pgparams_add_float8(params, operation->rank);
        else
            pgparams_add_null(params);
    }
    pgparams_array_end(params);
}

void store_write_params(struct pgparams *params, int64_t writer, int64_t sequence, int64_t now_s,
                        struct write *const *writes, unsigned count)
{
    pgparams_int8(params, writes[0]->range_id);
    if (writes[0]->expected_epoch != 0)
        pgparams_int8(params, writes[0]->expected_epoch);
    else
        pgparams_null(params, PG_INT8);
    pgparams_int8(params, writer);
    pgparams_int8(params, sequence);
    pgparams_int8(params, now_s);
    put_identity(params, writes, count);
    put_conditions(params, writes, count);
    put_numbers(params, writes, count);
    put_bodies(params, writes, count);
    put_claims(params, writes, count, CLAIM_OPERATION);
    put_claims(params, writes, count, CLAIM_KEY);
    put_claims(params, writes, count, CLAIM_VALUE);
    put_ranks(params, writes, count);
}

/* ---- answers ---- */

void store_write_result(const struct pgio_result *result, int row, struct write *write,
                        struct write_operation *operation)
{
    operation->status = (unsigned) pgio_int2(result, row, WRITTEN_STATUS);
    operation->substatus = pgio_is_null(result, row, WRITTEN_SUBSTATUS)
                               ? 0
                               : (unsigned) pgio_int4(result, row, WRITTEN_SUBSTATUS);
    operation->lsn =
        pgio_is_null(result, row, WRITTEN_LSN) ? 0 : pgio_int8(result, row, WRITTEN_LSN);
    operation->ts = pgio_is_null(result, row, WRITTEN_TS) ? 0 : pgio_int8(result, row, WRITTEN_TS);
    operation->result_rid =
        pgio_is_null(result, row, WRITTEN_RID) ? 0 : (uint64_t) pgio_int8(result, row, WRITTEN_RID);
    if (!pgio_is_null(result, row, WRITTEN_EPOCH))
        write->epoch = pgio_int8(result, row, WRITTEN_EPOCH);
    if (!pgio_is_null(result, row, WRITTEN_VECTOR))
        write->vector_len = (unsigned) pgvalue_int8_array(pgio_value(result, row, WRITTEN_VECTOR),
                                                          write->vector, STORE_VECTOR_MAX);
}

static void take_results(struct write_batch *batch, const struct pgio_result *result)
{
    int row = 0;

    assert(pgio_row_count(result) == (int) batch->operations);
    for (unsigned i = 0; i < batch->count; i++) {
        struct write *write = batch->writes[i];
        for (unsigned j = 0; j < write->count; j++, row++) {
            assert(pgio_int4(result, row, WRITTEN_N) == row + 1);
            store_write_result(result, row, write, &write->operations[j]);
        }
    }
}

static void resume_all(struct write_batch *batch, struct pgio_result *result)
{
    for (unsigned i = 0; i < batch->count; i++)
        op_resume_with(batch->writes[i]->op, result, 0);
    batch->count = 0;
}

/* Back to the head of the queue, in order, each to be sent alone. Nothing of it was done. */
static void take_apart(struct write_batch *batch, struct write_queue *queue)
{
    struct pgio_result refused = {.outcome = PGIO_ERROR, .sqlstate = "XX000"};

    for (unsigned i = batch->count; i > 0; i--) {
        struct write *write = batch->writes[i - 1];
        write->travels_alone = true;
        if (write->op->is_answered) {
            op_resume_with(write->op, &refused, 0);
            continue;
        }
        write->op->waits = OP_WAITS_QUEUED;
        op_enqueue_first(write->op, &queue->ops, &batch->store->writes.waiting);
    }
    batch->count = 0;
}

static void end_batch(struct store *store, struct write_queue *queue)
{
    struct store_writes *writes = store->write_queues;
    struct write_batch *batch = queue->batch;

    queue->batch = NULL;
    writes->batches--;
    free_batch(writes->spare);
    writes->spare = batch;
    if (!list_is_empty(&queue->ops))
        activate(writes, queue);
    else
        release_if_idle(writes, queue);
}

static bool must_send_again(const struct pgio_result *result)
{
    return result->outcome == PGIO_LOST ||
           (result->outcome == PGIO_ERROR && sqlstate_class(result->sqlstate) == SQLSTATE_UNKNOWN);
}

/* Under Bounded staleness the whole of a batch may be too much for what a region may lack, when a
 * single write is not. */
static bool is_too_much(const struct write_batch *batch, const struct pgio_result *result)
{
    return result->outcome == PGIO_ROWS && batch->writes[0]->operations[0].status == 429;
}

static void batch_done(struct pgio_call *call, struct pgio_result *result)
{
    struct write_batch *batch = container_of(call, struct write_batch, call);
    struct write_queue *queue = batch->queue;
    struct store *store = batch->store;

    batch->is_in_flight = false;
    if (must_send_again(result) && !store->is_closing) {
        activate(store->write_queues, queue);
        return;
    }
    if (result->outcome == PGIO_ROWS) {
        testpoint("write-committed");
        take_results(batch, result);
        progress_written(queue->range_id);
    }
    bool is_refused =
        batch->count > 1 &&
        (is_too_much(batch, result) ||
         (result->outcome == PGIO_ERROR && sqlstate_class(result->sqlstate) == SQLSTATE_BUG));
    if (is_refused)
        take_apart(batch, queue);
    else
        resume_all(batch, result);
    end_batch(store, queue);
}

/* ---- sending ---- */

static struct write_batch *take_batch(struct store *store, struct write_queue *queue)
{
    struct store_writes *writes = store->write_queues;
    struct write_batch *batch = writes->spare;

    writes->spare = NULL;
    if (batch == NULL)
        batch = calloc(1, sizeof(*batch));
    if (batch == NULL)
        return NULL;
    pgparams_reset(&batch->params);
    batch->store = store;
    batch->queue = queue;
    batch->count = batch->operations = 0;
    batch->is_in_flight = false;
    queue->batch = batch;
    writes->batches++;
    return batch;
}

static void refuse_all(struct write_queue *queue)
{
    while (!list_is_empty(&queue->ops))
        store_refuse(list_entry(queue->ops.next, struct op, place));
}

static bool prepare_batch(struct store *store, struct write_queue *queue)
{
    struct store_writes *writes = store->write_queues;
    struct write_batch *batch = take_batch(store, queue);

    if (batch == NULL)
        return false;
    fill_batch(batch, queue);
    store_write_params(&batch->params, writes->writer, ++writes->sequence, clock_items_s(),
                       batch->writes, batch->count);
    for (unsigned i = 0; i < batch->count; i++)
        batch->writes[i]->op->waits = OP_WAITS_WRITE;
    if (!batch->params.bytes.has_failed)
        return true;
    struct pgio_result full = {
        .outcome = PGIO_ERROR, .sqlstate = "53200", .message = "out of memory"};
    resume_all(batch, &full);
    end_batch(store, queue);
    return false;
}

/* Writes of a range keep to one connection: its backend has the range's statements and pages ready.
 * The low bits of range_id are the index in the container, so of most containers they are zero. */
static struct pgio *pick_connection(struct store *store, const struct write_queue *queue)
{
    uint64_t spread = (uint64_t) queue->range_id * 0x9e3779b97f4a7c15ULL >> 32;
    struct pgio *home = &store->writes.connections[spread % store->writes.count];

    return pgio_is_ready(home) ? home : store_pool_pick(&store->writes);
}

static void send_queue(struct store *store, struct write_queue *queue, struct pgio *io)
{
    struct write_batch *batch = queue->batch;
    char sql[160];

    if (batch == NULL && !prepare_batch(store, queue))
        return;
    batch = queue->batch;
    list_remove(&queue->place);
    testpoint("write-taken");
    snprintf(sql, sizeof(sql), write_sql, queue->container);
    struct pgio_statement statement = {
        .key = store_statement_key(STATEMENT_WRITE, queue->container), .sql = sql};
    batch->is_in_flight = true;
    store->write_batches++;
    store->write_operations += batch->operations;
    if (!pgio_send(io, &batch->call, &statement, &batch->params, batch_done)) {
        batch->is_in_flight = false;
        activate(store->write_queues, queue);
    }
}

void store_writes_flush(struct store *store)
{
    struct store_writes *writes = store->write_queues;
    struct list ready;

    list_init(&ready);
    list_splice(&ready, &writes->active);
    for (struct list *at = list_pop(&ready); at != NULL; at = list_pop(&ready)) {
        struct write_queue *queue = list_entry(at, struct write_queue, place);
        if (queue->batch == NULL && list_is_empty(&queue->ops)) {
            release_if_idle(writes, queue); /* its ops were withdrawn */
            continue;
        }
        struct pgio *io = pick_connection(store, queue);
        if (io != NULL) {
            send_queue(store, queue, io);
            continue;
        }
        list_append(&writes->active, &queue->place);
        if (store_pool_is_out(store, &store->writes))
            refuse_all(queue);
    }
}

bool store_writes_are_idle(const struct store *store)
{
    return store->write_queues->batches == 0 && list_is_empty(&store->write_queues->active);
}

enum store_write_end store_write_check(struct op *op, const struct write *write)
{
    const struct pgio_result *result = op->result;

    if (result->outcome == PGIO_ROWS && write->operations[0].status == 403) {
        (void) store_fault_read_only(&op->fault);
        return STORE_WRITE_FAULT;
    }
    if (result->outcome == PGIO_ROWS && write->operations[0].status == 429) {
        (void) store_fault_behind(&op->fault);
        return STORE_WRITE_FAULT;
    }
    if (result->outcome == PGIO_ROWS)
        return write->operations[0].status == 410 ? STORE_WRITE_GONE : STORE_WRITE_DONE;
    if (result->outcome == PGIO_ERROR && sqlstate_class(result->sqlstate) == SQLSTATE_GONE)
        return STORE_WRITE_GONE;
    sqlstate_fault(result, &op->log, &op->fault);
    return STORE_WRITE_FAULT;
}
