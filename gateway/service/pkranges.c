/*
 * Partition key ranges: the map by which SDKs route requests.
 *
 * Some SDKs ask again, with the etag of the last answer, until they get 304; so the etag changes
 * with the list of ranges and with nothing else: it is made of the container's number and the
 * highest index that a range of it ever had.
 */
#include "model/charge.h"
#include "model/etag.h"
#include "service/access.h"
#include "service/catch_up.h"
#include "service/handlers.h"
#include "service/resource.h"

#include "base/banned.h"

static const struct resource_type type = {
    .kind = METADATA_NONE,
    .rid_type = RID_PKRANGE,
    .noun = "partition key range",
    .feed_name = "PartitionKeyRanges",
    .feeds = "",
    .depth = 3,
    .parents = {METADATA_DATABASE, METADATA_CONTAINER},
};

struct ranges {
    struct metadata_range *at;
    size_t count;
    uint32_t last_index;
};

static op_step ranges_ask;
static op_step ranges_found;

enum op_next pkranges_list(struct op *op)
{
    struct resource *self = resource_begin(op, &type, sizeof(*self));

    return self != NULL ? op_again(op, ranges_ask) : OP_FAILED;
}

static enum op_next ranges_ask(struct op *op)
{
    struct resource *self = op_self(op, struct resource);

    return metadata_find_ranges(&call_of(op)->service->store, op, &self->path, ranges_found);
}

static void store_big(uint8_t *out, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        out[i] = (uint8_t) (value >> 8 * (bytes - 1 - i));
}

static struct etag make_etag(uint32_t container, uint32_t index, bool is_list)
{
    struct etag etag = {{0}};

    store_big(etag.uuid, container, 4);
    etag.uuid[8] = is_list ? 0x80 : 0;
    store_big(etag.uuid + 12, index, 4);
    return etag;
}

static void print_range(struct buf *buf, const struct resource *self,
                        const struct metadata_range *range, size_t count)
{
    const struct metadata *container = &self->found[1];
    struct etag etag = make_etag((uint32_t) container->number, range->index, false);
    struct pkrange shown = {.index = range->index, .min = range->min, .max = range->max};
    char etag_text[ETAG_TEXT_BYTES];

    etag_format(&etag, etag_text);
    pkrange_append_json(buf, &shown,
                        &(struct pkrange_facts){.database = (uint32_t) self->found[0].number,
                                                .container = (uint32_t) container->number,
                                                .etag = slice_from_text(etag_text),
                                                .ts = container->ts,
                                                .lsn = range->lsn,
                                                .throughput_fraction = 1.0 / (double) count});
}

static enum op_next reply_ranges(struct op *op, const struct ranges *ranges)
{
    struct resource *self = op_self(op, struct resource);
    struct call *call = call_of(op);
    struct rid container = {RID_CONTAINER, (uint32_t) self->found[0].number,
                            (uint32_t) self->found[1].number, 0};
    struct buf body = {0};
    int64_t lsn = 0;

    buf_append_text(&body, "{\"_rid\":\"");
    rid_append(&body, &container);
    buf_append_text(&body, "\",\"PartitionKeyRanges\":[");
    for (size_t i = 0; i < ranges->count; i++) {
        if (i > 0)
            buf_append_char(&body, ',');
        print_range(&body, self, &ranges->at[i], ranges->count);
        lsn = ranges->at[i].lsn > lsn ? ranges->at[i].lsn : lsn;
    }
    buf_printf(&body, "],\"_count\":%zu}", ranges->count);
    reply_header_i64(&call->reply, &op->arena, "x-ms-item-count", (int64_t) ranges->count);
    reply_header_i64(&call->reply, &op->arena, "lsn", lsn);
    return call_reply_json(op, 200, &body);
}

static enum op_next ranges_found(struct op *op)
{
    struct resource *self = op_self(op, struct resource);
    struct call *call = call_of(op);
    struct ranges ranges;

    if (!metadata_ranges(op, &self->path, self->found, &self->found_count, &ranges.at,
                         &ranges.count, &ranges.last_index))
        return OP_FAILED;
    if (self->found_count < 2 && catch_up_is_due(call))
        return catch_up(op, ranges_ask);
    call->reply.charge_cru = CHARGE_METADATA_READ_CRU;
    if (self->found_count < 2)
        return call_fail(op, 404, SUB_OWNER_RESOURCE_NOT_FOUND, "there is no %s \"%.*s\"",
                         self->found_count == 0 ? "database" : "container",
                         FAULT_QUOTE(self->path.names[self->found_count]));
    uint32_t number = (uint32_t) self->found[1].number;
    if (!access_check(call, AUTHTOKEN_PKRANGES, false, (uint32_t) self->found[0].number, number,
                      (struct slice){NULL, 0}, (struct slice){NULL, 0}))
        return OP_FAILED;
    struct etag etag = make_etag(number, ranges.last_index, true);
    struct etag_condition none =
        etag_condition_parse(call->request.headers.at[HEADER_IF_NONE_MATCH]);
    call_reply_etag(call, etag.uuid);
    resource_reply_owner(op);
    if (none.kind != ETAG_ABSENT && etag_condition_matches(&none, &etag))
        return call_reply_empty(op, 304);
    return reply_ranges(op, &ranges);
}
