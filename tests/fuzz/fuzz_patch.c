/*
 * Patches on items: whatever is applied gives a valid item with the same id, and what is printed
 * with system properties is stored as before.
 *
 * The input is an item, a NUL, a patch. NUL ends an item for sure: no valid one contains it.
 */
#include "model/patch.h"

#include <assert.h>
#include <stdlib.h>

static void check_print(const struct item *item, struct arena *arena)
{
    const struct item_system system = {.rid = SLICE_LITERAL("rid=="),
                                       .self = SLICE_LITERAL("dbs/d/"),
                                       .etag = SLICE_LITERAL("etag"),
                                       .ts_s = 1};
    struct item again;
    struct buf out = {0};
    struct fault fault;

    item_print(&out, item->stored, &system);
    assert(!out.has_failed);
    if (item_parse(buf_slice(&out), arena, &again, &fault)) {
        assert(slice_equals(again.stored, item->stored));
        assert(slice_equals(again.id, item->id));
    } else {
        assert(fault.status == 503 || fault.status == 413);
    }
    buf_finish(&out);
}

static void check_patch(const struct item *item, struct slice body, struct arena *arena)
{
    static struct slice names[] = {{"pk", 2}};
    const struct pkey_definition definition = {
        .path_count = 1, .paths = {{.name_count = 1, .names = names, .text = {"/pk", 3}}}};
    struct item result;
    struct patch patch;
    struct slice pk_before = {0}, pk_after = {0};
    struct fault fault = {0};

    if (!patch_parse(body, arena, &patch, &fault) || !patch_check(&patch, &definition, &fault) ||
        !patch_apply(&patch, item->stored, arena, &result, &fault)) {
        assert(fault.status == 400 || fault.status == 413 || fault.status == 503);
        assert(fault.message[0] != '\0');
        return;
    }
    assert(slice_equals(item->id, result.id));
    json_find(item->stored, names[0], &pk_before);
    json_find(result.stored, names[0], &pk_after);
    assert(slice_equals(pk_before, pk_after));
    check_print(&result, arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice rest, body = slice_cut(slice_make((const char *) data, size), '\0', &rest);
    struct arena arena;
    struct item item;
    struct fault fault = {0};

    arena_init(&arena, 1 << 24);
    if (item_parse(body, &arena, &item, &fault)) {
        check_print(&item, &arena);
        if (!slice_is_absent(rest))
            check_patch(&item, rest, &arena);
    } else {
        assert(fault.status == 400 || fault.status == 413 || fault.status == 503);
    }
    arena_finish(&arena);
    return 0;
}
