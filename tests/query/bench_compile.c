/*
 * What it costs to compile a query: text to tree, checked, narrowed to partition keys, its filter
 * and its order as SQL. Prints {"bytes", "first_ns", "again_ns"}: the first time in the process,
 * and the median of many times. Not a test: scripts/bench query runs it.
 */
#include "query/check.h"
#include "query/emit.h"
#include "query/keyrange.h"
#include "query/order_sql.h"
#include "query/parser.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/banned.h"

#define TIMES 2001

static const char text[] =
    "SELECT c.id, c.name, c.address.city, c.amount * 2 AS twice FROM c "
    "WHERE c.status = 'open' AND c.amount >= 100 AND c.amount < 5000 "
    "AND (c.address.city IN ('Oslo', 'Bergen', 'Tromso') OR STARTSWITH(c.name, 'ab')) "
    "AND ARRAY_CONTAINS(c.tags, 'north') AND IS_DEFINED(c.owner) AND NOT c.is_archived "
    "ORDER BY c.amount DESC";

static int64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t) now.tv_sec * 1000000000 + now.tv_nsec;
}

static void compile(struct arena *arena, const struct pkey_definition *key)
{
    const struct check_input input = {0};
    struct ast_query query;
    struct emit emit = {.arena = arena};
    struct order_sql order;
    struct keyrange keyrange;
    struct fault fault = {0};
    struct sql *sql = arena_alloc(arena, sizeof(*sql)); /* its text goes with the arena */

    bool is_read = parser_query(arena, slice_make(text, sizeof(text) - 1), &query, &fault) &&
                   check_query(arena, &query, &input, &fault) &&
                   keyrange_derive(&keyrange, arena, &query, key, NULL, &fault) && sql != NULL &&
                   sql_init(sql, arena, 0);
    assert(is_read);
    enum emit_form form = emit_where(&emit, &query, sql);
    bool is_ordered = order_sql_prepare(&order, &query, arena);
    assert(form == EMIT_EXACT && is_ordered && sql_is_whole(sql));
}

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *) a, y = *(const int64_t *) b;

    return (x > y) - (x < y);
}

int main(void)
{
    static int64_t times[TIMES];
    struct slice name = SLICE_LITERAL("id");
    const struct pkey_definition key = {.kind = PKEY_HASH,
                                        .version = 2,
                                        .path_count = 1,
                                        .paths = {{1, &name, SLICE_LITERAL("/id")}}};
    struct arena arena;

    arena_init(&arena, 8 << 20);
    for (size_t i = 0; i < TIMES; i++) {
        int64_t start = now_ns();
        compile(&arena, &key);
        times[i] = now_ns() - start;
        arena_reset(&arena);
    }
    arena_finish(&arena);
    int64_t first = times[0];
    qsort(times, TIMES, sizeof(*times), compare);
    printf("{\"bytes\":%zu,\"first_ns\":%lld,\"again_ns\":%lld}\n", sizeof(text) - 1,
           (long long) first, (long long) times[TIMES / 2]);
    return 0;
}
