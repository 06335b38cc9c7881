#include "store/recent.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/banned.h"

#define SLOTS 16 /* power of two; a range has one place */
#define SLOT_BYTES_MAX (256u << 10)
#define KEPT_MS 1000

struct kept {
    int64_t range_id, from, to, at_ms;
    struct buf entries;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct kept slots[SLOTS];

static struct kept *slot_of(int64_t range_id)
{
    return &slots[((uint64_t) range_id * 0x9e3779b97f4a7c15ULL) >> 60];
}

void recent_keep(const struct stream_part *part, struct slice entries, int64_t now_ms)
{
    struct kept *kept = slot_of(part->range_id);

    if (entries.len > SLOT_BYTES_MAX)
        return;
    pthread_mutex_lock(&lock);
    kept->entries.len = 0;
    buf_append_slice(&kept->entries, entries);
    *kept = (struct kept){.range_id = part->range_id,
                          .from = part->from,
                          .to = kept->entries.has_failed ? part->from : part->to,
                          .at_ms = now_ms,
                          .entries = kept->entries};
    if (kept->entries.has_failed)
        buf_finish(&kept->entries);
    pthread_mutex_unlock(&lock);
}

static bool lacks(const struct stream_entry *entry, unsigned region, const int64_t *acked,
                  unsigned acked_count)
{
    int64_t has = entry->origin >= 1 && entry->origin <= acked_count ? acked[entry->origin - 1] : 0;

    return entry->origin != region && entry->lsn > has;
}

static bool take(const struct kept *kept, struct stream_part *part, unsigned region,
                 const int64_t *acked, unsigned acked_count, size_t bytes_max, struct buf *entries)
{
    struct slice all = buf_slice(&kept->entries);
    struct stream_reader reader = {all.ptr, all.ptr + all.len};
    size_t before = entries->len;
    struct stream_entry entry;
    struct fault fault;

    part->count = 0;
    part->to = kept->to < part->head ? kept->to : part->head;
    while (reader.at < reader.end && entries->len - before <= bytes_max) {
        const char *start = reader.at;
        if (!stream_get_entry(&reader, &entry, &fault)) {
            part->count = 0;
            break;
        }
        if (entry.seq > part->from && entry.seq <= part->to &&
            lacks(&entry, region, acked, acked_count)) {
            buf_append(entries, start, (size_t) (reader.at - start));
            part->count++;
        }
    }
    if (part->count > 0 && entries->len - before <= bytes_max)
        return true;
    entries->len = before;
    return false;
}

bool recent_take(struct stream_part *part, unsigned region, const int64_t *acked,
                 unsigned acked_count, size_t bytes_max, int64_t now_ms, struct buf *entries)
{
    const struct kept *kept = slot_of(part->range_id);
    bool is_taken = false;

    pthread_mutex_lock(&lock);
    if (kept->range_id == part->range_id && now_ms - kept->at_ms < KEPT_MS &&
        kept->from <= part->from && kept->to > part->from && part->head > part->from)
        is_taken = take(kept, part, region, acked, acked_count, bytes_max, entries);
    pthread_mutex_unlock(&lock);
    return is_taken;
}
