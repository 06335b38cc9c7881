/*
 * The schema and its version: migrations that the program carries, and what a database has of them.
 *
 * A migration is a file of schema/, embedded by scripts/embed_schema.py. It is applied once, in one
 * transaction together with its row in orrery.schema_migrations, under an advisory lock of the
 * database. A migration is never edited after a release; its digest in the row tells when it was.
 */
#ifndef ORRERY_STORE_SCHEMA_H
#define ORRERY_STORE_SCHEMA_H

#include "base/compiler.h"
#include "base/fault.h"

struct schema_migration {
    int version;        /* 1… */
    const char *name;   /* file name */
    const char *sha256; /* of the text, hex */
    const char *sql;
};

extern const struct schema_migration schema_migrations[];
extern const int schema_migrations_count;

/* Least server this is made for and tested with. */
#define SCHEMA_SERVER_VERSION_MIN 150000

struct schema_outcome {
    int version_before; /* 0: there was no schema */
    int version_after;
};

/*
 * Bring a database up to the program's version. Does nothing when it is there already; two at once
 * wait for each other.
 *
 * url      connection string; its user must be allowed to create a schema
 * ordinal  of the region the database is for; written into a database without data. 0: leave it
 * fault    what stands in the way: the server, a database newer than the program, an edited
 * migration, another encoding than UTF8, data of a region with another ordinal
 */
bool schema_migrate(const char *url, int ordinal, struct schema_outcome *outcome,
                    struct fault *fault) MUST_CHECK;

/*
 * Create a database when it is missing, and give it the settings that the schema wants.
 *
 * url   of another database of the same server, such as "postgres"
 * name  a plain identifier
 */
bool schema_database_ensure(const char *url, const char *name, struct fault *fault) MUST_CHECK;

/*
 * Does a database have exactly the schema this program was built with?
 *
 * message  borrowed until the next call on this thread: what is wrong and what helps; NULL when it
 * matches
 */
bool schema_check(const char *url, const char **message) MUST_CHECK;

#endif
