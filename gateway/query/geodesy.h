/*
 * The WGS-84 ellipsoid: distances along it, areas on it, and lines between places.
 *
 * Distances are those of geodesics, exact to some nanometres. The edges of lines and polygons are
 * great ellipses, the plane cuts through the centre, as in the service: seen from there they are
 * great circles of directions, so that one place lies left of an edge or right of it by the sign of
 * a determinant.
 *
 * Angles are degrees, lengths metres. Everything here is arithmetic on its arguments.
 */
#ifndef ORRERY_QUERY_GEODESY_H
#define ORRERY_QUERY_GEODESY_H

/* Direction from the centre, of length 1. */
struct direction {
    double x, y, z;
};

struct direction geodesy_direction(double longitude, double latitude);
void geodesy_place(const struct direction *direction, double *longitude, double *latitude);

/*
 * Length of the shortest line on the ellipsoid.
 *
 * source  C. F. F. Karney, "Algorithms for geodesics" (2013): the equations; the integrals are
 *         computed as such
 */
double geodesy_distance(double longitude1, double latitude1, double longitude2, double latitude2);

/* Straight through the ellipsoid: never longer, and cheap. */
double geodesy_chord(const struct direction *a, const struct direction *b);

/* Signed area between an edge and the equator, positive for one that goes east in the north. */
double geodesy_area_below(double longitude1, double latitude1, double longitude2, double latitude2);

/* Area of the ellipsoid's northern half over one radian of longitude. */
double geodesy_area_per_radian(void);

/* Difference of longitudes the short way round, in (-180, 180]. */
double geodesy_longitude_difference(double from, double to);

#endif
