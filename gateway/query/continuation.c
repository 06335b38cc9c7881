#include "query/continuation.h"

#include "base/buf.h"
#include "base/crypto.h"

#include "base/banned.h"

#define VERSION 1
#define SIGNATURE_BYTES 16
#define VARINT_BYTES_MAX 10
/* Version, kind, five numbers and the 32-bit ones. */
#define FIXED_BYTES_MAX (2 + 6 * VARINT_BYTES_MAX + CONTINUATION_QUESTION_BYTES + SIGNATURE_BYTES)

size_t continuation_text_max(size_t state_bytes)
{
    return BASE64_LEN(FIXED_BYTES_MAX + state_bytes);
}

size_t continuation_state_max(size_t text_max)
{
    size_t bytes = text_max / 4 * 3;

    return bytes > FIXED_BYTES_MAX ? bytes - FIXED_BYTES_MAX : 0;
}

static void put_number(struct buf *bytes, uint64_t number)
{
    for (; number >= 0x80; number >>= 7)
        buf_append_char(bytes, (char) (number | 0x80));
    buf_append_char(bytes, (char) number);
}

static void put(struct buf *bytes, const struct continuation *continuation)
{
    buf_append_char(bytes, VERSION);
    buf_append_char(bytes, (char) continuation->kind);
    put_number(bytes, continuation->container);
    buf_append(bytes, continuation->question, sizeof(continuation->question));
    put_number(bytes, continuation->skip);
    /* No bound is 0, so that it is short. */
    put_number(bytes, continuation->take + 1);
    put_number(bytes, continuation->range);
    put_number(bytes, continuation->rid);
    put_number(bytes, continuation->row);
    buf_append_slice(bytes, continuation->state);
}

static void sign(const struct key *key, struct slice bytes, uint8_t mac[SHA256_BYTES])
{
    crypto_hmac_sha256(slice_make((const char *) key->bytes, key->len), bytes, mac);
}

const char *continuation_print(const struct continuation *continuation, const struct keys *keys,
                               struct arena *arena)
{
    uint8_t mac[SHA256_BYTES];
    struct buf bytes = {0};
    char *text = NULL;

    put(&bytes, continuation);
    if (!bytes.has_failed) {
        sign(&keys->key[KEY_PRIMARY], buf_slice(&bytes), mac);
        buf_append(&bytes, mac, SIGNATURE_BYTES);
    }
    if (!bytes.has_failed && (text = arena_alloc(arena, BASE64_LEN(bytes.len) + 1)) != NULL)
        base64_encode(bytes.ptr, bytes.len, text);
    buf_finish(&bytes);
    return text;
}

static bool take_bytes(struct slice *rest, void *out, size_t len)
{
    if (rest->len < len)
        return false;
    memcpy(out, rest->ptr, len);
    *rest = slice_make(rest->ptr + len, rest->len - len);
    return true;
}

/* In the one shortest form. */
static bool take_number(struct slice *rest, uint64_t max, uint64_t *number)
{
    uint8_t byte = 0x80;

    *number = 0;
    for (unsigned shift = 0; (byte & 0x80) != 0; shift += 7) {
        if (shift > 63 || !take_bytes(rest, &byte, 1) || (shift == 63 && byte > 1))
            return false;
        *number |= (uint64_t) (byte & 0x7f) << shift;
    }
    return *number <= max;
}

static bool take(struct continuation *continuation, struct slice bytes)
{
    uint64_t container, take_plus, range;
    uint8_t version, kind;

    if (!take_bytes(&bytes, &version, 1) || version != VERSION || !take_bytes(&bytes, &kind, 1) ||
        !take_number(&bytes, UINT32_MAX, &container) ||
        !take_bytes(&bytes, continuation->question, sizeof(continuation->question)) ||
        !take_number(&bytes, UINT64_MAX, &continuation->skip) ||
        !take_number(&bytes, UINT64_MAX, &take_plus) || !take_number(&bytes, UINT32_MAX, &range) ||
        !take_number(&bytes, UINT64_MAX, &continuation->rid) ||
        !take_number(&bytes, UINT64_MAX, &continuation->row))
        return false;
    continuation->kind = (enum continuation_kind) kind;
    continuation->container = (uint32_t) container;
    continuation->take = take_plus - 1;
    continuation->range = (uint32_t) range;
    continuation->state = bytes;
    return true;
}

static bool is_signed(struct slice bytes, const uint8_t *given, const struct keys *keys)
{
    uint8_t mac[SHA256_BYTES];

    for (enum key_kind kind = KEY_PRIMARY; kind <= KEY_SECONDARY; kind++) {
        if (keys->key[kind].len == 0)
            continue;
        sign(&keys->key[kind], bytes, mac);
        if (crypto_equals(mac, given, SIGNATURE_BYTES))
            return true;
    }
    return false;
}

bool continuation_parse(struct continuation *continuation, struct slice text,
                        const struct keys *keys, struct arena *arena)
{
    size_t size = text.len / 4 * 3, len;
    uint8_t *bytes = arena_alloc(arena, size);

    *continuation = (struct continuation){0};
    if (bytes == NULL || !base64_decode(text, bytes, size, &len) || len < SIGNATURE_BYTES)
        return false;
    len -= SIGNATURE_BYTES;
    struct slice signed_bytes = slice_make((const char *) bytes, len);
    return is_signed(signed_bytes, bytes + len, keys) && take(continuation, signed_bytes);
}
