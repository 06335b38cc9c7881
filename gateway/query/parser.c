#include "query/parser.h"

#include "base/utf8.h"
#include "query/parser_rules.h"
#include "query/text.h"

#include <math.h>

#include "base/banned.h"

/* ---- SELECT ---- */

/* A complete expression of the query that is being read, which is as deep as the deepest. */
static struct ast *clause_expression(struct parser *p)
{
    struct ast *node = parser_expression(p);

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
    struct ast *node = parser_expression(p);
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
    return parser_name(p, &node->key, name) ? node : NULL;
}

/* item { "," item } as an object literal */
static struct ast *items(struct parser *p)
{
    struct ast *node = parser_node(p, AST_OBJECT);
    unsigned unnamed_count = 0;

    if (node == NULL)
        return NULL;
    while (parser_append(p, node, item(p, &unnamed_count))) {
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
    return parser_primary(p);
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

/* ---- FROM ---- */

/* "[" int "]" | "[" string "]", the current token being what follows the bracket */
static struct ast *constant_step(struct parser *p, struct ast *base)
{
    bool is_index = p->token.kind == TOKEN_NUMBER && trunc(p->token.number) == p->token.number;

    if (!is_index && p->token.kind != TOKEN_STRING)
        return misplaced(p);
    return parser_constant_step(p, base);
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
        node = is_dot ? parser_dot_step(p, node) : constant_step(p, node);
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
    struct ast *node = parser_subquery(p, AST_SUBQUERY, start);
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

/* collection [ [ "AS" ] ident ] ; a path's root was read, and its last step names it */
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

/* ---- What follows ---- */

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
    query->group_by = parser_node(p, AST_ARRAY);
    if (query->group_by == NULL || !expect_keyword(p, KEYWORD_BY))
        return false;
    query->group_by->span = p->token.span;
    while (parser_append(p, query->group_by, clause_expression(p))) {
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
bool parser_query_rule(struct parser *p, struct ast_query *query)
{
    uint32_t start = p->token.span.start;

    if (!select_clause(p, query) || (at_keyword(p, KEYWORD_FROM) && !from_clause(p, query)) ||
        !where_clause(p, query) || !group_clause(p, query) || !order_clause(p, query) ||
        !window_clause(p, query))
        return false;
    query->span = (struct span){start, p->last_end};
    return true;
}

/* ---- Texts ---- */

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

    return begin(&p, arena, text, query, fault) && parser_query_rule(&p, query) && end(&p);
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
