#include "model/session.h"

#include <assert.h>
#include <stdlib.h>

#include "base/banned.h"

#define RANGE_MAX INT32_MAX
#define LSN_MAX INT64_MAX

static bool malformed(struct slice token, struct fault *fault)
{
    return fault_set(fault, 400, SUB_NONE, "the session token is invalid: \"%.*s\"",
                     FAULT_QUOTE(token));
}

static size_t count_char(struct slice s, char c)
{
    size_t count = 0;

    for (size_t i = 0; i < s.len; i++)
        count += s.ptr[i] == c;
    return count;
}

/* "1=5#2=7": count pairs, all of them numbers. */
static bool parse_origins(struct slice text, struct session_origin *origins, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct slice lsn, pair = slice_cut(text, '#', &text);
        struct slice ordinal = slice_cut(pair, '=', &lsn);
        unsigned long long value;
        long long number;
        if (!slice_to_u64(ordinal, UINT32_MAX, &value) || slice_is_absent(lsn) ||
            !slice_to_i64(lsn, 0, LSN_MAX, &number))
            return false;
        origins[i] = (struct session_origin){(uint32_t) value, number};
    }
    return true;
}

/* "5", "-1#5", "257#12#1=5#2=7"; *is_oom tells why it failed. */
static bool parse_value(struct session_part *part, struct slice text, struct arena *arena,
                        bool *is_oom)
{
    struct slice global, origins;
    struct slice version = slice_cut(text, '#', &global);
    long long number;

    part->version = SESSION_NO_VERSION;
    if (slice_is_absent(global))
        global = version;
    else if (slice_to_i64(version, -1, INT64_MAX, &number))
        part->version = number;
    else
        return false;
    global = slice_cut(global, '#', &origins);
    if (!slice_to_i64(global, -1, LSN_MAX, &number))
        return false;
    part->global_lsn = number;
    if (slice_is_absent(origins))
        return true;
    size_t count = count_char(origins, '#') + 1;
    if (count > SESSION_ORIGINS_MAX)
        return false;
    struct session_origin *list = arena_alloc(arena, count * sizeof(*list));
    *is_oom = list == NULL;
    part->origin_count = count;
    part->origins = list;
    return list != NULL && parse_origins(origins, list, count);
}

static int compare_parts(const void *a, const void *b)
{
    const struct session_part *first = a, *second = b;

    return (first->range > second->range) - (first->range < second->range);
}

bool session_parse(struct session_token *token, struct slice header, struct arena *arena,
                   struct fault *fault)
{
    struct slice rest = slice_trim(header);
    size_t count = count_char(rest, ',') + 1;
    bool is_oom = false;

    *token = (struct session_token){0};
    if (rest.len == 0 || rest.len > SESSION_HEADER_BYTES_MAX || count > SESSION_PARTS_MAX)
        return malformed(rest, fault);
    token->parts = arena_alloc(arena, count * sizeof(*token->parts));
    if (token->parts == NULL)
        return fault_set_oom(fault);
    for (size_t i = 0; i < count; i++) {
        struct slice value, text = slice_trim(slice_cut(rest, ',', &rest));
        struct slice range = slice_cut(text, ':', &value);
        unsigned long long index;
        if (!slice_to_u64(range, RANGE_MAX, &index) || slice_is_absent(value))
            return malformed(text, fault);
        token->parts[i].range = (uint32_t) index;
        if (!parse_value(&token->parts[i], value, arena, &is_oom))
            return is_oom ? fault_set_oom(fault) : malformed(text, fault);
    }
    token->count = count;
    qsort(token->parts, count, sizeof(*token->parts), compare_parts);
    return true;
}

size_t session_find(const struct session_token *token, uint32_t range,
                    const struct session_part **first)
{
    size_t low = 0, high = token->count, count = 0;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (token->parts[middle].range < range)
            low = middle + 1;
        else
            high = middle;
    }
    while (low + count < token->count && token->parts[low + count].range == range)
        count++;
    *first = count > 0 ? &token->parts[low] : NULL;
    return count;
}

/* The LSN up to which the state holds an origin's changes. */
static int64_t reached(const struct session_state *state, uint32_t ordinal)
{
    return ordinal >= 1 && ordinal <= state->vector_count ? state->vector[ordinal - 1] : 0;
}

static int64_t vector_sum(const struct session_state *state)
{
    int64_t sum = 0;

    for (size_t i = 0; i < state->vector_count; i++)
        sum += state->vector[i];
    return sum;
}

static bool is_live(const struct session_state *state, uint32_t ordinal)
{
    for (size_t i = 0; i < state->live_count; i++) {
        if (state->live[i] == ordinal)
            return true;
    }
    return false;
}

/*
 * How much of what a token of an earlier epoch names can still be asked for: a retired region's
 * history ends at its cut. Live origins are never clamped, or a client would not read its own
 * writes.
 */
static int64_t clamp(const struct session_state *state, const struct session_origin *origin)
{
    if (is_live(state, origin->ordinal))
        return origin->lsn;
    for (size_t i = 0; i < state->cut_count; i++) {
        if (state->cuts[i].ordinal == origin->ordinal)
            return origin->lsn < state->cuts[i].lsn ? origin->lsn : state->cuts[i].lsn;
    }
    return origin->lsn;
}

enum session_verdict session_compare(const struct session_part *part,
                                     const struct session_state *state)
{
    if (part->version > state->epoch)
        return SESSION_BEHIND_EPOCH;
    /* Only a token without regions (of another program, or written by hand) is held to its sum. */
    if (part->origin_count == 0)
        return part->global_lsn <= vector_sum(state) ? SESSION_SATISFIED : SESSION_BEHIND;
    for (size_t i = 0; i < part->origin_count; i++) {
        const struct session_origin *origin = &part->origins[i];
        int64_t wanted = part->version == state->epoch ? origin->lsn : clamp(state, origin);
        if (wanted > reached(state, origin->ordinal))
            return SESSION_BEHIND;
    }
    return SESSION_SATISFIED;
}

/* The worst verdict over the parts of one range; *is_named tells whether there were any. */
static enum session_verdict check_range(const struct session_token *token, uint32_t range,
                                        const struct session_state *state, bool *is_named)
{
    const struct session_part *parts;
    size_t count = session_find(token, range, &parts);
    enum session_verdict worst = SESSION_SATISFIED;

    for (size_t i = 0; i < count; i++) {
        enum session_verdict verdict = session_compare(&parts[i], state);
        if (verdict > worst)
            worst = verdict;
    }
    *is_named = count > 0;
    return worst;
}

enum session_verdict session_check(const struct session_token *token, uint32_t range,
                                   const uint32_t *parents, size_t parent_count,
                                   const struct session_state *state)
{
    bool is_named;
    enum session_verdict worst = check_range(token, range, state, &is_named);

    for (size_t i = 0; i < parent_count && !is_named; i++) {
        bool parent_named;
        enum session_verdict verdict = check_range(token, parents[i], state, &parent_named);
        if (verdict > worst)
            worst = verdict;
    }
    return worst;
}

size_t session_losses(const struct session_part *part, const struct session_state *state,
                      struct session_lost *losses, size_t max)
{
    size_t count = 0;

    for (size_t i = 0; i < part->origin_count && part->version < state->epoch; i++) {
        const struct session_origin *origin = &part->origins[i];
        int64_t kept = clamp(state, origin);
        if (kept < origin->lsn && count < max)
            losses[count++] = (struct session_lost){origin->ordinal, kept, origin->lsn};
    }
    return count;
}

void session_append(struct buf *buf, uint32_t range, const struct session_state *state)
{
    buf_append_u64(buf, range);
    buf_append_char(buf, ':');
    buf_append_i64(buf, state->epoch);
    buf_append_char(buf, '#');
    buf_append_i64(buf, vector_sum(state));
    for (size_t i = 0; i < state->live_count; i++) {
        buf_append_char(buf, '#');
        buf_append_u64(buf, state->live[i]);
        buf_append_char(buf, '=');
        buf_append_i64(buf, reached(state, state->live[i]));
    }
}
