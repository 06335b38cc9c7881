/*
 * Rows gathered: GROUP BY, aggregates, DISTINCT.
 *
 * Rows stream by and leave nothing but the groups. A group is known by the digest of its key
 * (query/digest.h); DISTINCT is a group per result. Groups are answered in the order of their
 * digests, so that a page holds the `limit` smallest beyond the last page's and nothing else needs
 * to be remembered: a group that a smaller one pushes out is forgotten, and comes back with the
 * next page. The exceptions keep all of their groups: DISTINCT over groups, and queries inside
 * expressions, whose results stay in the order in which they appeared.
 *
 * Rows may also come as partial results that SQL has computed (groups_merge), each for the part of
 * a group that it has seen; both kinds mix.
 *
 * The memory is the groups' own, from malloc, up to a ceiling: above it the groups with the
 * greatest digests are forgotten as if the limit were lower, and a single group that needs more is
 * a fault. Values are kept as text.
 */
#ifndef ORRERY_QUERY_GROUPS_H
#define ORRERY_QUERY_GROUPS_H

#include "query/digest.h"
#include "query/eval.h"

struct groups;

struct groups_options {
    size_t limit;               /* groups to be answered, at least 1 */
    const struct digest *after; /* only those beyond; NULL from the beginning; copied */
    size_t bytes_max;           /* ceiling of memory */
    bool in_order_of_rows; /* all of them, as they appeared; no limit, no after; keys stay in the
                              arena of the eval that adds */
};

/* What SQL computed of one aggregate over some rows of a group; zeroed for one without rows. */
struct group_partial {
    double count;        /* COUNT, COUNTIF, AVG: their number. MIN, MAX: ignored */
    double sum;          /* SUM, AVG */
    bool is_poisoned;    /* SUM, AVG saw something else than numbers; MIN, MAX an array or object */
    const cJSON *best;   /* MIN, MAX; NULL for none */
    const cJSON *values; /* MAKELIST, MAKESET: an array; NULL for none */
};

/* Does a query gather its rows at all? */
bool groups_are_needed(const struct ast_query *query);

/*
 * query    aggregate or distinct; borrowed, as long as the groups
 * fault    503
 */
struct groups *groups_create(const struct ast_query *query, const struct groups_options *options,
                             struct fault *fault) MUST_CHECK;

/* Accepts NULL. */
void groups_destroy(struct groups *groups);

/*
 * Take in the row whose values are in the eval's slots. False when the eval has failed, then or by
 * this: 400 above the ceiling, 503 without memory.
 */
bool groups_add(struct groups *groups, struct eval *eval) MUST_CHECK;

/*
 * Take in a partial result.
 *
 * keys      of the group, in order; NULL for an undefined one. For DISTINCT without aggregates:
 * one, the result itself partials  one for each of query->aggregates
 */
bool groups_merge(struct groups *groups, struct eval *eval, const cJSON *const *keys,
                  const struct group_partial *partials) MUST_CHECK;

/*
 * Put the groups in order; nothing is added afterwards. Without GROUP BY the aggregates of no row
 * at all are a group too. The eval computes what DISTINCT over groups compares.
 */
bool groups_finish(struct groups *groups, struct eval *eval) MUST_CHECK;

size_t groups_count(const struct groups *groups);

/* Are there, or may there be, groups beyond these? */
bool groups_are_cut(const struct groups *groups);

/* What the group with that index is known by, for the continuation. */
struct digest groups_digest(const struct groups *groups, size_t index);

/*
 * Its result, in the eval's arena; NULL when it is undefined, which is no result, and after a
 * failure. Costs steps as an item does (eval_item).
 */
const cJSON *groups_project(struct groups *groups, struct eval *eval, size_t index);

#endif
