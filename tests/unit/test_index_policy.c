/* Indexing policies: which pattern wins, what a composite index serves, and the rules of an index
 * in their normal form. */
#include "model/index_policy.h"

#include <stdio.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

static struct arena arena;
static struct fault fault;
static struct index_policy policy;

static int setup(void **state)
{
    (void) state;
    arena_init(&arena, 1 << 24);
    fault = (struct fault){0};
    return 0;
}

static int teardown(void **state)
{
    (void) state;
    arena_finish(&arena);
    return 0;
}

static void read(const char *text)
{
    fault = (struct fault){0};
    if (!index_policy_parse(&policy, slice_from_text(text), &arena, &fault))
        fail_msg("%s: %s", text, fault.message);
}

static struct index_path path_of(const char *text)
{
    struct index_path path;

    if (!index_path_parse(&path, slice_from_text(text), &arena, &fault))
        fail_msg("%s: %s", text, fault.message);
    return path;
}

static bool covers(const char *text, enum index_reach reach)
{
    struct index_path path = path_of(text);

    return index_policy_covers(&policy, &path, reach);
}

#define INCLUDE(paths) "\"includedPaths\":[" paths "]"
#define EXCLUDE(paths) "\"excludedPaths\":[" paths "]"
#define P(path) "{\"path\":\"" path "\"}"

/* Expected in one word: for the value there, and for it with all below. */
struct covered {
    const char *path;
    bool value, subtree;
};

static void assert_covered(const char *text, const struct covered *cases, size_t count)
{
    read(text);
    for (size_t i = 0; i < count; i++) {
        if (covers(cases[i].path, INDEX_VALUE) != cases[i].value)
            fail_msg("%s: value at %s", text, cases[i].path);
        if (covers(cases[i].path, INDEX_SUBTREE) != cases[i].subtree)
            fail_msg("%s: subtree at %s", text, cases[i].path);
    }
}

static void malformed_policies_are_refused(void **state)
{
    static const struct {
        const char *policy, *culprit;
    } cases[] = {
        {"{" INCLUDE(P("/*/a/?")) "}", "wildcard"},
        {"{" INCLUDE(P("/a/?/*")) "}", "wildcard"},
        {"{" INCLUDE(P("/a")) "}", "must end"},
        {"{" INCLUDE(P("/")) "}", "must end"},
        {"{" INCLUDE(P("/\\\"*\\\"")) "}", "must end"},
        {"{" INCLUDE(P("/a/?")) "," EXCLUDE(P("/a/?")) "}", "both includes and excludes"},
        {"{" INCLUDE(P("/a/*")) "," EXCLUDE(P("/\\\"a\\\"/*")) "}", "both includes and excludes"},
        {"{" INCLUDE("{}") "}", "without \"path\""},
        {"{\"compositeIndexes\":[[" P("/a") "]]}", "two to 8"},
        {"{\"compositeIndexes\":[[" P("/a") "," P("/b") "," P("/c") "," P("/d") "," P("/e") "," P(
             "/f") "," P("/g") "," P("/h") "," P("/i") "]]}",
         "two to 8"},
        {"{\"compositeIndexes\":[[" P("/a") "," P("/\\\"a\\\"") "]]}", "twice"},
        {"{\"compositeIndexes\":[[{},{}]]}", "without \"path\""},
        {"{\"compositeIndexes\":[[" P("/a/?") "," P("/b") "]]}", "wildcard"},
        {"{\"compositeIndexes\":[[" P("/a/[]/b") "," P("/b") "]]}", "elements"},
        {"{\"compositeIndexes\":[[" P("/") "," P("/b") "]]}", "wildcard"},
        {"{\"spatialIndexes\":[{\"path\":\"/a/*\",\"boundingBox\":[]}]}", "number xmin"},
        {"{\"spatialIndexes\":[{\"path\":\"/a/*\",\"boundingBox\":{\"xmin\":1,\"ymin\":1,\"xmax\":"
         "2,\"ymax\":\"3\"}}]}",
         "number ymax"},
        {"{\"spatialIndexes\":[{\"path\":\"/a/*\",\"boundingBox\":{\"xmin\":1,\"ymin\":1,\"xmax\":"
         "1,\"ymax\":3}}]}",
         "empty boundingBox"},
    };

    (void) state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        fault = (struct fault){0};
        if (index_policy_parse(&policy, slice_from_text(cases[i].policy), &arena, &fault))
            fail_msg("accepted: %s", cases[i].policy);
        assert_int_equal(fault.status, 400);
        if (strstr(fault.message, cases[i].culprit) == NULL)
            fail_msg("%s: %s", cases[i].policy, fault.message);
    }
}

static void the_default_covers_all_but_the_etag(void **state)
{
    static const struct covered cases[] = {
        {"/a", true, true},       {"/a/b", true, true}, {"/tags/[]", true, true},
        {"/_etag", false, false}, {"/id", true, true},  {"/_ts", true, true},
        {"/_etag/a", true, true}, {"/", true, false},
    };

    (void) state;
    assert_covered("{" INCLUDE(P("/*")) "," EXCLUDE(P("/\\\"_etag\\\"/?")) "}", cases,
                   ARRAY_LEN(cases));
}

static void the_most_precise_pattern_wins(void **state)
{
    static const struct covered deeper[] = {
        {"/food", true, false},
        {"/food/ingredients", false, false},
        {"/food/ingredients/salt", false, false},
        {"/food/ingredients/nutrition", true, true},
        {"/food/ingredients/nutrition/fat", true, true},
        {"/drink", true, true},
    };
    static const struct covered question[] = {
        {"/a", true, false},  {"/a/b", false, false}, {"/b", false, false},
        {"/b/c", true, true}, {"/c/d", true, true},
    };
    static const struct covered elements[] = {
        {"/tags", true, false},           {"/tags/[]", false, false},
        {"/tags/x", true, true},          {"/lines/[]/price", true, false},
        {"/lines/[]/name", false, false}, {"/lines/name", false, false},
    };

    (void) state;
    assert_covered("{" INCLUDE(P("/*") "," P("/food/ingredients/nutrition/*")) "," EXCLUDE(
                       P("/food/ingredients/*")) "}",
                   deeper, ARRAY_LEN(deeper));
    assert_covered("{" INCLUDE(P("/*") "," P("/a/?")) "," EXCLUDE(P("/a/*") "," P("/b/?")) "}",
                   question, ARRAY_LEN(question));
    assert_covered("{" INCLUDE(P("/*") "," P("/lines/[]/price/?")) "," EXCLUDE(
                       P("/tags/[]/?") "," P("/lines/*")) "}",
                   elements, ARRAY_LEN(elements));
}

static void what_the_root_excludes_is_covered_only_by_name(void **state)
{
    static const struct covered cases[] = {
        {"/a", true, false},    {"/a/x", false, false}, {"/b", true, true},
        {"/b/x/y", true, true}, {"/c", false, false},   {"/id", true, false},
        {"/_ts", true, false},  {"/", false, false},    {"/\"a b\"", true, false},
    };

    (void) state;
    assert_covered(
        "{" INCLUDE(P("/a/?") "," P("/b/*") "," P("/\\\"a b\\\"/?")) "," EXCLUDE(P("/*")) "}",
        cases, ARRAY_LEN(cases));
}

static void quoted_words_are_names(void **state)
{
    static const struct covered cases[] = {
        {"/\"*\"", false, false}, {"/\"[]\"", false, false},   {"/\"?\"", false, false},
        {"/a/[]", true, true},    {"/a/\"[]\"", false, false},
    };

    (void) state;
    assert_covered("{" INCLUDE(P("/*")) "," EXCLUDE(P("/\\\"*\\\"/?") "," P("/\\\"[]\\\"/*") "," P(
                       "/\\\"?\\\"/*") "," P("/a/\\\"[]\\\"/?")) "}",
                   cases, ARRAY_LEN(cases));
}

static void nothing_is_covered_without_an_index(void **state)
{
    static const struct covered cases[] = {
        {"/a", false, false}, {"/id", false, false}, {"/_ts", false, false}};
    struct index_key keys[2] = {{path_of("/a"), false}, {path_of("/b"), false}};

    (void) state;
    assert_covered("{\"indexingMode\":\"none\"," INCLUDE(P("/*")) "}", cases, ARRAY_LEN(cases));
    assert_false(index_policy_names(&policy, SLICE_LITERAL("a")));
    read("{\"indexingMode\":\"none\",\"compositeIndexes\":[[" P("/a") "," P("/b") "]]}");
    assert_null(index_policy_composite(&policy, keys, 2, NULL));
}

static void computed_properties_must_be_named(void **state)
{
    (void) state;
    read("{" INCLUDE(P("/*") "," P("/lower/?") "," P("/size/*") "," P("/deep/x/?")) "," EXCLUDE(
        P("/upper/?")) "}");
    assert_true(index_policy_names(&policy, SLICE_LITERAL("lower")));
    assert_true(index_policy_names(&policy, SLICE_LITERAL("size")));
    assert_false(index_policy_names(&policy, SLICE_LITERAL("upper")));
    assert_false(index_policy_names(&policy, SLICE_LITERAL("deep")));
    assert_false(index_policy_names(&policy, SLICE_LITERAL("other")));
}

static void a_composite_index_serves_its_order_and_the_reverse(void **state)
{
    static const struct {
        const char *paths[4];
        const char *directions; /* one letter per key: a, d */
        int found;              /* -1: none */
        bool is_reversed;
    } cases[] = {
        {{"/name", "/age"}, "aa", 0, false},    {{"/name", "/age"}, "dd", 0, true},
        {{"/name", "/age"}, "ad", 1, true},     {{"/name", "/age"}, "da", 1, false},
        {{"/age", "/name"}, "aa", -1, false},   {{"/name"}, "a", -1, false},
        {{"/a", "/b", "/c"}, "ada", 2, false},  {{"/a", "/b", "/c"}, "dad", 2, true},
        {{"/a", "/b", "/c"}, "ddd", -1, false}, {{"/a", "/b"}, "ad", -1, false},
        {{"/name", "/x"}, "aa", -1, false},
    };

    (void) state;
    read("{\"compositeIndexes\":[[" P("/name") "," P(
        "/age") "],["
                "{\"path\":\"/name\",\"order\":\"descending\"},{\"path\":\"/"
                "\\\"age\\\"\",\"order\":"
                "\"ascending\"}],[" P("/a") ",{\"path\":\"/b\",\"order\":\"descending\"}," P(
                    "/c") "]]}");
    assert_int_equal(policy.composite_count, 3);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct index_key keys[4] = {0};
        size_t count = strlen(cases[i].directions);
        bool is_reversed = false;
        for (size_t k = 0; k < count; k++)
            keys[k] = (struct index_key){path_of(cases[i].paths[k]), cases[i].directions[k] == 'd'};
        const struct index_composite *found =
            index_policy_composite(&policy, keys, count, &is_reversed);
        const struct index_composite *expected =
            cases[i].found < 0 ? NULL : &policy.composites[cases[i].found];
        if (found != expected || (found != NULL && is_reversed != cases[i].is_reversed))
            fail_msg("case %zu", i);
        assert_ptr_equal(index_policy_composite(&policy, keys, count, NULL), expected);
    }
}

static void other_indexes_are_listed(void **state)
{
    (void) state;
    read("{\"spatialIndexes\":[{\"path\":\"/where/?\",\"types\":[\"Point\"]}],\"vectorIndexes\":["
         "{\"path\":\"/v\",\"type\":\"flat\"},{\"path\":\"/w\",\"type\":\"flat\"}],"
         "\"fullTextIndexes\":[" P("/text") "]}");
    struct index_path where = path_of("/where"), v = path_of("/v"), text = path_of("/text");
    assert_int_equal(policy.spatial_count, 1);
    assert_true(index_path_equals(&policy.spatial[0].path, &where));
    assert_int_equal(policy.spatial[0].types, INDEX_POINT);
    assert_int_equal(policy.vector_count, 2);
    assert_true(index_path_equals(&policy.vector[0], &v));
    assert_int_equal(policy.full_text_count, 1);
    assert_true(index_path_equals(&policy.full_text[0], &text));
}

static void paths_are_printed_as_they_are_read(void **state)
{
    static const char *const texts[] = {
        "/",  "/a", "/a/b/[]/c", "/\"a b\"", "/\"[]\"/\"*\"/\"?\"", "/\"a/b\"", "/\"q\\\"\\\\\"",
        "/ä",
    };

    (void) state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct buf buf = {0};
        struct index_path path = path_of(texts[i]);
        index_path_append(&buf, &path);
        assert_string_equal(buf_text(&buf), texts[i]);
        buf_finish(&buf);
    }
}

static void rules_have_one_text_for_one_meaning(void **state)
{
    static const struct {
        const char *policy, *rules;
    } cases[] = {
        {"{" INCLUDE(P("/*")) "}", "{\"*\":true}"},
        {"{" INCLUDE(P("/*")) "," EXCLUDE(P("/\\\"_etag\\\"/?")) "}", "{\"*\":true}"},
        {"{" INCLUDE(P("/*") "," P("/a/?") "," P("/b/c/*")) "}", "{\"*\":true}"},
        {"{" EXCLUDE(P("/*")) "}", "{\"*\":false,\"m\":{\"id\":{\"*\":false,\"?\":true}}}"},
        {"{" INCLUDE(P("/*")) "," EXCLUDE(P("/b/*") "," P("/a/c/*") "," P("/b/x/?")) "}",
         "{\"*\":true,\"m\":{\"a\":{\"*\":true,\"m\":{\"c\":{\"*\":false}}},\"b\":{\"*\":false}}}"},
        {"{" INCLUDE(P("/*") "," P("/a/b/?")) "," EXCLUDE(P("/a/*") "," P("/c/?")) "}",
         "{\"*\":true,\"m\":{\"a\":{\"*\":false,\"m\":{\"b\":{\"*\":false,\"?\":true}}},"
         "\"c\":{\"*\":true,\"?\":false}}}"},
        {"{" INCLUDE(P("/*")) "," EXCLUDE(P("/t/[]/\\\"x\\\\\\\"y\\\"/*")) "}",
         "{\"*\":true,\"m\":{\"t\":{\"*\":true,\"e\":{\"*\":true,\"m\":{\"x\\\"y\":{\"*\":false}}}}"
         "}}"},
    };

    (void) state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct buf text = {0}, again = {0};
        struct index_policy rules;
        read(cases[i].policy);
        index_rules_append(&text, &policy);
        if (strcmp(buf_text(&text), cases[i].rules) != 0)
            fail_msg("%s gives %s", cases[i].policy, buf_text(&text));
        assert_true(index_rules_parse(&rules, buf_slice(&text), &arena, &fault));
        index_rules_append(&again, &rules);
        assert_string_equal(buf_text(&again), cases[i].rules);
        buf_finish(&text);
        buf_finish(&again);
    }
}

static void damaged_rules_are_refused(void **state)
{
    (void) state;
    assert_false(index_rules_parse(&policy, SLICE_LITERAL("{\"*\":"), &arena, &fault));
    assert_int_equal(fault.status, 400);
}

/* 3,000 patterns are allowed, and a path still costs one walk. */
static void big_policies_are_read(void **state)
{
    struct buf text = {0};

    (void) state;
    buf_append_text(&text, "{\"includedPaths\":[{\"path\":\"/*\"}");
    for (unsigned i = 1; i < INDEX_PATTERNS_MAX; i++)
        buf_printf(&text, ",{\"path\":\"/in/p%u/?\"}", i);
    buf_append_text(&text, "],\"excludedPaths\":[{\"path\":\"/out/*\"}");
    for (unsigned i = 1; i < INDEX_PATTERNS_MAX; i++)
        buf_printf(&text, ",{\"path\":\"/out/p%u/?\"}", i);
    buf_append_text(&text, "]}");
    read(buf_text(&text));
    assert_true(covers("/in/p1499", INDEX_VALUE));
    assert_false(covers("/out/p1499", INDEX_VALUE));
    text.len -= 2;
    buf_append_text(&text, ",{\"path\":\"/one/more/?\"}]}");
    assert_false(index_policy_parse(&policy, buf_slice(&text), &arena, &fault));
    assert_non_null(strstr(fault.message, "more than 1500 excluded"));
    buf_finish(&text);
}

static void exhausted_memory_is_a_503(void **state)
{
    static const char text[] =
        "{" INCLUDE(P("/*") "," P("/a/b/?")) "," EXCLUDE(P("/c/*")) ",\"compositeIndexes\":[[" P(
            "/a") "," P("/b") "]],\"spatialIndexes\":[" P("/a") "]}";
    struct arena small;

    (void) state;
    for (size_t max = 0; max < 65536; max += 256) {
        arena_init(&small, max);
        fault = (struct fault){0};
        bool is_read = index_policy_parse(&policy, SLICE_LITERAL(text), &small, &fault);
        arena_finish(&small);
        if (is_read)
            return;
        assert_int_equal(fault.status, 503);
    }
    fail_msg("never read");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(malformed_policies_are_refused),
        cmocka_unit_test(the_default_covers_all_but_the_etag),
        cmocka_unit_test(the_most_precise_pattern_wins),
        cmocka_unit_test(what_the_root_excludes_is_covered_only_by_name),
        cmocka_unit_test(quoted_words_are_names),
        cmocka_unit_test(nothing_is_covered_without_an_index),
        cmocka_unit_test(computed_properties_must_be_named),
        cmocka_unit_test(a_composite_index_serves_its_order_and_the_reverse),
        cmocka_unit_test(other_indexes_are_listed),
        cmocka_unit_test(paths_are_printed_as_they_are_read),
        cmocka_unit_test(rules_have_one_text_for_one_meaning),
        cmocka_unit_test(damaged_rules_are_refused),
        cmocka_unit_test(big_policies_are_read),
        cmocka_unit_test(exhausted_memory_is_a_503),
    };

    return cmocka_run_group_tests_name("index_policy", tests, setup, teardown);
}
