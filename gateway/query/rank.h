/*
 * ORDER BY RANK: what a score needs to know of all items before the first one can be ordered.
 *
 * FullTextScore weighs a term by how rare it is among all items of the scope, whatever WHERE says;
 * RRF needs the place of each score among those of all rows. So a ranked query looks at its items
 * up to three times: for the statistics (rank_item), for the places (rank_row), and for the order,
 * where the functions find what was gathered in eval->rank.
 *
 * Queries of clients that do this themselves name the statistics in _FullTextScore, and need none
 * of it. Source: query reference, section 7.8.
 */
#ifndef ORRERY_QUERY_RANK_H
#define ORRERY_QUERY_RANK_H

#include "query/eval.h"
#include "query/fulltext.h"

/* Scores that are held at a time: of all rows together. */
#define RANK_SCORES_MAX 500000

struct rank;

/* Of the texts that one FullTextScore is about. */
struct rank_statistics {
    double documents, words;
    size_t term_count;
    const double *hits; /* by term */
};

/* For a query with ORDER BY RANK that check_query has completed; it is borrowed. Fault 503. */
struct rank *rank_create(const struct ast_query *query, struct fault *fault) MUST_CHECK;

/* NULL is accepted. */
void rank_destroy(struct rank *rank);

bool rank_needs_items(const struct rank *rank);
bool rank_needs_rows(const struct rank *rank);

/* Count the item at hand. False when the eval failed. */
bool rank_item(struct rank *rank, struct eval *eval) MUST_CHECK;

/* Note the scores of the row at hand; eval->rank is set. Fails with 400 past RANK_SCORES_MAX. */
bool rank_row(struct rank *rank, struct eval *eval) MUST_CHECK;

/* All rows were noted. */
void rank_sort(struct rank *rank);

/* What is known for a call of FullTextScore; NULL when it is no part of the order. */
const struct rank_statistics *rank_statistics_of(const struct rank *rank, const struct ast *call);

/* The place of a score among those of a call, from 1: as many scores are better, equal ones counted
 * once. Undefined is last. */
double rank_place(const struct rank *rank, const struct ast *call, const cJSON *score);

/* The words of the texts and terms of FullTextScore and FullTextContains: arguments as they are
 * called. False when the eval failed; has_text tells whether there is one. */
struct rank_text {
    bool has_text;
    struct fulltext text;
    size_t term_count;
    struct fulltext *terms;
};

bool rank_text_read(struct eval *eval, const struct ast *path, const cJSON *text,
                    const cJSON *const *terms, size_t count, struct rank_text *result) MUST_CHECK;

#endif
