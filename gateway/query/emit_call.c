/*
 * The functions that SQL computes as the evaluator does.
 *
 * Left to the evaluator: what counts positions in UTF-16 units or maps letters to another case,
 * what PostgreSQL refuses with an error or rounds differently, dates, geometry, regular
 * expressions, and what shows the order of members.
 */
#include "query/emit_query.h"
#include "query/functions.h"

#include "base/banned.h"

struct call_form {
    function_evaluate *evaluate;
    enum emit_kind kind;
    emit_append_fn *append;
};

/* ---- type checks ---- */

/* "(coalesce(jsonb_typeof(x) in (…), false))"; an expression of known type is of that type where it
 * is defined at all. */
static bool type_check(struct emitter *emitter, const struct ast *node, const char *types,
                       unsigned kinds)
{
    const struct ast *value = node->children;
    enum emit_kind kind = emit_kind_of(emitter, value);

    if (kind != KIND_JSONB && (kinds & 1u << kind) == 0) {
        emit_raw(emitter, "false");
        return true;
    }
    emit_raw(emitter, kind == KIND_JSONB ? "coalesce(jsonb_typeof(" : "(");
    if (!emit_scalar(emitter, value, kind))
        return false;
    if (kind != KIND_JSONB) {
        emit_raw(emitter, " is not null)");
        return true;
    }
    emit_raw(emitter, ") in (");
    emit_raw(emitter, types);
    emit_raw(emitter, "), false)");
    return true;
}

static bool is_array(struct emitter *emitter, const struct ast *node)
{
    return type_check(emitter, node, "'array'", 0);
}

static bool is_bool(struct emitter *emitter, const struct ast *node)
{
    return type_check(emitter, node, "'boolean'", 1u << KIND_BOOL);
}

static bool is_null(struct emitter *emitter, const struct ast *node)
{
    return type_check(emitter, node, "'null'", 0);
}

static bool is_number(struct emitter *emitter, const struct ast *node)
{
    return type_check(emitter, node, "'number'", 1u << KIND_NUMBER);
}

static bool is_string(struct emitter *emitter, const struct ast *node)
{
    return type_check(emitter, node, "'string'", 1u << KIND_TEXT);
}

static bool is_primitive(struct emitter *emitter, const struct ast *node)
{
    return type_check(emitter, node, "'null','boolean','number','string'",
                      1u << KIND_BOOL | 1u << KIND_NUMBER | 1u << KIND_TEXT);
}

static bool is_object(struct emitter *emitter, const struct ast *node)
{
    if (!emit_is_item(emitter, node->children))
        return type_check(emitter, node, "'object'", 0);
    emit_raw(emitter, "true");
    return true;
}

static bool is_defined(struct emitter *emitter, const struct ast *node)
{
    const struct ast *value = node->children;

    if (emit_is_item(emitter, value)) {
        emit_raw(emitter, "true");
        return true;
    }
    emit_raw(emitter, "(");
    if (!emit_scalar(emitter, value, emit_kind_of(emitter, value)))
        return false;
    emit_raw(emitter, " is not null)");
    return true;
}

/* Whole, within 64 bits; 2^63 itself is the first double outside. */
static bool is_integer(struct emitter *emitter, const struct ast *node)
{
    if (!emit_select(emitter,
                     "coalesce((select n.a = trunc(n.a) and n.a >= -9223372036854775808.0 and "
                     "n.a < 9223372036854775808.0 from (select ") ||
        !emit_scalar(emitter, node->children, KIND_NUMBER))
        return false;
    emit_raw(emitter, " as a offset 0) n), false)");
    return true;
}

static bool is_finite_number(struct emitter *emitter, const struct ast *node)
{
    if (!emit_may_overflow(emitter, node->children))
        return is_number(emitter, node);
    if (!emit_select(emitter,
                     "coalesce((select n.a > '-Infinity' and n.a < 'Infinity' from (select ") ||
        !emit_scalar(emitter, node->children, KIND_NUMBER))
        return false;
    emit_raw(emitter, " as a offset 0) n), false)");
    return true;
}

/* ---- numbers ---- */

/* A function of one number that is never NaN nor infinite. */
static bool rounding(struct emitter *emitter, const struct ast *node, const char *before,
                     const char *after)
{
    if (emit_may_overflow(emitter, node->children))
        return false;
    emit_raw(emitter, before);
    if (!emit_scalar(emitter, node->children, KIND_NUMBER))
        return false;
    emit_raw(emitter, after);
    return true;
}

static bool math_abs(struct emitter *emitter, const struct ast *node)
{
    return rounding(emitter, node, "abs(", ")");
}

static bool math_ceiling(struct emitter *emitter, const struct ast *node)
{
    return rounding(emitter, node, "ceil(", ")");
}

static bool math_floor(struct emitter *emitter, const struct ast *node)
{
    return rounding(emitter, node, "floor(", ")");
}

static bool math_trunc(struct emitter *emitter, const struct ast *node)
{
    return rounding(emitter, node, "trunc(", ")");
}

static bool math_sign(struct emitter *emitter, const struct ast *node)
{
    return rounding(emitter, node, "sign(", ")");
}

/* Half away from zero; PostgreSQL's own round goes to the even one. */
static bool math_round(struct emitter *emitter, const struct ast *node)
{
    return emit_select(emitter, "") &&
           rounding(emitter, node,
                    "(select case when abs(n.a - trunc(n.a)) >= 0.5 then trunc(n.a) + sign(n.a) "
                    "else trunc(n.a) end from (select ",
                    " as a offset 0) n)");
}

/* ---- strings ---- */

/* The third argument of CONTAINS and its kin: only "false" is compiled. */
static bool minds_case(struct emitter *emitter, const struct ast *node)
{
    const struct ast *ignores_case = node->children->next->next;
    const cJSON *value;

    return ignores_case == NULL ||
           (emit_constant(emitter, ignores_case, &value) && value != NULL && cJSON_IsFalse(value));
}

/* "before text between wanted after" */
static bool two_texts(struct emitter *emitter, const struct ast *node, const char *before,
                      const char *between, const char *after)
{
    if (!minds_case(emitter, node))
        return false;
    emit_raw(emitter, before);
    if (!emit_scalar(emitter, node->children, KIND_TEXT))
        return false;
    emit_raw(emitter, between);
    if (!emit_scalar(emitter, node->children->next, KIND_TEXT))
        return false;
    emit_raw(emitter, after);
    return true;
}

static bool text_contains(struct emitter *emitter, const struct ast *node)
{
    return two_texts(emitter, node, "(strpos(", ", ", ") > 0)");
}

static bool text_startswith(struct emitter *emitter, const struct ast *node)
{
    return two_texts(emitter, node, "starts_with(", ", ", ")");
}

static bool text_equals(struct emitter *emitter, const struct ast *node)
{
    return two_texts(emitter, node, "(", " = ", ")");
}

static bool text_endswith(struct emitter *emitter, const struct ast *node)
{
    return emit_select(emitter, "") &&
           two_texts(emitter, node, "(select right(n.a, length(n.b)) = n.b from (select ",
                     " as a, ", " as b offset 0) n)");
}

static bool text_concat(struct emitter *emitter, const struct ast *node)
{
    if (!emit_join(emitter, node->child_count))
        return false;
    emit_raw(emitter, "(");
    for (const struct ast *child = node->children; child != NULL; child = child->next) {
        if (child != node->children)
            emit_raw(emitter, " || ");
        if (!emit_scalar(emitter, child, KIND_TEXT))
            return false;
    }
    emit_raw(emitter, ")");
    return true;
}

static bool text_length(struct emitter *emitter, const struct ast *node)
{
    emit_raw(emitter, "orrery.text_units(");
    if (!emit_scalar(emitter, node->children, KIND_TEXT))
        return false;
    emit_raw(emitter, ")::float8");
    return true;
}

static bool text_reverse(struct emitter *emitter, const struct ast *node)
{
    emit_raw(emitter, "reverse(");
    if (!emit_scalar(emitter, node->children, KIND_TEXT))
        return false;
    emit_raw(emitter, ")");
    return true;
}

/* ---- arrays ---- */

static bool array_length(struct emitter *emitter, const struct ast *node)
{
    emit_raw(emitter, "(case when jsonb_typeof(");
    if (!emit_scalar(emitter, node->children, KIND_JSONB))
        return false;
    emit_raw(emitter, ") = 'array' then jsonb_array_length(");
    if (!emit_scalar(emitter, node->children, KIND_JSONB))
        return false;
    emit_raw(emitter, ")::float8 end)");
    return true;
}

/* "z.v->'a' = … and …" for each member that an element must have. */
static bool members_match(struct emitter *emitter, const cJSON *wanted)
{
    emit_raw(emitter, "jsonb_typeof(z.v) = 'object'");
    for (const cJSON *member = wanted->child; member != NULL; member = member->next) {
        emit_raw(emitter, " and z.v->");
        sql_append_quoted(emitter->sql, slice_from_text(member->string));
        emit_raw(emitter, " = ");
        if (!emit_spend(emitter) || !emit_value(emitter, member, KIND_JSONB))
            return false;
    }
    return true;
}

static bool is_scalar(const cJSON *value)
{
    return !cJSON_IsArray(value) && !cJSON_IsObject(value);
}

/* What makes an array contain the needle, the array being known to be one. */
static bool array_has(struct emitter *emitter, const struct ast *node, const cJSON *needle,
                      bool is_constant, bool is_partial)
{
    const struct ast *array = node->children;

    /* An array holds a scalar in jsonb's sense exactly when one of its elements is it. */
    if (is_constant && is_scalar(needle)) {
        if (!emit_scalar(emitter, array, KIND_JSONB))
            return false;
        emit_raw(emitter, " @> ");
        return emit_value(emitter, needle, KIND_JSONB);
    }
    if (!emit_select(emitter, "exists(select 1 from jsonb_array_elements(") ||
        !emit_scalar(emitter, array, KIND_JSONB))
        return false;
    emit_raw(emitter, ") z(v) where ");
    if (is_partial && cJSON_IsObject(needle)) {
        if (!members_match(emitter, needle))
            return false;
    } else {
        emit_raw(emitter, "z.v = ");
        if (!emit_scalar(emitter, array->next, KIND_JSONB))
            return false;
    }
    emit_raw(emitter, ")");
    return true;
}

static bool array_contains(struct emitter *emitter, const struct ast *node)
{
    const struct ast *array = node->children, *sought = array->next;
    const cJSON *needle = NULL, *partial = NULL;
    bool is_constant = emit_constant(emitter, sought, &needle);

    if (sought->next != NULL && !emit_constant(emitter, sought->next, &partial))
        return false;
    if ((sought->next != NULL && !cJSON_IsBool(partial)) || (is_constant && needle == NULL))
        return emit_value(emitter, NULL, KIND_BOOL);
    bool is_partial = partial != NULL && cJSON_IsTrue(partial);
    if (is_partial && !is_constant)
        return false;
    emit_raw(emitter, "(case when jsonb_typeof(");
    if (!emit_scalar(emitter, array, KIND_JSONB))
        return false;
    emit_raw(emitter, ") = 'array'");
    if (!is_constant) {
        emit_raw(emitter, " and ");
        if (!emit_scalar(emitter, sought, KIND_JSONB))
            return false;
        emit_raw(emitter, " is not null");
    }
    emit_raw(emitter, " then ");
    if (!array_has(emitter, node, needle, is_constant, is_partial))
        return false;
    emit_raw(emitter, " end)");
    return true;
}

/* ---- calls ---- */

static const struct call_form forms[] = {
    {function_is_array, KIND_BOOL, is_array},
    {function_is_bool, KIND_BOOL, is_bool},
    {function_is_defined, KIND_BOOL, is_defined},
    {function_is_null, KIND_BOOL, is_null},
    {function_is_number, KIND_BOOL, is_number},
    {function_is_object, KIND_BOOL, is_object},
    {function_is_string, KIND_BOOL, is_string},
    {function_is_primitive, KIND_BOOL, is_primitive},
    {function_is_integer, KIND_BOOL, is_integer},
    {function_is_finite_number, KIND_BOOL, is_finite_number},
    {function_abs, KIND_NUMBER, math_abs},
    {function_ceiling, KIND_NUMBER, math_ceiling},
    {function_floor, KIND_NUMBER, math_floor},
    {function_round, KIND_NUMBER, math_round},
    {function_sign, KIND_NUMBER, math_sign},
    {function_trunc, KIND_NUMBER, math_trunc},
    {function_concat, KIND_TEXT, text_concat},
    {function_contains, KIND_BOOL, text_contains},
    {function_startswith, KIND_BOOL, text_startswith},
    {function_endswith, KIND_BOOL, text_endswith},
    {function_stringequals, KIND_BOOL, text_equals},
    {function_length, KIND_NUMBER, text_length},
    {function_reverse, KIND_TEXT, text_reverse},
    {function_array_contains, KIND_BOOL, array_contains},
    {function_array_length, KIND_NUMBER, array_length},
};

static const struct call_form *form_find(const struct ast *node)
{
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        if (!node->is_udf && node->function->evaluate == forms[i].evaluate)
            return &forms[i];
    }
    return NULL;
}

static bool is_conditional(const struct ast *node)
{
    return !node->is_udf && node->function->evaluate == function_iif;
}

enum emit_kind emit_call_kind(struct emitter *emitter, const struct ast *node)
{
    if (node->aggregate != 0)
        return emit_aggregate_kind(node);
    if (is_conditional(node)) {
        const struct ast *yes = node->children->next;
        enum emit_kind kind = emit_kind_of(emitter, yes);

        return kind == emit_kind_of(emitter, yes->next) ? kind : KIND_JSONB;
    }
    const struct call_form *form = form_find(node);
    return form != NULL ? form->kind : KIND_JSONB;
}

bool emit_call(struct emitter *emitter, const struct ast *node, enum emit_kind kind)
{
    if (node->aggregate != 0)
        return emit_aggregate(emitter, node, kind);
    if (is_conditional(node))
        return emit_conditional(emitter, node->children, kind);
    const struct call_form *form = form_find(node);
    return form != NULL && emit_converted(emitter, node, form->kind, kind, form->append);
}
