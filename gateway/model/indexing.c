#include "model/indexing.h"

#include "base/banned.h"

#define POLICY "indexingPolicy"

enum member {
    MODE,
    AUTOMATIC,
    INCLUDED,
    EXCLUDED,
    COMPOSITE,
    SPATIAL,
    VECTOR,
    FULL_TEXT,
    MEMBERS,
};

static const char *const members[MEMBERS] = {
    [MODE] = "indexingMode",      [AUTOMATIC] = "automatic",        [INCLUDED] = "includedPaths",
    [EXCLUDED] = "excludedPaths", [COMPOSITE] = "compositeIndexes", [SPATIAL] = "spatialIndexes",
    [VECTOR] = "vectorIndexes",   [FULL_TEXT] = "fullTextIndexes",
};

/* [{"path":"…"}]; has_root tells whether the path of everything is among them. "indexes" is of old
 * API versions: dropped. */
static bool append_patterns(struct buf *out, struct definition_reader *reader, struct slice value,
                            const char *where, bool *has_root)
{
    static const char *const names[] = {"path", "indexes"};
    struct slice element, values[2], path;
    struct json_cursor cursor;
    size_t count;

    if (!definition_array(reader, value, where, &cursor, &count))
        return false;
    buf_append_char(out, '[');
    for (size_t i = 0; json_next_element(&cursor, &element); i++) {
        if (!definition_members(reader, element, where, names, 2, values) ||
            !definition_string(reader, values[0], where, &path))
            return false;
        if (!slice_is_absent(values[1]) && json_type(values[1]) != JSON_ARRAY)
            return fault_set(reader->fault, 400, SUB_NONE, "%s.indexes must be an array", where);
        *has_root |= slice_equals_text(path, "/*");
        buf_append_text(out, i > 0 ? ",{\"path\":" : "{\"path\":");
        buf_append_json_string(out, path);
        buf_append_char(out, '}');
    }
    buf_append_char(out, ']');
    return true;
}

/* Included and excluded paths, of which one must be the root. */
static bool append_paths(struct buf *out, struct definition_reader *reader,
                         const struct slice *values, bool is_indexed)
{
    struct buf included = {0}, excluded = {0};
    bool includes_root = false, excludes_root = false;
    bool is_good = slice_is_absent(values[INCLUDED]) ||
                   append_patterns(&included, reader, values[INCLUDED], POLICY ".includedPaths",
                                   &includes_root);

    is_good = is_good && (slice_is_absent(values[EXCLUDED]) ||
                          append_patterns(&excluded, reader, values[EXCLUDED],
                                          POLICY ".excludedPaths", &excludes_root));
    if (is_good && is_indexed && included.len > 2 && !includes_root && !excludes_root)
        is_good =
            fault_set(reader->fault, 400, SUB_NONE, POLICY " must include or exclude the path /*");
    bool is_default = is_indexed && !excludes_root && included.len <= 2;
    buf_append_text(out, ",\"includedPaths\":");
    if (is_default || included.len == 0)
        buf_append_text(out, is_default ? "[{\"path\":\"/*\"}]" : "[]");
    else
        buf_append_slice(out, buf_slice(&included));
    buf_append_text(out, ",\"excludedPaths\":");
    if (excluded.len == 0)
        buf_append_text(out, is_indexed ? "[{\"path\":\"/\\\"_etag\\\"/?\"}]" : "[]");
    else
        buf_append_slice(out, buf_slice(&excluded));
    out->has_failed |= included.has_failed || excluded.has_failed;
    buf_finish(&included);
    buf_finish(&excluded);
    return is_good;
}

/* One composite index: paths, each with its order. */
static bool append_composite(struct buf *out, struct definition_reader *reader, struct slice index)
{
    static const char *const where = POLICY ".compositeIndexes";
    static const char *const names[] = {"path", "order"};
    static const char *const orders[] = {"ascending", "descending"};
    struct slice element, values[2];
    struct json_cursor cursor;
    struct slice path;
    size_t count, order;

    if (!definition_array(reader, index, where, &cursor, &count))
        return false;
    buf_append_char(out, '[');
    for (size_t i = 0; json_next_element(&cursor, &element); i++) {
        order = 0;
        if (!definition_members(reader, element, where, names, 2, values) ||
            !definition_string(reader, values[0], where, &path))
            return false;
        if (!slice_is_absent(values[1]) &&
            !definition_word(reader, values[1], POLICY ".compositeIndexes.order", orders, 2,
                             &order))
            return false;
        buf_append_text(out, i > 0 ? ",{\"path\":" : "{\"path\":");
        buf_append_json_string(out, path);
        buf_printf(out, ",\"order\":\"%s\"}", orders[order]);
    }
    buf_append_char(out, ']');
    return true;
}

#define COMPOSITES_MAX 100 /* as the service has it */

static bool append_composites(struct buf *out, struct definition_reader *reader, struct slice value)
{
    struct json_cursor cursor;
    struct slice index;
    size_t count;

    if (slice_is_absent(value))
        return true;
    if (!definition_array(reader, value, POLICY ".compositeIndexes", &cursor, &count))
        return false;
    if (count == 0)
        return true;
    if (count > COMPOSITES_MAX)
        return fault_set(reader->fault, 400, SUB_NONE,
                         POLICY ".compositeIndexes has more than %d indexes", COMPOSITES_MAX);
    buf_append_text(out, ",\"compositeIndexes\":[");
    for (size_t i = 0; json_next_element(&cursor, &index); i++) {
        if (i > 0)
            buf_append_char(out, ',');
        if (!append_composite(out, reader, index))
            return false;
    }
    buf_append_char(out, ']');
    return true;
}

/* Kinds of index whose elements are kept as they came, once their members are known ones. */
struct kept {
    enum member member;
    const char *where;
    const char *names[6]; /* "path" first */
    const char *types[5]; /* of "type", or of each of "types" */
};

static const struct kept kept[] = {
    {SPATIAL,
     POLICY ".spatialIndexes",
     {"path", "types", "boundingBox"},
     {"Point", "LineString", "Polygon", "MultiPolygon"}},
    {VECTOR,
     POLICY ".vectorIndexes",
     {"path", "type", "quantizationByteSize", "indexingSearchListSize", "vectorIndexShardKey",
      "quantizerType"},
     {"flat", "quantizedFlat", "diskANN"}},
    {FULL_TEXT, POLICY ".fullTextIndexes", {"path"}, {0}},
};

static size_t count_texts(const char *const *texts, size_t max)
{
    size_t count = 0;

    while (count < max && texts[count] != NULL)
        count++;
    return count;
}

static bool check_types(struct definition_reader *reader, const struct kept *kind,
                        struct slice value)
{
    size_t count, index, types = count_texts(kind->types, ARRAY_LEN(kind->types));
    struct json_cursor cursor;
    struct slice element;

    if (kind->member == VECTOR)
        return definition_word(reader, value, kind->where, kind->types, types, &index);
    if (kind->member == FULL_TEXT || slice_is_absent(value))
        return true;
    if (!definition_array(reader, value, kind->where, &cursor, &count))
        return false;
    while (json_next_element(&cursor, &element)) {
        if (!definition_word(reader, element, kind->where, kind->types, types, &index))
            return false;
    }
    return true;
}

static bool append_kept(struct buf *out, struct definition_reader *reader, const struct kept *kind,
                        struct slice value)
{
    struct slice element, values[ARRAY_LEN(kind->names)];
    struct json_cursor cursor;
    size_t count, names = count_texts(kind->names, ARRAY_LEN(kind->names));

    if (slice_is_absent(value))
        return true;
    if (!definition_array(reader, value, kind->where, &cursor, &count))
        return false;
    while (json_next_element(&cursor, &element)) {
        struct pkey_path path;
        struct slice text;
        if (!definition_members(reader, element, kind->where, kind->names, names, values) ||
            !definition_string(reader, values[0], kind->where, &text) ||
            !pkey_path_parse(&path, text, reader->arena, reader->fault) ||
            !check_types(reader, kind, names > 1 ? values[1] : (struct slice){NULL, 0}))
            return false;
    }
    if (count > 0) {
        buf_printf(out, ",\"%s\":", members[kind->member]);
        buf_append_slice(out, value);
    }
    return true;
}

bool indexing_append(struct buf *out, struct definition_reader *reader, struct slice policy)
{
    static const char *const modes[] = {"consistent", "none", "lazy"};
    struct slice values[MEMBERS];
    bool is_automatic = true;
    size_t mode = 0;

    if (slice_is_absent(policy))
        policy = SLICE_LITERAL("{}");
    if (!definition_members(reader, policy, POLICY, members, MEMBERS, values))
        return false;
    if (!slice_is_absent(values[MODE]) &&
        !definition_word(reader, values[MODE], POLICY ".indexingMode", modes, 3, &mode))
        return false;
    bool is_indexed = mode != 1;
    if (!slice_is_absent(values[AUTOMATIC]) &&
        !definition_bool(reader, values[AUTOMATIC], POLICY ".automatic", &is_automatic))
        return false;
    buf_printf(out, "{\"indexingMode\":\"%s\",\"automatic\":%s", is_indexed ? "consistent" : "none",
               is_automatic ? "true" : "false");
    if (!append_paths(out, reader, values, is_indexed) ||
        !append_composites(out, reader, values[COMPOSITE]))
        return false;
    for (size_t i = 0; i < ARRAY_LEN(kept); i++) {
        if (!append_kept(out, reader, &kept[i], values[kept[i].member]))
            return false;
    }
    buf_append_char(out, '}');
    return true;
}
