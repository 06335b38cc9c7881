/*
 * orrery up: a whole account on this machine, and its supervisor.
 *
 * Each region climbs through its stages: initdb (once), PostgreSQL starts, the schema is brought up
 * to date, the gateway starts, the gateway is ready. One loop moves all regions on: it waits for
 * signals, for a gateway's ready line and for the next time something is due. Until all were ready
 * once, any failure ends everything with status 1; afterwards what dies is started again, waiting
 * longer each time. Stopping goes the other way: gateways drain, then PostgreSQL shuts down.
 *
 * The few statements that make database and schema block the loop for milliseconds; nobody is
 * served by it.
 */
#include "program/program.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/keys.h"
#include "program/child.h"
#include "program/cluster.h"
#include "program/layout.h"
#include "regions/topology.h"
#include "store/schema.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/banned.h"

#define POLL_MS 25           /* while PostgreSQL starts or something ends */
#define BACKOFF_FIRST_MS 100 /* doubled at each death in a row */
#define BACKOFF_MAX_MS 10000
#define HEALTHY_MS 60000      /* what lived so long starts its count of deaths anew */
#define FOREIGN_WAIT_MS 60000 /* for a PostgreSQL that is not ours to answer */
#define FOREIGN_RETRY_MS 500
#define GATEWAY_READY_MS 60000 /* at the first start only */
#define ORPHAN_MS 60000        /* an earlier server may take so long to write its checkpoint */
#define POSTGRES_STOP_MS 60000
#define KILL_MS 5000 /* beyond the drain */
#define LINE_BYTES_MAX 65536
#define HTTP_OFFSET 100

enum stage {
    STAGE_ORPHANS,  /* waiting for processes of an earlier run to leave the data */
    STAGE_INITDB,   /* initdb runs */
    STAGE_POSTGRES, /* PostgreSQL is to be started, or starts */
    STAGE_GATEWAY,  /* the gateway is to be started, or starts */
    STAGE_READY,
};

struct process {
    pid_t pid;          /* 0: not running */
    int64_t started_ms; /* monotonic */
    int64_t due_ms;     /* when to start it again */
    int64_t backoff_ms;
};

struct region {
    const char *name;
    int ordinal;
    int https_port, http_port;
    const char *slug;
    const char
        *database; /* connection string of a PostgreSQL that is not ours; NULL: a private one */
    struct cluster cluster; /* the private one */
    enum stage stage;
    int64_t stage_since_ms;
    struct process initdb, postgres, gateway;
    int output_fd;     /* of initdb or the gateway; -1 */
    struct buf output; /* what came from it and was not looked at */
    bool was_ready;
};

struct up {
    const struct config *config;
    char **environment;
    char program[PATH_MAX]; /* ourselves */
    char data[CLUSTER_PATH_BYTES];
    char topology[CLUSTER_PATH_BYTES + 32]; /* the file that begins an account of several regions */
    char certificates[CLUSTER_PATH_BYTES + 32]; /* directory */
    bool is_account;                            /* the regions replicate */
    struct layout layout;
    struct cluster_host host; /* of private PostgreSQL servers, if there are any */
    struct region regions[CONFIG_REGIONS_MAX];
    int count;
    int lock_fd, signal_fd;
    bool is_announced; /* the ready line was printed */
    bool is_stopping;
    int status;
};

static const char retry_note[] = "another attempt follows";

/* ---- before anything is started ---- */

/* --data, ./orrery-data, $XDG_DATA_HOME/orrery; for root, whose home is closed to others,
 * /var/lib/orrery. */
static bool choose_data(struct up *up, struct fault *fault)
{
    const char *given = up->config->data_dir, *shared = getenv("XDG_DATA_HOME");
    char here[CLUSTER_PATH_BYTES];
    struct fault ignored;

    if (getcwd(here, sizeof(here) - 32) == NULL)
        return fault_set(fault, 500, SUB_NONE, "cannot tell the current directory: %s",
                         strerror(errno));
    if (given != NULL) {
        bool is_absolute = given[0] == '/';
        int len = snprintf(up->data, sizeof(up->data), "%s%s%s", is_absolute ? "" : here,
                           is_absolute ? "" : "/", given);
        return len < (int) sizeof(up->data) - 128 ||
               fault_set(fault, 500, SUB_NONE, "the path \"%.80s…\" is too long", given);
    }
    if (access("orrery-data", F_OK) != 0 && shared != NULL && shared[0] == '/' &&
        strlen(shared) < 800)
        snprintf(up->data, sizeof(up->data), "%s/orrery", shared);
    else if (access("orrery-data", F_OK) != 0 && !cluster_host_can_enter(&up->host, here, &ignored))
        snprintf(up->data, sizeof(up->data), "/var/lib/orrery");
    else
        snprintf(up->data, sizeof(up->data), "%.1000s/orrery-data", here);
    return true;
}

/* Held until we end, however we end; children do not inherit it. */
static bool lock_data(struct up *up, struct fault *fault)
{
    char path[CLUSTER_PATH_BYTES + 8], owner[32] = "";

    snprintf(path, sizeof(path), "%s/lock", up->data);
    up->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (up->lock_fd < 0)
        return fault_set(fault, 500, SUB_NONE, "cannot write \"%s\": %s", path, strerror(errno));
    if (flock(up->lock_fd, LOCK_EX | LOCK_NB) == 0) {
        int len = snprintf(owner, sizeof(owner), "%d\n", (int) getpid());
        return (ftruncate(up->lock_fd, 0) == 0 &&
                pwrite(up->lock_fd, owner, (size_t) len, 0) == len) ||
               fault_set(fault, 500, SUB_NONE, "cannot write \"%s\": %s", path, strerror(errno));
    }
    ssize_t len = pread(up->lock_fd, owner, sizeof(owner) - 1, 0);
    owner[len > 0 ? strcspn(owner, "\n") : 0] = '\0';
    return fault_set(fault, 500, SUB_NONE, "\"%s\" is in use by another \"orrery up\"%s%s",
                     up->data, owner[0] != '\0' ? ", process " : "", owner);
}

static bool port_is_free(const struct up *up, const struct region *region, int port,
                         struct fault *fault)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t) port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t) port)};
    bool is_v4 = inet_pton(AF_INET, up->config->listen_address, &v4.sin_addr) == 1;
    int one = 1;

    if (port == CONFIG_PORT_NONE)
        return true;
    if (!is_v4 && inet_pton(AF_INET6, up->config->listen_address, &v6.sin6_addr) != 1)
        return fault_set(fault, 500, SUB_NONE, "\"%s\" is no address", up->config->listen_address);
    int fd = socket(is_v4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    /* As the gateway will do it: connections of an earlier one in TIME_WAIT are no obstacle. */
    bool is_free = fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) == 0 &&
                   bind(fd, is_v4 ? (struct sockaddr *) &v4 : (struct sockaddr *) &v6,
                        is_v4 ? sizeof(v4) : sizeof(v6)) == 0 &&
                   listen(fd, 1) == 0;
    int error = errno;
    if (fd >= 0)
        close(fd);
    return is_free ||
           fault_set(fault, 500, SUB_NONE, "port %d of region \"%s\" cannot be used on %s: %s",
                     port, region->name, up->config->listen_address, strerror(error));
}

static void region_init(struct up *up, int index)
{
    struct region *region = &up->regions[index];
    const char *protocol = up->config->protocol;

    region->name = up->layout.regions[index].name;
    region->slug = up->layout.regions[index].slug;
    region->database = up->layout.regions[index].database;
    region->ordinal = index + 1;
    region->output_fd = -1;
    region->https_port = up->config->port + index;
    region->http_port = region->https_port + HTTP_OFFSET;
    if (strcmp(protocol, "https") == 0)
        region->http_port = CONFIG_PORT_NONE;
    if (strcmp(protocol, "http") == 0) {
        region->http_port = region->https_port;
        region->https_port = CONFIG_PORT_NONE;
    }
}

static bool find_ourselves(struct up *up, struct fault *fault)
{
    ssize_t len = readlink("/proc/self/exe", up->program, sizeof(up->program) - 1);

    if (len <= 0)
        return fault_set(fault, 500, SUB_NONE, "cannot find this program's own file: %s",
                         strerror(errno));
    up->program[len] = '\0';
    return true;
}

static bool open_signals(struct up *up, struct fault *fault)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN); /* whoever read our ready line may be gone */
    up->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return up->signal_fd >= 0 || fault_set(fault, 500, SUB_NONE, "signalfd: %s", strerror(errno));
}

/* The first topology: the first region is the hub, the others follow in the order of priority. */
static void print_topology(const struct up *up, struct buf *out)
{
    struct topology topology = {.account = slice_from_text(up->config->account_name),
                                .epoch = TOPOLOGY_EPOCH_FIRST,
                                .hub = (unsigned) up->regions[0].ordinal,
                                .level = LEVEL_SESSION,
                                .bounded_versions = TOPOLOGY_BOUNDED_VERSIONS,
                                .bounded_s = TOPOLOGY_BOUNDED_S,
                                .region_count = (unsigned) up->count};

    (void) consistency_level_find(slice_from_text(up->config->consistency), &topology.level);
    for (int i = 0; i < up->count; i++)
        topology.regions[i] =
            (struct topology_region){.ordinal = (unsigned) up->regions[i].ordinal,
                                     .name = slice_from_text(up->regions[i].name)};
    topology_print(out, &topology);
    buf_append_char(out, '\n');
}

/* Written once, put in place whole. Later the databases know better, and are only compared. */
static bool write_topology(const struct up *up, struct fault *fault)
{
    char beside[sizeof(up->topology) + 8];
    struct buf text = {0};

    snprintf(beside, sizeof(beside), "%s.new", up->topology);
    print_topology(up, &text);
    int fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
    bool is_written = fd >= 0 && !text.has_failed &&
                      write(fd, text.ptr, text.len) == (ssize_t) text.len && fsync(fd) == 0;
    if (fd >= 0)
        close(fd);
    buf_finish(&text);
    return (is_written && rename(beside, up->topology) == 0) ||
           fault_set(fault, 500, SUB_NONE, "cannot write \"%s\": %s", up->topology,
                     strerror(errno));
}

static bool prepare_topology(struct up *up, struct fault *fault)
{
    snprintf(up->topology, sizeof(up->topology), "%s/topology.json", up->data);
    snprintf(up->certificates, sizeof(up->certificates), "%.*s", CLUSTER_PATH_BYTES,
             up->config->cert_dir != NULL ? up->config->cert_dir : up->data);
    if (up->config->cert_dir == NULL)
        snprintf(up->certificates, sizeof(up->certificates), "%s/tls", up->data);
    bool is_there = access(up->topology, F_OK) == 0;
    up->is_account = is_there || up->count > 1;
    return !up->is_account || is_there || write_topology(up, fault);
}

static bool has_private_database(const struct up *up)
{
    for (int i = 0; i < up->count; i++) {
        if (up->layout.regions[i].database == NULL)
            return true;
    }
    return false;
}

static bool prepare(struct up *up, struct fault *fault)
{
    if (!layout_read(&up->layout, up->config, fault))
        return false;
    up->count = up->layout.count;
    for (int i = 0; i < up->count; i++)
        region_init(up, i);
    bool is_host = has_private_database(up);
    if (!find_ourselves(up, fault) ||
        (is_host && !cluster_host_find_user(&up->host, up->config, fault)) ||
        !choose_data(up, fault) ||
        (is_host && !cluster_host_find_programs(&up->host, up->config, up->data, fault)) ||
        !directory_make(up->data, fault) || !cluster_host_can_enter(&up->host, up->data, fault) ||
        !lock_data(up, fault))
        return false;
    if (!prepare_topology(up, fault))
        return false;
    for (int i = 0; i < up->count; i++) {
        struct region *region = &up->regions[i];
        if (!port_is_free(up, region, region->https_port, fault) ||
            !port_is_free(up, region, region->http_port, fault) ||
            (region->database == NULL && !cluster_prepare(&region->cluster, &up->host, up->config,
                                                          up->data, region->slug, fault)))
            return false;
    }
    return true;
}

/* ---- processes ---- */

static void enter(struct region *region, enum stage stage)
{
    region->stage = stage;
    region->stage_since_ms = clock_monotonic_ms();
}

static void process_begun(struct process *process, pid_t pid)
{
    process->pid = pid;
    process->started_ms = clock_monotonic_ms();
}

static void process_ended(struct process *process)
{
    int64_t now = clock_monotonic_ms();

    if (process->backoff_ms == 0 || now - process->started_ms > HEALTHY_MS)
        process->backoff_ms = BACKOFF_FIRST_MS;
    else if (process->backoff_ms < BACKOFF_MAX_MS)
        process->backoff_ms =
            process->backoff_ms * 2 < BACKOFF_MAX_MS ? process->backoff_ms * 2 : BACKOFF_MAX_MS;
    process->pid = 0;
    process->due_ms = now + process->backoff_ms;
}

/* Something could not be done. At the first start that is the end, afterwards a matter of time. */
static void region_failed(struct up *up, struct region *region, struct process *process,
                          const char *message)
{
    if (up->is_stopping)
        return;
    if (up->is_announced) {
        if (process != NULL && process->pid == 0)
            process_ended(process);
        log_error(NULL, "region disturbed", "region=\"%s\" reason=\"%s\" note=\"%s\"", region->name,
                  message, retry_note);
        return;
    }
    up->status = program_fail("region \"%s\": %s", region->name, message);
    up->is_stopping = true;
}

static void output_close(struct region *region)
{
    if (region->output_fd >= 0)
        close(region->output_fd);
    region->output_fd = -1;
}

static bool output_open(struct region *region, int *write_fd, struct fault *fault)
{
    int ends[2];

    output_close(region);
    buf_finish(&region->output);
    if (pipe2(ends, O_CLOEXEC) != 0)
        return fault_set(fault, 500, SUB_NONE, "cannot make a pipe: %s", strerror(errno));
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    region->output_fd = ends[0];
    *write_fd = ends[1];
    return true;
}

static void initdb_begin(struct up *up, struct region *region)
{
    struct fault fault = {0};
    int write_fd = -1;
    pid_t pid = -1;

    if (output_open(region, &write_fd, &fault)) {
        pid = cluster_make_begin(&region->cluster, write_fd, &fault);
        close(write_fd);
    }
    if (pid < 0) {
        region_failed(up, region, NULL, fault.message);
        return;
    }
    process_begun(&region->initdb, pid);
    enter(region, STAGE_INITDB);
}

static void postgres_begin(struct up *up, struct region *region)
{
    struct fault fault = {0};

    /* After a crash its backends need a moment to notice; a new server would refuse to start beside
     * them. */
    if (cluster_is_busy(&region->cluster, false))
        return;
    pid_t pid = cluster_start(&region->cluster, &fault);
    if (pid < 0)
        region_failed(up, region, &region->postgres, fault.message);
    else
        process_begun(&region->postgres, pid);
}

static const char *public_host(const struct config *config)
{
    if (config->public_endpoint != NULL)
        return config->public_endpoint;
    bool is_everywhere =
        strcmp(config->listen_address, "0.0.0.0") == 0 || strcmp(config->listen_address, "::") == 0;
    return is_everywhere || config_is_loopback(config->listen_address) ? "localhost"
                                                                       : config->listen_address;
}

/* What other processes of this machine connect to: an address that stands for all is reached by
 * loopback. */
static const char *local_host(const struct up *up)
{
    const char *host = up->config->listen_address;

    if (strcmp(host, "0.0.0.0") == 0)
        return "127.0.0.1";
    return strcmp(host, "::") == 0 ? "::1" : host;
}

static void append_place(struct buf *list, const char *name, const char *scheme, const char *host,
                         int port)
{
    bool is_v6 = strchr(host, ':') != NULL;

    buf_printf(list, "%s%s=%s://%s%s%s:%d", list->len > 0 ? "," : "", name, scheme,
               is_v6 ? "[" : "", host, is_v6 ? "]" : "", port);
}

/* Where the other regions' gateways are: plain HTTP where there is some, it stays on this machine.
 */
static void list_peers(const struct up *up, const struct region *region, struct buf *list)
{
    for (int i = 0; i < up->count; i++) {
        const struct region *other = &up->regions[i];
        bool is_plain = other->http_port != CONFIG_PORT_NONE;
        if (other != region)
            append_place(list, other->name, is_plain ? "http" : "https", local_host(up),
                         is_plain ? other->http_port : other->https_port);
    }
}

/* Where clients find all regions. */
static void list_endpoints(const struct up *up, struct buf *list)
{
    for (int i = 0; i < up->count; i++) {
        const struct region *region = &up->regions[i];
        if (region->https_port != CONFIG_PORT_NONE)
            append_place(list, region->name, "https", public_host(up->config), region->https_port);
        if (region->http_port != CONFIG_PORT_NONE)
            append_place(list, region->name, "http", public_host(up->config), region->http_port);
    }
}

/* "NAME=value" for a child's environment; empty texts are left out. */
static void add_text(struct buf *block, const char *name, struct buf *value)
{
    if (value->len > 0) {
        buf_printf(block, "ORRERY_%s=", name);
        buf_append(block, value->ptr, value->len);
        buf_append_char(block, '\0');
    }
    block->has_failed |= value->has_failed;
    buf_finish(value);
}

static void add_port(struct buf *block, const char *name, int port)
{
    struct buf value = {0};

    if (port == CONFIG_PORT_NONE)
        buf_append_text(&value, "none");
    else
        buf_printf(&value, "%d", port);
    add_text(block, name, &value);
}

static const char *database_url(const struct region *region)
{
    return region->database != NULL ? region->database : region->cluster.url;
}

/* Settings of one gateway, NAME=value each with a NUL behind. */
static void list_settings(const struct up *up, const struct region *region, struct buf *block)
{
    struct buf value = {0};

    buf_append_text(&value, database_url(region));
    add_text(block, "DATABASE", &value);
    buf_append_text(&value, "yes");
    add_text(block, "ALLOW_FAULTS", &value);
    layout_print_latencies(&up->layout, &value);
    add_text(block, "LINK_LATENCY", &value);
    buf_printf(&value, "%d", region->ordinal);
    add_text(block, "ORDINAL", &value);
    add_port(block, "PORT", region->https_port);
    add_port(block, "HTTP_PORT", region->http_port);
    buf_append_text(&value, "both");
    add_text(block, "PROTOCOL", &value);
    if (up->config->cert_dir == NULL) { /* given, it goes along with the other settings */
        buf_printf(&value, "%s/tls", up->data);
        add_text(block, "CERT_DIR", &value);
    }
    if (!up->is_account)
        return;
    list_peers(up, region, &value);
    add_text(block, "PEERS", &value);
    buf_printf(&value, "%s/ca.pem", up->certificates);
    add_text(block, "PEER_CA_FILE", &value);
    list_endpoints(up, &value);
    add_text(block, "CLIENT_ENDPOINTS", &value);
    buf_append_text(&value, up->topology);
    add_text(block, "TOPOLOGY", &value);
}

static char **make_environment(const struct up *up, const struct region *region)
{
    const char *extra[16] = {NULL};
    struct buf block = {0};
    char **environment = NULL;
    size_t count = 0;

    list_settings(up, region, &block);
    for (size_t at = 0; !block.has_failed && at < block.len; at += strlen(block.ptr + at) + 1)
        extra[count++] = block.ptr + at;
    assert(count < ARRAY_LEN(extra));
    if (!block.has_failed)
        environment = config_environment(up->config, CONFIG_SERVE, up->environment, extra);
    buf_finish(&block);
    return environment;
}

static void gateway_begin(struct up *up, struct region *region)
{
    const char *argv[] = {up->program, "serve", "--region", region->name, NULL};
    struct fault fault = {0};
    int write_fd = -1;
    pid_t pid = -1;

    char **environment = make_environment(up, region);
    if (environment == NULL) {
        fault_set_oom(&fault);
    } else if (output_open(region, &write_fd, &fault)) {
        struct child_spec spec = {argv,   (const char *const *) environment, NULL, write_fd, -1,
                                  SIGKILL};
        pid = child_start(&spec, &fault);
        close(write_fd);
    }
    free(environment);
    if (pid < 0) {
        region_failed(up, region, &region->gateway, fault.message);
        return;
    }
    process_begun(&region->gateway, pid);
    enter(region, STAGE_GATEWAY);
}

/* ---- stages ---- */

static void step_orphans(struct up *up, struct region *region)
{
    int64_t waited_ms = clock_monotonic_ms() - region->stage_since_ms;

    if (region->database != NULL) {
        enter(region, STAGE_POSTGRES);
        return;
    }
    if (cluster_is_busy(&region->cluster, waited_ms > ORPHAN_MS)) {
        if (waited_ms > 2 * ORPHAN_MS)
            region_failed(up, region, NULL,
                          "a PostgreSQL of an earlier run does not let go of the data");
        return;
    }
    if (cluster_is_made(&region->cluster))
        enter(region, STAGE_POSTGRES);
    else
        initdb_begin(up, region);
}

/* It is not there yet, or recovers, which may take long. Anything else, a refused login say, will
 * not pass. */
static bool is_starting(const struct fault *fault)
{
    static const char *const passing[] = {"No such file", "Connection refused",
                                          "the database system is", "server closed the connection"};

    for (size_t i = 0; i < ARRAY_LEN(passing); i++) {
        if (fault->status == 503 && strstr(fault->message, passing[i]) != NULL)
            return true;
    }
    return false;
}

/* A PostgreSQL that somebody else starts, perhaps at the same time as us. */
static void step_foreign(struct up *up, struct region *region)
{
    int64_t now = clock_monotonic_ms();
    struct schema_outcome outcome;
    struct fault fault = {0};

    if (now < region->postgres.due_ms)
        return;
    if (schema_migrate(region->database, region->ordinal, &outcome, &fault))
        enter(region, STAGE_GATEWAY);
    else if (is_starting(&fault) && now - region->stage_since_ms < FOREIGN_WAIT_MS)
        region->postgres.due_ms = now + FOREIGN_RETRY_MS;
    else
        region_failed(up, region, &region->postgres, fault.message);
}

static void step_postgres(struct up *up, struct region *region)
{
    struct schema_outcome outcome;
    struct fault fault = {0};

    if (region->database != NULL) {
        step_foreign(up, region);
        return;
    }
    if (region->postgres.pid == 0) {
        if (clock_monotonic_ms() >= region->postgres.due_ms)
            postgres_begin(up, region);
        return;
    }
    if (!cluster_answers(&region->cluster, &fault)) {
        if (!is_starting(&fault))
            region_failed(up, region, NULL, fault.message);
        return;
    }
    if (!schema_migrate(region->cluster.url, region->ordinal, &outcome, &fault))
        region_failed(up, region, NULL, fault.message);
    else
        enter(region, STAGE_GATEWAY);
}

static void step_gateway(struct up *up, struct region *region)
{
    int64_t now = clock_monotonic_ms();
    struct fault fault = {0};

    if (region->gateway.pid != 0) {
        if (!up->is_announced && now - region->gateway.started_ms > GATEWAY_READY_MS)
            region_failed(up, region, NULL, "the gateway is not ready after a minute");
        return;
    }
    /* While PostgreSQL is away or recovers, it would only find that out and end. */
    if (now >= region->gateway.due_ms &&
        (region->database != NULL ||
         (region->postgres.pid != 0 &&
          (cluster_answers(&region->cluster, &fault) || !is_starting(&fault)))))
        gateway_begin(up, region);
}

/* A gateway lives through a restart of its PostgreSQL, so the two are looked after apart from each
 * other. */
static void step_region(struct up *up, struct region *region)
{
    switch (region->stage) {
    case STAGE_ORPHANS:
        step_orphans(up, region);
        return;
    case STAGE_INITDB:
        return; /* until it ends */
    case STAGE_POSTGRES:
        step_postgres(up, region);
        return;
    case STAGE_GATEWAY:
        step_gateway(up, region);
        break;
    case STAGE_READY:
        break;
    }
    if (region->database == NULL && region->postgres.pid == 0 &&
        clock_monotonic_ms() >= region->postgres.due_ms)
        postgres_begin(up, region);
}

/* ---- what children say and how they end ---- */

static void read_output(struct region *region)
{
    char bytes[4096];
    ssize_t got = 1;

    while (got > 0) {
        got = read(region->output_fd, bytes, sizeof(bytes));
        if (got > 0 && region->output.len < LINE_BYTES_MAX)
            buf_append(&region->output, bytes, (size_t) got);
    }
    if (got == 0 || (errno != EAGAIN && errno != EINTR))
        output_close(region);
    if (region->stage != STAGE_GATEWAY || buf_text(&region->output) == NULL)
        return;
    /* The gateway says one line of JSON when it is ready, and nothing else. */
    char *end = strchr(region->output.ptr, '\n');
    if (end != NULL && strstr(region->output.ptr, "\"ready\"") != NULL) {
        if (region->was_ready)
            log_info(NULL, "gateway is back", "region=\"%s\"", region->name);
        region->was_ready = true;
        enter(region, STAGE_READY);
    }
}

/* The last lines of a text as one line: those that say why. */
static void shorten(char *text, size_t max)
{
    size_t len = strlen(text);

    while (len > 0 && text[len - 1] == '\n')
        text[--len] = '\0';
    if (len > max)
        memmove(text, text + len - max, max + 1);
    for (char *c = text; *c != '\0'; c++) {
        if (*c == '\n' || *c == '\t')
            *c = ' ';
        else if (*c == '"')
            *c = '\''; /* it is quoted in the log */
    }
}

static void initdb_ended(struct up *up, struct region *region, int status)
{
    struct fault fault = {0};
    char said[1024] = "", message[1600];

    region->initdb.pid = 0;
    if (region->output_fd >= 0)
        read_output(region);
    if (buf_text(&region->output) != NULL)
        snprintf(said, sizeof(said), "%s",
                 region->output.ptr + (region->output.len > sizeof(said) - 1
                                           ? region->output.len - sizeof(said) + 1
                                           : 0));
    output_close(region);
    shorten(said, 600);
    if (status == 0 && !up->is_stopping && cluster_make_end(&region->cluster, &fault)) {
        enter(region, STAGE_POSTGRES);
        return;
    }
    cluster_make_undo(&region->cluster);
    snprintf(message, sizeof(message), "initdb in \"%.400s\": %s", region->cluster.directory,
             status == 0 ? fault.message : said);
    region_failed(up, region, NULL, message);
}

static void postgres_ended(struct up *up, struct region *region, int status)
{
    char how[96], tail[700], message[900];

    child_describe(status, how, sizeof(how));
    process_ended(&region->postgres);
    if (up->is_stopping)
        return;
    cluster_log_tail(&region->cluster, tail, sizeof(tail));
    shorten(tail, 400);
    snprintf(message, sizeof(message), "PostgreSQL %s: %s", how, tail);
    region_failed(up, region, NULL, message);
}

static void gateway_ended(struct up *up, struct region *region, int status)
{
    char how[96], message[128];

    child_describe(status, how, sizeof(how));
    process_ended(&region->gateway);
    output_close(region);
    if (up->is_stopping)
        return;
    enter(region, STAGE_GATEWAY);
    snprintf(message, sizeof(message), "the gateway %s", how);
    region_failed(up, region, NULL, message);
}

static void reap(struct up *up)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        for (int i = 0; i < up->count; i++) {
            struct region *region = &up->regions[i];
            if (region->initdb.pid == pid)
                initdb_ended(up, region, status);
            else if (region->postgres.pid == pid)
                postgres_ended(up, region, status);
            else if (region->gateway.pid == pid)
                gateway_ended(up, region, status);
        }
    }
}

/* ---- the ready line ---- */

static void append_url(struct buf *buf, const char *scheme, const char *host, int port)
{
    bool is_v6 = strchr(host, ':') != NULL;
    buf_printf(buf, "%s://%s%s%s:%d/", scheme, is_v6 ? "[" : "", host, is_v6 ? "]" : "", port);
}

static void append_connection(struct buf *buf, const struct up *up, const struct region *region,
                              const char *key)
{
    bool is_secure = region->https_port != CONFIG_PORT_NONE;

    buf_append_text(buf, "AccountEndpoint=");
    append_url(buf, is_secure ? "https" : "http", public_host(up->config),
               is_secure ? region->https_port : region->http_port);
    buf_printf(buf, ";AccountKey=%s;", key);
}

static void append_member(struct buf *line, const char *name, struct buf *value)
{
    buf_append_char(line, ',');
    buf_append_json_string(line, slice_from_text(name));
    buf_append_char(line, ':');
    if (buf_text(value) == NULL)
        line->has_failed = true;
    else
        buf_append_json_string(line, buf_slice(value));
    buf_finish(value);
}

static void append_region(struct buf *line, const struct up *up, const struct region *region,
                          const char *key)
{
    struct buf text = {0};

    buf_append_text(line, "{\"name\":");
    buf_append_json_string(line, slice_from_text(region->name));
    buf_printf(line, ",\"ordinal\":%d", region->ordinal);
    if (region->https_port != CONFIG_PORT_NONE) {
        append_url(&text, "https", public_host(up->config), region->https_port);
        append_member(line, "https", &text);
    }
    if (region->http_port != CONFIG_PORT_NONE) {
        append_url(&text, "http", public_host(up->config), region->http_port);
        append_member(line, "http", &text);
    }
    append_connection(&text, up, region, key);
    append_member(line, "connectionString", &text);
    buf_printf(line, ",\"gatewayPid\":%d", (int) region->gateway.pid);
    if (region->database == NULL) { /* that of another server may hold a password */
        buf_append_text(&text, region->cluster.url);
        append_member(line, "database", &text);
        buf_printf(line, ",\"postgresPid\":%d", (int) region->postgres.pid);
    }
    buf_append_char(line, '}');
}

/* Programs read the line on standard output, people the text on standard error. */
static bool print_line(const struct up *up, const char *key)
{
    struct buf line = {0};

    buf_append_text(&line, "{\"ready\":true,\"account\":");
    buf_append_json_string(&line, slice_from_text(up->config->account_name));
    buf_printf(&line, ",\"replicating\":%s,\"data\":", up->is_account ? "true" : "false");
    buf_append_json_string(&line, slice_from_text(up->data));
    buf_printf(&line, ",\"pid\":%d,\"regions\":[", (int) getpid());
    for (int i = 0; i < up->count; i++) {
        buf_append_text(&line, i > 0 ? "," : "");
        append_region(&line, up, &up->regions[i], key);
    }
    buf_append_text(&line, "]}\n");
    bool is_made = buf_text(&line) != NULL;
    if (is_made && (fputs(line.ptr, stdout) < 0 || fflush(stdout) != 0))
        log_warn(NULL, "nobody reads the ready line", "reason=\"%s\"", strerror(errno));
    buf_finish(&line);
    return is_made;
}

static void print_summary(const struct up *up, const char *key)
{
    fprintf(stderr, "\nOrrery %s is ready. Data: %s\n\n", ORRERY_VERSION, up->data);
    for (int i = 0; i < up->count; i++) {
        struct buf text = {0};
        append_connection(&text, up, &up->regions[i], key);
        if (buf_text(&text) != NULL)
            fprintf(stderr, "  %-15s %s\n", up->regions[i].name, text.ptr);
        if (up->regions[i].http_port != CONFIG_PORT_NONE &&
            up->regions[i].https_port != CONFIG_PORT_NONE)
            fprintf(stderr, "  %-15s plain HTTP: http://%s:%d/\n", "", public_host(up->config),
                    up->regions[i].http_port);
        buf_finish(&text);
    }
    if (up->config->is_auth_off)
        fprintf(stderr, "\n  Requests are served without authorization (--no-auth).\n");
    if (up->is_account)
        fprintf(stderr, "\n  One account: what is written in %s is replicated to the others.\n",
                up->regions[0].name);
    fprintf(stderr, "\n  Ctrl-C stops everything; the data stay.\n\n");
}

static void announce(struct up *up)
{
    struct fault fault = {0};
    struct keys keys;

    for (int i = 0; i < up->count; i++) {
        if (up->regions[i].stage != STAGE_READY)
            return;
    }
    if (!keys_read(up->config->key_file, &keys, &fault) ||
        !print_line(up, keys.key[KEY_PRIMARY].text)) {
        up->status = program_fail("%s", fault.status != 0 ? fault.message : "out of memory");
        up->is_stopping = true;
        return;
    }
    print_summary(up, keys.key[KEY_PRIMARY].text);
    up->is_announced = true;
}

/* ---- the loop and its end ---- */

static void signal_gateways(struct up *up, int signal_number)
{
    for (int i = 0; i < up->count; i++) {
        if (up->regions[i].gateway.pid != 0)
            kill(up->regions[i].gateway.pid, signal_number);
    }
}

static int read_signals(struct up *up)
{
    struct signalfd_siginfo info;
    int asked = 0;

    while (read(up->signal_fd, &info, sizeof(info)) == sizeof(info)) {
        if (info.ssi_signo == SIGTERM || info.ssi_signo == SIGINT)
            asked++;
        else if (info.ssi_signo == SIGHUP)
            signal_gateways(up, SIGHUP); /* they read their keys again */
    }
    return asked;
}

/* Sleep until a signal, a word of a child, or the time. Returns how often we were asked to stop. */
static int wait_for_news(struct up *up, int timeout_ms)
{
    struct pollfd fds[1 + CONFIG_REGIONS_MAX] = {{up->signal_fd, POLLIN, 0}};
    int asked = 0;

    for (int i = 0; i < up->count; i++)
        fds[1 + i] = (struct pollfd){up->regions[i].output_fd, POLLIN, 0}; /* -1 is skipped */
    if (poll(fds, (nfds_t) (1 + up->count), timeout_ms) <= 0)
        return 0;
    for (int i = 0; i < up->count; i++) {
        if (fds[1 + i].revents != 0)
            read_output(&up->regions[i]);
    }
    if (fds[0].revents != 0)
        asked = read_signals(up);
    reap(up);
    return asked;
}

/* Nothing is due while all is well; then only signals wake us. */
static int sleep_ms(const struct up *up)
{
    for (int i = 0; i < up->count; i++) {
        const struct region *region = &up->regions[i];
        if (region->stage != STAGE_READY || (region->database == NULL && region->postgres.pid == 0))
            return POLL_MS;
    }
    return up->is_announced ? -1 : 0;
}

static bool is_running(const struct up *up, bool is_gateways)
{
    for (int i = 0; i < up->count; i++) {
        const struct region *region = &up->regions[i];
        if (is_gateways ? region->gateway.pid != 0
                        : region->postgres.pid != 0 || region->initdb.pid != 0)
            return true;
    }
    return false;
}

static void signal_databases(struct up *up, int signal_number)
{
    for (int i = 0; i < up->count; i++) {
        if (up->regions[i].postgres.pid != 0)
            kill(up->regions[i].postgres.pid, signal_number);
        if (up->regions[i].initdb.pid != 0)
            kill(up->regions[i].initdb.pid, SIGTERM);
    }
}

/* Wait until they have ended, or the time is over, or somebody asks a second time. */
static bool wait_until_ended(struct up *up, bool is_gateways, int64_t timeout_ms)
{
    int64_t deadline = clock_monotonic_ms() + timeout_ms;
    int asked = 0;

    while (is_running(up, is_gateways) && clock_monotonic_ms() < deadline && asked == 0)
        asked = wait_for_news(up, POLL_MS);
    return !is_running(up, is_gateways);
}

static void stop(struct up *up)
{
    up->is_stopping = true;
    signal_gateways(up, SIGTERM);
    if (!wait_until_ended(up, true, up->config->drain_timeout_ms + KILL_MS)) {
        log_warn(NULL, "gateways killed", "%s", "reason=\"they did not end in time\"");
        signal_gateways(up, SIGKILL);
        (void) wait_until_ended(up, true, KILL_MS);
    }
    signal_databases(up, SIGINT);
    if (!wait_until_ended(up, false, POSTGRES_STOP_MS)) {
        log_warn(NULL, "PostgreSQL stopped at once", "%s",
                 "note=\"it recovers at the next start\"");
        signal_databases(up, SIGQUIT);
        if (!wait_until_ended(up, false, KILL_MS))
            signal_databases(up, SIGKILL);
        (void) wait_until_ended(up, false, KILL_MS);
    }
}

static void run(struct up *up)
{
    log_info(NULL, "starting", "regions=%d data=\"%s\" postgres=\"%s\" user=%s", up->count,
             up->data, has_private_database(up) ? up->host.bin : "none", up->host.user.name);
    for (int i = 0; i < up->count; i++)
        enter(&up->regions[i], STAGE_ORPHANS);
    while (!up->is_stopping) {
        for (int i = 0; i < up->count && !up->is_stopping; i++)
            step_region(up, &up->regions[i]);
        if (!up->is_announced && !up->is_stopping)
            announce(up);
        if (!up->is_stopping && wait_for_news(up, sleep_ms(up)) > 0)
            break;
    }
    log_info(NULL, "stopping", "%s", "");
    stop(up);
    for (int i = 0; i < up->count; i++) {
        if (up->regions[i].database == NULL)
            cluster_finish(&up->regions[i].cluster);
    }
    log_info(NULL, "stopped", "%s", "");
}

static void up_finish(struct up *up)
{
    for (int i = 0; i < up->count; i++) {
        output_close(&up->regions[i]);
        buf_finish(&up->regions[i].output);
    }
    layout_finish(&up->layout);
    if (up->signal_fd >= 0)
        close(up->signal_fd);
    if (up->lock_fd >= 0)
        close(up->lock_fd);
    free(up);
}

int up_run(const struct config *config, char **environment)
{
    struct fault fault = {0};
    struct keys keys;
    struct up *up = calloc(1, sizeof(*up));

    if (up == NULL)
        return program_fail("out of memory");
    up->config = config;
    up->environment = environment;
    up->lock_fd = up->signal_fd = -1;
    /* A key file that cannot be read is better told now than by each gateway. */
    if (!open_signals(up, &fault) || !keys_read(config->key_file, &keys, &fault) ||
        !prepare(up, &fault))
        up->status = program_fail("%s", fault.message);
    else
        run(up);
    int status = up->status;
    up_finish(up);
    return status;
}
