#include "query/rank.h"

#include "query/functions.h"
#include "query/policies.h"
#include "query/value.h"

#include <math.h>
#include <stdlib.h>

#include "base/banned.h"

/* A score of the order: a call of FullTextScore or VectorDistance. */
struct component {
    const struct ast *call;
    bool is_text, is_fused;
    bool is_ascending; /* the smaller the better */
    struct rank_statistics statistics;
    double *hits;
    double *scores; /* of the rows; -INFINITY (or INFINITY) is undefined */
    size_t count, capacity;
};

struct rank {
    size_t count, total; /* components; scores of all of them */
    bool has_text, has_fusion;
    struct component components[];
};

/* Calls of an order, RRF's arguments in its place; those stored when out is not NULL. */
static size_t list_components(const struct ast_query *query, struct component *out)
{
    size_t count = 0;

    for (const struct ast_order *order = query->order_by; order != NULL; order = order->next) {
        const struct ast *node = order->expression;
        bool is_fused = node->kind == AST_CALL && node->function->kind == FUNCTION_FUSION;
        for (const struct ast *call = is_fused ? node->children : node;
             call != NULL && call->kind == AST_CALL; call = is_fused ? call->next : NULL) {
            if (out != NULL)
                out[count] = (struct component){
                    .call = call,
                    .is_text = call->function->kind == FUNCTION_SCORE,
                    .is_fused = is_fused,
                };
            count++;
        }
    }
    return count;
}

struct rank *rank_create(const struct ast_query *query, struct fault *fault)
{
    size_t count = list_components(query, NULL);
    struct rank *rank = calloc(1, sizeof(*rank) + count * sizeof(rank->components[0]));

    if (rank == NULL) {
        fault_set_oom(fault);
        return NULL;
    }
    rank->count = list_components(query, rank->components);
    for (size_t i = 0; i < count; i++) {
        rank->has_text = rank->has_text || rank->components[i].is_text;
        rank->has_fusion = rank->has_fusion || rank->components[i].is_fused;
    }
    return rank;
}

void rank_destroy(struct rank *rank)
{
    for (size_t i = 0; rank != NULL && i < rank->count; i++) {
        free(rank->components[i].hits);
        free(rank->components[i].scores);
    }
    free(rank);
}

bool rank_needs_items(const struct rank *rank)
{
    return rank->has_text;
}

bool rank_needs_rows(const struct rank *rank)
{
    return rank->has_fusion;
}

/* ---- words ---- */

static bool read_terms(struct eval *eval, struct slice language, const cJSON *const *terms,
                       size_t count, struct rank_text *result)
{
    /* The older form has an array of terms. */
    const cJSON *list = count == 1 && cJSON_IsArray(terms[0]) ? terms[0]->child : NULL;
    size_t capacity = count;

    for (const cJSON *term = list; term != NULL; term = term->next)
        capacity++;
    result->terms = arena_alloc(eval->arena, (capacity + 1) * sizeof(*result->terms));
    if (result->terms == NULL)
        return eval_oom(eval) != NULL;
    for (size_t i = 0; list != NULL || i < count; i++) {
        const cJSON *term = list != NULL ? list : terms[i];
        if (list != NULL)
            list = list->next;
        if (cJSON_IsString(term) &&
            !fulltext_read(eval, value_text(term), language, &result->terms[result->term_count++]))
            return false;
        if (list == NULL && cJSON_IsArray(terms[0]))
            break;
    }
    return true;
}

bool rank_text_read(struct eval *eval, const struct ast *path, const cJSON *text,
                    const cJSON *const *terms, size_t count, struct rank_text *result)
{
    struct slice language = query_policies_language(eval->policies, path);

    *result = (struct rank_text){.has_text = cJSON_IsString(text)};
    if (result->has_text && !fulltext_read(eval, value_text(text), language, &result->text))
        return false;
    return read_terms(eval, language, terms, count, result);
}

/* ---- statistics ---- */

#define TERMS_MAX 64

static bool count_text(struct component *component, struct eval *eval)
{
    const struct ast *argument = component->call->children;
    const cJSON *text = eval_expression(eval, argument), *terms[TERMS_MAX];
    struct rank_text read;
    size_t count = 0;

    for (const struct ast *term = argument->next; term != NULL && count < TERMS_MAX;
         term = term->next)
        terms[count++] = eval_expression(eval, term);
    if (eval->has_failed || !rank_text_read(eval, argument, text, terms, count, &read))
        return false;
    if (component->hits == NULL) {
        component->hits = calloc(read.term_count + 1, sizeof(*component->hits));
        if (component->hits == NULL)
            return eval_oom(eval) != NULL;
        component->statistics.term_count = read.term_count;
        component->statistics.hits = component->hits;
    }
    component->statistics.documents++;
    component->statistics.words += (double) read.text.count;
    for (size_t i = 0; i < read.term_count && i < component->statistics.term_count; i++)
        component->hits[i] += fulltext_count(eval, &read.text, &read.terms[i]) > 0;
    return !eval->has_failed;
}

bool rank_item(struct rank *rank, struct eval *eval)
{
    for (size_t i = 0; i < rank->count; i++)
        if (rank->components[i].is_text && !count_text(&rank->components[i], eval))
            return false;
    return true;
}

static const struct component *find_component(const struct rank *rank, const struct ast *call)
{
    for (size_t i = 0; rank != NULL && i < rank->count; i++)
        if (rank->components[i].call == call)
            return &rank->components[i];
    return NULL;
}

const struct rank_statistics *rank_statistics_of(const struct rank *rank, const struct ast *call)
{
    const struct component *component = find_component(rank, call);

    return component != NULL && component->hits != NULL ? &component->statistics : NULL;
}

/* ---- places ---- */

/* A score so that the greater is the better, whatever is compared. */
static double merit(const struct component *component, const cJSON *score)
{
    if (!cJSON_IsNumber(score) || !isfinite(score->valuedouble))
        return -INFINITY;
    return component->is_ascending ? -score->valuedouble : score->valuedouble;
}

bool rank_row(struct rank *rank, struct eval *eval)
{
    for (size_t i = 0; i < rank->count; i++) {
        struct component *component = &rank->components[i];
        if (!component->is_fused)
            continue;
        if (component->count == 0)
            component->is_ascending = function_distance_is_ascending(eval, component->call);
        if (component->count == component->capacity) {
            size_t capacity = component->capacity > 0 ? component->capacity * 2 : 256;
            double *more = realloc(component->scores, capacity * sizeof(*more));
            if (more == NULL)
                return eval_oom(eval) != NULL;
            component->scores = more;
            component->capacity = capacity;
        }
        if (++rank->total > RANK_SCORES_MAX) {
            eval->has_failed = true;
            return fault_set(eval->fault, 400, SUB_NONE,
                             "RRF of more than %d scores: give the query a narrower filter",
                             RANK_SCORES_MAX);
        }
        component->scores[component->count++] =
            merit(component, eval_expression(eval, component->call));
        if (eval->has_failed)
            return false;
    }
    return true;
}

static int compare_falling(const void *a, const void *b)
{
    double first = *(const double *) a, second = *(const double *) b;

    return (first < second) - (first > second);
}

/* Each score once: a place counts the better scores, not the rows that have them, as in clients. */
void rank_sort(struct rank *rank)
{
    for (size_t i = 0; i < rank->count; i++) {
        struct component *component = &rank->components[i];
        size_t kept = 0;
        if (component->count > 0)
            qsort(component->scores, component->count, sizeof(double), compare_falling);
        for (size_t at = 0; at < component->count; at++) {
            if (kept == 0 || component->scores[kept - 1] > component->scores[at])
                component->scores[kept++] = component->scores[at];
        }
        component->count = kept;
    }
}

double rank_place(const struct rank *rank, const struct ast *call, const cJSON *score)
{
    const struct component *component = find_component(rank, call);
    size_t low = 0, high = component != NULL ? component->count : 0;

    while (low < high) { /* the first one that is not better */
        size_t middle = low + (high - low) / 2;
        if (component->scores[middle] > merit(component, score))
            low = middle + 1;
        else
            high = middle;
    }
    return (double) low + 1;
}
