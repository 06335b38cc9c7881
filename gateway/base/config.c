/*
 * The readers of settings.
 *
 * A layer (defaults, file, environment aliases, environment, flags) is applied after the other, and
 * each goes through set_value, so that a value means the same and is refused the same way wherever
 * it stands. What depends on several settings (ports, threads, --no-auth) is settled once, at the
 * end. Rejected: getopt_long, which knows neither files nor environment and would be a second
 * table.
 */
#include "base/config.h"

#include "base/config_table.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/banned.h"

#define KIB 1024LL
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)

#define FILE_BYTES_MAX (64 * KIB)
#define TEXT_BYTES_MAX 4096

/* http_port before it is settled. */
#define PORT_UNSET (-2)

/* ---- one value ---- */

static bool refuse(struct fault *fault, const char *where, const struct setting *setting,
                   const char *value, const char *why)
{
    bool is_secret =
        setting->offset == CONFIG_AT(key) || setting->offset == CONFIG_AT(cert_secret) ||
        setting->offset == CONFIG_AT(etcd_password) || setting->offset == CONFIG_AT(database_url);

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

    if (setting->kind == SETTING_PORT && setting->min == 0 && slice_equals_nocase(value, "none")) {
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
    case SETTING_TEXT:
        why = text.len == 0            ? "a value is needed"
              : setting->check != NULL ? setting->check(value)
                                       : NULL;
        if (why != NULL)
            return refuse(fault, where, setting, value, why);
        *(const char **) member = value;
        return true;
    case SETTING_CHOICE:
        setting_choices(setting, choices, sizeof(choices));
        snprintf(range, sizeof(range), "one of %s is needed", choices);
        return set_choice(member, setting, text) || refuse(fault, where, setting, value, range);
    case SETTING_SWITCH:
        return set_switch(member, text) ||
               refuse(fault, where, setting, value, "yes or no is needed");
    case SETTING_NUMBER:
    case SETTING_PORT:
        snprintf(range, sizeof(range), "%lld to %lld%s is needed", setting->min, setting->max,
                 setting->kind == SETTING_PORT && setting->min == 0 ? ", or none," : "");
        return set_number(member, setting, text) || refuse(fault, where, setting, value, range);
    case SETTING_BYTES:
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

    for (size_t i = 0; i < settings_count; i++) {
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
    for (size_t i = 0; i < settings_count; i++) {
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
        for (size_t i = 0; i < settings_count; i++) {
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
        if (!slice_starts_with(name, CONFIG_PREFIX) ||
            slice_equals_text(name, CONFIG_PREFIX "CONFIG"))
            continue; /* the file was read before */
        struct slice tail =
            slice_make(name.ptr + strlen(CONFIG_PREFIX), name.len - strlen(CONFIG_PREFIX));
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
    if (setting == NULL || setting->offset == CONFIG_AT(config_file))
        return fault_set(fault, 400, SUB_NONE, "%s: unknown setting \"%.*s\"", where,
                         FAULT_QUOTE(name));
    if (is_seen[setting - settings])
        return fault_set(fault, 400, SUB_NONE, "%s: \"%s\" is set twice", where, setting->name);
    is_seen[setting - settings] = true;
    return (setting->commands & config->command) == 0 || give(config, setting, value, where, fault);
}

static bool apply_file(struct config *config, const char *path, struct fault *fault)
{
    bool is_seen[CONFIG_SETTINGS_MAX] = {false};
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
    if ((*setting)->kind == SETTING_SWITCH) {
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
            bool is_file = setting->offset == CONFIG_AT(config_file);
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
    if ((config->command & CONFIG_GATEWAY) == 0)
        return true;
    if (config->is_auth_off && !config_is_loopback(config->listen_address))
        return fault_set(
            fault, 400, SUB_NONE,
            "\"no-auth\" needs a loopback address to listen on, and \"%s\" is open to others",
            config->listen_address);
    if (config->etcd != NULL &&
        1000 * (int64_t) config->etcd_ttl_s < 3 * (int64_t) config->lease_ms)
        return fault_set(fault, 400, SUB_NONE,
                         "\"etcd-ttl-s\" must be at least three times \"lease-ms\": %d s are less "
                         "than 3 * %d ms",
                         config->etcd_ttl_s, config->lease_ms);
    if (config->etcd_cert_key_file != NULL && config->etcd_cert_file == NULL)
        return fault_set(fault, 400, SUB_NONE, "\"etcd-cert-key-file\" needs \"etcd-cert-file\"");
    if ((config->etcd_user == NULL) != (config->etcd_password == NULL))
        return fault_set(fault, 400, SUB_NONE,
                         "\"etcd-user\" and \"etcd-password\" need each other");
    if (config->cert_key_file != NULL && config->cert_file == NULL)
        return fault_set(fault, 400, SUB_NONE, "\"cert-key-file\" needs \"cert-file\"");
    if (config->cert_secret != NULL && config->cert_file == NULL)
        return fault_set(fault, 400, SUB_NONE, "\"cert-secret\" needs \"cert-file\"");
    if (config->command == CONFIG_UP && config->port > 65535 - 100 - CONFIG_REGIONS_MAX)
        return fault_set(fault, 400, SUB_NONE,
                         "\"port\" must leave room for the regions' ports up to 65535");
    if (config->command == CONFIG_UP && config->public_endpoint != NULL &&
        !config_is_host(slice_from_text(config->public_endpoint)))
        return fault_set(fault, 400, SUB_NONE,
                         "\"public-endpoint\" of \"up\" must be a host alone, since each region "
                         "has its own ports");
    return config->command == CONFIG_UP || settle_ports(config, fault);
}

static bool check_action(const char *action, struct fault *fault)
{
    static const char *const known[] = {"digest", "status", "failover", "offline", "online",
                                        "add",    "remove", "level",    "mode",    "priority"};

    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        if (strcmp(action, known[i]) == 0)
            return true;
    }
    return fault_set(fault, 400, SUB_NONE,
                     "unknown action \"%.*s\"; digest, status, failover, offline, online, add, "
                     "remove, level, mode and priority are known",
                     FAULT_QUOTE(slice_from_text(action)));
}

/* What comes behind the command; each command says how many it takes. */
static bool check_arguments(const struct config *config, struct fault *fault)
{
    int least = config->command == CONFIG_SIGN ? 2 : config->command == CONFIG_ACCOUNT ? 1 : 0;
    int most = config->command == CONFIG_HELP ? 1 : config->command == CONFIG_ACCOUNT ? 2 : least;
    const struct command *command = command_find(config->command);

    if (config->arguments_count > most)
        return fault_set(fault, 400, SUB_NONE, "unexpected argument \"%.*s\"",
                         FAULT_QUOTE(slice_from_text(config->arguments[most])));
    if (config->arguments_count < least)
        return fault_set(fault, 400, SUB_NONE, "usage: orrery %s [options]%s", command->name,
                         command->arguments);
    if (config->command == CONFIG_HELP)
        return true;
    return config->command != CONFIG_ACCOUNT || check_action(config->arguments[0], fault);
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
    for (size_t i = 0; i < commands_count; i++) {
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
    for (size_t i = 0; i < commands_count; i++) {
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
        if (strncmp(*entry, CONFIG_PREFIX "CONFIG=", strlen(CONFIG_PREFIX "CONFIG=")) == 0)
            config->config_file = *entry + strlen(CONFIG_PREFIX "CONFIG=");
    }
    if (config->config_file != NULL && !apply_file(config, config->config_file, fault))
        return false;
    return apply_aliases(config, environment, fault) &&
           apply_environment(config, environment, fault) &&
           apply_flags(config, argc, argv, true, fault) && check_arguments(config, fault) &&
           settle_help(config, fault) && settle(config, fault);
}

bool config_is_given(const struct config *config, const char *name)
{
    for (size_t i = 0; i < settings_count; i++) {
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
