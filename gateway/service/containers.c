/*
 * Containers: create, list, query, read, replace, delete.
 *
 * A container is made with its tables, its ranges and its offer in one transaction. Deleting it
 * closes its ranges at once; its tables go in the background (orrery.container_reap).
 */
#include "model/charge.h"
#include "query/computed.h"
#include "service/access.h"
#include "service/handlers.h"
#include "service/offers.h"
#include "service/resource.h"

#include <inttypes.h>

#include "base/banned.h"

struct container_call {
    struct resource resource;
    struct container_settings settings;
    struct offer offer;
    bool has_offer;
    struct metadata_path database;  /* to look for throughput that is shared */
    struct metadata_container made; /* what a create makes besides definitions */
};

static op_step prepare;      /* does the database share throughput? */
static op_step shared_found; /* give it an offer of its own, or not; write */

static bool parse(struct op *op)
{
    struct container_call *self = op_self(op, struct container_call);
    struct slice body = call_of(op)->request.body;
    struct slice *definition = &self->resource.definition;
    struct computed_properties computed;

    if (body.len > RESOURCE_BYTES_MAX)
        return fault_set(&op->fault, 413, SUB_NONE, "a definition may have at most %u bytes",
                         RESOURCE_BYTES_MAX);
    if (self->resource.change == RESOURCE_REPLACE) {
        struct slice stored = resource_one(&self->resource)->body;

        if (!container_parse_replacement(&self->settings, definition, body, stored, &op->arena,
                                         &op->fault) ||
            !computed_check_replacement(*definition, stored, &op->arena, &op->fault))
            return false;
    } else if (!container_parse(&self->settings, definition, body, &op->arena, &op->fault) ||
               !computed_load(&computed, *definition, &op->arena, &op->fault)) {
        return false;
    }
    self->resource.id = self->settings.id;
    return true;
}

static enum op_next prepare(struct op *op)
{
    struct container_call *self = op_self(op, struct container_call);
    struct store *store = &call_of(op)->service->store;

    if (self->resource.change != RESOURCE_CREATE || self->has_offer)
        return resource_write(op);
    self->database = self->resource.path;
    self->database.depth = 1;
    return metadata_list(store, op, &self->database, METADATA_OFFER, 0, 1, shared_found);
}

static enum op_next shared_found(struct op *op)
{
    struct container_call *self = op_self(op, struct container_call);
    struct metadata found[METADATA_DEPTH_MAX];
    unsigned count;

    if (!metadata_found(op, &self->database, found, &count))
        return OP_FAILED;
    self->has_offer = pgio_row_count(op->result) == (int) count;
    return resource_write(op);
}

/* Divide the keys evenly; the ends of the ranges as the schema wants them. */
static bool divide(struct op *op, struct metadata_container *container)
{
    struct container_call *self = op_self(op, struct container_call);
    const struct config *config = call_of(op)->service->config;
    size_t count = config->default_ranges > 0 ? (size_t) config->default_ranges
                                              : offer_range_count(&self->offer);
    struct pkrange *ranges = arena_alloc(&op->arena, count * sizeof(*ranges));
    struct epk *ends = arena_alloc(&op->arena, 2 * count * sizeof(*ends));

    if (ranges == NULL || ends == NULL)
        return fault_set_oom(&op->fault);
    pkrange_divide(ranges, count, &self->settings.partition_key);
    for (size_t i = 0; i < count; i++) {
        ends[i] = ranges[i].min;
        ends[count + i] = ranges[i].max;
    }
    container->mins = ends;
    container->maxs = ends + count;
    container->range_count = count;
    return true;
}

/* Other regions make the same ranges: they are told by an entry that nobody is shown. */
static bool add_ranges(struct op *op)
{
    const struct container_call *self = op_self(op, struct container_call);
    struct write_operation *operation = resource_add(
        op, WRITE_CREATE, METADATA_RANGES, self->resource.number, SLICE_LITERAL("ranges"));
    struct buf body = {0};

    if (operation == NULL)
        return false;
    for (size_t i = 0; i < self->made.range_count; i++) {
        buf_append_text(&body, i == 0 ? "{\"ranges\":[{\"min\":\"" : ",{\"min\":\"");
        epk_append(&body, &self->made.mins[i]);
        buf_append_text(&body, "\",\"max\":\"");
        epk_append(&body, &self->made.maxs[i]);
        buf_append_text(&body, "\"}");
    }
    buf_append_text(&body, "]}");
    operation->body = body.has_failed
                          ? slice_make(NULL, 0)
                          : slice_make(arena_copy(&op->arena, body.ptr, body.len), body.len);
    buf_finish(&body);
    return !slice_is_absent(operation->body) || fault_set_oom(&op->fault);
}

static bool add(struct op *op)
{
    struct container_call *self = op_self(op, struct container_call);

    if (self->resource.change != RESOURCE_CREATE)
        return true;
    return divide(op, &self->made) && add_ranges(op) &&
           (!self->has_offer || offers_add(op, &self->offer));
}

static enum op_next send(struct op *op, op_step *next)
{
    struct container_call *self = op_self(op, struct container_call);
    struct store *store = &call_of(op)->service->store;
    struct metadata_container *container = &self->made;
    struct index_wanted *indexes;

    container->number = self->resource.number;
    container->has_default_ttl = self->settings.has_default_ttl;
    container->default_ttl = self->settings.default_ttl_s;
    container->has_unique_keys = self->settings.unique_key_count > 0;
    if (self->resource.change == RESOURCE_REPLACE)
        return metadata_container_replace(store, op, &self->resource.write, container, next);
    if (!index_set_declared(&self->settings.indexing, &indexes, &container->index_count, &op->arena,
                            &op->fault))
        return OP_FAILED;
    container->indexes = indexes;
    return metadata_container_create(store, op, &self->resource.write, container, next);
}

/* What this loop knows of it may be out of date now; every other loop checks what it knows. */
static void forget(struct op *op)
{
    struct resource *self = op_self(op, struct resource);
    struct container_cache *cache = &call_of(op)->service->containers;
    struct container *known = container_cache_find(cache, self->path.names[0], self->path.names[1]);

    if (known == NULL)
        return;
    container_cache_forget(cache, known);
    container_release(known);
}

static const struct resource_type type = {
    .kind = METADATA_CONTAINER,
    .rid_type = RID_CONTAINER,
    .noun = "container",
    .feed_name = "DocumentCollections",
    .feeds = ",\"_docs\":\"docs/\",\"_sprocs\":\"sprocs/\",\"_triggers\":\"triggers/\""
             ",\"_udfs\":\"udfs/\",\"_conflicts\":\"conflicts/\"",
    .depth = 2,
    .parents = {METADATA_DATABASE},
    .has_children = true,
    .parse = parse,
    .prepare = prepare,
    .add = add,
    .send = send,
    .changed = forget,
};

static struct container_call *begin(struct op *op)
{
    if (resource_begin(op, &type, sizeof(struct container_call)) == NULL)
        return NULL;
    return op_self(op, struct container_call);
}

enum op_next containers_create(struct op *op)
{
    if (resource_is_query(op))
        return resource_query(op, &type);
    struct container_call *self = begin(op);
    if (self == NULL || !offers_from_request(op, &self->offer, &self->has_offer))
        return OP_FAILED;
    return resource_create_begun(op);
}

enum op_next containers_replace(struct op *op)
{
    return begin(op) != NULL ? resource_replace_begun(op) : OP_FAILED;
}

enum op_next containers_list(struct op *op)
{
    return resource_list(op, &type);
}

enum op_next containers_delete(struct op *op)
{
    return resource_delete(op, &type);
}

/* ---- read ---- */

static op_step read_found;    /* may the caller? */
static op_step read_progress; /* tell how far its indexes are; measure if asked */
static op_step read_measured; /* add what was measured */

enum op_next containers_read(struct op *op)
{
    return begin(op) != NULL ? resource_find(op, read_found) : OP_FAILED;
}

static bool check_intended(struct op *op, const struct rid *rid)
{
    struct slice intended = slice_trim(call_of(op)->request.headers.at[HEADER_INTENDED_RID]);
    char text[RID_TEXT_BYTES];

    rid_format(rid, text);
    return slice_is_empty(intended) || slice_equals_text(intended, text) ||
           fault_set(&op->fault, 400, SUB_COLLECTION_RID_MISMATCH,
                     "the container has rid \"%s\", not \"%.*s\"", text, FAULT_QUOTE(intended));
}

static enum op_next read_found(struct op *op)
{
    struct resource *self = op_self(op, struct resource);
    struct call *call = call_of(op);
    struct rid rid = resource_rid(self, resource_one(self));

    if (!access_check(call, AUTHTOKEN_CONTAINER, false, rid.database, rid.owner,
                      (struct slice){NULL, 0}, (struct slice){NULL, 0}) ||
        !check_intended(op, &rid))
        return OP_FAILED;
    return metadata_ask_progress(&call->service->store, op, rid.owner, read_progress);
}

static enum op_next read_progress(struct op *op)
{
    struct resource *self = op_self(op, struct resource);
    struct call *call = call_of(op);
    struct rid rid = resource_rid(self, resource_one(self));
    int32_t percent;

    if (!metadata_progress(op, &percent))
        return OP_FAILED;
    reply_header_i64(&call->reply, &op->arena,
                     "x-ms-documentdb-collection-index-transformation-progress", percent);
    reply_header(&call->reply, "x-ms-documentdb-collection-lazy-indexing-progress", "-1");
    if (header_is_true(&call->request.headers, HEADER_POPULATE_QUOTA_INFO))
        return metadata_measure(&call->service->store, op, rid.owner, read_measured);
    return resource_reply_read(op);
}

static enum op_next read_measured(struct op *op)
{
    struct call *call = call_of(op);
    int64_t size_kb, count;

    if (!metadata_usage(op, &size_kb, &count))
        return OP_FAILED;
    /* PostgreSQL sets no limit that could be named: -1. */
    reply_header(&call->reply, "x-ms-resource-quota",
                 "documentSize=2048;documentsSize=-1;documentsCount=-1;collectionSize=-1;");
    reply_header(&call->reply, "x-ms-resource-usage",
                 arena_printf(&op->arena,
                              "documentSize=0;documentsSize=%" PRId64 ";documentsCount=%" PRId64
                              ";collectionSize=%" PRId64 ";",
                              size_kb, count, size_kb));
    return resource_reply_read(op);
}
