#include "regions/change.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/banned.h"

/* West US is the hub; East US, North Europe; Brazil South is offline. */
static const char four[] =
    "{\"account\":\"orrery\",\"epoch\":513,\"hub\":1,\"regions\":["
    "{\"ordinal\":1,\"name\":\"West US\"},{\"ordinal\":2,\"name\":\"East US\"},"
    "{\"ordinal\":3,\"name\":\"North Europe\"},"
    "{\"ordinal\":5,\"name\":\"Brazil South\",\"state\":\"offline\"}],"
    "\"retired\":[{\"ordinal\":4,\"name\":\"East US\"}]}";

struct planning {
    struct arena arena;
    struct topology before;
    struct change change;
    struct change_plan plan;
    struct fault fault;
    bool is_planned;
};

/* reached: a letter per region, 'y' or 'n'; NULL for all. */
static void plan(struct planning *planning, const char *document, const char *wish,
                 const char *reached)
{
    bool is_reached[TOPOLOGY_REGIONS_MAX] = {false};

    *planning = (struct planning){.is_planned = false};
    arena_init(&planning->arena, 1 << 20);
    assert_true(topology_parse(&planning->before, slice_from_text(document), &planning->arena,
                               &planning->fault));
    assert_true(
        change_parse(&planning->change, slice_from_text(wish), &planning->arena, &planning->fault));
    for (size_t i = 0; reached != NULL && reached[i] != '\0'; i++)
        is_reached[i] = reached[i] == 'y';
    planning->is_planned = change_plan(&planning->plan, &planning->before, &planning->change,
                                       reached != NULL ? is_reached : NULL, &planning->fault);
}

static void becomes(struct planning *planning, const char *regions)
{
    struct buf text = {0};

    if (!planning->is_planned)
        fail_msg("refused: %s", planning->fault.message);
    topology_print(&text, &planning->plan.next);
    if (strstr(buf_text(&text), regions) == NULL)
        fail_msg("%s has no %s", buf_text(&text), regions);
    buf_finish(&text);
}

static void refused(const char *wish, const char *reached, unsigned status, const char *why)
{
    struct planning planning;

    plan(&planning, four, wish, reached);
    assert_false(planning.is_planned);
    assert_int_equal(planning.fault.status, status);
    if (strstr(planning.fault.message, why) == NULL)
        fail_msg("\"%s\" is no \"%s\"", planning.fault.message, why);
    arena_finish(&planning.arena);
}

static void a_planned_failover_fences_the_old_hub_and_keeps_it(void **state)
{
    struct planning planning;

    (void) state;
    plan(&planning, four, "{\"kind\":\"failover\",\"region\":\"northeurope\"}", "yyyn");
    becomes(&planning, "\"hub\":3");
    becomes(&planning, "{\"ordinal\":1,\"name\":\"West US\",\"state\":\"online\"}");
    assert_int_equal(planning.plan.runner, 3);
    assert_int_equal(planning.plan.needed, 2); /* n = 4, m = 3 */
    assert_int_equal(planning.plan.fence_count, 1);
    assert_int_equal(planning.plan.fence[0], 1);
    arena_finish(&planning.arena);
}

static void without_a_name_the_first_that_can_is_the_next_hub(void **state)
{
    struct planning planning;

    (void) state;
    plan(&planning, four, "{\"kind\":\"failover\",\"force\":true}", "nnyn");
    assert_false(planning.is_planned);
    assert_int_equal(planning.fault.status, 503);
    arena_finish(&planning.arena);
    plan(&planning, four, "{\"kind\":\"failover\",\"force\":true}", "nnyy");
    becomes(&planning, "\"hub\":3");
    arena_finish(&planning.arena);
    plan(&planning, four, "{\"kind\":\"failover\"}", "yyyy");
    becomes(&planning, "\"hub\":2");
    arena_finish(&planning.arena);
}

static void a_forced_failover_retires_the_old_hub(void **state)
{
    struct planning planning;

    (void) state;
    plan(&planning, four, "{\"kind\":\"failover\",\"region\":\"East US\",\"force\":true}", "nyyn");
    becomes(&planning, "\"regions\":[{\"ordinal\":2,");
    becomes(&planning, "{\"ordinal\":1,\"name\":\"West US\",\"lost\":true}]");
    assert_int_equal(planning.plan.fence_count, 0);
    arena_finish(&planning.arena);
}

static void loss_must_be_accepted_and_shrinks_the_account(void **state)
{
    struct planning planning;

    (void) state;
    refused("{\"kind\":\"failover\",\"region\":\"East US\",\"force\":true}", "nynn", 503,
            "only 1 of the 2");
    refused("{\"kind\":\"failover\",\"region\":\"East US\",\"acceptLoss\":true}", "yyyy", 400,
            "forced");
    plan(&planning, four,
         "{\"kind\":\"failover\",\"region\":\"East US\",\"force\":true,\"acceptLoss\":true}",
         "nynn");
    becomes(&planning, "\"regions\":[{\"ordinal\":2,\"name\":\"East US\",\"state\":\"online\"}],");
    assert_int_equal(topology_live_count(&planning.plan.next), 1);
    assert_int_equal(planning.plan.needed, 1);
    arena_finish(&planning.arena);
}

static void regions_come_and_go_under_ordinals_that_nobody_had(void **state)
{
    struct planning planning;

    (void) state;
    plan(&planning, four, "{\"kind\":\"add\",\"region\":\"Japan East\"}", NULL);
    becomes(&planning, "{\"ordinal\":6,\"name\":\"Japan East\",\"state\":\"joining\"}],\"retired\":"
                       "[{\"ordinal\":4,");
    arena_finish(&planning.arena);
    plan(&planning, four, "{\"kind\":\"remove\",\"region\":\"North Europe\"}", NULL);
    becomes(&planning, "\"retired\":[{\"ordinal\":4,\"name\":\"East US\"},{\"ordinal\":3,");
    assert_int_equal(planning.plan.fence_count, 0); /* it wrote nothing */
    arena_finish(&planning.arena);
    plan(&planning, four, "{\"kind\":\"add\",\"region\":\"Japan East\",\"url\":\"http://j:81\"}",
         NULL);
    becomes(&planning, "\"name\":\"Japan East\",\"url\":\"http://j:81\",\"state\":\"joining\"}]");
    arena_finish(&planning.arena);
    refused("{\"kind\":\"add\",\"region\":\"EASTUS\"}", NULL, 409, "already");
    refused("{\"kind\":\"add\"}", NULL, 400, "has a name");
    refused("{\"kind\":\"remove\",\"region\":\"West US\"}", NULL, 409, "is the hub");
    refused("{\"kind\":\"remove\",\"region\":\"Mars\"}", NULL, 404, "no region \"Mars\"");
}

static void a_region_that_writes_is_fenced_before_it_goes(void **state)
{
    static const char multi[] = "{\"account\":\"a\",\"hub\":1,\"mode\":\"multi\",\"regions\":["
                                "{\"ordinal\":1,\"name\":\"x\"},{\"ordinal\":2,\"name\":\"y\"}]}";
    struct planning planning;

    (void) state;
    plan(&planning, multi, "{\"kind\":\"remove\",\"region\":\"y\"}", "yy");
    becomes(&planning, "\"retired\":[{\"ordinal\":2,\"name\":\"y\"}]");
    assert_int_equal(planning.plan.fence_count, 1);
    assert_int_equal(planning.plan.fence[0], 2);
    arena_finish(&planning.arena);
    plan(&planning, multi, "{\"kind\":\"remove\",\"region\":\"y\"}", "yn");
    assert_false(planning.is_planned);
    assert_int_equal(planning.fault.status, 503);
    arena_finish(&planning.arena);
    plan(&planning, multi, "{\"kind\":\"remove\",\"region\":\"y\",\"force\":true}", "yn");
    becomes(&planning, "{\"ordinal\":2,\"name\":\"y\",\"lost\":true}");
    arena_finish(&planning.arena);
}

static void states_levels_modes_and_priorities_change(void **state)
{
    struct planning planning;

    (void) state;
    plan(&planning, four, "{\"kind\":\"offline\",\"region\":\"East US\"}", NULL);
    becomes(&planning, "{\"ordinal\":2,\"name\":\"East US\",\"state\":\"offline\"}");
    arena_finish(&planning.arena);
    plan(&planning, four, "{\"kind\":\"online\",\"region\":\"Brazil South\"}", NULL);
    becomes(&planning, "{\"ordinal\":5,\"name\":\"Brazil South\",\"state\":\"online\"}");
    arena_finish(&planning.arena);
    plan(&planning, four,
         "{\"kind\":\"level\",\"level\":\"BoundedStaleness\",\"versions\":7,\"seconds\":3}", NULL);
    becomes(&planning, "\"level\":\"BoundedStaleness\",\"bounded\":{\"versions\":7,\"seconds\":3}");
    arena_finish(&planning.arena);
    plan(&planning, four, "{\"kind\":\"mode\",\"mode\":\"multi\"}", NULL);
    becomes(&planning, "\"mode\":\"multi\"");
    arena_finish(&planning.arena);
    plan(&planning, four,
         "{\"kind\":\"priority\",\"regions\":[\"Brazil South\",\"West US\",\"North Europe\",\"East "
         "US\"]}",
         NULL);
    becomes(&planning, "\"regions\":[{\"ordinal\":5,");
    becomes(&planning, "\"hub\":1");
    arena_finish(&planning.arena);
}

static void what_cannot_be_is_refused_by_name(void **state)
{
    (void) state;
    refused("{\"kind\":\"failover\",\"region\":\"West US\"}", NULL, 409, "the hub already");
    refused("{\"kind\":\"failover\",\"region\":\"Brazil South\"}", NULL, 409, "is offline");
    refused("{\"kind\":\"failover\",\"region\":\"Mars\"}", NULL, 404, "Mars");
    refused("{\"kind\":\"failover\",\"region\":\"East US\"}", "nyyy", 503, "does not answer");
    refused("{\"kind\":\"offline\",\"region\":\"West US\"}", NULL, 409, "fail over first");
    refused("{\"kind\":\"offline\",\"region\":\"Brazil South\"}", NULL, 409, "not online");
    refused("{\"kind\":\"online\",\"region\":\"East US\"}", NULL, 409, "not offline");
    refused("{\"kind\":\"level\",\"level\":\"Session\"}", NULL, 409, "already");
    refused("{\"kind\":\"mode\",\"mode\":\"single\"}", NULL, 409, "already");
    refused("{\"kind\":\"priority\",\"regions\":[\"West US\"]}", NULL, 400, "all 4");
    refused("{\"kind\":\"priority\",\"regions\":[\"West US\",\"West US\",\"North Europe\",\"East "
            "US\"]}",
            NULL, 400, "ordinal 1");
    refused("{\"kind\":\"offline\",\"region\":\"East US\"}", "ynnn", 503, "only 1 of the 2");
}

static void wishes_are_read_and_printed(void **state)
{
    static const char *const good[] = {
        "{\"kind\":\"failover\",\"region\":\"East US\",\"force\":true,\"acceptLoss\":true}",
        "{\"kind\":\"level\",\"level\":\"BoundedStaleness\",\"versions\":7,\"seconds\":3}",
        "{\"kind\":\"mode\",\"mode\":\"multi\"}",
        "{\"kind\":\"priority\",\"regions\":[\"a\",\"b\"]}",
        "{\"kind\":\"add\",\"region\":\"a\",\"url\":\"https://a\"}",
        "{\"kind\":\"announce\",\"region\":\"a\",\"forwarded\":true}",
    };
    static const char *const bad[] = {
        "",
        "[]",
        "{}",
        "{\"kind\":\"nothing\"}",
        "{\"kind\":\"failover\",\"to\":1}",
        "{\"kind\":\"mode\",\"mode\":\"both\"}",
        "{\"kind\":\"level\",\"level\":\"Best\"}",
        "{\"kind\":\"failover\",\"force\":1}",
        "{\"kind\":\"priority\",\"regions\":[1]}",
        "{\"kind\":\"level\",\"versions\":0}",
        "{\"kind\":\"add\",\"region\":\"a\",\"url\":\"ftp://a\"}",
    };
    struct change change;
    struct arena arena;

    (void) state;
    arena_init(&arena, 1 << 20);
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct fault fault = {0};
        struct buf text = {0};
        assert_true(change_parse(&change, slice_from_text(good[i]), &arena, &fault));
        change_print(&text, &change);
        assert_string_equal(buf_text(&text), good[i]);
        buf_finish(&text);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct fault fault = {0};
        assert_false(change_parse(&change, slice_from_text(bad[i]), &arena, &fault));
        assert_int_equal(fault.status, 400);
    }
    arena_finish(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_planned_failover_fences_the_old_hub_and_keeps_it),
        cmocka_unit_test(without_a_name_the_first_that_can_is_the_next_hub),
        cmocka_unit_test(a_forced_failover_retires_the_old_hub),
        cmocka_unit_test(loss_must_be_accepted_and_shrinks_the_account),
        cmocka_unit_test(regions_come_and_go_under_ordinals_that_nobody_had),
        cmocka_unit_test(a_region_that_writes_is_fenced_before_it_goes),
        cmocka_unit_test(states_levels_modes_and_priorities_change),
        cmocka_unit_test(what_cannot_be_is_refused_by_name),
        cmocka_unit_test(wishes_are_read_and_printed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
