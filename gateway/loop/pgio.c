#include "loop/pgio.h"

#include "base/log.h"

#include <assert.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/banned.h"

#define CONNECT_TIMEOUT_MS 10000
#define RETRY_FIRST_MS 20
#define RETRY_MAX_MS 1000
/* More statements than this on one connection: start afresh, so that a backend's memory is bounded.
 */
#define PREPARED_MAX 4096

static void start_connecting(struct pgio *io);
static void on_socket(struct loop_watch *watch, uint32_t events);

/* ---- results ---- */

void pgio_take(struct pgio_result *result, struct pgio_result *kept)
{
    *kept = *result;
    result->rows = NULL;
}

void pgio_result_finish(struct pgio_result *result)
{
    PQclear(result->rows);
    result->rows = NULL;
}

int pgio_row_count(const struct pgio_result *result)
{
    return result->rows != NULL ? PQntuples(result->rows) : 0;
}

bool pgio_is_null(const struct pgio_result *result, int row, int column)
{
    return PQgetisnull(result->rows, row, column) != 0;
}

struct slice pgio_value(const struct pgio_result *result, int row, int column)
{
    if (pgio_is_null(result, row, column))
        return slice_make(NULL, 0);
    return slice_make(PQgetvalue(result->rows, row, column),
                      (size_t) PQgetlength(result->rows, row, column));
}

int64_t pgio_int8(const struct pgio_result *result, int row, int column)
{
    return pgvalue_int8(pgio_value(result, row, column));
}

int32_t pgio_int4(const struct pgio_result *result, int row, int column)
{
    return pgvalue_int4(pgio_value(result, row, column));
}

int16_t pgio_int2(const struct pgio_result *result, int row, int column)
{
    return pgvalue_int2(pgio_value(result, row, column));
}

bool pgio_bool(const struct pgio_result *result, int row, int column)
{
    return pgvalue_bool(pgio_value(result, row, column));
}

/* ---- the set of prepared statements ---- */

static size_t prepared_slot(const struct pgio *io, uint64_t key)
{
    size_t slot = (size_t) (key * 0x9e3779b97f4a7c15ULL) & (io->prepared_capacity - 1);

    while (io->prepared[slot] != 0 && io->prepared[slot] != key)
        slot = (slot + 1) & (io->prepared_capacity - 1);
    return slot;
}

bool pgio_is_prepared(const struct pgio *io, uint64_t key)
{
    return io->prepared_capacity > 0 && io->prepared[prepared_slot(io, key)] == key;
}

static bool grow_prepared(struct pgio *io)
{
    size_t old_capacity = io->prepared_capacity;
    uint64_t *old = io->prepared;
    size_t capacity = old_capacity > 0 ? old_capacity * 2 : 64;
    uint64_t *fresh = calloc(capacity, sizeof(*fresh));

    if (fresh == NULL)
        return false;
    io->prepared = fresh;
    io->prepared_capacity = capacity;
    for (size_t i = 0; i < old_capacity; i++) {
        if (old[i] != 0)
            fresh[prepared_slot(io, old[i])] = old[i];
    }
    free(old);
    return true;
}

static bool note_prepared(struct pgio *io, uint64_t key)
{
    if (io->prepared_count * 2 >= io->prepared_capacity && !grow_prepared(io))
        return false;
    io->prepared[prepared_slot(io, key)] = key;
    io->prepared_count++;
    return true;
}

/* Rarely needed (a PREPARE failed), so the set is simply built again without it. */
static void forget_statement(struct pgio *io, uint64_t forgotten)
{
    uint64_t *old = io->prepared;
    size_t capacity = io->prepared_capacity;

    if (!pgio_is_prepared(io, forgotten))
        return;
    old[prepared_slot(io, forgotten)] = 0;
    for (size_t i = 0; i < capacity; i++) {
        uint64_t key = old[i];
        old[i] = 0;
        if (key != 0)
            old[prepared_slot(io, key)] = key;
    }
    io->prepared_count--;
}

static void forget_prepared(struct pgio *io)
{
    free(io->prepared);
    io->prepared = NULL;
    io->prepared_count = io->prepared_capacity = 0;
    memset(io->made, 0, sizeof(io->made));
    io->planning = PGIO_PLANS_AS_SET_UP;
}

/* ---- connecting ---- */

static void end_calls(struct pgio *io, struct pgio_result *result)
{
    struct list ended;

    list_init(&ended);
    list_splice(&ended, &io->in_flight);
    io->in_flight_count = 0;
    for (struct list *at = list_pop(&ended); at != NULL; at = list_pop(&ended)) {
        struct pgio_call *call = list_entry(at, struct pgio_call, place);
        call->done(call, result);
    }
}

static void drop_connection(struct pgio *io)
{
    loop_watch_set(io->loop, &io->watch, 0);
    loop_timer_disarm(io->loop, &io->timer);
    PQclear(io->partial.rows);
    io->partial = (struct pgio_result){0};
    PQfinish(io->conn);
    io->conn = NULL;
    io->state = PGIO_OFFLINE;
    forget_prepared(io);
}

static void connection_lost(struct pgio *io)
{
    struct pgio_result lost = {.outcome = PGIO_LOST};

    snprintf(lost.message, sizeof(lost.message), "%s",
             io->conn != NULL ? PQerrorMessage(io->conn) : "out of memory");
    bool was_ready = io->state == PGIO_READY || io->state == PGIO_BROKEN;
    if (was_ready || io->failures == 0)
        log_warn(NULL, "postgresql connection lost", "pool=%s reason=\"%s\"", io->name,
                 lost.message);
    drop_connection(io);
    int64_t pause_ms = was_ready ? 0 : RETRY_FIRST_MS;
    for (unsigned i = 0; i < io->failures && pause_ms < RETRY_MAX_MS; i++)
        pause_ms *= 2;
    io->failures++;
    loop_timer_arm(io->loop, &io->timer, pause_ms < RETRY_MAX_MS ? pause_ms : RETRY_MAX_MS);
    end_calls(io, &lost);
}

/* Whoever sends is in the middle of a step: it does not expect that calls, its own too, end. */
void pgio_break(struct pgio *io)
{
    if (io->state != PGIO_READY)
        return;
    io->state = PGIO_BROKEN;
    loop_timer_arm(io->loop, &io->timer, 0);
}

int pgio_backend(const struct pgio *io)
{
    return PQbackendPID(io->conn);
}

static void on_timer(struct loop_timer *timer)
{
    struct pgio *io = container_of(timer, struct pgio, timer);

    if (io->state != PGIO_OFFLINE) /* it did not connect, or a call did not end, in time */
        connection_lost(io);
    else
        start_connecting(io);
}

static void start_connecting(struct pgio *io)
{
    /* A connection string as dbname is expanded; a name that it gives wins. */
    const char *keys[] = {"fallback_application_name", "dbname", NULL};
    const char *values[] = {io->name, io->url, NULL};

    io->conn = PQconnectStartParams(keys, values, 1);
    if (io->conn == NULL || PQstatus(io->conn) == CONNECTION_BAD) {
        connection_lost(io);
        return;
    }
    io->state = PGIO_CONNECTING;
    io->watch = (struct loop_watch){.fd = PQsocket(io->conn), .ready = on_socket};
    loop_timer_arm(io->loop, &io->timer, CONNECT_TIMEOUT_MS);
    if (loop_watch_set(io->loop, &io->watch, EPOLLOUT) != 0)
        connection_lost(io);
}

static void become_ready(struct pgio *io)
{
    if (PQsetnonblocking(io->conn, 1) != 0 || PQenterPipelineMode(io->conn) != 1 ||
        loop_watch_set(io->loop, &io->watch, EPOLLIN) != 0) {
        connection_lost(io);
        return;
    }
    loop_timer_disarm(io->loop, &io->timer);
    if (io->failures > 0)
        log_info(NULL, "postgresql connected", "pool=%s attempts=%u", io->name, io->failures);
    io->failures = 0;
    io->state = PGIO_READY;
}

static void send_setup(struct pgio *io)
{
    if (io->setup_sql == NULL) {
        become_ready(io);
        return;
    }
    io->state = PGIO_SETUP;
    if (PQsendQuery(io->conn, io->setup_sql) != 1 ||
        loop_watch_set(io->loop, &io->watch, EPOLLIN) != 0)
        connection_lost(io);
}

static void go_on_connecting(struct pgio *io)
{
    PostgresPollingStatusType status = PQconnectPoll(io->conn);

    if (status == PGRES_POLLING_FAILED) {
        connection_lost(io);
        return;
    }
    /* The descriptor may have been replaced while addresses were tried. */
    if (PQsocket(io->conn) != io->watch.fd) {
        io->watch.events = 0;
        io->watch.fd = PQsocket(io->conn);
    }
    if (status == PGRES_POLLING_OK) {
        send_setup(io);
        return;
    }
    if (loop_watch_set(io->loop, &io->watch,
                       status == PGRES_POLLING_READING ? EPOLLIN : EPOLLOUT) != 0)
        connection_lost(io);
}

static void go_on_setup(struct pgio *io)
{
    if (PQconsumeInput(io->conn) != 1) {
        connection_lost(io);
        return;
    }
    while (PQisBusy(io->conn) == 0) {
        PGresult *rows = PQgetResult(io->conn);
        if (rows == NULL) {
            become_ready(io);
            return;
        }
        bool is_fine =
            PQresultStatus(rows) == PGRES_COMMAND_OK || PQresultStatus(rows) == PGRES_TUPLES_OK;
        if (is_fine && PQntuples(rows) == 1)
            snprintf(io->backend_start, sizeof(io->backend_start), "%s", PQgetvalue(rows, 0, 0));
        PQclear(rows);
        if (!is_fine) {
            connection_lost(io);
            return;
        }
    }
}

/* ---- calls ---- */

static void take_error(struct pgio_result *result, const PGresult *rows)
{
    const char *sqlstate = PQresultErrorField(rows, PG_DIAG_SQLSTATE);
    const char *message = PQresultErrorField(rows, PG_DIAG_MESSAGE_PRIMARY);

    /* Without a code it is libpq's own complaint, such as no memory: what the server did is not
     * known. */
    result->outcome = sqlstate != NULL ? PGIO_ERROR : PGIO_LOST;
    snprintf(result->sqlstate, sizeof(result->sqlstate), "%s",
             sqlstate != NULL ? sqlstate : "XX000");
    snprintf(result->message, sizeof(result->message), "%s", message != NULL ? message : "");
}

/*
 * Collect what belongs to the first call in flight: up to its sync, or where it has none, to the
 * end of its last result.
 *
 * returns  false when more must arrive first
 */
static bool read_call(struct pgio *io, struct pgio_call *call, struct pgio_result *result)
{
    while (PQisBusy(io->conn) == 0) {
        PGresult *rows = PQgetResult(io->conn);
        if (rows == NULL) {
            if (--call->results_left == 0 && !call->has_sync)
                return true;
            continue;
        }
        switch (PQresultStatus(rows)) {
        case PGRES_PIPELINE_SYNC:
            PQclear(rows);
            return true;
        case PGRES_TUPLES_OK:
            PQclear(result->rows);
            result->rows = rows;
            continue;
        case PGRES_COMMAND_OK:
            if (call->results_left == 2)
                call->is_preparing = false; /* done, and it stays whatever follows */
            break;
        case PGRES_PIPELINE_ABORTED:
            if (result->outcome == PGIO_ROWS)
                result->outcome = PGIO_ABORTED;
            break;
        default:
            if (result->outcome == PGIO_ROWS)
                take_error(result, rows);
        }
        PQclear(rows);
    }
    return false;
}

/*
 * Do we and the server disagree on what is prepared, or did libpq fail by itself? Then only a new
 * connection is certain. (26000: no such statement, 42P05: it is there already.)
 */
static bool is_out_of_step(const struct pgio_result *result)
{
    return result->outcome == PGIO_LOST ||
           (result->outcome == PGIO_ERROR &&
            (strcmp(result->sqlstate, "26000") == 0 || strcmp(result->sqlstate, "42P05") == 0));
}

/*
 * A server may vanish without a word, and libpq may lose its place for want of memory: the calls in
 * flight must end all the same.
 */
static void watch_patience(struct pgio *io)
{
    if (io->in_flight_count > 0)
        loop_timer_arm(io->loop, &io->timer, io->patience_ms);
    else
        loop_timer_disarm(io->loop, &io->timer);
}

static void read_results(struct pgio *io)
{
    if (PQconsumeInput(io->conn) != 1) {
        connection_lost(io);
        return;
    }
    while (io->state == PGIO_READY && !list_is_empty(&io->in_flight)) {
        struct pgio_call *call = list_entry(io->in_flight.next, struct pgio_call, place);
        struct pgio_result result = io->partial;
        if (!read_call(io, call, &result)) {
            io->partial = result;
            break;
        }
        io->partial = (struct pgio_result){0};
        list_remove(&call->place);
        io->in_flight_count--;
        watch_patience(io);
        if (result.outcome != PGIO_ROWS && call->is_preparing)
            forget_statement(io, call->key);
        if (result.outcome != PGIO_ROWS && call->is_switching)
            io->planning = PGIO_PLANS_UNKNOWN;
        bool is_confused = is_out_of_step(&result);
        if (is_confused)
            result.outcome = PGIO_LOST;
        call->done(call, &result);
        if (is_confused && io->state == PGIO_READY)
            connection_lost(io);
        PQclear(result.rows);
    }
    if (io->state == PGIO_READY && PQstatus(io->conn) == CONNECTION_BAD)
        connection_lost(io);
}

/* Write what is buffered; ask to be told when the socket takes more. */
static void flush(struct pgio *io)
{
    int left = PQflush(io->conn);

    if (left < 0 ||
        loop_watch_set(io->loop, &io->watch, left > 0 ? EPOLLIN | EPOLLOUT : EPOLLIN) != 0)
        pgio_break(io);
}

static void on_socket(struct loop_watch *watch, uint32_t events)
{
    struct pgio *io = container_of(watch, struct pgio, watch);

    switch (io->state) {
    case PGIO_OFFLINE:
        break;
    case PGIO_CONNECTING:
        go_on_connecting(io);
        break;
    case PGIO_SETUP:
        go_on_setup(io);
        break;
    case PGIO_READY:
        /* Read first: a server that waits for us to read does not read from us. */
        if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0)
            read_results(io);
        if (io->state == PGIO_READY && (events & EPOLLOUT) != 0)
            flush(io);
        break;
    case PGIO_BROKEN:
        connection_lost(io);
        break;
    }
}

/* Parameters in libpq's form: four arrays. */
struct arguments {
    const char **values;
    int *lengths, *formats;
    Oid *types;
};

#define ARGUMENTS_FEW 32

static void fill_arguments(struct arguments *arguments, const struct pgparams *params)
{
    for (int i = 0; i < params->count; i++) {
        /* an empty value must still have an address: a null pointer would mean NULL */
        const char *bytes =
            params->bytes.ptr != NULL ? params->bytes.ptr + params->at[i].start : "";
        arguments->values[i] = params->at[i].is_null ? NULL : bytes;
        arguments->lengths[i] = (int) params->at[i].len;
        arguments->formats[i] = 1;
        arguments->types[i] = params->at[i].type;
    }
}

static bool queue_limit(struct pgio *io, int limit_ms)
{
    char text[16];
    const char *value = text;

    snprintf(text, sizeof(text), "%d", limit_ms);
    return PQsendQueryPrepared(io->conn, PGIO_LIMIT_NAME, 1, &value, NULL, NULL, 1) == 1;
}

/* A statement without parameters in front of the call. */
static bool queue_before(struct pgio *io, struct pgio_call *call, const char *sql)
{
    call->results_left++;
    return PQsendQueryParams(io->conn, sql, 0, NULL, NULL, NULL, NULL, 1) == 1;
}

#define PLANNING(mode, others)                                  \
    "select set_config('plan_cache_mode', '" mode "', false), " \
    "set_config('enable_seqscan', '" others "', false), "       \
    "set_config('enable_hashjoin', '" others "', false), "      \
    "set_config('enable_mergejoin', '" others "', false), "     \
    "set_config('enable_bitmapscan', '" others "', false)"

static bool queue_planning(struct pgio *io, struct pgio_call *call, enum pgio_planning wanted)
{
    static const char *const sql[] = {[PGIO_PLANS_AS_SET_UP] = PLANNING("auto", "on"),
                                      [PGIO_PLANS_ANEW] = PLANNING("force_custom_plan", "on"),
                                      [PGIO_PLANS_POINT] = PLANNING("force_generic_plan", "off")};

    if (io->planning == wanted)
        return true;
    io->planning = wanted;
    call->is_switching = true;
    return queue_before(io, call, sql[wanted]);
}

static void statement_name(char name[24], uint64_t key)
{
    snprintf(name, 24, "s%016llx", (unsigned long long) key);
}

/* A place for one more: an empty one, or that of the statement that was not used for longest. */
static struct pgio_made *made_place(struct pgio *io)
{
    struct pgio_made *place = &io->made[0];

    for (size_t i = 1; i < PGIO_MADE_MAX && place->key != 0; i++) {
        if (io->made[i].key == 0 || io->made[i].used < place->used)
            place = &io->made[i];
    }
    return place;
}

/* Find the key of a statement that was made of a query, or give it one. False when it failed. */
static bool queue_made(struct pgio *io, struct pgio_call *call, struct slice sql)
{
    uint8_t digest[SHA256_BYTES];
    char text[48], name[24];
    struct pgio_made *made = NULL;

    crypto_sha256(sql, digest);
    for (size_t i = 0; i < PGIO_MADE_MAX && made == NULL; i++) {
        if (io->made[i].key != 0 && memcmp(io->made[i].digest, digest, sizeof(digest)) == 0)
            made = &io->made[i];
    }
    if (made == NULL) {
        made = made_place(io);
        if (made->key != 0 && pgio_is_prepared(io, made->key)) {
            forget_statement(io, made->key);
            statement_name(name, made->key);
            snprintf(text, sizeof(text), "deallocate %s", name);
            if (!queue_before(io, call, text))
                return false;
        }
        memcpy(made->digest, digest, sizeof(digest));
        made->key = UINT64_C(1) << 63 | ++io->made_keys;
    }
    made->used = ++io->made_turns;
    call->key = made->key;
    return true;
}

static bool queue_statement(struct pgio *io, struct pgio_call *call,
                            const struct pgio_statement *statement,
                            const struct arguments *arguments, int count)
{
    size_t made_len = statement->key == 0 ? strlen(statement->sql) : 0;
    char name[24];

    call->key = statement->key;
    call->is_preparing = call->is_switching = false;
    call->results_left = 1;
    if (statement->limit_ms > 0) {
        call->results_left++;
        if (!queue_limit(io, statement->limit_ms))
            return false;
    }
    if (made_len > PGIO_MADE_BYTES_MAX)
        return PQsendQueryParams(io->conn, statement->sql, count, arguments->types,
                                 arguments->values, arguments->lengths, arguments->formats, 1) == 1;
    if (made_len > 0 && !queue_made(io, call, slice_make(statement->sql, made_len)))
        return false;
    if (!queue_planning(io, call, made_len > 0 ? PGIO_PLANS_ANEW : statement->planning))
        return false;
    statement_name(name, call->key);
    call->is_preparing = !pgio_is_prepared(io, call->key);
    if (call->is_preparing) {
        call->results_left++;
        if (!note_prepared(io, call->key) ||
            PQsendPrepare(io->conn, name, statement->sql, count, arguments->types) != 1)
            return false;
    }
    return PQsendQueryPrepared(io->conn, name, count, arguments->values, arguments->lengths,
                               arguments->formats, 1) == 1;
}

static bool queue_call(struct pgio *io, struct pgio_call *call,
                       const struct pgio_statement *statement, const struct pgparams *params)
{
    const char *values[ARGUMENTS_FEW];
    int lengths[ARGUMENTS_FEW], formats[ARGUMENTS_FEW];
    Oid types[ARGUMENTS_FEW];
    struct arguments arguments = {values, lengths, formats, types};
    size_t count = (size_t) params->count;
    void *block = NULL;

    if (count > ARGUMENTS_FEW) {
        block = malloc(count * (sizeof(values[0]) + 2 * sizeof(lengths[0]) + sizeof(types[0])));
        if (block == NULL)
            return false;
        arguments.values = block;
        arguments.lengths = (int *) (arguments.values + count);
        arguments.formats = arguments.lengths + count;
        arguments.types = (Oid *) (arguments.formats + count);
    }
    fill_arguments(&arguments, params);
    bool is_queued = queue_statement(io, call, statement, &arguments, params->count);
    free(block);
    return is_queued;
}

bool pgio_group_add(struct pgio *io, struct pgio_call *call, const struct pgio_statement *statement,
                    const struct pgparams *params, pgio_done_fn *done)
{
    if (io->state != PGIO_READY || params->bytes.has_failed)
        return false;
    if (io->prepared_count >= PREPARED_MAX && list_is_empty(&io->in_flight)) {
        drop_connection(io);
        start_connecting(io);
        return false;
    }
    call->done = done;
    call->has_sync = false;
    if (!queue_call(io, call, statement, params)) {
        /* Half a call may be in the buffer: only a new connection is certain. */
        pgio_break(io);
        return false;
    }
    list_append(&io->in_flight, &call->place);
    if (++io->in_flight_count == 1)
        watch_patience(io);
    return true;
}

void pgio_group_end(struct pgio *io)
{
    if (io->state != PGIO_READY || list_is_empty(&io->in_flight)) /* it broke, or none was added */
        return;
    list_entry(io->in_flight.prev, struct pgio_call, place)->has_sync = true;
    if (PQpipelineSync(io->conn) != 1)
        pgio_break(io);
    else
        flush(io);
}

bool pgio_send(struct pgio *io, struct pgio_call *call, const struct pgio_statement *statement,
               const struct pgparams *params, pgio_done_fn *done)
{
    if (!pgio_group_add(io, call, statement, params, done))
        return false;
    pgio_group_end(io);
    return true;
}

void pgio_init(struct pgio *io, struct loop *loop, const char *name, const char *url,
               const char *setup_sql, int64_t patience_ms)
{
    *io = (struct pgio){
        .loop = loop, .name = name, .url = url, .setup_sql = setup_sql, .patience_ms = patience_ms};
    list_init(&io->in_flight);
    loop_timer_init(&io->timer, on_timer);
    start_connecting(io);
}

void pgio_finish(struct pgio *io)
{
    struct pgio_result lost = {.outcome = PGIO_LOST, .message = "the gateway is stopping"};

    if (io->loop == NULL)
        return;
    drop_connection(io);
    end_calls(io, &lost);
    io->loop = NULL;
}
