/*
 * The second door to libpq, beside pgio.c.
 *
 * base/banned.h is not included: it forbids the calls that block a loop, and here is no loop. A
 * migration or a check is a list of statements one after the other; suspended steps would only hide
 * that.
 */
#include "loop/pgsession.h"

#include "base/log.h"

#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct pgsession {
    PGconn *connection;
    char sqlstate[6];
};

/* A result behind another name, so that libpq's header stays here. */
struct pgrows;

static PGresult *result_of(const struct pgrows *rows)
{
    return (PGresult *) (uintptr_t) rows;
}

static void log_notice(void *argument, const char *message)
{
    (void) argument;
    log_debug(NULL, "postgres notice", "message=\"%.*s\"", (int) strcspn(message, "\n"), message);
}

/* libpq ends its messages with line breaks, and puts several attempts on lines of their own. */
static bool fault_from(struct fault *fault, unsigned status, const char *message)
{
    char line[400];
    size_t len = 0;

    for (; *message != '\0' && len + 1 < sizeof(line); message++) {
        bool is_space = *message == '\n' || *message == '\t' || *message == ' ';
        if (!is_space)
            line[len++] = *message;
        else if (len > 0 && line[len - 1] != ' ')
            line[len++] = ' ';
    }
    while (len > 0 && line[len - 1] == ' ')
        len--;
    line[len] = '\0';
    return fault_set(fault, status, SUB_NONE, "PostgreSQL: %s", len > 0 ? line : "unknown error");
}

struct pgsession *pgsession_open(const char *url, const char *name, int timeout_s,
                                 struct fault *fault)
{
    char timeout[16];
    /* A connection string as dbname is expanded; what comes behind it wins, what comes before is a
     * default. */
    const char *keys[] = {"fallback_application_name", "connect_timeout", "dbname",
                          "client_encoding", NULL};
    const char *values[] = {name, timeout, url, "UTF8", NULL};
    struct pgsession *session = calloc(1, sizeof(*session));

    if (session == NULL) {
        fault_set_oom(fault);
        return NULL;
    }
    snprintf(timeout, sizeof(timeout), "%d", timeout_s < 2 ? 2 : timeout_s);
    session->connection = PQconnectdbParams(keys, values, 1);
    if (session->connection == NULL) {
        fault_set_oom(fault);
    } else if (PQstatus(session->connection) != CONNECTION_OK) {
        fault_from(fault, 503, PQerrorMessage(session->connection));
    } else {
        PQsetNoticeProcessor(session->connection, log_notice, NULL);
        return session;
    }
    pgsession_close(session);
    return NULL;
}

void pgsession_close(struct pgsession *session)
{
    if (session == NULL)
        return;
    PQfinish(session->connection);
    free(session);
}

/* Takes the result when it is bad. */
static bool is_good(struct pgsession *session, PGresult *result, struct fault *fault)
{
    ExecStatusType status = PQresultStatus(result);
    const char *sqlstate;

    session->sqlstate[0] = '\0';
    if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK || status == PGRES_EMPTY_QUERY)
        return true;
    sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    if (sqlstate != NULL)
        snprintf(session->sqlstate, sizeof(session->sqlstate), "%s", sqlstate);
    bool is_lost = PQstatus(session->connection) != CONNECTION_OK;
    fault_from(fault, is_lost ? 503 : 500, PQerrorMessage(session->connection));
    PQclear(result);
    return false;
}

bool pgsession_run(struct pgsession *session, const char *sql, struct fault *fault)
{
    PGresult *result = PQexec(session->connection, sql);

    if (!is_good(session, result, fault))
        return false;
    PQclear(result);
    return true;
}

struct pgrows *pgsession_query(struct pgsession *session, const char *sql,
                               const char *const *params, int params_count, struct fault *fault)
{
    PGresult *result =
        PQexecParams(session->connection, sql, params_count, NULL, params, NULL, NULL, 0);

    return is_good(session, result, fault) ? (struct pgrows *) (uintptr_t) result : NULL;
}

bool pgsession_value(struct pgsession *session, const char *sql, const char *const *params,
                     int params_count, char **text, struct fault *fault)
{
    struct pgrows *rows = pgsession_query(session, sql, params, params_count, fault);
    const char *value;

    *text = NULL;
    if (rows == NULL)
        return false;
    value = pgrows_count(rows) > 0 ? pgrows_text(rows, 0, 0) : NULL;
    if (value != NULL)
        *text = strdup(value);
    bool is_copied = value == NULL || *text != NULL;
    pgrows_free(rows);
    return is_copied || fault_set_oom(fault);
}

bool pgsession_lock(struct pgsession *session, int64_t key, bool is_waiting, bool *is_locked,
                    struct fault *fault)
{
    char number[24], *answer;
    const char *params[] = {number};
    const char *sql = is_waiting ? "select true from (select pg_advisory_lock($1::bigint)) l"
                                 : "select pg_try_advisory_lock($1::bigint)";

    snprintf(number, sizeof(number), "%lld", (long long) key);
    if (!pgsession_value(session, sql, params, 1, &answer, fault))
        return false;
    *is_locked = answer != NULL && strcmp(answer, "t") == 0;
    free(answer);
    return true;
}

struct pgcancel *pgsession_cancel_create(struct pgsession *session)
{
    return (struct pgcancel *) (void *) PQgetCancel(session->connection);
}

void pgcancel_send(struct pgcancel *cancel)
{
    char message[256];

    if (PQcancel((PGcancel *) (void *) cancel, message, sizeof(message)) == 0)
        log_debug(NULL, "cancel not sent", "reason=\"%s\"", message);
}

void pgcancel_free(struct pgcancel *cancel)
{
    PQfreeCancel((PGcancel *) (void *) cancel);
}

bool pgsession_in_transaction(const struct pgsession *session)
{
    return PQtransactionStatus(session->connection) == PQTRANS_INTRANS;
}

int pgsession_server_version(const struct pgsession *session)
{
    return PQserverVersion(session->connection);
}

const char *pgsession_sqlstate(const struct pgsession *session)
{
    return session->sqlstate;
}

int pgrows_count(const struct pgrows *rows)
{
    return PQntuples(result_of(rows));
}

const char *pgrows_text(const struct pgrows *rows, int row, int column)
{
    return PQgetisnull(result_of(rows), row, column) ? NULL
                                                     : PQgetvalue(result_of(rows), row, column);
}

void pgrows_free(struct pgrows *rows)
{
    PQclear(result_of(rows));
}
