/*
 * Permissions, and the resource tokens that come with them.
 *
 * What a permission opens is resolved when it is made: numbers of the database and the container,
 * and the partition key as the column pk has it. They are stored in front of the definition as
 * member
 * "_scope", which clients never see, so that a token is made without looking anything up, and a
 * container that is made anew under the old name is not opened by it.
 *
 * A user has one permission per resource: a definition of kind METADATA_GRANT, named after a digest
 * of the scope, is written with the permission and collides with a second one.
 */
#include "base/clock.h"
#include "base/hex.h"
#include "base/keys.h"
#include "model/authtoken.h"
#include "service/handlers.h"
#include "service/resource.h"

#include <assert.h>
#include <stdio.h>

#include "base/banned.h"

#define GRANT_ID_BYTES (2 * SHA256_BYTES)

struct permission_call {
    struct resource resource;
    struct slice definition; /* without scope */
    struct slice link, key;  /* "resource" decoded; "resourcePartitionKey" as JSON, or absent */
    struct metadata_path target;
    struct slice child_word, child_id; /* of an item: not looked up, its partition is not known */
    struct slice scope;                /* JSON text */
};

static op_step prepare;      /* look up the resource */
static op_step target_found; /* note what it is, write */

/* ---- body ---- */

static bool member_string(struct op *op, struct slice object, const char *name, struct slice *text)
{
    struct slice value;

    if (!json_find(object, slice_from_text(name), &value) || json_type(value) != JSON_STRING)
        return fault_set(&op->fault, 400, SUB_NONE, "a permission needs a string \"%s\"", name);
    return json_string_decode(value, &op->arena, text, &op->fault);
}

static const struct {
    const char *word;
    enum metadata_kind kind;
    enum rid_type type;
} children[] = {
    {"docs", METADATA_NONE, RID_ITEM},
    {"sprocs", METADATA_SPROC, RID_SPROC},
    {"triggers", METADATA_TRIGGER, RID_TRIGGER},
    {"udfs", METADATA_UDF, RID_UDF},
};

static bool fail_link(struct op *op, struct slice link)
{
    return fault_set(
        &op->fault, 400, SUB_NONE,
        "\"resource\" must be the link of a container or of an item, stored procedure, "
        "trigger or user-defined function in it, not \"%.*s\"",
        FAULT_QUOTE(link));
}

static void take_step(struct metadata_path *path, enum metadata_kind kind, struct slice name)
{
    path->kinds[path->depth] = kind;
    path->names[path->depth++] = name;
}

static bool take_child(struct permission_call *self, struct slice word, struct slice id)
{
    for (size_t i = 0; i < ARRAY_LEN(children); i++) {
        if (!slice_equals_nocase(word, children[i].word))
            continue;
        self->child_word = slice_from_text(children[i].word);
        self->child_id = id;
        if (children[i].kind != METADATA_NONE)
            take_step(&self->target, children[i].kind, id);
        return true;
    }
    return false;
}

/* dbs/d/colls/c, maybe with a child behind it; slashes around it do not count. */
static bool parse_link(struct op *op)
{
    struct permission_call *self = op_self(op, struct permission_call);
    struct slice rest = self->link, parts[6];
    unsigned count = 0;

    while (rest.len > 0 && rest.ptr[0] == '/')
        rest = slice_make(rest.ptr + 1, rest.len - 1);
    while (rest.len > 0 && rest.ptr[rest.len - 1] == '/')
        rest.len--;
    while (!slice_is_absent(rest) && count < ARRAY_LEN(parts)) {
        parts[count] = slice_cut(rest, '/', &rest);
        if (slice_is_empty(parts[count++]))
            return fail_link(op, self->link);
    }
    if (!slice_is_absent(rest) || (count != 4 && count != 6) ||
        !slice_equals_nocase(parts[0], "dbs") || !slice_equals_nocase(parts[2], "colls"))
        return fail_link(op, self->link);
    self->target = (struct metadata_path){0};
    self->child_word = self->child_id = SLICE_LITERAL("");
    take_step(&self->target, METADATA_DATABASE, parts[1]);
    take_step(&self->target, METADATA_CONTAINER, parts[3]);
    return count == 4 || take_child(self, parts[4], parts[5]) || fail_link(op, self->link);
}

static bool parse(struct op *op)
{
    struct permission_call *self = op_self(op, struct permission_call);
    struct slice mode;

    if (!resource_parse(op))
        return false;
    self->definition = self->resource.definition;
    if (!member_string(op, self->definition, "permissionMode", &mode) ||
        !member_string(op, self->definition, "resource", &self->link) || !parse_link(op))
        return false;
    if (!slice_equals_nocase(mode, "read") && !slice_equals_nocase(mode, "all"))
        return fault_set(&op->fault, 400, SUB_NONE,
                         "\"permissionMode\" must be Read or All, not \"%.*s\"", FAULT_QUOTE(mode));
    if (!json_find(self->definition, SLICE_LITERAL("resourcePartitionKey"), &self->key) ||
        json_type(self->key) == JSON_NULL)
        self->key = (struct slice){NULL, 0};
    return true;
}

/* ---- scope ---- */

static void append_hex(struct buf *buf, struct slice bytes)
{
    for (size_t i = 0; i < bytes.len; i++)
        buf_printf(buf, "%02x", (unsigned char) bytes.ptr[i]);
}

static bool append_key(struct op *op, struct buf *buf, const struct metadata *container)
{
    struct permission_call *self = op_self(op, struct permission_call);
    struct container_settings settings;
    struct buf bytes = {0};
    struct pkey pkey;

    if (slice_is_absent(self->key))
        return true;
    if (!container_load(&settings, container->body, &op->arena, &op->fault) ||
        !pkey_from_header(&pkey, &settings.partition_key, self->key, PKEY_FULL, &op->arena,
                          &op->fault))
        return false;
    pkey_encode(&bytes, &pkey, &settings.partition_key);
    buf_append_text(buf, ",\"pk\":\"");
    append_hex(buf, buf_slice(&bytes));
    buf_append_char(buf, '"');
    buf->has_failed |= bytes.has_failed;
    buf_finish(&bytes);
    return true;
}

static bool make_scope(struct op *op, const struct metadata *found)
{
    struct permission_call *self = op_self(op, struct permission_call);
    struct buf scope = {0};

    buf_append_text(&scope, "{\"db\":");
    buf_append_u64(&scope, found[0].number);
    buf_append_text(&scope, ",\"coll\":");
    buf_append_u64(&scope, found[1].number);
    buf_append_text(&scope, ",\"type\":\"");
    buf_append_slice(&scope, self->child_word);
    buf_append_text(&scope, "\",\"child\":");
    buf_append_json_string(&scope, self->child_id);
    if (!append_key(op, &scope, &found[1])) {
        buf_finish(&scope);
        return false;
    }
    buf_append_char(&scope, '}');
    self->scope = resource_keep(op, &scope);
    return !slice_is_absent(self->scope);
}

static enum op_next prepare(struct op *op)
{
    struct permission_call *self = op_self(op, struct permission_call);

    return metadata_find(&call_of(op)->service->store, op, &self->target, target_found);
}

static enum op_next target_found(struct op *op)
{
    struct permission_call *self = op_self(op, struct permission_call);
    struct metadata found[METADATA_DEPTH_MAX];
    struct buf text = {0};
    unsigned count;

    if (!metadata_found(op, &self->target, found, &count))
        return OP_FAILED;
    if (count < self->target.depth)
        return call_fail(op, 404, SUB_NONE, "the resource \"%.*s\" does not exist",
                         FAULT_QUOTE(self->link));
    if (count == METADATA_DEPTH_MAX)
        self->child_id = found[METADATA_DEPTH_MAX - 1].id;
    if (!make_scope(op, found))
        return OP_FAILED;
    buf_append_text(&text, "{\"_scope\":");
    buf_append_slice(&text, self->scope);
    buf_append_char(&text, ',');
    buf_append(&text, self->definition.ptr + 1, self->definition.len - 1);
    self->resource.definition = resource_keep(op, &text);
    return slice_is_absent(self->resource.definition) ? OP_FAILED : resource_write(op);
}

static struct slice stored_scope(struct slice body)
{
    struct slice scope = {NULL, 0};

    return json_find(body, SLICE_LITERAL("_scope"), &scope) ? scope : (struct slice){NULL, 0};
}

/* ---- one per resource ---- */

static struct slice grant_id(struct op *op, struct slice scope)
{
    uint8_t digest[SHA256_BYTES];
    char *text = arena_alloc(&op->arena, GRANT_ID_BYTES + 1);

    if (text == NULL) {
        fault_set_oom(&op->fault);
        return (struct slice){NULL, 0};
    }
    crypto_sha256(scope, digest);
    for (size_t i = 0; i < sizeof(digest); i++)
        snprintf(text + 2 * i, 3, "%02x", digest[i]);
    return slice_make(text, GRANT_ID_BYTES);
}

static bool add_grant(struct op *op, enum write_kind kind, struct slice scope)
{
    struct resource *self = op_self(op, struct resource);
    struct slice id = grant_id(op, scope);

    if (slice_is_absent(id))
        return false;
    struct write_operation *operation =
        resource_add(op, kind, METADATA_GRANT, resource_parent(self)->number, id);
    if (operation != NULL && kind == WRITE_CREATE)
        operation->body = SLICE_LITERAL("{}");
    return operation != NULL;
}

static bool add_grants(struct op *op)
{
    struct resource *self = op_self(op, struct resource);
    struct slice old = {NULL, 0}, new = {NULL, 0};

    if (self->change != RESOURCE_CREATE)
        old = stored_scope(resource_one(self)->body);
    if (self->change != RESOURCE_DELETE)
        new = op_self(op, struct permission_call)->scope;
    if (slice_equals(old, new))
        return true;
    return (slice_is_absent(old) || add_grant(op, WRITE_DELETE, old)) &&
           (slice_is_absent(new) || add_grant(op, WRITE_CREATE, new));
}

/* ---- tokens ---- */

static enum rid_type child_type(struct slice word)
{
    for (size_t i = 0; i < ARRAY_LEN(children); i++) {
        if (json_string_equals(word, slice_from_text(children[i].word)))
            return children[i].type;
    }
    return RID_ITEM;
}

/* What was stored by make_scope; text that is not so is a broken promise. */
static bool read_scope(struct op *op, struct slice body, struct authtoken_scope *scope)
{
    struct slice text = stored_scope(body), mode, value;
    int64_t database, container;

    bool is_whole = !slice_is_absent(text) && json_find(text, SLICE_LITERAL("db"), &value) &&
                    json_integer(value, 1, UINT32_MAX, &database) &&
                    json_find(text, SLICE_LITERAL("coll"), &value) &&
                    json_integer(value, 1, UINT32_MAX, &container) &&
                    json_find(body, SLICE_LITERAL("permissionMode"), &mode) &&
                    json_find(text, SLICE_LITERAL("type"), &value);
    assert(is_whole);
    scope->database = (uint32_t) database;
    scope->container = (uint32_t) container;
    scope->is_write = slice_equals_nocase(mode, "\"all\"");
    scope->child = child_type(value);
    if (json_find(text, SLICE_LITERAL("child"), &value) && value.len > 2 &&
        !json_string_decode(value, &op->arena, &scope->child_id, &op->fault))
        return false;
    if (!json_find(text, SLICE_LITERAL("pk"), &value))
        return true;
    size_t len = (value.len - 2) / 2;
    char *bytes = arena_alloc(&op->arena, len + 1);
    for (size_t i = 0; bytes != NULL && i < len; i++)
        bytes[i] = (char) (hex_value(value.ptr[1 + 2 * i]) << 4 | hex_value(value.ptr[2 + 2 * i]));
    scope->pk = slice_make(bytes, len);
    return bytes != NULL || fault_set_oom(&op->fault);
}

static void append_token(struct op *op, struct buf *buf, const struct metadata *one)
{
    const struct resource *self = op_self(op, struct resource);
    const struct call *call = call_of(op);
    const struct key *primary = &keys_current()->key[KEY_PRIMARY];
    struct authtoken_keys keys = {.primary =
                                      slice_make((const char *) primary->bytes, primary->len)};
    struct authtoken_grant grant = {.permission = resource_rid(self, one)};
    struct fault unused;
    struct buf token = {0};
    int64_t lifetime_s;

    if (!authtoken_lifetime_parse(&lifetime_s, call->request.headers.at[HEADER_EXPIRY_SECONDS],
                                  &unused))
        lifetime_s = AUTHTOKEN_LIFETIME_DEFAULT_S; /* refused before: check_lifetime */
    grant.expires_s = clock_unix_s() + lifetime_s;
    if (!read_scope(op, one->body, &grant.scope)) {
        buf->has_failed = true;
        return;
    }
    authtoken_grant_format(&token, &grant, &keys);
    buf_append_text(buf, ",\"_token\":");
    buf_append_json_string(buf, buf_slice(&token));
    buf->has_failed |= token.has_failed;
    buf_finish(&token);
}

static void print(struct op *op, struct buf *buf, const struct metadata *one)
{
    struct slice scope = stored_scope(one->body);

    assert(!slice_is_absent(scope));
    const char *rest = memchr(scope.ptr + scope.len, ',',
                              (size_t) (one->body.ptr + one->body.len - scope.ptr) - scope.len);
    assert(rest != NULL);
    buf_append_char(buf, '{');
    buf_append(buf, rest + 1, (size_t) (one->body.ptr + one->body.len - rest) - 2);
    append_token(op, buf, one);
}

static const struct resource_type type = {
    .kind = METADATA_PERMISSION,
    .rid_type = RID_PERMISSION,
    .noun = "permission",
    .feed_name = "Permissions",
    .feeds = "",
    .depth = 3,
    .parents = {METADATA_DATABASE, METADATA_USER},
    .is_upsertable = true,
    .may_be_renamed = true,
    .parse = parse,
    .prepare = prepare,
    .add = add_grants,
    .print = print,
};

/* ---- handlers ---- */

/* How long tokens live is asked for with every request that gives some out. */
static bool check_lifetime(struct op *op)
{
    int64_t lifetime_s;

    return authtoken_lifetime_parse(
        &lifetime_s, call_of(op)->request.headers.at[HEADER_EXPIRY_SECONDS], &op->fault);
}

enum op_next permissions_create(struct op *op)
{
    if (!check_lifetime(op))
        return OP_FAILED;
    if (resource_is_query(op))
        return resource_query(op, &type);
    if (resource_begin(op, &type, sizeof(struct permission_call)) == NULL)
        return OP_FAILED;
    return resource_create_begun(op);
}

enum op_next permissions_list(struct op *op)
{
    return check_lifetime(op) ? resource_list(op, &type) : OP_FAILED;
}

enum op_next permissions_read(struct op *op)
{
    return check_lifetime(op) ? resource_read(op, &type) : OP_FAILED;
}

enum op_next permissions_replace(struct op *op)
{
    if (!check_lifetime(op) || resource_begin(op, &type, sizeof(struct permission_call)) == NULL)
        return OP_FAILED;
    return resource_replace_begun(op);
}

enum op_next permissions_delete(struct op *op)
{
    return resource_delete(op, &type);
}
