#include "service/consistency.h"

#include "loop/pgvalue.h"
#include "store/writes.h"

#include "base/banned.h"

/* Strongest first. */
static const char *const levels[] = {"Strong", "BoundedStaleness", "Session", "ConsistentPrefix",
                                     "Eventual"};

#define LEVEL_SESSION 2

static unsigned find_level(struct slice name)
{
    unsigned level = 0;

    while (level < ARRAY_LEN(levels) && !slice_equals_nocase(name, levels[level]))
        level++;
    return level;
}

static bool choose_level(struct call *call, unsigned *level)
{
    const struct headers *headers = &call->request.headers;
    unsigned account = find_level(slice_from_text(call->service->config->consistency));
    struct slice asked = slice_trim(headers->at[HEADER_CONSISTENCY_LEVEL]);
    struct slice strategy = slice_trim(headers->at[HEADER_READ_CONSISTENCY_STRATEGY]);
    struct fault *fault = &call->op.fault;

    *level = account;
    /* "Default" asks for nothing; the Java SDK sends it beside a level. */
    if (!slice_is_empty(strategy) && !slice_equals_nocase(strategy, "Default")) {
        if (!slice_is_empty(asked))
            return fault_set(fault, 400, SUB_NONE,
                             "x-ms-consistency-level and x-ms-cosmos-read-consistency-strategy "
                             "exclude each other");
        if (slice_equals_nocase(strategy, "Eventual"))
            asked = SLICE_LITERAL("Eventual");
        else if (slice_equals_nocase(strategy, "Session"))
            asked = SLICE_LITERAL("Session");
        else
            return fault_set(fault, 400, SUB_NONE,
                             "read consistency strategy \"%.*s\" is not supported",
                             FAULT_QUOTE(strategy));
    }
    if (slice_is_empty(asked))
        return true;
    *level = find_level(asked);
    if (*level == ARRAY_LEN(levels))
        return fault_set(fault, 400, SUB_NONE, "there is no consistency level \"%.*s\"",
                         FAULT_QUOTE(asked));
    if (*level < account)
        return fault_set(fault, 400, SUB_NONE,
                         "consistency level %s is stronger than the account's level %s; a request "
                         "may only weaken it",
                         levels[*level], levels[account]);
    return true;
}

bool consistency_parse(struct consistency *consistency, struct call *call)
{
    struct slice header = slice_trim(call->request.headers.at[HEADER_SESSION_TOKEN]);
    unsigned level;

    *consistency = (struct consistency){0};
    if (!choose_level(call, &level))
        return false;
    if (slice_is_empty(header))
        return true;
    if (!session_parse(&consistency->token, header, &call->op.arena, &call->op.fault))
        return false;
    consistency->has_token = level == LEVEL_SESSION;
    return true;
}

static void fill_state(struct session_state *state, const struct call *call, uint32_t *live,
                       int64_t epoch, const int64_t *vector, size_t vector_len)
{
    *live = (uint32_t) call->service->config->region_ordinal;
    *state = (struct session_state){.epoch = epoch,
                                    .live_count = 1,
                                    .live = live,
                                    .vector_count = vector_len,
                                    .vector = vector};
}

bool consistency_check(const struct consistency *consistency, struct call *call,
                       uint32_t range_index, int64_t epoch, struct slice vector)
{
    int64_t lsns[STORE_VECTOR_MAX];
    struct session_state state;
    uint32_t live;

    if (!consistency->has_token)
        return true;
    size_t count = pgvalue_int8_array(vector, lsns, ARRAY_LEN(lsns));
    fill_state(&state, call, &live, epoch, lsns, count);
    if (session_check(&consistency->token, range_index, NULL, 0, &state) == SESSION_SATISFIED)
        return true;
    return fault_set(&call->op.fault, 404, SUB_READ_SESSION_NOT_AVAILABLE,
                     "the read session is not available for the input session token");
}

void consistency_append(struct buf *out, const struct call *call, uint32_t range_index,
                        int64_t epoch, const int64_t *vector, size_t vector_len)
{
    struct session_state state;
    uint32_t live;

    fill_state(&state, call, &live, epoch, vector, vector_len);
    session_append(out, range_index, &state);
}

void consistency_reply(struct call *call, uint32_t range_index, int64_t epoch,
                       const int64_t *vector, size_t vector_len)
{
    uint32_t ordinal = (uint32_t) call->service->config->region_ordinal;
    struct buf text = {0};

    consistency_append(&text, call, range_index, epoch, vector, vector_len);
    if (!text.has_failed)
        reply_header(&call->reply, "x-ms-session-token",
                     arena_copy(&call->op.arena, text.ptr, text.len));
    buf_finish(&text);
    if (ordinal <= vector_len)
        reply_header_i64(&call->reply, &call->op.arena, "lsn", vector[ordinal - 1]);
}
