/*
 * Databases: create, list, query, read, delete.
 */
#include "service/handlers.h"
#include "service/offers.h"
#include "service/resource.h"

#include "base/banned.h"

struct database_call {
    struct resource resource;
    struct offer offer;
    bool has_offer;
};

/* Throughput that its containers share, when the request gave any. */
static bool add_offer(struct op *op)
{
    struct database_call *self = op_self(op, struct database_call);

    if (self->resource.change != RESOURCE_CREATE || !self->has_offer)
        return true;
    return offers_add(op, &self->offer);
}

static const struct resource_type type = {
    .kind = METADATA_DATABASE,
    .rid_type = RID_DATABASE,
    .noun = "database",
    .feed_name = "Databases",
    .feeds = ",\"_colls\":\"colls/\",\"_users\":\"users/\"",
    .depth = 1,
    .has_children = true,
    .add = add_offer,
};

enum op_next databases_create(struct op *op)
{
    if (resource_is_query(op))
        return resource_query(op, &type);
    if (resource_begin(op, &type, sizeof(struct database_call)) == NULL)
        return OP_FAILED;
    struct database_call *self = op_self(op, struct database_call);
    if (!offers_from_request(op, &self->offer, &self->has_offer))
        return OP_FAILED;
    return resource_create_begun(op);
}

enum op_next databases_list(struct op *op)
{
    return resource_list(op, &type);
}

enum op_next databases_read(struct op *op)
{
    return resource_read(op, &type);
}

enum op_next databases_delete(struct op *op)
{
    return resource_delete(op, &type);
}
