/*
 * Request paths: which resource a path names.
 *
 * Segments come in pairs, type and id. Type words are recognised by their position, never by value
 * alone, because a database may be called "colls". Each segment is percent-decoded once, after the
 * split, so "%2F" in an id is a character of the id.
 */
#ifndef ORRERY_REQUEST_PATH_H
#define ORRERY_REQUEST_PATH_H

#include "base/arena.h"
#include "base/fault.h"

/*
 * Rows: kind, pattern, type word for signing. A pattern ending in a type word is a feed.
 */
#define PATH_TABLE(ROW)                                                                    \
    ROW(PATH_ACCOUNT, "/", "")                                                             \
    ROW(PATH_ALIVE, "/alive", "")                                                          \
    ROW(PATH_READY, "/ready", "")                                                          \
    ROW(PATH_STATUS, "/status", "")                                                        \
    ROW(PATH_METRICS, "/metrics", "")                                                      \
    ROW(PATH_EMULATOR_PEM, "/_explorer/emulator.pem", "")                                  \
    ROW(PATH_FAULTS, "/_orrery/faults", "")                                                \
    ROW(PATH_PULL, "/_orrery/pull", "")                                                    \
    ROW(PATH_BEAT, "/_orrery/beat", "")                                                    \
    ROW(PATH_TOPOLOGY, "/_orrery/topology", "")                                            \
    ROW(PATH_EPOCH, "/_orrery/epoch", "")                                                  \
    ROW(PATH_CHANGE, "/_orrery/change", "")                                                \
    ROW(PATH_DATABASES, "/dbs", "dbs")                                                     \
    ROW(PATH_DATABASE, "/dbs/{db}", "dbs")                                                 \
    ROW(PATH_CONTAINERS, "/dbs/{db}/colls", "colls")                                       \
    ROW(PATH_CONTAINER, "/dbs/{db}/colls/{coll}", "colls")                                 \
    ROW(PATH_ITEMS, "/dbs/{db}/colls/{coll}/docs", "docs")                                 \
    ROW(PATH_ITEM, "/dbs/{db}/colls/{coll}/docs/{doc}", "docs")                            \
    ROW(PATH_PKRANGES, "/dbs/{db}/colls/{coll}/pkranges", "pkranges")                      \
    ROW(PATH_SPROCS, "/dbs/{db}/colls/{coll}/sprocs", "sprocs")                            \
    ROW(PATH_SPROC, "/dbs/{db}/colls/{coll}/sprocs/{sproc}", "sprocs")                     \
    ROW(PATH_TRIGGERS, "/dbs/{db}/colls/{coll}/triggers", "triggers")                      \
    ROW(PATH_TRIGGER, "/dbs/{db}/colls/{coll}/triggers/{trigger}", "triggers")             \
    ROW(PATH_UDFS, "/dbs/{db}/colls/{coll}/udfs", "udfs")                                  \
    ROW(PATH_UDF, "/dbs/{db}/colls/{coll}/udfs/{udf}", "udfs")                             \
    ROW(PATH_CONFLICTS, "/dbs/{db}/colls/{coll}/conflicts", "conflicts")                   \
    ROW(PATH_CONFLICT, "/dbs/{db}/colls/{coll}/conflicts/{conflict}", "conflicts")         \
    ROW(PATH_PARTITION_KEY_DELETE, "/dbs/{db}/colls/{coll}/operations/partitionkeydelete", \
        "colls")                                                                           \
    ROW(PATH_USERS, "/dbs/{db}/users", "users")                                            \
    ROW(PATH_USER, "/dbs/{db}/users/{user}", "users")                                      \
    ROW(PATH_PERMISSIONS, "/dbs/{db}/users/{user}/permissions", "permissions")             \
    ROW(PATH_PERMISSION, "/dbs/{db}/users/{user}/permissions/{permission}", "permissions") \
    ROW(PATH_KEYS, "/dbs/{db}/clientencryptionkeys", "clientencryptionkeys")               \
    ROW(PATH_KEY, "/dbs/{db}/clientencryptionkeys/{key}", "clientencryptionkeys")          \
    ROW(PATH_OFFERS, "/offers", "offers")                                                  \
    ROW(PATH_OFFER, "/offers/{offer}", "offers")

enum path_kind {
#define ROW(kind, pattern, word) kind,
    PATH_TABLE(ROW)
#undef ROW
        PATH_KIND_COUNT
};

/* The most ids that a path holds: /dbs/{db}/users/{user}/permissions/{permission}. */
#define PATH_IDS_MAX 3

struct resource_path {
    enum path_kind kind;
    bool is_feed;
    struct slice ids[PATH_IDS_MAX]; /* decoded, in order; absent beyond the path's end */
    struct slice id;                /* the last of them */
    struct slice link;     /* what a signature covers, decoded: the resource, or a feed's parent */
    struct slice raw_link; /* the same as it was sent */
    const char *type_word; /* what a signature covers; borrowed for ever */
};

/*
 * Read a path.
 *
 * raw    the path as sent, without the query string
 * fault  400 for a broken escape, NUL or invalid UTF-8 in a segment; 404 for a path that names
 * nothing here; 400 naming what is not supported (addresses, attachments, schemas, media)
 */
bool path_parse(struct resource_path *path, struct slice raw, struct arena *arena,
                struct fault *fault) MUST_CHECK;

/* The pattern of a kind, such as /dbs/{db}. */
const char *path_pattern(enum path_kind kind);

#endif
