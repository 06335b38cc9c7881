/*
 * Beats: the small messages by which leases are asked for and given, and by which another region
 * asks how far the hub's definitions are. Nobody holds them.
 *
 *     {"account":"orrery","schema":12,"ordinal":1,"epoch":257,"asks":"promise"}
 *     {"promised":true}
 *
 *     {"account":"orrery","schema":12,"ordinal":2,"epoch":257,"asks":"lease","since":917}
 *     {"lease_ms":4950,"set_version":3,"since":920,"ranges":[[4096,[12,0],14], …]}
 *
 *     {"account":"orrery","schema":12,"ordinal":2,"epoch":257,"asks":"definitions"}
 *     {"definitions":[31,0]}
 *
 * definitions: the vector of range 0. ranges: [range, what is committed of it, the hub's head],
 * those that moved since. An answer is text for a machine, so it is refused as a whole when any
 * part of it is not as it must be.
 */
#ifndef ORRERY_REGIONS_BEAT_H
#define ORRERY_REGIONS_BEAT_H

#include "model/json.h"
#include "regions/stream.h"

/* Of an answer, per 100,000 ranges about as much. */
#define BEAT_ANSWER_BYTES_MAX (8u << 20)

enum beat_kind { BEAT_PROMISE, BEAT_LEASE, BEAT_DEFINITIONS };

struct beat_question {
    struct stream_hello hello;
    enum beat_kind kind;
    int64_t since; /* of a lease: of the last answer; 0: all */
};

void beat_print_question(struct buf *out, const struct beat_question *question);

/* Names are kept in the arena. Fault 400. */
bool beat_parse_question(struct beat_question *question, struct slice text, struct arena *arena,
                         struct fault *fault) MUST_CHECK;

struct beat_range {
    int64_t range_id, head;
    size_t committed_len;
    int64_t committed[STREAM_VECTOR_MAX];
};

struct beat_answer {
    bool promised;
    int64_t lease_ms; /* 0: no lease */
    int64_t set_version, since;
    size_t definitions_len;
    int64_t definitions[STREAM_VECTOR_MAX];
    /* private: where beat_next is */
    struct json_cursor ranges;
};

/* Begin, add each range, end. */
void beat_answer_promise(struct buf *out, bool promised);
void beat_answer_definitions(struct buf *out, const int64_t *vector, size_t len);
void beat_answer_begin(struct buf *out);
void beat_answer_range(struct buf *out, const struct beat_range *range);
void beat_answer_end(struct buf *out, int64_t lease_ms, int64_t set_version, int64_t since);

/* Read one; then its ranges, one after the other. text is borrowed. Fault 400. */
bool beat_parse_answer(struct beat_answer *answer, enum beat_kind kind, struct slice text,
                       struct fault *fault) MUST_CHECK;

enum beat_next { BEAT_RANGE, BEAT_END, BEAT_MALFORMED };
enum beat_next beat_next_range(struct beat_answer *answer, struct beat_range *range);

#endif
