#include "query/keyset.h"

#include <stdlib.h>

#include "base/banned.h"

/* Nodes looked at and options made: some milliseconds. */
#define STEPS_MAX 100000
/* For options and for constants that were computed. */
#define SCRATCH_BYTES_MAX (8u << 20)

void keyset_work_init(struct keyset_work *work)
{
    *work = (struct keyset_work){.steps_left = STEPS_MAX};
    arena_init(&work->scratch, SCRATCH_BYTES_MAX);
}

void keyset_work_finish(struct keyset_work *work)
{
    arena_finish(&work->scratch);
}

bool keyset_spend(struct keyset_work *work, size_t steps)
{
    if (work->steps_left < steps)
        work->has_given_up = true;
    if (!work->has_given_up)
        work->steps_left -= steps;
    return !work->has_given_up;
}

/* Sets ---------------------------------------------------------------------------------------- */

struct keyset keyset_nothing(void)
{
    return (struct keyset){0};
}

struct keyset keyset_everything(void)
{
    return (struct keyset){.is_everything = true};
}

static bool grow(struct keyset_work *work, struct keyset *set)
{
    size_t capacity = set->capacity == 0 ? 1 : set->capacity * 2;
    struct keyset_option *options = NULL;

    if (set->count < KEYRANGE_KEYS_MAX)
        options = arena_alloc(&work->scratch, capacity * sizeof(*options));
    if (options == NULL)
        return false;
    if (set->count > 0)
        memcpy(options, set->options, set->count * sizeof(*options));
    set->options = options;
    set->capacity = capacity;
    return true;
}

/* False when there is no room for one more. */
static bool add(struct keyset_work *work, struct keyset *set, const struct keyset_option *option)
{
    if (set->count == set->capacity && !grow(work, set))
        return false;
    set->options[set->count++] = *option;
    return true;
}

struct keyset keyset_only(struct keyset_work *work, unsigned component, struct pkey_component value)
{
    struct keyset_option option = {.fixed = 1u << component};
    struct keyset set = keyset_nothing();

    option.components[component] = value;
    return keyset_spend(work, 1) && add(work, &set, &option) ? set : keyset_everything();
}

struct keyset keyset_unite(struct keyset_work *work, struct keyset a, struct keyset b)
{
    if (a.is_everything || b.is_everything || !keyset_spend(work, b.count))
        return keyset_everything();
    for (size_t i = 0; i < b.count; i++) {
        if (!add(work, &a, &b.options[i]))
            return keyset_everything();
    }
    return a;
}

static bool component_equals(const struct pkey_component *a, const struct pkey_component *b)
{
    const struct pkey x = {.count = 1, .components = {*a}}, y = {.count = 1, .components = {*b}};

    return pkey_equals(&x, &y);
}

/* What both options ask for; false when they contradict each other. */
static bool combine(struct keyset_option *both, const struct keyset_option *a,
                    const struct keyset_option *b)
{
    *both = *a;
    for (unsigned i = 0; i < PKEY_LEVELS_MAX; i++) {
        unsigned bit = 1u << i;
        if ((b->fixed & bit) == 0)
            continue;
        if ((a->fixed & bit) != 0 && !component_equals(&a->components[i], &b->components[i]))
            return false;
        both->components[i] = b->components[i];
        both->fixed |= bit;
    }
    return true;
}

/* Where that would cost too much, the smaller set: it holds the intersection. */
struct keyset keyset_intersect(struct keyset_work *work, struct keyset a, struct keyset b)
{
    struct keyset smaller = a.count <= b.count ? a : b;
    struct keyset both = keyset_nothing();

    if (a.is_everything)
        return b;
    if (b.is_everything)
        return a;
    if (work->steps_left < a.count * b.count || !keyset_spend(work, a.count * b.count))
        return smaller;
    for (size_t i = 0; i < a.count * b.count; i++) {
        struct keyset_option option;
        if (combine(&option, &a.options[i / b.count], &b.options[i % b.count]) &&
            !add(work, &both, &option))
            return smaller;
    }
    return both;
}

/* Intervals ----------------------------------------------------------------------------------- */

/* The leading components that an option fixes; 0 when they tell nothing about effective keys. */
static unsigned prefix_count(const struct keyset_option *option,
                             const struct pkey_definition *definition)
{
    unsigned count = 0;

    while (count < definition->path_count && (option->fixed >> count & 1) != 0)
        count++;
    return definition->kind == PKEY_MULTI_HASH || count == definition->path_count ? count : 0;
}

static bool slice_copy(struct slice *copy, struct arena *arena, struct slice original)
{
    *copy = slice_make(arena_copy(arena, original.ptr, original.len), original.len);
    return copy->ptr != NULL;
}

static const struct pkey *pkey_copy(struct arena *arena, const struct pkey *pkey)
{
    struct pkey *copy = arena_alloc(arena, sizeof(*copy));

    if (copy == NULL)
        return NULL;
    *copy = *pkey;
    for (size_t i = 0; i < copy->count; i++) {
        struct slice *text = &copy->components[i].text;
        if (copy->components[i].type == PKEY_STRING && !slice_copy(text, arena, *text))
            return NULL;
    }
    return copy;
}

static bool fill_interval(struct keyrange_interval *interval, struct arena *arena,
                          const struct pkey *pkey, const struct pkey_definition *definition,
                          bool is_full)
{
    struct epk min, max;

    pkey_epk_interval(pkey, definition, &min, &max);
    if (is_full && (interval->pkey = pkey_copy(arena, pkey)) == NULL)
        return false;
    return slice_copy(&interval->min, arena, epk_slice(&min)) &&
           slice_copy(&interval->max, arena, epk_slice(&max));
}

static int compare_slices(struct slice a, struct slice b)
{
    size_t shorter = a.len < b.len ? a.len : b.len;
    int order = shorter > 0 ? memcmp(a.ptr, b.ptr, shorter) : 0;

    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

/* By where they begin; of two that begin alike the wider comes first. */
static int compare_intervals(const void *left, const void *right)
{
    const struct keyrange_interval *a = left, *b = right;
    int order = compare_slices(a->min, b->min);

    return order != 0 ? order : compare_slices(b->max, a->max);
}

/*
 * Drop what lies inside another. Intervals are a prefix's or a key's, so they nest or are disjoint.
 * Two keys may share an effective key: then neither is the only one in it.
 */
static size_t merge_intervals(struct keyrange_interval *intervals, size_t count)
{
    size_t kept = 0;

    for (size_t i = 0; i < count; i++) {
        struct keyrange_interval *last = kept > 0 ? &intervals[kept - 1] : NULL;
        if (last == NULL || compare_slices(intervals[i].min, last->max) >= 0)
            intervals[kept++] = intervals[i];
        else if (last->pkey != NULL && !pkey_equals(last->pkey, intervals[i].pkey))
            last->pkey = NULL;
    }
    return kept;
}

static bool fill_everything(struct keyrange *keyrange, struct arena *arena, struct fault *fault)
{
    struct keyrange_interval *interval = arena_alloc(arena, sizeof(*interval));

    if (interval == NULL)
        return fault_set_oom(fault);
    interval->min = SLICE_LITERAL("");
    interval->max = SLICE_LITERAL("\xff");
    *keyrange = (struct keyrange){.count = 1, .intervals = interval, .is_everything = true};
    return true;
}

static void finish_intervals(struct keyrange *keyrange, struct keyrange_interval *intervals,
                             size_t count)
{
    if (count > 1)
        qsort(intervals, count, sizeof(*intervals), compare_intervals);
    *keyrange = (struct keyrange){
        .count = merge_intervals(intervals, count), .intervals = intervals, .is_keys = true};
    for (size_t i = 0; i < keyrange->count; i++)
        keyrange->is_keys = keyrange->is_keys && intervals[i].pkey != NULL;
}

bool keyset_intervals(const struct keyset *set, const struct pkey_definition *definition,
                      struct keyrange *keyrange, struct arena *arena, struct fault *fault)
{
    struct keyrange_interval *intervals;
    size_t count = 0;

    if (set->is_everything)
        return fill_everything(keyrange, arena, fault);
    intervals = arena_alloc(arena, (set->count + 1) * sizeof(*intervals));
    if (intervals == NULL)
        return fault_set_oom(fault);
    for (size_t i = 0; i < set->count; i++) {
        const struct keyset_option *option = &set->options[i];
        struct pkey pkey = {.count = prefix_count(option, definition)};
        bool is_full = pkey.count == definition->path_count;
        struct fault too_long = {0};
        if (pkey.count == 0)
            return fill_everything(keyrange, arena, fault);
        memcpy(pkey.components, option->components, sizeof(pkey.components));
        /* No item has a key that is longer than allowed. */
        if (!pkey_complete(&pkey, definition, &too_long))
            continue;
        if (!fill_interval(&intervals[count++], arena, &pkey, definition, is_full))
            return fault_set_oom(fault);
    }
    finish_intervals(keyrange, intervals, count);
    return true;
}
