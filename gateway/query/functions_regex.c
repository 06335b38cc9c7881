/*
 * RegexMatch, RegexExtract, RegexExtractAll: a bad pattern or modifier makes them undefined.
 */
#include "query/functions.h"

#include "query/regex.h"
#include "query/text.h"

#include <math.h>

#include "base/banned.h"

/* The pattern of a call and, for Extract, which group of it is meant. */
struct extraction {
    struct regex *regex;
    struct slice text;
    unsigned group;
};

static struct regex *pattern(struct eval *eval, const cJSON *const *args, size_t count)
{
    if (!cJSON_IsString(args[0]) || !cJSON_IsString(args[1]) ||
        (count > 2 && !cJSON_IsString(args[2])))
        return NULL;
    return regex_of_call(eval, value_text(args[1]),
                         count > 2 ? value_text(args[2]) : SLICE_LITERAL(""));
}

const cJSON *function_regex_match(struct eval *eval, const cJSON *const *args, size_t count)
{
    struct regex *regex = pattern(eval, args, count);

    return regex != NULL ? value_bool(regex_match(eval, regex, value_text(args[0]), 0, false))
                         : NULL;
}

/* False when the call is undefined: a group that is no whole number, or that the pattern lacks. */
static bool extraction_begin(struct eval *eval, const cJSON *const *args, size_t count,
                             struct extraction *extraction)
{
    double group = 0;

    if (count > 3) {
        if (!cJSON_IsNumber(args[3]))
            return false;
        group = args[3]->valuedouble;
    }
    extraction->regex = pattern(eval, args, count);
    if (extraction->regex == NULL || group != trunc(group) || group < 0 ||
        group > regex_group_count(extraction->regex))
        return false;
    extraction->text = value_text(args[0]);
    extraction->group = (unsigned) group;
    return true;
}

/* What the group matched; empty when it took no part. */
static const cJSON *group_value(struct eval *eval, const struct extraction *extraction)
{
    struct regex_span span = regex_group(extraction->regex, extraction->group);

    if (span.start == SIZE_MAX)
        return value_string(eval, SLICE_LITERAL(""));
    return value_string(eval, slice_make(extraction->text.ptr + span.start, span.end - span.start));
}

const cJSON *function_regex_extract(struct eval *eval, const cJSON *const *args, size_t count)
{
    struct extraction extraction;

    if (!extraction_begin(eval, args, count, &extraction) ||
        !regex_match(eval, extraction.regex, extraction.text, 0, false))
        return NULL;
    return group_value(eval, &extraction);
}

const cJSON *function_regex_extract_all(struct eval *eval, const cJSON *const *args, size_t count)
{
    struct extraction extraction;
    struct value_list list;
    size_t at = 0;
    bool after_empty = false;

    if (!extraction_begin(eval, args, count, &extraction) ||
        !value_list_begin(eval, &list, cJSON_Array))
        return NULL;
    while (regex_match(eval, extraction.regex, extraction.text, at, after_empty)) {
        struct regex_span span = regex_group(extraction.regex, 0);

        if (!value_list_add(eval, &list, NULL, group_value(eval, &extraction)))
            return NULL;
        /* A match that \K has turned around does not move on: the next character does. */
        bool is_odd = span.start == SIZE_MAX || span.end < at;
        if (is_odd && at == extraction.text.len)
            break;
        if (is_odd)
            (void) text_next(extraction.text, &at);
        else
            at = span.end;
        after_empty = !is_odd && span.start == span.end;
    }
    return eval->has_failed ? NULL : list.node;
}
