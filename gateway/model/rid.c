#include "model/rid.h"

#include "base/crypto.h"

#include <assert.h>

#include "base/banned.h"

#define CONTAINER_BIT 0x80000000u
#define NUMBER31_MAX 0x7fffffffu

/* Children of a container: the nibble that marks them and their word in paths. */
static const struct {
    enum rid_type type;
    uint8_t nibble;
    const char *word;
} children[] = {
    {RID_ITEM, 0x0, "docs"},      {RID_CONFLICT, 0x4, "conflicts"}, {RID_PKRANGE, 0x5, "pkranges"},
    {RID_UDF, 0x6, "udfs"},       {RID_TRIGGER, 0x7, "triggers"},   {RID_SPROC, 0x8, "sprocs"},
    {RID_SCHEMA, 0x9, "schemas"},
};

static size_t child_row(enum rid_type type)
{
    for (size_t i = 0; i < ARRAY_LEN(children); i++) {
        if (children[i].type == type)
            return i;
    }
    return ARRAY_LEN(children);
}

static bool is_child(enum rid_type type)
{
    return child_row(type) < ARRAY_LEN(children);
}

static void store_big(uint8_t *out, uint32_t value)
{
    for (unsigned i = 0; i < 4; i++)
        out[i] = (uint8_t) (value >> (24 - 8 * i));
}

static uint32_t load_big(const uint8_t *bytes)
{
    return (uint32_t) bytes[0] << 24 | (uint32_t) bytes[1] << 16 | (uint32_t) bytes[2] << 8 |
           bytes[3];
}

static void store_little(uint8_t *out, uint64_t value, size_t len)
{
    for (size_t i = 0; i < len; i++)
        out[i] = (uint8_t) (value >> (8 * i));
}

static uint64_t load_little(const uint8_t *bytes, size_t len)
{
    uint64_t value = 0;

    for (size_t i = len; i-- > 0;)
        value = value << 8 | bytes[i];
    return value;
}

static size_t encode(const struct rid *rid, uint8_t bytes[RID_BYTES_MAX])
{
    if (rid->type == RID_OFFER) {
        assert(rid->number <= RID_OFFER_MAX);
        store_little(bytes, rid->number, 3);
        return 3;
    }
    assert(rid->owner <= NUMBER31_MAX);
    assert(rid->number <= RID_NUMBER_MAX);
    store_big(bytes, rid->database);
    if (rid->type == RID_DATABASE)
        return 4;
    bool is_user = rid->type == RID_USER || rid->type == RID_PERMISSION;
    bool is_key = rid->type == RID_CLIENT_ENCRYPTION_KEY;
    assert(is_key == (rid->owner == 0));
    store_big(bytes + 4, is_user || is_key ? rid->owner : rid->owner | CONTAINER_BIT);
    if (rid->type == RID_CONTAINER || rid->type == RID_USER)
        return 8;
    store_little(bytes + 8, rid->number, 8);
    if (is_child(rid->type))
        bytes[15] |= (uint8_t) (children[child_row(rid->type)].nibble << 4);
    return 16;
}

void rid_container_bytes(const struct rid *container, uint8_t bytes[8])
{
    uint8_t all[RID_BYTES_MAX];

    assert(container->type == RID_CONTAINER);
    memcpy(bytes, all, encode(container, all));
}

void rid_format(const struct rid *rid, char text[RID_TEXT_BYTES])
{
    uint8_t bytes[RID_BYTES_MAX];
    size_t len = encode(rid, bytes);

    base64_encode(bytes, len, text);
    for (size_t i = 0; i < BASE64_LEN(len); i++) {
        if (text[i] == '/')
            text[i] = '-';
    }
    text[BASE64_LEN(len)] = '\0';
}

void rid_append(struct buf *buf, const struct rid *rid)
{
    char text[RID_TEXT_BYTES];

    rid_format(rid, text);
    buf_append_text(buf, text);
}

struct rid rid_parent(const struct rid *rid)
{
    struct rid parent = {RID_DATABASE, rid->database, 0, 0};

    if (rid->type == RID_PERMISSION)
        parent = (struct rid){RID_USER, rid->database, rid->owner, 0};
    else if (is_child(rid->type))
        parent = (struct rid){RID_CONTAINER, rid->database, rid->owner, 0};
    return parent;
}

static const char *path_word(enum rid_type type)
{
    switch (type) {
    case RID_OFFER:
        return "offers";
    case RID_DATABASE:
        return "dbs";
    case RID_CONTAINER:
        return "colls";
    case RID_USER:
        return "users";
    case RID_PERMISSION:
        return "permissions";
    case RID_CLIENT_ENCRYPTION_KEY:
        return "clientencryptionkeys";
    default:
        return children[child_row(type)].word;
    }
}

void rid_append_self(struct buf *buf, const struct rid *rid)
{
    if (rid->type != RID_OFFER && rid->type != RID_DATABASE) {
        struct rid parent = rid_parent(rid);
        rid_append_self(buf, &parent);
    }
    buf_append_text(buf, path_word(rid->type));
    buf_append_char(buf, '/');
    rid_append(buf, rid);
    buf_append_char(buf, '/');
}

/* Base64 with "-" for "/"; false when it is none, or longer than any resource id. */
static bool decode(struct slice text, uint8_t bytes[RID_BYTES_MAX + 2], size_t *len)
{
    char standard[RID_TEXT_BYTES];

    if (text.len == 0 || text.len >= RID_TEXT_BYTES)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] == '/')
            return false;
        standard[i] = text.ptr[i] == '-' ? '/' : text.ptr[i];
    }
    return base64_decode(slice_make(standard, text.len), bytes, RID_BYTES_MAX + 2, len);
}

static bool decode_child(const uint8_t bytes[RID_BYTES_MAX], struct rid *rid)
{
    uint32_t owner = load_big(bytes + 4);

    rid->number = load_little(bytes + 8, 8) & RID_NUMBER_MAX;
    rid->owner = owner & ~CONTAINER_BIT;
    if ((owner & CONTAINER_BIT) == 0) {
        rid->type = owner == 0 ? RID_CLIENT_ENCRYPTION_KEY : RID_PERMISSION;
        return bytes[15] >> 4 == 0;
    }
    for (size_t i = 0; i < ARRAY_LEN(children); i++) {
        if (children[i].nibble == bytes[15] >> 4) {
            rid->type = children[i].type;
            return rid->owner != 0;
        }
    }
    return false;
}

bool rid_parse(struct slice text, struct rid *rid)
{
    uint8_t bytes[RID_BYTES_MAX + 2];
    size_t len;

    *rid = (struct rid){RID_OFFER, 0, 0, 0};
    if (!decode(text, bytes, &len))
        return false;
    if (len == 3) {
        rid->number = load_little(bytes, 3);
        return true;
    }
    if (len != 4 && len != 8 && len != 16)
        return false;
    rid->database = load_big(bytes);
    rid->type = RID_DATABASE;
    if (len == 4)
        return true;
    if (len == 16)
        return decode_child(bytes, rid);
    uint32_t owner = load_big(bytes + 4);
    rid->type = owner & CONTAINER_BIT ? RID_CONTAINER : RID_USER;
    rid->owner = owner & ~CONTAINER_BIT;
    return rid->owner != 0;
}

bool rid_is_database_segment(struct slice segment)
{
    uint8_t bytes[RID_BYTES_MAX + 2];
    size_t len;

    return segment.len == 8 && decode(segment, bytes, &len) && len == 4;
}
