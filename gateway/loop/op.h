/*
 * Suspended work, cut into steps where it waits.
 *
 * A step answers OP_AGAIN (run op->next now), OP_WAIT, OP_DONE or OP_FAILED; only the driver in
 * op.c runs steps and ends ops. Whoever makes an op wait takes the next step as its last argument
 * and returns OP_WAIT, so the wait is a visible return.
 *
 * An op is answered once: when its last step ends, or when its deadline passes while it waits. What
 * it waited for then decides: work that was still in a queue is withdrawn (503, not executed), a
 * read in flight is given up (503), a write in flight has an unknown end (408). An op that was
 * answered while PostgreSQL still works on it stays alive until that result has come, and is freed
 * then.
 */
#ifndef ORRERY_LOOP_OP_H
#define ORRERY_LOOP_OP_H

#include "base/arena.h"
#include "base/fault.h"
#include "base/log.h"
#include "loop/loop.h"

struct op;
struct pgio_result;

enum op_next { OP_AGAIN, OP_WAIT, OP_DONE, OP_FAILED };

enum op_wait {
    OP_RUNS,
    OP_WAITS_QUEUED, /* op->place is in a queue: may be withdrawn */
    OP_WAITS_READ,   /* something in flight points here; giving up harms nothing */
    OP_WAITS_WRITE   /* something in flight points here and may take effect */
};

typedef enum op_next op_step(struct op *op);
typedef void op_end_fn(struct op *op);

/*
 * What an op does when it would be answered with its fault, although part of its work is done. It
 * may run while a statement of the op is still under way.
 *
 * returns  true when it has made an answer that tells what was done and what was not; else the
 *          fault, which it may have changed, is the answer
 */
struct op_rescue {
    bool (*run)(struct op_rescue *rescue, struct op *op);
};

struct op {
    struct loop *loop;
    struct arena arena;
    struct fault fault;
    struct log_context log;
    op_step *next;
    void *self; /* state of the work between steps; in the arena */
    enum op_wait waits;
    struct list place; /* in the queue that it waits in */
    unsigned *depth;   /* of the queues there, itself included; NULL: in none */
    void *waiting_for; /* what it waits for, in the arena; belongs to whoever made it wait */
    struct pgio_result *result; /* what the wait brought; borrowed, only for the step it resumes */
    int row;                    /* the row of it that is this op's */
    struct loop_timer deadline;
    struct loop_timer pause;
    struct loop_task task;
    int64_t deadline_ms; /* monotonic */
    bool is_answered;
    struct op_rescue *rescue; /* NULL: its faults are true as they are */
    bool (*has_left)(
        const struct op *op); /* is whom it works for gone? NULL: it works for nobody */
    op_end_fn *answer;        /* tells the client: op->fault.status says whether it failed */
    op_end_fn *release;       /* frees the op; nothing touches it afterwards */
};

/* Prepare zeroed memory. The arena is started with that ceiling. */
void op_init(struct op *op, struct loop *loop, size_t arena_max_bytes, op_end_fn *answer,
             op_end_fn *release);

/* Run the first step now; the op is answered at the latest timeout_ms from now. */
void op_start(struct op *op, op_step *first, int64_t timeout_ms);

/* For steps: go on with another step at once. */
enum op_next op_again(struct op *op, op_step *next);

/* For those who make ops wait: note how, and what comes next. */
enum op_next op_wait(struct op *op, enum op_wait how, op_step *next);

/*
 * Into a queue, behind all or before all that is there, and out of it again. *depth counts those
 * that are in it, or in several; it outlives them. The op has to be made to wait besides.
 */
void op_enqueue(struct op *op, struct list *queue, unsigned *depth);
void op_enqueue_first(struct op *op, struct list *queue, unsigned *depth);
void op_dequeue(struct op *op);

/*
 * Wait up to a random share of most_ms before the next step: those who overtake each other fall out
 * of step. Nothing of the op may be under way.
 */
enum op_next op_pause(struct op *op, uint32_t most_ms, op_step *next);

/* Wait so long before the next step. Nothing of the op may be under way. */
enum op_next op_sleep(struct op *op, int64_t ms, op_step *next);

/*
 * Let others have their turn before the next step of a long computation. Nothing was written for
 * the op so far.
 */
enum op_next op_yield(struct op *op, op_step *next);

/* Answer a waiting op as if its deadline had passed. */
void op_expire(struct op *op);

/* The wait is over: run the next step, or free the op when it was answered meanwhile. */
void op_resume(struct op *op);

/* The same, with what PostgreSQL said; borrowed until the step returns. */
void op_resume_with(struct op *op, struct pgio_result *result, int row);

/* Is whom it works for gone? */
static inline bool op_has_left(const struct op *op)
{
    return op->has_left != NULL && op->has_left(op);
}

/* Milliseconds left before the deadline, never negative. */
int64_t op_time_left_ms(const struct op *op);

/* A member of the state between steps, typed. */
#define op_self(op, type) ((type *) (op)->self)

/*
 * Allocate the state between steps, zeroed; on failure the fault is set.
 */
bool op_alloc_self(struct op *op, size_t size) MUST_CHECK;

#endif
