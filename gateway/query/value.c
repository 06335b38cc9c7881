#include "query/value.h"

#include "query/digest.h"
#include "query/eval.h"

#include <math.h>

#include "base/banned.h"

static const cJSON value_true = {.type = cJSON_True, .valueint = 1};
static const cJSON value_false = {.type = cJSON_False};
static const cJSON value_none = {.type = cJSON_NULL};

const cJSON *value_bool(bool truth)
{
    return truth ? &value_true : &value_false;
}

const cJSON *value_null(void)
{
    return &value_none;
}

static cJSON *node_create(struct eval *eval, int type)
{
    cJSON *node = arena_alloc(eval->arena, sizeof(*node));

    if (node == NULL)
        eval_oom(eval);
    else
        node->type = type;
    return node;
}

const cJSON *value_number(struct eval *eval, double number)
{
    cJSON *node = node_create(eval, cJSON_Number);

    if (node != NULL)
        node->valuedouble = number;
    return node;
}

const cJSON *value_string(struct eval *eval, struct slice text)
{
    cJSON *node = eval_spend(eval, text.len / 16) ? node_create(eval, cJSON_String) : NULL;

    if (node == NULL)
        return NULL;
    node->valuestring = arena_copy(eval->arena, text.ptr, text.len);
    return node->valuestring != NULL ? node : eval_oom(eval);
}

bool value_text_append(struct eval *eval, struct buf *text, struct slice more)
{
    if (!eval_spend(eval, 1 + more.len / 16))
        return false;
    if (more.len > EVAL_STRING_MAX - text->len) {
        eval->has_failed = true;
        return fault_set(eval->fault, 400, SUB_NONE,
                         "the expression computes a string beyond %d bytes", EVAL_STRING_MAX);
    }
    buf_append_slice(text, more);
    return true;
}

const cJSON *value_string_take(struct eval *eval, struct buf *text)
{
    const cJSON *string = text->has_failed ? eval_oom(eval) : value_string(eval, buf_slice(text));

    buf_finish(text);
    return string;
}

bool value_list_begin(struct eval *eval, struct value_list *list, int type)
{
    list->node = node_create(eval, type);
    list->last = NULL;
    return list->node != NULL;
}

static cJSON *member_find(struct eval *eval, const struct value_list *list, const char *name)
{
    for (cJSON *member = list->node->child; member != NULL; member = member->next) {
        if (!eval_spend(eval, 1))
            return NULL;
        if (strcmp(member->string, name) == 0)
            return member;
    }
    return NULL;
}

bool value_list_add(struct eval *eval, struct value_list *list, const char *name,
                    const cJSON *value)
{
    if (value == NULL || !eval_spend(eval, 1))
        return !eval->has_failed;
    cJSON *node = name != NULL ? member_find(eval, list, name) : NULL;
    cJSON *next = node != NULL ? node->next : NULL;
    bool is_new = node == NULL;

    if (is_new)
        node = node_create(eval, 0);
    if (node == NULL)
        return false;
    *node = *value;
    node->next = next;
    node->prev = NULL;
    node->string = (char *) (uintptr_t) name; /* never written to */
    if (!is_new)
        return true;
    if (list->last != NULL)
        list->last->next = node;
    else
        list->node->child = node;
    list->last = node;
    return true;
}

const cJSON *value_member(struct eval *eval, const cJSON *value, const char *name)
{
    if (value == NULL || !cJSON_IsObject(value))
        return NULL;
    for (const cJSON *member = value->child; member != NULL; member = member->next) {
        if (!eval_spend(eval, 1))
            return NULL;
        if (strcmp(member->string, name) == 0)
            return member;
    }
    return NULL;
}

static bool arrays_equal(struct eval *eval, const cJSON *a, const cJSON *b)
{
    const cJSON *x = a->child, *y = b->child;

    for (; x != NULL && y != NULL; x = x->next, y = y->next) {
        if (!value_equals(eval, x, y))
            return false;
    }
    return x == NULL && y == NULL;
}

static size_t children_count(const cJSON *list)
{
    size_t count = 0;

    for (const cJSON *child = list->child; child != NULL; child = child->next)
        count++;
    return count;
}

/* The member with that name, looking from `hint` on and around: members mostly stand in the same
 * order. */
static const cJSON *member_named(struct eval *eval, const cJSON *object, const cJSON *hint,
                                 const char *name)
{
    const cJSON *member = hint != NULL ? hint : object->child;

    for (size_t wraps = 0; wraps < 2 && member != NULL;) {
        if (!eval_spend(eval, 1))
            return NULL;
        if (strcmp(member->string, name) == 0)
            return member;
        member = member->next;
        if (member == NULL) {
            wraps++;
            member = object->child;
        }
        if (member == hint)
            return NULL;
    }
    return NULL;
}

/* Objects whose members stand in other orders are compared by digests from so many members on. */
#define MEMBERS_MANY 64

static bool digests_equal(struct eval *eval, const cJSON *a, const cJSON *b)
{
    struct digest x, y;
    size_t bytes = digest_value(a, &x) + digest_value(b, &y);

    return eval_spend(eval, bytes / 16) && digest_compare(&x, &y) == 0;
}

/* Names are unique within an object, so equal counts and each member found make them equal. */
static bool objects_equal(struct eval *eval, const cJSON *a, const cJSON *b)
{
    const cJSON *hint = b->child;
    size_t count = children_count(a), other_count = children_count(b);

    if (!eval_spend(eval, (count + other_count) / 2) || count != other_count)
        return false;
    for (const cJSON *member = a->child; member != NULL; member = member->next) {
        if (count >= MEMBERS_MANY && strcmp(member->string, hint->string) != 0)
            return digests_equal(eval, a, b);
        const cJSON *other = member_named(eval, b, hint, member->string);

        if (other == NULL || !value_equals(eval, member, other))
            return false;
        hint = other->next != NULL ? other->next : b->child;
    }
    return true;
}

static bool strings_equal(struct eval *eval, const cJSON *a, const cJSON *b)
{
    size_t len = strlen(a->valuestring);

    return eval_spend(eval, len / 16) && strcmp(a->valuestring, b->valuestring) == 0;
}

bool value_equals(struct eval *eval, const cJSON *a, const cJSON *b)
{
    if (!eval_spend(eval, 1))
        return false;
    if (cJSON_IsNumber(a) && cJSON_IsNumber(b))
        return a->valuedouble == b->valuedouble;
    if ((a->type & 0xff) != (b->type & 0xff))
        return false;
    if (cJSON_IsString(a))
        return strings_equal(eval, a, b);
    if (cJSON_IsArray(a))
        return arrays_equal(eval, a, b);
    return !cJSON_IsObject(a) || objects_equal(eval, a, b);
}

bool value_compare(struct eval *eval, const cJSON *a, const cJSON *b, int *order)
{
    if (cJSON_IsNumber(a) && cJSON_IsNumber(b)) {
        *order = (a->valuedouble > b->valuedouble) - (a->valuedouble < b->valuedouble);
        return a->valuedouble == a->valuedouble && b->valuedouble == b->valuedouble;
    }
    if (cJSON_IsString(a) && cJSON_IsString(b)) {
        /* Byte order of UTF-8 is the order of code points. */
        *order = strcmp(a->valuestring, b->valuestring);
        return eval_spend(eval, strlen(a->valuestring) / 16);
    }
    *order = cJSON_IsTrue(a) - cJSON_IsTrue(b);
    return (cJSON_IsBool(a) && cJSON_IsBool(b)) || (cJSON_IsNull(a) && cJSON_IsNull(b));
}

enum value_rank value_rank(const cJSON *value)
{
    if (value == NULL)
        return VALUE_UNDEFINED;
    switch (value->type & 0xff) {
    case cJSON_NULL:
        return VALUE_NULL;
    case cJSON_False:
    case cJSON_True:
        return VALUE_BOOLEAN;
    case cJSON_Number:
        return isfinite(value->valuedouble) ? VALUE_NUMBER : VALUE_UNDEFINED;
    case cJSON_String:
        return VALUE_STRING;
    case cJSON_Array:
        return VALUE_ARRAY;
    default:
        return VALUE_OBJECT;
    }
}

static int numbers_order(double a, double b)
{
    return (a > b) - (a < b);
}

static int digests_order(const cJSON *a, const cJSON *b)
{
    struct digest x, y;

    digest_value(a, &x);
    digest_value(b, &y);
    return digest_compare(&x, &y);
}

int value_order(const cJSON *a, const cJSON *b)
{
    enum value_rank rank = value_rank(a), other = value_rank(b);

    if (rank != other)
        return rank < other ? -1 : 1;
    switch (rank) {
    case VALUE_BOOLEAN:
        return cJSON_IsTrue(a) - cJSON_IsTrue(b);
    case VALUE_NUMBER:
        return numbers_order(a->valuedouble, b->valuedouble);
    case VALUE_STRING:
        return strcmp(a->valuestring, b->valuestring);
    case VALUE_ARRAY:
    case VALUE_OBJECT:
        return digests_order(a, b);
    default:
        return 0;
    }
}

const cJSON *value_output(const cJSON *value)
{
    return value_rank(value) != VALUE_UNDEFINED ? value : NULL;
}
