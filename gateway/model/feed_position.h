/*
 * Where a reader of the change feed stands: the etag of its answers, valid in every region.
 *
 * Per range it is the vector of what the reader has been given: everything up to that LSN of each
 * origin. Besides it names the local sequence in the log of the region that answered, which saves
 * that region the search. The text is a quoted header value, such as
 *
 *     "1;cExAAPd8ok8=;0;0:1.28:20,8;1:1.5:5,0"
 *
 * version; container; where the next page begins; then range:ordinal.sequence:vector. It is not
 * signed: whoever changes it is given other changes that the request may read anyway.
 *
 * Source: replication rules, 10.2; protocol reference, section 7.
 */
#ifndef ORRERY_MODEL_FEED_POSITION_H
#define ORRERY_MODEL_FEED_POSITION_H

#include "base/buf.h"
#include "base/compiler.h"
#include "base/slice.h"

#include <stdint.h>

#define FEED_ORIGINS_MAX 255 /* ordinals of regions */

struct feed_position {
    uint32_t range;   /* index in its container */
    uint32_t ordinal; /* of the region that gave it */
    int64_t seq;      /* in that region: all up to here has been seen */
    size_t vector_len;
    int64_t vector[FEED_ORIGINS_MAX]; /* element o - 1: LSN of ordinal o */
};

/* An etag, read as far as its ranges; everything is borrowed from the text. */
struct feed_etag {
    struct slice container; /* its resource id */
    uint32_t next;          /* index of the range that the next page begins with */
    struct slice positions;
};

/* Build an etag: begin, then one position after the other, then end. */
void feed_etag_begin(struct buf *buf, struct slice container, uint32_t next);
void feed_etag_append(struct buf *buf, const struct feed_position *position);
void feed_etag_end(struct buf *buf);

/* Read an etag; quotes and "W/" may be missing. False when it is none, or has a malformed position.
 */
bool feed_etag_parse(struct feed_etag *etag, struct slice text) MUST_CHECK;

/* The position of a range; false when there is none. */
bool feed_etag_find(const struct feed_etag *etag, uint32_t range,
                    struct feed_position *position) MUST_CHECK;

/* Raise an origin's component; false for an ordinal that no region has. */
bool feed_position_advance(struct feed_position *position, uint32_t origin, int64_t lsn) MUST_CHECK;

#endif
