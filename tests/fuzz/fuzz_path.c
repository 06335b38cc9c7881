/*
 * Request paths: what is taken names ids without NUL in valid UTF-8, and the same ids, escaped byte
 * by byte into the pattern of what was found, are found again.
 */
#include "base/buf.h"
#include "base/utf8.h"
#include "request/path.h"

#include <assert.h>
#include <string.h>

static void append_escaped(struct buf *out, struct slice id)
{
    for (size_t i = 0; i < id.len; i++)
        buf_printf(out, "%%%02X", (unsigned char) id.ptr[i]);
}

/* The pattern with the ids where it has braces. */
static void print(struct buf *out, const struct resource_path *path)
{
    unsigned id = 0;

    for (const char *at = path_pattern(path->kind); *at != '\0'; at++) {
        if (*at != '{') {
            buf_append_char(out, *at);
            continue;
        }
        append_escaped(out, path->ids[id++]);
        at = strchr(at, '}');
    }
}

static void check_ids(const struct resource_path *path)
{
    unsigned count = 0;

    while (count < PATH_IDS_MAX && !slice_is_absent(path->ids[count])) {
        struct slice id = path->ids[count++];
        assert(id.len > 0 && utf8_is_valid(id) && memchr(id.ptr, '\0', id.len) == NULL);
        assert(path->link.len >= id.len);
    }
    for (const char *at = path_pattern(path->kind); *at != '\0'; at++)
        count -= *at == '{';
    assert(count == 0);
}

static void check_again(const struct resource_path *path, struct arena *arena)
{
    struct buf text = {0};
    struct resource_path again;
    struct fault fault = {0};

    print(&text, path);
    assert(!text.has_failed);
    bool is_found = path_parse(&again, buf_slice(&text), arena, &fault);
    assert(is_found && again.kind == path->kind && again.is_feed == path->is_feed);
    for (unsigned i = 0; i < PATH_IDS_MAX; i++)
        assert(slice_equals(again.ids[i], path->ids[i]));
    assert(slice_equals(again.id, path->id));
    buf_finish(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice text = slice_make((const char *) data, size);
    struct resource_path path;
    struct fault fault = {0};
    struct arena arena;

    arena_init(&arena, 1 << 22);
    if (path_parse(&path, text, &arena, &fault)) {
        check_ids(&path);
        check_again(&path, &arena);
    } else {
        assert(fault.status == 400 || fault.status == 404 || fault.status == 503);
        assert(fault.message[0] != '\0');
    }
    arena_finish(&arena);
    return 0;
}
