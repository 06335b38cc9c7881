/*
 * Changes of definitions. Each finds its path first, then writes under guards; a guard that fails,
 * because somebody else was faster, starts over from the path.
 */
#include "service/resource.h"

#include "model/charge.h"
#include "model/etag.h"

#include <assert.h>

#include "base/banned.h"

/* Two clients that change one definition meet again at most a few times. */
#define ATTEMPTS_MAX 8

static op_step create_found;     /* is it new? take a number */
static op_step create_numbered;  /* look further, write */
static op_step replace_found;    /* check the condition, read the body, look further, write */
static op_step delete_found;     /* check the condition, write */
static op_step change_written;   /* answer, or start over */
static op_step change_committed; /* in all regions that must have it, under Strong */

static enum op_next prepare(struct op *op)
{
    const struct resource_type *type = op_self(op, struct resource)->type;

    return type->prepare != NULL ? op_again(op, type->prepare) : resource_write(op);
}

static bool parse(struct op *op)
{
    const struct resource_type *type = op_self(op, struct resource)->type;

    return type->parse != NULL ? type->parse(op) : resource_parse(op);
}

/* ---- create and upsert ---- */

enum op_next resource_create(struct op *op, const struct resource_type *type)
{
    if (resource_is_query(op))
        return resource_query(op, type);
    if (resource_begin(op, type, sizeof(struct resource)) == NULL)
        return OP_FAILED;
    return resource_create_begun(op);
}

enum op_next resource_create_begun(struct op *op)
{
    struct resource *self = op_self(op, struct resource);

    self->is_upsert = self->type->is_upsertable &&
                      header_is_true(&call_of(op)->request.headers, HEADER_IS_UPSERT);
    if (!parse(op))
        return OP_FAILED;
    /* What is looked for is the new one: its parents must be there, it should not. */
    self->path.depth = self->type->depth;
    self->path.kinds[self->type->depth - 1] = self->type->kind;
    self->path.names[self->type->depth - 1] = self->id;
    return resource_find_parent(op, create_found);
}

static enum op_next fail_conflict(struct op *op)
{
    struct resource *self = op_self(op, struct resource);

    return call_fail(op, 409, SUB_NONE,
                     "Entity with the specified id already exists in the system: %s \"%.*s\"",
                     self->type->noun, FAULT_QUOTE(self->id));
}

static enum op_next create_found(struct op *op)
{
    struct resource *self = op_self(op, struct resource);
    /* Found by its resource id is not found: another one may bear that text as its name. */
    bool is_there =
        self->found_count == self->type->depth && slice_equals(resource_one(self)->id, self->id);

    call_of(op)->reply.charge_cru = CHARGE_METADATA_WRITE_CRU;
    self->change = RESOURCE_CREATE;
    if (is_there && self->is_upsert)
        return op_again(op, replace_found);
    if (is_there)
        return fail_conflict(op);
    return metadata_number_take(&call_of(op)->service->store, op, create_numbered);
}

static enum op_next create_numbered(struct op *op)
{
    struct resource *self = op_self(op, struct resource);

    return metadata_number(op, &self->number) ? prepare(op) : OP_FAILED;
}

/* ---- replace ---- */

enum op_next resource_replace(struct op *op, const struct resource_type *type)
{
    if (resource_begin(op, type, sizeof(struct resource)) == NULL)
        return OP_FAILED;
    return resource_replace_begun(op);
}

enum op_next resource_replace_begun(struct op *op)
{
    return resource_find(op, replace_found);
}

static bool check_condition(struct op *op)
{
    const struct metadata *one = resource_one(op_self(op, struct resource));
    struct etag_condition condition =
        etag_condition_parse(call_of(op)->request.headers.at[HEADER_IF_MATCH]);
    struct etag etag;

    memcpy(etag.uuid, one->etag, sizeof(etag.uuid));
    if (condition.kind == ETAG_ABSENT || etag_condition_matches(&condition, &etag))
        return true;
    return fault_set(&op->fault, 412, SUB_NONE,
                     "Operation cannot be performed because one of the specified precondition is "
                     "not met: the version has another etag");
}

static bool check_name(struct op *op)
{
    const struct resource *self = op_self(op, struct resource);
    const struct metadata *one = resource_one(self);

    return self->type->may_be_renamed || slice_equals(self->id, one->id) ||
           fault_set(&op->fault, 400, SUB_NONE,
                     "the id of %s \"%.*s\" cannot be changed to \"%.*s\"", self->type->noun,
                     FAULT_QUOTE(one->id), FAULT_QUOTE(self->id));
}

static enum op_next replace_found(struct op *op)
{
    struct resource *self = op_self(op, struct resource);

    self->change = RESOURCE_REPLACE;
    call_of(op)->reply.charge_cru = CHARGE_METADATA_WRITE_CRU;
    if (!check_condition(op) || !parse(op) || !check_name(op))
        return OP_FAILED;
    self->number = (uint32_t) resource_one(self)->number;
    return prepare(op);
}

/* ---- delete ---- */

enum op_next resource_delete(struct op *op, const struct resource_type *type)
{
    if (resource_begin(op, type, sizeof(struct resource)) == NULL)
        return OP_FAILED;
    return resource_find(op, delete_found);
}

static enum op_next delete_found(struct op *op)
{
    struct resource *self = op_self(op, struct resource);

    self->change = RESOURCE_DELETE;
    self->id = resource_one(self)->id;
    call_of(op)->reply.charge_cru = CHARGE_METADATA_WRITE_CRU;
    return check_condition(op) ? resource_write(op) : OP_FAILED;
}

/* ---- writing ---- */

struct write_operation *resource_add(struct op *op, enum write_kind kind,
                                     enum metadata_kind metadata, uint64_t parent, struct slice id)
{
    struct resource *self = op_self(op, struct resource);
    struct slice pk = metadata_pk(&op->arena, metadata, parent);
    struct etag etag;

    assert(self->write.count < RESOURCE_OPERATIONS_MAX);
    if (slice_is_absent(pk)) {
        fault_set_oom(&op->fault);
        return NULL;
    }
    struct write_operation *operation = &self->operations[self->write.count++];
    etag_create(&etag);
    *operation = (struct write_operation){.kind = kind, .pk = pk, .id = id};
    memcpy(operation->etag, etag.uuid, sizeof(operation->etag));
    return operation;
}

static void guard(struct write_operation *operation, const struct metadata *version)
{
    operation->has_if_match = true;
    memcpy(operation->if_match, version->etag, sizeof(operation->if_match));
}

static struct write_operation *add_main(struct op *op, enum write_kind kind, uint64_t parent)
{
    struct resource *self = op_self(op, struct resource);
    struct write_operation *operation = resource_add(op, kind, self->type->kind, parent, self->id);

    if (operation == NULL)
        return NULL;
    self->main_operation = self->write.count - 1;
    memcpy(self->etag, operation->etag, sizeof(self->etag));
    if (kind == WRITE_DELETE)
        return operation;
    operation->body = self->definition;
    operation->rid = kind == WRITE_CREATE ? self->number : 0;
    return operation;
}

static bool add_create(struct op *op, const struct metadata *parent)
{
    struct resource *self = op_self(op, struct resource);
    struct write_operation *exists;

    if (parent != NULL) {
        exists = resource_add(op, WRITE_EXISTS, parent->kind,
                              self->type->depth == 3 ? self->found[0].number : 0, parent->id);
        if (exists == NULL)
            return false;
        exists->rid = parent->number;
    }
    return add_main(op, WRITE_CREATE, parent != NULL ? parent->number : 0) != NULL;
}

/* Under another name it is another item of the storage, with the number that it had. */
static bool add_rename(struct op *op, const struct metadata *one, uint64_t parent)
{
    struct write_operation *old = resource_add(op, WRITE_DELETE, one->kind, parent, one->id);

    if (old == NULL)
        return false;
    guard(old, one);
    return add_main(op, WRITE_CREATE, parent) != NULL;
}

static bool add_operations(struct op *op)
{
    struct resource *self = op_self(op, struct resource);
    const struct metadata *above = resource_parent(self);
    uint64_t parent = above != NULL ? above->number : 0;

    self->write = (struct write){.operations = self->operations};
    if (self->change == RESOURCE_CREATE)
        return add_create(op, above);
    const struct metadata *one = resource_one(self);
    if (self->type->kind == METADATA_OFFER)
        parent = one->number & ~METADATA_OFFER_BIT;
    if (self->change == RESOURCE_REPLACE && !slice_equals(one->id, self->id))
        return add_rename(op, one, parent);
    struct write_operation *main =
        add_main(op, self->change == RESOURCE_DELETE ? WRITE_DELETE : WRITE_REPLACE, parent);
    if (main != NULL)
        guard(main, one);
    return main != NULL;
}

enum op_next resource_write(struct op *op)
{
    struct resource *self = op_self(op, struct resource);
    struct store *store = &call_of(op)->service->store;

    if (!add_operations(op) || (self->type->add != NULL && !self->type->add(op)))
        return OP_FAILED;
    if (self->change == RESOURCE_DELETE && self->type->has_children)
        return metadata_drop(store, op, &self->write, change_written);
    if (self->type->send != NULL && self->change != RESOURCE_DELETE)
        return self->type->send(op, change_written);
    return store_write(store, op, &self->write, change_written);
}

/* ---- answering ---- */

static bool take_results(struct op *op)
{
    struct resource *self = op_self(op, struct resource);
    bool is_ordinary =
        self->change == RESOURCE_DELETE ? !self->type->has_children : self->type->send == NULL;

    if (!is_ordinary)
        return metadata_written(op, &self->write);
    switch (store_write_check(op, &self->write)) {
    case STORE_WRITE_DONE:
        return true;
    case STORE_WRITE_GONE:
        return fault_set(&op->fault, 503, SUB_NONE,
                         "this region takes no changes of definitions now");
    case STORE_WRITE_FAULT:
        break;
    }
    return false;
}

static enum op_next start_over(struct op *op)
{
    struct resource *self = op_self(op, struct resource);

    if (++self->attempts >= ATTEMPTS_MAX) {
        fault_set(&op->fault, 449, SUB_NONE, "%s \"%.*s\" keeps being changed by others",
                  self->type->noun, FAULT_QUOTE(self->id));
        op->fault.retry_after_ms = 100;
        return OP_FAILED;
    }
    switch (self->change) {
    case RESOURCE_CREATE:
        return resource_find_parent(op, create_found);
    case RESOURCE_REPLACE:
        return self->is_upsert ? resource_find_parent(op, create_found)
                               : resource_find(op, replace_found);
    case RESOURCE_DELETE:
        break;
    }
    return resource_find(op, delete_found);
}

static enum op_next reply_changed(struct op *op)
{
    struct resource *self = op_self(op, struct resource);
    const struct write_operation *main = &self->operations[self->main_operation];
    struct call *call = call_of(op);
    struct metadata one = {.kind = self->type->kind,
                           .number = main->result_rid,
                           .id = self->id,
                           .ts = main->ts,
                           .body = self->definition};
    unsigned status = self->change == RESOURCE_CREATE ? 201 : 200;
    struct buf body = {0};

    resource_reply_owner(op);
    if (self->type->changed != NULL)
        self->type->changed(op);
    if (self->change == RESOURCE_DELETE)
        return call_reply_empty(op, 204);
    memcpy(one.etag, self->etag, sizeof(one.etag));
    call_reply_etag(call, one.etag);
    if (header_wants_minimal(&call->request.headers))
        return call_reply_empty(op, status);
    resource_print(op, &body, &one);
    return call_reply_json(op, status, &body);
}

/* The first operation that did not pass says why; those after it only follow. */
static enum op_next change_written(struct op *op)
{
    struct resource *self = op_self(op, struct resource);

    return take_results(op)
               ? consistency_commit(&self->consistency, op, &self->write, change_committed)
               : OP_FAILED;
}

static enum op_next change_committed(struct op *op)
{
    struct resource *self = op_self(op, struct resource);
    const struct write_operation *failed = NULL;

    for (unsigned i = 0; failed == NULL && i < self->write.count; i++) {
        if (self->operations[i].status >= 300 && self->operations[i].status != 424)
            failed = &self->operations[i];
    }
    if (failed == NULL)
        return reply_changed(op);
    if (failed->status == 400)
        return call_fail(op, 400, SUB_NONE, "the id of %s \"%.*s\" is too long", self->type->noun,
                         FAULT_QUOTE(self->id));
    bool is_main = failed == &self->operations[self->main_operation];
    bool is_taken = failed->status == 409 && (!self->is_upsert || !is_main);
    return is_taken ? fail_conflict(op) : start_over(op);
}
