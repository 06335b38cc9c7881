#include "replica/pieces.h"

#include "base/log.h"
#include "base/testpoint.h"
#include "model/item.h"
#include "replica/faults.h"
#include "store/metadata.h"
#include "store/progress.h"
#include "store/sqlstate.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/banned.h"

/* Of what is computed for a piece: documents in canonical numbers, claims. */
#define PIECE_BYTES_MAX ((size_t) 1 << 30)
#define TRIES_MAX 5
#define TRY_FIRST_MS 20
#define PAUSE_SHORT_MS 200 /* for what others will bring */
#define PAUSE_OUTAGE_MS 1000
#define PAUSE_MAX_MS 60000 /* of a piece that was refused for what is in it */
/* A statement that applies holds its range: clients that write there wait for it, and one that
 * takes longer than statement_timeout would never end. */
#define STATEMENT_GOAL_MS 100
#define STEP_FIRST 256
#define STEP_MAX 4096

struct piece {
    struct list place; /* in puller->waiting */
    struct pgio_call call;
    struct loop_timer timer;
    struct pulled *pulled;
    const struct stream_part *part;
    struct range *range;
    struct arena arena;
    struct pgparams params;
    struct pgio_statement statement;
    pgio_done_fn *done;
    struct exchange_entry *entries; /* of the part, in arena */
    unsigned begun;                 /* entries before those that the next statement applies */
    struct exchange_piece contents; /* what it applies */
    int64_t sent_ms;
    unsigned tries;
};

static void piece_begin(struct piece *piece);

static struct source *source_of(const struct piece *piece)
{
    return piece->pulled->source;
}

static struct puller *puller_of(const struct piece *piece)
{
    return piece->pulled->source->puller;
}

/* ---- the end ---- */

static void begin_rest(struct pulled *pulled);

void pieces_ended_one(struct pulled *pulled)
{
    assert(pulled->pieces_running > 0);
    if (--pulled->pieces_running == 0 && pulled->pieces_begun == pulled->head.count)
        puller_answer_ended(pulled);
}

static void piece_end(struct piece *piece)
{
    struct pulled *pulled = piece->pulled;
    bool was_metadata = piece->part->range_id == 0;

    loop_timer_disarm(source_of(piece)->puller->loop, &piece->timer);
    arena_finish(&piece->arena);
    pgparams_finish(&piece->params);
    free(piece);
    if (was_metadata) {
        pulled->pieces_running--;
        begin_rest(pulled);
    } else {
        pieces_ended_one(pulled);
    }
}

static void give_up(struct piece *piece, int64_t pause_ms)
{
    puller_pause(source_of(piece), piece->range, pause_ms);
    piece_end(piece);
}

static void try_again(struct loop_timer *timer)
{
    struct piece *piece = container_of(timer, struct piece, timer);

    list_remove(&piece->place);
    piece_begin(piece);
}

/* What it waits for may be on its way. */
static void wait_or_give_up(struct piece *piece)
{
    struct puller *puller = puller_of(piece);

    if (piece->tries >= TRIES_MAX || !puller->is_holder || puller->is_stopping) {
        give_up(piece, PAUSE_SHORT_MS);
        return;
    }
    list_append(&puller->resting, &piece->place);
    loop_timer_arm(puller->loop, &piece->timer, TRY_FIRST_MS << piece->tries);
    piece->tries++;
}

/* It will be refused again: the range stops, and a person is told. */
static void refuse(struct piece *piece, const char *reason)
{
    struct range_place *place = &piece->range->places[source_of(piece)->slot];
    int64_t pause_ms = PAUSE_OUTAGE_MS;

    if (place->refusals == 0)
        log_error(NULL, "an entry cannot be applied, its range stops",
                  "range=%" PRId64 " from=%u after=%" PRId64 " reason=\"%s\"",
                  piece->part->range_id, source_of(piece)->ordinal, piece->part->from, reason);
    for (unsigned i = 0; i < place->refusals && pause_ms < PAUSE_MAX_MS; i++)
        pause_ms *= 2;
    place->refusals++;
    puller_stopped(source_of(piece), piece->range, reason);
    give_up(piece, pause_ms < PAUSE_MAX_MS ? pause_ms : PAUSE_MAX_MS);
}

/* ---- applying ---- */

void pieces_init(struct puller *puller)
{
    puller->step = STEP_FIRST;
}

static void shrink_step(const struct piece *piece, unsigned by)
{
    struct puller *puller = puller_of(piece);
    unsigned most = piece->contents.count < puller->step ? piece->contents.count : puller->step;

    puller->step = most > by ? most / by : 1;
}

/* As many entries for the next statement as take about STATEMENT_GOAL_MS. */
static void adapt_step(const struct piece *piece)
{
    struct puller *puller = puller_of(piece);
    int64_t took_ms = puller->loop->now_ms - piece->sent_ms;

    if (took_ms > 2 * STATEMENT_GOAL_MS && piece->contents.count > 0)
        shrink_step(piece, 2);
    else if (took_ms < STATEMENT_GOAL_MS / 2 && piece->contents.count >= puller->step &&
             puller->step < STEP_MAX)
        puller->step *= 2;
}

/* Entries for the next statement: whole transactions, as what follows a part of one would be
 * taken for known. */
static unsigned entries_of_step(const struct piece *piece)
{
    const struct exchange_entry *entries = piece->entries + piece->begun;
    unsigned left = piece->part->count - piece->begun, count = puller_of(piece)->step;

    while (count < left && entries[count].entry.index != 0)
        count++;
    return count < left ? count : left;
}

static bool is_last_step(const struct piece *piece)
{
    return piece->begun + piece->contents.count == piece->part->count;
}

static void apply_step(struct piece *piece);

static void note_applied(struct piece *piece, const struct exchange_applied *applied)
{
    bool is_whole = applied->taken == piece->contents.count && is_last_step(piece);
    int64_t through = is_whole             ? piece->part->to
                      : applied->taken > 0 ? piece->contents.entries[applied->taken - 1].entry.seq
                                           : piece->part->from;

    if (applied->status != EXCHANGE_APPLIED && !is_whole && applied->taken == 0)
        return;
    source_of(piece)->entries += applied->applied;
    puller_applied(source_of(piece), piece->range, through, applied->vector);
    if (applied->applied > 0)
        progress_note(piece->range->range_id);
}

static void end_as_applied(struct piece *piece, const struct exchange_applied *applied)
{
    note_applied(piece, applied);
    switch (applied->status) {
    case EXCHANGE_APPLIED:
        if (is_last_step(piece) || applied->taken < piece->contents.count) {
            piece_end(piece);
        } else if (!puller_of(piece)->is_holder || puller_of(piece)->is_stopping) {
            give_up(piece, PAUSE_SHORT_MS);
        } else {
            piece->begun += piece->contents.count;
            apply_step(piece);
        }
        return;
    case EXCHANGE_DROPPED:
        puller_applied(source_of(piece), piece->range, piece->part->to, (struct slice){NULL, 0});
        piece_end(piece);
        return;
    case EXCHANGE_WAITS:
    case EXCHANGE_METADATA:
        wait_or_give_up(piece);
        return;
    case EXCHANGE_AGAIN:
        puller_again(source_of(piece), piece->range);
        piece_end(piece);
        return;
    case EXCHANGE_OWN:
        log_error(NULL, "this region was put back to an earlier state, it takes no more writes",
                  "range=%" PRId64 " told_by=%u", piece->range->range_id,
                  source_of(piece)->ordinal);
        refuse(piece, "this region was put back to an earlier state: it wrote an entry that it "
                      "does not have");
        return;
    case EXCHANGE_EPOCH:
    case EXCHANGE_STATE:
        give_up(piece, PAUSE_OUTAGE_MS);
        return;
    }
}

static void applied(struct pgio_call *call, struct pgio_result *result)
{
    struct piece *piece = container_of(call, struct piece, call);
    struct exchange_applied found;

    if (result->outcome == PGIO_ROWS) {
        exchange_read_applied(result, &found);
        adapt_step(piece);
        if (found.applied > 0)
            testpoint(piece->contents.source != 0 ? "copy-committed" : "apply-committed");
        end_as_applied(piece, &found);
    } else if (result->outcome == PGIO_ERROR && sqlstate_class(result->sqlstate) == SQLSTATE_BUG) {
        refuse(piece, result->message);
    } else if (result->outcome == PGIO_ERROR && sqlstate_class(result->sqlstate) == SQLSTATE_GONE) {
        /* Its tables have just been removed: the next answer says so. Or something else is not
         * there. */
        if (piece->tries >= TRIES_MAX)
            refuse(piece, result->message);
        else
            wait_or_give_up(piece);
    } else {
        log_warn(NULL, "entries were not applied",
                 "range=%" PRId64 " from=%u entries=%u reason=\"%s\"", piece->range->range_id,
                 source_of(piece)->ordinal, piece->contents.count,
                 result->outcome == PGIO_ERROR ? result->message : "no answer");
        shrink_step(piece, 4); /* it took too long, perhaps */
        give_up(piece, PAUSE_OUTAGE_MS);
    }
}

/* ---- what follows from a body ---- */

static bool take_claims(struct piece *piece, struct exchange_entry *entry,
                        const struct container_settings *settings, struct slice root,
                        struct fault *fault)
{
    size_t count = settings->unique_key_count;
    struct write_claim *claims = arena_alloc(&piece->arena, (count + 1) * sizeof(*claims));
    struct container_claim *values = arena_alloc(&piece->arena, (count + 1) * sizeof(*values));

    if (claims == NULL || values == NULL)
        return fault_set_oom(fault);
    if (!container_unique_claims(settings, root, values, &piece->arena, fault))
        return false;
    for (size_t i = 0; i < count; i++)
        claims[i] = (struct write_claim){
            .key_number = values[i].key_number,
            .value = slice_make((const char *) values[i].value, sizeof(values[i].value))};
    entry->claims = claims;
    entry->claim_count = (unsigned) count;
    return true;
}

/* As service/item_target.c does for a client's write. */
static bool take_body(struct piece *piece, struct exchange_entry *entry,
                      const struct definition *definition, struct fault *fault)
{
    struct json_text text;

    if (slice_is_absent(entry->entry.body) || entry->entry.op > 2)
        return true;
    if (!json_validate(entry->entry.body, JSON_DEPTH_MAX, &text, fault) ||
        !json_normalize(&text, &piece->arena, &entry->doc, fault))
        return false;
    if (entry->doc.ptr == text.root.ptr)
        entry->doc = (struct slice){NULL, 0};
    return definition == NULL || definition->settings.unique_key_count == 0 ||
           take_claims(piece, entry, &definition->settings, text.root, fault);
}

static bool take_entries(struct piece *piece, const struct definition *definition,
                         struct fault *fault)
{
    const struct stream_part *part = piece->part;
    struct stream_reader reader = stream_entries(part);
    struct exchange_entry *entries =
        arena_alloc(&piece->arena, (part->count + (size_t) 1) * sizeof(*entries));

    if (entries == NULL)
        return fault_set_oom(fault);
    for (uint32_t i = 0; i < part->count; i++) {
        if (!stream_get_entry(&reader, &entries[i].entry, fault) ||
            (part->range_id != 0 && !take_body(piece, &entries[i], definition, fault)))
            return false;
    }
    piece->entries = entries;
    return true;
}

/* The container that an entry of range 0 is about; 0: none. */
static uint32_t container_of_entry(const struct stream_entry *entry)
{
    bool is_container = entry->pk.len > 6 && memcmp(entry->pk.ptr, "colls/", 6) == 0;

    return is_container && entry->rid <= UINT32_MAX ? (uint32_t) entry->rid : 0;
}

static bool take_container(struct piece *piece, struct exchange_container *container,
                           struct slice body, struct fault *fault)
{
    struct container_settings settings;
    struct index_wanted *indexes;

    if (slice_is_absent(body))
        return true; /* deleted */
    if (!container_load(&settings, body, &piece->arena, fault) ||
        !index_set_declared(&settings.indexing, &indexes, &container->index_count, &piece->arena,
                            fault))
        return false;
    container->has_default_ttl = settings.has_default_ttl;
    container->default_ttl = settings.default_ttl_s;
    container->has_unique_keys = settings.unique_key_count > 0;
    container->indexes = indexes;
    return true;
}

/* The last entry about each container that counts says what it is; PostgreSQL knows which do. */
static bool take_containers(struct piece *piece, struct fault *fault)
{
    const struct exchange_piece *contents = &piece->contents;
    struct exchange_container *containers =
        arena_alloc(&piece->arena, (contents->count + (size_t) 1) * sizeof(*containers));
    unsigned count = 0;

    if (containers == NULL)
        return fault_set_oom(fault);
    for (unsigned i = contents->count; i > 0; i--) {
        const struct stream_entry *entry = &contents->entries[i - 1].entry;
        uint32_t number = container_of_entry(entry);
        if (number == 0)
            continue;
        containers[count] = (struct exchange_container){.number = number, .entry = i - 1};
        if (!take_container(piece, &containers[count++], entry->body, fault))
            return false;
    }
    piece->contents.containers = containers;
    piece->contents.container_count = count;
    return true;
}

/* ---- sending ---- */

/* It leaves at the end of the turn. */
static void send(struct piece *piece, struct pgio_statement statement, pgio_done_fn *done)
{
    piece->statement = statement;
    piece->done = done;
    list_append(&puller_of(piece)->waiting, &piece->place);
    loop_kick(puller_of(piece)->loop);
}

void pieces_flush(struct puller *puller)
{
    struct pgio *io;

    if (faults_pause())
        return; /* the clock of the puller looks again */
    while (!list_is_empty(&puller->waiting) && (io = store_pool_idle(&puller->pool)) != NULL) {
        struct piece *piece = list_entry(list_pop(&puller->waiting), struct piece, place);
        piece->sent_ms = puller->loop->now_ms;
        if (pgio_send(io, &piece->call, &piece->statement, &piece->params, piece->done))
            continue;
        list_prepend(&puller->waiting, &piece->place);
        break;
    }
}

static void apply(struct piece *piece, pgio_done_fn *done)
{
    pgparams_reset(&piece->params);
    struct pgio_statement statement = exchange_apply(&piece->params, &piece->contents);
    if (piece->contents.count > 0)
        testpoint("apply-sent");
    if (piece->params.bytes.has_failed)
        give_up(piece, PAUSE_OUTAGE_MS);
    else
        send(piece, statement, done);
}

void pieces_give_up(struct puller *puller)
{
    while (!list_is_empty(&puller->waiting))
        give_up(list_entry(list_pop(&puller->waiting), struct piece, place), PAUSE_OUTAGE_MS);
    while (!list_is_empty(&puller->resting))
        give_up(list_entry(list_pop(&puller->resting), struct piece, place), PAUSE_OUTAGE_MS);
}

static void apply_step(struct piece *piece)
{
    struct exchange_piece *contents = &piece->contents;
    struct fault fault = {0};

    contents->entries = piece->entries + piece->begun;
    contents->count = entries_of_step(piece);
    contents->from = piece->begun == 0 ? piece->part->from : contents->entries[-1].entry.seq;
    contents->to =
        is_last_step(piece) ? piece->part->to : contents->entries[contents->count - 1].entry.seq;
    if (contents->range_id == 0 && !take_containers(piece, &fault))
        refuse(piece, fault.message);
    else
        apply(piece, applied);
}

static void compute_and_apply(struct piece *piece, const struct definition *definition)
{
    struct fault fault = {0};

    arena_reset(&piece->arena);
    if (!take_entries(piece, definition, &fault))
        refuse(piece, fault.message);
    else
        apply_step(piece);
}

/* An apply of nothing: is the container gone, or not there yet? */
static void probed(struct pgio_call *call, struct pgio_result *result)
{
    struct piece *piece = container_of(call, struct piece, call);
    struct exchange_applied found;

    if (result->outcome != PGIO_ROWS) {
        give_up(piece, PAUSE_OUTAGE_MS);
        return;
    }
    exchange_read_applied(result, &found);
    if (found.status == EXCHANGE_DROPPED)
        end_as_applied(piece, &found);
    else
        wait_or_give_up(piece);
}

/* Without its definition nothing is applied: unique keys would be missing. */
static void defined(struct pgio_call *call, struct pgio_result *result)
{
    struct piece *piece = container_of(call, struct piece, call);
    struct fault fault = {0};

    if (result->outcome != PGIO_ROWS) {
        give_up(piece, PAUSE_OUTAGE_MS);
        return;
    }
    if (pgio_row_count(result) == 0) {
        piece->contents.count = piece->contents.source = 0;
        apply(piece, probed);
        return;
    }
    const struct definition *definition =
        definitions_keep(&puller_of(piece)->definitions, (uint32_t) (piece->part->range_id >> 12),
                         pgio_value(result, 0, 0), &fault);
    if (definition == NULL)
        refuse(piece, fault.message);
    else
        compute_and_apply(piece, definition);
}

static void piece_begin(struct piece *piece)
{
    uint32_t container = (uint32_t) (piece->part->range_id >> 12);
    const struct definition *definition =
        definitions_find(&puller_of(piece)->definitions, container);

    piece->contents = (struct exchange_piece){.range_id = piece->part->range_id,
                                              .sender_epoch = piece->pulled->head.hello.epoch,
                                              .needs_origin = piece->part->needs_origin,
                                              .needs_lsn = piece->part->needs_lsn};
    if (piece->part->from >= STREAM_COPY) {
        piece->contents.source = source_of(piece)->ordinal;
        piece->contents.part = piece->part;
    }
    if (container == 0 || definition != NULL) {
        compute_and_apply(piece, definition);
        return;
    }
    pgparams_reset(&piece->params);
    send(piece, exchange_definition(&piece->params, container), defined);
}

/* ---- an answer ---- */

/*
 * Is a part the continuation of what is applied? After a piece that failed, what follows is not,
 * until it was asked for again. Where it begins does not tell: a source leaves out what it knows
 * to have come here by way of another one.
 */
static bool is_next(const struct pulled *pulled, const struct range *range)
{
    const struct range_place *place = &range->places[pulled->source->slot];
    const struct puller *puller = pulled->source->puller;

    return puller->is_holder && !puller->is_stopping && pulled->asked >= place->not_before;
}

/* False when there is nothing to be done with the next part. */
static bool begin_part(struct pulled *pulled)
{
    struct puller *puller = pulled->source->puller;
    const struct stream_part *part = &pulled->parts[pulled->pieces_begun++];
    struct range *range = puller_range(puller, part->range_id);
    struct piece *piece;

    if (range == NULL || !is_next(pulled, range))
        return false;
    if (part->count == 0 && part->from < STREAM_COPY) {
        puller_passed(pulled->source, range, part->to);
        return false;
    }
    piece = calloc(1, sizeof(*piece));
    if (piece == NULL) {
        puller_pause(pulled->source, range, PAUSE_OUTAGE_MS);
        return false;
    }
    piece->pulled = pulled;
    piece->part = part;
    piece->range = range;
    list_init(&piece->place);
    loop_timer_init(&piece->timer, try_again);
    arena_init(&piece->arena, PIECE_BYTES_MAX);
    pulled->pieces_running++;
    piece_begin(piece);
    return true;
}

/* While this runs, the answer cannot end. */
static void begin_rest(struct pulled *pulled)
{
    pulled->pieces_running++;
    while (pulled->pieces_begun < pulled->head.count)
        (void) begin_part(pulled);
    if (--pulled->pieces_running == 0)
        puller_answer_ended(pulled);
}

void pieces_begin(struct pulled *pulled)
{
    bool has_metadata = pulled->head.count > 0 && pulled->parts[0].range_id == 0;

    if (has_metadata && begin_part(pulled))
        return; /* its end begins the rest */
    begin_rest(pulled);
}
