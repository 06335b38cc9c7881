#include "model/charge.h"

#include <assert.h>
#include <stdio.h>

#include "base/banned.h"

/* Kilobytes begun behind the first. */
static int64_t further_kb(size_t bytes)
{
    return bytes <= 1024 ? 0 : (int64_t) ((bytes - 1) / 1024);
}

int64_t charge_read_cru(size_t body_bytes)
{
    return 100 + 9 * further_kb(body_bytes);
}

int64_t charge_write_cru(size_t body_bytes)
{
    return 500 + 45 * further_kb(body_bytes);
}

static int64_t kb_begun(uint64_t bytes)
{
    return (int64_t) ((bytes + 1023) / 1024);
}

int64_t charge_feed_cru(size_t item_count, size_t body_bytes)
{
    return 200 + 5 * (int64_t) item_count + 9 * kb_begun(body_bytes);
}

int64_t charge_query_cru(uint64_t item_count, uint64_t item_bytes, size_t result_bytes)
{
    return 200 + 5 * (int64_t) item_count + 9 * kb_begun(item_bytes) + 2 * kb_begun(result_bytes);
}

void charge_format(int64_t charge_cru, char text[CHARGE_TEXT_BYTES])
{
    uint64_t rest = (uint64_t) charge_cru;
    char reversed[CHARGE_TEXT_BYTES];
    size_t len = 0, decimals = rest % 100 == 0 ? 0 : rest % 10 == 0 ? 1 : 2;

    assert(charge_cru >= 0);
    for (size_t skipped = decimals; skipped < 2; skipped++)
        rest /= 10;
    for (size_t digits = 0; digits <= decimals || rest > 0; digits++) {
        if (digits == decimals && digits > 0)
            reversed[len++] = '.';
        reversed[len++] = (char) ('0' + rest % 10);
        rest /= 10;
    }
    for (size_t i = 0; i < len; i++)
        text[i] = reversed[len - 1 - i];
    text[len] = '\0';
}
