/*
 * One PostgreSQL connection in pipeline mode, inside a loop.
 *
 * Calls are sent in order, each with a sync of its own, so a call that fails aborts no neighbour;
 * or several as one group, where the calls after one that fails are not run and say so.
 * Statements are prepared when first used on a connection and again after a reconnect. Of those
 * that were made of a client's query a connection keeps the ones used last, so that a backend does
 * not collect them; and PostgreSQL plans them for the values of each call (measured: the first of
 * five values may be served best by reading everything, and then all later ones are). A connection
 * that breaks tells every call in flight that its end is unknown, and connects again, at first at
 * once, then with growing pauses. This file is the only door to libpq in a loop.
 */
#ifndef ORRERY_LOOP_PGIO_H
#define ORRERY_LOOP_PGIO_H

#include "base/crypto.h"
#include "base/list.h"
#include "loop/loop.h"
#include "loop/pgvalue.h"

#include <stdint.h>

/* "23505" and its NUL. */
#define SQLSTATE_BYTES 6

enum pgio_outcome {
    PGIO_ROWS,    /* rows are there, maybe none */
    PGIO_ERROR,   /* PostgreSQL refused: sqlstate and message say why; nothing was changed */
    PGIO_ABORTED, /* not run, because a call before it in its group failed */
    PGIO_LOST     /* the connection broke: a write may or may not have happened */
};

struct pgio_result {
    enum pgio_outcome outcome;
    char sqlstate[SQLSTATE_BYTES];
    char message[256];
    struct pg_result *rows;
};

/* Keep the rows beyond the step that got them: *kept is the result then, and the other is empty. */
void pgio_take(struct pgio_result *result, struct pgio_result *kept);

/* Frees rows that were kept. Zeroed memory is accepted. */
void pgio_result_finish(struct pgio_result *result);

int pgio_row_count(const struct pgio_result *result);
bool pgio_is_null(const struct pgio_result *result, int row, int column);
/* Binary value; absent when NULL. Valid as long as the result. */
struct slice pgio_value(const struct pgio_result *result, int row, int column);
int64_t pgio_int8(const struct pgio_result *result, int row, int column);
int32_t pgio_int4(const struct pgio_result *result, int row, int column);
int16_t pgio_int2(const struct pgio_result *result, int row, int column);
bool pgio_bool(const struct pgio_result *result, int row, int column);

/* How statements are planned. A connection goes over from one way to another when it must. */
enum pgio_planning {
    PGIO_PLANS_AS_SET_UP,
    PGIO_PLANS_ANEW,  /* for the values of each call; of statements that were made of a query */
    PGIO_PLANS_POINT, /* once for all values, by indexes: of a fixed statement about few rows */
    PGIO_PLANS_UNKNOWN
};

/*
 * A statement. key is unique per text in the process; the same key always has the same text.
 * Statements of one container share a text but for its number, so their key holds the number.
 */
struct pgio_statement {
    uint64_t key;    /* 0: made of a query, known by its text; the highest bit is not set */
    const char *sql; /* borrowed until the send returns; may be NULL where a key is prepared */
    /*
     * More than 0: the statement has this many milliseconds instead of the connection's
     * statement_timeout. The connection's setup_sql must hold PGIO_PREPARE_LIMIT.
     */
    int limit_ms;
    /* POINT or AS_SET_UP, where it has a key. POINT is for connections whose setup_sql leaves
     * plans to PostgreSQL's defaults. */
    enum pgio_planning planning;
};

#define PGIO_LIMIT_NAME "orrery_limit"
#define PGIO_PREPARE_LIMIT \
    "prepare " PGIO_LIMIT_NAME "(text) as select set_config('statement_timeout', $1, true)"

/* As the last of setup_sql: io->backend_start is known then. */
#define PGIO_BACKEND_START \
    "select extract(epoch from backend_start)::text from pg_stat_get_activity(pg_backend_pid())"

struct pgio_call;
typedef void pgio_done_fn(struct pgio_call *call, struct pgio_result *result);

/*
 * A call in flight; embedded by its owner and alive until done was called, once: by the loop, never
 * before the call that sends it returns, nor while another one is sent.
 */
struct pgio_call {
    struct list place;
    pgio_done_fn *done;
    uint64_t key;
    bool is_preparing;     /* a PREPARE precedes it, whose result comes first */
    bool is_switching;     /* how statements are planned changes with it, if it succeeds */
    bool has_sync;         /* the last of its group, or alone */
    unsigned results_left; /* of the statement, and of what precedes it */
};

enum pgio_state {
    PGIO_OFFLINE,
    PGIO_CONNECTING,
    PGIO_SETUP,
    PGIO_READY,
    PGIO_BROKEN /* given up; the loop's next turn ends its calls and connects again */
};

/* Statements made of queries that a connection keeps; longer ones it does not. */
#define PGIO_MADE_MAX 64
#define PGIO_MADE_BYTES_MAX 16384

struct pgio_made {
    uint8_t digest[SHA256_BYTES]; /* of the text */
    uint64_t key;                 /* that it is prepared with; 0: nothing is here */
    uint64_t used;                /* turn of the last use */
};

struct pgio {
    struct loop *loop;
    const char *url;
    const char *setup_sql; /* session settings, one statement list; NULL for none */
    const char *name;      /* for logs and pg_stat_activity: "read" */
    struct pg_conn *conn;
    enum pgio_state state;
    struct loop_watch watch;
    struct loop_timer timer; /* next attempt, the end of this one, or of the patience with a call */
    int64_t
        patience_ms;   /* a server that says nothing for longer while calls run is taken for lost */
    unsigned failures; /* attempts since the last success */
    char backend_start[32]; /* of the backend, in seconds; with its process it is a name */
    bool is_held;           /* by its owner, who does not want it used */
    struct list in_flight;
    unsigned in_flight_count;
    struct pgio_result partial; /* what has arrived of the first call in flight */
    uint64_t *prepared;         /* hash set of keys, open addressing, 0 is empty */
    size_t prepared_count, prepared_capacity;
    enum pgio_planning planning;
    struct pgio_made made[PGIO_MADE_MAX];
    uint64_t made_keys, made_turns; /* given so far */
};

/* Start connecting. url and the texts are borrowed. patience_ms: longer than the statement_timeout.
 */
void pgio_init(struct pgio *io, struct loop *loop, const char *name, const char *url,
               const char *setup_sql, int64_t patience_ms);

/* Tell calls in flight that they are lost, close. Zeroed memory is accepted. */
void pgio_finish(struct pgio *io);

static inline bool pgio_is_ready(const struct pgio *io)
{
    return io->state == PGIO_READY;
}

/* The backend's process. The connection is ready. */
int pgio_backend(const struct pgio *io);

/* Give the connection up: in the loop's next turn calls in flight are lost, and it connects again.
 */
void pgio_break(struct pgio *io);

/*
 * Send a call with a sync of its own. The parameters are copied by libpq.
 *
 * returns  false when the connection is not ready or there is no memory; done is then never called
 */
bool pgio_send(struct pgio *io, struct pgio_call *call, const struct pgio_statement *statement,
               const struct pgparams *params, pgio_done_fn *done) MUST_CHECK;

/*
 * The same without a sync: pgio_group_end must follow before the loop goes on, and nothing but
 * further calls of the group between. After a false, the earlier calls of the group have ended.
 */
bool pgio_group_add(struct pgio *io, struct pgio_call *call, const struct pgio_statement *statement,
                    const struct pgparams *params, pgio_done_fn *done) MUST_CHECK;
void pgio_group_end(struct pgio *io);

/* Is the statement prepared there already? Then its text is not looked at. */
bool pgio_is_prepared(const struct pgio *io, uint64_t key);

#endif
