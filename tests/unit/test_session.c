/* Session tokens: malformed ones, what they name, and when a range has reached it. */
#include "model/session.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

static struct arena arena;
static struct fault fault;
static struct session_token token;

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

static bool parse(const char *header)
{
    return session_parse(&token, slice_from_text(header), &arena, &fault);
}

static void malformed_tokens_are_refused(void **state)
{
    static const char *const headers[] = {
        "",
        " ",
        ",",
        "0",
        ":",
        "0:",
        ":5",
        "0:5,",
        ",0:5",
        "0:5,,1:5",
        "a:5",
        "0:a",
        "-1:5",
        "0:5:6",
        "0:1#",
        "0:#5",
        "0:1#2#",
        "0:1#2#3",
        "0:1#2#3=",
        "0:1#2#=4",
        "0:1#2#3=4#",
        "0:1#2##3=4",
        "0:1#2#3=4=5",
        "0:1#2#3=-4",
        "0:-2#5",
        "0:1 #2",
        "0x0:1",
        "0:1#2#a=4",
        "0:1#-2",
        "0:9223372036854775808",
        "0:1#9223372036854775808",
        "4294967296:1",
        "0:1#2#4294967296=1",
        "0:99999999999999999999#1",
    };

    (void) state;
    for (size_t i = 0; i < ARRAY_LEN(headers); i++) {
        fault = (struct fault){0};
        if (parse(headers[i]))
            fail_msg("accepted: %s", headers[i]);
        assert_int_equal(fault.status, 400);
    }
    assert_false(session_parse(&token, slice_make(NULL, 0), &arena, &fault));
}

static void long_tokens_are_refused(void **state)
{
    struct buf buf = {0};

    (void) state;
    for (unsigned i = 0; i < SESSION_PARTS_MAX; i++)
        buf_printf(&buf, "%s%u:5", i > 0 ? "," : "", SESSION_PARTS_MAX - 1 - i);
    assert_true(buf.len <= SESSION_HEADER_BYTES_MAX);
    assert_true(session_parse(&token, buf_slice(&buf), &arena, &fault));
    assert_int_equal(token.count, SESSION_PARTS_MAX);
    assert_int_equal(token.parts[17].range, 17);
    buf_append_text(&buf, ",7:5");
    assert_false(session_parse(&token, buf_slice(&buf), &arena, &fault));
    buf.len = 0;
    buf_append_text(&buf, "0:1#1");
    for (unsigned i = 0; i < SESSION_ORIGINS_MAX; i++)
        buf_printf(&buf, "#%u=5", i + 1);
    assert_true(session_parse(&token, buf_slice(&buf), &arena, &fault));
    buf_append_text(&buf, "#99=5");
    assert_false(session_parse(&token, buf_slice(&buf), &arena, &fault));
    buf_finish(&buf);
}

static void all_forms_are_read(void **state)
{
    const struct session_part *part;

    (void) state;
    if (!parse("1:-1#5, 0:257#12#1=5#2=7,3:9,3:10"))
        fail_msg("%s", fault.message);
    assert_int_equal(session_find(&token, 0, &part), 1);
    assert_true(part->version == 257 && part->global_lsn == 12);
    assert_int_equal(part->origin_count, 2);
    assert_int_equal(part->origins[1].ordinal, 2);
    assert_true(part->origins[1].lsn == 7);
    assert_int_equal(session_find(&token, 1, &part), 1);
    assert_true(part->version == SESSION_NO_VERSION && part->global_lsn == 5);
    assert_int_equal(session_find(&token, 2, &part), 0);
    assert_null(part);
    assert_int_equal(session_find(&token, 3, &part), 2);
    assert_true(part->global_lsn == 9);
}

static const uint32_t live12[] = {1, 2};
static const int64_t vector57[] = {5, 7};

static void versions_and_components_decide(void **state)
{
    const struct session_state here = {
        .epoch = 257, .live_count = 2, .live = live12, .vector_count = 2, .vector = vector57};
    static const struct {
        const char *token;
        enum session_verdict verdict;
    } cases[] = {
        {"0:513#0#1=0#2=0", SESSION_BEHIND_EPOCH},
        {"0:257#12#1=6#2=7", SESSION_BEHIND},
        {"0:257#12#1=5#2=8", SESSION_BEHIND},
        {"0:257#12#1=5#2=7#3=1", SESSION_BEHIND},
        {"0:257#12#0=1", SESSION_BEHIND},
        {"0:256#12#1=6", SESSION_BEHIND},
        {"0:-1#13", SESSION_BEHIND},
        {"0:13", SESSION_BEHIND},
        {"0:257#12#1=5#2=7", SESSION_SATISFIED},
        {"0:257#999#1=5#2=7", SESSION_SATISFIED}, /* the sum of a client's merge is ignored */
        {"0:257#12#1=5#2=7#3=0", SESSION_SATISFIED},
        {"0:256#12#1=5", SESSION_SATISFIED},
        {"0:-1#12", SESSION_SATISFIED},
        {"0:12", SESSION_SATISFIED},
        {"0:-1#-1", SESSION_SATISFIED},
        {"7:513#9#1=9", SESSION_SATISFIED}, /* another range */
        {"0:257#1#1=1,0:257#12#1=6", SESSION_BEHIND},
        {"0:513#1#1=1,0:257#1#1=1", SESSION_BEHIND_EPOCH},
    };

    (void) state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_true(parse(cases[i].token));
        if (session_check(&token, 0, NULL, 0, &here) != cases[i].verdict)
            fail_msg("%s", cases[i].token);
    }
}

/* Region 1 was given up at LSN 5 under epoch 514 (counter 2, proposer 2); 3 left without a cut. */
static void retired_origins_are_clamped_to_their_cut(void **state)
{
    static const uint32_t live[] = {2};
    static const struct session_origin cuts[] = {{1, 5}};
    const struct session_state here = {.epoch = 514,
                                       .live_count = 1,
                                       .live = live,
                                       .vector_count = 2,
                                       .vector = vector57,
                                       .cut_count = 1,
                                       .cuts = cuts};
    struct session_lost lost[4];

    (void) state;
    assert_true(parse("0:257#9#1=9#2=7"));
    assert_int_equal(session_check(&token, 0, NULL, 0, &here), SESSION_SATISFIED);
    assert_int_equal(session_losses(&token.parts[0], &here, lost, ARRAY_LEN(lost)), 1);
    assert_true(lost[0].ordinal == 1 && lost[0].from == 5 && lost[0].to == 9);
    assert_int_equal(session_losses(&token.parts[0], &here, lost, 0), 0);
    assert_true(parse("0:257#9#1=9#2=8")); /* a live origin is never clamped */
    assert_int_equal(session_check(&token, 0, NULL, 0, &here), SESSION_BEHIND);
    assert_true(parse("0:257#9#1=4#3=1"));
    assert_int_equal(session_check(&token, 0, NULL, 0, &here), SESSION_BEHIND);
    assert_int_equal(session_losses(&token.parts[0], &here, lost, ARRAY_LEN(lost)), 0);
    assert_true(parse("0:514#9#1=9#2=7")); /* under the own epoch all components count */
    assert_int_equal(session_check(&token, 0, NULL, 0, &here), SESSION_BEHIND);
}

static void parents_speak_for_children_that_have_no_token(void **state)
{
    static const uint32_t parents[] = {0, 3};
    const struct session_state here = {
        .epoch = 257, .live_count = 2, .live = live12, .vector_count = 2, .vector = vector57};

    (void) state;
    assert_true(parse("0:257#13#1=6#2=7"));
    assert_int_equal(session_check(&token, 5, parents, 2, &here), SESSION_BEHIND);
    assert_int_equal(session_check(&token, 5, parents, 0, &here), SESSION_SATISFIED);
    assert_true(parse("0:257#13#1=6#2=7,5:257#12#1=5#2=7"));
    assert_int_equal(session_check(&token, 5, parents, 2, &here), SESSION_SATISFIED);
}

static void tokens_are_printed_with_every_live_origin(void **state)
{
    static const uint32_t live[] = {1, 3};
    const struct session_state here = {
        .epoch = 257, .live_count = 2, .live = live, .vector_count = 2, .vector = vector57};
    struct buf buf = {0};

    (void) state;
    session_append(&buf, 4, &here);
    assert_string_equal(buf_text(&buf), "4:257#12#1=5#3=0");
    assert_true(session_parse(&token, buf_slice(&buf), &arena, &fault));
    assert_int_equal(session_check(&token, 4, NULL, 0, &here), SESSION_SATISFIED);
    buf_finish(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(malformed_tokens_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(long_tokens_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(all_forms_are_read, setup, teardown),
        cmocka_unit_test_setup_teardown(versions_and_components_decide, setup, teardown),
        cmocka_unit_test_setup_teardown(retired_origins_are_clamped_to_their_cut, setup, teardown),
        cmocka_unit_test_setup_teardown(parents_speak_for_children_that_have_no_token, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(tokens_are_printed_with_every_live_origin, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
