#include "service/throughput.h"

#include <stdlib.h>

#include "base/banned.h"

#define SECOND_US INT64_C(1000000)
#define MICRO_RU_PER_CRU 10000
/* Longer than any client waits, and far from the end of every type here. */
#define DEBT_MAX_S 60

/* Balances are in millionths of a unit: units per second times microseconds, without rounding. */
struct throughput_bucket {
    struct throughput_bucket *chain;
    uint32_t owner;
    int32_t ru_per_s; /* as last told */
    int64_t balance_uru;
    int64_t filled_us;
};

bool throughput_init(struct throughput *table)
{
    for (unsigned i = 0; i < THROUGHPUT_CHAINS; i++)
        table->chains[i] = NULL;
    return pthread_mutex_init(&table->lock, NULL) == 0;
}

void throughput_finish(struct throughput *table)
{
    for (unsigned i = 0; i < THROUGHPUT_CHAINS; i++) {
        while (table->chains[i] != NULL) {
            struct throughput_bucket *bucket = table->chains[i];
            table->chains[i] = bucket->chain;
            free(bucket);
        }
    }
    pthread_mutex_destroy(&table->lock);
}

static struct throughput_bucket **chain_of(struct throughput *table, uint32_t owner)
{
    return &table->chains[owner * UINT32_C(2654435761) >> 22];
}

static int64_t full_uru(const struct throughput_bucket *bucket)
{
    return bucket->ru_per_s * SECOND_US;
}

static void fill(struct throughput_bucket *bucket, int64_t now_us)
{
    int64_t passed_us = now_us - bucket->filled_us;
    int64_t most_us = (DEBT_MAX_S + 1) * SECOND_US; /* from the deepest debt to full */

    if (passed_us <= 0)
        return; /* another thread was here later */
    bucket->filled_us = now_us;
    bucket->balance_uru += bucket->ru_per_s * (passed_us < most_us ? passed_us : most_us);
    if (bucket->balance_uru > full_uru(bucket))
        bucket->balance_uru = full_uru(bucket);
}

static struct throughput_bucket *find(struct throughput *table, uint32_t owner)
{
    struct throughput_bucket *bucket = *chain_of(table, owner);

    while (bucket != NULL && bucket->owner != owner)
        bucket = bucket->chain;
    return bucket;
}

/* A full bucket is as good as none: those of containers that nobody uses are dropped here. */
static void drop_full(struct throughput_bucket **slot, int64_t now_us)
{
    while (*slot != NULL) {
        struct throughput_bucket *bucket = *slot;
        fill(bucket, now_us);
        if (bucket->balance_uru < full_uru(bucket)) {
            slot = &bucket->chain;
            continue;
        }
        *slot = bucket->chain;
        free(bucket);
    }
}

static struct throughput_bucket *add(struct throughput *table, uint32_t owner, int32_t ru_per_s,
                                     int64_t now_us)
{
    struct throughput_bucket **chain = chain_of(table, owner);

    drop_full(chain, now_us);
    struct throughput_bucket *bucket = malloc(sizeof(*bucket));
    if (bucket == NULL)
        return NULL;
    *bucket = (struct throughput_bucket){
        .chain = *chain, .owner = owner, .ru_per_s = ru_per_s, .filled_us = now_us};
    bucket->balance_uru = full_uru(bucket);
    *chain = bucket;
    return bucket;
}

uint32_t throughput_wait_ms(struct throughput *table, uint32_t owner, int32_t ru_per_s,
                            int64_t now_us)
{
    int64_t wait_us = 0;

    pthread_mutex_lock(&table->lock);
    struct throughput_bucket *bucket = find(table, owner);
    if (bucket != NULL && ru_per_s > 0) {
        fill(bucket, now_us);
        bucket->ru_per_s = ru_per_s;
        if (bucket->balance_uru < 0)
            wait_us = -bucket->balance_uru / ru_per_s + 1;
    }
    pthread_mutex_unlock(&table->lock);
    return (uint32_t) ((wait_us + 999) / 1000);
}

void throughput_charge(struct throughput *table, uint32_t owner, int32_t ru_per_s,
                       int64_t charge_cru, int64_t now_us)
{
    if (ru_per_s <= 0 || charge_cru <= 0)
        return;
    pthread_mutex_lock(&table->lock);
    struct throughput_bucket *bucket = find(table, owner);
    if (bucket == NULL)
        bucket = add(table, owner, ru_per_s, now_us);
    if (bucket != NULL) {
        int64_t most_cru = ru_per_s * INT64_C(100) * DEBT_MAX_S;
        fill(bucket, now_us);
        bucket->ru_per_s = ru_per_s;
        bucket->balance_uru -= (charge_cru < most_cru ? charge_cru : most_cru) * MICRO_RU_PER_CRU;
        if (bucket->balance_uru < -full_uru(bucket) * DEBT_MAX_S)
            bucket->balance_uru = -full_uru(bucket) * DEBT_MAX_S;
    }
    pthread_mutex_unlock(&table->lock);
}
