/* Where ORDER BY goes on: reading a resume filter, and which rows are at it or beyond. */
#include "query/resume.h"

#include "query/check.h"
#include "query/parser.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

/* The rid of item 7 of some container. */
#define RID_7 "AQAAAIAAAAEHAAAAAAAAAA=="

struct position {
    struct arena arena;
    struct ast_query query;
    struct resume resume;
    cJSON *filter;
};

static bool read_filter(struct position *position, const char *text, const char *filter,
                        struct fault *fault)
{
    const struct check_input input = {0};

    arena_init(&position->arena, 1 << 20);
    position->filter = filter != NULL ? cJSON_Parse(filter) : NULL;
    assert_true(filter == NULL || position->filter != NULL);
    if (!parser_query(&position->arena, slice_from_text(text), &position->query, fault) ||
        !check_query(&position->arena, &position->query, &input, fault))
        fail_msg("%s: %s", text, fault->message);
    return resume_read(&position->resume, &position->arena, position->filter, &position->query,
                       fault);
}

static void position_finish(struct position *position)
{
    cJSON_Delete(position->filter);
    arena_finish(&position->arena);
}

/* A row's sort values, [] for undefined, and the number of its item. */
static bool passes(const struct position *position, const char *row, const uint64_t *rid)
{
    struct sort_value values[2];
    cJSON *list = cJSON_Parse(row);
    const cJSON *member;
    unsigned count = 0;

    cJSON_ArrayForEach(member, list) values[count++] =
        sort_value_of(cJSON_IsArray(member) && member->child == NULL ? NULL : member);
    assert_int_equal(count, position->query.order_count);
    bool does = resume_passes(&position->resume, values, rid);
    cJSON_Delete(list);
    return does;
}

static void begin(struct position *position, const char *text, const char *filter)
{
    struct fault fault = {0};

    if (!read_filter(position, text, filter, &fault))
        fail_msg("%s: %s", filter != NULL ? filter : "no filter", fault.message);
}

static void without_a_filter_every_row_passes(void **state)
{
    struct position position;

    (void) state;
    begin(&position, "SELECT * FROM c ORDER BY c.a", NULL);
    assert_true(passes(&position, "[[]]", NULL));
    position_finish(&position);
}

static void ties_are_in_the_order_of_rids(void **state)
{
    static const uint64_t before = 6, at = 7, beyond = 8;
    struct position position;

    (void) state;
    begin(&position, "SELECT * FROM c ORDER BY c.a", "{\"value\":[5],\"rid\":\"" RID_7 "\"}");
    assert_false(passes(&position, "[4]", &beyond));
    assert_false(passes(&position, "[5]", &before));
    assert_true(passes(&position, "[5]", &at));
    assert_true(passes(&position, "[5]", &beyond));
    assert_true(passes(&position, "[6]", &before));
    assert_true(passes(&position, "[5]", NULL));
    assert_true(passes(&position, "[\"\"]", &before));
    assert_false(passes(&position, "[null]", &beyond));
    position_finish(&position);
    begin(&position, "SELECT * FROM c ORDER BY c.a DESC",
          "{\"value\":[5],\"rid\":\"" RID_7 "\",\"exclude\":false}");
    assert_true(passes(&position, "[4]", &beyond));
    assert_true(passes(&position, "[5]", &before));
    assert_true(passes(&position, "[5]", &at));
    assert_false(passes(&position, "[5]", &beyond));
    assert_true(passes(&position, "[[]]", &beyond));
    position_finish(&position);
}

static void excluded_ties_do_not_pass(void **state)
{
    static const uint64_t beyond = 8;
    struct position position;

    (void) state;
    begin(&position, "SELECT * FROM c ORDER BY c.a, c.b DESC",
          "{\"value\":[[],\"x\"],\"rid\":\"" RID_7 "\",\"exclude\":true}");
    assert_false(passes(&position, "[[],\"x\"]", &beyond));
    assert_false(passes(&position, "[[],\"y\"]", &beyond));
    assert_true(passes(&position, "[[],\"w\"]", &beyond));
    assert_true(passes(&position, "[null,\"x\"]", &beyond));
    position_finish(&position);
}

static void malformed_filters_are_refused(void **state)
{
    static const char *const filters[] = {
        "{}",
        "{\"value\":1}",
        "{\"value\":[]}",
        "{\"value\":[1,2]}",
        "{\"value\":[[1]]}",
        "{\"value\":[{\"type\":\"object\",\"low\":1,\"high\":2}]}",
        "{\"value\":[1],\"exclude\":0}",
        "{\"value\":[1],\"rid\":\"AQAAAA==\"}",
        "{\"value\":[1],\"rid\":7}",
    };
    (void) state;
    for (size_t i = 0; i < sizeof(filters) / sizeof(*filters); i++) {
        struct position position;
        struct fault fault = {0};

        assert_false(read_filter(&position, "SELECT * FROM c ORDER BY c.a", filters[i], &fault));
        assert_int_equal(fault.status, 400);
        position_finish(&position);
    }
}

static void without_an_order_there_is_no_position(void **state)
{
    struct position position;
    struct fault fault = {0};

    (void) state;
    assert_false(read_filter(&position, "SELECT * FROM c", "{\"value\":[]}", &fault));
    assert_int_equal(fault.status, 400);
    position_finish(&position);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_filter_every_row_passes),
        cmocka_unit_test(ties_are_in_the_order_of_rids),
        cmocka_unit_test(excluded_ties_do_not_pass),
        cmocka_unit_test(malformed_filters_are_refused),
        cmocka_unit_test(without_an_order_there_is_no_position),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
