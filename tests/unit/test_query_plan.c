/*
 * Query plans: the pairs of query and plan that are known from the service, those of every
 * rewritten form, what clients must be able to do, and what they cannot merge.
 */
#include "query/plan.h"

#include "query/check.h"
#include "query/parser.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cjson/cJSON.h>
#include <cmocka.h>

#define FILTER "{documentdb-formattableorderbyquery-filter}"

/* What a client that can do everything lists. */
#define EVERYTHING                                                                                \
    "NonValueAggregate, Aggregate, Distinct, MultipleOrderBy, OffsetAndLimit, OrderBy, Top, "     \
    "CompositeAggregate, GroupBy, MultipleAggregates, NonStreamingOrderBy, ListAndSetAggregate, " \
    "CountIf, DCount, HybridSearch, WeightedRankFusion, HybridSearchSkipOrderByRewrite"

static const char default_info[] =
    "{\"distinctType\":\"None\",\"top\":null,\"offset\":null,\"limit\":null,\"orderBy\":[],"
    "\"orderByExpressions\":[],\"groupByExpressions\":[],\"groupByAliases\":[],\"aggregates\":[],"
    "\"groupByAliasToAggregateType\":{},\"rewrittenQuery\":\"\",\"hasSelectValue\":false,"
    "\"dCountInfo\":null,\"hasNonStreamingOrderBy\":false}";

struct question {
    const char *paths; /* of the partition key, separated by blanks; NULL for /key */
    const char *query;
    const char *parameters; /* JSON or NULL */
    const char *given;      /* partition key of the request, or NULL */
    const char *features;   /* NULL for everything */
};

static void define(struct pkey_definition *definition, struct arena *arena, const char *paths)
{
    struct slice rest = slice_from_text(paths != NULL ? paths : "/key");
    struct fault fault = {0};

    *definition = (struct pkey_definition){.version = 2};
    while (!slice_is_absent(rest)) {
        struct pkey_path *path = &definition->paths[definition->path_count++];
        assert_true(pkey_path_parse(path, slice_cut(rest, ' ', &rest), arena, &fault));
    }
    definition->kind = definition->path_count > 1 ? PKEY_MULTI_HASH : PKEY_HASH;
}

static cJSON *parsed(struct arena *arena, const char *text)
{
    cJSON *tree = cJSON_Parse(text);

    if (tree == NULL)
        fail_msg("not JSON: %s", text);
    assert_true(arena_defer(arena, (arena_cleanup_fn *) cJSON_Delete, tree));
    return tree;
}

static void compile(struct ast_query *query, struct arena *arena, const struct question *question)
{
    struct check_input input = {0};
    struct fault fault = {0};

    if (question->parameters != NULL)
        input.parameters = parsed(arena, question->parameters);
    if (!parser_query(arena, slice_from_text(question->query), query, &fault) ||
        !check_query(arena, query, &input, &fault))
        fail_msg("%s: %s", question->query, fault.message);
}

static struct pkey key_read(struct arena *arena, const struct pkey_definition *definition,
                            const char *text)
{
    struct fault fault = {0};
    struct pkey key;

    if (!pkey_from_header(&key, definition, slice_from_text(text), PKEY_PREFIX, arena, &fault))
        fail_msg("%s: %s", text, fault.message);
    return key;
}

/* The plan as a tree; NULL with a fault. */
static cJSON *planned(struct arena *arena, const struct question *question, struct fault *fault)
{
    const char *features = question->features != NULL ? question->features : EVERYTHING;
    struct pkey_definition definition;
    struct ast_query query;
    struct pkey given;
    struct buf out = {0};
    cJSON *tree = NULL;

    define(&definition, arena, question->paths);
    compile(&query, arena, question);
    struct plan_request request = {
        .query = &query, .definition = &definition, .features = slice_from_text(features)};
    if (question->given != NULL) {
        given = key_read(arena, &definition, question->given);
        request.given = &given;
    }
    if (plan_print(&out, arena, &request, fault))
        tree = parsed(arena, buf_text(&out));
    buf_finish(&out);
    return tree;
}

/* ---- comparing ---- */

static void point_append(struct buf *out, struct arena *arena,
                         const struct pkey_definition *definition, const cJSON *value)
{
    char *text = cJSON_PrintUnformatted(value);
    struct pkey key = key_read(arena, definition, text);
    struct epk epk;

    pkey_hash(&key, definition, &epk);
    buf_append_text(out, "{\"min\":\"");
    epk_append(out, &epk);
    buf_append_text(out, "\",\"max\":\"");
    epk_append(out, &epk);
    buf_append_text(out, "\",\"isMinInclusive\":true,\"isMaxInclusive\":true}");
    cJSON_free(text);
}

static int by_min(const void *a, const void *b)
{
    const cJSON *const *first = a, *const *second = b;

    return strcmp(cJSON_GetObjectItem(*first, "min")->valuestring,
                  cJSON_GetObjectItem(*second, "min")->valuestring);
}

/* "all", "none" or an array of partition keys, sorted by what they hash to. */
static cJSON *ranges_expected(struct arena *arena, const char *paths, const char *ranges)
{
    struct pkey_definition definition;
    struct buf out = {0};
    cJSON *keys, *key, *items[8], *sorted;
    size_t count = 0;

    if (strcmp(ranges, "all") == 0)
        return parsed(arena, "[{\"min\":\"\",\"max\":\"FF\",\"isMinInclusive\":true,"
                             "\"isMaxInclusive\":false}]");
    if (strcmp(ranges, "none") == 0)
        return parsed(arena, "[{\"min\":\"\",\"max\":\"\",\"isMinInclusive\":true,"
                             "\"isMaxInclusive\":true}]");
    define(&definition, arena, paths);
    keys = parsed(arena, ranges);
    sorted = parsed(arena, "[]");
    cJSON_ArrayForEach(key, keys)
    {
        out.len = 0;
        point_append(&out, arena, &definition, key);
        items[count++] = cJSON_Parse(buf_text(&out));
    }
    qsort(items, count, sizeof(*items), by_min);
    for (size_t i = 0; i < count; i++)
        cJSON_AddItemToArray(sorted, items[i]);
    buf_finish(&out);
    return sorted;
}

static void assert_same(const struct question *question, const char *what, const cJSON *actual,
                        const cJSON *expected)
{
    if (cJSON_Compare(actual, expected, true))
        return;
    char *is = cJSON_Print(actual), *wanted = cJSON_Print(expected);
    print_message("%s: %s\n%s\nexpected\n%s\n", question->query, what, is, wanted);
    cJSON_free(is);
    cJSON_free(wanted);
    fail();
}

/* The plan has these members of queryInfo, the defaults for the others, and these ranges. */
static void plans(const struct question *question, const char *ranges, const char *info)
{
    struct fault fault = {0};
    struct arena arena;
    cJSON *member;

    arena_init(&arena, 64 << 20);
    cJSON *plan = planned(&arena, question, &fault);
    if (plan == NULL)
        fail_msg("%s: %s", question->query, fault.message);
    cJSON *expected = parsed(&arena, default_info);
    cJSON_ArrayForEach(member, parsed(&arena, info))
    {
        assert_non_null(cJSON_GetObjectItem(expected, member->string));
        cJSON_ReplaceItemInObject(expected, member->string, cJSON_Duplicate(member, true));
    }
    assert_int_equal(cJSON_GetObjectItem(plan, "partitionedQueryExecutionInfoVersion")->valueint,
                     2);
    assert_true(cJSON_IsNull(cJSON_GetObjectItem(plan, "hybridSearchQueryInfo")));
    assert_same(question, "queryInfo", cJSON_GetObjectItem(plan, "queryInfo"), expected);
    assert_same(question, "queryRanges", cJSON_GetObjectItem(plan, "queryRanges"),
                ranges_expected(&arena, question->paths, ranges));
    arena_finish(&arena);
}

static void plans_all(const char *query, const char *info)
{
    plans(&(struct question){.query = query}, "all", info);
}

/* The text for the ranges alone. */
static void rewrites(const char *query, const char *rewritten)
{
    struct question question = {.query = query};
    struct fault fault = {0};
    struct arena arena;

    arena_init(&arena, 64 << 20);
    cJSON *plan = planned(&arena, &question, &fault);
    if (plan == NULL)
        fail_msg("%s: %s", query, fault.message);
    const cJSON *info = cJSON_GetObjectItem(plan, "queryInfo");
    assert_string_equal(cJSON_GetObjectItem(info, "rewrittenQuery")->valuestring, rewritten);
    arena_finish(&arena);
}

static void refuses(const struct question *question, const char *why)
{
    struct fault fault = {0};
    struct arena arena;

    arena_init(&arena, 64 << 20);
    if (planned(&arena, question, &fault) != NULL)
        fail_msg("%s: planned", question->query);
    assert_int_equal(fault.status, 400);
    if (strstr(fault.message, why) == NULL)
        fail_msg("%s: %s", question->query, fault.message);
    arena_finish(&arena);
}

/* ---- pairs of the service ---- */

static void pairs_of_ranges(void **state)
{
    (void) state;
    plans(&(struct question){"/a", .query = "SELECT * FROM c"}, "all", "{}");
    plans(&(struct question){"/a", .query = "SELECT 5"}, "none", "{}");
    plans(&(struct question){"/a", .query = "SELECT * FROM Root r WHERE r.a = 5"}, "[[5]]", "{}");
    plans(&(struct question){.query = "SELECT * FROM c WHERE c.key IN (1, 2, 3)"}, "[[1],[2],[3]]",
          "{}");
    plans(
        &(struct question){
            "/a", .query = "SELECT * FROM c WHERE ARRAY_CONTAINS([1, 2, 3], c.a) and c.a = 4"},
        "none", "{}");
    plans(&(struct question){"/a/b/c", .query = "SELECT * FROM Root r WHERE r.a.b.c"}, "[[true]]",
          "{}");
    plans(&(struct question){"/a/b/c /a/c", .query = "SELECT * FROM Root r WHERE r.a.b.c = null "
                                                     "AND r.a.c = false"},
          "[[null,false]]", "{}");
}

static void pairs_of_windows(void **state)
{
    (void) state;
    plans_all("SELECT TOP 5 * FROM c", "{\"top\":5}");
    plans_all(
        "SELECT * FROM c OFFSET 1 LIMIT 2",
        "{\"offset\":1,\"limit\":2,\"rewrittenQuery\":\"SELECT *\\nFROM c\\nOFFSET 0 LIMIT 3\"}");
    plans(&(struct question){.query = "SELECT * FROM c WHERE c.key = 5 OFFSET 1 LIMIT 2"}, "[[5]]",
          "{}");
    plans_all("SELECT TOP 2147483648 c.name FROM c", "{\"top\":2147483648}");
    plans(&(struct question){.query =
                                 "SELECT VALUE COUNT(1) FROM c WHERE c.key = 5 OFFSET 1 LIMIT 2"},
          "[[5]]",
          "{\"offset\":1,\"limit\":2,\"aggregates\":[\"Count\"],\"hasSelectValue\":true,"
          "\"rewrittenQuery\":\"SELECT VALUE [{\\\"item\\\": COUNT(1)}]\\nFROM c\\nWHERE (c.key = "
          "5)\"}");
}

static void pairs_of_order(void **state)
{
    (void) state;
    plans_all("SELECT * FROM Root r ORDER BY r.blah",
              "{\"orderBy\":[\"Ascending\"],\"orderByExpressions\":[\"r.blah\"],"
              "\"rewrittenQuery\":\"SELECT r._rid, [{\\\"item\\\": r.blah}] AS orderByItems, r AS "
              "payload\\nFROM Root AS r\\nWHERE (" FILTER ")\\nORDER BY r.blah\"}");
    plans_all(
        "SELECT VALUE r.a FROM r WHERE r.d = true ORDER BY r.b",
        "{\"orderBy\":[\"Ascending\"],\"orderByExpressions\":[\"r.b\"],\"hasSelectValue\":true,"
        "\"rewrittenQuery\":\"SELECT r._rid, [{\\\"item\\\": r.b}] AS orderByItems, r.a AS "
        "payload\\nFROM r\\nWHERE (((r.d = true) AND (" FILTER
        ")) AND IS_DEFINED(r.a))\\nORDER BY r.b\"}");
    plans_all(
        "SELECT TOP 10 c.property1 FROM c ORDER BY c.f1 ASC, c.f2 ASC",
        "{\"top\":10,\"orderBy\":[\"Ascending\",\"Ascending\"],\"orderByExpressions\":[\"c.f1\","
        "\"c.f2\"],\"rewrittenQuery\":\"SELECT TOP 10 c._rid, [{\\\"item\\\": c.f1}, "
        "{\\\"item\\\": c.f2}] AS orderByItems, {\\\"property1\\\": c.property1} AS "
        "payload\\nFROM c\\nWHERE (" FILTER ")\\nORDER BY c.f1 ASC, c.f2 ASC\"}");
}

static void pairs_of_aggregates(void **state)
{
    (void) state;
    plans_all("SELECT VALUE COUNT(1) FROM c",
              "{\"aggregates\":[\"Count\"],\"hasSelectValue\":true,"
              "\"rewrittenQuery\":\"SELECT VALUE [{\\\"item\\\": COUNT(1)}]\\nFROM c\"}");
    plans_all("SELECT VALUE AVG(c.blah) FROM c",
              "{\"aggregates\":[\"Average\"],\"hasSelectValue\":true,"
              "\"rewrittenQuery\":\"SELECT VALUE [{\\\"item\\\": {\\\"sum\\\": SUM(c.blah), "
              "\\\"count\\\": COUNT(c.blah)}}]\\nFROM c\"}");
    plans_all("SELECT VALUE MIN(c.blah) FROM c",
              "{\"aggregates\":[\"Min\"],\"hasSelectValue\":true,"
              "\"rewrittenQuery\":\"SELECT VALUE [{\\\"item\\\": MIN(c.blah), \\\"item2\\\": "
              "{\\\"min\\\": MIN(c.blah), \\\"count\\\": COUNT(c.blah)}}]\\nFROM c\"}");
    plans_all("SELECT AVG(c.blah) FROM c",
              "{\"groupByAliases\":[\"$1\"],\"groupByAliasToAggregateType\":{\"$1\":\"Average\"},"
              "\"rewrittenQuery\":\"SELECT {\\\"$1\\\": {\\\"item\\\": {\\\"sum\\\": SUM(c.blah), "
              "\\\"count\\\": COUNT(c.blah)}}} AS payload\\nFROM c\"}");
}

static void pairs_of_groups(void **state)
{
    (void) state;
    plans_all(
        "SELECT c.age, c.name FROM c GROUP BY c.age, c.name",
        "{\"groupByExpressions\":[\"c.age\",\"c.name\"],\"groupByAliases\":[\"age\",\"name\"],"
        "\"groupByAliasToAggregateType\":{\"age\":null,\"name\":null},"
        "\"rewrittenQuery\":\"SELECT [{\\\"item\\\": c.age}, {\\\"item\\\": c.name}] AS "
        "groupByItems, {\\\"age\\\": c.age, \\\"name\\\": c.name} AS payload\\nFROM c\\nGROUP BY "
        "c.age, c.name\"}");
    plans_all("SELECT VALUE AVG(c.age) FROM c GROUP BY c.name",
              "{\"groupByExpressions\":[\"c.name\"],\"aggregates\":[\"Average\"],"
              "\"hasSelectValue\":true,\"rewrittenQuery\":\"SELECT [{\\\"item\\\": c.name}] AS "
              "groupByItems, [{\\\"item\\\": {\\\"sum\\\": SUM(c.age), \\\"count\\\": "
              "COUNT(c.age)}}] AS payload\\nFROM c\\nGROUP BY c.name\"}");
    plans_all(
        "SELECT c.name, UPPER(c.name) FROM c GROUP BY c.name",
        "{\"groupByExpressions\":[\"c.name\"],\"groupByAliases\":[\"name\",\"$1\"],"
        "\"groupByAliasToAggregateType\":{\"name\":null,\"$1\":null},"
        "\"rewrittenQuery\":\"SELECT [{\\\"item\\\": c.name}] AS groupByItems, {\\\"name\\\": "
        "c.name, \\\"$1\\\": UPPER(c.name)} AS payload\\nFROM c\\nGROUP BY c.name\"}");
    plans_all("SELECT TOP 5 VALUE c.name FROM c GROUP BY c.name",
              "{\"top\":5,\"groupByExpressions\":[\"c.name\"],\"hasSelectValue\":true,"
              "\"rewrittenQuery\":\"SELECT [{\\\"item\\\": c.name}] AS groupByItems, c.name AS "
              "payload\\nFROM c\\nGROUP BY c.name\"}");
    plans_all(
        "SELECT c.zipcode, COUNTIF(c.valid) AS valid_count FROM c GROUP BY c.zipcode",
        "{\"groupByExpressions\":[\"c.zipcode\"],\"groupByAliases\":[\"zipcode\","
        "\"valid_count\"],\"groupByAliasToAggregateType\":{\"zipcode\":null,"
        "\"valid_count\":\"CountIf\"},\"rewrittenQuery\":\"SELECT [{\\\"item\\\": c.zipcode}] "
        "AS groupByItems, {\\\"zipcode\\\": c.zipcode, \\\"valid_count\\\": {\\\"item\\\": "
        "COUNTIF(c.valid)}} AS payload\\nFROM c\\nGROUP BY c.zipcode\"}");
    plans_all("SELECT c.t, COUNT(1) AS n FROM c GROUP BY c.t",
              "{\"groupByExpressions\":[\"c.t\"],\"groupByAliases\":[\"t\",\"n\"],"
              "\"groupByAliasToAggregateType\":{\"t\":null,\"n\":\"Count\"},"
              "\"rewrittenQuery\":\"SELECT [{\\\"item\\\": c.t}] AS groupByItems, {\\\"t\\\": c.t, "
              "\\\"n\\\": {\\\"item\\\": COUNT(1)}} AS payload\\nFROM c\\nGROUP BY c.t\"}");
}

static void pairs_of_distinct(void **state)
{
    (void) state;
    plans_all("SELECT DISTINCT c.blah FROM c", "{\"distinctType\":\"Unordered\"}");
    plans_all(
        "SELECT DISTINCT VALUE c.blah FROM c ORDER BY c.blah",
        "{\"distinctType\":\"Ordered\",\"orderBy\":[\"Ascending\"],"
        "\"orderByExpressions\":[\"c.blah\"],\"hasSelectValue\":true,"
        "\"rewrittenQuery\":\"SELECT c._rid, [{\\\"item\\\": c.blah}] AS orderByItems, c.blah AS "
        "payload\\nFROM c\\nWHERE ((" FILTER ") AND IS_DEFINED(c.blah))\\nORDER BY c.blah\"}");
    plans_all("SELECT DISTINCT TOP 5 VALUE c.name FROM c",
              "{\"distinctType\":\"Unordered\",\"top\":5,\"hasSelectValue\":true,"
              "\"rewrittenQuery\":\"SELECT DISTINCT VALUE c.name\\nFROM c\"}");
    plans_all("SELECT VALUE COUNT(1) FROM (SELECT DISTINCT VALUE c.blah FROM c)",
              "{\"distinctType\":\"Unordered\",\"hasSelectValue\":true,"
              "\"dCountInfo\":{\"dCountAlias\":\"\"},"
              "\"rewrittenQuery\":\"SELECT DISTINCT VALUE c.blah\\nFROM c\"}");
    plans_all("SELECT COUNT(1) AS n FROM (SELECT DISTINCT c.a, c.b FROM c WHERE c.x > 1)",
              "{\"distinctType\":\"Unordered\",\"dCountInfo\":{\"dCountAlias\":\"n\"},"
              "\"rewrittenQuery\":\"SELECT DISTINCT c.a, c.b\\nFROM c\\nWHERE (c.x > 1)\"}");
    plans_all("SELECT COUNT(1) FROM (SELECT DISTINCT c.a FROM c)",
              "{\"distinctType\":\"Unordered\",\"dCountInfo\":{\"dCountAlias\":\"$1\"},"
              "\"rewrittenQuery\":\"SELECT DISTINCT c.a\\nFROM c\"}");
}

/* ---- distinct results ---- */

/* Only VALUE of exactly the sort key is Ordered; without FROM there is one row. */
static void distinct_types(void **state)
{
    static const struct {
        const char *query, *type;
    } cases[] = {
        {"SELECT DISTINCT VALUE c.n FROM c ORDER BY c.n DESC", "Ordered"},
        {"SELECT DISTINCT c.n FROM c ORDER BY c.n", "Unordered"},
        {"SELECT DISTINCT VALUE c.n FROM c ORDER BY c.other", "Unordered"},
        {"SELECT DISTINCT VALUE c.n FROM c ORDER BY c.n, c.other", "Unordered"},
        {"SELECT DISTINCT c.n, c.m FROM c ORDER BY c.n", "Unordered"},
        {"SELECT DISTINCT VALUE 1 FROM c", "Unordered"},
        {"SELECT DISTINCT VALUE 1", "None"},
        {"SELECT DISTINCT VALUE COUNT(1) FROM c", "None"},
        {"SELECT DISTINCT c.a, COUNT(1) AS n FROM c GROUP BY c.a", "None"},
    };
    (void) state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct question question = {.query = cases[i].query};
        struct fault fault = {0};
        struct arena arena;

        arena_init(&arena, 64 << 20);
        cJSON *plan = planned(&arena, &question, &fault);
        if (plan == NULL)
            fail_msg("%s: %s", cases[i].query, fault.message);
        const cJSON *info = cJSON_GetObjectItem(plan, "queryInfo");
        assert_string_equal(cJSON_GetObjectItem(info, "distinctType")->valuestring, cases[i].type);
        arena_finish(&arena);
    }
}

static void distinct_rows_are_bounded_by_the_client(void **state)
{
    (void) state;
    rewrites("SELECT DISTINCT c.a FROM c WHERE c.b = 'x' OFFSET 2 LIMIT 3",
             "SELECT DISTINCT c.a\nFROM c\nWHERE (c.b = \"x\")");
    rewrites("SELECT DISTINCT TOP 3 c.a FROM c ORDER BY c.b",
             "SELECT c._rid, [{\"item\": c.b}] AS orderByItems, {\"a\": c.a} AS payload\nFROM c\n"
             "WHERE (" FILTER ")\nORDER BY c.b");
}

/* ---- rewritten texts ---- */

static void ordered_rows_are_bounded_by_the_window(void **state)
{
    (void) state;
    rewrites("SELECT c.id FROM c ORDER BY c.a OFFSET 3 LIMIT 4",
             "SELECT c._rid, [{\"item\": c.a}] AS orderByItems, {\"id\": c.id} AS payload\nFROM c\n"
             "WHERE (" FILTER ")\nORDER BY c.a\nOFFSET 0 LIMIT 7");
    rewrites("SELECT * FROM c OFFSET 4294967295 LIMIT 4294967295",
             "SELECT *\nFROM c\nOFFSET 0 LIMIT 4294967295");
    rewrites(
        "SELECT TOP 10 c.x, c.y FROM c WHERE c.k = 1 ORDER BY c.a DESC, c.b",
        "SELECT TOP 10 c._rid, [{\"item\": c.a}, {\"item\": c.b}] AS orderByItems, {\"x\": c.x, "
        "\"y\": c.y} AS payload\nFROM c\nWHERE ((c.k = 1) AND (" FILTER
        "))\nORDER BY c.a DESC, c.b");
    rewrites("SELECT VALUE c.x FROM c ORDER BY c.a",
             "SELECT c._rid, [{\"item\": c.a}] AS orderByItems, c.x AS payload\nFROM c\nWHERE "
             "((" FILTER ") AND IS_DEFINED(c.x))\nORDER BY c.a");
    rewrites("SELECT c.list[0], c.list[1] FROM c ORDER BY c.a",
             "SELECT c._rid, [{\"item\": c.a}] AS orderByItems, {\"$1\": c.list[0], \"$2\": "
             "c.list[1]} AS payload\nFROM c\nWHERE (" FILTER ")\nORDER BY c.a");
}

/* Rows name their item, under a name of their own where FROM begins inside it. */
static void rows_know_their_item(void **state)
{
    (void) state;
    rewrites(
        "SELECT t FROM c JOIN t IN c.tags ORDER BY c.a",
        "SELECT c._rid, [{\"item\": c.a}] AS orderByItems, {\"t\": t} AS payload\nFROM c JOIN t "
        "IN c.tags\nWHERE (" FILTER ")\nORDER BY c.a");
    rewrites(
        "SELECT * FROM x IN c.list ORDER BY x.a",
        "SELECT item._rid, [{\"item\": x.a}] AS orderByItems, x AS payload\nFROM item JOIN x IN "
        "item.list\nWHERE (" FILTER ")\nORDER BY x.a");
    rewrites(
        "SELECT VALUE item.b FROM c.item ORDER BY item.a",
        "SELECT item1._rid, [{\"item\": item.a}] AS orderByItems, item.b AS payload\nFROM item1 "
        "JOIN item1.item\nWHERE ((" FILTER ") AND IS_DEFINED(item.b))\nORDER BY item.a");
    rewrites("SELECT * FROM (SELECT c.a, c.b FROM c WHERE c.b > 1) s ORDER BY s.a",
             "SELECT item._rid, [{\"item\": s.a}] AS orderByItems, s AS payload\nFROM item JOIN "
             "(SELECT c.a, c.b FROM item AS c WHERE (c.b > 1)) AS s\nWHERE (" FILTER
             ")\nORDER BY s.a");
}

static void aggregates_become_partial(void **state)
{
    (void) state;
    rewrites("SELECT VALUE SUM(c.a) FROM c", "SELECT VALUE [{\"item\": SUM(c.a)}]\nFROM c");
    rewrites("SELECT VALUE max(c.a) FROM c WHERE c.b",
             "SELECT VALUE [{\"item\": max(c.a), \"item2\": {\"max\": max(c.a), \"count\": "
             "COUNT(c.a)}}]\nFROM c\nWHERE c.b");
    rewrites("SELECT VALUE MAKELIST(c.a) FROM c",
             "SELECT VALUE [{\"item\": MAKELIST(c.a)}]\nFROM c");
    rewrites("SELECT VALUE MAKESET(c.a) FROM c", "SELECT VALUE [{\"item\": MAKESET(c.a)}]\nFROM c");
    rewrites("SELECT VALUE COUNTIF(c.a) FROM c", "SELECT VALUE [{\"item\": COUNTIF(c.a)}]\nFROM c");
    rewrites(
        "SELECT COUNT(1) AS n, MIN(c.a) FROM c JOIN t IN c.tags",
        "SELECT {\"n\": {\"item\": COUNT(1)}, \"$1\": {\"item\": MIN(c.a), \"item2\": {\"min\": "
        "MIN(c.a), \"count\": COUNT(c.a)}}} AS payload\nFROM c JOIN t IN c.tags");
    rewrites("SELECT VALUE c.a FROM c GROUP BY c.a",
             "SELECT [{\"item\": c.a}] AS groupByItems, c.a AS payload\nFROM c\nGROUP BY c.a");
    rewrites("SELECT VALUE COUNT(1) FROM c GROUP BY c.a",
             "SELECT [{\"item\": c.a}] AS groupByItems, [{\"item\": COUNT(1)}] AS payload\nFROM "
             "c\nGROUP BY c.a");
}

/* ---- one partition key ---- */

static void the_key_of_the_request_counts(void **state)
{
    (void) state;
    plans(&(struct question){.query = "SELECT * FROM c OFFSET 1 LIMIT 2", .given = "[\"a\"]"},
          "[[\"a\"]]", "{}");
    plans(&(struct question){.query = "SELECT * FROM c WHERE c.key = @k OFFSET @o LIMIT @l",
                             .parameters = "[{\"name\":\"@k\",\"value\":\"b\"},{\"name\":\"@o\","
                                           "\"value\":1},{\"name\":\"@l\",\"value\":2}]"},
          "[[\"b\"]]", "{}");
    plans(&(struct question){.query = "SELECT TOP @n * FROM c",
                             .parameters = "[{\"name\":\"@n\",\"value\":7}]"},
          "all", "{\"top\":7}");
}

/* A prefix of a hierarchical key is an interval, not a point: several keys, maybe several ranges.
 */
static void a_prefix_is_an_interval(void **state)
{
    struct question questions[] = {
        {"/tenant /user", "SELECT * FROM c WHERE c.tenant = 'a' OFFSET 1 LIMIT 2"},
        {"/tenant /user", "SELECT * FROM c OFFSET 1 LIMIT 2", .given = "[\"a\"]"},
    };
    (void) state;
    for (size_t i = 0; i < sizeof(questions) / sizeof(*questions); i++) {
        struct pkey_definition definition;
        struct fault fault = {0};
        struct buf hex = {0};
        struct epk min, max;
        struct arena arena;

        arena_init(&arena, 64 << 20);
        cJSON *plan = planned(&arena, &questions[i], &fault);
        assert_non_null(plan);
        define(&definition, &arena, questions[i].paths);
        struct pkey prefix = key_read(&arena, &definition, "[\"a\"]");
        pkey_epk_interval(&prefix, &definition, &min, &max);
        const cJSON *range = cJSON_GetObjectItem(plan, "queryRanges")->child;
        epk_append(&hex, &min);
        assert_string_equal(cJSON_GetObjectItem(range, "min")->valuestring, buf_text(&hex));
        hex.len = 0;
        epk_append(&hex, &max);
        assert_string_equal(cJSON_GetObjectItem(range, "max")->valuestring, buf_text(&hex));
        assert_true(cJSON_IsFalse(cJSON_GetObjectItem(range, "isMaxInclusive")));
        assert_null(range->next);
        const cJSON *info = cJSON_GetObjectItem(plan, "queryInfo");
        assert_int_equal(cJSON_GetObjectItem(info, "limit")->valueint, 2);
        buf_finish(&hex);
        arena_finish(&arena);
    }
}

/* What no client can merge, one range can answer. */
static void one_range_answers_all_of_it(void **state)
{
    (void) state;
    plans(&(struct question){.query = "SELECT VALUE COUNT(1) + 1 FROM c", .given = "[1]"}, "[[1]]",
          "{\"hasSelectValue\":true}");
    plans(&(struct question){.query =
                                 "SELECT TOP 1 s.n FROM (SELECT c.a, COUNT(1) AS n FROM c WHERE "
                                 "c.key = 1 GROUP BY c.a) s",
                             .given = "[1]"},
          "[[1]]", "{}");
}

/* ---- refusals ---- */

static void features_are_asked_for(void **state)
{
    static const struct {
        const char *query, *feature;
    } cases[] = {
        {"SELECT VALUE COUNT(1) FROM c", "Aggregate"},
        {"SELECT COUNT(1) FROM c", "NonValueAggregate"},
        {"SELECT COUNT(1), MIN(c.a) FROM c", "MultipleAggregates"},
        {"SELECT c.a FROM c GROUP BY c.a", "GroupBy"},
        {"SELECT VALUE COUNTIF(c.a) FROM c", "CountIf"},
        {"SELECT VALUE MAKELIST(c.a) FROM c", "ListAndSetAggregate"},
        {"SELECT VALUE MAKESET(c.a) FROM c", "ListAndSetAggregate"},
        {"SELECT DISTINCT c.a FROM c", "Distinct"},
        {"SELECT VALUE COUNT(1) FROM (SELECT DISTINCT c.a FROM c)", "DCount"},
        {"SELECT * FROM c ORDER BY c.a", "OrderBy"},
        {"SELECT * FROM c ORDER BY c.a, c.b", "MultipleOrderBy"},
        {"SELECT TOP 1 * FROM c ORDER BY VectorDistance(c.v, [1])", "NonStreamingOrderBy"},
        {"SELECT TOP 1 * FROM c ORDER BY RANK FullTextScore(c.t, 'a')", "HybridSearch"},
        {"SELECT TOP 1 * FROM c ORDER BY RANK RRF(FullTextScore(c.t, 'a'), FullTextScore(c.u, "
         "'b'), "
         "[1, 2])",
         "WeightedRankFusion"},
        {"SELECT * FROM c OFFSET 0 LIMIT 1", "OffsetAndLimit"},
        {"SELECT TOP 1 * FROM c", "Top"},
    };
    static const char everything[] = EVERYTHING;
    (void) state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        char others[sizeof(everything)] = "", why[100];
        struct slice rest = slice_from_text(everything);

        while (!slice_is_absent(rest)) {
            struct slice name = slice_trim(slice_cut(rest, ',', &rest));
            if (!slice_equals_text(name, cases[i].feature))
                snprintf(others + strlen(others), sizeof(others) - strlen(others), "%.*s,",
                         (int) name.len, name.ptr);
        }
        snprintf(why, sizeof(why), "features: Query contained %s, which the calling client",
                 cases[i].feature);
        refuses(&(struct question){.query = cases[i].query, .features = others}, why);
    }
    plans(&(struct question){.query = "SELECT * FROM c WHERE c.a > 1", .features = ""}, "all",
          "{}");
    /* What one range does alone asks nothing of the client. */
    plans(&(struct question){.query = "SELECT * FROM c OFFSET 0 LIMIT 1",
                             .given = "[1]",
                             .features = ""},
          "[[1]]", "{}");
}

static void what_clients_cannot_merge(void **state)
{
    static const struct {
        const char *query, *why;
    } cases[] = {
        {"SELECT VALUE COUNT(1) + 1 FROM c", "Compositions of aggregates"},
        {"SELECT {\"n\": COUNT(1)} AS x FROM c", "Compositions of aggregates"},
        {"SELECT VALUE {\"n\": COUNT(1)} FROM c GROUP BY c.a", "Compositions of aggregates"},
        {"SELECT DISTINCT COUNT(1) AS n FROM c GROUP BY c.a", "DISTINCT over groups"},
        {"SELECT VALUE s FROM (SELECT DISTINCT VALUE c.a FROM c) s", "subquery of FROM"},
        {"SELECT VALUE COUNT(1) FROM (SELECT c.a FROM c GROUP BY c.a) s", "subquery of FROM"},
        {"SELECT VALUE COUNT(1) FROM (SELECT DISTINCT VALUE c.a FROM c) s WHERE s > 1",
         "subquery of FROM"},
        {"SELECT VALUE SUM(s) FROM (SELECT DISTINCT VALUE c.a FROM c) s", "subquery of FROM"},
        {"SELECT DISTINCT TOP 1 c.a FROM c ORDER BY RANK FullTextScore(c.t, 'a')", "DISTINCT with"},
        {"SELECT TOP 1 c.a FROM c ORDER BY RANK FullTextScore(c.t, 'a'), FullTextScore(c.u, 'a')",
         "several keys"},
    };
    (void) state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
        refuses(&(struct question){.query = cases[i].query}, cases[i].why);
}

/* ---- ORDER BY RANK ---- */

#define TOTAL "{documentdb-formattablehybridsearchquery-totaldocumentcount}"
#define WORDS(n) "{documentdb-formattablehybridsearchquery-totalwordcount-" n "}"
#define HITS(n) "{documentdb-formattablehybridsearchquery-hitcountsarray-" n "}"

static const cJSON *ranked(struct arena *arena, const char *query)
{
    struct question question = {.query = query};
    struct fault fault = {0};
    cJSON *plan = planned(arena, &question, &fault);

    if (plan == NULL)
        fail_msg("%s: %s", query, fault.message);
    assert_true(cJSON_IsNull(cJSON_GetObjectItem(plan, "queryInfo")));
    return cJSON_GetObjectItem(plan, "hybridSearchQueryInfo");
}

static void text_is(const cJSON *object, const char *name, const char *expected)
{
    assert_string_equal(cJSON_GetObjectItem(object, name)->valuestring, expected);
}

static void a_ranked_text_has_statistics_and_a_component(void **state)
{
    struct arena arena;

    (void) state;
    arena_init(&arena, 64 << 20);
    const cJSON *info =
        ranked(&arena, "SELECT TOP 10 * FROM c ORDER BY RANK FullTextScore(c.text, 'swim', 'run')");
    text_is(info, "globalStatisticsQuery",
            "SELECT COUNT(1) AS documentCount, [{\"totalWordCount\": "
            "SUM(_FullTextWordCount(c.text)), \"hitCounts\": [COUNTIF(FullTextContains(c.text, "
            "\"swim\")), COUNTIF(FullTextContains(c.text, \"run\"))]}] AS fullTextStatistics\nFROM "
            "c");
    assert_true(cJSON_IsTrue(cJSON_GetObjectItem(info, "requiresGlobalStatistics")));
    assert_true(cJSON_IsNull(cJSON_GetObjectItem(info, "skip")));
    assert_int_equal(cJSON_GetObjectItem(info, "take")->valueint, 10);
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(info, "componentWeights")), 0);
    const cJSON *components = cJSON_GetObjectItem(info, "componentQueryInfos");
    assert_int_equal(cJSON_GetArraySize(components), 1);
#define SCORE \
    "_FullTextScore(c.text, [\"swim\", \"run\"], " TOTAL ", " WORDS("0") ", " HITS("0") ")"
    text_is(components->child, "rewrittenQuery",
            "SELECT TOP 120 c._rid, [{\"item\": (" SCORE " ?? -1)}] AS orderByItems, {\"payload\": "
            "c, \"componentScores\": [(" SCORE " ?? -1)]} AS payload\nFROM c\nWHERE (" FILTER
            ")\nORDER BY " SCORE " DESC");
#undef SCORE
    assert_int_equal(cJSON_GetObjectItem(components->child, "top")->valueint, 120);
    assert_true(cJSON_IsTrue(cJSON_GetObjectItem(components->child, "hasNonStreamingOrderBy")));
    arena_finish(&arena);
}

static void fused_scores_are_components(void **state)
{
    struct arena arena;

    (void) state;
    arena_init(&arena, 64 << 20);
    const cJSON *info = ranked(
        &arena, "SELECT c.id FROM c WHERE c.n > 1 ORDER BY RANK RRF(VectorDistance(c.v, [1]), "
                "FullTextScore(c.text, 'swim'), [0.5, 2]) OFFSET 100 LIMIT 20");
    const cJSON *weights = cJSON_GetObjectItem(info, "componentWeights");
    assert_true(weights->child->valuedouble == 0.5 && weights->child->next->valuedouble == 2);
    assert_int_equal(cJSON_GetObjectItem(info, "skip")->valueint, 100);
    assert_int_equal(cJSON_GetObjectItem(info, "take")->valueint, 20);
    const cJSON *components = cJSON_GetObjectItem(info, "componentQueryInfos");
    assert_int_equal(cJSON_GetArraySize(components), 2);
#define VECTOR "_VectorScore(c.v, [1])"
#define SCORE "_FullTextScore(c.text, [\"swim\"], " TOTAL ", " WORDS("1") ", " HITS("1") ")"
    text_is(components->child->next, "rewrittenQuery",
            "SELECT c._rid, [{\"item\": (" SCORE " ?? -1)}] AS orderByItems, {\"payload\": "
            "{\"id\": c.id}, \"componentScores\": [(" VECTOR " ?? -1), (" SCORE
            " ?? -1)]} AS payload\nFROM c\nWHERE ((c.n > 1) AND (" FILTER "))\nORDER BY " SCORE
            " DESC\nOFFSET 0 LIMIT 240");
    assert_string_equal(
        cJSON_GetObjectItem(components->child, "orderByExpressions")->child->valuestring, VECTOR);
#undef VECTOR
#undef SCORE
    info = ranked(&arena, "SELECT TOP 5 c.id FROM c ORDER BY RANK RRF(VectorDistance(c.v, [1]), "
                          "VectorDistance(c.w, [1], false, {'distanceFunction': 'euclidean'}))");
    assert_true(cJSON_IsFalse(cJSON_GetObjectItem(info, "requiresGlobalStatistics")));
    components = cJSON_GetObjectItem(info, "componentQueryInfos");
    assert_string_equal(cJSON_GetObjectItem(components->child, "orderBy")->child->valuestring,
                        "Descending");
    assert_string_equal(cJSON_GetObjectItem(components->child->next, "orderBy")->child->valuestring,
                        "Ascending");
    /* What a client does not put anything into is a query as it is. */
    assert_null(strchr(strstr(cJSON_GetObjectItem(components->child, "rewrittenQuery")->valuestring,
                              "\nWHERE (true)\n"),
                       '{'));
    arena_finish(&arena);
}

static void a_distance_is_not_streamed(void **state)
{
    static const char distance[] = "VectorDistance(c.v, @v, true)";
    char info[1000];

    (void) state;
    snprintf(info, sizeof(info),
             "{\"top\":10,\"orderBy\":[\"Descending\"],\"orderByExpressions\":[\"%s\"],"
             "\"hasNonStreamingOrderBy\":true,\"rewrittenQuery\":\"SELECT TOP 10 c._rid, "
             "[{\\\"item\\\": %s}] AS orderByItems, {\\\"Title\\\": c.title, "
             "\\\"SimilarityScore\\\": %s} AS payload\\nFROM c\\nWHERE (" FILTER
             ")\\nORDER BY %s\"}",
             distance, distance, distance, distance);
    plans(&(struct question){.query =
                                 "SELECT TOP 10 c.title AS Title, VectorDistance(c.v, @v, true) "
                                 "AS SimilarityScore FROM c ORDER BY VectorDistance(c.v, @v, "
                                 "true)",
                             .parameters = "[{\"name\":\"@v\",\"value\":[1,2]}]"},
          "all", info);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pairs_of_ranges),
        cmocka_unit_test(pairs_of_windows),
        cmocka_unit_test(pairs_of_order),
        cmocka_unit_test(pairs_of_aggregates),
        cmocka_unit_test(pairs_of_groups),
        cmocka_unit_test(pairs_of_distinct),
        cmocka_unit_test(distinct_types),
        cmocka_unit_test(distinct_rows_are_bounded_by_the_client),
        cmocka_unit_test(ordered_rows_are_bounded_by_the_window),
        cmocka_unit_test(rows_know_their_item),
        cmocka_unit_test(aggregates_become_partial),
        cmocka_unit_test(the_key_of_the_request_counts),
        cmocka_unit_test(a_prefix_is_an_interval),
        cmocka_unit_test(one_range_answers_all_of_it),
        cmocka_unit_test(features_are_asked_for),
        cmocka_unit_test(what_clients_cannot_merge),
        cmocka_unit_test(a_ranked_text_has_statistics_and_a_component),
        cmocka_unit_test(fused_scores_are_components),
        cmocka_unit_test(a_distance_is_not_streamed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
