#include "service/item_target.h"

#include "loop/pgvalue.h"
#include "service/access.h"

#include "base/banned.h"

bool item_target_pkey_from_header(struct item_target *target, struct call *call)
{
    struct slice header = slice_trim(call->request.headers.at[HEADER_PARTITION_KEY]);

    if (slice_is_empty(header))
        return fault_set(
            &call->op.fault, 400, SUB_NONE,
            "the header x-ms-documentdb-partitionkey must be supplied for this operation");
    return pkey_from_header(&target->pkey, &call->container->settings.partition_key, header,
                            PKEY_FULL, &call->op.arena, &call->op.fault);
}

bool item_target_extract(struct pkey *pkey, struct call *call, const struct item *item)
{
    const struct pkey_definition *definition = &call->container->settings.partition_key;

    pkey->count = definition->path_count;
    for (size_t i = 0; i < definition->path_count; i++) {
        struct slice value = slice_make(NULL, 0);
        (void) json_find_path(item->parsed.root, definition->paths[i].names,
                              definition->paths[i].name_count, &value); /* not there: undefined */
        if (!pkey_component_from_json(&pkey->components[i], value, &call->op.arena,
                                      &call->op.fault))
            return false;
    }
    return pkey_complete(pkey, definition, &call->op.fault);
}

bool item_target_pkey_from_item(struct item_target *target, struct call *call,
                                const struct item *item)
{
    struct slice header = slice_trim(call->request.headers.at[HEADER_PARTITION_KEY]);
    struct pkey asked;

    if (!item_target_extract(&target->pkey, call, item))
        return false;
    if (slice_is_empty(header))
        return true;
    return pkey_from_header(&asked, &call->container->settings.partition_key, header, PKEY_FULL,
                            &call->op.arena, &call->op.fault) &&
           pkey_check_body(&asked, &target->pkey, &call->op.fault);
}

bool item_target_aim(struct item_target *target, struct call *call, struct slice id)
{
    struct container *container = call->container;
    struct buf pk = {0};
    struct epk epk;

    pkey_hash(&target->pkey, &container->settings.partition_key, &epk);
    target->range = pkrange_find(container->ranges, container->range_count, &epk);
    pkey_encode(&pk, &target->pkey, &container->settings.partition_key);
    char *bytes = pk.has_failed ? NULL : arena_copy(&call->op.arena, pk.ptr, pk.len);
    target->pk = slice_make(bytes, pk.len);
    buf_finish(&pk);
    if (bytes == NULL)
        return fault_set_oom(&call->op.fault);
    target->key = (struct item_key){.container = container->number,
                                    .range_id = pkrange_id(container->number, target->range->index),
                                    .pk = target->pk,
                                    .id = id};
    return true;
}

static bool fill_claims(struct write_operation *operation, struct call *call,
                        const struct item *item)
{
    const struct container_settings *settings = &call->container->settings;

    if (settings->unique_key_count == 0)
        return true;
    struct write_claim *claims =
        arena_alloc(&call->op.arena, settings->unique_key_count * sizeof(*claims));
    struct container_claim *values =
        arena_alloc(&call->op.arena, settings->unique_key_count * sizeof(*values));
    if (claims == NULL || values == NULL)
        return fault_set_oom(&call->op.fault);
    if (!container_unique_claims(settings, item->parsed.root, values, &call->op.arena,
                                 &call->op.fault))
        return false;
    for (size_t i = 0; i < settings->unique_key_count; i++)
        claims[i] = (struct write_claim){
            .key_number = values[i].key_number,
            .value = slice_make((const char *) values[i].value, sizeof(values[i].value))};
    operation->claims = claims;
    operation->claim_count = (unsigned) settings->unique_key_count;
    return true;
}

bool item_target_fill(struct write_operation *operation, const struct item_target *target,
                      struct call *call, const struct item *item)
{
    struct slice doc;

    operation->pk = target->pk;
    operation->id = target->key.id;
    operation->has_ttl = item->has_ttl;
    operation->ttl = item->ttl_s;
    operation->body = item->stored;
    uuid_create(operation->etag);
    if (!item_doc(item, &call->op.arena, &doc, &call->op.fault))
        return false;
    if (doc.ptr != item->stored.ptr)
        operation->doc = doc;
    operation->has_rank =
        container_conflict_rank(&call->container->settings, item->parsed.root, &operation->rank);
    return fill_claims(operation, call, item);
}

bool item_target_conditions(struct write_operation *operation, struct call *call)
{
    const struct headers *headers = &call->request.headers;
    struct etag_condition match = etag_condition_parse(headers->at[HEADER_IF_MATCH]);
    struct etag_condition none = etag_condition_parse(headers->at[HEADER_IF_NONE_MATCH]);

    if (none.kind == ETAG_ANY &&
        (operation->kind == WRITE_UPSERT || operation->kind == WRITE_CREATE))
        operation->is_if_none_match = operation->kind == WRITE_UPSERT;
    else if (none.kind != ETAG_ABSENT)
        return fault_set(&call->op.fault, 400, SUB_NONE,
                         "if-none-match is supported here only as \"*\" for create and upsert");
    if (match.kind == ETAG_ABSENT || match.kind == ETAG_ANY)
        return true;
    /* A foreign tag is no version's: the zero uuid matches none either, since tags are random. */
    operation->has_if_match = true;
    if (match.kind == ETAG_EXACT)
        memcpy(operation->if_match, match.etag.uuid, sizeof(operation->if_match));
    return true;
}

void item_target_write(struct write *write, const struct item_target *target,
                       const struct call *call, struct write_operation *operations, unsigned count)
{
    const struct container *container = call->container;

    write->container = target->key.container;
    write->range_id = target->key.range_id;
    write->expected_epoch = container->epochs[target->range - container->ranges].epoch;
    write->operations = operations;
    write->count = count;
    write->travels_alone = false;
}

void item_target_reply(struct call *call, const struct pkrange *range, int64_t epoch,
                       const int64_t *vector, size_t vector_len)
{
    struct reply *reply = &call->reply;

    consistency_reply(call, range, epoch, vector, vector_len);
    reply_header_i64(reply, &call->op.arena, "x-ms-documentdb-partitionkeyrangeid", range->index);
    reply_header(reply, "x-ms-alt-content-path", call->container->alt_path.ptr);
    reply_header(reply, "x-ms-content-path", call->container->rid);
}

void item_target_reply_row(struct call *call, const struct pkrange *range,
                           const struct item_row *row)
{
    int64_t vector[STORE_VECTOR_MAX];
    size_t len = pgvalue_int8_array(row->vector, vector, ARRAY_LEN(vector));

    item_target_reply(call, range, row->epoch, vector, len);
    if (row->exists)
        reply_header_i64(&call->reply, &call->op.arena, "x-ms-item-lsn", row->lsn);
}

static char *put(char *at, const char *text)
{
    size_t len = strlen(text);

    memcpy(at, text, len);
    return at + len;
}

/* System properties of an item, and the memory that they are in. */
struct system_texts {
    char rid[RID_TEXT_BYTES], self[sizeof("dbs//colls//docs//") + 3 * RID_TEXT_BYTES],
        etag[UUID_TEXT_BYTES];
    struct item_system system;
};

static const struct item_system *fill_system(struct system_texts *texts,
                                             const struct container *container,
                                             const struct item_print *item)
{
    struct rid rid = {.type = RID_ITEM,
                      .database = container->database_number,
                      .owner = container->number,
                      .number = item->rid};

    rid_format(&rid, texts->rid);
    uuid_format(item->etag, texts->etag);
    char *end = put(put(texts->self, "dbs/"), container->database_rid);
    end = put(put(end, "/colls/"), container->rid);
    end = put(put(put(end, "/docs/"), texts->rid), "/");
    texts->system =
        (struct item_system){.rid = slice_from_text(texts->rid),
                             .self = slice_make(texts->self, (size_t) (end - texts->self)),
                             .etag = slice_from_text(texts->etag),
                             .ts_s = item->ts,
                             .has_lsn = item->has_lsn,
                             .lsn = item->lsn};
    return &texts->system;
}

void item_target_print(struct buf *out, const struct container *container,
                       const struct item_print *item)
{
    struct system_texts texts;

    item_print(out, item->stored, fill_system(&texts, container, item));
}

cJSON *item_target_tree(struct arena *arena, const struct container *container,
                        const struct item_print *item)
{
    struct system_texts texts;

    return item_tree(arena, item->stored, fill_system(&texts, container, item));
}

bool item_target_fault(struct fault *fault, const struct write_operation *operation)
{
    switch (operation->status) {
    case 404:
        return fault_set(fault, 404, SUB_NONE,
                         "there is no item \"%.*s\" in this logical partition",
                         FAULT_QUOTE(operation->id));
    case 409:
        if (operation->substatus == substatus_number(SUB_UNIQUE_INDEX_CONFLICT))
            return fault_set(fault, 409, SUB_UNIQUE_INDEX_CONFLICT,
                             "unique index constraint violation");
        return fault_set(fault, 409, SUB_NONE,
                         "an item with the id \"%.*s\" already exists in this logical partition",
                         FAULT_QUOTE(operation->id));
    case 410:
        return fault_set(fault, 410, SUB_PARTITION_KEY_RANGE_GONE,
                         "the partition key range is gone");
    case 412:
        return fault_set(
            fault, 412, SUB_NONE,
            "operation cannot be performed because one of the specified preconditions is not met");
    case 424:
        return fault_set(fault, 424, SUB_NONE, "another operation of the transaction failed");
    case 400:
        return fault_set(fault, 400, SUB_NONE,
                         "id and partition key together are too long for the index");
    case 408:
        return fault_set(fault, 408, SUB_NONE, "whether the write took place is not known");
    default:
        return fault_set(fault, 500, SUB_NONE,
                         "the gateway met an unexpected condition; its log has the details");
    }
}
