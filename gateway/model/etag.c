#include "model/etag.h"

#include "base/crypto.h"

#include "base/banned.h"

void etag_create(struct etag *etag)
{
    uuid_create(etag->uuid);
}

bool etag_equals(const struct etag *a, const struct etag *b)
{
    return memcmp(a->uuid, b->uuid, sizeof(a->uuid)) == 0;
}

void etag_format(const struct etag *etag, char text[ETAG_TEXT_BYTES])
{
    uuid_format(etag->uuid, text + 1);
    text[0] = '"';
    text[ETAG_TEXT_BYTES - 2] = '"';
    text[ETAG_TEXT_BYTES - 1] = '\0';
}

bool etag_parse(struct slice text, struct etag *etag)
{
    char again[UUID_TEXT_BYTES];

    if (text.len == ETAG_TEXT_BYTES - 1 && text.ptr[0] == '"' && text.ptr[text.len - 1] == '"')
        text = slice_make(text.ptr + 1, text.len - 2);
    if (!uuid_parse(text, etag->uuid))
        return false;
    /* Tags are compared as texts: one in capitals is another. */
    uuid_format(etag->uuid, again);
    return slice_equals_text(text, again);
}

struct etag_condition etag_condition_parse(struct slice header)
{
    struct etag_condition condition = {.kind = ETAG_ABSENT};

    if (slice_is_absent(header))
        return condition;
    header = slice_trim(header);
    if (slice_equals_text(header, "*") || slice_equals_text(header, "\"*\""))
        condition.kind = ETAG_ANY;
    else
        condition.kind = etag_parse(header, &condition.etag) ? ETAG_EXACT : ETAG_NEVER;
    return condition;
}

bool etag_condition_matches(const struct etag_condition *condition, const struct etag *etag)
{
    if (etag == NULL)
        return false;
    return condition->kind == ETAG_ANY ||
           (condition->kind == ETAG_EXACT && etag_equals(&condition->etag, etag));
}
