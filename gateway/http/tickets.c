#include "http/tickets.h"

#include <gnutls/gnutls.h>

#include "base/banned.h"

static gnutls_datum_t ticket_key;

bool tickets_init(void)
{
    return gnutls_session_ticket_key_generate(&ticket_key) == GNUTLS_E_SUCCESS;
}

void tickets_finish(void)
{
    gnutls_memset(ticket_key.data, 0, ticket_key.size);
    gnutls_free(ticket_key.data);
    ticket_key = (gnutls_datum_t){0};
}

void tickets_enable(void *session)
{
    /* A session that cannot resume still works. */
    (void) gnutls_session_ticket_enable_server(session, &ticket_key);
}
