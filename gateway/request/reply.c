#include "request/reply.h"

#include <assert.h>
#include <stdlib.h>

#include "base/banned.h"

void reply_finish(struct reply *reply)
{
    free(reply->body);
    reply->body = NULL;
    reply->body_len = 0;
}

void reply_header(struct reply *reply, const char *name, const char *value)
{
    if (value == NULL || value[0] == '\0')
        return;
    assert(reply->header_count < REPLY_HEADERS_MAX);
    reply->headers[reply->header_count++] = (struct reply_header){name, value};
}

void reply_header_i64(struct reply *reply, struct arena *arena, const char *name, int64_t value)
{
    reply_header(reply, name, arena_i64(arena, value));
}

bool reply_take_body(struct reply *reply, struct buf *buf, struct fault *fault)
{
    reply_finish(reply);
    reply->body = buf_take(buf, &reply->body_len);
    return reply->body != NULL || fault_set_oom(fault);
}

bool reply_print_fault(struct buf *buf, const struct fault *fault, const char *activity_id,
                       const char *extra)
{
    struct buf message = {0};

    if (fault->message[0] == '{') /* errors of a query: clients look for JSON behind the word */
        buf_append_text(&message, "Message: ");
    buf_append_text(&message, fault->message);
    buf_append_text(&message, "\r\nActivityId: ");
    buf_append_text(&message, activity_id);
    buf_append_text(buf, "{\"code\":\"");
    buf_append_text(buf, fault_code(fault->status));
    buf_append_text(buf, "\",\"message\":");
    buf_append_json_string(buf, buf_slice(&message));
    if (extra != NULL) {
        buf_append_text(buf, ",\"additionalErrorInfo\":");
        buf_append_json_string(buf, slice_from_text(extra));
    }
    buf_append_char(buf, '}');
    bool is_complete = !message.has_failed && !buf->has_failed;
    buf_finish(&message);
    return is_complete;
}
