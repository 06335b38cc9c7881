#include "base/keys.h"

#include "base/crypto.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/banned.h"

#define FILE_BYTES_MAX 4096

struct published {
    struct keys keys;
    struct published *older;
};

static _Atomic(struct published *) current;

static const char *const kind_names[KEY_KINDS] = {
    [KEY_PRIMARY] = "primary",
    [KEY_SECONDARY] = "secondary",
    [KEY_PRIMARY_READONLY] = "primary-readonly",
    [KEY_SECONDARY_READONLY] = "secondary-readonly",
};

bool key_parse(struct slice text, struct key *key, struct fault *fault)
{
    struct key parsed = {.len = 0};

    if (text.len >= sizeof(parsed.text) ||
        !base64_decode(text, parsed.bytes, sizeof(parsed.bytes), &parsed.len))
        return fault_set(fault, 400, SUB_NONE, "a key is not base64 of %d to %d bytes",
                         KEY_BYTES_MIN, KEY_BYTES_MAX);
    if (parsed.len < KEY_BYTES_MIN)
        return fault_set(fault, 400, SUB_NONE,
                         "a key is too short: %zu bytes, at least %d are needed", parsed.len,
                         KEY_BYTES_MIN);
    memcpy(parsed.text, text.ptr, text.len);
    *key = parsed;
    return true;
}

/* "secondary=…" or, as the only form without a name, a bare primary key; its own '=' are padding at
 * the end. */
static bool parse_line(struct keys *keys, struct slice line, struct fault *fault)
{
    enum key_kind kind = KEY_PRIMARY;

    for (unsigned i = 0; i < KEY_KINDS; i++) {
        struct slice value, name = slice_trim(slice_cut(line, '=', &value));
        if (!slice_is_absent(value) && slice_equals_text(name, kind_names[i])) {
            kind = (enum key_kind) i;
            line = slice_trim(value);
        }
    }
    if (keys->key[kind].len != 0)
        return fault_set(fault, 400, SUB_NONE, "the %s key is given twice", kind_names[kind]);
    return key_parse(line, &keys->key[kind], fault);
}

static bool check_set(const struct keys *keys, struct fault *fault)
{
    if (keys->key[KEY_PRIMARY].len == 0)
        return fault_set(fault, 400, SUB_NONE, "there is no primary key");
    for (unsigned i = 0; i < KEY_KINDS; i++) {
        for (unsigned j = 0; j < i; j++) {
            const struct key *a = &keys->key[i], *b = &keys->key[j];
            if (a->len != 0 && a->len == b->len && memcmp(a->bytes, b->bytes, a->len) == 0)
                return fault_set(fault, 400, SUB_NONE, "the %s and %s keys are the same",
                                 kind_names[j], kind_names[i]);
        }
    }
    return true;
}

static bool parse_file(struct slice rest, struct keys *keys, struct fault *fault)
{
    memset(keys, 0, sizeof(*keys));
    while (!slice_is_absent(rest)) {
        struct slice line = slice_cut(rest, '\n', &rest);
        if (line.len > 0 && line.ptr[line.len - 1] == '\r')
            line.len--;
        line = slice_trim(line);
        if (line.len > 0 && line.ptr[0] != '#' && !parse_line(keys, line, fault))
            return false;
    }
    return check_set(keys, fault);
}

static bool read_file(const char *path, char *bytes, size_t *len, struct fault *fault)
{
    FILE *file = fopen(path, "re");

    if (file == NULL)
        return fault_set(fault, 400, SUB_NONE, "%s", strerror(errno));
    *len = fread(bytes, 1, FILE_BYTES_MAX + 1, file);
    bool is_read = ferror(file) == 0 || fault_set(fault, 400, SUB_NONE, "%s", strerror(errno));
    fclose(file);
    if (is_read && *len > FILE_BYTES_MAX)
        return fault_set(fault, 400, SUB_NONE, "it has more than %d bytes", FILE_BYTES_MAX);
    return is_read;
}

bool keys_read(const char *path, struct keys *keys, struct fault *fault)
{
    char bytes[FILE_BYTES_MAX + 1];
    struct keys parsed = {.key = {{.len = 0}}};
    struct fault why = {0};
    size_t len = 0;

    bool is_good = path == NULL ? parse_file(SLICE_LITERAL(KEY_EMULATOR), &parsed, &why)
                                : read_file(path, bytes, &len, &why) &&
                                      parse_file(slice_make(bytes, len), &parsed, &why);
    explicit_bzero(bytes, sizeof(bytes));
    if (is_good)
        *keys = parsed;
    explicit_bzero(&parsed, sizeof(parsed));
    return is_good || fault_set(fault, 400, SUB_NONE, "key file \"%.200s\": %s",
                                path != NULL ? path : "", why.message);
}

bool keys_reload(const char *path, struct fault *fault)
{
    struct published *older = atomic_load_explicit(&current, memory_order_acquire);
    struct published *fresh = calloc(1, sizeof(*fresh));

    if (fresh == NULL)
        return fault_set_oom(fault);
    bool is_read = keys_read(path, &fresh->keys, fault);
    if (!is_read ||
        (older != NULL && memcmp(&older->keys, &fresh->keys, sizeof(fresh->keys)) == 0)) {
        free(fresh);
        return is_read;
    }
    fresh->older = older;
    atomic_store_explicit(&current, fresh, memory_order_release);
    return true;
}

const struct keys *keys_current(void)
{
    const struct published *set = atomic_load_explicit(&current, memory_order_acquire);
    return set != NULL ? &set->keys : NULL;
}

void keys_finish(void)
{
    struct published *set = atomic_exchange(&current, NULL);

    while (set != NULL) {
        struct published *older = set->older;
        explicit_bzero(&set->keys, sizeof(set->keys));
        free(set);
        set = older;
    }
}
