/* The program: read the settings, run the command. */
#include "base/config.h"
#include "http/routes.h"
#include "http/serve.h"
#include "program/program.h"
#include "store/schema.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/banned.h"

static int serve(const struct config *config)
{
    const char *message;

    if (config->database_url == NULL) {
        program_fail("\"serve\" needs --database URL (\"orrery up\" brings its own)");
        return PROGRAM_USAGE;
    }
    if (!schema_check(config->database_url, &message))
        return program_fail("%s", message);
    return serve_run(config);
}

static int help(const struct config *config)
{
    if (config->arguments_count > 0 && strcmp(config->arguments[0], "markdown") == 0)
        config_print_markdown(stdout);
    else
        config_print_help(stdout, config->help_on);
    return PROGRAM_DONE;
}

static int run(const struct config *config)
{
    switch (config->command) {
    case CONFIG_SERVE:
        return serve(config);
    case CONFIG_UP:
        return up_run(config, environ);
    case CONFIG_MIGRATE:
        return migrate_run(config);
    case CONFIG_SIGN:
        return sign_run(config);
    case CONFIG_ACCOUNT:
        return account_run(config);
    case CONFIG_HELP:
        return help(config);
    case CONFIG_VERSION:
        printf("orrery %s\n", ORRERY_VERSION);
        return PROGRAM_DONE;
    }
    return PROGRAM_USAGE;
}

int main(int argc, char **argv)
{
    struct config config;
    struct fault fault = {0};
    int status = PROGRAM_USAGE;

    /* For the test that compares openapi.yaml with the router; no setting applies to it. */
    if (argc == 2 && strcmp(argv[1], "routes") == 0) {
        route_print_all(stdout);
        return fflush(stdout) == 0 ? PROGRAM_DONE : program_fail("cannot write to standard output");
    }
    if (config_read(&config, argc, argv, environ, &fault)) {
        log_setup(config.log_level, config.is_log_json,
                  config.command == CONFIG_SERVE ? config.region_name : NULL);
        status = run(&config);
    } else {
        fprintf(stderr, "orrery: %s\n", fault.message);
    }
    config_finish(&config);
    /* A disk that is full or a reader that left must not look like success. */
    if (fflush(stdout) != 0 && status == PROGRAM_DONE)
        status = program_fail("cannot write to standard output");
    return status;
}
