/*
 * /_orrery/topology and /_orrery/epoch: what this region knows of the account, and what another
 * region asks of it while the topology changes (close, accept, abandon, learn, join, tell, …).
 *
 * What is asked is decided by orrery.epoch_do, in PostgreSQL; here it is checked whether the one
 * who asks is of this account and the document is one that this program understands.
 */
#include "model/json.h"
#include "replica/arbiter.h"
#include "replica/report.h"
#include "service/call.h"
#include "service/handlers.h"
#include "store/epochs.h"
#include "store/regions.h"
#include "store/schema.h"

#include <inttypes.h>

#include "base/banned.h"

#define MESSAGE_DEPTH_MAX 16

/* ---- reading ---- */

static op_step read_told; /* print, with the change that is under way */

enum op_next epochs_read(struct op *op)
{
    return epochs_tell(&call_of(op)->service->store, op, read_told);
}

static void print_depths(struct buf *out)
{
    buf_append_text(out, ",\"database\":{");
    for (unsigned pool = 0; pool < STORE_POOLS; pool++) {
        struct store_depth depth = store_depth(pool);
        buf_printf(out, "%s\"%s\":{\"waiting\":%" PRId64 ",\"inFlight\":%" PRId64 "}",
                   pool > 0 ? "," : "", store_pool_name(pool), depth.waiting, depth.in_flight);
    }
    buf_append_char(out, '}');
}

static enum op_next read_told(struct op *op)
{
    const struct regions *regions = regions_current();
    struct call *call = call_of(op);
    struct slice told;
    struct buf body = {0};

    if (!epochs_told(op, &told))
        return OP_FAILED;
    buf_append_text(&body, "{\"account\":");
    buf_append_json_string(&body, regions->topology.account);
    buf_printf(&body, ",\"ordinal\":%u,\"region\":", regions->self);
    buf_append_json_string(&body, slice_from_text(call->service->config->region_name));
    buf_printf(&body,
               ",\"schema\":%d,\"accepted\":%" PRId64 ",\"closed\":%" PRId64 ",\"fenced\":%" PRId64
               ",\"topology\":",
               schema_migrations_count, regions->accepted_epoch, regions->closed_for,
               regions->fenced_for);
    topology_print(&body, &regions->topology);
    print_depths(&body);
    size_t before = body.len;
    buf_append_text(&body, ",\"arbiter\":");
    if (!arbiter_print(&body))
        body.len = before;
    if (regions->is_replicating) {
        buf_append_text(&body, ",\"replication\":");
        replication_print(&body);
    }
    buf_append_char(&body, ',');
    buf_append_slice(&body, told);
    buf_append_char(&body, '}');
    return call_reply_json(op, 200, &body);
}

/* ---- what another region asks ---- */

static op_step answer_done;  /* PostgreSQL has decided; learn what changed */
static op_step answer_reply; /* tell */

static bool check_document(struct slice message, struct op *op)
{
    struct topology topology;
    struct slice document;

    return !json_find(message, SLICE_LITERAL("document"), &document) ||
           topology_parse(&topology, document, &op->arena, &op->fault);
}

static bool check_message(struct slice body, struct op *op)
{
    const struct regions *regions = regions_current();
    struct slice account;
    struct json_text text;

    if (!json_validate(body, MESSAGE_DEPTH_MAX, &text, &op->fault))
        return false;
    if (json_type(text.root) != JSON_OBJECT ||
        !json_find(text.root, SLICE_LITERAL("account"), &account) ||
        json_type(account) != JSON_STRING ||
        !json_string_equals(account, regions->topology.account))
        return fault_set(&op->fault, 409, SUB_NONE,
                         "this region is of the account \"%.*s\", and not what asks",
                         FAULT_QUOTE(regions->topology.account));
    return check_document(text.root, op);
}

enum op_next epochs_answer(struct op *op)
{
    struct call *call = call_of(op);

    if (!check_message(call->request.body, op))
        return OP_FAILED;
    return epochs_do(&call->service->store, op, call->request.body, answer_done);
}

static enum op_next answer_done(struct op *op)
{
    struct slice *answer = arena_alloc(&op->arena, sizeof(*answer));

    if (answer == NULL || !epochs_done(op, answer))
        return OP_FAILED;
    op->self = answer;
    return regions_refresh(&call_of(op)->service->store, op, answer_reply);
}

static enum op_next answer_reply(struct op *op)
{
    struct buf body = {0};

    if (!regions_refreshed(op))
        return OP_FAILED;
    buf_append_slice(&body, *op_self(op, struct slice));
    return call_reply_json(op, 200, &body);
}
