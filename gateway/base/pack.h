/*
 * Compression of what regions send each other. This file is the only door to libzstd.
 */
#ifndef ORRERY_BASE_PACK_H
#define ORRERY_BASE_PACK_H

#include "base/buf.h"

/* Append the compressed text. False (and nothing appended) when there is no memory. */
bool pack_append(struct buf *out, struct slice text) MUST_CHECK;

/*
 * Append what a compressed text says. It must have exactly so many bytes; anything else, and no
 * memory, is false. The text may be anybody's.
 */
bool unpack_append(struct buf *out, struct slice packed, size_t len) MUST_CHECK;

#endif
