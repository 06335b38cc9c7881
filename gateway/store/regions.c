#include "store/regions.h"

#include "base/log.h"
#include "loop/pgsession.h"
#include "model/json.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/banned.h"

#define CONNECT_TIMEOUT_S 10
#define FILE_BYTES_MAX 65536
#define ARENA_MAX_BYTES (64u << 20) /* the cuts of many ranges */
#define REFRESH_MS 1000
#define REFRESH_TIME_MAX_MS 10000
#define STATE_DEPTH_MAX 16

/* What a snapshot is made of, and how many cuts it knows. */
struct published {
    struct regions regions;
    struct arena arena;
    struct slice state, cuts; /* texts that PostgreSQL gave */
    int64_t cuts_count;
    struct published *older;
};

static const struct config *config_of_process;
static _Atomic(struct published *) current;
static pthread_mutex_t publishing = PTHREAD_MUTEX_INITIALIZER;
static _Atomic(struct regions_watch *) watcher;
static _Atomic bool is_refresh_asked;

/* $1: how many cuts are known; they are given when there are others. */
static const char state_sql[] =
    "select s.state, s.cuts, s.cuts_count from orrery.regions_state($1) s";

/* ---- reading what PostgreSQL gave ---- */

static bool malformed(struct fault *fault)
{
    return fault_set(fault, 500, SUB_NONE, "the region's state in the database is malformed");
}

static bool take_number(int64_t *number, struct slice state, const char *name)
{
    struct slice value;

    *number = 0;
    if (!json_find(state, slice_from_text(name), &value))
        return false;
    return json_type(value) == JSON_NULL || json_integer(value, 0, INT64_MAX, number);
}

static size_t count_elements(struct slice array)
{
    struct json_cursor cursor = json_iterate(array);
    struct slice element;
    size_t count = 0;

    while (json_next_element(&cursor, &element))
        count++;
    return count;
}

/* [epoch, [1, 2, 3]] */
static bool take_epoch(struct regions_live *live, struct slice pair)
{
    struct json_cursor cursor = json_iterate(pair), ordinals;
    struct slice element;
    int64_t number;

    if (!json_next_element(&cursor, &element) ||
        !json_integer(element, 0, INT64_MAX, &live->epoch) ||
        !json_next_element(&cursor, &element) || json_type(element) != JSON_ARRAY)
        return false;
    ordinals = json_iterate(element);
    while (json_next_element(&ordinals, &element)) {
        if (live->count == TOPOLOGY_REGIONS_MAX ||
            !json_integer(element, 1, TOPOLOGY_ORDINAL_MAX, &number))
            return false;
        live->ordinals[live->count++] = (uint32_t) number;
    }
    return true;
}

static bool take_epochs(struct regions *regions, struct slice list, struct arena *arena,
                        struct fault *fault)
{
    struct json_cursor cursor = json_iterate(list);
    struct regions_live *epochs =
        arena_alloc(arena, (count_elements(list) + 1) * sizeof(struct regions_live));
    struct slice element;

    if (epochs == NULL)
        return fault_set_oom(fault);
    while (json_next_element(&cursor, &element)) {
        if (json_type(element) != JSON_ARRAY ||
            !take_epoch(&epochs[regions->epoch_count++], element))
            return malformed(fault);
    }
    regions->epochs = epochs;
    return true;
}

/* One cut is [range, ordinal, lsn]; they come by range and ordinal. */
static bool take_cuts(struct regions *regions, struct slice list, struct arena *arena,
                      struct fault *fault)
{
    size_t count = count_elements(list), at = 0;
    struct session_origin *origins = arena_alloc(arena, (count + 1) * sizeof(*origins));
    struct regions_cuts *cuts = arena_alloc(arena, (count + 1) * sizeof(*cuts));
    struct json_cursor cursor = json_iterate(list), inner;
    struct slice element, a, b, c;
    int64_t range, ordinal;

    if (origins == NULL || cuts == NULL)
        return fault_set_oom(fault);
    for (; json_next_element(&cursor, &element); at++) {
        inner = json_iterate(element);
        if (!json_next_element(&inner, &a) || !json_next_element(&inner, &b) ||
            !json_next_element(&inner, &c) || !json_integer(a, 0, INT64_MAX, &range) ||
            !json_integer(b, 1, TOPOLOGY_ORDINAL_MAX, &ordinal) ||
            !json_integer(c, 0, INT64_MAX, &origins[at].lsn))
            return malformed(fault);
        origins[at].ordinal = (uint32_t) ordinal;
        if (regions->cut_count == 0 || cuts[regions->cut_count - 1].range_id != range)
            cuts[regions->cut_count++] =
                (struct regions_cuts){.range_id = range, .origins = &origins[at]};
        cuts[regions->cut_count - 1].count++;
    }
    regions->cuts = cuts;
    return true;
}

/* A region that is alone: the flags say what it is. */
static void be_alone(struct regions *regions)
{
    const struct config *config = config_of_process;

    regions->topology = (struct topology){.account = slice_from_text(config->account_name),
                                          .epoch = TOPOLOGY_EPOCH_FIRST,
                                          .hub = regions->self,
                                          .level = LEVEL_SESSION,
                                          .bounded_versions = TOPOLOGY_BOUNDED_VERSIONS,
                                          .bounded_s = TOPOLOGY_BOUNDED_S,
                                          .region_count = 1};
    (void) consistency_level_find(slice_from_text(config->consistency), &regions->topology.level);
    regions->topology.regions[0] = (struct topology_region){
        .ordinal = regions->self, .name = slice_from_text(config->region_name)};
}

static struct slice without_slash(struct slice url)
{
    while (url.len > 0 && url.ptr[url.len - 1] == '/')
        url.len--;
    return url;
}

static void take_urls(struct regions *regions)
{
    struct slice name, url, rest;
    struct slice peers = slice_from_text(config_of_process->peers);
    struct slice clients = slice_from_text(config_of_process->client_endpoints);

    for (unsigned i = 0; i < regions->topology.region_count; i++) {
        struct slice wanted = regions->topology.regions[i].name;
        /* Where a region was given up, another one may be, under the same name. */
        if (topology_find_name(&regions->topology, wanted) != &regions->topology.regions[i])
            continue;
        regions->peer_url[i] = without_slash(regions->topology.regions[i].url);
        for (rest = peers; config_peer_next(&rest, &name, &url);) {
            if (topology_name_equals(name, wanted))
                regions->peer_url[i] = without_slash(url);
        }
        for (rest = clients; config_peer_next(&rest, &name, &url);) {
            if (topology_name_equals(name, wanted))
                regions->client_url[slice_starts_with(url, "https://") ? 0 : 1][i] =
                    without_slash(url);
        }
    }
}

static bool read_state(struct published *fresh, struct fault *fault)
{
    struct regions *regions = &fresh->regions;
    struct slice state = fresh->state, document, epochs;
    int64_t self;

    if (!take_number(&self, state, "ordinal") ||
        !take_number(&regions->accepted_epoch, state, "accepted") ||
        !take_number(&regions->closed_for, state, "closed") ||
        !take_number(&regions->fenced_for, state, "fenced") ||
        !take_number(&regions->proposed_epoch, state, "proposed") ||
        !json_find(state, SLICE_LITERAL("document"), &document) ||
        json_type(document) != JSON_OBJECT || !json_find(state, SLICE_LITERAL("epochs"), &epochs) ||
        json_type(epochs) != JSON_ARRAY)
        return malformed(fault);
    regions->self = (unsigned) self;
    regions->document = document;
    if (slice_equals_text(document, "{}"))
        be_alone(regions);
    else if (!topology_parse(&regions->topology, document, &fresh->arena, fault))
        return false;
    regions->is_replicating = topology_live_count(&regions->topology) > 1;
    take_urls(regions);
    return take_epochs(regions, epochs, &fresh->arena, fault) &&
           take_cuts(regions, fresh->cuts, &fresh->arena, fault);
}

/* ---- publishing ---- */

static void free_published(struct published *published)
{
    if (published == NULL)
        return;
    arena_finish(&published->arena);
    free(published);
}

static bool keep(struct arena *arena, struct slice *kept, struct slice text, struct fault *fault)
{
    kept->ptr = arena_copy(arena, text.ptr, text.len);
    kept->len = text.len;
    return kept->ptr != NULL || fault_set_oom(fault);
}

static bool make(struct published *fresh, struct slice state, struct slice cuts, int64_t cuts_count,
                 struct fault *fault)
{
    struct json_text text;

    fresh->cuts_count = cuts_count;
    return keep(&fresh->arena, &fresh->state, state, fault) &&
           keep(&fresh->arena, &fresh->cuts, cuts, fault) &&
           json_validate(fresh->state, STATE_DEPTH_MAX, &text, fault) &&
           json_validate(fresh->cuts, STATE_DEPTH_MAX, &text, fault) && read_state(fresh, fault);
}

/* cuts: absent when they are as they were. */
static bool publish_locked(struct slice state, struct slice cuts, int64_t cuts_count,
                           struct fault *fault)
{
    struct published *older = atomic_load(&current);

    if (older != NULL && slice_equals(older->state, state) &&
        (slice_is_absent(cuts) || slice_equals(older->cuts, cuts)))
        return true;
    if (slice_is_absent(cuts))
        cuts = older != NULL ? older->cuts : SLICE_LITERAL("[]");
    struct published *fresh = calloc(1, sizeof(*fresh));
    if (fresh == NULL)
        return fault_set_oom(fault);
    arena_init(&fresh->arena, ARENA_MAX_BYTES);
    if (!make(fresh, state, cuts, cuts_count, fault)) {
        free_published(fresh);
        return false;
    }
    fresh->older = older;
    atomic_store(&current, fresh);
    if (older != NULL)
        log_info(NULL, "topology changed", "epoch=%" PRId64 " accepted=%" PRId64 " hub=%u",
                 fresh->regions.topology.epoch, fresh->regions.accepted_epoch,
                 fresh->regions.topology.hub);
    return true;
}

static bool publish(struct slice state, struct slice cuts, int64_t cuts_count, struct fault *fault)
{
    pthread_mutex_lock(&publishing);
    bool is_done = publish_locked(state, cuts, cuts_count, fault);
    pthread_mutex_unlock(&publishing);
    return is_done;
}

static int64_t known_cuts(void)
{
    const struct published *published = atomic_load(&current);

    return published != NULL ? published->cuts_count : 0;
}

const struct regions *regions_current(void)
{
    const struct published *published = atomic_load_explicit(&current, memory_order_acquire);

    return published != NULL ? &published->regions : NULL;
}

const struct topology_region *regions_self(const struct regions *regions)
{
    return topology_find(&regions->topology, regions->self);
}

void regions_finish(void)
{
    struct published *published = atomic_exchange(&current, NULL);

    while (published != NULL) {
        struct published *older = published->older;
        free_published(published);
        published = older;
    }
}

bool regions_epoch(int64_t epoch, int64_t range_id, struct session_state *state)
{
    const struct regions *regions = regions_current();
    size_t low = 0, high = regions->cut_count, at = regions->epoch_count;

    while (at > 0 && regions->epochs[at - 1].epoch != epoch)
        at--;
    if (at == 0) {
        regions_refresh_soon();
        return false;
    }
    state->epoch = epoch;
    state->live = regions->epochs[at - 1].ordinals;
    state->live_count = regions->epochs[at - 1].count;
    state->cuts = NULL;
    state->cut_count = 0;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (regions->cuts[middle].range_id < range_id)
            low = middle + 1;
        else
            high = middle;
    }
    if (low < regions->cut_count && regions->cuts[low].range_id == range_id) {
        state->cuts = regions->cuts[low].origins;
        state->cut_count = regions->cuts[low].count;
    }
    return true;
}

/* ---- the start ---- */

static bool load_state(struct pgsession *session, struct fault *fault)
{
    const char *params[] = {"-1"};
    struct pgrows *rows = pgsession_query(session, state_sql, params, 1, fault);

    if (rows == NULL)
        return false;
    bool is_done =
        publish(slice_from_text(pgrows_text(rows, 0, 0)), slice_from_text(pgrows_text(rows, 0, 1)),
                strtoll(pgrows_text(rows, 0, 2), NULL, 10), fault);
    pgrows_free(rows);
    return is_done;
}

static bool read_file(const char *path, struct arena *arena, struct slice *text,
                      struct fault *fault)
{
    char *bytes = arena_alloc(arena, FILE_BYTES_MAX + 1);
    FILE *file = fopen(path, "re");

    if (file == NULL)
        return fault_set(fault, 400, SUB_NONE, "topology file \"%.200s\": %s", path,
                         strerror(errno));
    size_t len = bytes != NULL ? fread(bytes, 1, FILE_BYTES_MAX + 1, file) : 0;
    bool is_read = bytes != NULL && ferror(file) == 0 && len <= FILE_BYTES_MAX;
    fclose(file);
    *text = slice_make(bytes, len);
    return is_read ||
           fault_set(fault, 400, SUB_NONE, "topology file \"%.200s\" cannot be read", path);
}

static bool check_account(const struct topology *topology, const char *whose, struct fault *fault)
{
    const char *account = config_of_process->account_name;

    return slice_equals_text(topology->account, account) ||
           fault_set(fault, 400, SUB_NONE, "%s is of the account \"%.*s\", and --account is \"%s\"",
                     whose, FAULT_QUOTE(topology->account), account);
}

static bool check_self(const struct topology *topology, unsigned ordinal, const char *whose,
                       struct fault *fault)
{
    const struct topology_region *self = topology_find(topology, ordinal);
    struct slice name = slice_from_text(config_of_process->region_name);

    if (self == NULL)
        return fault_set(fault, 400, SUB_NONE, "%s has no region with ordinal %u", whose, ordinal);
    return topology_name_equals(self->name, name) ||
           fault_set(fault, 400, SUB_NONE,
                     "in %s ordinal %u is region \"%.*s\", and --region is \"%.*s\"", whose,
                     ordinal, FAULT_QUOTE(self->name), FAULT_QUOTE(name));
}

/* A file that was the first topology stays where it is; the stored one has moved on since. */
static bool check_file(const struct topology *file, struct fault *fault)
{
    const struct regions *regions = regions_current();
    struct buf a = {0}, b = {0};

    if (slice_equals_text(regions->document, "{}"))
        return fault_set(fault, 400, SUB_NONE,
                         "the database holds data of an account with one region; regions are added "
                         "to it by \"orrery account add\", not by a topology file");
    if (file->epoch > regions->topology.epoch)
        return fault_set(fault, 400, SUB_NONE,
                         "the topology in the database is older (epoch %" PRId64
                         ") than the file's (epoch %" PRId64 ")",
                         regions->topology.epoch, file->epoch);
    if (file->epoch < regions->topology.epoch)
        return true;
    topology_print(&a, file);
    topology_print(&b, &regions->topology);
    bool is_same = !a.has_failed && !b.has_failed && slice_equals(buf_slice(&a), buf_slice(&b));
    buf_finish(&a);
    buf_finish(&b);
    return is_same || fault_set(fault, 400, SUB_NONE,
                                "the topology file and the database contradict each other under "
                                "the same epoch %" PRId64,
                                file->epoch);
}

/* Put the file's topology into a database that is fresh. */
static bool begin_with_file(struct pgsession *session, struct arena *arena, struct topology *file,
                            struct fault *fault)
{
    struct slice text;
    struct buf printed = {0};
    char *refusal = NULL;

    if (!read_file(config_of_process->topology_file, arena, &text, fault) ||
        !topology_parse(file, text, arena, fault) ||
        !check_account(file, "the topology file", fault))
        return false;
    if (file->epoch != TOPOLOGY_EPOCH_FIRST)
        return true; /* only good for comparing */
    topology_print(&printed, file);
    const char *params[] = {buf_text(&printed)};
    bool is_done = params[0] != NULL ? pgsession_value(session, "select orrery.topology_begin($1)",
                                                       params, 1, &refusal, fault)
                                     : fault_set_oom(fault);
    buf_finish(&printed);
    free(refusal); /* "stored" or "data": check_file tells what of it */
    return is_done;
}

static bool settle_ordinal(struct pgsession *session, struct fault *fault)
{
    char number[16], *stored = NULL;
    const char *params[] = {number};

    snprintf(number, sizeof(number), "%d", config_of_process->region_ordinal);
    if (!config_is_given(config_of_process, "ordinal"))
        return true;
    bool is_done =
        pgsession_value(session, "select orrery.region_settle($1)", params, 1, &stored, fault);
    free(stored);
    return is_done;
}

/* The flag names what the region was at its first start; a region that lost its place and came back
 * has another one since, and its old one is among the retired. */
static bool check_ordinal(struct fault *fault)
{
    const struct regions *regions = regions_current();
    unsigned given = (unsigned) config_of_process->region_ordinal;
    const struct topology_region *named = topology_find(&regions->topology, given);

    if (!config_is_given(config_of_process, "ordinal") || given == regions->self ||
        (named != NULL && named->state == REGION_RETIRED &&
         topology_name_equals(named->name, slice_from_text(config_of_process->region_name))))
        return true;
    return fault_set(fault, 400, SUB_NONE,
                     "the database is of the region with ordinal %u, and --ordinal is %u",
                     regions->self, given);
}

static bool load(struct pgsession *session, struct arena *arena, struct fault *fault)
{
    bool has_file = config_of_process->topology_file != NULL;
    struct topology file;

    if (!settle_ordinal(session, fault) ||
        (has_file && !begin_with_file(session, arena, &file, fault)) ||
        !load_state(session, fault) || !check_ordinal(fault))
        return false;
    const struct regions *regions = regions_current();
    if (has_file && !check_file(&file, fault))
        return false;
    return slice_equals_text(regions->document, "{}") ||
           (check_account(&regions->topology, "the topology in the database", fault) &&
            (regions_self(regions) == NULL ||
             check_self(&regions->topology, regions->self, "the topology in the database", fault)));
}

bool regions_load(const struct config *config, struct fault *fault)
{
    struct arena arena;

    config_of_process = config;
    struct pgsession *session =
        pgsession_open(config->database_url, "orrery", CONNECT_TIMEOUT_S, fault);
    if (session == NULL)
        return false;
    arena_init(&arena, 4 * FILE_BYTES_MAX);
    bool is_done = load(session, &arena, fault);
    arena_finish(&arena);
    pgsession_close(session);
    return is_done;
}

/* ---- again and again ---- */

enum op_next regions_refresh(struct store *store, struct op *op, op_step *next)
{
    struct pgio_statement statement = {.key = store_statement_key(STATEMENT_REGIONS, 0),
                                       .sql = state_sql};
    struct pgparams params = {0};

    pgparams_int8(&params, known_cuts());
    return store_query(store, op, STORE_READS, &statement, &params, next);
}

bool regions_refreshed(struct op *op)
{
    return store_check(op, STORE_READS) &&
           publish(pgio_value(op->result, 0, 0), pgio_value(op->result, 0, 1),
                   pgio_int8(op->result, 0, 2), &op->fault);
}

void regions_refresh_soon(void)
{
    struct regions_watch *watch = atomic_load(&watcher);

    if (watch != NULL && !atomic_exchange(&is_refresh_asked, true))
        loop_post(watch->store->loop, &watch->message);
}

static op_step watch_read;
static op_step watch_publish;

static void watch_answered(struct op *op)
{
    if (op->fault.status >= 500 && op->fault.status != 503)
        log_error(&op->log, "topology not read, the old one stays", "reason=\"%s\"",
                  op->fault.message);
}

static void watch_released(struct op *op)
{
    struct regions_watch *watch = container_of(op, struct regions_watch, op);

    arena_finish(&op->arena);
    watch->is_running = false;
    if (!watch->is_stopping)
        loop_timer_arm(watch->store->loop, &watch->timer, watch->is_asked ? 0 : REFRESH_MS);
}

static void watch_begin(struct regions_watch *watch)
{
    loop_timer_disarm(watch->store->loop, &watch->timer);
    watch->is_running = true;
    watch->is_asked = false;
    watch->op = (struct op){0};
    op_init(&watch->op, watch->store->loop, ARENA_MAX_BYTES, watch_answered, watch_released);
    watch->op.log.route = "topology";
    op_start(&watch->op, watch_read, REFRESH_TIME_MAX_MS);
}

static void watch_due(struct loop_timer *timer)
{
    watch_begin(container_of(timer, struct regions_watch, timer));
}

static void watch_asked(struct loop_message *message)
{
    struct regions_watch *watch = container_of(message, struct regions_watch, message);

    atomic_store(&is_refresh_asked, false);
    if (watch->is_stopping)
        return;
    watch->is_asked = true;
    if (!watch->is_running)
        watch_begin(watch);
}

static enum op_next watch_read(struct op *op)
{
    return regions_refresh(container_of(op, struct regions_watch, op)->store, op, watch_publish);
}

static enum op_next watch_publish(struct op *op)
{
    return regions_refreshed(op) ? OP_DONE : OP_FAILED;
}

void regions_watch_start(struct regions_watch *watch, struct store *store)
{
    *watch = (struct regions_watch){.store = store};
    loop_timer_init(&watch->timer, watch_due);
    watch->message.run = watch_asked;
    loop_timer_arm(store->loop, &watch->timer, REFRESH_MS);
    atomic_store(&watcher, watch);
}

void regions_watch_stop(struct regions_watch *watch)
{
    if (watch->store == NULL)
        return;
    atomic_store(&watcher, NULL);
    watch->is_stopping = true;
    loop_timer_disarm(watch->store->loop, &watch->timer);
}
