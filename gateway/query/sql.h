/*
 * A statement of PostgreSQL in the making: its text, and the values of its numbered parameters.
 *
 * Everything that a client wrote travels as a parameter, so that one query asked with other values
 * has the same text and can stay prepared. The text casts each parameter ($3::jsonb); how a value
 * gets there is the business of whoever sends the statement. Both live in one arena.
 */
#ifndef ORRERY_QUERY_SQL_H
#define ORRERY_QUERY_SQL_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/compiler.h"

#include <stdint.h>

/* PostgreSQL's protocol counts parameters with 16 bits; the rest is left to the statement around.
 */
#define SQL_PARAMS_MAX 65000

enum sql_type {
    SQL_TEXT,        /* text: UTF-8 */
    SQL_JSONB,       /* text: JSON, numbers as json_print_double writes them */
    SQL_FLOAT8,      /* number */
    SQL_INT8,        /* integer */
    SQL_BYTEA,       /* text: bytes */
    SQL_JSONB_ARRAY, /* elements: each JSON */
    SQL_TEXT_ARRAY,  /* elements */
};

struct sql_param {
    enum sql_type type;
    struct slice text;
    double number; /* finite */
    int64_t integer;
    const struct slice *elements;
    size_t element_count;
};

struct sql {
    struct arena *arena;
    struct buf text;
    struct sql_param *params; /* the first is number first_param + 1 */
    unsigned param_count, param_capacity;
    unsigned first_param; /* parameters that the caller numbers itself, before these */
    bool has_failed;      /* memory or parameters ran out; the text has a flag of its own */
};

/* Begin; the text is freed with the arena. False without memory. */
bool sql_init(struct sql *sql, struct arena *arena, unsigned first_param) MUST_CHECK;

/* Whether all that was appended is there. */
static inline bool sql_is_whole(const struct sql *sql)
{
    return !sql->has_failed && !sql->text.has_failed;
}

/*
 * The text so far, terminated, in the arena; the statement then begins anew with the same
 * parameters. For fragments that are put together later, or used twice. Absent without memory.
 */
struct slice sql_take(struct sql *sql);

/* Append "$n::type" for a value; what the slices point to is borrowed. A value that the statement
 * has already, of the same type and in the same memory, keeps its number. */
void sql_append_text(struct sql *sql, struct slice text);
void sql_append_jsonb(struct sql *sql, struct slice json);
void sql_append_float8(struct sql *sql, double number);
void sql_append_int8(struct sql *sql, int64_t integer);
void sql_append_bytea(struct sql *sql, struct slice bytes);
void sql_append_jsonb_array(struct sql *sql, const struct slice *elements, size_t count);
void sql_append_text_array(struct sql *sql, const struct slice *elements, size_t count);

/* Append a quoted string constant. For names that are part of a path, which index expressions must
 * repeat letter by letter; never for values. */
void sql_append_quoted(struct sql *sql, struct slice text);

#endif
