/* Messages between regions. tests/fuzz/fuzz_stream.c has the rest of the malformed ones. */
#include "regions/stream.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static const struct stream_hello hello = {
    .account = {"orrery", 6}, .ordinal = 2, .schema = 11, .epoch = 257};
static const int64_t vector[] = {9, 0, 7}, context[] = {4, 5};

static void put_entries(struct buf *payload, const struct stream_part *part, unsigned count,
                        struct slice body)
{
    struct stream_part_writer writer = stream_begin_part(payload, part, vector, 3, vector, 1);

    for (unsigned i = 0; i < count; i++) {
        struct stream_entry entry = {.seq = part->from + 1 + i,
                                     .lsn = 3,
                                     .epoch = 257,
                                     .rid = 77,
                                     .ts = 1000,
                                     .index = (int32_t) i,
                                     .op = 1 + i % 3,
                                     .origin = 1,
                                     .has_etag = true,
                                     .etag = {1, 2, 3},
                                     .has_ttl = i == 0,
                                     .ttl = -1,
                                     .has_rank = i == 1,
                                     .rank = -2.5,
                                     .has_context = i == 1,
                                     .pk = SLICE_LITERAL("p\0k"),
                                     .id = SLICE_LITERAL("i"),
                                     .body = i == 2 ? (struct slice){NULL, 0} : body};
        stream_put_entry(payload, &writer, &entry, context, 2);
    }
    stream_end_part(payload, &writer);
}

/* An answer of one part with three entries, and one without. */
static struct buf make_answer(struct slice body)
{
    struct stream_answer answer = {.hello = hello};
    struct stream_part part = {
        .range_id = 4096, .from = 10, .to = 14, .head = 20, .needs_origin = 1, .needs_lsn = 6};
    struct buf payload = {0}, message = {0};

    stream_put_answer(&payload, &answer);
    put_entries(&payload, &part, 3, body);
    part = (struct stream_part){.range_id = 8192, .from = 1, .to = 5, .head = 5};
    put_entries(&payload, &part, 0, body);
    stream_set_part_count(&payload, &answer, 2);
    assert_true(stream_seal(&message, STREAM_ANSWER, buf_slice(&payload)));
    buf_finish(&payload);
    return message;
}

static bool read_answer(struct slice message, struct stream_entry *entries)
{
    struct stream_answer answer;
    struct stream_part part = {0};
    struct stream_reader payload;
    struct buf unpacked = {0};
    struct fault fault = {0};
    bool is_whole = stream_open(message, STREAM_ANSWER, &unpacked, &payload, &fault) &&
                    stream_get_answer(&payload, &answer, &fault);

    for (uint32_t i = 0; is_whole && i < answer.count; i++) {
        is_whole = stream_get_part(&payload, &part, &fault);
        struct stream_reader reader = stream_entries(&part);
        for (uint32_t j = 0; is_whole && j < part.count; j++)
            is_whole = stream_get_entry(&reader, &entries[j % 3], &fault);
        is_whole = is_whole && stream_at_end(&reader, &fault);
    }
    is_whole = is_whole && stream_at_end(&payload, &fault);
    assert_true(is_whole || fault.status == 400);
    if (is_whole) {
        assert_int_equal(part.range_id, 8192);
        assert_int_equal(stream_vector_at(part.vector, 2), 7);
        assert_int_equal(stream_vector_at(part.vector, 3), 0);
        assert_int_equal(part.committed.count, 1);
    }
    buf_finish(&unpacked);
    return is_whole;
}

static void an_answer_reads_as_it_was_written(void **state)
{
    struct stream_entry entries[3];
    struct buf message = make_answer(SLICE_LITERAL("{}"));

    (void) state;
    assert_true(read_answer(buf_slice(&message), entries));
    assert_int_equal(entries[0].seq, 11);
    assert_int_equal(entries[0].ttl, -1);
    assert_false(entries[1].has_ttl);
    assert_true(entries[1].has_rank && entries[1].rank == -2.5);
    assert_int_equal(stream_vector_at(entries[1].context, 1), 5);
    assert_true(slice_equals(entries[1].pk, SLICE_LITERAL("p\0k")));
    assert_true(slice_equals(entries[1].body, SLICE_LITERAL("{}")));
    assert_true(slice_is_absent(entries[2].body));
    assert_int_equal(entries[2].etag[2], 3);
    buf_finish(&message);
}

static void what_is_cut_off_anywhere_is_refused(void **state)
{
    struct stream_entry entries[3];
    struct buf message = make_answer(SLICE_LITERAL("{}"));

    (void) state;
    for (size_t len = 0; len < message.len; len++) {
        struct buf cut = {0};
        buf_append(&cut, message.ptr, len);
        assert_false(read_answer(slice_make(len > 0 ? cut.ptr : "", len), entries));
        buf_finish(&cut);
    }
    buf_append_char(&message, 'x');
    assert_false(read_answer(buf_slice(&message), entries));
    buf_finish(&message);
}

static void large_messages_are_packed(void **state)
{
    size_t len = 100000;
    char *body = malloc(len);
    struct stream_entry entries[3];

    (void) state;
    memset(body, 'a', len);
    struct buf message = make_answer(slice_make(body, len));
    assert_in_range(message.len, 20, 20000);
    assert_true(read_answer(buf_slice(&message), entries));
    message.ptr[message.len / 2] ^= 1;
    (void) read_answer(buf_slice(&message), entries); /* whatever it says, within bounds */
    message.ptr[message.len / 2] ^= 1;
    message.ptr[6] ^= 1; /* its length */
    assert_false(read_answer(buf_slice(&message), entries));
    buf_finish(&message);
    free(body);
}

static void a_request_reads_as_it_was_written(void **state)
{
    struct stream_request request = {
        .hello = hello, .flags = STREAM_IS_FIRST, .declined = slice_make("\2\377", 2), .after = 5};
    struct buf payload = {0}, message = {0}, unpacked = {0};
    struct stream_reader reader;
    struct stream_want want;
    struct fault fault = {0};

    (void) state;
    stream_put_request(&payload, &request);
    stream_put_want(&payload, 0, STREAM_UNKNOWN, STREAM_NOT_NOW, vector, 3, vector, 1);
    stream_set_want_count(&payload, &request, 1);
    assert_true(stream_seal(&message, STREAM_REQUEST, buf_slice(&payload)));
    assert_false(stream_open(buf_slice(&message), STREAM_ANSWER, &unpacked, &reader, &fault));
    assert_true(stream_open(buf_slice(&message), STREAM_REQUEST, &unpacked, &reader, &fault));
    assert_true(stream_get_request(&reader, &request, &fault));
    assert_true(slice_equals_text(request.hello.account, "orrery"));
    assert_int_equal(request.count, 1);
    assert_int_equal(request.after, 5);
    assert_true(slice_equals_text(request.declined, "\2\377"));
    assert_true(stream_get_want(&reader, &want, &fault));
    assert_int_equal(want.held, STREAM_UNKNOWN);
    assert_int_equal(want.committed.count, 1);
    assert_true(want.received == STREAM_NOT_NOW);
    assert_true(stream_at_end(&reader, &fault));
    assert_false(stream_get_want(&reader, &want, &fault));
    buf_finish(&payload);
    buf_finish(&message);
    buf_finish(&unpacked);
}

static void regions_that_do_not_belong_together_are_named(void **state)
{
    struct stream_hello other = hello;
    struct fault fault = {0};

    (void) state;
    assert_false(stream_check_hello(&hello, &other, &fault));
    assert_int_equal(fault.status, 409);
    other.ordinal = 3;
    assert_true(stream_check_hello(&hello, &other, &fault));
    other.schema = 12;
    assert_false(stream_check_hello(&hello, &other, &fault));
    assert_string_equal(fault.message, "region 3 has schema version 12, region 2 has 11");
    other.account = SLICE_LITERAL("another");
    assert_false(stream_check_hello(&hello, &other, &fault));
    assert_string_equal(fault.message,
                        "region 3 is of account \"another\", region 2 of account \"orrery\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_reads_as_it_was_written),
        cmocka_unit_test(what_is_cut_off_anywhere_is_refused),
        cmocka_unit_test(large_messages_are_packed),
        cmocka_unit_test(a_request_reads_as_it_was_written),
        cmocka_unit_test(regions_that_do_not_belong_together_are_named),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
