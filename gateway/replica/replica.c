#include "replica/replica.h"

#include "base/banned.h"

bool replica_start(struct replica *replica, const struct config *config, struct loop *loop,
                   struct store *store, struct peers *peers)
{
    *replica = (struct replica){.config = config, .loop = loop, .store = store, .peers = peers};
    return true;
}

void replica_stop(struct replica *replica)
{
    (void) replica;
}

void replica_finish(struct replica *replica)
{
    (void) replica;
}
