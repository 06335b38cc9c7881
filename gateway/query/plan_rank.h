/*
 * Plans of ORDER BY RANK: the client asks every range for its statistics, puts their sums into the
 * texts of the components, takes the best rows of each component from all ranges, and fuses their
 * places (1 / (60 + place), weighted).
 *
 * source: query reference, section 10.2; the JavaScript SDK, hybridQueryExecutionContext
 */
#ifndef ORRERY_QUERY_PLAN_RANK_H
#define ORRERY_QUERY_PLAN_RANK_H

#include "base/buf.h"
#include "base/fault.h"
#include "query/ast.h"

struct query_policies;

/* Most components of a plan. */
#define PLAN_RANK_SCORES_MAX 64

struct plan_rank {
    const struct ast *scores; /* the components, one after the other */
    size_t score_count;
    const struct ast *weights;                 /* array of as many numbers; NULL for equal ones */
    bool are_descending[PLAN_RANK_SCORES_MAX]; /* by component: the greatest is the best */
    bool needs_statistics;                     /* one is a text's */
};

/* What a query's RANK consists of. Fault 400 for what clients cannot fuse. */
bool plan_rank_read(struct plan_rank *rank, const struct ast_query *query,
                    const struct query_policies *policies, struct fault *fault) MUST_CHECK;

/* Append the value of hybridSearchQueryInfo. Fails as buffers do. */
void plan_rank_print(struct buf *out, const struct plan_rank *rank, const struct ast_query *query);

#endif
