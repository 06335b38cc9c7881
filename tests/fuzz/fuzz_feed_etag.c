/* Etags of the change feed: what is read is printed as a text that reads the same. */
#include "model/feed_position.h"

#include <assert.h>
#include <string.h>

#define RANGES 8

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct feed_position position, again;
    struct feed_etag etag, printed;
    struct buf text = {0};

    if (!feed_etag_parse(&etag, slice_make((const char *) data, size)))
        return 0;
    feed_etag_begin(&text, etag.container, etag.next);
    for (uint32_t range = 0; range < RANGES; range++)
        if (feed_etag_find(&etag, range, &position))
            feed_etag_append(&text, &position);
    feed_etag_end(&text);
    assert(feed_etag_parse(&printed, buf_slice(&text)));
    assert(printed.next == etag.next && slice_equals(printed.container, etag.container));
    for (uint32_t range = 0; range < RANGES; range++) {
        if (!feed_etag_find(&etag, range, &position)) {
            assert(!feed_etag_find(&printed, range, &again));
            continue;
        }
        assert(feed_etag_find(&printed, range, &again));
        assert(again.seq == position.seq && again.ordinal == position.ordinal);
        assert(again.vector_len == position.vector_len &&
               memcmp(again.vector, position.vector,
                      position.vector_len * sizeof(position.vector[0])) == 0);
    }
    buf_finish(&text);
    return 0;
}
