#include "query/sort.h"

#include "base/banned.h"

struct sort_value sort_value_of(const cJSON *value)
{
    struct sort_value sort = {.rank = value_rank(value)};

    switch (sort.rank) {
    case VALUE_BOOLEAN:
        sort.number = cJSON_IsTrue(value);
        break;
    case VALUE_NUMBER:
        sort.number = value->valuedouble;
        break;
    case VALUE_STRING:
        sort.text = value_text(value);
        break;
    case VALUE_ARRAY:
    case VALUE_OBJECT:
        digest_value(value, &sort.digest);
        break;
    default:
        break;
    }
    return sort;
}

/* Byte order of UTF-8 is the order of code points. */
static int text_compare(struct slice a, struct slice b)
{
    size_t shared = a.len < b.len ? a.len : b.len;
    int order = shared > 0 ? memcmp(a.ptr, b.ptr, shared) : 0;

    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

int sort_value_compare(const struct sort_value *a, const struct sort_value *b)
{
    if (a->rank != b->rank)
        return a->rank < b->rank ? -1 : 1;
    switch (a->rank) {
    case VALUE_BOOLEAN:
    case VALUE_NUMBER:
        return (a->number > b->number) - (a->number < b->number);
    case VALUE_STRING:
        return text_compare(a->text, b->text);
    case VALUE_ARRAY:
    case VALUE_OBJECT:
        return digest_compare(&a->digest, &b->digest);
    default:
        return 0;
    }
}
