/*
 * Makes and drops indexes in the background, so that each container has those that its policy
 * declares and those that queries ask for (schema/0008_query_indexes.sql says which, and in which
 * state each is).
 *
 * Making one takes as long as it takes, so it has a thread and a connection of its own, which
 * block. Everything is done concurrently: writes go on. One builder works at a time in a region,
 * under an advisory lock; when it is killed, another one finds out what became of its index.
 * Nothing depends on it but the time that queries take.
 */
#ifndef ORRERY_STORE_INDEX_BUILDER_H
#define ORRERY_STORE_INDEX_BUILDER_H

#include "base/compiler.h"
#include "loop/pgsession.h"

#include <pthread.h>
#include <stdbool.h>

struct index_builder {
    const char *url;
    pthread_t thread;
    bool is_started;
    /* shared with the thread */
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool is_stopping;
    struct pgcancel *cancel; /* of the session; NULL without one */
};

/* Begin. url is borrowed. False when the system has no thread to give. */
bool index_builder_start(struct index_builder *builder, const char *url) MUST_CHECK;

/* Cancel what is being built, and wait for the end. Zeroed memory is accepted. */
void index_builder_stop(struct index_builder *builder);

#endif
