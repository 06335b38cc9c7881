#include "model/pkrange.h"

#include <assert.h>

#include "base/banned.h"

__extension__ typedef unsigned __int128 uint128;

/*
 * The last key of the first i of n parts of a space of 2^bits keys. Boundaries lie on it, not
 * behind it: two ranges divide at 1FFF…FF, as those of the service do.
 */
static uint128 part_end(unsigned bits, size_t i, size_t n)
{
    uint128 space = (uint128) 1 << bits;

    return space / n * i + space % n * i / n - 1;
}

static void set_boundary(struct epk *epk, size_t i, size_t n,
                         const struct pkey_definition *definition)
{
    if (definition->kind == PKEY_HASH && definition->version == 1) {
        pkey_epk_of_v1_hash((uint32_t) part_end(32, i, n), epk);
        return;
    }
    uint128 end = part_end(126, i, n); /* the two top bits of a hash are clear */
    epk->len = 16;
    for (size_t byte = 16; byte-- > 0; end >>= 8)
        epk->bytes[byte] = (uint8_t) end;
}

void pkrange_divide(struct pkrange *ranges, size_t count, const struct pkey_definition *definition)
{
    assert(count > 0 && count <= PKRANGE_INDEX_MAX);
    for (size_t i = 0; i < count; i++) {
        ranges[i] = (struct pkrange){.index = (uint32_t) i};
        if (i > 0)
            set_boundary(&ranges[i].min, i, count, definition);
        if (i + 1 < count)
            set_boundary(&ranges[i].max, i + 1, count, definition);
        else
            epk_set_end(&ranges[i].max);
    }
}

bool pkrange_is_tiling(const struct pkrange *ranges, size_t count)
{
    struct epk end;

    if (count == 0 || ranges[0].min.len != 0)
        return false;
    for (size_t i = 0; i < count; i++) {
        if (epk_compare(&ranges[i].min, &ranges[i].max) >= 0)
            return false;
        if (i > 0 && epk_compare(&ranges[i - 1].max, &ranges[i].min) != 0)
            return false;
    }
    epk_set_end(&end);
    return epk_compare(&ranges[count - 1].max, &end) == 0;
}

const struct pkrange *pkrange_find(const struct pkrange *ranges, size_t count,
                                   const struct epk *epk)
{
    size_t low = 0, high = count;

    assert(count > 0);
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (epk_compare(&ranges[middle].min, epk) <= 0)
            low = middle;
        else
            high = middle;
    }
    return &ranges[low];
}

size_t pkrange_overlap(const struct pkrange *ranges, size_t count, const struct epk *min,
                       const struct epk *max, const struct pkrange **first)
{
    if (epk_compare(min, max) >= 0)
        return 0;
    *first = pkrange_find(ranges, count, min);
    size_t start = (size_t) (*first - ranges), end = start + 1;
    while (end < count && epk_compare(&ranges[end].min, max) < 0)
        end++;
    return end - start;
}

bool pkrange_contains(const struct pkrange *range, const struct epk *min, const struct epk *max)
{
    return epk_compare(&range->min, min) <= 0 && epk_compare(max, &range->max) <= 0;
}

struct rid pkrange_rid(uint32_t database, uint32_t container, uint32_t index)
{
    /* Numbered from 1: an id of all zeroes below the type looks unset to readers. */
    return (struct rid){RID_PKRANGE, database, container, (uint64_t) index + 1};
}

static void append_parents(struct buf *buf, const struct pkrange *range)
{
    buf_append_text(buf, ",\"parents\":[");
    for (size_t i = 0; i < range->parent_count; i++)
        buf_printf(buf, "%s\"%u\"", i > 0 ? "," : "", range->parents[i]);
    buf_append_char(buf, ']');
}

void pkrange_append_json(struct buf *buf, const struct pkrange *range,
                         const struct pkrange_facts *facts)
{
    struct rid rid = pkrange_rid(facts->database, facts->container, range->index);
    char text[RID_TEXT_BYTES];

    rid_format(&rid, text);
    buf_printf(buf, "{\"id\":\"%u\",\"_rid\":\"%s\",\"_self\":\"", range->index, text);
    rid_append_self(buf, &rid);
    buf_append_text(buf, "\",\"_etag\":");
    buf_append_json_string(buf, facts->etag);
    buf_printf(buf, ",\"_ts\":%lld,\"_lsn\":%lld,\"minInclusive\":\"", (long long) facts->ts,
               (long long) facts->lsn);
    epk_append(buf, &range->min);
    buf_append_text(buf, "\",\"maxExclusive\":\"");
    epk_append(buf, &range->max);
    buf_printf(buf, "\",\"ridPrefix\":%u,\"throughputFraction\":%.6g,\"status\":\"online\"",
               range->index, facts->throughput_fraction);
    append_parents(buf, range);
    buf_append_text(buf, ",\"ownedArchivalPKRangeIds\":[],\"vectorClockVersion\":1}");
}
