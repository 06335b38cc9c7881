/*
 * Items read one after the other: range by range in the order of their keys, inside a range in the
 * order in which they were created (their rid), so that no concurrent write makes a reader lose or
 * repeat an item that it leaves alone.
 *
 * A scan asks for a chunk at a time, bounded in rows and bytes; whoever scans takes the rows out
 * and asks again. Every chunk says what its range had seen in the same snapshot: the session token
 * is checked against that.
 *
 *     scan_ask → (PostgreSQL) → scan_came → scan_next … scan_next → scan_forward → scan_ask
 */
#ifndef ORRERY_SERVICE_ITEM_SCAN_H
#define ORRERY_SERVICE_ITEM_SCAN_H

#include "query/sql.h"
#include "service/consistency.h"
#include "service/item_scope.h"
#include "store/writes.h"

/* Bodies of one chunk; the last item may go beyond. */
#define SCAN_CHUNK_BYTES (1u << 20)
#define SCAN_CHUNK_ROWS 1000

/* Parameters that the scan has itself. */
#define SCAN_PARAMS 5

/* What a range had seen when it was read last. */
struct scan_seen {
    bool is_read;
    int64_t epoch;
    size_t vector_len;
    int64_t vector[STORE_VECTOR_MAX];
};

/* One item of a chunk; slices are borrowed from it. */
struct scan_item {
    uint64_t rid;
    const uint8_t *etag; /* 16 bytes */
    int64_t ts;
    struct slice body;
};

struct item_scan {
    const struct item_scope *scope;
    const struct consistency *consistency;
    const struct sql *where;
    struct store_run run;
    size_t range;   /* position in container->ranges */
    uint64_t after; /* rid: items up to it were taken */
    struct pgio_result chunk;
    unsigned rows_max;      /* asked for */
    int row, rows;          /* the next one of the chunk */
    bool is_cut;            /* the range may have more than the chunk */
    struct scan_seen *seen; /* one per range of the scope */
    /* measured */
    uint64_t items, bytes; /* taken */
    int64_t asked_us, waited_us;
};

enum scan_end {
    SCAN_CAME,
    SCAN_GONE,    /* the range or the container is not there any more: find it again by name */
    SCAN_REFUSED, /* the statement cannot be computed: op->result says why */
    SCAN_FAULT    /* op->fault is set */
};

/* Once per op. Fault 503. */
bool scan_init(struct item_scan *scan, struct op *op) MUST_CHECK;

/*
 * Begin at a place in a scope; again after the container was found again.
 *
 * scope, consistency  borrowed
 * condition           which items are wanted, the scope's condition included, begun with " and ";
 *                     terminated
 * where               its parameters, from SCAN_PARAMS on; borrowed
 */
bool scan_begin(struct item_scan *scan, struct call *call, const struct item_scope *scope,
                const struct consistency *consistency, struct slice condition,
                const struct sql *where, size_t range, uint64_t after) MUST_CHECK;

/* Ask for the next chunk: rows_max items at most, none for the state of the range alone. */
enum op_next scan_ask(struct item_scan *scan, struct call *call, unsigned rows_max, op_step *next);

/* Take what op->result brought. */
enum scan_end scan_came(struct item_scan *scan, struct call *call) MUST_CHECK;

/*
 * For who reads several ranges in one statement of its own, with the scan's parameters numbered
 * alike: $1 bigint[] of the ranges in place of the range, $2 free, $3 the clock, $4 rows, $5 bytes.
 * Its rows have the columns below; the rows without an item, one for each range at least, last.
 */
enum {
    SCAN_EPOCH,
    SCAN_STATE,
    SCAN_VECTOR,
    SCAN_RID, /* NULL: no item */
    SCAN_ETAG,
    SCAN_TS,
    SCAN_BODY,
    SCAN_FOUND, /* bigint: how many rows there were, before the limit of bytes */
    SCAN_RANGE, /* bigint: which element of $1, from 1 */
    SCAN_MORE   /* first column of the statement's own */
};

/* Send it. free is $2. */
enum op_next scan_ask_all(struct item_scan *scan, struct call *call, const char *statement,
                          int64_t free, unsigned rows_max, op_step *next);

/* Take what it brought. */
enum scan_end scan_came_all(struct item_scan *scan, struct call *call) MUST_CHECK;

/* The position in container->ranges of element n of $1, from 1. */
size_t scan_position(const struct item_scan *scan, int64_t n);

/* The next item of the chunk; false when it is used up. */
bool scan_next(struct item_scan *scan, struct scan_item *item);

/* The chunk is used up: go to what is behind it, or to the next range. False at the end. */
bool scan_forward(struct item_scan *scan);

/* Headers about what was read: session token, and for a single range its id and LSN. */
bool scan_reply(const struct item_scan *scan, struct call *call) MUST_CHECK;

#endif
