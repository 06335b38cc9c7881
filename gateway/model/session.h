/*
 * Session tokens: what a client has seen, per partition key range.
 *
 * "0:257#12#1=5#2=7" says: of range 0, under version (epoch) 257, everything up to LSN 5 of region
 * 1 and 7 of region 2. The number in the middle is the sum of all components; SDKs want it to grow,
 * this server ignores it wherever regions are named. A header holds one token per range, joined by
 * commas, also of ranges that the request does not touch, of parents of split ranges, and of ranges
 * long gone.
 *
 * Sources: protocol reference, section 8; replication rules, section 6.
 */
#ifndef ORRERY_MODEL_SESSION_H
#define ORRERY_MODEL_SESSION_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/fault.h"

#include <stdint.h>

#define SESSION_HEADER_BYTES_MAX 32768
#define SESSION_PARTS_MAX 4096
#define SESSION_ORIGINS_MAX 64

/* No version: written "-1". */
#define SESSION_NO_VERSION (-1)

struct session_origin {
    uint32_t ordinal; /* of the region */
    int64_t lsn;
};

struct session_part {
    uint32_t range; /* index of the range in its container */
    int64_t version;
    int64_t global_lsn;
    size_t origin_count;
    const struct session_origin *origins; /* as written */
};

/* Sorted by range; a range that was named twice is there twice. */
struct session_token {
    size_t count;
    struct session_part *parts;
};

/* Where a range of this region stands. Everything is borrowed. */
struct session_state {
    int64_t epoch;
    size_t live_count;
    const uint32_t *live; /* ordinals of the epoch's live regions, ascending */
    size_t vector_count;
    const int64_t *vector; /* element o - 1 is the highest LSN of ordinal o */
    size_t cut_count;
    const struct session_origin *cuts; /* retired ordinals and how far their history is kept */
};

enum session_verdict {
    SESSION_SATISFIED,
    SESSION_BEHIND,      /* wait for more changes */
    SESSION_BEHIND_EPOCH /* the token knows a later epoch: fetch the topology, then wait */
};

/* Changes that a token names and a forced failover cut away: LSNs from + 1 to to of an origin. */
struct session_lost {
    uint32_t ordinal;
    int64_t from, to;
};

/*
 * Read the header x-ms-session-token.
 *
 * arena  keeps the parts
 * fault  400 when malformed or beyond the limits above
 */
bool session_parse(struct session_token *token, struct slice header, struct arena *arena,
                   struct fault *fault) MUST_CHECK;

/* The parts that name a range: how many, and the first. */
size_t session_find(const struct session_token *token, uint32_t range,
                    const struct session_part **first);

/* Does a range that stands at state hold everything that the part names? */
enum session_verdict session_compare(const struct session_part *part,
                                     const struct session_state *state);

/*
 * The same for a whole token: the parts of the range itself, or, when it has none, those of its
 * parents. A token that names neither is satisfied.
 */
enum session_verdict session_check(const struct session_token *token, uint32_t range,
                                   const uint32_t *parents, size_t parent_count,
                                   const struct session_state *state);

/* What of a part was cut away; at most max, returns how many. */
size_t session_losses(const struct session_part *part, const struct session_state *state,
                      struct session_lost *losses, size_t max);

/* The token of a range as text. Every live origin, in order, zeros too. */
void session_append(struct buf *buf, uint32_t range, const struct session_state *state);

#endif
