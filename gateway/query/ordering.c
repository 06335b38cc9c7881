#include "query/ordering.h"

#include "model/index_policy.h"
#include "query/functions.h"
#include "query/policies.h"

#include <math.h>

#include "base/banned.h"

/* ---- RANK ---- */

static enum function_kind call_kind(const struct ast *node)
{
    const struct function *function =
        node->kind == AST_CALL && !node->is_udf ? function_find(node->name) : NULL;

    return function != NULL ? function->kind : FUNCTION_SCALAR;
}

static bool is_score(const struct ast *node)
{
    return call_kind(node) == FUNCTION_SCORE || call_kind(node) == FUNCTION_DISTANCE;
}

static bool rank_refused(const struct ast_query *query, const char *code, const char *why,
                         struct fault *fault)
{
    return diagnosis_set(fault, query->text, query->clause_spans[CLAUSE_ORDER], code,
                         "The ORDER BY RANK clause %s.", why);
}

static bool are_weights(const struct ast *array, size_t count)
{
    if (array->kind != AST_ARRAY || array->child_count != count)
        return false;
    for (const struct ast *weight = array->children; weight != NULL; weight = weight->next) {
        if (weight->kind != AST_CONSTANT || !cJSON_IsNumber(weight->value))
            return false;
    }
    return true;
}

/* RRF(score, score {, score} [, weights]) */
static bool fusion_check(const struct ast_query *query, const struct ast *call, struct fault *fault)
{
    const struct ast *argument = call->children;
    size_t scores = 0;

    while (argument != NULL && is_score(argument)) {
        scores++;
        argument = argument->next;
    }
    bool are_meant =
        argument != NULL && (argument->kind == AST_ARRAY || argument->kind == AST_PARAMETER);
    if (are_meant && (argument->next != NULL || !are_weights(argument, scores)))
        return diagnosis_set(fault, query->text, argument->span, "SC2229",
                             "The weights of the RRF function must be an array literal with one "
                             "number for each of its scores.");
    if (scores < 2 || (argument != NULL && !are_meant))
        return rank_refused(query, "SC2221",
                            "must be followed by a VectorDistance and/or a FullTextScore function "
                            "call",
                            fault);
    return true;
}

static bool rank_check(const struct ast_query *query, struct fault *fault)
{
    for (const struct ast_source *source = query->sources; source != NULL; source = source->next) {
        if (source->query != NULL)
            return rank_refused(query, "SC2225", "is not supported with a subquery in FROM", fault);
        if (source->kind == SOURCE_ARRAY && source == query->sources)
            return rank_refused(query, "SC2223", "is not supported with the IN keyword", fault);
    }
    if (query->source_count > 1)
        return rank_refused(query, "SC2224", "is not supported with JOIN", fault);
    for (const struct ast_order *order = query->order_by; order != NULL; order = order->next) {
        if (call_kind(order->expression) == FUNCTION_FUSION) {
            if (!fusion_check(query, order->expression, fault))
                return false;
        } else if (!is_score(order->expression)) {
            return rank_refused(query, "SC2221",
                                "must be followed by a VectorDistance and/or a FullTextScore "
                                "function call",
                                fault);
        }
    }
    return true;
}

bool ordering_check_shape(const struct ast_query *query, struct fault *fault)
{
    if (query->order_by == NULL)
        return true;
    if (query->is_aggregate)
        return diagnosis_unsupported(fault, query->text, query->clause_spans[CLAUSE_ORDER],
                                     query->group_by != NULL ? "ORDER BY with GROUP BY"
                                                             : "ORDER BY with aggregates");
    if (query->order_count > CHECK_ORDER_KEYS_MAX)
        return diagnosis_message(fault, "A query can be ordered by at most %d keys.",
                                 CHECK_ORDER_KEYS_MAX);
    return !query->order_is_rank || rank_check(query, fault);
}

/* ---- Paths ---- */

static bool is_step(const struct ast *node)
{
    const cJSON *index;

    if (node->kind != AST_INDEX)
        return node->kind == AST_MEMBER;
    index = node->children->next->value; /* NULL unless constant or parameter */
    return cJSON_IsString(index) || cJSON_IsNumber(index);
}

/* What a chain of steps begins with; NULL when it is no path. */
static const struct ast *path_root(const struct ast *node)
{
    while (node->kind != AST_ALIAS && node->computed == NULL) {
        if (!is_step(node))
            return NULL;
        node = node->children;
    }
    return node;
}

static const struct ast_source *source_of(const struct ast_query *query, unsigned slot)
{
    const struct ast_source *source = query->sources;

    while (source != NULL && source->slot != slot)
        source = source->next;
    return source;
}

/* An item's path as an indexing policy writes it, collected from its last step to its first. */
struct path_builder {
    const struct ast_query *query;
    struct index_step *room; /* as many as a path may have */
    size_t free;             /* the steps from here on are taken */
    bool is_too_long;
    bool is_of_item; /* otherwise of what a subquery gives: no path of the item */
};

static void path_prepend(struct path_builder *builder, struct index_step step)
{
    if (builder->free == 0)
        builder->is_too_long = true;
    else
        builder->room[--builder->free] = step;
}

static void path_collect(struct path_builder *builder, const struct ast *node)
{
    for (; node->kind != AST_ALIAS; node = node->children) {
        const cJSON *index = node->kind == AST_INDEX ? node->children->next->value : NULL;
        struct index_step step = {.name = node->name, .is_element = cJSON_IsNumber(index)};

        if (cJSON_IsString(index))
            step.name = slice_from_text(index->valuestring);
        path_prepend(builder, step);
        if (node->computed != NULL) /* named like a property of the item */
            break;
    }
    if (node->kind != AST_ALIAS || node->slot == 0) {
        builder->is_of_item = true;
        return;
    }
    const struct ast_source *source = source_of(builder->query, node->slot);
    if (source == NULL || source->path == NULL)
        return;
    if (source->kind == SOURCE_ARRAY)
        path_prepend(builder, (struct index_step){.is_element = true});
    path_collect(builder, source->path);
}

/* ---- Indexes ---- */

static bool not_a_path(struct fault *fault)
{
    return diagnosis_number(fault, 2206,
                            "Unsupported ORDER BY clause. ORDER BY item expression could not be "
                            "mapped to a document path.");
}

/* One key as an index knows it. *is_known tells whether it is a path of the item at all. */
static bool key_build(struct arena *arena, const struct ast_query *query,
                      const struct ast_order *order, struct index_key *key, bool *is_known,
                      struct fault *fault)
{
    struct path_builder builder = {.query = query, .free = INDEX_STEPS_MAX};

    builder.room = arena_alloc(arena, INDEX_STEPS_MAX * sizeof(*builder.room));
    if (builder.room == NULL)
        return fault_set_oom(fault);
    path_collect(&builder, order->expression);
    *key = (struct index_key){
        .path = {.count = INDEX_STEPS_MAX - builder.free, .steps = builder.room + builder.free},
        .is_descending = order->is_descending};
    *is_known = builder.is_of_item && !builder.is_too_long;
    return true;
}

static bool policy_covers(const struct index_policy *policy, const struct ast_order *order,
                          const struct index_key *key)
{
    if (path_root(order->expression)->computed != NULL)
        return index_policy_names(policy, key->path.steps[0].name);
    return index_policy_covers(policy, &key->path, INDEX_VALUE);
}

/* What subqueries compute is ordered without an index, so nothing is asked of the policy then. */
static bool indexes_check(struct arena *arena, const struct ast_query *query,
                          const struct index_policy *policy, struct fault *fault)
{
    struct index_key keys[CHECK_ORDER_KEYS_MAX];
    size_t count = 0;

    for (const struct ast_order *order = query->order_by; order != NULL; order = order->next) {
        bool is_known = false;

        if (!key_build(arena, query, order, &keys[count], &is_known, fault))
            return false;
        if (!is_known)
            return true;
        if (query->order_count == 1 && !policy_covers(policy, order, &keys[count]))
            return diagnosis_message(
                fault, "The index path corresponding to the specified order-by item is excluded.");
        count++;
    }
    if (count > 1 && index_policy_composite(policy, keys, count, NULL) == NULL)
        return diagnosis_message(fault, "The order by query does not have a corresponding "
                                        "composite index that it can be served from.");
    return true;
}

/* ---- Distances ---- */

/* The function that a call's options name; false when they name none. */
static bool option_function(const struct ast *call, enum vector_function *function)
{
    const struct ast *options = call->last_child;

    if (options->kind != AST_OBJECT)
        return false;
    for (const struct ast *member = options->children; member != NULL; member = member->next) {
        if (slice_equals_text(member->key, "distanceFunction") && cJSON_IsString(member->value))
            return vector_function_parse(slice_from_text(member->value->valuestring), function);
    }
    return false;
}

bool ordering_is_descending(const struct ast *call, const struct query_policies *policies)
{
    enum vector_function function = VECTOR_COSINE;
    const struct vector_embedding *embedding = query_policies_embedding(policies, call->children);

    if (embedding != NULL)
        function = embedding->function;
    (void) option_function(call, &function);
    return function != VECTOR_EUCLIDEAN;
}

/* A distance in the direction that brings the most similar first. */
static bool distance_check(struct ast_query *query, struct ast_order *order,
                           const struct check_input *input, struct fault *fault)
{
    if (query->order_count > 1)
        return not_a_path(fault);
    if (order->has_direction)
        return diagnosis_message(fault,
                                 "An order by %s cannot be given a direction: the most "
                                 "similar come first.",
                                 order->expression->function->name);
    order->is_descending = ordering_is_descending(order->expression, input->policies);
    return true;
}

bool ordering_check_keys(struct arena *arena, struct ast_query *query,
                         const struct check_input *input, struct fault *fault)
{
    for (struct ast_order *order = query->order_by; order != NULL; order = order->next) {
        const struct ast *node = order->expression;
        enum function_kind kind = call_kind(node);

        if (query->order_is_rank) {
            bool best_first = !order->has_direction || order->is_descending;
            bool is_descending =
                kind != FUNCTION_DISTANCE || ordering_is_descending(node, input->policies);
            order->is_descending = best_first == is_descending;
            continue;
        }
        if (kind == FUNCTION_DISTANCE) {
            if (!distance_check(query, order, input, fault))
                return false;
            return true;
        }
        if (kind == FUNCTION_COMPONENT && query->order_count == 1)
            return true;
        const struct ast *root = path_root(node);
        if (root == NULL || (root == node && root->kind == AST_ALIAS && root->slot == 0))
            return not_a_path(fault);
    }
    if (query->order_by == NULL || query->order_is_rank || input->indexing == NULL)
        return true;
    return indexes_check(arena, query, input->indexing, fault);
}
