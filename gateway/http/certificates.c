#include "http/certificates.h"

#include <gnutls/gnutls.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/banned.h"

struct published {
    struct tls tls;
    gnutls_certificate_credentials_t credentials;
    struct published *older;
};

static _Atomic(struct published *) current;

static void discard(struct published *published)
{
    if (published->credentials != NULL)
        gnutls_certificate_free_credentials(published->credentials);
    tls_finish(&published->tls);
    free(published);
}

static bool make_credentials(struct published *fresh, struct fault *fault)
{
    const gnutls_datum_t certificate = {(unsigned char *) fresh->tls.certificate_pem,
                                        (unsigned) strlen(fresh->tls.certificate_pem)};
    const gnutls_datum_t key = {(unsigned char *) fresh->tls.key_pem,
                                (unsigned) strlen(fresh->tls.key_pem)};
    int error = gnutls_certificate_allocate_credentials(&fresh->credentials);

    if (error >= 0)
        error = gnutls_certificate_set_x509_key_mem(fresh->credentials, &certificate, &key,
                                                    GNUTLS_X509_FMT_PEM);
    return error >= 0 || fault_set(fault, 500, SUB_NONE, "the certificate cannot be used: %s",
                                   gnutls_strerror(error));
}

bool certificates_reload(const struct config *config, struct fault *fault)
{
    struct published *fresh = calloc(1, sizeof(*fresh));

    if (fresh == NULL)
        return fault_set_oom(fault);
    if (!tls_prepare(&fresh->tls, config, fault) || !make_credentials(fresh, fault)) {
        discard(fresh);
        return false;
    }
    fresh->older = atomic_load(&current);
    atomic_store(&current, fresh);
    return true;
}

void certificates_finish(void)
{
    struct published *published = atomic_exchange(&current, NULL);

    while (published != NULL) {
        struct published *older = published->older;
        discard(published);
        published = older;
    }
}

const struct tls *certificates_current(void)
{
    const struct published *published = atomic_load(&current);

    return published != NULL ? &published->tls : NULL;
}

void certificates_use(void *session)
{
    /* For want of memory the session shows the certificate of the start. */
    (void) gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE,
                                  atomic_load(&current)->credentials);
}
