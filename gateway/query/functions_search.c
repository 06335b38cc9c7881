/*
 * Vectors and full text: similarity, words, and the fusion of scores.
 */
#include "query/functions.h"
#include "query/policies.h"
#include "query/rank.h"

#include <math.h>

#include "base/banned.h"

/* ---- vectors ---- */

static enum vector_function vector_function_of(struct eval *eval, const struct ast *call,
                                               const cJSON *options)
{
    const cJSON *name =
        cJSON_IsObject(options) ? value_member(eval, options, "distanceFunction") : NULL;
    const struct vector_embedding *embedding =
        query_policies_embedding(eval->policies, call->children);
    enum vector_function function = embedding != NULL ? embedding->function : VECTOR_COSINE;

    if (cJSON_IsString(name))
        (void) vector_function_parse(value_text(name), &function); /* unknown: the policy's */
    return function;
}

bool function_distance_is_ascending(struct eval *eval, const struct ast *call)
{
    const struct ast *options = call->children;

    if (call->function->kind == FUNCTION_SCORE)
        return false;
    for (int i = 0; i < 3 && options != NULL; i++)
        options = options->next;
    return vector_function_of(eval, call,
                              options != NULL ? eval_expression(eval, options) : NULL) ==
           VECTOR_EUCLIDEAN;
}

/* Two arrays of numbers of one length. */
static bool are_vectors(struct eval *eval, const cJSON *a, const cJSON *b)
{
    size_t length = 0;

    if (!cJSON_IsArray(a) || !cJSON_IsArray(b))
        return false;
    for (a = a->child, b = b->child; a != NULL && b != NULL; a = a->next, b = b->next, length++)
        if (!cJSON_IsNumber(a) || !cJSON_IsNumber(b))
            return false;
    return a == NULL && b == NULL && length > 0 && eval_spend(eval, length);
}

static double similarity(const cJSON *a, const cJSON *b, enum vector_function function)
{
    double product = 0, a_square = 0, b_square = 0, gap = 0;

    for (a = a->child, b = b->child; a != NULL; a = a->next, b = b->next) {
        double x = a->valuedouble, y = b->valuedouble;
        product += x * y;
        a_square += x * x;
        b_square += y * y;
        gap += (x - y) * (x - y);
    }
    switch (function) {
    case VECTOR_DOT_PRODUCT:
        return product;
    case VECTOR_EUCLIDEAN:
        return sqrt(gap);
    case VECTOR_COSINE:
    default:
        return product / (sqrt(a_square) * sqrt(b_square));
    }
}

const cJSON *function_vector_distance(struct eval *eval, const cJSON *const *args, size_t count)
{
    if (count > 2 && !cJSON_IsBool(args[2]))
        return NULL;
    if (!are_vectors(eval, args[0], args[1]))
        return NULL;
    double found = similarity(args[0], args[1],
                              vector_function_of(eval, eval->call, count > 3 ? args[3] : NULL));
    return isfinite(found) ? value_number(eval, found) : NULL;
}

/* ---- full text ---- */

static const cJSON *contains(struct eval *eval, const cJSON *const *args, size_t count, bool all)
{
    struct rank_text read;
    size_t found = 0;

    if (!cJSON_IsString(args[0]))
        return NULL;
    for (size_t i = 1; i < count; i++)
        if (!cJSON_IsString(args[i]))
            return NULL;
    if (!rank_text_read(eval, eval->call->children, args[0], args + 1, count - 1, &read))
        return NULL;
    for (size_t i = 0; i < read.term_count; i++)
        found += fulltext_count(eval, &read.text, &read.terms[i]) > 0;
    return value_bool(all ? found == read.term_count : found > 0);
}

const cJSON *function_full_text_contains(struct eval *eval, const cJSON *const *args, size_t count)
{
    return contains(eval, args, count, true);
}

const cJSON *function_full_text_contains_all(struct eval *eval, const cJSON *const *args,
                                             size_t count)
{
    return contains(eval, args, count, true);
}

const cJSON *function_full_text_contains_any(struct eval *eval, const cJSON *const *args,
                                             size_t count)
{
    return contains(eval, args, count, false);
}

const cJSON *function_full_text_word_count(struct eval *eval, const cJSON *const *args,
                                           size_t count)
{
    struct rank_text read;

    (void) count;
    if (!cJSON_IsString(args[0]) ||
        !rank_text_read(eval, eval->call->children, args[0], NULL, 0, &read))
        return NULL;
    return value_number(eval, (double) read.text.count);
}

static double score(struct eval *eval, const struct rank_text *read,
                    const struct rank_statistics *statistics)
{
    double sum = 0;

    for (size_t i = 0; i < read->term_count && i < statistics->term_count; i++)
        sum += fulltext_score(fulltext_count(eval, &read->text, &read->terms[i]), read->text.count,
                              statistics->documents, statistics->words, statistics->hits[i]);
    return sum;
}

/* In ORDER BY RANK; what is known of all items was gathered before. */
const cJSON *function_full_text_score(struct eval *eval, const cJSON *const *args, size_t count)
{
    const struct rank_statistics *statistics = rank_statistics_of(eval->rank, eval->call);
    struct rank_text read;

    if (!cJSON_IsString(args[0]) || statistics == NULL ||
        !rank_text_read(eval, eval->call->children, args[0], args + 1, count - 1, &read))
        return NULL;
    return value_number(eval, score(eval, &read, statistics));
}

/* (path, [terms], documents, words, [hits]): the client has gathered it. */
const cJSON *function_known_full_text_score(struct eval *eval, const cJSON *const *args,
                                            size_t count)
{
    struct rank_statistics statistics = {0};
    struct rank_text read;
    double *hits;

    (void) count;
    if (!cJSON_IsString(args[0]) || !cJSON_IsArray(args[1]) || !cJSON_IsNumber(args[2]) ||
        !cJSON_IsNumber(args[3]) || !cJSON_IsArray(args[4]) ||
        !rank_text_read(eval, eval->call->children, args[0], args + 1, 1, &read))
        return NULL;
    hits = arena_alloc(eval->arena, (read.term_count + 1) * sizeof(*hits));
    if (hits == NULL)
        return eval_oom(eval);
    for (const cJSON *hit = args[4]->child; hit != NULL && statistics.term_count < read.term_count;
         hit = hit->next) {
        if (!cJSON_IsNumber(hit))
            return NULL;
        hits[statistics.term_count++] = hit->valuedouble;
    }
    statistics.documents = args[2]->valuedouble;
    statistics.words = args[3]->valuedouble;
    statistics.hits = hits;
    return value_number(eval, score(eval, &read, &statistics));
}

/* ---- fusion ---- */

/* Source: query reference, section 7.8. */
#define RRF_CONSTANT 60

const cJSON *function_rrf(struct eval *eval, const cJSON *const *args, size_t count)
{
    const struct ast *call = eval->call->children;
    const cJSON *weight = cJSON_IsArray(args[count - 1]) ? args[count - 1]->child : NULL;
    double sum = 0;

    for (size_t i = 0; i < count && call != NULL && call->kind == AST_CALL; i++) {
        double by = weight != NULL ? weight->valuedouble : 1;
        sum += by / (RRF_CONSTANT + rank_place(eval->rank, call, args[i]));
        call = call->next;
        weight = weight != NULL ? weight->next : NULL;
    }
    return value_number(eval, sum);
}
