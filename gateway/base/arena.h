/*
 * Memory of one request.
 *
 * An arena hands out memory that all goes at once: it grows in chunks up to a ceiling, and at its
 * end runs the cleanups that were deferred to it, last first. Nothing is freed one by one. A
 * request that would pass the ceiling, or meets an exhausted machine, gets NULL and answers 503; it
 * never takes the process with it. An arena belongs to one thread.
 */
#ifndef ORRERY_BASE_ARENA_H
#define ORRERY_BASE_ARENA_H

#include "base/compiler.h"
#include "base/slice.h"

#include <stddef.h>
#include <stdint.h>

struct arena_chunk;
struct arena_cleanup;

struct arena {
    struct arena_chunk *chunks; /* newest first */
    struct arena_chunk *spare;  /* empty ones, kept by arena_reset */
    unsigned spare_count;
    struct arena_cleanup *cleanups;
    size_t used_bytes; /* taken for chunks */
    size_t max_bytes;
};

typedef void arena_cleanup_fn(void *object);

/* Prepare an arena that will take at most max_bytes from the system. Takes nothing yet. */
void arena_init(struct arena *arena, size_t max_bytes);

/* Run the cleanups, free everything. Zeroed memory is accepted. */
void arena_finish(struct arena *arena);

/*
 * Run the cleanups and take everything back, but keep small chunks for what comes next: for work
 * that is done again and again, such as one row after another.
 */
void arena_reset(struct arena *arena);

/* Zeroed memory, aligned for any type; NULL when the ceiling or the machine's memory is reached. */
void *arena_alloc(struct arena *arena, size_t size) MUST_CHECK;

/* A number in decimal, terminated; NULL as above. */
char *arena_i64(struct arena *arena, int64_t value) MUST_CHECK;

/* Bytes copied and terminated with NUL (not counted); NULL as above. */
char *arena_copy(struct arena *arena, const void *bytes, size_t len) MUST_CHECK;

/* Formatted text; NULL as above. */
char *arena_printf(struct arena *arena, const char *format, ...) PRINTF_LIKE(2, 3) MUST_CHECK;

/*
 * Tie an object's destructor to the arena. When the note itself cannot be stored the object is
 * destroyed at once and false is returned, so that the caller never has to.
 */
bool arena_defer(struct arena *arena, arena_cleanup_fn *cleanup, void *object) MUST_CHECK;

#endif
