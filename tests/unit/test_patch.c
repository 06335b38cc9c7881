/* Patches: what is refused, and that every byte that no operation names stays. */
#include "model/patch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static struct slice pk_names[] = {{"pk", 2}, {"in", 2}};
static const struct pkey_definition definition = {
    .kind = PKEY_HASH,
    .version = 2,
    .path_count = 1,
    .paths = {{.name_count = 2, .names = pk_names, .text = {"/pk/in", 6}}},
};

/* Parse, check and apply; false with the fault of the first step that refuses. */
static bool patch_all(const char *body, const char *stored, struct arena *arena, struct item *item,
                      struct fault *fault)
{
    struct patch patch;

    *fault = (struct fault){0};
    return patch_parse(slice_from_text(body), arena, &patch, fault) &&
           patch_check(&patch, &definition, fault) &&
           patch_apply(&patch, slice_from_text(stored), arena, item, fault);
}

static void assert_patched(const char *body, const char *stored, const char *expected)
{
    struct arena arena;
    struct item item;
    struct fault fault;

    arena_init(&arena, 1 << 20);
    if (!patch_all(body, stored, &arena, &item, &fault))
        fail_msg("%s: %s", body, fault.message);
    if (!slice_equals_text(item.stored, expected))
        fail_msg("%s gave %.*s", body, (int) item.stored.len, item.stored.ptr);
    arena_finish(&arena);
}

static void assert_refused(const char *body, const char *stored, unsigned status, const char *why)
{
    struct arena arena;
    struct item item;
    struct fault fault;

    arena_init(&arena, 1 << 20);
    if (patch_all(body, stored, &arena, &item, &fault))
        fail_msg("%s was accepted", body);
    if (fault.status != status || strstr(fault.message, why) == NULL)
        fail_msg("%s: %u \"%s\", not %u \"%s\"", body, fault.status, fault.message, status, why);
    arena_finish(&arena);
}

static void refuses_malformed_bodies(void **state)
{
    static const char *const cases[][2] = {
        {"", "truncated"},
        {"1", "array or an object"},
        {"[]", "no operations"},
        {"{}", "no operations"},
        {"{\"operations\":[]}", "no operations"},
        {"{\"operations\":{}}", "must be an array"},
        {"{\"operations\":[{\"op\":\"remove\",\"path\":\"/a\"}],\"Condition\":\"x\"}",
         "unknown member"},
        {"{\"operations\":[{\"op\":\"remove\",\"path\":\"/a\"}],\"condition\":1}",
         "must be a string"},
        {"[1]", "must be a JSON object"},
        {"[{\"path\":\"/a\",\"value\":1}]", "no \"op\""},
        {"[{\"op\":\"test\",\"path\":\"/a\",\"value\":1}]", "none of add"},
        {"[{\"op\":1,\"path\":\"/a\",\"value\":1}]", "none of add"},
        {"[{\"op\":\"add\",\"value\":1}]", "no \"path\""},
        {"[{\"op\":\"add\",\"path\":1,\"value\":1}]", "must be a string"},
        {"[{\"op\":\"add\",\"path\":\"\",\"value\":1}]", "does not begin"},
        {"[{\"op\":\"add\",\"path\":\"a\",\"value\":1}]", "does not begin"},
        {"[{\"op\":\"add\",\"path\":\"/a~\",\"value\":1}]", "without 0 or 1"},
        {"[{\"op\":\"add\",\"path\":\"/a~2\",\"value\":1}]", "without 0 or 1"},
        {"[{\"op\":\"add\",\"path\":\"/a\"}]", "no \"value\""},
        {"[{\"op\":\"add\",\"path\":\"/a\",\"valu\":1}]", "unknown member"},
        {"[{\"op\":\"incr\",\"path\":\"/a\",\"value\":\"1\"}]", "no number"},
        {"[{\"op\":\"move\",\"path\":\"/a\"}]", "no \"from\""},
        {"[{\"op\":\"move\",\"from\":\"/a\",\"path\":\"/a/b\"}]", "into itself"},
        {"[{\"op\":\"add\",\"path\":\"/a\",\"value\":1,\"value\":2}]", "twice"},
    };

    (void) state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_refused(cases[i][0], "{\"id\":\"x\",\"a\":1}", 400, cases[i][1]);
}

static void refuses_more_than_ten_operations(void **state)
{
    struct buf body = {0};

    (void) state;
    buf_append_char(&body, '[');
    for (int i = 0; i < 10; i++)
        buf_append_text(&body, "{\"op\":\"incr\",\"path\":\"/n\",\"value\":1},");
    body.ptr[body.len - 1] = ']';
    assert_patched(buf_text(&body), "{\"id\":\"x\",\"n\":5}", "{\"id\":\"x\",\"n\":15}");
    body.ptr[body.len - 1] = ',';
    buf_append_text(&body, "{\"op\":\"incr\",\"path\":\"/n\",\"value\":1}]");
    assert_refused(buf_text(&body), "{\"id\":\"x\",\"n\":5}", 400, "more than 10");
    body.len = 0;
    buf_append_text(&body, "[{\"op\":\"remove\",\"path\":\"");
    for (int i = 0; i < 129; i++)
        buf_append_text(&body, "/a");
    buf_append_text(&body, "\"}]");
    assert_refused(buf_text(&body), "{\"id\":\"x\"}", 400, "more than 128 segments");
    buf_finish(&body);
}

static void refuses_places_that_are_not_the_clients(void **state)
{
    const char *const paths[] = {"/id",    "/_ts",          "/_rid",  "/_self",
                                 "/_etag", "/_attachments", "/id/a",  "/pk",
                                 "/pk/in", "/pk/in/deep",   "/_ts/a", "/_attachments/0"};
    char body[200];

    (void) state;
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        snprintf(body, sizeof(body), "[{\"op\":\"set\",\"path\":\"%s\",\"value\":1}]", paths[i]);
        assert_refused(body, "{\"id\":\"x\"}", 400, "cannot be patched");
        snprintf(body, sizeof(body), "[{\"op\":\"move\",\"from\":\"%s\",\"path\":\"/z\"}]",
                 paths[i]);
        assert_refused(body, "{\"id\":\"x\"}", 400, "cannot be patched");
        snprintf(body, sizeof(body), "[{\"op\":\"move\",\"from\":\"/z\",\"path\":\"%s\"}]",
                 paths[i]);
        assert_refused(body, "{\"id\":\"x\"}", 400, "cannot be patched");
    }
    assert_patched("[{\"op\":\"set\",\"path\":\"/pk/out\",\"value\":1},{\"op\":\"set\",\"path\":\"/"
                   "a/id\",\"value\":2}]",
                   "{\"id\":\"x\",\"pk\":{\"in\":1},\"a\":{}}",
                   "{\"id\":\"x\",\"pk\":{\"in\":1,\"out\":1},\"a\":{\"id\":2}}");
}

static void refuses_places_that_do_not_exist(void **state)
{
    static const char *const cases[][2] = {
        {"[{\"op\":\"add\",\"path\":\"/n/a\",\"value\":1}]", "neither an object nor an array"},
        {"[{\"op\":\"add\",\"path\":\"/q/a\",\"value\":1}]", "no parent"},
        {"[{\"op\":\"add\",\"path\":\"/l/4\",\"value\":1}]", "no such place"},
        {"[{\"op\":\"add\",\"path\":\"/l/x\",\"value\":1}]", "no such place"},
        {"[{\"op\":\"add\",\"path\":\"/l/01\",\"value\":1}]", "no such place"},
        {"[{\"op\":\"add\",\"path\":\"/l/-1\",\"value\":1}]", "no such place"},
        {"[{\"op\":\"add\",\"path\":\"/l/\",\"value\":1}]", "no such place"},
        {"[{\"op\":\"add\",\"path\":\"/l/99999999999999999999\",\"value\":1}]", "no such place"},
        {"[{\"op\":\"add\",\"path\":\"/l/-/a\",\"value\":1}]", "no parent"},
        {"[{\"op\":\"add\",\"path\":\"/l/3/a\",\"value\":1}]", "no parent"},
        {"[{\"op\":\"set\",\"path\":\"/l/4\",\"value\":1}]", "no such place"},
        {"[{\"op\":\"replace\",\"path\":\"/q\",\"value\":1}]", "nothing at \"/q\""},
        {"[{\"op\":\"replace\",\"path\":\"/l/3\",\"value\":1}]", "nothing"},
        {"[{\"op\":\"replace\",\"path\":\"/l/-\",\"value\":1}]", "nothing"},
        {"[{\"op\":\"remove\",\"path\":\"/q\"}]", "nothing"},
        {"[{\"op\":\"remove\",\"path\":\"/l/-\"}]", "nothing"},
        {"[{\"op\":\"remove\",\"path\":\"/n\"},{\"op\":\"remove\",\"path\":\"/n\"}]",
         "operation 1"},
        {"[{\"op\":\"incr\",\"path\":\"/l/3\",\"value\":1}]", "nothing"},
        {"[{\"op\":\"incr\",\"path\":\"/l\",\"value\":1}]", "no number"},
        {"[{\"op\":\"incr\",\"path\":\"/s\",\"value\":1}]", "no number"},
        {"[{\"op\":\"move\",\"from\":\"/q\",\"path\":\"/n\"}]", "nothing at \"/q\""},
        {"[{\"op\":\"move\",\"from\":\"/n\",\"path\":\"/q/a\"}]", "no parent"},
    };

    (void) state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_refused(cases[i][0], "{\"id\":\"x\",\"n\":1,\"l\":[1,2,3],\"s\":\"1\"}", 400,
                       cases[i][1]);
}

static void keeps_all_other_bytes(void **state)
{
    static const char *const cases[][3] = {
        /* members */
        {"[{\"op\":\"add\",\"path\":\"/b\",\"value\": [1.0, 2] }]",
         "{ \"id\" : \"x\" , \"n\" : 1.00 }", "{ \"id\" : \"x\" , \"n\" : 1.00,\"b\":[1.0, 2] }"},
        {"[{\"op\":\"add\",\"path\":\"/n\",\"value\":2}]",
         "{ \"id\" : \"x\" , \"n\" : 1.00 , \"z\":1e2}",
         "{ \"id\" : \"x\" , \"n\" : 2 , \"z\":1e2}"},
        {"[{\"op\":\"set\",\"path\":\"/o/k\",\"value\":2}]", "{\"id\":\"x\",\"o\":{ }}",
         "{\"id\":\"x\",\"o\":{\"k\":2 }}"},
        {"[{\"op\":\"set\",\"path\":\"/\\u00e9\\\"/\",\"value\":2}]",
         "{\"id\":\"x\",\"\\u00E9\\\"\":{}}", "{\"id\":\"x\",\"\\u00E9\\\"\":{\"\":2}}"},
        {"[{\"op\":\"set\",\"path\":\"/a~1b~0c~01\",\"value\":2}]", "{\"id\":\"x\"}",
         "{\"id\":\"x\",\"a/b~c~1\":2}"},
        {"[{\"op\":\"set\",\"path\":\"/q\\\"\\n\",\"value\":2}]", "{\"id\":\"x\"}",
         "{\"id\":\"x\",\"q\\\"\\n\":2}"},
        {"[{\"op\":\"replace\",\"path\":\"/o/k\",\"value\":null}]",
         "{\"id\":\"x\",\"o\":{\"j\":[{}],\"k\":{\"a\":1},\"l\":0}}",
         "{\"id\":\"x\",\"o\":{\"j\":[{}],\"k\":null,\"l\":0}}"},
        {"[{\"op\":\"remove\",\"path\":\"/a\"}]", "{ \"a\" : 1 , \"id\":\"x\"}", "{ \"id\":\"x\"}"},
        {"[{\"op\":\"remove\",\"path\":\"/a\"}]", "{\"id\":\"x\" , \"a\" : 1 , \"b\":2}",
         "{\"id\":\"x\" , \"b\":2}"},
        {"[{\"op\":\"remove\",\"path\":\"/a\"}]", "{\"id\":\"x\" , \"a\" : 1 }", "{\"id\":\"x\" }"},
        {"[{\"op\":\"remove\",\"path\":\"/a/b\"}]", "{\"id\":\"x\",\"a\":{\"b\":1}}",
         "{\"id\":\"x\",\"a\":{}}"},
        /* elements */
        {"[{\"op\":\"add\",\"path\":\"/l/0\",\"value\":9}]", "{\"id\":\"x\",\"l\":[ 1, 2]}",
         "{\"id\":\"x\",\"l\":[ 9,1, 2]}"},
        {"[{\"op\":\"add\",\"path\":\"/l/2\",\"value\":9}]", "{\"id\":\"x\",\"l\":[ 1, 2 ]}",
         "{\"id\":\"x\",\"l\":[ 1, 2,9 ]}"},
        {"[{\"op\":\"add\",\"path\":\"/l/-\",\"value\":9}]", "{\"id\":\"x\",\"l\":[]}",
         "{\"id\":\"x\",\"l\":[9]}"},
        {"[{\"op\":\"set\",\"path\":\"/l/-\",\"value\":9}]", "{\"id\":\"x\",\"l\":[1]}",
         "{\"id\":\"x\",\"l\":[1,9]}"},
        {"[{\"op\":\"set\",\"path\":\"/l/0\",\"value\":9}]", "{\"id\":\"x\",\"l\":[1,2]}",
         "{\"id\":\"x\",\"l\":[9,2]}"},
        {"[{\"op\":\"replace\",\"path\":\"/l/1/a\",\"value\":9}]",
         "{\"id\":\"x\",\"l\":[1,{\"a\":[2]}]}", "{\"id\":\"x\",\"l\":[1,{\"a\":9}]}"},
        {"[{\"op\":\"remove\",\"path\":\"/l/0\"}]", "{\"id\":\"x\",\"l\":[ 1 , 2 ]}",
         "{\"id\":\"x\",\"l\":[ 2 ]}"},
        {"[{\"op\":\"remove\",\"path\":\"/l/1\"}]", "{\"id\":\"x\",\"l\":[ 1 , 2 ]}",
         "{\"id\":\"x\",\"l\":[ 1 ]}"},
        {"[{\"op\":\"remove\",\"path\":\"/l/0\"}]", "{\"id\":\"x\",\"l\":[[1,2]]}",
         "{\"id\":\"x\",\"l\":[]}"},
        {"[{\"op\":\"add\",\"path\":\"/o/0\",\"value\":9}]", "{\"id\":\"x\",\"o\":{}}",
         "{\"id\":\"x\",\"o\":{\"0\":9}}"},
        /* moves */
        {"[{\"op\":\"move\",\"from\":\"/a\",\"path\":\"/b\"}]", "{\"a\":{\"k\":1.0},\"id\":\"x\"}",
         "{\"id\":\"x\",\"b\":{\"k\":1.0}}"},
        {"[{\"op\":\"move\",\"from\":\"/a\",\"path\":\"/b\"}]", "{\"a\":1,\"id\":\"x\",\"b\":2}",
         "{\"id\":\"x\",\"b\":1}"},
        {"[{\"op\":\"move\",\"from\":\"/l/0\",\"path\":\"/l/2\"}]", "{\"id\":\"x\",\"l\":[1,2,3]}",
         "{\"id\":\"x\",\"l\":[2,3,1]}"},
        {"[{\"op\":\"move\",\"from\":\"/l/2\",\"path\":\"/l/0\"}]", "{\"id\":\"x\",\"l\":[1,2,3]}",
         "{\"id\":\"x\",\"l\":[3,1,2]}"},
        {"[{\"op\":\"move\",\"from\":\"/o/a\",\"path\":\"/o\"}]",
         "{\"id\":\"x\",\"o\":{\"a\":1,\"b\":2}}", "{\"id\":\"x\",\"o\":1}"},
        {"[{\"op\":\"move\",\"from\":\"/a\",\"path\":\"/a\"}]", "{\"a\":1,\"id\":\"x\"}",
         "{\"a\":1,\"id\":\"x\"}"},
        /* in order, each on the text that the one before left */
        {"{\"condition\":null,\"operations\":[{\"op\":\"add\",\"path\":\"/"
         "o\",\"value\":{}},{\"op\":\"add\",\"path\":\"/o/l\",\"value\":[]},"
         "{\"op\":\"add\",\"path\":\"/o/l/0\",\"value\":1},{\"op\":\"incr\",\"path\":\"/o/l/"
         "0\",\"value\":2},{\"op\":\"remove\",\"path\":\"/n\",\"from\":null}]}",
         "{\"id\":\"x\",\"n\":1}", "{\"id\":\"x\",\"o\":{\"l\":[3]}}"},
    };

    (void) state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_patched(cases[i][0], cases[i][1], cases[i][2]);
}

static void assert_sum(const char *old, const char *by, const char *sum)
{
    char body[200], stored[200], expected[200];

    snprintf(body, sizeof(body), "[{\"op\":\"incr\",\"path\":\"/n\",\"value\":%s}]", by);
    snprintf(stored, sizeof(stored), "{\"id\":\"x\",\"n\":%s}", old);
    if (sum == NULL) {
        assert_refused(body, stored, 400, "no finite number");
        return;
    }
    snprintf(expected, sizeof(expected), "{\"id\":\"x\",\"n\":%s}", sum);
    assert_patched(body, stored, expected);
}

static void increments_exactly(void **state)
{
    (void) state;
    assert_sum("1e308", "1e308", NULL);
    assert_sum("-1e308", "-1e308", NULL);
    assert_sum("1", "-3", "-2");
    assert_sum("9007199254740992", "1", "9007199254740993");
    assert_sum("9223372036854775807", "1", "9223372036854776000"); /* 2^63, shortest */
    assert_sum("-9223372036854775808", "-1e0", "-9223372036854776000");
    assert_sum("1.0", "1", "2");
    assert_sum("0.1", "0.2", "0.30000000000000004");
    assert_sum("-0", "0", "0");
    assert_sum("1e300", "1", "1e+300");
    assert_patched("[{\"op\":\"incr\",\"path\":\"/n\",\"value\":1.50}]", "{\"id\":\"x\"}",
                   "{\"id\":\"x\",\"n\":1.50}");
}

static void refuses_results_that_are_no_items(void **state)
{
    struct buf body = {0}, stored = {0};

    (void) state;
    assert_refused("[{\"op\":\"set\",\"path\":\"/ttl\",\"value\":0}]", "{\"id\":\"x\"}", 400,
                   "'ttl'");
    buf_append_text(&body, "[{\"op\":\"set\",\"path\":\"/a\",\"value\":");
    for (int i = 0; i < 128; i++)
        buf_append_char(&body, '[');
    for (int i = 0; i < 128; i++)
        buf_append_char(&body, ']');
    buf_append_text(&body, "}]");
    assert_refused(buf_text(&body), "{\"id\":\"x\"}", 400, "nested deeper than 128");
    body.len = 0;
    buf_append_text(&body, "[{\"op\":\"set\",\"path\":\"/a\",\"value\":\"");
    for (int i = 0; i < ITEM_BYTES_MAX / 2; i++)
        buf_append_char(&body, 'a');
    buf_append_text(&body, "\"}]");
    buf_append_text(&stored, "{\"id\":\"x\",\"b\":\"");
    for (int i = 0; i < ITEM_BYTES_MAX / 2; i++)
        buf_append_char(&stored, 'b');
    buf_append_text(&stored, "\"}");
    assert_refused(buf_text(&body), buf_text(&stored), 413, "more than 2097152");
    buf_finish(&body);
    buf_finish(&stored);
}

static void returns_the_condition_decoded(void **state)
{
    struct arena arena;
    struct patch patch;
    struct fault fault;

    (void) state;
    arena_init(&arena, 65536);
    assert_true(patch_parse(
        SLICE_LITERAL("{\"condition\":\"from c where c.a = "
                      "\\\"\\u00e9\\\"\",\"operations\":[{\"op\":\"remove\",\"path\":\"/a\"}]}"),
        &arena, &patch, &fault));
    assert_true(slice_equals_text(patch.condition, "from c where c.a = \"\xc3\xa9\""));
    assert_true(patch_parse(SLICE_LITERAL("[{\"op\":\"remove\",\"path\":\"/a\"}]"), &arena, &patch,
                            &fault));
    assert_true(slice_is_absent(patch.condition));
    arena_finish(&arena);
}

static void reports_exhausted_memory(void **state)
{
    const char *body = "[{\"op\":\"set\",\"path\":\"/a~0\",\"value\":1}]";
    struct arena arena;
    struct item item;
    struct fault fault;
    size_t refused = 0;

    (void) state;
    for (size_t limit = 0; limit < 9000; limit += 64) {
        arena_init(&arena, limit);
        if (!patch_all(body, "{\"id\":\"\\u0061\"}", &arena, &item, &fault)) {
            assert_int_equal(fault.status, 503);
            refused++;
        }
        arena_finish(&arena);
    }
    assert_true(refused > 10 && refused < 140);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_malformed_bodies),
        cmocka_unit_test(refuses_more_than_ten_operations),
        cmocka_unit_test(refuses_places_that_are_not_the_clients),
        cmocka_unit_test(refuses_places_that_do_not_exist),
        cmocka_unit_test(keeps_all_other_bytes),
        cmocka_unit_test(increments_exactly),
        cmocka_unit_test(refuses_results_that_are_no_items),
        cmocka_unit_test(returns_the_condition_decoded),
        cmocka_unit_test(reports_exhausted_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
