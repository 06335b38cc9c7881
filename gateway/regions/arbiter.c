#include "regions/arbiter.h"

#include "base/crypto.h"
#include "model/complaint.h"
#include "model/json.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/banned.h"

#define ANSWER_DEPTH_MAX 16
#define VALUE_DEPTH_MAX 8
#define TTL_S_MAX 86400

/* ---- times ---- */

int64_t arbiter_margin_ms(const struct arbiter_rules *rules, int64_t granted_s)
{
    int64_t ttl_s = granted_s < rules->ttl_s ? granted_s : rules->ttl_s;

    return ttl_s * (1000 - (int64_t) rules->lease.drift_permille) - ARBITER_SPARE_MS;
}

int64_t arbiter_seized_ms(const struct arbiter_rules *rules, int64_t their_ttl_s)
{
    int64_t ttl_s = their_ttl_s > rules->ttl_s ? their_ttl_s : rules->ttl_s;

    return ttl_s * (1000 + (int64_t) rules->lease.drift_permille);
}

int64_t arbiter_look_ms(const struct arbiter_rules *rules)
{
    return rules->ttl_s * 1000 / 6;
}

int64_t arbiter_stagger_ms(const struct arbiter_rules *rules)
{
    return rules->ttl_s * 1000 / 3;
}

/* ---- what is asked ---- */

static void append_base64(struct buf *out, const char *bytes, size_t len)
{
    size_t more = BASE64_LEN(len);

    buf_append_char(out, '"');
    if (buf_reserve(out, more)) {
        base64_encode(bytes, len, out->ptr + out->len);
        out->len += more;
    }
    buf_append_char(out, '"');
}

/* "name":"base64 of /orrery/ACCOUNT and what follows" */
static void append_key(struct buf *out, const char *name, struct slice account, const char *rest)
{
    struct buf key = {0};

    buf_printf(&key, "/orrery/%.*s%s", (int) account.len, account.ptr, rest);
    buf_printf(out, "\"%s\":", name);
    append_base64(out, key.ptr, key.len);
    out->has_failed |= key.has_failed;
    buf_finish(&key);
}

/* All keys of the account: '0' follows '/', so that no other account's name lies between. */
void arbiter_print_look(struct buf *out, struct slice account)
{
    buf_append_char(out, '{');
    append_key(out, "key", account, "/");
    buf_append_char(out, ',');
    append_key(out, "range_end", account, "0");
    buf_append_char(out, '}');
}

void arbiter_print_grant(struct buf *out, int64_t ttl_s)
{
    buf_printf(out, "{\"TTL\":\"%" PRId64 "\"}", ttl_s);
}

void arbiter_print_lease(struct buf *out, int64_t lease)
{
    buf_printf(out, "{\"ID\":\"%" PRId64 "\"}", lease);
}

void arbiter_print_login(struct buf *out, const char *user, const char *password)
{
    buf_append_text(out, "{\"name\":");
    buf_append_json_string(out, slice_from_text(user));
    buf_append_text(out, ",\"password\":");
    buf_append_json_string(out, slice_from_text(password));
    buf_append_char(out, '}');
}

static void append_condition(struct buf *out, struct slice account, const char *rest,
                             int64_t revision)
{
    buf_append_text(out, "{\"target\":\"MOD\",\"result\":\"EQUAL\",");
    append_key(out, "key", account, rest);
    buf_printf(out, ",\"mod_revision\":\"%" PRId64 "\"}", revision);
}

/* A key that is not there has revision 0. */
static void append_conditions(struct buf *out, struct slice account,
                              const struct arbiter_view *view)
{
    buf_append_text(out, "{\"compare\":[");
    append_condition(out, account, "/hub", view->is_held ? view->revision : 0);
    buf_append_char(out, ',');
    append_condition(out, account, "/topology", view->topology_revision);
    buf_append_text(out, "],\"success\":[");
}

static void append_put(struct buf *out, struct slice account, const char *rest,
                       const struct buf *value, int64_t lease)
{
    buf_append_text(out, "{\"request_put\":{");
    append_key(out, "key", account, rest);
    buf_append_text(out, ",\"value\":");
    append_base64(out, value->ptr, value->len);
    if (lease != 0)
        buf_printf(out, ",\"lease\":\"%" PRId64 "\"", lease);
    buf_append_text(out, "}}");
    out->has_failed |= value->has_failed;
}

static void append_topology(struct buf *out, const struct topology *topology)
{
    struct buf document = {0};

    topology_print(&document, topology);
    append_put(out, topology->account, "/topology", &document, 0);
    buf_finish(&document);
}

void arbiter_print_claim(struct buf *out, const struct topology *topology, unsigned self,
                         const struct arbiter_view *view, int64_t ttl_s, int64_t lease)
{
    const struct topology_region *region = topology_find(topology, self);
    struct buf value = {0};

    buf_printf(&value, "{\"ordinal\":%u,\"region\":", self);
    buf_append_json_string(&value, region != NULL ? region->name : SLICE_LITERAL(""));
    buf_printf(&value, ",\"vacant\":%s,\"ttl\":%" PRId64 "}", view->is_held ? "false" : "true",
               ttl_s);
    append_conditions(out, topology->account, view);
    append_put(out, topology->account, "/hub", &value, lease);
    buf_append_char(out, ',');
    append_topology(out, topology);
    buf_append_text(out, "]}");
    buf_finish(&value);
}

void arbiter_print_note(struct buf *out, const struct topology *topology,
                        const struct arbiter_view *view)
{
    append_conditions(out, topology->account, view);
    append_topology(out, topology);
    buf_append_text(out, "]}");
}

/* ---- what is answered ---- */

static bool malformed(struct fault *fault)
{
    return fault_set(fault, 502, SUB_NONE, "this is not what etcd answers");
}

static bool read_answer(struct slice *root, struct slice answer, struct fault *fault)
{
    struct json_text text;
    struct slice error;
    struct fault ignored = {0};
    char complaint[COMPLAINT_BYTES];

    if (!json_validate(answer, ANSWER_DEPTH_MAX, &text, &ignored) ||
        json_type(text.root) != JSON_OBJECT)
        return malformed(fault);
    *root = text.root;
    if (json_find(text.root, SLICE_LITERAL("error"), &error)) {
        (void) complaint_read(answer, complaint, sizeof(complaint));
        return fault_set(fault, 502, SUB_NONE, "etcd answers \"%s\"", complaint);
    }
    return true;
}

/* Numbers of 64 bits are strings; 0 is left out. */
static bool read_number(struct slice object, const char *name, int64_t *number)
{
    struct slice value;
    long long found;

    *number = 0;
    if (!json_find(object, slice_from_text(name), &value))
        return true;
    if (json_type(value) == JSON_NUMBER)
        return json_integer(value, INT64_MIN, INT64_MAX, number);
    if (json_type(value) != JSON_STRING || value.len < 2 ||
        !slice_to_i64(slice_make(value.ptr + 1, value.len - 2), INT64_MIN, INT64_MAX, &found))
        return false;
    *number = found;
    return true;
}

static bool read_bytes(struct slice object, const char *name, struct arena *arena,
                       struct slice *bytes, struct fault *fault)
{
    struct slice value, text;

    *bytes = SLICE_LITERAL("");
    if (!json_find(object, slice_from_text(name), &value))
        return true;
    if (json_type(value) != JSON_STRING)
        return malformed(fault);
    if (!json_string_decode(value, arena, &text, fault))
        return false;
    char *decoded = arena_alloc(arena, text.len + 1);
    if (decoded == NULL)
        return fault_set_oom(fault);
    bytes->ptr = decoded;
    return base64_decode(text, decoded, text.len + 1, &bytes->len) || malformed(fault);
}

/* What somebody else put there is held by nobody we know. */
static void take_claim(struct arbiter_view *view, struct slice value)
{
    struct json_text text;
    struct fault ignored = {0};
    struct slice vacant;
    int64_t ordinal = 0;

    if (view->lease == 0 || !json_validate(value, VALUE_DEPTH_MAX, &text, &ignored) ||
        json_type(text.root) != JSON_OBJECT || !read_number(text.root, "ordinal", &ordinal) ||
        ordinal < 1 || ordinal > TOPOLOGY_ORDINAL_MAX)
        return;
    view->holder = (unsigned) ordinal;
    view->was_vacant =
        json_find(text.root, SLICE_LITERAL("vacant"), &vacant) && json_type(vacant) == JSON_TRUE;
    if (!read_number(text.root, "ttl", &view->ttl_s) || view->ttl_s < 0 || view->ttl_s > TTL_S_MAX)
        view->ttl_s = TTL_S_MAX;
}

/* An epoch that cannot be read is later than any: nobody claims over what he does not understand.
 */
static void take_topology(struct arbiter_view *view, struct slice value)
{
    struct json_text text;
    struct fault ignored = {0};

    if (!json_validate(value, ANSWER_DEPTH_MAX, &text, &ignored) ||
        json_type(text.root) != JSON_OBJECT || !read_number(text.root, "epoch", &view->epoch) ||
        view->epoch < 1)
        view->epoch = INT64_MAX;
}

static bool take_pair(struct arbiter_view *view, struct slice pair, struct slice account,
                      struct arena *arena, struct fault *fault)
{
    struct slice key, value;
    int64_t revision, lease;

    if (json_type(pair) != JSON_OBJECT || !read_number(pair, "mod_revision", &revision) ||
        !read_number(pair, "lease", &lease))
        return malformed(fault);
    if (!read_bytes(pair, "key", arena, &key, fault) ||
        !read_bytes(pair, "value", arena, &value, fault))
        return false;
    size_t before = sizeof("/orrery/") - 1 + account.len;
    if (key.len < before)
        return malformed(fault);
    struct slice rest = slice_make(key.ptr + before, key.len - before);
    if (slice_equals_text(rest, "/hub")) {
        view->is_held = true;
        view->revision = revision;
        view->lease = lease;
        take_claim(view, value);
    } else if (slice_equals_text(rest, "/topology")) {
        view->topology_revision = revision;
        take_topology(view, value);
    }
    return true;
}

bool arbiter_read_look(struct arbiter_view *view, struct slice answer, struct slice account,
                       struct arena *arena, struct fault *fault)
{
    struct slice root, header, pairs, pair;

    *view = (struct arbiter_view){0};
    if (!read_answer(&root, answer, fault))
        return false;
    if (!json_find(root, SLICE_LITERAL("header"), &header))
        return malformed(fault);
    if (!json_find(root, SLICE_LITERAL("kvs"), &pairs))
        return true; /* none */
    if (json_type(pairs) != JSON_ARRAY)
        return malformed(fault);
    struct json_cursor cursor = json_iterate(pairs);
    while (json_next_element(&cursor, &pair)) {
        if (!take_pair(view, pair, account, arena, fault))
            return false;
    }
    return true;
}

bool arbiter_read_grant(struct slice answer, int64_t *lease, int64_t *granted_s,
                        struct fault *fault)
{
    struct slice root;

    if (!read_answer(&root, answer, fault))
        return false;
    return (read_number(root, "ID", lease) && read_number(root, "TTL", granted_s) && *lease != 0 &&
            *granted_s > 0 && *granted_s <= TTL_S_MAX) ||
           malformed(fault);
}

bool arbiter_read_keepalive(struct slice answer, int64_t *granted_s, struct fault *fault)
{
    struct slice root, result;

    if (!read_answer(&root, answer, fault))
        return false;
    return (json_find(root, SLICE_LITERAL("result"), &result) &&
            read_number(result, "TTL", granted_s) && *granted_s >= 0 && *granted_s <= TTL_S_MAX) ||
           malformed(fault);
}

bool arbiter_read_transaction(struct slice answer, bool *is_done, struct fault *fault)
{
    struct slice root, header, succeeded;

    if (!read_answer(&root, answer, fault))
        return false;
    *is_done = json_find(root, SLICE_LITERAL("succeeded"), &succeeded) &&
               json_type(succeeded) == JSON_TRUE;
    return json_find(root, SLICE_LITERAL("header"), &header) || malformed(fault);
}

bool arbiter_read_login(struct slice answer, char token[ARBITER_TOKEN_BYTES], struct fault *fault)
{
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_=";
    struct slice root, value;

    if (!read_answer(&root, answer, fault))
        return false;
    if (!json_find(root, SLICE_LITERAL("token"), &value) || json_type(value) != JSON_STRING ||
        value.len <= 2 || value.len - 2 >= ARBITER_TOKEN_BYTES)
        return malformed(fault);
    snprintf(token, ARBITER_TOKEN_BYTES, "%.*s", (int) value.len - 2, value.ptr + 1);
    return strspn(token, letters) == value.len - 2 || malformed(fault);
}

/* ---- what is to be done ---- */

/* How many regions come before this one, when another hub is needed. */
static unsigned rank_of(const struct topology *topology, unsigned self)
{
    unsigned rank = 0;

    for (unsigned i = 0; i < topology->region_count && topology->regions[i].ordinal != self; i++)
        rank += topology->regions[i].state == REGION_ONLINE &&
                topology->regions[i].ordinal != topology->hub;
    return rank;
}

/* The hub, if it is well, has had a look before anybody else; and who comes later has seen those
 * before him do nothing. */
static bool is_due(const struct topology *topology, unsigned self,
                   const struct arbiter_state *state, const struct arbiter_rules *rules,
                   int64_t now_ms)
{
    int64_t since_ms = state->vacant_since_ms, awake_ms = state->started_ms + rules->ttl_s * 1000;

    if (since_ms == 0)
        return false;
    if (awake_ms > since_ms)
        since_ms = awake_ms; /* all regions may start at the same time */
    return now_ms >= state->not_before_ms &&
           now_ms >= since_ms + arbiter_look_ms(rules) +
                         (int64_t) rank_of(topology, self) * arbiter_stagger_ms(rules);
}

static enum arbiter_step next_of_holder(const struct topology *topology, unsigned self,
                                        const struct arbiter_view *view,
                                        const struct arbiter_state *state, int64_t now_ms)
{
    if (topology->hub == self)
        return view->epoch < topology->epoch ? ARBITER_NOTE : ARBITER_KEEP;
    return state->is_wanted || now_ms < state->not_before_ms ? ARBITER_KEEP : ARBITER_GO_ON;
}

enum arbiter_step arbiter_next(const struct topology *topology, unsigned self,
                               const struct arbiter_view *view, const struct arbiter_state *state,
                               const struct arbiter_rules *rules, int64_t now_ms)
{
    const struct topology_region *region = topology_find(topology, self);

    if (region == NULL || region->state != REGION_ONLINE)
        return ARBITER_WAIT;
    if (view->is_held && view->holder == self)
        return next_of_holder(topology, self, view, state, now_ms);
    if (view->epoch > topology->epoch)
        return ARBITER_WAIT; /* there is something to be learnt first */
    /* A hub takes it from nobody: who has it has become the hub, or is about to. */
    if (view->is_held)
        return state->is_wanted && topology->hub != self ? ARBITER_MOVE : ARBITER_WAIT;
    if (topology->hub == self || state->is_wanted)
        return ARBITER_CLAIM;
    /* Where no hub ever was, the first one is not missing. */
    if (view->topology_revision == 0 || !is_due(topology, self, state, rules, now_ms))
        return ARBITER_WAIT;
    return ARBITER_TAKE_OVER;
}
