#include "loop/op.h"

#include "base/crypto.h"

#include <assert.h>

#include "base/banned.h"

static void finish(struct op *op)
{
    assert(op->is_answered);
    loop_timer_disarm(op->loop, &op->deadline);
    loop_timer_disarm(op->loop, &op->pause);
    op->release(op);
}

static void answer(struct op *op)
{
    assert(!op->is_answered);
    op->is_answered = true;
    loop_timer_disarm(op->loop, &op->deadline);
    op->answer(op);
}

static void answer_fault(struct op *op)
{
    if (op->rescue != NULL && op->rescue->run(op->rescue, op))
        op->fault.status = 0;
    answer(op);
}

void op_enqueue(struct op *op, struct list *queue, unsigned *depth)
{
    assert(op->depth == NULL);
    list_append(queue, &op->place);
    op->depth = depth;
    ++*depth;
}

void op_enqueue_first(struct op *op, struct list *queue, unsigned *depth)
{
    assert(op->depth == NULL);
    list_prepend(queue, &op->place);
    op->depth = depth;
    ++*depth;
}

void op_dequeue(struct op *op)
{
    list_remove(&op->place);
    if (op->depth != NULL)
        --*op->depth;
    op->depth = NULL;
}

static void deadline_passed(struct loop_timer *timer)
{
    struct op *op = container_of(timer, struct op, deadline);
    enum op_wait how = op->waits;

    assert(how != OP_RUNS);
    if (how == OP_WAITS_WRITE) {
        fault_set(&op->fault, 408, SUB_NONE,
                  "the write was sent to the database and its outcome is not known yet");
    } else {
        fault_set(&op->fault, 503, SUB_NONE,
                  "the database did not answer in time; nothing was changed");
        op->fault.retry_after_ms = 1000;
    }
    answer_fault(op);
    if (how == OP_WAITS_QUEUED) {
        op_dequeue(op);
        finish(op);
    }
}

static void pause_ended(struct loop_timer *timer)
{
    op_resume(container_of(timer, struct op, pause));
}

enum op_next op_pause(struct op *op, uint32_t most_ms, op_step *next)
{
    uint32_t random;

    crypto_random(&random, sizeof(random));
    return op_sleep(op, random % (most_ms + 1), next);
}

enum op_next op_sleep(struct op *op, int64_t ms, op_step *next)
{
    loop_timer_arm(op->loop, &op->pause, ms);
    return op_wait(op, OP_WAITS_QUEUED, next);
}

static void turn_came(struct loop_task *task)
{
    op_resume(container_of(task, struct op, task));
}

enum op_next op_yield(struct op *op, op_step *next)
{
    loop_defer(op->loop, &op->task, turn_came);
    return op_wait(op, OP_WAITS_READ, next);
}

void op_expire(struct op *op)
{
    loop_timer_disarm(op->loop, &op->deadline);
    deadline_passed(&op->deadline);
}

void op_init(struct op *op, struct loop *loop, size_t arena_max_bytes, op_end_fn *answer_fn,
             op_end_fn *release)
{
    op->loop = loop;
    arena_init(&op->arena, arena_max_bytes);
    list_init(&op->place);
    loop_timer_init(&op->deadline, deadline_passed);
    loop_timer_init(&op->pause, pause_ended);
    op->answer = answer_fn;
    op->release = release;
}

static void run(struct op *op)
{
    for (;;) {
        op->waits = OP_RUNS;
        enum op_next next = op->next(op);
        switch (next) {
        case OP_AGAIN:
            continue;
        case OP_WAIT:
            assert(op->waits != OP_RUNS);
            return;
        case OP_FAILED:
            assert(op->fault.status >= 400 || op->fault.status == 304);
            answer_fault(op);
            break;
        case OP_DONE:
            op->fault.status = 0;
            answer(op);
            break;
        }
        finish(op);
        return;
    }
}

void op_start(struct op *op, op_step *first, int64_t timeout_ms)
{
    op->deadline_ms = op->loop->now_ms + timeout_ms;
    loop_timer_arm(op->loop, &op->deadline, timeout_ms);
    op->next = first;
    run(op);
}

enum op_next op_again(struct op *op, op_step *next)
{
    op->next = next;
    return OP_AGAIN;
}

enum op_next op_wait(struct op *op, enum op_wait how, op_step *next)
{
    assert(how != OP_RUNS);
    op->waits = how;
    op->next = next;
    op->result = NULL;
    return OP_WAIT;
}

void op_resume(struct op *op)
{
    assert(op->waits != OP_RUNS);
    if (op->is_answered) {
        finish(op);
        return;
    }
    run(op);
}

void op_resume_with(struct op *op, struct pgio_result *result, int row)
{
    op->result = result;
    op->row = row;
    op_resume(op);
}

int64_t op_time_left_ms(const struct op *op)
{
    int64_t left = op->deadline_ms - op->loop->now_ms;

    return left > 0 ? left : 0;
}

bool op_alloc_self(struct op *op, size_t size)
{
    op->self = arena_alloc(&op->arena, size);
    return op->self != NULL || fault_set_oom(&op->fault);
}
