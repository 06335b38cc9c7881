#include "differential/server.h"

#include "query/value.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void server_connect(struct server *server, const char *conninfo)
{
    server->connection = PQconnectdb(conninfo);
    if (PQstatus(server->connection) != CONNECTION_OK) {
        fprintf(stderr, "%s", PQerrorMessage(server->connection));
        exit(2);
    }
    server_run(
        server,
        "set client_min_messages = warning; set jit = off;"
        "drop table if exists orrery.items_1;"
        "create table orrery.items_1 (range_id bigint not null default 1, rid bigint not null, ts "
        "bigint not null,"
        " etag uuid not null, deleted boolean not null default false, doc jsonb, body text)");
}

void server_finish(struct server *server)
{
    PQfinish(server->connection);
}

void server_run(struct server *server, const char *text)
{
    PGresult *result = PQexec(server->connection, text);
    ExecStatusType status = PQresultStatus(result);

    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
        fprintf(stderr, "%s\n%s", text, PQerrorMessage(server->connection));
        exit(2);
    }
    PQclear(result);
}

static void append_element(struct buf *text, struct slice element)
{
    buf_append_char(text, '"');
    for (size_t i = 0; i < element.len; i++) {
        if (element.ptr[i] == '"' || element.ptr[i] == '\\')
            buf_append_char(text, '\\');
        buf_append_char(text, element.ptr[i]);
    }
    buf_append_char(text, '"');
}

/* A parameter as text; freed by the caller. */
static char *param_text(const struct sql_param *param)
{
    struct buf text = {0};
    size_t len;

    switch (param->type) {
    case SQL_TEXT:
    case SQL_JSONB:
        buf_append_slice(&text, param->text);
        break;
    case SQL_FLOAT8:
        buf_printf(&text, "%.17g", param->number);
        break;
    case SQL_INT8:
        buf_printf(&text, "%lld", (long long) param->integer);
        break;
    case SQL_BYTEA:
        buf_append_text(&text, "\\x");
        for (size_t i = 0; i < param->text.len; i++)
            buf_printf(&text, "%02x", (unsigned) (unsigned char) param->text.ptr[i]);
        break;
    case SQL_JSONB_ARRAY:
    case SQL_TEXT_ARRAY:
        buf_append_char(&text, '{');
        for (size_t i = 0; i < param->element_count; i++) {
            buf_append_text(&text, i > 0 ? "," : "");
            append_element(&text, param->elements[i]);
        }
        buf_append_char(&text, '}');
        break;
    }
    buf_append_char(&text, '\0');
    return buf_take(&text, &len);
}

PGresult *server_ask(struct server *server, struct sql *sql)
{
    char **values = calloc(sql->param_count + 1, sizeof(*values));

    assert(values != NULL && sql_is_whole(sql));
    for (unsigned i = 0; i < sql->param_count; i++)
        values[i] = param_text(&sql->params[i]);
    PGresult *result =
        PQexecParams(server->connection, buf_text(&sql->text), (int) sql->param_count, NULL,
                     (const char *const *) values, NULL, NULL, 0);
    for (unsigned i = 0; i < sql->param_count; i++)
        free(values[i]);
    free(values);
    server->error[0] = '\0';
    if (PQresultStatus(result) == PGRES_TUPLES_OK)
        return result;
    snprintf(server->error, sizeof(server->error), "%s", PQerrorMessage(server->connection));
    PQclear(result);
    return NULL;
}

void server_load(struct server *server, const cJSON *documents)
{
    const cJSON *document;
    unsigned rid = 0;

    server_run(server, "truncate orrery.items_1");
    cJSON_ArrayForEach(document, documents)
    {
        char number[16], ts[16];
        struct buf text = {0};
        const char *values[3] = {number, ts, NULL};

        snprintf(number, sizeof(number), "%u", ++rid);
        snprintf(ts, sizeof(ts), "%u", 1000 + rid / 2);
        value_print(&text, document);
        values[2] = buf_text(&text);
        PGresult *result = PQexecParams(
            server->connection,
            "insert into orrery.items_1 (rid, ts, etag, doc, body) values ($1::bigint, $2::bigint,"
            " lpad($1::bigint::text, 32, '0')::uuid, $3::jsonb, $3)",
            3, NULL, values, NULL, NULL, 0);
        if (PQresultStatus(result) != PGRES_COMMAND_OK) {
            fprintf(stderr, "%s\n%s", values[2], PQerrorMessage(server->connection));
            exit(2);
        }
        PQclear(result);
        buf_finish(&text);
    }
}
