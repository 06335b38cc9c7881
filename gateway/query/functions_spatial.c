/*
 * ST_…: geometries in the language. What is no valid geometry makes them undefined, except those
 * that ask for it.
 */
#include "query/functions.h"
#include "query/geometry.h"

#include <math.h>

#include "base/banned.h"

static bool read_both(struct eval *eval, const cJSON *const *args, struct geometry *a,
                      struct geometry *b)
{
    const char *reason;

    return geometry_read(eval, args[0], a, &reason) && geometry_read(eval, args[1], b, &reason);
}

const cJSON *function_st_distance(struct eval *eval, const cJSON *const *args, size_t count)
{
    struct geometry a, b;

    (void) count;
    if (!read_both(eval, args, &a, &b))
        return NULL;
    double distance = geometry_distance(eval, &a, &b);
    return eval->has_failed ? NULL : value_number(eval, distance);
}

const cJSON *function_st_within(struct eval *eval, const cJSON *const *args, size_t count)
{
    struct geometry a, b;

    (void) count;
    if (!read_both(eval, args, &a, &b))
        return NULL;
    bool is_within = geometry_is_within(eval, &a, &b);
    return eval->has_failed ? NULL : value_bool(is_within);
}

const cJSON *function_st_intersects(struct eval *eval, const cJSON *const *args, size_t count)
{
    struct geometry a, b;

    (void) count;
    if (!read_both(eval, args, &a, &b))
        return NULL;
    bool do_intersect = geometry_intersects(eval, &a, &b);
    return eval->has_failed ? NULL : value_bool(do_intersect);
}

/* The area along an edge is an integral. */
#define AREA_STEPS_PER_POINT 100

static size_t point_count(const struct geometry *geometry)
{
    size_t count = 0;

    for (size_t i = 0; i < geometry->part_count; i++) {
        for (size_t path = 0; path < geometry->parts[i].path_count; path++)
            count += geometry->parts[i].paths[path].count;
    }
    return count;
}

const cJSON *function_st_area(struct eval *eval, const cJSON *const *args, size_t count)
{
    struct geometry geometry;
    const char *reason;

    (void) count;
    return geometry_read(eval, args[0], &geometry, &reason) &&
                   eval_spend(eval, AREA_STEPS_PER_POINT * point_count(&geometry))
               ? value_number(eval, geometry_area(&geometry))
               : NULL;
}

/* Why an object is no valid geometry; NULL when it is one, or the eval failed. */
static const char *find_fault(struct eval *eval, const cJSON *value)
{
    struct geometry geometry;
    const char *reason;

    if (!geometry_read(eval, value, &geometry, &reason))
        return reason;
    return geometry_is_simple(eval, &geometry) ? NULL : "A ring must not touch or cross itself.";
}

const cJSON *function_st_isvalid(struct eval *eval, const cJSON *const *args, size_t count)
{
    (void) count;
    if (!cJSON_IsObject(args[0]))
        return NULL;
    const char *reason = find_fault(eval, args[0]);
    return eval->has_failed ? NULL : value_bool(reason == NULL);
}

const cJSON *function_st_isvaliddetailed(struct eval *eval, const cJSON *const *args, size_t count)
{
    struct value_list list;

    (void) count;
    if (!cJSON_IsObject(args[0]))
        return NULL;
    const char *reason = find_fault(eval, args[0]);
    if (eval->has_failed || !value_list_begin(eval, &list, cJSON_Object) ||
        !value_list_add(eval, &list, "valid", value_bool(reason == NULL)))
        return NULL;
    if (reason != NULL) {
        const cJSON *text = value_string(eval, slice_from_text(reason));
        if (text == NULL || !value_list_add(eval, &list, "reason", text))
            return NULL;
    }
    return list.node;
}
