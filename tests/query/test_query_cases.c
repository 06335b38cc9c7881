/*
 * The conformance cases that one container, one WHERE and one projection can answer.
 *
 * A line of cases.jsonl is {name, docs, query, parameters, expect or error, ordered}. A case whose
 * clauses or functions are not served must be refused by name; the number of those that are
 * answered is asserted, so that none is lost silently.
 */
#include "query/filter.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#define CASES 140
#define ANSWERED 99

static const char *cases_path;

struct outcome {
    bool is_refused;     /* a 400 */
    bool is_unsupported; /* one that says so */
    cJSON *rows;
};

static bool json_equals(const cJSON *a, const cJSON *b)
{
    if (cJSON_IsNumber(a) && cJSON_IsNumber(b))
        return a->valuedouble == b->valuedouble;
    if (!cJSON_IsArray(a) && !cJSON_IsObject(a))
        return cJSON_Compare(a, b, true);
    if ((a->type & 0xff) != (b->type & 0xff) || cJSON_GetArraySize(a) != cJSON_GetArraySize(b))
        return false;
    const cJSON *y = b->child;
    for (const cJSON *x = a->child; x != NULL; x = x->next) {
        const cJSON *other = cJSON_IsArray(a) ? y : cJSON_GetObjectItemCaseSensitive(b, x->string);
        if (other == NULL || !json_equals(x, other))
            return false;
        y = y->next;
    }
    return true;
}

/* Each expected row found once; nothing left. */
static bool rows_equal(cJSON *rows, const cJSON *expected)
{
    if (cJSON_GetArraySize(rows) != cJSON_GetArraySize(expected))
        return false;
    for (const cJSON *want = expected->child; want != NULL; want = want->next) {
        cJSON *row = rows->child;

        while (row != NULL && !json_equals(row, want))
            row = row->next;
        if (row == NULL)
            return false;
        cJSON_Delete(cJSON_DetachItemViaPointer(rows, row));
    }
    return true;
}

static void rows_add(struct outcome *outcome, struct arena *arena, const struct filter *filter,
                     const cJSON *document)
{
    struct fault fault = {0};
    const cJSON *value = NULL;
    bool matches = false;

    assert_true(filter_matches(filter, document, arena, &matches, &fault));
    if (!matches)
        return;
    assert_true(filter_project(filter, document, arena, &value, &fault));
    if (value != NULL)
        assert_true(cJSON_AddItemToArray(outcome->rows, cJSON_Duplicate(value, true)));
}

static struct outcome outcome_of(const cJSON *test)
{
    struct outcome outcome = {.rows = cJSON_CreateArray()};
    struct arena arena;
    struct filter filter;
    struct fault fault = {0};
    const cJSON *document;

    arena_init(&arena, 16 << 20);
    const char *text = cJSON_GetObjectItem(test, "query")->valuestring;
    if (!filter_parse_projecting(&arena, slice_from_text(text),
                                 cJSON_GetObjectItem(test, "parameters"), &filter, &fault)) {
        outcome.is_refused = fault.status == 400;
        outcome.is_unsupported = strstr(fault.message, "is not supported") != NULL;
    } else if (filter.query.sources == NULL) {
        rows_add(&outcome, &arena, &filter, NULL);
    } else {
        cJSON_ArrayForEach(document, cJSON_GetObjectItem(test, "docs"))
            rows_add(&outcome, &arena, &filter, document);
    }
    arena_finish(&arena);
    return outcome;
}

/* Whether the case was answered, rightly; one that is refused for what is not served is not. */
static bool case_answered(const cJSON *test)
{
    struct outcome outcome = outcome_of(test);
    const char *name = cJSON_GetObjectItem(test, "name")->valuestring;
    const cJSON *expected = cJSON_GetObjectItem(test, "expect");
    bool is_answered = !outcome.is_unsupported;

    if (expected == NULL && !outcome.is_refused)
        fail_msg("%s: accepted", name);
    if (expected != NULL && outcome.is_refused && !outcome.is_unsupported)
        fail_msg("%s: refused", name);
    if (expected != NULL && is_answered) {
        char *rows = cJSON_PrintUnformatted(outcome.rows);
        if (!rows_equal(outcome.rows, expected))
            fail_msg("%s: %s", name, rows);
        free(rows);
    }
    cJSON_Delete(outcome.rows);
    return is_answered;
}

static void every_case_is_answered_or_refused_by_name(void **state)
{
    FILE *file = fopen(cases_path, "r");
    char *line = NULL;
    size_t size = 0;
    int cases = 0, answered = 0;

    (void) state;
    assert_non_null(file);
    while (getline(&line, &size, file) > 0) {
        cJSON *test = cJSON_Parse(line);

        assert_non_null(test);
        answered += case_answered(test);
        cases++;
        cJSON_Delete(test);
    }
    free(line);
    fclose(file);
    assert_int_equal(cases, CASES);
    assert_int_equal(answered, ANSWERED);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_case_is_answered_or_refused_by_name),
    };

    if (argc != 2)
        return 2;
    cases_path = argv[1];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
