#include "model/feed_position.h"

#include "base/banned.h"

#define VERSION "1"

void feed_etag_begin(struct buf *buf, struct slice container, uint32_t next)
{
    buf_append_text(buf, "\"" VERSION ";");
    buf_append_slice(buf, container);
    buf_printf(buf, ";%u", (unsigned) next);
}

void feed_etag_append(struct buf *buf, const struct feed_position *position)
{
    buf_printf(buf, ";%u:%u.%lld", (unsigned) position->range, (unsigned) position->ordinal,
               (long long) position->seq);
    buf_append_text(buf, position->vector_len == 0 ? ":0" : ":");
    for (size_t o = 0; o < position->vector_len; o++) {
        if (o > 0)
            buf_append_char(buf, ',');
        buf_append_i64(buf, position->vector[o]);
    }
}

void feed_etag_end(struct buf *buf)
{
    buf_append_char(buf, '"');
}

static bool read_u32(struct slice text, uint32_t *value)
{
    unsigned long long number;

    if (slice_is_absent(text) || !slice_to_u64(text, UINT32_MAX, &number))
        return false;
    *value = (uint32_t) number;
    return true;
}

static bool read_i64(struct slice text, int64_t *value)
{
    long long number;

    if (slice_is_absent(text) || !slice_to_i64(text, 0, INT64_MAX, &number))
        return false;
    *value = number;
    return true;
}

/* "0:1.28:20,8" */
static bool read_position(struct feed_position *position, struct slice text)
{
    struct slice rest, vector, seq;
    struct slice range = slice_cut(text, ':', &rest);
    struct slice hint = slice_cut(rest, ':', &vector);
    struct slice ordinal = slice_cut(hint, '.', &seq);

    position->vector_len = 0;
    if (!read_u32(range, &position->range) || !read_u32(ordinal, &position->ordinal) ||
        !read_i64(seq, &position->seq) || slice_is_absent(vector))
        return false;
    while (!slice_is_absent(vector)) {
        if (position->vector_len == FEED_ORIGINS_MAX ||
            !read_i64(slice_cut(vector, ',', &vector), &position->vector[position->vector_len++]))
            return false;
    }
    return true;
}

static struct slice strip_quotes(struct slice text)
{
    if (slice_starts_with(text, "W/"))
        text = slice_make(text.ptr + 2, text.len - 2);
    if (text.len >= 2 && text.ptr[0] == '"' && text.ptr[text.len - 1] == '"')
        text = slice_make(text.ptr + 1, text.len - 2);
    return text;
}

bool feed_etag_parse(struct feed_etag *etag, struct slice text)
{
    struct slice rest = strip_quotes(slice_trim(text));
    struct slice version = slice_cut(rest, ';', &rest);
    struct feed_position position;

    if (!slice_equals_text(version, VERSION) || slice_is_absent(rest))
        return false;
    etag->container = slice_cut(rest, ';', &rest);
    if (!read_u32(slice_cut(rest, ';', &rest), &etag->next))
        return false;
    etag->positions = rest;
    while (!slice_is_absent(rest))
        if (!read_position(&position, slice_cut(rest, ';', &rest)))
            return false;
    return true;
}

bool feed_etag_find(const struct feed_etag *etag, uint32_t range, struct feed_position *position)
{
    struct slice rest = etag->positions;

    while (!slice_is_absent(rest))
        if (read_position(position, slice_cut(rest, ';', &rest)) && position->range == range)
            return true;
    return false;
}

bool feed_position_advance(struct feed_position *position, uint32_t origin, int64_t lsn)
{
    if (origin < 1 || origin > FEED_ORIGINS_MAX)
        return false;
    while (position->vector_len < origin)
        position->vector[position->vector_len++] = 0;
    if (position->vector[origin - 1] < lsn)
        position->vector[origin - 1] = lsn;
    return true;
}
