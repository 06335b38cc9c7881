/*
 * Expressions computed in memory, over one item and the rows made of it.
 *
 * The evaluator can do everything that the language has; what SQL does exactly is left to SQL. One
 * eval serves a whole query: eval_item begins with the next item and its allowance of work.
 *
 * A failure (work or memory used up) is remembered in the eval; what is computed after it is
 * meaningless and the one who began asks once, at the end.
 */
#ifndef ORRERY_QUERY_EVAL_H
#define ORRERY_QUERY_EVAL_H

#include "base/arena.h"
#include "base/compiler.h"
#include "base/fault.h"
#include "query/ast.h"
#include "query/value.h"

#include <cjson/cJSON.h>
#include <stdint.h>

/*
 * Steps one item may cost: nodes visited, values compared, bytes searched. About 50 ms, because
 * nothing else runs on the loop meanwhile.
 */
#define EVAL_STEPS_MAX 4000000

/* Bytes of a string that is computed: twice the largest item. */
#define EVAL_STRING_MAX 4194304

/* Bytes that the groups of a query inside an expression may take. */
#define EVAL_GROUPS_BYTES_MAX 16777216

struct regex_cache;
struct query_policies;
struct rank;

struct eval {
    struct arena *arena; /* computed values; may be replaced before eval_item, never between */
    const cJSON *
        *slots; /* values that sources bind, slot 0 the item; as many as the statement has */
    /*
     * While a group is projected: what its aggregates and keys are, by the numbers in the nodes.
     * NULL otherwise, and then a key is computed as any expression.
     */
    const cJSON **aggregates;
    const cJSON **group_keys;
    int64_t now_us;                        /* clock of the request, microseconds since 1970 */
    uint64_t seed;                         /* of RAND; moves on with every call */
    const struct query_policies *policies; /* of the container; NULL: nothing is declared */
    struct regex_cache *regexes; /* patterns compiled once for the query; NULL: for each call */
    const struct rank *rank;     /* what ORDER BY RANK gathered (query/rank.h), or NULL */
    const struct ast *call;      /* the call whose function runs */
    size_t steps_left;
    bool has_failed;
    struct fault *fault;
};

/*
 * Begin.
 *
 * arena    computed values
 * slots    borrowed, and written to; room for the statement's slot_count, or one for an expression
 *          without subqueries
 * fault    where a failure is told: 400 for too much work, 503 without memory
 */
void eval_init(struct eval *eval, struct arena *arena, const cJSON **slots, struct fault *fault);

/* Go on with another item (borrowed; NULL for none) and a new allowance of steps. */
void eval_item(struct eval *eval, const cJSON *item);

/* The value of an expression that check_query has completed; NULL for undefined, and after a
 * failure. */
const cJSON *eval_expression(struct eval *eval, const struct ast *node);

/* The same as it leaves the evaluator: numbers that are not finite are undefined. */
const cJSON *eval_output(struct eval *eval, const struct ast *node);

/* All results of a query inside an expression, as an array; NULL after a failure. */
const cJSON *eval_results(struct eval *eval, const struct ast_query *query);

/* Spend steps; false once they are used up (400) or the eval failed before. */
bool eval_spend(struct eval *eval, size_t steps);

/* Remember that memory ran out; gives NULL. */
const cJSON *eval_oom(struct eval *eval);

/* Does the whole text match a LIKE pattern? escape is 0 for none. */
bool eval_like(struct eval *eval, struct slice text, struct slice pattern, uint32_t escape);

#endif
