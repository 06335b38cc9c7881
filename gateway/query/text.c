#include "query/text.h"

#include "base/utf8.h"

#include <locale.h>
#include <pthread.h>
#include <wctype.h>

#include "base/banned.h"

uint32_t text_next(struct slice text, size_t *at)
{
    const unsigned char *p = (const unsigned char *) text.ptr + *at;
    size_t step = utf8_sequence(slice_make(text.ptr + *at, text.len - *at));

    *at += step > 0 ? step : 1;
    switch (step) {
    case 1:
        return p[0];
    case 2:
        return (p[0] & 0x1fu) << 6 | (p[1] & 0x3fu);
    case 3:
        return (p[0] & 0x0fu) << 12 | (p[1] & 0x3fu) << 6 | (p[2] & 0x3fu);
    case 4:
        return (p[0] & 0x07u) << 18 | (p[1] & 0x3fu) << 12 | (p[2] & 0x3fu) << 6 | (p[3] & 0x3fu);
    default:
        return 0xfffd;
    }
}

void text_append(struct buf *buf, uint32_t c)
{
    if (c < 0x80) {
        buf_append_char(buf, (char) c);
    } else if (c < 0x800) {
        buf_append_char(buf, (char) (0xc0 | c >> 6));
        buf_append_char(buf, (char) (0x80 | (c & 0x3f)));
    } else if (c < 0x10000) {
        buf_append_char(buf, (char) (0xe0 | c >> 12));
        buf_append_char(buf, (char) (0x80 | (c >> 6 & 0x3f)));
        buf_append_char(buf, (char) (0x80 | (c & 0x3f)));
    } else {
        buf_append_char(buf, (char) (0xf0 | c >> 18));
        buf_append_char(buf, (char) (0x80 | (c >> 12 & 0x3f)));
        buf_append_char(buf, (char) (0x80 | (c >> 6 & 0x3f)));
        buf_append_char(buf, (char) (0x80 | (c & 0x3f)));
    }
}

/* Code units a byte adds: one at the start of a character, two where four bytes follow. */
static size_t units_at(unsigned char byte)
{
    return byte >= 0xf0 ? 2 : (byte & 0xc0) != 0x80;
}

size_t text_units(struct slice text)
{
    size_t units = 0;

    for (size_t i = 0; i < text.len; i++)
        units += units_at((unsigned char) text.ptr[i]);
    return units;
}

size_t text_unit_offset(struct slice text, size_t unit)
{
    size_t units = 0;

    for (size_t i = 0; i < text.len; i++) {
        size_t more = units_at((unsigned char) text.ptr[i]);

        if (more > 0 && units >= unit)
            return i;
        units += more;
    }
    return text.len;
}

size_t text_find(struct slice text, struct slice wanted, size_t from)
{
    if (from > text.len || wanted.len > text.len - from)
        return SIZE_MAX;
    if (wanted.len == 0)
        return from;
    const char *found = memmem(text.ptr + from, text.len - from, wanted.ptr, wanted.len);
    return found != NULL ? (size_t) (found - text.ptr) : SIZE_MAX;
}

size_t text_find_last(struct slice text, struct slice wanted, size_t from)
{
    if (from > text.len || wanted.len > text.len - from)
        return SIZE_MAX;
    for (size_t at = text.len - wanted.len;; at--) {
        if (wanted.len == 0 || memcmp(text.ptr + at, wanted.ptr, wanted.len) == 0)
            return at;
        if (at == from)
            return SIZE_MAX;
    }
}

static pthread_once_t unicode_once = PTHREAD_ONCE_INIT;
static locale_t unicode; /* 0 where the C library has no C.UTF-8: then only ASCII letters change */

static void unicode_open(void)
{
    unicode = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t) 0);
}

uint32_t text_lower(uint32_t c)
{
    if (c < 0x80)
        return c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c;
    pthread_once(&unicode_once, unicode_open);
    return unicode != (locale_t) 0 ? (uint32_t) towlower_l((wint_t) c, unicode) : c;
}

uint32_t text_upper(uint32_t c)
{
    if (c < 0x80)
        return c >= 'a' && c <= 'z' ? c - ('a' - 'A') : c;
    pthread_once(&unicode_once, unicode_open);
    return unicode != (locale_t) 0 ? (uint32_t) towupper_l((wint_t) c, unicode) : c;
}

bool text_is_word(uint32_t c)
{
    if (c < 0x80)
        return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
    pthread_once(&unicode_once, unicode_open);
    return unicode == (locale_t) 0 || iswalnum_l((wint_t) c, unicode) != 0;
}

bool text_is_blank(uint32_t c)
{
    return c == ' ' || (c >= 0x09 && c <= 0x0d) || c == 0x85 || c == 0xa0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f ||
           c == 0x205f || c == 0x3000;
}
