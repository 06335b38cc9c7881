/*
 * Sets of partition keys, while query/keyrange.c derives them.
 *
 * A set is a list of alternatives, each of which fixes some components of the key to a value, or it
 * is everything. It is always a superset of what is meant: when the work or the memory set aside is
 * used up, or a set would hold too many alternatives, a larger one is kept.
 */
#ifndef ORRERY_QUERY_KEYSET_H
#define ORRERY_QUERY_KEYSET_H

#include "base/arena.h"
#include "base/fault.h"
#include "model/pkey.h"
#include "query/keyrange.h"

/* One alternative: component i must be that value where bit i of `fixed` is set. */
struct keyset_option {
    unsigned fixed;
    struct pkey_component components[PKEY_LEVELS_MAX];
};

/* The keys of any of the options; all keys when is_everything; none without options. */
struct keyset {
    bool is_everything;
    size_t count, capacity;
    struct keyset_option *options;
};

/* What sets are made with. */
struct keyset_work {
    struct arena scratch; /* the options; ends with the work */
    size_t steps_left;
    bool has_given_up; /* the steps are used up: whatever is derived now is everything */
};

void keyset_work_init(struct keyset_work *work);
void keyset_work_finish(struct keyset_work *work);

/* False once the steps are used up. */
bool keyset_spend(struct keyset_work *work, size_t steps);

struct keyset keyset_nothing(void);
struct keyset keyset_everything(void);

/* The keys whose component has that value. Its text is borrowed as long as the work. */
struct keyset keyset_only(struct keyset_work *work, unsigned component,
                          struct pkey_component value);

struct keyset keyset_unite(struct keyset_work *work, struct keyset a, struct keyset b);
struct keyset keyset_intersect(struct keyset_work *work, struct keyset a, struct keyset b);

/*
 * The effective keys of a set, in an arena that outlives the work.
 *
 * fault  503
 */
bool keyset_intervals(const struct keyset *set, const struct pkey_definition *definition,
                      struct keyrange *keyrange, struct arena *arena,
                      struct fault *fault) MUST_CHECK;

#endif
