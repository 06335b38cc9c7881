/*
 * Statements compiled from queries against the evaluator: random queries over random items, each
 * answered by PostgreSQL and in memory. What differs is made small and printed.
 *
 *     differential <conninfo> <seed> <checks>
 *
 * A check is one query. conninfo names a database with the schema; its table orrery.items_1 is
 * replaced. Status 0: all the same.
 */
#include "differential/generate.h"
#include "differential/server.h"

#include "model/item.h"
#include "query/check.h"
#include "query/emit.h"
#include "query/groups.h"
#include "query/parser.h"
#include "query/policies.h"
#include "query/order_sql.h"
#include "query/rows.h"
#include "query/sort.h"
#include "query/text.h"

#include <stdarg.h>
#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ITEMS 40
/* Queries over the same items. */
#define ROUND 100
#define NOW_US 1000010000000
#define ARENA_BYTES (64u << 20)

static const struct rid container = {
    .type = RID_CONTAINER, .database = 0x01020304, .owner = 0x00050607};

struct bench {
    struct server server;
    cJSON *parameters;
    cJSON *documents;
    struct arena arena; /* of the round: items and indexes */
    const cJSON *items[ITEMS];
    struct index_set sets[4];
    /* of one check */
    const struct index_set *indexes;
    struct query_policies policies;
    size_t page, choice;
    char message[4096], refusal[512]; /* what is different; why a text is no query */
    char statement[16384];
    /* counted */
    unsigned exact, superset, nothing, ordered, grouped, inexact, ungrouped, left;
};

/* One query while it is checked. */
struct check {
    struct bench *bench;
    struct arena arena;
    struct ast_query query;
    struct eval eval;
    struct fault fault;
    struct emit emit;
    struct sql sql;
};

static bool complain(struct bench *bench, const char *format, ...) PRINTF_LIKE(2, 3);

/* Always true: there is a difference. */
static bool complain(struct bench *bench, const char *format, ...)
{
    va_list list;

    va_start(list, format);
    vsnprintf(bench->message, sizeof(bench->message), format, list);
    va_end(list);
    return true;
}

/* ---- items and indexes ---- */

static const cJSON *item_of(struct bench *bench, const cJSON *document, unsigned number)
{
    struct rid rid = {.type = RID_ITEM,
                      .database = container.database,
                      .owner = container.owner,
                      .number = number};
    char text[RID_TEXT_BYTES], etag[40];
    struct buf self = {0}, stored = {0};
    struct item_system system = {.ts_s = 1000 + number / 2};

    rid_format(&rid, text);
    rid_append_self(&self, &rid);
    snprintf(etag, sizeof(etag), "00000000-0000-0000-0000-%012u", number);
    value_print(&stored, document);
    system.rid = slice_from_text(text);
    system.self = buf_slice(&self);
    system.etag = slice_from_text(etag);
    const cJSON *item = item_tree(
        &bench->arena, slice_from_text(arena_copy(&bench->arena, buf_text(&stored), stored.len)),
        &system);
    assert(item != NULL);
    buf_finish(&self);
    buf_finish(&stored);
    return item;
}

static void items_load(struct bench *bench)
{
    const cJSON *document;
    unsigned number = 0;

    server_load(&bench->server, bench->documents);
    cJSON_ArrayForEach(document, bench->documents)
    {
        bench->items[number] = item_of(bench, document, number + 1);
        number++;
    }
}

static void index_add(struct bench *bench, size_t set, enum index_kind kind, const char *spec)
{
    struct fault fault = {0};

    if (!index_set_add(&bench->sets[set], kind, slice_from_text(spec), &bench->arena, &fault)) {
        fprintf(stderr, "%s: %s\n", spec, fault.message);
        exit(2);
    }
}

static const char *rules(struct bench *bench, const char *policy_text)
{
    struct index_policy policy;
    struct fault fault = {0};
    struct buf text = {0};

    if (!index_policy_parse(&policy, slice_from_text(policy_text), &bench->arena, &fault)) {
        fprintf(stderr, "%s: %s\n", policy_text, fault.message);
        exit(2);
    }
    index_spec_append_rules(&text, &policy);
    const char *copy = arena_copy(&bench->arena, buf_text(&text), text.len);
    buf_finish(&text);
    return copy;
}

#define ALL_BUT_SOME                                                                               \
    "{\"indexingMode\":\"consistent\",\"includedPaths\":[{\"path\":\"/*\"}],"                      \
    "\"excludedPaths\":[{\"path\":\"/b/*\"},{\"path\":\"/missing/*\"},{\"path\":\"/\\\"_etag\\\"/" \
    "?\"}]}"
#define ALL \
    "{\"indexingMode\":\"consistent\",\"includedPaths\":[{\"path\":\"/*\"}],\"excludedPaths\":[]}"

static void sets_make(struct bench *bench)
{
    static const char *const ranges[] = {"/a", "/n", "/s", "/o/x", "/\"a b\"", "/_ts"};

    memset(bench->sets, 0, sizeof(bench->sets));
    for (size_t set = 1; set < 4; set++) {
        index_add(bench, set, INDEX_CONTAINMENT, rules(bench, set == 3 ? ALL_BUT_SOME : ALL));
        for (size_t i = 0; set > 1 && i < ARRAY_LEN(ranges); i++)
            index_add(bench, set, INDEX_RANGE, ranges[i]);
    }
    index_add(bench, 2, INDEX_COMPOSITE,
              "{\"compositeIndexes\":[[{\"path\":\"/b\",\"order\":\"ascending\"},{\"path\":\"/"
              "n\",\"order\":\"descending\"}]]}");
    for (size_t set = 1; set < 4; set++) {
        index_add(bench, set, INDEX_SPATIAL, "{\"path\":\"/p\",\"types\":15}");
        index_add(bench, set, INDEX_SPATIAL, "{\"path\":\"/q\",\"types\":5}");
        index_add(bench, set, INDEX_SPATIAL,
                  "{\"path\":\"/p\",\"types\":15,\"plane\":[-1e100,-1e100,1e100,1e100]}");
        index_add(bench, set, INDEX_SPATIAL,
                  "{\"path\":\"/q\",\"types\":11,\"plane\":[-60.1,-10.2,80.3,50.4]}");
    }
}

/* ---- one query ---- */

static bool check_begin(struct check *check, struct bench *bench, const char *text)
{
    const struct check_input input = {.parameters = bench->parameters};

    *check = (struct check){.bench = bench};
    arena_init(&check->arena, ARENA_BYTES);
    if (!parser_query(&check->arena, slice_from_text(text), &check->query, &check->fault) ||
        !check_query(&check->arena, &check->query, &input, &check->fault))
        return false;
    const cJSON **slots =
        arena_alloc(&check->arena, (check->query.slot_count + 1) * sizeof(*slots));
    assert(slots != NULL);
    eval_init(&check->eval, &check->arena, slots, &check->fault);
    check->eval.now_us = NOW_US;
    check->emit = (struct emit){.arena = &check->arena,
                                .container = &container,
                                .indexes = bench->indexes,
                                .now_us = NOW_US,
                                .is_planar = bench->policies.is_planar};
    check->eval.policies = &bench->policies;
    bool has_sql = sql_init(&check->sql, &check->arena, 0);
    assert(has_sql);
    return true;
}

/* Ask PostgreSQL; false, and a complaint, when it refuses. */
static PGresult *check_ask(struct check *check)
{
    struct bench *bench = check->bench;

    snprintf(bench->statement, sizeof(bench->statement), "%s", buf_text(&check->sql.text));
    PGresult *result = server_ask(&bench->server, &check->sql);
    if (result == NULL)
        complain(bench, "PostgreSQL refuses: %s", bench->server.error);
    return result;
}

/* Does the evaluator keep an item? -1 when it fails. */
static int keeps(struct check *check, size_t number)
{
    struct rows rows;
    int kept = 0;

    check->fault = (struct fault){0};
    check->eval.has_failed = false;
    eval_item(&check->eval, check->bench->items[number]);
    if (rows_begin(&rows, &check->eval, &check->query)) {
        kept = rows_next(&rows);
        rows_end(&rows);
    }
    return check->eval.has_failed ? -1 : kept;
}

/* ---- WHERE ---- */

static bool filter_differs(struct check *check)
{
    struct bench *bench = check->bench;
    bool is_there[ITEMS] = {false}, differs = false;

    buf_append_text(&check->sql.text, "select i.rid from orrery.items_1 i where ");
    enum emit_form form = emit_where(&check->emit, &check->query, &check->sql);
    bench->exact += form == EMIT_EXACT;
    bench->superset += form == EMIT_SUPERSET;
    bench->nothing += form == EMIT_NOTHING;
    PGresult *result = check_ask(check);
    if (result == NULL)
        return true;
    for (int i = 0; i < PQntuples(result); i++)
        is_there[atoi(PQgetvalue(result, i, 0)) - 1] = true;
    PQclear(result);
    for (size_t i = 0; i < (size_t) cJSON_GetArraySize(bench->documents) && !differs; i++) {
        int kept = keeps(check, i);

        if (kept < 0) /* the evaluator refuses more than SQL does */
            continue;
        if (form == EMIT_EXACT ? is_there[i] != kept : kept && !is_there[i])
            differs = complain(bench, "item %zu: %s by the evaluator, %s by PostgreSQL (%s)", i + 1,
                               kept ? "kept" : "not kept", is_there[i] ? "kept" : "not kept",
                               form == EMIT_EXACT ? "exact" : "superset");
    }
    return differs;
}

/* ---- ORDER BY ---- */

/* What the keys of one item are, as far as SQL tells them apart. */
struct ordered {
    unsigned rid;
    unsigned count;
    bool is_blurred;
    bool is_descending[TOPK_KEYS_MAX];
    struct sort_value keys[TOPK_KEYS_MAX];
};

static void key_blur(struct sort_value *key, bool *is_blurred)
{
    size_t at = 0;

    if (key->rank >= VALUE_ARRAY)
        memset(&key->digest, 0, sizeof(key->digest));
    for (unsigned i = 0; key->rank == VALUE_STRING && i < 200 && at < key->text.len; i++)
        (void) text_next(key->text, &at);
    *is_blurred = *is_blurred || key->rank >= VALUE_ARRAY || at >= 200;
    if (key->rank == VALUE_STRING)
        key->text.len = at;
}

static struct ordered ordered_of(struct check *check, size_t number)
{
    struct ordered ordered = {.rid = (unsigned) number + 1};

    eval_item(&check->eval, check->bench->items[number]);
    for (const struct ast_order *order = check->query.order_by; order != NULL;
         order = order->next) {
        struct sort_value *key = &ordered.keys[ordered.count];

        *key = sort_value_of(eval_output(&check->eval, order->expression));
        key_blur(key, &ordered.is_blurred);
        ordered.is_descending[ordered.count++] = order->is_descending;
    }
    return ordered;
}

static int ordered_compare(const void *a, const void *b)
{
    const struct ordered *x = a, *y = b;
    int order = 0;

    for (unsigned i = 0; order == 0 && i < x->count; i++) {
        order = sort_value_compare(&x->keys[i], &y->keys[i]);
        order = x->is_descending[i] ? -order : order;
    }
    if (order != 0)
        return order;
    order = (x->rid > y->rid) - (x->rid < y->rid);
    return x->is_descending[0] ? -order : order;
}

/* The page that begins behind `at`, or the first; the number of items. */
static int page_expect(struct check *check, const struct ordered *at, struct ordered *expected)
{
    int count = 0;

    for (size_t i = 0; i < (size_t) cJSON_GetArraySize(check->bench->documents); i++) {
        int kept = keeps(check, i);
        struct ordered item = ordered_of(check, i);

        if (kept < 0)
            return -1;
        if (kept == 1 && (at == NULL || ordered_compare(&item, at) > 0))
            expected[count++] = item;
    }
    qsort(expected, (size_t) count, sizeof(*expected), ordered_compare);
    return count < (int) check->bench->page ? count : (int) check->bench->page;
}

static void page_append(struct check *check, const struct order_sql *order,
                        const struct ordered *at)
{
    struct sql *sql = &check->sql;
    struct slice where = sql_take(sql);
    char bound[32], limit[32];

    order_sql_blurred(order, sql);
    struct slice blurred = sql_take(sql);
    buf_append_text(&sql->text, " from orrery.items_1 i where ");
    buf_append_slice(&sql->text, where);
    snprintf(bound, sizeof(bound), "%u::bigint", at != NULL ? at->rid : 0);
    snprintf(limit, sizeof(limit), "%zu", check->bench->page);
    struct order_page page = {.columns = SLICE_LITERAL("select i.rid"),
                              .from = sql_take(sql),
                              .values = at != NULL ? at->keys : NULL,
                              .bound = slice_from_text(bound),
                              .limit = limit};
    buf_append_text(&sql->text, "select rid, ");
    buf_append_slice(&sql->text, blurred);
    buf_append_text(&sql->text, " from (");
    order_sql_page(order, &page, sql);
    buf_append_text(&sql->text, ") p order by ");
    order_sql_list(order, sql);
    buf_append_text(&sql->text, order->keys[0].is_descending ? ", rid desc" : ", rid");
}

/* A page from a random position on. */
static bool order_differs(struct check *check)
{
    struct bench *bench = check->bench;
    size_t items = (size_t) cJSON_GetArraySize(bench->documents);
    struct ordered expected[ITEMS], at;
    struct order_sql order;
    bool has_position = bench->choice % 5 != 0 && items > 0, differs = false;

    if (!order_sql_prepare(&order, &check->query, &check->arena))
        return complain(bench, "no order");
    bench->ordered++;
    if (has_position) {
        at = ordered_of(check, bench->choice % items);
        has_position = !at.is_blurred;
    }
    int count = page_expect(check, has_position ? &at : NULL, expected);
    if (count < 0 || emit_where(&check->emit, &check->query, &check->sql) != EMIT_EXACT)
        return false;
    page_append(check, &order, has_position ? &at : NULL);
    PGresult *result = check_ask(check);
    if (result == NULL)
        return true;
    if (PQntuples(result) != count)
        differs = complain(bench, "%d items instead of %d", PQntuples(result), count);
    for (int i = 0; !differs && i < count; i++) {
        unsigned found = (unsigned) atoi(PQgetvalue(result, i, 0));

        if (found != expected[i].rid)
            differs = complain(bench, "place %d: item %u instead of %u", i, found, expected[i].rid);
        else if (expected[i].is_blurred && PQgetvalue(result, i, 1)[0] != 't')
            differs = complain(bench, "item %u is not marked", found);
    }
    PQclear(result);
    return differs;
}

/* ---- groups ---- */

static const cJSON *column_json(struct check *check, const PGresult *result, int row, int column)
{
    if (PQgetisnull(result, row, column))
        return NULL;
    const cJSON *value = json_tree(&check->arena, slice_from_text(PQgetvalue(result, row, column)));
    assert(value != NULL);
    return value;
}

/* Merge one row; 1 when it is inexact, -1 when the evaluator fails. */
static int group_merge(struct check *check, struct groups *groups, const struct emit_groups *parts,
                       const PGresult *result, int row)
{
    const cJSON *columns[64], *object;
    struct group_partial partials[8] = {0};
    int column = 1;

    if (PQgetvalue(result, row, 0)[0] == 't')
        return 1;
    assert(parts->key_count <= ARRAY_LEN(columns) && parts->aggregate_count <= ARRAY_LEN(partials));
    for (unsigned i = 0; i < parts->key_count; i++)
        columns[i] = column_json(check, result, row, column++);
    for (unsigned i = 0; i < parts->aggregate_count; i++, column += 4) {
        partials[i].count = strtod(PQgetvalue(result, row, column), NULL);
        partials[i].sum = strtod(PQgetvalue(result, row, column + 1), NULL);
        partials[i].is_poisoned = PQgetvalue(result, row, column + 2)[0] == 't';
        partials[i].best = column_json(check, result, row, column + 3);
    }
    eval_item(&check->eval, NULL);
    const cJSON *const *keys = emit_groups_keys(&check->query, &check->eval, columns, &object);
    return keys != NULL && groups_merge(groups, &check->eval, keys, partials) ? 0 : -1;
}

static bool values_near(const cJSON *a, const cJSON *b)
{
    if (a == NULL || b == NULL)
        return a == b;
    if (cJSON_IsNumber(a) && cJSON_IsNumber(b)) {
        double x = a->valuedouble, y = b->valuedouble;

        return x == y || fabs(x - y) <= 1e-9 * (fabs(x) + fabs(y)) || fabs(x - y) < 1e-150;
    }
    if ((a->type & 0xff) != (b->type & 0xff))
        return false;
    if (cJSON_IsString(a))
        return strcmp(a->valuestring, b->valuestring) == 0;
    const cJSON *x = a->child, *y = b->child;
    for (; x != NULL && y != NULL; x = x->next, y = y->next) {
        if ((x->string != NULL && strcmp(x->string, y->string) != 0) || !values_near(x, y))
            return false;
    }
    return x == NULL && y == NULL;
}

/* The groups as the evaluator gathers them. */
static bool groups_stream(struct check *check, struct groups *groups)
{
    for (size_t i = 0; i < (size_t) cJSON_GetArraySize(check->bench->documents); i++) {
        struct rows rows;

        eval_item(&check->eval, check->bench->items[i]);
        if (!rows_begin(&rows, &check->eval, &check->query))
            return false;
        while (rows_next(&rows)) {
            if (!groups_add(groups, &check->eval))
                return false;
        }
        rows_end(&rows);
    }
    return !check->eval.has_failed && groups_finish(groups, &check->eval);
}

static bool groups_compare(struct check *check, struct groups *found, struct groups *expected)
{
    struct bench *bench = check->bench;

    if (groups_count(found) != groups_count(expected))
        return complain(bench, "%zu groups instead of %zu", groups_count(found),
                        groups_count(expected));
    for (size_t i = 0; i < groups_count(found); i++) {
        struct digest a = groups_digest(found, i), b = groups_digest(expected, i);

        eval_item(&check->eval, NULL);
        const cJSON *x = groups_project(found, &check->eval, i);
        const cJSON *y = groups_project(expected, &check->eval, i);
        if (check->eval.has_failed)
            return false;
        if (digest_compare(&a, &b) != 0 || !values_near(x, y)) {
            struct buf text = {0};

            if (x != NULL)
                value_print(&text, x);
            buf_append_text(&text, " instead of ");
            if (y != NULL)
                value_print(&text, y);
            complain(bench, "group %zu: %s", i, buf_text(&text));
            buf_finish(&text);
            return true;
        }
    }
    return false;
}

static bool groups_differ(struct check *check)
{
    const struct groups_options options = {.limit = SIZE_MAX, .bytes_max = 64u << 20};
    struct bench *bench = check->bench;
    struct emit_groups parts = {.from = SLICE_LITERAL("orrery.items_1 i"),
                                .where = SLICE_LITERAL("not i.deleted")};
    bool differs = false;

    if (!groups_are_needed(&check->query) ||
        !emit_groups(&check->emit, &check->query, &parts, &check->sql)) {
        bench->ungrouped++;
        return check->sql.text.len > 0 && complain(bench, "something was left behind");
    }
    bench->grouped++;
    PGresult *result = check_ask(check);
    if (result == NULL)
        return true;
    struct groups *found = groups_create(&check->query, &options, &check->fault);
    struct groups *expected = groups_create(&check->query, &options, &check->fault);
    assert(found != NULL && expected != NULL);
    int state = 0;
    for (int i = 0; state == 0 && i < PQntuples(result); i++)
        state = group_merge(check, found, &parts, result, i);
    bench->inexact += state == 1;
    if (state == 0 && groups_finish(found, &check->eval) && groups_stream(check, expected))
        differs = groups_compare(check, found, expected);
    groups_destroy(found);
    groups_destroy(expected);
    PQclear(result);
    return differs;
}

typedef bool differs_fn(struct check *check);

static bool text_differs(struct bench *bench, const char *text, differs_fn *differs)
{
    struct check check;
    bool is_different = false;

    bench->message[0] = '\0';
    if (check_begin(&check, bench, text))
        is_different = differs(&check);
    else {
        bench->left++;
        snprintf(bench->refusal, sizeof(bench->refusal), "%s", check.fault.message);
    }
    arena_finish(&check.arena);
    return is_different;
}

/* ---- smaller ---- */

struct shrinking {
    struct bench *bench;
    differs_fn *differs;
};

static bool piece_differs(const struct piece *root, void *context)
{
    struct shrinking *shrinking = context;
    struct buf text = {0};

    piece_print(root, &text);
    bool differs = text_differs(shrinking->bench, buf_text(&text), shrinking->differs);
    buf_finish(&text);
    return differs;
}

/* Items and members that the difference does not need. */
static void documents_shrink(struct bench *bench, const char *text, differs_fn *differs)
{
    for (int i = cJSON_GetArraySize(bench->documents) - 1; i >= 0; i--) {
        cJSON *without = cJSON_Duplicate(bench->documents, true), *before = bench->documents;

        cJSON_DeleteItemFromArray(without, i);
        bench->documents = without;
        items_load(bench);
        if (text_differs(bench, text, differs)) {
            cJSON_Delete(before);
            continue;
        }
        bench->documents = before;
        cJSON_Delete(without);
        cJSON *document = cJSON_GetArrayItem(bench->documents, i);
        for (cJSON *member = document->child, *next; member != NULL; member = next) {
            next = member->next;
            cJSON *whole = cJSON_Duplicate(document, true);
            cJSON_DeleteItemFromObjectCaseSensitive(document, member->string);
            items_load(bench);
            if (text_differs(bench, text, differs)) {
                cJSON_Delete(whole);
                continue;
            }
            cJSON_ReplaceItemInArray(bench->documents, i, whole);
            document = whole;
            break; /* members before it in the next round */
        }
    }
    items_load(bench);
}

static void report(struct bench *bench, struct piece *piece, differs_fn *differs)
{
    struct shrinking shrinking = {bench, differs};
    struct buf text = {0};

    piece_shrink(piece, piece_differs, &shrinking);
    piece_print(piece, &text);
    for (int round = 0; round < 3; round++)
        documents_shrink(bench, buf_text(&text), differs);
    text_differs(bench, buf_text(&text), differs);
    char *documents = cJSON_PrintUnformatted(bench->documents);
    if (strstr(buf_text(&text), "@g") != NULL) {
        char *parameters = cJSON_PrintUnformatted(bench->parameters);
        printf("of a %s; %.6000s\n", bench->policies.is_planar ? "plane" : "globe", parameters);
        free(parameters);
    }
    printf("query:     %s\nitems:     %.4000s\nstatement: %s\ndifferent: %s\n", buf_text(&text),
           documents, bench->statement, bench->message);
    fflush(stdout);
    free(documents);
    buf_finish(&text);
}

/* ---- as deep and as wide as queries may be ---- */

/* "<before>*n <middle> <after>*n" as the condition, or a list with `before` between. */
struct extreme {
    const char *before, *middle, *after;
    unsigned count;
};

static const struct extreme extremes[] = {
    {"NOT (", "c.flag", ")", 120},
    {"(", "c.n", " + 1)", 240},
    {"(1.5 * ", "c.n", ")", 240},
    {"(", "c.s", " || 'x')", 240},
    {"-(", "c.n", ")", 120},
    {"[", "c.a", "]", 240},
    {"{'k': ", "c.a", "}", 240},
    {"(c.flag ? ", "c.a", " : c.b)", 120},
    {"(c.missing ?? ", "c.a", ")", 240},
    {"ABS(", "c.n", ")", 240},
    {"ROUND(", "c.n", ")", 240},
    {"REVERSE(", "c.s", ")", 240},
    {"(c.n < ", "c.a", ")", 120},
    {"(c.n = ", "c.a", ")", 240},
    {"(c.n IN (1, ", "c.a", "))", 120},
    {"(c.n BETWEEN 0 AND ", "c.a", ")", 120},
    {"EXISTS(SELECT VALUE 1 FROM t IN c.list WHERE ", "c.flag", ")", 12},
    {"(SELECT VALUE MAX(t) FROM t IN c.arr WHERE t != ", "c.a", ")", 8},
    {"(", "c.n", " + 1)", 20},
    {"EXISTS(SELECT VALUE 1 FROM t IN c.list WHERE ", "c.flag", ")", 3},
    {"IS_DEFINED(", "c.a", ")", 240},
    {"IS_INTEGER(", "c.a", ")", 240},
    {"", "c", ".a", 200},
    {"", "c.arr", "[0]", 200},
    {"c.a = 1 OR ", "c.b = 2", "", 5000},
    {"c.a = 1 AND ", "c.b = 2", "", 5000},
    {"c.a < 1 OR ", "c.b = 2", "", 2000},
    {"LENGTH(c.s) = 1 OR ", "c.b = 2", "", 2000},
    {"c.a IN (1", "", ", 2", 10000},
    {"c.a IN (c.b", "", ", c.n", 2000},
    {"CONCAT(c.s", "", ", c.s", 2000},
    {"ARRAY_CONTAINS([1", "", ", 2", 5000},
};

/* What closes the ones that are lists. */
static const char *extreme_end(const struct extreme *extreme)
{
    if (strncmp(extreme->before, "ARRAY_CONTAINS(", 15) == 0)
        return "], c.a)";
    return extreme->middle[0] == '\0' ? ")" : "";
}

static bool extremes_hold(struct bench *bench)
{
    for (size_t i = 0; i < ARRAY_LEN(extremes); i++) {
        const struct extreme *extreme = &extremes[i];
        bool is_list = extreme->middle[0] == '\0';
        struct buf text = {0};

        buf_append_text(&text, "SELECT VALUE 1 FROM c WHERE IS_DEFINED(");
        for (unsigned n = 0; n < (is_list ? 1 : extreme->count); n++)
            buf_append_text(&text, extreme->before);
        buf_append_text(&text, extreme->middle);
        for (unsigned n = 0; n < extreme->count; n++)
            buf_append_text(&text, extreme->after);
        buf_append_text(&text, extreme_end(extreme));
        buf_append_text(&text, ")");
        for (size_t set = 0; set < 3; set += 2) {
            struct buf bare = {0};

            /* Once more as the condition itself. */
            if (set > 0) {
                buf_append_text(&bare, "SELECT VALUE 1 FROM c WHERE ");
                buf_append(&bare, text.ptr + 39, text.len - 40);
            }
            bench->indexes = &bench->sets[set];
            unsigned left = bench->left;
            bool differs =
                text_differs(bench, set > 0 ? buf_text(&bare) : buf_text(&text), filter_differs);
            buf_finish(&bare);
            if (differs || bench->left != left) {
                printf("extreme %zu: %s%s%s x %u: %.1500s\n%.300s\n", i, extreme->before,
                       extreme->middle, extreme->after, extreme->count,
                       differs ? bench->message : bench->refusal, bench->statement);
                buf_finish(&text);
                return false;
            }
        }
        buf_finish(&text);
    }
    return true;
}

/* ---- all ---- */

static void round_begin(struct bench *bench)
{
    arena_finish(&bench->arena);
    arena_init(&bench->arena, ARENA_BYTES);
    cJSON_Delete(bench->documents);
    cJSON_Delete(bench->parameters);
    bench->parameters = generate_parameters();
    bench->documents = cJSON_CreateArray();
    for (unsigned i = 0; i < ITEMS; i++)
        cJSON_AddItemToArray(bench->documents, generate_document(i + 1));
    items_load(bench);
    sets_make(bench);
}

/* One query of a random kind; false when it differs. */
static bool one(struct bench *bench)
{
    static const struct {
        struct piece *(*generate)(void);
        differs_fn *differs;
    } kinds[] = {{generate_filter, filter_differs}, {generate_filter, filter_differs},
                 {generate_filter, filter_differs}, {generate_spatial, filter_differs},
                 {generate_order, order_differs},   {generate_groups, groups_differ}};
    size_t kind = random_below(ARRAY_LEN(kinds));
    struct buf text = {0};

    bench->indexes = random_below(5) == 0 ? NULL : &bench->sets[random_below(4)];
    bench->policies.is_planar = random_below(2) == 0;
    bench->choice = random_below(1000);
    bench->page = 1 + random_below(15);
    struct piece *piece = kinds[kind].generate();
    piece_print(piece, &text);
    bool differs = text_differs(bench, buf_text(&text), kinds[kind].differs);
    if (differs)
        report(bench, piece, kinds[kind].differs);
    buf_finish(&text);
    generate_end();
    return !differs;
}

int main(int argc, char **argv)
{
    static struct bench bench;
    bool is_sound = true;

    if (argc != 4)
        return 2;
    uint64_t seed = strtoull(argv[2], NULL, 10);
    unsigned long checks = strtoul(argv[3], NULL, 10), done = 0;
    random_state = seed * 0x9e3779b97f4a7c15u + 1;
    printf("seed %llu\n", (unsigned long long) seed);
    fflush(stdout);
    server_connect(&bench.server, argv[1]);
    arena_init(&bench.arena, ARENA_BYTES);
    round_begin(&bench);
    is_sound = extremes_hold(&bench);
    for (; is_sound && done < checks; done++) {
        if (done % ROUND == 0)
            round_begin(&bench);
        is_sound = one(&bench);
    }
    printf("%lu checks: %u exact, %u superset, %u without a condition, %u ordered, %u grouped "
           "(%u of them inexact), %u not grouped, %u no queries\n",
           done, bench.exact, bench.superset, bench.nothing, bench.ordered, bench.grouped,
           bench.inexact, bench.ungrouped, bench.left);
    cJSON_Delete(bench.documents);
    cJSON_Delete(bench.parameters);
    arena_finish(&bench.arena);
    server_finish(&bench.server);
    return is_sound ? 0 : 1;
}
