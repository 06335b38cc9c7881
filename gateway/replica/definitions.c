#include "replica/definitions.h"

#include <stdlib.h>

#include "base/banned.h"

#define DEFINITION_BYTES_MAX (8u << 20)

void definitions_init(struct definitions *definitions)
{
    list_init(&definitions->ages);
    definitions->count = 0;
}

static void drop(struct definitions *definitions, struct definition *definition)
{
    list_remove(&definition->age);
    definitions->count--;
    arena_finish(&definition->arena);
    free(definition);
}

void definitions_finish(struct definitions *definitions)
{
    while (definitions->count > 0)
        drop(definitions, list_entry(definitions->ages.next, struct definition, age));
}

const struct definition *definitions_find(struct definitions *definitions, uint32_t number)
{
    list_for_each(at, &definitions->ages)
    {
        struct definition *definition = list_entry(at, struct definition, age);
        if (definition->number != number)
            continue;
        list_remove(at);
        list_append(&definitions->ages, at);
        return definition;
    }
    return NULL;
}

const struct definition *definitions_keep(struct definitions *definitions, uint32_t number,
                                          struct slice body, struct fault *fault)
{
    struct definition *definition = calloc(1, sizeof(*definition));

    if (definition == NULL) {
        fault_set_oom(fault);
        return NULL;
    }
    definition->number = number;
    arena_init(&definition->arena, DEFINITION_BYTES_MAX);
    char *kept = arena_copy(&definition->arena, body.ptr, body.len);
    if (kept == NULL || !container_load(&definition->settings, slice_make(kept, body.len),
                                        &definition->arena, fault)) {
        if (kept == NULL)
            fault_set_oom(fault);
        arena_finish(&definition->arena);
        free(definition);
        return NULL;
    }
    if (definitions->count == DEFINITIONS_MAX)
        drop(definitions, list_entry(definitions->ages.next, struct definition, age));
    list_append(&definitions->ages, &definition->age);
    definitions->count++;
    return definition;
}
