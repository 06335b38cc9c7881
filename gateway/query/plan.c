#include "query/plan.h"

#include "query/diagnosis.h"
#include "query/functions.h"
#include "query/keyrange.h"
#include "query/plan_rank.h"
#include "query/plan_rewrite.h"
#include "query/print.h"
#include "query/rows.h"

#include "base/banned.h"

/* What is left to the client. */
enum plan_form {
    PLAN_WHOLE,    /* nothing: only one range has results, and all of them are its own */
    PLAN_ROWS,     /* one range after the other */
    PLAN_ORDERED,  /* merge by sort values */
    PLAN_GROUPED,  /* combine aggregates or groups */
    PLAN_DISTINCT, /* tell distinct results */
    PLAN_COUNTED,  /* tell distinct results and count them */
    PLAN_RANKED,   /* fuse the places of scores */
};

struct plan {
    const struct ast_query *query;
    const struct plan_request *request;
    struct keyrange ranges;
    bool is_pinned; /* only one partition key can match */
    enum plan_form form;
    struct plan_rank rank;
    struct buf rewritten; /* empty: the original */
};

/* ---- what is left to the client ---- */

/*
 * SELECT [VALUE] COUNT(1) FROM (SELECT DISTINCT … FROM c): the only query about the results of a
 * whole query that clients can merge.
 */
static bool counts_distinct(const struct ast_query *query)
{
    const struct ast_source *first = query->sources;
    const struct ast *count = query->projection;

    if (first == NULL || first->kind != SOURCE_QUERY || query->source_count != 1 ||
        !first->query->is_distinct || first->query->is_aggregate || rows_are_staged(first->query) ||
        query->where != NULL || query->group_by != NULL || count == NULL)
        return false;
    if (!query->is_value)
        count = count->child_count == 1 ? count->children : NULL;
    return count != NULL && count->aggregate != 0 &&
           count->function->aggregate == AGGREGATE_COUNT && count->children->kind == AST_CONSTANT &&
           (!query->has_top || query->top_count > 0) &&
           (!query->has_window || (query->offset_count == 0 && query->limit_count > 0));
}

static bool has_aggregate(const struct ast *node)
{
    if (node->aggregate != 0)
        return true;
    for (const struct ast *child = node->children; child != NULL; child = child->next) {
        if (has_aggregate(child))
            return true;
    }
    return false;
}

/* Is every aggregate an item of its own? */
static bool aggregates_stand_alone(const struct ast_query *query)
{
    const struct ast *projection = query->projection;

    if (query->is_value)
        return projection->aggregate != 0 || !has_aggregate(projection);
    for (const struct ast *item = projection->children; item != NULL; item = item->next) {
        if (item->aggregate == 0 && has_aggregate(item))
            return false;
    }
    return true;
}

static bool projects_key(const struct ast_query *query, unsigned key)
{
    const struct ast *item = query->projection;

    if (query->is_value)
        return item->group_key == key;
    for (item = item->children; item != NULL; item = item->next) {
        if (item->group_key == key)
            return true;
    }
    return false;
}

/* Are the results of groups distinct anyway? Clients would tell them apart before they combine. */
static bool groups_are_distinct(const struct ast_query *query)
{
    size_t keys = query->group_by != NULL ? query->group_by->child_count : 0;

    for (unsigned key = 1; key <= keys; key++) {
        if (!projects_key(query, key))
            return false;
    }
    return true;
}

/* NULL, or why no client can combine the results of several ranges. */
static const char *merge_obstacle(const struct ast_query *query)
{
    if (rows_are_staged(query))
        return counts_distinct(query)
                   ? NULL
                   : "Aggregates, GROUP BY and DISTINCT in a subquery of FROM are not allowed in "
                     "a cross partition query.";
    if (query->order_is_rank && query->is_distinct)
        return "DISTINCT with ORDER BY RANK is not allowed in a cross partition query.";
    if (!query->is_aggregate)
        return NULL;
    if (!aggregates_stand_alone(query))
        return "Compositions of aggregates and other expressions are not allowed.";
    if (query->is_distinct && !groups_are_distinct(query))
        return "DISTINCT over groups is not allowed in a cross partition query.";
    return NULL;
}

static enum plan_form form_of(const struct ast_query *query)
{
    if (rows_are_staged(query))
        return PLAN_COUNTED;
    if (query->is_aggregate)
        return PLAN_GROUPED;
    if (query->order_by != NULL)
        return query->order_is_rank ? PLAN_RANKED : PLAN_ORDERED;
    return query->is_distinct ? PLAN_DISTINCT : PLAN_ROWS;
}

static bool form_choose(struct plan *plan, struct fault *fault)
{
    const struct ast_query *query = plan->query;
    const char *obstacle = merge_obstacle(query);

    plan->form = form_of(query);
    if (!rows_need_items(query) || (plan->is_pinned && obstacle != NULL) ||
        (plan->is_pinned && plan->form == PLAN_ROWS && query->has_window))
        plan->form = PLAN_WHOLE;
    else if (obstacle != NULL)
        return diagnosis_message(fault, "%s", obstacle);
    return plan->form != PLAN_RANKED ||
           plan_rank_read(&plan->rank, query, plan->request->policies, fault);
}

/* ---- what the client must be able to do ---- */

static bool is_listed(struct slice features, const char *name)
{
    struct slice rest = features;

    while (!slice_is_absent(rest)) {
        if (slice_equals_nocase(slice_trim(slice_cut(rest, ',', &rest)), name))
            return true;
    }
    return false;
}

static bool has_aggregate_of(const struct ast_query *query, enum aggregate aggregate)
{
    for (unsigned i = 0; i < query->aggregate_count; i++) {
        if (query->aggregates[i]->function->aggregate == aggregate)
            return true;
    }
    return false;
}

static bool orders_by_distance(const struct ast_query *query)
{
    const struct ast *key = query->order_by != NULL ? query->order_by->expression : NULL;

    return key != NULL && key->kind == AST_CALL;
}

/* Names of features as clients list them. */
static bool features_check(const struct plan *plan, struct fault *fault)
{
    const struct ast_query *query = plan->query;
    bool is_grouped = plan->form == PLAN_GROUPED;
    bool is_distinct = query->is_distinct && plan->form != PLAN_GROUPED;
    const struct {
        bool is_needed;
        const char *name;
    } features[] = {
        {is_grouped && query->aggregate_count > 0, "Aggregate"},
        {is_grouped && query->group_by == NULL && !query->is_value, "NonValueAggregate"},
        {is_grouped && query->aggregate_count > 1, "MultipleAggregates"},
        {is_grouped && query->group_by != NULL, "GroupBy"},
        {is_grouped && has_aggregate_of(query, AGGREGATE_COUNTIF), "CountIf"},
        {is_grouped && (has_aggregate_of(query, AGGREGATE_MAKELIST) ||
                        has_aggregate_of(query, AGGREGATE_MAKESET)),
         "ListAndSetAggregate"},
        {is_distinct || plan->form == PLAN_COUNTED, "Distinct"},
        {plan->form == PLAN_COUNTED, "DCount"},
        {plan->form == PLAN_ORDERED, "OrderBy"},
        {plan->form == PLAN_ORDERED && query->order_count > 1, "MultipleOrderBy"},
        {plan->form == PLAN_ORDERED && orders_by_distance(query), "NonStreamingOrderBy"},
        {plan->form == PLAN_RANKED, "HybridSearch"},
        {plan->form == PLAN_RANKED && plan->rank.weights != NULL, "WeightedRankFusion"},
        {query->has_window, "OffsetAndLimit"},
        {query->has_top, "Top"},
    };
    struct buf missing = {0};

    if (plan->form == PLAN_WHOLE)
        return true;
    for (size_t i = 0; i < sizeof(features) / sizeof(*features); i++) {
        if (features[i].is_needed && !is_listed(plan->request->features, features[i].name))
            buf_printf(&missing, " Query contained %s, which the calling client does not support.",
                       features[i].name);
    }
    const char *names = buf_text(&missing);
    bool is_able = names != NULL && missing.len == 0;
    if (names == NULL)
        fault_set_oom(fault);
    else if (!is_able)
        fault_set(fault, 400, SUB_NONE,
                  "Query contains 1 or more unsupported features. Upgrade your SDK to a version "
                  "that does support the requested features:%s",
                  names);
    buf_finish(&missing);
    return is_able;
}

/* ---- the text for the ranges ---- */

static bool rewrite(struct plan *plan, struct arena *arena, struct fault *fault)
{
    const struct ast_query *query = plan->query;
    struct buf *out = &plan->rewritten;

    switch (plan->form) {
    case PLAN_WHOLE:
    case PLAN_RANKED:
        break;
    case PLAN_ROWS:
        if (query->has_window)
            plan_rewrite_window(out, query);
        break;
    case PLAN_ORDERED:
        return plan_rewrite_ordered(out, arena, query, fault);
    case PLAN_GROUPED:
        plan_rewrite_grouped(out, query);
        break;
    case PLAN_DISTINCT:
        if (query->has_top || query->has_window)
            plan_rewrite_distinct(out, query);
        break;
    case PLAN_COUNTED:
        plan_rewrite_distinct(out, query->sources->query);
        break;
    }
    return true;
}

/* ---- JSON ---- */

static void string_print(struct buf *out, const struct buf *text)
{
    buf_append_json_string(out, buf_slice(text));
    out->has_failed |= text->has_failed;
}

static void expression_string(struct buf *out, const struct ast *node)
{
    struct buf text = {0};

    print_expression(&text, node);
    string_print(out, &text);
    buf_finish(&text);
}

/* The results of a DISTINCT are adjacent in the order of what they are, and of nothing else. */
static const char *distinct_type(const struct plan *plan)
{
    const struct ast_query *query = plan->query;

    if (plan->form == PLAN_COUNTED)
        return "Unordered";
    if (!query->is_distinct || plan->form == PLAN_GROUPED || plan->form == PLAN_WHOLE)
        return "None";
    return query->order_count == 1 && query->is_value &&
                   ast_equals(query->order_by->expression, query->projection)
               ? "Ordered"
               : "Unordered";
}

static void count_print(struct buf *out, const char *name, bool is_there, uint64_t count)
{
    buf_printf(out, ",\"%s\":", name);
    if (is_there)
        buf_append_u64(out, count);
    else
        buf_append_text(out, "null");
}

/* What remains of TOP, OFFSET and LIMIT. Those of a counting query say nothing about its rows. */
static void counts_print(struct buf *out, const struct plan *plan)
{
    const struct ast_query *query = plan->query;
    bool is_left = plan->form != PLAN_WHOLE && plan->form != PLAN_COUNTED;

    count_print(out, "top", is_left && query->has_top, query->top_count);
    count_print(out, "offset", is_left && query->has_window, query->offset_count);
    count_print(out, "limit", is_left && query->has_window, query->limit_count);
}

static void order_print(struct buf *out, const struct plan *plan)
{
    const struct ast_order *first = plan->form == PLAN_ORDERED ? plan->query->order_by : NULL;

    buf_append_text(out, ",\"orderBy\":[");
    for (const struct ast_order *key = first; key != NULL; key = key->next)
        buf_printf(out, "%s\"%s\"", key == first ? "" : ",",
                   key->is_descending ? "Descending" : "Ascending");
    buf_append_text(out, "],\"orderByExpressions\":[");
    for (const struct ast_order *key = first; key != NULL; key = key->next) {
        if (key != first)
            buf_append_char(out, ',');
        expression_string(out, key->expression);
    }
    buf_append_char(out, ']');
}

static const char *aggregate_word(const struct ast *call)
{
    static const char *const words[] = {
        [AGGREGATE_COUNT] = "Count",       [AGGREGATE_SUM] = "Sum",
        [AGGREGATE_AVG] = "Average",       [AGGREGATE_MIN] = "Min",
        [AGGREGATE_MAX] = "Max",           [AGGREGATE_COUNTIF] = "CountIf",
        [AGGREGATE_MAKELIST] = "MakeList", [AGGREGATE_MAKESET] = "MakeSet",
    };

    return words[call->function->aggregate];
}

static void group_keys_print(struct buf *out, const struct plan *plan)
{
    const struct ast *keys = plan->form == PLAN_GROUPED ? plan->query->group_by : NULL;
    const struct ast *first = keys != NULL ? keys->children : NULL;

    buf_append_text(out, ",\"groupByExpressions\":[");
    for (const struct ast *key = first; key != NULL; key = key->next) {
        if (key != first)
            buf_append_char(out, ',');
        expression_string(out, key);
    }
    buf_append_char(out, ']');
}

static void groups_print(struct buf *out, const struct plan *plan)
{
    const struct ast_query *query = plan->query;
    const struct ast *projection = plan->form == PLAN_GROUPED ? query->projection : NULL;
    const struct ast *first = projection != NULL && !query->is_value ? projection->children : NULL;

    buf_append_text(out, ",\"groupByAliases\":[");
    for (const struct ast *item = first; item != NULL; item = item->next) {
        if (item != first)
            buf_append_char(out, ',');
        buf_append_json_string(out, item->key);
    }
    buf_append_text(out, "],\"aggregates\":[");
    if (projection != NULL && query->is_value && projection->aggregate != 0)
        buf_printf(out, "\"%s\"", aggregate_word(projection));
    buf_append_text(out, "],\"groupByAliasToAggregateType\":{");
    for (const struct ast *item = first; item != NULL; item = item->next) {
        if (item != first)
            buf_append_char(out, ',');
        buf_append_json_string(out, item->key);
        if (item->aggregate != 0)
            buf_printf(out, ":\"%s\"", aggregate_word(item));
        else
            buf_append_text(out, ":null");
    }
    buf_append_char(out, '}');
}

static void count_of_distinct_print(struct buf *out, const struct plan *plan)
{
    const struct ast_query *query = plan->query;

    buf_append_text(out, ",\"dCountInfo\":");
    if (plan->form != PLAN_COUNTED) {
        buf_append_text(out, "null");
        return;
    }
    buf_append_text(out, "{\"dCountAlias\":");
    buf_append_json_string(out,
                           query->is_value ? SLICE_LITERAL("") : query->projection->children->key);
    buf_append_char(out, '}');
}

static void info_print(struct buf *out, const struct plan *plan)
{
    const struct ast_query *query = plan->query;
    bool is_distance = plan->form == PLAN_ORDERED && orders_by_distance(query);

    buf_printf(out, "{\"distinctType\":\"%s\"", distinct_type(plan));
    counts_print(out, plan);
    order_print(out, plan);
    group_keys_print(out, plan);
    groups_print(out, plan);
    buf_append_text(out, ",\"rewrittenQuery\":");
    string_print(out, &plan->rewritten);
    buf_printf(out, ",\"hasSelectValue\":%s", query->is_value ? "true" : "false");
    count_of_distinct_print(out, plan);
    buf_printf(out, ",\"hasNonStreamingOrderBy\":%s}", is_distance ? "true" : "false");
}

/* A point includes both of its bounds. */
static void range_print(struct buf *out, const struct epk *min, const struct epk *max)
{
    buf_append_text(out, "{\"min\":\"");
    epk_append(out, min);
    buf_append_text(out, "\",\"max\":\"");
    epk_append(out, max);
    buf_printf(out, "\",\"isMinInclusive\":true,\"isMaxInclusive\":%s}",
               epk_compare(min, max) == 0 ? "true" : "false");
}

static void ranges_print(struct buf *out, const struct plan *plan)
{
    const struct keyrange *ranges = &plan->ranges;
    struct epk min = {0}, max = {0};

    buf_append_char(out, '[');
    if (ranges->count == 0) /* what no item passes must run somewhere: COUNT is 0 then */
        range_print(out, &min, &max);
    for (size_t i = 0; i < ranges->count; i++) {
        const struct keyrange_interval *interval = &ranges->intervals[i];

        keyrange_bounds(interval, &min, &max);
        if (interval->pkey != NULL) {
            pkey_hash(interval->pkey, plan->request->definition, &min);
            max = min;
        }
        if (i > 0)
            buf_append_char(out, ',');
        range_print(out, &min, &max);
    }
    buf_append_char(out, ']');
}

static bool plan_make(struct plan *plan, struct arena *arena, struct fault *fault)
{
    const struct plan_request *request = plan->request;

    if (!keyrange_derive(&plan->ranges, arena, plan->query, request->definition, request->given,
                         fault))
        return false;
    if (!rows_need_items(plan->query))
        plan->ranges.count = 0;
    plan->is_pinned = plan->ranges.count == 0 || (plan->ranges.count == 1 && plan->ranges.is_keys);
    return form_choose(plan, fault) && features_check(plan, fault) && rewrite(plan, arena, fault);
}

bool plan_print(struct buf *out, struct arena *arena, const struct plan_request *request,
                struct fault *fault)
{
    struct plan plan = {.query = request->query, .request = request};
    bool is_made = plan_make(&plan, arena, fault);

    if (is_made) {
        buf_append_text(out, "{\"partitionedQueryExecutionInfoVersion\":2,\"queryInfo\":");
        if (plan.form == PLAN_RANKED)
            buf_append_text(out, "null");
        else
            info_print(out, &plan);
        buf_append_text(out, ",\"queryRanges\":");
        ranges_print(out, &plan);
        buf_append_text(out, ",\"hybridSearchQueryInfo\":");
        if (plan.form == PLAN_RANKED)
            plan_rank_print(out, &plan.rank, plan.query);
        else
            buf_append_text(out, "null");
        buf_append_char(out, '}');
        if (out->has_failed)
            is_made = fault_set_oom(fault);
    }
    buf_finish(&plan.rewritten);
    return is_made;
}
