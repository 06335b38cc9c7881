/*
 * SQLSTATE to fault: one table. No SQL text and no SQLSTATE ever leaves the gateway.
 */
#ifndef ORRERY_STORE_SQLSTATE_H
#define ORRERY_STORE_SQLSTATE_H

#include "base/fault.h"
#include "base/log.h"
#include "loop/pgio.h"

enum sqlstate_class {
    SQLSTATE_BUSY,    /* not executed; may be tried again as it is */
    SQLSTATE_OUTAGE,  /* not executed; PostgreSQL stops, is full or has no room */
    SQLSTATE_UNKNOWN, /* cut off by PostgreSQL: a write is sent again, its batch number decides */
    SQLSTATE_GONE,    /* the container's tables are gone */
    SQLSTATE_BUG      /* should not happen */
};

enum sqlstate_class sqlstate_class(const char *sqlstate);

/*
 * What to tell a client whose statement ended so; logs what a person should know.
 *
 * fault  503 with a retry hint when nothing was done; 500 for what should not happen
 */
void sqlstate_fault(const struct pgio_result *result, const struct log_context *log,
                    struct fault *fault);

#endif
