/*
 * Continuations: where a feed or a query goes on, in a text that the client brings back.
 *
 * The text holds everything, the server keeps nothing: so it outlives a restart and is good in
 * every gateway of every region of the account. It is signed with an account key, so that one that
 * was changed is refused, and names what was asked, so that one of another question is. The form
 * is base64 of
 *
 *     1 (version), kind, container, question (16 bytes), skip, take, range, rid, row,
 *     state (the rest), signature (16 bytes)
 *
 * with numbers in 7-bit groups, the lowest first. SDKs wrap it into JSON, so there is no quote and
 * no backslash in it; the JavaScript SDK always asks for at most 1 KiB.
 */
#ifndef ORRERY_QUERY_CONTINUATION_H
#define ORRERY_QUERY_CONTINUATION_H

#include "base/arena.h"
#include "base/compiler.h"
#include "base/keys.h"
#include "base/slice.h"

#include <stdint.h>

#define CONTINUATION_QUESTION_BYTES 16

/* take without a bound. */
#define CONTINUATION_ALL UINT64_MAX

/* What the numbers mean; values stand in texts that clients keep. */
enum continuation_kind {
    CONTINUATION_FEED = 1,    /* range and rid of the last item */
    CONTINUATION_ROWS = 2,    /* the same, and how many rows that item gave when it gave not all */
    CONTINUATION_ORDERED = 3, /* the same; state: the sort keys of that item */
    CONTINUATION_TOP = 4,     /* the same, of a row */
    CONTINUATION_GROUPS = 5,  /* state: the digest of the last group */
};

struct continuation {
    enum continuation_kind kind;
    uint32_t container;                            /* number */
    uint8_t question[CONTINUATION_QUESTION_BYTES]; /* digest of what was asked, and of the scope */
    uint64_t skip;  /* rows of OFFSET that are still to be left out */
    uint64_t take;  /* rows of TOP and LIMIT that are still to be given, or CONTINUATION_ALL */
    uint32_t range; /* index, as in x-ms-documentdb-partitionkeyrangeid */
    uint64_t rid;   /* number */
    uint64_t row;
    struct slice state; /* borrowed; of a text that was read, in the arena */
};

/* How much state fits a text of at most so many bytes; 17 bytes always do. */
size_t continuation_state_max(size_t text_max);

/* How long a text with so many bytes of state can be, at most. */
size_t continuation_text_max(size_t state_bytes);

/* The text, terminated; NULL without memory. */
const char *continuation_print(const struct continuation *continuation, const struct keys *keys,
                               struct arena *arena) MUST_CHECK;

/*
 * Read a text that one of the account's two keys signed.
 *
 * returns  false when it is none, or when there is no memory
 */
bool continuation_parse(struct continuation *continuation, struct slice text,
                        const struct keys *keys, struct arena *arena) MUST_CHECK;

#endif
