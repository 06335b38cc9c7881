/*
 * The certificate in use, published to all threads.
 *
 * It can be replaced while they run: connections made from then on show the new one, those that are
 * there keep theirs. libmicrohttpd loads a certificate once, when it starts, so each new session is
 * given ours instead. One that was replaced stays until the end, since a session may still point to
 * it and nobody counts them.
 */
#ifndef ORRERY_HTTP_CERTIFICATES_H
#define ORRERY_HTTP_CERTIFICATES_H

#include "http/tls.h"

/*
 * Read or make what the configuration says, and use it from now on. For the main thread.
 *
 * fault  as tls_prepare; nothing has changed then
 */
bool certificates_reload(const struct config *config, struct fault *fault) MUST_CHECK;

/* When no thread is left. */
void certificates_finish(void);

/* What is in use; NULL when nothing was loaded. Valid until the end. */
const struct tls *certificates_current(void);

/* session: gnutls_session_t of a new connection, before its handshake. */
void certificates_use(void *session);

#endif
