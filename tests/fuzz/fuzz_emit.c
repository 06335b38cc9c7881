/*
 * Arbitrary texts as queries that are compiled to SQL, for containers with and without policies.
 *
 * What stands behind a NUL chooses the indexes that there are, a byte for each; without it queries
 * are compiled for several sets. A statement must be one by its looks: what opens is closed, in the
 * right sequence and outside of constants; numbers of parameters are of parameters that there are,
 * with values of their type; nothing in it is a comment, or begins another statement.
 */
#include "base/utf8.h"
#include "query/check.h"
#include "query/emit.h"
#include "query/filter.h"
#include "query/order_sql.h"
#include "query/parser.h"
#include "query/policies.h"
#include "query/rows.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define ARENA_BYTES (64u << 20)
#define FIRST_PARAM 5
#define NESTING_MAX 4096
#define ARRAY_LEN(array) (sizeof(array) / sizeof((array)[0]))

/* What a container may declare, and what queries for it are checked by. */
struct setting {
    const char *definition, *indexing;
    struct query_policies policies;
    struct computed_properties computed;
    struct index_policy policy;
    struct index_wanted *indexes;
    size_t index_count;
};

static struct setting settings[] = {
    {.definition = "{}", .indexing = "{\"indexingMode\":\"consistent\"}"},
    {.definition = "{\"computedProperties\":[{\"name\":\"low\",\"query\":\"SELECT VALUE LOWER(c.s) "
                   "FROM c\"},{\"name\":\"sum\",\"query\":\"SELECT VALUE c.n + c.m FROM c\"}],"
                   "\"fullTextPolicy\":{\"defaultLanguage\":\"en-US\",\"fullTextPaths\":[{\"path\":"
                   "\"/text\",\"language\":\"en-US\"}]},\"vectorEmbeddingPolicy\":{"
                   "\"vectorEmbeddings\":[{\"path\":\"/v\",\"dataType\":\"float32\","
                   "\"distanceFunction\":\"euclidean\",\"dimensions\":2}]},\"geospatialConfig\":{"
                   "\"type\":\"Geometry\"}}",
     .indexing = "{\"indexingMode\":\"consistent\",\"includedPaths\":[{\"path\":\"/*\"}],"
                 "\"excludedPaths\":[{\"path\":\"/o/*\"},{\"path\":\"/\\\"a 'b\\\"/?\"}],"
                 "\"compositeIndexes\":[[{\"path\":\"/n\"},{\"path\":\"/s\",\"order\":"
                 "\"descending\"}],[{\"path\":\"/_ts\"},{\"path\":\"/id\"},{\"path\":\"/n\"},"
                 "{\"path\":\"/a/b\"}]],\"spatialIndexes\":[{\"path\":\"/p/?\",\"types\":["
                 "\"Point\",\"Polygon\"],\"boundingBox\":{\"xmin\":0,\"ymin\":0,\"xmax\":9,"
                 "\"ymax\":9}}]}"},
};

static const char *const ranges[] = {"/a", "/n",   "/s",  "/a/b",          "/k", "/v", "/m",
                                     "/p", "/_ts", "/id", "/\"a 'b\\\\\"", "/é"};

static const struct rid container = {.type = RID_CONTAINER, .database = 1, .owner = 2};
static const char *shown; /* the query at hand */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fail(const char *what, struct slice sql)
{
    fprintf(stderr, "%s\nquery: %s\nSQL: %.*s\n", what, shown, (int) sql.len, sql.ptr);
    abort();
}

static void must(bool holds, const char *what, struct slice sql)
{
    if (!holds)
        fail(what, sql);
}

/* ---- What is known of containers ---- */

static void setting_load(struct setting *setting, struct arena *arena)
{
    struct fault fault = {0};
    struct slice definition = slice_from_text(setting->definition);

    if (!query_policies_load(&setting->policies, definition, arena, &fault) ||
        !computed_load(&setting->computed, definition, arena, &fault) ||
        !index_policy_parse(&setting->policy, slice_from_text(setting->indexing), arena, &fault) ||
        !index_set_declared(&setting->policy, &setting->indexes, &setting->index_count, arena,
                            &fault))
        fail(fault.message, definition);
}

static void prepare(void)
{
    static struct arena arena;

    if (settings[0].indexes != NULL)
        return;
    arena_init(&arena, 1 << 20);
    for (size_t i = 0; i < ARRAY_LEN(settings); i++)
        setting_load(&settings[i], &arena);
}

/* The declared indexes and ranges that the bytes choose: those of the policy first. */
static void choose_indexes(struct index_set *set, const struct setting *setting,
                           const uint8_t *choice, size_t count, struct arena *arena)
{
    struct fault fault = {0};
    bool is_added = true;

    *set = (struct index_set){0};
    for (size_t i = 0; is_added && i < count; i++) {
        size_t number = choice[i] % (setting->index_count + ARRAY_LEN(ranges));
        bool is_declared = number < setting->index_count;

        is_added =
            index_set_add(set, is_declared ? setting->indexes[number].kind : INDEX_RANGE,
                          is_declared ? setting->indexes[number].spec
                                      : slice_from_text(ranges[number - setting->index_count]),
                          arena, &fault);
    }
    must(is_added || fault.status == 503, fault.message, slice_from_text("-"));
}

/* ---- Looks of a statement ---- */

/* Behind a constant or a name that begins at `at`. */
static size_t skip_quoted(struct slice sql, size_t at)
{
    char quote = sql.ptr[at];
    bool has_escapes = quote == '\'' && at > 0 && sql.ptr[at - 1] == 'E';

    for (at++; at < sql.len; at++) {
        if (has_escapes && sql.ptr[at] == '\\')
            at++;
        else if (sql.ptr[at] == quote && at + 1 < sql.len && sql.ptr[at + 1] == quote)
            at++;
        else if (sql.ptr[at] == quote)
            return at + 1;
    }
    fail("a constant without its end", sql);
    return at;
}

/* Behind "$n". */
static size_t check_number(struct slice sql, size_t at, unsigned params)
{
    unsigned number = 0;
    size_t begin = at + 1;

    for (at++; at < sql.len && sql.ptr[at] >= '0' && sql.ptr[at] <= '9' && number <= params; at++)
        number = number * 10 + (unsigned) (sql.ptr[at] - '0');
    must(at > begin && number >= 1 && number <= params, "a parameter that is not there", sql);
    return at;
}

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

static bool begins(struct slice sql, size_t at, const char *mark)
{
    return slice_starts_with(slice_make(sql.ptr + at, sql.len - at), mark);
}

static void check_looks(struct slice sql, unsigned params)
{
    static char open[NESTING_MAX];
    size_t depth = 0, at = 0;

    must(utf8_is_valid(sql) && memchr(sql.ptr, '\0', sql.len) == NULL, "no text", sql);
    while (at < sql.len) {
        char c = sql.ptr[at];

        if (c == '\'' || c == '"') {
            at = skip_quoted(sql, at);
            must(at == sql.len || !is_word(sql.ptr[at]), "a constant that ends too early", sql);
        } else if (c == '$') {
            at = check_number(sql, at, params);
        } else {
            must(c >= ' ' && c < 0x7f && c != ';' && c != '\\', "a character that means nothing",
                 sql);
            must(!begins(sql, at, "--") && !begins(sql, at, "/*"), "a comment", sql);
            if (c == '(' || c == '[') {
                must(depth < NESTING_MAX, "too deep", sql);
                open[depth++] = c == '(' ? ')' : ']';
            } else if (c == ')' || c == ']') {
                must(depth > 0 && open[--depth] == c, "what closes was not opened", sql);
            }
            at++;
        }
    }
    must(depth == 0, "what opens is not closed", sql);
}

/* ---- Values of parameters ---- */

static void check_text(struct slice text, struct slice sql)
{
    must(utf8_is_valid(text), "a text that is none", sql);
}

static void check_json(struct slice text, struct slice sql)
{
    cJSON *json = cJSON_ParseWithLength(text.ptr, text.len);

    check_text(text, sql);
    must(json != NULL, "jsonb that is none", sql);
    cJSON_Delete(json);
}

static void check_param(const struct sql_param *param, struct slice sql)
{
    switch (param->type) {
    case SQL_TEXT:
        check_text(param->text, sql);
        break;
    case SQL_JSONB:
        check_json(param->text, sql);
        break;
    case SQL_FLOAT8:
        must(isfinite(param->number), "a number without end", sql);
        break;
    case SQL_JSONB_ARRAY:
        for (size_t i = 0; i < param->element_count; i++)
            check_json(param->elements[i], sql);
        break;
    case SQL_TEXT_ARRAY:
        for (size_t i = 0; i < param->element_count; i++)
            check_text(param->elements[i], sql);
        break;
    case SQL_INT8:
    case SQL_BYTEA:
        break;
    }
}

/* Whole, or memory ran out. */
static void check_sql(struct sql *sql)
{
    struct slice text = buf_slice(&sql->text);

    if (!sql_is_whole(sql) || text.len == 0)
        return;
    check_looks(text, sql->first_param + sql->param_count);
    for (unsigned i = 0; i < sql->param_count; i++)
        check_param(&sql->params[i], text);
}

/* ---- One query ---- */

static const struct ast_query *innermost(const struct ast_query *query)
{
    while (rows_are_staged(query))
        query = query->sources->query;
    return query;
}

/* It ends with the arena; NULL without memory. */
static struct sql *sql_begin(struct arena *arena)
{
    struct sql *sql = arena_alloc(arena, sizeof(*sql));

    return sql != NULL && sql_init(sql, arena, FIRST_PARAM) ? sql : NULL;
}

static void filter_emit(struct emit *emit, const struct ast_query *query)
{
    struct sql *sql = sql_begin(emit->arena), *again = sql_begin(emit->arena);

    if (sql == NULL || again == NULL)
        return;
    enum emit_form form = emit_where(emit, query, sql);
    check_sql(sql);
    if (!sql_is_whole(sql))
        return;
    must(sql->text.len > 0, "no condition", query->text);
    must(form != EMIT_NOTHING || slice_equals_text(buf_slice(&sql->text), "true"),
         "a condition that is none", buf_slice(&sql->text));
    for (const struct emit_use *use = emit->uses; use != NULL; use = use->next)
        must(use->path.count > 0, "an index of nothing", buf_slice(&sql->text));
    emit->uses = NULL;
    if (emit_where(emit, query, again) != form ||
        (sql_is_whole(again) && !slice_equals(buf_slice(&sql->text), buf_slice(&again->text))))
        fail("another condition the second time", buf_slice(&again->text));
}

/* The first items of an order, or the first beyond a position that begins with that value. */
static void order_page_emit(const struct order_sql *order, struct sql *sql, size_t first,
                            bool is_beyond)
{
    static const cJSON values[] = {{.type = cJSON_String, .valuestring = (char *) "it's \\ \"so\""},
                                   {.type = cJSON_Number, .valuedouble = -0.5},
                                   {.type = cJSON_NULL},
                                   {.type = cJSON_True}};
    struct sort_value position[TOPK_KEYS_MAX];
    struct order_page page = {.columns = slice_from_text("select i.rid"),
                              .from = slice_from_text(" from orrery.items_2 i where true"),
                              .values = is_beyond ? position : NULL,
                              .bound = slice_from_text("$1"),
                              .limit = "$2"};

    for (unsigned i = 0; i < order->count; i++)
        position[i] = sort_value_of(first + i < ARRAY_LEN(values) ? &values[first + i] : NULL);
    sql->text.len = 0;
    order_sql_page(order, &page, sql);
    check_sql(sql);
    sql->text.len = 0;
    buf_append_text(&sql->text, "select ");
    order_sql_blurred(order, sql);
    buf_append_text(&sql->text, " order by ");
    order_sql_list(order, sql);
    check_sql(sql);
}

static void order_emit(struct arena *arena, const struct ast_query *query)
{
    struct order_sql order;
    struct sql *sql = sql_begin(arena);

    if (sql == NULL || query->order_by == NULL || !order_sql_prepare(&order, query, arena))
        return;
    order_page_emit(&order, sql, 0, false);
    for (size_t first = 0; first < 5; first++)
        order_page_emit(&order, sql, first, true);
}

static void groups_emit(struct emit *emit, const struct ast_query *query)
{
    struct emit_groups groups = {.from = slice_from_text("orrery.items_2 i"),
                                 .where = slice_from_text("i.range_id = any($1)")};
    struct sql *sql = sql_begin(emit->arena);

    if (sql == NULL)
        return;
    bool is_exact = emit_groups(emit, query, &groups, sql);
    must(is_exact || !sql_is_whole(sql) || sql->text.len == 0, "half a statement",
         buf_slice(&sql->text));
    check_sql(sql);
}

static void emit_all(const struct setting *setting, const struct index_set *indexes,
                     struct slice text, const cJSON *parameters)
{
    const struct check_input input = {.parameters = parameters,
                                      .computed = setting->computed,
                                      .indexing = &setting->policy,
                                      .policies = &setting->policies};
    struct ast_query query;
    struct arena arena;
    struct fault fault = {0};

    arena_init(&arena, ARENA_BYTES);
    if (parser_query(&arena, text, &query, &fault) && check_query(&arena, &query, &input, &fault)) {
        struct emit emit = {.arena = &arena,
                            .container = &container,
                            .indexes = indexes,
                            .now_us = 1606348800000000};
        filter_emit(&emit, innermost(&query));
        order_emit(&arena, &query);
        groups_emit(&emit, &query);
    }
    arena_finish(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t all[] = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9, 10,
                                  11, 12, 13, 14, 15, 16, 17, 18, 19, 20};
    const uint8_t *end = size > 0 ? memchr(data, '\0', size) : NULL;
    size_t len = end != NULL ? (size_t) (end - data) : size;
    const uint8_t *choice = end != NULL ? end + 1 : all;
    size_t choices = end != NULL ? size - len - 1 : ARRAY_LEN(all);
    char *text = malloc(len + 1);
    struct query_spec spec = {0};
    struct fault fault = {0};
    struct index_set indexes;
    struct arena arena;

    if (text == NULL)
        abort();
    if (len > 0)
        memcpy(text, data, len);
    text[len] = '\0';
    shown = text;
    prepare();
    arena_init(&arena, ARENA_BYTES);
    if (!query_body_parse(&arena, slice_make(text, len), &spec, &fault))
        spec = (struct query_spec){.text = slice_make(text, len)};
    for (size_t i = 0; i < ARRAY_LEN(settings); i++) {
        choose_indexes(&indexes, &settings[i], choice, choices, &arena);
        emit_all(&settings[i], &indexes, spec.text, spec.parameters);
        if (end == NULL)
            emit_all(&settings[i], NULL, spec.text, spec.parameters);
    }
    arena_finish(&arena);
    free(text);
    return 0;
}
