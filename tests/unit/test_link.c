/* Links disturbed on demand: what rules do to messages, and that seeds decide alike. */
#include "regions/link.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define MESSAGES 20000

static struct link_verdict decide(struct link_rule *rules, size_t count, unsigned from, unsigned to)
{
    struct link_verdict verdict = {0};

    link_decide(rules, count, from, to, &verdict);
    return verdict;
}

static bool is_untouched(struct link_verdict verdict)
{
    return !verdict.is_lost && !verdict.is_duplicated && verdict.delay_ms == 0;
}

static void without_a_rule_nothing_happens(void **state)
{
    (void) state;
    assert_true(is_untouched(decide(NULL, 0, 1, 2)));
}

static void a_rule_is_about_its_direction(void **state)
{
    struct link_rule rule = {.from = 1, .to = 2, .is_cut = true};

    (void) state;
    assert_true(decide(&rule, 1, 1, 2).is_lost);
    assert_true(is_untouched(decide(&rule, 1, 2, 1)));
    assert_true(is_untouched(decide(&rule, 1, 1, 3)));
    assert_true(is_untouched(decide(&rule, 1, 3, 2)));
}

static void any_matches_every_region(void **state)
{
    struct link_rule out = {.from = 1, .to = LINK_ANY, .is_cut = true},
                     in = {.from = LINK_ANY, .to = 1, .is_cut = true}, all = {.is_cut = true};

    (void) state;
    assert_true(decide(&out, 1, 1, 3).is_lost);
    assert_true(is_untouched(decide(&out, 1, 3, 1)));
    assert_true(decide(&in, 1, 3, 1).is_lost);
    assert_true(is_untouched(decide(&in, 1, 1, 3)));
    assert_true(decide(&all, 1, 2, 3).is_lost);
}

static void rules_add_up(void **state)
{
    struct link_rule rules[] = {{.from = 1, .to = 2, .delay_ms = 30},
                                {.from = 1, .to = LINK_ANY, .delay_ms = 12},
                                {.from = 2, .to = 1, .delay_ms = 1000},
                                {.from = 1, .to = 2, .duplicate = 1},
                                {.from = 1, .to = 2, .drop = 1}};

    (void) state;
    struct link_verdict verdict = decide(rules, 5, 1, 2);
    assert_true(verdict.is_lost && verdict.is_duplicated);
    assert_int_equal(verdict.delay_ms, 42);
}

/* Of a probability p, MESSAGES draws are within five standard deviations. */
static void assert_share(unsigned count, double p)
{
    double expected = p * MESSAGES, spread = expected * (1 - p);

    assert_true((count - expected) * (count - expected) <= 25 * spread);
}

static void probabilities_are_kept(void **state)
{
    struct link_rule rule = {
        .from = 1, .to = 2, .drop = 0.3, .duplicate = 0.05, .reorder = 0.5, .state = 11};
    unsigned lost = 0, duplicated = 0, overtaken = 0, both = 0;

    (void) state;
    for (unsigned i = 0; i < MESSAGES; i++) {
        struct link_verdict verdict = decide(&rule, 1, 1, 2);
        lost += verdict.is_lost;
        duplicated += verdict.is_duplicated;
        overtaken += verdict.delay_ms >= LINK_REORDER_MS;
        both += verdict.is_lost && verdict.delay_ms >= LINK_REORDER_MS;
    }
    assert_share(lost, 0.3);
    assert_share(duplicated, 0.05);
    assert_share(overtaken, 0.5);
    assert_share(both, 0.15);
}

static void delays_are_spread_evenly(void **state)
{
    struct link_rule rule = {.from = 1, .to = 2, .delay_ms = 20, .jitter_ms = 9, .state = 5};
    unsigned seen[10] = {0};

    (void) state;
    for (unsigned i = 0; i < MESSAGES; i++) {
        uint32_t delay_ms = decide(&rule, 1, 1, 2).delay_ms;
        assert_in_range(delay_ms, 20, 29);
        seen[delay_ms - 20]++;
    }
    for (unsigned i = 0; i < 10; i++)
        assert_share(seen[i], 0.1);
}

static void what_is_held_back_is_overtaken(void **state)
{
    struct link_rule rule = {.from = 1, .to = 2, .delay_ms = 100, .reorder = 1, .state = 3};
    uint32_t least = UINT32_MAX, most = 0;

    (void) state;
    for (unsigned i = 0; i < MESSAGES; i++) {
        uint32_t delay_ms = decide(&rule, 1, 1, 2).delay_ms;
        least = delay_ms < least ? delay_ms : least;
        most = delay_ms > most ? delay_ms : most;
    }
    assert_in_range(least, 100 + LINK_REORDER_MS, 100 + LINK_REORDER_MS + 5);
    assert_in_range(most, 500 + LINK_REORDER_MS - 5, 500 + LINK_REORDER_MS);
}

static void a_seed_decides_alike(void **state)
{
    struct link_rule rule = {.from = 1,
                             .to = LINK_ANY,
                             .jitter_ms = 50,
                             .drop = 0.5,
                             .duplicate = 0.5,
                             .reorder = 0.5,
                             .state = 42};
    struct link_rule again = rule, other = rule;
    unsigned different = 0;

    (void) state;
    other.state = 43;
    for (unsigned i = 0; i < 1000; i++) {
        struct link_verdict a = decide(&rule, 1, 1, 2), b = decide(&again, 1, 1, 2),
                            c = decide(&other, 1, 1, 2);
        assert_true(a.is_lost == b.is_lost && a.is_duplicated == b.is_duplicated &&
                    a.delay_ms == b.delay_ms);
        different += a.is_lost != c.is_lost;
        /* a message that the rule is not about moves nothing */
        assert_true(is_untouched(decide(&again, 1, 2, 1)));
    }
    assert_in_range(different, 400, 600);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_rule_nothing_happens),
        cmocka_unit_test(a_rule_is_about_its_direction),
        cmocka_unit_test(any_matches_every_region),
        cmocka_unit_test(rules_add_up),
        cmocka_unit_test(probabilities_are_kept),
        cmocka_unit_test(delays_are_spread_evenly),
        cmocka_unit_test(what_is_held_back_is_overtaken),
        cmocka_unit_test(a_seed_decides_alike),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
