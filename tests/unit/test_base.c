/* Arena, buffer, slices, dates, digests: the tools that every other part leans on. */
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/crypto.h"
#include "base/fault.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

static void arena_refuses_past_its_ceiling(void **state)
{
    struct arena arena;

    (void) state;
    arena_init(&arena, 16384);
    assert_non_null(arena_alloc(&arena, 100));
    assert_null(arena_alloc(&arena, 20000));
    assert_null(arena_alloc(&arena, SIZE_MAX));
    assert_null(arena_alloc(&arena, SIZE_MAX - 64));
    assert_non_null(arena_alloc(&arena, 100));
    arena_finish(&arena);
}

static int cleanups_run;

static void count_cleanup(void *object)
{
    cleanups_run++;
    free(object);
}

static void arena_runs_cleanups_even_when_it_cannot_note_them(void **state)
{
    struct arena arena;

    (void) state;
    cleanups_run = 0;
    arena_init(&arena, 8192);
    assert_true(arena_defer(&arena, count_cleanup, malloc(1)));
    arena_finish(&arena);
    assert_int_equal(cleanups_run, 1);
    arena_init(&arena, 10);
    assert_false(arena_defer(&arena, count_cleanup, malloc(1)));
    assert_int_equal(cleanups_run, 2);
    arena_finish(&arena);
}

static void arena_memory_is_zeroed_and_aligned(void **state)
{
    struct arena arena;

    (void) state;
    arena_init(&arena, 1 << 20);
    for (size_t size = 1; size < 6000; size += 37) {
        unsigned char *p = arena_alloc(&arena, size);
        assert_non_null(p);
        assert_int_equal((uintptr_t) p % 16, 0);
        for (size_t i = 0; i < size; i++)
            assert_int_equal(p[i], 0);
        memset(p, 0xff, size);
    }
    arena_finish(&arena);
}

static void arena_starts_again_with_its_chunks(void **state)
{
    struct arena arena;

    (void) state;
    cleanups_run = 0;
    arena_init(&arena, 1 << 20);
    for (int round = 0; round < 100; round++) {
        assert_true(arena_defer(&arena, count_cleanup, malloc(1)));
        for (int i = 0; i < 100; i++) {
            unsigned char *p = arena_alloc(&arena, 1000);
            assert_non_null(p);
            assert_int_equal(p[0] | p[999], 0);
            memset(p, 0xff, 1000);
        }
        assert_non_null(arena_alloc(&arena, 600000)); /* given back each time */
        arena_reset(&arena);
        assert_int_equal(cleanups_run, round + 1);
        assert_true(arena.used_bytes < 300000);
    }
    arena_finish(&arena);
}

static void buf_escapes_json_strings(void **state)
{
    struct buf buf = {0};

    (void) state;
    buf_append_json_string(&buf, SLICE_LITERAL("a\"b\\c\n\x01\x1f\xc3\xa9"));
    assert_string_equal(buf_text(&buf), "\"a\\\"b\\\\c\\n\\u0001\\u001f\xc3\xa9\"");
    buf_finish(&buf);
}

static void buf_prints_extreme_numbers(void **state)
{
    struct buf buf = {0};

    (void) state;
    buf_append_i64(&buf, INT64_MIN);
    buf_append_char(&buf, ' ');
    buf_append_u64(&buf, UINT64_MAX);
    buf_append_char(&buf, ' ');
    buf_append_u64(&buf, 0);
    assert_string_equal(buf_text(&buf), "-9223372036854775808 18446744073709551615 0");
    buf_finish(&buf);
}

static void slices_refuse_malformed_numbers(void **state)
{
    unsigned long long u;
    long long i;
    const char *const bad[] = {"", "-", "+1", " 1", "1 ", "1a", "18446744073709551616", "--1"};

    (void) state;
    for (size_t n = 0; n < ARRAY_LEN(bad); n++)
        assert_false(slice_to_u64(slice_from_text(bad[n]), UINT64_MAX, &u));
    assert_true(slice_to_u64(SLICE_LITERAL("18446744073709551615"), UINT64_MAX, &u));
    assert_true(u == UINT64_MAX);
    assert_false(slice_to_u64(SLICE_LITERAL("101"), 100, &u));
    assert_false(slice_to_u64(SLICE_LITERAL("9"), 8, &u));
    assert_true(slice_to_i64(SLICE_LITERAL("-1"), -1, 5, &i) && i == -1);
    assert_false(slice_to_i64(SLICE_LITERAL("-2"), -1, 5, &i));
}

static void dates_survive_a_round_trip(void **state)
{
    char text[CLOCK_HTTP_DATE_BYTES];
    int64_t back;

    (void) state;
    for (int64_t s = 0; s < 253402300799; s += 86399 * 977) {
        clock_format_http(s, text);
        assert_true(clock_parse_http(slice_from_text(text), &back));
        assert_true(back == s);
    }
    clock_format_http(1795417274, text);
    assert_string_equal(text, "Mon, 23 Nov 2026 07:01:14 GMT");
    assert_true(clock_parse_http(SLICE_LITERAL("mon, 23 nov 2026 07:01:14 gmt"), &back));
}

static void dates_refuse_what_is_not_rfc_1123_in_gmt(void **state)
{
    const char *const bad[] = {"",
                               "Mon, 23 Nov 2026 07:01:14 CET",
                               "Tue, 23 Nov 2026 07:01:14 GMT",
                               "Mon, 31 Feb 2026 07:01:14 GMT",
                               "Mon, 23 Nov 2026 24:01:14 GMT",
                               "Mon, 23 Nov 2026 07:01:14 GMT ",
                               "2026-11-23T07:01:14Z",
                               "Mon, 23 Nov -026 07:01:14 GMT"};
    int64_t s;

    (void) state;
    for (size_t n = 0; n < ARRAY_LEN(bad); n++)
        assert_false(clock_parse_http(slice_from_text(bad[n]), &s));
}

static void hmac_matches_rfc_4231(void **state)
{
    uint8_t mac[SHA256_BYTES];
    char text[BASE64_LEN(SHA256_BYTES) + 1] = {0};

    (void) state;
    crypto_hmac_sha256(SLICE_LITERAL("Jefe"), SLICE_LITERAL("what do ya want for nothing?"), mac);
    base64_encode(mac, sizeof(mac), text);
    assert_string_equal(text, "W9zBRr9gdU5qBCQmCJV1x1oAPwidJzmDnexYuWTsOEM=");
}

static void base64_is_strict(void **state)
{
    const char *const bad[] = {
        "A", "AAA", "A===", "AAAA=", "====", "AB==", "AAB=", "AA A", "-AAA", "=AAA"};
    uint8_t out[64];
    size_t len;

    (void) state;
    for (size_t n = 0; n < ARRAY_LEN(bad); n++)
        assert_false(base64_decode(slice_from_text(bad[n]), out, sizeof(out), &len));
    assert_true(base64_decode(SLICE_LITERAL(""), out, sizeof(out), &len) && len == 0);
    assert_true(base64_decode(SLICE_LITERAL("AQ=="), out, 1, &len) && len == 1 && out[0] == 1);
    assert_false(base64_decode(SLICE_LITERAL("AQID"), out, 2, &len));
    for (size_t n = 0; n < 32; n++) {
        uint8_t in[32];
        char text[BASE64_LEN(32)];
        crypto_random(in, n);
        base64_encode(in, n, text);
        assert_true(base64_decode(slice_make(text, BASE64_LEN(n)), out, sizeof(out), &len));
        assert_int_equal(len, n);
        assert_memory_equal(in, out, n);
    }
}

static void uuids_survive_a_round_trip(void **state)
{
    uint8_t uuid[16], back[16];
    char text[UUID_TEXT_BYTES];

    (void) state;
    uuid_create(uuid);
    uuid_format(uuid, text);
    assert_true(uuid_parse(slice_from_text(text), back));
    assert_memory_equal(uuid, back, 16);
    assert_false(uuid_parse(SLICE_LITERAL("00000000-0000-0000-0000-00000000000g"), back));
    assert_false(uuid_parse(SLICE_LITERAL("00000000-0000-0000-0000-0000000000000"), back));
    assert_false(uuid_parse(SLICE_LITERAL("0000000000000-0000-0000-000000000000"), back));
}

static void fault_messages_are_clean_utf8(void **state)
{
    struct fault fault;
    char longer[700];

    (void) state;
    assert_false(fault_set(&fault, 400, SUB_NONE, "bad \"%s\"", "\xff\n\xc3\xa9"));
    assert_string_equal(fault.message, "bad \"??\xc3\xa9\"");
    memset(longer, 'a', sizeof(longer));
    memcpy(longer + 510, "\xe2\x82\xac", 3); /* cut inside the euro sign */
    longer[699] = '\0';
    fault_set(&fault, 400, SUB_NONE, "%s", longer);
    assert_int_equal(strlen(fault.message), 510);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arena_refuses_past_its_ceiling),
        cmocka_unit_test(arena_runs_cleanups_even_when_it_cannot_note_them),
        cmocka_unit_test(arena_memory_is_zeroed_and_aligned),
        cmocka_unit_test(arena_starts_again_with_its_chunks),
        cmocka_unit_test(buf_escapes_json_strings),
        cmocka_unit_test(buf_prints_extreme_numbers),
        cmocka_unit_test(slices_refuse_malformed_numbers),
        cmocka_unit_test(dates_survive_a_round_trip),
        cmocka_unit_test(dates_refuse_what_is_not_rfc_1123_in_gmt),
        cmocka_unit_test(hmac_matches_rfc_4231),
        cmocka_unit_test(base64_is_strict),
        cmocka_unit_test(uuids_survive_a_round_trip),
        cmocka_unit_test(fault_messages_are_clean_utf8),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
