/*
 * What an answer that is an error complains about, whoever wrote it: a gateway
 * ({"code":"…","message":"…"}), etcd ({"error":"…","code":…}, or {"error":{"message":"…"}} in
 * streams), or something in between that knows no JSON.
 */
#ifndef ORRERY_MODEL_COMPLAINT_H
#define ORRERY_MODEL_COMPLAINT_H

#include "base/slice.h"

#define COMPLAINT_BYTES 300 /* as much as is told of it */

/*
 * The first line of its message, terminated, in at most size bytes; the activity id stands on a
 * line of its own. Of a body without one, its own first line. Always UTF-8 without control
 * characters: what is neither is replaced by '?'. A character that does not fit is left out whole.
 * False when there is no message.
 */
bool complaint_read(struct slice body, char *text, size_t size);

#endif
