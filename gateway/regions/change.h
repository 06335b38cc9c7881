/*
 * One topology from another: what operators ask for, and what each wish makes of the document.
 * Pure: who is reachable is told. What no account should become is refused by name.
 *
 * Source: replication rules, section 5.
 */
#ifndef ORRERY_REGIONS_CHANGE_H
#define ORRERY_REGIONS_CHANGE_H

#include "regions/topology.h"

enum change_kind {
    CHANGE_FAILOVER, /* another region becomes the hub */
    CHANGE_OFFLINE,
    CHANGE_ONLINE,
    CHANGE_ADD,      /* a new region begins to copy */
    CHANGE_ANNOUNCE, /* it has caught up */
    CHANGE_REJOIN,   /* it was away for too long, and joins anew */
    CHANGE_REMOVE,
    CHANGE_LEVEL,
    CHANGE_MODE,
    CHANGE_PRIORITY,
    CHANGE_KINDS
};

struct change {
    enum change_kind kind;
    struct slice region; /* absent in a failover: the first that can */
    struct slice url;  /* of a region that is added: where it is reached; absent: --peers says it */
    bool is_forced;    /* failover without the old hub */
    bool accepts_loss; /* and with fewer regions than could know all; those are given up */
    enum consistency_level level;
    int64_t bounded_versions, bounded_s; /* 0: as they are */
    enum topology_mode mode;
    unsigned name_count;
    struct slice names[TOPOLOGY_REGIONS_MAX]; /* of a priority: all live regions */
    bool is_forwarded;                        /* by the region that was asked first */
};

/* What a change needs besides the document. */
struct change_plan {
    struct topology next; /* its epoch is not set */
    unsigned runner;      /* ordinal of the region that carries it out: the next hub */
    unsigned needed;      /* acceptances, that of the runner included (q of the rules) */
    unsigned fence_count; /* regions that must take their last write before it opens */
    unsigned fence[TOPOLOGY_REGIONS_MAX]; /* ordinals */
};

const char *change_name(enum change_kind kind);

/*
 * Read a wish: {"kind":"failover","region":"East US","force":true,"acceptLoss":true},
 * {"kind":"add","region":"Brazil South","url":"http://gateway.brazil:8081"},
 * {"kind":"level","level":"BoundedStaleness","versions":10,"seconds":5},
 * {"kind":"mode","mode":"multi"}, {"kind":"priority","regions":["East US","West US"]}.
 * Texts are kept in the arena.
 *
 * fault  400
 */
bool change_parse(struct change *change, struct slice text, struct arena *arena,
                  struct fault *fault) MUST_CHECK;

/* The same as text. */
void change_print(struct buf *out, const struct change *change);

/*
 * What a wish makes of a topology.
 *
 * is_reached  by index in topology.regions: does the region answer? NULL: as if all did
 * fault       400 for what cannot be, 404 for a region that is none, 409 for what contradicts the
 *             state of the account, 503 when too few regions answer; nothing was changed
 */
bool change_plan(struct change_plan *plan, const struct topology *topology,
                 const struct change *change, const bool *is_reached,
                 struct fault *fault) MUST_CHECK;

#endif
