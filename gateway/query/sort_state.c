#include "query/sort_state.h"

#include "base/crypto.h"

#include <string.h>

#include "base/banned.h"

#define DIGEST_MARK 0xff

/* Numbers of the state are big-endian, lengths too. */
static void put64(struct buf *out, uint64_t value)
{
    for (int shift = 56; shift >= 0; shift -= 8)
        buf_append_char(out, (char) (value >> shift));
}

static void put_value(struct buf *out, const struct sort_value *value)
{
    uint64_t bits;

    buf_append_char(out, (char) value->rank);
    switch (value->rank) {
    case VALUE_BOOLEAN:
    case VALUE_NUMBER:
        memcpy(&bits, &value->number, sizeof(bits));
        put64(out, bits);
        break;
    case VALUE_STRING:
        put64(out, value->text.len);
        buf_append_slice(out, value->text);
        break;
    case VALUE_ARRAY:
    case VALUE_OBJECT:
        buf_append(out, value->digest.bytes, DIGEST_BYTES);
        break;
    default:
        break;
    }
}

static void digest_of(struct slice whole, uint8_t digest[DIGEST_BYTES])
{
    uint8_t sha[SHA256_BYTES];

    crypto_sha256(whole, sha);
    memcpy(digest, sha, DIGEST_BYTES);
}

void sort_state_append(struct buf *out, const struct sort_value *values, unsigned count,
                       size_t bytes_max)
{
    size_t start = out->len;
    uint8_t digest[DIGEST_BYTES];

    for (unsigned i = 0; i < count; i++)
        put_value(out, &values[i]);
    if (out->has_failed || out->len - start <= bytes_max)
        return;
    digest_of(slice_make(out->ptr + start, out->len - start), digest);
    out->len = start;
    buf_append_char(out, (char) DIGEST_MARK);
    buf_append(out, digest, DIGEST_BYTES);
}

bool sort_state_is_digest(struct slice state)
{
    return state.len == 1 + DIGEST_BYTES && (unsigned char) state.ptr[0] == DIGEST_MARK;
}

static bool take(struct slice *rest, size_t len, struct slice *taken)
{
    if (rest->len < len)
        return false;
    *taken = slice_make(rest->ptr, len);
    *rest = slice_make(rest->ptr + len, rest->len - len);
    return true;
}

static bool take64(struct slice *rest, uint64_t *value)
{
    struct slice bytes;

    if (!take(rest, sizeof(*value), &bytes))
        return false;
    *value = 0;
    for (size_t i = 0; i < bytes.len; i++)
        *value = *value << 8 | (unsigned char) bytes.ptr[i];
    return true;
}

static bool take_value(struct slice *rest, struct sort_value *value)
{
    struct slice bytes;
    uint64_t bits;

    if (!take(rest, 1, &bytes))
        return false;
    *value = (struct sort_value){.rank = (enum value_rank) bytes.ptr[0]};
    switch (value->rank) {
    case VALUE_UNDEFINED:
    case VALUE_NULL:
        return true;
    case VALUE_BOOLEAN:
    case VALUE_NUMBER:
        if (!take64(rest, &bits))
            return false;
        memcpy(&value->number, &bits, sizeof(bits));
        return true;
    case VALUE_STRING:
        return take64(rest, &bits) && bits <= rest->len && take(rest, (size_t) bits, &value->text);
    case VALUE_ARRAY:
    case VALUE_OBJECT:
        if (!take(rest, DIGEST_BYTES, &bytes))
            return false;
        memcpy(value->digest.bytes, bytes.ptr, DIGEST_BYTES);
        return true;
    }
    return false;
}

bool sort_state_read(struct slice state, struct sort_value *values, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (!take_value(&state, &values[i]))
            return false;
    }
    return state.len == 0;
}

bool sort_state_matches(struct slice state, const struct sort_value *values, unsigned count)
{
    uint8_t digest[DIGEST_BYTES];
    struct buf whole = {0};

    for (unsigned i = 0; i < count; i++)
        put_value(&whole, &values[i]);
    digest_of(buf_slice(&whole), digest);
    bool is_equal = !whole.has_failed && memcmp(digest, state.ptr + 1, DIGEST_BYTES) == 0;
    buf_finish(&whole);
    return is_equal;
}
