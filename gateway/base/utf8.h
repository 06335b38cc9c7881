/*
 * UTF-8, strict: no overlong forms, no surrogates, nothing above U+10FFFF.
 */
#ifndef ORRERY_BASE_UTF8_H
#define ORRERY_BASE_UTF8_H

#include "base/compiler.h"
#include "base/slice.h"

/* Bytes of the valid sequence at the start of non-empty text; 0 when there is none. */
size_t utf8_sequence(struct slice text);

bool utf8_is_valid(struct slice text);

#endif
