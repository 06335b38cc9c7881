/*
 * Strong consistency on a virtual clock: regions with two gateways each, clocks that drift and are
 * set, links that delay, drop, duplicate and are cut, gateways and regions that crash, steps that
 * pause, regions that are slow to catch up, takeovers at any time. The decisions are those of
 * regions/ (lease, strong); what is written here is the world, the log of one range, and what the
 * database does in one transaction.
 *
 *     sim_levels [RUNS [SEED]]     that many runs from that seed on, then the rules that are broken
 *                                  on purpose
 *     sim_levels seed N [RULE]     one run, told step by step
 *
 * Checked of every run: acknowledged writes are never lost, those that are refused never take
 * place; reads and writes of one register are linearizable in the order of the log; a session is
 * answered from what has all that it knew, or is told what a cut took of it; the regions' logs are
 * equal at the end, and no token waits for ever. In some runs the account's level is Bounded
 * staleness: then no read is farther behind than the bounds, and no takeover loses as much. Rules
 * are then broken one by one, which must be caught.
 */
#include "model/session.h"
#include "regions/bounded.h"
#include "regions/strong.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REGIONS_MAX 5
#define GATEWAYS 2
#define LOG_MAX 400
#define OPS_MAX 400
#define SESSIONS 2
#define SESSION_READS_MAX 1000
#define EPOCHS_MAX SESSION_ORIGINS_MAX
#define D 1000
#define DRIFT 20 /* permille */
#define RUN_MS (20 * D)
#define HEAL_MS (25 * D)
#define END_MS (RUN_MS + HEAL_MS)
#define ENTRIES_MAX 1000

enum rule {
    RULE_NONE,
    RULE_LEASE,       /* a read needs no lease */
    RULE_LEASE_FIRST, /* the lease is looked at before the snapshot is taken */
    RULE_NEED,        /* a snapshot need not have what the lease was told */
    RULE_NEED_LATER,  /* that is compared with what there is after the snapshot */
    RULE_COMMITTED,   /* a read does not wait for what it shows to be committed */
    RULE_OLDER,       /* it shows the version before instead of waiting */
    RULE_DROP,        /* a silent region is out at once */
    RULE_JOIN,        /* a region is in before it has what there was */
    RULE_ACK,         /* a write is acknowledged when the hub has it */
    RULE_MAJORITY,    /* the set may fall below a majority */
    RULE_ACCEPT,      /* a region accepts an epoch without closing and waiting */
    RULE_STAMP,       /* promises count from the answer */
    RULE_OWN,         /* the hub counts on itself, whatever its own region promises */
    RULE_NEST,        /* leases go beyond the hub's horizon */
    RULE_ACCEPTANCES, /* a hub opens with its own acceptance alone */
    RULE_RANK,        /* the longest log is opened, of whatever epoch */
    RULE_CLOCK,       /* leases go by the clock that somebody sets */
    RULE_REFUSAL,     /* that a write was not done is said of one that may be */
    RULE_TOKEN,       /* tokens are ignored */
    RULE_TOKEN_LATER, /* they are compared with what there is after the snapshot */
    RULE_CUTS,        /* what was cut away counts in them for ever */
    RULE_VERSIONS,    /* bounded staleness: the hub goes on, however far others are behind */
    RULE_AGE,         /* a region answers, however long ago it was in step */
    RULE_AGE_STAMP,   /* it was in step when the answer came, not when it asked */
    RULE_AGE_LEASE,   /* it needs no lease */
    RULE_AGE_NEED,    /* a snapshot of before the lease will do */
    RULE_COUNT
};

static const char *const rule_names[] = {
    "none",      "lease",        "lease-first",  "need",        "need-later", "committed",
    "older",     "drop-at-once", "join-at-once", "acknowledge", "majority",   "close-and-wait",
    "stamp",     "own",          "nested",       "acceptances", "rank",       "clock",
    "refusal",   "token",        "token-later",  "cuts",        "versions",   "age",
    "age-stamp", "age-lease",    "age-need"};

/* What is kept though nothing fails without it; docs/replication.md says why. */
static const bool is_free[RULE_COUNT] = {[RULE_LEASE_FIRST] = true};

/* What a schedule tries above all; drawn from its seed, but where one broken rule is looked for. */
static enum { AIM_NOTHING, AIM_CLOCK, AIM_FLAP, AIM_HUB } aim;

static const struct lease_rules rules = {.lease_ms = D, .drift_permille = DRIFT};
static enum rule broken;
static bool tells;

/* The account's level is Bounded staleness, not Strong. */
static bool is_bounded;
static struct bounded_limits limits;

/* ---- chance ---- */

static uint64_t chance_state;

static uint32_t chance(uint32_t below)
{
    chance_state += 0x9e3779b97f4a7c15ULL;
    uint64_t x = chance_state;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ULL;
    x = (x ^ x >> 27) * 0x94d049bb133111ebULL;
    return (uint32_t) ((x ^ x >> 31) % below);
}

static bool happens(uint32_t permille)
{
    return chance(1000) < permille;
}

/* ---- the world ---- */

/*
 * Logs share what they have in common: an entry names the one before it, so that a log is told by
 * its last entry, and two logs are equal up to where they have the same one.
 */
struct entry {
    int before;
    int epoch, value; /* value 0: the marker of the epoch */
    int marker, hub;  /* of the last marker up to here */
    int lsn;          /* among those of its epoch's hub */
    int depth;        /* its place in every log that has it */
};

/*
 * A hub writes under an ordinal of its own in each epoch, and that of the one before is retired, as
 * after a forced failover: the number of the epoch. What a log had of earlier ones when an epoch
 * was opened is where they are cut.
 */
static int64_t opened[EPOCHS_MAX + 1][EPOCHS_MAX];

/* What its PostgreSQL keeps, and nothing else survives a crash. */
struct region {
    bool is_up;
    int life; /* grows with every crash */
    bool is_advancing;
    int64_t slow_from, slow_until; /* statements wait long for locks then */
    int64_t stalled_until;         /* it takes no entries before; its beats go on */
    int accepted, closed;          /* epochs; 0: not closed */
    int closing;                   /* number of the wait that is under way */
    double rate;                   /* of the machine's clock */
    int64_t offset;
    int len, marker, hub; /* of the last marker in its log */
    int log[LOG_MAX];     /* numbers of entries */
    int committed;
    /* while it is the hub of its marker */
    int acked[REGIONS_MAX];
    enum strong_state state[REGIONS_MAX];
    int version[REGIONS_MAX], set_epoch[REGIONS_MAX], goal[REGIONS_MAX], goal_version[REGIONS_MAX];
    int64_t heard[REGIONS_MAX];
    int set_version;
    /* while it wants to be */
    int proposed, acceptances;
    bool has_accepted[REGIONS_MAX];
    int best_marker, best_len, best;
};

/* What a process keeps in memory. */
struct client_op;

struct gateway {
    int region;
    bool is_up;
    int life; /* grows with every start: steps of an earlier one are nobody's */
    double rate;
    int64_t offset;
    int epoch, hub; /* as it knows the topology */
    struct promises promises;
    struct read_lease lease;
    int need, committed;
    struct bounded_looks looks; /* at the head of the hub's log */
    struct strong_set seen;
    struct client_op *waiting;
};

enum event_kind {
    BEAT, /* a gateway's timer */
    POLL, /* a region's timer */
    PROMISE_ASK,
    PROMISE_TOLD,
    LEASE_ASK,
    LEASE_TOLD,
    PULL_ASK,
    PULL_TOLD,
    COMMITTED,
    SET_STEP,
    SET_GOAL,
    ACCEPT_ASK,
    ACCEPT_WAITED,
    ACCEPT_TOLD,
    TAKE_OVER,
    WRITE,
    WRITE_WAITS,
    READ,
    READ_CHECK,
    READ_WAITS,
    SESSION,
    SESSION_READ,
    CRASH_GATEWAY,
    CRASH_REGION,
    START_GATEWAY,
    START_REGION,
    CUT,
    MEND,
    STALL,
    FLAP,
    OUTRUN,
    STEP_CLOCK
};

enum op_state { OP_RUNNING, OP_ANSWERED, OP_UNKNOWN, OP_REFUSED };

struct client_op {
    bool is_write;
    enum op_state state;
    int value; /* written or read; 0: nothing there */
    int64_t begun, ended, deadline;
    int gateway, life;
    int at;       /* of what was written in the log, or behind what was read */
    int epoch;    /* of the snapshot, or of the entry */
    int snapshot; /* its length */
    int last;     /* its last entry, or what was written */
    int session;  /* whose it is; 0: nobody's */
    bool was_leased, was_admitted;
    struct client_op *behind; /* of those that wait in the gateway */
    enum event_kind goes_on;  /* what it does when it is woken */
};

struct event {
    enum event_kind kind;
    int from, to;  /* gateways or regions, by kind */
    int life;      /* of the gateway that goes on */
    int64_t stamp; /* of a question */
    int epoch, number, version, len, marker;
    int64_t granted;
    bool yes;
    enum strong_state state, next;
    int last;   /* entry of the log that is told; 0: none */
    int behind; /* in the queue: the next of the same time; 0: none */
};

/* What a client knows: the last entry of what it was answered from, and the token that it got. */
struct session {
    struct client_op *op; /* the one that runs, or ran */
    int known;            /* 0: nothing */
    struct session_origin origin;
    struct session_part token;
};

static int regions, majority;
static struct region region[REGIONS_MAX];
static struct gateway gateway[REGIONS_MAX * GATEWAYS];
static bool cut[REGIONS_MAX][REGIONS_MAX];
static bool is_healed;
static bool writes_not[REGIONS_MAX];                      /* clients that write do not reach it */
static struct client_op ops[OPS_MAX + SESSION_READS_MAX]; /* reads of sessions are the last */
static struct session session[SESSIONS];
static int op_count, session_reads, last_value, last_epoch;
static int place[OPS_MAX + 1];          /* of values in the log of the end, from 1 on; 0: nowhere */
static int writer[OPS_MAX + 1];         /* by value: its operation */
static int ended[OPS_MAX], ended_count; /* operations that were answered, in that order */
static int64_t now;
static struct entry entries[ENTRIES_MAX]; /* from 1 on */
static int entry_count;
static struct topology known; /* what is common to all gateways' topologies */
static struct event *events;  /* from 1 on */
static int event_count, event_size, event_free;
static struct {
    int first, last;
} due[END_MS + 1]; /* by time: events in the order in which they were scheduled */
static char failure[256];
static struct {
    int acked, reads, takeovers, leaves;
    int session_reads, losses; /* sessions that were told of one */
    int bounded_reads, refused;
} did;

static void tell(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void tell(const char *format, ...)
{
    va_list list;

    if (!tells)
        return;
    printf("%6" PRId64 "  ", now);
    va_start(list, format);
    vprintf(format, list);
    va_end(list);
    putchar('\n');
}

static void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void fail(const char *format, ...)
{
    va_list list;

    if (failure[0] != '\0')
        return;
    va_start(list, format);
    vsnprintf(failure, sizeof(failure), format, list);
    va_end(list);
    tell("FAILED: %s", failure);
}

/* ---- events ---- */

static void schedule(struct event event, int64_t delay)
{
    int64_t at = now + (delay > 0 ? delay : 0);
    int slot = event_free;

    if (at > END_MS)
        return;
    if (slot != 0) {
        event_free = events[slot].behind;
    } else {
        if (event_count + 1 >= event_size) {
            event_size = event_size > 0 ? 2 * event_size : 1024;
            events = realloc(events, (size_t) event_size * sizeof(*events));
            if (events == NULL)
                abort();
        }
        slot = ++event_count;
    }
    event.behind = 0;
    events[slot] = event;
    if (due[at].first == 0)
        due[at].first = slot;
    else
        events[due[at].last].behind = slot;
    due[at].last = slot;
}

/* The next event that is due now. */
static bool take_event(struct event *event)
{
    int slot = due[now].first;

    if (slot == 0)
        return false;
    *event = events[slot];
    due[now].first = event->behind;
    events[slot].behind = event_free;
    event_free = slot;
    return true;
}

/* A step takes a moment, and now and then the machine stops in it. */
static int64_t moment(void)
{
    return !is_healed && happens(15) ? chance(3 * D) : 1 + chance(4);
}

/* From region to region, over the link. */
static void send(int from, int to, struct event event)
{
    int64_t delay = 1 + chance(15);

    if (cut[from][to] || (!is_healed && from != to && happens(20)))
        return;
    if (!is_healed && happens(40))
        delay += chance(2 * D);
    if (!is_healed && happens(20))
        schedule(event, delay + chance(2 * D));
    schedule(event, delay);
}

/* ---- clocks ---- */

/* The clock of its PostgreSQL, which somebody may set (STEP_CLOCK). */
static int64_t region_now(const struct region *one)
{
    return one->offset + (int64_t) ((double) now * one->rate);
}

static int64_t gateway_now(const struct gateway *one)
{
    if (broken == RULE_CLOCK)
        return region_now(&region[one->region]);
    return one->offset + (int64_t) ((double) now * one->rate);
}

/* How long the world waits for so much of a clock. */
static int64_t world_ms(double rate, int64_t ms)
{
    return (int64_t) ((double) ms / rate) + 1;
}

static double some_rate(void)
{
    /* Any two apart by at most ρ. */
    return 1 + ((double) chance(1001) / 1000 - 0.5) * DRIFT / 1000;
}

static int any_gateway(int of)
{
    int first = (int) chance(GATEWAYS);

    for (int i = 0; i < GATEWAYS; i++) {
        int at = of * GATEWAYS + (first + i) % GATEWAYS;
        if (gateway[at].is_up && region[of].is_up)
            return at;
    }
    return -1;
}

/* ---- waiting ---- */

/* Goes on when something has moved, and with every beat. */
static void wait_for_news(struct client_op *op, enum event_kind goes_on)
{
    struct gateway *one = &gateway[op->gateway];

    op->goes_on = goes_on;
    op->behind = one->waiting;
    one->waiting = op;
}

static void wake(struct gateway *one)
{
    struct client_op *op = one->waiting;

    one->waiting = NULL;
    for (; op != NULL; op = op->behind)
        schedule((struct event){.kind = op->goes_on, .number = (int) (op - ops), .len = -1},
                 1 + chance(10));
}

static void wake_region(int at)
{
    for (int i = 0; i < GATEWAYS; i++)
        wake(&gateway[at * GATEWAYS + i]);
}

/* ---- transactions ---- */

static bool is_hub(int at)
{
    const struct region *one = &region[at];

    return one->is_up && one->hub == at && one->accepted == one->marker && one->closed == 0;
}

static void look_at_set(struct strong_set *set, int at, const struct gateway *looks)
{
    const struct region *one = &region[at];

    set->epoch = one->marker;
    set->count = 0;

    for (int r = 0; r < regions; r++) {
        if (r == at)
            continue;
        bool is_there = one->set_epoch[r] == one->marker;
        struct strong_member member = {.ordinal = (unsigned) r + 1,
                                       .state = is_there ? one->state[r] : STRONG_OUT,
                                       .version = is_there ? one->version[r] : 0,
                                       .silent_ms =
                                           is_there ? region_now(one) - one->heard[r] : INT64_MAX};
        member.has_goal = is_there && one->goal_version[r] == one->version[r];
        member.has_what_was = member.has_goal && one->acked[r] >= one->goal[r];
        if (looks != NULL) {
            const struct strong_member *seen = strong_find(&looks->seen, member.ordinal);
            bool is_same = looks->seen.epoch == set->epoch && seen != NULL &&
                           seen->state == member.state && seen->version == member.version;
            member.seen_ms = is_same ? seen->seen_ms : gateway_now(looks);
        }
        set->at[set->count++] = member;
    }
}

/*
 * A statement looks at the set and at what was acked, waits for the lock of the range's row, and
 * has its effect then; others wait behind it.
 */
static void advance(int at)
{
    struct region *one = &region[at];
    struct strong_set set;
    int64_t acked[REGIONS_MAX];

    if (!is_hub(at))
        return;
    look_at_set(&set, at, NULL);
    for (unsigned i = 0; i < set.count; i++)
        acked[i] = one->acked[set.at[i].ordinal - 1];
    int64_t committed =
        strong_committed(&set, broken == RULE_MAJORITY ? 1 : (unsigned) majority, one->len, acked);
    if (committed <= one->committed || one->is_advancing)
        return;
    bool is_slow = happens(now >= one->slow_from && now < one->slow_until ? 500 : 60);
    one->is_advancing = true;
    schedule(
        (struct event){.kind = COMMITTED, .from = at, .life = one->life, .len = (int) committed},
        is_slow && !is_healed ? chance(D) : 1 + chance(4));
}

static void committed_moved(const struct event *event)
{
    struct region *one = &region[event->from];

    if (!one->is_up || one->life != event->life)
        return;
    one->is_advancing = false;
    if (event->len <= one->committed || event->len > one->len)
        return;
    one->committed = event->len;
    wake_region(event->from);
}

static void append(struct region *one, int epoch, int value, int hub)
{
    if (one->len == LOG_MAX || entry_count == ENTRIES_MAX - 1) {
        fail("the log of the simulation is full");
        return;
    }
    int before = one->len > 0 ? one->log[one->len - 1] : 0;
    const struct entry *last = &entries[before];
    if (value == 0) {
        one->marker = epoch;
        one->hub = hub;
        memcpy(opened[epoch], opened[last->epoch], sizeof(opened[epoch]));
        if (before != 0)
            opened[epoch][last->epoch - 1] = last->lsn;
    }
    entries[++entry_count] = (struct entry){.before = before,
                                            .epoch = epoch,
                                            .value = value,
                                            .marker = one->marker,
                                            .hub = one->hub,
                                            .lsn = value == 0 ? 1 : last->lsn + 1,
                                            .depth = one->len};
    one->log[one->len++] = entry_count;
}

static int last_entry(const struct region *one)
{
    return one->log[one->len - 1];
}

static int value_at(const struct region *one, int at)
{
    return entries[one->log[at]].value;
}

/* Entries of another log. What ours has beyond the place where a later epoch cut it is stranded. */
static void adopt(struct region *one, int last, int len)
{
    int same = len;

    for (int i = last; same > 0 && (same > one->len || one->log[same - 1] != i);
         i = entries[i].before)
        one->log[--same] = i;
    if (same == len)
        return;
    if (same < one->committed)
        fail("entries that are committed are cut");
    one->len = len;
    one->marker = entries[last].marker;
    one->hub = entries[last].hub;
}

/* ---- gateways ---- */

static const struct topology *topology_of(const struct gateway *one)
{
    known.epoch = one->epoch;
    known.hub = (unsigned) one->hub + 1;
    return &known;
}

/* It reads the topology of its database. */
static void look_at_topology(struct gateway *one)
{
    const struct region *own = &region[one->region];

    if (own->marker == one->epoch)
        return;
    one->epoch = own->marker;
    one->hub = own->hub;
    one->lease = (struct read_lease){0};
    one->need = 0;
    one->looks = (struct bounded_looks){0};
}

static void beat(int at)
{
    struct gateway *one = &gateway[at];
    int own = one->region;

    schedule((struct event){.kind = BEAT, .from = at, .life = one->life},
             world_ms(one->rate, D / 10));
    wake(one);
    if (!region[own].is_up)
        return;
    look_at_topology(one);
    struct event question = {
        .from = at, .life = one->life, .epoch = one->epoch, .stamp = gateway_now(one)};
    if (one->hub != own) {
        question.kind = LEASE_ASK;
        question.to = one->hub;
        send(own, one->hub, question);
        return;
    }
    question.kind = PROMISE_ASK;
    for (int r = 0; r < regions; r++) {
        question.to = r;
        if (r != own || broken != RULE_OWN)
            send(own, r, question);
    }
    if (broken == RULE_OWN)
        promises_take(&one->promises, &rules, (unsigned) own + 1, one->epoch, gateway_now(one));
    if (!is_hub(own))
        return;
    advance(own);
    if (region[own].committed > one->committed)
        one->committed = region[own].committed;
    bounded_look(&one->looks, region[own].len, gateway_now(one));
    struct strong_set set;
    look_at_set(&set, own, one);
    one->seen.epoch = set.epoch;
    one->seen.count = set.count;
    memcpy(one->seen.at, set.at, set.count * sizeof(*set.at));
    for (unsigned i = 0; i < set.count; i++) {
        const struct strong_member *member = &set.at[i];
        enum strong_step step =
            strong_next(&set, member, broken == RULE_MAJORITY ? 1 : (unsigned) majority, &rules,
                        gateway_now(one));
        static const enum strong_state next[] = {[STRONG_JOIN] = STRONG_JOINING,
                                                 [STRONG_ADMIT] = STRONG_IN,
                                                 [STRONG_LEAVE] = STRONG_LEAVING,
                                                 [STRONG_DROP] = STRONG_OUT};
        struct event change = {.kind = SET_STEP,
                               .from = at,
                               .life = one->life,
                               .to = (int) member->ordinal - 1,
                               .epoch = one->epoch,
                               .state = member->state,
                               .version = (int) member->version};
        if (broken == RULE_JOIN && member->state == STRONG_JOINING)
            step = STRONG_ADMIT;
        if (broken == RULE_DROP && step == STRONG_LEAVE && strong_size(&set) > (unsigned) majority)
            step = STRONG_DROP;
        if (step == STRONG_SET_GOAL) {
            change.kind = SET_GOAL;
            schedule(change, moment());
        } else if (step != STRONG_STAY) {
            change.next = next[step];
            schedule(change, moment());
        }
    }
}

static void change_set(const struct event *event)
{
    struct region *own = &region[gateway[event->from].region];
    int r = event->to;
    int at = gateway[event->from].region;

    if (!is_hub(at) || own->marker != event->epoch || own->set_epoch[r] != event->epoch ||
        own->version[r] != event->version || own->state[r] != event->state)
        return;
    struct strong_set set;
    look_at_set(&set, at, NULL);
    if (event->next == STRONG_OUT && strong_size(&set) <= (unsigned) majority &&
        broken != RULE_MAJORITY)
        return;
    own->state[r] = event->next;
    own->version[r] = ++own->set_version;
    did.leaves += event->next == STRONG_OUT;
    tell("hub %d: region %d is %s", at + 1, r + 1, strong_state_name(event->next));
}

static void set_goal(const struct event *event)
{
    struct region *own = &region[gateway[event->from].region];
    int r = event->to;

    if (own->version[r] != event->version || own->state[r] != STRONG_JOINING)
        return;
    own->goal[r] = own->len;
    own->goal_version[r] = event->version;
}

/* ---- beats, as they are received ---- */

static void promise_asked(const struct event *event)
{
    const struct region *own = &region[event->to];
    struct event answer = *event;

    if (any_gateway(event->to) < 0)
        return;
    answer.kind = PROMISE_TOLD;
    answer.yes = own->accepted == event->epoch && own->closed == 0;
    send(event->to, gateway[event->from].region, answer);
}

static void promise_told(const struct event *event)
{
    struct gateway *one = &gateway[event->from];
    int64_t asked = broken == RULE_STAMP ? gateway_now(one) : event->stamp;

    if (one->is_up && one->life == event->life && event->yes)
        promises_take(&one->promises, &rules, (unsigned) event->to + 1, event->epoch, asked);
}

static void lease_asked(const struct event *event)
{
    int asker = gateway[event->from].region, at = any_gateway(event->to);
    struct region *own = &region[event->to];
    struct event answer = *event;

    if (at < 0 || !is_hub(event->to) || own->marker != event->epoch)
        return;
    struct gateway *one = &gateway[at];
    look_at_topology(one);
    if (own->set_epoch[asker] != event->epoch) {
        own->set_epoch[asker] = event->epoch;
        own->state[asker] = STRONG_OUT;
        own->version[asker] = own->set_version;
    }
    own->heard[asker] = region_now(own);
    const struct topology *topology = topology_of(one);
    answer.kind = LEASE_TOLD;
    answer.len = own->committed;
    answer.number = own->len;
    answer.granted = 0;
    if (strong_may_read(own->state[asker]) && topology->epoch == event->epoch)
        answer.granted = lease_grant_ms(
            &rules, broken == RULE_NEST ? INT64_MAX : promises_horizon(&one->promises, topology),
            gateway_now(one));
    send(event->to, asker, answer);
}

static void lease_told(const struct event *event)
{
    struct gateway *one = &gateway[event->from];

    if (!one->is_up || one->life != event->life || one->epoch != event->epoch)
        return;
    if (event->len > one->need)
        one->need = event->len;
    if (event->len > one->committed)
        one->committed = event->len;
    bounded_look(&one->looks, event->number,
                 broken == RULE_AGE_STAMP ? gateway_now(one) : event->stamp);
    read_lease_take(&one->lease, event->epoch, event->stamp, event->granted, 0);
}

/* ---- exchange ---- */

static void poll(int at)
{
    const struct region *own = &region[at];

    schedule((struct event){.kind = POLL, .from = at}, 30 + chance(20));
    if (any_gateway(at) < 0 || now < own->stalled_until)
        return;
    for (int r = 0; r < regions; r++) {
        if (r != at)
            send(at, r,
                 (struct event){.kind = PULL_ASK,
                                .from = at,
                                .to = r,
                                .epoch = own->accepted,
                                .marker = own->marker,
                                .len = own->len});
    }
}

static void pulled(const struct event *event)
{
    struct region *own = &region[event->to];

    if (any_gateway(event->to) < 0)
        return;
    /* The ack is a vote: of the epoch that this hub opened, by a region that applied its marker. */
    if (is_hub(event->to) && event->epoch == own->marker && event->marker == own->marker) {
        if (event->len > own->acked[event->from])
            own->acked[event->from] = event->len;
        advance(event->to);
    }
    struct event answer = {.kind = PULL_TOLD,
                           .from = event->to,
                           .to = event->from,
                           .epoch = own->accepted,
                           .marker = own->marker,
                           .len = own->len,
                           .version = own->committed};
    bool has_more =
        own->marker > event->marker || (own->marker == event->marker && own->len > event->len);
    if (has_more)
        answer.last = last_entry(own);
    send(event->to, event->from, answer);
}

static void pull_told(const struct event *event)
{
    struct region *own = &region[event->to];

    if (any_gateway(event->to) < 0 || event->epoch < own->accepted)
        return;
    if (event->last != 0 &&
        (event->marker > own->marker || (event->marker == own->marker && event->len > own->len))) {
        adopt(own, event->last, event->len);
        if (own->marker > own->accepted)
            own->accepted = own->marker; /* an epoch that is open */
        if (own->closed != 0 && own->closed <= own->accepted)
            own->closed = 0;
    }
    if (event->marker == own->marker && event->version > own->committed) {
        own->committed = event->version;
        wake_region(event->to);
    }
}

/* ---- takeover ---- */

static void take_over(int at, bool is_once)
{
    struct region *own = &region[at];

    if (!is_once)
        schedule((struct event){.kind = TAKE_OVER, .from = (int) chance((uint32_t) regions)},
                 3 * D + chance(8 * D));
    if (any_gateway(at) < 0 || last_epoch == EPOCHS_MAX)
        return;
    own->proposed = ++last_epoch;
    own->acceptances = own->best_len = 0;
    own->best_marker = -1;
    memset(own->has_accepted, 0, sizeof(own->has_accepted));
    tell("region %d proposes epoch %d", at + 1, own->proposed);
    for (int r = 0; r < regions; r++)
        send(at, r,
             (struct event){.kind = ACCEPT_ASK, .from = at, .to = r, .epoch = own->proposed});
}

static void accept_asked(const struct event *event)
{
    struct region *own = &region[event->to];

    if (any_gateway(event->to) < 0 || event->epoch <= own->accepted || event->epoch <= own->closed)
        return;
    own->closed = event->epoch;
    own->closing++;
    schedule((struct event){.kind = ACCEPT_WAITED,
                            .from = event->from,
                            .to = event->to,
                            .epoch = event->epoch,
                            .number = own->closing},
             broken == RULE_ACCEPT ? 1 : world_ms(own->rate, lease_granter_ms(&rules)));
}

static void accept_waited(const struct event *event)
{
    struct region *own = &region[event->to];

    if (!own->is_up || own->closed != event->epoch || own->closing != event->number)
        return;
    own->accepted = event->epoch;
    own->closed = 0;
    struct event answer = {.kind = ACCEPT_TOLD,
                           .from = event->to,
                           .to = event->from,
                           .epoch = event->epoch,
                           .marker = own->marker,
                           .len = own->len,
                           .last = last_entry(own)};
    send(event->to, event->from, answer);
}

/* Has a log with that marker more than one with another? */
static bool is_further(int marker, int len, int than_marker, int than_len)
{
    if (marker != than_marker && broken != RULE_RANK)
        return marker > than_marker;
    return len > than_len;
}

static void accept_told(const struct event *event)
{
    struct region *own = &region[event->to];
    int needed = broken == RULE_ACCEPTANCES ? 1 : regions - majority + 1;

    if (!own->is_up || own->proposed != event->epoch || own->has_accepted[event->from])
        return;
    own->has_accepted[event->from] = true;
    own->acceptances++;
    if (is_further(event->marker, event->len, own->best_marker, own->best_len)) {
        own->best_marker = event->marker;
        own->best_len = event->len;
        own->best = event->last;
    }
    if (own->acceptances < needed || !own->has_accepted[event->to] ||
        own->accepted != event->epoch || own->closed != 0 || own->marker >= event->epoch)
        return;
    own->proposed = 0;
    if (is_further(own->best_marker, own->best_len, own->marker, own->len))
        adopt(own, own->best, own->best_len);
    append(own, event->epoch, 0, event->to);
    memset(own->acked, 0, sizeof(own->acked));
    did.takeovers++;
    tell("region %d is the hub of epoch %d, with %d entries", event->to + 1, event->epoch,
         own->len);
}

/* ---- clients ---- */

static void begin_op(bool is_write, int of_session)
{
    int at = (int) chance((uint32_t) (regions * GATEWAYS));

    if (op_count == OPS_MAX)
        return;
    if (is_write) { /* clients know the hub, mostly */
        int hub = region[chance((uint32_t) regions)].hub;
        at = hub * GATEWAYS + (int) chance(GATEWAYS);
    }
    struct gateway *one = &gateway[at];
    if (!one->is_up || !region[one->region].is_up || (is_write && writes_not[one->region]))
        return;
    struct client_op *op = &ops[op_count];
    *op = (struct client_op){.is_write = is_write,
                             .begun = now,
                             .deadline = now + 4 * D,
                             .gateway = at,
                             .life = one->life,
                             .session = of_session};
    if (of_session != 0)
        session[of_session - 1].op = op;
    if (is_write) {
        op->value = ++last_value;
        op->at = -1;
        writer[op->value] = op_count;
    }
    schedule(
        (struct event){.kind = is_write ? WRITE_WAITS : READ_CHECK, .number = op_count, .len = -1},
        moment());
    op_count++;
}

/* Somebody begins one operation after the other, whatever becomes of them. */
static void begin_next(bool is_write)
{
    if (now >= RUN_MS)
        return;
    schedule((struct event){.kind = is_write ? WRITE : READ},
             is_write ? 40 + chance(400) : 15 + chance(150));
    begin_op(is_write, 0);
}

static bool is_gone(struct client_op *op)
{
    const struct gateway *one = &gateway[op->gateway];

    if (op->state != OP_RUNNING)
        return true;
    if (one->is_up && one->life == op->life && region[one->region].is_up)
        return false;
    op->state = op->is_write ? OP_UNKNOWN : OP_REFUSED;
    return true;
}

/* ---- sessions ---- */

/* Where a log that ends with that entry stands. */
static struct session_state state_of(int last)
{
    static int64_t vector[EPOCHS_MAX];
    static struct session_origin cuts[EPOCHS_MAX];
    static uint32_t live[1];
    size_t epoch = (size_t) entries[last].epoch;

    memcpy(vector, opened[epoch], epoch * sizeof(*vector));
    for (size_t i = 0; i + 1 < epoch; i++)
        cuts[i] = (struct session_origin){(uint32_t) i + 1, vector[i]};
    vector[epoch - 1] = entries[last].lsn;
    live[0] = (uint32_t) epoch;
    return (struct session_state){.epoch = (int64_t) epoch,
                                  .live_count = 1,
                                  .live = live,
                                  .vector_count = epoch,
                                  .vector = vector,
                                  .cut_count = broken == RULE_CUTS ? 0 : epoch - 1,
                                  .cuts = cuts};
}

/* Does a log that ends with the one entry have the other? Later entries have greater numbers. */
static bool has_entry(int last, int entry)
{
    while (last > entry)
        last = entries[last].before;
    return last == entry;
}

/* A session was answered from that log. */
static void session_learns(const struct client_op *op, int last)
{
    struct session *one = &session[op->session - 1];
    struct session_state state = state_of(last);
    struct session_lost lost;

    /* Where writes are acknowledged at once, a hub that was not heard may take one, which is
     * stranded, whatever the client saw beyond. */
    if (is_bounded && op->is_write && entries[last].epoch < one->token.version)
        return;
    bool is_told = one->known != 0 && session_losses(&one->token, &state, &lost, 1) > 0;
    bool has_it = has_entry(last, one->known);
    if (!has_it && !is_told)
        fail("a session knew entry %d of epoch %d, and was answered by %d of epoch %d without it",
             entries[one->known].lsn, entries[one->known].epoch, entries[last].lsn,
             entries[last].epoch);
    if (has_it && is_told)
        fail("a session was told that entry %d of epoch %d is lost, and it is there",
             entries[one->known].lsn, entries[one->known].epoch);
    did.losses += is_told;
    one->known = last;
    one->origin = (struct session_origin){(uint32_t) entries[last].epoch, entries[last].lsn};
    one->token = (struct session_part){
        .version = entries[last].epoch, .origin_count = 1, .origins = &one->origin};
}

static bool is_satisfied(const struct session *one, int last)
{
    struct session_state state = state_of(last);

    return one->known == 0 || session_compare(&one->token, &state) == SESSION_SATISFIED;
}

/* It does one thing after the other, anywhere. */
static void session_goes_on(int number)
{
    struct session *one = &session[number];

    if (now >= RUN_MS)
        return;
    schedule((struct event){.kind = SESSION, .from = number}, 20 + chance(200));
    if (one->op != NULL && !is_gone(one->op))
        return;
    if (happens(200)) {
        begin_op(true, number + 1);
        return;
    }
    int at = (int) chance((uint32_t) (regions * GATEWAYS));
    if (!gateway[at].is_up || !region[gateway[at].region].is_up ||
        session_reads == SESSION_READS_MAX)
        return;
    one->op = &ops[OPS_MAX + session_reads++];
    *one->op = (struct client_op){
        .deadline = now + 2 * D, .gateway = at, .life = gateway[at].life, .session = number + 1};
    schedule((struct event){.kind = SESSION_READ, .number = (int) (one->op - ops), .len = -1},
             moment());
}

/* A snapshot, and then the token is compared with it. */
static void session_reads_on(const struct event *event)
{
    struct client_op *op = &ops[event->number];
    const struct region *own = &region[gateway[op->gateway].region];

    if (is_gone(op))
        return;
    if (now > op->deadline) {
        op->state = OP_REFUSED;
        return;
    }
    if (event->len < 0) {
        op->last = last_entry(own);
        schedule((struct event){.kind = SESSION_READ, .number = event->number}, moment());
        return;
    }
    int compared = broken == RULE_TOKEN_LATER ? last_entry(own) : op->last;
    if (!is_satisfied(&session[op->session - 1], compared) && broken != RULE_TOKEN) {
        wait_for_news(op, SESSION_READ);
        return;
    }
    op->state = OP_ANSWERED;
    did.session_reads++;
    session_learns(op, op->last);
}

/* ---- reads and writes of the account's level ---- */

static void end_op(struct client_op *op, enum op_state state)
{
    op->state = state;
    op->ended = now;
    if (state != OP_ANSWERED)
        return;
    ended[ended_count++] = (int) (op - ops);
    if (op->is_write)
        did.acked++;
    else
        did.reads++;
    if (op->session != 0)
        session_learns(op, op->last);
    did.bounded_reads += is_bounded && !op->is_write;
    tell("region %d, gateway %d: %s %d (begun %" PRId64 ", at %d)", gateway[op->gateway].region + 1,
         op->gateway % GATEWAYS, op->is_write ? "wrote" : "read", op->value, op->begun, op->at);
}

/*
 * Under Bounded staleness a write waits as long as its gateway finds right, or is refused. What
 * came after the gateway looked last is younger than that.
 */
static bool is_held_back(struct client_op *op, int number)
{
    const struct gateway *one = &gateway[op->gateway];
    const struct region *own = &region[one->region];
    int64_t lag = own->len - one->committed;
    int64_t age = bounded_age_ms(&one->looks, one->committed, gateway_now(one));

    if (!is_bounded || op->was_admitted || broken == RULE_VERSIONS)
        return false;
    int64_t delay = bounded_delay_ms(&limits, lag > 0 ? lag : 0, age);
    if (delay < 0) {
        end_op(op, OP_REFUSED);
        did.refused++;
        return true;
    }
    op->was_admitted = true;
    schedule((struct event){.kind = WRITE_WAITS, .number = number, .len = -1}, delay + moment());
    return true;
}

/* What the write function checks under the range's lock. */
static bool is_admitted(const struct region *own, int at)
{
    if (own->hub != at || own->len == LOG_MAX - 20)
        return false;
    /* Without an acknowledgement by others it is done when it is there. */
    return !is_bounded ||
           (own->accepted == own->marker &&
            (own->committed + limits.versions > own->len + 1 || broken == RULE_VERSIONS));
}

static void write_goes_on(const struct event *event)
{
    struct client_op *op = &ops[event->number];
    struct region *own = &region[gateway[op->gateway].region];

    if (is_gone(op))
        return;
    if (op->at < 0) {
        if (is_held_back(op, event->number))
            return;
        if (!is_admitted(own, gateway[op->gateway].region)) {
            end_op(op, OP_REFUSED);
            return;
        }
        op->at = own->len;
        op->epoch = own->marker;
        append(own, own->marker, op->value, 0);
        op->last = last_entry(own);
    }
    bool is_there = op->at < own->len && value_at(own, op->at) == op->value;
    if (is_there && (own->committed > op->at || broken == RULE_ACK || is_bounded) &&
        own->marker == op->epoch) {
        end_op(op, OP_ANSWERED);
        return;
    }
    if (now > op->deadline) {
        end_op(op, broken == RULE_REFUSAL ? OP_REFUSED : OP_UNKNOWN);
        return;
    }
    wait_for_news(op, WRITE_WAITS);
}

static bool is_leased(const struct gateway *one, int epoch)
{
    if (one->epoch != epoch)
        return false;
    if (one->hub == one->region)
        return gateway_now(one) < promises_horizon(&one->promises, topology_of(one));
    return read_lease_holds(&one->lease, epoch, gateway_now(one));
}

/* The value that a log of that length shows, and where it stands: behind its entry. */
static int value_of(const struct region *own, int len, int *at)
{
    int i = len;

    while (i > 0 && value_at(own, i - 1) == 0)
        i--;
    *at = i > 0 ? i : len; /* that there is nothing is said by all of it */
    return i > 0 ? value_at(own, i - 1) : 0;
}

/* Bounded staleness: does the region know that it was in step so shortly ago? */
static bool is_in_step(const struct gateway *one, int len)
{
    int64_t synced = bounded_synced_ms(&one->looks, len);

    if (one->hub == one->region || broken == RULE_AGE)
        return true;
    return synced != INT64_MIN && gateway_now(one) - synced <= limits.ms;
}

static void read_goes_on(const struct event *event)
{
    struct client_op *op = &ops[event->number];
    struct gateway *one = &gateway[op->gateway];
    struct region *own = &region[one->region];

    if (is_gone(op))
        return;
    if (now > op->deadline) {
        end_op(op, OP_REFUSED);
        return;
    }
    if (broken == RULE_LEASE_FIRST && event->len == -1) {
        look_at_topology(one);
        op->was_leased = is_leased(one, own->marker);
        op->epoch = own->marker;
        schedule((struct event){.kind = READ_CHECK, .number = event->number, .len = -2}, moment());
        return;
    }
    if (event->len < 0) { /* the snapshot */
        look_at_topology(one);
        op->was_leased = op->was_leased && op->epoch == own->marker;
        op->snapshot = own->len;
        op->last = last_entry(own);
        op->epoch = own->marker;
        op->value = value_of(own, own->len, &op->at);
        schedule((struct event){.kind = READ_CHECK, .number = event->number}, moment());
        return;
    }
    bool leased = broken == RULE_LEASE || broken == RULE_AGE_LEASE ||
                  (broken == RULE_LEASE_FIRST ? op->was_leased : is_leased(one, op->epoch));
    int len = broken == RULE_NEED_LATER ? own->len : op->snapshot;
    bool has_needs = broken == RULE_NEED || one->hub == one->region || len >= one->need;
    if (is_bounded)
        has_needs = (has_needs || broken == RULE_AGE_NEED) && is_in_step(one, op->snapshot);
    if (!leased || !has_needs) {
        wait_for_news(op, READ_CHECK);
        return;
    }
    if (is_bounded) {
        end_op(op, OP_ANSWERED);
        return;
    }
    if (broken == RULE_OLDER && own->committed < op->at) {
        op->value = value_of(own, own->committed, &op->at);
        end_op(op, OP_ANSWERED);
        return;
    }
    schedule((struct event){.kind = READ_WAITS, .number = event->number}, 0);
}

static void read_waits(const struct event *event)
{
    struct client_op *op = &ops[event->number];
    struct gateway *one = &gateway[op->gateway];
    const struct region *own = &region[one->region];

    if (is_gone(op))
        return;
    if (now > op->deadline) {
        end_op(op, OP_REFUSED);
        return;
    }
    look_at_topology(one);
    if (one->epoch != op->epoch) { /* another epoch: from the beginning */
        schedule((struct event){.kind = READ_CHECK, .number = event->number, .len = -1}, 0);
        return;
    }
    if (own->committed > one->committed)
        one->committed = own->committed;
    if (one->committed >= op->at || broken == RULE_COMMITTED) {
        end_op(op, OP_ANSWERED);
        return;
    }
    wait_for_news(op, READ_WAITS);
}

/* ---- crashes ---- */

static void stop_gateway(int at)
{
    gateway[at].is_up = false;
    gateway[at].life++;
}

static void start_gateway(int at)
{
    struct gateway *one = &gateway[at];

    if (one->is_up)
        return;
    *one = (struct gateway){.region = one->region,
                            .is_up = true,
                            .life = one->life + 1,
                            .rate = one->rate,
                            .offset = one->offset,
                            .hub = one->region};
    schedule((struct event){.kind = BEAT, .from = at, .life = one->life}, chance(D / 10));
}

static void crash(void)
{
    if (is_healed)
        return;
    int at = (int) chance((uint32_t) (regions * GATEWAYS));
    schedule((struct event){.kind = CRASH_GATEWAY}, 2 * D + chance(12 * D));
    if (!gateway[at].is_up)
        return;
    tell("gateway %d of region %d crashes", at % GATEWAYS, gateway[at].region + 1);
    stop_gateway(at);
    schedule((struct event){.kind = START_GATEWAY, .from = at}, chance(3 * D));
}

static void crash_region(void)
{
    if (is_healed)
        return;
    int at = (int) chance((uint32_t) regions);
    schedule((struct event){.kind = CRASH_REGION}, 5 * D + chance(20 * D));
    if (!region[at].is_up)
        return;
    tell("region %d crashes", at + 1);
    region[at].is_up = false;
    region[at].life++;
    region[at].is_advancing = false;
    for (int r = 0; r < regions; r++)
        region[at].heard[r] -= chance(600); /* that is noted without waiting for the disk */
    for (int i = 0; i < GATEWAYS; i++)
        stop_gateway(at * GATEWAYS + i);
    schedule((struct event){.kind = START_REGION, .from = at}, chance(5 * D));
}

static void start_region(int at)
{
    struct region *own = &region[at];

    own->is_up = true;
    own->proposed = 0;
    for (int i = 0; i < GATEWAYS; i++)
        schedule((struct event){.kind = START_GATEWAY, .from = at * GATEWAYS + i}, chance(200));
    /* A wait that the crash broke off begins again; whoever asked has to ask again to hear of it.
     */
    if (own->closed != 0) {
        own->closing++;
        schedule((struct event){.kind = ACCEPT_WAITED,
                                .from = at,
                                .to = at,
                                .epoch = own->closed,
                                .number = own->closing},
                 world_ms(own->rate, lease_granter_ms(&rules)));
    }
}

/*
 * A minority, mostly with the hub in it, and all others do not hear each other; mostly somebody
 * beyond takes over.
 */
static void split(void)
{
    bool is_apart[REGIONS_MAX] = {false};
    int one =
        happens(700) ? region[chance((uint32_t) regions)].hub : (int) chance((uint32_t) regions);
    int count = 1 + (int) chance((uint32_t) regions / 2), other;

    is_apart[one] = true;
    for (int i = 1; i < count; i++)
        is_apart[chance((uint32_t) regions)] = true;
    bool is_beyond = happens(600); /* where the clients are that write */
    for (int r = 0; r < regions; r++) {
        writes_not[r] = is_beyond && is_apart[r];
        for (int to = 0; to < regions; to++)
            cut[r][to] = cut[r][to] || is_apart[r] != is_apart[to];
        if (is_apart[r])
            tell("region %d is split off", r + 1);
    }
    schedule((struct event){.kind = MEND, .from = -1}, D + chance(5 * D));
    do
        other = (int) chance((uint32_t) regions);
    while (is_apart[other]);
    if (happens(700))
        schedule((struct event){.kind = TAKE_OVER, .from = other, .yes = true}, chance(D));
}

/*
 * A hub follows another one, and is slow to hear that this one has begun; those that follow as well
 * are as few as can be, so that the others go on promising to the old hub until they hear of it.
 */
static void outrun(void)
{
    int one = (int) chance((uint32_t) regions), hub = region[one].hub;
    int others = regions - majority - 1;

    if (is_healed)
        return;
    schedule((struct event){.kind = OUTRUN}, 3 * D + chance(4 * D));
    if (one == hub)
        return;
    for (int r = 0; r < regions; r++)
        cut[one][r] = r != one && r != hub && others-- <= 0;
    region[hub].stalled_until = now + 2 * D + chance(2 * D);
    tell("region %d takes over from %d, which takes nothing until %" PRId64, one + 1, hub + 1,
         region[hub].stalled_until);
    /* Until then nothing is written, or the old hub would have something that it cannot show. */
    writes_not[hub] = true;
    schedule((struct event){.kind = TAKE_OVER, .from = one, .yes = true}, D / 4);
    schedule((struct event){.kind = MEND, .from = -1}, D + chance(D));
}

static void cut_something(void)
{
    if (is_healed)
        return;
    int one = (int) chance((uint32_t) regions), other = (int) chance((uint32_t) regions);
    uint32_t how = chance(7);

    schedule((struct event){.kind = CUT}, D + chance(6 * D));
    if (how >= 4) {
        split();
        return;
    }
    for (int r = 0; r < regions; r++) {
        if (r == one || (how != 0 && r != other))
            continue;
        if (how != 1)
            cut[one][r] = true;
        if (how != 2)
            cut[r][one] = true;
    }
    tell("region %d is cut (%u) from %d", one + 1, how, how == 0 ? 0 : other + 1);
    schedule((struct event){.kind = MEND, .from = one}, chance(6 * D));
}

static void mend(int at)
{
    if (at < 0)
        memset(writes_not, 0, sizeof(writes_not));
    for (int r = 0; r < regions; r++) {
        for (int to = 0; to < regions; to++)
            cut[r][to] = cut[r][to] && at >= 0 && r != at && to != at;
    }
}

static void stall(void)
{
    struct region *one = &region[chance((uint32_t) regions)];

    if (is_healed)
        return;
    one->stalled_until = now + chance(3 * D);
    tell("region %d takes nothing until %" PRId64, (int) (one - region) + 1, one->stalled_until);
    schedule((struct event){.kind = STALL}, D + chance(5 * D));
}

/*
 * A region is away until the set has left it behind, and when it is heard again it still has to
 * catch up, while statements at the hub are slow.
 */
static void flap(void)
{
    int one = (int) chance((uint32_t) regions), hub = region[one].hub;
    int64_t away = 2 * D + chance(3 * D);

    if (is_healed)
        return;
    schedule((struct event){.kind = FLAP}, away + D + chance((aim == AIM_FLAP ? 2 : 6) * D));
    if (one == hub)
        return;
    for (int r = 0; r < regions; r++)
        cut[one][r] = cut[r][one] = r != one;
    region[one].stalled_until = now + away + D / 2 + chance(3 * D / 2);
    region[hub].slow_from = now + away - D / 2;
    region[hub].slow_until = now + away + D;
    tell("region %d is away for %" PRId64, one + 1, away);
    schedule((struct event){.kind = MEND, .from = one}, away);
}

/* Of some region; or the hub's runs ahead while a region, just leased, is not heard any more. */
static void step_clock(void)
{
    int at = (int) chance((uint32_t) regions), hub = region[at].hub;
    int64_t step = (int64_t) chance(8 * D) - 3 * D;
    struct region *one = &region[at];

    if (is_healed)
        return;
    if (aim == AIM_CLOCK && at != hub) {
        cut[at][hub] = true;
        one->stalled_until = now + D + chance(D);
        one = &region[hub];
        step = D + chance(2 * D);
        schedule((struct event){.kind = MEND, .from = at}, D + chance(D));
    }
    one->offset += step;
    tell("the clock of region %d is set by %" PRId64, (int) (one - region) + 1, step);
    schedule((struct event){.kind = STEP_CLOCK}, D + chance(6 * D));
}

/* ---- what must be true ---- */

static const char *kind_name(const struct client_op *op)
{
    return op->is_write ? "write" : "read of";
}

/*
 * In the order of the final log: an operation that ended before another began does not stand behind
 * it. Two reads of one version may stand at one place, and reads stand behind the write they saw.
 * Operations are numbered as they began.
 */
static void check_history(void)
{
    const struct client_op *latest = NULL; /* of those that ended, the one that stands last */
    int seen = 0;

    for (int i = 0; i < op_count && failure[0] == '\0'; i++) {
        const struct client_op *op = &ops[i];
        if (op->state != OP_ANSWERED)
            continue;
        if (op->value != 0 && place[op->value] == 0)
            fail("%s %d was acknowledged and is lost", kind_name(op), op->value);
        if (!op->is_write && op->value != 0 && op->ended < ops[writer[op->value]].begun)
            fail("value %d was read before it was written", op->value);
        for (; seen < ended_count && ops[ended[seen]].ended < op->begun; seen++) {
            if (latest == NULL || place[ops[ended[seen]].value] > place[latest->value])
                latest = &ops[ended[seen]];
        }
        if (latest == NULL || place[latest->value] < place[op->value] ||
            (!op->is_write && place[latest->value] == place[op->value]))
            continue;
        fail("%s %d at %d, ended %" PRId64 ", stands behind %s %d at %d, begun %" PRId64,
             kind_name(latest), latest->value, place[latest->value], latest->ended, kind_name(op),
             op->value, place[op->value], op->begun);
    }
}

/* The greatest place of a write that was acknowledged before that; operations come as they began.
 */
static int acknowledged(int64_t before, int *seen, int greatest)
{
    for (; *seen < ended_count && ops[ended[*seen]].ended < before; ++*seen) {
        const struct client_op *op = &ops[ended[*seen]];
        if (op->is_write && place[op->value] > greatest)
            greatest = place[op->value];
    }
    return greatest;
}

/*
 * Bounded staleness. Who reads has all that was acknowledged T ago and all but K of what was until
 * then; and a takeover loses less than K. What is lost is not what a region is behind.
 */
static void check_bounds(const struct region *final)
{
    int lost[EPOCHS_MAX + 1] = {0};
    int seen = 0, seen_old = 0, newest = 0, old = 0;
    int64_t most_ms = limits.ms + limits.ms * DRIFT / 1000 + 1;

    for (int i = 0; i < op_count && failure[0] == '\0'; i++) {
        const struct client_op *op = &ops[i];
        if (op->state != OP_ANSWERED)
            continue;
        if (op->is_write) {
            if (place[op->value] == 0 && ++lost[op->epoch] >= limits.versions)
                fail("%d writes of epoch %d were acknowledged and are lost", lost[op->epoch],
                     op->epoch);
            continue;
        }
        int last = op->last;
        bool is_of_the_end = true;
        while (entries[last].depth >= final->len || final->log[entries[last].depth] != last) {
            is_of_the_end = is_of_the_end && entries[last].value != 0;
            last = entries[last].before;
        }
        if (!is_of_the_end)
            continue; /* of an epoch that no other followed: for it that is lost which others kept
                       */
        int has = entries[last].depth + 1;
        newest = acknowledged(op->begun, &seen, newest);
        old = acknowledged(op->begun - most_ms, &seen_old, old);
        if (newest - has > limits.versions)
            fail("a read begun %" PRId64 " has %d entries, %d behind", op->begun, has,
                 newest - has);
        if (old > has)
            fail("a read begun %" PRId64 " has %d entries; %d were acknowledged %" PRId64
                 " ms before",
                 op->begun, has, old, limits.ms);
    }
}

/* A write that was refused took no place, in any log that is left. */
static void check_refused(void)
{
    for (int i = 0; i < op_count; i++) {
        if (ops[i].is_write && ops[i].state == OP_REFUSED && place[ops[i].value] != 0)
            fail("write %d was refused and took place", ops[i].value);
    }
}

static void check_sessions(int last)
{
    for (int i = 0; i < SESSIONS; i++) {
        if (!is_satisfied(&session[i], last))
            fail("a session that knows entry %d of epoch %d waits for ever",
                 entries[session[i].known].lsn, entries[session[i].known].epoch);
    }
}

static void check_end(void)
{
    int best = 0;

    for (int r = 1; r < regions; r++) {
        if (region[r].marker > region[best].marker ||
            (region[r].marker == region[best].marker && region[r].len > region[best].len))
            best = r;
    }
    for (int r = 0; r < regions; r++) {
        if (region[r].len != region[best].len ||
            last_entry(&region[r]) != last_entry(&region[best]))
            fail("region %d has not what region %d has", r + 1, best + 1);
    }
    memset(place, 0, sizeof(place));
    for (int i = 0; i < region[best].len; i++)
        place[value_at(&region[best], i)] = i + 1;
    place[0] = 0; /* of markers */
    check_refused();
    check_sessions(last_entry(&region[best]));
    if (is_bounded)
        check_bounds(&region[best]);
    else
        check_history();
}

/* ---- a run ---- */

static void handle(struct event *event)
{
    switch (event->kind) {
    case BEAT:
        if (gateway[event->from].is_up && gateway[event->from].life == event->life)
            beat(event->from);
        break;
    case POLL:
        poll(event->from);
        break;
    case PROMISE_ASK:
        promise_asked(event);
        break;
    case PROMISE_TOLD:
        promise_told(event);
        break;
    case LEASE_ASK:
        lease_asked(event);
        break;
    case LEASE_TOLD:
        lease_told(event);
        break;
    case PULL_ASK:
        pulled(event);
        break;
    case PULL_TOLD:
        pull_told(event);
        break;
    case COMMITTED:
        committed_moved(event);
        break;
    case SET_STEP:
        change_set(event);
        break;
    case SET_GOAL:
        set_goal(event);
        break;
    case ACCEPT_ASK:
        accept_asked(event);
        break;
    case ACCEPT_WAITED:
        accept_waited(event);
        break;
    case ACCEPT_TOLD:
        accept_told(event);
        break;
    case TAKE_OVER:
        if (now < RUN_MS + 3 * D)
            take_over(event->from, event->yes);
        break;
    case WRITE:
    case READ:
        begin_next(event->kind == WRITE);
        break;
    case SESSION:
        session_goes_on(event->from);
        break;
    case SESSION_READ:
        session_reads_on(event);
        break;
    case WRITE_WAITS:
        write_goes_on(event);
        break;
    case READ_CHECK:
        read_goes_on(event);
        break;
    case READ_WAITS:
        read_waits(event);
        break;
    case CRASH_GATEWAY:
        crash();
        break;
    case CRASH_REGION:
        crash_region();
        break;
    case START_GATEWAY:
        if (region[gateway[event->from].region].is_up)
            start_gateway(event->from);
        break;
    case START_REGION:
        start_region(event->from);
        break;
    case CUT:
        cut_something();
        break;
    case MEND:
        mend(event->from);
        break;
    case STALL:
        stall();
        break;
    case FLAP:
        flap();
        break;
    case OUTRUN:
        outrun();
        break;
    case STEP_CLOCK:
        step_clock();
        break;
    }
}

static void heal(void)
{
    is_healed = true;
    memset(cut, 0, sizeof(cut));
    tell("all is healed");
    for (int r = 0; r < regions; r++) {
        region[r].stalled_until = 0;
        if (!region[r].is_up)
            start_region(r);
        for (int i = 0; i < GATEWAYS; i++)
            schedule((struct event){.kind = START_GATEWAY, .from = r * GATEWAYS + i}, 1);
    }
    /* An operator ends what was begun and not finished. */
    schedule((struct event){.kind = TAKE_OVER, .from = (int) chance((uint32_t) regions)}, D);
}

static void begin_world(void)
{
    regions = happens(650) ? 3 : happens(500) ? 5 : 2;
    aim = chance(2) == 0   ? AIM_NOTHING
          : chance(3) == 0 ? AIM_CLOCK
          : chance(2) == 0 ? AIM_FLAP
                           : AIM_HUB;
    is_bounded = happens(300);
    limits = (struct bounded_limits){.versions = 3 + chance(10), .ms = D / 2 + chance(5 * D)};
    if (broken != RULE_NONE)
        is_bounded = broken >= RULE_VERSIONS;
    if (broken == RULE_AGE_STAMP)
        limits.ms = D / 2 + chance(D); /* where the time of an answer on its way matters */
    if (broken == RULE_DROP || broken == RULE_CLOCK)
        aim = AIM_CLOCK;
    if (broken == RULE_OWN)
        aim = AIM_HUB;
    if (broken == RULE_JOIN || broken == RULE_AGE_NEED)
        aim = AIM_FLAP;
    majority = regions / 2 + 1;
    memset(region, 0, sizeof(region));
    memset(gateway, 0, sizeof(gateway));
    memset(cut, 0, sizeof(cut));
    memset(writes_not, 0, sizeof(writes_not));
    is_healed = false;
    memset(session, 0, sizeof(session));
    op_count = session_reads = ended_count = last_value = entry_count = 0;
    memset(due, 0, sizeof(due));
    event_count = event_free = 0;
    known = (struct topology){.region_count = (unsigned) regions};
    for (int r = 0; r < regions; r++)
        known.regions[r] =
            (struct topology_region){.ordinal = (unsigned) r + 1, .state = REGION_ONLINE};
    last_epoch = 1;
    now = 0;
    failure[0] = '\0';
    for (int r = 0; r < regions; r++) {
        region[r].is_up = true;
        region[r].accepted = 1;
        region[r].rate = some_rate();
        region[r].offset = chance(1000000);
        if (r == 0)
            append(&region[0], 1, 0, 0);
        else
            adopt(&region[r], last_entry(&region[0]), 1);
        schedule((struct event){.kind = POLL, .from = r}, chance(50));
        for (int i = 0; i < GATEWAYS; i++) {
            struct gateway *one = &gateway[r * GATEWAYS + i];
            one->region = r;
            one->rate = some_rate();
            one->offset = chance(1000000);
            start_gateway(r * GATEWAYS + i);
        }
    }
    for (int i = 0; i < 3; i++) {
        schedule((struct event){.kind = WRITE}, chance(D));
        schedule((struct event){.kind = READ}, chance(D));
    }
    for (int i = 0; i < SESSIONS; i++)
        schedule((struct event){.kind = SESSION, .from = i}, chance(D));
    if (happens(800))
        schedule((struct event){.kind = TAKE_OVER, .from = (int) chance((uint32_t) regions)},
                 2 * D + chance(8 * D));
    if (happens(700))
        schedule((struct event){.kind = CRASH_GATEWAY}, chance(8 * D));
    if (happens(500))
        schedule((struct event){.kind = CRASH_REGION}, chance(12 * D));
    if (happens(800))
        schedule((struct event){.kind = CUT}, chance(5 * D));
    if (happens(600))
        schedule((struct event){.kind = STALL}, chance(5 * D));
    if (happens(aim == AIM_FLAP ? 1000 : 200))
        schedule((struct event){.kind = FLAP}, chance(5 * D));
    if (happens(aim == AIM_HUB ? 1000 : 50))
        schedule((struct event){.kind = OUTRUN}, chance(5 * D));
    if (happens(aim == AIM_CLOCK ? 1000 : 300))
        schedule((struct event){.kind = STEP_CLOCK}, chance(5 * D));
}

/* All is as it will be: nobody takes over any more, and everybody has the same. */
static bool is_quiet(void)
{
    for (int r = 0; r < regions; r++) {
        if (region[r].closed != 0 || region[r].accepted != region[0].marker ||
            last_entry(&region[r]) != last_entry(&region[0]))
            return false;
    }
    for (int i = 0; i < op_count; i++) {
        const struct gateway *one = &gateway[ops[i].gateway];
        if (ops[i].state == OP_RUNNING && one->is_up && one->life == ops[i].life)
            return false;
    }
    return true;
}

/* True when nothing was wrong. */
static bool run(uint64_t seed)
{
    chance_state = seed * 0x2545f4914f6cdd1dULL + 1;
    begin_world();
    for (; now <= END_MS && failure[0] == '\0'; now++) {
        struct event event;
        while (failure[0] == '\0' && take_event(&event))
            handle(&event);
        if (now == RUN_MS + D)
            heal();
        if (now >= RUN_MS + 4 * D && now % 50 == 0 && is_quiet())
            break;
    }
    if (failure[0] == '\0')
        check_end();
    return failure[0] == '\0';
}

static int run_one(uint64_t seed, const char *rule)
{
    tells = true;
    for (int i = 0; rule != NULL && i < RULE_COUNT; i++) {
        if (strcmp(rule, rule_names[i]) == 0)
            broken = (enum rule) i;
    }
    bool is_right = run(seed);
    printf("seed %" PRIu64 ", %d regions: %s\n", seed, regions, is_right ? "right" : failure);
    return is_right ? 0 : 1;
}

static int run_all(uint64_t runs, uint64_t first)
{
    int missed = 0;

    for (uint64_t seed = first; seed < first + runs; seed++) {
        if (!run(seed)) {
            printf("seed %" PRIu64 " fails: %s\n", seed, failure);
            return 1;
        }
    }
    printf(
        "%" PRIu64
        " runs: %d writes acknowledged, %d reads, %d takeovers, %d regions left the set; %d reads "
        "of sessions, %d told of a loss; bounded staleness: %d reads, %d writes refused\n",
        runs, did.acked, did.reads, did.takeovers, did.leaves, did.session_reads, did.losses,
        did.bounded_reads, did.refused);
    /* A simulation in which nothing happens finds nothing. */
    if (did.acked < (int) runs || did.reads < (int) runs || did.takeovers < (int) runs / 2 ||
        did.session_reads < (int) runs || did.bounded_reads < (int) runs ||
        did.refused < (int) runs / 10 || did.losses < (int) runs / 100)
        return 1;
    for (int rule = RULE_NONE + 1; rule < RULE_COUNT; rule++) {
        uint64_t seed = first, most = first + runs;
        broken = (enum rule) rule;
        if (is_free[rule])
            most = first + runs / 20;
        while (seed < most && run(seed))
            seed++;
        if (seed == most)
            printf("without rule %s nothing fails\n", rule_names[rule]);
        else
            printf("without rule %s seed %" PRIu64 " fails: %s\n", rule_names[rule], seed, failure);
        missed += (seed == most) != is_free[rule];
    }
    return missed > 0;
}

int main(int argc, char **argv)
{
    uint64_t runs = argc > 1 ? strtoull(argv[1], NULL, 10) : 100;

    setvbuf(stdout, NULL, _IOLBF, 0);
    int status = argc > 2 && strcmp(argv[1], "seed") == 0
                     ? run_one(strtoull(argv[2], NULL, 10), argc > 3 ? argv[3] : NULL)
                     : run_all(runs, argc > 2 ? strtoull(argv[2], NULL, 10) : 1);
    free(events);
    return status;
}
