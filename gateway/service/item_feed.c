/*
 * The read feed of a container, and what empties one logical partition.
 *
 * A feed runs through the ranges in the order of their keys, and inside a range in the order in
 * which items were created (their rid), so a page is a keyset scan that no concurrent write can
 * disturb. Its continuation holds the range and the last rid.
 */
#include "service/handlers.h"
#include "service/item_scope.h"
#include "service/item_target.h"

#include "loop/pgvalue.h"
#include "model/charge.h"
#include "store/progress.h"

#include "base/banned.h"

#define PAGE_DEFAULT 100
#define PAGE_MAX 1000
/* Bodies of one page; the last item may go beyond. */
#define PAGE_BYTES_MAX (3u << 20)

struct feed {
    struct item_scope scope;
    struct consistency consistency;
    uint8_t question[CONTINUATION_QUESTION_BYTES];
    size_t range;   /* position in container->ranges */
    uint64_t after; /* rid; within the range */
    unsigned limit, count;
    bool has_more;
    struct buf page, tokens;
};

static op_step list_aim;     /* scope, ranges, continuation */
static op_step list_rows;    /* print a range's rows */
static op_step list_settled; /* go on, or answer */

static void free_feed(void *object)
{
    struct feed *self = object;

    buf_finish(&self->page);
    buf_finish(&self->tokens);
}

enum op_next items_list(struct op *op)
{
    struct call *call = call_of(op);

    if (!slice_is_empty(call->request.headers.at[HEADER_A_IM]))
        return items_changes(op);
    if (!op_alloc_self(op, sizeof(struct feed)))
        return OP_FAILED;
    struct feed *self = op_self(op, struct feed);
    if (!arena_defer(&op->arena, free_feed, self)) {
        fault_set_oom(&op->fault);
        return OP_FAILED;
    }
    if (!consistency_parse(&self->consistency, call) ||
        !header_max_item_count(&call->request.headers, PAGE_DEFAULT, PAGE_MAX, &self->limit,
                               &op->fault))
        return OP_FAILED;
    return call_resolve(op, list_aim);
}

/*
 * Rows up to the byte limit, each with how many there were before it was applied: more of them than
 * are returned means another page.
 */
static const char feed_sql[] =
    "select r.epoch, r.state, r.vector, i.rid, i.etag, i.ts, i.body, i.found from orrery.ranges r "
    "left join lateral (select * from (select x.*, count(*) over () as found, "
    "    sum(octet_length(x.body)) over (order by x.rid) - octet_length(x.body) as before from ("
    "    select i.rid, i.etag, i.ts, i.body from orrery.items_%u i "
    "    where i.range_id = r.range_id and i.rid > $2 "
    "    and orrery.is_live(i.deleted, i.ts, i.ttl, r.default_ttl, $3)%s "
    "    order by i.rid limit $4) x) y where y.before < $5) i on true "
    "where r.range_id = $1 order by i.rid";

enum { FEED_EPOCH, FEED_STATE, FEED_VECTOR, FEED_RID, FEED_ETAG, FEED_TS, FEED_BODY, FEED_FOUND };

static enum op_next ask_range(struct op *op)
{
    static const char *const conditions[] = {"", " and i.pk = $6", " and i.pk >= $6 and i.pk < $7"};
    struct feed *self = op_self(op, struct feed);
    struct call *call = call_of(op);
    const struct container *container = call->container;
    struct pgparams params = {0};
    char *sql = arena_printf(&op->arena, feed_sql, container->number, conditions[self->scope.kind]);

    if (sql == NULL) {
        fault_set_oom(&op->fault);
        return OP_FAILED;
    }
    pgparams_int8(&params, pkrange_id(container->number, container->ranges[self->range].index));
    pgparams_int8(&params, (int64_t) self->after);
    pgparams_int8(&params, call->now_s);
    pgparams_int8(&params, self->limit - self->count + 1);
    pgparams_int8(&params, PAGE_BYTES_MAX);
    if (self->scope.kind != ITEM_SCOPE_RANGES)
        pgparams_bytea(&params, self->scope.pk_min);
    if (self->scope.kind == ITEM_SCOPE_INTERVAL)
        pgparams_bytea(&params, self->scope.pk_max);
    struct pgio_statement statement = {
        .key = store_statement_key(STATEMENT_FEED + (unsigned) self->scope.kind, container->number),
        .sql = sql};
    return store_query(&call->service->store, op, STORE_READS, &statement, &params, list_rows);
}

static bool read_position(struct feed *self, struct call *call)
{
    struct continuation continuation;
    bool is_there;

    if (!item_scope_question(&self->scope, SLICE_LITERAL("feed"), self->question,
                             &call->op.fault) ||
        !item_scope_continue(&self->scope, call, self->question, &continuation, &self->range,
                             &is_there))
        return false;
    self->after = is_there ? continuation.rid : 0;
    return true;
}

static enum op_next list_aim(struct op *op)
{
    struct feed *self = op_self(op, struct feed);
    struct call *call = call_of(op);

    self->page.len = self->tokens.len = 0;
    self->count = 0;
    self->after = 0;
    self->has_more = false;
    if (!item_scope_from_headers(&self->scope, call) ||
        !item_scope_check_access(&self->scope, call) || !read_position(self, call))
        return OP_FAILED;
    return ask_range(op);
}

static void add_row(struct feed *self, const struct container *container,
                    const struct pgio_result *result, int row)
{
    if (self->count++ > 0)
        buf_append_char(&self->page, ',');
    self->after = (uint64_t) pgio_int8(result, row, FEED_RID);
    item_target_print(
        &self->page, container,
        &(struct item_print){.stored = pgio_value(result, row, FEED_BODY),
                             .rid = self->after,
                             .etag = (const uint8_t *) pgio_value(result, row, FEED_ETAG).ptr,
                             .ts = pgio_int8(result, row, FEED_TS)});
}

static const char *print_position(const struct feed *self, struct call *call)
{
    struct continuation continuation = {.kind = CONTINUATION_FEED,
                                        .container = call->container->number,
                                        .take = CONTINUATION_ALL,
                                        .range = call->container->ranges[self->range].index,
                                        .rid = self->after};

    memcpy(continuation.question, self->question, sizeof(self->question));
    return continuation_print(&continuation, keys_current(), &call->op.arena);
}

static enum op_next reply_page(struct op *op)
{
    struct feed *self = op_self(op, struct feed);
    struct call *call = call_of(op);
    struct reply *reply = &call->reply;
    struct buf body = {0};

    buf_append_text(&body, "{\"_rid\":\"");
    buf_append_text(&body, call->container->rid);
    buf_append_text(&body, "\",\"Documents\":[");
    buf_append_slice(&body, buf_slice(&self->page));
    buf_printf(&body, "],\"_count\":%u}", self->count);
    reply_header_i64(reply, &op->arena, "x-ms-item-count", self->count);
    reply_header(reply, "x-ms-alt-content-path", call->container->alt_path.ptr);
    reply_header(reply, "x-ms-content-path", call->container->rid);
    if (!self->tokens.has_failed)
        reply_header(reply, "x-ms-session-token",
                     arena_copy(&op->arena, self->tokens.ptr, self->tokens.len));
    if (self->has_more) {
        const char *token = print_position(self, call);
        if (token == NULL) {
            buf_finish(&body);
            fault_set_oom(&op->fault);
            return OP_FAILED;
        }
        reply_header(reply, "x-ms-continuation", token);
    }
    reply->charge_cru = charge_feed_cru(self->count, self->page.len);
    return call_reply_json(op, 200, &body);
}

static void add_token(struct feed *self, struct call *call)
{
    const struct pgio_result *result = call->op.result;
    int64_t epoch = pgio_int8(result, 0, FEED_EPOCH), vector[STORE_VECTOR_MAX];
    struct slice raw = pgio_value(result, 0, FEED_VECTOR);

    if (self->tokens.len > 0)
        buf_append_char(&self->tokens, ',');
    consistency_append(&self->tokens, call, &call->container->ranges[self->range], epoch, vector,
                       pgvalue_int8_array(raw, vector, ARRAY_LEN(vector)));
}

static enum op_next list_rows(struct op *op)
{
    struct feed *self = op_self(op, struct feed);
    struct call *call = call_of(op);
    const struct pgio_result *result = op->result;
    int rows = pgio_row_count(result), row = 0;
    bool settles = false;

    if (result->outcome == PGIO_ERROR && strcmp(result->sqlstate, "42P01") == 0)
        return call_resolve_again(op, list_aim);
    if (!store_check(op, STORE_READS))
        return OP_FAILED;
    if (rows == 0 || !store_range_is_served(pgio_value(result, 0, FEED_STATE)))
        return call_resolve_again(op, list_aim);
    switch (consistency_check(&self->consistency, call, &call->container->ranges[self->range],
                              pgio_int8(result, 0, FEED_EPOCH),
                              pgio_value(result, 0, FEED_VECTOR))) {
    case CONSISTENCY_GONE:
        return call_resolve_again(op, list_aim);
    case CONSISTENCY_WAITS:
        return consistency_wait(&self->consistency, op, ask_range);
    case CONSISTENCY_SETTLES:
        settles = true;
        break;
    case CONSISTENCY_FAULT:
        return OP_FAILED;
    case CONSISTENCY_MET:
        break;
    }
    add_token(self, call);
    bool has_rows = !pgio_is_null(result, 0, FEED_RID);
    while (has_rows && row < rows && self->count < self->limit && self->page.len < PAGE_BYTES_MAX)
        add_row(self, call->container, result, row++);
    self->has_more = has_rows && pgio_int8(result, 0, FEED_FOUND) > row;
    return settles ? consistency_settle(&self->consistency, op, list_settled) : list_settled(op);
}

static enum op_next list_settled(struct op *op)
{
    struct feed *self = op_self(op, struct feed);

    if (!self->has_more && self->range + 1 < self->scope.end) {
        self->range++;
        self->after = 0;
        self->has_more = self->count >= self->limit || self->page.len >= PAGE_BYTES_MAX;
        if (!self->has_more)
            return ask_range(op);
    }
    return reply_page(op);
}

/* ---- delete by partition key ---- */

#define DELETE_BATCH 500

static op_step delete_aim;
static op_step delete_done; /* again until nothing is left */

enum op_next items_delete_partition(struct op *op)
{
    if (!op_alloc_self(op, sizeof(struct item_target)))
        return OP_FAILED;
    return call_resolve(op, delete_aim);
}

static enum op_next delete_some(struct op *op)
{
    struct item_target *target = op_self(op, struct item_target);
    struct call *call = call_of(op);
    struct pgio_statement statement = {
        .key = store_statement_key(STATEMENT_PARTITION_DELETE, 0),
        .sql = "select p.status, p.count, p.epoch, p.vector from orrery.partition_delete($1, "
               "(select epoch from orrery.ranges where range_id = $1), $2, $3, $4) p"};
    struct pgparams params = {0};

    pgparams_int8(&params, target->key.range_id);
    pgparams_int8(&params, call->now_s);
    pgparams_bytea(&params, target->pk);
    pgparams_int4(&params, DELETE_BATCH);
    return store_query(&call->service->store, op, STORE_CHANGES, &statement, &params, delete_done);
}

static enum op_next delete_aim(struct op *op)
{
    struct item_target *target = op_self(op, struct item_target);
    struct call *call = call_of(op);

    if (!item_target_pkey_from_header(target, call) ||
        !item_target_aim(target, call, slice_make(NULL, 0)))
        return OP_FAILED;
    return delete_some(op);
}

static enum op_next delete_done(struct op *op)
{
    struct item_target *target = op_self(op, struct item_target);
    struct call *call = call_of(op);
    int64_t vector[STORE_VECTOR_MAX];

    if (op->result->outcome == PGIO_ERROR && strcmp(op->result->sqlstate, "42P01") == 0)
        return call_resolve_again(op, delete_aim);
    if (!store_check(op, STORE_CHANGES))
        return OP_FAILED;
    progress_written(target->key.range_id);
    if (pgio_int2(op->result, 0, 0) == 410)
        return call_resolve_again(op, delete_aim);
    if (pgio_int2(op->result, 0, 0) == 403)
        return store_fault_read_only(&op->fault) ? OP_DONE : OP_FAILED;
    if (pgio_int4(op->result, 0, 1) == DELETE_BATCH)
        return delete_some(op);
    size_t len = pgvalue_int8_array(pgio_value(op->result, 0, 3), vector, ARRAY_LEN(vector));
    item_target_reply(call, target->range, pgio_int8(op->result, 0, 2), vector, len);
    call->reply.charge_cru = charge_write_cru(0);
    return call_reply_empty(op, 200);
}
