/*
 * Queries inside expressions, and FROM.
 *
 * A source that is a path stands for the path; one that iterates an array becomes a lateral
 * function. Functions that return rows give none for NULL, and so an array that is no array has
 * no elements.
 */
#include "query/emit_query.h"

#include "query/functions.h"

#include "base/banned.h"

/* ---- FROM ---- */

/* Gather the results of this query before it is over: more than a row for a row. */
static bool is_gathered(const struct ast_query *query)
{
    return query->is_aggregate || query->is_distinct;
}

/* Loops inside each other, those of the queries around included. The evaluator stops after so much
 * work for one item; PostgreSQL would not before the statement's time is over. */
static bool is_too_nested(const struct ast_query *query)
{
    unsigned loops = 0;

    for (; query != NULL; query = query->outer) {
        for (const struct ast_source *source = query->sources; source != NULL;
             source = source->next)
            loops += source->kind != SOURCE_PATH;
    }
    return loops > EMIT_LOOPS_MAX;
}

static bool array_source(struct emitter *emitter, const struct ast_source *source)
{
    emit_raw(emitter, "jsonb_array_elements(case when jsonb_typeof(");
    if (!emit_scalar(emitter, source->path, KIND_JSONB))
        return false;
    emit_raw(emitter, ") = 'array' then ");
    if (!emit_scalar(emitter, source->path, KIND_JSONB))
        return false;
    buf_printf(&emitter->sql->text, " end) s%u(v)", source->slot);
    return true;
}

/* What a row of a query answers. */
static bool result_append(struct emitter *emitter, const struct ast_query *query)
{
    const struct ast_source *source = query->sources;

    if (!query->is_star)
        return emit_output(emitter, query->projection);
    if (source->slot == 0)
        return false;
    if (emitter->slots[source->slot].kind == SLOT_PATH)
        return emit_scalar(emitter, source->path, KIND_JSONB);
    buf_printf(&emitter->sql->text, "s%u.v", source->slot);
    return true;
}

static bool query_source(struct emitter *emitter, const struct ast_source *source)
{
    const struct ast_query *query = source->query;
    struct emit_mark mark = emit_mark(emitter);
    struct slice rows;

    if (is_gathered(query) || source->kind == SOURCE_ARRAY)
        return false;
    /* The select list stands before FROM, but its aliases are bound by FROM. */
    if (!emit_rows(emitter, query, emit_filter))
        return false;
    rows = emit_cut(emitter, mark);
    if (!emit_select(emitter, "(select ") || !result_append(emitter, query))
        return false;
    emit_raw(emitter, " as v");
    buf_append_slice(&emitter->sql->text, rows);
    buf_printf(&emitter->sql->text, ") s%u", source->slot);
    return true;
}

bool emit_sources(struct emitter *emitter, const struct ast_query *query, const char *first,
                  const char *next)
{
    const char *before = first;

    if (is_too_nested(query))
        return false;
    for (const struct ast_source *source = query->sources; source != NULL; source = source->next) {
        struct emit_slot *slot = &emitter->slots[source->slot];

        if (!emit_spend(emitter))
            return false;
        if (source->kind == SOURCE_PATH) {
            if (source->slot != 0)
                *slot = (struct emit_slot){SLOT_PATH, source->path};
            continue;
        }
        emit_raw(emitter, before);
        before = next;
        if (source->query == NULL ? !array_source(emitter, source) : !query_source(emitter, source))
            return false;
        *slot = (struct emit_slot){SLOT_COLUMN, source->query == NULL ? source->path : NULL};
    }
    return true;
}

bool emit_sources_defined(struct emitter *emitter, const struct ast_query *query)
{
    for (const struct ast_source *source = query->sources; source != NULL; source = source->next) {
        if (source->slot == 0 || source->kind == SOURCE_ARRAY)
            continue;
        emit_raw(emitter, " and ");
        if (source->kind == SOURCE_QUERY)
            buf_printf(&emitter->sql->text, "s%u.v", source->slot);
        else if (!emit_scalar(emitter, source->path, emit_kind_of(emitter, source->path)))
            return false;
        emit_raw(emitter, " is not null");
    }
    return true;
}

bool emit_rows(struct emitter *emitter, const struct ast_query *query, emit_append_fn *filter)
{
    if (!emit_sources(emitter, query, " from ", " cross join lateral "))
        return false;
    emit_raw(emitter, " where true");
    if (!emit_sources_defined(emitter, query))
        return false;
    if (query->where == NULL)
        return true;
    emit_raw(emitter, " and ");
    return filter(emitter, query->where);
}

bool emit_filter(struct emitter *emitter, const struct ast *where)
{
    return emit_scalar(emitter, where, KIND_BOOL);
}

/* The rows that the filter says no to. */
static bool refused_filter(struct emitter *emitter, const struct ast *where)
{
    emit_raw(emitter, "not ");
    return emit_scalar(emitter, where, KIND_BOOL);
}

struct slice emit_cut(struct emitter *emitter, struct emit_mark mark)
{
    struct buf *text = &emitter->sql->text;
    size_t len = text->len - mark.len;
    char *copy =
        text->has_failed ? NULL : arena_copy(emitter->emit->arena, text->ptr + mark.len, len);

    emitter->sql->has_failed |= copy == NULL;
    text->len = mark.len;
    return slice_make(copy != NULL ? copy : "", copy != NULL ? len : 0);
}

/* ---- EXISTS ---- */

/* Rows without a value are no results. */
static bool result_defined(struct emitter *emitter, const struct ast_query *query)
{
    const cJSON *value;

    if (query->is_star || !query->is_value || emit_is_item(emitter, query->projection))
        return true;
    if (emit_constant(emitter, query->projection, &value) && value != NULL)
        return true;
    emit_raw(emitter, " and ");
    if (!emit_output(emitter, query->projection))
        return false;
    emit_raw(emitter, " is not null");
    return true;
}

bool emit_exists(struct emitter *emitter, const struct ast_query *query, emit_append_fn *filter)
{
    if (query->is_aggregate)
        return false;
    if (!emit_select(emitter, "exists(select 1") || !emit_rows(emitter, query, filter) ||
        !result_defined(emitter, query))
        return false;
    emit_raw(emitter, ")");
    return true;
}

static bool exists(struct emitter *emitter, const struct ast *node)
{
    return emit_exists(emitter, node->query, emit_filter);
}

static bool all(struct emitter *emitter, const struct ast *node)
{
    if (node->query->where == NULL && !node->query->is_aggregate) {
        emit_raw(emitter, "true");
        return true;
    }
    emit_raw(emitter, "(not ");
    if (!emit_exists(emitter, node->query, refused_filter))
        return false;
    emit_raw(emitter, ")");
    return true;
}

/* ---- subqueries for a value ---- */

/* At most one row: no source multiplies. */
static bool is_single(const struct ast_query *query)
{
    for (const struct ast_source *source = query->sources; source != NULL; source = source->next) {
        if (source->kind != SOURCE_PATH)
            return false;
    }
    return true;
}

/*
 * The arguments of the aggregates are made in a query of their own: PostgreSQL would take an
 * aggregate of nothing but outer values for one of the outer query.
 */
static bool gathered_value(struct emitter *emitter, const struct ast_query *query,
                           enum emit_kind kind)
{
    const struct ast_query *outer = emitter->gathered;
    struct emit_mark mark = emit_mark(emitter);
    struct slice rows;

    if (query->group_by != NULL || query->is_distinct || !emit_rows(emitter, query, emit_filter))
        return false;
    rows = emit_cut(emitter, mark);
    for (unsigned i = 0; i < query->aggregate_count; i++) {
        emit_raw(emitter, i > 0 ? ", " : "");
        if (!emit_aggregate_argument(emitter, query->aggregates[i]))
            return false;
        buf_printf(&emitter->sql->text, " as v%u", i + 1);
    }
    buf_append_slice(&emitter->sql->text, rows);
    rows = emit_cut(emitter, mark);
    /* The rows are over: what the sources bound is nothing now. */
    for (const struct ast_source *source = query->sources; source != NULL; source = source->next)
        emitter->slots[source->slot] = (struct emit_slot){SLOT_UNBOUND, NULL};
    if (!emit_select(emitter, "(select "))
        return false;
    emitter->gathered = query;
    bool is_sound = emit_scalar(emitter, query->projection, kind);
    emitter->gathered = outer;
    emit_raw(emitter, " from (select ");
    buf_append_slice(&emitter->sql->text, rows);
    emit_raw(emitter, " offset 0) x having true)");
    return is_sound;
}

static bool single_value(struct emitter *emitter, const struct ast_query *query,
                         enum emit_kind kind)
{
    struct emit_mark mark = emit_mark(emitter);
    struct slice rows;

    if (!is_single(query) || query->is_star || query->is_distinct ||
        !emit_rows(emitter, query, emit_filter))
        return false;
    rows = emit_cut(emitter, mark);
    if (emit_may_overflow(emitter, query->projection))
        return false;
    if (!emit_select(emitter, "(select ") || !emit_scalar(emitter, query->projection, kind))
        return false;
    buf_append_slice(&emitter->sql->text, rows);
    emit_raw(emitter, ")");
    return true;
}

bool emit_query_value(struct emitter *emitter, const struct ast *node, enum emit_kind kind)
{
    switch (node->kind) {
    case AST_EXISTS:
        return emit_converted(emitter, node, KIND_BOOL, kind, exists);
    case AST_ALL:
        return emit_converted(emitter, node, KIND_BOOL, kind, all);
    case AST_SUBQUERY:
        return node->query->is_aggregate ? gathered_value(emitter, node->query, kind)
                                         : single_value(emitter, node->query, kind);
    default:
        return false; /* ARRAY, FIRST, LAST: in the order of the rows */
    }
}
