#include "query/plan_rank.h"

#include "query/bounds.h"
#include "query/diagnosis.h"
#include "query/functions.h"
#include "query/ordering.h"
#include "query/plan_rewrite.h"
#include "query/print.h"

#include "base/banned.h"

/* What the client puts into the texts: sums over all ranges. */
#define TOTAL_DOCUMENTS "{documentdb-formattablehybridsearchquery-totaldocumentcount}"
#define TOTAL_WORDS "{documentdb-formattablehybridsearchquery-totalwordcount-%zu}"
#define HIT_COUNTS "{documentdb-formattablehybridsearchquery-hitcountsarray-%zu}"

/* Rows of each component that the client fuses, at least; as many as the service's plans have. */
#define COMPONENT_ROWS_MIN 120

static bool is_text(const struct ast *score)
{
    return score->function->kind == FUNCTION_SCORE;
}

bool plan_rank_read(struct plan_rank *rank, const struct ast_query *query,
                    const struct query_policies *policies, struct fault *fault)
{
    const struct ast_order *key = query->order_by;
    const struct ast *node = key->expression;
    bool is_fusion = node->function->kind == FUNCTION_FUSION;

    *rank = (struct plan_rank){.scores = is_fusion ? node->children : node};
    if (query->order_count > 1 || (is_fusion && !key->is_descending))
        return diagnosis_message(fault, "ORDER BY RANK with several keys, or with the least "
                                        "relevant first, is not allowed in a cross partition "
                                        "query.");
    rank->score_count = is_fusion ? node->child_count : 1;
    if (is_fusion && node->last_child->function == NULL) {
        rank->weights = node->last_child;
        rank->score_count--;
    }
    if (rank->score_count > PLAN_RANK_SCORES_MAX)
        return diagnosis_message(fault, "RRF of more than %d scores is not supported.",
                                 PLAN_RANK_SCORES_MAX);
    const struct ast *score = rank->scores;
    for (size_t i = 0; i < rank->score_count; i++) {
        rank->are_descending[i] = is_fusion
                                      ? is_text(score) || ordering_is_descending(score, policies)
                                      : key->is_descending;
        rank->needs_statistics |= is_text(score);
        score = score->next;
    }
    return true;
}

/* ---- texts ---- */

static void arguments_print(struct buf *out, const struct ast *first)
{
    for (const struct ast *argument = first; argument != NULL; argument = argument->next) {
        if (argument != first)
            buf_append_text(out, ", ");
        print_expression(out, argument);
    }
}

/* A score as a function of the item and of the statistics that the client fills in. */
static void score_print(struct buf *out, const struct ast *score, size_t number)
{
    if (!is_text(score)) {
        buf_append_text(out, "_VectorScore(");
        arguments_print(out, score->children);
        buf_append_char(out, ')');
        return;
    }
    buf_append_text(out, "_FullTextScore(");
    print_expression(out, score->children);
    buf_append_text(out, ", [");
    arguments_print(out, score->children->next);
    buf_printf(out, "], " TOTAL_DOCUMENTS ", " TOTAL_WORDS ", " HIT_COUNTS ")", number, number);
}

/* The same, where an item without one must not leave a gap: then it is the worst. */
static void defined_score_print(struct buf *out, const struct plan_rank *rank,
                                const struct ast *score, size_t number)
{
    buf_append_char(out, '(');
    score_print(out, score, number);
    buf_append_text(out, rank->are_descending[number] ? " ?? -1)" : " ?? 1.7976931348623157e+308)");
}

static void statistics_text(struct buf *out, const struct plan_rank *rank,
                            const struct ast_query *query)
{
    const struct ast *score = rank->scores;
    bool is_first = true;

    buf_append_text(out, "SELECT COUNT(1) AS documentCount, [");
    for (size_t i = 0; i < rank->score_count; i++, score = score->next) {
        if (!is_text(score))
            continue;
        buf_append_text(out, is_first ? "{\"totalWordCount\": SUM(_FullTextWordCount("
                                      : ", {\"totalWordCount\": SUM(_FullTextWordCount(");
        is_first = false;
        print_expression(out, score->children);
        buf_append_text(out, ")), \"hitCounts\": [");
        for (const struct ast *term = score->children->next; term != NULL; term = term->next) {
            buf_append_text(out, term == score->children->next ? "COUNTIF(FullTextContains("
                                                               : ", COUNTIF(FullTextContains(");
            print_expression(out, score->children);
            buf_append_text(out, ", ");
            print_expression(out, term);
            buf_append_text(out, "))");
        }
        buf_append_text(out, "]}");
    }
    buf_append_text(out, "] AS fullTextStatistics");
    print_from(out, query);
}

/* ---- components ---- */

static uint64_t component_rows(const struct ast_query *query)
{
    uint64_t wanted = query->has_window ? plan_window(query)
                      : query->has_top  ? query->top_count
                                        : 0;
    uint64_t rows = 2 * wanted > COMPONENT_ROWS_MIN ? 2 * wanted : COMPONENT_ROWS_MIN;

    return rows < CHECK_COUNT_MAX ? rows : CHECK_COUNT_MAX;
}

static void payload_print(struct buf *out, const struct plan_rank *rank,
                          const struct ast_query *query)
{
    const struct ast *score = rank->scores;

    buf_append_text(out, "{\"payload\": ");
    print_projection(out, query);
    buf_append_text(out, ", \"componentScores\": [");
    for (size_t i = 0; i < rank->score_count; i++, score = score->next) {
        if (i > 0)
            buf_append_text(out, ", ");
        defined_score_print(out, rank, score, i);
    }
    buf_append_text(out, "]}");
}

static void component_text(struct buf *out, const struct plan_rank *rank,
                           const struct ast_query *query, const struct ast *score, size_t number)
{
    struct slice item = query->sources->alias;

    buf_append_text(out, "SELECT ");
    if (!query->has_window) {
        buf_append_text(out, "TOP ");
        buf_append_u64(out, component_rows(query));
        buf_append_char(out, ' ');
    }
    buf_append_slice(out, item);
    buf_append_text(out, "._rid, [{\"item\": ");
    defined_score_print(out, rank, score, number);
    buf_append_text(out, "}] AS orderByItems, ");
    payload_print(out, rank, query);
    buf_append_text(out, " AS payload");
    print_from(out, query);
    /* The Python SDK sends texts as they are unless statistics belong in them. */
    plan_rewrite_filter(out, query, rank->needs_statistics ? PLAN_FILTER_PLACEHOLDER : "true");
    buf_append_text(out, "\nORDER BY ");
    score_print(out, score, number);
    buf_append_text(out, rank->are_descending[number] ? " DESC" : " ASC");
    if (query->has_window) {
        buf_append_text(out, "\nOFFSET 0 LIMIT ");
        buf_append_u64(out, component_rows(query));
    }
}

static void string_take(struct buf *out, struct buf *text)
{
    buf_append_json_string(out, buf_slice(text));
    out->has_failed |= text->has_failed;
    buf_finish(text);
}

static void component_print(struct buf *out, const struct plan_rank *rank,
                            const struct ast_query *query, const struct ast *score, size_t number)
{
    struct buf text = {0};

    buf_append_text(out, "{\"distinctType\":\"None\",\"top\":");
    if (query->has_window)
        buf_append_text(out, "null,\"offset\":0,\"limit\":");
    buf_append_u64(out, component_rows(query));
    if (!query->has_window)
        buf_append_text(out, ",\"offset\":null,\"limit\":null");
    buf_printf(out, ",\"orderBy\":[\"%s\"],\"orderByExpressions\":[",
               rank->are_descending[number] ? "Descending" : "Ascending");
    score_print(&text, score, number);
    string_take(out, &text);
    buf_append_text(out, "],\"groupByExpressions\":[],\"groupByAliases\":[],\"aggregates\":[],"
                         "\"groupByAliasToAggregateType\":{},\"rewrittenQuery\":");
    component_text(&text, rank, query, score, number);
    string_take(out, &text);
    buf_append_text(out, ",\"hasSelectValue\":false,\"dCountInfo\":null,"
                         "\"hasNonStreamingOrderBy\":true}");
}

static void weights_print(struct buf *out, const struct plan_rank *rank)
{
    const struct ast *first = rank->weights != NULL ? rank->weights->children : NULL;

    buf_append_text(out, ",\"componentWeights\":[");
    for (const struct ast *weight = first; weight != NULL; weight = weight->next)
        buf_printf(out, "%s%.17g", weight == first ? "" : ",", weight->value->valuedouble);
    buf_append_char(out, ']');
}

static void count_print(struct buf *out, const char *name, bool is_there, uint64_t count)
{
    buf_printf(out, ",\"%s\":", name);
    if (is_there)
        buf_append_u64(out, count);
    else
        buf_append_text(out, "null");
}

void plan_rank_print(struct buf *out, const struct plan_rank *rank, const struct ast_query *query)
{
    const struct ast *score = rank->scores;
    struct buf text = {0};

    buf_append_text(out, "{\"globalStatisticsQuery\":");
    statistics_text(&text, rank, query);
    string_take(out, &text);
    buf_append_text(out, ",\"componentQueryInfos\":[");
    for (size_t i = 0; i < rank->score_count; i++, score = score->next) {
        if (i > 0)
            buf_append_char(out, ',');
        component_print(out, rank, query, score, i);
    }
    buf_append_text(out, "],\"componentWithoutPayloadQueryInfos\":[],\"projectionQueryInfo\":null");
    weights_print(out, rank);
    count_print(out, "skip", query->has_window, query->offset_count);
    count_print(out, "take", query->has_window || query->has_top,
                query->has_window ? query->limit_count : query->top_count);
    buf_printf(out, ",\"requiresGlobalStatistics\":%s}", rank->needs_statistics ? "true" : "false");
}
