#include "store/levels.h"

#include "loop/pgvalue.h"
#include "store/progress.h"
#include "store/writes.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/banned.h"

#define BUCKETS 4096 /* power of two */
/* Who waits says so again within this time. */
#define WAITING_MS 1500

/* A vector that only grows. */
struct floor {
    unsigned len;
    int64_t *at;
};

struct level_range {
    struct level_range *chain;
    int64_t range_id;
    struct floor committed, needs;
    struct bounded_looks looks; /* at the hub's head; a satellite's through the hub's answers */
    int64_t look;               /* number of the last look that found it behind */
    int64_t head;               /* the highest that is known, of the hub */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards all of it */
static struct level_range *buckets[BUCKETS];
static struct lease_rules rules = {.lease_ms = 5000, .drift_permille = 10};
static struct promises promises;
static struct read_lease lease;
static int64_t looks, looked_ms, needed_ms; /* 0: never */
static atomic_int_fast64_t waited_ms = -WAITING_MS;
static atomic_int_fast64_t claimed_until_ms = INT64_MAX;

int64_t levels_now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_BOOTTIME, &now);
    return (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void levels_init(const struct config *config)
{
    rules = (struct lease_rules){.lease_ms = config->lease_ms,
                                 .drift_permille = (unsigned) config->clock_drift_permille};
    levels_claimed(config->etcd != NULL ? 0 : INT64_MAX);
}

void levels_finish(void)
{
    for (unsigned i = 0; i < BUCKETS; i++) {
        while (buckets[i] != NULL) {
            struct level_range *range = buckets[i];
            buckets[i] = range->chain;
            free(range->committed.at);
            free(range->needs.at);
            free(range);
        }
    }
    promises = (struct promises){0};
    lease = (struct read_lease){0};
    looks = looked_ms = needed_ms = 0;
    levels_claimed(INT64_MAX);
}

const struct lease_rules *levels_rules(void)
{
    return &rules;
}

/* ---- the arbiter ---- */

void levels_claimed(int64_t until_ms)
{
    atomic_store(&claimed_until_ms, until_ms);
}

int64_t levels_claimed_until_ms(void)
{
    return atomic_load(&claimed_until_ms);
}

bool levels_may_act(void)
{
    int64_t until_ms = levels_claimed_until_ms();

    return until_ms == INT64_MAX || levels_now_ms() < until_ms;
}

/* ---- leases ---- */

void levels_promised(unsigned ordinal, int64_t epoch, int64_t asked_ms)
{
    pthread_mutex_lock(&lock);
    promises_take(&promises, &rules, ordinal, epoch, asked_ms);
    pthread_mutex_unlock(&lock);
}

int64_t levels_horizon_ms(const struct topology *topology)
{
    pthread_mutex_lock(&lock);
    int64_t horizon_ms = promises_horizon(&promises, topology);
    pthread_mutex_unlock(&lock);
    int64_t claimed_ms = levels_claimed_until_ms();
    return claimed_ms < horizon_ms ? claimed_ms : horizon_ms;
}

int64_t levels_promise_left_ms(const struct topology *topology, unsigned ordinal)
{
    int64_t now_ms = levels_now_ms();

    pthread_mutex_lock(&lock);
    int64_t until_ms = promises_until(&promises, topology, ordinal);
    pthread_mutex_unlock(&lock);
    return until_ms > now_ms ? until_ms - now_ms : 0;
}

void levels_leased(int64_t epoch, int64_t asked_ms, int64_t granted_ms, int64_t set_version)
{
    pthread_mutex_lock(&lock);
    read_lease_take(&lease, epoch, asked_ms, granted_ms, set_version);
    pthread_mutex_unlock(&lock);
}

bool levels_may_read(const struct topology *topology, unsigned self, int64_t epoch)
{
    int64_t now_ms = levels_now_ms();

    if (topology->epoch != epoch)
        return false;
    if (topology->hub == self)
        return now_ms < levels_horizon_ms(topology);
    pthread_mutex_lock(&lock);
    bool holds = read_lease_holds(&lease, epoch, now_ms);
    pthread_mutex_unlock(&lock);
    return holds;
}

int64_t levels_lease_left_ms(void)
{
    pthread_mutex_lock(&lock);
    int64_t until_ms = lease.until_ms;
    pthread_mutex_unlock(&lock);
    return until_ms - levels_now_ms();
}

/* ---- ranges ---- */

static struct level_range *find(int64_t range_id)
{
    struct level_range *range =
        buckets[((uint64_t) range_id * 0x9e3779b97f4a7c15ULL) >> 52 & (BUCKETS - 1)];

    while (range != NULL && range->range_id != range_id)
        range = range->chain;
    return range;
}

/* NULL without memory: what is not known is not relied on. */
static struct level_range *make(int64_t range_id)
{
    struct level_range **bucket =
        &buckets[((uint64_t) range_id * 0x9e3779b97f4a7c15ULL) >> 52 & (BUCKETS - 1)];
    struct level_range *range = find(range_id);

    if (range != NULL || (range = calloc(1, sizeof(*range))) == NULL)
        return range;
    range->range_id = range_id;
    range->chain = *bucket;
    *bucket = range;
    return range;
}

static bool raise(struct floor *floor, const int64_t *vector, size_t len)
{
    bool has_grown = false;

    if (len > floor->len) {
        int64_t *more = realloc(floor->at, len * sizeof(*more));
        if (more == NULL)
            return false;
        memset(more + floor->len, 0, (len - floor->len) * sizeof(*more));
        floor->at = more;
        floor->len = (unsigned) len;
    }
    for (size_t i = 0; i < len; i++) {
        has_grown |= vector[i] > floor->at[i];
        if (vector[i] > floor->at[i])
            floor->at[i] = vector[i];
    }
    return has_grown;
}

static bool covers(const int64_t *vector, size_t len, const int64_t *other, size_t other_len)
{
    for (size_t i = 0; i < other_len; i++) {
        if (other[i] > (i < len ? vector[i] : 0))
            return false;
    }
    return true;
}

static int64_t component(const struct floor *floor, unsigned ordinal)
{
    return ordinal >= 1 && ordinal <= floor->len ? floor->at[ordinal - 1] : 0;
}

void levels_committed(int64_t range_id, const int64_t *vector, size_t len)
{
    pthread_mutex_lock(&lock);
    struct level_range *range = make(range_id);
    bool has_grown = range != NULL && raise(&range->committed, vector, len);
    pthread_mutex_unlock(&lock);
    if (has_grown)
        progress_committed(range_id);
}

void levels_take_committed(const struct pgio_result *result)
{
    int64_t vector[STORE_VECTOR_MAX];

    for (int row = 0; row < pgio_row_count(result); row++) {
        if (pgio_is_null(result, row, 0))
            continue;
        size_t len = pgvalue_int8_array(pgio_value(result, row, 1), vector, ARRAY_LEN(vector));
        levels_committed(pgio_int8(result, row, 0), vector, len);
    }
}

bool levels_is_committed(int64_t range_id, const int64_t *vector, size_t len)
{
    pthread_mutex_lock(&lock);
    const struct level_range *range = find(range_id);
    bool is_committed = covers(range != NULL ? range->committed.at : NULL,
                               range != NULL ? range->committed.len : 0, vector, len);
    pthread_mutex_unlock(&lock);
    return is_committed;
}

bool levels_has_entry(int64_t range_id, unsigned origin, int64_t lsn)
{
    pthread_mutex_lock(&lock);
    const struct level_range *range = find(range_id);
    bool is_committed = range != NULL && component(&range->committed, origin) >= lsn;
    pthread_mutex_unlock(&lock);
    return is_committed;
}

void levels_wait(void)
{
    atomic_store(&waited_ms, levels_now_ms());
}

bool levels_has_waiting(void)
{
    return levels_now_ms() - atomic_load(&waited_ms) < WAITING_MS;
}

/* ---- what the hub's answers say ---- */

void levels_forget(void)
{
    pthread_mutex_lock(&lock);
    lease = (struct read_lease){0};
    needed_ms = 0;
    for (unsigned i = 0; i < BUCKETS; i++) {
        for (struct level_range *range = buckets[i]; range != NULL; range = range->chain) {
            range->needs.len = 0;
            range->looks = (struct bounded_looks){0};
        }
    }
    pthread_mutex_unlock(&lock);
}

bool levels_need(int64_t range_id, const int64_t *committed, size_t len, int64_t head,
                 int64_t asked_ms)
{
    bool is_kept = false;

    pthread_mutex_lock(&lock);
    struct level_range *range = make(range_id);
    if (range != NULL) {
        raise(&range->needs, committed, len);
        is_kept = covers(range->needs.at, range->needs.len, committed, len);
        bounded_look(&range->looks, head, asked_ms);
    }
    pthread_mutex_unlock(&lock);
    levels_committed(range_id, committed, len);
    return is_kept;
}

void levels_needed(int64_t asked_ms)
{
    pthread_mutex_lock(&lock);
    if (asked_ms > needed_ms)
        needed_ms = asked_ms;
    pthread_mutex_unlock(&lock);
}

bool levels_has_needs(int64_t range_id, const int64_t *vector, size_t len)
{
    pthread_mutex_lock(&lock);
    const struct level_range *range = find(range_id);
    bool has = range == NULL || covers(vector, len, range->needs.at, range->needs.len);
    pthread_mutex_unlock(&lock);
    return has;
}

int64_t levels_synced_ms(int64_t range_id, int64_t hub_lsn)
{
    pthread_mutex_lock(&lock);
    const struct level_range *range = find(range_id);
    int64_t synced_ms = needed_ms != 0 ? needed_ms : INT64_MIN;
    if (range != NULL && range->looks.count > 0) /* otherwise the hub had nothing in it */
        synced_ms = bounded_synced_ms(&range->looks, hub_lsn);
    pthread_mutex_unlock(&lock);
    return synced_ms;
}

/* ---- at the hub ---- */

void levels_behind(int64_t range_id, int64_t head, int64_t committed, int64_t asked_ms)
{
    pthread_mutex_lock(&lock);
    struct level_range *range = make(range_id);
    if (range != NULL) {
        if (range->look != looks) {
            /* At the look before, all that it had was committed. */
            range->looks = (struct bounded_looks){0};
            if (looked_ms != 0)
                bounded_look(&range->looks, committed, looked_ms);
        }
        range->look = looks + 1;
        bounded_look(&range->looks, head, asked_ms);
        if (head > range->head)
            range->head = head;
    }
    pthread_mutex_unlock(&lock);
}

void levels_looked(int64_t asked_ms)
{
    pthread_mutex_lock(&lock);
    looks++;
    looked_ms = asked_ms;
    pthread_mutex_unlock(&lock);
}

void levels_wrote(int64_t range_id, int64_t lsn)
{
    pthread_mutex_lock(&lock);
    struct level_range *range = make(range_id);
    if (range != NULL && lsn > range->head)
        range->head = lsn;
    pthread_mutex_unlock(&lock);
}

struct levels_lag levels_lag(int64_t range_id, unsigned self)
{
    int64_t now_ms = levels_now_ms();
    struct levels_lag lag = {0};

    pthread_mutex_lock(&lock);
    const struct level_range *range = find(range_id);
    int64_t committed = range != NULL ? component(&range->committed, self) : 0;
    if (looked_ms == 0)
        lag.age_ms = INT64_MAX;
    else if (range != NULL && range->look == looks)
        lag.age_ms = bounded_age_ms(&range->looks, committed, now_ms);
    if (range != NULL && range->head > committed)
        lag.versions = range->head - committed;
    /* What came after the last look is younger than it; without looks nothing is known. */
    if (looked_ms != 0 && (lag.versions > 0 || now_ms - looked_ms > 2 * rules.lease_ms) &&
        lag.age_ms < now_ms - looked_ms)
        lag.age_ms = now_ms - looked_ms;
    pthread_mutex_unlock(&lock);
    return lag;
}
