/*
 * Point reads. Those that meet travel together.
 *
 * While a connection is busy, keys gather; when one is free, up to STORE_READ_BATCH_MAX leave as
 * one group of statements in one transaction: the first reads their ranges, then comes one for the
 * items of each container. A lone key has a statement of its own that reads both. Either way the
 * range's state, epoch and vector are of the same snapshot as the item, so a session token is
 * checked against exactly what is read. Statements of a group cost the server much less than the
 * same ones with a transaction each: docs/performance.md.
 */
#ifndef ORRERY_STORE_READS_H
#define ORRERY_STORE_READS_H

#include "store/store.h"

#define STORE_READ_BATCH_MAX 128

struct item_key {
    uint32_t container; /* number */
    int64_t range_id;
    struct slice pk; /* column pk, in the op's arena */
    struct slice id;
};

/* Columns of a row that read many items. */
enum {
    READ_NUMBER,      /* int: which key */
    READ_EPOCH,       /* bigint */
    READ_STATE,       /* text; store_range_is_served says what it means */
    READ_VECTOR,      /* bigint[] */
    READ_DEFAULT_TTL, /* int, NULL: the container's items do not expire */
    READ_ETAG,        /* uuid; NULL: no item. The rest is NULL with it. */
    READ_TS,
    READ_TTL,
    READ_RID,
    READ_LSN,
    READ_BODY,
    READ_ORIGIN
};

struct store_reads;

struct store_reads *store_reads_create(void);
void store_reads_destroy(struct store_reads *reads);
void store_reads_flush(struct store *store);
bool store_reads_are_idle(const struct store *store);

/*
 * Read one item. The next step calls store_read_check before it looks at the row.
 *
 * key  borrowed; in the op's arena
 */
enum op_next store_read(struct store *store, struct op *op, const struct item_key *key,
                        op_step *next);

/*
 * Read many items of one container in one statement. The next step finds a row per key whose range
 * is there: READ_NUMBER says which key, from 1. store_read_many_check reads the row that op->row
 * names.
 *
 * keys  borrowed until the call returns
 */
enum op_next store_read_many(struct store *store, struct op *op, const struct item_key *const *keys,
                             unsigned count, op_step *next);

/* What a point read found. Slices are borrowed from the result: only for this step. */
struct item_row {
    int64_t epoch;
    struct slice vector;
    bool exists;       /* and has not expired */
    struct slice etag; /* 16 bytes */
    int64_t ts;
    uint64_t rid;
    int64_t lsn;
    unsigned origin; /* of lsn */
    struct slice body;
};

enum store_read_end {
    STORE_READ_ROW,
    STORE_READ_GONE, /* the range or the container is not there any more: find it again by name */
    STORE_READ_FAULT /* op->fault is set */
};

/* now_s decides about expiry. */
enum store_read_end store_read_check(struct op *op, int64_t now_s, struct item_row *row);
enum store_read_end store_read_many_check(struct op *op, int64_t now_s, struct item_row *row);

/* Has an item expired? default_ttl: see docs/architecture.md; has_* false for NULL. */
bool item_has_expired(int64_t ts, bool has_ttl, int32_t ttl, bool has_default, int32_t default_ttl,
                      int64_t now_s);

#endif
