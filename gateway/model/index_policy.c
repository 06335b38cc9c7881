#include "model/index_policy.h"

#include "model/json.h"
#include "model/pkey.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/banned.h"

enum verdict { UNSAID, INCLUDED, EXCLUDED };

struct index_rule {
    struct index_step step; /* none at the root */
    enum verdict value;     /* pattern with a question mark here */
    enum verdict below;     /* pattern with a star here: for the value, too */
    struct index_rule *children, *next;
};

/* Members that stored documents do not have: they are columns, or derived. */
static const char *const system_names[] = {"_attachments", "_etag", "_rid", "_self", "_ts"};

/* Paths ------------------------------------------------------------------------------------- */

static bool step_equals(const struct index_step *a, const struct index_step *b)
{
    return a->is_element == b->is_element && slice_equals(a->name, b->name);
}

bool index_path_equals(const struct index_path *a, const struct index_path *b)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++) {
        if (!step_equals(&a->steps[i], &b->steps[i]))
            return false;
    }
    return true;
}

static bool needs_quotes(struct slice name)
{
    static const char *const words[] = {"", "[]", "*", "?"};

    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (slice_equals_text(name, words[i]))
            return true;
    }
    for (size_t i = 0; i < name.len; i++) {
        unsigned char c = (unsigned char) name.ptr[i];
        if (c <= ' ' || c == '/' || c == '"' || c == '\\')
            return true;
    }
    return false;
}

static void append_step(struct buf *buf, const struct index_step *step)
{
    if (step->is_element || !needs_quotes(step->name)) {
        buf_append_slice(buf, step->is_element ? SLICE_LITERAL("[]") : step->name);
        return;
    }
    buf_append_char(buf, '"');
    for (size_t i = 0; i < step->name.len; i++) {
        if (step->name.ptr[i] == '"' || step->name.ptr[i] == '\\')
            buf_append_char(buf, '\\');
        buf_append_char(buf, step->name.ptr[i]);
    }
    buf_append_char(buf, '"');
}

void index_path_append(struct buf *buf, const struct index_path *path)
{
    if (path->count == 0)
        buf_append_char(buf, '/');
    for (size_t i = 0; i < path->count; i++) {
        buf_append_char(buf, '/');
        append_step(buf, &path->steps[i]);
    }
}

/* Names without quotes are spans of the text; only they can be "[]", "*" and "?". */
static bool is_bare(struct slice name, struct slice text)
{
    return name.ptr >= text.ptr && name.ptr < text.ptr + text.len;
}

enum ending { ENDS_PLAIN, ENDS_VALUE, ENDS_BELOW };

/* A path, and the wildcard behind it. */
static bool parse_pattern(struct index_path *path, enum ending *ending, struct slice text,
                          struct arena *arena, struct fault *fault)
{
    struct pkey_path names;
    struct index_step *steps;

    *path = (struct index_path){0};
    *ending = ENDS_PLAIN;
    if (slice_equals_text(text, "/"))
        return true;
    if (!pkey_path_parse(&names, text, arena, fault))
        return false;
    steps = arena_alloc(arena, names.name_count * sizeof(*steps));
    if (steps == NULL)
        return fault_set_oom(fault);
    path->steps = steps;
    for (size_t i = 0; i < names.name_count; i++) {
        struct slice name = names.names[i];
        bool is_word = is_bare(name, text);
        if (*ending != ENDS_PLAIN)
            return fault_set(fault, 400, SUB_NONE,
                             "path \"%.*s\" has a wildcard that is not at its end",
                             FAULT_QUOTE(text));
        if (is_word && slice_equals_text(name, "*"))
            *ending = ENDS_BELOW;
        else if (is_word && slice_equals_text(name, "?"))
            *ending = ENDS_VALUE;
        else if (is_word && slice_equals_text(name, "[]"))
            steps[path->count++] = (struct index_step){.is_element = true};
        else
            steps[path->count++] = (struct index_step){.name = name};
    }
    return true;
}

bool index_path_parse(struct index_path *path, struct slice text, struct arena *arena,
                      struct fault *fault)
{
    enum ending ending;

    return parse_pattern(path, &ending, text, arena, fault);
}

/* The tree ------------------------------------------------------------------------------------ */

static const struct index_rule *find_child(const struct index_rule *rule,
                                           const struct index_step *step)
{
    const struct index_rule *child = rule->children;

    while (child != NULL && !step_equals(&child->step, step))
        child = child->next;
    return child;
}

static struct index_rule *make_child(struct index_rule *rule, const struct index_step *step,
                                     struct arena *arena)
{
    struct index_rule *child = (struct index_rule *) find_child(rule, step);

    if (child != NULL)
        return child;
    child = arena_alloc(arena, sizeof(*child));
    if (child == NULL)
        return NULL;
    child->step = *step;
    child->next = rule->children;
    rule->children = child;
    return child;
}

static bool add_pattern(struct index_rule *root, struct slice text, enum verdict verdict,
                        struct arena *arena, struct fault *fault)
{
    struct index_path path;
    enum ending ending;

    if (!parse_pattern(&path, &ending, text, arena, fault))
        return false;
    if (ending == ENDS_PLAIN)
        return fault_set(fault, 400, SUB_NONE, "path \"%.*s\" must end with /? or /*",
                         FAULT_QUOTE(text));
    for (size_t i = 0; i < path.count; i++) {
        root = make_child(root, &path.steps[i], arena);
        if (root == NULL)
            return fault_set_oom(fault);
    }
    enum verdict *said = ending == ENDS_VALUE ? &root->value : &root->below;
    if (*said != UNSAID && *said != verdict)
        return fault_set(fault, 400, SUB_NONE,
                         "indexingPolicy both includes and excludes the path %.*s",
                         FAULT_QUOTE(text));
    *said = verdict;
    return true;
}

static bool add_patterns(struct index_rule *root, struct slice list, enum verdict verdict,
                         struct arena *arena, struct fault *fault)
{
    struct json_cursor cursor = json_iterate(list);
    struct slice element, path, text;
    size_t count = 0;

    while (json_next_element(&cursor, &element)) {
        if (++count > INDEX_PATTERNS_MAX)
            return fault_set(fault, 400, SUB_NONE, "indexingPolicy has more than %d %s paths",
                             INDEX_PATTERNS_MAX, verdict == INCLUDED ? "included" : "excluded");
        if (!json_find(element, SLICE_LITERAL("path"), &path))
            return fault_set(fault, 400, SUB_NONE, "indexingPolicy has a path without \"path\"");
        if (!json_string_decode(path, arena, &text, fault) ||
            !add_pattern(root, text, verdict, arena, fault))
            return false;
    }
    return true;
}

/* Whatever the policy says: the service indexes these two. */
static bool add_always(struct index_rule *root, struct arena *arena, struct fault *fault)
{
    static const char *const names[] = {"id", "_ts"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct index_step step = {.name = slice_from_text(names[i])};
        struct index_rule *rule = make_child(root, &step, arena);
        if (rule == NULL)
            return fault_set_oom(fault);
        if (rule->value != INCLUDED && rule->below != INCLUDED)
            rule->value = INCLUDED;
    }
    return true;
}

/* Lists --------------------------------------------------------------------------------------- */

static size_t count_elements(struct slice array)
{
    struct json_cursor cursor = json_iterate(array);
    struct slice element;
    size_t count = 0;

    while (json_next_element(&cursor, &element))
        count++;
    return count;
}

static bool read_key(struct index_key *key, enum ending *ending, struct slice object,
                     struct arena *arena, struct fault *fault)
{
    struct slice value, text;

    if (!json_find(object, SLICE_LITERAL("path"), &value))
        return fault_set(fault, 400, SUB_NONE, "indexingPolicy has an index without \"path\"");
    if (!json_string_decode(value, arena, &text, fault) ||
        !parse_pattern(&key->path, ending, text, arena, fault))
        return false;
    key->is_descending = json_find(object, SLICE_LITERAL("order"), &value) &&
                         json_string_equals(value, SLICE_LITERAL("descending"));
    return true;
}

/* A path to one value per item, named once. */
static bool check_composite_key(const struct index_key *keys, size_t at, struct fault *fault)
{
    const struct index_path *path = &keys[at].path;

    for (size_t i = 0; i < path->count; i++) {
        if (path->steps[i].is_element)
            return fault_set(fault, 400, SUB_NONE,
                             "indexingPolicy.compositeIndexes cannot name elements of arrays");
    }
    for (size_t i = 0; i < at; i++) {
        if (index_path_equals(path, &keys[i].path))
            return fault_set(fault, 400, SUB_NONE,
                             "indexingPolicy.compositeIndexes names a path twice in one index");
    }
    return true;
}

static bool read_composite(struct index_composite *composite, struct slice array,
                           struct arena *arena, struct fault *fault)
{
    struct json_cursor cursor = json_iterate(array);
    size_t count = count_elements(array);
    struct index_key *keys;
    struct slice element;
    enum ending ending;

    if (count < 2 || count > INDEX_COMPOSITE_PATHS_MAX)
        return fault_set(fault, 400, SUB_NONE,
                         "indexingPolicy.compositeIndexes needs two to %d paths in each index",
                         INDEX_COMPOSITE_PATHS_MAX);
    keys = arena_alloc(arena, count * sizeof(*keys));
    if (keys == NULL)
        return fault_set_oom(fault);
    for (size_t i = 0; json_next_element(&cursor, &element); i++) {
        if (!read_key(&keys[i], &ending, element, arena, fault))
            return false;
        if (ending != ENDS_PLAIN || keys[i].path.count == 0)
            return fault_set(fault, 400, SUB_NONE,
                             "indexingPolicy.compositeIndexes has a path with a wildcard or "
                             "without a name");
        if (!check_composite_key(keys, i, fault))
            return false;
    }
    *composite = (struct index_composite){count, keys};
    return true;
}

static bool read_composites(struct index_policy *policy, struct slice text, struct arena *arena,
                            struct fault *fault)
{
    struct index_composite *composites;
    struct json_cursor cursor;
    struct slice list, element;

    if (!json_find(text, SLICE_LITERAL("compositeIndexes"), &list))
        return true;
    composites = arena_alloc(arena, (count_elements(list) + 1) * sizeof(*composites));
    if (composites == NULL)
        return fault_set_oom(fault);
    policy->composites = composites;
    cursor = json_iterate(list);
    while (json_next_element(&cursor, &element)) {
        if (!read_composite(&composites[policy->composite_count++], element, arena, fault))
            return false;
    }
    return true;
}

static bool read_paths(const struct index_path **paths, size_t *count, struct slice text,
                       const char *member, struct arena *arena, struct fault *fault)
{
    struct index_path *found;
    struct json_cursor cursor;
    struct slice list, element;
    struct index_key key;
    enum ending ending;

    if (!json_find(text, slice_from_text(member), &list))
        return true;
    found = arena_alloc(arena, (count_elements(list) + 1) * sizeof(*found));
    if (found == NULL)
        return fault_set_oom(fault);
    *paths = found;
    cursor = json_iterate(list);
    while (json_next_element(&cursor, &element)) {
        if (!read_key(&key, &ending, element, arena, fault))
            return false;
        found[(*count)++] = key.path;
    }
    return true;
}

static unsigned read_geometries(struct slice list)
{
    static const char *const names[] = {"Point", "LineString", "Polygon", "MultiPolygon"};
    struct json_cursor cursor = json_iterate(list);
    struct slice element;
    unsigned types = 0;

    while (json_next_element(&cursor, &element)) {
        for (size_t i = 0; i < ARRAY_LEN(names); i++) {
            if (json_string_equals(element, slice_from_text(names[i])))
                types |= 1u << i;
        }
    }
    return types;
}

static bool read_bound(double *bound, struct slice object, const char *name, struct fault *fault)
{
    struct slice value;

    if (json_type(object) != JSON_OBJECT || !json_find(object, slice_from_text(name), &value) ||
        json_type(value) != JSON_NUMBER)
        return fault_set(fault, 400, SUB_NONE,
                         "indexingPolicy.spatialIndexes has a boundingBox without a number %s",
                         name);
    *bound = fmax(-INDEX_BOUND_MAX, fmin(json_number(value), INDEX_BOUND_MAX));
    return true;
}

static bool read_bounds(struct index_box *bounds, struct slice object, struct fault *fault)
{
    if (!read_bound(&bounds->x_min, object, "xmin", fault) ||
        !read_bound(&bounds->y_min, object, "ymin", fault) ||
        !read_bound(&bounds->x_max, object, "xmax", fault) ||
        !read_bound(&bounds->y_max, object, "ymax", fault))
        return false;
    return (bounds->x_min < bounds->x_max && bounds->y_min < bounds->y_max) ||
           fault_set(fault, 400, SUB_NONE,
                     "indexingPolicy.spatialIndexes has an empty boundingBox");
}

static bool read_spatial(struct index_spatial *spatial, struct slice object, struct arena *arena,
                         struct fault *fault)
{
    struct slice value;
    struct index_key key;
    enum ending ending;

    if (!read_key(&key, &ending, object, arena, fault))
        return false;
    *spatial = (struct index_spatial){
        .path = key.path,
        .types = INDEX_GEOMETRIES,
        .bounds = {-INDEX_BOUND_MAX, -INDEX_BOUND_MAX, INDEX_BOUND_MAX, INDEX_BOUND_MAX}};
    if (json_find(object, SLICE_LITERAL("types"), &value) && json_type(value) == JSON_ARRAY)
        spatial->types = read_geometries(value);
    return !json_find(object, SLICE_LITERAL("boundingBox"), &value) ||
           json_type(value) == JSON_NULL || read_bounds(&spatial->bounds, value, fault);
}

static bool read_spatials(struct index_policy *policy, struct slice text, struct arena *arena,
                          struct fault *fault)
{
    struct index_spatial *found;
    struct json_cursor cursor;
    struct slice list, element;

    if (!json_find(text, SLICE_LITERAL("spatialIndexes"), &list))
        return true;
    found = arena_alloc(arena, (count_elements(list) + 1) * sizeof(*found));
    if (found == NULL)
        return fault_set_oom(fault);
    policy->spatial = found;
    cursor = json_iterate(list);
    while (json_next_element(&cursor, &element)) {
        if (!read_spatial(&found[policy->spatial_count++], element, arena, fault))
            return false;
    }
    return true;
}

bool index_policy_parse(struct index_policy *policy, struct slice text, struct arena *arena,
                        struct fault *fault)
{
    struct index_rule *root = arena_alloc(arena, sizeof(*root));
    struct slice mode, list;

    *policy = (struct index_policy){.root = root};
    if (root == NULL)
        return fault_set_oom(fault);
    policy->is_indexed = !json_find(text, SLICE_LITERAL("indexingMode"), &mode) ||
                         !json_string_equals(mode, SLICE_LITERAL("none"));
    if (json_find(text, SLICE_LITERAL("includedPaths"), &list) &&
        !add_patterns(root, list, INCLUDED, arena, fault))
        return false;
    if (json_find(text, SLICE_LITERAL("excludedPaths"), &list) &&
        !add_patterns(root, list, EXCLUDED, arena, fault))
        return false;
    return add_always(root, arena, fault) && read_composites(policy, text, arena, fault) &&
           read_spatials(policy, text, arena, fault) &&
           read_paths(&policy->vector, &policy->vector_count, text, "vectorIndexes", arena,
                      fault) &&
           read_paths(&policy->full_text, &policy->full_text_count, text, "fullTextIndexes", arena,
                      fault);
}

/* Answers ------------------------------------------------------------------------------------- */

static bool excludes_below(const struct index_rule *rule)
{
    for (const struct index_rule *child = rule->children; child != NULL; child = child->next) {
        if (child->value == EXCLUDED || child->below == EXCLUDED || excludes_below(child))
            return true;
    }
    return false;
}

bool index_policy_covers(const struct index_policy *policy, const struct index_path *path,
                         enum index_reach reach)
{
    const struct index_rule *rule = policy->root;
    enum verdict below = rule->below;

    if (!policy->is_indexed)
        return false;
    for (size_t i = 0; rule != NULL && i < path->count; i++) {
        rule = find_child(rule, &path->steps[i]);
        if (rule != NULL && rule->below != UNSAID)
            below = rule->below;
    }
    bool has_value = rule != NULL && rule->value != UNSAID;
    if (reach == INDEX_VALUE)
        return has_value ? rule->value == INCLUDED : below == INCLUDED;
    return below == INCLUDED &&
           (rule == NULL || (rule->value != EXCLUDED && !excludes_below(rule)));
}

bool index_policy_names(const struct index_policy *policy, struct slice property)
{
    struct index_step step = {.name = property};
    const struct index_rule *rule = find_child(policy->root, &step);

    return policy->is_indexed && rule != NULL &&
           (rule->value == INCLUDED || (rule->value == UNSAID && rule->below == INCLUDED));
}

static bool begins_with(const struct index_path *path, const struct index_step *step)
{
    return path->count > 0 && step_equals(&path->steps[0], step);
}

static bool list_mentions(const struct index_path *paths, size_t count,
                          const struct index_step *step)
{
    for (size_t i = 0; i < count; i++) {
        if (begins_with(&paths[i], step))
            return true;
    }
    return false;
}

static bool composite_mentions(const struct index_composite *composite,
                               const struct index_step *step)
{
    for (size_t i = 0; i < composite->count; i++) {
        if (begins_with(&composite->keys[i].path, step))
            return true;
    }
    return false;
}

bool index_policy_mentions(const struct index_policy *policy, struct slice property)
{
    struct index_step step = {.name = property};

    for (size_t i = 0; i < policy->spatial_count; i++) {
        if (begins_with(&policy->spatial[i].path, &step))
            return true;
    }
    for (size_t i = 0; i < policy->composite_count; i++) {
        if (composite_mentions(&policy->composites[i], &step))
            return true;
    }
    return find_child(policy->root, &step) != NULL ||
           list_mentions(policy->vector, policy->vector_count, &step) ||
           list_mentions(policy->full_text, policy->full_text_count, &step);
}

static bool composite_serves(const struct index_composite *composite, const struct index_key *keys,
                             size_t count, bool *is_reversed)
{
    if (composite->count != count || count == 0)
        return false;
    *is_reversed = composite->keys[0].is_descending != keys[0].is_descending;
    for (size_t i = 0; i < count; i++) {
        bool differs = composite->keys[i].is_descending != keys[i].is_descending;
        if (differs != *is_reversed || !index_path_equals(&composite->keys[i].path, &keys[i].path))
            return false;
    }
    return true;
}

const struct index_composite *index_composite_find(const struct index_composite *composites,
                                                   size_t composite_count,
                                                   const struct index_key *keys, size_t count,
                                                   bool *is_reversed)
{
    bool ignored;

    for (size_t i = 0; i < composite_count; i++) {
        if (composite_serves(&composites[i], keys, count,
                             is_reversed != NULL ? is_reversed : &ignored))
            return &composites[i];
    }
    return NULL;
}

const struct index_composite *index_policy_composite(const struct index_policy *policy,
                                                     const struct index_key *keys, size_t count,
                                                     bool *is_reversed)
{
    if (!policy->is_indexed)
        return NULL;
    return index_composite_find(policy->composites, policy->composite_count, keys, count,
                                is_reversed);
}

/* Rules on their own -------------------------------------------------------------------------- */

bool index_step_is_system(const struct index_step *step)
{
    for (size_t i = 0; i < ARRAY_LEN(system_names); i++) {
        if (!step->is_element && slice_equals_text(step->name, system_names[i]))
            return true;
    }
    return false;
}

/* What a rule comes to, given what holds above it. */
static bool below_of(const struct index_rule *rule, bool inherited)
{
    return rule->below == UNSAID ? inherited : rule->below == INCLUDED;
}

static bool value_of(const struct index_rule *rule, bool inherited)
{
    return rule->value == UNSAID ? below_of(rule, inherited) : rule->value == INCLUDED;
}

/* Does it change anything? */
static bool has_effect(const struct index_rule *rule, bool inherited)
{
    bool below = below_of(rule, inherited);

    if (below != inherited || value_of(rule, inherited) != below)
        return true;
    for (const struct index_rule *child = rule->children; child != NULL; child = child->next) {
        if (has_effect(child, below))
            return true;
    }
    return false;
}

static bool includes_below(const struct index_rule *rule)
{
    for (const struct index_rule *child = rule->children; child != NULL; child = child->next) {
        if (has_effect(child, false))
            return true;
    }
    return false;
}

static int compare_names(const void *a, const void *b)
{
    struct slice first = (*(const struct index_rule *const *) a)->step.name;
    struct slice second = (*(const struct index_rule *const *) b)->step.name;
    size_t len = first.len < second.len ? first.len : second.len;
    int order = len > 0 ? memcmp(first.ptr, second.ptr, len) : 0;

    return order != 0 ? order : (first.len > second.len) - (first.len < second.len);
}

static void append_rule(struct buf *buf, const struct index_rule *rule, bool inherited,
                        bool is_root);

static void append_members(struct buf *buf, const struct index_rule *rule, bool below, bool is_root)
{
    const struct index_rule **members;
    size_t count = 0, room = 1;

    for (const struct index_rule *child = rule->children; child != NULL; child = child->next)
        room++;
    members = malloc(room * sizeof(*members));
    if (members == NULL) {
        buf->has_failed = true;
        return;
    }
    for (const struct index_rule *child = rule->children; child != NULL; child = child->next) {
        if (!child->step.is_element && has_effect(child, below) &&
            !(is_root && index_step_is_system(&child->step)))
            members[count++] = child;
    }
    qsort(members, count, sizeof(*members), compare_names);
    for (size_t i = 0; i < count; i++) {
        buf_append_text(buf, i == 0 ? ",\"m\":{" : ",");
        buf_append_json_string(buf, members[i]->step.name);
        buf_append_char(buf, ':');
        append_rule(buf, members[i], below, false);
    }
    if (count > 0)
        buf_append_char(buf, '}');
    free(members);
}

/* {"*": is what lies below included, "?": is a scalar here, "m": members, "e": elements} */
static void append_rule(struct buf *buf, const struct index_rule *rule, bool inherited,
                        bool is_root)
{
    bool below = below_of(rule, inherited), value = value_of(rule, inherited);

    buf_printf(buf, "{\"*\":%s", below ? "true" : "false");
    if (!is_root && value != below)
        buf_printf(buf, ",\"?\":%s", value ? "true" : "false");
    append_members(buf, rule, below, is_root);
    for (const struct index_rule *child = rule->children; child != NULL; child = child->next) {
        if (child->step.is_element && has_effect(child, below)) {
            buf_append_text(buf, ",\"e\":");
            append_rule(buf, child, below, false);
        }
    }
    buf_append_char(buf, '}');
}

void index_rules_append(struct buf *buf, const struct index_policy *policy)
{
    append_rule(buf, policy->root, false, true);
}

/* The list of subtrees that index_rules_subtrees makes, and where it stands. */
struct subtrees {
    struct arena *arena;
    struct index_path *paths;
    size_t count, max, depth;
    struct index_step steps[INDEX_STEPS_MAX];
};

static bool add_subtree(struct subtrees *list)
{
    struct index_step *steps = arena_alloc(list->arena, list->depth * sizeof(*steps));

    if (steps == NULL || list->count == list->max)
        return false;
    memcpy(steps, list->steps, list->depth * sizeof(*steps));
    list->paths[list->count++] = (struct index_path){list->depth, steps};
    return true;
}

/* Everything here is included but for some members: name them, or go into them. */
static bool walk_subtrees(struct subtrees *list, const struct index_rule *rule)
{
    for (const struct index_rule *child = rule->children; child != NULL; child = child->next) {
        bool below = below_of(child, true);
        if (!has_effect(child, true) || (list->depth == 0 && index_step_is_system(&child->step)))
            continue;
        if (child->step.is_element || value_of(child, true) != below ||
            list->depth == INDEX_STEPS_MAX)
            return false;
        list->steps[list->depth++] = child->step;
        if (below ? !walk_subtrees(list, child) : includes_below(child) || !add_subtree(list))
            return false;
        list->depth--;
    }
    return true;
}

bool index_rules_subtrees(const struct index_policy *policy, struct index_path *paths, size_t max,
                          size_t *count, struct arena *arena)
{
    struct subtrees list = {.arena = arena, .paths = paths, .max = max};
    bool is_whole = below_of(policy->root, false) && walk_subtrees(&list, policy->root);

    *count = list.count;
    return is_whole;
}

static bool read_rule(struct index_rule *rule, struct slice text, struct arena *arena,
                      struct fault *fault);

static bool read_member(struct index_rule *rule, const struct index_step *step, struct slice text,
                        struct arena *arena, struct fault *fault)
{
    struct index_rule *child = make_child(rule, step, arena);

    if (child == NULL)
        return fault_set_oom(fault);
    return read_rule(child, text, arena, fault);
}

static bool read_rule(struct index_rule *rule, struct slice text, struct arena *arena,
                      struct fault *fault)
{
    struct index_step element = {.is_element = true}, member = {0};
    struct slice name, value;
    struct json_cursor cursor;

    if (json_find(text, SLICE_LITERAL("*"), &value))
        rule->below = json_type(value) == JSON_TRUE ? INCLUDED : EXCLUDED;
    if (json_find(text, SLICE_LITERAL("?"), &value))
        rule->value = json_type(value) == JSON_TRUE ? INCLUDED : EXCLUDED;
    if (json_find(text, SLICE_LITERAL("e"), &value) &&
        !read_member(rule, &element, value, arena, fault))
        return false;
    if (!json_find(text, SLICE_LITERAL("m"), &value))
        return true;
    cursor = json_iterate(value);
    while (json_next_member(&cursor, &name, &value)) {
        if (!json_string_decode(name, arena, &member.name, fault) ||
            !read_member(rule, &member, value, arena, fault))
            return false;
    }
    return true;
}

bool index_rules_parse(struct index_policy *policy, struct slice text, struct arena *arena,
                       struct fault *fault)
{
    struct index_rule *root = arena_alloc(arena, sizeof(*root));
    struct json_text json;

    *policy = (struct index_policy){.is_indexed = true, .root = root};
    if (root == NULL)
        return fault_set_oom(fault);
    return json_validate(text, JSON_DEPTH_MAX, &json, fault) &&
           read_rule(root, json.root, arena, fault);
}
