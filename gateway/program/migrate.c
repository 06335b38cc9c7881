/* orrery migrate: the schema, from a terminal or a deployment script. */
#include "program/program.h"

#include "store/schema.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/banned.h"

int program_fail(const char *format, ...)
{
    va_list args;

    fputs("orrery: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    return PROGRAM_FAILED;
}

int migrate_run(const struct config *config)
{
    struct schema_outcome outcome;
    struct fault fault = {0};
    int ordinal = config_is_given(config, "ordinal") ? config->region_ordinal : 0;

    if (config->database_url == NULL) {
        program_fail("\"migrate\" needs --database URL");
        return PROGRAM_USAGE;
    }
    if (!schema_migrate(config->database_url, ordinal, &outcome, &fault))
        return program_fail("%s", fault.message);
    if (outcome.version_before == outcome.version_after)
        printf("schema version %d, nothing to do\n", outcome.version_after);
    else
        printf("schema version %d, was %d\n", outcome.version_after, outcome.version_before);
    return PROGRAM_DONE;
}
