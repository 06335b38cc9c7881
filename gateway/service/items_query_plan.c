/*
 * Query plans: POST …/docs with x-ms-cosmos-is-query-plan-request.
 *
 * Nothing is read but the container: the query is compiled as it would be to be run, for the
 * partition key of the request if there is one. Clients ask for plans all the time (the JavaScript
 * SDK for every query) and often do without the answer.
 *
 * source: protocol reference, section 5.3
 */
#include "model/charge.h"
#include "query/check.h"
#include "query/filter.h"
#include "query/parser.h"
#include "query/plan.h"
#include "service/item_scope.h"
#include "service/items_query.h"

#include "base/banned.h"

struct query_plan {
    struct query_spec spec;
    struct ast_query query;
    struct item_scope scope;
};

static op_step plan_make; /* compile for the container, answer */

enum op_next items_query_plan(struct op *op)
{
    if (!op_alloc_self(op, sizeof(struct query_plan)))
        return OP_FAILED;
    struct query_plan *self = op_self(op, struct query_plan);
    if (!query_body_parse(&op->arena, call_of(op)->request.body, &self->spec, &op->fault))
        return OP_FAILED;
    return call_resolve(op, plan_make);
}

static bool compile(struct query_plan *self, struct call *call)
{
    const struct container *container = call->container;
    struct op *op = &call->op;
    const struct check_input input = {.parameters = self->spec.parameters,
                                      .computed = container->computed,
                                      .indexing = &container->settings.indexing,
                                      .policies = &container->policies};

    return parser_query(&op->arena, self->spec.text, &self->query, &op->fault) &&
           check_query(&op->arena, &self->query, &input, &op->fault);
}

static enum op_next plan_make(struct op *op)
{
    struct query_plan *self = op_self(op, struct query_plan);
    struct call *call = call_of(op);
    struct buf body = {0};

    if (!item_scope_from_headers(&self->scope, call) ||
        !item_scope_check_access(&self->scope, call) || !compile(self, call))
        return OP_FAILED;
    const struct plan_request request = {
        .query = &self->query,
        .definition = &call->container->settings.partition_key,
        .given = self->scope.pkey.count > 0 ? &self->scope.pkey : NULL,
        .policies = &call->container->policies,
        .features = call->request.headers.at[HEADER_SUPPORTED_QUERY_FEATURES]};
    if (!plan_print(&body, &op->arena, &request, &op->fault)) {
        buf_finish(&body);
        return OP_FAILED;
    }
    call->reply.charge_cru = CHARGE_METADATA_READ_CRU;
    return call_reply_json(op, 200, &body);
}
