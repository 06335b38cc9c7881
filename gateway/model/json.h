/*
 * JSON text: checked once, then walked in place.
 *
 * A body is read by one validating pass (RFC 8259, strict UTF-8), which builds nothing. Afterwards
 * the cursor functions find members and elements in the same text; every value they give is a span
 * of it, so that bytes which nobody changes are the bytes that the client sent. A tree of nodes was
 * rejected: making and printing one costs more than the rest of a point write.
 *
 * Functions that take a "value" expect a span of text that json_validate has accepted, without
 * space around it.
 */
#ifndef ORRERY_MODEL_JSON_H
#define ORRERY_MODEL_JSON_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/fault.h"

#include <stdint.h>

/* Deepest nesting of an item; a document such as {} has depth 1. Source: the service's limits page.
 */
#define JSON_DEPTH_MAX 128
/* Deepest nesting of a request that wraps items, such as a batch. */
#define JSON_DEPTH_MAX_ENVELOPE 136
/* Room for any number that json_print_double writes, and NUL. */
#define JSON_NUMBER_BYTES 32

enum json_type {
    JSON_NULL,
    JSON_FALSE,
    JSON_TRUE,
    JSON_NUMBER,
    JSON_STRING,
    JSON_ARRAY,
    JSON_OBJECT,
};

struct json_text {
    struct slice root;          /* the value, without byte order mark and outer space */
    bool numbers_are_canonical; /* json_normalize would change nothing */
};

/* A place inside an object or an array. */
struct json_cursor {
    const char *at; /* next member or element, or the closing bracket */
    const char *end;
};

/*
 * Check a whole text.
 *
 * depth_max    JSON_DEPTH_MAX or JSON_DEPTH_MAX_ENVELOPE
 * fault        400, with the byte's offset: malformed, truncated, invalid UTF-8, NUL raw or
 * escaped, unpaired surrogate, nested too deep, a member's name twice in an object, a number that
 * no double can hold (1e400) or that PostgreSQL's numeric refuses (more than 16383 digits behind
 * the point, exponent past 2^30); bytes behind the value. 503 when a huge object's names do not fit
 * in memory. source       RFC 8259; PostgreSQL, src/backend/utils/adt/numeric.c (limits of numeric)
 */
bool json_validate(struct slice text, unsigned depth_max, struct json_text *result,
                   struct fault *fault) MUST_CHECK;

enum json_type json_type(struct slice value);

/* Start walking an object or an array. */
struct json_cursor json_iterate(struct slice container);

/* Next member: its name as a string with quotes, its value; false at the end. */
bool json_next_member(struct json_cursor *cursor, struct slice *name, struct slice *value);

/* Next element; false at the end. */
bool json_next_element(struct json_cursor *cursor, struct slice *value);

/* Does a string (with quotes; names too) say these characters, once decoded? */
bool json_string_equals(struct slice string, struct slice decoded);

/* A string decoded: a span of the text when it has no escapes, otherwise in the arena. 503 without
 * memory. */
bool json_string_decode(struct slice string, struct arena *arena, struct slice *decoded,
                        struct fault *fault) MUST_CHECK;

/* Member of an object by decoded name; false when the value is no object or has no such member. */
bool json_find(struct slice object, struct slice name, struct slice *value);

/* Nested member: json_find once per name. No names give the value itself. */
bool json_find_path(struct slice value, const struct slice *names, size_t names_count,
                    struct slice *found);

/*
 * Step down to a member or an element without measuring it: *value begins there and reaches to the
 * end of the outer text. It may be entered again, iterated and asked for its type; json_measure
 * gives its own span. A deep path costs one walk this way, however much lies inside each level.
 * False when the value is no object (array) or lacks it.
 */
bool json_enter_member(struct slice object, struct slice name, struct slice *value);
bool json_enter_element(struct slice array, size_t index, struct slice *value);
struct slice json_measure(struct slice entered);

/* The double nearest to a number, always finite. */
double json_number(struct slice number);

/* An integer within [min, max]; false for other types, fractions and numbers outside. 1e2 and 7.0
 * are integers. */
bool json_integer(struct slice value, int64_t min, int64_t max, int64_t *integer);

/*
 * Shortest text that reads back as the same finite double, terminated; returns its length. Zero of
 * either sign is 0; integers below 10^21 are plain, as in JavaScript. Digits are those that
 * PostgreSQL chooses for float8.
 */
size_t json_print_double(double value, char text[JSON_NUMBER_BYTES]);

/*
 * The text for a jsonb column: each number becomes json_print_double of its double, so that equal
 * doubles are equal numerics; all else keeps its bytes. Gives text->root itself when its numbers
 * are canonical, otherwise memory tied to the arena. Fault 503 without memory.
 */
bool json_normalize(const struct json_text *text, struct arena *arena, struct slice *normalized,
                    struct fault *fault) MUST_CHECK;

#endif
