/*
 * The conflicts feed: versions of items that were written at the same time as another one in
 * another region, and lost (docs/conflicts.md).
 *
 * A conflict is addressed by its number, 60 bits that every region computes alike; as an id it is
 * written in 15 hexadecimal digits. Its content is the version that lost, as it would have been
 * read; its resourceId is that of the item as it is now, or of the one that has the value of a
 * unique key for which this one was removed, so clients find the winner by it.
 *
 * Feeds run through the ranges in the order of their keys, and inside a range by number.
 */
#include "service/access.h"
#include "service/feed_select.h"
#include "service/handlers.h"
#include "service/item_scope.h"
#include "service/item_target.h"
#include "service/resource.h"

#include "base/clock.h"
#include "loop/pgvalue.h"
#include "model/charge.h"
#include "model/etag.h"

#include "base/banned.h"

#define PAGE_DEFAULT 100
#define PAGE_MAX 1000
/* Bodies of one page; the last one may go beyond. */
#define PAGE_BYTES_MAX (3u << 20)
/* Conflicts that a query looks at per statement. */
#define SCAN_ROWS 500
#define NUMBER_DIGITS 15

/* Columns of a conflict, in all statements. */
#define COLUMNS                                                                    \
    "i.range_id, i.number, i.pk, i.id, i.rid, i.ts, i.lsn, l.op, l.etag, l.body, " \
    "coalesce(i.winner_rid, s.rid) as shown_rid"
enum {
    ROW_STATE,
    ROW_RANGE,
    ROW_NUMBER,
    ROW_PK,
    ROW_ID,
    ROW_RID,
    ROW_TS,
    ROW_LSN,
    ROW_OP,
    ROW_ETAG,
    ROW_BODY,
    ROW_SHOWN_RID,
    ROW_FOUND
};

#define JOINS                                                                \
    " join orrery.log_%u l on l.range_id = i.range_id and l.seq = i.log_seq" \
    " join orrery.items_%u s on s.range_id = i.range_id and s.pk = i.pk and s.id = i.id"

enum { LOG_CREATE = 1, LOG_REPLACE, LOG_DELETE };

static bool is_served(struct slice state)
{
    return slice_equals_text(state, "online") || slice_equals_text(state, "read-only");
}

/* ---- printing ---- */

static void append_content(struct buf *out, const struct container *container,
                           const struct pgio_result *result, int row, const uint8_t etag[16])
{
    struct buf version = {0}, identity = {0};
    struct slice stored = pgio_value(result, row, ROW_BODY);

    if (pgio_is_null(result, row, ROW_BODY)) { /* a delete */
        buf_append_text(&identity, "{\"id\":");
        buf_append_json_string(&identity, pgio_value(result, row, ROW_ID));
        buf_append_char(&identity, '}');
        stored = buf_slice(&identity);
    }
    item_target_print(&version, container,
                      &(struct item_print){.stored = stored,
                                           .rid = (uint64_t) pgio_int8(result, row, ROW_RID),
                                           .etag = etag,
                                           .ts = pgio_int8(result, row, ROW_TS)});
    buf_append_json_string(out, buf_slice(&version));
    out->has_failed = out->has_failed || version.has_failed || identity.has_failed;
    buf_finish(&version);
    buf_finish(&identity);
}

/* The etag of the version; deletes of whole partitions and expiries have none, but clients expect
 * one. */
static void read_etag(const struct pgio_result *result, int row, uint8_t etag[16])
{
    uint64_t number = (uint64_t) pgio_int8(result, row, ROW_NUMBER);

    memset(etag, 0, 16);
    if (pgio_is_null(result, row, ROW_ETAG))
        memcpy(etag, &number, sizeof(number));
    else
        memcpy(etag, pgio_value(result, row, ROW_ETAG).ptr, 16);
}

static void append_conflict(struct buf *out, const struct container *container,
                            const struct pgio_result *result, int row)
{
    static const char *const operations[] = {"", "create", "replace", "delete"};
    struct rid rid = {.type = RID_CONFLICT,
                      .database = container->database_number,
                      .owner = container->number,
                      .number = (uint64_t) pgio_int8(result, row, ROW_NUMBER)};
    struct rid item = {.type = RID_ITEM,
                       .database = container->database_number,
                       .owner = container->number,
                       .number = (uint64_t) pgio_int8(result, row, ROW_SHOWN_RID)};
    int16_t operation = pgio_int2(result, row, ROW_OP);
    struct etag etag;
    char text[ETAG_TEXT_BYTES];

    read_etag(result, row, etag.uuid);
    etag_format(&etag, text);
    buf_printf(out, "{\"id\":\"%0*llx\",\"operationType\":\"%s\",\"resourceType\":\"document\"",
               NUMBER_DIGITS, (unsigned long long) rid.number,
               operation <= LOG_DELETE ? operations[operation] : "delete");
    buf_append_text(out, ",\"resourceId\":\"");
    rid_append(out, &item);
    buf_append_text(out, "\",\"content\":");
    append_content(out, container, result, row, etag.uuid);
    buf_printf(out, ",\"conflict_lsn\":%lld,\"_rid\":\"",
               (long long) pgio_int8(result, row, ROW_LSN));
    rid_append(out, &rid);
    buf_append_text(out, "\",\"_self\":\"");
    rid_append_self(out, &rid);
    buf_append_text(out, "\",\"_etag\":");
    buf_append_json_string(out, slice_from_text(text));
    buf_printf(out, ",\"_ts\":%lld}", (long long) pgio_int8(result, row, ROW_TS));
}

static void reply_owner(struct call *call)
{
    reply_header(&call->reply, "x-ms-alt-content-path", call->container->alt_path.ptr);
    reply_header(&call->reply, "x-ms-content-path", call->container->rid);
}

/* ---- the feed ---- */

struct feed {
    struct item_scope scope;
    uint8_t question[CONTINUATION_QUESTION_BYTES];
    bool is_query;
    struct filter filter;
    size_t range;   /* position in container->ranges */
    uint64_t after; /* number; within the range */
    unsigned limit, count;
    bool has_more;
    struct buf page;
};

static op_step feed_aim;  /* scope, ranges, continuation */
static op_step feed_rows; /* print a range's rows, go on or answer */

static struct feed *begin_feed(struct op *op)
{
    struct call *call = call_of(op);

    if (!op_alloc_self(op, sizeof(struct feed)))
        return NULL;
    struct feed *self = op_self(op, struct feed);
    return resource_defer_buf(op, &self->page) &&
                   header_max_item_count(&call->request.headers, PAGE_DEFAULT, PAGE_MAX,
                                         &self->limit, &op->fault)
               ? self
               : NULL;
}

enum op_next conflicts_list(struct op *op)
{
    return begin_feed(op) != NULL ? call_resolve(op, feed_aim) : OP_FAILED;
}

enum op_next conflicts_query(struct op *op)
{
    struct query_spec spec;

    if (!resource_is_query(op))
        return call_fail(op, 400, SUB_NONE,
                         "conflicts are not created by clients; a query needs the header %s: true",
                         header_name(HEADER_IS_QUERY));
    struct feed *self = begin_feed(op);
    if (self == NULL ||
        !query_body_parse(&op->arena, call_of(op)->request.body, &spec, &op->fault) ||
        !filter_parse(&op->arena, spec.text, spec.parameters, &self->filter, &op->fault))
        return OP_FAILED;
    self->filter.now_us = 1000 * clock_unix_ms();
    self->is_query = true;
    return call_resolve(op, feed_aim);
}

/*
 * Rows up to the byte limit, each with how many there were before it was applied: more of them than
 * are returned means another page.
 */
static const char feed_sql[] =
    "select r.state, c.* from orrery.ranges r left join lateral (select * from ("
    "select x.*, count(*) over () as found, sum(coalesce(octet_length(x.body), 0)) over "
    "(order by x.number) - coalesce(octet_length(x.body), 0) as before from (select " COLUMNS
    " from orrery.conflicts i" JOINS " where i.range_id = r.range_id and i.number > $2"
    " and not i.is_resolved%s order by i.number limit $3) x) y where y.before < $4) c on true "
    "where r.range_id = $1 order by c.number";

static enum op_next ask_range(struct op *op)
{
    static const char *const conditions[] = {"", " and i.pk = $5", " and i.pk >= $5 and i.pk < $6"};
    struct feed *self = op_self(op, struct feed);
    struct call *call = call_of(op);
    const struct container *container = call->container;
    struct pgparams params = {0};
    char *sql = arena_printf(&op->arena, feed_sql, container->number, container->number,
                             conditions[self->scope.kind]);

    if (sql == NULL) {
        fault_set_oom(&op->fault);
        return OP_FAILED;
    }
    pgparams_int8(&params, pkrange_id(container->number, container->ranges[self->range].index));
    pgparams_int8(&params, (int64_t) self->after);
    pgparams_int8(&params, self->is_query ? SCAN_ROWS : self->limit - self->count + 1);
    pgparams_int8(&params, PAGE_BYTES_MAX);
    if (self->scope.kind != ITEM_SCOPE_RANGES)
        pgparams_bytea(&params, self->scope.pk_min);
    if (self->scope.kind == ITEM_SCOPE_INTERVAL)
        pgparams_bytea(&params, self->scope.pk_max);
    struct pgio_statement statement = {
        .key = store_statement_key(STATEMENT_CONFLICTS + (unsigned) self->scope.kind,
                                   container->number),
        .sql = sql};
    return store_query(&call->service->store, op, STORE_READS, &statement, &params, feed_rows);
}

static bool read_position(struct feed *self, struct call *call)
{
    struct slice asked = self->is_query ? call->request.body : slice_from_text("conflicts");
    struct continuation continuation;
    bool is_there;

    if (!item_scope_question(&self->scope, asked, self->question, &call->op.fault) ||
        !item_scope_continue(&self->scope, call, self->question, &continuation, &self->range,
                             &is_there))
        return false;
    self->after = is_there ? continuation.rid : 0;
    return true;
}

static enum op_next feed_aim(struct op *op)
{
    struct feed *self = op_self(op, struct feed);
    struct call *call = call_of(op);

    self->page.len = 0;
    self->count = 0;
    self->has_more = false;
    if (!item_scope_from_headers(&self->scope, call) ||
        !item_scope_check_access(&self->scope, call) || !read_position(self, call))
        return OP_FAILED;
    return ask_range(op);
}

static bool add_row(struct op *op, int row)
{
    struct feed *self = op_self(op, struct feed);
    struct buf printed = {0};

    append_conflict(&printed, call_of(op)->container, op->result, row);
    bool is_added = !printed.has_failed || fault_set_oom(&op->fault);
    if (is_added && self->is_query)
        is_added =
            feed_select(&self->page, &self->count, &self->filter, buf_slice(&printed), &op->fault);
    else if (is_added)
        feed_append(&self->page, &self->count, buf_slice(&printed));
    buf_finish(&printed);
    return is_added && (!self->page.has_failed || fault_set_oom(&op->fault));
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
    struct buf body = {0};

    reply_owner(call);
    reply_header_i64(&call->reply, &op->arena, "x-ms-item-count", self->count);
    call->reply.charge_cru = charge_feed_cru(self->count, self->page.len);
    if (self->has_more) {
        const char *token = print_position(self, call);
        if (token == NULL) {
            fault_set_oom(&op->fault);
            return OP_FAILED;
        }
        reply_header(&call->reply, "x-ms-continuation", token);
    }
    buf_append_text(&body, "{\"_rid\":\"");
    buf_append_text(&body, call->container->rid);
    buf_append_text(&body, "\",\"Conflicts\":[");
    buf_append_slice(&body, buf_slice(&self->page));
    buf_printf(&body, "],\"_count\":%u}", self->count);
    return call_reply_json(op, 200, &body);
}

static bool is_page_full(const struct feed *self)
{
    return self->count >= self->limit || self->page.len >= PAGE_BYTES_MAX;
}

static enum op_next feed_rows(struct op *op)
{
    struct feed *self = op_self(op, struct feed);
    const struct pgio_result *result = op->result;
    int rows = pgio_row_count(result), row = 0;

    if (result->outcome == PGIO_ERROR && strcmp(result->sqlstate, "42P01") == 0)
        return call_resolve_again(op, feed_aim);
    if (!store_check(op, STORE_READS))
        return OP_FAILED;
    if (rows == 0 || !is_served(pgio_value(result, 0, ROW_STATE)))
        return call_resolve_again(op, feed_aim);
    bool has_rows = !pgio_is_null(result, 0, ROW_NUMBER);
    for (; has_rows && row < rows && !is_page_full(self); row++) {
        if (!add_row(op, row))
            return OP_FAILED;
        self->after = (uint64_t) pgio_int8(result, row, ROW_NUMBER);
    }
    int64_t found = has_rows ? pgio_int8(result, 0, ROW_FOUND) : 0;
    self->has_more = found > row;
    if (self->is_query && !is_page_full(self) && (self->has_more || found == SCAN_ROWS))
        return ask_range(op);
    if (!self->has_more && self->range + 1 < call_of(op)->container->range_count &&
        self->range + 1 < self->scope.end) {
        self->range++;
        self->after = 0;
        self->has_more = is_page_full(self);
        if (!self->has_more)
            return ask_range(op);
    }
    return reply_page(op);
}

/* ---- one conflict ---- */

struct one {
    bool is_delete;
    bool has_key; /* the request names a partition key */
    struct item_target target;
    uint64_t number;
};

static op_step one_aim;      /* partition key, statement */
static op_step one_found;    /* answer it, or take it out of the feed */
static op_step one_resolved; /* answer that it is gone */

static enum op_next begin_one(struct op *op, bool is_delete)
{
    if (!op_alloc_self(op, sizeof(struct one)))
        return OP_FAILED;
    op_self(op, struct one)->is_delete = is_delete;
    return call_resolve(op, one_aim);
}

enum op_next conflicts_read(struct op *op)
{
    return begin_one(op, false);
}

enum op_next conflicts_delete(struct op *op)
{
    return begin_one(op, true);
}

/* An id, or a resource id of this container. */
static bool parse_number(const struct container *container, struct slice text, uint64_t *number)
{
    struct rid rid;

    if (rid_parse(text, &rid) && rid.type == RID_CONFLICT && rid.owner == container->number &&
        rid.database == container->database_number) {
        *number = rid.number;
        return true;
    }
    if (text.len != NUMBER_DIGITS)
        return false;
    *number = 0;
    for (size_t i = 0; i < text.len; i++) {
        const char *digits = "0123456789abcdef", *digit = strchr(digits, text.ptr[i]);
        if (digit == NULL || *digit == '\0')
            return false;
        *number = *number << 4 | (uint64_t) (digit - digits);
    }
    return true;
}

/*
 * The header narrows the search, it does not aim it: the JavaScript SDK reads a conflict without
 * one, and deletes it with an undefined key when its caller gave none.
 */
static bool read_key(struct one *self, struct call *call)
{
    self->has_key = false;
    if (slice_is_empty(slice_trim(call->request.headers.at[HEADER_PARTITION_KEY])))
        return true;
    if (!item_target_pkey_from_header(&self->target, call) ||
        !item_target_aim(&self->target, call, slice_make(NULL, 0)))
        return false;
    for (size_t i = 0; i < self->target.pkey.count; i++)
        self->has_key = self->has_key || self->target.pkey.components[i].type != PKEY_UNDEFINED;
    return true;
}

static enum op_next fail_missing(struct op *op)
{
    struct call *call = call_of(op);

    reply_owner(call);
    call->reply.charge_cru = CHARGE_METADATA_READ_CRU;
    return call_fail(op, 404, SUB_NONE, "there is no conflict \"%.*s\"",
                     FAULT_QUOTE(call->request.path.ids[2]));
}

static const char one_sql[] =
    "select r.state, c.* from orrery.ranges r left join lateral (select " COLUMNS
    " from orrery.conflicts i" JOINS " where i.range_id = r.range_id and i.number = $2"
    " and not i.is_resolved and ($3::bytea is null or i.pk = $3) limit 1) c on true"
    " where r.range_id = any($1) order by c.number";

static enum op_next one_aim(struct op *op)
{
    struct one *self = op_self(op, struct one);
    struct call *call = call_of(op);
    const struct container *container = call->container;
    struct pgparams params = {0};

    if (!read_key(self, call) ||
        !access_check(call, AUTHTOKEN_CHILDREN, self->is_delete, container->database_number,
                      container->number, slice_make(NULL, 0),
                      self->has_key ? self->target.pk : slice_make(NULL, 0)))
        return OP_FAILED;
    if (!parse_number(container, call->request.path.ids[2], &self->number))
        return fail_missing(op);
    char *sql = arena_printf(&op->arena, one_sql, container->number, container->number);
    if (sql == NULL) {
        fault_set_oom(&op->fault);
        return OP_FAILED;
    }
    pgparams_array_begin(&params, PG_INT8_ARRAY);
    for (size_t i = 0; i < container->range_count; i++)
        pgparams_add_int8(&params, pkrange_id(container->number, container->ranges[i].index));
    pgparams_array_end(&params);
    pgparams_int8(&params, (int64_t) self->number);
    if (self->has_key)
        pgparams_bytea(&params, self->target.pk);
    else
        pgparams_null(&params, PG_BYTEA);
    struct pgio_statement statement = {
        .key = store_statement_key(STATEMENT_CONFLICT, container->number), .sql = sql};
    return store_query(&call->service->store, op, STORE_READS, &statement, &params, one_found);
}

static enum op_next resolve(struct op *op)
{
    struct one *self = op_self(op, struct one);
    struct pgio_statement statement = {.key = store_statement_key(STATEMENT_CONFLICT_RESOLVE, 0),
                                       .sql = "select status from orrery.conflict_resolve($1, $2)"};
    struct pgparams params = {0};

    pgparams_int8(&params, pgio_int8(op->result, 0, ROW_RANGE));
    pgparams_int8(&params, (int64_t) self->number);
    return store_query(&call_of(op)->service->store, op, STORE_CHANGES, &statement, &params,
                       one_resolved);
}

static enum op_next one_found(struct op *op)
{
    struct one *self = op_self(op, struct one);
    struct call *call = call_of(op);
    const struct headers *headers = &call->request.headers;
    const struct pgio_result *result = op->result;
    struct etag_condition match = etag_condition_parse(headers->at[HEADER_IF_MATCH]);
    struct etag_condition none = etag_condition_parse(headers->at[HEADER_IF_NONE_MATCH]);
    struct etag etag;
    struct buf body = {0};

    if (result->outcome == PGIO_ERROR && strcmp(result->sqlstate, "42P01") == 0)
        return call_resolve_again(op, one_aim);
    if (!store_check(op, STORE_READS))
        return OP_FAILED;
    if (pgio_row_count(result) == 0 || !is_served(pgio_value(result, 0, ROW_STATE)))
        return call_resolve_again(op, one_aim);
    if (pgio_is_null(result, 0, ROW_NUMBER)) /* those that are none come last */
        return fail_missing(op);
    read_etag(result, 0, etag.uuid);
    if (self->is_delete && match.kind != ETAG_ABSENT && !etag_condition_matches(&match, &etag))
        return call_fail(op, 412, SUB_NONE, "if-match does not name the version of the conflict");
    if (self->is_delete)
        return resolve(op);
    call_reply_etag(call, etag.uuid);
    reply_owner(call);
    call->reply.charge_cru = CHARGE_METADATA_READ_CRU;
    if (none.kind != ETAG_ABSENT && etag_condition_matches(&none, &etag))
        return call_reply_empty(op, 304);
    append_conflict(&body, call->container, result, 0);
    return call_reply_json(op, 200, &body);
}

static enum op_next one_resolved(struct op *op)
{
    struct call *call = call_of(op);

    if (!store_check(op, STORE_CHANGES))
        return OP_FAILED;
    switch (pgio_int2(op->result, 0, 0)) {
    case 410:
        return call_resolve_again(op, one_aim);
    case 404: /* somebody was faster */
        return fail_missing(op);
    default:
        reply_owner(call);
        call->reply.charge_cru = charge_write_cru(0);
        return call_reply_empty(op, 204);
    }
}
