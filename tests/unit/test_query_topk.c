/* The first rows of an order: page after page they are all rows, in order, whatever bounds a page.
 */
#include "query/topk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#define ROWS 100

/* A row as it is offered: two keys, a number and a text. */
struct row {
    struct sort_value values[2];
    uint32_t range;
    uint64_t rid, number;
    struct slice payload;
};

static struct row rows[ROWS];
static bool directions[2];
static uint64_t chance = 1;

static unsigned random_below(unsigned count)
{
    chance = chance * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned) (chance >> 33) % count;
}

static struct sort_value random_value(void)
{
    static const char *const texts[] = {"", "a", "ab", "b", "\xc3\xa4"};
    const char *text = texts[random_below(5)];

    switch (random_below(4)) {
    case 0:
        return (struct sort_value){.rank = VALUE_UNDEFINED};
    case 1:
        return (struct sort_value){.rank = VALUE_NULL};
    case 2:
        return (struct sort_value){.rank = VALUE_NUMBER, .number = random_below(3)};
    default:
        return (struct sort_value){.rank = VALUE_STRING, .text = slice_from_text(text)};
    }
}

/* Rows in no order, no two of them at one place. */
static void rows_fill(void)
{
    static const char bytes[64] = "payload";

    for (unsigned i = 0; i < ROWS; i++)
        rows[i] = (struct row){.values = {random_value(), random_value()},
                               .range = random_below(3),
                               .rid = random_below(20),
                               .number = i,
                               .payload = slice_make(bytes, 1 + random_below(sizeof(bytes)))};
    directions[0] = random_below(2) == 1;
    directions[1] = random_below(2) == 1;
}

static int rows_order(const void *a, const void *b)
{
    const struct row *x = a, *y = b;

    for (unsigned i = 0; i < 2; i++) {
        int order = sort_value_compare(&x->values[i], &y->values[i]);
        if (order != 0)
            return directions[i] ? -order : order;
    }
    if (x->range != y->range)
        return x->range < y->range ? -1 : 1;
    if (x->rid != y->rid)
        return (x->rid < y->rid ? -1 : 1) * (directions[0] ? -1 : 1);
    return x->number < y->number ? -1 : 1;
}

static void rows_offer(struct topk *topk)
{
    struct fault fault = {0};

    for (unsigned i = 0; i < ROWS; i++) {
        struct topk_position position = {rows[i].values, rows[i].range, rows[i].rid,
                                         rows[i].number};
        if (topk_wants(topk, &position))
            assert_true(topk_add(topk, &position, rows[i].payload, &fault));
    }
}

/* All pages together; how many they were. */
static unsigned pages_read(struct topk_options options)
{
    struct row sorted[ROWS];
    struct topk_position last;
    struct topk *previous = NULL;
    struct fault fault = {0};
    size_t at = 0;
    unsigned pages = 0;
    bool is_cut = true;

    memcpy(sorted, rows, sizeof(sorted));
    qsort(sorted, ROWS, sizeof(*sorted), rows_order);
    for (; is_cut; pages++) {
        struct topk *topk = topk_create(&options, &fault);

        assert_non_null(topk);
        rows_offer(topk);
        topk_finish(topk);
        assert_in_range(topk_count(topk), 1, options.limit);
        for (size_t i = 0; i < topk_count(topk); i++, at++) {
            struct slice payload = topk_row(topk, i, &last);

            assert_true(at < ROWS);
            assert_int_equal(last.row, sorted[at].number);
            assert_int_equal(payload.len, sorted[at].payload.len);
        }
        is_cut = topk_is_cut(topk);
        options.after = &last;
        topk_destroy(previous);
        previous = topk;
    }
    topk_destroy(previous);
    assert_int_equal(at, ROWS);
    return pages;
}

static void pages_hold_every_row_once_in_order(void **state)
{
    (void) state;
    for (unsigned round = 0; round < 50; round++) {
        struct topk_options options = {.key_count = 2, .is_descending = directions};

        rows_fill();
        options.limit = random_below(3) == 0 ? SIZE_MAX : 1 + random_below(40);
        options.bytes_max = random_below(3) == 0 ? SIZE_MAX : 1 + random_below(1000);
        pages_read(options);
    }
}

/* Short rows with long keys: a page ends before they fill the memory. */
static void long_keys_are_bounded(void **state)
{
    enum { LENGTH = 1 << 20 };
    struct topk_options options = {
        .limit = SIZE_MAX, .bytes_max = SIZE_MAX, .key_count = 2, .is_descending = directions};
    char *texts[ROWS];

    (void) state;
    rows_fill();
    for (unsigned i = 0; i < ROWS; i++) {
        texts[i] = malloc(LENGTH);
        assert_non_null(texts[i]);
        memset(texts[i], 'x', LENGTH);
        snprintf(texts[i] + LENGTH - 8, 8, "%u", random_below(100));
        rows[i].values[0] =
            (struct sort_value){.rank = VALUE_STRING, .text = slice_make(texts[i], LENGTH - 1)};
    }
    assert_int_equal(pages_read(options), 4); /* 32 rows each */
    for (unsigned i = 0; i < ROWS; i++)
        free(texts[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pages_hold_every_row_once_in_order),
        cmocka_unit_test(long_keys_are_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
