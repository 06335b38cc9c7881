/*
 * Arrays, sets, and objects as arrays.
 */
#include "query/functions.h"

#include "query/digest.h"

#include <math.h>
#include <stdlib.h>

#include "base/banned.h"

/* 0 when the eval failed. */
static size_t array_length(struct eval *eval, const cJSON *array)
{
    size_t length = 0;

    for (const cJSON *element = array->child; element != NULL; element = element->next)
        length++;
    return eval_spend(eval, length / 2) ? length : 0;
}

const cJSON *function_array_length(struct eval *eval, const cJSON *const *args, size_t count)
{
    (void) count;
    return cJSON_IsArray(args[0]) ? value_number(eval, (double) array_length(eval, args[0])) : NULL;
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
        start = fmax(0, start + (double) array_length(eval, args[0]));
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
    *count = array_length(eval, array);
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

/* Values known by their digests: open addressing in the arena, never more than half full. */
struct value_set {
    struct digest *slots; /* all zero: free */
    size_t capacity;
};

/* Room for so many values; false when the eval failed. */
static bool value_set_begin(struct eval *eval, struct value_set *set, size_t count)
{
    set->capacity = 2;
    while (set->capacity < 2 * count)
        set->capacity *= 2;
    set->slots = eval_spend(eval, count)
                     ? arena_alloc(eval->arena, set->capacity * sizeof(*set->slots))
                     : NULL;
    return set->slots != NULL || eval_oom(eval) != NULL;
}

/* The slot of a value, or the one it would take; NULL when the eval failed. */
static struct digest *value_set_slot(struct eval *eval, const struct value_set *set,
                                     const struct digest *digest)
{
    static const struct digest zero;
    uint64_t at;

    memcpy(&at, digest->bytes, sizeof(at));
    for (at &= set->capacity - 1; eval_spend(eval, 1); at = (at + 1) & (set->capacity - 1)) {
        if (digest_compare(&set->slots[at], &zero) == 0 ||
            digest_compare(&set->slots[at], digest) == 0)
            return &set->slots[at];
    }
    return NULL;
}

/* Put a value in; false when it was there, and when the eval failed. */
static bool value_set_adds(struct eval *eval, struct value_set *set, const cJSON *value)
{
    struct digest digest;

    if (!eval_spend(eval, digest_value(value, &digest) / 16))
        return false;
    struct digest *slot = value_set_slot(eval, set, &digest);
    bool is_new = slot != NULL && digest_compare(slot, &digest) != 0;
    if (is_new)
        *slot = digest;
    return is_new;
}

static bool value_set_holds(struct eval *eval, const struct value_set *set, const cJSON *value)
{
    struct digest digest;

    if (!eval_spend(eval, digest_value(value, &digest) / 16))
        return false;
    const struct digest *slot = value_set_slot(eval, set, &digest);
    return slot != NULL && digest_compare(slot, &digest) == 0;
}

static bool value_set_of(struct eval *eval, struct value_set *set, const cJSON *array)
{
    if (!value_set_begin(eval, set, array_length(eval, array)))
        return false;
    for (const cJSON *element = array->child; element != NULL; element = element->next) {
        value_set_adds(eval, set, element);
        if (eval->has_failed)
            return false;
    }
    return true;
}

/* Append the elements of `array` that are new to `seen`, and that `other` has or has not (NULL:
 * either). */
static bool set_append(struct eval *eval, struct value_list *list, struct value_set *seen,
                       const cJSON *array, const struct value_set *other, bool in_other)
{
    for (const cJSON *element = array->child; element != NULL; element = element->next) {
        bool is_wanted = (other == NULL || value_set_holds(eval, other, element) == in_other) &&
                         value_set_adds(eval, seen, element);

        if (eval->has_failed || (is_wanted && !value_list_add(eval, list, NULL, element)))
            return false;
    }
    return true;
}

/* The elements of the first array that the second has, or has not. */
static const cJSON *set_filter(struct eval *eval, const cJSON *const *args, bool in_second)
{
    struct value_list list;
    struct value_set seen, second;

    if (!cJSON_IsArray(args[0]) || !cJSON_IsArray(args[1]) ||
        !value_list_begin(eval, &list, cJSON_Array) ||
        !value_set_begin(eval, &seen, array_length(eval, args[0])) ||
        !value_set_of(eval, &second, args[1]) ||
        !set_append(eval, &list, &seen, args[0], &second, in_second))
        return NULL;
    return list.node;
}

const cJSON *function_set_intersect(struct eval *eval, const cJSON *const *args, size_t count)
{
    (void) count;
    return set_filter(eval, args, true);
}

const cJSON *function_set_difference(struct eval *eval, const cJSON *const *args, size_t count)
{
    (void) count;
    return set_filter(eval, args, false);
}

const cJSON *function_set_union(struct eval *eval, const cJSON *const *args, size_t count)
{
    struct value_list list;
    struct value_set seen;

    (void) count;
    if (!cJSON_IsArray(args[0]) || !cJSON_IsArray(args[1]) ||
        !value_list_begin(eval, &list, cJSON_Array) ||
        !value_set_begin(eval, &seen, array_length(eval, args[0]) + array_length(eval, args[1])) ||
        !set_append(eval, &list, &seen, args[0], NULL, false) ||
        !set_append(eval, &list, &seen, args[1], NULL, false))
        return NULL;
    return list.node;
}

static bool set_within(struct eval *eval, const cJSON *part, const struct value_set *whole)
{
    for (const cJSON *element = part->child; element != NULL; element = element->next) {
        if (!value_set_holds(eval, whole, element))
            return false;
    }
    return true;
}

const cJSON *function_set_equal(struct eval *eval, const cJSON *const *args, size_t count)
{
    struct value_set first, second;

    (void) count;
    if (!cJSON_IsArray(args[0]) || !cJSON_IsArray(args[1]) ||
        !value_set_of(eval, &first, args[0]) || !value_set_of(eval, &second, args[1]))
        return NULL;
    return value_bool(set_within(eval, args[0], &second) && set_within(eval, args[1], &first));
}
