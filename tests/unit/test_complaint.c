/* What an error answer complains about. */
#include "model/complaint.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

static void expect(const char *body, const char *wanted)
{
    char text[64];

    assert_true(complaint_read(slice_from_text(body), text, sizeof(text)));
    assert_string_equal(text, wanted);
}

static void expect_none(const char *body, const char *wanted)
{
    char text[64];

    assert_false(complaint_read(slice_from_text(body), text, sizeof(text)));
    assert_string_equal(text, wanted);
}

static void test_it_is_the_first_line_of_the_message(void **state)
{
    (void) state;
    expect("{\"code\":\"BadRequest\",\"message\":\"no such region\\r\\nActivityId: 1\"}",
           "no such region");
    expect("{\"message\":\"one\\ntwo\"}", "one");
    expect("{ \"code\" : 1, \"message\" : \"spaces between\" }", "spaces between");
    expect("{\"message\":\"\"}", "");
}

/* `orrery account add Mars` printed \"Mars\" when a region asked another one. */
static void test_escapes_are_decoded(void **state)
{
    (void) state;
    expect("{\"message\":\"region \\\"Mars\\\" is not \\\\ known \\/\"}",
           "region \"Mars\" is not \\ known /");
    expect("{\"message\":\"caf\\u00e9 \\ud83d\\ude80 z\xc3\xbcrich\"}",
           "caf\xc3\xa9 \xf0\x9f\x9a\x80 z\xc3\xbcrich");
    expect("{\"mess\\u0061ge\":\"the name, too\"}", "the name, too");
    expect("{\"message\":\"a\\tb\\u001b[31m\"}", "a?b?[31m");
}

static void test_etcd_has_forms_of_its_own(void **state)
{
    (void) state;
    expect(
        "{\"error\":\"etcdserver: no leader\",\"code\":14,\"message\":\"etcdserver: no leader\"}",
        "etcdserver: no leader");
    expect("{\"error\":\"not found\",\"code\":5}", "not found");
    expect("{\"error\":{\"http_code\":400,\"message\":\"a \\\"stream\\\"\"}}", "a \"stream\"");
}

static void test_a_body_without_a_message_speaks_for_itself(void **state)
{
    (void) state;
    expect_none("", "");
    expect_none("502 Bad Gateway\r\nnginx", "502 Bad Gateway");
    expect_none("{\"message\":5}", "{\"message\":5}");
    expect_none("{\"error\":{}}", "{\"error\":{}}");
    expect_none("[\"message\"]", "[\"message\"]");
    expect_none("{\"message\":\"cut o", "{\"message\":\"cut o");
    expect_none("{\"message\":\"\\ud800\"}", "{\"message\":\"\\ud800\"}");
    expect_none("\x01\xff\xc3z", "???z");
    char text[8];
    assert_false(complaint_read((struct slice){NULL, 0}, text, sizeof(text)));
    assert_string_equal(text, "");
}

static void test_it_ends_with_a_whole_character_where_the_room_ends(void **state)
{
    char text[8];

    (void) state;
    assert_true(complaint_read(SLICE_LITERAL("{\"message\":\"123456789\"}"), text, 8));
    assert_string_equal(text, "1234567");
    assert_true(complaint_read(SLICE_LITERAL("{\"message\":\"123456\xc3\xa9\"}"), text, 8));
    assert_string_equal(text, "123456");
    assert_true(complaint_read(SLICE_LITERAL("{\"message\":\"x\"}"), text, 1));
    assert_string_equal(text, "");

    /* beyond the memory that it takes: no message then, and no more than the room */
    size_t many = (size_t) 3 << 20;
    char *body = malloc(many);
    assert_non_null(body);
    memset(body, 'x', many);
    memcpy(body, "{\"message\":\"\\n", 14);
    memcpy(body + many - 2, "\"}", 2);
    assert_false(complaint_read(slice_make(body, many), text, sizeof(text)));
    assert_string_equal(text, "{\"messa");
    free(body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_is_the_first_line_of_the_message),
        cmocka_unit_test(test_escapes_are_decoded),
        cmocka_unit_test(test_etcd_has_forms_of_its_own),
        cmocka_unit_test(test_a_body_without_a_message_speaks_for_itself),
        cmocka_unit_test(test_it_ends_with_a_whole_character_where_the_room_ends),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
