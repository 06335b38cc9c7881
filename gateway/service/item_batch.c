/*
 * Many operations in one request: a transactional batch, or the bulk form that SDKs send.
 *
 * Both run in rounds. A round reads the items that must be known (those read, patched, or touched
 * more than once), decides its operations here, one after the other, and writes the net effect on
 * every item in one call, each on the condition that the item is still what was read. A condition
 * that fails means somebody was faster: the round runs again.
 *
 *   transactional  one round with all operations; the first failure ends it, the others are 424 and
 *                  nothing is written; one transaction
 *   bulk           a round takes the operations of one range that touch an item not yet in it;
 *                  every one is a transaction of its own
 *
 * An operation alone on its item that needs no reading is written with its own condition instead,
 * so the common batch is one statement.
 */
#include "service/item_batch.h"

#include "service/access.h"

#include "base/clock.h"
#include "model/charge.h"
#include "model/patch.h"

#include <assert.h>
#include <inttypes.h>

#include "base/banned.h"

#define OPERATIONS_MAX 100
#define ROUNDS_MAX 40
/* The pause before a round that was overtaken grows by up to this, until the limit. */
#define PAUSE_MS 4
#define PAUSE_MAX_MS 120
/* First byte of a HybridRow stream. */
#define HYBRID_ROW 0x81

enum batch_kind {
    BATCH_CREATE,
    BATCH_UPSERT,
    BATCH_REPLACE,
    BATCH_READ,
    BATCH_DELETE,
    BATCH_PATCH
};

/* One item as the operations of a round see it. */
struct batch_item {
    struct item_target target;
    bool is_read; /* it must be known before */
    bool existed, exists, is_changed, is_seen;
    uint8_t etag_before[16];
    struct slice stored; /* current content */
    struct item item;    /* the same parsed, once it was changed here */
    uint8_t etag[16];
    int64_t ts;
    uint64_t rid;
    struct write_operation *write; /* that this round sends for it; NULL for none */
};

struct batch_operation {
    enum batch_kind kind;
    struct slice id, body, if_match, if_none_match;
    struct item item; /* of create, upsert, replace */
    struct patch patch;
    struct filter condition;
    struct item_target target;
    struct batch_item *in; /* this round's */
    bool is_done, is_direct;
    /* result */
    unsigned status, substatus;
    char message[160];
    bool has_result; /* an item to show */
    struct slice stored;
    uint8_t etag[16];
    int64_t ts;
    uint64_t rid;
    size_t bytes; /* for the charge */
};

struct batch {
    struct op_rescue rescue; /* of a bulk */
    struct consistency consistency;
    bool is_atomic, stops_on_error;
    unsigned count, rounds;
    struct batch_operation operations[OPERATIONS_MAX];
    unsigned item_count;
    struct batch_item items[OPERATIONS_MAX];
    unsigned read_count;
    struct batch_item *reads[OPERATIONS_MAX];
    struct write write;
    struct write_operation writes[OPERATIONS_MAX];
    struct batch_item *written[OPERATIONS_MAX];
    const struct pkrange *range;          /* of this round */
    const struct pkrange *answered_range; /* whose vector write holds */
};

static op_step batch_aim;
static op_step batch_read;    /* rows of the round */
static op_step batch_written; /* statuses of the round */
static op_step batch_committed;
static op_step batch_gone, send_ready;
static op_step next_round, read_round, decide_round;
static enum op_next reply_batch(struct op *op);

/* ---- results ---- */

static void fail_operation(struct batch_operation *operation, const struct fault *fault)
{
    operation->is_done = true;
    operation->has_result = false;
    operation->status = fault->status;
    operation->substatus = substatus_number(fault->substatus);
    snprintf(operation->message, sizeof(operation->message), "%.159s", fault->message);
}

static void fail_with(struct batch_operation *operation, unsigned status, enum substatus substatus,
                      const char *message)
{
    struct fault fault;

    fault_set(&fault, status, substatus, "%s", message);
    fail_operation(operation, &fault);
}

static void succeed(struct batch_operation *operation, unsigned status,
                    const struct batch_item *item)
{
    operation->status = status;
    operation->substatus = 0;
    operation->message[0] = '\0';
    operation->has_result = status != 204;
    operation->stored = item->stored;
    operation->bytes = item->stored.len;
    memcpy(operation->etag, item->etag, sizeof(operation->etag));
    operation->ts = item->ts;
    operation->rid = item->rid;
}

/* ---- reading the request ---- */

static bool take_text(struct call *call, struct slice object, const char *name, struct slice *text)
{
    struct slice value;

    *text = slice_make(NULL, 0);
    if (!json_find(object, slice_from_text(name), &value) || json_type(value) == JSON_NULL)
        return true;
    if (json_type(value) != JSON_STRING)
        return fault_set(&call->op.fault, 400, SUB_NONE,
                         "\"%s\" of a batch operation must be a string", name);
    return json_string_decode(value, &call->op.arena, text, &call->op.fault);
}

static bool take_kind(struct call *call, struct slice object, enum batch_kind *kind)
{
    static const char *const names[] = {"Create", "Upsert", "Replace", "Read", "Delete", "Patch"};
    struct slice name;

    if (!take_text(call, object, "operationType", &name))
        return false;
    for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
        if (slice_equals_text(name, names[i])) {
            *kind = (enum batch_kind) i;
            return true;
        }
    }
    return fault_set(&call->op.fault, 400, SUB_NONE, "unknown operationType \"%.*s\" in the batch",
                     FAULT_QUOTE(name));
}

static bool has_item_body(enum batch_kind kind)
{
    return kind == BATCH_CREATE || kind == BATCH_UPSERT || kind == BATCH_REPLACE;
}

static bool take_content(struct call *call, struct batch_operation *operation)
{
    struct fault *fault = &call->op.fault;

    if (has_item_body(operation->kind)) {
        if (slice_is_absent(operation->body))
            return fault_set(fault, 400, SUB_NONE, "a batch operation lacks its resourceBody");
        if (!item_parse(operation->body, &call->op.arena, &operation->item, fault))
            return false;
        if (operation->kind == BATCH_REPLACE && !slice_is_absent(operation->id) &&
            !slice_equals(operation->id, operation->item.id))
            return fault_set(fault, 400, SUB_NONE,
                             "the id \"%.*s\" of a replace differs from its body's",
                             FAULT_QUOTE(operation->id));
        operation->id = operation->item.id;
        return true;
    }
    if (slice_is_absent(operation->id))
        return fault_set(fault, 400, SUB_NONE, "a batch operation lacks its id");
    if (operation->kind != BATCH_PATCH)
        return true;
    if (slice_is_absent(operation->body))
        return fault_set(fault, 400, SUB_NONE, "a patch of the batch lacks its resourceBody");
    if (!patch_from_value(operation->body, &call->op.arena, &operation->patch, fault) ||
        (!slice_is_absent(operation->patch.condition) &&
         !filter_parse_condition(&call->op.arena, operation->patch.condition, &operation->condition,
                                 fault)))
        return false;
    operation->condition.now_us = 1000 * clock_unix_ms();
    return true;
}

/* The key of one operation: its own member (a string that holds JSON, or an array), the body, or
 * the header. */
static bool take_key(struct call *call, struct batch_operation *operation, struct slice object,
                     bool is_atomic)
{
    const struct pkey_definition *definition = &call->container->settings.partition_key;
    struct slice header = slice_trim(call->request.headers.at[HEADER_PARTITION_KEY]), text = header;
    struct fault *fault = &call->op.fault;
    struct pkey body_key;
    struct slice value;

    if (!is_atomic && json_find(object, SLICE_LITERAL("partitionKey"), &value) &&
        json_type(value) != JSON_NULL) {
        text = value;
        if (json_type(value) == JSON_STRING &&
            !json_string_decode(value, &call->op.arena, &text, fault))
            return false;
    }
    if (has_item_body(operation->kind) && !item_target_extract(&body_key, call, &operation->item))
        return false;
    if (slice_is_empty(text)) {
        if (!has_item_body(operation->kind) || is_atomic)
            return fault_set(fault, 400, SUB_NONE, "the batch names no partition key");
        operation->target.pkey = body_key;
    } else if (!pkey_from_header(&operation->target.pkey, definition, text, PKEY_FULL,
                                 &call->op.arena, fault) ||
               (has_item_body(operation->kind) &&
                !pkey_check_body(&operation->target.pkey, &body_key, fault))) {
        return false;
    }
    return item_target_aim(&operation->target, call, operation->id) &&
           (operation->kind != BATCH_PATCH || patch_check(&operation->patch, definition, fault));
}

static bool take_operation(struct call *call, struct batch *self, struct slice object)
{
    struct batch_operation *operation = &self->operations[self->count];

    if (json_type(object) != JSON_OBJECT)
        return fault_set(&call->op.fault, 400, SUB_NONE, "a batch is an array of objects");
    *operation = (struct batch_operation){.status = 0};
    if (!json_find(object, SLICE_LITERAL("resourceBody"), &operation->body))
        operation->body = slice_make(NULL, 0);
    if (!take_kind(call, object, &operation->kind) ||
        !take_text(call, object, "id", &operation->id) ||
        !take_text(call, object, "ifMatch", &operation->if_match) ||
        !take_text(call, object, "ifNoneMatch", &operation->if_none_match))
        return false;
    self->count++;
    bool is_taken =
        take_content(call, operation) && take_key(call, operation, object, self->is_atomic);
    if (is_taken || self->is_atomic || call->op.fault.status == 503)
        return is_taken;
    /* In the bulk form a malformed operation fails alone. */
    fail_operation(operation, &call->op.fault);
    call->op.fault.status = 0;
    return true;
}

static bool take_operations(struct call *call, struct batch *self)
{
    struct slice body = call->request.body, element;
    struct json_text text;

    if (body.len > 0 && (unsigned char) body.ptr[0] == HYBRID_ROW)
        return fault_set(&call->op.fault, 400, SUB_NONE,
                         "batches in HybridRow encoding (.NET) are not supported; send JSON");
    if (!json_validate(body, JSON_DEPTH_MAX_ENVELOPE, &text, &call->op.fault))
        return false;
    if (json_type(text.root) != JSON_ARRAY)
        return fault_set(&call->op.fault, 400, SUB_NONE, "a batch is an array of operations");
    struct json_cursor cursor = json_iterate(text.root);
    self->count = 0;
    while (json_next_element(&cursor, &element)) {
        if (self->count == OPERATIONS_MAX)
            return fault_set(&call->op.fault, 400, SUB_NONE, "a batch has at most %d operations",
                             OPERATIONS_MAX);
        if (!take_operation(call, self, element))
            return false;
    }
    return self->count > 0 ||
           fault_set(&call->op.fault, 400, SUB_NONE, "the batch has no operations");
}

/*
 * The time is over, or a later round failed: what earlier rounds wrote is there and must be told.
 * Of the operations of the present round that were sent, only a 408 leaves the outcome open; the
 * rest was not done.
 */
static bool tell_partly(struct op_rescue *rescue, struct op *op)
{
    struct batch *self = container_of(rescue, struct batch, rescue);
    struct fault rest = op->fault;
    bool is_partly = false;

    for (unsigned i = 0; i < self->count; i++)
        is_partly |= self->operations[i].is_done;
    if (!is_partly)
        return false;
    if (rest.status == 408)
        fault_set(&rest, 503, SUB_NONE, "the time was over before this operation's turn");
    for (unsigned i = 0; i < self->count; i++) {
        struct batch_operation *operation = &self->operations[i];
        bool is_sent = operation->in != NULL && operation->in->write != NULL;
        if (!operation->is_done)
            fail_operation(operation, is_sent ? &op->fault : &rest);
    }
    if (reply_batch(op) == OP_DONE)
        return true;
    fault_set(&op->fault, 408, SUB_NONE, "some of the operations were done, others were not");
    return false;
}

enum op_next item_batch_begin(struct op *op)
{
    struct call *call = call_of(op);

    if (!op_alloc_self(op, sizeof(struct batch)))
        return OP_FAILED;
    struct batch *self = op_self(op, struct batch);
    self->is_atomic = header_is_true(&call->request.headers, HEADER_BATCH_ATOMIC);
    self->stops_on_error = slice_equals_nocase(
        slice_trim(call->request.headers.at[HEADER_BATCH_CONTINUE_ON_ERROR]), "false");
    self->rescue.run = tell_partly;
    if (!self->is_atomic)
        op->rescue = &self->rescue;
    return consistency_parse(&self->consistency, call) ? call_resolve(op, batch_aim) : OP_FAILED;
}

/* Bulk requests go to one range; operations that belong to another were aimed with an old map. */
static bool check_range(struct call *call, struct batch *self)
{
    struct slice text = slice_trim(call->request.headers.at[HEADER_PARTITION_KEY_RANGE_ID]);
    const struct container *container = call->container;
    unsigned long long index;
    size_t at = container->range_count;

    if (self->is_atomic || slice_is_empty(text))
        return true;
    if (slice_to_u64(text, PKRANGE_INDEX_MAX, &index)) {
        for (at = 0; at < container->range_count && container->ranges[at].index != index; at++)
            ;
    }
    if (at == container->range_count)
        return fault_set(&call->op.fault, 410, SUB_PARTITION_KEY_RANGE_GONE,
                         "the container has no partition key range \"%.*s\"", FAULT_QUOTE(text));
    for (unsigned i = 0; i < self->count; i++) {
        struct batch_operation *operation = &self->operations[i];
        if (!operation->is_done && operation->target.range != &container->ranges[at])
            fail_with(operation, 410, SUB_PARTITION_KEY_RANGE_GONE,
                      "the item is in another partition key range");
    }
    return true;
}

static enum op_next batch_aim(struct op *op)
{
    struct batch *self = op_self(op, struct batch);
    struct call *call = call_of(op);

    self->answered_range = NULL;
    if (!take_operations(call, self) || !check_range(call, self))
        return OP_FAILED;
    for (unsigned i = 0; i < self->count; i++) {
        const struct batch_operation *operation = &self->operations[i];
        if (!operation->is_done &&
            !access_check(call, AUTHTOKEN_CHILD, operation->kind != BATCH_READ,
                          call->container->database_number, call->container->number, operation->id,
                          operation->target.pk))
            return OP_FAILED;
    }
    return next_round(op);
}

/* ---- rounds ---- */

static struct batch_item *find_item(struct batch *self, const struct batch_operation *operation)
{
    for (unsigned i = 0; i < self->item_count; i++) {
        if (slice_equals(self->items[i].target.key.id, operation->id) &&
            slice_equals(self->items[i].target.pk, operation->target.pk))
            return &self->items[i];
    }
    return NULL;
}

static bool must_be_read(const struct batch_operation *operation)
{
    return operation->kind == BATCH_READ || operation->kind == BATCH_PATCH ||
           !slice_is_absent(operation->if_none_match);
}

/* Choose the operations of the round and the items that they touch. */
static void gather(struct batch *self)
{
    self->item_count = self->read_count = 0;
    self->range = NULL;
    for (unsigned i = 0; i < self->count; i++) {
        struct batch_operation *operation = &self->operations[i];
        operation->in = NULL;
        if (operation->is_done || (self->range != NULL && operation->target.range != self->range))
            continue;
        struct batch_item *item = find_item(self, operation);
        if (item != NULL && !self->is_atomic)
            continue; /* its turn comes in a later round */
        self->range = operation->target.range;
        if (item == NULL) {
            item = &self->items[self->item_count++];
            *item = (struct batch_item){.target = operation->target};
        } else {
            item->is_read = true;
        }
        item->is_read |= must_be_read(operation);
        operation->in = item;
    }
    for (unsigned i = 0; i < self->item_count; i++) {
        if (self->items[i].is_read)
            self->reads[self->read_count++] = &self->items[i];
    }
}

/* Other operations of a bulk are written by now, so only those that never got through say so. */
static enum op_next end_overtaken(struct op *op)
{
    struct batch *self = op_self(op, struct batch);

    for (unsigned i = 0; i < self->count; i++) {
        if (!self->operations[i].is_done)
            fail_with(&self->operations[i], 449, SUB_NONE, "other writes keep overtaking this one");
    }
    return reply_batch(op);
}

static enum op_next next_round(struct op *op)
{
    struct batch *self = op_self(op, struct batch);

    gather(self);
    if (self->item_count == 0)
        return reply_batch(op);
    if (++self->rounds > ROUNDS_MAX + self->count) {
        if (!self->is_atomic)
            return end_overtaken(op);
        fault_set(&op->fault, 449, SUB_NONE,
                  "other writes to the items keep overtaking this batch");
        op->fault.retry_after_ms = 10;
        return OP_FAILED;
    }
    if (self->read_count > 0)
        return read_round(op);
    return decide_round(op);
}

static enum op_next batch_gone(struct op *op)
{
    return call_resolve_again(op, batch_aim);
}

static enum op_next read_round(struct op *op)
{
    struct batch *self = op_self(op, struct batch);
    const struct item_key *keys[OPERATIONS_MAX];

    for (unsigned i = 0; i < self->read_count; i++)
        keys[i] = &self->reads[i]->target.key;
    return store_read_many(&call_of(op)->service->store, op, keys, self->read_count, batch_read);
}

/* Somebody was faster: run again, out of step with them. */
static enum op_next pause_round(struct op *op)
{
    struct batch *self = op_self(op, struct batch);
    uint32_t most_ms = self->rounds * PAUSE_MS;

    return op_pause(op, most_ms < PAUSE_MAX_MS ? most_ms : PAUSE_MAX_MS, next_round);
}

static bool keep_row(struct op *op, struct batch_item *item, const struct item_row *row)
{
    item->is_seen = true;
    item->existed = item->exists = row->exists;
    if (!row->exists)
        return true;
    char *copy = arena_copy(&op->arena, row->body.ptr, row->body.len);
    if (copy == NULL)
        return fault_set_oom(&op->fault);
    item->stored = slice_make(copy, row->body.len);
    memcpy(item->etag, row->etag.ptr, sizeof(item->etag));
    memcpy(item->etag_before, row->etag.ptr, sizeof(item->etag_before));
    item->ts = row->ts;
    item->rid = row->rid;
    return true;
}

static enum op_next batch_read(struct op *op)
{
    struct batch *self = op_self(op, struct batch);
    struct call *call = call_of(op);
    struct item_row row;
    bool settles = false;

    for (op->row = 0; op->row == 0 || op->row < pgio_row_count(op->result); op->row++) {
        switch (store_read_many_check(op, call->now_s, &row)) {
        case STORE_READ_GONE:
            return call_resolve_again(op, batch_aim);
        case STORE_READ_FAULT:
            return OP_FAILED;
        case STORE_READ_ROW:
            break;
        }
        int number = pgio_int4(op->result, op->row, READ_NUMBER);
        switch (consistency_check(&self->consistency, call, self->range, row.epoch, row.vector)) {
        case CONSISTENCY_GONE:
            return call_resolve_again(op, batch_aim);
        case CONSISTENCY_WAITS:
            return consistency_wait(&self->consistency, op, read_round);
        case CONSISTENCY_SETTLES:
            settles = true; /* all rows are of one snapshot */
            break;
        case CONSISTENCY_FAULT:
            return OP_FAILED;
        case CONSISTENCY_MET:
            break;
        }
        if (!keep_row(op, self->reads[number - 1], &row))
            return OP_FAILED;
        self->write.epoch = row.epoch;
        self->answered_range = self->range;
        self->write.vector_len =
            (unsigned) pgvalue_int8_array(row.vector, self->write.vector, STORE_VECTOR_MAX);
    }
    for (unsigned i = 0; i < self->read_count; i++) {
        if (!self->reads[i]->is_seen)
            return call_resolve_again(op, batch_aim);
    }
    return settles ? consistency_settle(&self->consistency, op, decide_round) : decide_round(op);
}

/* ---- deciding one operation on an item that is known ---- */

static bool check_conditions(const struct batch_operation *operation, const struct batch_item *item,
                             struct fault *fault)
{
    struct etag_condition match = etag_condition_parse(operation->if_match);
    struct etag_condition none = etag_condition_parse(operation->if_none_match);
    struct etag etag;

    memcpy(etag.uuid, item->etag, sizeof(etag.uuid));
    const struct etag *current = item->exists ? &etag : NULL;
    bool is_failed =
        (match.kind != ETAG_ABSENT && item->exists && !etag_condition_matches(&match, current)) ||
        (none.kind != ETAG_ABSENT && operation->kind != BATCH_READ &&
         etag_condition_matches(&none, current));
    return !is_failed ||
           fault_set(fault, 412, SUB_NONE, "a precondition of the operation is not met");
}

static bool change(struct batch_operation *operation, struct batch_item *item,
                   const struct item *content)
{
    bool existed = item->exists;

    item->exists = item->is_changed = true;
    item->item = *content;
    item->stored = content->stored;
    uuid_create(item->etag);
    succeed(operation, existed ? 200 : 201, item);
    return true;
}

static bool decide_patch(struct op *op, struct batch_operation *operation, struct batch_item *item,
                         struct fault *fault)
{
    struct item_print print = {
        .stored = item->stored, .rid = item->rid, .etag = item->etag, .ts = item->ts};
    struct call *call = call_of(op);
    struct item patched;
    bool holds = true;

    if (!slice_is_absent(operation->patch.condition) &&
        !item_batch_condition_holds(call, &operation->condition, &print, &holds)) {
        *fault = op->fault;
        op->fault.status = 0;
        return false;
    }
    if (!holds)
        return fault_set(fault, 412, SUB_PATCH_CONDITION_NOT_MET,
                         "the condition of the patch is not met");
    return patch_apply(&operation->patch, item->stored, &op->arena, &patched, fault) &&
           change(operation, item, &patched);
}

static bool decide(struct op *op, struct batch_operation *operation, struct fault *fault)
{
    struct batch_item *item = operation->in;
    struct etag_condition none = etag_condition_parse(operation->if_none_match);
    struct etag etag;

    if (operation->kind == BATCH_CREATE && item->exists)
        return fault_set(fault, 409, SUB_NONE, "an item with this id already exists");
    if (operation->kind != BATCH_CREATE && operation->kind != BATCH_UPSERT && !item->exists)
        return fault_set(fault, 404, SUB_NONE, "there is no item with this id");
    if (!check_conditions(operation, item, fault))
        return false;
    switch (operation->kind) {
    case BATCH_CREATE:
    case BATCH_UPSERT:
    case BATCH_REPLACE:
        return change(operation, item, &operation->item);
    case BATCH_PATCH:
        return decide_patch(op, operation, item, fault);
    case BATCH_DELETE:
        succeed(operation, 204, item);
        item->exists = false;
        item->is_changed = true;
        return true;
    case BATCH_READ:
        break;
    }
    memcpy(etag.uuid, item->etag, sizeof(etag.uuid));
    succeed(operation, none.kind != ETAG_ABSENT && etag_condition_matches(&none, &etag) ? 304 : 200,
            item);
    return true;
}

/* After the first failure of a transaction, or of a bulk that stops: what did not fail itself is
 * 424. */
static void fail_others(struct batch *self, const struct batch_operation *failed, bool only_later)
{
    for (unsigned i = 0; i < self->count; i++) {
        struct batch_operation *operation = &self->operations[i];
        if (operation == failed || (only_later && (operation < failed || operation->is_done)))
            continue;
        fail_with(operation, 424, SUB_NONE, "another operation failed");
    }
}

/* ---- writing a round ---- */

static bool fill_write(struct op *op, struct write_operation *write, const struct batch_item *item)
{
    if (!item_target_fill(write, &item->target, call_of(op), &item->item))
        return false;
    memcpy(write->etag, item->etag, sizeof(write->etag));
    return true;
}

/* The net effect on an item that was read, on the condition that it has not changed since. */
static bool guard(struct op *op, struct write_operation *write, struct batch_item *item,
                  bool is_atomic)
{
    write->pk = item->target.pk;
    write->id = item->target.key.id;
    write->has_if_match = item->existed;
    memcpy(write->if_match, item->etag_before, sizeof(write->if_match));
    if (!item->is_changed || (!item->existed && !item->exists)) {
        write->kind = WRITE_CHECK;
        return is_atomic;
    }
    if (!item->exists) {
        write->kind = WRITE_DELETE;
        uuid_create(write->etag);
        return true;
    }
    write->kind = item->existed ? WRITE_REPLACE : WRITE_CREATE;
    return fill_write(op, write, item);
}

/* An operation alone on its item: PostgreSQL decides its condition. */
static bool direct(struct op *op, struct write_operation *write, struct batch_operation *operation)
{
    static const enum write_kind kinds[] = {[BATCH_CREATE] = WRITE_CREATE,
                                            [BATCH_UPSERT] = WRITE_UPSERT,
                                            [BATCH_REPLACE] = WRITE_REPLACE,
                                            [BATCH_DELETE] = WRITE_DELETE};
    struct batch_item *item = operation->in;
    struct etag_condition match = etag_condition_parse(operation->if_match);

    operation->is_direct = true;
    write->kind = kinds[operation->kind];
    write->pk = item->target.pk;
    write->id = item->target.key.id;
    write->has_if_match = match.kind == ETAG_EXACT || match.kind == ETAG_NEVER;
    if (match.kind == ETAG_EXACT)
        memcpy(write->if_match, match.etag.uuid, sizeof(write->if_match));
    uuid_create(item->etag);
    memcpy(write->etag, item->etag, sizeof(write->etag));
    if (operation->kind == BATCH_DELETE)
        return true;
    item->item = operation->item;
    item->stored = operation->item.stored;
    return fill_write(op, write, item);
}

static bool add_write(struct op *op, struct batch_item *item, struct batch_operation *alone)
{
    struct batch *self = op_self(op, struct batch);
    struct write_operation *write = &self->writes[self->write.count];

    *write = (struct write_operation){0};
    bool is_sent =
        alone != NULL ? direct(op, write, alone) : guard(op, write, item, self->is_atomic);
    if (!is_sent)
        return op->fault.status == 0;
    item->write = write;
    self->written[self->write.count++] = item;
    return true;
}

/* An item of which nothing was to be written ends with the round. */
static void end_unwritten(struct batch *self)
{
    for (unsigned i = 0; i < self->count; i++) {
        if (self->operations[i].in != NULL && self->operations[i].in->write == NULL)
            self->operations[i].is_done = true;
    }
}

static enum op_next send_round(struct op *op)
{
    struct batch *self = op_self(op, struct batch);
    bool writes_something = false;

    item_target_write(&self->write, &self->items[0].target, call_of(op), self->writes, 0);
    self->write.is_bulk = !self->is_atomic;
    for (unsigned i = 0; i < self->count; i++) {
        struct batch_operation *operation = &self->operations[i];
        struct batch_item *item = operation->in;
        if (item == NULL || operation->is_done || item->write != NULL)
            continue;
        if (!add_write(op, item, item->is_read ? NULL : operation))
            return OP_FAILED;
        writes_something |= item->write != NULL && item->write->kind != WRITE_CHECK;
    }
    /* All that was read is of one snapshot: without a write there is nothing to guard. */
    if (!writes_something) {
        for (unsigned i = 0; i < self->item_count; i++)
            self->items[i].write = NULL;
        self->write.count = 0;
    }
    end_unwritten(self);
    if (self->write.count == 0)
        return self->is_atomic ? reply_batch(op) : next_round(op);
    return consistency_admit(&self->consistency, op, self->range, send_ready, batch_gone);
}

static enum op_next send_ready(struct op *op)
{
    return store_write(&call_of(op)->service->store, op, &op_self(op, struct batch)->write,
                       batch_written);
}

static enum op_next decide_round(struct op *op)
{
    struct batch *self = op_self(op, struct batch);
    struct fault fault;

    for (unsigned i = 0; i < self->count; i++) {
        struct batch_operation *operation = &self->operations[i];
        if (operation->in == NULL || !operation->in->is_read || operation->is_done)
            continue;
        if (decide(op, operation, &fault))
            continue;
        if (fault.status == 503) {
            op->fault = fault;
            return OP_FAILED;
        }
        fail_operation(operation, &fault);
        if (self->is_atomic) {
            fail_others(self, operation, false);
            return reply_batch(op);
        }
        if (self->stops_on_error)
            fail_others(self, operation, true);
    }
    return send_round(op);
}

/* A direct operation's outcome is its own. */
static void take_direct(struct batch_operation *operation, struct batch_item *item)
{
    const struct write_operation *write = item->write;
    struct fault fault;

    operation->is_done = true;
    if (write->status < 300) {
        item->ts = write->ts;
        item->rid = write->result_rid;
        succeed(operation, write->status, item);
        return;
    }
    item_target_fault(&fault, write);
    fail_operation(operation, &fault);
}

/* A guarded one either got through as decided, met a unique key, or was overtaken and runs again.
 */
static void take_guarded(struct batch_operation *operation, struct batch_item *item)
{
    const struct write_operation *write = item->write;
    struct fault fault;

    if (write->status < 300) {
        operation->is_done = true;
        operation->ts = write->kind == WRITE_CHECK ? operation->ts : write->ts;
        operation->rid = write->result_rid != 0 ? write->result_rid : operation->rid;
        return;
    }
    if (write->status == 409 && write->substatus == substatus_number(SUB_UNIQUE_INDEX_CONFLICT)) {
        item_target_fault(&fault, write);
        fail_operation(operation, &fault);
    }
}

static bool was_overtaken(const struct batch *self)
{
    for (unsigned i = 0; i < self->write.count; i++) {
        const struct write_operation *write = &self->writes[i];
        bool is_guarded = self->written[i]->is_read;
        if (is_guarded && (write->status == 404 || write->status == 412 ||
                           (write->status == 409 && write->substatus == 0)))
            return true;
    }
    return false;
}

static enum op_next batch_written(struct op *op)
{
    struct batch *self = op_self(op, struct batch);

    switch (store_write_check(op, &self->write)) {
    case STORE_WRITE_GONE:
        return call_resolve_again(op, batch_aim);
    case STORE_WRITE_FAULT:
        return OP_FAILED;
    case STORE_WRITE_DONE:
        break;
    }
    return consistency_commit(&self->consistency, op, &self->write, batch_committed);
}

static enum op_next batch_committed(struct op *op)
{
    struct batch *self = op_self(op, struct batch);
    struct batch_operation *failed = NULL;

    self->answered_range = self->range;
    bool is_overtaken = was_overtaken(self);
    if (self->is_atomic && is_overtaken)
        return pause_round(op);
    for (unsigned i = 0; i < self->count; i++) {
        struct batch_operation *operation = &self->operations[i];
        if (operation->in == NULL || operation->is_done || operation->in->write == NULL)
            continue;
        if (operation->in->is_read)
            take_guarded(operation, operation->in);
        else
            take_direct(operation, operation->in);
        if (operation->is_done && operation->status >= 400 && operation->status != 424 &&
            failed == NULL)
            failed = operation;
    }
    if (failed != NULL && self->is_atomic)
        fail_others(self, failed, false);
    else if (failed != NULL && self->stops_on_error)
        fail_others(self, failed, true);
    if (self->is_atomic)
        return reply_batch(op);
    return is_overtaken ? pause_round(op) : next_round(op);
}

/* ---- the answer ---- */

static void print_result(struct buf *out, struct call *call,
                         const struct batch_operation *operation, int64_t *charge_cru)
{
    bool is_read = operation->kind == BATCH_READ;
    bool shows_body = operation->has_result && operation->status != 304 &&
                      (is_read || !header_wants_minimal(&call->request.headers));
    char charge[CHARGE_TEXT_BYTES], etag[ETAG_TEXT_BYTES];
    int64_t cost = operation->status == 424 ? 0
                   : is_read                ? charge_read_cru(operation->bytes)
                                            : charge_write_cru(operation->bytes);

    *charge_cru += cost;
    charge_format(cost, charge);
    buf_printf(out, "{\"statusCode\":%u", operation->status);
    if (operation->substatus != 0)
        buf_printf(out, ",\"subStatusCode\":%u", operation->substatus);
    buf_printf(out, ",\"requestCharge\":%s,\"eTag\":", charge);
    if (operation->has_result) {
        struct etag tag;
        memcpy(tag.uuid, operation->etag, sizeof(tag.uuid));
        etag_format(&tag, etag);
        buf_append_json_string(out, slice_from_text(etag));
    } else {
        buf_append_text(out, "null");
    }
    if (operation->message[0] != '\0') {
        buf_append_text(out, ",\"message\":");
        buf_append_json_string(out, slice_from_text(operation->message));
    }
    if (shows_body) {
        buf_append_text(out, ",\"resourceBody\":");
        item_target_print(out, call->container,
                          &(struct item_print){.stored = operation->stored,
                                               .rid = operation->rid,
                                               .etag = operation->etag,
                                               .ts = operation->ts});
    }
    buf_append_char(out, '}');
}

static enum op_next reply_batch(struct op *op)
{
    struct batch *self = op_self(op, struct batch);
    struct call *call = call_of(op);
    struct buf body = {0};
    bool has_failed = false;

    buf_append_char(&body, '[');
    for (unsigned i = 0; i < self->count; i++) {
        assert(self->operations[i].status != 0);
        if (i > 0)
            buf_append_char(&body, ',');
        print_result(&body, call, &self->operations[i], &call->reply.charge_cru);
        has_failed |= self->operations[i].status >= 400;
    }
    buf_append_char(&body, ']');
    if (self->answered_range != NULL)
        item_target_reply(call, self->answered_range, self->write.epoch, self->write.vector,
                          self->write.vector_len);
    reply_header_i64(&call->reply, &op->arena, "x-ms-item-count", self->count);
    return call_reply_json(op, has_failed ? 207 : 200, &body);
}

/* ---- conditions of patches ---- */

static void free_json(void *object)
{
    cJSON_Delete(object);
}

bool item_batch_condition_holds(struct call *call, const struct filter *condition,
                                const struct item_print *item, bool *holds)
{
    struct buf text = {0};

    item_target_print(&text, call->container, item);
    cJSON *document = text.has_failed ? NULL : cJSON_ParseWithLength(text.ptr, text.len);
    buf_finish(&text);
    if (document == NULL || !arena_defer(&call->op.arena, free_json, document))
        return fault_set_oom(&call->op.fault);
    return filter_matches(condition, document, &call->op.arena, holds, &call->op.fault);
}
