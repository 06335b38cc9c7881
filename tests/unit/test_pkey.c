/* Partition keys: what a header may say, what a body gives, and where each value falls. */
#include "model/pkey.h"

#include "model/json.h"

#include <float.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

static struct arena arena;
static struct fault fault;

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

static const struct pkey_definition *define(enum pkey_kind kind, unsigned version, const char *path,
                                            size_t count)
{
    struct pkey_definition *definition = arena_alloc(&arena, sizeof(*definition));

    *definition = (struct pkey_definition){.kind = kind, .version = version, .path_count = count};
    for (size_t i = 0; i < count; i++) {
        if (!pkey_path_parse(&definition->paths[i], slice_from_text(path), &arena, &fault))
            fail();
    }
    return definition;
}

static bool parse(struct pkey *pkey, const struct pkey_definition *definition, const char *header,
                  enum pkey_extent extent)
{
    return pkey_from_header(pkey, definition, slice_from_text(header), extent, &arena, &fault);
}

static void assert_hex(const struct epk *epk, const char *hex)
{
    struct buf buf = {0};

    epk_append(&buf, epk);
    assert_string_equal(buf_text(&buf), hex);
    buf_finish(&buf);
}

static void assert_json(const struct pkey *pkey, const char *json)
{
    struct buf buf = {0};

    pkey_append_json(&buf, pkey);
    assert_string_equal(buf_text(&buf), json);
    buf_finish(&buf);
}

static void headers_that_are_no_key_are_refused(void **state)
{
    static const char *const headers[] = {
        "",
        " ",
        "a",
        "\"a\"",
        "5",
        "null",
        "{}",
        "{\"a\":1}",
        "[",
        "]",
        "[1",
        "[1,",
        "[1,]",
        "[,1]",
        "[1]]",
        "[1] 2",
        "[[]]",
        "[[1]]",
        "[{\"a\":1}]",
        "[{]",
        "[nul]",
        "[nulll]",
        "[True]",
        "['a']",
        "[\"a]",
        "[\"a\\\"]",
        "[\"\\x\"]",
        "[\"\\u12\"]",
        "[\"\\u0000\"]",
        "[\"\\ud800\"]",
        "[\"\\udc00\"]",
        "[\"\\ud800\\u0041\"]",
        "[\"\\udc00\\ud800\"]",
        "[\"\x01\"]",
        "[\"\xff\"]",
        "[\"\xc0\xaf\"]",
        "[\"\xed\xa0\x80\"]",
        "[1e999]",
        "[-1e999]",
        "[01]",
        "[+1]",
        "[.5]",
        "[1.]",
        "[1e]",
        "[-]",
        "[NaN]",
        "[Infinity]",
        "[1,2]",
        "[]",
        "[1,2,3,4]",
        "[1,2,3,4,5]",
    };
    const struct pkey_definition *definition = define(PKEY_HASH, 2, "/pk", 1);
    struct pkey pkey;

    (void) state;
    for (size_t i = 0; i < ARRAY_LEN(headers); i++) {
        fault = (struct fault){0};
        if (parse(&pkey, definition, headers[i], PKEY_FULL))
            fail_msg("accepted: %s", headers[i]);
        assert_int_equal(fault.status, 400);
        assert_true(fault.message[0] != '\0');
    }
    assert_false(pkey_from_header(&pkey, definition, slice_make("[\"a\0b\"]", 7), PKEY_FULL, &arena,
                                  &fault));
    assert_false(
        pkey_from_header(&pkey, definition, slice_make(NULL, 0), PKEY_FULL, &arena, &fault));
}

static void header_values_are_read(void **state)
{
    static const struct {
        const char *header, *json;
    } cases[] = {
        {"[\"a\"]", "[\"a\"]"}, {" [ \"a\" ] ", "[\"a\"]"},
        {"[\"\"]", "[\"\"]"},   {"[5]", "[5]"},
        {"[5.0]", "[5]"},       {"[50e-1]", "[5]"},
        {"[-0]", "[0]"},        {"[-0.0]", "[0]"},
        {"[5.5]", "[5.5]"},     {"[0.1]", "[0.1]"},
        {"[true]", "[true]"},   {"[false]", "[false]"},
        {"[null]", "[null]"},   {"[{}]", "[{}]"},
        {"[{ }]", "[{}]"},      {"[\"\\u00e9\\n\\\"\\ud83d\\ude00\"]", "[\"é\\n\\\"😀\"]"},
        {"[\"é\"]", "[\"é\"]"},
    };
    const struct pkey_definition *definition = define(PKEY_HASH, 2, "/pk", 1);

    (void) state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct pkey pkey;
        if (!parse(&pkey, definition, cases[i].header, PKEY_FULL))
            fail_msg("%s: %s", cases[i].header, fault.message);
        assert_json(&pkey, cases[i].json);
    }
}

static void long_keys_are_refused(void **state)
{
    char header[2100];
    struct pkey pkey;

    (void) state;
    memset(header, 'a', sizeof(header));
    memcpy(header, "[\"", 2);
    memcpy(header + 2 + 2048, "\"]", 2);
    assert_true(pkey_from_header(&pkey, define(PKEY_HASH, 2, "/pk", 1), slice_make(header, 2052),
                                 PKEY_FULL, &arena, &fault));
    memcpy(header + 2 + 2048, "a\"]", 3);
    assert_false(pkey_from_header(&pkey, define(PKEY_HASH, 2, "/pk", 1), slice_make(header, 2053),
                                  PKEY_FULL, &arena, &fault));
    assert_int_equal(fault.status, 400);
    memcpy(header + 2 + 101, "\"]", 2);
    assert_true(pkey_from_header(&pkey, define(PKEY_HASH, 1, "/pk", 1), slice_make(header, 105),
                                 PKEY_FULL, &arena, &fault));
    memcpy(header + 2 + 101, "a\"]", 3);
    assert_false(pkey_from_header(&pkey, define(PKEY_HASH, 1, "/pk", 1), slice_make(header, 106),
                                  PKEY_FULL, &arena, &fault));
}

static void prefixes_are_for_queries_only(void **state)
{
    const struct pkey_definition *definition = define(PKEY_MULTI_HASH, 2, "/a", 2);
    struct pkey pkey;
    struct epk min, max;

    (void) state;
    assert_false(parse(&pkey, definition, "[\"t\"]", PKEY_FULL));
    assert_int_equal(fault.status, 400);
    assert_false(parse(&pkey, definition, "[1,2,3]", PKEY_PREFIX));
    assert_true(parse(&pkey, definition, "[\"t\"]", PKEY_PREFIX));
    pkey_epk_interval(&pkey, definition, &min, &max);
    assert_hex(&min, "3B310042FC8EA24E4CB78FD8BFEDBAA7");
    assert_hex(&max, "3B310042FC8EA24E4CB78FD8BFEDBAA7FF");
    assert_true(parse(&pkey, definition, "[]", PKEY_PREFIX));
    pkey_epk_interval(&pkey, definition, &min, &max);
    assert_hex(&min, "");
    assert_hex(&max, "FF");
    assert_true(parse(&pkey, definition, "[{},{}]", PKEY_FULL));
    pkey_epk_interval(&pkey, definition, &min, &max);
    assert_int_equal(min.len, 32);
    assert_int_equal(max.len, 33);
    assert_int_equal(max.bytes[32], 0);
}

static void containers_from_before_partition_keys_have_an_empty_one(void **state)
{
    struct pkey_definition definition = *define(PKEY_HASH, 1, "/_partitionKey", 1);
    struct pkey pkey, of_body;
    struct json_text body;
    struct epk epk;

    (void) state;
    definition.is_system_key = true;
    assert_true(parse(&pkey, &definition, "[]", PKEY_FULL));
    assert_json(&pkey, "[]");
    pkey_hash(&pkey, &definition, &epk);
    assert_int_equal(epk.len, 0);
    assert_true(json_validate(SLICE_LITERAL("{\"id\":\"1\"}"), JSON_DEPTH_MAX, &body, &fault));
    assert_true(pkey_from_body(&of_body, &definition, body.root, &arena, &fault));
    assert_true(pkey_equals(&pkey, &of_body));
    assert_true(parse(&pkey, &definition, "[{}]", PKEY_FULL));
    assert_true(pkey_equals(&pkey, &of_body));
    assert_true(parse(&pkey, &definition, "[\"x\"]", PKEY_FULL));
    assert_json(&pkey, "[\"x\"]");
}

static void body_and_header_are_compared(void **state)
{
    static const struct {
        const char *body, *header;
        bool is_same;
    } cases[] = {
        {"{\"pk\":\"a\"}", "[\"a\"]", true},
        {"{\"\\u0070k\":\"\\u0061\"}", "[\"a\"]", true},
        {"{\"pk\":5.0}", "[5]", true},
        {"{\"pk\":-0}", "[0]", true},
        {"{}", "[{}]", true},
        {"{\"pk\":{\"a\":1}}", "[{}]", true},
        {"{\"pk\":[1]}", "[{}]", true},
        {"{\"pk\":null}", "[null]", true},
        {"{\"pk\":null}", "[{}]", false},
        {"{\"pk\":\"5\"}", "[5]", false},
        {"{\"pk\":\"A\"}", "[\"a\"]", false},
        {"{\"pk\":true}", "[false]", false},
        {"{\"PK\":\"a\"}", "[\"a\"]", false},
    };
    const struct pkey_definition *definition = define(PKEY_HASH, 2, "/pk", 1);

    (void) state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct json_text body;
        struct pkey header, of_body;
        fault = (struct fault){0};
        assert_true(json_validate(slice_from_text(cases[i].body), JSON_DEPTH_MAX, &body, &fault));
        assert_true(pkey_from_body(&of_body, definition, body.root, &arena, &fault));
        assert_true(parse(&header, definition, cases[i].header, PKEY_FULL));
        if (pkey_check_body(&header, &of_body, &fault) != cases[i].is_same)
            fail_msg("%s %s", cases[i].body, cases[i].header);
        if (!cases[i].is_same) {
            assert_int_equal(fault.status, 400);
            assert_int_equal(fault.substatus, SUB_PARTITION_KEY_MISMATCH);
        }
    }
}

static void paths_are_split(void **state)
{
    static const char *const wrong[] = {"",      "/",    "a",       "a/b", "//",      "/a/",
                                        "/a//b", "/\"a", "/\"a\"b", "/\"", "/\"a\\\""};
    struct pkey_path path;
    char deep[2 * PKEY_PATH_NAMES_MAX + 2];

    (void) state;
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        fault = (struct fault){0};
        if (pkey_path_parse(&path, slice_from_text(wrong[i]), &arena, &fault))
            fail_msg("accepted: %s", wrong[i]);
        assert_int_equal(fault.status, 400);
    }
    for (size_t i = 0; i < sizeof(deep); i++)
        deep[i] = i % 2 == 0 ? '/' : 'a';
    assert_false(pkey_path_parse(&path, slice_make(deep, sizeof(deep)), &arena, &fault));
    assert_true(pkey_path_parse(&path, slice_make(deep, sizeof(deep) - 2), &arena, &fault));
    assert_true(pkey_path_parse(&path, SLICE_LITERAL("/\"a /b\"/c/\"d\\\"e\""), &arena, &fault));
    assert_int_equal(path.name_count, 3);
    assert_true(slice_equals_text(path.names[0], "a /b"));
    assert_true(slice_equals_text(path.names[1], "c"));
    assert_true(slice_equals_text(path.names[2], "d\"e"));
}

static struct pkey_component text_of(const char *text)
{
    return (struct pkey_component){.type = PKEY_STRING, .text = slice_from_text(text)};
}

static struct pkey_component number_of(double number)
{
    return (struct pkey_component){.type = PKEY_NUMBER, .number = number};
}

static struct pkey_component plain(enum pkey_type type)
{
    return (struct pkey_component){.type = type};
}

/* The table of the protocol reference, section 6.6; NULL where it has no value. */
static void single_values_hash_as_the_sdks_hash_them(void **state)
{
    const struct {
        struct pkey_component value;
        const char *v2, *v1;
    } cases[] = {
        {text_of(""), "32E9366E637A71B4E710384B2F4970A0", "05C1CF33970FF80800"},
        {text_of("partitionKey"), "013AEFCF77FA271571CF665A58C933F1",
         "05C1E1B3D9CD2608716273756A756A706F4C667A00"},
        {text_of("redmond"), "22E342F38A486A088463DFF7838A5963",
         "05C1EFE313830C087366656E706F6500"},
        {plain(PKEY_NULL), "378867E4430E67857ACE5C908374FE16", "05C1ED45D7475601"},
        {plain(PKEY_UNDEFINED), "11622DAA78F835834610ABE56EFF5CB5", "05C1D529E345DC00"},
        {plain(PKEY_TRUE), "0E711127C5B5A8E4726AC6DD306A3E59", "05C1D7C5A903D803"},
        {plain(PKEY_FALSE), "2FE1BE91E90A3439635E0E9E37361EF2", "05C1DB857D857C02"},
        {number_of(5), "19C08621B135968252FB34B4CF66F811", "05C1D9C1C5517C05C014"},
        {number_of(5.12312419050912359123), "0EF2E2D82460884AF0F6440BE4F726A8", NULL},
        {number_of(-128), "01DAEDABF913540367FE219B2AD06148", "05C1D73349F54C053FA0"},
        {number_of(127), "0C507ACAC853ECA7977BF4CEFB562A25", "05C1DD539DDFCC05C05FE0"},
        {number_of(INT32_MAX), "2D9349D64712AEB5EB1406E2F0BE2725", "05C1E1F503DFB205C1DFFFFFFFFC"},
        {number_of(INT32_MIN), "0B1660D5233C3171725B30D4A5F4CC1F", "05C1DFBF252BCC053E20"},
        {number_of((double) INT64_MAX), "2EDB959178DFCCA18983F89384D1629B", "05C1B799AB2DD005C3E0"},
        {number_of((double) INT64_MIN), "23D5C6395512BDFEAFADAD15328AD2BB", "05C1DB35F33D1C053C20"},
        {number_of(0x1p-1074), "0E6CBA63A280927DE485DEF865800139",
         "05C1E5C91F4D3005800101010101010102"},
        {number_of(DBL_MAX), "31424D996457102634591FF245DBCC4D",
         "05C1CBE367C53005FFEFFFFFFFFFFFFFFE"},
    };

    (void) state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct epk epk;
        pkey_hash_v2(&cases[i].value, 1, &epk);
        assert_hex(&epk, cases[i].v2);
        pkey_hash_v1(&cases[i].value, 1, &epk);
        if (cases[i].v1 != NULL)
            assert_hex(&epk, cases[i].v1);
    }
}

static void long_texts_hash_as_the_sdks_hash_them(void **state)
{
    char letters[1025], v1[219] = "05C1EB5921F70608";
    struct epk epk;

    (void) state;
    memset(letters, 'a', 1024);
    letters[1024] = '\0';
    for (size_t i = 0; i < 100; i++)
        memcpy(v1 + 16 + 2 * i, "62", 2);
    memcpy(v1 + 216, "00", 3);
    struct pkey_component value = text_of(letters);
    pkey_hash_v2(&value, 1, &epk);
    assert_hex(&epk, "332BDF5512AE49615F32C7D98C2DB86C");
    pkey_hash_v1(&value, 1, &epk);
    assert_hex(&epk, v1);
}

static void many_components_hash_as_the_sdks_hash_them(void **state)
{
    const struct pkey_component four[] = {number_of(5), text_of("redmond"), plain(PKEY_TRUE),
                                          plain(PKEY_NULL)};
    const struct pkey_component six[] = {number_of(2),          plain(PKEY_TRUE),
                                         plain(PKEY_FALSE),     plain(PKEY_NULL),
                                         plain(PKEY_UNDEFINED), text_of("Привет!")};
    const struct pkey two = {2, {text_of("redmond"), number_of(5)}};
    const struct pkey three = {3, {text_of("redmond"), plain(PKEY_TRUE), plain(PKEY_NULL)}};
    struct epk epk;

    (void) state;
    pkey_hash_v2(four, 4, &epk);
    assert_hex(&epk, "3032DECBE2AB1768D8E0AEDEA35881DF");
    pkey_hash_v1(six, 6, &epk);
    assert_hex(&epk, "05C1D19581B37C05C0000302010008D1A0D281D1B9D1B3D1B6D2832200");
    pkey_hash(&two, define(PKEY_MULTI_HASH, 2, "/a", 2), &epk);
    assert_hex(&epk, "22E342F38A486A088463DFF7838A596319C08621B135968252FB34B4CF66F811");
    pkey_hash(&three, define(PKEY_MULTI_HASH, 2, "/a", 3), &epk);
    assert_hex(&epk, "22E342F38A486A088463DFF7838A59630E711127C5B5A8E4726AC6DD306A3E59"
                     "378867E4430E67857ACE5C908374FE16");
}

static void column_holds_effective_key_and_components(void **state)
{
    static const uint8_t components[] = {0x08, 'r',  'e',  'd', 'm', 'o', 'n', 'd', 0,
                                         0x05, 0x40, 0x14, 0,   0,   0,   0,   0,   0};
    const struct pkey pkey = {2, {text_of("redmond"), number_of(5)}};
    struct buf buf = {0};

    (void) state;
    pkey_encode(&buf, &pkey, define(PKEY_MULTI_HASH, 2, "/a", 2));
    assert_false(buf.has_failed);
    assert_int_equal(buf.len, 32 + sizeof(components));
    assert_int_equal((uint8_t) buf.ptr[0], 0x22);
    assert_memory_equal(buf.ptr + 32, components, sizeof(components));
    buf_finish(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(headers_that_are_no_key_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(long_keys_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(paths_are_split, setup, teardown),
        cmocka_unit_test_setup_teardown(prefixes_are_for_queries_only, setup, teardown),
        cmocka_unit_test_setup_teardown(containers_from_before_partition_keys_have_an_empty_one,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(header_values_are_read, setup, teardown),
        cmocka_unit_test_setup_teardown(body_and_header_are_compared, setup, teardown),
        cmocka_unit_test_setup_teardown(single_values_hash_as_the_sdks_hash_them, setup, teardown),
        cmocka_unit_test_setup_teardown(long_texts_hash_as_the_sdks_hash_them, setup, teardown),
        cmocka_unit_test_setup_teardown(many_components_hash_as_the_sdks_hash_them, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(column_holds_effective_key_and_components, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
