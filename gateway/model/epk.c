#include "model/epk.h"

#include "base/hex.h"

#include <assert.h>

#include "base/banned.h"

void epk_set(struct epk *epk, const void *bytes, size_t len)
{
    assert(len <= EPK_BYTES_MAX);
    epk->len = (uint16_t) len;
    if (len > 0)
        memcpy(epk->bytes, bytes, len);
}

void epk_set_end(struct epk *epk)
{
    epk_set(epk, "\xff", 1);
}

int epk_compare(const struct epk *a, const struct epk *b)
{
    size_t len = a->len < b->len ? a->len : b->len;
    int order = memcmp(a->bytes, b->bytes, len);

    return order != 0 ? order : (int) a->len - (int) b->len;
}

bool epk_parse(struct epk *epk, struct slice hex)
{
    if (hex.len % 2 != 0 || hex.len / 2 > EPK_BYTES_MAX)
        return false;
    for (size_t i = 0; i < hex.len; i += 2) {
        int high = hex_value(hex.ptr[i]), low = hex_value(hex.ptr[i + 1]);
        if (high < 0 || low < 0)
            return false;
        epk->bytes[i / 2] = (uint8_t) (high << 4 | low);
    }
    epk->len = (uint16_t) (hex.len / 2);
    return true;
}

void epk_append(struct buf *buf, const struct epk *epk)
{
    static const char digits[] = "0123456789ABCDEF";

    for (size_t i = 0; i < epk->len; i++) {
        buf_append_char(buf, digits[epk->bytes[i] >> 4]);
        buf_append_char(buf, digits[epk->bytes[i] & 15]);
    }
}
