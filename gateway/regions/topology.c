#include "regions/topology.h"

#include "model/json.h"

#include <inttypes.h>

#include "base/banned.h"

#define DOCUMENT_DEPTH_MAX 8
#define EPOCH_MAX (INT64_C(1) << 56)

static const char *const level_names[] = {"Strong", "BoundedStaleness", "Session",
                                          "ConsistentPrefix", "Eventual"};
static const char *const mode_names[] = {"single", "multi"};
static const char *const state_names[] = {"online", "offline", "joining", "retired"};

const char *consistency_level_name(enum consistency_level level)
{
    return level_names[level];
}

bool consistency_level_find(struct slice name, enum consistency_level *level)
{
    for (unsigned i = 0; i < ARRAY_LEN(level_names); i++) {
        if (slice_equals_nocase(name, level_names[i])) {
            *level = (enum consistency_level) i;
            return true;
        }
    }
    return false;
}

const char *topology_mode_name(enum topology_mode mode)
{
    return mode_names[mode];
}

const char *topology_state_name(enum topology_region_state state)
{
    return state_names[state];
}

/* ---- questions ---- */

bool topology_name_equals(struct slice a, struct slice b)
{
    size_t i = 0, j = 0;

    for (;;) {
        while (i < a.len && a.ptr[i] == ' ')
            i++;
        while (j < b.len && b.ptr[j] == ' ')
            j++;
        if (i == a.len || j == b.len)
            return i == a.len && j == b.len;
        if (strncasecmp(&a.ptr[i++], &b.ptr[j++], 1) != 0)
            return false;
    }
}

const struct topology_region *topology_find(const struct topology *topology, unsigned ordinal)
{
    for (unsigned i = 0; i < topology->region_count; i++) {
        if (topology->regions[i].ordinal == ordinal)
            return &topology->regions[i];
    }
    return NULL;
}

const struct topology_region *topology_find_name(const struct topology *topology, struct slice name)
{
    for (unsigned i = 0; i < topology->region_count; i++) {
        if (topology_name_equals(topology->regions[i].name, name))
            return &topology->regions[i];
    }
    return NULL;
}

unsigned topology_live_count(const struct topology *topology)
{
    unsigned count = 0;

    while (count < topology->region_count && topology->regions[count].state != REGION_RETIRED)
        count++;
    return count;
}

unsigned topology_majority(const struct topology *topology)
{
    unsigned count = 0;

    for (unsigned i = 0; i < topology_live_count(topology); i++)
        count += topology->regions[i].state != REGION_JOINING ? 1 : 0;
    return count / 2 + 1;
}

bool topology_may_write(const struct topology *topology, unsigned ordinal)
{
    const struct topology_region *region = topology_find(topology, ordinal);

    return region != NULL && region->state == REGION_ONLINE &&
           (ordinal == topology->hub || topology->mode == TOPOLOGY_MULTI_WRITE);
}

bool topology_is_source(const struct topology *topology, unsigned self, unsigned ordinal)
{
    const struct topology_region *asking = topology_find(topology, self);
    const struct topology_region *asked = topology_find(topology, ordinal);

    if (asking == NULL || asking->state == REGION_RETIRED || asked == NULL || asking == asked)
        return false;
    return asked->state != REGION_RETIRED || (asked->is_lost && self == topology->hub);
}

unsigned topology_next_ordinal(const struct topology *topology)
{
    unsigned highest = 0;

    for (unsigned i = 0; i < topology->region_count; i++) {
        if (topology->regions[i].ordinal > highest)
            highest = topology->regions[i].ordinal;
    }
    return highest + 1;
}

bool topology_is_url(struct slice url)
{
    size_t scheme = slice_starts_with(url, "https://")  ? 8
                    : slice_starts_with(url, "http://") ? 7
                                                        : url.len;

    for (size_t i = scheme; i < url.len; i++) {
        if (url.ptr[i] <= ' ' || url.ptr[i] == 127 || url.ptr[i] == ',')
            return false;
    }
    return url.len > scheme && url.len <= TOPOLOGY_URL_BYTES_MAX;
}

/* ---- is it whole? ---- */

static bool check_region(const struct topology *topology, unsigned index, struct fault *fault)
{
    const struct topology_region *region = &topology->regions[index];

    if (region->ordinal < 1 || region->ordinal > TOPOLOGY_ORDINAL_MAX)
        return fault_set(fault, 400, SUB_NONE, "topology: region \"%.*s\" has no ordinal of 1…%d",
                         FAULT_QUOTE(region->name), TOPOLOGY_ORDINAL_MAX);
    for (unsigned i = 0; i < index; i++) {
        const struct topology_region *other = &topology->regions[i];
        if (other->ordinal == region->ordinal)
            return fault_set(fault, 400, SUB_NONE,
                             "topology: the ordinal %u is given to two regions", region->ordinal);
        if (region->state != REGION_RETIRED && topology_name_equals(other->name, region->name))
            return fault_set(fault, 400, SUB_NONE, "topology: two regions have the name \"%.*s\"",
                             FAULT_QUOTE(region->name));
    }
    return true;
}

bool topology_check(const struct topology *topology, struct fault *fault)
{
    const struct topology_region *hub = topology_find(topology, topology->hub);

    if (slice_is_empty(topology->account))
        return fault_set(fault, 400, SUB_NONE, "topology: it names no account");
    if (topology->epoch < TOPOLOGY_EPOCH_FIRST || topology->epoch % 256 == 0)
        return fault_set(fault, 400, SUB_NONE, "topology: %" PRId64 " is no epoch",
                         topology->epoch);
    if (topology->mode == TOPOLOGY_MULTI_WRITE && topology->level == LEVEL_STRONG)
        return fault_set(fault, 400, SUB_NONE,
                         "an account with several write regions cannot have level Strong");
    for (unsigned i = 0; i < topology->region_count; i++) {
        if (!check_region(topology, i, fault))
            return false;
    }
    if (hub == NULL || hub->state != REGION_ONLINE)
        return fault_set(fault, 400, SUB_NONE, "topology: the hub %u is no region that is online",
                         topology->hub);
    return true;
}

/* ---- reading ---- */

static bool wrong(struct fault *fault, struct slice name)
{
    return fault_set(fault, 400, SUB_NONE, "topology: %.*s is not as it should be",
                     FAULT_QUOTE(name));
}

static bool take_text(struct slice *text, size_t most, struct slice value, struct slice name,
                      struct arena *arena, struct fault *fault)
{
    struct slice decoded;

    if (json_type(value) != JSON_STRING)
        return wrong(fault, name);
    if (!json_string_decode(value, arena, &decoded, fault))
        return false;
    if (decoded.len == 0 || decoded.len > most)
        return wrong(fault, name);
    text->ptr = arena_copy(arena, decoded.ptr, decoded.len);
    text->len = decoded.len;
    return text->ptr != NULL || fault_set_oom(fault);
}

static bool take_integer(int64_t *number, int64_t min, int64_t max, struct slice value,
                         struct slice name, struct fault *fault)
{
    return json_integer(value, min, max, number) || wrong(fault, name);
}

static bool take_ordinal(unsigned *ordinal, struct slice value, struct slice name,
                         struct fault *fault)
{
    int64_t number = 0;

    if (!take_integer(&number, 1, TOPOLOGY_ORDINAL_MAX, value, name, fault))
        return false;
    *ordinal = (unsigned) number;
    return true;
}

static bool take_choice(unsigned *choice, const char *const *names, unsigned count,
                        struct slice value, struct slice name, struct fault *fault)
{
    if (json_type(value) != JSON_STRING)
        return wrong(fault, name);
    for (unsigned i = 0; i < count; i++) {
        if (json_string_equals(value, slice_from_text(names[i]))) {
            *choice = i;
            return true;
        }
    }
    return wrong(fault, name);
}

static bool take_bounded(struct topology *topology, struct slice value, struct slice outer,
                         struct fault *fault)
{
    struct json_cursor members;
    struct slice name, member;

    if (json_type(value) != JSON_OBJECT)
        return wrong(fault, outer);
    members = json_iterate(value);
    while (json_next_member(&members, &name, &member)) {
        bool is_versions = json_string_equals(name, SLICE_LITERAL("versions"));
        if (!is_versions && !json_string_equals(name, SLICE_LITERAL("seconds")))
            return wrong(fault, name);
        if (!take_integer(is_versions ? &topology->bounded_versions : &topology->bounded_s, 1,
                          INT32_MAX, member, name, fault))
            return false;
    }
    return true;
}

static bool take_region_member(struct topology_region *region, struct slice name,
                               struct slice value, struct arena *arena, struct fault *fault)
{
    unsigned choice = 0;

    if (json_string_equals(name, SLICE_LITERAL("ordinal")))
        return take_ordinal(&region->ordinal, value, name, fault);
    if (json_string_equals(name, SLICE_LITERAL("name")))
        return take_text(&region->name, TOPOLOGY_NAME_BYTES_MAX, value, name, arena, fault);
    if (json_string_equals(name, SLICE_LITERAL("url")))
        return take_text(&region->url, TOPOLOGY_URL_BYTES_MAX, value, name, arena, fault) &&
               (topology_is_url(region->url) || wrong(fault, name));
    if (json_string_equals(name, SLICE_LITERAL("lost")) && region->state == REGION_RETIRED &&
        (json_type(value) == JSON_TRUE || json_type(value) == JSON_FALSE)) {
        region->is_lost = json_type(value) == JSON_TRUE;
        return true;
    }
    if (!json_string_equals(name, SLICE_LITERAL("state")) || region->state == REGION_RETIRED ||
        !take_choice(&choice, state_names, REGION_RETIRED, value, name, fault))
        return wrong(fault, name);
    region->state = (enum topology_region_state) choice;
    return true;
}

static bool take_regions(struct topology *topology, enum topology_region_state state,
                         struct slice value, struct slice outer, struct arena *arena,
                         struct fault *fault)
{
    struct json_cursor elements, members;
    struct slice element, name, member;

    if (json_type(value) != JSON_ARRAY)
        return wrong(fault, outer);
    elements = json_iterate(value);
    while (json_next_element(&elements, &element)) {
        if (topology->region_count == TOPOLOGY_REGIONS_MAX)
            return fault_set(fault, 400, SUB_NONE, "topology: it has more than %d regions",
                             TOPOLOGY_REGIONS_MAX);
        struct topology_region *region = &topology->regions[topology->region_count++];
        *region = (struct topology_region){.state = state};
        if (json_type(element) != JSON_OBJECT)
            return wrong(fault, outer);
        members = json_iterate(element);
        while (json_next_member(&members, &name, &member)) {
            if (!take_region_member(region, name, member, arena, fault))
                return false;
        }
        if (slice_is_absent(region->name))
            return fault_set(fault, 400, SUB_NONE, "topology: region %u has no name",
                             region->ordinal);
    }
    return true;
}

/* Members but the regions, whose order is fixed by topology_parse. */
static bool take_member(struct topology *topology, struct slice name, struct slice value,
                        struct arena *arena, struct fault *fault)
{
    unsigned choice = 0;

    if (json_string_equals(name, SLICE_LITERAL("account")))
        return take_text(&topology->account, TOPOLOGY_NAME_BYTES_MAX, value, name, arena, fault);
    if (json_string_equals(name, SLICE_LITERAL("epoch")))
        return take_integer(&topology->epoch, 0, EPOCH_MAX, value, name, fault);
    if (json_string_equals(name, SLICE_LITERAL("hub")))
        return take_ordinal(&topology->hub, value, name, fault);
    if (json_string_equals(name, SLICE_LITERAL("bounded")))
        return take_bounded(topology, value, name, fault);
    if (json_string_equals(name, SLICE_LITERAL("mode"))) {
        if (!take_choice(&choice, mode_names, ARRAY_LEN(mode_names), value, name, fault))
            return false;
        topology->mode = (enum topology_mode) choice;
        return true;
    }
    if (json_string_equals(name, SLICE_LITERAL("level"))) {
        if (!take_choice(&choice, level_names, ARRAY_LEN(level_names), value, name, fault))
            return false;
        topology->level = (enum consistency_level) choice;
        return true;
    }
    /* What this program does not know may change the meaning of the rest. */
    return fault_set(fault, 400, SUB_NONE, "topology: the member %.*s is not known",
                     FAULT_QUOTE(name));
}

static bool is_list(struct slice name)
{
    return json_string_equals(name, SLICE_LITERAL("regions")) ||
           json_string_equals(name, SLICE_LITERAL("retired"));
}

bool topology_parse(struct topology *topology, struct slice document, struct arena *arena,
                    struct fault *fault)
{
    struct slice name, value, list;
    struct fault broken = {0};
    struct json_text text;

    *topology = (struct topology){.epoch = TOPOLOGY_EPOCH_FIRST,
                                  .level = LEVEL_SESSION,
                                  .bounded_versions = TOPOLOGY_BOUNDED_VERSIONS,
                                  .bounded_s = TOPOLOGY_BOUNDED_S};
    if (!json_validate(document, DOCUMENT_DEPTH_MAX, &text, &broken))
        return fault_set(fault, broken.status, SUB_NONE, "topology: %s", broken.message);
    if (json_type(text.root) != JSON_OBJECT)
        return fault_set(fault, 400, SUB_NONE, "topology: it is no JSON object");
    struct json_cursor members = json_iterate(text.root);
    while (json_next_member(&members, &name, &value)) {
        if (!is_list(name) && !take_member(topology, name, value, arena, fault))
            return false;
    }
    if (json_find(text.root, SLICE_LITERAL("regions"), &list) &&
        !take_regions(topology, REGION_ONLINE, list, SLICE_LITERAL("regions"), arena, fault))
        return false;
    if (json_find(text.root, SLICE_LITERAL("retired"), &list) &&
        !take_regions(topology, REGION_RETIRED, list, SLICE_LITERAL("retired"), arena, fault))
        return false;
    return topology_check(topology, fault);
}

/* ---- writing ---- */

static void print_region(struct buf *out, const struct topology_region *region, bool is_first)
{
    buf_printf(out, "%s{\"ordinal\":%u,\"name\":", is_first ? "" : ",", region->ordinal);
    buf_append_json_string(out, region->name);
    if (!slice_is_absent(region->url)) {
        buf_append_text(out, ",\"url\":");
        buf_append_json_string(out, region->url);
    }
    if (region->state != REGION_RETIRED)
        buf_printf(out, ",\"state\":\"%s\"", state_names[region->state]);
    if (region->is_lost)
        buf_append_text(out, ",\"lost\":true");
    buf_append_char(out, '}');
}

void topology_print(struct buf *out, const struct topology *topology)
{
    unsigned live = topology_live_count(topology);

    buf_append_text(out, "{\"account\":");
    buf_append_json_string(out, topology->account);
    buf_printf(out, ",\"epoch\":%" PRId64 ",\"mode\":\"%s\",\"hub\":%u,\"level\":\"%s\"",
               topology->epoch, mode_names[topology->mode], topology->hub,
               level_names[topology->level]);
    buf_printf(out, ",\"bounded\":{\"versions\":%" PRId64 ",\"seconds\":%" PRId64 "},\"regions\":[",
               topology->bounded_versions, topology->bounded_s);
    for (unsigned i = 0; i < live; i++)
        print_region(out, &topology->regions[i], i == 0);
    buf_append_text(out, "],\"retired\":[");
    for (unsigned i = live; i < topology->region_count; i++)
        print_region(out, &topology->regions[i], i == live);
    buf_append_text(out, "]}");
}
