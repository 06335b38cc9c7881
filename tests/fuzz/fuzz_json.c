/*
 * JSON: whatever is accepted must be what cJSON reads, value by value, and normalising it must
 * change nothing but the text of numbers, once.
 */
#include "model/json.h"

#include <assert.h>
#include <cjson/cJSON.h>
#include <stdlib.h>

/* cJSON cuts numbers at 63 characters. */
#define ORACLE_NUMBER_MAX 60

static bool has_long_number(struct slice text)
{
    size_t run = 0;

    for (size_t i = 0; i < text.len; i++) {
        run = strchr("0123456789.eE+-", text.ptr[i]) != NULL ? run + 1 : 0;
        if (run > ORACLE_NUMBER_MAX)
            return true;
    }
    return false;
}

static void compare(struct slice value, const cJSON *expected, struct arena *arena);

static void compare_string(struct slice string, const char *expected, struct arena *arena)
{
    struct fault fault;
    struct slice decoded;

    assert(json_string_equals(string, slice_from_text(expected)));
    if (json_string_decode(string, arena, &decoded, &fault))
        assert(slice_equals_text(decoded, expected));
    else
        assert(fault.status == 503);
}

static void compare_object(struct slice object, const cJSON *expected, struct arena *arena)
{
    struct json_cursor cursor = json_iterate(object);
    struct slice name, value, found;
    const cJSON *member = expected->child;

    for (; json_next_member(&cursor, &name, &value); member = member->next) {
        assert(member != NULL);
        compare_string(name, member->string, arena);
        assert(json_find(object, slice_from_text(member->string), &found));
        assert(found.ptr == value.ptr && found.len == value.len);
        compare(value, member, arena);
    }
    assert(member == NULL);
}

static void compare_array(struct slice array, const cJSON *expected, struct arena *arena)
{
    struct json_cursor cursor = json_iterate(array);
    struct slice value;
    const cJSON *element = expected->child;

    for (; json_next_element(&cursor, &value); element = element->next) {
        assert(element != NULL);
        compare(value, element, arena);
    }
    assert(element == NULL);
}

static void compare(struct slice value, const cJSON *expected, struct arena *arena)
{
    static const int types[] = {
        [JSON_NULL] = cJSON_NULL,     [JSON_FALSE] = cJSON_False,   [JSON_TRUE] = cJSON_True,
        [JSON_NUMBER] = cJSON_Number, [JSON_STRING] = cJSON_String, [JSON_ARRAY] = cJSON_Array,
        [JSON_OBJECT] = cJSON_Object,
    };
    enum json_type type = json_type(value);

    assert((expected->type & 0xff) == types[type]);
    if (type == JSON_NUMBER)
        assert(json_number(value) == expected->valuedouble);
    if (type == JSON_STRING)
        compare_string(value, expected->valuestring, arena);
    if (type == JSON_OBJECT)
        compare_object(value, expected, arena);
    if (type == JSON_ARRAY)
        compare_array(value, expected, arena);
}

/* The normalised text is valid, says the same, and is its own normalised text. */
static void check_normalized(const struct json_text *text, const cJSON *tree, struct arena *arena)
{
    struct json_text again;
    struct fault fault;
    struct slice once, twice;

    if (!json_normalize(text, arena, &once, &fault)) {
        assert(fault.status == 503);
        return;
    }
    if (!json_validate(once, JSON_DEPTH_MAX, &again, &fault))
        abort();
    if (tree != NULL)
        compare(once, tree, arena);
    if (json_normalize(&again, arena, &twice, &fault))
        assert(slice_equals(once, twice));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice text = slice_make((const char *) data, size);
    struct json_text result;
    struct fault fault = {0};
    struct arena arena;

    if (!json_validate(text, JSON_DEPTH_MAX, &result, &fault)) {
        assert(fault.status == 400 && fault.message[0] != '\0');
        return 0;
    }
    arena_init(&arena, 1 << 24);
    cJSON *tree =
        has_long_number(text) ? NULL : cJSON_ParseWithLength(result.root.ptr, result.root.len);
    assert(tree != NULL || has_long_number(text));
    if (tree != NULL)
        compare(result.root, tree, &arena);
    check_normalized(&result, tree, &arena);
    cJSON_Delete(tree);
    arena_finish(&arena);
    return 0;
}
