/*
 * Definitions: databases, containers, users, permissions, scripts, keys and offers, as items of
 * container 0.
 *
 * A definition is found by walking its path from the database down, each step by name or, where no
 * sibling has that name, by resource id; one statement walks the whole path, so what it finds was
 * true at one moment. Nothing here is cached. Changes go through write_0, most of them as ordinary
 * writes (store/writes.h) of metadata_key's items; those that make or remove tables run a function
 * of their own on the query pool.
 */
#ifndef ORRERY_STORE_METADATA_H
#define ORRERY_STORE_METADATA_H

#include "model/epk.h"
#include "query/index_set.h"
#include "store/store.h"
#include "store/writes.h"

/* /dbs/{db}/users/{user}/permissions/{permission} */
#define METADATA_DEPTH_MAX 3

/* A list ends early with the first definition that passes so many bytes. */
#define METADATA_LIST_BYTES (6u << 20)

/* Offers are numbered after what they belong to; this keeps their column rid apart. */
#define METADATA_OFFER_BIT ((uint64_t) 1 << 40)

enum metadata_kind {
    METADATA_NONE,
    METADATA_DATABASE,
    METADATA_CONTAINER,
    METADATA_USER,
    METADATA_PERMISSION,
    METADATA_GRANT, /* says that a permission on a resource exists; never shown */
    METADATA_SPROC,
    METADATA_TRIGGER,
    METADATA_UDF,
    METADATA_KEY,
    METADATA_RANGES, /* of a container, as they were made; never shown */
    METADATA_OFFER
};

/* The word in paths, and in front of the column pk: "dbs", "colls", … */
const char *metadata_word(enum metadata_kind kind);

struct metadata_path {
    unsigned depth;
    enum metadata_kind kinds[METADATA_DEPTH_MAX];
    struct slice names[METADATA_DEPTH_MAX]; /* an id, or a resource id */
};

/* One definition. */
struct metadata {
    enum metadata_kind kind;
    uint64_t number;
    struct slice id;
    uint8_t etag[16];
    int64_t ts;
    struct slice body; /* without system properties */
};

/*
 * Walk a path. The next step calls metadata_found. An offer's path is one step, its resource id.
 */
enum op_next metadata_find(struct store *store, struct op *op, const struct metadata_path *path,
                           op_step *next);

/*
 * What was found, copied into the op's arena: the first so many of the path.
 *
 * returns  false and op->fault when the statement or memory failed
 */
bool metadata_found(struct op *op, const struct metadata_path *path,
                    struct metadata found[METADATA_DEPTH_MAX], unsigned *count) MUST_CHECK;

/*
 * Walk a path, and list children of what it names, in the order in which they were made. The next
 * step calls metadata_found, then metadata_child for rows from count on while pgio_row_count lasts.
 *
 * after  number of the last child that is not wanted any more; 0 for none
 */
enum op_next metadata_list(struct store *store, struct op *op, const struct metadata_path *parent,
                           enum metadata_kind children, uint64_t after, unsigned limit,
                           op_step *next);

/* A row after those of the path; slices are borrowed from the result: only for this step. */
void metadata_child(const struct op *op, enum metadata_kind kind, int row, struct metadata *child);

/* All offers. The rows are children. */
enum op_next metadata_list_offers(struct store *store, struct op *op, uint64_t after,
                                  unsigned limit, op_step *next);

/* Take a number for a new definition; the next step calls metadata_number. */
enum op_next metadata_number_take(struct store *store, struct op *op, op_step *next);

/* False and op->fault: 5xx, or 507 when all numbers are used up. */
bool metadata_number(struct op *op, uint32_t *number) MUST_CHECK;

/*
 * The column pk of a kind's definitions under a parent (number; 0 for databases).
 *
 * returns  in the arena; absent without memory
 */
struct slice metadata_pk(struct arena *arena, enum metadata_kind kind, uint64_t parent);

/* Resource id of an offer: its column id and its public _rid. In the arena; absent without memory.
 */
struct slice metadata_offer_rid(struct arena *arena, uint32_t number);

/* What container_create needs besides its operations. */
struct metadata_container {
    uint32_t number;
    const struct epk *mins, *maxs; /* of the ranges */
    size_t range_count;
    bool has_default_ttl;
    int32_t default_ttl;
    bool has_unique_keys;
    const struct index_wanted *indexes; /* that its policy declares */
    size_t index_count;
};

/*
 * Make a container: the operations of the write, its tables and ranges, all or nothing. The next
 * step calls metadata_written.
 */
enum op_next metadata_container_create(struct store *store, struct op *op, struct write *write,
                                       const struct metadata_container *container, op_step *next);

/* Replace a container's definition; its ranges learn the default lifetime. */
enum op_next metadata_container_replace(struct store *store, struct op *op, struct write *write,
                                        const struct metadata_container *container, op_step *next);

/*
 * Delete one definition and everything below it; of a container only what is needed at once, the
 * tables go when orrery.container_reap is called. The write has one operation, a delete.
 */
enum op_next metadata_drop(struct store *store, struct op *op, struct write *write, op_step *next);

/* Take the results of the three above. False and op->fault: 403 SUB_WRITE_FORBIDDEN, 408, 5xx. */
bool metadata_written(struct op *op, struct write *write) MUST_CHECK;

/* One live range of a container. */
struct metadata_range {
    uint32_t index;
    struct epk min, max;
    int64_t lsn; /* sum over the vector */
};

/*
 * Ranges of a container, in one moment with its path (database, container). The next step calls
 * metadata_ranges.
 */
enum op_next metadata_find_ranges(struct store *store, struct op *op,
                                  const struct metadata_path *path, op_step *next);

/*
 * What was found of the path, and if all of it the ranges in order, in the arena.
 *
 * last_index  the highest index that a range of this container ever had
 */
bool metadata_ranges(struct op *op, const struct metadata_path *path,
                     struct metadata found[METADATA_DEPTH_MAX], unsigned *found_count,
                     struct metadata_range **ranges, size_t *range_count,
                     uint32_t *last_index) MUST_CHECK;

/* Ask how far its indexes follow its policy; the next step calls metadata_progress. */
enum op_next metadata_ask_progress(struct store *store, struct op *op, uint32_t container,
                                   op_step *next);

/* In percent. */
bool metadata_progress(struct op *op, int32_t *percent) MUST_CHECK;

/* Measure a container's table; the next step calls metadata_usage. */
enum op_next metadata_measure(struct store *store, struct op *op, uint32_t container,
                              op_step *next);

/* In KB; the count is PostgreSQL's estimate, -1 while it has none. */
bool metadata_usage(struct op *op, int64_t *size_kb, int64_t *count) MUST_CHECK;

#endif
