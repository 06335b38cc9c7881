/* The arbiter's decisions: for how long a hub may act, who claims when, what etcd's answers say. */
#include "regions/arbiter.h"

#include "base/crypto.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define EPOCH 257

static const struct arbiter_rules rules = {.ttl_s = 15,
                                           .lease = {.lease_ms = 5000, .drift_permille = 10}};

static struct topology make_topology(unsigned regions)
{
    static const char *const names[] = {"West US", "East US", "North Europe", "Japan East"};
    struct topology topology = {.account = SLICE_LITERAL("orrery"),
                                .epoch = EPOCH,
                                .hub = 1,
                                .level = LEVEL_SESSION,
                                .bounded_versions = 1,
                                .bounded_s = 1,
                                .region_count = regions};

    for (unsigned i = 0; i < regions; i++)
        topology.regions[i] = (struct topology_region){
            .ordinal = i + 1, .name = slice_from_text(names[i]), .state = REGION_ONLINE};
    return topology;
}

/* ---- times ---- */

/* The hub's clock may run slow by ρ and etcd's fast, and still the hub stops a second before. */
static void a_hub_stops_before_its_lease_ends(void **state)
{
    (void) state;
    for (unsigned drift = 0; drift <= 200; drift++) {
        for (int64_t ttl_s = 2; ttl_s <= 60; ttl_s++) {
            struct arbiter_rules some = {.ttl_s = ttl_s, .lease = {200, drift}};
            double acts = (double) arbiter_margin_ms(&some, ttl_s);
            assert_true(acts > 0);
            assert_true((acts + ARBITER_SPARE_MS) * (1 + drift / 1000.0) <=
                        1000.0 * (double) ttl_s + 1e-9);
            assert_true((double) arbiter_seized_ms(&some, ttl_s) >= acts);
        }
    }
}

/* Etcd lengthens a life that is too short for it: another gateway may have asked for less. */
static void the_shorter_life_counts(void **state)
{
    (void) state;
    assert_int_equal(arbiter_margin_ms(&rules, 15), 13850);
    assert_int_equal(arbiter_margin_ms(&rules, 60), 13850);
    assert_int_equal(arbiter_margin_ms(&rules, 3), 1970);
    assert_int_equal(arbiter_seized_ms(&rules, 60), 60600);
    assert_int_equal(arbiter_seized_ms(&rules, 0), 15150);
}

/* ---- who claims when ---- */

struct scene {
    struct topology topology;
    unsigned self;
    struct arbiter_view view;
    struct arbiter_state state;
    int64_t now_ms;
};

static struct scene vacant(unsigned self)
{
    return (struct scene){.topology = make_topology(4),
                          .self = self,
                          .view = {.epoch = EPOCH, .topology_revision = 7},
                          .state = {.started_ms = 1, .vacant_since_ms = 100000},
                          .now_ms = 100000};
}

static enum arbiter_step next(const struct scene *scene)
{
    return arbiter_next(&scene->topology, scene->self, &scene->view, &scene->state, &rules,
                        scene->now_ms);
}

/* Milliseconds after which a region takes over, -1 for never. */
static int64_t takes_over_after(struct scene scene)
{
    int64_t began_ms = scene.now_ms;

    for (; scene.now_ms < began_ms + 120000; scene.now_ms += 10) {
        if (next(&scene) == ARBITER_TAKE_OVER)
            return scene.now_ms - began_ms;
    }
    return -1;
}

static void the_hub_claims_at_once(void **state)
{
    struct scene first = vacant(1);

    (void) state;
    assert_int_equal(next(&first), ARBITER_CLAIM);
    first.view = (struct arbiter_view){0}; /* nothing was ever there */
    first.state.started_ms = first.now_ms;
    assert_int_equal(next(&first), ARBITER_CLAIM);
}

static void regions_take_over_in_the_order_of_their_priority(void **state)
{
    int64_t look_ms = arbiter_look_ms(&rules), stagger_ms = arbiter_stagger_ms(&rules);
    struct scene scene = vacant(3);

    (void) state;
    assert_int_equal(takes_over_after(vacant(2)), look_ms);
    assert_int_equal(takes_over_after(vacant(3)), look_ms + stagger_ms);
    assert_int_equal(takes_over_after(vacant(4)), look_ms + 2 * stagger_ms);
    scene.topology.regions[1].state = REGION_OFFLINE; /* takes no turn */
    assert_int_equal(takes_over_after(scene), look_ms);
    scene.self = 2;
    assert_int_equal(takes_over_after(scene), -1);
    scene.topology.regions[1].state = REGION_JOINING;
    assert_int_equal(takes_over_after(scene), -1);
    scene.self = 9; /* none of the account's */
    assert_int_equal(takes_over_after(scene), -1);
}

/* Without this the regions of an account that is started whole would fall out at once. */
static void who_has_just_started_gives_the_hub_time(void **state)
{
    struct scene scene = vacant(2);

    (void) state;
    scene.state.started_ms = scene.now_ms;
    assert_int_equal(takes_over_after(scene), 15000 + arbiter_look_ms(&rules));
}

static void nobody_takes_over_what_never_was(void **state)
{
    struct scene scene = vacant(2);

    (void) state;
    scene.view.epoch = scene.view.topology_revision = 0;
    assert_int_equal(takes_over_after(scene), -1);
}

static void who_knows_less_than_etcd_waits(void **state)
{
    struct scene scene = vacant(2);

    (void) state;
    scene.view.epoch = EPOCH + 256;
    assert_int_equal(takes_over_after(scene), -1);
    scene.self = 1; /* the hub that was: another one came and went */
    assert_int_equal(next(&scene), ARBITER_WAIT);
    scene.state.is_wanted = true;
    assert_int_equal(next(&scene), ARBITER_WAIT);
}

static void what_came_to_nothing_is_not_tried_at_once(void **state)
{
    struct scene scene = vacant(2);

    (void) state;
    scene.state.not_before_ms = scene.now_ms + 20000;
    assert_int_equal(takes_over_after(scene), 20000);
}

static void a_holder_keeps_its_claim(void **state)
{
    struct scene scene = vacant(1);

    (void) state;
    scene.view.is_held = true;
    scene.view.holder = 1;
    scene.state.vacant_since_ms = 0;
    assert_int_equal(next(&scene), ARBITER_KEEP);
    scene.topology.epoch += 256; /* it has another topology now */
    assert_int_equal(next(&scene), ARBITER_NOTE);
    scene.self = 2;
    assert_int_equal(next(&scene), ARBITER_WAIT);
    assert_int_equal(takes_over_after(scene), -1);
    scene.state.is_wanted = true; /* a change hands it over */
    assert_int_equal(next(&scene), ARBITER_MOVE);
}

/* A hub whose change waits for its claim must not take it from the region that takes over. */
static void a_hub_takes_it_from_nobody(void **state)
{
    struct scene scene = vacant(1);

    (void) state;
    scene.view.is_held = true;
    scene.view.holder = 2;
    scene.state.is_wanted = true;
    assert_int_equal(next(&scene), ARBITER_WAIT);
}

static void who_has_claimed_becomes_the_hub(void **state)
{
    struct scene scene = vacant(2);

    (void) state;
    scene.view.is_held = true;
    scene.view.holder = 2;
    assert_int_equal(next(&scene), ARBITER_GO_ON);
    scene.state.is_wanted = true; /* a change is on its way already */
    assert_int_equal(next(&scene), ARBITER_KEEP);
}

/* ---- texts ---- */

static char *base64(const char *text)
{
    size_t len = strlen(text);
    char *encoded = calloc(1, BASE64_LEN(len) + 1);

    assert_non_null(encoded);
    base64_encode(text, len, encoded);
    return encoded;
}

static bool read_look(struct arbiter_view *view, const char *answer)
{
    struct fault fault = {0};
    struct arena arena;

    arena_init(&arena, 1u << 20);
    bool is_read =
        arbiter_read_look(view, slice_from_text(answer), SLICE_LITERAL("orrery"), &arena, &fault);
    arena_finish(&arena);
    assert_true(is_read == (fault.status == 0));
    return is_read;
}

static bool read_pair(struct arbiter_view *view, const char *key, const char *value,
                      const char *more)
{
    char answer[1024], *k = base64(key), *v = base64(value);

    snprintf(answer, sizeof(answer),
             "{\"header\":{\"revision\":\"9\"},\"kvs\":[{\"key\":\"%s\",\"value\":\"%s\"%s}],"
             "\"count\":\"1\"}",
             k, v, more);
    free(k);
    free(v);
    return read_look(view, answer);
}

static void what_etcd_holds_is_read(void **state)
{
    struct arbiter_view view;

    (void) state;
    assert_true(read_look(&view, "{\"header\":{\"revision\":\"1\"}}"));
    assert_false(view.is_held);
    assert_int_equal(view.topology_revision, 0);
    assert_true(read_pair(&view, "/orrery/orrery/hub",
                          "{\"ordinal\":2,\"region\":\"East US\",\"vacant\":true,\"ttl\":15}",
                          ",\"mod_revision\":\"12\",\"lease\":\"7587862094414212345\""));
    assert_true(view.is_held && view.was_vacant);
    assert_int_equal(view.holder, 2);
    assert_int_equal(view.ttl_s, 15);
    assert_int_equal(view.revision, 12);
    assert_true(view.lease == 7587862094414212345);
    assert_true(
        read_pair(&view, "/orrery/orrery/topology", "{\"epoch\":513}", ",\"mod_revision\":\"3\""));
    assert_int_equal(view.epoch, 513);
    assert_int_equal(view.topology_revision, 3);
}

/* Somebody's own key of that name is a claim of nobody: it is waited for, not taken. */
static void a_claim_that_is_none_of_ours_is_held(void **state)
{
    static const char *const values[] = {
        "", "null", "{", "[2]", "{\"ordinal\":0}", "{\"ordinal\":\"x\"}", "{\"ordinal\":256}"};
    struct arbiter_view view;

    (void) state;
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        assert_true(read_pair(&view, "/orrery/orrery/hub", values[i], ",\"lease\":\"5\""));
        assert_true(view.is_held);
        assert_int_equal(view.holder, 0);
    }
    assert_true(read_pair(&view, "/orrery/orrery/hub", "{\"ordinal\":1}", "")); /* no lease */
    assert_int_equal(view.holder, 0);
    assert_true(read_pair(&view, "/orrery/orrery/topology", "no document", ""));
    assert_true(view.epoch == INT64_MAX);
}

static void what_etcd_does_not_answer_is_refused(void **state)
{
    static const char *const answers[] = {
        "",
        "[]",
        "null",
        "{}",
        "<html>",
        "{\"header\":{},\"kvs\":{}}",
        "{\"header\":{},\"kvs\":[1]}",
        "{\"header\":{},\"kvs\":[{\"key\":\"?\"}]}",
        "{\"header\":{},\"kvs\":[{\"key\":\"YQ==\"}]}",
        "{\"header\":{},\"kvs\":[{\"key\":7}]}",
        "{\"header\":{},\"kvs\":[{\"mod_revision\":\"1e99\"}]}",
        "{\"error\":\"etcdserver: request timed out\",\"code\":14}"};
    struct arbiter_view view;
    struct fault fault = {0};
    int64_t lease, granted_s;
    bool is_done;

    (void) state;
    for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
        struct slice answer = slice_from_text(answers[i]);
        assert_false(read_look(&view, answers[i]));
        assert_false(arbiter_read_grant(answer, &lease, &granted_s, &fault));
        assert_false(arbiter_read_keepalive(answer, &granted_s, &fault));
    }
    assert_false(arbiter_read_transaction(SLICE_LITERAL("{}"), &is_done, &fault));
    assert_false(arbiter_read_transaction(slice_from_text(answers[11]), &is_done, &fault));
    assert_non_null(strstr(fault.message, "timed out"));
    assert_false(arbiter_read_grant(SLICE_LITERAL("{\"ID\":\"0\",\"TTL\":\"5\"}"), &lease,
                                    &granted_s, &fault));
    assert_false(
        arbiter_read_keepalive(SLICE_LITERAL("{\"result\":{\"TTL\":\"-1\"}}"), &granted_s, &fault));
}

static void leases_and_transactions_are_read(void **state)
{
    struct fault fault = {0};
    int64_t lease, granted_s;
    bool is_done;

    (void) state;
    assert_true(arbiter_read_grant(SLICE_LITERAL("{\"header\":{},\"ID\":\"77\",\"TTL\":\"15\"}"),
                                   &lease, &granted_s, &fault));
    assert_int_equal(lease, 77);
    assert_int_equal(granted_s, 15);
    assert_true(arbiter_read_keepalive(SLICE_LITERAL("{\"result\":{\"ID\":\"77\",\"TTL\":\"14\"}}"),
                                       &granted_s, &fault));
    assert_int_equal(granted_s, 14);
    /* One that has run out is answered without a time. */
    assert_true(
        arbiter_read_keepalive(SLICE_LITERAL("{\"result\":{\"ID\":\"77\"}}"), &granted_s, &fault));
    assert_int_equal(granted_s, 0);
    assert_true(arbiter_read_transaction(SLICE_LITERAL("{\"header\":{},\"succeeded\":true}"),
                                         &is_done, &fault));
    assert_true(is_done);
    assert_true(arbiter_read_transaction(SLICE_LITERAL("{\"header\":{}}"), &is_done, &fault));
    assert_false(is_done);
}

/* The keys of an account "orrery" end before those of an account "orrery0" or "orrery-2". */
static void a_login_is_printed_and_read(void **state)
{
    static const char *const bad[] = {"{}",
                                      "{\"token\":7}",
                                      "{\"token\":\"\"}",
                                      "{\"token\":\"a b\"}",
                                      "{\"token\":\"a\\r\\nb\"}",
                                      "{\"token\":\"ä\"}",
                                      "{\"error\":\"etcdserver: no\",\"token\":\"a\"}"};
    char token[ARBITER_TOKEN_BYTES];
    struct buf text = {0};
    struct fault fault;

    (void) state;
    arbiter_print_login(&text, "me", "say \"friend\" \\");
    buf_append_char(&text, '\0');
    assert_string_equal(text.ptr, "{\"name\":\"me\",\"password\":\"say \\\"friend\\\" \\\\\"}");
    text.len = 0;
    buf_append_text(&text, "{\"header\":{\"revision\":\"2\"},\"token\":\"aB-_=.15\"}");
    assert_true(arbiter_read_login(buf_slice(&text), token, &fault));
    assert_string_equal(token, "aB-_=.15");
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(arbiter_read_login(slice_from_text(bad[i]), token, &fault));
    text.len = 0;
    buf_append_text(&text, "{\"token\":\"");
    for (size_t i = 1; i < ARBITER_TOKEN_BYTES; i++)
        buf_append_char(&text, 'x');
    buf_append_text(&text, "\"}");
    assert_true(arbiter_read_login(buf_slice(&text), token, &fault));
    assert_int_equal(strlen(token), ARBITER_TOKEN_BYTES - 1);
    text.len -= 2;
    buf_append_text(&text, "x\"}");
    assert_false(arbiter_read_login(buf_slice(&text), token, &fault));
    buf_finish(&text);
}

static void accounts_do_not_meet(void **state)
{
    char *first = base64("/orrery/orrery/"), *behind = base64("/orrery/orrery0");
    struct buf text = {0};

    (void) state;
    arbiter_print_look(&text, SLICE_LITERAL("orrery"));
    assert_non_null(strstr(buf_text(&text), first));
    assert_non_null(strstr(buf_text(&text), behind));
    assert_true(strcmp("/orrery/orrery0/hub", "/orrery/orrery0") > 0);
    assert_true(strcmp("/orrery/orrery-2/hub", "/orrery/orrery/") < 0);
    buf_finish(&text);
    free(first);
    free(behind);
}

static void a_claim_names_what_was_seen(void **state)
{
    struct topology topology = make_topology(3);
    struct arbiter_view view = {.epoch = EPOCH, .topology_revision = 7};
    char *value = base64("{\"ordinal\":2,\"region\":\"East US\",\"vacant\":true,\"ttl\":15}");
    char *key = base64("/orrery/orrery/hub");
    struct buf text = {0};

    (void) state;
    arbiter_print_claim(&text, &topology, 2, &view, 15, 99);
    assert_non_null(strstr(buf_text(&text), key));
    assert_non_null(strstr(text.ptr, value));
    assert_non_null(strstr(text.ptr, "\"mod_revision\":\"0\""));
    assert_non_null(strstr(text.ptr, "\"mod_revision\":\"7\""));
    assert_non_null(strstr(text.ptr, "\"lease\":\"99\""));
    text.len = 0;
    view.is_held = true;
    view.revision = 12;
    arbiter_print_claim(&text, &topology, 2, &view, 15, 99);
    assert_non_null(strstr(buf_text(&text), "\"mod_revision\":\"12\""));
    assert_null(strstr(text.ptr, value));
    buf_finish(&text);
    free(value);
    free(key);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_hub_stops_before_its_lease_ends),
        cmocka_unit_test(the_shorter_life_counts),
        cmocka_unit_test(the_hub_claims_at_once),
        cmocka_unit_test(regions_take_over_in_the_order_of_their_priority),
        cmocka_unit_test(who_has_just_started_gives_the_hub_time),
        cmocka_unit_test(nobody_takes_over_what_never_was),
        cmocka_unit_test(who_knows_less_than_etcd_waits),
        cmocka_unit_test(what_came_to_nothing_is_not_tried_at_once),
        cmocka_unit_test(a_holder_keeps_its_claim),
        cmocka_unit_test(a_hub_takes_it_from_nobody),
        cmocka_unit_test(who_has_claimed_becomes_the_hub),
        cmocka_unit_test(what_etcd_holds_is_read),
        cmocka_unit_test(a_claim_that_is_none_of_ours_is_held),
        cmocka_unit_test(what_etcd_does_not_answer_is_refused),
        cmocka_unit_test(leases_and_transactions_are_read),
        cmocka_unit_test(a_login_is_printed_and_read),
        cmocka_unit_test(accounts_do_not_meet),
        cmocka_unit_test(a_claim_names_what_was_seen),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
