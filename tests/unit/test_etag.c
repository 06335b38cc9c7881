/* Entity tags and the conditions on them. */
#include "model/etag.h"

#include "base/compiler.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#define TAG "0000d826-0000-0700-0000-5c1a1c8f0000"

static void foreign_tags_match_nothing(void **state)
{
    static const char *const headers[] = {
        "",
        "\"",
        "\"\"",
        "W/\"" TAG "\"",
        "\"" TAG,
        TAG "\"",
        "abc",
        "**",
        "\"" TAG "\",\"" TAG "\"",
        "0000D826-0000-0700-0000-5C1A1C8F0000",
        "0000d826-0000-0700-0000-5c1a1c8f000g",
        "'" TAG "'",
    };
    struct etag etag;

    (void) state;
    assert_true(etag_parse(SLICE_LITERAL(TAG), &etag));
    for (size_t i = 0; i < ARRAY_LEN(headers); i++) {
        struct etag_condition condition = etag_condition_parse(slice_from_text(headers[i]));
        if (condition.kind != ETAG_NEVER)
            fail_msg("%s", headers[i]);
        assert_false(etag_condition_matches(&condition, &etag));
    }
}

static void conditions_are_read(void **state)
{
    struct etag etag, other;
    struct etag_condition condition;

    (void) state;
    assert_true(etag_parse(SLICE_LITERAL(TAG), &etag));
    etag_create(&other);
    condition = etag_condition_parse(slice_make(NULL, 0));
    assert_int_equal(condition.kind, ETAG_ABSENT);
    condition = etag_condition_parse(SLICE_LITERAL(" * "));
    assert_int_equal(condition.kind, ETAG_ANY);
    assert_true(etag_condition_matches(&condition, &other));
    assert_false(etag_condition_matches(&condition, NULL));
    condition = etag_condition_parse(SLICE_LITERAL("\"" TAG "\""));
    assert_int_equal(condition.kind, ETAG_EXACT);
    assert_true(etag_condition_matches(&condition, &etag));
    assert_false(etag_condition_matches(&condition, &other));
    assert_false(etag_condition_matches(&condition, NULL));
    condition = etag_condition_parse(SLICE_LITERAL(TAG));
    assert_true(etag_condition_matches(&condition, &etag));
}

static void texts_come_back(void **state)
{
    char text[ETAG_TEXT_BYTES];
    struct etag etag, again;

    (void) state;
    etag_create(&etag);
    etag_format(&etag, text);
    assert_int_equal(strlen(text), ETAG_TEXT_BYTES - 1);
    assert_true(etag_parse(slice_from_text(text), &again));
    assert_true(etag_equals(&etag, &again));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(foreign_tags_match_nothing),
        cmocka_unit_test(conditions_are_read),
        cmocka_unit_test(texts_come_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
