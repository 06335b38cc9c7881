#include "query/diagnosis.h"

#include "base/buf.h"
#include "base/utf8.h"
#include "query/text.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/banned.h"

/* Room in fault.message for the sentence itself, escaped, beside the JSON around it. */
#define SENTENCE_MAX 320

static size_t units_before(struct slice text, size_t byte)
{
    return text_units(slice_make(text.ptr, byte < text.len ? byte : text.len));
}

/* What is not printable would make the fault's own cleaning break the JSON; say it with '?'. */
static void clean(char *sentence)
{
    for (char *p = sentence; *p != '\0'; p++) {
        if ((unsigned char) *p < 0x20 || *p == 0x7f)
            *p = '?';
    }
    /* vsnprintf may have cut a character in two. */
    size_t len = strlen(sentence);
    while (len > 0 && !utf8_is_valid(slice_make(sentence, len)))
        sentence[--len] = '\0';
}

bool diagnosis_set(struct fault *fault, struct slice text, struct span span, const char *code,
                   const char *format, ...)
{
    char sentence[SENTENCE_MAX / 2];
    struct buf json = {0};
    va_list args;

    va_start(args, format);
    vsnprintf(sentence, sizeof(sentence), format, args);
    va_end(args);
    clean(sentence);
    buf_append_json_string(&json, slice_from_text(sentence));
    const char *quoted = buf_text(&json);
    fault_set(fault, 400, SUB_NONE,
              "{\"errors\":[{\"severity\":\"Error\",\"location\":{\"start\":%zu,\"end\":%zu},"
              "\"code\":\"%s\",\"message\":%s}]}",
              units_before(text, span.start), units_before(text, span.end), code,
              quoted != NULL ? quoted : "\"\"");
    buf_finish(&json);
    return false;
}

bool diagnosis_syntax(struct fault *fault, struct slice text, struct span span)
{
    struct slice token = slice_make(text.ptr + span.start, span.end - span.start);

    if (token.len == 0)
        return diagnosis_set(fault, text, span, "SC1001",
                             "Syntax error, unexpected end of the query.");
    return diagnosis_set(fault, text, span, "SC1001", "Syntax error, incorrect syntax near '%.*s'.",
                         FAULT_QUOTE(token));
}

bool diagnosis_unsupported(struct fault *fault, struct slice text, struct span span,
                           const char *what)
{
    return fault_set(fault, 400, SUB_NONE,
                     "{\"Errors\":[\"'%s' at offset %zu is not supported by this server.\"]}", what,
                     units_before(text, span.start));
}
