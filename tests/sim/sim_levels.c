/*
 * Strong consistency on a virtual clock: regions with two gateways each, clocks that drift, links
 * that delay, drop, duplicate and are cut, gateways and regions that crash, steps that pause,
 * takeovers at any time. The decisions are those of regions/ (lease, strong); what is written here
 * is the world, the log of one range, and what the database does in one transaction.
 *
 *     sim_levels [RUNS [SEED]]     that many runs from that seed on, then the rules that are broken
 *                                  on purpose
 *     sim_levels seed N [RULE]     one run, told step by step
 *
 * Checked of every run: acknowledged writes are never lost; reads and writes of one register are
 * linearizable in the order of the log; the regions' logs are equal at the end. Rules are then
 * broken one by one, which must be caught.
 */
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
#define D 1000
#define DRIFT 20 /* permille */
#define RUN_MS (40 * D)
#define HEAL_MS (25 * D)

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
    RULE_NEST,        /* leases go beyond the hub's horizon */
    RULE_ACCEPTANCES, /* a hub opens with its own acceptance alone */
    RULE_COUNT
};

static const char *const rule_names[] = {
    "none",      "lease",          "lease-first",  "need",         "need-later",
    "committed", "older",          "drop-at-once", "join-at-once", "acknowledge",
    "majority",  "close-and-wait", "stamp",        "nested",       "acceptances"};

/* Rules whose absence these schedules do not show: they are argued for in docs/consistency.md. They
 * can be looked for with "seed N RULE"; no run claims to have tested them. */
static const bool is_argued[RULE_COUNT] = {[RULE_LEASE_FIRST] = true,
                                           [RULE_DROP] = true,
                                           [RULE_JOIN] = true,
                                           [RULE_STAMP] = true,
                                           [RULE_NEST] = true};

static const struct lease_rules rules = {.lease_ms = D, .drift_permille = DRIFT};
static enum rule broken;
static bool tells;

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

struct entry {
    int epoch, value; /* value 0: the marker of the epoch */
    int hub;          /* of a marker */
};

/* What its PostgreSQL keeps, and nothing else survives a crash. */
struct region {
    bool is_up;
    int accepted, closed; /* epochs; 0: not closed */
    int closing;          /* number of the wait that is under way */
    double rate;          /* of the machine's clock */
    int64_t offset;
    int len, marker, hub; /* of the last marker in its log */
    struct entry log[LOG_MAX];
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
    int best_marker, best_len;
    struct entry best[LOG_MAX];
};

/* What a process keeps in memory. */
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
    struct strong_set seen;
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
    bool was_leased;
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
    CRASH_GATEWAY,
    CRASH_REGION,
    START_GATEWAY,
    START_REGION,
    CUT,
    MEND
};

struct event {
    int64_t at;
    uint64_t order;
    enum event_kind kind;
    int from, to;  /* gateways or regions, by kind */
    int life;      /* of the gateway that goes on */
    int64_t stamp; /* of a question */
    int epoch, number, version, len, marker;
    int64_t granted;
    bool yes;
    enum strong_state state, next;
    struct entry *log; /* owned */
};

static int regions, majority;
static struct region region[REGIONS_MAX];
static struct gateway gateway[REGIONS_MAX * GATEWAYS];
static bool cut[REGIONS_MAX][REGIONS_MAX];
static bool is_healed;
static struct client_op ops[OPS_MAX];
static int op_count, last_value, last_epoch;
static int64_t now;
static uint64_t order;
static struct event *heap;
static int heap_count, heap_size;
static char failure[256];
static struct {
    int acked, reads, takeovers, leaves;
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

static bool is_before(const struct event *a, const struct event *b)
{
    return a->at != b->at ? a->at < b->at : a->order < b->order;
}

static void schedule(struct event event, int64_t delay)
{
    event.at = now + (delay > 0 ? delay : 0);
    event.order = order++;
    if (heap_count == heap_size) {
        heap_size = heap_size > 0 ? 2 * heap_size : 1024;
        heap = realloc(heap, (size_t) heap_size * sizeof(*heap));
        if (heap == NULL)
            abort();
    }
    int at = heap_count++;
    for (; at > 0 && is_before(&event, &heap[(at - 1) / 2]); at = (at - 1) / 2)
        heap[at] = heap[(at - 1) / 2];
    heap[at] = event;
}

static struct event take_event(void)
{
    struct event first = heap[0], last = heap[--heap_count];
    int at = 0;

    for (;;) {
        int child = 2 * at + 1;
        if (child >= heap_count)
            break;
        if (child + 1 < heap_count && is_before(&heap[child + 1], &heap[child]))
            child++;
        if (!is_before(&heap[child], &last))
            break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = last;
    return first;
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

    if (cut[from][to] || (!is_healed && from != to && happens(20))) {
        free(event.log);
        return;
    }
    if (!is_healed && happens(40))
        delay += chance(2 * D);
    if (!is_healed && event.log == NULL && happens(20))
        schedule(event, delay + chance(2 * D));
    schedule(event, delay);
}

/* ---- clocks ---- */

static int64_t gateway_now(const struct gateway *one)
{
    return one->offset + (int64_t) ((double) now * one->rate);
}

static int64_t region_now(const struct region *one)
{
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

/* ---- transactions ---- */

static bool is_hub(int at)
{
    const struct region *one = &region[at];

    return one->is_up && one->hub == at && one->accepted == one->marker && one->closed == 0;
}

static struct strong_set set_of(int at, const struct gateway *looks)
{
    const struct region *one = &region[at];
    struct strong_set set = {.epoch = one->marker};

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
            bool is_same = looks->seen.epoch == set.epoch && seen != NULL &&
                           seen->state == member.state && seen->version == member.version;
            member.seen_ms = is_same ? seen->seen_ms : gateway_now(looks);
        }
        set.at[set.count++] = member;
    }
    return set;
}

static void advance(int at)
{
    struct region *one = &region[at];
    struct strong_set set = set_of(at, NULL);
    int64_t acked[REGIONS_MAX];

    if (!is_hub(at))
        return;
    for (unsigned i = 0; i < set.count; i++)
        acked[i] = one->acked[set.at[i].ordinal - 1];
    int64_t committed =
        strong_committed(&set, broken == RULE_MAJORITY ? 1 : (unsigned) majority, one->len, acked);
    if (committed > one->committed)
        one->committed = (int) committed;
}

static void append(struct region *one, struct entry entry)
{
    if (one->len == LOG_MAX) {
        fail("the log of the simulation is full");
        return;
    }
    one->log[one->len++] = entry;
    if (entry.value == 0) {
        one->marker = entry.epoch;
        one->hub = entry.hub;
    }
}

static void find_marker(struct region *one)
{
    one->marker = 0;
    for (int i = 0; i < one->len; i++) {
        if (one->log[i].value == 0) {
            one->marker = one->log[i].epoch;
            one->hub = one->log[i].hub;
        }
    }
}

/* Entries of another log. What ours has beyond the place where a later epoch cut it is stranded. */
static void adopt(struct region *one, const struct entry *log, int len)
{
    int same = 0;

    while (same < one->len && same < len && memcmp(&one->log[same], &log[same], sizeof(*log)) == 0)
        same++;
    if (same == len)
        return;
    if (same < one->committed)
        fail("entries that are committed are cut");
    memcpy(one->log + same, log + same, (size_t) (len - same) * sizeof(*log));
    one->len = len;
    find_marker(one);
}

/* ---- gateways ---- */

static struct topology topology_of(const struct gateway *one)
{
    struct topology topology = {
        .epoch = one->epoch, .hub = (unsigned) one->hub + 1, .region_count = (unsigned) regions};

    for (int r = 0; r < regions; r++)
        topology.regions[r] =
            (struct topology_region){.ordinal = (unsigned) r + 1, .state = REGION_ONLINE};
    return topology;
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
}

static void beat(int at)
{
    struct gateway *one = &gateway[at];
    int own = one->region;

    schedule((struct event){.kind = BEAT, .from = at, .life = one->life},
             world_ms(one->rate, D / 10));
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
        if (r != own)
            send(own, r, question);
    }
    if (!is_hub(own))
        return;
    advance(own);
    if (region[own].committed > one->committed)
        one->committed = region[own].committed;
    struct strong_set set = set_of(own, one);
    one->seen = set;
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
    struct strong_set set = set_of(at, NULL);
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
    struct topology topology = topology_of(one);
    answer.kind = LEASE_TOLD;
    answer.len = own->committed;
    answer.granted = 0;
    if (strong_may_read(own->state[asker]) && topology.epoch == event->epoch)
        answer.granted = lease_grant_ms(
            &rules, broken == RULE_NEST ? INT64_MAX : promises_horizon(&one->promises, &topology),
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
    read_lease_take(&one->lease, event->epoch, event->stamp, event->granted, 0);
}

/* ---- exchange ---- */

static void poll(int at)
{
    const struct region *own = &region[at];

    schedule((struct event){.kind = POLL, .from = at}, 30 + chance(20));
    if (any_gateway(at) < 0)
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
    if (has_more) {
        answer.log = malloc((size_t) own->len * sizeof(*answer.log));
        if (answer.log == NULL)
            abort();
        memcpy(answer.log, own->log, (size_t) own->len * sizeof(*answer.log));
    }
    send(event->to, event->from, answer);
}

static void pull_told(const struct event *event)
{
    struct region *own = &region[event->to];

    if (any_gateway(event->to) < 0 || event->epoch < own->accepted)
        return;
    if (event->log != NULL &&
        (event->marker > own->marker || (event->marker == own->marker && event->len > own->len))) {
        adopt(own, event->log, event->len);
        if (own->marker > own->accepted)
            own->accepted = own->marker; /* an epoch that is open */
        if (own->closed != 0 && own->closed <= own->accepted)
            own->closed = 0;
    }
    if (event->marker == own->marker && event->version > own->committed)
        own->committed = event->version;
}

/* ---- takeover ---- */

static void take_over(int at)
{
    struct region *own = &region[at];

    schedule((struct event){.kind = TAKE_OVER, .from = (int) chance((uint32_t) regions)},
             4 * D + chance(9 * D));
    if (any_gateway(at) < 0)
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
                           .len = own->len};
    answer.log = malloc((size_t) own->len * sizeof(*answer.log) + 1);
    if (answer.log == NULL)
        abort();
    memcpy(answer.log, own->log, (size_t) own->len * sizeof(*answer.log));
    send(event->to, event->from, answer);
}

static void accept_told(const struct event *event)
{
    struct region *own = &region[event->to];
    int needed = broken == RULE_ACCEPTANCES ? 1 : regions - majority + 1;

    if (!own->is_up || own->proposed != event->epoch || own->has_accepted[event->from])
        return;
    own->has_accepted[event->from] = true;
    own->acceptances++;
    if (event->marker > own->best_marker ||
        (event->marker == own->best_marker && event->len > own->best_len)) {
        own->best_marker = event->marker;
        own->best_len = event->len;
        memcpy(own->best, event->log, (size_t) event->len * sizeof(*event->log));
    }
    if (own->acceptances < needed || !own->has_accepted[event->to] ||
        own->accepted != event->epoch || own->closed != 0 || own->marker >= event->epoch)
        return;
    own->proposed = 0;
    if (own->best_marker > own->marker ||
        (own->best_marker == own->marker && own->best_len > own->len))
        adopt(own, own->best, own->best_len);
    append(own, (struct entry){.epoch = event->epoch, .hub = event->to});
    memset(own->acked, 0, sizeof(own->acked));
    did.takeovers++;
    tell("region %d is the hub of epoch %d, with %d entries", event->to + 1, event->epoch,
         own->len);
}

/* ---- clients ---- */

static void begin_op(bool is_write)
{
    int at = (int) chance((uint32_t) (regions * GATEWAYS));

    schedule((struct event){.kind = is_write ? WRITE : READ},
             is_write ? 40 + chance(400) : 15 + chance(150));
    if (op_count == OPS_MAX)
        return;
    if (is_write) { /* clients know the hub, mostly */
        int hub = region[chance((uint32_t) regions)].hub;
        at = hub * GATEWAYS + (int) chance(GATEWAYS);
    }
    struct gateway *one = &gateway[at];
    if (!one->is_up || !region[one->region].is_up)
        return;
    struct client_op *op = &ops[op_count];
    *op = (struct client_op){.is_write = is_write,
                             .begun = now,
                             .deadline = now + 4 * D,
                             .gateway = at,
                             .life = one->life};
    if (is_write) {
        op->value = ++last_value;
        op->at = -1;
    }
    schedule(
        (struct event){.kind = is_write ? WRITE_WAITS : READ_CHECK, .number = op_count, .len = -1},
        moment());
    op_count++;
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

static void end_op(struct client_op *op, enum op_state state)
{
    op->state = state;
    op->ended = now;
    if (state == OP_ANSWERED && op->is_write)
        did.acked++;
    else if (state == OP_ANSWERED)
        did.reads++;
    if (state == OP_ANSWERED)
        tell("region %d, gateway %d: %s %d (begun %" PRId64 ", at %d)",
             gateway[op->gateway].region + 1, op->gateway % GATEWAYS,
             op->is_write ? "wrote" : "read", op->value, op->begun, op->at);
}

static void write_goes_on(const struct event *event)
{
    struct client_op *op = &ops[event->number];
    struct region *own = &region[gateway[op->gateway].region];

    if (is_gone(op))
        return;
    if (op->at < 0) {
        /* The range's lock, and what the write function checks under it. */
        if (own->hub != gateway[op->gateway].region || own->len == LOG_MAX - 20) {
            end_op(op, OP_REFUSED);
            return;
        }
        op->at = own->len;
        op->epoch = own->marker;
        append(own, (struct entry){.epoch = own->marker, .value = op->value});
    }
    bool is_there = op->at < own->len && own->log[op->at].value == op->value;
    if (is_there && (own->committed > op->at || broken == RULE_ACK) && own->marker == op->epoch) {
        end_op(op, OP_ANSWERED);
        return;
    }
    if (now > op->deadline) {
        end_op(op, OP_UNKNOWN);
        return;
    }
    schedule((struct event){.kind = WRITE_WAITS, .number = event->number}, 5 + chance(10));
}

static bool is_leased(const struct gateway *one, int epoch)
{
    struct topology topology = topology_of(one);

    if (one->epoch != epoch)
        return false;
    if (one->hub == one->region)
        return gateway_now(one) < promises_horizon(&one->promises, &topology);
    return read_lease_holds(&one->lease, epoch, gateway_now(one));
}

/* The value that a log of that length shows, and where it stands: behind its entry. */
static int value_of(const struct region *own, int len, int *at)
{
    int i = len;

    while (i > 0 && own->log[i - 1].value == 0)
        i--;
    *at = i > 0 ? i : len; /* that there is nothing is said by all of it */
    return i > 0 ? own->log[i - 1].value : 0;
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
    if (event->len < 0) { /* the snapshot */
        look_at_topology(one);
        op->was_leased = is_leased(one, own->marker);
        op->snapshot = own->len;
        op->epoch = own->marker;
        op->value = value_of(own, own->len, &op->at);
        schedule((struct event){.kind = READ_CHECK, .number = event->number}, moment());
        return;
    }
    bool leased = broken == RULE_LEASE ||
                  (broken == RULE_LEASE_FIRST ? op->was_leased : is_leased(one, op->epoch));
    int len = broken == RULE_NEED_LATER ? own->len : op->snapshot;
    bool has_needs = broken == RULE_NEED || one->hub == one->region || len >= one->need;
    if (!leased || !has_needs) {
        schedule((struct event){.kind = READ_CHECK, .number = event->number, .len = -1}, 20);
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
    schedule((struct event){.kind = READ_WAITS, .number = event->number}, 5 + chance(10));
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

static void cut_something(void)
{
    if (is_healed)
        return;
    int one = (int) chance((uint32_t) regions), other = (int) chance((uint32_t) regions);
    uint32_t how = chance(4);

    schedule((struct event){.kind = CUT}, D + chance(6 * D));
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
    for (int r = 0; r < regions; r++)
        cut[at][r] = cut[r][at] = false;
}

/* ---- what must be true ---- */

static int position_of(const struct region *final, int value)
{
    for (int i = 0; i < final->len; i++) {
        if (final->log[i].value == value && value != 0)
            return i + 1;
    }
    return value == 0 ? 0 : -1;
}

/*
 * In the order of the final log: an operation that ended before another began does not stand behind
 * it. Two reads of one version may stand at one place, and reads stand behind the write they saw.
 */
static void check_history(const struct region *final)
{
    static int place[OPS_MAX];

    for (int i = 0; i < op_count; i++) {
        place[i] = position_of(final, ops[i].value);
        if (ops[i].state == OP_ANSWERED && place[i] < 0)
            fail("%s %d was acknowledged and is lost", ops[i].is_write ? "write" : "read of",
                 ops[i].value);
    }
    for (int i = 0; i < op_count && failure[0] == '\0'; i++) {
        if (ops[i].state != OP_ANSWERED)
            continue;
        for (int j = 0; j < op_count; j++) {
            if (ops[j].state != OP_ANSWERED || ops[i].ended >= ops[j].begun)
                continue;
            bool is_wrong = ops[j].is_write ? place[i] >= place[j] : place[i] > place[j];
            if (is_wrong)
                fail("%s %d at %d, ended %" PRId64 ", stands behind %s %d at %d, begun %" PRId64,
                     ops[i].is_write ? "write" : "read of", ops[i].value, place[i], ops[i].ended,
                     ops[j].is_write ? "write" : "read of", ops[j].value, place[j], ops[j].begun);
        }
        /* A read may not see what was not yet begun to be written. */
        for (int j = 0; j < op_count && !ops[i].is_write; j++) {
            if (ops[j].is_write && ops[j].value == ops[i].value && ops[i].ended < ops[j].begun)
                fail("value %d was read before it was written", ops[i].value);
        }
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
        bool is_equal = region[r].len == region[best].len &&
                        memcmp(region[r].log, region[best].log,
                               (size_t) region[r].len * sizeof(struct entry)) == 0;
        if (!is_equal)
            fail("region %d has not what region %d has", r + 1, best + 1);
    }
    check_history(&region[best]);
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
            take_over(event->from);
        break;
    case WRITE:
    case READ:
        if (now < RUN_MS)
            begin_op(event->kind == WRITE);
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
    }
}

static void heal(void)
{
    is_healed = true;
    memset(cut, 0, sizeof(cut));
    tell("all is healed");
    for (int r = 0; r < regions; r++) {
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
    majority = regions / 2 + 1;
    memset(region, 0, sizeof(region));
    memset(gateway, 0, sizeof(gateway));
    memset(cut, 0, sizeof(cut));
    is_healed = false;
    op_count = last_value = 0;
    last_epoch = 1;
    now = 0;
    failure[0] = '\0';
    for (int r = 0; r < regions; r++) {
        region[r].is_up = true;
        region[r].accepted = 1;
        region[r].rate = some_rate();
        region[r].offset = chance(1000000);
        append(&region[r], (struct entry){.epoch = 1, .hub = 0});
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
    if (happens(800))
        schedule((struct event){.kind = TAKE_OVER, .from = (int) chance((uint32_t) regions)},
                 3 * D + chance(10 * D));
    if (happens(700))
        schedule((struct event){.kind = CRASH_GATEWAY}, chance(8 * D));
    if (happens(500))
        schedule((struct event){.kind = CRASH_REGION}, chance(12 * D));
    if (happens(800))
        schedule((struct event){.kind = CUT}, chance(5 * D));
}

/* True when nothing was wrong. */
static bool run(uint64_t seed)
{
    chance_state = seed * 0x2545f4914f6cdd1dULL + 1;
    begin_world();
    while (heap_count > 0 && failure[0] == '\0') {
        if (heap[0].at > RUN_MS + D && !is_healed) {
            now = RUN_MS + D;
            heal();
            continue;
        }
        if (heap[0].at > RUN_MS + HEAL_MS)
            break;
        struct event event = take_event();
        now = event.at;
        handle(&event);
        free(event.log);
    }
    if (failure[0] == '\0')
        check_end();
    while (heap_count > 0)
        free(heap[--heap_count].log);
    order = 0;
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
    printf("%" PRIu64
           " runs: %d writes acknowledged, %d reads, %d takeovers, %d regions left the set\n",
           runs, did.acked, did.reads, did.takeovers, did.leaves);
    /* A simulation in which nothing happens finds nothing. */
    if (did.acked < (int) runs || did.reads < (int) runs || did.takeovers < (int) runs / 2)
        return 1;
    for (int rule = RULE_NONE + 1; rule < RULE_COUNT; rule++) {
        uint64_t seed = first, most = first + 5 * runs;
        if (is_argued[rule])
            continue;
        broken = (enum rule) rule;
        while (seed < most && run(seed))
            seed++;
        if (seed == most) {
            printf("without rule %s nothing fails\n", rule_names[rule]);
            missed++;
        } else {
            printf("without rule %s seed %" PRIu64 " fails: %s\n", rule_names[rule], seed, failure);
        }
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
    free(heap);
    return status;
}
