#include "query/plan_rewrite.h"

#include "query/bounds.h"
#include "query/functions.h"
#include "query/print.h"

#include "base/banned.h"

uint64_t plan_window(const struct ast_query *query)
{
    uint64_t end = query->offset_count + query->limit_count;

    return end < CHECK_COUNT_MAX ? end : CHECK_COUNT_MAX;
}

static void window_print(struct buf *out, const struct ast_query *query)
{
    buf_append_text(out, "\nOFFSET 0 LIMIT ");
    buf_append_u64(out, plan_window(query));
}

void plan_rewrite_window(struct buf *out, const struct ast_query *query)
{
    print_select(out, query, PRINT_NO_TOP);
    print_from(out, query);
    print_where(out, query);
    window_print(out, query);
}

void plan_rewrite_distinct(struct buf *out, const struct ast_query *query)
{
    print_select(out, query, PRINT_NO_TOP);
    print_from(out, query);
    print_where(out, query);
}

/* [{"item": a}, {"item": b}] */
static void item_open(struct buf *out, bool is_first)
{
    buf_append_text(out, is_first ? "[{\"item\": " : ", {\"item\": ");
}

/* ---- ORDER BY ---- */

/*
 * Rows tell which item they come from by its _rid, and so it must have a name. It has none where
 * FROM begins inside the item (FROM x IN c.list): there the item is put before that, under a name
 * that the text does not contain (FROM item JOIN x IN item.list).
 */
struct naming {
    struct arena *arena;
    bool has_failed;
    struct slice name;
};

static bool text_contains(struct slice text, struct slice word)
{
    for (size_t i = 0; i + word.len <= text.len; i++) {
        if (strncasecmp(text.ptr + i, word.ptr, word.len) == 0)
            return true;
    }
    return false;
}

static void name_choose(struct naming *naming, struct slice text)
{
    unsigned number = 0;

    naming->name = SLICE_LITERAL("item");
    while (text_contains(text, naming->name) && !naming->has_failed) {
        char *name = arena_printf(naming->arena, "item%u", ++number);

        naming->has_failed = name == NULL;
        naming->name = slice_from_text(name);
    }
}

static void *copied(struct naming *naming, const void *object, size_t size)
{
    void *copy = arena_alloc(naming->arena, size);

    if (copy == NULL)
        naming->has_failed = true;
    else
        memcpy(copy, object, size);
    return copy;
}

/* A path whose root has the new name. */
static struct ast *path_renamed(struct naming *naming, const struct ast *path)
{
    struct ast *copy = copied(naming, path, sizeof(*path));

    if (copy == NULL)
        return NULL;
    if (copy->kind == AST_ALIAS)
        copy->name = naming->name;
    else
        copy->children = path_renamed(naming, path->children);
    return copy;
}

/* The first source, which begins at the item, with the new name of that. */
static struct ast_source *source_renamed(struct naming *naming, const struct ast_source *source)
{
    struct ast_source *copy = copied(naming, source, sizeof(*source));

    if (copy == NULL)
        return NULL;
    if (source->path != NULL) {
        copy->path = path_renamed(naming, source->path);
        copy->is_aliased |= source->path->kind == AST_ALIAS;
    } else if (source->query->sources != NULL) {
        struct ast_query *query = copied(naming, source->query, sizeof(*query));

        if (query != NULL)
            query->sources = source_renamed(naming, query->sources);
        copy->query = query;
    }
    return copy;
}

/* A query whose first source is the item. */
static bool item_name(struct naming *naming, struct ast_query *query, struct fault *fault)
{
    const struct ast_source *first = query->sources;
    struct ast_source *item;

    if (first->kind == SOURCE_PATH && first->slot == 0) {
        naming->name = first->alias;
        return true;
    }
    name_choose(naming, query->text);
    item = arena_alloc(naming->arena, sizeof(*item));
    struct ast *path = ast_create(naming->arena, AST_ALIAS, first->span);
    struct ast_source *rest = source_renamed(naming, first);
    if (item == NULL || path == NULL || naming->has_failed)
        return fault_set_oom(fault);
    path->name = naming->name;
    *item =
        (struct ast_source){.kind = SOURCE_PATH, .next = rest, .path = path, .alias = naming->name};
    query->sources = item;
    query->source_count++;
    return true;
}

void plan_rewrite_filter(struct buf *out, const struct ast_query *query, const char *placeholder)
{
    buf_append_text(out, "\nWHERE ");
    if (query->is_value)
        buf_append_char(out, '(');
    if (query->where != NULL) {
        buf_append_char(out, '(');
        print_expression(out, query->where);
        buf_append_text(out, " AND ");
    }
    buf_append_char(out, '(');
    buf_append_text(out, placeholder);
    buf_append_char(out, ')');
    if (query->where != NULL)
        buf_append_char(out, ')');
    if (query->is_value) { /* undefined is no result, but would be a row */
        buf_append_text(out, " AND IS_DEFINED(");
        print_expression(out, query->projection);
        buf_append_text(out, "))");
    }
}

static void ordered_print(struct buf *out, const struct ast_query *query,
                          const struct ast_query *named, struct slice item)
{
    bool is_bounded = !query->is_distinct;

    buf_append_text(out, "SELECT ");
    if (query->has_top && !query->has_window && is_bounded) {
        buf_append_text(out, "TOP ");
        print_expression(out, query->top);
        buf_append_char(out, ' ');
    }
    buf_append_slice(out, item);
    buf_append_text(out, "._rid, ");
    for (const struct ast_order *key = query->order_by; key != NULL; key = key->next) {
        item_open(out, key == query->order_by);
        print_expression(out, key->expression);
        buf_append_char(out, '}');
    }
    buf_append_text(out, "] AS orderByItems, ");
    print_projection(out, query);
    buf_append_text(out, " AS payload");
    print_from(out, named);
    plan_rewrite_filter(out, query, PLAN_FILTER_PLACEHOLDER);
    print_order_by(out, query);
    if (query->has_window && is_bounded)
        window_print(out, query);
}

bool plan_rewrite_ordered(struct buf *out, struct arena *arena, const struct ast_query *query,
                          struct fault *fault)
{
    struct naming naming = {.arena = arena};
    struct ast_query named = *query;

    if (!item_name(&naming, &named, fault))
        return false;
    ordered_print(out, query, &named, naming.name);
    return true;
}

/* ---- aggregates, GROUP BY ---- */

static void call_print(struct buf *out, struct slice name, const struct ast *argument)
{
    buf_append_slice(out, name);
    buf_append_char(out, '(');
    print_expression(out, argument);
    buf_append_char(out, ')');
}

/* {"item": …}: what a client can combine with those of other ranges. */
static void partial_print(struct buf *out, const struct ast *node)
{
    enum aggregate aggregate = node->function->aggregate;
    const struct ast *argument = node->children;

    buf_append_text(out, "{\"item\": ");
    if (aggregate == AGGREGATE_AVG) {
        buf_append_text(out, "{\"sum\": ");
        call_print(out, SLICE_LITERAL("SUM"), argument);
    } else {
        call_print(out, node->name, argument);
    }
    if (aggregate == AGGREGATE_MIN || aggregate == AGGREGATE_MAX) {
        buf_append_text(out, aggregate == AGGREGATE_MIN ? ", \"item2\": {\"min\": "
                                                        : ", \"item2\": {\"max\": ");
        call_print(out, node->name, argument);
    }
    if (aggregate == AGGREGATE_AVG || aggregate == AGGREGATE_MIN || aggregate == AGGREGATE_MAX) {
        buf_append_text(out, ", \"count\": ");
        call_print(out, SLICE_LITERAL("COUNT"), argument);
        buf_append_char(out, '}');
    }
    buf_append_char(out, '}');
}

static void payload_print(struct buf *out, const struct ast_query *query)
{
    const struct ast *projection = query->projection;

    if (query->is_value && projection->aggregate != 0) {
        buf_append_char(out, '[');
        partial_print(out, projection);
        buf_append_char(out, ']');
        return;
    }
    if (query->is_value) {
        print_expression(out, projection);
        return;
    }
    buf_append_char(out, '{');
    for (const struct ast *item = projection->children; item != NULL; item = item->next) {
        if (item != projection->children)
            buf_append_text(out, ", ");
        print_string(out, item->key);
        buf_append_text(out, ": ");
        if (item->aggregate != 0)
            partial_print(out, item);
        else
            print_expression(out, item);
    }
    buf_append_char(out, '}');
}

void plan_rewrite_grouped(struct buf *out, const struct ast_query *query)
{
    const struct ast *keys = query->group_by;

    buf_append_text(out, keys == NULL && query->is_value ? "SELECT VALUE " : "SELECT ");
    if (keys != NULL) {
        for (const struct ast *key = keys->children; key != NULL; key = key->next) {
            item_open(out, key == keys->children);
            print_expression(out, key);
            buf_append_char(out, '}');
        }
        buf_append_text(out, "] AS groupByItems, ");
    }
    payload_print(out, query);
    if (keys != NULL || !query->is_value)
        buf_append_text(out, " AS payload");
    print_from(out, query);
    print_where(out, query);
    print_group_by(out, query);
}
