#include "model/json_tree.h"

#include "model/json.h"

#include <assert.h>
#include <limits.h>
#include <math.h>
#include <string.h>

#include "base/banned.h"

/* A place in text that is known to be good. */
struct reader {
    struct arena *arena;
    const char *at, *end;
};

static cJSON *read_value(struct reader *reader);

static void skip_space(struct reader *reader)
{
    while (*reader->at == ' ' || *reader->at == '\n' || *reader->at == '\r' || *reader->at == '\t')
        reader->at++;
}

static cJSON *node(struct arena *arena, int type)
{
    cJSON *made = arena_alloc(arena, sizeof(*made));

    if (made != NULL)
        made->type = type;
    return made;
}

/* cJSON finds the last child in the first one's prev. */
static void append(cJSON *parent, cJSON *child)
{
    if (parent->child == NULL) {
        parent->child = child;
        child->prev = child;
        return;
    }
    cJSON *last = parent->child->prev;
    last->next = child;
    child->prev = last;
    parent->child->prev = child;
}

static const char *find(const struct reader *reader, const char *from, char wanted)
{
    const char *found = memchr(from, wanted, (size_t) (reader->end - from));

    assert(found != NULL);
    return found;
}

/* The characters of the string that begins here, terminated. */
static char *read_text(struct reader *reader)
{
    const char *start = reader->at, *at = find(reader, start + 1, '"');
    const char *escape = memchr(start + 1, '\\', (size_t) (at - start - 1));
    struct slice decoded;
    struct fault fault;

    /* Most texts have no escape and end at the first quote. */
    if (escape == NULL) {
        reader->at = at + 1;
        return arena_copy(reader->arena, start + 1, (size_t) (at - start - 1));
    }
    for (at = escape; *at != '"';) {
        at += *at == '\\' ? 2 : 1;
        assert(at < reader->end);
    }
    reader->at = at + 1;
    /* An escape is longer than what it stands for, and memory of an arena is zeroed: terminated. */
    if (!json_string_decode(slice_make(start, (size_t) (reader->at - start)), reader->arena,
                            &decoded, &fault))
        return NULL;
    return (char *) (uintptr_t) decoded.ptr;
}

/* Is this a character of a number? What may follow one is none. */
static bool is_of_number(char c)
{
    return (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '+' || c == 'e' || c == 'E';
}

static cJSON *read_number(struct reader *reader)
{
    const char *at = reader->at;

    while (at < reader->end && is_of_number(*at))
        at++;
    struct slice text = slice_make(reader->at, (size_t) (at - reader->at));
    reader->at = at;
    return json_tree_number(reader->arena, json_number(text));
}

static cJSON *read_word(struct reader *reader, int type, size_t len)
{
    reader->at += len;
    return node(reader->arena, type);
}

static cJSON *read_array(struct reader *reader)
{
    cJSON *array = node(reader->arena, cJSON_Array);

    reader->at++;
    skip_space(reader);
    while (array != NULL && *reader->at != ']') {
        cJSON *element = read_value(reader);
        if (element == NULL)
            return NULL;
        append(array, element);
        skip_space(reader);
        if (*reader->at == ',')
            reader->at++;
        skip_space(reader);
    }
    reader->at++;
    return array;
}

static cJSON *read_object(struct reader *reader)
{
    cJSON *object = node(reader->arena, cJSON_Object);

    reader->at++;
    skip_space(reader);
    while (object != NULL && *reader->at != '}') {
        char *name = read_text(reader);
        skip_space(reader);
        reader->at++; /* the colon */
        cJSON *member = name != NULL ? read_value(reader) : NULL;
        if (member == NULL)
            return NULL;
        json_tree_add(object, name, member);
        skip_space(reader);
        if (*reader->at == ',')
            reader->at++;
        skip_space(reader);
    }
    reader->at++;
    return object;
}

/* Recursion: the text's depth was limited when it was checked. */
static cJSON *read_value(struct reader *reader)
{
    skip_space(reader);
    switch (*reader->at) {
    case '{':
        return read_object(reader);
    case '[':
        return read_array(reader);
    case '"': {
        cJSON *string = node(reader->arena, cJSON_String);
        if (string != NULL)
            string->valuestring = read_text(reader);
        return string != NULL && string->valuestring != NULL ? string : NULL;
    }
    case 't':
        return read_word(reader, cJSON_True, 4);
    case 'f':
        return read_word(reader, cJSON_False, 5);
    case 'n':
        return read_word(reader, cJSON_NULL, 4);
    default:
        return read_number(reader);
    }
}

cJSON *json_tree(struct arena *arena, struct slice value)
{
    struct reader reader = {.arena = arena, .at = value.ptr, .end = value.ptr + value.len};

    return read_value(&reader);
}

cJSON *json_tree_string(struct arena *arena, struct slice text)
{
    cJSON *string = node(arena, cJSON_String);

    if (string != NULL)
        string->valuestring = arena_copy(arena, text.ptr, text.len);
    return string != NULL && string->valuestring != NULL ? string : NULL;
}

cJSON *json_tree_number(struct arena *arena, double number)
{
    cJSON *made = node(arena, cJSON_Number);

    if (made == NULL)
        return NULL;
    made->valuedouble = number;
    made->valueint = number >= INT_MAX ? INT_MAX : number <= INT_MIN ? INT_MIN : (int) number;
    return made;
}

void json_tree_add(cJSON *object, const char *name, cJSON *member)
{
    member->string = (char *) (uintptr_t) name;
    append(object, member);
}

/* ---- printing ---- */

static bool has_text(const cJSON *tree)
{
    return !cJSON_IsNumber(tree) || isfinite(tree->valuedouble);
}

static void print_children(struct buf *out, const cJSON *tree)
{
    bool is_first = true;

    for (const cJSON *child = tree->child; child != NULL; child = child->next) {
        if (!has_text(child))
            continue;
        if (!is_first)
            buf_append_char(out, ',');
        is_first = false;
        if (cJSON_IsObject(tree)) {
            buf_append_json_string(out, slice_from_text(child->string));
            buf_append_char(out, ':');
        }
        json_tree_print(out, child);
    }
}

/* Whole numbers that a double holds exactly are most of all, and cheap. */
static void print_number(struct buf *out, double number)
{
    char text[JSON_NUMBER_BYTES];

    if (!isfinite(number))
        buf_append_text(out, "null");
    else if (fabs(number) < 0x1p53 && number == (double) (int64_t) number)
        buf_append_i64(out, (int64_t) number);
    else
        buf_append(out, text, json_print_double(number, text));
}

void json_tree_print(struct buf *out, const cJSON *tree)
{
    switch (tree->type & 0xff) {
    case cJSON_False:
        buf_append_text(out, "false");
        break;
    case cJSON_True:
        buf_append_text(out, "true");
        break;
    case cJSON_Number:
        print_number(out, tree->valuedouble);
        break;
    case cJSON_String:
        buf_append_json_string(out, slice_from_text(tree->valuestring));
        break;
    case cJSON_Array:
        buf_append_char(out, '[');
        print_children(out, tree);
        buf_append_char(out, ']');
        break;
    case cJSON_Object:
        buf_append_char(out, '{');
        print_children(out, tree);
        buf_append_char(out, '}');
        break;
    default:
        buf_append_text(out, "null");
        break;
    }
}
