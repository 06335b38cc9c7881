/*
 * Items: create, upsert, read, replace, delete.
 *
 * Each request finds its container, then its range by the partition key, and then asks one question
 * of PostgreSQL. A container that was dropped meanwhile is looked up again by name and the request
 * aimed anew.
 */
#include "service/access.h"
#include "service/handlers.h"
#include "service/item_batch.h"
#include "service/item_target.h"
#include "service/items_query.h"

#include "model/charge.h"
#include "model/etag.h"
#include "model/patch.h"

#include <assert.h>

#include "base/banned.h"

/* State of one request, from its first step to its last. */
struct item_call {
    struct item_target target;
    struct consistency consistency;
    struct item item;
    struct write write;
    struct write_operation operation;
    struct slice id;
    bool looked_by_rid;
    const struct item_row *row; /* that waits to be committed */
    op_step *aim;               /* where a request starts again */
};

static struct item_call *begin(struct op *op, op_step *aim)
{
    struct call *call = call_of(op);

    if (!op_alloc_self(op, sizeof(struct item_call)))
        return NULL;
    struct item_call *self = op_self(op, struct item_call);
    self->aim = aim;
    self->id = call->request.path.ids[2];
    return consistency_parse(&self->consistency, call) ? self : NULL;
}

/* Scripts do not run in this release; a trigger that is asked for must not be left out in silence.
 */
static bool refuse_unsupported(struct call *call)
{
    const struct headers *headers = &call->request.headers;

    if (!slice_is_empty(headers->at[HEADER_PRE_TRIGGER]) ||
        !slice_is_empty(headers->at[HEADER_POST_TRIGGER]))
        return fault_set(&call->op.fault, 400, SUB_NONE,
                         "triggers are not executed in this release");
    if (slice_equals_nocase(slice_trim(headers->at[HEADER_INDEXING_DIRECTIVE]), "exclude"))
        return fault_set(&call->op.fault, 400, SUB_NONE,
                         "the indexing directive Exclude is not supported");
    return true;
}

/* ---- by resource id ---- */

static op_step by_rid_found; /* aim again at the item that has the rid */

static const char by_rid_sql[] =
    "select id, pk from orrery.items_%u where range_id = $1 and rid = $2 and not deleted";

/*
 * No item has this name in its partition: if the name is a resource id of this container, the item
 * that has it is meant. Names come first, because a name may look like a resource id.
 */
static bool may_be_rid(struct op *op, struct rid *rid)
{
    struct item_call *self = op_self(op, struct item_call);
    const struct container *container = call_of(op)->container;

    return !self->looked_by_rid && rid_parse(self->id, rid) && rid->type == RID_ITEM &&
           rid->owner == container->number && rid->database == container->database_number;
}

static enum op_next look_by_rid(struct op *op, const struct rid *rid)
{
    struct item_call *self = op_self(op, struct item_call);
    struct call *call = call_of(op);
    struct pgparams params = {0};
    char *sql = arena_printf(&op->arena, by_rid_sql, call->container->number);

    if (sql == NULL) {
        fault_set_oom(&op->fault);
        return OP_FAILED;
    }
    self->looked_by_rid = true;
    struct pgio_statement statement = {
        .key = store_statement_key(STATEMENT_ITEM_BY_RID, call->container->number), .sql = sql};
    pgparams_int8(&params, self->target.key.range_id);
    pgparams_int8(&params, (int64_t) rid->number);
    return store_query(&call->service->store, op, STORE_READS, &statement, &params, by_rid_found);
}

static enum op_next by_rid_found(struct op *op)
{
    struct item_call *self = op_self(op, struct item_call);

    if (!store_check(op, STORE_READS))
        return OP_FAILED;
    bool is_there = pgio_row_count(op->result) > 0 &&
                    slice_equals(pgio_value(op->result, 0, 1), self->target.pk);
    if (is_there) {
        struct slice id = pgio_value(op->result, 0, 0);
        char *copy = arena_copy(&op->arena, id.ptr, id.len);
        if (copy == NULL) {
            fault_set_oom(&op->fault);
            return OP_FAILED;
        }
        self->id = slice_make(copy, id.len);
    }
    return op_again(op, self->aim);
}

/* ---- read ---- */

static op_step read_aim;   /* partition key, range, row */
static op_step read_found; /* answer the row */
static op_step read_again;
static op_step read_settled; /* what was read is committed: answer it */
static enum op_next answer_row(struct op *op, const struct item_row *row);

enum op_next items_read(struct op *op)
{
    return begin(op, read_aim) != NULL ? call_resolve(op, read_aim) : OP_FAILED;
}

static enum op_next read_aim(struct op *op)
{
    struct item_call *self = op_self(op, struct item_call);
    struct call *call = call_of(op);

    if (!item_target_pkey_from_header(&self->target, call) ||
        !item_target_aim(&self->target, call, self->id) ||
        !access_check(call, AUTHTOKEN_CHILD, false, call->container->database_number,
                      call->container->number, self->id, self->target.pk))
        return OP_FAILED;
    return store_read(&call->service->store, op, &self->target.key, read_found);
}

/* What was read, beyond the step that read it. */
static bool keep_row(struct op *op, const struct item_row *row)
{
    struct item_call *self = op_self(op, struct item_call);
    struct item_row *kept = arena_alloc(&op->arena, sizeof(*kept));
    const char *vector = arena_copy(&op->arena, row->vector.ptr, row->vector.len);
    const char *etag = arena_copy(&op->arena, row->etag.ptr, row->etag.len);
    const char *body = arena_copy(&op->arena, row->body.ptr, row->body.len);

    if (kept == NULL || vector == NULL || etag == NULL || body == NULL)
        return fault_set_oom(&op->fault);
    *kept = *row;
    kept->vector = slice_make(vector, row->vector.len);
    kept->etag = slice_make(etag, row->etag.len);
    kept->body = slice_make(body, row->body.len);
    self->row = kept;
    return true;
}

static enum op_next read_again(struct op *op)
{
    return store_read(&call_of(op)->service->store, op, &op_self(op, struct item_call)->target.key,
                      read_found);
}

static enum op_next reply_row(struct op *op, const struct item_row *row)
{
    struct call *call = call_of(op);
    struct etag_condition none =
        etag_condition_parse(call->request.headers.at[HEADER_IF_NONE_MATCH]);
    struct etag etag;
    struct buf body = {0};

    memcpy(etag.uuid, row->etag.ptr, sizeof(etag.uuid));
    call_reply_etag(call, etag.uuid);
    call->reply.charge_cru = charge_read_cru(row->body.len);
    if (none.kind != ETAG_ABSENT && etag_condition_matches(&none, &etag))
        return call_reply_empty(op, 304);
    item_target_print(&body, call->container,
                      &(struct item_print){
                          .stored = row->body, .rid = row->rid, .etag = etag.uuid, .ts = row->ts});
    return call_reply_json(op, 200, &body);
}

static enum op_next read_found(struct op *op)
{
    struct item_call *self = op_self(op, struct item_call);
    struct call *call = call_of(op);
    struct item_row row;

    switch (store_read_check(op, call->now_s, &row)) {
    case STORE_READ_GONE:
        return call_resolve_again(op, read_aim);
    case STORE_READ_FAULT:
        return OP_FAILED;
    case STORE_READ_ROW:
        break;
    }
    switch (consistency_check_item(&self->consistency, call, self->target.range, &row)) {
    case CONSISTENCY_GONE:
        return call_resolve_again(op, read_aim);
    case CONSISTENCY_WAITS:
        return consistency_wait(&self->consistency, op, read_again);
    case CONSISTENCY_SETTLES:
        return keep_row(op, &row) ? consistency_settle(&self->consistency, op, read_settled)
                                  : OP_FAILED;
    case CONSISTENCY_FAULT:
        return OP_FAILED;
    case CONSISTENCY_MET:
        break;
    }
    return answer_row(op, &row);
}

static enum op_next read_settled(struct op *op)
{
    return answer_row(op, op_self(op, struct item_call)->row);
}

static enum op_next answer_row(struct op *op, const struct item_row *row)
{
    struct item_call *self = op_self(op, struct item_call);
    struct call *call = call_of(op);
    struct rid rid;

    if (!row->exists && may_be_rid(op, &rid))
        return look_by_rid(op, &rid);
    item_target_reply_row(call, self->target.range, row);
    if (row->exists)
        return reply_row(op, row);
    call->reply.charge_cru = charge_read_cru(0);
    return call_fail(op, 404, SUB_NONE, "there is no item \"%.*s\" in this logical partition",
                     FAULT_QUOTE(self->id));
}

/* ---- create and upsert ---- */

static op_step create_aim;
static op_step written;         /* what the write function said */
static op_step write_committed; /* answer it */
static op_step written_gone;

enum op_next items_post(struct op *op)
{
    struct call *call = call_of(op);
    const struct headers *headers = &call->request.headers;

    if (header_is_true(headers, HEADER_IS_QUERY_PLAN))
        return items_query_plan(op);
    if (header_is_true(headers, HEADER_IS_QUERY) || header_is_true(headers, HEADER_IS_QUERY_GO))
        return items_query(op);
    if (header_is_true(headers, HEADER_IS_BATCH))
        return item_batch_begin(op);
    if (!refuse_unsupported(call))
        return OP_FAILED;
    struct item_call *self = begin(op, create_aim);
    if (self == NULL || !item_parse(call->request.body, &op->arena, &self->item, &op->fault))
        return OP_FAILED;
    self->operation.kind = header_is_true(headers, HEADER_IS_UPSERT) ? WRITE_UPSERT : WRITE_CREATE;
    return call_resolve(op, create_aim);
}

static op_step send_ready; /* the token is reached: write */

static enum op_next send_write(struct op *op)
{
    struct item_call *self = op_self(op, struct item_call);

    return consistency_admit(&self->consistency, op, self->target.range, send_ready, written_gone);
}

static enum op_next written_gone(struct op *op)
{
    return call_resolve_again(op, op_self(op, struct item_call)->aim);
}

static enum op_next send_ready(struct op *op)
{
    struct item_call *self = op_self(op, struct item_call);

    item_target_write(&self->write, &self->target, call_of(op), &self->operation, 1);
    return store_write(&call_of(op)->service->store, op, &self->write, written);
}

static enum op_next create_aim(struct op *op)
{
    struct item_call *self = op_self(op, struct item_call);
    struct call *call = call_of(op);

    if (!item_target_pkey_from_item(&self->target, call, &self->item) ||
        !item_target_aim(&self->target, call, self->item.id) ||
        !access_check(call, AUTHTOKEN_CHILD, true, call->container->database_number,
                      call->container->number, self->item.id, self->target.pk) ||
        !item_target_fill(&self->operation, &self->target, call, &self->item) ||
        !item_target_conditions(&self->operation, call))
        return OP_FAILED;
    return send_write(op);
}

static enum op_next reply_written(struct op *op)
{
    struct item_call *self = op_self(op, struct item_call);
    const struct write_operation *operation = &self->operation;
    struct call *call = call_of(op);
    struct buf body = {0};

    reply_header_i64(&call->reply, &op->arena, "x-ms-item-lsn", operation->lsn);
    call->reply.charge_cru = charge_write_cru(operation->body.len);
    if (operation->status == 204)
        return call_reply_empty(op, 204);
    call_reply_etag(call, operation->etag);
    if (header_wants_minimal(&call->request.headers))
        return call_reply_empty(op, operation->status);
    item_target_print(&body, call->container,
                      &(struct item_print){.stored = operation->body,
                                           .rid = operation->result_rid,
                                           .etag = operation->etag,
                                           .ts = operation->ts});
    return call_reply_json(op, operation->status, &body);
}

static enum op_next written(struct op *op)
{
    struct item_call *self = op_self(op, struct item_call);

    switch (store_write_check(op, &self->write)) {
    case STORE_WRITE_GONE:
        return call_resolve_again(op, self->aim);
    case STORE_WRITE_FAULT:
        return OP_FAILED;
    case STORE_WRITE_DONE:
        break;
    }
    return consistency_commit(&self->consistency, op, &self->write, write_committed);
}

static enum op_next write_committed(struct op *op)
{
    struct item_call *self = op_self(op, struct item_call);
    struct call *call = call_of(op);
    struct rid rid;

    if (self->operation.status == 404 && may_be_rid(op, &rid))
        return look_by_rid(op, &rid);
    item_target_reply(call, self->target.range, self->write.epoch, self->write.vector,
                      self->write.vector_len);
    if (self->operation.status < 300)
        return reply_written(op);
    call->reply.charge_cru = charge_write_cru(0);
    item_target_fault(&op->fault, &self->operation);
    return OP_FAILED;
}

/* ---- replace ---- */

static op_step replace_aim;

enum op_next items_replace(struct op *op)
{
    struct call *call = call_of(op);
    struct item_call *self;

    if (!refuse_unsupported(call) || (self = begin(op, replace_aim)) == NULL ||
        !item_parse(call->request.body, &op->arena, &self->item, &op->fault))
        return OP_FAILED;
    self->operation.kind = WRITE_REPLACE;
    return call_resolve(op, replace_aim);
}

static enum op_next replace_aim(struct op *op)
{
    struct item_call *self = op_self(op, struct item_call);
    struct call *call = call_of(op);
    struct rid rid;

    if (!item_target_pkey_from_item(&self->target, call, &self->item) ||
        !item_target_aim(&self->target, call, self->item.id))
        return OP_FAILED;
    /* The path may hold the item's rid instead of its id: then the rid must be the one that has
     * this id. */
    if (!slice_equals(self->id, self->item.id)) {
        if (may_be_rid(op, &rid))
            return look_by_rid(op, &rid);
        return call_fail(op, 400, SUB_NONE,
                         "the id \"%.*s\" of the body is not the id of the path; ids do not change",
                         FAULT_QUOTE(self->item.id));
    }
    if (!access_check(call, AUTHTOKEN_CHILD, true, call->container->database_number,
                      call->container->number, self->id, self->target.pk) ||
        !item_target_fill(&self->operation, &self->target, call, &self->item) ||
        !item_target_conditions(&self->operation, call))
        return OP_FAILED;
    return send_write(op);
}

/* ---- delete ---- */

static op_step delete_aim;

enum op_next items_delete(struct op *op)
{
    struct item_call *self;

    if (!refuse_unsupported(call_of(op)) || (self = begin(op, delete_aim)) == NULL)
        return OP_FAILED;
    self->operation.kind = WRITE_DELETE;
    return call_resolve(op, delete_aim);
}

static enum op_next delete_aim(struct op *op)
{
    struct item_call *self = op_self(op, struct item_call);
    struct call *call = call_of(op);

    if (!item_target_pkey_from_header(&self->target, call) ||
        !item_target_aim(&self->target, call, self->id) ||
        !access_check(call, AUTHTOKEN_CHILD, true, call->container->database_number,
                      call->container->number, self->id, self->target.pk) ||
        !item_target_conditions(&self->operation, call))
        return OP_FAILED;
    self->operation.pk = self->target.pk;
    self->operation.id = self->id;
    uuid_create(self->operation.etag);
    return send_write(op);
}

/* ---- patch ---- */

/*
 * A patch is computed here, on the text, and written on the condition that the item is still the
 * version that was read; otherwise it is read again. Other writers can make that go on only while
 * they themselves get through.
 */
#define PATCH_ATTEMPTS_MAX 30
/* The pause before a further attempt grows by up to this. */
#define PATCH_PAUSE_MS 4

struct patch_call {
    struct item_call base;
    struct patch patch;
    struct filter condition;
    unsigned attempts;
};

static op_step patch_aim;
static op_step patch_found;   /* check the conditions, apply, write */
static op_step patch_ready;   /* write */
static op_step patch_written; /* answer, or read again */
static op_step patch_again;

enum op_next items_patch(struct op *op)
{
    struct call *call = call_of(op);

    if (!refuse_unsupported(call) || !op_alloc_self(op, sizeof(struct patch_call)))
        return OP_FAILED;
    struct patch_call *self = op_self(op, struct patch_call);
    self->base.aim = patch_aim;
    self->base.id = call->request.path.ids[2];
    if (!consistency_parse(&self->base.consistency, call) ||
        !patch_parse(call->request.body, &op->arena, &self->patch, &op->fault))
        return OP_FAILED;
    if (!slice_is_absent(self->patch.condition) &&
        !filter_parse_condition(&op->arena, self->patch.condition, &self->condition, &op->fault))
        return OP_FAILED;
    return call_resolve(op, patch_aim);
}

static enum op_next patch_aim(struct op *op)
{
    struct patch_call *self = op_self(op, struct patch_call);
    struct item_target *target = &self->base.target;
    struct call *call = call_of(op);

    if (!item_target_pkey_from_header(target, call) ||
        !item_target_aim(target, call, self->base.id) ||
        !access_check(call, AUTHTOKEN_CHILD, true, call->container->database_number,
                      call->container->number, self->base.id, target->pk) ||
        !patch_check(&self->patch, &call->container->settings.partition_key, &op->fault))
        return OP_FAILED;
    return store_read(&call->service->store, op, &target->key, patch_found);
}

static bool check_patch_conditions(struct op *op, const struct item_row *row)
{
    struct patch_call *self = op_self(op, struct patch_call);
    struct call *call = call_of(op);
    struct etag_condition match = etag_condition_parse(call->request.headers.at[HEADER_IF_MATCH]);
    struct etag etag;
    bool holds;

    memcpy(etag.uuid, row->etag.ptr, sizeof(etag.uuid));
    if (match.kind != ETAG_ABSENT && !etag_condition_matches(&match, &etag))
        return fault_set(
            &op->fault, 412, SUB_NONE,
            "operation cannot be performed because one of the specified preconditions is not met");
    if (slice_is_absent(self->patch.condition))
        return true;
    if (!item_batch_condition_holds(
            call, &self->condition,
            &(struct item_print){
                .stored = row->body, .rid = row->rid, .etag = etag.uuid, .ts = row->ts},
            &holds))
        return false;
    return holds || fault_set(&op->fault, 412, SUB_PATCH_CONDITION_NOT_MET,
                              "the condition of the patch is not met");
}

static bool apply_patch(struct op *op, const struct item_row *row)
{
    struct patch_call *self = op_self(op, struct patch_call);
    struct item_call *base = &self->base;
    char *stored = arena_copy(&op->arena, row->body.ptr, row->body.len);

    if (stored == NULL)
        return fault_set_oom(&op->fault);
    base->operation = (struct write_operation){.kind = WRITE_REPLACE, .has_if_match = true};
    memcpy(base->operation.if_match, row->etag.ptr, sizeof(base->operation.if_match));
    return patch_apply(&self->patch, slice_make(stored, row->body.len), &op->arena, &base->item,
                       &op->fault) &&
           item_target_fill(&base->operation, &base->target, call_of(op), &base->item);
}

static enum op_next patch_found(struct op *op)
{
    struct patch_call *self = op_self(op, struct patch_call);
    struct item_call *base = &self->base;
    struct call *call = call_of(op);
    struct item_row row;
    struct rid rid;

    switch (store_read_check(op, call->now_s, &row)) {
    case STORE_READ_GONE:
        return call_resolve_again(op, patch_aim);
    case STORE_READ_FAULT:
        return OP_FAILED;
    case STORE_READ_ROW:
        break;
    }
    switch (consistency_check_item(&base->consistency, call, base->target.range, &row)) {
    case CONSISTENCY_GONE:
        return call_resolve_again(op, patch_aim);
    case CONSISTENCY_WAITS:
        return consistency_wait(&base->consistency, op, patch_again);
    case CONSISTENCY_SETTLES:
        return consistency_settle(&base->consistency, op, patch_again);
    case CONSISTENCY_FAULT:
        return OP_FAILED;
    case CONSISTENCY_MET:
        break;
    }
    if (!row.exists && may_be_rid(op, &rid))
        return look_by_rid(op, &rid);
    bool goes_on = row.exists && check_patch_conditions(op, &row) && apply_patch(op, &row);
    if (!goes_on) {
        item_target_reply_row(call, base->target.range, &row);
        if (!row.exists)
            fault_set(&op->fault, 404, SUB_NONE,
                      "there is no item \"%.*s\" in this logical partition", FAULT_QUOTE(base->id));
        return OP_FAILED;
    }
    return consistency_admit(&base->consistency, op, base->target.range, patch_ready, written_gone);
}

static enum op_next patch_ready(struct op *op)
{
    struct item_call *base = &op_self(op, struct patch_call)->base;
    struct call *call = call_of(op);

    item_target_write(&base->write, &base->target, call, &base->operation, 1);
    return store_write(&call->service->store, op, &base->write, patch_written);
}

static enum op_next patch_written(struct op *op)
{
    struct patch_call *self = op_self(op, struct patch_call);
    struct item_call *base = &self->base;
    struct call *call = call_of(op);

    bool is_overtaken = op->result->outcome == PGIO_ROWS &&
                        (base->operation.status == 412 || base->operation.status == 404);
    if (!is_overtaken)
        return written(op);
    if (++self->attempts < PATCH_ATTEMPTS_MAX)
        return op_pause(op, PATCH_PAUSE_MS * self->attempts, patch_again);
    item_target_reply(call, base->target.range, base->write.epoch, base->write.vector,
                      base->write.vector_len);
    fault_set(&op->fault, 449, SUB_NONE, "other writes to the item keep overtaking this patch");
    op->fault.retry_after_ms = 10;
    return OP_FAILED;
}

static enum op_next patch_again(struct op *op)
{
    struct patch_call *self = op_self(op, struct patch_call);

    return store_read(&call_of(op)->service->store, op, &self->base.target.key, patch_found);
}
