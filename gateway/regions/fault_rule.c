#include "regions/fault_rule.h"

#include "model/json.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/banned.h"

enum member {
    MEMBER_KIND,
    MEMBER_ID,
    MEMBER_RELAYED,
    MEMBER_REGION,
    MEMBER_FROM,
    MEMBER_TO,
    MEMBER_ONE_WAY,
    MEMBER_CUT,
    MEMBER_DELAY,
    MEMBER_JITTER,
    MEMBER_DROP,
    MEMBER_DUPLICATE,
    MEMBER_REORDER,
    MEMBER_SEED,
    MEMBER_REQUESTS,
    MEMBER_COUNT_OF,
    MEMBER_CONTAINER,
    MEMBER_AFTER,
    MEMBER_STATUS,
    MEMBER_SUBSTATUS,
    MEMBER_RETRY,
    MEMBER_SKEW,
    MEMBERS
};

enum { OF_LINK = 1, OF_PAUSE = 2, OF_REFUSE = 4, OF_CLOCK = 8, OF_CLEAR = 16, OF_ALL = 31 };

static const struct {
    const char *name;
    unsigned kinds;
} members[MEMBERS] = {
    [MEMBER_KIND] = {"kind", OF_ALL},
    [MEMBER_ID] = {"id", OF_ALL},
    [MEMBER_RELAYED] = {"relayed", OF_ALL},
    [MEMBER_REGION] = {"region", OF_PAUSE | OF_REFUSE | OF_CLOCK},
    [MEMBER_FROM] = {"from", OF_LINK},
    [MEMBER_TO] = {"to", OF_LINK},
    [MEMBER_ONE_WAY] = {"oneWay", OF_LINK},
    [MEMBER_CUT] = {"cut", OF_LINK},
    [MEMBER_DELAY] = {"delayMs", OF_LINK},
    [MEMBER_JITTER] = {"jitterMs", OF_LINK},
    [MEMBER_DROP] = {"drop", OF_LINK},
    [MEMBER_DUPLICATE] = {"duplicate", OF_LINK},
    [MEMBER_REORDER] = {"reorder", OF_LINK},
    [MEMBER_SEED] = {"seed", OF_LINK},
    [MEMBER_REQUESTS] = {"requests", OF_REFUSE},
    [MEMBER_COUNT_OF] = {"count", OF_REFUSE},
    [MEMBER_CONTAINER] = {"container", OF_REFUSE},
    [MEMBER_AFTER] = {"after", OF_REFUSE},
    [MEMBER_STATUS] = {"status", OF_REFUSE},
    [MEMBER_SUBSTATUS] = {"substatus", OF_REFUSE},
    [MEMBER_RETRY] = {"retryAfterMs", OF_REFUSE},
    [MEMBER_SKEW] = {"skewMs", OF_CLOCK},
};

/* The last one is no rule, but takes rules away. */
static const char *const kinds[] = {
    [FAULT_LINK] = "link",
    [FAULT_PAUSE] = "pause",
    [FAULT_REFUSE] = "refuse",
    [FAULT_CLOCK] = "clock",
    "clear",
};
#define KIND_CLEAR (FAULT_CLOCK + 1)

static const struct {
    const char *name;
    enum fault_requests requests;
} request_kinds[] = {{"reads", FAULT_READS},
                     {"writes", FAULT_WRITES},
                     {"queries", FAULT_QUERIES},
                     {"metadata", FAULT_METADATA},
                     {"all", FAULT_ALL}};

/* ---- reading ---- */

struct reader {
    struct slice at[MEMBERS]; /* absent, or a value */
    struct arena *arena;
    struct fault *fault;
};

static bool refuse(struct reader *reader, enum member member, const char *why)
{
    return fault_set(reader->fault, 400, SUB_NONE, "\"%s\" %s", members[member].name, why);
}

static bool has(const struct reader *reader, enum member member)
{
    return !slice_is_absent(reader->at[member]);
}

static bool read_members(struct reader *reader, struct slice object)
{
    struct json_cursor cursor = json_iterate(object);
    struct slice name, value;

    while (json_next_member(&cursor, &name, &value)) {
        unsigned member = 0;
        while (member < MEMBERS && !json_string_equals(name, slice_from_text(members[member].name)))
            member++;
        if (member == MEMBERS)
            return fault_set(reader->fault, 400, SUB_NONE, "a fault has no member %.*s",
                             FAULT_QUOTE(name));
        if (json_type(value) != JSON_NULL)
            reader->at[member] = value;
    }
    return true;
}

static bool read_text(struct reader *reader, enum member member, struct slice *text)
{
    if (!has(reader, member))
        return true;
    if (json_type(reader->at[member]) != JSON_STRING)
        return refuse(reader, member, "must be a string");
    return json_string_decode(reader->at[member], reader->arena, text, reader->fault);
}

static bool read_bool(struct reader *reader, enum member member, bool *value)
{
    if (!has(reader, member))
        return true;
    enum json_type type = json_type(reader->at[member]);
    if (type != JSON_TRUE && type != JSON_FALSE)
        return refuse(reader, member, "must be true or false");
    *value = type == JSON_TRUE;
    return true;
}

static bool read_integer(struct reader *reader, enum member member, int64_t min, int64_t max,
                         int64_t *value)
{
    if (!has(reader, member) || json_integer(reader->at[member], min, max, value))
        return true;
    return fault_set(reader->fault, 400, SUB_NONE,
                     "\"%s\" must be an integer from %" PRId64 " to %" PRId64, members[member].name,
                     min, max);
}

static bool read_u32(struct reader *reader, enum member member, int64_t min, int64_t max,
                     uint32_t *value)
{
    int64_t read = *value;

    if (!read_integer(reader, member, min, max, &read))
        return false;
    *value = (uint32_t) read;
    return true;
}

static bool read_share(struct reader *reader, enum member member, double *value)
{
    if (!has(reader, member))
        return true;
    double read =
        json_type(reader->at[member]) == JSON_NUMBER ? json_number(reader->at[member]) : -1;
    if (!(read >= 0 && read <= 1))
        return refuse(reader, member, "must be a probability, 0 to 1");
    *value = read;
    return true;
}

/* By name, or by number where a name would be ambiguous after a failover. */
static bool read_region(struct reader *reader, enum member member, const struct topology *topology,
                        unsigned *ordinal)
{
    const struct topology_region *found;
    struct slice name;
    int64_t number;

    if (!has(reader, member))
        return true;
    if (json_type(reader->at[member]) == JSON_STRING) {
        if (!read_text(reader, member, &name))
            return false;
        found = topology_find_name(topology, name);
    } else {
        found = json_integer(reader->at[member], 1, 255, &number)
                    ? topology_find(topology, (unsigned) number)
                    : NULL;
    }
    if (found == NULL)
        return fault_set(reader->fault, 400, SUB_NONE, "\"%s\": the account has no region %.*s",
                         members[member].name, FAULT_QUOTE(reader->at[member]));
    *ordinal = found->ordinal;
    return true;
}

static bool read_link(struct reader *reader, struct fault_rule *rule,
                      const struct topology *topology)
{
    struct link_rule *link = &rule->link;
    int64_t seed = 0;

    if (!read_region(reader, MEMBER_FROM, topology, &link->from) ||
        !read_region(reader, MEMBER_TO, topology, &link->to) ||
        !read_bool(reader, MEMBER_ONE_WAY, &rule->is_one_way) ||
        !read_bool(reader, MEMBER_CUT, &link->is_cut) ||
        !read_u32(reader, MEMBER_DELAY, 0, FAULT_DELAY_MS_MAX, &link->delay_ms) ||
        !read_u32(reader, MEMBER_JITTER, 0, FAULT_DELAY_MS_MAX, &link->jitter_ms) ||
        !read_share(reader, MEMBER_DROP, &link->drop) ||
        !read_share(reader, MEMBER_DUPLICATE, &link->duplicate) ||
        !read_share(reader, MEMBER_REORDER, &link->reorder) ||
        !read_integer(reader, MEMBER_SEED, 0, INT64_C(1) << 53, &seed))
        return false;
    rule->has_seed = has(reader, MEMBER_SEED);
    link->state = (uint64_t) seed;
    if (link->from != LINK_ANY && link->from == link->to)
        return refuse(reader, MEMBER_TO, "is the region of \"from\": a link is between two");
    bool has_effect = link->is_cut || link->delay_ms > 0 || link->jitter_ms > 0 || link->drop > 0 ||
                      link->duplicate > 0 || link->reorder > 0;
    return has_effect || fault_set(reader->fault, 400, SUB_NONE,
                                   "a fault of kind link needs cut, delayMs, jitterMs, drop, "
                                   "duplicate or reorder, and not all of them 0");
}

static bool copy_name(struct reader *reader, struct slice name, char out[FAULT_NAME_BYTES])
{
    if (slice_is_empty(name) || name.len >= FAULT_NAME_BYTES)
        return refuse(reader, MEMBER_CONTAINER, "must be DATABASE/CONTAINER, by their ids");
    memcpy(out, name.ptr, name.len);
    out[name.len] = '\0';
    return true;
}

static bool read_container(struct reader *reader, struct fault_rule *rule)
{
    struct slice text = {NULL, 0}, container;

    if (!has(reader, MEMBER_CONTAINER))
        return true;
    if (!read_text(reader, MEMBER_CONTAINER, &text))
        return false;
    struct slice database = slice_cut(text, '/', &container);
    return copy_name(reader, database, rule->database) &&
           copy_name(reader, container, rule->container);
}

/* The substatus of this status that has the number. */
static bool find_substatus(struct reader *reader, struct fault_rule *rule, int64_t number)
{
    static const enum substatus all[] = {
#define ROW(name, status, number, when) name,
        SUBSTATUS_TABLE(ROW)
#undef ROW
    };

    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        if (substatus_number(all[i]) == number &&
            (number == 0 || substatus_http_status(all[i]) == rule->status)) {
            rule->substatus = all[i];
            return true;
        }
    }
    return fault_set(reader->fault, 400, SUB_NONE,
                     "\"substatus\" %" PRId64 " is none that goes with status %u", number,
                     rule->status);
}

static bool read_requests(struct reader *reader, struct fault_rule *rule)
{
    struct slice text = SLICE_LITERAL("all");

    if (!read_text(reader, MEMBER_REQUESTS, &text))
        return false;
    for (size_t i = 0; i < ARRAY_LEN(request_kinds); i++) {
        if (slice_equals_text(text, request_kinds[i].name)) {
            rule->requests = request_kinds[i].requests;
            return true;
        }
    }
    return refuse(reader, MEMBER_REQUESTS, "must be reads, writes, queries, metadata or all");
}

static bool read_refuse(struct reader *reader, struct fault_rule *rule)
{
    uint32_t status = 0;
    int64_t substatus = 0;

    rule->left = 1;
    if (!has(reader, MEMBER_STATUS))
        return refuse(reader, MEMBER_STATUS, "is missing");
    if (!read_requests(reader, rule) || !read_container(reader, rule) ||
        !read_bool(reader, MEMBER_AFTER, &rule->acts_after) ||
        !read_u32(reader, MEMBER_COUNT_OF, 1, FAULT_COUNT_MAX, &rule->left) ||
        !read_u32(reader, MEMBER_STATUS, 400, 599, &status) ||
        !read_integer(reader, MEMBER_SUBSTATUS, 0, INT32_MAX, &substatus) ||
        !read_u32(reader, MEMBER_RETRY, 0, FAULT_DELAY_MS_MAX, &rule->retry_after_ms))
        return false;
    rule->status = (uint16_t) status;
    return find_substatus(reader, rule, substatus);
}

static bool read_clock(struct reader *reader, struct fault_rule *rule)
{
    if (!has(reader, MEMBER_SKEW))
        return refuse(reader, MEMBER_SKEW, "is missing");
    return read_integer(reader, MEMBER_SKEW, -FAULT_SKEW_MS_MAX, FAULT_SKEW_MS_MAX, &rule->skew_ms);
}

bool fault_id_is_valid(struct slice text)
{
    if (text.len != FAULT_ID_BYTES - 1)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (!(text.ptr[i] >= '0' && text.ptr[i] <= '9') &&
            !(text.ptr[i] >= 'a' && text.ptr[i] <= 'f'))
            return false;
    }
    return true;
}

static bool read_id(struct reader *reader, char id[FAULT_ID_BYTES])
{
    struct slice text = {NULL, 0};

    if (!has(reader, MEMBER_ID))
        return true;
    if (!read_text(reader, MEMBER_ID, &text))
        return false;
    if (!fault_id_is_valid(text))
        return refuse(reader, MEMBER_ID, "must be 16 hexadecimal digits");
    memcpy(id, text.ptr, text.len);
    id[text.len] = '\0';
    return true;
}

static bool read_kind(struct reader *reader, unsigned *kind)
{
    struct slice text = {NULL, 0};

    if (!read_text(reader, MEMBER_KIND, &text))
        return false;
    for (*kind = 0; *kind < ARRAY_LEN(kinds); (*kind)++) {
        if (slice_equals_text(text, kinds[*kind]))
            break;
    }
    if (*kind == ARRAY_LEN(kinds))
        return refuse(reader, MEMBER_KIND, "must be link, pause, refuse, clock or clear");
    for (unsigned member = 0; member < MEMBERS; member++) {
        if (has(reader, (enum member) member) && (members[member].kinds & 1u << *kind) == 0)
            return fault_set(reader->fault, 400, SUB_NONE,
                             "a fault of kind %s has no member \"%s\"", kinds[*kind],
                             members[member].name);
    }
    return true;
}

bool fault_order_parse(struct fault_order *order, struct slice body,
                       const struct topology *topology, unsigned self, struct arena *arena,
                       struct fault *fault)
{
    struct reader reader = {.arena = arena, .fault = fault};
    struct fault_rule *rule = &order->rule;
    struct json_text text;
    unsigned kind;

    *order = (struct fault_order){.rule = {.region = self}};
    if (!json_validate(body, JSON_DEPTH_MAX, &text, fault))
        return false;
    if (json_type(text.root) != JSON_OBJECT)
        return fault_set(fault, 400, SUB_NONE, "the body must be a JSON object");
    if (!read_members(&reader, text.root) || !read_kind(&reader, &kind) ||
        !read_id(&reader, rule->id) || !read_bool(&reader, MEMBER_RELAYED, &order->is_relayed) ||
        !read_region(&reader, MEMBER_REGION, topology, &rule->region))
        return false;
    if (kind == KIND_CLEAR) {
        order->is_clear = true;
        return true;
    }
    rule->kind = (enum fault_kind) kind;
    switch (rule->kind) {
    case FAULT_LINK:
        return read_link(&reader, rule, topology);
    case FAULT_REFUSE:
        return read_refuse(&reader, rule);
    case FAULT_CLOCK:
        return read_clock(&reader, rule);
    case FAULT_PAUSE:
        break;
    }
    return true;
}

/* ---- printing ---- */

static void put_name(struct buf *out, enum member member)
{
    buf_printf(out, ",\"%s\":", members[member].name);
}

static void put_number(struct buf *out, enum member member, int64_t value)
{
    put_name(out, member);
    buf_append_i64(out, value);
}

static void put_share(struct buf *out, enum member member, double value)
{
    char text[JSON_NUMBER_BYTES];

    if (value == 0)
        return;
    json_print_double(value, text);
    put_name(out, member);
    buf_append_text(out, text);
}

static void put_region(struct buf *out, enum member member, const struct topology *topology,
                       unsigned ordinal)
{
    const struct topology_region *region = topology_find(topology, ordinal);

    if (ordinal == LINK_ANY)
        return;
    put_name(out, member);
    if (region != NULL)
        buf_append_json_string(out, region->name);
    else
        buf_append_i64(out, ordinal); /* it left the account */
}

static void put_link(struct buf *out, const struct fault_rule *rule,
                     const struct topology *topology)
{
    const struct link_rule *link = &rule->link;

    put_region(out, MEMBER_FROM, topology, link->from);
    put_region(out, MEMBER_TO, topology, link->to);
    put_name(out, MEMBER_ONE_WAY);
    buf_append_text(out, rule->is_one_way ? "true" : "false");
    if (link->is_cut)
        buf_append_text(out, ",\"cut\":true");
    if (link->delay_ms > 0)
        put_number(out, MEMBER_DELAY, link->delay_ms);
    if (link->jitter_ms > 0)
        put_number(out, MEMBER_JITTER, link->jitter_ms);
    put_share(out, MEMBER_DROP, link->drop);
    put_share(out, MEMBER_DUPLICATE, link->duplicate);
    put_share(out, MEMBER_REORDER, link->reorder);
}

static void put_refuse(struct buf *out, const struct fault_rule *rule)
{
    for (size_t i = 0; i < ARRAY_LEN(request_kinds); i++) {
        if (request_kinds[i].requests == rule->requests)
            buf_printf(out, ",\"requests\":\"%s\"", request_kinds[i].name);
    }
    if (rule->container[0] != '\0') {
        struct buf name = {0};
        buf_printf(&name, "%s/%s", rule->database, rule->container);
        put_name(out, MEMBER_CONTAINER);
        buf_append_json_string(out, buf_slice(&name));
        out->has_failed = out->has_failed || name.has_failed;
        buf_finish(&name);
    }
    put_number(out, MEMBER_COUNT_OF, rule->left);
    put_number(out, MEMBER_STATUS, rule->status);
    if (rule->substatus != SUB_NONE)
        put_number(out, MEMBER_SUBSTATUS, substatus_number(rule->substatus));
    if (rule->retry_after_ms > 0)
        put_number(out, MEMBER_RETRY, rule->retry_after_ms);
    if (rule->acts_after)
        buf_append_text(out, ",\"after\":true");
}

/* Without the closing brace. */
static void put_rule(struct buf *out, const struct fault_rule *rule,
                     const struct topology *topology)
{
    buf_printf(out, "{\"id\":\"%s\",\"kind\":\"%s\"", rule->id, kinds[rule->kind]);
    if (rule->kind != FAULT_LINK)
        put_region(out, MEMBER_REGION, topology, rule->region);
    if (rule->kind == FAULT_LINK)
        put_link(out, rule, topology);
    else if (rule->kind == FAULT_REFUSE)
        put_refuse(out, rule);
    else if (rule->kind == FAULT_CLOCK)
        put_number(out, MEMBER_SKEW, rule->skew_ms);
}

void fault_rule_print(struct buf *out, const struct fault_rule *rule,
                      const struct topology *topology)
{
    put_rule(out, rule, topology);
    buf_append_char(out, '}');
}

void fault_order_print(struct buf *out, const struct fault_order *order,
                       const struct topology *topology)
{
    if (!order->is_clear)
        put_rule(out, &order->rule, topology);
    else if (order->rule.id[0] != '\0')
        buf_printf(out, "{\"kind\":\"clear\",\"id\":\"%s\"", order->rule.id);
    else
        buf_append_text(out, "{\"kind\":\"clear\"");
    if (!order->is_clear && order->rule.kind == FAULT_LINK && order->rule.has_seed)
        put_number(out, MEMBER_SEED, (int64_t) order->rule.link.state);
    buf_append_text(out, ",\"relayed\":true}");
}
