/* The boxes that queries look for around a geometry. */
#include "query/geometry_box.h"
#include "query/policies.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static const struct index_box unbounded = {-INDEX_BOUND_MAX, -INDEX_BOUND_MAX, INDEX_BOUND_MAX,
                                           INDEX_BOUND_MAX};

static unsigned boxes_of(bool is_planar, const char *type, const char *coordinates, double distance,
                         const struct index_box *bounds, struct index_box *boxes)
{
    struct query_policies policies = {.is_planar = is_planar};
    struct fault fault = {0};
    struct geometry geometry;
    struct arena arena;
    struct eval eval;
    const char *reason;
    cJSON *value = cJSON_CreateObject();

    cJSON_AddStringToObject(value, "type", type);
    cJSON_AddItemToObject(value, "coordinates", cJSON_Parse(coordinates));
    arena_init(&arena, 1 << 20);
    eval_init(&eval, &arena, NULL, &fault);
    eval.policies = &policies;
    if (!geometry_read(&eval, value, &geometry, &reason))
        fail_msg("%s %s: %s", type, coordinates, reason);
    unsigned count = geometry_boxes(&geometry, distance, bounds, boxes);
    arena_finish(&arena);
    cJSON_Delete(value);
    return count;
}

static void assert_box(const struct index_box *box, double x_min, double y_min, double x_max,
                       double y_max)
{
    const double found[] = {box->x_min, box->y_min, box->x_max, box->y_max},
                 expected[] = {x_min, y_min, x_max, y_max};

    for (size_t i = 0; i < 4; i++) {
        if (fabs(found[i] - expected[i]) > 0.001)
            fail_msg("%.6f %.6f %.6f %.6f", found[0], found[1], found[2], found[3]);
    }
}

static void places_near_are_in_a_box(void **state)
{
    struct index_box boxes[2];

    (void) state;
    assert_int_equal(boxes_of(false, "Point", "[10,60]", 111000, NULL, boxes), 1);
    assert_box(&boxes[0], 10 - 2.0567, 60 - 1.0039, 10 + 2.0567, 60 + 1.0039);
    assert_int_equal(boxes_of(false, "Point", "[10,60]", -5, NULL, boxes), 1);
    assert_box(&boxes[0], 10, 60, 10, 60);
    assert_true(boxes[0].x_min < 10 && boxes[0].y_max > 60); /* what rounding may do */
    /* near a pole all longitudes; and all the globe */
    assert_int_equal(boxes_of(false, "Point", "[10,89]", 111000, NULL, boxes), 1);
    assert_box(&boxes[0], -180, 89 - 1.0039, 210, 90);
    assert_int_equal(boxes_of(false, "Point", "[10,60]", 2e7, NULL, boxes), 0);
}

static void edges_bend_towards_the_pole(void **state)
{
    struct index_box boxes[2];

    (void) state;
    assert_int_equal(boxes_of(false, "LineString", "[[0,45],[90,45]]", 0, NULL, boxes), 1);
    assert_box(&boxes[0], 0, 45, 90, 54.7356);
    assert_int_equal(boxes_of(false, "LineString", "[[0,-45],[90,-20]]", 0, NULL, boxes), 1);
    assert_box(&boxes[0], 0, -54.7356, 90, -20);
    /* half around: anywhere */
    assert_int_equal(boxes_of(false, "LineString", "[[0,10],[180,10]]", 0, NULL, boxes), 0);
}

static void longitudes_go_on_across_the_antimeridian(void **state)
{
    struct index_box boxes[2];

    (void) state;
    assert_int_equal(boxes_of(false, "LineString", "[[179,1],[-179,2]]", 0, NULL, boxes), 2);
    assert_box(&boxes[0], 179, 1, 181, 2.0003);
    assert_box(&boxes[1], -181, 1, -179, 2.0003);
    assert_int_equal(boxes_of(false, "Point", "[-179,5]", 0, NULL, boxes), 2);
    assert_box(&boxes[1], 181, 5, 181, 5);
    assert_int_equal(boxes_of(false, "Point", "[-149,5]", 0, NULL, boxes), 1);
    /* two parts, one on each side of it */
    assert_int_equal(boxes_of(false, "MultiPolygon",
                              "[[[[170,0],[180,0],[180,9],[170,0]]],[[[-180,0],[-175,0],[-180,8],"
                              "[-180,0]]]]",
                              0, NULL, boxes),
                     2);
    assert_box(&boxes[0], 170, 0, 185, 9.0339);
}

static void rings_around_a_pole_have_it(void **state)
{
    struct index_box boxes[2];

    (void) state;
    assert_int_equal(
        boxes_of(false, "Polygon", "[[[0,70],[120,70],[-120,70],[0,70]]]", 0, NULL, boxes), 1);
    assert_box(&boxes[0], -180, 70, 210, 90);
    /* the other way round: all but that */
    assert_int_equal(
        boxes_of(false, "Polygon", "[[[0,70],[-120,70],[120,70],[0,70]]]", 0, NULL, boxes), 1);
    assert_box(&boxes[0], -180, -90, 210, 79.6859);
    /* clockwise: everything but a small ring */
    assert_int_equal(boxes_of(false, "Polygon", "[[[0,0],[0,1],[1,1],[0,0]]]", 0, NULL, boxes), 0);
}

static void a_plane_ends_at_the_bounds_of_its_index(void **state)
{
    const struct index_box bounds = {0, 0, 100, 50};
    struct index_box boxes[2];

    (void) state;
    assert_int_equal(boxes_of(true, "LineString", "[[5,1000],[-5,2000]]", 10, &unbounded, boxes),
                     1);
    assert_box(&boxes[0], -15, 990, 15, 2010);
    assert_int_equal(boxes_of(true, "LineString", "[[5,1000],[-5,2000]]", 10, &bounds, boxes), 1);
    assert_box(&boxes[0], 0, 50, 15, 50);
    assert_int_equal(boxes_of(true, "Point", "[1e300,-1e300]", 1e308, &unbounded, boxes), 1);
    assert_true(boxes[0].x_min == -INDEX_BOUND_MAX && boxes[0].y_max == INDEX_BOUND_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(places_near_are_in_a_box),
        cmocka_unit_test(edges_bend_towards_the_pole),
        cmocka_unit_test(longitudes_go_on_across_the_antimeridian),
        cmocka_unit_test(rings_around_a_pole_have_it),
        cmocka_unit_test(a_plane_ends_at_the_bounds_of_its_index),
    };

    return cmocka_run_group_tests_name("query_geometry_box", tests, NULL, NULL);
}
