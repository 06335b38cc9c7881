/*
 * Transactional batches and the bulk form: many operations of one request.
 */
#ifndef ORRERY_SERVICE_ITEM_BATCH_H
#define ORRERY_SERVICE_ITEM_BATCH_H

#include "query/filter.h"
#include "service/item_target.h"

/* First step of POST …/docs with x-ms-cosmos-is-batch-request. */
op_step item_batch_begin;

/*
 * Does a patch's condition hold for an item, as clients see it (system properties included)?
 *
 * fault  call->op.fault: 400 when evaluating it costs too much, 503 without memory
 */
bool item_batch_condition_holds(struct call *call, const struct filter *condition,
                                const struct item_print *item, bool *holds) MUST_CHECK;

#endif
