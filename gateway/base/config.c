/*
 * The table of settings and its readers.
 *
 * A layer (defaults, file, environment aliases, environment, flags) is applied after the other, and
 * each goes through set_value, so that a value means the same and is refused the same way wherever
 * it stands. What depends on several settings (ports, threads, --no-auth) is settled once, at the
 * end. Rejected: getopt_long, which knows neither files nor environment and would be a second
 * table.
 */
#include "base/config.h"

#include "base/buf.h"
#include "base/slice.h"

#include <arpa/inet.h>
#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/banned.h"

#define KIB 1024LL
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)

#define FILE_BYTES_MAX (64 * KIB)
#define TEXT_BYTES_MAX 4096
#define PREFIX "ORRERY_"

/* http_port before it is settled. */
#define PORT_UNSET (-2)

#define SERVE CONFIG_SERVE
#define UP CONFIG_UP
#define MIGRATE CONFIG_MIGRATE
#define SIGN CONFIG_SIGN
#define ACCOUNT CONFIG_ACCOUNT
#define GATEWAY (SERVE | UP)
#define DATABASE (SERVE | MIGRATE | ACCOUNT)
#define WORK (SERVE | UP | MIGRATE | SIGN | ACCOUNT)

enum kind { TEXT, CHOICE, SWITCH, NUMBER, BYTES, PORT };

typedef const char *text_check(const char *text); /* NULL, or what is wrong */

struct setting {
    const char *name;  /* of the flag and in the file; ORRERY_ and capitals in the environment */
    const char *alias; /* another name in the environment */
    enum kind kind;
    unsigned commands;
    size_t offset;              /* of the member in struct config */
    const char *initial;        /* text of the default; NULL: none */
    long long min, max;         /* NUMBER, BYTES */
    const char *const *choices; /* CHOICE: ends in NULL */
    text_check *check;          /* TEXT */
    const char *argument;       /* for help */
    const char *help;
};

static text_check check_account, check_address, check_date, check_endpoint, check_public,
    check_region, check_sans;

#define AT(member) offsetof(struct config, member)

static const char *const levels[] = {"Strong",           "BoundedStaleness", "Session",
                                     "ConsistentPrefix", "Eventual",         NULL};
static const char *const protocols[] = {"both", "https", "http", NULL};
static const char *const log_levels[] = {"error", "warn", "info", "debug", NULL};
static const char *const log_formats[] = {"logfmt", "json", NULL};

/* clang-format off */
static const struct setting settings[] = {
    {"config", NULL, TEXT, WORK, AT(config_file), NULL, 0, 0, NULL, NULL, "FILE",
     "read further settings from this file: lines of name = value"},
    {"database", NULL, TEXT, DATABASE, AT(database_url), NULL, 0, 0, NULL, NULL, "URL",
     "PostgreSQL connection string, postgresql://… or host=… dbname=…"},
    {"data", "DATA_PATH", TEXT, UP, AT(data_dir), NULL, 0, 0, NULL, NULL, "DIR",
     "where everything is kept; default ./orrery-data if it exists, else $XDG_DATA_HOME/orrery, else ./orrery-data"},
    {"port", "PORT", PORT, UP, AT(port), "8081", 1, 65535, NULL, NULL, "PORT",
     "HTTPS port of the first region; the next regions follow, plain HTTP is 100 higher"},
    {"regions", NULL, NUMBER, UP, AT(regions), "3", 1, CONFIG_REGIONS_MAX, NULL, NULL, "N",
     "number of regions to start"},

    {"account", NULL, TEXT, GATEWAY, AT(account_name), "orrery", 0, 0, NULL, check_account, "NAME",
     "name of the account"},
    {"region", NULL, TEXT, SERVE, AT(region_name), "West US", 0, 0, NULL, check_region, "NAME",
     "name of this region"},
    {"ordinal", NULL, NUMBER, SERVE | MIGRATE, AT(region_ordinal), "1", 1, 255, NULL, NULL, "N",
     "number of this region in the account, never given to another"},
    {"consistency", NULL, CHOICE, GATEWAY, AT(consistency), "Session", 0, 0, levels, NULL, "LEVEL",
     "default consistency level of the account"},

    {"listen", NULL, TEXT, GATEWAY, AT(listen_address), "127.0.0.1", 0, 0, NULL, check_address, "ADDRESS",
     "IP address to listen on; 0.0.0.0 or :: for all"},
    {"port", "PORT", PORT, SERVE, AT(https_port), "8081", 0, 65535, NULL, NULL, "PORT",
     "port for HTTPS; 0 for any free one, none for no HTTPS"},
    {"http-port", NULL, PORT, SERVE, AT(http_port), NULL, 0, 65535, NULL, NULL, "PORT",
     "port for plain HTTP; 0 for any free one, none for no plain HTTP; default: the HTTPS port and 100"},
    {"protocol", "PROTOCOL", CHOICE, GATEWAY, AT(protocol), "both", 0, 0, protocols, NULL, "NAME",
     "https: no plain HTTP; http: no HTTPS, and plain HTTP on the port that HTTPS would have"},
    {"public-endpoint", "GATEWAY_PUBLIC_ENDPOINT", TEXT, GATEWAY, AT(public_endpoint), NULL, 0, 0, NULL, check_public,
     "ENDPOINT", "host, host:port or URL that clients are told to use; default: what they used to reach us"},
    {"max-connections", NULL, NUMBER, GATEWAY, AT(max_connections), "4096", 1, 1000000, NULL, NULL, "N",
     "client connections at a time"},
    {"connection-memory", NULL, BYTES, GATEWAY, AT(connection_memory_bytes), "32KiB", 8 * KIB, MIB, NULL, NULL, "SIZE",
     "memory for the request line and headers of one connection"},
    {"connection-timeout-s", NULL, NUMBER, GATEWAY, AT(connection_timeout_s), "120", 1, 86400, NULL, NULL, "SECONDS",
     "an idle connection is closed after this time"},
    {"request-timeout-ms", NULL, NUMBER, GATEWAY, AT(request_timeout_ms), "30000", 10, 3600000, NULL, NULL, "MS",
     "a request that waits longer is answered 408 or 503"},
    {"max-request-bytes", NULL, BYTES, GATEWAY, AT(max_request_bytes), "4MiB", 64 * KIB, 64 * MIB, NULL, NULL, "SIZE",
     "largest body of a request"},
    {"body-memory", NULL, BYTES, GATEWAY, AT(body_memory_bytes), "256MiB", MIB, 1024 * GIB, NULL, NULL, "SIZE",
     "memory for the bodies of all requests together"},
    {"drain-timeout-ms", NULL, NUMBER, GATEWAY, AT(drain_timeout_ms), "10000", 0, 600000, NULL, NULL, "MS",
     "time that running requests have to finish when the program is told to stop"},

    {"cert-dir", NULL, TEXT, GATEWAY, AT(cert_dir), NULL, 0, 0, NULL, NULL, "DIR",
     "where our own certificate authority and certificate are kept; default: DATA/tls (up), "
     "$XDG_DATA_HOME/orrery/tls (serve)"},
    {"cert-file", "CERT_PATH", TEXT, GATEWAY, AT(cert_file), NULL, 0, 0, NULL, NULL, "FILE",
     "certificate to use instead of our own: PEM, or PKCS #12 with its key"},
    {"cert-key-file", NULL, TEXT, GATEWAY, AT(cert_key_file), NULL, 0, 0, NULL, NULL, "FILE",
     "PEM key of --cert-file, when that does not hold it"},
    {"cert-secret", "CERT_SECRET", TEXT, GATEWAY, AT(cert_secret), NULL, 0, 0, NULL, NULL, "TEXT",
     "password of a PKCS #12 --cert-file; other users can see flags, so prefer the environment"},
    {"sans", NULL, TEXT, GATEWAY, AT(sans), NULL, 0, 0, NULL, check_sans, "NAMES",
     "further names and addresses in our own certificate, comma between"},

    {"key-file", "KEY_FILE", TEXT, GATEWAY | SIGN, AT(key_file), NULL, 0, 0, NULL, NULL, "FILE",
     "account keys in base64: one line, or lines primary=, secondary=, primary-readonly=, secondary-readonly=; "
     "read again on SIGHUP; default: the well-known emulator key"},
    {"no-auth", NULL, SWITCH, GATEWAY, AT(is_auth_off), NULL, 0, 0, NULL, NULL, NULL,
     "serve without authorization; only with a loopback --listen address"},

    {"threads", NULL, NUMBER, GATEWAY, AT(threads), "0", 0, 256, NULL, NULL, "N",
     "event loops; 0: half of the processors"},
    {"read-connections", NULL, NUMBER, GATEWAY, AT(read_connections), "2", 1, 64, NULL, NULL, "N",
     "PostgreSQL connections for reads, per thread"},
    {"write-connections", NULL, NUMBER, GATEWAY, AT(write_connections), "2", 1, 64, NULL, NULL, "N",
     "PostgreSQL connections for writes, per thread"},
    {"query-connections", NULL, NUMBER, GATEWAY, AT(query_connections), "4", 1, 64, NULL, NULL, "N",
     "PostgreSQL connections for queries, per thread"},
    {"enforce-throughput", NULL, SWITCH, GATEWAY, AT(is_throughput_enforced), NULL, 0, 0, NULL, NULL, NULL,
     "answer 429 when a container's provisioned throughput is used up"},
    {"default-ranges", NULL, NUMBER, GATEWAY, AT(default_ranges), "0", 0, 256, NULL, NULL, "N",
     "partition key ranges of a new container; 0: one for every 10,000 RU/s of its throughput"},

    {"postgres-bin", NULL, TEXT, UP, AT(postgres_bin), NULL, 0, 0, NULL, NULL, "DIR",
     "where initdb and postgres are; default: the newest of /usr/lib/postgresql/*/bin, else PATH"},
    {"postgres-user", NULL, TEXT, UP, AT(postgres_user), NULL, 0, 0, NULL, NULL, "USER",
     "whom PostgreSQL runs as when the program is started by root; default: postgres, else nobody"},
    {"shared-buffers", NULL, BYTES, UP, AT(shared_buffers_bytes), "128MiB", MIB, 1024 * GIB, NULL, NULL, "SIZE",
     "PostgreSQL's shared_buffers, per region"},
    {"max-wal-size", NULL, BYTES, UP, AT(max_wal_bytes), "1GiB", 64 * MIB, 1024 * GIB, NULL, NULL, "SIZE",
     "PostgreSQL's max_wal_size, per region"},

    {"log-level", "LOG_LEVEL", CHOICE, WORK, AT(log_level_name), "info", 0, 0, log_levels, NULL, "LEVEL",
     "least level that is logged"},
    {"log-format", NULL, CHOICE, WORK, AT(log_format), "logfmt", 0, 0, log_formats, NULL, "FORMAT",
     "form of the log lines on standard error"},

    {"key", NULL, TEXT, SIGN, AT(key), NULL, 0, 0, NULL, NULL, "BASE64",
     "key to sign with; other users can see flags, so prefer --key-file"},
    {"curl", NULL, SWITCH, SIGN, AT(is_curl), NULL, 0, 0, NULL, NULL, NULL,
     "print a whole curl command"},
    {"endpoint", NULL, TEXT, SIGN, AT(endpoint), "http://localhost:8181", 0, 0, NULL, check_endpoint, "URL",
     "what --curl puts before the path"},
    {"date", NULL, TEXT, SIGN, AT(date), NULL, 0, 0, NULL, check_date, "DATE",
     "date to sign, such as \"Mon, 23 Nov 2026 07:01:14 GMT\"; default: now"},
    {"container", NULL, TEXT, ACCOUNT, AT(container), NULL, 0, 0, NULL, NULL, "DB/NAME",
     "only this container; default: all"},
};
/* clang-format on */

static_assert(ARRAY_LEN(settings) <= CONFIG_SETTINGS_MAX, "texts has a place for every setting");

static const struct command {
    enum config_command command;
    const char *name;
    const char *arguments;
    const char *summary;
} commands[] = {
    {UP, "up", "", "start a whole account here: PostgreSQL and a gateway for each region"},
    {SERVE, "serve", "", "serve one region on an existing PostgreSQL"},
    {MIGRATE, "migrate", "", "bring the schema of a database up to this program's version"},
    {SIGN, "sign", " METHOD PATH", "print the authorization headers of a request"},
    {ACCOUNT, "account", " digest", "check that items and log of every range agree; exit 1 if not"},
    {CONFIG_HELP, "help", " [COMMAND]", "print this, or the options of a command"},
    {CONFIG_VERSION, "version", "", "print the version"},
};

static const struct command *command_find(enum config_command command)
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

/* ---- checks of texts ---- */

static const char *check_account(const char *text)
{
    size_t len = strlen(text);

    if (len < 3 || len > 50 || strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-") != len)
        return "3 to 50 lower-case letters, digits and hyphens are needed";
    return NULL;
}

static const char *check_region(const char *text)
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

static bool is_host(struct slice host)
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
        if (!is_host(name) && !is_address(copy))
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
    } else if (!is_host(slice_cut(s, ':', &port))) {
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

/* ---- one value ---- */

static bool refuse(struct fault *fault, const char *where, const struct setting *setting,
                   const char *value, const char *why)
{
    bool is_secret = setting->offset == AT(key) || setting->offset == AT(cert_secret) ||
                     setting->offset == AT(database_url);

    return fault_set(fault, 400, SUB_NONE, "%s: \"%s\" cannot be \"%.*s\": %s", where,
                     setting->name, FAULT_QUOTE_MAX, is_secret ? "…" : value, why);
}

static bool set_switch(bool *member, struct slice value)
{
    static const char *const yes[] = {"yes", "true", "on", "1"}, *const no[] = {"no", "false",
                                                                                "off", "0"};

    for (size_t i = 0; i < ARRAY_LEN(yes); i++) {
        if (slice_equals_nocase(value, yes[i]) || slice_equals_nocase(value, no[i])) {
            *member = slice_equals_nocase(value, yes[i]);
            return true;
        }
    }
    return false;
}

/* The public spelling, whatever case was given. */
static bool set_choice(const char **member, const struct setting *setting, struct slice value)
{
    for (const char *const *choice = setting->choices; *choice != NULL; choice++) {
        if (slice_equals_nocase(value, *choice)) {
            *member = *choice;
            return true;
        }
    }
    return false;
}

static void describe_choices(const struct setting *setting, char *text, size_t size)
{
    size_t at = 0;

    for (const char *const *choice = setting->choices; *choice != NULL && at < size; choice++)
        at += (size_t) snprintf(text + at, size - at, "%s%s", at > 0 ? ", " : "", *choice);
}

/* Bytes with an optional unit: 4096, 32KiB, 32K, 64M, 1GiB. */
static bool parse_bytes(struct slice value, const struct setting *setting, size_t *bytes)
{
    static const struct {
        const char *name;
        long long bytes;
    } units[] = {{"KiB", KIB}, {"MiB", MIB}, {"GiB", GIB}, {"K", KIB}, {"M", MIB},
                 {"G", GIB},   {"kB", KIB},  {"MB", MIB},  {"GB", GIB}};
    unsigned long long number;
    size_t digits = 0;
    long long unit = 1;

    while (digits < value.len && isdigit((unsigned char) value.ptr[digits]))
        digits++;
    struct slice suffix = slice_make(value.ptr + digits, value.len - digits);
    if (suffix.len > 0) {
        unit = 0;
        for (size_t i = 0; i < ARRAY_LEN(units); i++) {
            if (slice_equals_nocase(suffix, units[i].name))
                unit = units[i].bytes;
        }
    }
    if (unit == 0 || !slice_to_u64(slice_make(value.ptr, digits),
                                   (unsigned long long) (setting->max / unit), &number))
        return false;
    *bytes = (size_t) number * (size_t) unit;
    return *bytes >= (size_t) setting->min;
}

static bool set_number(int *member, const struct setting *setting, struct slice value)
{
    long long number;

    if (setting->kind == PORT && setting->min == 0 && slice_equals_nocase(value, "none")) {
        *member = CONFIG_PORT_NONE;
        return true;
    }
    if (!slice_to_i64(value, setting->min, setting->max, &number))
        return false;
    *member = (int) number;
    return true;
}

static bool set_bytes(size_t *member, const struct setting *setting, struct slice value)
{
    return parse_bytes(value, setting, member);
}

/* value must outlive config: a literal, or the copy in texts. */
static bool set_value(struct config *config, const struct setting *setting, const char *value,
                      const char *where, struct fault *fault)
{
    void *member = (char *) config + setting->offset;
    struct slice text = slice_from_text(value);
    const char *why;
    char range[160], choices[128];

    switch (setting->kind) {
    case TEXT:
        why = text.len == 0            ? "a value is needed"
              : setting->check != NULL ? setting->check(value)
                                       : NULL;
        if (why != NULL)
            return refuse(fault, where, setting, value, why);
        *(const char **) member = value;
        return true;
    case CHOICE:
        describe_choices(setting, choices, sizeof(choices));
        snprintf(range, sizeof(range), "one of %s is needed", choices);
        return set_choice(member, setting, text) || refuse(fault, where, setting, value, range);
    case SWITCH:
        return set_switch(member, text) ||
               refuse(fault, where, setting, value, "yes or no is needed");
    case NUMBER:
    case PORT:
        snprintf(range, sizeof(range), "%lld to %lld%s is needed", setting->min, setting->max,
                 setting->kind == PORT && setting->min == 0 ? ", or none," : "");
        return set_number(member, setting, text) || refuse(fault, where, setting, value, range);
    case BYTES:
        snprintf(range, sizeof(range), "%lld to %lld bytes are needed (units KiB, MiB, GiB)",
                 setting->min, setting->max);
        return set_bytes(member, setting, text) || refuse(fault, where, setting, value, range);
    }
    return false;
}

/* A layer's value: kept, so that a text member may point at it and a child can be given the same.
 */
static bool give(struct config *config, const struct setting *setting, struct slice value,
                 const char *where, struct fault *fault)
{
    char **text = &config->texts[setting - settings];

    if (value.len > TEXT_BYTES_MAX || (value.len > 0 && memchr(value.ptr, '\0', value.len) != NULL))
        return refuse(fault, where, setting, "…", "it is too long");
    char *copy = strndup(value.len > 0 ? value.ptr : "", value.len);
    if (copy == NULL)
        return fault_set_oom(fault);
    char *previous = *text;
    *text = copy;
    bool is_set = set_value(config, setting, copy, where, fault);
    free(previous); /* only now: until set_value the member may point at it */
    return is_set;
}

/* ---- layers ---- */

static const struct setting *setting_find(struct slice name, bool is_environment, unsigned command)
{
    const struct setting *found = NULL;

    for (size_t i = 0; i < ARRAY_LEN(settings); i++) {
        const char *own = settings[i].name;
        bool is_same = strlen(own) == name.len;
        for (size_t c = 0; is_same && c < name.len; c++) {
            char expected = own[c];
            if (is_environment)
                expected = expected == '-' ? '_' : (char) toupper((unsigned char) expected);
            is_same = name.ptr[c] == expected ||
                      (!is_environment && expected == '-' && name.ptr[c] == '_');
        }
        if (is_same && (found == NULL || (settings[i].commands & command) != 0))
            found = &settings[i];
    }
    return found;
}

static bool apply_defaults(struct config *config, struct fault *fault)
{
    config->http_port = PORT_UNSET;
    for (size_t i = 0; i < ARRAY_LEN(settings); i++) {
        if (settings[i].initial != NULL &&
            !set_value(config, &settings[i], settings[i].initial, "default", fault))
            return false;
    }
    return true;
}

static bool apply_aliases(struct config *config, char **environment, struct fault *fault)
{
    for (char **entry = environment; *entry != NULL; entry++) {
        struct slice value, name = slice_cut(slice_from_text(*entry), '=', &value);
        for (size_t i = 0; i < ARRAY_LEN(settings); i++) {
            const struct setting *setting = &settings[i];
            if (setting->alias == NULL || !slice_equals_text(name, setting->alias) ||
                slice_is_empty(value) || (setting->commands & config->command) == 0)
                continue;
            char where[80];
            snprintf(where, sizeof(where), "environment %s", setting->alias);
            if (!give(config, setting, value, where, fault))
                return false;
        }
    }
    return true;
}

static bool apply_environment(struct config *config, char **environment, struct fault *fault)
{
    for (char **entry = environment; *entry != NULL; entry++) {
        struct slice value, name = slice_cut(slice_from_text(*entry), '=', &value);
        if (!slice_starts_with(name, PREFIX) || slice_equals_text(name, PREFIX "CONFIG"))
            continue; /* the file was read before */
        struct slice tail = slice_make(name.ptr + strlen(PREFIX), name.len - strlen(PREFIX));
        const struct setting *setting = setting_find(tail, true, config->command);
        if (setting == NULL)
            return fault_set(fault, 400, SUB_NONE, "environment: unknown setting \"%.*s\"",
                             FAULT_QUOTE(name));
        char where[120];
        snprintf(where, sizeof(where), "environment %.*s", FAULT_QUOTE(name));
        if ((setting->commands & config->command) != 0 &&
            !give(config, setting, value, where, fault))
            return false;
    }
    return true;
}

/* The value of a line: without a comment, without spaces around, out of its quotes. */
static bool file_value(struct slice text, struct slice *value)
{
    text = slice_trim(text);
    if (slice_starts_with(text, "\"")) {
        struct slice rest, inner = slice_cut(slice_make(text.ptr + 1, text.len - 1), '"', &rest);
        if (slice_is_absent(rest))
            return false;
        rest = slice_trim(rest);
        *value = inner;
        return rest.len == 0 || rest.ptr[0] == '#';
    }
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] == '#' && (i == 0 || text.ptr[i - 1] == ' ' || text.ptr[i - 1] == '\t'))
            text.len = i;
    }
    *value = slice_trim(text);
    return true;
}

static bool apply_line(struct config *config, struct slice line, bool *is_seen, const char *where,
                       struct fault *fault)
{
    struct slice value;

    if (line.len > 0 && line.ptr[line.len - 1] == '\r')
        line.len--;
    line = slice_trim(line);
    if (line.len == 0 || line.ptr[0] == '#')
        return true;
    struct slice name = slice_trim(slice_cut(line, '=', &value));
    if (slice_is_absent(value) || !file_value(value, &value))
        return fault_set(fault, 400, SUB_NONE, "%s: a line name = value is needed, not \"%.*s\"",
                         where, FAULT_QUOTE(line));
    const struct setting *setting = setting_find(name, false, config->command);
    if (setting == NULL || setting->offset == AT(config_file))
        return fault_set(fault, 400, SUB_NONE, "%s: unknown setting \"%.*s\"", where,
                         FAULT_QUOTE(name));
    if (is_seen[setting - settings])
        return fault_set(fault, 400, SUB_NONE, "%s: \"%s\" is set twice", where, setting->name);
    is_seen[setting - settings] = true;
    return (setting->commands & config->command) == 0 || give(config, setting, value, where, fault);
}

static bool apply_file(struct config *config, const char *path, struct fault *fault)
{
    bool is_seen[ARRAY_LEN(settings)] = {false};
    char *bytes = NULL, where[512];
    bool is_good = false;
    int line_number = 0;

    FILE *file = fopen(path, "re");
    if (file == NULL)
        return fault_set(fault, 400, SUB_NONE, "cannot read \"%s\": %s", path, strerror(errno));
    bytes = malloc(FILE_BYTES_MAX + 1);
    if (bytes == NULL) {
        fault_set_oom(fault);
        goto done;
    }
    size_t len = fread(bytes, 1, FILE_BYTES_MAX + 1, file);
    if (ferror(file) != 0 || len > FILE_BYTES_MAX || memchr(bytes, '\0', len) != NULL) {
        fault_set(fault, 400, SUB_NONE, "cannot read \"%s\": %s", path,
                  ferror(file) != 0 ? strerror(errno) : "a text of at most 64 KiB is needed");
        goto done;
    }
    struct slice rest = slice_make(bytes, len);
    is_good = true;
    while (is_good && !slice_is_absent(rest)) {
        struct slice line = slice_cut(rest, '\n', &rest);
        snprintf(where, sizeof(where), "%s:%d", path, ++line_number);
        is_good = apply_line(config, line, is_seen, where, fault);
    }
done:
    free(bytes);
    fclose(file);
    return is_good;
}

/*
 * One option at argv[*at]: name, value, and how many arguments it took.
 *
 * A switch takes no following argument as its value, only --name=value.
 */
static bool read_flag(const struct config *config, int argc, char **argv, int *at,
                      const struct setting **setting, struct slice *value, struct fault *fault)
{
    struct slice flag = slice_from_text(argv[*at]), name;

    flag = slice_make(flag.ptr + 2, flag.len - 2);
    name = slice_cut(flag, '=', value);
    *setting =
        memchr(name.ptr, '_', name.len) == NULL ? setting_find(name, false, config->command) : NULL;
    if (*setting == NULL)
        return fault_set(fault, 400, SUB_NONE, "unknown option \"--%.*s\"", FAULT_QUOTE(name));
    if (((*setting)->commands & config->command) == 0)
        return fault_set(fault, 400, SUB_NONE, "\"--%s\" is not an option of \"%s\"",
                         (*setting)->name, config_command_name(config->command));
    if (!slice_is_absent(*value))
        return true;
    if ((*setting)->kind == SWITCH) {
        *value = SLICE_LITERAL("yes");
        return true;
    }
    if (*at + 1 >= argc)
        return fault_set(fault, 400, SUB_NONE, "\"--%s\" needs a value", (*setting)->name);
    *value = slice_from_text(argv[++*at]);
    return true;
}

/* With is_applied false only --config is taken, because the file comes before the flags that
 * override it. */
static bool apply_flags(struct config *config, int argc, char **argv, bool is_applied,
                        struct fault *fault)
{
    bool is_options_over = false;

    config->arguments_count = 0;
    for (int i = 2; i < argc; i++) {
        const struct setting *setting;
        struct slice value;

        if (!is_options_over && strcmp(argv[i], "--") == 0) {
            is_options_over = true;
        } else if (!is_options_over && strncmp(argv[i], "--", 2) == 0) {
            if (!read_flag(config, argc, argv, &i, &setting, &value, fault))
                return false;
            bool is_file = setting->offset == AT(config_file);
            char where[80];
            snprintf(where, sizeof(where), "option --%s", setting->name);
            if (is_file != is_applied && !give(config, setting, value, where, fault))
                return false;
        } else if (!is_options_over && argv[i][0] == '-' && argv[i][1] != '\0') {
            return fault_set(fault, 400, SUB_NONE, "unknown option \"%.*s\"",
                             FAULT_QUOTE(slice_from_text(argv[i])));
        } else if (config->arguments_count == CONFIG_ARGUMENTS_MAX) {
            return fault_set(fault, 400, SUB_NONE, "too many arguments at \"%.*s\"",
                             FAULT_QUOTE(slice_from_text(argv[i])));
        } else {
            config->arguments[config->arguments_count++] = argv[i];
        }
    }
    return true;
}

/* ---- the whole ---- */

static bool settle_ports(struct config *config, struct fault *fault)
{
    bool is_given = config->http_port != PORT_UNSET;

    if (strcmp(config->protocol, "https") == 0) {
        if (is_given && config->http_port != CONFIG_PORT_NONE)
            return fault_set(fault, 400, SUB_NONE,
                             "\"http-port\" contradicts the protocol \"https\"");
        config->http_port = CONFIG_PORT_NONE;
    } else if (strcmp(config->protocol, "http") == 0) {
        if (!is_given)
            config->http_port = config->https_port;
        config->https_port = CONFIG_PORT_NONE;
    } else if (!is_given) {
        if (config->https_port > 65535 - 100)
            return fault_set(fault, 400, SUB_NONE,
                             "\"http-port\" is needed: the default, %d, is too high",
                             config->https_port + 100);
        config->http_port = config->https_port > 0 ? config->https_port + 100 : CONFIG_PORT_ANY;
        if (config->https_port == CONFIG_PORT_NONE)
            config->http_port = 8181;
    }
    if (config->https_port == CONFIG_PORT_NONE && config->http_port == CONFIG_PORT_NONE)
        return fault_set(fault, 400, SUB_NONE, "neither HTTPS nor plain HTTP has a port");
    if (config->https_port > 0 && config->https_port == config->http_port)
        return fault_set(fault, 400, SUB_NONE, "HTTPS and plain HTTP cannot share port %d",
                         config->http_port);
    return true;
}

static bool settle(struct config *config, struct fault *fault)
{
    if (strcmp(config->listen_address, "localhost") == 0)
        config->listen_address = "127.0.0.1";
    if (!log_level_parse(config->log_level_name, &config->log_level))
        return fault_set(fault, 400, SUB_NONE, "unknown log level \"%s\"", config->log_level_name);
    config->is_log_json = strcmp(config->log_format, "json") == 0;
    if (config->threads == 0) {
        long processors = sysconf(_SC_NPROCESSORS_ONLN);
        config->threads = processors >= 4 ? (int) (processors / 2 < 256 ? processors / 2 : 256) : 1;
    }
    if ((config->command & GATEWAY) == 0)
        return true;
    if (config->is_auth_off && !config_is_loopback(config->listen_address))
        return fault_set(
            fault, 400, SUB_NONE,
            "\"no-auth\" needs a loopback address to listen on, and \"%s\" is open to others",
            config->listen_address);
    if (config->cert_key_file != NULL && config->cert_file == NULL)
        return fault_set(fault, 400, SUB_NONE, "\"cert-key-file\" needs \"cert-file\"");
    if (config->cert_secret != NULL && config->cert_file == NULL)
        return fault_set(fault, 400, SUB_NONE, "\"cert-secret\" needs \"cert-file\"");
    if (config->command == UP && config->port > 65535 - 100 - CONFIG_REGIONS_MAX)
        return fault_set(fault, 400, SUB_NONE,
                         "\"port\" must leave room for the regions' ports up to 65535");
    if (config->command == UP && config->public_endpoint != NULL &&
        !is_host(slice_from_text(config->public_endpoint)))
        return fault_set(fault, 400, SUB_NONE,
                         "\"public-endpoint\" of \"up\" must be a host alone, since each region "
                         "has its own ports");
    return config->command == UP || settle_ports(config, fault);
}

/* What comes behind the command; each command says how many it takes. */
static bool check_arguments(const struct config *config, struct fault *fault)
{
    int least = config->command == SIGN ? 2 : config->command == ACCOUNT ? 1 : 0;
    int most = config->command == CONFIG_HELP ? 1 : least;
    const struct command *command = command_find(config->command);

    if (config->arguments_count > most)
        return fault_set(fault, 400, SUB_NONE, "unexpected argument \"%.*s\"",
                         FAULT_QUOTE(slice_from_text(config->arguments[most])));
    if (config->arguments_count < least)
        return fault_set(fault, 400, SUB_NONE, "usage: orrery %s [options]%s", command->name,
                         command->arguments);
    if (config->command == CONFIG_HELP)
        return true;
    if (config->command == ACCOUNT && strcmp(config->arguments[0], "digest") != 0)
        return fault_set(fault, 400, SUB_NONE, "unknown action \"%.*s\"; \"digest\" is known",
                         FAULT_QUOTE(slice_from_text(config->arguments[0])));
    return true;
}

static bool read_command(struct config *config, int argc, char **argv, struct fault *fault)
{
    if (argc < 2)
        return fault_set(fault, 400, SUB_NONE, "a command is needed; \"orrery help\" lists them");
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        config->command = CONFIG_HELP;
        return true;
    }
    if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0) {
        config->command = CONFIG_VERSION;
        return true;
    }
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        if (strcmp(argv[1], commands[i].name) == 0)
            config->command = commands[i].command;
    }
    if (config->command == 0)
        return fault_set(fault, 400, SUB_NONE,
                         "unknown command \"%.*s\"; \"orrery help\" lists them",
                         FAULT_QUOTE(slice_from_text(argv[1])));
    for (int i = 2; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            config->help_on = config->command;
            config->command = CONFIG_HELP;
        } else if (strcmp(argv[i], "--version") == 0) {
            config->command = CONFIG_VERSION;
        }
    }
    return true;
}

/* "orrery help up" and "orrery help markdown". */
static bool settle_help(struct config *config, struct fault *fault)
{
    const char *topic = config->arguments_count > 0 ? config->arguments[0] : NULL;

    if (config->command != CONFIG_HELP || topic == NULL || strcmp(topic, "markdown") == 0)
        return true;
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        if (strcmp(topic, commands[i].name) == 0)
            config->help_on = commands[i].command;
    }
    return config->help_on != 0 || fault_set(fault, 400, SUB_NONE, "unknown command \"%.*s\"",
                                             FAULT_QUOTE(slice_from_text(topic)));
}

bool config_read(struct config *config, int argc, char **argv, char **environment,
                 struct fault *fault)
{
    memset(config, 0, sizeof(*config));
    if (!read_command(config, argc, argv, fault) || !apply_defaults(config, fault))
        return false;
    if (config->help_on != 0 || config->command == CONFIG_VERSION)
        return true; /* somebody who asks for help has no use for complaints */
    if (!apply_flags(config, argc, argv, false, fault))
        return false;
    for (char **entry = environment; config->config_file == NULL && *entry != NULL; entry++) {
        if (strncmp(*entry, PREFIX "CONFIG=", strlen(PREFIX "CONFIG=")) == 0)
            config->config_file = *entry + strlen(PREFIX "CONFIG=");
    }
    if (config->config_file != NULL && !apply_file(config, config->config_file, fault))
        return false;
    return apply_aliases(config, environment, fault) &&
           apply_environment(config, environment, fault) &&
           apply_flags(config, argc, argv, true, fault) && check_arguments(config, fault) &&
           settle_help(config, fault) && settle(config, fault);
}

/* Is this entry one that config_read would read? */
static bool is_ours(const char *entry)
{
    struct slice value, name = slice_cut(slice_from_text(entry), '=', &value);

    if (slice_starts_with(name, PREFIX))
        return true;
    for (size_t i = 0; i < ARRAY_LEN(settings); i++) {
        if (settings[i].alias != NULL && slice_equals_text(name, settings[i].alias))
            return true;
    }
    return false;
}

static void append_setting(struct buf *text, const struct setting *setting, const char *value)
{
    buf_append_text(text, PREFIX);
    for (const char *c = setting->name; *c != '\0'; c++)
        buf_append_char(text, *c == '-' ? '_' : (char) toupper((unsigned char) *c));
    buf_append_char(text, '=');
    buf_append(text, value, strlen(value) + 1);
}

static bool is_in(const char *const *entries, const char *entry)
{
    size_t len = strcspn(entry, "=") + 1;

    for (; *entries != NULL; entries++) {
        if (strncmp(*entries, entry, len) == 0)
            return true;
    }
    return false;
}

char **config_environment(const struct config *config, enum config_command child,
                          char **environment, const char *const *extra)
{
    struct buf text = {0};
    size_t count = 0;

    for (char **entry = environment; *entry != NULL; entry++) {
        if (!is_ours(*entry)) {
            buf_append(&text, *entry, strlen(*entry) + 1);
            count++;
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(settings); i++) {
        bool is_shared =
            (settings[i].commands & child) != 0 && settings[i].offset != AT(config_file);
        size_t start = text.len;
        if (config->texts[i] == NULL || !is_shared)
            continue;
        append_setting(&text, &settings[i], config->texts[i]);
        if (!text.has_failed && is_in(extra, text.ptr + start))
            text.len = start;
        else
            count++;
    }
    for (const char *const *entry = extra; *entry != NULL; entry++, count++)
        buf_append(&text, *entry, strlen(*entry) + 1);

    /* The pointers and behind them the texts, so that one free() ends both. */
    size_t pointers_bytes = (count + 1) * sizeof(char *);
    char **result = text.has_failed ? NULL : malloc(pointers_bytes + text.len);
    if (result != NULL) {
        char *at = (char *) result + pointers_bytes;
        memcpy(at, text.ptr, text.len);
        for (size_t i = 0; i < count; i++, at += strlen(at) + 1)
            result[i] = at;
        result[count] = NULL;
    }
    buf_finish(&text);
    return result;
}

bool config_is_given(const struct config *config, const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(settings); i++) {
        if (strcmp(settings[i].name, name) == 0 && (settings[i].commands & config->command) != 0)
            return config->texts[i] != NULL;
    }
    return false;
}

void config_finish(struct config *config)
{
    for (size_t i = 0; i < CONFIG_SETTINGS_MAX; i++)
        free(config->texts[i]);
    memset(config, 0, sizeof(*config));
}

/* ---- help ---- */

static void print_wrapped(FILE *out, const char *text, int indent, int columns)
{
    int column = indent;

    while (*text != '\0') {
        int len = (int) strcspn(text, " ");
        if (column > indent && column + 1 + len > columns) {
            fprintf(out, "\n%*s", indent, "");
            column = indent;
        } else if (column > indent) {
            fputc(' ', out);
            column++;
        }
        fprintf(out, "%.*s", len, text);
        column += len;
        text += len;
        text += strspn(text, " ");
    }
    fputc('\n', out);
}

/* The help sentence with what the table knows besides: choices, default, alias. */
static void append_help(struct buf *text, const struct setting *setting)
{
    char choices[128];

    buf_append_text(text, setting->help);
    if (setting->choices != NULL) {
        describe_choices(setting, choices, sizeof(choices));
        buf_printf(text, "; one of %s", choices);
    }
    if (setting->initial != NULL)
        buf_printf(text, " [%s]", setting->initial);
    if (setting->alias != NULL)
        buf_printf(text, " (environment also %s)", setting->alias);
}

static void print_setting(FILE *out, const struct setting *setting)
{
    struct buf text = {0};
    int column = fprintf(out, "  --%s%s%s", setting->name, setting->argument != NULL ? " " : "",
                         setting->argument != NULL ? setting->argument : "");

    if (column > 29)
        fprintf(out, "\n%30s", "");
    else
        fprintf(out, "%*s", 30 - column, "");
    append_help(&text, setting);
    if (buf_text(&text) != NULL)
        print_wrapped(out, text.ptr, 30, 100);
    buf_finish(&text);
}

static void print_program_help(FILE *out)
{
    fprintf(out,
            "Orrery %s, a multi-region document database that speaks the Cosmos DB REST API\n\n"
            "usage: orrery COMMAND [options]\n\n",
            ORRERY_VERSION);
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        int column = fprintf(out, "  %s%s", commands[i].name, commands[i].arguments);
        fprintf(out, "%*s%s\n", 24 - column, "", commands[i].summary);
    }
    fprintf(out, "\n\"orrery COMMAND --help\" lists the options of a command. Options may also "
                 "stand in a file (--config\n"
                 "FILE, lines of name = value) and in the environment (ORRERY_HTTP_PORT for "
                 "--http-port); flags win\n"
                 "over the environment, the environment over the file.\n\n"
                 "exit status: 0 done; 1 it could not be done, or a check found something wrong; 2 "
                 "wrong usage\n");
}

void config_print_help(FILE *out, enum config_command command)
{
    const struct command *found = command_find(command);

    if (found == NULL) {
        print_program_help(out);
        return;
    }
    fprintf(out, "usage: orrery %s [options]%s\n\n%s\n\n", found->name, found->arguments,
            found->summary);
    for (size_t i = 0; i < ARRAY_LEN(settings); i++) {
        if ((settings[i].commands & command) != 0)
            print_setting(out, &settings[i]);
    }
}

void config_print_markdown(FILE *out)
{
    fprintf(out, "# Configuration\n\n"
                 "Every option has three forms, of which the later wins: `name = value` in the "
                 "file that `--config FILE` or\n"
                 "`ORRERY_CONFIG` names, `ORRERY_NAME=value` in the environment (hyphens become "
                 "underscores), and the flag\n"
                 "`--name value` or `--name=value`. An unknown name is refused in all three. A "
                 "flag must belong to the command; the\n"
                 "file and the environment may hold options of other commands. In the file `#` "
                 "begins a comment, and a value\n"
                 "with `#` or outer spaces stands in double quotes. Sizes take the units KiB, MiB "
                 "and GiB.\n\n"
                 "Exit status of every command: 0 done; 1 it could not be done, or a check found "
                 "something wrong; 2 wrong usage.\n\n"
                 "This page is written by `orrery help markdown`.\n");
    for (size_t c = 0; c < ARRAY_LEN(commands); c++) {
        if ((commands[c].command & WORK) == 0)
            continue;
        fprintf(out, "\n## orrery %s%s\n\n%s.\n\n| option | meaning |\n|---|---|\n",
                commands[c].name, commands[c].arguments, commands[c].summary);
        for (size_t i = 0; i < ARRAY_LEN(settings); i++) {
            struct buf text = {0};
            if ((settings[i].commands & commands[c].command) == 0)
                continue;
            append_help(&text, &settings[i]);
            fprintf(out, "| `--%s%s%s` | %s |\n", settings[i].name,
                    settings[i].argument != NULL ? " " : "",
                    settings[i].argument != NULL ? settings[i].argument : "",
                    buf_text(&text) != NULL ? text.ptr : "");
            buf_finish(&text);
        }
    }
}
