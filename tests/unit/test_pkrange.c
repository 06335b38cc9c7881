/* Partition key ranges: where the space is divided, and which range owns what. */
#include "model/pkrange.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

static const struct pkey_definition hash_v1 = {PKEY_HASH, 1, false, 1, {{0}}};
static const struct pkey_definition hash_v2 = {PKEY_HASH, 2, false, 1, {{0}}};
static struct pkrange ranges[PKRANGE_INDEX_MAX];

static void assert_hex(const struct epk *epk, const char *hex)
{
    struct buf buf = {0};

    epk_append(&buf, epk);
    assert_string_equal(buf_text(&buf), hex);
    buf_finish(&buf);
}

static struct epk key(const char *hex)
{
    struct epk epk;

    if (!epk_parse(&epk, slice_from_text(hex)))
        fail();
    return epk;
}

static void hex_that_is_none_is_refused(void **state)
{
    char long_hex[2 * EPK_BYTES_MAX + 2];
    struct epk epk;

    (void) state;
    memset(long_hex, 'A', sizeof(long_hex));
    assert_false(epk_parse(&epk, SLICE_LITERAL("A")));
    assert_false(epk_parse(&epk, SLICE_LITERAL("GG")));
    assert_false(epk_parse(&epk, SLICE_LITERAL(" FF")));
    assert_false(epk_parse(&epk, SLICE_LITERAL("F-")));
    assert_false(epk_parse(&epk, slice_make(long_hex, sizeof(long_hex))));
    assert_true(epk_parse(&epk, slice_make(long_hex, sizeof(long_hex) - 2)));
    assert_true(epk_parse(&epk, SLICE_LITERAL("")));
    assert_true(epk_parse(&epk, SLICE_LITERAL("05c1FF")));
    assert_hex(&epk, "05C1FF");
}

static void broken_tilings_are_seen(void **state)
{
    (void) state;
    assert_false(pkrange_is_tiling(ranges, 0));
    pkrange_divide(ranges, 3, &hash_v2);
    assert_true(pkrange_is_tiling(ranges, 3));
    assert_false(pkrange_is_tiling(ranges, 2));
    assert_false(pkrange_is_tiling(ranges + 1, 2));
    ranges[1].min.bytes[3] ^= 1;
    assert_false(pkrange_is_tiling(ranges, 3));
}

static void spaces_are_divided_evenly(void **state)
{
    (void) state;
    pkrange_divide(ranges, 1, &hash_v2);
    assert_hex(&ranges[0].min, "");
    assert_hex(&ranges[0].max, "FF");
    pkrange_divide(ranges, 2, &hash_v2);
    assert_hex(&ranges[0].max, "1FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF");
    assert_hex(&ranges[1].min, "1FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF");
    pkrange_divide(ranges, 4, &hash_v2);
    assert_hex(&ranges[0].max, "0FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF");
    assert_hex(&ranges[2].min, "1FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF");
    assert_hex(&ranges[3].min, "2FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF");
    assert_int_equal(ranges[3].index, 3);
    pkrange_divide(ranges, 2, &hash_v1);
    assert_hex(&ranges[0].max, "05C1DFFFFFFFFC");
    for (size_t count = 1; count <= PKRANGE_INDEX_MAX; count += count < 40 ? 1 : 507) {
        pkrange_divide(ranges, count, &hash_v2);
        assert_true(pkrange_is_tiling(ranges, count));
        pkrange_divide(ranges, count, &hash_v1);
        assert_true(pkrange_is_tiling(ranges, count));
    }
}

static void every_key_has_one_owner(void **state)
{
    struct epk epk;

    (void) state;
    pkrange_divide(ranges, 4, &hash_v2);
    epk = key("");
    assert_int_equal(pkrange_find(ranges, 4, &epk)->index, 0);
    epk = key("0FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFE");
    assert_int_equal(pkrange_find(ranges, 4, &epk)->index, 0);
    epk = key("0FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF");
    assert_int_equal(pkrange_find(ranges, 4, &epk)->index, 1);
    epk = key("3FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF");
    assert_int_equal(pkrange_find(ranges, 4, &epk)->index, 3);
    epk = key("FF");
    assert_int_equal(pkrange_find(ranges, 4, &epk)->index, 3);
    pkrange_divide(ranges, 7, &hash_v1);
    for (unsigned i = 0; i < 300; i++) {
        struct pkey_component value = {.type = PKEY_NUMBER, .number = i};
        pkey_hash_v1(&value, 1, &epk);
        const struct pkrange *owner = pkrange_find(ranges, 7, &epk);
        assert_true(epk_compare(&owner->min, &epk) <= 0 && epk_compare(&epk, &owner->max) < 0);
    }
}

static void intervals_meet_the_ranges_they_share_keys_with(void **state)
{
    const struct pkrange *first = NULL;
    struct epk min, max;

    (void) state;
    pkrange_divide(ranges, 4, &hash_v2);
    min = key("20"), max = key("20");
    assert_int_equal(pkrange_overlap(ranges, 4, &min, &max, &first), 0);
    max = key("1F");
    assert_int_equal(pkrange_overlap(ranges, 4, &min, &max, &first), 0);
    min = key(""), max = key("FF");
    assert_int_equal(pkrange_overlap(ranges, 4, &min, &max, &first), 4);
    assert_ptr_equal(first, ranges);
    assert_false(pkrange_contains(&ranges[0], &min, &max));
    min = ranges[1].min, max = ranges[1].max;
    assert_int_equal(pkrange_overlap(ranges, 4, &min, &max, &first), 1);
    assert_int_equal(first->index, 1);
    assert_true(pkrange_contains(&ranges[1], &min, &max));
    min = key("10"), max = key("2FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF00");
    assert_int_equal(pkrange_overlap(ranges, 4, &min, &max, &first), 3);
    assert_int_equal(first->index, 1);
}

static void json_shows_a_range(void **state)
{
    static const uint32_t parents[] = {0, 3};
    struct pkrange_facts facts = {5, 6, SLICE_LITERAL("\"e\""), 1700000000, 7, 0.5};
    struct buf buf = {0};

    (void) state;
    pkrange_divide(ranges, 2, &hash_v2);
    ranges[1].parents = parents;
    ranges[1].parent_count = 2;
    pkrange_append_json(&buf, &ranges[1], &facts);
    assert_string_equal(
        buf_text(&buf),
        "{\"id\":\"1\",\"_rid\":\"AAAABYAAAAYCAAAAAAAAUA==\","
        "\"_self\":\"dbs/AAAABQ==/colls/AAAABYAAAAY=/pkranges/AAAABYAAAAYCAAAAAAAAUA==/\","
        "\"_etag\":\"\\\"e\\\"\",\"_ts\":1700000000,\"_lsn\":7,"
        "\"minInclusive\":\"1FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF\",\"maxExclusive\":\"FF\","
        "\"ridPrefix\":1,"
        "\"throughputFraction\":0.5,\"status\":\"online\",\"parents\":[\"0\",\"3\"],"
        "\"ownedArchivalPKRangeIds\":[],\"vectorClockVersion\":1}");
    buf_finish(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hex_that_is_none_is_refused),
        cmocka_unit_test(broken_tilings_are_seen),
        cmocka_unit_test(spaces_are_divided_evenly),
        cmocka_unit_test(every_key_has_one_owner),
        cmocka_unit_test(intervals_meet_the_ranges_they_share_keys_with),
        cmocka_unit_test(json_shows_a_range),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
