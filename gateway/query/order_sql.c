#include "query/order_sql.h"

#include "model/json.h"

#include <math.h>
#include <string.h>

#include "base/banned.h"

/* From here on a key may hold only the beginning of a string (orrery.value_key). */
#define KEY_OCTETS 200

/* Count the members of a chain over the item; 0 when it is another expression. */
static size_t path_length(const struct ast *node)
{
    size_t count = 0;

    for (; node->kind == AST_MEMBER && node->computed == NULL; node = node->children) {
        if (memchr(node->name.ptr, '\0', node->name.len) != NULL)
            return 0;
        count++;
    }
    return node->kind == AST_ALIAS && node->slot == 0 ? count : 0;
}

static bool key_prepare(struct index_key *key, const struct ast_order *order, struct arena *arena)
{
    size_t count = path_length(order->expression);
    struct index_step *steps;

    if (count == 0 || count > INDEX_STEPS_MAX ||
        (steps = arena_alloc(arena, count * sizeof(*steps))) == NULL)
        return false;
    key->is_descending = order->is_descending;
    key->path = (struct index_path){.count = count, .steps = steps};
    for (const struct ast *node = order->expression; count > 0; node = node->children)
        steps[--count] = (struct index_step){.name = node->name};
    return index_path_can_range(&key->path);
}

bool order_sql_prepare(struct order_sql *order, const struct ast_query *query, struct arena *arena)
{
    const struct ast_order *key = query->order_by;

    *order = (struct order_sql){0};
    if (query->order_is_rank)
        return false;
    for (; key != NULL; key = key->next) {
        if (order->count == TOPK_KEYS_MAX || !key_prepare(&order->keys[order->count], key, arena))
            return false;
        order->count++;
    }
    return order->count > 0;
}

void order_sql_columns(const struct order_sql *order, struct sql *sql)
{
    for (unsigned i = 0; i < order->count; i++) {
        const struct index_path *path = &order->keys[i].path;
        buf_append_text(&sql->text, ", ");
        if (index_path_is_ts(path)) {
            buf_printf(&sql->text, "i.ts as r%u, null::jsonb as k%u", i, i);
            continue;
        }
        index_append_rank(&sql->text, "i", path);
        buf_printf(&sql->text, " as r%u, ", i);
        index_append_key(&sql->text, "i", path);
        buf_printf(&sql->text, " as k%u", i);
    }
}

void order_sql_list(const struct order_sql *order, struct sql *sql)
{
    for (unsigned i = 0; i < order->count; i++) {
        const char *direction = order->keys[i].is_descending ? " desc" : "";
        buf_printf(&sql->text, "%sr%u%s", i > 0 ? ", " : "", i, direction);
        if (!index_path_is_ts(&order->keys[i].path))
            buf_printf(&sql->text, ", k%u%s", i, direction);
    }
}

void order_sql_blurred(const struct order_sql *order, struct sql *sql)
{
    buf_append_text(&sql->text, "(false");
    for (unsigned i = 0; i < order->count; i++) {
        if (index_path_is_ts(&order->keys[i].path))
            continue;
        buf_printf(&sql->text, " or r%u > 4 or r%u = 4 and octet_length(k%u #>> '{}') >= %d", i, i,
                   i, KEY_OCTETS);
    }
    buf_append_char(&sql->text, ')');
}

/* ---- Positions ---- */

bool order_sql_tells(const struct order_sql *order, const struct sort_value *values)
{
    for (unsigned i = 0; i < order->count; i++) {
        const struct sort_value *value = &values[i];
        if (index_path_is_ts(&order->keys[i].path) &&
            !(value->rank == VALUE_NUMBER && fabs(value->number) < 1e15 &&
              value->number == (double) (int64_t) value->number))
            return false;
        if (value->rank > VALUE_STRING ||
            (value->rank == VALUE_STRING && value->text.len >= KEY_OCTETS))
            return false;
    }
    return true;
}

/* As orrery.value_key has it, of a value that is not blurred. */
static struct slice key_json(const struct sort_value *value, struct sql *sql)
{
    char number[JSON_NUMBER_BYTES];
    struct buf text = {0};

    if (value->rank == VALUE_BOOLEAN)
        buf_append_text(&text, value->number != 0 ? "true" : "false");
    else if (value->rank == VALUE_NUMBER)
        buf_append(&text, number, json_print_double(value->number, number));
    else if (value->rank == VALUE_STRING)
        buf_append_json_string(&text, value->text);
    else
        buf_append_text(&text, "null");
    char *copy = text.has_failed ? NULL : arena_copy(sql->arena, text.ptr, text.len);
    size_t len = text.len;
    buf_finish(&text);
    sql->has_failed |= copy == NULL;
    return slice_make(copy, copy != NULL ? len : 0);
}

/* The columns of a key, or the values that a position has for them. */
static void append_key(const struct index_key *key, const struct sort_value *value, struct sql *sql)
{
    bool is_ts = index_path_is_ts(&key->path);

    if (value != NULL && is_ts) {
        sql_append_int8(sql, (int64_t) value->number);
    } else if (value != NULL) {
        sql_append_int8(sql, (int64_t) value->rank); /* as orrery.value_rank counts */
        buf_append_text(&sql->text, ", ");
        sql_append_jsonb(sql, key_json(value, sql));
    } else if (is_ts) {
        buf_append_text(&sql->text, "i.ts");
    } else {
        index_append_rank(&sql->text, "i", &key->path);
        buf_append_text(&sql->text, ", ");
        index_append_key(&sql->text, "i", &key->path);
    }
}

/* The columns of the order, the item's rid being behind the keys; values NULL for the columns
 * themselves, else what a position has for them. */
static void append_columns(const struct order_sql *order, unsigned from, unsigned to,
                           const struct order_page *at, struct sql *sql)
{
    for (unsigned i = from; i < to; i++) {
        if (i > from)
            buf_append_text(&sql->text, ", ");
        if (i < order->count)
            append_key(&order->keys[i], at != NULL ? &at->values[i] : NULL, sql);
        else
            buf_append_slice(&sql->text, at != NULL ? at->bound : SLICE_LITERAL("i.rid"));
    }
}

static bool is_descending(const struct order_sql *order, unsigned column)
{
    return order->keys[column < order->count ? column : 0].is_descending;
}

/* Behind the last of the columns from one on that have its direction. */
static unsigned run_end(const struct order_sql *order, unsigned from)
{
    unsigned end = from + 1;

    while (end <= order->count && is_descending(order, end) == is_descending(order, from))
        end++;
    return end;
}

/* Beyond the position by the columns of a run, those before them being equal. */
static void append_beyond(const struct order_sql *order, const struct order_page *page,
                          unsigned from, unsigned to, struct sql *sql)
{
    buf_append_text(&sql->text, " and (");
    if (from > 0) {
        append_columns(order, 0, from, NULL, sql);
        buf_append_text(&sql->text, ") = (");
        append_columns(order, 0, from, page, sql);
        buf_append_text(&sql->text, ") and (");
    }
    append_columns(order, from, to, NULL, sql);
    buf_append_text(&sql->text, is_descending(order, from) ? ") < (" : ") > (");
    append_columns(order, from, to, page, sql);
    buf_append_char(&sql->text, ')');
}

/* ---- Pages ---- */

static void append_order(const struct order_sql *order, const struct order_page *page,
                         struct sql *sql)
{
    buf_append_text(&sql->text, " order by ");
    order_sql_list(order, sql);
    buf_printf(&sql->text, ", rid%s limit %s", is_descending(order, 0) ? " desc" : "", page->limit);
}

static void append_select(const struct order_sql *order, const struct order_page *page,
                          unsigned from, unsigned to, struct sql *sql)
{
    buf_append_slice(&sql->text, page->columns);
    order_sql_columns(order, sql);
    buf_append_slice(&sql->text, page->from);
    if (page->values != NULL)
        append_beyond(order, page, from, to, sql);
    append_order(order, page, sql);
}

/* What the pieces before this one leave of the limit. */
static void append_rest(const struct order_page *page, unsigned piece, struct sql *sql)
{
    buf_printf(&sql->text, " p limit %s", page->limit);
    for (unsigned i = 0; i < piece; i++)
        buf_printf(&sql->text, " - (select count(*) from p%u)", i);
}

/* Piece after piece, from the nearest on: the last run of columns is the first in which an item
 * may differ from the position. */
static unsigned append_pieces(const struct order_sql *order, const struct order_page *page,
                              struct sql *sql)
{
    unsigned ends[TOPK_KEYS_MAX + 1], runs = 0;

    for (unsigned from = 0; from <= order->count; from = ends[runs++])
        ends[runs] = run_end(order, from);
    for (unsigned piece = 0; piece < runs; piece++) {
        unsigned run = runs - piece - 1;
        buf_printf(&sql->text, "%sp%u as materialized (select * from (", piece > 0 ? ", " : "",
                   piece);
        append_select(order, page, run > 0 ? ends[run - 1] : 0, ends[run], sql);
        buf_append_char(&sql->text, ')');
        append_rest(page, piece, sql);
        buf_append_char(&sql->text, ')');
    }
    return runs;
}

void order_sql_page(const struct order_sql *order, const struct order_page *page, struct sql *sql)
{
    if (page->values == NULL || run_end(order, 0) > order->count) {
        append_select(order, page, 0, order->count + 1, sql);
        return;
    }
    buf_append_text(&sql->text, "select * from (with ");
    unsigned pieces = append_pieces(order, page, sql);
    for (unsigned piece = 0; piece < pieces; piece++)
        buf_printf(&sql->text, "%s select * from p%u", piece > 0 ? " union all" : "", piece);
    buf_append_text(&sql->text, ") p");
    append_order(order, page, sql);
}
