#include "query/functions.h"

#include <stdio.h>

#include "base/banned.h"

#define ANY FUNCTION_ARGS_ANY

/* Rows stand in the order of the language's documentation. */
static const struct function functions[] = {
    /* type checks: never undefined */
    {"IS_ARRAY", 1, 1, function_is_array, true},
    {"IS_BOOL", 1, 1, function_is_bool, true},
    {"IS_BOOLEAN", 1, 1, function_is_bool, true}, /* in filters that SDKs write when they resume */
    {"IS_DEFINED", 1, 1, function_is_defined, true},
    {"IS_NULL", 1, 1, function_is_null, true},
    {"IS_NUMBER", 1, 1, function_is_number, true},
    {"IS_OBJECT", 1, 1, function_is_object, true},
    {"IS_STRING", 1, 1, function_is_string, true},
    {"IS_PRIMITIVE", 1, 1, function_is_primitive, true},
    {"IS_INTEGER", 1, 1, function_is_integer, true},
    {"IS_FINITE_NUMBER", 1, 1, function_is_finite_number, true},
    {"IS_DATETIME", 1, 1, function_is_datetime, true},
    /* conditional */
    {"IIF", 3, 3, function_iif, true},
    {"CHOOSE", 2, ANY, function_choose, true},
    /* mathematical */
    {"ABS", 1, 1, function_abs},
    {"ACOS", 1, 1, function_acos},
    {"ASIN", 1, 1, function_asin},
    {"ATAN", 1, 1, function_atan},
    {"ATN2", 2, 2, function_atn2},
    {"CEILING", 1, 1, function_ceiling},
    {"COS", 1, 1, function_cos},
    {"COT", 1, 1, function_cot},
    {"DEGREES", 1, 1, function_degrees},
    {"EXP", 1, 1, function_exp},
    {"FLOOR", 1, 1, function_floor},
    {"LOG", 1, 2, function_log},
    {"LOG10", 1, 1, function_log10},
    {"PI", 0, 0, function_pi},
    {"POWER", 2, 2, function_power},
    {"RADIANS", 1, 1, function_radians},
    {"RAND", 0, 0, function_rand, .kind = FUNCTION_VOLATILE},
    {"ROUND", 1, 1, function_round},
    {"SIGN", 1, 1, function_sign},
    {"SIN", 1, 1, function_sin},
    {"SQRT", 1, 1, function_sqrt},
    {"SQUARE", 1, 1, function_square},
    {"TAN", 1, 1, function_tan},
    {"TRUNC", 1, 1, function_trunc},
    {"NumberBin", 1, 2, function_number_bin},
    {"IntAdd", 2, 2, function_int_add},
    {"IntSub", 2, 2, function_int_sub},
    {"IntMul", 2, 2, function_int_mul},
    {"IntDiv", 2, 2, function_int_div},
    {"IntMod", 2, 2, function_int_mod},
    {"IntBitAnd", 2, 2, function_int_and},
    {"IntBitOr", 2, 2, function_int_or},
    {"IntBitXor", 2, 2, function_int_xor},
    {"IntBitNot", 1, 1, function_int_not},
    {"IntBitLeftShift", 2, 2, function_int_shift_left},
    {"IntBitRightShift", 2, 2, function_int_shift_right},
    {"IntBitwiseAnd", 2, 2, function_int_and}, /* the libraries' spelling */
    {"IntBitwiseOr", 2, 2, function_int_or},
    {"IntBitwiseXor", 2, 2, function_int_xor},
    {"IntBitwiseNot", 1, 1, function_int_not},
    {"IntBitwiseLeftShift", 2, 2, function_int_shift_left},
    {"IntBitwiseRightShift", 2, 2, function_int_shift_right},
    /* strings */
    {"CONCAT", 2, ANY, function_concat},
    {"CONTAINS", 2, 3, function_contains},
    {"STARTSWITH", 2, 3, function_startswith},
    {"ENDSWITH", 2, 3, function_endswith},
    {"STRINGEQUALS", 2, 3, function_stringequals},
    {"INDEX_OF", 2, 3, function_index_of},
    {"LastIndexOf", 2, 3, function_last_index_of},
    {"LEFT", 2, 2, function_left},
    {"RIGHT", 2, 2, function_right},
    {"SUBSTRING", 3, 3, function_substring},
    {"LENGTH", 1, 1, function_length},
    {"LOWER", 1, 1, function_lower},
    {"UPPER", 1, 1, function_upper},
    {"LTRIM", 1, 2, function_ltrim},
    {"RTRIM", 1, 2, function_rtrim},
    {"TRIM", 1, 2, function_trim},
    {"REPLACE", 3, 3, function_replace},
    {"REPLICATE", 2, 2, function_replicate},
    {"REVERSE", 1, 1, function_reverse},
    {"SubstringBefore", 2, 2, function_substring_before},
    {"SubstringAfter", 2, 2, function_substring_after},
    {"LastSubstringBefore", 2, 2, function_last_substring_before},
    {"LastSubstringAfter", 2, 2, function_last_substring_after},
    {"StringJoin", 2, 2, function_string_join},
    {"StringSplit", 2, 2, function_string_split},
    {"ToString", 1, 1, function_to_string},
    {"StringToArray", 1, 1, function_string_to_array},
    {"StringToObject", 1, 1, function_string_to_object},
    {"StringToNumber", 1, 1, function_string_to_number},
    {"StringToBoolean", 1, 1, function_string_to_boolean},
    {"StringToNull", 1, 1, function_string_to_null},
    {"ContainsAllCs", 2, ANY, function_contains_all_cs},
    {"ContainsAllCi", 2, ANY, function_contains_all_ci},
    {"ContainsAnyCs", 2, ANY, function_contains_any_cs},
    {"ContainsAnyCi", 2, ANY, function_contains_any_ci},
    {"RegexMatch", 2, 3, function_regex_match},
    {"RegexExtract", 2, 4, function_regex_extract},
    {"RegexExtractAll", 2, 4, function_regex_extract_all},
    /* arrays, objects, sets */
    {"ARRAY_CONCAT", 2, ANY, function_array_concat},
    {"ARRAY_CONTAINS", 2, 3, function_array_contains},
    {"ARRAY_CONTAINS_ANY", 2, ANY, function_array_contains_any, true},
    {"ARRAY_CONTAINS_ALL", 2, ANY, function_array_contains_all, true},
    {"ARRAY_LENGTH", 1, 1, function_array_length},
    {"ARRAY_SLICE", 2, 3, function_array_slice},
    {"ARRAY_AVG", 1, 1, function_array_avg},
    {"ARRAY_SUM", 1, 1, function_array_sum},
    {"ARRAY_MIN", 1, 1, function_array_min},
    {"ARRAY_MAX", 1, 1, function_array_max},
    {"ARRAY_MEDIAN", 1, 1, function_array_median},
    {"ObjectToArray", 1, 3, function_object_to_array},
    {"SetIntersect", 2, 2, function_set_intersect},
    {"SetUnion", 2, 2, function_set_union},
    {"SetDifference", 2, 2, function_set_difference},
    {"SetEqual", 2, 2, function_set_equal},
    /* dates; the current ones read the clock of the request */
    {"GetCurrentDateTime", 0, 0, function_current_datetime, .kind = FUNCTION_VOLATILE},
    {"GetCurrentTicks", 0, 0, function_current_ticks, .kind = FUNCTION_VOLATILE},
    {"GetCurrentTimestamp", 0, 0, function_current_timestamp, .kind = FUNCTION_VOLATILE},
    {"GetCurrentDateTimeStatic", 0, 0, function_current_datetime, .kind = FUNCTION_VOLATILE},
    {"GetCurrentTicksStatic", 0, 0, function_current_ticks, .kind = FUNCTION_VOLATILE},
    {"GetCurrentTimestampStatic", 0, 0, function_current_timestamp, .kind = FUNCTION_VOLATILE},
    {"DateTimeAdd", 3, 3, function_datetime_add},
    {"DateTimeDiff", 3, 3, function_datetime_diff},
    {"DateTimePart", 2, 2, function_datetime_part},
    {"DateTimeFromParts", 3, 7, function_datetime_from_parts},
    {"DateTimeBin", 2, 4, function_datetime_bin},
    {"DateTimeToTicks", 1, 1, function_datetime_to_ticks},
    {"DateTimeToTimestamp", 1, 1, function_datetime_to_timestamp},
    {"TicksToDateTime", 1, 1, function_ticks_to_datetime},
    {"TimestampToDateTime", 1, 1, function_timestamp_to_datetime},
    {"DateTimeFormat", 2, 2, function_datetime_format},
    {"DAY", 1, 1, function_day},
    {"MONTH", 1, 1, function_month},
    {"YEAR", 1, 1, function_year},
    /* aggregates */
    {"COUNT", 1, 1, .kind = FUNCTION_AGGREGATE, .aggregate = AGGREGATE_COUNT},
    {"SUM", 1, 1, .kind = FUNCTION_AGGREGATE, .aggregate = AGGREGATE_SUM},
    {"AVG", 1, 1, .kind = FUNCTION_AGGREGATE, .aggregate = AGGREGATE_AVG},
    {"MIN", 1, 1, .kind = FUNCTION_AGGREGATE, .aggregate = AGGREGATE_MIN},
    {"MAX", 1, 1, .kind = FUNCTION_AGGREGATE, .aggregate = AGGREGATE_MAX},
    {"COUNTIF", 1, 1, .kind = FUNCTION_AGGREGATE, .aggregate = AGGREGATE_COUNTIF},
    {"MAKELIST", 1, 1, .kind = FUNCTION_AGGREGATE, .aggregate = AGGREGATE_MAKELIST},
    {"MAKESET", 1, 1, .kind = FUNCTION_AGGREGATE, .aggregate = AGGREGATE_MAKESET},
    /* spatial */
    {"ST_DISTANCE", 2, 2, function_st_distance, .kind = FUNCTION_SPATIAL},
    {"ST_WITHIN", 2, 2, function_st_within, .kind = FUNCTION_SPATIAL},
    {"ST_INTERSECTS", 2, 2, function_st_intersects, .kind = FUNCTION_SPATIAL},
    {"ST_ISVALID", 1, 1, function_st_isvalid, .kind = FUNCTION_SPATIAL},
    {"ST_ISVALIDDETAILED", 1, 1, function_st_isvaliddetailed, .kind = FUNCTION_SPATIAL},
    {"ST_AREA", 1, 1, function_st_area, .kind = FUNCTION_SPATIAL},
    /* items, full text, vectors */
    {"DOCUMENTID", 1, 1, function_documentid},
    {"HASH", 1, 1, function_hash},
    {"FullTextContains", 2, 2, function_full_text_contains},
    {"FullTextContainsAll", 2, ANY, function_full_text_contains_all},
    {"FullTextContainsAny", 2, ANY, function_full_text_contains_any},
    {"FullTextScore", 2, ANY, function_full_text_score, .kind = FUNCTION_SCORE},
    {"RRF", 1, ANY, function_rrf, true, .kind = FUNCTION_FUSION},
    {"VectorDistance", 2, 4, function_vector_distance, .kind = FUNCTION_DISTANCE},
    /* in the queries into which plans rewrite ORDER BY RANK */
    {"_FullTextScore", 5, 5, function_known_full_text_score, .kind = FUNCTION_COMPONENT},
    {"_FullTextWordCount", 1, 1, function_full_text_word_count},
    {"_VectorScore", 2, 4, function_vector_distance, .kind = FUNCTION_COMPONENT},
};

const struct function *function_find(struct slice name)
{
    for (size_t i = 0; i < ARRAY_LEN(functions); i++) {
        if ((name.ptr[0] | 0x20) == (functions[i].name[0] | 0x20) &&
            slice_equals_nocase(name, functions[i].name))
            return &functions[i];
    }
    return NULL;
}

const struct function *function_at(size_t index)
{
    return index < ARRAY_LEN(functions) ? &functions[index] : NULL;
}

bool function_takes(const struct function *function, size_t args_count)
{
    return args_count >= function->args_min &&
           (function->args_max == ANY || args_count <= function->args_max);
}

void function_describe_arguments(const struct function *function, char *text, size_t size)
{
    if (function->args_max == ANY)
        snprintf(text, size, "at least %u", function->args_min);
    else if (function->args_max == function->args_min)
        snprintf(text, size, "%u", function->args_min);
    else
        snprintf(text, size, "%u to %u", function->args_min, function->args_max);
}
