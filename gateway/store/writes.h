/*
 * Writes: everything that waits for one range goes to PostgreSQL as one call of the container's
 * write function, one call in flight per range. While it commits, the next batch gathers; a lone
 * write leaves at once.
 *
 * A batch holds no item twice: a second operation on an item waits for the next batch, and so sees
 * the first one's result. A batch whose connection broke is sent again under the same number, which
 * makes the function return the stored results when it had committed. A batch that PostgreSQL
 * refuses for its data is taken apart and sent one write at a time, so that one cannot spoil its
 * neighbours.
 */
#ifndef ORRERY_STORE_WRITES_H
#define ORRERY_STORE_WRITES_H

#include "store/store.h"

#define STORE_WRITE_BATCH_MAX CONFIG_WRITE_BATCH_MAX
#define STORE_WRITE_BATCH_BYTES (4u << 20)
/* Regions that a vector may name. */
#define STORE_VECTOR_MAX 255

/* WRITE_CHECK: the item has the etag, or is absent when none is given. WRITE_EXISTS: it exists (and
 * has the rid). */
enum write_kind {
    WRITE_CREATE,
    WRITE_UPSERT,
    WRITE_REPLACE,
    WRITE_DELETE,
    WRITE_CHECK,
    WRITE_EXISTS
};

struct write_claim {
    int16_t key_number;
    struct slice value;
};

struct write_operation {
    enum write_kind kind;
    struct slice pk; /* column pk */
    struct slice id;
    uint8_t etag[16]; /* of the version to be */
    bool has_if_match;
    uint8_t if_match[16];
    bool is_if_none_match; /* upsert: 412 when the item exists */
    bool has_ttl;
    int32_t ttl;
    uint64_t rid;      /* 0: the range gives one */
    struct slice body; /* absent for deletes and checks */
    struct slice doc;  /* absent: the body itself */
    const struct write_claim *claims;
    unsigned claim_count;
    bool has_rank;
    double rank; /* among concurrent versions: container_conflict_rank */
    /* filled in by the answer */
    unsigned status; /* 200, 201, 204, 403, 404, 409, 410, 412, 424 */
    unsigned substatus;
    int64_t lsn, ts;
    uint64_t result_rid;
};

/* One request's operations on one range; in the op's arena until the op is released. */
struct write {
    uint32_t container;
    int64_t range_id;
    bool is_bulk;           /* every operation is a transaction of its own; otherwise all are one */
    int64_t expected_epoch; /* of the range: in another one nothing is done; 0: any */
    struct write_operation *operations;
    unsigned count;
    /* filled in by the answer */
    int64_t epoch;
    int64_t vector[STORE_VECTOR_MAX];
    unsigned vector_len;
    /* private */
    struct op *op;
    bool travels_alone;
};

struct store_writes;

struct store_writes *store_writes_create(void);
void store_writes_destroy(struct store_writes *writes);
void store_writes_flush(struct store *store);
bool store_writes_are_idle(const struct store *store);

/*
 * Write. No two operations are on one item. The next step calls store_write_check, then reads the
 * operations' results.
 */
enum op_next store_write(struct store *store, struct op *op, struct write *write, op_step *next);

enum store_write_end {
    STORE_WRITE_DONE, /* every operation has its status */
    STORE_WRITE_GONE, /* nothing changed: the range or the container is not there any more */
    STORE_WRITE_FAULT /* op->fault is set; 403 SUB_WRITE_FORBIDDEN where others write the range */
};

enum store_write_end store_write_check(struct op *op, const struct write *write);

/* Columns of a row that a write function returns. */
enum {
    WRITTEN_N,
    WRITTEN_STATUS,
    WRITTEN_SUBSTATUS,
    WRITTEN_LSN,
    WRITTEN_TS,
    WRITTEN_RID,
    WRITTEN_ETAG,
    WRITTEN_EPOCH,
    WRITTEN_VECTOR
};

/* Parameters of a write function for these transactions, in the order that it declares. */
void store_write_params(struct pgparams *params, int64_t writer, int64_t sequence, int64_t now_s,
                        struct write *const *writes, unsigned count);

/* Take the results of one row into the operation and its transaction. */
void store_write_result(const struct pgio_result *result, int row, struct write *write,
                        struct write_operation *operation);

#endif
