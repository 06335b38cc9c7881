/*
 * Rows gathered: aggregates, GROUP BY, DISTINCT.
 *
 * SQL gathers the rows of each group and leaves the groups to groups_merge, which knows them by
 * their digests and finishes the aggregates. Counts, extremes and sums come as parts of their own,
 * made by PostgreSQL's own aggregates: one of jsonb, in the order of the language, took four times
 * as long (6.2 us a row).
 */
#include "query/emit_search.h"
#include "query/functions.h"
#include "query/rows.h"

#include "base/banned.h"

/* A sum of as many of these as there can be rows is finite: PostgreSQL raises an error for others.
 */
#define SUMMAND_MAX "1e290"

static enum aggregate aggregate_of(const struct ast *node)
{
    return node->function->aggregate;
}

/* ---- parts ---- */

/* The least or greatest of null, booleans, numbers and strings of a column; arrays and objects are
 * not looked at. */
static void append_extreme(struct emitter *emitter, unsigned column, bool is_max)
{
    struct buf *text = &emitter->sql->text;
    const char *function = is_max ? "max" : "min";

    emit_raw(emitter, "coalesce(");
    for (int i = 0; i < 4; i++) {
        if (i > 0)
            emit_raw(emitter, ", ");
        switch (is_max ? 3 - i : i) { /* types in their order */
        case 0:
            buf_printf(text, "max(case when x.v%u = 'null'::jsonb then 'null' end)::jsonb", column);
            break;
        case 1:
            buf_printf(text,
                       "to_jsonb(%s(case x.v%u when 'true'::jsonb then true when 'false'::jsonb "
                       "then false end))",
                       is_max ? "bool_or" : "bool_and", column);
            break;
        case 2:
            buf_printf(text,
                       "to_jsonb(%s(case when jsonb_typeof(x.v%u) = 'number' then x.v%u::float8 "
                       "end))",
                       function, column, column);
            break;
        default:
            buf_printf(text,
                       "to_jsonb(%s((case when jsonb_typeof(x.v%u) = 'string' then x.v%u #>> '{}' "
                       "end) collate \"C\"))",
                       function, column, column);
            break;
        }
    }
    emit_raw(emitter, ")");
}

/* "bool_or(jsonb_typeof(x.v1) in ('array','object'))", NULL when there is nothing. */
static void append_has_type(struct emitter *emitter, unsigned column, const char *types)
{
    buf_printf(&emitter->sql->text, "bool_or(jsonb_typeof(x.v%u) %s)", column, types);
}

/* ---- aggregates in expressions ---- */

static bool extreme(struct emitter *emitter, const struct ast *node)
{
    emit_raw(emitter, "(case when ");
    append_has_type(emitter, node->aggregate, "in ('array','object')");
    emit_raw(emitter, " then null else ");
    append_extreme(emitter, node->aggregate, aggregate_of(node) == AGGREGATE_MAX);
    emit_raw(emitter, " end)");
    return true;
}

static bool counted(struct emitter *emitter, const struct ast *node)
{
    bool is_filtered = aggregate_of(node) == AGGREGATE_COUNTIF;

    buf_printf(&emitter->sql->text,
               is_filtered ? "count(*) filter (where x.v%u)::float8" : "count(x.v%u)::float8",
               node->aggregate);
    return true;
}

enum emit_kind emit_aggregate_kind(const struct ast *node)
{
    enum aggregate aggregate = aggregate_of(node);

    return aggregate == AGGREGATE_COUNT || aggregate == AGGREGATE_COUNTIF ? KIND_NUMBER
                                                                          : KIND_JSONB;
}

bool emit_aggregate(struct emitter *emitter, const struct ast *node, enum emit_kind kind)
{
    if (emitter->gathered == NULL)
        return false;
    switch (aggregate_of(node)) {
    case AGGREGATE_COUNT:
    case AGGREGATE_COUNTIF:
        return emit_converted(emitter, node, KIND_NUMBER, kind, counted);
    case AGGREGATE_MIN:
    case AGGREGATE_MAX:
        return emit_converted(emitter, node, KIND_JSONB, kind, extreme);
    default:
        return false; /* sums may overflow, lists have an order */
    }
}

bool emit_aggregate_argument(struct emitter *emitter, const struct ast *aggregate)
{
    if (aggregate_of(aggregate) == AGGREGATE_COUNTIF)
        return emit_scalar(emitter, aggregate->children, KIND_BOOL);
    return emit_output(emitter, aggregate->children);
}

/* ---- whole statements ---- */

/* What a statement gathers. */
struct gathering {
    struct emitter *emitter;
    const struct ast_query *query;
    unsigned key_count;
};

/* Keys of DISTINCT: members of an object that is written out, each on its own, so that their
 * sequence is kept. */
static const struct ast *distinct_keys(const struct ast_query *query, unsigned *count)
{
    const struct ast *projection = query->projection;

    if (projection->kind == AST_OBJECT && projection->child_count > 0) {
        *count = (unsigned) projection->child_count;
        return projection->children;
    }
    *count = 1;
    return projection;
}

/* COUNT(1): every row counts, and nothing needs to be computed. */
static bool counts_rows(struct emitter *emitter, const struct ast *aggregate)
{
    const cJSON *value;

    return aggregate_of(aggregate) == AGGREGATE_COUNT &&
           emit_constant(emitter, aggregate->children, &value) && value_output(value) != NULL;
}

static bool append_inner(struct gathering *gathering)
{
    struct emitter *emitter = gathering->emitter;
    const struct ast_query *query = gathering->query;
    const struct ast *key = NULL;
    bool is_first = true;

    if (query->group_by != NULL) {
        key = query->group_by->children;
        gathering->key_count = (unsigned) query->group_by->child_count;
    } else if (!query->is_aggregate) {
        key = distinct_keys(query, &gathering->key_count);
    }
    for (unsigned i = 0; i < gathering->key_count; i++, key = key->next) {
        emit_raw(emitter, is_first ? "" : ", ");
        is_first = false;
        if (!emit_output(emitter, key))
            return false;
        buf_printf(&emitter->sql->text, " as k%u", i + 1);
    }
    for (unsigned i = 0; i < query->aggregate_count; i++) {
        if (counts_rows(emitter, query->aggregates[i]))
            continue;
        emit_raw(emitter, is_first ? "" : ", ");
        is_first = false;
        if (!emit_aggregate_argument(emitter, query->aggregates[i]))
            return false;
        buf_printf(&emitter->sql->text, " as v%u", i + 1);
    }
    if (is_first)
        emit_raw(emitter, "1");
    return true;
}

static bool is_sum(const struct ast *aggregate)
{
    return aggregate_of(aggregate) == AGGREGATE_SUM || aggregate_of(aggregate) == AGGREGATE_AVG;
}

/* "case when jsonb_typeof(x.v1) = 'number' then x.v1::float8 end" */
static void append_number(struct emitter *emitter, unsigned column)
{
    buf_printf(&emitter->sql->text,
               "case when jsonb_typeof(x.v%u) = 'number' then x.v%u::float8 end", column, column);
}

/* n, s, p, b of one aggregate. */
static bool append_parts(struct emitter *emitter, const struct ast *aggregate, unsigned column)
{
    struct buf *text = &emitter->sql->text;

    switch (aggregate_of(aggregate)) {
    case AGGREGATE_COUNT:
        if (counts_rows(emitter, aggregate))
            emit_raw(emitter, ", count(*)::float8");
        else
            buf_printf(text, ", count(x.v%u)::float8", column);
        buf_printf(text, " as n%u, 0::float8 as s%u, false as p%u, null::jsonb as b%u", column,
                   column, column, column);
        return true;
    case AGGREGATE_COUNTIF:
        buf_printf(text,
                   ", (count(*) filter (where x.v%u))::float8 as n%u, 0::float8 as s%u, false as "
                   "p%u, null::jsonb as b%u",
                   column, column, column, column, column);
        return true;
    case AGGREGATE_SUM:
    case AGGREGATE_AVG:
        buf_printf(text, ", count(x.v%u)::float8 as n%u, coalesce(sum(case when abs(", column,
                   column);
        append_number(emitter, column);
        emit_raw(emitter, ") < " SUMMAND_MAX " then ");
        append_number(emitter, column);
        buf_printf(text, " end), 0) as s%u, coalesce(", column);
        append_has_type(emitter, column, "<> 'number'");
        buf_printf(text, ", false) as p%u, null::jsonb as b%u", column, column);
        return true;
    case AGGREGATE_MIN:
    case AGGREGATE_MAX:
        buf_printf(text, ", 0::float8 as n%u, 0::float8 as s%u, coalesce(", column, column);
        append_has_type(emitter, column, "in ('array','object')");
        buf_printf(text, ", false) as p%u, ", column);
        append_extreme(emitter, column, aggregate_of(aggregate) == AGGREGATE_MAX);
        buf_printf(text, " as b%u", column);
        return true;
    default:
        return false; /* lists are in the order of the rows */
    }
}

/* Objects among the keys, whose members jsonb has put in an order of its own; numbers too great to
 * be summed here. */
static void append_inexact(const struct gathering *gathering)
{
    struct emitter *emitter = gathering->emitter;
    const struct ast_query *query = gathering->query;

    emit_raw(emitter, "(false");
    for (unsigned i = 1; i <= gathering->key_count; i++)
        buf_printf(&emitter->sql->text,
                   " or coalesce(jsonb_typeof(x.k%u) in ('array','object') and strpos(x.k%u::text, "
                   "'{') > 0, false)",
                   i, i);
    for (unsigned i = 0; i < query->aggregate_count; i++) {
        if (!is_sum(query->aggregates[i]))
            continue;
        emit_raw(emitter, " or coalesce(bool_or(abs(");
        append_number(emitter, i + 1);
        emit_raw(emitter, ") >= " SUMMAND_MAX "), false)");
    }
    emit_raw(emitter, ") as is_inexact");
}

static bool append_outer(const struct gathering *gathering)
{
    struct emitter *emitter = gathering->emitter;

    emit_raw(emitter, "select ");
    append_inexact(gathering);
    for (unsigned i = 1; i <= gathering->key_count; i++)
        buf_printf(&emitter->sql->text, ", x.k%u", i);
    for (unsigned i = 0; i < gathering->query->aggregate_count; i++) {
        if (!append_parts(emitter, gathering->query->aggregates[i], i + 1))
            return false;
    }
    return true;
}

/* " and <condition>" for the rows. */
static bool append_filter(struct emitter *emitter, const struct ast_query *query)
{
    if (!emit_sources_defined(emitter, query))
        return false;
    if (query->where == NULL)
        return true;
    emit_raw(emitter, " and ");
    if (!emit_is_joined(query))
        return emit_search(emitter, query->where, 1) == EMIT_EXACT;
    struct emit_mark mark = emit_mark(emitter);
    if (emit_joined_hint(emitter, query) != CONTAIN_NOTHING)
        emit_raw(emitter, " and ");
    else
        emit_back(emitter, mark);
    return emit_filter(emitter, query->where);
}

static bool append_statement(struct gathering *gathering, const struct emit_groups *groups)
{
    struct emitter *emitter = gathering->emitter;
    const struct ast_query *query = gathering->query;
    struct emit_mark mark = emit_mark(emitter);
    struct slice sources, inner;

    /* FROM binds what the select list before it names. */
    if (!emit_sources(emitter, query, " cross join lateral ", " cross join lateral "))
        return false;
    sources = emit_cut(emitter, mark);
    if (!append_inner(gathering))
        return false;
    inner = emit_cut(emitter, mark);
    if (!append_outer(gathering))
        return false;
    emit_raw(emitter, " from (select ");
    buf_append_slice(&emitter->sql->text, inner);
    emit_raw(emitter, " from ");
    buf_append_slice(&emitter->sql->text, groups->from);
    buf_append_slice(&emitter->sql->text, sources);
    emit_raw(emitter, " where ");
    buf_append_slice(&emitter->sql->text, groups->where);
    if (!append_filter(emitter, query))
        return false;
    /* Named once and not in each aggregate: values stay where they were computed. */
    emit_raw(emitter, " offset 0) x");
    for (unsigned i = 1; i <= gathering->key_count; i++)
        buf_printf(&emitter->sql->text, "%s x.k%u", i > 1 ? "," : " group by", i);
    return sql_is_whole(emitter->sql);
}

bool emit_groups(struct emit *emit, const struct ast_query *query, struct emit_groups *groups,
                 struct sql *sql)
{
    struct emitter emitter;
    struct gathering gathering = {&emitter, query, 0};

    if (!emitter_init(&emitter, emit, query, sql))
        return false;
    struct emit_mark mark = emit_mark(&emitter);
    if (query->sources == NULL || query->outer != NULL || query->is_star ||
        rows_are_staged(query) || !append_statement(&gathering, groups))
        return emit_back(&emitter, mark);
    groups->key_count = gathering.key_count;
    groups->aggregate_count = query->aggregate_count;
    return true;
}

const cJSON *const *emit_groups_keys(const struct ast_query *query, struct eval *eval,
                                     const cJSON *const *columns, const cJSON **object)
{
    struct value_list list;

    if (query->is_aggregate || query->projection->kind != AST_OBJECT ||
        query->projection->child_count == 0)
        return columns;
    if (!value_list_begin(eval, &list, cJSON_Object))
        return NULL;
    for (const struct ast *key = query->projection->children; key != NULL; key = key->next) {
        if (!value_list_add(eval, &list, key->key.ptr, *columns++))
            return NULL;
    }
    *object = list.node;
    return object;
}
