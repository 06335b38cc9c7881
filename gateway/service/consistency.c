#include "service/consistency.h"

#include "base/testpoint.h"
#include "loop/pgvalue.h"
#include "store/levels.h"
#include "store/progress.h"
#include "store/regions.h"

#include <inttypes.h>

#include "base/banned.h"

/* What a read consistency strategy is as a level; false for those that no level is. A region is one
 * PostgreSQL, so that what is committed in it is what any read of it sees. */
static bool strategy_level(struct slice strategy, enum consistency_level *level)
{
    static const struct {
        const char *name;
        enum consistency_level level;
    } strategies[] = {{"Eventual", LEVEL_EVENTUAL},
                      {"Session", LEVEL_SESSION},
                      {"LatestCommitted", LEVEL_CONSISTENT_PREFIX},
                      {"GlobalStrong", LEVEL_STRONG}};

    for (unsigned i = 0; i < ARRAY_LEN(strategies); i++) {
        if (slice_equals_nocase(strategy, strategies[i].name)) {
            *level = strategies[i].level;
            return true;
        }
    }
    return false;
}

static bool choose_level(struct call *call, enum consistency_level *level)
{
    const struct headers *headers = &call->request.headers;
    enum consistency_level account = regions_current()->topology.level;
    struct slice asked = slice_trim(headers->at[HEADER_CONSISTENCY_LEVEL]);
    struct slice strategy = slice_trim(headers->at[HEADER_READ_CONSISTENCY_STRATEGY]);
    struct fault *fault = &call->op.fault;

    *level = account;
    /* "Default" asks for nothing; the Java SDK sends it beside a level. */
    if (!slice_is_empty(strategy) && !slice_equals_nocase(strategy, "Default")) {
        if (!slice_is_empty(asked))
            return fault_set(fault, 400, SUB_NONE,
                             "x-ms-consistency-level and x-ms-cosmos-read-consistency-strategy "
                             "exclude each other");
        if (!strategy_level(strategy, level))
            return fault_set(fault, 400, SUB_NONE, "there is no read consistency strategy \"%.*s\"",
                             FAULT_QUOTE(strategy));
    } else if (slice_is_empty(asked)) {
        return true;
    } else if (!consistency_level_find(asked, level)) {
        return fault_set(fault, 400, SUB_NONE, "there is no consistency level \"%.*s\"",
                         FAULT_QUOTE(asked));
    }
    if (*level < account)
        return fault_set(fault, 400, SUB_NONE,
                         "consistency level %s is stronger than the account's level %s; a request "
                         "may only weaken it",
                         consistency_level_name(*level), consistency_level_name(account));
    return true;
}

bool consistency_parse(struct consistency *consistency, struct call *call)
{
    struct slice header = slice_trim(call->request.headers.at[HEADER_SESSION_TOKEN]);

    *consistency = (struct consistency){0};
    if (!choose_level(call, &consistency->level))
        return false;
    if (slice_is_empty(header))
        return true;
    if (!session_parse(&consistency->token, header, &call->op.arena, &call->op.fault))
        return false;
    consistency->has_token = consistency->level == LEVEL_SESSION;
    return true;
}

/* ---- a range's state, as tokens see it ---- */

static const struct range_epoch *epoch_of(const struct call *call, const struct pkrange *range)
{
    return &call->container->epochs[range - call->container->ranges];
}

static struct session_state make_state(const struct range_epoch *known, const int64_t *vector,
                                       size_t vector_len)
{
    return (struct session_state){.epoch = known->epoch,
                                  .live_count = known->live_count,
                                  .live = known->live,
                                  .vector_count = vector_len,
                                  .vector = vector,
                                  .cut_count = known->cut_count,
                                  .cuts = known->cuts};
}

/*
 * This region has everything that it ever acknowledged, so a token that names more of it was made
 * for another container (or by nobody).
 */
static bool is_foreign(const struct session_token *token, uint32_t self, uint32_t range_index,
                       const struct session_state *state)
{
    const struct session_part *parts;
    size_t count = session_find(token, range_index, &parts);

    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < parts[i].origin_count; j++) {
            const struct session_origin *origin = &parts[i].origins[j];
            int64_t reached = self <= state->vector_count ? state->vector[self - 1] : 0;
            if (origin->ordinal == self && origin->lsn > reached &&
                parts[i].version <= state->epoch)
                return true;
        }
    }
    return false;
}

/* One header for all that is lost, each piece once: a query looks at a range more than once. */
static bool add_lost(struct call *call, const char *piece)
{
    static const char name[] = "x-ms-orrery-session-lost";
    struct reply *reply = &call->reply;

    for (size_t i = 0; i < reply->header_count; i++) {
        struct reply_header *header = &reply->headers[i];
        if (strcmp(header->name, name) != 0)
            continue;
        if (strstr(header->value, piece) == NULL)
            header->value = arena_printf(&call->op.arena, "%s,%s", header->value, piece);
        return header->value != NULL;
    }
    reply_header(reply, name, piece);
    return true;
}

/* What a forced failover cut away of what the client had seen is told, and no more waited for. */
static bool tell_losses(struct call *call, const struct session_token *token, uint32_t range_index,
                        const struct session_state *state)
{
    const struct session_part *parts;
    size_t count = session_find(token, range_index, &parts);
    struct session_lost losses[SESSION_ORIGINS_MAX];

    for (size_t i = 0; i < count; i++) {
        size_t lost = session_losses(&parts[i], state, losses, ARRAY_LEN(losses));
        for (size_t j = 0; j < lost; j++) {
            const char *text =
                arena_printf(&call->op.arena, "%" PRIu32 ":%" PRIu32 "#%" PRId64 "-%" PRId64,
                             range_index, losses[j].ordinal, losses[j].from + 1, losses[j].to);
            if (text == NULL || !add_lost(call, text))
                return fault_set_oom(&call->op.fault);
        }
    }
    return true;
}

static enum consistency_end check_token(const struct consistency *consistency, struct call *call,
                                        const struct range_epoch *known, const int64_t *lsns,
                                        size_t count)
{
    const struct session_token *token = &consistency->token;
    const struct pkrange *range = consistency->range;
    struct session_state state = make_state(known, lsns, count);

    if (session_check(token, range->index, range->parents, range->parent_count, &state) ==
        SESSION_SATISFIED)
        return tell_losses(call, token, range->index, &state) ? CONSISTENCY_MET : CONSISTENCY_FAULT;
    if (!is_foreign(token, regions_current()->self, range->index, &state))
        return CONSISTENCY_WAITS;
    /* Not a 400: SDKs keep tokens by the container's name, and drop them on 404/1002 when it was
     * made anew under that name. */
    fault_set(&call->op.fault, 404, SUB_READ_SESSION_NOT_AVAILABLE,
              "the session token names changes of this region that it never made: it is of another "
              "container");
    return CONSISTENCY_FAULT;
}

/* ---- leases ---- */

/* Looked at after the snapshot was taken: that the lease holds now means that it held then. */
static bool may_show(enum consistency_level level, const struct regions *regions, int64_t range_id,
                     int64_t epoch, const int64_t *lsns, size_t count)
{
    const struct topology *topology = &regions->topology;

    if (!levels_may_read(topology, regions->self, epoch))
        return false;
    if (topology->hub == regions->self)
        return true;
    if (!levels_has_needs(range_id, lsns, count))
        return false;
    if (level == LEVEL_STRONG)
        return true;
    int64_t hub_lsn = topology->hub <= count ? lsns[topology->hub - 1] : 0;
    int64_t synced_ms = levels_synced_ms(range_id, hub_lsn);
    return synced_ms != INT64_MIN && levels_now_ms() - synced_ms <= 1000 * topology->bounded_s;
}

/* Keep what must be committed before it is shown; without an entry it is the snapshot's vector. */
static enum consistency_end want(struct consistency *consistency, struct call *call,
                                 int64_t range_id, const int64_t *lsns, size_t count)
{
    bool is_entry = consistency->entry_origin != 0;
    bool is_there =
        is_entry ? levels_has_entry(range_id, consistency->entry_origin, consistency->entry_lsn)
                 : levels_is_committed(range_id, lsns, count);

    consistency->range_id = range_id;
    if (is_there)
        return CONSISTENCY_MET;
    if (is_entry)
        return CONSISTENCY_SETTLES;
    consistency->wanted =
        (const int64_t *) arena_copy(&call->op.arena, lsns, count * sizeof(*lsns));
    if (consistency->wanted == NULL) {
        fault_set_oom(&call->op.fault);
        return CONSISTENCY_FAULT;
    }
    consistency->wanted_len = count;
    return CONSISTENCY_SETTLES;
}

static enum consistency_end check(struct consistency *consistency, struct call *call,
                                  const struct pkrange *range, int64_t epoch, struct slice vector)
{
    const struct regions *regions = regions_current();
    const struct range_epoch *known = epoch_of(call, range);
    int64_t lsns[STORE_VECTOR_MAX], range_id = pkrange_id(call->container->number, range->index);
    enum consistency_level level = consistency->level;
    bool needs_lease = regions->is_replicating && level <= LEVEL_BOUNDED_STALENESS &&
                       !testpoint_is_broken(level == LEVEL_STRONG ? "strong-read" : "bounded-read");
    bool settles =
        regions->is_replicating && ((level == LEVEL_STRONG && needs_lease) || consistency->settles);

    consistency->range = range;
    if (known->epoch != epoch)
        return CONSISTENCY_GONE;
    if (!consistency->has_token && !needs_lease && !settles)
        return CONSISTENCY_MET;
    size_t count = pgvalue_int8_array(vector, lsns, ARRAY_LEN(lsns));
    if (consistency->has_token && !testpoint_is_broken("session-wait")) {
        enum consistency_end end = check_token(consistency, call, known, lsns, count);
        if (end != CONSISTENCY_MET)
            return end;
    }
    if (needs_lease && !may_show(level, regions, range_id, epoch, lsns, count))
        return CONSISTENCY_WAITS;
    return settles ? want(consistency, call, range_id, lsns, count) : CONSISTENCY_MET;
}

enum consistency_end consistency_check(struct consistency *consistency, struct call *call,
                                       const struct pkrange *range, int64_t epoch,
                                       struct slice vector)
{
    consistency->entry_origin = 0;
    return check(consistency, call, range, epoch, vector);
}

enum consistency_end consistency_check_item(struct consistency *consistency, struct call *call,
                                            const struct pkrange *range, const struct item_row *row)
{
    /* That there is no item may be a deletion, whose entry is not known here. */
    consistency->entry_origin = row->exists ? row->origin : 0;
    consistency->entry_lsn = row->lsn;
    return check(consistency, call, range, row->epoch, row->vector);
}

/* ---- waiting ---- */

/* Other gateways of the region move ranges without a word to this one. */
#define LOOK_MS 40
/* Kept of the request's time for the last look and the answer. */
#define ANSWER_MS 50

static op_step look_again;

/* How long a request may wait in all: for its token, or for a lease and what that covers. */
static int64_t most_ms(const struct consistency *consistency, struct op *op)
{
    const struct config *config = call_of(op)->service->config;
    int64_t left_ms = op_time_left_ms(op) - ANSWER_MS;
    int64_t bound_ms = consistency->has_token ? config->session_wait_ms : config->lease_ms;

    return left_ms < bound_ms ? left_ms : bound_ms;
}

static enum op_next give_up(const struct consistency *consistency, struct op *op)
{
    if (consistency->has_token)
        return call_fail(op, 404, SUB_READ_SESSION_NOT_AVAILABLE,
                         "the read session is not available for the input session token");
    fault_set(&op->fault, 503, SUB_NONE,
              "this region cannot tell now whether it has all that consistency level %s asks for",
              consistency_level_name(consistency->level));
    op->fault.retry_after_ms = 1000;
    return OP_FAILED;
}

enum op_next consistency_wait(struct consistency *consistency, struct op *op, op_step *again)
{
    int64_t now_ms = op->loop->now_ms;
    int64_t range_id = pkrange_id(call_of(op)->container->number, consistency->range->index);

    if (consistency->until_ms == 0)
        consistency->until_ms = now_ms + most_ms(consistency, op);
    if (now_ms >= consistency->until_ms)
        return give_up(consistency, op);
    int64_t left_ms = consistency->until_ms - now_ms;
    bool is_first = consistency->range_id != range_id || consistency->again == NULL;
    uint64_t mark = consistency->mark;
    consistency->range_id = range_id;
    consistency->again = again;
    op->waiting_for = consistency;
    /* What moved before the first mark was taken is seen by looking once more. */
    if (is_first)
        return op_again(op, look_again);
    return progress_wait_since(op, range_id, mark, left_ms < LOOK_MS ? left_ms : LOOK_MS,
                               look_again);
}

static enum op_next look_again(struct op *op)
{
    struct consistency *consistency = op->waiting_for;

    consistency->mark = progress_mark(consistency->range_id);
    return op_again(op, consistency->again);
}

/* ---- waiting for what is to be committed ---- */

/* Somebody else tells it to store/levels.h; waiting ops say from time to time that they do. */
#define SETTLE_LOOK_MS 1000

static op_step settle_woken;

static bool is_settled(const struct consistency *consistency)
{
    return consistency->entry_origin != 0
               ? levels_has_entry(consistency->range_id, consistency->entry_origin,
                                  consistency->entry_lsn)
               : levels_is_committed(consistency->range_id, consistency->wanted,
                                     consistency->wanted_len);
}

static enum op_next give_up_settling(const struct consistency *consistency, struct op *op)
{
    if (consistency->is_commit && consistency->is_change)
        return call_fail(op, 408, SUB_NONE,
                         "the write is done in this region, and it is not known yet whether in all "
                         "that must have it");
    fault_set(&op->fault, 503, SUB_NONE,
              "what this region has is not known to be in all regions that must have it");
    op->fault.retry_after_ms = 1000;
    return OP_FAILED;
}

static enum op_next settle(struct consistency *consistency, struct op *op)
{
    int64_t left_ms = consistency->settle_until_ms - op->loop->now_ms;
    uint64_t mark = progress_mark(consistency->range_id);

    op->waiting_for = consistency;
    if (is_settled(consistency))
        return op_again(op, consistency->settled);
    if (left_ms <= 0)
        return give_up_settling(consistency, op);
    levels_wait();
    enum op_next next =
        progress_wait_since(op, consistency->range_id, mark,
                            left_ms < SETTLE_LOOK_MS ? left_ms : SETTLE_LOOK_MS, settle_woken);
    if (next == OP_WAIT && consistency->is_commit && consistency->is_change)
        op->waits = OP_WAITS_WRITE;
    return next;
}

static enum op_next settle_woken(struct op *op)
{
    return settle(op->waiting_for, op);
}

enum op_next consistency_settle(struct consistency *consistency, struct op *op, op_step *next)
{
    int64_t left_ms = op_time_left_ms(op) - ANSWER_MS;
    int64_t bound_ms = call_of(op)->service->config->lease_ms;

    consistency->settled = next;
    consistency->is_commit = false;
    consistency->settle_until_ms = op->loop->now_ms + (left_ms < bound_ms ? left_ms : bound_ms);
    return settle(consistency, op);
}

enum op_next consistency_settle_range(struct consistency *consistency, struct op *op,
                                      const struct pkrange *range, const int64_t *vector,
                                      size_t vector_len, op_step *next)
{
    consistency->range_id = pkrange_id(call_of(op)->container->number, range->index);
    consistency->entry_origin = 0;
    consistency->wanted = vector;
    consistency->wanted_len = vector_len;
    return consistency_settle(consistency, op, next);
}

enum op_next consistency_commit(struct consistency *consistency, struct op *op,
                                const struct write *write, op_step *next)
{
    const struct regions *regions = regions_current();
    unsigned self = regions->self;

    if (!regions->is_replicating || self > write->vector_len)
        return op_again(op, next);
    levels_wrote(write->range_id, write->vector[self - 1]);
    if (regions->topology.level != LEVEL_STRONG || testpoint_is_broken("strong-ack"))
        return op_again(op, next);
    consistency->is_commit = true;
    consistency->is_change = false;
    for (unsigned i = 0; i < write->count; i++) {
        const struct write_operation *operation = &write->operations[i];
        consistency->is_change |= operation->status < 300 && operation->kind < WRITE_CHECK;
    }
    consistency->range_id = write->range_id;
    consistency->entry_origin = self;
    consistency->entry_lsn = write->vector[self - 1];
    consistency->settled = next;
    consistency->settle_until_ms = op->loop->now_ms + op_time_left_ms(op) - ANSWER_MS;
    return settle(consistency, op);
}

/* ---- before a write ---- */

struct admission {
    struct consistency *consistency;
    void *self; /* of the handler */
    op_step *next, *gone;
};

static op_step admit_ask, admit_came; /* has the range what the token names? */

/* Under Bounded staleness; PostgreSQL holds to the number of versions under the range's lock. */
static enum op_next slow_down(struct op *op, const struct pkrange *range, op_step *next)
{
    const struct regions *regions = regions_current();
    const struct topology *topology = &regions->topology;

    if (!regions->is_replicating || topology->level != LEVEL_BOUNDED_STALENESS ||
        testpoint_is_broken("bounded-write"))
        return op_again(op, next);
    struct bounded_limits limits = {.versions = topology->bounded_versions,
                                    .ms = 1000 * topology->bounded_s};
    struct levels_lag lag =
        levels_lag(pkrange_id(call_of(op)->container->number, range->index), regions->self);
    int64_t delay_ms = bounded_delay_ms(&limits, lag.versions, lag.age_ms);
    if (delay_ms == 0)
        return op_again(op, next);
    if (delay_ms > 0)
        return op_sleep(op, delay_ms, next);
    return store_fault_behind(&op->fault) ? OP_DONE : OP_FAILED;
}

enum op_next consistency_admit(struct consistency *consistency, struct op *op,
                               const struct pkrange *range, op_step *next, op_step *gone)
{
    if (!consistency->has_token || regions_current()->topology.mode != TOPOLOGY_MULTI_WRITE ||
        testpoint_is_broken("write-session-wait"))
        return slow_down(op, range, next);
    struct admission *admission = arena_alloc(&op->arena, sizeof(*admission));
    if (admission == NULL) {
        fault_set_oom(&op->fault);
        return OP_FAILED;
    }
    *admission = (struct admission){
        .consistency = consistency, .self = op->self, .next = next, .gone = gone};
    consistency->range = range;
    op->self = admission;
    return admit_ask(op);
}

static enum op_next admit_ask(struct op *op)
{
    const struct consistency *consistency = op_self(op, struct admission)->consistency;
    struct call *call = call_of(op);
    struct pgio_statement statement = {
        .key = store_statement_key(STATEMENT_RANGE_STATE, 0),
        .planning = PGIO_PLANS_POINT,
        .sql = "select epoch, vector from orrery.ranges where range_id = $1"};
    struct pgparams params = {0};

    pgparams_int8(&params, pkrange_id(call->container->number, consistency->range->index));
    return store_query(&call->service->store, op, STORE_READS, &statement, &params, admit_came);
}

static enum op_next admit_came(struct op *op)
{
    const struct admission *admission = op_self(op, struct admission);
    struct consistency *consistency = admission->consistency;
    enum consistency_end end = CONSISTENCY_GONE;

    if (!store_check(op, STORE_READS))
        end = CONSISTENCY_FAULT;
    else if (pgio_row_count(op->result) > 0)
        end = consistency_check(consistency, call_of(op), consistency->range,
                                pgio_int8(op->result, 0, 0), pgio_value(op->result, 0, 1));
    if (end == CONSISTENCY_WAITS)
        return consistency_wait(consistency, op, admit_ask);
    op->self = admission->self;
    if (end == CONSISTENCY_FAULT)
        return OP_FAILED;
    return end == CONSISTENCY_GONE ? op_again(op, admission->gone)
                                   : slow_down(op, consistency->range, admission->next);
}

/* ---- answers ---- */

void consistency_append(struct buf *out, const struct call *call, const struct pkrange *range,
                        int64_t epoch, const int64_t *vector, size_t vector_len)
{
    const struct range_epoch *known = epoch_of(call, range);
    struct session_state state = make_state(known, vector, vector_len);

    /* Without the regions of that epoch a token would be a wrong one. */
    if (known->epoch == epoch)
        session_append(out, range->index, &state);
}

void consistency_reply(struct call *call, const struct pkrange *range, int64_t epoch,
                       const int64_t *vector, size_t vector_len)
{
    struct buf text = {0};
    int64_t lsn = 0;

    consistency_append(&text, call, range, epoch, vector, vector_len);
    if (!text.has_failed && text.len > 0)
        reply_header(&call->reply, "x-ms-session-token",
                     arena_copy(&call->op.arena, text.ptr, text.len));
    buf_finish(&text);
    /* As in the middle of a session token: it grows with the vector, in every region. */
    for (size_t i = 0; i < vector_len; i++)
        lsn += vector[i];
    reply_header_i64(&call->reply, &call->op.arena, "lsn", lsn);
}
