/*
 * The door to libmicrohttpd (with refusals.c): requests in, replies out, for one loop.
 *
 * Each loop has its own daemons (plain HTTP, TLS) in external epoll mode; their epoll descriptors
 * are nested in the loop's. A request is read whole, routed, authorized, and becomes a call; a call
 * that waits suspends its connection, and is resumed once, when it was answered.
 */
#ifndef ORRERY_HTTP_SERVER_H
#define ORRERY_HTTP_SERVER_H

#include "http/metrics.h"
#include "service/call.h"
#include "service/service.h"

struct MHD_Daemon;

struct server_daemon {
    struct server *server;
    struct MHD_Daemon *daemon;
    struct loop_watch watch;
    int listen_fd;
    bool is_tls;
    bool is_quiet; /* takes no new connections */
};

struct server {
    struct loop *loop;
    const struct config *config;
    struct service *service;
    struct server_daemon plain, secure;
    struct loop_hook hook;
    struct list arriving; /* exchanges that are not here whole, oldest first */
    struct loop_timer arrivals_check;
    struct list running; /* exchanges whose call is not answered */
    struct metrics *metrics;
    size_t body_bytes, body_bytes_max; /* of requests and answers in memory */
    bool is_draining;
    unsigned exchanges;
    unsigned connections;
};

/*
 * Take over two bound and listening sockets (-1: none).
 *
 * returns  false when libmicrohttpd refuses; the sockets then stay the caller's
 */
bool server_init(struct server *server, struct service *service, struct metrics *metrics,
                 int plain_fd, int secure_fd) MUST_CHECK;

/* Take no new connections, answer new requests with 503. */
void server_drain(struct server *server);

/* Have all requests been answered and sent? */
bool server_is_drained(const struct server *server);

/* Answer whatever still runs, as if its deadline had passed. */
void server_expire_all(struct server *server);

/* Close all connections. No call may run. Zeroed memory is accepted. */
void server_finish(struct server *server);

#endif
