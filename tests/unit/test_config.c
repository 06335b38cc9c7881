/* Settings: what is refused, which layer wins, what a child is given; and the account's keys. */
#include "base/config.h"
#include "base/keys.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#define ARGUMENTS_MAX 16

static struct config config;
static struct fault fault;

static bool read_with(char **environment, ...)
{
    char *argv[ARGUMENTS_MAX] = {(char *) (uintptr_t) "orrery"};
    int argc = 1;
    va_list args;

    va_start(args, environment);
    for (char *text = va_arg(args, char *); text != NULL; text = va_arg(args, char *))
        argv[argc++] = text;
    va_end(args);
    memset(&fault, 0, sizeof(fault));
    config_finish(&config);
    return config_read(&config, argc, argv, environment, &fault);
}

static char *nothing[] = {NULL};

#define READ(...) read_with(nothing, __VA_ARGS__, NULL)
#define READ_IN(environment, ...) read_with(environment, __VA_ARGS__, NULL)

static int finish(void **state)
{
    (void) state;
    config_finish(&config);
    keys_finish();
    return 0;
}

static void assert_refused(bool is_read, const char *part)
{
    assert_false(is_read);
    if (strstr(fault.message, part) == NULL)
        fail_msg("\"%s\" lacks \"%s\"", fault.message, part);
}

/* A file that lives until the next call; NULL only removes the last one. */
static const char *file_with(const char *text)
{
    static char path[64];

    if (path[0] != '\0')
        unlink(path);
    if (text == NULL)
        return NULL;
    snprintf(path, sizeof(path), "/tmp/orrery-test-config-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
    return path;
}

static void commands_and_names_that_do_not_exist_are_refused(void **state)
{
    char *typo[] = {(char *) (uintptr_t) "ORRERY_HTTPPORT=1", NULL};

    (void) state;
    assert_refused(read_with(nothing, NULL), "a command is needed");
    assert_refused(READ(""), "unknown command");
    assert_refused(READ("severe"), "\"severe\"");
    assert_refused(READ("serve", "--nope"), "--nope");
    assert_refused(READ("serve", "--"
                                 "=1"),
                   "unknown option");
    assert_refused(READ("serve", "-x"), "-x");
    assert_refused(READ("serve", "--http_port", "1"), "http_port");
    assert_refused(READ("serve", "--data", "x"), "not an option of \"serve\"");
    assert_refused(READ("serve", "stray"), "stray");
    assert_refused(READ_IN(typo, "serve"), "ORRERY_HTTPPORT");
    assert_refused(READ("serve", "--config", file_with("htp-port = 1")), "htp-port");
    assert_refused(READ("serve", "--config", file_with("config = /x")), "config");
    assert_refused(READ("serve", "--config", "/nonexistent"), "/nonexistent");
    assert_refused(READ("serve", "--port"), "needs a value");
    assert_refused(READ("sign", "GET"), "usage");
    assert_refused(READ("account", "shrink"), "shrink");
}

static void values_out_of_range_are_refused(void **state)
{
    static const char *const bad[][2] = {
        {"--port", "65536"},
        {"--port", "-1"},
        {"--port", ""},
        {"--port", "80 "},
        {"--port", "0x50"},
        {"--http-port", "65436000000000000000000"},
        {"--ordinal", "0"},
        {"--ordinal", "256"},
        {"--threads", "-1"},
        {"--connection-memory", "1"},
        {"--connection-memory", "32XiB"},
        {"--connection-memory", "KiB"},
        {"--body-memory", "18446744073709551615KiB"},
        {"--body-memory", "99999999999GiB"},
        {"--consistency", "Fast"},
        {"--log-level", "trace"},
        {"--listen", "example.com"},
        {"--listen", ""},
        {"--account", "A"},
        {"--account", "with_underscore"},
        {"--region", " West"},
        {"--region", "a\"b"},
        {"--sans", "a,,b"},
        {"--sans", "a b"},
        {"--public-endpoint", "https://"},
        {"--public-endpoint", "host:0"},
        {"--public-endpoint", "host:65536"},
        {"--public-endpoint", "host/path"},
        {"--public-endpoint", "[::1"},
        {"--public-endpoint", "[::1]x"},
        {"--public-endpoint", "a\r\nb"},
        {"--no-auth=maybe", "--no-auth"},
    };

    (void) state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        if (READ("serve", bad[i][0], bad[i][1]))
            fail_msg("%s \"%s\" was accepted", bad[i][0], bad[i][1]);
        assert_true(fault.message[0] != '\0');
    }
}

static void settings_that_contradict_each_other_are_refused(void **state)
{
    (void) state;
    assert_refused(READ("serve", "--no-auth", "--listen", "0.0.0.0"), "loopback");
    assert_refused(READ("serve", "--no-auth", "--listen", "::"), "loopback");
    assert_refused(READ("serve", "--port", "none", "--http-port", "none"), "neither");
    assert_refused(READ("serve", "--port", "8081", "--http-port", "8081"), "share");
    assert_refused(READ("serve", "--port", "65500"), "http-port");
    assert_refused(READ("serve", "--protocol", "https", "--http-port", "1"), "contradicts");
    assert_refused(READ("serve", "--cert-key-file", "x"), "cert-file");
    assert_refused(READ("serve", "--cert-secret", "x"), "cert-file");
    assert_refused(READ("serve", "--etcd-cert-key-file", "x"), "etcd-cert-file");
    assert_refused(READ("up", "--etcd-user", "x"), "etcd-password");
    assert_refused(READ("up", "--etcd-password", "hush"), "etcd-user");
    assert_null(strstr(fault.message, "hush"));
    assert_refused(READ("up", "--port", "65500"), "port");
    assert_refused(READ("up", "--public-endpoint", "host:8081"), "host alone");
    assert_refused(READ("up", "--regions", "6"), "regions");
    assert_true(READ("serve", "--no-auth", "--listen", "::1"));
    assert_true(READ("serve", "--no-auth", "--listen", "localhost"));
    assert_string_equal(config.listen_address, "127.0.0.1");
}

static void secrets_are_not_repeated_in_messages(void **state)
{
    static char url[5000];

    (void) state;
    memset(url, 's', sizeof(url) - 1);
    memcpy(url, "password=hush", 13);
    assert_false(READ("serve", "--database", url));
    assert_null(strstr(fault.message, "hush"));
    assert_false(READ("serve", "--etcd-password", url));
    assert_null(strstr(fault.message, "hush"));
}

static void the_later_layer_wins(void **state)
{
    char *alias[] = {(char *) (uintptr_t) "PORT=2000", NULL};
    char *both[] = {(char *) (uintptr_t) "ORRERY_PORT=3000", (char *) (uintptr_t) "PORT=2000",
                    NULL};
    const char *file = file_with(
        "# settings\nport = 1000 # of HTTPS\n  read_connections=7\r\n\nregion = \"East # US\"");

    (void) state;
    assert_true(READ("serve"));
    assert_int_equal(config.https_port, 8081);
    assert_int_equal(config.http_port, 8181);
    assert_string_equal(config.consistency, "Session");
    assert_refused(READ("serve", "--config", file),
                   "region"); /* a # between quotes is a character */
    file = file_with(
        "# settings\nport = 1000 # of HTTPS\n  read_connections=7\r\n\nregion = \" East US\" # x");
    assert_refused(READ("serve", "--config", file), "space");
    file = file_with(
        "# settings\nport = 1000 # of HTTPS\n  read_connections=7\r\n\nregion = \"East US\" # x");
    assert_true(READ("serve", "--config", file));
    assert_int_equal(config.https_port, 1000);
    assert_int_equal(config.http_port, 1100);
    assert_int_equal(config.read_connections, 7);
    assert_string_equal(config.region_name, "East US");
    assert_true(READ_IN(alias, "serve", "--config", file));
    assert_int_equal(config.https_port, 2000);
    assert_true(READ_IN(both, "serve", "--config", file));
    assert_int_equal(config.https_port, 3000);
    assert_true(READ_IN(both, "serve", "--config", file, "--port=4000"));
    assert_int_equal(config.https_port, 4000);
    assert_true(READ_IN(both, "serve", "--port", "4000", "--port", "5000"));
    assert_int_equal(config.https_port, 5000);
}

static void files_and_environments_may_hold_settings_of_other_commands(void **state)
{
    char *shared[] = {(char *) (uintptr_t) "ORRERY_REGIONS=2", (char *) (uintptr_t) "CERT_PATH=/x",
                      NULL};

    (void) state;
    assert_true(READ_IN(shared, "migrate", "--config", file_with("data = /x\nport = 1")));
    assert_refused(READ("serve", "--config", file_with("port = 1\nPORT = 2")), "PORT");
    assert_refused(READ("serve", "--config", file_with("http-port = 1\nhttp_port = 2")), "twice");
    assert_refused(READ("serve", "--config", file_with("just words")), "just words");
    assert_refused(READ("serve", "--config", file_with("region = \"open")), "open");
    assert_refused(READ("serve", "--config", file_with("region = \"a\" b")), "\"a\"");
}

static void protocols_decide_the_ports(void **state)
{
    (void) state;
    assert_true(READ("serve", "--protocol", "http", "--port", "9000"));
    assert_int_equal(config.https_port, CONFIG_PORT_NONE);
    assert_int_equal(config.http_port, 9000);
    assert_true(READ("serve", "--protocol", "HTTPS"));
    assert_int_equal(config.https_port, 8081);
    assert_int_equal(config.http_port, CONFIG_PORT_NONE);
    assert_true(READ("serve", "--port", "0"));
    assert_int_equal(config.http_port, CONFIG_PORT_ANY);
    assert_true(READ("serve", "--port", "none"));
    assert_int_equal(config.http_port, 8181);
}

static void sizes_have_units(void **state)
{
    (void) state;
    assert_true(READ("serve", "--body-memory", "3MiB", "--connection-memory", "16384",
                     "--max-request-bytes", "1m"));
    assert_int_equal(config.body_memory_bytes, 3 << 20);
    assert_int_equal(config.connection_memory_bytes, 16384);
    assert_int_equal(config.max_request_bytes, 1 << 20);
}

static void arguments_are_told_from_options(void **state)
{
    (void) state;
    assert_true(READ("sign", "GET", "--curl", "/dbs", "--key", "-"));
    assert_int_equal(config.arguments_count, 2);
    assert_string_equal(config.arguments[1], "/dbs");
    assert_true(config.is_curl);
    assert_true(READ("sign", "GET", "--", "--curl"));
    assert_string_equal(config.arguments[1], "--curl");
    assert_false(config.is_curl);
    assert_true(READ("serve", "--help", "--nope"));
    assert_int_equal(config.command, CONFIG_HELP);
    assert_int_equal(config.help_on, CONFIG_SERVE);
}

static bool holds(char **environment, const char *entry)
{
    for (; *environment != NULL; environment++) {
        if (strcmp(*environment, entry) == 0)
            return true;
    }
    return false;
}

static void a_child_gets_what_was_given_and_nothing_else(void **state)
{
    char *ours[] = {(char *) (uintptr_t) "PATH=/bin", (char *) (uintptr_t) "PORT=9000",
                    (char *) (uintptr_t) "ORRERY_THREADS=3", NULL};
    const char *extra[] = {"ORRERY_REGION=East US", "ORRERY_LISTEN=::1", NULL};

    (void) state;
    assert_true(READ_IN(ours, "up", "--no-auth", "--listen", "127.0.0.2", "--regions", "1"));
    char **child = config_environment(&config, CONFIG_SERVE, ours, extra);
    assert_non_null(child);
    assert_true(holds(child, "PATH=/bin"));
    assert_true(holds(child, "ORRERY_THREADS=3"));
    assert_true(holds(child, "ORRERY_NO_AUTH=yes"));
    assert_true(holds(child, "ORRERY_REGION=East US"));
    assert_true(holds(child, "ORRERY_LISTEN=::1"));
    assert_false(holds(child, "ORRERY_LISTEN=127.0.0.2"));
    assert_false(holds(child, "PORT=9000"));
    assert_false(holds(child, "ORRERY_REGIONS=1"));
    assert_true(READ_IN(child, "serve"));
    assert_string_equal(config.region_name, "East US");
    free(child);
}

#define KEY_A \
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=="
#define KEY_B \
    "BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBA=="

static void key_files_that_are_not_key_files_are_refused(void **state)
{
    static const char *const bad[] = {"",
                                      "# only words\n",
                                      "not base64!\n",
                                      "AAAA\n",
                                      "secondary=" KEY_A "\n",
                                      KEY_A "\n" KEY_B "\n",
                                      "primary=" KEY_A "\nprimary=" KEY_B "\n",
                                      "primary=" KEY_A "\nsecondary=" KEY_A "\n",
                                      "primary=" KEY_A "\ntertiary=" KEY_B "\n",
                                      "primary=\n"};
    struct keys keys;

    (void) state;
    assert_false(keys_read("/nonexistent", &keys, &fault));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        if (keys_read(file_with(bad[i]), &keys, &fault))
            fail_msg("accepted: %s", bad[i]);
        assert_null(strstr(fault.message, "AAAAAAAA"));
    }
}

static void keys_change_without_a_restart_and_bad_files_change_nothing(void **state)
{
    (void) state;
    assert_null(keys_current());
    assert_true(keys_reload(NULL, &fault));
    assert_string_equal(keys_current()->key[KEY_PRIMARY].text, KEY_EMULATOR);
    assert_int_equal(keys_current()->key[KEY_PRIMARY].len, 64);
    assert_int_equal(keys_current()->key[KEY_SECONDARY].len, 0);

    const struct keys *emulator = keys_current();
    assert_true(keys_reload(file_with(" " KEY_A " \r\nsecondary-readonly = " KEY_B), &fault));
    assert_string_equal(keys_current()->key[KEY_PRIMARY].text, KEY_A);
    assert_string_equal(keys_current()->key[KEY_SECONDARY_READONLY].text, KEY_B);
    assert_string_equal(emulator->key[KEY_PRIMARY].text,
                        KEY_EMULATOR); /* who still reads the old set may */

    const struct keys *before = keys_current();
    assert_false(keys_reload(file_with("broken"), &fault));
    assert_ptr_equal(keys_current(), before);
    assert_true(
        keys_reload(file_with("primary=" KEY_A "\nsecondary-readonly=" KEY_B "\n"), &fault));
    assert_ptr_equal(keys_current(), before); /* the same keys in other words */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commands_and_names_that_do_not_exist_are_refused),
        cmocka_unit_test(values_out_of_range_are_refused),
        cmocka_unit_test(settings_that_contradict_each_other_are_refused),
        cmocka_unit_test(secrets_are_not_repeated_in_messages),
        cmocka_unit_test(the_later_layer_wins),
        cmocka_unit_test(files_and_environments_may_hold_settings_of_other_commands),
        cmocka_unit_test(protocols_decide_the_ports),
        cmocka_unit_test(sizes_have_units),
        cmocka_unit_test(arguments_are_told_from_options),
        cmocka_unit_test(a_child_gets_what_was_given_and_nothing_else),
        cmocka_unit_test(key_files_that_are_not_key_files_are_refused),
        cmocka_unit_test(keys_change_without_a_restart_and_bad_files_change_nothing),
    };
    int failed = cmocka_run_group_tests(tests, NULL, finish);

    file_with(NULL);
    return failed;
}
