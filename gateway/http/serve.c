/*
 * One thread per loop; the main thread starts them, waits for signals, and stops them in the
 * reverse order.
 *
 * The ports are bound before anything else, so that a port in use is said at once. A first bind
 * without SO_REUSEPORT finds a gateway that was forgotten: with it, the kernel would let both share
 * the port in silence.
 */
#include "http/serve.h"

#include "base/clock.h"
#include "base/keys.h"
#include "base/log.h"
#include "http/certificates.h"
#include "http/process.h"
#include "http/refusals.h"
#include "http/tickets.h"
#include "replica/faults.h"
#include "store/levels.h"
#include "store/schema.h"

#include <malloc.h>
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/banned.h"

#define LISTEN_BACKLOG 1024
#define POLL_MS 20
#define CONTAINERS_MAX 10000
#define PEER_CONNECT_MS 500

static int fail(const char *what, const char *why)
{
    fprintf(stderr, "orrery serve: %s: %s\n", what, why);
    return 1;
}

/* ---- ports ---- */

static int listen_on(const char *address, int port, bool may_share, int *bound_port)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } where = {.v4 = {0}};
    socklen_t len = sizeof(where.v4);
    int on = 1;

    if (inet_pton(AF_INET, address, &where.v4.sin_addr) == 1) {
        where.v4.sin_family = AF_INET;
        where.v4.sin_port = htons((uint16_t) port);
    } else if (inet_pton(AF_INET6, address, &where.v6.sin6_addr) == 1) {
        where.v6.sin6_family = AF_INET6;
        where.v6.sin6_port = htons((uint16_t) port);
        len = sizeof(where.v6);
    } else {
        errno = EADDRNOTAVAIL;
        return -1;
    }
    int fd = socket(where.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if ((may_share && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) != 0) ||
        bind(fd, &where.any, len) != 0 || listen(fd, LISTEN_BACKLOG) != 0 ||
        getsockname(fd, &where.any, &len) != 0) {
        int error = errno;
        close(fd);
        errno = error;
        return -1;
    }
    *bound_port = ntohs(where.any.sa_family == AF_INET ? where.v4.sin_port : where.v6.sin6_port);
    return fd;
}

/* One listening socket per worker on one port; a port of 0 is chosen by the first. */
static bool open_port(struct process *process, int wanted, bool is_secure, int *bound)
{
    bool is_shared = process->worker_count > 1;
    char what[96];

    *bound = CONFIG_PORT_NONE;
    if (wanted == CONFIG_PORT_NONE)
        return true;
    int probe = listen_on(process->config->listen_address, wanted, false, bound);
    if (probe >= 0 && is_shared)
        close(probe);
    for (unsigned i = 0; i < process->worker_count && probe >= 0; i++) {
        int fd =
            is_shared ? listen_on(process->config->listen_address, *bound, true, bound) : probe;
        if (fd < 0)
            probe = -1;
        else if (is_secure)
            process->workers[i].secure_fd = fd;
        else
            process->workers[i].plain_fd = fd;
    }
    if (probe >= 0)
        return true;
    snprintf(what, sizeof(what), "cannot listen on %.60s port %d", process->config->listen_address,
             wanted);
    fail(what, strerror(errno));
    return false;
}

/* ---- a worker's thread ---- */

static void tell_main(struct process *process)
{
    uint64_t one = 1;
    ssize_t written = write(process->ready_fd, &one, sizeof(one));

    (void) written;
}

static void finish_draining(struct worker *worker)
{
    bool is_late = worker->loop.now_ms >= worker->drain_until_ms;

    if (!server_is_drained(&worker->server) && !is_late)
        return;
    if (is_late)
        server_expire_all(&worker->server);
    loop_turn(&worker->loop, 0); /* send what was just answered */
    loop_stop(&worker->loop);
}

static void poll_worker(struct loop_timer *timer)
{
    struct worker *worker = container_of(timer, struct worker, poll);

    if (worker->is_draining)
        finish_draining(worker);
    else if (!atomic_load(&worker->is_ready) && store_is_ready(&worker->service.store)) {
        atomic_store(&worker->is_ready, true);
        tell_main(worker->process);
    }
    if (!worker->loop.is_stopping && (worker->is_draining || !atomic_load(&worker->is_ready)))
        loop_timer_arm(&worker->loop, &worker->poll, POLL_MS);
}

static void start_draining(struct loop_message *message)
{
    struct worker *worker = container_of(message, struct worker, drain);

    worker->is_draining = true;
    worker->drain_until_ms = worker->loop.now_ms + worker->process->config->drain_timeout_ms;
    upkeep_stop(&worker->upkeep);
    replica_stop(&worker->replica);
    regions_watch_stop(&worker->regions_watch);
    index_asks_stop(&worker->service.index_asks);
    server_drain(&worker->server);
    loop_timer_arm(&worker->loop, &worker->poll, 1);
}

static void *run_worker(void *argument)
{
    struct worker *worker = argument;

    loop_run(&worker->loop);
    return NULL;
}

static bool init_peers(struct worker *worker)
{
    struct peer_options options = {.ca_file = worker->process->config->peer_ca_file,
                                   .connect_timeout_ms = PEER_CONNECT_MS};

    return peers_init(&worker->service.peers, &worker->loop, &options);
}

static bool init_worker(struct process *process, struct worker *worker)
{
    worker->process = process;
    worker->service =
        (struct service){.process = process, .loop = &worker->loop, .config = process->config};
    if (process->config->is_throughput_enforced)
        worker->service.throughput = &process->throughput;
    worker->drain.run = start_draining;
    loop_timer_init(&worker->poll, poll_worker);
    if (loop_init(&worker->loop) != 0)
        return false;
    if (!container_cache_init(&worker->service.containers, CONTAINERS_MAX))
        return false;
    /* The server's hook runs before the store's: what arrives in a turn leaves in the same turn. */
    if (!server_init(&worker->server, &worker->service, &worker->metrics, worker->plain_fd,
                     worker->secure_fd))
        return false;
    if (!store_init(&worker->service.store, &worker->loop, process->config) || !init_peers(worker))
        return false;
    index_asks_start(&worker->service.index_asks, &worker->service.store);
    if (worker == process->workers) {
        upkeep_start(&worker->upkeep, &worker->service.store);
        if (!replica_start(&worker->replica, process->config, &worker->loop, &worker->service.store,
                           &worker->service.peers))
            return false;
        regions_watch_start(&worker->regions_watch, &worker->service.store);
    }
    loop_timer_arm(&worker->loop, &worker->poll, 0);
    return true;
}

static void finish_worker(struct worker *worker)
{
    if (worker->process == NULL)
        return;
    loop_timer_disarm(&worker->loop, &worker->poll);
    upkeep_stop(&worker->upkeep);
    replica_stop(&worker->replica);
    regions_watch_stop(&worker->regions_watch);
    index_asks_stop(&worker->service.index_asks);
    server_finish(&worker->server);
    peers_finish(&worker->service.peers);
    store_finish(&worker->service.store);
    replica_finish(&worker->replica);
    index_asks_finish(&worker->service.index_asks);
    container_cache_finish(&worker->service.containers);
    loop_finish(&worker->loop);
}

/* ---- the main thread ---- */

static void print_ready(const struct process *process)
{
    const char *address = process->config->listen_address;
    const struct regions *regions = regions_current();
    bool is_v6 = strchr(address, ':') != NULL;
    struct buf line = {0};

    if (strcmp(address, "0.0.0.0") == 0 || strcmp(address, "::") == 0) {
        address = "localhost";
        is_v6 = false;
    }
    buf_append_text(&line, "{\"ready\":true,\"account\":");
    buf_append_json_string(&line, slice_from_text(process->config->account_name));
    buf_append_text(&line, ",\"region\":");
    buf_append_json_string(&line, slice_from_text(process->config->region_name));
    buf_printf(&line, ",\"ordinal\":%u,\"replicating\":%s", regions->self,
               regions->is_replicating ? "true" : "false");
    if (process->http_port != CONFIG_PORT_NONE)
        buf_printf(&line, ",\"http\":\"http://%s%s%s:%d/\"", is_v6 ? "[" : "", address,
                   is_v6 ? "]" : "", process->http_port);
    if (process->https_port != CONFIG_PORT_NONE)
        buf_printf(&line, ",\"https\":\"https://%s%s%s:%d/\"", is_v6 ? "[" : "", address,
                   is_v6 ? "]" : "", process->https_port);
    buf_printf(&line, ",\"pid\":%ld}\n", (long) getpid());
    if (!line.has_failed) {
        fwrite(line.ptr, 1, line.len, stdout);
        fflush(stdout);
    }
    buf_finish(&line);
}

static bool all_are_ready(const struct process *process)
{
    for (unsigned i = 0; i < process->worker_count; i++) {
        if (!atomic_load(&process->workers[i].is_ready))
            return false;
    }
    return true;
}

static void reload_keys(const struct config *config)
{
    struct fault fault;

    if (keys_reload(config->key_file, &fault))
        log_info(NULL, "keys loaded", "file=%s",
                 config->key_file != NULL ? config->key_file : "none");
    else
        log_error(NULL, "keys not loaded, the old ones stay", "reason=\"%s\"", fault.message);
}

static void reload_certificate(const struct config *config)
{
    struct fault fault;

    if (certificates_reload(config, &fault))
        log_info(NULL, "certificate loaded", "file=%s",
                 config->cert_file != NULL ? config->cert_file : "own");
    else
        log_error(NULL, "certificate not loaded, the old one stays", "reason=\"%s\"",
                  fault.message);
}

static void notify_supervisor(const char *state)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un {
        sa_family_t family;
        char path[108];
    } where = {.family = AF_UNIX};

    if (path == NULL || strlen(path) >= sizeof(where.path))
        return;
    snprintf(where.path, sizeof(where.path), "%s", path);
    if (where.path[0] == '@')
        where.path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    sendto(fd, state, strlen(state), MSG_NOSIGNAL, (const struct sockaddr *) &where,
           (socklen_t) (offsetof(struct sockaddr_un, path) + strlen(path)));
    close(fd);
}

/* Wait for signals until one of them ends the program. */
static void watch_signals(struct process *process, int signal_fd)
{
    struct pollfd polled[] = {{.fd = signal_fd, .events = POLLIN},
                              {.fd = process->ready_fd, .events = POLLIN}};
    bool is_announced = false;
    struct signalfd_siginfo got;
    uint64_t count;

    for (;;) {
        if (poll(polled, ARRAY_LEN(polled), -1) < 0 && errno != EINTR)
            return;
        if ((polled[1].revents & POLLIN) != 0 &&
            read(process->ready_fd, &count, sizeof(count)) > 0 && !is_announced &&
            all_are_ready(process)) {
            is_announced = true;
            print_ready(process);
            notify_supervisor("READY=1");
            log_info(NULL, "ready", "http_port=%d https_port=%d threads=%u", process->http_port,
                     process->https_port, process->worker_count);
        }
        if ((polled[0].revents & POLLIN) == 0 || read(signal_fd, &got, sizeof(got)) != sizeof(got))
            continue;
        if (got.ssi_signo != SIGHUP)
            return;
        reload_keys(process->config);
        if (process->https_port != CONFIG_PORT_NONE)
            reload_certificate(process->config);
    }
}

static int block_signals(void)
{
    sigset_t set;

    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    return signalfd(-1, &set, SFD_CLOEXEC);
}

static unsigned start_threads(struct process *process)
{
    unsigned started = 0;

    while (started < process->worker_count &&
           pthread_create(&process->workers[started].thread, NULL, run_worker,
                          &process->workers[started]) == 0)
        started++;
    return started;
}

static int run_process(struct process *process, int signal_fd)
{
    unsigned ready = 0;

    while (ready < process->worker_count && init_worker(process, &process->workers[ready]))
        ready++;
    unsigned started = ready == process->worker_count ? start_threads(process) : 0;
    bool is_running = started == process->worker_count &&
                      index_builder_start(&process->index_builder, process->config->database_url);
    if (is_running)
        watch_signals(process, signal_fd);
    else
        fail("cannot start", strerror(errno));
    log_info(NULL, "stopping", "threads=%u", started);
    notify_supervisor("STOPPING=1");
    for (unsigned i = 0; i < started; i++)
        loop_post(&process->workers[i].loop, &process->workers[i].drain);
    index_builder_stop(&process->index_builder);
    for (unsigned i = 0; i < started; i++)
        pthread_join(process->workers[i].thread, NULL);
    for (unsigned i = process->worker_count; i > 0; i--)
        finish_worker(&process->workers[i - 1]);
    return is_running ? 0 : 1;
}

static bool prepare(struct process *process)
{
    const struct config *config = process->config;
    const char *message;
    struct fault fault;

    if (!keys_reload(config->key_file, &fault) ||
        !tls_check_asking(config->etcd_ca_file, config->etcd_cert_file, config->etcd_cert_key_file,
                          &fault) ||
        (config->https_port != CONFIG_PORT_NONE && !certificates_reload(config, &fault))) {
        fail("cannot start", fault.message);
        return false;
    }
    if (!schema_check(config->database_url, &message)) {
        fail("database", message);
        return false;
    }
    levels_init(config);
    if (!regions_load(config, &fault)) {
        fail("cannot start", fault.message);
        return false;
    }
    faults_set_latencies(config->link_latency, &regions_current()->topology);
    if (!tickets_init() || !refusals_init()) {
        fail("cannot start", "no TLS ticket key, or libmicrohttpd is not as expected");
        return false;
    }
    return open_port(process, config->https_port, true, &process->https_port) &&
           open_port(process, config->http_port, false, &process->http_port);
}

/*
 * Bodies this large come from the system and go back to it when they are freed. Left to itself the
 * C library learns from the first large body to keep such memory, in pieces that small ones hold.
 */
#define BODY_BYTES_MAPPED (1 << 20)

int serve_run(const struct config *config)
{
    struct process process = {.config = config,
                              .worker_count = (unsigned) config->threads,
                              .started_s = clock_unix_s(),
                              .ready_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    int signal_fd = block_signals(), status = 1;

    (void) mallopt(M_MMAP_THRESHOLD, BODY_BYTES_MAPPED); /* where it is not known: as before */
    log_setup(config->log_level, config->is_log_json, config->region_name);
    process.workers = calloc(process.worker_count, sizeof(*process.workers));
    if (process.workers == NULL || process.ready_fd < 0 || signal_fd < 0)
        return fail("cannot start", strerror(errno));
    for (unsigned i = 0; i < process.worker_count; i++)
        process.workers[i].plain_fd = process.workers[i].secure_fd = -1;
    if (!throughput_init(&process.throughput))
        return fail("cannot start", strerror(errno));
    if (prepare(&process))
        status = run_process(&process, signal_fd);
    certificates_finish();
    throughput_finish(&process.throughput);
    tickets_finish();
    keys_finish();
    levels_finish();
    regions_finish();
    free(process.workers);
    close(process.ready_fd);
    close(signal_fd);
    return status;
}
