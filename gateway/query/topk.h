/*
 * The first rows of an order that only this program can make.
 *
 * Rows are offered in any sequence; those that come first are kept in a heap whose top is the last
 * of them. A row is known by its sort values and, where these are equal, by where it comes from:
 * position of the range, rid (in the direction of the first key), number among the rows of its
 * item. That makes the order total, and a continuation the position of the last row given.
 *
 * The memory is the heap's own, from malloc. Its bound is the page: as many rows as may be
 * answered, and no more of them than fill its bytes; and, where sort values are long, 32 MiB and a
 * row.
 *
 * With is_distinct rows at the same position are one row, of which the first is kept: the position
 * then holds, in rid and row, a digest of the payload instead of where the row comes from.
 */
#ifndef ORRERY_QUERY_TOPK_H
#define ORRERY_QUERY_TOPK_H

#include "base/compiler.h"
#include "base/fault.h"
#include "base/slice.h"
#include "query/sort.h"

/* Most keys of ORDER BY: the properties of a composite index. */
#define TOPK_KEYS_MAX 8

struct topk;

/* Where a row stands. */
struct topk_position {
    const struct sort_value *values; /* one per key */
    uint32_t range;                  /* position of its range among those asked */
    uint64_t rid;
    uint64_t row; /* number among the rows of its item, from 0 */
};

struct topk_options {
    size_t limit;     /* rows kept, at least 1 */
    size_t bytes_max; /* of their payloads: rows that cannot be in a page of that size are let go;
                         one row is always kept */
    bool is_distinct;
    unsigned key_count;
    const bool *is_descending;         /* by key; copied */
    const struct topk_position *after; /* only rows beyond it; NULL from the beginning; copied */
};

/* Fault 503. */
struct topk *topk_create(const struct topk_options *options, struct fault *fault) MUST_CHECK;

/* Accepts NULL. */
void topk_destroy(struct topk *topk);

/* Would a row at that position be kept, as it looks now? Asked before its payload is made; a no
 * lets it go. */
bool topk_wants(struct topk *topk, const struct topk_position *position);

/* Take a row, or let it go. Copies position and payload. Fault 503. */
bool topk_add(struct topk *topk, const struct topk_position *position, struct slice payload,
              struct fault *fault) MUST_CHECK;

/* Put the rows in order; nothing is added afterwards. */
void topk_finish(struct topk *topk);

size_t topk_count(const struct topk *topk);

/* Were rows let go that come behind these? */
bool topk_is_cut(const struct topk *topk);

/* The row with that index; the position and the slice are the heap's. */
struct slice topk_row(const struct topk *topk, size_t index, struct topk_position *position);

#endif
