/*
 * The account's master keys, changed without a restart.
 *
 * A set of keys is immutable once it is published. Every loop reads the current set through one
 * atomic pointer, without a lock and without counting: a set that was replaced is kept until
 * keys_finish, so a reader that still looks at it is never wrong. That costs 2 KB per rotation (an
 * unchanged file publishes nothing), and is simpler to be sure of than counting on the path of
 * every request.
 */
#ifndef ORRERY_BASE_KEYS_H
#define ORRERY_BASE_KEYS_H

#include "base/compiler.h"
#include "base/fault.h"

#include <stdint.h>

/* The service's keys have 64 bytes. */
#define KEY_BYTES_MIN 16
#define KEY_BYTES_MAX 128

/* What emulators of the service and their documentation use. */
#define KEY_EMULATOR \
    "C2y6yDjf5/R+ob0N8A7Cgv30VRDJIWEHLM+4QDU5DE2nQ9nDuVTqobD4b8mGGyPMbIZnqyMsEcaGQy67XIw/Jw=="

enum key_kind {
    KEY_PRIMARY,
    KEY_SECONDARY,
    KEY_PRIMARY_READONLY,
    KEY_SECONDARY_READONLY,
    KEY_KINDS
};

struct key {
    uint8_t bytes[KEY_BYTES_MAX];
    size_t len;     /* 0: there is no such key */
    char text[176]; /* base64 */
};

struct keys {
    struct key key[KEY_KINDS];
};

/* Does this kind of key open reads only? */
static inline bool key_is_readonly(enum key_kind kind)
{
    return kind == KEY_PRIMARY_READONLY || kind == KEY_SECONDARY_READONLY;
}

/*
 * Read a key file, or make the set of the well-known emulator key.
 *
 * path   NULL: the emulator key as primary, no others
 * keys   filled only when true is returned
 * fault  400: the file cannot be read, or is not of the form: a line that is the primary key, or
 * lines primary=, secondary=, primary-readonly=, secondary-readonly= (# begins a comment line). A
 * primary key is needed, no two may be equal. The message never holds a key.
 */
bool keys_read(const char *path, struct keys *keys, struct fault *fault) MUST_CHECK;

/* One base64 key; fault as above. */
bool key_parse(struct slice text, struct key *key, struct fault *fault) MUST_CHECK;

/* Read a file and publish it; when it is refused the current set stays. One thread at a time. */
bool keys_reload(const char *path, struct fault *fault) MUST_CHECK;

/* The current set; valid until keys_finish. NULL before the first keys_reload. Any thread. */
const struct keys *keys_current(void);

/* Frees all sets, when no other thread reads them any more. */
void keys_finish(void);

#endif
