/*
 * String functions. Positions and lengths count UTF-16 code units; half of a supplementary
 * character is never cut off, it goes with the whole.
 */
#include "query/functions.h"

#include "model/json.h"
#include "query/text.h"

#include <math.h>

#include "base/banned.h"

/* REPLICATE's longest result. */
#define REPLICATE_UNITS_MAX 10000

static bool strings(const cJSON *const *args, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!cJSON_IsString(args[i]))
            return false;
    }
    return true;
}

/* Code units of a text, paid for. */
static size_t units(struct eval *eval, struct slice text)
{
    return eval_spend(eval, text.len / 16) ? text_units(text) : 0;
}

/* Where a code unit stands, paid for as far as it is. */
static size_t unit_offset(struct eval *eval, struct slice text, size_t unit)
{
    size_t offset = text_unit_offset(text, unit);

    return eval_spend(eval, offset / 16) ? offset : 0;
}

/* A whole number, as a count that is clamped to what any string can hold. */
static bool whole(const cJSON *value, long *number)
{
    if (!cJSON_IsNumber(value) || value->valuedouble != trunc(value->valuedouble))
        return false;
    *number = (long) fmax(-1e9, fmin(1e9, value->valuedouble));
    return true;
}

/* Search, paid for. The backward one compares at every place. */
static size_t find(struct eval *eval, struct slice text, struct slice wanted, size_t from)
{
    return eval_spend(eval, 1 + text.len / 16) ? text_find(text, wanted, from) : SIZE_MAX;
}

static size_t find_last(struct eval *eval, struct slice text, struct slice wanted, size_t from)
{
    size_t compared = text.len * (1 + wanted.len / 16) / 4;

    return eval_spend(eval, 1 + compared) ? text_find_last(text, wanted, from) : SIZE_MAX;
}

/* Every character through a mapping. */
static const cJSON *mapped(struct eval *eval, const cJSON *string, uint32_t (*map)(uint32_t))
{
    struct slice text = value_text(string);
    struct buf result = {0};

    if (!eval_spend(eval, text.len / 4))
        return NULL;
    for (size_t at = 0; at < text.len;)
        text_append(&result, map(text_next(text, &at)));
    return value_string_take(eval, &result);
}

const cJSON *function_lower(struct eval *eval, const cJSON *const *args, size_t count)
{
    return strings(args, count) ? mapped(eval, args[0], text_lower) : NULL;
}

const cJSON *function_upper(struct eval *eval, const cJSON *const *args, size_t count)
{
    return strings(args, count) ? mapped(eval, args[0], text_upper) : NULL;
}

const cJSON *function_concat(struct eval *eval, const cJSON *const *args, size_t count)
{
    struct buf result = {0};

    if (!strings(args, count))
        return NULL;
    for (size_t i = 0; i < count && value_text_append(eval, &result, value_text(args[i]));)
        i++;
    return value_string_take(eval, &result);
}

const cJSON *function_length(struct eval *eval, const cJSON *const *args, size_t count)
{
    return strings(args, count) ? value_number(eval, (double) units(eval, value_text(args[0])))
                                : NULL;
}

/*
 * The two strings of CONTAINS and its kin, folded to one case when the third argument is true.
 * False when the call is undefined.
 */
static bool pair(struct eval *eval, const cJSON *const *args, size_t count, struct slice *text,
                 struct slice *wanted)
{
    const cJSON *subject = args[0], *needle = args[1];

    if (!strings(args, 2) || (count > 2 && !cJSON_IsBool(args[2])))
        return false;
    if (count > 2 && cJSON_IsTrue(args[2])) {
        subject = mapped(eval, subject, text_upper);
        needle = mapped(eval, needle, text_upper);
    }
    if (subject == NULL || needle == NULL)
        return false;
    *text = value_text(subject);
    *wanted = value_text(needle);
    return true;
}

const cJSON *function_contains(struct eval *eval, const cJSON *const *args, size_t count)
{
    struct slice text, wanted;

    if (!pair(eval, args, count, &text, &wanted))
        return NULL;
    return value_bool(find(eval, text, wanted, 0) != SIZE_MAX);
}

const cJSON *function_startswith(struct eval *eval, const cJSON *const *args, size_t count)
{
    struct slice text, wanted;

    if (!pair(eval, args, count, &text, &wanted))
        return NULL;
    return value_bool(wanted.len <= text.len && memcmp(text.ptr, wanted.ptr, wanted.len) == 0);
}

const cJSON *function_endswith(struct eval *eval, const cJSON *const *args, size_t count)
{
    struct slice text, wanted;

    if (!pair(eval, args, count, &text, &wanted))
        return NULL;
    return value_bool(wanted.len <= text.len &&
                      memcmp(text.ptr + text.len - wanted.len, wanted.ptr, wanted.len) == 0);
}

const cJSON *function_stringequals(struct eval *eval, const cJSON *const *args, size_t count)
{
    struct slice text, wanted;

    return pair(eval, args, count, &text, &wanted) ? value_bool(slice_equals(text, wanted)) : NULL;
}

/* Is every needle (or any) inside the first argument? */
static const cJSON *contains_each(struct eval *eval, const cJSON *const *args, size_t count,
                                  bool ignores_case, bool deciding)
{
    if (!strings(args, count))
        return NULL;
    const cJSON *subject = ignores_case ? mapped(eval, args[0], text_upper) : args[0];
    for (size_t i = 1; i < count; i++) {
        const cJSON *needle = ignores_case ? mapped(eval, args[i], text_upper) : args[i];

        if (subject == NULL || needle == NULL)
            return NULL;
        bool is_found = find(eval, value_text(subject), value_text(needle), 0) != SIZE_MAX;
        if (is_found == deciding)
            return value_bool(deciding);
    }
    return value_bool(!deciding);
}

const cJSON *function_contains_all_cs(struct eval *eval, const cJSON *const *args, size_t count)
{
    return contains_each(eval, args, count, false, false);
}

const cJSON *function_contains_all_ci(struct eval *eval, const cJSON *const *args, size_t count)
{
    return contains_each(eval, args, count, true, false);
}

const cJSON *function_contains_any_cs(struct eval *eval, const cJSON *const *args, size_t count)
{
    return contains_each(eval, args, count, false, true);
}

const cJSON *function_contains_any_ci(struct eval *eval, const cJSON *const *args, size_t count)
{
    return contains_each(eval, args, count, true, true);
}

/* Where a search begins and what it found, in code units; -1 for nothing. */
static const cJSON *position(struct eval *eval, const cJSON *const *args, size_t count,
                             bool is_last)
{
    long start = 0;

    if (!strings(args, 2) || (count > 2 && !whole(args[2], &start)))
        return NULL;
    struct slice text = value_text(args[0]), wanted = value_text(args[1]);
    size_t from = unit_offset(eval, text, start > 0 ? (size_t) start : 0);
    size_t found = is_last ? find_last(eval, text, wanted, from) : find(eval, text, wanted, from);
    if (found == SIZE_MAX)
        return value_number(eval, -1);
    return value_number(eval, (double) units(eval, slice_make(text.ptr, found)));
}

const cJSON *function_index_of(struct eval *eval, const cJSON *const *args, size_t count)
{
    return position(eval, args, count, false);
}

const cJSON *function_last_index_of(struct eval *eval, const cJSON *const *args, size_t count)
{
    return position(eval, args, count, true);
}

/* Code units [start, start + length) of a text, clamped. */
static const cJSON *part(struct eval *eval, struct slice text, long start, long length)
{
    if (start < 0 || length <= 0)
        return value_string(eval, SLICE_LITERAL(""));
    size_t from = unit_offset(eval, text, (size_t) start);
    size_t to = unit_offset(eval, text, (size_t) start + (size_t) length);
    if (eval->has_failed)
        return NULL;
    return value_string(eval, slice_make(text.ptr + from, to - from));
}

const cJSON *function_left(struct eval *eval, const cJSON *const *args, size_t count)
{
    long length;

    (void) count;
    if (!strings(args, 1) || !whole(args[1], &length))
        return NULL;
    return part(eval, value_text(args[0]), 0, length);
}

const cJSON *function_right(struct eval *eval, const cJSON *const *args, size_t count)
{
    long length;

    (void) count;
    if (!strings(args, 1) || !whole(args[1], &length))
        return NULL;
    long all = (long) units(eval, value_text(args[0]));
    return part(eval, value_text(args[0]), length < all ? all - length : 0, length);
}

const cJSON *function_substring(struct eval *eval, const cJSON *const *args, size_t count)
{
    long start, length;

    (void) count;
    if (!strings(args, 1) || !whole(args[1], &start) || !whole(args[2], &length))
        return NULL;
    return part(eval, value_text(args[0]), start, length);
}

static bool set_holds(struct slice set, uint32_t character)
{
    for (size_t at = 0; at < set.len;) {
        if (text_next(set, &at) == character)
            return true;
    }
    return false;
}

/* Characters of a set (blanks without one) taken from the ends. */
static const cJSON *trimmed(struct eval *eval, const cJSON *const *args, size_t count,
                            bool at_start, bool at_end)
{
    if (!strings(args, count))
        return NULL;
    struct slice text = value_text(args[0]),
                 set = count > 1 ? value_text(args[1]) : (struct slice){0};
    size_t first = 0, last = text.len;
    bool is_leading = at_start;

    if (!eval_spend(eval, 1 + text.len * (1 + set.len) / 16))
        return NULL;
    if (at_end)
        last = 0;
    for (size_t at = 0; at < text.len;) {
        uint32_t c = text_next(text, &at);
        bool goes = count > 1 ? set_holds(set, c) : text_is_blank(c);

        is_leading = is_leading && goes;
        if (is_leading)
            first = at;
        if (at_end && !goes)
            last = at;
        if (!is_leading && !at_end)
            break;
    }
    return value_string(eval, slice_make(text.ptr + first, last > first ? last - first : 0));
}

const cJSON *function_ltrim(struct eval *eval, const cJSON *const *args, size_t count)
{
    return trimmed(eval, args, count, true, false);
}

const cJSON *function_rtrim(struct eval *eval, const cJSON *const *args, size_t count)
{
    return trimmed(eval, args, count, false, true);
}

const cJSON *function_trim(struct eval *eval, const cJSON *const *args, size_t count)
{
    return trimmed(eval, args, count, true, true);
}

const cJSON *function_replace(struct eval *eval, const cJSON *const *args, size_t count)
{
    struct buf result = {0};

    if (!strings(args, count))
        return NULL;
    struct slice text = value_text(args[0]), wanted = value_text(args[1]),
                 with = value_text(args[2]);
    if (wanted.len == 0 || !eval_spend(eval, text.len / 16))
        return NULL;
    for (size_t at = 0;;) {
        size_t found = text_find(text, wanted, at);
        size_t to = found != SIZE_MAX ? found : text.len;

        if (!value_text_append(eval, &result, slice_make(text.ptr + at, to - at)) ||
            found == SIZE_MAX || !value_text_append(eval, &result, with))
            break;
        at = found + wanted.len;
    }
    return value_string_take(eval, &result);
}

const cJSON *function_replicate(struct eval *eval, const cJSON *const *args, size_t count)
{
    struct buf result = {0};
    long times;

    (void) count;
    if (!strings(args, 1) || !whole(args[1], &times) || times < 0)
        return NULL;
    struct slice text = value_text(args[0]);
    if (text.len == 0)
        return args[0];
    if (times > REPLICATE_UNITS_MAX || units(eval, text) * (size_t) times > REPLICATE_UNITS_MAX)
        return NULL;
    while (times-- > 0 && value_text_append(eval, &result, text))
        ;
    return value_string_take(eval, &result);
}

const cJSON *function_reverse(struct eval *eval, const cJSON *const *args, size_t count)
{
    if (!strings(args, count))
        return NULL;
    struct slice text = value_text(args[0]);
    char *reversed = eval_spend(eval, text.len / 8) ? arena_alloc(eval->arena, text.len + 1) : NULL;
    if (reversed == NULL)
        return eval_oom(eval);
    for (size_t at = 0; at < text.len;) {
        size_t start = at;

        (void) text_next(text, &at);
        memcpy(reversed + text.len - at, text.ptr + start, at - start);
    }
    return value_string(eval, slice_make(reversed, text.len));
}

/* Before or after a delimiter; empty when the text has none. */
static const cJSON *around(struct eval *eval, const cJSON *const *args, bool is_last, bool is_after)
{
    if (!strings(args, 2))
        return NULL;
    struct slice text = value_text(args[0]), wanted = value_text(args[1]);
    size_t found = is_last ? find_last(eval, text, wanted, 0) : find(eval, text, wanted, 0);
    if (found == SIZE_MAX)
        return value_string(eval, SLICE_LITERAL(""));
    if (!is_after)
        return value_string(eval, slice_make(text.ptr, found));
    found += wanted.len;
    return value_string(eval, slice_make(text.ptr + found, text.len - found));
}

const cJSON *function_substring_before(struct eval *eval, const cJSON *const *args, size_t count)
{
    (void) count;
    return around(eval, args, false, false);
}

const cJSON *function_substring_after(struct eval *eval, const cJSON *const *args, size_t count)
{
    (void) count;
    return around(eval, args, false, true);
}

const cJSON *function_last_substring_before(struct eval *eval, const cJSON *const *args,
                                            size_t count)
{
    (void) count;
    return around(eval, args, true, false);
}

const cJSON *function_last_substring_after(struct eval *eval, const cJSON *const *args,
                                           size_t count)
{
    (void) count;
    return around(eval, args, true, true);
}

const cJSON *function_string_join(struct eval *eval, const cJSON *const *args, size_t count)
{
    struct buf result = {0};

    (void) count;
    if (!cJSON_IsArray(args[0]) || !cJSON_IsString(args[1]))
        return NULL;
    for (const cJSON *element = args[0]->child; element != NULL; element = element->next) {
        if (!cJSON_IsString(element)) {
            buf_finish(&result);
            return NULL;
        }
        if ((element != args[0]->child && !value_text_append(eval, &result, value_text(args[1]))) ||
            !value_text_append(eval, &result, value_text(element)))
            break;
    }
    return value_string_take(eval, &result);
}

const cJSON *function_string_split(struct eval *eval, const cJSON *const *args, size_t count)
{
    struct value_list list;

    if (!strings(args, count) || !value_list_begin(eval, &list, cJSON_Array))
        return NULL;
    struct slice text = value_text(args[0]), separator = value_text(args[1]);
    if (!eval_spend(eval, text.len / 16))
        return NULL;
    for (size_t at = 0;;) {
        size_t found = separator.len > 0 ? text_find(text, separator, at) : SIZE_MAX;
        size_t to = found != SIZE_MAX ? found : text.len;

        if (!value_list_add(eval, &list, NULL,
                            value_string(eval, slice_make(text.ptr + at, to - at))))
            return NULL;
        if (found == SIZE_MAX)
            return list.node;
        at = found + separator.len;
    }
}

static void number_print(struct eval *eval, struct buf *out, double number)
{
    char text[JSON_NUMBER_BYTES];

    if (isfinite(number))
        value_text_append(eval, out, slice_make(text, json_print_double(number, text)));
    else
        value_text_append(eval, out,
                          slice_from_text(isnan(number) ? "NaN"
                                          : number > 0  ? "Infinity"
                                                        : "-Infinity"));
}

static void string_print(struct eval *eval, struct buf *out, const char *string)
{
    struct buf quoted = {0};

    buf_append_json_string(&quoted, slice_from_text(string));
    if (quoted.has_failed)
        eval_oom(eval);
    else
        value_text_append(eval, out, buf_slice(&quoted));
    buf_finish(&quoted);
}

/* Compact JSON. Recursion goes as deep as a document or an expression may. */
static void json_print(struct eval *eval, struct buf *out, const cJSON *value)
{
    if (eval->has_failed)
        return;
    if (cJSON_IsNumber(value)) {
        number_print(eval, out, value->valuedouble);
    } else if (cJSON_IsString(value)) {
        string_print(eval, out, value->valuestring);
    } else if (cJSON_IsArray(value) || cJSON_IsObject(value)) {
        bool is_array = cJSON_IsArray(value);

        buf_append_char(out, is_array ? '[' : '{');
        for (const cJSON *child = value->child; child != NULL; child = child->next) {
            if (child != value->child)
                buf_append_char(out, ',');
            if (!is_array) {
                string_print(eval, out, child->string);
                buf_append_char(out, ':');
            }
            json_print(eval, out, child);
        }
        buf_append_char(out, is_array ? ']' : '}');
    } else {
        value_text_append(eval, out,
                          slice_from_text(cJSON_IsNull(value)   ? "null"
                                          : cJSON_IsTrue(value) ? "true"
                                                                : "false"));
    }
}

const cJSON *function_to_string(struct eval *eval, const cJSON *const *args, size_t count)
{
    struct buf text = {0};

    (void) count;
    if (cJSON_IsString(args[0]))
        return args[0];
    json_print(eval, &text, args[0]);
    return value_string_take(eval, &text);
}

/* A string read as JSON of one kind; undefined when it is malformed or of another. */
static const cJSON *parsed(struct eval *eval, const cJSON *string, enum json_type first,
                           enum json_type last)
{
    struct json_text text;
    struct fault ignored;

    if (!cJSON_IsString(string))
        return NULL;
    /* A node takes forty bytes for each byte of its text, so reading is dear. */
    struct slice source = value_text(string);
    if (!eval_spend(eval, 1 + 4 * source.len) ||
        !json_validate(source, JSON_DEPTH_MAX, &text, &ignored) || json_type(text.root) < first ||
        json_type(text.root) > last)
        return NULL;
    const cJSON *tree = json_tree(eval->arena, text.root);
    return tree != NULL ? tree : eval_oom(eval);
}

const cJSON *function_string_to_array(struct eval *eval, const cJSON *const *args, size_t count)
{
    (void) count;
    return parsed(eval, args[0], JSON_ARRAY, JSON_ARRAY);
}

const cJSON *function_string_to_object(struct eval *eval, const cJSON *const *args, size_t count)
{
    (void) count;
    return parsed(eval, args[0], JSON_OBJECT, JSON_OBJECT);
}

const cJSON *function_string_to_number(struct eval *eval, const cJSON *const *args, size_t count)
{
    (void) count;
    return parsed(eval, args[0], JSON_NUMBER, JSON_NUMBER);
}

const cJSON *function_string_to_boolean(struct eval *eval, const cJSON *const *args, size_t count)
{
    (void) count;
    return parsed(eval, args[0], JSON_FALSE, JSON_TRUE);
}

const cJSON *function_string_to_null(struct eval *eval, const cJSON *const *args, size_t count)
{
    (void) count;
    return parsed(eval, args[0], JSON_NULL, JSON_NULL);
}
