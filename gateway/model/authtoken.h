/*
 * The authorization header: who may do what.
 *
 * A master token is a signature over the request's method, resource and date under one of the
 * account's four keys; the server signs what it received and compares. A resource token was given
 * out with a permission and says itself what it opens and until when; it is signed under an account
 * key, so that no look-up is needed, and stays valid until it expires even when its permission is
 * deleted.
 *
 * Source: protocol reference, section 3.
 */
#ifndef ORRERY_MODEL_AUTHTOKEN_H
#define ORRERY_MODEL_AUTHTOKEN_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/fault.h"
#include "model/rid.h"

#include <stdint.h>

#define AUTHTOKEN_HEADER_BYTES_MAX 16384
#define AUTHTOKEN_SKEW_S (15 * 60)
#define AUTHTOKEN_LIFETIME_DEFAULT_S 3600
#define AUTHTOKEN_LIFETIME_MAX_S 18000

enum authtoken_type { AUTHTOKEN_MASTER, AUTHTOKEN_RESOURCE };

struct authtoken {
    enum authtoken_type type;
    struct slice signature; /* decoded from the URL; borrowed or in the arena */
};

/* The account's keys as bytes (decoded from base64); absent or empty ones are skipped. */
struct authtoken_keys {
    struct slice primary, secondary;
    struct slice read_primary, read_secondary;
};

enum authtoken_access { AUTHTOKEN_READ_WRITE, AUTHTOKEN_READ_ONLY };

/* What of a request is signed. */
struct authtoken_request {
    struct slice method;
    struct slice
        resource_type; /* "docs"; for a feed the type of its elements; empty for the account */
    struct slice other_type; /* a second word that clients sign for the same, or absent */
    struct slice link;       /* percent-decoded path of the resource, of the parent for a feed */
    bool link_is_rid;        /* link is the last resource id of the path: signed in lower case */
    struct slice raw_link;   /* the same as it came; may be absent */
    struct slice ms_date;    /* header x-ms-date, or absent */
    struct slice date;       /* header Date, or absent */
};

/* Type word and link of a path without query; spans of it. */
struct authtoken_path {
    struct slice resource_type, link;
    bool link_is_rid;
};

/*
 * Read the header, percent-encoded or not.
 *
 * fault  401 when missing, malformed or of a type that is not served here (aad, sas)
 */
bool authtoken_parse(struct authtoken *token, struct slice header, struct arena *arena,
                     struct fault *fault) MUST_CHECK;

/*
 * Verify a master token.
 *
 * now_s   seconds since 1970
 * access  what the key allows
 * fault   401 without a date or with a malformed one, or when no key gives this signature (the
 * message shows the text that was signed); 403 when the date is more than 15 minutes off
 */
bool authtoken_verify(const struct authtoken *token, const struct authtoken_request *request,
                      const struct authtoken_keys *keys, int64_t now_s,
                      enum authtoken_access *access, struct fault *fault) MUST_CHECK;

/* 403 when a read-only key was used for something that writes. */
bool authtoken_check_access(enum authtoken_access access, bool is_write,
                            struct fault *fault) MUST_CHECK;

/*
 * Type and link of a decoded path by the number of its segments: "/dbs/d/colls/c/docs" gives "docs"
 * and "dbs/d/colls/c". A path by resource ids gives the last of them, which must be signed in lower
 * case. partitionkeydelete gives "colls" and the container.
 */
void authtoken_split_path(struct authtoken_path *split, struct slice path);

/*
 * The header for a request, percent-encoded: what `orrery sign` prints.
 *
 * key   bytes; link, date and method as they will be sent
 */
void authtoken_sign(struct buf *buf, struct slice key, const struct authtoken_request *request);

/* Resource tokens ------------------------------------------------------------------------------ */

/*
 * What a permission opens, by numbers: a container made again under an old name is another one.
 *
 * A scope without container is the whole database; without child_id everything in the container.
 */
struct authtoken_scope {
    bool is_write; /* mode All */
    uint32_t database, container;
    enum rid_type child;   /* type of what child_id names */
    struct slice child_id; /* name of one child, or absent */
    struct slice pk; /* bytes of column "pk" (pkey_encode): only items of this key; or absent */
};

struct authtoken_grant {
    struct authtoken_scope scope;
    struct rid permission;
    int64_t expires_s; /* seconds since 1970 */
};

/* What a request touches. */
enum authtoken_touch {
    AUTHTOKEN_CONTAINER, /* the container itself */
    AUTHTOKEN_PKRANGES,
    AUTHTOKEN_CHILDREN, /* a feed, query or batch over children of one type */
    AUTHTOKEN_CHILD,    /* one child */
    AUTHTOKEN_OTHER     /* anything else: databases, users, offers, … */
};

struct authtoken_target {
    enum authtoken_touch touch;
    bool is_write; /* POST queries are reads */
    uint32_t database, container;
    enum rid_type child;
    struct slice child_id; /* of AUTHTOKEN_CHILD, and of a created child */
    struct slice pk;       /* bytes of column "pk", or absent when the request names no key */
};

/* Print a token: "type=resource&ver=1&sig=…;…;…;". Signed under the primary key. */
void authtoken_grant_format(struct buf *buf, const struct authtoken_grant *grant,
                            const struct authtoken_keys *keys);

/*
 * Verify a resource token; slices of the grant live in the arena.
 *
 * fault  401 when malformed or signed under none of the read-write keys, 403 when expired
 */
bool authtoken_grant_verify(struct authtoken_grant *grant, const struct authtoken *token,
                            const struct authtoken_keys *keys, int64_t now_s, struct arena *arena,
                            struct fault *fault) MUST_CHECK;

/*
 * Does a scope allow this? Fault 403.
 *
 * Whatever is inside a container opens reading the container and its ranges, because SDKs read both
 * first.
 */
bool authtoken_scope_check(const struct authtoken_scope *scope,
                           const struct authtoken_target *target, struct fault *fault) MUST_CHECK;

/* Seconds of x-ms-documentdb-expiry-seconds: 3600 when absent; 400 unless within 1 to 18000. */
bool authtoken_lifetime_parse(int64_t *lifetime_s, struct slice header,
                              struct fault *fault) MUST_CHECK;

#endif
