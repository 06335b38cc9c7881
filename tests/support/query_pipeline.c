#include "support/query_pipeline.h"

#include "query/value.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static const cJSON *member(const cJSON *object, const char *name)
{
    return cJSON_GetObjectItemCaseSensitive(object, name);
}

static cJSON *copied(const cJSON *value)
{
    cJSON *copy = cJSON_Duplicate(value, true);

    assert(copy != NULL);
    return copy;
}

/* ---- Source ---- */

struct sorted_row {
    const cJSON *row, *directions;
    int range, at;
};

static bool is_descending(const cJSON *direction)
{
    return strcmp(direction->valuestring, "Descending") == 0;
}

static int by_sort_values(const void *a, const void *b)
{
    const struct sorted_row *x = a, *y = b;
    const cJSON *left = member(x->row, "orderByItems")->child;
    const cJSON *right = member(y->row, "orderByItems")->child;
    const cJSON *direction;

    cJSON_ArrayForEach(direction, x->directions)
    {
        int order = value_order(member(left, "item"), member(right, "item"));

        if (order != 0)
            return is_descending(direction) ? -order : order;
        left = left->next;
        right = right->next;
    }
    if (x->range != y->range)
        return (x->range < y->range) == is_descending(x->directions->child) ? 1 : -1;
    return x->at - y->at;
}

static void row_check(const cJSON *row, const cJSON *directions)
{
    const cJSON *items = member(row, "orderByItems"), *item;

    assert(cJSON_IsString(member(row, "_rid")));
    assert(cJSON_GetArraySize(items) == cJSON_GetArraySize(directions));
    cJSON_ArrayForEach(item, items) assert(cJSON_IsObject(item));
    assert(member(row, "payload") != NULL);
}

/* Merge by sort values; each range must be in order already. */
static cJSON *merged(const cJSON *ranges, const cJSON *directions, size_t count)
{
    struct sorted_row *rows = calloc(count + 1, sizeof(*rows));
    cJSON *results = cJSON_CreateArray();
    const cJSON *range, *row;
    int range_number = 0, at;
    size_t end = 0;

    assert(rows != NULL);
    cJSON_ArrayForEach(range, ranges)
    {
        at = 0;
        cJSON_ArrayForEach(row, range)
        {
            row_check(row, directions);
            rows[end] = (struct sorted_row){row, directions, range_number, at++};
            assert(at == 1 || by_sort_values(&rows[end - 1], &rows[end]) < 0);
            end++;
        }
        range_number++;
    }
    qsort(rows, end, sizeof(*rows), by_sort_values);
    for (size_t i = 0; i < end; i++)
        cJSON_AddItemToArray(results, copied(member(rows[i].row, "payload")));
    free(rows);
    return results;
}

static cJSON *concatenated(const cJSON *ranges)
{
    cJSON *results = cJSON_CreateArray();
    const cJSON *range, *row;

    cJSON_ArrayForEach(range, ranges)
    {
        cJSON_ArrayForEach(row, range) cJSON_AddItemToArray(results, copied(row));
    }
    return results;
}

static cJSON *source(const cJSON *info, const cJSON *ranges)
{
    const cJSON *directions = member(info, "orderBy"), *range;
    size_t count = 0;

    if (directions->child == NULL)
        return concatenated(ranges);
    cJSON_ArrayForEach(range, ranges) count += (size_t) cJSON_GetArraySize(range);
    return merged(ranges, directions, count);
}

/* ---- Aggregates ---- */

static cJSON *total(const cJSON *partials, const char *name)
{
    const cJSON *partial;
    double sum = 0;

    cJSON_ArrayForEach(partial, partials)
    {
        const cJSON *part = member(partial, "item");

        if (name != NULL)
            part = member(part, name);
        if (part == NULL)
            return NULL;
        assert(cJSON_IsNumber(part));
        sum += part->valuedouble;
    }
    return cJSON_CreateNumber(sum);
}

static cJSON *average(const cJSON *partials)
{
    cJSON *sum = total(partials, "sum"), *count = total(partials, "count");
    cJSON *result = NULL;

    assert(count != NULL);
    if (sum != NULL && count->valuedouble > 0)
        result = cJSON_CreateNumber(sum->valuedouble / count->valuedouble);
    cJSON_Delete(sum);
    cJSON_Delete(count);
    return result;
}

/* Ranges without values do not count; a range of values that have no order spoils the result. */
static cJSON *extreme(const cJSON *partials, const char *name, int sign)
{
    const cJSON *best = NULL, *partial;

    cJSON_ArrayForEach(partial, partials)
    {
        const cJSON *part = member(partial, "item2"), *value = member(part, name);

        assert(cJSON_IsNumber(member(part, "count")));
        if (member(part, "count")->valuedouble == 0)
            continue;
        if (value == NULL)
            return NULL;
        assert(cJSON_Compare(value, member(partial, "item"), true));
        if (best == NULL || sign * value_order(value, best) > 0)
            best = value;
    }
    return best != NULL ? copied(best) : NULL;
}

static bool contains(const cJSON *array, const cJSON *value)
{
    const cJSON *element;

    cJSON_ArrayForEach(element, array)
    {
        if (cJSON_Compare(element, value, true))
            return true;
    }
    return false;
}

static cJSON *gathered(const cJSON *partials, bool is_set)
{
    cJSON *all = cJSON_CreateArray();
    const cJSON *partial, *element;

    cJSON_ArrayForEach(partial, partials)
    {
        cJSON_ArrayForEach(element, member(partial, "item"))
        {
            if (!is_set || !contains(all, element))
                cJSON_AddItemToArray(all, copied(element));
        }
    }
    return all;
}

/* NULL for undefined. */
static cJSON *combined(const char *word, const cJSON *partials)
{
    if (strcmp(word, "Average") == 0)
        return average(partials);
    if (strcmp(word, "Min") == 0)
        return extreme(partials, "min", -1);
    if (strcmp(word, "Max") == 0)
        return extreme(partials, "max", 1);
    if (strcmp(word, "MakeList") == 0 || strcmp(word, "MakeSet") == 0)
        return gathered(partials, strcmp(word, "MakeSet") == 0);
    assert(strcmp(word, "Count") == 0 || strcmp(word, "CountIf") == 0 || strcmp(word, "Sum") == 0);
    return total(partials, NULL);
}

/* What rows say at one place: their only element, or a member; undefined ones are left out. */
static cJSON *column(const cJSON *rows, const char *alias)
{
    cJSON *values = cJSON_CreateArray();
    const cJSON *row;

    cJSON_ArrayForEach(row, rows)
    {
        const cJSON *value = alias != NULL ? member(row, alias) : row->child;

        assert(alias != NULL || (cJSON_IsArray(row) && cJSON_GetArraySize(row) == 1));
        if (value != NULL)
            cJSON_AddItemToArray(values, copied(value));
    }
    return values;
}

/* One result of the payloads of a group; NULL for undefined. */
static cJSON *group_result(const cJSON *info, const cJSON *payloads)
{
    const cJSON *word = member(info, "aggregates")->child, *alias;
    cJSON *result, *values;

    if (word != NULL) {
        values = column(payloads, NULL);
        result = combined(word->valuestring, values);
        cJSON_Delete(values);
        return result;
    }
    if (cJSON_IsTrue(member(info, "hasSelectValue")))
        return payloads->child != NULL ? copied(payloads->child) : NULL;
    result = cJSON_CreateObject();
    cJSON_ArrayForEach(alias, member(info, "groupByAliases"))
    {
        const cJSON *type = member(member(info, "groupByAliasToAggregateType"), alias->valuestring);
        cJSON *value = NULL;

        values = column(payloads, alias->valuestring);
        if (cJSON_IsString(type))
            value = combined(type->valuestring, values);
        else if (values->child != NULL)
            value = copied(values->child);
        if (value != NULL)
            cJSON_AddItemToObject(result, alias->valuestring, value);
        cJSON_Delete(values);
    }
    return result;
}

static cJSON *group_of(cJSON *groups, const cJSON *keys)
{
    cJSON *group;

    cJSON_ArrayForEach(group, groups)
    {
        if (cJSON_Compare(member(group, "keys"), keys, true))
            return group;
    }
    group = cJSON_CreateObject();
    cJSON_AddItemToObject(group, "keys", copied(keys));
    cJSON_AddItemToObject(group, "payloads", cJSON_CreateArray());
    cJSON_AddItemToArray(groups, group);
    return group;
}

static cJSON *groups_of(const cJSON *rows)
{
    cJSON *groups = cJSON_CreateArray();
    const cJSON *row;

    cJSON_ArrayForEach(row, rows)
    {
        const cJSON *keys = member(row, "groupByItems"), *payload = member(row, "payload");

        assert(cJSON_IsArray(keys));
        cJSON *group = group_of(groups, keys);
        if (payload != NULL)
            cJSON_AddItemToArray(cJSON_GetObjectItem(group, "payloads"), copied(payload));
    }
    return groups;
}

static void result_add(cJSON *results, cJSON *result)
{
    if (result != NULL)
        cJSON_AddItemToArray(results, result);
}

static cJSON *grouped(const cJSON *info, cJSON *rows)
{
    cJSON *results = cJSON_CreateArray();

    if (member(info, "groupByExpressions")->child != NULL) {
        cJSON *groups = groups_of(rows), *group;

        cJSON_ArrayForEach(group, groups)
            result_add(results, group_result(info, member(group, "payloads")));
        cJSON_Delete(groups);
    } else if (member(info, "aggregates")->child != NULL) {
        result_add(results, group_result(info, rows));
    } else if (member(info, "groupByAliases")->child != NULL) {
        cJSON *payloads = column(rows, "payload");

        result_add(results, group_result(info, payloads));
        cJSON_Delete(payloads);
    } else {
        cJSON_Delete(results);
        return rows;
    }
    cJSON_Delete(rows);
    return results;
}

/* ---- The rest ---- */

static cJSON *distinguished(const cJSON *info, cJSON *rows)
{
    const char *type = member(info, "distinctType")->valuestring;
    cJSON *results;

    if (strcmp(type, "None") == 0)
        return rows;
    results = cJSON_CreateArray();
    for (const cJSON *row = rows->child; row != NULL; row = row->next) {
        bool is_known = strcmp(type, "Ordered") == 0
                            ? row != rows->child && cJSON_Compare(row->prev, row, true)
                            : contains(results, row);

        if (!is_known)
            cJSON_AddItemToArray(results, copied(row));
    }
    cJSON_Delete(rows);
    return results;
}

static cJSON *window(cJSON *rows, double from, double count)
{
    cJSON *results = cJSON_CreateArray();
    double at = 0;

    for (const cJSON *row = rows->child; row != NULL; row = row->next, at++) {
        if (at >= from && at < from + count)
            cJSON_AddItemToArray(results, copied(row));
    }
    cJSON_Delete(rows);
    return results;
}

static cJSON *counted(const cJSON *info, cJSON *rows)
{
    const cJSON *count = member(info, "dCountInfo");
    cJSON *number, *result;

    if (cJSON_IsNull(count))
        return rows;
    number = cJSON_CreateNumber(cJSON_GetArraySize(rows));
    cJSON_Delete(rows);
    const char *alias = member(count, "dCountAlias")->valuestring;
    if (alias[0] != '\0') {
        result = cJSON_CreateObject();
        cJSON_AddItemToObject(result, alias, number);
        number = result;
    }
    result = cJSON_CreateArray();
    cJSON_AddItemToArray(result, number);
    return result;
}

cJSON *query_pipeline(const cJSON *info, const cJSON *ranges)
{
    const cJSON *limit = member(info, "limit"), *top = member(info, "top");
    cJSON *rows = distinguished(info, grouped(info, source(info, ranges)));

    if (cJSON_IsNumber(limit))
        rows = window(rows, member(info, "offset")->valuedouble, limit->valuedouble);
    if (cJSON_IsNumber(top))
        rows = window(rows, 0, top->valuedouble);
    return counted(info, rows);
}
