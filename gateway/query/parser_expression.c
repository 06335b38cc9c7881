#include "query/parser_rules.h"

#include "query/text.h"

#include "base/banned.h"

static struct ast *unary(struct parser *p);

/* ---- Nodes ---- */

static struct ast *too_deep(struct parser *p, struct span span, unsigned levels)
{
    diagnosis_set(p->fault, p->text, span, "SC1001",
                  "Syntax error, the expression is nested deeper than %u levels.", levels);
    return NULL;
}

struct ast *parser_too_deep(struct parser *p, struct span span)
{
    return too_deep(p, span, AST_DEPTH_MAX);
}

/* Called where the grammar recurses; every call that answered true is undone by leave. */
static bool enter(struct parser *p)
{
    if (p->depth >= PARSER_DEPTH_MAX)
        return too_deep(p, p->token.span, PARSER_DEPTH_MAX) != NULL;
    p->depth++;
    return true;
}

static struct ast *leave(struct parser *p, struct ast *node)
{
    p->depth--;
    return node;
}

struct ast *parser_node(struct parser *p, enum ast_kind kind)
{
    struct ast *node = ast_create(p->arena, kind, p->token.span);

    return node != NULL ? node : oom(p);
}

/* A node whose first child was read already. */
static struct ast *node_over(struct parser *p, enum ast_kind kind, struct ast *child)
{
    struct ast *node = ast_create(p->arena, kind, child->span);

    if (node == NULL)
        fault_set_oom(p->fault);
    else if (!ast_append(node, child))
        return parser_too_deep(p, child->span);
    return node;
}

bool parser_append(struct parser *p, struct ast *parent, struct ast *child)
{
    if (child == NULL)
        return false;
    if (parent->child_count >= AST_CHILDREN_MAX)
        return diagnosis_set(p->fault, p->text, child->span, "SC1001",
                             "Syntax error, a list has more than %d items.", AST_CHILDREN_MAX);
    return ast_append(parent, child) || parser_too_deep(p, child->span) != NULL;
}

/* ---- Constants and names ---- */

static cJSON *constant_value(struct parser *p, int type)
{
    cJSON *value = arena_alloc(p->arena, sizeof(*value));

    if (value == NULL)
        fault_set_oom(p->fault);
    else
        value->type = type;
    return value;
}

/* Make the current token a constant and move past it. */
static struct ast *constant(struct parser *p, int type)
{
    struct ast *node = parser_node(p, AST_CONSTANT);
    cJSON *value = node != NULL ? constant_value(p, type) : NULL;

    if (value == NULL)
        return NULL;
    if (type == cJSON_Number)
        value->valuedouble = p->token.number;
    if (type == cJSON_String)
        value->valuestring = (char *) (uintptr_t) p->token.string.ptr; /* never written to */
    node->value = value;
    return advance(p) ? node : NULL;
}

bool parser_name(struct parser *p, struct slice *name, struct slice spelled)
{
    *name = slice_make(arena_copy(p->arena, spelled.ptr, spelled.len), spelled.len);
    return name->ptr != NULL || fault_set_oom(p->fault);
}

/* [ expr { "," expr } ] ")", or another closing bracket */
static bool list(struct parser *p, struct ast *parent, int closing, bool may_be_empty)
{
    if (at(p, closing) && may_be_empty) {
        parent->span.end = p->token.span.end;
        return advance(p);
    }
    for (;;) {
        if (!parser_append(p, parent, parser_expression(p)))
            return false;
        if (at(p, closing)) {
            parent->span.end = p->token.span.end;
            return advance(p);
        }
        if (!expect(p, ','))
            return false;
    }
}

/* ---- Calls and queries inside ---- */

struct ast *parser_subquery(struct parser *p, enum ast_kind kind, uint32_t start)
{
    struct ast_query *outer = p->query;
    struct ast *node = parser_node(p, kind);
    struct ast_query *query = arena_alloc(p->arena, sizeof(*query));

    if (node == NULL || query == NULL)
        return oom(p);
    *query = (struct ast_query){.text = p->text, .outer = outer};
    node->query = p->query = query;
    if (!enter(p) || !parser_query_rule(p, query))
        return NULL;
    p->depth--;
    p->query = outer;
    node->span = (struct span){start, p->token.span.end};
    if (query->depth >= AST_DEPTH_MAX)
        return parser_too_deep(p, node->span);
    node->depth = (uint16_t) (query->depth + 1);
    return expect(p, ')') ? node : NULL;
}

/* What ALL, FIRST and LAST are before a query; otherwise they are names as any other. */
static enum ast_kind quantifier(struct slice name)
{
    if (slice_equals_nocase(name, "ALL"))
        return AST_ALL;
    if (slice_equals_nocase(name, "FIRST"))
        return AST_FIRST;
    return slice_equals_nocase(name, "LAST") ? AST_LAST : AST_CALL;
}

/*
 * call = name "(" [ expr { "," expr } ] ")" | ( "ALL" | "FIRST" | "LAST" ) "(" query ")" ;
 * the name was read, the current token is "("
 */
static struct ast *call(struct parser *p, struct slice name, struct span span)
{
    struct ast *node = ast_create(p->arena, AST_CALL, span);

    if (node == NULL)
        return oom(p);
    node->name = name;
    node->name_span = span;
    if (!expect(p, '('))
        return NULL;
    if (at_keyword(p, KEYWORD_SELECT) && quantifier(name) != AST_CALL)
        return parser_subquery(p, quantifier(name), span.start);
    return list(p, node, ')', true) ? node : NULL;
}

/* "udf" "." name "(" … ")" */
static struct ast *udf_call(struct parser *p)
{
    struct span start = p->token.span;

    if (!slice_equals_text(p->token.spelled, "udf")) /* lower case only */
        return misplaced(p);
    if (!advance(p) || !expect(p, '.'))
        return NULL;
    if (p->token.kind != TOKEN_NAME)
        return misplaced(p);
    struct slice name = p->token.spelled;
    struct span span = {start.start, p->token.span.end};
    if (!advance(p))
        return NULL;
    struct ast *node = call(p, name, span);
    if (node != NULL)
        node->is_udf = true;
    p->statement->udf_calls++;
    return node;
}

/* ---- Primaries ---- */

/* array = "[" [ expr { "," expr } ] "]" */
static struct ast *array(struct parser *p)
{
    struct ast *node = parser_node(p, AST_ARRAY);

    return node != NULL && advance(p) && list(p, node, ']', true) ? node : NULL;
}

/* key ":" expr ; key = string | ident */
static struct ast *member(struct parser *p)
{
    struct slice key = p->token.string;

    if (p->token.kind == TOKEN_NAME) {
        if (!parser_name(p, &key, p->token.spelled))
            return NULL;
    } else if (p->token.kind != TOKEN_STRING) {
        return misplaced(p);
    }
    if (!advance(p) || !expect(p, ':'))
        return NULL;
    struct ast *node = parser_expression(p);
    if (node != NULL)
        node->key = key;
    return node;
}

/* object = "{" [ key ":" expr { "," key ":" expr } ] "}" */
static struct ast *object(struct parser *p)
{
    struct ast *node = parser_node(p, AST_OBJECT);

    if (node == NULL || !advance(p))
        return NULL;
    if (!at(p, '}')) {
        while (parser_append(p, node, member(p)) && at(p, ',')) {
            if (!advance(p))
                return NULL;
        }
        if (p->fault->status != 0)
            return NULL;
    }
    node->span.end = p->token.span.end;
    return expect(p, '}') ? node : NULL;
}

/* "(" expr ")" | "(" query ")" */
static struct ast *bracket(struct parser *p)
{
    uint32_t start = p->token.span.start;

    if (!advance(p))
        return NULL;
    if (at_keyword(p, KEYWORD_SELECT))
        return parser_subquery(p, AST_SUBQUERY, start);
    struct ast *node = parser_expression(p);
    uint32_t end = p->token.span.end;
    if (node == NULL || !expect(p, ')'))
        return NULL;
    node->span = (struct span){start, end};
    return node;
}

/* ( "EXISTS" | "ARRAY" ) "(" query ")" */
static struct ast *query_primary(struct parser *p, enum ast_kind kind)
{
    uint32_t start = p->token.span.start;

    if (!advance(p) || !expect(p, '('))
        return NULL;
    return at_keyword(p, KEYWORD_SELECT) ? parser_subquery(p, kind, start) : misplaced(p);
}

/* true false null undefined (lower case only), LEFT( RIGHT( EXISTS( ARRAY( and udf. */
static struct ast *keyword_primary(struct parser *p)
{
    struct token word = p->token;

    if (slice_equals_text(word.spelled, "true"))
        return constant(p, cJSON_True);
    if (slice_equals_text(word.spelled, "false"))
        return constant(p, cJSON_False);
    if (slice_equals_text(word.spelled, "null"))
        return constant(p, cJSON_NULL);
    if (slice_equals_text(word.spelled, "undefined")) {
        struct ast *node = parser_node(p, AST_UNDEFINED);
        return node != NULL && advance(p) ? node : NULL;
    }
    if (word.keyword == KEYWORD_UDF)
        return udf_call(p);
    if (word.keyword == KEYWORD_EXISTS || word.keyword == KEYWORD_ARRAY)
        return query_primary(p, word.keyword == KEYWORD_EXISTS ? AST_EXISTS : AST_ARRAY_QUERY);
    if (word.keyword != KEYWORD_LEFT && word.keyword != KEYWORD_RIGHT)
        return misplaced(p);
    return advance(p) ? call(p, word.spelled, word.span) : NULL;
}

/* ident | call | the constants NaN and Infinity */
static struct ast *name_primary(struct parser *p)
{
    struct token word = p->token;

    if (!advance(p))
        return NULL;
    if (at(p, '('))
        return call(p, word.spelled, word.span);
    bool is_nan = slice_equals_text(word.spelled, "NaN");
    bool is_number = is_nan || slice_equals_text(word.spelled, "Infinity");
    struct ast *node = ast_create(p->arena, is_number ? AST_CONSTANT : AST_ALIAS, word.span);
    if (node == NULL)
        return oom(p);
    node->name = word.spelled;
    node->name_span = word.span;
    if (is_number) {
        cJSON *value = constant_value(p, cJSON_Number);
        if (value == NULL)
            return NULL;
        value->valuedouble = is_nan ? (double) __builtin_nanf("") : (double) __builtin_inff();
        node->value = value;
    }
    return node;
}

/* primary = literal | param | ident | "(" expr ")" | "(" query ")" | array | object | call | … */
struct ast *parser_primary(struct parser *p)
{
    struct ast *node;

    switch (p->token.kind) {
    case TOKEN_NUMBER:
        return constant(p, cJSON_Number);
    case TOKEN_STRING:
        return constant(p, cJSON_String);
    case TOKEN_PARAMETER:
        node = parser_node(p, AST_PARAMETER);
        if (node == NULL)
            return NULL;
        node->name = p->token.string;
        node->name_span = p->token.span;
        return advance(p) ? node : NULL;
    case TOKEN_NAME:
        return name_primary(p);
    case TOKEN_KEYWORD:
        return keyword_primary(p);
    default:
        if (at(p, '('))
            return bracket(p);
        if (at(p, '['))
            return array(p);
        if (at(p, '{'))
            return object(p);
        return misplaced(p);
    }
}

struct ast *parser_dot_step(struct parser *p, struct ast *base)
{
    struct ast *node = node_over(p, AST_MEMBER, base);

    if (node == NULL)
        return NULL;
    if (p->token.kind != TOKEN_NAME) /* reserved words are refused, by the service as well */
        return misplaced(p);
    node->name_span = p->token.span;
    node->span.end = p->token.span.end;
    return parser_name(p, &node->name, p->token.spelled) && advance(p) ? node : NULL;
}

static struct ast *bracket_step(struct parser *p, struct ast *base,
                                struct ast *read_index(struct parser *))
{
    struct ast *node = node_over(p, AST_INDEX, base);
    struct ast *index = node != NULL ? read_index(p) : NULL;

    if (index == NULL)
        return NULL;
    uint32_t end = p->token.span.end;
    if (index->kind == AST_CONSTANT && cJSON_IsString(index->value)) {
        node->kind = AST_MEMBER;
        node->is_bracketed = true;
        node->name = slice_from_text(index->value->valuestring);
        node->name_span = index->span;
    } else if (!parser_append(p, node, index)) {
        return NULL;
    }
    node->span.end = end;
    return expect(p, ']') ? node : NULL;
}

struct ast *parser_constant_step(struct parser *p, struct ast *base)
{
    return bracket_step(p, base, parser_primary);
}

/* postfix = primary { "." ident | "[" expr "]" } */
static struct ast *postfix(struct parser *p)
{
    struct ast *node = parser_primary(p);

    while (node != NULL && (at(p, '.') || at(p, '['))) {
        bool is_dot = at(p, '.');

        if (!advance(p))
            return NULL;
        node = is_dot ? parser_dot_step(p, node) : bracket_step(p, node, parser_expression);
    }
    return node;
}

/* ---- Operators ---- */

static enum ast_operator unary_operator(const struct parser *p)
{
    if (at_keyword(p, KEYWORD_NOT))
        return AST_NOT;
    if (at(p, '-'))
        return AST_MINUS;
    if (at(p, '+'))
        return AST_PLUS;
    return at(p, '~') ? AST_BIT_NOT : AST_NO_OPERATOR;
}

/* "-" before a literal number is part of it. */
static struct ast *negative_literal(struct parser *p, uint32_t start)
{
    p->token.number = -p->token.number;
    p->token.span.start = start;
    return constant(p, cJSON_Number);
}

/* unary = ( "-" | "+" | "~" | "NOT" ) unary | postfix ; */
static struct ast *unary(struct parser *p)
{
    enum ast_operator op = unary_operator(p);
    uint32_t start = p->token.span.start;

    if (op == AST_NO_OPERATOR)
        return postfix(p);
    struct ast *node = parser_node(p, AST_UNARY);
    if (node == NULL || !advance(p))
        return NULL;
    if (op == AST_MINUS && p->token.kind == TOKEN_NUMBER)
        return negative_literal(p, start);
    node->op = op;
    if (!enter(p))
        return NULL;
    return leave(p, parser_append(p, node, unary(p)) ? node : NULL);
}

/*
 * The left-associative operators, a row for each; a higher level binds tighter:
 *
 *     concat   = bor { "||" bor } ;
 *     bor      = bxor { "|" bxor } ;
 *     bxor     = band { "^" band } ;
 *     band     = equality { "&" equality } ;
 *     equality = relation { ( "=" | "!=" | "<>" ) relation } ;
 *     relation = shift { ( "<" | "<=" | ">" | ">=" ) shift } ;
 *     shift    = add { ( "<<" | ">>" | ">>>" ) add } ;
 *     add      = mul { ( "+" | "-" ) mul } ;
 *     mul      = unary { ( "*" | "/" | "%" ) unary } ;
 */
static const struct binary_operator {
    int punctuation;
    enum ast_operator op;
    int level;
} binary_operators[] = {
    {PUNCTUATION_CONCAT, AST_CONCAT, 1},
    {'|', AST_BIT_OR, 2},
    {'^', AST_BIT_XOR, 3},
    {'&', AST_BIT_AND, 4},
    {'=', AST_EQUAL, 5},
    {PUNCTUATION_NOT_EQUAL, AST_NOT_EQUAL, 5},
    {'<', AST_LESS, 6},
    {PUNCTUATION_LESS_EQUAL, AST_LESS_EQUAL, 6},
    {'>', AST_GREATER, 6},
    {PUNCTUATION_GREATER_EQUAL, AST_GREATER_EQUAL, 6},
    {PUNCTUATION_SHIFT_LEFT, AST_SHIFT_LEFT, 7},
    {PUNCTUATION_SHIFT_RIGHT, AST_SHIFT_RIGHT, 7},
    {PUNCTUATION_SHIFT_RIGHT_ZERO, AST_SHIFT_RIGHT_ZERO, 7},
    {'+', AST_ADD, 8},
    {'-', AST_SUBTRACT, 8},
    {'*', AST_MULTIPLY, 9},
    {'/', AST_DIVIDE, 9},
    {'%', AST_MODULO, 9},
};

static const struct binary_operator *binary_operator(const struct parser *p)
{
    for (size_t i = 0; i < ARRAY_LEN(binary_operators); i++) {
        if (at(p, binary_operators[i].punctuation))
            return &binary_operators[i];
    }
    return NULL;
}

/* Operators of that level and tighter ones: precedence climbing over the table above. */
static struct ast *binary(struct parser *p, int level)
{
    struct ast *node = unary(p);
    const struct binary_operator *row;

    while (node != NULL && (row = binary_operator(p)) != NULL && row->level >= level) {
        struct ast *parent = node_over(p, AST_BINARY, node);

        if (parent == NULL || !advance(p) || !parser_append(p, parent, binary(p, row->level + 1)))
            return NULL;
        parent->op = row->op;
        node = parent;
    }
    return node;
}

static struct ast *concat(struct parser *p)
{
    return binary(p, 1);
}

/* ---- Predicates and logic ---- */

/* "BETWEEN" concat "AND" concat */
static struct ast *between(struct parser *p, struct ast *needle)
{
    struct ast *node = node_over(p, AST_BETWEEN, needle);

    if (node == NULL || !advance(p) || !parser_append(p, node, concat(p)) ||
        !expect_keyword(p, KEYWORD_AND) || !parser_append(p, node, concat(p)))
        return NULL;
    return node;
}

/* "IN" "(" expr { "," expr } ")" */
static struct ast *in_list(struct parser *p, struct ast *needle)
{
    struct ast *node = node_over(p, AST_IN, needle);

    if (node == NULL || !advance(p) || !expect(p, '('))
        return NULL;
    return list(p, node, ')', false) ? node : NULL;
}

/* ESCAPE's string: one character, not a backslash */
static bool escape_character(struct parser *p, struct ast *node)
{
    size_t end = 0;

    if (p->token.kind != TOKEN_STRING || p->token.string.len == 0)
        return syntax(p);
    node->escape = text_next(p->token.string, &end);
    if (end != p->token.string.len || node->escape == '\\')
        return syntax(p);
    node->span.end = p->token.span.end;
    return advance(p);
}

/* "LIKE" concat [ "ESCAPE" string ] */
static struct ast *like(struct parser *p, struct ast *subject)
{
    struct ast *node = node_over(p, AST_LIKE, subject);

    if (node == NULL || !advance(p) || !parser_append(p, node, concat(p)))
        return NULL;
    if (at_keyword(p, KEYWORD_ESCAPE) && (!advance(p) || !escape_character(p, node)))
        return NULL;
    return node;
}

/* predicate = concat [ [ "NOT" ] ( BETWEEN … | IN … | LIKE … ) ] */
static struct ast *predicate(struct parser *p)
{
    struct ast *node = concat(p);

    if (node == NULL)
        return NULL;
    bool is_negated = at_keyword(p, KEYWORD_NOT);
    if (is_negated && !advance(p))
        return NULL;
    if (at_keyword(p, KEYWORD_BETWEEN))
        node = between(p, node);
    else if (at_keyword(p, KEYWORD_IN))
        node = in_list(p, node);
    else if (at_keyword(p, KEYWORD_LIKE))
        node = like(p, node);
    else if (is_negated)
        return misplaced(p);
    else
        return node;
    if (node != NULL)
        node->is_negated = is_negated;
    return node;
}

/*
 * not = "NOT" not | predicate ; so NOT a = b is NOT (a = b).
 * The published grammars disagree; generated queries always write the parentheses.
 */
static struct ast *not_rule(struct parser *p)
{
    if (!at_keyword(p, KEYWORD_NOT))
        return predicate(p);
    struct ast *node = parser_node(p, AST_UNARY);
    if (node == NULL || !advance(p) || !enter(p))
        return NULL;
    node->op = AST_NOT;
    return leave(p, parser_append(p, node, not_rule(p)) ? node : NULL);
}

typedef struct ast *rule(struct parser *p);

/* operand { keyword operand }, as one node when there are several */
static struct ast *chain(struct parser *p, enum ast_kind kind, enum keyword keyword, rule *operand)
{
    struct ast *first = operand(p);

    if (first == NULL || !at_keyword(p, keyword))
        return first;
    struct ast *node = node_over(p, kind, first);
    while (node != NULL && at_keyword(p, keyword)) {
        if (!advance(p) || !parser_append(p, node, operand(p)))
            return NULL;
    }
    return node;
}

/* and = not { "AND" not } */
static struct ast *and_rule(struct parser *p)
{
    return chain(p, AST_AND, KEYWORD_AND, not_rule);
}

/* or = and { "OR" and } */
static struct ast *or_rule(struct parser *p)
{
    return chain(p, AST_OR, KEYWORD_OR, and_rule);
}

/* coalesce = or { "??" or } */
static struct ast *coalesce(struct parser *p)
{
    struct ast *node = or_rule(p);

    while (node != NULL && at(p, PUNCTUATION_COALESCE)) {
        node = node_over(p, AST_COALESCE, node);
        if (node == NULL || !advance(p) || !parser_append(p, node, or_rule(p)))
            return NULL;
    }
    return node;
}

/* expr = coalesce [ "?" expr ":" expr ] */
static struct ast *expression_rule(struct parser *p)
{
    struct ast *condition = coalesce(p);

    if (condition == NULL || !at(p, '?'))
        return condition;
    struct ast *node = node_over(p, AST_CONDITIONAL, condition);
    if (node == NULL || !advance(p) || !parser_append(p, node, parser_expression(p)) ||
        !expect(p, ':') || !parser_append(p, node, parser_expression(p)))
        return NULL;
    return node;
}

struct ast *parser_expression(struct parser *p)
{
    if (!enter(p))
        return NULL;
    return leave(p, expression_rule(p));
}
