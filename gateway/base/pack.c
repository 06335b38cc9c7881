#include "base/pack.h"

#include <zstd.h>

#include "base/banned.h"

/* The fastest of the ordinary levels: links between regions are fast, and cores are few. */
#define LEVEL 1

bool pack_append(struct buf *out, struct slice text)
{
    size_t room = ZSTD_compressBound(text.len);

    if (!buf_reserve(out, room))
        return false;
    size_t len = ZSTD_compress(out->ptr + out->len, room, text.ptr, text.len, LEVEL);
    if (ZSTD_isError(len))
        return false;
    out->len += len;
    return true;
}

bool unpack_append(struct buf *out, struct slice packed, size_t len)
{
    if (!buf_reserve(out, len > 0 ? len : 1))
        return false;
    size_t got = ZSTD_decompress(out->ptr + out->len, len, packed.ptr, packed.len);
    if (ZSTD_isError(got) || got != len)
        return false;
    out->len += len;
    return true;
}
