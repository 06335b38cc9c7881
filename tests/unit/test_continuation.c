/* Continuations of feeds and queries. */
#include "query/continuation.h"
#include "base/crypto.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

static struct arena arena;
static struct keys keys;

static int begin(void **state)
{
    (void) state;
    arena_init(&arena, 1 << 20);
    keys = (struct keys){0};
    keys.key[KEY_PRIMARY].len = keys.key[KEY_SECONDARY].len = KEY_BYTES_MIN;
    memset(keys.key[KEY_PRIMARY].bytes, 1, KEY_BYTES_MIN);
    memset(keys.key[KEY_SECONDARY].bytes, 2, KEY_BYTES_MIN);
    return 0;
}

static int end(void **state)
{
    (void) state;
    arena_finish(&arena);
    return 0;
}

static struct continuation sample(void)
{
    return (struct continuation){.kind = CONTINUATION_ORDERED,
                                 .container = UINT32_MAX,
                                 .question = {1, 2, 3},
                                 .skip = 300,
                                 .take = CONTINUATION_ALL,
                                 .range = 4095,
                                 .rid = UINT64_MAX,
                                 .row = 127,
                                 .state = SLICE_LITERAL("state\0of it")};
}

static bool reads(const char *text, struct continuation *found)
{
    return continuation_parse(found, slice_from_text(text), &keys, &arena);
}

static void a_text_that_is_none_is_refused(void **state)
{
    static const char *const texts[] = {
        "", "=", "====", "A", "AAAA", "AQEB", "1.2.3", "A===", "\x80\x80\x80\x80"};
    struct continuation found;

    (void) state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        assert_false(reads(texts[i], &found));
}

static void every_changed_character_is_noticed(void **state)
{
    struct continuation given = sample(), found;
    const char *text = continuation_print(&given, &keys, &arena);

    (void) state;
    for (size_t i = 0; text[i] != '\0'; i++) {
        char *changed = arena_copy(&arena, text, strlen(text));
        changed[i] = changed[i] == 'A' ? 'B' : 'A';
        assert_false(reads(changed, &found));
        assert_false(continuation_parse(&found, slice_make(text, i), &keys, &arena));
    }
}

static void what_was_printed_is_read(void **state)
{
    struct continuation given = sample(), found;

    (void) state;
    assert_true(reads(continuation_print(&given, &keys, &arena), &found));
    assert_int_equal(found.kind, given.kind);
    assert_int_equal(found.container, given.container);
    assert_memory_equal(found.question, given.question, sizeof(given.question));
    assert_true(found.skip == 300 && found.take == CONTINUATION_ALL && found.range == 4095 &&
                found.rid == UINT64_MAX && found.row == 127);
    assert_true(slice_equals(found.state, given.state));

    given = (struct continuation){.kind = CONTINUATION_FEED, .take = 0};
    assert_true(reads(continuation_print(&given, &keys, &arena), &found));
    assert_true(found.take == 0 && found.skip == 0 && slice_is_empty(found.state));
}

static void both_keys_of_the_account_are_good(void **state)
{
    struct continuation given = sample(), found;
    const char *text = continuation_print(&given, &keys, &arena);

    (void) state;
    keys.key[KEY_SECONDARY] = keys.key[KEY_PRIMARY];
    memset(keys.key[KEY_PRIMARY].bytes, 3, KEY_BYTES_MIN);
    assert_true(reads(text, &found));
    keys.key[KEY_SECONDARY].len = 0;
    assert_false(reads(text, &found));
}

static void it_is_never_longer_than_was_told(void **state)
{
    char bytes[700] = {0};

    (void) state;
    for (size_t len = 0; len <= sizeof(bytes); len++) {
        struct continuation given = sample();
        given.take = UINT64_MAX - 1;
        given.skip = given.row = UINT64_MAX;
        given.range = UINT32_MAX;
        given.state = slice_make(bytes, len);
        const char *text = continuation_print(&given, &keys, &arena);
        assert_true(strlen(text) <= continuation_text_max(len));
        for (const char *at = text; *at != '\0'; at++)
            assert_true(*at > ' ' && *at < 0x7f && *at != '"' && *at != '\\');
    }
}

static void memory_may_run_out(void **state)
{
    struct continuation given = sample();
    struct arena small;

    (void) state;
    arena_init(&small, 16);
    assert_null(continuation_print(&given, &keys, &small));
    const char *text = continuation_print(&given, &keys, &arena);
    assert_false(continuation_parse(&given, slice_from_text(text), &keys, &small));
    arena_finish(&small);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_text_that_is_none_is_refused, begin, end),
        cmocka_unit_test_setup_teardown(every_changed_character_is_noticed, begin, end),
        cmocka_unit_test_setup_teardown(what_was_printed_is_read, begin, end),
        cmocka_unit_test_setup_teardown(both_keys_of_the_account_are_good, begin, end),
        cmocka_unit_test_setup_teardown(it_is_never_longer_than_was_told, begin, end),
        cmocka_unit_test_setup_teardown(memory_may_run_out, begin, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
