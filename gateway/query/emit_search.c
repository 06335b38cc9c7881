/*
 * WHERE: the searching form of predicates, and the condition for an item.
 */
#include "query/emit_search.h"

#include "base/banned.h"

/* Of many alternatives, those that containment answers as one list. */
#define ALTERNATIVES_MIN 2

/* ---- alternatives ---- */

static void append_and(struct emitter *emitter, bool *is_first)
{
    if (!*is_first)
        emit_raw(emitter, " and ");
    *is_first = false;
}

static enum emit_form worse(enum emit_form a, enum emit_form b)
{
    return a > b ? a : b;
}

/* Append " left @> any(documents)". */
static void append_contains_any(struct emitter *emitter, const struct slice *documents,
                                size_t count)
{
    emit_raw(emitter, "(");
    emit_contained_left(emitter);
    emit_raw(emitter, " @> any(");
    sql_append_jsonb_array(emitter->sql, documents, count);
    emit_raw(emitter, "))");
}

/* The document of one alternative, where it alone says all of it; absent otherwise. */
static struct slice alternative_document(struct emitter *emitter, const struct ast *node)
{
    struct contained document = {0};

    if (emit_contain(emitter, &document, node) != CONTAIN_ALL || document.children == NULL)
        return (struct slice){0};
    return emit_contained_json(emitter, &document);
}

/* a = 1 OR a = 2 OR b = 3, as one list. */
static bool contained_alternatives(struct emitter *emitter, const struct ast *node)
{
    size_t count = 0;
    struct slice *documents;

    if (node->child_count < ALTERNATIVES_MIN)
        return false;
    documents = arena_alloc(emitter->emit->arena, node->child_count * sizeof(*documents));
    if (documents == NULL)
        return false;
    for (const struct ast *child = node->children; child != NULL; child = child->next) {
        documents[count] = alternative_document(emitter, child);
        if (slice_is_absent(documents[count++]))
            return false;
    }
    append_contains_any(emitter, documents, count);
    return true;
}

static enum emit_form alternatives(struct emitter *emitter, const struct ast *node)
{
    struct emit_mark mark = emit_mark(emitter);
    enum emit_form form = EMIT_EXACT;

    if (emit_interval(emitter, node) || contained_alternatives(emitter, node))
        return EMIT_EXACT;
    emit_back(emitter, mark);
    emit_raw(emitter, "(");
    for (const struct ast *child = node->children; child != NULL; child = child->next) {
        if (child != node->children)
            emit_raw(emitter, " or ");
        form = worse(form, emit_search(emitter, child, 1));
        if (form == EMIT_NOTHING) {
            emit_back(emitter, mark);
            return EMIT_NOTHING;
        }
    }
    emit_raw(emitter, ")");
    return form;
}

/* path IN (constants): a document for each. */
static bool contained_list(struct emitter *emitter, const struct ast *node)
{
    struct slice *documents;
    size_t count = 0;

    if (node->is_negated)
        return false;
    documents = arena_alloc(emitter->emit->arena, node->child_count * sizeof(*documents));
    if (documents == NULL)
        return false;
    for (const struct ast *item = node->children->next; item != NULL; item = item->next) {
        struct contained document = {0};
        enum contain_result result =
            emit_contain_equality(emitter, &document, node->children, item);

        if (result == CONTAIN_NEVER)
            continue;
        if (result != CONTAIN_ALL)
            return false;
        documents[count] = emit_contained_json(emitter, &document);
        if (slice_is_absent(documents[count++]))
            return false;
    }
    if (count == 0)
        return false;
    append_contains_any(emitter, documents, count);
    return true;
}

/* ---- conjunctions ---- */

/* One condition in the best form that it has. */
static enum emit_form condition(struct emitter *emitter, const struct ast *node)
{
    struct emit_mark mark = emit_mark(emitter);

    if (node->kind == AST_OR)
        return alternatives(emitter, node);
    if (node->kind == AST_AND)
        return emit_search(emitter, node->children, node->child_count);
    if (node->kind == AST_IN && contained_list(emitter, node))
        return EMIT_EXACT;
    emit_back(emitter, mark);
    if (emit_range(emitter, node))
        return EMIT_EXACT;
    emit_back(emitter, mark);
    if (emit_scalar(emitter, node, KIND_BOOL))
        return EMIT_EXACT;
    emit_back(emitter, mark);
    return emit_spatial(emitter, node) ? EMIT_SUPERSET : EMIT_NOTHING;
}

/* The document for all siblings; which of them it says completely. */
static bool contained_siblings(struct emitter *emitter, const struct ast *first, size_t count,
                               bool *is_said)
{
    struct contained document = {0};
    const struct ast *node = first;

    for (size_t i = 0; i < count; i++, node = node->next)
        is_said[i] = emit_contain(emitter, &document, node) == CONTAIN_ALL;
    if (document.children == NULL)
        return false;
    struct slice json = emit_contained_json(emitter, &document);
    if (slice_is_absent(json))
        return false;
    emit_contained_left(emitter);
    emit_raw(emitter, " @> ");
    sql_append_jsonb(emitter->sql, json);
    return true;
}

enum emit_form emit_search(struct emitter *emitter, const struct ast *first, size_t count)
{
    struct emit_mark mark = emit_mark(emitter);
    enum emit_form form = EMIT_EXACT;
    bool *is_said = arena_alloc(emitter->emit->arena, count * sizeof(*is_said));
    bool is_first = true;
    const struct ast *node = first;

    if (is_said == NULL || !emit_spend(emitter))
        return EMIT_NOTHING;
    emit_raw(emitter, "(");
    if (contained_siblings(emitter, first, count, is_said))
        is_first = false;
    for (size_t i = 0; i < count; i++, node = node->next) {
        struct emit_mark before = emit_mark(emitter);
        bool was_first = is_first;

        if (is_said[i])
            continue;
        append_and(emitter, &is_first);
        enum emit_form one = condition(emitter, node);
        if (one == EMIT_NOTHING) {
            emit_back(emitter, before);
            is_first = was_first;
        }
        form = worse(form, one != EMIT_EXACT ? EMIT_SUPERSET : EMIT_EXACT);
    }
    emit_raw(emitter, ")");
    if (!is_first)
        return form;
    emit_back(emitter, mark);
    return EMIT_NOTHING;
}

/* ---- the item ---- */

bool emit_is_joined(const struct ast_query *query)
{
    for (const struct ast_source *source = query->sources; source != NULL; source = source->next) {
        if (source->kind != SOURCE_PATH)
            return true;
    }
    return false;
}

/* The first source is the item, or a path in it: everything joined is about one item. */
static bool begins_with_item(const struct ast_query *query)
{
    const struct ast_source *first = query->sources;

    while (first != NULL && first->query != NULL)
        first = first->query->sources;
    return first != NULL && query->outer == NULL;
}

void emit_bind_places(struct emitter *emitter, const struct ast_query *query)
{
    for (const struct ast_source *source = query->sources; source != NULL; source = source->next) {
        if (source->slot != 0)
            emitter->slots[source->slot] = (struct emit_slot){
                source->kind == SOURCE_PATH ? SLOT_PATH : SLOT_COLUMN, source->path};
    }
}

/* Conditions on the elements of joined arrays, as far as containment says them. */
enum contain_result emit_joined_hint(struct emitter *emitter, const struct ast_query *query)
{
    struct contained document = {0};

    emit_bind_places(emitter, query);
    enum contain_result result = emit_contain_rows(emitter, &document, query);
    if (document.children == NULL)
        return CONTAIN_NOTHING;
    struct slice json = emit_contained_json(emitter, &document);
    if (slice_is_absent(json))
        return CONTAIN_NOTHING;
    emit_contained_left(emitter);
    emit_raw(emitter, " @> ");
    sql_append_jsonb(emitter->sql, json);
    return result;
}

static enum emit_form joined(struct emitter *emitter, const struct ast_query *query)
{
    struct emit_mark mark = emit_mark(emitter);
    enum contain_result hint = CONTAIN_NOTHING;

    emit_raw(emitter, "(");
    if (query->where != NULL)
        hint = emit_joined_hint(emitter, query);
    if (hint == CONTAIN_ALL) {
        emit_raw(emitter, ")");
        return EMIT_EXACT;
    }
    bool has_hint = hint == CONTAIN_HINT;
    struct emit_mark behind_hint = emit_mark(emitter);
    if (has_hint)
        emit_raw(emitter, " and ");
    emit_raw(emitter, "exists(select 1");
    if (emit_rows(emitter, query, emit_filter)) {
        emit_raw(emitter, "))");
        return EMIT_EXACT;
    }
    emit_back(emitter, has_hint ? behind_hint : mark);
    if (!has_hint)
        return EMIT_NOTHING;
    emit_raw(emitter, ")");
    return EMIT_SUPERSET;
}

/* Sources that are one value each. */
static enum emit_form plain(struct emitter *emitter, const struct ast_query *query)
{
    struct emit_mark mark = emit_mark(emitter);
    enum emit_form form = EMIT_EXACT;
    bool has_filter;

    if (!emit_sources(emitter, query, "", ""))
        return EMIT_NOTHING;
    emit_raw(emitter, "(");
    has_filter = query->where != NULL;
    if (has_filter) {
        form = emit_search(emitter, query->where, 1);
        has_filter = form != EMIT_NOTHING;
    }
    if (!has_filter)
        emit_raw(emitter, "true");
    struct emit_mark before = emit_mark(emitter);
    if (!emit_sources_defined(emitter, query)) {
        emit_back(emitter, before);
        form = worse(form, EMIT_SUPERSET);
    } else if (form == EMIT_NOTHING && before.len != emitter->sql->text.len) {
        form = EMIT_SUPERSET;
    }
    emit_raw(emitter, ")");
    if (form == EMIT_NOTHING)
        emit_back(emitter, mark);
    return form;
}

enum emit_form emit_where(struct emit *emit, const struct ast_query *query, struct sql *sql)
{
    struct emitter emitter;
    enum emit_form form = EMIT_NOTHING;

    if (emitter_init(&emitter, emit, query, sql) && begins_with_item(query))
        form = emit_is_joined(query) ? joined(&emitter, query) : plain(&emitter, query);
    if (form == EMIT_NOTHING)
        buf_append_text(&sql->text, "true");
    return form;
}
