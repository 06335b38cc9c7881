/*
 * The body's members are walked once: id and ttl are noted, system properties are left out. The
 * usual body has none, or has them at its end; either way what remains is copied in few pieces, or
 * not at all.
 */
#include "model/item.h"

#include <assert.h>

#include "base/banned.h"

/* Members of the object that are kept, and what stands between them. */
struct pieces {
    struct arena *arena;
    struct slice object;
    char *text; /* NULL until the first member is left out */
    size_t len;
    const char *end_before; /* end of the value before this member; NULL at the first */
    bool has_member;        /* one was kept */
};

static void pieces_put(struct pieces *pieces, const char *from, const char *to)
{
    memcpy(pieces->text + pieces->len, from, (size_t) (to - from));
    pieces->len += (size_t) (to - from);
}

static void pieces_keep(struct pieces *pieces, struct slice name, struct slice value)
{
    const char *end = value.ptr + value.len;

    /* The first kept member comes without the comma before it. */
    if (pieces->text != NULL)
        pieces_put(pieces, pieces->has_member ? pieces->end_before : name.ptr, end);
    pieces->has_member = true;
    pieces->end_before = end;
}

/* Leave a member out; at the first one, everything before it is copied. */
static bool pieces_drop(struct pieces *pieces, struct slice name, struct slice value)
{
    if (pieces->text == NULL) {
        pieces->text = arena_alloc(pieces->arena, pieces->object.len);
        if (pieces->text == NULL)
            return false;
        pieces_put(pieces, pieces->object.ptr,
                   pieces->end_before != NULL ? pieces->end_before : name.ptr);
    }
    pieces->end_before = value.ptr + value.len;
    return true;
}

static struct slice pieces_join(struct pieces *pieces)
{
    if (pieces->text == NULL)
        return pieces->object;
    pieces_put(pieces, pieces->end_before, pieces->object.ptr + pieces->object.len);
    return slice_make(pieces->text, pieces->len);
}

bool item_name_is_system(struct slice name)
{
    static const char *const names[] = {"_rid", "_self", "_etag", "_attachments", "_ts"};

    /* An escape may spell an underscore. */
    if (name.len < 5 || (name.ptr[1] != '_' && name.ptr[1] != '\\'))
        return false;
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (json_string_equals(name, slice_from_text(names[i])))
            return true;
    return false;
}

bool item_id_check(struct slice id, struct fault *fault)
{
    if (id.len == 0)
        return fault_set(fault, 400, SUB_NONE, "the id must not be empty");
    if (id.len > ITEM_ID_BYTES_MAX)
        return fault_set(fault, 400, SUB_NONE, "the id has %zu bytes, more than %d", id.len,
                         ITEM_ID_BYTES_MAX);
    for (size_t i = 0; i < id.len; i++)
        if (id.ptr[i] == '/' || id.ptr[i] == '\\' || id.ptr[i] == '#')
            return fault_set(fault, 400, SUB_NONE,
                             "the id \"%.*s\" contains \"%c\"; none of / \\ # is allowed",
                             FAULT_QUOTE(id), id.ptr[i]);
    if (id.ptr[id.len - 1] == ' ')
        return fault_set(fault, 400, SUB_NONE, "the id \"%.*s\" ends with a space",
                         FAULT_QUOTE(id));
    return true;
}

static bool id_take(struct item *item, struct slice value, struct arena *arena, struct fault *fault)
{
    if (json_type(value) != JSON_STRING)
        return fault_set(fault, 400, SUB_NONE, "the property 'id' must be a string");
    return json_string_decode(value, arena, &item->id, fault) && item_id_check(item->id, fault);
}

static bool ttl_take(struct item *item, struct slice value, struct fault *fault)
{
    int64_t ttl_s;

    if (!json_integer(value, -1, INT32_MAX, &ttl_s) || ttl_s == 0)
        return fault_set(fault, 400, SUB_NONE,
                         "the property 'ttl' is \"%.*s\"; it must be -1 or an integer from 1 to %d",
                         FAULT_QUOTE(value), INT32_MAX);
    item->has_ttl = true;
    item->ttl_s = (int32_t) ttl_s;
    return true;
}

static bool members_take(struct item *item, struct arena *arena, struct fault *fault)
{
    struct pieces pieces = {.arena = arena, .object = item->parsed.root};
    struct json_cursor cursor = json_iterate(item->parsed.root);
    struct slice name, value;

    while (json_next_member(&cursor, &name, &value)) {
        if (item_name_is_system(name)) {
            if (!pieces_drop(&pieces, name, value))
                return fault_set_oom(fault);
            continue;
        }
        if (json_string_equals(name, SLICE_LITERAL("id")) && !id_take(item, value, arena, fault))
            return false;
        if (json_string_equals(name, SLICE_LITERAL("ttl")) && !ttl_take(item, value, fault))
            return false;
        pieces_keep(&pieces, name, value);
    }
    item->stored = pieces_join(&pieces);
    return true;
}

bool item_parse(struct slice body, struct arena *arena, struct item *item, struct fault *fault)
{
    *item = (struct item){0};
    if (body.len > ITEM_BYTES_MAX)
        return fault_set(fault, 413, SUB_NONE, "the item has %zu bytes, more than %d", body.len,
                         ITEM_BYTES_MAX);
    if (!json_validate(body, JSON_DEPTH_MAX, &item->parsed, fault))
        return false;
    if (json_type(item->parsed.root) != JSON_OBJECT)
        return fault_set(fault, 400, SUB_NONE, "the item must be a JSON object");
    if (!members_take(item, arena, fault))
        return false;
    if (slice_is_absent(item->id))
        return fault_set(fault, 400, SUB_NONE,
                         "the input content is invalid because the required properties - 'id; ' - "
                         "are missing");
    return true;
}

bool item_doc(const struct item *item, struct arena *arena, struct slice *doc, struct fault *fault)
{
    const struct json_text stored = {.root = item->stored,
                                     .numbers_are_canonical = item->parsed.numbers_are_canonical};

    return json_normalize(&stored, arena, doc, fault);
}

/* End of the last value, or of the opening brace: what follows is space and the closing brace. */
static size_t members_end(struct slice object)
{
    size_t at = object.len - 1;

    while (object.ptr[at - 1] == ' ' || object.ptr[at - 1] == '\n' || object.ptr[at - 1] == '\r' ||
           object.ptr[at - 1] == '\t')
        at--;
    return at;
}

void item_print(struct buf *out, struct slice stored, const struct item_system *system)
{
    assert(stored.len >= 2 && *stored.ptr == '{' && stored.ptr[stored.len - 1] == '}');
    size_t end = members_end(stored);
    /* Room for all at once: names and numbers take about 120 bytes. */
    buf_reserve(out, stored.len + system->rid.len + system->self.len + system->etag.len + 160);
    buf_append(out, stored.ptr, end);
    buf_append_text(out, end == 1 ? "\"_rid\":\"" : ",\"_rid\":\"");
    buf_append_slice(out, system->rid);
    buf_append_text(out, "\",\"_self\":\"");
    buf_append_slice(out, system->self);
    buf_append_text(out, "\",\"_etag\":\"\\\"");
    buf_append_slice(out, system->etag);
    buf_append_text(out, "\\\"\",\"_attachments\":\"attachments/\",\"_ts\":");
    buf_append_i64(out, system->ts_s);
    if (system->has_lsn) {
        buf_append_text(out, ",\"_lsn\":");
        buf_append_u64(out, system->lsn);
    }
    /* Space before the brace stays behind, so that a client which sends this text back stores the
     * same bytes. */
    buf_append(out, stored.ptr + end, stored.len - end);
}

static bool add_text(struct arena *arena, cJSON *item, const char *name, struct slice text)
{
    cJSON *member = json_tree_string(arena, text);

    if (member != NULL)
        json_tree_add(item, name, member);
    return member != NULL;
}

static bool add_number(struct arena *arena, cJSON *item, const char *name, double number)
{
    cJSON *member = json_tree_number(arena, number);

    if (member != NULL)
        json_tree_add(item, name, member);
    return member != NULL;
}

cJSON *item_tree(struct arena *arena, struct slice stored, const struct item_system *system)
{
    cJSON *item = json_tree(arena, stored);
    char *etag = arena_printf(arena, "\"%.*s\"", (int) system->etag.len, system->etag.ptr);

    bool is_complete = item != NULL && etag != NULL && add_text(arena, item, "_rid", system->rid) &&
                       add_text(arena, item, "_self", system->self) &&
                       add_text(arena, item, "_etag", slice_from_text(etag)) &&
                       add_text(arena, item, "_attachments", SLICE_LITERAL("attachments/")) &&
                       add_number(arena, item, "_ts", (double) system->ts_s) &&
                       (!system->has_lsn || add_number(arena, item, "_lsn", (double) system->lsn));
    return is_complete ? item : NULL;
}
