/*
 * Tokens to a tree.
 *
 * A recursive-descent parser: each function carries the grammar rule it reads. It knows the shape
 * of the language only; names, parameters and functions are looked up by query/check.h.
 *
 * What a clause may not hold although it has the shape (TOP in a subquery, ORDER BY of a sum) is
 * refused there, too.
 */
#ifndef ORRERY_QUERY_PARSER_H
#define ORRERY_QUERY_PARSER_H

#include "base/arena.h"
#include "base/fault.h"
#include "base/slice.h"
#include "query/ast.h"

/*
 * Read one statement.
 *
 * text     borrowed as long as the tree
 * fault    400 with the place for what is no query, is too long or nested too deep; 503
 */
bool parser_query(struct arena *arena, struct slice text, struct ast_query *query,
                  struct fault *fault) MUST_CHECK;

/* Read FROM … [WHERE …], the condition of a patch. */
bool parser_condition(struct arena *arena, struct slice text, struct ast_query *query,
                      struct fault *fault) MUST_CHECK;

#endif
