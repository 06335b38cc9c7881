#include "differential/generate.h"

#include <assert.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

uint64_t random_state = 1;

uint64_t random_below(uint64_t limit)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (random_state >> 11) % limit;
}

#define PICK(list) ((list)[random_below(sizeof(list) / sizeof(*(list)))])

/* ---- pieces ---- */

/* All that were made since generate_end. */
static struct piece *pieces;

static struct piece *leaf(enum piece_kind kind, const char *text)
{
    struct piece *piece = calloc(1, sizeof(*piece));

    assert(piece != NULL);
    piece->next_made = pieces;
    pieces = piece;
    piece->kind = kind;
    piece->format = text;
    return piece;
}

static struct piece *leaf_copy(enum piece_kind kind, const char *text)
{
    struct piece *piece = leaf(kind, NULL);

    assert(strlen(text) < sizeof(piece->text));
    strncpy(piece->text, text, sizeof(piece->text) - 1);
    piece->format = piece->text;
    return piece;
}

static struct piece *piece(enum piece_kind kind, const char *format, unsigned count, ...)
{
    struct piece *made = leaf(kind, format);
    va_list list;

    va_start(list, count);
    while (made->count < count)
        made->children[made->count++] = va_arg(list, struct piece *);
    va_end(list);
    return made;
}

void generate_end(void)
{
    while (pieces != NULL) {
        struct piece *next = pieces->next_made;

        free(pieces);
        pieces = next;
    }
}

void piece_print(const struct piece *piece, struct buf *out)
{
    unsigned next = 0;

    for (const char *at = piece->format; *at != '\0'; at++) {
        if (*at == '\1')
            piece_print(piece->children[next++], out);
        else
            buf_append_char(out, *at);
    }
}

/* ---- expressions ---- */

/* What is in scope besides the item: elements of arrays. */
static char scope[8][4];
static unsigned scope_count;

#define LONG_A                                                                                     \
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" \
    "aaaaaaaa"
#define LONG_TEXT LONG_A LONG_A

static const char *const numbers[] = {"0",
                                      "1",
                                      "2",
                                      "3",
                                      "-1",
                                      "1.5",
                                      "-2.5",
                                      "10",
                                      "1e308",
                                      "-1e308",
                                      "1e-200",
                                      "5e-324",
                                      "GetCurrentTimestamp()",
                                      "0.1",
                                      "1e16",
                                      "@n"};
static const char *const strings[] = {
    "'a'",   "'ab'",  "'abc'", "'b'",        "''",        "\"it's\"",        "'a\\\\b'",
    "'a%b'", "'a_b'", "'é'",   "'😀'",        "'\\uFFFD'", "'" LONG_TEXT "'", "'" LONG_TEXT "x'",
    "'[x]'", "@s",    "'1'",   "'\\\"q\\\"'"};
static const char *const others[] = {
    "null",   "true",  "false",    "undefined",          "@o",   "@list", "@nothing", "[]", "{}",
    "[1, 2]", "['a']", "{'x': 1}", "{'k': 'a', 'v': 1}", "[[1]]"};
static const char *const paths[] = {"c.a",      "c.b",         "c.n",        "c.s",      "c.o",
                                    "c.o.x",    "c.o.y",       "c.arr",      "c.arr[0]", "c.arr[1]",
                                    "c.list",   "c.list[0].k", "c.missing",  "c['a b']", "c._ts",
                                    "c.o['x']", "c.flag",      "c.id",       "c.s",      "c.a",
                                    "c.b",      "c.n",         "c['it''s']", "c[@name]", "c._etag",
                                    "c._rid",   "c._self",     "c['o'].x.z", "c.a.b"};

static struct piece *value(unsigned depth);
static struct piece *boolean(unsigned depth);

static struct piece *path(void)
{
    char text[64];

    if (scope_count == 0 || random_below(3) == 0) {
        const char *chosen = PICK(paths);
        return leaf(PIECE_VALUE, strstr(chosen, "it''s") != NULL ? "c[\"it's\"]" : chosen);
    }
    static const char *const steps[] = {"", "", ".k", ".v", ".k", "[0]"};
    snprintf(text, sizeof(text), "%s%s", scope[random_below(scope_count)], PICK(steps));
    return leaf_copy(PIECE_VALUE, text);
}

static struct piece *constant(void)
{
    switch (random_below(3)) {
    case 0:
        return leaf(PIECE_VALUE, PICK(numbers));
    case 1:
        return leaf(PIECE_VALUE, PICK(strings));
    default:
        return leaf(PIECE_VALUE, PICK(others));
    }
}

/* " FROM t IN c.arr [WHERE …]" with the new alias in scope for what the caller makes next. */
static struct piece *inner_from(unsigned depth)
{
    static const char *const arrays[] = {"c.arr", "c.list", "c.arr", "c.list", "c.o.y", "@list"};
    char text[64];
    unsigned number = scope_count;

    snprintf(scope[number], sizeof(scope[number]), "t%u", number);
    if (number > 0 && random_below(3) == 0)
        snprintf(text, sizeof(text), " FROM t%u IN %s.k", number, scope[random_below(number)]);
    else
        snprintf(text, sizeof(text), " FROM t%u IN %s", number, arrays[random_below(5)]);
    scope_count++;
    struct piece *from = leaf_copy(PIECE_FIXED, text);
    if (random_below(4) == 0)
        return from;
    return piece(PIECE_FIXED, "\1 WHERE \1", 2, from, boolean(depth));
}

static struct piece *subquery(unsigned depth, enum piece_kind kind)
{
    static const char *const whole[] = {
        "EXISTS(SELECT VALUE \1\1)",  "EXISTS(SELECT \1 AS x\1)", "ARRAY(SELECT VALUE \1\1)",
        "(SELECT VALUE COUNT(\1)\1)", "(SELECT VALUE MIN(\1)\1)", "(SELECT VALUE MAX(\1)\1)",
        "(SELECT VALUE SUM(\1)\1)",   "ALL(SELECT VALUE \1\1)",   "(SELECT VALUE COUNTIF(\1)\1)"};

    if (scope_count >= 3 || depth == 0)
        return path();
    struct piece *from = inner_from(depth - 1);
    const char *format = kind == PIECE_BOOLEAN ? whole[random_below(2)] : PICK(whole);
    struct piece *projection = random_below(2) == 0 ? path() : value(depth - 1);
    scope_count--;
    return piece(kind, format, 2, projection, from);
}

static struct piece *call(unsigned depth)
{
    static const char *const one[] = {
        "ABS(\1)",      "CEILING(\1)", "FLOOR(\1)",   "ROUND(\1)", "SIGN(\1)",
        "TRUNC(\1)",    "LENGTH(\1)",  "REVERSE(\1)", "UPPER(\1)", "ARRAY_LENGTH(\1)",
        "ToString(\1)", "(-\1)",       "(+\1)",       "(~\1)",     "SQRT(\1)"};
    static const char *const two[] = {
        "CONCAT(\1, \1)", "LEFT(\1, \1)",       "(\1 + \1)", "(\1 - \1)",
        "(\1 * \1)",      "(\1 / \1)",          "(\1 % \1)", "(\1 || \1)",
        "(\1 ?? \1)",     "(\1 ?? \1)",         "(\1 + \1)", "(\1 * \1)",
        "[\1, \1]",       "{'x': \1, 'y': \1}", "(\1 & \1)", "REPLACE(\1, \1, 'z')"};
    static const char *const three[] = {"(\1 ? \1 : \1)", "IIF(\1, \1, \1)"};

    switch (random_below(5)) {
    case 0:
    case 1:
        return piece(PIECE_VALUE, PICK(one), 1, value(depth - 1));
    case 2:
    case 3:
        return piece(PIECE_VALUE, PICK(two), 2, value(depth - 1), value(depth - 1));
    default:
        return piece(PIECE_VALUE, PICK(three), 3, boolean(depth - 1), value(depth - 1),
                     value(depth - 1));
    }
}

static struct piece *value(unsigned depth)
{
    uint64_t roll = random_below(10);

    if (depth == 0 || roll < 4)
        return random_below(3) != 0 ? path() : constant();
    if (roll < 8)
        return call(depth);
    return roll == 8 ? subquery(depth, PIECE_VALUE) : boolean(depth - 1);
}

static struct piece *checked(unsigned depth)
{
    static const char *const checks[] = {
        "IS_DEFINED(\1)", "IS_NULL(\1)",          "IS_BOOL(\1)",         "IS_NUMBER(\1)",
        "IS_STRING(\1)",  "IS_ARRAY(\1)",         "IS_OBJECT(\1)",       "IS_PRIMITIVE(\1)",
        "IS_INTEGER(\1)", "IS_FINITE_NUMBER(\1)", "(NOT IS_DEFINED(\1))"};

    return piece(PIECE_BOOLEAN, PICK(checks), 1, value(depth));
}

static struct piece *compared(unsigned depth)
{
    static const char *const operators[] = {"(\1 = \1)",  "(\1 = \1)", "(\1 != \1)", "(\1 < \1)",
                                            "(\1 <= \1)", "(\1 > \1)", "(\1 >= \1)"};

    switch (random_below(3)) {
    case 0:
        return piece(PIECE_BOOLEAN, PICK(operators), 2, path(), constant());
    case 1:
        return piece(PIECE_BOOLEAN, PICK(operators), 2, constant(), path());
    default:
        return piece(PIECE_BOOLEAN, PICK(operators), 2, value(depth), value(depth));
    }
}

static struct piece *text_test(unsigned depth)
{
    static const char *const tests[] = {"STARTSWITH(\1, \1)",
                                        "CONTAINS(\1, \1)",
                                        "ENDSWITH(\1, \1)",
                                        "STARTSWITH(\1, \1, false)",
                                        "CONTAINS(\1, \1, true)",
                                        "StringEquals(\1, \1)",
                                        "(\1 LIKE \1)",
                                        "ARRAY_CONTAINS(\1, \1)",
                                        "ARRAY_CONTAINS(\1, \1, true)",
                                        "ARRAY_CONTAINS(\1, \1)"};
    static const char *const likes[] = {"(\1 LIKE 'a%')",
                                        "(\1 LIKE '%b')",
                                        "(\1 LIKE '%b%')",
                                        "(\1 NOT LIKE 'a_%')",
                                        "(\1 LIKE 'a!%%' ESCAPE '!')",
                                        "(\1 LIKE '[ab]%')",
                                        "(\1 LIKE 'a\\\\b')",
                                        "(\1 LIKE '')",
                                        "(\1 LIKE '%')",
                                        "(\1 LIKE '" LONG_TEXT "%')",
                                        "RegexMatch(\1, '^a')"};

    if (random_below(3) == 0)
        return piece(PIECE_BOOLEAN, PICK(likes), 1, value(depth));
    return piece(PIECE_BOOLEAN, PICK(tests), 2, random_below(2) == 0 ? path() : value(depth),
                 random_below(2) == 0 ? constant() : value(depth));
}

/* What SDKs write when they resume an order. */
static struct piece *resumed(void)
{
    static const char *const forms[] = {
        "(\1 > \1 OR IS_STRING(\1) OR IS_ARRAY(\1) OR IS_OBJECT(\1))",
        "(\1 >= \1 OR IS_ARRAY(\1) OR IS_OBJECT(\1))",
        "(\1 < \1 OR IS_BOOL(\1) OR IS_NULL(\1) OR NOT IS_DEFINED(\1))",
        "(\1 <= \1 OR NOT IS_DEFINED(\1) OR IS_NULL(\1))", "(\1 >= \1 OR IS_STRING(\1))"};
    static const char *const few[] = {"c.a", "c.b", "c.n", "c.s", "c.o.x"};
    const char *format = PICK(forms), *at = PICK(few);
    struct piece *made = leaf(PIECE_BOOLEAN, format);

    for (const char *place = format; *place != '\0'; place++) {
        if (*place == '\1') {
            made->children[made->count] = made->count == 1 ? constant() : leaf(PIECE_FIXED, at);
            made->count++;
        }
    }
    return made;
}

static struct piece *boolean(unsigned depth)
{
    unsigned below = depth > 0 ? depth - 1 : 0;

    switch (depth > 0 ? random_below(14) : random_below(7)) {
    case 0:
        return checked(below);
    case 1:
        return text_test(below);
    case 2:
        return piece(PIECE_BOOLEAN,
                     random_below(4) != 0 ? "(\1 IN (\1, \1, \1))" : "(\1 NOT IN (\1, \1, \1))", 4,
                     value(below), constant(), constant(),
                     random_below(2) == 0 ? constant() : value(below));
    case 3:
        return piece(PIECE_BOOLEAN,
                     random_below(4) != 0 ? "(\1 BETWEEN \1 AND \1)" : "(\1 NOT BETWEEN \1 AND \1)",
                     3, value(below), constant(), constant());
    case 4:
        return resumed();
    case 5:
    case 6:
        return compared(below);
    case 7:
        return piece(PIECE_BOOLEAN, "(NOT \1)", 1, boolean(below));
    case 8:
    case 9:
        return piece(PIECE_BOOLEAN, "(\1 AND \1)", 2, boolean(below), boolean(below));
    case 10:
        return piece(PIECE_BOOLEAN, "(\1 AND \1 AND \1)", 3, boolean(below), boolean(below),
                     boolean(below));
    case 11:
        return piece(PIECE_BOOLEAN, "(\1 OR \1)", 2, boolean(below), boolean(below));
    case 12:
        return subquery(depth, PIECE_BOOLEAN);
    default:
        return value(below);
    }
}

/* ---- queries ---- */

static struct piece *from_and_filter(void)
{
    static const char *const froms[] = {"c",
                                        "c",
                                        "c",
                                        "c",
                                        "c JOIN t0 IN c.list",
                                        "c JOIN t0 IN c.arr JOIN t1 IN t0.k",
                                        "c JOIN (SELECT VALUE x FROM x IN c.list WHERE x.v > 1) t0",
                                        "c JOIN t0 IN (SELECT VALUE c.arr)",
                                        "t0 IN c.list"};
    size_t chosen = random_below(12);
    const char *from = froms[chosen < 9 ? chosen : 0];

    scope_count = 0;
    if (strstr(from, "t0") != NULL) {
        memcpy(scope[scope_count++], "t0", 3);
        if (strstr(from, "t1") != NULL)
            memcpy(scope[scope_count++], "t1", 3);
    }
    struct piece *filter = random_below(40) == 0 ? leaf(PIECE_BOOLEAN, "true")
                                                 : boolean(1 + (unsigned) random_below(3));
    if (from[0] == 't' && random_below(2) == 0)
        return piece(PIECE_FIXED, " FROM t0 IN c.list", 0);
    return piece(PIECE_FIXED, " FROM \1 WHERE \1", 2, leaf(PIECE_FIXED, from), filter);
}

struct piece *generate_filter(void)
{
    return piece(PIECE_FIXED, "SELECT VALUE 1\1", 1, from_and_filter());
}

struct piece *generate_order(void)
{
    static const char *const keys[] = {"c.a",   "c.b",   "c.n",       "c.s",
                                       "c.o.x", "c._ts", "c.missing", "c['a b']"};
    struct piece *order;
    char text[128];
    unsigned count = 1 + (unsigned) random_below(3);

    text[0] = '\0';
    for (unsigned i = 0; i < count; i++) {
        size_t used = strlen(text);
        snprintf(text + used, sizeof(text) - used, "%s%s%s", i > 0 ? ", " : " ORDER BY ",
                 PICK(keys), random_below(2) == 0 ? " DESC" : "");
    }
    scope_count = 0;
    order = leaf_copy(PIECE_FIXED, text);
    return piece(PIECE_FIXED, "SELECT * FROM c WHERE \1\1", 2,
                 random_below(2) == 0 ? leaf(PIECE_BOOLEAN, "true") : boolean(1), order);
}

struct piece *generate_groups(void)
{
    static const char *const aggregates[] = {"COUNT(\1)", "SUM(\1)",     "AVG(\1)", "MIN(\1)",
                                             "MAX(\1)",   "COUNTIF(\1)", "COUNT(1)"};
    struct piece *filter = from_and_filter();
    struct piece *key = random_below(3) != 0 ? path() : value(1);
    struct piece *argument = random_below(2) != 0 ? path() : value(2);
    struct piece *other = random_below(2) != 0 ? path() : value(2);
    struct piece *a = leaf(PIECE_FIXED, PICK(aggregates)), *b = leaf(PIECE_FIXED, PICK(aggregates));

    a->children[a->count++] = argument;
    b->children[b->count++] = other;
    scope_count = 0;
    switch (random_below(5)) {
    case 0:
        return piece(PIECE_FIXED, "SELECT VALUE \1\1", 2, a, filter);
    case 1:
        return piece(PIECE_FIXED, "SELECT \1 AS x, \1 AS y\1", 3, a, b, filter);
    case 2:
        return piece(PIECE_FIXED, "SELECT DISTINCT VALUE \1\1", 2, key, filter);
    case 3:
        return piece(PIECE_FIXED, "SELECT DISTINCT \1 AS k, 1 AS one\1", 2, key, filter);
    default: {
        /* The key twice, as it is written. */
        struct buf text = {0};
        piece_print(key, &text);
        if (text.len >= 250 || memchr(text.ptr, '(', text.len) != NULL) {
            text.len = 0;
            buf_append_text(&text, "c.a");
        }
        struct piece *first = leaf_copy(PIECE_FIXED, buf_text(&text)),
                     *second = leaf_copy(PIECE_FIXED, buf_text(&text));
        buf_finish(&text);
        return piece(PIECE_FIXED, "SELECT \1 AS k, \1 AS x, \1 AS y\1 GROUP BY \1", 5, first, a, b,
                     filter, second);
    }
    }
}

/* ---- geometries ---- */

/* In [-1, 1). */
static double random_part(void)
{
    return (double) random_below(1u << 30) / (1u << 29) - 1;
}

static cJSON *position(double x, double y)
{
    cJSON *made = cJSON_CreateArray();

    /* Valid on the globe, too: across the antimeridian, and no farther than the poles. */
    x = x > 180 ? x - 360 : x < -180 ? x + 360 : x;
    y = y > 90 ? 90 : y < -90 ? -90 : y;
    cJSON_AddItemToArray(made, cJSON_CreateNumber(x));
    cJSON_AddItemToArray(made, cJSON_CreateNumber(y));
    return made;
}

/* Where longitudes end or mean little, and elsewhere. */
static const double centres[][2] = {{0, 0},     {179.9, 10}, {-179.95, -20}, {180, 0},
                                    {-180, 0},  {20, 89.8},  {-100, -89.9},  {0, 90},
                                    {50, -90},  {-122, 47},  {100, 60},      {-152, 30},
                                    {-148, 30}, {30, -70},   {40, 40},       {90, 89.4}};
static const double scales[] = {1e-9, 1e-6, 1e-3, 0.1, 0.1, 1, 1, 5, 5, 20, 60, 110};

struct spot {
    double x, y, scale;
};

static struct spot random_spot(void)
{
    const double *centre = PICK(centres);
    struct spot spot = {centre[0], centre[1], PICK(scales)};

    if (random_below(3) == 0) {
        spot.x = 180 * random_part();
        spot.y = 90 * random_part();
    }
    return spot;
}

static cJSON *scattered(const struct spot *spot)
{
    double x = spot->x + spot->scale * random_part(), y = spot->y + spot->scale * random_part();

    return position(random_below(8) == 0 ? spot->x : x, random_below(8) == 0 ? spot->y : y);
}

static void close_ring(cJSON *ring)
{
    cJSON_AddItemToArray(ring, cJSON_Duplicate(ring->child, true));
}

/* A star around the spot, either way round. */
static cJSON *star(const struct spot *spot)
{
    int count = 3 + (int) random_below(6);
    double way = random_below(4) == 0 ? -1 : 1;
    cJSON *ring = cJSON_CreateArray();

    for (int i = 0; i < count; i++) {
        double angle = way * 6.283185307179586 * (i + 0.4 * random_part()) / count;
        double radius = spot->scale * (0.6 + 0.4 * random_part());
        cJSON_AddItemToArray(
            ring, position(spot->x + radius * cos(angle), spot->y + radius * sin(angle)));
    }
    close_ring(ring);
    return ring;
}

/* Around a pole. */
static cJSON *crown(void)
{
    int count = 3 + (int) random_below(5);
    double way = random_below(2) == 0 ? -1 : 1, y = 85 * random_part();
    cJSON *ring = cJSON_CreateArray();

    for (int i = 0; i < count; i++)
        cJSON_AddItemToArray(
            ring, position(way * (-180 + 360 * (i + 0.5) / count), y + 5 * random_part()));
    close_ring(ring);
    return ring;
}

/* As it comes: crossing itself, over poles, half around. */
static cJSON *tangle(const struct spot *spot)
{
    cJSON *ring = cJSON_CreateArray();

    for (uint64_t i = 3 + random_below(4); i > 0; i--)
        cJSON_AddItemToArray(ring, scattered(spot));
    close_ring(ring);
    return ring;
}

static cJSON *polygon(const struct spot *spot)
{
    cJSON *rings = cJSON_CreateArray();

    for (uint64_t i = 1 + random_below(8) / 7; i > 0; i--) {
        uint64_t roll = random_below(8);
        cJSON_AddItemToArray(rings, roll == 0 ? crown() : roll == 1 ? tangle(spot) : star(spot));
    }
    return rings;
}

static cJSON *geometry(void)
{
    static const char *const types[] = {"Point",   "LineString",   "Polygon", "Polygon",
                                        "Polygon", "MultiPolygon", "Circle"};
    size_t type = random_below(20) == 0 ? 6 : random_below(6);
    struct spot spot = random_spot();
    cJSON *made = cJSON_CreateObject(), *coordinates;

    if (type == 0) {
        coordinates = scattered(&spot);
    } else if (type == 1) {
        coordinates = cJSON_CreateArray();
        for (uint64_t i = 2 + random_below(3); i > 0; i--)
            cJSON_AddItemToArray(coordinates, scattered(&spot));
    } else if (type < 5) {
        coordinates = polygon(&spot);
    } else {
        coordinates = cJSON_CreateArray();
        for (uint64_t i = 1 + random_below(3); i > 0; i--) {
            cJSON_AddItemToArray(coordinates, polygon(&spot));
            spot.x = spot.x + 2 * spot.scale > 180 ? -180 + spot.scale : spot.x + 2 * spot.scale;
        }
    }
    cJSON_AddStringToObject(made, "type", types[type]);
    cJSON_AddItemToObject(made, "coordinates", coordinates);
    return made;
}

static struct piece *spatial_operand(bool is_constant)
{
    static const char *const paths_of[] = {"c.p", "c.p", "c.q", "c.o.p"};
    static const char *const constants[] = {"@g0", "@g1", "@g2", "@g3", "@g4", "@g5", "@g6", "@g7"};
    char text[200];

    if (!is_constant)
        return leaf(PIECE_VALUE, PICK(paths_of));
    if (random_below(3) != 0)
        return leaf(PIECE_VALUE, PICK(constants));
    struct spot spot = random_spot();
    snprintf(text, sizeof(text), "{'type': 'Point', 'coordinates': [%.12g, %.12g]}", spot.x,
             spot.y);
    return leaf_copy(PIECE_VALUE, text);
}

static struct piece *spatial(void)
{
    static const char *const formats[] = {"ST_DISTANCE(\1, \1) < \1", "ST_DISTANCE(\1, \1) <= \1",
                                          "ST_WITHIN(\1, \1)", "ST_INTERSECTS(\1, \1)"};
    static const char *const mirrored[] = {"\1 > ST_DISTANCE(\1, \1)", "\1 >= ST_DISTANCE(\1, \1)"};
    static const double distances[] = {-1, 0, 1, 100, 5e3, 1e5, 1e6, 4e6, 1e7, 1.99e7, 3e7, 1e300};
    bool is_first = random_below(2) == 0;
    struct piece *a = spatial_operand(is_first), *b = spatial_operand(!is_first);
    size_t chosen = random_below(6);
    char text[32];

    snprintf(text, sizeof(text), "%.6g", PICK(distances) * (random_below(2) == 0 ? 1 : 1e-5));
    struct piece *limit = leaf_copy(PIECE_VALUE, text);
    if (chosen >= 4)
        return piece(PIECE_BOOLEAN, mirrored[chosen - 4], 3, limit, a, b);
    return chosen < 2 ? piece(PIECE_BOOLEAN, formats[chosen], 3, a, b, limit)
                      : piece(PIECE_BOOLEAN, formats[chosen], 2, a, b);
}

struct piece *generate_spatial(void)
{
    static const char *const formats[] = {"\1",         "\1",          "\1",
                                          "(\1 OR \1)", "(\1 AND \1)", "(NOT \1)"};
    size_t chosen = random_below(6);
    struct piece *filter = chosen < 3 || chosen == 5
                               ? piece(PIECE_BOOLEAN, formats[chosen], 1, spatial())
                               : piece(PIECE_BOOLEAN, formats[chosen], 2, spatial(), spatial());

    return piece(PIECE_FIXED, "SELECT VALUE 1 FROM c WHERE \1", 1, filter);
}

cJSON *generate_parameters(void)
{
    char name[8];
    cJSON *parameters =
        cJSON_Parse("[{\"name\":\"@n\",\"value\":2},{\"name\":\"@s\",\"value\":\"ab\"},"
                    "{\"name\":\"@o\",\"value\":{\"k\":\"a\",\"v\":1}},{\"name\":\"@list\","
                    "\"value\":[1,\"a\"]},"
                    "{\"name\":\"@name\",\"value\":\"a\"}]");

    assert(parameters != NULL);
    for (int i = 0; i < 8; i++) {
        cJSON *parameter = cJSON_CreateObject();
        snprintf(name, sizeof(name), "@g%d", i);
        cJSON_AddStringToObject(parameter, "name", name);
        cJSON_AddItemToObject(parameter, "value", geometry());
        cJSON_AddItemToArray(parameters, parameter);
    }
    return parameters;
}

/* ---- documents ---- */

static cJSON *random_value(unsigned depth)
{
    static const double some[] = {0,  1,     2,      3,      -1,     1.5, -2.5,
                                  10, 1e308, -1e308, 1e-200, 5e-324, 0.1, 1e16};
    static const char *const texts[] = {"a",    "ab",     "abc",     "b",           "",
                                        "it's", "a\\b",   "a%b",     "a_b",         "é",
                                        "😀",    "\uFFFD", LONG_TEXT, LONG_TEXT "x", LONG_TEXT "y",
                                        "[x]",  "1",      "\"q\"",   "aé😀"};
    cJSON *made;

    switch (random_below(depth > 0 ? 10 : 7)) {
    case 0:
        return cJSON_CreateNull();
    case 1:
        return cJSON_CreateBool((cJSON_bool) random_below(2));
    case 2:
    case 3:
    case 4:
        return cJSON_CreateNumber(PICK(some));
    case 5:
    case 6:
        return cJSON_CreateString(PICK(texts));
    case 7:
    case 8:
        made = cJSON_CreateArray();
        for (uint64_t i = random_below(4); i > 0; i--)
            cJSON_AddItemToArray(made, random_value(depth - 1));
        return made;
    default:
        made = cJSON_CreateObject();
        if (random_below(2) == 0)
            cJSON_AddItemToObject(made, "x", random_value(depth - 1));
        if (random_below(2) == 0)
            cJSON_AddItemToObject(made, "y", random_value(depth - 1));
        if (random_below(2) == 0)
            cJSON_AddItemToObject(made, "k", random_value(depth - 1));
        return made;
    }
}

static cJSON *random_list(bool of_objects)
{
    static const char *const keys[] = {"a", "b", "ab"};
    cJSON *list = cJSON_CreateArray();

    for (uint64_t i = random_below(4); i > 0; i--) {
        cJSON *element = of_objects ? cJSON_CreateObject() : random_value(1);

        if (of_objects) {
            cJSON_AddItemToObject(element, "k",
                                  random_below(4) == 0 ? random_value(1)
                                                       : cJSON_CreateString(PICK(keys)));
            if (random_below(3) != 0)
                cJSON_AddItemToObject(element, "v", cJSON_CreateNumber((double) random_below(3)));
        }
        cJSON_AddItemToArray(list, element);
    }
    return list;
}

cJSON *generate_document(unsigned number)
{
    static const char *const names[] = {"a",   "b",    "n",   "s",    "o",
                                        "arr", "list", "a b", "flag", "it's"};
    cJSON *document = cJSON_CreateObject();
    char id[16];

    snprintf(id, sizeof(id), "i%u", number);
    cJSON_AddStringToObject(document, "id", id);
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        cJSON *made;

        if (random_below(4) == 0)
            continue;
        if (strcmp(names[i], "arr") == 0 || strcmp(names[i], "list") == 0)
            made = random_below(6) == 0 ? random_value(1) : random_list(names[i][0] == 'l');
        else if (strcmp(names[i], "o") == 0 && random_below(3) != 0)
            made = cJSON_Parse(random_below(2) == 0 ? "{\"x\":1,\"y\":[1,\"a\"]}"
                                                    : "{\"y\":2,\"x\":\"ab\"}");
        else if (strcmp(names[i], "flag") == 0)
            made = cJSON_CreateBool((cJSON_bool) random_below(2));
        else
            made = random_value(2);
        cJSON_AddItemToObject(document, names[i], made);
    }
    for (size_t i = 0; i < 2; i++) {
        if (random_below(10) != 0)
            cJSON_AddItemToObject(document, i == 0 ? "p" : "q",
                                  random_below(20) == 0 ? random_value(1) : geometry());
    }
    return document;
}

/* ---- shrinking ---- */

static bool try_instead(struct piece *root, struct piece *at, const struct piece *instead,
                        piece_fails *fails, void *context)
{
    struct piece before = *at;

    *at = *instead;
    at->next_made = before.next_made;
    if (instead->format == instead->text)
        at->format = at->text;
    if (fails(root, context))
        return true;
    *at = before;
    return false;
}

static bool shrink_at(struct piece *root, struct piece *at, piece_fails *fails, void *context)
{
    static const struct piece simple[] = {{.kind = PIECE_BOOLEAN, .format = "true"},
                                          {.kind = PIECE_BOOLEAN, .format = "false"},
                                          {.kind = PIECE_VALUE, .format = "1"},
                                          {.kind = PIECE_VALUE, .format = "c.a"}};

    for (unsigned i = 0; i < at->count && at->kind != PIECE_FIXED; i++) {
        if (at->children[i]->kind != PIECE_FIXED &&
            try_instead(root, at, at->children[i], fails, context))
            return true;
    }
    for (size_t i = 0; i < sizeof(simple) / sizeof(*simple) && at->count > 0; i++) {
        if (at->kind != PIECE_FIXED && try_instead(root, at, &simple[i], fails, context))
            return true;
    }
    for (unsigned i = 0; i < at->count; i++) {
        if (shrink_at(root, at->children[i], fails, context))
            return true;
    }
    return false;
}

void piece_shrink(struct piece *root, piece_fails *fails, void *context)
{
    for (unsigned rounds = 0; rounds < 400 && shrink_at(root, root, fails, context); rounds++)
        continue;
}
