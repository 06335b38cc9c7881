/*
 * The condition of a query or of a patch, ready to be asked about documents.
 *
 * For patch conditions, and for the queries that SDKs send for metadata (offers, databases,
 * containers, users): a projection, FROM one container, WHERE. Queries over items have more and run
 * elsewhere.
 */
#ifndef ORRERY_QUERY_FILTER_H
#define ORRERY_QUERY_FILTER_H

#include "base/arena.h"
#include "base/fault.h"
#include "base/slice.h"
#include "query/ast.h"

#include <cjson/cJSON.h>

struct filter {
    struct ast_query query;
    int64_t now_us; /* what GetCurrent… tell; 0 until the owner sets it */
};

/* What a query's body says. */
struct query_spec {
    struct slice text;       /* of the query; in the body or the arena */
    const cJSON *parameters; /* array of {"name", "value"}; NULL when there are none; the arena's */
    const cJSON *resume;     /* object "resumeFilter" (query/resume.h); NULL without; the arena's */
};

/*
 * Read {"query": "…", "parameters": [{"name": "@p", "value": …}, …], "resumeFilter":
 * {…}}; other members are ignored.
 *
 * fault    400 for malformed JSON, a missing or wrong member, a text of more than PARSER_TEXT_MAX
 * characters; 503
 */
bool query_body_parse(struct arena *arena, struct slice body, struct query_spec *spec,
                      struct fault *fault) MUST_CHECK;

/*
 * Prepare a query: any projection, which filter_project answers, and WHERE.
 *
 * text         borrowed, as parameters (see check_query) are, as long as the filter
 * fault        400 in the form of query/diagnosis.h; further clauses and aggregates are refused by
 *              name; 503
 */
bool filter_parse(struct arena *arena, struct slice text, const cJSON *parameters,
                  struct filter *filter, struct fault *fault) MUST_CHECK;

/* Prepare a patch's condition: FROM c WHERE …, without parameters. */
bool filter_parse_condition(struct arena *arena, struct slice text, struct filter *filter,
                            struct fault *fault) MUST_CHECK;

/*
 * Does the document pass? Only boolean true does; anything else, undefined too, does not.
 *
 * document     borrowed; an object as parsed by cJSON
 * arena        values computed on the way; may be a small one of its own for each document
 * fault        400 when the document costs more than EVAL_STEPS_MAX; 503
 */
bool filter_matches(const struct filter *filter, const cJSON *document, struct arena *arena,
                    bool *matches, struct fault *fault) MUST_CHECK;

/*
 * The value the query selects of a document that passed; NULL when it is undefined, which then is
 * no row. Borrowed from the document and the arena.
 */
bool filter_project(const struct filter *filter, const cJSON *document, struct arena *arena,
                    const cJSON **value, struct fault *fault) MUST_CHECK;

#endif
