/* Faults on demand as JSON: what is read is printed as it was meant, what is wrong is named. */
#include "regions/fault_rule.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct arena arena;
static struct fault fault;
static struct fault_order order;
static const struct topology topology = {
    .region_count = 4,
    .regions = {{.ordinal = 1, .name = {"West US", 7}},
                {.ordinal = 3, .name = {"East \"2\"", 8}},
                {.ordinal = 5, .name = {"North", 5}},
                {.ordinal = 2, .name = {"North", 5}, .state = REGION_RETIRED}}};

static bool parse(const char *body)
{
    fault = (struct fault){0};
    return fault_order_parse(&order, slice_from_text(body), &topology, 1, &arena, &fault);
}

static const char *printed(void (*print)(struct buf *))
{
    struct buf out = {0};

    print(&out);
    assert_false(out.has_failed);
    const char *text = arena_copy(&arena, out.ptr, out.len);
    buf_finish(&out);
    return text;
}

static void print_rule(struct buf *out)
{
    fault_rule_print(out, &order.rule, &topology);
}

static void print_order(struct buf *out)
{
    fault_order_print(out, &order, &topology);
}

static int setup(void **state)
{
    (void) state;
    arena_init(&arena, 1 << 20);
    return 0;
}

static int teardown(void **state)
{
    (void) state;
    arena_finish(&arena);
    return 0;
}

static void wrong_orders_are_refused_by_member(void **state)
{
    static const struct {
        const char *body, *culprit;
    } wrong[] = {
        {"", "JSON"},
        {"[]", "object"},
        {"{}", "\"kind\""},
        {"{\"kind\":\"cut\"}", "\"kind\""},
        {"{\"kind\":7}", "\"kind\""},
        {"{\"kind\":\"link\",\"cat\":true}", "\"cat\""},
        {"{\"kind\":\"link\"}", "cut"},
        {"{\"kind\":\"link\",\"cut\":false,\"delayMs\":0}", "cut"},
        {"{\"kind\":\"link\",\"cut\":1}", "\"cut\""},
        {"{\"kind\":\"link\",\"cut\":true,\"from\":\"Mars\"}", "Mars"},
        {"{\"kind\":\"link\",\"cut\":true,\"from\":4}", "\"from\""},
        {"{\"kind\":\"link\",\"cut\":true,\"to\":{}}", "\"to\""},
        {"{\"kind\":\"link\",\"cut\":true,\"from\":\"North\",\"to\":5}", "\"to\""},
        {"{\"kind\":\"link\",\"delayMs\":-1}", "\"delayMs\""},
        {"{\"kind\":\"link\",\"delayMs\":1.5}", "\"delayMs\""},
        {"{\"kind\":\"link\",\"jitterMs\":600001}", "\"jitterMs\""},
        {"{\"kind\":\"link\",\"drop\":1.01}", "\"drop\""},
        {"{\"kind\":\"link\",\"drop\":\"0.5\"}", "\"drop\""},
        {"{\"kind\":\"link\",\"duplicate\":-0.1}", "\"duplicate\""},
        {"{\"kind\":\"link\",\"reorder\":2}", "\"reorder\""},
        {"{\"kind\":\"link\",\"cut\":true,\"seed\":-1}", "\"seed\""},
        {"{\"kind\":\"link\",\"cut\":true,\"oneWay\":\"yes\"}", "\"oneWay\""},
        {"{\"kind\":\"link\",\"cut\":true,\"region\":1}", "\"region\""},
        {"{\"kind\":\"pause\",\"cut\":true}", "\"cut\""},
        {"{\"kind\":\"pause\",\"region\":\"Mars\"}", "Mars"},
        {"{\"kind\":\"clock\"}", "\"skewMs\""},
        {"{\"kind\":\"clock\",\"skewMs\":1e15}", "\"skewMs\""},
        {"{\"kind\":\"refuse\"}", "\"status\""},
        {"{\"kind\":\"refuse\",\"status\":200}", "\"status\""},
        {"{\"kind\":\"refuse\",\"status\":429,\"substatus\":1002}", "\"substatus\""},
        {"{\"kind\":\"refuse\",\"status\":503,\"count\":0}", "\"count\""},
        {"{\"kind\":\"refuse\",\"status\":503,\"count\":1000001}", "\"count\""},
        {"{\"kind\":\"refuse\",\"status\":503,\"requests\":\"some\"}", "\"requests\""},
        {"{\"kind\":\"refuse\",\"status\":503,\"container\":\"c\"}", "\"container\""},
        {"{\"kind\":\"refuse\",\"status\":503,\"container\":\"/c\"}", "\"container\""},
        {"{\"kind\":\"refuse\",\"status\":503,\"retryAfterMs\":-1}", "\"retryAfterMs\""},
        {"{\"kind\":\"refuse\",\"status\":503,\"after\":0}", "\"after\""},
        {"{\"kind\":\"clear\",\"status\":503}", "\"status\""},
        {"{\"kind\":\"clear\",\"id\":\"0123456789abcdeF\"}", "\"id\""},
        {"{\"kind\":\"clear\",\"id\":\"0123456789abcde\"}", "\"id\""},
        {"{\"kind\":\"clear\",\"id\":5}", "\"id\""},
    };

    (void) state;
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        if (parse(wrong[i].body))
            fail_msg("accepted: %s", wrong[i].body);
        assert_int_equal(fault.status, 400);
        if (strcmp(wrong[i].culprit, "JSON") != 0 &&
            strstr(fault.message, wrong[i].culprit) == NULL)
            fail_msg("%s: %s", wrong[i].body, fault.message);
    }
}

static void assert_printed(const char *body, const char *expected)
{
    if (!parse(body))
        fail_msg("%s: %s", body, fault.message);
    assert_string_equal(printed(print_rule), expected);
    struct fault_order first = order;
    const char *told = printed(print_order);
    if (order.rule.id[0] == '\0') /* a keeper gives one before it tells others */
        return;
    if (!parse(told))
        fail_msg("%s: %s", told, fault.message);
    assert_true(order.is_relayed);
    order.is_relayed = first.is_relayed;
    assert_memory_equal(&order, &first, sizeof(order));
}

#define ID "\"id\":\"00112233aabbccdd\","

static void what_is_asked_for_is_understood(void **state)
{
    (void) state;
    assert_printed("{" ID "\"kind\":\"link\",\"from\":\"west us\",\"to\":3,\"cut\":true}",
                   "{" ID "\"kind\":\"link\",\"from\":\"West US\",\"to\":\"East \\\"2\\\"\","
                   "\"oneWay\":false,\"cut\":true}");
    assert_int_equal(order.rule.link.from, 1);
    assert_int_equal(order.rule.link.to, 3);
    assert_printed("{" ID "\"kind\":\"link\",\"from\":\"North\",\"oneWay\":true,\"delayMs\":100,"
                   "\"jitterMs\":20,\"drop\":0.25,\"duplicate\":1,\"reorder\":1e-3,\"seed\":9}",
                   "{" ID "\"kind\":\"link\",\"from\":\"North\",\"oneWay\":true,\"delayMs\":100,"
                   "\"jitterMs\":20,\"drop\":0.25,\"duplicate\":1,\"reorder\":0.001}");
    assert_int_equal(order.rule.link.from, 5); /* the live one of two with this name */
    assert_int_equal(order.rule.link.to, LINK_ANY);
    assert_true(order.rule.has_seed && order.rule.link.state == 9);
    assert_printed("{" ID "\"kind\":\"pause\",\"region\":null}",
                   "{" ID "\"kind\":\"pause\",\"region\":\"West US\"}");
    assert_printed("{" ID "\"kind\":\"clock\",\"region\":5,\"skewMs\":-3600000}",
                   "{" ID "\"kind\":\"clock\",\"region\":\"North\",\"skewMs\":-3600000}");
    assert_printed("{" ID "\"kind\":\"refuse\",\"status\":429}",
                   "{" ID "\"kind\":\"refuse\",\"region\":\"West US\",\"requests\":\"all\","
                   "\"count\":1,\"status\":429}");
    assert_printed("{" ID "\"kind\":\"refuse\",\"status\":404,\"substatus\":1002,\"count\":3,"
                   "\"requests\":\"reads\",\"container\":\"a b/c\",\"retryAfterMs\":5,"
                   "\"after\":true,\"region\":3}",
                   "{" ID
                   "\"kind\":\"refuse\",\"region\":\"East \\\"2\\\"\",\"requests\":\"reads\","
                   "\"container\":\"a b/c\",\"count\":3,\"status\":404,\"substatus\":1002,"
                   "\"retryAfterMs\":5,\"after\":true}");
    assert_int_equal(order.rule.substatus, SUB_READ_SESSION_NOT_AVAILABLE);
}

static void orders_to_clear(void **state)
{
    (void) state;
    assert_true(parse("{\"kind\":\"clear\"}"));
    assert_true(order.is_clear && order.rule.id[0] == '\0' && !order.is_relayed);
    assert_string_equal(printed(print_order), "{\"kind\":\"clear\",\"relayed\":true}");
    assert_true(parse("{" ID "\"kind\":\"clear\",\"relayed\":true}"));
    assert_true(order.is_clear && order.is_relayed);
    assert_string_equal(order.rule.id, "00112233aabbccdd");
    assert_string_equal(printed(print_order),
                        "{\"kind\":\"clear\",\"id\":\"00112233aabbccdd\",\"relayed\":true}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(wrong_orders_are_refused_by_member, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_asked_for_is_understood, setup, teardown),
        cmocka_unit_test_setup_teardown(orders_to_clear, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
