/*
 * The change feed of a container: what was written after a position, in commit order.
 *
 * Both modes read the log of a range in the order of its local sequence, which is commit order, and
 * never end a page inside a transaction (one LSN). "Incremental Feed" gives an item where its
 * present version stands, as the document with _lsn; deletes, expired items and versions that were
 * replaced are passed over. "Full-Fidelity Feed" gives every version and every delete.
 *
 * The position is the vector of the prefix that was read (model/feed_position.h). An answer holds
 * positions for all ranges of the request, so that a page which could not visit all of them, and a
 * request without a scope, go on where they stopped.
 *
 * Feared most: a change that no page gives. Therefore the position moves over entries only that
 * PostgreSQL returned, or to the head of the same snapshot in which there was nothing more.
 */
#include "service/handlers.h"
#include "service/item_scope.h"
#include "service/item_target.h"

#include "base/clock.h"
#include "loop/pgvalue.h"
#include "model/charge.h"
#include "model/feed_position.h"
#include "model/json.h"
#include "store/regions.h"

#include "base/banned.h"

#define PAGE_DEFAULT 100
#define PAGE_MAX 1000
/* Bodies of one page; the last transaction may go beyond. */
#define PAGE_BYTES_MAX (3u << 20)
/* Entries that one statement looks at; above the largest transaction (deletes of a whole logical
 * partition take 500 at a time). */
#define WINDOW_MIN 600
/* Statements of one request; a page may end short, and the next goes on. */
#define STATEMENTS_MAX 20
/* No entry has a higher one: nothing is asked for but the head of the range. */
#define SEQ_AT_END INT64_MAX

enum start { START_BEGINNING, START_NOW, START_ETAG };

struct changes {
    struct item_scope scope;
    struct consistency consistency;
    bool is_full; /* all versions and deletes */
    enum start start;
    struct feed_etag etag;
    int64_t since_s; /* no change with an earlier _ts */
    struct feed_position position;
    size_t range;   /* in container->ranges */
    size_t visited; /* ranges that are done */
    unsigned limit, count, statements;
    bool is_behind;           /* a range was left before its head was reached */
    bool is_at_head, goes_on; /* of the range that was read last */
    struct buf page, tokens, positions;
};

static op_step changes_aim;     /* scope, position */
static op_step changes_came;    /* print entries */
static op_step changes_settled; /* go on, or answer */

static void free_changes(void *object)
{
    struct changes *self = object;

    buf_finish(&self->page);
    buf_finish(&self->tokens);
    buf_finish(&self->positions);
}

static bool read_start(struct changes *self, struct call *call)
{
    const struct headers *headers = &call->request.headers;
    struct slice none = slice_trim(headers->at[HEADER_IF_NONE_MATCH]);
    struct slice since = slice_trim(headers->at[HEADER_IF_MODIFIED_SINCE]);
    struct fault *fault = &call->op.fault;

    if (!slice_is_empty(since) && !clock_parse_http(since, &self->since_s))
        return fault_set(fault, 400, SUB_NONE,
                         "if-modified-since \"%.*s\" must be a date of RFC 1123, such as Mon, 23 "
                         "Nov 2026 07:01:14 GMT",
                         FAULT_QUOTE(since));
    if (slice_equals_text(none, "*"))
        self->start = START_NOW;
    else if (!slice_is_empty(none))
        self->start = START_ETAG;
    if (self->start == START_ETAG && !feed_etag_parse(&self->etag, none))
        return fault_set(fault, 400, SUB_NONE,
                         "if-none-match \"%.*s\" is not an etag of the change feed",
                         FAULT_QUOTE(none));
    if (self->is_full && self->start == START_BEGINNING)
        return fault_set(fault, 400, SUB_NONE,
                         "the feed of all versions and deletes begins now (if-none-match: *) or "
                         "at an etag, not at the beginning or at a time");
    return true;
}

enum op_next items_changes(struct op *op)
{
    struct call *call = call_of(op);
    struct slice mode = slice_trim(call->request.headers.at[HEADER_A_IM]);

    if (!op_alloc_self(op, sizeof(struct changes)))
        return OP_FAILED;
    struct changes *self = op_self(op, struct changes);
    if (!arena_defer(&op->arena, free_changes, self)) {
        fault_set_oom(&op->fault);
        return OP_FAILED;
    }
    self->is_full = slice_equals_nocase(mode, "full-fidelity feed");
    if (!self->is_full && !slice_equals_nocase(mode, "incremental feed"))
        return call_fail(op, 400, SUB_NONE,
                         "a-im \"%.*s\" is neither Incremental Feed nor Full-Fidelity Feed",
                         FAULT_QUOTE(mode));
    if (!read_start(self, call) || !consistency_parse(&self->consistency, call) ||
        !header_max_item_count(&call->request.headers, PAGE_DEFAULT, PAGE_MAX, &self->limit,
                               &op->fault))
        return OP_FAILED;
    /* A position must not be ahead of what is committed, whatever a request asks for. */
    self->consistency.settles = regions_current()->topology.level == LEVEL_STRONG;
    return call_resolve(op, changes_aim);
}

/* ---- the statement ---- */

/*
 * Entries of a window, whole transactions, until limit and bytes are reached by those before:
 * members of the page have a rid. $1 range, $2 sequence, $3 vector, $4 window, $5 since, $6 limit,
 * $7 bytes, $8 now; $9, $10 bound the partition key.
 */
static const char changes_sql[] =
    "select r.epoch, r.state, r.vector, r.seq, exists (select from orrery.horizons h "
    "    where h.range_id = r.range_id and h.seq > $2 and not orrery.vector_covers($3, h.vector)), "
    "e.seq, e.origin, e.lsn, e.rid, e.etag, e.ts, e.body,"
    " e.op, e.id, e.prev_lsn, e.prev_rid, e.prev_etag, e.prev_ts, e.prev_body, e.is_stranded "
    "from orrery.ranges r left join lateral ("
    "select * from (select y.*, "
    "    min(y.count_before) over t as first_count, min(y.bytes_before) over t as first_bytes "
    "from (select x.*, count(x.rid) over s as count_before, "
    "    coalesce(sum(octet_length(x.body) + coalesce(octet_length(x.prev_body), 0)) over s, 0) "
    "    as bytes_before "
    "from (%s) x window s as (order by x.seq rows between unbounded preceding and 1 preceding)) y "
    "window t as (partition by y.origin, y.lsn)) z "
    "where z.first_count < $6 and z.first_bytes < $7) e on true "
    "where r.range_id = $1 order by e.seq";

/* Entries beyond the position. */
static const char window_sql[] =
    "select * from orrery.log_%u l where l.range_id = r.range_id and l.seq > $2 "
    "and l.lsn > coalesce(($3::bigint[])[l.origin], 0) order by l.seq limit $4";

/* Each item at its present version. */
static const char latest_sql[] =
    "select l.seq, l.origin, l.lsn, i.rid, i.etag, i.ts, i.body, l.op, l.id, l.prev_lsn, "
    "null::bigint as prev_rid, null::uuid as prev_etag, null::bigint as prev_ts, "
    "null::text as prev_body, false as is_stranded from (%s) l left join lateral ("
    "select i.rid, i.etag, i.ts, i.body from orrery.items_%u i "
    "where i.range_id = r.range_id and i.pk = l.pk and i.id = l.id and i.seq = l.seq "
    "and orrery.is_live(i.deleted, i.ts, i.ttl, r.default_ttl, $8) and i.ts >= $5%s limit 1) i "
    "on true";

/* Each entry, with the version before it. */
static const char full_sql[] =
    "select l.seq, l.origin, l.lsn, f.rid, l.etag, l.ts, l.body, l.op, l.id, l.prev_lsn, "
    "p.rid as prev_rid, p.etag as prev_etag, p.ts as prev_ts, p.body as prev_body, "
    "exists (select from orrery.stranded s where s.range_id = r.range_id and s.origin = l.origin "
    "and s.lsn = l.lsn) as is_stranded "
    "from (%s) l left join lateral ("
    "select i.rid from (select l.rid, l.ts, l.pk) i where $8 > 0 and l.op <> 5 and i.ts >= $5%s) f "
    "on true "
    "left join lateral (select p.rid, p.etag, p.ts, p.body from orrery.log_%u p "
    "where p.range_id = r.range_id and p.seq = l.prev_seq and f.rid is not null limit 1) p on true";

enum {
    AT_EPOCH,
    AT_STATE,
    AT_VECTOR,
    AT_HEAD,
    AT_IS_TRIMMED, /* entries beyond the position are no longer there */
    AT_SEQ,
    AT_ORIGIN,
    AT_LSN,
    AT_RID,
    AT_ETAG,
    AT_TS,
    AT_BODY,
    AT_OP,
    AT_ID,
    AT_PREV_LSN,
    AT_PREV_RID,
    AT_PREV_ETAG,
    AT_PREV_TS,
    AT_PREV_BODY,
    AT_IS_STRANDED,
};

enum {
    LOG_CREATE = 1,
    LOG_REPLACE,
    LOG_DELETE,
    LOG_EXPIRE,
    LOG_REMOVE = 6 /* its unique key is another item's */
};

static const char *make_sql(const struct changes *self, struct call *call)
{
    static const char *const conditions[] = {"", " and i.pk = $9",
                                             " and i.pk >= $9 and i.pk < $10"};
    const char *condition = conditions[self->scope.kind];
    struct arena *arena = &call->op.arena;
    uint32_t number = call->container->number;

    const char *window = arena_printf(arena, window_sql, number);
    if (window == NULL)
        return NULL;
    const char *entries = self->is_full
                              ? arena_printf(arena, full_sql, window, condition, number)
                              : arena_printf(arena, latest_sql, window, number, condition);
    return entries == NULL ? NULL : arena_printf(arena, changes_sql, entries);
}

static unsigned window_size(const struct changes *self)
{
    return self->limit * 2 > WINDOW_MIN ? self->limit * 2 : WINDOW_MIN;
}

static enum op_next ask(struct op *op)
{
    struct changes *self = op_self(op, struct changes);
    struct call *call = call_of(op);
    const struct feed_position *position = &self->position;
    bool is_own = position->ordinal == regions_current()->self;
    const char *sql = make_sql(self, call);
    struct pgparams params = {0};

    if (sql == NULL) {
        fault_set_oom(&op->fault);
        return OP_FAILED;
    }
    self->statements++;
    pgparams_int8(&params,
                  pkrange_id(call->container->number, call->container->ranges[self->range].index));
    pgparams_int8(&params, is_own ? position->seq : 0);
    pgparams_array_begin(&params, PG_INT8_ARRAY);
    for (size_t o = 0; o < position->vector_len; o++)
        pgparams_add_int8(&params, position->vector[o]);
    pgparams_array_end(&params);
    pgparams_int8(&params, window_size(self));
    pgparams_int8(&params, self->since_s);
    pgparams_int8(&params, self->limit - self->count);
    pgparams_int8(&params, (int64_t) PAGE_BYTES_MAX - (int64_t) self->page.len);
    pgparams_int8(&params, call->now_s);
    if (self->scope.kind != ITEM_SCOPE_RANGES)
        pgparams_bytea(&params, self->scope.pk_min);
    if (self->scope.kind == ITEM_SCOPE_INTERVAL)
        pgparams_bytea(&params, self->scope.pk_max);
    struct pgio_statement statement = {.key = store_statement_key(STATEMENT_CHANGES +
                                                                      3 * (unsigned) self->is_full +
                                                                      (unsigned) self->scope.kind,
                                                                  call->container->number),
                                       .sql = sql};
    return store_query(&call->service->store, op, STORE_READS, &statement, &params, changes_came);
}

/* ---- where to begin ---- */

/* The range's position in the etag: its own, or that of a range it was split from. */
static bool find_position(const struct feed_etag *etag, const struct pkrange *range,
                          struct feed_position *position)
{
    if (feed_etag_find(etag, range->index, position))
        return true;
    for (size_t i = range->parent_count; i > 0; i--) {
        if (feed_etag_find(etag, range->parents[i - 1], position)) {
            position->range = range->index;
            position->ordinal = 0; /* sequences are the parent's */
            return true;
        }
    }
    return false;
}

static bool enter_range(struct changes *self, struct call *call)
{
    const struct pkrange *range = &call->container->ranges[self->range];

    self->position =
        (struct feed_position){.range = range->index, .ordinal = regions_current()->self};
    if (self->start == START_NOW)
        self->position.seq = SEQ_AT_END;
    else if (self->start == START_ETAG && !find_position(&self->etag, range, &self->position))
        return fault_set(&call->op.fault, 400, SUB_NONE,
                         "the etag in if-none-match has no position for partition key range %u",
                         (unsigned) range->index);
    return true;
}

static enum op_next changes_aim(struct op *op)
{
    struct changes *self = op_self(op, struct changes);
    struct call *call = call_of(op);

    self->page.len = self->tokens.len = self->positions.len = 0;
    self->count = self->statements = 0;
    self->visited = 0;
    self->is_behind = false;
    if (!item_scope_from_headers(&self->scope, call) ||
        !item_scope_check_access(&self->scope, call))
        return OP_FAILED;
    if (self->start == START_ETAG && !slice_equals_text(self->etag.container, call->container->rid))
        return call_fail(op, 400, SUB_NONE,
                         "the etag in if-none-match belongs to another container");
    self->range = self->scope.first;
    for (size_t i = self->scope.first; self->start == START_ETAG && i < self->scope.end; i++)
        if (call->container->ranges[i].index == self->etag.next)
            self->range = i;
    return enter_range(self, call) ? ask(op) : OP_FAILED;
}

/* ---- entries ---- */

static void append_version(struct buf *out, const struct container *container,
                           const struct pgio_result *result, int row, int first, bool has_lsn)
{
    item_target_print(
        out, container,
        &(struct item_print){.stored = pgio_value(result, row, first + AT_BODY - AT_RID),
                             .rid = (uint64_t) pgio_int8(result, row, first),
                             .etag = (const uint8_t *) pgio_value(result, row, first + 1).ptr,
                             .ts = pgio_int8(result, row, first + AT_TS - AT_RID),
                             .has_lsn = has_lsn,
                             .lsn = (uint64_t) pgio_int8(result, row, AT_LSN)});
}

/* "partitionKey":{"pk":"p"}: nested paths are nested objects, as in the item. */
static void append_partition_key(struct buf *out, const struct pkey_definition *definition,
                                 struct slice body)
{
    bool is_first = true;

    buf_append_text(out, ",\"partitionKey\":{");
    for (size_t i = 0; i < definition->path_count; i++) {
        const struct pkey_path *path = &definition->paths[i];
        struct slice value;
        if (!json_find_path(body, path->names, path->name_count, &value))
            continue;
        if (!is_first)
            buf_append_char(out, ',');
        is_first = false;
        for (size_t n = 0; n < path->name_count; n++) {
            if (n > 0)
                buf_append_char(out, '{');
            buf_append_json_string(out, path->names[n]);
            buf_append_char(out, ':');
        }
        buf_append_slice(out, value);
        for (size_t n = 1; n < path->name_count; n++)
            buf_append_char(out, '}');
    }
    buf_append_char(out, '}');
}

static void append_metadata(struct buf *out, const struct container *container,
                            const struct pgio_result *result, int row)
{
    static const char *const names[] = {[LOG_CREATE] = "create",
                                        [LOG_REPLACE] = "replace",
                                        [LOG_DELETE] = "delete",
                                        [LOG_EXPIRE] = "delete",
                                        [LOG_REMOVE] = "delete"};
    int16_t op = pgio_int2(result, row, AT_OP);

    buf_printf(out, "\"metadata\":{\"operationType\":\"%s\",\"lsn\":%lld,\"crts\":%lld", names[op],
               (long long) pgio_int8(result, row, AT_LSN),
               (long long) pgio_int8(result, row, AT_TS));
    if (!pgio_is_null(result, row, AT_PREV_LSN))
        buf_printf(out, ",\"previousImageLSN\":%lld",
                   (long long) pgio_int8(result, row, AT_PREV_LSN));
    if (op == LOG_EXPIRE)
        buf_append_text(out, ",\"timeToLiveExpired\":true");
    if (pgio_bool(result, row, AT_IS_STRANDED))
        buf_append_text(out, ",\"stranded\":true"); /* the hub's decision is another entry */
    if (op == LOG_DELETE || op == LOG_EXPIRE || op == LOG_REMOVE) {
        buf_append_text(out, ",\"id\":");
        buf_append_json_string(out, pgio_value(result, row, AT_ID));
        if (!pgio_is_null(result, row, AT_PREV_RID))
            append_partition_key(out, &container->settings.partition_key,
                                 pgio_value(result, row, AT_PREV_BODY));
    }
    buf_append_char(out, '}');
}

static void append_change(struct buf *out, const struct container *container,
                          const struct pgio_result *result, int row)
{
    int16_t op = pgio_int2(result, row, AT_OP);

    buf_append_text(out, "{\"current\":");
    if (op == LOG_CREATE || op == LOG_REPLACE)
        append_version(out, container, result, row, AT_RID, false);
    else
        buf_append_text(out, "{}");
    if (!pgio_is_null(result, row, AT_PREV_RID)) {
        buf_append_text(out, ",\"previous\":");
        append_version(out, container, result, row, AT_PREV_RID, false);
    }
    buf_append_char(out, ',');
    append_metadata(out, container, result, row);
    buf_append_char(out, '}');
}

static void add_change(struct changes *self, const struct container *container,
                       const struct pgio_result *result, int row)
{
    if (pgio_is_null(result, row, AT_RID))
        return;
    if (self->count++ > 0)
        buf_append_char(&self->page, ',');
    if (self->is_full)
        append_change(&self->page, container, result, row);
    else
        append_version(&self->page, container, result, row, AT_RID, true);
}

/* A full window may have cut its last transaction: how many rows are whole ones. */
static int whole_rows(const struct changes *self, const struct pgio_result *result)
{
    int rows = pgio_row_count(result), whole = rows;

    if (pgio_is_null(result, 0, AT_SEQ))
        return 0;
    if (rows < (int) window_size(self) ||
        pgio_int8(result, rows - 1, AT_SEQ) == pgio_int8(result, 0, AT_HEAD))
        return rows;
    while (whole > 0 &&
           pgio_int8(result, whole - 1, AT_LSN) == pgio_int8(result, rows - 1, AT_LSN) &&
           pgio_int2(result, whole - 1, AT_ORIGIN) == pgio_int2(result, rows - 1, AT_ORIGIN))
        whole--;
    return whole > 0 ? whole : rows; /* no transaction is as large as a window */
}

/* Take the rows and move the position; *is_at_head tells whether nothing more is there. */
static bool take_rows(struct changes *self, struct call *call, bool *is_at_head)
{
    const struct pgio_result *result = call->op.result;
    struct feed_position *position = &self->position;
    int64_t head = pgio_int8(result, 0, AT_HEAD);
    int rows = whole_rows(self, result);

    if (self->is_full && pgio_bool(result, 0, AT_IS_TRIMMED))
        return fault_set(&call->op.fault, 400, SUB_NONE,
                         "the etag in if-none-match is older than the changes that are kept of all "
                         "versions and deletes (--log-retention-s)");
    position->ordinal = regions_current()->self;
    for (int row = 0; row < rows; row++) {
        add_change(self, call->container, result, row);
        position->seq = pgio_int8(result, row, AT_SEQ);
        if (!feed_position_advance(position, (uint32_t) pgio_int2(result, row, AT_ORIGIN),
                                   pgio_int8(result, row, AT_LSN)))
            return fault_set(&call->op.fault, 500, SUB_NONE,
                             "the log of the range names a region that cannot be");
    }
    *is_at_head = rows == 0 || position->seq >= head;
    if (*is_at_head) {
        int64_t vector[STORE_VECTOR_MAX];
        size_t len =
            pgvalue_int8_array(pgio_value(result, 0, AT_VECTOR), vector, ARRAY_LEN(vector));
        position->seq = head;
        for (size_t o = 0; o < len; o++)
            if (!feed_position_advance(position, (uint32_t) o + 1, vector[o]))
                return fault_set(&call->op.fault, 500, SUB_NONE,
                                 "the vector of the range names a region that cannot be");
    }
    return true;
}

/* ---- answers ---- */

/* Ranges that the page did not come to stay where the request found them. */
static bool print_etag(struct changes *self, struct call *call, struct buf *etag)
{
    feed_etag_begin(etag, slice_from_text(call->container->rid),
                    call->container->ranges[self->range].index);
    buf_append_slice(etag, buf_slice(&self->positions));
    for (size_t left = self->scope.end - self->scope.first - self->visited; left > 0; left--) {
        feed_etag_append(etag, &self->position);
        self->range = self->range + 1 < self->scope.end ? self->range + 1 : self->scope.first;
        if (left > 1 && !enter_range(self, call))
            return false;
    }
    feed_etag_end(etag);
    return !etag->has_failed || fault_set_oom(&call->op.fault);
}

static enum op_next reply_changes(struct op *op)
{
    struct changes *self = op_self(op, struct changes);
    struct call *call = call_of(op);
    struct reply *reply = &call->reply;
    struct buf body = {0}, etag = {0};

    bool is_whole = print_etag(self, call, &etag);
    char *text = is_whole ? arena_copy(&op->arena, etag.ptr, etag.len) : NULL;
    buf_finish(&etag);
    if (text == NULL) {
        if (is_whole)
            fault_set_oom(&op->fault);
        return OP_FAILED;
    }
    reply_header(reply, "etag", text);
    reply_header(reply, "x-ms-alt-content-path", call->container->alt_path.ptr);
    reply_header(reply, "x-ms-content-path", call->container->rid);
    if (!self->tokens.has_failed)
        reply_header(reply, "x-ms-session-token",
                     arena_copy(&op->arena, self->tokens.ptr, self->tokens.len));
    reply->charge_cru = charge_feed_cru(self->count, self->page.len);
    if (self->count == 0 && !self->is_behind)
        return call_reply_empty(op, 304);
    reply_header_i64(reply, &op->arena, "x-ms-item-count", self->count);
    buf_append_text(&body, "{\"_rid\":\"");
    buf_append_text(&body, call->container->rid);
    buf_append_text(&body, "\",\"Documents\":[");
    buf_append_slice(&body, buf_slice(&self->page));
    buf_printf(&body, "],\"_count\":%u}", self->count);
    return call_reply_json(op, 200, &body);
}

/* ---- from range to range ---- */

/* The token and, once the head is reached, the position of the range that was read. */
static void note_range(struct changes *self, struct call *call, bool is_at_head)
{
    const struct pkrange *range = &call->container->ranges[self->range];
    int64_t epoch = pgio_int8(call->op.result, 0, AT_EPOCH), vector[STORE_VECTOR_MAX];
    size_t len =
        pgvalue_int8_array(pgio_value(call->op.result, 0, AT_VECTOR), vector, ARRAY_LEN(vector));

    if (self->tokens.len > 0)
        buf_append_char(&self->tokens, ',');
    consistency_append(&self->tokens, call, range, epoch, vector, len);
    if (self->scope.end - self->scope.first == 1) {
        uint32_t ordinal = regions_current()->self;
        reply_header_i64(&call->reply, &call->op.arena, "x-ms-documentdb-partitionkeyrangeid",
                         range->index);
        if (ordinal <= len)
            reply_header_i64(&call->reply, &call->op.arena, "lsn", vector[ordinal - 1]);
    }
    if (!is_at_head)
        return;
    self->visited++;
    feed_etag_append(&self->positions, &self->position);
}

/* A start at "now" must come to every range; other pages may stop. */
static bool is_page_full(const struct changes *self)
{
    return self->start != START_NOW &&
           (self->count >= self->limit || self->page.len >= PAGE_BYTES_MAX ||
            self->statements >= STATEMENTS_MAX);
}

static enum op_next changes_came(struct op *op)
{
    struct changes *self = op_self(op, struct changes);
    struct call *call = call_of(op);
    const struct pgio_result *result = op->result;
    bool settles = false;

    if (result->outcome == PGIO_ERROR && strcmp(result->sqlstate, "42P01") == 0)
        return call_resolve_again(op, changes_aim);
    if (!store_check(op, STORE_READS))
        return OP_FAILED;
    if (pgio_row_count(result) == 0 || !store_range_is_served(pgio_value(result, 0, AT_STATE)))
        return call_resolve_again(op, changes_aim);
    switch (consistency_check(&self->consistency, call, &call->container->ranges[self->range],
                              pgio_int8(result, 0, AT_EPOCH), pgio_value(result, 0, AT_VECTOR))) {
    case CONSISTENCY_GONE:
        return call_resolve_again(op, changes_aim);
    case CONSISTENCY_WAITS:
        self->statements--; /* it told nothing */
        return consistency_wait(&self->consistency, op, ask);
    case CONSISTENCY_SETTLES:
        settles = true;
        break;
    case CONSISTENCY_FAULT:
        return OP_FAILED;
    case CONSISTENCY_MET:
        break;
    }
    if (!take_rows(self, call, &self->is_at_head))
        return OP_FAILED;
    self->goes_on = !self->is_at_head && !is_page_full(self);
    if (!self->goes_on)
        note_range(self, call, self->is_at_head);
    return settles ? consistency_settle(&self->consistency, op, changes_settled)
                   : changes_settled(op);
}

static enum op_next changes_settled(struct op *op)
{
    struct changes *self = op_self(op, struct changes);
    struct call *call = call_of(op);

    if (self->goes_on)
        return ask(op);
    if (self->visited == self->scope.end - self->scope.first)
        return reply_changes(op);
    if (self->is_at_head) {
        self->range = self->range + 1 < self->scope.end ? self->range + 1 : self->scope.first;
        if (!enter_range(self, call))
            return OP_FAILED;
        if (!is_page_full(self))
            return ask(op);
    }
    self->is_behind = true;
    return reply_changes(op);
}
