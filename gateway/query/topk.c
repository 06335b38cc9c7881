#include "query/topk.h"

#include <assert.h>
#include <stdlib.h>

#include "base/banned.h"

/* What the rows may take with all that is known of them: a key may be as long as an item. */
#define TOPK_MEMORY_MAX ((size_t) 32 << 20)

struct entry {
    size_t size; /* of the whole piece */
    uint32_t range;
    uint64_t rid, row;
    struct sort_value *values; /* behind the entry, their texts behind them, then the payload */
    struct slice payload;
};

struct topk {
    size_t limit, bytes_max;
    bool is_distinct;
    unsigned key_count;
    bool is_descending[TOPK_KEYS_MAX];
    struct entry *after; /* NULL without */
    bool is_cut;
    size_t bytes;           /* of payloads */
    size_t memory;          /* of entries */
    struct entry **entries; /* a heap, the last row first; sorted once finished */
    size_t count, capacity;
};

/* A copy in one piece; NULL without memory. */
static struct entry *entry_create(const struct topk *topk, const struct topk_position *position,
                                  struct slice payload)
{
    size_t size = sizeof(struct entry) + topk->key_count * sizeof(struct sort_value) + payload.len;

    for (unsigned i = 0; i < topk->key_count; i++)
        size += position->values[i].text.len;
    struct entry *entry = malloc(size);
    if (entry == NULL)
        return NULL;
    struct sort_value *values = (struct sort_value *) (entry + 1);
    char *at = (char *) (values + topk->key_count);
    *entry = (struct entry){.size = size,
                            .range = position->range,
                            .rid = position->rid,
                            .row = position->row,
                            .values = values};
    for (unsigned i = 0; i < topk->key_count; i++) {
        values[i] = position->values[i];
        if (values[i].text.len > 0)
            memcpy(at, values[i].text.ptr, values[i].text.len);
        values[i].text.ptr = at;
        at += values[i].text.len;
    }
    if (payload.len > 0)
        memcpy(at, payload.ptr, payload.len);
    entry->payload = slice_make(at, payload.len);
    return entry;
}

struct topk *topk_create(const struct topk_options *options, struct fault *fault)
{
    struct topk *topk = calloc(1, sizeof(*topk));

    assert(options->key_count <= TOPK_KEYS_MAX && options->limit > 0);
    if (topk == NULL) {
        fault_set_oom(fault);
        return NULL;
    }
    topk->limit = options->limit;
    topk->bytes_max = options->bytes_max;
    topk->is_distinct = options->is_distinct;
    topk->key_count = options->key_count;
    for (unsigned i = 0; i < topk->key_count; i++)
        topk->is_descending[i] = options->is_descending[i];
    if (options->after == NULL)
        return topk;
    topk->after = entry_create(topk, options->after, (struct slice){0});
    if (topk->after == NULL) {
        free(topk);
        fault_set_oom(fault);
        return NULL;
    }
    return topk;
}

void topk_destroy(struct topk *topk)
{
    if (topk == NULL)
        return;
    for (size_t i = 0; i < topk->count; i++)
        free(topk->entries[i]);
    free(topk->entries);
    free(topk->after);
    free(topk);
}

static int numbers_compare(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

/* Which of two rows comes first. */
static int rows_compare(const struct topk *topk, const struct topk_position *a,
                        const struct entry *b)
{
    for (unsigned i = 0; i < topk->key_count; i++) {
        int order = sort_value_compare(&a->values[i], &b->values[i]);
        if (order != 0)
            return topk->is_descending[i] ? -order : order;
    }
    if (a->range != b->range)
        return a->range < b->range ? -1 : 1;
    int order = numbers_compare(a->rid, b->rid);
    if (order != 0)
        return topk->key_count > 0 && topk->is_descending[0] ? -order : order;
    return numbers_compare(a->row, b->row);
}

static struct topk_position entry_position(const struct entry *entry)
{
    return (struct topk_position){
        .values = entry->values, .range = entry->range, .rid = entry->rid, .row = entry->row};
}

static int entries_compare(const struct topk *topk, size_t a, size_t b)
{
    struct topk_position position = entry_position(topk->entries[a]);

    return rows_compare(topk, &position, topk->entries[b]);
}

static void entries_swap(struct topk *topk, size_t a, size_t b)
{
    struct entry *entry = topk->entries[a];

    topk->entries[a] = topk->entries[b];
    topk->entries[b] = entry;
}

static void heap_up(struct topk *topk, size_t at)
{
    for (; at > 0 && entries_compare(topk, at, (at - 1) / 2) > 0; at = (at - 1) / 2)
        entries_swap(topk, at, (at - 1) / 2);
}

static void heap_down(struct topk *topk, size_t at, size_t count)
{
    for (;;) {
        size_t last = at, left = 2 * at + 1, right = left + 1;

        if (left < count && entries_compare(topk, left, last) > 0)
            last = left;
        if (right < count && entries_compare(topk, right, last) > 0)
            last = right;
        if (last == at)
            return;
        entries_swap(topk, at, last);
        at = last;
    }
}

static void heap_drop(struct topk *topk)
{
    topk->is_cut = true;
    topk->bytes -= topk->entries[0]->payload.len;
    topk->memory -= topk->entries[0]->size;
    free(topk->entries[0]);
    topk->entries[0] = topk->entries[--topk->count];
    heap_down(topk, 0, topk->count);
}

/* No room for one more row, or none for what comes last. */
static bool is_full(const struct topk *topk)
{
    return topk->count >= topk->limit ||
           (topk->count > 0 && (topk->bytes >= topk->bytes_max || topk->memory >= TOPK_MEMORY_MAX));
}

/*
 * May the last row go? Only when there is no room for it without it, too: what was full stays full,
 * and no later row takes the place of an earlier one that was let go.
 */
static bool has_too_many(const struct topk *topk)
{
    const struct entry *last = topk->entries[0];

    return topk->count > topk->limit ||
           (topk->count > 1 && (topk->bytes - last->payload.len >= topk->bytes_max ||
                                topk->memory - last->size >= TOPK_MEMORY_MAX));
}

static bool is_after(const struct topk *topk, const struct topk_position *position)
{
    return topk->after == NULL || rows_compare(topk, position, topk->after) > 0;
}

/* Is a row at that position kept? The rids are digests, so few rows need more than a look. */
static bool is_kept(const struct topk *topk, const struct topk_position *position)
{
    for (size_t i = 0; i < topk->count; i++) {
        const struct entry *entry = topk->entries[i];
        if (entry->rid == position->rid && entry->row == position->row &&
            rows_compare(topk, position, entry) == 0)
            return true;
    }
    return false;
}

bool topk_wants(struct topk *topk, const struct topk_position *position)
{
    if (!is_after(topk, position))
        return false;
    bool is_wanted = !is_full(topk) || rows_compare(topk, position, topk->entries[0]) < 0;
    if (topk->is_distinct && is_full(topk) && rows_compare(topk, position, topk->entries[0]) == 0)
        return false;
    topk->is_cut = topk->is_cut || !is_wanted;
    return is_wanted && !(topk->is_distinct && is_kept(topk, position));
}

static bool entries_grow(struct topk *topk)
{
    if (topk->count < topk->capacity)
        return true;
    size_t capacity = topk->capacity > 0 ? 2 * topk->capacity : 16;
    struct entry **entries = realloc(topk->entries, capacity * sizeof(*entries));
    if (entries == NULL)
        return false;
    topk->entries = entries;
    topk->capacity = capacity;
    return true;
}

bool topk_add(struct topk *topk, const struct topk_position *position, struct slice payload,
              struct fault *fault)
{
    if (!topk_wants(topk, position))
        return true;
    struct entry *entry = entries_grow(topk) ? entry_create(topk, position, payload) : NULL;
    if (entry == NULL)
        return fault_set_oom(fault);
    topk->entries[topk->count++] = entry;
    topk->bytes += payload.len;
    topk->memory += entry->size;
    heap_up(topk, topk->count - 1);
    while (has_too_many(topk))
        heap_drop(topk);
    return true;
}

void topk_finish(struct topk *topk)
{
    for (size_t end = topk->count; end > 1; end--) {
        entries_swap(topk, 0, end - 1);
        heap_down(topk, 0, end - 1);
    }
}

size_t topk_count(const struct topk *topk)
{
    return topk->count;
}

bool topk_is_cut(const struct topk *topk)
{
    return topk->is_cut;
}

struct slice topk_row(const struct topk *topk, size_t index, struct topk_position *position)
{
    assert(index < topk->count);
    *position = entry_position(topk->entries[index]);
    return topk->entries[index]->payload;
}
