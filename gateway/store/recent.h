/*
 * Entries of logs as they were read a moment ago for one region, for another that asks for the
 * same: regions that follow a hub want the same entries at nearly the same time, and reading them
 * is most of what they cost it. A log only grows, and what is kept is forgotten after a second.
 *
 * For the whole process, from any thread; of a few ranges, bounded in bytes.
 */
#ifndef ORRERY_STORE_RECENT_H
#define ORRERY_STORE_RECENT_H

#include "regions/stream.h"

/* entries: all that the log has after part->from through part->to, as a part has them; the one that
 * was kept of the range is forgotten. */
void recent_keep(const struct stream_part *part, struct slice entries, int64_t now_ms);

/*
 * Entries after part->from that a region lacks which has the vector acked, in the order of the log
 * and at most bytes_max; they are appended, counted in part->count, and end at part->to, which is
 * not beyond part->head. False when nothing that is known goes on there.
 */
bool recent_take(struct stream_part *part, unsigned region, const int64_t *acked,
                 unsigned acked_count, size_t bytes_max, int64_t now_ms, struct buf *entries);

#endif
