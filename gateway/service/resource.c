#include "service/resource.h"

#include "model/charge.h"
#include "model/etag.h"
#include "model/ids.h"
#include "model/item.h"
#include "service/catch_up.h"

#include <assert.h>

#include "base/banned.h"

static op_step path_ask, path_found;               /* all of it must be there */
static op_step path_parent_ask, path_parent_found; /* all but the last */

/* ---- finding ---- */

struct resource *resource_begin(struct op *op, const struct resource_type *type, size_t size)
{
    const struct resource_path *path = &call_of(op)->request.path;

    assert(size >= sizeof(struct resource));
    if (!op_alloc_self(op, size))
        return NULL;
    struct resource *self = op_self(op, struct resource);
    self->type = type;
    self->path.depth = path->is_feed ? type->depth - 1 : type->depth;
    for (unsigned i = 0; i < self->path.depth; i++) {
        self->path.kinds[i] = i + 1 < type->depth ? type->parents[i] : type->kind;
        self->path.names[i] = path->ids[i];
    }
    return self;
}

enum op_next resource_find(struct op *op, op_step *next)
{
    op_self(op, struct resource)->next = next;
    return op_again(op, path_ask);
}

static enum op_next path_ask(struct op *op)
{
    struct resource *self = op_self(op, struct resource);

    return metadata_find(&call_of(op)->service->store, op, &self->path, path_found);
}

enum op_next resource_find_parent(struct op *op, op_step *next)
{
    op_self(op, struct resource)->next = next;
    return op_again(op, path_parent_ask);
}

static enum op_next path_parent_ask(struct op *op)
{
    struct resource *self = op_self(op, struct resource);

    return metadata_find(&call_of(op)->service->store, op, &self->path, path_parent_found);
}

static const char *kind_noun(enum metadata_kind kind)
{
    switch (kind) {
    case METADATA_DATABASE:
        return "database";
    case METADATA_CONTAINER:
        return "container";
    case METADATA_USER:
        return "user";
    default:
        return "resource";
    }
}

/* Needed so many of the path; says which one is the first that is missing. again: looks anew. */
static enum op_next check_found(struct op *op, unsigned needed, op_step *again)
{
    struct resource *self = op_self(op, struct resource);

    if (!metadata_found(op, &self->path, self->found, &self->found_count))
        return OP_FAILED;
    if (self->found_count >= needed)
        return op_again(op, self->next);
    if (catch_up_is_due(call_of(op)))
        return catch_up(op, again);
    unsigned missing = self->found_count;
    bool is_parent = missing + 1 < self->type->depth;
    call_of(op)->reply.charge_cru = CHARGE_METADATA_READ_CRU;
    return call_fail(op, 404, is_parent ? SUB_OWNER_RESOURCE_NOT_FOUND : SUB_NONE,
                     "there is no %s \"%.*s\"",
                     is_parent ? kind_noun(self->path.kinds[missing]) : self->type->noun,
                     FAULT_QUOTE(self->path.names[missing]));
}

static enum op_next path_found(struct op *op)
{
    return check_found(op, op_self(op, struct resource)->path.depth, path_ask);
}

static enum op_next path_parent_found(struct op *op)
{
    return check_found(op, op_self(op, struct resource)->type->depth - 1, path_parent_ask);
}

const struct metadata *resource_one(const struct resource *self)
{
    assert(self->found_count == self->type->depth);
    return &self->found[self->type->depth - 1];
}

const struct metadata *resource_parent(const struct resource *self)
{
    return self->type->depth > 1 ? &self->found[self->type->depth - 2] : NULL;
}

/* ---- printing ---- */

struct rid resource_rid(const struct resource *self, const struct metadata *one)
{
    enum rid_type type = self->type->rid_type;
    uint32_t database = (uint32_t) self->found[0].number;

    switch (type) {
    case RID_OFFER:
        return (struct rid){type, 0, 0, one->number & ~METADATA_OFFER_BIT};
    case RID_DATABASE:
        return (struct rid){type, (uint32_t) one->number, 0, 0};
    case RID_CONTAINER:
    case RID_USER:
        return (struct rid){type, database, (uint32_t) one->number, 0};
    case RID_CLIENT_ENCRYPTION_KEY:
        return (struct rid){type, database, 0, one->number};
    default:
        return (struct rid){type, database, (uint32_t) self->found[1].number, one->number};
    }
}

void resource_print(struct op *op, struct buf *buf, const struct metadata *one)
{
    const struct resource *self = op_self(op, struct resource);
    struct rid rid = resource_rid(self, one);
    struct etag etag;
    char text[ETAG_TEXT_BYTES];

    if (self->type->print != NULL)
        self->type->print(op, buf, one);
    else
        buf_append(buf, one->body.ptr, one->body.len - 1);
    memcpy(etag.uuid, one->etag, sizeof(etag.uuid));
    etag_format(&etag, text);
    buf_append_text(buf, ",\"_rid\":\"");
    rid_append(buf, &rid);
    buf_append_text(buf, "\",\"_self\":\"");
    rid_append_self(buf, &rid);
    buf_append_text(buf, "\",\"_etag\":");
    buf_append_json_string(buf, slice_from_text(text));
    buf_append_text(buf, ",\"_ts\":");
    buf_append_i64(buf, one->ts);
    buf_append_text(buf, self->type->feeds);
    buf_append_char(buf, '}');
}

/* Header values are ASCII; an id may hold anything else. */
static void append_header_text(struct buf *buf, struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char) text.ptr[i];
        if (c >= 0x20 && c < 0x7f)
            buf_append_char(buf, (char) c);
        else
            buf_printf(buf, "%%%02X", c);
    }
}

void resource_reply_owner(struct op *op)
{
    const struct resource *self = op_self(op, struct resource);
    struct call *call = call_of(op);
    struct buf path = {0};
    char rid_text[RID_TEXT_BYTES];

    if (self->type->depth < 2)
        return;
    for (unsigned i = 0; i + 1 < self->type->depth; i++) {
        buf_printf(&path, "%s%s/", i > 0 ? "/" : "", metadata_word(self->found[i].kind));
        append_header_text(&path, self->found[i].id);
    }
    struct rid rid = {.type = RID_DATABASE, .database = (uint32_t) self->found[0].number};
    if (self->type->depth == 3) {
        rid.type = self->found[1].kind == METADATA_USER ? RID_USER : RID_CONTAINER;
        rid.owner = (uint32_t) self->found[1].number;
    }
    rid_format(&rid, rid_text);
    if (!path.has_failed)
        reply_header(&call->reply, "x-ms-alt-content-path",
                     arena_copy(&op->arena, path.ptr, path.len));
    reply_header(&call->reply, "x-ms-content-path",
                 arena_copy(&op->arena, rid_text, strlen(rid_text)));
    buf_finish(&path);
}

/* ---- reading one ---- */

static enum op_next reply_found(struct op *op)
{
    return resource_reply_read(op);
}

enum op_next resource_read(struct op *op, const struct resource_type *type)
{
    if (resource_begin(op, type, sizeof(struct resource)) == NULL)
        return OP_FAILED;
    return resource_find(op, reply_found);
}

enum op_next resource_reply_read(struct op *op)
{
    struct resource *self = op_self(op, struct resource);
    struct call *call = call_of(op);
    const struct metadata *one = resource_one(self);
    struct etag_condition none =
        etag_condition_parse(call->request.headers.at[HEADER_IF_NONE_MATCH]);
    struct etag etag;
    struct buf body = {0};

    memcpy(etag.uuid, one->etag, sizeof(etag.uuid));
    call_reply_etag(call, one->etag);
    resource_reply_owner(op);
    call->reply.charge_cru = CHARGE_METADATA_READ_CRU;
    if (none.kind != ETAG_ABSENT && etag_condition_matches(&none, &etag))
        return call_reply_empty(op, 304);
    resource_print(op, &body, one);
    return call_reply_json(op, 200, &body);
}

/* ---- bodies ---- */

static void free_buf(void *object)
{
    buf_finish(object);
}

bool resource_defer_buf(struct op *op, struct buf *buf)
{
    return arena_defer(&op->arena, free_buf, buf) || fault_set_oom(&op->fault);
}

struct slice resource_keep(struct op *op, struct buf *buf)
{
    struct slice kept = {NULL, 0};

    if (!buf->has_failed) {
        kept.ptr = arena_copy(&op->arena, buf->ptr, buf->len);
        kept.len = kept.ptr != NULL ? buf->len : 0;
    }
    buf_finish(buf);
    if (kept.ptr == NULL)
        fault_set_oom(&op->fault);
    return kept;
}

bool resource_body(struct op *op, struct slice *object)
{
    struct slice body = call_of(op)->request.body;
    struct json_text text;

    if (body.len > RESOURCE_BYTES_MAX)
        return fault_set(&op->fault, 413, SUB_NONE, "a definition may have at most %u bytes",
                         RESOURCE_BYTES_MAX);
    if (!json_validate(body, JSON_DEPTH_MAX, &text, &op->fault))
        return false;
    if (json_type(text.root) != JSON_OBJECT)
        return fault_set(&op->fault, 400, SUB_NONE, "the body must be a JSON object");
    *object = text.root;
    return true;
}

static bool is_system(struct slice name, const char *const *except)
{
    static const char *const names[] = {"_colls",       "_users", "_docs",  "_sprocs",
                                        "_triggers",    "_udfs",  "_token", "_conflicts",
                                        "_permissions", "_scope"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (json_string_equals(name, slice_from_text(names[i])))
            return true;
    }
    for (; except != NULL && *except != NULL; except++) {
        if (json_string_equals(name, slice_from_text(*except)))
            return true;
    }
    return item_name_is_system(name);
}

void resource_append_members(struct buf *buf, struct slice object, const char *const *except)
{
    struct json_cursor cursor = json_iterate(object);
    struct slice name, value;

    while (json_next_member(&cursor, &name, &value)) {
        if (is_system(name, except))
            continue;
        buf_append_char(buf, ',');
        buf_append_slice(buf, name);
        buf_append_char(buf, ':');
        buf_append_slice(buf, value);
    }
}

bool resource_parse(struct op *op)
{
    static const char *const printed_here[] = {"id", NULL};
    struct resource *self = op_self(op, struct resource);
    struct buf text = {0};
    struct slice object;

    if (!resource_body(op, &object) || !ids_from_object(object, &op->arena, &self->id, &op->fault))
        return false;
    buf_append_text(&text, "{\"id\":");
    buf_append_json_string(&text, self->id);
    resource_append_members(&text, object, printed_here);
    buf_append_char(&text, '}');
    self->definition = resource_keep(op, &text);
    return !slice_is_absent(self->definition);
}
