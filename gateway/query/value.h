/*
 * Values of the language: made, compared, printed.
 *
 * A value is a const cJSON *; undefined is NULL. Values are borrowed from the document, the query
 * or the arena, and never changed: a list that is computed holds shallow copies of its elements, so
 * that the members and elements of a document are shared, not copied. Strings are UTF-8 without
 * U+0000.
 */
#ifndef ORRERY_QUERY_VALUE_H
#define ORRERY_QUERY_VALUE_H

#include "base/buf.h"
#include "base/slice.h"
#include "model/json_tree.h"

#include <cjson/cJSON.h>
#include <stdint.h>

struct eval;

/* Types in the order in which the language sorts their values. */
enum value_rank {
    VALUE_UNDEFINED,
    VALUE_NULL,
    VALUE_BOOLEAN,
    VALUE_NUMBER,
    VALUE_STRING,
    VALUE_ARRAY,
    VALUE_OBJECT,
};

/* Values for cJSON's own types; NULL when memory is exhausted. */
const cJSON *value_bool(bool truth);
const cJSON *value_null(void);
const cJSON *value_number(struct eval *eval, double number);
const cJSON *value_string(struct eval *eval, struct slice text);

/* Append to a string in the making; false, and 400, past EVAL_STRING_MAX. */
bool value_text_append(struct eval *eval, struct buf *text, struct slice more);

/* The text of a buffer, which is finished; NULL when building it failed. */
const cJSON *value_string_take(struct eval *eval, struct buf *text);

/* A list in the making: elements of an array, or members of an object when they have names. */
struct value_list {
    cJSON *node;
    cJSON *last;
};

bool value_list_begin(struct eval *eval, struct value_list *list, int type);

/* Append a shallow copy; undefined is skipped. `name` is borrowed, NULL in arrays; a repeated name
 * replaces. */
bool value_list_add(struct eval *eval, struct value_list *list, const char *name,
                    const cJSON *value);

/* Member of an object; NULL where there is none, of other values, and when the eval failed. */
const cJSON *value_member(struct eval *eval, const cJSON *value, const char *name);

/* Arrays, objects, strings alike: deep equality with the language's rules. Neither may be
 * undefined. */
bool value_equals(struct eval *eval, const cJSON *a, const cJSON *b);

/* <0, 0, >0 for two of the same type among null, boolean, number and string; false where order is
 * undefined. */
bool value_compare(struct eval *eval, const cJSON *a, const cJSON *b, int *order);

/* A number that is not finite is undefined. */
enum value_rank value_rank(const cJSON *value);

/*
 * The total order of ORDER BY, MIN and MAX: types by rank, false before true, numbers, strings by
 * code point; arrays and objects by their digests. NULL is undefined.
 */
int value_order(const cJSON *a, const cJSON *b);

/* What leaves the evaluator: a number that is not finite is undefined. */
const cJSON *value_output(const cJSON *value);

/* Append compact JSON, in the order of the tree. Not for undefined; numbers that are not finite
 * disappear from arrays and objects. */
static inline void value_print(struct buf *out, const cJSON *value)
{
    json_tree_print(out, value);
}

static inline bool value_is_true(const cJSON *value)
{
    return value != NULL && cJSON_IsTrue(value);
}

static inline struct slice value_text(const cJSON *string)
{
    return slice_from_text(string->valuestring);
}

#endif
