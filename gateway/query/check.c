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
#include "query/ordering.h"
#include "query/parameters.h"

#include <math.h>

#include "base/banned.h"

struct check {
    struct arena *arena;
    const struct check_input *input;
    struct parameters parameters;
    struct slice text;
    unsigned slot_count;
    unsigned join_count;
    struct fault *fault;
};

enum region {
    REGION_ROW,        /* FROM, WHERE: values of one row */
    REGION_KEY,        /* GROUP BY: the same, without subqueries */
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
    const struct computed_properties *computed = &check->input->computed;
    for (size_t i = 0; i < computed->count; i++) {
        if (slice_equals(node->name, computed->list[i].name))
            node->computed = computed->list[i].expression;
    }
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

/* An expression that is a key of its group: complete, but no reference to a row. */
static bool group_key_check(struct check *check, struct scope *scope, struct ast *node,
                            unsigned key)
{
    scope->region = REGION_ROW;
    bool is_sound = expression_check(check, scope, node);
    scope->region = REGION_PROJECTION;
    node->group_key = key;
    return is_sound;
}

/* A chain of members and elements, outermost first, and what it begins with. */
static bool chain_check(struct check *check, struct scope *scope, struct ast *reference)
{
    struct ast *node = reference;

    while (node->kind == AST_MEMBER || node->kind == AST_INDEX) {
        if (node->kind == AST_INDEX && !expression_check(check, scope, node->children->next))
            return false;
        node = node->children;
        unsigned key = group_key_find(scope, node);
        if (key != 0)
            return group_key_check(check, scope, node, key);
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

/* searchListSizeMultiplier among the options of VectorDistance */
static bool distance_options_check(struct check *check, const struct ast *node)
{
    const struct ast *options = node->last_child;

    if (options->kind != AST_OBJECT)
        return true;
    for (const struct ast *member = options->children; member != NULL; member = member->next) {
        if (!slice_equals_text(member->key, "searchListSizeMultiplier") ||
            !cJSON_IsNumber(member->value))
            continue;
        double multiplier = member->value->valuedouble;
        if (!(multiplier >= 1 && multiplier <= 100) || trunc(multiplier) != multiplier)
            return diagnosis_set(check->fault, check->text, member->span, "SC2213",
                                 "The searchListSizeMultiplier option of the %s function must be "
                                 "an integer between 1 and 100.",
                                 node->function->name);
    }
    return true;
}

static bool is_key_of_rank(const struct scope *scope, const struct ast *node)
{
    const struct ast_order *order = scope->query->order_by;

    while (order != NULL && order->expression != node)
        order = order->next;
    return order != NULL && scope->query->order_is_rank;
}

/* The function of a call, where it may be called. */
static bool function_check(struct check *check, const struct scope *scope, struct ast *node)
{
    const struct function *function = function_find(node->name);

    if (function == NULL || (function->kind == FUNCTION_FUSION && !is_key_of_rank(scope, node)))
        return diagnosis_set(check->fault, check->text, node->name_span, "SC2005",
                             "'%.*s' is not a recognized built-in function name.",
                             FAULT_QUOTE(node->name));
    if (function->kind == FUNCTION_SCORE &&
        (scope->region != REGION_ORDER || !scope->query->order_is_rank))
        return diagnosis_set(check->fault, check->text, node->span, "SC2240",
                             "The %s function is only allowed in the ORDER BY RANK clause.",
                             function->name);
    node->function = function;
    return true;
}

static bool call_check(struct check *check, struct scope *scope, struct ast *node)
{
    if (node->is_udf)
        return diagnosis_unsupported(check->fault, check->text, node->name_span,
                                     "user-defined function");
    if (!function_check(check, scope, node) || !arguments_check(check, node, node->function))
        return false;
    if (node->function->kind == FUNCTION_AGGREGATE)
        return aggregate_check(check, scope, node);
    if (node->function->evaluate == NULL)
        return diagnosis_unsupported(check->fault, check->text, node->name_span,
                                     node->function->name);
    return children_check(check, scope, node) &&
           (node->function->kind != FUNCTION_DISTANCE || distance_options_check(check, node));
}

/* ---- expressions ---- */

static bool subquery_check(struct check *check, struct scope *outer, const struct ast *node)
{
    struct scope scope = {.outer = outer, .query = node->query};

    if (outer->region == REGION_ARGUMENT)
        return aggregate_refused(check, outer->aggregate);
    if (outer->region == REGION_KEY)
        return diagnosis_unsupported(check->fault, check->text, node->span, "subquery in GROUP BY");
    return query_check(check, &scope);
}

static bool expression_check(struct check *check, struct scope *scope, struct ast *node)
{
    unsigned key = group_key_find(scope, node);

    if (key != 0)
        return group_key_check(check, scope, node, key);
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

static bool joins_check(struct check *check, const struct ast_query *query)
{
    if (query->source_count > 1)
        check->join_count += query->source_count - 1;
    if (check->join_count <= CHECK_JOINS_MAX)
        return true;
    return diagnosis_message(check->fault,
                             "The SQL query exceeded the maximum number of joins. The allowed "
                             "limit is %d.",
                             CHECK_JOINS_MAX);
}

static bool sources_check(struct check *check, struct scope *scope)
{
    struct ast_query *query = scope->query;

    if (!joins_check(check, query))
        return false;
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
                         "The count value provided for %s %s clause must be an integer.",
                         strcmp(clause, "OFFSET") == 0 ? "an" : "a", clause);
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
    struct ast_query *query = scope->query;

    if (!ordering_check_shape(query, check->fault))
        return false;
    scope->region = REGION_ORDER;
    for (struct ast_order *order = query->order_by; order != NULL; order = order->next) {
        if (!expression_check(check, scope, order->expression))
            return false;
    }
    return ordering_check_keys(check->arena, query, check->input, check->fault);
}

/* Clauses that subqueries may not have; all of them are told. */
static bool clauses_check(struct check *check, const struct ast_query *query)
{
    const struct span *spans = query->clause_spans;
    struct fault *fault = check->fault;
    bool is_sound = true;

    if (query->outer == NULL)
        return true;
    if (query->top != NULL)
        is_sound = diagnosis_add(fault, check->text, spans[CLAUSE_TOP], "SC2203",
                                 "'TOP' is not supported in subqueries.");
    if (query->order_by != NULL && query->order_is_rank)
        is_sound = diagnosis_add(fault, check->text, spans[CLAUSE_ORDER], "SC2228",
                                 "'ORDER BY RANK' is not supported in subqueries.");
    else if (query->order_by != NULL)
        is_sound = diagnosis_add(fault, check->text, spans[CLAUSE_ORDER], "SC2202",
                                 "'ORDER BY' is not supported in subqueries.");
    if (query->offset != NULL)
        is_sound = diagnosis_add(fault, check->text, spans[CLAUSE_OFFSET], "SC2204",
                                 "'OFFSET LIMIT' clause is not supported in subqueries.");
    return is_sound;
}

static bool group_by_check(struct check *check, struct scope *scope)
{
    struct ast *keys = scope->query->group_by;

    scope->region = REGION_KEY;
    if (keys == NULL)
        return true;
    if (keys->child_count > CHECK_GROUP_KEYS_MAX)
        return diagnosis_message(check->fault, "A query can be grouped by at most %d keys.",
                                 CHECK_GROUP_KEYS_MAX);
    return children_check(check, scope, keys);
}

static bool where_check(struct check *check, struct scope *scope)
{
    scope->region = REGION_ROW;
    return scope->query->where == NULL || expression_check(check, scope, scope->query->where);
}

static bool query_check(struct check *check, struct scope *scope)
{
    return clauses_check(check, scope->query) && sources_check(check, scope) &&
           where_check(check, scope) && group_by_check(check, scope) &&
           projection_check(check, scope) && order_check(check, scope) &&
           counts_check(check, scope->query);
}

bool check_query(struct arena *arena, struct ast_query *query, const struct check_input *input,
                 struct fault *fault)
{
    struct scope scope = {.query = query, .names_container = true};
    struct check check = {
        .arena = arena, .input = input, .text = query->text, .slot_count = 1, .fault = fault};

    fault->status = 0;
    fault->message[0] = '\0';
    if (query->udf_calls > CHECK_UDF_CALLS_MAX)
        return diagnosis_set(fault, query->text, query->span, "SC3005",
                             "The SQL query exceeded the maximum number of user-defined function "
                             "calls. The allowed limit is %d.",
                             CHECK_UDF_CALLS_MAX);
    if (!parameters_read(&check.parameters, arena, input->parameters, fault) ||
        !query_check(&check, &scope))
        return false;
    query->slot_count = check.slot_count;
    return true;
}
