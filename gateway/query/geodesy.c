#include "query/geodesy.h"

#include "base/compiler.h"

#include <math.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/banned.h"

/* WGS-84: equatorial radius and flattening; the others follow. */
#define A 6378137.0
#define F (1 / 298.257223563)
#define B (A * (1 - F))
#define E2 (F * (2 - F))    /* eccentricity, squared */
#define EP2 (E2 / (1 - E2)) /* second eccentricity, squared */

#define RADIANS_PER_DEGREE (M_PI / 180)

/* ---- Integrals ---- */

/* Nodes and weights of Gauss and Legendre, the positive half. */
struct node {
    double at, weight;
};

static const struct node nodes_few[] = {
    {0.960289856497536232, 0.101228536290376259},
    {0.796666477413626740, 0.222381034453374471},
    {0.525532409916328986, 0.313706645877887287},
    {0.183434642495649805, 0.362683783378361983},
};

static const struct node nodes_many[] = {
    {0.989400934991649933, 0.0271524594117540949}, {0.944575023073232576, 0.0622535239386478929},
    {0.865631202387831744, 0.0951585116824927848}, {0.755404408355003034, 0.124628971255533872},
    {0.617876244402643748, 0.149595988816576732},  {0.458016777657227386, 0.169156519395002538},
    {0.281603550779258913, 0.182603415044923589},  {0.0950125098376374402, 0.189450610455068496},
};

typedef double integrand(double x, const void *context);

static double integral(integrand *f, const void *context, double from, double to)
{
    double middle = (from + to) / 2, half = (to - from) / 2, sum = 0;
    bool is_short = fabs(half) < 0.25;
    const struct node *nodes = is_short ? nodes_few : nodes_many;
    size_t count = is_short ? ARRAY_LEN(nodes_few) : ARRAY_LEN(nodes_many);

    for (size_t i = 0; i < count; i++)
        sum += nodes[i].weight *
               (f(middle - half * nodes[i].at, context) + f(middle + half * nodes[i].at, context));
    return half * sum;
}

/* ---- Directions ---- */

struct direction geodesy_direction(double longitude, double latitude)
{
    double geocentric = atan((1 - E2) * tan(latitude * RADIANS_PER_DEGREE));
    double lambda = longitude * RADIANS_PER_DEGREE;

    /* One direction, whatever the longitude: not nearly one, of which determinants are chance. */
    if (fabs(latitude) >= 90)
        return (struct direction){0, 0, latitude < 0 ? -1 : 1};
    return (struct direction){cos(geocentric) * cos(lambda), cos(geocentric) * sin(lambda),
                              sin(geocentric)};
}

void geodesy_place(const struct direction *d, double *longitude, double *latitude)
{
    *longitude = atan2(d->y, d->x) / RADIANS_PER_DEGREE;
    *latitude = atan2(d->z, (1 - E2) * hypot(d->x, d->y)) / RADIANS_PER_DEGREE;
}

/* Distance of the surface from the centre, in a direction. */
static double radius(const struct direction *d)
{
    return A / sqrt(1 + EP2 * d->z * d->z);
}

double geodesy_chord(const struct direction *a, const struct direction *b)
{
    double ra = radius(a), rb = radius(b);
    double x = ra * a->x - rb * b->x, y = ra * a->y - rb * b->y, z = ra * a->z - rb * b->z;

    return sqrt(x * x + y * y + z * z);
}

double geodesy_longitude_difference(double from, double to)
{
    double difference = remainder(to - from, 360);

    return difference <= -180 ? difference + 360 : difference;
}

/* ---- Geodesics ---- */

/* On the auxiliary sphere of reduced latitudes, a geodesic is a great circle. */
struct geodesic {
    double sin_beta1, cos_beta1, sin_beta2, cos_beta2; /* beta1 is south, and the farther one */
    double sin_alpha0;
    double k2;             /* of the ellipse that the integrals are about */
    double sigma1, sigma2; /* arcs from the equator */
    double slope;          /* of the longitude by the azimuth, roughly */
};

static double length_integrand(double sigma, const void *k2)
{
    double s = sin(sigma);

    return sqrt(1 + *(const double *) k2 * s * s);
}

static double longitude_integrand(double sigma, const void *k2)
{
    double s = sin(sigma);

    return (2 - F) / (1 + (1 - F) * sqrt(1 + *(const double *) k2 * s * s));
}

/* Where the geodesic that leaves with this azimuth reaches the second latitude: how far east. */
static double longitude_reached(struct geodesic *g, double alpha1)
{
    double sin_alpha1 = sin(alpha1), cos_alpha1 = cos(alpha1);
    double cos_alpha0, along1, along2, squares;

    g->sin_alpha0 = sin_alpha1 * g->cos_beta1;
    cos_alpha0 = hypot(cos_alpha1, sin_alpha1 * g->sin_beta1);
    g->k2 = EP2 * cos_alpha0 * cos_alpha0;
    /* cos² beta2 - cos² beta1 without the loss of digits */
    squares = fabs(g->sin_beta1) > M_SQRT1_2
                  ? (g->sin_beta1 - g->sin_beta2) * (g->sin_beta1 + g->sin_beta2)
                  : (g->cos_beta2 - g->cos_beta1) * (g->cos_beta2 + g->cos_beta1);
    along1 = cos_alpha1 * g->cos_beta1;
    along2 = sqrt(fmax(0, along1 * along1 + squares)); /* cos alpha2 · cos beta2 */
    g->sigma1 = atan2(g->sin_beta1, along1);
    g->sigma2 = atan2(g->sin_beta2, along2);
    if (g->sigma2 < g->sigma1)
        g->sigma2 += 2 * M_PI;
    double omega1 = atan2(g->sin_alpha0 * g->sin_beta1, along1);
    double omega2 = atan2(g->sin_alpha0 * g->sin_beta2, along2);
    if (omega2 < omega1)
        omega2 += 2 * M_PI;
    g->slope = along2 > 0 ? sin(g->sigma2 - g->sigma1) / along2 : 0;
    return omega2 - omega1 -
           F * g->sin_alpha0 * integral(longitude_integrand, &g->k2, g->sigma1, g->sigma2);
}

static double geodesic_length(const struct geodesic *g)
{
    return B * integral(length_integrand, &g->k2, g->sigma1, g->sigma2);
}

/*
 * Find the azimuth that reaches a longitude. It grows with the azimuth, from 0 to pi, so there is
 * always an interval that holds the answer; Newton's step is taken when it stays inside.
 */
static double azimuth_solve(struct geodesic *g, double lambda)
{
    double low = 0, high = M_PI;
    double alpha = atan2(g->cos_beta2 * sin(lambda),
                         g->cos_beta1 * g->sin_beta2 - g->sin_beta1 * g->cos_beta2 * cos(lambda));

    for (int i = 0; i < 200; i++) {
        double excess = longitude_reached(g, alpha) - lambda;

        if (excess == 0)
            break;
        if (excess > 0)
            high = alpha;
        else
            low = alpha;
        double next = g->slope > 0 ? alpha - excess / g->slope : -1;
        bool is_near = fabs(next - alpha) < 1e-15;
        if (!(next > low && next < high) || i > 20)
            next = low + (high - low) / 2;
        if (is_near || next == low || next == high || next == alpha)
            break;
        alpha = next;
    }
    return alpha;
}

static double meridian_distance(struct geodesic *g, bool is_over_pole)
{
    g->k2 = EP2;
    g->sigma1 = atan2(g->sin_beta1, g->cos_beta1);
    g->sigma2 = atan2(g->sin_beta2, is_over_pole ? -g->cos_beta2 : g->cos_beta2);
    /* beta1 is the southern and farther one, so the way over the south pole is the shorter. */
    if (is_over_pole)
        g->sigma2 = g->sigma2 > 0 ? g->sigma2 - 2 * M_PI : g->sigma2;
    return fabs(geodesic_length(g));
}

double geodesy_distance(double longitude1, double latitude1, double longitude2, double latitude2)
{
    struct geodesic g;
    double lambda = fabs(geodesy_longitude_difference(longitude1, longitude2)) * RADIANS_PER_DEGREE;
    bool is_swapped = fabs(latitude1) < fabs(latitude2);
    double south = is_swapped ? latitude2 : latitude1, other = is_swapped ? latitude1 : latitude2;

    if (south > 0) {
        south = -south;
        other = -other;
    }
    double beta1 = atan((1 - F) * tan(south * RADIANS_PER_DEGREE));
    double beta2 = atan((1 - F) * tan(other * RADIANS_PER_DEGREE));
    g.sin_beta1 = sin(beta1);
    g.cos_beta1 = cos(beta1);
    g.sin_beta2 = sin(beta2);
    g.cos_beta2 = cos(beta2);
    if (lambda == 0 || south == -90)
        return meridian_distance(&g, false);
    if (lambda >= M_PI)
        return meridian_distance(&g, true);
    if (south == 0 && lambda <= (1 - F) * M_PI)
        return A * lambda;
    (void) longitude_reached(&g, azimuth_solve(&g, lambda));
    return geodesic_length(&g);
}

/* ---- Areas ---- */

/* Between the equator and a latitude, over one radian; by the sine of the latitude. */
static double zone(double sine)
{
    const double e = sqrt(E2);

    return B * B / 2 * (sine / (1 - E2 * sine * sine) + atanh(e * sine) / e);
}

double geodesy_area_per_radian(void)
{
    return zone(1);
}

/* An edge between two latitudes, given by the tangents of their geocentric ones. */
struct edge {
    double tangent1, tangent2;
    double length; /* longitudes, in radians */
};

/* A great ellipse is as far north as this, at a longitude from its beginning. */
static double edge_zone(double lambda, const void *context)
{
    const struct edge *edge = context;
    double tangent = (edge->tangent1 * sin(edge->length - lambda) + edge->tangent2 * sin(lambda)) /
                     sin(edge->length) / (1 - E2);

    return zone(tangent / sqrt(1 + tangent * tangent));
}

double geodesy_area_below(double longitude1, double latitude1, double longitude2, double latitude2)
{
    struct edge edge = {
        (1 - E2) * tan(latitude1 * RADIANS_PER_DEGREE),
        (1 - E2) * tan(latitude2 * RADIANS_PER_DEGREE),
        geodesy_longitude_difference(longitude1, longitude2) * RADIANS_PER_DEGREE,
    };
    double area = 0;

    if (edge.length == 0)
        return 0;
    /* Near the poles an edge bends sharply: pieces of some degrees. */
    int pieces = 1 + (int) (fabs(edge.length) / 0.1);
    for (int i = 0; i < pieces; i++)
        area +=
            integral(edge_zone, &edge, edge.length * i / pieces, edge.length * (i + 1) / pieces);
    return area;
}
