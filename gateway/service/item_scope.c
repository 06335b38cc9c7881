#include "service/item_scope.h"

#include "service/access.h"
#include "service/item_target.h"

#include "base/banned.h"

/* What the headers say, before it is put together. */
struct bounds {
    const struct pkrange *range; /* NULL: none named */
    bool has_interval;
    struct epk min, max;
};

static bool set_gone(struct call *call, const char *why)
{
    return fault_set(&call->op.fault, 410, SUB_PARTITION_KEY_RANGE_GONE, "%s", why);
}

static bool find_range_header(struct call *call, const struct pkrange **range)
{
    struct slice text = slice_trim(call->request.headers.at[HEADER_PARTITION_KEY_RANGE_ID]), rest;
    const struct container *container = call->container;
    unsigned long long index;

    if (slice_is_empty(text))
        return true;
    /* Old SDKs send "rid,0". */
    struct slice first = slice_cut(text, ',', &rest);
    if (!slice_is_absent(rest))
        first = rest;
    if (slice_to_u64(first, PKRANGE_INDEX_MAX, &index)) {
        for (size_t i = 0; i < container->range_count; i++) {
            if (container->ranges[i].index == index) {
                *range = &container->ranges[i];
                return true;
            }
        }
    }
    return fault_set(&call->op.fault, 410, SUB_PARTITION_KEY_RANGE_GONE,
                     "the container has no partition key range \"%.*s\"", FAULT_QUOTE(text));
}

static bool read_interval(struct bounds *bounds, struct call *call)
{
    const struct headers *headers = &call->request.headers;
    struct slice start = slice_trim(headers->at[HEADER_START_EPK]),
                 end = slice_trim(headers->at[HEADER_END_EPK]);

    epk_set_end(&bounds->max);
    if (slice_is_empty(start) && slice_is_empty(end))
        return true;
    if ((!slice_is_empty(start) && !epk_parse(&bounds->min, start)) ||
        (!slice_is_empty(end) && !epk_parse(&bounds->max, end)))
        return fault_set(&call->op.fault, 400, SUB_NONE,
                         "x-ms-start-epk and x-ms-end-epk must be hexadecimal");
    bounds->has_interval = true;
    if (bounds->range == NULL || epk_compare(&bounds->min, &bounds->max) >= 0 ||
        pkrange_contains(bounds->range, &bounds->min, &bounds->max))
        return true; /* an empty one is told later */
    return set_gone(call, "the effective key interval is not inside the partition key range");
}

/* All of a partition key: its range must be the one that is named, if one is. */
static bool aim_at_key(struct item_scope *scope, struct call *call, const struct bounds *bounds)
{
    struct item_target target = {.pkey = scope->pkey};
    struct epk epk;

    if (!item_target_aim(&target, call, slice_make(NULL, 0)))
        return false;
    pkey_hash(&scope->pkey, &call->container->settings.partition_key, &epk);
    if ((bounds->range != NULL && bounds->range != target.range) ||
        (bounds->has_interval &&
         (epk_compare(&epk, &bounds->min) < 0 || epk_compare(&epk, &bounds->max) >= 0)))
        return set_gone(call, "the partition key is not in the partition key range that is named");
    scope->kind = ITEM_SCOPE_KEY;
    scope->pk_min = target.pk;
    scope->first = (size_t) (target.range - call->container->ranges);
    scope->end = scope->first + 1;
    return true;
}

/* The first components of a key are an interval, too. */
static void narrow_to_prefix(struct bounds *bounds, const struct item_scope *scope,
                             const struct call *call)
{
    struct epk min, max;

    pkey_epk_interval(&scope->pkey, &call->container->settings.partition_key, &min, &max);
    if (epk_compare(&min, &bounds->min) > 0)
        bounds->min = min;
    if (epk_compare(&max, &bounds->max) < 0)
        bounds->max = max;
    bounds->has_interval = true;
}

static bool copy_epk(struct slice *out, struct call *call, const struct epk *epk)
{
    char *copy = arena_copy(&call->op.arena, epk->bytes, epk->len);

    *out = slice_make(copy, epk->len);
    return copy != NULL || fault_set_oom(&call->op.fault);
}

static bool aim_at_ranges(struct item_scope *scope, struct call *call, const struct bounds *bounds)
{
    const struct container *container = call->container;
    const struct pkrange *first;

    size_t count = pkrange_overlap(container->ranges, container->range_count, &bounds->min,
                                   &bounds->max, &first);
    if (count == 0)
        return fault_set(&call->op.fault, 400, SUB_NONE, "the effective key interval is empty");
    if (bounds->range != NULL) {
        if (bounds->range < first || bounds->range >= first + count)
            return set_gone(call, "the partition key is not in the partition key range that is "
                                  "named");
        first = bounds->range;
        count = 1;
    }
    scope->first = (size_t) (first - container->ranges);
    scope->end = scope->first + count;
    scope->kind = bounds->has_interval ? ITEM_SCOPE_INTERVAL : ITEM_SCOPE_RANGES;
    return !bounds->has_interval || (copy_epk(&scope->pk_min, call, &bounds->min) &&
                                     copy_epk(&scope->pk_max, call, &bounds->max));
}

bool item_scope_from_headers(struct item_scope *scope, struct call *call)
{
    const struct pkey_definition *definition = &call->container->settings.partition_key;
    struct slice key = slice_trim(call->request.headers.at[HEADER_PARTITION_KEY]);
    struct bounds bounds = {0};

    *scope = (struct item_scope){0};
    if (!find_range_header(call, &bounds.range) || !read_interval(&bounds, call))
        return false;
    scope->named = bounds.range;
    scope->is_given = !slice_is_empty(key) || bounds.range != NULL || bounds.has_interval;
    if (!slice_is_empty(key)) {
        if (!pkey_from_header(&scope->pkey, definition, key, PKEY_PREFIX, &call->op.arena,
                              &call->op.fault))
            return false;
        if (scope->pkey.count >= definition->path_count)
            return aim_at_key(scope, call, &bounds);
        narrow_to_prefix(&bounds, scope, call);
    }
    return aim_at_ranges(scope, call, &bounds);
}

bool item_scope_check_access(const struct item_scope *scope, struct call *call)
{
    const struct slice none = {NULL, 0};

    return access_check(call, AUTHTOKEN_CHILDREN, false, call->container->database_number,
                        call->container->number, none,
                        scope->kind == ITEM_SCOPE_KEY ? scope->pk_min : none);
}

/* ---- what a filter says ---- */

static int bytes_compare(struct slice a, struct slice b)
{
    size_t len = a.len < b.len ? a.len : b.len;
    int order = len > 0 ? memcmp(a.ptr, b.ptr, len) : 0;

    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

/* The part of an interval that is in the scope; false when there is none. */
static bool clip(const struct item_scope *scope, const struct keyrange_interval *interval,
                 struct item_interval *clipped)
{
    *clipped = (struct item_interval){.min = interval->min, .max = interval->max};
    if (scope->kind == ITEM_SCOPE_INTERVAL) {
        if (bytes_compare(scope->pk_min, clipped->min) > 0)
            clipped->min = scope->pk_min;
        if (bytes_compare(scope->pk_max, clipped->max) < 0)
            clipped->max = scope->pk_max;
    }
    return bytes_compare(clipped->min, clipped->max) < 0;
}

/* Note the ranges that an interval touches; false when it touches none of the scope. */
static bool visit(const struct item_scope *scope, const struct container *container,
                  const struct item_interval *interval, bool *visits)
{
    const struct pkrange *first;
    struct epk min, max;
    bool is_there = false;

    epk_set(&min, interval->min.ptr, interval->min.len);
    epk_set(&max, interval->max.ptr, interval->max.len);
    size_t count = pkrange_overlap(container->ranges, container->range_count, &min, &max, &first);
    for (size_t i = 0; i < count; i++) {
        size_t position = (size_t) (first - container->ranges) + i;
        if (position >= scope->first && position < scope->end)
            visits[position] = is_there = true;
    }
    return is_there;
}

static bool key_of(struct slice *pk, struct call *call, const struct pkey *pkey)
{
    struct item_target target = {.pkey = *pkey};

    if (!item_target_aim(&target, call, slice_make(NULL, 0)))
        return false;
    *pk = target.pk;
    return true;
}

/* The ranges that are visited, from the first to the last. */
static void narrow_ranges(struct item_scope *scope, const bool *visits)
{
    while (scope->first + 1 < scope->end && !visits[scope->first])
        scope->first++;
    while (scope->end > scope->first + 1 && !visits[scope->end - 1])
        scope->end--;
    scope->visits = visits;
}

bool item_scope_narrow(struct item_scope *scope, struct call *call, const struct keyrange *keyrange)
{
    const struct container *container = call->container;
    struct arena *arena = &call->op.arena;
    bool is_keys = keyrange->is_keys;
    size_t count = 0;

    if (keyrange->is_everything || scope->kind == ITEM_SCOPE_KEY)
        return true;
    bool *visits = arena_alloc(arena, container->range_count * sizeof(*visits));
    struct item_interval *intervals =
        arena_alloc(arena, (keyrange->count + 1) * sizeof(*intervals));
    if (visits == NULL || intervals == NULL)
        return fault_set_oom(&call->op.fault);
    for (size_t i = 0; i < keyrange->count; i++) {
        const struct keyrange_interval *interval = &keyrange->intervals[i];
        if (!clip(scope, interval, &intervals[count]) ||
            !visit(scope, container, &intervals[count], visits))
            continue;
        if (is_keys && !key_of(&intervals[count].min, call, interval->pkey))
            return false;
        count++;
    }
    narrow_ranges(scope, visits);
    scope->intervals = intervals;
    scope->interval_count = count;
    scope->kind = count == 0 ? ITEM_SCOPE_NOTHING
                  : is_keys  ? ITEM_SCOPE_KEYS
                             : ITEM_SCOPE_INTERVALS;
    if (count == 1) {
        scope->kind = is_keys ? ITEM_SCOPE_KEY : ITEM_SCOPE_INTERVAL;
        scope->pk_min = intervals[0].min;
        scope->pk_max = intervals[0].max;
    }
    return true;
}

size_t item_scope_visits(const struct item_scope *scope)
{
    size_t count = 0;

    for (size_t i = scope->first; i < scope->end; i++)
        count += scope->visits == NULL || scope->visits[i];
    return count;
}

static void append_interval(struct sql *sql, struct slice min, struct slice max)
{
    buf_append_text(&sql->text, "i.pk >= ");
    sql_append_bytea(sql, min);
    buf_append_text(&sql->text, " and i.pk < ");
    sql_append_bytea(sql, max);
}

void item_scope_condition(const struct item_scope *scope, struct sql *sql)
{
    switch (scope->kind) {
    case ITEM_SCOPE_RANGES:
    case ITEM_SCOPE_NOTHING:
        return;
    case ITEM_SCOPE_KEY:
        buf_append_text(&sql->text, " and i.pk = ");
        sql_append_bytea(sql, scope->pk_min);
        return;
    case ITEM_SCOPE_INTERVAL:
        buf_append_text(&sql->text, " and ");
        append_interval(sql, scope->pk_min, scope->pk_max);
        return;
    case ITEM_SCOPE_KEYS:
    case ITEM_SCOPE_INTERVALS:
        break;
    }
    for (size_t i = 0; i < scope->interval_count; i++) {
        const struct item_interval *interval = &scope->intervals[i];
        if (scope->kind == ITEM_SCOPE_KEYS) {
            buf_append_text(&sql->text, i == 0 ? " and i.pk in (" : ", ");
            sql_append_bytea(sql, interval->min);
        } else {
            buf_append_text(&sql->text, i == 0 ? " and (" : " or ");
            append_interval(sql, interval->min, interval->max);
        }
    }
    buf_append_char(&sql->text, ')');
}

/* ---- continuation ---- */

bool item_scope_question(const struct item_scope *scope, struct slice asked,
                         uint8_t question[CONTINUATION_QUESTION_BYTES], struct fault *fault)
{
    uint8_t digest[SHA256_BYTES];
    struct buf text = {0};

    buf_printf(&text, "%d %zu:", (int) scope->kind, scope->pk_min.len);
    buf_append_slice(&text, scope->pk_min);
    buf_printf(&text, " %zu:", scope->pk_max.len);
    buf_append_slice(&text, scope->pk_max);
    if (scope->named != NULL)
        buf_printf(&text, " %u", (unsigned) scope->named->index);
    buf_append_char(&text, '\n');
    buf_append_slice(&text, asked);
    crypto_sha256(buf_slice(&text), digest);
    memcpy(question, digest, CONTINUATION_QUESTION_BYTES);
    bool is_whole = !text.has_failed;
    buf_finish(&text);
    return is_whole || fault_set_oom(fault);
}

bool item_scope_continue(const struct item_scope *scope, struct call *call,
                         const uint8_t question[CONTINUATION_QUESTION_BYTES],
                         struct continuation *continuation, size_t *position, bool *is_there)
{
    struct slice text = slice_trim(call->request.headers.at[HEADER_CONTINUATION]);
    const struct container *container = call->container;

    *position = scope->first;
    *is_there = !slice_is_empty(text);
    if (!*is_there)
        return true;
    if (!continuation_parse(continuation, text, keys_current(), &call->op.arena) ||
        continuation->container != container->number ||
        memcmp(continuation->question, question, CONTINUATION_QUESTION_BYTES) != 0)
        return fault_set(&call->op.fault, 400, SUB_NONE,
                         "x-ms-continuation is not a continuation of this request");
    while (*position < scope->end && container->ranges[*position].index != continuation->range)
        (*position)++;
    if (*position == scope->end)
        return set_gone(call, "the partition key range is gone");
    return true;
}
