#include "replica/status.h"

#include <pthread.h>

#include "base/banned.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards published */
static struct replica_status published;

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
