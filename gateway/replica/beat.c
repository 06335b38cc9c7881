#include "replica/beat.h"

#include "base/log.h"
#include "replica/call.h"
#include "replica/status.h"
#include "store/levels.h"
#include "store/regions.h"
#include "store/schema.h"

#include <assert.h>
#include <inttypes.h>

#include "base/banned.h"

#define PATH "/_orrery/beat"
/* While somebody waits for something to be committed. */
#define FAST_MS 20
#define OP_BYTES_MAX (2u * BEAT_ANSWER_BYTES_MAX)

static op_step beat_ask;
static op_step beat_answered; /* keep the promise or the lease */
static op_step look_begin;
static op_step look_came; /* what is committed, and what is not yet */
static op_step set_ask;   /* at the hub, every D/10 */
static op_step set_came;
static op_step member_next; /* decide about the members, one after the other */
static op_step member_moved;

static bool is_needed(const struct regions *regions)
{
    return regions->is_replicating && regions->topology.level <= LEVEL_BOUNDED_STALENESS;
}

static int64_t pace_ms(void)
{
    int64_t pace = levels_rules()->lease_ms / 10;

    return pace > FAST_MS ? pace : FAST_MS;
}

static void answered(struct op *op)
{
    if (op->fault.status != 0)
        log_debug(&op->log, "beat not given", "reason=\"%s\"", op->fault.message);
}

/* ---- leases ---- */

static void peer_released(struct op *op)
{
    struct beat_peer *peer = container_of(op, struct beat_peer, op);

    arena_finish(&op->arena);
    peer->is_running = false;
}

static void begin_peer(struct beat_peer *peer, const struct regions *regions)
{
    if (peer->is_running)
        return;
    peer->is_running = true;
    peer->epoch = regions->topology.epoch;
    peer->kind = regions->topology.hub == regions->self ? BEAT_PROMISE : BEAT_LEASE;
    peer->op = (struct op){0};
    op_init(&peer->op, peer->beats->replica->loop, OP_BYTES_MAX, answered, peer_released);
    peer->op.log.route = "beat";
    op_start(&peer->op, beat_ask, levels_rules()->lease_ms);
}

static enum op_next beat_ask(struct op *op)
{
    struct beat_peer *peer = container_of(op, struct beat_peer, op);
    const struct regions *regions = regions_current();
    struct beat_question question = {.hello = {.account = regions->topology.account,
                                               .ordinal = regions->self,
                                               .schema = (uint32_t) schema_migrations_count,
                                               .epoch = peer->epoch},
                                     .kind = peer->kind,
                                     .since = peer->beats->since};

    peer->question.len = 0;
    beat_print_question(&peer->question, &question);
    if (peer->question.has_failed) {
        fault_set_oom(&op->fault);
        return OP_FAILED;
    }
    struct replica_request request = {.ordinal = peer->ordinal,
                                      .path = PATH,
                                      .body = buf_slice(&peer->question),
                                      .timeout_ms = (int) levels_rules()->lease_ms,
                                      .answer_bytes_max = BEAT_ANSWER_BYTES_MAX};
    peer->asked_ms = levels_now_ms(); /* the stamp, before anything leaves */
    return replica_call(peer->beats->replica->peers, op, &request, beat_answered);
}

/* All ranges first, the lease last: it may be used from that moment on. */
static bool take_lease(struct beat_peer *peer, struct beat_answer *answer, struct fault *fault)
{
    struct beat_range range;

    for (;;) {
        switch (beat_next_range(answer, &range)) {
        case BEAT_RANGE:
            if (!levels_need(range.range_id, range.committed, range.committed_len, range.head,
                             peer->asked_ms))
                return fault_set_oom(fault);
            continue;
        case BEAT_MALFORMED:
            return fault_set(fault, 400, SUB_NONE, "the hub's beat is malformed");
        case BEAT_END:
            levels_needed(peer->asked_ms);
            levels_leased(peer->epoch, peer->asked_ms, answer->lease_ms, answer->set_version);
            peer->beats->since = answer->since;
            return true;
        }
    }
}

static enum op_next beat_answered(struct op *op)
{
    struct beat_peer *peer = container_of(op, struct beat_peer, op);
    const struct peer_answer *said = replica_answer(op);
    struct beat_answer answer;

    if (said->status != 200)
        return fault_set(&op->fault, 503, SUB_NONE, "region %u: %s", peer->ordinal,
                         replica_complaint(op))
                   ? OP_DONE
                   : OP_FAILED;
    if (!beat_parse_answer(&answer, peer->kind, said->body, &op->fault))
        return OP_FAILED;
    /* Under another epoch it answers another question. */
    if (regions_current()->topology.epoch != peer->epoch || peer->beats->epoch != peer->epoch)
        return OP_DONE;
    if (peer->kind == BEAT_LEASE)
        return take_lease(peer, &answer, &op->fault) ? OP_DONE : OP_FAILED;
    if (answer.promised)
        levels_promised(peer->ordinal, peer->epoch, peer->asked_ms);
    return OP_DONE;
}

/* ---- this region's ranges ---- */

static void look_released(struct op *op)
{
    struct beats *beats = container_of(op, struct beats, look);

    arena_finish(&op->arena);
    beats->is_looking = false;
}

static void begin_look(struct beats *beats)
{
    if (beats->is_looking)
        return;
    beats->is_looking = true;
    beats->look = (struct op){0};
    op_init(&beats->look, beats->replica->loop, OP_BYTES_MAX, answered, look_released);
    beats->look.log.route = "levels";
    op_start(&beats->look, look_begin, levels_rules()->lease_ms);
}

static enum op_next look_begin(struct op *op)
{
    struct beats *beats = container_of(op, struct beats, look);
    struct pgio_statement statement = {
        .key = store_statement_key(STATEMENT_LEVELS_LOOK, 0),
        .planning = PGIO_PLANS_POINT,
        .sql =
            "select range_id, committed, head, committed_head, since from orrery.levels_look($1)"};
    struct pgparams params = {0};

    beats->looked_ms = levels_now_ms();
    pgparams_int8(&params, beats->look_since);
    return store_query(beats->replica->store, op, STORE_READS, &statement, &params, look_came);
}

static enum op_next look_came(struct op *op)
{
    struct beats *beats = container_of(op, struct beats, look);
    const struct pgio_result *result = op->result;

    if (!store_check(op, STORE_READS))
        return OP_FAILED;
    for (int row = 0; row < pgio_row_count(result); row++) {
        if (pgio_is_null(result, row, 0))
            continue;
        int64_t head = pgio_int8(result, row, 2), committed = pgio_int8(result, row, 3);
        if (committed < head)
            levels_behind(pgio_int8(result, row, 0), head, committed, beats->looked_ms);
    }
    levels_take_committed(result);
    levels_looked(beats->looked_ms);
    beats->look_since = pgio_int8(result, 0, 4);
    bool is_hub = regions_current()->topology.hub == regions_current()->self;
    if (!is_hub || beats->looked_ms - beats->set_looked_ms < pace_ms())
        return OP_DONE;
    beats->set_looked_ms = beats->looked_ms;
    return op_again(op, set_ask);
}

/* ---- the strong set ---- */

enum {
    SET_EPOCH,
    SET_MAJORITY,
    SET_REGION,
    SET_STATE,
    SET_VERSION,
    SET_SILENT,
    SET_HAS_GOAL,
    SET_HAS
};

static enum op_next set_ask(struct op *op)
{
    struct beats *beats = container_of(op, struct beats, look);
    struct pgio_statement statement = {
        .key = store_statement_key(STATEMENT_STRONG_LOOK, 0),
        .planning = PGIO_PLANS_POINT,
        .sql = "select epoch, majority, region, state, version, silent_ms, has_goal, has_what_was "
               "from orrery.strong_look()"};
    struct pgparams params = {0};

    return store_query(beats->replica->store, op, STORE_READS, &statement, &params, set_came);
}

static bool take_member(struct strong_member *member, const struct strong_set *before,
                        const struct pgio_result *result, int row)
{
    *member = (struct strong_member){.ordinal = (unsigned) pgio_int2(result, row, SET_REGION),
                                     .version = pgio_int8(result, row, SET_VERSION),
                                     .silent_ms = pgio_is_null(result, row, SET_SILENT)
                                                      ? INT64_MAX
                                                      : pgio_int8(result, row, SET_SILENT),
                                     .has_goal = pgio_bool(result, row, SET_HAS_GOAL),
                                     .has_what_was = pgio_bool(result, row, SET_HAS)};
    if (!strong_state_find(pgio_value(result, row, SET_STATE), &member->state))
        return false;
    const struct strong_member *seen = strong_find(before, member->ordinal);
    bool is_same = seen != NULL && seen->state == member->state && seen->version == member->version;
    member->seen_ms = is_same ? seen->seen_ms : levels_now_ms();
    return true;
}

static enum op_next set_came(struct op *op)
{
    struct beats *beats = container_of(op, struct beats, look);
    struct strong_set before = beats->set;
    const struct pgio_result *result = op->result;

    if (!store_check(op, STORE_READS))
        return OP_FAILED;
    beats->set.count = 0;
    beats->member = 0;
    for (int row = 0; row < pgio_row_count(result) && row < TOPOLOGY_REGIONS_MAX; row++) {
        beats->set.epoch = pgio_int8(result, row, SET_EPOCH);
        beats->majority = (unsigned) pgio_int4(result, row, SET_MAJORITY);
        if (before.epoch != beats->set.epoch)
            before.count = 0;
        if (take_member(&beats->set.at[beats->set.count], &before, result, row))
            beats->set.count++;
    }
    /* There is a set while this region has accepted no other epoch: that is its own promise. */
    if (pgio_row_count(result) > 0)
        levels_promised(regions_current()->self, beats->set.epoch, beats->looked_ms);
    replica_set_publish(&beats->set);
    return op_again(op, member_next);
}

static enum op_next move_member(struct op *op, const struct strong_member *member,
                                enum strong_state to)
{
    struct beats *beats = container_of(op, struct beats, look);
    struct pgio_statement statement = {
        .key = store_statement_key(STATEMENT_STRONG_STEP, 0),
        .sql = "select orrery.strong_step($1, $2::smallint, $3, $4, $5)"};
    struct pgparams params = {0};

    log_info(&op->log, "strong set", "region=%u state=%s next=%s", member->ordinal,
             strong_state_name(member->state), strong_state_name(to));
    pgparams_int8(&params, beats->set.epoch);
    pgparams_int4(&params, (int32_t) member->ordinal);
    pgparams_int8(&params, member->version);
    pgparams_text(&params, slice_from_text(strong_state_name(member->state)));
    pgparams_text(&params, slice_from_text(strong_state_name(to)));
    return store_query(beats->replica->store, op, STORE_CHANGES, &statement, &params, member_moved);
}

/* After the joining is committed, in a transaction of its own. */
static enum op_next set_goal(struct op *op, const struct strong_member *member)
{
    struct beats *beats = container_of(op, struct beats, look);
    struct pgio_statement statement = {.key = store_statement_key(STATEMENT_STRONG_GOAL, 0),
                                       .sql = "select orrery.strong_goal($1::smallint, $2)"};
    struct pgparams params = {0};

    pgparams_int4(&params, (int32_t) member->ordinal);
    pgparams_int8(&params, member->version);
    return store_query(beats->replica->store, op, STORE_CHANGES, &statement, &params, member_moved);
}

static enum op_next member_next(struct op *op)
{
    struct beats *beats = container_of(op, struct beats, look);

    while (beats->member < beats->set.count) {
        const struct strong_member *member = &beats->set.at[beats->member++];
        switch (
            strong_next(&beats->set, member, beats->majority, levels_rules(), levels_now_ms())) {
        case STRONG_STAY:
            continue;
        case STRONG_JOIN:
            return move_member(op, member, STRONG_JOINING);
        case STRONG_SET_GOAL:
            return set_goal(op, member);
        case STRONG_ADMIT:
            return move_member(op, member, STRONG_IN);
        case STRONG_LEAVE:
            return move_member(op, member, STRONG_LEAVING);
        case STRONG_DROP:
            return move_member(op, member, STRONG_OUT);
        }
    }
    return OP_DONE;
}

/* Whether it moved is seen at the next look. */
static enum op_next member_moved(struct op *op)
{
    return store_check(op, STORE_CHANGES) ? op_again(op, member_next) : OP_FAILED;
}

/* ---- the timer ---- */

static struct beat_peer *peer_of(struct beats *beats, unsigned ordinal)
{
    for (unsigned i = 0; i < TOPOLOGY_REGIONS_MAX; i++) {
        struct beat_peer *peer = &beats->peers[i];
        if (peer->ordinal == ordinal || peer->ordinal == 0) {
            peer->ordinal = ordinal;
            return peer;
        }
    }
    return NULL;
}

static void beat(struct beats *beats, const struct regions *regions)
{
    const struct topology *topology = &regions->topology;
    bool is_hub = topology->hub == regions->self;

    if (beats->epoch != topology->epoch || beats->hub != topology->hub) {
        levels_forget();
        beats->epoch = topology->epoch;
        beats->hub = topology->hub;
        beats->since = 0;
    }
    for (unsigned i = 0; i < topology->region_count; i++) {
        const struct topology_region *region = &topology->regions[i];
        bool is_asked = is_hub ? region->ordinal != regions->self && region->state == REGION_ONLINE
                               : region->ordinal == topology->hub;
        struct beat_peer *peer = is_asked ? peer_of(beats, region->ordinal) : NULL;
        if (peer != NULL)
            begin_peer(peer, regions);
    }
    begin_look(beats);
}

static void due(struct loop_timer *timer)
{
    struct beats *beats = container_of(timer, struct beats, timer);
    const struct regions *regions = regions_current();
    int64_t next_ms = pace_ms();

    if (is_needed(regions)) {
        beat(beats, regions);
        if (levels_has_waiting())
            next_ms = FAST_MS;
    }
    loop_timer_arm(beats->replica->loop, &beats->timer, next_ms);
}

void beats_start(struct beats *beats, struct replica *replica)
{
    *beats = (struct beats){.replica = replica};
    for (unsigned i = 0; i < TOPOLOGY_REGIONS_MAX; i++)
        beats->peers[i].beats = beats;
    loop_timer_init(&beats->timer, due);
    loop_timer_arm(replica->loop, &beats->timer, 0);
}

void beats_stop(struct beats *beats)
{
    if (beats->replica == NULL || beats->is_stopping)
        return;
    beats->is_stopping = true;
    loop_timer_disarm(beats->replica->loop, &beats->timer);
}

void beats_finish(struct beats *beats)
{
    assert(!beats->is_looking);
    for (unsigned i = 0; i < TOPOLOGY_REGIONS_MAX; i++) {
        assert(!beats->peers[i].is_running);
        buf_finish(&beats->peers[i].question);
    }
}
