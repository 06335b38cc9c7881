/*
 * The conformance cases, answered in memory: all at once, page by page, and while memory fails.
 *
 * tests/query/README.md describes the files.
 */
#include "support/query_cases.h"
#include "support/query_runner.h"

#include "base/buf.h"
#include "model/index_policy.h"
#include "query/parser.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#define ARENA_BYTES (8u << 20)
#define NEAR 1e-9

static char *const *files;
static size_t file_count;

/* ---- Comparing ---- */

static bool numbers_equal(double a, double b, bool is_near)
{
    return a == b || (is_near && fabs(a - b) <= NEAR * fmax(fabs(a), fabs(b)));
}

static bool json_equals(const cJSON *a, const cJSON *b, bool is_near)
{
    if (cJSON_IsNumber(a) && cJSON_IsNumber(b))
        return numbers_equal(a->valuedouble, b->valuedouble, is_near);
    if (!cJSON_IsArray(a) && !cJSON_IsObject(a))
        return cJSON_Compare(a, b, true);
    if ((a->type & 0xff) != (b->type & 0xff) || cJSON_GetArraySize(a) != cJSON_GetArraySize(b))
        return false;
    const cJSON *y = b->child;
    for (const cJSON *x = a->child; x != NULL; x = x->next) {
        const cJSON *other = cJSON_IsArray(a) ? y : cJSON_GetObjectItemCaseSensitive(b, x->string);
        if (other == NULL || !json_equals(x, other, is_near))
            return false;
        y = y->next;
    }
    return true;
}

/* Each expected row found once; nothing left. */
static bool rows_equal(const cJSON *rows, const cJSON *expected)
{
    cJSON *left = cJSON_Duplicate(rows, true);
    bool is_equal = cJSON_GetArraySize(rows) == cJSON_GetArraySize(expected);

    for (const cJSON *want = expected->child; is_equal && want != NULL; want = want->next) {
        cJSON *row = left->child;

        while (row != NULL && !json_equals(row, want, false))
            row = row->next;
        is_equal = row != NULL;
        if (row != NULL)
            cJSON_Delete(cJSON_DetachItemViaPointer(left, row));
    }
    cJSON_Delete(left);
    return is_equal;
}

static bool place_is(const struct query_case *test, const char *message)
{
    char expected[64];

    snprintf(expected, sizeof(expected), "{\"start\":%d,\"end\":%d}", test->start, test->end);
    return test->start < 0 || strstr(message, expected) != NULL;
}

static bool refusal_is(const struct query_case *test, const struct fault *fault)
{
    return fault->status == test->status &&
           (test->code[0] == '\0' || strstr(fault->message, test->code) != NULL) &&
           place_is(test, fault->message);
}

/* ---- Containers ---- */

/* What a set's settings come to; lives in the arena. */
struct container {
    struct arena arena;
    struct query_policies policies;
    struct index_policy indexing;
    bool has_indexing;
    struct computed_properties computed;
};

static struct slice kept(struct container *container, const cJSON *json)
{
    char *text = cJSON_PrintUnformatted(json);
    char *copy;

    assert_non_null(text);
    copy = arena_copy(&container->arena, text, strlen(text) + 1);
    assert_non_null(copy);
    free(text);
    return slice_from_text(copy);
}

static void container_load(struct container *container, const cJSON *settings)
{
    const cJSON *indexing = cJSON_GetObjectItem(settings, "indexingPolicy");
    struct fault fault = {0};

    *container = (struct container){0};
    arena_init(&container->arena, ARENA_BYTES);
    if (settings == NULL)
        return;
    struct slice definition = kept(container, settings);
    if (!query_policies_load(&container->policies, definition, &container->arena, &fault) ||
        !computed_load(&container->computed, definition, &container->arena, &fault))
        fail_msg("%s", fault.message);
    container->has_indexing = indexing != NULL;
    if (indexing != NULL && !index_policy_parse(&container->indexing, kept(container, indexing),
                                                &container->arena, &fault))
        fail_msg("%s", fault.message);
}

/* ---- Running ---- */

struct tally {
    unsigned wrong;
};

static bool answer_is(const struct query_case *test, const cJSON *rows, const struct fault *fault)
{
    if (test->expectation == EXPECT_REFUSED || rows == NULL)
        return rows == NULL && refusal_is(test, fault);
    if (test->expectation == EXPECT_ROWS)
        return rows_equal(rows, test->rows);
    return json_equals(rows, test->rows, test->expectation == EXPECT_NEARLY);
}

static bool case_run(const struct query_case *test, const struct query_run *run)
{
    struct fault fault = {0};
    cJSON *rows = query_run(run, &fault);
    bool is_right = answer_is(test, rows, &fault);

    if (!is_right) {
        char *text = rows != NULL ? cJSON_PrintUnformatted(rows) : NULL;

        print_error("%s:%u: %s\n    pages of %zu: %s\n", test->file, test->line, test->query,
                    run->page, text != NULL ? text : fault.message);
        free(text);
    }
    cJSON_Delete(rows);
    return is_right;
}

static struct query_run run_of(const struct query_case *test, const struct container *container)
{
    return (struct query_run){
        .text = test->query,
        .documents = test->items,
        .parameters = test->parameters,
        .policies = &container->policies,
        .computed = container->computed,
        .indexing = container->has_indexing ? &container->indexing : NULL,
    };
}

static void case_ask(const struct query_case *test, void *context)
{
    static const size_t pages[] = {0, 1, 2, 7};
    struct tally *tally = context;
    struct container container;
    bool is_right = true;

    if (test->is_not_in_memory)
        return;
    container_load(&container, test->settings);
    struct query_run run = run_of(test, &container);
    for (size_t i = 0; is_right && i < ARRAY_LEN(pages); i++) {
        run.page = pages[i];
        is_right = case_run(test, &run);
    }
    tally->wrong += !is_right;
    arena_finish(&container.arena);
}

static void every_case_is_answered(void **state)
{
    struct tally tally = {0};

    (void) state;
    for (size_t i = 0; i < file_count; i++)
        assert_true(query_cases_read(files[i], case_ask, &tally) > 0);
    assert_int_equal(tally.wrong, 0);
}

/* ---- Memory ---- */

/* The linker puts these in the place of the C library's, for all of this program. */
void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
char *__real_strndup(const char *text, size_t len);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);
char *__wrap_strndup(const char *text, size_t len);

static size_t allocations; /* since the count began */
static size_t failing;     /* the one that fails; 0 for none */

static bool fails(void)
{
    return ++allocations == failing;
}

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *memory, size_t size)
{
    return fails() ? NULL : __real_realloc(memory, size);
}

char *__wrap_strndup(const char *text, size_t len)
{
    return fails() ? NULL : __real_strndup(text, len);
}

/*
 * Whichever allocation fails, the answer is that there is no memory; never other rows, nor half of
 * a message. What does not depend on the memory is answered all the same.
 */
static void case_starve(const struct query_case *test, void *context)
{
    struct tally *tally = context;
    struct container container;

    if (test->is_not_in_memory)
        return;
    container_load(&container, test->settings);
    struct query_run run = run_of(test, &container);
    struct fault fault = {0};
    run.page = test->line % 3;
    failing = allocations = 0;
    cJSON_Delete(query_run(&run, &fault));
    const struct fault fed = fault;
    size_t count = allocations;
    for (size_t at = 1; at <= count; at++) {
        fault = (struct fault){0};
        failing = at;
        allocations = 0;
        cJSON *rows = query_run(&run, &fault);
        failing = 0;
        if (fault.status != 503 &&
            (!answer_is(test, rows, &fault) || strcmp(fault.message, fed.message) != 0)) {
            print_error("%s:%u: %s\n    allocation %zu of %zu: %u %s\n", test->file, test->line,
                        test->query, at, count, fault.status, fault.message);
            tally->wrong++;
        }
        cJSON_Delete(rows);
    }
    arena_finish(&container.arena);
}

static void every_case_bears_failing_memory(void **state)
{
    struct tally tally = {0};

    (void) state;
    for (size_t i = 0; i < file_count; i++)
        query_cases_read(files[i], case_starve, &tally);
    assert_int_equal(tally.wrong, 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_case_is_answered),
        cmocka_unit_test(every_case_bears_failing_memory),
    };

    if (argc < 2)
        return 2;
    files = argv + 1;
    file_count = (size_t) argc - 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
