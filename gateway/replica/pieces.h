/*
 * Applying: a piece is what one answer has of one range. It becomes transactions one after the
 * other, of as many entries as are applied in about a tenth of a second.
 *
 * Range 0 is applied before the others of its answer, which may need it; those go side by side
 * over a few connections of their own. A piece that must wait for others is tried a few times, for
 * half a second in all, then its range is paused: waiting pieces must not fill the memory that the
 * entries they wait for need.
 */
#ifndef ORRERY_REPLICA_PIECES_H
#define ORRERY_REPLICA_PIECES_H

#include "replica/puller.h"

void pieces_init(struct puller *puller);

/* Apply an answer; puller_answer_ended is called when that has ended, perhaps at once. */
void pieces_begin(struct pulled *pulled);

/* Something else that the answer had to wait for has ended. */
void pieces_ended_one(struct pulled *pulled);

/* Send what waits for a connection. */
void pieces_flush(struct puller *puller);

/* Give up what is not under way; the answers end. */
void pieces_give_up(struct puller *puller);

#endif
