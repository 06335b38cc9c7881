/*
 * Before a region that is not the hub says that there is nothing of a name.
 *
 * Definitions are made at the hub and arrive elsewhere a moment later. So what is not found is
 * asked about: how far are the hub's definitions? When this region has them all, the name is looked
 * up once more, and what is not there then was not there when the request came. Rule 9.2 of the
 * replication rules.
 *
 * One question is under way per process. A call needs the answer to one that left after the call
 * had looked, and any number of calls share that: however many names are asked for in vain, the hub
 * is asked no more often than its answers come, and a hundred times a second at most.
 */
#ifndef ORRERY_SERVICE_CATCH_UP_H
#define ORRERY_SERVICE_CATCH_UP_H

#include "service/call.h"

/* The call did not find a name: must it catch up, and look again, before it says so? */
bool catch_up_is_due(const struct call *call);

/*
 * Wait until this region has all definitions that the hub has, then run the step, which looks
 * again. Once per call.
 *
 * fault  503 when the hub does not answer, or what it has does not arrive, in --session-wait-ms
 */
enum op_next catch_up(struct op *op, op_step *again);

#endif
