/*
 * What regions say to each other when one asks the other for entries: /_orrery/pull.
 *
 * Numbers are little-endian and of fixed size, texts have their length before them (32 bits), a
 * vector has its count (8 bits) before its numbers (64 bits each).
 *
 *   message    "ORY1", kind (1 byte: 'Q' or 'A'), is compressed (1 byte), length of the payload
 *              before compression (32), payload
 *   hello      account (text), ordinal (8), schema version (32), epoch (64): the highest that the
 *              sender accepted; the payload begins with it
 *   request    hello, flags (8), ordinals that are declined (8: how many; 8 each), after (64),
 *              count (32), so many wants
 *   want       range (64), held (64), received (64), vector that is durably applied, vector that is
 *              known to be globally committed
 *   answer     hello, count (32), so many parts
 *   part       range (64), from, to, head (64 each), vector, committed vector, origin (8) and LSN
 *              (64) of the metadata that it needs, count of entries (32), their bytes (32), entries
 *   entry      bytes (32), then: seq, lsn, epoch, rid, ts (64 each), index (32), op, origin (8
 *              each), flags (8), etag (16 bytes), ttl (32), rank (double) as flagged, pk, id,
 *              context (vector), body (texts) as flagged
 *
 * Whatever bytes come, reading them ends with a fault or with values in their bounds; nothing is
 * copied. tests/fuzz/fuzz_stream.c holds it to that.
 */
#ifndef ORRERY_REGIONS_STREAM_H
#define ORRERY_REGIONS_STREAM_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/fault.h"

#include <stdint.h>

/* Of a message before compression: a transaction travels whole, whatever its size. */
#define STREAM_BYTES_MAX (256u << 20)
/* Messages below are not compressed. */
#define STREAM_PACK_BYTES (8u << 10)
#define STREAM_VECTOR_MAX 255
#define STREAM_ACCOUNT_BYTES_MAX 256

/* want.held: the asker does not know; the source goes by what it was told before. */
#define STREAM_UNKNOWN (-1)
/* Positions beyond are of a copy: in a log that was trimmed, which is given to a region that lacks
 * what is no longer there. Entries then have gaps between, and the vector of the part is what the
 * log had reached at its head. */
#define STREAM_COPY (INT64_C(1) << 62)
/* want.received: nothing of this range for now. */
#define STREAM_NOT_NOW INT64_MAX

enum stream_kind { STREAM_REQUEST = 'Q', STREAM_ANSWER = 'A' };

/* Borrowed from the message. */
struct stream_vector {
    unsigned count;
    const char *bytes;
};

int64_t stream_vector_at(struct stream_vector vector, unsigned index);

struct stream_hello {
    struct slice account;
    unsigned ordinal;
    uint32_t schema;
    int64_t epoch;
};

enum stream_request_flag {
    STREAM_IS_FIRST = 1, /* nothing of the asker's is under way; its vectors are the truth */
    STREAM_IS_ACK = 2,   /* wants nothing: only tells what it has applied */
    STREAM_IS_WATCH = 4  /* wants no entries: only what is committed beyond what it knows */
};

struct stream_request {
    struct stream_hello hello;
    unsigned flags;
    struct slice declined; /* ordinals, a byte each: the asker hears these regions itself, and their
                              entries need not come this way unless it goes on lacking them */
    int64_t after;         /* the range that was served last: others come first */
    uint32_t count;
};

struct stream_want {
    int64_t range_id;
    int64_t held;     /* sequence of the source's log through which everything is applied */
    int64_t received; /* through which it has arrived */
    struct stream_vector acked, committed;
};

struct stream_answer {
    struct stream_hello hello;
    uint32_t count;
};

struct stream_part {
    int64_t range_id;
    int64_t from, to; /* entries after the one, through the other, that the asker lacks */
    int64_t head;     /* the last of the source's log */
    struct stream_vector vector, committed; /* of the source */
    unsigned needs_origin;                  /* 0: nothing */
    int64_t needs_lsn;
    uint32_t count;
    struct slice entries;
};

/* Kinds of entries begin at 1; schema/README.md tells them. */
#define STREAM_OP_MAX 6

struct stream_entry {
    int64_t seq, lsn, epoch, rid, ts;
    int32_t index;
    unsigned op, origin;
    bool has_etag, has_ttl, has_rank, has_context;
    uint8_t etag[16];
    int32_t ttl;
    double rank;
    struct slice pk, id;
    struct stream_vector context;
    struct slice body; /* absent: none */
};

/* ---- writing; fails as buffers do ---- */

void stream_put_request(struct buf *payload, const struct stream_request *request);
void stream_put_want(struct buf *payload, int64_t range_id, int64_t held, int64_t received,
                     const int64_t *acked, unsigned acked_count, const int64_t *committed,
                     unsigned committed_count);
/* How many wants follow, once it is known. */
void stream_set_want_count(struct buf *payload, const struct stream_request *request,
                           uint32_t count);

void stream_put_answer(struct buf *payload, const struct stream_answer *answer);
void stream_set_part_count(struct buf *payload, const struct stream_answer *answer, uint32_t count);

struct stream_part_writer {
    size_t place; /* of count and length; entries follow 8 bytes behind */
    uint32_t count;
};

/* from, to, head, needs and range_id are taken from part. */
struct stream_part_writer stream_begin_part(struct buf *payload, const struct stream_part *part,
                                            const int64_t *vector, unsigned vector_count,
                                            const int64_t *committed, unsigned committed_count);
void stream_put_entry(struct buf *payload, struct stream_part_writer *writer,
                      const struct stream_entry *entry, const int64_t *context,
                      unsigned context_count);
void stream_end_part(struct buf *payload, const struct stream_part_writer *writer);

/* The payload as a message, compressed when that is worth it. False without memory. */
bool stream_seal(struct buf *message, enum stream_kind kind, struct slice payload) MUST_CHECK;

/* ---- reading ---- */

struct stream_reader {
    const char *at, *end;
};

/*
 * Open a message: its payload, which borrows from it or from the buffer.
 *
 * fault  400
 */
bool stream_open(struct slice message, enum stream_kind kind, struct buf *unpacked,
                 struct stream_reader *payload, struct fault *fault) MUST_CHECK;

/* The head; then call the second as often as count says. Fault 400. */
bool stream_get_request(struct stream_reader *payload, struct stream_request *request,
                        struct fault *fault) MUST_CHECK;
bool stream_get_want(struct stream_reader *payload, struct stream_want *want,
                     struct fault *fault) MUST_CHECK;

bool stream_get_answer(struct stream_reader *payload, struct stream_answer *answer,
                       struct fault *fault) MUST_CHECK;
bool stream_get_part(struct stream_reader *payload, struct stream_part *part,
                     struct fault *fault) MUST_CHECK;
/* The entries of a part, as often as its count says. */
struct stream_reader stream_entries(const struct stream_part *part);
bool stream_get_entry(struct stream_reader *entries, struct stream_entry *entry,
                      struct fault *fault) MUST_CHECK;

/* Fault 400 when anything is left. */
bool stream_at_end(const struct stream_reader *reader, struct fault *fault) MUST_CHECK;

/*
 * May these two exchange entries? ours and theirs; the message names both sides.
 *
 * fault  409
 */
bool stream_check_hello(const struct stream_hello *ours, const struct stream_hello *theirs,
                        struct fault *fault) MUST_CHECK;

#endif
