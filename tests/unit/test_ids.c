/* Ids of databases, containers and the like. */
#include "model/ids.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

static struct arena arena;
static struct fault fault;
static struct slice id;

static int setup(void **state)
{
    (void) state;
    arena_init(&arena, 1 << 20);
    return 0;
}

static int teardown(void **state)
{
    (void) state;
    arena_finish(&arena);
    return 0;
}

static bool from_body(const char *body)
{
    fault = (struct fault){0};
    return ids_from_body(slice_from_text(body), &arena, &id, &fault);
}

static void wrong_ids_are_refused(void **state)
{
    static const char *const bodies[] = {
        "",
        "{",
        "[]",
        "5",
        "\"d\"",
        "{}",
        "{\"ID\":\"d\"}",
        "{\"id\":null}",
        "{\"id\":5}",
        "{\"id\":[]}",
        "{\"id\":\"\"}",
        "{\"id\":\"a/b\"}",
        "{\"id\":\"a\\\\b\"}",
        "{\"id\":\"a?\"}",
        "{\"id\":\"#\"}",
        "{\"id\":\"a \"}",
        "{\"id\":\" \"}",
        "{\"id\":\"\\u002f\"}",
        "{\"id\":\"a\\u0000\"}",
        "{\"id\":\"a\",\"id\":\"b\"}",
    };

    (void) state;
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        if (from_body(bodies[i]))
            fail_msg("accepted: %s", bodies[i]);
        assert_int_equal(fault.status, 400);
    }
    assert_false(from_body("{}"));
    assert_non_null(strstr(fault.message, "'id; '"));
}

static void length_is_counted_in_characters(void **state)
{
    char text[2 * IDS_CHARACTERS_MAX + 2];

    (void) state;
    for (size_t i = 0; i < sizeof(text); i += 2)
        memcpy(text + i, "é", 2);
    assert_true(ids_check(slice_make(text, sizeof(text) - 2), &fault));
    assert_false(ids_check(slice_make(text, sizeof(text)), &fault));
    assert_int_equal(fault.status, 400);
}

static void good_ids_are_decoded(void **state)
{
    (void) state;
    assert_true(from_body("{\"id\":\"my d\\u00e9; drop--'\",\"other\":1}"));
    assert_true(slice_equals_text(id, "my dé; drop--'"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(wrong_ids_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(length_is_counted_in_characters, setup, teardown),
        cmocka_unit_test_setup_teardown(good_ids_are_decoded, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
