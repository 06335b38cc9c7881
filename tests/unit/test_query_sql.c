/* Statements in the making: parameters and their numbers, fragments, quoted names. */
#include "query/sql.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/banned.h"

static struct arena arena;
static struct sql sql;

static int set_up(void **state)
{
    (void) state;
    arena_init(&arena, 1 << 20);
    return sql_init(&sql, &arena, 2) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void) state;
    arena_finish(&arena);
    return 0;
}

static void assert_text(const char *expected)
{
    assert_true(sql_is_whole(&sql));
    assert_string_equal(buf_text(&sql.text), expected);
}

static void parameters_follow_those_of_the_caller(void **state)
{
    static const struct slice elements[] = {{"1", 1}, {"2", 1}};

    (void) state;
    sql_append_text(&sql, SLICE_LITERAL("a"));
    sql_append_jsonb(&sql, SLICE_LITERAL("{}"));
    sql_append_float8(&sql, 0.5);
    sql_append_int8(&sql, 7);
    sql_append_bytea(&sql, slice_make("\0", 1));
    sql_append_jsonb_array(&sql, elements, 2);
    sql_append_text_array(&sql, elements, 1);
    assert_text("$3::text$4::jsonb$5::float8$6::int8$7::bytea$8::jsonb[]$9::text[]");
    assert_int_equal(sql.param_count, 7);
    assert_int_equal(sql.params[5].type, SQL_JSONB_ARRAY);
    assert_int_equal(sql.params[5].element_count, 2);
    assert_int_equal(sql.params[3].integer, 7);
}

static void a_value_keeps_its_number_and_its_type(void **state)
{
    const char *text = "same";

    (void) state;
    sql_append_text(&sql, slice_from_text(text));
    sql_append_jsonb(&sql, slice_from_text(text));
    sql_append_text(&sql, slice_from_text(text));
    sql_append_text(&sql, slice_make(text, 3));
    sql_append_float8(&sql, 0.0);
    sql_append_float8(&sql, -0.0);
    assert_text("$3::text$4::jsonb$3::text$5::text$6::float8$7::float8");
}

static void fragments_share_the_parameters(void **state)
{
    (void) state;
    sql_append_int8(&sql, 1);
    struct slice first = sql_take(&sql);
    sql_append_int8(&sql, 2);
    buf_append_text(&sql.text, " and ");
    buf_append_slice(&sql.text, first);
    assert_text("$4::int8 and $3::int8");
    assert_string_equal(first.ptr, "$3::int8");
}

static void names_are_quoted(void **state)
{
    (void) state;
    sql_append_quoted(&sql, SLICE_LITERAL("a'b"));
    sql_append_quoted(&sql, SLICE_LITERAL("\\'; drop table x --"));
    sql_append_quoted(&sql, SLICE_LITERAL(""));
    assert_text("'a''b'E'\\\\''; drop table x --'''");
}

static void too_many_parameters_are_remembered(void **state)
{
    struct arena large;
    struct sql many;

    (void) state;
    arena_init(&large, 64 << 20);
    assert_true(sql_init(&many, &large, 0));
    for (int64_t i = 0; i < SQL_PARAMS_MAX; i++)
        sql_append_int8(&many, i);
    assert_true(sql_is_whole(&many));
    sql_append_int8(&many, -1);
    assert_false(sql_is_whole(&many));
    assert_true(slice_is_absent(sql_take(&many)));
    arena_finish(&large);
}

static void exhausted_memory_is_remembered(void **state)
{
    struct arena small;
    struct sql text;

    (void) state;
    arena_init(&small, 32768);
    assert_true(sql_init(&text, &small, 0));
    for (int64_t i = 0; i < 1000; i++)
        sql_append_int8(&text, i);
    assert_false(sql_is_whole(&text));
    arena_finish(&small);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(parameters_follow_those_of_the_caller, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_value_keeps_its_number_and_its_type, set_up, tear_down),
        cmocka_unit_test_setup_teardown(fragments_share_the_parameters, set_up, tear_down),
        cmocka_unit_test_setup_teardown(names_are_quoted, set_up, tear_down),
        cmocka_unit_test(too_many_parameters_are_remembered),
        cmocka_unit_test(exhausted_memory_is_remembered),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
