/*
 * orrery sign: what makes curl able to speak to an account.
 *
 *   orrery sign GET /dbs | curl -H @- http://localhost:8181/dbs
 *   eval "$(orrery sign --curl GET /dbs)"
 */
#include "program/program.h"

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/keys.h"
#include "model/authtoken.h"
#include "request/path.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/banned.h"

#define API_VERSION "2020-07-15"
#define MEMORY_MAX ((size_t) 1 << 20)

static bool read_key(const struct config *config, struct key *key, struct fault *fault)
{
    struct keys keys;

    if (config->key != NULL && config->key_file != NULL)
        return fault_set(fault, 400, SUB_NONE, "--key and --key-file exclude each other");
    if (config->key != NULL)
        return key_parse(slice_from_text(config->key), key, fault);
    if (!keys_read(config->key_file, &keys, fault))
        return false;
    *key = keys.key[KEY_PRIMARY];
    explicit_bzero(&keys, sizeof(keys));
    return true;
}

static bool check_method(struct slice method, struct fault *fault)
{
    static const char *const methods[] = {"GET", "POST", "PUT", "DELETE", "PATCH", "HEAD"};

    for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
        if (slice_equals_nocase(method, methods[i]))
            return true;
    }
    return fault_set(fault, 400, SUB_NONE, "unknown method \"%.*s\"", FAULT_QUOTE(method));
}

/* Offers are signed by their resource id alone, in lower case. */
static bool lower_offer(struct resource_path *path, struct arena *arena, struct fault *fault)
{
    if (path->kind != PATH_OFFER)
        return true;
    char *text = arena_copy(arena, path->id.ptr, path->id.len);
    if (text == NULL)
        return fault_set_oom(fault);
    for (size_t i = 0; i < path->id.len; i++)
        text[i] = (char) tolower((unsigned char) text[i]);
    path->link = slice_make(text, path->id.len);
    return true;
}

/* Inside single quotes of a shell. */
static void append_escaped(struct buf *buf, struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] == '\'')
            buf_append_text(buf, "'\\''");
        else
            buf_append_char(buf, text.ptr[i]);
    }
}

/* For a shell: everything that came from outside in single quotes. */
static void append_curl(struct buf *buf, const struct config *config, const char *authorization,
                        const char *date)
{
    const char *method = config->arguments[0], *path = config->arguments[1];
    size_t endpoint_len = strlen(config->endpoint);

    while (endpoint_len > 0 && config->endpoint[endpoint_len - 1] == '/')
        endpoint_len--;
    buf_append_text(buf, "curl -X ");
    for (; *method != '\0'; method++)
        buf_append_char(buf, (char) toupper((unsigned char) *method));
    buf_printf(buf, " -H 'authorization: %s' -H 'x-ms-date: ", authorization);
    append_escaped(buf, slice_from_text(date));
    buf_append_text(buf, "' -H 'x-ms-version: " API_VERSION "' '");
    append_escaped(buf, slice_make(config->endpoint, endpoint_len));
    buf_append_text(buf, path[0] == '/' ? "" : "/");
    append_escaped(buf, slice_from_text(path));
    buf_append_text(buf, "'\n");
}

static bool print_signed(const struct config *config, const struct key *key, struct arena *arena,
                         struct fault *fault)
{
    struct slice rest, raw = slice_cut(slice_from_text(config->arguments[1]), '?', &rest);
    struct slice method = slice_from_text(config->arguments[0]);
    struct resource_path path;
    struct buf token = {0}, text = {0};
    char now[CLOCK_HTTP_DATE_BYTES];

    clock_format_http(clock_unix_s(), now);
    const char *date = config->date != NULL ? config->date : now;
    if (!check_method(method, fault) || !path_parse(&path, raw, arena, fault) ||
        !lower_offer(&path, arena, fault))
        return false;
    struct authtoken_request request = {
        .method = method,
        .resource_type = slice_from_text(path.type_word),
        .link = path.link,
        .ms_date = slice_from_text(date),
    };
    authtoken_sign(&token, slice_make((const char *) key->bytes, key->len), &request);
    if (buf_text(&token) != NULL && config->is_curl)
        append_curl(&text, config, token.ptr, date);
    else if (buf_text(&token) != NULL)
        buf_printf(&text, "authorization: %s\nx-ms-date: %s\nx-ms-version: " API_VERSION "\n",
                   token.ptr, date);
    bool is_printed = !token.has_failed && buf_text(&text) != NULL;
    if (is_printed)
        fputs(text.ptr, stdout);
    buf_finish(&token);
    buf_finish(&text);
    return is_printed || fault_set_oom(fault);
}

int sign_run(const struct config *config)
{
    struct fault fault = {0};
    struct arena arena;
    struct key key;

    arena_init(&arena, MEMORY_MAX);
    bool is_done = read_key(config, &key, &fault) && print_signed(config, &key, &arena, &fault);
    explicit_bzero(&key, sizeof(key));
    arena_finish(&arena);
    return is_done ? PROGRAM_DONE : program_fail("%s", fault.message);
}
