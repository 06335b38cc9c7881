#include "store/index_builder.h"

#include "base/clock.h"
#include "base/log.h"
#include "model/container.h"
#include "query/index_set.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/banned.h"

#define PAUSE_S 3         /* between looks at what there is to do */
#define PAUSE_FAILED_S 10 /* after something failed */
#define CONNECT_TIMEOUT_S 5
#define ARENA_MAX_BYTES (8u << 20)
/* Indexes of a container that are made for queries. */
#define RANGES_MAX 16
/* One that nobody asked for in this time makes room for another, or goes by itself. */
#define IDLE_S 86400
#define UNUSED_S (14 * 86400)
/* Smaller tables are sorted in no time. */
#define TABLE_BYTES_MIN (256 * 1024)

enum task_kind { TASK_NONE, TASK_SETTLE, TASK_RECONCILE, TASK_BUILD, TASK_DROP };

/* What orrery.index_next answers. */
enum { AT_TASK, AT_CONTAINER, AT_NUMBER, AT_KIND, AT_RELATION, AT_SPEC, AT_VALID, AT_SEQ, AT_BODY };

struct work {
    struct index_builder *builder;
    struct pgsession *session;
    struct arena arena;
    struct fault fault;
    bool is_lost; /* the session */
};

/* ---- statements ---- */

static bool is_stopping(struct index_builder *builder)
{
    pthread_mutex_lock(&builder->lock);
    bool is = builder->is_stopping;
    pthread_mutex_unlock(&builder->lock);
    return is;
}

/* Parameters are texts; NULL and a warning when it fails. */
static struct pgrows *ask(struct work *work, const char *sql, int count, const char *const *values)
{
    struct fault fault = {0};
    struct pgrows *rows = pgsession_query(work->session, sql, values, count, &fault);

    if (rows == NULL && !is_stopping(work->builder))
        log_warn(NULL, "index upkeep failed", "reason=\"%s\"", fault.message);
    if (rows == NULL && fault.status == 503)
        work->is_lost = true;
    return rows;
}

static bool run(struct work *work, const char *sql, int count, const char *const *values)
{
    struct pgrows *rows = ask(work, sql, count, values);

    pgrows_free(rows);
    return rows != NULL;
}

static bool run_text(struct work *work, const char *sql)
{
    return sql != NULL && run(work, sql, 0, NULL);
}

/* ---- tasks ---- */

struct task {
    struct pgrows *row;
    enum task_kind kind;
};

static const char *text_at(const struct task *task, int column)
{
    return pgrows_text(task->row, 0, column);
}

static bool set_state(struct work *work, const struct task *task, const char *state)
{
    const char *values[] = {text_at(task, AT_CONTAINER), text_at(task, AT_NUMBER), state};

    return run(work, "select orrery.index_set_state($1::bigint, $2::integer, $3)", 3, values);
}

static bool drop(struct work *work, const struct task *task)
{
    return run_text(work, arena_printf(&work->arena, "drop index concurrently if exists orrery.%s",
                                       text_at(task, AT_RELATION)));
}

/* A build that was interrupted: PostgreSQL knows whether the index is whole. */
static bool settle(struct work *work, const struct task *task)
{
    if (strcmp(text_at(task, AT_VALID), "t") == 0)
        return set_state(work, task, "ready");
    return drop(work, task) && set_state(work, task, "wanted");
}

static bool build(struct work *work, const struct task *task)
{
    struct buf sql = {0};
    enum index_kind kind = (enum index_kind) atoi(text_at(task, AT_KIND));
    int64_t start_ms = clock_monotonic_ms();

    buf_printf(&sql, "create index concurrently %s on orrery.items_%s ", text_at(task, AT_RELATION),
               text_at(task, AT_CONTAINER));
    bool is_built = index_append_definition(&sql, kind, slice_from_text(text_at(task, AT_SPEC)),
                                            &work->arena, &work->fault) &&
                    buf_text(&sql) != NULL && set_state(work, task, "building") &&
                    run_text(work, buf_text(&sql)) && set_state(work, task, "ready");
    buf_finish(&sql);
    if (is_built)
        log_info(NULL, "index built", "index=%s ms=%" PRId64, text_at(task, AT_RELATION),
                 clock_monotonic_ms() - start_ms);
    return is_built;
}

static bool forget(struct work *work, const struct task *task)
{
    const char *values[] = {text_at(task, AT_CONTAINER), text_at(task, AT_NUMBER)};

    if (!drop(work, task))
        return false;
    log_info(NULL, "index dropped", "index=%s", text_at(task, AT_RELATION));
    return run(work, "select orrery.index_forget($1::bigint, $2::integer)", 2, values);
}

/* ---- a policy that changed ---- */

/* An array's text: elements in quotes. */
static void add_element(struct buf *array, struct slice text)
{
    buf_append_char(array, array->len > 0 ? ',' : '{');
    buf_append_char(array, '"');
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] == '"' || text.ptr[i] == '\\')
            buf_append_char(array, '\\');
        buf_append_char(array, text.ptr[i]);
    }
    buf_append_char(array, '"');
}

static const char *end_array(struct buf *array)
{
    buf_append_text(array, array->len > 0 ? "}" : "{}");
    return buf_text(array);
}

/* Of the indexes that were made for queries, those on paths that the policy leaves out now. */
static bool list_uncovered(struct work *work, const struct task *task,
                           const struct index_policy *policy, struct buf *numbers)
{
    const char *values[] = {text_at(task, AT_CONTAINER)};
    struct pgrows *rows = ask(work,
                              "select number, spec from orrery.query_indexes "
                              "where container = $1::bigint and kind = 2",
                              1, values);

    for (int row = 0; rows != NULL && row < pgrows_count(rows); row++) {
        struct index_path path;
        struct fault ignored = {0};
        if (!index_path_parse(&path, slice_from_text(pgrows_text(rows, row, 1)), &work->arena,
                              &ignored) ||
            !index_policy_covers(policy, &path, INDEX_VALUE))
            add_element(numbers, slice_from_text(pgrows_text(rows, row, 0)));
    }
    pgrows_free(rows);
    return rows != NULL;
}

static bool reconcile(struct work *work, const struct task *task)
{
    struct buf kinds = {0}, specs = {0}, uncovered = {0};
    struct container_settings settings;
    struct index_wanted *declared;
    size_t count;

    bool is_done =
        container_load(&settings, slice_from_text(text_at(task, AT_BODY)), &work->arena,
                       &work->fault) &&
        index_set_declared(&settings.indexing, &declared, &count, &work->arena, &work->fault) &&
        list_uncovered(work, task, &settings.indexing, &uncovered);
    for (size_t i = 0; is_done && i < count; i++) {
        char kind[12];
        snprintf(kind, sizeof(kind), "%d", (int) declared[i].kind);
        add_element(&kinds, slice_from_text(kind));
        add_element(&specs, declared[i].spec);
    }
    if (is_done) {
        const char *values[] = {text_at(task, AT_CONTAINER), text_at(task, AT_SEQ),
                                end_array(&kinds), end_array(&specs), end_array(&uncovered)};
        is_done = values[2] != NULL && values[3] != NULL && values[4] != NULL &&
                  run(work,
                      "select orrery.index_reconcile($1::bigint, $2::bigint, $3::smallint[], "
                      "$4::text[], $5::integer[])",
                      5, values);
    }
    buf_finish(&kinds);
    buf_finish(&specs);
    buf_finish(&uncovered);
    return is_done;
}

static bool work_on(struct work *work, const struct task *task)
{
    switch (task->kind) {
    case TASK_SETTLE:
        return settle(work, task);
    case TASK_RECONCILE:
        return reconcile(work, task);
    case TASK_BUILD:
        return build(work, task);
    case TASK_DROP:
        return forget(work, task);
    case TASK_NONE:
        break;
    }
    return false;
}

/* ---- rounds ---- */

/* The next task; a row of NULLs when there is none. */
static bool next_task(struct work *work, struct task *task)
{
    int64_t now_s = clock_unix_s();
    const char *sql = arena_printf(
        &work->arena,
        "select task, container, number, kind, relation, spec, is_valid, seq, definition "
        "from orrery.index_next(%d, %" PRId64 ", %" PRId64 ", %d)",
        RANGES_MAX, now_s - IDLE_S, now_s - UNUSED_S, TABLE_BYTES_MIN);

    task->row = sql != NULL ? ask(work, sql, 0, NULL) : NULL;
    if (task->row == NULL)
        return false;
    const char *kind = text_at(task, AT_TASK);
    task->kind = kind != NULL ? (enum task_kind) atoi(kind) : TASK_NONE;
    return true;
}

static bool is_needed(struct work *work, bool *is)
{
    const char *sql = arena_printf(&work->arena,
                                   "select orrery.index_is_needed(%d, %d, %" PRId64 ") and "
                                   "pg_try_advisory_lock(hashtext('orrery.indexes'))",
                                   TABLE_BYTES_MIN, RANGES_MAX, clock_unix_s() - UNUSED_S);
    struct pgrows *rows = sql != NULL ? ask(work, sql, 0, NULL) : NULL;

    *is = rows != NULL && strcmp(pgrows_text(rows, 0, 0), "t") == 0;
    pgrows_free(rows);
    return rows != NULL;
}

/* Do what there is to do. False when something failed. */
static bool round_run(struct work *work)
{
    bool is_fine = true, is_working;

    if (!is_needed(work, &is_working))
        return false;
    if (!is_working)
        return true;
    while (is_fine && is_working && !is_stopping(work->builder)) {
        struct task task;
        arena_reset(&work->arena);
        work->fault = (struct fault){0};
        if (!next_task(work, &task)) {
            is_fine = false;
            break;
        }
        is_working = task.kind != TASK_NONE;
        is_fine = !is_working || work_on(work, &task);
        if (work->fault.status != 0)
            log_warn(NULL, "index upkeep failed", "container=%s reason=\"%s\"",
                     text_at(&task, AT_CONTAINER), work->fault.message);
        pgrows_free(task.row);
    }
    (void) run_text(work, "select pg_advisory_unlock(hashtext('orrery.indexes'))");
    return is_fine;
}

static void set_cancel(struct index_builder *builder, struct pgcancel *cancel)
{
    pthread_mutex_lock(&builder->lock);
    struct pgcancel *old = builder->cancel;
    builder->cancel = cancel;
    pthread_mutex_unlock(&builder->lock);
    pgcancel_free(old);
}

static void disconnect(struct work *work)
{
    set_cancel(work->builder, NULL);
    pgsession_close(work->session);
    work->session = NULL;
    work->is_lost = false;
}

static bool connect_to(struct work *work)
{
    struct fault fault = {0};

    if (work->session != NULL && !work->is_lost)
        return true;
    disconnect(work);
    work->session = pgsession_open(work->builder->url, "orrery indexes", CONNECT_TIMEOUT_S, &fault);
    if (work->session == NULL)
        return false; /* everybody else says so, too */
    set_cancel(work->builder, pgsession_cancel_create(work->session));
    return pgsession_run(work->session,
                         "set statement_timeout = 0; set client_min_messages = warning", &fault);
}

/* False when it is to stop. */
static bool wait_for(struct index_builder *builder, int seconds)
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += seconds;
    pthread_mutex_lock(&builder->lock);
    while (!builder->is_stopping &&
           pthread_cond_timedwait(&builder->wake, &builder->lock, &until) == 0)
        ;
    bool goes_on = !builder->is_stopping;
    pthread_mutex_unlock(&builder->lock);
    return goes_on;
}

static void *builder_run(void *argument)
{
    struct work work = {.builder = argument};
    int pause_s = PAUSE_S;

    arena_init(&work.arena, ARENA_MAX_BYTES);
    while (wait_for(work.builder, pause_s)) {
        arena_reset(&work.arena);
        pause_s = connect_to(&work) && round_run(&work) ? PAUSE_S : PAUSE_FAILED_S;
    }
    disconnect(&work);
    arena_finish(&work.arena);
    return NULL;
}

bool index_builder_start(struct index_builder *builder, const char *url)
{
    pthread_condattr_t monotonic;

    *builder = (struct index_builder){.url = url};
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&builder->lock, NULL);
    pthread_cond_init(&builder->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    builder->is_started = pthread_create(&builder->thread, NULL, builder_run, builder) == 0;
    return builder->is_started;
}

void index_builder_stop(struct index_builder *builder)
{
    if (!builder->is_started)
        return;
    pthread_mutex_lock(&builder->lock);
    builder->is_stopping = true;
    if (builder->cancel != NULL)
        pgcancel_send(builder->cancel);
    pthread_cond_signal(&builder->wake);
    pthread_mutex_unlock(&builder->lock);
    pthread_join(builder->thread, NULL);
    pthread_cond_destroy(&builder->wake);
    pthread_mutex_destroy(&builder->lock);
    builder->is_started = false;
}
