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

/* In place of a range, for those who wait in the name of another region: */
#define PROGRESS_WRITTEN (-1)   /* something was written here, in whichever range */
#define PROGRESS_COMMITTED (-2) /* of whichever range more is known to be committed */
/* In place of a range: the hub said how far its definitions are, or did not. */
#define PROGRESS_DEFINITIONS (-3)

/* The range moved. Any thread. What came from another region is not news for the others, who ask
 * that region themselves. */
void progress_note(int64_t range_id);

/* It moved, since it was written here. */
void progress_written(int64_t range_id);

/* More of it is committed. */
void progress_committed(int64_t range_id);

/* To be taken before one looks at the range (or at what stands in its place). */
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
