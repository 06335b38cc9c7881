/*
 * What a resource token opens, held against what a request touches. Requests signed with a key
 * pass.
 */
#ifndef ORRERY_SERVICE_ACCESS_H
#define ORRERY_SERVICE_ACCESS_H

#include "model/authtoken.h"
#include "service/call.h"

/*
 * May the request touch this?
 *
 * child_id  of AUTHTOKEN_CHILD; otherwise absent
 * pk        column pk of the item, or absent when the request names no partition key
 * fault     403
 */
bool access_check(struct call *call, enum authtoken_touch touch, bool is_write, uint32_t database,
                  uint32_t container, struct slice child_id, struct slice pk) MUST_CHECK;

#endif
