/*
 * Sort values: what ORDER BY compares, small enough to be kept and sent.
 *
 * Primitive values are themselves; an array or an object is only its digest, because the language
 * leaves their order open and a total one is all that is needed.
 */
#ifndef ORRERY_QUERY_SORT_H
#define ORRERY_QUERY_SORT_H

#include "query/digest.h"
#include "query/value.h"

struct sort_value {
    enum value_rank rank;
    double number;        /* VALUE_NUMBER; 0 or 1 of VALUE_BOOLEAN */
    struct slice text;    /* VALUE_STRING; borrowed */
    struct digest digest; /* VALUE_ARRAY, VALUE_OBJECT */
};

/* Of any value, NULL for undefined; borrows its text. */
struct sort_value sort_value_of(const cJSON *value);

/* <0, 0, >0 in ascending order; the same as value_order. */
int sort_value_compare(const struct sort_value *a, const struct sort_value *b);

#endif
