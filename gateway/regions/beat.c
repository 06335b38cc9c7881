#include "regions/beat.h"

#include <inttypes.h>

#include "base/banned.h"

#define DEPTH_MAX 4
#define ORDINAL_MAX 255

static bool malformed(struct fault *fault)
{
    return fault_set(fault, 400, SUB_NONE, "the beat is malformed");
}

static bool take_number(struct slice object, const char *name, int64_t min, int64_t max,
                        int64_t *number)
{
    struct slice value;

    return json_find(object, slice_from_text(name), &value) &&
           json_integer(value, min, max, number);
}

static bool take_object(struct slice text, struct slice *object, struct fault *fault)
{
    struct json_text parsed;

    if (!json_validate(text, DEPTH_MAX, &parsed, fault))
        return false;
    *object = parsed.root;
    return json_type(parsed.root) == JSON_OBJECT || malformed(fault);
}

/* ---- questions ---- */

void beat_print_question(struct buf *out, const struct beat_question *question)
{
    buf_append_text(out, "{\"account\":");
    buf_append_json_string(out, question->hello.account);
    buf_printf(out, ",\"schema\":%" PRIu32 ",\"ordinal\":%u,\"epoch\":%" PRId64,
               question->hello.schema, question->hello.ordinal, question->hello.epoch);
    if (question->kind == BEAT_PROMISE)
        buf_append_text(out, ",\"asks\":\"promise\"}");
    else if (question->kind == BEAT_DEFINITIONS)
        buf_append_text(out, ",\"asks\":\"definitions\"}");
    else
        buf_printf(out, ",\"asks\":\"lease\",\"since\":%" PRId64 "}", question->since);
}

bool beat_parse_question(struct beat_question *question, struct slice text, struct arena *arena,
                         struct fault *fault)
{
    struct slice object, value;
    int64_t schema, ordinal;

    *question = (struct beat_question){.kind = BEAT_PROMISE};
    if (!take_object(text, &object, fault))
        return false;
    if (!json_find(object, SLICE_LITERAL("account"), &value) || json_type(value) != JSON_STRING)
        return malformed(fault);
    if (!json_string_decode(value, arena, &question->hello.account, fault))
        return false;
    if (!take_number(object, "schema", 0, UINT32_MAX, &schema) ||
        !take_number(object, "ordinal", 1, ORDINAL_MAX, &ordinal) ||
        !take_number(object, "epoch", 0, INT64_MAX, &question->hello.epoch) ||
        !json_find(object, SLICE_LITERAL("asks"), &value))
        return malformed(fault);
    question->hello.schema = (uint32_t) schema;
    question->hello.ordinal = (unsigned) ordinal;
    if (slice_equals_text(value, "\"promise\""))
        return true;
    question->kind = BEAT_DEFINITIONS;
    if (slice_equals_text(value, "\"definitions\""))
        return true;
    question->kind = BEAT_LEASE;
    return (slice_equals_text(value, "\"lease\"") &&
            take_number(object, "since", 0, INT64_MAX, &question->since)) ||
           malformed(fault);
}

/* ---- answers ---- */

void beat_answer_promise(struct buf *out, bool promised)
{
    buf_printf(out, "{\"promised\":%s}", promised ? "true" : "false");
}

static void append_vector(struct buf *out, const int64_t *vector, size_t len)
{
    buf_append_char(out, '[');
    for (size_t i = 0; i < len; i++)
        buf_printf(out, "%s%" PRId64, i > 0 ? "," : "", vector[i]);
    buf_append_char(out, ']');
}

void beat_answer_definitions(struct buf *out, const int64_t *vector, size_t len)
{
    buf_append_text(out, "{\"definitions\":");
    append_vector(out, vector, len);
    buf_append_char(out, '}');
}

void beat_answer_begin(struct buf *out)
{
    buf_append_text(out, "{\"ranges\":[");
}

void beat_answer_range(struct buf *out, const struct beat_range *range)
{
    bool is_first = out->len > 0 && out->ptr[out->len - 1] == '[';

    buf_printf(out, "%s[%" PRId64 ",", is_first ? "" : ",", range->range_id);
    append_vector(out, range->committed, range->committed_len);
    buf_printf(out, ",%" PRId64 "]", range->head);
}

void beat_answer_end(struct buf *out, int64_t lease_ms, int64_t set_version, int64_t since)
{
    buf_printf(out, "],\"lease_ms\":%" PRId64 ",\"set_version\":%" PRId64 ",\"since\":%" PRId64 "}",
               lease_ms, set_version, since);
}

static bool take_vector(struct slice list, int64_t vector[STREAM_VECTOR_MAX], size_t *len)
{
    struct json_cursor cursor;
    struct slice element;

    *len = 0;
    if (json_type(list) != JSON_ARRAY)
        return false;
    cursor = json_iterate(list);
    while (json_next_element(&cursor, &element)) {
        if (*len == STREAM_VECTOR_MAX || !json_integer(element, 0, INT64_MAX, &vector[*len]))
            return false;
        (*len)++;
    }
    return true;
}

bool beat_parse_answer(struct beat_answer *answer, enum beat_kind kind, struct slice text,
                       struct fault *fault)
{
    struct slice object, value;

    *answer = (struct beat_answer){.promised = false};
    if (!take_object(text, &object, fault))
        return false;
    if (kind == BEAT_PROMISE) {
        if (!json_find(object, SLICE_LITERAL("promised"), &value))
            return malformed(fault);
        answer->promised = json_type(value) == JSON_TRUE;
        return true;
    }
    if (kind == BEAT_DEFINITIONS)
        return (json_find(object, SLICE_LITERAL("definitions"), &value) &&
                take_vector(value, answer->definitions, &answer->definitions_len)) ||
               malformed(fault);
    if (!take_number(object, "lease_ms", 0, INT64_MAX / 4, &answer->lease_ms) ||
        !take_number(object, "set_version", 0, INT64_MAX, &answer->set_version) ||
        !take_number(object, "since", 0, INT64_MAX, &answer->since) ||
        !json_find(object, SLICE_LITERAL("ranges"), &value) || json_type(value) != JSON_ARRAY)
        return malformed(fault);
    answer->ranges = json_iterate(value);
    return true;
}

enum beat_next beat_next_range(struct beat_answer *answer, struct beat_range *range)
{
    struct slice triple, id, committed, head;
    struct json_cursor cursor;

    if (!json_next_element(&answer->ranges, &triple))
        return BEAT_END;
    if (json_type(triple) != JSON_ARRAY)
        return BEAT_MALFORMED;
    cursor = json_iterate(triple);
    if (!json_next_element(&cursor, &id) || !json_next_element(&cursor, &committed) ||
        !json_next_element(&cursor, &head) || !json_integer(id, 0, INT64_MAX, &range->range_id) ||
        !take_vector(committed, range->committed, &range->committed_len) ||
        !json_integer(head, 0, INT64_MAX, &range->head))
        return BEAT_MALFORMED;
    return BEAT_RANGE;
}
