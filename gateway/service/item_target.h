/*
 * What requests on items have in common: which partition, which range, which row; and the headers
 * of their answers.
 */
#ifndef ORRERY_SERVICE_ITEM_TARGET_H
#define ORRERY_SERVICE_ITEM_TARGET_H

#include "model/etag.h"
#include "model/item.h"
#include "service/consistency.h"
#include "store/reads.h"
#include "store/writes.h"

struct item_target {
    struct pkey pkey;
    struct slice pk; /* column pk, in the arena */
    const struct pkrange *range;
    struct item_key key;
};

/*
 * Take the partition key of the header; call->container is known.
 *
 * returns  false with a fault: 400 when it is missing or wrong
 */
bool item_target_pkey_from_header(struct item_target *target, struct call *call) MUST_CHECK;

/* Take it from an item's body, and hold it against the header when there is one: 400
 * SUB_PARTITION_KEY_MISMATCH. */
bool item_target_pkey_from_item(struct item_target *target, struct call *call,
                                const struct item *item) MUST_CHECK;

/* Partition key of a body by the container's definition. */
bool item_target_extract(struct pkey *pkey, struct call *call, const struct item *item) MUST_CHECK;

/* After the partition key is known: find the range, make the row's key. */
bool item_target_aim(struct item_target *target, struct call *call, struct slice id) MUST_CHECK;

/*
 * Fill a write operation with an item's content: body, doc, ttl, unique claims, rank, a new
 * etag, the key.
 */
bool item_target_fill(struct write_operation *operation, const struct item_target *target,
                      struct call *call, const struct item *item) MUST_CHECK;

/* if-match of the request into the operation; false with 400 for conditions that have no meaning
 * for it. */
bool item_target_conditions(struct write_operation *operation, struct call *call) MUST_CHECK;

/* Aim a call of the write function at the target's range, in the epoch in which the container knows
 * it. Results of an earlier call stay. */
void item_target_write(struct write *write, const struct item_target *target,
                       const struct call *call, struct write_operation *operations, unsigned count);

/* Headers of every answer about a range of items, errors that carry a token included. */
void item_target_reply(struct call *call, const struct pkrange *range, int64_t epoch,
                       const int64_t *vector, size_t vector_len);

/* The same from a row that was read. */
void item_target_reply_row(struct call *call, const struct pkrange *range,
                           const struct item_row *row);

struct item_print {
    struct slice stored; /* body without system properties */
    uint64_t rid;
    const uint8_t *etag; /* 16 bytes */
    int64_t ts;
    bool has_lsn;
    uint64_t lsn; /* _lsn, in the change feed */
};

/* Append an item as clients see it. */
void item_target_print(struct buf *out, const struct container *container,
                       const struct item_print *item);

/* The same as a tree; NULL without memory. */
cJSON *item_target_tree(struct arena *arena, const struct container *container,
                        const struct item_print *item) MUST_CHECK;

/* The fault that a write operation's status stands for; 424 and 410 included. Returns false. */
bool item_target_fault(struct fault *fault, const struct write_operation *operation);

#endif
