/*
 * Items read one after the other: range by range in the order of their keys, inside a range in the
 * order in which they were created (their rid), so that no concurrent write makes a reader lose or
 * repeat an item that it leaves alone.
 *
 * A scan asks for a chunk at a time, bounded in rows and bytes; whoever scans takes the rows out
 * and asks again. Every chunk says what its range had seen in the same snapshot: the session token
 * is checked against that. So is the container's default time to live, which the statement is given
 * (measured: read from the range's row by the statement itself, it was a tenth of a small query);
 * when it is another one, the scan asks again by itself.
 *
 *     scan_ask → (PostgreSQL) → scan_came → scan_next … scan_next → scan_forward → scan_ask
 *
 * A range that has not seen yet what the token names is asked again, inside scan_ask.
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

/*
 * Parameters that the scan has itself: $1 the range (bigint), or several (bigint[]), $2 the rid
 * behind which it begins, $3 the clock, $4 rows, $5 bytes, $6 the default time to live.
 */
#define SCAN_PARAMS 6

/* Which items are there: orrery.is_live, which PostgreSQL would parse each time to put it here. */
#define SCAN_IS_LIVE                                                 \
    " and not i.deleted and ($6 is null or coalesce(i.ttl, $6) < 0 " \
    "or i.ts + coalesce(i.ttl, $6) > $3)"

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

enum scan_end {
    SCAN_CAME,
    SCAN_GONE,    /* the range or the container is not there any more: find it again by name */
    SCAN_REFUSED, /* the statement cannot be computed: op->result says why */
    SCAN_FAULT    /* op->fault is set */
};

struct item_scan {
    const struct item_scope *scope;
    struct consistency *consistency;
    const struct sql *where;
    struct store_run run;
    size_t range;   /* position in container->ranges */
    uint64_t after; /* rid: items up to it were taken */
    struct pgio_result chunk;
    const char *statement; /* of the chunks of a range */
    bool is_all;           /* the last one asked was a statement over all ranges */
    op_step *next;         /* when a chunk has come that may be shown */
    enum scan_end came;    /* what scan_came tells */
    bool is_behind;        /* a range has to be waited for */
    bool settles;          /* what came is shown when it is committed */
    size_t settled;        /* ranges of the scope that are */
    int64_t free;          /* $2 of a statement over all ranges */
    bool has_default_ttl;
    int32_t default_ttl;
    unsigned asked_again;            /* with another default time to live */
    unsigned rows_max;               /* asked for */
    int row, rows;                   /* the next item of the chunk, in their order */
    int16_t places[SCAN_CHUNK_ROWS]; /* of the items in the chunk: rows of the result */
    bool is_cut;                     /* the range may have more than the chunk */
    struct scan_seen *seen;          /* one per range of the scope */
    /* measured */
    uint64_t items, bytes; /* taken */
    int64_t asked_us, waited_us;
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
                struct consistency *consistency, struct slice condition, const struct sql *where,
                size_t range, uint64_t after) MUST_CHECK;

/* Ask for the next chunk: rows_max items at most, none for the state of the range alone. */
enum op_next scan_ask(struct item_scan *scan, struct call *call, unsigned rows_max, op_step *next);

/* What came. */
enum scan_end scan_came(const struct item_scan *scan) MUST_CHECK;

/* Columns of a statement's rows: the items, and rows without one that tell of the ranges. */
enum {
    SCAN_RID, /* NULL: no item */
    SCAN_ETAG,
    SCAN_TS,
    SCAN_BODY,  /* NULL: behind the limit of bytes */
    SCAN_AT,    /* bigint: number of the item, from 1; a UNION ALL promises no order */
    SCAN_RANGE, /* bigint: which element of $1, from 1 */
    SCAN_EPOCH,
    SCAN_STATE, /* NULL: the row tells of no range */
    SCAN_VECTOR,
    SCAN_TTL, /* integer: the default time to live */
    SCAN_MORE /* first column of the statement's own */
};

/*
 * Append the statement of a page: the items that a select gives, in its order, until their bodies
 * are the bytes wanted; and a row for each range.
 *
 * items   select with the columns rid, etag, ts, body; over several ranges n as well
 * is_one  $1 is one range (scan_is_one)
 * more    one more column over those of the select; absent for none
 */
void scan_append_page(struct buf *text, struct slice items, bool is_one, struct slice more);

/* Does the scope visit a single range? Then $1 of a statement over all ranges is it, not an array.
 */
bool scan_is_one(const struct item_scope *scope);

/*
 * Send a statement over all ranges of the scope, with the scan's parameters; free is $2. Rows that
 * tell of a range may hold anything else besides.
 */
enum op_next scan_ask_all(struct item_scan *scan, struct call *call, const char *statement,
                          int64_t free, unsigned rows_max, op_step *next);

/* The position in container->ranges of element n of $1, from 1. */
size_t scan_position(const struct item_scan *scan, int64_t n);

/* Which row of the chunk the next item is; only while row < rows. */
static inline int scan_row(const struct item_scan *scan)
{
    return scan->places[scan->row];
}

/* The next item of the chunk; false when it is used up. */
bool scan_next(struct item_scan *scan, struct scan_item *item);

/* The chunk is used up: go to what is behind it, or to the next range. False at the end. */
bool scan_forward(struct item_scan *scan);

/* Headers about what was read: session token, and for a single range its id and LSN. */
bool scan_reply(const struct item_scan *scan, struct call *call) MUST_CHECK;

#endif
