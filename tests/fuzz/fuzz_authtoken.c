/*
 * The authorization header: nothing that was not signed is ever let through.
 *
 * The same bytes are also split as a path, and read as dates and links of the request.
 */
#include "model/authtoken.h"

#include <assert.h>

static void verify(const struct authtoken *token, struct slice text, struct arena *arena)
{
    const struct authtoken_keys keys = {.primary = SLICE_LITERAL("key one"),
                                        .read_primary = SLICE_LITERAL("key two")};
    const struct authtoken_request request = {.method = SLICE_LITERAL("GET"),
                                              .resource_type = SLICE_LITERAL("docs"),
                                              .link = text,
                                              .raw_link = SLICE_LITERAL("dbs/d"),
                                              .ms_date =
                                                  SLICE_LITERAL("Mon, 01 Jan 2024 00:00:00 GMT")};
    enum authtoken_access access;
    struct authtoken_grant grant;
    struct fault fault = {0};

    if (token->type == AUTHTOKEN_MASTER)
        assert(!authtoken_verify(token, &request, &keys, 1704067200, &access, &fault));
    else
        assert(!authtoken_grant_verify(&grant, token, &keys, 0, arena, &fault));
    assert(fault.status == 401 || fault.status == 503);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice text = slice_make((const char *) data, size);
    struct authtoken_path split;
    struct authtoken token;
    struct fault fault = {0};
    struct arena arena;
    struct rid rid;

    arena_init(&arena, 1 << 22);
    authtoken_split_path(&split, text);
    assert(split.link.len <= size);
    if (authtoken_parse(&token, text, &arena, &fault))
        verify(&token, text, &arena);
    else
        assert(fault.status == 401 || fault.status == 503);
    if (rid_parse(text, &rid)) {
        char again[RID_TEXT_BYTES];
        rid_format(&rid, again);
        assert(slice_equals_text(text, again));
    }
    arena_finish(&arena);
    return 0;
}
