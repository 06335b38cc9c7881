/*
 * Regular expressions of Perl's kind: the door to PCRE2.
 *
 * A pattern can make a matcher work for hours, so its work is counted: PCRE2 calls back before each
 * item of the pattern, and what the call tells is paid from the eval's steps. PCRE2's own limit of
 * matches was rejected for that, because it starts anew at every place of the text and does not see
 * loops over single characters. The memory comes from the arena.
 *
 * A pattern that is written in the query is compiled once; one that is computed, each time.
 */
#ifndef ORRERY_QUERY_REGEX_H
#define ORRERY_QUERY_REGEX_H

#include "query/eval.h"

/* Bytes of a pattern; a longer one is a bad one. */
#define REGEX_PATTERN_MAX 8192

struct regex;

/* Patterns of one query, by the call that holds them. Lives as long as the arena. */
struct regex_cache {
    struct arena *arena;
    struct regex *patterns;
};

void regex_cache_init(struct regex_cache *cache, struct arena *arena);

/*
 * The pattern of the call that the eval is at.
 *
 * modifiers   any of i, m, s, x
 * returns     NULL when the pattern or a modifier is bad, and after a failure
 */
struct regex *regex_of_call(struct eval *eval, struct slice pattern, struct slice modifiers);

/* How many groups the pattern has. */
unsigned regex_group_count(const struct regex *regex);

/* Bytes of the text that a group matched, group 0 being the whole; [SIZE_MAX, SIZE_MAX) for none.
 */
struct regex_span {
    size_t start, end;
};

/*
 * Find the first match at or after a byte.
 *
 * after_empty  the last match ended here and was empty: it must not be found again
 * returns      false when there is none, and after a failure (too much work: 400)
 */
bool regex_match(struct eval *eval, struct regex *regex, struct slice text, size_t from,
                 bool after_empty);

/* Of the last match. */
struct regex_span regex_group(const struct regex *regex, unsigned group);

#endif
