#include "regions/topology.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/banned.h"

static const char three[] =
    "{\"account\":\"orrery\",\"epoch\":513,\"mode\":\"single\",\"hub\":2,\"level\":\"Session\","
    "\"bounded\":{\"versions\":10,\"seconds\":5},\"regions\":["
    "{\"ordinal\":3,\"name\":\"West US\",\"state\":\"online\"},"
    "{\"ordinal\":2,\"name\":\"East US\",\"state\":\"online\"},"
    "{\"ordinal\":5,\"name\":\"North Europe\",\"state\":\"offline\"}],"
    "\"retired\":[{\"ordinal\":1,\"name\":\"West US\",\"lost\":true}]}";

struct reading {
    struct arena arena;
    struct topology topology;
    struct fault fault;
    bool is_read;
};

static void read_text(struct reading *reading, const char *text)
{
    *reading = (struct reading){.is_read = false};
    arena_init(&reading->arena, 1 << 20);
    reading->is_read =
        topology_parse(&reading->topology, slice_from_text(text), &reading->arena, &reading->fault);
}

static void refused(const char *text, const char *why)
{
    struct reading reading;

    read_text(&reading, text);
    assert_false(reading.is_read);
    assert_int_equal(reading.fault.status, 400);
    if (strstr(reading.fault.message, why) == NULL)
        fail_msg("\"%s\" is no \"%s\"", reading.fault.message, why);
    arena_finish(&reading.arena);
}

static void a_document_is_read_and_printed_as_it_was(void **state)
{
    struct reading reading;
    struct buf out = {0};

    (void) state;
    read_text(&reading, three);
    assert_true(reading.is_read);
    assert_int_equal(reading.topology.epoch, 513);
    assert_int_equal(reading.topology.hub, 2);
    assert_int_equal(reading.topology.level, LEVEL_SESSION);
    assert_int_equal(reading.topology.bounded_versions, 10);
    assert_int_equal(topology_live_count(&reading.topology), 3);
    assert_int_equal(topology_majority(&reading.topology), 2);
    assert_int_equal(topology_next_ordinal(&reading.topology), 6);
    topology_print(&out, &reading.topology);
    assert_string_equal(buf_text(&out), three);
    buf_finish(&out);
    arena_finish(&reading.arena);
}

static void what_is_left_out_has_defaults(void **state)
{
    struct reading reading;

    (void) state;
    read_text(&reading,
              "{\"account\":\"a\",\"hub\":1,\"regions\":[{\"ordinal\":1,\"name\":\"x\"}]}");
    assert_true(reading.is_read);
    assert_int_equal(reading.topology.epoch, TOPOLOGY_EPOCH_FIRST);
    assert_int_equal(reading.topology.mode, TOPOLOGY_SINGLE_WRITE);
    assert_int_equal(reading.topology.level, LEVEL_SESSION);
    assert_int_equal(reading.topology.regions[0].state, REGION_ONLINE);
    assert_int_equal(topology_majority(&reading.topology), 1);
    arena_finish(&reading.arena);
}

static void names_are_found_whatever_their_case_and_spaces(void **state)
{
    struct reading reading;

    (void) state;
    read_text(&reading, three);
    assert_true(reading.is_read);
    /* The live region, not the retired one of the same name. */
    assert_int_equal(topology_find_name(&reading.topology, SLICE_LITERAL("westus"))->ordinal, 3);
    assert_null(topology_find_name(&reading.topology, SLICE_LITERAL("West")));
    assert_null(topology_find_name(&reading.topology, SLICE_LITERAL("")));
    assert_null(topology_find(&reading.topology, 4));
    assert_int_equal(topology_find(&reading.topology, 1)->state, REGION_RETIRED);
    arena_finish(&reading.arena);
}

static void the_hub_writes_and_in_multi_write_accounts_whoever_is_online(void **state)
{
    struct reading reading;

    (void) state;
    read_text(&reading, three);
    assert_true(reading.is_read);
    assert_true(topology_may_write(&reading.topology, 2));
    assert_false(topology_may_write(&reading.topology, 3));
    reading.topology.mode = TOPOLOGY_MULTI_WRITE;
    assert_true(topology_may_write(&reading.topology, 3));
    assert_false(topology_may_write(&reading.topology, 5)); /* offline */
    assert_false(topology_may_write(&reading.topology, 1)); /* retired */
    assert_false(topology_may_write(&reading.topology, 9)); /* nobody */
    arena_finish(&reading.arena);
}

#define ONE "\"regions\":[{\"ordinal\":1,\"name\":\"x\"}]"

static void what_no_account_can_have_is_refused(void **state)
{
    (void) state;
    refused("", "");
    refused("[]", "no JSON object");
    refused("{\"account\":\"a\",\"hub\":1}", "hub");
    refused("{\"hub\":1," ONE "}", "no account");
    refused("{\"account\":\"\",\"hub\":1," ONE "}", "account");
    refused("{\"account\":\"a\",\"hub\":2," ONE "}", "hub");
    refused("{\"account\":\"a\",\"hub\":0," ONE "}", "hub");
    refused("{\"account\":\"a\",\"hub\":1,\"epoch\":256," ONE "}", "epoch");
    refused("{\"account\":\"a\",\"hub\":1,\"epoch\":512," ONE "}", "epoch");
    refused("{\"account\":\"a\",\"hub\":1,\"epoch\":\"257\"," ONE "}", "epoch");
    refused("{\"account\":\"a\",\"hub\":1,\"mode\":\"double\"," ONE "}", "mode");
    refused("{\"account\":\"a\",\"hub\":1,\"level\":\"Best\"," ONE "}", "level");
    refused("{\"account\":\"a\",\"hub\":1,\"mode\":\"multi\",\"level\":\"Strong\"," ONE "}",
            "Strong");
    refused("{\"account\":\"a\",\"hub\":1,\"bounded\":{\"versions\":0}," ONE "}", "versions");
    refused("{\"account\":\"a\",\"hub\":1,\"bounded\":{\"hours\":1}," ONE "}", "hours");
    refused("{\"account\":\"a\",\"hub\":1,\"later\":true," ONE "}", "later");
    refused("{\"account\":\"a\",\"hub\":1,\"regions\":{}}", "regions");
    refused("{\"account\":\"a\",\"hub\":1,\"regions\":[1]}", "regions");
    refused("{\"account\":\"a\",\"hub\":1,\"regions\":[{\"ordinal\":1}]}", "no name");
    refused("{\"account\":\"a\",\"hub\":1,\"regions\":[{\"name\":\"x\"}]}", "no ordinal");
    refused("{\"account\":\"a\",\"hub\":1,\"regions\":[{\"ordinal\":256,\"name\":\"x\"}]}",
            "ordinal");
    refused("{\"account\":\"a\",\"hub\":1,\"regions\":[{\"ordinal\":1,\"name\":\"x\",\"at\":1}]}",
            "at");
    refused("{\"account\":\"a\",\"hub\":1,\"regions\":[{\"ordinal\":1,\"name\":\"x\",\"state\":"
            "\"retired\"}]}",
            "state");
    refused("{\"account\":\"a\",\"hub\":1,\"regions\":[{\"ordinal\":1,\"name\":\"x\",\"state\":"
            "\"offline\"}]}",
            "hub");
    refused("{\"account\":\"a\",\"hub\":1,\"regions\":[{\"ordinal\":1,\"name\":\"x y\"},"
            "{\"ordinal\":2,\"name\":\"XY\"}]}",
            "two regions have the name");
    refused("{\"account\":\"a\",\"hub\":1," ONE ",\"retired\":[{\"ordinal\":1,\"name\":\"y\"}]}",
            "ordinal 1");
    refused("{\"account\":\"a\",\"hub\":1," ONE
            ",\"retired\":[{\"ordinal\":2,\"name\":\"y\",\"state\":\"online\"}]}",
            "state");
}

static void there_is_a_limit_to_the_regions(void **state)
{
    struct buf text = {0};

    (void) state;
    buf_append_text(&text, "{\"account\":\"a\",\"hub\":1,\"regions\":[");
    for (int i = 1; i <= TOPOLOGY_REGIONS_MAX + 1; i++)
        buf_printf(&text, "%s{\"ordinal\":%d,\"name\":\"r%d\"}", i > 1 ? "," : "", i, i);
    buf_append_text(&text, "]}");
    refused(buf_text(&text), "more than");
    buf_finish(&text);
}

static void levels_are_found_by_their_names(void **state)
{
    enum consistency_level level;

    (void) state;
    for (unsigned i = LEVEL_STRONG; i <= LEVEL_EVENTUAL; i++) {
        const char *name = consistency_level_name((enum consistency_level) i);
        assert_true(consistency_level_find(slice_from_text(name), &level));
        assert_int_equal(level, i);
    }
    assert_true(consistency_level_find(SLICE_LITERAL("boundedstaleness"), &level));
    assert_int_equal(level, LEVEL_BOUNDED_STALENESS);
    assert_false(consistency_level_find(SLICE_LITERAL("Bounded"), &level));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_document_is_read_and_printed_as_it_was),
        cmocka_unit_test(what_is_left_out_has_defaults),
        cmocka_unit_test(names_are_found_whatever_their_case_and_spaces),
        cmocka_unit_test(the_hub_writes_and_in_multi_write_accounts_whoever_is_online),
        cmocka_unit_test(what_no_account_can_have_is_refused),
        cmocka_unit_test(there_is_a_limit_to_the_regions),
        cmocka_unit_test(levels_are_found_by_their_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
