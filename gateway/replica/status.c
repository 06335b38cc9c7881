#include "replica/status.h"

#include <pthread.h>

#include <stdatomic.h>

#include "base/banned.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards the rest */
static struct replica_status published;
static struct replica_census counted;
static struct strong_set strong;

void replica_status_publish(const struct replica_status *status)
{
    pthread_mutex_lock(&lock);
    published = *status;
    pthread_mutex_unlock(&lock);
}

void replica_status_read(struct replica_status *status)
{
    pthread_mutex_lock(&lock);
    *status = published;
    pthread_mutex_unlock(&lock);
}

void replica_census_publish(const struct replica_census *census)
{
    pthread_mutex_lock(&lock);
    counted = *census;
    pthread_mutex_unlock(&lock);
}

void replica_census_read(struct replica_census *census)
{
    pthread_mutex_lock(&lock);
    *census = counted;
    pthread_mutex_unlock(&lock);
}

void replica_set_publish(const struct strong_set *set)
{
    pthread_mutex_lock(&lock);
    strong = *set;
    pthread_mutex_unlock(&lock);
}

void replica_set_read(struct strong_set *set)
{
    pthread_mutex_lock(&lock);
    *set = strong;
    pthread_mutex_unlock(&lock);
}

static _Atomic int64_t resolved_total[2];

void replica_status_resolved(bool is_merged, int64_t entries)
{
    atomic_fetch_add(&resolved_total[is_merged], entries);
}

int64_t replica_status_resolved_total(bool is_merged)
{
    return atomic_load(&resolved_total[is_merged]);
}
