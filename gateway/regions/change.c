#include "regions/change.h"

#include "model/json.h"

#include <inttypes.h>

#include "base/banned.h"

#define WISH_DEPTH_MAX 4

static const char *const kind_names[CHANGE_KINDS] = {
    [CHANGE_FAILOVER] = "failover", [CHANGE_OFFLINE] = "offline",   [CHANGE_ONLINE] = "online",
    [CHANGE_ADD] = "add",           [CHANGE_ANNOUNCE] = "announce", [CHANGE_REMOVE] = "remove",
    [CHANGE_REJOIN] = "rejoin",     [CHANGE_LEVEL] = "level",       [CHANGE_MODE] = "mode",
    [CHANGE_PRIORITY] = "priority",
};

const char *change_name(enum change_kind kind)
{
    return kind_names[kind];
}

/* ---- reading and writing ---- */

static bool wrong(struct fault *fault, struct slice name)
{
    return fault_set(fault, 400, SUB_NONE, "change of the topology: %.*s is not as it should be",
                     FAULT_QUOTE(name));
}

static bool take_text(struct slice *text, struct slice value, struct slice name,
                      struct arena *arena, struct fault *fault)
{
    struct slice decoded;

    if (json_type(value) != JSON_STRING)
        return wrong(fault, name);
    if (!json_string_decode(value, arena, &decoded, fault))
        return false;
    text->ptr = arena_copy(arena, decoded.ptr, decoded.len);
    text->len = decoded.len;
    return text->ptr != NULL || fault_set_oom(fault);
}

static bool take_switch(bool *is_on, struct slice value, struct slice name, struct fault *fault)
{
    *is_on = json_type(value) == JSON_TRUE;
    return *is_on || json_type(value) == JSON_FALSE || wrong(fault, name);
}

static bool take_kind(struct change *change, struct slice value, struct slice name,
                      struct fault *fault)
{
    if (json_type(value) != JSON_STRING)
        return wrong(fault, name);
    for (unsigned i = 0; i < CHANGE_KINDS; i++) {
        if (json_string_equals(value, slice_from_text(kind_names[i]))) {
            change->kind = (enum change_kind) i;
            return true;
        }
    }
    return fault_set(fault, 400, SUB_NONE, "there is no change %.*s", FAULT_QUOTE(value));
}

static bool take_level(struct change *change, struct slice value, struct slice name,
                       struct arena *arena, struct fault *fault)
{
    struct slice text;

    if (!take_text(&text, value, name, arena, fault))
        return false;
    return consistency_level_find(text, &change->level) ||
           fault_set(fault, 400, SUB_NONE, "there is no consistency level \"%.*s\"",
                     FAULT_QUOTE(text));
}

static bool take_mode(struct change *change, struct slice value, struct fault *fault)
{
    if (json_type(value) == JSON_STRING && json_string_equals(value, SLICE_LITERAL("single")))
        change->mode = TOPOLOGY_SINGLE_WRITE;
    else if (json_type(value) == JSON_STRING && json_string_equals(value, SLICE_LITERAL("multi")))
        change->mode = TOPOLOGY_MULTI_WRITE;
    else
        return fault_set(fault, 400, SUB_NONE, "a mode is single or multi, not %.*s",
                         FAULT_QUOTE(value));
    return true;
}

static bool take_names(struct change *change, struct slice value, struct slice name,
                       struct arena *arena, struct fault *fault)
{
    struct json_cursor elements;
    struct slice element;

    if (json_type(value) != JSON_ARRAY)
        return wrong(fault, name);
    elements = json_iterate(value);
    while (json_next_element(&elements, &element)) {
        if (change->name_count == TOPOLOGY_REGIONS_MAX)
            return wrong(fault, name);
        if (!take_text(&change->names[change->name_count++], element, name, arena, fault))
            return false;
    }
    return true;
}

static bool take_member(struct change *change, struct slice name, struct slice value,
                        struct arena *arena, struct fault *fault)
{
    if (json_string_equals(name, SLICE_LITERAL("kind")))
        return take_kind(change, value, name, fault);
    if (json_string_equals(name, SLICE_LITERAL("region")))
        return take_text(&change->region, value, name, arena, fault);
    if (json_string_equals(name, SLICE_LITERAL("url")))
        return take_text(&change->url, value, name, arena, fault) &&
               (topology_is_url(change->url) || wrong(fault, name));
    if (json_string_equals(name, SLICE_LITERAL("force")))
        return take_switch(&change->is_forced, value, name, fault);
    if (json_string_equals(name, SLICE_LITERAL("acceptLoss")))
        return take_switch(&change->accepts_loss, value, name, fault);
    if (json_string_equals(name, SLICE_LITERAL("forwarded")))
        return take_switch(&change->is_forwarded, value, name, fault);
    if (json_string_equals(name, SLICE_LITERAL("level")))
        return take_level(change, value, name, arena, fault);
    if (json_string_equals(name, SLICE_LITERAL("mode")))
        return take_mode(change, value, fault);
    if (json_string_equals(name, SLICE_LITERAL("regions")))
        return take_names(change, value, name, arena, fault);
    if (json_string_equals(name, SLICE_LITERAL("versions")))
        return json_integer(value, 1, INT32_MAX, &change->bounded_versions) || wrong(fault, name);
    if (json_string_equals(name, SLICE_LITERAL("seconds")))
        return json_integer(value, 1, INT32_MAX, &change->bounded_s) || wrong(fault, name);
    return fault_set(fault, 400, SUB_NONE, "change of the topology: the member %.*s is not known",
                     FAULT_QUOTE(name));
}

bool change_parse(struct change *change, struct slice text, struct arena *arena,
                  struct fault *fault)
{
    struct slice name, value;
    struct json_text json;

    *change = (struct change){.kind = CHANGE_KINDS, .level = LEVEL_SESSION};
    if (!json_validate(text, WISH_DEPTH_MAX, &json, fault))
        return false;
    if (json_type(json.root) != JSON_OBJECT)
        return fault_set(fault, 400, SUB_NONE, "a change of the topology is a JSON object");
    struct json_cursor members = json_iterate(json.root);
    while (json_next_member(&members, &name, &value)) {
        if (!take_member(change, name, value, arena, fault))
            return false;
    }
    return change->kind < CHANGE_KINDS ||
           fault_set(fault, 400, SUB_NONE, "a change of the topology says its kind");
}

static void print_numbers(struct buf *out, const struct change *change)
{
    if (change->kind == CHANGE_LEVEL)
        buf_printf(out, ",\"level\":\"%s\"", consistency_level_name(change->level));
    if (change->bounded_versions > 0)
        buf_printf(out, ",\"versions\":%" PRId64, change->bounded_versions);
    if (change->bounded_s > 0)
        buf_printf(out, ",\"seconds\":%" PRId64, change->bounded_s);
    if (change->kind == CHANGE_MODE)
        buf_printf(out, ",\"mode\":\"%s\"", topology_mode_name(change->mode));
}

void change_print(struct buf *out, const struct change *change)
{
    buf_printf(out, "{\"kind\":\"%s\"", kind_names[change->kind]);
    if (!slice_is_absent(change->region)) {
        buf_append_text(out, ",\"region\":");
        buf_append_json_string(out, change->region);
    }
    if (!slice_is_absent(change->url)) {
        buf_append_text(out, ",\"url\":");
        buf_append_json_string(out, change->url);
    }
    if (change->is_forced)
        buf_append_text(out, ",\"force\":true");
    if (change->accepts_loss)
        buf_append_text(out, ",\"acceptLoss\":true");
    if (change->is_forwarded)
        buf_append_text(out, ",\"forwarded\":true");
    print_numbers(out, change);
    for (unsigned i = 0; i < change->name_count; i++) {
        buf_append_text(out, i == 0 ? ",\"regions\":[" : ",");
        buf_append_json_string(out, change->names[i]);
    }
    buf_append_text(out, change->name_count > 0 ? "]}" : "}");
}

/* ---- what it makes of a topology ---- */

static bool is_reached_at(const bool *is_reached, unsigned index)
{
    return is_reached == NULL || is_reached[index];
}

static unsigned index_of(const struct topology *topology, const struct topology_region *region)
{
    return (unsigned) (region - topology->regions);
}

/* Move a region from the live ones to the end of the retired. */
static void retire(struct topology *topology, unsigned index, bool is_lost)
{
    struct topology_region region = topology->regions[index];

    for (unsigned i = index; i + 1 < topology->region_count; i++)
        topology->regions[i] = topology->regions[i + 1];
    region.state = REGION_RETIRED;
    region.is_lost = is_lost;
    topology->regions[topology->region_count - 1] = region;
}

static const struct topology_region *named(const struct topology *topology, struct slice name,
                                           struct fault *fault)
{
    const struct topology_region *region = topology_find_name(topology, name);

    if (!slice_is_absent(name) && region != NULL && region->state != REGION_RETIRED)
        return region;
    (void) fault_set(fault, 404, SUB_NONE, "the account has no region \"%.*s\"", FAULT_QUOTE(name));
    return NULL;
}

/* Who would be the hub: the one that is named, else the first that can. */
static const struct topology_region *successor(const struct topology *topology,
                                               const struct change *change, const bool *is_reached,
                                               struct fault *fault)
{
    if (!slice_is_absent(change->region))
        return named(topology, change->region, fault);
    for (unsigned i = 0; i < topology_live_count(topology); i++) {
        const struct topology_region *region = &topology->regions[i];
        if (region->ordinal != topology->hub && region->state == REGION_ONLINE &&
            is_reached_at(is_reached, i))
            return region;
    }
    (void) fault_set(fault, 409, SUB_NONE, "no other region can be the hub");
    return NULL;
}

/* Regions that are not reached are given up with the old hub. */
static void give_up(struct change_plan *plan, const struct topology *topology,
                    const bool *is_reached)
{
    for (unsigned i = topology_live_count(topology); i > 0; i--) {
        if (!is_reached_at(is_reached, i - 1) && topology->regions[i - 1].ordinal != plan->runner)
            retire(&plan->next, i - 1, true);
    }
}

static bool plan_failover(struct change_plan *plan, const struct topology *topology,
                          const struct change *change, const bool *is_reached, struct fault *fault)
{
    const struct topology_region *to = successor(topology, change, is_reached, fault);
    const struct topology_region *hub = topology_find(topology, topology->hub);

    if (to == NULL)
        return false;
    if (to == hub)
        return fault_set(fault, 409, SUB_NONE, "region \"%.*s\" is the hub already",
                         FAULT_QUOTE(to->name));
    if (to->state != REGION_ONLINE)
        return fault_set(fault, 409, SUB_NONE, "region \"%.*s\" is %s and cannot be the hub",
                         FAULT_QUOTE(to->name), topology_state_name(to->state));
    plan->next.hub = plan->runner = to->ordinal;
    if (change->accepts_loss && !change->is_forced)
        return fault_set(fault, 400, SUB_NONE, "loss is accepted by a forced failover only");
    if (!change->is_forced) {
        plan->fence[plan->fence_count++] = hub->ordinal;
        return is_reached_at(is_reached, index_of(topology, hub)) ||
               fault_set(fault, 503, SUB_NONE,
                         "the hub \"%.*s\" does not answer; a forced failover does without it",
                         FAULT_QUOTE(hub->name));
    }
    /* Reached or not: it did not answer the operator's wishes, and is to come back as another. */
    if (change->accepts_loss)
        give_up(plan, topology, is_reached);
    for (unsigned i = 0; i < topology_live_count(&plan->next); i++) {
        if (plan->next.regions[i].ordinal == hub->ordinal)
            retire(&plan->next, i, true);
    }
    return true;
}

static bool plan_state(struct change_plan *plan, const struct topology *topology,
                       const struct change *change, enum topology_region_state from,
                       enum topology_region_state to, struct fault *fault)
{
    const struct topology_region *region = named(topology, change->region, fault);

    if (region == NULL)
        return false;
    if (region->ordinal == topology->hub)
        return fault_set(fault, 409, SUB_NONE, "region \"%.*s\" is the hub; fail over first",
                         FAULT_QUOTE(region->name));
    if (region->state != from)
        return fault_set(fault, 409, SUB_NONE, "region \"%.*s\" is %s, not %s",
                         FAULT_QUOTE(region->name), topology_state_name(region->state),
                         topology_state_name(from));
    plan->next.regions[index_of(topology, region)].state = to;
    return true;
}

static bool plan_add(struct change_plan *plan, const struct topology *topology,
                     const struct change *change, struct fault *fault)
{
    unsigned live = topology_live_count(topology), ordinal = topology_next_ordinal(topology);
    const struct topology_region *found = topology_find_name(topology, change->region);
    struct topology *next = &plan->next;

    if (change->region.len == 0 || change->region.len > TOPOLOGY_NAME_BYTES_MAX)
        return fault_set(fault, 400, SUB_NONE, "a region that comes has a name");
    if (found != NULL && found->state != REGION_RETIRED)
        return fault_set(fault, 409, SUB_NONE, "the account has a region \"%.*s\" already",
                         FAULT_QUOTE(found->name));
    if (next->region_count == TOPOLOGY_REGIONS_MAX || ordinal > TOPOLOGY_ORDINAL_MAX)
        return fault_set(fault, 409, SUB_NONE, "the account has had as many regions as it can");
    for (unsigned i = next->region_count; i > live; i--)
        next->regions[i] = next->regions[i - 1];
    next->regions[live] = (struct topology_region){
        .ordinal = ordinal, .name = change->region, .url = change->url, .state = REGION_JOINING};
    next->region_count++;
    return true;
}

static bool plan_remove(struct change_plan *plan, const struct topology *topology,
                        const struct change *change, const bool *is_reached, struct fault *fault)
{
    const struct topology_region *region = named(topology, change->region, fault);

    if (region == NULL)
        return false;
    if (region->ordinal == topology->hub)
        return fault_set(fault, 409, SUB_NONE, "region \"%.*s\" is the hub; fail over first",
                         FAULT_QUOTE(region->name));
    /* What it wrote must be had by the others before it goes. */
    bool is_writer = topology_may_write(topology, region->ordinal);
    bool is_lost = change->is_forced || region->state == REGION_OFFLINE;
    if (is_writer && !is_lost) {
        if (!is_reached_at(is_reached, index_of(topology, region)))
            return fault_set(fault, 503, SUB_NONE,
                             "region \"%.*s\" takes writes and does not answer; --force gives up "
                             "what it has not shipped",
                             FAULT_QUOTE(region->name));
        plan->fence[plan->fence_count++] = region->ordinal;
    }
    retire(&plan->next, index_of(topology, region),
           is_lost && topology->mode == TOPOLOGY_MULTI_WRITE);
    return true;
}

static bool plan_level(struct change_plan *plan, const struct topology *topology,
                       const struct change *change, struct fault *fault)
{
    struct topology *next = &plan->next;

    next->level = change->level;
    if (change->bounded_versions > 0)
        next->bounded_versions = change->bounded_versions;
    if (change->bounded_s > 0)
        next->bounded_s = change->bounded_s;
    return next->level != topology->level || next->bounded_versions != topology->bounded_versions ||
           next->bounded_s != topology->bounded_s ||
           fault_set(fault, 409, SUB_NONE, "the level is %s already",
                     consistency_level_name(topology->level));
}

static bool plan_mode(struct change_plan *plan, const struct topology *topology,
                      const struct change *change, struct fault *fault)
{
    plan->next.mode = change->mode;
    return topology->mode != change->mode ||
           fault_set(fault, 409, SUB_NONE, "the mode is %s already",
                     topology_mode_name(topology->mode));
}

static bool plan_priority(struct change_plan *plan, const struct topology *topology,
                          const struct change *change, struct fault *fault)
{
    unsigned live = topology_live_count(topology);

    if (change->name_count != live)
        return fault_set(fault, 400, SUB_NONE,
                         "a priority names all %u regions of the account, in order", live);
    for (unsigned i = 0; i < live; i++) {
        const struct topology_region *region = named(topology, change->names[i], fault);
        if (region == NULL)
            return false;
        plan->next.regions[i] = *region;
    }
    return true;
}

static bool plan_kind(struct change_plan *plan, const struct topology *topology,
                      const struct change *change, const bool *is_reached, struct fault *fault)
{
    switch (change->kind) {
    case CHANGE_FAILOVER:
        return plan_failover(plan, topology, change, is_reached, fault);
    case CHANGE_OFFLINE:
        return plan_state(plan, topology, change, REGION_ONLINE, REGION_OFFLINE, fault);
    case CHANGE_ONLINE:
        return plan_state(plan, topology, change, REGION_OFFLINE, REGION_ONLINE, fault);
    case CHANGE_ADD:
        return plan_add(plan, topology, change, fault);
    case CHANGE_ANNOUNCE:
        return plan_state(plan, topology, change, REGION_JOINING, REGION_ONLINE, fault);
    case CHANGE_REJOIN:
        /* What it wrote and nobody has would be lost. */
        if (topology->mode == TOPOLOGY_MULTI_WRITE)
            return fault_set(fault, 409, SUB_NONE,
                             "a region that takes writes does not join anew; remove it");
        return plan_state(plan, topology, change, REGION_ONLINE, REGION_JOINING, fault);
    case CHANGE_REMOVE:
        return plan_remove(plan, topology, change, is_reached, fault);
    case CHANGE_LEVEL:
        return plan_level(plan, topology, change, fault);
    case CHANGE_MODE:
        return plan_mode(plan, topology, change, fault);
    case CHANGE_PRIORITY:
        return plan_priority(plan, topology, change, fault);
    case CHANGE_KINDS:
        break;
    }
    return fault_set(fault, 400, SUB_NONE, "there is no such change");
}

/* Regions whose acceptance counts: all but those that have not caught up (n of the rules). */
static unsigned voters(const struct topology *topology, const bool *is_reached, bool are_reached)
{
    unsigned count = 0;

    for (unsigned i = 0; i < topology_live_count(topology); i++) {
        if (topology->regions[i].state != REGION_JOINING &&
            (!are_reached || is_reached_at(is_reached, i)))
            count++;
    }
    return count;
}

bool change_plan(struct change_plan *plan, const struct topology *topology,
                 const struct change *change, const bool *is_reached, struct fault *fault)
{
    *plan = (struct change_plan){.next = *topology, .runner = topology->hub};
    if (!plan_kind(plan, topology, change, is_reached, fault) ||
        !topology_check(&plan->next, fault))
        return false;
    unsigned n = voters(topology, is_reached, false), reached = voters(topology, is_reached, true);
    plan->needed = n - (n / 2 + 1) + 1;
    if (change->accepts_loss && reached < plan->needed)
        plan->needed = reached;
    return reached >= plan->needed ||
           fault_set(fault, 503, SUB_NONE, "only %u of the %u regions that must agree answer%s",
                     reached, plan->needed,
                     change->kind == CHANGE_FAILOVER
                         ? "; --force --accept-loss goes on without them and gives them up"
                         : "");
}
