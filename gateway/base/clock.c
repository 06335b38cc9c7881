#include "base/clock.h"

#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

#include "base/banned.h"

static _Atomic int64_t skew_ms;

static const char *const day_names[] = {"Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"};
static const char *const month_names[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                          "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

static int64_t read_us(clockid_t id)
{
    struct timespec now;

    clock_gettime(id, &now);
    return (int64_t) now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int64_t clock_unix_ms(void)
{
    return read_us(CLOCK_REALTIME) / 1000;
}

int64_t clock_unix_s(void)
{
    return clock_unix_ms() / 1000;
}

int64_t clock_items_s(void)
{
    return (clock_unix_ms() + atomic_load_explicit(&skew_ms, memory_order_relaxed)) / 1000;
}

int64_t clock_monotonic_us(void)
{
    return read_us(CLOCK_MONOTONIC);
}

int64_t clock_monotonic_ms(void)
{
    return clock_monotonic_us() / 1000;
}

void clock_set_skew_ms(int64_t skew)
{
    atomic_store_explicit(&skew_ms, skew, memory_order_relaxed);
}

/* Days since 1970-01-01 of a date in the Gregorian calendar, which repeats every 400 years. */
static int64_t days_from_date(int64_t year, int month, int day)
{
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t year_of_era = y - era * 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;

    return era * 146097 + day_of_era - 719468;
}

void clock_format_http(int64_t unix_s, char text[CLOCK_HTTP_DATE_BYTES])
{
    time_t when = (time_t) unix_s;
    struct tm tm;

    gmtime_r(&when, &tm);
    snprintf(text, CLOCK_HTTP_DATE_BYTES, "%s, %02u %s %04u %02u:%02u:%02u GMT",
             day_names[(unsigned) (tm.tm_wday + 3) % 7], (unsigned) tm.tm_mday % 100,
             month_names[(unsigned) tm.tm_mon % 12], (unsigned) (tm.tm_year + 1900) % 10000,
             (unsigned) tm.tm_hour % 100, (unsigned) tm.tm_min % 100, (unsigned) tm.tm_sec % 100);
}

static bool read_number(struct slice text, size_t at, size_t digits, unsigned max, unsigned *value)
{
    unsigned long long number;

    if (!slice_to_u64(slice_make(text.ptr + at, digits), max, &number))
        return false;
    *value = (unsigned) number;
    return true;
}

static bool read_name(struct slice text, size_t at, const char *const *names, size_t count,
                      unsigned *index)
{
    for (size_t i = 0; i < count; i++) {
        if (slice_equals_nocase(slice_make(text.ptr + at, 3), names[i])) {
            *index = (unsigned) i;
            return true;
        }
    }
    return false;
}

static unsigned days_of_month(unsigned year, unsigned month)
{
    static const unsigned char days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

    return month == 1 && is_leap ? 29 : days[month];
}

bool clock_parse_http(struct slice text, int64_t *unix_s)
{
    unsigned weekday, day, month, year, hour, minute, second;

    /* "Mon, 23 Nov 2026 07:01:14 GMT": every field has its place. */
    if (text.len != CLOCK_HTTP_DATE_BYTES - 1 || memcmp(text.ptr + 3, ", ", 2) != 0 ||
        text.ptr[7] != ' ' || text.ptr[11] != ' ' || text.ptr[16] != ' ' || text.ptr[19] != ':' ||
        text.ptr[22] != ':' || !slice_equals_nocase(slice_make(text.ptr + 25, 4), " GMT"))
        return false;
    if (!read_name(text, 0, day_names, ARRAY_LEN(day_names), &weekday) ||
        !read_number(text, 5, 2, 31, &day) ||
        !read_name(text, 8, month_names, ARRAY_LEN(month_names), &month) ||
        !read_number(text, 12, 4, 9999, &year) || !read_number(text, 17, 2, 23, &hour) ||
        !read_number(text, 20, 2, 59, &minute) || !read_number(text, 23, 2, 60, &second))
        return false;
    if (year < 1970 || day < 1 || day > days_of_month(year, month))
        return false;
    int64_t days = days_from_date(year, (int) month + 1, (int) day);
    if (days % 7 != weekday)
        return false;
    *unix_s = days * 86400 + hour * 3600 + minute * 60 + second;
    return true;
}
