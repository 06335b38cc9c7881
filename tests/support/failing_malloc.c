/*
 * Preloaded into a gateway: every nth allocation fails, where n is the first number of the file
 * that FAILING_MALLOC names (0: none). The test changes it while the gateway runs.
 */
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *memory, size_t size);

static _Atomic unsigned long allocations;
static const volatile unsigned *every;

__attribute__((constructor)) static void open_control(void)
{
    const char *path = getenv("FAILING_MALLOC");
    int fd = path != NULL ? open(path, O_RDONLY) : -1;

    if (fd >= 0) {
        void *page = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
        every = page != MAP_FAILED ? page : NULL;
    }
}

static int fails(void)
{
    unsigned n = every != NULL ? *every : 0;

    return n > 0 && (atomic_fetch_add(&allocations, 1) + 1) % n == 0;
}

void *malloc(size_t size)
{
    return fails() ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    return fails() ? NULL : __libc_calloc(count, size);
}

void *realloc(void *memory, size_t size)
{
    return fails() ? NULL : __libc_realloc(memory, size);
}
