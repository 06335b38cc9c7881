#include "query/geometry_box.h"

#include <math.h>

#include "base/banned.h"

/* All longitudes, as an item's box has them. */
#define WEST -180.0
#define EAST 210.0
/* Boxes of more longitudes than this have all. */
#define WIDTH_MAX (EAST - WEST - 60)

/* As orrery.globe_box. */
#define LATITUDE_MAX 89.5 /* beyond, longitudes mean little */
#define EDGE_MAX 179.0    /* longer edges may go anywhere */

/* What rounding and the tolerance of edges come to, in degrees: 20 cm. */
#define MARGIN_GLOBE 2e-6
/* The same in a plane: so much, and so much of the coordinates. */
#define MARGIN_PLANE 1e-8
#define MARGIN_PLANE_PART 1e-11

/* Metres over one radian of latitude, and of longitude at the equator: at least. */
#define METRES_NORTH 6335439.0
#define METRES_EAST 6378137.0

#define RADIANS_PER_DEGREE (M_PI / 180)

/* Distances are computed with that part of them in doubt. */
#define DISTANCE_SLACK (1 + 1e-9)

/* ---- the plane ---- */

static double rounded(double coordinate, double low, double high)
{
    return rint(fmin(fmax(coordinate, low), high) * 1e9) / 1e9;
}

static void add_place(struct index_box *box, double x, double y)
{
    box->x_min = fmin(box->x_min, x);
    box->x_max = fmax(box->x_max, x);
    box->y_min = fmin(box->y_min, y);
    box->y_max = fmax(box->y_max, y);
}

static struct index_box nothing(void)
{
    return (struct index_box){INFINITY, INFINITY, -INFINITY, -INFINITY};
}

static unsigned plane_boxes(const struct geometry *geometry, double distance,
                            const struct index_box *bounds, struct index_box *box)
{
    *box = nothing();
    for (size_t i = 0; i < geometry->part_count; i++) {
        for (size_t j = 0; j < geometry->parts[i].path_count; j++) {
            const struct geometry_path *path = &geometry->parts[i].paths[j];
            for (size_t k = 0; k < path->count; k++)
                add_place(box, path->points[k].x, path->points[k].y);
        }
    }
    double size =
        fmax(fmax(fabs(box->x_min), fabs(box->x_max)), fmax(fabs(box->y_min), fabs(box->y_max)));
    double margin = fmax(distance, 0) * DISTANCE_SLACK + MARGIN_PLANE +
                    MARGIN_PLANE_PART * (size + fmax(distance, 0));
    box->x_min = rounded(box->x_min - margin, bounds->x_min, bounds->x_max);
    box->x_max = rounded(box->x_max + margin, bounds->x_min, bounds->x_max);
    box->y_min = rounded(box->y_min - margin, bounds->y_min, bounds->y_max);
    box->y_max = rounded(box->y_max + margin, bounds->y_min, bounds->y_max);
    return 1;
}

/* ---- the globe ---- */

/* How far towards the pole an edge of that many degrees bends. */
static double bent(double latitude, double edge)
{
    return atan(tan(latitude * RADIANS_PER_DEGREE) / cos(edge / 2 * RADIANS_PER_DEGREE)) /
           RADIANS_PER_DEGREE;
}

static struct index_box everywhere(void)
{
    return (struct index_box){WEST, -90, EAST, 90};
}

static void widen(struct index_box *box)
{
    box->x_min = WEST;
    box->x_max = EAST;
}

/* A line or a ring, whose longitudes go on where it crosses the antimeridian. */
static struct index_box path_box(const struct geometry_path *path)
{
    struct index_box box = nothing();
    double x = path->points[0].x, edge = 0;

    for (size_t i = 0; i < path->count; i++) {
        if (i > 0) {
            double way = geodesy_longitude_difference(path->points[i - 1].x, path->points[i].x);
            x += way;
            edge = fmax(edge, fabs(way));
        }
        add_place(&box, x, path->points[i].y);
    }
    if (edge >= EDGE_MAX)
        return everywhere();
    if (box.y_max > 0)
        box.y_max = bent(box.y_max, edge);
    if (box.y_min < 0)
        box.y_min = bent(box.y_min, edge);
    if (box.y_max > LATITUDE_MAX || box.y_min < -LATITUDE_MAX)
        widen(&box);
    return box;
}

/* A ring with what it encloses. */
static struct index_box ring_box(const struct geometry_part *polygon, size_t ring)
{
    const struct geometry_path *path = &polygon->paths[ring];
    struct index_box box = path_box(path);

    if (path->turns != 0) {
        widen(&box);
        if (ring == 0 && path->turns > 0)
            box.y_max = 90;
        if (ring == 0 && path->turns < 0)
            box.y_min = -90;
    } else if (ring == 0 && polygon->is_inverse) {
        return everywhere();
    }
    return box;
}

/* Boxes together: with longitudes from -180 on, and from 0 on. */
struct globe {
    struct index_box from_180, from_0;
};

static void globe_add(struct globe *globe, const struct index_box *box)
{
    double shift = -360 * floor((box->x_min - WEST) / 360);
    double x_min = box->x_min + shift, x_max = box->x_max + shift;

    add_place(&globe->from_180, x_min, box->y_min);
    add_place(&globe->from_180, x_max, box->y_max);
    shift = x_min < 0 ? 360 : 0;
    add_place(&globe->from_0, x_min + shift, box->y_min);
    add_place(&globe->from_0, x_max + shift, box->y_max);
}

static struct index_box globe_box(const struct geometry *geometry)
{
    struct globe globe = {nothing(), nothing()};

    for (size_t i = 0; i < geometry->part_count; i++) {
        const struct geometry_part *part = &geometry->parts[i];
        for (size_t j = 0; j < part->path_count; j++) {
            struct index_box box =
                part->kind == GEOMETRY_POLYGON ? ring_box(part, j) : path_box(&part->paths[j]);
            globe_add(&globe, &box);
        }
    }
    return globe.from_0.x_max - globe.from_0.x_min < globe.from_180.x_max - globe.from_180.x_min
               ? globe.from_0
               : globe.from_180;
}

/* All within a distance of a box: no way of that length changes its latitude by more than along a
 * meridian at the equator, nor its longitude by more than where it comes nearest to a pole. */
static void grow(struct index_box *box, double distance)
{
    double north = distance / METRES_NORTH / RADIANS_PER_DEGREE + MARGIN_GLOBE;

    box->y_min -= north;
    box->y_max += north;
    double latitude = fmax(-box->y_min, box->y_max);
    if (latitude > LATITUDE_MAX) {
        widen(box);
        return;
    }
    double east = (distance / METRES_EAST / RADIANS_PER_DEGREE + MARGIN_GLOBE) /
                  cos(latitude * RADIANS_PER_DEGREE);
    box->x_min -= east;
    box->x_max += east;
}

static unsigned globe_boxes(const struct geometry *geometry, double distance,
                            struct index_box *boxes)
{
    struct index_box box = globe_box(geometry);

    grow(&box, fmax(distance, 0) * DISTANCE_SLACK);
    box.y_min = fmax(box.y_min, -90);
    box.y_max = fmin(box.y_max, 90);
    if (box.x_max - box.x_min >= WIDTH_MAX) {
        widen(&box);
        boxes[0] = box;
        return box.y_min > -90 || box.y_max < 90;
    }
    double shift = -360 * floor((box.x_min - WEST) / 360);
    box.x_min += shift;
    box.x_max += shift;
    boxes[0] = boxes[1] = box;
    /* What an item's box calls by the other name. */
    shift = box.x_min + 360 <= EAST ? 360 : box.x_max - 360 >= WEST ? -360 : 0;
    boxes[1].x_min += shift;
    boxes[1].x_max += shift;
    return shift != 0 ? 2 : 1;
}

unsigned geometry_boxes(const struct geometry *geometry, double distance,
                        const struct index_box *bounds, struct index_box *boxes)
{
    return geometry->is_planar ? plane_boxes(geometry, distance, bounds, boxes)
                               : globe_boxes(geometry, distance, boxes);
}
