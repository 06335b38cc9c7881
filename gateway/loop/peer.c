/*
 * libcurl's rules that shape this file: none of its curl_multi_ functions may be called from its
 * callbacks, so those only note what is wanted; after each action the finished calls are collected,
 * taken out of the multi handle, and only then their ops go on, which may well ask again.
 *
 * Sockets are found by descriptor in a list of our own. libcurl closes them whenever it likes and
 * the system gives the number out again: the loop forgets events of a watch that was removed, so a
 * new socket never receives those of an old one.
 */
#include "loop/peer.h"

#include "base/buf.h"
#include "base/clock.h"

#include <assert.h>
#include <curl/curl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>

#include "base/banned.h"

/* A peer's headers beyond this are no answer of a gateway. */
#define HEADER_MAX_BYTES (64u << 10)
#define IDLE_MAX 16

struct peer_socket {
    struct list place;
    struct loop_watch watch;
    struct peers *peers;
};

/* An easy handle, kept between calls for what libcurl has learned and allocated. */
struct handle {
    struct list place; /* in peers->idle */
    CURL *easy;
    struct curl_slist *headers; /* of the call that uses it */
};

struct gather;

enum call_stage {
    CALL_HELD, /* on a disturbed link, not yet sent; the handle is ready */
    CALL_SENT, /* libcurl has it */
    CALL_KEPT  /* answered, and the answer is still on its way */
};

struct peer_call {
    struct list place; /* in peers->running */
    struct gather *gather;
    enum call_stage stage;
    struct peer_way way_there;
    peer_way_back *way_back;
    struct loop_timer timer; /* of the other stages */
    struct handle *handle;
    struct peer_answer answer;
    struct buf body;
    size_t body_max_bytes, header_bytes;
    const char *excess; /* what was too large; NULL when nothing was */
    void *tag;
    char message[CURL_ERROR_SIZE];
};

/* What an op waits for; in its arena. */
struct gather {
    struct op *op;
    struct peers *peers;
    unsigned count, left;
    struct peer_call calls[];
};

static pthread_once_t library_once = PTHREAD_ONCE_INIT;
static CURLcode library_state;

static void library_init(void)
{
    library_state = curl_global_init(CURL_GLOBAL_DEFAULT);
}

/* ---- handles ---- */

static void handle_destroy(struct handle *handle)
{
    curl_easy_cleanup(handle->easy);
    curl_slist_free_all(handle->headers);
    free(handle);
}

static struct handle *handle_take(struct peers *peers)
{
    struct list *idle = list_pop(&peers->idle);

    if (idle != NULL) {
        peers->idles--;
        return list_entry(idle, struct handle, place);
    }
    struct handle *handle = calloc(1, sizeof(*handle));
    if (handle == NULL)
        return NULL;
    list_init(&handle->place);
    handle->easy = curl_easy_init();
    if (handle->easy != NULL)
        return handle;
    free(handle);
    return NULL;
}

/* The call's memory goes with its op, so nothing of it may stay in the handle. */
static void handle_give_back(struct peers *peers, struct handle *handle)
{
    curl_easy_reset(handle->easy);
    curl_slist_free_all(handle->headers);
    handle->headers = NULL;
    if (peers->is_finishing || peers->idles >= IDLE_MAX) {
        handle_destroy(handle);
        return;
    }
    list_prepend(&peers->idle, &handle->place);
    peers->idles++;
}

/* ---- the end of a call ---- */

/* In TLS 1.3 a server that misses a certificate, or does not like it, ends the connection while we
 * are still at our part of the handshake, or done with it. What libcurl makes of it depends on what
 * it was about to do, and never names the reason. */
static bool ended_at_handshake(CURL *easy, CURLcode result)
{
    curl_off_t handshake_us = 0;
    long connects = 0;

    curl_easy_getinfo(easy, CURLINFO_APPCONNECT_TIME_T, &handshake_us);
    curl_easy_getinfo(easy, CURLINFO_NUM_CONNECTS, &connects);
    return result == CURLE_SSL_CONNECT_ERROR ||
           (handshake_us > 0 && connects > 0 &&
            (result == CURLE_RECV_ERROR || result == CURLE_SEND_ERROR ||
             result == CURLE_GOT_NOTHING));
}

static void complain(struct peer_call *call, CURLcode result)
{
    static const char hint[] = " (at the TLS handshake: does it want to see a certificate?)";
    size_t room = sizeof(call->message) - sizeof(hint), len;

    if (call->message[0] == '\0')
        snprintf(call->message, sizeof(call->message), "%s", curl_easy_strerror(result));
    call->answer.error = call->message;
    len = strlen(call->message);
    if (ended_at_handshake(call->handle->easy, result))
        memcpy(call->message + (len < room ? len : room), hint, sizeof(hint));
}

static void call_describe(struct peer_call *call, CURLcode result)
{
    long status = 0;
    curl_off_t took_us = 0;

    curl_easy_getinfo(call->handle->easy, CURLINFO_TOTAL_TIME_T, &took_us);
    curl_easy_getinfo(call->handle->easy, CURLINFO_RESPONSE_CODE, &status);
    call->answer.took_us = took_us;
    if (call->body.has_failed)
        call->answer.error = "no memory for the answer";
    else if (call->excess != NULL)
        call->answer.error = call->excess;
    else if (result != CURLE_OK)
        complain(call, result);
    else if (status == 0)
        call->answer.error = "the answer has no status";
    call->handle = NULL;
    if (call->answer.error != NULL)
        return;
    call->answer.status = (unsigned) status;
    call->answer.body = buf_slice(&call->body);
}

/* Take the call out of libcurl; its answer is ready. Does not let the op go on. */
static void call_end(struct peers *peers, struct peer_call *call, CURLcode result)
{
    struct handle *handle = call->handle;

    loop_timer_disarm(peers->loop, &call->timer);
    call_describe(call, result);
    list_remove(&call->place);
    peers->calls--;
    curl_multi_remove_handle(peers->multi, handle->easy);
    handle_give_back(peers, handle);
}

static void gather_ended(struct peer_call *call)
{
    struct gather *gather = call->gather;

    assert(gather->left > 0);
    if (--gather->left == 0)
        op_resume(gather->op);
}

/* ---- disturbed links ---- */

static void call_lose(struct peer_call *call)
{
    call->answer.status = 0;
    call->answer.body = (struct slice){NULL, 0};
    call->answer.date_s = 0;
    call->answer.error = "lost on the way, as a fault on demand has it";
}

/* The answer is here, or why there is none: let it wait where it must. */
static bool call_keep(struct peers *peers, struct peer_call *call)
{
    struct peer_way way = {0};

    if (call->way_back != NULL)
        call->way_back(&way, call->tag);
    if (way.is_lost)
        call_lose(call);
    if (way.delay_ms <= 0)
        return false;
    call->stage = CALL_KEPT;
    list_append(&peers->running, &call->place);
    peers->calls++;
    loop_timer_arm(peers->loop, &call->timer, way.delay_ms);
    return true;
}

/* Of a call that is not in libcurl's hands. */
static void call_let_go(struct peers *peers, struct peer_call *call)
{
    loop_timer_disarm(peers->loop, &call->timer);
    list_remove(&call->place);
    peers->calls--;
    if (call->handle != NULL)
        handle_give_back(peers, call->handle);
    call->handle = NULL;
}

static void call_timer_fired(struct loop_timer *timer)
{
    struct peer_call *call = container_of(timer, struct peer_call, timer);
    struct peers *peers = call->gather->peers;

    if (call->stage == CALL_HELD && !call->way_there.is_lost) {
        call->stage = CALL_SENT;
        if (curl_multi_add_handle(peers->multi, call->handle->easy) == CURLM_OK)
            return;
        call->answer.error = "the call could not be made";
    } else if (call->stage == CALL_HELD) {
        call_lose(call);
    }
    call_let_go(peers, call);
    gather_ended(call);
}

static void collect(struct peers *peers)
{
    const CURLMsg *message;
    struct list ended;
    int rest;

    list_init(&ended);
    while ((message = curl_multi_info_read(peers->multi, &rest)) != NULL) {
        struct peer_call *call = NULL;
        /* Taking the handle out frees the message. */
        CURLcode result = message->data.result;
        if (message->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &call);
        call_end(peers, call, result);
        if (!call_keep(peers, call))
            list_append(&ended, &call->place);
    }
    for (struct list *at = list_pop(&ended); at != NULL; at = list_pop(&ended))
        gather_ended(list_entry(at, struct peer_call, place));
}

static void act(struct peers *peers, curl_socket_t fd, int what)
{
    int running;

    curl_multi_socket_action(peers->multi, fd, what, &running);
    collect(peers);
}

/* ---- what libcurl calls; none of these may call a curl_multi_ function ---- */

static size_t take_body(char *bytes, size_t size, size_t count, void *context)
{
    struct peer_call *call = context;
    size_t len = size * count;

    if (len > call->body_max_bytes - call->body.len) {
        call->excess = "the answer is too large";
        return CURL_WRITEFUNC_ERROR;
    }
    buf_append(&call->body, bytes, len);
    return call->body.has_failed ? CURL_WRITEFUNC_ERROR : len;
}

static size_t take_header(char *bytes, size_t size, size_t count, void *context)
{
    static const char date[] = "date:";
    struct peer_call *call = context;
    struct slice line = slice_make(bytes, size * count);

    call->header_bytes += line.len;
    if (line.len > sizeof(date) && strncasecmp(bytes, date, sizeof(date) - 1) == 0 &&
        !clock_parse_http(
            slice_trim(slice_make(bytes + sizeof(date) - 1, line.len - sizeof(date) + 1)),
            &call->answer.date_s))
        call->answer.date_s = 0;
    if (call->header_bytes <= HEADER_MAX_BYTES)
        return line.len;
    call->excess = "the headers of the answer are too large";
    return CURL_WRITEFUNC_ERROR;
}

static void socket_ready(struct loop_watch *watch, uint32_t events)
{
    struct peers *peers = container_of(watch, struct peer_socket, watch)->peers;
    int what = 0;

    if ((events & (EPOLLIN | EPOLLHUP)) != 0)
        what |= CURL_CSELECT_IN;
    if ((events & EPOLLOUT) != 0)
        what |= CURL_CSELECT_OUT;
    if ((events & EPOLLERR) != 0)
        what |= CURL_CSELECT_ERR;
    /* The watch may be gone when this returns. */
    act(peers, watch->fd, what);
}

static struct peer_socket *socket_find(struct peers *peers, curl_socket_t fd)
{
    list_for_each(at, &peers->sockets)
    {
        struct peer_socket *found = list_entry(at, struct peer_socket, place);
        if (found->watch.fd == fd)
            return found;
    }
    return NULL;
}

static void socket_forget(struct peer_socket *found)
{
    loop_watch_set(found->peers->loop, &found->watch, 0);
    list_remove(&found->place);
    free(found);
}

/* A socket that cannot be watched leaves its call to its timeout: an error told to libcurl here
 * would end every call of the loop. */
static int socket_wanted(CURL *easy, curl_socket_t fd, int what, void *context, void *unused)
{
    struct peers *peers = context;
    struct peer_socket *found = socket_find(peers, fd);
    uint32_t events = (what == CURL_POLL_IN || what == CURL_POLL_INOUT ? EPOLLIN : 0u) |
                      (what == CURL_POLL_OUT || what == CURL_POLL_INOUT ? EPOLLOUT : 0u);

    (void) easy;
    (void) unused;
    if (what == CURL_POLL_REMOVE) {
        if (found != NULL)
            socket_forget(found);
        return 0;
    }
    if (found == NULL) {
        found = calloc(1, sizeof(*found));
        if (found == NULL)
            return 0;
        *found = (struct peer_socket){.watch = {.fd = fd, .ready = socket_ready}, .peers = peers};
        list_append(&peers->sockets, &found->place);
    }
    int error = loop_watch_set(peers->loop, &found->watch, events);
    if (error != 0) {
        log_error(NULL, "peer's socket not watched", "errno=%d", error);
        socket_forget(found);
    }
    return 0;
}

static int timer_wanted(CURLM *multi, long delay_ms, void *context)
{
    struct peers *peers = context;

    (void) multi;
    peers->is_due = delay_ms == 0;
    loop_timer_disarm(peers->loop, &peers->timer);
    if (delay_ms > 0)
        loop_timer_arm(peers->loop, &peers->timer, delay_ms);
    else if (peers->is_due)
        loop_kick(peers->loop); /* our hook may have run already in this turn */
    return 0;
}

static void timer_fired(struct loop_timer *timer)
{
    act(container_of(timer, struct peers, timer), CURL_SOCKET_TIMEOUT, 0);
}

static int run_due(struct loop_hook *hook)
{
    struct peers *peers = container_of(hook, struct peers, hook);

    if (peers->is_due) {
        peers->is_due = false;
        act(peers, CURL_SOCKET_TIMEOUT, 0);
    }
    return peers->is_due ? 0 : -1;
}

/* ---- asking ---- */

/* Without "expect: 100-continue", which would cost a round trip. */
static bool set_headers(struct handle *handle, const struct peer_request *request)
{
    struct curl_slist *all = curl_slist_append(NULL, "expect:");

    for (const char *const *at = request->headers; all != NULL && at != NULL && *at != NULL; at++) {
        struct curl_slist *longer = curl_slist_append(all, *at);
        if (longer == NULL)
            curl_slist_free_all(all);
        all = longer;
    }
    handle->headers = all;
    return all != NULL && curl_easy_setopt(handle->easy, CURLOPT_HTTPHEADER, all) == CURLE_OK;
}

static bool set_post(struct handle *handle, const struct peer_request *request)
{
    const char *body = request->body.len > 0 ? request->body.ptr : "";

    return curl_easy_setopt(handle->easy, CURLOPT_POST, 1L) == CURLE_OK &&
           curl_easy_setopt(handle->easy, CURLOPT_POSTFIELDSIZE_LARGE,
                            (curl_off_t) request->body.len) == CURLE_OK &&
           curl_easy_setopt(handle->easy, CURLOPT_POSTFIELDS, body) == CURLE_OK;
}

/* Read anew for each connection: a file that was replaced counts from the next one on. The system's
 * authorities, which libcurl finds in a folder besides, vouch for nobody where others are given. */
static bool set_files(CURL *easy, const struct peer_options *options)
{
    const char *key_file =
        options->cert_key_file != NULL ? options->cert_key_file : options->cert_file;

    return (options->ca_file == NULL ||
            (curl_easy_setopt(easy, CURLOPT_CAINFO, options->ca_file) == CURLE_OK &&
             curl_easy_setopt(easy, CURLOPT_CAPATH, NULL) == CURLE_OK)) &&
           (options->cert_file == NULL ||
            (curl_easy_setopt(easy, CURLOPT_SSLCERT, options->cert_file) == CURLE_OK &&
             curl_easy_setopt(easy, CURLOPT_SSLKEY, key_file) == CURLE_OK));
}

static bool handle_set(const struct peers *peers, struct peer_call *call,
                       const struct peer_request *request, long timeout_ms)
{
    CURL *easy = call->handle->easy;

    return curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_URL, request->url) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_PROXY, "") == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_USERAGENT, "orrery/" ORRERY_VERSION) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long) CURL_HTTP_VERSION_1_1) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS,
                            (long) peers->options.connect_timeout_ms) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, timeout_ms) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L) == CURLE_OK &&
           set_files(easy, &peers->options) &&
           curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, call->message) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_body) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_WRITEDATA, call) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, take_header) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_HEADERDATA, call) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_PRIVATE, call) == CURLE_OK &&
           set_headers(call->handle, request) &&
           (!request->is_post || set_post(call->handle, request));
}

/* How long a call is held before it is sent, or given up when it is lost. */
static int held_ms(const struct peers *peers, const struct peer_request *request, long timeout_ms)
{
    int most = peers->options.connect_timeout_ms;

    if (!request->way_there.is_lost)
        return request->way_there.delay_ms;
    return timeout_ms < most ? (int) timeout_ms : most;
}

static bool call_send(struct peers *peers, struct peer_call *call, int after_ms)
{
    call->stage = after_ms > 0 ? CALL_HELD : CALL_SENT;
    if (after_ms > 0)
        loop_timer_arm(peers->loop, &call->timer, after_ms);
    return after_ms > 0 || curl_multi_add_handle(peers->multi, call->handle->easy) == CURLM_OK;
}

/* False when the call could not be made; its answer says so. */
static bool call_begin(struct peers *peers, struct peer_call *call,
                       const struct peer_request *request)
{
    int64_t left_ms = op_time_left_ms(call->gather->op);
    long timeout_ms = left_ms < request->timeout_ms ? (long) left_ms : request->timeout_ms;
    long way_ms = timeout_ms - request->way_there.delay_ms;

    list_init(&call->place);
    loop_timer_init(&call->timer, call_timer_fired);
    call->way_there = request->way_there;
    call->way_back = request->way_back;
    call->body_max_bytes = request->body_max_bytes;
    call->tag = request->tag;
    call->handle = handle_take(peers);
    /* To libcurl a timeout of 0 is none. */
    if (call->handle != NULL && handle_set(peers, call, request, way_ms > 0 ? way_ms : 1) &&
        call_send(peers, call, held_ms(peers, request, timeout_ms))) {
        list_append(&peers->running, &call->place);
        peers->calls++;
        return true;
    }
    if (call->handle != NULL)
        handle_give_back(peers, call->handle);
    call->handle = NULL;
    call->answer.error = "the call could not be made";
    return false;
}

static void finish_bodies(void *object)
{
    struct gather *gather = object;

    for (unsigned i = 0; i < gather->count; i++)
        buf_finish(&gather->calls[i].body);
}

enum op_next peer_ask_all(struct peers *peers, struct op *op, const struct peer_request *requests,
                          unsigned count, op_step *next)
{
    bool is_refused = peers->is_finishing || peers->calls + count > PEER_CALLS_MAX;

    if (is_refused) {
        fault_set(&op->fault, 503, SUB_NONE, "other regions cannot be asked now");
        op->fault.retry_after_ms = 1000;
        return OP_FAILED;
    }
    struct gather *gather =
        arena_alloc(&op->arena, sizeof(*gather) + count * sizeof(gather->calls[0]));
    if (gather == NULL || !arena_defer(&op->arena, finish_bodies, gather)) {
        fault_set_oom(&op->fault);
        return OP_FAILED;
    }
    gather->op = op;
    gather->peers = peers;
    gather->count = count;
    op->waiting_for = gather;
    for (unsigned i = 0; i < count; i++) {
        gather->calls[i].gather = gather;
        gather->left += call_begin(peers, &gather->calls[i], &requests[i]);
    }
    return gather->left > 0 ? op_wait(op, OP_WAITS_READ, next) : op_again(op, next);
}

enum op_next peer_ask(struct peers *peers, struct op *op, const struct peer_request *request,
                      op_step *next)
{
    return peer_ask_all(peers, op, request, 1, next);
}

const struct peer_answer *peer_answer(const struct op *op, unsigned index)
{
    const struct gather *gather = op->waiting_for;

    assert(gather->left == 0 && index < gather->count);
    return &gather->calls[index].answer;
}

void *peer_tag(const struct op *op, unsigned index)
{
    const struct gather *gather = op->waiting_for;

    assert(gather->left == 0 && index < gather->count);
    return gather->calls[index].tag;
}

/* ---- begin and end ---- */

bool peers_init(struct peers *peers, struct loop *loop, const struct peer_options *options)
{
    assert(options->connect_timeout_ms > 0);
    *peers = (struct peers){.loop = loop, .options = *options};
    list_init(&peers->sockets);
    list_init(&peers->running);
    list_init(&peers->idle);
    loop_timer_init(&peers->timer, timer_fired);
    loop_hook_add(loop, &peers->hook, run_due);
    pthread_once(&library_once, library_init);
    peers->multi = library_state == CURLE_OK ? curl_multi_init() : NULL;
    return peers->multi != NULL &&
           curl_multi_setopt(peers->multi, CURLMOPT_SOCKETFUNCTION, socket_wanted) == CURLM_OK &&
           curl_multi_setopt(peers->multi, CURLMOPT_SOCKETDATA, peers) == CURLM_OK &&
           curl_multi_setopt(peers->multi, CURLMOPT_TIMERFUNCTION, timer_wanted) == CURLM_OK &&
           curl_multi_setopt(peers->multi, CURLMOPT_TIMERDATA, peers) == CURLM_OK &&
           curl_multi_setopt(peers->multi, CURLMOPT_MAX_HOST_CONNECTIONS,
                             (long) PEER_HOST_CONNECTIONS_MAX) == CURLM_OK &&
           curl_multi_setopt(peers->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS,
                             (long) PEER_CONNECTIONS_MAX) == CURLM_OK &&
           curl_multi_setopt(peers->multi, CURLMOPT_MAXCONNECTS, (long) PEER_CONNECTIONS_MAX) ==
               CURLM_OK;
}

void peers_finish(struct peers *peers)
{
    if (peers->loop == NULL)
        return;
    peers->is_finishing = true;
    while (!list_is_empty(&peers->running)) {
        struct peer_call *call = list_entry(peers->running.next, struct peer_call, place);
        snprintf(call->message, sizeof(call->message), "the gateway stops");
        if (call->stage == CALL_KEPT)
            call_let_go(peers, call);
        else
            call_end(peers, call, CURLE_ABORTED_BY_CALLBACK);
        gather_ended(call);
    }
    for (struct list *at = list_pop(&peers->idle); at != NULL; at = list_pop(&peers->idle))
        handle_destroy(list_entry(at, struct handle, place));
    if (peers->multi != NULL)
        curl_multi_cleanup(peers->multi);
    /* Closing its connections, libcurl has spoken to us for the last time. */
    while (!list_is_empty(&peers->sockets))
        socket_forget(list_entry(peers->sockets.next, struct peer_socket, place));
    loop_timer_disarm(peers->loop, &peers->timer);
    loop_hook_remove(&peers->hook);
    *peers = (struct peers){0};
}
