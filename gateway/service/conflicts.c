/*
 * The conflicts feed. An account of one region has no conflicts, so the feed is empty, and none is
 * found; the database and the container must exist all the same.
 */
#include "service/handlers.h"
#include "service/resource.h"

#include "base/banned.h"

static const struct resource_type type = {
    .kind = METADATA_CONFLICT,
    .rid_type = RID_CONFLICT,
    .noun = "conflict",
    .feed_name = "Conflicts",
    .feeds = "",
    .depth = 3,
    .parents = {METADATA_DATABASE, METADATA_CONTAINER},
};

enum op_next conflicts_list(struct op *op)
{
    return resource_list(op, &type);
}

enum op_next conflicts_read(struct op *op)
{
    return resource_read(op, &type);
}

enum op_next conflicts_delete(struct op *op)
{
    return resource_delete(op, &type);
}
