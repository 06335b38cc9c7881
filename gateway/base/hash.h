/*
 * FNV-1a, for tables that live in memory. Not for anything that is stored, sent or kept from an
 * enemy.
 */
#ifndef ORRERY_BASE_HASH_H
#define ORRERY_BASE_HASH_H

#include "base/slice.h"

#include <stdint.h>

#define HASH_START 0xcbf29ce484222325ULL

/* Go on with more bytes; an end mark keeps "a","bc" and "ab","c" apart. */
static inline uint64_t hash_slice(uint64_t hash, struct slice bytes)
{
    for (size_t i = 0; i < bytes.len; i++)
        hash = (hash ^ (unsigned char) bytes.ptr[i]) * 0x100000001b3ULL;
    return (hash ^ 0x1ff) * 0x100000001b3ULL;
}

#endif
