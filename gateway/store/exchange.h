/*
 * Entries on their way between regions: the statements of both ends.
 *
 * The source notes what the asker has applied, finds the ranges that have something for it, and
 * reads pieces of their logs that end with a transaction. The asker applies a piece, of one range,
 * as one transaction. schema/0010_exchange.sql.
 */
#ifndef ORRERY_STORE_EXCHANGE_H
#define ORRERY_STORE_EXCHANGE_H

#include "query/index_set.h"
#include "regions/stream.h"
#include "store/store.h"
#include "store/writes.h"

/* ---- source ---- */

/*
 * Note what a request says, and at the hub move what is committed of those ranges, if that is
 * wanted; the next step calls exchange_noted and finds rows for levels_take_committed. A request
 * without wants has nothing to be noted. Fault 400 when a want is malformed.
 */
enum op_next exchange_note(struct store *store, struct op *op, const struct stream_request *request,
                           struct stream_reader wants, bool moves_committed, op_step *next);

/* False: fault; 409 when the asker has entries of this region that it lost. */
bool exchange_noted(struct op *op) MUST_CHECK;

/* A range that has something for the asker. */
struct exchange_found {
    struct stream_part part; /* from, head, needs; to is not known yet */
    int64_t *vector, *committed, *acked;
    unsigned vector_count, committed_count, acked_count;
    bool has_entries; /* else there is only something to be said of it */
};

/* Numbers of schema/0010_exchange.sql. Where there are entries, what is committed of other ranges
 * is found with them. EXCHANGE_DECLINED: as EXCHANGE_ENTRIES, but when there are none, the ranges
 * with entries that the asker lacks and declines. */
enum exchange_what { EXCHANGE_ALL, EXCHANGE_ENTRIES, EXCHANGE_COMMITTED, EXCHANGE_DECLINED };

/* Look for them, at most so many; the next step calls exchange_found. */
enum op_next exchange_find(struct store *store, struct op *op, const struct stream_request *request,
                           struct stream_reader wants, enum exchange_what what, unsigned limit,
                           op_step *next);

/* What was found, in the op's arena. False: fault. */
bool exchange_take_found(struct op *op, struct exchange_found **found, unsigned *count) MUST_CHECK;

/* A part that says what is committed, without entries. */
void exchange_put_committed(const struct exchange_found *found, struct buf *payload);

/*
 * A part with what was read for another region just now (store/recent.h), when that goes on where
 * the asker is. False when it has to be read.
 */
bool exchange_put_recent(struct op *op, unsigned region, const struct exchange_found *found,
                         size_t bytes_max, struct buf *payload);

/*
 * Read what the asker lacks of the log of ranges of one container, of each about bytes_max or
 * what one transaction has; the next step calls exchange_take_entries.
 */
enum op_next exchange_fetch(struct store *store, struct op *op, unsigned region,
                            const struct exchange_found *found, unsigned count, size_t bytes_max,
                            op_step *next);

/* There was no log to read, nor a function that reads it: a container that was dropped meanwhile
 * has nothing more to tell. */
bool exchange_is_gone(const struct op *op);

/*
 * Was it dropped? What is missing of one that is there, or is called as it cannot be, looks the
 * same, and the asker would wait for its entries for ever. The next step calls
 * exchange_check_dropped.
 */
enum op_next exchange_ask_dropped(struct store *store, struct op *op,
                                  const struct exchange_found *found, op_step *next);

/* missing: the result of the fetch. False: fault, it was not dropped. */
bool exchange_check_dropped(struct op *op, const struct pgio_result *missing) MUST_CHECK;

/* Print what was read as parts of an answer; how many is added to *parts. False: fault. */
bool exchange_take_entries(struct op *op, const struct exchange_found *found, unsigned count,
                           struct buf *payload, uint32_t *parts) MUST_CHECK;

/* ---- asker ---- */

/* What follows from an entry's body, computed as for a client's write. */
struct exchange_entry {
    struct stream_entry entry;
    struct slice doc; /* absent: the body itself */
    const struct write_claim *claims;
    unsigned claim_count;
};

/* What follows from a definition of a container: from the last one that counts, later ones first.
 */
struct exchange_container {
    uint32_t number;
    unsigned entry; /* of the piece, from 0 */
    bool has_default_ttl;
    int32_t default_ttl;
    bool has_unique_keys;
    const struct index_wanted *indexes;
    size_t index_count;
};

struct exchange_piece {
    int64_t range_id;
    int64_t sender_epoch;
    unsigned needs_origin;
    int64_t needs_lsn;
    const struct exchange_entry *entries;
    unsigned count;
    const struct exchange_container *containers; /* range 0 alone */
    unsigned container_count;
    int64_t from, to;               /* of the source's log */
    unsigned source;                /* of a copy; otherwise 0 */
    const struct stream_part *part; /* of a copy */
};

/* The statement that applies a piece, and its parameters. */
struct pgio_statement exchange_apply(struct pgparams *params, const struct exchange_piece *piece);

enum exchange_status {
    EXCHANGE_APPLIED,
    EXCHANGE_WAITS,    /* for entries that another region has */
    EXCHANGE_METADATA, /* for definitions */
    EXCHANGE_DROPPED,  /* the container is gone */
    EXCHANGE_EPOCH,    /* the sender is of an epoch that is over */
    EXCHANGE_STATE,    /* the range takes nothing */
    EXCHANGE_OWN,      /* this region was rolled back */
    EXCHANGE_AGAIN     /* the copy must begin again */
};

struct exchange_applied {
    enum exchange_status status;
    unsigned applied, taken; /* entries */
    struct slice vector;     /* bigint[]; absent when nothing is known of the range */
};

void exchange_read_applied(const struct pgio_result *result, struct exchange_applied *applied);

/* What the parts say to be committed becomes known here. */
struct pgio_statement exchange_learn(struct pgparams *params, const struct stream_part *parts,
                                     unsigned count);

/* All ranges that are there: range_id, vector, committed vector. */
struct pgio_statement exchange_vectors(void);

/* The definition of a container by its number: body, or no row. */
struct pgio_statement exchange_definition(struct pgparams *params, uint32_t container);

/* ---- work that one gateway does ---- */

struct pgio_statement claim_take(struct pgparams *params, const char *what, int64_t holder,
                                 int32_t for_ms);
struct pgio_statement claim_drop(struct pgparams *params, const char *what, int64_t holder);

#endif
