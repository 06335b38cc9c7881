/*
 * Answers to what never becomes a call: HTTP that libmicrohttpd refuses by itself, and requests
 * that do not arrive whole.
 *
 * libmicrohttpd takes a response only before a body or after all of it, so these are written past
 * it. That is safe because a connection whose request is still arriving has nothing else to send.
 */
#ifndef ORRERY_HTTP_REFUSALS_H
#define ORRERY_HTTP_REFUSALS_H

#include "base/fault.h"

#include <microhttpd.h>
#include <stdbool.h>

/* Find the library's own MHD_queue_response; before threads start. */
bool refusals_init(void) MUST_CHECK;

/* MHD_queue_response, for answers of ours. */
enum MHD_Result queue_response(struct MHD_Connection *connection, unsigned status,
                               struct MHD_Response *response) MUST_CHECK;

/* Has the client closed its sending side, with nothing left to read? */
bool peer_has_ended(struct MHD_Connection *connection);

/* Write an answer to a request that is still arriving; the connection must end then. */
void refuse_arriving(struct MHD_Connection *connection, const struct fault *fault,
                     const char *activity_id);

/* End the connection in both directions; libmicrohttpd sees that, closes it and completes. */
void cut_connection(struct MHD_Connection *connection);

#endif
