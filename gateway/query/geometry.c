#include "query/geometry.h"

#include "query/policies.h"
#include "query/value.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "base/banned.h"

/* How far from an edge a place may be and still lie on it: micrometres on the globe. */
#define TOLERANCE 1e-12

/* ---- Vectors ---- */

static struct direction cross(const struct direction *a, const struct direction *b)
{
    return (struct direction){a->y * b->z - a->z * b->y, a->z * b->x - a->x * b->z,
                              a->x * b->y - a->y * b->x};
}

static double dot(const struct direction *a, const struct direction *b)
{
    return a->x * b->x + a->y * b->y + a->z * b->z;
}

static struct direction minus(const struct direction *a, const struct direction *b)
{
    return (struct direction){a->x - b->x, a->y - b->y, a->z - b->z};
}

/* Positive when c lies left of the way from a to b. The determinant of a, b and c, of which the
 * differences keep the digits where the three are close to each other and far from zero. */
static double side(const struct direction *a, const struct direction *b, const struct direction *c)
{
    struct direction to_a = minus(a, c), to_b = minus(b, c), normal = cross(&to_a, &to_b);

    return dot(&normal, c);
}

static bool is_same(const struct geometry_point *a, const struct geometry_point *b)
{
    struct direction d = minus(&a->v, &b->v);
    double scale = fmax(dot(&a->v, &a->v), dot(&b->v, &b->v));

    return dot(&d, &d) <= TOLERANCE * TOLERANCE * scale;
}

static bool is_on_edge(const struct geometry_point *p, const struct geometry_point *a,
                       const struct geometry_point *b)
{
    struct direction along = minus(&b->v, &a->v), from_a = minus(&p->v, &a->v),
                     from_b = minus(&p->v, &b->v);
    double size = sqrt(dot(&along, &along) * fmax(1, dot(&p->v, &p->v)));

    if (is_same(p, a) || is_same(p, b))
        return true;
    /* From between its ends an edge is seen under more than a right angle; from the other side of
     * the globe, where its great ellipse goes on, under less. */
    return fabs(side(&a->v, &b->v, &p->v)) <= TOLERANCE * size && dot(&from_a, &from_b) < 0;
}

/* Inner points of both edges meet. */
static bool edges_cross(const struct geometry_point *a, const struct geometry_point *b,
                        const struct geometry_point *c, const struct geometry_point *d)
{
    double acb = -side(&a->v, &b->v, &c->v), bda = side(&a->v, &b->v, &d->v),
           dac = side(&c->v, &d->v, &a->v), cbd = -side(&c->v, &d->v, &b->v);

    return (acb > 0 && bda > 0 && dac > 0 && cbd > 0) || (acb < 0 && bda < 0 && dac < 0 && cbd < 0);
}

static bool edges_meet(const struct geometry_point *a, const struct geometry_point *b,
                       const struct geometry_point *c, const struct geometry_point *d)
{
    return edges_cross(a, b, c, d) || is_on_edge(a, c, d) || is_on_edge(b, c, d) ||
           is_on_edge(c, a, b) || is_on_edge(d, a, b);
}

/* ---- Rings ---- */

static bool is_on_path(const struct geometry_point *p, const struct geometry_path *path)
{
    if (path->count == 1)
        return is_same(p, &path->points[0]);
    for (size_t i = 0; i + 1 < path->count; i++)
        if (is_on_edge(p, &path->points[i], &path->points[i + 1]))
            return true;
    return false;
}

/* From one longitude to another the short way round, or along the x axis. */
static double eastward(double from, double to, bool is_planar)
{
    return is_planar ? to - from : geodesy_longitude_difference(from, to);
}

/* Latitudes beyond are those of a pole. */
#define LATITUDE_POLE (90 - 1e-9)

/* An edge crosses the meridian of a place: north of it? Where edges end at a pole, or at the same
 * place twice, the determinant says nothing, but the latitudes do: an edge does not come nearer to
 * the equator than its ends are. */
static bool crosses_north(const struct geometry_point *a, const struct geometry_point *b,
                          const struct geometry_point *p, bool goes_east, bool is_planar)
{
    double low = fmin(a->y, b->y), high = fmax(a->y, b->y);

    if (p->y < low && (is_planar || low >= 0))
        return true;
    if (p->y > high && (is_planar || high <= 0))
        return false;
    if (!is_planar && fabs(p->y) > LATITUDE_POLE)
        return p->y < 0;
    double left = side(&a->v, &b->v, &p->v);
    return goes_east ? left < 0 : left > 0;
}

/*
 * Does the ring enclose the place? Not asked for places on it.
 *
 * How often it goes around the place is counted along the meridian, from the north on: a ring that
 * is crossed on its way east has one more turn on its left, which is the north, than on its right.
 * It goes around the north pole itself as often as it says; when it encloses what is south of it,
 * that is counted from the other side.
 */
static bool is_around(const struct geometry_path *ring, const struct geometry_point *p,
                      bool is_planar)
{
    bool is_counted_from_south = ring->is_clockwise == (ring->turns > 0);
    int turns = is_counted_from_south ? 0 : ring->turns;

    for (size_t i = 0; i + 1 < ring->count; i++) {
        const struct geometry_point *a = &ring->points[i], *b = &ring->points[i + 1];
        double from = eastward(p->x, a->x, is_planar), to = eastward(p->x, b->x, is_planar);

        /* An edge of more than half the way round is on the other side; one of exactly half goes
         * over a pole, to the east, as `turns` has it. */
        if (from <= 0 && to > 0 && (is_planar || to - from <= 180))
            turns -= crosses_north(a, b, p, true, is_planar);
        else if (from > 0 && to <= 0 && (is_planar || from - to < 180))
            turns += crosses_north(a, b, p, false, is_planar);
    }
    return ring->is_clockwise ? turns < 0 : turns > 0;
}

static bool is_in_polygon(const struct geometry_part *polygon, const struct geometry_point *p,
                          bool is_planar)
{
    for (size_t i = 0; i < polygon->path_count; i++)
        if (is_on_path(p, &polygon->paths[i]))
            return true;
    if (is_around(&polygon->paths[0], p, is_planar) == polygon->is_inverse)
        return false;
    for (size_t i = 1; i < polygon->path_count; i++)
        if (is_around(&polygon->paths[i], p, is_planar))
            return false;
    return true;
}

/* Area that a ring of the plane encloses; negative when it goes clockwise. */
static double planar_area(const struct geometry_path *ring)
{
    double sum = 0;

    for (size_t i = 0; i + 1 < ring->count; i++) {
        const struct geometry_point *o = ring->points, *a = o + i, *b = a + 1;
        sum += (a->x - o->x) * (b->y - o->y) - (b->x - o->x) * (a->y - o->y);
    }
    return sum / 2;
}

/* What is left of a ring around a pole, given the area below its way to the east: the north of it,
 * and the other way round. More than half of the globe is meant as the rest of it, clockwise. */
static double polar_area(double below, double half)
{
    double left = half - below;

    return left > half ? left - 2 * half : left;
}

/* Area that a ring of the globe encloses; negative when it goes clockwise. */
static double global_area(const struct geometry_path *ring)
{
    double below = 0;

    for (size_t i = 0; i + 1 < ring->count; i++) {
        const struct geometry_point *a = &ring->points[i], *b = &ring->points[i + 1];
        below += geodesy_area_below(a->x, a->y, b->x, b->y);
    }
    return ring->turns == 0 ? -below : polar_area(below, 2 * M_PI * geodesy_area_per_radian());
}

/* Below an edge on the sphere of directions, as geodesy_area_below. */
static double sphere_area_below(const struct geometry_point *a, const struct geometry_point *b)
{
    double way = geodesy_longitude_difference(a->x, b->x) * (M_PI / 180);
    /* tangents of half the latitudes */
    double ta = a->v.z / (1 + hypot(a->v.x, a->v.y)), tb = b->v.z / (1 + hypot(b->v.x, b->v.y));

    return 2 * atan2(tan(way / 2) * (ta + tb), 1 + ta * tb);
}

/* Areas of that size, compared with what they were added up from, are none. */
#define AREA_TOLERANCE 1e-14

/*
 * Which way round a ring goes, and how often around the poles. For that the sphere of directions
 * will do. False when it encloses nothing.
 *
 * orrery.globe_path computes the same (schema/0006_query_functions.sql): what is clockwise here
 * must not be the other way there.
 */
static bool ring_orient(struct geometry_path *ring, bool is_planar)
{
    double below = 0, size = 0, turned = 0;

    if (is_planar) {
        double area = planar_area(ring);
        ring->is_clockwise = area < 0;
        return area != 0;
    }
    for (size_t i = 0; i + 1 < ring->count; i++) {
        double part = sphere_area_below(&ring->points[i], &ring->points[i + 1]);
        below += part;
        size += fabs(part);
        turned += geodesy_longitude_difference(ring->points[i].x, ring->points[i + 1].x);
    }
    ring->turns = (int) lround(turned / 360);
    double area = ring->turns == 0 ? -below : polar_area(below, 2 * M_PI);
    ring->is_clockwise = area < 0;
    return fabs(area) > AREA_TOLERANCE * size;
}

static double ring_area(const struct geometry_path *ring, bool is_planar)
{
    return is_planar ? planar_area(ring) : global_area(ring);
}

double geometry_area(const struct geometry *geometry)
{
    double sum = 0, globe = geometry->is_planar ? 0 : 4 * M_PI * geodesy_area_per_radian();

    for (size_t i = 0; i < geometry->part_count; i++) {
        const struct geometry_part *part = &geometry->parts[i];
        if (part->kind != GEOMETRY_POLYGON)
            continue;
        double area = fabs(ring_area(&part->paths[0], geometry->is_planar));
        sum += part->is_inverse ? globe - area : area;
        for (size_t ring = 1; ring < part->path_count; ring++)
            sum -= fabs(ring_area(&part->paths[ring], geometry->is_planar));
    }
    return sum;
}

/* ---- Reading ---- */

struct reader {
    struct eval *eval;
    bool is_planar;
    const char *reason; /* of the refusal */
};

static bool refuse(struct reader *reader, const char *reason)
{
    reader->reason = reason;
    return false;
}

static void *take(struct reader *reader, size_t size)
{
    void *memory = arena_alloc(reader->eval->arena, size);

    if (memory == NULL)
        eval_oom(reader->eval);
    return memory;
}

static size_t elements(const cJSON *array)
{
    size_t count = 0;

    for (const cJSON *element = array->child; element != NULL; element = element->next)
        count++;
    return count;
}

static bool read_point(struct reader *reader, const cJSON *value, struct geometry_point *point)
{
    const cJSON *x = cJSON_IsArray(value) ? value->child : NULL, *y = x != NULL ? x->next : NULL;

    if (!cJSON_IsNumber(x) || !cJSON_IsNumber(y) || !isfinite(x->valuedouble) ||
        !isfinite(y->valuedouble))
        return refuse(reader, "A position must be an array of two numbers.");
    point->x = x->valuedouble;
    point->y = y->valuedouble;
    if (reader->is_planar) {
        point->v = (struct direction){point->x, point->y, 1};
        return true;
    }
    if (fabs(point->y) > 90)
        return refuse(reader, "Latitude values must be between -90 and 90 degrees.");
    if (fabs(point->x) > 180)
        return refuse(reader, "Longitude values must be between -180 and 180 degrees.");
    point->v = geodesy_direction(point->x, point->y);
    return true;
}

static bool read_path(struct reader *reader, const cJSON *value, struct geometry_path *path)
{
    if (!cJSON_IsArray(value))
        return refuse(reader, "Coordinates must be an array of positions.");
    size_t count = elements(value);
    if (count > GEOMETRY_POINTS_MAX)
        return refuse(reader, "A line or ring must not have more than 4096 positions.");
    if (!eval_spend(reader->eval, count))
        return false;
    path->points = take(reader, (count > 0 ? count : 1) * sizeof(*path->points));
    if (path->points == NULL)
        return false;
    for (const cJSON *element = value->child; element != NULL; element = element->next)
        if (!read_point(reader, element, &path->points[path->count++]))
            return false;
    return true;
}

static bool read_ring(struct reader *reader, const cJSON *value, struct geometry_path *ring)
{
    if (!read_path(reader, value, ring))
        return false;
    if (ring->count < 4)
        return refuse(reader, "A ring must have at least four positions.");
    if (ring->points[0].x != ring->points[ring->count - 1].x ||
        ring->points[0].y != ring->points[ring->count - 1].y)
        return refuse(reader, "The first and the last position of a ring must be the same.");
    return ring_orient(ring, reader->is_planar) || refuse(reader, "A ring must enclose an area.");
}

static bool read_polygon(struct reader *reader, const cJSON *value, struct geometry_part *part)
{
    if (!cJSON_IsArray(value) || value->child == NULL)
        return refuse(reader, "The coordinates of a polygon must be an array of rings.");
    part->kind = GEOMETRY_POLYGON;
    part->paths = take(reader, elements(value) * sizeof(*part->paths));
    if (part->paths == NULL)
        return false;
    for (const cJSON *element = value->child; element != NULL; element = element->next) {
        struct geometry_path *ring = &part->paths[part->path_count++];
        *ring = (struct geometry_path){0};
        if (!read_ring(reader, element, ring))
            return false;
    }
    part->is_inverse = !reader->is_planar && part->paths[0].is_clockwise;
    return true;
}

static bool read_simple(struct reader *reader, const cJSON *value, enum geometry_kind kind,
                        struct geometry_part *part)
{
    part->kind = kind;
    part->path_count = 1;
    part->paths = take(reader, sizeof(*part->paths));
    if (part->paths == NULL)
        return false;
    part->paths[0] = (struct geometry_path){0};
    if (kind == GEOMETRY_LINE)
        return read_path(reader, value, part->paths) &&
               (part->paths[0].count >= 2 ||
                refuse(reader, "A line must have at least two positions."));
    part->paths[0].count = 1;
    part->paths[0].points = take(reader, sizeof(struct geometry_point));
    return part->paths[0].points != NULL && read_point(reader, value, part->paths[0].points);
}

static bool read_parts(struct reader *reader, const cJSON *value, struct geometry *geometry)
{
    const cJSON *type = value_member(reader->eval, value, "type");
    const cJSON *coordinates = value_member(reader->eval, value, "coordinates");
    struct slice name = cJSON_IsString(type) ? value_text(type) : (struct slice){NULL, 0};
    bool is_multi = slice_equals_text(name, "MultiPolygon");

    if (!cJSON_IsArray(coordinates))
        return refuse(reader, "A geometry must have an array of coordinates.");
    geometry->part_count = is_multi ? elements(coordinates) : 1;
    geometry->parts = take(reader, (geometry->part_count + 1) * sizeof(*geometry->parts));
    if (geometry->parts == NULL)
        return false;
    memset(geometry->parts, 0, (geometry->part_count + 1) * sizeof(*geometry->parts));
    if (is_multi) {
        struct geometry_part *part = geometry->parts;
        for (const cJSON *element = coordinates->child; element != NULL; element = element->next)
            if (!read_polygon(reader, element, part++))
                return false;
        return geometry->part_count > 0 ||
               refuse(reader, "A MultiPolygon must have at least one polygon.");
    }
    if (slice_equals_text(name, "Point"))
        return read_simple(reader, coordinates, GEOMETRY_POINT, geometry->parts);
    if (slice_equals_text(name, "LineString"))
        return read_simple(reader, coordinates, GEOMETRY_LINE, geometry->parts);
    if (slice_equals_text(name, "Polygon"))
        return read_polygon(reader, coordinates, geometry->parts);
    return refuse(reader, "The type must be Point, LineString, Polygon or MultiPolygon.");
}

bool geometry_read(struct eval *eval, const cJSON *value, struct geometry *geometry,
                   const char **reason)
{
    struct reader reader = {.eval = eval,
                            .is_planar = eval->policies != NULL && eval->policies->is_planar};

    *geometry = (struct geometry){.is_planar = reader.is_planar};
    bool is_read = cJSON_IsObject(value) ? read_parts(&reader, value, geometry)
                                         : refuse(&reader, "A geometry must be an object.");
    *reason = reader.reason;
    return is_read && !eval->has_failed;
}

static bool ring_is_simple(struct eval *eval, const struct geometry_path *ring)
{
    size_t edges = ring->count - 1;

    if (!eval_spend(eval, edges * edges / 2))
        return false;
    for (size_t i = 0; i < edges; i++) {
        if (is_same(&ring->points[i], &ring->points[i + 1]))
            continue;
        for (size_t j = i + 2; j < edges; j++) {
            bool are_neighbours = i == 0 && j == edges - 1;
            if (!are_neighbours && edges_meet(&ring->points[i], &ring->points[i + 1],
                                              &ring->points[j], &ring->points[j + 1]))
                return false;
        }
    }
    return true;
}

bool geometry_is_simple(struct eval *eval, const struct geometry *geometry)
{
    for (size_t i = 0; i < geometry->part_count; i++) {
        const struct geometry_part *part = &geometry->parts[i];
        for (size_t ring = 0; part->kind == GEOMETRY_POLYGON && ring < part->path_count; ring++)
            if (!ring_is_simple(eval, &part->paths[ring]))
                return false;
    }
    return true;
}

/* ---- Relations ---- */

static bool paths_meet(const struct geometry_path *a, const struct geometry_path *b)
{
    if (a->count == 1)
        return is_on_path(&a->points[0], b);
    if (b->count == 1)
        return is_on_path(&b->points[0], a);
    for (size_t i = 0; i + 1 < a->count; i++)
        for (size_t j = 0; j + 1 < b->count; j++)
            if (edges_meet(&a->points[i], &a->points[i + 1], &b->points[j], &b->points[j + 1]))
                return true;
    return false;
}

static size_t part_points(const struct geometry_part *part)
{
    size_t count = 0;

    for (size_t i = 0; i < part->path_count; i++)
        count += part->paths[i].count;
    return count;
}

/* Both walk over all pairs of edges; a step is a pair. */
static bool spend_pairs(struct eval *eval, const struct geometry_part *a,
                        const struct geometry_part *b)
{
    return eval_spend(eval, part_points(a) * part_points(b));
}

static bool parts_intersect(const struct geometry_part *a, const struct geometry_part *b,
                            bool is_planar)
{
    for (size_t i = 0; i < a->path_count; i++)
        for (size_t j = 0; j < b->path_count; j++)
            if (paths_meet(&a->paths[i], &b->paths[j]))
                return true;
    /* No borders meet: one holds the other, or they are apart. */
    return (b->kind == GEOMETRY_POLYGON && is_in_polygon(b, &a->paths[0].points[0], is_planar)) ||
           (a->kind == GEOMETRY_POLYGON && is_in_polygon(a, &b->paths[0].points[0], is_planar));
}

bool geometry_intersects(struct eval *eval, const struct geometry *a, const struct geometry *b)
{
    for (size_t i = 0; i < a->part_count; i++) {
        for (size_t j = 0; j < b->part_count; j++) {
            if (!spend_pairs(eval, &a->parts[i], &b->parts[j]))
                return false;
            if (parts_intersect(&a->parts[i], &b->parts[j], a->is_planar))
                return true;
        }
    }
    return false;
}

static bool holds_point(const struct geometry_part *outer, const struct geometry_point *p,
                        bool is_planar)
{
    return outer->kind == GEOMETRY_POLYGON ? is_in_polygon(outer, p, is_planar)
                                           : is_on_path(p, &outer->paths[0]);
}

static struct geometry_point between(const struct geometry_point *a, const struct geometry_point *b,
                                     double part, bool is_planar)
{
    struct geometry_point p;

    p.v = (struct direction){a->v.x + (b->v.x - a->v.x) * part, a->v.y + (b->v.y - a->v.y) * part,
                             a->v.z + (b->v.z - a->v.z) * part};
    if (is_planar) {
        p.x = p.v.x;
        p.y = p.v.y;
        return p;
    }
    double length = sqrt(dot(&p.v, &p.v));
    if (length > 0)
        p.v = (struct direction){p.v.x / length, p.v.y / length, p.v.z / length};
    geodesy_place(&p.v, &p.x, &p.y);
    return p;
}

static bool path_crosses(const struct geometry_path *a, const struct geometry_path *b)
{
    for (size_t i = 0; i + 1 < a->count; i++)
        for (size_t j = 0; j + 1 < b->count; j++)
            if (edges_cross(&a->points[i], &a->points[i + 1], &b->points[j], &b->points[j + 1]))
                return true;
    return false;
}

/* All corners and the middles of all edges are there, and no edge leaves. */
static bool path_is_within(const struct geometry_path *path, const struct geometry_part *outer,
                           bool is_planar)
{
    for (size_t i = 0; i < path->count; i++) {
        if (!holds_point(outer, &path->points[i], is_planar))
            return false;
        if (i + 1 < path->count) {
            struct geometry_point middle =
                between(&path->points[i], &path->points[i + 1], 0.5, is_planar);
            if (!holds_point(outer, &middle, is_planar))
                return false;
        }
    }
    for (size_t i = 0; outer->kind == GEOMETRY_POLYGON && i < outer->path_count; i++)
        if (path_crosses(path, &outer->paths[i]))
            return false;
    return true;
}

static bool part_is_within(const struct geometry_part *inner, const struct geometry_part *outer,
                           bool is_planar)
{
    if (inner->kind == GEOMETRY_POLYGON && outer->kind != GEOMETRY_POLYGON)
        return false;
    if (!path_is_within(&inner->paths[0], outer, is_planar))
        return false;
    if (inner->kind != GEOMETRY_POLYGON)
        return true;
    /* What is left is a hole of the outer one inside the inner one, unless that has it, too. */
    for (size_t i = 1; i < outer->path_count; i++) {
        const struct geometry_path *hole = &outer->paths[i];
        struct geometry_point middle = between(&hole->points[0], &hole->points[1], 0.5, is_planar);
        bool is_in_hole = false;
        for (size_t j = 1; j < inner->path_count; j++)
            is_in_hole = is_in_hole || is_on_path(&middle, &inner->paths[j]) ||
                         is_around(&inner->paths[j], &middle, is_planar);
        if (!is_in_hole && is_around(&inner->paths[0], &middle, is_planar) != inner->is_inverse)
            return false;
    }
    return !inner->is_inverse || outer->is_inverse;
}

bool geometry_is_within(struct eval *eval, const struct geometry *inner,
                        const struct geometry *outer)
{
    for (size_t i = 0; i < inner->part_count; i++) {
        bool is_held = false;
        for (size_t j = 0; j < outer->part_count && !is_held; j++) {
            if (!spend_pairs(eval, &inner->parts[i], &outer->parts[j]))
                return false;
            is_held = part_is_within(&inner->parts[i], &outer->parts[j], inner->is_planar);
        }
        if (!is_held)
            return false;
    }
    return true;
}

/* ---- Distance ---- */

/* The pair of places that are nearest so far. */
struct nearest {
    bool is_planar;
    double gap; /* straight through the globe, or in the plane */
    struct geometry_point a, b;
};

static double gap_between(const struct geometry_point *a, const struct geometry_point *b,
                          bool is_planar)
{
    return is_planar ? hypot(a->x - b->x, a->y - b->y) : geodesy_chord(&a->v, &b->v);
}

static void consider(struct nearest *nearest, const struct geometry_point *a,
                     const struct geometry_point *b)
{
    double gap = gap_between(a, b, nearest->is_planar);

    if (gap < nearest->gap) {
        nearest->gap = gap;
        nearest->a = *a;
        nearest->b = *b;
    }
}

/* The distance to places of an edge falls and then rises: narrow it down by the golden section. */
static void consider_edge(struct nearest *nearest, const struct geometry_point *p,
                          const struct geometry_point *a, const struct geometry_point *b)
{
    const double golden = (sqrt(5) - 1) / 2;
    double low = 0, high = 1;
    double left = high - golden * (high - low), right = low + golden * (high - low);
    struct geometry_point at_left = between(a, b, left, nearest->is_planar),
                          at_right = between(a, b, right, nearest->is_planar);

    consider(nearest, p, a);
    consider(nearest, p, b);
    while (high - low > 1e-9) {
        if (gap_between(p, &at_left, nearest->is_planar) <
            gap_between(p, &at_right, nearest->is_planar)) {
            high = right;
            right = left;
            at_right = at_left;
            left = high - golden * (high - low);
            at_left = between(a, b, left, nearest->is_planar);
        } else {
            low = left;
            left = right;
            at_left = at_right;
            right = low + golden * (high - low);
            at_right = between(a, b, right, nearest->is_planar);
        }
    }
    consider(nearest, p, &at_left);
}

/* From each point of one path to each edge of the other. */
static void consider_path(struct nearest *nearest, const struct geometry_path *points,
                          const struct geometry_path *edges)
{
    for (size_t i = 0; i < points->count; i++) {
        if (edges->count == 1)
            consider(nearest, &points->points[i], &edges->points[0]);
        for (size_t j = 0; j + 1 < edges->count; j++)
            consider_edge(nearest, &points->points[i], &edges->points[j], &edges->points[j + 1]);
    }
}

/* A search along an edge costs about as much as this many comparisons. */
#define STEPS_PER_EDGE 50

double geometry_distance(struct eval *eval, const struct geometry *a, const struct geometry *b)
{
    struct nearest nearest = {.is_planar = a->is_planar, .gap = DBL_MAX};

    if (geometry_intersects(eval, a, b) || eval->has_failed)
        return 0;
    for (size_t i = 0; i < a->part_count; i++) {
        for (size_t j = 0; j < b->part_count; j++) {
            const struct geometry_part *first = &a->parts[i], *second = &b->parts[j];
            bool are_points = first->kind == GEOMETRY_POINT && second->kind == GEOMETRY_POINT;
            if (!are_points &&
                !eval_spend(eval, part_points(first) * part_points(second) * STEPS_PER_EDGE))
                return 0;
            for (size_t m = 0; m < first->path_count; m++) {
                for (size_t n = 0; n < second->path_count; n++) {
                    consider_path(&nearest, &first->paths[m], &second->paths[n]);
                    consider_path(&nearest, &second->paths[n], &first->paths[m]);
                }
            }
        }
    }
    if (nearest.is_planar)
        return nearest.gap;
    return geodesy_distance(nearest.a.x, nearest.a.y, nearest.b.x, nearest.b.y);
}
