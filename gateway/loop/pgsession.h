/*
 * One blocking PostgreSQL connection, for command-line work and for the start of a process.
 *
 * Loops never use it: they have pgio. Faults are 503 when the server cannot be reached or goes
 * away, else 500 with the server's message; they are meant for a person at a terminal, not for a
 * client.
 */
#ifndef ORRERY_LOOP_PGSESSION_H
#define ORRERY_LOOP_PGSESSION_H

#include "base/compiler.h"
#include "base/fault.h"

#include <stdint.h>

struct pgsession;
struct pgrows;
struct pgcancel;

/*
 * Connect.
 *
 * url        libpq connection string or URI; its password never appears in a fault
 * name       application_name
 * timeout_s  for the connection only; at least 2 (libpq's minimum)
 * returns    to be closed with pgsession_close; NULL with a fault
 */
struct pgsession *pgsession_open(const char *url, const char *name, int timeout_s,
                                 struct fault *fault) MUST_CHECK;

/* NULL is accepted. */
void pgsession_close(struct pgsession *session);

/* Run statements (simple protocol: several with ; between are allowed), discard what they return.
 */
bool pgsession_run(struct pgsession *session, const char *sql, struct fault *fault) MUST_CHECK;

/*
 * Run one statement and keep its rows.
 *
 * params   texts for $1…; borrowed, a NULL is SQL null
 * returns  to be freed with pgrows_free; NULL with a fault
 */
struct pgrows *pgsession_query(struct pgsession *session, const char *sql,
                               const char *const *params, int params_count,
                               struct fault *fault) MUST_CHECK;

/* First column of the first row as a text of malloc; *text is NULL when it is null or there is no
 * row. */
bool pgsession_value(struct pgsession *session, const char *sql, const char *const *params,
                     int params_count, char **text, struct fault *fault) MUST_CHECK;

/* Session-level advisory lock; waits for it when is_waiting, else *is_locked says whether it was
 * free. */
bool pgsession_lock(struct pgsession *session, int64_t key, bool is_waiting, bool *is_locked,
                    struct fault *fault) MUST_CHECK;

/*
 * A way to end what a session runs, from another thread. It belongs to whoever asked for it and
 * stays valid after the session; NULL without memory.
 */
struct pgcancel *pgsession_cancel_create(struct pgsession *session);
void pgcancel_send(struct pgcancel *cancel);
void pgcancel_free(struct pgcancel *cancel); /* NULL is accepted */

/* Is a transaction block open and sound? */
bool pgsession_in_transaction(const struct pgsession *session);

/* Such as 150012. */
int pgsession_server_version(const struct pgsession *session);

/* SQLSTATE of the last failure, "" if there was none or it had no server's answer. */
const char *pgsession_sqlstate(const struct pgsession *session);

int pgrows_count(const struct pgrows *rows);

/* NULL when the value is null; valid until pgrows_free. */
const char *pgrows_text(const struct pgrows *rows, int row, int column);

void pgrows_free(struct pgrows *rows);

#endif
