#include "regions/strong.h"

#include "base/banned.h"

static const char *const names[] = {"out", "joining", "in", "leaving"};

const char *strong_state_name(enum strong_state state)
{
    return names[state];
}

bool strong_state_find(struct slice name, enum strong_state *state)
{
    for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
        if (slice_equals_text(name, names[i])) {
            *state = (enum strong_state) i;
            return true;
        }
    }
    return false;
}

const struct strong_member *strong_find(const struct strong_set *set, unsigned ordinal)
{
    for (unsigned i = 0; i < set->count; i++) {
        if (set->at[i].ordinal == ordinal)
            return &set->at[i];
    }
    return NULL;
}

unsigned strong_size(const struct strong_set *set)
{
    unsigned size = 1;

    for (unsigned i = 0; i < set->count; i++)
        size += strong_needs_ack(set->at[i].state);
    return size;
}

enum strong_step strong_next(const struct strong_set *set, const struct strong_member *member,
                             unsigned majority, const struct lease_rules *rules, int64_t now_ms)
{
    bool is_silent = member->silent_ms > rules->lease_ms;

    switch (member->state) {
    case STRONG_OUT:
        return is_silent ? STRONG_STAY : STRONG_JOIN;
    case STRONG_JOINING:
        /* It was never leased reading under this version, but may still hold an older lease. */
        if (is_silent)
            return STRONG_LEAVE;
        if (!member->has_goal)
            return STRONG_SET_GOAL;
        return member->has_what_was ? STRONG_ADMIT : STRONG_STAY;
    case STRONG_IN:
        return is_silent ? STRONG_LEAVE : STRONG_STAY;
    case STRONG_LEAVING:
        if (!is_silent)
            return STRONG_JOIN;
        if (now_ms - member->seen_ms < lease_granter_ms(rules) || strong_size(set) <= majority)
            return STRONG_STAY;
        return STRONG_DROP;
    }
    return STRONG_STAY;
}

int64_t strong_committed(const struct strong_set *set, unsigned majority, int64_t hub_lsn,
                         const int64_t *acked)
{
    int64_t lowest = hub_lsn;

    if (strong_size(set) < majority)
        return -1;
    for (unsigned i = 0; i < set->count; i++) {
        if (strong_needs_ack(set->at[i].state) && acked[i] < lowest)
            lowest = acked[i];
    }
    return lowest;
}
