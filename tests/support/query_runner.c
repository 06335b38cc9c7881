#include "support/query_runner.h"

#include "query/eval.h"
#include "query/groups.h"
#include "query/parser.h"
#include "query/regex.h"
#include "query/rank.h"
#include "query/rows.h"
#include "query/topk.h"

#include <assert.h>
#include <stdlib.h>

#define ARENA_BYTES (64u << 20)
#define GROUPS_BYTES (64u << 20)

/* One query while it runs. */
struct runner {
    const struct query_run *run;
    struct arena arena; /* of the query */
    struct eval eval;
    struct fault *fault;
};

typedef bool each_row(struct runner *runner, struct rows *rows, uint64_t rid, uint64_t row,
                      void *context);

static cJSON *results_of(struct runner *runner, const struct ast_query *query);

/* ---- Rows of all items ---- */

static bool item_rows(struct runner *runner, struct rows *rows, uint64_t rid, each_row *each,
                      void *context)
{
    bool goes_on = true;

    for (uint64_t row = 0; goes_on && rows_next(rows); row++)
        goes_on = each(runner, rows, rid, row, context);
    rows_end(rows);
    return goes_on && !runner->eval.has_failed;
}

/* Each item has an arena of its own for what is computed. */
static bool item_each(struct runner *runner, const struct ast_query *query, const cJSON *item,
                      const cJSON *first, uint64_t rid, each_row *each, void *context)
{
    struct eval *eval = &runner->eval;
    struct arena *outer = eval->arena, arena;
    struct rows rows;

    arena_init(&arena, ARENA_BYTES);
    eval->arena = &arena;
    eval_item(eval, item);
    bool is_done =
        first != NULL ? rows_begin_at(&rows, eval, query, first) : rows_begin(&rows, eval, query);
    is_done = is_done && item_rows(runner, &rows, rid, each, context);
    eval->slots[0] = NULL;
    eval->arena = outer;
    arena_finish(&arena);
    return is_done;
}

static bool rows_each(struct runner *runner, const struct ast_query *query, each_row *each,
                      void *context)
{
    uint64_t rid = 0;
    const cJSON *item;
    bool goes_on = true;

    if (rows_are_staged(query)) {
        cJSON *inner = results_of(runner, query->sources->query);

        goes_on = inner != NULL;
        for (item = goes_on ? inner->child : NULL; goes_on && item != NULL; item = item->next)
            goes_on = item_each(runner, query, NULL, item, ++rid, each, context);
        cJSON_Delete(inner);
        return goes_on;
    }
    if (!rows_need_items(query))
        return item_each(runner, query, NULL, NULL, 0, each, context);
    cJSON_ArrayForEach(item, runner->run->documents)
    {
        if (goes_on)
            goes_on = item_each(runner, query, item, NULL, ++rid, each, context);
    }
    return goes_on;
}

/* ---- Results ---- */

/* As the service prints it, and a client reads it. */
static bool result_add(struct runner *runner, cJSON *results, const cJSON *value)
{
    struct buf text = {0};

    value_print(&text, value);
    if (text.has_failed) {
        buf_finish(&text);
        return fault_set_oom(runner->fault);
    }
    cJSON *copy = cJSON_ParseWithLength(text.ptr, text.len);
    assert(copy != NULL);
    cJSON_AddItemToArray(results, copy);
    buf_finish(&text);
    return true;
}

static bool row_collect(struct runner *runner, struct rows *rows, uint64_t rid, uint64_t row,
                        void *context)
{
    const cJSON *value = rows_project(rows);

    (void) rid, (void) row;
    return !runner->eval.has_failed && (value == NULL || result_add(runner, context, value));
}

/* ---- Groups ---- */

static bool row_group(struct runner *runner, struct rows *rows, uint64_t rid, uint64_t row,
                      void *context)
{
    (void) rows, (void) rid, (void) row;
    return groups_add(context, &runner->eval);
}

static bool groups_collect(struct runner *runner, struct groups *groups, cJSON *results)
{
    for (size_t i = 0; i < groups_count(groups); i++) {
        eval_item(&runner->eval, NULL);
        const cJSON *value = groups_project(groups, &runner->eval, i);
        if (runner->eval.has_failed || (value != NULL && !result_add(runner, results, value)))
            return false;
    }
    return true;
}

/* Page after page, each from the digest at which the last one ended. */
static bool groups_run(struct runner *runner, const struct ast_query *query, cJSON *results)
{
    struct groups_options options = {.limit = runner->run->page > 0 ? runner->run->page : SIZE_MAX,
                                     .bytes_max = GROUPS_BYTES};
    struct digest last;
    bool is_cut = true, is_sound = true;

    while (is_cut && is_sound) {
        struct groups *groups = groups_create(query, &options, runner->fault);

        is_sound = groups != NULL && rows_each(runner, query, row_group, groups) &&
                   groups_finish(groups, &runner->eval) && groups_collect(runner, groups, results);
        is_cut = is_sound && groups_are_cut(groups);
        if (is_cut) {
            assert(groups_count(groups) > 0);
            last = groups_digest(groups, groups_count(groups) - 1);
            options.after = &last;
        }
        groups_destroy(groups);
    }
    return is_sound;
}

/* ---- Order ---- */

static bool row_sort(struct runner *runner, struct rows *rows, uint64_t rid, uint64_t row,
                     void *context)
{
    struct topk *topk = context;
    struct sort_value values[TOPK_KEYS_MAX];
    struct topk_position position = {.values = values, .rid = rid, .row = row};
    struct buf payload = {0};
    unsigned count = 0;
    bool is_sound = true;

    for (const struct ast_order *order = rows->query->order_by; order != NULL; order = order->next)
        values[count++] = sort_value_of(eval_output(&runner->eval, order->expression));
    if (runner->eval.has_failed || !topk_wants(topk, &position))
        return !runner->eval.has_failed;
    const cJSON *value = rows_project(rows);
    if (value != NULL) {
        value_print(&payload, value);
        is_sound = payload.has_failed
                       ? fault_set_oom(runner->fault)
                       : topk_add(topk, &position, buf_slice(&payload), runner->fault);
    }
    buf_finish(&payload);
    return is_sound && !runner->eval.has_failed;
}

static void topk_collect(struct topk *topk, cJSON *results)
{
    struct topk_position position;

    topk_finish(topk);
    for (size_t i = 0; i < topk_count(topk); i++) {
        struct slice text = topk_row(topk, i, &position);
        cJSON *value = cJSON_ParseWithLength(text.ptr, text.len);

        assert(value != NULL);
        cJSON_AddItemToArray(results, value);
    }
}

/* The passes that go before the order of ORDER BY RANK. */
static bool item_observe(struct runner *runner, struct rows *rows, uint64_t rid, uint64_t row,
                         void *context)
{
    (void) rows;
    (void) rid;
    (void) row;
    return rank_item(context, &runner->eval);
}

static bool row_observe(struct runner *runner, struct rows *rows, uint64_t rid, uint64_t row,
                        void *context)
{
    (void) rows;
    (void) rid;
    (void) row;
    return rank_row(context, &runner->eval);
}

static bool rank_run(struct runner *runner, const struct ast_query *query, struct rank *rank)
{
    struct ast_query all = *query;

    all.where = NULL;
    runner->eval.rank = rank;
    if (rank_needs_items(rank) && !rows_each(runner, &all, item_observe, rank))
        return false;
    if (rank_needs_rows(rank) && !rows_each(runner, query, row_observe, rank))
        return false;
    rank_sort(rank);
    return true;
}

static bool order_run(struct runner *runner, const struct ast_query *query, cJSON *results)
{
    bool is_descending[TOPK_KEYS_MAX] = {false};
    struct topk_options options = {.limit = runner->run->page > 0 ? runner->run->page : SIZE_MAX,
                                   .bytes_max = SIZE_MAX,
                                   .is_descending = is_descending};
    struct topk_position last;
    struct topk *previous = NULL; /* holds what `after` points to */
    struct rank *rank = NULL;
    bool is_cut = true, is_sound = true;

    for (const struct ast_order *order = query->order_by; order != NULL; order = order->next)
        is_descending[options.key_count++] = order->is_descending;
    if (query->order_is_rank) {
        rank = rank_create(query, runner->fault);
        is_sound = rank != NULL && rank_run(runner, query, rank);
    }
    while (is_cut && is_sound) {
        struct topk *topk = topk_create(&options, runner->fault);

        is_sound = topk != NULL && rows_each(runner, query, row_sort, topk);
        if (is_sound)
            topk_collect(topk, results);
        is_cut = is_sound && topk_is_cut(topk);
        if (is_cut) {
            assert(topk_count(topk) > 0);
            topk_row(topk, topk_count(topk) - 1, &last);
            options.after = &last;
        }
        topk_destroy(previous);
        previous = topk;
    }
    topk_destroy(previous);
    rank_destroy(rank);
    runner->eval.rank = NULL;
    return is_sound;
}

/* ---- Clauses over results ---- */

/* The first of equal ones stays. */
static void results_distinct(cJSON *results)
{
    for (cJSON *value = results->child; value != NULL;) {
        cJSON *next = value->next;
        struct digest digest, other;
        const cJSON *earlier = results->child;

        digest_value(value, &digest);
        for (; earlier != value; earlier = earlier->next) {
            digest_value(earlier, &other);
            if (digest_compare(&digest, &other) == 0)
                break;
        }
        if (earlier != value)
            cJSON_Delete(cJSON_DetachItemViaPointer(results, value));
        value = next;
    }
}

static void results_window(cJSON *results, const struct ast_query *query)
{
    uint64_t from = query->has_window ? query->offset_count : 0;
    uint64_t count = query->has_window ? query->limit_count : UINT64_MAX;
    uint64_t index = 0;

    if (query->has_top && query->top_count < count)
        count = query->top_count;
    for (cJSON *value = results->child; value != NULL; index++) {
        cJSON *next = value->next;

        if (index < from || index - from >= count)
            cJSON_Delete(cJSON_DetachItemViaPointer(results, value));
        value = next;
    }
}

static cJSON *results_of(struct runner *runner, const struct ast_query *query)
{
    cJSON *results = cJSON_CreateArray();
    bool is_sound;

    assert(results != NULL);
    if (query->order_by != NULL)
        is_sound = order_run(runner, query, results);
    else if (groups_are_needed(query))
        is_sound = groups_run(runner, query, results);
    else
        is_sound = rows_each(runner, query, row_collect, results);
    if (!is_sound) {
        cJSON_Delete(results);
        return NULL;
    }
    if (query->order_by != NULL && query->is_distinct)
        results_distinct(results);
    results_window(results, query);
    return results;
}

cJSON *query_run(const struct query_run *run, struct fault *fault)
{
    struct runner runner = {.run = run, .fault = fault};
    const struct check_input input = {.parameters = run->parameters,
                                      .computed = run->computed,
                                      .indexing = run->indexing,
                                      .policies = run->policies};
    struct regex_cache regexes;
    struct ast_query query;
    cJSON *results = NULL;

    arena_init(&runner.arena, ARENA_BYTES);
    regex_cache_init(&regexes, &runner.arena);
    if (parser_query(&runner.arena, slice_from_text(run->text), &query, fault) &&
        check_query(&runner.arena, &query, &input, fault)) {
        const cJSON **slots = arena_alloc(&runner.arena, query.slot_count * sizeof(*slots));

        eval_init(&runner.eval, &runner.arena, slots, fault);
        runner.eval.policies = run->policies;
        runner.eval.now_us = run->now_us;
        runner.eval.seed = 1;
        runner.eval.regexes = &regexes;
        if (slots != NULL)
            results = results_of(&runner, &query);
        else
            fault_set_oom(fault);
    }
    arena_finish(&runner.arena);
    return results;
}
