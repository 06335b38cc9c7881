/*
 * What is wrong with a query, in the words and the shape of the service.
 *
 * The message of the fault (status 400) is a JSON text that clients look into:
 *
 *     {"errors":[{"severity":"Error","location":{"start":7,"end":14},"code":"SC2005","message":"…"}]}
 *
 * with 0-based offsets, end exclusive, counted in UTF-16 code units of the query text. The reply
 * puts "Message: " before it. Without memory for the sentence the fault is that (503).
 * source: the service's error reference; the located examples are in
 * tests/unit/test_query_check.c.
 */
#ifndef ORRERY_QUERY_DIAGNOSIS_H
#define ORRERY_QUERY_DIAGNOSIS_H

#include "base/compiler.h"
#include "base/fault.h"
#include "base/slice.h"

#include <stdint.h>

/* Bytes [start, end) of the query text. */
struct span {
    uint32_t start, end;
};

/* A located error such as SC1001. Returns false. */
bool diagnosis_set(struct fault *fault, struct slice text, struct span span, const char *code,
                   const char *format, ...) PRINTF_LIKE(5, 6);

/* One more located error beside those that the fault tells of, when there is room. Returns false.
 */
bool diagnosis_add(struct fault *fault, struct slice text, struct span span, const char *code,
                   const char *format, ...) PRINTF_LIKE(5, 6);

/* An error with a number for its code and without a place, such as 2206. Returns false. */
bool diagnosis_number(struct fault *fault, unsigned code, const char *message);

/* The service's second shape, {"Errors":["…"]}: neither code nor place. Returns false. */
bool diagnosis_message(struct fault *fault, const char *format, ...) PRINTF_LIKE(2, 3);

/* SC1001 at these bytes of the text, SC1002 at its end. Returns false. */
bool diagnosis_syntax(struct fault *fault, struct slice text, struct span span);

/*
 * Something that the language has and this server does not, by name. No code of the service fits,
 * so the shape is its second one. Returns false.
 */
bool diagnosis_unsupported(struct fault *fault, struct slice text, struct span span,
                           const char *what);

#endif
