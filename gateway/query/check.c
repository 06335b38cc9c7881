/*
 * One walk over the statement, subqueries where they stand.
 *
 * A scope is a query while it is walked: its aliases are looked up from the innermost scope
 * outwards. What is allowed depends on the region of the query that the walk is in; the region is
 * the scope's, so a subquery in a projection begins with its own.
 *
 * Whether a projection is one of groups shows only when an aggregate is met, so the first reference
 * that groups would not have is noted on the way and refused at the end.
 */
#include "query/check.h"

#include "query/functions.h"
#include "query/parameters.h"

#include "base/banned.h"

struct check {
    struct arena *arena;
    const struct check_input *input;
    struct parameters parameters;
    struct slice text;
    unsigned slot_count;
    struct fault *fault;
};

enum region {
    REGION_ROW,        /* FROM, WHERE, GROUP BY: values of one row */
    REGION_PROJECTION, /* of a row, or of a group */
    REGION_ARGUMENT,   /* of an aggregate, for each row of the group */
    REGION_ORDER,
};

struct scope {
    const struct scope *outer;
    struct ast_query *query;
    const struct ast_source *until; /* this source and those after it are not bound yet */
    enum region region;
    bool names_container;        /* the first source begins with the container's name */
    const struct ast *ungrouped; /* first reference to a row in the projection */
    const struct ast *aggregate; /* the one whose argument is walked */
    unsigned aggregates_capacity;
};

static bool expression_check(struct check *check, struct scope *scope, struct ast *node);
static bool query_check(struct check *check, struct scope *scope);

/* ---- names ---- */

/* The source with that alias, innermost first; *owner is the scope that binds it. */
static const struct ast_source *alias_find(struct scope *scope, struct slice name,
                                           struct scope **owner)
{
    for (struct scope *at = scope; at != NULL; at = (struct scope *) (uintptr_t) at->outer) {
        for (const struct ast_source *source = at->query->sources;
             source != NULL && source != at->until; source = source->next) {
            if (source->alias.len > 0 && slice_equals(source->alias, name)) {
                *owner = at;
                return source;
            }
        }
    }
    return NULL;
}

static bool unresolved(struct check *check, const struct ast *node)
{
    return diagnosis_set(check->fault, check->text, node->span, "SC2001",
                         "Identifier '%.*s' could not be resolved.", FAULT_QUOTE(node->name));
}

/* An alias, as the root of the reference it begins. */
static bool alias_check(struct check *check, struct scope *scope, struct ast *node,
                        const struct ast *reference)
{
    struct scope *owner = NULL;
    const struct ast_source *source = alias_find(scope, node->name, &owner);

    if (source == NULL)
        return unresolved(check, node);
    node->slot = source->slot;
    if (owner->region == REGION_PROJECTION && owner->ungrouped == NULL)
        owner->ungrouped = reference;
    return true;
}

/* A property of the item that the container computes. */
static void computed_mark(const struct check *check, struct ast *node)
{
    const struct ast *base = node->children;

    if (node->kind != AST_MEMBER || base->kind != AST_ALIAS || base->slot != 0)
        return;
    for (size_t i = 0; i < check->input->computed_count; i++) {
        if (slice_equals(node->name, check->input->computed[i].name))
            node->computed = check->input->computed[i].expression;
    }
}

/* A chain of members and elements, outermost first, and what it begins with. */
static bool chain_check(struct check *check, struct scope *scope, struct ast *reference)
{
    struct ast *node = reference;

    while (node->kind == AST_MEMBER || node->kind == AST_INDEX) {
        if (node->kind == AST_INDEX && !expression_check(check, scope, node->children->next))
            return false;
        node = node->children;
    }
    if (node->kind != AST_ALIAS)
        return expression_check(check, scope, node);
    if (!alias_check(check, scope, node, reference))
        return false;
    for (node = reference; node->kind != AST_ALIAS; node = node->children)
        computed_mark(check, node);
    return true;
}

/* ---- calls ---- */

static bool aggregate_refused(struct check *check, const struct ast *aggregate)
{
    return diagnosis_set(check->fault, check->text, aggregate->span, "SC2101",
                         "Cannot perform an aggregate function on an expression containing an "
                         "aggregate or a subquery.");
}

static bool aggregate_number(struct check *check, struct scope *scope, struct ast *node)
{
    struct ast_query *query = scope->query;

    if (query->aggregate_count == scope->aggregates_capacity) {
        unsigned capacity = query->aggregate_count == 0 ? 4 : 2 * query->aggregate_count;
        const struct ast **more = arena_alloc(check->arena, capacity * sizeof(*more));

        if (more == NULL)
            return fault_set_oom(check->fault);
        if (query->aggregate_count > 0)
            memcpy(more, query->aggregates, query->aggregate_count * sizeof(*more));
        query->aggregates = more;
        scope->aggregates_capacity = capacity;
    }
    query->aggregates[query->aggregate_count++] = node;
    node->aggregate = query->aggregate_count;
    query->is_aggregate = true;
    return true;
}

static bool aggregate_check(struct check *check, struct scope *scope, struct ast *node)
{
    if (scope->region == REGION_ARGUMENT)
        return aggregate_refused(check, scope->aggregate);
    if (scope->region != REGION_PROJECTION)
        return diagnosis_unsupported(check->fault, check->text, node->name_span,
                                     "aggregate outside the select list");
    scope->region = REGION_ARGUMENT;
    scope->aggregate = node;
    bool is_sound =
        aggregate_number(check, scope, node) && expression_check(check, scope, node->children);
    scope->region = REGION_PROJECTION;
    return is_sound;
}

static bool arguments_check(struct check *check, const struct ast *node,
                            const struct function *function)
{
    char wanted[40];

    if (function_takes(function, node->child_count))
        return true;
    function_describe_arguments(function, wanted, sizeof(wanted));
    return diagnosis_set(check->fault, check->text, node->span, "SC2050",
                         "The %s function requires %s argument(s).", function->name, wanted);
}

static bool children_check(struct check *check, struct scope *scope, struct ast *node)
{
    for (struct ast *child = node->children; child != NULL; child = child->next) {
        if (!expression_check(check, scope, child))
            return false;
    }
    return true;
}

static bool call_check(struct check *check, struct scope *scope, struct ast *node)
{
    if (node->is_udf)
        return diagnosis_unsupported(check->fault, check->text, node->name_span,
                                     "user-defined function");
    const struct function *function = function_find(node->name);
    if (function == NULL)
        return diagnosis_set(check->fault, check->text, node->name_span, "SC2005",
                             "'%.*s' is not a recognized built-in function name.",
                             FAULT_QUOTE(node->name));
    if (function->kind == FUNCTION_SCORE)
        return diagnosis_set(check->fault, check->text, node->name_span, "SC2240",
                             "The %s function is only allowed in the ORDER BY RANK clause.",
                             function->name);
    if (!arguments_check(check, node, function))
        return false;
    node->function = function;
    if (function->kind == FUNCTION_AGGREGATE)
        return aggregate_check(check, scope, node);
    if (function->evaluate == NULL)
        return diagnosis_unsupported(check->fault, check->text, node->name_span, function->name);
    return children_check(check, scope, node);
}

/* ---- expressions ---- */

static bool subquery_check(struct check *check, struct scope *outer, const struct ast *node)
{
    struct scope scope = {.outer = outer, .query = node->query};

    if (outer->region == REGION_ARGUMENT)
        return aggregate_refused(check, outer->aggregate);
    return query_check(check, &scope);
}

/* Which key of its group an expression is; 0 for none. */
static unsigned group_key_find(const struct scope *scope, const struct ast *node)
{
    unsigned number = 1;

    if (scope->region != REGION_PROJECTION || scope->query->group_by == NULL)
        return 0;
    for (const struct ast *key = scope->query->group_by->children; key != NULL; key = key->next) {
        if (ast_equals(key, node))
            return number;
        number++;
    }
    return 0;
}

static bool expression_check(struct check *check, struct scope *scope, struct ast *node)
{
    node->group_key = group_key_find(scope, node);
    if (node->group_key != 0) {
        /* Complete, but no reference to a row. */
        scope->region = REGION_ROW;
        bool is_sound = expression_check(check, scope, node);
        scope->region = REGION_PROJECTION;
        node->group_key = group_key_find(scope, node);
        return is_sound;
    }
    switch (node->kind) {
    case AST_ALIAS:
    case AST_MEMBER:
    case AST_INDEX:
        return chain_check(check, scope, node);
    case AST_PARAMETER:
        node->value = parameters_find(&check->parameters, node->name);
        return true;
    case AST_CALL:
        return call_check(check, scope, node);
    case AST_SUBQUERY:
    case AST_EXISTS:
    case AST_ARRAY_QUERY:
    case AST_ALL:
    case AST_FIRST:
    case AST_LAST:
        return subquery_check(check, scope, node);
    default:
        return children_check(check, scope, node);
    }
}

/* ---- clauses ---- */

static struct ast *path_root(struct ast *path)
{
    while (path->kind != AST_ALIAS)
        path = path->children;
    return path;
}

/* What a source reads: a path of the container or of an earlier source, or a query. */
static bool source_reads(struct check *check, struct scope *scope, struct ast_source *source)
{
    bool is_container = scope->names_container && source == scope->query->sources;

    if (source->query != NULL) {
        struct scope inner = {
            .outer = scope, .query = source->query, .names_container = is_container};
        return query_check(check, &inner);
    }
    if (!is_container)
        return chain_check(check, scope, source->path);
    path_root(source->path)->slot = 0;
    for (struct ast *node = source->path; node->kind != AST_ALIAS; node = node->children)
        computed_mark(check, node);
    return true;
}

static bool alias_is_taken(const struct ast_query *query, const struct ast_source *source)
{
    for (const struct ast_source *other = query->sources; other != source; other = other->next) {
        if (source->alias.len > 0 && slice_equals(other->alias, source->alias))
            return true;
    }
    return false;
}

static bool sources_check(struct check *check, struct scope *scope)
{
    struct ast_query *query = scope->query;

    for (struct ast_source *source = query->sources; source != NULL; source = source->next) {
        scope->until = source;
        if (!source_reads(check, scope, source))
            return false;
        if (alias_is_taken(query, source))
            return diagnosis_set(
                check->fault, check->text, source->alias_span, "SC2011",
                "The input alias '%.*s' is specified more than once in the FROM clause.",
                FAULT_QUOTE(source->alias));
        bool is_item = source->kind == SOURCE_PATH && source->path->kind == AST_ALIAS &&
                       source->path->slot == 0;
        source->slot = is_item ? 0 : check->slot_count++;
    }
    scope->until = NULL;
    return true;
}

/* The value of TOP, OFFSET or LIMIT. */
static bool count_check(struct check *check, struct ast *node, const char *code, const char *clause,
                        uint64_t *count)
{
    if (node->kind == AST_PARAMETER)
        node->value = parameters_find(&check->parameters, node->name);
    double number = cJSON_IsNumber(node->value) ? node->value->valuedouble : -1;
    if (number >= 0 && number <= CHECK_COUNT_MAX && number == (double) (uint64_t) number) {
        *count = (uint64_t) number;
        return true;
    }
    if (number > CHECK_COUNT_MAX && strcmp(clause, "TOP") != 0)
        return diagnosis_set(check->fault, check->text, node->span, code,
                             "The %s count value exceeds the maximum allowed value.", clause);
    return diagnosis_set(check->fault, check->text, node->span, code,
                         "The count value provided for a %s clause must be an integer.", clause);
}

static bool counts_check(struct check *check, struct ast_query *query)
{
    query->has_top = query->top != NULL;
    query->has_window = query->offset != NULL;
    return (!query->has_top ||
            count_check(check, query->top, "SC2060", "TOP", &query->top_count)) &&
           (!query->has_window ||
            (count_check(check, query->offset, "SC2062", "OFFSET", &query->offset_count) &&
             count_check(check, query->limit, "SC2061", "LIMIT", &query->limit_count)));
}

/* '*' is the value of the only source, for each row. */
static bool star_check(struct check *check, const struct ast_query *query)
{
    struct span span = query->clause_spans[CLAUSE_PROJECTION];

    if (query->sources == NULL)
        return diagnosis_set(check->fault, check->text, span, "SC1001",
                             "Syntax error, 'SELECT *' is not valid if FROM clause is omitted.");
    if (query->source_count > 1)
        return diagnosis_set(check->fault, check->text, span, "SC2040",
                             "'SELECT *' is only valid with a single input set.");
    if (query->group_by == NULL)
        return true;
    /* The service points behind the words, not at them. */
    span = query->clause_spans[CLAUSE_GROUP];
    span = (struct span){span.end, span.end + 1};
    return diagnosis_set(check->fault, check->text, span, "SC2041",
                         "'SELECT *' is not allowed with GROUP BY.");
}

static bool projection_check(struct check *check, struct scope *scope)
{
    struct ast_query *query = scope->query;
    struct slice text = check->text;

    query->is_aggregate = query->group_by != NULL;
    if (query->is_star)
        return star_check(check, query);
    if (query->projection == NULL)
        return true;
    scope->region = REGION_PROJECTION;
    if (!expression_check(check, scope, query->projection))
        return false;
    if (!query->is_aggregate || scope->ungrouped == NULL)
        return true;
    struct span span = scope->ungrouped->span;
    return diagnosis_set(check->fault, text, span, "SC2102",
                         "Property reference '%.*s' is invalid in the select list because it is "
                         "not contained in either an aggregate function or the GROUP BY clause.",
                         FAULT_QUOTE(slice_make(text.ptr + span.start, span.end - span.start)));
}

static bool order_check(struct check *check, struct scope *scope)
{
    scope->region = REGION_ORDER;
    for (struct ast_order *order = scope->query->order_by; order != NULL; order = order->next) {
        if (!expression_check(check, scope, order->expression))
            return false;
    }
    return true;
}

static bool query_check(struct check *check, struct scope *scope)
{
    struct ast_query *query = scope->query;

    if (!sources_check(check, scope))
        return false;
    scope->region = REGION_ROW;
    return (query->where == NULL || expression_check(check, scope, query->where)) &&
           (query->group_by == NULL || children_check(check, scope, query->group_by)) &&
           projection_check(check, scope) && order_check(check, scope) &&
           counts_check(check, query);
}

bool check_query(struct arena *arena, struct ast_query *query, const struct check_input *input,
                 struct fault *fault)
{
    struct scope scope = {.query = query, .names_container = true};
    struct check check = {
        .arena = arena, .input = input, .text = query->text, .slot_count = 1, .fault = fault};

    if (!parameters_read(&check.parameters, arena, input->parameters, fault) ||
        !query_check(&check, &scope))
        return false;
    query->slot_count = check.slot_count;
    return true;
}
