/*
 * Expressions computed in memory, over one document.
 *
 * For patch conditions and for the few queries on metadata; queries over items are compiled to SQL
 * instead.
 *
 * A value is a const cJSON *; undefined is NULL. Values are borrowed from the document, the query
 * or the arena, and never changed: a list that is computed holds shallow copies of its elements, so
 * that the members and elements of a document are shared, not copied. Strings are UTF-8 without
 * U+0000.
 *
 * A failure (work or memory used up) is remembered in the eval; what is computed after it is
 * meaningless and the one who began asks once, at the end.
 */
#ifndef ORRERY_QUERY_EVAL_H
#define ORRERY_QUERY_EVAL_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/compiler.h"
#include "base/fault.h"
#include "query/ast.h"

#include <cjson/cJSON.h>
#include <stdint.h>

/*
 * Steps one document may cost: nodes visited, values compared, bytes searched. About 50 ms, because
 * nothing else runs on the loop meanwhile.
 */
#define EVAL_STEPS_MAX 4000000

/* Bytes of a string that is computed: twice the largest item. */
#define EVAL_STRING_MAX 4194304

struct eval {
    struct arena *arena; /* computed values */
    const cJSON *document;
    size_t steps_left;
    bool has_failed;
    struct fault *fault;
};

/* Begin with a document; values and faults live in the arena and the fault given. */
void eval_init(struct eval *eval, struct arena *arena, const cJSON *document, struct fault *fault);

/* The value of an expression that check_query has completed; NULL for undefined, and after a
 * failure. */
const cJSON *eval_expression(struct eval *eval, const struct ast *node);

/* Spend steps; false once they are used up (400) or the eval failed before. */
bool eval_spend(struct eval *eval, size_t steps);

/* Remember that memory ran out; gives NULL. */
const cJSON *eval_oom(struct eval *eval);

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

/* Arrays, objects, strings alike: deep equality with the language's rules. Neither may be
 * undefined. */
bool value_equals(struct eval *eval, const cJSON *a, const cJSON *b);

/* <0, 0, >0 for two of the same type among null, boolean, number and string; false where order is
 * undefined. */
bool value_compare(struct eval *eval, const cJSON *a, const cJSON *b, int *order);

/* Does the whole text match a LIKE pattern? escape is 0 for none. */
bool value_like(struct eval *eval, struct slice text, struct slice pattern, uint32_t escape);

static inline bool value_is_true(const cJSON *value)
{
    return value != NULL && cJSON_IsTrue(value);
}

static inline struct slice value_text(const cJSON *string)
{
    return slice_from_text(string->valuestring);
}

#endif
