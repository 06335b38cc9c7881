#include "http/system.h"

#include "base/clock.h"
#include "http/certificates.h"
#include "http/process.h"
#include "http/routes.h"
#include "replica/arbiter.h"
#include "replica/report.h"

#include <inttypes.h>

#include "base/banned.h"

static enum op_next reply_text(struct op *op, unsigned status, const char *content_type,
                               struct buf *body)
{
    struct call *call = call_of(op);

    call->reply.status = status;
    call->reply.content_type = content_type;
    return reply_take_body(&call->reply, body, &op->fault) ? OP_DONE : OP_FAILED;
}

enum op_next system_alive(struct op *op)
{
    struct buf body = {0};

    buf_append_text(&body, "{\"alive\":true}");
    return reply_text(op, 200, NULL, &body);
}

enum op_next system_ready(struct op *op)
{
    struct service *service = call_of(op)->service;
    struct buf body = {0};

    if (!store_is_ready(&service->store)) {
        fault_set(&op->fault, 503, SUB_NONE, "the database of region \"%s\" is not connected",
                  service->config->region_name);
        op->fault.retry_after_ms = 1000;
        return OP_FAILED;
    }
    buf_append_text(&body, "{\"ready\":true}");
    return reply_text(op, 200, NULL, &body);
}

static void print_pool(struct buf *body, enum store_pool_name name, const struct store_pool *pool)
{
    unsigned ready = 0;

    for (unsigned i = 0; i < pool->count; i++)
        ready += pgio_is_ready(&pool->connections[i]);
    struct store_depth depth = store_depth(name);
    buf_printf(body,
               "\"%s\":{\"connections\":%u,\"ready\":%u,\"waiting\":%" PRId64
               ",\"inFlight\":%" PRId64 "}",
               store_pool_name(name), pool->count, ready, depth.waiting, depth.in_flight);
}

/* ---- status ---- */

/* A region that takes longer counts as not ready; whoever looks at /status does not wait. */
#define PEER_TIMEOUT_MS 1000
#define PEER_BODY_MAX_BYTES 4096

static op_step status_answered; /* print, with what the peers said */

static void print_peer(struct buf *body, struct slice name, struct slice url,
                       const struct peer_answer *answer)
{
    buf_append_text(body, "{\"region\":");
    buf_append_json_string(body, name);
    buf_append_text(body, ",\"endpoint\":");
    buf_append_json_string(body, url);
    buf_printf(body, ",\"ready\":%s,\"milliseconds\":%.3f",
               answer->status == 200 ? "true" : "false", (double) answer->took_us / 1000);
    if (answer->status != 0)
        buf_printf(body, ",\"status\":%u", answer->status);
    if (answer->error != NULL) {
        buf_append_text(body, ",\"error\":");
        buf_append_json_string(body, slice_from_text(answer->error));
    }
    buf_append_char(body, '}');
}

static void print_peers(struct buf *body, struct op *op)
{
    struct slice rest = slice_from_text(call_of(op)->service->config->peers), name, url;

    buf_append_text(body, ",\"peers\":[");
    for (unsigned i = 0; config_peer_next(&rest, &name, &url); i++) {
        if (i > 0)
            buf_append_char(body, ',');
        print_peer(body, name, url, peer_answer(op, i));
    }
    buf_append_char(body, ']');
}

static void print_arbiter(struct buf *body)
{
    size_t before = body->len;

    buf_append_text(body, ",\"arbiter\":");
    if (!arbiter_print(body))
        body->len = before;
}

enum op_next system_status(struct op *op)
{
    struct service *service = call_of(op)->service;
    struct slice rest = slice_from_text(service->config->peers), name, url;
    struct peer_request requests[CONFIG_PEERS_MAX];
    unsigned count = 0;

    if (service->config->peers == NULL)
        return op_again(op, status_answered);
    for (; count < CONFIG_PEERS_MAX && config_peer_next(&rest, &name, &url); count++) {
        bool has_slash = url.ptr[url.len - 1] == '/';
        requests[count] =
            (struct peer_request){.url = arena_printf(&op->arena, "%.*s%s", (int) url.len, url.ptr,
                                                      has_slash ? "ready" : "/ready"),
                                  .timeout_ms = PEER_TIMEOUT_MS,
                                  .body_max_bytes = PEER_BODY_MAX_BYTES};
        if (requests[count].url == NULL)
            return fault_set_oom(&op->fault) ? OP_DONE : OP_FAILED;
    }
    return peer_ask_all(&service->peers, op, requests, count, status_answered);
}

static enum op_next status_answered(struct op *op)
{
    struct service *service = call_of(op)->service;
    const struct process *process = service->process;
    const struct regions *regions = regions_current();
    struct buf body = {0};

    buf_append_text(&body, "{\"version\":\"" ORRERY_VERSION "\",\"account\":");
    buf_append_json_string(&body, slice_from_text(service->config->account_name));
    buf_append_text(&body, ",\"region\":");
    buf_append_json_string(&body, slice_from_text(service->config->region_name));
    buf_printf(&body,
               ",\"ordinal\":%u,\"replicating\":%s,\"uptimeSeconds\":%" PRId64 ",\"threads\":%u",
               regions->self, regions->is_replicating ? "true" : "false",
               clock_unix_s() - process->started_s, process->worker_count);
    buf_append_text(&body, ",\"database\":{");
    print_pool(&body, STORE_POOL_READ, &service->store.reads);
    buf_append_char(&body, ',');
    print_pool(&body, STORE_POOL_WRITE, &service->store.writes);
    buf_append_char(&body, ',');
    print_pool(&body, STORE_POOL_QUERY, &service->store.queries);
    buf_printf(&body, "},\"containersCached\":%zu", service->containers.count);
    if (service->config->peers != NULL)
        print_peers(&body, op);
    if (regions->is_replicating) {
        buf_append_text(&body, ",\"replication\":");
        replication_print(&body);
    }
    print_arbiter(&body);
    buf_append_char(&body, '}');
    return reply_text(op, 200, NULL, &body);
}

enum op_next system_certificate(struct op *op)
{
    const struct tls *tls = certificates_current();
    struct buf body = {0};

    if (tls == NULL)
        return call_fail(op, 404, SUB_NONE, "this gateway serves no HTTPS and has no certificate");
    buf_append_text(&body, tls->authority_pem);
    return reply_text(op, 200, "application/x-pem-file", &body);
}

/* ---- metrics ---- */

static uint64_t total(const struct process *process, size_t offset)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < process->worker_count; i++)
        sum += atomic_load_explicit(
            (_Atomic uint64_t *) ((char *) &process->workers[i].metrics + offset),
            memory_order_relaxed);
    return sum;
}

#define TOTAL(process, member) total(process, offsetof(struct metrics, member))

static void print_counter(struct buf *out, const char *name, const char *type, const char *help,
                          uint64_t value)
{
    buf_printf(out, "# HELP orrery_%s %s\n# TYPE orrery_%s %s\norrery_%s %" PRIu64 "\n", name, help,
               name, type, name, value);
}

static size_t route_offset(unsigned route, size_t inner)
{
    return offsetof(struct metrics, routes) + route * sizeof(struct metrics_route) + inner;
}

static void print_requests(struct buf *out, const struct process *process)
{
    static const char *const classes[] = {"429", "1xx", "2xx", "3xx", "4xx", "5xx"};

    buf_append_text(out, "# HELP orrery_requests_total Requests answered, by route and status.\n"
                         "# TYPE orrery_requests_total counter\n");
    for (unsigned route = 0; route < route_count(); route++) {
        for (unsigned class = 0; class < ARRAY_LEN(classes); class ++) {
            uint64_t value =
                total(process, route_offset(route, offsetof(struct metrics_route, by_status) +
                                                       class * sizeof(uint64_t)));
            if (value > 0)
                buf_printf(out, "orrery_requests_total{route=\"%s\",status=\"%s\"} %" PRIu64 "\n",
                           route_at(route)->name, classes[class], value);
        }
    }
}

static void print_latency(struct buf *out, const struct process *process, unsigned route)
{
    const char *name = route_at(route)->name;
    uint64_t count = 0;

    for (unsigned i = 0; i < METRICS_BUCKETS; i++) {
        count += total(process, route_offset(route, offsetof(struct metrics_route, latency) +
                                                        i * sizeof(uint64_t)));
        if (i < METRICS_BUCKETS - 1)
            buf_printf(out, "orrery_request_seconds_bucket{route=\"%s\",le=\"%g\"} %" PRIu64 "\n",
                       name, metrics_bounds_us[i] / 1e6, count);
    }
    buf_printf(out, "orrery_request_seconds_bucket{route=\"%s\",le=\"+Inf\"} %" PRIu64 "\n", name,
               count);
    buf_printf(out, "orrery_request_seconds_count{route=\"%s\"} %" PRIu64 "\n", name, count);
    uint64_t sum_us =
        total(process, route_offset(route, offsetof(struct metrics_route, latency_sum_us)));
    buf_printf(out, "orrery_request_seconds_sum{route=\"%s\"} %.6f\n", name, (double) sum_us / 1e6);
}

static bool was_used(const struct process *process, unsigned route)
{
    for (unsigned i = 0; i < METRICS_BUCKETS; i++) {
        if (total(process, route_offset(route, offsetof(struct metrics_route, latency) +
                                                   i * sizeof(uint64_t))) > 0)
            return true;
    }
    return false;
}

static void print_depths(struct buf *out)
{
    buf_append_text(out,
                    "# HELP orrery_pool_waiting Calls that wait for a connection to PostgreSQL.\n"
                    "# TYPE orrery_pool_waiting gauge\n");
    for (unsigned pool = 0; pool < STORE_POOLS; pool++)
        buf_printf(out, "orrery_pool_waiting{pool=\"%s\"} %" PRId64 "\n", store_pool_name(pool),
                   store_depth(pool).waiting);
    buf_append_text(out, "# HELP orrery_pool_in_flight Statements that PostgreSQL works on.\n"
                         "# TYPE orrery_pool_in_flight gauge\n");
    for (unsigned pool = 0; pool < STORE_POOLS; pool++)
        buf_printf(out, "orrery_pool_in_flight{pool=\"%s\"} %" PRId64 "\n", store_pool_name(pool),
                   store_depth(pool).in_flight);
}

enum op_next system_metrics(struct op *op)
{
    const struct process *process = call_of(op)->service->process;
    struct buf out = {0};

    print_requests(&out, process);
    buf_append_text(&out,
                    "# HELP orrery_request_seconds Time from the request line to the answer.\n"
                    "# TYPE orrery_request_seconds histogram\n");
    for (unsigned route = 0; route < route_count(); route++) {
        if (was_used(process, route))
            print_latency(&out, process, route);
    }
    print_counter(&out, "requests_unrouted_total", "counter", "Requests that no route took.",
                  TOTAL(process, unrouted));
    print_counter(&out, "connections_total", "counter", "Client connections accepted.",
                  TOTAL(process, connections_total));
    print_counter(&out, "connections", "gauge", "Client connections open.",
                  TOTAL(process, connections));
    print_counter(&out, "requests_running", "gauge", "Requests in memory.",
                  TOTAL(process, requests_running));
    print_counter(&out, "request_body_bytes", "gauge",
                  "Bytes of the bodies of requests and answers in memory.",
                  TOTAL(process, body_bytes));
    print_counter(&out, "read_batches_total", "counter", "Statements that read items.",
                  TOTAL(process, read_batches));
    print_counter(&out, "read_keys_total", "counter", "Items asked for by them.",
                  TOTAL(process, read_keys));
    print_counter(&out, "write_batches_total", "counter", "Batches of writes sent.",
                  TOTAL(process, write_batches));
    print_counter(&out, "write_operations_total", "counter", "Operations in them.",
                  TOTAL(process, write_operations));
    print_counter(&out, "queries_total", "counter", "Other statements sent.",
                  TOTAL(process, queries));
    print_counter(&out, "cancels_total", "counter",
                  "Statements cancelled because nobody waited for them any more.",
                  TOTAL(process, cancels));
    print_depths(&out);
    if (regions_current()->is_replicating)
        replication_print_metrics(&out);
    arbiter_print_metrics(&out);
    return reply_text(op, 200, "text/plain; version=0.0.4", &out);
}
