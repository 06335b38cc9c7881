/*
 * What `orrery up` is to bring up: the regions' names, whose PostgreSQL they use, how long messages
 * between them take. From flags, or from a file (--regions-file):
 *
 *   {"regions": [{"name": "West US", "database": "postgresql://orrery@db-west/orrery"},
 *                {"name": "East US"}],
 *    "latencyMs": {"West US": {"East US": 35}}}
 *
 * A region without a database gets a private one. latencyMs is one way: a number for all links, or
 * by the region that speaks and the one that hears; a direction that is not given is as its
 * opposite.
 */
#ifndef ORRERY_PROGRAM_LAYOUT_H
#define ORRERY_PROGRAM_LAYOUT_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/config.h"
#include "base/slice.h"

#define LAYOUT_NAME_BYTES 65
#define LAYOUT_LATENCY_MS_MAX 60000

struct layout_region {
    char name[LAYOUT_NAME_BYTES];
    char slug[LAYOUT_NAME_BYTES]; /* "west-us": different for each */
    const char *database;         /* connection string in the arena; NULL: a private one */
};

struct layout {
    struct arena arena;
    int count;
    struct layout_region regions[CONFIG_REGIONS_MAX];
    int latency_ms[CONFIG_REGIONS_MAX][CONFIG_REGIONS_MAX]; /* from, to */
};

/*
 * Settle the layout; layout_finish is due either way.
 *
 * fault  what contradicts what; 400 naming the member of the file that is wrong
 */
bool layout_read(struct layout *layout, const struct config *config,
                 struct fault *fault) MUST_CHECK;
void layout_finish(struct layout *layout);

/* For serve --link-latency: "West US>East US=35,…"; nothing where there are none. */
void layout_print_latencies(const struct layout *layout, struct buf *out);

#endif
