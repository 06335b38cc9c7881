/*
 * Handlers about the program itself; none touches PostgreSQL, so they answer whatever goes on.
 */
#ifndef ORRERY_HTTP_SYSTEM_H
#define ORRERY_HTTP_SYSTEM_H

#include "loop/op.h"

op_step system_alive;       /* 200 while the loop turns */
op_step system_ready;       /* 200 when the region can serve, else 503 */
op_step system_status;      /* JSON: version, region, connections, whether the peers are ready */
op_step system_metrics;     /* Prometheus text */
op_step system_certificate; /* PEM of the authority to trust */

#endif
