#include "model/murmur.h"

#include "base/banned.h"

static uint32_t rotate32(uint32_t x, unsigned bits)
{
    return x << bits | x >> (32 - bits);
}

static uint64_t rotate64(uint64_t x, unsigned bits)
{
    return x << bits | x >> (64 - bits);
}

/* Up to 8 bytes as a little-endian number. */
static uint64_t load(const uint8_t *bytes, size_t len)
{
    uint64_t value = 0;

    for (size_t i = len; i-- > 0;)
        value = value << 8 | bytes[i];
    return value;
}

static uint32_t mix32(uint32_t k)
{
    return rotate32(k * 0xcc9e2d51u, 15) * 0x1b873593u;
}

uint32_t murmur3_32(const uint8_t *bytes, size_t len)
{
    uint32_t h = 0;
    size_t at = 0;

    for (; len - at >= 4; at += 4)
        h = rotate32(h ^ mix32((uint32_t) load(bytes + at, 4)), 13) * 5 + 0xe6546b64u;
    if (at < len)
        h ^= mix32((uint32_t) load(bytes + at, len - at));
    h ^= (uint32_t) len;
    h = (h ^ h >> 16) * 0x85ebca6bu;
    h = (h ^ h >> 13) * 0xc2b2ae35u;
    return h ^ h >> 16;
}

#define C1 0x87c37b91114253d5u
#define C2 0x4cf5ad432745937fu

static uint64_t mix_low(uint64_t k)
{
    return rotate64(k * C1, 31) * C2;
}

static uint64_t mix_high(uint64_t k)
{
    return rotate64(k * C2, 33) * C1;
}

static uint64_t finish64(uint64_t h)
{
    h = (h ^ h >> 33) * 0xff51afd7ed558ccdu;
    h = (h ^ h >> 33) * 0xc4ceb9fe1a85ec53u;
    return h ^ h >> 33;
}

static void store(uint8_t out[8], uint64_t value)
{
    for (size_t i = 0; i < 8; i++)
        out[i] = (uint8_t) (value >> (8 * i));
}

void murmur3_128(const uint8_t *bytes, size_t len, uint8_t hash[16])
{
    uint64_t low = 0, high = 0;
    size_t at = 0;

    for (; len - at >= 16; at += 16) {
        low = (rotate64(low ^ mix_low(load(bytes + at, 8)), 27) + high) * 5 + 0x52dce729;
        high = (rotate64(high ^ mix_high(load(bytes + at + 8, 8)), 31) + low) * 5 + 0x38495ab5;
    }
    size_t rest = len - at;
    if (rest > 8)
        high ^= mix_high(load(bytes + at + 8, rest - 8));
    if (rest > 0)
        low ^= mix_low(load(bytes + at, rest < 8 ? rest : 8));
    low ^= len;
    high ^= len;
    low += high;
    high += low;
    low = finish64(low);
    high = finish64(high);
    low += high;
    high += low;
    store(hash, low);
    store(hash + 8, high);
}
