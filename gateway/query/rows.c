#include "query/rows.h"

#include "base/banned.h"

/* A source while its loop runs. */
struct row_source {
    const struct ast_source *source;
    const cJSON *next;  /* the value to come */
    bool is_list;       /* more follow it as siblings: the elements of an array, results */
    bool is_nested;     /* each of those is an array whose elements are meant */
    const cJSON *outer; /* of a nested list: the array whose elements run */
};

/* Where the elements of the next array among siblings begin. */
static const cJSON *nested_first(struct row_source *state, const cJSON *outer)
{
    while (outer != NULL && (!cJSON_IsArray(outer) || outer->child == NULL))
        outer = outer->next;
    state->outer = outer;
    return outer != NULL ? outer->child : NULL;
}

/* Begin a source's loop, the ones before it standing at a row. False when the eval failed. */
static bool source_enter(struct eval *eval, struct row_source *state)
{
    const struct ast_source *source = state->source;
    const cJSON *value;

    state->is_list = source->query != NULL || source->kind == SOURCE_ARRAY;
    state->is_nested = source->query != NULL && source->kind == SOURCE_ARRAY;
    value = source->query != NULL ? eval_results(eval, source->query)
                                  : eval_expression(eval, source->path);
    if (state->is_list)
        value = value != NULL && cJSON_IsArray(value) ? value->child : NULL;
    state->next = state->is_nested ? nested_first(state, value) : value;
    return !eval->has_failed;
}

/* Put the next value of a source into its slot; false when there is none. */
static bool source_next(struct eval *eval, struct row_source *state)
{
    const cJSON *value = state->next;

    /* The item itself stays where it is; others have passed with the loop. */
    if (value == NULL) {
        if (state->source->slot != 0)
            eval->slots[state->source->slot] = NULL;
        return false;
    }
    eval->slots[state->source->slot] = value;
    state->next = state->is_list ? value->next : NULL;
    if (state->is_nested && state->next == NULL)
        state->next = nested_first(state, state->outer->next);
    return true;
}

bool rows_begin(struct rows *rows, struct eval *eval, const struct ast_query *query)
{
    unsigned count = 0;

    *rows = (struct rows){.eval = eval, .query = query};
    if (query->source_count > 0) {
        rows->sources = arena_alloc(eval->arena, query->source_count * sizeof(*rows->sources));
        if (rows->sources == NULL)
            return eval_oom(eval) != NULL;
    }
    for (const struct ast_source *source = query->sources; source != NULL; source = source->next)
        rows->sources[count++].source = source;
    return !eval->has_failed;
}

bool rows_begin_at(struct rows *rows, struct eval *eval, const struct ast_query *query,
                   const cJSON *first)
{
    if (!rows_begin(rows, eval, query))
        return false;
    rows->has_first = true;
    rows->sources[0].next = first;
    if (first != NULL && query->sources->kind == SOURCE_ARRAY) {
        rows->sources[0].next = cJSON_IsArray(first) ? first->child : NULL;
        rows->sources[0].is_list = true;
    }
    return true;
}

/* Move the loops to their next row, whatever the filter says of it. */
static bool loops_next(struct rows *rows)
{
    struct eval *eval = rows->eval;
    unsigned count = rows->query->source_count;
    unsigned at = rows->is_begun ? count - 1 : 0; /* unused without sources */

    if (count == 0)
        return !rows->is_begun;
    if (!rows->is_begun && !rows->has_first && !source_enter(eval, &rows->sources[0]))
        return false;
    for (;;) {
        if (!eval_spend(eval, 1))
            return false;
        if (!source_next(eval, &rows->sources[at])) {
            if (at-- == 0)
                return false;
        } else if (++at == count) {
            return true;
        } else if (!source_enter(eval, &rows->sources[at])) {
            return false;
        }
    }
}

/* For ALL the rows that the filter says no to; without a filter there are none. */
static bool row_passes(const struct rows *rows)
{
    if (rows->query->where == NULL)
        return !rows->is_negated;
    const cJSON *value = eval_expression(rows->eval, rows->query->where);
    return value != NULL && (rows->is_negated ? cJSON_IsFalse(value) : cJSON_IsTrue(value));
}

bool rows_next(struct rows *rows)
{
    while (!rows->is_over && loops_next(rows)) {
        rows->is_begun = true;
        if (row_passes(rows))
            return !rows->eval->has_failed;
    }
    rows->is_over = true;
    return false;
}

void rows_end(struct rows *rows)
{
    rows->is_over = true;
    for (const struct ast_source *source = rows->query->sources; source != NULL;
         source = source->next) {
        if (source->slot != 0)
            rows->eval->slots[source->slot] = NULL;
    }
}

const cJSON *rows_project(struct rows *rows)
{
    const struct ast_query *query = rows->query;

    if (query->is_star)
        return rows->eval->slots[query->sources->slot];
    return eval_output(rows->eval, query->projection);
}

static bool gathers(const struct ast_query *query)
{
    return query->is_distinct || query->is_aggregate;
}

bool rows_are_staged(const struct ast_query *query)
{
    const struct ast_query *inner = query->sources != NULL ? query->sources->query : NULL;

    return inner != NULL && (gathers(inner) || rows_are_staged(inner));
}

bool rows_need_items(const struct ast_query *query)
{
    const struct ast_source *first = query->sources;

    while (first != NULL && first->query != NULL)
        first = first->query->sources;
    return first != NULL;
}
