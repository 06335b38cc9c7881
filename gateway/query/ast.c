#include "query/ast.h"

#include "base/banned.h"

struct ast *ast_create(struct arena *arena, enum ast_kind kind, struct span span)
{
    struct ast *node = arena_alloc(arena, sizeof(*node));

    if (node == NULL)
        return NULL;
    node->kind = kind;
    node->span = span;
    node->depth = 1;
    return node;
}

bool ast_append(struct ast *parent, struct ast *child)
{
    if (child->depth >= AST_DEPTH_MAX || parent->child_count >= AST_CHILDREN_MAX)
        return false;
    if (parent->last_child != NULL)
        parent->last_child->next = child;
    else
        parent->children = child;
    parent->last_child = child;
    parent->child_count++;
    if (child->depth + 1 > parent->depth)
        parent->depth = (uint16_t) (child->depth + 1);
    if (child->span.start < parent->span.start)
        parent->span.start = child->span.start;
    if (child->span.end > parent->span.end)
        parent->span.end = child->span.end;
    return true;
}
