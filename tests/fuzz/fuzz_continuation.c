/*
 * Arbitrary bytes as a continuation: only what the account signed is one. Bytes as what a
 * continuation holds: it comes back as it was, and with any byte changed not at all.
 */
#include "query/continuation.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define STATE_BYTES_MAX 512

static const struct keys *account(void)
{
    static struct keys keys = {
        .key = {{.bytes = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}, .len = 16}}};

    return &keys;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The next eight bytes as a number; fewer at the end. */
static uint64_t number(const uint8_t **data, size_t *size)
{
    uint64_t value = 0;
    size_t len = *size < sizeof(value) ? *size : sizeof(value);

    memcpy(&value, *data, len);
    *data += len;
    *size -= len;
    return value;
}

static void check_changed(const char *text, uint64_t where, struct arena *arena)
{
    struct continuation read;
    size_t len = strlen(text), at = where % len;
    char *changed = arena_copy(arena, text, len);

    if (changed == NULL)
        return;
    changed[at] = (char) (changed[at] ^ (1 + where / len % 127));
    assert(!continuation_parse(&read, slice_make(changed, len), account(), arena));
    assert(!continuation_parse(&read, slice_make(text, at), account(), arena));
}

static void check_round(const uint8_t *data, size_t size, struct arena *arena)
{
    struct continuation made = {0}, read;

    uint64_t where = number(&data, &size);
    made.kind = CONTINUATION_FEED + number(&data, &size) % CONTINUATION_GROUPS;
    made.container = (uint32_t) number(&data, &size);
    made.skip = number(&data, &size);
    made.take = number(&data, &size);
    made.range = (uint32_t) number(&data, &size);
    made.rid = number(&data, &size);
    made.row = number(&data, &size);
    made.state = slice_make((const char *) data, size < STATE_BYTES_MAX ? size : STATE_BYTES_MAX);
    const char *text = continuation_print(&made, account(), arena);
    if (text == NULL)
        return;
    assert(strlen(text) <= continuation_text_max(made.state.len));
    assert(continuation_parse(&read, slice_from_text(text), account(), arena));
    assert(read.kind == made.kind && read.container == made.container && read.skip == made.skip);
    assert(read.take == made.take && read.range == made.range && read.rid == made.rid);
    assert(read.row == made.row && slice_equals(read.state, made.state));
    check_changed(text, where, arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct continuation read;
    struct arena arena;

    arena_init(&arena, 1 << 20);
    assert(!continuation_parse(&read, slice_make((const char *) data, size), account(), &arena));
    check_round(data, size, &arena);
    arena_finish(&arena);
    return 0;
}
