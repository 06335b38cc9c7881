#include "store/exchange.h"

#include "store/recent.h"
#include "store/regions.h"
#include "store/sqlstate.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/banned.h"

/* Entries of a range that one answer may have; a longer transaction travels whole. */
#define ENTRIES_MAX 2000
/* STREAM_COPY, for statements. */
#define COPY_BASE "4611686018427387904"
/* Of an entry besides its body, roughly. */
#define ENTRY_BYTES "160"

/* Without a range that moved there is a row all the same. */
static const char note_sql[] =
    "select range_id, committed, is_sound from orrery.exchange_note($1::smallint, $2, $3, $4, $5, "
    "$6, $7)";

static const char find_sql[] =
    "select range_id, \"from\", head, vector, committed, acked, needs_origin, needs_lsn, "
    "has_entries from orrery.exchange_find($1::smallint, $2, $3, $4, $5, $6::smallint, $7)";

/* $1 ranges, $2 from, $3 heads, $4 what the asker has applied, $5 the asker, $6 bytes, $7 entries.
 */
static const char fetch_sql[] =
    "select * from orrery.fetch_%" PRIu32 "($1, $2, $3, $4, $5::smallint, $6, $7)";

static const char is_there_sql[] =
    "select from orrery.ranges r where r.range_id = $1 and r.state <> 'dropped'";

/* The same of a log that was trimmed (STREAM_COPY): all that is left, wherever it came from. Not
 * often, so it has no function. */
static const char fetch_copy_sql[] =
    "select x.n::integer, t.upto, l.seq + " COPY_BASE ", l.origin, l.lsn, l.index, l.epoch, l.op, "
    "l.pk, l.id, l.rid,"
    " l.ts, l.etag, l.ttl, l.rank, l.context, l.body "
    "from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::text[]) with ordinality "
    "  x(range_id, start, head, acked, n) "
    "cross join lateral (select max(w.seq) as last from ("
    "    select v.seq, sum(v.bytes) over (order by v.seq) - v.bytes as before from ("
    "        select l.seq, coalesce(octet_length(l.body), 0) + " ENTRY_BYTES " as bytes "
    "        from orrery.log_%" PRIu32
    " l where l.range_id = x.range_id and l.seq > x.start - " COPY_BASE
    "        and l.seq <= x.head - " COPY_BASE
    " order by l.seq limit $7) v) w where w.before < $6) m "
    "cross join lateral (select case when exists (select from orrery.log_%" PRIu32 " l "
    "    where l.range_id = x.range_id and l.seq > m.last and l.seq <= x.head - " COPY_BASE ") "
    "    then m.last + " COPY_BASE " else x.head end as upto) t "
    "left join lateral (select * from orrery.log_%" PRIu32 " l "
    "    where l.range_id = x.range_id and l.seq > x.start - " COPY_BASE
    "    and l.seq <= t.upto - " COPY_BASE " and $5 > 0 order by l.seq offset 0) l on true "
    "order by x.n, l.seq";

enum {
    FETCHED_N,
    FETCHED_UPTO,
    FETCHED_SEQ,
    FETCHED_ORIGIN,
    FETCHED_LSN,
    FETCHED_INDEX,
    FETCHED_EPOCH,
    FETCHED_OP,
    FETCHED_PK,
    FETCHED_ID,
    FETCHED_RID,
    FETCHED_TS,
    FETCHED_ETAG,
    FETCHED_TTL,
    FETCHED_RANK,
    FETCHED_CONTEXT,
    FETCHED_BODY
};

#define APPLY_PARAMETERS "$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13,$14,$15,$16,$17,$18,$19,$20,$21,$22"

static const char apply_sql[] = "select status, applied, taken, vector from "
                                "orrery.exchange_apply($1::smallint,$2," APPLY_PARAMETERS ")";

static const char copy_sql[] =
    "select status, applied, taken, vector from orrery.exchange_copy($1::smallint,$2,$23::smallint,"
    "$24,$25,$26,$27," APPLY_PARAMETERS ")";

/* $1 and $2, what the entries need, is nothing. */
static const char apply_metadata_sql[] =
    "select status, applied, taken, vector from orrery.exchange_apply_metadata(" APPLY_PARAMETERS
    ",$23,$24,$25,$26,$27,$28,$29,$30) where $1 = 0 and $2 = 0";

static const char learn_sql[] = "select orrery.exchange_learn($1, $2)";

static const char vectors_sql[] =
    "select r.range_id, r.vector, r.committed, coalesce(c.source, 0)::smallint, coalesce(c.at, 0) "
    "from orrery.ranges r left join orrery.copies c on c.range_id = r.range_id "
    "where r.state <> 'dropped' order by r.range_id";

static const char definition_sql[] =
    "select i.body from orrery.items_0 i where i.range_id = 0 and i.rid = $1 and not i.deleted "
    "and i.pk >= 'colls/' and i.pk < 'colls0'";

static struct pgio_statement statement(enum store_statement number, const char *sql)
{
    return (struct pgio_statement){.key = store_statement_key(number, 0), .sql = sql};
}

/* At the source these are all that stands between a write and its way to another region. */
static struct pgio_statement point(enum store_statement number, const char *sql)
{
    struct pgio_statement made = statement(number, sql);

    made.planning = PGIO_PLANS_POINT;
    return made;
}

/* A vector as the text of a bigint[]. */
static void print_vector(struct buf *text, const int64_t *vector, unsigned count)
{
    buf_append_char(text, '{');
    for (unsigned i = 0; i < count; i++) {
        if (i > 0)
            buf_append_char(text, ',');
        buf_append_i64(text, vector[i]);
    }
    buf_append_char(text, '}');
}

static void add_vector(struct pgparams *params, const int64_t *vector, unsigned count)
{
    struct buf text = {0};

    print_vector(&text, vector, count);
    pgparams_add_bytes(params, buf_slice(&text));
    if (text.has_failed)
        params->bytes.has_failed = true;
    buf_finish(&text);
}

static void add_stream_vector(struct pgparams *params, struct stream_vector vector)
{
    int64_t numbers[STREAM_VECTOR_MAX];

    for (unsigned i = 0; i < vector.count; i++)
        numbers[i] = stream_vector_at(vector, i);
    add_vector(params, numbers, vector.count);
}

/* ---- source: what the asker says ---- */

enum want_column { WANT_RANGE, WANT_HELD, WANT_RECEIVED, WANT_ACKED, WANT_COMMITTED };

static bool put_wants(struct pgparams *params, const struct stream_request *request,
                      struct stream_reader wants, enum want_column column, struct fault *fault)
{
    struct stream_want want;

    pgparams_array_begin(params, column >= WANT_ACKED ? PG_TEXT_ARRAY : PG_INT8_ARRAY);
    for (uint32_t i = 0; i < request->count; i++) {
        if (!stream_get_want(&wants, &want, fault))
            return false;
        if (column >= WANT_ACKED)
            add_stream_vector(params, column == WANT_ACKED ? want.acked : want.committed);
        else
            pgparams_add_int8(params, column == WANT_RANGE  ? want.range_id
                                      : column == WANT_HELD ? want.held
                                                            : want.received);
    }
    pgparams_array_end(params);
    return true;
}

enum op_next exchange_note(struct store *store, struct op *op, const struct stream_request *request,
                           struct stream_reader wants, bool moves_committed, op_step *next)
{
    struct pgio_statement note = point(STATEMENT_EXCHANGE_NOTE, note_sql);
    struct pgparams params = {0};

    pgparams_int4(&params, (int32_t) request->hello.ordinal);
    pgparams_bool(&params, (request->flags & STREAM_IS_FIRST) != 0);
    if (!put_wants(&params, request, wants, WANT_RANGE, &op->fault) ||
        !put_wants(&params, request, wants, WANT_HELD, &op->fault) ||
        !put_wants(&params, request, wants, WANT_ACKED, &op->fault) ||
        !put_wants(&params, request, wants, WANT_COMMITTED, &op->fault)) {
        pgparams_finish(&params);
        return OP_FAILED;
    }
    pgparams_bool(&params, moves_committed);
    return store_query(store, op, STORE_READS, &note, &params, next);
}

bool exchange_noted(struct op *op)
{
    if (!store_check(op, STORE_READS))
        return false;
    return pgio_bool(op->result, 0, 2) ||
           fault_set(&op->fault, 409, SUB_NONE,
                     "this region was put back to an earlier state: you have entries of it that it "
                     "has not");
}

/* ---- source: what there is for it ---- */

enum op_next exchange_find(struct store *store, struct op *op, const struct stream_request *request,
                           struct stream_reader wants, enum exchange_what what, unsigned limit,
                           op_step *next)
{
    struct pgio_statement find = point(STATEMENT_EXCHANGE_FIND, find_sql);
    struct pgparams params = {0};

    pgparams_int4(&params, (int32_t) request->hello.ordinal);
    if (!put_wants(&params, request, wants, WANT_RANGE, &op->fault) ||
        !put_wants(&params, request, wants, WANT_RECEIVED, &op->fault)) {
        pgparams_finish(&params);
        return OP_FAILED;
    }
    pgparams_int8(&params, request->after);
    pgparams_int4(&params, (int32_t) limit);
    pgparams_int4(&params, (int32_t) what);
    pgparams_array_begin(&params, PG_INT8_ARRAY);
    for (size_t i = 0; i < request->declined.len; i++)
        pgparams_add_int8(&params, (unsigned char) request->declined.ptr[i]);
    pgparams_array_end(&params);
    return store_query(store, op, STORE_READS, &find, &params, next);
}

static int64_t *take_vector(struct op *op, int row, int column, unsigned *count)
{
    int64_t vector[STORE_VECTOR_MAX];

    *count = (unsigned) pgvalue_int8_array(pgio_value(op->result, row, column), vector,
                                           ARRAY_LEN(vector));
    int64_t *kept = arena_alloc(&op->arena, (*count + 1) * sizeof(*kept));
    if (kept != NULL)
        memcpy(kept, vector, *count * sizeof(*kept));
    return kept;
}

static bool take_one(struct op *op, int row, struct exchange_found *found)
{
    found->part = (struct stream_part){.range_id = pgio_int8(op->result, row, 0),
                                       .from = pgio_int8(op->result, row, 1),
                                       .head = pgio_int8(op->result, row, 2),
                                       .needs_origin = (unsigned) pgio_int2(op->result, row, 6),
                                       .needs_lsn = pgio_int8(op->result, row, 7)};
    found->has_entries = pgio_bool(op->result, row, 8);
    found->vector = take_vector(op, row, 3, &found->vector_count);
    found->committed = take_vector(op, row, 4, &found->committed_count);
    found->acked = take_vector(op, row, 5, &found->acked_count);
    return (found->vector != NULL && found->committed != NULL && found->acked != NULL) ||
           fault_set_oom(&op->fault);
}

bool exchange_take_found(struct op *op, struct exchange_found **found, unsigned *count)
{
    *count = 0;
    if (!store_check(op, STORE_READS))
        return false;
    unsigned rows = (unsigned) pgio_row_count(op->result);
    *found = arena_alloc(&op->arena, (rows + 1) * sizeof(**found));
    if (*found == NULL)
        return fault_set_oom(&op->fault);
    for (; *count < rows; (*count)++) {
        if (!take_one(op, (int) *count, &(*found)[*count]))
            return false;
    }
    return true;
}

/* ---- source: entries ---- */

/* A region that joins may get its log anew, as a copy. */
static bool keeps_log(void)
{
    const struct regions *regions = regions_current();
    const struct topology_region *self = topology_find(&regions->topology, regions->self);

    return self != NULL && self->state == REGION_ONLINE;
}

bool exchange_put_recent(struct op *op, unsigned region, const struct exchange_found *found,
                         size_t bytes_max, struct buf *payload)
{
    struct stream_part part = found->part;
    struct buf entries = {0};

    if (part.from >= STREAM_COPY || !keeps_log())
        return false;
    bool is_taken = recent_take(&part, region, found->acked, found->acked_count, bytes_max,
                                op->loop->now_ms, &entries);
    if (is_taken) {
        struct stream_part_writer writer =
            stream_begin_part(payload, &part, found->vector, found->vector_count, found->committed,
                              found->committed_count);
        writer.count = part.count;
        buf_append_slice(payload, buf_slice(&entries));
        payload->has_failed |= entries.has_failed;
        stream_end_part(payload, &writer);
    }
    buf_finish(&entries);
    return is_taken;
}

/* Of a part that has everything of its part of the log. */
static void keep_recent(const struct op *op, const struct stream_part *part,
                        const struct stream_part_writer *writer, const struct buf *payload)
{
    bool is_whole = part->to - part->from == (int64_t) writer->count && !payload->has_failed;
    size_t start = writer->place + 8; /* behind count and length */

    if (is_whole && writer->count > 0 && part->from < STREAM_COPY && keeps_log())
        recent_keep(part, slice_make(payload->ptr + start, payload->len - start), op->loop->now_ms);
}

enum op_next exchange_fetch(struct store *store, struct op *op, unsigned region,
                            const struct exchange_found *found, unsigned count, size_t bytes_max,
                            op_step *next)
{
    uint32_t container = (uint32_t) (found[0].part.range_id >> 12);
    struct pgparams params = {0};
    bool is_copy = found[0].part.from >= STREAM_COPY;
    char sql[sizeof(fetch_copy_sql) + 3 * 10];

    if (is_copy)
        snprintf(sql, sizeof(sql), fetch_copy_sql, container, container, container);
    else
        snprintf(sql, sizeof(sql), fetch_sql, container);
    struct pgio_statement fetch = {
        .key = store_statement_key(
            is_copy ? STATEMENT_EXCHANGE_FETCH_COPY : STATEMENT_EXCHANGE_FETCH, container),
        .sql = sql,
        .planning = PGIO_PLANS_POINT};
    pgparams_array_begin(&params, PG_INT8_ARRAY);
    for (unsigned i = 0; i < count; i++)
        pgparams_add_int8(&params, found[i].part.range_id);
    pgparams_array_end(&params);
    pgparams_array_begin(&params, PG_INT8_ARRAY);
    for (unsigned i = 0; i < count; i++)
        pgparams_add_int8(&params, found[i].part.from);
    pgparams_array_end(&params);
    pgparams_array_begin(&params, PG_INT8_ARRAY);
    for (unsigned i = 0; i < count; i++)
        pgparams_add_int8(&params, found[i].part.head);
    pgparams_array_end(&params);
    pgparams_array_begin(&params, PG_TEXT_ARRAY);
    for (unsigned i = 0; i < count; i++)
        add_vector(&params, found[i].acked, found[i].acked_count);
    pgparams_array_end(&params);
    pgparams_int4(&params, (int32_t) region);
    pgparams_int8(&params, (int64_t) bytes_max);
    pgparams_int8(&params, ENTRIES_MAX);
    return store_query(store, op, STORE_READS, &fetch, &params, next);
}

static void put_row(const struct pgio_result *result, int row, struct buf *payload,
                    struct stream_part_writer *writer)
{
    int64_t context[STORE_VECTOR_MAX];
    unsigned context_count = 0;
    struct slice rank = pgio_value(result, row, FETCHED_RANK),
                 etag = pgio_value(result, row, FETCHED_ETAG);
    struct stream_entry entry = {.seq = pgio_int8(result, row, FETCHED_SEQ),
                                 .origin = (unsigned) pgio_int2(result, row, FETCHED_ORIGIN),
                                 .lsn = pgio_int8(result, row, FETCHED_LSN),
                                 .index = pgio_int4(result, row, FETCHED_INDEX),
                                 .epoch = pgio_int8(result, row, FETCHED_EPOCH),
                                 .op = (unsigned) pgio_int2(result, row, FETCHED_OP),
                                 .pk = pgio_value(result, row, FETCHED_PK),
                                 .id = pgio_value(result, row, FETCHED_ID),
                                 .rid = pgio_int8(result, row, FETCHED_RID),
                                 .ts = pgio_int8(result, row, FETCHED_TS),
                                 .has_etag = !slice_is_absent(etag),
                                 .has_ttl = !pgio_is_null(result, row, FETCHED_TTL),
                                 .has_rank = !slice_is_absent(rank),
                                 .has_context = !pgio_is_null(result, row, FETCHED_CONTEXT),
                                 .body = pgio_value(result, row, FETCHED_BODY)};

    if (entry.has_etag)
        memcpy(entry.etag, etag.ptr, sizeof(entry.etag));
    if (entry.has_ttl)
        entry.ttl = pgio_int4(result, row, FETCHED_TTL);
    if (entry.has_rank) {
        int64_t bits = pgvalue_int8(rank);
        memcpy(&entry.rank, &bits, sizeof(entry.rank));
    }
    if (entry.has_context)
        context_count = (unsigned) pgvalue_int8_array(pgio_value(result, row, FETCHED_CONTEXT),
                                                      context, ARRAY_LEN(context));
    stream_put_entry(payload, writer, &entry, context, context_count);
}

bool exchange_is_gone(const struct op *op)
{
    return op->result->outcome == PGIO_ERROR &&
           sqlstate_class(op->result->sqlstate) == SQLSTATE_GONE;
}

enum op_next exchange_ask_dropped(struct store *store, struct op *op,
                                  const struct exchange_found *found, op_step *next)
{
    struct pgio_statement ask = statement(STATEMENT_EXCHANGE_IS_THERE, is_there_sql);
    struct pgparams params = {0};

    pgparams_int8(&params, found->part.range_id);
    return store_query(store, op, STORE_READS, &ask, &params, next);
}

bool exchange_check_dropped(struct op *op, const struct pgio_result *missing)
{
    if (!store_check(op, STORE_READS))
        return false;
    if (pgio_row_count(op->result) == 0)
        return true;
    sqlstate_fault(missing, &op->log, &op->fault);
    return false;
}

bool exchange_take_entries(struct op *op, const struct exchange_found *found, unsigned count,
                           struct buf *payload, uint32_t *parts)
{
    int rows, row = 0;

    if (!store_check(op, STORE_READS))
        return false;
    rows = pgio_row_count(op->result);
    for (unsigned i = 0; i < count && row < rows; i++) {
        struct stream_part part = found[i].part;
        assert(pgio_int4(op->result, row, FETCHED_N) == (int32_t) i + 1);
        part.to = pgio_int8(op->result, row, FETCHED_UPTO);
        struct stream_part_writer writer =
            stream_begin_part(payload, &part, found[i].vector, found[i].vector_count,
                              found[i].committed, found[i].committed_count);
        for (; row < rows && pgio_int4(op->result, row, FETCHED_N) == (int32_t) i + 1; row++) {
            if (!pgio_is_null(op->result, row, FETCHED_SEQ))
                put_row(op->result, row, payload, &writer);
        }
        stream_end_part(payload, &writer);
        keep_recent(op, &part, &writer, payload);
        (*parts)++;
    }
    return !payload->has_failed || fault_set_oom(&op->fault);
}

void exchange_put_committed(const struct exchange_found *found, struct buf *payload)
{
    struct stream_part part = found->part;

    part.to = part.from;
    struct stream_part_writer writer =
        stream_begin_part(payload, &part, found->vector, found->vector_count, found->committed,
                          found->committed_count);
    stream_end_part(payload, &writer);
}

/* ---- asker ---- */

/* One array over all entries. */
#define PUT_COLUMN(params, type, piece, add)                        \
    do {                                                            \
        pgparams_array_begin(params, type);                         \
        for (unsigned i_ = 0; i_ < (piece)->count; i_++) {          \
            const struct exchange_entry *e = &(piece)->entries[i_]; \
            add;                                                    \
        }                                                           \
        pgparams_array_end(params);                                 \
    } while (0)

static void add_or_null(struct pgparams *params, struct slice text)
{
    if (slice_is_absent(text))
        pgparams_add_null(params);
    else
        pgparams_add_bytes(params, text);
}

static void add_etag(struct pgparams *params, const struct stream_entry *entry)
{
    if (entry->has_etag)
        pgparams_add_uuid(params, entry->etag);
    else
        pgparams_add_null(params);
}

static void add_ttl(struct pgparams *params, const struct stream_entry *entry)
{
    if (entry->has_ttl)
        pgparams_add_int4(params, entry->ttl);
    else
        pgparams_add_null(params);
}

static void add_rank(struct pgparams *params, const struct stream_entry *entry)
{
    if (entry->has_rank)
        pgparams_add_float8(params, entry->rank);
    else
        pgparams_add_null(params);
}

static void add_context(struct pgparams *params, const struct stream_entry *entry)
{
    if (entry->has_context)
        add_stream_vector(params, entry->context);
    else
        pgparams_add_null(params);
}

static void put_entries(struct pgparams *params, const struct exchange_piece *piece)
{
    PUT_COLUMN(params, PG_INT2_ARRAY, piece, pgparams_add_int2(params, (int16_t) e->entry.origin));
    PUT_COLUMN(params, PG_INT8_ARRAY, piece, pgparams_add_int8(params, e->entry.lsn));
    PUT_COLUMN(params, PG_INT4_ARRAY, piece, pgparams_add_int4(params, e->entry.index));
    PUT_COLUMN(params, PG_INT8_ARRAY, piece, pgparams_add_int8(params, e->entry.epoch));
    PUT_COLUMN(params, PG_INT2_ARRAY, piece, pgparams_add_int2(params, (int16_t) e->entry.op));
    PUT_COLUMN(params, PG_BYTEA_ARRAY, piece, pgparams_add_bytes(params, e->entry.pk));
    PUT_COLUMN(params, PG_TEXT_ARRAY, piece, pgparams_add_bytes(params, e->entry.id));
    PUT_COLUMN(params, PG_INT8_ARRAY, piece, pgparams_add_int8(params, e->entry.rid));
    PUT_COLUMN(params, PG_INT8_ARRAY, piece, pgparams_add_int8(params, e->entry.ts));
    PUT_COLUMN(params, PG_UUID_ARRAY, piece, add_etag(params, &e->entry));
    PUT_COLUMN(params, PG_INT4_ARRAY, piece, add_ttl(params, &e->entry));
    PUT_COLUMN(params, PG_FLOAT8_ARRAY, piece, add_rank(params, &e->entry));
    PUT_COLUMN(params, PG_TEXT_ARRAY, piece, add_context(params, &e->entry));
    PUT_COLUMN(params, PG_TEXT_ARRAY, piece, add_or_null(params, e->entry.body));
    PUT_COLUMN(params, PG_TEXT_ARRAY, piece, add_or_null(params, e->doc));
}

static void put_claims(struct pgparams *params, const struct exchange_piece *piece)
{
#define PUT_CLAIMS(type, add) \
    PUT_COLUMN(params, type, piece, for (unsigned c = 0; c < e->claim_count; c++) add)
    PUT_CLAIMS(PG_INT4_ARRAY, pgparams_add_int4(params, (int32_t) i_ + 1));
    PUT_CLAIMS(PG_INT2_ARRAY, pgparams_add_int2(params, e->claims[c].key_number));
    PUT_CLAIMS(PG_BYTEA_ARRAY, pgparams_add_bytes(params, e->claims[c].value));
#undef PUT_CLAIMS
}

/* One array over all indexes of all containers. */
#define PUT_INDEXES(params, type, piece, add)                                            \
    do {                                                                                 \
        pgparams_array_begin(params, type);                                              \
        for (unsigned i_ = 0; i_ < (piece)->container_count; i_++) {                     \
            for (size_t x_ = 0; x_ < (piece)->containers[i_].index_count; x_++) {        \
                const struct index_wanted *index = &(piece)->containers[i_].indexes[x_]; \
                add;                                                                     \
            }                                                                            \
        }                                                                                \
        pgparams_array_end(params);                                                      \
    } while (0)

static void put_containers(struct pgparams *params, const struct exchange_piece *piece)
{
    pgparams_array_begin(params, PG_INT8_ARRAY);
    for (unsigned i = 0; i < piece->container_count; i++)
        pgparams_add_int8(params, piece->containers[i].number);
    pgparams_array_end(params);
    pgparams_array_begin(params, PG_INT4_ARRAY);
    for (unsigned i = 0; i < piece->container_count; i++)
        pgparams_add_int4(params, (int32_t) piece->containers[i].entry + 1);
    pgparams_array_end(params);
    pgparams_array_begin(params, PG_INT4_ARRAY);
    for (unsigned i = 0; i < piece->container_count; i++) {
        if (piece->containers[i].has_default_ttl)
            pgparams_add_int4(params, piece->containers[i].default_ttl);
        else
            pgparams_add_null(params);
    }
    pgparams_array_end(params);
    pgparams_array_begin(params, PG_BOOL_ARRAY);
    for (unsigned i = 0; i < piece->container_count; i++)
        pgparams_add_bool(params, piece->containers[i].has_unique_keys);
    pgparams_array_end(params);
    PUT_INDEXES(params, PG_INT4_ARRAY, piece, (void) index;
                pgparams_add_int4(params, (int32_t) i_ + 1));
    PUT_INDEXES(params, PG_INT2_ARRAY, piece, pgparams_add_int2(params, (int16_t) index->kind));
    PUT_INDEXES(params, PG_TEXT_ARRAY, piece, pgparams_add_bytes(params, index->spec));
    PUT_INDEXES(params, PG_TEXT_ARRAY, piece, pgparams_add_bytes(params, index->definition));
}

static struct pgio_statement copy(struct pgparams *params, const struct exchange_piece *piece)
{
    int64_t vector[STREAM_VECTOR_MAX];
    const struct stream_part *part = piece->part;
    struct buf text = {0};

    for (unsigned i = 0; i < part->vector.count; i++)
        vector[i] = stream_vector_at(part->vector, i);
    print_vector(&text, vector, part->vector.count);
    pgparams_int4(params, (int32_t) piece->source);
    pgparams_int8(params, piece->from - STREAM_COPY);
    pgparams_int8(params, piece->to - STREAM_COPY);
    pgparams_int8(params, part->head - STREAM_COPY);
    pgparams_text(params, buf_slice(&text));
    params->bytes.has_failed |= text.has_failed;
    buf_finish(&text);
    return statement(STATEMENT_EXCHANGE_COPY, copy_sql);
}

struct pgio_statement exchange_apply(struct pgparams *params, const struct exchange_piece *piece)
{
    bool is_metadata = piece->range_id == 0;

    pgparams_int4(params, is_metadata ? 0 : (int32_t) piece->needs_origin);
    pgparams_int8(params, is_metadata ? 0 : piece->needs_lsn);
    pgparams_int8(params, piece->range_id);
    pgparams_int8(params, piece->sender_epoch);
    put_entries(params, piece);
    put_claims(params, piece);
    if (piece->source != 0)
        return copy(params, piece);
    if (!is_metadata)
        return statement(STATEMENT_EXCHANGE_APPLY, apply_sql);
    put_containers(params, piece);
    return statement(STATEMENT_EXCHANGE_APPLY_METADATA, apply_metadata_sql);
}

void exchange_read_applied(const struct pgio_result *result, struct exchange_applied *applied)
{
    static const char *const names[] = {
        [EXCHANGE_APPLIED] = "applied",   [EXCHANGE_WAITS] = "waits",
        [EXCHANGE_METADATA] = "metadata", [EXCHANGE_DROPPED] = "dropped",
        [EXCHANGE_EPOCH] = "epoch",       [EXCHANGE_STATE] = "state",
        [EXCHANGE_OWN] = "own",           [EXCHANGE_AGAIN] = "again"};
    struct slice status = pgio_value(result, 0, 0);
    unsigned i = 0;

    while (i < ARRAY_LEN(names) && !slice_equals_text(status, names[i]))
        i++;
    assert(i < ARRAY_LEN(names));
    *applied = (struct exchange_applied){.status = (enum exchange_status) i,
                                         .applied = (unsigned) pgio_int4(result, 0, 1),
                                         .taken = (unsigned) pgio_int4(result, 0, 2),
                                         .vector = pgio_value(result, 0, 3)};
}

struct pgio_statement exchange_learn(struct pgparams *params, const struct stream_part *parts,
                                     unsigned count)
{
    pgparams_array_begin(params, PG_INT8_ARRAY);
    for (unsigned i = 0; i < count; i++)
        pgparams_add_int8(params, parts[i].range_id);
    pgparams_array_end(params);
    pgparams_array_begin(params, PG_TEXT_ARRAY);
    for (unsigned i = 0; i < count; i++)
        add_stream_vector(params, parts[i].committed);
    pgparams_array_end(params);
    return statement(STATEMENT_EXCHANGE_LEARN, learn_sql);
}

struct pgio_statement exchange_vectors(void)
{
    return statement(STATEMENT_EXCHANGE_VECTORS, vectors_sql);
}

struct pgio_statement exchange_definition(struct pgparams *params, uint32_t container)
{
    pgparams_int8(params, container);
    return statement(STATEMENT_EXCHANGE_DEFINITION, definition_sql);
}

struct pgio_statement claim_take(struct pgparams *params, const char *what, int64_t holder,
                                 int32_t for_ms)
{
    pgparams_text(params, slice_from_text(what));
    pgparams_int8(params, holder);
    pgparams_int4(params, for_ms);
    return point(STATEMENT_CLAIM_TAKE, "select orrery.claim_take($1, $2, $3)");
}

struct pgio_statement claim_drop(struct pgparams *params, const char *what, int64_t holder)
{
    pgparams_text(params, slice_from_text(what));
    pgparams_int8(params, holder);
    return statement(STATEMENT_CLAIM_DROP, "select orrery.claim_drop($1, $2)");
}
