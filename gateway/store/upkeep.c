#include "store/upkeep.h"

#include "base/clock.h"
#include "base/log.h"
#include "store/progress.h"

#include "base/banned.h"

#define PAUSE_MS 5000     /* after a round that found little; less where little is kept */
#define PAUSE_BUSY_MS 100 /* after one that could not finish */
#define ROUND_TIME_MAX_MS 60000
#define ARENA_MAX_BYTES (1u << 20)
#define JOBS_MAX 256
#define ROWS_MAX 1000   /* that one job changes */
#define CLASHES_MAX 100 /* values of unique keys that one job decides */
#define REAP_MAX 4      /* containers whose tables one job removes */
/* Tombstones are looked for when they are so old, or as old as what the log keeps, if that is less;
 * whether they may go depends on the other regions, too. */
#define TOMBSTONES_KEEP_S 86400
/* Looking for tombstones reads the whole range. */
#define PURGE_EVERY_S 21600
#define TRIM_EVERY_S 60
/* Nobody sends a batch again after this long: requests have ended long before. */
#define BATCHES_KEEP_S 86400

enum job_kind {
    JOB_REAP = 1,
    JOB_EXPIRE,
    JOB_EXTEND,
    JOB_PURGE,
    JOB_BATCHES,
    JOB_STABLE,
    JOB_TRIM,
    JOB_DROP,
    JOB_CLASHES,
    JOB_COMMITTED
};

struct job {
    enum job_kind kind;
    int64_t id; /* of the range or the container */
};

struct round {
    struct upkeep *upkeep;
    unsigned count, next;
    struct job jobs[JOBS_MAX];
};

static const char plan_sql[] =
    "select * from ("
    /* first, since clients wait for it; where the hub is another region these are few and quick */
    "(select 9, c.range_id from orrery.unique_clashes c group by c.range_id order by 2 limit 64) "
    "union all select 1, 0::bigint where exists (select from orrery.ranges where state = "
    "'dropped') "
    /* where several regions write, the hub alone turns what expired into tombstones */
    "union all select 2, r.range_id from orrery.ranges r where r.default_ttl is not null and "
    "r.state = 'online' and exists (select from orrery.range_epochs e where e.range_id = "
    "r.range_id "
    "and e.epoch = r.epoch and e.hub = r.origin) "
    "union all select 3, container from orrery.ranges group by container having max(seq) % 2097152 "
    "> 1048576 "
    /* definitions are few, and stay whole: a region that joins takes them from the beginning */
    "union all select 4, r.range_id from orrery.ranges r where r.range_id <> 0 and r.purged_ts < "
    "$1 and r.state in ('online', 'read-only') "
    "union all select 5, 0 where exists (select from orrery.batches where at < $2) "
    "union all select 6, 0 where exists (select from orrery.peers) "
    "union all select 10, 0 where exists (select from orrery.peers) "
    "union all (select 7, r.range_id from orrery.ranges r left join orrery.horizons h on "
    "h.range_id = r.range_id where r.range_id <> 0 and r.state in ('online', 'read-only') and "
    "r.seq > coalesce(h.seq, 0) and coalesce(h.looked_at, 0) <= $4 order by h.looked_at nulls "
    "first) "
    "union all (select 8, r.container from orrery.ranges r left join orrery.horizons h on "
    "h.range_id = r.range_id where r.state <> 'dropped' group by r.container having "
    "min(coalesce(h.seq, 0)) >= 2097151)) jobs limit $3";

/* $1 range or container, $2 now, $3 how long it is kept. Each answers how much it did. */
static const char *const job_sql[] = {
    [JOB_REAP] = "select orrery.container_reap(4)::bigint where $1 = 0 and $2 > 0 and $3 > 0",
    [JOB_EXPIRE] =
        "select orrery.range_expire(r.range_id, r.epoch, $2, 1000)::bigint from orrery.ranges r "
        "where r.range_id = $1 and $3 > 0",
    [JOB_EXTEND] = "select orrery.log_extend($1)::int::bigint where $2 > 0 and $3 > 0",
    [JOB_PURGE] = "select orrery.range_purge($1, $2 - least($3, 86400), 1000, least(60, 10 * "
                  "$3)::int)::bigint",
    [JOB_BATCHES] = "select orrery.batches_purge($2 - 86400) where $1 = 0 and $3 > 0",
    [JOB_STABLE] =
        "select 0::bigint from orrery.stability_look() where $1 = 0 and $2 > 0 and $3 > 0",
    [JOB_TRIM] = "select orrery.range_trim($1, $2 - $3, $2, 1000, least(60, 10 * $3)::int)::bigint",
    [JOB_DROP] = "select orrery.log_drop($1)::bigint where $2 > 0 and $3 > 0",
    [JOB_CLASHES] =
        "select orrery.clashes_resolve(r.range_id, r.epoch, $2, 100)::bigint from orrery.ranges r "
        "where r.range_id = $1 and $3 > 0",
    /* at the hub; for the levels where nobody waits for it and requests do not move it */
    [JOB_COMMITTED] = "select 0::bigint from orrery.committed_advance(null) where $1 = 0 and $2 > "
                      "0 and $3 > 0"};

static op_step round_begin;   /* ask what there is to do */
static op_step round_planned; /* note it */
static op_step job_begin;
static op_step job_done;

static void pause_for(struct upkeep *upkeep, int64_t pause_ms)
{
    if (!upkeep->is_stopping)
        loop_timer_arm(upkeep->store->loop, &upkeep->timer, pause_ms);
}

static void round_answered(struct op *op)
{
    if (op->fault.status != 0)
        log_debug(&op->log, "upkeep interrupted", "reason=\"%s\"", op->fault.message);
}

static void round_released(struct op *op)
{
    struct upkeep *upkeep = container_of(op, struct upkeep, op);

    arena_finish(&op->arena);
    upkeep->is_running = false;
    int64_t kept_ms = (int64_t) upkeep->store->config->log_retention_s * 1000;
    int64_t pause_ms = kept_ms / 4 < PAUSE_MS ? kept_ms / 4 : PAUSE_MS;
    pause_for(upkeep, upkeep->has_more ? PAUSE_BUSY_MS : pause_ms);
}

static void start_round(struct loop_timer *timer)
{
    struct upkeep *upkeep = container_of(timer, struct upkeep, timer);

    upkeep->is_running = true;
    upkeep->has_more = false;
    upkeep->op = (struct op){0};
    op_init(&upkeep->op, upkeep->store->loop, ARENA_MAX_BYTES, round_answered, round_released);
    upkeep->op.log.route = "upkeep";
    op_start(&upkeep->op, round_begin, ROUND_TIME_MAX_MS);
}

static enum op_next round_begin(struct op *op)
{
    struct upkeep *upkeep = container_of(op, struct upkeep, op);
    struct pgio_statement statement = {.key = store_statement_key(STATEMENT_UPKEEP, 0),
                                       .sql = plan_sql};
    struct pgparams params = {0};
    int64_t now_s = clock_items_s(), kept_s = upkeep->store->config->log_retention_s;
    int64_t tombstones_s = kept_s < TOMBSTONES_KEEP_S ? kept_s : TOMBSTONES_KEEP_S;
    int64_t every_s = kept_s / 4 < PURGE_EVERY_S ? kept_s / 4 : PURGE_EVERY_S;

    if (!op_alloc_self(op, sizeof(struct round)))
        return OP_FAILED;
    op_self(op, struct round)->upkeep = upkeep;
    pgparams_int8(&params, now_s - tombstones_s - every_s);
    pgparams_int8(&params, now_s - BATCHES_KEEP_S);
    pgparams_int8(&params, JOBS_MAX);
    pgparams_int8(&params, now_s - (kept_s / 4 < TRIM_EVERY_S ? kept_s / 4 : TRIM_EVERY_S));
    return store_query(upkeep->store, op, STORE_READS, &statement, &params, round_planned);
}

static enum op_next round_planned(struct op *op)
{
    struct round *self = op_self(op, struct round);

    if (!store_check(op, STORE_READS))
        return OP_FAILED;
    self->count = (unsigned) pgio_row_count(op->result);
    for (unsigned i = 0; i < self->count; i++)
        self->jobs[i] = (struct job){.kind = (enum job_kind) pgio_int4(op->result, (int) i, 0),
                                     .id = pgio_int8(op->result, (int) i, 1)};
    return op_again(op, job_begin);
}

static enum op_next job_begin(struct op *op)
{
    struct round *self = op_self(op, struct round);
    struct pgparams params = {0};

    if (self->next == self->count || self->upkeep->is_stopping)
        return OP_DONE;
    const struct job *job = &self->jobs[self->next];
    struct pgio_statement statement = {
        .key = store_statement_key(STATEMENT_UPKEEP, (uint32_t) job->kind),
        .sql = job_sql[job->kind]};
    pgparams_int8(&params, job->id);
    pgparams_int8(&params, clock_items_s());
    pgparams_int8(&params, self->upkeep->store->config->log_retention_s);
    return store_query(self->upkeep->store, op, STORE_READS, &statement, &params, job_done);
}

static enum op_next job_done(struct op *op)
{
    struct round *self = op_self(op, struct round);

    /* A container may go while its job waits: its statement then fails, and the next round knows
     * better. */
    if (!store_check(op, STORE_READS))
        return OP_FAILED;
    const struct job *job = &self->jobs[self->next];
    int64_t most = job->kind == JOB_REAP      ? REAP_MAX
                   : job->kind == JOB_CLASHES ? CLASHES_MAX
                                              : ROWS_MAX;
    int64_t count = pgio_row_count(op->result) > 0 ? pgio_int8(op->result, 0, 0) : 0;
    if (count >= most)
        self->upkeep->has_more = true;
    if (count > 0 && job->kind == JOB_CLASHES)
        progress_written(job->id);
    self->next++;
    return op_again(op, job_begin);
}

void upkeep_start(struct upkeep *upkeep, struct store *store)
{
    *upkeep = (struct upkeep){.store = store};
    loop_timer_init(&upkeep->timer, start_round);
    pause_for(upkeep, PAUSE_BUSY_MS);
}

void upkeep_stop(struct upkeep *upkeep)
{
    if (upkeep->store == NULL)
        return;
    upkeep->is_stopping = true;
    loop_timer_disarm(upkeep->store->loop, &upkeep->timer);
}
