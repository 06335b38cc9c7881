/*
 * GeoJSON geometries: read, checked, compared.
 *
 * On the globe (geospatialConfig Geography) coordinates are degrees, edges great ellipses, lengths
 * metres (query/geodesy.h). In a plane (Geometry) they are numbers and edges are straight. Both are
 * handled as vectors: directions from the centre, or (x, y, 1), so that on which side of an edge a
 * place lies is the sign of a determinant in either.
 *
 * A polygon is what lies left of its outer ring; one that goes clockwise is everything else, as in
 * the service. On which side a place is, is counted along its meridian, which is right for rings of
 * any size. Inner rings are holes, whichever way they go. Borders belong to a geometry.
 */
#ifndef ORRERY_QUERY_GEOMETRY_H
#define ORRERY_QUERY_GEOMETRY_H

#include "query/eval.h"
#include "query/geodesy.h"

#include <stddef.h>

/* Source: the service's documentation of spatial data. */
#define GEOMETRY_POINTS_MAX 4096

enum geometry_kind { GEOMETRY_POINT, GEOMETRY_LINE, GEOMETRY_POLYGON };

struct geometry_point {
    double x, y; /* longitude and latitude, or the plane's */
    struct direction v;
};

/* Points of a line or a ring; a ring ends with its first point. */
struct geometry_path {
    size_t count;
    struct geometry_point *points;
    /* of a ring */
    bool is_clockwise; /* around what it encloses */
    int turns;         /* around the axis of the globe, to the east */
};

/* One point, line or polygon. */
struct geometry_part {
    enum geometry_kind kind;
    size_t path_count; /* rings of a polygon, the outer one first; else 1 */
    struct geometry_path *paths;
    bool is_inverse; /* a polygon that goes clockwise */
};

struct geometry {
    bool is_planar;
    size_t part_count; /* of a MultiPolygon; else 1 */
    struct geometry_part *parts;
};

/*
 * Read a value.
 *
 * reason   why it is no valid geometry, a sentence; NULL when memory ran out (the eval has failed)
 * returns  false when it is none
 */
bool geometry_read(struct eval *eval, const cJSON *value, struct geometry *geometry,
                   const char **reason) MUST_CHECK;

/* Does no ring touch or cross itself? Spends steps by the square of the points. */
bool geometry_is_simple(struct eval *eval, const struct geometry *geometry);

/* Of two geometries of one container. They spend steps by the product of the points; the result is
 * false or 0 when the eval failed. */
bool geometry_intersects(struct eval *eval, const struct geometry *a, const struct geometry *b);
bool geometry_is_within(struct eval *eval, const struct geometry *inner,
                        const struct geometry *outer);
double geometry_distance(struct eval *eval, const struct geometry *a, const struct geometry *b);

/* Square metres, or the plane's units; 0 for points and lines. */
double geometry_area(const struct geometry *geometry);

#endif
