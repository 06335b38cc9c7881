/*
 * Which items a feed or a query is restricted to: the whole container, one partition key, the
 * beginning of one, a partition key range, an interval of effective keys. Whatever it is, it is
 * some ranges in the order of their keys, and a condition on the column pk. A query's own filter
 * may narrow it further.
 */
#ifndef ORRERY_SERVICE_ITEM_SCOPE_H
#define ORRERY_SERVICE_ITEM_SCOPE_H

#include "base/crypto.h"
#include "query/continuation.h"
#include "query/keyrange.h"
#include "query/sql.h"
#include "service/call.h"

enum item_scope_kind {
    ITEM_SCOPE_RANGES,    /* no condition */
    ITEM_SCOPE_KEY,       /* pk = pk_min */
    ITEM_SCOPE_INTERVAL,  /* pk_min <= pk < pk_max */
    ITEM_SCOPE_KEYS,      /* one of the keys */
    ITEM_SCOPE_INTERVALS, /* in one of the intervals */
    ITEM_SCOPE_NOTHING    /* no item; one range, for its state */
};

struct item_interval {
    struct slice min, max;
};

struct item_scope {
    enum item_scope_kind kind;
    bool is_given;               /* by a header; otherwise it is the whole container */
    const struct pkrange *named; /* by a header; NULL without */
    struct pkey pkey;            /* of the header: all components or the first; count 0 without */
    struct slice pk_min, pk_max; /* in the arena */
    /* ITEM_SCOPE_KEYS: min is the key; sorted */
    const struct item_interval *intervals;
    size_t interval_count;
    size_t first, end;  /* positions in container->ranges: the first, and behind the last */
    const bool *visits; /* by position: may it hold items? NULL: all of them */
};

/*
 * Read the scope from a request's headers; call->container is known.
 *
 * fault  400 for what is malformed or empty, 410 SUB_PARTITION_KEY_RANGE_GONE for a range that is
 *        not there or does not hold the interval
 */
bool item_scope_from_headers(struct item_scope *scope, struct call *call) MUST_CHECK;

/* May the request read what is in its scope? Fault 403. */
bool item_scope_check_access(const struct item_scope *scope, struct call *call) MUST_CHECK;

/*
 * Narrow a scope to what a query's filter can match. The continuation's question is that of the
 * scope as the headers gave it.
 *
 * fault  503
 */
bool item_scope_narrow(struct item_scope *scope, struct call *call,
                       const struct keyrange *keyrange) MUST_CHECK;

/* How many ranges it visits. */
size_t item_scope_visits(const struct item_scope *scope);

/* Append the condition on the column i.pk, as " and …"; nothing when there is none. */
void item_scope_condition(const struct item_scope *scope, struct sql *sql);

/* The digest that a continuation keeps of what was asked, in this scope. Fault 503. */
bool item_scope_question(const struct item_scope *scope, struct slice asked,
                         uint8_t question[CONTINUATION_QUESTION_BYTES],
                         struct fault *fault) MUST_CHECK;

/*
 * Read the request's continuation.
 *
 * is_there  whether the request has one; it then belongs to this container and question
 * position  where its range is in container->ranges; within the scope
 * fault     400 for one that is malformed, changed or of something else; 410
 *           SUB_PARTITION_KEY_RANGE_GONE when its range is gone
 */
bool item_scope_continue(const struct item_scope *scope, struct call *call,
                         const uint8_t question[CONTINUATION_QUESTION_BYTES],
                         struct continuation *continuation, size_t *position,
                         bool *is_there) MUST_CHECK;

#endif
