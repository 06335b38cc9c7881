/*
 * Sort values inside a continuation: where an ordered query goes on.
 *
 * Each value is a byte of rank and what the rank needs: a number its eight bytes, a string its
 * length and its bytes, an array or object its digest. Strings can be longer than a continuation
 * may be; then only a digest of all values is kept, and whoever reads it looks the values up again
 * in the row that they were of.
 */
#ifndef ORRERY_QUERY_SORT_STATE_H
#define ORRERY_QUERY_SORT_STATE_H

#include "query/sort.h"

/* Append values; at most bytes_max (at least 17), so maybe only their digest. */
void sort_state_append(struct buf *out, const struct sort_value *values, unsigned count,
                       size_t bytes_max);

/* Is it a digest? */
bool sort_state_is_digest(struct slice state);

/* Read values; texts are borrowed from the state. False when it does not hold so many. */
bool sort_state_read(struct slice state, struct sort_value *values, unsigned count) MUST_CHECK;

/* Are these the values that the state is a digest of? */
bool sort_state_matches(struct slice state, const struct sort_value *values, unsigned count);

#endif
