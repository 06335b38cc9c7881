/*
 * Does what is stored agree with the log it came from? Asked by people and by crash tests, range by
 * range.
 */
#ifndef ORRERY_STORE_DIGEST_H
#define ORRERY_STORE_DIGEST_H

#include "base/compiler.h"
#include "base/fault.h"

#include <stdbool.h>

/* One range; the texts are borrowed for the call. */
struct digest_range {
    const char *range_id;  /* of the storage: container number << 12 | index */
    const char *container; /* "database/container"; "(account)" for the metadata */
    const char *index;     /* public id of the range */
    const char *items;     /* digest of the items; equal in regions that agree */
    const char *fold;      /* digest of the last entries of the log; must be the same */
    const char *problems;  /* gaps and contradictions, "; " between; NULL: none */
    bool is_good;
};

typedef void digest_fn(void *argument, const struct digest_range *range);

/*
 * Tell about every range, each from one snapshot.
 *
 * url        connection string
 * container  "database/container"; NULL: all, and the metadata
 * fault      503, 500, or 404 when the container does not exist
 */
bool digest_ranges(const char *url, const char *container, digest_fn *tell, void *argument,
                   struct fault *fault) MUST_CHECK;

#endif
