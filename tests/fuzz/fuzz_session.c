/* Session tokens: accepted ones have sorted parts, and every comparison ends. */
#include "model/session.h"

#include <assert.h>

static const uint32_t live[] = {1, 3};
static const int64_t vector[] = {5, 7, 0};
static const struct session_origin cuts[] = {{2, 6}};
static const uint32_t parents[] = {1, 2};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct session_state state = {514, 2, live, 3, vector, 1, cuts};
    struct session_token token;
    struct fault fault = {0};
    struct arena arena;

    arena_init(&arena, 1 << 22);
    if (!session_parse(&token, slice_make((const char *) data, size), &arena, &fault)) {
        assert(fault.status == 400 || fault.status == 503);
        arena_finish(&arena);
        return 0;
    }
    for (size_t i = 0; i < token.count; i++) {
        struct session_lost losses[2];
        const struct session_part *first;
        assert(i == 0 || token.parts[i - 1].range <= token.parts[i].range);
        assert(session_find(&token, token.parts[i].range, &first) > 0);
        assert(session_losses(&token.parts[i], &state, losses, 2) <= 2);
    }
    assert(session_check(&token, 0, parents, 2, &state) <= SESSION_BEHIND_EPOCH);
    arena_finish(&arena);
    return 0;
}
