/*
 * Containment: equalities on paths, joined into one document that the item must contain.
 *
 * A document for all equalities of a conjunction, and not one for each, because PostgreSQL believes
 * of every containment that it keeps a fixed share of the rows, and multiplies. Conditions on the
 * elements of one array stay together only when they are about the same element: the elements of a
 * document stand beside each other, one for each slot.
 *
 * Containment is exact for null, booleans, numbers and strings. An array or object in a document is
 * only a hint: the item may hold more. An element by number is one, too.
 */
#include "query/emit_search.h"
#include "query/functions.h"

#include "base/banned.h"

/* ---- places ---- */

static bool step_add(struct emit_place *place, struct slice name, unsigned element)
{
    if (place->count == INDEX_STEPS_MAX)
        return false;
    place->steps[place->count] = (struct index_step){.name = name, .is_element = element != 0};
    place->elements[place->count++] = element;
    place->has_elements = place->has_elements || element != 0;
    return true;
}

static bool alias_place(struct emitter *emitter, const struct ast *node, struct emit_place *place)
{
    const struct emit_slot *slot = &emitter->slots[node->slot];

    if (node->slot == 0)
        return true;
    if (slot->path == NULL || !emit_place(emitter, slot->path, place))
        return false;
    return slot->kind == SLOT_PATH || step_add(place, (struct slice){0}, node->slot);
}

static bool element_place(struct emitter *emitter, const struct ast *node, struct emit_place *place)
{
    const cJSON *index;

    if (!emit_constant(emitter, node->children->next, &index) || index == NULL ||
        !cJSON_IsNumber(index))
        return false;
    double number = index->valuedouble;
    if (!(number >= 0 && number < 1e6 && number == (unsigned) number))
        return false;
    place->has_indexed = true;
    return emit_place(emitter, node->children, place) &&
           step_add(place, (struct slice){0}, ELEMENT_INDEXED + (unsigned) number);
}

/* Recursion as deep as the tree. */
static bool place_of(struct emitter *emitter, const struct ast *node, struct emit_place *place)
{
    struct slice name;

    if (!emit_spend(emitter) || node->computed != NULL || emit_is_system(node))
        return false;
    if (node->kind == AST_ALIAS)
        return alias_place(emitter, node, place);
    if (emit_member_name(node, &name))
        return place_of(emitter, node->children, place) && step_add(place, name, 0);
    return node->kind == AST_INDEX && element_place(emitter, node, place);
}

bool emit_place(struct emitter *emitter, const struct ast *node, struct emit_place *place)
{
    return place_of(emitter, node, place);
}

struct index_path emit_place_path(const struct emit_place *place)
{
    return (struct index_path){place->count, place->steps};
}

void emit_note_use(struct emitter *emitter, enum emit_use_kind kind, const struct emit_place *place)
{
    struct arena *arena = emitter->emit->arena;
    struct index_path path = emit_place_path(place);

    for (const struct emit_use *use = emitter->emit->uses; use != NULL; use = use->next) {
        if (use->kind == kind && index_path_equals(&use->path, &path))
            return;
    }
    struct emit_use *use = arena_alloc(arena, sizeof(*use));
    struct index_step *steps = arena_alloc(arena, (place->count + 1) * sizeof(*steps));

    if (use == NULL || steps == NULL)
        return; /* only a hint for others */
    memcpy(steps, place->steps, place->count * sizeof(*steps));
    *use = (struct emit_use){emitter->emit->uses, kind, {place->count, steps}};
    emitter->emit->uses = use;
}

/* ---- documents ---- */

static struct contained *part_find(struct contained *list, const struct emit_place *place,
                                   size_t step)
{
    for (; list != NULL; list = list->next) {
        if (list->element == place->elements[step] &&
            (list->element != 0 || slice_equals(list->name, place->steps[step].name)))
            return list;
    }
    return NULL;
}

/* Put a value at a place. False when something else is there: two conditions that only together
 * say what the item must be. */
static bool contained_add(struct emitter *emitter, struct contained *document,
                          const struct emit_place *place, const cJSON *value)
{
    struct contained *at = document;
    bool is_new = false;

    for (size_t i = 0; i < place->count; i++) {
        struct contained *part = part_find(at->children, place, i);

        if (at->value != NULL ||
            (at->children != NULL && (at->children->element != 0) != (place->elements[i] != 0)))
            return false;
        is_new = part == NULL;
        if (is_new) {
            part = arena_alloc(emitter->emit->arena, sizeof(*part));
            if (part == NULL)
                return false;
            part->name = place->steps[i].name;
            part->element = place->elements[i];
            part->next = at->children;
            at->children = part;
        }
        at = part;
    }
    if (!is_new)
        return false;
    at->value = value;
    return true;
}

static bool part_print(struct emitter *emitter, struct buf *out, const struct contained *part)
{
    if (part->value != NULL) {
        struct slice json = emit_json(emitter, part->value);

        buf_append_slice(out, json);
        return !slice_is_absent(json);
    }
    bool is_array = part->children != NULL && part->children->element != 0;
    buf_append_char(out, is_array ? '[' : '{');
    for (const struct contained *child = part->children; child != NULL; child = child->next) {
        if (child != part->children)
            buf_append_char(out, ',');
        if (!is_array) {
            buf_append_json_string(out, child->name);
            buf_append_char(out, ':');
        }
        if (!part_print(emitter, out, child))
            return false;
    }
    buf_append_char(out, is_array ? ']' : '}');
    return true;
}

struct slice emit_contained_json(struct emitter *emitter, const struct contained *document)
{
    struct buf text = {0};
    char *copy = NULL;

    if (part_print(emitter, &text, document) && !text.has_failed)
        copy = arena_copy(emitter->emit->arena, text.ptr, text.len);
    emitter->sql->has_failed |= copy == NULL;
    size_t len = text.len;
    buf_finish(&text);
    return copy != NULL ? slice_make(copy, len) : (struct slice){0};
}

void emit_contained_left(struct emitter *emitter)
{
    index_set_append_containment(emitter->emit->indexes, &emitter->sql->text);
}

/* ---- conditions ---- */

static bool is_scalar(const cJSON *value)
{
    return !cJSON_IsArray(value) && !cJSON_IsObject(value);
}

/* A scalar somewhere in a value: without one GIN has nothing to look for and reads everything. */
static bool has_scalar(const cJSON *value)
{
    if (is_scalar(value))
        return true;
    for (const cJSON *child = value->child; child != NULL; child = child->next) {
        if (has_scalar(child))
            return true;
    }
    return false;
}

/* The document so far looks for what equals a value at a place. */
static enum contain_result place_equals(struct emitter *emitter, struct contained *document,
                                        const struct emit_place *place, const cJSON *value)
{
    const struct index_set *indexes = emitter->emit->indexes;
    struct index_path path = emit_place_path(place);
    bool is_scalar_value = is_scalar(value);

    if (place->count == 0 || !has_scalar(value) || slice_is_absent(emit_json(emitter, value)))
        return CONTAIN_NOTHING;
    if (indexes == NULL ||
        !index_set_contains(indexes, &path, is_scalar_value ? INDEX_VALUE : INDEX_SUBTREE)) {
        emit_note_use(emitter, EMIT_WANTS_EQUALITY, place);
        return CONTAIN_NOTHING;
    }
    if (!contained_add(emitter, document, place, value))
        return CONTAIN_NOTHING;
    emit_note_use(emitter, EMIT_USES_CONTAINMENT, place);
    return is_scalar_value && !place->has_indexed ? CONTAIN_ALL : CONTAIN_HINT;
}

enum contain_result emit_contain_equality(struct emitter *emitter, struct contained *document,
                                          const struct ast *path, const struct ast *other)
{
    struct emit_place place = {0};
    const cJSON *value;

    if (!emit_constant(emitter, other, &value) || !emit_place(emitter, path, &place))
        return CONTAIN_NOTHING;
    return value != NULL ? place_equals(emitter, document, &place, value) : CONTAIN_NEVER;
}

/* path = constant, in either sequence */
static enum contain_result equality(struct emitter *emitter, struct contained *document,
                                    const struct ast *node)
{
    const struct ast *a = node->children, *b = a->next;
    const cJSON *value;
    enum contain_result result = emit_constant(emitter, a, &value)
                                     ? emit_contain_equality(emitter, document, b, a)
                                     : emit_contain_equality(emitter, document, a, b);

    return result != CONTAIN_NEVER ? result : CONTAIN_NOTHING;
}

/* A path for itself, or NOT of one: the value is true, or false. */
static enum contain_result truth(struct emitter *emitter, struct contained *document,
                                 const struct ast *path, bool is_true)
{
    static const cJSON values[] = {{.type = cJSON_False}, {.type = cJSON_True}};
    struct emit_place place = {0};

    if (!emit_place(emitter, path, &place))
        return CONTAIN_NOTHING;
    return place_equals(emitter, document, &place, &values[is_true]);
}

/* ARRAY_CONTAINS(path, constant[, partial]): some element of the path equals it, or has it. */
static enum contain_result array_contains(struct emitter *emitter, struct contained *document,
                                          const struct ast *node)
{
    const struct ast *needle = node->children->next;
    struct emit_place place = {0};
    const cJSON *value, *partial = NULL;

    if (!emit_constant(emitter, needle, &value) || value == NULL ||
        (needle->next != NULL &&
         (!emit_constant(emitter, needle->next, &partial) || !cJSON_IsBool(partial))) ||
        !emit_place(emitter, node->children, &place) ||
        !step_add(&place, (struct slice){0}, ELEMENT_ANY + (unsigned) emitter->steps_left))
        return CONTAIN_NOTHING;
    return place_equals(emitter, document, &place, value);
}

/* The only array that a query iterates, with nothing else in FROM; NULL otherwise. */
static const struct ast_source *only_array(const struct ast_query *query)
{
    const struct ast_source *found = NULL;

    for (const struct ast_source *source = query->sources; source != NULL; source = source->next) {
        if (source->kind == SOURCE_PATH && source->slot == 0)
            continue;
        if (found != NULL || source->kind != SOURCE_ARRAY || source->query != NULL)
            return NULL;
        found = source;
    }
    return found;
}

/* Every row is a result: the value is the element, or no VALUE is asked. */
static bool result_is_defined(const struct ast_query *query, unsigned slot)
{
    if (query->is_star || !query->is_value)
        return true;
    return query->projection->kind == AST_ALIAS && query->projection->slot == slot;
}

/* Is something said of the elements of a slot? */
static bool has_element(const struct contained *part, unsigned slot)
{
    for (; part != NULL; part = part->next) {
        if (part->element == slot || has_element(part->children, slot))
            return true;
    }
    return false;
}

enum contain_result emit_contain_rows(struct emitter *emitter, struct contained *document,
                                      const struct ast_query *query)
{
    const struct ast_source *array = only_array(query);
    enum contain_result result = emit_contain(emitter, document, query->where);

    if (result == CONTAIN_ALL && array != NULL && has_element(document->children, array->slot))
        return CONTAIN_ALL;
    return result == CONTAIN_NOTHING ? CONTAIN_NOTHING : CONTAIN_HINT;
}

/* EXISTS(SELECT … FROM t IN path WHERE t.k = constant AND …) */
static enum contain_result exists(struct emitter *emitter, struct contained *document,
                                  const struct ast_query *query)
{
    const struct ast_source *array = only_array(query);

    if (array == NULL || query->where == NULL || query->is_aggregate)
        return CONTAIN_NOTHING;
    emitter->slots[array->slot] = (struct emit_slot){SLOT_COLUMN, array->path};
    enum contain_result result = emit_contain_rows(emitter, document, query);
    return result == CONTAIN_ALL && !result_is_defined(query, array->slot) ? CONTAIN_HINT : result;
}

static enum contain_result conjunction(struct emitter *emitter, struct contained *document,
                                       const struct ast *node)
{
    bool is_all = true, is_any = false;

    for (const struct ast *child = node->children; child != NULL; child = child->next) {
        enum contain_result result = emit_contain(emitter, document, child);

        is_all = is_all && result == CONTAIN_ALL;
        is_any = is_any || result != CONTAIN_NOTHING;
    }
    return is_all ? CONTAIN_ALL : is_any ? CONTAIN_HINT : CONTAIN_NOTHING;
}

enum contain_result emit_contain(struct emitter *emitter, struct contained *document,
                                 const struct ast *condition)
{
    if (!emit_spend(emitter))
        return CONTAIN_NOTHING;
    switch (condition->kind) {
    case AST_AND:
        return conjunction(emitter, document, condition);
    case AST_BINARY:
        return condition->op == AST_EQUAL ? equality(emitter, document, condition)
                                          : CONTAIN_NOTHING;
    case AST_MEMBER:
    case AST_INDEX:
        return truth(emitter, document, condition, true);
    case AST_UNARY:
        return condition->op == AST_NOT ? truth(emitter, document, condition->children, false)
                                        : CONTAIN_NOTHING;
    case AST_CALL:
        return !condition->is_udf && condition->function->evaluate == function_array_contains
                   ? array_contains(emitter, document, condition)
                   : CONTAIN_NOTHING;
    case AST_EXISTS:
        return exists(emitter, document, condition->query);
    default:
        return CONTAIN_NOTHING;
    }
}
