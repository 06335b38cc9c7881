/*
 * What definitions have in common: databases, containers, users, permissions, scripts, keys,
 * offers.
 *
 * Every kind is a row of facts, struct resource_type, over one implementation of create, upsert,
 * read, list, query, replace and delete. A kind that does more fills in the hooks.
 *
 * A change first finds its path, then writes under guards: that the parent still exists (a create),
 * that the version is the one that was found (a replace). When a guard fails it starts over, so two
 * gateways cannot contradict each other.
 */
#ifndef ORRERY_SERVICE_RESOURCE_H
#define ORRERY_SERVICE_RESOURCE_H

#include "model/json.h"
#include "model/rid.h"
#include "query/filter.h"
#include "service/call.h"
#include "service/consistency.h"
#include "store/metadata.h"

#define RESOURCE_OPERATIONS_MAX 5

/* Longest definition, as the client sends it. */
#define RESOURCE_BYTES_MAX (1u << 20)
/* The same as stored, with what is filled in. */
#define RESOURCE_BYTES_STORED_MAX (RESOURCE_BYTES_MAX + (1u << 20))

struct resource_type {
    enum metadata_kind kind;
    enum rid_type rid_type;
    const char *noun;      /* for messages */
    const char *feed_name; /* the array in feeds */
    const char *feeds;     /* members that name the feeds below, each after a comma; "" for none */
    unsigned depth;        /* steps of a path: 1 for databases */
    enum metadata_kind parents[METADATA_DEPTH_MAX - 1];
    bool is_upsertable, may_be_renamed;
    bool has_children; /* deleted with everything below */

    /* Read the body into id and definition; NULL: resource_parse. On a replace the stored one is
     * the last of found. */
    bool (*parse)(struct op *op);
    /* Find out more before the write; ends in resource_write. NULL: nothing. */
    op_step *prepare;
    /* Add operations to the write, which is ready to be sent; NULL: none. */
    bool (*add)(struct op *op);
    /* Send the write in another way than as an ordinary one; NULL: store_write. */
    enum op_next (*send)(struct op *op, op_step *next);
    /* After a change, before it is answered; NULL: nothing. */
    void (*changed)(struct op *op);
    /* Print a definition as clients see it, without its closing brace; NULL: as stored. */
    void (*print)(struct op *op, struct buf *buf, const struct metadata *one);
};

enum resource_change { RESOURCE_CREATE, RESOURCE_REPLACE, RESOURCE_DELETE };

/* State between steps: the first member of a kind's own state. */
struct resource {
    const struct resource_type *type;
    op_step *next; /* after the path was found */
    struct metadata_path path;
    struct metadata found[METADATA_DEPTH_MAX];
    unsigned found_count;
    /* a change */
    enum resource_change change;
    bool is_upsert;
    unsigned attempts;
    struct slice id, definition;
    uint32_t number; /* of the created one */
    uint8_t etag[16];
    struct write write;
    struct consistency consistency; /* of the write */
    struct write_operation operations[RESOURCE_OPERATIONS_MAX];
    unsigned main_operation; /* the one that is answered */
    /* a feed */
    bool is_query;
    struct filter filter;
    uint64_t after;
    unsigned limit, count;
    bool has_more;
    struct buf page; /* the elements; tied to the arena */
};

/* Steps that a kind's handlers name with their type. */
enum op_next resource_create(struct op *op, const struct resource_type *type); /* or query */
enum op_next resource_list(struct op *op, const struct resource_type *type);
enum op_next resource_query(struct op *op, const struct resource_type *type);
enum op_next resource_read(struct op *op, const struct resource_type *type);
enum op_next resource_replace(struct op *op, const struct resource_type *type);
enum op_next resource_delete(struct op *op, const struct resource_type *type);

/* Pieces, for kinds that do more. */

/* Does a POST to a feed ask rather than create? */
bool resource_is_query(const struct op *op);

/* Allocate a state of size bytes that begins with a struct resource, for the request's path. */
struct resource *resource_begin(struct op *op, const struct resource_type *type, size_t size);

/* Find the path and go on. Fault 404, with SUB_OWNER_RESOURCE_NOT_FOUND when a parent is missing;
 * 503 when it is not known whether the hub has it. */
enum op_next resource_find(struct op *op, op_step *next);

/* The same, but the last of the path may be missing: found_count tells. */
enum op_next resource_find_parent(struct op *op, op_step *next);

/* Go on with a change, the state being prepared. */
enum op_next resource_create_begun(struct op *op);
enum op_next resource_replace_begun(struct op *op);

/* Write what was parsed and prepared. */
enum op_next resource_write(struct op *op);

/* Add an operation to the write that is being made; NULL and a fault without memory. */
struct write_operation *resource_add(struct op *op, enum write_kind kind,
                                     enum metadata_kind metadata, uint64_t parent, struct slice id);

/* The definition that stands at the end of the path, once found. */
const struct metadata *resource_one(const struct resource *self);
/* The parent; NULL for databases and offers. */
const struct metadata *resource_parent(const struct resource *self);

/* Resource id of one at the end of this path. */
struct rid resource_rid(const struct resource *self, const struct metadata *one);

/* As clients see it. */
void resource_print(struct op *op, struct buf *buf, const struct metadata *one);

/* Answer one, with its headers; 304 when if-none-match names its version. */
enum op_next resource_reply_read(struct op *op);

/* Headers that name the owner. */
void resource_reply_owner(struct op *op);

/* A JSON object as definitions are read: validated, with an id; without system properties. */
bool resource_parse(struct op *op);

/* Append an object's members, each with a comma in front, without those that only the server sets
 * and without those named in except (ending in NULL; may be NULL). */
void resource_append_members(struct buf *buf, struct slice object, const char *const *except);

/* Validate a body that must be an object. Fault 400, 413. */
bool resource_body(struct op *op, struct slice *object) MUST_CHECK;

/* A buffer that the arena frees. */
bool resource_defer_buf(struct op *op, struct buf *buf) MUST_CHECK;

/* The buffer's bytes moved to the arena; absent and a fault when printing failed. */
struct slice resource_keep(struct op *op, struct buf *buf);

#endif
