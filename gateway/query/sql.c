#include "query/sql.h"

#include "base/banned.h"

/* How far back a value is looked for. Beyond it a number more costs less than the search. */
#define REUSE_DEPTH 32

static void finish_text(void *text)
{
    buf_finish(text);
}

bool sql_init(struct sql *sql, struct arena *arena, unsigned first_param)
{
    *sql = (struct sql){.arena = arena, .first_param = first_param};
    return arena_defer(arena, finish_text, &sql->text);
}

struct slice sql_take(struct sql *sql)
{
    char *copy = sql_is_whole(sql) ? arena_copy(sql->arena, sql->text.ptr, sql->text.len) : NULL;
    size_t len = sql->text.len;

    sql->text.len = 0;
    if (copy == NULL) {
        sql->has_failed = true;
        return (struct slice){0};
    }
    return slice_make(copy, len);
}

static bool param_equals(const struct sql_param *a, const struct sql_param *b)
{
    return a->type == b->type && a->text.ptr == b->text.ptr && a->text.len == b->text.len &&
           memcmp(&a->number, &b->number, sizeof(a->number)) == 0 && a->integer == b->integer &&
           a->elements == b->elements && a->element_count == b->element_count;
}

/* Room for one more. */
static bool params_reserve(struct sql *sql)
{
    unsigned count = sql->param_count, capacity = count > 0 ? 2 * count : 16;

    if (count < sql->param_capacity)
        return true;
    struct sql_param *more = arena_alloc(sql->arena, capacity * sizeof(*more));
    if (more == NULL)
        return false;
    if (count > 0)
        memcpy(more, sql->params, count * sizeof(*more));
    sql->params = more;
    sql->param_capacity = capacity;
    return true;
}

/* The index of a parameter with that value, found or added. */
static unsigned param_index(struct sql *sql, const struct sql_param *param)
{
    unsigned count = sql->param_count;

    for (unsigned i = count; i > 0 && count - i < REUSE_DEPTH; i--) {
        if (param_equals(&sql->params[i - 1], param))
            return i - 1;
    }
    if (sql->first_param + count >= SQL_PARAMS_MAX || !params_reserve(sql)) {
        sql->has_failed = true;
        return 0;
    }
    sql->params[count] = *param;
    sql->param_count++;
    return count;
}

static void append_param(struct sql *sql, const struct sql_param *param, const char *type)
{
    buf_append_char(&sql->text, '$');
    buf_append_u64(&sql->text, (uint64_t) sql->first_param + param_index(sql, param) + 1);
    buf_append_text(&sql->text, type);
}

void sql_append_text(struct sql *sql, struct slice text)
{
    append_param(sql, &(struct sql_param){.type = SQL_TEXT, .text = text}, "::text");
}

void sql_append_jsonb(struct sql *sql, struct slice json)
{
    append_param(sql, &(struct sql_param){.type = SQL_JSONB, .text = json}, "::jsonb");
}

void sql_append_float8(struct sql *sql, double number)
{
    append_param(sql, &(struct sql_param){.type = SQL_FLOAT8, .number = number}, "::float8");
}

void sql_append_int8(struct sql *sql, int64_t integer)
{
    append_param(sql, &(struct sql_param){.type = SQL_INT8, .integer = integer}, "::int8");
}

void sql_append_bytea(struct sql *sql, struct slice bytes)
{
    append_param(sql, &(struct sql_param){.type = SQL_BYTEA, .text = bytes}, "::bytea");
}

void sql_append_jsonb_array(struct sql *sql, const struct slice *elements, size_t count)
{
    append_param(
        sql,
        &(struct sql_param){.type = SQL_JSONB_ARRAY, .elements = elements, .element_count = count},
        "::jsonb[]");
}

void sql_append_text_array(struct sql *sql, const struct slice *elements, size_t count)
{
    append_param(
        sql,
        &(struct sql_param){.type = SQL_TEXT_ARRAY, .elements = elements, .element_count = count},
        "::text[]");
}

/* Right whatever standard_conforming_strings says: backslashes only stand in E'', doubled. */
void sql_append_quoted(struct sql *sql, struct slice text)
{
    if (text.len > 0 && memchr(text.ptr, '\\', text.len) != NULL)
        buf_append_char(&sql->text, 'E');
    buf_append_char(&sql->text, '\'');
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] == '\'' || text.ptr[i] == '\\')
            buf_append_char(&sql->text, text.ptr[i]);
        buf_append_char(&sql->text, text.ptr[i]);
    }
    buf_append_char(&sql->text, '\'');
}
