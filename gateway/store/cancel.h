/*
 * Statements of the query pool that nobody waits for any more are cancelled.
 *
 * A suspended request is not watched by the server, so while statements run they are looked at now
 * and then: has the client closed its connection, was the op answered because its time was over?
 * Then PostgreSQL is told, by pg_cancel_backend on a connection for point reads. (Rejected:
 * PQcancel blocks, and libpq does not give away the key with which to send the request by hand.)
 *
 * A cancellation must not hit another statement. It names the backend by its process and by when it
 * began; and from before it is sent until it is known to be done, the connection is held: it gets
 * no other statement, whether the one that was meant ends earlier or not. When nobody can tell
 * whether it is done, the connection is given up. Statements that change something run to their
 * end.
 */
#ifndef ORRERY_STORE_CANCEL_H
#define ORRERY_STORE_CANCEL_H

#include "loop/pgio.h"

struct store;
struct store_run;

/* How often running statements are looked at. */
#define CANCEL_LOOK_MS 200

/* One for each connection of the query pool; under way while the connection is held. */
struct store_cancel {
    struct pgio_call call;
    struct store *store;
    struct pgio *target;
};

void store_cancel_init(struct store *store);
void store_cancel_finish(struct store *store);

/* A statement is about to be sent on a connection; its result has come, or it was not sent. */
void store_cancel_begin(struct store *store, struct store_run *run, struct pgio *io);
void store_cancel_end(struct store_run *run);

#endif
