#include "model/ids.h"

#include "model/json.h"

#include "base/banned.h"

static size_t count_characters(struct slice text)
{
    size_t count = 0;

    for (size_t i = 0; i < text.len; i++)
        count += ((unsigned char) text.ptr[i] & 0xc0) != 0x80;
    return count;
}

bool ids_check(struct slice id, struct fault *fault)
{
    if (id.len == 0)
        return fault_set(fault, 400, SUB_NONE, "the id is empty");
    size_t count = count_characters(id);
    if (count > IDS_CHARACTERS_MAX)
        return fault_set(fault, 400, SUB_NONE, "the id has %zu characters, the limit is %d", count,
                         IDS_CHARACTERS_MAX);
    for (size_t i = 0; i < id.len; i++) {
        char c = id.ptr[i];
        if (c == '/' || c == '\\' || c == '?' || c == '#' || c == '\0')
            return fault_set(fault, 400, SUB_NONE,
                             "the id \"%.*s\" contains a character that is not allowed: / \\ ? #",
                             FAULT_QUOTE(id));
    }
    if (id.ptr[id.len - 1] == ' ')
        return fault_set(fault, 400, SUB_NONE, "the id \"%.*s\" ends with a space",
                         FAULT_QUOTE(id));
    return true;
}

bool ids_from_object(struct slice object, struct arena *arena, struct slice *id,
                     struct fault *fault)
{
    struct slice value;

    if (!json_find(object, SLICE_LITERAL("id"), &value) || json_type(value) == JSON_NULL)
        return fault_set(
            fault, 400, SUB_NONE,
            "The input content is invalid because the required properties - 'id; ' - are "
            "missing");
    if (json_type(value) != JSON_STRING)
        return fault_set(fault, 400, SUB_NONE, "the id must be a string, not %.*s",
                         FAULT_QUOTE(value));
    return json_string_decode(value, arena, id, fault) && ids_check(*id, fault);
}

bool ids_from_body(struct slice body, struct arena *arena, struct slice *id, struct fault *fault)
{
    struct json_text text;

    if (!json_validate(body, JSON_DEPTH_MAX, &text, fault))
        return false;
    if (json_type(text.root) != JSON_OBJECT)
        return fault_set(fault, 400, SUB_NONE, "the body must be a JSON object");
    return ids_from_object(text.root, arena, id, fault);
}
