/*
 * Tokens to a tree.
 *
 * A recursive-descent parser: each function carries the grammar rule it reads. It knows the shape
 * of the language only; names, parameters and functions are looked up by query/check.h.
 *
 * Scalar expressions are complete but for subqueries. Of the clauses there are SELECT with '*',
 * VALUE or a list, FROM with one container and its alias, and WHERE; the rest is recognised and
 * refused by name.
 */
#ifndef ORRERY_QUERY_PARSER_H
#define ORRERY_QUERY_PARSER_H

#include "base/arena.h"
#include "base/fault.h"
#include "base/slice.h"
#include "query/ast.h"

/* Characters of a query's text that the service accepts: 512 KiB. */
#define PARSER_TEXT_MAX 524288

/*
 * Read SELECT … [FROM …] [WHERE …].
 *
 * text     borrowed as long as the tree
 * fault    400 with the place for what is no query, is too long, nested too deep, or not supported;
 * 503
 */
bool parser_query(struct arena *arena, struct slice text, struct ast_query *query,
                  struct fault *fault) MUST_CHECK;

/* Read FROM … [WHERE …], the condition of a patch. */
bool parser_condition(struct arena *arena, struct slice text, struct ast_query *query,
                      struct fault *fault) MUST_CHECK;

#endif
