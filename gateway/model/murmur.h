/*
 * MurmurHash3, the two variants that effective partition keys are made of.
 *
 * Not a cryptographic hash: whoever chooses partition keys can choose the range they fall into, as
 * with the service.
 */
#ifndef ORRERY_MODEL_MURMUR_H
#define ORRERY_MODEL_MURMUR_H

#include <stddef.h>
#include <stdint.h>

/* x86, 32 bits, seed 0. */
uint32_t murmur3_32(const uint8_t *bytes, size_t len);

/* x64, 128 bits, seed 0: the low half first, each half little-endian. */
void murmur3_128(const uint8_t *bytes, size_t len, uint8_t hash[16]);

#endif
