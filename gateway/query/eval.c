#include "query/eval.h"

#include "query/functions.h"
#include "query/groups.h"
#include "query/rows.h"

#include <math.h>

#include "base/banned.h"

void eval_init(struct eval *eval, struct arena *arena, const cJSON **slots, struct fault *fault)
{
    *eval =
        (struct eval){.arena = arena, .slots = slots, .steps_left = EVAL_STEPS_MAX, .fault = fault};
}

void eval_item(struct eval *eval, const cJSON *item)
{
    eval->slots[0] = item;
    eval->steps_left = EVAL_STEPS_MAX;
}

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

/* v[n] of an array, v["name"] of an object; no type is turned into another */
static const cJSON *index_value(struct eval *eval, const cJSON *base, const cJSON *index)
{
    if (base == NULL || index == NULL)
        return NULL;
    if (cJSON_IsString(index))
        return value_member(eval, base, index->valuestring);
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

/* The end of every string that a function gets is looked for. */
static bool spend_argument(struct eval *eval, const cJSON *value)
{
    return value == NULL || !cJSON_IsString(value) ||
           eval_spend(eval, strlen(value->valuestring) / 64);
}

static const cJSON *like(struct eval *eval, const struct ast *node)
{
    const cJSON *text = eval_expression(eval, node->children);
    const cJSON *pattern = eval_expression(eval, node->children->next);

    if (text == NULL || pattern == NULL || !cJSON_IsString(text) || !cJSON_IsString(pattern) ||
        !spend_argument(eval, text) || !spend_argument(eval, pattern))
        return NULL;
    return value_bool(eval_like(eval, value_text(text), value_text(pattern), node->escape));
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

/* Arguments of most calls need no memory. */
#define ARGS_FEW 4

static const cJSON *call(struct eval *eval, const struct ast *node)
{
    const struct function *function = node->function;
    const cJSON *few[ARGS_FEW], **args = few;
    size_t count = 0;

    if (node->aggregate != 0)
        return eval->aggregates != NULL ? eval->aggregates[node->aggregate - 1] : NULL;
    if (node->child_count > ARGS_FEW)
        args = arena_alloc(eval->arena, node->child_count * sizeof(cJSON *));
    if (args == NULL)
        return eval_oom(eval);
    for (const struct ast *child = node->children; child != NULL; child = child->next) {
        args[count] = eval_expression(eval, child);
        if ((args[count] == NULL && !function->sees_undefined) ||
            !spend_argument(eval, args[count]))
            return NULL;
        count++;
    }
    if (eval->has_failed)
        return NULL;
    eval->call = node;
    return function->evaluate(eval, args, count);
}

/* ---- Queries inside ---- */

/* The value of one row, NULL for one that is no result; false to see no more of them. */
typedef bool each_result(void *context, const cJSON *value);

/* Results that are gathered first: aggregates, groups, DISTINCT. */
static bool results_gathered(struct eval *eval, struct rows *rows, each_result *each, void *context)
{
    const struct groups_options options = {.bytes_max = EVAL_GROUPS_BYTES_MAX,
                                           .in_order_of_rows = true};
    struct groups *groups = groups_create(rows->query, &options, eval->fault);
    bool goes_on = true;

    if (groups == NULL)
        return eval_oom(eval) != NULL;
    while (goes_on && rows_next(rows))
        goes_on = groups_add(groups, eval);
    goes_on = goes_on && !eval->has_failed && groups_finish(groups, eval);
    for (size_t i = 0; goes_on && i < groups_count(groups); i++) {
        const cJSON *value = groups_project(groups, eval, i);

        goes_on = !eval->has_failed && (value == NULL || each(context, value));
    }
    groups_destroy(groups);
    return !eval->has_failed;
}

/* Every result of a query in an expression, in order. False when the eval failed. */
static bool results_each(struct eval *eval, const struct ast_query *query, bool is_negated,
                         each_result *each, void *context)
{
    const cJSON **aggregates = eval->aggregates, **group_keys = eval->group_keys;
    struct rows rows;
    bool goes_on = true;

    /* Whatever the query around it has gathered is not this one's. */
    eval->aggregates = eval->group_keys = NULL;
    if (rows_begin(&rows, eval, query)) {
        rows.is_negated = is_negated;
        if (groups_are_needed(query))
            goes_on = results_gathered(eval, &rows, each, context);
        while (goes_on && rows_next(&rows)) {
            const cJSON *value = rows_project(&rows);

            goes_on = value == NULL || each(context, value);
        }
        rows_end(&rows);
    }
    eval->aggregates = aggregates;
    eval->group_keys = group_keys;
    return !eval->has_failed;
}

struct results {
    struct eval *eval;
    const cJSON *first, *last;
    size_t count;
    size_t wanted; /* of them, to be seen */
};

static bool result_note(void *context, const cJSON *value)
{
    struct results *results = context;

    if (results->count++ == 0)
        results->first = value;
    results->last = value;
    return results->count < results->wanted;
}

static struct results results_of(struct eval *eval, const struct ast *node, size_t wanted)
{
    struct results results = {.eval = eval, .wanted = wanted};

    results_each(eval, node->query, node->kind == AST_ALL, result_note, &results);
    return results;
}

/* The only result, or the first of those that are wanted. */
static const cJSON *scalar_query(struct eval *eval, const struct ast *node)
{
    struct results results = results_of(eval, node, node->kind == AST_SUBQUERY ? 2 : 1);

    if (node->kind == AST_SUBQUERY && results.count > 1 && !eval->has_failed) {
        eval->has_failed = true;
        diagnosis_message(eval->fault, "The cardinality of a scalar subquery result set cannot be "
                                       "greater than one.");
    }
    return results.first;
}

struct listing {
    struct eval *eval;
    struct value_list list;
};

static bool result_append(void *context, const cJSON *value)
{
    struct listing *listing = context;

    return value_list_add(listing->eval, &listing->list, NULL, value_output(value));
}

const cJSON *eval_results(struct eval *eval, const struct ast_query *query)
{
    struct listing listing = {.eval = eval};

    if (!value_list_begin(eval, &listing.list, cJSON_Array) ||
        !results_each(eval, query, false, result_append, &listing))
        return NULL;
    return listing.list.node;
}

static const cJSON *query_value(struct eval *eval, const struct ast *node)
{
    switch (node->kind) {
    case AST_EXISTS:
        return value_bool(results_of(eval, node, 1).count > 0);
    case AST_ALL:
        return value_bool(results_of(eval, node, 1).count == 0);
    case AST_ARRAY_QUERY:
        return eval_results(eval, node->query);
    case AST_LAST:
        return results_of(eval, node, SIZE_MAX).last;
    default:
        return scalar_query(eval, node);
    }
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
        return eval->slots[node->slot];
    case AST_MEMBER:
        if (node->computed != NULL)
            return eval_expression(eval, node->computed);
        return value_member(eval, eval_expression(eval, first), node->name.ptr);
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
    case AST_SUBQUERY:
    case AST_EXISTS:
    case AST_ARRAY_QUERY:
    case AST_ALL:
    case AST_FIRST:
    case AST_LAST:
        return query_value(eval, node);
    }
    return NULL;
}

const cJSON *eval_expression(struct eval *eval, const struct ast *node)
{
    if (!eval_spend(eval, 1))
        return NULL;
    if (node->group_key != 0 && eval->group_keys != NULL)
        return eval->group_keys[node->group_key - 1];
    const cJSON *value = expression(eval, node);
    return eval->has_failed ? NULL : value;
}

const cJSON *eval_output(struct eval *eval, const struct ast *node)
{
    return value_output(eval_expression(eval, node));
}
