/* Positions in the change feed: their text, what is no such text, and how they move. */
#include "model/feed_position.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

static struct feed_etag etag;
static struct feed_position position;

static bool parse(const char *text)
{
    return feed_etag_parse(&etag, slice_from_text(text));
}

static void a_text_is_read_as_it_was_written(void **state)
{
    struct feed_position first = {
        .range = 3, .ordinal = 2, .seq = 28, .vector_len = 2, .vector = {20, 8}};
    struct feed_position second = {.range = 0, .ordinal = 1};
    struct buf text = {0};

    (void) state;
    feed_etag_begin(&text, SLICE_LITERAL("cExAAPd8ok8="), 3);
    feed_etag_append(&text, &first);
    feed_etag_append(&text, &second);
    feed_etag_end(&text);
    assert_string_equal(buf_text(&text), "\"1;cExAAPd8ok8=;3;3:2.28:20,8;0:1.0:0\"");
    assert_true(parse(buf_text(&text)));
    assert_true(slice_equals_text(etag.container, "cExAAPd8ok8="));
    assert_int_equal(etag.next, 3);
    assert_true(feed_etag_find(&etag, 3, &position));
    assert_int_equal(position.ordinal, 2);
    assert_int_equal(position.seq, 28);
    assert_int_equal(position.vector_len, 2);
    assert_int_equal(position.vector[1], 8);
    assert_true(feed_etag_find(&etag, 0, &position));
    assert_false(feed_etag_find(&etag, 1, &position));
    buf_finish(&text);
}

static void quotes_may_be_missing(void **state)
{
    (void) state;
    assert_true(parse(" 1;a;0;0:1.5:5 "));
    assert_true(parse("W/\"1;a;0;0:1.5:5\""));
    assert_true(parse("\"1;a;0\""));
    assert_false(feed_etag_find(&etag, 0, &position));
}

static void other_texts_are_refused(void **state)
{
    static const char *const texts[] = {
        "",
        "\"\"",
        "28",
        "\"28\"",
        "*",
        "2;a;0;0:1.5:5",
        "1",
        "1;a",
        "1;a;",
        "1;a;x",
        "1;a;0;",
        "1;a;0;0",
        "1;a;0;0:1",
        "1;a;0;0:1.5",
        "1;a;0;0:1.5:",
        "1;a;0;0:1.5:5,",
        "1;a;0;0:1.5:-5",
        "1;a;0;0:-1.5:5",
        "1;a;0;0:1.-5:5",
        "1;a;0;0:1.5:9223372036854775808",
        "1;a;0;0:1.5:5;",
        "1;a;0;4294967296:1.5:5",
    };

    (void) state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        if (parse(texts[i]))
            fail_msg("\"%s\" was read", texts[i]);
}

static void a_vector_grows_with_the_log(void **state)
{
    (void) state;
    position = (struct feed_position){.vector_len = 1, .vector = {5}};
    assert_true(feed_position_advance(&position, 3, 2));
    assert_int_equal(position.vector_len, 3);
    assert_int_equal(position.vector[1], 0);
    assert_int_equal(position.vector[2], 2);
    assert_true(feed_position_advance(&position, 1, 4)); /* relayed late: known already */
    assert_int_equal(position.vector[0], 5);
    assert_false(feed_position_advance(&position, 0, 1));
    assert_false(feed_position_advance(&position, FEED_ORIGINS_MAX + 1, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_text_is_read_as_it_was_written),
        cmocka_unit_test(quotes_may_be_missing),
        cmocka_unit_test(other_texts_are_refused),
        cmocka_unit_test(a_vector_grows_with_the_log),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
