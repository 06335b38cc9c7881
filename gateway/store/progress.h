/*
 * Waiting for a range to move: something was applied to it, written in it, or became known of it.
 *
 * Whoever moves a range notes it, in any thread; ops of any loop wait for that. Other processes
 * move ranges without a word here, so every wait has a bound after which the op looks again by
 * itself. What is waited for is looked up before: the mark, taken before the look, makes a wait end
 * at once when the range moved in between.
 */
#ifndef ORRERY_STORE_PROGRESS_H
#define ORRERY_STORE_PROGRESS_H

#include "loop/op.h"

#include <stdint.h>

/* In place of a range: whichever. */
#define PROGRESS_ANY (-1)
/* In place of a range: the hub said how far its definitions are, or did not. It is none of ANY. */
#define PROGRESS_DEFINITIONS (-2)

/* The range moved. Any thread. */
void progress_note(int64_t range_id);

/* To be taken before one looks at the range (or at PROGRESS_ANY). */
uint64_t progress_mark(int64_t range_id);

/*
 * Wait until the range moves after the mark, at most so long. The op's wait is that of a read;
 * who waits for the end of a write sets op->waits after the call.
 */
enum op_next progress_wait_since(struct op *op, int64_t range_id, uint64_t mark, int64_t at_most_ms,
                                 op_step *next);

/* The same from now on. */
enum op_next progress_wait(struct op *op, int64_t range_id, int64_t at_most_ms, op_step *next);

#endif
