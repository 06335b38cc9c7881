#include "query/print.h"

#include "query/text.h"

#include <math.h>

#include "base/banned.h"

/*
 * A chain of AND or OR up to that length is printed as the service does, ((a AND b) AND c); longer
 * ones without the inner parentheses, because the text comes back and nesting is limited.
 */
#define NESTED_CHAIN_MAX 32

/* What stands before each clause: a line break, or a blank inside a subquery. */
static void query_append(struct buf *out, const struct ast_query *query, char separator);

void print_string(struct buf *out, struct slice text)
{
    buf_append_char(out, '"');
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char) text.ptr[i];

        if (c == '"' || c == '\\')
            buf_append_char(out, '\\');
        if (c < 0x20)
            buf_printf(out, "\\u%04x", c);
        else
            buf_append_char(out, (char) c);
    }
    buf_append_char(out, '"');
}

void print_number(struct buf *out, double number)
{
    bool is_negative = signbit(number) && !isnan(number);

    if (is_negative)
        buf_append_text(out, "(- ");
    if (isnan(number))
        buf_append_text(out, "NaN");
    else if (isinf(number))
        buf_append_text(out, "Infinity");
    else
        buf_printf(out, "%.17g", fabs(number));
    if (is_negative)
        buf_append_char(out, ')');
}

static void constant(struct buf *out, const cJSON *value)
{
    if (cJSON_IsString(value))
        print_string(out, slice_from_text(value->valuestring));
    else if (cJSON_IsNumber(value))
        print_number(out, value->valuedouble);
    else if (cJSON_IsBool(value))
        buf_append_text(out, cJSON_IsTrue(value) ? "true" : "false");
    else
        buf_append_text(out, "null");
}

/* An expression that a dot or a bracket may follow. */
static void base(struct buf *out, const struct ast *node)
{
    bool is_number = node->kind == AST_CONSTANT && cJSON_IsNumber(node->value) &&
                     !signbit(node->value->valuedouble);

    if (is_number) /* "1.a" would be a malformed number */
        buf_append_char(out, '(');
    print_expression(out, node);
    if (is_number)
        buf_append_char(out, ')');
}

static void member(struct buf *out, const struct ast *node)
{
    base(out, node->children);
    if (node->is_bracketed) {
        buf_append_char(out, '[');
        print_string(out, node->name);
        buf_append_char(out, ']');
    } else {
        buf_append_char(out, '.');
        buf_append_slice(out, node->name);
    }
}

static const char *const operators[] = {
    [AST_NOT] = "NOT",          [AST_MINUS] = "-",        [AST_PLUS] = "+",
    [AST_BIT_NOT] = "~",        [AST_EQUAL] = "=",        [AST_NOT_EQUAL] = "!=",
    [AST_LESS] = "<",           [AST_LESS_EQUAL] = "<=",  [AST_GREATER] = ">",
    [AST_GREATER_EQUAL] = ">=", [AST_ADD] = "+",          [AST_SUBTRACT] = "-",
    [AST_MULTIPLY] = "*",       [AST_DIVIDE] = "/",       [AST_MODULO] = "%",
    [AST_BIT_AND] = "&",        [AST_BIT_OR] = "|",       [AST_BIT_XOR] = "^",
    [AST_SHIFT_LEFT] = "<<",    [AST_SHIFT_RIGHT] = ">>", [AST_SHIFT_RIGHT_ZERO] = ">>>",
    [AST_CONCAT] = "||",
};

static void unary(struct buf *out, const struct ast *node)
{
    buf_printf(out, "(%s ", operators[node->op]);
    print_expression(out, node->children);
    buf_append_char(out, ')');
}

/* "(left word right)" */
static void infix(struct buf *out, const struct ast *node, const char *word)
{
    buf_append_char(out, '(');
    print_expression(out, node->children);
    buf_printf(out, " %s ", word);
    print_expression(out, node->children->next);
    buf_append_char(out, ')');
}

static void chain(struct buf *out, const struct ast *node, const char *word)
{
    bool is_nested = node->child_count <= NESTED_CHAIN_MAX;

    for (size_t i = 1; i < (is_nested ? node->child_count : 2); i++)
        buf_append_char(out, '(');
    for (const struct ast *child = node->children; child != NULL; child = child->next) {
        if (child != node->children)
            buf_printf(out, " %s ", word);
        print_expression(out, child);
        if (child != node->children && (is_nested || child->next == NULL))
            buf_append_char(out, ')');
    }
}

static void conditional(struct buf *out, const struct ast *node)
{
    const struct ast *condition = node->children;

    buf_append_char(out, '(');
    print_expression(out, condition);
    buf_append_text(out, " ? ");
    print_expression(out, condition->next);
    buf_append_text(out, " : ");
    print_expression(out, condition->next->next);
    buf_append_char(out, ')');
}

/* Elements, arguments or keys, separated by commas. */
static void list(struct buf *out, const struct ast *first)
{
    for (const struct ast *child = first; child != NULL; child = child->next) {
        if (child != first)
            buf_append_text(out, ", ");
        print_expression(out, child);
    }
}

/* Needle, then the word with its NOT. */
static void predicate(struct buf *out, const struct ast *node, const char *word)
{
    buf_append_char(out, '(');
    print_expression(out, node->children);
    buf_printf(out, node->is_negated ? " NOT %s " : " %s ", word);
}

static void between(struct buf *out, const struct ast *node)
{
    const struct ast *low = node->children->next;

    predicate(out, node, "BETWEEN");
    print_expression(out, low);
    buf_append_text(out, " AND ");
    print_expression(out, low->next);
    buf_append_char(out, ')');
}

static void in_list(struct buf *out, const struct ast *node)
{
    predicate(out, node, "IN");
    buf_append_char(out, '(');
    list(out, node->children->next);
    buf_append_text(out, "))");
}

static void like(struct buf *out, const struct ast *node)
{
    predicate(out, node, "LIKE");
    print_expression(out, node->children->next);
    if (node->escape != 0) {
        struct buf character = {0};

        text_append(&character, node->escape);
        buf_append_text(out, " ESCAPE ");
        print_string(out, buf_slice(&character));
        out->has_failed |= character.has_failed;
        buf_finish(&character);
    }
    buf_append_char(out, ')');
}

static void call(struct buf *out, const struct ast *node)
{
    if (node->is_udf)
        buf_append_text(out, "udf.");
    buf_append_slice(out, node->name);
    buf_append_char(out, '(');
    list(out, node->children);
    buf_append_char(out, ')');
}

static void object(struct buf *out, const struct ast *node)
{
    buf_append_char(out, '{');
    for (const struct ast *child = node->children; child != NULL; child = child->next) {
        if (child != node->children)
            buf_append_text(out, ", ");
        print_string(out, child->key);
        buf_append_text(out, ": ");
        print_expression(out, child);
    }
    buf_append_char(out, '}');
}

static void subquery(struct buf *out, const struct ast *node, const char *word)
{
    buf_append_text(out, word);
    buf_append_char(out, '(');
    query_append(out, node->query, ' ');
    buf_append_char(out, ')');
}

void print_expression(struct buf *out, const struct ast *node)
{
    switch (node->kind) {
    case AST_UNDEFINED:
        buf_append_text(out, "undefined");
        return;
    case AST_CONSTANT:
        constant(out, node->value);
        return;
    case AST_PARAMETER:
    case AST_ALIAS:
        buf_append_slice(out, node->name);
        return;
    case AST_MEMBER:
        member(out, node);
        return;
    case AST_INDEX:
        base(out, node->children);
        buf_append_char(out, '[');
        print_expression(out, node->children->next);
        buf_append_char(out, ']');
        return;
    case AST_UNARY:
        unary(out, node);
        return;
    case AST_BINARY:
        infix(out, node, operators[node->op]);
        return;
    case AST_AND:
        chain(out, node, "AND");
        return;
    case AST_OR:
        chain(out, node, "OR");
        return;
    case AST_COALESCE:
        infix(out, node, "??");
        return;
    case AST_CONDITIONAL:
        conditional(out, node);
        return;
    case AST_BETWEEN:
        between(out, node);
        return;
    case AST_IN:
        in_list(out, node);
        return;
    case AST_LIKE:
        like(out, node);
        return;
    case AST_CALL:
        call(out, node);
        return;
    case AST_ARRAY:
        buf_append_char(out, '[');
        list(out, node->children);
        buf_append_char(out, ']');
        return;
    case AST_OBJECT:
        object(out, node);
        return;
    case AST_SUBQUERY:
        subquery(out, node, "");
        return;
    case AST_EXISTS:
        subquery(out, node, "EXISTS");
        return;
    case AST_ARRAY_QUERY:
        subquery(out, node, "ARRAY");
        return;
    case AST_ALL:
        subquery(out, node, "ALL");
        return;
    case AST_FIRST:
        subquery(out, node, "FIRST");
        return;
    case AST_LAST:
        subquery(out, node, "LAST");
        return;
    }
}

void print_projection(struct buf *out, const struct ast_query *query)
{
    if (query->projection == NULL)
        buf_append_slice(out, query->sources->alias);
    else
        print_expression(out, query->projection);
}

static void items(struct buf *out, const struct ast *first)
{
    for (const struct ast *item = first; item != NULL; item = item->next) {
        if (item != first)
            buf_append_text(out, ", ");
        print_expression(out, item);
        if (item->is_named)
            buf_printf(out, " AS %s", item->key.ptr);
    }
}

void print_select(struct buf *out, const struct ast_query *query, unsigned omitted)
{
    buf_append_text(out, "SELECT ");
    if (query->is_distinct && (omitted & PRINT_NO_DISTINCT) == 0)
        buf_append_text(out, "DISTINCT ");
    if (query->top != NULL && (omitted & PRINT_NO_TOP) == 0) {
        buf_append_text(out, "TOP ");
        print_expression(out, query->top);
        buf_append_char(out, ' ');
    }
    if (query->is_star) {
        buf_append_char(out, '*');
    } else if (query->is_value) {
        buf_append_text(out, "VALUE ");
        print_expression(out, query->projection);
    } else {
        items(out, query->projection->children);
    }
}

static void source(struct buf *out, const struct ast_source *source)
{
    if (source->kind == SOURCE_ARRAY) {
        buf_append_slice(out, source->alias);
        buf_append_text(out, " IN ");
    }
    if (source->query != NULL) {
        buf_append_char(out, '(');
        query_append(out, source->query, ' ');
        buf_append_char(out, ')');
    } else {
        print_expression(out, source->path);
    }
    if (source->kind != SOURCE_ARRAY && source->is_aliased) {
        buf_append_text(out, " AS ");
        buf_append_slice(out, source->alias);
    }
}

static void from_append(struct buf *out, const struct ast_query *query, char separator)
{
    for (const struct ast_source *at = query->sources; at != NULL; at = at->next) {
        if (at == query->sources)
            buf_printf(out, "%cFROM ", separator);
        else
            buf_append_text(out, " JOIN ");
        source(out, at);
    }
}

static void where_append(struct buf *out, const struct ast_query *query, char separator)
{
    if (query->where == NULL)
        return;
    buf_printf(out, "%cWHERE ", separator);
    print_expression(out, query->where);
}

static void group_append(struct buf *out, const struct ast_query *query, char separator)
{
    if (query->group_by == NULL)
        return;
    buf_printf(out, "%cGROUP BY ", separator);
    list(out, query->group_by->children);
}

static void order_append(struct buf *out, const struct ast_query *query, char separator)
{
    for (const struct ast_order *order = query->order_by; order != NULL; order = order->next) {
        if (order == query->order_by)
            buf_printf(out, "%cORDER BY %s", separator, query->order_is_rank ? "RANK " : "");
        else
            buf_append_text(out, ", ");
        print_expression(out, order->expression);
        if (order->has_direction)
            buf_append_text(out, order->is_descending ? " DESC" : " ASC");
    }
}

static void window_append(struct buf *out, const struct ast_query *query, char separator)
{
    if (query->offset == NULL)
        return;
    buf_printf(out, "%cOFFSET ", separator);
    print_expression(out, query->offset);
    buf_append_text(out, " LIMIT ");
    print_expression(out, query->limit);
}

static void query_append(struct buf *out, const struct ast_query *query, char separator)
{
    print_select(out, query, PRINT_ALL);
    from_append(out, query, separator);
    where_append(out, query, separator);
    group_append(out, query, separator);
    order_append(out, query, separator);
    window_append(out, query, separator);
}

void print_from(struct buf *out, const struct ast_query *query)
{
    from_append(out, query, '\n');
}

void print_where(struct buf *out, const struct ast_query *query)
{
    where_append(out, query, '\n');
}

void print_group_by(struct buf *out, const struct ast_query *query)
{
    group_append(out, query, '\n');
}

void print_order_by(struct buf *out, const struct ast_query *query)
{
    order_append(out, query, '\n');
}

void print_window(struct buf *out, const struct ast_query *query)
{
    window_append(out, query, '\n');
}

void print_query(struct buf *out, const struct ast_query *query)
{
    query_append(out, query, '\n');
}
