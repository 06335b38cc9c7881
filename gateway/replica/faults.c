#include "replica/faults.h"

#include "base/clock.h"
#include "base/config.h"
#include "base/crypto.h"
#include "base/log.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/banned.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards all but the atomics */
static struct fault_rule rules[FAULTS_MAX];
/* The directions of a rule of kind link, each with its generator, beside it. */
static struct link_rule links[FAULTS_MAX][2];
static unsigned rule_count;
/* What links take without any fault. */
static struct link_rule latencies[TOPOLOGY_REGIONS_MAX * TOPOLOGY_REGIONS_MAX];
static unsigned latency_count;
static unsigned own; /* ordinal of this process's region */

static _Atomic bool has_links, is_paused, has_refusals;

/* ---- keeping ---- */

static unsigned find(const char *id)
{
    unsigned at = 0;

    while (at < rule_count && strcmp(rules[at].id, id) != 0)
        at++;
    return at;
}

static size_t directions(const struct fault_rule *rule)
{
    return rule->kind != FAULT_LINK ? 0 : rule->is_one_way ? 1 : 2;
}

static void keep(unsigned at, const struct fault_rule *rule)
{
    struct link_rule *there = &links[at][0], *back = &links[at][1];

    rules[at] = *rule;
    *there = *back = rule->link;
    back->from = there->to;
    back->to = there->from;
    back->state = ~there->state;
}

/* What follows from the rules. */
static void settle(void)
{
    bool disturbs = latency_count > 0, pauses = false, refuses = false;
    int64_t skew_ms = 0;

    for (unsigned i = 0; i < rule_count; i++) {
        const struct fault_rule *rule = &rules[i];
        bool is_here = rule->region == own;
        disturbs |= rule->kind == FAULT_LINK;
        pauses |= rule->kind == FAULT_PAUSE && is_here;
        refuses |= rule->kind == FAULT_REFUSE && is_here;
        if (rule->kind == FAULT_CLOCK && is_here)
            skew_ms += rule->skew_ms;
    }
    atomic_store(&has_links, disturbs);
    atomic_store(&is_paused, pauses);
    atomic_store(&has_refusals, refuses);
    clock_set_skew_ms(skew_ms);
}

static void take_away(unsigned at)
{
    unsigned behind = rule_count - at - 1;

    memmove(&rules[at], &rules[at + 1], behind * sizeof(rules[0]));
    memmove(&links[at], &links[at + 1], behind * sizeof(links[0]));
    rule_count--;
}

bool faults_add(struct fault_rule *rule, unsigned self, struct fault *fault)
{
    uint64_t id;

    if (rule->id[0] == '\0') {
        crypto_random(&id, sizeof(id));
        snprintf(rule->id, sizeof(rule->id), "%016" PRIx64, id);
    }
    if (rule->kind == FAULT_LINK && !rule->has_seed)
        crypto_random(&rule->link.state, sizeof(rule->link.state));
    pthread_mutex_lock(&lock);
    unsigned at = find(rule->id);
    bool is_kept = at < FAULTS_MAX;
    if (is_kept) {
        own = self;
        keep(at, rule);
        rule_count += at == rule_count;
        settle();
    }
    pthread_mutex_unlock(&lock);
    if (!is_kept)
        return fault_set(fault, 400, SUB_NONE, "there are %d faults already; clear some",
                         FAULTS_MAX);
    log_warn(NULL, "fault on demand", "id=%s", rule->id);
    return true;
}

void faults_set_latencies(const char *text, const struct topology *topology)
{
    struct slice rest = slice_from_text(text), from, to;
    unsigned ms;

    while (latency_count < ARRAY_LEN(latencies) && config_latency_next(&rest, &from, &to, &ms)) {
        const struct topology_region *there = topology_find_name(topology, from);
        const struct topology_region *here = topology_find_name(topology, to);
        if (there == NULL || here == NULL) {
            log_warn(NULL, "latency of an unknown region", "from=\"%.*s\" to=\"%.*s\"",
                     FAULT_QUOTE(from), FAULT_QUOTE(to));
            continue;
        }
        latencies[latency_count++] =
            (struct link_rule){.from = there->ordinal, .to = here->ordinal, .delay_ms = ms};
    }
    settle();
}

unsigned faults_remove(const char *id)
{
    pthread_mutex_lock(&lock);
    unsigned before = rule_count, at = find(id);
    if (id[0] == '\0')
        rule_count = 0;
    else if (at < rule_count)
        take_away(at);
    unsigned removed = before - rule_count;
    settle();
    pthread_mutex_unlock(&lock);
    if (removed > 0)
        log_warn(NULL, "faults on demand cleared", "count=%u", removed);
    return removed;
}

unsigned faults_list(struct fault_rule out[FAULTS_MAX])
{
    pthread_mutex_lock(&lock);
    unsigned count = rule_count;
    memcpy(out, rules, count * sizeof(rules[0]));
    pthread_mutex_unlock(&lock);
    return count;
}

/* ---- acting ---- */

struct link_verdict faults_of_message(unsigned from, unsigned to)
{
    struct link_verdict verdict = {0};

    if (!atomic_load_explicit(&has_links, memory_order_relaxed))
        return verdict;
    pthread_mutex_lock(&lock);
    link_decide(latencies, latency_count, from, to, &verdict);
    for (unsigned i = 0; i < rule_count; i++)
        link_decide(links[i], directions(&rules[i]), from, to, &verdict);
    pthread_mutex_unlock(&lock);
    return verdict;
}

bool faults_pause(void)
{
    return atomic_load_explicit(&is_paused, memory_order_relaxed);
}

static bool is_about(const struct fault_rule *rule, enum fault_requests kind, struct slice database,
                     struct slice container)
{
    return rule->kind == FAULT_REFUSE && rule->region == own && rule->left > 0 &&
           (rule->requests & kind) != 0 &&
           (rule->container[0] == '\0' || (slice_equals_text(database, rule->database) &&
                                           slice_equals_text(container, rule->container)));
}

bool faults_refuse(enum fault_requests kind, struct slice database, struct slice container,
                   bool *acts_after, struct fault *fault)
{
    bool is_refused = false;

    if (!atomic_load_explicit(&has_refusals, memory_order_relaxed))
        return false;
    pthread_mutex_lock(&lock);
    for (unsigned i = 0; i < rule_count && !is_refused; i++) {
        struct fault_rule *rule = &rules[i];
        if (!is_about(rule, kind, database, container))
            continue;
        is_refused = true;
        *acts_after = rule->acts_after;
        fault_set(fault, rule->status, rule->substatus, "refused, as a fault on demand has it");
        fault->retry_after_ms = rule->retry_after_ms;
        if (--rule->left == 0) {
            take_away(i);
            settle();
        }
    }
    pthread_mutex_unlock(&lock);
    return is_refused;
}
