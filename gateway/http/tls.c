#include "http/tls.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/crypto.h"
#include "base/log.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <gnutls/gnutls.h>
#include <gnutls/pkcs12.h>
#include <gnutls/x509.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/banned.h"

#define DAY_S (24 * 60 * 60)
#define AUTHORITY_DAYS 3650
#define SERVER_DAYS 390 /* some clients refuse more than 398 */
#define RENEW_DAYS 30
#define FILE_BYTES_MAX ((size_t) 1 << 20)
#define CHAIN_MAX 16
#define NAMES_MAX 64
#define KEY_ID_BYTES 64

/* A certificate with its key. */
struct pair {
    gnutls_x509_crt_t crt;
    gnutls_x509_privkey_t key;
};

/* The names that the certificate is for, in order and without repetition. */
struct names {
    char texts[NAMES_MAX][256];
    size_t count;
};

void tls_finish(struct tls *tls)
{
    if (tls->key_pem != NULL)
        explicit_bzero(tls->key_pem, strlen(tls->key_pem));
    free(tls->certificate_pem);
    free(tls->key_pem);
    free(tls->authority_pem);
    memset(tls, 0, sizeof(*tls));
}

static void pair_finish(struct pair *pair)
{
    if (pair->crt != NULL)
        gnutls_x509_crt_deinit(pair->crt);
    if (pair->key != NULL)
        gnutls_x509_privkey_deinit(pair->key);
    memset(pair, 0, sizeof(*pair));
}

/* ---- files ---- */

/* The bytes, terminated, of malloc; NULL with errno (EFBIG when there are too many). */
static char *file_read(const char *path, size_t *len)
{
    FILE *file = fopen(path, "re");
    char *bytes = file != NULL ? malloc(FILE_BYTES_MAX + 1) : NULL;
    int error = errno;

    if (bytes != NULL) {
        *len = fread(bytes, 1, FILE_BYTES_MAX + 1, file);
        error = ferror(file) != 0 ? errno : *len > FILE_BYTES_MAX ? EFBIG : 0;
        if (error != 0) {
            free(bytes);
            bytes = NULL;
        } else {
            bytes[*len] = '\0';
        }
    }
    if (file != NULL)
        fclose(file);
    errno = error;
    return bytes;
}

/* Whole or not at all: written beside, flushed, renamed. */
static bool file_write(const char *path, mode_t mode, const char *text, struct fault *fault)
{
    char beside[PATH_MAX];
    size_t len = strlen(text), done = 0;

    snprintf(beside, sizeof(beside), "%s.new", path);
    unlink(beside);
    int fd = open(beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
    bool is_good = fd >= 0;
    while (is_good && done < len) {
        ssize_t n = write(fd, text + done, len - done);
        is_good = n >= 0 || errno == EINTR;
        done += n > 0 ? (size_t) n : 0;
    }
    is_good = is_good && fsync(fd) == 0;
    int error = errno;
    if (fd >= 0 && close(fd) != 0 && is_good) {
        error = errno;
        is_good = false;
    }
    if (is_good && rename(beside, path) != 0) {
        error = errno;
        is_good = false;
    }
    if (!is_good)
        unlink(beside);
    return is_good ||
           fault_set(fault, 500, SUB_NONE, "cannot write \"%s\": %s", path, strerror(error));
}

static bool make_directories(const char *path, struct fault *fault)
{
    char partial[PATH_MAX];

    if ((size_t) snprintf(partial, sizeof(partial), "%s", path) >= sizeof(partial) - 32)
        return fault_set(fault, 500, SUB_NONE, "the path \"%.80s…\" is too long", path);
    for (char *at = partial + 1;; at++) {
        bool is_end = *at == '\0';
        if (!is_end && *at != '/')
            continue;
        *at = '\0';
        if (mkdir(partial, 0755) != 0 && errno != EEXIST)
            return fault_set(fault, 500, SUB_NONE, "cannot make the directory \"%s\": %s", partial,
                             strerror(errno));
        if (is_end)
            return true;
        *at = '/';
    }
}

/* --cert-dir, or where a user's data belong. */
static bool choose_directory(const struct config *config, char directory[PATH_MAX],
                             struct fault *fault)
{
    const char *data = getenv("XDG_DATA_HOME"), *home = getenv("HOME");

    if (config->cert_dir != NULL)
        snprintf(directory, PATH_MAX, "%s", config->cert_dir);
    else if (data != NULL && data[0] == '/')
        snprintf(directory, PATH_MAX, "%s/orrery/tls", data);
    else if (home != NULL && home[0] == '/')
        snprintf(directory, PATH_MAX, "%s/.local/share/orrery/tls", home);
    else
        return fault_set(fault, 500, SUB_NONE,
                         "no place for a certificate: give --cert-dir, or set HOME");
    return true;
}

/* ---- gnutls ---- */

static bool is_same_key(gnutls_x509_crt_t crt, gnutls_x509_privkey_t key)
{
    unsigned char a[KEY_ID_BYTES], b[KEY_ID_BYTES];
    size_t a_len = sizeof(a), b_len = sizeof(b);

    return gnutls_x509_crt_get_key_id(crt, GNUTLS_KEYID_USE_SHA256, a, &a_len) == 0 &&
           gnutls_x509_privkey_get_key_id(key, GNUTLS_KEYID_USE_SHA256, b, &b_len) == 0 &&
           a_len == b_len && memcmp(a, b, a_len) == 0;
}

/* Append what an export gave; frees it. */
static void append_datum(struct buf *buf, int status, gnutls_datum_t *datum)
{
    if (status < 0) {
        buf->has_failed = true;
        return;
    }
    buf_append(buf, datum->data, datum->size);
    explicit_bzero(datum->data, datum->size);
    gnutls_free(datum->data);
}

static void append_crt(struct buf *buf, gnutls_x509_crt_t crt)
{
    gnutls_datum_t datum;
    append_datum(buf, gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_PEM, &datum), &datum);
}

static void append_key(struct buf *buf, gnutls_x509_privkey_t key)
{
    gnutls_datum_t datum;
    append_datum(buf,
                 gnutls_x509_privkey_export2_pkcs8(key, GNUTLS_X509_FMT_PEM, NULL,
                                                   GNUTLS_PKCS_PLAIN, &datum),
                 &datum);
}

/* A text of malloc; NULL when an append failed. */
static char *take_text(struct buf *buf)
{
    size_t len;

    buf_append_char(buf, '\0');
    char *text = buf_take(buf, &len);
    buf_finish(buf);
    return text;
}

static bool fill(struct tls *tls, const gnutls_x509_crt_t *chain, unsigned count,
                 gnutls_x509_privkey_t key, struct fault *fault)
{
    struct buf certificates = {0}, key_text = {0}, authority = {0};

    for (unsigned i = 0; i < count; i++)
        append_crt(&certificates, chain[i]);
    append_crt(&authority, chain[count - 1]);
    append_key(&key_text, key);
    *tls = (struct tls){take_text(&certificates), take_text(&key_text), take_text(&authority)};
    if (tls->certificate_pem != NULL && tls->key_pem != NULL && tls->authority_pem != NULL)
        return true;
    tls_finish(tls);
    return fault_set_oom(fault);
}

/* ---- the user's own certificate ---- */

static bool refuse_file(struct fault *fault, const char *path, int error)
{
    return fault_set(fault, 500, SUB_NONE, "certificate \"%s\": %s", path, gnutls_strerror(error));
}

static bool read_pem(struct tls *tls, const struct config *config, char *bytes, size_t len,
                     struct fault *fault)
{
    gnutls_datum_t text = {(unsigned char *) bytes, (unsigned) len};
    gnutls_x509_crt_t chain[CHAIN_MAX];
    gnutls_x509_privkey_t key = NULL;
    const char *key_path =
        config->cert_key_file != NULL ? config->cert_key_file : config->cert_file;
    unsigned count = CHAIN_MAX;
    bool is_good = false;

    int error = gnutls_x509_crt_list_import(chain, &count, &text, GNUTLS_X509_FMT_PEM,
                                            GNUTLS_X509_CRT_LIST_IMPORT_FAIL_IF_EXCEED);
    if (error < 0)
        return refuse_file(fault, config->cert_file, error);
    size_t key_len = len;
    char *key_bytes = config->cert_key_file != NULL ? file_read(key_path, &key_len) : bytes;
    if (key_bytes == NULL) {
        fault_set(fault, 500, SUB_NONE, "cannot read \"%s\": %s", key_path, strerror(errno));
        goto done;
    }
    text = (gnutls_datum_t){(unsigned char *) key_bytes, (unsigned) key_len};
    error = gnutls_x509_privkey_init(&key);
    if (error >= 0)
        error =
            gnutls_x509_privkey_import2(key, &text, GNUTLS_X509_FMT_PEM, config->cert_secret, 0);
    if (error < 0)
        refuse_file(fault, key_path, error);
    else if (!is_same_key(chain[0], key))
        fault_set(fault, 500, SUB_NONE,
                  "the key in \"%s\" is not that of the first certificate in \"%s\"", key_path,
                  config->cert_file);
    else
        is_good = fill(tls, chain, count, key, fault);
done:
    if (key_bytes != NULL && key_bytes != bytes) {
        explicit_bzero(key_bytes, key_len);
        free(key_bytes);
    }
    if (key != NULL)
        gnutls_x509_privkey_deinit(key);
    for (unsigned i = 0; i < count; i++)
        gnutls_x509_crt_deinit(chain[i]);
    return is_good;
}

static bool read_pkcs12(struct tls *tls, const struct config *config, char *bytes, size_t len,
                        struct fault *fault)
{
    gnutls_datum_t der = {(unsigned char *) bytes, (unsigned) len};
    const char *secret = config->cert_secret != NULL ? config->cert_secret : "";
    gnutls_pkcs12_t bag = NULL;
    gnutls_x509_privkey_t key = NULL;
    gnutls_x509_crt_t *chain = NULL;
    unsigned count = 0;
    bool is_good = false;

    int error = gnutls_pkcs12_init(&bag);
    if (error >= 0)
        error = gnutls_pkcs12_import(bag, &der, GNUTLS_X509_FMT_DER, 0);
    if (error < 0)
        fault_set(fault, 500, SUB_NONE, "certificate \"%s\" is neither PEM nor PKCS #12",
                  config->cert_file);
    else if ((error = gnutls_pkcs12_verify_mac(bag, secret)) < 0 ||
             (error = gnutls_pkcs12_simple_parse(bag, secret, &key, &chain, &count, NULL, NULL,
                                                 NULL, 0)) < 0)
        fault_set(fault, 500, SUB_NONE,
                  "certificate \"%s\": %s; is the password (cert-secret) right?", config->cert_file,
                  gnutls_strerror(error));
    else if (key == NULL || count == 0)
        fault_set(fault, 500, SUB_NONE, "certificate \"%s\" lacks a certificate or its key",
                  config->cert_file);
    else
        is_good = fill(tls, chain, count, key, fault);
    for (unsigned i = 0; i < count; i++)
        gnutls_x509_crt_deinit(chain[i]);
    gnutls_free(chain);
    if (key != NULL)
        gnutls_x509_privkey_deinit(key);
    if (bag != NULL)
        gnutls_pkcs12_deinit(bag);
    return is_good;
}

static bool read_own(struct tls *tls, const struct config *config, struct fault *fault)
{
    size_t len;
    char *bytes = file_read(config->cert_file, &len);

    if (bytes == NULL)
        return fault_set(fault, 500, SUB_NONE, "cannot read \"%s\": %s", config->cert_file,
                         strerror(errno));
    bool is_good = strstr(bytes, "-----BEGIN ") != NULL
                       ? read_pem(tls, config, bytes, len, fault)
                       : read_pkcs12(tls, config, bytes, len, fault);
    explicit_bzero(bytes, len);
    free(bytes);
    return is_good;
}

/* ---- what others are asked with ---- */

bool tls_check_asking(const char *ca_file, const char *cert_file, const char *key_file,
                      struct fault *fault)
{
    const char *files[] = {ca_file, cert_file, key_file != NULL ? key_file : cert_file};
    gnutls_certificate_credentials_t credentials;
    int error = 0;

    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        if (files[i] != NULL && access(files[i], R_OK) != 0)
            return fault_set(fault, 500, SUB_NONE, "cannot read \"%s\": %s", files[i],
                             strerror(errno));
    }
    if (gnutls_certificate_allocate_credentials(&credentials) < 0)
        return fault_set_oom(fault);
    if (ca_file != NULL)
        error = gnutls_certificate_set_x509_trust_file(credentials, ca_file, GNUTLS_X509_FMT_PEM);
    if (ca_file != NULL && error == 0) /* how many */
        error = GNUTLS_E_NO_CERTIFICATE_FOUND;
    if (error < 0)
        refuse_file(fault, ca_file, error);
    else if (cert_file != NULL && (error = gnutls_certificate_set_x509_key_file(
                                       credentials, cert_file, files[2], GNUTLS_X509_FMT_PEM)) < 0)
        fault_set(fault, 500, SUB_NONE, "certificate \"%s\" with the key in \"%s\": %s", cert_file,
                  files[2], gnutls_strerror(error));
    gnutls_certificate_free_credentials(credentials);
    return error >= 0;
}

/* ---- names ---- */

static void names_add(struct names *names, struct slice name)
{
    size_t at = 0;

    if (name.len == 0 || name.len >= sizeof(names->texts[0]) || names->count == NAMES_MAX)
        return;
    while (at < names->count && !slice_equals_text(name, names->texts[at]))
        at++;
    if (at < names->count)
        return;
    memcpy(names->texts[at], name.ptr, name.len);
    names->texts[at][name.len] = '\0';
    names->count++;
}

static int names_compare(const void *a, const void *b)
{
    return strcmp(a, b);
}

static void names_collect(struct names *names, const struct config *config)
{
    struct slice rest = slice_from_text(config->sans);
    char host[256] = "";

    memset(names, 0, sizeof(*names));
    names_add(names, SLICE_LITERAL("localhost"));
    names_add(names, SLICE_LITERAL("127.0.0.1"));
    names_add(names, SLICE_LITERAL("::1"));
    if (strcmp(config->listen_address, "0.0.0.0") != 0 && strcmp(config->listen_address, "::") != 0)
        names_add(names, slice_from_text(config->listen_address));
    if (gethostname(host, sizeof(host) - 1) == 0)
        names_add(names, slice_from_text(host));
    while (!slice_is_absent(rest))
        names_add(names, slice_trim(slice_cut(rest, ',', &rest)));
    qsort(names->texts, names->count, sizeof(names->texts[0]), names_compare);
}

/* The bytes of an IP address: 4, 16, or 0 when the text is a host name. */
static unsigned name_address(const char *name, unsigned char address[16])
{
    return inet_pton(AF_INET, name, address) == 1    ? 4
           : inet_pton(AF_INET6, name, address) == 1 ? 16
                                                     : 0;
}

static int names_write(const struct names *names, gnutls_x509_crt_t crt)
{
    int error = 0;

    for (size_t i = 0; i < names->count && error >= 0; i++) {
        unsigned char address[16];
        unsigned address_len = name_address(names->texts[i], address);
        error = address_len > 0
                    ? gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_IPADDRESS, address,
                                                           address_len, GNUTLS_FSAN_APPEND)
                    : gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_DNSNAME, names->texts[i],
                                                           (unsigned) strlen(names->texts[i]),
                                                           GNUTLS_FSAN_APPEND);
    }
    return error;
}

/* Does the certificate have exactly these names, in this order? That is how it was written. */
static bool names_match(const struct names *names, gnutls_x509_crt_t crt)
{
    char found[256];
    unsigned char address[16];

    for (unsigned i = 0; i < names->count; i++) {
        size_t len = sizeof(found);
        unsigned address_len = name_address(names->texts[i], address);
        int type = gnutls_x509_crt_get_subject_alt_name(crt, i, found, &len, NULL);
        const void *expected = address_len > 0 ? (const void *) address : names->texts[i];
        size_t expected_len = address_len > 0 ? address_len : strlen(names->texts[i]);
        if (type != (address_len > 0 ? GNUTLS_SAN_IPADDRESS : GNUTLS_SAN_DNSNAME) ||
            len != expected_len || memcmp(found, expected, len) != 0)
            return false;
    }
    size_t len = sizeof(found);
    return gnutls_x509_crt_get_subject_alt_name(crt, (unsigned) names->count, found, &len, NULL) ==
           GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE;
}

/* ---- our own certificates ---- */

static int make_key(struct pair *pair)
{
    int error = gnutls_x509_privkey_init(&pair->key);
    return error < 0
               ? error
               : gnutls_x509_privkey_generate(pair->key, GNUTLS_PK_ECDSA,
                                              GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0);
}

/* What both kinds have: version, serial, times, subject, key and its id. */
static int begin_crt(struct pair *pair, const char *common_name, time_t expires)
{
    unsigned char serial[16], id[KEY_ID_BYTES];
    size_t id_len = sizeof(id);
    int error = gnutls_x509_crt_init(&pair->crt);

    if (error < 0)
        return error;
    crypto_random(serial, sizeof(serial));
    serial[0] = (unsigned char) ((serial[0] & 0x7f) | 0x40); /* positive, and not shortened */
    if ((error = gnutls_x509_crt_set_version(pair->crt, 3)) < 0 ||
        (error = gnutls_x509_crt_set_serial(pair->crt, serial, sizeof(serial))) < 0 ||
        (error = gnutls_x509_crt_set_activation_time(pair->crt, (time_t) clock_unix_s() - DAY_S)) <
            0 ||
        (error = gnutls_x509_crt_set_expiration_time(pair->crt, expires)) < 0 ||
        (error = gnutls_x509_crt_set_dn_by_oid(pair->crt, GNUTLS_OID_X520_ORGANIZATION_NAME, 0,
                                               "Orrery", 6)) < 0 ||
        (error = gnutls_x509_crt_set_dn_by_oid(pair->crt, GNUTLS_OID_X520_COMMON_NAME, 0,
                                               common_name, (unsigned) strlen(common_name))) < 0 ||
        (error = gnutls_x509_crt_set_key(pair->crt, pair->key)) < 0 ||
        (error = gnutls_x509_crt_get_key_id(pair->crt, 0, id, &id_len)) < 0 ||
        (error = gnutls_x509_crt_set_subject_key_id(pair->crt, id, id_len)) < 0)
        return error;
    return 0;
}

static int make_authority_crt(struct pair *authority)
{
    char name[64 + 1];
    char host[40] = "";

    (void) gethostname(host,
                       sizeof(host) - 1); /* so that two machines' authorities can be told apart */
    snprintf(name, sizeof(name), "Orrery authority %.39s", host);
    int error =
        begin_crt(authority, name, (time_t) clock_unix_s() + (time_t) AUTHORITY_DAYS * DAY_S);
    if (error < 0 || (error = gnutls_x509_crt_set_basic_constraints(authority->crt, 1, 0)) < 0 ||
        (error = gnutls_x509_crt_set_key_usage(authority->crt, GNUTLS_KEY_KEY_CERT_SIGN |
                                                                   GNUTLS_KEY_CRL_SIGN)) < 0 ||
        (error = gnutls_x509_crt_sign2(authority->crt, authority->crt, authority->key,
                                       GNUTLS_DIG_SHA256, 0)) < 0)
        return error;
    return 0;
}

static int make_server(struct pair *server, const struct pair *authority, const struct names *names)
{
    time_t expires = (time_t) clock_unix_s() + (time_t) SERVER_DAYS * DAY_S;
    time_t authority_expires = gnutls_x509_crt_get_expiration_time(authority->crt);
    unsigned char id[KEY_ID_BYTES];
    size_t id_len = sizeof(id);
    int error = make_key(server);

    if (expires > authority_expires)
        expires = authority_expires;
    if (error < 0 || (error = begin_crt(server, "localhost", expires)) < 0 ||
        (error = gnutls_x509_crt_set_basic_constraints(server->crt, 0, -1)) < 0 ||
        (error = gnutls_x509_crt_set_key_usage(server->crt, GNUTLS_KEY_DIGITAL_SIGNATURE)) < 0 ||
        (error = gnutls_x509_crt_set_key_purpose_oid(server->crt, GNUTLS_KP_TLS_WWW_SERVER, 0)) <
            0 ||
        (error = names_write(names, server->crt)) < 0 ||
        (error = gnutls_x509_crt_get_subject_key_id(authority->crt, id, &id_len, NULL)) < 0 ||
        (error = gnutls_x509_crt_set_authority_key_id(server->crt, id, id_len)) < 0 ||
        (error = gnutls_x509_crt_sign2(server->crt, authority->crt, authority->key,
                                       GNUTLS_DIG_SHA256, 0)) < 0)
        return error;
    return 0;
}

static bool ends_soon(gnutls_x509_crt_t crt)
{
    return gnutls_x509_crt_get_expiration_time(crt) <
           (time_t) clock_unix_s() + (time_t) RENEW_DAYS * DAY_S;
}

/* Certificate or key of a PEM file. False with errno ENOENT when there is no file, else with a
 * fault. */
static bool pair_read(struct pair *pair, const char *path, bool is_key, struct fault *fault)
{
    size_t len;
    char *bytes = file_read(path, &len);
    int error;

    if (bytes == NULL)
        return errno == ENOENT ? false
                               : fault_set(fault, 500, SUB_NONE, "cannot read \"%s\": %s", path,
                                           strerror(errno));
    gnutls_datum_t text = {(unsigned char *) bytes, (unsigned) len};
    if (is_key) {
        error = gnutls_x509_privkey_init(&pair->key);
        if (error >= 0)
            error = gnutls_x509_privkey_import2(pair->key, &text, GNUTLS_X509_FMT_PEM, NULL, 0);
    } else {
        error = gnutls_x509_crt_init(&pair->crt);
        if (error >= 0)
            error = gnutls_x509_crt_import(pair->crt, &text, GNUTLS_X509_FMT_PEM);
    }
    explicit_bzero(bytes, len);
    free(bytes);
    errno = 0;
    return error >= 0 || refuse_file(fault, path, error);
}

static bool make_authority(struct pair *authority, const char *crt_path, const char *key_path,
                           struct fault *fault)
{
    struct buf crt_text = {0}, key_text = {0};
    bool is_done = false;
    int error = 0;

    /* The key first: left without its certificate by a crash, it gets one at the next start. */
    if (authority->key == NULL) {
        error = make_key(authority);
        if (error >= 0)
            append_key(&key_text, authority->key);
        if (error >= 0 && buf_text(&key_text) != NULL &&
            !file_write(key_path, 0600, key_text.ptr, fault))
            goto done;
    }
    if (error >= 0)
        error = make_authority_crt(authority);
    if (error >= 0)
        append_crt(&crt_text, authority->crt);
    if (error < 0)
        fault_set(fault, 500, SUB_NONE, "cannot make a certificate authority: %s",
                  gnutls_strerror(error));
    else if (key_text.has_failed || buf_text(&crt_text) == NULL)
        fault_set_oom(fault);
    else
        is_done = file_write(crt_path, 0644, crt_text.ptr, fault);
    if (is_done)
        log_info(NULL, "certificate authority made", "file=%s", crt_path);
done:
    if (key_text.ptr != NULL)
        explicit_bzero(key_text.ptr, key_text.len);
    buf_finish(&key_text);
    buf_finish(&crt_text);
    return is_done;
}

static bool find_authority(struct pair *authority, const char *directory, struct fault *fault)
{
    char crt_path[PATH_MAX], key_path[PATH_MAX];
    struct fault why = {0};

    snprintf(crt_path, sizeof(crt_path), "%.4000s/ca.pem", directory);
    snprintf(key_path, sizeof(key_path), "%.4000s/ca.key", directory);
    bool has_key = pair_read(authority, key_path, true, &why);
    bool has_crt = why.status == 0 && pair_read(authority, crt_path, false, &why);
    if (why.status != 0)
        return fault_set(fault, 500, SUB_NONE, "%s", why.message);
    if (has_crt && !has_key)
        return fault_set(fault, 500, SUB_NONE,
                         "\"%s\" is there without \"%s\"; remove it to have a new authority",
                         crt_path, key_path);
    if (has_crt && !is_same_key(authority->crt, authority->key))
        return fault_set(fault, 500, SUB_NONE,
                         "\"%s\" and \"%s\" do not belong together; remove both to have a new "
                         "authority",
                         crt_path, key_path);
    if (has_crt && !ends_soon(authority->crt))
        return true;
    if (has_crt) {
        log_warn(NULL, "certificate authority renewed, trust it again", "file=%s", crt_path);
        gnutls_x509_crt_deinit(authority->crt);
        authority->crt = NULL;
    }
    return make_authority(authority, crt_path, key_path, fault);
}

/* Is what the file holds still good: whole, ours, for these names, and for a while? */
static bool server_is_good(const struct pair *server, const struct pair *authority,
                           const struct names *names)
{
    unsigned problems = 0;

    return is_same_key(server->crt, server->key) && names_match(names, server->crt) &&
           !ends_soon(server->crt) &&
           gnutls_x509_crt_verify(server->crt, &authority->crt, 1, 0, &problems) == 0 &&
           problems == 0;
}

static bool find_server(struct pair *server, const struct pair *authority, const char *directory,
                        const struct names *names, struct fault *fault)
{
    char path[PATH_MAX];
    struct fault ignored = {0};
    struct buf text = {0};

    snprintf(path, sizeof(path), "%.4000s/server.pem", directory);
    if (pair_read(server, path, false, &ignored) && pair_read(server, path, true, &ignored) &&
        server_is_good(server, authority, names))
        return true;
    pair_finish(server);
    int error = make_server(server, authority, names);
    if (error < 0)
        return fault_set(fault, 500, SUB_NONE, "cannot make a certificate: %s",
                         gnutls_strerror(error));
    append_crt(&text, server->crt);
    append_crt(&text, authority->crt);
    append_key(&text, server->key);
    bool is_done =
        buf_text(&text) != NULL ? file_write(path, 0600, text.ptr, fault) : fault_set_oom(fault);
    if (text.ptr != NULL)
        explicit_bzero(text.ptr, text.len);
    buf_finish(&text);
    if (is_done)
        log_info(NULL, "certificate made", "file=%s names=%zu", path, names->count);
    return is_done;
}

static bool make_own(struct tls *tls, const char *directory, const struct names *names,
                     struct fault *fault)
{
    struct pair authority = {0}, server = {0};

    bool is_good = find_authority(&authority, directory, fault) &&
                   find_server(&server, &authority, directory, names, fault);
    if (is_good) {
        const gnutls_x509_crt_t chain[] = {server.crt, authority.crt};
        is_good = fill(tls, chain, 2, server.key, fault);
    }
    pair_finish(&server);
    pair_finish(&authority);
    return is_good;
}

bool tls_prepare(struct tls *tls, const struct config *config, struct fault *fault)
{
    char directory[PATH_MAX], lock_path[PATH_MAX];
    struct names *names;

    memset(tls, 0, sizeof(*tls));
    if (config->cert_file != NULL)
        return read_own(tls, config, fault);
    if (!choose_directory(config, directory, fault) || !make_directories(directory, fault))
        return false;
    snprintf(lock_path, sizeof(lock_path), "%.4000s/lock", directory);
    int lock = open(lock_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    /* Blocks until another gateway has made what both need: milliseconds, and before any loop runs.
     */
    if (lock < 0 || flock(lock, LOCK_EX) != 0) {
        fault_set(fault, 500, SUB_NONE, "cannot write \"%s\": %s", lock_path, strerror(errno));
        if (lock >= 0)
            close(lock);
        return false;
    }
    names = malloc(sizeof(*names));
    bool is_good = false;
    if (names != NULL) {
        names_collect(names, config);
        is_good = make_own(tls, directory, names, fault);
    } else {
        fault_set_oom(fault);
    }
    free(names);
    close(lock);
    return is_good;
}
