#include "query/resume.h"

#include "model/rid.h"
#include "query/value.h"

#include "base/banned.h"

static bool malformed(struct fault *fault, const char *why)
{
    return fault_set(fault, 400, SUB_NONE, "the query's \"resumeFilter\" %s", why);
}

static bool rid_read(struct resume *resume, const cJSON *member, struct fault *fault)
{
    struct rid rid;

    if (member == NULL || cJSON_IsNull(member))
        return true;
    if (!cJSON_IsString(member) || !rid_parse(slice_from_text(member->valuestring), &rid) ||
        rid.type != RID_ITEM)
        return malformed(fault, "has a \"rid\" that is not an item's");
    resume->has_rid = true;
    resume->rid = rid.number;
    return true;
}

static bool values_read(struct resume *resume, struct arena *arena, const cJSON *list,
                        struct fault *fault)
{
    unsigned wanted = resume->query->order_count, count = 0;
    const cJSON *member;

    if (!cJSON_IsArray(list) || cJSON_GetArraySize(list) != (int) wanted || wanted == 0)
        return malformed(fault, "needs a \"value\" for each key of ORDER BY");
    struct sort_value *values = arena_alloc(arena, wanted * sizeof(*values));
    if (values == NULL)
        return fault_set_oom(fault);
    cJSON_ArrayForEach(member, list)
    {
        bool is_undefined = cJSON_IsArray(member) && member->child == NULL;

        if (!is_undefined && (cJSON_IsArray(member) || cJSON_IsObject(member)))
            return malformed(fault, "stops at an array or an object, which is not supported");
        values[count++] = sort_value_of(is_undefined ? NULL : member);
    }
    resume->values = values;
    return true;
}

bool resume_read(struct resume *resume, struct arena *arena, const cJSON *filter,
                 const struct ast_query *query, struct fault *fault)
{
    const cJSON *exclude;

    *resume = (struct resume){0};
    if (filter == NULL)
        return true;
    exclude = cJSON_GetObjectItemCaseSensitive(filter, "exclude");
    if (exclude != NULL && !cJSON_IsBool(exclude))
        return malformed(fault, "has an \"exclude\" that is not a boolean");
    resume->query = query;
    resume->excludes = cJSON_IsTrue(exclude);
    return values_read(resume, arena, cJSON_GetObjectItemCaseSensitive(filter, "value"), fault) &&
           rid_read(resume, cJSON_GetObjectItemCaseSensitive(filter, "rid"), fault);
}

bool resume_passes(const struct resume *resume, const struct sort_value *values,
                   const uint64_t *rid)
{
    unsigned at = 0;

    if (resume->query == NULL)
        return true;
    for (const struct ast_order *key = resume->query->order_by; key != NULL; key = key->next) {
        int order = sort_value_compare(&values[at], &resume->values[at]);

        if (order != 0)
            return (order > 0) != key->is_descending;
        at++;
    }
    if (resume->excludes)
        return false;
    if (!resume->has_rid || rid == NULL)
        return true;
    return resume->query->order_by->is_descending ? *rid <= resume->rid : *rid >= resume->rid;
}
