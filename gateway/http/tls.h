/*
 * The certificate that HTTPS shows, and what clients may trust to believe it.
 *
 * Without files of the user's own, a certificate authority is made once and kept in a directory,
 * and signs a certificate for the names this gateway is reached by. The authority stays, so that it
 * is imported into a trust store once; the certificate is made again when the names change or it
 * nears its end. Files:
 *
 *   ca.pem      the authority's certificate, for everybody
 *   ca.key      its key, mode 0600
 *   server.pem  certificate, authority and key in one file, mode 0600: never a key without its
 * certificate lock        held while any of them is looked at, so that two gateways may start at
 * once
 *
 * All keys are P-256: small, quick to sign with, and known to every client.
 */
#ifndef ORRERY_HTTP_TLS_H
#define ORRERY_HTTP_TLS_H

#include "base/compiler.h"
#include "base/config.h"
#include "base/fault.h"

struct tls {
    char *certificate_pem; /* chain, the server's own first */
    char *key_pem;         /* PKCS #8, not encrypted */
    char *authority_pem;   /* what to trust: our authority, or the last certificate of the user's
                              chain */
};

/*
 * Find or make it.
 *
 * config  cert_dir, cert_file, cert_key_file, cert_secret, sans, listen_address
 * tls     to be ended with tls_finish; filled only when true is returned
 * fault   500 naming the file: unreadable, malformed, a key that is not the certificate's, a
 * directory that cannot be written
 */
bool tls_prepare(struct tls *tls, const struct config *config, struct fault *fault) MUST_CHECK;

/*
 * Look at files with which others are asked, so that a wrong one is told at the start: authorities,
 * and a certificate to show with its key, all in PEM. NULL: none; the key may be in cert_file.
 *
 * fault  500 naming the file: unreadable, malformed, a key that is not the certificate's
 */
bool tls_check_asking(const char *ca_file, const char *cert_file, const char *key_file,
                      struct fault *fault) MUST_CHECK;

/* Zeroed memory is accepted. */
void tls_finish(struct tls *tls);

#endif
