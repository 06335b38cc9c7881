/*
 * Mathematical functions: IEEE doubles in and out; the Int… family works on 64-bit integers.
 *
 * Outside its domain a function gives NaN or an infinity, as the arithmetic operators do.
 */
#include "query/functions.h"

#include <math.h>

#include "base/banned.h"

#define RADIANS_PER_DEGREE (M_PI / 180)

static bool numbers(const cJSON *const *args, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!cJSON_IsNumber(args[i]))
            return false;
    }
    return true;
}

/* A function of one number: its name here, its value for x. */
#define UNARY(name, value)                                                                  \
    const cJSON *function_##name(struct eval *eval, const cJSON *const *args, size_t count) \
    {                                                                                       \
        if (!numbers(args, count))                                                          \
            return NULL;                                                                    \
        double x = args[0]->valuedouble;                                                    \
        return value_number(eval, value);                                                   \
    }

UNARY(abs, fabs(x))
UNARY(acos, acos(x))
UNARY(asin, asin(x))
UNARY(atan, atan(x))
UNARY(ceiling, ceil(x))
UNARY(cos, cos(x))
UNARY(cot, cos(x) / sin(x))
UNARY(degrees, x / RADIANS_PER_DEGREE)
UNARY(exp, exp(x))
UNARY(floor, floor(x))
UNARY(log10, log10(x))
UNARY(radians, x *RADIANS_PER_DEGREE)
UNARY(round, round(x)) /* half away from zero */
UNARY(sign, x > 0 ? 1 : x < 0 ? -1 : x)
UNARY(sin, sin(x))
UNARY(sqrt, sqrt(x))
UNARY(square, x *x)
UNARY(tan, tan(x))
UNARY(trunc, trunc(x))
#undef UNARY

const cJSON *function_pi(struct eval *eval, const cJSON *const *args, size_t count)
{
    (void) args, (void) count;
    return value_number(eval, M_PI);
}

/* The next of a sequence that its seed decides: 53 bits of SplitMix64, in [0, 1). */
const cJSON *function_rand(struct eval *eval, const cJSON *const *args, size_t count)
{
    (void) args, (void) count;
    uint64_t bits = eval->seed += UINT64_C(0x9e3779b97f4a7c15);
    bits = (bits ^ bits >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    bits = (bits ^ bits >> 27) * UINT64_C(0x94d049bb133111eb);
    bits ^= bits >> 31;
    return value_number(eval, (double) (bits >> 11) * 0x1p-53);
}

const cJSON *function_atn2(struct eval *eval, const cJSON *const *args, size_t count)
{
    if (!numbers(args, count))
        return NULL;
    return value_number(eval, atan2(args[0]->valuedouble, args[1]->valuedouble));
}

const cJSON *function_power(struct eval *eval, const cJSON *const *args, size_t count)
{
    if (!numbers(args, count))
        return NULL;
    return value_number(eval, pow(args[0]->valuedouble, args[1]->valuedouble));
}

const cJSON *function_log(struct eval *eval, const cJSON *const *args, size_t count)
{
    if (!numbers(args, count))
        return NULL;
    double value = log(args[0]->valuedouble);
    if (count == 2)
        value /= log(args[1]->valuedouble);
    return value_number(eval, value);
}

/* The multiple of size at or below x, or above it for a negative size. */
const cJSON *function_number_bin(struct eval *eval, const cJSON *const *args, size_t count)
{
    if (!numbers(args, count))
        return NULL;
    double size = count == 2 ? args[1]->valuedouble : 1;
    if (size == 0)
        return NULL;
    return value_number(eval, floor(args[0]->valuedouble / size) * size);
}

/* Every argument a whole number within 64 bits, or the result is undefined. */
static bool integers(const cJSON *const *args, size_t count, int64_t values[2])
{
    if (!numbers(args, count))
        return false;
    for (size_t i = 0; i < count; i++) {
        double number = args[i]->valuedouble;
        if (number != trunc(number) || number < -0x1p63 || number >= 0x1p63)
            return false;
        values[i] = (int64_t) number;
    }
    return true;
}

/* Bits as a signed number, without leaving it to the compiler what that means. */
static int64_t wrapped(uint64_t bits)
{
    return bits <= INT64_MAX ? (int64_t) bits : -1 - (int64_t) (UINT64_MAX - bits);
}

/* A function of 64-bit integers: its name here, when it is undefined, its bits for a and b. */
#define INTEGER(name, is_undefined, bits)                                                       \
    const cJSON *function_int_##name(struct eval *eval, const cJSON *const *args, size_t count) \
    {                                                                                           \
        int64_t values[2] = {0, 0};                                                             \
        if (!integers(args, count, values) || count > 2)                                        \
            return NULL;                                                                        \
        uint64_t a = (uint64_t) values[0], b = (uint64_t) values[1];                            \
        if (is_undefined)                                                                       \
            return NULL;                                                                        \
        (void) a, (void) b;                                                                     \
        return value_number(eval, (double) wrapped(bits));                                      \
    }

/* The one quotient that 64 bits cannot hold. */
#define OVERFLOWS (values[0] == INT64_MIN && values[1] == -1)

INTEGER(add, false, a + b)
INTEGER(sub, false, a - b)
INTEGER(mul, false, a *b)
INTEGER(div, values[1] == 0 || OVERFLOWS, (uint64_t) (values[0] / values[1]))
INTEGER(mod, values[1] == 0, OVERFLOWS ? 0 : (uint64_t) (values[0] % values[1]))
INTEGER(and, false, a &b)
INTEGER(or, false, a | b)
INTEGER(xor, false, a ^ b)
INTEGER(not, false, ~a)
INTEGER(shift_left, values[1] < 0, b < 64 ? a << b : 0)
INTEGER(shift_right, values[1]<0, values[0]<0 ? ~(~a >> (b < 63 ? b : 63)) : a>>(b < 63 ? b : 63))
#undef INTEGER
#undef OVERFLOWS
