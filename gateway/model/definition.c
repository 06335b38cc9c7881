#include "model/definition.h"

#include "base/banned.h"

static bool set_member(struct definition_reader *reader, struct slice name, struct slice value,
                       const char *where, const char *const *names, size_t count,
                       struct slice *values)
{
    for (size_t i = 0; i < count; i++) {
        if (!json_string_equals(name, slice_from_text(names[i])))
            continue;
        if (json_type(value) != JSON_NULL)
            values[i] = value;
        return true;
    }
    return fault_set(reader->fault, 400, SUB_NONE, "member %.*s%s%s is not known or not supported",
                     FAULT_QUOTE(name), where[0] != '\0' ? " of " : "", where);
}

bool definition_members(struct definition_reader *reader, struct slice object, const char *where,
                        const char *const *names, size_t count, struct slice *values)
{
    struct slice name, value;

    for (size_t i = 0; i < count; i++)
        values[i] = (struct slice){NULL, 0};
    if (slice_is_absent(object) || json_type(object) != JSON_OBJECT)
        return fault_set(reader->fault, 400, SUB_NONE, "%s must be a JSON object",
                         where[0] != '\0' ? where : "the body");
    struct json_cursor cursor = json_iterate(object);
    while (json_next_member(&cursor, &name, &value)) {
        if (!set_member(reader, name, value, where, names, count, values))
            return false;
    }
    return true;
}

bool definition_array(struct definition_reader *reader, struct slice value, const char *where,
                      struct json_cursor *cursor, size_t *count)
{
    struct slice element;

    if (slice_is_absent(value) || json_type(value) != JSON_ARRAY)
        return fault_set(reader->fault, 400, SUB_NONE, "%s must be an array", where);
    struct json_cursor counting = *cursor = json_iterate(value);
    *count = 0;
    while (json_next_element(&counting, &element))
        ++*count;
    return true;
}

bool definition_string(struct definition_reader *reader, struct slice value, const char *where,
                       struct slice *text)
{
    if (slice_is_absent(value))
        return fault_set(reader->fault, 400, SUB_NONE, "%s is missing", where);
    if (json_type(value) != JSON_STRING)
        return fault_set(reader->fault, 400, SUB_NONE, "%s must be a string, not %.*s", where,
                         FAULT_QUOTE(value));
    return json_string_decode(value, reader->arena, text, reader->fault);
}

bool definition_bool(struct definition_reader *reader, struct slice value, const char *where,
                     bool *truth)
{
    enum json_type type = slice_is_absent(value) ? JSON_NULL : json_type(value);

    if (type != JSON_TRUE && type != JSON_FALSE)
        return fault_set(reader->fault, 400, SUB_NONE, "%s must be true or false", where);
    *truth = type == JSON_TRUE;
    return true;
}

bool definition_integer(struct definition_reader *reader, struct slice value, const char *where,
                        int64_t min, int64_t max, int64_t *integer)
{
    if (!slice_is_absent(value) && json_integer(value, min, max, integer))
        return true;
    return fault_set(reader->fault, 400, SUB_NONE, "%s must be an integer within %lld and %lld",
                     where, (long long) min, (long long) max);
}

bool definition_word(struct definition_reader *reader, struct slice value, const char *where,
                     const char *const *words, size_t count, size_t *index)
{
    struct slice text;

    if (!definition_string(reader, value, where, &text))
        return false;
    for (size_t i = 0; i < count; i++) {
        if (slice_equals_nocase(text, words[i])) {
            *index = i;
            return true;
        }
    }
    return fault_set(reader->fault, 400, SUB_NONE, "%s does not know \"%.*s\"", where,
                     FAULT_QUOTE(text));
}

static bool is_system_property(struct slice name)
{
    static const char *const names[] = {"_rid", "_self", "_etag", "_ts", "_attachments"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (slice_equals_text(name, names[i]))
            return true;
    }
    return false;
}

bool definition_path(struct definition_reader *reader, struct slice value, const char *where,
                     struct pkey_path *path)
{
    struct slice text;

    if (!definition_string(reader, value, where, &text) ||
        !pkey_path_parse(path, text, reader->arena, reader->fault))
        return false;
    for (size_t i = 0; i < path->name_count; i++) {
        struct slice name = path->names[i];
        bool is_wild = slice_equals_text(name, "*") || slice_equals_text(name, "?") ||
                       slice_equals_text(name, "[]");
        if (is_wild || (path->name_count == 1 && is_system_property(name)))
            return fault_set(reader->fault, 400, SUB_NONE, "%s cannot be \"%.*s\"", where,
                             FAULT_QUOTE(text));
    }
    return true;
}
