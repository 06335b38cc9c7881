/*
 * The texts of plans that go to the ranges instead of the original one.
 *
 * source: query reference, section 10; protocol reference, section 5.4
 */
#ifndef ORRERY_QUERY_PLAN_REWRITE_H
#define ORRERY_QUERY_PLAN_REWRITE_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/fault.h"
#include "query/ast.h"

/* For the client to put "true" or the condition at which it goes on. */
#define PLAN_FILTER_PLACEHOLDER "{documentdb-formattableorderbyquery-filter}"

/* "WHERE …" with the original condition and the placeholder, or what comes in its stead. */
void plan_rewrite_filter(struct buf *out, const struct ast_query *query, const char *placeholder);

/* How many results of a range can matter to OFFSET and LIMIT. */
uint64_t plan_window(const struct ast_query *query);

/* The original without OFFSET: as many results as can matter. */
void plan_rewrite_window(struct buf *out, const struct ast_query *query);

/* The original without what comes after DISTINCT. */
void plan_rewrite_distinct(struct buf *out, const struct ast_query *query);

/*
 * Rows with the item they come from, their sort values and their result; as many as can matter,
 * unless the client drops some for not being distinct. A fault is 503.
 */
bool plan_rewrite_ordered(struct buf *out, struct arena *arena, const struct ast_query *query,
                          struct fault *fault) MUST_CHECK;

/* Partial aggregates, with the values of GROUP BY: every item of the projection is an aggregate or
 * has none inside. */
void plan_rewrite_grouped(struct buf *out, const struct ast_query *query);

#endif
