#include "query/parameters.h"

#include <stdlib.h>

#include "base/banned.h"

static const char *parameter_name(const cJSON *parameter)
{
    return cJSON_GetObjectItemCaseSensitive(parameter, "name")->valuestring;
}

static int parameters_compare(const void *a, const void *b)
{
    return strcmp(parameter_name(*(const cJSON *const *) a),
                  parameter_name(*(const cJSON *const *) b));
}

static bool parameter_is_sound(const cJSON *parameter)
{
    const cJSON *name = cJSON_GetObjectItemCaseSensitive(parameter, "name");

    return cJSON_IsObject(parameter) && cJSON_IsString(name) && name->valuestring[0] == '@';
}

bool parameters_read(struct parameters *parameters, struct arena *arena, const cJSON *list,
                     struct fault *fault)
{
    const cJSON *parameter;

    *parameters = (struct parameters){0};
    if (list == NULL || cJSON_IsNull(list))
        return true;
    if (!cJSON_IsArray(list))
        return fault_set(fault, 400, SUB_NONE, "the query's \"parameters\" are no array");
    size_t count = (size_t) cJSON_GetArraySize(list);
    if (count > PARAMETERS_MAX)
        return fault_set(fault, 400, SUB_NONE, "a query may have at most %d parameters",
                         PARAMETERS_MAX);
    parameters->sorted = arena_alloc(arena, (count + 1) * sizeof(cJSON *));
    if (parameters->sorted == NULL)
        return fault_set_oom(fault);
    cJSON_ArrayForEach(parameter, list)
    {
        if (!parameter_is_sound(parameter))
            return fault_set(fault, 400, SUB_NONE,
                             "a query parameter needs a \"name\" that begins with @");
        parameters->sorted[parameters->count++] = parameter;
    }
    qsort(parameters->sorted, parameters->count, sizeof(cJSON *), parameters_compare);
    for (size_t i = 1; i < parameters->count; i++) {
        const char *name = parameter_name(parameters->sorted[i]);
        if (strcmp(name, parameter_name(parameters->sorted[i - 1])) == 0)
            return fault_set(fault, 400, SUB_NONE, "query parameter \"%.80s\" is given twice",
                             name);
    }
    return true;
}

const cJSON *parameters_find(const struct parameters *parameters, struct slice name)
{
    size_t low = 0, high = parameters->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const cJSON *parameter = parameters->sorted[middle];
        struct slice found = slice_from_text(parameter_name(parameter));
        int order = memcmp(name.ptr, found.ptr, name.len < found.len ? name.len : found.len);

        if (order == 0 && name.len == found.len)
            return cJSON_GetObjectItemCaseSensitive(parameter, "value");
        if (order < 0 || (order == 0 && name.len < found.len))
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}
