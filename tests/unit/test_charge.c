/* Request charges: larger costs more, and the text is a plain decimal. */
#include "model/charge.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

static void assert_text(int64_t charge_cru, const char *expected)
{
    char text[CHARGE_TEXT_BYTES];

    charge_format(charge_cru, text);
    assert_string_equal(text, expected);
}

static void texts_have_no_exponent(void **state)
{
    (void) state;
    assert_text(0, "0");
    assert_text(1, "0.01");
    assert_text(10, "0.1");
    assert_text(100, "1");
    assert_text(545, "5.45");
    assert_text(620, "6.2");
    assert_text(INT64_MAX, "92233720368547758.07");
}

static void sizes_decide(void **state)
{
    (void) state;
    assert_int_equal(charge_read_cru(0), 100);
    assert_int_equal(charge_read_cru(1024), 100);
    assert_int_equal(charge_read_cru(1025), 109);
    assert_int_equal(charge_read_cru(100 * 1024), 991);
    assert_int_equal(charge_write_cru(0), 500);
    assert_int_equal(charge_write_cru(1025), 545);
    assert_int_equal(charge_write_cru(100 * 1024), 4955);
    assert_int_equal(charge_feed_cru(0, 0), 200);
    assert_int_equal(charge_feed_cru(10, 2048), 268);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_have_no_exponent),
        cmocka_unit_test(sizes_decide),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
