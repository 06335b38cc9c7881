/*
 * Effective partition keys: the points of the space that partition key ranges divide.
 *
 * An effective key is a string of bytes, shown as upper-case hex; the space is everything from the
 * empty string up to, not including, FF. Keys are compared byte by byte, a prefix coming first.
 */
#ifndef ORRERY_MODEL_EPK_H
#define ORRERY_MODEL_EPK_H

#include "base/buf.h"
#include "base/compiler.h"
#include "base/slice.h"

#include <stdint.h>

/*
 * Longest: version 1, whose key is a number (11 bytes) and up to three components of at most
 * 102 bytes. A hierarchical prefix interval ends with one byte more than 3 hashes.
 */
#define EPK_BYTES_MAX 320

struct epk {
    uint16_t len;
    uint8_t bytes[EPK_BYTES_MAX];
};

/* From borrowed bytes; len at most EPK_BYTES_MAX. */
void epk_set(struct epk *epk, const void *bytes, size_t len);

/* The end of the space: FF. */
void epk_set_end(struct epk *epk);

/* Less than, equal to or greater than zero. */
int epk_compare(const struct epk *a, const struct epk *b);

/* Hex digits of either case, an even number of them; false when malformed or too long. */
bool epk_parse(struct epk *epk, struct slice hex) MUST_CHECK;

/* Upper-case hex. */
void epk_append(struct buf *buf, const struct epk *epk);

static inline struct slice epk_slice(const struct epk *epk)
{
    return slice_make((const char *) epk->bytes, epk->len);
}

#endif
