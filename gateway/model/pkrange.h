/*
 * Partition key ranges: intervals of the space of effective partition keys, sorted and without
 * gaps.
 *
 * The first starts at the empty key, the last ends at FF, each starts where the one before ends. A
 * new container is divided evenly over the keys that its kind of hash can produce.
 */
#ifndef ORRERY_MODEL_PKRANGE_H
#define ORRERY_MODEL_PKRANGE_H

#include "model/epk.h"
#include "model/pkey.h"
#include "model/rid.h"

#define PKRANGE_INDEX_MAX 4095 /* range ids keep 12 bits for it */

struct pkrange {
    uint32_t index; /* public id within the container, never reused */
    struct epk min; /* inclusive */
    struct epk max; /* exclusive */
    size_t parent_count;
    const uint32_t
        *parents; /* indexes of the ranges this was split from, grandparents too; borrowed */
};

/* What the public JSON of a range tells besides its interval. */
struct pkrange_facts {
    uint32_t database, container; /* numbers */
    struct slice etag;            /* with its quotes */
    int64_t ts;
    int64_t lsn;
    double throughput_fraction;
};

/*
 * The number of the range as a bigint: its container's number and its index.
 */
static inline int64_t pkrange_id(uint32_t container, uint32_t index)
{
    return (int64_t) container << 12 | index;
}

/* Divide the space evenly into count (1 to PKRANGE_INDEX_MAX) ranges with indexes from 0. */
void pkrange_divide(struct pkrange *ranges, size_t count, const struct pkey_definition *definition);

/* True when sorted, gapless and covering the whole space. */
bool pkrange_is_tiling(const struct pkrange *ranges, size_t count);

/* The range that owns a key; ranges as pkrange_is_tiling wants them. */
const struct pkrange *pkrange_find(const struct pkrange *ranges, size_t count,
                                   const struct epk *epk);

/* The ranges that share a key with [min, max): how many, and the first. 0 when the interval is
 * empty. */
size_t pkrange_overlap(const struct pkrange *ranges, size_t count, const struct epk *min,
                       const struct epk *max, const struct pkrange **first);

/* True when [min, max) lies inside the range. */
bool pkrange_contains(const struct pkrange *range, const struct epk *min, const struct epk *max);

/* The range's resource id. */
struct rid pkrange_rid(uint32_t database, uint32_t container, uint32_t index);

/* One element of "PartitionKeyRanges". Source: protocol reference, section 4.15. */
void pkrange_append_json(struct buf *buf, const struct pkrange *range,
                         const struct pkrange_facts *facts);

#endif
