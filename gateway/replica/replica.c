#include "replica/replica.h"

#include "replica/arbiter.h"
#include "replica/beat.h"
#include "replica/census.h"
#include "replica/failover.h"
#include "replica/puller.h"

#include <stdlib.h>

#include "base/banned.h"

bool replica_start(struct replica *replica, const struct config *config, struct loop *loop,
                   struct store *store, struct peers *peers)
{
    *replica = (struct replica){.config = config, .loop = loop, .store = store, .peers = peers};
    replica->puller = calloc(1, sizeof(*replica->puller));
    replica->beats = calloc(1, sizeof(*replica->beats));
    replica->census = calloc(1, sizeof(*replica->census));
    replica->failover = calloc(1, sizeof(*replica->failover));
    replica->arbiter = calloc(1, sizeof(*replica->arbiter));
    if (replica->puller == NULL || replica->beats == NULL || replica->census == NULL ||
        replica->failover == NULL || replica->arbiter == NULL ||
        !arbiter_start(replica->arbiter, replica))
        return false;
    beats_start(replica->beats, replica);
    census_start(replica->census, replica);
    failover_start(replica->failover, replica);
    return puller_start(replica->puller, replica);
}

void replica_stop(struct replica *replica)
{
    if (replica->puller != NULL)
        puller_stop(replica->puller);
    if (replica->beats != NULL)
        beats_stop(replica->beats);
    if (replica->census != NULL)
        census_stop(replica->census);
    if (replica->failover != NULL)
        failover_stop(replica->failover);
    if (replica->arbiter != NULL)
        arbiter_stop(replica->arbiter);
}

void replica_finish(struct replica *replica)
{
    if (replica->puller != NULL)
        puller_finish(replica->puller);
    if (replica->beats != NULL)
        beats_finish(replica->beats);
    if (replica->census != NULL)
        census_finish(replica->census);
    free(replica->puller);
    free(replica->beats);
    free(replica->census);
    replica->census = NULL;
    replica->puller = NULL;
    replica->beats = NULL;
    free(replica->failover);
    replica->failover = NULL;
    free(replica->arbiter);
    replica->arbiter = NULL;
}
