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

int64_t charge_feed_cru(size_t item_count, size_t body_bytes)
{
    return 200 + 5 * (int64_t) item_count + 9 * (int64_t) ((body_bytes + 1023) / 1024);
}

void charge_format(int64_t charge_cru, char text[CHARGE_TEXT_BYTES])
{
    long long units = charge_cru / 100, cents = charge_cru % 100;

    assert(charge_cru >= 0);
    if (cents == 0)
        snprintf(text, CHARGE_TEXT_BYTES, "%lld", units);
    else if (cents % 10 == 0)
        snprintf(text, CHARGE_TEXT_BYTES, "%lld.%lld", units, cents / 10);
    else
        snprintf(text, CHARGE_TEXT_BYTES, "%lld.%02lld", units, cents);
}
