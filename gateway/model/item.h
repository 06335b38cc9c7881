/*
 * An item: the client's JSON object, and the system properties that are added to it on the way out.
 *
 * What is stored is the client's text without the top-level members _rid, _self, _etag,
 * _attachments and _ts (clients send them back after a read; they are accepted and ignored); all
 * else keeps its bytes. Source: REST reference "Documents"; docs/architecture.md, section 3.
 */
#ifndef ORRERY_MODEL_ITEM_H
#define ORRERY_MODEL_ITEM_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/fault.h"
#include "model/json.h"
#include "model/json_tree.h"

#include <stdint.h>

/* Largest item, as the client sends it. Source: the service's limits page. */
#define ITEM_BYTES_MAX 2097152
/* Longest id of an item, in bytes of UTF-8. */
#define ITEM_ID_BYTES_MAX 1023

struct item {
    struct slice id;         /* decoded */
    struct slice stored;     /* the object without system properties; for the column body */
    struct json_text parsed; /* the object as sent, for json_find_path and such */
    bool has_ttl;
    int32_t ttl_s; /* 1 … 2147483647, or -1: never expires */
};

/* What the server knows of an item and its client does not. */
struct item_system {
    struct slice rid;  /* public text */
    struct slice self; /* path with rids, such as dbs/…/colls/…/docs/…/ */
    struct slice etag; /* without the quotes that belong to the public text */
    int64_t ts_s;
    bool has_lsn;
    uint64_t lsn; /* _lsn, in the change feed */
};

/*
 * Parse the body of a create, replace or upsert.
 *
 * body     borrowed: the item's slices point into it, or into the arena
 * fault    413 above ITEM_BYTES_MAX; 400 for what json_validate refuses, no object, id missing (the
 * message names the required property as SDKs expect), no string, empty, too long, with / \ # or a
 * space at its end; ttl that is no integer or outside its range. 503 without memory
 */
bool item_parse(struct slice body, struct arena *arena, struct item *item,
                struct fault *fault) MUST_CHECK;

/* The rules for ids alone, for ids that come in a path. Fault 400. */
bool item_id_check(struct slice id, struct fault *fault) MUST_CHECK;

/* The text for the column doc: stored, with numbers normalised (json_normalize). Fault 503. */
bool item_doc(const struct item *item, struct arena *arena, struct slice *doc,
              struct fault *fault) MUST_CHECK;

/* Append a stored object with its system properties behind its last member; item_parse gives the
 * same stored text. */
void item_print(struct buf *out, struct slice stored, const struct item_system *system);

/* The same as a tree in the arena; NULL without memory. */
cJSON *item_tree(struct arena *arena, struct slice stored,
                 const struct item_system *system) MUST_CHECK;

/* Is this member (a string with quotes) one that only the server sets? */
bool item_name_is_system(struct slice name);

#endif
