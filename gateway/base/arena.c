#include "base/arena.h"

#include <stdalign.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/banned.h"

/* First chunk: holds a point read's whole state, so that the common request allocates once. */
#define ARENA_CHUNK_BYTES 4096

struct arena_chunk {
    struct arena_chunk *next;
    size_t size;
    size_t used;
    alignas(max_align_t) unsigned char bytes[];
};

struct arena_cleanup {
    struct arena_cleanup *next;
    arena_cleanup_fn *run;
    void *object;
};

void arena_init(struct arena *arena, size_t max_bytes)
{
    *arena = (struct arena){.max_bytes = max_bytes};
}

void arena_finish(struct arena *arena)
{
    for (struct arena_cleanup *cleanup = arena->cleanups; cleanup != NULL; cleanup = cleanup->next)
        cleanup->run(cleanup->object);
    struct arena_chunk *chunk = arena->chunks;
    while (chunk != NULL) {
        struct arena_chunk *next = chunk->next;
        free(chunk);
        chunk = next;
    }
    arena_init(arena, arena->max_bytes);
}

static struct arena_chunk *chunk_add(struct arena *arena, size_t need)
{
    size_t size = need > ARENA_CHUNK_BYTES ? need : ARENA_CHUNK_BYTES;
    size_t total = sizeof(struct arena_chunk) + size;

    if (total < size || total > arena->max_bytes - arena->used_bytes)
        return NULL;
    struct arena_chunk *chunk = malloc(total);
    if (chunk == NULL)
        return NULL;
    chunk->size = size;
    chunk->used = 0;
    arena->used_bytes += total;
    /* A chunk made for one large object is full at once; keep filling the newest small one. */
    if (arena->chunks != NULL && need > ARENA_CHUNK_BYTES) {
        chunk->next = arena->chunks->next;
        arena->chunks->next = chunk;
    } else {
        chunk->next = arena->chunks;
        arena->chunks = chunk;
    }
    return chunk;
}

static void *take(struct arena *arena, size_t size)
{
    const size_t align = alignof(max_align_t);

    if (size > SIZE_MAX - align)
        return NULL;
    size = (size + align - 1) / align * align;
    struct arena_chunk *chunk = arena->chunks;
    if (chunk == NULL || chunk->size - chunk->used < size)
        chunk = chunk_add(arena, size);
    if (chunk == NULL)
        return NULL;
    void *memory = chunk->bytes + chunk->used;
    chunk->used += size;
    return memory;
}

void *arena_alloc(struct arena *arena, size_t size)
{
    void *memory = take(arena, size > 0 ? size : 1);

    if (memory != NULL)
        memset(memory, 0, size);
    return memory;
}

char *arena_copy(struct arena *arena, const void *bytes, size_t len)
{
    char *copy = take(arena, len + 1);

    if (copy == NULL)
        return NULL;
    if (len > 0)
        memcpy(copy, bytes, len);
    copy[len] = '\0';
    return copy;
}

char *arena_printf(struct arena *arena, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    int len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (len < 0)
        return NULL;
    char *text = take(arena, (size_t) len + 1);
    if (text == NULL)
        return NULL;
    va_start(args, format);
    vsnprintf(text, (size_t) len + 1, format, args);
    va_end(args);
    return text;
}

bool arena_defer(struct arena *arena, arena_cleanup_fn *run, void *object)
{
    struct arena_cleanup *cleanup = take(arena, sizeof(*cleanup));

    if (cleanup == NULL) {
        run(object);
        return false;
    }
    *cleanup = (struct arena_cleanup){.next = arena->cleanups, .run = run, .object = object};
    arena->cleanups = cleanup;
    return true;
}
