/*
 * 128 bits that stand for a value.
 *
 * Two values have the same digest exactly when the language calls them equal: 1 and 1.0, 0 and -0,
 * members in any order. Undefined has a digest of its own. Numbers that are not finite count as
 * undefined, and disappear from arrays and objects as they do when printed.
 *
 * Digests are the same in every process, on every machine, in every version: continuations hold
 * them. The function is SipHash-2-4 with 128 bits of output and a fixed key; by accident two of a
 * million million values meet with a probability of 10^-15. An object is the sum of its members'
 * digests, so that no order has to be made.
 *
 * source: J.-P. Aumasson, D. J. Bernstein, "SipHash: a fast short-input PRF"
 */
#ifndef ORRERY_QUERY_DIGEST_H
#define ORRERY_QUERY_DIGEST_H

#include "base/slice.h"

#include <cjson/cJSON.h>
#include <stdint.h>

#define DIGEST_BYTES 16

struct digest {
    uint8_t bytes[DIGEST_BYTES];
};

/* A value, NULL for undefined. Returns the bytes that were read, to be paid for. */
size_t digest_value(const cJSON *value, struct digest *digest);

/* Several values, one after the other: a group's key. */
size_t digest_values(const cJSON *const *values, size_t count, struct digest *digest);

/* Order of digests, as of unsigned numbers written big-endian. */
int digest_compare(const struct digest *a, const struct digest *b);

#endif
