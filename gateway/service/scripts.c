/*
 * Stored procedures, triggers and user-defined functions: their definitions. They are stored and
 * returned; none is executed in this release.
 */
#include "service/handlers.h"
#include "service/resource.h"

#include "base/banned.h"

static bool parse_script(struct op *op)
{
    struct resource *self = op_self(op, struct resource);
    struct slice body;

    if (!resource_parse(op))
        return false;
    return (json_find(self->definition, SLICE_LITERAL("body"), &body) &&
            json_type(body) == JSON_STRING && body.len > 2) ||
           fault_set(&op->fault, 400, SUB_NONE, "a %s needs its code as string \"body\"",
                     self->type->noun);
}

static bool is_word(struct slice object, const char *name, const char *const *words)
{
    struct slice value;

    if (!json_find(object, slice_from_text(name), &value) || json_type(value) != JSON_STRING)
        return false;
    value = slice_make(value.ptr + 1, value.len - 2);
    while (*words != NULL && !slice_equals_nocase(value, *words))
        words++;
    return *words != NULL;
}

static bool parse_trigger(struct op *op)
{
    static const char *const types[] = {"Pre", "Post", NULL};
    static const char *const operations[] = {"All", "Create", "Update", "Delete", "Replace", NULL};
    struct resource *self = op_self(op, struct resource);

    if (!parse_script(op))
        return false;
    if (!is_word(self->definition, "triggerType", types))
        return fault_set(&op->fault, 400, SUB_NONE, "\"triggerType\" must be Pre or Post");
    return is_word(self->definition, "triggerOperation", operations) ||
           fault_set(&op->fault, 400, SUB_NONE,
                     "\"triggerOperation\" must be All, Create, Update, Delete or Replace");
}

static const struct resource_type sproc_type = {
    .kind = METADATA_SPROC,
    .rid_type = RID_SPROC,
    .noun = "stored procedure",
    .feed_name = "StoredProcedures",
    .feeds = "",
    .depth = 3,
    .parents = {METADATA_DATABASE, METADATA_CONTAINER},
    .is_upsertable = true,
    .parse = parse_script,
};

static const struct resource_type trigger_type = {
    .kind = METADATA_TRIGGER,
    .rid_type = RID_TRIGGER,
    .noun = "trigger",
    .feed_name = "Triggers",
    .feeds = "",
    .depth = 3,
    .parents = {METADATA_DATABASE, METADATA_CONTAINER},
    .is_upsertable = true,
    .parse = parse_trigger,
};

static const struct resource_type udf_type = {
    .kind = METADATA_UDF,
    .rid_type = RID_UDF,
    .noun = "user-defined function",
    .feed_name = "UserDefinedFunctions",
    .feeds = "",
    .depth = 3,
    .parents = {METADATA_DATABASE, METADATA_CONTAINER},
    .is_upsertable = true,
    .parse = parse_script,
};

#define HANDLERS(noun, type)                    \
    enum op_next noun##s_create(struct op *op)  \
    {                                           \
        return resource_create(op, &type);      \
    }                                           \
    enum op_next noun##s_list(struct op *op)    \
    {                                           \
        return resource_list(op, &type);        \
    }                                           \
    enum op_next noun##s_read(struct op *op)    \
    {                                           \
        return resource_read(op, &type);        \
    }                                           \
    enum op_next noun##s_replace(struct op *op) \
    {                                           \
        return resource_replace(op, &type);     \
    }                                           \
    enum op_next noun##s_delete(struct op *op)  \
    {                                           \
        return resource_delete(op, &type);      \
    }

HANDLERS(sproc, sproc_type)
HANDLERS(trigger, trigger_type)
HANDLERS(udf, udf_type)
#undef HANDLERS

static op_step execute_found;

enum op_next sprocs_execute(struct op *op)
{
    if (resource_begin(op, &sproc_type, sizeof(struct resource)) == NULL)
        return OP_FAILED;
    return resource_find(op, execute_found);
}

static enum op_next execute_found(struct op *op)
{
    return call_fail(op, 400, SUB_NONE, "stored procedures are not executed in this release");
}
