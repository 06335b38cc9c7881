/*
 * Arbitrary bytes as a query's body, as its text, and as a patch's condition; what parses is
 * evaluated.
 */
#include "query/filter.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static const char document_text[] = "{\"id\":\"a\",\"n\":5,\"s\":\"Abc\",\"t\":true,\"z\":null,"
                                    "\"arr\":[1,\"x\",{\"k\":1}],\"o\":{\"a\":1}}";

static cJSON *document;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void ask(struct arena *arena, struct slice text, const cJSON *parameters, bool is_condition)
{
    struct filter filter;
    struct fault fault = {0};
    const cJSON *value;
    bool matches;
    bool is_parsed = is_condition
                         ? filter_parse_condition(arena, text, &filter, &fault)
                         : filter_parse_projecting(arena, text, parameters, &filter, &fault);

    if (is_parsed && filter_matches(&filter, document, arena, &matches, &fault))
        is_parsed = filter_project(&filter, document, arena, &value, &fault);
    /* A failure is told, and only as what a client may see. */
    if (!is_parsed && fault.status != 400 && fault.status != 503)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena;
    struct query_spec spec;
    struct fault fault = {0};
    struct slice text = slice_make((const char *) data, size);

    if (document == NULL && (document = cJSON_Parse(document_text)) == NULL)
        abort();
    arena_init(&arena, 16 << 20);
    if (query_body_parse(&arena, text, &spec, &fault))
        ask(&arena, spec.text, spec.parameters, false);
    ask(&arena, text, NULL, false);
    ask(&arena, text, NULL, true);
    arena_finish(&arena);
    return 0;
}
