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
