#include "replica/report.h"

#include "replica/status.h"
#include "store/levels.h"
#include "store/regions.h"

#include <inttypes.h>

#include "base/banned.h"

static struct slice name_of(unsigned ordinal)
{
    const struct topology_region *region = topology_find(&regions_current()->topology, ordinal);

    return region != NULL ? region->name : SLICE_LITERAL("?");
}

static void print_peer(struct buf *out, const struct replica_peer_status *peer)
{
    buf_append_text(out, "{\"region\":");
    buf_append_json_string(out, name_of(peer->ordinal));
    buf_printf(out,
               ",\"ordinal\":%u,\"lagEntries\":%" PRId64 ",\"lagSeconds\":%.3f"
               ",\"heard\":%s,\"answersWaiting\":%u"
               ",\"clockAheadSeconds\":%" PRId64 ",\"answers\":%" PRIu64 ",\"entries\":%" PRIu64
               ",\"bytes\":%" PRIu64 ",\"secondsSinceAnswer\":",
               peer->ordinal, peer->lag_entries, (double) peer->lag_ms / 1000,
               peer->is_heard ? "true" : "false", peer->answers_waiting, peer->clock_ahead_s,
               peer->answers, peer->entries, peer->bytes);
    if (peer->has_answered)
        buf_printf(out, "%.3f", (double) peer->silent_ms / 1000);
    else
        buf_append_text(out, "null");
    if (peer->complaint[0] != '\0') {
        buf_append_text(out, ",\"error\":");
        buf_append_json_string(out, slice_from_text(peer->complaint));
    }
    buf_append_char(out, '}');
}

static void print_stopped(struct buf *out, const struct replica_stopped_range *stopped)
{
    buf_printf(out, "{\"container\":%" PRId64 ",\"range\":%" PRId64 ",\"from\":",
               stopped->range_id >> 12, stopped->range_id & 4095);
    buf_append_json_string(out, name_of(stopped->ordinal));
    buf_append_text(out, ",\"error\":");
    buf_append_json_string(out, slice_from_text(stopped->reason));
    buf_append_char(out, '}');
}

static void print_census(struct buf *out)
{
    struct replica_census census;

    replica_census_read(&census);
    if (census.looked_ms == 0)
        return;
    buf_printf(out,
               ",\"conflicts\":%" PRId64 ",\"log\":{\"ranges\":%" PRId64 ",\"entries\":%" PRId64
               ",\"trimmed\":%" PRId64 "}",
               census.conflicts, census.ranges, census.log_whole, census.log_trimmed);
}

/* ---- leases ---- */

static bool needs_leases(const struct regions *regions)
{
    return regions->topology.level <= LEVEL_BOUNDED_STALENESS;
}

/* For how long this gateway may answer Strong and Bounded reads: as the hub because a majority has
 * promised to follow it, elsewhere by the hub's lease. */
static double lease_s(const struct regions *regions)
{
    bool is_hub = regions->topology.hub == regions->self;
    int64_t left_ms =
        is_hub ? levels_horizon_ms(&regions->topology) - levels_now_ms() : levels_lease_left_ms();

    return left_ms > 0 ? (double) left_ms / 1000 : 0;
}

/* Its members but the hub, of this epoch; only the hub has it. */
static void read_set(const struct regions *regions, struct strong_set *set)
{
    replica_set_read(set);
    if (!needs_leases(regions) || regions->topology.hub != regions->self ||
        set->epoch != regions->topology.epoch)
        set->count = 0;
}

/* Does the hub, this region, want that one's promise? */
static bool is_asked(const struct regions *regions, const struct topology_region *region)
{
    return regions->topology.hub == regions->self && region->ordinal != regions->self &&
           region->state != REGION_RETIRED && region->state != REGION_JOINING;
}

static double promise_s(const struct regions *regions, const struct topology_region *region)
{
    return (double) levels_promise_left_ms(&regions->topology, region->ordinal) / 1000;
}

static void print_promises(struct buf *out, const struct regions *regions)
{
    const struct topology *topology = &regions->topology;
    bool is_first = true;

    buf_append_text(out, ",\"promises\":[");
    for (unsigned i = 0; i < topology->region_count; i++) {
        if (!is_asked(regions, &topology->regions[i]))
            continue;
        buf_append_text(out, is_first ? "{\"region\":" : ",{\"region\":");
        buf_append_json_string(out, topology->regions[i].name);
        buf_printf(out, ",\"secondsLeft\":%.3f}", promise_s(regions, &topology->regions[i]));
        is_first = false;
    }
    buf_append_char(out, ']');
}

static void print_leases(struct buf *out)
{
    const struct regions *regions = regions_current();
    struct strong_set set;

    read_set(regions, &set);
    buf_printf(out, ",\"leaseSeconds\":%.3f", lease_s(regions));
    print_promises(out, regions);
    buf_append_text(out, ",\"strongSet\":[");
    for (unsigned i = 0; i < set.count; i++) {
        const struct strong_member *member = &set.at[i];
        buf_append_text(out, i > 0 ? ",{\"region\":" : "{\"region\":");
        buf_append_json_string(out, name_of(member->ordinal));
        buf_printf(out,
                   ",\"state\":\"%s\",\"secondsSinceHeard\":", strong_state_name(member->state));
        if (member->silent_ms == INT64_MAX)
            buf_append_text(out, "null}");
        else
            buf_printf(out, "%.3f}", (double) member->silent_ms / 1000);
    }
    buf_append_char(out, ']');
}

void replication_print(struct buf *out)
{
    struct replica_status status;

    replica_status_read(&status);
    buf_printf(out, "{\"pulling\":%s,\"epoch\":%" PRId64 ",\"piecesWaiting\":%u,\"peers\":[",
               status.is_pulling ? "true" : "false", regions_current()->topology.epoch,
               status.pieces_waiting);
    for (unsigned i = 0; i < status.peer_count; i++) {
        if (i > 0)
            buf_append_char(out, ',');
        print_peer(out, &status.peers[i]);
    }
    buf_append_text(out, "],\"stopped\":[");
    for (unsigned i = 0; i < status.stopped_count; i++) {
        if (i > 0)
            buf_append_char(out, ',');
        print_stopped(out, &status.stopped[i]);
    }
    buf_append_char(out, ']');
    print_census(out);
    if (needs_leases(regions_current()))
        print_leases(out);
    buf_append_char(out, '}');
}

/* ---- metrics ---- */

/* Of the region or the gateway, without labels. */
static void print_one(struct buf *out, const char *name, const char *help, double value)
{
    buf_printf(out, "# HELP orrery_%s %s\n# TYPE orrery_%s gauge\norrery_%s %.15g\n", name, help,
               name, name, value);
}

static void print_census_metrics(struct buf *out)
{
    struct replica_census census;

    replica_census_read(&census);
    if (census.looked_ms == 0)
        return;
    print_one(out, "conflicts", "Conflicts that nobody has resolved.", (double) census.conflicts);
    print_one(out, "log_entries", "Entries of the logs beyond their horizons.",
              (double) census.log_whole);
    print_one(out, "log_trimmed_entries", "Entries of the logs up to their horizons.",
              (double) census.log_trimmed);
}

static void print_promise_metrics(struct buf *out, const struct regions *regions)
{
    const struct topology *topology = &regions->topology;

    if (topology->hub != regions->self)
        return;
    buf_append_text(out, "# HELP orrery_promise_seconds For how long a region has promised to "
                         "follow this hub.\n# TYPE orrery_promise_seconds gauge\n");
    for (unsigned i = 0; i < topology->region_count; i++) {
        if (!is_asked(regions, &topology->regions[i]))
            continue;
        buf_append_text(out, "orrery_promise_seconds{region=");
        buf_append_json_string(out, topology->regions[i].name);
        buf_printf(out, "} %.3f\n", promise_s(regions, &topology->regions[i]));
    }
}

static void print_lease_metrics(struct buf *out, const struct regions *regions)
{
    struct strong_set set;

    print_one(out, "lease_seconds",
              "For how long this gateway may answer Strong and Bounded reads.", lease_s(regions));
    print_promise_metrics(out, regions);
    read_set(regions, &set);
    if (set.count > 0)
        buf_append_text(out, "# HELP orrery_strong_set 1 for the state of each region.\n"
                             "# TYPE orrery_strong_set gauge\n");
    for (unsigned i = 0; i < set.count; i++) {
        buf_append_text(out, "orrery_strong_set{region=");
        buf_append_json_string(out, name_of(set.at[i].ordinal));
        buf_printf(out, ",state=\"%s\"} 1\n", strong_state_name(set.at[i].state));
    }
}

typedef double metric_fn(const struct replica_peer_status *peer);

static double lag_entries(const struct replica_peer_status *peer)
{
    return (double) peer->lag_entries;
}

static double lag_s(const struct replica_peer_status *peer)
{
    return (double) peer->lag_ms / 1000;
}

static double silent_s(const struct replica_peer_status *peer)
{
    return (double) peer->silent_ms / 1000;
}

static double entries(const struct replica_peer_status *peer)
{
    return (double) peer->entries;
}

static double is_heard(const struct replica_peer_status *peer)
{
    return peer->is_heard;
}

static double answers_waiting(const struct replica_peer_status *peer)
{
    return peer->answers_waiting;
}

static double is_failing(const struct replica_peer_status *peer)
{
    return peer->complaint[0] != '\0';
}

/* A label's value: quotes, backslashes and line ends are escaped as in JSON. */
static void print_metric(struct buf *out, const struct replica_status *status, const char *name,
                         const char *type, const char *help, metric_fn *value)
{
    struct slice self = name_of(regions_current()->self);

    buf_printf(out, "# HELP orrery_replication_%s %s\n# TYPE orrery_replication_%s %s\n", name,
               help, name, type);
    for (unsigned i = 0; i < status->peer_count; i++) {
        buf_printf(out, "orrery_replication_%s{source=", name);
        buf_append_json_string(out, name_of(status->peers[i].ordinal));
        buf_append_text(out, ",target=");
        buf_append_json_string(out, self);
        buf_printf(out, "} %.15g\n", value(&status->peers[i]));
    }
}

void replication_print_metrics(struct buf *out)
{
    struct replica_status status;

    replica_status_read(&status);
    print_one(out, "epoch", "Of the topology.", (double) regions_current()->topology.epoch);
    print_census_metrics(out);
    buf_printf(
        out,
        "# HELP orrery_replication_stranded_entries_total Entries of regions that were given "
        "up which this gateway has decided.\n"
        "# TYPE orrery_replication_stranded_entries_total counter\n"
        "orrery_replication_stranded_entries_total{outcome=\"merged\"} %" PRId64 "\n"
        "orrery_replication_stranded_entries_total{outcome=\"conflict\"} %" PRId64 "\n",
        replica_status_resolved_total(true), replica_status_resolved_total(false));
    if (needs_leases(regions_current()))
        print_lease_metrics(out, regions_current());
    if (!status.is_pulling)
        return; /* the region's other gateway tells it */
    print_one(out, "replication_pieces_waiting", "Parts of answers that wait to be applied.",
              status.pieces_waiting);
    print_metric(out, &status, "lag_entries", "gauge", "Entries that are not applied here yet.",
                 lag_entries);
    print_metric(out, &status, "lag_seconds", "gauge", "For how long some have been missing.",
                 lag_s);
    print_metric(out, &status, "silence_seconds", "gauge", "Since the source answered last.",
                 silent_s);
    print_metric(out, &status, "heard", "gauge", "0: what the lag says is not known any more.",
                 is_heard);
    print_metric(out, &status, "answers_waiting", "gauge", "Answers that wait to be applied.",
                 answers_waiting);
    print_metric(out, &status, "failing", "gauge", "1 while entries do not come.", is_failing);
    print_metric(out, &status, "entries_total", "counter", "Entries applied.", entries);
    buf_printf(out,
               "# HELP orrery_replication_stopped_ranges Ranges with an entry that cannot be "
               "applied.\n# TYPE orrery_replication_stopped_ranges gauge\n"
               "orrery_replication_stopped_ranges %u\n",
               status.stopped_total);
}
