/*
 * Replication into this region, as /status and /metrics tell it.
 */
#ifndef ORRERY_HTTP_REPLICATION_H
#define ORRERY_HTTP_REPLICATION_H

#include "base/buf.h"

/* {"pulling":…,"peers":[…],"stopped":[…]} */
void replication_print(struct buf *out);

/* Lag per source, as Prometheus text. */
void replication_print_metrics(struct buf *out);

#endif
