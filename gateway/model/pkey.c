#include "model/pkey.h"

#include "base/crypto.h"

#include "model/json.h"
#include "model/murmur.h"

#include <assert.h>

#include "base/banned.h"

/* Limits of the service; a string of version 1 is hashed by its first 100 bytes only. */
#define V2_VALUE_BYTES_MAX 2048
#define V1_VALUE_BYTES_MAX 101
#define V1_HASHED_BYTES 100
#define V2_HASH_BYTES 16

/* [{}] */
#define HEADER_DEPTH_MAX 2

/* First bytes of a component, in hashes, in effective keys and in column "pk". */
enum marker {
    MARKER_UNDEFINED = 0x00,
    MARKER_NULL = 0x01,
    MARKER_FALSE = 0x02,
    MARKER_TRUE = 0x03,
    MARKER_NUMBER = 0x05,
    MARKER_STRING = 0x08,
};

static const uint8_t markers[] = {
    [PKEY_UNDEFINED] = MARKER_UNDEFINED, [PKEY_NULL] = MARKER_NULL,
    [PKEY_FALSE] = MARKER_FALSE,         [PKEY_TRUE] = MARKER_TRUE,
    [PKEY_NUMBER] = MARKER_NUMBER,       [PKEY_STRING] = MARKER_STRING,
};

/* Paths ------------------------------------------------------------------------------------- */

/* The length of a segment that starts behind a slash, quotes included; 0 when malformed. */
static size_t segment_len(struct slice rest)
{
    if (rest.len == 0 || rest.ptr[0] != '"') {
        const char *slash = rest.len > 0 ? memchr(rest.ptr, '/', rest.len) : NULL;
        return slash != NULL ? (size_t) (slash - rest.ptr) : rest.len;
    }
    for (size_t i = 1; i < rest.len; i++) {
        if (rest.ptr[i] == '\\')
            i++;
        else if (rest.ptr[i] == '"')
            return i + 1 == rest.len || rest.ptr[i + 1] == '/' ? i + 1 : 0;
    }
    return 0;
}

/* Without its quotes and backslashes. */
static bool segment_name(struct slice *name, struct slice segment, struct arena *arena)
{
    *name = segment;
    if (segment.ptr[0] != '"')
        return true;
    char *copy = arena_alloc(arena, segment.len);
    if (copy == NULL)
        return false;
    size_t len = 0;
    for (size_t i = 1; i + 1 < segment.len; i++) {
        if (segment.ptr[i] == '\\' && i + 2 < segment.len)
            i++;
        copy[len++] = segment.ptr[i];
    }
    *name = slice_make(copy, len);
    return true;
}

bool pkey_path_parse(struct pkey_path *path, struct slice text, struct arena *arena,
                     struct fault *fault)
{
    size_t at = 0;

    *path = (struct pkey_path){.text = text};
    path->names = arena_alloc(arena, PKEY_PATH_NAMES_MAX * sizeof(*path->names));
    if (path->names == NULL)
        return fault_set_oom(fault);
    if (text.len < 2)
        return fault_set(fault, 400, SUB_NONE, "path \"%.*s\" must be a slash and a name",
                         FAULT_QUOTE(text));
    while (at < text.len) {
        struct slice rest = slice_make(text.ptr + at + 1, text.len - at - 1);
        size_t len = segment_len(rest);
        if (text.ptr[at] != '/' || len == 0)
            return fault_set(fault, 400, SUB_NONE,
                             "path \"%.*s\" is malformed: names are separated by single slashes, "
                             "and quotes are closed",
                             FAULT_QUOTE(text));
        if (path->name_count == PKEY_PATH_NAMES_MAX)
            return fault_set(fault, 400, SUB_NONE, "path \"%.*s\" has more than %d names",
                             FAULT_QUOTE(text), PKEY_PATH_NAMES_MAX);
        if (!segment_name(&path->names[path->name_count++], slice_make(rest.ptr, len), arena))
            return fault_set_oom(fault);
        at += 1 + len;
    }
    return true;
}

/* Values -------------------------------------------------------------------------------------- */

bool pkey_component_from_json(struct pkey_component *component, struct slice value,
                              struct arena *arena, struct fault *fault)
{
    *component = (struct pkey_component){.type = PKEY_UNDEFINED};
    if (value.len == 0)
        return true;
    switch (json_type(value)) {
    case JSON_NULL:
        component->type = PKEY_NULL;
        return true;
    case JSON_FALSE:
        component->type = PKEY_FALSE;
        return true;
    case JSON_TRUE:
        component->type = PKEY_TRUE;
        return true;
    case JSON_NUMBER:
        component->type = PKEY_NUMBER;
        component->number = json_number(value);
        if (component->number == 0)
            component->number = 0; /* -0 and 0 are one key */
        return true;
    case JSON_STRING:
        component->type = PKEY_STRING;
        return json_string_decode(value, arena, &component->text, fault);
    default:
        return true;
    }
}

static bool is_empty_object(struct slice value)
{
    struct json_cursor cursor = json_iterate(value);
    struct slice name, member;

    return !json_next_member(&cursor, &name, &member);
}

/* One element of the header; unlike in a body, only "{}" is undefined. */
static bool component_from_header(struct pkey_component *component, struct slice value,
                                  struct arena *arena, struct fault *fault)
{
    enum json_type type = json_type(value);

    if (type == JSON_ARRAY || (type == JSON_OBJECT && !is_empty_object(value)))
        return fault_set(fault, 400, SUB_NONE,
                         "the partition key is malformed: \"%.*s\" is neither string, number, "
                         "boolean, null nor {}",
                         FAULT_QUOTE(value));
    return pkey_component_from_json(component, value, arena, fault);
}

static bool check_length(const struct pkey *pkey, const struct pkey_definition *definition,
                         struct fault *fault)
{
    size_t max = definition->version == 1 ? V1_VALUE_BYTES_MAX : V2_VALUE_BYTES_MAX;
    size_t len = 0;

    for (size_t i = 0; i < pkey->count; i++)
        len += pkey->components[i].text.len;
    if (len > max)
        return fault_set(fault, 400, SUB_NONE,
                         "the partition key has %zu bytes, the limit of this container is %zu", len,
                         max);
    return true;
}

static bool all_undefined(const struct pkey *pkey)
{
    for (size_t i = 0; i < pkey->count; i++) {
        if (pkey->components[i].type != PKEY_UNDEFINED)
            return false;
    }
    return true;
}

bool pkey_complete(struct pkey *pkey, const struct pkey_definition *definition, struct fault *fault)
{
    /* "[{}]" and an absent member are "[]" where there was no partition key once. */
    if (definition->is_system_key && all_undefined(pkey))
        pkey->count = 0;
    return check_length(pkey, definition, fault);
}

static bool check_count(const struct pkey *pkey, const struct pkey_definition *definition,
                        enum pkey_extent extent, struct fault *fault)
{
    bool is_short = pkey->count < definition->path_count;

    if (pkey->count == definition->path_count || (is_short && extent == PKEY_PREFIX) ||
        (pkey->count == 0 && definition->is_system_key))
        return true;
    return fault_set(fault, 400, SUB_NONE,
                     "the partition key supplied in the x-ms-partitionkey header has %s components "
                     "(%zu) than defined in the collection (%zu)",
                     is_short ? "fewer" : "more", pkey->count, definition->path_count);
}

/* Check the JSON and put the reason, if there is one, behind what it is about. */
static bool validate_header(struct json_text *text, struct slice header, struct fault *fault)
{
    struct fault reason = {0};

    if (json_validate(header, HEADER_DEPTH_MAX, text, &reason)) {
        if (json_type(text->root) == JSON_ARRAY)
            return true;
        return fault_set(fault, 400, SUB_NONE,
                         "the partition key is malformed: it must be a JSON array, not \"%.*s\"",
                         FAULT_QUOTE(header));
    }
    if (reason.status != 400) {
        *fault = reason;
        return false;
    }
    return fault_set(fault, 400, SUB_NONE, "the partition key is malformed: %s", reason.message);
}

bool pkey_from_header(struct pkey *pkey, const struct pkey_definition *definition,
                      struct slice header, enum pkey_extent extent, struct arena *arena,
                      struct fault *fault)
{
    struct json_text text;
    struct slice value;

    pkey->count = 0;
    if (!validate_header(&text, header, fault))
        return false;
    struct json_cursor cursor = json_iterate(text.root);
    while (json_next_element(&cursor, &value)) {
        if (pkey->count == PKEY_LEVELS_MAX)
            return fault_set(fault, 400, SUB_NONE,
                             "the partition key is malformed: it has more than %d components",
                             PKEY_LEVELS_MAX);
        if (!component_from_header(&pkey->components[pkey->count++], value, arena, fault))
            return false;
    }
    return check_count(pkey, definition, extent, fault) && pkey_complete(pkey, definition, fault);
}

bool pkey_from_body(struct pkey *pkey, const struct pkey_definition *definition, struct slice body,
                    struct arena *arena, struct fault *fault)
{
    pkey->count = definition->path_count;
    for (size_t i = 0; i < definition->path_count; i++) {
        const struct pkey_path *path = &definition->paths[i];
        struct slice value = {NULL, 0};
        if (!json_find_path(body, path->names, path->name_count, &value))
            value = (struct slice){NULL, 0};
        if (!pkey_component_from_json(&pkey->components[i], value, arena, fault))
            return false;
    }
    return pkey_complete(pkey, definition, fault);
}

static bool component_equals(const struct pkey_component *a, const struct pkey_component *b)
{
    if (a->type != b->type)
        return false;
    if (a->type == PKEY_NUMBER)
        return a->number == b->number;
    return a->type != PKEY_STRING || slice_equals(a->text, b->text);
}

bool pkey_equals(const struct pkey *a, const struct pkey *b)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++) {
        if (!component_equals(&a->components[i], &b->components[i]))
            return false;
    }
    return true;
}

bool pkey_check_body(const struct pkey *header, const struct pkey *body, struct fault *fault)
{
    if (pkey_equals(header, body))
        return true;
    return fault_set(fault, 400, SUB_PARTITION_KEY_MISMATCH,
                     "PartitionKey extracted from document doesn't match the one specified in the "
                     "header");
}

/* Effective keys ------------------------------------------------------------------------------ */

static uint64_t number_bits(double number)
{
    uint64_t bits;

    memcpy(&bits, &number, sizeof(bits));
    return bits;
}

/*
 * Bytes to be hashed. On the stack: an item's key is hashed on every request, and hashing must not
 * be able to fail. Holds any value that pkey_complete passed, and any handful of components of a
 * test.
 */
struct hashed {
    size_t len;
    uint8_t bytes[4096];
};

static void hashed_init(struct hashed *hashed)
{
    hashed->len = 0;
    hashed->bytes[0] = 0; /* the compiler cannot see that no byte behind len is read */
}

static void hashed_push(struct hashed *hashed, const void *bytes, size_t len)
{
    assert(len <= sizeof(hashed->bytes) - hashed->len);
    if (len > 0)
        memcpy(hashed->bytes + hashed->len, bytes, len);
    hashed->len += len;
}

/* What both hashes read of one component; a string is cut to text_max and closed by end. */
static void hashed_push_component(struct hashed *hashed, const struct pkey_component *component,
                                  size_t text_max, uint8_t end)
{
    hashed_push(hashed, &markers[component->type], 1);
    if (component->type == PKEY_NUMBER) {
        uint64_t bits = number_bits(component->number);
        uint8_t little[8];
        for (unsigned i = 0; i < 8; i++)
            little[i] = (uint8_t) (bits >> (8 * i));
        hashed_push(hashed, little, sizeof(little));
    } else if (component->type == PKEY_STRING) {
        size_t len = component->text.len < text_max ? component->text.len : text_max;
        hashed_push(hashed, component->text.ptr, len);
        hashed_push(hashed, &end, 1);
    }
}

static void epk_push(struct epk *epk, uint8_t byte)
{
    assert(epk->len < EPK_BYTES_MAX);
    epk->bytes[epk->len++] = byte;
}

/*
 * A number so that bytes sort as numbers do: the top byte, then at least one group of 7 bits whose
 * low bit says that another follows.
 */
static void push_number(struct epk *epk, double number)
{
    uint64_t bits = number_bits(number);
    uint64_t sign = (uint64_t) 1 << 63;

    bits = bits < sign ? bits ^ sign : ~bits + 1;
    epk_push(epk, MARKER_NUMBER);
    epk_push(epk, (uint8_t) (bits >> 56));
    bits <<= 8;
    do {
        epk_push(epk, (uint8_t) (bits >> 56 | 1));
        bits <<= 7;
    } while (bits != 0);
    epk->bytes[epk->len - 1] &= 0xfe;
}

static void push_string(struct epk *epk, struct slice text)
{
    size_t len = text.len < V1_HASHED_BYTES ? text.len : V1_HASHED_BYTES;

    epk_push(epk, MARKER_STRING);
    for (size_t i = 0; i < len; i++)
        epk_push(epk, (uint8_t) (text.ptr[i] + 1));
    epk_push(epk, 0);
}

void pkey_epk_of_v1_hash(uint32_t hash, struct epk *epk)
{
    epk->len = 0;
    push_number(epk, hash);
}

void pkey_hash_v1(const struct pkey_component *components, size_t count, struct epk *epk)
{
    struct hashed hashed;

    hashed_init(&hashed);
    for (size_t i = 0; i < count; i++)
        hashed_push_component(&hashed, &components[i], V1_HASHED_BYTES, 0x00);
    pkey_epk_of_v1_hash(murmur3_32(hashed.bytes, hashed.len), epk);
    for (size_t i = 0; i < count; i++) {
        if (components[i].type == PKEY_NUMBER)
            push_number(epk, components[i].number);
        else if (components[i].type == PKEY_STRING)
            push_string(epk, components[i].text);
        else
            epk_push(epk, markers[components[i].type]);
    }
}

void pkey_hash_v2(const struct pkey_component *components, size_t count, struct epk *epk)
{
    struct hashed hashed;
    uint8_t hash[V2_HASH_BYTES];

    hashed_init(&hashed);
    for (size_t i = 0; i < count; i++)
        hashed_push_component(&hashed, &components[i], SIZE_MAX, 0xff);
    murmur3_128(hashed.bytes, hashed.len, hash);
    epk->len = V2_HASH_BYTES;
    for (size_t i = 0; i < V2_HASH_BYTES; i++)
        epk->bytes[i] = hash[V2_HASH_BYTES - 1 - i];
    epk->bytes[0] &= 0x3f;
}

/* One hash per component, side by side. */
static void hash_multi(const struct pkey *pkey, struct epk *epk)
{
    epk->len = 0;
    for (size_t i = 0; i < pkey->count; i++) {
        struct epk one;
        pkey_hash_v2(&pkey->components[i], 1, &one);
        memcpy(epk->bytes + epk->len, one.bytes, one.len);
        epk->len = (uint16_t) (epk->len + one.len);
    }
}

void pkey_hash(const struct pkey *pkey, const struct pkey_definition *definition, struct epk *epk)
{
    epk->len = 0;
    if (pkey->count == 0)
        return;
    if (definition->kind == PKEY_MULTI_HASH)
        hash_multi(pkey, epk);
    else if (definition->version == 1)
        pkey_hash_v1(pkey->components, pkey->count, epk);
    else
        pkey_hash_v2(pkey->components, pkey->count, epk);
}

void pkey_epk_interval(const struct pkey *pkey, const struct pkey_definition *definition,
                       struct epk *min, struct epk *max)
{
    bool is_full = pkey->count == definition->path_count || definition->is_system_key;

    pkey_hash(pkey, definition, min);
    *max = *min;
    /* A full key is one point: its end is the least key above it. No first byte of a hash reaches
     * FF. */
    epk_push(max, is_full ? 0x00 : 0xff);
}

/* Column "pk" --------------------------------------------------------------------------------- */

static void append_canonical(struct buf *buf, const struct pkey_component *component)
{
    buf_append_char(buf, (char) markers[component->type]);
    if (component->type == PKEY_NUMBER) {
        uint64_t bits = number_bits(component->number);
        for (unsigned shift = 64; shift > 0; shift -= 8)
            buf_append_char(buf, (char) (bits >> (shift - 8)));
    } else if (component->type == PKEY_STRING) {
        buf_append_slice(buf, component->text);
        buf_append_char(buf, '\0');
    }
}

void pkey_encode(struct buf *buf, const struct pkey *pkey, const struct pkey_definition *definition)
{
    uint8_t digest[SHA256_BYTES];
    struct epk epk;

    pkey_hash(pkey, definition, &epk);
    buf_append_slice(buf, epk_slice(&epk));
    size_t start = buf->len;
    for (size_t i = 0; i < pkey->count; i++)
        append_canonical(buf, &pkey->components[i]);
    if (buf->has_failed || buf->len - start <= PKEY_CANONICAL_MAX)
        return;
    /* Too long for an index entry beside a long id: a digest stands for it; 0xff is no type byte.
     */
    crypto_sha256(slice_make(buf->ptr + start, buf->len - start), digest);
    buf->len = start;
    buf_append_char(buf, (char) 0xff);
    buf_append(buf, digest, sizeof(digest));
}

/* Text ---------------------------------------------------------------------------------------- */

void pkey_append_json(struct buf *buf, const struct pkey *pkey)
{
    static const char *const words[] = {[PKEY_UNDEFINED] = "{}",
                                        [PKEY_NULL] = "null",
                                        [PKEY_FALSE] = "false",
                                        [PKEY_TRUE] = "true"};

    buf_append_char(buf, '[');
    for (size_t i = 0; i < pkey->count; i++) {
        const struct pkey_component *component = &pkey->components[i];
        char number[JSON_NUMBER_BYTES];
        if (i > 0)
            buf_append_char(buf, ',');
        if (component->type == PKEY_NUMBER)
            buf_append(buf, number, json_print_double(component->number, number));
        else if (component->type == PKEY_STRING)
            buf_append_json_string(buf, component->text);
        else
            buf_append_text(buf, words[component->type]);
    }
    buf_append_char(buf, ']');
}
