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

static bool values_equal(const cJSON *a, const cJSON *b)
{
    if (cJSON_IsString(a) && cJSON_IsString(b))
        return strcmp(a->valuestring, b->valuestring) == 0;
    if (cJSON_IsNumber(a) && cJSON_IsNumber(b)) /* NaN, too */
        return memcmp(&a->valuedouble, &b->valuedouble, sizeof(double)) == 0;
    return (a->type & 0xff) == (b->type & 0xff);
}

/* A function has its name in any letter case, everything else in one. */
static bool names_equal(const struct ast *a, const struct ast *b)
{
    if (a->kind == AST_CALL && !a->is_udf)
        return a->name.len == b->name.len &&
               strncasecmp(a->name.ptr, b->name.ptr, a->name.len) == 0;
    return slice_equals(a->name, b->name);
}

bool ast_equals(const struct ast *a, const struct ast *b)
{
    if (a->kind != b->kind || a->op != b->op || a->is_negated != b->is_negated ||
        a->is_udf != b->is_udf || a->escape != b->escape || a->child_count != b->child_count ||
        a->query != NULL || !names_equal(a, b))
        return false;
    if (a->kind == AST_CONSTANT && !values_equal(a->value, b->value))
        return false;
    const struct ast *y = b->children;
    for (const struct ast *x = a->children; x != NULL; x = x->next) {
        if (a->kind == AST_OBJECT && !slice_equals(x->key, y->key))
            return false;
        if (!ast_equals(x, y))
            return false;
        y = y->next;
    }
    return true;
}
