/*
 * The settings and the commands, each in one row, and the checks of texts that a range cannot
 * express.
 */
#include "base/config_table.h"

#include <arpa/inet.h>
#include <assert.h>
#include <ctype.h>

#include "base/banned.h"

#define KIB 1024LL
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)

/* Short names, for the rows. */
#define AT CONFIG_AT
#define SERVE CONFIG_SERVE
#define UP CONFIG_UP
#define MIGRATE CONFIG_MIGRATE
#define SIGN CONFIG_SIGN
#define ACCOUNT CONFIG_ACCOUNT
#define GATEWAY CONFIG_GATEWAY
#define DATABASE (SERVE | MIGRATE | ACCOUNT)
#define WORK CONFIG_WORK

static setting_check check_account, check_address, check_date, check_endpoint, check_public,
    check_etcd, check_latencies, check_peers, check_sans;

static const char *const levels[] = {"Strong",           "BoundedStaleness", "Session",
                                     "ConsistentPrefix", "Eventual",         NULL};
static const char *const protocols[] = {"both", "https", "http", NULL};
static const char *const log_levels[] = {"error", "warn", "info", "debug", NULL};
static const char *const log_formats[] = {"logfmt", "json", NULL};

/* clang-format off */
const struct setting settings[] = {
    {"config", NULL, SETTING_TEXT, WORK, AT(config_file), NULL, 0, 0, NULL, NULL, "FILE",
     "read further settings from this file: lines of name = value"},
    {"database", NULL, SETTING_TEXT, DATABASE, AT(database_url), NULL, 0, 0, NULL, NULL, "URL",
     "PostgreSQL connection string, postgresql://… or host=… dbname=…"},
    {"data", "DATA_PATH", SETTING_TEXT, UP, AT(data_dir), NULL, 0, 0, NULL, NULL, "DIR",
     "where everything is kept; default ./orrery-data if it exists, else $XDG_DATA_HOME/orrery, else ./orrery-data"},
    {"port", "PORT", SETTING_PORT, UP, AT(port), "8081", 1, 65535, NULL, NULL, "PORT",
     "HTTPS port of the first region; the next regions follow, plain HTTP is 100 higher"},
    {"regions", NULL, SETTING_NUMBER, UP, AT(regions), "3", 1, CONFIG_REGIONS_MAX, NULL, NULL, "N",
     "number of regions to start"},
    {"region-names", NULL, SETTING_TEXT, UP, AT(region_names), NULL, 0, 0, NULL, NULL, "NAMES",
     "their names, comma between; default: West US, East US, North Europe, Southeast Asia, Brazil South"},
    {"latency-ms", NULL, SETTING_NUMBER, UP, AT(latency_ms), "0", 0, 60000, NULL, NULL, "MS",
     "how long a message from one region to another takes, one way"},
    {"regions-file", NULL, SETTING_TEXT, UP, AT(regions_file), NULL, 0, 0, NULL, NULL, "FILE",
     "JSON file with names, PostgreSQL servers of the regions' own, and latencies by link: docs/operations.md"},

    {"account", NULL, SETTING_TEXT, GATEWAY, AT(account_name), "orrery", 0, 0, NULL, check_account, "NAME",
     "name of the account"},
    {"region", NULL, SETTING_TEXT, SERVE, AT(region_name), "West US", 0, 0, NULL, config_check_region, "NAME",
     "name of this region"},
    {"ordinal", NULL, SETTING_NUMBER, SERVE | MIGRATE, AT(region_ordinal), "1", 1, 255, NULL, NULL, "N",
     "number of this region in the account, never given to another"},
    {"peers", NULL, SETTING_TEXT, SERVE, AT(peers), NULL, 0, 0, NULL, check_peers, "NAME=URL,…",
     "gateways of the account's other regions"},
    {"client-endpoints", NULL, SETTING_TEXT, SERVE, AT(client_endpoints), NULL, 0, 0, NULL, check_peers, "NAME=URL,…",
     "where clients find the account's regions, one https and one http URL each; a URL on loopback gives the port alone, "
     "the host is the one that the client used; default: the peers' URLs"},
    {"topology", NULL, SETTING_TEXT, SERVE, AT(topology_file), NULL, 0, 0, NULL, NULL, "FILE",
     "JSON document of an account of several regions, for the first start of each; default: one region"},
    {"link-latency", NULL, SETTING_TEXT, SERVE, AT(link_latency), NULL, 0, 0, NULL, check_latencies, "FROM>TO=MS,…",
     "how much longer messages from one region to another shall take, one way; for trying things out on one machine"},
    {"lease-ms", NULL, SETTING_NUMBER, GATEWAY, AT(lease_ms), "5000", 200, 60000, NULL, NULL, "MS",
     "leases between regions; a change of the topology waits as long; the same in all regions"},
    {"clock-drift-permille", NULL, SETTING_NUMBER, GATEWAY, AT(clock_drift_permille), "10", 0, 200, NULL, NULL, "N",
     "how far the clocks of two gateways may drift apart, in thousandths; leases are cut by as much"},
    {"etcd", NULL, SETTING_TEXT, GATEWAY, AT(etcd), NULL, 0, 0, NULL, check_etcd, "URL,…",
     "etcd servers that decide which region is the hub, so that another one takes over by itself; the same in all regions; "
     "default: failover is an operator's command"},
    {"etcd-ttl-s", NULL, SETTING_NUMBER, GATEWAY, AT(etcd_ttl_s), "15", 2, 3600, NULL, NULL, "SECONDS",
     "how long the hub's claim lives in etcd without being renewed; at least three times --lease-ms; the same in all regions"},
    {"etcd-ca-file", NULL, SETTING_TEXT, GATEWAY, AT(etcd_ca_file), NULL, 0, 0, NULL, NULL, "FILE",
     "PEM authorities that the certificates of https etcd servers come from; default: the system's"},
    {"etcd-cert-file", NULL, SETTING_TEXT, GATEWAY, AT(etcd_cert_file), NULL, 0, 0, NULL, NULL, "FILE",
     "PEM certificate to show to https etcd servers that want to see one"},
    {"etcd-cert-key-file", NULL, SETTING_TEXT, GATEWAY, AT(etcd_cert_key_file), NULL, 0, 0, NULL, NULL, "FILE",
     "PEM key of --etcd-cert-file, when that does not hold it"},
    {"etcd-user", NULL, SETTING_TEXT, GATEWAY, AT(etcd_user), NULL, 0, 0, NULL, NULL, "NAME",
     "user of an etcd that has authentication enabled; may read and write the keys below /orrery/ACCOUNT/"},
    {"etcd-password", NULL, SETTING_TEXT, GATEWAY, AT(etcd_password), NULL, 0, 0, NULL, NULL, "TEXT",
     "password of --etcd-user; other users can see flags, so prefer the environment"},
    {"peer-ca-file", NULL, SETTING_TEXT, SERVE | ACCOUNT, AT(peer_ca_file), NULL, 0, 0, NULL, NULL, "FILE",
     "PEM authorities that the certificates of https peers come from; default: the system's"},
    {"consistency", NULL, SETTING_CHOICE, GATEWAY, AT(consistency), "Session", 0, 0, levels, NULL, "LEVEL",
     "default consistency level of the account"},
    {"log-retention-s", NULL, SETTING_NUMBER, GATEWAY, AT(log_retention_s), "604800", 1, INT32_MAX, NULL, NULL, "SECONDS",
     "how long replaced versions and deletes are kept for the feed of all versions, and for regions that are away; the same in all regions"},
    {"session-wait-ms", NULL, SETTING_NUMBER, GATEWAY, AT(session_wait_ms), "1000", 0, 60000, NULL, NULL, "MS",
     "how long a request waits for what its session token names before it is answered 404/1002, and for definitions that the hub may have before it is answered 503"},

    {"listen", NULL, SETTING_TEXT, GATEWAY, AT(listen_address), "127.0.0.1", 0, 0, NULL, check_address, "ADDRESS",
     "IP address to listen on; 0.0.0.0 or :: for all"},
    {"port", "PORT", SETTING_PORT, SERVE, AT(https_port), "8081", 0, 65535, NULL, NULL, "PORT",
     "port for HTTPS; 0 for any free one, none for no HTTPS"},
    {"http-port", NULL, SETTING_PORT, SERVE, AT(http_port), NULL, 0, 65535, NULL, NULL, "PORT",
     "port for plain HTTP; 0 for any free one, none for no plain HTTP; default: the HTTPS port and 100"},
    {"protocol", "PROTOCOL", SETTING_CHOICE, GATEWAY, AT(protocol), "both", 0, 0, protocols, NULL, "NAME",
     "https: no plain HTTP; http: no HTTPS, and plain HTTP on the port that HTTPS would have"},
    {"public-endpoint", "GATEWAY_PUBLIC_ENDPOINT", SETTING_TEXT, GATEWAY, AT(public_endpoint), NULL, 0, 0, NULL, check_public,
     "ENDPOINT", "host, host:port or URL that clients are told to use; default: what they used to reach us"},
    {"max-connections", NULL, SETTING_NUMBER, GATEWAY, AT(max_connections), "4096", 1, 1000000, NULL, NULL, "N",
     "client connections at a time"},
    {"connection-memory", NULL, SETTING_BYTES, GATEWAY, AT(connection_memory_bytes), "48KiB", 8 * KIB, MIB, NULL, NULL, "SIZE",
     "memory for the request line and headers of one connection"},
    {"connection-timeout-s", NULL, SETTING_NUMBER, GATEWAY, AT(connection_timeout_s), "120", 1, 86400, NULL, NULL, "SECONDS",
     "an idle connection is closed after this time"},
    {"arrival-timeout-ms", NULL, SETTING_NUMBER, GATEWAY, AT(arrival_timeout_ms), "60000", 100, 3600000, NULL, NULL, "MS",
     "a request whose headers and body take longer to arrive is answered 408"},
    {"request-timeout-ms", NULL, SETTING_NUMBER, GATEWAY, AT(request_timeout_ms), "30000", 10, 3600000, NULL, NULL, "MS",
     "a request that waits longer is answered 408 or 503"},
    {"max-request-bytes", NULL, SETTING_BYTES, GATEWAY, AT(max_request_bytes), "4MiB", 64 * KIB, 64 * MIB, NULL, NULL, "SIZE",
     "largest body of a request"},
    {"body-memory", NULL, SETTING_BYTES, GATEWAY, AT(body_memory_bytes), "256MiB", MIB, 1024 * GIB, NULL, NULL, "SIZE",
     "memory for the bodies of all requests and answers together"},
    {"drain-timeout-ms", NULL, SETTING_NUMBER, GATEWAY, AT(drain_timeout_ms), "10000", 0, 600000, NULL, NULL, "MS",
     "time that running requests have to finish when the program is told to stop"},

    {"cert-dir", NULL, SETTING_TEXT, GATEWAY, AT(cert_dir), NULL, 0, 0, NULL, NULL, "DIR",
     "where our own certificate authority and certificate are kept; default: DATA/tls (up), "
     "$XDG_DATA_HOME/orrery/tls (serve)"},
    {"cert-file", "CERT_PATH", SETTING_TEXT, GATEWAY, AT(cert_file), NULL, 0, 0, NULL, NULL, "FILE",
     "certificate to use instead of our own: PEM, or PKCS #12 with its key; read again on SIGHUP"},
    {"cert-key-file", NULL, SETTING_TEXT, GATEWAY, AT(cert_key_file), NULL, 0, 0, NULL, NULL, "FILE",
     "PEM key of --cert-file, when that does not hold it"},
    {"cert-secret", "CERT_SECRET", SETTING_TEXT, GATEWAY, AT(cert_secret), NULL, 0, 0, NULL, NULL, "TEXT",
     "password of a PKCS #12 --cert-file; other users can see flags, so prefer the environment"},
    {"sans", NULL, SETTING_TEXT, GATEWAY, AT(sans), NULL, 0, 0, NULL, check_sans, "NAMES",
     "further names and addresses in our own certificate, comma between"},

    {"key-file", "KEY_FILE", SETTING_TEXT, GATEWAY | SIGN | ACCOUNT, AT(key_file), NULL, 0, 0, NULL, NULL, "FILE",
     "account keys in base64: one line, or lines primary=, secondary=, primary-readonly=, secondary-readonly=; "
     "read again on SIGHUP; default: the well-known emulator key"},
    {"no-auth", NULL, SETTING_SWITCH, GATEWAY, AT(is_auth_off), NULL, 0, 0, NULL, NULL, NULL,
     "serve without authorization; only with a loopback --listen address"},

    {"threads", NULL, SETTING_NUMBER, GATEWAY, AT(threads), "0", 0, 256, NULL, NULL, "N",
     "event loops; 0: half of the processors"},
    {"read-connections", NULL, SETTING_NUMBER, GATEWAY, AT(read_connections), "2", 1, 64, NULL, NULL, "N",
     "PostgreSQL connections for reads, per thread"},
    {"write-connections", NULL, SETTING_NUMBER, GATEWAY, AT(write_connections), "2", 1, 64, NULL, NULL, "N",
     "PostgreSQL connections for writes, per thread"},
    {"query-connections", NULL, SETTING_NUMBER, GATEWAY, AT(query_connections), "4", 1, 64, NULL, NULL, "N",
     "PostgreSQL connections for queries, per thread"},
    {"write-batch", NULL, SETTING_NUMBER, GATEWAY, AT(write_batch), "256", 1, CONFIG_WRITE_BATCH_MAX, NULL, NULL,
     "N",
     "writes to one range that meet and may share a transaction; 1 shows what sharing is worth"},
    {"enforce-throughput", NULL, SETTING_SWITCH, GATEWAY, AT(is_throughput_enforced), NULL, 0, 0, NULL, NULL, NULL,
     "answer 429 when a container's provisioned throughput is used up"},
    {"allow-faults", NULL, SETTING_SWITCH, SERVE, AT(allows_faults), NULL, 0, 0, NULL, NULL, NULL,
     "let holders of a read-write key disturb this gateway on demand: POST /_orrery/faults; orrery up sets it"},
    {"default-ranges", NULL, SETTING_NUMBER, GATEWAY, AT(default_ranges), "0", 0, 256, NULL, NULL, "N",
     "partition key ranges of a new container; 0: one for every 10,000 RU/s of its throughput"},

    {"postgres-bin", NULL, SETTING_TEXT, UP, AT(postgres_bin), NULL, 0, 0, NULL, NULL, "DIR",
     "where initdb and postgres are; default: the newest of /usr/lib/postgresql/*/bin, else PATH"},
    {"postgres-user", NULL, SETTING_TEXT, UP, AT(postgres_user), NULL, 0, 0, NULL, NULL, "USER",
     "whom PostgreSQL runs as when the program is started by root; default: postgres, else nobody"},
    {"shared-buffers", NULL, SETTING_BYTES, UP, AT(shared_buffers_bytes), "128MiB", MIB, 1024 * GIB, NULL, NULL, "SIZE",
     "PostgreSQL's shared_buffers, per region"},
    {"max-wal-size", NULL, SETTING_BYTES, UP, AT(max_wal_bytes), "1GiB", 64 * MIB, 1024 * GIB, NULL, NULL, "SIZE",
     "PostgreSQL's max_wal_size, per region"},

    {"log-level", "LOG_LEVEL", SETTING_CHOICE, WORK, AT(log_level_name), "info", 0, 0, log_levels, NULL, "LEVEL",
     "least level that is logged"},
    {"log-format", NULL, SETTING_CHOICE, WORK, AT(log_format), "logfmt", 0, 0, log_formats, NULL, "FORMAT",
     "form of the log lines on standard error"},

    {"key", NULL, SETTING_TEXT, SIGN, AT(key), NULL, 0, 0, NULL, NULL, "BASE64",
     "key to sign with; other users can see flags, so prefer --key-file"},
    {"curl", NULL, SETTING_SWITCH, SIGN, AT(is_curl), NULL, 0, 0, NULL, NULL, NULL,
     "print a whole curl command"},
    {"endpoint", NULL, SETTING_TEXT, SIGN | ACCOUNT, AT(endpoint), "http://localhost:8181", 0, 0, NULL, check_endpoint, "URL",
     "a gateway of the account; sign --curl: what stands before the path"},
    {"date", NULL, SETTING_TEXT, SIGN, AT(date), NULL, 0, 0, NULL, check_date, "DATE",
     "date to sign, such as \"Mon, 23 Nov 2026 07:01:14 GMT\"; default: now"},
    {"to", NULL, SETTING_TEXT, ACCOUNT, AT(failover_to), NULL, 0, 0, NULL, config_check_region, "REGION",
     "failover: the region that becomes the hub; default: the first by priority that can"},
    {"url", NULL, SETTING_TEXT, ACCOUNT, AT(region_url), NULL, 0, 0, NULL, check_endpoint, "URL",
     "add: where the gateways of the other regions reach the new one; default: their --peers say it"},
    {"force", NULL, SETTING_SWITCH, ACCOUNT, AT(is_forced), NULL, 0, 0, NULL, NULL, NULL,
     "failover, remove: without the region that is lost; what it has not shipped is merged, or comes as conflicts, should it return"},
    {"accept-loss", NULL, SETTING_SWITCH, ACCOUNT, AT(accepts_loss), NULL, 0, 0, NULL, NULL, NULL,
     "failover --force: even when too few regions answer to know all that was acknowledged; those that do not are given up"},
    {"versions", NULL, SETTING_NUMBER, ACCOUNT, AT(bounded_versions), "0", 0, INT32_MAX, NULL, NULL, "N",
     "level BoundedStaleness: versions that a region may lag behind, per range; 0: as it is"},
    {"seconds", NULL, SETTING_NUMBER, ACCOUNT, AT(bounded_s), "0", 0, INT32_MAX, NULL, NULL, "SECONDS",
     "level BoundedStaleness: seconds that a region may lag behind; 0: as it is"},
    {"watch", NULL, SETTING_SWITCH, ACCOUNT, AT(is_watched), NULL, 0, 0, NULL, NULL, NULL,
     "status: again every second"},
    {"container", NULL, SETTING_TEXT, ACCOUNT, AT(container), NULL, 0, 0, NULL, NULL, "DB/NAME",
     "only this container; default: all"},
};
/* clang-format on */
const size_t settings_count = ARRAY_LEN(settings);

static_assert(ARRAY_LEN(settings) <= CONFIG_SETTINGS_MAX, "texts has a place for every setting");

const struct command commands[] = {
    {UP, "up", "", "start a whole account here: PostgreSQL and a gateway for each region"},
    {SERVE, "serve", "", "serve one region on an existing PostgreSQL"},
    {MIGRATE, "migrate", "", "bring the schema of a database up to this program's version"},
    {SIGN, "sign", " METHOD PATH", "print the authorization headers of a request"},
    {ACCOUNT, "account", " ACTION [WHAT]", "show, check and change an account and its regions",
     "    digest               items and log of every range agree, or exit status 1\n"
     "    status               the regions, as a gateway of the account (--endpoint) knows them\n"
     "    failover             another region becomes the hub\n"
     "    offline REGION, online REGION\n"
     "    add REGION, remove REGION\n"
     "    level LEVEL          the account's consistency level\n"
     "    mode single|multi    one region takes writes, or all\n"
     "    priority REGION,...  who becomes the hub first\n"},
    {CONFIG_HELP, "help", " [COMMAND]", "print this, or the options of a command"},
    {CONFIG_VERSION, "version", "", "print the version"},
};
const size_t commands_count = ARRAY_LEN(commands);

const struct command *command_find(enum config_command command)
{
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        if (commands[i].command == command)
            return &commands[i];
    }
    return NULL;
}

const char *config_command_name(enum config_command command)
{
    const struct command *found = command_find(command);
    return found != NULL ? found->name : "orrery";
}

void setting_choices(const struct setting *setting, char *text, size_t size)
{
    size_t at = 0;

    for (const char *const *choice = setting->choices; *choice != NULL && at < size; choice++)
        at += (size_t) snprintf(text + at, size - at, "%s%s", at > 0 ? ", " : "", *choice);
}

static const char *check_account(const char *text)
{
    size_t len = strlen(text);

    if (len < 3 || len > 50 || strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-") != len)
        return "3 to 50 lower-case letters, digits and hyphens are needed";
    return NULL;
}

const char *config_check_region(const char *text)
{
    size_t len = strlen(text);

    if (len == 0 || len > 64)
        return "1 to 64 characters are needed";
    for (const char *c = text; *c != '\0'; c++) {
        if (!isalnum((unsigned char) *c) && *c != ' ' && *c != '-')
            return "only letters, digits, spaces and hyphens are allowed";
    }
    return text[0] == ' ' || text[len - 1] == ' ' ? "it must not begin or end with a space" : NULL;
}

static bool is_address(const char *text)
{
    struct in6_addr address;
    return inet_pton(AF_INET, text, &address) == 1 || inet_pton(AF_INET6, text, &address) == 1;
}

static const char *check_address(const char *text)
{
    return is_address(text) || strcmp(text, "localhost") == 0 ? NULL : "an IP address is needed";
}

bool config_is_host(struct slice host)
{
    if (host.len == 0 || host.len > 253)
        return false;
    for (size_t i = 0; i < host.len; i++) {
        if (!isalnum((unsigned char) host.ptr[i]) && strchr("-._", host.ptr[i]) == NULL)
            return false;
    }
    return true;
}

static const char *check_sans(const char *text)
{
    struct slice rest = slice_from_text(text);

    while (!slice_is_absent(rest)) {
        struct slice name = slice_trim(slice_cut(rest, ',', &rest));
        char copy[INET6_ADDRSTRLEN];
        snprintf(copy, sizeof(copy), "%.*s", (int) (name.len < sizeof(copy) ? name.len : 0),
                 name.ptr);
        if (slice_starts_with(name, "*."))
            name = slice_make(name.ptr + 2, name.len - 2);
        if (!config_is_host(name) && !is_address(copy))
            return "host names and IP addresses with commas between are needed";
    }
    return NULL;
}

/* host, host:port, [v6], [v6]:port, with http:// or https:// before and one slash behind. */
static const char *check_public(const char *text)
{
    static const char wrong[] = "a host, host:port or http(s)://host[:port] is needed";
    struct slice s = slice_from_text(text), port;
    unsigned long long number;

    if (slice_starts_with(s, "https://"))
        s = slice_make(s.ptr + 8, s.len - 8);
    else if (slice_starts_with(s, "http://"))
        s = slice_make(s.ptr + 7, s.len - 7);
    if (s.len > 0 && s.ptr[s.len - 1] == '/')
        s.len--;
    if (slice_starts_with(s, "[")) {
        char address[INET6_ADDRSTRLEN];
        struct in6_addr v6;
        struct slice inner = slice_cut(slice_make(s.ptr + 1, s.len - 1), ']', &port);
        if (slice_is_absent(port) || inner.len >= sizeof(address))
            return wrong;
        snprintf(address, sizeof(address), "%.*s", (int) inner.len, inner.ptr);
        if (inet_pton(AF_INET6, address, &v6) != 1 || (port.len > 0 && port.ptr[0] != ':'))
            return wrong;
        port = port.len > 0 ? slice_make(port.ptr + 1, port.len - 1) : (struct slice){0};
    } else if (!config_is_host(slice_cut(s, ':', &port))) {
        return wrong;
    }
    if (!slice_is_absent(port) && (!slice_to_u64(port, 65535, &number) || number == 0))
        return wrong;
    return NULL;
}

static const char *check_endpoint(const char *text)
{
    struct slice s = slice_from_text(text);

    if (!slice_starts_with(s, "http://") && !slice_starts_with(s, "https://"))
        return "http://host[:port] or https://host[:port] is needed";
    return check_public(text);
}

bool config_peer_next(struct slice *rest, struct slice *name, struct slice *url)
{
    if (slice_is_absent(*rest))
        return false;
    *name = slice_cut(slice_trim(slice_cut(*rest, ',', rest)), '=', url);
    return true;
}

static const char *check_peers(const char *text)
{
    struct slice rest = slice_from_text(text), name, url;
    int count = 0;

    while (config_peer_next(&rest, &name, &url)) {
        char copy[512];
        if (++count > CONFIG_PEERS_MAX)
            return "at most 16 can be named";
        snprintf(copy, sizeof(copy), "%.*s", (int) (name.len < 65 ? name.len : 65), name.ptr);
        if (config_check_region(copy) != NULL)
            return "each is NAME=URL with the name of a region";
        if (slice_is_absent(url) || url.len >= sizeof(copy))
            return "each is NAME=URL with http://host[:port] or https://host[:port]";
        snprintf(copy, sizeof(copy), "%.*s", (int) url.len, url.ptr);
        if (check_endpoint(copy) != NULL)
            return "each is NAME=URL with http://host[:port] or https://host[:port]";
    }
    return NULL;
}

bool config_url_next(struct slice *rest, struct slice *url)
{
    if (slice_is_absent(*rest))
        return false;
    *url = slice_trim(slice_cut(*rest, ',', rest));
    return true;
}

static const char *check_etcd(const char *text)
{
    struct slice rest = slice_from_text(text), url;
    int count = 0;

    while (config_url_next(&rest, &url)) {
        char copy[512];
        if (++count > CONFIG_ETCD_MAX)
            return "at most 8 can be named";
        snprintf(copy, sizeof(copy), "%.*s", (int) (url.len < sizeof(copy) ? url.len : 0), url.ptr);
        if (check_endpoint(copy) != NULL)
            return "URLs http://host[:port] or https://host[:port] with commas between are needed";
    }
    return NULL;
}

bool config_latency_next(struct slice *rest, struct slice *from, struct slice *to, unsigned *ms)
{
    struct slice link, text;
    unsigned long long number;

    *ms = 0;
    if (slice_is_absent(*rest))
        return false;
    link = slice_cut(slice_trim(slice_cut(*rest, ',', rest)), '=', &text);
    *from = slice_cut(link, '>', to);
    if (!slice_is_absent(text) && slice_to_u64(text, 60000, &number))
        *ms = (unsigned) number;
    return true;
}

static const char *check_latencies(const char *text)
{
    struct slice rest = slice_from_text(text), from, to;
    unsigned ms;

    while (config_latency_next(&rest, &from, &to, &ms)) {
        if (slice_is_empty(from) || slice_is_absent(to) || slice_is_empty(to) || ms == 0)
            return "each is FROM>TO=MS with names of regions and 1 to 60000 milliseconds";
    }
    return NULL;
}

static const char *check_date(const char *text)
{
    /* The signature covers the text; whether it is a date is for the server, which tests want to
     * see refuse. */
    return strpbrk(text, "\r\n") != NULL || strlen(text) > 64
               ? "a date of at most 64 characters is needed"
               : NULL;
}

bool config_is_loopback(const char *address)
{
    struct in_addr v4;
    struct in6_addr v6;

    if (inet_pton(AF_INET, address, &v4) == 1)
        return ntohl(v4.s_addr) >> 24 == 127;
    return inet_pton(AF_INET6, address, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}
