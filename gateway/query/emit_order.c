/*
 * ORDER BY in pages.
 *
 * A page begins behind the position of the last one: with all keys in one direction that is one
 * comparison of rows, which a btree over the same columns answers from its first entry on. With
 * mixed directions no comparison says it, and an OR of several would read everything before the
 * position (370 ms where 20,000 items lay there); so there is one select for each prefix of keys
 * that is equal to the position's, each in the order of the index, and they are merged.
 */
#include "query/emit_search.h"

#include "base/banned.h"

struct emit_order_key {
    struct index_path path;
    bool is_ts; /* the column */
    bool is_descending;
};

/* ---- the keys ---- */

static bool key_prepare(struct emitter *emitter, const struct ast_order *order,
                        struct emit_order_key *key)
{
    struct arena *arena = emitter->emit->arena;
    struct emit_place *place = arena_alloc(arena, sizeof(*place));

    if (place == NULL)
        return false;
    *place = (struct emit_place){0};
    key->is_descending = order->is_descending;
    key->is_ts = emit_is_ts(order->expression);
    if (key->is_ts) {
        static const struct index_step ts = {.name = {.ptr = "_ts", .len = 3}};

        key->path = (struct index_path){1, &ts};
        return true;
    }
    if (!emit_place(emitter, order->expression, place))
        return false;
    key->path = emit_place_path(place);
    return index_path_can_range(&key->path);
}

static bool order_has_index(const struct emit *emit, const struct emit_order *order)
{
    struct index_key keys[CHECK_ORDER_KEYS_MAX];

    if (order->count == 1 && order->keys[0].is_ts)
        return true;
    if (emit->indexes == NULL)
        return false;
    if (order->count == 1)
        return index_set_has_range(emit->indexes, &order->keys[0].path);
    for (unsigned i = 0; i < order->count; i++)
        keys[i] = (struct index_key){order->keys[i].path, order->keys[i].is_descending};
    return index_set_composite(emit->indexes, keys, order->count, NULL) != NULL;
}

bool emit_order(struct emit *emit, const struct ast_query *query, struct emit_order *order,
                bool *has_index)
{
    struct emitter emitter;
    struct sql none = {.arena = emit->arena};
    struct emit_order_key *keys = arena_alloc(emit->arena, CHECK_ORDER_KEYS_MAX * sizeof(*keys));

    *order = (struct emit_order){.arena = emit->arena, .keys = keys};
    if (keys == NULL || query->order_count == 0 || query->order_count > CHECK_ORDER_KEYS_MAX ||
        query->order_is_rank || !emitter_init(&emitter, emit, query, &none))
        return false;
    emit_bind_places(&emitter, query);
    for (const struct ast_order *at = query->order_by; at != NULL; at = at->next) {
        if (!key_prepare(&emitter, at, &keys[order->count++]))
            return false;
        order->is_mixed = order->is_mixed || at->is_descending != keys[0].is_descending;
    }
    order->is_descending = keys[0].is_descending;
    *has_index = order_has_index(emit, order);
    return true;
}

/* ---- pages ---- */

struct page {
    const struct emit_order *order;
    struct slice columns, from, where, limit;
    struct sql *sql;
};

static void raw(const struct page *page, const char *text)
{
    buf_append_text(&page->sql->text, text);
}

/* "rank, key" of a row, or "i.ts" */
static void append_pair(const struct page *page, const struct emit_order_key *key,
                        const char *direction)
{
    struct buf *text = &page->sql->text;

    if (key->is_ts) {
        raw(page, "i.ts");
    } else {
        index_append_rank(text, "i", &key->path);
        raw(page, direction);
        raw(page, ", ");
        index_append_key(text, "i", &key->path);
    }
    raw(page, direction);
}

/* The position's "rank, key", or its ts. */
static void append_values(const struct page *page, const struct emit_order_key *key,
                          const cJSON *value)
{
    struct emit_key found;

    if (key->is_ts) {
        sql_append_int8(page->sql, cJSON_IsNumber(value) ? (int64_t) value->valuedouble : 0);
        return;
    }
    if (!emit_key(page->order->arena, value, &found)) {
        page->sql->has_failed = true;
        return;
    }
    buf_printf(&page->sql->text, "%d::smallint, ", (int) found.rank);
    sql_append_jsonb(page->sql, found.json);
}

/* "(rank, key, …[, i.rid]) op (values)" over some of the keys. */
static void append_comparison(const struct page *page, const struct emit_position *position,
                              unsigned first, unsigned count, bool has_rid, const char *op)
{
    const struct emit_order_key *keys = page->order->keys;

    raw(page, " and (");
    for (unsigned i = first; i < first + count; i++) {
        raw(page, i > first ? ", " : "");
        append_pair(page, &keys[i], "");
    }
    raw(page, has_rid ? (count > 0 ? ", i.rid) " : "i.rid) ") : ") ");
    raw(page, op);
    raw(page, " (");
    for (unsigned i = first; i < first + count; i++) {
        raw(page, i > first ? ", " : "");
        append_values(page, &keys[i], position->values[i]);
    }
    raw(page, has_rid && count > 0 ? ", " : "");
    if (has_rid)
        buf_append_slice(&page->sql->text, position->rid);
    raw(page, ")");
}

static void append_select(const struct page *page)
{
    struct buf *text = &page->sql->text;

    raw(page, "(select ");
    buf_append_slice(text, page->columns);
    for (unsigned i = 0; i < page->order->count; i++) {
        const struct emit_order_key *key = &page->order->keys[i];

        if (key->is_ts) {
            buf_printf(text, ", %d::smallint as r%u, to_jsonb(i.ts) as k%u", (int) VALUE_NUMBER,
                       i + 1, i + 1);
            continue;
        }
        raw(page, ", ");
        index_append_rank(text, "i", &key->path);
        buf_printf(text, " as r%u, ", i + 1);
        index_append_key(text, "i", &key->path);
        buf_printf(text, " as k%u", i + 1);
    }
    raw(page, " from ");
    buf_append_slice(text, page->from);
    raw(page, " where ");
    buf_append_slice(text, page->where);
}

static void append_order(const struct page *page)
{
    raw(page, " order by ");
    for (unsigned i = 0; i < page->order->count; i++) {
        const struct emit_order_key *key = &page->order->keys[i];

        append_pair(page, key, key->is_descending ? " desc" : "");
        raw(page, ", ");
    }
    raw(page, page->order->is_descending ? "i.rid desc limit " : "i.rid limit ");
    buf_append_slice(&page->sql->text, page->limit);
    raw(page, ")");
}

/* Keys in one direction. */
static void append_beyond(const struct page *page, const struct emit_position *position)
{
    bool has_rid = position->beyond == EMIT_BEYOND_RID || position->beyond == EMIT_FROM_RID;
    bool is_strict = position->beyond == EMIT_BEYOND_RID || position->beyond == EMIT_BEYOND_KEYS;
    bool is_descending = page->order->is_descending;

    append_comparison(page, position, 0, page->order->count, has_rid,
                      is_descending ? (is_strict ? "<" : "<=") : (is_strict ? ">" : ">="));
}

/* The items whose first `equal` keys are the position's, and what follows is beyond it. */
static void append_part(const struct page *page, const struct emit_position *position,
                        unsigned equal)
{
    const struct emit_order *order = page->order;

    append_select(page);
    if (equal > 0)
        append_comparison(page, position, 0, equal, false, "=");
    if (equal < order->count)
        append_comparison(page, position, equal, 1, false,
                          order->keys[equal].is_descending ? "<" : ">");
    else if (position->beyond == EMIT_BEYOND_RID)
        append_comparison(page, position, 0, 0, true, order->is_descending ? "<" : ">");
    else if (position->beyond == EMIT_FROM_RID)
        append_comparison(page, position, 0, 0, true, order->is_descending ? "<=" : ">=");
    append_order(page);
}

static void append_parts(const struct page *page, const struct emit_position *position)
{
    unsigned equal = page->order->count;
    const char *before = "(select * from (";

    if (position->beyond == EMIT_BEYOND_KEYS)
        equal--;
    for (unsigned left = equal + 1; left > 0; left--) {
        raw(page, before);
        append_part(page, position, left - 1);
        before = " union all ";
    }
    raw(page, ") u order by ");
    emit_order_list(page->order, "u", page->sql);
    raw(page, page->order->is_descending ? ", u.rid desc limit " : ", u.rid limit ");
    buf_append_slice(&page->sql->text, page->limit);
    raw(page, ")");
}

void emit_order_page(const struct emit_order *order, struct slice columns, struct slice from,
                     struct slice where, const struct emit_position *position, struct slice limit,
                     struct sql *sql)
{
    struct page page = {order, columns, from, where, limit, sql};

    if (position != NULL && order->is_mixed) {
        append_parts(&page, position);
        return;
    }
    append_select(&page);
    if (position != NULL)
        append_beyond(&page, position);
    append_order(&page);
}

void emit_order_list(const struct emit_order *order, const char *alias, struct sql *sql)
{
    for (unsigned i = 0; i < order->count; i++) {
        const char *direction = order->keys[i].is_descending ? " desc" : "";

        buf_printf(&sql->text, "%s%s.r%u%s, %s.k%u%s", i > 0 ? ", " : "", alias, i + 1, direction,
                   alias, i + 1, direction);
    }
}
