/*
 * Users: create, upsert, list, query, read, replace (also under another id), delete.
 */
#include "service/handlers.h"
#include "service/resource.h"

#include "base/banned.h"

static const struct resource_type type = {
    .kind = METADATA_USER,
    .rid_type = RID_USER,
    .noun = "user",
    .feed_name = "Users",
    .feeds = ",\"_permissions\":\"permissions/\"",
    .depth = 2,
    .parents = {METADATA_DATABASE},
    .is_upsertable = true,
    .may_be_renamed = true,
    .has_children = true,
};

enum op_next users_create(struct op *op)
{
    return resource_create(op, &type);
}

enum op_next users_list(struct op *op)
{
    return resource_list(op, &type);
}

enum op_next users_read(struct op *op)
{
    return resource_read(op, &type);
}

enum op_next users_replace(struct op *op)
{
    return resource_replace(op, &type);
}

enum op_next users_delete(struct op *op)
{
    return resource_delete(op, &type);
}
