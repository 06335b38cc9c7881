/*
 * Feeds of definitions: lists, and queries, which are lists with a condition over the definitions
 * as clients see them.
 */
#include "service/feed_select.h"
#include "service/resource.h"

#include "base/clock.h"
#include "model/charge.h"
#include "service/catch_up.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/banned.h"

#define PAGE_DEFAULT 100
#define PAGE_MAX 1000
#define PAGE_BYTES_MAX (3u << 20) /* a list that ended early has more than that */
#define SCAN_ROWS 500             /* that a query looks at per statement */
/* More than this means that a list may have ended early. */
#define LIST_BYTES_WHOLE (METADATA_LIST_BYTES - RESOURCE_BYTES_STORED_MAX)

static op_step feed_rows; /* print what came, ask for more or answer */

/* ---- continuation: version, number of the parent, number of the last one ---- */

static bool continuation_parse(struct op *op)
{
    struct resource *self = op_self(op, struct resource);
    struct slice text = slice_trim(call_of(op)->request.headers.at[HEADER_CONTINUATION]),
                 rest = text;
    unsigned long long after;

    if (slice_is_empty(text))
        return true;
    struct slice version = slice_cut(rest, '.', &rest);
    if (slice_equals_text(version, "1") && !slice_is_absent(rest) &&
        slice_to_u64(rest, INT64_MAX, &after)) {
        self->after = after;
        return true;
    }
    return fault_set(&op->fault, 400, SUB_NONE,
                     "x-ms-continuation is none of this server's: \"%.*s\"", FAULT_QUOTE(text));
}

/* ---- asking ---- */

static enum op_next ask(struct op *op)
{
    struct resource *self = op_self(op, struct resource);
    struct store *store = &call_of(op)->service->store;
    /* One more than is wanted tells whether there is another page. */
    unsigned limit = self->is_query ? SCAN_ROWS : self->limit - self->count + 1;

    if (self->type->kind == METADATA_OFFER)
        return metadata_list_offers(store, op, self->after, limit, feed_rows);
    return metadata_list(store, op, &self->path, self->type->kind, self->after, limit, feed_rows);
}

static struct resource *begin(struct op *op, const struct resource_type *type)
{
    struct resource *self = resource_begin(op, type, sizeof(*self));

    if (self == NULL || !resource_defer_buf(op, &self->page) || !continuation_parse(op) ||
        !header_max_item_count(&call_of(op)->request.headers, PAGE_DEFAULT, PAGE_MAX, &self->limit,
                               &op->fault))
        return NULL;
    return self;
}

bool resource_is_query(const struct op *op)
{
    const struct headers *headers = &container_of(op, struct call, op)->request.headers;

    return header_is_true(headers, HEADER_IS_QUERY) || header_is_true(headers, HEADER_IS_QUERY_GO);
}

enum op_next resource_list(struct op *op, const struct resource_type *type)
{
    return begin(op, type) != NULL ? ask(op) : OP_FAILED;
}

enum op_next resource_query(struct op *op, const struct resource_type *type)
{
    struct resource *self = begin(op, type);
    struct query_spec spec;

    if (self == NULL ||
        !query_body_parse(&op->arena, call_of(op)->request.body, &spec, &op->fault) ||
        !filter_parse(&op->arena, spec.text, spec.parameters, &self->filter, &op->fault))
        return OP_FAILED;
    self->filter.now_us = 1000 * clock_unix_ms();
    self->is_query = true;
    return ask(op);
}

/* ---- rows ---- */

static bool add_one(struct op *op, const struct metadata *one)
{
    struct resource *self = op_self(op, struct resource);
    struct buf printed = {0};

    resource_print(op, &printed, one);
    bool is_added = !printed.has_failed || fault_set_oom(&op->fault);
    if (is_added && self->is_query)
        is_added =
            feed_select(&self->page, &self->count, &self->filter, buf_slice(&printed), &op->fault);
    else if (is_added)
        feed_append(&self->page, &self->count, buf_slice(&printed));
    buf_finish(&printed);
    return is_added && (!self->page.has_failed || fault_set_oom(&op->fault));
}

static enum op_next reply_page(struct op *op)
{
    struct resource *self = op_self(op, struct resource);
    struct call *call = call_of(op);
    const struct metadata *parent = resource_parent(self);
    struct buf body = {0};

    buf_append_text(&body, "{\"_rid\":\"");
    if (parent != NULL) {
        struct rid child = resource_rid(self, &(struct metadata){.number = 1});
        struct rid owner = rid_parent(&child);
        rid_append(&body, &owner);
    }
    buf_printf(&body, "\",\"%s\":[", self->type->feed_name);
    buf_append_slice(&body, buf_slice(&self->page));
    buf_printf(&body, "],\"_count\":%u}", self->count);
    resource_reply_owner(op);
    reply_header_i64(&call->reply, &op->arena, "x-ms-item-count", self->count);
    if (self->has_more)
        reply_header(&call->reply, "x-ms-continuation",
                     arena_printf(&op->arena, "1.%" PRIu64, self->after));
    call->reply.charge_cru = charge_feed_cru(self->count, self->page.len);
    return call_reply_json(op, 200, &body);
}

static enum op_next feed_rows(struct op *op)
{
    struct resource *self = op_self(op, struct resource);
    struct call *call = call_of(op);
    struct metadata one;

    if (!metadata_found(op, &self->path, self->found, &self->found_count))
        return OP_FAILED;
    if (self->found_count < self->path.depth && catch_up_is_due(call))
        return catch_up(op, ask);
    if (self->found_count < self->path.depth) {
        call->reply.charge_cru = CHARGE_METADATA_READ_CRU;
        return call_fail(op, 404, SUB_OWNER_RESOURCE_NOT_FOUND,
                         "there is no \"%.*s\" to list %s of",
                         FAULT_QUOTE(self->path.names[self->found_count]), self->type->feed_name);
    }
    int rows = pgio_row_count(op->result), first = (int) self->found_count;
    size_t bytes = 0;
    for (int row = first; row < rows; row++) {
        if (self->count >= self->limit || self->page.len >= PAGE_BYTES_MAX) {
            self->has_more = true;
            break;
        }
        metadata_child(op, self->type->kind, row, &one);
        if (!add_one(op, &one))
            return OP_FAILED;
        self->after = one.number;
        bytes += one.body.len;
    }
    bool may_be_cut = rows - first == SCAN_ROWS || bytes >= LIST_BYTES_WHOLE;
    if (self->is_query && !self->has_more && may_be_cut)
        return ask(op);
    return reply_page(op);
}
