/* What the arbiter looks like to people and to Prometheus. */
#include "replica/arbiter.h"
#include "store/levels.h"

#include <inttypes.h>

#include "base/banned.h"

static struct slice name_of(unsigned ordinal)
{
    const struct topology_region *region = topology_find(&regions_current()->topology, ordinal);

    return region != NULL ? region->name : SLICE_LITERAL("?");
}

/* How much longer this gateway may act as the hub; 0: not at all. */
static double margin_s(void)
{
    int64_t left_ms = levels_claimed_until_ms() - levels_now_ms();

    return left_ms > 0 ? (double) left_ms / 1000 : 0;
}

static double silent_s(const struct arbiter_status *status)
{
    return (double) (levels_now_ms() - status->heard_ms) / 1000;
}

static void print_takeover(struct buf *out, const struct arbiter_status *status)
{
    buf_printf(out, ",\"lastTakeover\":{\"epoch\":%" PRId64 ",\"planned\":%s", status->taken_epoch,
               status->was_planned ? "true" : "false");
    if (status->lost_entries >= 0)
        buf_printf(out, ",\"possiblyLostEntries\":%" PRId64 ",\"secondsUnheard\":%.3f",
                   status->lost_entries, (double) status->lost_ms / 1000);
    buf_append_char(out, '}');
}

bool arbiter_print(struct buf *out)
{
    struct arbiter_status status;

    arbiter_status_read(&status);
    if (!status.is_used || !regions_current()->is_replicating)
        return false;
    buf_printf(out, "{\"kind\":\"etcd\",\"answers\":%s,\"holder\":",
               status.is_answering ? "true" : "false");
    if (status.holder != 0)
        buf_append_json_string(out, name_of(status.holder));
    else
        buf_append_text(out, "null");
    buf_printf(out, ",\"marginSeconds\":%.3f,\"secondsSinceAnswer\":", margin_s());
    if (status.heard_ms != 0)
        buf_printf(out, "%.3f", silent_s(&status));
    else
        buf_append_text(out, "null");
    buf_printf(out, ",\"takeovers\":%" PRIu64, status.takeovers);
    if (status.taken_epoch != 0)
        print_takeover(out, &status);
    if (status.complaint[0] != '\0') {
        buf_append_text(out, ",\"error\":");
        buf_append_json_string(out, slice_from_text(status.complaint));
    }
    buf_append_char(out, '}');
    return true;
}

static void print_metric(struct buf *out, const char *name, const char *type, const char *help,
                         double value)
{
    buf_printf(out,
               "# HELP orrery_arbiter_%s %s\n# TYPE orrery_arbiter_%s %s\norrery_arbiter_%s "
               "%.15g\n",
               name, help, name, type, name, value);
}

void arbiter_print_metrics(struct buf *out)
{
    struct arbiter_status status;

    arbiter_status_read(&status);
    if (!status.is_used || !regions_current()->is_replicating)
        return;
    print_metric(out, "holds", "gauge", "1 while this gateway may act as the hub.",
                 margin_s() > 0 ? 1 : 0);
    print_metric(out, "margin_seconds", "gauge", "How much longer it may, without a word of etcd.",
                 margin_s());
    print_metric(out, "failing", "gauge", "1 while etcd does not answer.",
                 status.is_answering ? 0 : 1);
    if (status.heard_ms != 0)
        print_metric(out, "silence_seconds", "gauge", "Since etcd answered last.",
                     silent_s(&status));
    print_metric(out, "takeovers_total", "counter", "Takeovers that this gateway began.",
                 (double) status.takeovers);
    if (status.lost_entries >= 0)
        print_metric(out, "possibly_lost_entries", "gauge",
                     "Entries of the old hub that were known and missing at the last takeover.",
                     (double) status.lost_entries);
}
