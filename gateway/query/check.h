/*
 * What a parsed query means: names resolved, parameters bound, functions found.
 *
 * The parser knows shapes only. This pass walks the tree once and completes its nodes (the fields
 * of query/ast.h that are set by check); what the shapes allow and the language does not is refused
 * here. Whatever evaluates, compiles or plans the tree afterwards need not ask again.
 */
#ifndef ORRERY_QUERY_CHECK_H
#define ORRERY_QUERY_CHECK_H

#include "base/arena.h"
#include "base/fault.h"
#include "query/ast.h"
#include "query/computed.h"

#include <cjson/cJSON.h>

struct index_policy;
struct query_policies;

/* What is known beside the text; all of it borrowed as long as the tree. */
struct check_input {
    const cJSON *parameters; /* array of {"name": "@p", "value": …}, or NULL */
    struct computed_properties computed;
    const struct index_policy *indexing;   /* NULL: every order can be served */
    const struct query_policies *policies; /* NULL: nothing is declared */
};

/*
 * Complete a statement's tree. A parameter that is not supplied is undefined.
 *
 * fault    400 in the form of query/diagnosis.h: SC2001 for a name that no source binds, SC2005 and
 *          SC2050 for functions, and so on; a named refusal for what the language has and this
 *          server does not; a malformed or repeated parameter; more than a limit allows
 *          (query/bounds.h); 503
 */
bool check_query(struct arena *arena, struct ast_query *query, const struct check_input *input,
                 struct fault *fault) MUST_CHECK;

#endif
