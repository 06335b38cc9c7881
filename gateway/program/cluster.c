#include "program/cluster.h"

#include "base/buf.h"
#include "base/crypto.h"
#include "base/log.h"
#include "store/schema.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <glob.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/banned.h"

#define MAJOR_MIN (SCHEMA_SERVER_VERSION_MIN / 10000)
#define LOG_BYTES_MAX (16 << 20)
#define SETTINGS_MAX 24
#define SETTING_BYTES 1200
/* sun_path has 108 bytes with its NUL; the server adds "/.s.PGSQL.5432". */
#define SOCKET_DIRECTORY_MAX (107 - 14)
#define PATH_VALUE_MAX 16384

static bool set_path(char *path, const char *directory, const char *name, struct fault *fault)
{
    int len = snprintf(path, CLUSTER_PATH_BYTES, "%s/%s", directory, name);

    return (len > 0 && len < CLUSTER_PATH_BYTES - 64) ||
           fault_set(fault, 500, SUB_NONE, "the path \"%.80s…\" is too long", directory);
}

bool directory_make(const char *path, struct fault *fault)
{
    char partial[CLUSTER_PATH_BYTES];

    if ((size_t) snprintf(partial, sizeof(partial), "%s", path) >= sizeof(partial))
        return fault_set(fault, 500, SUB_NONE, "the path \"%.80s…\" is too long", path);
    for (char *at = partial + 1;; at++) {
        char end = *at;
        if (end != '\0' && end != '/')
            continue;
        *at = '\0';
        struct stat found;
        if (mkdir(partial, 0755) != 0) {
            int error = errno;
            bool is_directory = stat(partial, &found) == 0 && S_ISDIR(found.st_mode);
            if (!is_directory)
                return fault_set(fault, 500, SUB_NONE, "cannot make the directory \"%s\": %s",
                                 partial, strerror(error));
        }
        if (end == '\0')
            return true;
        *at = '/';
    }
}

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *at)
{
    (void) status;
    (void) type;
    (void) at;
    return remove(path);
}

static void directory_remove(const char *path)
{
    (void) nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

/* ---- whom PostgreSQL runs as ---- */

static bool use_user(struct child_user *user, const struct passwd *found)
{
    if (found == NULL || strlen(found->pw_name) >= sizeof(user->name))
        return false;
    user->uid = found->pw_uid;
    user->gid = found->pw_gid;
    user->is_other = found->pw_uid != geteuid();
    snprintf(user->name, sizeof(user->name), "%s", found->pw_name);
    return true;
}

/* PostgreSQL refuses to run as root. */
bool cluster_host_find_user(struct cluster_host *host, const struct config *config,
                            struct fault *fault)
{
    const char *wanted = config->postgres_user;
    struct child_user self = {.uid = geteuid()};

    if (!use_user(&self, getpwuid(geteuid())))
        return fault_set(fault, 500, SUB_NONE,
                         "user id %u has no name in the password file, which PostgreSQL needs",
                         (unsigned) geteuid());
    snprintf(host->operator_name, sizeof(host->operator_name), "%s", self.name);
    if (geteuid() != 0) {
        host->user = self;
        return wanted == NULL || strcmp(wanted, self.name) == 0 ||
               fault_set(fault, 500, SUB_NONE, "only root can run PostgreSQL as \"%s\"", wanted);
    }
    bool is_found = wanted != NULL ? use_user(&host->user, getpwnam(wanted))
                                   : use_user(&host->user, getpwnam("postgres")) ||
                                         use_user(&host->user, getpwnam("nobody"));
    if (!is_found)
        return fault_set(fault, 500, SUB_NONE, "there is no user \"%s\" to run PostgreSQL as",
                         wanted != NULL ? wanted : "postgres");
    return host->user.uid != 0 ||
           fault_set(fault, 500, SUB_NONE, "PostgreSQL does not run as \"%s\"", wanted);
}

bool cluster_host_can_enter(const struct cluster_host *host, const char *directory,
                            struct fault *fault)
{
    char partial[CLUSTER_PATH_BYTES];
    int status = 0, part = 0;

    if (!host->user.is_other)
        return true;
    snprintf(partial, sizeof(partial), "%s", directory);
    pid_t pid = fork();
    if (pid == 0) {
        if (setgroups(0, NULL) != 0 || setgid(host->user.gid) != 0 || setuid(host->user.uid) != 0)
            _exit(255);
        for (char *at = partial + 1; *at != '\0'; at++) {
            bool is_cut = *at == '/';
            if (!is_cut && at[1] != '\0')
                continue;
            if (is_cut)
                *at = '\0';
            part++;
            if (access(partial, X_OK) != 0 && errno == EACCES)
                _exit(part < 254 ? part : 254);
            if (is_cut)
                *at = '/';
        }
        _exit(0);
    }
    if (pid < 0 || waitpid(pid, &status, 0) < 0 || !WIFEXITED(status) || WEXITSTATUS(status) == 255)
        return fault_set(fault, 500, SUB_NONE, "cannot look at \"%s\" as user \"%s\"", directory,
                         host->user.name);
    part = WEXITSTATUS(status);
    for (char *at = partial + 1; part > 0 && *at != '\0'; at++) {
        if (*at == '/' && --part == 0)
            *at = '\0';
    }
    return WEXITSTATUS(status) == 0 || fault_set(fault, 500, SUB_NONE,
                                                 "user \"%s\", whom PostgreSQL runs as, may not "
                                                 "enter \"%s\"; choose another directory with "
                                                 "--data",
                                                 host->user.name, partial);
}

/* ---- its programs ---- */

/* The major version of the programs in a directory; 0 when they are not both there. */
static int programs_major(const char *directory)
{
    char path[CLUSTER_PATH_BYTES], text[256];
    struct fault fault;
    const char *const environment[] = {NULL};

    if ((size_t) snprintf(path, sizeof(path), "%s/initdb", directory) >= sizeof(path) ||
        access(path, X_OK) != 0)
        return 0;
    snprintf(path, sizeof(path), "%.1000s/postgres", directory);
    const char *argv[] = {path, "--version", NULL};
    struct child_spec spec = {argv, environment, NULL, -1, -1, SIGKILL};
    if (access(path, X_OK) != 0 || child_run(&spec, text, sizeof(text), &fault) != 0)
        return 0;
    const char *number = strstr(text, ") ");
    return number != NULL ? atoi(number + 2) : 0;
}

struct search {
    int wanted; /* major version; 0: the newest */
    int best;
    char *bin;
};

static void consider(struct search *search, const char *directory)
{
    int major = programs_major(directory);

    if (major < MAJOR_MIN || major <= search->best ||
        (search->wanted != 0 && major != search->wanted))
        return;
    search->best = major;
    snprintf(search->bin, CLUSTER_PATH_BYTES, "%s", directory);
}

static void consider_installed(struct search *search)
{
    static const char *const patterns[] = {"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin",
                                           "/usr/local/pgsql/bin"};
    const char *path = getenv("PATH");

    for (size_t i = 0; i < ARRAY_LEN(patterns); i++) {
        glob_t found;
        if (glob(patterns[i], 0, NULL, &found) != 0)
            continue;
        for (size_t n = 0; n < found.gl_pathc; n++)
            consider(search, found.gl_pathv[n]);
        globfree(&found);
    }
    if (search->best != 0 || path == NULL || strlen(path) > PATH_VALUE_MAX)
        return;
    struct slice rest = slice_from_text(path);
    while (!slice_is_absent(rest)) {
        char directory[CLUSTER_PATH_BYTES];
        struct slice part = slice_cut(rest, ':', &rest);
        if (part.len == 0 || part.len >= sizeof(directory))
            continue;
        snprintf(directory, sizeof(directory), "%.*s", (int) part.len, part.ptr);
        consider(search, directory);
    }
}

/* The major version that made the data; 0 when there are none. */
static int data_major(const char *data)
{
    char pattern[CLUSTER_PATH_BYTES];
    glob_t found;
    int major = 0;

    snprintf(pattern, sizeof(pattern), "%.900s/*/pg/PG_VERSION", data);
    if (glob(pattern, 0, NULL, &found) != 0)
        return 0;
    FILE *file = fopen(found.gl_pathv[0], "re");
    char text[16] = "";
    if (file != NULL) {
        if (fgets(text, sizeof(text), file) != NULL)
            major = atoi(text);
        fclose(file);
    }
    globfree(&found);
    return major;
}

bool cluster_host_find_programs(struct cluster_host *host, const struct config *config,
                                const char *data, struct fault *fault)
{
    struct search search = {.wanted = data_major(data), .bin = host->bin};

    if (config->postgres_bin != NULL)
        consider(&search, config->postgres_bin);
    else
        consider_installed(&search);
    host->major = search.best;
    if (search.best != 0)
        return true;
    if (search.wanted != 0)
        return fault_set(
            fault, 500, SUB_NONE,
            "the data in \"%s\" were made by PostgreSQL %d, whose programs are not in %s%s", data,
            search.wanted, config->postgres_bin != NULL ? config->postgres_bin : "the usual places",
            config->postgres_bin != NULL ? "" : "; name their directory with --postgres-bin");
    return fault_set(
        fault, 500, SUB_NONE,
        "PostgreSQL %d or newer is needed: no initdb and postgres in %s; install it (Debian: apt "
        "install postgresql)%s",
        MAJOR_MIN,
        config->postgres_bin != NULL ? config->postgres_bin : "/usr/lib/postgresql/*/bin or PATH",
        config->postgres_bin != NULL ? "" : " or name their directory with --postgres-bin");
}

/* ---- directories ---- */

/* A directory that only the server's user may look into; refused when somebody else made it first.
 */
static bool make_private(const struct cluster_host *host, const char *path, struct fault *fault)
{
    struct stat found;

    if (mkdir(path, 0700) == 0) {
        if (!host->user.is_other || chown(path, host->user.uid, host->user.gid) == 0)
            return true;
        return fault_set(fault, 500, SUB_NONE, "cannot give \"%s\" to user \"%s\": %s", path,
                         host->user.name, strerror(errno));
    }
    if (errno != EEXIST || lstat(path, &found) != 0)
        return fault_set(fault, 500, SUB_NONE, "cannot make the directory \"%s\": %s", path,
                         strerror(errno));
    if (!S_ISDIR(found.st_mode) || found.st_uid != host->user.uid || (found.st_mode & 077) != 0)
        return fault_set(fault, 500, SUB_NONE,
                         "\"%s\" should be a directory that only user \"%s\" may enter", path,
                         host->user.name);
    return true;
}

/* A path of its own beneath a directory for such things, told apart by the digest of the real
 * place. */
static void choose_short_socket(struct cluster *cluster)
{
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    uint8_t digest[SHA256_BYTES];
    bool is_usable = runtime != NULL && runtime[0] == '/' && !cluster->host->user.is_other &&
                     strlen(runtime) < SOCKET_DIRECTORY_MAX - 32 &&
                     strpbrk(runtime, ",\"\\'") == NULL;

    crypto_sha256(slice_from_text(cluster->directory), digest);
    snprintf(cluster->socket, sizeof(cluster->socket), "%s/orrery-%02x%02x%02x%02x%02x%02x%02x%02x",
             is_usable ? runtime : "/tmp", digest[0], digest[1], digest[2], digest[3], digest[4],
             digest[5], digest[6], digest[7]);
}

/* A value of a libpq connection string. */
static void append_value(struct buf *buf, const char *value)
{
    buf_append_char(buf, '\'');
    for (; *value != '\0'; value++) {
        if (*value == '\'' || *value == '\\')
            buf_append_char(buf, '\\');
        buf_append_char(buf, *value);
    }
    buf_append_char(buf, '\'');
}

static bool set_url(char *url, size_t size, const char *socket, const char *database,
                    struct fault *fault)
{
    struct buf text = {0};

    buf_append_text(&text, "host=");
    append_value(&text, socket);
    buf_printf(&text, " port=5432 user=orrery dbname=%s", database);
    bool is_set = buf_text(&text) != NULL && text.len < size;
    if (is_set)
        memcpy(url, text.ptr, text.len + 1);
    buf_finish(&text);
    return is_set || fault_set(fault, 500, SUB_NONE, "the path \"%.80s…\" is too long", socket);
}

bool cluster_prepare(struct cluster *cluster, const struct cluster_host *host,
                     const struct config *config, const char *data, const char *slug,
                     struct fault *fault)
{
    memset(cluster, 0, sizeof(*cluster));
    cluster->host = host;
    cluster->config = config;
    if (!set_path(cluster->directory, data, slug, fault) ||
        !directory_make(cluster->directory, fault) ||
        !set_path(cluster->socket, cluster->directory, "socket", fault))
        return false;
    /* The server reads a list there, so what separates or quotes in it cannot stand in the path. */
    if (strlen(cluster->socket) > SOCKET_DIRECTORY_MAX || strpbrk(cluster->socket, ",\"") != NULL)
        choose_short_socket(cluster);
    return make_private(host, cluster->socket, fault) &&
           set_url(cluster->url, sizeof(cluster->url), cluster->socket, "orrery", fault);
}

/* ---- initdb ---- */

bool cluster_is_made(const struct cluster *cluster)
{
    char path[CLUSTER_PATH_BYTES];

    snprintf(path, sizeof(path), "%.1000s/pg/PG_VERSION", cluster->directory);
    return access(path, F_OK) == 0;
}

void cluster_make_undo(const struct cluster *cluster)
{
    char path[CLUSTER_PATH_BYTES];

    snprintf(path, sizeof(path), "%.1000s/pg.new", cluster->directory);
    directory_remove(path);
}

pid_t cluster_make_begin(const struct cluster *cluster, int out_fd, struct fault *fault)
{
    char program[CLUSTER_PATH_BYTES], path[CLUSTER_PATH_BYTES];
    const char *const environment[] = {"PATH=/usr/bin:/bin", "LC_ALL=C", "TZ=UTC", NULL};

    cluster_make_undo(cluster); /* of a run that did not reach its end */
    if (!set_path(program, cluster->host->bin, "initdb", fault) ||
        !set_path(path, cluster->directory, "pg.new", fault) ||
        !make_private(cluster->host, path, fault))
        return -1;
    const char *argv[] = {program, "-D",         path,   "-U",         "orrery",           "-A",
                          "peer",  "--encoding", "UTF8", "--locale=C", "--data-checksums", NULL};
    struct child_spec spec = {argv, environment, &cluster->host->user, out_fd, out_fd, SIGKILL};
    return child_start(&spec, fault);
}

static bool write_file(const struct cluster *cluster, const char *name, const char *text,
                       struct fault *fault)
{
    char path[CLUSTER_PATH_BYTES];
    size_t len = strlen(text);

    if (!set_path(path, cluster->directory, name, fault))
        return false;
    unlink(path);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    bool is_written = fd >= 0 && write(fd, text, len) == (ssize_t) len && fsync(fd) == 0 &&
                      (!cluster->host->user.is_other ||
                       fchown(fd, cluster->host->user.uid, cluster->host->user.gid) == 0);
    int error = errno;
    if (fd >= 0)
        close(fd);
    return is_written ||
           fault_set(fault, 500, SUB_NONE, "cannot write \"%s\": %s", path, strerror(error));
}

bool cluster_make_end(const struct cluster *cluster, struct fault *fault)
{
    char from[CLUSTER_PATH_BYTES], to[CLUSTER_PATH_BYTES], map[512];

    snprintf(map, sizeof(map), "# MAP USER ROLE\norrery \"%s\" orrery\norrery \"%s\" orrery\n",
             cluster->host->operator_name, cluster->host->user.name);
    if (!write_file(cluster, "pg.new/pg_ident.conf", map, fault) ||
        !write_file(cluster, "pg.new/pg_hba.conf",
                    "# TYPE DATABASE USER METHOD\nlocal all all peer map=orrery\n", fault) ||
        !set_path(from, cluster->directory, "pg.new", fault) ||
        !set_path(to, cluster->directory, "pg", fault))
        return false;
    return rename(from, to) == 0 ||
           fault_set(fault, 500, SUB_NONE, "cannot rename \"%s\" to \"%s\": %s", from, to,
                     strerror(errno));
}

/* ---- the server ---- */

/* Is this process a PostgreSQL whose directory is path? Postmaster and backends all live in it. */
static bool is_server_in(const char *pid, const char *path)
{
    char link[64], place[CLUSTER_PATH_BYTES], program[CLUSTER_PATH_BYTES];

    snprintf(link, sizeof(link), "/proc/%.20s/cwd", pid);
    ssize_t len = readlink(link, place, sizeof(place) - 1);
    if (len <= 0)
        return false;
    place[len] = '\0';
    snprintf(link, sizeof(link), "/proc/%.20s/exe", pid);
    len = readlink(link, program, sizeof(program) - 1);
    if (len <= 0 || strcmp(place, path) != 0)
        return false;
    program[len] = '\0';
    const char *name = strrchr(program, '/');
    return name != NULL &&
           (strcmp(name, "/postgres") == 0 || strcmp(name, "/postgres (deleted)") == 0);
}

static pid_t postmaster_pid(const char *pg_directory)
{
    char path[CLUSTER_PATH_BYTES], line[32] = "";

    snprintf(path, sizeof(path), "%.1000s/postmaster.pid", pg_directory);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return 0;
    if (fgets(line, sizeof(line), file) == NULL)
        line[0] = '\0';
    fclose(file);
    return (pid_t) atoi(line);
}

/*
 * Nobody works here any more. Files that name a process would only keep the new server out, when
 * the number belongs to somebody else by now or to one that nobody waited for.
 */
static void remove_locks(const struct cluster *cluster)
{
    static const char *const names[] = {".s.PGSQL.5432", ".s.PGSQL.5432.lock"};
    char path[CLUSTER_PATH_BYTES];

    snprintf(path, sizeof(path), "%.1000s/pg/postmaster.pid", cluster->directory);
    unlink(path);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        snprintf(path, sizeof(path), "%.1000s/%s", cluster->socket, names[i]);
        unlink(path);
    }
}

bool cluster_is_busy(const struct cluster *cluster, bool is_forced)
{
    char unresolved[CLUSTER_PATH_BYTES], path[PATH_MAX];
    int count = 0;
    DIR *processes = opendir("/proc");

    snprintf(unresolved, sizeof(unresolved), "%.1000s/pg", cluster->directory);
    if (processes == NULL)
        return false;
    if (realpath(unresolved, path) != NULL) {
        pid_t postmaster = postmaster_pid(path);
        for (struct dirent *entry = readdir(processes); entry != NULL; entry = readdir(processes)) {
            if (!isdigit((unsigned char) entry->d_name[0]) || !is_server_in(entry->d_name, path))
                continue;
            count++;
            pid_t pid = (pid_t) atoi(entry->d_name);
            if (is_forced)
                kill(pid, SIGQUIT);
            else if (pid == postmaster)
                kill(pid, SIGINT); /* fast shutdown; once or often is the same */
        }
        if (count == 0)
            remove_locks(cluster);
    }
    closedir(processes);
    return count > 0;
}

static int open_log(const struct cluster *cluster, struct fault *fault)
{
    char path[CLUSTER_PATH_BYTES], older[CLUSTER_PATH_BYTES];
    struct stat found;

    if (!set_path(path, cluster->directory, "postgres.log", fault) ||
        !set_path(older, cluster->directory, "postgres.log.1", fault))
        return -1;
    if (stat(path, &found) == 0 && found.st_size > LOG_BYTES_MAX && rename(path, older) != 0)
        log_warn(NULL, "log not rotated", "file=\"%s\" reason=\"%s\"", path, strerror(errno));
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0640);
    if (fd < 0)
        fault_set(fault, 500, SUB_NONE, "cannot write \"%s\": %s", path, strerror(errno));
    return fd;
}

struct arguments {
    const char *argv[2 * SETTINGS_MAX + 8];
    char settings[SETTINGS_MAX][SETTING_BYTES];
    int count, settings_count;
};

static void add_setting(struct arguments *arguments, const char *format, ...) PRINTF_LIKE(2, 3);

static void add_setting(struct arguments *arguments, const char *format, ...)
{
    char *text = arguments->settings[arguments->settings_count++];
    va_list args;

    va_start(args, format);
    vsnprintf(text, SETTING_BYTES, format, args);
    va_end(args);
    arguments->argv[arguments->count++] = "-c";
    arguments->argv[arguments->count++] = text;
}

/*
 * Measured in the reference on speed: a Unix socket, WAL kept long and compressed, no JIT for
 * statements of microseconds. Everything that keeps data safe stays at its default: fsync,
 * synchronous_commit, full pages.
 */
static void add_settings(struct arguments *arguments, const struct cluster *cluster)
{
    const struct config *config = cluster->config;
    int connections = config->threads * (config->read_connections + config->write_connections +
                                         config->query_connections);

    add_setting(arguments, "listen_addresses=");
    add_setting(arguments, "unix_socket_directories=%s", cluster->socket);
    add_setting(arguments, "unix_socket_permissions=0700");
    add_setting(arguments, "port=5432");
    add_setting(arguments, "cluster_name=orrery");
    add_setting(arguments, "max_connections=%d", connections + 20 > 50 ? connections + 20 : 50);
    add_setting(arguments, "shared_buffers=%zukB", config->shared_buffers_bytes / 1024);
    add_setting(arguments, "max_wal_size=%zuMB", config->max_wal_bytes >> 20);
    add_setting(arguments, "checkpoint_timeout=15min");
    add_setting(arguments, "wal_compression=lz4");
    add_setting(arguments, "jit=off");
    add_setting(arguments, "gin_pending_list_limit=1MB");
    add_setting(arguments,
                "max_locks_per_transaction=256"); /* a database of many containers goes in one */
    add_setting(arguments, "logging_collector=off");
    add_setting(arguments, "log_line_prefix=%%m [%%p] ");
    add_setting(arguments, "log_timezone=UTC");
}

pid_t cluster_start(const struct cluster *cluster, struct fault *fault)
{
    char program[CLUSTER_PATH_BYTES], path[CLUSTER_PATH_BYTES];
    const char *const environment[] = {"PATH=/usr/bin:/bin", "LC_ALL=C", "TZ=UTC", NULL};
    pid_t pid = -1;

    if (!set_path(program, cluster->host->bin, "postgres", fault) ||
        !set_path(path, cluster->directory, "pg", fault))
        return -1;
    struct arguments *arguments = calloc(1, sizeof(*arguments));
    if (arguments == NULL)
        return fault_set_oom(fault), -1;
    arguments->argv[arguments->count++] = program;
    arguments->argv[arguments->count++] = "-D";
    arguments->argv[arguments->count++] = path;
    add_settings(arguments, cluster);
    int log = open_log(cluster, fault);
    if (log >= 0) {
        struct child_spec spec = {arguments->argv, environment, &cluster->host->user, log, log,
                                  SIGINT};
        pid = child_start(&spec, fault);
        close(log);
    }
    free(arguments);
    return pid;
}

bool cluster_answers(const struct cluster *cluster, struct fault *fault)
{
    char url[CLUSTER_PATH_BYTES + 64];

    return set_url(url, sizeof(url), cluster->socket, "postgres", fault) &&
           schema_database_ensure(url, "orrery", fault);
}

void cluster_finish(const struct cluster *cluster)
{
    (void) rmdir(cluster->socket); /* not when a server was left in it */
}

void cluster_log_tail(const struct cluster *cluster, char *text, size_t size)
{
    char path[CLUSTER_PATH_BYTES];

    text[0] = '\0';
    snprintf(path, sizeof(path), "%.1000s/postgres.log", cluster->directory);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return;
    if (fseek(file, -(long) (size - 1), SEEK_END) != 0)
        rewind(file);
    size_t len = fread(text, 1, size - 1, file);
    text[len] = '\0';
    fclose(file);
}
