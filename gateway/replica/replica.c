#include "replica/replica.h"

#include "replica/puller.h"

#include <stdlib.h>

#include "base/banned.h"

bool replica_start(struct replica *replica, const struct config *config, struct loop *loop,
                   struct store *store, struct peers *peers)
{
    *replica = (struct replica){.config = config, .loop = loop, .store = store, .peers = peers};
    replica->puller = calloc(1, sizeof(*replica->puller));
    return replica->puller != NULL && puller_start(replica->puller, replica);
}

void replica_stop(struct replica *replica)
{
    if (replica->puller != NULL)
        puller_stop(replica->puller);
}

void replica_finish(struct replica *replica)
{
    if (replica->puller == NULL)
        return;
    puller_finish(replica->puller);
    free(replica->puller);
    replica->puller = NULL;
}
