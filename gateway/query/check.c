#include "query/check.h"

#include "query/diagnosis.h"
#include "query/functions.h"

#include <stdlib.h>

#include "base/banned.h"

/* Parameters sorted by name, because generated queries use thousands of them. */
struct check {
    const struct ast_query *query;
    const cJSON **parameters;
    size_t parameters_count;
    struct fault *fault;
};

static const char *parameter_name(const cJSON *parameter)
{
    return cJSON_GetObjectItemCaseSensitive(parameter, "name")->valuestring;
}

static int parameters_compare(const void *a, const void *b)
{
    return strcmp(parameter_name(*(const cJSON *const *) a),
                  parameter_name(*(const cJSON *const *) b));
}

static bool parameter_is_sound(const cJSON *parameter)
{
    const cJSON *name = cJSON_GetObjectItemCaseSensitive(parameter, "name");

    return cJSON_IsObject(parameter) && cJSON_IsString(name) && name->valuestring[0] == '@';
}

static bool parameters_sort(struct check *check, struct arena *arena, const cJSON *list)
{
    const cJSON *parameter;

    if (list == NULL || cJSON_IsNull(list))
        return true;
    if (!cJSON_IsArray(list))
        return fault_set(check->fault, 400, SUB_NONE, "the query's \"parameters\" are no array");
    check->parameters =
        arena_alloc(arena, ((size_t) cJSON_GetArraySize(list) + 1) * sizeof(cJSON *));
    if (check->parameters == NULL)
        return fault_set_oom(check->fault);
    cJSON_ArrayForEach(parameter, list)
    {
        if (!parameter_is_sound(parameter))
            return fault_set(check->fault, 400, SUB_NONE,
                             "a query parameter needs a \"name\" that begins with @");
        check->parameters[check->parameters_count++] = parameter;
    }
    qsort(check->parameters, check->parameters_count, sizeof(cJSON *), parameters_compare);
    for (size_t i = 1; i < check->parameters_count; i++) {
        const char *name = parameter_name(check->parameters[i]);
        if (strcmp(name, parameter_name(check->parameters[i - 1])) == 0)
            return fault_set(check->fault, 400, SUB_NONE,
                             "query parameter \"%.80s\" is given twice", name);
    }
    return true;
}

static const cJSON *parameter_value(const struct check *check, struct slice name)
{
    size_t low = 0, high = check->parameters_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const cJSON *parameter = check->parameters[middle];
        struct slice found = slice_from_text(parameter_name(parameter));
        int order = memcmp(name.ptr, found.ptr, name.len < found.len ? name.len : found.len);

        if (order == 0 && name.len == found.len)
            return cJSON_GetObjectItemCaseSensitive(parameter, "value");
        if (order < 0 || (order == 0 && name.len < found.len))
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

static bool alias_check(const struct check *check, const struct ast *node)
{
    struct slice alias = check->query->source.alias;

    if (alias.len > 0 && slice_equals(alias, node->name))
        return true;
    return diagnosis_set(check->fault, check->query->text, node->span, "SC2001",
                         "Identifier '%.*s' could not be resolved.", FAULT_QUOTE(node->name));
}

static bool call_check(const struct check *check, struct ast *node)
{
    struct slice text = check->query->text;

    if (node->is_udf)
        return diagnosis_unsupported(check->fault, text, node->name_span, "user-defined function");
    const struct function *function = function_find(node->name);
    if (function == NULL)
        return diagnosis_set(check->fault, text, node->name_span, "SC2005",
                             "'%.*s' is not a recognized built-in function name.",
                             FAULT_QUOTE(node->name));
    if (function->fault_code != NULL)
        return diagnosis_set(check->fault, text, node->name_span, function->fault_code,
                             "The %s function is only allowed in the ORDER BY RANK clause.",
                             function->name);
    if (!function_takes(function, node->child_count)) {
        char wanted[40];
        function_describe_arguments(function, wanted, sizeof(wanted));
        return diagnosis_set(check->fault, text, node->span, "SC2050",
                             "The %s function requires %s argument(s).", function->name, wanted);
    }
    if (function->evaluate == NULL)
        return diagnosis_unsupported(check->fault, text, node->name_span, function->name);
    node->function = function;
    return true;
}

static bool node_check(const struct check *check, struct ast *node)
{
    if (node->kind == AST_ALIAS && !alias_check(check, node))
        return false;
    if (node->kind == AST_CALL && !call_check(check, node))
        return false;
    if (node->kind == AST_PARAMETER)
        node->value = parameter_value(check, node->name);
    for (struct ast *child = node->children; child != NULL; child = child->next) {
        if (!node_check(check, child))
            return false;
    }
    return true;
}

bool check_query(struct arena *arena, struct ast_query *query, const cJSON *parameters,
                 struct fault *fault)
{
    struct check check = {.query = query, .fault = fault};

    if (!parameters_sort(&check, arena, parameters))
        return false;
    return (query->projection == NULL || node_check(&check, query->projection)) &&
           (query->where == NULL || node_check(&check, query->where));
}
