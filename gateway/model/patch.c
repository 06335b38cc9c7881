/*
 * Three parts: reading the operations, the places that must not be patched, and editing. An edit
 * finds the spans of its parent and target in the current text and replaces one stretch of bytes by
 * another; spans are found anew for every edit, since each one moves what stands behind it.
 */
#include "model/patch.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "base/banned.h"

/* ---- Reading ---- */

/* Most segments of a pointer: deeper ones could not exist in an item. */
#define NAMES_MAX JSON_DEPTH_MAX

static const char *const kind_names[] = {
    [PATCH_ADD] = "add",       [PATCH_SET] = "set",   [PATCH_REPLACE] = "replace",
    [PATCH_REMOVE] = "remove", [PATCH_INCR] = "incr", [PATCH_MOVE] = "move",
};

static bool kind_parse(struct slice value, enum patch_kind *kind, struct fault *fault)
{
    if (json_type(value) == JSON_STRING)
        for (size_t i = 0; i < ARRAY_LEN(kind_names); i++)
            if (json_string_equals(value, slice_from_text(kind_names[i]))) {
                *kind = (enum patch_kind) i;
                return true;
            }
    return fault_set(fault, 400, SUB_NONE,
                     "the patch operation %.*s is none of add, set, replace, remove, incr, move",
                     FAULT_QUOTE(value));
}

/* One segment with ~0 and ~1 decoded; the text is the segment itself when it has none. */
static bool segment_decode(struct slice segment, struct arena *arena, struct slice *name,
                           struct fault *fault)
{
    *name = segment;
    if (segment.len == 0 || memchr(segment.ptr, '~', segment.len) == NULL)
        return true;
    char *text = arena_alloc(arena, segment.len);
    if (text == NULL)
        return fault_set_oom(fault);
    size_t len = 0;
    for (size_t i = 0; i < segment.len; i++) {
        char c = segment.ptr[i];
        if (c == '~') {
            i++;
            if (i == segment.len || (segment.ptr[i] != '0' && segment.ptr[i] != '1'))
                return fault_set(fault, 400, SUB_NONE,
                                 "the path segment \"%.*s\" has \"~\" without 0 or 1 behind it",
                                 FAULT_QUOTE(segment));
            c = segment.ptr[i] == '0' ? '~' : '/';
        }
        text[len++] = c;
    }
    *name = slice_make(text, len);
    return true;
}

static bool path_parse(struct slice value, struct arena *arena, struct patch_path *path,
                       struct fault *fault)
{
    if (json_type(value) != JSON_STRING)
        return fault_set(fault, 400, SUB_NONE, "the path of a patch operation must be a string");
    if (!json_string_decode(value, arena, &path->text, fault))
        return false;
    if (path->text.len == 0 || path->text.ptr[0] != '/')
        return fault_set(fault, 400, SUB_NONE, "the path \"%.*s\" does not begin with \"/\"",
                         FAULT_QUOTE(path->text));
    size_t count = 0;
    for (size_t i = 0; i < path->text.len; i++)
        count += path->text.ptr[i] == '/';
    if (count > NAMES_MAX)
        return fault_set(fault, 400, SUB_NONE, "the path \"%.*s\" has more than %d segments",
                         FAULT_QUOTE(path->text), NAMES_MAX);
    path->names = arena_alloc(arena, count * sizeof(*path->names));
    if (path->names == NULL)
        return fault_set_oom(fault);
    struct slice rest = slice_make(path->text.ptr + 1, path->text.len - 1);
    for (path->names_count = 0; path->names_count < count; path->names_count++) {
        struct slice segment = slice_cut(rest, '/', &rest);
        if (!segment_decode(segment, arena, &path->names[path->names_count], fault))
            return false;
    }
    return true;
}

static bool path_starts_with(const struct patch_path *path, const struct slice *names, size_t count)
{
    if (path->names_count < count)
        return false;
    for (size_t i = 0; i < count; i++)
        if (!slice_equals(path->names[i], names[i]))
            return false;
    return true;
}

/* What an operation must have, once its members are read. */
static bool op_check(struct patch_op *op, bool has_kind, struct fault *fault)
{
    bool needs_value = op->kind != PATCH_REMOVE && op->kind != PATCH_MOVE;

    if (!has_kind)
        return fault_set(fault, 400, SUB_NONE, "a patch operation has no \"op\"");
    if (op->path.names == NULL)
        return fault_set(fault, 400, SUB_NONE, "a patch operation has no \"path\"");
    if (needs_value && slice_is_absent(op->value))
        return fault_set(fault, 400, SUB_NONE,
                         "the patch operation \"%s\" on \"%.*s\" has no \"value\"",
                         kind_names[op->kind], FAULT_QUOTE(op->path.text));
    if (op->kind == PATCH_INCR && json_type(op->value) != JSON_NUMBER)
        return fault_set(fault, 400, SUB_NONE, "the value to increment \"%.*s\" by is no number",
                         FAULT_QUOTE(op->path.text));
    if (op->kind != PATCH_MOVE)
        return true;
    if (op->from.names == NULL)
        return fault_set(fault, 400, SUB_NONE, "the patch operation \"move\" has no \"from\"");
    if (op->path.names_count > op->from.names_count &&
        path_starts_with(&op->path, op->from.names, op->from.names_count))
        return fault_set(fault, 400, SUB_NONE, "\"%.*s\" cannot be moved into itself",
                         FAULT_QUOTE(op->from.text));
    return true;
}

static bool op_parse(struct slice value, struct arena *arena, struct patch_op *op,
                     struct fault *fault)
{
    struct slice name, member;
    bool has_kind = false, is_right = true;

    *op = (struct patch_op){0};
    if (json_type(value) != JSON_OBJECT)
        return fault_set(fault, 400, SUB_NONE, "a patch operation must be a JSON object");
    struct json_cursor cursor = json_iterate(value);
    while (is_right && json_next_member(&cursor, &name, &member)) {
        if (json_string_equals(name, SLICE_LITERAL("op"))) {
            is_right = kind_parse(member, &op->kind, fault);
            has_kind = true;
        } else if (json_string_equals(name, SLICE_LITERAL("path"))) {
            is_right = path_parse(member, arena, &op->path, fault);
        } else if (json_string_equals(name, SLICE_LITERAL("value"))) {
            op->value = member;
        } else if (json_string_equals(name, SLICE_LITERAL("from"))) {
            /* Some writers put "from": null beside other operations. */
            if (json_type(member) != JSON_NULL)
                is_right = path_parse(member, arena, &op->from, fault);
        } else {
            return fault_set(fault, 400, SUB_NONE, "a patch operation has the unknown member %.*s",
                             FAULT_QUOTE(name));
        }
    }
    return is_right && op_check(op, has_kind, fault);
}

static bool ops_parse(struct slice value, struct arena *arena, struct patch *patch,
                      struct fault *fault)
{
    struct slice element;

    if (json_type(value) != JSON_ARRAY)
        return fault_set(fault, 400, SUB_NONE, "the operations of a patch must be an array");
    struct json_cursor cursor = json_iterate(value);
    while (json_next_element(&cursor, &element)) {
        if (patch->ops_count == PATCH_OPS_MAX)
            return fault_set(fault, 400, SUB_NONE, "the patch has more than %d operations",
                             PATCH_OPS_MAX);
        if (!op_parse(element, arena, &patch->ops[patch->ops_count], fault))
            return false;
        patch->ops_count++;
    }
    return true;
}

static bool condition_parse(struct slice value, struct arena *arena, struct patch *patch,
                            struct fault *fault)
{
    if (json_type(value) == JSON_NULL)
        return true;
    if (json_type(value) != JSON_STRING)
        return fault_set(fault, 400, SUB_NONE, "the condition of a patch must be a string");
    return json_string_decode(value, arena, &patch->condition, fault);
}

static bool envelope_parse(struct slice value, struct arena *arena, struct patch *patch,
                           struct fault *fault)
{
    struct json_cursor cursor = json_iterate(value);
    struct slice name, member;
    bool is_right = true;

    while (is_right && json_next_member(&cursor, &name, &member)) {
        if (json_string_equals(name, SLICE_LITERAL("operations")))
            is_right = ops_parse(member, arena, patch, fault);
        else if (json_string_equals(name, SLICE_LITERAL("condition")))
            is_right = condition_parse(member, arena, patch, fault);
        else
            /* A misspelled condition must not patch without one. */
            is_right = fault_set(fault, 400, SUB_NONE, "the patch has the unknown member %.*s",
                                 FAULT_QUOTE(name));
    }
    return is_right;
}

bool patch_from_value(struct slice value, struct arena *arena, struct patch *patch,
                      struct fault *fault)
{
    bool is_right;

    *patch = (struct patch){0};
    if (json_type(value) == JSON_ARRAY)
        is_right = ops_parse(value, arena, patch, fault);
    else if (json_type(value) == JSON_OBJECT)
        is_right = envelope_parse(value, arena, patch, fault);
    else
        is_right = fault_set(fault, 400, SUB_NONE, "the patch must be an array or an object");
    if (is_right && patch->ops_count == 0)
        return fault_set(fault, 400, SUB_NONE, "the patch has no operations");
    return is_right;
}

bool patch_parse(struct slice body, struct arena *arena, struct patch *patch, struct fault *fault)
{
    struct json_text text;

    if (body.len > ITEM_BYTES_MAX)
        return fault_set(fault, 413, SUB_NONE, "the patch has %zu bytes, more than %d", body.len,
                         ITEM_BYTES_MAX);
    return json_validate(body, JSON_DEPTH_MAX_ENVELOPE, &text, fault) &&
           patch_from_value(text.root, arena, patch, fault);
}

/* ---- What must not be patched ---- */

/* Does one of two paths lead to, into or through the other? */
static bool paths_touch(const struct patch_path *path, const struct slice *names, size_t count)
{
    return path_starts_with(path, names, count < path->names_count ? count : path->names_count);
}

static bool path_check(const struct patch_path *path, const struct pkey_definition *definition,
                       struct fault *fault)
{
    static const char *const fixed[] = {"id", "_rid", "_self", "_etag", "_attachments", "_ts"};

    for (size_t i = 0; i < ARRAY_LEN(fixed); i++)
        if (slice_equals_text(path->names[0], fixed[i]))
            return fault_set(fault, 400, SUB_NONE, "the property \"%.*s\" cannot be patched",
                             FAULT_QUOTE(path->text));
    for (size_t i = 0; i < definition->path_count; i++)
        if (paths_touch(path, definition->paths[i].names, definition->paths[i].name_count))
            return fault_set(fault, 400, SUB_NONE,
                             "the path \"%.*s\" holds the partition key and cannot be patched",
                             FAULT_QUOTE(path->text));
    return true;
}

bool patch_check(const struct patch *patch, const struct pkey_definition *definition,
                 struct fault *fault)
{
    for (size_t i = 0; i < patch->ops_count; i++) {
        const struct patch_op *op = &patch->ops[i];
        if (!path_check(&op->path, definition, fault) ||
            (op->kind == PATCH_MOVE && !path_check(&op->from, definition, fault)))
            return false;
    }
    return true;
}

/* ---- Editing ---- */

/* The item's text while it is edited; from malloc, so that ten edits do not leave ten copies in the
 * arena. */
struct edit {
    struct buf text;
    const struct patch_op *op;
    size_t op_index;
    struct fault *fault;
};

/* Where a path leads, as offsets into the text. The target is a member or an element, or the place
 * for one. */
struct place {
    bool is_array;
    bool exists;
    size_t container_at; /* behind the opening bracket */
    size_t target_at;    /* first byte: the name's quote, or the element */
    size_t value_at;
    size_t value_end;
    size_t before_end; /* end of the value before the target; of the last one when it is to be
                          appended */
    size_t next_at;    /* first byte of the next member or element */
    bool has_before;
    bool has_next;
};

static bool fail(const struct edit *edit, const struct patch_path *path, const char *what)
{
    return fault_set(edit->fault, 400, SUB_NONE, "patch operation %zu (\"%s\"): %s at \"%.*s\"",
                     edit->op_index, kind_names[edit->op->kind], what, FAULT_QUOTE(path->text));
}

/* "0", or digits without leading zero; false for all else, and for what no item can hold. */
static bool index_parse(struct slice name, size_t *index)
{
    unsigned long long value;

    if (name.len == 0 || (name.len > 1 && name.ptr[0] == '0') ||
        !slice_to_u64(name, ITEM_BYTES_MAX, &value))
        return false;
    *index = (size_t) value;
    return true;
}

/* The container that holds the last segment's target, not measured. */
static bool parent_find(const struct edit *edit, const struct patch_path *path,
                        struct slice *parent)
{
    size_t index;

    *parent = buf_slice(&edit->text);
    for (size_t i = 0; i + 1 < path->names_count; i++) {
        bool is_found = false;
        if (json_type(*parent) == JSON_OBJECT)
            is_found = json_enter_member(*parent, path->names[i], parent);
        else if (json_type(*parent) == JSON_ARRAY && index_parse(path->names[i], &index))
            is_found = json_enter_element(*parent, index, parent);
        if (!is_found)
            return fail(edit, path, "no parent");
    }
    if (json_type(*parent) != JSON_OBJECT && json_type(*parent) != JSON_ARRAY)
        return fail(edit, path, "the parent is neither an object nor an array");
    return true;
}

/* Note the target's spans, or pass the value as the one before it. */
static void place_take(struct place *place, const char *text, const char *target,
                       struct slice value, const struct json_cursor *cursor)
{
    place->exists = true;
    place->target_at = (size_t) (target - text);
    place->value_at = (size_t) (value.ptr - text);
    place->value_end = place->value_at + value.len;
    place->next_at = (size_t) (cursor->at - text);
    place->has_next = *cursor->at != '}' && *cursor->at != ']';
}

static void place_pass(struct place *place, const char *text, struct slice value)
{
    place->has_before = true;
    place->before_end = (size_t) (value.ptr - text) + value.len;
}

static void member_place(struct place *place, const char *text, struct slice object,
                         struct slice wanted)
{
    struct json_cursor cursor = json_iterate(object);
    struct slice name, value;

    while (json_next_member(&cursor, &name, &value)) {
        if (json_string_equals(name, wanted)) {
            place_take(place, text, name.ptr, value, &cursor);
            return;
        }
        place_pass(place, text, value);
    }
}

/* An index may point at an element, or just behind the last one; "-" points there too. */
static bool element_place(struct place *place, const char *text, struct slice array,
                          struct slice wanted)
{
    struct json_cursor cursor = json_iterate(array);
    struct slice value;
    size_t index = SIZE_MAX, count = 0;

    place->is_array = true;
    if (!slice_equals_text(wanted, "-") && !index_parse(wanted, &index))
        return false;
    for (; json_next_element(&cursor, &value); count++) {
        if (count == index) {
            place_take(place, text, value.ptr, value, &cursor);
            return true;
        }
        place_pass(place, text, value);
    }
    return index == SIZE_MAX || index == count;
}

static bool place_find(const struct edit *edit, const struct patch_path *path, struct place *place)
{
    const char *text = edit->text.ptr;
    struct slice wanted = path->names[path->names_count - 1];
    struct slice parent;

    *place = (struct place){0};
    if (!parent_find(edit, path, &parent))
        return false;
    place->container_at = (size_t) (parent.ptr - text) + 1;
    if (json_type(parent) == JSON_OBJECT)
        member_place(place, text, parent, wanted);
    else if (!element_place(place, text, parent, wanted))
        return fail(edit, path, "no such place in the array");
    return true;
}

static bool target_find(const struct edit *edit, const struct patch_path *path, struct place *place)
{
    return place_find(edit, path, place) && (place->exists || fail(edit, path, "nothing"));
}

/* Put bytes in the place of others. */
static bool splice(struct edit *edit, size_t from, size_t to, struct slice bytes)
{
    struct buf *text = &edit->text;
    size_t len = text->len - (to - from) + bytes.len;

    /* The limit holds between operations too, so that ten of them cannot build ten times as much.
     */
    if (len > ITEM_BYTES_MAX)
        return fault_set(edit->fault, 413, SUB_NONE, "the patched item has %zu bytes, more than %d",
                         len, ITEM_BYTES_MAX);
    if (!buf_reserve(text, bytes.len))
        return fault_set_oom(edit->fault);
    memmove(text->ptr + from + bytes.len, text->ptr + to, text->len - to);
    if (bytes.len > 0)
        memcpy(text->ptr + from, bytes.ptr, bytes.len);
    text->len = len;
    return true;
}

/* A new member or element, with the comma that its place needs. */
static bool insert(struct edit *edit, const struct patch_path *path, const struct place *place,
                   struct slice value)
{
    struct buf piece = {0};
    size_t at = place->has_before ? place->before_end : place->container_at;

    if (place->exists) /* an element, pushed back by the new one */
        at = place->target_at;
    else if (place->has_before)
        buf_append_char(&piece, ',');
    if (!place->is_array) {
        buf_append_json_string(&piece, path->names[path->names_count - 1]);
        buf_append_char(&piece, ':');
    }
    buf_append_slice(&piece, value);
    if (place->exists)
        buf_append_char(&piece, ',');
    bool is_done =
        !piece.has_failed ? splice(edit, at, at, buf_slice(&piece)) : fault_set_oom(edit->fault);
    buf_finish(&piece);
    return is_done;
}

static bool overwrite(struct edit *edit, const struct place *place, struct slice value)
{
    return splice(edit, place->value_at, place->value_end, value);
}

/* Add, set and the second half of move. */
static bool put(struct edit *edit, const struct patch_path *path, struct slice value)
{
    bool inserts = edit->op->kind != PATCH_SET;
    struct place place;

    if (!place_find(edit, path, &place))
        return false;
    if (place.exists && !(place.is_array && inserts))
        return overwrite(edit, &place, value);
    return insert(edit, path, &place, value);
}

static bool replace(struct edit *edit, const struct patch_path *path, struct slice value)
{
    struct place place;

    return target_find(edit, path, &place) && overwrite(edit, &place, value);
}

static bool cut(struct edit *edit, const struct place *place)
{
    const struct slice nothing = {0};

    if (place->has_next)
        return splice(edit, place->target_at, place->next_at, nothing);
    return splice(edit, place->has_before ? place->before_end : place->target_at, place->value_end,
                  nothing);
}

static bool remove_target(struct edit *edit, const struct patch_path *path)
{
    struct place place;

    return target_find(edit, path, &place) && cut(edit, &place);
}

/* Integers add as such while 64 bits hold the sum; otherwise doubles do. False when the sum is
 * infinite. */
static bool sum_print(struct slice a, struct slice b, struct buf *sum)
{
    long long x, y, exact;
    char text[JSON_NUMBER_BYTES];

    if (slice_to_i64(a, INT64_MIN, INT64_MAX, &x) && slice_to_i64(b, INT64_MIN, INT64_MAX, &y) &&
        !__builtin_add_overflow(x, y, &exact)) {
        buf_append_i64(sum, exact);
        return true;
    }
    double value = json_number(a) + json_number(b);
    if (!isfinite(value))
        return false;
    buf_append(sum, text, json_print_double(value, text));
    return true;
}

static bool increment(struct edit *edit, const struct patch_path *path, struct slice value)
{
    struct place place;
    struct buf sum = {0};

    if (!place_find(edit, path, &place))
        return false;
    if (!place.exists)
        return place.is_array ? fail(edit, path, "nothing") : insert(edit, path, &place, value);
    struct slice old =
        slice_make(edit->text.ptr + place.value_at, place.value_end - place.value_at);
    if (json_type(old) != JSON_NUMBER)
        return fail(edit, path, "no number");
    if (!sum_print(old, value, &sum))
        return fail(edit, path, "the sum is no finite number");
    bool is_done =
        !sum.has_failed ? overwrite(edit, &place, buf_slice(&sum)) : fault_set_oom(edit->fault);
    buf_finish(&sum);
    return is_done;
}

static bool move(struct edit *edit, const struct patch_op *op)
{
    struct place place;
    struct buf value = {0};

    if (!target_find(edit, &op->from, &place))
        return false;
    if (op->path.names_count == op->from.names_count &&
        path_starts_with(&op->path, op->from.names, op->from.names_count))
        return true; /* it stays where it is */
    buf_append(&value, edit->text.ptr + place.value_at, place.value_end - place.value_at);
    bool is_done = !value.has_failed ? cut(edit, &place) : fault_set_oom(edit->fault);
    is_done = is_done && put(edit, &op->path, buf_slice(&value));
    buf_finish(&value);
    return is_done;
}

static bool op_apply(struct edit *edit, const struct patch_op *op)
{
    switch (op->kind) {
    case PATCH_ADD:
    case PATCH_SET:
        return put(edit, &op->path, op->value);
    case PATCH_REPLACE:
        return replace(edit, &op->path, op->value);
    case PATCH_REMOVE:
        return remove_target(edit, &op->path);
    case PATCH_INCR:
        return increment(edit, &op->path, op->value);
    case PATCH_MOVE:
        return move(edit, op);
    }
    abort(); /* kinds come from kind_parse only */
}

bool patch_apply(const struct patch *patch, struct slice stored, struct arena *arena,
                 struct item *result, struct fault *fault)
{
    struct edit edit = {.fault = fault};
    size_t len;

    buf_append_slice(&edit.text, stored);
    if (edit.text.has_failed)
        return fault_set_oom(fault);
    for (edit.op_index = 0; edit.op_index < patch->ops_count; edit.op_index++) {
        edit.op = &patch->ops[edit.op_index];
        if (!op_apply(&edit, edit.op)) {
            buf_finish(&edit.text);
            return false;
        }
    }
    char *text = buf_take(&edit.text, &len);
    if (text == NULL || !arena_defer(arena, free, text))
        return fault_set_oom(fault);
    return item_parse(slice_make(text, len), arena, result, fault);
}
