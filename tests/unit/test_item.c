/* Items: what is refused, what is stored of a body, how the system properties come back. */
#include "model/item.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static void assert_refused(struct slice body, unsigned status, const char *why)
{
    struct arena arena;
    struct item item;
    struct fault fault = {0};

    arena_init(&arena, 65536);
    assert_false(item_parse(body, &arena, &item, &fault));
    assert_int_equal(fault.status, status);
    if (strstr(fault.message, why) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", fault.message, why);
    arena_finish(&arena);
}

static void refuses_what_is_no_object(void **state)
{
    (void) state;
    assert_refused(SLICE_LITERAL(""), 400, "truncated");
    assert_refused(SLICE_LITERAL("[]"), 400, "must be a JSON object");
    assert_refused(SLICE_LITERAL("\"id\""), 400, "must be a JSON object");
    assert_refused(SLICE_LITERAL("{\"id\":\"a\""), 400, "truncated");
    assert_refused(SLICE_LITERAL("\x80"
                                 "binary"),
                   400, "not valid JSON");
}

static void refuses_more_than_two_mebibytes(void **state)
{
    size_t len = ITEM_BYTES_MAX + 1;
    char *body = malloc(len);
    struct arena arena;
    struct item item;
    struct fault fault;

    (void) state;
    memset(body, ' ', len);
    memcpy(body, "{\"id\":\"a\"}", 10);
    assert_refused(slice_make(body, len), 413, "2097153 bytes");
    arena_init(&arena, 65536);
    assert_true(item_parse(slice_make(body, len - 1), &arena, &item, &fault));
    arena_finish(&arena);
    free(body);
}

static void refuses_missing_and_unfit_ids(void **state)
{
    char body[1100] = "{\"id\":\"";

    (void) state;
    assert_refused(SLICE_LITERAL("{}"), 400, "required properties - 'id; ' - are missing");
    assert_refused(SLICE_LITERAL("{\"Id\":\"a\",\"x\":{\"id\":\"a\"}}"), 400, "'id; '");
    assert_refused(SLICE_LITERAL("{\"id\":1}"), 400, "must be a string");
    assert_refused(SLICE_LITERAL("{\"id\":null}"), 400, "must be a string");
    assert_refused(SLICE_LITERAL("{\"id\":\"\"}"), 400, "empty");
    assert_refused(SLICE_LITERAL("{\"id\":\"a/b\"}"), 400, "contains \"/\"");
    assert_refused(SLICE_LITERAL("{\"id\":\"a\\u002fb\"}"), 400, "contains \"/\"");
    assert_refused(SLICE_LITERAL("{\"id\":\"a\\\\b\"}"), 400, "contains \"\\\"");
    assert_refused(SLICE_LITERAL("{\"id\":\"#\"}"), 400, "contains \"#\"");
    assert_refused(SLICE_LITERAL("{\"id\":\"a \"}"), 400, "ends with a space");
    assert_refused(SLICE_LITERAL("{\"id\":\"a\",\"\\u0069d\":\"b\"}"), 400, "twice");
    memset(body + 7, 'a', ITEM_ID_BYTES_MAX + 1);
    memcpy(body + 7 + ITEM_ID_BYTES_MAX + 1, "\"}", 3);
    assert_refused(slice_from_text(body), 400, "1024 bytes");
}

static void accepts_unusual_ids(void **state)
{
    struct arena arena;
    struct item item;
    struct fault fault;

    (void) state;
    arena_init(&arena, 65536);
    assert_true(
        item_parse(SLICE_LITERAL("{\"\\u0069d\":\" a?%2F\\u00e9\"}"), &arena, &item, &fault));
    assert_true(slice_equals_text(item.id, " a?%2F\xc3\xa9"));
    arena_finish(&arena);
}

static void checks_ttl(void **state)
{
    const char *const bad[] = {"0",    "-2",   "2147483648", "1.5", "\"1\"",
                               "null", "true", "1e10",       "{}"};
    const struct {
        const char *text;
        int32_t ttl_s;
    } good[] = {{"-1", -1}, {"1", 1}, {"2147483647", INT32_MAX}, {"1e1", 10}, {"7.0", 7}};
    struct arena arena;
    struct item item;
    struct fault fault;
    char body[64];

    (void) state;
    arena_init(&arena, 65536);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        snprintf(body, sizeof(body), "{\"id\":\"a\",\"ttl\":%s}", bad[i]);
        assert_refused(slice_from_text(body), 400, "'ttl'");
    }
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        snprintf(body, sizeof(body), "{\"id\":\"a\",\"ttl\":%s}", good[i].text);
        assert_true(item_parse(slice_from_text(body), &arena, &item, &fault));
        assert_true(item.has_ttl && item.ttl_s == good[i].ttl_s);
    }
    assert_true(
        item_parse(SLICE_LITERAL("{\"id\":\"a\",\"x\":{\"ttl\":0}}"), &arena, &item, &fault));
    assert_false(item.has_ttl);
    arena_finish(&arena);
}

static void leaves_system_members_out(void **state)
{
    static const struct {
        const char *body;
        const char *stored;
    } cases[] = {
        {"{\"id\":\"a\",\"_rid\":\"x\",\"_self\":\"y\",\"_etag\":\"\\\"z\\\"\",\"_attachments\":"
         "\"w\",\"_ts\":1}",
         "{\"id\":\"a\"}"},
        {"{\"_rid\":\"x\",\"_ts\":1,\"id\":\"a\"}", "{\"id\":\"a\"}"},
        {"{ \"_rid\" : 1 , \"id\" : \"a\" , \"_ts\" : 2 , \"b\" : 3 }",
         "{ \"id\" : \"a\" , \"b\" : 3 }"},
        {"{\"id\":\"a\" ,\n\"_ts\":{\"_ts\":[1,2]} ,\t\"n\":1.0}", "{\"id\":\"a\" ,\t\"n\":1.0}"},
        {"{\"\\u005frid\":1,\"id\":\"a\"}", "{\"id\":\"a\"}"},
        {"\xef\xbb\xbf {\"id\":\"a\",\"_ts\":1} ", "{\"id\":\"a\"}"},
    };
    struct arena arena;
    struct item item;
    struct json_text again;
    struct fault fault;

    (void) state;
    arena_init(&arena, 65536);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_true(item_parse(slice_from_text(cases[i].body), &arena, &item, &fault));
        if (!slice_equals_text(item.stored, cases[i].stored))
            fail_msg("%s became %.*s", cases[i].body, (int) item.stored.len, item.stored.ptr);
        assert_true(json_validate(item.stored, JSON_DEPTH_MAX, &again, &fault));
    }
    const char *kept = "{\"id\":\"a\",\"_lsn\":1,\"_tsx\":2,\"x\":{\"_ts\":1},\"_etagged\":0}";
    assert_true(item_parse(slice_from_text(kept), &arena, &item, &fault));
    assert_ptr_equal(item.stored.ptr, kept);
    assert_int_equal(item.stored.len, strlen(kept));
    arena_finish(&arena);
}

static void makes_the_document_for_queries(void **state)
{
    struct arena arena;
    struct item item;
    struct slice doc;
    struct fault fault;

    (void) state;
    arena_init(&arena, 65536);
    assert_true(
        item_parse(SLICE_LITERAL("{\"id\":\"a\",\"_ts\":1.0,\"n\":1.0}"), &arena, &item, &fault));
    assert_true(item_doc(&item, &arena, &doc, &fault));
    assert_true(slice_equals_text(doc, "{\"id\":\"a\",\"n\":1}"));
    assert_true(slice_equals_text(item.stored, "{\"id\":\"a\",\"n\":1.0}"));
    assert_true(item_parse(SLICE_LITERAL("{\"id\":\"a\",\"n\":1}"), &arena, &item, &fault));
    assert_true(item_doc(&item, &arena, &doc, &fault));
    assert_ptr_equal(doc.ptr, item.stored.ptr);
    arena_finish(&arena);
}

static void splices_system_properties_in(void **state)
{
    struct item_system system = {.rid = SLICE_LITERAL("r=="),
                                 .self = SLICE_LITERAL("dbs/d==/"),
                                 .etag = SLICE_LITERAL("e-1"),
                                 .ts_s = 12};
    const char *tail = "\"_rid\":\"r==\",\"_self\":\"dbs/d==/\",\"_etag\":\"\\\"e-1\\\"\","
                       "\"_attachments\":\"attachments/\",\"_ts\":12}";
    struct buf out = {0};
    char expected[300];

    (void) state;
    item_print(&out, SLICE_LITERAL("{\"a\":{}}"), &system);
    snprintf(expected, sizeof(expected), "{\"a\":{},%s", tail);
    assert_string_equal(buf_text(&out), expected);
    out.len = 0;
    item_print(&out, SLICE_LITERAL("{ \n}"), &system);
    snprintf(expected, sizeof(expected), "{%.*s \n}", (int) strlen(tail) - 1, tail);
    assert_string_equal(buf_text(&out), expected);
    out.len = 0;
    system.has_lsn = true;
    system.lsn = UINT64_MAX;
    item_print(&out, SLICE_LITERAL("{}"), &system);
    assert_non_null(strstr(buf_text(&out), "\"_ts\":12,\"_lsn\":18446744073709551615}"));
    buf_finish(&out);
}

static void reports_exhausted_memory(void **state)
{
    struct arena arena;
    struct item item;
    struct slice doc;
    struct fault fault;

    (void) state;
    arena_init(&arena, 16);
    assert_false(item_parse(SLICE_LITERAL("{\"id\":\"a\",\"_ts\":1}"), &arena, &item, &fault));
    assert_int_equal(fault.status, 503);
    assert_false(item_parse(SLICE_LITERAL("{\"id\":\"\\u0061\"}"), &arena, &item, &fault));
    assert_int_equal(fault.status, 503);
    assert_true(item_parse(SLICE_LITERAL("{\"id\":\"a\",\"n\":1.0}"), &arena, &item, &fault));
    assert_false(item_doc(&item, &arena, &doc, &fault));
    assert_int_equal(fault.status, 503);
    arena_finish(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_what_is_no_object),
        cmocka_unit_test(refuses_more_than_two_mebibytes),
        cmocka_unit_test(refuses_missing_and_unfit_ids),
        cmocka_unit_test(accepts_unusual_ids),
        cmocka_unit_test(checks_ttl),
        cmocka_unit_test(leaves_system_members_out),
        cmocka_unit_test(makes_the_document_for_queries),
        cmocka_unit_test(splices_system_properties_in),
        cmocka_unit_test(reports_exhausted_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
