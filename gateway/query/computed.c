#include "query/computed.h"

#include "model/index_policy.h"
#include "model/json.h"
#include "query/check.h"
#include "query/functions.h"
#include "query/parser.h"

#include "base/banned.h"

/* ---- What a definition may say ---- */

static const char *name_fault(const struct computed_properties *computed, struct slice name)
{
    static const char *const reserved[] = {"id", "_rid", "_ts", "_etag", "_self", "_attachments"};

    for (size_t i = 0; i < ARRAY_LEN(reserved); i++) {
        if (slice_equals_text(name, reserved[i]))
            return "has the name of a system property";
    }
    for (size_t i = 0; i < computed->count; i++) {
        if (slice_equals(name, computed->list[i].name))
            return "is defined twice";
    }
    return NULL;
}

/* What no expression may hold; NULL when there is nothing. */
static const char *expression_fault(const struct ast *node)
{
    if (node->query != NULL)
        return "has a subquery";
    if (node->kind == AST_PARAMETER)
        return "has a parameter";
    if (node->kind == AST_CALL && node->function->kind == FUNCTION_SPATIAL)
        return "calls a spatial function";
    if (node->kind == AST_CALL && node->function->kind == FUNCTION_VOLATILE)
        return "calls a function of time or chance";
    for (const struct ast *child = node->children; child != NULL; child = child->next) {
        const char *fault = expression_fault(child);
        if (fault != NULL)
            return fault;
    }
    return NULL;
}

/* SELECT VALUE expression FROM c, and nothing else */
static const char *query_fault(const struct ast_query *query)
{
    if (!query->is_value)
        return "is not of the form SELECT VALUE … FROM c";
    if (query->source_count != 1 || query->sources->kind != SOURCE_PATH ||
        query->sources->path->kind != AST_ALIAS)
        return "does not select from the container alone";
    if (query->is_distinct || query->top != NULL || query->where != NULL ||
        query->group_by != NULL || query->order_by != NULL || query->offset != NULL)
        return "has further clauses";
    if (query->is_aggregate)
        return "has an aggregate";
    return expression_fault(query->projection);
}

/* ---- Reading ---- */

static bool refuse(struct slice name, const char *what, struct fault *fault)
{
    return fault_set(fault, 400, SUB_NONE, "the computed property \"%.*s\" %s", FAULT_QUOTE(name),
                     what);
}

static bool expression_load(struct slice name, struct slice text, const struct ast **expression,
                            struct arena *arena, struct fault *fault)
{
    struct ast_query *query = arena_alloc(arena, sizeof(*query));
    const struct check_input input = {0};
    struct fault inner = {0};

    if (query == NULL)
        return fault_set_oom(fault);
    if (!parser_query(arena, text, query, &inner) || !check_query(arena, query, &input, &inner)) {
        if (inner.status == 400)
            return fault_set(fault, 400, SUB_NONE,
                             "the query of the computed property \"%.*s\" is refused: %s",
                             FAULT_QUOTE(name), inner.message);
        *fault = inner;
        return false;
    }
    const char *why = query_fault(query);
    if (why != NULL)
        return fault_set(fault, 400, SUB_NONE, "the query of the computed property \"%.*s\" %s",
                         FAULT_QUOTE(name), why);
    *expression = query->projection;
    return true;
}

static bool member(struct slice object, struct slice name, struct arena *arena, struct slice *text,
                   struct fault *fault)
{
    struct slice value;

    if (!json_find(object, name, &value) || json_type(value) != JSON_STRING)
        return fault_set(fault, 400, SUB_NONE, "computedProperties needs names and queries");
    return json_string_decode(value, arena, text, fault);
}

static bool property_load(struct computed_properties *computed, struct computed_property *property,
                          struct slice element, struct arena *arena, struct fault *fault)
{
    struct slice text = {0};

    if (!member(element, SLICE_LITERAL("name"), arena, &property->name, fault) ||
        !member(element, SLICE_LITERAL("query"), arena, &text, fault))
        return false;
    const char *why = name_fault(computed, property->name);
    if (why != NULL)
        return refuse(property->name, why, fault);
    return expression_load(property->name, text, &property->expression, arena, fault);
}

bool computed_load(struct computed_properties *computed, struct slice definition,
                   struct arena *arena, struct fault *fault)
{
    struct slice list, element;
    struct json_cursor cursor;
    size_t count = 0;

    *computed = (struct computed_properties){0};
    if (!json_find(definition, SLICE_LITERAL("computedProperties"), &list) ||
        json_type(list) != JSON_ARRAY)
        return true;
    cursor = json_iterate(list);
    while (json_next_element(&cursor, &element))
        count++;
    struct computed_property *properties = arena_alloc(arena, (count + 1) * sizeof(*properties));
    if (properties == NULL)
        return fault_set_oom(fault);
    computed->list = properties;
    cursor = json_iterate(list);
    while (json_next_element(&cursor, &element)) {
        if (!property_load(computed, &properties[computed->count], element, arena, fault))
            return false;
        computed->count++;
    }
    return true;
}

static bool is_computed(const struct computed_properties *computed, struct slice name)
{
    for (size_t i = 0; i < computed->count; i++) {
        if (slice_equals(computed->list[i].name, name))
            return true;
    }
    return false;
}

bool computed_check_replacement(struct slice definition, struct slice stored, struct arena *arena,
                                struct fault *fault)
{
    struct computed_properties computed, before;
    struct index_policy policy;
    struct slice indexing;

    if (!computed_load(&computed, definition, arena, fault) ||
        !computed_load(&before, stored, arena, fault))
        return false;
    if (!json_find(stored, SLICE_LITERAL("indexingPolicy"), &indexing))
        return true;
    if (!index_policy_parse(&policy, indexing, arena, fault))
        return false;
    for (size_t i = 0; i < computed.count; i++) {
        struct slice name = computed.list[i].name;

        if (!is_computed(&before, name) && index_policy_mentions(&policy, name))
            return refuse(name, "has the name of a path that is indexed already", fault);
    }
    return true;
}
