/*
 * What a parsed query means: names resolved, parameters bound, functions found.
 *
 * The parser knows shapes only. This pass walks the tree once and completes its nodes: an
 * AST_PARAMETER gets its value, an AST_CALL its function. Whatever evaluates or compiles the tree
 * afterwards need not ask again.
 */
#ifndef ORRERY_QUERY_CHECK_H
#define ORRERY_QUERY_CHECK_H

#include "base/arena.h"
#include "base/fault.h"
#include "query/ast.h"

#include <cjson/cJSON.h>

/*
 * Complete a query's tree.
 *
 * parameters   array of {"name": "@p", "value": …}, or NULL; borrowed as long as the tree. One that
 * is not supplied is undefined. fault        400: SC2001 for a name that no source binds, SC2005
 * and SC2050 for functions, a named refusal for what the language has and this server does not, a
 * malformed or repeated parameter; 503
 */
bool check_query(struct arena *arena, struct ast_query *query, const cJSON *parameters,
                 struct fault *fault) MUST_CHECK;

#endif
