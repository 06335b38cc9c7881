#include "http/server.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/testpoint.h"
#include "http/authorize.h"
#include "http/gate.h"
#include "http/refusals.h"
#include "http/routes.h"
#include "http/certificates.h"
#include "http/tickets.h"
#include "model/charge.h"
#include "replica/faults.h"
#include "store/levels.h"

#include <assert.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/banned.h"

/* A request's own memory; large answers and bodies are not in it. */
#define CALL_ARENA_MAX_BYTES (64u << 20)
/* What is read and thrown away of a body that is too large, so that the client can read why. */
#define DISCARD_MAX_BYTES (16u << 20)
/* An answer that is always given, however many others wait. */
#define ANSWER_SMALL_BYTES (16u << 10)
/* How often requests that are still arriving are looked at. */
#define ARRIVALS_CHECK_MS 250

enum exchange_state {
    EXCHANGE_NEW,      /* the request line was read */
    EXCHANGE_READING,  /* headers are there, the body arrives */
    EXCHANGE_RUNNING,  /* its call runs; the connection is suspended while it waits */
    EXCHANGE_ANSWERED, /* the response is ready to be queued */
    EXCHANGE_QUEUED,
    EXCHANGE_CUT /* it did not arrive whole; the connection ends */
};

/* One request and its answer. Freed when both the connection and the op have let go. */
struct exchange {
    struct call call;
    struct server *server;
    struct MHD_Connection *connection;
    struct list place; /* in server->arriving, then in server->running */
    enum exchange_state state;
    bool is_tls, is_suspended, op_holds, connection_holds;
    bool must_close;
    bool acts_as_hub; /* it is a write that another hub would have to answer */
    const struct route *route;
    struct slice raw_path;
    struct buf body;
    size_t body_reserved, answer_reserved; /* counted in server->body_bytes */
    size_t discarded_bytes;
    int64_t started_us;
    int64_t arrived_ms;   /* when something of it came last, loop->now_ms */
    struct fault fault;   /* found before a handler ran */
    struct fault pretext; /* said in place of the answer, as a fault on demand has it */
    struct MHD_Response *response;
    unsigned status;
};

static void free_request_body(struct exchange *exchange)
{
    exchange->server->body_bytes -= exchange->body_reserved;
    exchange->body_reserved = 0;
    buf_finish(&exchange->body);
}

static void release_exchange(struct exchange *exchange)
{
    if (exchange->op_holds || exchange->connection_holds)
        return;
    struct server *server = exchange->server;
    list_remove(&exchange->place);
    if (exchange->response != NULL)
        MHD_destroy_response(exchange->response);
    server->body_bytes -= exchange->answer_reserved;
    free_request_body(exchange);
    call_release(&exchange->call);
    arena_finish(&exchange->call.op.arena);
    server->exchanges--;
    free(exchange);
}

/* ---- answers ---- */

static bool add_header(struct MHD_Response *response, const char *name, const char *value)
{
    return MHD_add_response_header(response, name, value) == MHD_YES;
}

static bool add_headers(struct exchange *exchange, struct MHD_Response *response, bool has_body)
{
    struct reply *reply = &exchange->call.reply;
    char charge[CHARGE_TEXT_BYTES];
    bool is_complete = true;

    if (has_body)
        is_complete =
            add_header(response, MHD_HTTP_HEADER_CONTENT_TYPE,
                       reply->content_type != NULL ? reply->content_type : "application/json");
    is_complete &= add_header(response, "x-ms-activity-id", exchange->call.request.activity_id);
    charge_format(reply->charge_cru, charge);
    is_complete &= add_header(response, "x-ms-request-charge", charge);
    is_complete &= add_header(response, "x-ms-gatewayversion", "version=" ORRERY_VERSION);
    is_complete &= add_header(response, "cache-control", "no-store, no-cache");
    for (unsigned i = 0; i < reply->header_count; i++)
        is_complete &= add_header(response, reply->headers[i].name, reply->headers[i].value);
    if (exchange->must_close)
        is_complete &= add_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
    return is_complete;
}

/* Last resort: there is not even memory to say what is wrong. */
static const char out_of_memory_body[] =
    "{\"code\":\"ServiceUnavailable\",\"message\":\"the gateway is out of memory\"}";

static struct MHD_Response *make_last_resort(void)
{
    struct MHD_Response *response = MHD_create_response_from_buffer(
        sizeof(out_of_memory_body) - 1, (void *) out_of_memory_body, MHD_RESPMEM_PERSISTENT);

    if (response != NULL)
        (void) add_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, "application/json");
    return response;
}

static void add_fault_headers(struct exchange *exchange, const struct fault *fault)
{
    struct reply *reply = &exchange->call.reply;
    struct arena *arena = &exchange->call.op.arena;

    if (fault->substatus != SUB_NONE)
        reply_header_i64(reply, arena, "x-ms-substatus", substatus_number(fault->substatus));
    if (fault->retry_after_ms == 0)
        return;
    reply_header_i64(reply, arena, "x-ms-retry-after-ms", fault->retry_after_ms);
    if (fault->status == 503)
        reply_header_i64(reply, arena, "retry-after", (fault->retry_after_ms + 999) / 1000);
}

/* Turn a fault into the reply. 304 has no body by its nature. */
static void reply_fault(struct exchange *exchange, const struct fault *fault)
{
    struct reply *reply = &exchange->call.reply;
    struct buf body = {0};
    struct fault lost;

    reply->status = fault->status;
    reply->content_type = NULL;
    add_fault_headers(exchange, fault);
    reply_finish(reply);
    if (fault->status == 304)
        return;
    if (!reply_print_fault(&body, fault, exchange->call.request.activity_id, NULL) ||
        !reply_take_body(reply, &body, &lost))
        buf_finish(&body);
}

static void make_response(struct exchange *exchange)
{
    struct reply *reply = &exchange->call.reply;
    bool has_body = reply->body != NULL;

    exchange->status = reply->status;
    exchange->response =
        MHD_create_response_from_buffer(reply->body_len, has_body ? reply->body : (void *) "",
                                        has_body ? MHD_RESPMEM_MUST_FREE : MHD_RESPMEM_PERSISTENT);
    if (exchange->response != NULL) {
        reply->body = NULL; /* libmicrohttpd frees it */
        if (add_headers(exchange, exchange->response, has_body))
            return;
        MHD_destroy_response(exchange->response);
    }
    exchange->response = make_last_resort();
    exchange->status = 503;
}

static void count(struct exchange *exchange)
{
    struct metrics *metrics = exchange->server->metrics;

    if (exchange->route == NULL)
        metrics_add(&metrics->unrouted, 1);
    else
        metrics_count(metrics, route_index(exchange->route), exchange->status,
                      (uint64_t) (clock_monotonic_us() - exchange->started_us));
}

static void log_answer(const struct exchange *exchange, const struct fault *fault)
{
    const struct request *request = &exchange->call.request;
    enum log_level level =
        exchange->status >= 500 && exchange->status != 503 ? LOG_LEVEL_ERROR : LOG_LEVEL_DEBUG;

    if (log_is_enabled(level))
        log_write(level, &exchange->call.op.log, "answered",
                  "method=%s path=\"%.*s\" status=%u took_us=%lld message=\"%s\"",
                  request->method_text != NULL ? request->method_text : "-",
                  FAULT_QUOTE(exchange->raw_path), exchange->status,
                  (long long) (clock_monotonic_us() - exchange->started_us),
                  fault != NULL && fault->status != 0 ? fault->message : "");
}

/*
 * An answer stays in memory until its client has taken it. When too much waits, those who asked a
 * question are refused; who changed something is told, since the request's body had its place.
 */
static bool has_room(const struct exchange *exchange)
{
    const struct server *server = exchange->server;
    size_t len = exchange->call.reply.body_len;

    return len <= ANSWER_SMALL_BYTES || exchange->route == NULL ||
           request_is_write(&exchange->call.request, exchange->route) ||
           server->body_bytes + len <= server->body_bytes_max;
}

static void prepare_answer(struct exchange *exchange, const struct fault *fault)
{
    struct fault full = {0};

    if (fault->status == 0 && !has_room(exchange)) {
        fault_set(&full, 503, SUB_NONE, "too many answers wait until their clients take them");
        full.retry_after_ms = 1000;
        fault = &full;
    }
    if (fault->status != 0)
        reply_fault(exchange, fault);
    exchange->answer_reserved = exchange->call.reply.body_len;
    exchange->server->body_bytes += exchange->answer_reserved;
    make_response(exchange);
    count(exchange);
    log_answer(exchange, fault);
    exchange->state = EXCHANGE_ANSWERED;
}

static struct exchange *exchange_of(struct op *op)
{
    return container_of(call_of(op), struct exchange, call);
}

/* Whoever is the hub now may know nothing of what was written here. Rule 5.7. */
static void check_claim(struct exchange *exchange, const struct op *op)
{
    if (!exchange->acts_as_hub || op->fault.status != 0 || exchange->pretext.status != 0)
        return;
    testpoint("hub-answers-write");
    if (!levels_may_act())
        fault_set(&exchange->pretext, 408, SUB_NONE,
                  "the write is done in this region, which may not be the hub any more; whether it "
                  "stays is not known");
}

static void call_answered(struct op *op)
{
    struct exchange *exchange = exchange_of(op);

    list_remove(&exchange->place);
    call_settle(&exchange->call);
    check_claim(exchange, op);
    if (exchange->pretext.status != 0)
        exchange->call.reply.header_count = 0; /* no token of what was done */
    prepare_answer(exchange, exchange->pretext.status != 0 ? &exchange->pretext : &op->fault);
    if (exchange->is_suspended) {
        exchange->is_suspended = false;
        loop_kick(exchange->server->loop);
        MHD_resume_connection(exchange->connection);
    }
}

static void call_released(struct op *op)
{
    struct exchange *exchange = exchange_of(op);

    exchange->op_holds = false;
    free_request_body(exchange);
    release_exchange(exchange);
}

/* A suspended connection is not watched: who computes for long asks now and then. */
static bool call_has_left(const struct op *op)
{
    const struct exchange *exchange = container_of(op, struct exchange, call.op);
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(exchange->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct pollfd watched = {.events = POLLRDHUP};

    if (info == NULL)
        return false;
    watched.fd = info->connect_fd;
    return poll(&watched, 1, 0) == 1 && (watched.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

static enum MHD_Result queue_answer(struct exchange *exchange)
{
    enum MHD_Result result = MHD_NO;

    if (exchange->response != NULL)
        result = queue_response(exchange->connection, exchange->status, exchange->response);
    exchange->state = EXCHANGE_QUEUED;
    return result;
}

/* ---- requests ---- */

struct header_reader {
    struct exchange *exchange;
    unsigned lengths, encodings;
    bool is_out_of_memory;
    bool is_twice; /* a header that decides something came twice, with different values */
};

static enum MHD_Result read_header(void *cls, enum MHD_ValueKind kind, const char *name,
                                   size_t name_len, const char *value, size_t value_len)
{
    struct header_reader *reader = cls;
    struct headers *headers = &reader->exchange->call.request.headers;
    struct slice name_slice = slice_make(name, name_len);

    (void) kind;
    if (slice_equals_nocase(name_slice, "content-length"))
        reader->lengths++;
    if (slice_equals_nocase(name_slice, "transfer-encoding"))
        reader->encodings++;
    enum header header = header_find(name, name_len);
    if (header == HEADER_COUNT || value == NULL || value_len == 0)
        return MHD_YES;
    if (!slice_is_absent(headers->at[header]) &&
        !slice_equals(headers->at[header], slice_make(value, value_len)))
        reader->is_twice = true;
    char *copy = arena_copy(&reader->exchange->call.op.arena, value, value_len);
    if (copy == NULL)
        reader->is_out_of_memory = true;
    else
        headers->at[header] = slice_make(copy, value_len);
    return MHD_YES;
}

static bool method_parse(const char *text, enum method *method)
{
    static const char *const names[METHOD_COUNT] = {"GET", "POST", "PUT", "PATCH", "DELETE"};

    for (unsigned i = 0; i < METHOD_COUNT; i++) {
        if (strcmp(text, names[i]) == 0) {
            *method = (enum method) i;
            return true;
        }
    }
    return false;
}

/* An activity id that is no UUID would break the .NET SDK when it comes back. */
static void choose_activity_id(struct request *request)
{
    uint8_t uuid[16];

    if (slice_is_absent(request->headers.at[HEADER_ACTIVITY_ID]) ||
        !uuid_parse(slice_trim(request->headers.at[HEADER_ACTIVITY_ID]), uuid))
        uuid_create(uuid);
    uuid_format(uuid, request->activity_id);
}

/* Forms that intermediaries and servers read differently: requests could be smuggled by them. */
static bool check_framing(struct exchange *exchange, const struct header_reader *reader)
{
    struct slice encoding = slice_trim(exchange->call.request.headers.at[HEADER_TRANSFER_ENCODING]);
    struct fault *fault = &exchange->fault;

    if (reader->lengths > 1 || reader->encodings > 1 ||
        (reader->lengths > 0 && reader->encodings > 0)) {
        exchange->must_close = true;
        return fault_set(fault, 400, SUB_NONE, "ambiguous content-length and transfer-encoding");
    }
    if (reader->encodings > 0 && !slice_equals_nocase(encoding, "chunked")) {
        exchange->must_close = true;
        return fault_set(fault, 400, SUB_NONE, "transfer-encoding \"%.*s\" is not supported",
                         FAULT_QUOTE(encoding));
    }
    if (reader->is_twice)
        return fault_set(fault, 400, SUB_NONE, "a header was sent twice with different values");
    return true;
}

static bool find_route(struct exchange *exchange, const char *method)
{
    struct request *request = &exchange->call.request;
    enum method known;
    char allowed[64];

    if (!path_parse(&request->path, exchange->raw_path, &exchange->call.op.arena, &exchange->fault))
        return false;
    if (method_parse(method, &known)) {
        request->method = known;
        exchange->route = route_find(request->path.kind, known);
    }
    if (exchange->route != NULL) {
        exchange->call.op.log.route = exchange->route->name;
        return true;
    }
    route_allowed(request->path.kind, allowed, sizeof(allowed));
    reply_header(&exchange->call.reply, "allow",
                 arena_printf(&exchange->call.op.arena, "%s", allowed));
    return fault_set(&exchange->fault, 405, SUB_NONE, "method %.16s is not allowed here, only %s",
                     method, allowed);
}

static enum fault_requests kind_of(const struct request *request, const struct route *route)
{
    if (route->path != PATH_ITEM && route->path != PATH_ITEMS &&
        route->path != PATH_PARTITION_KEY_DELETE)
        return FAULT_METADATA;
    if (request_is_write(request, route))
        return FAULT_WRITES;
    return route->access == ROUTE_POST ? FAULT_QUERIES : FAULT_READS;
}

/* A fault on demand. False when the request ends here. */
static bool check_faults(struct exchange *exchange)
{
    const struct request *request = &exchange->call.request;
    const struct route *route = exchange->route;
    struct fault fault;
    bool acts_after;

    /* Nor are requests of other regions refused: those have the faults of links. */
    if (route->access == ROUTE_OPERATOR || route->access == ROUTE_PEER ||
        !faults_refuse(kind_of(request, route), request->path.ids[0], request->path.ids[1],
                       &acts_after, &fault))
        return true;
    *(acts_after ? &exchange->pretext : &exchange->fault) = fault;
    return acts_after;
}

static bool check_service(struct exchange *exchange)
{
    struct server *server = exchange->server;

    if (exchange->route->access == ROUTE_OPEN)
        return true;
    if (server->is_draining) {
        exchange->must_close = true;
        fault_set(&exchange->fault, 503, SUB_NONE, "this gateway is shutting down");
        exchange->fault.retry_after_ms = 1000;
        return false;
    }
    exchange->acts_as_hub =
        gate_acts_as_hub(regions_current(), &exchange->call.request, exchange->route);
    return authorize(server->config, &exchange->call, exchange->route, &exchange->fault) &&
           gate_check(regions_current(), &exchange->call.request, exchange->route,
                      &exchange->fault) &&
           check_faults(exchange);
}

/* Headers are complete: decide everything that needs no body. */
static void begin_request(struct exchange *exchange, const char *method)
{
    struct call *call = &exchange->call;
    struct header_reader reader = {.exchange = exchange};

    MHD_get_connection_values_n(exchange->connection, MHD_HEADER_KIND, read_header, &reader);
    choose_activity_id(&call->request);
    call->op.log.activity_id = call->request.activity_id;
    call->request.method_text = arena_copy(&call->op.arena, method, strnlen(method, 16));
    call->request.is_tls = exchange->is_tls;
    call->now_s = clock_items_s();
    exchange->state = EXCHANGE_READING;
    exchange->arrived_ms = exchange->server->loop->now_ms;
    if (reader.is_out_of_memory || call->request.method_text == NULL)
        fault_set_oom(&exchange->fault);
    if (exchange->fault.status != 0)
        return;
    if (check_framing(exchange, &reader) && find_route(exchange, method))
        (void) check_service(exchange); /* says it in exchange->fault */
}

static bool is_announced_too_large(struct exchange *exchange)
{
    const char *text = MHD_lookup_connection_value(exchange->connection, MHD_HEADER_KIND,
                                                   MHD_HTTP_HEADER_CONTENT_LENGTH);
    unsigned long long length;

    return text != NULL && slice_to_u64(slice_from_text(text), UINT64_MAX, &length) &&
           length > exchange->server->config->max_request_bytes;
}

static void refuse_size(struct exchange *exchange)
{
    fault_set(&exchange->fault, 413, SUB_NONE, "the request body is larger than %zu bytes",
              exchange->server->config->max_request_bytes);
}

/* Keep a piece of the body, or count it as thrown away. False: enough, close the connection. */
static bool take_body(struct exchange *exchange, const char *bytes, size_t len)
{
    struct server *server = exchange->server;

    exchange->arrived_ms = server->loop->now_ms;
    if (exchange->fault.status == 0 && exchange->body.len + len > server->config->max_request_bytes)
        refuse_size(exchange);
    if (exchange->fault.status == 0 && server->body_bytes + len > server->body_bytes_max) {
        fault_set(&exchange->fault, 503, SUB_NONE, "too many request bodies are in memory");
        exchange->fault.retry_after_ms = 1000;
    }
    if (exchange->fault.status == 0) {
        size_t before = exchange->body.capacity;
        buf_append(&exchange->body, bytes, len);
        server->body_bytes += exchange->body.capacity - before;
        exchange->body_reserved += exchange->body.capacity - before;
        if (!exchange->body.has_failed)
            return true;
        fault_set_oom(&exchange->fault);
    }
    exchange->discarded_bytes += len;
    exchange->must_close = true;
    return exchange->discarded_bytes <= DISCARD_MAX_BYTES;
}

static enum MHD_Result run_request(struct exchange *exchange)
{
    struct server *server = exchange->server;
    struct call *call = &exchange->call;

    list_remove(&exchange->place);
    if (exchange->fault.status != 0) {
        prepare_answer(exchange, &exchange->fault);
        return queue_answer(exchange);
    }
    call->request.body = buf_slice(&exchange->body);
    call->op.has_left = call_has_left;
    exchange->state = EXCHANGE_RUNNING;
    exchange->op_holds = true;
    list_append(&server->running, &exchange->place);
    op_start(&call->op, exchange->route->handler, server->config->request_timeout_ms);
    if (exchange->state == EXCHANGE_ANSWERED)
        return queue_answer(exchange);
    exchange->is_suspended = true;
    MHD_suspend_connection(exchange->connection);
    return MHD_YES;
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_size, void **context)
{
    struct exchange *exchange = *context;

    (void) cls;
    (void) url;
    (void) version;
    (void) connection;
    if (exchange == NULL)
        return MHD_NO; /* no memory when the request line came */
    switch (exchange->state) {
    case EXCHANGE_NEW:
        begin_request(exchange, method);
        if (is_announced_too_large(exchange)) {
            if (exchange->fault.status == 0)
                refuse_size(exchange);
            exchange->must_close = true;
        }
        if (exchange->must_close) { /* its body is not worth reading, or has no certain end */
            list_remove(&exchange->place);
            prepare_answer(exchange, &exchange->fault);
            return queue_answer(exchange);
        }
        return MHD_YES;
    case EXCHANGE_READING:
        if (*upload_size == 0)
            return run_request(exchange);
        if (!take_body(exchange, upload, *upload_size))
            return MHD_NO;
        *upload_size = 0;
        return MHD_YES;
    case EXCHANGE_ANSWERED:
        return queue_answer(exchange);
    case EXCHANGE_CUT:
        return MHD_NO;
    case EXCHANGE_RUNNING:
    case EXCHANGE_QUEUED:
        break;
    }
    return MHD_YES;
}

/* The request line is there: its raw path is seen only here, undecoded. */
static void *on_request_line(void *cls, const char *uri, struct MHD_Connection *connection)
{
    struct server_daemon *daemon = cls;
    struct server *server = daemon->server;
    struct exchange *exchange = calloc(1, sizeof(*exchange));
    struct slice rest;

    if (exchange == NULL)
        return NULL;
    server->exchanges++;
    exchange->server = server;
    exchange->connection = connection;
    exchange->is_tls = daemon->is_tls;
    exchange->connection_holds = true;
    exchange->started_us = clock_monotonic_us();
    exchange->arrived_ms = server->loop->now_ms;
    exchange->call.service = server->service;
    list_append(&server->arriving, &exchange->place);
    if (!loop_timer_is_armed(&server->arrivals_check))
        loop_timer_arm(server->loop, &server->arrivals_check, ARRIVALS_CHECK_MS);
    op_init(&exchange->call.op, server->loop, CALL_ARENA_MAX_BYTES, call_answered, call_released);
    struct slice path = slice_cut(slice_from_text(uri), '?', &rest);
    char *copy = arena_copy(&exchange->call.op.arena, path.ptr, path.len);
    if (copy == NULL)
        fault_set_oom(&exchange->fault);
    else
        exchange->raw_path = slice_make(copy, path.len);
    return exchange;
}

/* ---- requests that do not arrive whole ---- */

static void refuse_exchange(struct exchange *exchange, const struct fault *fault)
{
    struct request *request = &exchange->call.request;

    if (exchange->state == EXCHANGE_NEW)
        choose_activity_id(request);
    exchange->status = fault->status;
    exchange->state = EXCHANGE_CUT;
    list_remove(&exchange->place);
    count(exchange);
    log_answer(exchange, fault);
    refuse_arriving(exchange->connection, fault, request->activity_id);
}

/* What was found in the headers comes first. */
static void refuse_end(struct exchange *exchange)
{
    if (exchange->fault.status == 0)
        fault_set(&exchange->fault, 400, SUB_NONE, "the request ends before it is complete");
    refuse_exchange(exchange, &exchange->fault);
}

/*
 * A client that closes its sending half together with its last bytes is not seen by libmicrohttpd,
 * which is told of new events only and takes a short read for all there is; so we look.
 */
static void check_arrival(struct exchange *exchange)
{
    const struct server *server = exchange->server;
    int64_t taken_ms = (clock_monotonic_us() - exchange->started_us) / 1000;
    struct fault late;

    if (taken_ms >= server->config->arrival_timeout_ms) {
        fault_set(&late, 408, SUB_NONE, "the request did not arrive whole within %d ms",
                  server->config->arrival_timeout_ms);
        refuse_exchange(exchange, &late);
        cut_connection(exchange->connection);
    } else if (server->loop->now_ms - exchange->arrived_ms >= ARRIVALS_CHECK_MS &&
               peer_has_ended(exchange->connection)) {
        refuse_end(exchange);
        cut_connection(exchange->connection);
    }
}

static void check_arrivals(struct loop_timer *timer)
{
    struct server *server = container_of(timer, struct server, arrivals_check);

    list_for_each_safe(at, &server->arriving)
    {
        check_arrival(list_entry(at, struct exchange, place));
    }
    if (!list_is_empty(&server->arriving))
        loop_timer_arm(server->loop, timer, ARRIVALS_CHECK_MS);
}

static void on_completed(void *cls, struct MHD_Connection *connection, void **context,
                         enum MHD_RequestTerminationCode code)
{
    struct exchange *exchange = *context;

    (void) cls;
    (void) connection;
    if (exchange == NULL)
        return;
    *context = NULL;
    /* Only the client's sending side has ended: it may still read. */
    if (code == MHD_REQUEST_TERMINATED_CLIENT_ABORT &&
        (exchange->state == EXCHANGE_NEW || exchange->state == EXCHANGE_READING))
        refuse_end(exchange);
    exchange->connection_holds = false;
    release_exchange(exchange);
}

static void on_connection(void *cls, struct MHD_Connection *connection, void **context,
                          enum MHD_ConnectionNotificationCode code)
{
    struct server_daemon *daemon = cls;
    struct server *server = daemon->server;

    if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
        server->connections--;
        return;
    }
    *context = server->metrics; /* refusals.c counts there */
    server->connections++;
    metrics_add(&server->metrics->connections_total, 1);
    if (!daemon->is_tls)
        return;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_GNUTLS_SESSION);
    /* The library takes no ticket key, and no other certificate than that of its start. */
    if (info != NULL && info->tls_session != NULL) {
        tickets_enable(info->tls_session);
        certificates_use(info->tls_session);
    }
}

/* Paths are split before they are decoded, so libmicrohttpd must leave them alone. */
static size_t keep_escapes(void *cls, struct MHD_Connection *connection, char *text)
{
    (void) cls;
    (void) connection;
    return strlen(text);
}

__attribute__((format(printf, 2, 0))) static void on_library_log(void *cls, const char *format,
                                                                 va_list args)
{
    char text[400];

    (void) cls;
    vsnprintf(text, sizeof(text), format, args);
    log_debug(NULL, "libmicrohttpd", "message=\"%.*s\"", (int) strcspn(text, "\r\n"), text);
}

/* ---- the daemons in the loop ---- */

/* Nothing to do but wake: libmicrohttpd runs in every turn. */
static void on_daemon_ready(struct loop_watch *watch, uint32_t events)
{
    (void) watch;
    (void) events;
}

static int run_daemon(struct server_daemon *daemon)
{
    unsigned long long timeout;

    if (daemon->daemon == NULL)
        return -1;
    MHD_run(daemon->daemon);
    if (MHD_get_timeout(daemon->daemon, &timeout) != MHD_YES)
        return -1;
    return timeout > 3600000 ? 3600000 : (int) timeout;
}

static void publish(_Atomic uint64_t *counter, uint64_t value)
{
    atomic_store_explicit(counter, value, memory_order_relaxed);
}

/* What the loop counts for itself, for whoever answers /metrics. */
static void publish_counters(struct server *server)
{
    const struct store *store = &server->service->store;
    struct metrics *metrics = server->metrics;

    publish(&metrics->read_batches, store->read_batches);
    publish(&metrics->read_keys, store->read_keys);
    publish(&metrics->write_batches, store->write_batches);
    publish(&metrics->write_operations, store->write_operations);
    publish(&metrics->queries, store->queries_sent);
    publish(&metrics->cancels, store->cancels_sent);
    publish(&metrics->connections, server->connections);
    publish(&metrics->requests_running, server->exchanges);
    publish(&metrics->body_bytes, server->body_bytes);
}

/*
 * libmicrohttpd runs in every turn: after descriptors and results were dispatched, before batches
 * are sent. It is asked each time how long it can wait, since a resumed connection is not announced
 * by any descriptor.
 */
static int run_daemons(struct loop_hook *hook)
{
    struct server *server = container_of(hook, struct server, hook);

    int plain = run_daemon(&server->plain);
    int secure = run_daemon(&server->secure);
    publish_counters(server);
    return plain < 0 ? secure : secure < 0 || plain < secure ? plain : secure;
}

static bool open_daemon(struct server_daemon *daemon)
{
    struct server *server = daemon->server;
    const struct config *config = server->config;
    const struct tls *tls = certificates_current(); /* there is one, where HTTPS is served */
    bool is_tls = daemon->is_tls;
    unsigned flags =
        MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG | (is_tls ? MHD_USE_TLS : 0);
    struct MHD_OptionItem tls_options[] = {
        {MHD_OPTION_HTTPS_MEM_CERT, 0, is_tls ? tls->certificate_pem : NULL},
        {MHD_OPTION_HTTPS_MEM_KEY, 0, is_tls ? tls->key_pem : NULL},
        {MHD_OPTION_HTTPS_PRIORITIES, 0, (void *) "NORMAL:-VERS-TLS1.0:-VERS-TLS1.1"},
        {MHD_OPTION_END, 0, NULL}};
    struct MHD_OptionItem no_options[] = {{MHD_OPTION_END, 0, NULL}};

    daemon->daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, on_request, daemon, MHD_OPTION_EXTERNAL_LOGGER, on_library_log, NULL,
        MHD_OPTION_LISTEN_SOCKET, daemon->listen_fd, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned) (config->max_connections / config->threads), MHD_OPTION_CONNECTION_TIMEOUT,
        (unsigned) config->connection_timeout_s, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        config->connection_memory_bytes, MHD_OPTION_NOTIFY_COMPLETED, on_completed, daemon,
        MHD_OPTION_NOTIFY_CONNECTION, on_connection, daemon, MHD_OPTION_URI_LOG_CALLBACK,
        on_request_line, daemon, MHD_OPTION_UNESCAPE_CALLBACK, keep_escapes, NULL,
        MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_ARRAY, is_tls ? tls_options : no_options,
        MHD_OPTION_END);
    if (daemon->daemon == NULL)
        return false;
    const union MHD_DaemonInfo *info =
        MHD_get_daemon_info(daemon->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    daemon->watch = (struct loop_watch){.fd = info->epoll_fd, .ready = on_daemon_ready};
    return loop_watch_set(server->loop, &daemon->watch, EPOLLIN) == 0;
}

static bool start_daemon(struct server *server, struct server_daemon *daemon, int fd, bool is_tls)
{
    *daemon = (struct server_daemon){.server = server, .is_tls = is_tls, .listen_fd = fd};
    return fd < 0 || open_daemon(daemon);
}

bool server_init(struct server *server, struct service *service, struct metrics *metrics,
                 int plain_fd, int secure_fd)
{
    *server = (struct server){
        .loop = service->loop, .config = service->config, .service = service, .metrics = metrics};
    server->body_bytes_max = server->config->body_memory_bytes / (unsigned) server->config->threads;
    list_init(&server->running);
    list_init(&server->arriving);
    loop_timer_init(&server->arrivals_check, check_arrivals);
    if (!start_daemon(server, &server->plain, plain_fd, false) ||
        !start_daemon(server, &server->secure, secure_fd, true))
        return false;
    loop_hook_add(server->loop, &server->hook, run_daemons);
    return true;
}

static void quiesce(struct server_daemon *daemon)
{
    if (daemon->daemon == NULL || daemon->is_quiet)
        return;
    int fd = MHD_quiesce_daemon(daemon->daemon);
    if (fd >= 0)
        close(fd);
    daemon->is_quiet = true;
}

void server_drain(struct server *server)
{
    server->is_draining = true;
    quiesce(&server->plain);
    quiesce(&server->secure);
}

bool server_is_drained(const struct server *server)
{
    return list_is_empty(&server->running) && server->exchanges == 0;
}

void server_expire_all(struct server *server)
{
    while (!list_is_empty(&server->running))
        op_expire(&list_entry(server->running.next, struct exchange, place)->call.op);
}

static void stop_daemon(struct server *server, struct server_daemon *daemon)
{
    if (daemon->daemon == NULL)
        return;
    loop_watch_set(server->loop, &daemon->watch, 0);
    MHD_stop_daemon(daemon->daemon);
    daemon->daemon = NULL;
}

void server_finish(struct server *server)
{
    if (server->loop == NULL)
        return;
    assert(list_is_empty(&server->running));
    loop_hook_remove(&server->hook);
    loop_timer_disarm(server->loop, &server->arrivals_check);
    stop_daemon(server, &server->plain);
    stop_daemon(server, &server->secure);
    server->loop = NULL;
}
