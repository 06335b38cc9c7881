/*
 * A loop's way to its region's PostgreSQL.
 *
 * Three pools of connections, because a statement that waits holds up all behind it on its
 * connection: point reads (reads.c), batches of writes (writes.c), and queries: feeds, definitions,
 * DDL. A call of the query pool has its connection for itself; the other pools pipeline.
 *
 * While PostgreSQL is away, work that was not sent waits in its queue for a moment (a restart of
 * the server takes a second or two) and is then refused with 503; work that was sent follows op.h.
 */
#ifndef ORRERY_STORE_STORE_H
#define ORRERY_STORE_STORE_H

#include "base/config.h"
#include "loop/op.h"
#include "loop/pgio.h"
#include "query/sql.h"
#include "store/cancel.h"

#define STORE_POOL_MAX 16

/* How long unsent work waits for a server that is away. */
#define STORE_OUTAGE_WAIT_MS 500

struct store_reads;
struct store_writes;

/* Of one pool. */
struct store_depth {
    int64_t waiting;   /* calls that have no connection yet */
    int64_t in_flight; /* statements that PostgreSQL works on; many calls may share one */
};

struct store_pool {
    struct pgio connections[STORE_POOL_MAX];
    unsigned count;
    int64_t down_since_ms; /* monotonic; 0 while one connection is ready */
    unsigned waiting;
    struct store_depth published;
};

struct store {
    struct loop *loop;
    const struct config *config;
    struct store_pool reads, writes, queries;
    struct list query_queue; /* ops whose query waits for a connection */
    struct store_reads *read_queues;
    struct store_writes *write_queues;
    struct loop_hook hook;
    struct list query_runs; /* statements under way on the query pool */
    struct loop_timer cancel_timer;
    struct store_cancel cancels[STORE_POOL_MAX];
    struct loop_timer recheck; /* wakes the loop to refuse what waited long enough */
    char read_setup[512], write_setup[384], query_setup[384];
    bool is_closing;
    /* counters, for /metrics */
    uint64_t read_batches, read_keys, write_batches, write_operations, queries_sent, cancels_sent;
};

/*
 * Connect. config is borrowed.
 *
 * returns  false when there is no memory
 */
bool store_init(struct store *store, struct loop *loop, const struct config *config) MUST_CHECK;

/* Every op must have been answered. Zeroed memory is accepted. */
void store_finish(struct store *store);

/* Is a connection of every pool ready? */
bool store_is_ready(const struct store *store);

/* Of all loops of the process, as each one told when it went to sleep. Any thread. */
enum store_pool_name { STORE_POOL_READ, STORE_POOL_WRITE, STORE_POOL_QUERY, STORE_POOLS };
const char *store_pool_name(enum store_pool_name pool);
struct store_depth store_depth(enum store_pool_name pool);

/* Anything queued or in flight? */
bool store_is_idle(const struct store *store);

enum store_effect { STORE_READS, STORE_CHANGES };

/* May a range in this state (column state) be read here? It may be that others write it. */
bool store_range_is_served(struct slice state);

/* Set 429: under Bounded staleness, a region is too far behind. False, for return. */
bool store_fault_behind(struct fault *fault);

/* Set 403 SUB_WRITE_FORBIDDEN: the range is written in another region. False, for return. */
bool store_fault_read_only(struct fault *fault);

/*
 * A statement on the query pool, from the moment it waits for a connection to its result. Part of
 * its op's state, for work that sends one statement after another; store_query makes one for a
 * single use.
 */
struct store_run {
    struct pgio_call call;
    struct list place; /* in query_runs, while it is under way */
    struct pgio *io;
    struct op *op;
    enum store_effect effect;
    struct pgio_statement statement; /* sql must live as long as the op */
    struct pgparams params;
};

/* Tie a zeroed run to its op. False and op->fault without memory. */
bool store_run_init(struct store_run *run, struct op *op, enum store_effect effect) MUST_CHECK;

/* Append the values of a compiled statement. Memory that ran out makes the send fail. */
void store_params_sql(struct pgparams *params, const struct sql *sql);

/* Send it, after statement and params were filled; the next step finds op->result, as below. */
enum op_next store_run_send(struct store *store, struct store_run *run, op_step *next);

/*
 * Run a statement on the query pool; the next step finds op->result.
 *
 * Whatever the outcome, the next step runs: it calls store_check first. The statement's text and
 * the parameters are moved into the op.
 */
enum op_next store_query(struct store *store, struct op *op, enum store_effect effect,
                         const struct pgio_statement *statement, struct pgparams *params,
                         op_step *next);

/*
 * Did the statement give rows?
 *
 * fault  500, 503, or for changes whose end is unknown 408
 */
bool store_check(struct op *op, enum store_effect effect) MUST_CHECK;

/* A ready connection of a pool with the fewest calls in flight; NULL when none is ready. */
struct pgio *store_pool_pick(struct store_pool *pool);

/* A ready connection with nothing in flight, not held; NULL when there is none. */
struct pgio *store_pool_idle(struct store_pool *pool);

/* No connection, and for long enough that work should be refused. */
bool store_pool_is_out(struct store *store, struct store_pool *pool);

/* Refuse an op that waits in a queue: PostgreSQL is away. */
void store_refuse(struct op *op);

/*
 * A statement key: what it does, and the container it is for (0 when its text names none).
 */
enum store_statement {
    STATEMENT_READ_ONE = 1,
    STATEMENT_READ_MANY,
    STATEMENT_GROUP_RANGES,
    STATEMENT_GROUP_ONE,
    STATEMENT_GROUP_MANY,
    STATEMENT_WRITE,
    STATEMENT_FIND_CONTAINER,
    STATEMENT_ITEM_BY_RID,
    STATEMENT_FEED,
    STATEMENT_FEED_KEY,
    STATEMENT_FEED_INTERVAL,
    STATEMENT_CHANGES, /* six: a mode and a kind of scope */
    STATEMENT_PARTITION_DELETE = STATEMENT_CHANGES + 6,
    STATEMENT_UPKEEP,
    STATEMENT_INDEX_ASK,
    STATEMENT_CANCEL,
    STATEMENT_CONFLICTS, /* three: a kind of scope */
    STATEMENT_CONFLICT = STATEMENT_CONFLICTS + 3,
    STATEMENT_CONFLICT_RESOLVE,
    STATEMENT_REGIONS,
    STATEMENT_RANGE_STATE,
    STATEMENT_LEVELS_LOOK,
    STATEMENT_STRONG_LOOK,
    STATEMENT_STRONG_STEP,
    STATEMENT_STRONG_GOAL,
    STATEMENT_BEAT, /* two */
    STATEMENT_BEAT_NEEDS = STATEMENT_BEAT + 2,
    STATEMENT_DEFINITIONS,
    STATEMENT_CENSUS,
    STATEMENT_EXCHANGE_NOTE,
    STATEMENT_EXCHANGE_FIND,
    STATEMENT_EXCHANGE_FETCH,
    STATEMENT_EXCHANGE_FETCH_COPY,
    STATEMENT_EXCHANGE_IS_THERE,
    STATEMENT_EXCHANGE_COPY,
    STATEMENT_EXCHANGE_APPLY,
    STATEMENT_EXCHANGE_APPLY_METADATA,
    STATEMENT_EXCHANGE_LEARN,
    STATEMENT_EXCHANGE_VECTORS,
    STATEMENT_EXCHANGE_DEFINITION,
    STATEMENT_CLAIM_TAKE,
    STATEMENT_CLAIM_DROP,
    STATEMENT_EPOCHS,
    STATEMENT_OTHER /* first of those in metadata.c and feeds.c */
};

static inline uint64_t store_statement_key(unsigned statement, uint32_t container)
{
    return (uint64_t) statement << 32 | container;
}

#endif
