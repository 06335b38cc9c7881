/*
 * Growing output.
 *
 * A buffer remembers that an append failed and ignores all later ones, so that a printer is written
 * without checks and asked once, at its end. The bytes come from malloc; buf_take gives them away.
 */
#ifndef ORRERY_BASE_BUF_H
#define ORRERY_BASE_BUF_H

#include "base/compiler.h"
#include "base/slice.h"

#include <stdint.h>

struct buf {
    char *ptr;
    size_t len;
    size_t capacity;
    bool has_failed;
};

/* Frees the bytes; zeroed memory is accepted, and is what remains. */
void buf_finish(struct buf *buf);

/* Make room for that many more bytes; false (and has_failed) when there is no memory. */
bool buf_reserve(struct buf *buf, size_t more);

void buf_append(struct buf *buf, const void *bytes, size_t len);
void buf_append_slice(struct buf *buf, struct slice s);
void buf_append_text(struct buf *buf, const char *text);
void buf_append_char(struct buf *buf, char c);
void buf_append_u64(struct buf *buf, uint64_t value);
void buf_append_i64(struct buf *buf, int64_t value);
void buf_printf(struct buf *buf, const char *format, ...) PRINTF_LIKE(2, 3);

/* A JSON string, quotes and escapes included, of UTF-8 that was validated before. */
void buf_append_json_string(struct buf *buf, struct slice s);

/* Terminated text, or NULL when an append failed; still owned by the buffer. */
const char *buf_text(struct buf *buf);

/* The bytes themselves, owned by the caller (free); NULL when an append failed. Empties the buffer.
 */
char *buf_take(struct buf *buf, size_t *len);

static inline struct slice buf_slice(const struct buf *buf)
{
    return slice_make(buf->ptr, buf->len);
}

#endif
