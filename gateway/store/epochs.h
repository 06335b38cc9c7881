/*
 * Statements of epoch changes (schema/0012_epochs.sql): messages and answers are JSON as
 * orrery.epoch_do reads and gives it.
 */
#ifndef ORRERY_STORE_EPOCHS_H
#define ORRERY_STORE_EPOCHS_H

#include "regions/change.h"
#include "store/store.h"

/* Members of an object, without its braces: the last change of the topology, the first document. */
enum op_next epochs_tell(struct store *store, struct op *op, op_step *next);
bool epochs_told(struct op *op, struct slice *members) MUST_CHECK;

/*
 * Do what a region asks of this one. The message is JSON that was validated.
 *
 * epochs_done: the answer, in the arena; 409 with its reason when it was refused
 */
enum op_next epochs_do(struct store *store, struct op *op, struct slice message, op_step *next);
bool epochs_done(struct op *op, struct slice *answer) MUST_CHECK;

/* Take a number for the next epoch. */
enum op_next epochs_propose(struct store *store, struct op *op, op_step *next);
bool epochs_proposed(struct op *op, int64_t *epoch) MUST_CHECK;

/* Write down a change that this region carries out. Fault: 409 when another one is under way. */
enum op_next epochs_begin(struct store *store, struct op *op, const struct change *change,
                          const struct change_plan *plan, const struct topology *before,
                          op_step *next);
bool epochs_begun(struct op *op) MUST_CHECK;

/* The change that is under way here. Texts are in the op's arena. */
struct epochs_change {
    int64_t epoch;
    struct slice kind, document, stage;
    int64_t needed;
    int64_t age_ms;
    size_t fence_count, accepted_count;
    int64_t fence[TOPOLOGY_REGIONS_MAX], accepted[TOPOLOGY_REGIONS_MAX]; /* ordinals */
    struct slice level; /* of the epoch before, or of this one once it opens */
};

/* The change that is under way here, whoever carries it out: its epoch, 0 for none; does it still
 * wait for regions that take their last write? */
enum op_next epochs_ask_under_way(struct store *store, struct op *op, op_step *next);
bool epochs_under_way(struct op *op, int64_t *epoch, bool *is_fencing) MUST_CHECK;

/* Take it, for a few seconds; *is_there is false when there is none, or another gateway has it. */
enum op_next epochs_take(struct store *store, struct op *op, int64_t holder, op_step *next);
bool epochs_taken(struct op *op, struct epochs_change *change, bool *is_there) MUST_CHECK;

/* It goes on with another stage, or the same; why, for people. */
enum op_next epochs_go(struct store *store, struct op *op, int64_t epoch, const char *stage,
                       const char *note, op_step *next);

/* A region accepted: what it told. */
enum op_next epochs_accepted(struct store *store, struct op *op, int64_t epoch, unsigned region,
                             struct slice answer, op_step *next);

/* How many ranges lack what the accepters have; or what the old hub had at the start, which was
 * noted as that of region 0 (-1: not yet). */
enum op_next epochs_ask_lacking(struct store *store, struct op *op, int64_t epoch, op_step *next);
enum op_next epochs_ask_catching_up(struct store *store, struct op *op, int64_t epoch,
                                    op_step *next);

/* By its answer, how many ranges of a region that joins lack something of what it must have before
 * clients hear of it. */
enum op_next epochs_ask_joined(struct store *store, struct op *op, unsigned region,
                               struct slice answer, op_step *next);

/* At the hub: a region that was silent for so long, or lacks what is no longer in the logs, and
 * joins anew; 0: none. */
enum op_next epochs_ask_left_behind(struct store *store, struct op *op, int64_t silent_s,
                                    op_step *next);

/* The account's first topology, for a region that joins. In the arena. */
enum op_next epochs_ask_first(struct store *store, struct op *op, op_step *next);
bool epochs_first(struct op *op, struct slice *document) MUST_CHECK;

/* Open some ranges: how many are left, -1 when a later epoch was accepted. */
enum op_next epochs_open(struct store *store, struct op *op, int64_t epoch, op_step *next);

/* What became of stranded transactions (rule 5.6), of one origin in one range. */
struct epochs_resolved {
    int64_t range_id, transactions, entries;
    unsigned origin;
    bool is_merged; /* else they are conflicts */
};

/* At the hub: decide some, when this region is the hub and nobody else is at it; the next step
 * calls epochs_resolved_count, and epochs_resolved_row for each. */
enum op_next epochs_resolve(struct store *store, struct op *op, op_step *next);
bool epochs_resolved_count(struct op *op, int *count) MUST_CHECK;
void epochs_resolved_row(const struct op *op, int row, struct epochs_resolved *resolved);

/* The number that those above gave; and for statements without one, whether they were done. */
bool epochs_number(struct op *op, int64_t *number) MUST_CHECK;

#endif
