/*
 * What the files of the parser share: its state and its smallest steps. Private to them.
 *
 *     parser.c             queries and their clauses
 *     parser_expression.c  expressions
 *
 * Each function carries the grammar rule that it reads. It begins at the rule's first token unless
 * it says what was read before, and leaves the token behind the rule to be looked at. NULL and
 * false come with a fault.
 */
#ifndef ORRERY_QUERY_PARSER_RULES_H
#define ORRERY_QUERY_PARSER_RULES_H

#include "query/ast.h"
#include "query/lexer.h"

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

/* ---- Tokens ---- */

static inline bool advance(struct parser *p)
{
    p->last_end = p->token.span.end;
    return lexer_next(&p->lexer, &p->token, p->fault);
}

static inline bool at(const struct parser *p, int punctuation)
{
    return p->token.kind == TOKEN_PUNCTUATION && p->token.punctuation == punctuation;
}

static inline bool at_keyword(const struct parser *p, enum keyword keyword)
{
    return p->token.kind == TOKEN_KEYWORD && p->token.keyword == keyword;
}

static inline bool syntax(struct parser *p)
{
    return diagnosis_syntax(p->fault, p->text, p->token.span);
}

/* The same where a node was to be given. */
static inline struct ast *misplaced(struct parser *p)
{
    syntax(p);
    return NULL;
}

static inline struct ast *oom(struct parser *p)
{
    fault_set_oom(p->fault);
    return NULL;
}

static inline bool expect(struct parser *p, int punctuation)
{
    return at(p, punctuation) ? advance(p) : syntax(p);
}

static inline bool expect_keyword(struct parser *p, enum keyword keyword)
{
    return at_keyword(p, keyword) ? advance(p) : syntax(p);
}

/* ---- Nodes ---- */

/* The refusal of nodes that nest too deep; NULL. */
struct ast *parser_too_deep(struct parser *p, struct span span);

/* A node that begins at the current token. */
struct ast *parser_node(struct parser *p, enum ast_kind kind);

/* Append a child that may have failed to parse. */
bool parser_append(struct parser *p, struct ast *parent, struct ast *child);

/* A name as a terminated copy, because members are looked up by terminated names. */
bool parser_name(struct parser *p, struct slice *name, struct slice spelled);

/* ---- Rules ---- */

/* parser_expression.c: what the clauses are made of */
struct ast *parser_expression(struct parser *p);
struct ast *parser_primary(struct parser *p);

/* "." ident, the dot was read */
struct ast *parser_dot_step(struct parser *p, struct ast *base);

/* "[" constant "]", the bracket was read; a plain string is a member's name */
struct ast *parser_constant_step(struct parser *p, struct ast *base);

/* query ")", "(" was read; the node begins at start */
struct ast *parser_subquery(struct parser *p, enum ast_kind kind, uint32_t start);

/* parser.c: what subqueries are made of */
bool parser_query_rule(struct parser *p, struct ast_query *query);

#endif
