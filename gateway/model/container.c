#include "model/container.h"

#include "base/buf.h"
#include "base/crypto.h"
#include "model/definition.h"
#include "model/ids.h"
#include "model/indexing.h"

#include "base/banned.h"

/* Members of a definition, in the order in which they are printed. */
enum member {
    ID,
    PARTITION_KEY,
    INDEXING_POLICY,
    UNIQUE_KEY_POLICY,
    CONFLICT_POLICY,
    GEOSPATIAL_CONFIG,
    DEFAULT_TTL,
    TTL_PROPERTY_PATH,
    COMPUTED_PROPERTIES,
    VECTOR_POLICY,
    FULL_TEXT_POLICY,
    CHANGE_FEED_POLICY,
    ENCRYPTION_POLICY,
    ANALYTICAL_TTL,
    PRINTED_MEMBERS = ANALYTICAL_TTL,
    MEMBERS = ANALYTICAL_TTL + 10, /* system properties follow */
};

static const char *const members[MEMBERS] = {
    [ID] = "id",
    [PARTITION_KEY] = "partitionKey",
    [INDEXING_POLICY] = "indexingPolicy",
    [UNIQUE_KEY_POLICY] = "uniqueKeyPolicy",
    [CONFLICT_POLICY] = "conflictResolutionPolicy",
    [GEOSPATIAL_CONFIG] = "geospatialConfig",
    [DEFAULT_TTL] = "defaultTtl",
    [TTL_PROPERTY_PATH] = "ttlPropertyPath",
    [COMPUTED_PROPERTIES] = "computedProperties",
    [VECTOR_POLICY] = "vectorEmbeddingPolicy",
    [FULL_TEXT_POLICY] = "fullTextPolicy",
    [CHANGE_FEED_POLICY] = "changeFeedPolicy",
    [ENCRYPTION_POLICY] = "clientEncryptionPolicy",
    [ANALYTICAL_TTL] = "analyticalStorageTtl",
    /* Sent back by clients after a read: ignored. */
    [ANALYTICAL_TTL + 1] = "_rid",
    [ANALYTICAL_TTL + 2] = "_self",
    [ANALYTICAL_TTL + 3] = "_etag",
    [ANALYTICAL_TTL + 4] = "_ts",
    [ANALYTICAL_TTL + 5] = "_docs",
    [ANALYTICAL_TTL + 6] = "_sprocs",
    [ANALYTICAL_TTL + 7] = "_triggers",
    [ANALYTICAL_TTL + 8] = "_udfs",
    [ANALYTICAL_TTL + 9] = "_conflicts",
};

struct parser {
    struct definition_reader reader;
    struct container_settings *settings;
    const struct container_settings *current; /* of a replace, otherwise NULL */
};

static bool refuse(struct parser *parser, const char *text)
{
    return fault_set(parser->reader.fault, 400, SUB_NONE, "%s", text);
}

static bool append_id(struct parser *parser, struct slice value, struct buf *out)
{
    struct slice *id = &parser->settings->id;

    if (slice_is_absent(value))
        return refuse(parser, "The input content is invalid because the required properties - "
                              "'id; ' - are missing");
    if (!definition_string(&parser->reader, value, "id", id) ||
        !ids_check(*id, parser->reader.fault))
        return false;
    if (parser->current != NULL && !slice_equals(*id, parser->current->id))
        return refuse(parser, "the id of a container cannot be changed");
    buf_append_json_string(out, *id);
    return true;
}

/* Partition key ------------------------------------------------------------------------------- */

static bool read_key_paths(struct parser *parser, struct slice value,
                           struct pkey_definition *definition)
{
    static const char *const where = "partitionKey.paths";
    struct json_cursor cursor;
    struct slice element;
    size_t count;

    if (!definition_array(&parser->reader, value, where, &cursor, &count))
        return false;
    if (count < 1 || count > PKEY_LEVELS_MAX)
        return refuse(parser, "partitionKey.paths must have one to three paths");
    while (json_next_element(&cursor, &element)) {
        struct pkey_path *path = &definition->paths[definition->path_count];
        if (!definition_path(&parser->reader, element, where, path))
            return false;
        for (size_t i = 0; i < definition->path_count; i++) {
            if (slice_equals(definition->paths[i].text, path->text))
                return refuse(parser, "partitionKey.paths names a path twice");
        }
        definition->path_count++;
    }
    return true;
}

/*
 * Which hash; a create without version means 1, a replace without it means what there is. The Java
 * SDK sends the names of its constants, "V1" and "V2" (measured: tests/integration/sdk_java).
 */
static bool read_key_version(struct parser *parser, struct slice value,
                             struct pkey_definition *definition)
{
    int64_t version = definition->kind == PKEY_MULTI_HASH ? 2 : 1;

    if (parser->current != NULL)
        version = parser->current->partition_key.version;
    /* The Java SDK sends the name of its enumerator. */
    if (!slice_is_absent(value) && json_type(value) == JSON_STRING &&
        (json_string_equals(value, SLICE_LITERAL("V1")) ||
         json_string_equals(value, SLICE_LITERAL("V2"))))
        version = json_string_equals(value, SLICE_LITERAL("V2")) ? 2 : 1;
    else if (!slice_is_absent(value) &&
             !definition_integer(&parser->reader, value, "partitionKey.version", 1, 2, &version))
        return false;
    definition->version = (unsigned) version;
    if (definition->kind == PKEY_MULTI_HASH && version != 2)
        return refuse(parser, "partitionKey.version must be 2 for kind MultiHash");
    if (definition->kind == PKEY_HASH && definition->path_count != 1)
        return refuse(parser, "partitionKey.kind Hash takes exactly one path; kind MultiHash takes "
                              "up to three");
    return true;
}

static void print_key(const struct pkey_definition *definition, struct buf *out)
{
    buf_append_text(out, "{\"paths\":[");
    for (size_t i = 0; i < definition->path_count; i++) {
        if (i > 0)
            buf_append_char(out, ',');
        buf_append_json_string(out, definition->paths[i].text);
    }
    buf_printf(out, "],\"kind\":\"%s\",\"version\":%u%s}",
               definition->kind == PKEY_HASH ? "Hash" : "MultiHash", definition->version,
               definition->is_system_key ? ",\"systemKey\":true" : "");
}

static bool append_partition_key(struct parser *parser, struct slice value, struct buf *out)
{
    static const char *const names[] = {"paths", "kind", "version", "systemKey"};
    static const char *const kinds[] = {"Hash", "MultiHash"};
    struct pkey_definition *definition = &parser->settings->partition_key;
    struct definition_reader *reader = &parser->reader;
    struct slice values[4];
    size_t kind = PKEY_HASH;

    if (slice_is_absent(value))
        return refuse(parser, "partitionKey is missing: every container has one");
    if (!definition_members(reader, value, "partitionKey", names, 4, values) ||
        !read_key_paths(parser, values[0], definition))
        return false;
    if (parser->current != NULL)
        kind = parser->current->partition_key.kind;
    if (!slice_is_absent(values[1]) &&
        !definition_word(reader, values[1], "partitionKey.kind", kinds, 2, &kind))
        return false;
    definition->kind = kind == 0 ? PKEY_HASH : PKEY_MULTI_HASH;
    if (!read_key_version(parser, values[2], definition))
        return false;
    definition->is_system_key =
        parser->current != NULL && parser->current->partition_key.is_system_key;
    if (!slice_is_absent(values[3]) &&
        !definition_bool(reader, values[3], "partitionKey.systemKey", &definition->is_system_key))
        return false;
    if (definition->is_system_key && definition->kind != PKEY_HASH)
        return refuse(parser, "partitionKey.systemKey goes with kind Hash only");
    print_key(definition, out);
    return true;
}

/* Unique keys --------------------------------------------------------------------------------- */

static bool read_unique_key(struct parser *parser, struct slice value,
                            struct container_unique_key *key, struct buf *out)
{
    static const char *const where = "uniqueKeyPolicy.uniqueKeys.paths";
    static const char *const names[] = {"paths"};
    struct slice paths, element;
    struct json_cursor cursor;
    size_t count;

    if (!definition_members(&parser->reader, value, "uniqueKeyPolicy.uniqueKeys", names, 1,
                            &paths) ||
        !definition_array(&parser->reader, paths, where, &cursor, &count))
        return false;
    if (count < 1 || count > CONTAINER_UNIQUE_PATHS_MAX)
        return refuse(parser, "a unique key must have 1 to 16 paths");
    key->paths = arena_alloc(parser->reader.arena, count * sizeof(*key->paths));
    if (key->paths == NULL)
        return fault_set_oom(parser->reader.fault);
    buf_append_text(out, "{\"paths\":[");
    while (json_next_element(&cursor, &element)) {
        struct pkey_path *path = &key->paths[key->path_count];
        if (!definition_path(&parser->reader, element, where, path))
            return false;
        if (key->path_count++ > 0)
            buf_append_char(out, ',');
        buf_append_json_string(out, path->text);
    }
    buf_append_text(out, "]}");
    return true;
}

static bool append_unique_keys(struct parser *parser, struct slice value, struct buf *out)
{
    static const char *const names[] = {"uniqueKeys"};
    struct container_settings *settings = parser->settings;
    struct slice keys, element;
    struct json_cursor cursor;
    size_t count;

    if (slice_is_absent(value))
        return true;
    if (!definition_members(&parser->reader, value, "uniqueKeyPolicy", names, 1, &keys))
        return false;
    if (slice_is_absent(keys))
        return true;
    if (!definition_array(&parser->reader, keys, "uniqueKeyPolicy.uniqueKeys", &cursor, &count))
        return false;
    if (count == 0)
        return true;
    if (count > CONTAINER_UNIQUE_KEYS_MAX)
        return refuse(parser, "a container can have at most 10 unique keys");
    settings->unique_keys =
        arena_alloc(parser->reader.arena, count * sizeof(*settings->unique_keys));
    if (settings->unique_keys == NULL)
        return fault_set_oom(parser->reader.fault);
    buf_append_text(out, "{\"uniqueKeys\":[");
    while (json_next_element(&cursor, &element)) {
        if (settings->unique_key_count > 0)
            buf_append_char(out, ',');
        if (!read_unique_key(parser, element, &settings->unique_keys[settings->unique_key_count++],
                             out))
            return false;
    }
    buf_append_text(out, "]}");
    return true;
}

/* Other policies ------------------------------------------------------------------------------ */

static bool append_indexing(struct parser *parser, struct slice value, struct buf *out)
{
    size_t start = out->len;

    if (!indexing_append(out, &parser->reader, value))
        return false;
    if (out->has_failed)
        return fault_set_oom(parser->reader.fault);
    char *copy = arena_copy(parser->reader.arena, out->ptr + start, out->len - start);
    if (copy == NULL)
        return fault_set_oom(parser->reader.fault);
    return index_policy_parse(&parser->settings->indexing, slice_make(copy, out->len - start),
                              parser->reader.arena, parser->reader.fault);
}

static bool read_conflict_path(struct parser *parser, struct slice value)
{
    static const char *const where = "conflictResolutionPolicy.conflictResolutionPath";
    struct container_settings *settings = parser->settings;
    struct slice *text = &settings->conflict_path;
    struct pkey_path path;

    if (!slice_is_absent(value) && !definition_string(&parser->reader, value, where, text))
        return false;
    if (slice_is_empty(*text) && settings->conflict_mode == CONTAINER_LAST_WRITER_WINS)
        *text = SLICE_LITERAL("/_ts");
    if (slice_is_empty(*text) || slice_equals_text(*text, "/_ts"))
        return true;
    if (!definition_path(&parser->reader, value, where, &path))
        return false;
    if (settings->conflict_mode == CONTAINER_LAST_WRITER_WINS)
        settings->conflict_rank = path;
    return true;
}

static bool append_conflict_policy(struct parser *parser, struct slice value, struct buf *out)
{
    static const char *const names[] = {"mode", "conflictResolutionPath",
                                        "conflictResolutionProcedure"};
    static const char *const modes[] = {"LastWriterWins", "Custom"};
    struct container_settings *settings = parser->settings;
    struct definition_reader *reader = &parser->reader;
    struct slice values[3];
    size_t mode = 0;

    settings->conflict_path = settings->conflict_procedure = SLICE_LITERAL("");
    if (slice_is_absent(value))
        value = SLICE_LITERAL("{}");
    if (!definition_members(reader, value, "conflictResolutionPolicy", names, 3, values))
        return false;
    if (!slice_is_absent(values[0]) &&
        !definition_word(reader, values[0], "conflictResolutionPolicy.mode", modes, 2, &mode))
        return false;
    settings->conflict_mode = mode == 0 ? CONTAINER_LAST_WRITER_WINS : CONTAINER_CUSTOM;
    if (!read_conflict_path(parser, values[1]))
        return false;
    if (!slice_is_absent(values[2]) &&
        !definition_string(reader, values[2],
                           "conflictResolutionPolicy.conflictResolutionProcedure",
                           &settings->conflict_procedure))
        return false;
    if (mode == 0 && settings->conflict_procedure.len > 0)
        return refuse(parser, "conflictResolutionPolicy.conflictResolutionProcedure goes with mode "
                              "Custom only");
    buf_printf(out, "{\"mode\":\"%s\",\"conflictResolutionPath\":", modes[mode]);
    buf_append_json_string(out, settings->conflict_path);
    buf_append_text(out, ",\"conflictResolutionProcedure\":");
    buf_append_json_string(out, settings->conflict_procedure);
    buf_append_char(out, '}');
    return true;
}

static bool append_geospatial(struct parser *parser, struct slice value, struct buf *out)
{
    static const char *const names[] = {"type"};
    static const char *const types[] = {"Geography", "Geometry"};
    struct slice type = {NULL, 0};
    size_t index = 0;

    if (!slice_is_absent(value) &&
        !definition_members(&parser->reader, value, "geospatialConfig", names, 1, &type))
        return false;
    if (!slice_is_absent(type) &&
        !definition_word(&parser->reader, type, "geospatialConfig.type", types, 2, &index))
        return false;
    parser->settings->indexing.is_planar = index == 1;
    buf_printf(out, "{\"type\":\"%s\"}", types[index]);
    return true;
}

static bool append_default_ttl(struct parser *parser, struct slice value, struct buf *out)
{
    int64_t ttl_s;

    if (slice_is_absent(value))
        return true;
    if (!definition_integer(&parser->reader, value, "defaultTtl", -1, INT32_MAX, &ttl_s))
        return false;
    if (ttl_s == 0)
        return refuse(parser, "defaultTtl must be -1 or a number of seconds above 0");
    parser->settings->has_default_ttl = true;
    parser->settings->default_ttl_s = (int32_t) ttl_s;
    buf_append_i64(out, ttl_s);
    return true;
}

/* An item's ttl is always its member "ttl"; kept for clients of old API versions. */
static bool append_ttl_property(struct parser *parser, struct slice value, struct buf *out)
{
    struct pkey_path path;

    if (slice_is_absent(value))
        return true;
    if (!definition_path(&parser->reader, value, "ttlPropertyPath", &path))
        return false;
    buf_append_json_string(out, path.text);
    return true;
}

static bool check_analytical_ttl(struct parser *parser, struct slice value, struct buf *out)
{
    int64_t ttl_s;

    (void) out;
    if (slice_is_absent(value) || json_integer(value, 0, 0, &ttl_s))
        return true;
    return refuse(parser, "analyticalStorageTtl is not supported: there is no analytical store");
}

/* Members that are kept as they came, once every part of them is known ------------------------ */

static bool append_computed(struct parser *parser, struct slice value, struct buf *out)
{
    static const char *const where = "computedProperties";
    static const char *const names[] = {"name", "query"};
    struct slice element, values[2], text;
    struct json_cursor cursor;
    size_t count;

    if (slice_is_absent(value))
        return true;
    if (!definition_array(&parser->reader, value, where, &cursor, &count))
        return false;
    if (count > 20)
        return refuse(parser, "a container can have at most 20 computedProperties");
    while (json_next_element(&cursor, &element)) {
        if (!definition_members(&parser->reader, element, where, names, 2, values) ||
            !definition_string(&parser->reader, values[0], "computedProperties.name", &text))
            return false;
        if (text.len == 0)
            return refuse(parser, "computedProperties.name is empty");
        if (!definition_string(&parser->reader, values[1], "computedProperties.query", &text))
            return false;
    }
    if (count > 0)
        buf_append_slice(out, value);
    return true;
}

static bool check_embedding(struct parser *parser, struct slice element)
{
    static const char *const names[] = {"path", "dataType", "dimensions", "distanceFunction"};
    static const char *const types[] = {"float32", "float16", "int8", "uint8"};
    static const char *const functions[] = {"cosine", "dotproduct", "euclidean"};
    struct definition_reader *reader = &parser->reader;
    struct slice values[4];
    struct pkey_path path;
    int64_t dimensions;
    size_t index;

    return definition_members(reader, element, "vectorEmbeddingPolicy.vectorEmbeddings", names, 4,
                              values) &&
           definition_path(reader, values[0], "vectorEmbeddings.path", &path) &&
           definition_word(reader, values[1], "vectorEmbeddings.dataType", types, 4, &index) &&
           definition_integer(reader, values[2], "vectorEmbeddings.dimensions", 1, 4096,
                              &dimensions) &&
           definition_word(reader, values[3], "vectorEmbeddings.distanceFunction", functions, 3,
                           &index);
}

static bool append_vector_policy(struct parser *parser, struct slice value, struct buf *out)
{
    static const char *const names[] = {"vectorEmbeddings"};
    struct slice list, element;
    struct json_cursor cursor;
    size_t count;

    if (slice_is_absent(value))
        return true;
    if (!definition_members(&parser->reader, value, "vectorEmbeddingPolicy", names, 1, &list) ||
        !definition_array(&parser->reader, list, "vectorEmbeddingPolicy.vectorEmbeddings", &cursor,
                          &count))
        return false;
    while (json_next_element(&cursor, &element)) {
        if (!check_embedding(parser, element))
            return false;
    }
    buf_append_slice(out, value);
    return true;
}

static bool append_full_text_policy(struct parser *parser, struct slice value, struct buf *out)
{
    static const char *const names[] = {"defaultLanguage", "fullTextPaths"};
    static const char *const path_names[] = {"path", "language"};
    struct definition_reader *reader = &parser->reader;
    struct slice values[2], element, text;
    struct json_cursor cursor;
    struct pkey_path path;
    size_t count;

    if (slice_is_absent(value))
        return true;
    if (!definition_members(reader, value, "fullTextPolicy", names, 2, values))
        return false;
    if (!slice_is_absent(values[0]) &&
        !definition_string(reader, values[0], "fullTextPolicy.defaultLanguage", &text))
        return false;
    struct slice list = slice_is_absent(values[1]) ? SLICE_LITERAL("[]") : values[1];
    if (!definition_array(reader, list, "fullTextPolicy.fullTextPaths", &cursor, &count))
        return false;
    while (json_next_element(&cursor, &element)) {
        if (!definition_members(reader, element, "fullTextPolicy.fullTextPaths", path_names, 2,
                                values) ||
            !definition_path(reader, values[0], "fullTextPaths.path", &path))
            return false;
        if (!slice_is_absent(values[1]) &&
            !definition_string(reader, values[1], "fullTextPaths.language", &text))
            return false;
    }
    buf_append_slice(out, value);
    return true;
}

static bool append_change_feed_policy(struct parser *parser, struct slice value, struct buf *out)
{
    static const char *const names[] = {"retentionDuration"};
    struct slice duration;
    int64_t minutes;

    if (slice_is_absent(value))
        return true;
    if (!definition_members(&parser->reader, value, "changeFeedPolicy", names, 1, &duration) ||
        !definition_integer(&parser->reader, duration, "changeFeedPolicy.retentionDuration", 0,
                            INT32_MAX, &minutes))
        return false;
    buf_append_slice(out, value);
    return true;
}

static bool check_encrypted_path(struct parser *parser, struct slice element)
{
    static const char *const names[] = {"path", "clientEncryptionKeyId", "encryptionType",
                                        "encryptionAlgorithm"};
    static const char *const types[] = {"Deterministic", "Randomized"};
    static const char *const algorithms[] = {"AEAD_AES_256_CBC_HMAC_SHA256"};
    struct definition_reader *reader = &parser->reader;
    struct slice values[4], text;
    struct pkey_path path;
    size_t index;

    return definition_members(reader, element, "clientEncryptionPolicy.includedPaths", names, 4,
                              values) &&
           definition_path(reader, values[0], "clientEncryptionPolicy.path", &path) &&
           definition_string(reader, values[1], "clientEncryptionPolicy.clientEncryptionKeyId",
                             &text) &&
           definition_word(reader, values[2], "clientEncryptionPolicy.encryptionType", types, 2,
                           &index) &&
           definition_word(reader, values[3], "clientEncryptionPolicy.encryptionAlgorithm",
                           algorithms, 1, &index);
}

static bool append_encryption_policy(struct parser *parser, struct slice value, struct buf *out)
{
    static const char *const names[] = {"includedPaths", "policyFormatVersion"};
    struct slice values[2], element;
    struct json_cursor cursor;
    int64_t version;
    size_t count;

    if (slice_is_absent(value))
        return true;
    if (!definition_members(&parser->reader, value, "clientEncryptionPolicy", names, 2, values) ||
        !definition_array(&parser->reader, values[0], "clientEncryptionPolicy.includedPaths",
                          &cursor, &count) ||
        !definition_integer(&parser->reader, values[1],
                            "clientEncryptionPolicy.policyFormatVersion", 1, 2, &version))
        return false;
    while (json_next_element(&cursor, &element)) {
        if (!check_encrypted_path(parser, element))
            return false;
    }
    buf_append_slice(out, value);
    return true;
}

/* The whole ----------------------------------------------------------------------------------- */

/* Check one member and append its canonical value, or nothing when it is not set. */
typedef bool append_fn(struct parser *parser, struct slice value, struct buf *out);

static append_fn *const appenders[PRINTED_MEMBERS + 1] = {
    [ID] = append_id,
    [PARTITION_KEY] = append_partition_key,
    [INDEXING_POLICY] = append_indexing,
    [UNIQUE_KEY_POLICY] = append_unique_keys,
    [CONFLICT_POLICY] = append_conflict_policy,
    [GEOSPATIAL_CONFIG] = append_geospatial,
    [DEFAULT_TTL] = append_default_ttl,
    [TTL_PROPERTY_PATH] = append_ttl_property,
    [COMPUTED_PROPERTIES] = append_computed,
    [VECTOR_POLICY] = append_vector_policy,
    [FULL_TEXT_POLICY] = append_full_text_policy,
    [CHANGE_FEED_POLICY] = append_change_feed_policy,
    [ENCRYPTION_POLICY] = append_encryption_policy,
    [ANALYTICAL_TTL] = check_analytical_ttl,
};

/* What a replace may leave out but not change. */
static const enum member lasting[] = {PARTITION_KEY, UNIQUE_KEY_POLICY, CONFLICT_POLICY};

static bool is_lasting(enum member member)
{
    for (size_t i = 0; i < ARRAY_LEN(lasting); i++) {
        if (lasting[i] == member)
            return true;
    }
    return false;
}

static struct slice stored_member(struct slice stored, enum member member)
{
    struct slice value;

    if (!json_find(stored, slice_from_text(members[member]), &value))
        return (struct slice){NULL, 0};
    return value;
}

/* Both are canonical, so equal settings are equal texts. */
static bool check_lasting(struct parser *parser, struct slice stored, enum member member,
                          struct slice text)
{
    struct slice before = stored_member(stored, member);

    if (slice_equals(before, text))
        return true;
    return fault_set(parser->reader.fault, 400, SUB_NONE, "%s of a container cannot be changed",
                     members[member]);
}

static bool append_member(struct parser *parser, struct slice stored, enum member member,
                          struct slice value, struct buf *out)
{
    size_t before = out->len;
    bool is_first = member == ID;

    if (!slice_is_absent(stored) && is_lasting(member) && slice_is_absent(value))
        value = stored_member(stored, member);
    buf_append_text(out, is_first ? "{\"" : ",\"");
    buf_append_text(out, members[member]);
    buf_append_text(out, "\":");
    size_t start = out->len;
    if (!appenders[member](parser, value, out))
        return false;
    if (out->has_failed)
        return fault_set_oom(parser->reader.fault);
    struct slice text = slice_make(out->ptr + start, out->len - start);
    if (!slice_is_absent(stored) && is_lasting(member) &&
        !check_lasting(parser, stored, member, text))
        return false;
    if (text.len == 0) /* not set: take its name back */
        out->len = before;
    return true;
}

static bool parse_object(struct parser *parser, struct slice *definition, struct slice body,
                         struct slice stored)
{
    struct slice values[MEMBERS];
    struct buf out = {0};
    bool is_good = definition_members(&parser->reader, body, "", members, MEMBERS, values);

    for (enum member member = 0; is_good && member < PRINTED_MEMBERS; member++)
        is_good = append_member(parser, stored, member, values[member], &out);
    is_good = is_good && check_analytical_ttl(parser, values[ANALYTICAL_TTL], &out);
    buf_append_char(&out, '}');
    if (is_good) {
        char *copy = out.has_failed ? NULL : arena_copy(parser->reader.arena, out.ptr, out.len);
        *definition = slice_make(copy, out.len);
        is_good = copy != NULL || fault_set_oom(parser->reader.fault);
    }
    buf_finish(&out);
    return is_good;
}

static bool parse_text(struct parser *parser, struct slice *definition, struct slice body,
                       struct slice stored)
{
    struct json_text text;

    *parser->settings = (struct container_settings){0};
    return json_validate(body, JSON_DEPTH_MAX, &text, parser->reader.fault) &&
           parse_object(parser, definition, text.root, stored);
}

bool container_parse(struct container_settings *settings, struct slice *definition,
                     struct slice body, struct arena *arena, struct fault *fault)
{
    struct parser parser = {{arena, fault}, settings, NULL};

    return parse_text(&parser, definition, body, slice_make(NULL, 0));
}

bool container_parse_replacement(struct container_settings *settings, struct slice *definition,
                                 struct slice body, struct slice stored, struct arena *arena,
                                 struct fault *fault)
{
    struct container_settings current;
    struct parser parser = {{arena, fault}, settings, &current};

    return container_load(&current, stored, arena, fault) &&
           parse_text(&parser, definition, body, stored);
}

bool container_load(struct container_settings *settings, struct slice stored, struct arena *arena,
                    struct fault *fault)
{
    struct slice definition;
    struct fault reason = {0};

    if (container_parse(settings, &definition, stored, arena, &reason))
        return true;
    if (reason.status == 400)
        return fault_set(fault, 500, SUB_NONE, "a stored container definition is damaged: %s",
                         reason.message);
    *fault = reason;
    return false;
}

/* Claims -------------------------------------------------------------------------------------- */

/* Type, bytes, and an end that no value contains: different tuples are different texts. */
static bool append_claimed(struct buf *text, struct slice value, struct arena *arena,
                           struct fault *fault)
{
    struct pkey_component component;

    if (!pkey_component_from_json(&component, value, arena, fault))
        return false;
    if (component.type == PKEY_UNDEFINED && slice_is_absent(value))
        component.type = PKEY_NULL;
    buf_append_char(text, (char) ('a' + component.type));
    if (component.type == PKEY_STRING)
        buf_append_slice(text, component.text);
    else if (component.type == PKEY_NUMBER)
        buf_append(text, &component.number, sizeof(component.number));
    else if (component.type == PKEY_UNDEFINED)
        buf_append_slice(text, value); /* an object or array: its text */
    buf_append_char(text, '\0');
    return true;
}

bool container_unique_claims(const struct container_settings *settings, struct slice body,
                             struct container_claim *claims, struct arena *arena,
                             struct fault *fault)
{
    struct buf text = {0};
    bool is_good = true;

    for (size_t k = 0; is_good && k < settings->unique_key_count; k++) {
        const struct container_unique_key *key = &settings->unique_keys[k];
        text.len = 0;
        for (size_t i = 0; is_good && i < key->path_count; i++) {
            struct slice value;
            if (!json_find_path(body, key->paths[i].names, key->paths[i].name_count, &value))
                value = (struct slice){NULL, 0};
            is_good = append_claimed(&text, value, arena, fault);
        }
        if (is_good && text.has_failed)
            is_good = fault_set_oom(fault);
        claims[k].key_number = (int16_t) k;
        if (is_good)
            crypto_sha256(buf_slice(&text), claims[k].value);
    }
    buf_finish(&text);
    return is_good;
}

bool container_conflict_rank(const struct container_settings *settings, struct slice body,
                             double *rank)
{
    const struct pkey_path *path = &settings->conflict_rank;
    struct slice value;

    if (path->name_count == 0 || !json_find_path(body, path->names, path->name_count, &value) ||
        json_type(value) != JSON_NUMBER)
        return false;
    *rank = json_number(value);
    return true;
}
