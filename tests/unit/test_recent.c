/* Entries that were read for one region and are given to another. */
#include "store/recent.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#define RANGE 8193
#define ANY ((size_t) 1 << 20)

/* Entries of a log after 10 through 13, of two origins: 1, 2, 1. */
static struct stream_part keep(int64_t range_id, int64_t now_ms)
{
    struct stream_part part = {.range_id = range_id, .from = 10, .to = 13, .head = 13};
    struct stream_part_writer writer = {0};
    struct buf entries = {0};

    for (int64_t seq = 11; seq <= 13; seq++) {
        struct stream_entry entry = {.seq = seq,
                                     .lsn = seq == 12 ? 4 : seq,
                                     .op = 1,
                                     .origin = seq == 12 ? 2 : 1,
                                     .pk = slice_make("p", 1),
                                     .id = slice_make("i", 1)};
        stream_put_entry(&entries, &writer, &entry, NULL, 0);
    }
    recent_keep(&part, buf_slice(&entries), now_ms);
    buf_finish(&entries);
    return part;
}

/* Sequences of what is taken, as decimal digits of what comes after 10; -1: nothing goes on there.
 */
static int take(struct stream_part *part, unsigned region, int64_t acked_of_1, size_t bytes_max,
                int64_t now_ms)
{
    struct buf entries = {0};
    struct stream_entry entry;
    struct fault fault;
    int found = 0;
    uint32_t count = 0;

    if (!recent_take(part, region, &acked_of_1, 1, bytes_max, now_ms, &entries)) {
        assert_int_equal(entries.len, 0);
        buf_finish(&entries);
        return -1;
    }
    struct stream_reader reader = {entries.ptr, entries.ptr + entries.len};
    for (; reader.at < reader.end; count++) {
        assert_true(stream_get_entry(&reader, &entry, &fault));
        found = found * 10 + (int) (entry.seq - 10);
    }
    assert_int_equal(part->count, count);
    buf_finish(&entries);
    return found;
}

static void a_region_takes_what_it_lacks(void **state)
{
    (void) state;
    struct stream_part part = keep(RANGE, 5000);
    assert_int_equal(take(&part, 3, 0, ANY, 5999), 123);
    assert_int_equal(part.to, 13);
    assert_int_equal(take(&part, 2, 0, ANY, 5000), 13);
    assert_int_equal(take(&part, 3, 11, ANY, 5000), 23);
    part.from = 12;
    assert_int_equal(take(&part, 3, 0, ANY, 5000), 3);
    part.head = 20;
    assert_int_equal(take(&part, 3, 0, ANY, 5000), 3);
    assert_int_equal(part.to, 13);
    part.from = 10;
    part.head = 12;
    assert_int_equal(take(&part, 3, 0, ANY, 5000), 12);
    assert_int_equal(part.to, 12);
}

static void what_does_not_go_on_is_read_anew(void **state)
{
    (void) state;
    struct stream_part part = keep(RANGE, 5000);
    assert_int_equal(take(&part, 3, 0, ANY, 6000), -1); /* too old */
    assert_int_equal(take(&part, 3, 0, 10, 5000), -1);  /* too much */
    part.from = 9;
    assert_int_equal(take(&part, 3, 0, ANY, 5000), -1);
    part.from = 13;
    part.head = 20;
    assert_int_equal(take(&part, 3, 0, ANY, 5000), -1);
    part = (struct stream_part){.range_id = RANGE + 1, .from = 10, .head = 13};
    assert_int_equal(take(&part, 3, 0, ANY, 5000), -1);
    for (int64_t range_id = 0; range_id < 100; range_id++) /* where there is one place for many */
        (void) keep(range_id, 5000);
    part.range_id = RANGE;
    assert_int_equal(take(&part, 3, 0, ANY, 5000), -1);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_region_takes_what_it_lacks),
        cmocka_unit_test(what_does_not_go_on_is_read_anew),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
