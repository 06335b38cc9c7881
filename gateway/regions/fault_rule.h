/*
 * Faults on demand: what an operator may ask for, read and printed as JSON. docs/faults.md has
 * every member.
 */
#ifndef ORRERY_REGIONS_FAULT_RULE_H
#define ORRERY_REGIONS_FAULT_RULE_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/fault.h"
#include "regions/link.h"
#include "regions/topology.h"

#define FAULT_ID_BYTES 17 /* 16 hexadecimal digits and NUL */
#define FAULT_DELAY_MS_MAX 600000
#define FAULT_COUNT_MAX 1000000
#define FAULT_NAME_BYTES 256
#define FAULT_SKEW_MS_MAX (10LL * 366 * 86400 * 1000)

enum fault_kind {
    FAULT_LINK,   /* messages between regions */
    FAULT_PAUSE,  /* a region takes no entries from others */
    FAULT_REFUSE, /* clients' requests */
    FAULT_CLOCK   /* _ts and lifetimes */
};

/* Of items; metadata is everything else. */
enum fault_requests {
    FAULT_READS = 1,
    FAULT_WRITES = 2,
    FAULT_QUERIES = 4,
    FAULT_METADATA = 8,
    FAULT_ALL = 15
};

struct fault_rule {
    char id[FAULT_ID_BYTES]; /* empty until somebody chose one */
    enum fault_kind kind;
    unsigned region; /* ordinal; of all kinds but FAULT_LINK */
    /* FAULT_LINK: link.from and link.to, and unless is_one_way the other direction too */
    struct link_rule link;
    bool has_seed, is_one_way;
    /* FAULT_REFUSE */
    enum fault_requests requests;
    char database[FAULT_NAME_BYTES], container[FAULT_NAME_BYTES]; /* empty: any */
    uint32_t left;                                                /* how often it acts */
    bool acts_after; /* the request is executed first */
    uint16_t status;
    enum substatus substatus;
    uint32_t retry_after_ms;
    /* FAULT_CLOCK */
    int64_t skew_ms;
};

/* What a request to the control interface says. */
struct fault_order {
    bool is_relayed; /* by another region's gateway: not to be told further */
    bool is_clear;   /* remove rule.id, or all when that is empty */
    struct fault_rule rule;
};

/*
 * Read an order.
 *
 * self   ordinal of the region that is meant where none is named
 * fault  400 naming the member that is wrong
 */
bool fault_order_parse(struct fault_order *order, struct slice body,
                       const struct topology *topology, unsigned self, struct arena *arena,
                       struct fault *fault) MUST_CHECK;

/* The order as another gateway reads it, so that it is told no further. */
void fault_order_print(struct buf *out, const struct fault_order *order,
                       const struct topology *topology);

/* One rule as clients see it. */
void fault_rule_print(struct buf *out, const struct fault_rule *rule,
                      const struct topology *topology);

/* Is a text an id? */
bool fault_id_is_valid(struct slice text);

#endif
