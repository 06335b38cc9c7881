/* Query text to tokens. */
#include "query/lexer.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

struct fixture {
    struct arena arena;
    struct lexer lexer;
    struct token token;
    struct fault fault;
};

static void begin(struct fixture *f, const char *text)
{
    *f = (struct fixture){0};
    arena_init(&f->arena, 1 << 20);
    lexer_init(&f->lexer, &f->arena, slice_from_text(text));
}

static void next(struct fixture *f)
{
    if (!lexer_next(&f->lexer, &f->token, &f->fault))
        fail_msg("%s", f->fault.message);
}

static void refused(const char *text, const char *place)
{
    struct fixture f;

    begin(&f, text);
    while (lexer_next(&f.lexer, &f.token, &f.fault)) {
        if (f.token.kind == TOKEN_END)
            fail_msg("accepted: %s", text);
    }
    assert_int_equal(f.fault.status, 400);
    assert_non_null(strstr(f.fault.message, "SC1001"));
    if (strstr(f.fault.message, place) == NULL)
        fail_msg("%s: %s", text, f.fault.message);
    arena_finish(&f.arena);
}

static void malformed_tokens_are_refused_where_they_stand(void **state)
{
    (void) state;
    refused("c.id = 'abc", "\"start\":7,\"end\":11");
    refused("'a\\", "\"start\":0");
    refused("'a\\'", "\"start\":0");
    refused("'a\\x'", "\"start\":0");
    refused("'\\u12'", "\"start\":0");
    refused("'\\u12g4'", "\"start\":0");
    refused("'a\nb'", "\"start\":0");
    refused("\"a'", "\"start\":0");
    refused("1 /* never closed", "\"start\":2");
    refused("1 /*/", "\"start\":2");
    refused("12a", "\"start\":0,\"end\":3");
    refused("1e5x", "\"start\":0");
    refused("0.E", "\"start\":0");
    refused("1e+", "\"start\":0");
    refused("0x", "\"start\":0");
    refused("0x1G", "\"start\":0");
    refused("@", "\"start\":0,\"end\":1");
    refused("@1", "\"start\":0");
    refused("1 ! 2", "\"start\":2,\"end\":3");
    refused("a $ b", "near '$'");
    refused("a # b", "near '#'");
    refused("`", "\"start\":0");
    refused("\xc3\xa4", "\"start\":0,\"end\":1"); /* ä: one code unit */
    refused("'\xf0\x9f\x98\x80' ;", "\"start\":5,\"end\":6");
}

/* No stored document can hold U+0000, and UTF-8 cannot hold half a pair. */
static void characters_that_no_document_holds_are_refused(void **state)
{
    (void) state;
    refused("'\\u0000'", "\"start\":0");
    refused("'\\ud83d'", "\"start\":0");
    refused("'\\ude00'", "\"start\":0");
    refused("'\\ud83d\\ud83d'", "\"start\":0");
    refused("'\\ud83dx'", "\"start\":0");
}

static void a_nul_byte_is_no_end(void **state)
{
    struct fixture f;

    (void) state;
    begin(&f, "");
    lexer_init(&f.lexer, &f.arena, slice_make("a\0b", 3));
    next(&f);
    assert_false(lexer_next(&f.lexer, &f.token, &f.fault));
    lexer_init(&f.lexer, &f.arena, slice_make("'a\0b'", 5));
    assert_false(lexer_next(&f.lexer, &f.token, &f.fault));
    arena_finish(&f.arena);
}

static void the_end_repeats(void **state)
{
    struct fixture f;

    (void) state;
    begin(&f, " \t\r\n -- only a comment");
    for (int i = 0; i < 3; i++) {
        next(&f);
        assert_int_equal(f.token.kind, TOKEN_END);
        assert_int_equal(f.token.span.start, 22);
        assert_int_equal(f.token.span.end, 22);
    }
    arena_finish(&f.arena);
}

static void number_is(const char *text, double value)
{
    struct fixture f;

    begin(&f, text);
    next(&f);
    assert_int_equal(f.token.kind, TOKEN_NUMBER);
    assert_true(f.token.number == value);
    assert_int_equal(f.token.span.end, strlen(text));
    arena_finish(&f.arena);
}

static void numbers_are_doubles(void **state)
{
    (void) state;
    number_is("0", 0);
    number_is("1.", 1);
    number_is(".5", 0.5);
    number_is("1E2", 100);
    number_is("5e-1", 0.5);
    number_is("1.5e+3", 1500);
    number_is("0x1F", 31);
    number_is("0XfF", 255);
    number_is("9007199254740993", 9007199254740992.0);
    number_is("1e999", HUGE_VAL);
    number_is("007", 7);
}

static void string_is(const char *text, const char *value)
{
    struct fixture f;

    begin(&f, text);
    next(&f);
    assert_int_equal(f.token.kind, TOKEN_STRING);
    assert_string_equal(f.token.string.ptr, value);
    assert_int_equal(f.token.string.len, strlen(value));
    next(&f);
    assert_int_equal(f.token.kind, TOKEN_END);
    arena_finish(&f.arena);
}

static void strings_know_two_quotes_and_the_documented_escapes(void **state)
{
    (void) state;
    string_is("''", "");
    string_is("\"it's\"", "it's");
    string_is("'say \"hi\"'", "say \"hi\"");
    string_is("'it\\'s'", "it's");
    string_is("\"\\u0041\\n\\t\\\\\\/\\b\\f\\r\\\"\"", "A\n\t\\/\b\f\r\"");
    string_is("'\\ud83d\\ude00\\u00e9\\u20ac'", "\xf0\x9f\x98\x80\xc3\xa9\xe2\x82\xac");
    string_is("'gr\xc3\xb6\xc3\x9f"
              "e'",
              "gr\xc3\xb6\xc3\x9f"
              "e");
}

static void words_are_reserved_in_any_case(void **state)
{
    struct fixture f;

    (void) state;
    begin(&f, "sElEcT Selection value VALUES _x @P1 first");
    next(&f);
    assert_int_equal(f.token.kind, TOKEN_KEYWORD);
    assert_int_equal(f.token.keyword, KEYWORD_SELECT);
    next(&f);
    assert_int_equal(f.token.kind, TOKEN_NAME);
    next(&f);
    assert_int_equal(f.token.keyword, KEYWORD_VALUE);
    next(&f);
    assert_int_equal(f.token.kind, TOKEN_NAME);
    next(&f);
    assert_int_equal(f.token.kind, TOKEN_NAME);
    next(&f);
    assert_int_equal(f.token.kind, TOKEN_PARAMETER);
    assert_true(slice_equals_text(f.token.string, "@P1"));
    next(&f);
    assert_int_equal(f.token.kind, TOKEN_NAME);
    arena_finish(&f.arena);
}

static void the_longest_punctuation_wins(void **state)
{
    static const int expected[] = {
        '>',
        PUNCTUATION_SHIFT_RIGHT_ZERO,
        PUNCTUATION_SHIFT_RIGHT,
        PUNCTUATION_GREATER_EQUAL,
        '<',
        PUNCTUATION_SHIFT_LEFT,
        PUNCTUATION_LESS_EQUAL,
        PUNCTUATION_NOT_EQUAL,
        PUNCTUATION_NOT_EQUAL,
        PUNCTUATION_CONCAT,
        '|',
        PUNCTUATION_COALESCE,
        '?',
        '-',
        '/',
        '*',
    };
    struct fixture f;

    (void) state;
    begin(&f, "> >>> >> >= < << <= <> != || | ?? ? - / *");
    for (size_t i = 0; i < ARRAY_LEN(expected); i++) {
        next(&f);
        assert_int_equal(f.token.punctuation, expected[i]);
    }
    arena_finish(&f.arena);
}

static void comments_separate(void **state)
{
    struct fixture f;

    (void) state;
    begin(&f, "a--b\n/* c */d/**/-e");
    next(&f);
    assert_true(slice_equals_text(f.token.spelled, "a"));
    next(&f);
    assert_true(slice_equals_text(f.token.spelled, "d"));
    next(&f);
    assert_int_equal(f.token.punctuation, '-');
    next(&f);
    assert_true(slice_equals_text(f.token.spelled, "e"));
    arena_finish(&f.arena);
}

static void exhausted_memory_is_a_503(void **state)
{
    struct fixture f;

    (void) state;
    begin(&f, "'abc' 1");
    f.arena.max_bytes = 0;
    assert_false(lexer_next(&f.lexer, &f.token, &f.fault));
    assert_int_equal(f.fault.status, 503);
    arena_finish(&f.arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(malformed_tokens_are_refused_where_they_stand),
        cmocka_unit_test(characters_that_no_document_holds_are_refused),
        cmocka_unit_test(a_nul_byte_is_no_end),
        cmocka_unit_test(the_end_repeats),
        cmocka_unit_test(numbers_are_doubles),
        cmocka_unit_test(strings_know_two_quotes_and_the_documented_escapes),
        cmocka_unit_test(words_are_reserved_in_any_case),
        cmocka_unit_test(the_longest_punctuation_wins),
        cmocka_unit_test(comments_separate),
        cmocka_unit_test(exhausted_memory_is_a_503),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
