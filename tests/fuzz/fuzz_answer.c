/*
 * Arbitrary texts as whole queries over a few items, in memory.
 *
 * What is accepted must give the same rows all at once and in pages, and the same when only the
 * items of the partition keys are read that the analysis leaves over.
 */
#include "support/query_runner.h"

#include "base/buf.h"
#include "query/keyrange.h"
#include "query/parser.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#define ARENA_BYTES (16u << 20)
#define PAGE 2

/* Names, types and values that the cases of tests/query ask for; arrays are short, so that many
 * JOINs do not take long. */
static const char items_text[] =
    "[{\"id\":\"1\",\"k\":[{\"n\":\"x\",\"v\":1},{\"n\":\"y\"}],\"m\":[10,20],\"n\":1,\"t\":true,"
    "\"s\":\"abc\",\"o\":{\"a\":{\"b\":1}},\"v\":5,\"g\":\"a\"},"
    "{\"id\":\"2\",\"k\":[],\"m\":[30],\"n\":null,\"s\":\"ABC\",\"v\":\"b\",\"g\":\"a\",\"a\":[1]},"
    "{\"id\":\"3\",\"k\":\"no\",\"n\":-1.5,\"s\":\"\",\"v\":null,\"g\":\"b\",\"o\":{}},"
    "{\"id\":\"4\",\"n\":1,\"s\":7,\"v\":[1,{\"b\":2}],\"p\":{\"type\":\"Point\",\"coordinates\":["
    "1,2]}},"
    "{\"id\":\"5\",\"v\":false,\"cos\":[1,0],\"text\":\"a dog\",\"d\":\"2021-03-04T05:06:07Z\"}]";

static cJSON *items;
static struct pkey_definition by_id;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void prepare(void)
{
    static struct arena arena;
    struct fault fault = {0};

    if (items != NULL)
        return;
    arena_init(&arena, 1 << 16);
    by_id = (struct pkey_definition){.kind = PKEY_HASH, .version = 2, .path_count = 1};
    if (!pkey_path_parse(&by_id.paths[0], SLICE_LITERAL("/id"), &arena, &fault) ||
        (items = cJSON_Parse(items_text)) == NULL)
        abort();
}

/* What is refused is refused as the client's fault, or for want of memory. */
static void check_fault(const struct fault *fault)
{
    if (fault->status != 400 && fault->status != 503)
        abort();
}

/* ---- Rows ---- */

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(char *const *) a, *(char *const *) b);
}

/* The rows as sorted texts, one after the other. */
static char *rows_text(const cJSON *rows)
{
    size_t count = (size_t) cJSON_GetArraySize(rows), i = 0;
    char **texts = calloc(count + 1, sizeof(*texts));
    struct buf out = {0};
    const cJSON *row;

    if (texts == NULL)
        abort();
    cJSON_ArrayForEach(row, rows) texts[i++] = cJSON_PrintUnformatted(row);
    qsort(texts, count, sizeof(*texts), compare_texts);
    for (i = 0; i < count; i++) {
        buf_append_text(&out, texts[i]);
        buf_append_char(&out, '\n');
        free(texts[i]);
    }
    free(texts);
    const char *whole = buf_text(&out);
    char *copy = strdup(whole != NULL ? whole : "");
    buf_finish(&out);
    return copy;
}

/* NULL when it is refused. */
static char *answer(const char *text, const cJSON *documents, size_t page)
{
    const struct query_run run = {.text = text, .documents = documents, .page = page};
    struct fault fault = {0};
    cJSON *rows = query_run(&run, &fault);

    if (rows == NULL) {
        check_fault(&fault);
        return NULL;
    }
    char *found = rows_text(rows);
    cJSON_Delete(rows);
    return found;
}

static void check_same(const char *text, const char *whole, char *other, const char *how)
{
    /* Work is counted per item and per page: only one of them may have been too much. */
    if (other != NULL && strcmp(whole, other) != 0) {
        fprintf(stderr, "query: %s\nwhole:\n%s%s:\n%s", text, whole, how, other);
        abort();
    }
    free(other);
}

/* ---- Partition keys ---- */

static bool item_is_inside(const cJSON *item, const struct keyrange *keyrange)
{
    struct pkey key = {.count = 1};
    struct epk epk, min, max;

    key.components[0] = (struct pkey_component){
        .type = PKEY_STRING, .text = slice_from_text(cJSON_GetObjectItem(item, "id")->valuestring)};
    pkey_hash(&key, &by_id, &epk);
    for (size_t i = 0; i < keyrange->count; i++) {
        keyrange_bounds(&keyrange->intervals[i], &min, &max);
        if (epk_compare(&min, &epk) <= 0 && epk_compare(&epk, &max) < 0)
            return true;
    }
    return false;
}

/* The items that a query of this text must visit; NULL when it names no container. */
static cJSON *items_inside(const char *text)
{
    struct arena arena;
    struct ast_query query;
    struct keyrange keyrange;
    struct fault fault = {0};
    const struct check_input input = {0};
    cJSON *inside = NULL;
    const cJSON *item;

    arena_init(&arena, ARENA_BYTES);
    if (parser_query(&arena, slice_from_text(text), &query, &fault) &&
        check_query(&arena, &query, &input, &fault) && query.sources != NULL &&
        keyrange_derive(&keyrange, &arena, &query, &by_id, NULL, &fault)) {
        inside = cJSON_CreateArray();
        cJSON_ArrayForEach(item, items) if (item_is_inside(item, &keyrange))
            cJSON_AddItemToArray(inside, cJSON_Duplicate(item, true));
    }
    arena_finish(&arena);
    return inside;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);

    if (text == NULL || memchr(data, '\0', size) != NULL) {
        free(text);
        return 0;
    }
    memcpy(text, data, size);
    text[size] = '\0';
    prepare();
    char *whole = answer(text, items, 0);
    if (whole != NULL) {
        cJSON *inside = items_inside(text);

        check_same(text, whole, answer(text, items, PAGE), "in pages");
        if (inside != NULL)
            check_same(text, whole, answer(text, inside, 0), "of the partition keys alone");
        cJSON_Delete(inside);
    }
    free(whole);
    free(text);
    return 0;
}
