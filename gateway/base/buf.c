#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/banned.h"

#define BUF_FIRST_BYTES 256

void buf_finish(struct buf *buf)
{
    free(buf->ptr);
    *buf = (struct buf){0};
}

bool buf_reserve(struct buf *buf, size_t more)
{
    if (buf->has_failed)
        return false;
    if (more <= buf->capacity - buf->len)
        return true;
    size_t capacity = buf->capacity > 0 ? buf->capacity : BUF_FIRST_BYTES;
    while (capacity - buf->len < more) {
        if (capacity > SIZE_MAX / 2) {
            buf->has_failed = true;
            return false;
        }
        capacity *= 2;
    }
    char *ptr = realloc(buf->ptr, capacity);
    if (ptr == NULL) {
        buf->has_failed = true;
        return false;
    }
    buf->ptr = ptr;
    buf->capacity = capacity;
    return true;
}

void buf_append(struct buf *buf, const void *bytes, size_t len)
{
    if (len == 0 || !buf_reserve(buf, len))
        return;
    memcpy(buf->ptr + buf->len, bytes, len);
    buf->len += len;
}

void buf_append_slice(struct buf *buf, struct slice s)
{
    buf_append(buf, s.ptr, s.len);
}

void buf_append_text(struct buf *buf, const char *text)
{
    buf_append(buf, text, strlen(text));
}

void buf_append_char(struct buf *buf, char c)
{
    buf_append(buf, &c, 1);
}

void buf_append_u64(struct buf *buf, uint64_t value)
{
    char digits[20];
    size_t at = sizeof(digits);

    do {
        digits[--at] = (char) ('0' + value % 10);
        value /= 10;
    } while (value > 0);
    buf_append(buf, digits + at, sizeof(digits) - at);
}

void buf_append_i64(struct buf *buf, int64_t value)
{
    if (value < 0)
        buf_append_char(buf, '-');
    buf_append_u64(buf, value < 0 ? -(uint64_t) value : (uint64_t) value);
}

void buf_printf(struct buf *buf, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    int len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (len < 0 || !buf_reserve(buf, (size_t) len + 1)) {
        buf->has_failed = true;
        return;
    }
    va_start(args, format);
    vsnprintf(buf->ptr + buf->len, (size_t) len + 1, format, args);
    va_end(args);
    buf->len += (size_t) len;
}

static void append_escape(struct buf *buf, unsigned char c)
{
    static const char hex[] = "0123456789abcdef";
    const char *shorts = "\"\\\b\f\n\r\t";
    const char *letters = "\"\\bfnrt";
    const char *at = c != '\0' ? strchr(shorts, c) : NULL;

    buf_append_char(buf, '\\');
    if (at != NULL) {
        buf_append_char(buf, letters[at - shorts]);
        return;
    }
    buf_append_text(buf, "u00");
    buf_append_char(buf, hex[c >> 4]);
    buf_append_char(buf, hex[c & 15]);
}

void buf_append_json_string(struct buf *buf, struct slice s)
{
    size_t start = 0;

    buf_append_char(buf, '"');
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char) s.ptr[i];
        if (c >= 0x20 && c != '"' && c != '\\')
            continue;
        buf_append(buf, s.ptr + start, i - start);
        append_escape(buf, c);
        start = i + 1;
    }
    buf_append(buf, s.ptr + start, s.len - start);
    buf_append_char(buf, '"');
}

const char *buf_text(struct buf *buf)
{
    if (!buf_reserve(buf, 1))
        return NULL;
    buf->ptr[buf->len] = '\0';
    return buf->ptr;
}

char *buf_take(struct buf *buf, size_t *len)
{
    char *ptr = (char *) buf_text(buf);

    if (ptr == NULL) {
        buf_finish(buf);
        return NULL;
    }
    *len = buf->len;
    *buf = (struct buf){0};
    return ptr;
}
