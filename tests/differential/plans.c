/*
 * Do the statements use the indexes that there are?
 *
 *     plans <conninfo>
 *
 * What docs and figures ask (equality, ranges, pages, groups …) over 20,000 items, with the indexes
 * as index_append_definition makes them: each plan must name its index and read nothing from the
 * first row on. Prints the plans that do not, and ends with 1 then.
 */
#include "differential/server.h"

#include "query/check.h"
#include "query/emit.h"
#include "query/order_sql.h"
#include "query/parser.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ARENA_BYTES (16u << 20)
#define SCOPE "i.range_id = 1 and not i.deleted"

static const char items[] =
    "drop table if exists orrery.items_2;"
    "create table orrery.items_2 (range_id bigint not null, rid bigint not null, ts bigint not "
    "null, etag uuid,"
    " deleted boolean not null, doc jsonb, body text, primary key (range_id, rid));"
    "insert into orrery.items_2 select 1, g, 1000 + g, null, false, jsonb_build_object('id', 'i' "
    "|| g, 'kind',"
    " case when g % 5 = 0 then 'order' else 'other' end, 'score', (g * 7919) % 20000, 'name', "
    "md5(g::text), 'city',"
    " 'c' || g % 100, 'tags', jsonb_build_array('t' || g % 500, 'u' || g % 7), 'address', "
    "jsonb_build_object('zip',"
    " 'z' || g), 'lines', jsonb_build_array(jsonb_build_object('sku', 's' || g % 2000, 'n', g % "
    "9)), 'place', jsonb_build_object('type', 'Point', 'coordinates', jsonb_build_array(g % 360 - "
    "180, g % 171 - 85))), ''"
    " from generate_series(1, 20000) g;";

/* What every plan avoids: everything read, or everything sorted. */
static const char seq_scan[] = "Seq Scan", sort[] = "Sort";

enum question_kind { FILTER, ORDER, ORDER_BEYOND, GROUPS };

struct question {
    const char *name, *text;
    enum question_kind kind;
    const char *expected[3];
    const char *refused[2];
};

static const struct question questions[] = {
    {"point equality on a nested path",
     "SELECT * FROM c WHERE c.address.zip = 'z77'",
     FILTER,
     {"Bitmap Index Scan on items_2_doc"},
     {seq_scan}},
    {"range and ORDER BY, first 100",
     "SELECT * FROM c WHERE c.score > 5000 ORDER BY c.score",
     ORDER,
     {"Index Scan using items_2_score", "Index Cond", "'number'"},
     {seq_scan, sort}},
    {"keyset page in the middle",
     "SELECT * FROM c ORDER BY c.score DESC",
     ORDER_BEYOND,
     {"Index Scan Backward using items_2_score", "Index Cond", "ROW("},
     {seq_scan, sort}},
    {"keyset page of a composite order, directions mixed",
     "SELECT * FROM c ORDER BY c.kind, c.score DESC",
     ORDER_BEYOND,
     {"Index Scan using items_2_mixed", "ROW("},
     {seq_scan, "Filter"}},
    {"array contains",
     "SELECT * FROM c WHERE ARRAY_CONTAINS(c.tags, 't77')",
     FILTER,
     {"Bitmap Index Scan on items_2_doc"},
     {seq_scan}},
    {"prefix LIKE",
     "SELECT * FROM c WHERE c.name LIKE 'abc%'",
     FILTER,
     {"items_2_name", "Index Cond", "'string'"},
     {seq_scan}},
    {"COUNT by filter",
     "SELECT VALUE COUNT(1) FROM c WHERE c.city = 'c5'",
     GROUPS,
     {"Bitmap Index Scan on items_2_doc", "Aggregate"},
     {seq_scan}},
    {"GROUP BY with SUM",
     "SELECT c.city, SUM(c.score) AS s FROM c GROUP BY c.city",
     GROUPS,
     {"HashAggregate"},
     {sort}},
    {"JOIN over an array with a filter",
     "SELECT l.n FROM c JOIN l IN c.lines WHERE l.sku = 's77'",
     FILTER,
     {"Bitmap Index Scan on items_2_doc"},
     {seq_scan, "jsonb_array_elements"}},
    {"a filter that an SDK adds to resume an order",
     "SELECT * FROM c WHERE (c.score >= 15000 OR IS_STRING(c.score) OR IS_ARRAY(c.score) OR "
     "IS_OBJECT(c.score)) "
     "ORDER BY c.score",
     ORDER,
     {"Index Scan using items_2_score", "ROW("},
     {seq_scan, sort}},
    {"IN of many",
     "SELECT * FROM c WHERE c.address.zip IN ('z1', 'z2', 'z3')",
     FILTER,
     {"Bitmap Index Scan on items_2_doc"},
     {seq_scan}},
    {"places near a point",
     "SELECT * FROM c WHERE ST_DISTANCE(c.place, {'type': 'Point', 'coordinates': [10.5, 20.5]}) "
     "< 20000",
     FILTER,
     {"items_2_place", "Index Cond"},
     {seq_scan}},
    {"places in a polygon across the antimeridian",
     "SELECT * FROM c WHERE ST_WITHIN(c.place, {'type': 'Polygon', 'coordinates': [[[179, 0], "
     "[-179, 0], [-179, 1], [179, 1], [179, 0]]]})",
     FILTER,
     {"BitmapOr", "Bitmap Index Scan on items_2_place"},
     {seq_scan}},
    {"alternatives",
     "SELECT * FROM c WHERE c.address.zip = 'z1' OR ARRAY_CONTAINS(c.tags, 't5')",
     FILTER,
     {"Bitmap Index Scan on items_2_doc"},
     {seq_scan}},
};

static struct arena arena; /* of the indexes */
static struct index_set indexes;

static void index_create(struct server *server, const char *name, enum index_kind kind,
                         const char *spec)
{
    struct fault fault = {0};
    struct buf text = {0};

    buf_printf(&text, "create index %s on orrery.items_2 ", name);
    bool is_made = index_set_add(&indexes, kind, slice_from_text(spec), &arena, &fault) &&
                   index_append_definition(&text, kind, slice_from_text(spec), &arena, &fault);
    if (!is_made) {
        fprintf(stderr, "%s: %s\n", spec, fault.message);
        exit(2);
    }
    server_run(server, buf_text(&text));
    buf_finish(&text);
}

static void indexes_create(struct server *server)
{
    struct index_policy policy;
    struct fault fault = {0};
    struct buf rules = {0};
    bool is_read =
        index_policy_parse(&policy,
                           SLICE_LITERAL("{\"indexingMode\":\"consistent\",\"includedPaths\":[{"
                                         "\"path\":\"/*\"}],\"excludedPaths\":[]}"),
                           &arena, &fault);

    assert(is_read);
    index_spec_append_rules(&rules, &policy);
    index_create(server, "items_2_doc", INDEX_CONTAINMENT,
                 arena_copy(&arena, buf_text(&rules), rules.len));
    index_create(server, "items_2_score", INDEX_RANGE, "/score");
    index_create(server, "items_2_name", INDEX_RANGE, "/name");
    index_create(server, "items_2_mixed", INDEX_COMPOSITE,
                 "{\"compositeIndexes\":[[{\"path\":\"/kind\",\"order\":\"ascending\"},"
                 "{\"path\":\"/score\",\"order\":\"descending\"}]]}");
    index_create(server, "items_2_place", INDEX_SPATIAL, "{\"path\":\"/place\",\"types\":15}");
    server_run(server, "analyze orrery.items_2");
    buf_finish(&rules);
}

/* ---- statements ---- */

static void order_append(struct emit *emit, const struct ast_query *query, bool is_beyond,
                         struct sql *sql)
{
    const struct sort_value kind = {.rank = VALUE_STRING, .text = SLICE_LITERAL("order")};
    const struct sort_value score = {.rank = VALUE_NUMBER, .number = 9000};
    struct sort_value values[] = {query->order_count > 1 ? kind : score, score};
    struct order_sql order;

    bool is_ordered = order_sql_prepare(&order, query, emit->arena);
    assert(is_ordered);
    buf_append_text(&sql->text, " from orrery.items_2 i where " SCOPE " and ");
    struct slice before = sql_take(sql);
    emit_where(emit, query, sql);
    struct slice where = sql_take(sql);
    buf_append_slice(&sql->text, before);
    buf_append_slice(&sql->text, where);
    struct order_page page = {.columns = SLICE_LITERAL("select i.rid"),
                              .from = sql_take(sql),
                              .values = is_beyond ? values : NULL,
                              .bound = SLICE_LITERAL("5000::bigint"),
                              .limit = "100"};
    order_sql_page(&order, &page, sql);
}

static void statement_append(const struct question *question, struct emit *emit,
                             const struct ast_query *query, struct sql *sql)
{
    struct emit_groups groups = {.from = SLICE_LITERAL("orrery.items_2 i"),
                                 .where = SLICE_LITERAL(SCOPE)};

    switch (question->kind) {
    case FILTER:
        buf_append_text(&sql->text,
                        "select i.rid, i.body from orrery.items_2 i where " SCOPE " and ");
        emit_where(emit, query, sql);
        buf_append_text(&sql->text, " order by i.rid");
        break;
    case ORDER:
    case ORDER_BEYOND:
        order_append(emit, query, question->kind == ORDER_BEYOND, sql);
        break;
    case GROUPS: {
        bool is_exact = emit_groups(emit, query, &groups, sql);
        assert(is_exact);
        break;
    }
    }
}

static bool plan_is_right(const struct question *question, const char *plan)
{
    for (size_t i = 0; i < ARRAY_LEN(question->expected) && question->expected[i] != NULL; i++) {
        if (strstr(plan, question->expected[i]) == NULL)
            return false;
    }
    for (size_t i = 0; i < ARRAY_LEN(question->refused) && question->refused[i] != NULL; i++) {
        if (strstr(plan, question->refused[i]) != NULL)
            return false;
    }
    return true;
}

/* The plan as text; the arena's. */
static const char *plan_of(struct server *server, struct sql *sql)
{
    struct slice statement = sql_take(sql);
    struct buf plan = {0};

    buf_append_text(&sql->text, "explain (costs off) ");
    buf_append_slice(&sql->text, statement);
    PGresult *result = server_ask(server, sql);
    if (result == NULL) {
        fprintf(stderr, "%.*s\n%s\n", (int) statement.len, statement.ptr, server->error);
        exit(2);
    }
    for (int i = 0; i < PQntuples(result); i++)
        buf_printf(&plan, "    %s\n", PQgetvalue(result, i, 0));
    PQclear(result);
    const char *copy = arena_copy(sql->arena, buf_text(&plan), plan.len);
    assert(copy != NULL);
    buf_finish(&plan);
    return copy;
}

static bool question_ask(struct server *server, const struct question *question)
{
    static const struct check_input input = {0};
    struct arena memory;
    struct fault fault = {0};
    struct ast_query query;
    struct sql sql;

    arena_init(&memory, ARENA_BYTES);
    bool is_begun = parser_query(&memory, slice_from_text(question->text), &query, &fault) &&
                    check_query(&memory, &query, &input, &fault) && sql_init(&sql, &memory, 0);
    assert(is_begun);
    struct emit emit = {.arena = &memory, .indexes = &indexes};
    statement_append(question, &emit, &query, &sql);
    const char *plan = plan_of(server, &sql);
    bool is_right = plan_is_right(question, plan);
    printf("%s: %s\n%s", is_right ? "right" : "WRONG", question->name, is_right ? "" : plan);
    arena_finish(&memory);
    return is_right;
}

int main(int argc, char **argv)
{
    struct server server;
    unsigned wrong = 0;

    if (argc != 2)
        return 2;
    server_connect(&server, argv[1]);
    arena_init(&arena, ARENA_BYTES);
    server_run(&server, items);
    indexes_create(&server);
    for (size_t i = 0; i < ARRAY_LEN(questions); i++)
        wrong += !question_ask(&server, &questions[i]);
    server_run(&server, "drop table orrery.items_2");
    server_finish(&server);
    arena_finish(&arena);
    return wrong > 0;
}
