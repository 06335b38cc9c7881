/*
 * The PostgreSQL of the differential test: a table of items, and statements with the parameters of
 * sql.h.
 */
#ifndef ORRERY_TESTS_DIFFERENTIAL_SERVER_H
#define ORRERY_TESTS_DIFFERENTIAL_SERVER_H

#include "query/sql.h"

#include <libpq-fe.h>
#include <cjson/cJSON.h>

struct server {
    PGconn *connection;
    char error[2048]; /* of the last statement; empty */
};

void server_connect(struct server *server, const char *conninfo);
void server_finish(struct server *server);

/* A statement that must succeed. */
void server_run(struct server *server, const char *text);

/* The same for one of a query's; NULL and the error when PostgreSQL refuses it. */
PGresult *server_ask(struct server *server, struct sql *sql);

/* Put items into the table instead of those there: rids 1 …, ts 1000 + rid. */
void server_load(struct server *server, const cJSON *documents);

#endif
