/* Which partition keys a query can match: derivations by hand, limits, and filters of chance. */
#include "query/keyrange.h"

#include "base/buf.h"
#include "model/json.h"
#include "query/check.h"
#include "query/filter.h"
#include "query/parser.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#define KEYS_MAX 8192

/* A container's definition from its paths, separated by blanks. */
static void define(struct pkey_definition *definition, struct arena *arena, enum pkey_kind kind,
                   unsigned version, const char *paths)
{
    struct slice rest = slice_from_text(paths);
    struct fault fault = {0};

    *definition = (struct pkey_definition){.kind = kind, .version = version};
    while (!slice_is_absent(rest)) {
        struct pkey_path *path = &definition->paths[definition->path_count++];
        assert_true(pkey_path_parse(path, slice_cut(rest, ' ', &rest), arena, &fault));
    }
}

static void compile(struct ast_query *query, struct arena *arena, const char *text,
                    const char *parameters)
{
    struct check_input input = {0};
    struct fault fault = {0};

    if (parameters != NULL) {
        cJSON *list = cJSON_Parse(parameters);
        assert_non_null(list);
        assert_true(arena_defer(arena, (arena_cleanup_fn *) cJSON_Delete, list));
        input.parameters = list;
    }
    if (!parser_query(arena, slice_from_text(text), query, &fault) ||
        !check_query(arena, query, &input, &fault))
        fail_msg("%s: %s", text, fault.message);
}

static void key_read(struct pkey *key, struct arena *arena,
                     const struct pkey_definition *definition, struct slice text)
{
    struct fault fault = {0};

    if (!pkey_from_header(key, definition, text, PKEY_PREFIX, arena, &fault))
        fail_msg("%.*s: %s", (int) text.len, text.ptr, fault.message);
}

static bool interval_is(const struct keyrange_interval *interval, const struct pkey *key,
                        const struct pkey_definition *definition)
{
    struct epk min, max, key_min, key_max;

    keyrange_bounds(interval, &min, &max);
    pkey_epk_interval(key, definition, &key_min, &key_max);
    if (epk_compare(&min, &key_min) != 0 || epk_compare(&max, &key_max) != 0)
        return false;
    if (key->count < definition->path_count && !definition->is_system_key)
        return interval->pkey == NULL;
    return interval->pkey != NULL && pkey_equals(interval->pkey, key);
}

static void check_sorted(const struct keyrange *keyrange)
{
    for (size_t i = 0; i < keyrange->count; i++) {
        struct epk min, max, next_min, next_max;
        keyrange_bounds(&keyrange->intervals[i], &min, &max);
        assert_true(epk_compare(&min, &max) < 0);
        if (i + 1 == keyrange->count)
            break;
        keyrange_bounds(&keyrange->intervals[i + 1], &next_min, &next_max);
        assert_true(epk_compare(&max, &next_min) <= 0);
    }
}

/* Keys as headers, separated by " ; ", in any order; "all"; "none". */
static void check_keys(const char *query, const struct keyrange *keyrange, struct arena *arena,
                       const struct pkey_definition *definition, const char *expected)
{
    struct slice rest = slice_from_text(expected);
    size_t count = 0;

    check_sorted(keyrange);
    if (strcmp(expected, "all") == 0) {
        if (!keyrange->is_everything || keyrange->count != 1 || keyrange->is_keys)
            fail_msg("%s: not everything", query);
        return;
    }
    if (strcmp(expected, "none") == 0)
        rest = slice_make(NULL, 0);
    while (!slice_is_absent(rest)) {
        struct pkey key;
        bool is_found = false;
        key_read(&key, arena, definition, slice_trim(slice_cut(rest, ';', &rest)));
        for (size_t i = 0; i < keyrange->count; i++)
            is_found = is_found || interval_is(&keyrange->intervals[i], &key, definition);
        if (!is_found)
            fail_msg("%s: key %zu of \"%s\" has no interval", query, count, expected);
        count++;
    }
    if (keyrange->is_everything || keyrange->count != count)
        fail_msg("%s: %zu intervals, not %s", query, keyrange->count, expected);
}

struct container {
    enum pkey_kind kind;
    unsigned version;
    const char *paths;
};

static const struct container by_a = {PKEY_HASH, 2, "/a"};
static const struct container by_key = {PKEY_HASH, 2, "/key"};
static const struct container by_two = {PKEY_MULTI_HASH, 2, "/t /u"};
static const struct container by_three = {PKEY_MULTI_HASH, 2, "/t /u /v"};

static void derives_with(const struct container *container, const char *text,
                         const char *parameters, const char *given, const char *expected)
{
    struct pkey_definition definition;
    struct keyrange keyrange;
    struct fault fault = {0};
    struct ast_query query;
    struct arena arena;
    struct pkey key;

    arena_init(&arena, 64u << 20);
    define(&definition, &arena, container->kind, container->version, container->paths);
    compile(&query, &arena, text, parameters);
    if (given != NULL)
        key_read(&key, &arena, &definition, slice_from_text(given));
    assert_true(keyrange_derive(&keyrange, &arena, &query, &definition, given != NULL ? &key : NULL,
                                &fault));
    check_keys(text, &keyrange, &arena, &definition, expected);
    arena_finish(&arena);
}

static void derives(const struct container *container, const char *text, const char *expected)
{
    derives_with(container, text, NULL, NULL, expected);
}

/* The filter alone, over the item called c. */
static void filter_derives(const struct container *container, const char *filter,
                           const char *expected)
{
    char *text = NULL;

    assert_true(asprintf(&text, "SELECT * FROM c WHERE %s", filter) > 0);
    derives(container, text, expected);
    free(text);
}

/* ---- the reference's examples ---- */

static void finds_the_keys_of_the_reference(void **state)
{
    static const struct container nested = {PKEY_HASH, 2, "/a/b/c"};
    static const struct container nested_pair = {PKEY_HASH, 2, "/a/b/c /a/c"};

    (void) state;
    derives(&by_a, "SELECT * FROM c", "all");
    derives(&by_a, "SELECT 5", "none");
    derives(&by_a, "SELECT * FROM Root r WHERE r.a = 5", "[5.0]");
    derives(&by_key, "SELECT * FROM c WHERE c.key IN (1, 2, 3)", "[1];[2];[3]");
    derives(&by_a, "SELECT * FROM c WHERE ARRAY_CONTAINS([1, 2, 3], c.a) and c.a = 4", "none");
    derives(&nested, "SELECT * FROM Root r WHERE r.a.b.c", "[true]");
    derives(&nested_pair, "SELECT * FROM Root r WHERE r.a.b.c = null AND r.a.c = false",
            "[null,false]");
    derives(&by_key, "SELECT * FROM c WHERE c.key = 5 OFFSET 1 LIMIT 2", "[5]");
    derives(&by_key, "SELECT VALUE COUNT(1) FROM c WHERE c.key = 5 OFFSET 1 LIMIT 2", "[5]");
    filter_derives(&by_key, "c.key = 1 OR c.key = 2", "[1];[2]");
    filter_derives(&by_key, "c.key > 5", "all");
    filter_derives(&by_key, "c.key BETWEEN 5 AND 5", "all");
    filter_derives(&by_key, "IS_STRING(c.key)", "all");
    filter_derives(&by_key, "IS_BOOL(c.key)", "[true];[false]");
    filter_derives(&by_key, "c.key = [1]", "[{}]");
    filter_derives(&by_key, "c.key = {x: 1}", "[{}]");
}

/* ---- expressions ---- */

static void tells_constants_apart(void **state)
{
    (void) state;
    filter_derives(&by_a, "c.a = 'x'", "[\"x\"]");
    filter_derives(&by_a, "'x' = c[\"a\"]", "[\"x\"]");
    filter_derives(&by_a, "c.a = null", "[null]");
    filter_derives(&by_a, "c.a = undefined", "none");
    filter_derives(&by_a, "c.a != undefined", "all");
    filter_derives(&by_a, "c.a = true", "[true]");
    filter_derives(&by_a, "c.a = -0", "[0]");
    filter_derives(&by_a, "c.a = 0 OR c.a = -0", "[0]");
    filter_derives(&by_a, "c.a = 1 + 2 * 3", "[7]");
    filter_derives(&by_a, "c.a = CONCAT('x', 'y')", "[\"xy\"]");
    filter_derives(&by_a, "c.a = 1 / 0", "all");
    filter_derives(&by_a, "c.a = c.b", "all");
    filter_derives(&by_a, "c.a = [c.b]", "all");
    filter_derives(&by_a, "c.a.b = 5", "all");
    filter_derives(&by_a, "c.b = 5", "all");
    filter_derives(&by_a, "c.A = 5", "all");
    filter_derives(&by_a, "c.a[0] = 5", "all");
    filter_derives(&by_a, "true", "all");
    filter_derives(&by_a, "1 = 1", "all");
    filter_derives(&by_a, "false", "none");
    filter_derives(&by_a, "null", "none");
    filter_derives(&by_a, "1", "none");
    filter_derives(&by_a, "1 = 2", "none");
    filter_derives(&by_a, "undefined", "none");
}

static void understands_logic(void **state)
{
    (void) state;
    filter_derives(&by_a, "c.a = 1 AND c.b = 2", "[1]");
    filter_derives(&by_a, "c.a = 1 AND c.a = 2", "none");
    filter_derives(&by_a, "c.a = 1 AND c.a = 1", "[1]");
    filter_derives(&by_a, "c.a = 1 OR c.b = 2", "all");
    filter_derives(&by_a, "(c.a = 1 OR c.a = 2) AND (c.a = 2 OR c.a = 3)", "[2]");
    filter_derives(&by_a, "c.a = 1 AND false", "none");
    filter_derives(&by_a, "c.a = 1 OR false", "[1]");
    filter_derives(&by_a, "c.a = 1 OR true", "all");
    filter_derives(&by_a, "c.a = 1 AND true", "[1]");
    filter_derives(&by_a, "NOT (c.a != 1)", "[1]");
    filter_derives(&by_a, "NOT (c.a = 1)", "all");
    filter_derives(&by_a, "NOT (c.a != 1 OR c.b = 2)", "[1]");
    filter_derives(&by_a, "NOT (c.a != 1 AND c.a != 2)", "[1];[2]");
    filter_derives(&by_a, "NOT NOT (c.a = 1)", "[1]");
    filter_derives(&by_a, "c.a", "[true]");
    filter_derives(&by_a, "NOT c.a", "[false]");
    filter_derives(&by_a, "c.a IN (1, c.b)", "all");
    filter_derives(&by_a, "c.a IN (1, undefined)", "[1]");
    filter_derives(&by_a, "c.a NOT IN (1)", "all");
    filter_derives(&by_a, "NOT (c.a NOT IN (1, 1, 2))", "[1];[2]");
    filter_derives(&by_a, "5 IN (c.a)", "[5]");
    filter_derives(&by_a, "5 IN (c.a, 6)", "[5]");
    filter_derives(&by_a, "5 IN (c.a, 5)", "all");
    filter_derives(&by_a, "5 IN (c.a, c.b)", "all");
    filter_derives(&by_a, "c.a = 1 AND (c.b = 2 OR c.a = 3)", "[1]");
    filter_derives(&by_a, "c.a = 1 ? true : false", "all");
}

static void understands_functions(void **state)
{
    (void) state;
    filter_derives(&by_a, "IS_NULL(c.a)", "[null]");
    filter_derives(&by_a, "NOT IS_NULL(c.a)", "all");
    filter_derives(&by_a, "is_bool(c.a)", "[true];[false]");
    filter_derives(&by_a, "IS_BOOL(c.b)", "all");
    filter_derives(&by_a, "IS_DEFINED(c.a)", "all");
    filter_derives(&by_a, "NOT IS_DEFINED(c.a)", "[{}]");
    filter_derives(&by_a, "IS_ARRAY(c.a)", "[{}]");
    filter_derives(&by_a, "IS_OBJECT(c.a) OR c.a = 'x'", "[{}];[\"x\"]");
    filter_derives(&by_a, "NOT IS_PRIMITIVE(c.a)", "[{}]");
    filter_derives(&by_a, "IS_PRIMITIVE(c.a)", "all");
    filter_derives(&by_a, "ARRAY_CONTAINS([1, 'x', null], c.a)", "[1];[\"x\"];[null]");
    filter_derives(&by_a, "ARRAY_CONTAINS([1, {k: 1}], c.a, true)", "[1];[{}]");
    filter_derives(&by_a, "ARRAY_CONTAINS([1, c.b], c.a)", "all");
    filter_derives(&by_a, "NOT ARRAY_CONTAINS([1], c.a)", "all");
    filter_derives(&by_a, "ARRAY_CONTAINS(c.b, c.a)", "all");
    filter_derives(&by_a, "ARRAY_CONTAINS(c.a, 1)", "all");
    filter_derives(&by_a, "ARRAY_CONTAINS('x', c.a)", "none");
    filter_derives(&by_a, "ARRAY_CONTAINS([], c.a)", "none");
    filter_derives(&by_a, "STRINGEQUALS(c.a, 'x')", "[\"x\"]");
    filter_derives(&by_a, "STRINGEQUALS('x', c.a, false)", "[\"x\"]");
    filter_derives(&by_a, "STRINGEQUALS(c.a, 'x', true)", "all");
    filter_derives(&by_a, "STRINGEQUALS(c.a, 'x', c.b)", "all");
    filter_derives(&by_a, "STARTSWITH(c.a, 'x')", "all");
}

static void binds_parameters(void **state)
{
    static const char values[] =
        "[{\"name\":\"@n\",\"value\":5},{\"name\":\"@s\",\"value\":\"x\"},"
        "{\"name\":\"@list\",\"value\":[1,\"x\",[2],null]},{\"name\":\"@t\",\"value\":true},"
        "{\"name\":\"@o\",\"value\":{}}]";
    static const struct {
        const char *filter, *expected;
    } cases[] = {
        {"c.a = @n", "[5]"},
        {"c.a = @s OR @n = c.a", "[\"x\"];[5]"},
        {"c.a = @missing", "none"},
        {"c.a = @o", "[{}]"},
        {"c.a IN (@n, @s, @missing)", "[5];[\"x\"]"},
        {"ARRAY_CONTAINS(@list, c.a)", "[1];[\"x\"];[{}];[null]"},
        {"ARRAY_CONTAINS(@n, c.a)", "none"},
        {"ARRAY_CONTAINS(@missing, c.a)", "none"},
        {"@t AND c.a = @n", "[5]"},
        {"@n AND c.a = @n", "none"},
        {"c.a = @n + 1", "[6]"},
        {"c[@s] = 1", "all"},
    };

    (void) state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char *text = NULL;
        assert_true(asprintf(&text, "SELECT * FROM c WHERE %s", cases[i].filter) > 0);
        derives_with(&by_a, text, values, NULL, cases[i].expected);
        free(text);
    }
}

/* ---- sources ---- */

static void follows_aliases(void **state)
{
    static const struct container nested = {PKEY_HASH, 2, "/x/a"};

    (void) state;
    derives(&by_a, "SELECT * FROM root WHERE root.a = 1", "[1]");
    derives(&by_a, "SELECT * FROM root AS r WHERE r.a = 1", "[1]");
    derives(&nested, "SELECT * FROM c.x WHERE x.a = 1", "[1]");
    derives(&nested, "SELECT * FROM c.x AS y WHERE y.a = 1", "[1]");
    derives(&by_a, "SELECT * FROM c.x AS y WHERE y.a = 1", "all");
    derives(&by_a, "SELECT * FROM a IN c.a WHERE a = 1", "all");
    derives(&by_a, "SELECT c.id FROM c JOIN t IN c.tags WHERE t.a = 1", "all");
    derives(&by_a, "SELECT c.id FROM c JOIN t IN c.tags WHERE c.a = 1 AND t.a = 2", "[1]");
    derives(&by_a, "SELECT c.id FROM c JOIN c.a AS k WHERE k = 1", "[1]");
    derives(&by_a, "SELECT VALUE s FROM (SELECT * FROM c WHERE c.a = 1) AS s", "[1]");
    derives(&by_a, "SELECT VALUE s FROM (SELECT VALUE c FROM c) AS s WHERE s.a = 1", "[1]");
    derives(&by_a, "SELECT VALUE s FROM (SELECT VALUE c.b FROM c) AS s WHERE s.a = 1", "all");
    derives(&by_a, "SELECT VALUE s FROM (SELECT c.a FROM c) AS s WHERE s.a = 1", "all");
    derives(&by_a, "SELECT VALUE COUNT(1) FROM (SELECT DISTINCT VALUE c.b FROM c WHERE c.a = 1)",
            "[1]");
    /* An aggregate has a row although nothing passes. */
    derives(&by_a,
            "SELECT c.id FROM c JOIN (SELECT VALUE COUNT(1) FROM t IN c.tags WHERE c.a = 1) AS n",
            "all");
    derives(&by_a, "SELECT c.id FROM c JOIN (SELECT VALUE t FROM t IN c.tags WHERE c.a = 1) AS n",
            "[1]");
    derives(&by_a, "SELECT * FROM c WHERE EXISTS(SELECT VALUE t FROM t IN c.tags WHERE c.a = 1)",
            "all");
}

static void a_computed_property_is_no_key(void **state)
{
    struct computed_property computed = {.name = SLICE_LITERAL("a")};
    struct check_input input = {.computed = {&computed, 1}};
    struct pkey_definition definition;
    struct ast_query query, other;
    struct keyrange keyrange;
    struct fault fault = {0};
    struct arena arena;

    (void) state;
    arena_init(&arena, 1u << 20);
    define(&definition, &arena, PKEY_HASH, 2, "/a");
    assert_true(parser_query(&arena, SLICE_LITERAL("SELECT VALUE c.b FROM c"), &other, &fault));
    computed.expression = other.projection;
    assert_true(
        parser_query(&arena, SLICE_LITERAL("SELECT * FROM c WHERE c.a = 1"), &query, &fault));
    assert_true(check_query(&arena, &query, &input, &fault));
    assert_true(keyrange_derive(&keyrange, &arena, &query, &definition, NULL, &fault));
    assert_true(keyrange.is_everything);
    arena_finish(&arena);
}

/* ---- kinds of keys ---- */

static void derives_prefixes(void **state)
{
    (void) state;
    filter_derives(&by_two, "c.t = 'a' AND c.u = 5", "[\"a\",5]");
    filter_derives(&by_two, "c.t = 'a'", "[\"a\"]");
    filter_derives(&by_two, "c.u = 5", "all");
    filter_derives(&by_two, "c.t IN ('a', 'b') AND c.u IN (1, 2)",
                   "[\"a\",1];[\"a\",2];[\"b\",1];[\"b\",2]");
    filter_derives(&by_two, "c.t = 'a' OR (c.t = 'a' AND c.u = 5)", "[\"a\"]");
    filter_derives(&by_two, "(c.t = 'a' AND c.u = 5) OR c.t = 'b'", "[\"a\",5];[\"b\"]");
    filter_derives(&by_two, "c.t = 'a' OR c.u = 5", "all");
    filter_derives(&by_two, "NOT IS_DEFINED(c.t)", "[{}]");
    filter_derives(&by_three, "c.t = 1 AND c.v = 3", "[1]");
    filter_derives(&by_three, "c.v = 3 AND c.u = 2 AND c.t = 1", "[1,2,3]");
    filter_derives(&by_three, "c.t = 1 AND c.u = 2", "[1,2]");
}

static void all_paths_of_a_hash_are_needed(void **state)
{
    static const struct container pair = {PKEY_HASH, 2, "/a /b"};

    (void) state;
    filter_derives(&pair, "c.a = 1", "all");
    filter_derives(&pair, "c.a = 1 AND c.b = 2", "[1,2]");
    filter_derives(&pair, "c.a = 1 AND c.b IN (2, 3)", "[1,2];[1,3]");
}

static void knows_what_the_request_is_limited_to(void **state)
{
    (void) state;
    derives_with(&by_a, "SELECT * FROM c", NULL, "[5]", "[5]");
    derives_with(&by_a, "SELECT * FROM c WHERE c.a = 5", NULL, "[5]", "[5]");
    derives_with(&by_a, "SELECT * FROM c WHERE c.a = 6", NULL, "[5]", "none");
    derives_with(&by_a, "SELECT * FROM c WHERE c.b = 6", NULL, "[{}]", "[{}]");
    derives_with(&by_two, "SELECT * FROM c", NULL, "[\"a\"]", "[\"a\"]");
    derives_with(&by_two, "SELECT * FROM c", NULL, "[]", "all");
    derives_with(&by_two, "SELECT * FROM c WHERE c.u IN (1, 2)", NULL, "[\"a\"]",
                 "[\"a\",1];[\"a\",2]");
    derives_with(&by_two, "SELECT * FROM c WHERE c.t = 'b'", NULL, "[\"a\"]", "none");
}

static void a_container_from_before_has_one_key(void **state)
{
    struct pkey_definition definition;
    struct pkey none = {.count = 0};
    struct keyrange keyrange;
    struct fault fault = {0};
    struct ast_query query;
    struct arena arena;

    (void) state;
    arena_init(&arena, 1u << 20);
    define(&definition, &arena, PKEY_HASH, 2, "/_partitionKey");
    definition.is_system_key = true;
    compile(&query, &arena, "SELECT * FROM c", NULL);
    assert_true(keyrange_derive(&keyrange, &arena, &query, &definition, &none, &fault));
    check_keys("[]", &keyrange, &arena, &definition, "[]");
    compile(&query, &arena, "SELECT * FROM c WHERE NOT IS_DEFINED(c._partitionKey)", NULL);
    assert_true(keyrange_derive(&keyrange, &arena, &query, &definition, NULL, &fault));
    check_keys("undefined", &keyrange, &arena, &definition, "[]");
    arena_finish(&arena);
}

/* ---- limits ---- */

/* A piece count times, with its number for each '#'. */
static char *text_repeat(const char *head, const char *piece, size_t count, const char *tail)
{
    struct buf buf = {0};

    buf_append_text(&buf, head);
    for (size_t i = 0; i < count; i++) {
        for (const char *at = piece; *at != '\0'; at++) {
            if (*at == '#')
                buf_append_u64(&buf, i);
            else
                buf_append_char(&buf, *at);
        }
    }
    buf_append_text(&buf, tail);
    buf_append_char(&buf, '\0');
    size_t len;
    char *text = buf_take(&buf, &len);
    assert_non_null(text);
    return text;
}

static size_t count_of(const struct container *container, const char *text, bool *is_everything)
{
    struct pkey_definition definition;
    struct keyrange keyrange;
    struct fault fault = {0};
    struct ast_query query;
    struct arena arena;

    arena_init(&arena, 256u << 20);
    define(&definition, &arena, container->kind, container->version, container->paths);
    compile(&query, &arena, text, NULL);
    assert_true(keyrange_derive(&keyrange, &arena, &query, &definition, NULL, &fault));
    check_sorted(&keyrange);
    *is_everything = keyrange.is_everything;
    arena_finish(&arena);
    return keyrange.count;
}

static void lists_of_keys_are_bounded(void **state)
{
    bool is_everything;
    char *text;

    (void) state;
    text = text_repeat("SELECT * FROM c WHERE c.a IN (0", ",#", KEYRANGE_KEYS_MAX - 1, ")");
    assert_int_equal(count_of(&by_a, text, &is_everything), KEYRANGE_KEYS_MAX - 1);
    assert_false(is_everything);
    free(text);
    text = text_repeat("SELECT * FROM c WHERE c.a IN (0", ",#", KEYRANGE_KEYS_MAX, ")");
    assert_int_equal(count_of(&by_a, text, &is_everything), 1);
    assert_true(is_everything);
    free(text);
    text = text_repeat("SELECT * FROM c WHERE c.a = 0", " OR c.a = #", 1000, "");
    assert_int_equal(count_of(&by_a, text, &is_everything), 1000);
    free(text);
    text = text_repeat("SELECT * FROM c WHERE c.a IN (0", ",#", 60000, ")");
    assert_int_equal(count_of(&by_a, text, &is_everything), 1);
    assert_true(is_everything);
    free(text);
}

/* What multiplies too much keeps the side that tells something about the key. */
static void products_of_keys_are_bounded(void **state)
{
    bool is_everything;
    char *left, *right, *text = NULL;

    (void) state;
    left = text_repeat("SELECT * FROM c WHERE c.t IN (0", ",#", 100, ")");
    right = text_repeat(" AND c.u IN (0", ",#", 200, ")");
    assert_true(asprintf(&text, "%s%s", left, right) > 0);
    assert_int_equal(count_of(&by_two, text, &is_everything), 100);
    free(text);
    free(right);
    right = text_repeat("", " AND c.t IN (0,1,2,3,4,5,6,7,8,9,#)", 5000, "");
    assert_true(asprintf(&text, "%s%s", left, right) > 0);
    count_of(&by_two, text, &is_everything);
    free(text);
    free(right);
    free(left);
}

static void keys_that_no_item_has_are_left_out(void **state)
{
    static const struct container v1 = {PKEY_HASH, 1, "/a"};
    char *text;
    bool is_everything;

    (void) state;
    text = text_repeat("SELECT * FROM c WHERE c.a IN ('x', '", "x", 3000, "')");
    assert_int_equal(count_of(&by_a, text, &is_everything), 1);
    assert_false(is_everything);
    free(text);
    text = text_repeat("SELECT * FROM c WHERE c.a = '", "x", 101, "'");
    assert_int_equal(count_of(&v1, text, &is_everything), 1);
    free(text);
    text = text_repeat("SELECT * FROM c WHERE c.a = '", "x", 102, "'");
    assert_int_equal(count_of(&v1, text, &is_everything), 0);
    free(text);
}

/* Version 1 hashes the first 100 bytes only, so two keys may share their effective key. */
static void keys_that_share_an_interval_are_not_named(void **state)
{
    struct pkey_definition definition;
    struct keyrange keyrange;
    struct fault fault = {0};
    struct ast_query query;
    struct arena arena;
    char *head, *text = NULL;

    (void) state;
    arena_init(&arena, 1u << 20);
    define(&definition, &arena, PKEY_HASH, 1, "/a");
    head = text_repeat("", "x", 100, "");
    assert_true(asprintf(&text, "SELECT * FROM c WHERE c.a IN ('%sy', '%sz', '%sy')", head, head,
                         head) > 0);
    compile(&query, &arena, text, NULL);
    assert_true(keyrange_derive(&keyrange, &arena, &query, &definition, NULL, &fault));
    assert_int_equal(keyrange.count, 1);
    assert_null(keyrange.intervals[0].pkey);
    assert_false(keyrange.is_keys);
    free(text);
    free(head);
    arena_finish(&arena);
}

static void memory_that_runs_out_is_a_fault(void **state)
{
    struct pkey_definition definition;
    struct keyrange keyrange;
    struct fault fault = {0};
    struct arena arena, small;
    struct ast_query query;

    (void) state;
    arena_init(&arena, 1u << 20);
    arena_init(&small, 0);
    define(&definition, &arena, PKEY_HASH, 2, "/a");
    compile(&query, &arena, "SELECT * FROM c WHERE c.a = 'x'", NULL);
    assert_false(keyrange_derive(&keyrange, &small, &query, &definition, NULL, &fault));
    assert_int_equal(fault.status, 503);
    compile(&query, &arena, "SELECT * FROM c", NULL);
    fault = (struct fault){0};
    assert_false(keyrange_derive(&keyrange, &small, &query, &definition, NULL, &fault));
    assert_int_equal(fault.status, 503);
    arena_finish(&small);
    arena_finish(&arena);
}

/* ---- filters of chance ---- */

#define FILTERS 10000
#define ITEMS 20

static uint64_t seed = 20240611;

static unsigned chance(unsigned limit)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (unsigned) (seed >> 33) % limit;
}

static const char *one_of(const char *const *texts, unsigned count)
{
    return texts[chance(count)];
}

#define ONE_OF(texts) one_of(texts, (unsigned) (sizeof(texts) / sizeof((texts)[0])))

static const char *const values[] = {"1",     "2",     "-0",   "0",   "null", "true",
                                     "false", "\"x\"", "\"\"", "[1]", "{}",   "{\"t\":1}"};
static const char *const paths[] = {"c.t", "c.t", "c.u", "c.o.t", "c[\"t\"]", "c.v"};

static void append_operand(struct buf *out)
{
    switch (chance(12)) {
    case 0:
    case 1:
    case 2:
    case 3:
        buf_append_text(out, ONE_OF(values));
        break;
    case 4:
        buf_append_text(out, "undefined");
        break;
    default:
        buf_append_text(out, ONE_OF(paths));
    }
}

static void append_list(struct buf *out, char open, char close)
{
    buf_append_char(out, open);
    for (unsigned i = 0, count = 1 + chance(3); i < count; i++) {
        if (i > 0)
            buf_append_text(out, ", ");
        buf_append_text(out, chance(8) == 0 ? ONE_OF(paths) : ONE_OF(values));
    }
    buf_append_char(out, close);
}

static void append_predicate(struct buf *out)
{
    static const char *const operators[] = {" = ", " = ", " = ", " != ", " < ", " >= "};
    static const char *const checks[] = {"IS_NULL",   "IS_BOOL",   "IS_DEFINED",  "IS_ARRAY",
                                         "IS_OBJECT", "IS_STRING", "IS_PRIMITIVE"};

    switch (chance(9)) {
    case 0:
        buf_printf(out, "%s(%s)", ONE_OF(checks), ONE_OF(paths));
        break;
    case 1:
        append_operand(out);
        buf_append_text(out, chance(2) == 0 ? " IN " : " NOT IN ");
        append_list(out, '(', ')');
        break;
    case 2:
        buf_append_text(out, "ARRAY_CONTAINS(");
        append_list(out, '[', ']');
        buf_printf(out, ", %s%s)", ONE_OF(paths), chance(2) == 0 ? ", true" : "");
        break;
    case 3:
        append_operand(out);
        break;
    case 4:
        buf_printf(out, "STRINGEQUALS(%s, %s)", ONE_OF(paths), ONE_OF(values));
        break;
    default:
        append_operand(out);
        buf_append_text(out, ONE_OF(operators));
        append_operand(out);
    }
}

static void append_filter(struct buf *out, unsigned depth)
{
    unsigned kind = depth == 0 ? 4 : chance(5);

    if (kind == 4) {
        append_predicate(out);
        return;
    }
    if (kind == 0)
        buf_append_text(out, "NOT ");
    buf_append_char(out, '(');
    append_filter(out, depth - 1);
    if (kind != 0) {
        buf_append_text(out, kind == 1 ? ") OR (" : ") AND (");
        append_filter(out, depth - 1);
    }
    buf_append_char(out, ')');
}

static void append_item(struct buf *out)
{
    static const char *const names[] = {"t", "u", "v"};

    buf_append_text(out, "{\"id\":\"x\"");
    for (size_t i = 0; i < 3; i++) {
        if (chance(5) > 0)
            buf_printf(out, ",\"%s\":%s", names[i], ONE_OF(values));
    }
    if (chance(2) == 0)
        buf_printf(out, ",\"o\":{\"t\":%s}", ONE_OF(values));
    buf_append_char(out, '}');
}

static bool keyrange_holds(const struct keyrange *keyrange, const struct pkey *key,
                           const struct pkey_definition *definition)
{
    struct epk epk, min, max;

    pkey_hash(key, definition, &epk);
    for (size_t i = 0; i < keyrange->count; i++) {
        const struct keyrange_interval *interval = &keyrange->intervals[i];
        keyrange_bounds(interval, &min, &max);
        if (epk_compare(&min, &epk) <= 0 && epk_compare(&epk, &max) < 0)
            return interval->pkey == NULL || pkey_equals(interval->pkey, key);
    }
    return false;
}

static bool item_matches(const struct filter *filter, struct arena *arena, const char *item)
{
    cJSON *document = cJSON_Parse(item);
    struct fault fault = {0};
    bool matches;

    assert_non_null(document);
    assert_true(filter_matches(filter, document, arena, &matches, &fault));
    cJSON_Delete(document);
    return matches;
}

static void read_item_key(struct pkey *key, struct arena *arena,
                          const struct pkey_definition *definition, const char *item)
{
    struct json_text text;
    struct fault fault = {0};

    assert_true(json_validate(slice_from_text(item), 16, &text, &fault));
    assert_true(pkey_from_body(key, definition, text.root, arena, &fault));
}

/* One filter on some items; how many matched although the keys were narrowed. */
static unsigned try_filter(const struct container *container, const char *text)
{
    struct pkey_definition definition;
    struct keyrange keyrange;
    struct fault fault = {0};
    struct filter filter;
    struct arena arena;
    unsigned told = 0;

    arena_init(&arena, 4u << 20);
    define(&definition, &arena, container->kind, container->version, container->paths);
    if (!filter_parse(&arena, slice_from_text(text), NULL, &filter, &fault) ||
        !keyrange_derive(&keyrange, &arena, &filter.query, &definition, NULL, &fault))
        fail_msg("%s: %s", text, fault.message);
    check_sorted(&keyrange);
    for (unsigned i = 0; i < ITEMS; i++) {
        struct buf item = {0};
        struct pkey key;
        append_item(&item);
        read_item_key(&key, &arena, &definition, buf_text(&item));
        bool matches = item_matches(&filter, &arena, buf_text(&item));
        if (matches && !keyrange_holds(&keyrange, &key, &definition))
            fail_msg("%s matches %s, whose key is outside", text, buf_text(&item));
        told += matches && !keyrange.is_everything;
        buf_finish(&item);
    }
    arena_finish(&arena);
    return told;
}

static void matches_are_always_inside(void **state)
{
    static const struct container containers[] = {{PKEY_HASH, 2, "/t"},
                                                  {PKEY_HASH, 1, "/t"},
                                                  {PKEY_HASH, 2, "/o/t"},
                                                  {PKEY_MULTI_HASH, 2, "/t /u"},
                                                  {PKEY_MULTI_HASH, 2, "/o/t /u /t"},
                                                  {PKEY_HASH, 2, "/t /u"}};
    unsigned told = 0;

    (void) state;
    for (unsigned i = 0; i < FILTERS; i++) {
        struct buf filter = {0};
        buf_append_text(&filter, "SELECT * FROM c WHERE ");
        append_filter(&filter, chance(4));
        told += try_filter(&containers[i % 6], buf_text(&filter));
        buf_finish(&filter);
    }
    /* The test says something only if matches happen inside narrow sets. */
    assert_true(told > FILTERS / 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_the_keys_of_the_reference),
        cmocka_unit_test(tells_constants_apart),
        cmocka_unit_test(understands_logic),
        cmocka_unit_test(understands_functions),
        cmocka_unit_test(binds_parameters),
        cmocka_unit_test(follows_aliases),
        cmocka_unit_test(a_computed_property_is_no_key),
        cmocka_unit_test(derives_prefixes),
        cmocka_unit_test(all_paths_of_a_hash_are_needed),
        cmocka_unit_test(knows_what_the_request_is_limited_to),
        cmocka_unit_test(a_container_from_before_has_one_key),
        cmocka_unit_test(lists_of_keys_are_bounded),
        cmocka_unit_test(products_of_keys_are_bounded),
        cmocka_unit_test(keys_that_no_item_has_are_left_out),
        cmocka_unit_test(keys_that_share_an_interval_are_not_named),
        cmocka_unit_test(memory_that_runs_out_is_a_fault),
        cmocka_unit_test(matches_are_always_inside),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
