/*
 * Rows gathered: aggregates, GROUP BY, DISTINCT.
 *
 * SQL gathers the rows of each group and leaves the groups to groups_merge, which knows them by
 * their digests and finishes the aggregates. Counts, extremes and sums come as parts of their own,
 * made by PostgreSQL's own aggregates: one of jsonb, in the order of the language, took four times
 * as long (6.2 us a row).
 */
#include "query/emit_query.h"
#include "query/functions.h"

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
