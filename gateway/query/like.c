/*
 * LIKE: runs, single characters, sets.
 */
#include "query/eval.h"
#include "query/text.h"

#include "base/banned.h"

/* One element of a LIKE pattern, and where the next begins. */
struct like_element {
    enum { LIKE_RUN, LIKE_ANY, LIKE_CHARACTER, LIKE_SET } kind;
    uint32_t character;
    struct slice set; /* without brackets */
    size_t end;
    size_t bytes_read; /* of the pattern, to find this out */
};

/* Byte of the bracket that closes the set opened at `at`, 0 when none does: then '[' is literal. */
static size_t set_end(struct slice pattern, size_t at, uint32_t escape)
{
    size_t first = at + 1;

    if (first < pattern.len && pattern.ptr[first] == '^')
        first++;
    for (size_t i = first; i < pattern.len;) {
        size_t start = i;
        uint32_t c = text_next(pattern, &i);

        if (escape != 0 && c == escape && i < pattern.len)
            (void) text_next(pattern, &i);
        else if (c == ']' && start > first)
            return start;
    }
    return 0;
}

static struct like_element like_element(struct slice pattern, size_t at, uint32_t escape)
{
    struct like_element element = {.kind = LIKE_CHARACTER, .end = at};
    size_t close = pattern.ptr[at] == '[' ? set_end(pattern, at, escape) : 0;

    element.bytes_read = close == 0 && pattern.ptr[at] == '[' ? pattern.len - at : 1;
    element.character = text_next(pattern, &element.end);
    if (escape != 0 && element.character == escape && element.end < pattern.len) {
        element.character = text_next(pattern, &element.end);
    } else if (element.character == '%') {
        element.kind = LIKE_RUN;
    } else if (element.character == '_') {
        element.kind = LIKE_ANY;
    } else if (close != 0) {
        element.kind = LIKE_SET;
        element.set = slice_make(pattern.ptr + at + 1, close - at - 1);
        element.end = close + 1;
        element.bytes_read = 2 * element.set.len;
    }
    return element;
}

/* The next character of a set, the one behind an escape counting as itself. */
static uint32_t set_character(struct slice set, size_t *at, uint32_t escape)
{
    uint32_t c = text_next(set, at);

    return escape != 0 && c == escape && *at < set.len ? text_next(set, at) : c;
}

static bool set_holds(struct slice set, uint32_t character, uint32_t escape)
{
    bool is_negated = set.len > 1 && set.ptr[0] == '^';
    bool holds = false;

    for (size_t at = is_negated; at < set.len;) {
        uint32_t low = set_character(set, &at, escape), high = low;

        if (at + 1 < set.len && set.ptr[at] == '-') {
            at++;
            high = set_character(set, &at, escape);
        }
        holds = holds || (character >= low && character <= high);
    }
    return holds != is_negated;
}

static bool element_matches(const struct like_element *element, uint32_t character, uint32_t escape)
{
    switch (element->kind) {
    case LIKE_ANY:
        return true;
    case LIKE_SET:
        return set_holds(element->set, character, escape);
    default:
        return element->character == character;
    }
}

/*
 * Greedy match that, on a mismatch, lets the latest '%' take one character more. Earlier ones never
 * need to be tried again, so the work is at most the product of the lengths.
 */
bool eval_like(struct eval *eval, struct slice text, struct slice pattern, uint32_t escape)
{
    size_t t = 0, p = 0, run_text = 0, run_pattern = SIZE_MAX;

    while (t < text.len) {
        struct like_element element = {.end = p};

        if (p < pattern.len)
            element = like_element(pattern, p, escape);
        if (!eval_spend(eval, 1 + element.bytes_read))
            return false;
        if (p < pattern.len && element.kind == LIKE_RUN) {
            run_pattern = p = element.end;
            run_text = t;
            continue;
        }
        size_t after = t;
        uint32_t character = text_next(text, &after);
        if (p < pattern.len && element_matches(&element, character, escape)) {
            t = after;
            p = element.end;
        } else if (run_pattern != SIZE_MAX) {
            (void) text_next(text, &run_text);
            t = run_text;
            p = run_pattern;
        } else {
            return false;
        }
    }
    while (p < pattern.len && pattern.ptr[p] == '%' && !(escape == '%'))
        p++;
    return p == pattern.len;
}
