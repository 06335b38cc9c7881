/*
 * Partition key headers: whatever is accepted must print, be read again as the same key, and fall
 * into the space of effective keys.
 *
 * The first byte chooses the definition, the rest is the header.
 */
#include "model/pkey.h"

#include <assert.h>
#include <stdlib.h>

static struct pkey_definition definition_of(uint8_t choice)
{
    struct pkey_definition definition = {.kind = PKEY_HASH, .version = 2, .path_count = 1};

    if (choice & 1) {
        definition.kind = PKEY_MULTI_HASH;
        definition.path_count = 1 + (choice >> 1) % PKEY_LEVELS_MAX;
    } else if (choice & 2) {
        definition.version = 1;
        definition.is_system_key = (choice & 4) != 0;
    }
    return definition;
}

static void check(const struct pkey *pkey, const struct pkey_definition *definition,
                  struct arena *arena)
{
    struct buf json = {0}, column = {0};
    struct fault fault = {0};
    struct epk min, max, end;
    struct pkey again;

    pkey_append_json(&json, pkey);
    pkey_encode(&column, pkey, definition);
    assert(!json.has_failed && !column.has_failed);
    if (!pkey_from_header(&again, definition, buf_slice(&json), PKEY_PREFIX, arena, &fault))
        abort();
    assert(pkey_equals(pkey, &again));
    pkey_epk_interval(pkey, definition, &min, &max);
    epk_set_end(&end);
    assert(epk_compare(&min, &max) < 0 && epk_compare(&max, &end) <= 0);
    buf_finish(&json);
    buf_finish(&column);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena;
    struct fault fault = {0};
    struct pkey_path path;
    struct pkey pkey;

    if (size == 0)
        return 0;
    struct pkey_definition definition = definition_of(data[0]);
    struct slice text = slice_make((const char *) data + 1, size - 1);
    arena_init(&arena, 1 << 22);
    if (pkey_from_header(&pkey, &definition, text, PKEY_PREFIX, &arena, &fault))
        check(&pkey, &definition, &arena);
    else
        assert(fault.status == 400 || fault.status == 503);
    if (pkey_path_parse(&path, text, &arena, &fault))
        assert(path.name_count > 0 && path.name_count <= PKEY_PATH_NAMES_MAX);
    arena_finish(&arena);
    return 0;
}
