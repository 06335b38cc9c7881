/*
 * orrery account status, failover, offline, …: what an operator asks of the account, at any of its
 * gateways.
 *
 * A wish is sent to /_orrery/change, and waited for: the gateway that was asked knows of the new
 * epoch when it is open everywhere that can be reached.
 */
#include "program/program.h"

#include "base/clock.h"
#include "base/keys.h"
#include "loop/peer.h"
#include "model/authtoken.h"
#include "model/complaint.h"
#include "model/json.h"
#include "regions/change.h"

#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#include "base/banned.h"

#define CONNECT_MS 2000
#define CALL_MS 30000
#define WAIT_MS \
    120000 /* for an epoch to open: Strong waits for leases, a lagging region for data */
#define POLL_MS 100
#define WATCH_MS 1000
#define BODY_BYTES_MAX (1u << 20)
#define MEMORY_MAX ((size_t) 8 << 20)
#define DEPTH_MAX 16

struct talk {
    const struct config *config;
    struct key key;
    struct loop loop;
    struct peers peers;
    struct op op;
    const char *path;
    struct slice body; /* absent: GET */
    unsigned status;
    struct buf answer;
    char error[128];
};

/* ---- one request ---- */

static op_step talk_ask;
static op_step talk_heard;

static void talk_answered(struct op *op)
{
    struct talk *talk = container_of(op, struct talk, op);

    if (op->fault.status != 0)
        snprintf(talk->error, sizeof(talk->error), "%.120s", op->fault.message);
    loop_stop(&talk->loop);
}

static void talk_released(struct op *op)
{
    arena_finish(&op->arena);
}

static enum op_next talk_ask(struct op *op)
{
    struct talk *talk = container_of(op, struct talk, op);
    bool is_get = slice_is_absent(talk->body);
    struct authtoken_request request = {.method = slice_from_text(is_get ? "GET" : "POST"),
                                        .resource_type = SLICE_LITERAL(""),
                                        .link = SLICE_LITERAL("")};
    struct slice endpoint = slice_from_text(talk->config->endpoint);
    char date[CLOCK_HTTP_DATE_BYTES];
    struct buf token = {0};

    while (endpoint.len > 0 && endpoint.ptr[endpoint.len - 1] == '/')
        endpoint.len--;
    clock_format_http(clock_unix_s(), date);
    request.ms_date = slice_from_text(date);
    buf_append_text(&token, "authorization: ");
    authtoken_sign(&token, slice_make((const char *) talk->key.bytes, talk->key.len), &request);
    const char *headers[] = {arena_printf(&op->arena, "x-ms-date: %s", date),
                             token.has_failed ? NULL : arena_copy(&op->arena, token.ptr, token.len),
                             "content-type: application/json", NULL};
    buf_finish(&token);
    struct peer_request call = {
        .url = arena_printf(&op->arena, "%.*s%s", (int) endpoint.len, endpoint.ptr, talk->path),
        .timeout_ms = CALL_MS,
        .body_max_bytes = BODY_BYTES_MAX,
        .is_post = !is_get,
        .body = talk->body,
        .headers = headers};
    if (headers[0] == NULL || headers[1] == NULL || call.url == NULL) {
        fault_set_oom(&op->fault);
        return OP_FAILED;
    }
    return peer_ask(&talk->peers, op, &call, talk_heard);
}

static enum op_next talk_heard(struct op *op)
{
    struct talk *talk = container_of(op, struct talk, op);
    const struct peer_answer *answer = peer_answer(op, 0);

    talk->status = answer->status;
    if (answer->status == 0)
        snprintf(talk->error, sizeof(talk->error), "%s", answer->error);
    buf_append_slice(&talk->answer, answer->body);
    return OP_DONE;
}

/* The status of the answer, which is in talk->answer; 0 and talk->error without one. */
static unsigned ask(struct talk *talk, const char *path, struct slice body)
{
    buf_finish(&talk->answer);
    talk->path = path;
    talk->body = body;
    talk->status = 0;
    talk->error[0] = '\0';
    talk->loop.is_stopping = false;
    talk->op = (struct op){0};
    op_init(&talk->op, &talk->loop, MEMORY_MAX, talk_answered, talk_released);
    op_start(&talk->op, talk_ask, CALL_MS + 1000);
    if (!talk->loop.is_stopping)
        loop_run(&talk->loop);
    return talk->error[0] == '\0' && !talk->answer.has_failed ? talk->status : 0;
}

/* ---- telling ---- */

static struct slice member(struct slice object, const char *name)
{
    struct slice value = {NULL, 0};

    return json_find(object, slice_from_text(name), &value) ? value : (struct slice){"", 0};
}

/* Text without its quotes; enough for what our own program prints. */
static struct slice text_of(struct slice value)
{
    return value.len >= 2 && value.ptr[0] == '"' ? slice_make(value.ptr + 1, value.len - 2) : value;
}

static int complain(const struct talk *talk)
{
    char text[COMPLAINT_BYTES];

    if (talk->error[0] != '\0' || talk->status == 0)
        return program_fail("%s: %s", talk->config->endpoint, talk->error);
    if (!complaint_read(buf_slice(&talk->answer), text, sizeof(text)))
        return program_fail("%s answers %u", talk->config->endpoint, talk->status);
    return program_fail("%s", text);
}

static void print_topology(const struct topology *topology, unsigned asked)
{
    printf("account %.*s   epoch %" PRId64 "   %s   %s-write\n", (int) topology->account.len,
           topology->account.ptr, topology->epoch, consistency_level_name(topology->level),
           topology_mode_name(topology->mode));
    for (unsigned i = 0; i < topology->region_count; i++) {
        const struct topology_region *region = &topology->regions[i];
        printf("  %-20.*s %3u  %-8s%s%s\n", (int) region->name.len, region->name.ptr,
               region->ordinal, topology_state_name(region->state),
               region->ordinal == topology->hub ? "  hub" : "",
               region->ordinal == asked ? "  (asked)" : "");
    }
}

static void print_change(struct slice change)
{
    struct slice stage = text_of(member(change, "stage"));
    struct slice kind = text_of(member(change, "kind")), note = text_of(member(change, "note"));

    if (json_type(change) != JSON_OBJECT)
        return;
    printf("last change: %.*s, epoch %.*s: %.*s%s%.*s\n", (int) kind.len, kind.ptr,
           (int) member(change, "epoch").len, member(change, "epoch").ptr, (int) stage.len,
           stage.ptr, note.len > 0 ? ", " : "", (int) note.len, note.ptr);
}

/* Of the gateway that was asked. */
static void print_arbiter(struct slice arbiter)
{
    struct slice holder = text_of(member(arbiter, "holder"));
    struct slice margin = member(arbiter, "marginSeconds"),
                 silent = member(arbiter, "secondsSinceAnswer"),
                 error = text_of(member(arbiter, "error"));

    if (json_type(arbiter) != JSON_OBJECT)
        return;
    printf("arbiter: etcd, the claim is held by %.*s",
           slice_equals_text(holder, "null") ? 6 : (int) holder.len,
           slice_equals_text(holder, "null") ? "nobody" : holder.ptr);
    if (!slice_equals_text(margin, "0.000"))
        printf(", here for %.*s s more", (int) margin.len, margin.ptr);
    if (error.len > 0 && slice_equals_text(silent, "null"))
        printf("; no answer yet: %.*s", (int) error.len, error.ptr);
    else if (error.len > 0)
        printf("; no answer for %.*s s: %.*s", (int) silent.len, silent.ptr, (int) error.len,
               error.ptr);
    printf("\n");
}

/* ---- the table: how the region of the gateway that was asked stands ---- */

static struct slice text_member(struct slice object, const char *name)
{
    return text_of(member(object, name));
}

/* Members may be missing: what is not known yet. */
static bool is_a(struct slice value, enum json_type type)
{
    return value.len > 0 && json_type(value) == type;
}

static void print_source(struct slice peer, struct slice target)
{
    bool is_heard = is_a(member(peer, "heard"), JSON_TRUE);
    struct slice name = text_member(peer, "region"), silent = member(peer, "secondsSinceAnswer");
    struct slice entries = member(peer, "lagEntries"), lag = member(peer, "lagSeconds");
    struct slice waiting = member(peer, "answersWaiting"), error = text_member(peer, "error");

    if (slice_equals_text(silent, "null"))
        silent = SLICE_LITERAL("never");
    printf("  %-20.*s -> %-20.*s %8.*s%s %10.*s%s %10.*s %8.*s  %.*s\n", (int) name.len, name.ptr,
           (int) target.len, target.ptr, (int) entries.len, entries.ptr, is_heard ? " " : "?",
           (int) lag.len, lag.ptr, is_heard ? " " : "?", (int) silent.len, silent.ptr,
           (int) waiting.len, waiting.ptr, (int) error.len, error.ptr);
}

static void print_sources(struct slice replication, struct slice target)
{
    struct slice peers = member(replication, "peers"), peer;
    struct json_cursor cursor;

    if (!is_a(member(replication, "pulling"), JSON_TRUE) || !is_a(peers, JSON_ARRAY)) {
        printf("lag: another gateway of %.*s knows\n", (int) target.len, target.ptr);
        return;
    }
    printf("  %-20s    %-20s %8s  %10s  %10s %8s\n", "source", "target", "entries", "lag s",
           "heard s", "waiting");
    cursor = json_iterate(peers);
    while (json_next_element(&cursor, &peer))
        print_source(peer, target);
}

/* What each region has promised this hub. */
static void print_promises(struct slice promises)
{
    struct json_cursor cursor = json_iterate(promises);
    struct slice one;
    bool is_first = true;

    while (json_next_element(&cursor, &one)) {
        struct slice name = text_member(one, "region"), left = member(one, "secondsLeft");
        printf("%s %.*s %.*s s", is_first ? "; promised by" : ",", (int) name.len, name.ptr,
               (int) left.len, left.ptr);
        is_first = false;
    }
}

static void print_depths(struct slice database)
{
    struct json_cursor cursor = json_iterate(database);
    struct slice name, pool;
    bool is_first = true;

    while (json_next_member(&cursor, &name, &pool)) {
        struct slice waiting = member(pool, "waiting"), in_flight = member(pool, "inFlight");
        name = text_of(name);
        printf("%s %.*s %.*s waiting %.*s in flight", is_first ? "to PostgreSQL:" : ",",
               (int) name.len, name.ptr, (int) waiting.len, waiting.ptr, (int) in_flight.len,
               in_flight.ptr);
        is_first = false;
    }
    printf("\n");
}

static void print_set(struct slice set)
{
    struct json_cursor cursor = json_iterate(set);
    struct slice one;
    bool is_first = true;

    while (json_next_element(&cursor, &one)) {
        struct slice name = text_member(one, "region"), state = text_member(one, "state");
        printf("%s %.*s %.*s", is_first ? "; strong set:" : ",", (int) name.len, name.ptr,
               (int) state.len, state.ptr);
        is_first = false;
    }
}

static void print_replication(struct slice replication, struct slice target)
{
    struct slice log = member(replication, "log"), lease = member(replication, "leaseSeconds");
    struct slice set = member(replication, "strongSet");
    struct slice promises = member(replication, "promises");
    struct slice conflicts = member(replication, "conflicts");
    struct slice pieces = member(replication, "piecesWaiting");

    print_sources(replication, target);
    if (lease.len > 0) {
        printf("leases: may answer Strong and Bounded reads for %.*s s", (int) lease.len,
               lease.ptr);
        if (is_a(promises, JSON_ARRAY))
            print_promises(promises);
        if (is_a(set, JSON_ARRAY))
            print_set(set);
        printf("\n");
    }
    if (!is_a(log, JSON_OBJECT))
        return;
    struct slice whole = member(log, "entries"), trimmed = member(log, "trimmed");
    printf("log: %.*s entries beyond the horizon, %.*s below   conflicts: %.*s   waiting to be "
           "applied: %.*s\n",
           (int) whole.len, whole.ptr, (int) trimmed.len, trimmed.ptr, (int) conflicts.len,
           conflicts.ptr, (int) pieces.len, pieces.ptr);
}

static int64_t number_of(struct slice object, const char *name)
{
    int64_t number;

    return json_integer(member(object, name), 0, INT64_MAX, &number) ? number : 0;
}

/* Of regions that were given up: what they still hold, and what became of the rest. */
static void print_stranded(struct slice list, const struct topology *topology)
{
    struct json_cursor cursor;
    struct slice one;

    if (list.len == 0 || json_type(list) != JSON_ARRAY)
        return;
    for (cursor = json_iterate(list); json_next_element(&cursor, &one);) {
        const struct topology_region *region =
            topology_find(topology, (unsigned) number_of(one, "ordinal"));
        if (region == NULL || !region->is_lost)
            continue;
        printf("  %-20.*s %3u  stranded:", (int) region->name.len, region->name.ptr,
               region->ordinal);
        if (json_type(member(one, "left")) == JSON_NUMBER)
            printf(" %" PRId64 " left,", number_of(one, "left"));
        printf(" %" PRId64 " to be decided, %" PRId64 " merged, %" PRId64 " conflicts",
               number_of(one, "waiting"), number_of(one, "merged"), number_of(one, "conflicts"));
        if (number_of(one, "recorded") > 0)
            printf(", %" PRId64 " definitions not merged", number_of(one, "recorded"));
        if (number_of(one, "dropped") > 0)
            printf(", %" PRId64 " of dropped containers", number_of(one, "dropped"));
        printf("\n");
    }
}

static bool read_told(const struct talk *talk, struct arena *arena, struct topology *topology,
                      struct slice *root, struct fault *fault)
{
    struct json_text text;

    if (!json_validate(buf_slice(&talk->answer), DEPTH_MAX, &text, fault))
        return false;
    *root = text.root;
    return topology_parse(topology, member(text.root, "topology"), arena, fault);
}

static int print_status(const struct talk *talk)
{
    struct fault fault = {0};
    struct topology topology;
    struct slice root, change;
    struct arena arena;

    arena_init(&arena, MEMORY_MAX);
    bool is_read = read_told(talk, &arena, &topology, &root, &fault);
    if (is_read) {
        print_topology(&topology, (unsigned) strtoul(member(root, "ordinal").ptr, NULL, 10));
        print_stranded(member(root, "stranded"), &topology);
        change = member(root, "change");
        if (change.len > 0)
            print_change(change);
        if (member(root, "arbiter").len > 0)
            print_arbiter(member(root, "arbiter"));
        if (is_a(member(root, "database"), JSON_OBJECT))
            print_depths(member(root, "database"));
        if (member(root, "replication").len > 0)
            print_replication(member(root, "replication"), text_member(root, "region"));
    }
    arena_finish(&arena);
    return is_read ? PROGRAM_DONE : program_fail("%s", fault.message);
}

static void pause_ms(long ms)
{
    struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

    (void) nanosleep(&time, NULL);
}

static int run_status(struct talk *talk)
{
    int status;

    do {
        if (ask(talk, "/_orrery/topology", (struct slice){NULL, 0}) != 200)
            status = complain(talk);
        else if (talk->config->is_watched)
            status = (printf("\033[H\033[2J"), print_status(talk));
        else
            status = print_status(talk);
        if (talk->config->is_watched && (fflush(stdout) != 0))
            return PROGRAM_FAILED;
        if (talk->config->is_watched)
            pause_ms(WATCH_MS);
    } while (talk->config->is_watched);
    return status;
}

/* ---- changing ---- */

/* Has the change ended without its epoch? Says why. */
static bool has_failed(struct slice root, int64_t epoch)
{
    struct slice change = member(root, "change"), note;
    int64_t number;

    if (change.len == 0 || json_type(change) != JSON_OBJECT ||
        !json_integer(member(change, "epoch"), 0, INT64_MAX, &number) || number != epoch ||
        !(json_string_equals(member(change, "stage"), SLICE_LITERAL("failed")) ||
          json_string_equals(member(change, "stage"), SLICE_LITERAL("superseded"))))
        return false;
    note = text_of(member(change, "note"));
    program_fail("the change came to nothing: %.*s", (int) note.len, note.ptr);
    return true;
}

/* Is the change over in the region that carries it out? Another one cannot tell. */
static bool is_still_told(struct slice root, int64_t epoch)
{
    struct slice change = member(root, "change");
    int64_t number;

    return change.len > 0 && json_type(change) == JSON_OBJECT &&
           json_integer(member(change, "epoch"), 0, INT64_MAX, &number) && number == epoch &&
           !json_string_equals(member(change, "stage"), SLICE_LITERAL("done"));
}

static int wait_for_epoch(struct talk *talk, int64_t epoch)
{
    int64_t until_ms = clock_monotonic_ms() + WAIT_MS;
    struct topology topology;
    struct arena arena;

    while (clock_monotonic_ms() < until_ms) {
        struct fault fault = {0};
        struct slice root;
        if (ask(talk, "/_orrery/topology", (struct slice){NULL, 0}) == 200) {
            arena_init(&arena, MEMORY_MAX);
            bool is_read = read_told(talk, &arena, &topology, &root, &fault);
            bool is_open = is_read && topology.epoch >= epoch && !is_still_told(root, epoch);
            bool is_over = is_read && !is_open && has_failed(root, epoch);
            if (is_open)
                print_status(talk);
            arena_finish(&arena);
            if (is_open || is_over)
                return is_open ? PROGRAM_DONE : PROGRAM_FAILED;
        }
        pause_ms(POLL_MS);
    }
    return program_fail("epoch %" PRId64 " is not open after %d s; \"orrery account status\" tells "
                        "how far it is",
                        epoch, WAIT_MS / 1000);
}

static int run_change(struct talk *talk, const struct change *change)
{
    struct buf body = {0};
    struct json_text text;
    struct fault fault = {0};
    int64_t epoch = 0;
    int status;

    change_print(&body, change);
    if (body.has_failed || ask(talk, "/_orrery/change", buf_slice(&body)) != 202)
        status = complain(talk);
    else if (!json_validate(buf_slice(&talk->answer), DEPTH_MAX, &text, &fault) ||
             !json_integer(member(text.root, "epoch"), 0, INT64_MAX, &epoch))
        status = program_fail("%s did not say which epoch it will be", talk->config->endpoint);
    else
        status = wait_for_epoch(talk, epoch);
    buf_finish(&body);
    return status;
}

/* ---- words ---- */

static const struct {
    const char *word;
    enum change_kind kind;
    bool has_argument;
} words[] = {
    {"failover", CHANGE_FAILOVER, false}, {"offline", CHANGE_OFFLINE, true},
    {"online", CHANGE_ONLINE, true},      {"add", CHANGE_ADD, true},
    {"remove", CHANGE_REMOVE, true},      {"level", CHANGE_LEVEL, true},
    {"mode", CHANGE_MODE, true},          {"priority", CHANGE_PRIORITY, true},
};

static bool take_argument(struct change *change, const char *argument)
{
    struct slice text = slice_from_text(argument), rest = text;

    switch (change->kind) {
    case CHANGE_LEVEL:
        return consistency_level_find(text, &change->level);
    case CHANGE_MODE:
        change->mode =
            strcmp(argument, "multi") == 0 ? TOPOLOGY_MULTI_WRITE : TOPOLOGY_SINGLE_WRITE;
        return strcmp(argument, "multi") == 0 || strcmp(argument, "single") == 0;
    case CHANGE_PRIORITY:
        while (!slice_is_absent(rest) && change->name_count < TOPOLOGY_REGIONS_MAX)
            change->names[change->name_count++] = slice_trim(slice_cut(rest, ',', &rest));
        return true;
    case CHANGE_FAILOVER:
    case CHANGE_OFFLINE:
    case CHANGE_ONLINE:
    case CHANGE_ADD:
    case CHANGE_ANNOUNCE:
    case CHANGE_REJOIN:
    case CHANGE_REMOVE:
    case CHANGE_KINDS:
        break;
    }
    change->region = text;
    return true;
}

/* PROGRAM_USAGE when the words make no wish. */
static int read_wish(const struct config *config, struct change *change)
{
    const char *word = config->arguments[0];

    *change = (struct change){.is_forced = config->is_forced,
                              .accepts_loss = config->accepts_loss,
                              .bounded_versions = config->bounded_versions,
                              .bounded_s = config->bounded_s,
                              .region = slice_from_text(config->failover_to),
                              .url = slice_from_text(config->region_url)};
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (strcmp(word, words[i].word) != 0)
            continue;
        change->kind = words[i].kind;
        if (!slice_is_absent(change->url) && change->kind != CHANGE_ADD) {
            program_fail("--url is for \"account add\"");
            return PROGRAM_USAGE;
        }
        if (words[i].has_argument != (config->arguments_count > 1)) {
            program_fail("\"account %s\" needs %s", word,
                         words[i].has_argument ? "one argument" : "no argument, but --to REGION");
            return PROGRAM_USAGE;
        }
        if (!words[i].has_argument || take_argument(change, config->arguments[1]))
            return PROGRAM_DONE;
        program_fail("\"account %s\" does not know \"%.60s\"", word, config->arguments[1]);
        return PROGRAM_USAGE;
    }
    program_fail("there is no \"account %s\"", word);
    return PROGRAM_USAGE;
}

static int talk_run(struct talk *talk)
{
    struct change change;

    if (strcmp(talk->config->arguments[0], "status") == 0)
        return run_status(talk);
    int status = read_wish(talk->config, &change);
    return status == PROGRAM_DONE ? run_change(talk, &change) : status;
}

int topology_run(const struct config *config)
{
    struct talk talk = {.config = config};
    struct peer_options options = {.ca_file = config->peer_ca_file,
                                   .connect_timeout_ms = CONNECT_MS};
    struct fault fault = {0};
    struct keys keys;
    int status;

    if (!keys_read(config->key_file, &keys, &fault))
        return program_fail("%s", fault.message);
    talk.key = keys.key[KEY_PRIMARY];
    explicit_bzero(&keys, sizeof(keys));
    if (loop_init(&talk.loop) != 0)
        return program_fail("cannot start");
    status = peers_init(&talk.peers, &talk.loop, &options) ? talk_run(&talk)
                                                           : program_fail("out of memory");
    peers_finish(&talk.peers);
    loop_finish(&talk.loop);
    buf_finish(&talk.answer);
    explicit_bzero(&talk.key, sizeof(talk.key));
    return status;
}
