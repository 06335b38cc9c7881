#include "store/metadata.h"

#include "base/clock.h"
#include "model/rid.h"
#include "store/progress.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/banned.h"

enum metadata_statement {
    STATEMENT_FIND = STATEMENT_OTHER,
    STATEMENT_FIND_OFFER,
    STATEMENT_LIST,
    STATEMENT_LIST_OFFERS,
    STATEMENT_NUMBER_TAKE,
    STATEMENT_CONTAINER_CREATE,
    STATEMENT_CONTAINER_REPLACE,
    STATEMENT_DROP,
    STATEMENT_FIND_RANGES,
    STATEMENT_MEASURE,
    STATEMENT_PROGRESS,
    STATEMENT_METADATA_END /* feeds.c goes on from here */
};

/* Columns of most statements. level: place in the path, or LEVEL_CHILD. */
enum { ROW_LEVEL, ROW_NUMBER, ROW_ID, ROW_ETAG, ROW_TS, ROW_BODY };
enum { LEVEL_CHILD = 4 };

#define COLUMNS "i.rid, i.id, i.etag, i.ts, i.body"

/* One step down a path: by name, else by number. */
#define STEP(pk, name, number)                                                          \
    "(select x.* from ("                                                                \
    "select 0 as rank, " COLUMNS " from orrery.items_0 i"                               \
    " where i.range_id = 0 and i.pk = " pk " and i.id = " name " and not i.deleted"     \
    " union all "                                                                       \
    "select 1, " COLUMNS " from orrery.items_0 i"                                       \
    " where i.range_id = 0 and i.rid = " number " and i.pk = " pk " and not i.deleted " \
    "order by rank limit 1) x)"

#define BELOW(kind) "convert_to(" kind " || '/' || p.rid, 'UTF8')"

/* $1 name, $2 number; $3 kind, $4 name, $5 number; $6, $7, $8. Absent: NULL. */
#define PATH                                                                        \
    "with one as " STEP(                                                            \
        "'\\x646273'", "$1",                                                        \
        "$2") ", "                                                                  \
              "two as (select x.* from one p cross join lateral " STEP(             \
                  BELOW("$3"), "$4",                                                \
                  "$5") " x), "                                                     \
                        "three as (select x.* from two p cross join lateral " STEP( \
                            BELOW("$6"), "$7", "$8") " x) "

#define FOUND                                                           \
    "select 1 as level, p.rid, p.id, p.etag, p.ts, p.body from one p"   \
    " union all select 2, p.rid, p.id, p.etag, p.ts, p.body from two p" \
    " union all select 3, p.rid, p.id, p.etag, p.ts, p.body from three p"

static const char find_sql[] = PATH FOUND " order by level";

/*
 * $9 kind of the children, $10 depth of their parent, $11 after, $12 limit, $13 bytes. Definitions
 * may be large: what is answered ends with the first one that passes that many bytes.
 */
static const char list_sql[] = PATH
    ", listed as (select " COLUMNS " from (select convert_to(case $10"
    " when 0 then $9"
    " when 1 then $9 || '/' || (select rid from one)"
    " else $9 || '/' || (select rid from two) end, 'UTF8')) k(pk)"
    " join orrery.items_0 i on i.range_id = 0 and i.pk = k.pk and i.rid > $11 and not i.deleted"
    " order by i.rid limit $12), "
    "children as (select s.* from (select l.*, sum(octet_length(l.body)) over (order by l.rid)"
    " - octet_length(l.body) as before from listed l) s where s.before < $13) " FOUND
    " union all select 4, p.rid, p.id, p.etag, p.ts, p.body from children p order by level, rid";

/* 'offers/' to 'offers0', which is the next text. */
static const char list_offers_sql[] =
    "select 4 as level, " COLUMNS " from orrery.items_0 i"
    " where i.range_id = 0 and i.pk >= '\\x6f66666572732f' and i.pk < '\\x6f666665727330'"
    " and i.rid > $1 and not i.deleted order by i.rid limit $2";

static const char find_offer_sql[] =
    "select 1 as level, " COLUMNS " from orrery.items_0 i"
    " where i.range_id = 0 and i.pk = $1 and i.id = $2 and not i.deleted";

static const char number_take_sql[] = "select orrery.number_take($1)";

/* $1, $3, $4 and $17 to $20, range, batch number, claims and ranks of a plain write, are not used
 * here. */
static const char container_create_sql[] =
    "select * from orrery.container_create($2,null,null,$5,$6,$7,$8,$9,$10,$11,$12,$13,$14,$15,$16,"
    "$21,$22,$23,$24,$25,$26,$27,$28)";
static const char container_replace_sql[] =
    "select * from "
    "orrery.container_replace($2,null,null,$5,$6,$7,$8,$9,$10,$11,$12,$13,$14,$15,$16,"
    "$21,$22)";

static const char drop_sql[] = "select * from orrery.resource_drop(null,null,null,$1,$2,$3,$4)";

static const char find_ranges_sql[] = PATH
    "select t.level, t.rid, t.id, t.etag, t.ts, t.body,"
    " null::integer as index, null::bytea as epk_min, null::bytea as epk_max, null::bigint as lsn,"
    " null::integer as last_index from (" FOUND ") t"
    " union all select 4, null, null, null, null, null, g.index, g.epk_min, g.epk_max,"
    " (select sum(v)::bigint from unnest(g.vector) v),"
    " (select max(a.index) from orrery.ranges a where a.container = g.container)"
    " from two p join orrery.ranges g on g.container = p.rid and g.state not in ('gone', 'dropped')"
    " order by level, epk_min";
enum { RANGE_INDEX = 6, RANGE_MIN, RANGE_MAX, RANGE_LSN, RANGE_LAST_INDEX };

static const char measure_sql[] =
    "select pg_table_size(c.oid)::bigint / 1024, c.reltuples::bigint from pg_class c"
    " where c.oid = to_regclass($1)";

static struct pgio_statement statement(unsigned number, const char *sql)
{
    return (struct pgio_statement){store_statement_key(number, 0), sql};
}

const char *metadata_word(enum metadata_kind kind)
{
    static const char *const words[] = {
        [METADATA_NONE] = "",
        [METADATA_DATABASE] = "dbs",
        [METADATA_CONTAINER] = "colls",
        [METADATA_USER] = "users",
        [METADATA_PERMISSION] = "permissions",
        [METADATA_GRANT] = "grants",
        [METADATA_SPROC] = "sprocs",
        [METADATA_TRIGGER] = "triggers",
        [METADATA_UDF] = "udfs",
        [METADATA_KEY] = "clientencryptionkeys",
        [METADATA_RANGES] = "ranges",
        [METADATA_OFFER] = "offers",
    };

    return words[kind];
}

/* ---- paths ---- */

/* The number of a resource id, if this text is one of that kind; 0 is nobody's. */
static uint64_t number_of_rid(enum metadata_kind kind, struct slice text)
{
    static const enum rid_type types[] = {
        [METADATA_DATABASE] = RID_DATABASE, [METADATA_CONTAINER] = RID_CONTAINER,
        [METADATA_USER] = RID_USER,         [METADATA_PERMISSION] = RID_PERMISSION,
        [METADATA_SPROC] = RID_SPROC,       [METADATA_TRIGGER] = RID_TRIGGER,
        [METADATA_UDF] = RID_UDF,           [METADATA_KEY] = RID_CLIENT_ENCRYPTION_KEY,
    };
    struct rid rid;

    if (!rid_parse(text, &rid) || rid.type != types[kind])
        return 0;
    if (kind == METADATA_DATABASE)
        return rid.database;
    return kind == METADATA_CONTAINER || kind == METADATA_USER ? rid.owner : rid.number;
}

static void put_path(struct pgparams *params, const struct metadata_path *path)
{
    for (unsigned i = 0; i < METADATA_DEPTH_MAX; i++) {
        bool is_there = i < path->depth;
        assert(!is_there || (path->kinds[i] == METADATA_DATABASE) == (i == 0));
        if (i > 0 && is_there)
            pgparams_text(params, slice_from_text(metadata_word(path->kinds[i])));
        else if (i > 0)
            pgparams_null(params, PG_TEXT);
        if (!is_there) {
            pgparams_null(params, PG_TEXT);
            pgparams_null(params, PG_INT8);
            continue;
        }
        pgparams_text(params, path->names[i]);
        pgparams_int8(params, (int64_t) number_of_rid(path->kinds[i], path->names[i]));
    }
}

/* The number of what an offer belongs to is in its resource id, so it is found by key. */
static enum op_next find_offer(struct store *store, struct op *op, struct slice name, op_step *next)
{
    struct pgio_statement find = statement(STATEMENT_FIND_OFFER, find_offer_sql);
    struct pgparams params = {0};
    struct rid rid;

    bool is_offer = rid_parse(name, &rid) && rid.type == RID_OFFER;
    struct slice pk = metadata_pk(&op->arena, METADATA_OFFER, is_offer ? rid.number : 0);
    if (slice_is_absent(pk)) {
        fault_set_oom(&op->fault);
        return OP_FAILED;
    }
    pgparams_bytea(&params, pk);
    pgparams_text(&params, name);
    return store_query(store, op, STORE_READS, &find, &params, next);
}

enum op_next metadata_find(struct store *store, struct op *op, const struct metadata_path *path,
                           op_step *next)
{
    struct pgio_statement find = statement(STATEMENT_FIND, find_sql);
    struct pgparams params = {0};

    if (path->kinds[0] == METADATA_OFFER)
        return find_offer(store, op, path->names[0], next);
    put_path(&params, path);
    return store_query(store, op, STORE_READS, &find, &params, next);
}

static void read_row(const struct pgio_result *result, int row, struct metadata *metadata)
{
    struct slice etag = pgio_value(result, row, ROW_ETAG);

    metadata->number = (uint64_t) pgio_int8(result, row, ROW_NUMBER);
    metadata->id = pgio_value(result, row, ROW_ID);
    assert(etag.len == sizeof(metadata->etag));
    memcpy(metadata->etag, etag.ptr, sizeof(metadata->etag));
    metadata->ts = pgio_int8(result, row, ROW_TS);
    metadata->body = pgio_value(result, row, ROW_BODY);
}

static bool keep(struct arena *arena, struct slice *text)
{
    text->ptr = arena_copy(arena, text->ptr, text->len);
    return text->ptr != NULL;
}

bool metadata_found(struct op *op, const struct metadata_path *path,
                    struct metadata found[METADATA_DEPTH_MAX], unsigned *count)
{
    *count = 0;
    if (!store_check(op, STORE_READS))
        return false;
    for (int row = 0; row < pgio_row_count(op->result); row++) {
        if (pgio_int4(op->result, row, ROW_LEVEL) == LEVEL_CHILD)
            break;
        assert(*count < path->depth);
        struct metadata *metadata = &found[*count];
        metadata->kind = path->kinds[*count];
        read_row(op->result, row, metadata);
        if (!keep(&op->arena, &metadata->id) || !keep(&op->arena, &metadata->body))
            return fault_set_oom(&op->fault);
        (*count)++;
    }
    return true;
}

enum op_next metadata_list(struct store *store, struct op *op, const struct metadata_path *parent,
                           enum metadata_kind children, uint64_t after, unsigned limit,
                           op_step *next)
{
    struct pgio_statement list = statement(STATEMENT_LIST, list_sql);
    struct pgparams params = {0};

    assert(parent->depth < METADATA_DEPTH_MAX);
    put_path(&params, parent);
    pgparams_text(&params, slice_from_text(metadata_word(children)));
    pgparams_int4(&params, (int32_t) parent->depth);
    pgparams_int8(&params, (int64_t) after);
    pgparams_int8(&params, limit);
    pgparams_int8(&params, METADATA_LIST_BYTES);
    return store_query(store, op, STORE_READS, &list, &params, next);
}

void metadata_child(const struct op *op, enum metadata_kind kind, int row, struct metadata *child)
{
    assert(pgio_int4(op->result, row, ROW_LEVEL) == LEVEL_CHILD);
    child->kind = kind;
    read_row(op->result, row, child);
}

enum op_next metadata_list_offers(struct store *store, struct op *op, uint64_t after,
                                  unsigned limit, op_step *next)
{
    struct pgio_statement list = statement(STATEMENT_LIST_OFFERS, list_offers_sql);
    struct pgparams params = {0};

    pgparams_int8(&params, (int64_t) after);
    pgparams_int8(&params, limit);
    return store_query(store, op, STORE_READS, &list, &params, next);
}

/* ---- identities ---- */

enum op_next metadata_number_take(struct store *store, struct op *op, op_step *next)
{
    struct pgio_statement take = statement(STATEMENT_NUMBER_TAKE, number_take_sql);
    struct pgparams params = {0};

    pgparams_int4(&params, 1);
    /* A number that was taken and not heard of is lost, which is no harm: as harmless as a read. */
    return store_query(store, op, STORE_READS, &take, &params, next);
}

bool metadata_number(struct op *op, uint32_t *number)
{
    if (!store_check(op, STORE_READS))
        return false;
    *number = (uint32_t) pgio_int8(op->result, 0, 0);
    return true;
}

struct slice metadata_pk(struct arena *arena, enum metadata_kind kind, uint64_t parent)
{
    if (kind == METADATA_DATABASE)
        return SLICE_LITERAL("dbs");
    return slice_from_text(arena_printf(arena, "%s/%" PRIu64, metadata_word(kind), parent));
}

struct slice metadata_offer_rid(struct arena *arena, uint32_t number)
{
    struct rid rid = {.type = RID_OFFER, .number = number};
    char text[RID_TEXT_BYTES];

    rid_format(&rid, text);
    return slice_from_text(arena_copy(arena, text, strlen(text)));
}

/* ---- changes with tables ---- */

static void put_epks(struct pgparams *params, const struct epk *epks, size_t count)
{
    pgparams_array_begin(params, PG_BYTEA_ARRAY);
    for (size_t i = 0; i < count; i++)
        pgparams_add_bytes(params, epk_slice(&epks[i]));
    pgparams_array_end(params);
}

static void put_ttl(struct pgparams *params, const struct metadata_container *container)
{
    if (container->has_default_ttl)
        pgparams_int4(params, container->default_ttl);
    else
        pgparams_null(params, PG_INT4);
}

/* The query pool does not send again, so a batch number would serve nothing. */
static void put_write(struct pgparams *params, struct write *write)
{
    store_write_params(params, 0, 0, clock_items_s(), &write, 1);
}

static void put_indexes(struct pgparams *params, const struct metadata_container *container)
{
    pgparams_array_begin(params, PG_INT2_ARRAY);
    for (size_t i = 0; i < container->index_count; i++)
        pgparams_add_int2(params, (int16_t) container->indexes[i].kind);
    pgparams_array_end(params);
    pgparams_array_begin(params, PG_TEXT_ARRAY);
    for (size_t i = 0; i < container->index_count; i++)
        pgparams_add_bytes(params, container->indexes[i].spec);
    pgparams_array_end(params);
    pgparams_array_begin(params, PG_TEXT_ARRAY);
    for (size_t i = 0; i < container->index_count; i++)
        pgparams_add_bytes(params, container->indexes[i].definition);
    pgparams_array_end(params);
}

enum op_next metadata_container_create(struct store *store, struct op *op, struct write *write,
                                       const struct metadata_container *container, op_step *next)
{
    struct pgio_statement create = statement(STATEMENT_CONTAINER_CREATE, container_create_sql);
    struct pgparams params = {0};

    put_write(&params, write);
    pgparams_int8(&params, container->number);
    put_epks(&params, container->mins, container->range_count);
    put_epks(&params, container->maxs, container->range_count);
    put_ttl(&params, container);
    pgparams_bool(&params, container->has_unique_keys);
    put_indexes(&params, container);
    return store_query(store, op, STORE_CHANGES, &create, &params, next);
}

enum op_next metadata_container_replace(struct store *store, struct op *op, struct write *write,
                                        const struct metadata_container *container, op_step *next)
{
    struct pgio_statement replace = statement(STATEMENT_CONTAINER_REPLACE, container_replace_sql);
    struct pgparams params = {0};

    put_write(&params, write);
    pgparams_int8(&params, container->number);
    put_ttl(&params, container);
    return store_query(store, op, STORE_CHANGES, &replace, &params, next);
}

enum op_next metadata_drop(struct store *store, struct op *op, struct write *write, op_step *next)
{
    struct pgio_statement drop = statement(STATEMENT_DROP, drop_sql);
    const struct write_operation *operation = &write->operations[0];
    struct pgparams params = {0};

    assert(write->count == 1 && operation->kind == WRITE_DELETE);
    pgparams_int8(&params, clock_items_s());
    pgparams_bytea(&params, operation->pk);
    pgparams_text(&params, operation->id);
    if (operation->has_if_match)
        pgparams_uuid(&params, operation->if_match);
    else
        pgparams_null(&params, PG_UUID);
    return store_query(store, op, STORE_CHANGES, &drop, &params, next);
}

bool metadata_written(struct op *op, struct write *write)
{
    if (!store_check(op, STORE_CHANGES))
        return false;
    assert(pgio_row_count(op->result) == (int) write->count);
    progress_written(0);
    for (unsigned i = 0; i < write->count; i++)
        store_write_result(op->result, (int) i, write, &write->operations[i]);
    return write->operations[0].status != 403 || store_fault_read_only(&op->fault);
}

/* ---- ranges ---- */

enum op_next metadata_find_ranges(struct store *store, struct op *op,
                                  const struct metadata_path *path, op_step *next)
{
    struct pgio_statement find = statement(STATEMENT_FIND_RANGES, find_ranges_sql);
    struct pgparams params = {0};

    put_path(&params, path);
    return store_query(store, op, STORE_READS, &find, &params, next);
}

static void read_range(const struct pgio_result *result, int row, struct metadata_range *range)
{
    struct slice min = pgio_value(result, row, RANGE_MIN), max = pgio_value(result, row, RANGE_MAX);

    assert(min.len <= EPK_BYTES_MAX && max.len <= EPK_BYTES_MAX);
    range->index = (uint32_t) pgio_int4(result, row, RANGE_INDEX);
    epk_set(&range->min, min.ptr, min.len);
    epk_set(&range->max, max.ptr, max.len);
    range->lsn = pgio_int8(result, row, RANGE_LSN);
}

bool metadata_ranges(struct op *op, const struct metadata_path *path,
                     struct metadata found[METADATA_DEPTH_MAX], unsigned *found_count,
                     struct metadata_range **ranges, size_t *range_count, uint32_t *last_index)
{
    *range_count = 0;
    *last_index = 0;
    if (!metadata_found(op, path, found, found_count))
        return false;
    int rows = pgio_row_count(op->result), first = (int) *found_count;
    *ranges = arena_alloc(&op->arena, (size_t) (rows - first + 1) * sizeof(**ranges));
    if (*ranges == NULL)
        return fault_set_oom(&op->fault);
    for (int row = first; row < rows; row++) {
        read_range(op->result, row, &(*ranges)[(*range_count)++]);
        *last_index = (uint32_t) pgio_int4(op->result, row, RANGE_LAST_INDEX);
    }
    return true;
}

enum op_next metadata_ask_progress(struct store *store, struct op *op, uint32_t container,
                                   op_step *next)
{
    struct pgio_statement progress =
        statement(STATEMENT_PROGRESS, "select orrery.index_progress($1)");
    struct pgparams params = {0};

    pgparams_int8(&params, container);
    return store_query(store, op, STORE_READS, &progress, &params, next);
}

bool metadata_progress(struct op *op, int32_t *percent)
{
    *percent = 100; /* a container that has just gone has nothing left to do */
    if (!store_check(op, STORE_READS))
        return false;
    if (pgio_row_count(op->result) > 0 && !pgio_is_null(op->result, 0, 0))
        *percent = pgio_int4(op->result, 0, 0);
    return true;
}

enum op_next metadata_measure(struct store *store, struct op *op, uint32_t container, op_step *next)
{
    struct pgio_statement measure = statement(STATEMENT_MEASURE, measure_sql);
    struct pgparams params = {0};
    char table[64];

    snprintf(table, sizeof(table), "orrery.items_%" PRIu32, container);
    pgparams_text(&params, slice_from_text(table));
    return store_query(store, op, STORE_READS, &measure, &params, next);
}

bool metadata_usage(struct op *op, int64_t *size_kb, int64_t *count)
{
    *size_kb = 0;
    *count = -1;
    if (!store_check(op, STORE_READS))
        return false;
    if (pgio_row_count(op->result) > 0) {
        *size_kb = pgio_int8(op->result, 0, 0);
        *count = pgio_int8(op->result, 0, 1);
    }
    return true;
}
