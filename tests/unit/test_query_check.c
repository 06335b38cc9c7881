/*
 * What a query means, and what is refused although it has the shape: with code, place and words.
 *
 * In a refused query the place that must be told stands between two backquotes, which are taken out
 * before it is asked.
 */
#include "query/check.h"

#include "base/buf.h"
#include "model/index_policy.h"
#include "query/functions.h"
#include "query/parser.h"
#include "query/policies.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

static struct arena arena;
static struct check_input input;

static int begin(void **state)
{
    (void) state;
    arena_init(&arena, 16 << 20);
    input = (struct check_input){0};
    return 0;
}

static int finish(void **state)
{
    (void) state;
    arena_finish(&arena);
    return 0;
}

/* Parsed and checked; the fault otherwise. */
static bool ask(struct slice text, struct ast_query *query, struct fault *fault)
{
    *fault = (struct fault){0};
    return parser_query(&arena, text, query, fault) && check_query(&arena, query, &input, fault);
}

static const struct ast_query *checked(const char *text)
{
    struct ast_query *query = arena_alloc(&arena, sizeof(*query));
    struct fault fault;

    assert_non_null(query);
    if (!ask(slice_from_text(text), query, &fault))
        fail_msg("%s: %s", text, fault.message);
    return query;
}

/* The query without its backquotes; *start and *end are where they stood, -1 for none. */
static struct slice unmark(const char *marked, int *start, int *end)
{
    char *text = arena_copy(&arena, marked, strlen(marked));
    size_t len = 0;

    assert_non_null(text);
    *start = *end = -1;
    for (const char *c = marked; *c != '\0'; c++) {
        if (*c != '`')
            text[len++] = *c;
        else
            *(*start < 0 ? start : end) = (int) len;
    }
    return slice_make(text, len);
}

static cJSON *refusal(struct slice text)
{
    struct ast_query query;
    struct fault fault;

    if (ask(text, &query, &fault))
        fail_msg("accepted: %.*s", (int) text.len, text.ptr);
    assert_int_equal(fault.status, 400);
    cJSON *json = cJSON_Parse(fault.message);
    if (json == NULL)
        fail_msg("%s", fault.message);
    return json;
}

static void error_is(const cJSON *error, const char *code, int start, int end, const char *words)
{
    const cJSON *location = cJSON_GetObjectItem(error, "location");
    char *text = cJSON_PrintUnformatted(error);
    bool is_right = error != NULL &&
                    strcmp(cJSON_GetObjectItem(error, "severity")->valuestring, "Error") == 0 &&
                    strcmp(cJSON_GetObjectItem(error, "code")->valuestring, code) == 0 &&
                    cJSON_GetObjectItem(location, "start")->valueint == start &&
                    cJSON_GetObjectItem(location, "end")->valueint == end &&
                    strstr(cJSON_GetObjectItem(error, "message")->valuestring, words) != NULL;

    if (!is_right)
        fail_msg("expected %s at %d..%d \"%s\": %s", code, start, end, words, text);
    free(text);
}

/* Refused with this one error, at the place between the backquotes. */
static void refused(const char *marked, const char *code, const char *words)
{
    int start, end;
    cJSON *json = refusal(unmark(marked, &start, &end));
    const cJSON *errors = cJSON_GetObjectItemCaseSensitive(json, "errors");

    if (cJSON_GetArraySize(errors) != 1)
        fail_msg("%s: %s", marked, cJSON_PrintUnformatted(json));
    error_is(errors->child, code, start, end, words);
    cJSON_Delete(json);
}

/* Refused in the shape without codes. */
static void refused_plainly(const char *text, const char *message)
{
    cJSON *json = refusal(slice_from_text(text));
    const cJSON *errors = cJSON_GetObjectItemCaseSensitive(json, "Errors");

    if (cJSON_GetArraySize(errors) != 1 || strcmp(errors->child->valuestring, message) != 0)
        fail_msg("%s: %s", text, cJSON_PrintUnformatted(json));
    cJSON_Delete(json);
}

/* ---- Names ---- */

static void the_located_examples_of_the_service(void **state)
{
    (void) state;
    refused("SELECT `BADFUNC`(r.age) FROM Root r", "SC2005",
            "'BADFUNC' is not a recognized built-in function name.");
    refused("SELECT * FROM Root r WHERE `STARTSWITH(r.key, 'a', 'b', 'c')`", "SC2050",
            "The STARTSWITH function requires 2 to 3 argument(s).");
    refused("SELECT VALUE `MAX(MIN(r))` From r", "SC2101",
            "Cannot perform an aggregate function on an expression containing an aggregate or a "
            "subquery.");
    refused("SELECT TOP `-`1 c.name FROM c", "SC1001", "Syntax error, incorrect syntax near '-'.");
    refused("SELECT * FROM c GROUP BY` `c.age", "SC2041",
            "'SELECT *' is not allowed with GROUP BY.");
    refused("SELECT TOP `4294967296` c.name FROM c", "SC2060",
            "The count value provided for a TOP clause must be an integer.");
    refused("SELECT c.name FROM c OFFSET 10 LIMIT `4294967296`", "SC2061",
            "The LIMIT count value exceeds the maximum allowed value.");
    refused("SELECT c.name FROM c OFFSET `4294967296` LIMIT 10", "SC2062",
            "The OFFSET count value exceeds the maximum allowed value.");
    refused("SELECT VALUE root \nFROM root \n`ORDER BY RANK RRF(FullTextScore(root[\"StringField\"]"
            ", [\"test1\"]))`",
            "SC2221",
            "The ORDER BY RANK clause must be followed by a VectorDistance and/or a FullTextScore "
            "function call.");
    refused("SELECT VALUE root \nFROM root \nWHERE (`FullTextScore(root.a, [\"test1\"])` != null)",
            "SC2240", "The FullTextScore function is only allowed in the ORDER BY RANK clause.");
    refused("SELECT VALUE root \nFROM root \nWHERE (`RRF`(1, 2) != null)", "SC2005",
            "'RRF' is not a recognized built-in function name.");
}

static void names_are_found_from_the_inside_out(void **state)
{
    (void) state;
    refused("SELECT * FROM c WHERE `d`.a = 1", "SC2001", "Identifier 'd' could not be resolved.");
    refused("SELECT VALUE `c` FROM c AS r", "SC2001", "'c'");
    refused("SELECT `id` FROM c", "SC2001", "'id'");
    refused("SELECT * FROM root R WHERE `r`.id = 1", "SC2001", "'r'");
    refused("SELECT VALUE `c`", "SC2001", "'c'");
    refused("SELECT VALUE `x`.y FROM c.a[0]", "SC2001", "'x'");
    refused("SELECT VALUE t FROM c JOIN t IN `s`.k JOIN s IN c.k", "SC2001", "'s'");
    refused("SELECT VALUE t FROM t IN c.k JOIN u IN `c`.k", "SC2001", "'c'");
    refused("SELECT (SELECT VALUE t FROM t IN c.k), `t` FROM c", "SC2001", "'t'");
    refused("SELECT * FROM c WHERE EXISTS(SELECT 1 FROM `d`)", "SC2001", "'d'");
    refused("SELECT * FROM c JOIN (SELECT VALUE `x` FROM c) x", "SC2001", "'x'");
    refused("SELECT c.a AS x FROM c ORDER BY `x`", "SC2001", "'x'");
    refused("SELECT * FROM c JOIN `c` IN c.k", "SC2011",
            "The input alias 'c' is specified more than once in the FROM clause.");
    refused("SELECT VALUE 1 FROM c JOIN t IN c.k JOIN t.x AS `t`", "SC2011", "'t'");
}

/* Places are counted in UTF-16 code units: an umlaut is one, an emoji two. */
static void places_are_counted_as_clients_count(void **state)
{
    struct slice text = SLICE_LITERAL("SELECT '\xc3\xa4\xf0\x9f\x98\x80', d FROM c");
    cJSON *json = refusal(text);

    (void) state;
    error_is(cJSON_GetObjectItemCaseSensitive(json, "errors")->child, "SC2001", 14, 15, "'d'");
    cJSON_Delete(json);
}

static unsigned slot_of(const struct ast *node)
{
    while (node->kind != AST_ALIAS)
        node = node->children;
    return node->slot;
}

static void sources_have_slots(void **state)
{
    const struct ast_query *query =
        checked("SELECT c.id, t.x, u, EXISTS(SELECT 1 FROM v IN t.k WHERE v = c.k) FROM c "
                "JOIN t IN c.k JOIN (SELECT VALUE t.a FROM t) AS u");
    const struct ast *item = query->projection->children;
    const struct ast_source *source = query->sources;

    (void) state;
    assert_int_equal(query->slot_count, 5);
    assert_int_equal(source->slot, 0);
    assert_int_equal(source->next->slot, slot_of(item->next));
    assert_int_equal(source->next->next->slot, slot_of(item->next->next));
    assert_int_equal(slot_of(item), 0);
    const struct ast_query *exists = item->next->next->next->query;
    assert_int_equal(slot_of(exists->sources->path), source->next->slot);
    assert_int_equal(slot_of(exists->where->children), exists->sources->slot);
    assert_int_equal(slot_of(exists->where->last_child), 0);
    /* A source that is the item itself has its slot, whatever its name. */
    query = checked("SELECT VALUE (SELECT VALUE r.a FROM c AS r) FROM c");
    assert_int_equal(query->slot_count, 1);
    assert_int_equal(query->projection->query->sources->slot, 0);
    query = checked("SELECT VALUE s.a FROM (SELECT VALUE c.b FROM c) AS s");
    assert_int_equal(query->slot_count, 2);
    assert_int_equal(slot_of(query->projection), 1);
    assert_int_equal(checked("SELECT VALUE 1")->slot_count, 1);
}

/* ---- Functions ---- */

static void functions_are_found_and_their_arguments_counted(void **state)
{
    (void) state;
    const struct ast_query *query = checked("SELECT VALUE startsWith(c.a, 'x') FROM c");
    assert_string_equal(query->projection->function->name, "STARTSWITH");
    refused("SELECT * FROM c WHERE `PI(1)` = 1", "SC2050",
            "The PI function requires 0 argument(s).");
    refused("SELECT * FROM c WHERE `concat('a')` = 1", "SC2050",
            "The CONCAT function requires at least 2 argument(s).");
    refused("SELECT VALUE `COUNT()` FROM c", "SC2050",
            "The COUNT function requires 1 argument(s).");
    refused("SELECT VALUE `LEFT('a')` FROM c", "SC2050",
            "The LEFT function requires 2 argument(s).");
}

static void user_defined_functions_are_refused_by_name(void **state)
{
    (void) state;
    refused_plainly("SELECT udf.tax(c) FROM c",
                    "'user-defined function' at offset 7 is not supported by this server.");
    refused(
        "`SELECT udf.a(udf.a(udf.a(udf.a(udf.a(udf.a(udf.a(udf.a(udf.a(udf.a(udf.a(1)))))))))))`",
        "SC3005",
        "The SQL query exceeded the maximum number of user-defined function calls. The allowed "
        "limit is 10.");
}

/* ---- Groups ---- */

static void aggregates_are_numbered(void **state)
{
    (void) state;
    const struct ast_query *query =
        checked("SELECT COUNT(1) AS n, {s: SUM(c.x), m: [MAX(c.y) + 1]} AS o FROM c");
    const struct ast *object = query->projection->last_child;

    assert_true(query->is_aggregate);
    assert_int_equal(query->aggregate_count, 3);
    assert_int_equal(query->projection->children->aggregate, 1);
    assert_int_equal(object->children->aggregate, 2);
    assert_ptr_equal(query->aggregates[1], object->children);
    assert_ptr_equal(query->aggregates[2], object->last_child->children->children);
    query = checked("SELECT VALUE (SELECT VALUE COUNT(1) FROM t IN c.k) FROM c");
    assert_false(query->is_aggregate);
    assert_int_equal(query->projection->query->aggregate_count, 1);
    query = checked("SELECT VALUE COUNT(1) FROM (SELECT DISTINCT VALUE c.a FROM c)");
    assert_true(query->is_aggregate && !query->sources->query->is_aggregate);
}

static void aggregates_stand_in_select_lists_only(void **state)
{
    (void) state;
    refused_plainly("SELECT * FROM c WHERE COUNT(1) > 1",
                    "'aggregate outside the select list' at offset 22 is not supported by this "
                    "server.");
    refused_plainly("SELECT VALUE 1 FROM c GROUP BY MAX(c.a)",
                    "'aggregate outside the select list' at offset 31 is not supported by this "
                    "server.");
    refused("SELECT VALUE `SUM((SELECT VALUE c.a))` FROM c", "SC2101", "a subquery");
    refused("SELECT VALUE 1 + `SUM(1 + AVG(c.x))` FROM c", "SC2101", "aggregate");
    refused("SELECT `c.id`, COUNT(1) FROM c", "SC2102",
            "Property reference 'c.id' is invalid in the select list because it is not contained "
            "in either an aggregate function or the GROUP BY clause.");
    refused("SELECT COUNT(1), UPPER(`c.id`) FROM c", "SC2102", "'c.id'");
}

static void groups_have_keys(void **state)
{
    (void) state;
    const struct ast_query *query =
        checked("SELECT c.a AS x, UPPER(c.a), c.a.b, c['a'], 1, SUM(c.z), LOWER(c.k) FROM c "
                "GROUP BY c.a, LOWER(c.k)");
    const struct ast *item = query->projection->children;

    assert_int_equal(item->group_key, 1);
    assert_int_equal(item->next->children->group_key, 1);
    assert_int_equal(item->next->next->children->group_key, 1);
    assert_int_equal(item->next->next->next->group_key, 1);
    assert_int_equal(query->projection->last_child->group_key, 2);
    assert_int_equal(query->projection->last_child->children->group_key, 0);
    refused("SELECT `c.b` FROM c GROUP BY c.a", "SC2102", "'c.b'");
    refused("SELECT VALUE {x: c.a, y: `c`} FROM c GROUP BY c.a", "SC2102", "'c'");
    refused("SELECT LOWER(`c.k`) FROM c GROUP BY UPPER(c.k)", "SC2102", "'c.k'");
    refused("SELECT (SELECT VALUE `c.a`) FROM c GROUP BY c.a", "SC2102", "'c.a'");
    struct buf text = {0};
    buf_append_text(&text, "SELECT VALUE 1 FROM c GROUP BY 1");
    for (int i = 1; i < CHECK_GROUP_KEYS_MAX; i++)
        buf_append_text(&text, ",1");
    checked(buf_text(&text));
    buf_append_text(&text, ",1");
    refused_plainly(buf_text(&text), "A query can be grouped by at most 64 keys.");
    buf_finish(&text);
    refused_plainly("SELECT VALUE 1 FROM c GROUP BY (SELECT VALUE 1)",
                    "'subquery in GROUP BY' at offset 31 is not supported by this server.");
}

/* ---- Clauses ---- */

static void subqueries_have_fewer_clauses(void **state)
{
    (void) state;
    refused("SELECT VALUE ARRAY(SELECT VALUE t FROM t IN c.k `ORDER BY t.a DESC, t.b`) FROM c",
            "SC2202", "'ORDER BY' is not supported in subqueries.");
    refused("SELECT VALUE (SELECT `TOP 1` VALUE t FROM t IN c.k) FROM c", "SC2203",
            "'TOP' is not supported in subqueries.");
    refused("SELECT * FROM (SELECT * FROM c `OFFSET 1 LIMIT @n`) AS s", "SC2204",
            "'OFFSET LIMIT' clause is not supported in subqueries.");
    refused("SELECT * FROM c WHERE EXISTS(SELECT 1 FROM c `ORDER BY RANK RRF(1)`)", "SC2228",
            "'ORDER BY RANK' is not supported in subqueries.");
}

/* Located as in a report about the .NET SDK: 56..80 and 81..106. */
static void all_such_clauses_are_told(void **state)
{
    struct slice text = SLICE_LITERAL(
        "SELECT VALUE COUNT(1) FROM (SELECT VALUE root FROM root ORDER BY root[\"Date\"] ASC  "
        "OFFSET 0 LIMIT 15) AS r0");
    cJSON *json = refusal(text);
    const cJSON *errors = cJSON_GetObjectItemCaseSensitive(json, "errors");

    (void) state;
    assert_int_equal(cJSON_GetArraySize(errors), 2);
    error_is(errors->child, "SC2202", 56, 81, "'ORDER BY'");
    error_is(errors->child->next, "SC2204", 83, 100, "'OFFSET LIMIT'");
    cJSON_Delete(json);
}

static void a_star_needs_one_source(void **state)
{
    (void) state;
    refused("SELECT `*`", "SC1001",
            "Syntax error, 'SELECT *' is not valid if FROM clause is omitted.");
    refused("SELECT `*` FROM c JOIN t IN c.k", "SC2040",
            "'SELECT *' is only valid with a single input set.");
    assert_true(checked("SELECT * FROM (SELECT c.a FROM c)")->is_star);
    assert_true(checked("SELECT * FROM c.a[0]")->is_star);
}

static void counts_are_numbers_or_parameters(void **state)
{
    cJSON *list = cJSON_Parse("[{\"name\":\"@n\",\"value\":7},{\"name\":\"@s\",\"value\":\"7\"},"
                              "{\"name\":\"@m\",\"value\":-1},{\"name\":\"@f\",\"value\":1.5},"
                              "{\"name\":\"@z\",\"value\":0}]");

    (void) state;
    input.parameters = list;
    const struct ast_query *query = checked("SELECT TOP @n * FROM c");
    assert_true(query->has_top && !query->has_window);
    assert_int_equal(query->top_count, 7);
    query = checked("SELECT * FROM c OFFSET @z LIMIT 4294967295");
    assert_true(query->has_window && !query->has_top);
    assert_int_equal(query->offset_count, 0);
    assert_int_equal(query->limit_count, CHECK_COUNT_MAX);
    refused("SELECT TOP `@missing` * FROM c", "SC2060", "must be an integer");
    refused("SELECT TOP `@s` * FROM c", "SC2060", "must be an integer");
    refused("SELECT TOP `1.5` * FROM c", "SC2060", "must be an integer");
    refused("SELECT * FROM c OFFSET `@m` LIMIT 1", "SC2062",
            "The count value provided for an OFFSET clause must be an integer.");
    refused("SELECT * FROM c OFFSET 0 LIMIT `@f`", "SC2061", "must be an integer");
    refused("SELECT * FROM c OFFSET 0 LIMIT `@missing`", "SC2061", "must be an integer");
    cJSON_Delete(list);
}

static void joins_are_counted_over_the_statement(void **state)
{
    static const char *const message =
        "The SQL query exceeded the maximum number of joins. The allowed limit is 10.";

    (void) state;
    checked("SELECT VALUE 1 FROM c JOIN a IN c.k JOIN b IN c.k JOIN d IN c.k JOIN e IN c.k JOIN f "
            "IN c.k JOIN g IN c.k JOIN h IN c.k JOIN i IN c.k JOIN j IN c.k JOIN k IN c.k");
    refused_plainly(
        "SELECT VALUE 1 FROM c JOIN a IN c.k JOIN b IN c.k JOIN d IN c.k JOIN e IN c.k JOIN f IN "
        "c.k JOIN g IN c.k JOIN h IN c.k JOIN i IN c.k JOIN j IN c.k JOIN k IN c.k JOIN l IN c.k",
        message);
    refused_plainly(
        "SELECT VALUE 1 FROM c JOIN a IN c.k JOIN b IN c.k JOIN d IN c.k JOIN e IN c.k JOIN f IN "
        "c.k JOIN g IN c.k JOIN h IN c.k JOIN i IN c.k JOIN j IN c.k WHERE EXISTS(SELECT 1 FROM c "
        "JOIN k IN c.k JOIN l IN c.k)",
        message);
}

static void a_policy(const char *text, struct index_policy *policy)
{
    struct fault fault = {0};

    if (!index_policy_parse(policy, slice_from_text(text), &arena, &fault))
        fail_msg("%s", fault.message);
    input.indexing = policy;
}

/* ---- Parameters ---- */

static void parameters_are_bound(void **state)
{
    cJSON *list = cJSON_Parse("[{\"name\":\"@p\",\"value\":[1]},{\"name\":\"@q\"}]");

    (void) state;
    input.parameters = list;
    const struct ast_query *query =
        checked("SELECT @p, @q, @r, (SELECT VALUE @p), c[@p] FROM c WHERE @p = 1");
    const struct ast *item = query->projection->children;
    assert_true(cJSON_IsArray(item->value));
    assert_null(item->next->value);
    assert_null(item->next->next->value);
    assert_true(cJSON_IsArray(item->next->next->next->query->projection->value));
    assert_true(cJSON_IsArray(query->where->children->value));
    cJSON_Delete(list);
}

static void parameters_are_limited(void **state)
{
    struct buf text = {0};
    cJSON *list;

    (void) state;
    buf_append_char(&text, '[');
    for (int i = 0; i <= PARAMETERS_MAX; i++)
        buf_printf(&text, "%s{\"name\":\"@p%d\",\"value\":%d}", i > 0 ? "," : "", i, i);
    buf_append_char(&text, ']');
    list = cJSON_ParseWithLength(text.ptr, text.len);
    assert_non_null(list);
    input.parameters = list;
    struct ast_query query;
    struct fault fault;
    assert_false(ask(SLICE_LITERAL("SELECT @p7"), &query, &fault));
    assert_int_equal(fault.status, 400);
    assert_string_equal(fault.message, "a query may have at most 65536 parameters");
    cJSON_DeleteItemFromArray(list, 0);
    assert_int_equal(checked("SELECT VALUE @p65536")->projection->value->valueint, 65536);
    cJSON_Delete(list);
    buf_finish(&text);
}

static void exhausted_memory_is_a_503_at_every_place(void **state)
{
    struct slice text =
        SLICE_LITERAL("SELECT c.a, COUNT(1) AS n, SUM(c.x), MIN(c.x), MAX(c.x), AVG(c.x), "
                      "ARRAY(SELECT VALUE @p WHERE @q = 1) AS l FROM c GROUP BY c.a");
    struct slice ordered = SLICE_LITERAL("SELECT VALUE t FROM c JOIN t IN c.k ORDER BY t.a.b");
    cJSON *list = cJSON_Parse("[{\"name\":\"@p\",\"value\":[1]},{\"name\":\"@q\",\"value\":1}]");
    struct index_policy policy;
    unsigned refused = 0;

    (void) state;
    input.parameters = list;
    a_policy("{\"indexingMode\":\"consistent\",\"includedPaths\":[{\"path\":\"/*\"}],"
             "\"excludedPaths\":[]}",
             &policy);
    for (size_t i = 0; i < 2; i++) {
        bool is_done = false;

        for (size_t max = 0; !is_done; max += 64) {
            struct arena small;
            struct ast_query query;
            struct fault fault = {0};

            arena_init(&small, max);
            is_done = parser_query(&small, i == 0 ? text : ordered, &query, &fault) &&
                      check_query(&small, &query, &input, &fault);
            assert_true(is_done || fault.status == 503);
            refused += !is_done;
            arena_finish(&small);
        }
    }
    assert_true(refused > 10);
    cJSON_Delete(list);
}

/* ---- ORDER BY ---- */

static const char not_a_path[] =
    "Unsupported ORDER BY clause. ORDER BY item expression could not be "
    "mapped to a document path.";

/* 2206 is a number and has no place. */
static void order_refused(const char *text)
{
    cJSON *json = refusal(slice_from_text(text));
    const cJSON *error = cJSON_GetObjectItemCaseSensitive(json, "errors")->child;

    assert_int_equal(cJSON_GetObjectItem(error, "code")->valueint, 2206);
    assert_null(cJSON_GetObjectItem(error, "location"));
    assert_string_equal(cJSON_GetObjectItem(error, "message")->valuestring, not_a_path);
    cJSON_Delete(json);
}

static void orders_are_of_paths(void **state)
{
    (void) state;
    checked("SELECT * FROM c ORDER BY c.a.b[0]['x y'] DESC");
    checked("SELECT VALUE n FROM c.name AS n ORDER BY n");
    checked("SELECT VALUE t FROM c JOIN t IN c.k ORDER BY t");
    checked("SELECT VALUE t FROM c JOIN t IN c.k ORDER BY t.x, c.a");
    checked("SELECT * FROM (SELECT c.a FROM c) AS s ORDER BY s.a");
    order_refused("SELECT * FROM c ORDER BY LOWER(c.x)");
    order_refused("SELECT * FROM c ORDER BY c.x + 1");
    order_refused("SELECT * FROM c ORDER BY -c.x");
    order_refused("SELECT * FROM c ORDER BY 1");
    order_refused("SELECT * FROM c ORDER BY c");
    order_refused("SELECT * FROM c ORDER BY c.a, UPPER(c.b)");
    order_refused("SELECT * FROM c ORDER BY (SELECT VALUE c.a)");
    order_refused("SELECT * FROM c ORDER BY {a: 1}.a");
    order_refused("SELECT * FROM c ORDER BY c[c.a]");
    order_refused("SELECT VALUE 1 ORDER BY 1");
}

static void orders_of_groups_are_refused(void **state)
{
    (void) state;
    refused_plainly("SELECT c.a FROM c GROUP BY c.a ORDER BY c.a",
                    "'ORDER BY with GROUP BY' at offset 31 is not supported by this server.");
    refused_plainly("SELECT VALUE COUNT(1) FROM c ORDER BY c.a",
                    "'ORDER BY with aggregates' at offset 29 is not supported by this server.");
    refused_plainly("SELECT * FROM c ORDER BY c.a,c.b,c.c,c.d,c.e,c.f,c.g,c.h,c.i",
                    "A query can be ordered by at most 8 keys.");
}

static void orders_need_indexes(void **state)
{
    static const char excluded[] =
        "The index path corresponding to the specified order-by item is excluded.";
    static const char no_composite[] = "The order by query does not have a corresponding composite "
                                       "index that it can be served from.";
    struct index_policy policy;

    (void) state;
    a_policy("{\"indexingMode\":\"consistent\",\"includedPaths\":[{\"path\":\"/*\"}],"
             "\"excludedPaths\":[{\"path\":\"/secret/*\"}],\"compositeIndexes\":[["
             "{\"path\":\"/a\",\"order\":\"ascending\"},{\"path\":\"/b/c\",\"order\":"
             "\"descending\"}]]}",
             &policy);
    checked("SELECT * FROM c ORDER BY c.x");
    checked("SELECT * FROM c ORDER BY c._ts DESC");
    refused_plainly("SELECT * FROM c ORDER BY c.secret.x", excluded);
    refused_plainly("SELECT c FROM c JOIN t IN c.secret ORDER BY t.x", excluded);
    refused_plainly("SELECT VALUE s FROM c.secret AS s ORDER BY s[1]", excluded);
    checked("SELECT * FROM c ORDER BY c.a, c.b.c DESC");
    checked("SELECT * FROM c ORDER BY c['a'] DESC, c.b['c'] ASC");
    checked("SELECT r FROM r JOIN b IN r.b ORDER BY r.a, r.b.c DESC");
    refused_plainly("SELECT * FROM c ORDER BY c.a, c.b.c", no_composite);
    refused_plainly("SELECT * FROM c ORDER BY c.b.c DESC, c.a", no_composite);
    refused_plainly("SELECT * FROM c ORDER BY c.a, c.b.c DESC, c.d", no_composite);
    refused_plainly("SELECT * FROM c ORDER BY c.a, c.d", no_composite);
    checked("SELECT * FROM (SELECT VALUE {secret: c.x} FROM c) AS s ORDER BY s.secret");
    a_policy("{\"indexingMode\":\"none\",\"includedPaths\":[],\"excludedPaths\":[]}", &policy);
    refused_plainly("SELECT * FROM c ORDER BY c.x", excluded);
}

static void ranks_have_a_shape(void **state)
{
    static const char follow[] = "must be followed by a VectorDistance and/or a FullTextScore "
                                 "function call.";

    (void) state;
    refused("SELECT * FROM t IN c.k `ORDER BY RANK FullTextScore(t.a, 'x')`", "SC2223", "IN");
    refused("SELECT c FROM c JOIN t IN c.k `ORDER BY RANK FullTextScore(c.a, 'x')`", "SC2224",
            "JOIN");
    refused("SELECT s FROM (SELECT * FROM c) s `ORDER BY RANK FullTextScore(s.a, 'x')`", "SC2225",
            "subquery");
    refused("SELECT * FROM c `ORDER BY RANK c.a`", "SC2221", follow);
    refused("SELECT * FROM c `ORDER BY RANK ABS(c.a) DESC`", "SC2221", follow);
    refused("SELECT * FROM c `ORDER BY RANK RRF(1, 2)`", "SC2221", follow);
    refused("SELECT * FROM c `ORDER BY RANK RRF(VectorDistance(c.v, [1]), [1])`", "SC2221", follow);
    refused("SELECT * FROM c ORDER BY RANK RRF(VectorDistance(c.v, [1]), FullTextScore(c.a, 'x'), "
            "`[1]`)",
            "SC2229", "");
    refused("SELECT * FROM c ORDER BY RANK RRF(VectorDistance(c.v, [1]), FullTextScore(c.a, 'x'), "
            "`@weights`)",
            "SC2229", "");
    refused("SELECT * FROM c ORDER BY RANK RRF(VectorDistance(c.v, [1]), `[1, 2]`, "
            "FullTextScore(c.a, 'x'))",
            "SC2229", "");
    refused("SELECT * FROM c ORDER BY `FullTextScore(c.a, 'x')`", "SC2240", "");
}

static bool first_is_descending(const char *text)
{
    return checked(text)->order_by->is_descending;
}

static void distances_bring_the_most_similar_first(void **state)
{
    struct slice definition = SLICE_LITERAL(
        "{\"vectorEmbeddingPolicy\":{\"vectorEmbeddings\":[{\"path\":\"/far\",\"dataType\":"
        "\"float32\",\"dimensions\":2,\"distanceFunction\":\"euclidean\"}]}}");
    struct query_policies policies;
    struct fault fault = {0};

    (void) state;
    assert_true(query_policies_load(&policies, definition, &arena, &fault));
    input.policies = &policies;
    assert_true(first_is_descending("SELECT * FROM c ORDER BY VectorDistance(c.v, [1, 2])"));
    assert_false(first_is_descending("SELECT * FROM c ORDER BY VectorDistance(c.far, [1, 2])"));
    assert_true(first_is_descending("SELECT * FROM c ORDER BY VectorDistance(c.far, [1, 2], true, "
                                    "{distanceFunction: 'DotProduct'})"));
    assert_false(first_is_descending("SELECT * FROM c ORDER BY VectorDistance(c.v, [1, 2], false, "
                                     "{\"distanceFunction\": \"euclidean\"})"));
    assert_true(first_is_descending("SELECT * FROM c ORDER BY RANK FullTextScore(c.a, 'x')"));
    assert_true(first_is_descending("SELECT * FROM c ORDER BY RANK RRF(FullTextScore(c.a, 'x'), "
                                    "VectorDistance(c.far, [1, 2]), [1, 0.5])"));
    refused_plainly("SELECT * FROM c ORDER BY VectorDistance(c.v, [1, 2]) ASC",
                    "An order by VectorDistance cannot be given a direction: the most similar come "
                    "first.");
    order_refused("SELECT * FROM c ORDER BY VectorDistance(c.v, [1, 2]), c.a");
    refused("SELECT VectorDistance(c.v, [1], true, {searchListSizeMultiplier: `0`}) FROM c",
            "SC2213", "between 1 and 100");
    refused(
        "SELECT * FROM c ORDER BY VectorDistance(c.v, [1], true, {\"searchListSizeMultiplier\": "
        "`100.5`})",
        "SC2213", "between 1 and 100");
    checked("SELECT VectorDistance(c.v, [1], true, {searchListSizeMultiplier: 100}) FROM c");
}

/* ---- Computed properties ---- */

static void computed_properties_stand_for_expressions(void **state)
{
    const struct ast_query *definition = checked("SELECT VALUE LOWER(c.name) FROM c");
    const struct computed_property lower = {SLICE_LITERAL("lower"), definition->projection};
    struct index_policy policy;

    (void) state;
    input.computed = (struct computed_properties){&lower, 1};
    const struct ast_query *query =
        checked("SELECT r.lower, r['lower'], r.a.lower, t.lower FROM c AS r JOIN t IN r.lower "
                "WHERE r.lower.x = 1 ORDER BY r.lower");
    const struct ast *item = query->projection->children;
    assert_ptr_equal(item->computed, definition->projection);
    assert_ptr_equal(item->next->computed, definition->projection);
    assert_null(item->next->next->computed);
    assert_null(item->next->next->next->computed);
    assert_ptr_equal(query->sources->next->path->computed, definition->projection);
    assert_ptr_equal(query->where->children->children->computed, definition->projection);
    assert_ptr_equal(checked("SELECT VALUE x FROM c.lower AS x")->sources->path->computed,
                     definition->projection);
    a_policy("{\"indexingMode\":\"consistent\",\"includedPaths\":[{\"path\":\"/*\"}],"
             "\"excludedPaths\":[]}",
             &policy);
    refused_plainly("SELECT * FROM c ORDER BY c.lower",
                    "The index path corresponding to the specified order-by item is excluded.");
    a_policy("{\"indexingMode\":\"consistent\",\"includedPaths\":[{\"path\":\"/*\"},"
             "{\"path\":\"/lower/?\"}],\"excludedPaths\":[]}",
             &policy);
    checked("SELECT * FROM c ORDER BY c.lower");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, finish)
    const struct CMUnitTest tests[] = {
        TEST(the_located_examples_of_the_service),
        TEST(names_are_found_from_the_inside_out),
        TEST(places_are_counted_as_clients_count),
        TEST(sources_have_slots),
        TEST(functions_are_found_and_their_arguments_counted),
        TEST(user_defined_functions_are_refused_by_name),
        TEST(aggregates_are_numbered),
        TEST(aggregates_stand_in_select_lists_only),
        TEST(groups_have_keys),
        TEST(subqueries_have_fewer_clauses),
        TEST(all_such_clauses_are_told),
        TEST(a_star_needs_one_source),
        TEST(counts_are_numbers_or_parameters),
        TEST(joins_are_counted_over_the_statement),
        TEST(parameters_are_bound),
        TEST(parameters_are_limited),
        TEST(exhausted_memory_is_a_503_at_every_place),
        TEST(orders_are_of_paths),
        TEST(orders_of_groups_are_refused),
        TEST(orders_need_indexes),
        TEST(ranks_have_a_shape),
        TEST(distances_bring_the_most_similar_first),
        TEST(computed_properties_stand_for_expressions),
    };
#undef TEST

    return cmocka_run_group_tests(tests, NULL, NULL);
}
