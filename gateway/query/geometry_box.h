/*
 * Boxes around geometries, as spatial indexes hold them.
 *
 * An index has a box of PostgreSQL's around the geometry of each item, which orrery.globe_box and
 * orrery.plane_box compute (schema/0006_query_functions.sql). Here are the boxes that a query looks
 * for. Two geometries that share a place, or come as near to each other as asked, have boxes that
 * overlap; the evaluator decides about those that have.
 *
 * On the globe a box has longitudes across and latitudes up. One around an item begins between -180
 * and 180 degrees and may go on as far as 210, so that what lies across the antimeridian has a
 * small box; a query therefore may have to look for two. Edges are great ellipses, which bend
 * towards the pole: an edge over w degrees of longitude reaches the latitude whose tangent is 1 /
 * cos (w/2) times that of its ends at most. Where longitudes mean little (beyond 89.5 degrees of
 * latitude, rings around a pole, edges that go half around) a box has all of them. What goes
 * clockwise is everywhere.
 *
 * Coordinates are rounded to 1e-9, because PostgreSQL refuses areas that vanish or overflow.
 */
#ifndef ORRERY_QUERY_GEOMETRY_BOX_H
#define ORRERY_QUERY_GEOMETRY_BOX_H

#include "query/geometry.h"

#include "model/index_policy.h"

#define GEOMETRY_BOXES_MAX 2

/*
 * The boxes for what shares a place with a geometry, or is no farther away than a distance.
 *
 * distance  metres, or the plane's units; not NaN
 * bounds    of an index of a plane: it does not tell apart what is outside
 * returns   how many; 0 when it may be anywhere
 */
unsigned geometry_boxes(const struct geometry *geometry, double distance,
                        const struct index_box *bounds, struct index_box *boxes);

#endif
