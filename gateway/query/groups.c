#include "query/groups.h"

#include "query/functions.h"
#include "query/sort.h"

#include <assert.h>
#include <stdlib.h>

#include "base/banned.h"

#define TABLE_FIRST 16

/* Digests seen, for MAKESET: open addressing, never more than half full. */
struct digest_set {
    struct digest *slots; /* all zero: free */
    size_t capacity, count;
};

/* One aggregate of one group so far. */
struct accumulator {
    double count, sum;
    bool is_poisoned;       /* by a value that the aggregate does not take */
    struct sort_value best; /* of MIN and MAX; owns its text */
    struct buf list;        /* elements as JSON, each followed by a comma */
    struct digest_set set;
};

struct group {
    struct group *chain; /* in the same slot of the table */
    struct digest digest;
    const cJSON **values; /* its keys, in the arena of an eval that outlives the groups; or NULL */
    char *keys;           /* otherwise JSON: an array with one array per key, empty for undefined */
    size_t keys_len;
    size_t bytes; /* all that it takes */
    struct accumulator accumulators[];
};

struct groups {
    const struct ast_query *query;
    size_t limit, bytes_max;
    bool has_after, has_bound;
    bool keeps_all; /* no group may be let go */
    bool in_order_of_rows;
    bool is_cut;
    struct digest after;
    struct digest bound; /* groups from here on were let go */
    size_t bytes;
    struct group *
        *entries; /* a heap, greatest digest first; or in order of appearance; or sorted */
    size_t count, capacity;
    struct group **table; /* by digest */
    size_t table_size;
    struct groups *results; /* DISTINCT over groups: what is answered, once finished */
};

/* ---- Memory ---- */

static void accumulator_finish(struct accumulator *accumulator)
{
    free((char *) (uintptr_t) accumulator->best.text.ptr);
    buf_finish(&accumulator->list);
    free(accumulator->set.slots);
}

static void group_destroy(const struct groups *groups, struct group *group)
{
    for (unsigned i = 0; i < groups->query->aggregate_count; i++)
        accumulator_finish(&group->accumulators[i]);
    free(group->keys);
    free(group);
}

bool groups_are_needed(const struct ast_query *query)
{
    return query->is_aggregate || query->is_distinct;
}

struct groups *groups_create(const struct ast_query *query, const struct groups_options *options,
                             struct fault *fault)
{
    struct groups *groups = calloc(1, sizeof(*groups));

    if (groups == NULL || (groups->table = calloc(TABLE_FIRST, sizeof(*groups->table))) == NULL) {
        free(groups);
        fault_set_oom(fault);
        return NULL;
    }
    groups->query = query;
    groups->table_size = TABLE_FIRST;
    groups->limit = options->limit;
    groups->bytes_max = options->bytes_max;
    groups->in_order_of_rows = options->in_order_of_rows;
    groups->keeps_all = options->in_order_of_rows || (query->is_aggregate && query->is_distinct);
    groups->has_after = options->after != NULL;
    if (groups->has_after)
        groups->after = *options->after;
    return groups;
}

void groups_destroy(struct groups *groups)
{
    if (groups == NULL)
        return;
    for (size_t i = 0; i < groups->count; i++)
        group_destroy(groups, groups->entries[i]);
    groups_destroy(groups->results);
    free(groups->entries);
    free(groups->table);
    free(groups);
}

/* ---- The table and the heap ---- */

static struct group **table_slot(const struct groups *groups, const struct digest *digest)
{
    uint64_t bits;

    memcpy(&bits, digest->bytes, sizeof(bits));
    return &groups->table[bits & (groups->table_size - 1)];
}

static struct group *table_find(const struct groups *groups, const struct digest *digest)
{
    struct group *group = *table_slot(groups, digest);

    while (group != NULL && digest_compare(&group->digest, digest) != 0)
        group = group->chain;
    return group;
}

static void table_insert(struct groups *groups, struct group *group)
{
    struct group **slot = table_slot(groups, &group->digest);

    group->chain = *slot;
    *slot = group;
}

static void table_remove(struct groups *groups, const struct group *group)
{
    struct group **at = table_slot(groups, &group->digest);

    while (*at != group)
        at = &(*at)->chain;
    *at = group->chain;
}

/* Room for one more. */
static bool entries_grow(struct groups *groups)
{
    if (groups->count < groups->capacity)
        return true;
    size_t capacity = groups->capacity > 0 ? 2 * groups->capacity : TABLE_FIRST;
    struct group **entries = realloc(groups->entries, capacity * sizeof(*entries));
    if (entries == NULL)
        return false;
    groups->entries = entries;
    struct group **table = calloc(capacity, sizeof(*table));
    if (table == NULL)
        return false;
    free(groups->table);
    groups->table = table;
    groups->table_size = groups->capacity = capacity;
    for (size_t i = 0; i < groups->count; i++)
        table_insert(groups, entries[i]);
    return true;
}

static int entries_compare(const struct groups *groups, size_t a, size_t b)
{
    return digest_compare(&groups->entries[a]->digest, &groups->entries[b]->digest);
}

static void entries_swap(struct groups *groups, size_t a, size_t b)
{
    struct group *group = groups->entries[a];

    groups->entries[a] = groups->entries[b];
    groups->entries[b] = group;
}

static void heap_up(struct groups *groups, size_t at)
{
    for (; at > 0 && entries_compare(groups, at, (at - 1) / 2) > 0; at = (at - 1) / 2)
        entries_swap(groups, at, (at - 1) / 2);
}

static void heap_down(struct groups *groups, size_t at)
{
    for (;;) {
        size_t greatest = at, left = 2 * at + 1, right = left + 1;

        if (left < groups->count && entries_compare(groups, left, greatest) > 0)
            greatest = left;
        if (right < groups->count && entries_compare(groups, right, greatest) > 0)
            greatest = right;
        if (greatest == at)
            return;
        entries_swap(groups, at, greatest);
        at = greatest;
    }
}

/* Let go of the group with the greatest digest, and of all that would come behind it. */
static void heap_drop(struct groups *groups)
{
    struct group *group = groups->entries[0];

    groups->bound = group->digest;
    groups->has_bound = groups->is_cut = true;
    table_remove(groups, group);
    groups->entries[0] = groups->entries[--groups->count];
    heap_down(groups, 0);
    groups->bytes -= group->bytes;
    group_destroy(groups, group);
}

/* ---- Groups ---- */

static char *keys_print(const cJSON *const *keys, size_t count, size_t *len)
{
    struct buf text = {0};

    buf_append_char(&text, '[');
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            buf_append_char(&text, ',');
        buf_append_char(&text, '[');
        if (keys[i] != NULL)
            value_print(&text, keys[i]);
        buf_append_char(&text, ']');
    }
    buf_append_char(&text, ']');
    return buf_take(&text, len);
}

static bool keys_keep(const struct groups *groups, struct eval *eval, struct group *group,
                      const cJSON *const *keys, size_t count)
{
    if (!groups->in_order_of_rows) {
        group->keys = keys_print(keys, count, &group->keys_len);
        return group->keys != NULL;
    }
    group->values = arena_alloc(eval->arena, (count + 1) * sizeof(*keys));
    if (group->values != NULL && count > 0)
        memcpy(group->values, keys, count * sizeof(*keys));
    return group->values != NULL;
}

static struct group *group_create(struct groups *groups, struct eval *eval,
                                  const struct digest *digest, const cJSON *const *keys,
                                  size_t count)
{
    size_t size = sizeof(struct group) +
                  groups->query->aggregate_count * sizeof(struct accumulator) +
                  2 * sizeof(struct group *);
    struct group *group = entries_grow(groups) ? calloc(1, size) : NULL;

    if (group == NULL)
        return NULL;
    group->digest = *digest;
    if (!keys_keep(groups, eval, group, keys, count)) {
        free(group);
        return NULL;
    }
    group->bytes = size + group->keys_len;
    groups->bytes += group->bytes;
    table_insert(groups, group);
    groups->entries[groups->count++] = group;
    if (!groups->keeps_all)
        heap_up(groups, groups->count - 1);
    return group;
}

/* Is a group outside of what this page answers? */
static bool is_outside(struct groups *groups, const struct digest *digest)
{
    if (groups->keeps_all)
        return false;
    if (groups->has_after && digest_compare(digest, &groups->after) <= 0)
        return true;
    bool is_beyond =
        (groups->has_bound && digest_compare(digest, &groups->bound) >= 0) ||
        (groups->count >= groups->limit && digest_compare(digest, &groups->entries[0]->digest) > 0);
    groups->is_cut = groups->is_cut || is_beyond;
    return is_beyond;
}

/* The group of a key, made if need be. NULL when it is not wanted, and after a failure. */
static struct group *group_find(struct groups *groups, struct eval *eval, const cJSON *const *keys,
                                size_t count)
{
    struct digest digest;
    size_t bytes = digest_values(keys, count, &digest);

    if (!eval_spend(eval, 1 + bytes / 16))
        return NULL;
    struct group *group = table_find(groups, &digest);
    if (group != NULL || is_outside(groups, &digest))
        return group;
    if (!groups->keeps_all && groups->count >= groups->limit)
        heap_drop(groups);
    group = group_create(groups, eval, &digest, keys, count);
    if (group == NULL)
        eval_oom(eval);
    return group;
}

/* Hold the ceiling. */
static bool groups_shrink(struct groups *groups, struct eval *eval)
{
    while (groups->bytes > groups->bytes_max) {
        if (groups->keeps_all || groups->count <= 1) {
            eval->has_failed = true;
            return fault_set(eval->fault, 400, SUB_NONE,
                             "the groups of the query need more than %zu bytes of memory",
                             groups->bytes_max);
        }
        heap_drop(groups);
    }
    return true;
}

/* ---- Aggregates ---- */

static enum aggregate aggregate_of(const struct groups *groups, unsigned number)
{
    return groups->query->aggregates[number]->function->aggregate;
}

static void add_number(struct accumulator *accumulator, const cJSON *value)
{
    if (!cJSON_IsNumber(value)) {
        accumulator->is_poisoned = true;
        return;
    }
    accumulator->count++;
    accumulator->sum += value->valuedouble;
}

/* Returns the bytes that it takes more; SIZE_MAX without memory. */
static size_t add_best(struct accumulator *accumulator, const cJSON *value, bool is_max)
{
    struct sort_value candidate = sort_value_of(value);
    struct sort_value *best = &accumulator->best;
    int order = sort_value_compare(&candidate, best);

    if (candidate.rank >= VALUE_ARRAY)
        accumulator->is_poisoned = true;
    if (candidate.rank >= VALUE_ARRAY ||
        (best->rank != VALUE_UNDEFINED && (is_max ? order <= 0 : order >= 0)))
        return 0;
    if (candidate.rank == VALUE_STRING) {
        char *copy = strndup(candidate.text.ptr, candidate.text.len);
        if (copy == NULL)
            return SIZE_MAX;
        candidate.text.ptr = copy;
    }
    free((char *) (uintptr_t) best->text.ptr);
    /* A shorter text frees less than is worth counting. */
    size_t more = candidate.text.len > best->text.len ? candidate.text.len - best->text.len : 0;
    *best = candidate;
    return more;
}

static bool digest_is_free(const struct digest *digest)
{
    static const struct digest zero;

    return digest_compare(digest, &zero) == 0;
}

/* The slot of a digest, or the one it would take. */
static struct digest *set_slot(const struct digest_set *set, const struct digest *digest)
{
    uint64_t bits;

    memcpy(&bits, digest->bytes, sizeof(bits));
    size_t at = bits & (set->capacity - 1);
    while (!digest_is_free(&set->slots[at]) && digest_compare(&set->slots[at], digest) != 0)
        at = (at + 1) & (set->capacity - 1);
    return &set->slots[at];
}

static bool set_grow(struct digest_set *set)
{
    size_t capacity = set->capacity > 0 ? 2 * set->capacity : TABLE_FIRST;
    struct digest_set more = {.slots = calloc(capacity, sizeof(struct digest)),
                              .capacity = capacity,
                              .count = set->count};

    if (more.slots == NULL)
        return false;
    for (size_t i = 0; i < set->capacity; i++) {
        if (!digest_is_free(&set->slots[i]))
            *set_slot(&more, &set->slots[i]) = set->slots[i];
    }
    free(set->slots);
    *set = more;
    return true;
}

/* Add a value to a list, or to a set that has not seen it. Bytes as above. */
static size_t add_element(struct accumulator *accumulator, const cJSON *value, bool is_set)
{
    size_t before = accumulator->list.len, slots = accumulator->set.capacity;

    if (is_set) {
        struct digest digest;

        if (2 * accumulator->set.count >= slots && !set_grow(&accumulator->set))
            return SIZE_MAX;
        digest_value(value, &digest);
        struct digest *slot = set_slot(&accumulator->set, &digest);
        if (!digest_is_free(slot))
            return 0;
        *slot = digest;
        accumulator->set.count++;
    }
    value_print(&accumulator->list, value);
    buf_append_char(&accumulator->list, ',');
    if (accumulator->list.has_failed)
        return SIZE_MAX;
    return accumulator->list.len - before +
           (accumulator->set.capacity - slots) * sizeof(struct digest);
}

/* Take in one defined value. Bytes as above. */
static size_t add_value(struct accumulator *accumulator, enum aggregate kind, const cJSON *value)
{
    switch (kind) {
    case AGGREGATE_COUNT:
        accumulator->count++;
        return 0;
    case AGGREGATE_COUNTIF:
        accumulator->count += cJSON_IsTrue(value);
        return 0;
    case AGGREGATE_SUM:
    case AGGREGATE_AVG:
        add_number(accumulator, value);
        return 0;
    case AGGREGATE_MIN:
    case AGGREGATE_MAX:
        return add_best(accumulator, value, kind == AGGREGATE_MAX);
    default:
        return add_element(accumulator, value, kind == AGGREGATE_MAKESET);
    }
}

static bool group_grown(struct groups *groups, struct eval *eval, struct group *group, size_t more)
{
    if (more == SIZE_MAX)
        return eval_oom(eval) != NULL;
    group->bytes += more;
    groups->bytes += more;
    return eval_spend(eval, 1 + more / 16);
}

static bool row_accumulate(struct groups *groups, struct eval *eval, struct group *group)
{
    for (unsigned i = 0; i < groups->query->aggregate_count; i++) {
        const struct ast *call = groups->query->aggregates[i];
        const cJSON *value = eval_output(eval, call->children);

        if (eval->has_failed)
            return false;
        if (value != NULL &&
            !group_grown(groups, eval, group,
                         add_value(&group->accumulators[i], aggregate_of(groups, i), value)))
            return false;
    }
    return true;
}

/* ---- Rows ---- */

static bool result_add(struct groups *groups, struct eval *eval, const cJSON *value)
{
    if (value != NULL)
        group_find(groups, eval, &value, 1);
    return !eval->has_failed && groups_shrink(groups, eval);
}

/* The keys of a row; false when the eval failed. */
static bool keys_compute(const struct groups *groups, struct eval *eval, const cJSON **keys)
{
    const struct ast *key = groups->query->group_by->children;

    for (size_t i = 0; key != NULL; key = key->next, i++)
        keys[i] = eval_output(eval, key);
    return !eval->has_failed;
}

static size_t key_count(const struct groups *groups)
{
    return groups->query->group_by != NULL ? groups->query->group_by->child_count : 0;
}

bool groups_add(struct groups *groups, struct eval *eval)
{
    const struct ast_query *query = groups->query;
    size_t count = key_count(groups);
    const cJSON *few[4], **keys = few;

    if (!query->is_aggregate)
        return result_add(groups, eval,
                          query->is_star ? eval->slots[query->sources->slot]
                                         : eval_output(eval, query->projection));
    if (count > ARRAY_LEN(few))
        keys = arena_alloc(eval->arena, count * sizeof(*keys));
    if (keys == NULL)
        return eval_oom(eval) != NULL;
    if (count > 0 && !keys_compute(groups, eval, keys))
        return false;
    struct group *group = group_find(groups, eval, keys, count);
    if (group != NULL && !row_accumulate(groups, eval, group))
        return false;
    return !eval->has_failed && groups_shrink(groups, eval);
}

/* ---- Partial results ---- */

static bool partial_add(struct groups *groups, struct eval *eval, struct group *group,
                        unsigned number, const struct group_partial *partial)
{
    struct accumulator *accumulator = &group->accumulators[number];
    enum aggregate kind = aggregate_of(groups, number);

    accumulator->count += partial->count;
    accumulator->sum += partial->sum;
    accumulator->is_poisoned = accumulator->is_poisoned || partial->is_poisoned;
    if (partial->best != NULL &&
        !group_grown(groups, eval, group, add_value(accumulator, kind, partial->best)))
        return false;
    const cJSON *value = partial->values != NULL ? partial->values->child : NULL;
    for (; value != NULL; value = value->next) {
        if (!group_grown(groups, eval, group, add_value(accumulator, kind, value)))
            return false;
    }
    return true;
}

bool groups_merge(struct groups *groups, struct eval *eval, const cJSON *const *keys,
                  const struct group_partial *partials)
{
    const struct ast_query *query = groups->query;

    if (!query->is_aggregate)
        return result_add(groups, eval, keys[0]);
    struct group *group = group_find(groups, eval, keys, key_count(groups));
    for (unsigned i = 0; group != NULL && i < query->aggregate_count; i++) {
        if (!partial_add(groups, eval, group, i, &partials[i]))
            return false;
    }
    return !eval->has_failed && groups_shrink(groups, eval);
}

/* ---- Results ---- */

static int groups_order(const void *a, const void *b)
{
    const struct group *const *x = a, *const *y = b;

    return digest_compare(&(*x)->digest, &(*y)->digest);
}

static void groups_sort(struct groups *groups)
{
    if (!groups->in_order_of_rows && groups->count > 1)
        qsort(groups->entries, groups->count, sizeof(*groups->entries), groups_order);
}

static const cJSON *group_project(struct groups *groups, struct eval *eval,
                                  const struct group *group);

/* DISTINCT over groups: their results are gathered once more. */
static bool results_gather(struct groups *groups, struct eval *eval)
{
    static const struct ast_query plain = {.is_distinct = true};
    const struct groups_options options = {
        .limit = groups->limit,
        .after = groups->has_after ? &groups->after : NULL,
        .bytes_max = groups->bytes_max,
        .in_order_of_rows = groups->in_order_of_rows,
    };

    groups->results = groups_create(&plain, &options, eval->fault);
    if (groups->results == NULL)
        return eval_oom(eval) != NULL;
    for (size_t i = 0; i < groups->count; i++) {
        if (!result_add(groups->results, eval, group_project(groups, eval, groups->entries[i])))
            return false;
    }
    groups_sort(groups->results);
    return true;
}

bool groups_finish(struct groups *groups, struct eval *eval)
{
    const struct ast_query *query = groups->query;

    if (query->is_aggregate && query->group_by == NULL)
        group_find(groups, eval, NULL, 0);
    if (eval->has_failed)
        return false;
    groups_sort(groups);
    return !query->is_aggregate || !query->is_distinct || results_gather(groups, eval);
}

/* What is answered from. */
static const struct groups *answered(const struct groups *groups)
{
    return groups->results != NULL ? groups->results : groups;
}

size_t groups_count(const struct groups *groups)
{
    return answered(groups)->count;
}

bool groups_are_cut(const struct groups *groups)
{
    return answered(groups)->is_cut;
}

struct digest groups_digest(const struct groups *groups, size_t index)
{
    assert(index < groups_count(groups));
    return answered(groups)->entries[index]->digest;
}

/* Text that this file printed, as a tree in the arena. */
static const cJSON *tree_parse(struct eval *eval, const char *text, size_t len)
{
    const cJSON *tree =
        eval_spend(eval, 1 + len / 4) ? json_tree(eval->arena, slice_make(text, len)) : NULL;

    return tree != NULL ? tree : eval_oom(eval);
}

/* The elements' last comma becomes the bracket. */
static const cJSON *list_value(struct eval *eval, const struct buf *list)
{
    struct buf text = {0};
    const cJSON *value;

    buf_append_char(&text, '[');
    buf_append(&text, list->ptr, list->len > 0 ? list->len - 1 : 0);
    buf_append_char(&text, ']');
    value = text.has_failed ? eval_oom(eval) : tree_parse(eval, text.ptr, text.len);
    buf_finish(&text);
    return value;
}

static const cJSON *best_value(struct eval *eval, const struct sort_value *best)
{
    switch (best->rank) {
    case VALUE_NULL:
        return value_null();
    case VALUE_BOOLEAN:
        return value_bool(best->number != 0);
    case VALUE_NUMBER:
        return value_number(eval, best->number);
    case VALUE_STRING:
        return value_string(eval, best->text);
    default:
        return NULL;
    }
}

/* The table of section 6 of the language. */
static const cJSON *aggregate_value(struct eval *eval, enum aggregate kind,
                                    const struct accumulator *accumulator)
{
    switch (kind) {
    case AGGREGATE_COUNT:
    case AGGREGATE_COUNTIF:
        return value_number(eval, accumulator->count);
    case AGGREGATE_MAKELIST:
    case AGGREGATE_MAKESET:
        return list_value(eval, &accumulator->list);
    case AGGREGATE_SUM:
        return accumulator->is_poisoned ? NULL : value_number(eval, accumulator->sum);
    case AGGREGATE_AVG:
        if (accumulator->is_poisoned || accumulator->count == 0)
            return NULL;
        return value_number(eval, accumulator->sum / accumulator->count);
    default:
        return accumulator->is_poisoned ? NULL : best_value(eval, &accumulator->best);
    }
}

/* The values of a group's keys: first elements of the arrays that keys_print wrote. */
static bool keys_parse(struct eval *eval, const struct group *group, const cJSON **keys)
{
    const cJSON *tree = tree_parse(eval, group->keys, group->keys_len);

    if (tree == NULL)
        return false;
    for (const cJSON *key = tree->child; key != NULL; key = key->next)
        *keys++ = key->child;
    return true;
}

static const cJSON *group_project(struct groups *groups, struct eval *eval,
                                  const struct group *group)
{
    const struct ast_query *query = groups->query;
    size_t count = query->is_aggregate ? key_count(groups) : 1;
    const cJSON **keys =
        arena_alloc(eval->arena, (count + query->aggregate_count + 1) * sizeof(*keys));

    if (keys == NULL)
        return eval_oom(eval);
    if (group->values != NULL)
        memcpy(keys, group->values, count * sizeof(*keys));
    else if (count > 0 && !keys_parse(eval, group, keys))
        return NULL;
    if (!query->is_aggregate)
        return keys[0];
    const cJSON **aggregates = keys + count;
    for (unsigned i = 0; i < query->aggregate_count; i++)
        aggregates[i] = aggregate_value(eval, aggregate_of(groups, i), &group->accumulators[i]);
    const cJSON **outer_aggregates = eval->aggregates, **outer_keys = eval->group_keys;
    eval->aggregates = aggregates;
    eval->group_keys = keys;
    const cJSON *value = eval_output(eval, query->projection);
    eval->aggregates = outer_aggregates;
    eval->group_keys = outer_keys;
    return value;
}

const cJSON *groups_project(struct groups *groups, struct eval *eval, size_t index)
{
    struct groups *from = groups->results != NULL ? groups->results : groups;

    assert(index < from->count);
    return group_project(from, eval, from->entries[index]);
}
