/*
 * The built-in functions: one table of name, number of arguments and what computes them.
 *
 * A row without an evaluator is a function that the language has and this server does not; it is
 * refused by name. Unknown names are another error, SC2005.
 */
#ifndef ORRERY_QUERY_FUNCTIONS_H
#define ORRERY_QUERY_FUNCTIONS_H

#include "base/compiler.h"
#include "base/slice.h"
#include "query/eval.h"

#include <limits.h>

/* Any number of arguments. */
#define FUNCTION_ARGS_ANY UINT_MAX

/* NULL is undefined, among the arguments too where the function says that it sees them. */
typedef const cJSON *function_evaluate(struct eval *eval, const cJSON *const *args, size_t count);

enum function_kind {
    FUNCTION_SCALAR,
    FUNCTION_AGGREGATE, /* over rows; evaluate is NULL */
    FUNCTION_SPATIAL,
    FUNCTION_VOLATILE,  /* of the clock or of chance */
    FUNCTION_DISTANCE,  /* of vectors; ORDER BY takes it, too */
    FUNCTION_SCORE,     /* in ORDER BY RANK only */
    FUNCTION_FUSION,    /* of scores, as a key of ORDER BY RANK only */
    FUNCTION_COMPONENT, /* a score in the queries into which plans rewrite RANK; ORDER BY takes it
                         */
};

enum aggregate {
    AGGREGATE_NONE,
    AGGREGATE_COUNT,
    AGGREGATE_SUM,
    AGGREGATE_AVG,
    AGGREGATE_MIN,
    AGGREGATE_MAX,
    AGGREGATE_COUNTIF,
    AGGREGATE_MAKELIST,
    AGGREGATE_MAKESET,
};

struct function {
    const char *name; /* as the documentation spells it; matched in any letter case */
    unsigned args_min, args_max;
    function_evaluate *evaluate;
    bool sees_undefined; /* otherwise an undefined argument makes the result undefined */
    enum function_kind kind;
    enum aggregate aggregate; /* of FUNCTION_AGGREGATE */
};

/* NULL when the language has no such function. */
const struct function *function_find(struct slice name);

/* The table's rows; NULL past the last. */
const struct function *function_at(size_t index);

bool function_takes(const struct function *function, size_t args_count);

/* "2", "2 to 3" or "at least 2". */
void function_describe_arguments(const struct function *function, char *text, size_t size);

/* Of a score in ORDER BY RANK: is the smaller one better? */
bool function_distance_is_ascending(struct eval *eval, const struct ast *call);

/* The files functions_….c. */
/* clang-format off */
#define FUNCTION_EVALUATORS(ROW)                                                                   \
    ROW(is_array) ROW(is_bool) ROW(is_defined) ROW(is_null) ROW(is_number) ROW(is_object)          \
    ROW(is_string) ROW(is_primitive) ROW(is_integer) ROW(is_finite_number) ROW(is_datetime)        \
    ROW(iif) ROW(choose) ROW(abs) ROW(acos) ROW(asin) ROW(atan) ROW(atn2) ROW(ceiling) ROW(cos)    \
    ROW(cot) ROW(degrees) ROW(exp) ROW(floor) ROW(log) ROW(log10) ROW(pi) ROW(power)               \
    ROW(radians) ROW(round) ROW(sign) ROW(sin) ROW(sqrt) ROW(square) ROW(tan) ROW(trunc)           \
    ROW(number_bin) ROW(int_add) ROW(int_sub) ROW(int_mul) ROW(int_div) ROW(int_mod)               \
    ROW(int_and) ROW(int_or) ROW(int_xor) ROW(int_not) ROW(int_shift_left) ROW(int_shift_right)    \
    ROW(concat) ROW(contains) ROW(startswith) ROW(endswith) ROW(stringequals) ROW(index_of)        \
    ROW(last_index_of) ROW(left) ROW(right) ROW(substring) ROW(length) ROW(lower) ROW(upper)       \
    ROW(ltrim) ROW(rtrim) ROW(trim) ROW(replace) ROW(replicate) ROW(reverse)                       \
    ROW(substring_before) ROW(substring_after) ROW(last_substring_before)                          \
    ROW(last_substring_after) ROW(string_join) ROW(string_split) ROW(to_string)                    \
    ROW(string_to_array) ROW(string_to_object) ROW(string_to_number) ROW(string_to_boolean)        \
    ROW(string_to_null) ROW(contains_all_cs) ROW(contains_all_ci) ROW(contains_any_cs)             \
    ROW(contains_any_ci) ROW(array_concat) ROW(array_contains) ROW(array_contains_any)             \
    ROW(array_contains_all) ROW(array_length) ROW(array_slice) ROW(array_avg) ROW(array_sum)       \
    ROW(array_min) ROW(array_max) ROW(array_median) ROW(object_to_array) ROW(set_intersect)        \
    ROW(set_union) ROW(set_difference) ROW(set_equal) ROW(datetime_add) ROW(datetime_diff)         \
    ROW(datetime_part) ROW(datetime_from_parts) ROW(datetime_bin) ROW(datetime_to_ticks)           \
    ROW(datetime_to_timestamp) ROW(ticks_to_datetime) ROW(timestamp_to_datetime)                   \
    ROW(current_datetime) ROW(current_ticks) ROW(current_timestamp) ROW(datetime_format)           \
    ROW(year) ROW(month) ROW(day) ROW(rand) ROW(regex_match) ROW(regex_extract)                    \
    ROW(regex_extract_all) ROW(documentid) ROW(hash) ROW(st_distance) ROW(st_within)              \
    ROW(st_intersects) ROW(st_isvalid) ROW(st_isvaliddetailed) ROW(st_area) ROW(vector_distance)   \
    ROW(full_text_contains) ROW(full_text_contains_all) ROW(full_text_contains_any)                \
    ROW(full_text_word_count) ROW(full_text_score) ROW(known_full_text_score) ROW(rrf)
/* clang-format on */

#define ROW(name) function_evaluate function_##name;
FUNCTION_EVALUATORS(ROW)
#undef ROW

#endif
