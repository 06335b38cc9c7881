/*
 * Faults on demand of this process: what an operator asked for, and what it does to links, to
 * clients' requests and to the clock.
 *
 * They live in the memory of one gateway and end with it. Any thread may ask; while there is no
 * fault of a kind, asking costs one relaxed load.
 */
#ifndef ORRERY_REPLICA_FAULTS_H
#define ORRERY_REPLICA_FAULTS_H

#include "regions/fault_rule.h"

#define FAULTS_MAX 64

/*
 * Keep a rule; one that has an id already in use replaces that rule. A rule without an id is given
 * one. self: this process's region.
 *
 * fault  400 when there are FAULTS_MAX
 */
bool faults_add(struct fault_rule *rule, unsigned self, struct fault *fault) MUST_CHECK;

/*
 * Latencies that links have besides: no fault, so nobody lists or clears them. Once, before the
 * threads start. text: as config->link_latency; NULL: none. Regions that the topology does not know
 * are left out, and named in the log.
 */
void faults_set_latencies(const char *text, const struct topology *topology);

/* Take the rule with this id away, or all when it is empty; how many. */
unsigned faults_remove(const char *id);

/* Copy all of them, the oldest first; how many. */
unsigned faults_list(struct fault_rule rules[FAULTS_MAX]);

/* What happens to a message from one region to another, now. */
struct link_verdict faults_of_message(unsigned from, unsigned to);

/* Does this region rest: take nothing from other regions? */
bool faults_pause(void);

/*
 * Is this request to be refused? Counts down.
 *
 * acts_after  whether it is to be executed first
 * returns     true with the fault it is answered with
 */
bool faults_refuse(enum fault_requests kind, struct slice database, struct slice container,
                   bool *acts_after, struct fault *fault);

#endif
