/*
 * Settings, read once at start: defaults, then a file, then the environment, then flags; the later
 * wins.
 *
 * One table in config.c names every setting with its kind, range, help and the commands it belongs
 * to; parsing, --help and docs/configuration.md all come from it. A name that is not in the table
 * is refused wherever it stands, so that a misspelt setting cannot pass as one that works. A
 * setting of another command is refused as a flag and skipped in the file and the environment,
 * which several commands share.
 *
 *   flag         --http-port 8181, --http-port=8181; switches alone or with =yes, =no
 *   environment  ORRERY_HTTP_PORT=8181; some have an alias that users of the emulator know (PORT)
 *   file         http-port = 8181      # rest of the line is a comment; "quotes" keep a # or outer
 * spaces
 */
#ifndef ORRERY_BASE_CONFIG_H
#define ORRERY_BASE_CONFIG_H

#include "base/compiler.h"
#include "base/fault.h"
#include "base/log.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#define CONFIG_SETTINGS_MAX 96
#define CONFIG_ARGUMENTS_MAX 4
#define CONFIG_REGIONS_MAX 5
#define CONFIG_PEERS_MAX 16
#define CONFIG_ETCD_MAX 8
#define CONFIG_WRITE_BATCH_MAX 256

/* Values of the ports besides 1…65535. */
#define CONFIG_PORT_NONE (-1)
#define CONFIG_PORT_ANY 0

/* Bits, because a setting says in one word which commands it belongs to. */
enum config_command {
    CONFIG_SERVE = 1,
    CONFIG_UP = 2,
    CONFIG_MIGRATE = 4,
    CONFIG_SIGN = 8,
    CONFIG_ACCOUNT = 16,
    CONFIG_HELP = 32,
    CONFIG_VERSION = 64,
};

struct config {
    enum config_command command;
    enum config_command
        help_on; /* with CONFIG_HELP: the command that help is about; 0 for the program */
    const char *arguments[CONFIG_ARGUMENTS_MAX]; /* what follows the command and is no option;
                                                    borrowed from argv */
    int arguments_count;

    /* Where the data are. */
    const char *database_url; /* libpq connection string; NULL when not given */
    const char *data_dir;     /* up; NULL when not given */

    /* Who this is. */
    const char *account_name;
    const char *region_name;
    int region_ordinal;       /* 1… */
    const char *peers;        /* NAME=URL,… of other regions, see config_peer_next; NULL: none */
    const char *peer_ca_file; /* PEM; NULL: the system's authorities */
    const char *client_endpoints;   /* NAME=URL,… that clients use; as peers */
    const char *topology_file;      /* JSON, for the first start; NULL: one region */
    int lease_ms;                   /* D of docs/replication.md */
    int log_retention_s;            /* what is older than that is trimmed from the logs */
    int clock_drift_permille;       /* ρ of docs/replication.md */
    const char *etcd;               /* URL,… of the arbiter, see config_url_next; NULL: none */
    int etcd_ttl_s;                 /* of the hub's claim */
    const char *etcd_ca_file;       /* PEM; NULL: the system's authorities */
    const char *etcd_cert_file;     /* PEM, shown to etcd; NULL: none */
    const char *etcd_cert_key_file; /* PEM; NULL when etcd_cert_file holds the key too */
    const char *etcd_user;          /* with etcd_password; NULL: none */
    const char *etcd_password;
    const char *consistency; /* one of the five names, in their public spelling */
    int session_wait_ms;     /* how long a request waits for what its session token names */

    /* Where clients come in. */
    const char *listen_address; /* an IP address in text */
    int https_port; /* CONFIG_PORT_NONE, CONFIG_PORT_ANY or the port; settled by --protocol */
    int http_port;  /* the same; default https_port + 100 */
    const char *public_endpoint; /* host, host:port or URL without a path; NULL: as the caller
                                    addressed us */
    int max_connections;
    size_t connection_memory_bytes;
    int connection_timeout_s;
    int arrival_timeout_ms;
    int request_timeout_ms;
    size_t max_request_bytes;
    size_t body_memory_bytes; /* buffered bodies of all requests together */
    int drain_timeout_ms;

    /* Certificate. */
    const char
        *cert_dir; /* own authority and certificate are made and kept here; NULL when not given */
    const char *cert_file;     /* PEM chain or PKCS #12; NULL: a certificate of our own */
    const char *cert_key_file; /* PEM; NULL when cert_file holds the key too */
    const char *cert_secret;   /* of a PKCS #12 file */
    const char *sans;          /* further names for our own certificate, comma between; NULL */

    /* Authorization. */
    const char *key_file; /* NULL: the well-known emulator key */
    bool is_auth_off;     /* --no-auth; refused unless listen_address is a loopback address */

    /* Work. */
    int threads; /* settled: at least 1 */
    int read_connections;
    int write_connections;
    int query_connections;
    int write_batch; /* operations that may share a transaction */
    bool is_throughput_enforced;
    bool allows_faults;
    const char *link_latency; /* FROM>TO=MS,… see config_latency_next; NULL: none */
    int default_ranges;       /* ranges of a new container; 0: from its throughput */

    /* What is said. */
    enum log_level log_level;
    bool is_log_json;

    /* up */
    int port; /* first region's HTTPS port */
    int regions;
    const char *region_names; /* comma between; NULL: of our own */
    int latency_ms;
    const char *regions_file; /* NULL: the flags say everything */
    const char *postgres_bin; /* NULL: found */
    const char
        *postgres_user; /* whom PostgreSQL runs as when we are root; NULL: postgres, else nobody */
    size_t shared_buffers_bytes;
    size_t max_wal_bytes;

    /* sign, account */
    const char *key;         /* base64; NULL when not given */
    const char *endpoint;    /* sign --curl: URL before the path */
    const char *date;        /* sign: RFC 1123 text; NULL: now */
    bool is_curl;            /* sign: print a whole command */
    const char *container;   /* account digest: database/container; NULL: all */
    const char *region_url;  /* account add: where it is reached; NULL: --peers says it */
    const char *failover_to; /* account failover: region; NULL: the first that can */
    bool is_forced, accepts_loss;
    bool is_watched;
    int bounded_versions, bounded_s; /* account level BoundedStaleness; 0: as they are */

    /* As given; the settled form is above. */
    const char *config_file;
    const char *protocol; /* "both", "https", "http" */
    const char *log_level_name;
    const char *log_format;
    char *texts[CONFIG_SETTINGS_MAX]; /* owned: the text each setting was given; NULL where its
                                         default holds */
};

/*
 * Read everything, check it, settle what depends on other settings.
 *
 * argv         borrowed for as long as config is used
 * environment  NAME=value texts ending in NULL, such as environ
 * fault        400: what is wrong, naming the setting and where it stood
 *
 * config_finish is due in either case.
 */
bool config_read(struct config *config, int argc, char **argv, char **environment,
                 struct fault *fault) MUST_CHECK;

/* Frees the texts; zeroed memory is accepted. */
void config_finish(struct config *config);

/*
 * The environment of a child process: ours without ORRERY_ names and aliases, then as ORRERY_ names
 * every setting that was given and that both this command and the child's know, then the caller's
 * additions.
 *
 * extra    NAME=value texts ending in NULL; they win
 * returns  texts ending in NULL, one block for free(); the texts are owned by it too. NULL without
 * memory.
 */
char **config_environment(const struct config *config, enum config_command child,
                          char **environment, const char *const *extra) MUST_CHECK;

/* Was a setting given, in any layer, rather than left at its default? */
bool config_is_given(const struct config *config, const char *name);

const char *config_command_name(enum config_command command);

/* The text of --help: of the program when command is 0. */
void config_print_help(FILE *out, enum config_command command);

/* The table as a page of documentation, docs/configuration.md. */
void config_print_markdown(FILE *out);

/* The next name and URL of a checked list of peers; false at its end. All borrow the text. */
bool config_peer_next(struct slice *rest, struct slice *name, struct slice *url);

/* The next URL of a checked list; false at its end. Borrows the text. */
bool config_url_next(struct slice *rest, struct slice *url);

/* The next entry of a checked list of latencies; false at its end. The names borrow the text. */
bool config_latency_next(struct slice *rest, struct slice *from, struct slice *to, unsigned *ms);

/* What is wrong with the name of a region; NULL: nothing. */
const char *config_check_region(const char *text);

/* An address that only this machine reaches: 127.0.0.0/8 or ::1. */
bool config_is_loopback(const char *address);

#endif
