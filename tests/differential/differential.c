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
#include "query/rows.h"

#include <stdarg.h>
#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ITEMS 40
/* Queries over the same items. */
#define ROUND 100
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
    bool is_limited;
    size_t page;
    char message[4096];
    char statement[16384];
    /* counted */
    unsigned exact, superset, nothing, ordered, grouped, left;
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

static void index_add(struct bench *bench, size_t set, enum index_kind kind, const char *spec,
                      const char *common)
{
    struct fault fault = {0};

    if (!index_set_add(&bench->sets[set], kind, slice_from_text(spec), slice_from_text(common),
                       &bench->arena, &fault)) {
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
        index_add(bench, set, INDEX_CONTAINMENT, rules(bench, set == 3 ? ALL_BUT_SOME : ALL), "");
        for (size_t i = 0; set > 1 && i < ARRAY_LEN(ranges); i++)
            index_add(bench, set, INDEX_RANGE, ranges[i], "");
    }
    index_add(bench, 2, INDEX_STATISTICS, "/a", "[[\"1\",0.3],[\"\\\"a\\\"\",0.3],[\"true\",0.4]]");
    index_add(bench, 2, INDEX_COMPOSITE,
              "{\"compositeIndexes\":[[{\"path\":\"/b\",\"order\":\"ascending\"},{\"path\":\"/"
              "n\",\"order\":\"descending\"}]]}",
              "");
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
    check->emit = (struct emit){.arena = &check->arena,
                                .container = &container,
                                .indexes = bench->indexes,
                                .is_limited = bench->is_limited};
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

typedef bool differs_fn(struct check *check);

static bool text_differs(struct bench *bench, const char *text, differs_fn *differs)
{
    struct check check;
    bool is_different = false;

    bench->message[0] = '\0';
    if (check_begin(&check, bench, text))
        is_different = differs(&check);
    else
        bench->left++;
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
    printf("query:     %s\nitems:     %.4000s\nstatement: %s\ndifferent: %s\n", buf_text(&text),
           documents, bench->statement, bench->message);
    fflush(stdout);
    free(documents);
    buf_finish(&text);
}

/* ---- all ---- */

static void round_begin(struct bench *bench)
{
    arena_finish(&bench->arena);
    arena_init(&bench->arena, ARENA_BYTES);
    cJSON_Delete(bench->documents);
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
    } kinds[] = {
        {generate_filter, filter_differs},
        {generate_filter, filter_differs},
    };
    size_t kind = random_below(ARRAY_LEN(kinds));
    struct buf text = {0};

    bench->indexes = random_below(5) == 0 ? NULL : &bench->sets[random_below(4)];
    bench->is_limited = random_below(2) == 0;
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
    bench.parameters = generate_parameters();
    for (; is_sound && done < checks; done++) {
        if (done % ROUND == 0)
            round_begin(&bench);
        is_sound = one(&bench);
    }
    printf("%lu checks: %u exact, %u superset, %u without a condition, %u ordered, %u grouped, %u "
           "no queries\n",
           done, bench.exact, bench.superset, bench.nothing, bench.ordered, bench.grouped,
           bench.left);
    cJSON_Delete(bench.documents);
    cJSON_Delete(bench.parameters);
    arena_finish(&bench.arena);
    server_finish(&bench.server);
    return is_sound ? 0 : 1;
}
