/* Physical indexes: the SQL that makes them, the SQL that meets them, and what a set of them
 * serves. */
#include "query/index_set.h"

#include <stdio.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

static struct arena arena;
static struct fault fault;

static int setup(void **state)
{
    (void) state;
    arena_init(&arena, 1 << 22);
    return 0;
}

static int teardown(void **state)
{
    (void) state;
    arena_finish(&arena);
    return 0;
}

static struct index_path path_of(const char *text)
{
    struct index_path path;

    if (!index_path_parse(&path, slice_from_text(text), &arena, &fault))
        fail_msg("%s: %s", text, fault.message);
    return path;
}

static void add(struct index_set *set, enum index_kind kind, const char *spec)
{
    fault = (struct fault){0};
    if (!index_set_add(set, kind, slice_from_text(spec), &arena, &fault))
        fail_msg("%s: %s", spec != NULL ? spec : "no spec", fault.message);
}

static const char *rules_of(const char *policy_text)
{
    struct index_policy policy;
    struct buf text = {0};

    if (!index_policy_parse(&policy, slice_from_text(policy_text), &arena, &fault))
        fail_msg("%s: %s", policy_text, fault.message);
    index_spec_append_rules(&text, &policy);
    const char *copy = arena_copy(&arena, buf_text(&text), text.len);
    buf_finish(&text);
    return copy;
}

static void assert_definition(enum index_kind kind, const char *spec, const char *expected)
{
    struct buf sql = {0};

    fault = (struct fault){0};
    if (!index_append_definition(&sql, kind, slice_from_text(spec), &arena, &fault))
        fail_msg("%s: %s", spec, fault.message);
    assert_string_equal(buf_text(&sql), expected);
    buf_finish(&sql);
}

static void assert_no_definition(enum index_kind kind, const char *spec)
{
    struct buf sql = {0};

    if (index_append_definition(&sql, kind, slice_from_text(spec), &arena, &fault))
        fail_msg("accepted: %s", spec);
    buf_finish(&sql);
}

#define GIN_OPTIONS " jsonb_path_ops) with (fastupdate = on, gin_pending_list_limit = 1024)"

static void definitions_hold_what_queries_ask(void **state)
{
    (void) state;
    assert_definition(INDEX_RANGE, "/a/b",
                      "(range_id, orrery.value_rank(doc->'a'->'b'), "
                      "orrery.value_key(doc->'a'->'b'), rid) where not deleted");
    assert_definition(INDEX_RANGE, "/\"it's \\\"so\\\"\"",
                      "(range_id, orrery.value_rank(doc->'it''s \"so\"'), "
                      "orrery.value_key(doc->'it''s \"so\"'), rid) where not deleted");
    assert_definition(INDEX_RANGE, "/_ts", "(range_id, ts, rid) where not deleted");
    assert_definition(
        INDEX_COMPOSITE,
        "{\"compositeIndexes\":[[{\"path\":\"/a\",\"order\":\"descending\"},{\"path\":\"/b\"}]]}",
        "(range_id, orrery.value_rank(doc->'a') desc, orrery.value_key(doc->'a') desc, "
        "orrery.value_rank(doc->'b'), orrery.value_key(doc->'b'), rid desc) where not deleted");
    assert_definition(
        INDEX_COMPOSITE,
        "{\"compositeIndexes\":[[{\"path\":\"/a\"},{\"path\":\"/_ts\",\"order\":\"descending\"}]]}",
        "(range_id, orrery.value_rank(doc->'a'), orrery.value_key(doc->'a'), ts desc, rid) "
        "where not deleted");
}

/* An index row is limited, so of many paths only the first are held. */
static void long_composite_indexes_are_cut(void **state)
{
    (void) state;
    assert_definition(
        INDEX_COMPOSITE,
        "{\"compositeIndexes\":[[{\"path\":\"/a\"},{\"path\":\"/b\"},{\"path\":\"/c\"},{\"path\":"
        "\"/d\"}]]}",
        "(range_id, orrery.value_rank(doc->'a'), orrery.value_key(doc->'a'), "
        "orrery.value_rank(doc->'b'), orrery.value_key(doc->'b'), orrery.value_rank(doc->'c'), "
        "orrery.value_key(doc->'c'), rid) where not deleted");
    assert_definition(INDEX_COMPOSITE,
                      "{\"compositeIndexes\":[[{\"path\":\"/a\"},{\"path\":\"/_etag\"}]]}",
                      "(range_id, orrery.value_rank(doc->'a'), orrery.value_key(doc->'a'), rid) "
                      "where not deleted");
}

static void containment_holds_what_the_policy_leaves(void **state)
{
    static const struct {
        const char *policy, *expression;
    } cases[] = {
        {"{\"includedPaths\":[{\"path\":\"/*\"}],\"excludedPaths\":[{\"path\":\"/_etag/?\"}]}",
         "doc"},
        {"{\"includedPaths\":[{\"path\":\"/*\"}],\"excludedPaths\":[{\"path\":\"/blob/*\"}]}",
         "(doc #- array['blob'])"},
        /* not "#-", which raises an error where "big" is an array */
        {"{\"includedPaths\":[{\"path\":\"/*\"}],\"excludedPaths\":[{\"path\":\"/big/blob/*\"}]}",
         "orrery.doc_pruned(doc, '{\"*\":true,\"m\":{\"big\":{\"*\":true,\"m\":{\"blob\":{\"*\":"
         "false}}}}}'::jsonb)"},
        {"{\"includedPaths\":[{\"path\":\"/*\"}],\"excludedPaths\":[{\"path\":\"/it's/*\"},{"
         "\"path\":\"/b/*\"}]}",
         NULL},
        {"{\"includedPaths\":[{\"path\":\"/*\"}],\"excludedPaths\":[{\"path\":\"/a/?\"}]}",
         "orrery.doc_pruned(doc, '{\"*\":true,\"m\":{\"a\":{\"*\":true,\"?\":false}}}'::jsonb)"},
        {"{\"includedPaths\":[{\"path\":\"/a/*\"}],\"excludedPaths\":[{\"path\":\"/*\"}]}",
         "orrery.doc_pruned(doc, '{\"*\":false,\"m\":{\"a\":{\"*\":true},\"id\":{\"*\":false,"
         "\"?\":true}}}'::jsonb)"},
        {"{\"includedPaths\":[{\"path\":\"/*\"}],\"excludedPaths\":[{\"path\":\"/t/[]/'/*\"}]}",
         "orrery.doc_pruned(doc, '{\"*\":true,\"m\":{\"t\":{\"*\":true,\"e\":{\"*\":true,\"m\":{"
         "\"''\":{\"*\":false}}}}}}'::jsonb)"},
    };

    (void) state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct buf sql = {0}, expression = {0};
        struct index_set set = {0};
        const char *rules = rules_of(cases[i].policy);
        char expected[512];
        if (cases[i].expression != NULL) {
            snprintf(expected, sizeof(expected), "using gin (%s" GIN_OPTIONS, cases[i].expression);
            assert_definition(INDEX_CONTAINMENT, rules, expected);
        }
        /* what a query says is what the index is on */
        add(&set, INDEX_CONTAINMENT, rules);
        assert_true(index_append_definition(&sql, INDEX_CONTAINMENT, slice_from_text(rules), &arena,
                                            &fault));
        index_set_append_containment(&set, &expression);
        const char *with_alias = buf_text(&expression);
        const char *at = strstr(with_alias, "i.doc");
        assert_non_null(at);
        snprintf(expected, sizeof(expected), "using gin (%.*s%s" GIN_OPTIONS,
                 (int) (at - with_alias), with_alias, at + 2);
        assert_string_equal(buf_text(&sql), expected);
        buf_finish(&sql);
        buf_finish(&expression);
    }
}

static void impossible_definitions_are_refused(void **state)
{
    (void) state;
    assert_no_definition(INDEX_RANGE, "/a/[]/b");
    assert_no_definition(INDEX_RANGE, "/");
    assert_no_definition(INDEX_RANGE, "/_etag");
    assert_no_definition(INDEX_RANGE, "a");
    assert_no_definition(INDEX_COMPOSITE, "{\"compositeIndexes\":[]}");
    assert_no_definition(INDEX_COMPOSITE, "{}");
    assert_no_definition(INDEX_COMPOSITE,
                         "{\"compositeIndexes\":[[{\"path\":\"/_etag\"},{\"path\":\"/a\"}]]}");
    assert_no_definition(INDEX_CONTAINMENT, "{");
    assert_no_definition(INDEX_SPATIAL, "{\"path\":\"/a/[]\",\"types\":15}");
    assert_no_definition((enum index_kind) 9, "/a");
}

static void a_set_serves_what_is_in_it(void **state)
{
    struct index_set set = {0};
    struct index_path a = path_of("/a"), b = path_of("/b"), c = path_of("/c"),
                      tags = path_of("/tags/[]"), etag = path_of("/_etag"), ts = path_of("/_ts"),
                      root = path_of("/");
    struct index_key keys[2] = {{a, false}, {b, true}};
    bool is_reversed;

    (void) state;
    assert_false(index_set_contains(&set, &a, INDEX_VALUE));
    assert_false(index_set_has_range(&set, &a));
    assert_null(index_set_composite(&set, keys, 2, &is_reversed));
    add(&set, INDEX_CONTAINMENT,
        rules_of(
            "{\"includedPaths\":[{\"path\":\"/*\"}],\"excludedPaths\":[{\"path\":\"/c/x/*\"}]}"));
    assert_true(index_set_contains(&set, &a, INDEX_SUBTREE));
    assert_true(index_set_contains(&set, &tags, INDEX_VALUE));
    assert_true(index_set_contains(&set, &c, INDEX_VALUE));
    assert_false(index_set_contains(&set, &c, INDEX_SUBTREE));
    /* stored documents lack them */
    assert_false(index_set_contains(&set, &etag, INDEX_VALUE));
    assert_false(index_set_contains(&set, &ts, INDEX_VALUE));
    assert_false(index_set_contains(&set, &root, INDEX_SUBTREE));
    for (int i = 0; i < 20; i++) {
        char spec[16];
        snprintf(spec, sizeof(spec), "/p%d", i);
        add(&set, INDEX_RANGE, spec);
    }
    add(&set, INDEX_RANGE, "/a");
    assert_true(index_set_has_range(&set, &a));
    assert_false(index_set_has_range(&set, &b));
    add(&set, INDEX_COMPOSITE,
        "{\"compositeIndexes\":[[{\"path\":\"/a\",\"order\":\"descending\"},{\"path\":\"/b\"}]]}");
    assert_non_null(index_set_composite(&set, keys, 2, &is_reversed));
    assert_true(is_reversed);
    keys[0].is_descending = true;
    assert_null(index_set_composite(&set, keys, 2, &is_reversed));
}

static void damaged_rows_are_refused(void **state)
{
    static const struct {
        enum index_kind kind;
        const char *spec;
    } cases[] = {
        {INDEX_RANGE, "a"},
        {INDEX_COMPOSITE, "{\"compositeIndexes\":[[{},{}]]}"},
        {INDEX_CONTAINMENT, ""},
        {INDEX_SPATIAL, "/a"},
        {INDEX_SPATIAL, "{\"path\":\"/a\"}"},
        {INDEX_SPATIAL, "{\"types\":15}"},
        {INDEX_SPATIAL, "{\"path\":\"/a\",\"types\":15,\"plane\":[1,2,3]}"},
        {(enum index_kind) 9, "/a"},
    };

    (void) state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct index_set set = {0};
        if (index_set_add(&set, cases[i].kind, slice_from_text(cases[i].spec), &arena, &fault))
            fail_msg("accepted: %s", cases[i].spec);
    }
}

static void specs_read_back(void **state)
{
    struct index_key keys[] = {{path_of("/a/\"b c\""), true}, {path_of("/d"), false}};
    struct index_composite composite = {2, keys};
    struct index_path path = path_of("/a/\"b c\"");
    struct index_set set = {0};
    struct buf spec = {0};
    bool is_reversed;

    (void) state;
    index_spec_append_composite(&spec, &composite);
    add(&set, INDEX_COMPOSITE, buf_text(&spec));
    assert_non_null(index_set_composite(&set, keys, 2, &is_reversed));
    assert_false(is_reversed);
    spec.len = 0;
    index_spec_append_path(&spec, &path);
    add(&set, INDEX_RANGE, buf_text(&spec));
    assert_true(index_set_has_range(&set, &path));
    buf_finish(&spec);
}

static void declared(const char *policy_text, bool is_planar, const char *const *expected)
{
    struct index_policy policy;
    struct index_wanted *list;
    size_t count, at = 0;

    fault = (struct fault){0};
    if (!index_policy_parse(&policy, slice_from_text(policy_text), &arena, &fault))
        fail_msg("%s: %s", policy_text, fault.message);
    policy.is_planar = is_planar;
    if (!index_set_declared(&policy, &list, &count, &arena, &fault))
        fail_msg("%s: %s", policy_text, fault.message);
    for (size_t i = 0; i < count; i++) {
        if (list[i].kind != INDEX_SPATIAL)
            continue;
        assert_non_null(expected[at]);
        assert_string_equal(list[i].definition.ptr, expected[at++]);
    }
    assert_null(expected[at]);
}

static void spatial_indexes_are_on_boxes(void **state)
{
    const char *const points[] = {
        "using gist (orrery.globe_box(doc->'a'->'b', 1)) where not deleted", NULL};
    const char *const all[] = {"using gist (orrery.globe_box(doc->'a', 15)) where not deleted",
                               NULL};
    const char *const plane[] = {
        "using gist (orrery.plane_box(doc->'a', 12, box '((-1.5,0),(100,2e+30))')) where not "
        "deleted",
        "using gist (orrery.plane_box(doc->'b', 15, box '((-1e+100,-1e+100),(1e+100,1e+100))')) "
        "where not deleted",
        NULL};
    const char *const none[] = {NULL};

    (void) state;
    declared("{\"spatialIndexes\":[{\"path\":\"/a/b/*\",\"types\":[\"Point\"]}]}", false, points);
    /* twice the same; elements of arrays, the item itself, a column and no types at all have none
     */
    declared("{\"spatialIndexes\":[{\"path\":\"/a/*\"},{\"path\":\"/a/?\",\"types\":[\"Polygon\","
             "\"Point\",\"LineString\",\"MultiPolygon\"]},{\"path\":\"/l/[]/*\"},{\"path\":\"/*\"},"
             "{\"path\":\"/_ts/?\"},{\"path\":\"/c/?\",\"types\":[]}]}",
             false, all);
    declared("{\"spatialIndexes\":[{\"path\":\"/a/*\",\"types\":[\"Polygon\",\"MultiPolygon\"],"
             "\"boundingBox\":{\"xmin\":-1.5,\"ymin\":0,\"xmax\":100,\"ymax\":2e30}},"
             "{\"path\":\"/b/*\",\"boundingBox\":{\"xmin\":-1e200,\"ymin\":-1e300,\"xmax\":1e101,"
             "\"ymax\":1e308}}]}",
             true, plane);
    declared("{\"indexingMode\":\"none\",\"spatialIndexes\":[{\"path\":\"/a/*\"}]}", false, none);
}

/* When geospatialConfig changes, the old index is of no use until it is made anew. */
static void spatial_indexes_are_of_the_globe_or_of_a_plane(void **state)
{
    struct index_path path = path_of("/a/\"b c\"");
    struct index_located globe = {{path, INDEX_POINT | INDEX_POLYGON, {0}}, false};
    struct index_located plane = {{path, INDEX_GEOMETRIES, {-1, -2.5, 3, 4}}, true};
    const struct index_located *found;
    struct index_set set = {0};
    struct buf spec = {0};

    (void) state;
    assert_null(index_set_located(&set, &path, false));
    index_spec_append_located(&spec, &globe);
    assert_string_equal(buf_text(&spec), "{\"path\":\"/a/\\\"b c\\\"\",\"types\":5}");
    add(&set, INDEX_SPATIAL, buf_text(&spec));
    assert_null(index_set_located(&set, &path, true));
    found = index_set_located(&set, &path, false);
    assert_non_null(found);
    assert_int_equal(found->spatial.types, 5);
    spec.len = 0;
    index_spec_append_located(&spec, &plane);
    add(&set, INDEX_SPATIAL, buf_text(&spec));
    found = index_set_located(&set, &path, true);
    assert_non_null(found);
    assert_memory_equal(&found->spatial.bounds, &plane.spatial.bounds, sizeof(struct index_box));
    spec.len = 0;
    index_append_box(&spec, "i", found);
    assert_string_equal(buf_text(&spec),
                        "orrery.plane_box(i.doc->'a'->'b c', 15, box '((-1,-2.5),(3,4))')");
    buf_finish(&spec);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(definitions_hold_what_queries_ask),
        cmocka_unit_test(long_composite_indexes_are_cut),
        cmocka_unit_test(containment_holds_what_the_policy_leaves),
        cmocka_unit_test(impossible_definitions_are_refused),
        cmocka_unit_test(a_set_serves_what_is_in_it),
        cmocka_unit_test(damaged_rows_are_refused),
        cmocka_unit_test(specs_read_back),
        cmocka_unit_test(spatial_indexes_are_on_boxes),
        cmocka_unit_test(spatial_indexes_are_of_the_globe_or_of_a_plane),
    };

    return cmocka_run_group_tests_name("index_set", tests, setup, teardown);
}
