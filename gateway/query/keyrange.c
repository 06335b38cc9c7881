/*
 * How it works. The keys for which an expression may be true (or false: NOT turns one into the
 * other) are a set (query/keyset.h). AND intersects sets, OR unites them, a comparison of a
 * partition key's path with a constant is a set of one, and whatever is not understood is the set
 * of all keys.
 */
#include "query/keyrange.h"

#include "query/eval.h"
#include "query/functions.h"
#include "query/keyset.h"

#include <math.h>

#include "base/banned.h"

/* Steps of the evaluator for one constant expression. */
#define FOLD_STEPS_MAX 10000

struct derivation {
    struct keyset_work work;
    const struct pkey_definition *definition;
    const struct ast_source **sources; /* by slot; NULL: the item itself, or unknown */
    size_t source_count;
};

static struct keyset derive(struct derivation *d, const struct ast *node, bool wanted);

/* Constants ----------------------------------------------------------------------------------- */

/* A function of its arguments alone; others give another value each time, or know the item. */
static bool is_pure(const struct ast *call)
{
    return call->function != NULL && call->function->evaluate != NULL &&
           (call->function->kind == FUNCTION_SCALAR || call->function->kind == FUNCTION_SPATIAL);
}

/* Does the expression have one value, whatever the item? */
static bool is_constant(struct derivation *d, const struct ast *node)
{
    if (!keyset_spend(&d->work, 1))
        return false;
    switch (node->kind) {
    case AST_ALIAS:
    case AST_SUBQUERY:
    case AST_EXISTS:
    case AST_ARRAY_QUERY:
    case AST_ALL:
    case AST_FIRST:
    case AST_LAST:
        return false;
    case AST_CALL:
        if (!is_pure(node))
            return false;
        break;
    default:
        break;
    }
    for (const struct ast *child = node->children; child != NULL; child = child->next) {
        if (!is_constant(d, child))
            return false;
    }
    return true;
}

/* The value of a constant expression, NULL for undefined; false when it is none. */
static bool constant(struct derivation *d, const struct ast *node, const cJSON **value)
{
    struct fault fault = {0};
    struct eval eval;

    if (!is_constant(d, node))
        return false;
    eval_init(&eval, &d->work.scratch, NULL, &fault);
    eval.steps_left = FOLD_STEPS_MAX;
    *value = eval_expression(&eval, node);
    return !eval.has_failed;
}

/* How a value counts in a partition key; false for numbers that no item can hold. */
static bool component_from_value(struct pkey_component *component, const cJSON *value)
{
    *component = (struct pkey_component){.type = PKEY_UNDEFINED};
    if (cJSON_IsNull(value)) {
        component->type = PKEY_NULL;
    } else if (cJSON_IsBool(value)) {
        component->type = cJSON_IsTrue(value) ? PKEY_TRUE : PKEY_FALSE;
    } else if (cJSON_IsNumber(value)) {
        component->type = PKEY_NUMBER;
        component->number = value->valuedouble == 0 ? 0 : value->valuedouble;
        return isfinite(component->number);
    } else if (cJSON_IsString(value)) {
        component->type = PKEY_STRING;
        component->text = slice_from_text(value->valuestring);
    }
    return true;
}

/* Paths --------------------------------------------------------------------------------------- */

/* The names of a path from its end to its root. */
struct path {
    size_t count;
    struct slice names[PKEY_PATH_NAMES_MAX];
};

/* What a source's value is, as an expression over earlier ones; NULL when that is no single path.
 */
static const struct ast *source_value(const struct ast_source *source)
{
    if (source == NULL || source->kind == SOURCE_ARRAY)
        return NULL;
    if (source->kind == SOURCE_PATH)
        return source->path;
    if (source->query->is_aggregate)
        return NULL;
    if (source->query->is_star)
        return source_value(source->query->sources);
    return source->query->is_value ? source->query->projection : NULL;
}

/* Follow members, through the aliases of FROM, to the item. */
static bool path_of(struct derivation *d, const struct ast *node, struct path *path)
{
    path->count = 0;
    while (node != NULL && keyset_spend(&d->work, 1)) {
        if (node->kind == AST_MEMBER) {
            if (path->count == PKEY_PATH_NAMES_MAX || node->computed != NULL)
                return false;
            path->names[path->count++] = node->name;
            node = node->children;
        } else if (node->kind == AST_ALIAS) {
            if (node->slot == 0)
                return true;
            node = node->slot < d->source_count ? source_value(d->sources[node->slot]) : NULL;
        } else {
            return false;
        }
    }
    return false;
}

static bool path_is(const struct path *path, const struct pkey_path *wanted)
{
    if (path->count != wanted->name_count)
        return false;
    for (size_t i = 0; i < path->count; i++) {
        if (!slice_equals(path->names[i], wanted->names[path->count - 1 - i]))
            return false;
    }
    return true;
}

/* Which component of the partition key the expression is; false when it is none. */
static bool component_of(struct derivation *d, const struct ast *node, unsigned *component)
{
    struct path path;

    if (!path_of(d, node, &path))
        return false;
    for (unsigned i = 0; i < d->definition->path_count; i++) {
        if (path_is(&path, &d->definition->paths[i])) {
            *component = i;
            return true;
        }
    }
    return false;
}

/* Predicates ---------------------------------------------------------------------------------- */

static struct keyset only_type(struct derivation *d, unsigned component, enum pkey_type type)
{
    return keyset_only(&d->work, component, (struct pkey_component){.type = type});
}

/* The keys of items where a component's path has this value. An array or an object there is an
 * undefined key. */
static struct keyset only_value(struct derivation *d, unsigned component, const cJSON *value)
{
    struct pkey_component wanted;

    if (value == NULL)
        return keyset_nothing();
    return component_from_value(&wanted, value) ? keyset_only(&d->work, component, wanted)
                                                : keyset_everything();
}

/* Neither is known, or both are constants. */
static struct keyset equal_constants(struct derivation *d, const struct ast *a, const struct ast *b)
{
    struct fault fault = {0};
    const cJSON *x, *y;
    struct eval eval;

    if (!constant(d, a, &x) || !constant(d, b, &y))
        return keyset_everything();
    if (x == NULL || y == NULL)
        return keyset_nothing();
    eval_init(&eval, &d->work.scratch, NULL, &fault);
    bool are_equal = value_equals(&eval, x, y);
    return are_equal || eval.has_failed ? keyset_everything() : keyset_nothing();
}

/* a = b */
static struct keyset equal(struct derivation *d, const struct ast *a, const struct ast *b)
{
    const cJSON *value;
    unsigned component;

    if (component_of(d, a, &component))
        return constant(d, b, &value) ? only_value(d, component, value) : keyset_everything();
    if (component_of(d, b, &component))
        return constant(d, a, &value) ? only_value(d, component, value) : keyset_everything();
    return equal_constants(d, a, b);
}

/* a = b OR a = c OR …, over the siblings from `item` on */
static struct keyset equal_any(struct derivation *d, const struct ast *a, const struct ast *item)
{
    struct keyset set = keyset_nothing();

    for (; item != NULL && !set.is_everything; item = item->next)
        set = keyset_unite(&d->work, set, equal(d, a, item));
    return set;
}

/* ARRAY_CONTAINS(array, needle [, partial]): partial concerns objects, which are all the undefined
 * key. */
static struct keyset array_contains(struct derivation *d, const struct ast *array)
{
    const struct ast *needle = array->next;
    struct keyset set = keyset_nothing();
    const cJSON *values, *value;
    unsigned component;

    if (array->kind == AST_ARRAY)
        return equal_any(d, needle, array->children);
    if (!component_of(d, needle, &component) || !constant(d, array, &values))
        return keyset_everything();
    if (!cJSON_IsArray(values))
        return keyset_nothing();
    cJSON_ArrayForEach(value, values)
    {
        set = keyset_unite(&d->work, set, only_value(d, component, value));
        if (set.is_everything)
            break;
    }
    return set;
}

/* STRINGEQUALS(a, b [, ignore case]) */
static struct keyset string_equals(struct derivation *d, const struct ast *a)
{
    const struct ast *b = a->next, *ignores_case = b->next;
    const cJSON *value;

    if (ignores_case != NULL && (!constant(d, ignores_case, &value) || value_is_true(value)))
        return keyset_everything();
    return equal(d, a, b);
}

/* Type predicates of one path: the keys for which they may be as wanted. */
static struct keyset type_check(struct derivation *d, const struct ast *call, bool wanted)
{
    struct slice name = call->name;
    unsigned component;

    if (!component_of(d, call->children, &component))
        return keyset_everything();
    if (wanted && slice_equals_nocase(name, "IS_NULL"))
        return only_type(d, component, PKEY_NULL);
    if (wanted && (slice_equals_nocase(name, "IS_BOOL") || slice_equals_nocase(name, "IS_BOOLEAN")))
        return keyset_unite(&d->work, only_type(d, component, PKEY_FALSE),
                            only_type(d, component, PKEY_TRUE));
    if (wanted && (slice_equals_nocase(name, "IS_ARRAY") || slice_equals_nocase(name, "IS_OBJECT")))
        return only_type(d, component, PKEY_UNDEFINED);
    if (!wanted &&
        (slice_equals_nocase(name, "IS_DEFINED") || slice_equals_nocase(name, "IS_PRIMITIVE")))
        return only_type(d, component, PKEY_UNDEFINED);
    return keyset_everything();
}

static struct keyset call(struct derivation *d, const struct ast *node, bool wanted)
{
    if (node->is_udf || node->child_count == 0)
        return keyset_everything();
    if (wanted && slice_equals_nocase(node->name, "ARRAY_CONTAINS"))
        return array_contains(d, node->children);
    if (wanted && slice_equals_nocase(node->name, "STRINGEQUALS"))
        return string_equals(d, node->children);
    return type_check(d, node, wanted);
}

/* AND is true when all are, and false when one is; OR the other way round. */
static struct keyset logic(struct derivation *d, const struct ast *node, bool wanted)
{
    bool need_all = (node->kind == AST_AND) == wanted;
    struct keyset set = need_all ? keyset_everything() : keyset_nothing();

    for (const struct ast *child = node->children; child != NULL; child = child->next) {
        struct keyset one = derive(d, child, wanted);
        set = need_all ? keyset_intersect(&d->work, set, one) : keyset_unite(&d->work, set, one);
        if (need_all ? !set.is_everything && set.count == 0 : set.is_everything)
            break;
    }
    return set;
}

/* Keys of items for which the expression may be the wanted boolean, as far as its kind tells. */
static struct keyset predicate(struct derivation *d, const struct ast *node, bool wanted)
{
    unsigned component;

    switch (node->kind) {
    case AST_UNARY:
        return node->op == AST_NOT ? derive(d, node->children, !wanted) : keyset_everything();
    case AST_BINARY:
        if ((node->op == AST_EQUAL && wanted) || (node->op == AST_NOT_EQUAL && !wanted))
            return equal(d, node->children, node->children->next);
        return keyset_everything();
    case AST_IN:
        if (node->is_negated != wanted)
            return equal_any(d, node->children, node->children->next);
        return keyset_everything();
    case AST_CALL:
        return call(d, node, wanted);
    case AST_ALIAS:
    case AST_MEMBER:
    case AST_INDEX:
        if (component_of(d, node, &component))
            return only_type(d, component, wanted ? PKEY_TRUE : PKEY_FALSE);
        return keyset_everything();
    default:
        return keyset_everything();
    }
}

static struct keyset derive(struct derivation *d, const struct ast *node, bool wanted)
{
    const cJSON *value;

    if (!keyset_spend(&d->work, 1))
        return keyset_everything();
    if (node->kind == AST_AND || node->kind == AST_OR)
        return logic(d, node, wanted);
    if (constant(d, node, &value))
        return cJSON_IsBool(value) && value_is_true(value) == wanted ? keyset_everything()
                                                                     : keyset_nothing();
    return predicate(d, node, wanted);
}

/* Sources ------------------------------------------------------------------------------------- */

/* Without GROUP BY an aggregate has its row whatever passes. */
static bool always_has_row(const struct ast_query *query)
{
    return query->is_aggregate && query->group_by == NULL;
}

/* The keys of items of which the query, or a subquery in its FROM, can make a row. */
static struct keyset derive_query(struct derivation *d, const struct ast_query *query)
{
    struct keyset set = keyset_everything();

    for (const struct ast_source *source = query->sources; source != NULL; source = source->next) {
        if (source->slot > 0 && source->slot < d->source_count)
            d->sources[source->slot] = source;
        if (source->query != NULL && !always_has_row(source->query))
            set = keyset_intersect(&d->work, set, derive_query(d, source->query));
    }
    return query->where != NULL ? keyset_intersect(&d->work, set, derive(d, query->where, true))
                                : set;
}

static struct keyset derive_given(struct derivation *d, const struct pkey *given)
{
    struct keyset set = keyset_everything();

    if (given == NULL)
        return set;
    if (given->count == 0 && d->definition->is_system_key)
        return only_type(d, 0, PKEY_UNDEFINED);
    for (unsigned i = 0; i < given->count; i++)
        set = keyset_intersect(&d->work, set, keyset_only(&d->work, i, given->components[i]));
    return set;
}

/* The sets of the query and of the request, both of which hold. */
static struct keyset derive_all(struct derivation *d, const struct ast_query *query,
                                const struct pkey *given)
{
    struct keyset limit = derive_given(d, given);

    d->source_count = query->slot_count;
    d->sources = arena_alloc(&d->work.scratch, d->source_count * sizeof(struct ast_source *));
    if (d->sources == NULL)
        return limit;
    struct keyset set = keyset_intersect(&d->work, limit, derive_query(d, query));
    return d->work.has_given_up ? limit : set;
}

bool keyrange_derive(struct keyrange *keyrange, struct arena *arena, const struct ast_query *query,
                     const struct pkey_definition *definition, const struct pkey *given,
                     struct fault *fault)
{
    struct derivation d = {.definition = definition};

    *keyrange = (struct keyrange){.is_keys = true};
    if (query->sources == NULL)
        return true;
    keyset_work_init(&d.work);
    struct keyset set = derive_all(&d, query, given);
    bool is_filled = keyset_intervals(&set, definition, keyrange, arena, fault);
    keyset_work_finish(&d.work);
    return is_filled;
}
