#include "regions/stream.h"

#include "base/pack.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/banned.h"

#define MAGIC "ORY1"
#define MAGIC_BYTES 4
#define HEAD_BYTES (MAGIC_BYTES + 2 + 4)

enum entry_flag {
    ENTRY_HAS_ETAG = 1,
    ENTRY_HAS_TTL = 2,
    ENTRY_HAS_RANK = 4,
    ENTRY_HAS_CONTEXT = 8,
    ENTRY_HAS_BODY = 16,
    ENTRY_FLAGS = 31
};

/* ---- numbers ---- */

static void put8(struct buf *buf, unsigned value)
{
    buf_append_char(buf, (char) value);
}

static void put32(struct buf *buf, uint32_t value)
{
    char bytes[4];

    for (unsigned i = 0; i < sizeof(bytes); i++)
        bytes[i] = (char) (value >> (8 * i));
    buf_append(buf, bytes, sizeof(bytes));
}

static void put64(struct buf *buf, int64_t value)
{
    char bytes[8];

    for (unsigned i = 0; i < sizeof(bytes); i++)
        bytes[i] = (char) ((uint64_t) value >> (8 * i));
    buf_append(buf, bytes, sizeof(bytes));
}

static void set32(struct buf *buf, size_t place, uint32_t value)
{
    for (unsigned i = 0; i < 4 && !buf->has_failed; i++)
        buf->ptr[place + i] = (char) (value >> (8 * i));
}

static void put_text(struct buf *buf, struct slice text)
{
    put32(buf, (uint32_t) text.len);
    buf_append_slice(buf, text);
}

static void put_vector(struct buf *buf, const int64_t *vector, unsigned count)
{
    put8(buf, count);
    for (unsigned i = 0; i < count; i++)
        put64(buf, vector[i]);
}

static uint64_t get_number(const char *bytes, unsigned size)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < size; i++)
        value |= (uint64_t) (unsigned char) bytes[i] << (8 * i);
    return value;
}

/* A reader that has come to its end too early gives zeros, and says so at last. */
static bool has(const struct stream_reader *reader, size_t len)
{
    return reader->at != NULL && (size_t) (reader->end - reader->at) >= len;
}

static uint64_t get(struct stream_reader *reader, unsigned size)
{
    if (!has(reader, size)) {
        reader->at = NULL;
        return 0;
    }
    uint64_t value = get_number(reader->at, size);
    reader->at += size;
    return value;
}

static int64_t get64(struct stream_reader *reader)
{
    return (int64_t) get(reader, 8);
}

/* A number that is never negative. */
static int64_t get63(struct stream_reader *reader)
{
    int64_t value = get64(reader);

    if (value < 0)
        reader->at = NULL;
    return value;
}

static struct slice get_bytes(struct stream_reader *reader, size_t len)
{
    if (!has(reader, len)) {
        reader->at = NULL;
        return slice_make("", 0);
    }
    struct slice bytes = slice_make(reader->at, len);
    reader->at += len;
    return bytes;
}

static struct slice get_text(struct stream_reader *reader)
{
    return get_bytes(reader, get(reader, 4));
}

int64_t stream_vector_at(struct stream_vector vector, unsigned index)
{
    return index < vector.count ? (int64_t) get_number(vector.bytes + 8 * index, 8) : 0;
}

static struct stream_vector get_vector(struct stream_reader *reader)
{
    unsigned count = (unsigned) get(reader, 1);
    struct stream_vector vector = {count, get_bytes(reader, 8 * (size_t) count).ptr};

    if (reader->at == NULL)
        return (struct stream_vector){0, NULL};
    for (unsigned i = 0; i < count; i++) {
        if (stream_vector_at(vector, i) < 0)
            reader->at = NULL;
    }
    return vector;
}

static bool check(const struct stream_reader *reader, const char *what, struct fault *fault)
{
    return reader->at != NULL ||
           fault_set(fault, 400, SUB_NONE, "the message of a region ends or is broken inside %s",
                     what);
}

bool stream_at_end(const struct stream_reader *reader, struct fault *fault)
{
    return reader->at == reader->end ||
           fault_set(fault, 400, SUB_NONE, "the message of a region has bytes behind its end");
}

/* ---- hello ---- */

static void put_hello(struct buf *buf, const struct stream_hello *hello)
{
    put_text(buf, hello->account);
    put8(buf, hello->ordinal);
    put32(buf, hello->schema);
    put64(buf, hello->epoch);
}

static void get_hello(struct stream_reader *reader, struct stream_hello *hello)
{
    hello->account = get_text(reader);
    hello->ordinal = (unsigned) get(reader, 1);
    hello->schema = (uint32_t) get(reader, 4);
    hello->epoch = get63(reader);
    if (hello->account.len > STREAM_ACCOUNT_BYTES_MAX || hello->ordinal == 0)
        reader->at = NULL;
}

bool stream_check_hello(const struct stream_hello *ours, const struct stream_hello *theirs,
                        struct fault *fault)
{
    if (!slice_equals(ours->account, theirs->account))
        return fault_set(fault, 409, SUB_NONE,
                         "region %u is of account \"%.*s\", region %u of account \"%.*s\"",
                         theirs->ordinal, FAULT_QUOTE(theirs->account), ours->ordinal,
                         FAULT_QUOTE(ours->account));
    if (ours->schema != theirs->schema)
        return fault_set(fault, 409, SUB_NONE,
                         "region %u has schema version %" PRIu32 ", region %u has %" PRIu32,
                         theirs->ordinal, theirs->schema, ours->ordinal, ours->schema);
    return ours->ordinal != theirs->ordinal ||
           fault_set(fault, 409, SUB_NONE, "both are region %u of account \"%.*s\"", ours->ordinal,
                     FAULT_QUOTE(ours->account));
}

/* ---- requests ---- */

static size_t hello_bytes(const struct stream_hello *hello)
{
    return 4 + hello->account.len + 1 + 4 + 8;
}

void stream_put_request(struct buf *payload, const struct stream_request *request)
{
    put_hello(payload, &request->hello);
    put8(payload, request->flags);
    put8(payload, (unsigned) request->declined.len);
    buf_append_slice(payload, request->declined);
    put64(payload, request->after);
    put32(payload, request->count);
}

void stream_set_want_count(struct buf *payload, const struct stream_request *request,
                           uint32_t count)
{
    set32(payload, hello_bytes(&request->hello) + 1 + 1 + request->declined.len + 8, count);
}

void stream_put_want(struct buf *payload, int64_t range_id, int64_t held, int64_t received,
                     const int64_t *acked, unsigned acked_count, const int64_t *committed,
                     unsigned committed_count)
{
    put64(payload, range_id);
    put64(payload, held);
    put64(payload, received);
    put_vector(payload, acked, acked_count);
    put_vector(payload, committed, committed_count);
}

bool stream_get_request(struct stream_reader *payload, struct stream_request *request,
                        struct fault *fault)
{
    get_hello(payload, &request->hello);
    request->flags = (unsigned) get(payload, 1);
    request->declined = get_bytes(payload, (size_t) get(payload, 1));
    request->after = get64(payload);
    request->count = (uint32_t) get(payload, 4);
    return check(payload, "a request's head", fault);
}

bool stream_get_want(struct stream_reader *payload, struct stream_want *want, struct fault *fault)
{
    want->range_id = get63(payload);
    want->held = get64(payload);
    want->received = get63(payload);
    want->acked = get_vector(payload);
    want->committed = get_vector(payload);
    if (want->held < STREAM_UNKNOWN)
        payload->at = NULL;
    return check(payload, "what a request wants", fault);
}

/* ---- answers ---- */

void stream_put_answer(struct buf *payload, const struct stream_answer *answer)
{
    put_hello(payload, &answer->hello);
    put32(payload, answer->count);
}

void stream_set_part_count(struct buf *payload, const struct stream_answer *answer, uint32_t count)
{
    set32(payload, hello_bytes(&answer->hello), count);
}

struct stream_part_writer stream_begin_part(struct buf *payload, const struct stream_part *part,
                                            const int64_t *vector, unsigned vector_count,
                                            const int64_t *committed, unsigned committed_count)
{
    put64(payload, part->range_id);
    put64(payload, part->from);
    put64(payload, part->to);
    put64(payload, part->head);
    put_vector(payload, vector, vector_count);
    put_vector(payload, committed, committed_count);
    put8(payload, part->needs_origin);
    put64(payload, part->needs_lsn);
    struct stream_part_writer writer = {.place = payload->len};
    put32(payload, 0);
    put32(payload, 0);
    return writer;
}

void stream_put_entry(struct buf *payload, struct stream_part_writer *writer,
                      const struct stream_entry *entry, const int64_t *context,
                      unsigned context_count)
{
    size_t start = payload->len;
    unsigned flags =
        (entry->has_etag ? ENTRY_HAS_ETAG : 0u) | (entry->has_ttl ? ENTRY_HAS_TTL : 0u) |
        (entry->has_rank ? ENTRY_HAS_RANK : 0u) | (entry->has_context ? ENTRY_HAS_CONTEXT : 0u) |
        (slice_is_absent(entry->body) ? 0u : ENTRY_HAS_BODY);

    put32(payload, 0);
    put64(payload, entry->seq);
    put64(payload, entry->lsn);
    put64(payload, entry->epoch);
    put64(payload, entry->rid);
    put64(payload, entry->ts);
    put32(payload, (uint32_t) entry->index);
    put8(payload, entry->op);
    put8(payload, entry->origin);
    put8(payload, flags);
    if (entry->has_etag)
        buf_append(payload, entry->etag, sizeof(entry->etag));
    if (entry->has_ttl)
        put32(payload, (uint32_t) entry->ttl);
    if (entry->has_rank) {
        int64_t bits;
        memcpy(&bits, &entry->rank, sizeof(bits));
        put64(payload, bits);
    }
    put_text(payload, entry->pk);
    put_text(payload, entry->id);
    if (entry->has_context)
        put_vector(payload, context, context_count);
    if ((flags & ENTRY_HAS_BODY) != 0)
        put_text(payload, entry->body);
    set32(payload, start, (uint32_t) (payload->len - start - 4));
    writer->count++;
}

void stream_end_part(struct buf *payload, const struct stream_part_writer *writer)
{
    set32(payload, writer->place, writer->count);
    set32(payload, writer->place + 4, (uint32_t) (payload->len - writer->place - 8));
}

bool stream_get_answer(struct stream_reader *payload, struct stream_answer *answer,
                       struct fault *fault)
{
    get_hello(payload, &answer->hello);
    answer->count = (uint32_t) get(payload, 4);
    return check(payload, "an answer's head", fault);
}

bool stream_get_part(struct stream_reader *payload, struct stream_part *part, struct fault *fault)
{
    part->range_id = get63(payload);
    part->from = get63(payload);
    part->to = get63(payload);
    part->head = get63(payload);
    part->vector = get_vector(payload);
    part->committed = get_vector(payload);
    part->needs_origin = (unsigned) get(payload, 1);
    part->needs_lsn = get63(payload);
    part->count = (uint32_t) get(payload, 4);
    part->entries = get_text(payload);
    if (part->from > part->to)
        payload->at = NULL;
    return check(payload, "a range", fault);
}

struct stream_reader stream_entries(const struct stream_part *part)
{
    return (struct stream_reader){part->entries.ptr, part->entries.ptr + part->entries.len};
}

static void get_rank(struct stream_reader *reader, double *rank)
{
    uint64_t bits = get(reader, 8);

    memcpy(rank, &bits, sizeof(*rank));
    if (!isfinite(*rank))
        reader->at = NULL;
}

/* What the flags announce. */
static void get_optional(struct stream_reader *reader, unsigned flags, struct stream_entry *entry)
{
    entry->has_etag = (flags & ENTRY_HAS_ETAG) != 0;
    entry->has_ttl = (flags & ENTRY_HAS_TTL) != 0;
    entry->has_rank = (flags & ENTRY_HAS_RANK) != 0;
    entry->has_context = (flags & ENTRY_HAS_CONTEXT) != 0;
    if (entry->has_etag) {
        struct slice etag = get_bytes(reader, sizeof(entry->etag));
        if (etag.len == sizeof(entry->etag))
            memcpy(entry->etag, etag.ptr, sizeof(entry->etag));
    }
    if (entry->has_ttl)
        entry->ttl = (int32_t) get(reader, 4);
    if (entry->has_rank)
        get_rank(reader, &entry->rank);
}

bool stream_get_entry(struct stream_reader *entries, struct stream_entry *entry,
                      struct fault *fault)
{
    struct slice all = get_text(entries);
    struct stream_reader in = {all.ptr, all.ptr + all.len};

    *entry = (struct stream_entry){0};
    if (!check(entries, "an entry", fault))
        return false;
    entry->seq = get63(&in);
    entry->lsn = get63(&in);
    entry->epoch = get63(&in);
    entry->rid = get63(&in);
    entry->ts = get64(&in);
    uint64_t index = get(&in, 4);
    entry->op = (unsigned) get(&in, 1);
    entry->origin = (unsigned) get(&in, 1);
    unsigned flags = (unsigned) get(&in, 1);
    get_optional(&in, flags, entry);
    entry->pk = get_text(&in);
    entry->id = get_text(&in);
    if (entry->has_context)
        entry->context = get_vector(&in);
    if ((flags & ENTRY_HAS_BODY) != 0)
        entry->body = get_text(&in);
    entry->index = (int32_t) index;
    bool is_sound = in.at == in.end && index <= INT32_MAX && flags <= ENTRY_FLAGS &&
                    entry->op >= 1 && entry->op <= STREAM_OP_MAX && entry->origin >= 1 &&
                    entry->lsn >= 1 && entry->seq >= 1;
    return is_sound || fault_set(fault, 400, SUB_NONE, "an entry of a region is broken");
}

/* ---- messages ---- */

bool stream_seal(struct buf *message, enum stream_kind kind, struct slice payload)
{
    bool is_packed = payload.len >= STREAM_PACK_BYTES;

    if (payload.len > STREAM_BYTES_MAX)
        return false;
    buf_append_text(message, MAGIC);
    put8(message, kind);
    put8(message, is_packed);
    put32(message, (uint32_t) payload.len);
    if (is_packed && !pack_append(message, payload))
        return false;
    if (!is_packed)
        buf_append_slice(message, payload);
    return !message->has_failed;
}

bool stream_open(struct slice message, enum stream_kind kind, struct buf *unpacked,
                 struct stream_reader *payload, struct fault *fault)
{
    if (message.len < HEAD_BYTES || memcmp(message.ptr, MAGIC, MAGIC_BYTES) != 0 ||
        message.ptr[MAGIC_BYTES] != (char) kind || (message.ptr[MAGIC_BYTES + 1] & ~1) != 0)
        return fault_set(fault, 400, SUB_NONE, "this is no message between regions");
    size_t len = get_number(message.ptr + MAGIC_BYTES + 2, 4);
    struct slice text = slice_make(message.ptr + HEAD_BYTES, message.len - HEAD_BYTES);
    if (message.ptr[MAGIC_BYTES + 1] != 0) {
        if (len > STREAM_BYTES_MAX || !unpack_append(unpacked, text, len))
            return fault_set(fault, 400, SUB_NONE, "the message of a region cannot be unpacked");
        text = buf_slice(unpacked);
    }
    if (text.len != len)
        return fault_set(fault, 400, SUB_NONE, "the message of a region has %zu bytes, not %zu",
                         text.len, len);
    *payload = (struct stream_reader){text.ptr, text.ptr + text.len};
    return true;
}
