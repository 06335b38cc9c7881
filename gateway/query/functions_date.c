/*
 * Dates: strings YYYY-MM-DDThh:mm:ss.fffffffZ, always UTC, years 1 to 9999.
 *
 * Inside, a date is its ticks of 100 ns since 1970-01-01, and parts of a day are arithmetic on
 * them; years and months go through the calendar (days from civil dates and back, proleptic
 * Gregorian).
 */
#include "query/functions.h"

#include <math.h>
#include <stdio.h>

#include "base/banned.h"

#define TICKS_PER_MS INT64_C(10000)
#define TICKS_PER_SECOND (1000 * TICKS_PER_MS)
#define TICKS_PER_MINUTE (60 * TICKS_PER_SECOND)
#define TICKS_PER_HOUR (60 * TICKS_PER_MINUTE)
#define TICKS_PER_DAY (24 * TICKS_PER_HOUR)

/* 0001-01-01 and the last tick of 9999. */
#define TICKS_MIN (-719162 * TICKS_PER_DAY)
#define TICKS_MAX (2932897 * TICKS_PER_DAY - 1)

/* DateTimeBin's origin may not be before 1601-01-01. */
#define TICKS_ORIGIN_MIN (-134774 * TICKS_PER_DAY)

/* YYYY-MM-DDThh:mm:ss.fffffffZ and NUL, with room for what the compiler thinks an int may print. */
#define DATE_BYTES 96

enum part {
    PART_YEAR,
    PART_MONTH,
    PART_DAY,
    PART_HOUR,
    PART_MINUTE,
    PART_SECOND,
    PART_MILLISECOND,
    PART_MICROSECOND,
    PART_NANOSECOND,
};

static const struct {
    const char *names[3];
    int64_t ticks;     /* 0 where it takes a calendar or is finer than a tick */
    int64_t per_ticks; /* how many make one tick */
} parts[] = {
    [PART_YEAR] = {{"year", "yyyy", "yy"}, 0, 0},
    [PART_MONTH] = {{"month", "mm", "m"}, 0, 0},
    [PART_DAY] = {{"day", "dd", "d"}, TICKS_PER_DAY, 0},
    [PART_HOUR] = {{"hour", "hh", NULL}, TICKS_PER_HOUR, 0},
    [PART_MINUTE] = {{"minute", "mi", "n"}, TICKS_PER_MINUTE, 0},
    [PART_SECOND] = {{"second", "ss", "s"}, TICKS_PER_SECOND, 0},
    [PART_MILLISECOND] = {{"millisecond", "ms", NULL}, TICKS_PER_MS, 0},
    [PART_MICROSECOND] = {{"microsecond", "mcs", NULL}, 10, 0},
    [PART_NANOSECOND] = {{"nanosecond", "ns", NULL}, 0, 100},
};

struct date {
    int64_t year;
    int month, day, hour, minute, second, fraction; /* fraction in ticks */
};

static bool part_parse(const cJSON *value, enum part *part)
{
    if (!cJSON_IsString(value))
        return false;
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        for (size_t n = 0; n < 3 && parts[i].names[n] != NULL; n++) {
            if (slice_equals_nocase(value_text(value), parts[i].names[n])) {
                *part = (enum part) i;
                return true;
            }
        }
    }
    return false;
}

/* A whole number small enough to multiply by a day's ticks. */
static bool whole(const cJSON *value, int64_t *number)
{
    if (!cJSON_IsNumber(value) || value->valuedouble != trunc(value->valuedouble) ||
        fabs(value->valuedouble) > 9e15)
        return false;
    *number = (int64_t) value->valuedouble;
    return true;
}

static int64_t floor_divide(int64_t a, int64_t b)
{
    return a / b - (a % b != 0 && (a < 0) != (b < 0));
}

static int month_days(int64_t year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

    return month == 2 && is_leap ? 29 : days[month - 1];
}

/* Days since 1970-01-01; a year counts from March, so that the leap day is its last. */
static int64_t days_from_civil(int64_t year, int month, int day)
{
    year -= month <= 2;
    int64_t era = floor_divide(year, 400);
    int64_t year_of_era = year - era * 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

static void civil_from_days(int64_t days, struct date *date)
{
    days += 719468;
    int64_t era = floor_divide(days, 146097);
    int64_t day_of_era = days - era * 146097;
    int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t month = (5 * day_of_year + 2) / 153;

    date->day = (int) (day_of_year - (153 * month + 2) / 5 + 1);
    date->month = (int) (month < 10 ? month + 3 : month - 9);
    date->year = year_of_era + era * 400 + (date->month <= 2);
}

static struct date date_from_ticks(int64_t ticks)
{
    struct date date;
    int64_t days = floor_divide(ticks, TICKS_PER_DAY);
    int64_t rest = ticks - days * TICKS_PER_DAY;

    civil_from_days(days, &date);
    date.hour = (int) (rest / TICKS_PER_HOUR);
    date.minute = (int) (rest / TICKS_PER_MINUTE % 60);
    date.second = (int) (rest / TICKS_PER_SECOND % 60);
    date.fraction = (int) (rest % TICKS_PER_SECOND);
    return date;
}

/* False when a part is out of its range. */
static bool date_to_ticks(const struct date *date, int64_t *ticks)
{
    if (date->year < 1 || date->year > 9999 || date->month < 1 || date->month > 12 ||
        date->day < 1 || date->day > month_days(date->year, date->month) || date->hour < 0 ||
        date->hour > 23 || date->minute < 0 || date->minute > 59 || date->second < 0 ||
        date->second > 59 || date->fraction < 0 || date->fraction >= TICKS_PER_SECOND)
        return false;
    *ticks = days_from_civil(date->year, date->month, date->day) * TICKS_PER_DAY +
             date->hour * TICKS_PER_HOUR + date->minute * TICKS_PER_MINUTE +
             date->second * TICKS_PER_SECOND + date->fraction;
    return true;
}

/* That many digits behind a separator ('\0' for none). */
static bool digits(const char **at, char separator, int count, int *value)
{
    if (separator != '\0' && *(*at)++ != separator)
        return false;
    *value = 0;
    for (int i = 0; i < count; i++) {
        if (**at < '0' || **at > '9')
            return false;
        *value = *value * 10 + (*(*at)++ - '0');
    }
    return true;
}

/* One to seven digits behind a dot, as ticks. */
static bool fraction(const char **at, int *ticks)
{
    int count = 0;

    *ticks = 0;
    for ((*at)++; **at >= '0' && **at <= '9' && count < 7; (*at)++, count++)
        *ticks = *ticks * 10 + (**at - '0');
    if (count == 0)
        return false;
    for (; count < 7; count++)
        *ticks *= 10;
    return true;
}

/* YYYY-MM-DD, the separator given, hh:mm:ss[.fffffff][Z] */
static bool parse_separated(const cJSON *value, char separator, int64_t *ticks)
{
    struct date date = {0};
    int year;

    if (value == NULL || !cJSON_IsString(value))
        return false;
    const char *at = value->valuestring;
    if (!digits(&at, '\0', 4, &year) || !digits(&at, '-', 2, &date.month) ||
        !digits(&at, '-', 2, &date.day) || !digits(&at, separator, 2, &date.hour) ||
        !digits(&at, ':', 2, &date.minute) || !digits(&at, ':', 2, &date.second) ||
        (*at == '.' && !fraction(&at, &date.fraction)))
        return false;
    at += *at == 'Z';
    date.year = year;
    return *at == '\0' && date_to_ticks(&date, ticks);
}

static bool datetime_parse(const cJSON *value, int64_t *ticks)
{
    return parse_separated(value, 'T', ticks);
}

/* What DateTimeFormat, YEAR, MONTH and DAY take: a blank may stand for the T. */
static bool datetime_parse_any(const cJSON *value, int64_t *ticks)
{
    return parse_separated(value, 'T', ticks) || parse_separated(value, ' ', ticks);
}

/* Undefined outside the years that the text can say. */
static const cJSON *datetime_value(struct eval *eval, int64_t ticks)
{
    char text[DATE_BYTES];

    if (ticks < TICKS_MIN || ticks > TICKS_MAX)
        return NULL;
    struct date date = date_from_ticks(ticks);
    int len = snprintf(text, sizeof(text), "%04d-%02d-%02dT%02d:%02d:%02d.%07dZ", (int) date.year,
                       date.month, date.day, date.hour, date.minute, date.second, date.fraction);
    return value_string(eval, slice_make(text, (size_t) len));
}

const cJSON *function_is_datetime(struct eval *eval, const cJSON *const *args, size_t count)
{
    int64_t ticks;

    (void) eval, (void) count;
    return value_bool(datetime_parse(args[0], &ticks));
}

/* Months added; a day past the month's end becomes its last. */
static bool months_add(int64_t *ticks, int64_t months)
{
    struct date date = date_from_ticks(*ticks);

    if (months < -12 * 9999 || months > 12 * 9999)
        return false;
    months += date.year * 12 + date.month - 1;
    date.year = floor_divide(months, 12);
    date.month = (int) (months - date.year * 12) + 1;
    int last = month_days(date.year, date.month);
    if (date.day > last)
        date.day = last;
    return date_to_ticks(&date, ticks);
}

const cJSON *function_datetime_add(struct eval *eval, const cJSON *const *args, size_t count)
{
    enum part part;
    int64_t number, ticks, more;

    (void) count;
    if (!part_parse(args[0], &part) || !whole(args[1], &number) || !datetime_parse(args[2], &ticks))
        return NULL;
    if (part == PART_YEAR || part == PART_MONTH) {
        if (number < -12 * 9999 || number > 12 * 9999 ||
            !months_add(&ticks, part == PART_YEAR ? 12 * number : number))
            return NULL;
        return datetime_value(eval, ticks);
    }
    if (parts[part].per_ticks != 0)
        more = number / parts[part].per_ticks;
    else if (__builtin_mul_overflow(number, parts[part].ticks, &more))
        return NULL;
    return __builtin_add_overflow(ticks, more, &ticks) ? NULL : datetime_value(eval, ticks);
}

/* How many boundaries of a part lie before a date. */
static int64_t boundaries(enum part part, int64_t ticks)
{
    struct date date = date_from_ticks(ticks);

    if (part == PART_YEAR)
        return date.year;
    if (part == PART_MONTH)
        return date.year * 12 + date.month;
    return floor_divide(ticks, parts[part].ticks);
}

const cJSON *function_datetime_diff(struct eval *eval, const cJSON *const *args, size_t count)
{
    enum part part;
    int64_t start, end;

    (void) count;
    if (!part_parse(args[0], &part) || !datetime_parse(args[1], &start) ||
        !datetime_parse(args[2], &end))
        return NULL;
    if (part == PART_NANOSECOND)
        return value_number(eval, 100.0 * (double) (end - start));
    return value_number(eval, (double) (boundaries(part, end) - boundaries(part, start)));
}

const cJSON *function_datetime_part(struct eval *eval, const cJSON *const *args, size_t count)
{
    enum part part;
    int64_t ticks;

    (void) count;
    if (!part_parse(args[0], &part) || !datetime_parse(args[1], &ticks))
        return NULL;
    struct date date = date_from_ticks(ticks);
    const double values[] = {
        [PART_YEAR] = (double) date.year,
        [PART_MONTH] = date.month,
        [PART_DAY] = date.day,
        [PART_HOUR] = date.hour,
        [PART_MINUTE] = date.minute,
        [PART_SECOND] = date.second,
        [PART_MILLISECOND] = (double) (date.fraction / TICKS_PER_MS),
        [PART_MICROSECOND] = (double) (date.fraction / 10),
        [PART_NANOSECOND] = 100.0 * date.fraction,
    };
    return value_number(eval, values[part]);
}

const cJSON *function_datetime_from_parts(struct eval *eval, const cJSON *const *args, size_t count)
{
    int64_t values[7] = {0}, ticks;

    for (size_t i = 0; i < count; i++) {
        if (!whole(args[i], &values[i]) || values[i] < 0 || values[i] >= TICKS_PER_SECOND)
            return NULL;
    }
    struct date date = {
        values[0],       (int) values[1], (int) values[2], (int) values[3],
        (int) values[4], (int) values[5], (int) values[6],
    };
    return date_to_ticks(&date, &ticks) ? datetime_value(eval, ticks) : NULL;
}

/* The start of the bin that holds a date: bins of `size` parts, counted from an origin. */
const cJSON *function_datetime_bin(struct eval *eval, const cJSON *const *args, size_t count)
{
    enum part part;
    int64_t ticks, size = 1, origin = 0, width;

    if (!datetime_parse(args[0], &ticks) || !part_parse(args[1], &part) ||
        (count > 2 && !whole(args[2], &size)) || (count > 3 && !datetime_parse(args[3], &origin)))
        return NULL;
    if (part < PART_DAY || size < 1 || origin < TICKS_ORIGIN_MIN)
        return NULL;
    if (parts[part].per_ticks != 0)
        width = size / parts[part].per_ticks > 0 ? size / parts[part].per_ticks : 1;
    else if (__builtin_mul_overflow(size, parts[part].ticks, &width))
        return NULL;
    int64_t bin = floor_divide(ticks - origin, width);
    return __builtin_mul_overflow(bin, width, &ticks) ||
                   __builtin_add_overflow(ticks, origin, &ticks)
               ? NULL
               : datetime_value(eval, ticks);
}

const cJSON *function_datetime_to_ticks(struct eval *eval, const cJSON *const *args, size_t count)
{
    int64_t ticks;

    (void) count;
    return datetime_parse(args[0], &ticks) ? value_number(eval, (double) ticks) : NULL;
}

const cJSON *function_datetime_to_timestamp(struct eval *eval, const cJSON *const *args,
                                            size_t count)
{
    int64_t ticks;

    (void) count;
    if (!datetime_parse(args[0], &ticks))
        return NULL;
    return value_number(eval, (double) floor_divide(ticks, TICKS_PER_MS));
}

const cJSON *function_ticks_to_datetime(struct eval *eval, const cJSON *const *args, size_t count)
{
    if (count != 1 || !cJSON_IsNumber(args[0]) ||
        args[0]->valuedouble != trunc(args[0]->valuedouble) || fabs(args[0]->valuedouble) >= 0x1p63)
        return NULL;
    return datetime_value(eval, (int64_t) args[0]->valuedouble);
}

const cJSON *function_timestamp_to_datetime(struct eval *eval, const cJSON *const *args,
                                            size_t count)
{
    int64_t timestamp_ms, ticks;

    (void) count;
    if (!whole(args[0], &timestamp_ms) ||
        __builtin_mul_overflow(timestamp_ms, TICKS_PER_MS, &ticks))
        return NULL;
    return datetime_value(eval, ticks);
}

/* ---- The clock of the request: one value for all that is evaluated ---- */

const cJSON *function_current_datetime(struct eval *eval, const cJSON *const *args, size_t count)
{
    (void) args, (void) count;
    return datetime_value(eval, 10 * eval->now_us);
}

const cJSON *function_current_ticks(struct eval *eval, const cJSON *const *args, size_t count)
{
    (void) args, (void) count;
    return value_number(eval, 10.0 * (double) eval->now_us);
}

const cJSON *function_current_timestamp(struct eval *eval, const cJSON *const *args, size_t count)
{
    (void) args, (void) count;
    return value_number(eval, (double) floor_divide(eval->now_us, 1000));
}

/* ---- Parts by name, and free formats ---- */

const cJSON *function_year(struct eval *eval, const cJSON *const *args, size_t count)
{
    int64_t ticks;

    (void) count;
    if (!datetime_parse_any(args[0], &ticks))
        return NULL;
    return value_number(eval, (double) date_from_ticks(ticks).year);
}

const cJSON *function_month(struct eval *eval, const cJSON *const *args, size_t count)
{
    int64_t ticks;

    (void) count;
    return datetime_parse_any(args[0], &ticks) ? value_number(eval, date_from_ticks(ticks).month)
                                               : NULL;
}

const cJSON *function_day(struct eval *eval, const cJSON *const *args, size_t count)
{
    int64_t ticks;

    (void) count;
    return datetime_parse_any(args[0], &ticks) ? value_number(eval, date_from_ticks(ticks).day)
                                               : NULL;
}

/* The fraction's first digits, for F without the zeros at their end. */
static void format_fraction(struct buf *out, int fraction, unsigned digits_count, bool is_trimmed)
{
    char text[DATE_BYTES];
    size_t len = digits_count;

    snprintf(text, sizeof(text), "%07d", fraction);
    while (is_trimmed && len > 0 && text[len - 1] == '0')
        len--;
    buf_append(out, text, len);
}

/* A name, or its first three letters. */
static void format_name(struct buf *out, const char *name, unsigned count)
{
    buf_append(out, name, count == 3 ? 3 : strlen(name));
}

/* One specifier: a letter repeated. False for one that does not exist. */
static bool format_part(struct buf *out, const struct date *date, int64_t ticks, char letter,
                        unsigned count)
{
    static const char *const months[] = {"January",   "February", "March",    "April",
                                         "May",       "June",     "July",     "August",
                                         "September", "October",  "November", "December"};
    static const char *const days[] = {"Thursday", "Friday",  "Saturday", "Sunday",
                                       "Monday",   "Tuesday", "Wednesday"}; /* from 1970-01-01 */
    int width = (int) (count < 2 ? count : 2);
    int64_t day = floor_divide(ticks, TICKS_PER_DAY);

    switch (letter) {
    case 'y':
        buf_printf(out, "%0*d", (int) count, (int) (count > 2 ? date->year : date->year % 100));
        return true;
    case 'M':
        if (count > 2)
            format_name(out, months[date->month - 1], count);
        else
            buf_printf(out, "%0*d", width, date->month);
        return true;
    case 'd':
        if (count > 2)
            format_name(out, days[day - 7 * floor_divide(day, 7)], count);
        else
            buf_printf(out, "%0*d", width, date->day);
        return true;
    case 'H':
        buf_printf(out, "%0*d", width, date->hour);
        return true;
    case 'h':
        buf_printf(out, "%0*d", width, (date->hour + 11) % 12 + 1);
        return true;
    case 'm':
        buf_printf(out, "%0*d", width, date->minute);
        return true;
    case 's':
        buf_printf(out, "%0*d", width, date->second);
        return true;
    case 't':
        buf_append(out, date->hour < 12 ? "AM" : "PM", (size_t) width);
        return true;
    case 'f':
    case 'F':
        if (count <= 7)
            format_fraction(out, date->fraction, count, letter == 'F');
        return count <= 7;
    default:
        return false;
    }
}

/* Longest run of one letter: the longest specifier is fffffff. */
#define FORMAT_RUN_MAX 16

/*
 * Specifiers replaced, all else copied; \x is x, and so is what stands in quotes. False for a run
 * that is no specifier, and for a quote or a backslash that begins nothing.
 */
static bool format_print(struct buf *out, const struct date *date, int64_t ticks, const char *at)
{
    while (*at != '\0') {
        char letter = *at;
        unsigned count = 0;

        if (letter == '\\') {
            if (*++at == '\0')
                return false;
            buf_append_char(out, *at++);
        } else if (letter == '\'' || letter == '"') {
            const char *end = strchr(at + 1, letter);
            if (end == NULL)
                return false;
            buf_append(out, at + 1, (size_t) (end - at - 1));
            at = end + 1;
        } else if (strchr("yMdHhmstfF", letter) == NULL) {
            buf_append_char(out, *at++);
        } else {
            for (; *at == letter; at++)
                count++;
            if (count > FORMAT_RUN_MAX || !format_part(out, date, ticks, letter, count))
                return false;
        }
    }
    return true;
}

const cJSON *function_datetime_format(struct eval *eval, const cJSON *const *args, size_t count)
{
    struct buf text = {0};
    int64_t ticks;

    (void) count;
    if (!datetime_parse_any(args[0], &ticks) || !cJSON_IsString(args[1]) ||
        !eval_spend(eval, value_text(args[1]).len))
        return NULL;
    struct date date = date_from_ticks(ticks);
    if (!format_print(&text, &date, ticks, args[1]->valuestring)) {
        buf_finish(&text);
        return NULL;
    }
    return value_string_take(eval, &text);
}
