#include "base/arena.h"

#include <stdalign.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/banned.h"

/* First chunk: holds a point read's whole state, so that the common request allocates once. */
#define ARENA_CHUNK_BYTES 4096

/* Chunks that a reset keeps: what a row of everyday size needs. */
#define ARENA_SPARE_MAX 64

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

static void run_cleanups(struct arena *arena)
{
    for (struct arena_cleanup *cleanup = arena->cleanups; cleanup != NULL; cleanup = cleanup->next)
        cleanup->run(cleanup->object);
    arena->cleanups = NULL;
}

static void free_chunks(struct arena_chunk *chunk)
{
    while (chunk != NULL) {
        struct arena_chunk *next = chunk->next;
        free(chunk);
        chunk = next;
    }
}

void arena_finish(struct arena *arena)
{
    run_cleanups(arena);
    free_chunks(arena->chunks);
    free_chunks(arena->spare);
    arena_init(arena, arena->max_bytes);
}

void arena_reset(struct arena *arena)
{
    struct arena_chunk *chunk = arena->chunks;

    run_cleanups(arena);
    arena->chunks = NULL;
    while (chunk != NULL) {
        struct arena_chunk *next = chunk->next;
        if (chunk->size == ARENA_CHUNK_BYTES && arena->spare_count < ARENA_SPARE_MAX) {
            chunk->next = arena->spare;
            arena->spare = chunk;
            arena->spare_count++;
        } else {
            arena->used_bytes -= sizeof(struct arena_chunk) + chunk->size;
            free(chunk);
        }
        chunk = next;
    }
}

static struct arena_chunk *take_spare(struct arena *arena)
{
    struct arena_chunk *chunk = arena->spare;

    if (chunk != NULL) {
        arena->spare = chunk->next;
        arena->spare_count--;
    }
    return chunk;
}

static struct arena_chunk *chunk_add(struct arena *arena, size_t need)
{
    size_t size = need > ARENA_CHUNK_BYTES ? need : ARENA_CHUNK_BYTES;
    size_t total = sizeof(struct arena_chunk) + size;
    struct arena_chunk *chunk = need <= ARENA_CHUNK_BYTES ? take_spare(arena) : NULL;

    if (chunk == NULL) {
        if (total < size || total > arena->max_bytes - arena->used_bytes)
            return NULL;
        chunk = malloc(total);
        if (chunk == NULL)
            return NULL;
        chunk->size = size;
        arena->used_bytes += total;
    }
    chunk->used = 0;
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

char *arena_i64(struct arena *arena, int64_t value)
{
    char digits[20];
    size_t at = sizeof(digits);
    uint64_t rest = value < 0 ? -(uint64_t) value : (uint64_t) value;

    do {
        digits[--at] = (char) ('0' + rest % 10);
        rest /= 10;
    } while (rest > 0);
    if (value < 0)
        digits[--at] = '-';
    return arena_copy(arena, digits + at, sizeof(digits) - at);
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
