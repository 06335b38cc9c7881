/*
 * Indexing policies: checked, completed, printed in one canonical form.
 */
#ifndef ORRERY_MODEL_INDEXING_H
#define ORRERY_MODEL_INDEXING_H

#include "base/buf.h"
#include "model/definition.h"

/*
 * Append the canonical policy. Its shape is checked here, its paths by index_policy_parse.
 *
 * policy  the member "indexingPolicy", absent for the default: everything but _etag
 * fault   400 naming the member
 */
bool indexing_append(struct buf *out, struct definition_reader *reader,
                     struct slice policy) MUST_CHECK;

#endif
