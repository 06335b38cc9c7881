/*
 * Waiters stand in lists under one mutex. A waiter that is taken out of its list, by whoever notes
 * the progress, is resumed by a message to its loop; one whose time is over takes itself out and is
 * resumed by its timer. Out of the list once means resumed once.
 */
#include "store/progress.h"

#include <pthread.h>
#include <stdatomic.h>

#include "base/banned.h"

#define SLOTS 256 /* power of two */

struct waiter {
    struct list place;
    struct loop_message message;
    struct loop_timer timer;
    struct op *op;
    int64_t range_id;
};

struct slot {
    atomic_uint_fast64_t moves; /* of all ranges that fall here */
    atomic_uint waiters;
    struct list list; /* zeroed while nobody ever waited */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards the lists */
static struct slot slots[SLOTS + 3];                     /* the last: in place of ranges */

static struct slot *slot_of(int64_t range_id)
{
    if (range_id < 0)
        return &slots[SLOTS - 1 - range_id];
    return &slots[((uint64_t) range_id * 0x9e3779b97f4a7c15ULL) >> 56];
}

static void resume(struct loop_message *message)
{
    struct waiter *waiter = container_of(message, struct waiter, message);

    loop_timer_disarm(waiter->op->loop, &waiter->timer);
    op_resume(waiter->op);
}

static void time_over(struct loop_timer *timer)
{
    struct waiter *waiter = container_of(timer, struct waiter, timer);
    bool is_waiting;

    pthread_mutex_lock(&lock);
    is_waiting = !list_is_empty(&waiter->place);
    list_remove(&waiter->place);
    pthread_mutex_unlock(&lock);
    if (!is_waiting)
        return; /* the message is on its way */
    atomic_fetch_sub(&slot_of(waiter->range_id)->waiters, 1);
    op_resume(waiter->op);
}

void progress_note(int64_t range_id)
{
    struct slot *slot = slot_of(range_id);

    atomic_fetch_add(&slot->moves, 1);
    if (atomic_load(&slot->waiters) == 0)
        return;
    pthread_mutex_lock(&lock);
    list_for_each_safe(at, &slot->list)
    {
        struct waiter *waiter = list_entry(at, struct waiter, place);
        if (waiter->range_id != range_id)
            continue;
        list_remove(at);
        atomic_fetch_sub(&slot->waiters, 1);
        loop_post(waiter->op->loop, &waiter->message);
    }
    pthread_mutex_unlock(&lock);
}

void progress_written(int64_t range_id)
{
    progress_note(range_id);
    progress_note(PROGRESS_WRITTEN);
}

void progress_committed(int64_t range_id)
{
    progress_note(range_id);
    progress_note(PROGRESS_COMMITTED);
}

uint64_t progress_mark(int64_t range_id)
{
    return atomic_load(&slot_of(range_id)->moves);
}

enum op_next progress_wait_since(struct op *op, int64_t range_id, uint64_t mark, int64_t at_most_ms,
                                 op_step *next)
{
    struct slot *slot = slot_of(range_id);
    struct waiter *waiter = arena_alloc(&op->arena, sizeof(*waiter));

    if (waiter == NULL) {
        fault_set_oom(&op->fault);
        return OP_FAILED;
    }
    waiter->op = op;
    waiter->range_id = range_id;
    waiter->message.run = resume;
    list_init(&waiter->place);
    loop_timer_init(&waiter->timer, time_over);
    pthread_mutex_lock(&lock);
    if (slot->list.next == NULL)
        list_init(&slot->list);
    atomic_fetch_add(&slot->waiters, 1);
    /* Whoever moves the range from here on sees the waiter; who did before changed the mark. */
    bool has_moved = atomic_load(&slot->moves) != mark;
    if (has_moved)
        atomic_fetch_sub(&slot->waiters, 1);
    else
        list_append(&slot->list, &waiter->place);
    pthread_mutex_unlock(&lock);
    if (has_moved)
        return op_again(op, next);
    loop_timer_arm(op->loop, &waiter->timer, at_most_ms > 0 ? at_most_ms : 0);
    return op_wait(op, OP_WAITS_READ, next);
}

enum op_next progress_wait(struct op *op, int64_t range_id, int64_t at_most_ms, op_step *next)
{
    return progress_wait_since(op, range_id, progress_mark(range_id), at_most_ms, next);
}
