#include "model/authtoken.h"

#include "base/clock.h"
#include "base/crypto.h"
#include "base/hex.h"

#include <assert.h>

#include "base/banned.h"

#define PAYLOAD_BYTES_MAX 8192
#define PAYLOAD_VERSION 1
/* Before what is signed in a resource token, so that it can never be the text of a master token. */
#define RESOURCE_DOMAIN "orrery resource token\n"

/* Header -------------------------------------------------------------------------------------- */

static bool malformed(struct fault *fault, const char *what)
{
    return fault_set(fault, 401, SUB_NONE,
                     "the authorization header is malformed: %s; it must be the URL-encoded text "
                     "type={type}&ver={version}&sig={signature}",
                     what);
}

/* Decode %XX; what is no escape stays as it is. */
static bool percent_decode(struct slice *text, struct arena *arena)
{
    if (memchr(text->ptr, '%', text->len) == NULL)
        return true;
    char *out = arena_alloc(arena, text->len);
    size_t len = 0;
    if (out == NULL)
        return false;
    for (size_t i = 0; i < text->len; i++) {
        int high = i + 2 < text->len ? hex_value(text->ptr[i + 1]) : -1;
        int low = i + 2 < text->len ? hex_value(text->ptr[i + 2]) : -1;
        bool is_escape = text->ptr[i] == '%' && high >= 0 && low >= 0;
        out[len++] = is_escape ? (char) (high << 4 | low) : text->ptr[i];
        i += is_escape ? 2 : 0;
    }
    *text = slice_make(out, len);
    return true;
}

/* Form decoders turn the plus signs of base64 into spaces. */
static bool restore_plus(struct slice *text, struct arena *arena)
{
    if (text->len == 0 || memchr(text->ptr, ' ', text->len) == NULL)
        return true;
    char *out = arena_copy(arena, text->ptr, text->len);
    if (out == NULL)
        return false;
    for (size_t i = 0; i < text->len; i++)
        out[i] = out[i] == ' ' ? '+' : out[i];
    text->ptr = out;
    return true;
}

static bool set_type(struct authtoken *token, struct slice type, struct fault *fault)
{
    if (slice_equals_nocase(type, "master")) {
        token->type = AUTHTOKEN_MASTER;
        return true;
    }
    if (slice_equals_nocase(type, "resource")) {
        token->type = AUTHTOKEN_RESOURCE;
        return true;
    }
    if (slice_equals_nocase(type, "aad") || slice_equals_nocase(type, "sas"))
        return fault_set(
            fault, 401, SUB_NONE,
            "authorization of type \"%.*s\" is not supported here: use an account key or a "
            "resource token",
            FAULT_QUOTE(type));
    return malformed(fault, "its type is unknown");
}

bool authtoken_parse(struct authtoken *token, struct slice header, struct arena *arena,
                     struct fault *fault)
{
    struct slice type = {NULL, 0}, version = {NULL, 0}, rest;

    *token = (struct authtoken){0};
    header = slice_trim(header);
    if (header.len == 0)
        return fault_set(fault, 401, SUB_NONE, "required header \"authorization\" is missing");
    if (header.len > AUTHTOKEN_HEADER_BYTES_MAX)
        return malformed(fault, "it is too long");
    if (!percent_decode(&header, arena))
        return fault_set_oom(fault);
    for (rest = header; !slice_is_absent(rest);) {
        struct slice value, part = slice_cut(rest, '&', &rest);
        struct slice name = slice_cut(part, '=', &value);
        if (slice_equals_nocase(name, "type"))
            type = value;
        else if (slice_equals_nocase(name, "ver"))
            version = value;
        else if (slice_equals_nocase(name, "sig"))
            token->signature = value;
    }
    if (slice_is_empty(type))
        return malformed(fault, "it has no type");
    if (!set_type(token, type, fault))
        return false;
    if (!slice_equals_text(version, "1.0") && !slice_equals_text(version, "1"))
        return malformed(fault, "its version must be 1.0");
    if (slice_is_empty(token->signature))
        return malformed(fault, "it has no signature");
    return restore_plus(&token->signature, arena) || fault_set_oom(fault);
}

/* Master tokens ------------------------------------------------------------------------------- */

static void append_lower(struct buf *buf, struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        buf_append_char(buf, c >= 'A' && c <= 'Z' ? (char) (c + 'a' - 'A') : c);
    }
}

/* The text to sign. The Date line is empty when x-ms-date is given, as every SDK has it. */
static void append_payload(struct buf *buf, const struct authtoken_request *request,
                           struct slice type, struct slice link, bool link_is_lower)
{
    append_lower(buf, request->method);
    buf_append_char(buf, '\n');
    append_lower(buf, type);
    buf_append_char(buf, '\n');
    if (link_is_lower)
        append_lower(buf, link);
    else
        buf_append_slice(buf, link);
    buf_append_char(buf, '\n');
    append_lower(buf, request->ms_date);
    buf_append_char(buf, '\n');
    if (slice_is_empty(request->ms_date))
        append_lower(buf, request->date);
    buf_append_char(buf, '\n');
}

/* Which key made this signature of the payload? */
static bool match_keys(const uint8_t signature[SHA256_BYTES], struct slice payload,
                       const struct authtoken_keys *keys, enum authtoken_access *access)
{
    const struct {
        struct slice key;
        enum authtoken_access access;
    } all[] = {
        {keys->primary, AUTHTOKEN_READ_WRITE},
        {keys->secondary, AUTHTOKEN_READ_WRITE},
        {keys->read_primary, AUTHTOKEN_READ_ONLY},
        {keys->read_secondary, AUTHTOKEN_READ_ONLY},
    };

    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        uint8_t mac[SHA256_BYTES];
        if (all[i].key.len == 0)
            continue;
        crypto_hmac_sha256(all[i].key, payload, mac);
        if (crypto_equals(mac, signature, sizeof(mac))) {
            *access = all[i].access;
            return true;
        }
    }
    return false;
}

static struct slice last_segment(struct slice link)
{
    const char *slash = link.len > 0 ? memrchr(link.ptr, '/', link.len) : NULL;

    if (slash == NULL)
        return link;
    return slice_make(slash + 1, (size_t) (link.ptr + link.len - slash) - 1);
}

/* One of the texts that a client may have signed for the request. */
struct candidate {
    struct slice type, link;
    bool link_is_lower;
};

/* The text most clients sign comes first, so a good request costs one HMAC. */
static size_t list_candidates(const struct authtoken_request *request, struct candidate out[6])
{
    const struct slice types[] = {request->resource_type, request->other_type};
    size_t count = 0;

    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        if (i > 0 && slice_is_absent(types[i]))
            continue;
        out[count++] = (struct candidate){types[i], request->link, request->link_is_rid};
        out[count++] = (struct candidate){types[i], last_segment(request->link), true};
        if (!slice_is_absent(request->raw_link) && !slice_equals(request->raw_link, request->link))
            out[count++] = (struct candidate){types[i], request->raw_link, false};
    }
    return count;
}

/* The payload with its line breaks made visible, for the message of a 401. */
static bool refuse(const struct authtoken_request *request, struct fault *fault)
{
    struct buf payload = {0}, shown = {0};

    append_payload(&payload, request, request->resource_type, request->link, request->link_is_rid);
    for (size_t i = 0; i < payload.len; i++) {
        if (payload.ptr[i] == '\n')
            buf_append_text(&shown, "\\n");
        else
            buf_append_char(&shown, payload.ptr[i]);
    }
    const char *text = buf_text(&shown);
    fault_set(
        fault, 401, SUB_NONE,
        "the input authorization token can't serve the request: please check that the expected "
        "payload "
        "is built as per the protocol, and check the key being used; server used the following "
        "payload to sign: '%s'",
        text != NULL && !payload.has_failed ? text : "");
    buf_finish(&payload);
    buf_finish(&shown);
    return false;
}

static bool read_date(const struct authtoken_request *request, int64_t *date_s, struct fault *fault)
{
    struct slice text = slice_is_empty(request->ms_date) ? request->date : request->ms_date;

    if (slice_is_empty(text))
        return fault_set(fault, 401, SUB_NONE,
                         "required header \"x-ms-date\" or \"date\" is missing");
    if (clock_parse_http(text, date_s))
        return true;
    return fault_set(
        fault, 401, SUB_NONE,
        "the input date header \"%.*s\" has an invalid format: the date must be of RFC 1123, "
        "such as Mon, 23 Nov 2026 07:01:14 GMT",
        FAULT_QUOTE(text));
}

static bool check_skew(int64_t date_s, int64_t now_s, struct fault *fault)
{
    char start[CLOCK_HTTP_DATE_BYTES], expiry[CLOCK_HTTP_DATE_BYTES], now[CLOCK_HTTP_DATE_BYTES];

    if (date_s >= now_s - AUTHTOKEN_SKEW_S && date_s <= now_s + AUTHTOKEN_SKEW_S)
        return true;
    int64_t start_s = date_s > AUTHTOKEN_SKEW_S ? date_s - AUTHTOKEN_SKEW_S : 0;
    clock_format_http(start_s, start);
    clock_format_http(date_s, expiry);
    if (date_s < 253402300799 - AUTHTOKEN_SKEW_S) /* the end of the year 9999 */
        clock_format_http(date_s + AUTHTOKEN_SKEW_S, expiry);
    clock_format_http(now_s, now);
    return fault_set(
        fault, 403, SUB_NONE,
        "the authorization token is not valid at the current time: token start %s, expiry "
        "%s, current server time %s",
        start, expiry, now);
}

bool authtoken_verify(const struct authtoken *token, const struct authtoken_request *request,
                      const struct authtoken_keys *keys, int64_t now_s,
                      enum authtoken_access *access, struct fault *fault)
{
    struct candidate candidates[6];
    uint8_t signature[SHA256_BYTES];
    size_t signature_len = 0;
    struct buf payload = {0};
    int64_t date_s;
    bool is_found = false;

    assert(token->type == AUTHTOKEN_MASTER);
    if (!read_date(request, &date_s, fault))
        return false;
    if (!base64_decode(token->signature, signature, sizeof(signature), &signature_len) ||
        signature_len != sizeof(signature))
        return refuse(request, fault);
    size_t count = list_candidates(request, candidates);
    for (size_t i = 0; i < count && !is_found && !payload.has_failed; i++) {
        payload.len = 0;
        append_payload(&payload, request, candidates[i].type, candidates[i].link,
                       candidates[i].link_is_lower);
        is_found = !payload.has_failed && match_keys(signature, buf_slice(&payload), keys, access);
    }
    bool is_oom = payload.has_failed;
    buf_finish(&payload);
    if (is_oom)
        return fault_set_oom(fault);
    return is_found ? check_skew(date_s, now_s, fault) : refuse(request, fault);
}

bool authtoken_check_access(enum authtoken_access access, bool is_write, struct fault *fault)
{
    if (access == AUTHTOKEN_READ_WRITE || !is_write)
        return true;
    return fault_set(fault, 403, SUB_NONE,
                     "the key that signed this request is read-only: it cannot be used to write");
}

static struct slice trim_slashes(struct slice path)
{
    while (path.len > 0 && path.ptr[0] == '/')
        path = slice_make(path.ptr + 1, path.len - 1);
    while (path.len > 0 && path.ptr[path.len - 1] == '/')
        path.len--;
    return path;
}

/* Without its last segment and the slash before it. */
static struct slice parent_path(struct slice path)
{
    struct slice last = last_segment(path);

    return slice_make(path.ptr, path.len > last.len ? path.len - last.len - 1 : 0);
}

static bool is_rid_path(struct slice path)
{
    struct slice rest, first = slice_cut(path, '/', &rest);

    if (slice_equals_nocase(first, "offers"))
        return true;
    return slice_equals_nocase(first, "dbs") &&
           rid_is_database_segment(slice_cut(rest, '/', &rest));
}

void authtoken_split_path(struct authtoken_path *split, struct slice path)
{
    path = trim_slashes(path);
    size_t segments = path.len > 0 ? 1 : 0;
    for (size_t i = 0; i < path.len; i++)
        segments += path.ptr[i] == '/';
    if (slice_equals_nocase(last_segment(path), "partitionkeydelete") && segments == 6) {
        split->link = parent_path(parent_path(path));
        split->resource_type = SLICE_LITERAL("colls");
    } else if (segments % 2 == 1) {
        split->link = parent_path(path);
        split->resource_type = last_segment(path);
    } else {
        split->link = path;
        split->resource_type = last_segment(parent_path(path));
    }
    split->link_is_rid = is_rid_path(path);
    if (split->link_is_rid)
        split->link = last_segment(split->link);
}

/* Everything but letters, digits and -_.~ as %XX. */
static void append_percent_encoded(struct buf *buf, struct slice s)
{
    static const char hex[] = "0123456789ABCDEF";

    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char) s.ptr[i];
        bool is_plain = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
                        (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.' || c == '~';
        if (is_plain) {
            buf_append_char(buf, (char) c);
            continue;
        }
        buf_append_char(buf, '%');
        buf_append_char(buf, hex[c >> 4]);
        buf_append_char(buf, hex[c & 15]);
    }
}

void authtoken_sign(struct buf *buf, struct slice key, const struct authtoken_request *request)
{
    uint8_t mac[SHA256_BYTES];
    char text[BASE64_LEN(SHA256_BYTES)];
    struct buf payload = {0};

    append_payload(&payload, request, request->resource_type, request->link, request->link_is_rid);
    if (payload.has_failed) {
        buf->has_failed = true;
        buf_finish(&payload);
        return;
    }
    crypto_hmac_sha256(key, buf_slice(&payload), mac);
    base64_encode(mac, sizeof(mac), text);
    append_percent_encoded(buf, SLICE_LITERAL("type=master&ver=1.0&sig="));
    append_percent_encoded(buf, slice_make(text, sizeof(text)));
    buf_finish(&payload);
}

/* Resource tokens ----------------------------------------------------------------------------- */

static void put_number(struct buf *buf, uint64_t value)
{
    for (unsigned shift = 64; shift > 0; shift -= 8)
        buf_append_char(buf, (char) (value >> (shift - 8)));
}

/* Length + 1, so that absent and empty differ; then the bytes. */
static void put_slice(struct buf *buf, struct slice s)
{
    put_number(buf, slice_is_absent(s) ? 0 : s.len + 1);
    buf_append_slice(buf, s);
}

/* Reading fails once and stays failed. */
struct payload_reader {
    struct slice rest;
    bool has_failed;
};

static uint64_t take_number(struct payload_reader *reader)
{
    uint64_t value = 0;

    if (reader->rest.len < 8) {
        reader->has_failed = true;
        return 0;
    }
    for (size_t i = 0; i < 8; i++)
        value = value << 8 | (uint8_t) reader->rest.ptr[i];
    reader->rest = slice_make(reader->rest.ptr + 8, reader->rest.len - 8);
    return value;
}

static struct slice take_slice(struct payload_reader *reader)
{
    uint64_t len = take_number(reader);

    if (len == 0 || len - 1 > reader->rest.len) {
        reader->has_failed |= len > 0;
        return (struct slice){NULL, 0};
    }
    struct slice taken = slice_make(reader->rest.ptr, len - 1);
    reader->rest = slice_make(taken.ptr + taken.len, reader->rest.len - taken.len);
    return taken;
}

static void append_grant(struct buf *buf, const struct authtoken_grant *grant)
{
    const struct authtoken_scope *scope = &grant->scope;

    put_number(buf, PAYLOAD_VERSION);
    put_number(buf, scope->is_write);
    put_number(buf, scope->database);
    put_number(buf, scope->container);
    put_number(buf, scope->child);
    put_slice(buf, scope->child_id);
    put_slice(buf, scope->pk);
}

static void append_validity(struct buf *buf, const struct authtoken_grant *grant)
{
    put_number(buf, (uint64_t) grant->expires_s);
    put_number(buf, grant->permission.database);
    put_number(buf, grant->permission.owner);
    put_number(buf, grant->permission.number);
}

static void append_base64(struct buf *buf, struct slice bytes)
{
    if (!buf_reserve(buf, BASE64_LEN(bytes.len)))
        return;
    base64_encode(bytes.ptr, bytes.len, buf->ptr + buf->len);
    buf->len += BASE64_LEN(bytes.len);
}

/* Under the domain's name, both parts, each with its length. */
static bool grant_mac(struct slice key, struct slice scope, struct slice validity,
                      uint8_t mac[SHA256_BYTES])
{
    struct buf text = {0};

    buf_append_text(&text, RESOURCE_DOMAIN);
    put_slice(&text, scope);
    put_slice(&text, validity);
    bool is_good = !text.has_failed;
    if (is_good)
        crypto_hmac_sha256(key, buf_slice(&text), mac);
    buf_finish(&text);
    return is_good;
}

void authtoken_grant_format(struct buf *buf, const struct authtoken_grant *grant,
                            const struct authtoken_keys *keys)
{
    struct buf scope = {0}, validity = {0};
    uint8_t mac[SHA256_BYTES];

    append_grant(&scope, grant);
    append_validity(&validity, grant);
    if (scope.has_failed || validity.has_failed ||
        !grant_mac(keys->primary, buf_slice(&scope), buf_slice(&validity), mac)) {
        buf->has_failed = true;
    } else {
        buf_append_text(buf, "type=resource&ver=1&sig=");
        append_base64(buf, slice_make((const char *) mac, sizeof(mac)));
        buf_append_char(buf, ';');
        append_base64(buf, buf_slice(&scope));
        buf_append_char(buf, ';');
        append_base64(buf, buf_slice(&validity));
        buf_append_char(buf, ';');
    }
    buf_finish(&scope);
    buf_finish(&validity);
}

static bool grant_malformed(struct fault *fault)
{
    return fault_set(fault, 401, SUB_NONE,
                     "the resource token is malformed or was not issued here");
}

/* A part in base64, decoded into the arena; *is_oom tells why it failed. */
static bool decode_part(struct slice *out, struct slice text, struct arena *arena, bool *is_oom)
{
    size_t len = 0, room = text.len / 4 * 3;

    if (text.len == 0 || room > PAYLOAD_BYTES_MAX)
        return false;
    char *bytes = arena_alloc(arena, room + 1);
    *is_oom = bytes == NULL;
    if (bytes == NULL || !base64_decode(text, bytes, room, &len))
        return false;
    *out = slice_make(bytes, len);
    return true;
}

static bool verify_mac(struct slice mac, struct slice scope, struct slice validity,
                       const struct authtoken_keys *keys, bool *is_oom)
{
    const struct slice all[] = {keys->primary, keys->secondary};

    for (size_t i = 0; i < ARRAY_LEN(all) && mac.len == SHA256_BYTES; i++) {
        uint8_t expected[SHA256_BYTES];
        if (all[i].len == 0)
            continue;
        if (!grant_mac(all[i], scope, validity, expected)) {
            *is_oom = true;
            return false;
        }
        if (crypto_equals(expected, mac.ptr, SHA256_BYTES))
            return true;
    }
    return false;
}

static bool read_grant(struct authtoken_grant *grant, struct slice scope, struct slice validity)
{
    struct payload_reader reader = {scope, false};
    uint64_t version = take_number(&reader);

    grant->scope.is_write = take_number(&reader) == 1;
    grant->scope.database = (uint32_t) take_number(&reader);
    grant->scope.container = (uint32_t) take_number(&reader);
    grant->scope.child = (enum rid_type) take_number(&reader);
    grant->scope.child_id = take_slice(&reader);
    grant->scope.pk = take_slice(&reader);
    if (reader.has_failed || reader.rest.len > 0 || version != PAYLOAD_VERSION)
        return false;
    reader.rest = validity;
    grant->expires_s = (int64_t) take_number(&reader);
    grant->permission.type = RID_PERMISSION;
    grant->permission.database = (uint32_t) take_number(&reader);
    grant->permission.owner = (uint32_t) take_number(&reader);
    grant->permission.number = take_number(&reader);
    return !reader.has_failed && reader.rest.len == 0;
}

bool authtoken_grant_verify(struct authtoken_grant *grant, const struct authtoken *token,
                            const struct authtoken_keys *keys, int64_t now_s, struct arena *arena,
                            struct fault *fault)
{
    struct slice rest = token->signature, parts[3] = {{NULL, 0}};
    bool is_oom = false;

    assert(token->type == AUTHTOKEN_RESOURCE);
    *grant = (struct authtoken_grant){0};
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        if (!decode_part(&parts[i], slice_cut(rest, ';', &rest), arena, &is_oom))
            return is_oom ? fault_set_oom(fault) : grant_malformed(fault);
    }
    if (rest.len > 0)
        return grant_malformed(fault);
    if (!verify_mac(parts[0], parts[1], parts[2], keys, &is_oom))
        return is_oom ? fault_set_oom(fault) : grant_malformed(fault);
    if (!read_grant(grant, parts[1], parts[2]))
        return grant_malformed(fault);
    if (now_s >= grant->expires_s)
        return fault_set(fault, 403, SUB_NONE,
                         "the resource token expired %lld seconds ago: read the permission again",
                         (long long) (now_s - grant->expires_s));
    return true;
}

static bool is_covered(const struct authtoken_scope *scope, const struct authtoken_target *target)
{
    if (target->touch == AUTHTOKEN_OTHER || target->database != scope->database)
        return false;
    if (scope->container == 0)
        return true;
    if (target->container != scope->container)
        return false;
    bool is_whole = slice_is_absent(scope->child_id) && slice_is_absent(scope->pk);
    if (target->touch == AUTHTOKEN_CONTAINER || target->touch == AUTHTOKEN_PKRANGES)
        return is_whole || !target->is_write;
    if (is_whole)
        return true;
    if (!slice_is_absent(scope->child_id) &&
        (target->child != scope->child || slice_is_absent(target->child_id) ||
         !slice_equals(target->child_id, scope->child_id)))
        return false;
    if (slice_is_absent(scope->pk))
        return true;
    return target->child == RID_ITEM && !slice_is_absent(target->pk) &&
           slice_equals(target->pk, scope->pk);
}

bool authtoken_scope_check(const struct authtoken_scope *scope,
                           const struct authtoken_target *target, struct fault *fault)
{
    if (is_covered(scope, target) && (scope->is_write || !target->is_write))
        return true;
    return fault_set(fault, 403, SUB_NONE,
                     "insufficient permissions provided in the authorization header for the "
                     "corresponding request: please retry with another authorization header");
}

bool authtoken_lifetime_parse(int64_t *lifetime_s, struct slice header, struct fault *fault)
{
    unsigned long long value;

    *lifetime_s = AUTHTOKEN_LIFETIME_DEFAULT_S;
    if (slice_is_absent(header))
        return true;
    if (!slice_to_u64(slice_trim(header), AUTHTOKEN_LIFETIME_MAX_S, &value) || value == 0)
        return fault_set(fault, 400, SUB_NONE,
                         "x-ms-documentdb-expiry-seconds must be within 1 and %d, not \"%.*s\"",
                         AUTHTOKEN_LIFETIME_MAX_S, FAULT_QUOTE(header));
    *lifetime_s = (int64_t) value;
    return true;
}
