#include "store/reads.h"

#include "store/sqlstate.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/banned.h"

#define RANGE_COLUMNS "g.epoch, g.state, g.vector, g.default_ttl"
#define ITEM_COLUMNS "i.etag, i.ts, i.ttl, i.rid, i.lsn, i.body, i.origin"

static const char read_one_sql[] =
    "select 1::int4, " RANGE_COLUMNS ", " ITEM_COLUMNS
    " from orrery.ranges g left join orrery.items_%" PRIu32 " i on i.range_id = g.range_id "
    "and i.pk = $2 and i.id = $3 and not i.deleted where g.range_id = $1";

/* The limits keep a young table's plan from scanning a range once per key: schema/README.md. */
static const char read_many_sql[] =
    "select k.n::int4, " RANGE_COLUMNS ", " ITEM_COLUMNS
    " from unnest($1::bigint[], $2::bytea[], $3::text[]) with ordinality k(range_id, pk, id, n) "
    "cross join lateral (select * from orrery.ranges r where r.range_id = k.range_id limit 1) g "
    "left join lateral (select * from orrery.items_%" PRIu32 " t where t.range_id = k.range_id "
    "and t.pk = k.pk and t.id = k.id and not t.deleted limit 1) i on true";

/* The three of a group. The columns of the first, after its id, are where READ_EPOCH and so on say;
 * those of an item follow READ_NUMBER. */
enum { GROUP_RANGE_ID };

static const char group_ranges_sql[] =
    "select g.range_id, " RANGE_COLUMNS " from orrery.ranges g where g.range_id = any($1)";
static const char group_one_sql[] =
    "select 1::int4, " ITEM_COLUMNS " from orrery.items_%" PRIu32 " i "
    "where i.range_id = $1 and i.pk = $2 and i.id = $3 and not i.deleted";
static const char group_many_sql[] =
    "select k.n::int4, " ITEM_COLUMNS
    " from unnest($1::bigint[], $2::bytea[], $3::text[]) with ordinality k(range_id, pk, id, n) "
    "cross join lateral (select * from orrery.items_%" PRIu32 " t where t.range_id = k.range_id "
    "and t.pk = k.pk and t.id = k.id and not t.deleted limit 1) i";

/* Keys of one container that wait. Kept only while there are some. */
struct read_queue {
    struct list place; /* among the queues, oldest first */
    uint32_t container;
    struct list ops;
};

/* Keys of one container that are asked for by one statement. */
struct read_batch {
    struct list place; /* in its group, or among the spare ones */
    struct pgio_call call;
    struct store *store;
    struct read_group *group; /* NULL: the statement reads the range, too */
    uint32_t container;
    unsigned count;
    struct op *ops[STORE_READ_BATCH_MAX];
};

/*
 * Statements that travel together, in one transaction and so in one snapshot: one for the ranges,
 * then one for each container's items.
 */
struct read_group {
    struct list spare;
    struct pgio_call call;
    struct store *store;
    struct pgio_result ranges;
    unsigned open; /* statements that have not ended */
};

/* What a read found, for the step that it resumes: op->waiting_for. */
struct read_found {
    const struct pgio_result *ranges, *items;
    int range, item; /* rows; item -1: there is none */
    int shift;       /* of the item's columns to the left of where READ_ETAG and so on say */
};

struct store_reads {
    struct list queues;
    struct list spare_queues;
    struct list spare_batches;
    struct list spare_groups;
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
    list_init(&reads->spare_groups);
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
    free_all(&reads->spare_batches, offsetof(struct read_batch, place));
    free_all(&reads->spare_groups, offsetof(struct read_group, spare));
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
    op_enqueue(op, &queue->ops, &store->reads.waiting);
    return op_wait(op, OP_WAITS_QUEUED, next);
}

/* ---- ends ---- */

static void free_batch(struct read_batch *batch)
{
    list_append(&batch->store->read_queues->spare_batches, &batch->place);
}

/* To the front of their queue again; those that were answered meanwhile only wanted this end. */
static void put_back(struct read_batch *batch)
{
    struct read_queue *queue = find_queue(batch->store->read_queues, batch->container);
    struct pgio_result lost = {.outcome = PGIO_LOST};

    for (unsigned i = batch->count; i > 0; i--) {
        struct op *op = batch->ops[i - 1];
        if (op->is_answered || queue == NULL) {
            op_resume_with(op, &lost, 0);
        } else {
            op->waits = OP_WAITS_QUEUED;
            op_enqueue_first(op, &queue->ops, &batch->store->reads.waiting);
        }
    }
    free_batch(batch);
}

static void end_statement(struct read_group *group)
{
    if (group == NULL || --group->open > 0)
        return;
    pgio_result_finish(&group->ranges);
    list_append(&group->store->read_queues->spare_groups, &group->spare);
}

static void ranges_done(struct pgio_call *call, struct pgio_result *result)
{
    struct read_group *group = container_of(call, struct read_group, call);

    pgio_take(result, &group->ranges);
    end_statement(group);
}

static int find_range(const struct pgio_result *ranges, int64_t range_id)
{
    int row = pgio_row_count(ranges) - 1;

    while (row >= 0 && pgio_int8(ranges, row, GROUP_RANGE_ID) != range_id)
        row--;
    return row;
}

static void resume_found(struct op *op, const struct read_group *group, struct pgio_result *result,
                         int row)
{
    struct read_found found = {
        .ranges = result, .items = result, .range = row, .item = row, .shift = 0};
    const struct item_key *key = op->waiting_for;

    if (group != NULL && result->outcome == PGIO_ROWS) {
        found.ranges = &group->ranges;
        found.range = find_range(&group->ranges, key->range_id);
        found.shift = READ_ETAG - READ_EPOCH;
    }
    op->waiting_for = &found;
    op_resume_with(op, result, row);
}

static void batch_done(struct pgio_call *call, struct pgio_result *result)
{
    struct read_batch *batch = container_of(call, struct read_batch, call);
    struct read_group *group = batch->group;
    struct op *ops[STORE_READ_BATCH_MAX];
    unsigned count = batch->count;

    if (result->outcome == PGIO_ABORTED && group->ranges.outcome == PGIO_ROWS) {
        put_back(batch); /* another container's statement failed before it */
        end_statement(group);
        return;
    }
    if (result->outcome == PGIO_ABORTED)
        result = &group->ranges;
    /* Ops may ask for new reads at once: give the batch back before they run. */
    memcpy(ops, batch->ops, count * sizeof(ops[0]));
    free_batch(batch);
    for (int row = 0; row < pgio_row_count(result); row++) {
        int n = pgio_int4(result, row, READ_NUMBER) - 1;
        assert(n >= 0 && n < (int) count && ops[n] != NULL);
        struct op *op = ops[n];
        ops[n] = NULL;
        resume_found(op, group, result, row);
    }
    for (unsigned i = 0; i < count; i++) {
        if (ops[i] != NULL)
            resume_found(ops[i], group, result, -1);
    }
    end_statement(group);
}

/* ---- sending ---- */

static void *take_spare(struct list *spare, size_t offset, size_t size)
{
    struct list *place = list_pop(spare);
    void *object = place != NULL ? (char *) place - offset : malloc(size);

    if (object != NULL)
        memset(object, 0, size);
    return object;
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

/*
 * Take the oldest keys of a queue, at most that many.
 *
 * returns  NULL when there is no memory
 */
static struct read_batch *take_batch(struct store *store, struct read_queue *queue,
                                     unsigned keys_max)
{
    struct read_batch *batch = take_spare(&store->read_queues->spare_batches,
                                          offsetof(struct read_batch, place), sizeof(*batch));

    if (batch == NULL)
        return NULL;
    batch->store = store;
    batch->container = queue->container;
    while (batch->count < keys_max) {
        if (list_is_empty(&queue->ops))
            break;
        struct op *op = list_entry(queue->ops.next, struct op, place);
        op_dequeue(op);
        op->waits = OP_WAITS_READ;
        batch->ops[batch->count++] = op;
    }
    return batch;
}

static bool add_batch(struct pgio *io, struct read_batch *batch)
{
    struct store *store = batch->store;
    struct store_reads *reads = store->read_queues;
    bool is_lone = batch->count == 1, is_alone = batch->group == NULL;
    unsigned kind = is_alone  ? STATEMENT_READ_ONE
                    : is_lone ? STATEMENT_GROUP_ONE
                              : STATEMENT_GROUP_MANY;
    char sql[640];
    struct pgio_statement statement = {.key = store_statement_key(kind, batch->container),
                                       .sql = sql};

    if (!pgio_is_prepared(io, statement.key))
        snprintf(sql, sizeof(sql),
                 is_alone  ? read_one_sql
                 : is_lone ? group_one_sql
                           : group_many_sql,
                 batch->container);
    pgparams_reset(&reads->params);
    put_keys(&reads->params, batch);
    unsigned count = batch->count;
    if (!pgio_group_add(io, &batch->call, &statement, &reads->params, batch_done))
        return false;
    store->read_batches++;
    store->read_keys += count;
    return true;
}

static bool add_ranges(struct pgio *io, struct read_group *group, const struct list *batches)
{
    struct pgparams *params = &group->store->read_queues->params;
    struct pgio_statement statement = {.key = store_statement_key(STATEMENT_GROUP_RANGES, 0),
                                       .sql = group_ranges_sql};
    int64_t last = 0;

    pgparams_reset(params);
    pgparams_array_begin(params, PG_INT8_ARRAY);
    list_for_each(at, batches)
    {
        const struct read_batch *batch = list_entry(at, struct read_batch, place);
        for (unsigned i = 0; i < batch->count; i++) {
            const struct item_key *key = batch->ops[i]->waiting_for;
            if (key->range_id != last) /* the others do no harm */
                pgparams_add_int8(params, key->range_id);
            last = key->range_id;
        }
    }
    pgparams_array_end(params);
    return pgio_group_add(io, &group->call, &statement, params, ranges_done);
}

/* The queue whose turn it is; NULL when nothing waits. */
static struct read_queue *next_queue(struct store_reads *reads)
{
    while (!list_is_empty(&reads->queues)) {
        struct read_queue *queue = list_entry(reads->queues.next, struct read_queue, place);
        if (!list_is_empty(&queue->ops))
            return queue;
        list_remove(&queue->place);
        list_append(&reads->spare_queues, &queue->place);
    }
    return NULL;
}

/* Take what waits, of all containers in turn. The number of batches; 0 when there is no memory. */
static unsigned take_batches(struct store *store, struct list *batches)
{
    struct store_reads *reads = store->read_queues;
    struct read_queue *queue;
    unsigned keys = 0, count = 0;

    while (keys < STORE_READ_BATCH_MAX && (queue = next_queue(reads)) != NULL) {
        struct read_batch *batch = take_batch(store, queue, STORE_READ_BATCH_MAX - keys);
        if (batch == NULL)
            break;
        keys += batch->count;
        count++;
        list_append(batches, &batch->place);
        /* The others get their turn before more of this container. */
        list_remove(&queue->place);
        list_append(&reads->queues, &queue->place);
    }
    return count;
}

static struct read_group *take_group(struct store *store, unsigned batches)
{
    struct read_group *group = take_spare(&store->read_queues->spare_groups,
                                          offsetof(struct read_group, spare), sizeof(*group));

    if (group != NULL) {
        group->store = store;
        group->open = 1 + batches;
    }
    return group;
}

/* Send what waits. False when that was not possible. */
static bool send_waiting(struct store *store, struct pgio *io)
{
    struct read_group *group = NULL;
    struct list batches;

    list_init(&batches);
    unsigned count = take_batches(store, &batches);
    bool is_lone = count == 1 && list_entry(batches.next, struct read_batch, place)->count == 1;
    bool is_sent = count > 0;
    if (is_sent && !is_lone) {
        group = take_group(store, count);
        is_sent = group != NULL && add_ranges(io, group, &batches);
        if (group != NULL && !is_sent)
            end_statement(group);
    }
    for (struct list *at = list_pop(&batches); at != NULL; at = list_pop(&batches)) {
        struct read_batch *batch = list_entry(at, struct read_batch, place);
        batch->group = group;
        is_sent = is_sent && add_batch(io, batch);
        if (!is_sent) {
            put_back(batch);
            end_statement(group);
        }
    }
    pgio_group_end(io);
    return is_sent;
}

void store_reads_flush(struct store *store)
{
    struct store_reads *reads = store->read_queues;
    struct read_queue *queue;

    while ((queue = next_queue(reads)) != NULL) {
        struct pgio *io = store_pool_idle(&store->reads);
        if (io != NULL) {
            if (!send_waiting(store, io))
                return;
            continue;
        }
        if (!store_pool_is_out(store, &store->reads))
            return;
        while (!list_is_empty(&queue->ops))
            store_refuse(list_entry(queue->ops.next, struct op, place));
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

static enum store_read_end check_found(const struct read_found *found, int64_t now_s,
                                       struct item_row *row)
{
    const struct pgio_result *ranges = found->ranges, *items = found->items;
    int at = found->item, shift = found->shift;

    if (found->range < 0 || !store_range_is_served(pgio_value(ranges, found->range, READ_STATE)))
        return STORE_READ_GONE;
    *row = (struct item_row){.epoch = pgio_int8(ranges, found->range, READ_EPOCH),
                             .vector = pgio_value(ranges, found->range, READ_VECTOR)};
    if (at < 0 || pgio_is_null(items, at, READ_ETAG - shift))
        return STORE_READ_ROW;
    bool has_ttl = !pgio_is_null(items, at, READ_TTL - shift);
    bool has_default = !pgio_is_null(ranges, found->range, READ_DEFAULT_TTL);
    row->ts = pgio_int8(items, at, READ_TS - shift);
    row->exists = !item_has_expired(
        row->ts, has_ttl, has_ttl ? pgio_int4(items, at, READ_TTL - shift) : 0, has_default,
        has_default ? pgio_int4(ranges, found->range, READ_DEFAULT_TTL) : 0, now_s);
    row->etag = pgio_value(items, at, READ_ETAG - shift);
    row->rid = (uint64_t) pgio_int8(items, at, READ_RID - shift);
    row->lsn = pgio_int8(items, at, READ_LSN - shift);
    row->origin = (unsigned) pgio_int2(items, at, READ_ORIGIN - shift);
    row->body = pgio_value(items, at, READ_BODY - shift);
    return STORE_READ_ROW;
}

static enum store_read_end check_outcome(struct op *op)
{
    if (op->result->outcome == PGIO_ROWS)
        return STORE_READ_ROW;
    if (op->result->outcome == PGIO_ERROR && sqlstate_class(op->result->sqlstate) == SQLSTATE_GONE)
        return STORE_READ_GONE;
    sqlstate_fault(op->result, &op->log, &op->fault);
    return STORE_READ_FAULT;
}

enum store_read_end store_read_check(struct op *op, int64_t now_s, struct item_row *row)
{
    enum store_read_end end = check_outcome(op);

    return end == STORE_READ_ROW ? check_found(op->waiting_for, now_s, row) : end;
}

enum store_read_end store_read_many_check(struct op *op, int64_t now_s, struct item_row *row)
{
    enum store_read_end end = check_outcome(op);

    if (end != STORE_READ_ROW)
        return end;
    int at = op->row < pgio_row_count(op->result) ? op->row : -1;
    struct read_found found = {.ranges = op->result, .items = op->result, .range = at, .item = at};
    return check_found(&found, now_s, row);
}
