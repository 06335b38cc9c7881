#include "base/crypto.h"

#include "base/hex.h"

#include <assert.h>
#include <errno.h>
#include <nettle/hmac.h>
#include <nettle/memops.h>
#include <nettle/sha2.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/banned.h"

void crypto_hmac_sha256(struct slice key, struct slice text, uint8_t mac[SHA256_BYTES])
{
    struct hmac_sha256_ctx context;

    hmac_sha256_set_key(&context, key.len, (const uint8_t *) key.ptr);
    hmac_sha256_update(&context, text.len, (const uint8_t *) text.ptr);
    hmac_sha256_digest(&context, SHA256_BYTES, mac);
}

void crypto_sha256(struct slice text, uint8_t digest[SHA256_BYTES])
{
    struct sha256_ctx context;

    sha256_init(&context);
    sha256_update(&context, text.len, (const uint8_t *) text.ptr);
    sha256_digest(&context, SHA256_BYTES, digest);
}

bool crypto_equals(const void *a, const void *b, size_t len)
{
    return memeql_sec(a, b, len) != 0;
}

static const char base64_digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_encode(const void *bytes, size_t len, char *text)
{
    const uint8_t *in = bytes;

    for (size_t i = 0; i < len; i += 3) {
        uint32_t group = (uint32_t) in[i] << 16;
        if (i + 1 < len)
            group |= (uint32_t) in[i + 1] << 8;
        if (i + 2 < len)
            group |= in[i + 2];
        *text++ = base64_digits[group >> 18];
        *text++ = base64_digits[group >> 12 & 63];
        *text++ = i + 1 < len ? base64_digits[group >> 6 & 63] : '=';
        *text++ = i + 2 < len ? base64_digits[group & 63] : '=';
    }
}

/* By character code; each request's signature is decoded, so a look-up instead of comparisons. */
static int base64_value(char c)
{
#define NONE_8 -1, -1, -1, -1, -1, -1, -1, -1
#define NONE_32 NONE_8, NONE_8, NONE_8, NONE_8
    static const int8_t values[256] = {
        NONE_32, NONE_8, -1, -1, -1, 62, -1, -1, -1, 63, 52,      53,      54,      55,     56, 57,
        58,      59,     60, 61, -1, -1, -1, -1, -1, -1, -1,      0,       1,       2,      3,  4,
        5,       6,      7,  8,  9,  10, 11, 12, 13, 14, 15,      16,      17,      18,     19, 20,
        21,      22,     23, 24, 25, -1, -1, -1, -1, -1, -1,      26,      27,      28,     29, 30,
        31,      32,     33, 34, 35, 36, 37, 38, 39, 40, 41,      42,      43,      44,     45, 46,
        47,      48,     49, 50, 51, -1, -1, -1, -1, -1, NONE_32, NONE_32, NONE_32, NONE_32};
#undef NONE_32
#undef NONE_8

    return values[(uint8_t) c];
}

bool base64_decode(struct slice text, void *out, size_t out_size, size_t *out_len)
{
    uint8_t *bytes = out;
    size_t padding = 0;

    if (text.len % 4 != 0)
        return false;
    if (text.len > 0 && text.ptr[text.len - 1] == '=')
        padding = text.ptr[text.len - 2] == '=' ? 2 : 1;
    size_t len = text.len / 4 * 3 - padding;
    if (len > out_size)
        return false;
    uint32_t bits = 0;
    size_t bit_count = 0, at = 0;
    for (size_t i = 0; i < text.len - padding; i++) {
        int value = base64_value(text.ptr[i]);
        if (value < 0)
            return false;
        bits = bits << 6 | (uint32_t) value;
        bit_count += 6;
        if (bit_count >= 8) {
            bit_count -= 8;
            bytes[at++] = (uint8_t) (bits >> bit_count);
        }
    }
    if ((bits & ((1u << bit_count) - 1)) != 0)
        return false;
    *out_len = at;
    return true;
}

void crypto_random(void *out, size_t len)
{
    static _Thread_local uint8_t pool[512];
    static _Thread_local size_t left;

    if (len > left) {
        size_t filled = 0;
        assert(len <= sizeof(pool));
        while (filled < sizeof(pool)) {
            ssize_t got = getrandom(pool + filled, sizeof(pool) - filled, 0);
            if (got < 0 && errno != EINTR)
                abort(); /* no randomness, no etags and no tokens: nothing sensible is left to do */
            if (got > 0)
                filled += (size_t) got;
        }
        left = sizeof(pool);
    }
    left -= len;
    memcpy(out, pool + left, len);
    memset(pool + left, 0, len);
}

void uuid_create(uint8_t uuid[16])
{
    crypto_random(uuid, 16);
    uuid[6] = (uint8_t) ((uuid[6] & 0x0f) | 0x40);
    uuid[8] = (uint8_t) ((uuid[8] & 0x3f) | 0x80);
}

static bool is_dash_place(size_t at)
{
    return at == 8 || at == 13 || at == 18 || at == 23;
}

void uuid_format(const uint8_t uuid[16], char text[UUID_TEXT_BYTES])
{
    static const char hex[] = "0123456789abcdef";
    size_t nibble = 0;

    for (size_t at = 0; at < UUID_TEXT_BYTES - 1; at++) {
        if (is_dash_place(at)) {
            text[at] = '-';
            continue;
        }
        uint8_t byte = uuid[nibble / 2];
        text[at] = hex[nibble % 2 == 0 ? byte >> 4 : byte & 15];
        nibble++;
    }
    text[UUID_TEXT_BYTES - 1] = '\0';
}

bool uuid_parse(struct slice text, uint8_t uuid[16])
{
    size_t nibble = 0;

    if (text.len != UUID_TEXT_BYTES - 1)
        return false;
    memset(uuid, 0, 16);
    for (size_t at = 0; at < text.len; at++) {
        if (is_dash_place(at)) {
            if (text.ptr[at] != '-')
                return false;
            continue;
        }
        int value = hex_value(text.ptr[at]);
        if (value < 0)
            return false;
        uuid[nibble / 2] = (uint8_t) (uuid[nibble / 2] << 4 | value);
        nibble++;
    }
    return true;
}
