#include "query/eval.h"

#include "query/text.h"

#include "base/banned.h"

static const cJSON value_true = {.type = cJSON_True, .valueint = 1};
static const cJSON value_false = {.type = cJSON_False};
static const cJSON value_none = {.type = cJSON_NULL};

bool eval_spend(struct eval *eval, size_t steps)
{
    if (eval->has_failed)
        return false;
    if (steps > eval->steps_left) {
        eval->has_failed = true;
        return fault_set(eval->fault, 400, SUB_NONE,
                         "the expression needs more work than is allowed for one document");
    }
    eval->steps_left -= steps;
    return true;
}

const cJSON *eval_oom(struct eval *eval)
{
    if (!eval->has_failed)
        fault_set_oom(eval->fault);
    eval->has_failed = true;
    return NULL;
}

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

/* Names are unique within an object, so equal counts and each member found make them equal. */
static bool objects_equal(struct eval *eval, const cJSON *a, const cJSON *b)
{
    const cJSON *hint = b->child;

    if (children_count(a) != children_count(b))
        return false;
    for (const cJSON *member = a->child; member != NULL; member = member->next) {
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

/* One element of a LIKE pattern, and where the next begins. */
struct like_element {
    enum { LIKE_RUN, LIKE_ANY, LIKE_CHARACTER, LIKE_SET } kind;
    uint32_t character;
    struct slice set; /* without brackets */
    size_t end;
    size_t bytes_read; /* of the pattern, to find this out */
};

/* Byte of the bracket that closes the set opened at `at`, 0 when none does: then '[' is literal. */
static size_t set_end(struct slice pattern, size_t at, uint32_t escape)
{
    size_t first = at + 1;

    if (first < pattern.len && pattern.ptr[first] == '^')
        first++;
    for (size_t i = first; i < pattern.len;) {
        size_t start = i;
        uint32_t c = text_next(pattern, &i);

        if (escape != 0 && c == escape && i < pattern.len)
            (void) text_next(pattern, &i);
        else if (c == ']' && start > first)
            return start;
    }
    return 0;
}

static struct like_element like_element(struct slice pattern, size_t at, uint32_t escape)
{
    struct like_element element = {.kind = LIKE_CHARACTER, .end = at};
    size_t close = pattern.ptr[at] == '[' ? set_end(pattern, at, escape) : 0;

    element.bytes_read = close == 0 && pattern.ptr[at] == '[' ? pattern.len - at : 1;
    element.character = text_next(pattern, &element.end);
    if (escape != 0 && element.character == escape && element.end < pattern.len) {
        element.character = text_next(pattern, &element.end);
    } else if (element.character == '%') {
        element.kind = LIKE_RUN;
    } else if (element.character == '_') {
        element.kind = LIKE_ANY;
    } else if (close != 0) {
        element.kind = LIKE_SET;
        element.set = slice_make(pattern.ptr + at + 1, close - at - 1);
        element.end = close + 1;
        element.bytes_read = 2 * element.set.len;
    }
    return element;
}

/* The next character of a set, the one behind an escape counting as itself. */
static uint32_t set_character(struct slice set, size_t *at, uint32_t escape)
{
    uint32_t c = text_next(set, at);

    return escape != 0 && c == escape && *at < set.len ? text_next(set, at) : c;
}

static bool set_holds(struct slice set, uint32_t character, uint32_t escape)
{
    bool is_negated = set.len > 1 && set.ptr[0] == '^';
    bool holds = false;

    for (size_t at = is_negated; at < set.len;) {
        uint32_t low = set_character(set, &at, escape), high = low;

        if (at + 1 < set.len && set.ptr[at] == '-') {
            at++;
            high = set_character(set, &at, escape);
        }
        holds = holds || (character >= low && character <= high);
    }
    return holds != is_negated;
}

static bool element_matches(const struct like_element *element, uint32_t character, uint32_t escape)
{
    switch (element->kind) {
    case LIKE_ANY:
        return true;
    case LIKE_SET:
        return set_holds(element->set, character, escape);
    default:
        return element->character == character;
    }
}

/*
 * Greedy match that, on a mismatch, lets the latest '%' take one character more. Earlier ones never
 * need to be tried again, so the work is at most the product of the lengths.
 */
bool value_like(struct eval *eval, struct slice text, struct slice pattern, uint32_t escape)
{
    size_t t = 0, p = 0, run_text = 0, run_pattern = SIZE_MAX;

    while (t < text.len) {
        struct like_element element = {.end = p};

        if (p < pattern.len)
            element = like_element(pattern, p, escape);
        if (!eval_spend(eval, 1 + element.bytes_read))
            return false;
        if (p < pattern.len && element.kind == LIKE_RUN) {
            run_pattern = p = element.end;
            run_text = t;
            continue;
        }
        size_t after = t;
        uint32_t character = text_next(text, &after);
        if (p < pattern.len && element_matches(&element, character, escape)) {
            t = after;
            p = element.end;
        } else if (run_pattern != SIZE_MAX) {
            (void) text_next(text, &run_text);
            t = run_text;
            p = run_pattern;
        } else {
            return false;
        }
    }
    while (p < pattern.len && pattern.ptr[p] == '%' && !(escape == '%'))
        p++;
    return p == pattern.len;
}
