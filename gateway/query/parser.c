#include "query/parser.h"

#include "base/utf8.h"
#include "query/lexer.h"
#include "query/text.h"

#include <math.h>

#include "base/banned.h"

struct parser {
    struct arena *arena;
    struct slice text;
    struct lexer lexer;
    struct token token;      /* the one to be looked at */
    uint32_t last_end;       /* where the one before it ends */
    unsigned depth;          /* of calls that recurse */
    struct ast_query *query; /* the one being read */
    struct ast_query *statement;
    struct fault *fault;
};

static struct ast *expression(struct parser *p);
static struct ast *unary(struct parser *p);
static bool query_rule(struct parser *p, struct ast_query *query);

static bool advance(struct parser *p)
{
    p->last_end = p->token.span.end;
    return lexer_next(&p->lexer, &p->token, p->fault);
}

static bool at(const struct parser *p, int punctuation)
{
    return p->token.kind == TOKEN_PUNCTUATION && p->token.punctuation == punctuation;
}

static bool at_keyword(const struct parser *p, enum keyword keyword)
{
    return p->token.kind == TOKEN_KEYWORD && p->token.keyword == keyword;
}

static bool syntax(struct parser *p)
{
    return diagnosis_syntax(p->fault, p->text, p->token.span);
}

/* The same where a node was to be given. */
static struct ast *misplaced(struct parser *p)
{
    syntax(p);
    return NULL;
}

static struct ast *oom(struct parser *p)
{
    fault_set_oom(p->fault);
    return NULL;
}

static bool expect(struct parser *p, int punctuation)
{
    return at(p, punctuation) ? advance(p) : syntax(p);
}

static bool expect_keyword(struct parser *p, enum keyword keyword)
{
    return at_keyword(p, keyword) ? advance(p) : syntax(p);
}

static struct ast *too_deep(struct parser *p, struct span span)
{
    diagnosis_set(
        p->fault, p->text, span, "SC1001",
        "Syntax error, the expression is nested deeper than %d levels or lists more than %d items.",
        AST_DEPTH_MAX, AST_CHILDREN_MAX);
    return NULL;
}

/* Called where the grammar recurses; every call that answered true is undone by leave. */
static bool enter(struct parser *p)
{
    if (p->depth >= PARSER_DEPTH_MAX)
        return too_deep(p, p->token.span) != NULL;
    p->depth++;
    return true;
}

static struct ast *leave(struct parser *p, struct ast *node)
{
    p->depth--;
    return node;
}

/* A node that begins at the current token. */
static struct ast *node_here(struct parser *p, enum ast_kind kind)
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
        return too_deep(p, child->span);
    return node;
}

/* Append a child that may have failed to parse. */
static bool append(struct parser *p, struct ast *parent, struct ast *child)
{
    if (child == NULL)
        return false;
    return ast_append(parent, child) || too_deep(p, child->span) != NULL;
}

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
    struct ast *node = node_here(p, AST_CONSTANT);
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

/* A name as a terminated copy, because members are looked up by terminated names. */
static bool name_set(struct parser *p, struct slice *name, struct slice spelled)
{
    *name = slice_make(arena_copy(p->arena, spelled.ptr, spelled.len), spelled.len);
    return name->ptr != NULL || fault_set_oom(p->fault);
}

/* "(" [ expr { "," expr } ] ")", the current token being what follows the opening one. */
static bool list(struct parser *p, struct ast *parent, int closing, bool may_be_empty)
{
    if (at(p, closing) && may_be_empty) {
        parent->span.end = p->token.span.end;
        return advance(p);
    }
    for (;;) {
        if (!append(p, parent, expression(p)))
            return false;
        if (at(p, closing)) {
            parent->span.end = p->token.span.end;
            return advance(p);
        }
        if (!expect(p, ','))
            return false;
    }
}

/* query ")", the current token being what follows the opening one; start is where the whole begins
 */
static struct ast *subquery(struct parser *p, enum ast_kind kind, uint32_t start)
{
    struct ast_query *outer = p->query;
    struct ast *node = node_here(p, kind);
    struct ast_query *query = arena_alloc(p->arena, sizeof(*query));

    if (node == NULL || query == NULL)
        return oom(p);
    *query = (struct ast_query){.text = p->text, .outer = outer};
    node->query = p->query = query;
    if (!enter(p) || !query_rule(p, query))
        return NULL;
    p->depth--;
    p->query = outer;
    node->span = (struct span){start, p->token.span.end};
    if (query->depth >= AST_DEPTH_MAX)
        return too_deep(p, node->span);
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
        return subquery(p, quantifier(name), span.start);
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
    if (p->token.kind != TOKEN_NAME) {
        return misplaced(p);
    }
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

/* array = "[" [ expr { "," expr } ] "]" */
static struct ast *array(struct parser *p)
{
    struct ast *node = node_here(p, AST_ARRAY);

    return node != NULL && advance(p) && list(p, node, ']', true) ? node : NULL;
}

/* key ":" expr ; key = string | ident */
static struct ast *member(struct parser *p)
{
    struct slice key = p->token.string;

    if (p->token.kind == TOKEN_NAME) {
        if (!name_set(p, &key, p->token.spelled))
            return NULL;
    } else if (p->token.kind != TOKEN_STRING) {
        return misplaced(p);
    }
    if (!advance(p) || !expect(p, ':'))
        return NULL;
    struct ast *node = expression(p);
    if (node != NULL)
        node->key = key;
    return node;
}

/* object = "{" [ key ":" expr { "," key ":" expr } ] "}" */
static struct ast *object(struct parser *p)
{
    struct ast *node = node_here(p, AST_OBJECT);

    if (node == NULL || !advance(p))
        return NULL;
    if (!at(p, '}')) {
        while (append(p, node, member(p)) && at(p, ',')) {
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
        return subquery(p, AST_SUBQUERY, start);
    struct ast *node = expression(p);
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
    return at_keyword(p, KEYWORD_SELECT) ? subquery(p, kind, start) : misplaced(p);
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
        struct ast *node = node_here(p, AST_UNDEFINED);
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
static struct ast *primary(struct parser *p)
{
    struct ast *node;

    switch (p->token.kind) {
    case TOKEN_NUMBER:
        return constant(p, cJSON_Number);
    case TOKEN_STRING:
        return constant(p, cJSON_String);
    case TOKEN_PARAMETER:
        node = node_here(p, AST_PARAMETER);
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

/* "." ident, the current token being what follows the dot */
static struct ast *dot_step(struct parser *p, struct ast *base)
{
    struct ast *node = node_over(p, AST_MEMBER, base);

    if (node == NULL)
        return NULL;
    if (p->token.kind !=
        TOKEN_NAME) { /* reserved words are rejected here, by the service as well */
        return misplaced(p);
    }
    node->name_span = p->token.span;
    node->span.end = p->token.span.end;
    return name_set(p, &node->name, p->token.spelled) && advance(p) ? node : NULL;
}

/* "[" expr "]", the current token being what follows the bracket; a plain string is a member's name
 */
static struct ast *bracket_step(struct parser *p, struct ast *base)
{
    struct ast *node = node_over(p, AST_INDEX, base);
    struct ast *index = node != NULL ? expression(p) : NULL;

    if (index == NULL)
        return NULL;
    uint32_t end = p->token.span.end;
    if (index->kind == AST_CONSTANT && cJSON_IsString(index->value)) {
        node->kind = AST_MEMBER;
        node->is_bracketed = true;
        node->name = slice_from_text(index->value->valuestring);
        node->name_span = index->span;
    } else if (!append(p, node, index)) {
        return NULL;
    }
    node->span.end = end;
    return expect(p, ']') ? node : NULL;
}

/* postfix = primary { "." ident | "[" expr "]" } */
static struct ast *postfix(struct parser *p)
{
    struct ast *node = primary(p);

    while (node != NULL && (at(p, '.') || at(p, '['))) {
        bool is_dot = at(p, '.');

        if (!advance(p))
            return NULL;
        node = is_dot ? dot_step(p, node) : bracket_step(p, node);
    }
    return node;
}

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
    struct ast *node = node_here(p, AST_UNARY);
    if (node == NULL || !advance(p))
        return NULL;
    if (op == AST_MINUS && p->token.kind == TOKEN_NUMBER)
        return negative_literal(p, start);
    node->op = op;
    if (!enter(p))
        return NULL;
    return leave(p, append(p, node, unary(p)) ? node : NULL);
}

/*
 * The left-associative operators, a row for each; a higher level binds tighter:
 *
 *     concat = bor { "||" bor } ;            bor = bxor { "|" bxor } ;      bxor = band { "^" band
 * } ; band = equality { "&" equality } ;     equality = relation { ( "=" | "!=" | "<>" ) relation }
 * ; relation = shift { ( "<" | "<=" | ">" | ">=" ) shift } ; shift = add { ( "<<" | ">>" | ">>>" )
 * add } ; add = mul { ( "+" | "-" ) mul } ;      mul = unary { ( "*" | "/" | "%" ) unary } ;
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

        if (parent == NULL || !advance(p) || !append(p, parent, binary(p, row->level + 1)))
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

/* "BETWEEN" concat "AND" concat */
static struct ast *between(struct parser *p, struct ast *needle)
{
    struct ast *node = node_over(p, AST_BETWEEN, needle);

    if (node == NULL || !advance(p) || !append(p, node, concat(p)) ||
        !expect_keyword(p, KEYWORD_AND) || !append(p, node, concat(p)))
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

    if (node == NULL || !advance(p) || !append(p, node, concat(p)))
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
    struct ast *node = node_here(p, AST_UNARY);
    if (node == NULL || !advance(p) || !enter(p))
        return NULL;
    node->op = AST_NOT;
    return leave(p, append(p, node, not_rule(p)) ? node : NULL);
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
        if (!advance(p) || !append(p, node, operand(p)))
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
        if (node == NULL || !advance(p) || !append(p, node, or_rule(p)))
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
    if (node == NULL || !advance(p) || !append(p, node, expression(p)) || !expect(p, ':') ||
        !append(p, node, expression(p)))
        return NULL;
    return node;
}

static struct ast *expression(struct parser *p)
{
    if (!enter(p))
        return NULL;
    return leave(p, expression_rule(p));
}

/* A complete expression of the query that is being read, which is as deep as the deepest. */
static struct ast *clause_expression(struct parser *p)
{
    struct ast *node = expression(p);

    if (node != NULL && node->depth > p->query->depth)
        p->query->depth = node->depth;
    return node;
}

/* [ [ "AS" ] ident ]; what is not written stays as it was */
static bool alias(struct parser *p, struct slice *name, struct span *span)
{
    bool is_announced = at_keyword(p, KEYWORD_AS);

    if (is_announced && !advance(p))
        return false;
    if (p->token.kind != TOKEN_NAME)
        return is_announced ? syntax(p) : true;
    *name = p->token.spelled;
    *span = p->token.span;
    return advance(p);
}

/* item = expr [ [ "AS" ] ident ] ; unnamed ones take the last property step, or $1, $2, … */
static struct ast *item(struct parser *p, unsigned *unnamed_count)
{
    struct ast *node = expression(p);
    struct slice name = {0};
    struct span span;

    if (node == NULL || !alias(p, &name, &span))
        return NULL;
    node->is_named = name.ptr != NULL;
    if (!node->is_named && (node->kind == AST_MEMBER || node->kind == AST_ALIAS))
        name = node->name;
    if (name.ptr == NULL) {
        char *text = arena_printf(p->arena, "$%u", ++*unnamed_count);
        node->key = slice_from_text(text);
        return text != NULL || fault_set_oom(p->fault) ? node : NULL;
    }
    return name_set(p, &node->key, name) ? node : NULL;
}

/* item { "," item } as an object literal */
static struct ast *items(struct parser *p)
{
    struct ast *node = node_here(p, AST_OBJECT);
    unsigned unnamed_count = 0;

    if (node == NULL)
        return NULL;
    while (append(p, node, item(p, &unnamed_count))) {
        if (!at(p, ',')) {
            if (node->depth > p->query->depth)
                p->query->depth = node->depth;
            return node;
        }
        if (!advance(p))
            return NULL;
    }
    return NULL;
}

/* Note where a clause is, as far as its first word, and move past that. */
static bool clause(struct parser *p, struct ast_query *query, enum ast_clause which)
{
    query->clause_spans[which] = p->token.span;
    return advance(p);
}

/* int | param, of TOP, OFFSET and LIMIT */
static struct ast *count(struct parser *p)
{
    if (p->token.kind != TOKEN_NUMBER && p->token.kind != TOKEN_PARAMETER)
        return misplaced(p);
    return primary(p);
}

/* "TOP" ( int | param ) */
static bool top_clause(struct parser *p, struct ast_query *query)
{
    if (!clause(p, query, CLAUSE_TOP) || (query->top = count(p)) == NULL)
        return false;
    query->clause_spans[CLAUSE_TOP].end = p->last_end;
    return true;
}

/* select = "SELECT" [ "DISTINCT" ] [ "TOP" … ] ( "*" | "VALUE" expr | item { "," item } ) ; */
static bool select_clause(struct parser *p, struct ast_query *query)
{
    if (!expect_keyword(p, KEYWORD_SELECT))
        return false;
    query->is_distinct = at_keyword(p, KEYWORD_DISTINCT);
    if (query->is_distinct && !clause(p, query, CLAUSE_DISTINCT))
        return false;
    if (at_keyword(p, KEYWORD_TOP) && !top_clause(p, query))
        return false;
    query->clause_spans[CLAUSE_PROJECTION] = p->token.span;
    query->is_star = at(p, '*');
    if (query->is_star)
        return advance(p);
    query->is_value = at_keyword(p, KEYWORD_VALUE);
    if (query->is_value)
        query->projection = advance(p) ? clause_expression(p) : NULL;
    else
        query->projection = items(p);
    return query->projection != NULL;
}

/* "[" int "]" | "[" string "]", the current token being what follows the bracket */
static struct ast *constant_step(struct parser *p, struct ast *base)
{
    bool is_index = p->token.kind == TOKEN_NUMBER && trunc(p->token.number) == p->token.number;

    if (!is_index && p->token.kind != TOKEN_STRING)
        return misplaced(p);
    return bracket_step(p, base);
}

/* ident { step } ; the ident was read; step = "." ident | "[" int "]" | "[" string "]" ; */
static struct ast *path(struct parser *p, const struct token *root)
{
    struct ast *node = ast_create(p->arena, AST_ALIAS, root->span);

    if (node == NULL)
        return oom(p);
    node->name = root->spelled;
    node->name_span = root->span;
    while (node != NULL && (at(p, '.') || at(p, '['))) {
        bool is_dot = at(p, '.');

        if (!advance(p))
            return NULL;
        node = is_dot ? dot_step(p, node) : constant_step(p, node);
    }
    if (node != NULL && node->depth > p->query->depth)
        p->query->depth = node->depth;
    return node;
}

/* "(" query ")" as what a source reads */
static bool source_query(struct parser *p, struct ast_source *source)
{
    uint32_t start = p->token.span.start;

    if (!advance(p))
        return false;
    if (!at_keyword(p, KEYWORD_SELECT))
        return syntax(p);
    struct ast *node = subquery(p, AST_SUBQUERY, start);
    if (node == NULL)
        return false;
    if (node->depth > p->query->depth)
        p->query->depth = node->depth;
    source->query = node->query;
    return true;
}

/* ident "IN" collection ; collection = ident { step } | "(" query ")" ; the ident was read */
static bool array_source(struct parser *p, struct ast_source *source, const struct token *name)
{
    source->kind = SOURCE_ARRAY;
    source->is_aliased = true;
    source->alias = name->spelled;
    source->alias_span = name->span;
    if (!advance(p))
        return false;
    if (at(p, '('))
        return source_query(p, source);
    struct token root = p->token;
    if (root.kind != TOKEN_NAME)
        return syntax(p);
    return advance(p) && (source->path = path(p, &root)) != NULL;
}

/* collection [ [ "AS" ] ident ] ; what path begins with was read; a path is named by its last step
 */
static bool named_source(struct parser *p, struct ast_source *source, const struct token *root)
{
    if (root == NULL) {
        source->kind = SOURCE_QUERY;
        if (!source_query(p, source))
            return false;
    } else {
        source->kind = SOURCE_PATH;
        source->path = path(p, root);
        if (source->path == NULL)
            return false;
        if (source->path->kind != AST_INDEX) {
            source->alias = source->path->name;
            source->alias_span = source->path->name_span;
        }
    }
    struct slice written = {0};
    if (!alias(p, &written, &source->alias_span))
        return false;
    source->is_aliased = written.ptr != NULL;
    if (source->is_aliased)
        source->alias = written;
    return true;
}

/* source = ident "IN" collection | collection [ [ "AS" ] ident ] ; */
static bool source_rule(struct parser *p, struct ast_source *source)
{
    struct token first = p->token;
    bool is_read;

    if (at(p, '('))
        is_read = named_source(p, source, NULL);
    else if (first.kind != TOKEN_NAME)
        return syntax(p);
    else if (!advance(p))
        return false;
    else if (at_keyword(p, KEYWORD_IN))
        is_read = array_source(p, source, &first);
    else
        is_read = named_source(p, source, &first);
    source->span = (struct span){first.span.start, p->last_end};
    return is_read;
}

/* from = "FROM" source { "JOIN" source } ; */
static bool from_clause(struct parser *p, struct ast_query *query)
{
    struct ast_source **end = &query->sources;

    if (!at_keyword(p, KEYWORD_FROM))
        return syntax(p);
    if (!clause(p, query, CLAUSE_FROM))
        return false;
    for (;;) {
        struct ast_source *source = arena_alloc(p->arena, sizeof(*source));

        if (source == NULL)
            return fault_set_oom(p->fault);
        *end = source;
        end = &source->next;
        query->source_count++;
        if (!source_rule(p, source))
            return false;
        if (!at_keyword(p, KEYWORD_JOIN))
            return true;
        if (query->source_count == 1)
            query->clause_spans[CLAUSE_JOIN] = p->token.span;
        if (!advance(p))
            return false;
    }
}

/* where = "WHERE" expr ; */
static bool where_clause(struct parser *p, struct ast_query *query)
{
    if (!at_keyword(p, KEYWORD_WHERE))
        return true;
    if (!advance(p))
        return false;
    query->where = clause_expression(p);
    return query->where != NULL;
}

/* group_by = "GROUP" "BY" expr { "," expr } ; */
static bool group_clause(struct parser *p, struct ast_query *query)
{
    if (!at_keyword(p, KEYWORD_GROUP))
        return true;
    if (!clause(p, query, CLAUSE_GROUP))
        return false;
    query->clause_spans[CLAUSE_GROUP].end = p->token.span.end;
    query->group_by = node_here(p, AST_ARRAY);
    if (query->group_by == NULL || !expect_keyword(p, KEYWORD_BY))
        return false;
    query->group_by->span = p->token.span;
    while (append(p, query->group_by, clause_expression(p))) {
        if (!at(p, ','))
            return true;
        if (!advance(p))
            return false;
    }
    return false;
}

/* expr [ "ASC" | "DESC" ] */
static bool order_item(struct parser *p, struct ast_order *order)
{
    order->expression = clause_expression(p);
    if (order->expression == NULL)
        return false;
    order->is_descending = at_keyword(p, KEYWORD_DESC);
    order->has_direction = order->is_descending || at_keyword(p, KEYWORD_ASC);
    return !order->has_direction || advance(p);
}

/*
 * order_by = "ORDER" "BY" expr [ "ASC" | "DESC" ] { "," expr [ "ASC" | "DESC" ] }
 *          | "ORDER" "BY" "RANK" call [ "ASC" | "DESC" ] { "," call [ "ASC" | "DESC" ] } ;
 */
static bool order_clause(struct parser *p, struct ast_query *query)
{
    struct ast_order **end = &query->order_by;

    if (!at_keyword(p, KEYWORD_ORDER))
        return true;
    if (!clause(p, query, CLAUSE_ORDER) || !expect_keyword(p, KEYWORD_BY))
        return false;
    query->order_is_rank = at_keyword(p, KEYWORD_RANK);
    if (query->order_is_rank && !advance(p))
        return false;
    for (;;) {
        struct ast_order *order = arena_alloc(p->arena, sizeof(*order));

        if (order == NULL)
            return fault_set_oom(p->fault);
        *end = order;
        end = &order->next;
        query->order_count++;
        if (!order_item(p, order))
            return false;
        query->clause_spans[CLAUSE_ORDER].end = p->last_end;
        if (!at(p, ','))
            return true;
        if (!advance(p))
            return false;
    }
}

/* offset_limit = "OFFSET" ( int | param ) "LIMIT" ( int | param ) ; */
static bool window_clause(struct parser *p, struct ast_query *query)
{
    if (!at_keyword(p, KEYWORD_OFFSET))
        return true;
    if (!clause(p, query, CLAUSE_OFFSET) || (query->offset = count(p)) == NULL)
        return false;
    if (!expect_keyword(p, KEYWORD_LIMIT) || (query->limit = count(p)) == NULL)
        return false;
    query->clause_spans[CLAUSE_OFFSET].end = p->last_end;
    return true;
}

/* query = select [ from ] [ where ] [ group_by ] [ order_by ] [ offset_limit ] ; */
static bool query_rule(struct parser *p, struct ast_query *query)
{
    uint32_t start = p->token.span.start;

    if (!select_clause(p, query) || (at_keyword(p, KEYWORD_FROM) && !from_clause(p, query)) ||
        !where_clause(p, query) || !group_clause(p, query) || !order_clause(p, query) ||
        !window_clause(p, query))
        return false;
    query->span = (struct span){start, p->last_end};
    return true;
}

static bool begin(struct parser *p, struct arena *arena, struct slice text, struct ast_query *query,
                  struct fault *fault)
{
    *p = (struct parser){
        .arena = arena, .text = text, .query = query, .statement = query, .fault = fault};
    *query = (struct ast_query){.text = text};
    fault->status = 0;
    /* Four bytes per character at most: cheap to refuse before anything is counted. */
    if (text.len > 4 * (size_t) PARSER_TEXT_MAX || text_units(text) > PARSER_TEXT_MAX)
        return fault_set(fault, 400, SUB_NONE, "the query text is longer than %d characters",
                         PARSER_TEXT_MAX);
    if (!utf8_is_valid(text))
        return fault_set(fault, 400, SUB_NONE, "the query text is not valid UTF-8");
    lexer_init(&p->lexer, arena, text);
    return advance(p);
}

static bool end(struct parser *p)
{
    return p->token.kind == TOKEN_END || syntax(p);
}

bool parser_query(struct arena *arena, struct slice text, struct ast_query *query,
                  struct fault *fault)
{
    struct parser p;

    return begin(&p, arena, text, query, fault) && query_rule(&p, query) && end(&p);
}

bool parser_condition(struct arena *arena, struct slice text, struct ast_query *query,
                      struct fault *fault)
{
    struct parser p;

    if (!begin(&p, arena, text, query, fault) || !from_clause(&p, query) ||
        !where_clause(&p, query) || !end(&p))
        return false;
    query->span = (struct span){0, p.last_end};
    return true;
}
