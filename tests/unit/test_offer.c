/* Offers: throughput by header, replaced, printed as SDKs look for it. */
#include "model/offer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

static struct arena arena;
static struct fault fault;
static struct offer offer;

static int setup(void **state)
{
    (void) state;
    arena_init(&arena, 1 << 20);
    fault = (struct fault){0};
    return 0;
}

static int teardown(void **state)
{
    (void) state;
    arena_finish(&arena);
    return 0;
}

static bool from_headers(const char *throughput, const char *autopilot)
{
    bool is_given;

    fault = (struct fault){0};
    bool is_good = offer_from_headers(&offer, slice_from_text(throughput),
                                      slice_from_text(autopilot), &is_given, &arena, &fault);
    if (is_good)
        assert_int_equal(is_given, throughput != NULL || autopilot != NULL);
    return is_good;
}

static const char *printed(void)
{
    struct buf buf = {0};

    offer_append(&buf, &offer, "AQAA", SLICE_LITERAL("dbs/a/colls/b/"), SLICE_LITERAL("b"));
    const char *text = arena_copy(&arena, buf.ptr, buf.len);
    buf_finish(&buf);
    return text;
}

static bool replace(const char *body, const char *current, enum offer_migration migration)
{
    fault = (struct fault){0};
    return offer_replace(&offer, slice_from_text(body), slice_from_text(current), migration, &arena,
                         &fault);
}

static void throughput_that_is_not_allowed_is_refused(void **state)
{
    static const char *const manual[] = {"",
                                         "0",
                                         "-400",
                                         "300",
                                         "450",
                                         "399",
                                         "400.0",
                                         "1e3",
                                         "abc",
                                         "1000100",
                                         "99999999999999999999"};
    static const char *const autoscale[] = {
        "",
        "{}",
        "[]",
        "5",
        "{\"maxThroughput\":0}",
        "{\"maxThroughput\":900}",
        "{\"maxThroughput\":1500}",
        "{\"maxThroughput\":\"1000\"}",
        "{\"maxThroughput\":1001000}",
        "{\"maxThroughput\":null}",
        "{\"maxThroughput\":4000",
        "{\"maxThroughput\":4000,\"autoUpgradePolicy\":{\"throughputPolicy\":{\"incrementPercent\":"
        "-1}}}",
    };

    (void) state;
    for (size_t i = 0; i < ARRAY_LEN(manual); i++) {
        if (from_headers(manual[i], NULL))
            fail_msg("accepted: %s", manual[i]);
        assert_int_equal(fault.status, 400);
    }
    for (size_t i = 0; i < ARRAY_LEN(autoscale); i++) {
        if (from_headers(NULL, autoscale[i]))
            fail_msg("accepted: %s", autoscale[i]);
        assert_int_equal(fault.status, 400);
    }
    assert_false(from_headers("400", "{\"maxThroughput\":4000}"));
    assert_int_equal(fault.status, 400);
}

static void headers_give_an_offer(void **state)
{
    (void) state;
    assert_true(from_headers(NULL, NULL));
    assert_int_equal(offer.max_ru, 400);
    assert_true(from_headers("10000", NULL));
    assert_int_equal(offer_range_count(&offer), 1);
    assert_true(from_headers("10100", NULL));
    assert_int_equal(offer_range_count(&offer), 2);
    assert_int_equal(offer_min_ru(&offer), 400);
    assert_true(from_headers(NULL,
                             "{\"maxThroughput\":4000,\"autoUpgradePolicy\":{\"throughputPolicy\":"
                             "{\"incrementPercent\":10}}}"));
    assert_true(offer.is_autoscale);
    assert_int_equal(offer.increment_percent, 10);
    assert_int_equal(offer_min_ru(&offer), 1000);
}

static void offers_are_printed_and_loaded(void **state)
{
    struct offer before;

    (void) state;
    assert_true(from_headers("400", NULL));
    assert_string_equal(
        printed(),
        "{\"id\":\"AQAA\",\"offerVersion\":\"V2\",\"offerType\":\"Invalid\",\"resource\":"
        "\"dbs/a/colls/b/\",\"offerResourceId\":\"b\",\"content\":{\"offerThroughput\":400,"
        "\"offerIsRUPerMinuteThroughputEnabled\":false,\"offerMinimumThroughputParameters\":"
        "{\"maxThroughputEverProvisioned\":400,\"maxConsumedStorageEverInKB\":0}}}");
    assert_true(from_headers(NULL, "{\"maxThroughput\":4000}"));
    before = offer;
    const char *text = printed();
    assert_non_null(strstr(text, "\"offerThroughput\":400,"));
    assert_non_null(strstr(text, "\"offerAutopilotSettings\":{\"maxThroughput\":4000,"));
    assert_true(offer_load(&offer, slice_from_text(text), &arena, &fault));
    assert_true(offer.is_autoscale == before.is_autoscale && offer.max_ru == before.max_ru);
    assert_true(offer.ever_ru == before.ever_ru);
    assert_false(offer_load(&offer, SLICE_LITERAL("{}"), &arena, &fault));
    assert_int_equal(fault.status, 500);
}

static void replacements_are_checked(void **state)
{
    static const char *const wrong[] = {
        "",
        "[]",
        "{}",
        "{\"content\":null}",
        "{\"content\":5}",
        "{\"content\":{}}",
        "{\"content\":{\"offerThroughput\":300}}",
        "{\"content\":{\"offerThroughput\":450}}",
        "{\"content\":{\"offerThroughput\":\"500\"}}",
        "{\"content\":{\"offerThroughput\":-1}}",
        "{\"id\":\"other\",\"content\":{\"offerThroughput\":500}}",
        "{\"resource\":\"dbs/a/\",\"content\":{\"offerThroughput\":500}}",
        "{\"offerResourceId\":5,\"content\":{\"offerThroughput\":500}}",
        "{\"content\":{\"offerAutopilotSettings\":{\"maxThroughput\":4000}}}",
    };

    (void) state;
    assert_true(from_headers("1200", NULL));
    const char *current = printed();
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        if (replace(wrong[i], current, OFFER_KEEP))
            fail_msg("accepted: %s", wrong[i]);
        assert_int_equal(fault.status, 400);
    }
    assert_true(replace(current, current, OFFER_KEEP));
    assert_int_equal(offer.max_ru, 1200);
    assert_true(replace("{\"content\":{\"offerThroughput\":500}}", current, OFFER_KEEP));
    assert_true(offer.max_ru == 500 && offer.ever_ru == 1200);
    assert_true(replace("{\"content\":{\"offerThroughput\":20000}}", current, OFFER_KEEP));
    assert_true(offer.max_ru == 20000 && offer.ever_ru == 20000);
}

static void kinds_change_by_header_only(void **state)
{
    static const char *const wish = "{\"content\":{\"offerThroughput\":-1,"
                                    "\"offerAutopilotSettings\":{\"maxThroughput\":5000}}}";

    (void) state;
    assert_true(from_headers("1200", NULL));
    const char *current = printed();
    assert_true(replace(wish, current, OFFER_TO_AUTOSCALE));
    assert_true(offer.is_autoscale && offer.max_ru == 5000);
    assert_true(replace(current, current, OFFER_TO_AUTOSCALE));
    assert_true(offer.is_autoscale && offer.max_ru == 2000);
    current = printed();
    assert_false(replace("{\"content\":{\"offerThroughput\":500}}", current, OFFER_KEEP));
    assert_non_null(strstr(fault.message, "x-ms-cosmos-migrate-offer-to-manual-throughput"));
    assert_true(replace(wish, current, OFFER_KEEP));
    assert_int_equal(offer.max_ru, 5000);
    assert_true(replace(current, current, OFFER_TO_MANUAL));
    assert_true(!offer.is_autoscale && offer.max_ru == 2000);
    assert_true(replace("{\"content\":{\"offerThroughput\":700}}", current, OFFER_TO_MANUAL));
    assert_true(!offer.is_autoscale && offer.max_ru == 700);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(throughput_that_is_not_allowed_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(replacements_are_checked, setup, teardown),
        cmocka_unit_test_setup_teardown(headers_give_an_offer, setup, teardown),
        cmocka_unit_test_setup_teardown(offers_are_printed_and_loaded, setup, teardown),
        cmocka_unit_test_setup_teardown(kinds_change_by_header_only, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
