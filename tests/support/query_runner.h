/*
 * Whole queries answered in memory, over documents as JSON: the evaluator as the service puts it
 * together, and so the oracle of what the service answers.
 *
 * What is asked of one page is asked of all pages: with a page size the groups and the order of
 * rows are computed page by page, each from where the last one ended, as the service does.
 */
#ifndef ORRERY_TESTS_SUPPORT_QUERY_RUNNER_H
#define ORRERY_TESTS_SUPPORT_QUERY_RUNNER_H

#include "base/fault.h"
#include "query/check.h"
#include "query/policies.h"

struct query_run {
    const char *text;
    const cJSON *documents;                /* an array; NULL for none */
    const cJSON *parameters;               /* as in a request's body, or NULL */
    const struct query_policies *policies; /* of the container, or NULL */
    struct computed_properties computed;
    const struct index_policy *indexing; /* NULL: every order can be served */
    size_t page;                         /* rows of a page; 0 for all at once */
    int64_t now_us;                      /* the clock */
};

/* The results in order as an array for cJSON_Delete; NULL and the fault when the query is refused
 * or fails. */
cJSON *query_run(const struct query_run *run, struct fault *fault);

#endif
