/*
 * Queries inside the statement: FROM, filters, aggregates. Included by emit*.c only; what
 * emit_scalar.h says of its functions holds here.
 */
#ifndef ORRERY_QUERY_EMIT_QUERY_H
#define ORRERY_QUERY_EMIT_QUERY_H

#include "query/emit_scalar.h"

/*
 * Bind the sources of a query, and append those that need an entry in FROM: the first behind one
 * text, the others behind another.
 */
bool emit_sources(struct emitter *emitter, const struct ast_query *query, const char *first,
                  const char *next) MUST_CHECK;

/* Append " and … is not null" for each source that is a value which may be missing. */
bool emit_sources_defined(struct emitter *emitter, const struct ast_query *query) MUST_CHECK;

/* Append " from … where …": the rows of a query that pass its filter, as `filter` appends it. */
bool emit_rows(struct emitter *emitter, const struct ast_query *query,
               emit_append_fn *filter) MUST_CHECK;

/* The filter as it is. */
bool emit_filter(struct emitter *emitter, const struct ast *where);

/* Append "exists(…)": whether a query has results. */
bool emit_exists(struct emitter *emitter, const struct ast_query *query,
                 emit_append_fn *filter) MUST_CHECK;

/* What was appended since, in the arena and no longer in the statement; its parameters stay. */
struct slice emit_cut(struct emitter *emitter, struct emit_mark mark);

/* emit_groups.c: an aggregate in the select list of the query that is gathered, over the column
 * that holds its argument, x.v<number>. */
bool emit_aggregate(struct emitter *emitter, const struct ast *node,
                    enum emit_kind kind) MUST_CHECK;
enum emit_kind emit_aggregate_kind(const struct ast *node);

/* The argument of an aggregate, as jsonb; of COUNTIF, as boolean. */
bool emit_aggregate_argument(struct emitter *emitter, const struct ast *aggregate) MUST_CHECK;

#endif
