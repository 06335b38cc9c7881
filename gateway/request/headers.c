#include "request/headers.h"

#include <assert.h>
#include <ctype.h>
#include <stdint.h>

#include "base/banned.h"

static const char *const names[] = {
#define ROW(name, text) [name] = text,
    HEADER_TABLE(ROW)
#undef ROW
};

/* The longest name in the table. */
#define NAME_MAX_BYTES 56

/* The most names of one length. */
#define BUCKET_NAMES 6

const char *header_name(enum header header)
{
    return names[header];
}

static int compare_name(const char *name, size_t len, const char *known)
{
    for (size_t i = 0; i < len; i++) {
        int c = tolower((unsigned char) name[i]);
        if (c != (unsigned char) known[i])
            return c < (unsigned char) known[i] ? -1 : 1;
    }
    return known[len] == '\0' ? 0 : -1;
}

/*
 * Few names share a length, so a bucket by length holds a handful of candidates. Filled once,
 * before main; then only read.
 */
static uint8_t buckets[NAME_MAX_BYTES + 1][BUCKET_NAMES];

__attribute__((constructor)) static void fill_buckets(void)
{
    for (unsigned i = 0; i < HEADER_COUNT; i++) {
        size_t len = strlen(names[i]);
        unsigned slot = 0;
        assert(len <= NAME_MAX_BYTES);
        while (buckets[len][slot] != 0)
            slot++;
        assert(slot < BUCKET_NAMES);
        buckets[len][slot] = (uint8_t) (i + 1);
    }
}

enum header header_find(const char *name, size_t len)
{
    if (len > NAME_MAX_BYTES)
        return HEADER_COUNT;
    for (unsigned slot = 0; slot < BUCKET_NAMES && buckets[len][slot] != 0; slot++) {
        enum header candidate = (enum header)(buckets[len][slot] - 1);
        if (compare_name(name, len, names[candidate]) == 0)
            return candidate;
    }
    return HEADER_COUNT;
}

bool header_is_true(const struct headers *headers, enum header header)
{
    return slice_equals_nocase(slice_trim(headers->at[header]), "true");
}

bool header_max_item_count(const struct headers *headers, unsigned default_count,
                           unsigned server_count, unsigned *count, struct fault *fault)
{
    struct slice text = slice_trim(headers->at[HEADER_MAX_ITEM_COUNT]);
    long long value;

    if (slice_is_empty(text)) {
        *count = default_count;
        return true;
    }
    if (!slice_to_i64(text, -1, INT32_MAX, &value) || value == 0)
        return fault_set(fault, 400, SUB_NONE,
                         "x-ms-max-item-count must be -1 or a positive number, not \"%.*s\"",
                         FAULT_QUOTE(text));
    *count = value < 0 || value > server_count ? server_count : (unsigned) value;
    return true;
}

bool header_wants_minimal(const struct headers *headers)
{
    struct slice rest = headers->at[HEADER_PREFER];

    while (!slice_is_absent(rest)) {
        struct slice part = slice_trim(slice_cut(rest, ',', &rest));
        if (slice_equals_nocase(part, "return=minimal"))
            return true;
    }
    return slice_equals_nocase(slice_trim(headers->at[HEADER_CONTENT_RESPONSE_ON_WRITE]), "false");
}
