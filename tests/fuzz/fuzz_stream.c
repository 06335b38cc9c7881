/* Messages between regions: what is accepted lies inside the message, and says the same when it is
 * printed again. */
#include "regions/stream.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t looked_at;

static void look(struct slice text)
{
    for (size_t i = 0; i < text.len; i++)
        looked_at += (unsigned char) text.ptr[i];
}

static void look_at_vector(struct stream_vector vector)
{
    assert(vector.count <= STREAM_VECTOR_MAX);
    for (unsigned i = 0; i <= vector.count; i++)
        assert(stream_vector_at(vector, i) >= 0);
}

static void read_request(struct stream_reader payload)
{
    const char *start = payload.at;
    struct fault fault = {0};
    struct stream_request request;
    struct stream_want want;
    struct buf again = {0};

    if (!stream_get_request(&payload, &request, &fault))
        return;
    stream_put_request(&again, &request);
    for (uint32_t i = 0; i < request.count; i++) {
        int64_t acked[STREAM_VECTOR_MAX], committed[STREAM_VECTOR_MAX];
        if (!stream_get_want(&payload, &want, &fault)) {
            buf_finish(&again);
            return;
        }
        look_at_vector(want.acked);
        for (unsigned j = 0; j < want.acked.count; j++)
            acked[j] = stream_vector_at(want.acked, j);
        look_at_vector(want.committed);
        for (unsigned j = 0; j < want.committed.count; j++)
            committed[j] = stream_vector_at(want.committed, j);
        stream_put_want(&again, want.range_id, want.held, want.received, acked, want.acked.count,
                        committed, want.committed.count);
    }
    assert(again.len == (size_t) (payload.at - start) && memcmp(again.ptr, start, again.len) == 0);
    buf_finish(&again);
    looked_at += stream_at_end(&payload, &fault);
}

static bool read_entries(const struct stream_part *part)
{
    struct stream_reader entries = stream_entries(part);
    struct fault fault = {0};
    struct stream_entry entry;

    for (uint32_t i = 0; i < part->count; i++) {
        if (!stream_get_entry(&entries, &entry, &fault))
            return false;
        assert(entry.op >= 1 && entry.op <= STREAM_OP_MAX && entry.origin >= 1 && entry.lsn >= 1);
        look(entry.pk);
        look(entry.id);
        look(entry.body);
        look_at_vector(entry.context);
    }
    return stream_at_end(&entries, &fault);
}

static void read_answer(struct stream_reader payload)
{
    struct fault fault = {0};
    struct stream_answer answer;
    struct stream_part part;

    if (!stream_get_answer(&payload, &answer, &fault))
        return;
    for (uint32_t i = 0; i < answer.count; i++) {
        if (!stream_get_part(&payload, &part, &fault) || !read_entries(&part))
            return;
        assert(part.from <= part.to && part.range_id >= 0);
        look_at_vector(part.vector);
        look_at_vector(part.committed);
    }
    looked_at += stream_at_end(&payload, &fault);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice message = slice_make((const char *) data, size);
    struct stream_reader payload;
    struct buf unpacked = {0};
    struct fault fault = {0};

    if (stream_open(message, STREAM_REQUEST, &unpacked, &payload, &fault))
        read_request(payload);
    buf_finish(&unpacked);
    if (stream_open(message, STREAM_ANSWER, &unpacked, &payload, &fault))
        read_answer(payload);
    buf_finish(&unpacked);
    return 0;
}
