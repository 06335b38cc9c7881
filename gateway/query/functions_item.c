/*
 * DOCUMENTID and HASH: numbers that stand for items and for values.
 */
#include "query/functions.h"

#include "model/rid.h"
#include "query/digest.h"

#include "base/banned.h"

/* The item's number within its container, which its resource id holds. */
const cJSON *function_documentid(struct eval *eval, const cJSON *const *args, size_t count)
{
    const cJSON *text = value_member(eval, args[0], "_rid");
    struct rid rid;

    (void) count;
    if (!cJSON_IsString(text) || !rid_parse(value_text(text), &rid) || rid.type != RID_ITEM)
        return NULL;
    return value_number(eval, (double) rid.number);
}

/* 53 bits of the digest: equal for equal values, a whole number that a double holds. */
const cJSON *function_hash(struct eval *eval, const cJSON *const *args, size_t count)
{
    struct digest digest;
    uint64_t bits = 0;

    (void) count;
    if (!eval_spend(eval, 1 + digest_value(args[0], &digest) / 16))
        return NULL;
    for (int i = 0; i < 7; i++)
        bits = bits << 8 | digest.bytes[i];
    return value_number(eval, (double) (bits >> 3));
}
