#include "model/complaint.h"

#include "base/utf8.h"
#include "model/json.h"

#include <assert.h>

#include "base/banned.h"

#define DEPTH_MAX 16
#define MEMORY_MAX ((size_t) 1 << 20)

static bool find_message(struct slice root, struct slice *message)
{
    struct slice error;

    if (!json_find(root, SLICE_LITERAL("message"), message)) {
        if (!json_find(root, SLICE_LITERAL("error"), &error))
            return false;
        *message = error;
        if (json_type(error) == JSON_OBJECT && !json_find(error, SLICE_LITERAL("message"), message))
            return false;
    }
    return json_type(*message) == JSON_STRING;
}

static bool is_control(char c)
{
    return (unsigned char) c < 0x20 || c == 0x7f;
}

static void copy_line(struct slice from, char *text, size_t size)
{
    size_t len = 0;

    while (from.len > 0 && from.ptr[0] != '\n' && from.ptr[0] != '\r') {
        size_t bytes = utf8_sequence(from);
        bool is_good = bytes > 0 && !is_control(from.ptr[0]);
        size_t room = is_good ? bytes : 1;
        if (len + room >= size)
            break;
        if (is_good)
            memcpy(text + len, from.ptr, bytes);
        else
            text[len] = '?';
        len += room;
        from.ptr += room;
        from.len -= room;
    }
    text[len] = '\0';
}

bool complaint_read(struct slice body, char *text, size_t size)
{
    struct json_text parsed;
    struct slice message;
    struct fault ignored = {0};
    struct arena arena;

    assert(size > 0);
    arena_init(&arena, MEMORY_MAX);
    bool is_found = json_validate(body, DEPTH_MAX, &parsed, &ignored) &&
                    find_message(parsed.root, &message) &&
                    json_string_decode(message, &arena, &message, &ignored);
    copy_line(is_found ? message : body, text, size);
    arena_finish(&arena);
    return is_found;
}
