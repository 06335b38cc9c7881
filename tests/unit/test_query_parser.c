/* Tokens to a tree: precedence, refusals, places of errors, and what hostile input may not do. */
#include "query/parser.h"

#include "base/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

static const char *const operators[] = {
    [AST_NOT] = "NOT ",         [AST_MINUS] = "-",        [AST_PLUS] = "+",
    [AST_BIT_NOT] = "~",        [AST_EQUAL] = "=",        [AST_NOT_EQUAL] = "!=",
    [AST_LESS] = "<",           [AST_LESS_EQUAL] = "<=",  [AST_GREATER] = ">",
    [AST_GREATER_EQUAL] = ">=", [AST_ADD] = "+",          [AST_SUBTRACT] = "-",
    [AST_MULTIPLY] = "*",       [AST_DIVIDE] = "/",       [AST_MODULO] = "%",
    [AST_BIT_AND] = "&",        [AST_BIT_OR] = "|",       [AST_BIT_XOR] = "^",
    [AST_SHIFT_LEFT] = "<<",    [AST_SHIFT_RIGHT] = ">>", [AST_SHIFT_RIGHT_ZERO] = ">>>",
    [AST_CONCAT] = "||",
};

static void print(struct buf *out, const struct ast *node);

static void print_list(struct buf *out, const struct ast *first, const char *separator)
{
    for (const struct ast *child = first; child != NULL; child = child->next) {
        if (child != first)
            buf_append_text(out, separator);
        if (child->key.ptr != NULL)
            buf_printf(out, "%s:", child->key.ptr);
        print(out, child);
    }
}

/* The tree as text in which every operation has its parentheses. */
static void print(struct buf *out, const struct ast *node)
{
    const struct ast *first = node->children;
    static const char *const separators[] = {
        [AST_AND] = " AND ",       [AST_OR] = " OR ",           [AST_COALESCE] = " ?? ",
        [AST_CONDITIONAL] = " ? ", [AST_BETWEEN] = " BETWEEN ", [AST_IN] = " IN ",
        [AST_LIKE] = " LIKE "};

    switch (node->kind) {
    case AST_UNDEFINED:
        buf_append_text(out, "undefined");
        break;
    case AST_CONSTANT:
        if (cJSON_IsString(node->value))
            buf_printf(out, "'%s'", node->value->valuestring);
        else if (cJSON_IsNumber(node->value))
            buf_printf(out, "%g", node->value->valuedouble);
        else
            buf_append_text(out, cJSON_IsNull(node->value)   ? "null"
                                 : cJSON_IsTrue(node->value) ? "true"
                                                             : "false");
        break;
    case AST_PARAMETER:
    case AST_ALIAS:
        buf_append_slice(out, node->name);
        break;
    case AST_MEMBER:
        print(out, first);
        buf_printf(out, ".%s", node->name.ptr);
        break;
    case AST_INDEX:
        print(out, first);
        buf_append_char(out, '[');
        print(out, first->next);
        buf_append_char(out, ']');
        break;
    case AST_UNARY:
        buf_printf(out, "(%s", operators[node->op]);
        print(out, first);
        buf_append_char(out, ')');
        break;
    case AST_BINARY:
        buf_append_char(out, '(');
        print(out, first);
        buf_printf(out, " %s ", operators[node->op]);
        print(out, first->next);
        buf_append_char(out, ')');
        break;
    case AST_CALL:
        buf_printf(out, "%s%.*s(", node->is_udf ? "udf." : "", (int) node->name.len,
                   node->name.ptr);
        print_list(out, first, ", ");
        buf_append_char(out, ')');
        break;
    case AST_ARRAY:
        buf_append_char(out, '[');
        print_list(out, first, ", ");
        buf_append_char(out, ']');
        break;
    case AST_OBJECT:
        buf_append_char(out, '{');
        print_list(out, first, ", ");
        buf_append_char(out, '}');
        break;
    default:
        buf_append_text(out, node->is_negated ? "(NOT " : "(");
        print_list(out, first, separators[node->kind]);
        buf_append_char(out, ')');
    }
}

static void parses_as(const char *text, const char *expected)
{
    struct arena arena;
    struct ast_query query;
    struct fault fault;
    struct buf out = {0};

    arena_init(&arena, 1 << 20);
    char *full = arena_printf(&arena, "SELECT VALUE %s FROM c", text);
    assert_non_null(full);
    if (!parser_query(&arena, slice_from_text(full), &query, &fault))
        fail_msg("%s: %s", text, fault.message);
    print(&out, query.projection);
    assert_string_equal(buf_text(&out), expected);
    buf_finish(&out);
    arena_finish(&arena);
}

/* Refused with a message that holds these words. */
static void refused(const char *text, const char *words)
{
    struct arena arena;
    struct ast_query query;
    struct fault fault = {0};

    arena_init(&arena, 1 << 20);
    if (parser_query(&arena, slice_from_text(text), &query, &fault))
        fail_msg("accepted: %s", text);
    assert_int_equal(fault.status, 400);
    cJSON *json = cJSON_Parse(fault.message);
    if (json == NULL || strstr(fault.message, words) == NULL)
        fail_msg("%s: %s", text, fault.message);
    cJSON_Delete(json);
    arena_finish(&arena);
}

static void what_is_no_query_is_refused_where_it_goes_wrong(void **state)
{
    (void) state;
    refused("", "unexpected end-of-file");
    refused("SELECT", "\"start\":6,\"end\":6");
    refused("SELECT FROM c", "\"start\":7,\"end\":11},\"code\":\"SC1001\"");
    refused("SELECT c.id, FROM c", "near 'FROM'");
    refused("SELECT * FROM", "unexpected end-of-file");
    refused("SELECT * FROM c WHERE", "unexpected end-of-file");
    refused("SELECT VALUE * FROM c", "near '*'");
    refused("SELECT *, c.id FROM c", "near ','");
    refused("SELECT * FROM c WHERE c.id IN ()", "near ')'");
    refused("SELECT * FROM c WHERE c.id IN (1,)", "near ')'");
    refused("SELECT * FROM c WHERE c.id IN (SELECT VALUE 1)", "near 'SELECT'");
    refused("SELECT * FROM c WHERE c.id IS NULL", "near 'IS'");
    refused("SELECT * FROM c WHERE c.id = 'abc", "near ''abc'");
    refused("SELECT * FROM c WHERE c.id ==  1", "\"start\":28,\"end\":29");
    refused("SELECT * FROM c WHERE 1 BETWEEN 2 AND 3 BETWEEN 4 AND 5", "near 'BETWEEN'");
    refused("SELECT * FROM c WHERE 1 BETWEEN 2 OR 3", "near 'OR'");
    refused("SELECT * FROM c WHERE c.x NOT 1", "SC1001");
    refused("SELECT * FROM c WHERE c.left = 1", "near 'left'");
    refused("SELECT * FROM c WHERE c.order = 1", "near 'order'");
    refused("SELECT * FROM c WHERE c. = 1", "near '='");
    refused("SELECT * FROM c WHERE c.12a = 1", "SC1001");
    refused("SELECT * FROM c WHERE c[] = 1", "near ']'");
    refused("SELECT * FROM c WHERE c.a LIKE 'x' ESCAPE 'ab'", "near ''ab''");
    refused("SELECT * FROM c WHERE c.a LIKE 'x' ESCAPE ''", "near ''''");
    refused("SELECT * FROM c WHERE c.a LIKE 'x' ESCAPE '\\\\'", "SC1001");
    refused("SELECT * FROM c WHERE TRUE", "near 'TRUE'");
    refused("SELECT * FROM c WHERE Null = 1", "near 'Null'");
    refused("SELECT VALUE [1,] FROM c", "near ']'");
    refused("SELECT VALUE [,1] FROM c", "near ','");
    refused("SELECT VALUE {a:1,} FROM c", "near '}'");
    refused("SELECT VALUE {1:1} FROM c", "near '1'");
    refused("SELECT VALUE {a 1} FROM c", "near '1'");
    refused("SELECT VALUE (1 FROM c", "near 'FROM'");
    refused("SELECT VALUE ABS(1 FROM c", "near 'FROM'");
    refused("SELECT VALUE 1 ? 2 FROM c", "near 'FROM'");
    refused("SELECT VALUE EXISTS(1) FROM c", "near '1'");
    refused("SELECT VALUE UDF.x(1) FROM c", "near 'UDF'");
    refused("SELECT VALUE udf(1) FROM c", "near '('");
    refused("SELECT * FROM c WHERE c.id = 1; DROP TABLE items", "near ';'");
    refused("SELECT * FROM c c2 c3", "near 'c3'");
    refused("SELECT * FROM 'c'", "SC1001");
    refused("DELETE FROM c", "\"start\":0,\"end\":6");
    refused("SELECT * FROM c AS", "unexpected end-of-file");
}

static void precedence_is_that_of_the_service(void **state)
{
    (void) state;
    parses_as("1 ? 2 ?? 3 : 4", "(1 ? (2 ?? 3) ? 4)");
    parses_as("1 ? 2 : 3 + 4", "(1 ? 2 ? (3 + 4))");
    parses_as("1 ? 2 : 3 ? 4 : 5", "(1 ? 2 ? (3 ? 4 ? 5))");
    parses_as("1 + 2 < 2 + 3 <= 10 - 4", "(((1 + 2) < (2 + 3)) <= (10 - 4))");
    parses_as("1 > 2 = false AND 1 > 2 != true", "(((1 > 2) = false) AND ((1 > 2) != true))");
    parses_as("1 = 2 & 3 <> 4", "((1 = 2) & (3 != 4))");
    parses_as("1 | 2 & 3 ^ 4", "(1 | ((2 & 3) ^ 4))");
    parses_as("1 OR 2 AND 3 OR 4", "(1 OR (2 AND 3) OR 4)");
    parses_as("1 || 2 OR 3 || 4", "((1 || 2) OR (3 || 4))");
    parses_as("-2 < 1", "(-2 < 1)");
    parses_as("- 2 - -3", "(-2 - -3)");
    parses_as("-c.a - - c.b", "((-c.a) - (-c.b))");
    parses_as("~+c.a", "(~(+c.a))");
    parses_as("true ? {\"x\":1} : {\"x\":2}.x", "(true ? {x:1} ? {x:2}.x)");
    parses_as("c.ab-cd", "(c.ab - cd)");
    parses_as("NOT c.a = 1 AND c.b", "((NOT (c.a = 1)) AND c.b)");
    parses_as("NOT NOT c.a", "(NOT (NOT c.a))");
    parses_as("1 = NOT c.a", "(1 = (NOT c.a))");
    parses_as("10 - 4 - 3 * 2 % 5", "((10 - 4) - ((3 * 2) % 5))");
    parses_as("1 << 2 + 3 >>> 4 >> 5", "(((1 << (2 + 3)) >>> 4) >> 5)");
    parses_as("a ?? b ?? c", "((a ?? b) ?? c)");
    parses_as("c.a BETWEEN 1 + 1 AND 3 AND c.b", "((c.a BETWEEN (1 + 1) BETWEEN 3) AND c.b)");
    parses_as("c.a NOT BETWEEN 1 AND 3", "(NOT c.a BETWEEN 1 BETWEEN 3)");
    parses_as("c.a NOT IN (1, c.b)", "(NOT c.a IN 1 IN c.b)");
    parses_as("c.a LIKE 'x' || '%' ESCAPE '!'", "(c.a LIKE ('x' || '%'))");
    parses_as("(1 OR 2) AND 3", "((1 OR 2) AND 3)");
}

static void every_form_of_primary_is_read(void **state)
{
    (void) state;
    parses_as("c[\"my key\"]['order'].x[0][@p]", "c.my key.order.x[0][@p]");
    parses_as("[1, [], {}, null, undefined, 'x']", "[1, [], {}, null, undefined, 'x']");
    parses_as("{a: 1, \"b c\": {d: @p}}", "{a:1, b c:{d:@p}}");
    parses_as("LEFT('a', 1) || right('b', 2)", "(LEFT('a', 1) || right('b', 2))");
    parses_as("udf.ALL(1, c)", "udf.ALL(1, c)");
    parses_as("first.x", "first.x");
    parses_as("c.ALL", "c.ALL");
    parses_as("PI()", "PI()");
    parses_as("[NaN, -Infinity]", "[nan, (-inf)]");
    parses_as("[1, 2][0]", "[1, 2][0]");
    parses_as("'abc'.length", "'abc'.length");
}

static void a_select_list_names_its_items(void **state)
{
    struct arena arena;
    struct ast_query query;
    struct fault fault;
    struct buf out = {0};

    (void) state;
    arena_init(&arena, 1 << 20);
    assert_true(parser_query(
        &arena,
        SLICE_LITERAL("SELECT 1, c.id, c.a.b AS x, c[\"y z\"], c.a[0], c, 2 d FROM root AS c"),
        &query, &fault));
    print(&out, query.projection);
    assert_string_equal(buf_text(&out), "{$1:1, id:c.id, x:c.a.b, y z:c.y z, $2:c.a[0], c:c, d:2}");
    assert_true(slice_equals_text(query.sources->path->name, "root"));
    assert_true(slice_equals_text(query.sources->alias, "c"));
    assert_null(query.where);
    buf_finish(&out);
    arena_finish(&arena);
}

static void nodes_know_their_place(void **state)
{
    struct arena arena;
    struct ast_query query;
    struct fault fault;

    (void) state;
    arena_init(&arena, 1 << 20);
    assert_true(parser_query(&arena, SLICE_LITERAL("SELECT * FROM c WHERE (c.ab + -1) >= ABS( 5 )"),
                             &query, &fault));
    assert_int_equal(query.where->span.start, 22);
    assert_int_equal(query.where->span.end, 45);
    assert_int_equal(query.where->children->span.start, 22);
    assert_int_equal(query.where->children->span.end, 33);
    assert_int_equal(query.where->children->next->span.start, 37);
    assert_int_equal(query.where->children->next->span.end, 45);
    assert_int_equal(query.where->children->next->name_span.end, 40);
    const struct ast *sum = query.where->children;
    assert_int_equal(sum->children->name_span.start, 25);
    assert_int_equal(sum->children->next->span.start, 30);
    assert_int_equal(sum->children->next->span.end, 32);
    arena_finish(&arena);
}

static void a_condition_begins_with_from(void **state)
{
    static const char *const wrong[] = {"",
                                        "WHERE true",
                                        "SELECT * FROM c",
                                        "from c where",
                                        "c.a = 1",
                                        "from c where true order by c.a"};
    struct arena arena;
    struct ast_query query;
    struct fault fault;

    (void) state;
    arena_init(&arena, 1 << 20);
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        assert_false(parser_condition(&arena, slice_from_text(wrong[i]), &query, &fault));
        assert_int_equal(fault.status, 400);
    }
    assert_true(parser_condition(&arena, SLICE_LITERAL("from c where c.a = 1"), &query, &fault));
    assert_non_null(query.where);
    assert_true(parser_condition(&arena, SLICE_LITERAL("FROM c"), &query, &fault));
    assert_null(query.where);
    arena_finish(&arena);
}

/* A text made of repeated pieces; whether it parses. */
static bool repeated(const char *before, const char *piece, size_t times, const char *after,
                     struct fault *fault)
{
    struct arena arena;
    struct ast_query query;
    struct buf text = {0};

    arena_init(&arena, 256u << 20);
    buf_append_text(&text, before);
    for (size_t i = 0; i < times; i++)
        buf_append_text(&text, piece);
    buf_append_text(&text, after);
    *fault = (struct fault){0};
    bool parses = parser_query(&arena, buf_slice(&text), &query, fault);
    assert_true(parses || fault->status == 400);
    buf_finish(&text);
    arena_finish(&arena);
    return parses;
}

static void nesting_is_limited_in_every_form(void **state)
{
    static const char *const pieces[] = {"(",      "[",     "{a:",      "- ", "NOT ",
                                         "~",      "ABS(",  "1 ? 1 : ", "c[", "1 ? ",
                                         "1 IN (", "1 + (", "NOT (",    "+ -"};
    static const char *const chains[] = {".a", "[0]", "+1", "||1", "*1", "??1", "=1", "<1"};
    struct fault fault;

    (void) state;
    for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
        assert_false(repeated("SELECT * FROM c WHERE ", pieces[i], 60000, "1", &fault));
        assert_non_null(strstr(fault.message, "nested deeper"));
    }
    for (size_t i = 0; i < ARRAY_LEN(chains); i++) {
        assert_true(repeated("SELECT * FROM c WHERE c", chains[i], 200, "", &fault));
        assert_false(repeated("SELECT * FROM c WHERE c", chains[i], 60000, "", &fault));
        assert_non_null(strstr(fault.message, "nested deeper"));
    }
    assert_true(repeated("SELECT * FROM c WHERE ", "(", 200, "1", &fault) == false);
    assert_non_null(strstr(fault.message, "unexpected end-of-file"));
}

static void generated_alternatives_may_be_many(void **state)
{
    struct fault fault;

    (void) state;
    assert_true(repeated("SELECT * FROM c WHERE (c.id = @a)", " OR (c.id = @b AND c.pk = 'x')",
                         5000, "", &fault));
    assert_true(repeated("SELECT * FROM c WHERE c.id IN ('a'", ", 'a'", 20000, ")", &fault));
    assert_false(repeated("SELECT * FROM c WHERE c.id IN (1", ",1", AST_CHILDREN_MAX, ")", &fault));
    assert_non_null(strstr(fault.message, "a list has more than 65536 items"));
    assert_false(repeated("SELECT * FROM c WHERE 1", " AND 1", AST_CHILDREN_MAX, "", &fault));
}

static void text_is_limited_in_characters(void **state)
{
    struct fault fault;
    size_t rest = PARSER_TEXT_MAX - strlen("SELECT * FROM c--");

    (void) state;
    assert_true(repeated("SELECT * FROM c--", "\xc3\xa4", rest, "", &fault));
    assert_false(repeated("SELECT * FROM c--", "\xc3\xa4", rest + 1, "", &fault));
    assert_non_null(strstr(fault.message, "longer than 524288"));
    assert_false(repeated("SELECT * FROM c--", "x", 5000000, "", &fault));
    assert_false(repeated("SELECT * FROM c --", "\xff", 1, "", &fault));
    assert_non_null(strstr(fault.message, "UTF-8"));
}

static void exhausted_memory_is_a_503_at_every_place(void **state)
{
    struct slice text = SLICE_LITERAL("SELECT c.a AS b, {x: [1, 'y', @z], n: NaN} FROM c WHERE NOT "
                                      "c.a[0] IN (1, 2) AND c.b BETWEEN 1 AND 2 "
                                      "OR c.d LIKE 'x' ? ABS(-c.e) : c.f ?? null");
    struct ast_query query;
    struct fault fault;
    bool parses = false;

    (void) state;
    for (size_t max = 0; !parses; max += 64) {
        struct arena arena;

        arena_init(&arena, max);
        fault = (struct fault){0};
        parses = parser_query(&arena, text, &query, &fault);
        assert_true(parses || fault.status == 503);
        arena_finish(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_no_query_is_refused_where_it_goes_wrong),
        cmocka_unit_test(precedence_is_that_of_the_service),
        cmocka_unit_test(every_form_of_primary_is_read),
        cmocka_unit_test(a_select_list_names_its_items),
        cmocka_unit_test(nodes_know_their_place),
        cmocka_unit_test(a_condition_begins_with_from),
        cmocka_unit_test(nesting_is_limited_in_every_form),
        cmocka_unit_test(generated_alternatives_may_be_many),
        cmocka_unit_test(text_is_limited_in_characters),
        cmocka_unit_test(exhausted_memory_is_a_503_at_every_place),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
