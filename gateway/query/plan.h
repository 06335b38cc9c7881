/*
 * Query plans: how a client runs a query over several ranges.
 *
 * A client that merges by itself sends a query here first. The answer names the effective keys to
 * visit, what remains for the client to do, and the text to send to each range instead of the
 * original one: it must not do what the client will do, but may bound it. The rewritten texts are
 * queries like any other when they come back.
 *
 * A client works in this order: it merges the ranges by their sort values, or takes one after the
 * other; combines aggregates; tells distinct results; combines groups; skips OFFSET; takes LIMIT,
 * then TOP; counts. (The JavaScript SDK combines groups before it tells distinct results.) Queries
 * that need another order cannot be planned.
 *
 * source: query reference, section 10; protocol reference, sections 5.3, 5.4, 5.10; the JavaScript,
 * Python and Rust SDKs, which read all members
 */
#ifndef ORRERY_QUERY_PLAN_H
#define ORRERY_QUERY_PLAN_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/fault.h"
#include "model/pkey.h"
#include "query/ast.h"

struct query_policies;

struct plan_request {
    const struct ast_query *query; /* completed by check_query */
    const struct pkey_definition *definition;
    const struct pkey *given; /* partition key of the request, or its first components; NULL without
                               */
    const struct query_policies *policies; /* NULL: nothing is declared */
    struct slice features; /* what the client can do: names, separated by commas; header
                              x-ms-cosmos-supported-query-features */
};

/*
 * Append the plan as JSON.
 *
 * arena  what is made on the way
 * fault  400: what cannot be merged by a client ({"Errors":["…"]}), or the features that the query
 *        needs and the client lacks, by name; 503
 */
bool plan_print(struct buf *out, struct arena *arena, const struct plan_request *request,
                struct fault *fault) MUST_CHECK;

#endif
