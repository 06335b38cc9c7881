/* Computed properties: what their definitions may be, and which may come to a container. */
#include "query/computed.h"

#include "base/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

static struct arena arena;

static int begin(void **state)
{
    (void) state;
    arena_init(&arena, 4 << 20);
    return 0;
}

static int finish(void **state)
{
    (void) state;
    arena_finish(&arena);
    return 0;
}

/* A container's definition with one property. */
static struct slice definition(const char *name, const char *query)
{
    struct buf text = {0};

    buf_append_text(&text, "{\"id\":\"c\",\"computedProperties\":[{\"name\":");
    buf_append_json_string(&text, slice_from_text(name));
    buf_append_text(&text, ",\"query\":");
    buf_append_json_string(&text, slice_from_text(query));
    buf_append_text(&text, "}]}");
    char *copy = arena_copy(&arena, text.ptr, text.len);
    assert_non_null(copy);
    struct slice slice = slice_make(copy, text.len);
    buf_finish(&text);
    return slice;
}

static void refused(const char *name, const char *query, const char *words)
{
    struct computed_properties computed;
    struct fault fault = {0};

    if (computed_load(&computed, definition(name, query), &arena, &fault))
        fail_msg("accepted: %s", query);
    assert_int_equal(fault.status, 400);
    if (strstr(fault.message, words) == NULL || strstr(fault.message, name) == NULL)
        fail_msg("%s: %s", query, fault.message);
}

static void definitions_are_expressions_over_items(void **state)
{
    struct computed_properties computed;
    struct fault fault = {0};

    (void) state;
    assert_true(computed_load(&computed, SLICE_LITERAL("{\"id\":\"c\"}"), &arena, &fault));
    assert_int_equal(computed.count, 0);
    assert_true(computed_load(
        &computed,
        SLICE_LITERAL("{\"computedProperties\":[{\"name\":\"lower\",\"query\":\"SELECT VALUE "
                      "LOWER(c.name) FROM c\"},{\"query\":\"select value r['a b'] ?? {x: r.y} from "
                      "root as r\",\"name\":\"other\"}]}"),
        &arena, &fault));
    assert_int_equal(computed.count, 2);
    assert_true(slice_equals_text(computed.list[0].name, "lower"));
    assert_int_equal(computed.list[0].expression->kind, AST_CALL);
    assert_true(slice_equals_text(computed.list[1].name, "other"));
    assert_int_equal(computed.list[1].expression->kind, AST_COALESCE);
}

static void whatever_else_is_refused(void **state)
{
    (void) state;
    refused("p", "SELECT VALUE c.a", "refused: {\"errors\":[");
    refused("p", "SELECT VALUE 1", "the container alone");
    refused("p", "SELECT c.a FROM c", "SELECT VALUE");
    refused("p", "SELECT * FROM c", "SELECT VALUE");
    refused("p", "SELECT VALUE c.a FROM c WHERE c.a > 1", "further clauses");
    refused("p", "SELECT VALUE c.a FROM c GROUP BY c.a", "further clauses");
    refused("p", "SELECT VALUE c.a FROM c ORDER BY c.a", "further clauses");
    refused("p", "SELECT TOP 1 VALUE c.a FROM c", "further clauses");
    refused("p", "SELECT DISTINCT VALUE c.a FROM c", "further clauses");
    refused("p", "SELECT VALUE c.a FROM c OFFSET 0 LIMIT 1", "further clauses");
    refused("p", "SELECT VALUE t FROM c JOIN t IN c.k", "the container alone");
    refused("p", "SELECT VALUE t FROM t IN c.k", "the container alone");
    refused("p", "SELECT VALUE t FROM c.k AS t", "the container alone");
    refused("p", "SELECT VALUE t FROM (SELECT * FROM c) t", "the container alone");
    refused("p", "SELECT VALUE 1 + (SELECT VALUE c.a) FROM c", "a subquery");
    refused("p", "SELECT VALUE {a: [EXISTS(SELECT 1 FROM c)]} FROM c", "a subquery");
    refused("p", "SELECT VALUE COUNT(1) FROM c", "an aggregate");
    refused("p", "SELECT VALUE RAND() FROM c", "time or chance");
    refused("p", "SELECT VALUE ST_DISTANCE(c.a, c.b) FROM c", "a spatial function");
    refused("p", "SELECT VALUE c.a < GetCurrentTimestamp() FROM c", "time or chance");
    refused("p", "SELECT VALUE udf.f(c.a) FROM c", "user-defined function");
    refused("p", "SELECT VALUE c.a + @p FROM c", "a parameter");
    refused("p", "SELECT VALUE LOWER(c.a, 1) FROM c", "SC2050");
    refused("p", "SELECT VALUE d.a FROM c", "SC2001");
    refused("p", "SELECT VALUE c.a FROM", "SC1002");
    refused("p", "", "SC1002");
    refused("p", "SELECT VALUE c..a FROM c", "SC1001");
}

static void names_are_new(void **state)
{
    static const char *const reserved[] = {"id", "_rid", "_ts", "_etag", "_self"};
    struct computed_properties computed;
    struct fault fault = {0};

    (void) state;
    for (size_t i = 0; i < ARRAY_LEN(reserved); i++)
        refused(reserved[i], "SELECT VALUE c.a FROM c", "a system property");
    assert_false(computed_load(
        &computed,
        SLICE_LITERAL("{\"computedProperties\":[{\"name\":\"a\",\"query\":\"SELECT VALUE c.x FROM "
                      "c\"},{\"name\":\"\\u0061\",\"query\":\"SELECT VALUE c.y FROM c\"}]}"),
        &arena, &fault));
    assert_string_equal(fault.message, "the computed property \"a\" is defined twice");
}

static bool replaces(const char *name, struct slice stored, struct fault *fault)
{
    *fault = (struct fault){0};
    return computed_check_replacement(definition(name, "SELECT VALUE c.x FROM c"), stored, &arena,
                                      fault);
}

static void what_is_indexed_does_not_become_computed(void **state)
{
    static const char *const indexed[] = {"in", "out", "first", "second", "place"};
    struct slice stored = SLICE_LITERAL(
        "{\"indexingPolicy\":{\"indexingMode\":\"consistent\",\"automatic\":true,\"includedPaths\":"
        "["
        "{\"path\":\"/*\"},{\"path\":\"/in/a/?\"},{\"path\":\"/was/?\"}],\"excludedPaths\":[{"
        "\"path\":\"/out/*\"}],\"compositeIndexes\":[[{\"path\":\"/"
        "first\",\"order\":\"ascending\"},"
        "{\"path\":\"/second/b\",\"order\":\"ascending\"}]],\"spatialIndexes\":[{\"path\":"
        "\"/place/*\",\"types\":[\"Point\"]}]},\"computedProperties\":[{\"name\":\"was\",\"query\":"
        "\"SELECT VALUE c.y FROM c\"}]}");
    struct fault fault;

    (void) state;
    for (size_t i = 0; i < ARRAY_LEN(indexed); i++) {
        if (replaces(indexed[i], stored, &fault))
            fail_msg("accepted: %s", indexed[i]);
        assert_int_equal(fault.status, 400);
        assert_non_null(strstr(fault.message, "indexed already"));
    }
    if (!replaces("a", stored, &fault) || !replaces("was", stored, &fault))
        fail_msg("%s", fault.message);
    assert_true(replaces("in", SLICE_LITERAL("{}"), &fault));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, finish)
    const struct CMUnitTest tests[] = {
        TEST(definitions_are_expressions_over_items),
        TEST(whatever_else_is_refused),
        TEST(names_are_new),
        TEST(what_is_indexed_does_not_become_computed),
    };
#undef TEST

    return cmocka_run_group_tests(tests, NULL, NULL);
}
