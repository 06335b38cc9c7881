/*
 * Queries over small feeds: definitions, conflicts. They are evaluated here, one document after the
 * other: there are few of them, and the clients' own queries (offers by resource, databases by id)
 * are simple.
 */
#ifndef ORRERY_SERVICE_FEED_SELECT_H
#define ORRERY_SERVICE_FEED_SELECT_H

#include "base/buf.h"
#include "query/filter.h"

/* Append an element to a page, with a comma in front unless it is the first, and count it. */
void feed_append(struct buf *page, unsigned *count, struct slice element);

/*
 * Append what the query selects of a printed document, when it passes.
 *
 * fault  400, 503
 */
bool feed_select(struct buf *page, unsigned *count, const struct filter *filter,
                 struct slice printed, struct fault *fault) MUST_CHECK;

#endif
