/*
 * Offers: list, query, read, replace. They are made and deleted with what they belong to.
 */
#include "service/offers.h"

#include "service/handlers.h"
#include "service/resource.h"

#include "base/banned.h"

struct offer_call {
    struct resource resource;
    struct offer offer; /* as found, or as replaced */
};

bool offers_from_request(struct op *op, struct offer *offer, bool *is_given)
{
    const struct headers *headers = &call_of(op)->request.headers;

    if (!slice_is_empty(headers->at[HEADER_OFFER_TYPE]))
        return fault_set(
            &op->fault, 400, SUB_NONE,
            "x-ms-offer-type is not supported; say the throughput in x-ms-offer-throughput");
    return offer_from_headers(offer, headers->at[HEADER_OFFER_THROUGHPUT],
                              headers->at[HEADER_OFFER_AUTOPILOT], is_given, &op->arena,
                              &op->fault);
}

bool offers_add(struct op *op, const struct offer *offer)
{
    struct resource *self = op_self(op, struct resource);
    struct rid owner = resource_rid(self, &(struct metadata){.number = self->number});
    struct buf owner_self = {0}, body = {0};
    char owner_rid[RID_TEXT_BYTES];

    if (self->number > RID_OFFER_MAX)
        return fault_set(&op->fault, 503, SUB_NONE, "all %d numbers for offers are used up",
                         RID_OFFER_MAX);
    struct slice id = metadata_offer_rid(&op->arena, self->number);
    struct write_operation *operation =
        resource_add(op, WRITE_CREATE, METADATA_OFFER, self->number, id);
    if (slice_is_absent(id) || operation == NULL)
        return fault_set_oom(&op->fault);
    rid_format(&owner, owner_rid);
    rid_append_self(&owner_self, &owner);
    offer_append(&body, offer, id.ptr, buf_slice(&owner_self), slice_from_text(owner_rid));
    body.has_failed |= owner_self.has_failed;
    buf_finish(&owner_self);
    operation->rid = METADATA_OFFER_BIT | self->number;
    operation->body = resource_keep(op, &body);
    return !slice_is_absent(operation->body);
}

/* ---- replace ---- */

static bool read_migration(struct op *op, enum offer_migration *migration)
{
    const struct headers *headers = &call_of(op)->request.headers;
    bool to_autoscale = header_is_true(headers, HEADER_MIGRATE_TO_AUTOPILOT);
    bool to_manual = header_is_true(headers, HEADER_MIGRATE_TO_MANUAL);

    if (to_autoscale && to_manual)
        return fault_set(&op->fault, 400, SUB_NONE, "%s and %s exclude each other",
                         header_name(HEADER_MIGRATE_TO_AUTOPILOT),
                         header_name(HEADER_MIGRATE_TO_MANUAL));
    *migration = to_autoscale ? OFFER_TO_AUTOSCALE : to_manual ? OFFER_TO_MANUAL : OFFER_KEEP;
    return true;
}

static bool stored_text(struct op *op, struct slice stored, const char *name, struct slice *text)
{
    struct slice value;

    if (!json_find(stored, slice_from_text(name), &value) || json_type(value) != JSON_STRING)
        return fault_set(&op->fault, 500, SUB_NONE, "a stored offer has no \"%s\"", name);
    return json_string_decode(value, &op->arena, text, &op->fault);
}

static bool parse(struct op *op)
{
    struct offer_call *self = op_self(op, struct offer_call);
    const struct metadata *one = resource_one(&self->resource);
    struct slice resource, resource_rid_text;
    enum offer_migration migration = OFFER_KEEP;
    struct buf text = {0};

    if (!read_migration(op, &migration) ||
        !offer_replace(&self->offer, call_of(op)->request.body, one->body, migration, &op->arena,
                       &op->fault) ||
        !stored_text(op, one->body, "resource", &resource) ||
        !stored_text(op, one->body, "offerResourceId", &resource_rid_text))
        return false;
    self->resource.id = one->id;
    offer_append(&text, &self->offer, one->id.ptr, resource, resource_rid_text);
    self->resource.definition = resource_keep(op, &text);
    return !slice_is_absent(self->resource.definition);
}

static void reply_headers(struct op *op)
{
    struct offer_call *self = op_self(op, struct offer_call);
    struct call *call = call_of(op);

    reply_header_i64(&call->reply, &op->arena, "x-ms-cosmos-min-throughput",
                     offer_min_ru(&self->offer));
    reply_header(&call->reply, "x-ms-offer-replace-pending", "false");
}

static const struct resource_type type = {
    .kind = METADATA_OFFER,
    .rid_type = RID_OFFER,
    .noun = "offer",
    .feed_name = "Offers",
    .feeds = "",
    .depth = 1,
    .parse = parse,
    .changed = reply_headers,
};

enum op_next offers_replace(struct op *op)
{
    if (resource_begin(op, &type, sizeof(struct offer_call)) == NULL)
        return OP_FAILED;
    return resource_replace_begun(op);
}

/* ---- reading ---- */

static op_step read_found;

enum op_next offers_read(struct op *op)
{
    if (resource_begin(op, &type, sizeof(struct offer_call)) == NULL)
        return OP_FAILED;
    return resource_find(op, read_found);
}

static enum op_next read_found(struct op *op)
{
    struct offer_call *self = op_self(op, struct offer_call);

    if (!offer_load(&self->offer, resource_one(&self->resource)->body, &op->arena, &op->fault))
        return OP_FAILED;
    reply_headers(op);
    return resource_reply_read(op);
}

enum op_next offers_list(struct op *op)
{
    return resource_list(op, &type);
}

enum op_next offers_query(struct op *op)
{
    if (!resource_is_query(op))
        return call_fail(op, 400, SUB_NONE,
                         "offers are created with their database or container; a query needs the "
                         "header %s: true",
                         header_name(HEADER_IS_QUERY));
    return resource_query(op, &type);
}
