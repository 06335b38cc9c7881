/*
 * libmicrohttpd 0.9.75 answers a message that it cannot parse, or whose head does not fit the
 * connection's memory, with a page of HTML (and sometimes with its head twice), and no option or
 * callback of it changes that. But it hands the page to its own public MHD_queue_response, through
 * the dynamic linker as any program would, and there a definition in the program comes first. So
 * this file defines that function: it writes our answer of the same status and tells the library
 * that queueing failed, which closes the connection, as it does after such a page. What we queue
 * goes through queue_response() to the library's. Where a library binds its calls to itself
 * (-Bsymbolic), nothing breaks: its page is sent. tests/integration/edges holds it to JSON.
 *
 * Rejected: more connection memory, with a limit of our own below it. What is larger still would
 * get the page all the same, malformed messages too, and libmicrohttpd clears the whole memory
 * after every request.
 */
#include "http/refusals.h"

#include "base/crypto.h"
#include "base/log.h"
#include "http/metrics.h"
#include "request/reply.h"

#include <dlfcn.h>
#include <gnutls/gnutls.h>
#include <sys/socket.h>

#include "base/banned.h"

/* What is thrown away of bytes that were sent already, so that the client can read why. */
#define DRAIN_MAX_BYTES (1u << 20)

typedef enum MHD_Result queue_fn(struct MHD_Connection *, unsigned, struct MHD_Response *);

static queue_fn *library_queue;

bool refusals_init(void)
{
    /* ISO C has no conversion of an object's address to a function's; POSIX promises this one. */
    *(void **) &library_queue = dlsym(RTLD_NEXT, "MHD_queue_response");
    return library_queue != NULL;
}

enum MHD_Result queue_response(struct MHD_Connection *connection, unsigned status,
                               struct MHD_Response *response)
{
    return library_queue(connection, status, response);
}

static int socket_of(struct MHD_Connection *connection)
{
    return MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
}

/* A socket that is closed with unread bytes resets the connection, and the answer may be lost. */
static void drain(int fd)
{
    size_t drained = 0;
    ssize_t got;

    while (drained < DRAIN_MAX_BYTES &&
           (got = recv(fd, NULL, DRAIN_MAX_BYTES, MSG_TRUNC | MSG_DONTWAIT)) > 0)
        drained += (size_t) got;
}

bool peer_has_ended(struct MHD_Connection *connection)
{
    char byte;

    return recv(socket_of(connection), &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

/* ---- answers past the library ---- */

static void print_answer(struct buf *answer, const struct fault *fault, const char *activity_id)
{
    struct buf body = {0};

    if (!reply_print_fault(&body, fault, activity_id, NULL))
        body.len = 0;
    buf_printf(answer,
               "HTTP/1.1 %u %s\r\nConnection: close\r\nContent-Type: application/json\r\n"
               "x-ms-activity-id: %s\r\nContent-Length: %zu\r\n\r\n",
               fault->status, MHD_get_reason_phrase_for(fault->status), activity_id, body.len);
    buf_append(answer, body.ptr, body.len);
    buf_finish(&body);
}

static void write_past(struct MHD_Connection *connection, struct slice bytes)
{
    const union MHD_ConnectionInfo *tls =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_GNUTLS_SESSION);

    /* The socket's buffer is empty, so it takes all; if not, the client is cut unanswered. */
    if (tls != NULL && tls->tls_session != NULL)
        (void) gnutls_record_send(tls->tls_session, bytes.ptr, bytes.len);
    else
        (void) send(socket_of(connection), bytes.ptr, bytes.len, MSG_DONTWAIT | MSG_NOSIGNAL);
}

void refuse_arriving(struct MHD_Connection *connection, const struct fault *fault,
                     const char *activity_id)
{
    struct buf answer = {0};

    print_answer(&answer, fault, activity_id);
    if (!answer.has_failed)
        write_past(connection, buf_slice(&answer));
    buf_finish(&answer);
    drain(socket_of(connection));
}

void cut_connection(struct MHD_Connection *connection)
{
    (void) shutdown(socket_of(connection), SHUT_RDWR);
}

/* ---- what the library refuses ---- */

static const char *reason_of(unsigned status)
{
    switch (status) {
    case MHD_HTTP_URI_TOO_LONG:
        return "the request line does not fit the memory of a connection";
    case MHD_HTTP_REQUEST_HEADER_FIELDS_TOO_LARGE:
        return "the request's headers do not fit the memory of a connection";
    case MHD_HTTP_CONTENT_TOO_LARGE:
        return "the request announces more bytes than can be counted";
    case MHD_HTTP_HTTP_VERSION_NOT_SUPPORTED:
        return "only HTTP/1.1 and HTTP/1.0 are spoken here";
    case MHD_HTTP_BAD_REQUEST:
        return "the request is not well-formed HTTP/1.1, or has no host header";
    default:
        return "the request cannot be served";
    }
}

/*
 * The library's own answers come here; see the top of the file. The context of each connection is
 * the struct metrics of its loop.
 */
__attribute__((visibility("default"))) enum MHD_Result
MHD_queue_response(struct MHD_Connection *connection, unsigned status,
                   struct MHD_Response *response)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    struct metrics *metrics = info->socket_context;
    char activity_id[UUID_TEXT_BYTES];
    struct fault fault = {0};
    uint8_t uuid[16];

    (void) response;
    metrics_add(&metrics->unrouted, 1);
    uuid_create(uuid);
    uuid_format(uuid, activity_id);
    fault_set(&fault, status, SUB_NONE, "%s", reason_of(status));
    log_debug(NULL, "refused as HTTP", "status=%u activity_id=%s", status, activity_id);
    refuse_arriving(connection, &fault, activity_id);
    return MHD_NO;
}
