#include "query/filter.h"

#include "model/json.h"
#include "query/check.h"
#include "query/eval.h"
#include "query/functions.h"
#include "query/parser.h"
#include "query/text.h"

#include "base/banned.h"

static void tree_free(void *tree)
{
    cJSON_Delete(tree);
}

/* A validated span of JSON as a tree that the arena owns. */
static bool tree_parse(struct arena *arena, struct slice json, const cJSON **tree,
                       struct fault *fault)
{
    cJSON *parsed = cJSON_ParseWithLength(json.ptr, json.len);

    if (parsed == NULL || !arena_defer(arena, tree_free, parsed))
        return fault_set_oom(fault);
    *tree = parsed;
    return true;
}

/* A member of the body that may be absent or null. */
static bool body_member(struct arena *arena, struct slice root, const char *name,
                        enum json_type type, const cJSON **tree, struct fault *fault)
{
    struct slice value;

    if (!json_find(root, slice_from_text(name), &value) || json_type(value) == JSON_NULL)
        return true;
    if (json_type(value) != type)
        return fault_set(fault, 400, SUB_NONE, "the query's \"%s\" is no %s", name,
                         type == JSON_ARRAY ? "array" : "object");
    return tree_parse(arena, value, tree, fault);
}

bool query_body_parse(struct arena *arena, struct slice body, struct query_spec *spec,
                      struct fault *fault)
{
    struct json_text json;
    struct slice value;

    *spec = (struct query_spec){0};
    if (!json_validate(body, JSON_DEPTH_MAX_ENVELOPE, &json, fault))
        return false;
    if (!json_find(json.root, SLICE_LITERAL("query"), &value) || json_type(value) != JSON_STRING)
        return fault_set(fault, 400, SUB_NONE, "the body needs a \"query\" that is a string");
    if (!json_string_decode(value, arena, &spec->text, fault))
        return false;
    if (text_units(spec->text) > PARSER_TEXT_MAX)
        return fault_set(fault, 400, SUB_NONE, "the query text is longer than %d characters",
                         PARSER_TEXT_MAX);
    return body_member(arena, json.root, "parameters", JSON_ARRAY, &spec->parameters, fault) &&
           body_member(arena, json.root, "resumeFilter", JSON_OBJECT, &spec->resume, fault);
}

static bool unsupported(const struct ast_query *query, enum ast_clause clause, const char *what,
                        struct fault *fault)
{
    return diagnosis_unsupported(fault, query->text, query->clause_spans[clause], what);
}

/* Documents are asked one by one: no clause may need several, or several rows of one. */
static bool clauses_are_served(const struct ast_query *query, struct fault *fault)
{
    const struct ast_source *source = query->sources;

    if (query->is_distinct)
        return unsupported(query, CLAUSE_DISTINCT, "DISTINCT", fault);
    if (query->top != NULL)
        return unsupported(query, CLAUSE_TOP, "TOP", fault);
    if (source != NULL && source->query != NULL)
        return diagnosis_unsupported(fault, query->text, source->span, "subquery in FROM");
    if (source != NULL && source->kind == SOURCE_ARRAY)
        return diagnosis_unsupported(fault, query->text, source->span, "IN in FROM");
    if (source != NULL && source->path->kind != AST_ALIAS)
        return diagnosis_unsupported(fault, query->text, source->path->span, "path in FROM");
    if (query->source_count > 1)
        return unsupported(query, CLAUSE_JOIN, "JOIN", fault);
    if (query->group_by != NULL)
        return unsupported(query, CLAUSE_GROUP, "GROUP BY", fault);
    if (query->order_by != NULL)
        return unsupported(query, CLAUSE_ORDER, "ORDER BY", fault);
    if (query->offset != NULL)
        return unsupported(query, CLAUSE_OFFSET, "OFFSET LIMIT", fault);
    return true;
}

/* What a parsed query needs before it can be asked. */
static bool filter_check(struct arena *arena, struct ast_query *query, const cJSON *parameters,
                         struct fault *fault)
{
    struct check_input input = {.parameters = parameters};

    if (!clauses_are_served(query, fault) || !check_query(arena, query, &input, fault))
        return false;
    if (query->is_aggregate)
        return diagnosis_unsupported(fault, query->text, query->aggregates[0]->name_span,
                                     query->aggregates[0]->function->name);
    return true;
}

bool filter_parse(struct arena *arena, struct slice text, const cJSON *parameters,
                  struct filter *filter, struct fault *fault)
{
    filter->now_us = 0;
    return parser_query(arena, text, &filter->query, fault) &&
           filter_check(arena, &filter->query, parameters, fault);
}

bool filter_parse_condition(struct arena *arena, struct slice text, struct filter *filter,
                            struct fault *fault)
{
    filter->now_us = 0;
    return parser_condition(arena, text, &filter->query, fault) &&
           filter_check(arena, &filter->query, NULL, fault);
}

/* An eval over one document. False (503) without memory. */
static bool eval_begin(struct eval *eval, const struct filter *filter, const cJSON *document,
                       struct arena *arena, struct fault *fault)
{
    const cJSON **slots = arena_alloc(arena, filter->query.slot_count * sizeof(*slots));

    if (slots == NULL)
        return fault_set_oom(fault);
    eval_init(eval, arena, slots, fault);
    eval->now_us = filter->now_us;
    eval->seed = (uint64_t) filter->now_us;
    eval_item(eval, document);
    return true;
}

bool filter_matches(const struct filter *filter, const cJSON *document, struct arena *arena,
                    bool *matches, struct fault *fault)
{
    struct eval eval;

    *matches = true;
    if (filter->query.where == NULL)
        return true;
    if (!eval_begin(&eval, filter, document, arena, fault))
        return false;
    *matches = value_is_true(eval_expression(&eval, filter->query.where));
    return !eval.has_failed;
}

bool filter_project(const struct filter *filter, const cJSON *document, struct arena *arena,
                    const cJSON **value, struct fault *fault)
{
    struct eval eval;

    *value = document;
    if (filter->query.projection == NULL)
        return true;
    if (!eval_begin(&eval, filter, document, arena, fault))
        return false;
    *value = eval_output(&eval, filter->query.projection);
    return !eval.has_failed;
}
