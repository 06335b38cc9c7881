#include "query/index_set.h"

#include "model/json.h"

#include <assert.h>
#include <string.h>

#include "base/banned.h"

/* More subtrees than this to leave out are left to a function. */
#define SUBTREES_MAX 16
/* Pairs of rank and key in one index row: 3 × 812 bytes and the rest stay below its 2,704. */
#define COMPOSITE_HELD_MAX 3

/* The set ------------------------------------------------------------------------------------- */

/* Room for one more; doubles. The old list stays in the arena. */
static void *grow(void *list, size_t count, size_t *room, size_t size, struct arena *arena)
{
    void *longer;

    if (count < *room)
        return list;
    longer = arena_alloc(arena, (*room > 0 ? 2 * *room : 4) * size);
    if (longer == NULL)
        return NULL;
    if (count > 0)
        memcpy(longer, list, count * size);
    *room = *room > 0 ? 2 * *room : 4;
    return longer;
}

static bool add_range(struct index_set *set, struct slice spec, struct arena *arena,
                      struct fault *fault)
{
    struct index_path *ranges =
        grow(set->ranges, set->range_count, &set->range_room, sizeof(*ranges), arena);

    if (ranges == NULL)
        return fault_set_oom(fault);
    set->ranges = ranges;
    return index_path_parse(&ranges[set->range_count++], spec, arena, fault);
}

/* Specs of composite indexes are policies that have one index only. */
static bool parse_composite(struct index_composite *composite, struct slice spec,
                            struct arena *arena, struct fault *fault)
{
    struct index_policy policy;

    if (!index_policy_parse(&policy, spec, arena, fault))
        return false;
    if (policy.composite_count != 1)
        return fault_set(fault, 500, SUB_NONE, "a stored composite index is damaged");
    *composite = policy.composites[0];
    return true;
}

static bool add_composite(struct index_set *set, struct slice spec, struct arena *arena,
                          struct fault *fault)
{
    struct index_composite *composites = grow(set->composites, set->composite_count,
                                              &set->composite_room, sizeof(*composites), arena);

    if (composites == NULL)
        return fault_set_oom(fault);
    set->composites = composites;
    return parse_composite(&composites[set->composite_count++], spec, arena, fault);
}

/* {"path": "/a", "types": 15}; in a plane with "plane": [x_min, y_min, x_max, y_max] */
static bool parse_located(struct index_located *located, struct slice spec, struct arena *arena,
                          struct fault *fault)
{
    struct json_text text;
    struct slice value, path;
    double bounds[4];
    size_t count = 0;

    *located = (struct index_located){0};
    if (!json_validate(spec, JSON_DEPTH_MAX, &text, fault))
        return false;
    if (!json_find(text.root, SLICE_LITERAL("types"), &value) || json_type(value) != JSON_NUMBER ||
        !json_find(text.root, SLICE_LITERAL("path"), &path) || json_type(path) != JSON_STRING)
        return fault_set(fault, 500, SUB_NONE, "a stored spatial index is damaged");
    located->spatial.types = (unsigned) json_number(value) & INDEX_GEOMETRIES;
    located->is_planar = json_find(text.root, SLICE_LITERAL("plane"), &value);
    if (located->is_planar) {
        struct json_cursor cursor = json_iterate(value);
        while (count < ARRAY_LEN(bounds) && json_next_element(&cursor, &value))
            bounds[count++] = json_number(value);
        if (count < ARRAY_LEN(bounds))
            return fault_set(fault, 500, SUB_NONE, "a stored spatial index is damaged");
        located->spatial.bounds = (struct index_box){bounds[0], bounds[1], bounds[2], bounds[3]};
    }
    return json_string_decode(path, arena, &value, fault) &&
           index_path_parse(&located->spatial.path, value, arena, fault);
}

static bool add_located(struct index_set *set, struct slice spec, struct arena *arena,
                        struct fault *fault)
{
    struct index_located *located =
        grow(set->located, set->located_count, &set->located_room, sizeof(*located), arena);

    if (located == NULL)
        return fault_set_oom(fault);
    set->located = located;
    return parse_located(&located[set->located_count++], spec, arena, fault);
}

bool index_set_add(struct index_set *set, enum index_kind kind, struct slice spec,
                   struct arena *arena, struct fault *fault)
{
    switch (kind) {
    case INDEX_CONTAINMENT:
        set->has_containment = true;
        return index_rules_parse(&set->contained, spec, arena, fault);
    case INDEX_RANGE:
        return add_range(set, spec, arena, fault);
    case INDEX_COMPOSITE:
        return add_composite(set, spec, arena, fault);
    case INDEX_SPATIAL:
        return add_located(set, spec, arena, fault);
    }
    return fault_set(fault, 500, SUB_NONE, "a stored index is of an unknown kind");
}

bool index_set_contains(const struct index_set *set, const struct index_path *path,
                        enum index_reach reach)
{
    if (!set->has_containment || path->count == 0 || index_step_is_system(&path->steps[0]))
        return false;
    return index_policy_covers(&set->contained, path, reach);
}

bool index_set_has_range(const struct index_set *set, const struct index_path *path)
{
    for (size_t i = 0; i < set->range_count; i++) {
        if (index_path_equals(&set->ranges[i], path))
            return true;
    }
    return false;
}

const struct index_located *index_set_located(const struct index_set *set,
                                              const struct index_path *path, bool is_planar)
{
    const struct index_located *found = NULL;

    /* The last one: what others are to be replaced by. */
    for (size_t i = 0; i < set->located_count; i++) {
        if (set->located[i].is_planar == is_planar &&
            index_path_equals(&set->located[i].spatial.path, path))
            found = &set->located[i];
    }
    return found;
}

const struct index_composite *index_set_composite(const struct index_set *set,
                                                  const struct index_key *keys, size_t count,
                                                  bool *is_reversed)
{
    return index_composite_find(set->composites, set->composite_count, keys, count, is_reversed);
}

/* Expressions --------------------------------------------------------------------------------- */

static void append_literal(struct buf *sql, struct slice text)
{
    buf_append_char(sql, '\'');
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] == '\'')
            buf_append_char(sql, '\'');
        buf_append_char(sql, text.ptr[i]);
    }
    buf_append_char(sql, '\'');
}

static void append_column(struct buf *sql, const char *alias, const char *column)
{
    if (alias[0] != '\0')
        buf_printf(sql, "%s.", alias);
    buf_append_text(sql, column);
}

void index_append_value(struct buf *sql, const char *alias, const struct index_path *path)
{
    append_column(sql, alias, "doc");
    for (size_t i = 0; i < path->count; i++) {
        assert(!path->steps[i].is_element);
        buf_append_text(sql, "->");
        append_literal(sql, path->steps[i].name);
    }
}

static void append_call(struct buf *sql, const char *function, const char *alias,
                        const struct index_path *path)
{
    buf_printf(sql, "orrery.%s(", function);
    index_append_value(sql, alias, path);
    buf_append_char(sql, ')');
}

void index_append_rank(struct buf *sql, const char *alias, const struct index_path *path)
{
    append_call(sql, "value_rank", alias, path);
}

void index_append_key(struct buf *sql, const char *alias, const struct index_path *path)
{
    append_call(sql, "value_key", alias, path);
}

static void append_double(struct buf *text, double number)
{
    char digits[JSON_NUMBER_BYTES];
    size_t len = json_print_double(number, digits);

    buf_append(text, digits, len);
}

void index_append_box(struct buf *sql, const char *alias, const struct index_located *located)
{
    const struct index_box *bounds = &located->spatial.bounds;

    buf_printf(sql, "orrery.%s(", located->is_planar ? "plane_box" : "globe_box");
    index_append_value(sql, alias, &located->spatial.path);
    buf_printf(sql, ", %u", located->spatial.types);
    if (located->is_planar) {
        buf_append_text(sql, ", box '((");
        append_double(sql, bounds->x_min);
        buf_append_char(sql, ',');
        append_double(sql, bounds->y_min);
        buf_append_text(sql, "),(");
        append_double(sql, bounds->x_max);
        buf_append_char(sql, ',');
        append_double(sql, bounds->y_max);
        buf_append_text(sql, "))'");
    }
    buf_append_char(sql, ')');
}

bool index_path_is_ts(const struct index_path *path)
{
    return path->count == 1 && !path->steps[0].is_element &&
           slice_equals_text(path->steps[0].name, "_ts");
}

bool index_path_can_range(const struct index_path *path)
{
    if (path->count == 0 || (index_step_is_system(&path->steps[0]) && !index_path_is_ts(path)))
        return false;
    for (size_t i = 0; i < path->count; i++) {
        if (path->steps[i].is_element)
            return false;
    }
    return true;
}

static void append_subtree(struct buf *sql, const struct index_path *path)
{
    buf_append_text(sql, " #- array[");
    for (size_t i = 0; i < path->count; i++) {
        if (i > 0)
            buf_append_char(sql, ',');
        append_literal(sql, path->steps[i].name);
    }
    buf_append_char(sql, ']');
}

/* Members of the item itself; "#-" raises an error where a longer path meets an array. */
static bool are_members(const struct index_path *paths, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (paths[i].count != 1)
            return false;
    }
    return true;
}

/*
 * The document without what the rules leave out. Taking out members is quick; for all other shapes
 * there is a function, which costs more per document.
 */
static void append_contained(struct buf *sql, const char *alias, const struct index_policy *rules)
{
    struct arena arena;
    struct index_path paths[SUBTREES_MAX];
    struct buf text = {0};
    size_t count;

    arena_init(&arena, 1 << 20);
    if (index_rules_subtrees(rules, paths, SUBTREES_MAX, &count, &arena) &&
        are_members(paths, count)) {
        buf_append_text(sql, count > 0 ? "(" : "");
        append_column(sql, alias, "doc");
        for (size_t i = 0; i < count; i++)
            append_subtree(sql, &paths[i]);
        buf_append_text(sql, count > 0 ? ")" : "");
    } else {
        index_rules_append(&text, rules);
        buf_append_text(sql, "orrery.doc_pruned(");
        append_column(sql, alias, "doc, ");
        append_literal(sql, buf_slice(&text));
        buf_append_text(sql, "::jsonb)");
    }
    sql->has_failed |= text.has_failed;
    buf_finish(&text);
    arena_finish(&arena);
}

void index_set_append_containment(const struct index_set *set, struct buf *sql)
{
    if (set == NULL || !set->has_containment)
        append_column(sql, "i", "doc");
    else
        append_contained(sql, "i", &set->contained);
}

/* Specs --------------------------------------------------------------------------------------- */

void index_spec_append_path(struct buf *spec, const struct index_path *path)
{
    index_path_append(spec, path);
}

void index_spec_append_composite(struct buf *spec, const struct index_composite *composite)
{
    struct buf path = {0};

    buf_append_text(spec, "{\"compositeIndexes\":[[");
    for (size_t i = 0; i < composite->count; i++) {
        path.len = 0;
        index_path_append(&path, &composite->keys[i].path);
        buf_append_text(spec, i > 0 ? ",{\"path\":" : "{\"path\":");
        buf_append_json_string(spec, buf_slice(&path));
        buf_printf(spec, ",\"order\":\"%s\"}",
                   composite->keys[i].is_descending ? "descending" : "ascending");
    }
    buf_append_text(spec, "]]}");
    spec->has_failed |= path.has_failed;
    buf_finish(&path);
}

void index_spec_append_located(struct buf *spec, const struct index_located *located)
{
    const struct index_box *bounds = &located->spatial.bounds;
    struct buf path = {0};

    index_path_append(&path, &located->spatial.path);
    buf_append_text(spec, "{\"path\":");
    buf_append_json_string(spec, buf_slice(&path));
    buf_printf(spec, ",\"types\":%u", located->spatial.types);
    if (located->is_planar) {
        buf_append_text(spec, ",\"plane\":[");
        append_double(spec, bounds->x_min);
        buf_append_char(spec, ',');
        append_double(spec, bounds->y_min);
        buf_append_char(spec, ',');
        append_double(spec, bounds->x_max);
        buf_append_char(spec, ',');
        append_double(spec, bounds->y_max);
        buf_append_char(spec, ']');
    }
    buf_append_char(spec, '}');
    spec->has_failed |= path.has_failed;
    buf_finish(&path);
}

void index_spec_append_rules(struct buf *spec, const struct index_policy *policy)
{
    index_rules_append(spec, policy);
}

/* Definitions --------------------------------------------------------------------------------- */

static const char *direction(bool is_descending)
{
    return is_descending ? " desc" : "";
}

static void append_order(struct buf *sql, const struct index_key *key)
{
    if (index_path_is_ts(&key->path)) {
        buf_printf(sql, "ts%s, ", direction(key->is_descending));
        return;
    }
    index_append_rank(sql, "", &key->path);
    buf_printf(sql, "%s, ", direction(key->is_descending));
    index_append_key(sql, "", &key->path);
    buf_printf(sql, "%s, ", direction(key->is_descending));
}

static void append_btree(struct buf *sql, const struct index_key *keys, size_t count)
{
    buf_append_text(sql, "(range_id, ");
    for (size_t i = 0; i < count; i++)
        append_order(sql, &keys[i]);
    buf_printf(sql, "rid%s) where not deleted", direction(keys[0].is_descending));
}

size_t index_composite_held(const struct index_composite *composite)
{
    size_t count = 0;

    while (count < composite->count && count < COMPOSITE_HELD_MAX &&
           index_path_can_range(&composite->keys[count].path))
        count++;
    return count;
}

static bool append_range_definition(struct buf *sql, struct slice spec, struct arena *arena,
                                    struct fault *fault)
{
    struct index_key key = {0};

    if (!index_path_parse(&key.path, spec, arena, fault))
        return false;
    if (!index_path_can_range(&key.path))
        return fault_set(fault, 500, SUB_NONE, "there can be no range index on %.*s",
                         FAULT_QUOTE(spec));
    append_btree(sql, &key, 1);
    return true;
}

static bool append_composite_definition(struct buf *sql, struct slice spec, struct arena *arena,
                                        struct fault *fault)
{
    struct index_composite composite;

    if (!parse_composite(&composite, spec, arena, fault))
        return false;
    size_t held = index_composite_held(&composite);
    if (held == 0)
        return fault_set(fault, 500, SUB_NONE, "there can be no such composite index");
    append_btree(sql, composite.keys, held);
    return true;
}

static bool append_located_definition(struct buf *sql, struct slice spec, struct arena *arena,
                                      struct fault *fault)
{
    struct index_located located;

    if (!parse_located(&located, spec, arena, fault))
        return false;
    if (!index_path_can_range(&located.spatial.path))
        return fault_set(fault, 500, SUB_NONE, "there can be no such spatial index");
    buf_append_text(sql, "using gist (");
    index_append_box(sql, "", &located);
    buf_append_text(sql, ") where not deleted");
    return true;
}

bool index_append_definition(struct buf *sql, enum index_kind kind, struct slice spec,
                             struct arena *arena, struct fault *fault)
{
    struct index_policy rules;

    switch (kind) {
    case INDEX_CONTAINMENT:
        if (!index_rules_parse(&rules, spec, arena, fault))
            return false;
        buf_append_text(sql, "using gin (");
        append_contained(sql, "", &rules);
        buf_append_text(sql,
                        " jsonb_path_ops) with (fastupdate = on, gin_pending_list_limit = 1024)");
        return true;
    case INDEX_RANGE:
        return append_range_definition(sql, spec, arena, fault);
    case INDEX_COMPOSITE:
        return append_composite_definition(sql, spec, arena, fault);
    case INDEX_SPATIAL:
        return append_located_definition(sql, spec, arena, fault);
    }
    return fault_set(fault, 500, SUB_NONE, "a stored index is of an unknown kind");
}

/* ---- What a policy declares ---- */

struct wanted_list {
    struct index_wanted *items;
    size_t count;
    struct arena *arena;
    struct fault *fault;
};

static bool is_wanted(const struct wanted_list *list, enum index_kind kind, struct slice spec)
{
    for (size_t i = 0; i < list->count; i++) {
        if (list->items[i].kind == kind && slice_equals(list->items[i].spec, spec))
            return true;
    }
    return false;
}

/* Takes the spec. What is declared twice is one index. */
static bool want(struct wanted_list *list, enum index_kind kind, struct buf *spec)
{
    struct index_wanted *wanted = &list->items[list->count];
    struct buf definition = {0};
    char *spec_text = spec->has_failed ? NULL : arena_copy(list->arena, spec->ptr, spec->len);

    *wanted = (struct index_wanted){.kind = kind, .spec = slice_make(spec_text, spec->len)};
    buf_finish(spec);
    if (spec_text == NULL)
        return fault_set_oom(list->fault);
    if (is_wanted(list, kind, wanted->spec))
        return true;
    bool is_made =
        index_append_definition(&definition, kind, wanted->spec, list->arena, list->fault);
    char *text = definition.has_failed || !is_made
                     ? NULL
                     : arena_copy(list->arena, definition.ptr, definition.len);
    wanted->definition = slice_make(text, definition.len);
    buf_finish(&definition);
    list->count++;
    return is_made && (text != NULL || fault_set_oom(list->fault));
}

static bool want_composites(struct wanted_list *list, const struct index_policy *policy)
{
    for (size_t i = 0; i < policy->composite_count; i++) {
        struct buf spec = {0};
        if (index_composite_held(&policy->composites[i]) == 0)
            continue;
        index_spec_append_composite(&spec, &policy->composites[i]);
        if (!want(list, INDEX_COMPOSITE, &spec))
            return false;
    }
    return true;
}

static bool want_spatials(struct wanted_list *list, const struct index_policy *policy)
{
    for (size_t i = 0; i < policy->spatial_count; i++) {
        struct index_located located = {policy->spatial[i], policy->is_planar};
        struct buf spec = {0};
        if (located.spatial.types == 0 || index_path_is_ts(&located.spatial.path) ||
            !index_path_can_range(&located.spatial.path))
            continue;
        index_spec_append_located(&spec, &located);
        if (!want(list, INDEX_SPATIAL, &spec))
            return false;
    }
    return true;
}

bool index_set_declared(const struct index_policy *policy, struct index_wanted **list,
                        size_t *count, struct arena *arena, struct fault *fault)
{
    size_t most = 1 + policy->composite_count + policy->spatial_count;
    struct wanted_list wanted = {
        .items = arena_alloc(arena, most * sizeof(**list)), .arena = arena, .fault = fault};
    struct buf spec = {0};

    *count = 0;
    *list = wanted.items;
    if (wanted.items == NULL)
        return fault_set_oom(fault);
    if (!policy->is_indexed)
        return true;
    index_spec_append_rules(&spec, policy);
    if (!want(&wanted, INDEX_CONTAINMENT, &spec) || !want_composites(&wanted, policy) ||
        !want_spatials(&wanted, policy))
        return false;
    *count = wanted.count;
    return true;
}
