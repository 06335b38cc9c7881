/*
 * Which partition keys a query can match.
 *
 * From WHERE follows, often, that only items of a few partition keys can pass: c.tenant = "a", c.id
 * IN (…), IS_NULL(c.a). Both users of that, the query plan and the execution, want the intervals of
 * effective partition keys to visit, and the execution also wants the keys themselves, where an
 * interval is one key.
 *
 * The answer is a superset: an item that the query returns, or from which it counts, always lies
 * inside. The whole space is always right, and is what remains when the analysis would cost too
 * much (KEYRANGE_KEYS_MAX, a fixed number of steps) or the language says more than it understands.
 */
#ifndef ORRERY_QUERY_KEYRANGE_H
#define ORRERY_QUERY_KEYRANGE_H

#include "base/arena.h"
#include "base/fault.h"
#include "model/pkey.h"
#include "query/ast.h"

/* More alternatives than this are the whole space: four times what SDKs put into one "read many".
 */
#define KEYRANGE_KEYS_MAX 4096

/* Effective keys from min, not including max. Bytes in the arena, fit for a parameter of SQL. */
struct keyrange_interval {
    struct slice min, max;
    const struct pkey *pkey; /* the one full value in it; NULL when there may be others */
};

struct keyrange {
    size_t count;                              /* 0: no item can match */
    const struct keyrange_interval *intervals; /* sorted, disjoint */
    bool is_everything;                        /* one interval, the whole space */
    bool is_keys;                              /* every interval has its pkey, or there is none */
};

/*
 * Derive the intervals of a query.
 *
 * query    completed by check_query; a statement, not a subquery. One without FROM matches no item.
 * given    the partition key of the request, full or the first components, which the query is
 *          limited to; NULL without
 * fault    503 without memory; nothing else
 * source   query reference, sections 10 and 10.1; protocol reference, section 5.3
 */
bool keyrange_derive(struct keyrange *keyrange, struct arena *arena, const struct ast_query *query,
                     const struct pkey_definition *definition, const struct pkey *given,
                     struct fault *fault) MUST_CHECK;

/* The bounds in the form of model/pkrange.h. */
static inline void keyrange_bounds(const struct keyrange_interval *interval, struct epk *min,
                                   struct epk *max)
{
    epk_set(min, interval->min.ptr, interval->min.len);
    epk_set(max, interval->max.ptr, interval->max.len);
}

#endif
