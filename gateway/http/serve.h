/*
 * orrery serve: one region's gateway.
 */
#ifndef ORRERY_HTTP_SERVE_H
#define ORRERY_HTTP_SERVE_H

#include "base/config.h"

/*
 * Serve until SIGTERM or SIGINT, then drain. SIGHUP reads the key file again.
 *
 * Prints one JSON line on standard output when PostgreSQL answered and the ports are open.
 *
 * returns  exit status: 0 after a drain, 1 when it could not start (said on standard error)
 */
int serve_run(const struct config *config);

#endif
