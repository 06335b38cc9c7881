/* Ops that wait for a range to move, and those who tell them, from this thread and from another. */
#include "store/progress.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#define LONG_MS 60000
#define TURNS_MAX_MS 20000

static struct loop loop;
static int ended;

static int begin(void **state)
{
    (void) state;
    ended = 0;
    return loop_init(&loop);
}

static int end(void **state)
{
    (void) state;
    loop_finish(&loop);
    return 0;
}

struct wait {
    struct op op;
    int64_t range_id, at_most_ms;
    bool has_mark;
    uint64_t mark;
    int woken;
};

static op_step wait_woken;

static void note_end(struct op *op)
{
    (void) op;
    ended++;
}

static void release(struct op *op)
{
    arena_finish(&op->arena);
}

static enum op_next wait_begin(struct op *op)
{
    struct wait *wait = container_of(op, struct wait, op);

    return wait->has_mark
               ? progress_wait_since(op, wait->range_id, wait->mark, wait->at_most_ms, wait_woken)
               : progress_wait(op, wait->range_id, wait->at_most_ms, wait_woken);
}

static enum op_next wait_woken(struct op *op)
{
    container_of(op, struct wait, op)->woken++;
    return OP_DONE;
}

static void start(struct wait *wait, int64_t range_id, int64_t at_most_ms)
{
    wait->range_id = range_id;
    wait->at_most_ms = at_most_ms;
    op_init(&wait->op, &loop, 1 << 16, note_end, release);
    op_start(&wait->op, wait_begin, LONG_MS);
}

static void turn_until(int wanted)
{
    for (int64_t start_ms = loop.now_ms; ended < wanted && loop.now_ms - start_ms < TURNS_MAX_MS;)
        loop_turn(&loop, 10);
    assert_int_equal(ended, wanted);
}

static void a_note_wakes_those_who_wait_for_its_range(void **state)
{
    struct wait one = {0}, other = {0}, same = {0}, written = {0}, committed = {0};

    (void) state;
    start(&one, 4096, LONG_MS);
    start(&other, 8192, LONG_MS);
    start(&written, PROGRESS_WRITTEN, LONG_MS);
    start(&committed, PROGRESS_COMMITTED, LONG_MS);
    progress_note(4096);
    turn_until(1);
    assert_int_equal(one.woken, 1);
    start(&same, 4096, LONG_MS);
    progress_written(4096);
    turn_until(3);
    assert_int_equal(same.woken, 1);
    assert_int_equal(written.woken, 1);
    assert_int_equal(other.woken + committed.woken, 0);
    progress_committed(8192);
    turn_until(5);
    assert_int_equal(other.woken, 1);
    assert_int_equal(committed.woken, 1);
}

static void without_a_note_a_wait_ends_in_time(void **state)
{
    struct wait wait = {0};

    (void) state;
    loop_turn(&loop, 0);
    int64_t begun_ms = loop.now_ms;
    start(&wait, 4096, 30);
    turn_until(1);
    assert_int_equal(wait.woken, 1);
    assert_true(loop.now_ms - begun_ms >= 30);
    progress_note(4096); /* nobody is left to wake */
    loop_turn(&loop, 10);
    assert_int_equal(wait.woken, 1);
}

static void what_moved_after_the_mark_needs_no_wait(void **state)
{
    struct wait wait = {.has_mark = true, .mark = progress_mark(4096)};

    (void) state;
    progress_note(4096);
    start(&wait, 4096, LONG_MS);
    assert_int_equal(wait.woken, 1);
    assert_int_equal(ended, 1);
}

#define NOTES 2000

static void *note_often(void *argument)
{
    (void) argument;
    for (int i = 0; i < NOTES; i++)
        progress_note(4096 + i % 3);
    return NULL;
}

/* Notes and the ends of times meet: each op is resumed once. The sanitizers watch. */
static void notes_of_another_thread_and_times_meet(void **state)
{
    enum { WAITS = 300 };
    struct wait *waits = calloc(WAITS, sizeof(*waits));
    pthread_t thread;

    (void) state;
    assert_non_null(waits);
    assert_int_equal(pthread_create(&thread, NULL, note_often, NULL), 0);
    for (int i = 0; i < WAITS; i++) {
        start(&waits[i], 4096 + i % 3, i % 11);
        loop_turn(&loop, 0);
    }
    turn_until(WAITS);
    assert_int_equal(pthread_join(thread, NULL), 0);
    for (int i = 0; i < WAITS; i++)
        assert_int_equal(waits[i].woken, 1);
    free(waits);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_note_wakes_those_who_wait_for_its_range, begin, end),
        cmocka_unit_test_setup_teardown(without_a_note_a_wait_ends_in_time, begin, end),
        cmocka_unit_test_setup_teardown(what_moved_after_the_mark_needs_no_wait, begin, end),
        cmocka_unit_test_setup_teardown(notes_of_another_thread_and_times_meet, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
