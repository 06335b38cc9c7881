#include "query/filter.h"

#include "model/json.h"
#include "query/check.h"
#include "query/eval.h"
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
    if (!json_find(json.root, SLICE_LITERAL("parameters"), &value) || json_type(value) == JSON_NULL)
        return true;
    if (json_type(value) != JSON_ARRAY)
        return fault_set(fault, 400, SUB_NONE, "the query's \"parameters\" are no array");
    return tree_parse(arena, value, &spec->parameters, fault);
}

bool filter_parse_projecting(struct arena *arena, struct slice text, const cJSON *parameters,
                             struct filter *filter, struct fault *fault)
{
    return parser_query(arena, text, &filter->query, fault) &&
           check_query(arena, &filter->query, parameters, fault);
}

bool filter_parse(struct arena *arena, struct slice text, const cJSON *parameters,
                  struct filter *filter, struct fault *fault)
{
    if (!filter_parse_projecting(arena, text, parameters, filter, fault))
        return false;
    const struct ast_query *query = &filter->query;
    bool selects_document = query->projection == NULL || query->projection->kind == AST_ALIAS;
    if (!selects_document)
        return diagnosis_unsupported(fault, text, query->projection_span, "projection");
    return true;
}

bool filter_parse_condition(struct arena *arena, struct slice text, struct filter *filter,
                            struct fault *fault)
{
    return parser_condition(arena, text, &filter->query, fault) &&
           check_query(arena, &filter->query, NULL, fault);
}

bool filter_matches(const struct filter *filter, const cJSON *document, struct arena *arena,
                    bool *matches, struct fault *fault)
{
    struct eval eval;

    *matches = true;
    if (filter->query.where == NULL)
        return true;
    eval_init(&eval, arena, document, fault);
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
    eval_init(&eval, arena, document, fault);
    *value = eval_expression(&eval, filter->query.projection);
    return !eval.has_failed;
}
