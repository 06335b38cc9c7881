#include "service/consistency.h"

#include "base/testpoint.h"
#include "loop/pgvalue.h"
#include "store/progress.h"
#include "store/regions.h"
#include "store/writes.h"

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

enum consistency_end consistency_check(struct consistency *consistency, struct call *call,
                                       const struct pkrange *range, int64_t epoch,
                                       struct slice vector)
{
    const struct range_epoch *known = epoch_of(call, range);
    const struct session_token *token = &consistency->token;
    int64_t lsns[STORE_VECTOR_MAX];

    consistency->range = range;
    if (known->epoch != epoch)
        return CONSISTENCY_GONE;
    if (!consistency->has_token || testpoint_is_broken("session-wait"))
        return CONSISTENCY_MET;
    size_t count = pgvalue_int8_array(vector, lsns, ARRAY_LEN(lsns));
    struct session_state state = make_state(known, lsns, count);
    if (session_check(token, range->index, range->parents, range->parent_count, &state) ==
        SESSION_SATISFIED)
        return tell_losses(call, token, range->index, &state) ? CONSISTENCY_MET : CONSISTENCY_FAULT;
    if (!is_foreign(token, regions_current()->self, range->index, &state))
        return CONSISTENCY_WAITS;
    fault_set(&call->op.fault, 400, SUB_NONE,
              "the session token names changes of this region that it never made: it is of another "
              "container");
    return CONSISTENCY_FAULT;
}

/* ---- waiting ---- */

/* Other gateways of the region move ranges without a word to this one. */
#define LOOK_MS 40
/* Kept of the request's time for the last look and the answer. */
#define ANSWER_MS 50

static op_step look_again;

enum op_next consistency_wait(struct consistency *consistency, struct op *op, op_step *again)
{
    struct call *call = call_of(op);
    int64_t now_ms = op->loop->now_ms,
            range_id = pkrange_id(call->container->number, consistency->range->index);

    if (consistency->until_ms == 0) {
        int64_t most_ms = op_time_left_ms(op) - ANSWER_MS;
        if (most_ms > call->service->config->session_wait_ms)
            most_ms = call->service->config->session_wait_ms;
        consistency->until_ms = now_ms + most_ms;
    }
    if (now_ms >= consistency->until_ms)
        return call_fail(op, 404, SUB_READ_SESSION_NOT_AVAILABLE,
                         "the read session is not available for the input session token");
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

bool consistency_guards_writes(const struct consistency *consistency)
{
    return consistency->has_token && regions_current()->topology.mode == TOPOLOGY_MULTI_WRITE &&
           !testpoint_is_broken("write-session-wait");
}

/* ---- a range without its items ---- */

struct reach {
    struct consistency *consistency;
    void *self; /* of the handler */
    op_step *next, *gone;
};

static op_step reach_ask, reach_came;

enum op_next consistency_reach(struct consistency *consistency, struct op *op,
                               const struct pkrange *range, op_step *next, op_step *gone)
{
    struct reach *reach = arena_alloc(&op->arena, sizeof(*reach));

    if (reach == NULL) {
        fault_set_oom(&op->fault);
        return OP_FAILED;
    }
    *reach =
        (struct reach){.consistency = consistency, .self = op->self, .next = next, .gone = gone};
    consistency->range = range;
    op->self = reach;
    return reach_ask(op);
}

static enum op_next reach_ask(struct op *op)
{
    const struct reach *reach = op_self(op, struct reach);
    struct call *call = call_of(op);
    struct pgio_statement statement = {
        .key = store_statement_key(STATEMENT_RANGE_STATE, 0),
        .sql = "select epoch, vector from orrery.ranges where range_id = $1"};
    struct pgparams params = {0};

    pgparams_int8(&params, pkrange_id(call->container->number, reach->consistency->range->index));
    return store_query(&call->service->store, op, STORE_READS, &statement, &params, reach_came);
}

static enum op_next reach_came(struct op *op)
{
    const struct reach *reach = op_self(op, struct reach);
    enum consistency_end end = CONSISTENCY_GONE;

    if (!store_check(op, STORE_READS))
        end = CONSISTENCY_FAULT;
    else if (pgio_row_count(op->result) > 0)
        end = consistency_check(reach->consistency, call_of(op), reach->consistency->range,
                                pgio_int8(op->result, 0, 0), pgio_value(op->result, 0, 1));
    if (end == CONSISTENCY_WAITS)
        return consistency_wait(reach->consistency, op, reach_ask);
    op->self = reach->self;
    if (end == CONSISTENCY_FAULT)
        return OP_FAILED;
    return op_again(op, end == CONSISTENCY_MET ? reach->next : reach->gone);
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
    uint32_t ordinal = regions_current()->self;
    struct buf text = {0};

    consistency_append(&text, call, range, epoch, vector, vector_len);
    if (!text.has_failed && text.len > 0)
        reply_header(&call->reply, "x-ms-session-token",
                     arena_copy(&call->op.arena, text.ptr, text.len));
    buf_finish(&text);
    if (ordinal <= vector_len)
        reply_header_i64(&call->reply, &call->op.arena, "lsn", vector[ordinal - 1]);
}
