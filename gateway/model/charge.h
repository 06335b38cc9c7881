/*
 * Request charges: what an operation is said to cost.
 *
 * An estimate that depends on sizes only, so that equal requests cost the same on every day. In
 * hundredths of a request unit:
 *
 *   point read       100 for the first KB,  9 for each further one that is begun
 *   write            500 for the first KB, 45 for each further one (create, replace, upsert,
 *                    patch, delete)
 *   page of a feed   200, 5 for each item, 9 for each KB
 *   page of a query  200, 5 for each item that matched, 9 for each KB of these, 2 for each KB of
 *                    results; an item counts on every page for which it is looked at
 *   metadata         100 to read, 495 to write
 *
 * The proportions are those that the service publishes: 1 KB read is 1 unit, 100 KB about 10; 1 KB
 * written is about 5 units, 100 KB about 50.
 */
#ifndef ORRERY_MODEL_CHARGE_H
#define ORRERY_MODEL_CHARGE_H

#include "base/buf.h"

#include <stddef.h>
#include <stdint.h>

#define CHARGE_TEXT_BYTES 24

#define CHARGE_METADATA_READ_CRU 100
#define CHARGE_METADATA_WRITE_CRU 495

/* A miss and a 304 cost what reading 1 KB costs. */
int64_t charge_read_cru(size_t body_bytes);

/* The size of the new version; of the old one for a delete (0 when it is not known). */
int64_t charge_write_cru(size_t body_bytes);

int64_t charge_feed_cru(size_t item_count, size_t body_bytes);

int64_t charge_query_cru(uint64_t item_count, uint64_t item_bytes, size_t result_bytes);

/* A decimal without exponent: "1", "5.45", "6.2"; terminated. */
void charge_format(int64_t charge_cru, char text[CHARGE_TEXT_BYTES]);

#endif
