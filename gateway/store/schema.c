#include "store/schema.h"

#include "base/log.h"
#include "loop/pgsession.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/banned.h"

/* "orrery" in ASCII: one lock per database, whichever program takes it. */
#define MIGRATION_LOCK 0x6f7272657279

#define CONNECT_TIMEOUT_S 10

static const char prepare_sql[] = "set search_path to pg_catalog, pg_temp;"
                                  "set lock_timeout to 0; set statement_timeout to 0;"
                                  "set idle_in_transaction_session_timeout to 0";

static const char table_sql[] =
    "create schema if not exists orrery;"
    "create table if not exists orrery.schema_migrations ("
    " version integer primary key, name text not null, sha256 text not null,"
    " program text not null, applied_at timestamptz not null default now())";

/* What the database has: applied versions in order, checked against the program's own. */
static bool read_version(struct pgsession *session, int *version, struct fault *fault)
{
    struct pgrows *rows;
    char *table;
    bool is_good = true;

    *version = 0;
    if (!pgsession_value(session, "select to_regclass('orrery.schema_migrations')", NULL, 0, &table,
                         fault))
        return false;
    if (table == NULL)
        return true;
    free(table);
    rows = pgsession_query(session,
                           "select version, sha256 from orrery.schema_migrations order by version",
                           NULL, 0, fault);
    if (rows == NULL)
        return false;
    int count = pgrows_count(rows);
    for (int i = 0; i < count && is_good; i++) {
        int applied = atoi(pgrows_text(rows, i, 0));
        if (applied != i + 1)
            is_good =
                fault_set(fault, 500, SUB_NONE,
                          "the database lacks migration %d but has migration %d", i + 1, applied);
        else if (applied <= schema_migrations_count &&
                 strcmp(pgrows_text(rows, i, 1), schema_migrations[i].sha256) != 0)
            is_good = fault_set(
                fault, 500, SUB_NONE,
                "migration \"%s\" of this program is not the one that the database was made with",
                schema_migrations[i].name);
    }
    if (is_good && count > schema_migrations_count)
        is_good = fault_set(fault, 500, SUB_NONE,
                            "the database is newer than this program: it has schema version %d, "
                            "and Orrery %s knows "
                            "versions up to %d; use a newer Orrery",
                            count, ORRERY_VERSION, schema_migrations_count);
    pgrows_free(rows);
    *version = count;
    return is_good;
}

static bool check_encoding(struct pgsession *session, struct fault *fault)
{
    char *encoding;

    if (!pgsession_value(session, "select current_setting('server_encoding')", NULL, 0, &encoding,
                         fault))
        return false;
    bool is_utf8 = encoding != NULL && strcmp(encoding, "UTF8") == 0;
    if (!is_utf8)
        fault_set(fault, 500, SUB_NONE, "the database has encoding \"%s\"; UTF8 is needed",
                  encoding != NULL ? encoding : "");
    free(encoding);
    return is_utf8;
}

/* Strings in jsonb are ordered as the database orders text, and indexes for queries with them; the
 * language orders by code points. */
static bool check_collation(struct pgsession *session, struct fault *fault)
{
    char *is_by_code_point;

    if (!pgsession_value(session,
                         "select jsonb '\"Z\"' < jsonb '\"a\"' and jsonb '\"a b\"' < jsonb '\"aa\"'"
                         " and jsonb '\"z\"' < jsonb '\"\\u00e9\"'",
                         NULL, 0, &is_by_code_point, fault))
        return false;
    bool is_right = is_by_code_point != NULL && strcmp(is_by_code_point, "t") == 0;
    if (!is_right)
        fault_set(fault, 500, SUB_NONE,
                  "the database does not order text by code points; create it with template0 and "
                  "lc_collate 'C'");
    free(is_by_code_point);
    return is_right;
}

static bool check_server(struct pgsession *session, struct fault *fault)
{
    int version = pgsession_server_version(session);

    if (version < SCHEMA_SERVER_VERSION_MIN)
        return fault_set(fault, 500, SUB_NONE, "PostgreSQL %d is too old; %d or newer is needed",
                         version / 10000, SCHEMA_SERVER_VERSION_MIN / 10000);
    return check_encoding(session, fault) && check_collation(session, fault);
}

static bool apply(struct pgsession *session, const struct schema_migration *migration,
                  struct fault *fault)
{
    char version[16];
    const char *params[] = {version, migration->name, migration->sha256, ORRERY_VERSION};
    struct fault why = {0}, ignored;
    struct pgrows *rows = NULL;

    snprintf(version, sizeof(version), "%d", migration->version);
    bool is_done =
        pgsession_run(session, "begin", &why) && pgsession_run(session, migration->sql, &why) &&
        (pgsession_in_transaction(session) ||
         fault_set(&why, 500, SUB_NONE, "it ends the transaction that it should run in")) &&
        (rows =
             pgsession_query(session,
                             "insert into orrery.schema_migrations (version, name, sha256, program)"
                             " values ($1::integer, $2, $3, $4)",
                             params, 4, &why)) != NULL &&
        pgsession_run(session, "commit", &why);
    pgrows_free(rows);
    if (is_done) {
        log_info(NULL, "migration applied", "version=%d name=%s", migration->version,
                 migration->name);
        return true;
    }
    if (!pgsession_run(session, "rollback", &ignored))
        log_debug(NULL, "rollback failed", "reason=\"%s\"", ignored.message);
    return fault_set(fault, why.status, SUB_NONE, "migration \"%s\": %s", migration->name,
                     why.message);
}

/* A region's ordinal is in its vectors and rids, so it is set before the first write and then holds
 * for ever. */
static bool settle_ordinal(struct pgsession *session, int ordinal, struct fault *fault)
{
    char number[16], *stored;
    const char *params[] = {number};

    if (ordinal == 0)
        return true;
    snprintf(number, sizeof(number), "%d", ordinal);
    if (!pgsession_value(session, "select orrery.region_settle($1)", params, 1, &stored, fault))
        return false;
    bool is_same = stored != NULL && atoi(stored) == ordinal;
    if (!is_same)
        fault_set(fault, 500, SUB_NONE,
                  "the database holds data of the region with ordinal %s, not %d",
                  stored != NULL ? stored : "?", ordinal);
    free(stored);
    return is_same;
}

static bool lock(struct pgsession *session, struct fault *fault)
{
    bool is_locked;

    if (!pgsession_lock(session, MIGRATION_LOCK, false, &is_locked, fault))
        return false;
    if (is_locked)
        return true;
    log_info(NULL, "waiting for another migration to end", "%s", "");
    return pgsession_lock(session, MIGRATION_LOCK, true, &is_locked, fault);
}

static bool migrate(struct pgsession *session, int ordinal, struct schema_outcome *outcome,
                    struct fault *fault)
{
    /* The version is read under the lock: what was applied while we waited is not applied again. */
    if (!check_server(session, fault) || !pgsession_run(session, prepare_sql, fault) ||
        !lock(session, fault) || !read_version(session, &outcome->version_before, fault))
        return false;
    outcome->version_after = outcome->version_before;
    if (outcome->version_before == 0 && !pgsession_run(session, table_sql, fault))
        return false;
    while (outcome->version_after < schema_migrations_count) {
        if (!apply(session, &schema_migrations[outcome->version_after], fault))
            return false;
        outcome->version_after++;
    }
    return settle_ordinal(session, ordinal, fault);
}

bool schema_migrate(const char *url, int ordinal, struct schema_outcome *outcome,
                    struct fault *fault)
{
    *outcome = (struct schema_outcome){0};
    struct pgsession *session = pgsession_open(url, "orrery migrate", CONNECT_TIMEOUT_S, fault);
    if (session == NULL)
        return false;
    bool is_done = migrate(session, ordinal, outcome, fault);
    pgsession_close(session); /* and with it the lock */
    return is_done;
}

static bool ensure_database(struct pgsession *session, const char *name, struct fault *fault)
{
    char *found, sql[128];
    struct fault ignored;

    if (!pgsession_value(session, "select 'yes' from pg_catalog.pg_database where datname = $1",
                         &name, 1, &found, fault))
        return false;
    bool is_there = found != NULL;
    free(found);
    snprintf(sql, sizeof(sql), "create database %s", name);
    if (!is_there && !pgsession_run(session, sql, fault))
        return false;
    /* Saves 13 us per write of large items (measured); a server built without it goes on with its
     * own. */
    snprintf(sql, sizeof(sql), "alter database %s set default_toast_compression = 'lz4'", name);
    if (!is_there && !pgsession_run(session, sql, &ignored))
        log_info(NULL, "no lz4 in this PostgreSQL", "reason=\"%s\"", ignored.message);
    return true;
}

bool schema_database_ensure(const char *url, const char *name, struct fault *fault)
{
    struct pgsession *session = pgsession_open(url, "orrery up", CONNECT_TIMEOUT_S, fault);
    bool is_there = session != NULL && ensure_database(session, name, fault);

    pgsession_close(session);
    return is_there;
}

bool schema_check(const char *url, const char **message)
{
    static _Thread_local struct fault fault;
    int version = 0;

    *message = NULL;
    struct pgsession *session = pgsession_open(url, "orrery", CONNECT_TIMEOUT_S, &fault);
    bool is_good =
        session != NULL && check_server(session, &fault) && read_version(session, &version, &fault);
    pgsession_close(session);
    if (is_good && version == 0)
        is_good =
            fault_set(&fault, 500, SUB_NONE,
                      "the database has no Orrery schema; run \"orrery migrate --database URL\"");
    else if (is_good && version < schema_migrations_count)
        is_good = fault_set(
            &fault, 500, SUB_NONE,
            "the database has schema version %d, this program needs %d; run \"orrery migrate "
            "--database URL\"",
            version, schema_migrations_count);
    if (!is_good)
        *message = fault.message;
    return is_good;
}
