/*
 * The parameters of a query: {"name": "@p", "value": …} in a list, found by name.
 *
 * Sorted once, because generated queries use thousands of them.
 */
#ifndef ORRERY_QUERY_PARAMETERS_H
#define ORRERY_QUERY_PARAMETERS_H

#include "base/arena.h"
#include "base/fault.h"
#include "query/bounds.h"

#include <cjson/cJSON.h>

struct parameters {
    const cJSON **sorted;
    size_t count;
};

/*
 * Read a list, borrowed as long as the result; NULL and null are an empty one.
 *
 * fault    400 for what is no list of named values, for a name given twice, for too many; 503
 */
bool parameters_read(struct parameters *parameters, struct arena *arena, const cJSON *list,
                     struct fault *fault) MUST_CHECK;

/* The value of a name with its @; NULL when it was not supplied. */
const cJSON *parameters_find(const struct parameters *parameters, struct slice name);

#endif
