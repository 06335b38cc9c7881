/*
 * What this region's PostgreSQL holds because there are other regions: conflicts that nobody has
 * resolved, and logs. Looked up every few seconds, so that whoever asks for /metrics waits for
 * nothing; told by replica/status.h.
 */
#ifndef ORRERY_REPLICA_CENSUS_H
#define ORRERY_REPLICA_CENSUS_H

#include "replica/replica.h"

struct census {
    struct replica *replica;
    struct loop_timer timer;
    struct op op;
    bool is_running, is_stopping;
};

void census_start(struct census *census, struct replica *replica);
void census_stop(struct census *census);
void census_finish(struct census *census);

#endif
