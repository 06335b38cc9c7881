/*
 * Replication as /status, /metrics and `orrery account status` tell it.
 */
#ifndef ORRERY_REPLICA_REPORT_H
#define ORRERY_REPLICA_REPORT_H

#include "base/buf.h"

/* {"pulling":…,"peers":[…],"stopped":[…], …}: docs/operations.md */
void replication_print(struct buf *out);

/* The same as Prometheus text. */
void replication_print_metrics(struct buf *out);

#endif
