/* The validating pass, the cursor, and numbers as jsonb will hold them. */
#include "model/json.h"

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

/* Validate a copy of exactly that size, so that the sanitizer sees a read behind the end. */
static bool is_valid(struct slice text, struct json_text *result, struct fault *fault)
{
    static char *copy;

    free(copy);
    copy = malloc(text.len > 0 ? text.len : 1);
    memcpy(copy, text.ptr, text.len);
    *fault = (struct fault){0};
    bool valid = json_validate(slice_make(copy, text.len), JSON_DEPTH_MAX, result, fault);
    assert_int_equal(fault->status, valid ? 0 : 400);
    return valid;
}

static void assert_refused(struct slice text, const char *why)
{
    struct json_text result;
    struct fault fault;

    if (is_valid(text, &result, &fault))
        fail_msg("accepted: %.*s", (int) text.len, text.ptr);
    if (strstr(fault.message, why) == NULL)
        fail_msg("%.*s: \"%s\" does not say \"%s\"", (int) text.len, text.ptr, fault.message, why);
}

static void assert_accepted(const char *text)
{
    struct json_text result;
    struct fault fault;

    if (!is_valid(slice_from_text(text), &result, &fault))
        fail_msg("%s: %s", text, fault.message);
}

static void refuses_every_prefix_of_a_document(void **state)
{
    const char text[] = "{\"a\":[1.5e-3,true,null,false,{\"\\u00e9\\ud83d\\ude00\":\"\xc3\xa9\"}],"
                        "\"b\\n\":-12}";

    (void) state;
    assert_accepted(text);
    for (size_t len = 0; len < sizeof(text) - 1; len++)
        assert_refused(slice_make(text, len), "");
    assert_refused(SLICE_LITERAL(""), "truncated");
    assert_refused(SLICE_LITERAL(" \n"), "truncated");
    assert_refused(SLICE_LITERAL("{\"a\":"), "truncated");
    assert_refused(SLICE_LITERAL("{\"a\":tr"), "truncated");
    assert_refused(SLICE_LITERAL("[\"a"), "truncated");
}

static void refuses_malformed_text_with_its_offset(void **state)
{
    const char *const bad[] = {
        "x",         "{",           "}",         "[",          "]",         "[1,]",
        "[,1]",      "[1 2]",       "{,}",       "{\"a\"}",    "{\"a\":}",  "{\"a\":1,}",
        "{a:1}",     "{1:1}",       "{\"a\" 1}", "[1}",        "{\"a\":1]", "tru",
        "True",      "nul",         "nulll",     "NaN",        "Infinity",  "-",
        "+1",        "01",          "-01",       "1.",         ".5",        "1.e1",
        "1e",        "1e+",         "0x1",       "1_0",        "--1",       "\"\\x\"",
        "\"\\u12\"", "\"\\u12g4\"", "'a'",       "[1]]",       "{}{}",      "1 2",
        "\"a\nb\"",  "\"\x01\"",    "/**/1",     "[1,/*a*/2]", "\xef\xbb",  "\xef\xbb\xbf",
        "[\f1]",
    };

    (void) state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_refused(slice_from_text(bad[i]), "not valid JSON");
    assert_refused(SLICE_LITERAL("[1,2,x]"), "a value is missing at byte 5");
    assert_refused(SLICE_LITERAL("[1] x"), "something follows the value at byte 4");
    assert_refused(SLICE_LITERAL("\xef\xbb\xbf[1] x"), "at byte 7");
    assert_refused(SLICE_LITERAL("{\"a\" 1}"), "a colon is missing at byte 5");
}

static void refuses_nul_raw_or_escaped(void **state)
{
    (void) state;
    assert_refused(SLICE_LITERAL("\"a\0b\""), "NUL byte");
    assert_refused(SLICE_LITERAL("\0"), "a value is missing at byte 0");
    assert_refused(SLICE_LITERAL("1\0"), "something follows");
    assert_refused(SLICE_LITERAL("\"\\\0\""), "unknown escape");
    assert_refused(SLICE_LITERAL("\"\\u0000\""), "U+0000");
    assert_refused(SLICE_LITERAL("{\"a\\u0000\":1}"), "U+0000");
    assert_accepted("\"\\\\u0000\"");
}

static void refuses_invalid_utf8(void **state)
{
    const char *const bad[] = {
        "\x80",
        "\xbf",
        "\xc0\x80",
        "\xc1\xbf",
        "\xc3",
        "\xc3\x28",
        "\xe0\x9f\xbf",
        "\xed\xa0\x80",
        "\xed\xbf\xbf",
        "\xe2\x82",
        "\xe2\x28\xa1",
        "\xf0\x8f\xbf\xbf",
        "\xf4\x90\x80\x80",
        "\xf5\x80\x80\x80",
        "\xff",
        "\xf0\x9f\x98",
        "\xf0\x9f\x98\x28",
    };
    const char *const good[] = {"\x7f",         "\xc2\x80",         "\xdf\xbf",
                                "\xe0\xa0\x80", "\xed\x9f\xbf",     "\xee\x80\x80",
                                "\xef\xbf\xbf", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"};
    char text[64];

    (void) state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        for (int pad = 0; pad < 10; pad++) {
            snprintf(text, sizeof(text), "\"%.*s%s\"", pad, "aaaaaaaaaa", bad[i]);
            assert_refused(slice_from_text(text), "invalid UTF-8");
            snprintf(text, sizeof(text), "\"%.*s%s", pad, "aaaaaaaaaa", bad[i]);
            assert_refused(slice_from_text(text), "invalid UTF-8");
        }
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        snprintf(text, sizeof(text), "[\"%s\",\"aaaaaaa%s%s\"]", good[i], good[i], good[i]);
        assert_accepted(text);
    }
}

static void refuses_unpaired_surrogates(void **state)
{
    const char *const bad[] = {"\"\\ud800\"",        "\"\\udc00\"",        "\"\\udbffx\"",
                               "\"\\ud800\\ud800\"", "\"\\ud800\\u0041\"", "\"\\ud800\\n\"",
                               "\"\\ud800\\udc0\"",  "\"\\udc00\\ud800\"", "{\"\\uDFFF\":1}"};

    (void) state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_refused(slice_from_text(bad[i]), "surrogate");
    assert_accepted("\"\\ud800\\udc00\\uDBFF\\uDFFF\"");
}

static void refuses_nesting_beyond_128(void **state)
{
    struct json_text result;
    struct fault fault;
    struct buf text = {0};

    (void) state;
    for (int objects = 0; objects < 2; objects++)
        for (size_t depth = 126; depth < 132; depth++) {
            text.len = 0;
            for (size_t i = 0; i < depth; i++)
                buf_append_text(&text, objects ? "{\"a\":" : "[");
            buf_append_char(&text, '1');
            for (size_t i = 0; i < depth; i++)
                buf_append_char(&text, objects ? '}' : ']');
            if (depth <= 128)
                assert_true(is_valid(buf_slice(&text), &result, &fault));
            else
                assert_refused(buf_slice(&text), "nested deeper than 128");
        }
    text.len = 0;
    for (size_t i = 0; i < 100000; i++)
        buf_append_char(&text, '[');
    assert_refused(buf_slice(&text), "nested deeper than 128");
    buf_finish(&text);
}

static void refuses_a_member_twice(void **state)
{
    (void) state;
    assert_refused(SLICE_LITERAL("{\"a\":1,\"b\":2,\"a\":3}"),
                   "\"a\" twice in an object, at byte 13");
    assert_refused(SLICE_LITERAL("{\"a\":1,\"\\u0061\":3}"), "twice");
    assert_refused(SLICE_LITERAL("{\"\\n\":1,\"\\u000A\":3}"), "twice");
    assert_refused(SLICE_LITERAL("{\"\\/\":1,\"/\":3}"), "twice");
    assert_refused(SLICE_LITERAL("{\"\":1,\"\":3}"), "twice");
    assert_refused(SLICE_LITERAL("{\"\\ud83d\\ude00\":1,\"\xf0\x9f\x98\x80\":3}"), "twice");
    assert_refused(SLICE_LITERAL("[[{\"x\":{\"longer name\":1,\"y\":[{}],\"longer name\":3}}]]"),
                   "twice");
    assert_refused(SLICE_LITERAL("{\"x\":{\"a\":1},\"x\":2}"), "twice");
    assert_accepted(
        "{\"a\":{\"a\":{\"a\":[{\"a\":1},{\"a\":1}]}},\"A\":1,\"a \":1,\"b\":{\"a\":1}}");
}

/* An object with members a0 … an; one of them again when asked. */
static void print_object(struct buf *text, unsigned members, unsigned twice)
{
    text->len = 0;
    buf_append_text(text, "{\"a0\":{\"a0\":0}");
    for (unsigned i = 1; i < members; i++)
        buf_printf(text, ",\"a%u\":%u", i, i);
    if (twice > 0)
        buf_printf(text, ",\"\\u0061%u\":0", twice);
    buf_append_char(text, '}');
}

static void finds_a_member_twice_in_objects_of_any_size(void **state)
{
    struct buf text = {0};
    struct json_text result;
    struct fault fault;

    (void) state;
    for (unsigned members = 2; members < 200000;
         members = members < 300 ? members + 1 : members * 3) {
        print_object(&text, members, 0);
        assert_true(is_valid(buf_slice(&text), &result, &fault));
        print_object(&text, members, members - 1);
        assert_refused(buf_slice(&text), "twice");
        print_object(&text, members, members / 2);
        assert_refused(buf_slice(&text), "twice");
    }
    buf_finish(&text);
}

static void refuses_numbers_that_cannot_be_held(void **state)
{
    const char *const bad[] = {"1e400",
                               "-1e309",
                               "1e308000000000000000000",
                               "[1.8e308]",
                               "17976931348623159e292",
                               "0e1073741823",
                               "1e-16384",
                               "0e-16384",
                               "1e-99999999999999999999",
                               "0.1e310"};
    const char *const good[] = {"1e308",
                                "1.7976931348623157e308",
                                "1e-400",
                                "1e-16383",
                                "0e1073741822",
                                "0.00001e310",
                                "5e-324",
                                "-0",
                                "0e0",
                                "1E+2",
                                "123456789012345678901234567890"};
    static char text[40000];

    (void) state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_refused(slice_from_text(bad[i]), "number out of range");
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        assert_accepted(good[i]);
    snprintf(text, sizeof(text), "0.%020000d", 1);
    assert_refused(slice_from_text(text), "number out of range");
    snprintf(text, sizeof(text), "1%020000d", 1);
    assert_refused(slice_from_text(text), "number out of range");
    snprintf(text, sizeof(text), "0.%016000d", 1);
    assert_accepted(text);
    snprintf(text, sizeof(text), "1%0308d", 1);
    assert_accepted(text);
}

static void skips_mark_and_outer_space(void **state)
{
    struct json_text result;
    struct fault fault;

    (void) state;
    assert_true(is_valid(SLICE_LITERAL("\xef\xbb\xbf \t\r\n{\"a\" : 1} \n"), &result, &fault));
    assert_true(slice_equals_text(result.root, "{\"a\" : 1}"));
    assert_true(is_valid(SLICE_LITERAL(" 12 "), &result, &fault));
    assert_true(slice_equals_text(result.root, "12"));
}

static void walks_members_and_elements(void **state)
{
    struct slice text = SLICE_LITERAL("{ \"a\" : [ 1 , \"],}\\\"\" , { } , [ ] ,true] "
                                      ",\"\\u0062\":{\"c\":{\"\xc3\xa9\":-1e2}},\"\":null}");
    struct json_text result;
    struct fault fault;
    struct slice name, value, array;
    const char *const elements[] = {"1", "\"],}\\\"\"", "{ }", "[ ]", "true"};

    (void) state;
    assert_true(is_valid(text, &result, &fault));
    struct json_cursor members = json_iterate(text);
    assert_true(json_next_member(&members, &name, &array));
    assert_true(slice_equals_text(name, "\"a\""));
    struct json_cursor cursor = json_iterate(array);
    for (size_t i = 0; i < ARRAY_LEN(elements); i++) {
        assert_true(json_next_element(&cursor, &value));
        assert_true(slice_equals_text(value, elements[i]));
    }
    assert_false(json_next_element(&cursor, &value));
    assert_false(json_next_element(&cursor, &value));
    assert_true(json_next_member(&members, &name, &value));
    assert_true(json_string_equals(name, SLICE_LITERAL("b")));
    assert_true(json_next_member(&members, &name, &value));
    assert_true(json_string_equals(name, SLICE_LITERAL("")));
    assert_true(slice_equals_text(value, "null"));
    assert_false(json_next_member(&members, &name, &value));
    cursor = json_iterate(SLICE_LITERAL("[ ]"));
    assert_false(json_next_element(&cursor, &value));
    cursor = json_iterate(SLICE_LITERAL("{}"));
    assert_false(json_next_member(&cursor, &name, &value));
}

static void finds_nested_members(void **state)
{
    struct slice text =
        SLICE_LITERAL("{\"a\":[{\"b\":1}],\"\\u0062\":{\"c\":{\"\xc3\xa9\":-1e2}},\"s\":\"{\"}");
    const struct slice path[] = {SLICE_LITERAL("b"), SLICE_LITERAL("c"), SLICE_LITERAL("\xc3\xa9")};
    const struct slice through_array[] = {SLICE_LITERAL("a"), SLICE_LITERAL("b")};
    struct slice value;

    (void) state;
    assert_true(json_find_path(text, path, 3, &value));
    assert_true(slice_equals_text(value, "-1e2"));
    assert_true(json_number(value) == -100);
    assert_true(json_find_path(text, path, 0, &value));
    assert_true(slice_equals(value, text));
    assert_false(json_find_path(text, through_array, 2, &value));
    assert_false(json_find(text, SLICE_LITERAL("c"), &value));
    assert_false(json_find(SLICE_LITERAL("1"), SLICE_LITERAL("c"), &value));
}

static void decodes_strings(void **state)
{
    struct arena arena;
    struct slice decoded;
    struct fault fault;
    struct slice plain = SLICE_LITERAL("\"plain \xc3\xa9\"");

    (void) state;
    arena_init(&arena, 65536);
    assert_true(json_string_decode(plain, &arena, &decoded, &fault));
    assert_ptr_equal(decoded.ptr, plain.ptr + 1);
    assert_true(json_string_decode(
        SLICE_LITERAL("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\\u00e9\\u20AC\\ud83d\\ude00\""), &arena,
        &decoded, &fault));
    assert_true(slice_equals_text(decoded, "\"\\/\b\f\n\r\tA\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"));
    assert_true(json_string_equals(SLICE_LITERAL("\"\\u20ACx\""), SLICE_LITERAL("\xe2\x82\xacx")));
    assert_false(json_string_equals(SLICE_LITERAL("\"\\u20ACx\""), SLICE_LITERAL("\xe2\x82\xac")));
    assert_false(json_string_equals(SLICE_LITERAL("\"\\u20AC\""), SLICE_LITERAL("\xe2\x82\xacx")));
    assert_false(json_string_equals(SLICE_LITERAL("\"\\u20AC\""), SLICE_LITERAL("\xe2")));
    assert_true(json_string_equals(SLICE_LITERAL("\"\""), SLICE_LITERAL("")));
    arena_finish(&arena);
    arena_init(&arena, 10);
    assert_false(json_string_decode(SLICE_LITERAL("\"\\n\""), &arena, &decoded, &fault));
    assert_int_equal(fault.status, 503);
    arena_finish(&arena);
}

static void reads_integers_only_in_range(void **state)
{
    const char *const bad[] = {"1.5", "101",   "-2",  "\"1\"", "null",
                               "1e3", "1e300", "[1]", "true",  "9223372036854775808"};
    int64_t value;

    (void) state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(json_integer(slice_from_text(bad[i]), -1, 100, &value));
    assert_true(json_integer(SLICE_LITERAL("1e2"), -1, 100, &value) && value == 100);
    assert_true(json_integer(SLICE_LITERAL("-1.0"), -1, 100, &value) && value == -1);
    assert_true(json_integer(SLICE_LITERAL("9223372036854775807"), 0, INT64_MAX, &value) &&
                value == INT64_MAX);
}

static void numbers_match_the_c_library(void **state)
{
    char text[64], longer[1500];

    (void) state;
    srand48(7);
    for (int i = 0; i < 100000; i++) {
        uint64_t bits = (uint64_t) mrand48() << 32 ^ (uint64_t) (uint32_t) mrand48();
        double value;
        memcpy(&value, &bits, sizeof(value));
        if (!isfinite(value))
            continue;
        int len = snprintf(text, sizeof(text), i % 2 ? "%.*e" : "%.*g", i % 19, value);
        if (!isfinite(strtod(text, NULL)))
            continue;
        assert_true(json_number(slice_make(text, (size_t) len)) == strtod(text, NULL));
        len = snprintf(text, sizeof(text), "%.*f", i % 7, (double) mrand48() / 1000);
        assert_true(json_number(slice_make(text, (size_t) len)) == strtod(text, NULL));
    }
    /* Half way between two doubles, decided by the last of a thousand digits. */
    int len = snprintf(longer, sizeof(longer), "9007199254740993.%01000d", 0);
    assert_true(json_number(slice_make(longer, (size_t) len)) == 9007199254740992.0);
    longer[len - 1] = '1';
    assert_true(json_number(slice_make(longer, (size_t) len)) == 9007199254740994.0);
    assert_true(json_number(SLICE_LITERAL("1e-400")) == 0);
    assert_true(json_number(SLICE_LITERAL("4.9e-324")) == 4.9e-324);
}

static void assert_printed(double value, const char *expected)
{
    char text[JSON_NUMBER_BYTES];

    assert_int_equal(json_print_double(value, text), strlen(expected));
    assert_string_equal(text, expected);
}

static void prints_the_shortest_number(void **state)
{
    char text[JSON_NUMBER_BYTES];

    (void) state;
    assert_printed(0.0, "0");
    assert_printed(-0.0, "0");
    assert_printed(1, "1");
    assert_printed(-100, "-100");
    assert_printed(0.1, "0.1");
    assert_printed(0.1 + 0.2, "0.30000000000000004");
    assert_printed(123.456, "123.456");
    assert_printed(1e20, "100000000000000000000");
    assert_printed(1e21, "1e+21");
    assert_printed(1.5e-7, "1.5e-7");
    assert_printed(0.000001, "0.000001");
    assert_printed(9007199254740993.0, "9007199254740992");
    assert_printed(0x1p-44, "5.684341886080802e-14");
    /* A shorter decimal lies half way to the next double; PostgreSQL does not take it. */
    assert_printed(20487924068334192.0, "20487924068334192");
    assert_printed(3717933555623071744.0, "3717933555623071700");
    assert_printed(9007199254740996.0, "9007199254740996");
    assert_printed(5e-324, "5e-324");
    assert_printed(DBL_MIN, "2.2250738585072014e-308");
    assert_printed(-DBL_MAX, "-1.7976931348623157e+308");
    srand48(11);
    for (int i = 0; i < 20000; i++) {
        uint64_t bits = (uint64_t) mrand48() << 32 ^ (uint64_t) (uint32_t) mrand48();
        double value;
        memcpy(&value, &bits, sizeof(value));
        if (!isfinite(value))
            continue;
        assert_true(json_print_double(value, text) < JSON_NUMBER_BYTES);
        assert_true(strtod(text, NULL) == value);
    }
}

/* Digits without point, exponent and zeros around them. */
static void significant_digits(const char *text, char digits[32])
{
    size_t len = 0;

    for (; *text != '\0' && *text != 'e'; text++)
        if (*text >= '0' && *text <= '9' && (len > 0 || *text != '0'))
            digits[len++] = *text;
    while (len > 0 && digits[len - 1] == '0')
        len--;
    digits[len] = '\0';
}

static void prints_the_digits_that_the_c_library_needs(void **state)
{
    char text[JSON_NUMBER_BYTES], expected[64], digits[32], expected_digits[32];

    (void) state;
    srand48(13);
    for (int i = 0; i < 100000; i++) {
        double value = ldexp(drand48(), (int) (lrand48() % 75) - 25);
        int precision = 0;
        if (i % 3 == 0)
            value = floor(value * 1000) / 1000;
        if (i % 7 == 0)
            value = nextafter(nextafter(floor(value) + 1, INFINITY), INFINITY);
        if (value == 0 || value >= 0x1p53) /* above, ends of intervals are short */
            continue;
        do
            snprintf(expected, sizeof(expected), "%.*e", precision++, value);
        while (strtod(expected, NULL) != value);
        json_print_double(value, text);
        assert_true(strtod(text, NULL) == value);
        significant_digits(text, digits);
        significant_digits(expected, expected_digits);
        assert_string_equal(digits, expected_digits);
    }
}

static void assert_normalized(const char *text, const char *expected)
{
    struct json_text result;
    struct fault fault;
    struct arena arena;
    struct slice normalized;

    arena_init(&arena, 65536);
    assert_true(is_valid(slice_from_text(text), &result, &fault));
    assert_true(json_normalize(&result, &arena, &normalized, &fault));
    if (!slice_equals_text(normalized, expected))
        fail_msg("%s became %.*s", text, (int) normalized.len, normalized.ptr);
    assert_true(result.numbers_are_canonical == (normalized.ptr == result.root.ptr));
    arena_finish(&arena);
}

static void normalizes_numbers_and_nothing_else(void **state)
{
    const char *const kept[] = {"{\"a\" : [1,-2 , 0,0.5,1.25],\"1.0\":\"1e2 \\\" 1.0\"}",
                                "9007199254740992",
                                "0.123456789012345",
                                "true",
                                "\"1.0\"",
                                "[]"};

    (void) state;
    for (size_t i = 0; i < ARRAY_LEN(kept); i++)
        assert_normalized(kept[i], kept[i]);
    assert_normalized("{\"a\" : [1.0,1e2 , -0,-0.0],\"1.0\":\"1e2\"}",
                      "{\"a\" : [1,100 , 0,0],\"1.0\":\"1e2\"}");
    assert_normalized("9007199254740993", "9007199254740992");
    assert_normalized("0.10000000000000000555", "0.1");
    assert_normalized("[1.10,1e-400]", "[1.1,0]");
    assert_normalized("1E0", "1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_every_prefix_of_a_document),
        cmocka_unit_test(refuses_malformed_text_with_its_offset),
        cmocka_unit_test(refuses_nul_raw_or_escaped),
        cmocka_unit_test(refuses_invalid_utf8),
        cmocka_unit_test(refuses_unpaired_surrogates),
        cmocka_unit_test(refuses_nesting_beyond_128),
        cmocka_unit_test(refuses_a_member_twice),
        cmocka_unit_test(finds_a_member_twice_in_objects_of_any_size),
        cmocka_unit_test(refuses_numbers_that_cannot_be_held),
        cmocka_unit_test(skips_mark_and_outer_space),
        cmocka_unit_test(walks_members_and_elements),
        cmocka_unit_test(finds_nested_members),
        cmocka_unit_test(decodes_strings),
        cmocka_unit_test(reads_integers_only_in_range),
        cmocka_unit_test(numbers_match_the_c_library),
        cmocka_unit_test(prints_the_shortest_number),
        cmocka_unit_test(prints_the_digits_that_the_c_library_needs),
        cmocka_unit_test(normalizes_numbers_and_nothing_else),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
