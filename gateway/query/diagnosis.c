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

static struct buf sentence_quote(const char *format, va_list args) PRINTF_LIKE(1, 0);

/* The sentence as a JSON string, for the caller to finish. */
static struct buf sentence_quote(const char *format, va_list args)
{
    char sentence[SENTENCE_MAX / 2];
    struct buf json = {0};

    vsnprintf(sentence, sizeof(sentence), format, args);
    clean(sentence);
    buf_append_json_string(&json, slice_from_text(sentence));
    return json;
}

/* One error after earlier ones, which are a text without its end; finishes the sentence. */
static bool located(struct fault *fault, const char *earlier, struct slice text, struct span span,
                    const char *code, struct buf *sentence)
{
    const char *quoted = buf_text(sentence);

    if (quoted == NULL)
        fault_set_oom(fault);
    else
        fault_set(fault, 400, SUB_NONE,
                  "%s{\"severity\":\"Error\",\"location\":{\"start\":%zu,\"end\":%zu},"
                  "\"code\":\"%s\",\"message\":%s}]}",
                  earlier, units_before(text, span.start), units_before(text, span.end), code,
                  quoted);
    buf_finish(sentence);
    return false;
}

#define ERRORS_BEGIN "{\"errors\":["
#define ERRORS_END "]}"

bool diagnosis_set(struct fault *fault, struct slice text, struct span span, const char *code,
                   const char *format, ...)
{
    va_list args;

    va_start(args, format);
    struct buf sentence = sentence_quote(format, args);
    va_end(args);
    return located(fault, ERRORS_BEGIN, text, span, code, &sentence);
}

bool diagnosis_add(struct fault *fault, struct slice text, struct span span, const char *code,
                   const char *format, ...)
{
    struct fault before = *fault;
    size_t length = strlen(before.message);
    va_list args;

    va_start(args, format);
    struct buf sentence = sentence_quote(format, args);
    va_end(args);
    if (!slice_starts_with(slice_from_text(before.message), ERRORS_BEGIN))
        return located(fault, ERRORS_BEGIN, text, span, code, &sentence);
    before.message[length - strlen(ERRORS_END)] = ',';
    before.message[length - strlen(ERRORS_END) + 1] = '\0';
    located(fault, before.message, text, span, code, &sentence);
    if (fault->status != 400)
        return false;
    size_t longer = strlen(fault->message);
    if (strcmp(fault->message + longer - strlen(ERRORS_END), ERRORS_END) != 0) { /* cut */
        memcpy(before.message + length - strlen(ERRORS_END), ERRORS_END, sizeof(ERRORS_END));
        *fault = before;
    }
    return false;
}

bool diagnosis_number(struct fault *fault, unsigned code, const char *message)
{
    return fault_set(fault, 400, SUB_NONE,
                     "{\"errors\":[{\"severity\":\"Error\",\"code\":%u,\"message\":\"%s\"}]}", code,
                     message);
}

bool diagnosis_message(struct fault *fault, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    struct buf sentence = sentence_quote(format, args);
    va_end(args);
    const char *quoted = buf_text(&sentence);
    if (quoted == NULL)
        fault_set_oom(fault);
    else
        fault_set(fault, 400, SUB_NONE, "{\"Errors\":[%s]}", quoted);
    buf_finish(&sentence);
    return false;
}

bool diagnosis_syntax(struct fault *fault, struct slice text, struct span span)
{
    struct slice token = slice_make(text.ptr + span.start, span.end - span.start);

    if (token.len == 0)
        return diagnosis_set(fault, text, span, "SC1002", "Syntax error, unexpected end-of-file.");
    return diagnosis_set(fault, text, span, "SC1001", "Syntax error, incorrect syntax near '%.*s'.",
                         FAULT_QUOTE(token));
}

bool diagnosis_unsupported(struct fault *fault, struct slice text, struct span span,
                           const char *what)
{
    return diagnosis_message(fault, "'%s' at offset %zu is not supported by this server.", what,
                             units_before(text, span.start));
}
