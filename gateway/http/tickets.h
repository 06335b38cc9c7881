/*
 * TLS session tickets under one key for the whole process, so that any loop resumes what another
 * began.
 *
 * libmicrohttpd enables no resumption by itself: every handshake would be a full one, six times as
 * dear.
 */
#ifndef ORRERY_HTTP_TICKETS_H
#define ORRERY_HTTP_TICKETS_H

#include "base/compiler.h"

#include <stdbool.h>

/* Make the key; before threads start. */
bool tickets_init(void) MUST_CHECK;
void tickets_finish(void);

/* session: gnutls_session_t of a new connection. */
void tickets_enable(void *session);

#endif
