/*
 * Entity tags: a UUID per version of a resource, shown in double quotes; and the conditions on
 * them.
 */
#ifndef ORRERY_MODEL_ETAG_H
#define ORRERY_MODEL_ETAG_H

#include "base/compiler.h"
#include "base/slice.h"

#include <stdint.h>

/* "\"0000d826-0000-0700-0000-5c1a1c8f0000\"" and its NUL. */
#define ETAG_TEXT_BYTES 39

struct etag {
    uint8_t uuid[16];
};

enum etag_condition_kind {
    ETAG_ABSENT, /* no header: no condition */
    ETAG_ANY,    /* "*": every version of an existing resource */
    ETAG_EXACT,
    ETAG_NEVER, /* a text that no resource here has as its tag */
};

struct etag_condition {
    enum etag_condition_kind kind;
    struct etag etag; /* of ETAG_EXACT */
};

/* A new, random tag. */
void etag_create(struct etag *etag);

bool etag_equals(const struct etag *a, const struct etag *b);

/* The text in its quotes, terminated. */
void etag_format(const struct etag *etag, char text[ETAG_TEXT_BYTES]);

/* Quoted or not, lower case, as etag_format writes it; false for anything else. */
bool etag_parse(struct slice text, struct etag *etag) MUST_CHECK;

/*
 * Value of If-Match or If-None-Match. A foreign tag is not an error: it matches nothing.
 * Source: protocol reference, section 4.4.
 */
struct etag_condition etag_condition_parse(struct slice header);

/* Does the condition name this version? etag is NULL when the resource does not exist. */
bool etag_condition_matches(const struct etag_condition *condition, const struct etag *etag);

#endif
