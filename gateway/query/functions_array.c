/*
 * Arrays, sets, and objects as arrays.
 */
#include "query/functions.h"

#include <math.h>
#include <stdlib.h>

#include "base/banned.h"

static size_t array_length(const cJSON *array)
{
    size_t length = 0;

    for (const cJSON *element = array->child; element != NULL; element = element->next)
        length++;
    return length;
}

const cJSON *function_array_length(struct eval *eval, const cJSON *const *args, size_t count)
{
    (void) count;
    return cJSON_IsArray(args[0]) ? value_number(eval, (double) array_length(args[0])) : NULL;
}

/* Append all elements of an array. */
static bool append_all(struct eval *eval, struct value_list *list, const cJSON *array)
{
    for (const cJSON *element = array->child; element != NULL; element = element->next) {
        if (!value_list_add(eval, list, NULL, element))
            return false;
    }
    return true;
}

const cJSON *function_array_concat(struct eval *eval, const cJSON *const *args, size_t count)
{
    struct value_list list;

    for (size_t i = 0; i < count; i++) {
        if (!cJSON_IsArray(args[i]))
            return NULL;
    }
    if (!value_list_begin(eval, &list, cJSON_Array))
        return NULL;
    for (size_t i = 0; i < count; i++) {
        if (!append_all(eval, &list, args[i]))
            return NULL;
    }
    return list.node;
}

static bool array_holds(struct eval *eval, const cJSON *array, const cJSON *needle)
{
    for (const cJSON *element = array->child; element != NULL; element = element->next) {
        if (value_equals(eval, element, needle))
            return true;
    }
    return false;
}

/* Has the element every member of the needle, with an equal value? */
static bool has_members(struct eval *eval, const cJSON *element, const cJSON *needle)
{
    if (!cJSON_IsObject(element))
        return false;
    for (const cJSON *wanted = needle->child; wanted != NULL; wanted = wanted->next) {
        const cJSON *member = element->child;

        while (member != NULL && eval_spend(eval, 1) && strcmp(member->string, wanted->string) != 0)
            member = member->next;
        if (eval->has_failed || member == NULL || !value_equals(eval, member, wanted))
            return false;
    }
    return true;
}

const cJSON *function_array_contains(struct eval *eval, const cJSON *const *args, size_t count)
{
    if (!cJSON_IsArray(args[0]) || (count > 2 && !cJSON_IsBool(args[2])))
        return NULL;
    if (count < 3 || !cJSON_IsTrue(args[2]) || !cJSON_IsObject(args[1]))
        return value_bool(array_holds(eval, args[0], args[1]));
    for (const cJSON *element = args[0]->child; element != NULL; element = element->next) {
        if (!eval_spend(eval, 1) || has_members(eval, element, args[1]))
            return value_bool(true);
    }
    return value_bool(false);
}

/* The needle that decides makes the others irrelevant; undefined ones leave the answer open. */
static const cJSON *contains_each(struct eval *eval, const cJSON *const *args, size_t count,
                                  bool deciding)
{
    bool is_undefined = false;

    if (args[0] == NULL || !cJSON_IsArray(args[0]))
        return NULL;
    for (size_t i = 1; i < count; i++) {
        if (args[i] == NULL)
            is_undefined = true;
        else if (array_holds(eval, args[0], args[i]) == deciding)
            return value_bool(deciding);
    }
    return is_undefined ? NULL : value_bool(!deciding);
}

const cJSON *function_array_contains_any(struct eval *eval, const cJSON *const *args, size_t count)
{
    return contains_each(eval, args, count, true);
}

const cJSON *function_array_contains_all(struct eval *eval, const cJSON *const *args, size_t count)
{
    return contains_each(eval, args, count, false);
}

/* A negative start counts from the end, and stops at the beginning. */
const cJSON *function_array_slice(struct eval *eval, const cJSON *const *args, size_t count)
{
    struct value_list list;

    if (!cJSON_IsArray(args[0]) || !cJSON_IsNumber(args[1]) ||
        (count > 2 && !cJSON_IsNumber(args[2])))
        return NULL;
    double start = args[1]->valuedouble, length = count > 2 ? args[2]->valuedouble : HUGE_VAL;
    if (start != trunc(start) || length != trunc(length) ||
        !value_list_begin(eval, &list, cJSON_Array))
        return NULL;
    if (start < 0)
        start = fmax(0, start + (double) array_length(args[0]));
    double index = 0;
    for (const cJSON *element = args[0]->child; element != NULL && index < start + length;
         element = element->next, index++) {
        if (!eval_spend(eval, 1) || (index >= start && !value_list_add(eval, &list, NULL, element)))
            return NULL;
    }
    return list.node;
}

/* The numbers of an array, in the arena; false when it holds anything else. */
static bool array_numbers(struct eval *eval, const cJSON *array, double **numbers, size_t *count)
{
    if (!cJSON_IsArray(array))
        return false;
    *count = array_length(array);
    *numbers =
        eval_spend(eval, *count) ? arena_alloc(eval->arena, (*count + 1) * sizeof(double)) : NULL;
    if (*numbers == NULL)
        return eval_oom(eval) != NULL;
    size_t i = 0;
    for (const cJSON *element = array->child; element != NULL; element = element->next) {
        if (!cJSON_IsNumber(element))
            return false;
        (*numbers)[i++] = element->valuedouble;
    }
    return true;
}

static double sum(const double *numbers, size_t count)
{
    double total = 0;

    for (size_t i = 0; i < count; i++)
        total += numbers[i];
    return total;
}

static int double_compare(const void *a, const void *b)
{
    double x = *(const double *) a, y = *(const double *) b;

    return (x > y) - (x < y);
}

const cJSON *function_array_sum(struct eval *eval, const cJSON *const *args, size_t count)
{
    double *numbers;

    if (!array_numbers(eval, args[0], &numbers, &count))
        return NULL;
    return value_number(eval, sum(numbers, count));
}

const cJSON *function_array_avg(struct eval *eval, const cJSON *const *args, size_t count)
{
    double *numbers;

    if (!array_numbers(eval, args[0], &numbers, &count) || count == 0)
        return NULL;
    return value_number(eval, sum(numbers, count) / (double) count);
}

const cJSON *function_array_min(struct eval *eval, const cJSON *const *args, size_t count)
{
    double *numbers;

    if (!array_numbers(eval, args[0], &numbers, &count) || count == 0)
        return NULL;
    qsort(numbers, count, sizeof(double), double_compare);
    return value_number(eval, numbers[0]);
}

const cJSON *function_array_max(struct eval *eval, const cJSON *const *args, size_t count)
{
    double *numbers;

    if (!array_numbers(eval, args[0], &numbers, &count) || count == 0)
        return NULL;
    qsort(numbers, count, sizeof(double), double_compare);
    return value_number(eval, numbers[count - 1]);
}

const cJSON *function_array_median(struct eval *eval, const cJSON *const *args, size_t count)
{
    double *numbers;

    if (!array_numbers(eval, args[0], &numbers, &count) || count == 0)
        return NULL;
    qsort(numbers, count, sizeof(double), double_compare);
    size_t middle = count / 2;
    if (count % 2 == 1)
        return value_number(eval, numbers[middle]);
    return value_number(eval, (numbers[middle - 1] + numbers[middle]) / 2);
}

/* [{"k": name, "v": value}, …] in stored order, or with the names given. */
const cJSON *function_object_to_array(struct eval *eval, const cJSON *const *args, size_t count)
{
    struct value_list list;

    for (size_t i = 1; i < count; i++) {
        if (!cJSON_IsString(args[i]))
            return NULL;
    }
    if (!cJSON_IsObject(args[0]) || !value_list_begin(eval, &list, cJSON_Array))
        return NULL;
    const char *name_key = count > 1 ? args[1]->valuestring : "k";
    const char *value_key = count > 2 ? args[2]->valuestring : "v";
    for (const cJSON *member = args[0]->child; member != NULL; member = member->next) {
        struct value_list pair;

        if (!value_list_begin(eval, &pair, cJSON_Object) ||
            !value_list_add(eval, &pair, name_key,
                            value_string(eval, slice_from_text(member->string))) ||
            !value_list_add(eval, &pair, value_key, member) ||
            !value_list_add(eval, &list, NULL, pair.node))
            return NULL;
    }
    return list.node;
}

/* Append the elements of `array` that `list` has not, and `other` has or has not (NULL: either). */
static bool set_append(struct eval *eval, struct value_list *list, const cJSON *array,
                       const cJSON *other, bool in_other)
{
    for (const cJSON *element = array->child; element != NULL; element = element->next) {
        if (array_holds(eval, list->node, element) ||
            (other != NULL && array_holds(eval, other, element) != in_other))
            continue;
        if (!value_list_add(eval, list, NULL, element))
            return false;
    }
    return !eval->has_failed;
}

static bool set_begin(struct eval *eval, const cJSON *const *args, struct value_list *list)
{
    return cJSON_IsArray(args[0]) && cJSON_IsArray(args[1]) &&
           value_list_begin(eval, list, cJSON_Array);
}

const cJSON *function_set_intersect(struct eval *eval, const cJSON *const *args, size_t count)
{
    struct value_list list;

    (void) count;
    return set_begin(eval, args, &list) && set_append(eval, &list, args[0], args[1], true)
               ? list.node
               : NULL;
}

const cJSON *function_set_difference(struct eval *eval, const cJSON *const *args, size_t count)
{
    struct value_list list;

    (void) count;
    return set_begin(eval, args, &list) && set_append(eval, &list, args[0], args[1], false)
               ? list.node
               : NULL;
}

const cJSON *function_set_union(struct eval *eval, const cJSON *const *args, size_t count)
{
    struct value_list list;

    (void) count;
    return set_begin(eval, args, &list) && set_append(eval, &list, args[0], NULL, false) &&
                   set_append(eval, &list, args[1], NULL, false)
               ? list.node
               : NULL;
}

static bool set_within(struct eval *eval, const cJSON *part, const cJSON *whole)
{
    for (const cJSON *element = part->child; element != NULL; element = element->next) {
        if (!array_holds(eval, whole, element))
            return false;
    }
    return true;
}

const cJSON *function_set_equal(struct eval *eval, const cJSON *const *args, size_t count)
{
    (void) count;
    if (!cJSON_IsArray(args[0]) || !cJSON_IsArray(args[1]))
        return NULL;
    return value_bool(set_within(eval, args[0], args[1]) && set_within(eval, args[1], args[0]));
}
