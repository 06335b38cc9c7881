/*
 * The read feed of a container, and what empties one logical partition.
 *
 * A feed runs through the ranges in the order of their keys, and inside a range in the order in
 * which items were created (their rid), so a page is a keyset scan that no concurrent write can
 * disturb. The whole container, one range, an interval of effective keys and one partition key
 * differ only in the ranges they visit and in one condition.
 *
 * A continuation says where to go on: container, scope, range, last rid. It is signed with the
 * account's key, so that a token which was changed, or belongs to another feed, is refused.
 */
#include "service/access.h"
#include "service/handlers.h"
#include "service/item_target.h"

#include "base/crypto.h"
#include "base/keys.h"
#include "loop/pgvalue.h"
#include "model/charge.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/banned.h"

#define PAGE_DEFAULT 100
#define PAGE_MAX 1000
/* Bodies of one page; the last item may go beyond. */
#define PAGE_BYTES_MAX (3u << 20)
#define MAC_BYTES 16

enum feed_kind { FEED_RANGES, FEED_KEY, FEED_INTERVAL };

struct feed {
    enum feed_kind kind;
    struct consistency consistency;
    struct slice pk_min, pk_max; /* FEED_KEY: pk_min alone */
    uint8_t scope[8];            /* of the continuation: what the feed is restricted to */
    size_t range, range_end; /* positions in container->ranges: the next one, and behind the last */
    uint64_t after;          /* rid; within the range */
    unsigned limit, count;
    bool has_more;
    struct buf page, tokens;
};

static op_step list_aim;  /* scope, ranges, continuation */
static op_step list_rows; /* print a range's rows, go on or answer */

static void free_feed(void *object)
{
    struct feed *self = object;

    buf_finish(&self->page);
    buf_finish(&self->tokens);
}

/* ---- continuation ---- */

struct position {
    uint32_t container, range_index;
    uint64_t after;
};

static void sign_position(const struct feed *self, const struct position *position,
                          enum key_kind kind, uint8_t mac[SHA256_BYTES])
{
    const struct key *key = &keys_current()->key[kind];
    char text[96];
    int len = snprintf(text, sizeof(text), "feed 1 %" PRIu32 " %" PRIu32 " %" PRIu64 " %016" PRIx64,
                       position->container, position->range_index, position->after,
                       (uint64_t) self->scope[0] << 56 | (uint64_t) self->scope[1] << 48 |
                           (uint64_t) self->scope[2] << 40 | (uint64_t) self->scope[3] << 32 |
                           (uint64_t) self->scope[4] << 24 | (uint64_t) self->scope[5] << 16 |
                           (uint64_t) self->scope[6] << 8 | self->scope[7]);

    crypto_hmac_sha256(slice_make((const char *) key->bytes, key->len),
                       slice_make(text, (size_t) len), mac);
}

static const char *print_position(const struct feed *self, struct arena *arena,
                                  const struct position *position)
{
    uint8_t mac[SHA256_BYTES];
    char text[BASE64_LEN(MAC_BYTES) + 1] = {0};

    sign_position(self, position, KEY_PRIMARY, mac);
    base64_encode(mac, MAC_BYTES, text);
    return arena_printf(arena, "1.%" PRIu32 ".%" PRIu32 ".%" PRIu64 ".%s", position->container,
                        position->range_index, position->after, text);
}

static bool is_signed(const struct feed *self, const struct position *position, struct slice text)
{
    uint8_t given[MAC_BYTES], mac[SHA256_BYTES];
    size_t len;

    if (!base64_decode(text, given, sizeof(given), &len) || len != MAC_BYTES)
        return false;
    for (enum key_kind kind = KEY_PRIMARY; kind <= KEY_SECONDARY; kind++) {
        sign_position(self, position, kind, mac);
        if (keys_current()->key[kind].len > 0 && crypto_equals(mac, given, MAC_BYTES))
            return true;
    }
    return false;
}

static bool next_number(struct slice *rest, unsigned long long max, unsigned long long *value)
{
    return !slice_is_absent(*rest) && slice_to_u64(slice_cut(*rest, '.', rest), max, value);
}

static bool read_position(struct feed *self, struct call *call)
{
    struct slice text = slice_trim(call->request.headers.at[HEADER_CONTINUATION]), rest = text;
    const struct container *container = call->container;
    unsigned long long version, number, index, after;
    struct position position;

    if (slice_is_empty(text))
        return true;
    bool is_read = next_number(&rest, 1, &version) && version == 1 &&
                   next_number(&rest, UINT32_MAX, &number) &&
                   next_number(&rest, PKRANGE_INDEX_MAX, &index) &&
                   next_number(&rest, RID_NUMBER_MAX, &after);
    if (is_read) {
        position = (struct position){(uint32_t) number, (uint32_t) index, after};
        is_read = number == container->number && is_signed(self, &position, rest);
    }
    if (!is_read)
        return fault_set(&call->op.fault, 400, SUB_NONE,
                         "the continuation is not one of this feed");
    while (self->range < self->range_end &&
           container->ranges[self->range].index != position.range_index)
        self->range++;
    if (self->range == self->range_end)
        return fault_set(&call->op.fault, 410, SUB_PARTITION_KEY_RANGE_GONE,
                         "the partition key range is gone");
    self->after = position.after;
    return true;
}

/* ---- scope ---- */

static bool find_range_header(struct call *call, const struct pkrange **range)
{
    struct slice text = slice_trim(call->request.headers.at[HEADER_PARTITION_KEY_RANGE_ID]), rest;
    const struct container *container = call->container;
    unsigned long long index;

    /* Old SDKs send "rid,0". */
    struct slice first = slice_cut(text, ',', &rest);
    if (!slice_is_absent(rest))
        first = rest;
    if (slice_to_u64(first, PKRANGE_INDEX_MAX, &index)) {
        for (size_t i = 0; i < container->range_count; i++) {
            if (container->ranges[i].index == index) {
                *range = &container->ranges[i];
                return true;
            }
        }
    }
    return fault_set(&call->op.fault, 410, SUB_PARTITION_KEY_RANGE_GONE,
                     "the container has no partition key range \"%.*s\"", FAULT_QUOTE(text));
}

static bool copy_epk(struct slice *out, struct call *call, const struct epk *epk)
{
    char *copy = arena_copy(&call->op.arena, epk->bytes, epk->len);

    *out = slice_make(copy, epk->len);
    return copy != NULL || fault_set_oom(&call->op.fault);
}

static bool aim_at_interval(struct feed *self, struct call *call, const struct epk *min,
                            const struct epk *max, const struct pkrange *within)
{
    const struct container *container = call->container;
    const struct pkrange *first;

    if (within != NULL && !pkrange_contains(within, min, max))
        return fault_set(&call->op.fault, 410, SUB_PARTITION_KEY_RANGE_GONE,
                         "the effective key interval is not inside the partition key range");
    size_t count = pkrange_overlap(container->ranges, container->range_count, min, max, &first);
    if (count == 0)
        return fault_set(&call->op.fault, 400, SUB_NONE, "the effective key interval is empty");
    self->kind = FEED_INTERVAL;
    self->range = (size_t) (first - container->ranges);
    self->range_end = self->range + count;
    return copy_epk(&self->pk_min, call, min) && copy_epk(&self->pk_max, call, max);
}

static bool aim_at_key(struct feed *self, struct call *call, struct slice header)
{
    const struct pkey_definition *definition = &call->container->settings.partition_key;
    struct item_target target = {0};
    struct epk min, max;

    if (!pkey_from_header(&target.pkey, definition, header, PKEY_PREFIX, &call->op.arena,
                          &call->op.fault))
        return false;
    if (target.pkey.count < definition->path_count) {
        pkey_epk_interval(&target.pkey, definition, &min, &max);
        return aim_at_interval(self, call, &min, &max, NULL);
    }
    if (!item_target_aim(&target, call, slice_make(NULL, 0)))
        return false;
    self->kind = FEED_KEY;
    self->pk_min = target.pk;
    self->range = (size_t) (target.range - call->container->ranges);
    self->range_end = self->range + 1;
    return true;
}

static bool aim_by_headers(struct feed *self, struct call *call)
{
    const struct headers *headers = &call->request.headers;
    struct slice key = slice_trim(headers->at[HEADER_PARTITION_KEY]);
    struct slice start = slice_trim(headers->at[HEADER_START_EPK]),
                 end = slice_trim(headers->at[HEADER_END_EPK]);
    const struct pkrange *range = NULL;
    struct epk min = {0}, max;

    self->kind = FEED_RANGES;
    self->range = 0;
    self->range_end = call->container->range_count;
    if (!slice_is_empty(key))
        return aim_at_key(self, call, key);
    if (!slice_is_empty(headers->at[HEADER_PARTITION_KEY_RANGE_ID])) {
        if (!find_range_header(call, &range))
            return false;
        self->range = (size_t) (range - call->container->ranges);
        self->range_end = self->range + 1;
    }
    if (slice_is_empty(start) && slice_is_empty(end))
        return true;
    epk_set_end(&max);
    if ((!slice_is_empty(start) && !epk_parse(&min, start)) ||
        (!slice_is_empty(end) && !epk_parse(&max, end)))
        return fault_set(&call->op.fault, 400, SUB_NONE,
                         "x-ms-start-epk and x-ms-end-epk must be hexadecimal");
    return aim_at_interval(self, call, &min, &max, range);
}

static void hash_scope(struct feed *self, struct call *call)
{
    static const enum header parts[] = {HEADER_PARTITION_KEY, HEADER_PARTITION_KEY_RANGE_ID,
                                        HEADER_START_EPK, HEADER_END_EPK};
    uint8_t digest[SHA256_BYTES];
    struct buf text = {0};

    for (unsigned i = 0; i < ARRAY_LEN(parts); i++) {
        buf_append_slice(&text, slice_trim(call->request.headers.at[parts[i]]));
        buf_append_char(&text, '\n');
    }
    crypto_sha256(buf_slice(&text), digest);
    memcpy(self->scope, digest, sizeof(self->scope));
    buf_finish(&text);
}

/* ---- the feed ---- */

enum op_next items_list(struct op *op)
{
    struct call *call = call_of(op);

    if (!slice_is_empty(call->request.headers.at[HEADER_A_IM]))
        return call_fail(op, 400, SUB_NONE, "the change feed is not supported in this release");
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
    char *sql = arena_printf(&op->arena, feed_sql, container->number, conditions[self->kind]);

    if (sql == NULL) {
        fault_set_oom(&op->fault);
        return OP_FAILED;
    }
    pgparams_int8(&params, pkrange_id(container->number, container->ranges[self->range].index));
    pgparams_int8(&params, (int64_t) self->after);
    pgparams_int8(&params, call->now_s);
    pgparams_int8(&params, self->limit - self->count + 1);
    pgparams_int8(&params, PAGE_BYTES_MAX);
    if (self->kind != FEED_RANGES)
        pgparams_bytea(&params, self->pk_min);
    if (self->kind == FEED_INTERVAL)
        pgparams_bytea(&params, self->pk_max);
    struct pgio_statement statement = {
        .key = store_statement_key(STATEMENT_FEED + (unsigned) self->kind, container->number),
        .sql = sql};
    return store_query(&call->service->store, op, STORE_READS, &statement, &params, list_rows);
}

static enum op_next list_aim(struct op *op)
{
    struct feed *self = op_self(op, struct feed);
    struct call *call = call_of(op);

    self->page.len = self->tokens.len = 0;
    self->count = 0;
    self->after = 0;
    self->has_more = false;
    hash_scope(self, call);
    if (!aim_by_headers(self, call) || !read_position(self, call) ||
        !access_check(call, AUTHTOKEN_CHILDREN, false, call->container->database_number,
                      call->container->number, slice_make(NULL, 0),
                      self->kind == FEED_KEY ? self->pk_min : slice_make(NULL, 0)))
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
        struct position position = {call->container->number,
                                    call->container->ranges[self->range].index, self->after};
        const char *token = print_position(self, &op->arena, &position);
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

static bool check_session(struct op *op)
{
    struct feed *self = op_self(op, struct feed);
    struct call *call = call_of(op);
    uint32_t index = call->container->ranges[self->range].index;
    int64_t epoch = pgio_int8(op->result, 0, FEED_EPOCH), vector[STORE_VECTOR_MAX];
    struct slice raw = pgio_value(op->result, 0, FEED_VECTOR);

    if (!consistency_check(&self->consistency, call, index, epoch, raw))
        return false;
    if (self->tokens.len > 0)
        buf_append_char(&self->tokens, ',');
    consistency_append(&self->tokens, call, index, epoch, vector,
                       pgvalue_int8_array(raw, vector, ARRAY_LEN(vector)));
    return true;
}

static enum op_next list_rows(struct op *op)
{
    struct feed *self = op_self(op, struct feed);
    struct call *call = call_of(op);
    const struct pgio_result *result = op->result;
    int rows = pgio_row_count(result), row = 0;

    if (result->outcome == PGIO_ERROR && strcmp(result->sqlstate, "42P01") == 0)
        return call_resolve_again(op, list_aim);
    if (!store_check(op, STORE_READS))
        return OP_FAILED;
    if (rows == 0 || !slice_equals_text(pgio_value(result, 0, FEED_STATE), "online"))
        return call_resolve_again(op, list_aim);
    if (!check_session(op))
        return OP_FAILED;
    bool has_rows = !pgio_is_null(result, 0, FEED_RID);
    while (has_rows && row < rows && self->count < self->limit && self->page.len < PAGE_BYTES_MAX)
        add_row(self, call->container, result, row++);
    self->has_more = has_rows && pgio_int8(result, 0, FEED_FOUND) > row;
    if (!self->has_more && self->range + 1 < self->range_end) {
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
    if (pgio_int2(op->result, 0, 0) == 410)
        return call_resolve_again(op, delete_aim);
    if (pgio_int4(op->result, 0, 1) == DELETE_BATCH)
        return delete_some(op);
    size_t len = pgvalue_int8_array(pgio_value(op->result, 0, 3), vector, ARRAY_LEN(vector));
    item_target_reply(call, target->range, pgio_int8(op->result, 0, 2), vector, len);
    call->reply.charge_cru = charge_write_cru(0);
    return call_reply_empty(op, 200);
}
