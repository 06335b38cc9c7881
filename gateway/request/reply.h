/*
 * The answer to one request, as plain data that knows nothing of the server that sends it.
 *
 * Header values live in the request's arena. The body is one malloc'ed piece that the reply owns
 * until the server takes it, so that no byte of it is copied on the way out.
 */
#ifndef ORRERY_REQUEST_REPLY_H
#define ORRERY_REQUEST_REPLY_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/fault.h"

#define REPLY_HEADERS_MAX 32

struct reply_header {
    const char *name;  /* static */
    const char *value; /* terminated; in the request's arena or static */
};

struct reply {
    unsigned status;
    struct reply_header headers[REPLY_HEADERS_MAX];
    unsigned header_count;
    char *body; /* malloc'ed; NULL for none */
    size_t body_len;
    const char *content_type; /* static; NULL: application/json */
    int64_t charge_cru;       /* hundredths of a request unit: model/charge.h */
};

void reply_finish(struct reply *reply);

/* A header whose value is static or in the arena; an absent (NULL) or empty value is not sent. */
void reply_header(struct reply *reply, const char *name, const char *value);

/* A header with a number. Out of memory drops the header, never the answer. */
void reply_header_i64(struct reply *reply, struct arena *arena, const char *name, int64_t value);

/* Give the reply its body; the buffer is emptied. False and a fault when printing it had failed. */
bool reply_take_body(struct reply *reply, struct buf *buf, struct fault *fault) MUST_CHECK;

/*
 * The JSON body of a fault: {"code":…,"message":…}, with the activity id in the message.
 *
 * extra  "additionalErrorInfo" text; NULL for none
 * returns  false when there is no memory
 */
bool reply_print_fault(struct buf *buf, const struct fault *fault, const char *activity_id,
                       const char *extra) MUST_CHECK;

#endif
