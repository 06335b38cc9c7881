#include "query/policies.h"

#include "model/json.h"

#include "base/banned.h"

static bool unreadable(struct fault *fault)
{
    return fault_set(fault, 500, SUB_NONE, "the container's stored definition cannot be read");
}

/* A member that is a string, decoded; absent when it is missing. */
static bool member_text(struct slice object, const char *name, struct arena *arena,
                        struct slice *text, struct fault *fault)
{
    struct slice value;

    *text = (struct slice){0};
    if (!json_find(object, slice_from_text(name), &value) || json_type(value) != JSON_STRING)
        return true;
    return json_string_decode(value, arena, text, fault);
}

static bool member_path(struct slice object, struct arena *arena, struct pkey_path *path,
                        struct fault *fault)
{
    struct slice text;

    return member_text(object, "path", arena, &text, fault) &&
           pkey_path_parse(path, text, arena, fault);
}

/* An array of a policy, and room for what its elements say. */
static bool list_begin(struct slice definition, const char *policy, const char *member,
                       struct arena *arena, size_t element_size, struct json_cursor *cursor,
                       void **elements, struct fault *fault)
{
    struct slice path[] = {slice_from_text(policy), slice_from_text(member)}, list, element;
    size_t count = 0;

    *elements = NULL;
    if (!json_find_path(definition, path, 2, &list) || json_type(list) != JSON_ARRAY)
        return true;
    *cursor = json_iterate(list);
    while (json_next_element(cursor, &element))
        count++;
    *cursor = json_iterate(list);
    *elements = arena_alloc(arena, (count + 1) * element_size);
    return *elements != NULL || fault_set_oom(fault);
}

bool vector_function_parse(struct slice name, enum vector_function *function)
{
    static const char *const names[] = {
        [VECTOR_COSINE] = "cosine",
        [VECTOR_DOT_PRODUCT] = "dotproduct",
        [VECTOR_EUCLIDEAN] = "euclidean",
    };

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (slice_equals_nocase(name, names[i])) {
            *function = (enum vector_function) i;
            return true;
        }
    }
    return false;
}

static bool embedding_read(struct slice element, struct arena *arena,
                           struct vector_embedding *embedding, struct fault *fault)
{
    struct slice function, dimensions;
    int64_t count;

    if (!member_path(element, arena, &embedding->path, fault) ||
        !member_text(element, "distanceFunction", arena, &function, fault))
        return false;
    if (!vector_function_parse(function, &embedding->function) ||
        !json_find(element, SLICE_LITERAL("dimensions"), &dimensions) ||
        !json_integer(dimensions, 1, INT32_MAX, &count))
        return unreadable(fault);
    embedding->dimensions = (unsigned) count;
    return true;
}

static bool embeddings_read(struct query_policies *policies, struct slice definition,
                            struct arena *arena, struct fault *fault)
{
    struct json_cursor cursor;
    struct slice element;
    void *list;

    if (!list_begin(definition, "vectorEmbeddingPolicy", "vectorEmbeddings", arena,
                    sizeof(struct vector_embedding), &cursor, &list, fault))
        return false;
    struct vector_embedding *embeddings = list;
    policies->embeddings = embeddings;
    while (list != NULL && json_next_element(&cursor, &element)) {
        if (!embedding_read(element, arena, &embeddings[policies->embedding_count], fault))
            return false;
        policies->embedding_count++;
    }
    return true;
}

static bool texts_read(struct query_policies *policies, struct slice definition,
                       struct arena *arena, struct fault *fault)
{
    struct json_cursor cursor;
    struct slice element;
    void *list;

    if (!list_begin(definition, "fullTextPolicy", "fullTextPaths", arena, sizeof(struct text_path),
                    &cursor, &list, fault))
        return false;
    struct text_path *texts = list;
    policies->texts = texts;
    while (list != NULL && json_next_element(&cursor, &element)) {
        struct text_path *text = &texts[policies->text_count];

        if (!member_path(element, arena, &text->path, fault) ||
            !member_text(element, "language", arena, &text->language, fault))
            return false;
        policies->text_count++;
    }
    return true;
}

bool query_policies_load(struct query_policies *policies, struct slice definition,
                         struct arena *arena, struct fault *fault)
{
    struct slice config, type, full_text;

    *policies = (struct query_policies){0};
    if (json_type(definition) != JSON_OBJECT)
        return unreadable(fault);
    if (json_find(definition, SLICE_LITERAL("geospatialConfig"), &config)) {
        if (!member_text(config, "type", arena, &type, fault))
            return false;
        policies->is_planar = slice_equals_nocase(type, "Geometry");
    }
    if (json_find(definition, SLICE_LITERAL("fullTextPolicy"), &full_text) &&
        !member_text(full_text, "defaultLanguage", arena, &policies->default_language, fault))
        return false;
    return embeddings_read(policies, definition, arena, fault) &&
           texts_read(policies, definition, arena, fault);
}

/* Does an expression name the property at a path? Names in brackets count as members. */
static bool path_names(const struct pkey_path *path, const struct ast *node)
{
    size_t left = path->name_count;

    while (node->kind == AST_MEMBER || node->kind == AST_INDEX) {
        struct slice name = node->name;

        if (node->kind == AST_INDEX) {
            const cJSON *index = node->children->next->value;
            name = cJSON_IsString(index) ? slice_from_text(index->valuestring) : (struct slice){0};
        }
        if (left == 0 || !slice_equals(name, path->names[left - 1]))
            return false;
        left--;
        node = node->children;
    }
    return left == 0 && node->kind == AST_ALIAS && node->slot == 0;
}

const struct vector_embedding *query_policies_embedding(const struct query_policies *policies,
                                                        const struct ast *path)
{
    for (size_t i = 0; policies != NULL && i < policies->embedding_count; i++) {
        if (path_names(&policies->embeddings[i].path, path))
            return &policies->embeddings[i];
    }
    return NULL;
}

struct slice query_policies_language(const struct query_policies *policies, const struct ast *path)
{
    for (size_t i = 0; policies != NULL && i < policies->text_count; i++) {
        if (policies->texts[i].language.len > 0 && path_names(&policies->texts[i].path, path))
            return policies->texts[i].language;
    }
    return policies != NULL && policies->default_language.len > 0 ? policies->default_language
                                                                  : SLICE_LITERAL("en-US");
}
