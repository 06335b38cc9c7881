/* Buckets of throughput: what is refused, for how long, and that they fill no further than a
 * second. */
#include "service/throughput.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#define SECOND_US INT64_C(1000000)

static struct throughput table;

static int start(void **state)
{
    (void) state;
    return throughput_init(&table) ? 0 : -1;
}

static int stop(void **state)
{
    (void) state;
    throughput_finish(&table);
    return 0;
}

static void debt_is_waited_for(void **state)
{
    (void) state;
    throughput_charge(&table, 7, 400, 40000, 0); /* the whole second: exactly nothing left */
    assert_int_equal(throughput_wait_ms(&table, 7, 400, 0), 0);
    throughput_charge(&table, 7, 400, 4000, 0); /* 40 units: a tenth of a second */
    assert_int_equal(throughput_wait_ms(&table, 7, 400, 0), 101);
    assert_int_equal(throughput_wait_ms(&table, 7, 400, 50000), 51);
    assert_int_equal(throughput_wait_ms(&table, 7, 400, 101000), 0);
    assert_int_equal(throughput_wait_ms(&table, 8, 400, 0), 0); /* another one's */
}

static void burst_is_a_second(void **state)
{
    (void) state;
    throughput_charge(&table, 7, 400, 1, 0);
    throughput_charge(&table, 7, 400, 44000, 1000 * SECOND_US);
    assert_int_equal(throughput_wait_ms(&table, 7, 400, 1000 * SECOND_US), 101);
}

static void clocks_may_differ(void **state)
{
    (void) state;
    throughput_charge(&table, 7, 400, 44000, 5 * SECOND_US);
    assert_int_equal(throughput_wait_ms(&table, 7, 400, 4 * SECOND_US), 101);
}

static void debt_has_a_bound(void **state)
{
    (void) state;
    for (int i = 0; i < 3; i++)
        throughput_charge(&table, 7, 1000000, INT64_MAX, 0);
    assert_int_equal(throughput_wait_ms(&table, 7, 1000000, 0), 60001);
    assert_int_equal(throughput_wait_ms(&table, 7, 1000000, INT64_MAX), 0);
}

static void more_throughput_pays_sooner(void **state)
{
    (void) state;
    throughput_charge(&table, 7, 400, 80000, 0);
    assert_int_equal(throughput_wait_ms(&table, 7, 400, 0), 1001);
    assert_int_equal(throughput_wait_ms(&table, 7, 4000, 0), 101);
}

static void without_offer_is_without_bound(void **state)
{
    (void) state;
    throughput_charge(&table, 7, 0, INT64_MAX, 0);
    assert_int_equal(throughput_wait_ms(&table, 7, 0, 0), 0);
}

/* Far more owners than chains: each keeps its own debt, and idle ones make room. */
static void many_owners(void **state)
{
    (void) state;
    for (uint32_t owner = 1; owner <= 5000; owner++)
        throughput_charge(&table, owner, 400, owner % 2 == 0 ? 1 : 44000, 0);
    for (uint32_t owner = 1; owner <= 5000; owner++)
        assert_int_equal(throughput_wait_ms(&table, owner, 400, 0), owner % 2 == 0 ? 0 : 101);
    for (uint32_t owner = 5001; owner <= 9000; owner++)
        throughput_charge(&table, owner, 400, 44000, 3 * SECOND_US);
    for (uint32_t owner = 1; owner <= 5000; owner++)
        assert_int_equal(throughput_wait_ms(&table, owner, 400, 3 * SECOND_US), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(debt_is_waited_for, start, stop),
        cmocka_unit_test_setup_teardown(burst_is_a_second, start, stop),
        cmocka_unit_test_setup_teardown(clocks_may_differ, start, stop),
        cmocka_unit_test_setup_teardown(debt_has_a_bound, start, stop),
        cmocka_unit_test_setup_teardown(more_throughput_pays_sooner, start, stop),
        cmocka_unit_test_setup_teardown(without_offer_is_without_bound, start, stop),
        cmocka_unit_test_setup_teardown(many_owners, start, stop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
