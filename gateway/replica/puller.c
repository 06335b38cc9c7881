#include "replica/puller.h"

#include "base/clock.h"
#include "base/crypto.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/testpoint.h"
#include "replica/call.h"
#include "replica/pieces.h"
#include "store/progress.h"
#include "store/levels.h"
#include "store/regions.h"
#include "store/schema.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/banned.h"

#define PATH "/_orrery/pull"
#define CLAIM "pull"
#define CLAIM_MS 3000
#define TICK_MS 1000
/* Everything is told again so often, in case that a source forgot. */
#define TELL_ALL_MS 10000
#define POLL_TIMEOUT_MS 20000
#define OP_TIME_MAX_MS 30000
#define OP_BYTES_MAX ((size_t) 2 * STREAM_BYTES_MAX)
#define ANSWERS_MAX 2
#define WATCH_BYTES_MAX ((size_t) 8 << 20) /* vectors of as many ranges as an answer has */
#define RETRY_FIRST_MS 50
#define RETRY_MAX_MS 2000
#define CONNECTIONS 4
#define PATIENCE_MS 60000
/* A source that says nothing for longer, though it should every second, may have news. */
#define HEARD_MS 3000
/* One that is silent for so long may not bring its entries: others may. */
#define DIRECT_MS 2000

static op_step poll_begin;    /* say what is applied, ask for more */
static op_step poll_answered; /* keep the answer, ask again */
static op_step ack_begin;
static op_step ack_answered;
static op_step watch_begin;
static op_step watch_answered; /* what is committed */
static op_step claim_begin;
static op_step claim_known; /* are we the one? */
static op_step drop_begin;
static op_step drop_done;
static op_step load_begin;
static op_step load_known; /* what this region has */

static void source_continue(struct source *source);

/* ---- ranges ---- */

static struct range **find_slot(struct puller *puller, int64_t range_id)
{
    uint64_t hash = hash_slice(HASH_START, slice_make((const char *) &range_id, sizeof(range_id)));
    struct range **slot = &puller->buckets[hash & (puller->bucket_count - 1)];

    while (*slot != NULL && (*slot)->range_id != range_id)
        slot = &(*slot)->chain;
    return slot;
}

static void grow(struct puller *puller)
{
    size_t count = puller->bucket_count * 2, old_count = puller->bucket_count;
    struct range **buckets = calloc(count, sizeof(struct range *)), **old = puller->buckets;

    if (buckets == NULL)
        return; /* slower, and as good */
    puller->buckets = buckets;
    puller->bucket_count = count;
    for (size_t i = 0; i < old_count; i++) {
        for (struct range *range = old[i], *next; range != NULL; range = next) {
            next = range->chain;
            range->chain = NULL;
            *find_slot(puller, range->range_id) = range;
        }
    }
    free(old);
}

static void place_reset(struct range_place *place)
{
    *place = (struct range_place){.held = STREAM_UNKNOWN, .told_held = STREAM_UNKNOWN};
}

struct range *puller_range(struct puller *puller, int64_t range_id)
{
    struct range **slot = find_slot(puller, range_id), *range = *slot;

    if (range != NULL)
        return range;
    range = calloc(1, sizeof(*range));
    if (range == NULL)
        return NULL;
    range->range_id = range_id;
    range->version = 1;
    for (unsigned i = 0; i < PULLER_SOURCES_MAX; i++)
        place_reset(&range->places[i]);
    *slot = range;
    if (++puller->range_count > puller->bucket_count)
        grow(puller);
    return range;
}

/* Replace numbers that are kept; false when they are the same, or without memory. */
static bool replace(int64_t **kept, unsigned *kept_count, const int64_t *numbers, unsigned count)
{
    if (count == *kept_count &&
        (count == 0 || memcmp(numbers, *kept, count * sizeof(*numbers)) == 0))
        return false;
    int64_t *more = realloc(*kept, (count + 1) * sizeof(*numbers));
    if (more == NULL)
        return false; /* the older ones are true too */
    memcpy(more, numbers, count * sizeof(*numbers));
    *kept = more;
    *kept_count = count;
    return true;
}

/* True when it went backwards. */
static bool set_vector(struct range *range, struct slice value)
{
    int64_t vector[STREAM_VECTOR_MAX];
    unsigned count = (unsigned) pgvalue_int8_array(value, vector, ARRAY_LEN(vector));
    bool is_less = false;

    for (unsigned i = 0; i < range->vector_count; i++)
        is_less |= (i < count ? vector[i] : 0) < range->vector[i];
    if (!replace(&range->vector, &range->vector_count, vector, count))
        return false;
    range->version++;
    return is_less;
}

/* The greater one of each number counts. */
static void learn_committed(struct range *range, const int64_t *committed, unsigned count)
{
    int64_t most[STREAM_VECTOR_MAX] = {0};
    unsigned most_count = count > range->committed_count ? count : range->committed_count;

    for (unsigned i = 0; i < most_count; i++) {
        int64_t known = i < range->committed_count ? range->committed[i] : 0;
        most[i] = i < count && committed[i] > known ? committed[i] : known;
    }
    if (replace(&range->committed, &range->committed_count, most, most_count))
        range->version++;
}

/* Is more committed than is known here? */
static bool is_news(const struct range *range, struct stream_vector committed)
{
    for (unsigned i = 0; i < committed.count; i++) {
        if (stream_vector_at(committed, i) > (i < range->committed_count ? range->committed[i] : 0))
            return true;
    }
    return false;
}

static struct range *next_range(const struct puller *puller, size_t *bucket, struct range *after)
{
    struct range *range = after != NULL ? after->chain : NULL;

    while (range == NULL && *bucket < puller->bucket_count)
        range = puller->buckets[(*bucket)++];
    return range;
}

#define FOR_EACH_RANGE(puller, range)                                            \
    for (size_t b_ = 0, once_ = 1; once_ == 1; once_ = 0)                        \
        for (struct range *range = next_range(puller, &b_, NULL); range != NULL; \
             range = next_range(puller, &b_, range))

/* Ranges of dropped containers that nobody asks of any more. */
static void sweep(struct puller *puller)
{
    for (size_t i = 0; i < puller->bucket_count; i++) {
        struct range **slot = &puller->buckets[i];
        while (*slot != NULL) {
            struct range *range = *slot;
            if (range->is_listed) {
                slot = &range->chain;
                continue;
            }
            *slot = range->chain;
            puller->range_count--;
            free(range->vector);
            free(range->committed);
            free(range);
        }
    }
}

static bool has_answers(const struct puller *puller)
{
    for (unsigned i = 0; i < PULLER_SOURCES_MAX; i++) {
        if (puller->sources[i].pulled_count > 0)
            return true;
    }
    return false;
}

void puller_pause(struct source *source, struct range *range, int64_t pause_ms)
{
    struct range_place *place = &range->places[source->slot];

    place->received = place->held > 0 ? place->held : 0;
    place->paused_until_ms = source->puller->loop->now_ms + pause_ms;
    place->not_before = source->requests + 1;
}

/* After a copy it goes on in the log itself. */
static void leave_copy(struct range_place *place, int64_t through)
{
    if (through >= STREAM_COPY)
        return;
    if (place->held >= STREAM_COPY)
        place->held -= STREAM_COPY;
    if (place->received >= STREAM_COPY)
        place->received -= STREAM_COPY;
}

void puller_again(struct source *source, struct range *range)
{
    struct range_place *place = &range->places[source->slot];

    place->held = place->received = STREAM_COPY;
    puller_pause(source, range, 0);
}

void puller_passed(struct source *source, struct range *range, int64_t through)
{
    struct range_place *place = &range->places[source->slot];

    leave_copy(place, through);
    if (through > place->held)
        place->held = through;
    if (place->received < place->held)
        place->received = place->held;
}

void puller_applied(struct source *source, struct range *range, int64_t through,
                    struct slice vector)
{
    struct range_place *place = &range->places[source->slot];

    if (place->refusals > 0) {
        place->refusals = 0;
        puller_stopped(source, range, "");
    }
    puller_passed(source, range, through);
    if (!slice_is_absent(vector))
        (void) set_vector(range, vector);
    source->puller->applied++;
}

void puller_stopped(struct source *source, const struct range *range, const char *reason)
{
    struct puller *puller = source->puller;
    unsigned i = 0;

    while (i < puller->stopped_count && (puller->stopped[i].range_id != range->range_id ||
                                         puller->stopped[i].slot != source->slot))
        i++;
    if (reason[0] == '\0') {
        if (i < puller->stopped_count)
            puller->stopped[i] = puller->stopped[--puller->stopped_count];
        return;
    }
    if (i == REPLICA_STOPPED_MAX)
        return;
    puller->stopped[i] = (struct stopped_range){.range_id = range->range_id, .slot = source->slot};
    snprintf(puller->stopped[i].reason, sizeof(puller->stopped[i].reason), "%s", reason);
    if (i == puller->stopped_count)
        puller->stopped_count++;
}

/* ---- requests ---- */

static void finish_buf(void *object)
{
    buf_finish(object);
}

/* Is there anything to say of a range that the source does not know? */
static bool is_to_be_told(const struct source *source, const struct range *range)
{
    const struct range_place *place = &range->places[source->slot];

    return source->tells_all || place->told_version != range->version ||
           place->told_held != place->held || place->received > place->held ||
           place->paused_until_ms != 0;
}

static void put_range(struct source *source, struct range *range, struct buf *payload)
{
    struct range_place *place = &range->places[source->slot];
    int64_t now_ms = source->puller->loop->now_ms;

    if (place->paused_until_ms != 0 && place->paused_until_ms <= now_ms)
        place->paused_until_ms = 0;
    int64_t received = place->received > 0 ? place->received : 0;
    stream_put_want(payload, range->range_id, place->held,
                    place->paused_until_ms != 0 ? STREAM_NOT_NOW : received, range->vector,
                    range->vector_count, range->committed, range->committed_count);
    place->told_version = range->version;
    place->told_held = place->held;
}

static struct stream_hello hello_of(void)
{
    const struct regions *regions = regions_current();

    return (struct stream_hello){.account = regions->topology.account,
                                 .ordinal = regions->self,
                                 .schema = (uint32_t) schema_migrations_count,
                                 .epoch = regions->accepted_epoch};
}

/* Do its entries come from itself? Answers that wait to be applied say so, too. */
static bool is_direct(const struct source *source)
{
    int64_t silent_ms = source->puller->loop->now_ms - source->answered_ms;

    return source->ordinal != 0 && !source->is_first && source->failures == 0 &&
           (source->pulled_count > 0 || silent_ms < DIRECT_MS);
}

/*
 * Origins whose entries the source need not relay. Where it has many that are lacked here, so that
 * they did not fit into an answer, it is asked for all: the other way does not bring them.
 */
static struct slice print_declined(const struct source *source, char ordinals[PULLER_SOURCES_MAX])
{
    size_t count = 0;

    for (unsigned i = 0; i < PULLER_SOURCES_MAX && !source->has_more; i++) {
        const struct source *other = &source->puller->sources[i];
        if (other != source && is_direct(other))
            ordinals[count++] = (char) other->ordinal;
    }
    return slice_make(ordinals, count);
}

/* The message as long as the op; absent without memory. */
static struct slice print_request(struct source *source, struct op *op, unsigned flags)
{
    struct stream_request request = {.hello = hello_of(), .flags = flags, .after = source->after};
    char ordinals[PULLER_SOURCES_MAX];
    struct buf *message = arena_alloc(&op->arena, sizeof(*message)), payload = {0};
    bool is_beside = (flags & (STREAM_IS_ACK | STREAM_IS_WATCH)) != 0;

    if (message == NULL || !arena_defer(&op->arena, finish_buf, message))
        return (struct slice){NULL, 0};
    if (!is_beside)
        request.declined = print_declined(source, ordinals);
    stream_put_request(&payload, &request);
    FOR_EACH_RANGE(source->puller, range)
    {
        if (!is_to_be_told(source, range))
            continue;
        put_range(source, range, &payload);
        request.count++;
    }
    stream_set_want_count(&payload, &request, request.count);
    if (payload.has_failed || !stream_seal(message, STREAM_REQUEST, buf_slice(&payload)))
        buf_finish(message);
    buf_finish(&payload);
    if (!is_beside)
        source->tells_all = false;
    return buf_slice(message);
}

/* ---- what a source says ---- */

static void fail(struct source *source, const char *why)
{
    source->failures++;
    source->must_pause = source->tells_all = true;
    char said[sizeof(source->complaint)];
    snprintf(said, sizeof(said), "%.*s", (int) sizeof(said) - 1, why);
    if (strcmp(source->complaint, said) == 0)
        return;
    log_warn(NULL, "entries do not come", "from=%u reason=\"%s\"", source->ordinal, said);
    memcpy(source->complaint, said, sizeof(said));
}

static void stop_complaining(struct source *source)
{
    if (source->complaint[0] != '\0')
        log_info(NULL, "entries come again", "from=%u", source->ordinal);
    source->complaint[0] = '\0';
    source->failures = 0;
}

static void pulled_destroy(struct pulled *pulled)
{
    buf_finish(&pulled->text);
    free(pulled->parts);
    pgparams_finish(&pulled->learn_params);
    free(pulled);
}

/* Every entry is looked at before the first is applied: half of an answer is nobody's. */
static bool check_entries(const struct stream_part *part, struct fault *fault)
{
    struct stream_reader reader = stream_entries(part);
    struct stream_entry entry;

    for (uint32_t i = 0; i < part->count; i++) {
        if (!stream_get_entry(&reader, &entry, fault))
            return false;
        if (entry.seq <= part->from || entry.seq > part->to)
            return fault_set(fault, 400, SUB_NONE, "an entry is outside its part of the log");
    }
    return stream_at_end(&reader, fault);
}

static bool read_parts(struct pulled *pulled, struct stream_reader *payload, struct fault *fault)
{
    /* Each takes more than 50 bytes, so nobody can announce what is not there. */
    size_t most = pulled->text.len / 50;

    if (pulled->head.count > most)
        return fault_set(fault, 400, SUB_NONE, "the answer announces more ranges than it has");
    pulled->parts = calloc(pulled->head.count + (size_t) 1, sizeof(*pulled->parts));
    if (pulled->parts == NULL)
        return fault_set_oom(fault);
    for (uint32_t i = 0; i < pulled->head.count; i++) {
        if (!stream_get_part(payload, &pulled->parts[i], fault) ||
            !check_entries(&pulled->parts[i], fault))
            return false;
        if (i > 0 && pulled->parts[i].range_id == 0)
            return fault_set(fault, 400, SUB_NONE, "definitions do not come first");
    }
    return stream_at_end(payload, fault);
}

/* The payload belongs to the answer, whether or not it was packed. */
static bool open_message(struct pulled *pulled, struct slice message, struct stream_reader *payload,
                         struct fault *fault)
{
    if (!stream_open(message, STREAM_ANSWER, &pulled->text, payload, fault))
        return false;
    if (pulled->text.ptr == payload->at)
        return true;
    buf_append(&pulled->text, payload->at, (size_t) (payload->end - payload->at));
    *payload = (struct stream_reader){pulled->text.ptr, pulled->text.ptr + pulled->text.len};
    return !pulled->text.has_failed || fault_set_oom(fault);
}

static bool check_source(const struct source *source, const struct stream_hello *hello,
                         struct fault *fault)
{
    const struct regions *regions = regions_current();
    struct stream_hello ours = hello_of();

    if (!stream_check_hello(&ours, hello, fault))
        return false;
    if (hello->ordinal != source->ordinal)
        return fault_set(fault, 409, SUB_NONE,
                         "region %u answers where region %u asks for region %u", hello->ordinal,
                         ours.ordinal, source->ordinal);
    return hello->epoch >= regions->accepted_epoch ||
           fault_set(fault, 409, SUB_NONE,
                     "region %u accepted epoch %" PRId64 ", region %u epoch %" PRId64,
                     hello->ordinal, hello->epoch, ours.ordinal, ours.epoch);
}

static struct pulled *read_answer(struct source *source, struct slice message, struct fault *fault)
{
    struct pulled *pulled = calloc(1, sizeof(*pulled));
    struct stream_reader payload;

    if (pulled == NULL) {
        fault_set_oom(fault);
        return NULL;
    }
    pulled->source = source;
    list_init(&pulled->place);
    if (open_message(pulled, message, &payload, fault) &&
        stream_get_answer(&payload, &pulled->head, fault) &&
        check_source(source, &pulled->head.hello, fault) && read_parts(pulled, &payload, fault))
        return pulled;
    pulled_destroy(pulled);
    return NULL;
}

static void learned(struct pgio_call *call, struct pgio_result *result)
{
    struct pulled *pulled = container_of(call, struct pulled, learn);

    if (result->outcome == PGIO_ROWS) {
        for (uint32_t i = 0; i < pulled->head.count; i++)
            progress_committed(pulled->parts[i].range_id);
    } else {
        pulled->source->puller->loaded_ms = 0; /* see what the database knows */
    }
    pieces_ended_one(pulled);
}

static bool has_unknown(const struct pulled *pulled)
{
    for (uint32_t i = 0; i < pulled->head.count; i++) {
        const struct range *range = puller_range(pulled->source->puller, pulled->parts[i].range_id);
        if (range != NULL && is_news(range, pulled->parts[i].committed))
            return true;
    }
    return false;
}

/* Greater numbers than those of what is applied here do no harm: that is not read here yet. False
 * when nothing is new, or it cannot be stored now. */
static bool learn(struct pulled *pulled)
{
    struct puller *puller = pulled->source->puller;
    int64_t committed[STREAM_VECTOR_MAX];
    struct pgio *io = has_unknown(pulled) ? store_pool_pick(&puller->pool) : NULL;

    if (io == NULL)
        return false;
    struct pgio_statement statement =
        exchange_learn(&pulled->learn_params, pulled->parts, pulled->head.count);
    if (!pgio_send(io, &pulled->learn, &statement, &pulled->learn_params, learned))
        return false;
    for (uint32_t i = 0; i < pulled->head.count; i++) {
        const struct stream_part *part = &pulled->parts[i];
        struct range *range = puller_range(puller, part->range_id);
        for (unsigned j = 0; j < part->committed.count; j++)
            committed[j] = stream_vector_at(part->committed, j);
        if (range != NULL)
            learn_committed(range, committed, part->committed.count);
        levels_committed(part->range_id, committed, part->committed.count);
    }
    return true;
}

/* How far each log has arrived, and how much is missing. */
static void note_received(struct source *source, const struct pulled *pulled)
{
    source->lag_entries = 0;
    source->has_more = false;
    for (uint32_t i = 0; i < pulled->head.count; i++) {
        const struct stream_part *part = &pulled->parts[i];
        struct range *range = puller_range(source->puller, part->range_id);
        if (range == NULL)
            continue;
        struct range_place *place = &range->places[source->slot];
        leave_copy(place, part->to);
        if (pulled->asked >= place->not_before && part->to > place->received)
            place->received = part->to;
        source->lag_entries += part->head - part->from;
        source->has_more |= part->to > part->from && part->to < part->head;
        if (part->range_id != 0)
            source->after = part->range_id;
    }
}

static void take_answer(struct source *source, struct slice message)
{
    struct fault fault = {0};
    struct pulled *pulled = read_answer(source, message, &fault);

    if (pulled == NULL) {
        fail(source, fault.message);
        return;
    }
    stop_complaining(source);
    pulled->asked = source->requests;
    source->is_first = false;
    source->answered_ms = source->puller->loop->now_ms;
    source->answers++;
    source->bytes += message.len;
    note_received(source, pulled);
    list_append(&source->pulled, &pulled->place);
    source->pulled_count++;
    if (pulled->head.count > 0)
        testpoint("ship-received");
    if (source->pulled_count == 1)
        pieces_begin(pulled);
}

static bool has_entries(const struct pulled *pulled)
{
    for (uint32_t i = 0; i < pulled->head.count; i++) {
        if (pulled->parts[i].count > 0)
            return true;
    }
    return false;
}

/*
 * Of an answer that has come to its end. It would lock the ranges that the entries are for: it
 * comes after them, and not with each answer while there are many, since the next one says it
 * again. Where somebody waits for what is committed there is the watch.
 */
static void learn_after(struct pulled *pulled)
{
    struct source *source = pulled->source;
    int64_t now_ms = source->puller->loop->now_ms;
    bool is_due = !has_entries(pulled) || now_ms - source->learned_ms >= TICK_MS;

    pulled->only_learns = true;
    if (!is_due || !learn(pulled)) {
        pulled_destroy(pulled);
        return;
    }
    source->learned_ms = now_ms;
    pulled->pieces_running++;
}

void puller_answer_ended(struct pulled *pulled)
{
    struct source *source = pulled->source;

    if (pulled->only_learns) {
        pulled_destroy(pulled);
        return;
    }
    list_remove(&pulled->place);
    source->pulled_count--;
    if (!list_is_empty(&source->pulled))
        pieces_begin(list_entry(source->pulled.next, struct pulled, place));
    else
        source->level_ms = source->puller->loop->now_ms;
    for (unsigned i = 0; i < PULLER_SOURCES_MAX; i++)
        source_continue(&source->puller->sources[i]);
    learn_after(pulled);
}

/* ---- asking ---- */

static void op_answered(struct op *op)
{
    if (op->fault.status != 0)
        log_debug(&op->log, "exchange interrupted", "reason=\"%s\"", op->fault.message);
}

static void poll_released(struct op *op)
{
    struct source *source = container_of(op, struct source, poll);

    arena_finish(&op->arena);
    source->is_polling = false;
    source_continue(source);
}

static enum op_next poll_begin(struct op *op)
{
    struct source *source = container_of(op, struct source, poll);
    struct replica_request request = {.ordinal = source->ordinal,
                                      .path = PATH,
                                      .is_binary = true,
                                      .timeout_ms = POLL_TIMEOUT_MS,
                                      .answer_bytes_max = STREAM_BYTES_MAX};

    source->requests++;
    request.body = print_request(source, op, source->is_first ? STREAM_IS_FIRST : 0);
    if (slice_is_absent(request.body)) {
        fail(source, "out of memory");
        return OP_FAILED;
    }
    enum op_next next = replica_call(source->puller->replica->peers, op, &request, poll_answered);
    if (next == OP_FAILED)
        fail(source, op->fault.message);
    return next;
}

static enum op_next poll_answered(struct op *op)
{
    struct source *source = container_of(op, struct source, poll);
    const struct peer_answer *answer = replica_answer(op);

    if (answer->status == 200) {
        take_answer(source, answer->body);
        return OP_DONE;
    }
    fail(source, replica_complaint(op));
    return OP_DONE;
}

static void ack_released(struct op *op)
{
    struct source *source = container_of(op, struct source, ack);

    arena_finish(&op->arena);
    source->is_acking = false;
    source_continue(source);
}

static enum op_next ack_begin(struct op *op)
{
    struct source *source = container_of(op, struct source, ack);
    struct replica_request request = {.ordinal = source->ordinal,
                                      .path = PATH,
                                      .is_binary = true,
                                      .timeout_ms = POLL_TIMEOUT_MS,
                                      .answer_bytes_max = STREAM_PACK_BYTES};

    request.body = print_request(source, op, STREAM_IS_ACK);
    if (slice_is_absent(request.body))
        return OP_FAILED;
    return replica_call(source->puller->replica->peers, op, &request, ack_answered);
}

/* What was not heard is told again with the next request. */
static enum op_next ack_answered(struct op *op)
{
    struct source *source = container_of(op, struct source, ack);

    if (replica_answer(op)->status != 200)
        source->tells_all = true;
    return OP_DONE;
}

static void watch_released(struct op *op)
{
    struct source *source = container_of(op, struct source, watch);

    arena_finish(&op->arena);
    source->is_watching = false;
    source_continue(source);
}

static enum op_next watch_begin(struct op *op)
{
    struct source *source = container_of(op, struct source, watch);
    struct replica_request request = {.ordinal = source->ordinal,
                                      .path = PATH,
                                      .is_binary = true,
                                      .timeout_ms = POLL_TIMEOUT_MS,
                                      .answer_bytes_max = WATCH_BYTES_MAX};

    /* Until it is answered. */
    source->watch_after_ms = source->puller->loop->now_ms + RETRY_MAX_MS;
    request.body = print_request(source, op, STREAM_IS_WATCH);
    if (slice_is_absent(request.body))
        return OP_FAILED;
    return replica_call(source->puller->replica->peers, op, &request, watch_answered);
}

/* Who complains when it fails is the request for entries, which is ended by the same news later. */
static enum op_next watch_answered(struct op *op)
{
    struct source *source = container_of(op, struct source, watch);
    const struct peer_answer *answer = replica_answer(op);
    struct pulled *pulled =
        answer->status == 200 ? read_answer(source, answer->body, &op->fault) : NULL;

    if (pulled == NULL) {
        source->tells_all = true;
        return OP_DONE;
    }
    pulled->only_learns = true;
    pulled->pieces_begun = pulled->head.count;
    if (!has_unknown(pulled)) {
        source->watch_after_ms = 0;
        pulled_destroy(pulled);
    } else if (learn(pulled)) {
        source->watch_after_ms = 0;
        pulled->pieces_running++;
    } else {
        pulled_destroy(pulled);
    }
    return OP_DONE;
}

static void start_op(struct puller *puller, struct op *op, op_end_fn *released, op_step *first,
                     const char *route)
{
    *op = (struct op){0};
    op_init(op, puller->loop, OP_BYTES_MAX, op_answered, released);
    op->log.route = route;
    op_start(op, first, OP_TIME_MAX_MS);
}

static bool may_ask(const struct source *source)
{
    const struct puller *puller = source->puller;

    return puller->is_holder && puller->is_loaded && !puller->is_stopping && source->ordinal != 0 &&
           !loop_timer_is_armed(&source->retry);
}

/* Do acknowledgements of writes, or reads, depend on what is applied here and committed there? */
static bool is_strict(const struct source *source)
{
    const struct topology *topology = &regions_current()->topology;

    return topology->hub == source->ordinal && topology->level <= LEVEL_BOUNDED_STALENESS;
}

/* The held request cannot say it. */
static bool has_news(const struct source *source)
{
    FOR_EACH_RANGE(source->puller, range)
    {
        if (range->places[source->slot].told_version != range->version)
            return true;
    }
    return false;
}

static void source_continue(struct source *source)
{
    struct puller *puller = source->puller;

    if (!may_ask(source))
        return;
    if (!source->is_polling && source->must_pause) {
        int64_t pause_ms = RETRY_FIRST_MS;
        for (unsigned i = 1; i < source->failures && pause_ms < RETRY_MAX_MS; i++)
            pause_ms *= 2;
        loop_timer_arm(puller->loop, &source->retry,
                       pause_ms < RETRY_MAX_MS ? pause_ms : RETRY_MAX_MS);
        return;
    }
    /* First, since it tells what an ack would. */
    if (!source->is_watching && !source->is_first && is_strict(source) &&
        puller->loop->now_ms >= source->watch_after_ms) {
        source->is_watching = true;
        start_op(puller, &source->watch, watch_released, watch_begin, "pull");
    }
    bool may_begin = !source->is_first ||
                     (source->pulled_count == 0 && !source->is_acking && !source->is_watching);
    if (!source->is_polling && source->pulled_count < ANSWERS_MAX && may_begin) {
        if (puller->loop->now_ms - source->told_all_ms >= TELL_ALL_MS) {
            source->tells_all = true;
            source->told_all_ms = puller->loop->now_ms;
        }
        source->is_polling = true;
        start_op(puller, &source->poll, poll_released, poll_begin, "pull");
    } else if (source->is_polling && !source->is_acking && !source->is_first && is_strict(source) &&
               has_news(source)) {
        source->is_acking = true;
        start_op(puller, &source->ack, ack_released, ack_begin, "pull");
    }
}

static void retry(struct loop_timer *timer)
{
    struct source *source = container_of(timer, struct source, retry);

    source->must_pause = false;
    source_continue(source);
}

/* ---- sessions ---- */

static void begin_session(struct source *source)
{
    source->is_first = source->tells_all = true;
    source->has_more = false;
    source->told_all_ms = source->puller->loop->now_ms;
    source->failures = 0;
    source->must_pause = false;
    source->after = 0;
    source->level_ms = source->puller->loop->now_ms;
    FOR_EACH_RANGE(source->puller, range)
    {
        struct range_place *place = &range->places[source->slot];
        place_reset(place);
        if (range->copied_from == source->ordinal)
            place->held = place->received = STREAM_COPY + range->copied;
    }
    source_continue(source);
}

/* Sources are the other regions of the topology; a slot is free when nothing of it runs. */
static void match_sources(struct puller *puller)
{
    const struct regions *regions = regions_current();
    const struct topology *topology = &regions->topology;

    for (unsigned i = 0; i < PULLER_SOURCES_MAX; i++) {
        struct source *source = &puller->sources[i];
        if (source->ordinal != 0 && !topology_is_source(topology, regions->self, source->ordinal) &&
            !source->is_polling && !source->is_acking && !source->is_watching &&
            source->pulled_count == 0) {
            loop_timer_disarm(puller->loop, &source->retry);
            source->ordinal = 0;
        }
    }
    for (unsigned i = 0; i < topology->region_count; i++) {
        const struct topology_region *region = &topology->regions[i];
        struct source *known = NULL, *spare = NULL;
        if (!topology_is_source(topology, regions->self, region->ordinal) ||
            slice_is_absent(regions->peer_url[i]))
            continue;
        for (unsigned j = 0; j < PULLER_SOURCES_MAX; j++) {
            struct source *source = &puller->sources[j];
            known = source->ordinal == region->ordinal ? source : known;
            spare = source->ordinal == 0 && spare == NULL ? source : spare;
        }
        if (known != NULL || spare == NULL)
            continue;
        spare->ordinal = region->ordinal;
        spare->complaint[0] = '\0';
        spare->answered_ms = spare->lag_entries = 0;
        spare->answers = spare->bytes = spare->entries = 0;
        begin_session(spare);
    }
}

/* ---- what this region has ---- */

static void load_released(struct op *op)
{
    struct puller *puller = container_of(op, struct puller, load);

    arena_finish(&op->arena);
    puller->is_loading = false;
}

static enum op_next load_begin(struct op *op)
{
    struct puller *puller = container_of(op, struct puller, load);
    struct pgio_statement statement = exchange_vectors();
    struct pgparams params = {0};

    puller->applied_at_load = puller->applied;
    return store_query(puller->replica->store, op, STORE_READS, &statement, &params, load_known);
}

static void begin_sessions(struct puller *puller)
{
    for (unsigned i = 0; i < PULLER_SOURCES_MAX; i++) {
        if (puller->sources[i].ordinal != 0)
            begin_session(&puller->sources[i]);
    }
}

/*
 * Vectors move by what is applied, which is known, and by local writes. One that has gone back says
 * that the database is an older state of itself: the sources must hear it as the truth.
 */
static enum op_next load_known(struct op *op)
{
    struct puller *puller = container_of(op, struct puller, load);
    bool is_older = puller->applied != puller->applied_at_load, has_lost = false;
    int64_t committed[STREAM_VECTOR_MAX];

    if (!store_check(op, STORE_READS))
        return OP_FAILED;
    if (is_older && puller->is_loaded)
        return OP_DONE; /* what was applied meanwhile is not in it */
    FOR_EACH_RANGE(puller, range)
    range->is_listed = false;
    for (int row = 0; row < pgio_row_count(op->result); row++) {
        struct range *range = puller_range(puller, pgio_int8(op->result, row, 0));
        if (range == NULL)
            return OP_DONE;
        range->is_listed = true;
        has_lost |= set_vector(range, pgio_value(op->result, row, 1));
        unsigned count = (unsigned) pgvalue_int8_array(pgio_value(op->result, row, 2), committed,
                                                       ARRAY_LEN(committed));
        range->copied_from = (unsigned) pgio_int2(op->result, row, 3);
        range->copied = pgio_int8(op->result, row, 4);
        range->version += replace(&range->committed, &range->committed_count, committed, count);
    }
    if (!has_answers(puller))
        sweep(puller);
    puller->loaded_ms = puller->loop->now_ms;
    if (!puller->is_loaded || has_lost) {
        puller->is_loaded = true;
        begin_sessions(puller);
    }
    return OP_DONE;
}

static void load(struct puller *puller)
{
    if (puller->is_loading)
        return;
    puller->is_loading = true;
    start_op(puller, &puller->load, load_released, load_begin, "pull");
}

/* ---- the claim ---- */

static void claim_released(struct op *op)
{
    struct puller *puller = container_of(op, struct puller, claim);

    arena_finish(&op->arena);
    puller->is_claiming = false;
}

static void lose_claim(struct puller *puller)
{
    if (puller->is_holder)
        log_warn(NULL, "another gateway takes the entries of other regions", "claim=%s", CLAIM);
    puller->is_holder = puller->is_loaded = false;
}

static enum op_next claim_begin(struct op *op)
{
    struct puller *puller = container_of(op, struct puller, claim);
    struct pgparams params = {0};
    struct pgio_statement statement = claim_take(&params, CLAIM, puller->holder, CLAIM_MS);

    puller->claimed_ms = clock_monotonic_ms();
    return store_query(puller->replica->store, op, STORE_READS, &statement, &params, claim_known);
}

static void init_pool(struct puller *puller)
{
    struct store *store = puller->replica->store;

    if (puller->pool.count > 0)
        return;
    puller->pool.count = CONNECTIONS;
    for (unsigned i = 0; i < CONNECTIONS; i++)
        pgio_init(&puller->pool.connections[i], puller->loop, "apply", store->config->database_url,
                  store->write_setup, PATIENCE_MS);
}

static enum op_next claim_known(struct op *op)
{
    struct puller *puller = container_of(op, struct puller, claim);

    if (!store_check(op, STORE_READS))
        return OP_FAILED;
    if (!pgio_bool(op->result, 0, 0)) {
        lose_claim(puller);
        return OP_DONE;
    }
    puller->holds_until_ms = puller->claimed_ms + CLAIM_MS;
    if (puller->is_holder)
        return OP_DONE;
    log_info(NULL, "takes the entries of other regions", "claim=%s", CLAIM);
    puller->is_holder = true;
    init_pool(puller);
    load(puller);
    return OP_DONE;
}

/* ---- the clock ---- */

static void publish_status(const struct puller *puller)
{
    struct replica_status status = {.is_pulling = puller->is_holder};
    int64_t now_ms = puller->loop->now_ms;

    for (unsigned i = 0; i < PULLER_SOURCES_MAX; i++) {
        const struct source *source = &puller->sources[i];
        const struct topology_region *region =
            topology_find(&regions_current()->topology, source->ordinal);
        if (source->ordinal == 0 || region == NULL || region->state == REGION_RETIRED)
            continue; /* one that was given up is not expected to answer */
        bool is_heard = source->answered_ms != 0 && now_ms - source->answered_ms < HEARD_MS;
        bool is_behind = source->pulled_count > 0 || source->complaint[0] != '\0' || !is_heard;
        struct replica_peer_status *peer = &status.peers[status.peer_count++];
        *peer =
            (struct replica_peer_status){.ordinal = source->ordinal,
                                         .has_answered = source->answered_ms != 0,
                                         .is_heard = is_heard,
                                         .answers_waiting = source->pulled_count,
                                         .silent_ms = now_ms - source->answered_ms,
                                         .lag_entries = is_behind ? source->lag_entries : 0,
                                         .lag_ms = is_behind ? now_ms - source->level_ms : 0,
                                         .clock_ahead_s = replica_clock_ahead_s(source->ordinal),
                                         .answers = source->answers,
                                         .bytes = source->bytes,
                                         .entries = source->entries};
        snprintf(peer->complaint, sizeof(peer->complaint), "%s", source->complaint);
    }
    list_for_each_safe(at, &puller->waiting) status.pieces_waiting++;
    list_for_each_safe(at, &puller->resting) status.pieces_waiting++;
    status.stopped_total = status.stopped_count = puller->stopped_count;
    for (unsigned i = 0; i < puller->stopped_count; i++) {
        struct replica_stopped_range *stopped = &status.stopped[i];
        stopped->range_id = puller->stopped[i].range_id;
        stopped->ordinal = puller->sources[puller->stopped[i].slot].ordinal;
        snprintf(stopped->reason, sizeof(stopped->reason), "%s", puller->stopped[i].reason);
    }
    replica_status_publish(&status);
}

static void tick(struct loop_timer *timer)
{
    struct puller *puller = container_of(timer, struct puller, timer);
    bool is_replicating = regions_current()->is_replicating;

    if (puller->is_stopping)
        return;
    loop_timer_arm(puller->loop, &puller->timer, TICK_MS);
    if (is_replicating && !puller->is_claiming) {
        puller->is_claiming = true;
        start_op(puller, &puller->claim, claim_released, claim_begin, "claim");
    }
    if (puller->is_holder && clock_monotonic_ms() >= puller->holds_until_ms)
        lose_claim(puller);
    if (puller->is_holder &&
        (!puller->is_loaded || puller->loop->now_ms - puller->loaded_ms >= TELL_ALL_MS))
        load(puller);
    if (is_replicating)
        match_sources(puller);
    for (unsigned i = 0; i < PULLER_SOURCES_MAX; i++)
        source_continue(&puller->sources[i]);
    publish_status(puller);
}

static int flush(struct loop_hook *hook)
{
    pieces_flush(container_of(hook, struct puller, hook));
    return -1;
}

/* ---- begin and end ---- */

bool puller_start(struct puller *puller, struct replica *replica)
{
    *puller = (struct puller){.replica = replica, .loop = replica->loop, .bucket_count = 64};
    crypto_random(&puller->holder, sizeof(puller->holder));
    list_init(&puller->waiting);
    pieces_init(puller);
    list_init(&puller->resting);
    definitions_init(&puller->definitions);
    loop_timer_init(&puller->timer, tick);
    loop_hook_add(puller->loop, &puller->hook, flush);
    for (unsigned i = 0; i < PULLER_SOURCES_MAX; i++) {
        struct source *source = &puller->sources[i];
        source->puller = puller;
        source->slot = i;
        list_init(&source->pulled);
        loop_timer_init(&source->retry, retry);
    }
    puller->buckets = calloc(puller->bucket_count, sizeof(*puller->buckets));
    if (puller->buckets == NULL)
        return false;
    loop_timer_arm(puller->loop, &puller->timer, 1);
    return true;
}

/* Another gateway need not wait until the claim is over. */
static enum op_next drop_begin(struct op *op)
{
    struct puller *puller = container_of(op, struct puller, claim);
    struct pgparams params = {0};
    struct pgio_statement statement = claim_drop(&params, CLAIM, puller->holder);

    return store_query(puller->replica->store, op, STORE_READS, &statement, &params, drop_done);
}

static enum op_next drop_done(struct op *op)
{
    (void) op;
    return OP_DONE;
}

void puller_stop(struct puller *puller)
{
    if (puller->replica == NULL || puller->is_stopping)
        return;
    puller->is_stopping = true;
    if (puller->is_holder && !puller->is_claiming) {
        puller->is_claiming = true;
        start_op(puller, &puller->claim, claim_released, drop_begin, "claim");
    }
    loop_timer_disarm(puller->loop, &puller->timer);
    for (unsigned i = 0; i < PULLER_SOURCES_MAX; i++)
        loop_timer_disarm(puller->loop, &puller->sources[i].retry);
}

void puller_finish(struct puller *puller)
{
    if (puller->replica == NULL)
        return;
    puller->is_stopping = true;
    pieces_give_up(puller);
    for (unsigned i = 0; i < puller->pool.count; i++)
        pgio_finish(&puller->pool.connections[i]);
    pieces_give_up(puller); /* what was lost just now, and would wait */
    FOR_EACH_RANGE(puller, range)
    range->is_listed = false;
    sweep(puller);
    free(puller->buckets);
    definitions_finish(&puller->definitions);
    loop_timer_disarm(puller->loop, &puller->timer);
    loop_hook_remove(&puller->hook);
    puller->replica = NULL;
}
