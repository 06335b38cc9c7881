/* A tree as text: the form of the service's rewritten queries, and that it parses to itself. */
#include "query/print.h"

#include "query/check.h"
#include "query/parser.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

typedef void print_fn(struct buf *out, const struct ast_query *query);

static char *printed(const char *text, print_fn *print)
{
    struct arena arena;
    struct ast_query query;
    struct fault fault;
    struct buf out = {0};
    size_t len;

    arena_init(&arena, 64 << 20);
    if (!parser_query(&arena, slice_from_text(text), &query, &fault))
        fail_msg("%s: %s", text, fault.message);
    print(&out, &query);
    assert_non_null(buf_text(&out));
    arena_finish(&arena);
    return buf_take(&out, &len);
}

static void prints(const char *text, print_fn *print, const char *expected)
{
    char *out = printed(text, print);

    assert_string_equal(out, expected);
    free(out);
}

/* What is printed is printed the same way again. */
static void settles(const char *text)
{
    char *once = printed(text, print_query);
    char *twice = printed(once, print_query);

    assert_string_equal(once, twice);
    free(once);
    free(twice);
}

static void expression(const char *text, const char *expected)
{
    char query[1024], wanted[1024];

    snprintf(query, sizeof(query), "SELECT VALUE %s FROM c", text);
    snprintf(wanted, sizeof(wanted), "SELECT VALUE %s\nFROM c", expected);
    prints(query, print_query, wanted);
    settles(query);
}

static void every_operation_has_its_parentheses(void **state)
{
    (void) state;
    expression("1 + 2*c.a - 3", "((1 + (2 * c.a)) - 3)");
    expression("c.a = 1 AND c.b<>2", "((c.a = 1) AND (c.b != 2))");
    expression("c.a AND c.b AND c.c OR c.d", "(((c.a AND c.b) AND c.c) OR c.d)");
    expression("NOT c.a", "(NOT c.a)");
    expression("~c.a", "(~ c.a)");
    expression("+c.a", "(+ c.a)");
    expression("- c.a", "(- c.a)");
    expression("c.a ? 1 : c.b ?? 2", "(c.a ? 1 : (c.b ?? 2))");
    expression("c.a between 1 and 2 + 3", "(c.a BETWEEN 1 AND (2 + 3))");
    expression("c.a not between 1 and 2", "(c.a NOT BETWEEN 1 AND 2)");
    expression("c.a in (1, 'x')", "(c.a IN (1, \"x\"))");
    expression("c.a not in (c.b)", "(c.a NOT IN (c.b))");
    expression("c.a like 'x!%' escape '!'", "(c.a LIKE \"x!%\" ESCAPE \"!\")");
    expression("c.a not like 'x' || '%'", "(c.a NOT LIKE (\"x\" || \"%\"))");
    expression("1 << 2 >> 3 >>> 4 & 5 | 6 ^ 7", "(((((1 << 2) >> 3) >>> 4) & 5) | (6 ^ 7))");
    expression("((((c.a))))", "c.a");
}

static void literals_have_one_spelling(void **state)
{
    (void) state;
    expression("1E2", "100");
    expression("0x1F", "31");
    expression(".5", "0.5");
    expression("0.1", "0.10000000000000001");
    expression("-5", "(- 5)");
    expression("-(5)", "(- 5)");
    expression("-0.005676387343555689", "(- 0.0056763873435556889)");
    expression("9007199254740993", "9007199254740992");
    expression("1e300", "1.0000000000000001e+300");
    expression("1e999", "Infinity");
    expression("[NaN, Infinity, -Infinity]", "[NaN, Infinity, (- Infinity)]");
    expression("'it\\'s \"so\" \\\\ \\n\\u0001'", "\"it's \\\"so\\\" \\\\ \\u000a\\u0001\"");
    expression("'gr\xc3\xb6\xc3\x9f'", "\"gr\xc3\xb6\xc3\x9f\"");
    expression("[true,false,null,undefined,@p]", "[true, false, null, undefined, @p]");
    expression("{a:1,'b \"c':{}}", "{\"a\": 1, \"b \\\"c\": {}}");
    expression("[]", "[]");
}

static void names_stay_as_spelled(void **state)
{
    (void) state;
    expression("upper(c.a) || LEFT(c.b,1)", "(upper(c.a) || LEFT(c.b, 1))");
    expression("udf.f(1)", "udf.f(1)");
    expression("c['a b'].c[\"d\"][0][c.e]", "c[\"a b\"].c[\"d\"][0][c.e]");
    expression("(1).a", "(1).a");
    expression("(-1).a[0]", "(- 1).a[0]");
    expression("{a:1}.a", "{\"a\": 1}.a");
    expression("exists (select value 1 from x in c.k where x>1)",
               "EXISTS(SELECT VALUE 1 FROM x IN c.k WHERE (x > 1))");
    expression("array(select x.a, x.b y, 1 from x in c.k)",
               "ARRAY(SELECT x.a, x.b AS y, 1 FROM x IN c.k)");
    expression("(select value count(1) from c.k k)", "(SELECT VALUE count(1) FROM c.k AS k)");
    expression("all(select value 1)", "ALL(SELECT VALUE 1)");
    expression("[first(select value 1), Last(select value 1)]",
               "[FIRST(SELECT VALUE 1), LAST(SELECT VALUE 1)]");
}

static void each_clause_begins_a_line(void **state)
{
    (void) state;
    prints("select distinct top 5 c.a as x, c.b from Root r join t in r.k join (select 1) s "
           "join r.z where r.d=1 group by r.a, r.b order by r.a, r.b desc, r.c asc "
           "offset 1 limit @n",
           print_query,
           "SELECT DISTINCT TOP 5 c.a AS x, c.b\n"
           "FROM Root AS r JOIN t IN r.k JOIN (SELECT 1) AS s JOIN r.z\n"
           "WHERE (r.d = 1)\n"
           "GROUP BY r.a, r.b\n"
           "ORDER BY r.a, r.b DESC, r.c ASC\n"
           "OFFSET 1 LIMIT @n");
    prints("SELECT * FROM x IN c.a[0]['b']", print_query, "SELECT *\nFROM x IN c.a[0][\"b\"]");
    prints("SELECT TOP @t * FROM t IN (SELECT VALUE c.k FROM c)", print_query,
           "SELECT TOP @t *\nFROM t IN (SELECT VALUE c.k FROM c)");
    prints("SELECT * FROM c ORDER BY RANK FullTextScore(c.text, 'swim')", print_query,
           "SELECT *\nFROM c\nORDER BY RANK FullTextScore(c.text, \"swim\")");
    prints("SELECT 5", print_query, "SELECT 5");
}

static void parts_can_be_had_alone(void **state)
{
    struct arena arena;
    struct ast_query query;
    struct fault fault;
    struct buf out = {0};

    (void) state;
    arena_init(&arena, 1 << 20);
    assert_true(parser_query(&arena,
                             SLICE_LITERAL("SELECT DISTINCT TOP 3 c.a, 1 FROM c WHERE c.b "
                                           "GROUP BY c.a ORDER BY c.a OFFSET 1 LIMIT 2"),
                             &query, &fault));
    print_select(&out, &query, PRINT_NO_DISTINCT | PRINT_NO_TOP);
    print_from(&out, &query);
    print_where(&out, &query);
    print_group_by(&out, &query);
    print_order_by(&out, &query);
    print_window(&out, &query);
    assert_string_equal(buf_text(&out),
                        "SELECT c.a, 1\nFROM c\nWHERE c.b\nGROUP BY c.a\nORDER BY c.a\n"
                        "OFFSET 1 LIMIT 2");
    buf_finish(&out);
    print_select(&out, &query, PRINT_NO_DISTINCT);
    assert_string_equal(buf_text(&out), "SELECT TOP 3 c.a, 1");
    buf_finish(&out);
    arena_finish(&arena);
    prints("SELECT c.a, 1, c.b AS d FROM c", print_projection,
           "{\"a\": c.a, \"$1\": 1, \"d\": c.b}");
    prints("SELECT VALUE c.a + 1 FROM c", print_projection, "(c.a + 1)");
    prints("SELECT * FROM Root r", print_projection, "r");
}

static void long_chains_do_not_nest(void **state)
{
    struct buf text = {0};

    (void) state;
    buf_append_text(&text, "SELECT * FROM c WHERE 0");
    for (int i = 1; i < 5000; i++)
        buf_printf(&text, " OR %d", i);
    char *out = printed(buf_text(&text), print_where);
    assert_memory_equal(out, "\nWHERE (0 OR 1 OR 2", 18);
    assert_memory_equal(out + strlen(out) - 6, " 4999)", 6);
    free(out);
    settles(buf_text(&text));
    buf_finish(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_operation_has_its_parentheses),
        cmocka_unit_test(literals_have_one_spelling),
        cmocka_unit_test(names_stay_as_spelled),
        cmocka_unit_test(each_clause_begins_a_line),
        cmocka_unit_test(parts_can_be_had_alone),
        cmocka_unit_test(long_chains_do_not_nest),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
