/* Leases, the strong set, bounded staleness, and the beats that carry them: each rule by the case
 * that broke without it. */
#include "regions/beat.h"
#include "regions/bounded.h"
#include "regions/strong.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define EPOCH 257

static const struct lease_rules rules = {.lease_ms = 5000, .drift_permille = 10};

static struct topology make_topology(unsigned regions)
{
    struct topology topology = {.epoch = EPOCH, .hub = 1, .region_count = regions};

    for (unsigned i = 0; i < regions; i++)
        topology.regions[i] = (struct topology_region){.ordinal = i + 1, .state = REGION_ONLINE};
    return topology;
}

/* ---- leases ---- */

/* The asker's clock may run slow by ρ and the granter's fast, and still the asker stops first. */
static void who_asked_stops_before_who_granted_acts(void **state)
{
    (void) state;
    for (unsigned drift = 0; drift <= 200; drift++) {
        for (int64_t lease_ms = 1; lease_ms < 20000; lease_ms += 371) {
            struct lease_rules some = {.lease_ms = lease_ms, .drift_permille = drift};
            double asker = (double) lease_asker_ms(&some);
            double granter = (double) lease_granter_ms(&some);
            double ratio = 1 + drift / 1000.0; /* of the rates of their clocks */
            assert_true(asker * ratio <= granter + 1e-9);
        }
    }
}

static void a_promise_counts_from_the_question(void **state)
{
    struct topology topology = make_topology(3);
    struct promises promises = {0};

    (void) state;
    promises_take(&promises, &rules, 1, EPOCH, 9000);
    assert_true(promises_horizon(&promises, &topology) == INT64_MIN);
    promises_take(&promises, &rules, 2, EPOCH, 1000);
    assert_int_equal(promises_horizon(&promises, &topology), 1000 + lease_asker_ms(&rules));
    /* An answer to an older question, come late, changes nothing. */
    promises_take(&promises, &rules, 2, EPOCH, 400);
    assert_int_equal(promises_horizon(&promises, &topology), 1000 + lease_asker_ms(&rules));
}

static void the_horizon_is_a_majority_s(void **state)
{
    struct topology topology = make_topology(5);
    struct promises promises = {0};

    (void) state;
    promises_take(&promises, &rules, 2, EPOCH, 9000);
    promises_take(&promises, &rules, 3, EPOCH, 1000);
    assert_true(promises_horizon(&promises, &topology) == INT64_MIN); /* two of five */
    promises_take(&promises, &rules, 4, EPOCH, 3000);
    assert_int_equal(promises_horizon(&promises, &topology), 1000 + lease_asker_ms(&rules));
    /* The hub counts, too, while it has promised itself. */
    promises_take(&promises, &rules, 1, EPOCH, 2000);
    assert_int_equal(promises_horizon(&promises, &topology), 2000 + lease_asker_ms(&rules));
    promises_take(&promises, &rules, 1, EPOCH + 256, 9000);
    assert_int_equal(promises_horizon(&promises, &topology), 1000 + lease_asker_ms(&rules));
    /* A region's that is not in the topology does not count, nor another epoch's. */
    struct promises others = {0};
    promises_take(&others, &rules, 1, EPOCH, 9000);
    promises_take(&others, &rules, 9, EPOCH, 9000);
    promises_take(&others, &rules, 2, EPOCH - 256, 9000);
    promises_take(&others, &rules, 3, EPOCH, 9000);
    assert_true(promises_horizon(&others, &topology) == INT64_MIN);
    topology = make_topology(1);
    assert_true(promises_horizon(&others, &topology) == INT64_MAX);
}

static void a_promise_of_an_earlier_epoch_does_not_replace_a_later_one(void **state)
{
    struct topology topology = make_topology(3);
    struct promises promises = {0};

    (void) state;
    promises_take(&promises, &rules, 1, EPOCH, 9000);
    promises_take(&promises, &rules, 2, EPOCH, 1000);
    promises_take(&promises, &rules, 2, EPOCH - 256, 9000);
    assert_int_equal(promises_horizon(&promises, &topology), 1000 + lease_asker_ms(&rules));
    promises_take(&promises, &rules, 2, EPOCH + 256, 500);
    assert_true(promises_horizon(&promises, &topology) == INT64_MIN);
}

/* What is told of a promise is what the horizon makes of it. */
static void each_promise_is_told_while_it_counts(void **state)
{
    struct topology topology = make_topology(3);
    struct promises promises = {0};

    (void) state;
    promises_take(&promises, &rules, 2, EPOCH, 1000);
    promises_take(&promises, &rules, 3, EPOCH - 256, 9000);
    promises_take(&promises, &rules, 7, EPOCH, 9000);
    assert_true(promises_until(&promises, &topology, 1) == INT64_MIN);
    assert_int_equal(promises_until(&promises, &topology, 2), 1000 + lease_asker_ms(&rules));
    assert_true(promises_until(&promises, &topology, 3) == INT64_MIN); /* of another epoch */
    assert_true(promises_until(&promises, &topology, 7) == INT64_MIN); /* no region of it */
    topology.regions[1].state = REGION_JOINING;
    assert_true(promises_until(&promises, &topology, 2) == INT64_MIN);
}

/* Rule 3.3: without the cap a hub and a reader that are cut off together go on after a takeover. */
static void a_read_lease_ends_before_the_hub_s_horizon(void **state)
{
    (void) state;
    assert_int_equal(lease_grant_ms(&rules, 1000, 1000), 0);
    assert_int_equal(lease_grant_ms(&rules, INT64_MIN, 0), 0);
    assert_int_equal(lease_grant_ms(&rules, INT64_MAX, 7), lease_asker_ms(&rules));
    assert_int_equal(lease_grant_ms(&rules, 3000, 1000), 1980);
    for (int64_t left = 0; left < 20000; left += 7)
        assert_true(lease_grant_ms(&rules, 500 + left, 500) <= left);
}

static void a_read_lease_is_of_one_epoch_and_counts_from_the_question(void **state)
{
    struct read_lease lease = {0};

    (void) state;
    assert_false(read_lease_holds(&lease, 0, 0));
    read_lease_take(&lease, EPOCH, 1000, 500, 3);
    assert_true(read_lease_holds(&lease, EPOCH, 1499));
    assert_false(read_lease_holds(&lease, EPOCH, 1500));
    assert_false(read_lease_holds(&lease, EPOCH + 256, 1200));
    read_lease_take(&lease, EPOCH, 900, 500, 3); /* overtaken on the way */
    assert_true(read_lease_holds(&lease, EPOCH, 1499));
    read_lease_take(&lease, EPOCH - 256, 5000, 500, 9);
    assert_false(read_lease_holds(&lease, EPOCH - 256, 5100));
    read_lease_take(&lease, EPOCH + 256, 1100, 100, 1);
    assert_false(read_lease_holds(&lease, EPOCH, 1150));
    assert_true(read_lease_holds(&lease, EPOCH + 256, 1150));
    read_lease_take(&lease, EPOCH + 512, 1100, 0, 1); /* none was given */
    assert_true(read_lease_holds(&lease, EPOCH + 256, 1150));
}

/* ---- the strong set ---- */

static struct strong_set make_set(unsigned count, enum strong_state state)
{
    struct strong_set set = {.epoch = EPOCH, .count = count};

    for (unsigned i = 0; i < count; i++)
        set.at[i] = (struct strong_member){.ordinal = i + 2, .state = state};
    return set;
}

static enum strong_step step_of(const struct strong_set *set, unsigned at, int64_t now_ms)
{
    return strong_next(set, &set->at[at], (set->count + 1) / 2 + 1, &rules, now_ms);
}

static void a_silent_region_leaves_after_its_leases_have_run_out(void **state)
{
    struct strong_set set = make_set(2, STRONG_IN);

    (void) state;
    assert_int_equal(step_of(&set, 0, 0), STRONG_STAY);
    set.at[0].silent_ms = 5001;
    assert_int_equal(step_of(&set, 0, 0), STRONG_LEAVE);
    set.at[0].state = STRONG_LEAVING;
    set.at[0].seen_ms = 1000;
    assert_int_equal(step_of(&set, 0, 1000 + lease_granter_ms(&rules) - 1), STRONG_STAY);
    assert_int_equal(step_of(&set, 0, 1000 + lease_granter_ms(&rules)), STRONG_DROP);
    assert_true(strong_needs_ack(STRONG_LEAVING));
    assert_false(strong_may_read(STRONG_LEAVING));
}

static void the_set_never_falls_below_a_majority(void **state)
{
    struct strong_set set = make_set(2, STRONG_LEAVING);

    (void) state;
    set.at[0].silent_ms = set.at[1].silent_ms = INT64_MAX;
    assert_int_equal(step_of(&set, 0, 100000), STRONG_DROP);
    set.at[0].state = STRONG_OUT;
    assert_int_equal(strong_size(&set), 2);
    assert_int_equal(step_of(&set, 1, 100000), STRONG_STAY);
    /* Of two regions neither can do without the other. */
    set = make_set(1, STRONG_LEAVING);
    set.at[0].silent_ms = INT64_MAX;
    assert_int_equal(step_of(&set, 0, 100000), STRONG_STAY);
}

static void a_region_is_in_when_it_has_what_there_was(void **state)
{
    struct strong_set set = make_set(2, STRONG_OUT);

    (void) state;
    set.at[0].silent_ms = INT64_MAX;
    assert_int_equal(step_of(&set, 0, 0), STRONG_STAY);
    set.at[0].silent_ms = 10;
    assert_int_equal(step_of(&set, 0, 0), STRONG_JOIN);
    set.at[0].state = STRONG_JOINING;
    assert_int_equal(step_of(&set, 0, 0), STRONG_SET_GOAL);
    assert_false(strong_may_read(STRONG_JOINING));
    assert_true(strong_needs_ack(STRONG_JOINING));
    set.at[0].has_goal = true;
    assert_int_equal(step_of(&set, 0, 0), STRONG_STAY);
    set.at[0].has_what_was = true;
    assert_int_equal(step_of(&set, 0, 0), STRONG_ADMIT);
    set.at[0].silent_ms = 6000; /* it fell silent again */
    assert_int_equal(step_of(&set, 0, 0), STRONG_LEAVE);
    set.at[0].state = STRONG_LEAVING;
    set.at[0].silent_ms = 0;
    assert_int_equal(step_of(&set, 0, 0), STRONG_JOIN);
}

static void committed_is_what_all_who_must_have_it_acked(void **state)
{
    struct strong_set set = make_set(4, STRONG_IN);
    int64_t acked[] = {9, 7, 8, 12};

    (void) state;
    assert_int_equal(strong_committed(&set, 3, 10, acked), 7);
    set.at[1].state = STRONG_OUT;
    assert_int_equal(strong_committed(&set, 3, 10, acked), 8);
    set.at[2].state = STRONG_JOINING;
    assert_int_equal(strong_committed(&set, 3, 10, acked), 8);
    set.at[2].state = STRONG_OUT;
    assert_int_equal(strong_committed(&set, 3, 10, acked), 9);
    set.at[3].state = STRONG_OUT; /* two of five: nothing can be acknowledged */
    assert_int_equal(strong_committed(&set, 3, 10, acked), -1);
}

static void states_have_names(void **state)
{
    (void) state;
    for (unsigned i = STRONG_OUT; i <= STRONG_LEAVING; i++) {
        enum strong_state found;
        assert_true(
            strong_state_find(slice_from_text(strong_state_name((enum strong_state) i)), &found));
        assert_int_equal(found, i);
    }
    enum strong_state none;
    assert_false(strong_state_find(SLICE_LITERAL("inn"), &none));
    struct strong_set set = make_set(2, STRONG_OUT);
    assert_ptr_equal(strong_find(&set, 3), &set.at[1]);
    assert_null(strong_find(&set, 1));
}

/* ---- bounded staleness ---- */

static void an_entry_is_no_older_than_the_last_look_without_it(void **state)
{
    struct bounded_looks looks = {0};

    (void) state;
    assert_true(bounded_age_ms(&looks, 0, 100) == INT64_MAX); /* nothing was looked at */
    bounded_look(&looks, 5, 1000);
    assert_int_equal(bounded_age_ms(&looks, 5, 3000), 0);
    assert_true(bounded_age_ms(&looks, 4, 3000) == INT64_MAX); /* of before the first look */
    bounded_look(&looks, 5, 2000);
    bounded_look(&looks, 9, 2500);
    assert_int_equal(bounded_age_ms(&looks, 5, 3000), 1000);
    assert_int_equal(bounded_age_ms(&looks, 8, 3000), 1000);
    assert_int_equal(bounded_age_ms(&looks, 9, 3000), 0);
    bounded_look(&looks, 8, 9000); /* overtaken */
    assert_int_equal(bounded_age_ms(&looks, 9, 9500), 0);
}

static void a_region_is_in_step_as_of_the_last_look_that_it_covers(void **state)
{
    struct bounded_looks looks = {0};

    (void) state;
    assert_true(bounded_synced_ms(&looks, 100) == INT64_MIN);
    bounded_look(&looks, 5, 1000);
    bounded_look(&looks, 9, 2000);
    assert_true(bounded_synced_ms(&looks, 4) == INT64_MIN);
    assert_int_equal(bounded_synced_ms(&looks, 8), 1000);
    assert_int_equal(bounded_synced_ms(&looks, 9), 2000);
    bounded_look(&looks, 9, 7000);
    assert_int_equal(bounded_synced_ms(&looks, 9), 7000);
}

/* However many looks there were, what is forgotten makes entries older and regions less in step. */
static void forgotten_looks_make_it_stricter(void **state)
{
    enum { LOOKS = 400 };
    int64_t heads[LOOKS], times[LOOKS];
    unsigned seed = 1;

    (void) state;
    for (int round = 0; round < 50; round++) {
        struct bounded_looks looks = {0};
        int64_t head = 0, now_ms = 1;
        for (int i = 0; i < LOOKS; i++) {
            seed = seed * 1103515245 + 12345;
            head += seed >> 16 & 3;
            now_ms += 1 + (seed >> 20 & 63);
            heads[i] = head;
            times[i] = now_ms;
            bounded_look(&looks, head, now_ms);
            for (int64_t lsn = 0; lsn <= head; lsn += 1 + head / 9) {
                int64_t age_ms = 0, synced_ms = INT64_MIN; /* as all looks tell */
                if (head > lsn) {
                    int last = i;
                    while (last >= 0 && heads[last] > lsn)
                        last--;
                    age_ms = last < 0 ? INT64_MAX : now_ms - times[last];
                }
                for (int k = 0; k <= i; k++)
                    synced_ms = heads[k] <= lsn ? times[k] : synced_ms;
                assert_true(bounded_age_ms(&looks, lsn, now_ms) >= age_ms);
                assert_true(bounded_synced_ms(&looks, lsn) <= synced_ms);
            }
            assert_true(bounded_synced_ms(&looks, head) == now_ms);
        }
    }
}

static void writes_are_slowed_from_four_fifths_and_refused_at_the_bound(void **state)
{
    struct bounded_limits limits = {.versions = 100, .ms = 5000};

    (void) state;
    assert_int_equal(bounded_delay_ms(&limits, 0, 0), 0);
    assert_int_equal(bounded_delay_ms(&limits, 80, 4000), 0);
    assert_int_equal(bounded_delay_ms(&limits, 90, 0), BOUNDED_DELAY_MAX_MS / 2);
    assert_int_equal(bounded_delay_ms(&limits, 0, 4500), BOUNDED_DELAY_MAX_MS / 2);
    assert_true(bounded_delay_ms(&limits, 99, 0) < BOUNDED_DELAY_MAX_MS);
    assert_int_equal(bounded_delay_ms(&limits, 100, 0), -1);
    assert_int_equal(bounded_delay_ms(&limits, 0, 5000), -1);
    assert_int_equal(bounded_delay_ms(&limits, 0, INT64_MAX), -1);
    int64_t before = 0;
    for (int64_t lag = 0; lag < 100; lag++) {
        int64_t delay_ms = bounded_delay_ms(&limits, lag, 0);
        assert_true(delay_ms >= before);
        before = delay_ms;
    }
}

/* ---- beats ---- */

static void questions_are_read_back(void **state)
{
    struct beat_question asked = {
        .hello = {.account = SLICE_LITERAL("a\"b"), .ordinal = 3, .schema = 12, .epoch = 513},
        .kind = BEAT_LEASE,
        .since = 99};
    struct beat_question read;
    struct arena arena;
    struct fault fault = {0};
    struct buf text = {0};

    (void) state;
    arena_init(&arena, 1 << 16);
    for (int i = 0; i < 3; i++) {
        text.len = 0;
        beat_print_question(&text, &asked);
        assert_true(beat_parse_question(&read, buf_slice(&text), &arena, &fault));
        assert_true(slice_equals(read.hello.account, asked.hello.account));
        assert_int_equal(read.hello.ordinal, 3);
        assert_int_equal(read.hello.schema, 12);
        assert_int_equal(read.hello.epoch, 513);
        assert_int_equal(read.kind, asked.kind);
        assert_int_equal(read.since, asked.kind == BEAT_LEASE ? 99 : 0);
        asked.kind = i == 0 ? BEAT_PROMISE : BEAT_DEFINITIONS;
    }
    buf_finish(&text);
    arena_finish(&arena);
}

static void malformed_questions_are_refused(void **state)
{
    static const char *const texts[] = {
        "",
        "[]",
        "{}",
        "{\"account\":1}",
        "{\"account\":\"a\",\"schema\":1,\"ordinal\":0,\"epoch\":1,\"asks\":\"promise\"}",
        "{\"account\":\"a\",\"schema\":1,\"ordinal\":1,\"epoch\":-1,\"asks\":\"promise\"}",
        "{\"account\":\"a\",\"schema\":1,\"ordinal\":1,\"epoch\":1,\"asks\":\"more\"}",
        "{\"account\":\"a\",\"schema\":1,\"ordinal\":1,\"epoch\":1,\"asks\":\"lease\"}",
        "{\"account\":\"a\",\"schema\":1,\"ordinal\":1,\"epoch\":1,\"asks\":\"lease\",\"since\":-"
        "1}"};
    struct beat_question read;
    struct arena arena;

    (void) state;
    arena_init(&arena, 1 << 16);
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct fault fault = {0};
        assert_false(beat_parse_question(&read, slice_from_text(texts[i]), &arena, &fault));
        assert_int_equal(fault.status, 400);
    }
    arena_finish(&arena);
}

static void answers_are_read_back(void **state)
{
    struct beat_range ranges[] = {
        {.range_id = 0, .head = 7, .committed_len = 2, .committed = {5, 0}},
        {.range_id = 4096, .head = 0, .committed_len = 0},
        {.range_id = 8192, .head = 3, .committed_len = 1, .committed = {3}}};
    struct beat_answer answer;
    struct beat_range read;
    struct fault fault = {0};
    struct buf text = {0};

    (void) state;
    beat_answer_begin(&text);
    for (size_t i = 0; i < ARRAY_LEN(ranges); i++)
        beat_answer_range(&text, &ranges[i]);
    beat_answer_end(&text, 4950, 3, 917);
    assert_true(beat_parse_answer(&answer, BEAT_LEASE, buf_slice(&text), &fault));
    assert_int_equal(answer.lease_ms, 4950);
    assert_int_equal(answer.set_version, 3);
    assert_int_equal(answer.since, 917);
    for (size_t i = 0; i < ARRAY_LEN(ranges); i++) {
        assert_int_equal(beat_next_range(&answer, &read), BEAT_RANGE);
        assert_int_equal(read.range_id, ranges[i].range_id);
        assert_int_equal(read.head, ranges[i].head);
        assert_int_equal(read.committed_len, ranges[i].committed_len);
        assert_memory_equal(read.committed, ranges[i].committed,
                            read.committed_len * sizeof(int64_t));
    }
    assert_int_equal(beat_next_range(&answer, &read), BEAT_END);
    for (int promised = 0; promised < 2; promised++) {
        text.len = 0;
        beat_answer_promise(&text, promised == 1);
        assert_true(beat_parse_answer(&answer, BEAT_PROMISE, buf_slice(&text), &fault));
        assert_int_equal(answer.promised, promised);
    }
    text.len = 0;
    beat_answer_definitions(&text, ranges[0].committed, ranges[0].committed_len);
    assert_true(beat_parse_answer(&answer, BEAT_DEFINITIONS, buf_slice(&text), &fault));
    assert_int_equal(answer.definitions_len, 2);
    assert_memory_equal(answer.definitions, ranges[0].committed, 2 * sizeof(int64_t));
    buf_finish(&text);
}

static void malformed_answers_give_nothing(void **state)
{
    static const char *const texts[] = {
        "", "1", "{}", "{\"ranges\":[],\"lease_ms\":-1,\"set_version\":1,\"since\":1}",
        "{\"ranges\":{},\"lease_ms\":1,\"set_version\":1,\"since\":1}"};
    static const char *const ranges[] = {"1",          "[]",        "[1]",        "[1,[]]",
                                         "[1,2,3]",    "[-1,[],0]", "[1,[-1],0]", "[1,[\"2\"],0]",
                                         "[1,[],null]"};
    struct beat_answer answer;
    struct beat_range read;
    struct fault fault = {0};
    char text[128];

    (void) state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        assert_false(beat_parse_answer(&answer, BEAT_LEASE, slice_from_text(texts[i]), &fault));
    assert_false(beat_parse_answer(&answer, BEAT_PROMISE, SLICE_LITERAL("{}"), &fault));
    for (size_t i = 0; i < ARRAY_LEN(ranges); i++) {
        snprintf(text, sizeof(text),
                 "{\"ranges\":[%s],\"lease_ms\":1,\"set_version\":1,\"since\":1}", ranges[i]);
        assert_true(beat_parse_answer(&answer, BEAT_LEASE, slice_from_text(text), &fault));
        assert_int_equal(beat_next_range(&answer, &read), BEAT_MALFORMED);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_asked_stops_before_who_granted_acts),
        cmocka_unit_test(a_promise_counts_from_the_question),
        cmocka_unit_test(the_horizon_is_a_majority_s),
        cmocka_unit_test(a_promise_of_an_earlier_epoch_does_not_replace_a_later_one),
        cmocka_unit_test(each_promise_is_told_while_it_counts),
        cmocka_unit_test(a_read_lease_ends_before_the_hub_s_horizon),
        cmocka_unit_test(a_read_lease_is_of_one_epoch_and_counts_from_the_question),
        cmocka_unit_test(a_silent_region_leaves_after_its_leases_have_run_out),
        cmocka_unit_test(the_set_never_falls_below_a_majority),
        cmocka_unit_test(a_region_is_in_when_it_has_what_there_was),
        cmocka_unit_test(committed_is_what_all_who_must_have_it_acked),
        cmocka_unit_test(states_have_names),
        cmocka_unit_test(an_entry_is_no_older_than_the_last_look_without_it),
        cmocka_unit_test(a_region_is_in_step_as_of_the_last_look_that_it_covers),
        cmocka_unit_test(forgotten_looks_make_it_stricter),
        cmocka_unit_test(writes_are_slowed_from_four_fifths_and_refused_at_the_bound),
        cmocka_unit_test(questions_are_read_back),
        cmocka_unit_test(malformed_questions_are_refused),
        cmocka_unit_test(answers_are_read_back),
        cmocka_unit_test(malformed_answers_give_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
