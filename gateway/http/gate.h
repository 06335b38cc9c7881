/*
 * May this region serve the request at all? Decided by the topology before any work is done.
 *
 * It spares the database requests that it would refuse; that a region takes no write which is not
 * its own is enforced by PostgreSQL under the lock of each range, not here.
 */
#ifndef ORRERY_HTTP_GATE_H
#define ORRERY_HTTP_GATE_H

#include "http/routes.h"
#include "request/request.h"
#include "store/regions.h"

/*
 * fault  403 SUB_WRITE_FORBIDDEN for writes that belong to another region, and at a hub that may
 *        not act any more, as the arbiter has it; 403 SUB_ACCOUNT_NOT_FOUND where the region is
 * offline or not one of the account any more (all but the account itself), 503 while it joins
 */
bool gate_check(const struct regions *regions, const struct request *request,
                const struct route *route, struct fault *fault) MUST_CHECK;

/*
 * A write that this region takes as the hub is acknowledged only while it may still act when it
 * answers: meanwhile the process may have been paused for as long as it takes to have another hub.
 */
bool gate_acts_as_hub(const struct regions *regions, const struct request *request,
                      const struct route *route);

#endif
