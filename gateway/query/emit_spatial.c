/*
 * Conditions on geometries, as boxes that overlap: what spatial indexes are asked.
 */
#include "query/emit_search.h"
#include "query/functions.h"
#include "query/geometry_box.h"
#include "query/policies.h"

#include "base/banned.h"

static bool is_call_of(const struct ast *node, function_evaluate *function)
{
    return node->kind == AST_CALL && !node->is_udf && node->function->evaluate == function;
}

/* The geometry that an expression always is. */
static bool constant_geometry(struct emitter *emitter, const struct ast *node,
                              struct geometry *geometry)
{
    const struct query_policies policies = {.is_planar = emitter->emit->is_planar};
    const cJSON *value;
    const char *reason;
    struct fault fault = {0};
    struct eval eval;

    if (!emit_constant(emitter, node, &value) || value == NULL)
        return false;
    eval_init(&eval, emitter->emit->arena, NULL, &fault);
    eval.policies = &policies;
    return geometry_read(&eval, value, geometry, &reason);
}

/* The index on a path, when an expression is one. Tells of the use. */
static const struct index_located *located_path(struct emitter *emitter, const struct ast *node)
{
    const struct index_set *indexes = emitter->emit->indexes;
    const struct index_located *located = NULL;
    struct emit_place place = {0};

    if (!emit_place(emitter, node, &place) || place.has_elements)
        return NULL;
    struct index_path path = emit_place_path(&place);
    if (!index_path_can_range(&path))
        return NULL;
    if (indexes != NULL)
        located = index_set_located(indexes, &path, emitter->emit->is_planar);
    emit_note_use(emitter, located != NULL ? EMIT_USES_SPATIAL : EMIT_WANTS_SPATIAL, &place);
    return located;
}

static void append_overlap(struct emitter *emitter, const struct index_located *located,
                           const struct index_box *box)
{
    struct sql *sql = emitter->sql;

    index_append_box(&sql->text, "i", located);
    emit_raw(emitter, " && box(point(");
    sql_append_float8(sql, box->x_min);
    emit_raw(emitter, ", ");
    sql_append_float8(sql, box->y_min);
    emit_raw(emitter, "), point(");
    sql_append_float8(sql, box->x_max);
    emit_raw(emitter, ", ");
    sql_append_float8(sql, box->y_max);
    emit_raw(emitter, "))");
}

/* One argument is a path, the other a constant, at most so far from it. */
static bool near(struct emitter *emitter, const struct ast *call, double distance)
{
    const struct ast *a = call->children, *b = a->next;
    struct index_box boxes[GEOMETRY_BOXES_MAX];
    struct geometry geometry;

    if (!constant_geometry(emitter, a, &geometry)) {
        if (!constant_geometry(emitter, b, &geometry))
            return false;
        b = a;
    }
    const struct index_located *located = located_path(emitter, b);
    if (located == NULL)
        return false;
    unsigned count = geometry_boxes(&geometry, distance, &located->spatial.bounds, boxes);
    if (count == 0)
        return false;
    emit_raw(emitter, "(");
    for (unsigned i = 0; i < count; i++) {
        emit_raw(emitter, i > 0 ? " or " : "");
        append_overlap(emitter, located, &boxes[i]);
    }
    emit_raw(emitter, ")");
    return true;
}

/* ST_DISTANCE(…) < constant, or the other way round. */
static bool distance(struct emitter *emitter, const struct ast *node)
{
    const struct ast *a = node->children, *b;
    const cJSON *value;

    if (node->kind != AST_BINARY)
        return false;
    b = a->next;
    if (node->op == AST_GREATER || node->op == AST_GREATER_EQUAL) {
        const struct ast *greater = a;
        a = b;
        b = greater;
    } else if (node->op != AST_LESS && node->op != AST_LESS_EQUAL) {
        return false;
    }
    return is_call_of(a, function_st_distance) && emit_constant(emitter, b, &value) &&
           cJSON_IsNumber(value) && near(emitter, a, value->valuedouble);
}

bool emit_spatial(struct emitter *emitter, const struct ast *node)
{
    struct emit_mark mark = emit_mark(emitter);

    if (is_call_of(node, function_st_within) || is_call_of(node, function_st_intersects))
        return near(emitter, node, 0) || emit_back(emitter, mark);
    return distance(emitter, node) || emit_back(emitter, mark);
}
