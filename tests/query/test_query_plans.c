/*
 * Plans do what they promise: the rewritten query run on each of several ranges, and what an SDK
 * makes of the rows, give what the query gives over all items at once.
 *
 * Asked of the conformance cases, and of queries and items made by chance from fixed seeds.
 */
#include "support/query_cases.h"
#include "support/query_pipeline.h"
#include "support/query_runner.h"

#include "base/buf.h"
#include "model/index_policy.h"
#include "query/parser.h"
#include "query/plan.h"
#include "query/plan_rewrite.h"
#include "query/value.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#define ARENA_BYTES (16u << 20)
#define NEAR 1e-9
#define CHANCE_QUERIES 3000
#define CHANCE_ITEMS 14

static const char everything[] =
    "NonValueAggregate,Aggregate,Distinct,MultipleOrderBy,OffsetAndLimit,OrderBy,Top,"
    "CompositeAggregate,GroupBy,MultipleAggregates,NonStreamingOrderBy,ListAndSetAggregate,"
    "CountIf,DCount,HybridSearch,WeightedRankFusion,HybridSearchSkipOrderByRewrite";

static char *const *files;
static size_t file_count;

/* ---- Comparing ---- */

/* Sums of partial sums are rounded otherwise. */
static bool numbers_equal(double a, double b)
{
    return a == b || fabs(a - b) <= NEAR * fmax(fabs(a), fabs(b));
}

static bool json_equals(const cJSON *a, const cJSON *b)
{
    if (cJSON_IsNumber(a) && cJSON_IsNumber(b))
        return numbers_equal(a->valuedouble, b->valuedouble);
    if (!cJSON_IsArray(a) && !cJSON_IsObject(a))
        return cJSON_Compare(a, b, true);
    if ((a->type & 0xff) != (b->type & 0xff) || cJSON_GetArraySize(a) != cJSON_GetArraySize(b))
        return false;
    const cJSON *y = b->child;
    for (const cJSON *x = a->child; x != NULL; x = x->next) {
        const cJSON *other = cJSON_IsArray(a) ? y : cJSON_GetObjectItemCaseSensitive(b, x->string);
        if (other == NULL || !json_equals(x, other))
            return false;
        y = y->next;
    }
    return true;
}

static bool same_in_any_order(const cJSON *a, const cJSON *b)
{
    cJSON *left = cJSON_Duplicate(a, true);
    bool is_same = cJSON_GetArraySize(a) == cJSON_GetArraySize(b);

    for (const cJSON *want = b->child; is_same && want != NULL; want = want->next) {
        cJSON *row = left->child;

        while (row != NULL && !json_equals(row, want))
            row = row->next;
        is_same = row != NULL;
        if (row != NULL)
            cJSON_Delete(cJSON_DetachItemViaPointer(left, row));
    }
    cJSON_Delete(left);
    return is_same;
}

/* ---- Asking ---- */

struct question {
    struct query_run run;
    struct ast_query query;
    const struct pkey_definition *definition;
    struct arena arena;
};

static bool compile(struct question *question, struct fault *fault)
{
    const struct check_input input = {.parameters = question->run.parameters,
                                      .computed = question->run.computed,
                                      .indexing = question->run.indexing,
                                      .policies = question->run.policies};

    arena_init(&question->arena, ARENA_BYTES);
    return parser_query(&question->arena, slice_from_text(question->run.text), &question->query,
                        fault) &&
           check_query(&question->arena, &question->query, &input, fault);
}

static cJSON *planned(struct question *question, struct fault *fault)
{
    const struct plan_request request = {.query = &question->query,
                                         .policies = question->run.policies,
                                         .definition = question->definition,
                                         .features = slice_from_text(everything)};
    struct buf out = {0};
    cJSON *plan = NULL;

    if (plan_print(&out, &question->arena, &request, fault)) {
        plan = cJSON_Parse(buf_text(&out));
        assert_non_null(plan);
    }
    buf_finish(&out);
    return plan;
}

/* The text for the ranges, for cJSON_free; the first page has no filter. */
static char *range_text(const cJSON *info, const char *original)
{
    const char *rewritten = cJSON_GetObjectItem(info, "rewrittenQuery")->valuestring;
    const char *filter = strstr(rewritten, PLAN_FILTER_PLACEHOLDER);
    const char *text = rewritten[0] != '\0' ? rewritten : original;
    char *filled = calloc(1, strlen(text) + 1);

    assert_non_null(filled);
    if (filter == NULL)
        memcpy(filled, text, strlen(text));
    else
        sprintf(filled, "%.*strue%s", (int) (filter - rewritten), rewritten,
                filter + strlen(PLAN_FILTER_PLACEHOLDER));
    return filled;
}

static bool covers(const cJSON *ranges, const struct epk *epk)
{
    const cJSON *range;

    cJSON_ArrayForEach(range, ranges)
    {
        struct epk min, max;

        assert_true(
            epk_parse(&min, slice_from_text(cJSON_GetObjectItem(range, "min")->valuestring)));
        assert_true(
            epk_parse(&max, slice_from_text(cJSON_GetObjectItem(range, "max")->valuestring)));
        int beyond = epk_compare(epk, &max);
        if (epk_compare(&min, epk) <= 0 &&
            (beyond < 0 ||
             (beyond == 0 && cJSON_IsTrue(cJSON_GetObjectItem(range, "isMaxInclusive")))))
            return true;
    }
    return false;
}

/* Items that the plan's intervals leave over, in `count` ranges; a query over none runs once. */
static cJSON *divided(const struct question *question, const cJSON *plan, int count)
{
    cJSON *ranges = cJSON_CreateArray();
    const cJSON *item;
    int total = cJSON_GetArraySize(question->run.documents), at = 0;
    bool is_point = false;
    const cJSON *intervals = cJSON_GetObjectItem(plan, "queryRanges");

    if (cJSON_GetArraySize(intervals) == 1)
        is_point = cJSON_IsTrue(cJSON_GetObjectItem(intervals->child, "isMaxInclusive"));
    for (int i = 0; i < (is_point ? 1 : count); i++)
        cJSON_AddItemToArray(ranges, cJSON_CreateArray());
    cJSON_ArrayForEach(item, question->run.documents)
    {
        struct pkey key = {.count = 1};
        const cJSON *id = cJSON_GetObjectItem(item, "id");
        struct epk epk;

        key.components[0] =
            (struct pkey_component){.type = PKEY_STRING, .text = slice_from_text(id->valuestring)};
        pkey_hash(&key, question->definition, &epk);
        int range = is_point ? 0 : at * count / total;
        at++;
        if (covers(intervals, &epk))
            cJSON_AddItemToArray(cJSON_GetArrayItem(ranges, range), cJSON_Duplicate(item, true));
    }
    return ranges;
}

/* What the ranges answer to the text; NULL when that is refused. */
static cJSON *fanned_out(const struct question *question, const cJSON *plan, const char *text,
                         int count, struct fault *fault)
{
    cJSON *ranges = divided(question, plan, count), *answers = cJSON_CreateArray();
    const cJSON *items;

    cJSON_ArrayForEach(items, ranges)
    {
        struct query_run run = question->run;

        run.text = text;
        run.documents = items;
        cJSON *rows = query_run(&run, fault);
        if (rows == NULL) {
            cJSON_Delete(answers);
            answers = NULL;
            break;
        }
        cJSON_AddItemToArray(answers, rows);
    }
    cJSON_Delete(ranges);
    return answers;
}

/* Which rows a window lets through is open where nothing orders them. */
static bool results_agree(const struct question *question, const cJSON *results,
                          const cJSON *expected)
{
    const struct ast_query *query = &question->query;

    if (query->order_by != NULL && !query->is_distinct)
        return json_equals(results, expected);
    if (query->has_top || query->has_window)
        return cJSON_GetArraySize(results) == cJSON_GetArraySize(expected);
    return same_in_any_order(results, expected);
}

static void tell(const struct question *question, const char *text, const cJSON *results,
                 const cJSON *expected)
{
    char *items = cJSON_PrintUnformatted(question->run.documents);
    char *is = results != NULL ? cJSON_PrintUnformatted(results) : NULL;
    char *wanted = expected != NULL ? cJSON_PrintUnformatted(expected) : NULL;

    print_error("%s\n  for ranges: %s\n  items: %s\n  %s\n  expected %s\n", question->run.text,
                text, items, is, wanted);
    free(items);
    free(is);
    free(wanted);
}

/* Does the way over the plan give the same? */
static bool plan_holds(struct question *question, const cJSON *plan, const cJSON *expected,
                       int count)
{
    const cJSON *info = cJSON_GetObjectItem(plan, "queryInfo");
    char *text = range_text(info, question->run.text);
    struct fault fault = {0};
    cJSON *answers = fanned_out(question, plan, text, count, &fault);
    cJSON *results = answers != NULL ? query_pipeline(info, answers) : NULL;
    bool holds = results != NULL && results_agree(question, results, expected);

    if (!holds) {
        tell(question, text, results, expected);
        print_error("  %s\n", fault.message);
    }
    cJSON_Delete(results);
    cJSON_Delete(answers);
    free(text);
    return holds;
}

/* Of ranked queries only tests over HTTP do what a client does. */
enum outcome { IS_RIGHT, IS_WRONG, IS_REFUSED, IS_NOT_PLANNED, IS_RANKED };

static enum outcome ask(struct question *question)
{
    struct fault fault = {0};
    enum outcome outcome = IS_REFUSED;
    cJSON *expected = query_run(&question->run, &fault);

    if (expected != NULL && compile(question, &fault)) {
        cJSON *plan = planned(question, &fault);

        if (plan == NULL)
            outcome = IS_NOT_PLANNED;
        else if (cJSON_IsNull(cJSON_GetObjectItem(plan, "queryInfo")))
            outcome = IS_RANKED;
        else
            outcome = IS_RIGHT;
        for (int count = 1; outcome == IS_RIGHT && count <= 4; count++) {
            if (!plan_holds(question, plan, expected, count))
                outcome = IS_WRONG;
        }
        cJSON_Delete(plan);
        arena_finish(&question->arena);
    }
    cJSON_Delete(expected);
    return outcome;
}

static void by_id(struct pkey_definition *definition, struct arena *arena)
{
    struct fault fault = {0};

    *definition = (struct pkey_definition){.kind = PKEY_HASH, .version = 2, .path_count = 1};
    assert_true(pkey_path_parse(&definition->paths[0], SLICE_LITERAL("/id"), arena, &fault));
}

/* Items of one container: ids, and rids in their order. */
static void identify(cJSON *items)
{
    cJSON *item;
    char text[32];
    int number = 0;

    cJSON_ArrayForEach(item, items)
    {
        snprintf(text, sizeof(text), "%04d", ++number);
        cJSON_DeleteItemFromObject(item, "_rid");
        cJSON_AddStringToObject(item, "_rid", text);
        if (!cJSON_IsString(cJSON_GetObjectItem(item, "id"))) {
            cJSON_DeleteItemFromObject(item, "id");
            cJSON_AddStringToObject(item, "id", text);
        }
    }
}

/* ---- Cases ---- */

struct tally {
    unsigned outcomes[IS_RANKED + 1];
};

static struct slice kept(struct arena *arena, const cJSON *json)
{
    char *text = cJSON_PrintUnformatted(json);
    char *copy = arena_copy(arena, text, strlen(text) + 1);

    assert_non_null(copy);
    free(text);
    return slice_from_text(copy);
}

static void case_ask(const struct query_case *test, void *context)
{
    struct tally *tally = context;
    struct pkey_definition definition;
    struct query_policies policies = {0};
    struct question question = {.definition = &definition};
    struct fault fault = {0};
    struct arena arena;

    if (test->is_not_in_memory || test->expectation == EXPECT_REFUSED)
        return;
    arena_init(&arena, ARENA_BYTES);
    by_id(&definition, &arena);
    cJSON *items = cJSON_Duplicate(test->items, true);
    identify(items);
    question.run = (struct query_run){.text = test->query,
                                      .documents = items,
                                      .parameters = test->parameters,
                                      .policies = &policies};
    if (test->settings != NULL) {
        struct slice settings = kept(&arena, test->settings);
        assert_true(query_policies_load(&policies, settings, &arena, &fault) &&
                    computed_load(&question.run.computed, settings, &arena, &fault));
    }
    tally->outcomes[ask(&question)]++;
    cJSON_Delete(items);
    arena_finish(&arena);
}

static void cases_hold(void **state)
{
    struct tally tally = {0};

    (void) state;
    for (size_t i = 0; i < file_count; i++)
        assert_true(query_cases_read(files[i], case_ask, &tally) > 0);
    print_message("%u planned, %u not\n", tally.outcomes[IS_RIGHT], tally.outcomes[IS_NOT_PLANNED]);
    assert_int_equal(tally.outcomes[IS_WRONG], 0);
    assert_true(tally.outcomes[IS_RIGHT] > 10 * tally.outcomes[IS_NOT_PLANNED]);
}

/* ---- Chance ---- */

static uint64_t chance_state;

static unsigned chance(unsigned below)
{
    chance_state = chance_state * 6364136223846793005u + 1442695040888963407u;
    return (unsigned) (chance_state >> 33) % below;
}

static const char *one_of(const char *const *texts, unsigned count)
{
    return texts[chance(count)];
}

#define ONE_OF(...)                            \
    one_of((const char *const[]){__VA_ARGS__}, \
           sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

/* Few values of all types, so that there are equal ones; sometimes numbers only, for SUM. */
static cJSON *items_of_chance(void)
{
    bool are_numbers = chance(2) == 0;
    cJSON *items = cJSON_CreateArray();
    char text[200];

    for (unsigned i = 0, count = chance(CHANCE_ITEMS); i < count; i++) {
        const char *v = are_numbers ? ONE_OF("1", "2", "-1.5", "0", "7")
                                    : ONE_OF("null", "true", "false", "1", "2", "\"x\"", "\"\"",
                                             "[1]", "[]", "{\"p\":1}", "3.5");

        bool has_v = chance(4) > 0;

        snprintf(text, sizeof(text), "{\"id\":\"%c%u\",\"g\":%s,\"b\":%s,\"t\":%s%s%s}",
                 "ab"[chance(2)], i, ONE_OF("1", "\"1\"", "null", "[2]"), ONE_OF("true", "false"),
                 ONE_OF("[1,2]", "[]", "[3]", "\"no\"", "[{\"q\":1},2]"), has_v ? ",\"v\":" : "",
                 has_v ? v : "");
        cJSON *item = cJSON_Parse(text);
        assert_non_null(item);
        cJSON_AddItemToArray(items, item);
    }
    identify(items);
    return items;
}

static const char *aggregate_of_chance(void)
{
    return ONE_OF("COUNT(1)", "COUNT(c.v)", "SUM(c.v)", "AVG(c.v)", "MIN(c.v)", "max(c.v)",
                  "COUNTIF(c.b)", "MAKESET(c.b)", "SUM(c.none)", "MIN(c.none)", "COUNT(c.none)");
}

static const char *filter_of_chance(void)
{
    return ONE_OF("", "", " WHERE c.b", " WHERE c.v > 1", " WHERE IS_DEFINED(c.v)",
                  " WHERE c.g = 1 OR c.v = null", " WHERE c.id = \"a1\"", " WHERE false",
                  " WHERE NOT (c.b AND c.g = \"1\")", " WHERE c.id IN (\"a0\", \"b1\", \"a2\")");
}

static const char *window_of_chance(void)
{
    return ONE_OF("", "", "", " OFFSET 0 LIMIT 3", " OFFSET 2 LIMIT 2", " OFFSET 1 LIMIT 100",
                  " OFFSET 3 LIMIT 0");
}

static const char *expression_of_chance(void)
{
    return ONE_OF("c.v", "c.g", "c.t[0]", "{\"x\": c.v, \"y\": [c.g]}", "c.v + 1", "c.b ? c.v : 0",
                  "(SELECT VALUE COUNT(1) FROM x IN c.t)", "ARRAY(SELECT VALUE x FROM x IN c.t)",
                  "c");
}

static void rows_of_chance(char *text, size_t size)
{
    bool is_joined = chance(4) == 0, is_ordered = chance(2) == 0;
    const char *window = window_of_chance();
    const char *top = window[0] == '\0' ? ONE_OF("", "", "TOP 3 ", "TOP 0 ") : "";
    char projection[160];

    if (chance(3) == 0)
        snprintf(projection, sizeof(projection), "VALUE %s",
                 is_joined ? "j" : expression_of_chance());
    else
        snprintf(projection, sizeof(projection), "c.id, %s AS e", expression_of_chance());
    snprintf(text, size, "SELECT %s%s%s FROM c%s%s%s%s%s", chance(4) == 0 ? "DISTINCT " : "", top,
             projection, is_joined ? " JOIN j IN c.t" : "", filter_of_chance(),
             is_ordered ? " ORDER BY " : "",
             is_ordered
                 ? ONE_OF("c.v", "c.v DESC", "c.g", "c.id DESC", "c.b, c.v DESC", "c.g DESC, c.id")
                 : "",
             window);
}

/* FROM that begins inside the item. */
static void inner_rows_of_chance(char *text, size_t size)
{
    snprintf(text, size, "SELECT %s%s FROM %s ORDER BY x.%s%s", chance(4) == 0 ? "DISTINCT " : "",
             ONE_OF("VALUE x", "x", "VALUE x.q", "*", "x.v, 1 AS one"),
             ONE_OF("x IN c.t", "c.v AS x", "c.t[0] AS x", "c x",
                    "(SELECT c.v, c.g AS q FROM c WHERE c.b) AS x",
                    "(SELECT VALUE c.v FROM c) AS x", "(SELECT VALUE t FROM t IN c.t) x"),
             ONE_OF("q", "v", "q DESC", "p"), window_of_chance());
}

static void groups_of_chance(char *text, size_t size)
{
    const char *window = window_of_chance();
    const char *top = window[0] == '\0' ? ONE_OF("", "", "TOP 2 ") : "";
    const char *distinct = chance(6) == 0 ? "DISTINCT " : "";
    const char *filter = filter_of_chance();

    switch (chance(5)) {
    case 0:
        snprintf(text, size, "SELECT %s%sVALUE %s FROM c%s%s", distinct, top, aggregate_of_chance(),
                 filter, window);
        break;
    case 1:
        snprintf(text, size, "SELECT %s%s%s AS x, %s, %s FROM c%s%s", distinct, top,
                 aggregate_of_chance(), aggregate_of_chance(), ONE_OF("1", "\"k\"", "[1]"), filter,
                 window);
        break;
    case 2:
        snprintf(text, size, "SELECT %s%sc.g, %s, %s AS x FROM c%s GROUP BY c.g%s", distinct, top,
                 aggregate_of_chance(), aggregate_of_chance(), filter, window);
        break;
    case 3:
        snprintf(text, size, "SELECT %s%sVALUE %s FROM c%s GROUP BY c.g, c.b%s", distinct, top,
                 ONE_OF("c.g", "COUNT(1)", "AVG(c.v)", "MAX(c.v)", "[c.g, c.b]"), filter, window);
        break;
    default:
        snprintf(text, size, "SELECT %s%s COUNT(1) FROM (SELECT DISTINCT %s FROM c%s)%s", top,
                 ONE_OF("", "VALUE"), ONE_OF("VALUE c.v", "c.g, c.b", "VALUE c.none", "c.none"),
                 filter, window);
    }
}

static void queries_of_chance_hold(void **state)
{
    struct pkey_definition definition;
    struct tally tally = {0};
    struct arena arena;
    char text[600];

    (void) state;
    arena_init(&arena, ARENA_BYTES);
    by_id(&definition, &arena);
    for (chance_state = 1; tally.outcomes[IS_RIGHT] + tally.outcomes[IS_WRONG] < CHANCE_QUERIES;) {
        struct question question = {.definition = &definition};
        cJSON *items = items_of_chance();

        if (chance(6) == 0)
            inner_rows_of_chance(text, sizeof(text));
        else if (chance(2) == 0)
            rows_of_chance(text, sizeof(text));
        else
            groups_of_chance(text, sizeof(text));
        question.run = (struct query_run){.text = text, .documents = items};
        enum outcome outcome = ask(&question);
        tally.outcomes[outcome]++;
        if (outcome == IS_REFUSED)
            print_error("refused: %s\n", text);
        cJSON_Delete(items);
        assert_true(tally.outcomes[IS_WRONG] < 10);
    }
    arena_finish(&arena);
    print_message("%u planned, %u not, %u refused\n", tally.outcomes[IS_RIGHT],
                  tally.outcomes[IS_NOT_PLANNED], tally.outcomes[IS_REFUSED]);
    assert_int_equal(tally.outcomes[IS_WRONG] + tally.outcomes[IS_REFUSED], 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cases_hold),
        cmocka_unit_test(queries_of_chance_hold),
    };

    files = argv + 1;
    file_count = (size_t) (argc - 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
