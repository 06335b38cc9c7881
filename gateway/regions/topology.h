/*
 * The account's topology: one document per epoch, the same in every region.
 *
 * {"account":"orrery","epoch":257,"mode":"single","hub":1,"level":"Session",
 *  "bounded":{"versions":100000,"seconds":300},
 *  "regions":[{"ordinal":1,"name":"West US","state":"online"}, …],
 *  "retired":[{"ordinal":4,"name":"Brazil South","lost":true}]}
 *
 * Regions stand in the order of their priority for failover. A region that was added says by "url"
 * where it is reached, so that those who were there hear of it; where --peers says something else,
 * that counts: a place may change without an epoch. Source: replication rules, sections 1 and 5.
 */
#ifndef ORRERY_REGIONS_TOPOLOGY_H
#define ORRERY_REGIONS_TOPOLOGY_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/fault.h"

#include <stdint.h>

#define TOPOLOGY_REGIONS_MAX 32 /* live and retired */
#define TOPOLOGY_ORDINAL_MAX 255
#define TOPOLOGY_NAME_BYTES_MAX 64
#define TOPOLOGY_URL_BYTES_MAX 512
/* Bounded staleness, when a document does not say. Source: the service's defaults for accounts of
 * several regions. */
#define TOPOLOGY_BOUNDED_VERSIONS 100000
#define TOPOLOGY_BOUNDED_S 300
#define TOPOLOGY_EPOCH_FIRST 257

enum topology_mode { TOPOLOGY_SINGLE_WRITE, TOPOLOGY_MULTI_WRITE };

/* Strongest first, as the levels of a request are compared. */
enum consistency_level {
    LEVEL_STRONG,
    LEVEL_BOUNDED_STALENESS,
    LEVEL_SESSION,
    LEVEL_CONSISTENT_PREFIX,
    LEVEL_EVENTUAL
};

enum topology_region_state {
    REGION_ONLINE,
    REGION_OFFLINE, /* answers 403/1008 and takes no part; an operator brings it back */
    REGION_JOINING, /* copies; not announced to clients, its acks count for nothing */
    REGION_RETIRED  /* never live again: its ordinal is history */
};

struct topology_region {
    unsigned ordinal; /* 1…255 */
    struct slice name;
    struct slice url; /* of its gateways, for those of other regions; absent: --peers says it */
    enum topology_region_state state;
    bool is_lost; /* retired by a forced failover: it may come back, under another ordinal */
};

struct topology {
    struct slice account;
    int64_t epoch; /* counter * 256 + ordinal of the proposer */
    enum topology_mode mode;
    unsigned hub; /* ordinal */
    enum consistency_level level;
    int64_t bounded_versions, bounded_s;
    unsigned region_count; /* live ones first, by priority, then the retired */
    struct topology_region regions[TOPOLOGY_REGIONS_MAX];
};

/* Names of regions are the same whatever their case and spaces, as SDKs compare them. */
bool topology_name_equals(struct slice a, struct slice b);

/* NULL when there is none. By name a live region comes before a retired one. */
const struct topology_region *topology_find(const struct topology *topology, unsigned ordinal);
const struct topology_region *topology_find_name(const struct topology *topology,
                                                 struct slice name);

/* Regions that are not retired, and a majority of those that do not just join (m of the rules). */
unsigned topology_live_count(const struct topology *topology);
unsigned topology_majority(const struct topology *topology);

/* May the region write items? Metadata is written at the hub alone. */
bool topology_may_write(const struct topology *topology, unsigned ordinal);

/* Does a region take entries from another one? From every live one; the hub also from those that
 * were given up, should they come back: what they had not shipped (rule 5.6). */
bool topology_is_source(const struct topology *topology, unsigned self, unsigned ordinal);

/* For a region that comes: one that nobody ever had; above TOPOLOGY_ORDINAL_MAX when all were. */
unsigned topology_next_ordinal(const struct topology *topology);

/* Can it be where a region is reached? http:// or https:// with something behind it. */
bool topology_is_url(struct slice url);

/* Is it one that an account can have? Fault: 400 naming what is wrong. */
bool topology_check(const struct topology *topology, struct fault *fault) MUST_CHECK;

/*
 * Read a document. Names are kept in the arena. A member that is not known is refused: it may
 * change what the others mean.
 *
 * fault  400 naming what is wrong with it
 */
bool topology_parse(struct topology *topology, struct slice document, struct arena *arena,
                    struct fault *fault) MUST_CHECK;

/* The document as text; what parse reads back. */
void topology_print(struct buf *out, const struct topology *topology);

const char *topology_mode_name(enum topology_mode mode);
const char *topology_state_name(enum topology_region_state state);

/* The public spelling: "BoundedStaleness". */
const char *consistency_level_name(enum consistency_level level);
bool consistency_level_find(struct slice name, enum consistency_level *level);

#endif
