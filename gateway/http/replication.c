#include "http/replication.h"

#include "replica/status.h"
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
               ",\"clockAheadSeconds\":%" PRId64 ",\"answers\":%" PRIu64 ",\"entries\":%" PRIu64
               ",\"bytes\":%" PRIu64 ",\"secondsSinceAnswer\":",
               peer->ordinal, peer->lag_entries, (double) peer->lag_ms / 1000, peer->clock_ahead_s,
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

void replication_print(struct buf *out)
{
    struct replica_status status;

    replica_status_read(&status);
    buf_printf(out, "{\"pulling\":%s,\"peers\":[", status.is_pulling ? "true" : "false");
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
    buf_append_text(out, "]}");
}

/* ---- metrics ---- */

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
    if (!status.is_pulling)
        return; /* the region's other gateway tells it */
    print_metric(out, &status, "lag_entries", "gauge", "Entries that are not applied here yet.",
                 lag_entries);
    print_metric(out, &status, "lag_seconds", "gauge", "For how long some have been missing.",
                 lag_s);
    print_metric(out, &status, "silence_seconds", "gauge", "Since the source answered last.",
                 silent_s);
    print_metric(out, &status, "failing", "gauge", "1 while entries do not come.", is_failing);
    print_metric(out, &status, "entries_total", "counter", "Entries applied.", entries);
    buf_printf(out,
               "# HELP orrery_replication_stopped_ranges Ranges with an entry that cannot be "
               "applied.\n# TYPE orrery_replication_stopped_ranges gauge\n"
               "orrery_replication_stopped_ranges %u\n",
               status.stopped_total);
}
