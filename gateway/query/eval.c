#include "query/eval.h"

#include "query/functions.h"

#include <math.h>

#include "base/banned.h"

void eval_init(struct eval *eval, struct arena *arena, const cJSON *document, struct fault *fault)
{
    *eval = (struct eval){
        .arena = arena, .document = document, .steps_left = EVAL_STEPS_MAX, .fault = fault};
}

/* Member of an object; anything else has none. */
static const cJSON *member(struct eval *eval, const cJSON *base, const char *name)
{
    if (base == NULL || !cJSON_IsObject(base))
        return NULL;
    for (const cJSON *at = base->child; at != NULL; at = at->next) {
        if (!eval_spend(eval, 1))
            return NULL;
        if (strcmp(at->string, name) == 0)
            return at;
    }
    return NULL;
}

/* v[n] of an array, v["name"] of an object; no type is turned into another */
static const cJSON *index_value(struct eval *eval, const cJSON *base, const cJSON *index)
{
    if (base == NULL || index == NULL)
        return NULL;
    if (cJSON_IsString(index))
        return member(eval, base, index->valuestring);
    double wanted = cJSON_IsNumber(index) ? index->valuedouble : -1;
    if (!cJSON_IsArray(base) || !(wanted >= 0) || wanted != floor(wanted))
        return NULL;
    const cJSON *element = base->child;
    for (double i = 0; i < wanted && element != NULL; i++) {
        if (!eval_spend(eval, 1))
            return NULL;
        element = element->next;
    }
    return element;
}

/* Logic knows true, false and undefined; every other value counts as undefined. */
static const cJSON *truth(const cJSON *value)
{
    return value != NULL && cJSON_IsBool(value) ? value : NULL;
}

static const cJSON *negation(const cJSON *value)
{
    value = truth(value);
    return value != NULL ? value_bool(!cJSON_IsTrue(value)) : NULL;
}

/* One operand that decides makes the rest irrelevant: false for AND, true for OR. */
static const cJSON *logic(struct eval *eval, const struct ast *node, bool deciding)
{
    bool is_undefined = false;

    for (const struct ast *child = node->children; child != NULL; child = child->next) {
        const cJSON *value = truth(eval_expression(eval, child));

        if (value == NULL)
            is_undefined = true;
        else if (cJSON_IsTrue(value) == deciding)
            return value_bool(deciding);
    }
    return is_undefined ? NULL : value_bool(!deciding);
}

/* As in JavaScript: truncated, the low 32 bits, signed. */
static uint32_t bits32(double number)
{
    if (!isfinite(number))
        return 0;
    double low = fmod(trunc(number), 4294967296.0);
    return (uint32_t) (int64_t) low;
}

static int32_t signed32(uint32_t bits)
{
    return bits <= INT32_MAX ? (int32_t) bits : (int32_t) ((int64_t) bits - 4294967296);
}

/* Bits shifted right with the sign bit coming in from the left. */
static uint32_t shift_right_signed(uint32_t bits, unsigned count)
{
    uint32_t shifted = bits >> count;

    return bits >> 31 != 0 && count > 0 ? shifted | ~(UINT32_MAX >> count) : shifted;
}

static double arithmetic(enum ast_operator op, double a, double b)
{
    unsigned count = bits32(b) & 31;

    switch (op) {
    case AST_ADD:
        return a + b;
    case AST_SUBTRACT:
        return a - b;
    case AST_MULTIPLY:
        return a * b;
    case AST_DIVIDE:
        return b != 0 ? a / b : a == 0 || isnan(a) ? (double) NAN : copysign(1, b) * a * HUGE_VAL;
    case AST_MODULO:
        return fmod(a, b);
    case AST_BIT_AND:
        return signed32(bits32(a) & bits32(b));
    case AST_BIT_OR:
        return signed32(bits32(a) | bits32(b));
    case AST_BIT_XOR:
        return signed32(bits32(a) ^ bits32(b));
    case AST_SHIFT_LEFT:
        return signed32(bits32(a) << count);
    case AST_SHIFT_RIGHT:
        return signed32(shift_right_signed(bits32(a), count));
    default:
        return bits32(a) >> count; /* AST_SHIFT_RIGHT_ZERO */
    }
}

static const cJSON *unary(struct eval *eval, const struct ast *node)
{
    const cJSON *value = eval_expression(eval, node->children);

    if (node->op == AST_NOT)
        return negation(value);
    if (value == NULL || !cJSON_IsNumber(value))
        return NULL;
    switch (node->op) {
    case AST_MINUS:
        return value_number(eval, -value->valuedouble);
    case AST_BIT_NOT:
        return value_number(eval, signed32(~bits32(value->valuedouble)));
    default:
        return value; /* AST_PLUS */
    }
}

static const cJSON *ordering(struct eval *eval, enum ast_operator op, const cJSON *a,
                             const cJSON *b)
{
    int order = 0;

    if (a == NULL || b == NULL || !value_compare(eval, a, b, &order))
        return NULL;
    switch (op) {
    case AST_LESS:
        return value_bool(order < 0);
    case AST_LESS_EQUAL:
        return value_bool(order <= 0);
    case AST_GREATER:
        return value_bool(order > 0);
    default:
        return value_bool(order >= 0); /* AST_GREATER_EQUAL */
    }
}

static const cJSON *concatenation(struct eval *eval, const cJSON *a, const cJSON *b)
{
    struct buf joined = {0};

    if (!cJSON_IsString(a) || !cJSON_IsString(b))
        return NULL;
    if (value_text_append(eval, &joined, value_text(a)))
        value_text_append(eval, &joined, value_text(b));
    return value_string_take(eval, &joined);
}

static const cJSON *binary(struct eval *eval, const struct ast *node)
{
    const cJSON *a = eval_expression(eval, node->children);
    const cJSON *b = a != NULL ? eval_expression(eval, node->children->next) : NULL;

    if (a == NULL || b == NULL)
        return NULL;
    switch (node->op) {
    case AST_EQUAL:
        return value_bool(value_equals(eval, a, b));
    case AST_NOT_EQUAL:
        return value_bool(!value_equals(eval, a, b));
    case AST_LESS:
    case AST_LESS_EQUAL:
    case AST_GREATER:
    case AST_GREATER_EQUAL:
        return ordering(eval, node->op, a, b);
    case AST_CONCAT:
        return concatenation(eval, a, b);
    default:
        if (!cJSON_IsNumber(a) || !cJSON_IsNumber(b))
            return NULL;
        return value_number(eval, arithmetic(node->op, a->valuedouble, b->valuedouble));
    }
}

/* a >= low AND a <= high */
static const cJSON *between(struct eval *eval, const struct ast *node)
{
    const struct ast *low = node->children->next;
    const cJSON *needle = eval_expression(eval, node->children);
    const cJSON *above = ordering(eval, AST_GREATER_EQUAL, needle, eval_expression(eval, low));
    const cJSON *below = ordering(eval, AST_LESS_EQUAL, needle, eval_expression(eval, low->next));

    if ((above != NULL && !cJSON_IsTrue(above)) || (below != NULL && !cJSON_IsTrue(below)))
        return value_bool(false);
    return above != NULL && below != NULL ? value_bool(true) : NULL;
}

static const cJSON *in_list(struct eval *eval, const struct ast *node)
{
    const cJSON *needle = eval_expression(eval, node->children);

    if (needle == NULL)
        return NULL;
    for (const struct ast *item = node->children->next; item != NULL; item = item->next) {
        const cJSON *value = eval_expression(eval, item);

        if (value != NULL && value_equals(eval, needle, value))
            return value_bool(true);
    }
    return value_bool(false);
}

static const cJSON *like(struct eval *eval, const struct ast *node)
{
    const cJSON *text = eval_expression(eval, node->children);
    const cJSON *pattern = eval_expression(eval, node->children->next);

    if (text == NULL || pattern == NULL || !cJSON_IsString(text) || !cJSON_IsString(pattern))
        return NULL;
    return value_bool(value_like(eval, value_text(text), value_text(pattern), node->escape));
}

/* Undefined elements and members disappear. */
static const cJSON *list(struct eval *eval, const struct ast *node, int type)
{
    struct value_list result;

    if (!value_list_begin(eval, &result, type))
        return NULL;
    for (const struct ast *child = node->children; child != NULL; child = child->next) {
        if (!value_list_add(eval, &result, child->key.ptr, eval_expression(eval, child)))
            return NULL;
    }
    return result.node;
}

static const cJSON *call(struct eval *eval, const struct ast *node)
{
    const struct function *function = node->function;
    const cJSON **args = arena_alloc(eval->arena, (node->child_count + 1) * sizeof(cJSON *));
    size_t count = 0;

    if (args == NULL)
        return eval_oom(eval);
    for (const struct ast *child = node->children; child != NULL; child = child->next) {
        args[count] = eval_expression(eval, child);
        if (args[count] == NULL && !function->sees_undefined)
            return NULL;
        count++;
    }
    return eval->has_failed ? NULL : function->evaluate(eval, args, count);
}

static const cJSON *expression(struct eval *eval, const struct ast *node)
{
    const struct ast *first = node->children;
    const cJSON *value;

    switch (node->kind) {
    case AST_UNDEFINED:
        return NULL;
    case AST_CONSTANT:
    case AST_PARAMETER:
        return node->value;
    case AST_ALIAS:
        return eval->document;
    case AST_MEMBER:
        return member(eval, eval_expression(eval, first), node->name.ptr);
    case AST_INDEX:
        value = eval_expression(eval, first);
        return index_value(eval, value, eval_expression(eval, first->next));
    case AST_UNARY:
        return unary(eval, node);
    case AST_BINARY:
        return binary(eval, node);
    case AST_AND:
        return logic(eval, node, false);
    case AST_OR:
        return logic(eval, node, true);
    case AST_COALESCE:
        value = eval_expression(eval, first);
        return value != NULL ? value : eval_expression(eval, first->next);
    case AST_CONDITIONAL:
        value = eval_expression(eval, first);
        return eval_expression(eval, value_is_true(value) ? first->next : first->next->next);
    case AST_BETWEEN:
        value = between(eval, node);
        return node->is_negated ? negation(value) : value;
    case AST_IN:
        value = in_list(eval, node);
        return node->is_negated ? negation(value) : value;
    case AST_LIKE:
        value = like(eval, node);
        return node->is_negated ? negation(value) : value;
    case AST_CALL:
        return call(eval, node);
    case AST_ARRAY:
        return list(eval, node, cJSON_Array);
    case AST_OBJECT:
        return list(eval, node, cJSON_Object);
    case AST_SUBQUERY: /* not reached yet: filter.c refuses them */
    case AST_EXISTS:
    case AST_ARRAY_QUERY:
    case AST_ALL:
    case AST_FIRST:
    case AST_LAST:
        return NULL;
    }
    return NULL;
}

const cJSON *eval_expression(struct eval *eval, const struct ast *node)
{
    if (!eval_spend(eval, 1))
        return NULL;
    const cJSON *value = expression(eval, node);
    return eval->has_failed ? NULL : value;
}
