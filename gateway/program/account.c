/* orrery account digest: one line per range, and whether anything is wrong. Its other words:
 * topology.c. */
#include "program/program.h"

#include "store/digest.h"
#include "store/schema.h"

#include <stdio.h>
#include <string.h>

#include "base/banned.h"

struct tally {
    int ranges;
    int bad;
};

static void print_range(void *argument, const struct digest_range *range)
{
    struct tally *tally = argument;

    tally->ranges++;
    tally->bad += range->is_good ? 0 : 1;
    printf("%s\trange=%s\titems=%s\tlog=%s\t%s%s\n", range->container, range->index,
           range->items != NULL ? range->items : "-", range->fold != NULL ? range->fold : "-",
           range->is_good ? "good" : "BAD: ",
           range->is_good            ? ""
           : range->problems != NULL ? range->problems
                                     : "items and the fold of the log differ");
}

int account_run(const struct config *config)
{
    struct tally tally = {0};
    struct fault fault = {0};
    const char *message;

    if (strcmp(config->arguments[0], "digest") != 0)
        return topology_run(config);
    if (config->database_url == NULL) {
        program_fail("\"account digest\" needs --database URL");
        return PROGRAM_USAGE;
    }
    if (!schema_check(config->database_url, &message))
        return program_fail("%s", message);
    if (!digest_ranges(config->database_url, config->container, print_range, &tally, &fault))
        return program_fail("%s", fault.message);
    if (tally.bad > 0)
        return program_fail("%d of %d ranges are wrong", tally.bad, tally.ranges);
    return PROGRAM_DONE;
}
