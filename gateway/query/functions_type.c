/*
 * Type checks, and the functions that choose among values. They see undefined arguments and say so.
 */
#include "query/functions.h"

#include <math.h>

#include "base/banned.h"

const cJSON *function_is_array(struct eval *eval, const cJSON *const *args, size_t count)
{
    (void) eval, (void) count;
    return value_bool(args[0] != NULL && cJSON_IsArray(args[0]));
}

const cJSON *function_is_bool(struct eval *eval, const cJSON *const *args, size_t count)
{
    (void) eval, (void) count;
    return value_bool(args[0] != NULL && cJSON_IsBool(args[0]));
}

const cJSON *function_is_defined(struct eval *eval, const cJSON *const *args, size_t count)
{
    (void) eval, (void) count;
    return value_bool(args[0] != NULL);
}

const cJSON *function_is_null(struct eval *eval, const cJSON *const *args, size_t count)
{
    (void) eval, (void) count;
    return value_bool(args[0] != NULL && cJSON_IsNull(args[0]));
}

const cJSON *function_is_number(struct eval *eval, const cJSON *const *args, size_t count)
{
    (void) eval, (void) count;
    return value_bool(args[0] != NULL && cJSON_IsNumber(args[0]));
}

const cJSON *function_is_object(struct eval *eval, const cJSON *const *args, size_t count)
{
    (void) eval, (void) count;
    return value_bool(args[0] != NULL && cJSON_IsObject(args[0]));
}

const cJSON *function_is_string(struct eval *eval, const cJSON *const *args, size_t count)
{
    (void) eval, (void) count;
    return value_bool(args[0] != NULL && cJSON_IsString(args[0]));
}

const cJSON *function_is_primitive(struct eval *eval, const cJSON *const *args, size_t count)
{
    (void) eval, (void) count;
    return value_bool(args[0] != NULL && !cJSON_IsArray(args[0]) && !cJSON_IsObject(args[0]));
}

/* A whole number within signed 64 bits; 2^63 itself is the first double outside. */
const cJSON *function_is_integer(struct eval *eval, const cJSON *const *args, size_t count)
{
    (void) eval, (void) count;
    if (args[0] == NULL || !cJSON_IsNumber(args[0]))
        return value_bool(false);
    double number = args[0]->valuedouble;
    return value_bool(number == trunc(number) && number >= -0x1p63 && number < 0x1p63);
}

const cJSON *function_is_finite_number(struct eval *eval, const cJSON *const *args, size_t count)
{
    (void) eval, (void) count;
    return value_bool(args[0] != NULL && cJSON_IsNumber(args[0]) && isfinite(args[0]->valuedouble));
}

static int digits_read(const char **at, unsigned digits)
{
    int value = 0;

    for (unsigned i = 0; i < digits; i++) {
        if (**at < '0' || **at > '9')
            return -1;
        value = value * 10 + (*(*at)++ - '0');
    }
    return value;
}

static bool read(const char **at, char before, unsigned digits, int min, int max, int *value)
{
    if (before != '\0' && *(*at)++ != before)
        return false;
    *value = digits_read(at, digits);
    return *value >= min && *value <= max;
}

static int month_days(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

    return month == 2 && is_leap ? 29 : days[month - 1];
}

/* YYYY-MM-DDThh:mm:ss[.fffffff][Z], one to seven digits of fraction */
static bool is_datetime(const char *at)
{
    int year, month, day, hour, minute, second;

    if (!read(&at, '\0', 4, 1, 9999, &year) || !read(&at, '-', 2, 1, 12, &month) ||
        !read(&at, '-', 2, 1, month_days(year, month), &day) || !read(&at, 'T', 2, 0, 23, &hour) ||
        !read(&at, ':', 2, 0, 59, &minute) || !read(&at, ':', 2, 0, 59, &second))
        return false;
    if (*at == '.') {
        size_t digits = strspn(at + 1, "0123456789");
        if (digits == 0 || digits > 7)
            return false;
        at += 1 + digits;
    }
    at += *at == 'Z';
    return *at == '\0';
}

const cJSON *function_is_datetime(struct eval *eval, const cJSON *const *args, size_t count)
{
    (void) eval, (void) count;
    return value_bool(args[0] != NULL && cJSON_IsString(args[0]) &&
                      is_datetime(args[0]->valuestring));
}

const cJSON *function_iif(struct eval *eval, const cJSON *const *args, size_t count)
{
    (void) eval, (void) count;
    return value_is_true(args[0]) ? args[1] : args[2];
}

const cJSON *function_choose(struct eval *eval, const cJSON *const *args, size_t count)
{
    (void) eval;
    if (args[0] == NULL || !cJSON_IsNumber(args[0]))
        return NULL;
    double index = args[0]->valuedouble;
    if (index != trunc(index) || index < 1 || index >= (double) count)
        return NULL;
    return args[(size_t) index];
}
