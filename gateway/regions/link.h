/*
 * Links between regions, disturbed on demand: what happens to one message on its way.
 *
 * A rule is about messages of one region to another. Rules that match add up: lost is what any of
 * them loses, delays are summed. Each rule draws from a generator of its own, so that a rule with a
 * seed decides the same of the n-th message that it meets in every run.
 */
#ifndef ORRERY_REGIONS_LINK_H
#define ORRERY_REGIONS_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LINK_ANY 0 /* instead of an ordinal */
/* How long a message that is overtaken is held back at the least, besides its delay. */
#define LINK_REORDER_MS 50

struct link_rule {
    unsigned from, to; /* ordinals, or LINK_ANY */
    bool is_cut;
    uint32_t delay_ms, jitter_ms; /* delay, and up to so much more, evenly spread */
    double drop;                  /* probabilities, 0 to 1 */
    double duplicate;
    double reorder; /* of being held back for up to four times its delay, so others overtake it */
    uint64_t state; /* of the generator: the seed, then what it left */
};

struct link_verdict {
    bool is_lost;
    bool is_duplicated;
    uint32_t delay_ms;
};

/* Add to a verdict what happens to a message; moves the generators of the rules that match. */
void link_decide(struct link_rule *rules, size_t count, unsigned from, unsigned to,
                 struct link_verdict *verdict);

#endif
