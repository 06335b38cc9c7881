#include "store/sqlstate.h"

#include "base/log.h"

#include "base/banned.h"

static const struct {
    const char *prefix;
    enum sqlstate_class class;
} table[] = {
    {"40001", SQLSTATE_BUSY},   /* serialization failure */
    {"40P01", SQLSTATE_BUSY},   /* deadlock */
    {"55P03", SQLSTATE_BUSY},   /* lock not available */
    {"57014", SQLSTATE_BUSY},   /* statement timeout */
    {"57P", SQLSTATE_UNKNOWN},  /* shutdown, crash of a neighbour, not yet accepting */
    {"08", SQLSTATE_UNKNOWN},   /* connection; on a cluster also the node behind */
    {"53", SQLSTATE_OUTAGE},    /* disk full, out of memory, too many connections */
    {"58", SQLSTATE_OUTAGE},    /* system or I/O error */
    {"25006", SQLSTATE_OUTAGE}, /* read-only transaction: a standby */
    {"42P01", SQLSTATE_GONE},   /* undefined table */
    {"42883", SQLSTATE_GONE},   /* undefined function */
};

enum sqlstate_class sqlstate_class(const char *sqlstate)
{
    for (unsigned i = 0; i < ARRAY_LEN(table); i++) {
        if (strncmp(sqlstate, table[i].prefix, strlen(table[i].prefix)) == 0)
            return table[i].class;
    }
    return SQLSTATE_BUG;
}

void sqlstate_fault(const struct pgio_result *result, const struct log_context *log,
                    struct fault *fault)
{
    enum sqlstate_class class = SQLSTATE_UNKNOWN;

    if (result->outcome == PGIO_ERROR) {
        class = sqlstate_class(result->sqlstate);
        log_write(class == SQLSTATE_BUSY ? LOG_LEVEL_WARN : LOG_LEVEL_ERROR, log,
                  "statement failed", "sqlstate=%s message=\"%s\"", result->sqlstate,
                  result->message);
    }
    if (class == SQLSTATE_BUG || class == SQLSTATE_GONE) {
        fault_set(fault, 500, SUB_NONE,
                  "the gateway met an unexpected condition; its log has the details");
        return;
    }
    fault_set(fault, 503, SUB_NONE,
              class == SQLSTATE_BUSY
                  ? "the database is busy; the request was not executed"
                  : "the database is not available; the request was not executed");
    fault->retry_after_ms = class == SQLSTATE_BUSY ? 100 : 1000;
}
