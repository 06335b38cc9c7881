/*
 * Runs a fuzzer's function without libFuzzer, so that what was once found stays found with any
 * compiler.
 *
 * Every file of the given folders is fed as it is, cut at every length (short files), and with
 * single bytes changed by a generator of fixed seed. A folder without files is an error: it would
 * test nothing.
 */
#include <dirent.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_BYTES_MAX (8u << 20)
#define CUT_BYTES_MAX 1024
#define CHANGES 512

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A copy of exactly that size, so that the sanitizer sees a read behind its end. */
static void feed(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size > 0 ? size : 1);

    if (copy == NULL)
        abort();
    memcpy(copy, data, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
}

static void feed_variants(uint8_t *data, size_t size)
{
    static const uint8_t favourites[] = "\"\\{}[],:-+.eE019 ~/u\x80\xff\n";

    feed(data, size);
    for (size_t len = 0; size <= CUT_BYTES_MAX && len < size; len++)
        feed(data, len);
    for (int i = 0; size > 0 && size <= CUT_BYTES_MAX && i < CHANGES; i++) {
        size_t at = (size_t) lrand48() % size;
        uint8_t old = data[at];
        data[at] = i % 4 == 0 ? (uint8_t) lrand48()
                              : favourites[(size_t) lrand48() % (sizeof(favourites) - 1)];
        feed(data, size);
        data[at] = old;
    }
}

static bool feed_file(const char *folder, const char *name)
{
    char path[4096];

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *file = fopen(path, "rb");
    uint8_t *data = malloc(FILE_BYTES_MAX);
    bool is_read = file != NULL && data != NULL;
    if (is_read)
        feed_variants(data, fread(data, 1, FILE_BYTES_MAX, file));
    else
        perror(path);
    free(data);
    if (file != NULL)
        fclose(file);
    return is_read;
}

static bool feed_folder(const char *folder)
{
    DIR *directory = opendir(folder);
    const struct dirent *entry;
    unsigned files = 0;
    bool is_right = true;

    if (directory == NULL) {
        perror(folder);
        return false;
    }
    while (is_right && (entry = readdir(directory)) != NULL) {
        if (entry->d_name[0] == '.')
            continue;
        is_right = feed_file(folder, entry->d_name);
        files++;
    }
    closedir(directory);
    printf("%s: %u files\n", folder, files);
    return is_right && files > 0;
}

int main(int argc, char **argv)
{
    srand48(1);
    for (int i = 1; i < argc; i++)
        if (!feed_folder(argv[i]))
            return 1;
    return argc > 1 ? 0 : 1;
}
