/*
 * Borrowed bytes: a pointer and a length, never terminated, never owned.
 *
 * A slice whose ptr is NULL is absent; one whose len is 0 is empty. Header values, path segments
 * and spans of a body are slices into memory that the request's arena or libmicrohttpd keeps alive.
 */
#ifndef ORRERY_BASE_SLICE_H
#define ORRERY_BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

struct slice {
    const char *ptr;
    size_t len;
};

#define SLICE_LITERAL(text) ((struct slice){(text), sizeof(text) - 1})

static inline struct slice slice_make(const char *ptr, size_t len)
{
    return (struct slice){ptr, len};
}

/* From a terminated string; NULL gives the absent slice. */
static inline struct slice slice_from_text(const char *text)
{
    return (struct slice){text, text != NULL ? strlen(text) : 0};
}

static inline bool slice_is_absent(struct slice s)
{
    return s.ptr == NULL;
}

static inline bool slice_is_empty(struct slice s)
{
    return s.len == 0;
}

static inline bool slice_equals(struct slice a, struct slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

static inline bool slice_equals_text(struct slice a, const char *text)
{
    return slice_equals(a, slice_from_text(text));
}

/* Compare ASCII letters without regard to case. */
static inline bool slice_equals_nocase(struct slice a, const char *text)
{
    return a.len == strlen(text) && (a.len == 0 || strncasecmp(a.ptr, text, a.len) == 0);
}

static inline bool slice_starts_with(struct slice a, const char *prefix)
{
    size_t len = strlen(prefix);
    return a.len >= len && memcmp(a.ptr, prefix, len) == 0;
}

/* Without leading and trailing spaces and tabs. */
struct slice slice_trim(struct slice s);

/* Cut at the first separator: the part before it is returned, *rest is what follows (absent if
 * none). */
struct slice slice_cut(struct slice s, char separator, struct slice *rest);

/* Decimal number without sign, spaces or excess; false when malformed or above max. */
bool slice_to_u64(struct slice s, unsigned long long max, unsigned long long *value);

/* Signed decimal number; false when malformed or outside [min, max]. */
bool slice_to_i64(struct slice s, long long min, long long max, long long *value);

#endif
