/*
 * What ORDER BY may hold.
 *
 * A query is ordered by paths of its items, which indexes serve: one key by any path that the
 * indexing policy includes, several by a composite index only. Besides there are the distance of a
 * vector, as the only key, and the scores of ORDER BY RANK. Everything else the service refuses,
 * and so does this.
 *
 * source: query reference, section 3 (clause rules) and section 9.
 */
#ifndef ORRERY_QUERY_ORDERING_H
#define ORRERY_QUERY_ORDERING_H

#include "query/check.h"

/*
 * The shape of the keys; asked before they are checked as expressions.
 *
 * fault    400 SC2221 … SC2229 for RANK, a refusal of ORDER BY beside groups
 */
bool ordering_check_shape(const struct ast_query *query, struct fault *fault) MUST_CHECK;

/*
 * Whether the keys, now completed, are paths that the policy lets order by. Sets the direction of
 * keys that have it by nature: the most similar comes first.
 *
 * fault    400 2206, no index; 503
 */
bool ordering_check_keys(struct arena *arena, struct ast_query *query,
                         const struct check_input *input, struct fault *fault) MUST_CHECK;

/* Does the greatest distance come first when the most similar is to? A call of VectorDistance. */
bool ordering_is_descending(const struct ast *call, const struct query_policies *policies);

#endif
