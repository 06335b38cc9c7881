#include "regions/link.h"

#include "base/banned.h"

/* SplitMix64: any state, zero too, is a good one. */
static uint64_t draw(struct link_rule *rule)
{
    uint64_t z = (rule->state += 0x9e3779b97f4a7c15ULL);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
}

/* Below 1, so that a probability of 1 always holds and one of 0 never. */
static double draw_share(struct link_rule *rule)
{
    return (double) (draw(rule) >> 11) * 0x1p-53;
}

static uint32_t draw_below(struct link_rule *rule, uint64_t bound)
{
    return bound > 0 ? (uint32_t) (draw(rule) % bound) : 0;
}

static bool rule_matches(const struct link_rule *rule, unsigned from, unsigned to)
{
    return (rule->from == LINK_ANY || rule->from == from) &&
           (rule->to == LINK_ANY || rule->to == to);
}

/* Always the same number of draws, so that what a rule decides of one thing does not shift the
 * others. */
static void apply(struct link_rule *rule, struct link_verdict *verdict)
{
    bool is_dropped = draw_share(rule) < rule->drop;
    bool is_duplicated = draw_share(rule) < rule->duplicate;
    bool is_overtaken = draw_share(rule) < rule->reorder;
    uint32_t jitter_ms = draw_below(rule, (uint64_t) rule->jitter_ms + 1);
    uint32_t delay_ms = rule->delay_ms + jitter_ms;
    uint32_t back_ms = LINK_REORDER_MS + draw_below(rule, 4 * (uint64_t) delay_ms + 1);

    verdict->is_lost |= rule->is_cut || is_dropped;
    verdict->is_duplicated |= is_duplicated;
    verdict->delay_ms += delay_ms + (is_overtaken ? back_ms : 0);
}

void link_decide(struct link_rule *rules, size_t count, unsigned from, unsigned to,
                 struct link_verdict *verdict)
{
    for (size_t i = 0; i < count; i++) {
        if (rule_matches(&rules[i], from, to))
            apply(&rules[i], verdict);
    }
}
