/*
 * Who may call a route: master keys are decided here, resource tokens where the resource is known.
 */
#ifndef ORRERY_HTTP_AUTHORIZE_H
#define ORRERY_HTTP_AUTHORIZE_H

#include "http/routes.h"
#include "service/call.h"

/*
 * Check the request's authorization for its route.
 *
 * With a resource token the grant is left in the request, for the handler to hold against what it
 * touches (service/access.h); routes that no such token opens refuse it here.
 *
 * fault  401, 403
 */
bool authorize(const struct config *config, struct call *call, const struct route *route,
               struct fault *fault) MUST_CHECK;

/* Does it change something? Queries and their plans are sent with POST, and read. */
bool request_is_write(const struct request *request, const struct route *route);

#endif
