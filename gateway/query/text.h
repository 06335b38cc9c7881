/*
 * UTF-8 text seen as characters, and as the UTF-16 code units in which the language counts
 * positions.
 *
 * Every function takes UTF-8 that utf8_is_valid accepted; on other bytes the answers are wrong but
 * safe.
 */
#ifndef ORRERY_QUERY_TEXT_H
#define ORRERY_QUERY_TEXT_H

#include "base/buf.h"
#include "base/compiler.h"
#include "base/slice.h"

#include <stdint.h>

/* Whether the bytes are well-formed UTF-8: no surrogates, no overlong forms, nothing above
 * U+10FFFF. */
bool utf8_is_valid(struct slice text) MUST_CHECK;

/* The character at byte *at, which moves past it; U+FFFD and one byte for a malformed sequence. */
uint32_t text_next(struct slice text, size_t *at);

/* Append one character. */
void text_append(struct buf *buf, uint32_t character);

/* Length in UTF-16 code units. */
size_t text_units(struct slice text);

/*
 * The byte where the code unit with that index begins, text.len when it lies past the end. An index
 * in the middle of a supplementary character gives the byte after it, so that no half of one
 * remains.
 */
size_t text_unit_offset(struct slice text, size_t unit);

/* Byte offset of the first or last occurrence at or after byte `from`; SIZE_MAX when there is none.
 */
size_t text_find(struct slice text, struct slice wanted, size_t from);
size_t text_find_last(struct slice text, struct slice wanted, size_t from);

/* The character in the other case by Unicode's simple mapping, whatever the process's locale is. */
uint32_t text_lower(uint32_t character);
uint32_t text_upper(uint32_t character);

/* Whether a character is a letter or a digit, by Unicode. */
bool text_is_word(uint32_t character);

/* Whether a character counts as blank for TRIM. */
bool text_is_blank(uint32_t character);

#endif
