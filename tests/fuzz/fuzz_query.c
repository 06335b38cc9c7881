/*
 * Arbitrary bytes as a query's body, as its text, and as a patch's condition.
 *
 * What parses and is sound must be printed as a text that parses, is sound, is printed alike and
 * gives the same rows of an item; what does not must be refused with a place inside of the text.
 */
#include "query/check.h"
#include "query/filter.h"
#include "query/groups.h"
#include "query/parser.h"
#include "query/print.h"
#include "query/rows.h"
#include "query/text.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define ARENA_BYTES (64u << 20)
#define GROUPS_BYTES (4u << 20)
#define STEPS 20000

static const char document_text[] =
    "{\"id\":\"a\",\"n\":5,\"s\":\"Abc\",\"t\":true,\"z\":null,\"arr\":[1,\"x\",{\"k\":1}],"
    "\"o\":{\"a\":1},\"x y\":{\"z\":[[2,3],[4]]},\"when\":\"2020-03-31T00:00:00.1Z\"}";

static cJSON *document;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds, const char *what, struct slice text)
{
    if (holds)
        return;
    fprintf(stderr, "%s: %.*s\n", what, (int) text.len, text.ptr);
    abort();
}

/* A 400 that is JSON whose places lie in the text, or memory used up. */
static void refusal_is_sound(const struct fault *fault, struct slice text)
{
    cJSON *json;

    must(fault->status == 400 || fault->status == 503, "another status", text);
    if (fault->message[0] != '{')
        return;
    json = cJSON_Parse(fault->message);
    must(json != NULL, fault->message, text);
    const cJSON *error = cJSON_GetObjectItem(json, "errors");
    for (error = error != NULL ? error->child : NULL; error != NULL; error = error->next) {
        const cJSON *location = cJSON_GetObjectItem(error, "location");
        double end = (double) text_units(text);

        if (location != NULL)
            must(cJSON_GetObjectItem(location, "start")->valuedouble <=
                         cJSON_GetObjectItem(location, "end")->valuedouble &&
                     cJSON_GetObjectItem(location, "end")->valuedouble <= end + 1,
                 fault->message, text);
    }
    cJSON_Delete(json);
}

/* ---- Rows ---- */

static void value_add(struct buf *out, const cJSON *value)
{
    if (value != NULL)
        value_print(out, value);
    buf_append_char(out, '\n');
}

/* Every group, once the rows are in. */
static bool groups_answer(struct groups *groups, struct eval *eval, struct buf *out)
{
    if (!groups_finish(groups, eval))
        return false;
    for (size_t i = 0; i < groups_count(groups); i++) {
        eval_item(eval, NULL);
        value_add(out, groups_project(groups, eval, i));
    }
    return !eval->has_failed;
}

static bool rows_answer(struct eval *eval, const struct ast_query *query, struct groups *groups,
                        struct buf *out)
{
    struct rows rows;
    bool goes_on = rows_begin(&rows, eval, query);

    eval->steps_left = STEPS;
    while (goes_on && rows_next(&rows)) {
        for (const struct ast_order *order = query->order_by; order != NULL; order = order->next)
            value_add(out, eval_output(eval, order->expression));
        if (groups != NULL)
            goes_on = groups_add(groups, eval);
        else
            value_add(out, rows_project(&rows));
    }
    rows_end(&rows);
    return !eval->has_failed && (groups == NULL || groups_answer(groups, eval, out));
}

/* What the query gives of the document, a line for each row; false when it takes too much. */
static bool answer(struct arena *arena, const struct ast_query *query, struct buf *out)
{
    const struct groups_options options = {.limit = SIZE_MAX, .bytes_max = GROUPS_BYTES};
    const cJSON **slots = arena_alloc(arena, query->slot_count * sizeof(*slots));
    struct fault fault = {0};
    struct groups *groups = NULL;
    struct eval eval;

    if (slots == NULL || rows_are_staged(query))
        return false;
    if (groups_are_needed(query) && (groups = groups_create(query, &options, &fault)) == NULL)
        return false;
    eval_init(&eval, arena, slots, &fault);
    eval.now_us = 1606348800000000;
    eval.seed = 1;
    eval_item(&eval, document);
    bool is_done = rows_answer(&eval, query, groups, out);
    groups_destroy(groups);
    must(is_done || fault.status == 400 || fault.status == 503, "another status", query->text);
    return is_done && !out->has_failed;
}

/* ---- Text, tree, text ---- */

static bool compile(struct arena *arena, struct slice text, const cJSON *parameters,
                    struct ast_query *query, struct fault *fault)
{
    const struct check_input input = {.parameters = parameters};

    return parser_query(arena, text, query, fault) && check_query(arena, query, &input, fault);
}

static void ask(struct arena *arena, struct slice text, const cJSON *parameters)
{
    struct ast_query query, again;
    struct fault fault = {0};
    struct buf once = {0}, twice = {0}, rows = {0}, same_rows = {0};

    if (!compile(arena, text, parameters, &query, &fault)) {
        refusal_is_sound(&fault, text);
        return;
    }
    print_query(&once, &query);
    if (!once.has_failed && compile(arena, buf_slice(&once), parameters, &again, &fault)) {
        print_query(&twice, &again);
        must(slice_equals(buf_slice(&once), buf_slice(&twice)), "printed in two ways", text);
        if (answer(arena, &query, &rows) && answer(arena, &again, &same_rows))
            must(slice_equals(buf_slice(&rows), buf_slice(&same_rows)), "two answers", text);
    } else if (fault.status != 503) { /* only what is longer than a query may be */
        must(once.len > PARSER_TEXT_MAX, fault.message, text);
    }
    buf_finish(&once);
    buf_finish(&twice);
    buf_finish(&rows);
    buf_finish(&same_rows);
}

static void ask_condition(struct arena *arena, struct slice text)
{
    struct filter filter;
    struct fault fault = {0};
    bool matches;

    if (!filter_parse_condition(arena, text, &filter, &fault))
        refusal_is_sound(&fault, text);
    else if (!filter_matches(&filter, document, arena, &matches, &fault))
        must(fault.status == 400 || fault.status == 503, "another status", text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena;
    struct query_spec spec;
    struct fault fault = {0};
    struct slice text = slice_make((const char *) data, size);

    if (document == NULL && (document = cJSON_Parse(document_text)) == NULL)
        abort();
    arena_init(&arena, ARENA_BYTES);
    if (query_body_parse(&arena, text, &spec, &fault))
        ask(&arena, spec.text, spec.parameters);
    ask(&arena, text, NULL);
    ask_condition(&arena, text);
    arena_finish(&arena);
    return 0;
}
