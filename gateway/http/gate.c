#include "http/gate.h"

#include "http/authorize.h"
#include "store/levels.h"

#include "base/banned.h"

/* Items, and what runs on them; all else that is written is a definition. */
static bool is_about_items(const struct route *route)
{
    return route->path == PATH_ITEM || route->path == PATH_ITEMS ||
           route->path == PATH_PARTITION_KEY_DELETE || route->path == PATH_CONFLICT ||
           (route->path == PATH_SPROC && route->method == METHOD_POST);
}

static bool check_write(const struct regions *regions, const struct request *request,
                        const struct route *route, struct fault *fault)
{
    bool is_hub = regions->topology.hub == regions->self;

    /* A client that knows of several write regions says so with every write; one that does not
     * would be surprised by conflicts. Source: protocol reference, section 9.3. */
    if (is_hub || (is_about_items(route) && topology_may_write(&regions->topology, regions->self) &&
                   header_is_true(&request->headers, HEADER_ALLOW_TENTATIVE_WRITES)))
        return !is_hub || levels_may_act() || store_fault_read_only(fault);
    /* The hub may have moved here a moment ago. */
    regions_refresh_soon();
    return store_fault_read_only(fault);
}

bool gate_acts_as_hub(const struct regions *regions, const struct request *request,
                      const struct route *route)
{
    return regions->is_replicating && regions->topology.hub == regions->self &&
           route->access != ROUTE_OPEN && route->access != ROUTE_OPERATOR &&
           route->access != ROUTE_PEER && request_is_write(request, route);
}

bool gate_check(const struct regions *regions, const struct request *request,
                const struct route *route, struct fault *fault)
{
    const struct topology_region *self = regions_self(regions);

    if (route->access == ROUTE_OPEN || route->access == ROUTE_OPERATOR ||
        route->access == ROUTE_PEER || route->path == PATH_ACCOUNT)
        return true;
    if (self == NULL || self->state == REGION_RETIRED || self->state == REGION_OFFLINE)
        return fault_set(fault, 403, SUB_ACCOUNT_NOT_FOUND,
                         "this region is not available for the account \"%.*s\"",
                         FAULT_QUOTE(regions->topology.account));
    if (self->state == REGION_JOINING) {
        fault_set(fault, 503, SUB_NONE, "this region joins the account and has not caught up yet");
        fault->retry_after_ms = 1000;
        return false;
    }
    return !regions->is_replicating || !request_is_write(request, route) ||
           check_write(regions, request, route, fault);
}
