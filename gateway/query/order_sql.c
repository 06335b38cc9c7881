#include "query/order_sql.h"

#include "model/json.h"

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

static void append_keys(const struct order_sql *order, unsigned from, unsigned to,
                        const struct sort_value *values, struct sql *sql)
{
    for (unsigned i = from; i < to; i++) {
        if (i > from)
            buf_append_text(&sql->text, ", ");
        append_key(&order->keys[i], values != NULL ? &values[i] : NULL, sql);
    }
}

static const char *beyond(bool is_descending)
{
    return is_descending ? ") < (" : ") > (";
}

static bool has_one_direction(const struct order_sql *order)
{
    for (unsigned i = 1; i < order->count; i++) {
        if (order->keys[i].is_descending != order->keys[0].is_descending)
            return false;
    }
    return true;
}

/* Beyond by key number `last`, the ones before it being equal. */
static void append_prefix(const struct order_sql *order, const struct sort_value *values,
                          unsigned last, struct sql *sql)
{
    buf_append_text(&sql->text, "(");
    if (last > 0) {
        buf_append_text(&sql->text, "(");
        append_keys(order, 0, last, NULL, sql);
        buf_append_text(&sql->text, ") = (");
        append_keys(order, 0, last, values, sql);
        buf_append_text(&sql->text, ") and ");
    }
    buf_append_text(&sql->text, "(");
    append_keys(order, last, last + 1, NULL, sql);
    buf_append_text(&sql->text, beyond(order->keys[last].is_descending));
    append_keys(order, last, last + 1, values, sql);
    buf_append_text(&sql->text, ")) or ");
}

void order_sql_beyond(const struct order_sql *order, const struct sort_value *values,
                      struct slice bound, struct sql *sql)
{
    bool is_descending = order->keys[0].is_descending;
    unsigned count = order->count;

    if (has_one_direction(order)) {
        buf_append_text(&sql->text, "(");
        append_keys(order, 0, count, NULL, sql);
        buf_printf(&sql->text, ", i.rid%s", beyond(is_descending));
        append_keys(order, 0, count, values, sql);
        buf_append_text(&sql->text, ", ");
        buf_append_slice(&sql->text, bound);
        buf_append_char(&sql->text, ')');
        return;
    }
    buf_append_text(&sql->text, "(");
    for (unsigned i = 0; i < count; i++)
        append_prefix(order, values, i, sql);
    buf_append_text(&sql->text, "((");
    append_keys(order, 0, count, NULL, sql);
    buf_append_text(&sql->text, ") = (");
    append_keys(order, 0, count, values, sql);
    buf_printf(&sql->text, ") and (i.rid%s", beyond(is_descending));
    buf_append_slice(&sql->text, bound);
    buf_append_text(&sql->text, ")))");
}
