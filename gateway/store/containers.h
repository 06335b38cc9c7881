/*
 * Containers that a loop knows, and where they are.
 *
 * The cache is never trusted for existence: every statement on a container's data reads the state
 * of its range too, and a container that is gone is forgotten then and looked up again by name.
 * Most of what is kept here cannot change while the container exists: numbers, partition key,
 * unique keys, ranges. Throughput, indexing policy and computed properties may be out of date for a
 * few seconds.
 */
#ifndef ORRERY_STORE_CONTAINERS_H
#define ORRERY_STORE_CONTAINERS_H

#include "loop/op.h"
#include "model/container.h"
#include "model/pkrange.h"
#include "model/rid.h"
#include "model/session.h"
#include "query/computed.h"
#include "query/index_set.h"
#include "query/policies.h"

struct store;
struct pgio_result;

/* What the epoch of a range means for it, as session tokens are compared and written. */
struct range_epoch {
    int64_t epoch;
    size_t live_count;
    const uint32_t *live; /* ordinals, ascending */
    size_t cut_count;
    const struct session_origin *cuts; /* of all retired regions */
};

struct container {
    unsigned references;
    struct container *chain; /* same bucket of the cache */
    struct list age;         /* in the cache: least recently used first; alone when forgotten */
    struct arena arena;
    struct slice database_id, id;
    /* how the path named them: what the cache finds it by */
    struct slice database_name, name;
    uint32_t database_number, number;
    char database_rid[RID_TEXT_BYTES], rid[RID_TEXT_BYTES];
    struct slice alt_path; /* dbs/…/colls/…, percent-encoded where it is not ASCII, terminated */
    uint32_t throughput_owner; /* whose offer counts: its own number or the database's */
    int32_t throughput_ru;     /* units per second, autoscale's maximum; 0 without an offer */
    int64_t loaded_ms;         /* time of the loop */
    struct container_settings settings;
    /* what queries are to know */
    struct query_policies policies;
    struct computed_properties computed;
    struct index_set indexes; /* that PostgreSQL has */
    struct pkrange *ranges;
    struct range_epoch *epochs; /* of the ranges; out of date when a row says another epoch */
    size_t range_count;
};

struct container_cache {
    struct container **buckets;
    size_t bucket_count, count, max;
    struct list ages;
};

bool container_cache_init(struct container_cache *cache, size_t max) MUST_CHECK;
void container_cache_finish(struct container_cache *cache);

/* A new reference, or NULL when it is not known. */
struct container *container_cache_find(struct container_cache *cache, struct slice database_name,
                                       struct slice name);

/* Not to be found any more; those who hold references keep it alive. */
void container_cache_forget(struct container_cache *cache, struct container *container);

void container_release(struct container *container);

/* Ask PostgreSQL; the next step calls container_cache_load. */
enum op_next container_cache_query(struct store *store, struct op *op, struct slice database_name,
                                   struct slice name, op_step *next);

/*
 * Make a container of what container_cache_query brought, keep it in the cache.
 *
 * returns  a reference, or NULL and op->fault: 404 SUB_OWNER_RESOURCE_NOT_FOUND, 5xx
 */
struct container *container_cache_load(struct container_cache *cache, struct op *op,
                                       struct slice database_name, struct slice name);

#endif
