/*
 * One request, as plain data that knows nothing of the server that read it.
 *
 * Slices live as long as the request's arena.
 */
#ifndef ORRERY_REQUEST_REQUEST_H
#define ORRERY_REQUEST_REQUEST_H

#include "base/crypto.h"
#include "request/headers.h"
#include "request/path.h"

enum method { METHOD_GET, METHOD_POST, METHOD_PUT, METHOD_PATCH, METHOD_DELETE, METHOD_COUNT };

struct request {
    enum method method;
    const char *method_text; /* as sent, upper case */
    struct resource_path path;
    struct headers headers;
    struct slice body;
    bool is_tls;
    bool is_read_only; /* signed with a read-only key */
    const void *grant; /* struct authtoken_grant of a resource token; NULL for keys */
    char activity_id[UUID_TEXT_BYTES];
};

#endif
