/*
 * Client encryption keys: create, list, query, read, replace. The service knows no delete.
 *
 * What is stored was wrapped by the client's own key service; nothing is decrypted here.
 */
#include "service/handlers.h"
#include "service/resource.h"

#include "base/banned.h"

static bool parse(struct op *op)
{
    static const struct {
        const char *name;
        enum json_type type;
    } needed[] = {
        {"encryptionAlgorithm", JSON_STRING},
        {"wrappedDataEncryptionKey", JSON_STRING},
        {"keyWrapMetadata", JSON_OBJECT},
    };
    struct resource *self = op_self(op, struct resource);
    struct slice value;

    if (!resource_parse(op))
        return false;
    for (size_t i = 0; i < ARRAY_LEN(needed); i++) {
        if (!json_find(self->definition, slice_from_text(needed[i].name), &value) ||
            json_type(value) != needed[i].type)
            return fault_set(&op->fault, 400, SUB_NONE, "a client encryption key needs %s \"%s\"",
                             needed[i].type == JSON_OBJECT ? "an object" : "a string",
                             needed[i].name);
    }
    return true;
}

static const struct resource_type type = {
    .kind = METADATA_KEY,
    .rid_type = RID_CLIENT_ENCRYPTION_KEY,
    .noun = "client encryption key",
    .feed_name = "ClientEncryptionKeys",
    .feeds = "",
    .depth = 2,
    .parents = {METADATA_DATABASE},
    .parse = parse,
};

enum op_next keys_create(struct op *op)
{
    return resource_create(op, &type);
}

enum op_next keys_list(struct op *op)
{
    return resource_list(op, &type);
}

enum op_next keys_fetch(struct op *op)
{
    return resource_read(op, &type);
}

enum op_next keys_replace(struct op *op)
{
    return resource_replace(op, &type);
}
