/* JSON text as a tree in an arena. */
#include "model/json_tree.h"
#include "model/json.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static struct arena arena;

static int begin(void **state)
{
    (void) state;
    arena_init(&arena, 16 << 20);
    return 0;
}

static int end(void **state)
{
    (void) state;
    arena_finish(&arena);
    return 0;
}

static cJSON *tree_of(const char *text)
{
    struct json_text json;
    struct fault fault;

    assert_true(json_validate(slice_from_text(text), JSON_DEPTH_MAX, &json, &fault));
    cJSON *tree = json_tree(&arena, json.root);
    assert_non_null(tree);
    return tree;
}

static void prints(const char *text, const char *printed)
{
    struct buf out = {0};

    json_tree_print(&out, tree_of(text));
    assert_string_equal(buf_text(&out), printed);
    buf_finish(&out);
}

static void texts_survive(void **state)
{
    static const char *const texts[] = {"null",
                                        "true",
                                        "false",
                                        "0",
                                        "-1.5",
                                        "\"\"",
                                        "[]",
                                        "{}",
                                        "[[],{},[[1]]]",
                                        "{\"a\":{\"b\":[1,\"x\",null,true,false]},\"\":\"\"}",
                                        "\"\xc3\xa9\xf0\x9f\x98\x80\"",
                                        "[\"a\\\"b\\\\c\\n\"]"};

    (void) state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        prints(texts[i], texts[i]);
}

static void space_escapes_and_long_numbers_become_plain(void **state)
{
    (void) state;
    prints(" { \"a\" : [ 1 , 2 ] ,\n\t\"b\":{ } } ", "{\"a\":[1,2],\"b\":{}}");
    prints("\"\\u0041\\ud83d\\ude00\\/\"", "\"A\xf0\x9f\x98\x80/\"");
    prints("{\"\\u0061\":1.0}", "{\"a\":1}");
    prints("[1e2,0.10,-0,9007199254740993]", "[100,0.1,0,9007199254740992]");
    /* more digits than cJSON's parser reads */
    prints("0.3333333333333333333333333333333333333333333333333333333333333333333333333",
           "0.3333333333333333");
}

static void nodes_are_what_cjson_expects(void **state)
{
    (void) state;
    const cJSON *tree = tree_of("{\"a\":[1,2.5,3e10],\"b\":\"x\"}");
    const cJSON *a = cJSON_GetObjectItemCaseSensitive(tree, "a");
    assert_int_equal(cJSON_GetArraySize(a), 3);
    assert_true(cJSON_GetArrayItem(a, 1)->valuedouble == 2.5);
    assert_int_equal(cJSON_GetArrayItem(a, 2)->valueint, INT32_MAX);
    assert_ptr_equal(tree->child->prev, tree->child->next);
    assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(tree, "b")), "x");
}

static void members_can_be_added(void **state)
{
    struct buf out = {0};

    (void) state;
    cJSON *tree = tree_of("{}");
    json_tree_add(tree, "s", json_tree_string(&arena, SLICE_LITERAL("text")));
    json_tree_add(tree, "n", json_tree_number(&arena, 7));
    json_tree_add(tree, "nan", json_tree_number(&arena, (double) NAN));
    json_tree_add(tree, "z", json_tree_number(&arena, -1e300));
    json_tree_print(&out, tree);
    assert_string_equal(buf_text(&out), "{\"s\":\"text\",\"n\":7,\"z\":-1e+300}");
    out.len = 0;
    json_tree_print(&out, json_tree_number(&arena, (double) INFINITY));
    assert_string_equal(buf_text(&out), "null");
    buf_finish(&out);
}

static void memory_may_run_out_at_any_node(void **state)
{
    struct slice text =
        SLICE_LITERAL("{\"a\":[1,\"\\u0041\",{\"b\":null}],\"c\":\"dddddddddddddddd\"}");
    bool was_built = false;

    (void) state;
    for (size_t size = 1; !was_built; size++) {
        struct arena small;
        arena_init(&small, 4096 + 64);
        size_t room = size;
        /* leave only that much of the first chunk */
        if (4096 - 16 > room)
            assert_non_null(arena_alloc(&small, 4096 - 16 - room));
        was_built = json_tree(&small, text) != NULL;
        arena_finish(&small);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(texts_survive, begin, end),
        cmocka_unit_test_setup_teardown(space_escapes_and_long_numbers_become_plain, begin, end),
        cmocka_unit_test_setup_teardown(nodes_are_what_cjson_expects, begin, end),
        cmocka_unit_test_setup_teardown(members_can_be_added, begin, end),
        cmocka_unit_test_setup_teardown(memory_may_run_out_at_any_node, begin, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
