#include "store/containers.h"

#include "base/hash.h"
#include "loop/pgvalue.h"
#include "model/offer.h"
#include "store/sqlstate.h"
#include "store/store.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/banned.h"

#define CONTAINER_ARENA_MAX_BYTES (8u << 20)

/* A name may look like a resource id, so the name wins. One row per range, in the order of their
 * keys. */
static const char find_sql[] =
    "select d.rid, d.id, c.rid, c.id, c.body, r.index, r.epk_min, r.epk_max, "
    "  co.body, dbo.body, x.indexes, r.epoch, coalesce(e.live, array[r.origin])::bigint[], "
    "cut.pairs "
    "from (select rid, id from orrery.items_0 where range_id = 0 and pk = 'dbs' and not deleted "
    "      and (id = $1 or rid = $2) order by (id = $1) desc limit 1) d "
    "left join lateral (select rid, id, body from orrery.items_0 where range_id = 0 "
    "      and pk = convert_to('colls/' || d.rid, 'UTF8') and not deleted and (id = $3 or rid = "
    "$4) "
    "      order by (id = $3) desc limit 1) c on true "
    "left join lateral (select body from orrery.items_0 where range_id = 0 "
    "      and pk = convert_to('offers/' || c.rid, 'UTF8') and not deleted limit 1) co on true "
    "left join lateral (select body from orrery.items_0 where range_id = 0 "
    "      and pk = convert_to('offers/' || d.rid, 'UTF8') and not deleted limit 1) dbo on true "
    /* what is on its way out comes first: what replaces it counts */
    "left join lateral (select json_agg(json_build_array(kind, spec) order by state desc)::text "
    "      as indexes from orrery.query_indexes where container = c.rid "
    "      and state in ('ready', 'unwanted')) x on true "
    "left join orrery.ranges r on r.container = c.rid and r.state in ('online', 'read-only') "
    "left join orrery.range_epochs e on e.range_id = r.range_id and e.epoch = r.epoch "
    /* of each region that was ever retired its ordinal, then its cut */
    "left join lateral (select array_agg(p.n order by u.origin, p.at) as pairs "
    "      from orrery.range_epochs o, unnest(o.cut) with ordinality u(lsn, origin), "
    "      lateral (values (1, u.origin), (2, u.lsn)) p(at, n) "
    "      where o.range_id = r.range_id and o.epoch <= r.epoch and u.lsn is not null) cut on true "
    "order by r.epk_min";

enum {
    FOUND_DB_NUMBER,
    FOUND_DB_ID,
    FOUND_NUMBER,
    FOUND_ID,
    FOUND_BODY,
    FOUND_INDEX,
    FOUND_MIN,
    FOUND_MAX,
    FOUND_OFFER,
    FOUND_DB_OFFER,
    FOUND_INDEXES,
    FOUND_EPOCH,
    FOUND_LIVE,
    FOUND_CUTS
};

/* ---- the cache ---- */

bool container_cache_init(struct container_cache *cache, size_t max)
{
    *cache = (struct container_cache){.max = max, .bucket_count = 256};
    list_init(&cache->ages);
    while (cache->bucket_count < max)
        cache->bucket_count *= 2;
    cache->buckets = calloc(cache->bucket_count, sizeof(*cache->buckets));
    return cache->buckets != NULL;
}

void container_cache_finish(struct container_cache *cache)
{
    if (cache->buckets == NULL)
        return;
    while (!list_is_empty(&cache->ages))
        container_cache_forget(cache, list_entry(cache->ages.next, struct container, age));
    free(cache->buckets);
    cache->buckets = NULL;
}

static struct container **find_slot(struct container_cache *cache, struct slice database_name,
                                    struct slice name)
{
    uint64_t hash = hash_slice(hash_slice(HASH_START, database_name), name);
    struct container **slot = &cache->buckets[hash & (cache->bucket_count - 1)];

    while (*slot != NULL && (!slice_equals((*slot)->name, name) ||
                             !slice_equals((*slot)->database_name, database_name)))
        slot = &(*slot)->chain;
    return slot;
}

struct container *container_cache_find(struct container_cache *cache, struct slice database_name,
                                       struct slice name)
{
    struct container *container = *find_slot(cache, database_name, name);

    if (container == NULL)
        return NULL;
    list_remove(&container->age);
    list_append(&cache->ages, &container->age);
    container->references++;
    return container;
}

void container_cache_forget(struct container_cache *cache, struct container *container)
{
    if (list_is_empty(&container->age))
        return; /* forgotten already */
    struct container **slot = find_slot(cache, container->database_name, container->name);
    assert(*slot == container);
    *slot = container->chain;
    list_remove(&container->age);
    cache->count--;
    container_release(container);
}

static void remember(struct container_cache *cache, struct container *container)
{
    struct container **slot = find_slot(cache, container->database_name, container->name);

    if (*slot != NULL)
        container_cache_forget(cache, *slot);
    if (cache->count >= cache->max)
        container_cache_forget(cache, list_entry(cache->ages.next, struct container, age));
    slot = find_slot(cache, container->database_name, container->name);
    container->chain = NULL;
    *slot = container;
    list_append(&cache->ages, &container->age);
    cache->count++;
    container->references++;
}

void container_release(struct container *container)
{
    if (container == NULL)
        return;
    assert(container->references > 0);
    if (--container->references > 0)
        return;
    arena_finish(&container->arena);
    free(container);
}

/* ---- loading ---- */

/* A segment may be a resource id; its number, or NULL. */
static void put_number(struct pgparams *params, struct slice segment, enum rid_type type)
{
    struct rid rid;

    if (!rid_parse(segment, &rid) || rid.type != type)
        pgparams_null(params, PG_INT8);
    else
        pgparams_int8(params, type == RID_DATABASE ? rid.database : rid.owner);
}

enum op_next container_cache_query(struct store *store, struct op *op, struct slice database_name,
                                   struct slice name, op_step *next)
{
    struct pgio_statement statement = {.key = store_statement_key(STATEMENT_FIND_CONTAINER, 0),
                                       .sql = find_sql};
    struct pgparams params = {0};

    pgparams_text(&params, database_name);
    put_number(&params, database_name, RID_DATABASE);
    pgparams_text(&params, name);
    put_number(&params, name, RID_CONTAINER);
    return store_query(store, op, STORE_READS, &statement, &params, next);
}

static bool keep(struct container *container, struct slice *kept, struct slice text)
{
    char *copy = arena_copy(&container->arena, text.ptr, text.len);

    *kept = slice_make(copy, text.len);
    return copy != NULL;
}

/* The path of names for x-ms-alt-content-path: headers are ASCII, so everything else is escaped. */
static bool keep_alt_path(struct container *container)
{
    struct slice parts[] = {SLICE_LITERAL("dbs/"), container->database_id, SLICE_LITERAL("/colls/"),
                            container->id};
    struct buf path = {0};

    for (unsigned i = 0; i < ARRAY_LEN(parts); i++) {
        for (size_t at = 0; at < parts[i].len; at++) {
            unsigned char c = (unsigned char) parts[i].ptr[at];
            if (c < 0x20 || c >= 0x7f || c == '%')
                buf_printf(&path, "%%%02X", c);
            else
                buf_append_char(&path, (char) c);
        }
    }
    bool is_kept = !path.has_failed && keep(container, &container->alt_path, buf_slice(&path));
    buf_finish(&path);
    return is_kept;
}

static bool keep_epoch(struct container *container, struct range_epoch *epoch,
                       const struct pgio_result *result, int row)
{
    int64_t numbers[2 * SESSION_ORIGINS_MAX];
    size_t count =
        pgvalue_int8_array(pgio_value(result, row, FOUND_LIVE), numbers, SESSION_ORIGINS_MAX);
    uint32_t *live = arena_alloc(&container->arena, (count + 1) * sizeof(*live));

    if (live == NULL)
        return false;
    epoch->epoch = pgio_int8(result, row, FOUND_EPOCH);
    epoch->live_count = count;
    epoch->live = live;
    for (size_t i = 0; i < count; i++)
        live[i] = (uint32_t) numbers[i];
    if (pgio_is_null(result, row, FOUND_CUTS))
        return true;
    count =
        pgvalue_int8_array(pgio_value(result, row, FOUND_CUTS), numbers, ARRAY_LEN(numbers)) / 2;
    struct session_origin *cuts = arena_alloc(&container->arena, (count + 1) * sizeof(*cuts));
    if (cuts == NULL)
        return false;
    epoch->cut_count = count;
    epoch->cuts = cuts;
    for (size_t i = 0; i < count; i++)
        cuts[i] = (struct session_origin){(uint32_t) numbers[2 * i], numbers[2 * i + 1]};
    return true;
}

static bool keep_ranges(struct container *container, const struct pgio_result *result)
{
    size_t count = (size_t) pgio_row_count(result);

    container->ranges = arena_alloc(&container->arena, count * sizeof(*container->ranges));
    container->epochs = arena_alloc(&container->arena, count * sizeof(*container->epochs));
    if (container->ranges == NULL || container->epochs == NULL)
        return false;
    container->range_count = count;
    for (size_t i = 0; i < count; i++) {
        struct slice min = pgio_value(result, (int) i, FOUND_MIN),
                     max = pgio_value(result, (int) i, FOUND_MAX);
        container->ranges[i].index = (uint32_t) pgio_int4(result, (int) i, FOUND_INDEX);
        epk_set(&container->ranges[i].min, min.ptr, min.len);
        epk_set(&container->ranges[i].max, max.ptr, max.len);
        if (!pgio_is_null(result, (int) i, FOUND_INDEX) &&
            !keep_epoch(container, &container->epochs[i], result, (int) i))
            return false;
    }
    return true;
}

/* A container has an offer of its own, or shares the database's. */
static bool keep_throughput(struct container *container, const struct pgio_result *result,
                            struct fault *fault)
{
    bool is_own = !pgio_is_null(result, 0, FOUND_OFFER);
    int column = is_own ? FOUND_OFFER : FOUND_DB_OFFER;
    struct offer offer;

    container->throughput_owner = is_own ? container->number : container->database_number;
    if (pgio_is_null(result, 0, column))
        return true; /* neither: without bounds */
    if (!offer_load(&offer, pgio_value(result, 0, column), &container->arena, fault))
        return false;
    container->throughput_ru = offer.max_ru;
    return true;
}

/* A set that is out of date costs time, and nothing else. */
static bool keep_indexes(struct container *container, const struct pgio_result *result,
                         struct fault *fault)
{
    struct slice list;

    if (pgio_is_null(result, 0, FOUND_INDEXES))
        return true;
    if (!keep(container, &list, pgio_value(result, 0, FOUND_INDEXES)))
        return fault_set_oom(fault);
    cJSON *tree = cJSON_ParseWithLength(list.ptr, list.len);
    bool is_kept = tree != NULL || fault_set_oom(fault);
    for (const cJSON *index = is_kept ? tree->child : NULL; is_kept && index != NULL;
         index = index->next) {
        const cJSON *kind = index->child, *spec = kind->next;
        char *text = arena_copy(&container->arena, spec->valuestring, strlen(spec->valuestring));
        is_kept = text != NULL
                      ? index_set_add(&container->indexes, (enum index_kind) kind->valueint,
                                      slice_from_text(text), &container->arena, fault)
                      : fault_set_oom(fault);
    }
    cJSON_Delete(tree);
    return is_kept;
}

static bool fill(struct container *container, const struct pgio_result *result,
                 struct slice database_name, struct slice name, struct fault *fault)
{
    struct slice body;

    container->database_number = (uint32_t) pgio_int8(result, 0, FOUND_DB_NUMBER);
    container->number = (uint32_t) pgio_int8(result, 0, FOUND_NUMBER);
    rid_format(&(struct rid){.type = RID_DATABASE, .database = container->database_number},
               container->database_rid);
    rid_format(&(struct rid){.type = RID_CONTAINER,
                             .database = container->database_number,
                             .owner = container->number},
               container->rid);
    if (!keep(container, &container->database_id, pgio_value(result, 0, FOUND_DB_ID)) ||
        !keep(container, &container->id, pgio_value(result, 0, FOUND_ID)) ||
        !keep(container, &container->database_name, database_name) ||
        !keep(container, &container->name, name) || !keep_alt_path(container) ||
        !keep_ranges(container, result) ||
        !keep(container, &body, pgio_value(result, 0, FOUND_BODY)))
        return fault_set_oom(fault);
    return keep_throughput(container, result, fault) &&
           container_load(&container->settings, body, &container->arena, fault) &&
           query_policies_load(&container->policies, body, &container->arena, fault) &&
           computed_load(&container->computed, body, &container->arena, fault) &&
           keep_indexes(container, result, fault);
}

struct container *container_cache_load(struct container_cache *cache, struct op *op,
                                       struct slice database_name, struct slice name)
{
    const struct pgio_result *result = op->result;

    if (!store_check(op, STORE_READS))
        return NULL;
    bool has_database = pgio_row_count(result) > 0;
    if (!has_database || pgio_is_null(result, 0, FOUND_NUMBER) ||
        pgio_is_null(result, 0, FOUND_INDEX)) {
        struct slice missing = has_database ? name : database_name;
        fault_set(&op->fault, 404, SUB_OWNER_RESOURCE_NOT_FOUND, "there is no %s \"%.*s\"",
                  has_database ? "container" : "database", FAULT_QUOTE(missing));
        return NULL;
    }
    struct container *container = calloc(1, sizeof(*container));
    if (container == NULL) {
        fault_set_oom(&op->fault);
        return NULL;
    }
    container->references = 1;
    list_init(&container->age);
    arena_init(&container->arena, CONTAINER_ARENA_MAX_BYTES);
    if (!fill(container, result, database_name, name, &op->fault)) {
        container_release(container);
        return NULL;
    }
    remember(cache, container);
    return container;
}
